//! What the network may read at a state: the ball around the normalised observation, as grid boxes.
//! Trusted. `spec/semantics.md#perturbation-sets`. Normalised perturbations are added after the clip and not clipped
//! again; raw ones are added before the normaliser, so that box ends are mapped exactly.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::fault::Fault;
use crate::interval::GridBox;
use crate::model::{
    InputLimit, Normaliser, Perturbation, PerturbationSet, Policy, SensorSet, SharedOffset, States, Units,
};
use crate::number::{Dyadic, Rational};
use crate::wide::{AtLayer, zip_exact};

/// What ties the coordinates of a perturbation together, beside the box that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GridBall {
    /// Over the coordinates with a scale, the perturbation lies in `{ scale * u : |u|_2 <= 1 }`; the others are bounded by the
    /// box alone.
    Euclidean {
        /// Upper end of each coordinate's semi-axis on the value grid; `None` where the normaliser's clip may cut it.
        semi_axes: Vec<Option<i64>>,
    },
    /// Over the coordinates of each offset, the perturbation is `axis * u + n` with one `u` in [-1, 1] for all of them and
    /// `|n|` at most the coordinate's radius less its axis; the others are bounded by the box alone.
    Shared {
        /// Coordinates and their axes on the value grid, by offset; no coordinate twice, none that a clip or a limit may cut.
        offsets: Vec<Vec<(usize, i64)>>,
    },
}

/// All inputs the network may see at one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSet {
    /// Holds every perturbed input.
    pub region: GridBox,
    /// Encloses the unperturbed input.
    pub center: GridBox,
    /// Upper end of `|perturbed - unperturbed|` per coordinate.
    pub radii: Vec<i64>,
    /// Set for l2 perturbations and shared offsets.
    pub ball: Option<GridBall>,
}

/// What a set does to one coordinate.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Of its own: of its box, or of its whole ball.
    pub radius: &'a Rational,
    /// The offset that it shares, and how large that is at most.
    pub shared: Option<(usize, &'a Rational)>,
    /// Least and greatest value.
    limits: Option<(&'a Rational, &'a Rational)>,
}

impl Part<'_> {
    /// The most that the coordinate moves.
    fn reach(&self) -> Rational {
        self.shared.map_or_else(|| self.radius.clone(), |(_, offset)| self.radius.add(offset))
    }

    /// Whether a value is within the limits.
    fn allows(&self, value: &Rational) -> bool {
        self.limits.is_none_or(|(least, most)| least <= value && value <= most)
    }
}

/// Rule `input.parts`: what a set does to each of `inputs` coordinates.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::NegativeOffset`], [`Fault::OffsetTwice`], [`Fault::EmptyLimits`],
/// [`Fault::NoSuchInput`], [`Fault::ShapeMismatch`].
pub(crate) fn parts(set: &PerturbationSet, inputs: usize) -> Result<Vec<Part<'_>>, Fault> {
    let part = |radius| Part { radius, shared: None, limits: None };
    let mut parts: Vec<Part<'_>> = match &set.shape {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => vec![part(radius); inputs],
        Perturbation::PerCoordinate { radii } | Perturbation::Sensor(SensorSet { radii, .. }) => {
            radii.iter().map(part).collect()
        }
    };
    if parts.len() != inputs {
        return Err(Fault::ShapeMismatch { layer: 0 });
    }
    if let Some(coordinate) = parts.iter().position(|part| part.radius.is_negative()) {
        return Err(Fault::NegativeRadius { coordinate });
    }
    let Perturbation::Sensor(SensorSet { shared, limits, .. }) = &set.shape else { return Ok(parts) };
    for (offset, SharedOffset { radius, inputs }) in shared.iter().enumerate() {
        if radius.is_negative() {
            return Err(Fault::NegativeOffset { offset });
        }
        for &coordinate in inputs {
            let part = parts.get_mut(coordinate).ok_or(Fault::NoSuchInput { coordinate })?;
            if part.shared.replace((offset, radius)).is_some() {
                return Err(Fault::OffsetTwice { coordinate });
            }
        }
    }
    for InputLimit { input, lower, upper } in limits {
        let part = parts.get_mut(*input).ok_or(Fault::NoSuchInput { coordinate: *input })?;
        if lower > upper || part.limits.replace((lower, upper)).is_some() {
            return Err(Fault::EmptyLimits { coordinate: *input });
        }
    }
    Ok(parts)
}

