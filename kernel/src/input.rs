//! What the network may read at a state: the ball around the normalised observation, as grid boxes.
//! Trusted. `spec/semantics.md#perturbation-sets`. Normalised perturbations are added after the clip and not clipped
//! again; raw ones are added before the normaliser, so that box ends are mapped exactly.

use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::fault::Fault;
use crate::interval::GridBox;
use crate::model::{Normaliser, Perturbation, PerturbationSet, Policy, States, Units};
use crate::number::{Dyadic, Rational};
use crate::wide::{AtLayer, zip_exact};

/// An l2 part of an input set: over the coordinates with a scale, the perturbation lies in
/// `{ scale * u : |u|_2 <= 1 }`; the others are bounded by the box alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridBall {
    /// Upper end of each coordinate's semi-axis on the value grid; `None` where the normaliser's clip may cut it.
    pub semi_axes: Vec<Option<i64>>,
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
    /// Set for l2 perturbations.
    pub ball: Option<GridBall>,
}

/// The radius of a set in one coordinate: of its box, or of its whole ball.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::ShapeMismatch`].
pub(crate) fn radius_of(set: &PerturbationSet, coordinate: usize) -> Result<&Rational, Fault> {
    let radius = match &set.shape {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => radius,
        Perturbation::PerCoordinate { radii } => radii.get(coordinate).shaped(0)?,
    };
    if radius.is_negative() { Err(Fault::NegativeRadius { coordinate }) } else { Ok(radius) }
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

    /// What the network reads of a state that is moved by `offset`, and whether the clip changed it there; rises with both.
    fn read(&self, state: &Rational, offset: &Rational) -> Result<(Rational, bool), Fault> {
        let moved = |from: &Rational| if offset.is_zero() { from.clone() } else { from.add(offset) };
        let Some((mean, std)) = &self.statistics else { return Ok((moved(state), false)) };
        let normalised = |raw: &Rational| raw.sub(mean).div(std).map_err(|_| Fault::ZeroDenominator);
        match (self.raw, self.units) {
            (true, Units::Raw) => Ok(self.clipped(normalised(&moved(state))?)),
            (true, Units::Normalised) => Ok(self.clipped(normalised(&moved(&state.mul(std).add(mean)))?)),
            (false, Units::Raw) => Ok((moved(&self.clipped(normalised(state)?).0), false)),
            (false, Units::Normalised) => Ok((moved(state), false)),
        }
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
    let zero = Rational::zero();
    let read = |(coordinate, value)| {
        Ok(Reader::new(normaliser, Units::Raw, Units::Raw, coordinate)?.read(value, &zero)?.0)
    };
    observation.iter().enumerate().map(read).collect()
}

/// What the network reads at a state and at the point `offset` from it, in the units of `set`, exactly.
///
/// # Errors
/// [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub(crate) fn read_point(
    policy: &Policy,
    state: &[Rational],
    units: Units,
    set: &PerturbationSet,
    offset: &[Rational],
) -> Result<(Vec<Rational>, Vec<Rational>), Fault> {
    let (mut clean, mut moved) = (Vec::new(), Vec::new());
    for (coordinate, (state, offset)) in zip_exact(state, offset, 0)?.enumerate() {
        let reader = Reader::new(policy.normaliser.as_ref(), units, set.units, coordinate)?;
        clean.push(reader.read(state, &Rational::zero())?.0);
        moved.push(reader.read(state, offset)?.0);
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
    coordinate: usize,
) -> Result<Reach, Fault> {
    let radius = radius_of(set, coordinate)?;
    let reader = Reader::new(policy.normaliser.as_ref(), units, set.units, coordinate)?;
    let (lower, lower_cut) = reader.read(low, &radius.neg())?;
    let (upper, upper_cut) = reader.read(high, radius)?;
    // For raw perturbations a normalised state beyond the clip cannot occur; its image is what the network would read.
    let below = reader.read(low, &Rational::zero())?.0;
    let above = if low == high { below.clone() } else { reader.read(high, &Rational::zero())?.0 };
    // Neither end of a change leaves its interval.
    let radius = match reader.raw {
        true => upper.sub(&below).max(above.sub(&lower)).min(reader.distance(radius)?),
        false => radius.clone(),
    };
    let center = (below, above);
    Ok(Reach { lower, center, upper, radius, cut: lower_cut || upper_cut })
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
    for (coordinate, ends) in zip_exact(lower, upper, 0)?.enumerate() {
        let reach = reach(policy, ends, state_units, set, coordinate)?;
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
    check_radii(set, lower.len())?;
    if lower.len() != policy.network.inputs() {
        return Err(Fault::ShapeMismatch { layer: 0 });
    }
    let entry = |value: BigInt| value.to_i64().ok_or(Fault::MagnitudeTooLarge { layer: 0 });
    let outward = |lower: &Rational, upper: &Rational| {
        Ok((entry(lower.floor_scaled(value_bits))?, entry(upper.ceil_scaled(value_bits))?))
    };
    let (mut region, mut center) = (Vec::new(), Vec::new());
    let (mut radii, mut semi_axes) = (Vec::new(), Vec::new());
    for (coordinate, ends) in zip_exact(lower, upper, 0)?.enumerate() {
        let reach = reach(policy, ends, state_units, set, coordinate)?;
        region.push(outward(&reach.lower, &reach.upper)?);
        center.push(outward(&reach.center.0, &reach.center.1)?);
        let radius = entry(reach.radius.ceil_scaled(value_bits))?;
        radii.push(radius);
        semi_axes.push((!reach.cut).then_some(radius));
    }
    let is_ball = matches!(set.shape, Perturbation::L2 { .. });
    Ok(InputSet {
        region: GridBox::from_intervals(region),
        center: GridBox::from_intervals(center),
        radii,
        ball: is_ball.then_some(GridBall { semi_axes }),
    })
}

/// Where radii are listed, there is one per input.
fn check_radii(set: &PerturbationSet, inputs: usize) -> Result<(), Fault> {
    match &set.shape {
        Perturbation::PerCoordinate { radii } if radii.len() != inputs => {
            Err(Fault::ShapeMismatch { layer: 0 })
        }
        Perturbation::PerCoordinate { .. } | Perturbation::Linf { .. } | Perturbation::L2 { .. } => Ok(()),
    }
}

/// The radii that bound `|perturbed - unperturbed|` for ALL states, per network input: the global families' `v_0`.
///
/// In normalised units these are the radii; in raw units `radius / std`, since clipping does not expand distances.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub fn global_radii(policy: &Policy, set: &PerturbationSet) -> Result<Vec<Rational>, Fault> {
    let inputs = policy.network.inputs();
    check_radii(set, inputs)?;
    let radius = |coordinate| {
        let reader = Reader::new(policy.normaliser.as_ref(), Units::Raw, set.units, coordinate)?;
        reader.distance(radius_of(set, coordinate)?)
    };
    (0..inputs).map(radius).collect()
}

/// The perturbations in the network's units, for ALL states, of a set with these [`global_radii`].
///
/// # Errors
/// [`Fault::ShapeMismatch`] without a radius.
pub fn global_set(set: &PerturbationSet, radii: &[Rational]) -> Result<Perturbation, Fault> {
    match (&set.shape, set.units) {
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
        assert_eq!(input.ball, Some(GridBall { semi_axes: vec![None, Some(4)] }));
        let input = at([(7, -2), (5, -2)], Units::Raw, &ball(Units::Normalised)).unwrap();
        assert_eq!(input.ball, Some(GridBall { semi_axes: vec![Some(2), Some(2)] }));
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
