//! Leaves that another tool found, or an earlier proof has, made into a tree that the search goes on from. Untrusted: each
//! leaf is proved again, whatever is said of it. `spec/leaves.md`.

use std::collections::BTreeMap;

use crate::bound::crown::FloatSplit;

use super::neurons::SLOPE_PARTS;
use super::node::{NodeScratch, close_with};
use super::problem::{BranchOptions, BranchProblem};
use super::tree::{Cut, LeafSlopes, SplitNode, SplitTree};
use super::{BranchState, GivenNumbers, Open};

/// Nodes of a tree per leaf that is given: leaves that overlap are split up.
const NODES_PER_LEAF: usize = 8;
/// A leaf ends where the region ends if it is so near, as a share of the region's width: other tools round to binary32.
const NEAR: f64 = 1e-6;

/// A region that another tool says is proved.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenLeaf {
    /// Least value per input, of what the network reads.
    pub lower: Vec<f64>,
    /// Greatest value per input.
    pub upper: Vec<f64>,
    /// Signs of pre-activations.
    pub splits: Vec<FloatSplit>,
    /// What proves it.
    pub evidence: Option<GivenEvidence>,
}

/// A constraint that fails all over a region, and slopes that show it.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenEvidence {
    /// The constraint.
    pub constraint: u32,
    /// The slopes and multipliers.
    pub slopes: LeafSlopes,
}

/// What became of what was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenCounts {
    /// Leaves given.
    pub leaves: usize,
    /// Leaves of the tree that their own slopes prove, in floats.
    pub proved: usize,
    /// Leaves of the tree that go on from the numbers that proved them, with bounds of hidden layers that are kept.
    pub begun: usize,
    /// Leaves of the tree that are searched anew.
    pub searched: usize,
    /// Regions that no leaf covers, searched too.
    pub uncovered: usize,
}

impl GivenCounts {
    /// Of several cases.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            leaves: self.leaves + other.leaves,
            proved: self.proved + other.proved,
            begun: self.begun + other.begun,
            searched: self.searched + other.searched,
            uncovered: self.uncovered + other.uncovered,
        }
    }
}

/// A node's region and the leaves that meet it.
struct Todo {
    node: usize,
    lower: Vec<f64>,
    upper: Vec<f64>,
    splits: Vec<FloatSplit>,
    leaves: Vec<usize>,
}

/// A state whose tree has the given leaves: those that their own slopes prove are closed, the rest is open.
pub fn state_of_leaves(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    leaves: &[GivenLeaf],
) -> (BranchState, GivenCounts) {
    let mut tree = SplitTree::default();
    let mut evidence = BTreeMap::new();
    let mut counts = GivenCounts { leaves: leaves.len(), ..GivenCounts::default() };
    let (lower, upper) = problem.inner.clone();
    let all = (0..leaves.len()).collect();
    let mut todo = vec![Todo { node: 0, lower, upper, splits: Vec::new(), leaves: all }];
    let most = NODES_PER_LEAF * leaves.len() + 64;
    while let Some(place) = todo.pop() {
        if place.leaves.is_empty() {
            counts.uncovered += 1;
            continue;
        }
        if let Some(leaf) = place.leaves.iter().find(|leaf| covers(&leaves[**leaf], &place)) {
            evidence.extend(leaves[*leaf].evidence.as_ref().map(|e| (place.node, e.clone())));
            continue;
        }
        if tree.nodes.len() >= most {
            continue;
        }
        let Some(cut) = choose(leaves, &place) else { continue };
        let [first, second] = tree.cut(place.node, cut);
        todo.extend(divide(leaves, &place, cut, [first, second]));
    }
    let (state, proved) = close(problem, options, tree, &evidence);
    counts.proved = proved;
    counts.searched = state.open.len().saturating_sub(counts.uncovered);
    (state, counts)
}

