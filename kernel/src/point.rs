//! Rule `counterexample.point`: what one perturbed observation proves from below. Trusted. `spec/rules/band.md`.
//!
//! The point's offset from the state is rational and its membership is decided exactly; the policy is enclosed at both.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::One;

use crate::enclose::{COARSE_BITS, Enclosures, TanhTable, exp, exp_both, sqrt};
use crate::fault::Fault;
use crate::grid::{GridNetwork, rational_entry};
use crate::ibp::propagate;
use crate::input::{parts, read_point};
use crate::interval::GridBox;
use crate::model::{Head, Perturbation, PerturbationSet, Policy, Units};
use crate::number::{Dyadic, Rational};
use crate::wide::zip_exact;

/// The network's exact inputs at the state and at the point that lies `offset` from it, in the units of `set`.
///
/// Accepts iff `|offset_j| <= radius_j` for every coordinate, or `sum offset_j^2 <= radius^2` for l2; where coordinates share
/// an offset, iff one value of it leaves each of them no more than its radius; and iff state and point are within limits.
///
/// # Errors
/// [`Fault::PointTooFar`], [`Fault::PointOutsideBall`], [`Fault::PointShape`], [`Fault::OutsideLimits`], what is wrong with the
/// set.
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
    let parts = parts(set, width)?;
    if let Perturbation::L2 { radius } = &set.shape {
        let squares = offset.iter().fold(Rational::zero(), |sum, x| sum.add(&x.mul(x)));
        if squares > radius.mul(radius) {
            return Err(Fault::PointOutsideBall);
        }
    } else {
        // Of each shared offset, the values that explain the coordinates so far.
        let mut left: BTreeMap<usize, (Rational, Rational)> = BTreeMap::new();
        for (coordinate, (part, offset)) in zip_exact(&parts, offset, 0)?.enumerate() {
            let (least, most) = (offset.sub(part.radius), offset.add(part.radius));
            let possible = match part.shared {
                None => !least.is_positive() && !most.is_negative(),
                Some((group, size)) => {
                    let (lower, upper) = left.entry(group).or_insert_with(|| (size.neg(), size.clone()));
                    (*lower, *upper) = (lower.clone().max(least), upper.clone().min(most));
                    lower <= upper
                }
            };
            if !possible {
                return Err(Fault::PointTooFar { coordinate });
            }
        }
    }
    let state: Vec<Rational> = state.iter().map(|x| x.to_rational()).collect();
    read_point(policy, &state, state_units, set, offset)
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
    Ok(propagate(network, table, &GridBox::from_intervals(entries))?.outputs()?.clone())
}

