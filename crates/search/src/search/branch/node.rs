//! One region of a search by branching: close it, or say how to cut it. Untrusted. `spec/rules/README.md`.

use crate::bound::crown::{CrownScratch, FloatSplit, Objectives, bound_crown_split, reach_with_slack};
use crate::bound::kernel::{PANEL, dispatch};
use crate::bound::relax::lines;
use crate::bound::{FloatBounds, FloatRegion};
use crate::float::FloatActivation;
use crate::search::slopes::SlopeOptions;
use crate::search::slopes::options::Column;
use crate::search::slopes::panel::{Panel, PanelScratch};
use crate::search::slopes::state::LayerContext;
use crate::search::slopes::witness::{FixedSlopes, SLOPE_DENOMINATOR, TargetSlopes};

use super::combine::search_shares;
use super::given::GivenEvidence;
use super::point::FloatConstraint;
use super::problem::{AUTO_INPUTS, BranchOptions, BranchProblem, SplitRule};
use super::tree::{Cut, LeafSlopes, Place, SplitLeaf};

/// Gradient steps on the slopes and multipliers of a region.
const RATE: f64 = 0.4;
const DECAY: f64 = 0.85;

/// Largest multiplier that [`Node::raised`] stores; four bytes hold it.
const MOST_MULTIPLIER: f64 = 65_535.0;
/// How often [`Node::raised`] doubles its multipliers.
const RAISES: u32 = 4;
/// How many sums of constraints are tried over the whole box.
const COMBINATIONS: usize = 8;

/// What became of a region.
pub(super) enum Verdict {
    /// Proved.
    Closed(SplitLeaf),
    /// To be cut.
    Cut {
        /// Best bound of the best constraint.
        bound: f64,
        /// How.
        cut: Cut,
        /// A point of the region and the largest constraint there, in floats.
        point: (Vec<f64>, f64),
    },
    /// Too small to be cut.
    Stuck {
        /// Best bound of the best constraint.
        bound: f64,
    },
}

/// Buffers that survive from region to region.
#[derive(Default)]
pub(super) struct NodeScratch {
    crown: CrownScratch,
    panel: PanelScratch,
}

/// What a column bounds.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    /// A constraint.
    Constraint(u32),
    /// The mean of the constraints in these parts.
    Combination(Vec<u32>),
    /// Nothing: no weights, and the threshold as constant. It exceeds the threshold only where the multipliers add the signs
    /// up to a contradiction. The last one; absent in a region without signs.
    Signs,
}

/// The constraints of a problem as columns over the outputs.
struct Columns {
    asked: Vec<Asked>,
    weight: Vec<f64>,
    constant: Vec<f64>,
    columns: Vec<Column>,
    /// Largest of the constraints' coefficients and right-hand sides.
    size: f64,
    /// The column of [`Asked::Signs`].
    empty: Option<u32>,
}

impl Columns {
    /// The weights of a column, one an output.
    fn weights(&self, row: u32) -> Vec<f64> {
        self.weight.chunks_exact(self.constant.len()).map(|w| w[row as usize]).collect()
    }
}

/// Bounds the constraints over a region whose parent had the bound `inherited`; closes it if one exceeds `threshold`.
pub(super) fn bound_node(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    place: &Place,
    inherited: f64,
    threshold: f64,
    scratch: &mut NodeScratch,
) -> Verdict {
    match Node::new(problem, options, place, threshold, scratch) {
        Ok(node) => node.decide(inherited, scratch),
        Err(split) => Verdict::Closed(SplitLeaf::Empty { layer: split.layer, neuron: split.neuron }),
    }
}

/// A region's bound on the only constraint of a problem, and how to go on.
pub(super) struct Bounded {
    /// Least value of the constraint that is proved; infinite for an empty region.
    pub bound: f64,
    /// What proves it; `None` if the default slopes do.
    pub leaf: Option<LeafTable>,
    /// How to cut the region; `None` if it is too small or empty.
    pub cut: Option<Cut>,
    /// A point of the region and the constraint's value there, in floats.
    pub point: (Vec<f64>, f64),
}

