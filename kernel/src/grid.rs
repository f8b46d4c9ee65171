//! The dyadic grid on which the local families compute: i64 entries, i128 accumulators, every rounding outward.
//! Trusted. `spec/rules/local.md#grid`. Limits: magnitudes whose grid would be coarser than 2^-16 are refused.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::fault::Fault;
use crate::model::{Activation, Layer, Mask, Network};
use crate::number::{Dyadic, Rational};

/// Finest grid of activations: 2^-48.
pub const VALUE_BITS: u32 = 48;
/// Finest grid of weights: 2^-52.
pub const WEIGHT_BITS: u32 = 52;
/// Finest grid of backward coefficients: 2^-48.
pub const COEFFICIENT_BITS: u32 = 48;
/// Grid of relaxation slopes: 2^-24.
pub const SLOPE_BITS: u32 = 24;
/// Bits an entry of the grid may use; the rest of an i64 is headroom.
const ENTRY_BITS: u32 = 60;
/// Coarsest grid that is still worth computing on.
const COARSEST_BITS: u32 = 16;
/// Fraction bits of the magnitude estimate from which the grids are chosen.
const ESTIMATE_BITS: u32 = 24;

/// `a * b`; two i64 factors cannot overflow an i128, so wrapping never happens.
#[inline]
pub fn mul(a: i64, b: i64) -> i128 {
    i128::from(a).wrapping_mul(i128::from(b))
}

/// `sum a_i * b_i` over the common length; `None` on overflow.
#[inline]
pub fn dot(a: &[i64], b: &[i64]) -> Option<i128> {
    a.iter().zip(b).try_fold(0i128, |sum, (&x, &y)| sum.checked_add(mul(x, y)))
}

/// `sum |a_i|`, for [`dot_within`]; `None` on overflow.
#[inline]
pub fn absolute_sum(a: &[i64]) -> Option<u128> {
    a.iter().try_fold(0u128, |sum, x| sum.checked_add(u128::from(x.unsigned_abs())))
}

/// Whether every partial sum of `sum a_i * b_i` fits an i128 if `sum |a_i| <= reach` and `|b_i| <= largest`.
#[inline]
pub fn fits(reach: u128, largest: u64) -> bool {
    reach.checked_mul(u128::from(largest)).is_some_and(|bound| i128::try_from(bound).is_ok())
}

/// [`dot`] without a test per product where [`fits`] has been asked before (`safe`): no partial sum can wrap then.
#[inline]
pub fn dot_within(a: &[i64], b: &[i64], safe: bool) -> Option<i128> {
    if safe {
        Some(a.iter().zip(b).fold(0i128, |sum, (&x, &y)| sum.wrapping_add(mul(x, y))))
    } else {
        dot(a, b)
    }
}

/// `floor(x / 2^bits)`.
#[inline]
pub fn floor_shift(x: i128, bits: u32) -> Option<i128> {
    x.checked_shr(bits)
}

/// `ceil(x / 2^bits)`.
#[inline]
pub fn ceil_shift(x: i128, bits: u32) -> Option<i128> {
    x.checked_neg()?.checked_shr(bits)?.checked_neg()
}

/// `x * 2^bits`; `None` on overflow.
#[inline]
pub fn scale_up(x: i128, bits: u32) -> Option<i128> {
    x.checked_mul(1i128.checked_shl(bits)?)
}

/// `floor(x / 2^bits)` as an entry of the grid.
#[inline]
pub fn floor_entry(x: i128, bits: u32) -> Option<i64> {
    i64::try_from(floor_shift(x, bits)?).ok()
}

/// `ceil(x / 2^bits)` as an entry of the grid.
#[inline]
pub fn ceil_entry(x: i128, bits: u32) -> Option<i64> {
    i64::try_from(ceil_shift(x, bits)?).ok()
}

/// `max(|lower|, |upper|)`.
#[inline]
pub fn magnitude(lower: i64, upper: i64) -> i64 {
    lower.saturating_abs().max(upper.saturating_abs())
}

