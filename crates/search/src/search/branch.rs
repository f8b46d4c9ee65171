//! Branch and bound over signs of ReLUs and over inputs: a tree of regions in each of which some output constraint is
//! proved to fail, or a point at which all hold. Untrusted. `spec/rules/README.md`.
//!
//! Anytime: it stops at a budget of steps and says how far it got. Resumable: the state is plain data. The tree does not
//! depend on the number of threads, because a fixed number of regions is bounded at a time and entered in order.

pub mod attack;
pub mod cells;
mod cheap;
mod combine;
pub mod given;
mod lanes;
pub mod largest;
mod narrow;
pub mod neurons;
mod node;
pub mod point;
mod problem;
pub mod range;
mod sample;
pub mod together;
pub mod tree;

pub use point::FloatConstraint;
pub use problem::{AUTO_INPUTS, BranchOptions, BranchProblem, SplitRule};

use std::cmp::Ordering;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

use crate::bound::kernel::PANEL;

use attack::search_point;
use cheap::Cheap;
use narrow::Trail;
use node::{NodeScratch, Verdict};
use point::worst;
use tree::{SplitNode, SplitTree};

/// Regions bounded between two looks at the queue.
const BATCH: usize = 8;
/// Boxes bounded with default slopes before slopes are optimised in those that are still open. Property 2 of ACAS Xu on 3_3 was open
/// after 40,000 such boxes, and closed by 18,000 regions with slopes after 6,000.
const CHEAP_STEPS: u64 = 1 << 13;

/// Regions between two descents in those with the lowest bounds, and between two draws of random points: with slopes that are
/// optimised, and with default slopes. A descent takes about as long as sixteen of the former.
const DESCENTS: (u64, u64) = (32, 256);
const CHEAP_DESCENTS: (u64, u64) = (2048, 2048);

/// Values of a proof's trees beyond which a search gives up: the checker reads documents of 2^22, of which this leaves 2^14 for what is
/// no tree.
const MOST_VALUES: usize = (1 << 22) - (1 << 14);

/// Nodes that any proof holds.
const FEW_NODES: usize = 1 << 13;

/// What the search found.
#[derive(Clone, Debug, PartialEq)]
pub enum BranchOutcome {
    /// No input satisfies every constraint: each leaf proves one of them to fail.
    Verified(SplitTree),
    /// A point of the box at which every constraint holds, tested with exact numbers (for ReLU networks; else it holds
    /// in floats with a margin).
    Falsified(Vec<Rational>),
    /// The budget is used up.
    Unknown {
        /// In every region left open some constraint is at least this.
        best_bound: f64,
    },
}

/// Where a search stands: a tree with open leaves. Plain data, so that it can be written down and taken up again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchState {
    tree: SplitTree,
    open: Vec<Open>,
    steps: u64,
    attacked: bool,
    /// Where regions with kept bounds begin that an earlier proof had closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given: Vec<GivenNumbers>,
}

/// Numbers of an open leaf of a given tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenNumbers {
    /// The node.
    pub node: usize,
    /// Index into [`SplitTree::slopes`].
    pub slopes: u32,
    /// As of [`tree::SplitLeaf::Kept`].
    pub multipliers: Vec<u32>,
}

/// An open leaf and the bound of the region it was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    node: usize,
    #[serde(with = "tree::bits")]
    bound: f64,
}

impl Open {
    /// Lowest bound last, so that it is taken first; then the older node.
    fn order(&self, other: &Self) -> Ordering {
        other.bound.total_cmp(&self.bound).then(other.node.cmp(&self.node))
    }
}

/// How many more boxes two halves need, in proportion, that lack this much: one that lacks four times as much about twice as many.
fn need(lacks: [f64; 2]) -> f64 {
    lacks.into_iter().map(|lack| lack.max(0.0).sqrt()).sum()
}

impl Default for BranchState {
    fn default() -> Self {
        let open = vec![Open { node: 0, bound: f64::NEG_INFINITY }];
        Self { tree: SplitTree::default(), open, steps: 0, attacked: false, given: Vec::new() }
    }
}

/// Of a round's points, the best one and those that lead on from it to where another constraint is the largest.
fn between(problem: &BranchProblem<'_>, points: &[(Vec<f64>, f64)]) -> Option<(Vec<f64>, f64)> {
    let mut trail = Trail::default();
    for (x, _) in points {
        trail.visit(x, &worst(problem.network, &problem.constraints, x));
    }
    trail.approach(problem.network, (&problem.inner.0, &problem.inner.1), &problem.constraints, 2)
}