/// What the leaves of a finished tree were proved with.
#[derive(Clone, Debug, Default)]
pub struct TreeEvidence {
    /// Of leaves that have slopes of their own, by node.
    pub own: BTreeMap<usize, GivenEvidence>,
    /// Slopes that leaves of kept bounds name by number: per layer and neuron.
    pub noted: Vec<Vec<Vec<u8>>>,
    /// Of leaves of kept bounds.
    pub kept: Vec<GivenNumbers>,
}

/// A state that goes on from a finished tree: leaves whose slopes still prove them are closed, the rest is open. Leaves of
/// kept bounds are open and begin with their numbers.
///
/// `None` if the nodes are no tree over this network, or numbers are not for its layers.
pub fn state_of_tree(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    cuts: &[Option<(Cut, [usize; 2])>],
    evidence: TreeEvidence,
) -> Option<(BranchState, GivenCounts)> {
    // Nodes are numbered as they are cut, so that children come after their parents here too.
    let mut tree = SplitTree::default();
    let mut renumbered = BTreeMap::from([(0usize, 0usize)]);
    for (index, cut) in cuts.iter().enumerate() {
        let Some((cut, children)) = cut else { continue };
        let node = *renumbered.get(&index)?;
        let cut_to = tree.cut(node, *cut);
        for (child, number) in children.iter().zip(cut_to) {
            if *child <= index || renumbered.insert(*child, number).is_some() {
                return None;
            }
        }
    }
    let widths: Vec<usize> = problem.network.layers.iter().map(|l| l.outputs).collect();
    if renumbered.len() != cuts.len() || !tree.fits(problem.network.inputs(), &widths) {
        return None;
    }
    let hidden = widths.split_last().map_or(&[][..], |(_, hidden)| hidden);
    let is_whole = |slopes: &Vec<Vec<u8>>| {
        slopes.iter().map(Vec::len).eq(hidden.iter().copied())
            && slopes.iter().flatten().all(|parts| *parts <= SLOPE_PARTS)
    };
    let named = |numbers: &GivenNumbers| (numbers.slopes as usize) < evidence.noted.len();
    if !evidence.noted.iter().all(is_whole) || !evidence.kept.iter().all(named) {
        return None;
    }
    let of_node = |(index, e): (usize, GivenEvidence)| Some((*renumbered.get(&index)?, e));
    let own = evidence.own.into_iter().filter_map(of_node).collect();
    let leaves = cuts.iter().filter(|cut| cut.is_none()).count();
    let (mut state, proved) = close(problem, options, tree, &own);
    state.tree.slopes = evidence.noted;
    let of_node = |kept: GivenNumbers| Some(GivenNumbers { node: *renumbered.get(&kept.node)?, ..kept });
    state.given = evidence.kept.into_iter().filter_map(of_node).collect();
    let begun = state.given.len();
    let searched = state.open.len().saturating_sub(begun);
    Some((state, GivenCounts { leaves, proved, begun, searched, uncovered: 0 }))
}

/// Closes the leaves that their evidence proves; how many.
fn close(
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
    mut tree: SplitTree,
    evidence: &BTreeMap<usize, GivenEvidence>,
) -> (BranchState, usize) {
    let mut scratch = NodeScratch::default();
    let mut proved = 0;
    for (node, evidence) in evidence {
        let place = tree.place(*node, &problem.lower, &problem.upper);
        if let Some(leaf) = close_with(problem, options, &place, evidence, &mut scratch) {
            tree.nodes[*node] = SplitNode::Leaf(leaf);
            proved += 1;
        }
    }
    let open = tree.nodes.iter().enumerate().filter(|(_, node)| matches!(node, SplitNode::Open));
    let open = open.map(|(node, _)| Open { node, bound: f64::NEG_INFINITY }).collect();
    (BranchState { tree, open, ..BranchState::default() }, proved)
}

/// Whether an end of a leaf lies inside the region, and not at its end.
fn ends_inside(end: f64, lower: f64, upper: f64) -> bool {
    let near = NEAR * (upper - lower);
    end > lower + near && end < upper - near
}