/// Lower bounds of each output's absolute change: the gaps between two enclosures, exact.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if the enclosures have different lengths.
pub fn deviation_from_below(
    clean: &GridBox,
    moved: &GridBox,
    value_bits: u32,
) -> Result<Vec<Rational>, Fault> {
    let exact = |value: i64| Rational::on_grid(value, value_bits);
    let gaps = zip_exact(clean.intervals(), moved.intervals(), 0)?.map(|((l1, u1), (l2, u2))| {
        let (rise, fall) = (exact(l2).sub(&exact(u1)), exact(l1).sub(&exact(u2)));
        rise.max(fall).max(Rational::zero())
    });
    Ok(gaps.collect())
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
    /// [`Fault::ExpArgumentTooLarge`] for a standard deviation too small to invert.
    pub fn new(head: &'a Head) -> Result<Self, Fault> {
        let mut inverse_std = Vec::new();
        if let Head::Gaussian { log_std } = head {
            for log_std in log_std {
                inverse_std.push(exp(&log_std.to_rational().neg())?.lower);
            }
        }
        Ok(Self { head, enclosures: Enclosures::new()?, inverse_std })
    }

    /// A lower bound of the total variation between the policies at the state and at the point.
    ///
    /// Gaussian: `2 Phi(d / 2) - 1` with every factor of d from below. Categorical: what the probabilities of the actions
    /// that grew (or of those that shrank) have changed by, each from below.
    ///
    /// # Errors
    /// [`Fault::NoDistribution`], [`Fault::PointShape`], [`Fault::ShapeMismatch`] and those of the enclosures.
    pub fn total_variation(
        &self,
        clean: &GridBox,
        moved: &GridBox,
        value_bits: u32,
    ) -> Result<Rational, Fault> {
        match self.head {
            Head::Gaussian { .. } => {
                let gaps = deviation_from_below(clean, moved, value_bits)?;
                let mut squares = Rational::zero();
                let pairs = zip_exact(&gaps, &self.inverse_std, 0).map_err(|_| Fault::PointShape)?;
                for (gap, inverse) in pairs {
                    let standardised = gap.mul(inverse);
                    squares = squares.add(&standardised.mul(&standardised));
                }
                let distance = sqrt(&squares)?.lower;
                Ok(self.enclosures.gaussian_tv(&distance)?.lower.max(Rational::zero()))
            }
            Head::Categorical => {
                let before = inverse_probabilities(clean, value_bits)?;
                let after = inverse_probabilities(moved, value_bits)?;
                let mut sums = [(); 2].map(|()| (BigInt::ZERO, BigInt::one()));
                let [grown, shrunk] = &mut sums;
                for (before, after) in zip_exact(&before, &after, 0).map_err(|_| Fault::PointShape)? {
                    add_growth(grown, &after.1, &before.0);
                    add_growth(shrunk, &before.1, &after.0);
                }
                let [grown, shrunk] = sums.map(|(top, bottom)| Rational::new(top << COARSE_BITS, bottom));
                let zero = |_| Fault::ZeroDenominator;
                Ok(grown.map_err(zero)?.max(shrunk.map_err(zero)?))
            }
            Head::Deterministic => Err(Fault::NoDistribution),
        }
    }
}

/// Adds `1 / most_after - 1 / least_before` to a fraction, if it is above 0; both are. Nothing is reduced on the way: every gcd
/// costs more than all the exponentials.
fn add_growth(sum: &mut (BigInt, BigInt), most_after: &BigInt, least_before: &BigInt) {
    if most_after < least_before {
        let both = most_after * least_before;
        sum.0 = &sum.0 * &both + (least_before - most_after) * &sum.1;
        sum.1 *= both;
    }
}

/// Enclosures of the inverses of the softmax's probabilities, `sum_b exp(z_b - z_a)`, as multiples of `2^-96`.
fn inverse_probabilities(logits: &GridBox, value_bits: u32) -> Result<Vec<(BigInt, BigInt)>, Fault> {
    let one = BigInt::one() << COARSE_BITS;
    let mut sums = vec![(one.clone(), one); logits.len()];
    for (action, (_, upper)) in logits.intervals().enumerate() {
        for (other, (lower, _)) in logits.intervals().enumerate().filter(|(other, _)| *other != action) {
            // What `action` has over `other` at most is what `other` has over it at least, with the other sign.
            let lead = Rational::on_grid(BigInt::from(upper) - lower, value_bits);
            let (power, inverse) = exp_both(&lead.abs())?;
            let (power, inverse) = if lead.is_negative() { (inverse, power) } else { (power, inverse) };
            sums.get_mut(action).ok_or(Fault::PointShape)?.0 += inverse.0;
            sums.get_mut(other).ok_or(Fault::PointShape)?.1 += power.1;
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Softmax of (1, 0, -1) is (0.66524, 0.24473, 0.09003): from thirds one action gains 0.33191, two lose that much together.
    /// The other way round two gain.
    #[test]
    fn categorical_changes_by_hand() {
        let logits = |logits: [i64; 3]| GridBox::point(logits.map(|z| z << 40));
        let head = PointHead::new(&Head::Categorical).unwrap();
        for (clean, moved) in [([0; 3], [1, 0, -1]), ([1, 0, -1], [0; 3])] {
            let found = head.total_variation(&logits(clean), &logits(moved), 40).unwrap();
            let near = |text: &str| Rational::parse(text).unwrap();
            assert!(near("0.331907") < found && found < near("0.331908"), "{found}");
        }
    }
}
