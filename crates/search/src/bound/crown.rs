//! Backward linear bounds (CROWN) of every pre-activation and output, met with interval bounds. Untrusted; the checker
//! recomputes them from the slopes. `spec/rules/README.md`.
//!
//! Every bound is a minimum: the upper bound of a quantity is minus the lower bound of its negative. Sixteen quantities
//! at a time are followed from their layer to the input.

use rayon::prelude::*;

use crate::bound::kernel::{Lane, PANEL, Product, Work, add_scaled, dispatch};
use crate::bound::relax::LayerLines;
use crate::bound::{FloatBounds, FloatRegion, SLACK, ibp};
use crate::float::{FloatActivation, FloatLayer, FloatNetwork};

/// Bounds of a network over a region.
#[derive(Clone, Debug, PartialEq)]
pub struct CrownBounds {
    /// Per layer, bounds of its pre-activations; a piecewise linear neuron that intervals already fix keeps those.
    pub pre: Vec<FloatBounds>,
    /// Bounds of the outputs.
    pub output: FloatBounds,
}

/// Buffers that survive from one state to the next.
#[derive(Clone, Debug, Default)]
pub struct CrownScratch {
    lines: Vec<LayerLines>,
    rows: Vec<u32>,
    reach: Vec<f64>,
    packed: Vec<Lane>,
    below: Vec<Lane>,
    above: Vec<Lane>,
    next: Vec<Lane>,
}

/// Linear functions of the activations after layer `layer`: column `r` is `sum_k weight[k][r] * post[k] + constant[r]`.
#[derive(Clone, Copy, Debug)]
pub struct Objectives<'a> {
    /// The layer whose activations they read.
    pub layer: usize,
    /// Row-major, one row per neuron of that layer, `stride` columns.
    pub weight: &'a [f64],
    /// Columns of `weight`.
    pub stride: usize,
    /// One constant per column.
    pub constant: &'a [f64],
}

/// Bounds every pre-activation and output over `region` with the default slopes of [`crate::bound::relax::lines`].
///
/// Approximate: computed in `f64` and widened by 2^-44 of the magnitudes involved.
pub fn bound_crown(network: &FloatNetwork, region: &FloatRegion, scratch: &mut CrownScratch) -> CrownBounds {
    match bound_crown_split(network, region, &[], scratch) {
        Ok(bounds) => bounds,
        Err(_) => CrownBounds { pre: Vec::new(), output: FloatBounds::default() },
    }
}

/// The sign that a pre-activation was split to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FloatSplit {
    /// Index of the layer.
    pub layer: u32,
    /// Index of the neuron.
    pub neuron: u32,
    /// `z >= 0` if true, `z <= 0` if false.
    pub positive: bool,
}

/// [`bound_crown`] over those inputs of the region whose pre-activations have the given signs.
///
/// # Errors
/// The first split that no input of the region can have, if that shows.
pub fn bound_crown_split(
    network: &FloatNetwork,
    region: &FloatRegion,
    splits: &[FloatSplit],
    scratch: &mut CrownScratch,
) -> Result<CrownBounds, FloatSplit> {
    scratch.lines.resize_with(network.layers.len(), LayerLines::default);
    let mut pre: Vec<FloatBounds> = Vec::with_capacity(network.layers.len());
    for (index, layer) in network.layers.iter().enumerate() {
        let last = pre.last().zip(index.checked_sub(1).and_then(|i| network.layers.get(i)));
        let Some((last, previous)) = last else {
            let mut bounds = ibp::bound_first(layer, region);
            clamp(index, splits, &mut bounds)?;
            pre.push(bounds);
            continue;
        };
        let mut bounds = ibp::bound_next(previous, layer, last);
        scratch.lines[index - 1].set(previous.activation, last);
        let mut rows = std::mem::take(&mut scratch.rows);
        rows.clear();
        rows.extend(
            (0u32..)
                .zip(bounds.lower.iter().zip(&bounds.upper))
                .filter_map(|(r, (l, u))| (!is_fixed(layer.activation, *l, *u)).then_some(r)),
        );
        let objectives = Objectives {
            layer: index - 1,
            weight: &layer.transposed,
            stride: layer.outputs,
            constant: &layer.bias,
        };
        bound_columns(network, region, &objectives, &rows, scratch, &mut bounds);
        scratch.rows = rows;
        clamp(index, splits, &mut bounds)?;
        pre.push(bounds);
    }
    let mut output = pre.last().cloned().unwrap_or_default();
    if let Some(last) = network.layers.last() {
        output = output.through(last.activation);
    }
    Ok(CrownBounds { pre, output })
}

/// Meets the bounds of a layer with the signs its neurons were split to.
fn clamp(layer: usize, splits: &[FloatSplit], bounds: &mut FloatBounds) -> Result<(), FloatSplit> {
    for split in splits.iter().filter(|s| s.layer as usize == layer) {
        let neuron = split.neuron as usize;
        let (lower, upper) = (&mut bounds.lower[neuron], &mut bounds.upper[neuron]);
        if split.positive {
            *lower = lower.max(0.0);
        } else {
            *upper = upper.min(0.0);
        }
        if *lower > *upper {
            return Err(*split);
        }
    }
    Ok(())
}

