//! Backward linear bounds: rules `back.relax`, `back.affine`, `back.dual`, `conc.box`, `conc.ball`, `conc.shared`.
//! Trusted. `spec/rules/local.md`; Zhang et al. 2018, arXiv:1811.00866; Wang et al. 2021, arXiv:2103.06624 (multipliers).
//!
//! A functional of one layer's outputs is carried back to the input. Every coefficient is floored to its grid; the part
//! cut off is at most one grid step and is paid for by the proven magnitude of what it multiplies.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use num_bigint::{BigInt, BigUint};
use num_traits::{ToPrimitive, Zero};

use crate::fault::Fault;
use crate::grid::{GridActivation, GridLayer, GridNetwork, SLOPE_BITS, SLOPE_ONE};
use crate::input::{GridBall, InputSet};
use crate::interval::Interval;
use crate::product::{Work, column_floors, dot, vectorized};
use crate::relax::{Line, Relaxation};
use crate::table::Weights;
use crate::wide::{AtLayer, Wide, absolute_sum, every, fits, magnitudes, mul, total, zip_exact};

/// One layer's relaxations and the magnitudes its rounding is paid with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaxedLayer {
    upper: Lines,
    lower: Lines,
    /// All bits of the slopes' magnitudes.
    steepest: u64,
    /// `sum_j max |pre_j|` over the neurons whose lines may cut a coefficient off, on the value grid.
    pub pre_magnitude: i128,
    /// `sum_j max |x_j|` over the layer's inputs, on the value grid.
    pub input_magnitude: i128,
}

/// The lines on one side, one per neuron.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    slopes: Vec<i64>,
    intercepts: Vec<i64>,
}

impl RelaxedLayer {
    /// A layer of these neurons.
    pub fn new(neurons: &[Relaxation], pre_magnitude: i128, input_magnitude: i128) -> Self {
        let side = |line: fn(&Relaxation) -> Line| Lines {
            slopes: neurons.iter().map(|neuron| line(neuron).slope).collect(),
            intercepts: neurons.iter().map(|neuron| line(neuron).intercept).collect(),
        };
        let (upper, lower) = (side(|neuron| neuron.upper), side(|neuron| neuron.lower));
        let steepest = magnitudes(&upper.slopes) | magnitudes(&lower.slopes);
        Self { upper, lower, steepest, pre_magnitude, input_magnitude }
    }

    /// The neurons.
    pub fn neurons(&self) -> impl Iterator<Item = Relaxation> + '_ {
        self.upper.iter().zip(self.lower.iter()).map(|(upper, lower)| Relaxation { upper, lower })
    }
}

impl Lines {
    fn iter(&self) -> impl Iterator<Item = Line> + '_ {
        self.slopes.iter().zip(&self.intercepts).map(|(&slope, &intercept)| Line { slope, intercept })
    }
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
    /// `weight_i . x + bias_i` of one neuron, or its `negative`, as a functional of its layer's inputs, from above.
    ///
    /// `input_magnitude` is `sum_j max |x_j|`; it pays for weights and coefficients cut off at their grids.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn of_neuron(
        network: &GridNetwork,
        index: usize,
        neuron: usize,
        negative: bool,
        input_magnitude: i128,
    ) -> Result<Self, Fault> {
        let layer = network.layers.get(index).shaped(index)?;
        let row = layer.weight.row(neuron).shaped(index)?;
        let &(bias_lower, bias_upper) = layer.bias.get(neuron).shaped(index)?;
        let bias = if negative { -Wide::from(bias_lower) } else { bias_upper.into() };
        // How much finer the weights' grid is than the coefficients', or how much coarser.
        let (finer, coarser) = match layer.weight_bits.checked_sub(network.coefficient_bits) {
            Some(finer) => (finer, 0),
            None => (0, network.coefficient_bits.checked_sub(layer.weight_bits).within(index)?),
        };
        // Each floored weight is at most one step of its grid too small, each floored coefficient one of its own.
        let steps = Wide::from(layer.weight_error).scaled(coarser) + u64::from(finer > 0);
        let constant = bias.scaled(network.coefficient_bits) + steps * input_magnitude;
        let factor = Wide::from(1i64).scaled(coarser).entry().within(index)?;
        let coefficient = |&weight: &i64| {
            let weight = if negative { weight.checked_neg()? } else { weight };
            weight.checked_shr(finer)?.checked_mul(factor)
        };
        let coefficients = every(row.iter().map(coefficient)).within(index)?;
        Ok(Self { coefficients, constant: constant.get().within(index)?, layer: index })
    }

    /// `sum_i weights_i * output_i` for small integers `weights`, as a functional of the network's outputs.
    ///
    /// # Errors
    /// [`Fault::Overflow`].
    pub fn of_outputs(network: &GridNetwork, weights: &[i64]) -> Result<Self, Fault> {
        let layer = network.layers.len();
        let scaled = weights.iter().map(|&w| Wide::from(w).scaled(network.coefficient_bits).entry());
        Ok(Self { coefficients: scaled.collect::<Option<_>>().within(layer)?, constant: 0, layer })
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

/// A functional to be bounded, and what it meets on its way back to the input.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The functional.
    pub functional: Functional,
    /// Relaxations of the layers below it, or of more.
    pub relaxed: Cow<'a, [RelaxedLayer]>,
    /// Multipliers of split constraints.
    pub multipliers: Option<&'a Multipliers>,
}

