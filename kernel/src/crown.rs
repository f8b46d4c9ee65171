//! Rule `crown.layers`: intermediate bounds by backward passes, met with interval bounds, then the outputs.
//! Trusted. `spec/rules/local.md`. With default slopes no witness is needed; a witness names other slopes, multipliers
//! and splits, none of which can make a bound wrong.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use crate::back::{Functional, Multipliers, RelaxedLayer, Target, upper_bounds};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{GridActivation, GridLayer, GridNetwork, SLOPE_ONE};
use crate::ibp;
use crate::input::InputSet;
use crate::interval::{GridBox, Interval};
use crate::product::dot;
use crate::quadratic::{Enclosed, Found, Quadratics};
use crate::relax::{SILU_SLOPES, SlopeChoice, relax};
use crate::wide::{AtLayer, magnitude, total, zip_exact};

/// Slopes a witness asks for while one target is bounded: per layer below the target, per neuron.
pub type Slopes = Vec<Vec<SlopeChoice>>;

/// What a witness says about one target (a neuron before its activation, or an output functional) and side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowWitness {
    /// Slopes; an absent or empty layer takes the shared relaxation.
    pub slopes: Slopes,
    /// Multipliers of split constraints.
    pub multipliers: Multipliers,
}

/// The rows of a witness by target layer, then neuron, then side: below, above.
pub type Rows = [Vec<[RowWitness; 2]>];

/// The witness of a whole bounding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Witness<'a> {
    /// Rows; a layer or neuron without one takes the shared relaxation.
    pub rows: &'a Rows,
    /// Split decisions: layer, neuron, and whether its pre-activation is assumed not negative, else not positive.
    pub signs: &'a [(usize, usize, bool)],
    /// Whether smooth activations are bounded by parabolas too.
    pub quadratic: bool,
}

impl<'a> Witness<'a> {
    /// The row for one side of a target, if there is one.
    pub fn row(&self, layer: usize, neuron: usize, upper: bool) -> Option<&'a RowWitness> {
        let [below, above] = self.rows.get(layer)?.get(neuron)?;
        Some(if upper { above } else { below })
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
    /// Parabolas of these layers, if they were asked for.
    pub quadratics: Option<Quadratics>,
}

/// Bounds every layer over the input set. `None` means that a split left no point at all: the leaf is empty.
///
/// # Errors
/// [`Fault`].
pub fn crown_layers(
    network: &GridNetwork,
    table: &TanhTable,
    input: &InputSet,
    witness: Witness<'_>,
) -> Result<Option<CrownLayers>, Fault> {
    let quadratics = if witness.quadratic { Some(Quadratics::new(network, input)?) } else { None };
    let mut below = CrownLayers { quadratics, ..CrownLayers::default() };
    for (index, layer) in network.layers.iter().enumerate() {
        // The first layer reads the input.
        let region = below.post.last().unwrap_or(&input.region);
        let paid = region.total_magnitude();
        let (mut pre, mut enclosed) = (ibp::affine(layer, index, region)?, Vec::new());
        // The last layer of a network without a final squash is bounded by the output functionals themselves.
        let last = index.checked_add(1) == Some(network.layers.len());
        let needed = !last || layer.activation != GridActivation::Identity;
        if needed && (index > 0 || input.ball.is_some()) {
            let tight = tightened(network, table, (index, paid), &pre, &below, input, witness)?;
            // Only contradictory splits can leave a neuron no value.
            let Some(tight) = tight else { return Ok(None) };
            (pre, enclosed) = tight;
        }
        let Some(pre) = with_splits(&pre, index, witness.signs)? else { return Ok(None) };
        let post = ibp::activation(&layer.activation, table, network.value_bits, index, &pre)?;
        if let Some(quadratics) = &mut below.quadratics {
            if index == 0 {
                enclosed = first_layer(network, paid)?;
            }
            quadratics.push(network, table, (&pre, paid), enclosed, input)?;
        }
        below.relaxed.push(relax_layer(network, table, index, layer, &pre, paid, &[])?);
        below.pre.push(pre);
        below.post.push(post);
    }
    Ok(Some(below))
}