/// `floor(value * 2^bits)` and whether nothing was cut off; `None` beyond an i64.
pub fn dyadic_entry(value: Dyadic, bits: u32) -> Option<(i64, bool)> {
    let shift = i64::from(value.exponent).checked_add(i64::from(bits))?;
    let amount = u32::try_from(shift.unsigned_abs()).ok()?;
    if shift >= 0 {
        let factor = if amount >= 63 { return (value.mantissa == 0).then_some((0, true)) } else { amount };
        let scaled = scale_up(i128::from(value.mantissa), factor)?;
        return Some((i64::try_from(scaled).ok()?, true));
    }
    if amount >= 63 {
        let floor = if value.mantissa < 0 { -1 } else { 0 };
        return Some((floor, value.mantissa == 0));
    }
    let floor = value.mantissa.checked_shr(amount)?;
    Some((floor, floor.checked_shl(amount)? == value.mantissa))
}

/// `floor(value * 2^bits)` and `ceil(value * 2^bits)`; `None` beyond an i64.
pub fn rational_entry(value: &Rational, bits: u32) -> Option<(i64, i64)> {
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
    /// Chooses the grids from a bound `input` on the magnitude of every input coordinate.
    ///
    /// With `B` the largest magnitude of a value, bounded neuron by neuron, activations get `min(48, 60 - ceil(log2 B))`
    /// fraction bits; coefficients likewise from the largest one that a neuron's row can be carried back to.
    ///
    /// # Errors
    /// [`Fault::MagnitudeTooLarge`] if fewer than 16 bits would remain.
    pub fn new(network: &Network, input: &Rational) -> Result<Self, Fault> {
        let outside = || Fault::MagnitudeTooLarge { layer: 0 };
        let input = input.abs().ceil_scaled(ESTIMATE_BITS).to_u128().ok_or_else(outside)?;
        let mut below = vec![Reach { value: input, coefficient: 0 }; network.inputs()];
        let mut largest = Reach { value: input.max(ONE), coefficient: ONE };
        let mut scale = Self {
            value_bits: bits_for(largest.value, VALUE_BITS).ok_or_else(outside)?,
            coefficient_bits: COEFFICIENT_BITS,
            weight_bits: Vec::with_capacity(network.layers.len()),
        };
        for (index, layer) in network.layers.iter().enumerate() {
            let too_large = || Fault::MagnitudeTooLarge { layer: index };
            let (above, entry) = layer_reach(layer, &below).ok_or_else(too_large)?;
            for neuron in &above {
                largest.value = largest.value.max(neuron.value);
                largest.coefficient = largest.coefficient.max(neuron.coefficient);
            }
            below = above;
            for neuron in &mut below {
                neuron.value = post_magnitude(&layer.activation, neuron.value).ok_or_else(too_large)?;
                largest.value = largest.value.max(neuron.value);
            }
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
    /// The magnitude of every coefficient that its row becomes on its way back to the input; slopes are at most 1.
    coefficient: u128,
}

/// The reach of a layer's neurons before its activation, from that of its inputs, and its largest weight. `None` if a
/// number passes 2^128, far beyond any grid.
fn layer_reach(layer: &Layer, below: &[Reach]) -> Option<(Vec<Reach>, u128)> {
    let mut above = Vec::with_capacity(layer.bias.len());
    let mut largest = 0;
    let rows = layer.weight.values.chunks(layer.weight.columns.max(1));
    for (row, &bias) in rows.zip(&layer.bias) {
        let (mut value, mut carried, mut entry) = (0u128, 0u128, 0u128);
        for (&weight, below) in row.iter().zip(below) {
            let weight = estimate(weight)?;
            entry = entry.max(weight);
            value = value.checked_add(weight.checked_mul(below.value)?)?;
            carried = carried.checked_add(weight.checked_mul(below.coefficient)?)?;
        }
        let value = (value >> ESTIMATE_BITS).checked_add(estimate(bias)?)?.checked_add(1)?;
        let coefficient = entry.max((carried >> ESTIMATE_BITS).checked_add(1)?);
        above.push(Reach { value, coefficient });
        largest = largest.max(entry);
    }
    Some((above, largest))
}

/// `ceil(|value| * 2^ESTIMATE_BITS)`; `None` from 2^128.
fn estimate(value: Dyadic) -> Option<u128> {
    let magnitude = u128::from(value.mantissa.unsigned_abs());
    let shift = i64::from(value.exponent).checked_add(i64::from(ESTIMATE_BITS))?;
    let amount = u32::try_from(shift.unsigned_abs()).ok()?;
    if shift >= 0 {
        return 1u128.checked_shl(amount)?.checked_mul(magnitude);
    }
    // A shift by 64 or more leaves a fraction of one step.
    let step = 1u128.checked_shl(amount.min(64))?;
    Some(magnitude.div_ceil(step))
}

fn post_magnitude(activation: &Activation, pre: u128) -> Option<u128> {
    match activation {
        Activation::Identity | Activation::Relu | Activation::LeakyRelu { .. } => Some(pre),
        Activation::Tanh | Activation::Sigmoid => Some(ONE),
        Activation::Clip { lower, upper } => {
            lower.abs().max(upper.abs()).ceil_scaled(ESTIMATE_BITS).to_u128()
        }
    }
}

/// Fraction bits for numbers of the estimated magnitude: at most `finest`, `None` below the coarsest.
fn bits_for(estimate: u128, finest: u32) -> Option<u32> {
    let length = u128::BITS.checked_sub(estimate.leading_zeros())?;
    let whole = length.saturating_sub(ESTIMATE_BITS);
    let bits = ENTRY_BITS.checked_sub(whole)?.min(finest);
    (bits >= COARSEST_BITS).then_some(bits)
}

/// One layer on the grid, after a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridLayer {
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
    /// Weights out x in, floored to the grid; 0 where pruned.
    pub weight: Vec<i64>,
    /// Upper ends of the weights' magnitudes, out x in; 0 exactly where pruned.
    pub absolute: Vec<i64>,
    /// Largest number in `absolute`, and so at least every magnitude in `weight`.
    pub largest: u64,
    /// Fraction bits of `weight`.
    pub weight_bits: u32,
    /// 0 if every weight is exact on the grid, else 1: each weight is within `weight_error * 2^-weight_bits` above.
    pub weight_error: i64,
    /// Lower ends of the biases.
    pub bias_lower: Vec<i64>,
    /// Upper ends of the biases.
    pub bias_upper: Vec<i64>,
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
        lower: (i64, i64),
        /// Enclosure of the upper limit.
        upper: (i64, i64),
    },
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
    /// Puts the network, pruned by `mask` if one is given, on the grids of `scale`.
    ///
    /// # Errors
    /// [`Fault`] with the layer that does not fit.
    pub fn new(network: &Network, mask: Option<&Mask>, scale: &GridScale) -> Result<Self, Fault> {
        let mut layers = Vec::with_capacity(network.layers.len());
        for (index, (layer, &bits)) in network.layers.iter().zip(&scale.weight_bits).enumerate() {
            layers.push(grid_layer(layer, bits, scale.value_bits, index)?);
        }
        if layers.len() != network.layers.len() {
            return Err(Fault::ShapeMismatch { layer: layers.len() });
        }
        let dense = Self { layers, value_bits: scale.value_bits, coefficient_bits: scale.coefficient_bits };
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
        let mut pruned = self.clone();
        for (index, layer) in pruned.layers.iter_mut().enumerate() {
            let kept = mask.layers.get(index).filter(|kept| kept.len() == layer.weight.len());
            let kept = kept.ok_or(Fault::ShapeMismatch { layer: index })?;
            let entries = layer.weight.iter_mut().zip(&mut layer.absolute).zip(kept);
            for ((weight, absolute), _) in entries.filter(|(_, keep)| !**keep) {
                (*weight, *absolute) = (0, 0);
            }
            layer.largest = largest(&layer.absolute);
        }
        Ok(pruned)
    }
}

