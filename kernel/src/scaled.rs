//! A network's weights as integers with one power of two per layer, fixed by the dense network and shared by all masks.
//! Trusted; exact. `spec/rules/global.md#scaledlayer`.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::{BigInt, BigUint};
use num_traits::Zero;

use crate::curve::SILU_STEEPEST;
use crate::enclose::UNIT_BITS;
use crate::fault::Fault;
use crate::model::{Activation, Layer, Mask, Network};
use crate::number::Rational;
use crate::table::Table;
use crate::wide::{AtLayer, zip_exact};

/// One layer: `weight[i][j] = mantissas[i][j] * 2^exponent`, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScaledLayer {
    /// The layer's power of two: the least exponent of a stored weight.
    exponent: i32,
    /// Signed mantissas, out x in.
    mantissas: Table<BigInt>,
    /// A Lipschitz constant of the activation.
    pub(crate) lipschitz: Rational,
}

/// A network's layers as integers; made once, used for every mask of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaledNetwork {
    /// The layers, in order; at least one, and widths that fit.
    pub(crate) layers: Vec<ScaledLayer>,
}

impl ScaledNetwork {
    /// Rule `scaled.layer`: the integer form of the dense network.
    ///
    /// # Errors
    /// [`Fault::EmptyNetwork`]; [`Fault::LayerShape`] if a table does not fit its shape or the layer before.
    pub fn new(network: &Network) -> Result<Self, Fault> {
        let mut layers: Vec<ScaledLayer> = Vec::new();
        for (layer, stored) in network.layers.iter().enumerate() {
            let made = ScaledLayer::new(stored, layer)?;
            if layers.last().is_some_and(|before| before.mantissas.height() != made.mantissas.columns()) {
                return Err(Fault::LayerShape { layer });
            }
            layers.push(made);
        }
        if layers.is_empty() { Err(Fault::EmptyNetwork) } else { Ok(Self { layers }) }
    }

    /// Input width.
    pub(crate) fn inputs(&self) -> Result<usize, Fault> {
        self.layers.first().map(|layer| layer.mantissas.columns()).ok_or(Fault::EmptyNetwork)
    }

    /// The layers under `mask`, `None` meaning all kept: a pruned weight is 0.
    ///
    /// # Errors
    /// [`Fault::MaskLayers`], [`Fault::MaskShape`].
    pub(crate) fn masked(&self, mask: Option<&Mask>) -> Result<Vec<MaskedLayer<'_>>, Fault> {
        let (expected, found) = (self.layers.len(), mask.map_or(self.layers.len(), |mask| mask.layers.len()));
        if expected != found {
            return Err(Fault::MaskLayers { expected, found });
        }
        let layers = self.layers.iter().enumerate().map(|(index, layer)| {
            let entries = layer.mantissas.values();
            let mantissas = match mask {
                None => entries.iter().collect(),
                Some(mask) => {
                    let kept = mask.layers.get(index).shaped(index)?;
                    let (expected, found) = (entries.len(), kept.len());
                    let pairs = zip_exact(entries, kept, index);
                    let pairs = pairs.map_err(|_| Fault::MaskShape { layer: index, expected, found })?;
                    pairs.map(|(entry, &keep)| if keep { entry } else { &ZERO }).collect()
                }
            };
            let (height, columns) = (layer.mantissas.height(), layer.mantissas.columns());
            let mantissas = Table::new(height, columns, mantissas, index)?;
            Ok(MaskedLayer { exponent: layer.exponent, mantissas, lipschitz: &layer.lipschitz })
        });
        layers.collect()
    }
}

/// What a pruned weight is.
static ZERO: BigInt = BigInt::ZERO;

/// A layer under a mask.
#[derive(Clone, Debug)]
pub(crate) struct MaskedLayer<'a> {
    /// The dense layer's power of two.
    pub(crate) exponent: i32,
    /// Signed mantissas, out x in; 0 where pruned.
    pub(crate) mantissas: Table<&'a BigInt>,
    /// A Lipschitz constant of the activation.
    pub(crate) lipschitz: &'a Rational,
}

impl ScaledLayer {
    fn new(layer: &Layer, index: usize) -> Result<Self, Fault> {
        let shape = Fault::LayerShape { layer: index };
        let weight = &layer.weight;
        if weight.values.is_empty() || layer.bias.len() != weight.rows {
            return Err(shape);
        }
        let exponents = weight.values.iter().filter(|v| !v.is_zero()).map(|v| v.exponent);
        // A layer of zeros has no exponent, and none that matters.
        let exponent = exponents.min().unwrap_or(0);
        let mantissas = weight.values.iter().map(|value| {
            let finer = i64::from(value.exponent).checked_sub(exponent.into())?;
            let mantissa = BigInt::from(value.mantissa);
            if value.is_zero() { Some(mantissa) } else { Some(mantissa << u32::try_from(finer).ok()?) }
        });
        let mantissas = mantissas.collect::<Option<_>>().within(index)?;
        let mantissas = Table::new(weight.rows, weight.columns, mantissas, index).map_err(|_| shape)?;
        Ok(Self { exponent, mantissas, lipschitz: lipschitz(&layer.activation) })
    }
}

impl MaskedLayer<'_> {
    /// `|W| x` in units of `2^exponent` times those of `x`; `x` has one entry per column.
    pub(crate) fn absolute_times(&self, x: &[BigUint], index: usize) -> Result<Vec<BigUint>, Fault> {
        let rows = self
            .mantissas
            .rows()
            .map(|row| Ok(zip_exact(row, x, index)?.map(|(mantissa, x)| mantissa.magnitude() * x).sum()));
        rows.collect()
    }

    /// `|W|^T x`, as [`Self::absolute_times`]; `x` has one entry per row.
    pub(crate) fn absolute_transposed_times(
        &self,
        x: &[BigUint],
        index: usize,
    ) -> Result<Vec<BigUint>, Fault> {
        let mut sums = vec![BigUint::zero(); self.mantissas.columns()];
        for (row, x) in zip_exact(self.mantissas.rows(), x, index)? {
            for (sum, mantissa) in zip_exact(&mut sums, row, index)? {
                *sum += mantissa.magnitude() * x;
            }
        }
        Ok(sums)
    }

    /// Its power of two, raised to the power of `times`.
    pub(crate) fn unit(&self, times: i64, index: usize) -> Result<Rational, Fault> {
        Ok(Rational::from_dyadic(1.into(), i64::from(self.exponent).checked_mul(times).within(index)?))
    }
}

/// A Lipschitz constant of an activation: 1 for identity, ReLU, tanh, ELU and clips, 1/4 for the logistic function,
/// `max(1, |slope|)` for leaky ReLU, SiLU's largest slope.
fn lipschitz(activation: &Activation) -> Rational {
    match activation {
        Activation::Identity
        | Activation::Relu
        | Activation::Tanh
        | Activation::Elu { .. }
        | Activation::Clip { .. } => Rational::one(),
        Activation::Silu => Rational::on_grid(SILU_STEEPEST, UNIT_BITS),
        Activation::LeakyRelu { slope } => slope.abs().max(Rational::one()),
        Activation::Sigmoid => Rational::on_grid(1, 2),
    }
}

/// The number that a non-negative integer is.
pub(crate) fn whole(value: BigUint) -> Rational {
    Rational::from_integer(value.into())
}