/// How many targets are carried back together: enough to share each layer's weights, few enough to stay in the cache.
const TOGETHER: usize = 128;

/// Rules `back.relax`, `back.affine`, `back.dual` down to the input, then `conc.box` (met with `conc.ball` or `conc.shared`): upper
/// bounds of functionals of layer `depth` over the input set, on the value grid, rounded up. A fold over the layers below, the last
/// one first. One target does not change what is said of another, and what was refused stays refused.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if the network has fewer layers. Each target's own: [`Fault`] with the layer at which a number
/// left the grid, a shape differs or a multiplier is negative.
pub fn upper_bounds<'a>(
    network: &GridNetwork,
    depth: usize,
    targets: impl IntoIterator<Item = Result<Target<'a>, Fault>>,
    input: &InputSet,
) -> Result<Vec<Result<i64, Fault>>, Fault> {
    let layers = network.layers.get(..depth).shaped(depth)?;
    let bound = |target: Target<'_>| {
        let bound = concretize(&target.functional.coefficients, target.functional.constant, input)?;
        Wide::from(bound).ceil(network.coefficient_bits).entry().within(0)
    };
    let mut bounds = Vec::new();
    for mut some in groups(depth, targets) {
        for (index, layer) in layers.iter().enumerate().rev() {
            carry(layer, index, &mut some);
        }
        bounds.extend(some.into_iter().map(|target| bound(target?)));
    }
    Ok(bounds)
}

/// Targets by groups that are carried back together; refused are those that are no functionals of the inputs of layer `depth`, or
/// lack lines below it.
pub(crate) fn groups<'a>(
    depth: usize,
    targets: impl IntoIterator<Item = Result<Target<'a>, Fault>>,
) -> impl Iterator<Item = Vec<Result<Target<'a>, Fault>>> {
    let begun = move |t: &mut Target<'a>| {
        (t.functional.layer == depth && t.relaxed.len() >= depth).then_some(()).shaped(depth)
    };
    let mut targets = targets.into_iter();
    iter::from_fn(move || {
        let mut some: Vec<_> = targets.by_ref().take(TOGETHER).collect();
        each(&mut some, begun);
        (!some.is_empty()).then_some(some)
    })
}

