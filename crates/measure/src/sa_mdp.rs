//! Finite state-adversarial MDPs, solved exactly over the rationals, so that the regret bounds can be compared with the
//! truth. Untrusted: an answer carries a witness that [`bellman_holds`] tests exactly. `spec/sa-mdp.md`.

mod compare;
mod document;
mod extremal;
mod report;
mod solve;

pub use compare::{CompareError, Comparison, HorizonComparison, MAX_EXACT_HORIZON, compare, quoted_bound};
pub use document::{DocumentError, FORMAT, MAX_ACTIONS, MAX_BYTES, MAX_STATES, parse_document};
pub use extremal::extremal;
pub use report::emit_json;
pub use solve::{
    BellmanViolation, Solution, bellman_holds, expected_total_variation, horizon_gap, reachable, solve,
    total_variation_max,
};

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use secateur_checker::number::Rational;

/// A finite SA-MDP with the policy under attack. Rows of a terminal state hold reward 0, a self-loop and the
/// perturbation set of itself. Made by [`parse_document`] or tested by [`FiniteSaMdp::validate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiniteSaMdp {
    /// Names of the S states.
    pub states: Vec<String>,
    /// Names of the A actions.
    pub actions: Vec<String>,
    /// Discount in [0, 1).
    pub discount: BigRational,
    /// Per state: whether the episode has ended there.
    pub terminal: Vec<bool>,
    /// S x A rewards.
    pub rewards: Vec<Vec<BigRational>>,
    /// S x A x S transition probabilities.
    pub transitions: Vec<Vec<Vec<BigRational>>>,
    /// S x A: probability of the action when the policy SEES the state.
    pub policy: Vec<Vec<BigRational>>,
    /// `B(s)`: the states the adversary can show instead of `s`; holds `s`.
    pub perturbations: Vec<Vec<usize>>,
}

/// Why a model is not a finite SA-MDP. States and actions are given by position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No state or no action.
    #[error("the model has no state or no action")]
    Empty,
    /// A table has another number of rows or columns than states and actions.
    #[error("the tables of state {state} do not fit {states} states and {actions} actions")]
    Shape {
        /// Position of the state.
        state: usize,
        /// Number of states.
        states: usize,
        /// Number of actions.
        actions: usize,
    },
    /// The discount is not in [0, 1).
    #[error("the discount {discount} is not in [0, 1)")]
    Discount {
        /// The discount given.
        discount: BigRational,
    },
    /// The policy's probabilities at a state are negative or do not add up to 1.
    #[error("the policy at state {state} is not a distribution: its probabilities add up to {total}")]
    PolicyNotDistribution {
        /// Position of the state.
        state: usize,
        /// Their sum.
        total: BigRational,
    },
    /// Transition probabilities are negative or do not add up to 1.
    #[error("action {action} at state {state} has transition probabilities that add up to {total}")]
    TransitionsNotDistribution {
        /// Position of the state.
        state: usize,
        /// Position of the action.
        action: usize,
        /// Their sum.
        total: BigRational,
    },
    /// `B(s)` does not hold `s`.
    #[error("the perturbation set of state {state} does not hold the state itself")]
    PerturbationsWithoutSelf {
        /// Position of the state.
        state: usize,
    },
    /// `B(s)` of a state that is not terminal holds a terminal state, in which the policy does not act.
    #[error("the perturbation set of state {state} holds the state {shown}, which is terminal or unknown")]
    PerturbationShows {
        /// Position of the state.
        state: usize,
        /// Position of the state shown.
        shown: usize,
    },
    /// A terminal state pays a reward or is left.
    #[error("the terminal state {state} pays a reward, is left, or is perturbed")]
    TerminalNotAbsorbing {
        /// Position of the state.
        state: usize,
    },
}

impl FiniteSaMdp {
    /// Number of states.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there is no state.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Whether some state is terminal, so that an absorbing reward of 0 belongs to the reward range.
    pub fn episodes_can_end(&self) -> bool {
        self.terminal.contains(&true)
    }

    /// Tests every condition of `spec/sa-mdp.md`.
    ///
    /// # Errors
    /// [`ModelError`], one variant per condition.
    pub fn validate(&self) -> Result<(), ModelError> {
        let (states, actions) = (self.len(), self.actions.len());
        if states == 0 || actions == 0 {
            return Err(ModelError::Empty);
        }
        if self.discount.is_negative() || self.discount >= BigRational::one() {
            return Err(ModelError::Discount { discount: self.discount.clone() });
        }
        let tables = [self.terminal.len(), self.rewards.len(), self.transitions.len(), self.policy.len()];
        if tables.iter().any(|n| *n != states) || self.perturbations.len() != states {
            return Err(ModelError::Shape { state: 0, states, actions });
        }
        (0..states).try_for_each(|state| self.validate_state(state))
    }

    fn validate_state(&self, state: usize) -> Result<(), ModelError> {
        let (states, actions) = (self.len(), self.actions.len());
        let transitions = &self.transitions[state];
        let widths = [self.rewards[state].len(), transitions.len(), self.policy[state].len()];
        if widths.iter().any(|n| *n != actions) || transitions.iter().any(|row| row.len() != states) {
            return Err(ModelError::Shape { state, states, actions });
        }
        if let Some(total) = not_distribution(&self.policy[state]) {
            return Err(ModelError::PolicyNotDistribution { state, total });
        }
        for (action, row) in transitions.iter().enumerate() {
            if let Some(total) = not_distribution(row) {
                return Err(ModelError::TransitionsNotDistribution { state, action, total });
            }
        }
        let shown = &self.perturbations[state];
        if !shown.contains(&state) {
            return Err(ModelError::PerturbationsWithoutSelf { state });
        }
        let hidden = |s: &&usize| **s != state && self.terminal.get(**s).is_none_or(|ended| *ended);
        if let Some(shown) = shown.iter().find(hidden) {
            return Err(ModelError::PerturbationShows { state, shown: *shown });
        }
        let absorbing = self.rewards[state].iter().all(Zero::is_zero)
            && transitions.iter().all(|row| row[state].is_one())
            && shown.iter().all(|s| *s == state);
        if self.terminal[state] && !absorbing {
            return Err(ModelError::TerminalNotAbsorbing { state });
        }
        Ok(())
    }
}

/// The sum, if the row is not a probability distribution.
fn not_distribution(row: &[BigRational]) -> Option<BigRational> {
    let total: BigRational = row.iter().sum();
    (!total.is_one() || row.iter().any(Signed::is_negative)).then_some(total)
}

/// The checker's number of the same value.
fn to_checker(value: &BigRational) -> Rational {
    // A `BigRational` has no zero denominator.
    Rational::new(value.numer().clone(), value.denom().clone()).unwrap_or_else(|_| Rational::zero())
}

fn from_checker(value: &Rational) -> BigRational {
    BigRational::new_raw(value.numerator().clone(), value.denominator().clone())
}
