//! The dyadic grid on which the local families compute: i64 entries, i128 accumulators, every rounding outward.
//! Trusted. `spec/rules/local.md#grid`. Limits: magnitudes whose grid would be coarser than 2^-16 are refused.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::fault::Fault;
use crate::interval::Interval;
use crate::model::{Activation, Layer, Mask, Network};
use crate::number::{Dyadic, Rational};
use crate::table::{Table, Weights};
use crate::wide::{AtLayer, every, zip_exact};

/// Finest grid of activations: 2^-48.
pub(crate) const VALUE_BITS: u32 = 48;
/// Finest grid of weights: 2^-52.
pub(crate) const WEIGHT_BITS: u32 = 52;
/// Finest grid of backward coefficients: 2^-48.
pub(crate) const COEFFICIENT_BITS: u32 = 48;
/// Grid of relaxation slopes: 2^-24.
pub const SLOPE_BITS: u32 = 24;
/// Slope 1.
pub(crate) const SLOPE_ONE: i64 = 1 << SLOPE_BITS;
/// Bits an entry of the grid may use; the rest of an i64 is headroom.
const ENTRY_BITS: u32 = 60;
/// Coarsest grid that is still worth computing on.
const COARSEST_BITS: u32 = 16;
/// Fraction bits of the magnitude estimate from which the grids are chosen.
const ESTIMATE_BITS: u32 = 24;

/// `floor(value * 2^bits)` and whether nothing was cut off; `None` beyond an i64.
pub(crate) fn dyadic_entry(value: Dyadic, bits: u32) -> Option<(i64, bool)> {
    let shift = i64::from(value.exponent).checked_add(bits.into())?;
    let amount = u32::try_from(shift.unsigned_abs()).ok()?;
    if value.mantissa == 0 {
        return Some((0, true));
    }
    if shift >= 0 {
        let entry = value.mantissa.checked_shl(amount)?;
        return (entry.checked_shr(amount)? == value.mantissa).then_some((entry, true));
    }
    // A shift by 63 or more leaves the sign of the mantissa, which is below 2^63.
    let floor = value.mantissa.checked_shr(amount.min(63))?;
    Some((floor, amount < 63 && floor.checked_shl(amount)? == value.mantissa))
}

/// `floor(value * 2^bits)` and `ceil(value * 2^bits)`; `None` beyond an i64.
pub fn rational_entry(value: &Rational, bits: u32) -> Option<Interval> {
    Some((value.floor_scaled(bits).to_i64()?, value.ceil_scaled(bits).to_i64()?))
}

/// The grids of one network over one set of inputs, fixed by the DENSE network so that all masks share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridScale {
    /// Fraction bits of activations and bounds.
    pub value_bits: u32,
    /// Fraction bits of backward coefficients.
    pub coefficient_bits: u32,
    /// Fraction bits of each layer's weights.
    pub weight_bits: Vec<u32>,
}

impl GridScale {
    /// Rule `grid.scale`: the grids, from a bound `input` on the magnitude of every input coordinate.
    ///
    /// With `B` the largest magnitude of a value, bounded neuron by neuron, activations get `min(48, 60 - ceil(log2 B))`
    /// fraction bits; coefficients likewise from the largest one that a neuron's row can be carried back to.
    ///
    /// # Errors
    /// [`Fault::MagnitudeTooLarge`] if fewer than 16 bits would remain; [`Fault::ShapeMismatch`].
    pub fn new(network: &Network, input: &Rational) -> Result<Self, Fault> {
        let outside = Fault::MagnitudeTooLarge { layer: 0 };
        let input = input.abs().ceil_scaled(ESTIMATE_BITS).to_u128().ok_or(outside.clone())?;
        let mut below = vec![Reach { value: input, coefficient: 0 }; network.inputs()];
        let mut largest = Reach { value: input.max(ONE), coefficient: ONE };
        let mut scale = Self {
            value_bits: bits_for(largest.value, VALUE_BITS).ok_or(outside)?,
            coefficient_bits: COEFFICIENT_BITS,
            weight_bits: Vec::with_capacity(network.layers.len()),
        };
        for (index, layer) in network.layers.iter().enumerate() {
            let too_large = || Fault::MagnitudeTooLarge { layer: index };
            let rows = layer.weight.checked_rows(index)?;
            let mut entry = 0;
            let mut above = Vec::with_capacity(layer.bias.len());
            for (row, &bias) in zip_exact(rows, &layer.bias, index)? {
                let weights = every(row.iter().map(|&weight| estimate(weight))).ok_or_else(too_large)?;
                let (mut neuron, widest) = row_reach(&weights, &below, bias, index)?.ok_or_else(too_large)?;
                entry = entry.max(widest);
                largest.value = largest.value.max(neuron.value);
                largest.coefficient = largest.coefficient.max(neuron.coefficient);
                neuron.value = post_magnitude(&layer.activation, neuron.value).ok_or_else(too_large)?;
                neuron.coefficient =
                    through_slope(&layer.activation, neuron.coefficient).ok_or_else(too_large)?;
                largest.value = largest.value.max(neuron.value);
                above.push(neuron);
            }
            below = above;
            scale.value_bits = bits_for(largest.value, VALUE_BITS).ok_or_else(too_large)?;
            scale.coefficient_bits = bits_for(largest.coefficient, COEFFICIENT_BITS).ok_or_else(too_large)?;
            scale.weight_bits.push(bits_for(entry, WEIGHT_BITS).ok_or_else(too_large)?);
        }
        Ok(scale)
    }
}

