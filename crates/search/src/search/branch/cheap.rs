//! Many boxes at once with default slopes: how a problem of few inputs is searched first, since a box takes a hundredth of the time
//! that optimised slopes take. Untrusted. `spec/rules/split.md`.
//!
//! Every proof is checked leaf by leaf with exact numbers, which takes longer than a box takes here: so a cut is chosen among the
//! likely ones by bounding both halves, which makes trees smaller.

use crate::bound::boxes::{BoxBounder, BoxBounds, OutputRows};

use super::problem::{BranchOptions, BranchProblem};
use super::tree::{Cut, SplitLeaf, SplitNode};
use super::{BranchState, Open, need};

/// Boxes bounded between two looks at the queue: half as many as have been bounded, within these.
const BATCH: (u64, u64) = (16, 1024);
/// Boxes of a batch at which points are tried, those of the lowest bounds.
const POINTS: usize = 8;
/// Most inputs whose cuts are tried on a box.
const CANDIDATES: usize = 3;
/// Only inputs with at least this share of the best score are tried: a cut that helps no other neuron may win once and again, and a
/// search that always takes it does not end. Of 1/5, 1/2 and no limit on ACAS Xu 1_1, 1_3 and 3_3 the first made the least trees.
const LEAST_SHARE: f64 = 0.2;

/// A problem as the batched bounder takes it.
pub(super) struct Cheap {
    bounder: BoxBounder<f32>,
    /// For what is about to be closed: where a line's slope hangs by a rounding error, the checker takes that of `f64`.
    confirming: BoxBounder<f64>,
    weight: Vec<f64>,
    constant: Vec<f64>,
    inputs: usize,
    /// What a bound must exceed.
    enough: f64,
}

/// A box that is not closed, and the ways to cut it.
struct Tried {
    open: Open,
    cuts: Vec<Cut>,
}

impl Cheap {
    pub(super) fn new(problem: &BranchProblem<'_>, options: &BranchOptions) -> Self {
        let constraints = &problem.constraints;
        let weight: Vec<f64> = constraints.iter().flat_map(|c| c.coefficients.iter().copied()).collect();
        let constant: Vec<f64> = constraints.iter().map(|c| -c.bound).collect();
        let size = weight.iter().chain(&constant).fold(0.0, |size: f64, c| size.max(c.abs()));
        Self {
            bounder: BoxBounder::new(problem.network),
            confirming: BoxBounder::new(problem.network),
            weight,
            constant,
            inputs: problem.network.inputs(),
            enough: options.margin * size,
        }
    }

    fn rows(&self) -> OutputRows<'_> {
        OutputRows { weight: &self.weight, constant: &self.constant }
    }

    /// The constraint with the greatest bound over a box, and that.
    fn best(&self, found: &BoxBounds, place: usize) -> (usize, f64) {
        let count = self.constant.len();
        let rows = found.lower[place * count..][..count].iter().copied().enumerate();
        rows.fold((0, f64::NEG_INFINITY), |best, row| if row.1 > best.1 { row } else { best })
    }

    /// The likely cuts of a box, best first: what they take off the constraint's concretization and off its losses.
    fn cuts(
        &self,
        problem: &BranchProblem<'_>,
        found: &BoxBounds,
        place: usize,
        sides: [&[f64]; 2],
    ) -> Vec<Cut> {
        let row = place * self.constant.len() + self.best(found, place).0;
        let numbers = |table: &[f64], i: usize| table[row * self.inputs + i].abs();
        let mut cuts: Vec<(f64, Cut)> = Vec::new();
        let inner = problem.inner.0.iter().zip(&problem.inner.1);
        for (i, ((l, u), inner)) in sides[0].iter().zip(sides[1]).zip(inner).enumerate() {
            // Strictly inside the exact box too, of which the floats are the outside.
            let (l, u) = (l.max(*inner.0), u.min(*inner.1));
            let at = 0.5 * (l + u);
            let score = (numbers(&found.coefficients, i) + numbers(&found.losses, i) + 1e-9) * (u - l);
            if l < at && at < u {
                cuts.push((score, Cut::Input { coordinate: i as u32, at }));
            }
        }
        cuts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let least = cuts.first().map_or(0.0, |best| LEAST_SHARE * best.0);
        cuts.into_iter().take_while(|c| c.0 >= least).take(CANDIDATES).map(|c| c.1).collect()
    }
}

/// The corners of both halves of a box, one after the other.
pub(super) fn halves(cut: Cut, lower: &[f64], upper: &[f64], [lowers, uppers]: [&mut Vec<f64>; 2]) {
    let Cut::Input { coordinate, at } = cut else { return };
    for below in [true, false] {
        let end = lowers.len() + coordinate as usize;
        lowers.extend_from_slice(lower);
        uppers.extend_from_slice(upper);
        if below {
            uppers[end] = at;
        } else {
            lowers[end] = at;
        }
    }
}