/// Slopes of the neurons whose lines are not exact, and multipliers, rounded to units of 1/65536.
pub(super) struct LeafTable {
    /// Per layer: neuron, slope below, slope above.
    pub slopes: Vec<Vec<(u32, f64, f64)>>,
    /// Layer, neuron, multiplier.
    pub multipliers: Vec<(u32, u32, f64)>,
}

/// Bounds the only constraint over a region as well as it can, or until it exceeds `enough`.
pub(super) fn bound_region(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    place: &Place,
    enough: f64,
    scratch: &mut NodeScratch,
) -> Bounded {
    match Node::new(problem, options, place, enough, scratch) {
        Ok(node) => node.bound(scratch),
        Err(_) => Bounded { bound: f64::INFINITY, leaf: None, cut: None, point: (Vec::new(), f64::INFINITY) },
    }
}

/// The leaf of a region that slopes and multipliers which came with it prove, once rounded.
pub(super) fn close_with(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    place: &Place,
    given: &GivenEvidence,
    scratch: &mut NodeScratch,
) -> Option<SplitLeaf> {
    let node = match Node::new(problem, options, place, 0.0, scratch) {
        Ok(node) => node,
        Err(split) => return Some(SplitLeaf::Empty { layer: split.layer, neuron: split.neuron }),
    };
    let columns = node.columns_of(vec![Asked::Constraint(given.constraint)]);
    let column = vec![Column { row: 0, upper: false }];
    let mut target = TargetSlopes::empty(node.layers.len(), column, &node.layers);
    let unit = |v: f64| v / f64::from(SLOPE_DENOMINATOR);
    for (table, rows) in [
        (&mut target.lower_slope, &given.slopes.lower_slope),
        (&mut target.upper_slope, &given.slopes.upper_slope),
    ] {
        for (entries, row) in table.iter_mut().zip(rows).filter(|(entries, row)| entries.len() == row.len()) {
            entries.iter_mut().zip(row).for_each(|(entry, v)| *entry = unit(f64::from(*v)));
        }
    }
    for (entries, row) in target.multipliers.iter_mut().zip(&given.slopes.multipliers) {
        entries.iter_mut().zip(row).for_each(|(entry, v)| *entry = unit(f64::from(*v)));
    }
    let value = node.value(&target, &columns.weights(0), columns.constant[0]);
    let constraint = given.constraint;
    (value > 0.5 * options.margin * columns.size)
        .then(|| SplitLeaf::Constraint { constraint, slopes: Some(in_units(&target)) })
}

/// Slopes and multipliers in the units of a proof.
fn in_units(target: &TargetSlopes) -> LeafSlopes {
    let units = |v: &f64| v * f64::from(SLOPE_DENOMINATOR);
    let slopes = |table: &[Vec<f64>]| {
        let slope = |v: &f64| units(v).round() as i32;
        table.iter().map(|row| row.iter().map(slope).collect()).collect()
    };
    let multiplier = |v: &f64| units(v).clamp(0.0, f64::from(u32::MAX)) as u32;
    LeafSlopes {
        lower_slope: slopes(&target.lower_slope),
        upper_slope: slopes(&target.upper_slope),
        multipliers: target.multipliers.iter().map(|row| row.iter().map(multiplier).collect()).collect(),
    }
}

/// How many parts there are.
fn total(parts: &[u32]) -> f64 {
    parts.iter().map(|n| f64::from(*n)).sum()
}

struct Node<'a> {
    problem: &'a BranchProblem<'a>,
    options: &'a BranchOptions,
    threshold: f64,
    place: &'a Place,
    region: FloatRegion,
    pre: Vec<FloatBounds>,
    layers: Vec<LayerContext>,
}

