//! Backward linear bounds: rules `back.relax`, `back.affine`, `back.dual`, `conc.box`, `conc.ball`.
//! Trusted. `spec/rules/local.md`; Zhang et al. 2018, arXiv:1811.00866; Wang et al. 2021, arXiv:2103.06624 (multipliers).
//!
//! A functional of one layer's outputs is carried back to the input. Every coefficient is floored to its grid; the part
//! cut off is at most one grid step and is paid for by the proven magnitude of what it multiplies.

use alloc::vec;
use alloc::vec::Vec;

use num_bigint::{BigInt, BigUint};
use num_traits::{ToPrimitive, Zero};

use crate::fault::Fault;
use crate::grid::{
    GridActivation, GridLayer, GridNetwork, SLOPE_BITS, absolute_sum, ceil_entry, fits, magnitude, mul,
    scale_up,
};
use crate::ibp::GridBox;
use crate::input::InputSet;
use crate::relax::Relaxation;

/// One layer's relaxations and the magnitudes its rounding is paid with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaxedLayer {
    /// One per neuron.
    pub neurons: Vec<Relaxation>,
    /// `sum_j max |pre_j|` over the neurons whose lines may cut a coefficient off, on the value grid.
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
        let (finer, coarser) = (
            layer.weight_bits.saturating_sub(network.coefficient_bits),
            network.coefficient_bits.saturating_sub(layer.weight_bits),
        );
        // Each floored weight is at most one step of its grid too small, each floored coefficient one of its own.
        let step = scale_up(i128::from(layer.weight_error), coarser)?;
        let steps = if finer > 0 { step.checked_add(1)? } else { step };
        constant = constant.checked_add(input_magnitude.checked_mul(steps)?)?;
        let factor = i64::try_from(scale_up(1, coarser)?).ok()?;
        let mut coefficients = Vec::with_capacity(row.len());
        for &weight in row {
            let weight = if negative { weight.checked_neg()? } else { weight };
            coefficients.push(weight.checked_shr(finer)?.checked_mul(factor)?);
        }
        Some(Self { coefficients, constant, layer: index })
    }

    /// `sum_i weights_i * output_i` for small integers `weights`, as a functional of the network's outputs.
    pub fn of_outputs(network: &GridNetwork, weights: &[i64]) -> Option<Self> {
        let scaled =
            weights.iter().map(|&w| i64::try_from(scale_up(i128::from(w), network.coefficient_bits)?).ok());
        Some(Self { coefficients: scaled.collect::<Option<_>>()?, constant: 0, layer: network.layers.len() })
    }
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
/// [`Fault`] with the layer at which a number left the grid, a shape differs or a multiplier is negative.
pub fn upper_bound(
    network: &GridNetwork,
    relaxed: &[RelaxedLayer],
    functional: Functional,
    multipliers: Option<&Multipliers>,
    input: &InputSet,
) -> Result<i64, Fault> {
    let Functional { mut coefficients, mut constant, layer: start } = functional;
    let below = network.layers.iter().zip(relaxed).enumerate().take(start);
    let mut steps: Vec<_> = below.collect();
    if steps.len() != start {
        return Err(Fault::ShapeMismatch { layer: start });
    }
    let mut scratch = Vec::new();
    while let Some((index, (layer, relaxation))) = steps.pop() {
        let overflow = || Fault::Overflow { layer: index };
        if coefficients.len() != layer.outputs || relaxation.neurons.len() != layer.outputs {
            return Err(Fault::ShapeMismatch { layer: index });
        }
        if layer.activation != GridActivation::Identity {
            constant = through_activation(&mut coefficients, constant, relaxation).ok_or_else(overflow)?;
        }
        if let Some(splits) = multipliers.and_then(|m| m.layers.get(index)) {
            add_multipliers(&mut coefficients, splits, index)?;
        }
        constant =
            through_affine(&coefficients, &mut scratch, constant, layer, relaxation).ok_or_else(overflow)?;
        core::mem::swap(&mut coefficients, &mut scratch);
    }
    let bound = concretize(&coefficients, constant, input).ok_or(Fault::Overflow { layer: 0 })?;
    ceil_entry(bound, network.coefficient_bits).ok_or(Fault::Overflow { layer: 0 })
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
fn add_multipliers(coefficients: &mut [i64], splits: &[SplitMultiplier], layer: usize) -> Result<(), Fault> {
    for split in splits {
        let neuron = split.neuron;
        if split.value < 0 {
            return Err(Fault::NegativeMultiplier { layer, neuron });
        }
        let coefficient = coefficients.get_mut(neuron).ok_or(Fault::ShapeMismatch { layer })?;
        let change = if split.positive { Some(split.value) } else { split.value.checked_neg() };
        let changed = change.and_then(|c| coefficient.checked_add(c));
        *coefficient = changed.ok_or(Fault::Overflow { layer })?;
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
    let reach = absolute_sum(coefficients)?;
    for (&coefficient, (&lower, &upper)) in
        coefficients.iter().zip(layer.bias_lower.iter().zip(&layer.bias_upper))
    {
        let bias = if coefficient >= 0 { upper } else { lower };
        sum = sum.checked_add(mul(coefficient, bias))?;
    }
    if layer.weight_error != 0 {
        // sum_i |c_i| * 2^-weight_bits * sum_j |x_j|, in big integers because the product may pass 2^127.
        let steps = BigInt::from(reach) * BigInt::from(relaxed.input_magnitude) * layer.weight_error;
        let cut: BigInt = (steps >> layer.weight_bits) + 1;
        sum = sum.checked_add(cut.to_i128()?)?;
    }
    let safe = fits(reach, layer.largest);
    let mut sums = vec![0i128; layer.inputs];
    for (&coefficient, row) in coefficients.iter().zip(layer.weight.chunks_exact(layer.inputs.max(1))) {
        if coefficient != 0 {
            add_row(&mut sums, coefficient, row, safe)?;
        }
    }
    next.clear();
    for product in sums {
        next.push(i64::try_from(product.checked_shr(layer.weight_bits)?).ok()?);
    }
    Some(sum)
}

/// `sums += coefficient * row`; if [`fits`] has been asked before (`safe`), without a test per product: none can wrap then.
fn add_row(sums: &mut [i128], coefficient: i64, row: &[i64], safe: bool) -> Option<()> {
    for (sum, &weight) in sums.iter_mut().zip(row) {
        let product = mul(coefficient, weight);
        *sum = if safe { sum.wrapping_add(product) } else { sum.checked_add(product)? };
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
    if ball.semi_axes.len() != coefficients.len() || input.center.lower.len() != coefficients.len() {
        return None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crown::{NoWitness, crown_layers};
    use crate::enclose::TanhTable;
    use crate::grid::GridScale;
    use crate::input::GridBall;
    use crate::model::{Activation, Layer, Matrix, Network};
    use crate::number::{Dyadic, Rational};

    const ONE: i64 = 1 << 48;

    fn layer(rows: usize, weights: &[i64], activation: Activation) -> Layer {
        let values: Vec<Dyadic> = weights.iter().map(|&w| Dyadic::new(w, 0)).collect();
        let weight = Matrix { rows, columns: values.len() / rows, values };
        Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; rows], activation }
    }

    fn on_grid(layers: Vec<Layer>) -> GridNetwork {
        let network = Network { layers };
        let scale = GridScale::new(&network, &Rational::one()).unwrap();
        GridNetwork::new(&network, None, &scale).unwrap()
    }

    /// The unit box or ball around 0.
    fn unit(inputs: usize, ball: bool) -> InputSet {
        let all = |value: i64| vec![value; inputs];
        InputSet {
            region: GridBox { lower: all(-ONE), upper: all(ONE) },
            center: GridBox { lower: all(0), upper: all(0) },
            radii: all(ONE),
            ball: ball.then(|| GridBall { semi_axes: vec![Some(ONE); inputs] }),
        }
    }

    fn bound(network: &GridNetwork, input: &InputSet, weights: &[i64]) -> i64 {
        let layers = crown_layers(network, TanhTable::shared(), input, &NoWitness).unwrap().unwrap();
        let functional = Functional::of_outputs(network, weights).unwrap();
        upper_bound(network, &layers.relaxed, functional, None, input).unwrap()
    }

    /// `relu(x) + relu(-x)` over `[-1, 1]`: the chords `x/2 + 1/2` and `-x/2 + 1/2` add up to 1; intervals say 2. Each
    /// floored coefficient may cost a step of 2^-48, of which 16 are allowed.
    #[test]
    fn absolute_value_by_hand() {
        let network =
            on_grid(vec![layer(2, &[1, -1], Activation::Relu), layer(1, &[1, 1], Activation::Identity)]);
        let found = bound(&network, &unit(1, false), &[1]);
        assert!((ONE..=ONE + 16).contains(&found), "{found}");
        // Below, both lines are 0.
        let found = bound(&network, &unit(1, false), &[-1]);
        assert!((0..=16).contains(&found), "{found}");
    }

    /// `3x + 4y`: at most 7 over the unit box, 5 over the unit ball; with `y` cut out of the ball, 3 + 4.
    #[test]
    fn boxes_and_balls_by_hand() {
        let network = on_grid(vec![layer(1, &[3, 4], Activation::Identity)]);
        let near = |found: i64, value: i64| (value * ONE..=value * ONE + 16).contains(&found);
        assert!(near(bound(&network, &unit(2, false), &[1]), 7));
        assert!(near(bound(&network, &unit(2, true), &[1]), 5));
        let mut cut = unit(2, true);
        cut.ball = Some(GridBall { semi_axes: vec![Some(ONE), None] });
        assert!(near(bound(&network, &cut, &[1]), 7));
    }

    /// Centre in `[-3, 5]`, semi-axis 2: `x <= 5 + 2`, `-x <= 3 + 2`, and one step for the root.
    #[test]
    fn the_far_end_of_the_centre_counts() {
        let input = InputSet {
            region: GridBox { lower: vec![-100], upper: vec![100] },
            center: GridBox { lower: vec![-3], upper: vec![5] },
            radii: vec![2],
            ball: Some(GridBall { semi_axes: vec![Some(2)] }),
        };
        assert_eq!((concretize(&[1], 0, &input), concretize(&[-1], 0, &input)), (Some(8), Some(6)));
        // The box is the lesser where it is small.
        let small = InputSet { region: GridBox { lower: vec![-4], upper: vec![4] }, ..input };
        assert_eq!(concretize(&[1], 0, &small), Some(4));
    }

    #[test]
    fn input_sets_of_another_width_are_refused() {
        let network = on_grid(vec![layer(1, &[3, 4], Activation::Identity)]);
        let layers =
            crown_layers(&network, TanhTable::shared(), &unit(2, false), &NoWitness).unwrap().unwrap();
        let at = |input: &InputSet| {
            let functional = Functional::of_outputs(&network, &[1]).unwrap();
            upper_bound(&network, &layers.relaxed, functional, None, input)
        };
        let refused = Err(Fault::Overflow { layer: 0 });
        assert!(at(&unit(2, true)).is_ok());
        assert_eq!(at(&unit(3, false)), refused);
        let mut short = unit(2, true);
        short.ball = Some(GridBall { semi_axes: vec![Some(ONE)] });
        assert_eq!(at(&short), refused);
        let functional = Functional::of_outputs(&network, &[1, 1]).unwrap();
        let shape = Err(Fault::ShapeMismatch { layer: 0 });
        assert_eq!(upper_bound(&network, &layers.relaxed, functional, None, &unit(2, false)), shape);
        let functional = Functional::of_outputs(&network, &[1]).unwrap();
        let missing = Err(Fault::ShapeMismatch { layer: 1 });
        assert_eq!(upper_bound(&network, &[], functional, None, &unit(2, false)), missing);
    }

    /// Under `x >= 0` the functional `-x` over `[-1, 1]` is at most `-x + m x` for every `m >= 0`: 1 for m = 0, 0 for 1,
    /// 1 again for 2. Under `x <= 0`, m = 1 gives `-x - x`, at most 2.
    #[test]
    fn multipliers_by_hand() {
        let network = on_grid(vec![layer(1, &[1], Activation::Identity)]);
        let input = unit(1, false);
        let layers = crown_layers(&network, TanhTable::shared(), &input, &NoWitness).unwrap().unwrap();
        let with = |positive, value: i64| {
            let split = SplitMultiplier { neuron: 0, positive, value: value << network.coefficient_bits };
            let multipliers = Multipliers { layers: vec![vec![split]] };
            let functional = Functional::of_outputs(&network, &[-1]).unwrap();
            upper_bound(&network, &layers.relaxed, functional, Some(&multipliers), &input)
        };
        let near = |found: Result<i64, Fault>, value: i64| {
            found.is_ok_and(|f| (value * ONE..=value * ONE + 4).contains(&f))
        };
        assert!(near(with(true, 0), 1) && near(with(true, 1), 0) && near(with(true, 2), 1));
        assert!(near(with(false, 1), 2));
        assert_eq!(with(true, -1), Err(Fault::NegativeMultiplier { layer: 0, neuron: 0 }));
    }

    #[test]
    fn multipliers_of_no_neuron_are_refused() {
        let mut coefficients = [0];
        let at = |neuron| [SplitMultiplier { neuron, positive: true, value: 1 }];
        assert_eq!(add_multipliers(&mut coefficients, &at(0), 4), Ok(()));
        assert_eq!(coefficients, [1]);
        let missing = Err(Fault::ShapeMismatch { layer: 4 });
        assert_eq!(add_multipliers(&mut coefficients, &at(1), 4), missing);
        let overflow = Err(Fault::Overflow { layer: 4 });
        assert_eq!(add_multipliers(&mut [i64::MAX], &at(0), 4), overflow);
    }

    /// A coefficient that the grid floors from 1/2 step to 0 is paid for with the neuron's magnitude, 7 steps here.
    #[test]
    fn floored_coefficients_are_paid_for() {
        let half = Relaxation {
            upper: crate::relax::Line { slope: 1 << 23, intercept: 0 },
            ..Relaxation::default()
        };
        let layer = RelaxedLayer { neurons: vec![half], pre_magnitude: 7, input_magnitude: 0 };
        let mut coefficients = [1];
        assert_eq!(through_activation(&mut coefficients, 0, &layer), Some(7));
        assert_eq!(coefficients, [0]);
    }

    /// A weight of `2^-60` under the coefficient 1: the weight grid's step `2^-52` times `|x| <= 3` steps of the value grid
    /// is less than one step of the constant, which is what the cut costs, beside 3 for the floored coefficient.
    #[test]
    fn floored_weights_are_paid_for() {
        let mut tiny = layer(1, &[0], Activation::Identity);
        tiny.weight.values[0] = Dyadic::new(1, -60);
        let network = on_grid(vec![tiny]);
        let relaxed = RelaxedLayer { neurons: Vec::new(), pre_magnitude: 0, input_magnitude: 3 };
        let mut next = Vec::new();
        assert_eq!(through_affine(&[1], &mut next, 0, &network.layers[0], &relaxed), Some(4));
        // 2^52 * 3 steps more with a coefficient of 2^52.
        assert_eq!(through_affine(&[1 << 52], &mut next, 0, &network.layers[0], &relaxed), Some(7));
        // As a row of its own: the weight's 3 and the coefficient's 3.
        let row = Functional::of_neuron(&network, 0, 0, true, 3).unwrap();
        assert_eq!((row.coefficients, row.constant), (vec![0], 6));
    }

    /// `c W` row by row: `5 (3, 4)`, then `1 (1, 2)` and `2 (5, 6)` on top.
    #[test]
    fn products_by_hand() {
        let network = on_grid(vec![layer(3, &[1, 2, 3, 4, 5, 6], Activation::Relu)]);
        let relaxed = RelaxedLayer { neurons: Vec::new(), pre_magnitude: 0, input_magnitude: 0 };
        let mut next = vec![7];
        through_affine(&[0, 5, 0], &mut next, 0, &network.layers[0], &relaxed).unwrap();
        assert_eq!(next, vec![15, 20]);
        through_affine(&[1, 5, 2], &mut next, 0, &network.layers[0], &relaxed).unwrap();
        assert_eq!(next, vec![26, 34]);
    }

    /// `2 (2^63)^2 = 2^127` is one beyond an i128: the sum is refused unless its size was asked for before.
    #[test]
    fn products_are_tested_unless_they_fit() {
        let mut sums = [0, 1i128 << 126];
        assert_eq!(add_row(&mut sums, i64::MIN, &[3, i64::MIN], false), None);
        for safe in [false, true] {
            let mut sums = [1, 2];
            assert_eq!(add_row(&mut sums, -3, &[5, 7], safe), Some(()));
            assert_eq!(sums, [-14, -19]);
        }
        // Four such products add up to 2^128 - 2^66 + 4, which would wrap to a small number.
        let mut network = on_grid(vec![layer(4, &[1; 4], Activation::Relu)]);
        let edge = &mut network.layers[0];
        (edge.weight, edge.absolute, edge.largest) = (vec![i64::MAX; 4], vec![i64::MAX; 4], 1 << 63);
        let relaxed = RelaxedLayer { neurons: Vec::new(), pre_magnitude: 0, input_magnitude: 0 };
        assert_eq!(through_affine(&[i64::MAX; 4], &mut Vec::new(), 0, edge, &relaxed), None);
    }
}
