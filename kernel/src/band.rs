//! Rules `hull.band` and `band.crown`: one bound for EVERY mask between two. Trusted. `spec/rules/band.md`.
//!
//! A weight that both masks keep is exact, one that only the loosest keeps lies between 0 and itself. `hull.band` is made
//! of inclusion-isotone interval steps, so a narrower band never has a larger bound; `band.crown` meets it with backward
//! passes over the middle of the band and has no such theorem.

use alloc::vec;
use alloc::vec::Vec;

use crate::back::{Functional, RelaxedLayer, concretize, upper_bound};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{
    GridLayer, GridNetwork, GridScale, SLOPE_BITS, ceil_entry, dot, floor_entry, magnitude, mul,
};
use crate::hull::{HULL_SLOPE_BITS, slope_range};
use crate::ibp::{GridBox, activation};
use crate::input::InputSet;
use crate::model::{Mask, Network};
use crate::relax::{Line, Relaxation};

/// A network under every mask between two.
#[derive(Clone, Debug)]
pub struct BandNetwork {
    /// The loosest mask's network.
    loosest: GridNetwork,
    /// Per layer, out x in: kept by the loosest mask, not by the tightest.
    free: Vec<Vec<bool>>,
    /// The middle of the band, with biases 0; any grid point serves.
    middle: GridNetwork,
    /// Per layer, out x in: how far a weight of the band lies from the middle at most.
    spread: Vec<Vec<i64>>,
}

impl BandNetwork {
    /// The band from `loosest` down to `tightest`; `None` stands for the mask that keeps nothing but fixed layers.
    ///
    /// # Errors
    /// [`Fault::BandNotNested`] if the tightest keeps a weight that the loosest does not;
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn new(
        network: &Network,
        loosest: &Mask,
        tightest: Option<&Mask>,
        scale: &GridScale,
    ) -> Result<Self, Fault> {
        let grid = GridNetwork::new(network, Some(loosest), scale)?;
        if [Some(loosest), tightest].into_iter().flatten().any(|m| m.layers.len() != grid.layers.len()) {
            return Err(Fault::ShapeMismatch { layer: grid.layers.len() });
        }
        let mut band = Self { middle: grid.clone(), loosest: grid, free: Vec::new(), spread: Vec::new() };
        for (index, (layer, kept)) in band.middle.layers.iter_mut().zip(&loosest.layers).enumerate() {
            let fixed = network.layers.get(index).is_some_and(|layer| layer.fixed);
            let must = match tightest {
                Some(mask) => mask.layers.get(index),
                None => fixed.then_some(kept),
            };
            if must.is_some_and(|m| m.len() != kept.len()) {
                return Err(Fault::ShapeMismatch { layer: index });
            }
            let must = |weight: usize| must.is_some_and(|m| m.get(weight).is_some_and(|&bit| bit));
            if let Some(weight) = kept.iter().enumerate().position(|(weight, &kept)| must(weight) && !kept) {
                return Err(Fault::BandNotNested { layer: index, weight });
            }
            let free: Vec<bool> =
                kept.iter().enumerate().map(|(weight, &kept)| kept && !must(weight)).collect();
            let mut spread = Vec::with_capacity(free.len());
            for ((weight, &absolute), &free) in layer.weight.iter_mut().zip(&layer.absolute).zip(&free) {
                let whole = *weight;
                *weight = if free { whole.checked_shr(1).unwrap_or(0) } else { whole };
                // The stored weight is at most `weight_error` steps above its floor.
                let reach = if free { whole.abs_diff(*weight).max(weight.unsigned_abs()) } else { 0 };
                let error = if absolute == 0 { 0 } else { layer.weight_error };
                spread.push(i64::try_from(reach).ok().and_then(|r| r.checked_add(error)).unwrap_or(i64::MAX));
            }
            layer.weight_error = 0;
            band.free.push(free);
            band.spread.push(spread);
        }
        Ok(band)
    }
}

/// A table of intervals, row-major.
#[derive(Clone, Debug)]
pub(crate) struct Intervals {
    columns: usize,
    lower: Vec<i64>,
    upper: Vec<i64>,
}

impl Intervals {
    /// `columns` boxes side by side.
    pub(crate) fn of_boxes(boxes: &[&GridBox]) -> Self {
        let rows = boxes.iter().map(|b| b.lower.len()).min().unwrap_or(0);
        let ends = |side: fn(&GridBox) -> &Vec<i64>| {
            (0..rows).flat_map(|row| boxes.iter().filter_map(move |b| side(b).get(row).copied())).collect()
        };
        Self { columns: boxes.len(), lower: ends(|b| &b.lower), upper: ends(|b| &b.upper) }
    }

