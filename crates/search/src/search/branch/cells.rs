//! One tree of input cuts for all outputs at once: the cell where they may move farthest is cut again, until that is near
//! what a point attains or the budget is used up. Untrusted. `spec/rules/split.md#branchcells`.
//!
//! A cell is bounded with default slopes and stores nothing, so that many are cheap. Anytime and resumable; what is found
//! does not depend on the number of threads, because a fixed number of cells is cut at a time and taken in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;
use secateur_checker::reader::trees::{MAX_DEPTH, MAX_NODES};

use crate::bound::crown::{CrownScratch, bound_crown, bound_objectives};
use crate::bound::{FloatBounds, FloatRegion};
use crate::float::{FloatActivation, FloatLayer, FloatNetwork};

use super::range::emit_cut;
use super::tree::{Cut, SplitTree};

/// Cells cut at a time.
const BATCH: usize = 8;
/// Inputs at which a cell is cut on trial; the cut whose halves are the least bad stays.
const TRIALS: usize = 4;

/// What cells are to make small, and of what.
pub struct CellProblem<'a> {
    /// The network.
    pub network: &'a FloatNetwork,
    /// Ends of the inputs.
    pub lower: Vec<f64>,
    /// As many.
    pub upper: Vec<f64>,
    /// The unperturbed outputs.
    pub clean: Vec<f64>,
    /// How much a change of each output counts when a cut is chosen.
    pub weights: Vec<f64>,
    /// Whether the aim reads bounds of the differences of two outputs.
    pub differences: bool,
    /// How far the outputs move at most, given bounds of them, and of their differences in the order of [`pairs`].
    pub aim: &'a (dyn Fn(&FloatBounds, Option<&FloatBounds>) -> f64 + Sync),
}

/// Every ordered difference of two of `outputs` outputs as weights, row-major.
pub fn pairs(outputs: usize) -> Vec<f64> {
    let of = |i: usize, j: usize| (0..outputs).map(move |o| f64::from(o == i) - f64::from(o == j));
    let each = (0..outputs).flat_map(|i| (0..outputs).filter(move |j| *j != i).map(move |j| (i, j)));
    each.flat_map(|(i, j)| of(i, j)).collect()
}

/// A cell that was bounded.
struct Cell {
    bound: f64,
    /// Cuts above it.
    above: usize,
    children: Option<(Cut, [usize; 2])>,
}

/// A cell that may be cut: the worst first, then the older.
struct Waiting {
    bound: f64,
    cell: usize,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound).then(other.cell.cmp(&self.cell))
    }
}

/// Where a search stands.
pub struct CellSearch {
    tree: SplitTree,
    cells: Vec<Cell>,
    waiting: BinaryHeap<Waiting>,
    /// The worst bound of a cell that cannot be cut.
    stuck: f64,
    /// The most that a point was seen to attain, and that point if the search met it.
    attained: (f64, Option<Vec<f64>>),
}

/// A cut with the bounds of its halves and what a point in the cell attains.
struct Halves {
    cut: Cut,
    bounds: [f64; 2],
    met: (f64, Vec<f64>),
}

impl CellSearch {
    /// The whole set as one cell; `attained` is what some point of it is known to attain.
    pub fn new(problem: &CellProblem<'_>, attained: f64) -> Self {
        let bound = problem.bound(&problem.lower, &problem.upper, &mut CrownScratch::default()).0;
        Self {
            tree: SplitTree::default(),
            cells: vec![Cell { bound, above: 0, children: None }],
            waiting: BinaryHeap::from([Waiting { bound, cell: 0 }]),
            stuck: f64::NEG_INFINITY,
            attained: (attained, None),
        }
    }

    /// What the cells prove.
    pub fn bound(&self) -> f64 {
        self.waiting.peek().map_or(f64::NEG_INFINITY, |worst| worst.bound).max(self.stuck)
    }

    /// The most that a point was seen to attain.
    pub fn attained(&self) -> f64 {
        self.attained.0
    }

    /// The point that attains it, if this search met it.
    pub fn point(&self) -> Option<&[f64]> {
        self.attained.1.as_deref()
    }

    /// Whether the worst cell can be cut.
    pub fn is_open(&self) -> bool {
        self.cells.len() + 2 <= MAX_NODES && self.waiting.peek().is_some_and(|worst| worst.bound > self.stuck)
    }

