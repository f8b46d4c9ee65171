//! What is bounded, and for how long. Untrusted.

use crate::float::FloatNetwork;

/// How long to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlopeOptions {
    /// Gradient steps for the bounds of each hidden layer.
    pub hidden_steps: usize,
    /// Gradient steps for the outputs or objectives.
    pub output_steps: usize,
    /// First step, as a share of the range of the number that moves.
    pub rate: f64,
    /// Factor on the step from one iteration to the next.
    pub decay: f64,
}

impl SlopeOptions {
    /// What brings the reference networks under the widths of a hundred steps of alpha-CROWN: deeper networks need more
    /// steps, because a layer's loss adds to that of the layers before it.
    pub fn for_network(network: &FloatNetwork) -> Self {
        if network.layers.len() > 3 {
            return Self { hidden_steps: 60, output_steps: 80, rate: 0.5, decay: 0.95 };
        }
        Self { hidden_steps: 24, output_steps: 60, rate: 0.5, decay: 0.93 }
    }
}

/// One bounded quantity: a row of a layer (or an objective) from below or from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Row of the layer, or index of the objective.
    pub row: u32,
    /// Whether this is the upper bound.
    pub upper: bool,
}
