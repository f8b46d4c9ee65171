//! What the network may read at a state: the ball around the normalised observation, as grid boxes.
//! Trusted. `spec/semantics.md#perturbation-sets`. Normalised perturbations are added after the clip and not clipped
//! again; raw ones are added before the normaliser, so that box ends are mapped exactly.

use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::fault::Fault;
use crate::ibp::GridBox;
use crate::model::{Normaliser, Perturbation, PerturbationSet, Policy, States, Units};
use crate::number::{Dyadic, Rational};

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

/// One coordinate over an interval of states: what the network reads unperturbed and perturbed, and how far apart at most.
struct Reach {
    lower: Rational,
    center: (Rational, Rational),
    upper: Rational,
    radius: Rational,
    cut: bool,
}

pub(crate) fn radius_of(set: &PerturbationSet, coordinate: usize) -> Result<&Rational, Fault> {
    let radius = match &set.shape {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => radius,
        Perturbation::PerCoordinate { radii } => {
            radii.get(coordinate).ok_or(Fault::ShapeMismatch { layer: 0 })?
        }
    };
    if radius.is_negative() { Err(Fault::NegativeRadius { coordinate }) } else { Ok(radius) }
}

pub(crate) fn normalise(value: &Rational, mean: Dyadic, std: &Rational) -> Result<Rational, Fault> {
    value.sub(&mean.to_rational()).div(std).map_err(|_| Fault::ShapeMismatch { layer: 0 })
}

pub(crate) fn clip(value: Rational, limit: Option<&Rational>) -> Rational {
    match limit {
        Some(limit) => value.min(limit.clone()).max(limit.neg()),
        None => value,
    }
}

pub(crate) fn statistics(normaliser: &Normaliser, coordinate: usize) -> Result<(Dyadic, &Rational), Fault> {
    let pair = normaliser.mean.get(coordinate).zip(normaliser.std.get(coordinate));
    let (&mean, std) = pair.ok_or(Fault::ShapeMismatch { layer: 0 })?;
    if !std.is_positive() { Err(Fault::StdNotPositive { coordinate }) } else { Ok((mean, std)) }
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
    let Some(normaliser) = normaliser else { return Ok(observation.to_vec()) };
    let read = |(coordinate, value)| {
        let (mean, std) = statistics(normaliser, coordinate)?;
        Ok(clip(normalise(value, mean, std)?, normaliser.clip.as_ref()))
    };
    observation.iter().enumerate().map(read).collect()
}

fn reach(
    (low, high): (&Rational, &Rational),
    state_units: Units,
    set: &PerturbationSet,
    normaliser: Option<&Normaliser>,
    coordinate: usize,
) -> Result<Reach, Fault> {
    let radius = radius_of(set, coordinate)?;
    let added = |center: (Rational, Rational)| {
        let (lower, upper) = (center.0.sub(radius), center.1.add(radius));
        Reach { lower, center, upper, radius: radius.clone(), cut: false }
    };
    let Some(normaliser) = normaliser else { return Ok(added((low.clone(), high.clone()))) };
    let (mean, std) = statistics(normaliser, coordinate)?;
    let limit = normaliser.clip.as_ref();
    let seen = |state: &Rational| match state_units {
        Units::Raw => Ok(clip(normalise(state, mean, std)?, limit)),
        Units::Normalised => Ok(state.clone()),
    };
    let seen = (seen(low)?, seen(high)?);
    if set.units == Units::Normalised {
        return Ok(added(seen));
    }
    let raw = |state: &Rational| match state_units {
        Units::Raw => state.clone(),
        Units::Normalised => state.mul(std).add(&mean.to_rational()),
    };
    let lower = normalise(&raw(low).sub(radius), mean, std)?;
    let upper = normalise(&raw(high).add(radius), mean, std)?;
    let (clipped_lower, clipped_upper) = (clip(lower.clone(), limit), clip(upper.clone(), limit));
    let cut = clipped_lower != lower || clipped_upper != upper;
    // A normalised state beyond the clip cannot occur; its image is what the network would read.
    let center = (clip(seen.0, limit), clip(seen.1, limit));
    // The clip does not expand distances, and neither end of a change leaves its interval.
    let whole = radius.div(std).map_err(|_| Fault::ShapeMismatch { layer: 0 })?;
    let (rise, fall) = (clipped_upper.sub(&center.0), center.1.sub(&clipped_lower));
    let radius = rise.max(fall).min(whole);
    Ok(Reach { lower: clipped_lower, center, upper: clipped_upper, radius, cut })
}