/// A layer's interval bounds met with the upper bounds of each neuron's negation and of itself; `None` if they do not meet.
fn tightened(
    network: &GridNetwork,
    table: &TanhTable,
    (index, paid): (usize, i128),
    pre: &GridBox,
    below: &CrownLayers,
    input: &InputSet,
    witness: Witness<'_>,
) -> Result<Option<(GridBox, Vec<Enclosed>)>, Fault> {
    let activation = &network.layers.get(index).shaped(index)?.activation;
    let mut ends: Vec<Interval> = pre.intervals().collect();
    // A relu whose sign is known is exact: its bounds do not enter any line. So is an ELU that is not below 0.
    let known = |(lower, upper): Interval| match activation {
        GridActivation::Relu => lower >= 0 || upper <= 0,
        GridActivation::Elu { .. } => lower >= 0,
        GridActivation::Identity
        | GridActivation::LeakyRelu { .. }
        | GridActivation::Tanh
        | GridActivation::Sigmoid
        | GridActivation::Clip { .. }
        | GridActivation::Silu => false,
    };
    let open: Vec<(usize, &mut Interval)> =
        ends.iter_mut().enumerate().filter(|(_, ends)| !known(**ends)).collect();
    let sides = open.iter().flat_map(|&(neuron, _)| [(neuron, false), (neuron, true)]);
    let targets = sides.map(|(neuron, upper)| {
        let functional = Functional::of_neuron(network, index, neuron, !upper, paid)?;
        target(network, table, functional, below, witness.row(index, neuron, upper))
    });
    let mut bounds = all_bounds(network, index, targets, input, below.quadratics.as_ref())?.into_iter();
    let mut enclosed = Vec::new();
    for (neuron, (lower, upper)) in open {
        let ((negated, below), (bound, above)) =
            (bounds.next().shaped(index)??, bounds.next().shaped(index)??);
        *lower = (*lower).max(negated.checked_neg().within(index)?);
        *upper = (*upper).min(bound);
        if lower > upper {
            return Ok(None);
        }
        if let Some(functionals) = below.zip(above) {
            enclosed.push((neuron, functionals.into()));
        }
    }
    Ok(Some((GridBox::from_intervals(ends), enclosed)))
}

/// The first layer's neurons as they are, negated and not.
fn first_layer(network: &GridNetwork, paid: i128) -> Result<Vec<Enclosed>, Fault> {
    let neurons = 0..network.layers.first().map_or(0, GridLayer::outputs);
    let side = |neuron, negative| Functional::of_neuron(network, 0, neuron, negative, paid);
    neurons.map(|neuron| Ok((neuron, [side(neuron, true)?, side(neuron, false)?]))).collect()
}

/// Upper bounds by lines, and by parabolas if there are any, with the functionals of the inputs that these make.
fn all_bounds<'a>(
    network: &GridNetwork,
    depth: usize,
    targets: impl IntoIterator<Item = Result<Target<'a>, Fault>>,
    input: &InputSet,
    quadratics: Option<&'a Quadratics>,
) -> Result<Vec<Found>, Fault> {
    match quadratics {
        Some(quadratics) => quadratics.upper_bounds(network, depth, targets, input),
        None => {
            Ok(upper_bounds(network, depth, targets, input)?.into_iter().map(|b| Ok((b?, None))).collect())
        }
    }
}

