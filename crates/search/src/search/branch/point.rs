//! Outputs, constraints and gradients at one point. Untrusted.

use num_bigint::BigInt;
use num_traits::Signed;
use secateur_checker::number::{Dyadic, Rational};

use crate::float::{FloatActivation, FloatNetwork, rational_to_float};
use crate::property::vnnlib::OutputConstraint;

/// `coefficients . outputs - bound`, which is at most 0 where the constraint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatConstraint {
    /// One per output.
    pub coefficients: Vec<f64>,
    /// Right-hand side.
    pub bound: f64,
}

impl FloatConstraint {
    /// The constraint's value at given outputs.
    pub fn value(&self, outputs: &[f64]) -> f64 {
        self.coefficients.iter().zip(outputs).map(|(c, y)| c * y).sum::<f64>() - self.bound
    }

    pub(super) fn from_exact(constraint: &OutputConstraint) -> Self {
        let coefficients = constraint.coefficients.iter().map(rational_to_float).collect();
        Self { coefficients, bound: rational_to_float(&constraint.bound) }
    }
}

/// The largest constraint at a point.
pub(super) struct Worst {
    /// Which.
    pub constraint: usize,
    /// Its value.
    pub value: f64,
    /// Its gradient.
    pub gradient: Vec<f64>,
}

/// The largest constraint at `x` and its gradient.
pub(super) fn worst(network: &FloatNetwork, constraints: &[FloatConstraint], x: &[f64]) -> Worst {
    let mut posts = vec![x.to_vec()];
    let mut pres = Vec::new();
    for layer in &network.layers {
        let mut pre = Vec::new();
        layer.affine(posts.last().map_or(x, Vec::as_slice), &mut pre);
        posts.push(pre.iter().map(|z| layer.activation.apply(*z)).collect());
        pres.push(pre);
    }
    let output = posts.last().map_or(x, Vec::as_slice);
    let values = constraints.iter().map(|c| c.value(output)).enumerate();
    let Some((index, value)) = values.max_by(|a, b| a.1.total_cmp(&b.1)) else {
        let (value, gradient) = (f64::NEG_INFINITY, vec![0.0; x.len()]);
        return Worst { constraint: 0, value, gradient };
    };
    let mut gradient = constraints[index].coefficients.clone();
    for (layer, pre) in network.layers.iter().zip(&pres).rev() {
        let mut below = vec![0.0; layer.inputs];
        for ((row, z), g) in layer.weight.chunks_exact(layer.inputs).zip(pre).zip(&gradient) {
            let g = g * layer.activation.derivative(*z);
            if g != 0.0 {
                below.iter_mut().zip(row).for_each(|(n, w)| *n += g * w);
            }
        }
        gradient = below;
    }
    Worst { constraint: index, value, gradient }
}

/// The exact outputs of a network of ReLUs at a point; `None` for other activations or a number that is not finite. Sums
/// are kept over the point's common denominator and one power of two per layer.
pub fn exact_outputs(network: &FloatNetwork, x: &[Rational]) -> Option<Vec<Rational>> {
    let dyadics = |values: &[f64]| -> Option<Vec<Dyadic>> {
        values.iter().map(|v| Dyadic::from_ieee(v.to_bits(), 52, 11)).collect()
    };
    let whole = common_denominator(x)?;
    let (mut post, mut scale): (Vec<BigInt>, _) =
        (x.iter().map(|v| v.numerator() * (&whole / v.denominator())).collect(), 0);
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
                (sum << lift.unsigned_abs()) + ((b * &whole) << bias_lift.unsigned_abs())
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
    let whole = Rational::from_integer(whole);
    post.into_iter().map(|z| Rational::from_dyadic(z, scale).div(&whole).ok()).collect()
}

/// The least common multiple of the denominators.
fn common_denominator(x: &[Rational]) -> Option<BigInt> {
    x.iter().try_fold(BigInt::from(1), |whole, v| {
        let missing = Rational::new(v.denominator().clone(), whole.clone()).ok()?;
        Some(whole * missing.numerator())
    })
}

/// Integers over one common power of two, which is at most 0.
fn scaled(values: &[Dyadic]) -> (Vec<BigInt>, i64) {
    let scale = values.iter().map(|d| i64::from(d.exponent)).min().unwrap_or(0).min(0);
    let lifted =
        values.iter().map(|d| BigInt::from(d.mantissa) << (i64::from(d.exponent) - scale).unsigned_abs());
    (lifted.collect(), scale)
}