/// What one coordinate of an observation goes through before the network reads it.
#[derive(Clone)]
struct Reader<'a> {
    /// Mean and standard deviation.
    statistics: Option<(Rational, &'a Rational)>,
    clip: Option<&'a Rational>,
    /// Of the states.
    units: Units,
    /// Whether a perturbation is added before the normaliser.
    raw: bool,
}

impl<'a> Reader<'a> {
    fn new(
        normaliser: Option<&'a Normaliser>,
        units: Units,
        perturbation: Units,
        coordinate: usize,
    ) -> Result<Self, Fault> {
        let Some(normaliser) = normaliser else {
            return Ok(Self { statistics: None, clip: None, units, raw: false });
        };
        let (mean, std) = normaliser.mean.get(coordinate).zip(normaliser.std.get(coordinate)).shaped(0)?;
        if !std.is_positive() {
            return Err(Fault::StdNotPositive { coordinate });
        }
        let statistics = Some((mean.to_rational(), std));
        Ok(Self { statistics, clip: normaliser.clip.as_ref(), units, raw: perturbation == Units::Raw })
    }

    /// A state in the units of the perturbation; rises with it.
    fn base(&self, state: &Rational) -> Result<Rational, Fault> {
        let Some((mean, std)) = &self.statistics else { return Ok(state.clone()) };
        match (self.raw, self.units) {
            (true, Units::Raw) | (false, Units::Normalised) => Ok(state.clone()),
            (true, Units::Normalised) => Ok(state.mul(std).add(mean)),
            (false, Units::Raw) => Ok(self.seen(state)?.0),
        }
    }

    /// What the network reads of a raw observation, and whether the clip changed it; rises with it.
    fn seen(&self, observation: &Rational) -> Result<(Rational, bool), Fault> {
        let Some((mean, std)) = &self.statistics else { return Ok((observation.clone(), false)) };
        Ok(self.clipped(observation.sub(mean).div(std).map_err(|_| Fault::ZeroDenominator)?))
    }

    /// What the network reads at a point in the units of the perturbation, and whether the clip changed it; rises with it.
    fn read(&self, point: &Rational) -> Result<(Rational, bool), Fault> {
        if self.raw { self.seen(point) } else { Ok((point.clone(), false)) }
    }

    fn clipped(&self, value: Rational) -> (Rational, bool) {
        let Some(limit) = self.clip else { return (value, false) };
        let clipped = value.clone().min(limit.clone()).max(limit.neg());
        let cut = clipped != value;
        (clipped, cut)
    }

    /// How far apart the network may read two observations that lie `radius` apart; the clip does not expand distances.
    fn distance(&self, radius: &Rational) -> Result<Rational, Fault> {
        match &self.statistics {
            Some((_, std)) if self.raw => radius.div(std).map_err(|_| Fault::ZeroDenominator),
            Some(_) | None => Ok(radius.clone()),
        }
    }
}

/// Rule `input.observation`: what the network reads at an observation, exactly; each coordinate never falls where the
/// observation's rises, so that a box is read as the box of its ends.
///
/// # Errors
/// [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub fn read_observation(
    normaliser: Option<&Normaliser>,
    observation: &[Rational],
) -> Result<Vec<Rational>, Fault> {
    let read =
        |(coordinate, value)| Ok(Reader::new(normaliser, Units::Raw, Units::Raw, coordinate)?.seen(value)?.0);
    observation.iter().enumerate().map(read).collect()
}

/// What the network reads at a state and at the point `offset` from it, in the units of `set`, exactly.
///
/// # Errors
/// [`Fault::OutsideLimits`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`], those of [`parts`].
pub(crate) fn read_point(
    policy: &Policy,
    state: &[Rational],
    units: Units,
    set: &PerturbationSet,
    offset: &[Rational],
) -> Result<(Vec<Rational>, Vec<Rational>), Fault> {
    let (mut clean, mut moved) = (Vec::new(), Vec::new());
    let parts = parts(set, policy.network.inputs())?;
    for (coordinate, (part, (state, offset))) in
        zip_exact(&parts, zip_exact(state, offset, 0)?, 0)?.enumerate()
    {
        let reader = Reader::new(policy.normaliser.as_ref(), units, set.units, coordinate)?;
        let base = reader.base(state)?;
        let point = base.add(offset);
        if !part.allows(&base) || !part.allows(&point) {
            return Err(Fault::OutsideLimits { coordinate });
        }
        clean.push(reader.read(&base)?.0);
        moved.push(reader.read(&point)?.0);
    }
    Ok((clean, moved))
}