/// 1 on the estimate's grid.
const ONE: u128 = 1 << ESTIMATE_BITS;

/// What one neuron cannot exceed, on the estimate's grid.
#[derive(Clone, Copy)]
struct Reach {
    /// The magnitude of its value.
    value: u128,
    /// The magnitude of every coefficient that its row becomes on its way back to the input.
    coefficient: u128,
}

/// The reach of a neuron before its activation, from that of its inputs, and its largest weight. No value if a number
/// passes 2^128, far beyond any grid.
fn row_reach(
    weights: &[u128],
    below: &[Reach],
    bias: Dyadic,
    layer: usize,
) -> Result<Option<(Reach, u128)>, Fault> {
    let pairs = zip_exact(weights, below, layer)?;
    let sum = |of: fn(&Reach) -> u128| {
        let mut terms = pairs.clone().map(|(weight, below)| weight.checked_mul(of(below)));
        terms.try_fold(0u128, |sum, term| sum.checked_add(term?))
    };
    let widest = weights.iter().copied().fold(0, u128::max);
    let reach = || {
        let value = sum(|below| below.value)?.checked_shr(ESTIMATE_BITS)?;
        let value = value.checked_add(estimate(bias)?)?.checked_add(1)?;
        let carried = sum(|below| below.coefficient)?.checked_shr(ESTIMATE_BITS)?;
        Some(Reach { value, coefficient: widest.max(carried.checked_add(1)?) })
    };
    Ok(reach().map(|reach| (reach, widest)))
}

/// `ceil(|value| * 2^ESTIMATE_BITS)`; `None` from 2^128.
fn estimate(value: Dyadic) -> Option<u128> {
    let magnitude = u128::from(value.mantissa.unsigned_abs());
    let shift = i64::from(value.exponent).checked_add(ESTIMATE_BITS.into())?;
    let amount = u32::try_from(shift.unsigned_abs()).ok()?;
    if shift >= 0 {
        return 1u128.checked_shl(amount)?.checked_mul(magnitude);
    }
    // A shift by 64 or more leaves a fraction of one step.
    Some(magnitude.div_ceil(1u128.checked_shl(amount.min(64))?))
}

fn post_magnitude(activation: &Activation, pre: u128) -> Option<u128> {
    match activation {
        Activation::Identity
        | Activation::Relu
        | Activation::LeakyRelu { .. }
        | Activation::Elu { .. }
        | Activation::Silu => Some(pre),
        Activation::Tanh | Activation::Sigmoid => Some(ONE),
        Activation::Clip { lower, upper } => {
            lower.abs().max(upper.abs()).ceil_scaled(ESTIMATE_BITS).to_u128()
        }
    }
}

/// What a coefficient becomes on its way back through a line of the activation: slopes are at most 1, those of SiLU 9/8.
fn through_slope(activation: &Activation, coefficient: u128) -> Option<u128> {
    let more = if *activation == Activation::Silu { coefficient.div_ceil(8) } else { 0 };
    coefficient.checked_add(more)
}

/// Fraction bits for numbers of the estimated magnitude: at most `finest`, `None` below the coarsest.
fn bits_for(estimate: u128, finest: u32) -> Option<u32> {
    let length = u128::BITS.checked_sub(estimate.leading_zeros())?;
    // A magnitude below 1 has no whole bits.
    let whole = length.saturating_sub(ESTIMATE_BITS);
    let bits = ENTRY_BITS.checked_sub(whole)?.min(finest);
    (bits >= COARSEST_BITS).then_some(bits)
}