    /// One column as a box.
    pub(crate) fn column(&self, column: usize) -> GridBox {
        let step = |ends: &[i64]| ends.iter().skip(column).step_by(self.columns.max(1)).copied().collect();
        GridBox { lower: step(&self.lower), upper: step(&self.upper) }
    }

    /// The band's weights of one layer with `bits` fraction bits: its product with the identity.
    fn of_weights(layer: &GridLayer, free: &[bool], bits: u32) -> Option<Self> {
        let one = 1i64.checked_shl(bits)?;
        let mut table = Self { columns: layer.inputs, lower: Vec::new(), upper: Vec::new() };
        for ((&weight, &absolute), &free) in layer.weight.iter().zip(&layer.absolute).zip(free) {
            // A weight cut off at its grid is above its floor; a pruned one is 0 exactly.
            let high = if absolute == 0 { 0 } else { weight.checked_add(layer.weight_error)? };
            let (low, high) = if free { (weight.min(0), high.max(0)) } else { (weight, high) };
            table.lower.push(floor_entry(mul(low, one), layer.weight_bits)?);
            table.upper.push(ceil_entry(mul(high, one), layer.weight_bits)?);
        }
        Some(table)
    }

    fn rows(&self) -> impl Iterator<Item = (&[i64], &[i64])> {
        let columns = self.columns.max(1);
        self.lower.chunks_exact(columns).zip(self.upper.chunks_exact(columns))
    }
}

/// `{ W X : W in the band of the layer, X in the table }`, entry by entry, outward on the table's grid.
///
/// Every step is inclusion isotone: a narrower band and a smaller table give a subset.
pub(crate) fn product(layer: &GridLayer, free: &[bool], table: &Intervals) -> Option<Intervals> {
    let columns = table.columns.max(1);
    let below: Vec<i64> = table.lower.iter().map(|&x| x.min(0)).collect();
    let above: Vec<i64> = table.upper.iter().map(|&x| x.max(0)).collect();
    let slack = product_slack(layer, table)?;
    let size = layer.outputs.checked_mul(columns)?;
    let mut result = Intervals { columns, lower: Vec::with_capacity(size), upper: Vec::with_capacity(size) };
    for (weights, free) in layer.weight.chunks_exact(layer.inputs).zip(free.chunks_exact(layer.inputs)) {
        let mut sums: Vec<(i128, i128)> = slack.iter().map(|&s| (s.saturating_neg(), s)).collect();
        let clipped = below.chunks_exact(columns).zip(above.chunks_exact(columns));
        for (((&weight, &free), exact), clipped) in weights.iter().zip(free).zip(table.rows()).zip(clipped) {
            if weight == 0 {
                continue;
            }
            // A weight between 0 and w sends [l, u] to w * [min(l, 0), max(u, 0)].
            let (lower, upper) = if free { clipped } else { exact };
            let (lower, upper) = if weight > 0 { (lower, upper) } else { (upper, lower) };
            for ((low, high), (&l, &u)) in sums.iter_mut().zip(lower.iter().zip(upper)) {
                *low = low.checked_add(mul(weight, l))?;
                *high = high.checked_add(mul(weight, u))?;
            }
        }
        for (low, high) in sums {
            result.lower.push(floor_entry(low, layer.weight_bits)?);
            result.upper.push(ceil_entry(high, layer.weight_bits)?);
        }
    }
    Some(result)
}

/// `weight_error * sum_j |x_jk|` per column, which pays for weights cut off at the grid.
fn product_slack(layer: &GridLayer, table: &Intervals) -> Option<Vec<i128>> {
    let mut slack = vec![0i128; table.columns.max(1)];
    if layer.weight_error != 0 {
        for (lower, upper) in table.rows() {
            for (sum, (&l, &u)) in slack.iter_mut().zip(lower.iter().zip(upper)) {
                *sum = sum.checked_add(mul(magnitude(l, u), layer.weight_error))?;
            }
        }
    }
    Some(slack)
}

/// What holds at one state for every mask of a band, on the value grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandBounds {
    /// Holds every mask's output at the unperturbed state.
    pub center: GridBox,
    /// Upper bound on each output's absolute change, the same mask before and after.
    pub deviation: Vec<i64>,
    /// Upper bound on the largest difference of two outputs' changes; 0 with one output.
    pub oscillation: i64,
}

