//! How far below 0 constraints get over a box, from both sides: many boxes with default slopes, those with the lowest bounds
//! halved first. Untrusted: the tree proves any right-hand side that its bound allows, and the checker looks at every leaf.
//!
//! [`super::together`] proves a right-hand side that is given; here the boxes say which one they prove.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use secateur_checker::kernel::split::Case;

use super::problem::{BranchOptions, BranchProblem};
use super::tree::{Cut, SplitLeaf, SplitNode};
use super::{BranchState, Open, attack, drawn, need};
use crate::bound::boxes::{BoxBounder, BoxBounds, OutputRows};
use crate::float::FloatNetwork;

/// Boxes halved between two looks at the queue: an eighth of what has been bounded, within these.
const BATCH: (u64, u64) = (1, 128);
/// Inputs whose cuts are tried on a box, the likeliest first.
const CANDIDATES: usize = 3;
/// Only inputs with at least this share of the best score are tried, as in [`super::cheap`]: a cut that raises the lower half by
/// next to nothing would else be taken again and again, where another one is needed first.
const LEAST_SHARE: f64 = 0.2;
/// Nothing more is cut once the bound is within this share of what is attained.
const NEAR: f64 = 0.01;

/// How low the constraints' values get.
#[derive(Clone, Debug, PartialEq)]
pub struct Largest {
    /// No constraint's value is below this anywhere in the box (an estimate in floats, which rounds outward).
    pub bound: f64,
    /// A constraint's value at some point.
    pub attained: f64,
    /// Boxes bounded.
    pub steps: u64,
    /// The boxes, all of them closed by constraint 0 of each case.
    pub state: BranchState,
}

/// Bounds the one constraint of every case, less its right-hand side, over the box that they share, by at most
/// `options.max_steps` boxes, or fewer once `stop` says so.
pub fn search_largest(
    network: &FloatNetwork,
    cases: &[Case],
    options: &BranchOptions,
    stop: &dyn Fn() -> bool,
) -> Largest {
    let problems: Vec<BranchProblem<'_>> =
        cases.iter().map(|case| BranchProblem::new(network, case)).collect();
    let Some(first) = problems.first() else {
        return Largest { bound: 0.0, attained: 0.0, steps: 0, state: BranchState::default() };
    };
    let constraints: Vec<_> = problems.iter().filter_map(|p| p.constraints.first()).collect();
    let weight: Vec<f64> = constraints.iter().flat_map(|c| c.coefficients.iter().copied()).collect();
    let constant: Vec<f64> = constraints.iter().map(|c| -c.bound).collect();
    let search = Search {
        first,
        bounder: BoxBounder::new(network),
        rows: OutputRows { weight: &weight, constant: &constant },
    };
    let (lower, upper) = &first.inner;
    let attacked = problems.iter().map(|problem| {
        attack::search_least(network, lower, upper, &problem.constraints[..1], options.seed).1
    });
    let mut attained = attacked.fold(f64::INFINITY, f64::min);
    let met = drawn(&problems, &mut ChaCha8Rng::seed_from_u64(options.seed));
    attained = met.iter().fold(attained, |least, (_, value)| least.min(*value));
    let mut state = BranchState::default();
    let root = search.bounds(&[(&first.lower, &first.upper)]);
    let mut queue = vec![search.entry(&root, 0, Open { node: 0, bound: f64::NEG_INFINITY })];
    state.steps = 1;
    while state.steps < options.max_steps && !stop() {
        queue.sort_unstable_by(|a, b| a.open.order(&b.open));
        let most = (state.steps / 8).clamp(BATCH.0, BATCH.1).min(options.max_steps - state.steps) as usize;
        let far = |entry: &Entry| entry.open.bound < attained - NEAR * attained.abs();
        let wanted = queue.iter().rev().take(most).take_while(|entry| far(entry)).count();
        if wanted == 0 {
            break;
        }
        let batch = queue.split_off(queue.len() - wanted);
        let (cut, seen, stuck) = search.halve(&mut state, batch, attained);
        queue.extend(cut);
        attained = attained.min(seen);
        if stuck {
            break;
        }
    }
    let bound = queue.iter().fold(f64::INFINITY, |least, entry| least.min(entry.open.bound));
    for entry in &queue {
        let leaf = SplitLeaf::Constraint { constraint: 0, slopes: None };
        state.tree.nodes[entry.open.node] = SplitNode::Leaf(leaf);
    }
    state.open.clear();
    Largest { bound, attained, steps: state.steps, state }
}

