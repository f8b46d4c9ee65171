//! Backward linear bounds: rules `back.relax`, `back.affine`, `back.dual`, `conc.box`, `conc.ball`.
//! Trusted. `spec/rules/local.md`; Zhang et al. 2018, arXiv:1811.00866; Wang et al. 2021, arXiv:2103.06624 (multipliers).
//!
//! A functional of one layer's outputs is carried back to the input. Every coefficient is floored to its grid; the part
//! cut off is at most one grid step and is paid for by the proven magnitude of what it multiplies.

use num_bigint::{BigInt, BigUint};
use num_traits::{ToPrimitive, Zero};

use crate::kernel::grid::{
    GridActivation, GridError, GridLayer, GridNetwork, SLOPE_BITS, ceil_entry, dot, magnitude, mul, scale_up,
};
use crate::kernel::ibp::GridBox;
use crate::kernel::input::InputSet;
use crate::kernel::relax::Relaxation;

/// One layer's relaxations and the magnitudes its rounding is paid with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaxedLayer {
    /// One per neuron.
    pub neurons: Vec<Relaxation>,
    /// `sum_j max |pre_j|`, on the value grid.
    pub pre_magnitude: i128,
    /// `sum_j max |x_j|` over the layer's inputs, on the value grid.
    pub input_magnitude: i128,
}

/// `sum_j max(|lower_j|, |upper_j|)`.
pub fn total_magnitude(region: &GridBox) -> Option<i128> {
    region.intervals().try_fold(0i128, |sum, (l, u)| sum.checked_add(i128::from(magnitude(l, u))))
}

/// A linear functional of the inputs of layer `layer` (the network's outputs if `layer` is the number of layers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Functional {
    /// Coefficients on the coefficient grid.
    pub coefficients: Vec<i64>,
    /// Constant with `coefficient_bits + value_bits` fraction bits.
    pub constant: i128,
    /// Which layer's inputs it reads.
    pub layer: usize,
}

impl Functional {
    /// `sign * (weight_i . x + bias_i)` of one neuron as a functional of its layer's inputs, from above.
    ///
    /// `input_magnitude` is `sum_j max |x_j|`; it pays for weights and coefficients cut off at their grids.
    pub fn of_neuron(
        network: &GridNetwork,
        index: usize,
        neuron: usize,
        negative: bool,
        input_magnitude: i128,
    ) -> Option<Self> {
        let layer = network.layers.get(index)?;
        let start = neuron.checked_mul(layer.inputs)?;
        let row = layer.weight.get(start..start.checked_add(layer.inputs)?)?;
        let bias = if negative {
            layer.bias_lower.get(neuron)?.checked_neg()?
        } else {
            *layer.bias_upper.get(neuron)?
        };
        let mut constant = scale_up(i128::from(bias), network.coefficient_bits)?;
        let coefficients: Vec<i64> = if layer.weight_bits > network.coefficient_bits {
            let shift = layer.weight_bits.checked_sub(network.coefficient_bits)?;
            // Each floored coefficient, and each floored weight, is at most one step too small.
            let steps = i128::from(layer.weight_error).checked_add(1)?;
            constant = constant.checked_add(input_magnitude.checked_mul(steps)?)?;
            signed(row, negative).map(|w| w?.checked_shr(shift)).collect::<Option<_>>()?
        } else {
            let shift = network.coefficient_bits.checked_sub(layer.weight_bits)?;
            let step = scale_up(i128::from(layer.weight_error), shift)?;
            constant = constant.checked_add(input_magnitude.checked_mul(step)?)?;
            let scaled = signed(row, negative).map(|w| i64::try_from(scale_up(i128::from(w?), shift)?).ok());
            scaled.collect::<Option<_>>()?
        };
        Some(Self { coefficients, constant, layer: index })
    }

    /// `sum_i weights_i * output_i` for small integers `weights`, as a functional of the network's outputs.
    pub fn of_outputs(network: &GridNetwork, weights: &[i64]) -> Option<Self> {
        let scaled =
            weights.iter().map(|&w| i64::try_from(scale_up(i128::from(w), network.coefficient_bits)?).ok());
        Some(Self { coefficients: scaled.collect::<Option<_>>()?, constant: 0, layer: network.layers.len() })
    }
}