/// The largest magnitude of a table.
fn largest(table: &[i64]) -> u64 {
    table.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0)
}

fn grid_layer(layer: &Layer, weight_bits: u32, value_bits: u32, index: usize) -> Result<GridLayer, Fault> {
    let overflow = || Fault::Overflow { layer: index };
    let (outputs, inputs) = (layer.weight.rows, layer.weight.columns);
    let expected = outputs.checked_mul(inputs).ok_or(Fault::ShapeMismatch { layer: index })?;
    if layer.weight.values.len() != expected || layer.bias.len() != outputs || inputs == 0 {
        return Err(Fault::ShapeMismatch { layer: index });
    }
    let mut weight = Vec::with_capacity(expected);
    let mut absolute = Vec::with_capacity(expected);
    let mut weight_error = 0;
    for &value in &layer.weight.values {
        let (entry, exact) = dyadic_entry(value, weight_bits).ok_or_else(overflow)?;
        // The error is that of the dense layer under every mask, so that the masks of a chain round alike.
        weight_error = if exact { weight_error } else { 1 };
        weight.push(entry);
        // A floored negative number has grown in magnitude already.
        let grow = if exact || entry < 0 { 0 } else { 1 };
        absolute.push(entry.checked_abs().and_then(|a| a.checked_add(grow)).ok_or_else(overflow)?);
    }
    let mut bias_lower = Vec::with_capacity(outputs);
    let mut bias_upper = Vec::with_capacity(outputs);
    for &value in &layer.bias {
        let (floor, exact) = dyadic_entry(value, value_bits).ok_or_else(overflow)?;
        bias_lower.push(floor);
        bias_upper.push(if exact { floor } else { floor.checked_add(1).ok_or_else(overflow)? });
    }
    let activation = grid_activation(&layer.activation, value_bits, index)?;
    let largest = largest(&absolute);
    Ok(GridLayer {
        inputs,
        outputs,
        weight,
        absolute,
        largest,
        weight_bits,
        weight_error,
        bias_lower,
        bias_upper,
        activation,
    })
}

