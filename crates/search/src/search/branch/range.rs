//! Best-first bounds of a linear function of the outputs: the worst region of a split tree is cut again until it is near
//! the best value attained or the budget of steps is used up. Untrusted. `spec/certificate.md#split-trees`.
//!
//! Anytime: every leaf carries the slopes of its own bound. Cuts that did not help are taken back when the tree is emitted.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use secateur_checker::reader::trees::MAX_DEPTH;

use crate::float::FloatNetwork;
use crate::search::slopes::witness::{SLOPE_DENOMINATOR, store_slope, stored_slopes};

use super::node::{Bounded, LeafTable, NodeScratch, bound_region};
use super::tree::{Cut, SplitTree};
use super::{BranchOptions, BranchProblem, attack};

/// A leaf need not be proved closer than this share of the largest change attained.
const PRECISION: f64 = 1.0 / 400.0;

/// What was found about the least value of the only constraint of a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTree {
    /// The tree in the layout of the checker's `reader::trees`.
    pub bytes: Vec<u8>,
    /// What its leaves prove, in floats.
    pub bound: f64,
    /// The least value seen.
    pub attained: f64,
    /// Regions bounded.
    pub steps: u64,
}

/// A leaf in the queue: the lowest bound first, then the older node.
struct Waiting {
    bound: f64,
    node: usize,
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
        other.bound.total_cmp(&self.bound).then(other.node.cmp(&self.node))
    }
}

struct Search<'a> {
    problem: &'a BranchProblem<'a>,
    tree: SplitTree,
    bounded: Vec<Bounded>,
    /// Cuts above each node.
    above: Vec<usize>,
    children: Vec<Option<(Cut, [usize; 2])>>,
    queue: BinaryHeap<Waiting>,
    attained: f64,
}

/// Searches the least value of the only constraint of `problem` with at most `options.max_steps` regions (one at least);
/// `stop` is asked before each. The result does not depend on the number of threads.
///
/// # References
/// Land and Doig 1960, the best-first order of branch and bound.
pub fn search_range(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    stop: &dyn Fn() -> bool,
) -> RangeTree {
    let (lower, upper) = &problem.inner;
    let network = problem.network;
    let value = |x: &[f64]| problem.constraints.first().map_or(0.0, |c| c.value(&network.forward(x)));
    let middle: Vec<f64> = lower.iter().zip(upper).map(|(l, u)| 0.5 * (l + u)).collect();
    let (_, attained) = attack::search_least(network, lower, upper, &problem.constraints, options.seed);
    let precision = PRECISION * (value(&middle) - attained).max(0.0);
    let mut search = Search {
        problem,
        tree: SplitTree::default(),
        bounded: Vec::new(),
        above: Vec::new(),
        children: Vec::new(),
        queue: BinaryHeap::new(),
        attained,
    };
    let mut scratch = NodeScratch::default();
    search.add(0, (f64::NEG_INFINITY, 0), options, precision, &mut scratch);
    let mut steps = 1;
    while let Some(worst) = search.queue.pop() {
        let done = worst.bound >= search.attained - precision;
        let Some(cut) = search.bounded[worst.node].cut.filter(|_| !done) else { break };
        if steps + 2 > options.max_steps || stop() {
            break;
        }
        let children = search.tree.cut(worst.node, cut);
        search.children[worst.node] = Some((cut, children));
        let above = search.above[worst.node] + 1;
        for child in children {
            search.add(child, (worst.bound, above), options, precision, &mut scratch);
        }
        steps += 2;
    }
    let mut bytes = Vec::new();
    let bounds = search.subtree_bounds();
    search.emit(&bounds, &mut bytes);
    let bound = bounds.first().copied().unwrap_or(f64::NEG_INFINITY);
    RangeTree { bytes, bound, attained: search.attained, steps }
}

impl Search<'_> {
    fn add(
        &mut self,
        node: usize,
        (inherited, above): (f64, usize),
        options: &BranchOptions,
        precision: f64,
        scratch: &mut NodeScratch,
    ) {
        let place = self.tree.place(node, &self.problem.lower, &self.problem.upper);
        let mut found = bound_region(self.problem, options, &place, self.attained - precision, scratch);
        // The checker reads no deeper tree.
        found.cut = found.cut.filter(|_| above < MAX_DEPTH);
        self.attained = self.attained.min(found.point.1);
        // What the parent's slopes prove holds here too and orders the queue; the leaf itself has only its own.
        self.queue.push(Waiting { bound: found.bound.max(inherited), node });
        self.bounded.push(found);
        self.above.push(above);
        self.children.push(None);
    }

    /// What each node's subtree proves at its best: by its own leaf or by its children.
    fn subtree_bounds(&self) -> Vec<f64> {
        let mut bounds: Vec<f64> = self.bounded.iter().map(|b| b.bound).collect();
        for node in (0..bounds.len()).rev() {
            if let Some((_, [first, second])) = self.children[node] {
                bounds[node] = bounds[node].max(bounds[first].min(bounds[second]));
            }
        }
        bounds
    }

    fn emit(&self, bounds: &[f64], bytes: &mut Vec<u8>) {
        let mut waiting = vec![0];
        while let Some(node) = waiting.pop() {
            let own = self.bounded[node].bound;
            match self.children[node] {
                Some((cut, [first, second])) if bounds[node] > own => {
                    emit_cut(cut, bytes);
                    waiting.extend([second, first]);
                }
                _ => match &self.bounded[node].leaf {
                    None => bytes.push(0),
                    Some(leaf) => emit_leaf(self.problem.network, leaf, bytes),
                },
            }
        }
    }
}

/// Widths are at most 65535, which [`fits`] has tested.
fn short(value: u32, bytes: &mut Vec<u8>) {
    bytes.extend((value as u16).to_le_bytes());
}

/// Whether the encoding can name every neuron of the network.
pub fn fits(network: &FloatNetwork) -> bool {
    let most = usize::from(u16::MAX);
    network.inputs() <= most
        && network.layers.len() <= most
        && network.layers.iter().all(|l| l.outputs <= most)
}

pub(super) fn emit_cut(cut: Cut, bytes: &mut Vec<u8>) {
    match cut {
        Cut::Relu { layer, neuron } => {
            bytes.push(2);
            short(layer, bytes);
            short(neuron, bytes);
        }
        Cut::Input { coordinate, at } => {
            bytes.push(3);
            short(coordinate, bytes);
            bytes.extend(at.to_bits().to_le_bytes());
        }
    }
}

fn emit_leaf(network: &FloatNetwork, leaf: &LeafTable, bytes: &mut Vec<u8>) {
    let unit = f64::from(SLOPE_DENOMINATOR);
    bytes.push(1);
    for (layer, slopes) in network.layers.iter().zip(&leaf.slopes) {
        let stored = stored_slopes(layer.activation);
        if stored == 0 {
            continue;
        }
        short(slopes.len() as u32, bytes);
        for (neuron, below, above) in slopes {
            short(*neuron, bytes);
            for slope in [below, above].into_iter().take(stored) {
                bytes.extend(store_slope(layer.activation, *slope).to_le_bytes());
            }
        }
    }
    short(leaf.multipliers.len() as u32, bytes);
    for (layer, neuron, value) in &leaf.multipliers {
        short(*layer, bytes);
        short(*neuron, bytes);
        bytes.extend(((value * unit).clamp(0.0, f64::from(u32::MAX)) as u32).to_le_bytes());
    }
}