fn signed(row: &[i64], negative: bool) -> impl Iterator<Item = Option<i64>> {
    row.iter().map(move |&w| if negative { w.checked_neg() } else { Some(w) })
}

/// Multipliers of split constraints: per layer, `(neuron, multiplier)` with the multiplier on the coefficient grid, for
/// the constraint `pre >= 0` (`positive`) or `pre <= 0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multipliers {
    /// One list per layer.
    pub layers: Vec<Vec<SplitMultiplier>>,
}

/// A non-negative multiplier of one split constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitMultiplier {
    /// Neuron, from 0.
    pub neuron: usize,
    /// Whether the constraint is `pre >= 0`.
    pub positive: bool,
    /// The multiplier, on the coefficient grid.
    pub value: i64,
}

/// Rules `back.relax`, `back.affine`, `back.dual` down to the input, then `conc.box` (met with `conc.ball`): an upper
/// bound of the functional over the input set, on the value grid, rounded up.
///
/// `relaxed` holds at least the layers below `functional.layer`.
///
/// # Errors
/// [`GridError`] with the layer at which a number left the grid, a shape differs or a multiplier is negative.
pub fn upper_bound(
    network: &GridNetwork,
    relaxed: &[RelaxedLayer],
    functional: Functional,
    multipliers: Option<&Multipliers>,
    input: &InputSet,
) -> Result<i64, GridError> {
    let Functional { mut coefficients, mut constant, layer: start } = functional;
    let below = network.layers.iter().zip(relaxed).enumerate().take(start);
    let mut steps: Vec<_> = below.collect();
    if steps.len() != start {
        return Err(GridError::ShapeMismatch { layer: start });
    }
    let mut scratch = Vec::new();
    while let Some((index, (layer, relaxation))) = steps.pop() {
        let overflow = GridError::Overflow { layer: index };
        if coefficients.len() != layer.outputs || relaxation.neurons.len() != layer.outputs {
            return Err(GridError::ShapeMismatch { layer: index });
        }
        if layer.activation != GridActivation::Identity {
            constant = through_activation(&mut coefficients, constant, relaxation).ok_or(overflow)?;
        }
        if let Some(splits) = multipliers.and_then(|m| m.layers.get(index)) {
            add_multipliers(&mut coefficients, splits, index)?;
        }
        constant =
            through_affine(&coefficients, &mut scratch, constant, layer, relaxation).ok_or(overflow)?;
        core::mem::swap(&mut coefficients, &mut scratch);
    }
    let bound = concretize(&coefficients, constant, input).ok_or(GridError::Overflow { layer: 0 })?;
    ceil_entry(bound, network.coefficient_bits).ok_or(GridError::Overflow { layer: 0 })
}

/// Rule `back.relax`: a positive coefficient takes the line above, a negative one the line below.
fn through_activation(coefficients: &mut [i64], constant: i128, layer: &RelaxedLayer) -> Option<i128> {
    let mut sum = constant.checked_add(layer.pre_magnitude)?;
    for (coefficient, neuron) in coefficients.iter_mut().zip(&layer.neurons) {
        let line = if *coefficient >= 0 { neuron.upper } else { neuron.lower };
        sum = sum.checked_add(mul(*coefficient, line.intercept))?;
        *coefficient = i64::try_from(mul(*coefficient, line.slope).checked_shr(SLOPE_BITS)?).ok()?;
    }
    Some(sum)
}

/// Rule `back.dual`: under `pre >= 0` the functional may be raised by `multiplier * pre`, under `pre <= 0` by its
/// negative, for any multiplier that is not negative.
fn add_multipliers(
    coefficients: &mut [i64],
    splits: &[SplitMultiplier],
    layer: usize,
) -> Result<(), GridError> {
    for split in splits {
        let neuron = split.neuron;
        if split.value < 0 {
            return Err(GridError::NegativeMultiplier { layer, neuron });
        }
        let coefficient = coefficients.get_mut(neuron).ok_or(GridError::ShapeMismatch { layer })?;
        let change = if split.positive { Some(split.value) } else { split.value.checked_neg() };
        let changed = change.and_then(|c| coefficient.checked_add(c));
        *coefficient = changed.ok_or(GridError::Overflow { layer })?;
    }
    Ok(())
}