impl<'a> Node<'a> {
    fn new(
        problem: &'a BranchProblem<'a>,
        options: &'a BranchOptions,
        place: &'a Place,
        threshold: f64,
        scratch: &mut NodeScratch,
    ) -> Result<Self, FloatSplit> {
        let network = problem.network;
        let region = FloatRegion::between(&place.lower, &place.upper);
        let pre = bound_crown_split(network, &region, &place.splits, &mut scratch.crown)?.pre;
        let layers: Vec<LayerContext> = (0u32..)
            .zip(network.layers.iter().zip(&pre))
            .map(|(index, (layer, pre))| {
                let mut signs = Vec::new();
                for split in place.splits.iter().filter(|s| s.layer == index) {
                    signs.resize(layer.outputs, 0i8);
                    signs[split.neuron as usize] = if split.positive { 1 } else { -1 };
                }
                LayerContext::new(layer.activation, pre, &signs)
            })
            .collect();
        Ok(Self { problem, options, threshold, place, region, pre, layers })
    }

    /// The better of default and own slopes.
    fn bound(&self, scratch: &mut NodeScratch) -> Bounded {
        let columns = self.columns(None);
        let chunk = &columns.columns[..];
        let [derived, ..] = self.bound_chunk(&columns, chunk, 0, self.threshold, scratch);
        let mut found = (derived, None);
        if derived < self.threshold && self.options.gradient_steps > 0 {
            let steps = self.options.gradient_steps;
            let [_, empty, ..] = self.bound_chunk(&columns, chunk, steps, self.threshold, scratch);
            let own = self.rounded(&columns, 0, 0, &scratch.panel, 1.0);
            let raised = (columns.empty.is_some() && empty > self.threshold)
                .then(|| self.raised(&columns, 1, &scratch.panel))
                .flatten();
            for (value, target) in [Some(own), raised].into_iter().flatten() {
                if value > found.0 {
                    found = (value, Some(self.table(&target)));
                }
            }
        }
        let cut = self.choose(0, &scratch.panel);
        Bounded { bound: found.0, leaf: found.1, cut, point: self.point(0, &scratch.panel) }
    }

    fn table(&self, target: &TargetSlopes) -> LeafTable {
        let mut table = LeafTable { slopes: Vec::new(), multipliers: Vec::new() };
        for (layer, context) in self.layers.iter().enumerate() {
            let (below, above) = (&target.lower_slope[layer], &target.upper_slope[layer]);
            let mut loose = context.lines.loose.clone();
            loose.sort_unstable();
            let slopes = loose.iter().map(|n| (*n, below[*n as usize], above[*n as usize]));
            table.slopes.push(slopes.collect());
            let values = (0u32..).zip(&target.multipliers[layer]).filter(|(_, value)| **value > 0.0);
            table.multipliers.extend(values.map(|(neuron, value)| (layer as u32, neuron, *value)));
        }
        table
    }

    fn decide(&self, inherited: f64, scratch: &mut NodeScratch) -> Verdict {
        let mut columns = self.columns(None);
        let enough = self.threshold + self.options.margin * columns.size;
        let (mut best, mut best_column) = (f64::NEG_INFINITY, 0);
        let several = self.problem.constraints.len() > 1;
        let mut seen = Vec::new();
        for steps in [0, self.options.gradient_steps] {
            if let Some(parts) = search_shares(&self.problem.constraints, &seen) {
                columns = self.columns(Some(parts));
            }
            for chunk in columns.columns.chunks(PANEL) {
                let values = self.bound_chunk(&columns, chunk, steps, enough, scratch);
                if several && steps == 0 {
                    seen.extend((0..chunk.len()).map(|lane| self.outputs(lane, &scratch.panel)));
                }
                let found = values.into_iter().zip(chunk).map(|(v, c)| (v, c.row));
                for (lane, (value, row)) in found.enumerate() {
                    if columns.empty == Some(row) {
                        if value > self.threshold
                            && let Some(leaf) = self.close_empty(&columns, lane, &scratch.panel)
                        {
                            return Verdict::Closed(leaf);
                        }
                        continue;
                    }
                    if value > enough
                        && let Some(leaf) = self.close(&columns, row, lane, steps > 0, &scratch.panel)
                    {
                        return Verdict::Closed(leaf);
                    }
                    if value > best {
                        (best, best_column) = (value, lane);
                    }
                }
            }
            if self.options.gradient_steps == 0 {
                break;
            }
        }
        let bound = best.max(inherited);
        let cut = self.choose(best_column, &scratch.panel);
        let point = self.point(best_column, &scratch.panel);
        if self.place.is_root()
            && let Some(leaf) = self.refute_sum(&mut seen, scratch)
        {
            return Verdict::Closed(leaf);
        }
        match cut {
            Some(cut) => Verdict::Cut { bound, cut, point },
            None => Verdict::Stuck { bound },
        }
    }

