//! What the network may read at a state: the ball around the normalised observation, as grid boxes.
//! Trusted. `spec/semantics.md#perturbation-sets`. Normalised perturbations are added after the clip and not clipped
//! again; raw ones are added before the normaliser, so that box ends are mapped exactly.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::kernel::grid::GridError;
use crate::kernel::ibp::GridBox;
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

/// An exact interval of one coordinate: least, unperturbed and greatest value the network can read.
struct Reach {
    lower: Rational,
    center: Rational,
    upper: Rational,
    cut: bool,
}

pub(crate) fn radius_of(set: &PerturbationSet, coordinate: usize) -> Result<&Rational, GridError> {
    let radius = match &set.shape {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => radius,
        Perturbation::PerCoordinate { radii } => {
            radii.get(coordinate).ok_or(GridError::ShapeMismatch { layer: 0 })?
        }
    };
    if radius.is_negative() { Err(GridError::NegativeRadius) } else { Ok(radius) }
}

pub(crate) fn normalise(value: &Rational, mean: Dyadic, std: Dyadic) -> Result<Rational, GridError> {
    // The reader refuses a std that is not positive.
    value.sub(&mean.to_rational()).div(&std.to_rational()).map_err(|_| GridError::ShapeMismatch { layer: 0 })
}

pub(crate) fn clip(value: Rational, limit: Option<&Rational>) -> Rational {
    match limit {
        Some(limit) => value.min(limit.clone()).max(limit.neg()),
        None => value,
    }
}

pub(crate) fn statistics(normaliser: &Normaliser, coordinate: usize) -> Result<(Dyadic, Dyadic), GridError> {
    let pair = normaliser.mean.get(coordinate).zip(normaliser.std.get(coordinate));
    pair.map(|(&mean, &std)| (mean, std)).ok_or(GridError::ShapeMismatch { layer: 0 })
}

fn reach(
    state: Dyadic,
    state_units: Units,
    set: &PerturbationSet,
    normaliser: Option<&Normaliser>,
    coordinate: usize,
) -> Result<Reach, GridError> {
    let radius = radius_of(set, coordinate)?;
    let state = state.to_rational();
    let Some(normaliser) = normaliser else {
        return Ok(Reach { lower: state.sub(radius), upper: state.add(radius), center: state, cut: false });
    };
    let (mean, std) = statistics(normaliser, coordinate)?;
    let limit = normaliser.clip.as_ref();
    let seen = match state_units {
        Units::Raw => clip(normalise(&state, mean, std)?, limit),
        Units::Normalised => state.clone(),
    };
    if set.units == Units::Normalised {
        return Ok(Reach { lower: seen.sub(radius), upper: seen.add(radius), center: seen, cut: false });
    }
    let raw = match state_units {
        Units::Raw => state,
        Units::Normalised => state.mul(&std.to_rational()).add(&mean.to_rational()),
    };
    let lower = normalise(&raw.sub(radius), mean, std)?;
    let upper = normalise(&raw.add(radius), mean, std)?;
    let (clipped_lower, clipped_upper) = (clip(lower.clone(), limit), clip(upper.clone(), limit));
    let cut = clipped_lower != lower || clipped_upper != upper;
    // A normalised state beyond the clip cannot occur; its image is what the network would read.
    Ok(Reach { lower: clipped_lower, center: clip(seen, limit), upper: clipped_upper, cut })
}

/// A bound on the magnitude of every input coordinate over all states; fixes the grids.
///
/// # Errors
/// [`GridError::NegativeRadius`], [`GridError::ShapeMismatch`].
pub fn input_magnitude(
    policy: &Policy,
    states: &States,
    set: &PerturbationSet,
) -> Result<Rational, GridError> {
    let mut largest = Rational::zero();
    for row in states.values.values.chunks(states.values.columns.max(1)) {
        for (coordinate, &state) in row.iter().enumerate() {
            let reach = reach(state, states.units, set, policy.normaliser.as_ref(), coordinate)?;
            largest = largest.max(reach.lower.abs()).max(reach.upper.abs());
        }
    }
    Ok(largest)
}

/// The input set at one state, outward on the grid with `value_bits` fraction bits.
///
/// # Errors
/// [`GridError::NegativeRadius`], [`GridError::ShapeMismatch`], [`GridError::MagnitudeTooLarge`].
pub fn input_set(
    policy: &Policy,
    state: &[Dyadic],
    state_units: Units,
    set: &PerturbationSet,
    value_bits: u32,
) -> Result<InputSet, GridError> {
    if state.len() != policy.network.inputs() {
        return Err(GridError::ShapeMismatch { layer: 0 });
    }
    let entry = |value: BigInt| value.to_i64().ok_or(GridError::MagnitudeTooLarge { layer: 0 });
    let mut input = InputSet {
        region: GridBox::default(),
        center: GridBox::default(),
        radii: Vec::with_capacity(state.len()),
        ball: None,
    };
    let mut semi_axes = Vec::new();
    for (coordinate, &value) in state.iter().enumerate() {
        let reach = reach(value, state_units, set, policy.normaliser.as_ref(), coordinate)?;
        input.region.lower.push(entry(reach.lower.floor_scaled(value_bits))?);
        input.region.upper.push(entry(reach.upper.ceil_scaled(value_bits))?);
        input.center.lower.push(entry(reach.center.floor_scaled(value_bits))?);
        input.center.upper.push(entry(reach.center.ceil_scaled(value_bits))?);
        let radius = reach.upper.sub(&reach.center).max(reach.center.sub(&reach.lower));
        let radius = entry(radius.ceil_scaled(value_bits))?;
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
/// [`GridError::NegativeRadius`], [`GridError::ShapeMismatch`].
pub fn global_radii(policy: &Policy, set: &PerturbationSet) -> Result<Vec<Rational>, GridError> {
    let inputs = policy.network.inputs();
    if let Perturbation::PerCoordinate { radii } = &set.shape
        && radii.len() != inputs
    {
        return Err(GridError::ShapeMismatch { layer: 0 });
    }
    (0..inputs)
        .map(|coordinate| {
            let radius = radius_of(set, coordinate)?;
            match (&policy.normaliser, set.units) {
                (Some(normaliser), Units::Raw) => {
                    let (_, std) = statistics(normaliser, coordinate)?;
                    radius.div(&std.to_rational()).map_err(|_| GridError::ShapeMismatch { layer: 0 })
                }
                _ => Ok(radius.clone()),
            }
        })
        .collect()
}