/// Rule `back.affine`: `c . (W x + b) = (c W) . x + c . b`.
fn through_affine(
    coefficients: &[i64],
    next: &mut Vec<i64>,
    constant: i128,
    layer: &GridLayer,
    relaxed: &RelaxedLayer,
) -> Option<i128> {
    let mut sum = constant.checked_add(relaxed.input_magnitude)?;
    let mut reach = 0i128;
    for (&coefficient, (&lower, &upper)) in
        coefficients.iter().zip(layer.bias_lower.iter().zip(&layer.bias_upper))
    {
        let bias = if coefficient >= 0 { upper } else { lower };
        sum = sum.checked_add(mul(coefficient, bias))?;
        reach = reach.checked_add(i128::from(coefficient.saturating_abs()))?;
    }
    if layer.weight_error != 0 {
        // sum_i |c_i| * 2^-weight_bits * sum_j |x_j|, in big integers because the product may pass 2^127.
        let steps = BigInt::from(reach) * BigInt::from(relaxed.input_magnitude);
        let cut: BigInt = (steps >> layer.weight_bits) + 1;
        sum = sum.checked_add(cut.to_i128()?)?;
    }
    next.clear();
    let used = coefficients.iter().filter(|&&c| c != 0).count();
    if used.checked_mul(2)? < coefficients.len() {
        sparse_product(coefficients, next, layer)?;
    } else {
        for column in layer.transposed.chunks_exact(layer.outputs.max(1)) {
            next.push(i64::try_from(dot(coefficients, column)?.checked_shr(layer.weight_bits)?).ok()?);
        }
    }
    Some(sum)
}

/// `c W` where most of c is 0: rows of the used neurons only.
fn sparse_product(coefficients: &[i64], next: &mut Vec<i64>, layer: &GridLayer) -> Option<()> {
    let mut sums = vec![0i128; layer.inputs];
    for (&coefficient, row) in coefficients.iter().zip(layer.weight.chunks_exact(layer.inputs.max(1))) {
        if coefficient == 0 {
            continue;
        }
        for (sum, &weight) in sums.iter_mut().zip(row) {
            *sum = sum.checked_add(mul(coefficient, weight))?;
        }
    }
    for sum in sums {
        next.push(i64::try_from(sum.checked_shr(layer.weight_bits)?).ok()?);
    }
    Some(())
}

/// Rules `conc.box` and `conc.ball`: the largest value of `c . x + constant` over the input set, from above.
pub(crate) fn concretize(coefficients: &[i64], constant: i128, input: &InputSet) -> Option<i128> {
    if coefficients.len() != input.region.lower.len() {
        return None;
    }
    let mut over_box = constant;
    for (&coefficient, (lower, upper)) in coefficients.iter().zip(input.region.intervals()) {
        over_box = over_box.checked_add(mul(coefficient, if coefficient >= 0 { upper } else { lower }))?;
    }
    let Some(ball) = &input.ball else { return Some(over_box) };
    let mut over_ball = constant;
    let mut squares = BigUint::zero();
    let ends = input.region.intervals().zip(input.center.intervals());
    for ((&coefficient, axis), ((lower, upper), center)) in coefficients.iter().zip(&ball.semi_axes).zip(ends)
    {
        let (low, high) = match axis {
            Some(axis) => {
                let term = BigUint::from(mul(coefficient, *axis).unsigned_abs());
                squares += &term * &term;
                center
            }
            None => (lower, upper),
        };
        over_ball = over_ball.checked_add(mul(coefficient, if coefficient >= 0 { high } else { low }))?;
    }
    // One more than the floor of the root is at least the root.
    let root = i128::try_from(squares.sqrt() + 1u8).ok()?;
    Some(over_box.min(over_ball.checked_add(root)?))
}