/// Carries functionals of a layer's outputs back to its inputs, or refuses them one by one.
pub(crate) fn carry(layer: &GridLayer, index: usize, targets: &mut [Result<Target<'_>, Fault>]) {
    let reach = vectorized(ToProducts { targets, layer, index });
    let lists: Vec<&[i64]> = targets.iter().flatten().map(|t| &*t.functional.coefficients).collect();
    // As many as there are lists, or none.
    let mut floors = column_floors(&lists, reach, layer.weights()).into_iter().flatten();
    each(targets, |target| {
        let coefficients = &mut target.functional.coefficients;
        *coefficients = match floors.next() {
            Some(floors) => floors,
            None => row_floors(coefficients, layer.weights(), index)?,
        };
        Ok(())
    });
}

/// Takes a step with every target that has not been refused.
pub(crate) fn each<'a>(
    targets: &mut [Result<Target<'a>, Fault>],
    mut step: impl FnMut(&mut Target<'a>) -> Result<(), Fault>,
) {
    for target in targets {
        if let Ok(known) = target
            && let Err(fault) = step(known)
        {
            *target = Err(fault);
        }
    }
}

/// Rules `back.relax`, `back.dual` and what `back.affine` adds to constants: from functionals of a layer's outputs to those of the
/// values before its activation. The largest sum of coefficients' magnitudes.
struct ToProducts<'a, 'b> {
    targets: &'a mut [Result<Target<'b>, Fault>],
    layer: &'a GridLayer,
    index: usize,
}

impl Work for ToProducts<'_, '_> {
    type Output = u128;

    #[inline(always)]
    fn call(self) -> u128 {
        let mut most = 0;
        for target in self.targets {
            let Ok(known) = target else { continue };
            match known.prepare(self.layer, self.index) {
                Ok(reach) => most = most.max(reach),
                Err(fault) => *target = Err(fault),
            }
        }
        most
    }
}

impl Target<'_> {
    /// [`ToProducts`] of one.
    #[inline(always)]
    fn prepare(&mut self, layer: &GridLayer, index: usize) -> Result<u128, Fault> {
        let relaxed = self.relaxed.get(index).shaped(index)?;
        let Functional { coefficients, constant, .. } = &mut self.functional;
        if layer.activation != GridActivation::Identity {
            *constant = through_activation(coefficients, *constant, relaxed, index)?;
        }
        // A layer without a list has no multiplier.
        let splits = self.multipliers.and_then(|m| m.layers.get(index)).map_or(&[][..], Vec::as_slice);
        add_multipliers(coefficients, splits, index)?;
        let reach = absolute_sum(coefficients);
        *constant = through_biases(coefficients, reach, *constant, layer, relaxed.input_magnitude, index)?;
        Ok(reach)
    }
}

/// Rule `back.relax`: a positive coefficient takes the line above, a negative one the line below. The constant.
#[inline(always)]
fn through_activation(
    row: &mut [i64],
    constant: i128,
    relaxed: &RelaxedLayer,
    index: usize,
) -> Result<i128, Fault> {
    let RelaxedLayer { upper, lower, .. } = relaxed;
    let intercepts = zip_exact(&lower.intercepts, &upper.intercepts, index)?;
    let intercepts = zip_exact(&*row, intercepts, index)?;
    let intercepts: Vec<i64> = intercepts.map(|(&c, (&lower, &upper))| most(c, (lower, upper))).collect();
    let paid = dot(row, &intercepts, index)?;
    let slopes = zip_exact(&lower.slopes, &upper.slopes, index)?;
    let narrow = relaxed.steepest >> SLOPE_BITS <= 1 && magnitudes(row) >> 60 == 0;
    let slopes = zip_exact(row, slopes, index)?;
    if narrow {
        for (c, (&lower, &upper)) in slopes {
            let slope = most(*c, (lower, upper));
            // Both halves times a slope below 2 stay in 62 bits.
            let low = (*c & (SLOPE_ONE - 1)).wrapping_mul(slope) >> SLOPE_BITS;
            *c = (*c >> SLOPE_BITS).wrapping_mul(slope).wrapping_add(low);
        }
    } else {
        for (c, (&lower, &upper)) in slopes {
            let slope = most(*c, (lower, upper));
            *c = Wide::from(mul(*c, slope)).floor(SLOPE_BITS).entry().within(index)?;
        }
    }
    (Wide::from(constant) + relaxed.pre_magnitude + paid).get().within(index)
}