/// One coordinate over an interval of states: what the network reads unperturbed and perturbed, and how far apart at most.
struct Reach {
    lower: Rational,
    center: (Rational, Rational),
    upper: Rational,
    radius: Rational,
    cut: bool,
}

fn reach(
    policy: &Policy,
    (low, high): (&Rational, &Rational),
    units: Units,
    set: &PerturbationSet,
    (coordinate, part): (usize, &Part<'_>),
) -> Result<Reach, Fault> {
    let radius = part.reach();
    let reader = Reader::new(policy.normaliser.as_ref(), units, set.units, coordinate)?;
    let own = reader.base(low)?;
    let (low, high) = if low == high { (own.clone(), own) } else { (own, reader.base(high)?) };
    let (mut least, mut most) = (low.sub(&radius), high.add(&radius));
    if !part.allows(&low) || !part.allows(&high) {
        return Err(Fault::OutsideLimits { coordinate });
    }
    let limited = !part.allows(&least) || !part.allows(&most);
    if let Some((lower, upper)) = part.limits {
        (least, most) = (least.max(lower.clone()), most.min(upper.clone()));
    }
    let (lower, lower_cut) = reader.read(&least)?;
    let (upper, upper_cut) = reader.read(&most)?;
    // For raw perturbations a normalised state beyond the clip cannot occur; its image is what the network would read.
    let below = reader.read(&low)?.0;
    let above = if low == high { below.clone() } else { reader.read(&high)?.0 };
    // Neither end of a change leaves its interval.
    let radius = match reader.raw || limited {
        true => upper.sub(&below).max(above.sub(&lower)).min(reader.distance(&radius)?),
        false => radius,
    };
    let center = (below, above);
    Ok(Reach { lower, center, upper, radius, cut: lower_cut || upper_cut || limited })
}

/// A bound on the magnitude of every input coordinate over all states; fixes the grids.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub fn input_magnitude(policy: &Policy, states: &States, set: &PerturbationSet) -> Result<Rational, Fault> {
    let mut largest = Rational::zero();
    for row in states.values.checked_rows(0)? {
        let state: Vec<Rational> = row.iter().map(|x| x.to_rational()).collect();
        largest = largest.max(cell_magnitude(policy, (&state, &state), states.units, set)?);
    }
    Ok(largest)
}

/// The same over all states of a box from `lower` to `upper`.
///
/// # Errors
/// As [`input_magnitude`].
pub fn cell_magnitude(
    policy: &Policy,
    (lower, upper): (&[Rational], &[Rational]),
    state_units: Units,
    set: &PerturbationSet,
) -> Result<Rational, Fault> {
    let mut largest = Rational::zero();
    let parts = parts(set, lower.len())?;
    for (part, ends) in zip_exact(parts.iter().enumerate(), zip_exact(lower, upper, 0)?, 0)? {
        let reach = reach(policy, ends, state_units, set, part)?;
        largest = largest.max(reach.lower.abs()).max(reach.upper.abs());
    }
    Ok(largest)
}

/// Rule `input.set`: the input set at one state, outward on the grid with `value_bits` fraction bits.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`],
/// [`Fault::MagnitudeTooLarge`].
pub fn input_set(
    policy: &Policy,
    state: &[Dyadic],
    state_units: Units,
    set: &PerturbationSet,
    value_bits: u32,
) -> Result<InputSet, Fault> {
    let state: Vec<Rational> = state.iter().map(|x| x.to_rational()).collect();
    cell_set(policy, (&state, &state), state_units, set, value_bits)
}