    /// A leaf for some sum of the constraints; each sum that is not refuted adds the outputs that its bound points to.
    fn refute_sum(&self, seen: &mut Vec<Vec<f64>>, scratch: &mut NodeScratch) -> Option<SplitLeaf> {
        for _ in 0..COMBINATIONS {
            let parts = search_shares(&self.problem.constraints, seen)?;
            let columns = self.columns_of(vec![Asked::Combination(parts)]);
            let enough = self.threshold + self.options.margin * columns.size;
            for steps in [0, self.options.gradient_steps] {
                let [value, ..] = self.bound_chunk(&columns, &columns.columns, steps, enough, scratch);
                if value > enough
                    && let Some(leaf) = self.close(&columns, 0, 0, steps > 0, &scratch.panel)
                {
                    return Some(leaf);
                }
            }
            seen.push(self.outputs(0, &scratch.panel));
        }
        None
    }

    /// The network's outputs where a column's best bound is attained.
    fn outputs(&self, lane: usize, scratch: &PanelScratch) -> Vec<f64> {
        self.problem.network.forward(&scratch.best_point(lane).collect::<Vec<f64>>())
    }

    /// Every constraint, a mean of them if given, and the signs.
    fn columns(&self, parts: Option<Vec<u32>>) -> Columns {
        let signed = self.options.contradictions && !self.place.splits.is_empty();
        let constraints = (0u32..).take(self.problem.constraints.len()).map(Asked::Constraint);
        let asked = constraints.chain(parts.map(Asked::Combination)).chain(signed.then_some(Asked::Signs));
        self.columns_of(asked.collect())
    }

    fn columns_of(&self, asked: Vec<Asked>) -> Columns {
        let constraints = &self.problem.constraints;
        let (outputs, count) = (self.problem.network.outputs(), asked.len());
        let mut weight = vec![0.0; outputs * count];
        let mut constant = vec![0.0; count];
        for (column, asked) in asked.iter().enumerate() {
            let mut add = |constraint: &FloatConstraint, share: f64| {
                for (o, c) in constraint.coefficients.iter().enumerate() {
                    weight[o * count + column] += share * c;
                }
                constant[column] -= share * constraint.bound;
            };
            match asked {
                Asked::Constraint(constraint) => add(&constraints[*constraint as usize], 1.0),
                Asked::Combination(parts) => {
                    let total = total(parts);
                    parts.iter().zip(constraints).for_each(|(n, c)| add(c, f64::from(*n) / total));
                }
                Asked::Signs => constant[column] = self.threshold,
            }
        }
        let numbers = constraints.iter().flat_map(|c| c.coefficients.iter().chain([&c.bound]));
        let size = numbers.fold(0.0, |size: f64, c| size.max(c.abs()));
        let columns = (0u32..).take(count).map(|row| Column { row, upper: false }).collect();
        let empty = (0u32..).zip(&asked).find(|(_, a)| **a == Asked::Signs).map(|(row, _)| row);
        Columns { asked, weight, constant, columns, size, empty }
    }

