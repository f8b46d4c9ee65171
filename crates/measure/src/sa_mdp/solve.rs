//! Exact values of a finite SA-MDP: policy iteration over the rationals for the optimal adversary. Untrusted; the
//! answer is its own witness. `spec/sa-mdp.md#solving`.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::FiniteSaMdp;

/// Clean and worst-case values with the adversary that attains the latter: the witness of [`bellman_holds`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// `V(s)`: the discounted value of the policy that sees the true state.
    pub clean: Vec<BigRational>,
    /// `V~(s)`: its value under the optimal adversary.
    pub worst: Vec<BigRational>,
    /// The state that this adversary shows, per state.
    pub adversary: Vec<usize>,
}

/// A Bellman equation that a [`Solution`] breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BellmanViolation {
    /// A list has another length than there are states.
    #[error("the solution does not have one entry per state")]
    Shape,
    /// `V(s) != r(s) + g P V(s)`.
    #[error("the clean value of state {state} breaks its Bellman equation")]
    Clean {
        /// Position of the state.
        state: usize,
    },
    /// The adversary shows a state outside `B(s)`.
    #[error("the adversary shows a state outside the perturbation set of state {state}")]
    AdversaryOutside {
        /// Position of the state.
        state: usize,
    },
    /// The worst value is not what the adversary's choice gives.
    #[error("the worst value of state {state} is not attained by the adversary")]
    NotAttained {
        /// Position of the state.
        state: usize,
    },
    /// Another choice would take more.
    #[error("showing state {shown} at state {state} would take more than the adversary does")]
    NotOptimal {
        /// Position of the state.
        state: usize,
        /// The better choice.
        shown: usize,
    },
}

impl FiniteSaMdp {
    /// Expected reward at `state` when the policy sees `shown`.
    fn reward_seen(&self, state: usize, shown: usize) -> BigRational {
        self.policy[shown].iter().zip(&self.rewards[state]).map(|(p, r)| p * r).sum()
    }

    /// Distribution of the next state from `state` when the policy sees `shown`.
    fn next_seen(&self, state: usize, shown: usize) -> Vec<BigRational> {
        let mut next = vec![BigRational::zero(); self.len()];
        for (p, row) in self.policy[shown].iter().zip(&self.transitions[state]) {
            for (total, q) in next.iter_mut().zip(row) {
                *total += p * q;
            }
        }
        next
    }

    /// `r + g P value` at `state` when the policy sees `shown`.
    fn backup(
        &self,
        state: usize,
        shown: usize,
        discount: &BigRational,
        value: &[BigRational],
    ) -> BigRational {
        let next: BigRational = self.next_seen(state, shown).iter().zip(value).map(|(p, v)| p * v).sum();
        self.reward_seen(state, shown) + discount * next
    }
}

/// Solves the clean policy and the optimal adversary exactly. The model must be valid.
///
/// Policy iteration that changes a choice only for a strictly lower value: values fall strictly from round to round, so
/// that it ends.
pub fn solve(model: &FiniteSaMdp) -> Solution {
    let mut adversary: Vec<usize> = (0..model.len()).collect();
    let clean = evaluate(model, &adversary);
    let mut worst = clean.clone();
    loop {
        let mut changed = false;
        for state in 0..model.len() {
            let mut least = worst[state].clone();
            for &shown in &model.perturbations[state] {
                let value = model.backup(state, shown, &model.discount, &worst);
                if value < least {
                    (least, adversary[state], changed) = (value, shown, true);
                }
            }
        }
        if !changed {
            return Solution { clean, worst, adversary };
        }
        worst = evaluate(model, &adversary);
    }
}

/// Tests the Bellman equations of a solution exactly. With a discount below 1 they have one solution, so that
/// `Ok` means: `clean` is the value of the policy and `worst` the least value any adversary can force.
///
/// # Errors
/// [`BellmanViolation`]: the first equation broken.
pub fn bellman_holds(model: &FiniteSaMdp, solution: &Solution) -> Result<(), BellmanViolation> {
    let (clean, worst) = (&solution.clean, &solution.worst);
    if [clean.len(), worst.len(), solution.adversary.len()].iter().any(|n| *n != model.len()) {
        return Err(BellmanViolation::Shape);
    }
    for state in 0..model.len() {
        if clean[state] != model.backup(state, state, &model.discount, clean) {
            return Err(BellmanViolation::Clean { state });
        }
        let chosen = solution.adversary[state];
        if !model.perturbations[state].contains(&chosen) {
            return Err(BellmanViolation::AdversaryOutside { state });
        }
        if worst[state] != model.backup(state, chosen, &model.discount, worst) {
            return Err(BellmanViolation::NotAttained { state });
        }
        for &shown in &model.perturbations[state] {
            if model.backup(state, shown, &model.discount, worst) < worst[state] {
                return Err(BellmanViolation::NotOptimal { state, shown });
            }
        }
    }
    Ok(())
}