/// The bounds of a layer under the signs of its split neurons; `None` if one of them is left without a value.
fn with_splits(
    pre: &GridBox,
    layer: usize,
    signs: &[(usize, usize, bool)],
) -> Result<Option<GridBox>, Fault> {
    let mut ends: Vec<Interval> = pre.intervals().collect();
    for &(_, neuron, positive) in signs.iter().filter(|(split, ..)| *split == layer) {
        let (lower, upper) = ends.get_mut(neuron).shaped(layer)?;
        if positive {
            *lower = (*lower).max(0);
        } else {
            *upper = (*upper).min(0);
        }
    }
    let possible = ends.iter().all(|(lower, upper)| lower <= upper);
    Ok(possible.then(|| GridBox::from_intervals(ends)))
}

/// Rule `split.kept`: bounds over an input set, met with the signs of a part of it; `None` if a sign leaves its neuron no
/// value. What layers without a sign have is theirs still.
///
/// # Errors
/// [`Fault`].
pub(crate) fn with_signs(
    network: &GridNetwork,
    table: &TanhTable,
    whole: &CrownLayers,
    signs: &[(usize, usize, bool)],
) -> Result<Option<CrownLayers>, Fault> {
    let mut part = whole.clone();
    let boxes = part.pre.iter_mut().zip(&mut part.post).zip(&mut part.relaxed);
    for (index, (layer, ((pre, post), relaxed))) in zip_exact(&network.layers, boxes, 0)?.enumerate() {
        if signs.iter().all(|(split, ..)| *split != index) {
            continue;
        }
        let Some(met) = with_splits(pre, index, signs)? else { return Ok(None) };
        *post = ibp::activation(&layer.activation, table, network.value_bits, index, &met)?;
        *relaxed = relax_layer(network, table, index, layer, &met, relaxed.input_magnitude, &[])?;
        *pre = met;
    }
    Ok(Some(part))
}

/// Upper bounds of functionals of the network's outputs, with the row's own slopes where its witness names them.
///
/// # Errors
/// [`Fault`]: that of the first which is refused.
pub fn bound_rows(
    network: &GridNetwork,
    table: &TanhTable,
    functionals: Vec<Functional>,
    bounds: &CrownLayers,
    input: &InputSet,
    row: Option<&RowWitness>,
) -> Result<Vec<i64>, Fault> {
    let targets = functionals.into_iter().map(|functional| target(network, table, functional, bounds, row));
    let found =
        all_bounds(network, network.layers.len(), targets, input, bounds.quadratics.as_ref())?.into_iter();
    found.map(|found| Ok(found?.0)).collect()
}

/// A functional with the lines and multipliers that its row asks for.
fn target<'a>(
    network: &GridNetwork,
    table: &TanhTable,
    functional: Functional,
    bounds: &'a CrownLayers,
    row: Option<&'a RowWitness>,
) -> Result<Target<'a>, Fault> {
    let Some(row) = row else {
        return Ok(Target { functional, relaxed: Cow::Borrowed(&bounds.relaxed), multipliers: None });
    };
    let depth = functional.layer;
    let mut relaxed = Vec::with_capacity(depth);
    let layers = network.layers.get(..depth).shaped(depth)?;
    let shared = bounds.relaxed.get(..depth).shaped(depth)?;
    let boxes = bounds.pre.get(..depth).shaped(depth)?;
    let below = zip_exact(layers, zip_exact(shared, boxes, depth)?, depth)?;
    for (index, (layer, (shared, pre))) in below.enumerate() {
        relaxed.push(match row.slopes.get(index) {
            Some(slopes) if !slopes.is_empty() => {
                relax_layer(network, table, index, layer, pre, shared.input_magnitude, slopes)?
            }
            Some(_) | None => shared.clone(),
        });
    }
    founded(&row.multipliers, bounds, depth)?;
    Ok(Target { functional, relaxed: Cow::Owned(relaxed), multipliers: Some(&row.multipliers) })
}

