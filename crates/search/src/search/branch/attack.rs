//! Counterexamples: signed gradient steps inside a box, and the exact values of a ReLU network at a point. Untrusted; the
//! checker evaluates the point again. `spec/rules/README.md`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::float::FloatNetwork;

use super::narrow::Trail;
use super::point::{FloatConstraint, Worst, worst};

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