/// Rule `region.input`: the input set of every state between `lower` and `upper`: `center` holds what the network reads
/// unperturbed at any of them, `region` what it reads perturbed, `radii` bound the change at each.
///
/// # Errors
/// As [`input_set`].
pub fn cell_set(
    policy: &Policy,
    (lower, upper): (&[Rational], &[Rational]),
    state_units: Units,
    set: &PerturbationSet,
    value_bits: u32,
) -> Result<InputSet, Fault> {
    let parts = parts(set, policy.network.inputs())?;
    let entry = |value: BigInt| value.to_i64().ok_or(Fault::MagnitudeTooLarge { layer: 0 });
    let outward = |lower: &Rational, upper: &Rational| {
        Ok((entry(lower.floor_scaled(value_bits))?, entry(upper.ceil_scaled(value_bits))?))
    };
    let (mut region, mut center) = (Vec::new(), Vec::new());
    let (mut radii, mut semi_axes) = (Vec::new(), Vec::new());
    let mut offsets: BTreeMap<usize, Vec<(usize, i64)>> = BTreeMap::new();
    for ((coordinate, part), ends) in zip_exact(parts.iter().enumerate(), zip_exact(lower, upper, 0)?, 0)? {
        let reach = reach(policy, ends, state_units, set, (coordinate, part))?;
        region.push(outward(&reach.lower, &reach.upper)?);
        center.push(outward(&reach.center.0, &reach.center.1)?);
        let radius = entry(reach.radius.ceil_scaled(value_bits))?;
        radii.push(radius);
        semi_axes.push((!reach.cut).then_some(radius));
        if let Some((offset, size)) = part.shared.filter(|_| !reach.cut) {
            let reader = Reader::new(policy.normaliser.as_ref(), state_units, set.units, coordinate)?;
            // From below: what is cut off the axis stays in the coordinate's own part of its radius.
            let axis = entry(reader.distance(size)?.floor_scaled(value_bits))?;
            offsets.entry(offset).or_default().push((coordinate, axis));
        }
    }
    let shared = (!offsets.is_empty()).then(|| offsets.into_values().collect());
    let ball = match &set.shape {
        Perturbation::L2 { .. } => Some(GridBall::Euclidean { semi_axes }),
        Perturbation::Linf { .. } | Perturbation::PerCoordinate { .. } | Perturbation::Sensor(_) => {
            shared.map(|offsets| GridBall::Shared { offsets })
        }
    };
    let boxed = GridBox::from_intervals;
    Ok(InputSet { region: boxed(region), center: boxed(center), radii, ball })
}

/// The radii that bound `|perturbed - unperturbed|` for ALL states, per network input: the global families' `v_0`.
///
/// In normalised units these are the radii; in raw units `radius / std`, since clipping does not expand distances.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub fn global_radii(policy: &Policy, set: &PerturbationSet) -> Result<Vec<Rational>, Fault> {
    let parts = parts(set, policy.network.inputs())?;
    let radius = |(coordinate, part): (usize, &Part<'_>)| {
        let reader = Reader::new(policy.normaliser.as_ref(), Units::Raw, set.units, coordinate)?;
        reader.distance(&part.reach())
    };
    parts.iter().enumerate().map(radius).collect()
}

