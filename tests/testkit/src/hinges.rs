//! Two-layer ReLU networks whose bounds are known by hand.

use secateur_kernel::model::{Activation, Layer, Mask, Matrix, Network};
use secateur_kernel::number::Dyadic;

/// A layer of integer weights without biases.
fn layer(rows: usize, columns: usize, weights: &[i64], activation: Activation) -> Layer {
    Layer {
        fixed: false,
        weight: Matrix { rows, columns, values: weights.iter().map(|&w| Dyadic::new(w, 0)).collect() },
        bias: vec![Dyadic::ZERO; rows],
        activation,
    }
}

/// `relu(s) - relu(s)`.
pub fn cancelling() -> Network {
    let layers = vec![layer(2, 1, &[1, 1], Activation::Relu), layer(1, 2, &[1, -1], Activation::Identity)];
    Network { layers }
}

/// All of [`cancelling`], then its first term alone.
pub fn cancelling_masks() -> [Mask; 2] {
    [true, false].map(|kept| Mask { layers: vec![vec![true, true], vec![true, kept]] })
}

/// `relu(x + y) + relu(x - y)`.
pub fn sum_and_difference() -> Network {
    let layers =
        vec![layer(2, 2, &[1, 1, 1, -1], Activation::Relu), layer(1, 2, &[1, 1], Activation::Identity)];
    Network { layers }
}
