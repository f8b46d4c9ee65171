//! Policy directories and mask chains as files: what importers, the trainer and pruning write. Untrusted: what is
//! written is read back by the checker's reader. `spec/semantics.md#files`.

pub mod emit;
pub mod input;
pub mod mask;
pub mod read;
pub mod tensor;
pub mod write;

use secateur_checker::model::{Normaliser, Source};
use secateur_checker::number::Rational;

/// The observation before the normaliser that is read as these numbers, one an input, exactly, where no clip cuts it off.
pub fn before_normaliser(normaliser: &Normaliser, read: &[Rational]) -> Vec<Rational> {
    let statistics = normaliser.mean.iter().zip(&normaliser.std);
    read.iter().zip(statistics).map(|(x, (mean, std))| x.mul(std).add(&mean.to_rational())).collect()
}

/// Stored number formats; the bytes of a tensor are kept as they were in the source file, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorDtype {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    BF16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

/// A tensor to be written: row-major little-endian bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorData {
    /// Number format.
    pub dtype: TensorDtype,
    /// Dimensions; their product times the width of `dtype` is the length of `bytes`.
    pub shape: Vec<usize>,
    /// Little-endian, row-major.
    pub bytes: Vec<u8>,
}

/// Activation as the manifest spells it; numbers are decimals or fractions, kept as text so that they stay exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivationSpec {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` or `slope * x`; the slope as text.
    LeakyRelu(String),
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic sigmoid.
    Sigmoid,
    /// `min(max(x, lower), upper)`; both as text. Hardtanh is `("-1", "1")`.
    Clip(String, String),
    /// `x` or `alpha * (exp(x) - 1)`; alpha as text.
    Elu(String),
    /// `x` times the logistic function of `x`.
    Silu,
}

/// One affine layer with its activation; `weight` is `[out, in]`, `bias` is `[out]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerData {
    /// Weights, out x in.
    pub weight: TensorData,
    /// Biases.
    pub bias: TensorData,
    /// Activation after the affine map.
    pub activation: ActivationSpec,
    /// A scale layer with a diagonal weight: never pruned, never counted.
    pub fixed: bool,
}

/// What the outputs mean.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadData {
    /// Mean of a Gaussian; `[out]` logarithms of the standard deviations.
    Gaussian {
        /// State-independent log standard deviations.
        log_std: TensorData,
    },
    /// Logits.
    Categorical,
    /// The action.
    Deterministic,
}

/// What a normaliser does with the distance to the mean; `[in]` positive entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Divides by standard deviations (not variances).
    Std(TensorData),
    /// Multiplies by factors, where a file stores those and their inverses are no floats.
    Factor(TensorData),
}

impl Scaling {
    /// The stored tensor.
    pub fn tensor(&self) -> &TensorData {
        match self {
            Self::Std(tensor) | Self::Factor(tensor) => tensor,
        }
    }
}

/// `clip((s - mean) / std, -clip, clip)`, or with `(s - mean) * factor`.
#[derive(Clone, Debug, PartialEq)]
pub struct NormaliserData {
    /// `[in]` means.
    pub mean: TensorData,
    /// Standard deviations or factors.
    pub scaling: Scaling,
    /// Clip radius as text (`"10"`), if any.
    pub clip: Option<String>,
}

/// A whole policy, ready to be written as `policy.json` and `policy.safetensors`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyData {
    /// Layers in order.
    pub layers: Vec<LayerData>,
    /// Head.
    pub head: HeadData,
    /// Observation normaliser.
    pub normaliser: Option<NormaliserData>,
    /// The files it was imported from, and the options that decided how.
    pub source: Option<Source>,
}