/// A multiplier needs its constraint: a split has clamped the bounds, so the sign can be read off them.
fn founded(multipliers: &Multipliers, bounds: &CrownLayers, depth: usize) -> Result<(), Fault> {
    for (layer, splits) in multipliers.layers.iter().enumerate().take(depth) {
        for split in splits {
            let neuron = split.neuron;
            let (lower, upper) = bounds.pre.get(layer).and_then(|pre| pre.at(neuron)).shaped(layer)?;
            if (split.positive && lower < 0) || (!split.positive && upper > 0) {
                return Err(Fault::UnfoundedMultiplier { layer, neuron });
            }
        }
    }
    Ok(())
}

/// One layer's lines over `pre`, with the default slopes if `slopes` is empty.
fn relax_layer(
    network: &GridNetwork,
    table: &TanhTable,
    index: usize,
    layer: &GridLayer,
    pre: &GridBox,
    input_magnitude: i128,
    slopes: &[SlopeChoice],
) -> Result<RelaxedLayer, Fault> {
    let default = vec![SlopeChoice::default(); pre.len()];
    let steepest = if layer.activation == GridActivation::Silu { SILU_SLOPES } else { SLOPE_ONE };
    let slopes = if slopes.is_empty() { &default } else { slopes };
    let mut neurons = Vec::with_capacity(pre.len());
    let mut paid = Vec::with_capacity(pre.len());
    for (neuron, (ends, &choice)) in zip_exact(pre.intervals(), slopes, index)?.enumerate() {
        let mut asked = [choice.upper, choice.lower].into_iter().flatten();
        if asked.any(|slope| slope.unsigned_abs() > steepest.unsigned_abs()) {
            return Err(Fault::SlopeOutOfRange { layer: index, neuron });
        }
        let lines = relax(&layer.activation, table, network.value_bits, ends, choice).within(index)?;
        if lines.cuts() {
            paid.push(magnitude(ends).into());
        }
        neurons.push(lines);
    }
    Ok(RelaxedLayer::new(&neurons, total(paid).get().within(index)?, input_magnitude))
}

/// Upper bound of `sum weights_i * output_i` over the input set, backward and from the outputs' box.
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
    bound_functionals(network, table, bounds, input, &[(weights, witness)])?.pop().shaped(depth)
}