    fn bound_chunk(
        &self,
        columns: &Columns,
        chunk: &[Column],
        steps: usize,
        enough: f64,
        scratch: &mut NodeScratch,
    ) -> [f64; PANEL] {
        let objectives = Objectives {
            layer: self.problem.network.layers.len() - 1,
            weight: &columns.weight,
            stride: columns.constant.len(),
            constant: &columns.constant,
        };
        let mut values = [f64::NEG_INFINITY; PANEL];
        dispatch(Panel {
            network: self.problem.network,
            region: &self.region,
            reach: &reach_with_slack(&self.region),
            layers: &self.layers,
            objectives: &objectives,
            columns: chunk,
            sizing: chunk.iter().filter(|c| columns.empty != Some(c.row)).count(),
            steps,
            options: &SlopeOptions { hidden_steps: 0, output_steps: steps, rate: RATE, decay: DECAY },
            enough: enough + self.options.margin * columns.size,
            scratch: &mut scratch.panel,
            values: &mut values,
        });
        values
    }

    /// The leaf, if its slopes still prove the constraint once rounded.
    fn close(
        &self,
        columns: &Columns,
        row: u32,
        lane: usize,
        own_slopes: bool,
        scratch: &PanelScratch,
    ) -> Option<SplitLeaf> {
        let asked = &columns.asked[row as usize];
        let slopes = if own_slopes {
            // The checker bounds the sum, not the mean, so that signs are worth as many times more.
            let times = if let Asked::Combination(parts) = asked { total(parts) } else { 1.0 };
            let (value, target) = self.rounded(columns, row, lane, scratch, times);
            let goal = self.threshold + 0.5 * self.options.margin * columns.size;
            (value > times * goal).then(|| Some(in_units(&target)))?
        } else {
            None
        };
        match asked {
            Asked::Constraint(constraint) => Some(SplitLeaf::Constraint { constraint: *constraint, slopes }),
            Asked::Combination(parts) => Some(SplitLeaf::Combination { multipliers: parts.clone(), slopes }),
            Asked::Signs => None,
        }
    }

    /// The leaf of an empty region, if its multipliers, of which the largest becomes 1, still add the signs up to a
    /// contradiction once rounded.
    fn close_empty(&self, columns: &Columns, lane: usize, scratch: &PanelScratch) -> Option<SplitLeaf> {
        let mut target = self.target(columns.empty?, lane, scratch);
        let (largest, reach) = self.multiplied(&target);
        if largest <= 0.0 {
            return None;
        }
        target.multipliers.iter_mut().flatten().for_each(|m| *m /= largest);
        target.quantise();
        let gap = self.value(&target, &vec![0.0; self.problem.network.outputs()], 0.0);
        (gap > self.options.margin * reach).then(|| SplitLeaf::Farkas { slopes: in_units(&target) })
    }

    /// The largest multiplier, and the largest magnitude of a neuron that has one.
    fn multiplied(&self, target: &TargetSlopes) -> (f64, f64) {
        let (mut largest, mut reach) = (0.0f64, 0.0f64);
        for (table, pre) in target.multipliers.iter().zip(&self.pre) {
            for (value, (l, u)) in table.iter().zip(pre.lower.iter().zip(&pre.upper)) {
                if *value > 0.0 {
                    largest = largest.max(*value);
                    reach = reach.max(l.abs().max(u.abs()));
                }
            }
        }
        (largest, reach)
    }