/// A box that may be cut, and what its lowest row hangs on: per input, coefficient and losses a width.
struct Entry {
    open: Open,
    coefficients: Vec<f64>,
    losses: Vec<f64>,
}

struct Search<'a> {
    first: &'a BranchProblem<'a>,
    bounder: BoxBounder<f64>,
    rows: OutputRows<'a>,
}

impl Search<'_> {
    fn bounds(&self, boxes: &[(&Vec<f64>, &Vec<f64>)]) -> BoxBounds {
        let lower: Vec<f64> = boxes.iter().flat_map(|(lower, _)| lower.iter().copied()).collect();
        let upper: Vec<f64> = boxes.iter().flat_map(|(_, upper)| upper.iter().copied()).collect();
        self.bounder.bound(&lower, &upper, self.rows, true)
    }

    /// The lowest row of a box and its bound.
    fn lowest(&self, found: &BoxBounds, place: usize) -> (usize, f64) {
        let count = self.rows.constant.len();
        let rows = found.lower[place * count..][..count].iter().copied().enumerate();
        rows.fold((0, f64::INFINITY), |least, row| if row.1 < least.1 { row } else { least })
    }

    /// A box as the queue keeps it; it is no worse than the one it was cut from.
    fn entry(&self, found: &BoxBounds, place: usize, open: Open) -> Entry {
        let (row, bound) = self.lowest(found, place);
        let inputs = self.first.network.inputs();
        let of_row =
            |table: &[f64]| table[(place * self.rows.constant.len() + row) * inputs..][..inputs].to_vec();
        let open = Open { bound: bound.max(open.bound), ..open };
        Entry { open, coefficients: of_row(&found.coefficients), losses: of_row(&found.losses) }
    }

    /// Halves the boxes where the halves need the fewest more, as far as their bounds tell. The halves, the lowest value met at a point, and
    /// whether a box is too small to be cut.
    fn halve(&self, state: &mut BranchState, batch: Vec<Entry>, attained: f64) -> (Vec<Entry>, f64, bool) {
        let problem = self.first;
        let (mut tried, mut sides, mut seen) = (Vec::new(), Vec::new(), f64::INFINITY);
        let (mut left, mut stuck) = (Vec::new(), false);
        for entry in batch {
            let place = state.tree.place(entry.open.node, &problem.lower, &problem.upper);
            seen = seen.min(self.value(&entry, (&place.lower, &place.upper)));
            let cuts = self.cuts(&entry, (&place.lower, &place.upper));
            if cuts.is_empty() {
                stuck = true;
                left.push(entry);
                continue;
            }
            for &(input, at) in &cuts {
                let (mut below, mut above) = (place.upper.clone(), place.lower.clone());
                (below[input], above[input]) = (at, at);
                sides.extend([(place.lower.clone(), below), (above, place.upper.clone())]);
            }
            tried.push((entry, cuts));
        }
        let boxes: Vec<_> = sides.iter().map(|(lower, upper)| (lower, upper)).collect();
        let found = self.bounds(&boxes);
        let mut place = 0;
        for (entry, cuts) in tried {
            let need = |which: usize| {
                need([0, 1].map(|side| attained - self.lowest(&found, place + 2 * which + side).1))
            };
            let best =
                (0..cuts.len()).fold(0, |best, which| if need(which) < need(best) { which } else { best });
            let (input, at) = cuts[best];
            let nodes = state.tree.cut(entry.open.node, Cut::Input { coordinate: input as u32, at });
            for (side, node) in nodes.into_iter().enumerate() {
                let open = Open { node, ..entry.open };
                left.push(self.entry(&found, place + 2 * best + side, open));
            }
            place += 2 * cuts.len();
            state.steps += 2;
        }
        (left, seen, stuck)
    }

    /// The least value of a row at the corner where the box's lowest bound is least.
    fn value(&self, entry: &Entry, (lower, upper): (&[f64], &[f64])) -> f64 {
        let (inner_lower, inner_upper) = &self.first.inner;
        let ends = lower.iter().zip(upper).zip(inner_lower.iter().zip(inner_upper));
        let corner = ends.zip(&entry.coefficients);
        let x: Vec<f64> =
            corner.map(|(((l, u), (il, iu)), c)| if *c > 0.0 { *l } else { *u }.clamp(*il, *iu)).collect();
        let outputs = self.first.network.forward(&x);
        let rows = self.rows.weight.chunks_exact(outputs.len().max(1)).zip(self.rows.constant);
        let values =
            rows.map(|(row, constant)| row.iter().zip(&outputs).map(|(w, y)| w * y).sum::<f64>() + constant);
        values.fold(f64::INFINITY, f64::min)
    }

    /// The likely cuts, best first: what they take off the row's least value and off what it loses at neurons.
    fn cuts(&self, entry: &Entry, (lower, upper): (&[f64], &[f64])) -> Vec<(usize, f64)> {
        let (inner_lower, inner_upper) = &self.first.inner;
        let sides = lower.iter().zip(upper).zip(inner_lower.iter().zip(inner_upper));
        let shares = entry.coefficients.iter().zip(&entry.losses);
        let mut cuts: Vec<(f64, (usize, f64))> = Vec::new();
        for (input, (((l, u), (il, iu)), (coefficient, loss))) in sides.zip(shares).enumerate() {
            // Strictly inside the exact box too, of which the floats are the outside.
            let (l, u) = (l.max(*il), u.min(*iu));
            let at = 0.5 * (l + u);
            if l < at && at < u {
                cuts.push(((coefficient.abs() + loss.abs() + 1e-9) * (u - l), (input, at)));
            }
        }
        cuts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let least = cuts.first().map_or(0.0, |best| LEAST_SHARE * best.0);
        cuts.into_iter().take_while(|cut| cut.0 >= least).take(CANDIDATES).map(|(_, cut)| cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use secateur_checker::kernel::split::OutputConstraint;
    use secateur_checker::model::{Activation, Layer, Matrix, Network};
    use secateur_checker::number::{Dyadic, Rational};

    use super::*;

    /// `y = relu(x) + relu(-x) = |x|` over `[-1, 2]`: `-y` gets as low as -2 and `y` as low as 0. The chords of one box reach
    /// `x / 3 + 4 / 3`, exact at 2 alone, so that more boxes come nearer from above.
    #[test]
    fn both_ends_are_met_and_more_boxes_come_nearer() {
        let layer = |weight: &[i64], rows, activation| {
            let values: Vec<Dyadic> = weight.iter().map(|w| Dyadic::new(*w, 0)).collect();
            let weight = Matrix { rows, columns: values.len() / rows, values };
            Layer { weight, bias: vec![Dyadic::new(0, 0); rows], activation, fixed: false }
        };
        let layers = vec![layer(&[1, -1], 2, Activation::Relu), layer(&[1, 1], 1, Activation::Identity)];
        let network = FloatNetwork::from_model(&Network { layers }, None).unwrap();
        let number = |text: &str| Rational::parse(text).unwrap();
        let case = |sign: &str| Case {
            lower: vec![number("-1")],
            upper: vec![number("2")],
            constraints: vec![OutputConstraint { coefficients: vec![number(sign)], bound: number("0") }],
        };
        let cases = [case("1"), case("-1")];
        let found = |max_steps| {
            let options = BranchOptions { max_steps, ..BranchOptions::default() };
            search_largest(&network, &cases, &options, &|| false)
        };
        for steps in [1, 5, 300] {
            let found = found(steps);
            assert!(found.bound <= -2.0 && found.attained >= -2.0 - 1e-9, "{found:?}");
            assert!(
                found.steps <= steps + 1
                    && found.state.tree.leaves() == found.state.tree.nodes.len().div_ceil(2)
            );
        }
        assert!((found(300).attained + 2.0).abs() < 1e-6);
        assert!(found(300).bound > -2.05, "{}", found(300).bound);
    }
}
