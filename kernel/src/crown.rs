//! Rule `crown.layers`: intermediate bounds by backward passes, met with interval bounds, then the outputs.
//! Trusted. `spec/rules/local.md`. With default slopes no witness is needed; a witness names other slopes, multipliers
//! and splits, none of which can make a bound wrong.

use alloc::vec::Vec;

use crate::back::{Functional, Multipliers, RelaxedLayer, total_magnitude, upper_bound};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{GridActivation, GridNetwork, SLOPE_BITS, magnitude};
use crate::ibp::{self, GridBox};
use crate::input::InputSet;
use crate::relax::{Relaxation, SlopeChoice, relax};

/// Slopes a witness asks for while one target is bounded: per layer below the target, per neuron.
pub type Slopes = Vec<Vec<SlopeChoice>>;

/// What a witness says about one target (a neuron before its activation, or an output functional) and side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowWitness {
    /// Slopes; an absent layer takes the shared relaxation.
    pub slopes: Slopes,
    /// Multipliers of split constraints.
    pub multipliers: Multipliers,
}

/// Witness of a whole bounding: rows by target layer, then neuron, then side (`false` lower, `true` upper).
/// Layers count from 0; the number of layers stands for the output functionals.
pub trait Witness {
    /// The row's witness, if the certificate holds one.
    fn row(&self, layer: usize, neuron: usize, upper: bool) -> Option<&RowWitness>;
    /// Shared slopes of a layer's default relaxation, per neuron.
    fn shared(&self, layer: usize, neuron: usize) -> SlopeChoice;
    /// Split decisions: `Some(true)` if the neuron's pre-activation is assumed not negative, `Some(false)` not positive.
    fn split(&self, layer: usize, neuron: usize) -> Option<bool>;
}

/// No witness: derived slopes everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWitness;

impl Witness for NoWitness {
    fn row(&self, _: usize, _: usize, _: bool) -> Option<&RowWitness> {
        None
    }
    fn shared(&self, _: usize, _: usize) -> SlopeChoice {
        SlopeChoice::default()
    }
    fn split(&self, _: usize, _: usize) -> Option<bool> {
        None
    }
}

/// Pre-activation boxes and relaxations of every layer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CrownLayers {
    /// Bounds before each activation.
    pub pre: Vec<GridBox>,
    /// Bounds after each activation; the last bounds the network's outputs.
    pub post: Vec<GridBox>,
    /// Relaxations over `pre`.
    pub relaxed: Vec<RelaxedLayer>,
}

/// Bounds every layer over the input set. `None` means that a split left no point at all: the leaf is empty.
///
/// # Errors
/// [`Fault`].
pub fn crown_layers(
    network: &GridNetwork,
    table: &TanhTable,
    input: &InputSet,
    witness: &dyn Witness,
) -> Result<Option<CrownLayers>, Fault> {
    let mut bounds = CrownLayers::default();
    let last = network.layers.len().saturating_sub(1);
    for (index, layer) in network.layers.iter().enumerate() {
        let region = bounds.post.last().unwrap_or(&input.region);
        let region_magnitude = total_magnitude(region).ok_or(Fault::Overflow { layer: index })?;
        let mut pre = ibp::affine(layer, index, region)?;
        // The last layer of a network without a final squash is bounded by the output functionals themselves.
        let needed = index < last || layer.activation != GridActivation::Identity;
        if needed && (index > 0 || input.ball.is_some()) {
            tighten(network, table, index, &mut pre, region_magnitude, &bounds, input, witness)?;
        }
        if !apply_splits(&mut pre, index, witness) {
            return Ok(None);
        }
        let post = ibp::activation(&layer.activation, table, network.value_bits, index, &pre)?;
        let relaxed =
            relax_layer(network, table, index, &pre, region_magnitude, |n| witness.shared(index, n))?;
        bounds.relaxed.push(relaxed);
        bounds.pre.push(pre);
        bounds.post.push(post);
    }
    Ok(Some(bounds))
}

/// Clamps the bounds of split neurons; `false` if one of them is left without a point.
fn apply_splits(pre: &mut GridBox, layer: usize, witness: &dyn Witness) -> bool {
    let ends = pre.lower.iter_mut().zip(pre.upper.iter_mut());
    for (neuron, (lower, upper)) in ends.enumerate() {
        match witness.split(layer, neuron) {
            Some(true) => *lower = (*lower).max(0),
            Some(false) => *upper = (*upper).min(0),
            None => {}
        }
        if lower > upper {
            return false;
        }
    }
    true
}