impl BranchState {
    /// Bounds the boxes with the lowest bounds. Returns points met on the way, and whether a box could not be cut any further.
    pub(super) fn cheap_round(
        &mut self,
        problem: &BranchProblem<'_>,
        cheap: &Cheap,
    ) -> (Vec<(Vec<f64>, f64)>, bool) {
        let batch = self.take_batch();
        let inputs = cheap.inputs;
        let (lower, upper) = self.corners(problem, batch.iter().map(|open| open.node));
        let found = cheap.bounder.bound(&lower, &upper, cheap.rows(), true);
        let (mut tried, mut corners, mut closing) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lowers, mut uppers) = (Vec::new(), Vec::new());
        for (place, open) in batch.into_iter().enumerate() {
            self.steps += 1;
            let (row, best) = cheap.best(&found, place);
            if best > cheap.enough {
                closing.push(open);
                continue;
            }
            let sides = [&lower[place * inputs..][..inputs], &upper[place * inputs..][..inputs]];
            let open = Open { bound: best.max(open.bound), ..open };
            let cuts = cheap.cuts(problem, &found, place, sides);
            if cuts.len() > 1 {
                cuts.iter().for_each(|cut| halves(*cut, sides[0], sides[1], [&mut lowers, &mut uppers]));
            }
            let slopes = &found.coefficients[(place * cheap.constant.len() + row) * inputs..][..inputs];
            let ends = slopes.iter().zip(sides[0].iter().zip(sides[1]));
            corners.push((ends.map(|(c, (l, u))| if *c > 0.0 { *l } else { *u }).collect(), open.bound));
            tried.push(Tried { open, cuts });
        }
        let halves = cheap.bounder.bound(&lowers, &uppers, cheap.rows(), false);
        let cut = self.cut_best(cheap, tried, &halves, &mut closing);
        let closed = self.close(problem, cheap, &closing);
        (lowest_points(problem, corners), !(cut && closed))
    }

    /// Takes the boxes with the lowest bounds from the queue, in the order of their nodes, so that neighbours go together.
    fn take_batch(&mut self) -> Vec<Open> {
        let most = (self.steps / 2).clamp(BATCH.0, BATCH.1) as usize;
        let rest = self.open.len().saturating_sub(most);
        if rest > 0 {
            self.open.select_nth_unstable_by(rest, Open::order);
        }
        let mut batch = self.open.split_off(rest);
        batch.sort_unstable_by_key(|open| open.node);
        batch
    }

    /// The boxes of nodes, as the bounder takes them.
    fn corners(
        &self,
        problem: &BranchProblem<'_>,
        nodes: impl Iterator<Item = usize>,
    ) -> (Vec<f64>, Vec<f64>) {
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for node in nodes {
            let place = self.tree.place(node, &problem.lower, &problem.upper);
            lower.extend(place.lower);
            upper.extend(place.upper);
        }
        (lower, upper)
    }

    /// Closes the boxes that are proved in `f64` too and cuts the others. Returns whether all were closed or cut.
    fn close(&mut self, problem: &BranchProblem<'_>, cheap: &Cheap, closing: &[Open]) -> bool {
        let inputs = cheap.inputs;
        let (lower, upper) = self.corners(problem, closing.iter().map(|open| open.node));
        let found = cheap.confirming.bound(&lower, &upper, cheap.rows(), true);
        let mut all = true;
        for (place, open) in closing.iter().enumerate() {
            let (row, best) = cheap.best(&found, place);
            if best > cheap.enough {
                let leaf = SplitLeaf::Constraint { constraint: row as u32, slopes: None };
                self.tree.nodes[open.node] = SplitNode::Leaf(leaf);
                continue;
            }
            let sides = [&lower[place * inputs..][..inputs], &upper[place * inputs..][..inputs]];
            let open = Open { bound: best.max(open.bound).min(cheap.enough), ..*open };
            all &= self.cut_first(open, &cheap.cuts(problem, &found, place, sides));
        }
        all
    }

    /// Makes the first cut, or returns that there is none and leaves the box open.
    fn cut_first(&mut self, open: Open, cuts: &[Cut]) -> bool {
        let Some(cut) = cuts.first() else {
            self.open.push(open);
            return false;
        };
        let children = self.tree.cut(open.node, *cut);
        self.open.extend(children.map(|node| Open { node, ..open }));
        true
    }

    /// Cuts each box where its halves need the fewest more boxes, as far as their bounds, `found`, tell; those halves that are
    /// proved go to `closing`. Returns whether all could be cut.
    fn cut_best(
        &mut self,
        cheap: &Cheap,
        tried: Vec<Tried>,
        found: &BoxBounds,
        closing: &mut Vec<Open>,
    ) -> bool {
        let (mut all, mut first) = (true, 0);
        for Tried { open, cuts } in tried {
            if cuts.len() < 2 {
                all &= self.cut_first(open, &cuts);
                continue;
            }
            let halves = |which: usize| [0, 1].map(|side| cheap.best(found, first + 2 * which + side));
            let need = |which: usize| need(halves(which).map(|(_, bound)| cheap.enough - bound));
            let least = (0..cuts.len()).fold((f64::INFINITY, 0), |least, which| {
                let need = need(which);
                if need < least.0 { (need, which) } else { least }
            });
            let chosen = halves(least.1);
            first += 2 * cuts.len();
            let children = self.tree.cut(open.node, cuts[least.1]);
            for (node, (_, bound)) in children.into_iter().zip(chosen) {
                let child = Open { node, bound: bound.max(open.bound) };
                if bound > cheap.enough { closing.push(child) } else { self.open.push(child) }
            }
        }
        all
    }
}

/// Of corners with the bounds of their boxes, those of the lowest, with the largest constraint there.
fn lowest_points(problem: &BranchProblem<'_>, mut corners: Vec<(Vec<f64>, f64)>) -> Vec<(Vec<f64>, f64)> {
    corners.sort_by(|a, b| a.1.total_cmp(&b.1));
    corners.truncate(POINTS);
    let (lower, upper) = &problem.inner;
    for (x, value) in &mut corners {
        x.iter_mut().zip(lower.iter().zip(upper)).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
        let outputs = problem.network.forward(x);
        *value = problem.constraints.iter().map(|c| c.value(&outputs)).fold(f64::NEG_INFINITY, f64::max);
    }
    corners
}
