//! A network's weights as integers with one power of two per layer, fixed by the dense network and shared by all masks.
//! Trusted; exact. `spec/rules/global.md#scaledlayer`.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::{BigInt, BigUint};
use num_traits::Zero;

use crate::fault::Fault;
use crate::model::{Activation, Layer, Mask, Network};
use crate::number::{Dyadic, Rational};

/// One layer: `weight[i][j] = mantissas[i * columns + j] * 2^exponent`, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaledLayer {
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub columns: usize,
    /// The layer's power of two: the least exponent of a stored weight.
    pub exponent: i64,
    /// Row-major signed mantissas, out x in.
    pub mantissas: Vec<BigInt>,
    /// A Lipschitz constant of the activation.
    pub lipschitz: Rational,
}

/// A network's layers as integers; made once, used for every mask of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaledNetwork {
    /// The layers, in order; at least one, and widths that fit.
    pub layers: Vec<ScaledLayer>,
}

impl ScaledNetwork {
    /// Rule `scaled.layer`: the integer form of the dense network.
    ///
    /// # Errors
    /// [`Fault::EmptyNetwork`]; [`Fault::LayerShape`] if a table does not fit its shape or the layer before.
    pub fn new(network: &Network) -> Result<Self, Fault> {
        let mut layers: Vec<ScaledLayer> = Vec::new();
        for (index, layer) in network.layers.iter().enumerate() {
            let made = ScaledLayer::new(layer).ok_or(Fault::LayerShape { layer: index })?;
            if layers.last().is_some_and(|before| before.rows != made.columns) {
                return Err(Fault::LayerShape { layer: index });
            }
            layers.push(made);
        }
        if layers.is_empty() { Err(Fault::EmptyNetwork) } else { Ok(Self { layers }) }
    }

    /// Input width.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.columns)
    }

    /// The layers under `mask`, `None` meaning all kept. Each is borrowed; see [`MaskedLayer`].
    ///
    /// # Errors
    /// [`Fault::MaskLayers`], [`Fault::MaskShape`].
    pub fn masked<'a>(&'a self, mask: Option<&'a Mask>) -> Result<Vec<MaskedLayer<'a>>, Fault> {
        let Some(mask) = mask else {
            return Ok(self.layers.iter().map(|layer| MaskedLayer { layer, kept: None }).collect());
        };
        if mask.layers.len() != self.layers.len() {
            return Err(Fault::MaskLayers { expected: self.layers.len(), found: mask.layers.len() });
        }
        let mut made = Vec::new();
        for (index, (layer, kept)) in self.layers.iter().zip(&mask.layers).enumerate() {
            let (expected, found) = (layer.mantissas.len(), kept.len());
            if expected != found {
                return Err(Fault::MaskShape { layer: index, expected, found });
            }
            made.push(MaskedLayer { layer, kept: Some(kept) });
        }
        Ok(made)
    }
}

impl ScaledLayer {
    fn new(layer: &Layer) -> Option<Self> {
        let weight = &layer.weight;
        let area = weight.rows.checked_mul(weight.columns)?;
        if area == 0 || weight.values.len() != area || layer.bias.len() != weight.rows {
            return None;
        }
        let least = weight.values.iter().filter(|v| !v.is_zero()).map(|v| v.exponent).min().unwrap_or(0);
        let mantissas = weight.values.iter().map(|v| mantissa_at(*v, least)).collect();
        Some(Self {
            rows: weight.rows,
            columns: weight.columns,
            exponent: i64::from(least),
            mantissas,
            lipschitz: lipschitz(&layer.activation),
        })
    }
}

fn mantissa_at(value: Dyadic, exponent: i32) -> BigInt {
    if value.is_zero() {
        return BigInt::zero();
    }
    BigInt::from(value.mantissa)
        << i64::from(value.exponent).saturating_sub(i64::from(exponent)).unsigned_abs()
}

/// A Lipschitz constant of an activation: 1 for identity, ReLU, tanh and clips, 1/4 for the logistic function,
/// `max(1, |slope|)` for leaky ReLU.
pub fn lipschitz(activation: &Activation) -> Rational {
    match activation {
        Activation::Identity | Activation::Relu | Activation::Tanh | Activation::Clip { .. } => {
            Rational::one()
        }
        Activation::LeakyRelu { slope } => slope.abs().max(Rational::one()),
        Activation::Sigmoid => Rational::from_dyadic(BigInt::from(1u8), -2),
    }
}

/// A layer with its mask; a pruned weight is 0.
#[derive(Clone, Copy, Debug)]
pub struct MaskedLayer<'a> {
    /// The dense layer.
    pub layer: &'a ScaledLayer,
    kept: Option<&'a [bool]>,
}

impl<'a> MaskedLayer<'a> {
    /// Surviving nonzero weights as `(row, column, mantissa)`, row-major.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, &'a BigInt)> + use<'a> {
        let (columns, kept) = (self.layer.columns, self.kept);
        self.layer.mantissas.chunks(columns).enumerate().flat_map(move |(row, values)| {
            let flags = kept.and_then(|k| k.chunks(columns).nth(row));
            values.iter().enumerate().filter_map(move |(column, value)| {
                let alive = flags.is_none_or(|f| f.get(column).copied().unwrap_or(true));
                (alive && !value.is_zero()).then_some((row, column, value))
            })
        })
    }

    /// `|W| x` in units of `2^exponent` times those of `x`; `x` has one entry per column.
    pub fn absolute_times(&self, x: &[BigUint]) -> Vec<BigUint> {
        self.gather(self.layer.rows, x, |row, column| (row, column))
    }

    /// `|W|^T x`, as [`Self::absolute_times`]; `x` has one entry per row.
    pub fn absolute_transposed_times(&self, x: &[BigUint]) -> Vec<BigUint> {
        self.gather(self.layer.columns, x, |row, column| (column, row))
    }

    fn gather(
        &self,
        n: usize,
        x: &[BigUint],
        place: impl Fn(usize, usize) -> (usize, usize),
    ) -> Vec<BigUint> {
        let mut sums = vec![BigUint::zero(); n];
        for (row, column, value) in self.entries() {
            let (target, source) = place(row, column);
            if let (Some(sum), Some(factor)) = (sums.get_mut(target), x.get(source)) {
                *sum += value.magnitude() * factor;
            }
        }
        sums
    }

    /// `value * 2^(times * exponent)`.
    pub fn rescale(&self, value: BigUint, times: i64) -> Rational {
        Rational::from_dyadic(BigInt::from(value), self.layer.exponent.saturating_mul(times))
    }
}