    /// Cells bounded so far.
    pub fn steps(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Cuts cells until `steps` more are bounded, about, or `enough` of the bound and what is attained, or none is left.
    pub fn run(&mut self, problem: &CellProblem<'_>, steps: u64, enough: &(dyn Fn(f64, f64) -> bool + Sync)) {
        let until = self.steps().saturating_add(steps);
        while self.is_open() && self.steps() < until && !enough(self.attained.0, self.bound()) {
            let room = MAX_NODES.saturating_sub(self.cells.len()) / 2;
            let mut chosen = Vec::new();
            while chosen.len() < BATCH.min(room) {
                let Some(worst) = self.waiting.pop() else { break };
                chosen.push(worst);
            }
            let cut = |scratch: &mut CrownScratch, worst: &Waiting| {
                let place = self.tree.place(worst.cell, &problem.lower, &problem.upper);
                let deep = self.cells[worst.cell].above >= MAX_DEPTH;
                if deep { None } else { problem.halve(&place.lower, &place.upper, scratch) }
            };
            let found: Vec<Option<Halves>> = chosen.par_iter().map_init(CrownScratch::default, cut).collect();
            for (worst, halves) in chosen.into_iter().zip(found) {
                let Some(Halves { cut, bounds, met }) = halves else {
                    self.stuck = self.stuck.max(worst.bound);
                    continue;
                };
                if met.0 > self.attained.0 {
                    self.attained = (met.0, Some(met.1));
                }
                let children = self.tree.cut(worst.cell, cut);
                let above = self.cells[worst.cell].above + 1;
                self.cells[worst.cell].children = Some((cut, children));
                for (cell, bound) in children.into_iter().zip(bounds) {
                    self.cells.push(Cell { bound, above, children: None });
                    self.waiting.push(Waiting { bound, cell });
                }
            }
        }
    }

    /// The tree in the layout of the checker's `reader::trees`, without the cuts that did not help.
    pub fn emit(&self) -> Vec<u8> {
        let mut best: Vec<f64> = self.cells.iter().map(|cell| cell.bound).collect();
        for cell in (0..best.len()).rev() {
            if let Some((_, [first, second])) = self.cells[cell].children {
                best[cell] = best[cell].min(best[first].max(best[second]));
            }
        }
        let (mut bytes, mut waiting) = (Vec::new(), vec![0]);
        while let Some(cell) = waiting.pop() {
            match self.cells[cell].children {
                // A cell that is no worse than the worst of all need not be cut either.
                Some((cut, [first, second])) if self.cells[cell].bound > best[0] => {
                    emit_cut(cut, &mut bytes);
                    waiting.extend([second, first]);
                }
                _ => bytes.push(0),
            }
        }
        bytes
    }
}

impl CellProblem<'_> {
    /// How far the outputs move at most over a cell, and the bounds of its layers.
    fn bound(&self, lower: &[f64], upper: &[f64], scratch: &mut CrownScratch) -> (f64, Vec<FloatBounds>) {
        let region = FloatRegion::between(lower, upper);
        let found = bound_crown(self.network, &region, scratch);
        let differences = self.differences.then(|| {
            let weight = pairs(self.clean.len());
            let constant = vec![0.0; weight.len() / self.clean.len()];
            bound_objectives(self.network, &region, &found.pre, &weight, &constant, scratch)
        });
        ((self.aim)(&found.output, differences.as_ref()), found.pre)
    }

    /// How far the outputs move at a point.
    pub fn attained(&self, x: &[f64]) -> f64 {
        let outputs = self.network.forward(x);
        let exact = |values: Vec<f64>| FloatBounds { lower: values.clone(), upper: values };
        let differences = self.differences.then(|| {
            let weight = pairs(outputs.len());
            let rows = weight.chunks_exact(outputs.len());
            exact(rows.map(|row| row.iter().zip(&outputs).map(|(w, y)| w * y).sum()).collect())
        });
        (self.aim)(&exact(outputs), differences.as_ref())
    }

    /// The best of the cuts tried. `None` if the cell cannot be cut.
    fn halve(&self, lower: &[f64], upper: &[f64], scratch: &mut CrownScratch) -> Option<Halves> {
        let (_, pre) = self.bound(lower, upper, scratch);
        let middle: Vec<f64> = lower.iter().zip(upper).map(|(l, u)| 0.5 * (l + u)).collect();
        let slopes = Slopes::new(self, &middle);
        let scores = slopes.scores(self, &pre, (lower, upper));
        let mut order: Vec<usize> = (0..middle.len()).collect();
        order.retain(|i| lower[*i] < middle[*i] && middle[*i] < upper[*i]);
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let mut best: Option<(f64, Halves)> = None;
        let trials = std::env::var("SEC_K").ok().and_then(|k| k.parse().ok()).unwrap_or(TRIALS);
        for &coordinate in order.iter().take(trials) {
            let at = middle[coordinate];
            let (mut below, mut above) = (upper.to_vec(), lower.to_vec());
            (below[coordinate], above[coordinate]) = (at, at);
            let bounds = [self.bound(lower, &below, scratch).0, self.bound(&above, upper, scratch).0];
            let worst = bounds[0].max(bounds[1]) + bounds[0].min(bounds[1]);
            if best.as_ref().is_none_or(|(least, _)| worst < *least) {
                let cut = Cut::Input { coordinate: coordinate as u32, at };
                best = Some((worst, Halves { cut, bounds, met: (f64::NEG_INFINITY, Vec::new()) }));
            }
        }
        let (_, mut halves) = best?;
        let corner = slopes.ahead(self, &middle, (lower, upper));
        halves.met = (self.attained(&corner), corner);
        Some(halves)
    }
}