/// A bound on the magnitude of every input coordinate over all states; fixes the grids.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub fn input_magnitude(policy: &Policy, states: &States, set: &PerturbationSet) -> Result<Rational, Fault> {
    let mut largest = Rational::zero();
    for row in states.values.values.chunks(states.values.columns.max(1)) {
        for (coordinate, &state) in row.iter().enumerate() {
            let state = state.to_rational();
            let reach = reach((&state, &state), states.units, set, policy.normaliser.as_ref(), coordinate)?;
            largest = largest.max(reach.lower.abs()).max(reach.upper.abs());
        }
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
    for (coordinate, ends) in lower.iter().zip(upper).enumerate() {
        let reach = reach(ends, state_units, set, policy.normaliser.as_ref(), coordinate)?;
        largest = largest.max(reach.lower.abs()).max(reach.upper.abs());
    }
    Ok(largest)
}

/// The input set at one state, outward on the grid with `value_bits` fraction bits.
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

/// The input set of every state between `lower` and `upper`: `center` holds what the network reads unperturbed at any of
/// them, `region` what it reads perturbed, `radii` bound the change at each.
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
    let extra = match &set.shape {
        Perturbation::PerCoordinate { radii } => radii.len() != lower.len(),
        _ => false,
    };
    if extra || lower.len() != policy.network.inputs() || upper.len() != lower.len() {
        return Err(Fault::ShapeMismatch { layer: 0 });
    }
    let entry = |value: BigInt| value.to_i64().ok_or(Fault::MagnitudeTooLarge { layer: 0 });
    let mut input = InputSet {
        region: GridBox::default(),
        center: GridBox::default(),
        radii: Vec::with_capacity(lower.len()),
        ball: None,
    };
    let mut semi_axes = Vec::new();
    for (coordinate, ends) in lower.iter().zip(upper).enumerate() {
        let reach = reach(ends, state_units, set, policy.normaliser.as_ref(), coordinate)?;
        input.region.lower.push(entry(reach.lower.floor_scaled(value_bits))?);
        input.region.upper.push(entry(reach.upper.ceil_scaled(value_bits))?);
        input.center.lower.push(entry(reach.center.0.floor_scaled(value_bits))?);
        input.center.upper.push(entry(reach.center.1.ceil_scaled(value_bits))?);
        let radius = entry(reach.radius.ceil_scaled(value_bits))?;
        input.radii.push(radius);
        semi_axes.push((!reach.cut).then_some(radius));
    }
    if matches!(set.shape, Perturbation::L2 { .. }) {
        input.ball = Some(GridBall { semi_axes });
    }
    Ok(input)
}

/// The radii that bound `|perturbed - unperturbed|` for ALL states, per network input: the global families' `v_0`.
///
/// In normalised units these are the radii; in raw units `radius / std`, since clipping does not expand distances.
///
/// # Errors
/// [`Fault::NegativeRadius`], [`Fault::StdNotPositive`], [`Fault::ShapeMismatch`].
pub fn global_radii(policy: &Policy, set: &PerturbationSet) -> Result<Vec<Rational>, Fault> {
    let inputs = policy.network.inputs();
    if let Perturbation::PerCoordinate { radii } = &set.shape
        && radii.len() != inputs
    {
        return Err(Fault::ShapeMismatch { layer: 0 });
    }
    (0..inputs)
        .map(|coordinate| {
            let radius = radius_of(set, coordinate)?;
            match (&policy.normaliser, set.units) {
                (Some(normaliser), Units::Raw) => {
                    let (_, std) = statistics(normaliser, coordinate)?;
                    radius.div(std).map_err(|_| Fault::ShapeMismatch { layer: 0 })
                }
                _ => Ok(radius.clone()),
            }
        })
        .collect()
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
        assert_eq!(input.region, GridBox { lower: vec![5, -2], upper: vec![8, 6] });
        assert_eq!(input.center, GridBox { lower: vec![7, 2], upper: vec![7, 2] });
        assert_eq!((input.radii, input.ball), (vec![2, 4], None));
    }

    /// State (5, 5/4) reads (2, 1/2); a normalised radius 1/2 is added after the clip and not clipped again.
    #[test]
    fn normalised_boxes_are_not_clipped_again() {
        let input = at([(5, 0), (5, -2)], Units::Raw, &linf("1/2", Units::Normalised)).unwrap();
        assert_eq!(input.region, GridBox { lower: vec![6, 0], upper: vec![10, 4] });
        assert_eq!(input.radii, vec![2, 2]);
        let beyond = at([(3, 0), (0, 0)], Units::Normalised, &linf("0", Units::Normalised)).unwrap();
        assert_eq!(beyond.center, GridBox { lower: vec![12, 0], upper: vec![12, 0] });
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
        assert_eq!((input.region.lower[0], input.region.upper[0], input.radii[0]), (2, 6, 2));
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