    /// Slopes and multipliers of an empty region for the first constraint: multiples of those that show it empty raise the
    /// bound without end, here above the threshold. The bound and they, rounded; `None` if they do not get there.
    fn raised(&self, columns: &Columns, lane: usize, scratch: &PanelScratch) -> Option<(f64, TargetSlopes)> {
        let found = self.target(columns.empty?, lane, scratch);
        let weights = columns.weights(0);
        let goal = self.threshold + self.options.margin * columns.size;
        let scaled = |times: f64| {
            let mut target = found.clone();
            target.multipliers.iter_mut().flatten().for_each(|m| *m = (*m * times).min(MOST_MULTIPLIER));
            target.quantise();
            (self.value(&target, &weights, columns.constant[0]), target)
        };
        let gap = self.value(&found, &vec![0.0; weights.len()], 0.0);
        let times = (goal - scaled(0.0).0) / gap;
        let tried = (0..RAISES).map(|doubled| scaled(1.01 * times * f64::from(1u32 << doubled)));
        tried.filter(|_| gap > 0.0).find(|(value, _)| *value > goal)
    }

    /// The slopes found, rounded as they are stored, and the bound they give of `times` the column.
    fn rounded(
        &self,
        columns: &Columns,
        row: u32,
        lane: usize,
        scratch: &PanelScratch,
        times: f64,
    ) -> (f64, TargetSlopes) {
        let mut target = self.target(row, lane, scratch);
        target.multipliers.iter_mut().flatten().for_each(|m| *m *= times);
        target.quantise();
        let weights: Vec<f64> = columns.weights(row).iter().map(|w| times * w).collect();
        (self.value(&target, &weights, times * columns.constant[row as usize]), target)
    }

    /// The slopes found for a column.
    fn target(&self, row: u32, lane: usize, scratch: &PanelScratch) -> TargetSlopes {
        let column = vec![Column { row, upper: false }];
        let mut target = TargetSlopes::empty(self.layers.len(), column, &self.layers);
        target.fill_column(0, lane, &self.layers, scratch);
        target
    }

    /// The bound that slopes and multipliers give of `weights . outputs + constant`.
    fn value(&self, target: &TargetSlopes, weights: &[f64], constant: f64) -> f64 {
        let fixed = FixedSlopes {
            network: self.problem.network,
            region: &self.region,
            pre: &self.pre,
            splits: &self.place.splits,
            target,
            place: 0,
        };
        fixed.bound(weights.to_vec(), constant)
    }

    /// Of the point that attains the best bound and the middle, the one with the smaller largest constraint.
    fn point(&self, lane: usize, scratch: &PanelScratch) -> (Vec<f64>, f64) {
        let (lower, upper) = &self.problem.inner;
        let value = |mut x: Vec<f64>| {
            x.iter_mut().zip(lower.iter().zip(upper)).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
            let outputs = self.problem.network.forward(&x);
            let values = self.problem.constraints.iter().map(|c| c.value(&outputs));
            let largest = values.fold(f64::NEG_INFINITY, f64::max);
            (x, largest)
        };
        let attaining = value(scratch.best_point(lane).collect());
        let middle = value(self.region.center().to_vec());
        if attaining.1 <= middle.1 { attaining } else { middle }
    }

    fn choose(&self, lane: usize, scratch: &PanelScratch) -> Option<Cut> {
        let network = self.problem.network;
        // Tanh and sigmoid are cut by input, however many there are.
        let signed = |a: FloatActivation| {
            a.is_piecewise_linear() || matches!(a, FloatActivation::Elu(_) | FloatActivation::Silu)
        };
        let by_sign = match self.options.rule {
            SplitRule::Input => false,
            SplitRule::Relu => true,
            SplitRule::Auto | SplitRule::Loss => {
                network.inputs() > AUTO_INPUTS && network.layers.iter().all(|l| signed(l.activation))
            }
        };
        let sign = by_sign.then(|| self.choose_sign(lane, scratch)).flatten();
        sign.or_else(|| self.choose_input(lane, scratch))
    }

