//! The exact loss of value beside the bounds of `spec/rules/regret.md` and beside the constant usually quoted.
//! Untrusted; the bounds are the checker's. `spec/sa-mdp.md#comparison`.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::regret::{self, RewardRange};

use super::solve::{
    BellmanViolation, Solution, bellman_holds, expected_total_variation, horizon_gap, reachable, solve,
    total_variation_max,
};
use super::{FiniteSaMdp, from_checker, to_checker};

/// Longest horizon that is solved exactly; the numbers grow with it.
pub const MAX_EXACT_HORIZON: u32 = 256;

/// Why no comparison was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A rule refused its inputs.
    #[error(transparent)]
    Regret(#[from] Fault),
    /// The solution found breaks a Bellman equation.
    #[error(transparent)]
    Bellman(#[from] BellmanViolation),
    /// The horizon is above [`MAX_EXACT_HORIZON`].
    #[error("a horizon of {horizon} steps is not solved exactly, at most {MAX_EXACT_HORIZON} are")]
    HorizonTooLong {
        /// The horizon given.
        horizon: u32,
    },
}

/// Exact gap and bound of the undiscounted return over a horizon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HorizonComparison {
    /// Number of steps.
    pub horizon: u32,
    /// What the optimal adversary takes.
    pub gap: BigRational,
    /// `regret.horizon`.
    pub bound: BigRational,
}

/// Everything known about one start state; all numbers exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Position of the start state.
    pub start: usize,
    /// `V(s) - V~(s)`: what the optimal adversary takes.
    pub gap: BigRational,
    /// Largest `TV_max` over the states that the clean policy reaches.
    pub sup_tv: BigRational,
    /// `F(theta)` from this start.
    pub expected_tv: BigRational,
    /// `regret.sup` of `sup_tv`.
    pub sup: BigRational,
    /// `regret.expectation` of `expected_tv`.
    pub expectation: BigRational,
    /// The constant usually quoted times `sup_tv`: no bound, see [`quoted_bound`].
    pub quoted: BigRational,
    /// The horizon form, if asked for.
    pub horizon: Option<HorizonComparison>,
}

impl Comparison {
    /// Whether every rule's bound is at least the exact gap.
    pub fn bounds_hold(&self) -> bool {
        let horizon = self.horizon.as_ref().is_none_or(|h| h.gap <= h.bound);
        self.gap <= self.sup && self.gap <= self.expectation && horizon
    }

    /// Whether the quoted constant claims less than the adversary takes.
    pub fn refutes_quoted(&self) -> bool {
        self.gap > self.quoted
    }
}

/// `2 [1 + g/(1-g)^2] max|R| t`: the constant usually quoted, with half-L1 total variation. It is NOT an upper bound on
/// the gap (`fixtures/sa_mdp/extremal-3-state.json`) and no rule uses it.
pub fn quoted_bound(discount: &BigRational, largest_reward: &BigRational, tv: &BigRational) -> BigRational {
    let stop = BigRational::one() - discount;
    let factor = BigRational::one() + discount / (&stop * &stop);
    BigRational::from_integer(2.into()) * factor * largest_reward * tv
}

impl FiniteSaMdp {
    /// Least and greatest reward of a state that is not terminal, and whether episodes can end.
    pub fn reward_range(&self) -> RewardRange {
        let alive = || self.rewards.iter().zip(&self.terminal).filter(|(_, ended)| !**ended);
        let rewards = || alive().flat_map(|(row, _)| row);
        let zero = BigRational::zero();
        RewardRange {
            lower: to_checker(rewards().min().unwrap_or(&zero)),
            upper: to_checker(rewards().max().unwrap_or(&zero)),
            episodes_can_end: self.episodes_can_end(),
        }
    }
}

/// Solves the model, tests the solution and compares every start state. The model must be valid.
///
/// # Errors
/// [`CompareError`].
pub fn compare(
    model: &FiniteSaMdp,
    horizon: Option<u32>,
) -> Result<(Solution, Vec<Comparison>), CompareError> {
    if let Some(horizon) = horizon.filter(|h| *h > MAX_EXACT_HORIZON) {
        return Err(CompareError::HorizonTooLong { horizon });
    }
    let solution = solve(model);
    bellman_holds(model, &solution)?;
    let tv = total_variation_max(model);
    let expected = expected_total_variation(model, &tv);
    let gaps = horizon.map(|steps| (steps, horizon_gap(model, steps)));
    let rewards = model.reward_range();
    let largest = model.rewards.iter().flatten().map(Signed::abs).max().unwrap_or_else(BigRational::zero);
    let discount = to_checker(&model.discount);
    let mut rows = Vec::with_capacity(model.len());
    for start in 0..model.len() {
        let reached = reachable(model, start);
        let reached_tv = tv.iter().zip(&reached).filter(|(_, r)| **r).map(|(t, _)| t);
        let sup_tv = reached_tv.max().cloned().unwrap_or_else(BigRational::zero);
        let horizon = match &gaps {
            None => None,
            Some((steps, gaps)) => Some(HorizonComparison {
                horizon: *steps,
                gap: gaps[start].clone(),
                bound: from_checker(&regret::horizon(&rewards, *steps, &to_checker(&sup_tv))?),
            }),
        };
        rows.push(Comparison {
            start,
            gap: &solution.clean[start] - &solution.worst[start],
            sup: from_checker(&regret::sup(&rewards, &discount, &to_checker(&sup_tv))?),
            expectation: from_checker(&regret::expectation(
                &rewards,
                &discount,
                &to_checker(&expected[start]),
            )?),
            quoted: quoted_bound(&model.discount, &largest, &sup_tv),
            sup_tv,
            expected_tv: expected[start].clone(),
            horizon,
        });
    }
    Ok((solution, rows))
}
