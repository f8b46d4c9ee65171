//! Rules `hull.band` and `band.crown`: one bound for EVERY mask between two. Trusted. `spec/rules/band.md`.
//!
//! A weight that both masks keep is exact, one that only the loosest keeps lies between 0 and itself. `hull.band` is made
//! of inclusion-isotone interval steps, so a narrower band never has a larger bound; `band.crown` meets it with backward
//! passes over the middle of the band and has no such theorem.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use crate::back::{Functional, RelaxedLayer, Target, concretize, upper_bounds};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::grid::{GridLayer, GridNetwork, GridScale, SLOPE_BITS};
use crate::hull::{HULL_SLOPE_BITS, SlopeRange, slope_ranges};
use crate::ibp::activation;
use crate::input::InputSet;
use crate::interval::{GridBox, Interval};
use crate::model::{Mask, Network};
use crate::product::dots;
use crate::relax::{Line, Relaxation};
use crate::table::Table;
use crate::wide::{AtLayer, Wide, every, fits, magnitude, magnitudes, mul, total, zip_exact};

/// A network under every mask between two.
#[derive(Clone, Debug)]
pub struct BandNetwork {
    /// The loosest mask's network.
    loosest: GridNetwork,
    /// Per layer, out x in: kept by the loosest mask, not by the tightest.
    free: Vec<Table<bool>>,
    /// The middle of the band, with biases 0; any grid point serves.
    middle: GridNetwork,
    /// Per layer, out x in: how far a weight of the band lies from the middle at most.
    spread: Vec<Table<i64>>,
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
        let depth = grid.layers.len();
        if tightest.is_some_and(|mask| mask.layers.len() != depth) {
            return Err(Fault::ShapeMismatch { layer: depth });
        }
        let mut band = Self { middle: grid.clone(), loosest: grid, free: Vec::new(), spread: Vec::new() };
        let layers = zip_exact(&network.layers, &loosest.layers, depth)?;
        for (index, (layer, (stored, kept))) in zip_exact(&mut band.middle.layers, layers, depth)?.enumerate()
        {
            let must = match tightest {
                Some(mask) => mask.layers.get(index).shaped(index)?.clone(),
                None => kept.iter().map(|&kept| kept && stored.fixed).collect(),
            };
            let mut pairs = zip_exact(kept, &must, index)?;
            let free: Vec<bool> = pairs.clone().map(|(&kept, &must)| kept && !must).collect();
            if let Some(weight) = pairs.position(|(&kept, &must)| must && !kept) {
                return Err(Fault::BandNotNested { layer: index, weight });
            }
            let spread = move_to_middle(layer, &free, index)?;
            band.free.push(Table::new(layer.outputs(), layer.inputs(), free, index)?);
            band.spread.push(spread);
        }
        Ok(band)
    }
}

/// Halves the free weights of a layer of the loosest mask, which makes it the middle's, and says how far each weight of the
/// band lies from there at most.
fn move_to_middle(layer: &mut GridLayer, free: &[bool], index: usize) -> Result<Table<i64>, Fault> {
    let whole = zip_exact(layer.weight.values(), layer.absolute.values(), index)?;
    let (mut middle, mut spread) = (Vec::with_capacity(free.len()), Vec::with_capacity(free.len()));
    for ((&whole, &absolute), &free) in zip_exact(whole, free, index)? {
        let half = if free { whole.checked_shr(1).within(index)? } else { whole };
        // A free weight is 0 or whole; the stored weight is at most `weight_error` steps above its floor.
        let reach = if free { whole.abs_diff(half).max(half.unsigned_abs()) } else { 0 };
        let error = if absolute == 0 { 0 } else { layer.weight_error };
        middle.push(half);
        spread.push((Wide::from(reach) + error).entry().within(index)?);
    }
    let (outputs, inputs) = (layer.outputs(), layer.inputs());
    layer.weight = Table::new(outputs, inputs, middle, index)?;
    layer.weight_error = 0;
    Table::new(outputs, inputs, spread, index)
}

/// Boxes of one length side by side, one a column.
pub(crate) fn side_by_side(boxes: &[&GridBox], layer: usize) -> Result<Table<Interval>, Fault> {
    let height = boxes.first().map_or(0, |first| first.len());
    if boxes.iter().any(|one| one.len() != height) {
        return Err(Fault::ShapeMismatch { layer });
    }
    let entry = |row, column: usize| boxes.get(column).and_then(|one| one.at(row)).shaped(layer);
    Table::build(height, boxes.len(), layer, entry)
}