fn sign(splits: &[FloatSplit], layer: u32, neuron: u32) -> Option<bool> {
    splits.iter().find(|s| s.layer == layer && s.neuron == neuron).map(|s| s.positive)
}

/// Whether nothing is left to cut a leaf off by.
fn covers(leaf: &GivenLeaf, place: &Todo) -> bool {
    let mut sides = leaf.lower.iter().zip(&leaf.upper).zip(place.lower.iter().zip(&place.upper));
    sides.all(|((below, above), (l, u))| !ends_inside(*below, *l, *u) && !ends_inside(*above, *l, *u))
        && leaf.splits.iter().all(|s| sign(&place.splits, s.layer, s.neuron).is_some())
}

/// The sign that most leaves have, else the end of a leaf that cuts through fewest of the others, then nearest to halves.
fn choose(leaves: &[GivenLeaf], place: &Todo) -> Option<Cut> {
    let mut signs: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for leaf in &place.leaves {
        let splits = leaves[*leaf].splits.iter();
        for split in splits.filter(|s| sign(&place.splits, s.layer, s.neuron).is_none()) {
            *signs.entry((split.layer, split.neuron)).or_insert(0) += 1;
        }
    }
    let most = signs.into_iter().max_by_key(|(place, count)| (*count, std::cmp::Reverse(*place)));
    if let Some(((layer, neuron), _)) = most {
        return Some(Cut::Relu { layer, neuron });
    }
    let mut best: Option<(usize, usize, Cut)> = None;
    for (coordinate, (l, u)) in place.lower.iter().zip(&place.upper).enumerate() {
        let sorted = |side: fn(&GivenLeaf) -> &Vec<f64>| {
            let mut ends: Vec<f64> =
                place.leaves.iter().map(|leaf| side(&leaves[*leaf])[coordinate]).collect();
            ends.sort_unstable_by(f64::total_cmp);
            ends
        };
        let (lowers, uppers) = (sorted(|leaf| &leaf.lower), sorted(|leaf| &leaf.upper));
        for at in lowers.iter().chain(&uppers).copied().filter(|at| ends_inside(*at, *l, *u)) {
            let begun = lowers.partition_point(|lower| *lower < at);
            let ended = uppers.partition_point(|upper| *upper <= at);
            let through = begun.saturating_sub(ended);
            let uneven = begun.abs_diff(place.leaves.len() - ended);
            if best.as_ref().is_none_or(|(t, h, _)| (through, uneven) < (*t, *h)) {
                best = Some((through, uneven, Cut::Input { coordinate: coordinate as u32, at }));
            }
        }
    }
    best.map(|(_, _, cut)| cut)
}

fn divide(leaves: &[GivenLeaf], place: &Todo, cut: Cut, nodes: [usize; 2]) -> [Todo; 2] {
    let side = |first: bool| {
        let (mut lower, mut upper, mut splits) =
            (place.lower.clone(), place.upper.clone(), place.splits.clone());
        let meets = |leaf: &GivenLeaf| match cut {
            Cut::Relu { layer, neuron } => sign(&leaf.splits, layer, neuron).is_none_or(|s| s == first),
            Cut::Input { coordinate, at } => {
                let (l, u) = (leaf.lower[coordinate as usize], leaf.upper[coordinate as usize]);
                if first { l < at } else { u > at }
            }
        };
        match cut {
            Cut::Relu { layer, neuron } => splits.push(FloatSplit { layer, neuron, positive: first }),
            Cut::Input { coordinate, at } if first => upper[coordinate as usize] = at,
            Cut::Input { coordinate, at } => lower[coordinate as usize] = at,
        }
        let met = place.leaves.iter().copied().filter(|leaf| meets(&leaves[*leaf])).collect();
        Todo { node: nodes[usize::from(!first)], lower, upper, splits, leaves: met }
    };
    [side(true), side(false)]
}