/// One layer on the grid, after a mask; tables are out x in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridLayer {
    /// Weights, floored to the grid; 0 where pruned.
    pub weight: Table<i64>,
    /// Upper ends of the weights' magnitudes; 0 exactly where pruned.
    pub absolute: Table<i64>,
    /// Largest number in `absolute`, and so at least every magnitude in `weight`.
    pub largest: u64,
    /// Fraction bits of `weight`.
    pub weight_bits: u32,
    /// 0 if every weight is exact on the grid, else 1: each weight is within `weight_error * 2^-weight_bits` above.
    pub weight_error: u64,
    /// Enclosures of the biases.
    pub bias: Vec<Interval>,
    /// Activation after the affine map.
    pub activation: GridActivation,
}

/// An activation with its parameters on the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GridActivation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `numerator / denominator * x` below 0; both in `0..=2^30`, numerator at most the denominator.
    LeakyRelu {
        /// Numerator of the slope.
        numerator: i64,
        /// Denominator of the slope, positive.
        denominator: i64,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic sigmoid.
    Sigmoid,
    /// Clip between two limits, each enclosed by two neighbouring grid points.
    Clip {
        /// Enclosure of the lower limit.
        lower: Interval,
        /// Enclosure of the upper limit.
        upper: Interval,
    },
    /// `numerator / denominator * (exp(x) - 1)` below 0; both in `0..=2^30`, numerator at most the denominator.
    Elu {
        /// Numerator of alpha.
        numerator: i64,
        /// Denominator of alpha, positive.
        denominator: i64,
    },
    /// `x` times the logistic function of `x`.
    Silu,
}

/// A masked network on the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridNetwork {
    /// Layers in order.
    pub layers: Vec<GridLayer>,
    /// Fraction bits of activations and bounds.
    pub value_bits: u32,
    /// Fraction bits of backward coefficients.
    pub coefficient_bits: u32,
}

impl GridNetwork {
    /// Rule `grid.layer`: the network, pruned by `mask` if one is given, on the grids of `scale`.
    ///
    /// # Errors
    /// [`Fault`] with the layer that does not fit.
    pub fn new(network: &Network, mask: Option<&Mask>, scale: &GridScale) -> Result<Self, Fault> {
        let depth = network.layers.len().min(scale.weight_bits.len());
        let layers = zip_exact(&network.layers, &scale.weight_bits, depth)?.enumerate();
        let layers = layers.map(|(index, (layer, &bits))| grid_layer(layer, bits, scale.value_bits, index));
        let dense = Self {
            layers: layers.collect::<Result<_, _>>()?,
            value_bits: scale.value_bits,
            coefficient_bits: scale.coefficient_bits,
        };
        match mask {
            Some(mask) => dense.pruned(mask),
            None => Ok(dense),
        }
    }

    /// The network without the weights that `mask` drops: they become 0, everything else stays.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`] with the layer.
    pub fn pruned(&self, mask: &Mask) -> Result<Self, Fault> {
        let depth = self.layers.len().min(mask.layers.len());
        let layers = zip_exact(&self.layers, &mask.layers, depth)?.enumerate();
        let layers = layers.map(|(index, (layer, kept))| {
            let absolute = kept_of(&layer.absolute, kept, index)?;
            Ok(GridLayer {
                weight: kept_of(&layer.weight, kept, index)?,
                largest: largest(absolute.values()),
                absolute,
                bias: layer.bias.clone(),
                activation: layer.activation.clone(),
                ..*layer
            })
        });
        Ok(Self { layers: layers.collect::<Result<_, Fault>>()?, ..*self })
    }

    /// Number of outputs; none without a layer.
    pub(crate) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, GridLayer::outputs)
    }
}

impl GridLayer {
    /// Input width.
    pub(crate) fn inputs(&self) -> usize {
        self.weight.columns()
    }

    /// Output width.
    pub fn outputs(&self) -> usize {
        self.weight.height()
    }

    /// The weights as products take them.
    pub(crate) fn weights(&self) -> Weights<'_> {
        Weights { table: &self.weight, from: 0, largest: self.largest, bits: self.weight_bits }
    }
}

