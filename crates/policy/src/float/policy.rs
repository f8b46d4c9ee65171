//! A policy lowered to `f64` for training, evaluation and attacks, and its way to and from policy files. Untrusted.
//! Weights leave as `f32`; what is evaluated after training is the rounded policy, the one that is written.

use ndarray::{Array1, Array2};

use crate::float::FloatActivation;
use crate::float::head::FloatHead;
use crate::float::mlp::{Dense, Mlp};
use crate::float::normaliser::FixedNormaliser;
use crate::float::rng::SeededRng;
use crate::policy::{
    ActivationSpec, HeadData, LayerData, NormaliserData, PolicyData, Scaling, TensorData, TensorDtype,
};

/// Network, meaning of its outputs, normaliser of its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatPolicy {
    /// From normalised observations to outputs.
    pub network: Mlp,
    /// What the outputs mean.
    pub head: FloatHead,
    /// From raw observations to inputs; the identity if the policy has none.
    pub normaliser: FixedNormaliser,
}

/// Why a policy cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FloatPolicyError {
    /// A tensor whose bytes, dimensions or place do not fit.
    #[error("layer {layer}: the tensors do not fit together")]
    Shape {
        /// Index of the layer; the number of layers for head and normaliser.
        layer: usize,
    },
    /// A number in the manifest that is neither a decimal nor a fraction.
    #[error("{text:?} is neither a decimal nor a fraction")]
    Number {
        /// What stands there.
        text: String,
    },
    /// Not one layer.
    #[error("the policy has no layers")]
    Empty,
}

/// The `f64` values of a tensor; `None` if its bytes do not fit its dimensions.
pub fn float_values(tensor: &TensorData) -> Option<Vec<f64>> {
    let count = tensor.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))?;
    let width = match tensor.dtype {
        TensorDtype::F16 | TensorDtype::BF16 => 2,
        TensorDtype::F32 => 4,
        TensorDtype::F64 => 8,
    };
    if tensor.bytes.len() != count.checked_mul(width)? {
        return None;
    }
    let number = |bytes: &[u8]| match (tensor.dtype, bytes) {
        (TensorDtype::F16, &[a, b]) => half(u16::from_le_bytes([a, b])),
        (TensorDtype::BF16, &[a, b]) => f64::from(f32::from_le_bytes([0, 0, a, b])),
        (TensorDtype::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (_, bytes) => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
    };
    Some(tensor.bytes.chunks_exact(width).map(number).collect())
}

/// IEEE binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    match bits >> 10 & 0x1f {
        0 => sign * fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1.0 + fraction) * 2f64.powi(i32::from(exponent) - 15),
    }
}

/// A decimal or a fraction, rounded to `f64`.
fn number(text: &str) -> Result<f64, FloatPolicyError> {
    let wrong = || FloatPolicyError::Number { text: text.to_owned() };
    let part = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    let value = match text.split_once('/') {
        Some((over, under)) => part(over).zip(part(under)).map(|(over, under)| over / under),
        None => part(text),
    };
    value.filter(|value| value.is_finite()).ok_or_else(wrong)
}

fn activation(spec: &ActivationSpec) -> Result<FloatActivation, FloatPolicyError> {
    Ok(match spec {
        ActivationSpec::Identity => FloatActivation::Identity,
        ActivationSpec::Relu => FloatActivation::Relu,
        ActivationSpec::LeakyRelu(slope) => FloatActivation::LeakyRelu(number(slope)?),
        ActivationSpec::Tanh => FloatActivation::Tanh,
        ActivationSpec::Sigmoid => FloatActivation::Sigmoid,
        ActivationSpec::Elu(alpha) => FloatActivation::Elu(number(alpha)?),
        ActivationSpec::Silu => FloatActivation::Silu,
        ActivationSpec::Clip(lower, upper) => {
            let (low, high) = (number(lower)?, number(upper)?);
            if low > high {
                return Err(FloatPolicyError::Number { text: format!("{lower}..{upper}") });
            }
            FloatActivation::Clip(low, high)
        }
    })
}

fn activation_spec(activation: FloatActivation) -> ActivationSpec {
    match activation {
        FloatActivation::Identity => ActivationSpec::Identity,
        FloatActivation::Relu => ActivationSpec::Relu,
        FloatActivation::LeakyRelu(slope) => ActivationSpec::LeakyRelu(slope.to_string()),
        FloatActivation::Tanh => ActivationSpec::Tanh,
        FloatActivation::Sigmoid => ActivationSpec::Sigmoid,
        FloatActivation::Elu(alpha) => ActivationSpec::Elu(alpha.to_string()),
        FloatActivation::Silu => ActivationSpec::Silu,
        FloatActivation::Clip(lower, upper) => ActivationSpec::Clip(lower.to_string(), upper.to_string()),
    }
}