/// [`bound_crown`] for many regions, in order, on all threads of the pool; each region is bounded on one thread, so the
/// numbers do not depend on how many there are.
pub fn bound_crown_all(network: &FloatNetwork, regions: &[FloatRegion]) -> Vec<CrownBounds> {
    let bound = |scratch: &mut CrownScratch, region: &FloatRegion| bound_crown(network, region, scratch);
    regions.par_iter().map_init(CrownScratch::default, bound).collect()
}

/// Bounds linear functions of the outputs, given bounds of every pre-activation: `weight` is row-major m x outputs.
pub fn bound_objectives(
    network: &FloatNetwork,
    region: &FloatRegion,
    pre: &[FloatBounds],
    weight: &[f64],
    constant: &[f64],
    scratch: &mut CrownScratch,
) -> FloatBounds {
    let (outputs, count) = (network.outputs(), constant.len());
    scratch.lines.resize_with(network.layers.len(), LayerLines::default);
    for ((lines, layer), bounds) in scratch.lines.iter_mut().zip(&network.layers).zip(pre) {
        lines.set(layer.activation, bounds);
    }
    let mut transposed = vec![0.0; weight.len()];
    for (r, row) in weight.chunks_exact(outputs).enumerate() {
        row.iter().enumerate().for_each(|(o, w)| transposed[o * count + r] = *w);
    }
    let layer = network.layers.len() - 1;
    let objectives = Objectives { layer, weight: &transposed, stride: count, constant };
    let rows: Vec<u32> = (0u32..).take(count).collect();
    let mut bounds = FloatBounds { lower: vec![f64::NEG_INFINITY; count], upper: vec![f64::INFINITY; count] };
    bound_columns(network, region, &objectives, &rows, scratch, &mut bounds);
    bounds
}

/// Whether an interval already decides which straight piece a neuron is on.
pub fn is_fixed(activation: FloatActivation, lower: f64, upper: f64) -> bool {
    match activation {
        FloatActivation::Relu | FloatActivation::LeakyRelu(_) => lower >= 0.0 || upper <= 0.0,
        FloatActivation::Clip(low, high) => upper <= low || lower >= high,
        FloatActivation::Identity
        | FloatActivation::Tanh
        | FloatActivation::Sigmoid
        | FloatActivation::Elu(_)
        | FloatActivation::Silu => false,
    }
}

/// Per coordinate the radius of a box, enlarged against rounding; of a ball only the enlargement.
pub fn reach_with_slack(region: &FloatRegion) -> Vec<f64> {
    let is_box = matches!(region, FloatRegion::Box { .. });
    let reach = region.center().iter().enumerate().map(|(i, c)| {
        let radius = region.reach(i);
        let slack = SLACK * (c.abs() + radius);
        if is_box { radius + slack } else { slack }
    });
    reach.collect()
}

/// Meets the backward bounds of the columns `rows` into `bounds`.
fn bound_columns(
    network: &FloatNetwork,
    region: &FloatRegion,
    objectives: &Objectives<'_>,
    rows: &[u32],
    scratch: &mut CrownScratch,
    bounds: &mut FloatBounds,
) {
    scratch.reach = reach_with_slack(region);
    for rows in rows.chunks(PANEL) {
        let mut values = [[0.0; PANEL]; 2];
        dispatch(Panel { network, region, objectives, rows, scratch, values: &mut values });
        let [below, above] = values;
        for ((row, b), a) in rows.iter().zip(below).zip(above) {
            let (lower, upper) = (&mut bounds.lower[*row as usize], &mut bounds.upper[*row as usize]);
            *lower = lower.max(b);
            *upper = upper.min(-a);
        }
    }
}

/// Up to sixteen columns, followed to the input: `values` receives the minima of the columns and of their negatives.
struct Panel<'a> {
    network: &'a FloatNetwork,
    region: &'a FloatRegion,
    objectives: &'a Objectives<'a>,
    rows: &'a [u32],
    scratch: &'a mut CrownScratch,
    values: &'a mut [Lane; 2],
}

impl Work for Panel<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let CrownScratch { lines, packed, below, above, next, reach, .. } = self.scratch;
        let Objectives { layer: last, weight, stride, constant } = *self.objectives;
        next.clear();
        for row in weight.chunks_exact(stride) {
            next.push(gather(row, self.rows));
        }
        let constant = gather(constant, self.rows);
        let mut sums = [constant, constant.map(|c| -c)];
        let layer = &self.network.layers[last];
        first_step::<FUSED>(layer, &lines[last], next, packed, [&mut *below, &mut *above], &mut sums);
        for (layer, lines) in self.network.layers[..last].iter().zip(&lines[..last]).rev() {
            for (current, sum) in [&mut *below, &mut *above].into_iter().zip(&mut sums) {
                std::mem::swap(current, next);
                zeroed(current, layer.inputs);
                step::<FUSED>(layer, lines, &lines.used, next, 1.0, packed, sum, current);
            }
        }
        for ((current, sum), value) in [below, above].into_iter().zip(&sums).zip(self.values) {
            *value = concretize::<FUSED>(self.region, reach, current, sum);
        }
    }
}