/// Rule `hull.band`, met with `band.crown` if `crown` is set.
///
/// The hull of the pre-activations over the ball and the band bounds every secant slope; the change at layer `l` is the
/// product of slopes and weights with the change of the input, evaluated in interval arithmetic.
///
/// # Errors
/// [`Fault`].
pub fn band_bounds(
    band: &BandNetwork,
    table: &TanhTable,
    input: &InputSet,
    crown: bool,
) -> Result<BandBounds, Fault> {
    let network = &band.loosest;
    let inputs = input.radii.len();
    let change = change_set(input);
    let mut values = Intervals::of_boxes(&[&input.region, &input.center]);
    let mut jacobian: Option<Intervals> = None;
    let mut backward = crown.then(|| Backward::new(band, input));
    let mut bounds =
        BandBounds { center: GridBox::default(), deviation: input.radii.clone(), oscillation: 0 };
    for (index, (layer, free)) in network.layers.iter().zip(&band.free).enumerate() {
        let overflow = || Fault::Overflow { layer: index };
        if values.lower.len() != layer.inputs.saturating_mul(2) || inputs == 0 {
            return Err(Fault::ShapeMismatch { layer: index });
        }
        let mut pre = product(layer, free, &values).ok_or_else(overflow)?;
        add_bias(&mut pre, layer).ok_or_else(overflow)?;
        let row_products = match &jacobian {
            Some(below) => product(layer, free, below),
            None => Intervals::of_weights(layer, free, network.coefficient_bits),
        };
        let mut change_rows = row_products.ok_or_else(overflow)?;
        let reach = change_rows.rows().map(|row| reach(network, row, &change));
        let mut spread = reach.collect::<Option<Vec<i64>>>().ok_or_else(overflow)?;
        if let Some(backward) = &mut backward {
            backward.tighten(band, index, &bounds.deviation, &change, &mut spread)?;
        }
        let (ball, center) = (pre.column(0), pre.column(1));
        let widened = center.intervals().zip(&spread);
        let widened = widened.map(|((l, u), &d)| Some((l.checked_sub(d)?, u.checked_add(d)?)));
        let widened = widened.collect::<Option<Vec<_>>>().ok_or_else(overflow)?;
        let ball = ball.meet(&GridBox::from_intervals(widened), index)?;
        let slopes =
            ball.intervals().map(|ends| slope_range(&layer.activation, table, network.value_bits, ends));
        let slopes = slopes.collect::<Option<Vec<_>>>().ok_or_else(overflow)?;
        scale_rows(&mut change_rows, &slopes).ok_or_else(overflow)?;
        jacobian = Some(change_rows);
        let moved =
            slopes.iter().zip(&spread).map(|((_, high), &d)| ceil_entry(mul(*high, d), HULL_SLOPE_BITS));
        bounds.deviation = moved.collect::<Option<_>>().ok_or_else(overflow)?;
        if let Some(backward) = &mut backward {
            backward.relax(&slopes, &spread, &bounds.deviation).ok_or_else(overflow)?;
        }
        let post = |pre| activation(&layer.activation, table, network.value_bits, index, pre);
        bounds.center = post(&center)?;
        values = Intervals::of_boxes(&[&post(&ball)?, &bounds.center]);
    }
    let overflow = || Fault::Overflow { layer: network.layers.len() };
    let jacobian = jacobian.ok_or(Fault::ShapeMismatch { layer: 0 })?;
    bounds.oscillation = oscillation(network, &jacobian, &change, &bounds.deviation).ok_or_else(overflow)?;
    Ok(bounds)
}

/// The set of input changes: symmetric, with the ball's semi-axes if there are any.
fn change_set(input: &InputSet) -> InputSet {
    let negative = input.radii.iter().map(|r| r.saturating_neg()).collect();
    let zero = vec![0; input.radii.len()];
    InputSet {
        region: GridBox { lower: negative, upper: input.radii.clone() },
        center: GridBox { lower: zero.clone(), upper: zero },
        radii: input.radii.clone(),
        ball: input.ball.clone(),
    }
}

fn add_bias(pre: &mut Intervals, layer: &GridLayer) -> Option<()> {
    let columns = pre.columns.max(1);
    for (ends, bias) in [(&mut pre.lower, &layer.bias_lower), (&mut pre.upper, &layer.bias_upper)] {
        for (row, &bias) in ends.chunks_exact_mut(columns).zip(bias) {
            for entry in row {
                *entry = entry.checked_add(bias)?;
            }
        }
    }
    Some(())
}

/// The largest `|row . change|` over the set of changes, on the value grid.
fn reach(network: &GridNetwork, (lower, upper): (&[i64], &[i64]), change: &InputSet) -> Option<i64> {
    let magnitudes: Vec<i64> = lower.iter().zip(upper).map(|(&l, &u)| magnitude(l, u)).collect();
    ceil_entry(concretize(&magnitudes, 0, change)?, network.coefficient_bits)
}

/// Row i times a slope between `slopes[i].0 >= 0` and `slopes[i].1`.
pub(crate) fn scale_rows(table: &mut Intervals, slopes: &[(i64, i64)]) -> Option<()> {
    let columns = table.columns.max(1);
    let rows = table.lower.chunks_exact_mut(columns).zip(table.upper.chunks_exact_mut(columns));
    for ((lower, upper), &(least, largest)) in rows.zip(slopes) {
        for entry in lower {
            let slope = if *entry < 0 { largest } else { least };
            *entry = floor_entry(mul(slope, *entry), HULL_SLOPE_BITS)?;
        }
        for entry in upper {
            let slope = if *entry < 0 { least } else { largest };
            *entry = ceil_entry(mul(slope, *entry), HULL_SLOPE_BITS)?;
        }
    }
    Some(())
}