fn grid_activation(activation: &Activation, value_bits: u32, layer: usize) -> Result<GridActivation, Fault> {
    let short = |value: &BigInt| {
        let small = value.to_i64().filter(|v| v.unsigned_abs() <= 1 << 30);
        small.ok_or(Fault::ParameterTooLong { layer })
    };
    let in_range = match activation {
        Activation::LeakyRelu { slope } => !slope.is_negative() && *slope <= Rational::one(),
        Activation::Clip { lower, upper } => lower <= upper,
        _ => true,
    };
    if !in_range {
        return Err(Fault::ParameterOutOfRange { layer });
    }
    Ok(match activation {
        Activation::Identity => GridActivation::Identity,
        Activation::Relu => GridActivation::Relu,
        Activation::Tanh => GridActivation::Tanh,
        Activation::Sigmoid => GridActivation::Sigmoid,
        Activation::LeakyRelu { slope } => GridActivation::LeakyRelu {
            numerator: short(slope.numerator())?,
            denominator: short(slope.denominator())?,
        },
        Activation::Clip { lower, upper } => {
            let overflow = || Fault::Overflow { layer };
            GridActivation::Clip {
                lower: rational_entry(lower, value_bits).ok_or_else(overflow)?,
                upper: rational_entry(upper, value_bits).ok_or_else(overflow)?,
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

    /// `-5/2 = -2.5` and `5/2 = 2.5`; `2 * (2^63)^2 = 2^127` is one beyond an i128.
    #[test]
    fn shifts_round_outward_and_sums_are_checked() {
        assert_eq!((floor_shift(-5, 1), ceil_shift(-5, 1)), (Some(-3), Some(-2)));
        assert_eq!((floor_shift(5, 1), ceil_shift(5, 1)), (Some(2), Some(3)));
        assert_eq!((floor_entry(1 << 80, 1), ceil_entry(-1, 200)), (None, None));
        assert_eq!(dot(&[i64::MIN, i64::MIN], &[i64::MIN, i64::MIN]), None);
        assert_eq!(dot(&[2, -3], &[5, 7]), Some(-11));
        // 2^64 * 2^63 = 2^127 is one more than an i128 holds; one step less of reach fits.
        assert!(!fits(1 << 64, 1 << 63) && fits((1 << 64) - 1, 1 << 63));
        assert_eq!(absolute_sum(&[i64::MIN, 1]), Some((1 << 63) + 1));
        for safe in [false, true] {
            assert_eq!(dot_within(&[2, -3], &[5, 7], safe), Some(-11));
        }
        assert_eq!(dot_within(&[i64::MIN, i64::MIN], &[i64::MIN, i64::MIN], false), None);
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
            (kept.layers[0].weight.clone(), kept.layers[0].absolute.clone()),
            (vec![0, -1], vec![1, 1])
        );
        let mask = Mask { layers: vec![vec![false, false]] };
        let pruned = GridNetwork::new(&network, Some(&mask), &scale).unwrap();
        let layer = &pruned.layers[0];
        assert_eq!((layer.weight.clone(), layer.absolute.clone()), (vec![0, 0], vec![0, 0]));
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
        assert_eq!(clip("0", "1e9"), Err(Fault::Overflow { layer: 0 }));
    }
}