/// The perturbations in the network's units, for ALL states, of a set with these [`global_radii`].
///
/// # Errors
/// [`Fault::ShapeMismatch`] without a radius.
pub fn global_set(set: &PerturbationSet, radii: &[Rational]) -> Result<Perturbation, Fault> {
    match (&set.shape, set.units) {
        // Offsets and limits are given up: the box of the radii holds the set.
        (Perturbation::Sensor(_), _) => Ok(Perturbation::PerCoordinate { radii: radii.to_vec() }),
        (shape, Units::Normalised) => Ok(shape.clone()),
        // The normaliser makes an ellipsoid of the ball; its longest semi-axis bounds its Euclidean size.
        (Perturbation::L2 { .. }, Units::Raw) => {
            Ok(Perturbation::L2 { radius: radii.iter().max().cloned().shaped(0)? })
        }
        (Perturbation::Linf { .. } | Perturbation::PerCoordinate { .. }, Units::Raw) => {
            Ok(Perturbation::PerCoordinate { radii: radii.to_vec() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Head, Layer, Matrix, Network};

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    /// Two inputs with means 0 and 1, standard deviations 1 and 1/2, clip 2.
    fn policy() -> Policy {
        let weight = Matrix { rows: 1, columns: 2, values: vec![Dyadic::new(1, 0); 2] };
        let layer =
            Layer { fixed: false, weight, bias: vec![Dyadic::ZERO], activation: Activation::Identity };
        let normaliser = Normaliser {
            mean: vec![Dyadic::ZERO, Dyadic::new(1, 0)],
            std: vec![r("1"), r("1/2")],
            clip: Some(r("2")),
        };
        Policy {
            network: Network { layers: vec![layer] },
            head: Head::Deterministic,
            normaliser: Some(normaliser),
            source: None,
        }
    }

    fn set(shape: Perturbation, units: Units) -> PerturbationSet {
        PerturbationSet { shape, units }
    }

    fn linf(radius: &str, units: Units) -> PerturbationSet {
        set(Perturbation::Linf { radius: r(radius) }, units)
    }

    /// Two fraction bits: quarters.
    fn at(state: [(i64, i32); 2], units: Units, set: &PerturbationSet) -> Result<InputSet, Fault> {
        let state = state.map(|(m, e)| Dyadic::new(m, e));
        input_set(&policy(), &state, units, set, 2)
    }

    /// State (7/4, 5/4), radius 1/2 raw: normalised (7/4, 1/2), ends 9/4 -> 2 and -1/2, 3/2. One-sided distances 1/2, 1.
    #[test]
    fn raw_boxes_are_clipped() {
        let input = at([(7, -2), (5, -2)], Units::Raw, &linf("1/2", Units::Raw)).unwrap();
        assert_eq!(input.region, GridBox::of(vec![5, -2], vec![8, 6]));
        assert_eq!(input.center, GridBox::of(vec![7, 2], vec![7, 2]));
        assert_eq!((input.radii, input.ball), (vec![2, 4], None));
    }

    /// State (5, 5/4) reads (2, 1/2); a normalised radius 1/2 is added after the clip and not clipped again.
    #[test]
    fn normalised_boxes_are_not_clipped_again() {
        let input = at([(5, 0), (5, -2)], Units::Raw, &linf("1/2", Units::Normalised)).unwrap();
        assert_eq!(input.region, GridBox::of(vec![6, 0], vec![10, 4]));
        assert_eq!(input.radii, vec![2, 2]);
        let beyond = at([(3, 0), (0, 0)], Units::Normalised, &linf("0", Units::Normalised)).unwrap();
        assert_eq!(beyond.center, GridBox::of(vec![12, 0], vec![12, 0]));
    }

    /// A raw ball of radius 1/2 at (7/4, 5/4): the clip cuts the first coordinate, the second has semi-axis 1.
    #[test]
    fn a_clipped_coordinate_leaves_the_ball() {
        let ball = |units| set(Perturbation::L2 { radius: r("1/2") }, units);
        let input = at([(7, -2), (5, -2)], Units::Raw, &ball(Units::Raw)).unwrap();
        assert_eq!(input.ball, Some(GridBall::Euclidean { semi_axes: vec![None, Some(4)] }));
        let input = at([(7, -2), (5, -2)], Units::Raw, &ball(Units::Normalised)).unwrap();
        assert_eq!(input.ball, Some(GridBall::Euclidean { semi_axes: vec![Some(2), Some(2)] }));
    }

    /// A radius of 1/3 on quarters: `1 - 1/3 = 8/12` floors to 2/4, `1 + 1/3` rises to 6/4, the radius to 2/4.
    #[test]
    fn ends_round_outward() {
        let input = at([(1, 0), (3, -1)], Units::Raw, &linf("1/3", Units::Normalised)).unwrap();
        assert_eq!((input.region.at(0), input.radii[0]), (Some((2, 6)), 2));
    }

    #[test]
    fn sets_that_do_not_fit_are_refused() {
        let zero = [(0, 0), (0, 0)];
        let radii = |texts: &[&str]| {
            let radii = texts.iter().map(|t| r(t)).collect();
            at(zero, Units::Raw, &set(Perturbation::PerCoordinate { radii }, Units::Raw))
        };
        let shape = Err(Fault::ShapeMismatch { layer: 0 });
        assert!(radii(&["0", "1"]).is_ok());
        assert_eq!(radii(&["0", "-1"]), Err(Fault::NegativeRadius { coordinate: 1 }));
        assert_eq!(radii(&["0"]), shape);
        assert_eq!(radii(&["0", "1", "1"]), shape);
        let plain = linf("0", Units::Raw);
        assert_eq!(input_set(&policy(), &[Dyadic::ZERO], Units::Raw, &plain, 2), shape);
        let far = at([(1, 62), (0, 0)], Units::Normalised, &linf("0", Units::Normalised));
        assert_eq!(far, Err(Fault::MagnitudeTooLarge { layer: 0 }));
        assert_eq!(
            global_radii(&policy(), &linf("-1", Units::Raw)),
            Err(Fault::NegativeRadius { coordinate: 0 })
        );
    }

    fn sensor(radii: [&str; 2], offset: (&str, &[usize]), limits: &[(usize, &str, &str)]) -> Perturbation {
        let shared = vec![SharedOffset { radius: r(offset.0), inputs: offset.1.to_vec() }];
        let limit = |(input, lower, upper): &(usize, &str, &str)| InputLimit {
            input: *input,
            lower: r(lower),
            upper: r(upper),
        };
        let limits = limits.iter().map(limit).collect();
        Perturbation::Sensor(SensorSet { radii: radii.map(r).to_vec(), shared, limits })
    }

    /// State (1/4, 5/4), noise 1/4 and 1/8, an offset of 1/2 for both: radii 3/4 and 5/8, raw the second twice that; axes 1/2
    /// and 1. One third of an offset has the axis 1/3, cut to a quarter, and twice that cut to 2/4.
    #[test]
    fn offsets_become_axes() {
        let set_of =
            |offset, limits: &[_], units| set(sensor(["1/4", "1/8"], (offset, &[0, 1]), limits), units);
        let input = |set: &PerturbationSet| at([(1, -2), (5, -2)], Units::Raw, set).unwrap();
        let offsets = |first, second| Some(GridBall::Shared { offsets: vec![vec![(0, first), (1, second)]] });
        let raw = input(&set_of("1/2", &[], Units::Raw));
        assert_eq!(raw.region, GridBox::of(vec![-2, -3], vec![4, 7]));
        assert_eq!((raw.radii, raw.ball), (vec![3, 5], offsets(2, 4)));
        let normalised = input(&set_of("1/2", &[], Units::Normalised));
        assert_eq!((normalised.radii, normalised.ball), (vec![3, 3], offsets(2, 2)));
        let third = input(&set_of("1/3", &[], Units::Raw));
        assert_eq!((third.radii, third.ball), (vec![3, 4], offsets(1, 2)));
        // 1/4 may rise to 1/2: it is cut, its change is at most the way down, and it leaves the offset.
        let limited = input(&set_of("1/2", &[(0, "-9", "1/2")], Units::Raw));
        assert_eq!(limited.region, GridBox::of(vec![-2, -3], vec![2, 7]));
        let left = GridBall::Shared { offsets: vec![vec![(1, 4)]] };
        assert_eq!((limited.radii, limited.ball), (vec![3, 5], Some(left)));
        // Limits on both sides of what is read.
        let limited = input(&set_of("1/2", &[(0, "0", "1/2"), (1, "0", "9")], Units::Normalised));
        assert_eq!(limited.region, GridBox::of(vec![0, 0], vec![2, 5]));
        assert_eq!(limited.radii, vec![1, 3]);
        let wide = input(&set_of("1/2", &[(0, "-1/2", "1")], Units::Raw));
        assert_eq!(wide.ball, offsets(2, 4));
    }

    /// Offsets and limits are given up: what remains is the box of the radii.
    #[test]
    fn every_state_has_the_box_of_a_sensors_set() {
        let set = set(sensor(["1/4", "1/8"], ("1/2", &[1]), &[(0, "0", "0")]), Units::Raw);
        let radii = global_radii(&policy(), &set).unwrap();
        assert_eq!(radii, [r("1/4"), r("5/4")]);
        assert_eq!(global_set(&set, &radii), Ok(Perturbation::PerCoordinate { radii }));
        let normalised = PerturbationSet { units: Units::Normalised, ..set };
        let radii = global_radii(&policy(), &normalised).unwrap();
        assert_eq!(radii, [r("1/4"), r("5/8")]);
        assert_eq!(global_set(&normalised, &radii), Ok(Perturbation::PerCoordinate { radii }));
    }

    #[test]
    fn sensor_sets_that_do_not_fit_are_refused() {
        let zero = [(0, 0), (0, 0)];
        let of = |shape: Perturbation| at(zero, Units::Raw, &set(shape, Units::Raw)).map(|_| ());
        let limits = |limits: &[_]| of(sensor(["1", "1"], ("1", &[0, 1]), limits));
        assert_eq!(limits(&[(0, "0", "0"), (1, "-1", "0")]), Ok(()));
        assert_eq!(of(sensor(["1", "-1"], ("1", &[]), &[])), Err(Fault::NegativeRadius { coordinate: 1 }));
        assert_eq!(of(sensor(["1", "1"], ("-1", &[0]), &[])), Err(Fault::NegativeOffset { offset: 0 }));
        assert_eq!(of(sensor(["1", "1"], ("1", &[1, 1]), &[])), Err(Fault::OffsetTwice { coordinate: 1 }));
        assert_eq!(of(sensor(["1", "1"], ("1", &[0, 2]), &[])), Err(Fault::NoSuchInput { coordinate: 2 }));
        assert_eq!(limits(&[(2, "0", "1")]), Err(Fault::NoSuchInput { coordinate: 2 }));
        assert_eq!(limits(&[(1, "1", "0")]), Err(Fault::EmptyLimits { coordinate: 1 }));
        assert_eq!(limits(&[(1, "0", "1"), (1, "0", "1")]), Err(Fault::EmptyLimits { coordinate: 1 }));
        assert_eq!(limits(&[(1, "1/1000", "1")]), Err(Fault::OutsideLimits { coordinate: 1 }));
        assert_eq!(limits(&[(1, "-1", "-1/1000")]), Err(Fault::OutsideLimits { coordinate: 1 }));
        let two = |one: usize, other: usize| {
            let mut shape = sensor(["1", "1"], ("1", &[one]), &[]);
            if let Perturbation::Sensor(set) = &mut shape {
                set.shared.push(SharedOffset { radius: r("1"), inputs: vec![other] });
            }
            of(shape)
        };
        assert_eq!((two(0, 1), two(1, 1)), (Ok(()), Err(Fault::OffsetTwice { coordinate: 1 })));
        let short = SensorSet { radii: vec![r("1")], shared: Vec::new(), limits: Vec::new() };
        assert_eq!(of(Perturbation::Sensor(short)), Err(Fault::ShapeMismatch { layer: 0 }));
    }

    /// Limits hold at both ends of a box of states, and at a point's state as well as at the point; neither the box's width nor
    /// a limit adds to how far a state moves.
    #[test]
    fn limits_hold_at_both_ends_and_at_points() {
        let set = set(sensor(["1/4", "0"], ("1", &[]), &[(0, "0", "1")]), Units::Raw);
        let outside = || Fault::OutsideLimits { coordinate: 0 };
        let cell = |low: &str, high: &str| {
            let (low, high) = ([r(low), r("0")], [r(high), r("0")]);
            cell_set(&policy(), (&low, &high), Units::Raw, &set, 2).map(|input| input.radii)
        };
        assert_eq!(cell("0", "1"), Ok(vec![1, 0]));
        assert_eq!(cell("-1/8", "1"), Err(outside()));
        assert_eq!(cell("0", "9/8"), Err(outside()));
        let moved = |state: &str, offset: &str| {
            let (state, offset) = ([r(state), r("0")], [r(offset), r("0")]);
            read_point(&policy(), &state, Units::Raw, &set, &offset).map(|(_, moved)| moved[0].clone())
        };
        assert_eq!(moved("1", "-1/4"), Ok(r("3/4")));
        assert_eq!(moved("1", "1/8"), Err(outside()));
        assert_eq!(moved("9/8", "-1/4"), Err(outside()));
    }

    /// A negative std would turn every interval round.
    #[test]
    fn a_std_that_is_not_positive_is_refused() {
        let mut policy = policy();
        let set = linf("1", Units::Raw);
        assert_eq!(global_radii(&policy, &set), Ok(vec![r("1"), r("2")]));
        for bad in [r("0"), r("-1")] {
            policy.normaliser.as_mut().unwrap().std[1] = bad;
            let refused = || Fault::StdNotPositive { coordinate: 1 };
            assert_eq!(input_set(&policy, &[Dyadic::ZERO; 2], Units::Raw, &set, 2), Err(refused()));
            assert_eq!(global_radii(&policy, &set), Err(refused()));
        }
    }
}
