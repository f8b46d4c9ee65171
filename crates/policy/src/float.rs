//! Networks lowered to `f64` for the search: row-major weights with their transpose and, when many are zero, their
//! sparse columns. Untrusted: nothing here is a bound until the checker recomputed it. `spec/semantics.md`.

pub mod bits;
pub mod head;
pub mod mlp;
pub mod normaliser;
pub mod point;
pub mod policy;
pub mod rng;
pub mod smooth;

use num_rational::Ratio;
use num_traits::ToPrimitive;
use secateur_checker::model::{Activation, Mask, Matrix, Network};
use secateur_checker::number::{Dyadic, Rational};

/// Share of kept weights below which a layer also gets sparse columns. At 30 % the sparse product and the dense one
/// take the same time (256 x 256, 512 columns).
const SPARSE_BELOW: f64 = 0.3;

/// Activation functions over `f64`; all but SiLU are non-decreasing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FloatActivation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` for `x >= 0`, else `slope * x`, slope in [0, 1].
    LeakyRelu(f64),
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x, .0), .1)`.
    Clip(f64, f64),
    /// `x` for `x >= 0`, else `alpha * (exp(x) - 1)`, alpha in (0, 1].
    Elu(f64),
    /// `x / (1 + exp(-x))`.
    Silu,
}

impl FloatActivation {
    /// The value at `x`, in `f64`.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Relu => x.max(0.0),
            Self::LeakyRelu(slope) => {
                if x >= 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 0.5 + 0.5 * (0.5 * x).tanh(),
            Self::Clip(lower, upper) => x.max(lower).min(upper),
            Self::Elu(alpha) => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * smooth::exp_m1_below(x)
                }
            }
            Self::Silu => smooth::silu(x).0,
        }
    }

    /// The kind's name, without its parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Clip(..) => "clip",
            Self::Elu(_) => "elu",
            Self::Silu => "silu",
        }
    }

    /// The derivative at `x`, at a kink that from the left.
    pub fn derivative(self, x: f64) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Relu => f64::from(x > 0.0),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Tanh => 1.0 - x.tanh().powi(2),
            Self::Sigmoid => 0.25 * (1.0 - (0.5 * x).tanh().powi(2)),
            Self::Clip(lower, upper) => f64::from(lower < x && x < upper),
            Self::Elu(alpha) => {
                if x > 0.0 {
                    1.0
                } else {
                    alpha * (1.0 + smooth::exp_m1_below(x))
                }
            }
            Self::Silu => smooth::silu(x).1,
        }
    }

    /// Whether the derivative is a function of the value, as it is not where two inputs of other slopes have one value.
    pub fn value_tells_slope(self) -> bool {
        self != Self::Silu
    }

    /// Whether the function never falls.
    pub fn is_monotone(self) -> bool {
        self != Self::Silu
    }

    /// The least and the greatest value over `[lower, upper]`.
    pub fn range(self, lower: f64, upper: f64) -> (f64, f64) {
        let ends = (self.apply(lower), self.apply(upper));
        if self.is_monotone() {
            return ends;
        }
        let falls_and_rises = lower <= smooth::SILU_LEAST_AT && smooth::SILU_LEAST_AT <= upper;
        let least = if falls_and_rises { smooth::SILU_LEAST } else { ends.0.min(ends.1) };
        (least, ends.0.max(ends.1))
    }

    /// Whether the function is made of straight pieces, so that branching on signs can decide it.
    pub fn is_piecewise_linear(self) -> bool {
        !matches!(self, Self::Tanh | Self::Sigmoid | Self::Elu(_) | Self::Silu)
    }
}

/// Weights of one layer by input column: entries `starts[j] .. starts[j + 1]` belong to input `j`.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatSparse {
    /// `inputs + 1` offsets into `entries`.
    pub starts: Vec<usize>,
    /// Output index and weight, output ascending within a column.
    pub entries: Vec<(u32, f64)>,
}

/// One affine layer and its activation.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatLayer {
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
    /// Masked weights, row-major out x in.
    pub weight: Vec<f64>,
    /// The same, row-major in x out.
    pub transposed: Vec<f64>,
    /// Biases, `outputs` entries.
    pub bias: Vec<f64>,
    /// Activation after the affine map.
    pub activation: FloatActivation,
    /// Present when few weights are nonzero.
    pub sparse: Option<FloatSparse>,
}

/// A network over `f64`; widths agree, at least one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatNetwork {
    /// The layers in order.
    pub layers: Vec<FloatLayer>,
}

/// Why a model has no `f64` form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloatError {
    /// No layer, a width of zero, or lengths that do not fit.
    #[error("layer {layer} of the network is empty or does not fit the one before it")]
    Shape {
        /// Index of the layer.
        layer: usize,
    },
    /// The mask has another shape than the weights.
    #[error("the mask of layer {layer} is missing or has another size than its weight")]
    Mask {
        /// Index of the layer.
        layer: usize,
    },
    /// A stored number does not fit `f64`.
    #[error("a number of layer {layer} is too large for f64")]
    Range {
        /// Index of the layer.
        layer: usize,
    },
}

/// The `f64` nearest to `value`.
pub fn rational_to_float(value: &Rational) -> f64 {
    Ratio::new(value.numerator().clone(), value.denominator().clone()).to_f64().unwrap_or(f64::NAN)
}

/// The exact rational value of a finite `f64`; `None` for NaN and infinities.
pub fn float_to_rational(value: f64) -> Option<Rational> {
    Dyadic::from_ieee(value.to_bits(), 52, 11).map(Dyadic::to_rational)
}

/// The `f64` nearest to a stored number; stored numbers of at most 53 significant bits come out exact.
pub fn dyadic_to_float(value: Dyadic) -> f64 {
    let mantissa = value.mantissa as f64;
    if (-900..=900).contains(&value.exponent) {
        return mantissa * 2f64.powi(value.exponent);
    }
    rational_to_float(&value.to_rational())
}

impl FloatLayer {
    /// A layer from row-major out x in weights.
    ///
    /// # Errors
    /// [`FloatError::Shape`] (as layer 0) if the lengths do not fit or a width is zero.
    pub fn new(
        inputs: usize,
        weight: Vec<f64>,
        bias: Vec<f64>,
        activation: FloatActivation,
    ) -> Result<Self, FloatError> {
        let outputs = bias.len();
        if inputs == 0 || outputs == 0 || inputs.checked_mul(outputs) != Some(weight.len()) {
            return Err(FloatError::Shape { layer: 0 });
        }
        let mut transposed = vec![0.0; weight.len()];
        for (o, row) in weight.chunks_exact(inputs).enumerate() {
            for (i, &w) in row.iter().enumerate() {
                transposed[i * outputs + o] = w;
            }
        }
        let kept = weight.iter().filter(|w| **w != 0.0).count();
        let sparse = (kept as f64) < SPARSE_BELOW * weight.len() as f64;
        let sparse = sparse.then(|| FloatSparse::from_transposed(&transposed, outputs));
        Ok(Self { inputs, outputs, weight, transposed, bias, activation, sparse })
    }

    /// `weight * x + bias` into `pre`.
    pub fn affine(&self, x: &[f64], pre: &mut Vec<f64>) {
        pre.clear();
        pre.extend(
            self.weight
                .chunks_exact(self.inputs)
                .zip(&self.bias)
                .map(|(row, b)| b + row.iter().zip(x).map(|(w, v)| w * v).sum::<f64>()),
        );
    }
}

impl FloatSparse {
    fn from_transposed(transposed: &[f64], outputs: usize) -> Self {
        let mut starts = vec![0];
        let mut entries = Vec::new();
        for column in transposed.chunks_exact(outputs) {
            entries.extend((0u32..).zip(column).filter(|(_, w)| **w != 0.0).map(|(o, w)| (o, *w)));
            starts.push(entries.len());
        }
        Self { starts, entries }
    }
}

impl FloatNetwork {
    /// Layers put in order.
    ///
    /// # Errors
    /// [`FloatError::Shape`] if there is none or a width differs from the next one's input.
    pub fn new(layers: Vec<FloatLayer>) -> Result<Self, FloatError> {
        if layers.is_empty() {
            return Err(FloatError::Shape { layer: 0 });
        }
        for (layer, pair) in layers.windows(2).enumerate() {
            if pair[0].outputs != pair[1].inputs {
                return Err(FloatError::Shape { layer: layer + 1 });
            }
        }
        Ok(Self { layers })
    }

    /// Lowers a checked model, with `mask` applied if one is given.
    ///
    /// # Errors
    /// [`FloatError`], one variant per reason.
    pub fn from_model(network: &Network, mask: Option<&Mask>) -> Result<Self, FloatError> {
        let mut layers = Vec::with_capacity(network.layers.len());
        for (index, layer) in network.layers.iter().enumerate() {
            let mut weight = lower_matrix(&layer.weight);
            if let Some(mask) = mask {
                let kept = mask.layers.get(index).filter(|m| m.len() == weight.len());
                let kept = kept.ok_or(FloatError::Mask { layer: index })?;
                weight.iter_mut().zip(kept).filter(|(_, k)| !**k).for_each(|(w, _)| *w = 0.0);
            }
            let bias: Vec<f64> = layer.bias.iter().map(|b| dyadic_to_float(*b)).collect();
            if !weight.iter().chain(&bias).all(|v| v.is_finite()) {
                return Err(FloatError::Range { layer: index });
            }
            let activation = lower_activation(&layer.activation);
            let lowered = FloatLayer::new(layer.weight.columns, weight, bias, activation);
            layers.push(lowered.map_err(|_| FloatError::Shape { layer: index })?);
        }
        Self::new(layers)
    }

    /// Input width.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.inputs)
    }

    /// Output width.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// The outputs at `x`, rounded to nearest throughout.
    pub fn forward(&self, x: &[f64]) -> Vec<f64> {
        let (mut post, mut pre) = (x.to_vec(), Vec::new());
        for layer in &self.layers {
            layer.affine(&post, &mut pre);
            post.clear();
            post.extend(pre.iter().map(|z| layer.activation.apply(*z)));
        }
        post
    }
}

fn lower_matrix(matrix: &Matrix) -> Vec<f64> {
    matrix.values.iter().map(|v| dyadic_to_float(*v)).collect()
}

fn lower_activation(activation: &Activation) -> FloatActivation {
    match activation {
        Activation::Identity => FloatActivation::Identity,
        Activation::Relu => FloatActivation::Relu,
        Activation::LeakyRelu { slope } => FloatActivation::LeakyRelu(rational_to_float(slope)),
        Activation::Tanh => FloatActivation::Tanh,
        Activation::Sigmoid => FloatActivation::Sigmoid,
        Activation::Elu { alpha } => FloatActivation::Elu(rational_to_float(alpha)),
        Activation::Silu => FloatActivation::Silu,
        Activation::Clip { lower, upper } => {
            FloatActivation::Clip(rational_to_float(lower), rational_to_float(upper))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_checker::model::Layer;

    const CURVES: [FloatActivation; 5] = [
        FloatActivation::Tanh,
        FloatActivation::Sigmoid,
        FloatActivation::Elu(1.0),
        FloatActivation::Elu(0.3),
        FloatActivation::Silu,
    ];

    #[test]
    fn derivatives_are_those_of_differences() {
        for (activation, step) in CURVES.iter().flat_map(|a| (-200..=200).map(move |step| (a, step))) {
            let x = f64::from(step) * 0.05 + 0.012_3;
            let expected = (activation.apply(x + 1e-5) - activation.apply(x - 1e-5)) / 2e-5;
            assert!((activation.derivative(x) - expected).abs() < 1e-9, "{activation:?} at {x}");
        }
    }

    #[test]
    fn ranges_hold_the_values_and_are_met() {
        for activation in CURVES {
            for (l, u) in [(-3.0, -2.0), (-2.0, -1.0), (-1.5, 0.5), (-0.5, 0.1), (0.5, 4.0), (-9.0, 2.0)] {
                let values = (0..=4000).map(|i| activation.apply(l + (u - l) * f64::from(i) / 4000.0));
                let (least, greatest) = activation.range(l, u);
                let (a, b) =
                    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
                assert!(
                    least <= a && a - least < 1e-6 && b <= greatest && greatest - b < 1e-6,
                    "{activation:?}"
                );
            }
        }
    }

    fn dyadics(values: &[f64]) -> Vec<Dyadic> {
        values.iter().map(|v| Dyadic::from_ieee(v.to_bits(), 52, 11).unwrap()).collect()
    }

    fn model() -> Network {
        let layer = |rows, columns, weight: &[f64], bias: &[f64], activation| Layer {
            fixed: false,
            weight: Matrix { rows, columns, values: dyadics(weight) },
            bias: dyadics(bias),
            activation,
        };
        Network {
            layers: vec![
                layer(2, 2, &[1.0, -2.0, 0.5, 4.0], &[0.0, 1.0], Activation::Relu),
                layer(1, 2, &[3.0, -1.0], &[0.25], Activation::Identity),
            ],
        }
    }

    /// At (1, 2) the first layer gives (1 - 4, 0.5 + 8 + 1) = (-3, 9.5), relu (0, 9.5), the second 0.25 - 9.5; without
    /// the weights -2 and -1 it gives (1, 9.5) and 3.25.
    #[test]
    fn a_model_and_its_mask_are_lowered() {
        let network = FloatNetwork::from_model(&model(), None).unwrap();
        assert_eq!(network.forward(&[1.0, 2.0]), [-9.25]);
        assert_eq!(network.layers[0].transposed, [1.0, 0.5, -2.0, 4.0]);
        let mask = Mask { layers: vec![vec![true, false, true, true], vec![true, false]] };
        let pruned = FloatNetwork::from_model(&model(), Some(&mask)).unwrap();
        assert_eq!(pruned.forward(&[1.0, 2.0]), [3.25]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let short = Mask { layers: vec![vec![true; 4]] };
        assert_eq!(FloatNetwork::from_model(&model(), Some(&short)), Err(FloatError::Mask { layer: 1 }));
        let mut wide = model();
        wide.layers[0].bias[0] = Dyadic::new(1, 1024);
        assert_eq!(FloatNetwork::from_model(&wide, None), Err(FloatError::Range { layer: 0 }));
        let mut ragged = model();
        ragged.layers[1].weight.columns = 1;
        ragged.layers[1].weight.values.pop();
        assert_eq!(FloatNetwork::from_model(&ragged, None), Err(FloatError::Shape { layer: 1 }));
        assert_eq!(FloatNetwork::new(Vec::new()), Err(FloatError::Shape { layer: 0 }));
    }

    #[test]
    fn stored_numbers_come_out_exact() {
        for x in [0.1, -3.5, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e-310] {
            assert_eq!(dyadic_to_float(Dyadic::from_ieee(x.to_bits(), 52, 11).unwrap()), x);
            assert_eq!(rational_to_float(&float_to_rational(x).unwrap()), x);
        }
        assert_eq!(float_to_rational(f64::NAN), None);
    }
}