/// Rule `back.dual`: under `pre >= 0` the functional may be raised by `multiplier * pre`, under `pre <= 0` by its
/// negative, for any multiplier that is not negative.
fn add_multipliers(coefficients: &mut [i64], splits: &[SplitMultiplier], layer: usize) -> Result<(), Fault> {
    for &SplitMultiplier { neuron, positive, value } in splits {
        if value < 0 {
            return Err(Fault::NegativeMultiplier { layer, neuron });
        }
        let coefficient = coefficients.get_mut(neuron).shaped(layer)?;
        let raised = Wide::from(*coefficient) + if positive { value.into() } else { -Wide::from(value) };
        *coefficient = raised.entry().within(layer)?;
    }
    Ok(())
}

/// Rule `back.affine`, `c . (W x + b) = (c W) . x + c . b`: the constant, where `reach` is `sum_i |c_i|`.
#[inline(always)]
fn through_biases(
    row: &[i64],
    reach: u128,
    constant: i128,
    layer: &GridLayer,
    input_magnitude: i128,
    index: usize,
) -> Result<i128, Fault> {
    let biases = zip_exact(row, &layer.bias, index)?.map(|(&c, &ends)| most(c, ends));
    let biases = dot(row, &biases.collect::<Vec<_>>(), index)?;
    let cut = if layer.weight_error == 0 {
        0
    } else {
        // sum_i |c_i| * 2^-weight_bits * sum_j |x_j|, in big integers because the product may pass 2^127.
        let steps = BigInt::from(reach) * input_magnitude * layer.weight_error;
        ((steps >> layer.weight_bits) + 1u8).to_i128().within(index)?
    };
    (Wide::from(constant) + input_magnitude + biases + cut).get().within(index)
}

/// Rule `back.affine`: the coefficients `c W`, floored. Each is in range iff the magnitudes of its products add up to less than
/// 2^127.
pub(crate) fn row_floors(row: &[i64], weights: Weights<'_>, index: usize) -> Result<Vec<i64>, Fault> {
    let Weights { table, from, largest, bits } = weights;
    let mut sums = vec![0i128; table.columns().saturating_sub(from)];
    for (&c, weights) in zip_exact(row, table.rows(), index)?.filter(|(c, _)| **c != 0) {
        // A row is as long as there are sums and those before.
        for (sum, &weight) in sums.iter_mut().zip(weights.iter().skip(from)) {
            *sum = sum.wrapping_add(mul(c, weight));
        }
    }
    if !fits(absolute_sum(row), largest) {
        for column in from..table.columns() {
            let weights = every(table.rows().map(|row| row.get(column).copied())).shaped(index)?;
            dot(row, &weights, index)?.get().within(index)?;
        }
    }
    every(sums.into_iter().map(|sum| Wide::from(sum).floor(bits).entry())).within(index)
}

/// The end of an interval at which its product with a coefficient is largest, chosen without a branch or an address.
#[inline(always)]
pub(crate) fn most(c: i64, (lower, upper): Interval) -> i64 {
    upper ^ ((upper ^ lower) & (c >> 63))
}

/// Rule `conc.shared`: as `conc.box`, but the axes of each offset move together, `|sum_j c_j axis_j|`, and its coordinates
/// apart by no more than their radii less their axes.
fn over_shared(
    coefficients: &[i64],
    constant: i128,
    input: &InputSet,
    offsets: &[Vec<(usize, i64)>],
) -> Result<i128, Fault> {
    let mut apart: Vec<Interval> = input.region.intervals().collect();
    let mut together = Vec::with_capacity(offsets.len());
    for offset in offsets {
        let (mut own_coefficients, mut axes) = (Vec::new(), Vec::new());
        for &(coordinate, axis) in offset {
            let (center, radius) = input.center.at(coordinate).zip(input.radii.get(coordinate)).shaped(0)?;
            let own = Wide::from(*radius) - axis;
            let ends = (Wide::from(center.0) - own).entry().zip((own + center.1).entry());
            *apart.get_mut(coordinate).shaped(0)? = ends.within(0)?;
            own_coefficients.push(*coefficients.get(coordinate).shaped(0)?);
            axes.push(axis);
        }
        together.push(dot(&own_coefficients, &axes, 0)?.get().and_then(i128::checked_abs).within(0)?);
    }
    let apart = zip_exact(coefficients, apart, 0)?.map(|(&c, ends)| most(c, ends));
    let apart = dot(coefficients, &apart.collect::<Vec<_>>(), 0)?;
    (Wide::from(constant) + apart + total(together)).get().within(0)
}

