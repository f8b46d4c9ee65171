//! Counterexamples: signed gradient steps inside a box, and the exact values of a ReLU network at a point. Untrusted; the
//! checker evaluates the point again. `spec/rules/README.md`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::float::FloatNetwork;

use super::lanes::{Descend, Objective};
use super::narrow::Trail;
use super::point::{FloatConstraint, Worst, worst};
use super::problem::BranchProblem;
use crate::bound::kernel::{Lane, PANEL, dispatch};

/// Starts of an attack: the middle, then random points.
const STARTS: usize = 12;
/// Points of the descent from which a narrow target is approached.
const NARROW_STARTS: usize = 6;
/// Gradient steps from each start.
const STEPS: usize = 40;

/// Looks for a point of the box at which every constraint holds; returns the point with the least largest
/// `constraint.value` and that value. `seed` makes it repeatable.
pub fn search_point(
    network: &FloatNetwork,
    lower: &[f64],
    upper: &[f64],
    constraints: &[FloatConstraint],
    seed: u64,
) -> (Vec<f64>, f64) {
    let mut trail = Trail::default();
    let best =
        descend(network, (lower, upper), constraints, seed, 0.0, &mut |x, worst| trail.visit(x, worst));
    if best.1 <= 0.0 {
        return best;
    }
    let nearer = trail.approach(network, (lower, upper), constraints, NARROW_STARTS);
    nearer.filter(|(_, value)| *value < best.1).unwrap_or(best)
}

/// [`search_point`] that does not stop at the first point at which every constraint holds.
pub fn search_least(
    network: &FloatNetwork,
    lower: &[f64],
    upper: &[f64],
    constraints: &[FloatConstraint],
    seed: u64,
) -> (Vec<f64>, f64) {
    descend(network, (lower, upper), constraints, seed, f64::NEG_INFINITY, &mut |_, _| {})
}

/// Steps from a point of a box of a search.
const BOX_STEPS: usize = 24;

/// Looks for a point of each of some boxes, at most sixteen, at which every constraint of the problem holds: descends
/// along the largest constraint from a point of each, given as shares of its sides, sixteen for every input. The best of them, and its largest constraint.
pub(super) fn search_boxes(
    problem: &BranchProblem<'_>,
    boxes: &[(Vec<f64>, Vec<f64>)],
    parts: &[f64],
) -> Option<(Vec<f64>, f64)> {
    let count = boxes.len().min(PANEL);
    let inner = &problem.inner;
    // Lanes beyond the boxes repeat them.
    let of = |lane: usize| boxes.get(lane.checked_rem(count)?);
    let side = |which: usize, i: usize, lane: usize| {
        let (l, u) = of(lane).map_or((0.0, 0.0), |(l, u)| (l[i].max(inner.0[i]), u[i].min(inner.1[i])));
        if which == 0 { l } else { u }
    };
    let lanes = |which: usize| -> Vec<Lane> {
        (0..inner.0.len()).map(|i| std::array::from_fn(|lane| side(which, i, lane))).collect()
    };
    let (lower, upper) = (lanes(0), lanes(1));
    let objectives = objectives(problem);
    let sides = lower.iter().zip(&upper).enumerate();
    let mut points: Vec<Lane> = sides
        .map(|(i, (l, u))| {
            std::array::from_fn(|lane| {
                let part = parts.get(i * PANEL + lane).copied().unwrap_or(0.5);
                (l[lane] + part * (u[lane] - l[lane])).max(l[lane]).min(u[lane])
            })
        })
        .collect();
    let mut best = [f64::INFINITY; PANEL];
    dispatch(Descend {
        network: problem.network,
        objectives: &objectives,
        lower: &lower,
        upper: &upper,
        steps: BOX_STEPS,
        points: &mut points,
        best: &mut best,
    });
    let lane =
        (0..PANEL).take(if count == 0 { 0 } else { PANEL }).min_by(|a, b| best[*a].total_cmp(&best[*b]))?;
    Some((points.iter().map(|p| p[lane]).collect(), best[lane]))
}

/// The problem's constraints, the same in every lane.
pub(super) fn objectives(problem: &BranchProblem<'_>) -> Vec<Objective> {
    let objective = |constraint: &FloatConstraint| Objective {
        weight: constraint.coefficients.iter().map(|c| [*c; PANEL]).collect(),
        constant: [-constraint.bound; PANEL],
    };
    problem.constraints.iter().map(objective).collect()
}

fn descend(
    network: &FloatNetwork,
    (lower, upper): (&[f64], &[f64]),
    constraints: &[FloatConstraint],
    seed: u64,
    enough: f64,
    visit: &mut dyn FnMut(&[f64], &Worst),
) -> (Vec<f64>, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut best = (middle(lower, upper), f64::INFINITY);
    for start in 0..STARTS {
        let mut x = middle(lower, upper);
        if start > 0 {
            for (x, (l, u)) in x.iter_mut().zip(lower.iter().zip(upper)) {
                *x = (l + random.random::<f64>() * (u - l)).clamp(*l, *u);
            }
        }
        for step in 0..=STEPS {
            let found = worst(network, constraints, &x);
            visit(&x, &found);
            let Worst { value, gradient, .. } = found;
            if value < best.1 {
                best = (x.clone(), value);
            }
            if best.1 < enough || step == STEPS {
                break;
            }
            let share = 0.25 * (1.0 - step as f64 / STEPS as f64);
            for (i, x) in x.iter_mut().enumerate() {
                let size = share * (upper[i] - lower[i]);
                let step = if gradient[i] > 0.0 { -size } else { size };
                *x = (*x + step).clamp(lower[i], upper[i]);
            }
        }
        if best.1 < enough {
            break;
        }
    }
    best
}

fn middle(lower: &[f64], upper: &[f64]) -> Vec<f64> {
    lower.iter().zip(upper).map(|(l, u)| (0.5 * (l + u)).clamp(*l, *u)).collect()
}
