//! Rule `counterexample.point`: what one perturbed observation proves from below. Trusted. `spec/rules/band.md`.
//!
//! The point's offset from the state is rational and its membership is decided exactly; the policy is enclosed at both.

use alloc::vec::Vec;

use crate::enclose::{Enclosures, TanhTable, exp, sqrt};
use crate::fault::Fault;
use crate::grid::{GridNetwork, rational_entry};
use crate::ibp::{GridBox, propagate};
use crate::input::{clip, normalise, radius_of, statistics};
use crate::model::{Head, Perturbation, PerturbationSet, Policy, Units};
use crate::number::{Dyadic, Rational};

/// Fraction bits of inverse standard deviations.
const INVERSE_BITS: u32 = 128;

/// The network's exact inputs at the state and at the point that lies `offset` from it, in the units of `set`.
///
/// Accepts iff `|offset_j| <= radius_j` for every coordinate, or `sum offset_j^2 <= radius^2` for l2.
///
/// # Errors
/// [`Fault::PointTooFar`], [`Fault::PointOutsideBall`], [`Fault::PointShape`], a negative radius.
pub fn perturbed_inputs(
    policy: &Policy,
    state: &[Dyadic],
    state_units: Units,
    set: &PerturbationSet,
    offset: &[Rational],
) -> Result<(Vec<Rational>, Vec<Rational>), Fault> {
    let width = policy.network.inputs();
    if state.len() != width || offset.len() != width {
        return Err(Fault::PointShape);
    }
    let (mut clean, mut moved, mut squares) = (Vec::new(), Vec::new(), Rational::zero());
    let euclidean = matches!(set.shape, Perturbation::L2 { .. });
    for (coordinate, (&value, offset)) in state.iter().zip(offset).enumerate() {
        if !euclidean && offset.abs() > *radius_of(set, coordinate)? {
            return Err(Fault::PointTooFar { coordinate });
        }
        squares = squares.add(&offset.mul(offset));
        let value = value.to_rational();
        let (seen, read) = match &policy.normaliser {
            None => (value.clone(), value.add(offset)),
            Some(normaliser) => {
                let (mean, std) = statistics(normaliser, coordinate)?;
                let see = |raw: &Rational| {
                    Ok::<_, Fault>(clip(normalise(raw, mean, std)?, normaliser.clip.as_ref()))
                };
                let raw = match state_units {
                    Units::Raw => value.clone(),
                    Units::Normalised => value.mul(std).add(&mean.to_rational()),
                };
                match (set.units, state_units) {
                    (Units::Raw, _) => (see(&raw)?, see(&raw.add(offset))?),
                    (Units::Normalised, Units::Normalised) => (value.clone(), value.add(offset)),
                    (Units::Normalised, Units::Raw) => {
                        let seen = see(&raw)?;
                        (seen.clone(), seen.add(offset))
                    }
                }
            }
        };
        clean.push(seen);
        moved.push(read);
    }
    if euclidean {
        let radius = radius_of(set, 0)?;
        if squares > radius.mul(radius) {
            return Err(Fault::PointOutsideBall);
        }
    }
    Ok((clean, moved))
}

/// Encloses the outputs at one exact input.
///
/// # Errors
/// [`Fault`].
pub fn enclose_outputs(
    network: &GridNetwork,
    table: &TanhTable,
    input: &[Rational],
) -> Result<GridBox, Fault> {
    let entries = input.iter().map(|x| rational_entry(x, network.value_bits));
    let entries = entries.collect::<Option<Vec<_>>>().ok_or(Fault::MagnitudeTooLarge { layer: 0 })?;
    let bounds = propagate(network, table, &GridBox::from_intervals(entries))?;
    Ok(bounds.post.into_iter().next_back().unwrap_or_default())
}