/// [`bound_outputs`] of several, each with its row.
///
/// # Errors
/// [`Fault`]: that of the first which is refused.
pub fn bound_functionals(
    network: &GridNetwork,
    table: &TanhTable,
    bounds: &CrownLayers,
    input: &InputSet,
    asked: &[(&[i64], Option<&RowWitness>)],
) -> Result<Vec<i64>, Fault> {
    let depth = network.layers.len();
    let outputs = bounds.post.last().ok_or(Fault::EmptyNetwork)?;
    let targets = asked.iter().map(|&(weights, row)| {
        target(network, table, Functional::of_outputs(network, weights)?, bounds, row)
    });
    let backward = all_bounds(network, depth, targets, input, bounds.quadratics.as_ref())?;
    let least = zip_exact(asked, backward, depth)?.map(|(&(weights, _), backward)| {
        let (backward, _) = backward?;
        let ends = zip_exact(weights, outputs.intervals(), depth)?;
        let ends = ends.map(|(&w, (lower, upper))| if w >= 0 { upper } else { lower });
        let own = dot(weights, &ends.collect::<Vec<_>>(), depth)?;
        Ok(backward.min(own.entry().within(depth)?))
    });
    least.collect()
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
            region: GridBox::of(vec![lower], vec![upper]),
            center: GridBox::of(vec![middle], vec![middle]),
            radii: vec![upper - middle],
            ball: None,
        }
    }

    /// With the first neuron's sign assumed, if one is given.
    fn layers(input: &InputSet, split: Option<bool>) -> Result<Option<CrownLayers>, Fault> {
        let signs: Vec<_> = split.into_iter().map(|positive| (0, 0, positive)).collect();
        crown_layers(&network(), TanhTable::shared(), input, Witness { signs: &signs, ..Witness::default() })
    }

    /// Split on the first neuron, `x >= 0`: its box is `[0, 1]` and its relaxation exact. Over `[1, 2]` the split `x <= 0`
    /// leaves nothing.
    #[test]
    fn splits_clamp_and_may_leave_nothing() {
        let bounds = layers(&interval(-ONE, ONE), Some(true)).unwrap().unwrap();
        assert_eq!(bounds.pre[0].at(0), Some((0, ONE)));
        let neuron = bounds.relaxed[0].neurons().next().unwrap();
        assert_eq!(neuron.upper, neuron.lower);
        assert_eq!(layers(&interval(ONE, 2 * ONE), Some(false)), Ok(None));
        let nowhere = Witness { signs: &[(0, 2, true)], ..Witness::default() };
        let found = crown_layers(&network(), TanhTable::shared(), &interval(-ONE, ONE), nowhere);
        assert_eq!(found, Err(Fault::ShapeMismatch { layer: 0 }));
    }

    /// `relu(x) + relu(-x)` before a tanh: chords say at most 1, lines of slope 1 add up to 2, as intervals do. A row counts for
    /// its own side and neuron.
    #[test]
    fn rows_of_hidden_neurons_are_used() {
        let (mut network, input) = (network(), interval(-ONE, ONE));
        network.layers[1].activation = GridActivation::Tanh;
        let steep = RowWitness {
            slopes: vec![vec![SlopeChoice { upper: Some(SLOPE_ONE), lower: None }; 2]],
            multipliers: Multipliers::default(),
        };
        let upper = |rows: &Rows| {
            let witness = Witness { rows, ..Witness::default() };
            let found = crown_layers(&network, TanhTable::shared(), &input, witness).unwrap().unwrap();
            found.pre[1].at(0).unwrap().1
        };
        let (own, none) = (vec![[RowWitness::default(), steep.clone()]], Vec::new());
        let near = |found: i64, value: i64| (found - value * ONE).abs() <= 16;
        assert!(near(upper(&[]), 1) && near(upper(&[none.clone(), own.clone()]), 2));
        assert!(near(upper(&[none, vec![[steep, RowWitness::default()]]]), 1) && near(upper(&[own]), 1));
    }

    /// In the first layer, whose box is exact, kept bounds that are met with a sign are those under that sign, with all that
    /// rounding costs; the second layer keeps what it had.
    #[test]
    fn kept_bounds_pay_for_rounding_as_fresh_ones() {
        let (network, table, input) = (network(), TanhTable::shared(), interval(-ONE, ONE));
        let whole = layers(&input, None).unwrap().unwrap();
        for positive in [false, true] {
            let fresh = layers(&input, Some(positive)).unwrap().unwrap();
            let part = with_signs(&network, table, &whole, &[(0, 0, positive)]).unwrap().unwrap();
            assert_ne!(part.relaxed[0].input_magnitude, 0);
            let first = |of: &CrownLayers| (of.pre[0].clone(), of.post[0].clone(), of.relaxed[0].clone());
            assert_eq!(first(&part), first(&fresh));
            assert_eq!((&part.pre[1], &part.post[1]), (&whole.pre[1], &whole.post[1]));
        }
    }

    #[test]
    fn slopes_beyond_one_are_refused() {
        let (network, table, input) = (network(), TanhTable::shared(), interval(-ONE, ONE));
        let bounds = layers(&input, None).unwrap().unwrap();
        let bound = |slope| {
            let second = SlopeChoice { upper: Some(slope), lower: None };
            let slopes = vec![vec![SlopeChoice::default(), second]];
            let row = RowWitness { slopes, multipliers: Multipliers::default() };
            bound_outputs(&network, table, &bounds, &input, &[1], Some(&row))
        };
        let limit = SLOPE_ONE;
        assert!(bound(limit).is_ok() && bound(-limit).is_ok());
        for slope in [limit + 1, -limit - 1, i64::MIN] {
            assert_eq!(bound(slope), Err(Fault::SlopeOutOfRange { layer: 0, neuron: 1 }));
        }
    }

    /// `x + (-x) + 3` over `[-1, 1]` is 3, intervals say `[1, 5]`. An ELU that is not below 0 is its own line, so that its box
    /// stays; SiLU has its row tightened.
    #[test]
    fn elu_above_0_needs_no_row() {
        for (activation, ends) in [
            (Activation::Elu { alpha: Rational::one() }, (ONE, 5 * ONE)),
            (Activation::Silu, (3 * ONE - 8, 3 * ONE + 8)),
        ] {
            let layer = |rows, weights: &[i64], bias: &[i64], activation| {
                let dyadic = |w: &i64| Dyadic::new(*w, 0);
                let values: Vec<Dyadic> = weights.iter().map(dyadic).collect();
                let weight = Matrix { rows, columns: values.len() / rows, values };
                Layer { fixed: false, weight, bias: bias.iter().map(dyadic).collect(), activation }
            };
            let first = layer(2, &[1, -1], &[0, 0], Activation::Identity);
            let layers = vec![
                first,
                layer(1, &[1, 1], &[3], activation.clone()),
                layer(1, &[1], &[0], Activation::Identity),
            ];
            let network = Network { layers };
            let scale = GridScale::new(&network, &Rational::one()).unwrap();
            let network = GridNetwork::new(&network, None, &scale).unwrap();
            let bounds =
                crown_layers(&network, TanhTable::shared(), &interval(-ONE, ONE), Witness::default());
            let (lower, upper) = bounds.unwrap().unwrap().pre[1].at(0).unwrap();
            assert!(ends.0 <= lower && upper <= ends.1 && (lower < 2 * ONE) == (ends.0 == ONE));
        }
    }

    /// 9/8 and no more, for SiLU alone.
    #[test]
    fn slopes_of_silu_go_further() {
        let (mut network, table, input) = (network(), TanhTable::shared(), interval(-ONE, ONE));
        let limit = SLOPE_ONE + SLOPE_ONE / 8;
        let bound = |network: &GridNetwork, slope| {
            let bounds = crown_layers(network, table, &input, Witness::default()).unwrap().unwrap();
            let asked = SlopeChoice { upper: None, lower: Some(slope) };
            let row = RowWitness { slopes: vec![vec![asked; 2]], multipliers: Multipliers::default() };
            bound_outputs(network, table, &bounds, &input, &[1], Some(&row))
        };
        let refused = Err(Fault::SlopeOutOfRange { layer: 0, neuron: 0 });
        for activation in [GridActivation::Silu, GridActivation::Elu { numerator: 1, denominator: 1 }] {
            let steep = activation == GridActivation::Silu;
            network.layers[0].activation = activation;
            for slope in [limit, -limit] {
                assert_eq!(bound(&network, slope).is_ok(), steep);
                assert_eq!(bound(&network, slope + slope.signum()), refused);
            }
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
            let bounds = layers(&input, split).unwrap().unwrap();
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
        let bounds = layers(&input, None).unwrap().unwrap();
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
            let bounds =
                crown_layers(&network, TanhTable::shared(), &interval(-ONE, ONE), Witness::default());
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
        input.region = GridBox::of(vec![-ONE; 2], vec![ONE; 2]);
        input.center = GridBox::of(vec![0; 2], vec![0; 2]);
        input.ball = Some(GridBall::Euclidean { semi_axes: vec![Some(ONE); 2] });
        let bounds =
            crown_layers(&network, TanhTable::shared(), &input, Witness::default()).unwrap().unwrap();
        let (lower, upper) = bounds.pre[0].at(0).unwrap();
        assert!((5 * ONE..5 * ONE + 16).contains(&upper));
        assert!((-5 * ONE - 16..=-5 * ONE).contains(&lower));
    }
}