/// Rules `conc.box`, `conc.ball` and `conc.shared`: the largest value of `c . x + constant` over the input set, from above.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if the set has another width, [`Fault::Overflow`].
pub(crate) fn concretize(coefficients: &[i64], constant: i128, input: &InputSet) -> Result<i128, Fault> {
    let ends = zip_exact(coefficients, input.region.intervals(), 0)?.map(|(&c, ends)| most(c, ends));
    let over_box = dot(coefficients, &ends.collect::<Vec<_>>(), 0)? + constant;
    let over_box = over_box.get().within(0)?;
    let semi_axes = match &input.ball {
        None => return Ok(over_box),
        Some(GridBall::Shared { offsets }) => {
            return Ok(over_box.min(over_shared(coefficients, constant, input, offsets)?));
        }
        Some(GridBall::Euclidean { semi_axes }) => semi_axes,
    };
    let axes = zip_exact(coefficients, semi_axes, 0)?;
    let places = zip_exact(axes, zip_exact(input.region.intervals(), input.center.intervals(), 0)?, 0)?;
    let mut squares = BigUint::zero();
    let mut ends = Vec::with_capacity(coefficients.len());
    for ((&coefficient, axis), (region, center)) in places {
        if let Some(axis) = axis {
            let term = BigUint::from(mul(coefficient, *axis).unsigned_abs());
            squares += &term * &term;
        }
        ends.push(most(coefficient, if axis.is_some() { center } else { region }));
    }
    // One more than the floor of the root is at least the root.
    let root = i128::try_from(squares.sqrt() + 1u8).ok().within(0)?;
    let over_ball = dot(coefficients, &ends, 0)? + constant + root;
    Ok(over_box.min(over_ball.get().within(0)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crown::{Witness, crown_layers};
    use crate::enclose::TanhTable;
    use crate::grid::GridScale;
    use crate::ibp::affine;
    use crate::interval::GridBox;
    use crate::model::{Activation, Layer, Matrix, Network};
    use crate::number::{Dyadic, Rational};
    use crate::table::Table;

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
            region: GridBox::of(all(-ONE), all(ONE)),
            center: GridBox::of(all(0), all(0)),
            radii: all(ONE),
            ball: ball.then(|| GridBall::Euclidean { semi_axes: vec![Some(ONE); inputs] }),
        }
    }

    /// One alone.
    fn upper_bound(
        network: &GridNetwork,
        relaxed: &[RelaxedLayer],
        functional: Functional,
        multipliers: Option<&Multipliers>,
        input: &InputSet,
    ) -> Result<i64, Fault> {
        let depth = functional.layer;
        let target = Target { functional, relaxed: Cow::Borrowed(relaxed), multipliers };
        upper_bounds(network, depth, [Ok(target)], input)?.remove(0)
    }

    fn bound(network: &GridNetwork, input: &InputSet, weights: &[i64]) -> i64 {
        let layers = crown_layers(network, TanhTable::shared(), input, Witness::default()).unwrap().unwrap();
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
        cut.ball = Some(GridBall::Euclidean { semi_axes: vec![Some(ONE), None] });
        assert!(near(bound(&network, &cut, &[1]), 7));
    }

    /// `3x - 2y` over a radius 1 of each: at most 5 over the box. With one offset of 3/4 for both and 1/4 apart, `|3 - 2| 3/4`
    /// and `(3 + 2) / 4`: 2. `3x + 2y` gains nothing.
    #[test]
    fn shared_offsets_cancel_by_hand() {
        let shared = |offsets| InputSet { ball: Some(GridBall::Shared { offsets }), ..unit(2, false) };
        let near = |found: i64, value: i64| (value * ONE..=value * ONE + 16).contains(&found);
        let axis = ONE / 4 * 3;
        let both = shared(vec![vec![(0, axis), (1, axis)]]);
        for (weights, value) in [([3, -2], 2), ([-3, 2], 2), ([3, 2], 5)] {
            let network = on_grid(vec![layer(1, &weights, Activation::Identity)]);
            assert!(near(bound(&network, &both, &[1]), value), "{weights:?}");
        }
        let network = on_grid(vec![layer(1, &[3, -2], Activation::Identity)]);
        let apart = shared(vec![vec![(0, axis)], vec![(1, axis)]]);
        assert!(near(bound(&network, &apart, &[1]), 5));
        // A smaller box, as a split makes it, still counts.
        let mut cut = both;
        cut.region = GridBox::of(vec![0, 0], vec![0, 0]);
        assert!(near(bound(&network, &cut, &[1]), 0));
    }

    /// An offset of a coordinate that is not there, and too few coefficients.
    #[test]
    fn offsets_of_another_width_are_refused() {
        let input = |input| InputSet {
            ball: Some(GridBall::Shared { offsets: vec![vec![(input, ONE)]] }),
            ..unit(2, false)
        };
        assert!(concretize(&[1, 1], 0, &input(1)).is_ok());
        assert_eq!(concretize(&[1, 1], 0, &input(2)), Err(Fault::ShapeMismatch { layer: 0 }));
        assert_eq!(concretize(&[1], 0, &input(0)), Err(Fault::ShapeMismatch { layer: 0 }));
        let wide = InputSet {
            region: GridBox::of(vec![0, 0], vec![0, 0]),
            radii: vec![i64::MAX, i64::MAX],
            ball: Some(GridBall::Shared { offsets: vec![vec![(0, i64::MIN)]] }),
            ..unit(2, false)
        };
        assert_eq!(concretize(&[1, 1], 0, &wide), Err(Fault::Overflow { layer: 0 }));
    }

    /// Twelve functionals of three layers, of which one is refused before, one has another layer, one leaves the grid on the
    /// way and one has too few relaxations: the others go together by vectors where there are some, and say what each says alone.
    #[test]
    fn what_goes_together_is_bounded_as_alone() {
        let mut seed = 7i64;
        let mut weights = |count: usize| {
            let next = |_| {
                seed = (seed * 48_271) % 0x7fff_ffff;
                seed % 2_001 - 1_000
            };
            (0..count).map(next).collect::<Vec<_>>()
        };
        let mut dense = |rows, columns, activation| {
            let mut layer = layer(rows, &weights(rows * columns), activation);
            for (value, odd) in layer.weight.values.iter_mut().zip(weights(rows * columns)) {
                *value = Dyadic::new((value.mantissa << 20) + odd, -30);
            }
            layer
        };
        let layers = vec![
            dense(9, 11, Activation::Relu),
            dense(7, 9, Activation::Tanh),
            dense(5, 7, Activation::Identity),
        ];
        let network = on_grid(layers);
        let input = unit(11, false);
        let layers =
            crown_layers(&network, TanhTable::shared(), &input, Witness::default()).unwrap().unwrap();
        let target = |index: i64| {
            let weights: Vec<i64> = (0..5).map(|output| (index * output) % 7 - 3).collect();
            let mut functional = Functional::of_outputs(&network, &weights)?;
            let mut relaxed = Cow::Borrowed(&layers.relaxed[..]);
            match index {
                2 => return Err(Fault::EmptyNetwork),
                3 => functional.layer = 2,
                4 => functional.coefficients[1] = i64::MAX,
                5 => relaxed = Cow::Borrowed(&layers.relaxed[..2]),
                _ => {}
            }
            Ok(Target { functional, relaxed, multipliers: None })
        };
        for count in [12, 300] {
            let together = upper_bounds(&network, 3, (0..count).map(target), &input).unwrap();
            let alone = |index| upper_bounds(&network, 3, [target(index)], &input).unwrap().remove(0);
            assert_eq!(together, (0..count).map(alone).collect::<Vec<_>>());
            let shape = Err(Fault::ShapeMismatch { layer: 3 });
            let refused = [Err(Fault::EmptyNetwork), shape.clone(), Err(Fault::Overflow { layer: 0 }), shape];
            assert_eq!(together[2..6], refused);
            assert!(together.iter().skip(6).all(Result::is_ok));
        }
        // As the neurons of `crown_layers` went together too, once more one by one.
        let own = affine(&network.layers[1], 1, &layers.post[0]).unwrap();
        for (neuron, (lower, upper)) in own.intervals().enumerate() {
            let side = |negative| {
                let paid = layers.relaxed[1].input_magnitude;
                let row = Functional::of_neuron(&network, 1, neuron, negative, paid).unwrap();
                upper_bound(&network, &layers.relaxed, row, None, &input).unwrap()
            };
            let met = (lower.max(-side(true)), upper.min(side(false)));
            assert_eq!(layers.pre[1].at(neuron), Some(met));
        }
    }

    /// Centre in `[-3, 5]`, semi-axis 2: `x <= 5 + 2`, `-x <= 3 + 2`, and one step for the root.
    #[test]
    fn the_far_end_of_the_centre_counts() {
        let input = InputSet {
            region: GridBox::of(vec![-100], vec![100]),
            center: GridBox::of(vec![-3], vec![5]),
            radii: vec![2],
            ball: Some(GridBall::Euclidean { semi_axes: vec![Some(2)] }),
        };
        assert_eq!((concretize(&[1], 0, &input), concretize(&[-1], 0, &input)), (Ok(8), Ok(6)));
        // The box is the lesser where it is small.
        let small = InputSet { region: GridBox::of(vec![-4], vec![4]), ..input };
        assert_eq!(concretize(&[1], 0, &small), Ok(4));
    }

    #[test]
    fn input_sets_of_another_width_are_refused() {
        let network = on_grid(vec![layer(1, &[3, 4], Activation::Identity)]);
        let layers = crown_layers(&network, TanhTable::shared(), &unit(2, false), Witness::default())
            .unwrap()
            .unwrap();
        let at = |input: &InputSet| {
            let functional = Functional::of_outputs(&network, &[1]).unwrap();
            upper_bound(&network, &layers.relaxed, functional, None, input)
        };
        let refused = Err(Fault::ShapeMismatch { layer: 0 });
        assert!(at(&unit(2, true)).is_ok());
        assert_eq!(at(&unit(3, false)), refused);
        let mut short = unit(2, true);
        short.ball = Some(GridBall::Euclidean { semi_axes: vec![Some(ONE)] });
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
        let layers =
            crown_layers(&network, TanhTable::shared(), &input, Witness::default()).unwrap().unwrap();
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
        let half = Relaxation { upper: Line { slope: 1 << 23, intercept: 0 }, ..Relaxation::default() };
        let layer = RelaxedLayer::new(&[half], 7, 0);
        let mut coefficients = [1];
        assert_eq!(through_activation(&mut coefficients, 0, &layer, 0), Ok(7));
        assert_eq!(coefficients, [0]);
        let shape = Err(Fault::ShapeMismatch { layer: 3 });
        assert_eq!(through_activation(&mut [1, 1], 0, &layer, 3), shape);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Numbers of any length, so that all at once, one by one and out of range are all met.
        #[test]
        fn lines_say_what_single_products_say(
            bits in 1..63u32,
            slope_bits in 20..30u32,
            neurons in prop::collection::vec((any::<i64>(), any::<[i64; 4]>()), 1..70),
        ) {
            let line = |slope: i64, intercept: i64| Line { slope: slope >> (63 - slope_bits), intercept: intercept >> 3 };
            let relaxed = |[a, b, c, d]: [i64; 4]| Relaxation { upper: line(a, b), lower: line(c, d) };
            let lines: Vec<_> = neurons.iter().map(|&(_, ends)| relaxed(ends)).collect();
            let mut row: Vec<i64> = neurons.iter().map(|&(c, _)| c >> (63 - bits)).collect();
            let mut exact = Vec::new();
            let mut constant = 5 + 7;
            for (&c, lines) in row.iter().zip(&lines) {
                let line = if c >= 0 { lines.upper } else { lines.lower };
                exact.push(i64::try_from((i128::from(c) * i128::from(line.slope)) >> SLOPE_BITS).ok());
                constant += i128::from(c) * i128::from(line.intercept);
            }
            let found = through_activation(&mut row, 5, &RelaxedLayer::new(&lines, 7, 0), 3);
            match exact.into_iter().collect::<Option<Vec<_>>>() {
                Some(exact) => prop_assert_eq!((found, row), (Ok(constant), exact)),
                None => prop_assert_eq!(found, Err(Fault::Overflow { layer: 3 })),
            }
        }
    }

    /// A weight of `2^-60` under the coefficient 1: the weight grid's step `2^-52` times `|x| <= 3` steps of the value grid
    /// is less than one step of the constant, which is what the cut costs, beside 3 for the floored coefficient.
    #[test]
    fn floored_weights_are_paid_for() {
        let mut tiny = layer(1, &[0], Activation::Identity);
        tiny.weight.values[0] = Dyadic::new(1, -60);
        let network = on_grid(vec![tiny]);
        let paid =
            |c: i64| through_biases(&[c], c.unsigned_abs().into(), 0, &network.layers[0], 3, 0).unwrap();
        assert_eq!(paid(1), 4);
        // 2^52 * 3 steps more with a coefficient of 2^52.
        assert_eq!(paid(1 << 52), 7);
        // As a row of its own: the weight's 3 and the coefficient's 3.
        let row = Functional::of_neuron(&network, 0, 0, true, 3).unwrap();
        assert_eq!((row.coefficients, row.constant), (vec![0], 6));
    }

    /// `c W` row by row: `5 (3, 4)`, then `1 (1, 2)` and `2 (5, 6)` on top.
    #[test]
    fn products_by_hand() {
        let network = on_grid(vec![layer(3, &[1, 2, 3, 4, 5, 6], Activation::Relu)]);
        let carried = |c: &[i64]| row_floors(c, network.layers[0].weights(), 3);
        assert_eq!(carried(&[0, 5, 0]), Ok(vec![15, 20]));
        assert_eq!(carried(&[1, 5, 2]), Ok(vec![26, 34]));
        assert_eq!(carried(&[1, 5]), Err(Fault::ShapeMismatch { layer: 3 }));
        let after = |from| row_floors(&[1, 5, 2], Weights { from, ..network.layers[0].weights() }, 3);
        assert_eq!((after(1), after(2)), (Ok(vec![34]), Ok(vec![])));
    }

    /// `2 (2^63)^2 = 2^127` is one beyond an i128, and four such products would wrap to a small number: refused, though the
    /// terms `a - a + a` of another order would not have passed it on the way.
    #[test]
    fn columns_are_tested_unless_they_fit() {
        let mut network = on_grid(vec![layer(4, &[1; 4], Activation::Relu)]);
        let edge = &mut network.layers[0];
        let table = |entry: i64| Table::new(4, 1, vec![entry; 4], 0).unwrap();
        (edge.weight, edge.largest) = (table(i64::MAX), 1 << 63);
        let overflow = Err(Fault::Overflow { layer: 0 });
        for far in [[i64::MAX; 4], [i64::MAX, -i64::MAX, i64::MAX, 0]] {
            assert_eq!(row_floors(&far, edge.weights(), 0), overflow);
        }
        (edge.weight, edge.weight_bits) = (table(-3), 0);
        for largest in [3, u64::MAX] {
            edge.largest = largest;
            assert_eq!(row_floors(&[5, 7, 0, 1], edge.weights(), 0), Ok(vec![-39]));
        }
        // Columns that are not asked for do not count.
        edge.weight = Table::new(4, 2, [i64::MAX, 0].repeat(4), 0).unwrap();
        let weights = Weights { from: 1, ..edge.weights() };
        assert_eq!(row_floors(&[i64::MAX; 4], weights, 0), Ok(vec![0]));
        assert_eq!(row_floors(&[i64::MAX; 4], edge.weights(), 0), overflow);
    }
}
