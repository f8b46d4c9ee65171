//! Forward and backward pass at one point, without allocation after the first: what an attack does at every step of an
//! episode. Untrusted.

use crate::float::FloatActivation;
use crate::float::mlp::{Mlp, apply_with_slopes};

/// Buffers for one network.
#[derive(Clone, Debug, Default)]
pub struct PointPass {
    /// The input, then the output of every layer.
    posts: Vec<Vec<f64>>,
    /// Per layer the derivatives of its activation, where the outputs do not tell them; else empty.
    slopes: Vec<Vec<f64>>,
    /// The gradient on its way down, and the one being made.
    gradient: [Vec<f64>; 2],
}

/// Scalar product in eight partial sums, a fixed order the compiler can vectorise.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, y) in a.iter().zip(b) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// Derivative told from the function's value.
fn derivative(activation: FloatActivation, post: f64) -> f64 {
    match activation {
        FloatActivation::Identity => 1.0,
        FloatActivation::Relu => f64::from(u8::from(post > 0.0)),
        FloatActivation::LeakyRelu(slope) => {
            if post > 0.0 {
                1.0
            } else {
                slope
            }
        }
        FloatActivation::Tanh => 1.0 - post * post,
        FloatActivation::Sigmoid => post * (1.0 - post),
        FloatActivation::Clip(lower, upper) => f64::from(u8::from(post > lower && post < upper)),
        FloatActivation::Elu(alpha) => {
            if post > 0.0 {
                1.0
            } else {
                post + alpha
            }
        }
        // Its derivatives are kept: see [`FloatActivation::value_tells_slope`].
        FloatActivation::Silu => f64::NAN,
    }
}

impl PointPass {
    /// Outputs at `input`, remembered for [`PointPass::backward`].
    pub fn forward(&mut self, network: &Mlp, input: &[f64]) -> &[f64] {
        self.posts.resize(network.layers.len() + 1, Vec::new());
        self.slopes.resize(network.layers.len(), Vec::new());
        self.posts[0].clear();
        self.posts[0].extend_from_slice(input);
        for (index, layer) in network.layers.iter().enumerate() {
            let (before, after) = self.posts.split_at_mut(index + 1);
            let (from, to) = (&before[index], &mut after[0]);
            to.clear();
            let rows = layer.weight.rows().into_iter().zip(&layer.bias);
            to.extend(rows.map(|(row, bias)| match row.to_slice() {
                Some(row) => dot(row, from) + bias,
                None => row.iter().zip(from).map(|(w, x)| w * x).sum::<f64>() + bias,
            }));
            apply_with_slopes(layer.activation, to, &mut self.slopes[index]);
        }
        &self.posts[network.layers.len()]
    }

    /// Gradient in the input of the last forward pass, given that in the outputs.
    pub fn backward(&mut self, network: &Mlp, outputs: &[f64]) -> &[f64] {
        let [current, next] = &mut self.gradient;
        current.clear();
        current.extend_from_slice(outputs);
        for (index, layer) in network.layers.iter().enumerate().rev() {
            if layer.activation.value_tells_slope() {
                for (entry, post) in current.iter_mut().zip(&self.posts[index + 1]) {
                    *entry *= derivative(layer.activation, *post);
                }
            } else {
                current.iter_mut().zip(&self.slopes[index]).for_each(|(entry, slope)| *entry *= slope);
            }
            next.clear();
            next.resize(layer.weight.ncols(), 0.0);
            for (row, weight) in layer.weight.rows().into_iter().zip(current.iter()) {
                match row.to_slice() {
                    Some(row) => next.iter_mut().zip(row).for_each(|(entry, w)| *entry += weight * w),
                    None => next.iter_mut().zip(row).for_each(|(entry, w)| *entry += weight * w),
                }
            }
            std::mem::swap(current, next);
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::rng::SeededRng;
    use ndarray::Array2;

    #[test]
    fn agrees_with_a_batch_of_one() {
        for activation in [
            FloatActivation::Relu,
            FloatActivation::LeakyRelu(0.1),
            FloatActivation::Tanh,
            FloatActivation::Sigmoid,
            FloatActivation::Clip(-0.5, 0.7),
            FloatActivation::Elu(0.375),
            FloatActivation::Silu,
        ] {
            let mut rng = SeededRng::new(51, 0);
            let network = Mlp::orthogonal(&[11, 20, 17, 3], activation, 1.0, &mut rng);
            let mut pass = PointPass::default();
            for _ in 0..3 {
                let input: Vec<f64> = (0..11).map(|_| rng.normal()).collect();
                let pull = [0.3, -1.0, 0.7];
                let batch =
                    network.forward(Array2::from_shape_vec((1, 11), input.clone()).expect("a row").view());
                let slope = network
                    .backward_inputs(&batch, &Array2::from_shape_vec((1, 3), pull.to_vec()).expect("a row"));
                let close = |a: &[f64], b: &Array2<f64>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-13);
                assert!(close(pass.forward(&network, &input), batch.outputs()));
                assert!(close(pass.backward(&network, &pull), &slope));
            }
        }
    }
}