#[allow(clippy::too_many_arguments)] // the parts of one state's computation, each borrowed separately
fn tighten(
    network: &GridNetwork,
    table: &TanhTable,
    index: usize,
    pre: &mut GridBox,
    region_magnitude: i128,
    bounds: &CrownLayers,
    input: &InputSet,
    witness: &dyn Witness,
) -> Result<(), Fault> {
    let relu = network.layers.get(index).is_some_and(|l| l.activation == GridActivation::Relu);
    for neuron in 0..pre.lower.len() {
        let ends = pre.lower.get_mut(neuron).zip(pre.upper.get_mut(neuron));
        let Some((lower, upper)) = ends else { continue };
        // A relu whose sign is known is exact: its bounds do not enter any line.
        if relu && (*lower >= 0 || *upper <= 0) {
            continue;
        }
        for side in [false, true] {
            let functional = Functional::of_neuron(network, index, neuron, !side, region_magnitude);
            let functional = functional.ok_or(Fault::Overflow { layer: index })?;
            let bound =
                bound_row(network, table, functional, bounds, input, witness.row(index, neuron, side))?;
            if side {
                *upper = (*upper).min(bound);
            } else {
                *lower = (*lower).max(bound.checked_neg().ok_or(Fault::Overflow { layer: index })?);
            }
        }
        if lower > upper {
            // Only contradictory splits can do this; `apply_splits` sees it.
            return Ok(());
        }
    }
    Ok(())
}

/// An upper bound of a functional, with the row's own slopes where its witness names them.
///
/// # Errors
/// [`Fault`].
pub fn bound_row(
    network: &GridNetwork,
    table: &TanhTable,
    functional: Functional,
    bounds: &CrownLayers,
    input: &InputSet,
    row: Option<&RowWitness>,
) -> Result<i64, Fault> {
    let Some(row) = row else { return upper_bound(network, &bounds.relaxed, functional, None, input) };
    let mut relaxed = Vec::with_capacity(functional.layer);
    for (index, (shared, pre)) in bounds.relaxed.iter().zip(&bounds.pre).enumerate().take(functional.layer) {
        relaxed.push(match row.slopes.get(index) {
            Some(slopes) if !slopes.is_empty() => {
                if slopes.len() != pre.lower.len() {
                    return Err(Fault::ShapeMismatch { layer: index });
                }
                let choice = |n: usize| slopes.get(n).copied().unwrap_or_default();
                relax_layer(network, table, index, pre, shared.input_magnitude, choice)?
            }
            _ => shared.clone(),
        });
    }
    founded(&row.multipliers, bounds, functional.layer)?;
    upper_bound(network, &relaxed, functional, Some(&row.multipliers), input)
}

/// A multiplier needs its constraint: a split has clamped the bounds, so the sign can be read off them.
fn founded(multipliers: &Multipliers, bounds: &CrownLayers, depth: usize) -> Result<(), Fault> {
    for (layer, splits) in multipliers.layers.iter().enumerate().take(depth) {
        for split in splits {
            let neuron = split.neuron;
            let pre = bounds.pre.get(layer).ok_or(Fault::ShapeMismatch { layer })?;
            let ends = pre.lower.get(neuron).zip(pre.upper.get(neuron));
            let (&lower, &upper) = ends.ok_or(Fault::ShapeMismatch { layer })?;
            if (split.positive && lower < 0) || (!split.positive && upper > 0) {
                return Err(Fault::UnfoundedMultiplier { layer, neuron });
            }
        }
    }
    Ok(())
}

fn relax_layer(
    network: &GridNetwork,
    table: &TanhTable,
    index: usize,
    pre: &GridBox,
    input_magnitude: i128,
    choice: impl Fn(usize) -> SlopeChoice,
) -> Result<RelaxedLayer, Fault> {
    let overflow = || Fault::Overflow { layer: index };
    let layer = network.layers.get(index).ok_or(Fault::ShapeMismatch { layer: index })?;
    let limit = 1i64 << SLOPE_BITS;
    let mut neurons: Vec<Relaxation> = Vec::with_capacity(pre.lower.len());
    let mut pre_magnitude = 0i128;
    for (neuron, interval) in pre.intervals().enumerate() {
        let choice = choice(neuron);
        let outside = [choice.upper, choice.lower].into_iter().flatten().any(|s| s.saturating_abs() > limit);
        if outside {
            return Err(Fault::SlopeOutOfRange { layer: index, neuron });
        }
        let lines =
            relax(&layer.activation, table, network.value_bits, interval, choice).ok_or_else(overflow)?;
        if lines.cuts() {
            let (lower, upper) = interval;
            pre_magnitude =
                pre_magnitude.checked_add(i128::from(magnitude(lower, upper))).ok_or_else(overflow)?;
        }
        neurons.push(lines);
    }
    Ok(RelaxedLayer { neurons, pre_magnitude, input_magnitude })
}

