//! Which sum of multiples of the constraints to refute over a region. Untrusted. `spec/rules/split.md#splitcombination`.
//!
//! A game: shares of the constraints against outputs that the network attains. Where no shares win, no sum can be refuted.

#[cfg(feature = "lp")]
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, constraint, microlp, variable};

use super::point::FloatConstraint;

/// Most constraints that are combined.
pub const MOST_CONSTRAINTS: usize = 64;
/// Largest sum of shares that is tried for exact ratios.
const MOST_PARTS: u32 = 1_024;
/// How near to whole numbers shares of few parts must be.
const NEAR: f64 = 1e-7;

/// Whole multipliers, none negative, for which the least sum of the constraints' values over the outputs `seen` is greatest
/// and above 0; `None` if none are.
///
/// # References
/// von Neumann 1928, the least greatest value of a matrix game as a linear program.
pub fn search_shares(constraints: &[FloatConstraint], seen: &[Vec<f64>]) -> Option<Vec<u32>> {
    let finite = seen.iter().flatten().all(|y| y.is_finite());
    if constraints.len() < 2 || constraints.len() > MOST_CONSTRAINTS || seen.is_empty() || !finite {
        return None;
    }
    let (shares, least) = play(constraints, seen)?;
    (least > 0.0).then(|| whole(&shares)).flatten()
}

/// The best shares of the game and its value; `None` if the solver gave up.
#[cfg(feature = "lp")]
fn play(constraints: &[FloatConstraint], seen: &[Vec<f64>]) -> Option<(Vec<f64>, f64)> {
    let mut variables = ProblemVariables::new();
    let shares = variables.add_vector(variable().min(0.0).max(1.0), constraints.len());
    let least = variables.add(variable());
    let rows: Vec<Expression> = seen
        .iter()
        .map(|outputs| {
            let mut sum = Expression::from(0.0);
            for (share, constraint) in shares.iter().zip(constraints) {
                sum.add_mul(constraint.value(outputs), *share);
            }
            sum
        })
        .collect();
    let total: Expression = shares.iter().sum();
    let mut model = variables.maximise(least).using(microlp);
    model.add_constraint(constraint!(total == 1.0));
    for row in rows {
        model.add_constraint(constraint!(least <= row));
    }
    let solution = model.solve().ok()?;
    let shares: Vec<f64> = shares.iter().map(|s| solution.value(*s).max(0.0)).collect();
    Some((shares, solution.value(least)))
}

/// Without linear programs no sum is found, and constraints are refuted one at a time.
#[cfg(not(feature = "lp"))]
fn play(_: &[FloatConstraint], _: &[Vec<f64>]) -> Option<(Vec<f64>, f64)> {
    None
}

/// Whole numbers in the ratio of the shares: as few parts as there are for simple ratios, so that outputs cancel exactly.
fn whole(shares: &[f64]) -> Option<Vec<u32>> {
    let total: f64 = shares.iter().sum();
    let scaled = |parts: u32| shares.iter().map(move |s| s / total * f64::from(parts));
    let simple = |parts: &u32| scaled(*parts).all(|s| (s - s.round()).abs() < NEAR * f64::from(*parts));
    let parts = (1..=MOST_PARTS).find(simple).unwrap_or(MOST_PARTS);
    let found: Vec<u32> = scaled(parts).map(|s| s.round() as u32).collect();
    // One constraint alone is a leaf of its own.
    (found.iter().filter(|n| **n > 0).count() > 1).then_some(found)
}

#[cfg(all(test, feature = "lp"))]
mod tests {
    use super::*;

    fn constraint(coefficients: [f64; 2], bound: f64) -> FloatConstraint {
        FloatConstraint { coefficients: coefficients.to_vec(), bound }
    }

    /// `y0 >= 1` and `3 y0 <= 1` add up to `0 <= -2` in the ratio 3 to 1; of outputs on one side one constraint is enough.
    #[test]
    fn contradictions_are_found_in_their_ratio() {
        let both = [constraint([-1.0, 0.0], -1.0), constraint([3.0, 0.0], 1.0)];
        let seen = [vec![0.2, 5.0], vec![7.0, -1.0]];
        assert_eq!(search_shares(&both, &seen), Some(vec![3, 1]));
        assert_eq!(search_shares(&both, &seen[..1]), None);
    }

    /// Where `y0 + y1 = 3` at what was seen, `y0 <= 1` and `y1 <= 1` cannot both hold; where an output satisfies both, or a
    /// mean of outputs does, no shares win.
    #[test]
    fn what_is_seen_decides() {
        let both = [constraint([1.0, 0.0], 1.0), constraint([0.0, 1.0], 1.0)];
        let line = [vec![0.0, 3.0], vec![3.0, 0.0]];
        assert_eq!(search_shares(&both, &line), Some(vec![1, 1]));
        let below = [vec![-3.0, 3.0], vec![3.0, -3.0]];
        assert_eq!(search_shares(&both, &below), None);
        assert_eq!(search_shares(&both, &[vec![0.5, 0.5]]), None);
        assert_eq!(search_shares(&both[..1], &line), None);
    }
}
