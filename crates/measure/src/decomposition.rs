//! The three-term decomposition per mask: clean, pruning loss, robustness; measured, with certified upper bounds beside
//! the second and third term. Untrusted; arithmetic is exact. `spec/decomposition.md`.

mod input;
mod report;

pub use input::{
    ActionMode, Attacked, Bound, BoundKind, Bounds, DecompositionError, Episode, FORMAT, Input, MAX_BYTES,
    MaskEntry, Reference, Returns, parse_input,
};
pub use report::{emit_json, emit_table, emit_text};

use num_bigint::BigInt;
use secateur_checker::number::Rational;

/// One term: what was measured and, for the second and third, what is certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Difference of two measured means, exact.
    pub measured: Rational,
    /// Certified upper bound on the true difference, if one was given.
    pub bound: Option<Bound>,
}

impl Term {
    /// Whether the measured value is at most the bound; `None` without a bound. A measured mean is random: above the
    /// bound it points to too few episodes or to an assumption that fails.
    pub fn within_bound(&self) -> Option<bool> {
        self.bound.as_ref().map(|bound| self.measured <= bound.value)
    }
}

/// The terms of one mask. `clean + pruning + robustness = total` exactly: each mean is used on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskTerms {
    /// Name of the mask.
    pub name: String,
    /// Fraction pruned.
    pub sparsity: Rational,
    /// `J(pi_m)`: mean return of the pruned policy.
    pub pruned_mean: Rational,
    /// `J~(pi_m o nu)`: its mean return under the attack.
    pub attacked_mean: Rational,
    /// Name of the attack; a found attack makes the third term a lower estimate.
    pub attack: String,
    /// `J(ref) - J(pi)`.
    pub clean: Term,
    /// `J(pi) - J(pi_m)`.
    pub pruning: Term,
    /// `J(pi_m) - J~(pi_m o nu)`.
    pub robustness: Term,
    /// `J(ref) - J~(pi_m o nu)`.
    pub total: Rational,
}

/// The decomposition of every mask of an input, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decomposition {
    /// The stated reference.
    pub reference: Reference,
    /// How actions were chosen.
    pub actions: ActionMode,
    /// What a return is.
    pub returns: Returns,
    /// `J(pi)`: mean return of the dense policy.
    pub dense_mean: Rational,
    /// One entry per mask.
    pub masks: Vec<MaskTerms>,
}

/// Computes the terms. The input is one that [`parse_input`] accepted.
pub fn decompose(input: &Input) -> Decomposition {
    let dense_mean = mean(&input.dense);
    let masks = input.masks.iter().map(|mask| terms(input, &dense_mean, mask)).collect();
    Decomposition {
        reference: input.reference.clone(),
        actions: input.actions,
        returns: input.returns.clone(),
        dense_mean,
        masks,
    }
}

fn terms(input: &Input, dense_mean: &Rational, mask: &MaskEntry) -> MaskTerms {
    let pruned_mean = mean(&mask.clean);
    let attacked_mean = mean(&mask.attacked.episodes);
    MaskTerms {
        name: mask.name.clone(),
        sparsity: mask.sparsity.clone(),
        clean: Term { measured: input.reference.value.sub(dense_mean), bound: None },
        pruning: Term { measured: dense_mean.sub(&pruned_mean), bound: mask.bounds.pruning.clone() },
        robustness: Term { measured: pruned_mean.sub(&attacked_mean), bound: mask.bounds.robustness.clone() },
        total: input.reference.value.sub(&attacked_mean),
        attack: mask.attacked.attack.clone(),
        pruned_mean,
        attacked_mean,
    }
}

/// Exact mean; the parser refuses an empty list, for which this is 0.
fn mean(episodes: &[Episode]) -> Rational {
    let total = episodes.iter().fold(Rational::zero(), |sum, episode| sum.add(&episode.value));
    total.div(&Rational::from_integer(BigInt::from(episodes.len()))).unwrap_or_else(|_| Rational::zero())
}
