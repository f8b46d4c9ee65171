//! Counterexamples: signed gradient steps inside a box, and the exact values of a ReLU network at a float. Untrusted; the
//! checker evaluates the point again. `spec/rules.md` (CEX).

use num_bigint::BigInt;
use num_traits::Signed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use secateur_checker::number::{Dyadic, Rational};

use crate::float::{FloatActivation, FloatNetwork};

use super::FloatConstraint;

/// Starts of an attack: the middle, then random points.
const STARTS: usize = 12;
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
    descend(network, lower, upper, constraints, seed, 0.0)
}

/// [`search_point`] that does not stop at the first point at which every constraint holds.
pub fn search_least(
    network: &FloatNetwork,
    lower: &[f64],
    upper: &[f64],
    constraints: &[FloatConstraint],
    seed: u64,
) -> (Vec<f64>, f64) {
    descend(network, lower, upper, constraints, seed, f64::NEG_INFINITY)
}

fn descend(
    network: &FloatNetwork,
    lower: &[f64],
    upper: &[f64],
    constraints: &[FloatConstraint],
    seed: u64,
    enough: f64,
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
            let (value, gradient) = worst(network, constraints, &x);
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

/// The largest constraint at `x` and its gradient.
fn worst(network: &FloatNetwork, constraints: &[FloatConstraint], x: &[f64]) -> (f64, Vec<f64>) {
    let mut posts = vec![x.to_vec()];
    let mut pres = Vec::new();
    for layer in &network.layers {
        let mut pre = Vec::new();
        layer.affine(posts.last().map_or(x, Vec::as_slice), &mut pre);
        posts.push(pre.iter().map(|z| layer.activation.apply(*z)).collect());
        pres.push(pre);
    }
    let output = posts.last().map_or(x, Vec::as_slice);
    let values = constraints.iter().map(|c| (c.value(output), c));
    let Some((value, constraint)) = values.max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return (f64::NEG_INFINITY, vec![0.0; x.len()]);
    };
    let mut gradient = constraint.coefficients.clone();
    for (layer, pre) in network.layers.iter().zip(&pres).rev() {
        let mut next = vec![0.0; layer.inputs];
        for ((row, z), g) in layer.weight.chunks_exact(layer.inputs).zip(pre).zip(&gradient) {
            let g = g * derivative(layer.activation, *z);
            if g != 0.0 {
                next.iter_mut().zip(row).for_each(|(n, w)| *n += g * w);
            }
        }
        gradient = next;
    }
    (value, gradient)
}

fn derivative(activation: FloatActivation, z: f64) -> f64 {
    match activation {
        FloatActivation::Identity => 1.0,
        FloatActivation::Relu => f64::from(z > 0.0),
        FloatActivation::LeakyRelu(slope) => {
            if z > 0.0 {
                1.0
            } else {
                slope
            }
        }
        FloatActivation::Tanh => 1.0 - z.tanh().powi(2),
        FloatActivation::Sigmoid => 0.25 * (1.0 - (0.5 * z).tanh().powi(2)),
        FloatActivation::Clip(low, high) => f64::from(low < z && z < high),
    }
}

/// The exact outputs of a network of ReLUs at a point of floats; `None` for other activations or a number that is not
/// finite. Sums are kept over one power of two per layer.
pub fn exact_outputs(network: &FloatNetwork, x: &[f64]) -> Option<Vec<Rational>> {
    let dyadics = |values: &[f64]| -> Option<Vec<Dyadic>> {
        values.iter().map(|v| Dyadic::from_ieee(v.to_bits(), 52, 11)).collect()
    };
    let (mut post, mut scale) = scaled(&dyadics(x)?);
    for layer in &network.layers {
        let (weight, weight_scale) = scaled(&dyadics(&layer.weight)?);
        let (bias, bias_scale) = scaled(&dyadics(&layer.bias)?);
        let sum_scale = (scale + weight_scale).min(bias_scale);
        let (lift, bias_lift) = (scale + weight_scale - sum_scale, bias_scale - sum_scale);
        post = weight
            .chunks_exact(layer.inputs)
            .zip(&bias)
            .map(|(row, b)| {
                let sum: BigInt = row.iter().zip(&post).map(|(w, v)| w * v).sum();
                (sum << lift.unsigned_abs()) + (b << bias_lift.unsigned_abs())
            })
            .collect();
        scale = sum_scale;
        match layer.activation {
            FloatActivation::Identity => {}
            FloatActivation::Relu => {
                post.iter_mut().filter(|z| z.is_negative()).for_each(|z| *z = BigInt::ZERO)
            }
            _ => return None,
        }
    }
    Some(post.into_iter().map(|z| Rational::from_dyadic(z, scale)).collect())
}

/// Integers over one common power of two, which is at most 0.
fn scaled(values: &[Dyadic]) -> (Vec<BigInt>, i64) {
    let scale = values.iter().map(|d| i64::from(d.exponent)).min().unwrap_or(0).min(0);
    let lifted =
        values.iter().map(|d| BigInt::from(d.mantissa) << (i64::from(d.exponent) - scale).unsigned_abs());
    (lifted.collect(), scale)
}