/// An F32 tensor of these values, rounded to nearest.
fn single_tensor<'a>(shape: Vec<usize>, values: impl IntoIterator<Item = &'a f64>) -> TensorData {
    let bytes = values.into_iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
    TensorData { dtype: TensorDtype::F32, shape, bytes }
}

/// The nearest `f32` of every entry.
fn round<'a>(values: impl IntoIterator<Item = &'a mut f64>) {
    values.into_iter().for_each(|value| *value = f64::from(*value as f32));
}

impl FloatPolicy {
    /// Lowers a policy.
    ///
    /// # Errors
    /// [`FloatPolicyError`] if tensors do not fit together or a number cannot be read.
    pub fn from_data(data: &PolicyData) -> Result<Self, FloatPolicyError> {
        let mut layers: Vec<Dense> = Vec::new();
        for (index, layer) in data.layers.iter().enumerate() {
            layers.push(lower_layer(layer, index, layers.last())?);
        }
        let (Some(first), Some(last)) = (layers.first(), layers.last()) else {
            return Err(FloatPolicyError::Empty);
        };
        let misfit = FloatPolicyError::Shape { layer: layers.len() };
        let vector = |tensor: &TensorData, width: usize| {
            float_values(tensor).filter(|values| values.len() == width).ok_or_else(|| misfit.clone())
        };
        let (inputs, outputs) = (first.weight.ncols(), last.weight.nrows());
        let head = match &data.head {
            HeadData::Gaussian { log_std } => FloatHead::Gaussian { log_std: vector(log_std, outputs)? },
            HeadData::Categorical => FloatHead::Categorical,
            HeadData::Deterministic => FloatHead::Deterministic,
        };
        let normaliser = match &data.normaliser {
            None => FixedNormaliser::identity(inputs),
            Some(normaliser) => {
                let clip = normaliser.clip.as_deref().map_or(Ok(f64::INFINITY), number)?;
                let mean = vector(&normaliser.mean, inputs)?;
                let std = match &normaliser.scaling {
                    Scaling::Std(std) => vector(std, inputs)?,
                    Scaling::Factor(factor) => vector(factor, inputs)?.iter().map(|f| 1.0 / f).collect(),
                };
                FixedNormaliser { mean, std, clip }
            }
        };
        Ok(Self { network: Mlp { layers }, head, normaliser })
    }

    /// A value network of normalised observations as a deterministic policy: how it is written, in a folder `critic/`.
    pub fn of_critic(critic: Mlp) -> Self {
        let normaliser = FixedNormaliser::identity(critic.input_width());
        Self { network: critic, head: FloatHead::Deterministic, normaliser }
    }

    /// The policy as it is written: F32 tensors; no normaliser if it is the identity.
    pub fn to_data(&self) -> PolicyData {
        let layer = |layer: &Dense| LayerData {
            fixed: false,
            weight: single_tensor(layer.weight.shape().to_vec(), &layer.weight),
            bias: single_tensor(layer.bias.shape().to_vec(), &layer.bias),
            activation: activation_spec(layer.activation),
        };
        let head = match &self.head {
            FloatHead::Gaussian { log_std } => {
                HeadData::Gaussian { log_std: single_tensor(vec![log_std.len()], log_std) }
            }
            FloatHead::Categorical => HeadData::Categorical,
            FloatHead::Deterministic => HeadData::Deterministic,
        };
        let width = self.network.input_width();
        let normaliser = (self.normaliser != FixedNormaliser::identity(width)).then(|| NormaliserData {
            mean: single_tensor(vec![width], &self.normaliser.mean),
            scaling: Scaling::Std(single_tensor(vec![width], &self.normaliser.std)),
            clip: self.normaliser.clip.is_finite().then(|| self.normaliser.clip.to_string()),
        });
        PolicyData { layers: self.network.layers.iter().map(layer).collect(), head, normaliser, source: None }
    }