/// The entries of a table that are kept, and 0 for the others.
fn kept_of(table: &Table<i64>, kept: &[bool], layer: usize) -> Result<Table<i64>, Fault> {
    let entries = zip_exact(table.values(), kept, layer)?;
    let entries = entries.map(|(&entry, &keep)| if keep { entry } else { 0 }).collect();
    Table::new(table.height(), table.columns(), entries, layer)
}

/// The largest magnitude of a table, 0 of an empty one.
fn largest(table: &[i64]) -> u64 {
    table.iter().map(|w| w.unsigned_abs()).fold(0, u64::max)
}

fn grid_layer(layer: &Layer, weight_bits: u32, value_bits: u32, index: usize) -> Result<GridLayer, Fault> {
    let (outputs, inputs) = (layer.weight.rows, layer.weight.columns);
    if layer.bias.len() != outputs {
        return Err(Fault::ShapeMismatch { layer: index });
    }
    let entries = layer.weight.values.iter().map(|&value| dyadic_entry(value, weight_bits));
    let entries = every(entries).within(index)?;
    let absolute = entries.iter().map(|&(entry, exact)| {
        // A floored negative number has grown in magnitude already.
        entry.checked_abs()?.checked_add(i64::from(!exact && entry >= 0))
    });
    let absolute = every(absolute).within(index)?;
    let bias = layer.bias.iter().map(|&value| {
        let (floor, exact) = dyadic_entry(value, value_bits)?;
        Some((floor, if exact { floor } else { floor.checked_add(1)? }))
    });
    Ok(GridLayer {
        largest: largest(&absolute),
        absolute: Table::new(outputs, inputs, absolute, index)?,
        weight_bits,
        // The error is that of the dense layer under every mask, so that the masks of a chain round alike.
        weight_error: u64::from(!entries.iter().all(|(_, exact)| *exact)),
        weight: Table::new(outputs, inputs, entries.into_iter().map(|(entry, _)| entry).collect(), index)?,
        bias: every(bias).within(index)?,
        activation: grid_activation(&layer.activation, value_bits, index)?,
    })
}