/// Upper bound of `sum weights_i * output_i` over the input set; `target` is the functional's number in the witness.
///
/// # Errors
/// [`Fault`].
pub fn bound_outputs(
    network: &GridNetwork,
    table: &TanhTable,
    bounds: &CrownLayers,
    input: &InputSet,
    weights: &[i64],
    witness: Option<&RowWitness>,
) -> Result<i64, Fault> {
    let depth = network.layers.len();
    let functional = Functional::of_outputs(network, weights).ok_or(Fault::Overflow { layer: depth })?;
    let backward = bound_row(network, table, functional, bounds, input, witness)?;
    let Some(outputs) = bounds.post.last() else { return Ok(backward) };
    Ok(backward.min(interval_functional(outputs, weights).ok_or(Fault::Overflow { layer: depth })?))
}

/// The largest `sum weights_i * x_i` over a box.
pub fn interval_functional(region: &GridBox, weights: &[i64]) -> Option<i64> {
    let mut terms = weights.iter().zip(region.intervals());
    terms.try_fold(0i64, |sum, (&w, (lower, upper))| {
        sum.checked_add(w.checked_mul(if w >= 0 { upper } else { lower })?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::back::SplitMultiplier;
    use crate::grid::GridScale;
    use crate::input::GridBall;
    use crate::model::{Activation, Layer, Matrix, Network};
    use crate::number::{Dyadic, Rational};

    const ONE: i64 = 1 << 48;

    /// `|x|` as `relu(x) + relu(-x)`.
    fn network() -> GridNetwork {
        let layer = |rows, weights: &[i64], activation| {
            let values: Vec<Dyadic> = weights.iter().map(|&w| Dyadic::new(w, 0)).collect();
            let weight = Matrix { rows, columns: values.len() / rows, values };
            Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; rows], activation }
        };
        let layers = vec![layer(2, &[1, -1], Activation::Relu), layer(1, &[1, 1], Activation::Identity)];
        let network = Network { layers };
        let scale = GridScale::new(&network, &Rational::one()).unwrap();
        GridNetwork::new(&network, None, &scale).unwrap()
    }

    fn interval(lower: i64, upper: i64) -> InputSet {
        let middle = (lower + upper) / 2;
        InputSet {
            region: GridBox { lower: vec![lower], upper: vec![upper] },
            center: GridBox { lower: vec![middle], upper: vec![middle] },
            radii: vec![upper - middle],
            ball: None,
        }
    }

    #[derive(Default)]
    struct Given {
        slope: Option<i64>,
        split: Option<bool>,
    }

    impl Witness for Given {
        fn row(&self, _: usize, _: usize, _: bool) -> Option<&RowWitness> {
            None
        }
        fn shared(&self, _: usize, neuron: usize) -> SlopeChoice {
            SlopeChoice { upper: self.slope.filter(|_| neuron == 1), lower: None }
        }
        fn split(&self, layer: usize, neuron: usize) -> Option<bool> {
            self.split.filter(|_| (layer, neuron) == (0, 0))
        }
    }

    fn layers(input: &InputSet, witness: &Given) -> Result<Option<CrownLayers>, Fault> {
        crown_layers(&network(), TanhTable::shared(), input, witness)
    }

    /// Split on the first neuron, `x >= 0`: its box is `[0, 1]` and its relaxation exact. Over `[1, 2]` the split `x <= 0`
    /// leaves nothing.
    #[test]
    fn splits_clamp_and_may_leave_nothing() {
        let bounds =
            layers(&interval(-ONE, ONE), &Given { split: Some(true), slope: None }).unwrap().unwrap();
        assert_eq!((bounds.pre[0].lower[0], bounds.pre[0].upper[0]), (0, ONE));
        assert_eq!(bounds.relaxed[0].neurons[0].upper, bounds.relaxed[0].neurons[0].lower);
        assert_eq!(layers(&interval(ONE, 2 * ONE), &Given { split: Some(false), slope: None }), Ok(None));
    }

    #[test]
    fn slopes_beyond_one_are_refused() {
        let limit = 1i64 << SLOPE_BITS;
        for slope in [limit, -limit] {
            assert!(layers(&interval(-ONE, ONE), &Given { slope: Some(slope), split: None }).is_ok());
        }
        for slope in [limit + 1, -limit - 1, i64::MIN] {
            let refused = Err(Fault::SlopeOutOfRange { layer: 0, neuron: 1 });
            assert_eq!(layers(&interval(-ONE, ONE), &Given { slope: Some(slope), split: None }), refused);
        }
    }

    /// A multiplier for `x >= 0` needs the split that says so; without one the box `[-1, 1]` refutes it.
    #[test]
    fn multipliers_need_their_split() {
        let (network, table, input) = (network(), TanhTable::shared(), interval(-ONE, ONE));
        let row = |neuron, positive| {
            let split = SplitMultiplier { neuron, positive, value: 1 << network.coefficient_bits };
            RowWitness { slopes: Vec::new(), multipliers: Multipliers { layers: vec![vec![split]] } }
        };
        let bound = |split, row: &RowWitness| {
            let bounds = layers(&input, &Given { split, slope: None }).unwrap().unwrap();
            bound_outputs(&network, table, &bounds, &input, &[1], Some(row))
        };
        let unfounded = |neuron| Err(Fault::UnfoundedMultiplier { layer: 0, neuron });
        assert!(bound(Some(true), &row(0, true)).is_ok());
        assert_eq!(bound(Some(true), &row(0, false)), unfounded(0));
        assert_eq!(bound(Some(true), &row(1, true)), unfounded(1));
        assert_eq!(bound(None, &row(0, true)), unfounded(0));
        assert_eq!(bound(Some(true), &row(2, true)), Err(Fault::ShapeMismatch { layer: 0 }));
    }

    #[test]
    fn rows_of_slopes_have_one_per_neuron() {
        let (network, table, input) = (network(), TanhTable::shared(), interval(-ONE, ONE));
        let bounds = layers(&input, &Given::default()).unwrap().unwrap();
        let bound = |count| {
            let slopes = vec![vec![SlopeChoice::default(); count]];
            let row = RowWitness { slopes, multipliers: Multipliers::default() };
            bound_outputs(&network, table, &bounds, &input, &[1], Some(&row))
        };
        assert_eq!(bound(2), bound(0));
        assert_eq!(bound(1), Err(Fault::ShapeMismatch { layer: 0 }));
    }

    /// relu of `x + 2`, of `x` and of `x - 2` over `[-1, 1]`: the outer two keep their sign and cut nothing, the one between
    /// has a chord of slope 1/2 and pays with its 1; tanh pays with all of `3 + 1 + 3`.
    #[test]
    fn neurons_pay_for_the_slopes_that_cut() {
        for (activation, paid) in [(Activation::Relu, 1), (Activation::Tanh, 7)] {
            let weight = Matrix { rows: 3, columns: 1, values: vec![Dyadic::new(1, 0); 3] };
            let bias = [2, 0, -2].map(|b| Dyadic::new(b, 0)).to_vec();
            let network = Network { layers: vec![Layer { fixed: false, weight, bias, activation }] };
            let scale = GridScale::new(&network, &Rational::one()).unwrap();
            let network = GridNetwork::new(&network, None, &scale).unwrap();
            let bounds = crown_layers(&network, TanhTable::shared(), &interval(-ONE, ONE), &NoWitness);
            assert_eq!(bounds.unwrap().unwrap().relaxed[0].pre_magnitude, i128::from(paid * ONE));
        }
    }

    /// `3x + 4y` over the unit ball: the first layer's bounds are 5, where the box says 7.
    #[test]
    fn balls_tighten_the_first_layer() {
        let weight = Matrix { rows: 1, columns: 2, values: vec![Dyadic::new(3, 0), Dyadic::new(1, 2)] };
        let layer = Layer { fixed: false, weight, bias: vec![Dyadic::ZERO], activation: Activation::Tanh };
        let network = Network { layers: vec![layer] };
        let scale = GridScale::new(&network, &Rational::one()).unwrap();
        let network = GridNetwork::new(&network, None, &scale).unwrap();
        let mut input = interval(-ONE, ONE);
        input.region = GridBox { lower: vec![-ONE; 2], upper: vec![ONE; 2] };
        input.center = GridBox { lower: vec![0; 2], upper: vec![0; 2] };
        input.ball = Some(GridBall { semi_axes: vec![Some(ONE); 2] });
        let bounds = crown_layers(&network, TanhTable::shared(), &input, &NoWitness).unwrap().unwrap();
        assert!((5 * ONE..5 * ONE + 16).contains(&bounds.pre[0].upper[0]));
        assert!((-5 * ONE - 16..=-5 * ONE).contains(&bounds.pre[0].lower[0]));
    }
}