/// Random points of the box of few inputs that the problems have in common, and where descents from the best of each end.
fn drawn(problems: &[BranchProblem<'_>], random: &mut ChaCha8Rng) -> Vec<(Vec<f64>, f64)> {
    if problems.first().is_none_or(|problem| problem.network.inputs() > AUTO_INPUTS) {
        return Vec::new();
    }
    let mut points = Vec::new();
    for (problem, drawn) in problems.iter().zip(sample::draw(problems, random)) {
        points.extend(sample::descend_from(problem, &drawn));
        points.extend(drawn);
    }
    points
}

/// Searches until a verdict or the budget of steps; `state` is where to begin and receives where it ended.
pub fn search_branch(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    state: &mut BranchState,
) -> BranchOutcome {
    search_branch_with(problem, options, state, &|point| problem.holds(point))
}

/// [`search_branch`] that goes on where `accepts` refuses a point of the box at which every constraint seems to hold.
pub fn search_branch_with(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    state: &mut BranchState,
    accepts: &dyn Fn(&[Rational]) -> bool,
) -> BranchOutcome {
    let found = |(x, value): (Vec<f64>, f64)| {
        (value <= 0.0).then(|| problem.in_box(&x)).flatten().filter(|point| accepts(point))
    };
    if !state.attacked {
        state.attacked = true;
        let (lower, upper) = &problem.inner;
        let point = search_point(problem.network, lower, upper, &problem.constraints, options.seed);
        if let Some(point) = found(point) {
            return BranchOutcome::Falsified(point);
        }
    }
    let cheap = Cheap::new(problem, options);
    let mut random = ChaCha8Rng::seed_from_u64(options.seed ^ state.steps);
    while !state.open.is_empty() {
        if state.steps >= options.max_steps || state.is_full() {
            return BranchOutcome::Unknown { best_bound: state.lowest() };
        }
        let (before, is_cheap) = (state.steps, state.is_cheap(problem, options));
        let (mut points, stuck) =
            if is_cheap { state.cheap_round(problem, &cheap) } else { state.round(problem, options, 0.0) };
        points.extend(between(problem, &points));
        // By regions, not by rounds: a caller may ask for a few at a time.
        let (descents, draws) = if is_cheap { CHEAP_DESCENTS } else { DESCENTS };
        let is_due = |every: u64| before / every != state.steps / every;
        if is_due(descents) {
            points.extend(state.descend(problem, None));
            points.extend(state.descend(problem, Some(&mut random)));
        }
        if is_due(draws) {
            points.extend(drawn(std::slice::from_ref(problem), &mut random));
        }
        if let Some(point) = points.into_iter().find_map(found) {
            return BranchOutcome::Falsified(point);
        }
        if stuck {
            return BranchOutcome::Unknown { best_bound: state.lowest() };
        }
    }
    BranchOutcome::Verified(state.tree.clone())
}

impl BranchState {
    /// Whether boxes are bounded with default slopes next: the root is not, which signs, slopes or sums may close at once.
    fn is_cheap(&self, problem: &BranchProblem<'_>, options: &BranchOptions) -> bool {
        let by_input = matches!(options.rule, SplitRule::Auto | SplitRule::Input);
        by_input && problem.network.inputs() <= AUTO_INPUTS && (1..CHEAP_STEPS).contains(&self.steps)
    }

    /// The best point that is met on the way down in some open regions: from the middles of those with the lowest bounds, or
    /// from random points of random ones.
    fn descend(
        &self,
        problem: &BranchProblem<'_>,
        random: Option<&mut ChaCha8Rng>,
    ) -> Option<(Vec<f64>, f64)> {
        let mut open: Vec<Open> = self.open.clone();
        let mut parts = vec![0.5; PANEL * problem.network.inputs()];
        if let Some(random) = random {
            if !open.is_empty() {
                open = (0..PANEL).map(|_| open[random.random_range(0..open.len())]).collect();
            }
            parts.iter_mut().for_each(|part| *part = random.random());
        } else if open.len() > PANEL {
            open.select_nth_unstable_by(PANEL - 1, |a, b| b.order(a));
            open.truncate(PANEL);
        }
        let places = open.iter().map(|o| self.tree.place(o.node, &problem.lower, &problem.upper));
        let boxes: Vec<_> = places.map(|place| (place.lower, place.upper)).collect();
        attack::search_boxes(problem, &boxes, &parts)
    }

    /// Whether no proof would hold larger trees of the cases.
    pub fn are_full(states: &[Self]) -> bool {
        // Counting is not needed while the trees are small: a node is some twenty values, of which slopes are a few hundred at most.
        let nodes: usize = states.iter().map(|state| state.tree.nodes.len()).sum();
        nodes > FEW_NODES && states.iter().map(|state| state.tree.values()).sum::<usize>() > MOST_VALUES
    }

    fn is_full(&self) -> bool {
        Self::are_full(std::slice::from_ref(self))
    }

    /// The lowest bound of an open region.
    fn lowest(&self) -> f64 {
        self.open.iter().fold(f64::INFINITY, |m, o| m.min(o.bound))
    }

    /// Whether the tree is one over `inputs` inputs and layers of the given widths whose open leaves are the ones listed,
    /// as for a state that was read from a file.
    pub fn fits(&self, inputs: usize, widths: &[usize]) -> bool {
        let mut listed: Vec<usize> = self.open.iter().map(|o| o.node).collect();
        listed.sort_unstable();
        let open = self.tree.nodes.iter().enumerate().filter(|(_, n)| matches!(n, SplitNode::Open));
        open.map(|(index, _)| index).eq(listed) && self.tree.fits(inputs, widths)
    }

    /// Opens a leaf again whose proof the checker refused; false if there is no such leaf.
    pub fn reopen(&mut self, node: usize) -> bool {
        let leaf = self.tree.nodes.get_mut(node).filter(|n| matches!(n, SplitNode::Leaf(_)));
        let Some(leaf) = leaf else { return false };
        *leaf = SplitNode::Open;
        self.open.push(Open { node, bound: f64::NEG_INFINITY });
        true
    }

    /// The tree, with its open leaves.
    pub fn tree(&self) -> &SplitTree {
        &self.tree
    }

    /// Regions bounded so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Bounds the next few regions: those with the lowest bounds. Returns the points met on the way, and whether a
    /// region could not be cut any further.
    fn round(
        &mut self,
        problem: &BranchProblem<'_>,
        options: &BranchOptions,
        threshold: f64,
    ) -> (Vec<(Vec<f64>, f64)>, bool) {
        self.open.sort_unstable_by(Open::order);
        let batch = self.open.split_off(self.open.len().saturating_sub(BATCH));
        let bound = |scratch: &mut NodeScratch, open: &Open| {
            let place = self.tree.place(open.node, &problem.lower, &problem.upper);
            node::bound_node(problem, options, &place, open.bound, threshold, scratch)
        };
        let verdicts: Vec<Verdict> = batch.par_iter().map_init(NodeScratch::default, bound).collect();
        let (mut points, mut stuck) = (Vec::new(), false);
        for (open, verdict) in batch.into_iter().zip(verdicts).rev() {
            self.steps += 1;
            match verdict {
                Verdict::Closed(leaf) => self.tree.nodes[open.node] = SplitNode::Leaf(leaf),
                Verdict::Stuck { bound } => {
                    self.open.push(Open { bound, ..open });
                    stuck = true;
                }
                Verdict::Cut { bound, cut, point } => {
                    points.push(point);
                    let children = self.tree.cut(open.node, cut);
                    self.open.extend(children.map(|node| Open { node, bound }));
                }
            }
        }
        (points, stuck)
    }
}

/// The least value of a linear function of the outputs, from both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchMinimum {
    /// Each leaf of `tree` proves the function (constraint 0, with right-hand side 0) to exceed this; if the search ended
    /// early, what its open leaves allow.
    pub bound: f64,
    /// The function's value at `point`.
    pub attained: f64,
    /// Where the least value was seen.
    pub point: Vec<f64>,
    /// The regions.
    pub tree: SplitTree,
    /// Whether every leaf is closed, so that `attained - bound` is at most the tolerance asked for.
    pub complete: bool,
}

/// Searches the least value of the only constraint of `problem` (its right-hand side moves it) until it is known within
/// `tolerance` or the budget of steps is used up.
pub fn search_minimum(problem: &BranchProblem<'_>, tolerance: f64, options: &BranchOptions) -> BranchMinimum {
    let mut state = BranchState::default();
    let (lower, upper) = &problem.inner;
    let (mut point, mut attained) = (Vec::new(), f64::INFINITY);
    let attack = attack::search_least(problem.network, lower, upper, &problem.constraints, options.seed);
    let mut seen = vec![attack];
    let mut stuck = false;
    loop {
        for (x, value) in seen {
            if value < attained {
                (point, attained) = (x, value);
            }
        }
        if state.open.is_empty() || stuck || state.steps >= options.max_steps {
            break;
        }
        (seen, stuck) = state.round(problem, options, attained - tolerance);
    }
    let complete = state.open.is_empty();
    let bound = state.lowest().min(attained - tolerance);
    BranchMinimum { bound, attained, point, tree: state.tree, complete }
}
