//! Branch and bound over signs of ReLUs and over inputs: a tree of regions in each of which some output constraint is
//! proved to fail, or a point at which all hold. Untrusted. `spec/rules/README.md`.
//!
//! Anytime: it stops at a budget of steps and says how far it got. Resumable: the state is plain data. The tree does not
//! depend on the number of threads, because a fixed number of regions is bounded at a time and entered in order.

pub mod attack;
mod combine;
mod narrow;
mod node;
pub mod range;
pub mod tree;

use std::cmp::Ordering;

use rayon::prelude::*;
use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

use crate::float::{FloatNetwork, float_to_rational, rational_to_float};
use crate::property::vnnlib::{Case, OutputConstraint};

use attack::{exact_outputs, search_point, worst};
use narrow::Trail;
use node::{NodeScratch, Verdict};
use tree::{SplitNode, SplitTree};

/// Regions bounded between two looks at the queue.
const BATCH: usize = 8;

/// `coefficients . outputs - bound`, which is at most 0 where the constraint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatConstraint {
    /// One per output.
    pub coefficients: Vec<f64>,
    /// Right-hand side.
    pub bound: f64,
}

impl FloatConstraint {
    /// The constraint's value at given outputs.
    pub fn value(&self, outputs: &[f64]) -> f64 {
        self.coefficients.iter().zip(outputs).map(|(c, y)| c * y).sum::<f64>() - self.bound
    }

    fn from_exact(constraint: &OutputConstraint) -> Self {
        let coefficients = constraint.coefficients.iter().map(rational_to_float).collect();
        Self { coefficients, bound: rational_to_float(&constraint.bound) }
    }
}

/// Is there an input of the box at which every constraint holds?
#[derive(Clone, Debug)]
pub struct BranchProblem<'a> {
    /// The network.
    pub network: &'a FloatNetwork,
    /// The question in exact numbers.
    pub case: &'a Case,
    /// The box in floats, rounded outward.
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// The box in floats, rounded inward: where points are looked for.
    inner: (Vec<f64>, Vec<f64>),
    constraints: Vec<FloatConstraint>,
}

/// Which way regions are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitRule {
    /// By inputs for at most [`AUTO_INPUTS`] inputs or networks that are not piecewise linear, else by ReLUs.
    Auto,
    /// Always an input, at the middle.
    Input,
    /// The sign of a ReLU, as long as one is undecided.
    Relu,
    /// As [`SplitRule::Auto`], but of the inputs the one whose halving narrows the neurons that the bound loses most at.
    /// Optimised slopes may leave an input no share in the bound's coefficients though the neurons' widths come from it.
    Loss,
}

/// Most inputs that [`SplitRule::Auto`] cuts by input.
pub const AUTO_INPUTS: usize = 12;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BranchOptions {
    /// Which way regions are cut.
    pub rule: SplitRule,
    /// Gradient steps on a region's slopes and multipliers.
    pub gradient_steps: usize,
    /// A region is closed only above this share of the constraints' size, so that rounded slopes still prove it.
    pub margin: f64,
    /// Regions bounded in all, over every call.
    pub max_steps: u64,
    /// Seed of the attack.
    pub seed: u64,
    /// Whether regions are looked for whose signs contradict each other in sum.
    pub contradictions: bool,
}

impl Default for BranchOptions {
    fn default() -> Self {
        Self {
            rule: SplitRule::Auto,
            gradient_steps: 30,
            margin: 1e-6,
            max_steps: 1_000_000,
            seed: 0,
            contradictions: true,
        }
    }
}

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

impl Default for BranchState {
    fn default() -> Self {
        let open = vec![Open { node: 0, bound: f64::NEG_INFINITY }];
        Self { tree: SplitTree::default(), open, steps: 0, attacked: false }
    }
}

impl<'a> BranchProblem<'a> {
    /// The question of one case of a property.
    pub fn new(network: &'a FloatNetwork, case: &'a Case) -> Self {
        let below = |r: &Rational| outward(r, f64::next_down, |f, r| f <= r);
        let above = |r: &Rational| outward(r, f64::next_up, |f, r| f >= r);
        Self {
            network,
            case,
            lower: case.lower.iter().map(below).collect(),
            upper: case.upper.iter().map(above).collect(),
            inner: inner_box(case),
            constraints: case.constraints.iter().map(FloatConstraint::from_exact).collect(),
        }
    }

    /// The point of the exact box that is nearest: an end that is no float is itself.
    fn in_box(&self, x: &[f64]) -> Option<Vec<Rational>> {
        let sides = x.iter().zip(self.case.lower.iter().zip(&self.case.upper));
        sides.map(|(x, (l, u))| Some(float_to_rational(*x)?.max(l.clone()).min(u.clone()))).collect()
    }

    /// Whether a point of the box satisfies every constraint: in exact numbers for networks of ReLUs, else in floats with a
    /// margin.
    pub fn holds(&self, point: &[Rational]) -> bool {
        match exact_outputs(self.network, point) {
            Some(outputs) => self.case.constraints.iter().all(|c| {
                let terms = c.coefficients.iter().zip(&outputs).map(|(c, y)| c.mul(y));
                terms.fold(Rational::zero(), |sum, t| sum.add(&t)) <= c.bound
            }),
            None => {
                let x: Vec<f64> = point.iter().map(rational_to_float).collect();
                let outputs = self.network.forward(&x);
                self.constraints.iter().all(|c| c.value(&outputs) < -1e-9)
            }
        }
    }

    /// Of a round's points, the best one and those that lead on from it to where another constraint is the largest.
    fn between(&self, points: &[(Vec<f64>, f64)]) -> Option<(Vec<f64>, f64)> {
        let mut trail = Trail::default();
        for (x, _) in points {
            trail.visit(x, &worst(self.network, &self.constraints, x));
        }
        trail.approach(self.network, (&self.inner.0, &self.inner.1), &self.constraints, 2)
    }
}

/// The box rounded inward; an interval without a float inside becomes the floats around it.
fn inner_box(case: &Case) -> (Vec<f64>, Vec<f64>) {
    let lower = case.lower.iter().map(|r| outward(r, f64::next_up, |f, r| f >= r));
    let upper = case.upper.iter().map(|r| outward(r, f64::next_down, |f, r| f <= r));
    lower.zip(upper).map(|(l, u)| if l <= u { (l, u) } else { (u, l) }).unzip()
}

/// The float next to `value` on the side where `good(float, value)`.
fn outward(value: &Rational, step: fn(f64) -> f64, good: fn(&Rational, &Rational) -> bool) -> f64 {
    let near = rational_to_float(value);
    match float_to_rational(near) {
        Some(float) if !good(&float, value) => step(near),
        _ => near,
    }
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
    while !state.open.is_empty() {
        if state.steps >= options.max_steps {
            return BranchOutcome::Unknown { best_bound: state.lowest() };
        }
        let (mut points, stuck) = state.round(problem, options, 0.0);
        points.extend(problem.between(&points));
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