/// One column as a box.
pub(crate) fn column(table: &Table<Interval>, column: usize, layer: usize) -> Result<GridBox, Fault> {
    let ends = table.rows().map(|row| row.get(column).copied());
    Ok(GridBox::from_intervals(ends.collect::<Option<Vec<_>>>().shaped(layer)?))
}

/// The band's weights of one layer with `bits` fraction bits: its product with the identity.
fn weights(layer: &GridLayer, free: &Table<bool>, bits: u32, index: usize) -> Result<Table<Interval>, Fault> {
    let one = 1i64.checked_shl(bits).within(index)?;
    let entries = zip_exact(layer.weight.values(), layer.absolute.values(), index)?;
    let ends = zip_exact(entries, free.values(), index)?.map(|((&weight, &absolute), &free)| {
        // A weight cut off at its grid is above its floor; a pruned one is 0 exactly.
        let error = if absolute == 0 { 0 } else { layer.weight_error };
        let high = (Wide::from(weight) + error).entry()?;
        let (low, high) = if free { (weight.min(0), high.max(0)) } else { (weight, high) };
        let low = Wide::from(mul(low, one)).floor(layer.weight_bits).entry()?;
        Some((low, Wide::from(mul(high, one)).ceil(layer.weight_bits).entry()?))
    });
    Table::new(layer.outputs(), layer.inputs(), every(ends).within(index)?, index)
}

/// `{ W X : W in the band of the layer, X in the table }`, entry by entry, outward on the table's grid; each sum is in range
/// iff its terms' magnitudes add up to less than 2^127.
///
/// Every step is inclusion isotone: a narrower band and a smaller table give a subset.
pub(crate) fn product(
    layer: &GridLayer,
    free: &Table<bool>,
    table: &Table<Interval>,
    index: usize,
) -> Result<Table<Interval>, Fault> {
    let columns = table.columns();
    let largest = table.values().iter().map(|&ends| magnitude(ends)).fold(0, u64::max);
    // No row's weights add up to more.
    let reach = u128::try_from(layer.inputs()).ok().and_then(|n| n.checked_mul(layer.largest.into()));
    let safe = reach.is_some_and(|reach| fits(reach, largest));
    let slack = product_slack(layer, table, index)?;
    let (lower, upper) = (table.map(|ends| ends.0), table.map(|ends| ends.1));
    // A weight between 0 and w sends [l, u] to w [min(l, 0), max(u, 0)].
    let (below, above) = (lower.map(|&lower| lower.min(0)), upper.map(|&upper| upper.max(0)));
    let mut entries = Vec::with_capacity(layer.outputs().checked_mul(columns).within(index)?);
    for (weights, free) in zip_exact(layer.weight.rows(), free.rows(), index)? {
        let exact = zip_exact(lower.rows(), upper.rows(), index)?;
        let clipped = zip_exact(below.rows(), above.rows(), index)?;
        let rows = zip_exact(exact, clipped, index)?;
        let terms = zip_exact(zip_exact(weights, free, index)?, rows, index)?;
        // A negative weight makes the lower end of the upper one.
        let terms = terms.map(|((&weight, &free), (exact, clipped))| {
            let (lower, upper) = if free { clipped } else { exact };
            (weight, if weight < 0 { (upper, lower) } else { (lower, upper) })
        });
        let mut sums = vec![(0i128, 0i128); columns];
        for (weight, ends) in terms.clone().filter(|(weight, _)| *weight != 0) {
            add(&mut sums, weight, ends).within(index)?;
        }
        if !safe {
            for column in 0..columns {
                let ends = terms.clone().map(|(weight, ends)| {
                    Some((mul(weight, *ends.0.get(column)?), mul(weight, *ends.1.get(column)?)))
                });
                let ends = every(ends).shaped(index)?;
                total(ends.iter().map(|ends| ends.0)).get().within(index)?;
                total(ends.iter().map(|ends| ends.1)).get().within(index)?;
            }
        }
        for ((low, high), &slack) in zip_exact(sums, &slack, index)? {
            let lower = (Wide::from(low) - slack).floor(layer.weight_bits);
            let upper = (Wide::from(high) + slack).ceil(layer.weight_bits);
            entries.push(lower.entry().zip(upper.entry()).within(index)?);
        }
    }
    Table::new(layer.outputs(), columns, entries, index)
}