fn grid_activation(activation: &Activation, value_bits: u32, layer: usize) -> Result<GridActivation, Fault> {
    let short = |value: &BigInt| {
        let small = value.to_i64().filter(|v| v.unsigned_abs() <= 1 << 30);
        small.ok_or(Fault::ParameterTooLong { layer })
    };
    Ok(match activation {
        Activation::Identity => GridActivation::Identity,
        Activation::Relu => GridActivation::Relu,
        Activation::Tanh => GridActivation::Tanh,
        Activation::Sigmoid => GridActivation::Sigmoid,
        Activation::LeakyRelu { slope } => {
            if slope.is_negative() || *slope > Rational::one() {
                return Err(Fault::ParameterOutOfRange { layer });
            }
            let (numerator, denominator) = (short(slope.numerator())?, short(slope.denominator())?);
            GridActivation::LeakyRelu { numerator, denominator }
        }
        Activation::Elu { alpha } => {
            if !alpha.is_positive() || *alpha > Rational::one() {
                return Err(Fault::ParameterOutOfRange { layer });
            }
            let (numerator, denominator) = (short(alpha.numerator())?, short(alpha.denominator())?);
            GridActivation::Elu { numerator, denominator }
        }
        Activation::Silu => GridActivation::Silu,
        Activation::Clip { lower, upper } => {
            if lower > upper {
                return Err(Fault::ParameterOutOfRange { layer });
            }
            GridActivation::Clip {
                lower: rational_entry(lower, value_bits).within(layer)?,
                upper: rational_entry(upper, value_bits).within(layer)?,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matrix;

    fn layer(weights: &[(i64, i32)], rows: usize, activation: Activation) -> Layer {
        let values: Vec<Dyadic> = weights.iter().map(|&(m, e)| Dyadic::new(m, e)).collect();
        let columns = values.len() / rows;
        Layer {
            fixed: false,
            weight: Matrix { rows, columns, values },
            bias: vec![Dyadic::new(3, 0); rows],
            activation,
        }
    }

    fn single(layer: Layer) -> Network {
        Network { layers: vec![layer] }
    }

    fn integer(value: i64) -> Rational {
        Rational::from_integer(value.into())
    }

    /// `3/4 * 2 = 1.5` floors to 1, `-1.5` to -2; far below the grid 0 and -1; `2^1052` is beyond an i64.
    #[test]
    fn entries_are_floored() {
        assert_eq!(dyadic_entry(Dyadic::new(3, -2), 1), Some((1, false)));
        assert_eq!(dyadic_entry(Dyadic::new(-3, -2), 1), Some((-2, false)));
        assert_eq!(dyadic_entry(Dyadic::new(-3, -2), 2), Some((-3, true)));
        assert_eq!(dyadic_entry(Dyadic::new(1, -1074), 52), Some((0, false)));
        assert_eq!(dyadic_entry(Dyadic::new(-1, -1074), 52), Some((-1, false)));
        assert_eq!(dyadic_entry(Dyadic::new(1, 1000), 52), None);
        assert_eq!(dyadic_entry(Dyadic::ZERO, 52), Some((0, true)));
        assert_eq!(rational_entry(&Rational::parse("-1/3").unwrap(), 2), Some((-2, -1)));
    }

    /// Against exact rationals, for shifts to either side of the estimate's grid, beyond 64 bits and beyond 128.
    #[test]
    fn estimates_are_rounded_up() {
        for mantissa in [0, 1, -1, 3, -5, 1 << 40, i64::MAX, i64::MIN] {
            for exponent in [-1074, -90, -88, -87, -64, -30, -25, -24, -23, 0, 5, 70] {
                let value = Dyadic::new(mantissa, exponent);
                assert_eq!(
                    estimate(value),
                    value.to_rational().abs().ceil_scaled(ESTIMATE_BITS).to_u128(),
                    "{value:?}"
                );
            }
        }
    }

    /// `|(1, -2)| . 4 + 3 = 15` needs 4 whole bits, less than the 12 to spare. With weight and input `2^20` the value
    /// `2^40 + 3` has 41 bits, so 60 - 41 = 19 remain; the weight's 21 bits leave 39.
    #[test]
    fn the_grid_fits_the_dense_network() {
        let fine = GridScale::new(&single(layer(&[(1, 0), (-2, 0)], 1, Activation::Relu)), &integer(4));
        let finest = GridScale { value_bits: 48, coefficient_bits: 48, weight_bits: vec![52] };
        assert_eq!(fine, Ok(finest));
        let coarse = GridScale::new(&single(layer(&[(1, 20)], 1, Activation::Relu)), &integer(1 << 20));
        assert_eq!(coarse, Ok(GridScale { value_bits: 19, coefficient_bits: 39, weight_bits: vec![39] }));
    }

    /// Neuron by neuron. First layer: values to `2^14 + 3` and 7, coefficients to `2^14` and 4. Then `4 (2^14 + 3) +
    /// 2^14 . 7 + 3`, 18 bits where the larger term has 17, and `4 . 2^14 + 2^14 . 4`, likewise, where the product of
    /// row sums has 29.
    #[test]
    fn magnitudes_are_bounded_neuron_by_neuron() {
        let first = layer(&[(1, 14), (0, 0), (0, 0), (1, 2)], 2, Activation::Relu);
        let second = layer(&[(1, 2), (1, 14)], 1, Activation::Identity);
        let found = GridScale::new(&Network { layers: vec![first, second] }, &integer(1));
        assert_eq!(found, Ok(GridScale { value_bits: 42, coefficient_bits: 42, weight_bits: vec![45, 45] }));
    }

    /// What a row of SiLU's layer reads has lines of slope up to 9/8 above it: `64 . 57 . 9/8 = 4104` has a bit more than
    /// `64 . 56 . 9/8 = 4032`. Values do not grow: `57 / 64` and `64 . 57 + 3` have 12 bits.
    #[test]
    fn coefficients_grow_by_slopes_above_one() {
        let bits = |activation: &Activation, last: i64| {
            let layers =
                vec![layer(&[(1, 6)], 1, activation.clone()), layer(&[(last, 0)], 1, Activation::Identity)];
            GridScale::new(&Network { layers }, &Rational::on_grid(1, 6)).map(|s| s.coefficient_bits)
        };
        assert_eq!((bits(&Activation::Silu, 56), bits(&Activation::Silu, 57)), (Ok(48), Ok(47)));
        for activation in [Activation::Relu, Activation::Elu { alpha: Rational::one() }] {
            assert_eq!(bits(&activation, 57), Ok(48));
        }
    }

    /// Inputs of `2^42` leave 60 - 44 + 1 = 17 bits of values below `2^43`; `2^44` would leave 15.
    #[test]
    fn magnitudes_beyond_the_grid_are_refused() {
        let network = single(layer(&[(1, 0)], 1, Activation::Tanh));
        assert_eq!(GridScale::new(&network, &integer(1 << 42)).map(|s| s.value_bits), Ok(17));
        let refused = Err(Fault::MagnitudeTooLarge { layer: 0 });
        assert_eq!(GridScale::new(&network, &integer(1 << 44)), refused);
        let steep = single(layer(&[(1, 50)], 1, Activation::Tanh));
        assert_eq!(GridScale::new(&steep, &integer(0)), refused);
    }

    /// A kept weight `2^-60` floors to 0 with magnitude 1; pruned it is exactly 0. The error stays: masks round alike.
    #[test]
    fn pruned_weights_are_exactly_zero() {
        let network = single(layer(&[(1, -60), (-1, -60)], 1, Activation::Relu));
        let scale = GridScale::new(&network, &integer(1)).unwrap();
        let kept = GridNetwork::new(&network, None, &scale).unwrap();
        assert_eq!(
            (kept.layers[0].weight.values(), kept.layers[0].absolute.values()),
            (&[0, -1][..], &[1, 1][..])
        );
        let mask = Mask { layers: vec![vec![false, false]] };
        let pruned = GridNetwork::new(&network, Some(&mask), &scale).unwrap();
        let layer = &pruned.layers[0];
        assert_eq!((layer.weight.values(), layer.absolute.values()), (&[0, 0][..], &[0, 0][..]));
        assert_eq!((layer.weight_error, kept.layers[0].weight_error), (1, 1));
    }

    #[test]
    fn layers_that_do_not_fit_are_refused() {
        let network = single(layer(&[(1, 0), (2, 0)], 2, Activation::Relu));
        let scale = GridScale::new(&network, &integer(1)).unwrap();
        let shape = Err(Fault::ShapeMismatch { layer: 0 });
        let short = Mask { layers: vec![vec![true]] };
        assert_eq!(GridNetwork::new(&network, Some(&short), &scale), shape);
        assert_eq!(GridNetwork::new(&network, Some(&Mask { layers: vec![] }), &scale), shape);
        let mut bias = network.clone();
        bias.layers[0].bias.pop();
        assert_eq!(GridNetwork::new(&bias, None, &scale), shape);
        let none = GridScale { weight_bits: vec![], ..scale.clone() };
        assert_eq!(GridNetwork::new(&network, None, &none), shape);
        let mut large = network.clone();
        large.layers[0].bias[0] = Dyadic::new(1, 40);
        assert_eq!(GridNetwork::new(&large, None, &scale), Err(Fault::Overflow { layer: 0 }));
    }

    #[test]
    fn activation_parameters_are_tested() {
        let make = |activation| {
            let network = single(layer(&[(1, 0)], 1, activation));
            let scale = GridScale { value_bits: 40, coefficient_bits: 40, weight_bits: vec![40] };
            GridNetwork::new(&network, None, &scale).map(|n| n.layers[0].activation.clone())
        };
        let leaky = |slope: &str| make(Activation::LeakyRelu { slope: Rational::parse(slope).unwrap() });
        let clip = |lower: &str, upper: &str| {
            let limit = |text| Rational::parse(text).unwrap();
            make(Activation::Clip { lower: limit(lower), upper: limit(upper) })
        };
        let long = Err(Fault::ParameterTooLong { layer: 0 });
        let range = Err(Fault::ParameterOutOfRange { layer: 0 });
        let finest = GridActivation::LeakyRelu { numerator: 1, denominator: 1 << 30 };
        assert_eq!(leaky("1/1073741824"), Ok(finest));
        assert_eq!(leaky("1/1073741825"), long);
        assert!(leaky("0").is_ok() && leaky("1").is_ok());
        assert_eq!(leaky("-1/2"), range);
        assert_eq!(leaky("3/2"), range);
        assert_eq!(
            clip("-1", "1"),
            Ok(GridActivation::Clip { lower: (-1 << 40, -1 << 40), upper: (1 << 40, 1 << 40) })
        );
        assert_eq!(clip("1", "-1"), range);
        let elu = |alpha: &str| make(Activation::Elu { alpha: Rational::parse(alpha).unwrap() });
        assert_eq!(elu("2/3"), Ok(GridActivation::Elu { numerator: 2, denominator: 3 }));
        assert!(elu("1").is_ok() && elu("1/1073741824").is_ok());
        assert_eq!(elu("1/1073741825"), long);
        for alpha in ["0", "-1/2", "1073741825/1073741824"] {
            assert_eq!(elu(alpha), range, "{alpha}");
        }
        assert_eq!(clip("0", "1e9"), Err(Fault::Overflow { layer: 0 }));
    }
}