    /// Rounds every number to the `f32` that [`FloatPolicy::to_data`] writes.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        round(self.network.parameters_mut());
        round(self.normaliser.mean.iter_mut().chain(&mut self.normaliser.std));
        if let FloatHead::Gaussian { log_std } = &mut self.head {
            round(log_std);
        }
        self
    }

    /// The policy under a mask: one table a layer, row-major, `true` = kept. Biases, deviations and normaliser stay.
    ///
    /// # Errors
    /// [`FloatPolicyError::Shape`] unless there is one entry for each weight.
    pub fn masked(&self, kept: &[Vec<bool>]) -> Result<Self, FloatPolicyError> {
        let mut policy = self.clone();
        if kept.len() != policy.network.layers.len() {
            return Err(FloatPolicyError::Shape { layer: kept.len().min(policy.network.layers.len()) });
        }
        for (index, (layer, kept)) in policy.network.layers.iter_mut().zip(kept).enumerate() {
            if layer.weight.len() != kept.len() {
                return Err(FloatPolicyError::Shape { layer: index });
            }
            layer
                .weight
                .iter_mut()
                .zip(kept)
                .filter(|(_, kept)| !**kept)
                .for_each(|(weight, _)| *weight = 0.0);
        }
        Ok(policy)
    }

    /// The action at a raw observation: the most likely one, or a draw if a generator is given. Coordinates are not clipped;
    /// an index is stored as `f64`.
    pub fn action(&self, observation: &[f64], rng: Option<&mut SeededRng>) -> Vec<f64> {
        self.action_at_input(&self.normaliser.apply(observation), rng)
    }

    /// The same at a normalised observation.
    pub fn action_at_input(&self, input: &[f64], rng: Option<&mut SeededRng>) -> Vec<f64> {
        let outputs = self.network.forward_one(input);
        match rng {
            Some(rng) => self.head.sample(&outputs, rng),
            None => self.head.mode(&outputs),
        }
    }
}

fn lower_layer(layer: &LayerData, index: usize, before: Option<&Dense>) -> Result<Dense, FloatPolicyError> {
    let misfit = || FloatPolicyError::Shape { layer: index };
    let &[rows, columns] = layer.weight.shape.as_slice() else { return Err(misfit()) };
    let weight =
        float_values(&layer.weight).and_then(|values| Array2::from_shape_vec((rows, columns), values).ok());
    let bias = float_values(&layer.bias).filter(|values| values.len() == rows).ok_or_else(misfit)?;
    if rows == 0 || columns == 0 || before.is_some_and(|before| before.bias.len() != columns) {
        return Err(misfit());
    }
    let activation = activation(&layer.activation)?;
    Ok(Dense { weight: weight.ok_or_else(misfit)?, bias: Array1::from(bias), activation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> FloatPolicy {
        let mut rng = SeededRng::new(21, 0);
        FloatPolicy {
            network: Mlp::orthogonal(&[3, 5, 2], FloatActivation::Tanh, 1.0, &mut rng),
            head: FloatHead::Gaussian { log_std: vec![-0.1, 0.2] },
            normaliser: FixedNormaliser { mean: vec![0.1, 0.2, 0.3], std: vec![1.0, 2.0, 3.0], clip: 10.0 },
        }
    }

    #[test]
    fn a_rounded_policy_comes_back_as_it_was() {
        let rounded = policy().rounded();
        assert_ne!(rounded, policy());
        assert_eq!(FloatPolicy::from_data(&rounded.to_data()), Ok(rounded.clone()));
        assert_eq!(policy().to_data(), rounded.to_data());
    }

    #[test]
    fn masks_zero_what_they_drop_and_nothing_else() {
        let policy = policy();
        let mut kept = vec![vec![true; 15], vec![true; 10]];
        assert_eq!(policy.masked(&kept), Ok(policy.clone()));
        kept[0][4] = false;
        let masked = policy.masked(&kept).expect("fits");
        let mut expected = policy.clone();
        expected.network.layers[0].weight[[1, 1]] = 0.0;
        assert_eq!(masked, expected);
        kept[1].pop();
        assert_eq!(policy.masked(&kept), Err(FloatPolicyError::Shape { layer: 1 }));
        kept.pop();
        assert_eq!(policy.masked(&kept), Err(FloatPolicyError::Shape { layer: 1 }));
    }

    /// Smallest subnormal, one, the largest finite number and minus two of binary16 (IEEE 754, table 3.5).
    #[test]
    fn halves() {
        let found: Vec<f64> = [0x0001, 0x3c00, 0x7bff, 0xc000].into_iter().map(half).collect();
        assert_eq!(found, [2f64.powi(-24), 1.0, 65504.0, -2.0]);
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
    }

    #[test]
    fn misfits_are_located() {
        let mut data = policy().to_data();
        data.layers[1].weight.shape = vec![5, 2];
        assert_eq!(FloatPolicy::from_data(&data), Err(FloatPolicyError::Shape { layer: 1 }));
        data.layers.clear();
        assert_eq!(FloatPolicy::from_data(&data), Err(FloatPolicyError::Empty));
        assert_eq!(number("3/40"), Ok(0.075));
        assert!(number("1/0").is_err() && number("ten").is_err());
    }
}