/// Adds a weight times the two ends of each column. A part of a sum that leaves 128 bits says that the sum of magnitudes does.
#[inline]
fn add(sums: &mut [(i128, i128)], weight: i64, (lower, upper): (&[i64], &[i64])) -> Option<()> {
    // A row is as long as the table has columns.
    for ((low, high), (&lower, &upper)) in sums.iter_mut().zip(lower.iter().zip(upper)) {
        *low = low.checked_add(mul(weight, lower))?;
        *high = high.checked_add(mul(weight, upper))?;
    }
    Some(())
}

/// `weight_error * sum_j |x_jk|` per column, which pays for weights cut off at the grid.
fn product_slack(layer: &GridLayer, table: &Table<Interval>, index: usize) -> Result<Vec<i128>, Fault> {
    let mut sums = vec![0i128; table.columns()];
    for row in table.rows() {
        // A row is as long as the table has columns; fewer than 2^62 terms of at most 2^63.
        for (sum, &ends) in sums.iter_mut().zip(row) {
            *sum = sum.wrapping_add(magnitude(ends).into());
        }
    }
    sums.into_iter().map(|sum| (Wide::from(sum) * layer.weight_error).get().within(index)).collect()
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
/// product of slopes and weights with the change of the input, evaluated in interval arithmetic. A fold over the layers.
///
/// # Errors
/// [`Fault`].
pub fn band_bounds(
    band: &BandNetwork,
    table: &TanhTable,
    input: &InputSet,
    crown: bool,
) -> Result<BandBounds, Fault> {
    let change = change_set(input)?;
    let mut layers = zip_exact(&band.loosest.layers, &band.free, 0)?.enumerate();
    let last = layers.try_fold(start(band, input, crown), |state, (index, (layer, free))| {
        step(band, table, &change, state, (index, layer, free))
    })?;
    let rows = last.rows.ok_or(Fault::EmptyNetwork)?;
    let oscillation = oscillation(&band.loosest, &rows, &change, &last.deviation)?;
    Ok(BandBounds { center: last.center, deviation: last.deviation, oscillation })
}

/// What is known of the values that a layer reads.
struct State {
    /// `X`: holds them over ball and band.
    ball: GridBox,
    /// `C`: holds them at the unperturbed state.
    center: GridBox,
    /// `J`: the change of each per change of the input; `None` is the identity.
    rows: Option<Table<Interval>>,
    /// `D`: upper bound on each one's absolute change.
    deviation: Vec<i64>,
    /// The network of changes, for `band.crown`.
    backward: Option<Backward>,
}

fn start(band: &BandNetwork, input: &InputSet, crown: bool) -> State {
    State {
        ball: input.region.clone(),
        center: input.center.clone(),
        rows: None,
        deviation: input.radii.clone(),
        backward: crown.then(|| Backward { network: band.middle.clone(), relaxed: Vec::new() }),
    }
}

fn step(
    band: &BandNetwork,
    table: &TanhTable,
    change: &InputSet,
    below: State,
    (index, layer, free): (usize, &GridLayer, &Table<bool>),
) -> Result<State, Fault> {
    let network = &band.loosest;
    let values = side_by_side(&[&below.ball, &below.center], index)?;
    let pre = product(layer, free, &values, index)?;
    let (ball, center) = (column(&pre, 0, index)?, column(&pre, 1, index)?);
    let biases = GridBox::from_intervals(layer.bias.iter().copied());
    let (ball, center) = (sum(&ball, &biases, index)?, sum(&center, &biases, index)?);
    let rows = match &below.rows {
        Some(rows) => product(layer, free, rows, index)?,
        // The first layer's weights need no product with the identity, which would round them twice.
        None => weights(layer, free, network.coefficient_bits, index)?,
    };
    let reaches = rows.rows().map(|row| reach(network, row, change));
    let mut spread = reaches.collect::<Result<Vec<i64>, _>>()?;
    let mut backward = below.backward;
    if let Some(backward) = &mut backward {
        let rests = band.spread.get(index).shaped(index)?;
        spread = backward.tighten(rests, index, &below.deviation, change, &spread)?;
    }
    let moves = spread.iter().map(|&d| Some((d.checked_neg()?, d))).collect::<Option<Vec<_>>>();
    let moved = sum(&center, &GridBox::from_intervals(moves.within(index)?), index)?;
    let ball = ball.meet(&moved, index)?;
    let slopes = slope_ranges(&layer.activation, table, network.value_bits, &ball, index)?;
    let deviation = zip_exact(&slopes, &spread, index)?.map(|(slope, &d)| slope.reach(d));
    let deviation = deviation.collect::<Option<Vec<_>>>().within(index)?;
    if let Some(backward) = &mut backward {
        backward.relaxed.push(relaxed(&slopes, &spread, &below.deviation, index)?);
    }
    let post = |pre| activation(&layer.activation, table, network.value_bits, index, pre);
    Ok(State {
        ball: post(&ball)?,
        center: post(&center)?,
        rows: Some(scale_rows(&rows, &slopes, index)?),
        deviation,
        backward,
    })
}

/// `{ a + b : a in one, b in other }`.
pub(crate) fn sum(one: &GridBox, other: &GridBox, layer: usize) -> Result<GridBox, Fault> {
    one.with(other, layer, |_, (l1, u1), (l2, u2)| l1.checked_add(l2).zip(u1.checked_add(u2)).within(layer))
}

/// The set of input changes: symmetric, with the ball's semi-axes if there are any.
fn change_set(input: &InputSet) -> Result<InputSet, Fault> {
    let symmetric = input.radii.iter().map(|&r| Some((r.checked_neg()?, r))).collect::<Option<Vec<_>>>();
    Ok(InputSet {
        region: GridBox::from_intervals(symmetric.within(0)?),
        center: GridBox::point(input.radii.iter().map(|_| 0)),
        radii: input.radii.clone(),
        ball: input.ball.clone(),
    })
}

/// The largest `|row . change|` over the set of changes, on the value grid.
fn reach(network: &GridNetwork, row: &[Interval], change: &InputSet) -> Result<i64, Fault> {
    let magnitudes = row.iter().map(|&ends| i64::try_from(magnitude(ends)).ok());
    let magnitudes = every(magnitudes).within(0)?;
    let reach = concretize(&magnitudes, 0, change)?;
    Wide::from(reach).ceil(network.coefficient_bits).entry().within(0)
}

/// Row i times any slope of range i.
pub(crate) fn scale_rows(
    table: &Table<Interval>,
    slopes: &[SlopeRange],
    layer: usize,
) -> Result<Table<Interval>, Fault> {
    let mut entries = Vec::with_capacity(table.values().len());
    for (row, slope) in zip_exact(table.rows(), slopes, layer)? {
        for &ends in row {
            entries.push(slope.times(ends).within(layer)?);
        }
    }
    Table::new(table.height(), table.columns(), entries, layer)
}

/// The largest `|change_i - change_j|`: through the difference of the rows, or the two deviations.
fn oscillation(
    network: &GridNetwork,
    rows: &Table<Interval>,
    change: &InputSet,
    deviation: &[i64],
) -> Result<i64, Fault> {
    let depth = network.layers.len();
    let mut largest = 0i64;
    for (first, (one, &one_moves)) in zip_exact(rows.rows(), deviation, depth)?.enumerate() {
        for (other, &other_moves) in zip_exact(rows.rows(), deviation, depth)?.take(first) {
            let apart = zip_exact(one, other, depth)?;
            let apart = apart.map(|(a, b)| Some((a.0.checked_sub(b.1)?, a.1.checked_sub(b.0)?)));
            let apart = every(apart).within(depth)?;
            let both = one_moves.checked_add(other_moves).within(depth)?;
            largest = largest.max(reach(network, &apart, change)?.min(both));
        }
    }
    Ok(largest)
}

/// Rule `band.crown`: the network of changes, `change_l = slope_l (W' change_{l-1})`, relaxed around the middle of the
/// band: `W' = middle + rest` puts `|rest| D` into the bias, `slope = mean + rest` puts `|rest| d` into the lines.
struct Backward {
    /// The middle; the biases of the layers done are those of the changes.
    network: GridNetwork,
    relaxed: Vec<RelaxedLayer>,
}

impl Backward {
    /// Sets the biases of layer `index` from the changes of its inputs and lowers `spread` to the backward bounds.
    fn tighten(
        &mut self,
        rests: &Table<i64>,
        index: usize,
        moved: &[i64],
        change: &InputSet,
        spread: &[i64],
    ) -> Result<Vec<i64>, Fault> {
        let layer = self.network.layers.get_mut(index).shaped(index)?;
        let paid = dots(rests, magnitudes(rests.values()), moved, index)?.into_iter().map(|paid| {
            let paid = paid.ceil(layer.weight_bits);
            (-paid).entry().zip(paid.entry()).within(index)
        });
        layer.bias = paid.collect::<Result<_, _>>()?;
        let magnitude = total(moved.iter().map(|&d| d.into())).get().within(index)?;
        // The set of changes and all errors are symmetric: one side bounds both.
        let targets = (0..spread.len()).map(|neuron| {
            let functional = Functional::of_neuron(&self.network, index, neuron, false, magnitude)?;
            Ok(Target { functional, relaxed: Cow::Borrowed(&self.relaxed), multipliers: None })
        });
        let bounds = upper_bounds(&self.network, index, targets, change)?;
        let tight = zip_exact(spread, bounds, index)?.map(|(&spread, bound)| Ok(spread.min(bound?)));
        tight.collect()
    }
}

/// The layer just bounded, relaxed: `slope * change` within `mean * change -+ rest * spread`.
fn relaxed(
    slopes: &[SlopeRange],
    spread: &[i64],
    inputs: &[i64],
    layer: usize,
) -> Result<RelaxedLayer, Fault> {
    let drop = HULL_SLOPE_BITS.checked_sub(SLOPE_BITS).within(layer)?;
    let neurons = zip_exact(slopes, spread, layer)?.map(|(&SlopeRange { least, largest }, &spread)| {
        let middle = least.checked_add(largest.checked_sub(least)?.checked_shr(1)?)?;
        let slope = middle.checked_shr(drop)?;
        // Cut to the slope grid, the mean may lie below the range.
        let mean = slope.checked_shl(drop)?;
        let rest = largest.abs_diff(mean).max(least.abs_diff(mean));
        let intercept = (Wide::from(spread) * rest).ceil(HULL_SLOPE_BITS).entry()?;
        let lower = Line { slope, intercept: intercept.checked_neg()? };
        Some(Relaxation { upper: Line { slope, intercept }, lower })
    });
    let neurons = every(neurons).within(layer)?;
    let sum = |sizes: &[i64]| total(sizes.iter().map(|&d| d.into())).get().within(layer);
    Ok(RelaxedLayer::new(&neurons, sum(spread)?, sum(inputs)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::GridActivation;

    /// `weights` times a column of `[2^62, 2^62]`, on a grid of weights so coarse that only the sum can be too large.
    fn times(weights: &[i64], free: bool) -> Result<Interval, Fault> {
        let count = weights.len();
        let row = |values| Table::new(1, count, values, 0).unwrap();
        let layer = GridLayer {
            weight: row(weights.to_vec()),
            absolute: row(weights.iter().map(|w| w.abs()).collect()),
            largest: 1 << 62,
            weight_bits: 100,
            weight_error: 0,
            bias: vec![(0, 0)],
            activation: GridActivation::Identity,
        };
        let values = Table::new(count, 1, vec![(1 << 62, 1 << 62); count], 0).unwrap();
        let free = Table::new(1, count, vec![free; count], 0).unwrap();
        Ok(product(&layer, &free, &values, 0)?.values()[0])
    }

    /// Terms of `2^124`: seven fit whatever their signs, eight of them have magnitudes of `2^127` in any order, whether a part
    /// of the sum leaves 128 bits or all cancel.
    #[test]
    fn products_are_refused_by_the_size_of_their_sum() {
        let (up, down, step) = (1i64 << 62, -(1i64 << 62), 1 << 24);
        assert_eq!(times(&[up; 7], false), Ok((7 * step, 7 * step)));
        assert_eq!(times(&[down, up, down, up, down], false), Ok((-step, -step)));
        assert_eq!(times(&[down, up, down, up, down], true), Ok((-3 * step, 2 * step)));
        for weights in [
            [up; 8],
            [down; 8],
            [up, up, up, up, down, down, down, down],
            [up, down, up, down, up, down, up, down],
        ] {
            assert_eq!(times(&weights, false), Err(Fault::Overflow { layer: 0 }), "{weights:?}");
        }
    }

    /// Floors of 5, -5 and 5 steps with a step of error, and a 0 that is exact; all but the last but one are free.
    #[test]
    fn the_spread_holds_the_error_of_floors() {
        let row = |values| Table::new(1, 4, values, 0).unwrap();
        let mut layer = GridLayer {
            weight: row(vec![5, -5, 5, 0]),
            absolute: row(vec![6, 5, 6, 0]),
            largest: 6,
            weight_bits: 8,
            weight_error: 1,
            bias: vec![(0, 0)],
            activation: GridActivation::Identity,
        };
        let spread = move_to_middle(&mut layer, &[true, true, false, true], 0).unwrap();
        assert_eq!(layer.weight.values(), [2, -3, 5, 0]);
        // 5 is 3 from 2 and -5 is 2 from -3, whose 0 is 3 away; a step more for what the floor left out.
        assert_eq!(spread.values(), [4, 4, 1, 0]);
        assert_eq!(layer.weight_error, 0);
    }
}