    /// Per input, what the bound loses at neurons whose lines are apart, in proportion to the input's share in the width
    /// of the neuron.
    fn losses(&self, lane: usize, scratch: &PanelScratch) -> Vec<f64> {
        let network = self.problem.network;
        let inputs = network.inputs();
        let mut losses = vec![0.0; inputs];
        // How far each input reaches: absolute weights along all paths, one row of inputs a neuron.
        let mut reach: Vec<f64> = Vec::new();
        for (index, (layer, (context, pre))) in
            network.layers.iter().zip(self.layers.iter().zip(&self.pre)).enumerate()
        {
            let mut next = vec![0.0; layer.outputs * inputs];
            for (row, weights) in next.chunks_exact_mut(inputs).zip(layer.weight.chunks_exact(layer.inputs)) {
                if index == 0 {
                    row.iter_mut().zip(weights).for_each(|(r, w)| *r = w.abs());
                    continue;
                }
                for (below, weight) in reach.chunks_exact(inputs).zip(weights).filter(|(_, w)| **w != 0.0) {
                    row.iter_mut().zip(below).for_each(|(r, b)| *r += weight.abs() * b);
                }
            }
            reach = next;
            for (neuron, row) in reach.chunks_exact_mut(inputs).enumerate() {
                let line = &context.lines.lines[neuron];
                let (l, u) = (pre.lower[neuron], pre.upper[neuron]);
                let middle = 0.5 * (l + u);
                let apart = (line.upper_slope - line.lower_slope) * middle + line.upper_intercept
                    - line.lower_intercept;
                if u > l && apart > 0.0 {
                    let share = scratch.coefficient(index, neuron, lane).abs() * apart / (u - l);
                    losses.iter_mut().zip(row.iter()).for_each(|(loss, r)| *loss += share * r);
                }
                row.iter_mut().for_each(|r| *r *= line.upper_slope.abs());
            }
        }
        losses
    }

    /// The input whose interval the bound depends on most.
    fn choose_input(&self, lane: usize, scratch: &PanelScratch) -> Option<Cut> {
        let weights: Vec<f64> = match self.options.rule {
            SplitRule::Loss => self.losses(lane, scratch),
            _ => scratch.input_coefficients(lane).collect(),
        };
        self.place.halved(&self.problem.inner, &weights)
    }

    /// The undecided neuron whose lines lose most in the bound: of a ReLU, or of a curve what its lines on both sides of 0
    /// would give back.
    fn choose_sign(&self, lane: usize, scratch: &PanelScratch) -> Option<Cut> {
        let mut best = (0.0, None);
        for (layer, (context, pre)) in self.layers.iter().zip(&self.pre).enumerate() {
            let curve = match self.problem.network.layers[layer].activation {
                FloatActivation::Elu(_) | FloatActivation::Silu => true,
                _ if context.is_hinge() => false,
                _ => continue,
            };
            for neuron in &context.lines.loose {
                let (l, u) = (pre.lower[*neuron as usize], pre.upper[*neuron as usize]);
                if l >= 0.0 || u <= 0.0 {
                    continue;
                }
                let c = scratch.coefficient(layer, *neuron as usize, lane);
                let score = if curve {
                    c.abs() * regained(self.problem.network.layers[layer].activation, l, u, c > 0.0)
                } else {
                    let gap = -l * u / (u - l);
                    if c < 0.0 { -c * gap } else { 0.5 * c * gap }
                };
                if score > best.0 {
                    best = (score, Some(Cut::Relu { layer: layer as u32, neuron: *neuron }));
                }
            }
        }
        best.1
    }
}

/// How much nearer to a curve, on the mean over `[l, u]`, its default lines below (or above) are on both sides of 0 than over
/// the whole interval.
fn regained(activation: FloatActivation, l: f64, u: f64, below: bool) -> f64 {
    // A line's mean is its value at the middle.
    let area = |l: f64, u: f64| {
        let (found, middle) = (lines(activation, l, u), 0.5 * (l + u));
        let height = if below {
            found.lower_slope * middle + found.lower_intercept
        } else {
            -found.upper_slope * middle - found.upper_intercept
        };
        (u - l) * height
    };
    (area(l, 0.0) + area(0.0, u) - area(l, u)) / (u - l)
}