/// Lower bounds of each output's absolute change: the gaps between two enclosures, exact.
pub fn deviation_from_below(clean: &GridBox, moved: &GridBox, value_bits: u32) -> Vec<Rational> {
    let gap = |((l1, u1), (l2, u2)): ((i64, i64), (i64, i64))| {
        let gap = l2.saturating_sub(u1).max(l1.saturating_sub(u2)).max(0);
        Rational::from_dyadic(gap.into(), i64::from(value_bits).saturating_neg())
    };
    clean.intervals().zip(moved.intervals()).map(gap).collect()
}

/// A head with the constants of its lower bounds.
pub struct PointHead<'a> {
    head: &'a Head,
    enclosures: Enclosures,
    /// `1 / sigma` from below; empty unless Gaussian.
    inverse_std: Vec<Rational>,
}

impl<'a> PointHead<'a> {
    /// Prepares the constants of `head`.
    ///
    /// # Errors
    /// [`Fault::Enclosure`] for a standard deviation too small to invert.
    pub fn new(head: &'a Head) -> Result<Self, Fault> {
        let mut inverse_std = Vec::new();
        if let Head::Gaussian { log_std } = head {
            for log_std in log_std {
                let floor = exp(&log_std.to_rational().neg())?.lower.floor_scaled(INVERSE_BITS);
                inverse_std.push(Rational::from_dyadic(floor, i64::from(INVERSE_BITS).saturating_neg()));
            }
        }
        Ok(Self { head, enclosures: Enclosures::new(), inverse_std })
    }

    /// A lower bound of the total variation between the policies at the state and at the point.
    ///
    /// Gaussian: `2 Phi(d / 2) - 1` with every factor of d from below. Categorical: what the probabilities of the actions
    /// that grew (or of those that shrank) have changed by, each from below.
    ///
    /// # Errors
    /// [`Fault::Enclosure`], [`Fault::NoDistribution`], [`Fault::PointShape`].
    pub fn total_variation(
        &self,
        clean: &GridBox,
        moved: &GridBox,
        value_bits: u32,
    ) -> Result<Rational, Fault> {
        match self.head {
            Head::Gaussian { .. } => {
                let gaps = deviation_from_below(clean, moved, value_bits);
                if gaps.len() != self.inverse_std.len() {
                    return Err(Fault::PointShape);
                }
                let squares =
                    gaps.iter().zip(&self.inverse_std).fold(Rational::zero(), |sum, (gap, inverse)| {
                        let standardised = gap.mul(inverse);
                        sum.add(&standardised.mul(&standardised))
                    });
                let distance = sqrt(&squares)?.lower;
                Ok(self.enclosures.gaussian_tv(&distance)?.lower.max(Rational::zero()))
            }
            Head::Categorical => {
                let (mut grown, mut shrunk) = (Rational::zero(), Rational::zero());
                for action in 0..clean.lower.len() {
                    let before = probability(clean, action, value_bits)?;
                    let after = probability(moved, action, value_bits)?;
                    grown = grown.add(&after.0.sub(&before.1).max(Rational::zero()));
                    shrunk = shrunk.add(&before.0.sub(&after.1).max(Rational::zero()));
                }
                Ok(grown.max(shrunk))
            }
            Head::Deterministic => Err(Fault::NoDistribution),
        }
    }
}

/// Enclosure of one action's softmax probability, `1 / sum_b exp(z_b - z_a)`.
fn probability(logits: &GridBox, action: usize, value_bits: u32) -> Result<(Rational, Rational), Fault> {
    let bits = i64::from(value_bits).saturating_neg();
    let (own_lower, own_upper) = logits.intervals().nth(action).ok_or(Fault::PointShape)?;
    let (mut least, mut largest) = (Rational::one(), Rational::one());
    for (_, (lower, upper)) in logits.intervals().enumerate().filter(|(other, _)| *other != action) {
        least = least.add(&exp(&Rational::from_dyadic(lower.saturating_sub(own_upper).into(), bits))?.lower);
        largest =
            largest.add(&exp(&Rational::from_dyadic(upper.saturating_sub(own_lower).into(), bits))?.upper);
    }
    let inverse = |sum: &Rational| Rational::one().div(sum).map_err(|_| Fault::PointShape);
    Ok((inverse(&largest)?, inverse(&least)?))
}