/// The columns of `row` named by `rows` (ascending), 0 beyond their number.
#[inline(always)]
fn gather(row: &[f64], rows: &[u32]) -> Lane {
    let mut lane = [0.0; PANEL];
    let first = rows.first().map_or(0, |r| *r as usize);
    let neighbours = rows.len() == PANEL && rows.last().is_some_and(|r| *r as usize == first + PANEL - 1);
    match row.get(first..first + PANEL) {
        Some(run) if neighbours => lane.copy_from_slice(run),
        _ => lane.iter_mut().zip(rows).for_each(|(l, r)| *l = row[*r as usize]),
    }
    lane
}

#[inline(always)]
fn zeroed(lanes: &mut Vec<Lane>, count: usize) {
    lanes.clear();
    lanes.resize(count, [0.0; PANEL]);
}

/// The step that turns one seed into the pair (column, its negative). What passes neurons without loss is the same for
/// both but for its sign and is multiplied once.
#[inline(always)]
fn first_step<const FUSED: bool>(
    layer: &FloatLayer,
    lines: &LayerLines,
    seed: &[Lane],
    packed: &mut Vec<Lane>,
    [below, above]: [&mut Vec<Lane>; 2],
    sums: &mut [Lane; 2],
) {
    zeroed(below, layer.inputs);
    if layer.sparse.is_some() {
        zeroed(above, layer.inputs);
        step::<FUSED>(layer, lines, &lines.used, seed, 1.0, packed, &mut sums[0], below);
        step::<FUSED>(layer, lines, &lines.used, seed, -1.0, packed, &mut sums[1], above);
        return;
    }
    let mut shared = [0.0; PANEL];
    step::<FUSED>(layer, lines, &lines.exact, seed, 1.0, packed, &mut shared, below);
    above.clear();
    above.extend(below.iter().map(|lane| lane.map(|c| -c)));
    add_scaled::<FUSED>(&mut sums[0], 1.0, &shared);
    add_scaled::<FUSED>(&mut sums[1], -1.0, &shared);
    step::<FUSED>(layer, lines, &lines.loose, seed, 1.0, packed, &mut sums[0], below);
    step::<FUSED>(layer, lines, &lines.loose, seed, -1.0, packed, &mut sums[1], above);
}

/// Puts the lines of the neurons `rows` in place of their activations, then their affine maps: adds to the coefficients
/// `out` of the layer's inputs and to the constants `sum`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // called three times in a row with different buffers; a struct would hide which
fn step<const FUSED: bool>(
    layer: &FloatLayer,
    lines: &LayerLines,
    rows: &[u32],
    source: &[Lane],
    sign: f64,
    packed: &mut Vec<Lane>,
    sum: &mut Lane,
    out: &mut [Lane],
) {
    let sparse = layer.sparse.as_ref();
    packed.clear();
    packed.resize(if sparse.is_some() { layer.outputs } else { rows.len() }, [0.0; PANEL]);
    let mut total = *sum;
    for (place, row) in rows.iter().enumerate() {
        let row = *row as usize;
        let (line, bias) = (&lines.lines[row], layer.bias[row]);
        let target = &mut packed[if sparse.is_some() { row } else { place }];
        for ((t, c), s) in target.iter_mut().zip(&source[row]).zip(&mut total) {
            let c = sign * c;
            let positive = if c > 0.0 { c } else { 0.0 };
            let negative = c - positive;
            let coefficient = positive * line.lower_slope + negative * line.upper_slope;
            *s += coefficient * bias + positive * line.lower_intercept + negative * line.upper_intercept;
            *t = coefficient;
        }
    }
    *sum = total;
    Product { weight: &layer.weight, width: layer.inputs, sparse }.add::<FUSED>(rows, packed, out);
}

/// The least value over the region of each column, less the slack for rounding. `reach` is the radius of a box (enlarged
/// by its own slack), or only the slack of a ball.
#[inline(always)]
pub fn concretize<const FUSED: bool>(
    region: &FloatRegion,
    reach: &[f64],
    coefficients: &[Lane],
    constant: &Lane,
) -> Lane {
    let mut value = constant.map(|c| c - SLACK * c.abs());
    let mut squares = [0.0; PANEL];
    for ((lane, center), reach) in coefficients.iter().zip(region.center()).zip(reach) {
        for ((v, s), c) in value.iter_mut().zip(&mut squares).zip(lane) {
            *v += c * center - c.abs() * reach;
            *s += c * c;
        }
    }
    if let FloatRegion::Ball { radius, .. } = region {
        let radius = radius * (1.0 + SLACK);
        value.iter_mut().zip(&squares).for_each(|(v, s)| *v -= radius * s.sqrt());
    }
    value
}