/// The largest `|change_i - change_j|`: through the difference of the rows, or the two deviations.
fn oscillation(
    network: &GridNetwork,
    jacobian: &Intervals,
    change: &InputSet,
    deviation: &[i64],
) -> Option<i64> {
    let mut largest = 0i64;
    for (first, (one, &one_moves)) in jacobian.rows().zip(deviation).enumerate() {
        for (other, &other_moves) in jacobian.rows().zip(deviation).take(first) {
            let minus = |a: &[i64], b: &[i64]| a.iter().zip(b).map(|(x, y)| x.checked_sub(*y)).collect();
            let (lower, upper): (Option<Vec<i64>>, Option<Vec<i64>>) =
                (minus(one.0, other.1), minus(one.1, other.0));
            let apart = reach(network, (&lower?, &upper?), change)?;
            largest = largest.max(apart.min(one_moves.checked_add(other_moves)?));
        }
    }
    Some(largest)
}

/// Rule `band.crown`: the network of changes, `change_l = slope_l (W' change_{l-1})`, relaxed around the middle of the
/// band: `W' = middle + rest` puts `|rest| D` into the bias, `slope = mean + rest` puts `|rest| d` into the lines.
struct Backward {
    network: GridNetwork,
    relaxed: Vec<RelaxedLayer>,
    /// `sum_j D_j` of the layer at hand.
    magnitude: i128,
    inputs: Vec<i64>,
}

impl Backward {
    fn new(band: &BandNetwork, input: &InputSet) -> Self {
        let (network, inputs) = (band.middle.clone(), input.radii.clone());
        Self { network, relaxed: Vec::new(), magnitude: 0, inputs }
    }

    /// Sets the biases of layer `index` from the changes of its inputs and lowers `spread` to the backward bounds.
    fn tighten(
        &mut self,
        band: &BandNetwork,
        index: usize,
        moved: &[i64],
        change: &InputSet,
        spread: &mut [i64],
    ) -> Result<(), Fault> {
        let overflow = || Fault::Overflow { layer: index };
        let shape = || Fault::ShapeMismatch { layer: index };
        let layer = self.network.layers.get_mut(index).ok_or_else(shape)?;
        let rests = band.spread.get(index).ok_or_else(shape)?.chunks_exact(layer.inputs.max(1));
        let paid = rests.map(|rest| ceil_entry(dot(rest, moved)?, layer.weight_bits));
        layer.bias_upper = paid.collect::<Option<_>>().ok_or_else(overflow)?;
        layer.bias_lower = layer.bias_upper.iter().map(|b| b.saturating_neg()).collect();
        self.magnitude = moved.iter().map(|&d| i128::from(d)).sum();
        for (neuron, spread) in spread.iter_mut().enumerate() {
            // The set of changes and all errors are symmetric: one side bounds both.
            let row = Functional::of_neuron(&self.network, index, neuron, false, self.magnitude);
            let bound = upper_bound(&self.network, &self.relaxed, row.ok_or_else(overflow)?, None, change)?;
            *spread = (*spread).min(bound);
        }
        Ok(())
    }

    /// Relaxes the layer just bounded: `slope * change` within `mean * change -+ rest * spread`.
    fn relax(&mut self, slopes: &[(i64, i64)], spread: &[i64], moved: &[i64]) -> Option<()> {
        let drop = HULL_SLOPE_BITS.checked_sub(SLOPE_BITS)?;
        let mut neurons = Vec::with_capacity(slopes.len());
        for (&(least, largest), &spread) in slopes.iter().zip(spread) {
            let slope = least.checked_add(largest.checked_sub(least)?.checked_shr(1)?)?.checked_shr(drop)?;
            let mean = slope.checked_shl(drop)?;
            let rest = largest.checked_sub(mean)?.max(mean.checked_sub(least)?);
            let intercept = ceil_entry(mul(rest, spread), HULL_SLOPE_BITS)?;
            let lower = Line { slope, intercept: intercept.checked_neg()? };
            neurons.push(Relaxation { upper: Line { slope, intercept }, lower });
        }
        let pre_magnitude = spread.iter().map(|&d| i128::from(d)).sum();
        let input_magnitude = self.inputs.iter().map(|&d| i128::from(d)).sum();
        self.relaxed.push(RelaxedLayer { neurons, pre_magnitude, input_magnitude });
        self.inputs = moved.to_vec();
        Some(())
    }
}