/// The network's slopes at a point: per layer, of its pre-activations in the inputs, and how much they count in the outputs.
struct Slopes {
    /// Row-major neurons x inputs.
    inward: Vec<Vec<f64>>,
    /// One per neuron, not negative.
    outward: Vec<Vec<f64>>,
    /// Of the outputs in the inputs, row-major.
    outputs: Vec<f64>,
    /// The outputs.
    values: Vec<f64>,
}

/// `weight * scale * right`, row-major, where `scale` stands on a diagonal.
fn product(layer: &FloatLayer, scale: &[f64], right: &[f64], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; layer.outputs * width];
    for (target, row) in out.chunks_exact_mut(width).zip(layer.weight.chunks_exact(layer.inputs)) {
        for ((w, s), source) in row.iter().zip(scale).zip(right.chunks_exact(width)) {
            let factor = w * s;
            if factor != 0.0 {
                target.iter_mut().zip(source).for_each(|(t, x)| *t += factor * x);
            }
        }
    }
    out
}

impl Slopes {
    fn new(problem: &CellProblem<'_>, x: &[f64]) -> Self {
        let (layers, width) = (&problem.network.layers, x.len());
        let (mut inward, mut derivatives): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        let (mut post, mut pre) = (x.to_vec(), Vec::new());
        for layer in layers {
            let rows = match inward.last().zip(derivatives.last()) {
                Some((right, scale)) => product(layer, scale, right, width),
                None => layer.weight.clone(),
            };
            inward.push(rows);
            layer.affine(&post, &mut pre);
            post = pre.iter().map(|z| layer.activation.apply(*z)).collect();
            derivatives.push(pre.iter().map(|z| layer.activation.derivative(*z)).collect());
        }
        let mut outward = vec![Vec::new(); layers.len()];
        let mut weights = problem.weights.clone();
        for (index, layer) in layers.iter().enumerate().rev() {
            outward[index].clone_from(&weights);
            let mut next = vec![0.0; layer.inputs];
            for ((row, weight), slope) in
                layer.weight.chunks_exact(layer.inputs).zip(&weights).zip(&derivatives[index])
            {
                let factor = (weight * slope).abs();
                next.iter_mut().zip(row).for_each(|(n, w)| *n += factor * w.abs());
            }
            weights = next;
        }
        let mut outputs = inward.last().cloned().unwrap_or_default();
        if let Some(slopes) = derivatives.last() {
            for (row, slope) in outputs.chunks_exact_mut(width).zip(slopes) {
                row.iter_mut().for_each(|entry| *entry *= slope);
            }
        }
        Self { inward, outward, outputs, values: post }
    }

    /// How much of what the lines lose each input has a share in.
    fn scores(
        &self,
        problem: &CellProblem<'_>,
        pre: &[FloatBounds],
        (lower, upper): (&[f64], &[f64]),
    ) -> Vec<f64> {
        let mut scores = vec![0.0; lower.len()];
        let layers = problem.network.layers.iter().zip(pre).zip(self.inward.iter().zip(&self.outward));
        for ((layer, bounds), (inward, outward)) in layers {
            let ends = bounds.lower.iter().zip(&bounds.upper);
            for ((row, counts), (l, u)) in inward.chunks_exact(lower.len()).zip(outward).zip(ends) {
                let lost = counts * loss(layer.activation, *l, *u);
                if lost > 0.0 && u > l {
                    let share = lost / (u - l);
                    scores.iter_mut().zip(row).for_each(|(score, slope)| *score += share * slope.abs());
                }
            }
        }
        scores.iter().zip(lower.iter().zip(upper)).map(|(score, (l, u))| score * (u - l)).collect()
    }

    /// The corner of a cell to which the outputs move on, from what they are in its middle.
    fn ahead(&self, problem: &CellProblem<'_>, middle: &[f64], (lower, upper): (&[f64], &[f64])) -> Vec<f64> {
        let mut slope = vec![0.0; middle.len()];
        let moved = self.values.iter().zip(&problem.clean).zip(&problem.weights);
        for (row, ((value, clean), weight)) in self.outputs.chunks_exact(middle.len()).zip(moved) {
            let factor = weight * weight * (value - clean);
            slope.iter_mut().zip(row).for_each(|(s, entry)| *s += factor * entry);
        }
        let ends = lower.iter().zip(upper).zip(middle);
        slope
            .iter()
            .zip(ends)
            .map(|(s, ((l, u), m))| {
                if *s == 0.0 {
                    *m
                } else if *s > 0.0 {
                    *u
                } else {
                    *l
                }
            })
            .collect()
    }
}

/// How far an activation leaves its chord on an interval.
fn loss(activation: FloatActivation, lower: f64, upper: f64) -> f64 {
    let (first, last) = (activation.apply(lower), activation.apply(upper));
    let off = [0.25, 0.5, 0.75]
        .map(|t: f64| (activation.apply(lower + t * (upper - lower)) - (first + t * (last - first))).abs());
    off.into_iter().fold(0.0, f64::max)
}