/// `TV_max(s) = max over s^ in B(s) of (1/2) |pi(.|s) - pi(.|s^)|_1`, exactly.
pub fn total_variation_max(model: &FiniteSaMdp) -> Vec<BigRational> {
    let two = BigRational::from_integer(2.into());
    let distance = |s: usize, t: usize| -> BigRational {
        let sum: BigRational = model.policy[s].iter().zip(&model.policy[t]).map(|(p, q)| (p - q).abs()).sum();
        sum / &two
    };
    (0..model.len())
        .map(|s| {
            model.perturbations[s].iter().map(|&t| distance(s, t)).max().unwrap_or_else(BigRational::zero)
        })
        .collect()
}

/// `F(theta)` per start state: the mean of `tv` under the normalised discounted visitation
/// `(1-g) sum_k g^k Pr(s_k = .)` of the clean policy, exactly.
pub fn expected_total_variation(model: &FiniteSaMdp, tv: &[BigRational]) -> Vec<BigRational> {
    let stop = BigRational::one() - &model.discount;
    let rows = (0..model.len()).map(|s| model.next_seen(s, s)).collect();
    let scaled = tv.iter().map(|t| t * &stop).collect();
    solve_discounted(rows, scaled, &model.discount)
}

/// Per state: whether the clean policy reaches it from `start` with positive probability.
pub fn reachable(model: &FiniteSaMdp, start: usize) -> Vec<bool> {
    let mut seen = vec![false; model.len()];
    let mut pending = vec![start];
    while let Some(state) = pending.pop() {
        if std::mem::replace(&mut seen[state], true) {
            continue;
        }
        let next = model.next_seen(state, state);
        pending.extend((0..model.len()).filter(|&s| next[s].is_positive() && !seen[s]));
    }
    seen
}

/// Per start state: what the optimal (time-dependent) adversary takes from the undiscounted return of `horizon` steps,
/// exactly, by backward induction.
pub fn horizon_gap(model: &FiniteSaMdp, horizon: u32) -> Vec<BigRational> {
    let one = BigRational::one();
    let mut clean = vec![BigRational::zero(); model.len()];
    let mut worst = clean.clone();
    for _ in 0..horizon {
        let least = |s: usize| {
            let choices = model.perturbations[s].iter().map(|&shown| model.backup(s, shown, &one, &worst));
            choices.min().unwrap_or_else(BigRational::zero)
        };
        let next_worst = (0..model.len()).map(least).collect();
        clean = (0..model.len()).map(|s| model.backup(s, s, &one, &clean)).collect();
        worst = next_worst;
    }
    clean.iter().zip(&worst).map(|(c, w)| c - w).collect()
}

/// Value of the policy against a fixed adversary.
fn evaluate(model: &FiniteSaMdp, adversary: &[usize]) -> Vec<BigRational> {
    let seen = |f: &dyn Fn(usize, usize) -> BigRational| -> Vec<BigRational> {
        adversary.iter().enumerate().map(|(s, &shown)| f(s, shown)).collect()
    };
    let rewards = seen(&|s, shown| model.reward_seen(s, shown));
    let rows = adversary.iter().enumerate().map(|(s, &shown)| model.next_seen(s, shown)).collect();
    solve_discounted(rows, rewards, &model.discount)
}

/// The `x` with `x = right + discount P x`, by Gaussian elimination. `I - discount P` is strictly diagonally dominant,
/// and elimination keeps it so: no pivot is zero and no rows need to be exchanged.
fn solve_discounted(
    mut matrix: Vec<Vec<BigRational>>,
    mut right: Vec<BigRational>,
    discount: &BigRational,
) -> Vec<BigRational> {
    let n = right.len();
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            let identity = if i == j { BigRational::one() } else { BigRational::zero() };
            *entry = identity - &*entry * discount;
        }
    }
    for pivot in 0..n {
        let (above, below) = matrix.split_at_mut(pivot + 1);
        let pivot_row = &above[pivot];
        for (offset, row) in below.iter_mut().enumerate() {
            if row[pivot].is_zero() {
                continue;
            }
            let factor = &row[pivot] / &pivot_row[pivot];
            for column in pivot..n {
                if !pivot_row[column].is_zero() {
                    row[column] -= &factor * &pivot_row[column];
                }
            }
            let change = &factor * &right[pivot];
            right[pivot + 1 + offset] -= change;
        }
    }
    for pivot in (0..n).rev() {
        let known: BigRational = (pivot + 1..n).map(|j| &matrix[pivot][j] * &right[j]).sum();
        right[pivot] = (&right[pivot] - known) / &matrix[pivot][pivot];
    }
    right
}
