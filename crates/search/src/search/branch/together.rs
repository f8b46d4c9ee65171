//! Several cases of one box and one constraint each, decided by one tree: a region is done where every constraint is violated
//! by default slopes. Untrusted. `spec/rules/split.md#splitinput`.
//!
//! Many cheap boxes: [`crate::bound::boxes`] bounds all constraints over a batch of regions; those that are left are halved. The
//! tree depends neither on the number of threads nor on where a search was interrupted between batches.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use secateur_checker::kernel::split::Case;
use secateur_checker::number::Rational;

use super::attack::search_point;
use super::cheap::halves;
use super::point::FloatConstraint;
use super::problem::{AUTO_INPUTS, BranchOptions, BranchProblem};
use super::sample;
use super::tree::{Cut, Place, SplitLeaf, SplitNode};
use super::{BranchState, Open, SplitTree, need};
use crate::bound::boxes::{BoxBounder, BoxBounds, OutputRows};
use crate::float::FloatNetwork;

/// Regions bounded at a time.
const BATCH: usize = 1024;
/// Regions bounded before points are looked for by gradients.
const ATTACK_AFTER: u64 = 1500;
/// Regions of a batch in which a point is looked for.
const LOOKED_INTO: usize = 8;

/// Batches between two looks for points: descents in open regions, random points.
const LOOK_EVERY: u64 = 4;
/// Looks once no proof would hold a larger tree.
const LOOKS_WHEN_FULL: usize = 256;

/// Cuts that are tried on a box, and the share of the best one's score that a second one needs: a check takes twice as long as the
/// search of a box, and trees are a fifth smaller, some by three quarters. Small trees are done sooner without.
const CANDIDATES: usize = 2;
const TRIED_AFTER: u64 = 1 << 10;
const NEARLY: f64 = 0.5;

/// What became of the cases.
#[derive(Clone, Debug, PartialEq)]
pub enum Together {
    /// No input satisfies any of them: each leaf violates all.
    Verified(SplitTree),
    /// This point satisfies this one of them.
    Falsified {
        /// Which, from 0.
        case: usize,
        /// The point, in what the network reads.
        point: Vec<Rational>,
    },
    /// The budget is used up.
    Unknown {
        /// In every region left open every constraint is at least this.
        best_bound: f64,
    },
}

/// The cases, and their constraints as rows.
struct Search<'a> {
    problems: Vec<BranchProblem<'a>>,
    bounder: BoxBounder<f64>,
    weight: Vec<f64>,
    constant: Vec<f64>,
    /// What a row has to exceed.
    enough: Vec<f64>,
    accepts: &'a dyn Fn(usize, &[Rational]) -> bool,
}

/// Searches the cases, which have one box and one constraint each, until a verdict, the budget of steps or `stop`; `accepts`
/// has the last word on a point.
pub fn search_together(
    network: &FloatNetwork,
    cases: &[Case],
    options: &BranchOptions,
    state: &mut BranchState,
    accepts: &dyn Fn(usize, &[Rational]) -> bool,
    stop: &dyn Fn() -> bool,
) -> Together {
    let search = Search::new(network, cases, options, accepts);
    let limit = state.steps.saturating_add(options.max_steps);
    let mut random = ChaCha8Rng::seed_from_u64(options.seed ^ state.steps);
    let mut batches = 0u64;
    while !state.open.is_empty() {
        if state.is_full()
            && let Some(found) = search.look_on(state, stop, &mut random)
        {
            return found;
        }
        if state.steps >= limit || state.is_full() || stop() {
            return Together::Unknown { best_bound: state.lowest() };
        }
        // What is proved by few boxes needs no attack, which costs as much as thousands.
        if !state.attacked && state.steps >= ATTACK_AFTER {
            state.attacked = true;
            if let Some(found) = search.attack(options.seed) {
                return found;
            }
        }
        match search.batch(state) {
            Ok(()) => {}
            Err(Some(found)) => return found,
            Err(None) => return Together::Unknown { best_bound: state.lowest() },
        }
        batches += 1;
        // For one case each time.
        if state.attacked && batches.is_multiple_of(LOOK_EVERY) {
            let case = (batches / LOOK_EVERY % cases.len() as u64) as usize;
            let found = search.descend(state, case, &mut random);
            if let Some(found) = found.or_else(|| search.sample(case, &mut random)) {
                return found;
            }
        }
    }
    Together::Verified(state.tree.clone())
}

impl<'a> Search<'a> {
    fn new(
        network: &'a FloatNetwork,
        cases: &'a [Case],
        options: &BranchOptions,
        accepts: &'a dyn Fn(usize, &[Rational]) -> bool,
    ) -> Self {
        let problems: Vec<BranchProblem<'a>> =
            cases.iter().map(|case| BranchProblem::new(network, case)).collect();
        let constraints: Vec<&FloatConstraint> =
            problems.iter().filter_map(|p| p.constraints.first()).collect();
        let size =
            |c: &FloatConstraint| c.coefficients.iter().fold(c.bound.abs(), |size, c| size.max(c.abs()));
        Self {
            bounder: BoxBounder::new(network),
            weight: constraints.iter().flat_map(|c| c.coefficients.iter().copied()).collect(),
            constant: constraints.iter().map(|c| -c.bound).collect(),
            enough: constraints.iter().map(|c| options.margin * size(c)).collect(),
            problems,
            accepts,
        }
    }

    /// Signed gradient steps for each case.
    fn attack(&self, seed: u64) -> Option<Together> {
        self.problems.iter().enumerate().find_map(|(case, problem)| {
            let (lower, upper) = &problem.inner;
            let found = search_point(problem.network, lower, upper, &problem.constraints, seed);
            self.accepted(case, &found.0, found.1)
        })
    }

    /// Goes down in some open regions for one case.
    fn descend(&self, state: &BranchState, case: usize, random: &mut ChaCha8Rng) -> Option<Together> {
        let problem = &self.problems[case];
        let points = [state.descend(problem, None), state.descend(problem, Some(random))];
        points.into_iter().flatten().find_map(|(x, value)| self.accepted(case, &x, value))
    }

    /// Looks for points though nothing more can be proved.
    fn look_on(
        &self,
        state: &BranchState,
        stop: &dyn Fn() -> bool,
        random: &mut ChaCha8Rng,
    ) -> Option<Together> {
        (0..LOOKS_WHEN_FULL).take_while(|_| !stop()).find_map(|look| {
            let case = look % self.problems.len();
            self.descend(state, case, random).or_else(|| self.sample(case, random))
        })
    }

    /// Random points for all cases, and descents from the best for one of them.
    fn sample(&self, case: usize, random: &mut ChaCha8Rng) -> Option<Together> {
        if self.problems[case].network.inputs() > AUTO_INPUTS {
            return None;
        }
        let drawn = sample::draw(&self.problems, random);
        let further = sample::descend_from(&self.problems[case], &drawn[case]);
        let all = drawn.iter().enumerate().flat_map(|(case, points)| points.iter().map(move |p| (case, p)));
        all.chain(further.as_ref().map(|point| (case, point)))
            .find_map(|(case, (x, value))| self.accepted(case, x, *value))
    }

    /// The point, if the case's constraint holds there.
    fn accepted(&self, case: usize, x: &[f64], value: f64) -> Option<Together> {
        let point = (value <= 0.0).then(|| self.problems[case].in_box(x)).flatten()?;
        (self.accepts)(case, &point).then_some(Together::Falsified { case, point })
    }

    /// Bounds the regions cut last, closes those where every constraint is violated and halves the others. An error ends the
    /// search: a point, or a region too small to be cut.
    fn batch(&self, state: &mut BranchState) -> Result<(), Option<Together>> {
        let first = &self.problems[0];
        let inputs = first.network.inputs();
        let batch = state.open.split_off(state.open.len().saturating_sub(BATCH));
        let places: Vec<_> =
            batch.iter().map(|open| state.tree.place(open.node, &first.lower, &first.upper)).collect();
        let corners = |side: fn(&Place) -> &Vec<f64>| -> Vec<f64> {
            places.iter().flat_map(|place| side(place).iter().copied()).collect()
        };
        let (lower, upper) = (corners(|p| &p.lower), corners(|p| &p.upper));
        let rows = OutputRows { weight: &self.weight, constant: &self.constant };
        let found = self.bounder.bound(&lower, &upper, rows, false);
        let mut left: Vec<(f64, usize)> = Vec::new();
        for (index, (open, bounds)) in
            batch.iter().zip(found.lower.chunks_exact(self.constant.len())).enumerate()
        {
            state.steps += 1;
            let least = self.short(bounds);
            if least > 0.0 {
                state.tree.nodes[open.node] = leaf();
            } else {
                left.push((least, index));
            }
        }
        let mut worst = left.clone();
        worst.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, index) in worst.into_iter().take(LOOKED_INTO) {
            if let Some(point) =
                self.look(&found, index, (&lower[index * inputs..], &upper[index * inputs..]))
            {
                state.open.extend(batch);
                return Err(Some(point));
            }
        }
        let most = if state.steps < TRIED_AFTER { 1 } else { CANDIDATES };
        let cuts: Vec<Vec<Cut>> =
            left.iter().map(|(_, index)| self.cuts(&found, *index, &places[*index], most)).collect();
        let tried = self.halves(left.iter().map(|(_, index)| &places[*index]).zip(&cuts));
        let (mut stuck, mut tried) = (false, tried.chunks_exact(2));
        for ((bound, index), cuts) in left.into_iter().zip(cuts) {
            let open = batch[index];
            let halves: Vec<&[f64]> =
                if cuts.len() > 1 { tried.by_ref().take(cuts.len()).collect() } else { Vec::new() };
            let need =
                |which: &usize| halves.get(*which).map_or(0.0, |halves| need([-halves[0], -halves[1]]));
            let Some(best) = (0..cuts.len()).min_by(|a, b| need(a).total_cmp(&need(b))) else {
                state.open.push(Open { bound, ..open });
                stuck = true;
                continue;
            };
            for (side, node) in state.tree.cut(open.node, cuts[best]).into_iter().enumerate() {
                if halves.get(best).is_some_and(|halves| halves[side] > 0.0) {
                    state.steps += 1;
                    state.tree.nodes[node] = leaf();
                } else {
                    state.open.push(Open { node, bound });
                }
            }
        }
        if stuck { Err(None) } else { Ok(()) }
    }

    /// A point of a region at which a case holds: where the linear bound of an open constraint is least.
    fn look(&self, found: &BoxBounds, index: usize, (lower, upper): (&[f64], &[f64])) -> Option<Together> {
        let network = self.problems[0].network;
        let (inputs, rows) = (network.inputs(), self.constant.len());
        let bounds = &found.lower[index * rows..][..rows];
        let row = (0..rows).min_by(|a, b| bounds[*a].total_cmp(&bounds[*b]))?;
        let coefficients = &found.coefficients[(index * rows + row) * inputs..][..inputs];
        let (inner_lower, inner_upper) = &self.problems[row].inner;
        let ends = lower.iter().zip(upper).zip(inner_lower.iter().zip(inner_upper));
        let point: Vec<f64> = ends
            .zip(coefficients)
            .map(|(((l, u), (il, iu)), c)| if *c > 0.0 { *l } else { *u }.clamp(*il, *iu))
            .collect();
        let value = self.problems[row].constraints[0].value(&network.forward(&point));
        self.accepted(row, &point, value)
    }

    /// How far the lowest bound of a box is above what it has to exceed.
    fn short(&self, bounds: &[f64]) -> f64 {
        bounds.iter().zip(&self.enough).map(|(bound, enough)| bound - enough).fold(f64::INFINITY, f64::min)
    }

    /// [`Self::short`] of both halves of every box by every cut, where there are several.
    fn halves<'b>(&self, boxes: impl Iterator<Item = (&'b Place, &'b Vec<Cut>)>) -> Vec<f64> {
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for (place, cuts) in boxes.filter(|(_, cuts)| cuts.len() > 1) {
            for cut in cuts {
                halves(*cut, &place.lower, &place.upper, [&mut lower, &mut upper]);
            }
        }
        let rows = OutputRows { weight: &self.weight, constant: &self.constant };
        let found = self.bounder.bound(&lower, &upper, rows, false);
        found.lower.chunks_exact(self.constant.len()).map(|bounds| self.short(bounds)).collect()
    }

    /// Halves the input that the open constraints' bounds depend on most, or the one after it if they depend on it nearly as much:
    /// which of them is the better is told by the halves.
    fn cuts(&self, found: &BoxBounds, index: usize, place: &Place, most: usize) -> Vec<Cut> {
        let first = &self.problems[0];
        let (inputs, rows) = (first.network.inputs(), self.constant.len());
        let bounds = &found.lower[index * rows..][..rows];
        let coefficients = found.coefficients[index * rows * inputs..].chunks_exact(inputs);
        let mut reach = vec![0.0f64; inputs];
        for ((bound, enough), coefficients) in bounds.iter().zip(&self.enough).zip(coefficients) {
            if bound <= enough {
                reach.iter_mut().zip(coefficients).for_each(|(sum, c)| *sum += c.abs());
            }
        }
        let mut cuts = place.halvings(&first.inner, &reach);
        let least = cuts.first().map_or(0.0, |(best, _)| NEARLY * best);
        cuts.truncate(most);
        cuts.into_iter().take_while(|(score, _)| *score >= least).map(|(_, cut)| cut).collect()
    }
}

fn leaf() -> SplitNode {
    SplitNode::Leaf(SplitLeaf::Constraint { constraint: 0, slopes: None })
}

#[cfg(test)]
mod tests {
    use secateur_checker::kernel::split::OutputConstraint;

    use super::super::{BranchOutcome, MOST_VALUES, search_branch};
    use super::*;
    use crate::float::{FloatActivation, FloatLayer};

    /// `x_0` over two inputs in `[-1, 1]`.
    fn first_input() -> FloatNetwork {
        let layer =
            FloatLayer::new(2, vec![1.0, 0.0], vec![0.0], FloatActivation::Identity).expect("a layer");
        FloatNetwork { layers: vec![layer] }
    }

    fn at_most(bound: Rational) -> Case {
        let one = || vec![Rational::one(); 2];
        let constraint = OutputConstraint { coefficients: vec![Rational::one()], bound };
        Case { lower: one().iter().map(Rational::neg).collect(), upper: one(), constraints: vec![constraint] }
    }

    /// Open regions are looked into for the case that is asked.
    #[test]
    fn descents_are_of_one_case() {
        let network = first_input();
        let cases = ["-5", "-0.9"].map(|bound| at_most(Rational::parse(bound).expect("a number")));
        let search = Search::new(&network, &cases, &BranchOptions::default(), &|_, _| true);
        let (state, mut random) = (BranchState::default(), ChaCha8Rng::seed_from_u64(1));
        assert_eq!(search.descend(&state, 0, &mut random), None);
        assert!(matches!(search.descend(&state, 1, &mut random), Some(Together::Falsified { case: 1, .. })));
        // Random points are tried for all.
        assert!(matches!(search.sample(0, &mut random), Some(Together::Falsified { case: 1, .. })));
    }

    /// A tree that no proof would hold does not grow.
    #[test]
    fn a_full_tree_does_not_grow() {
        let (network, options) = (first_input(), BranchOptions::default());
        let case = at_most(Rational::parse("-5").expect("a number"));
        let full = || {
            let mut state = BranchState { attacked: true, ..BranchState::default() };
            state.tree.nodes.resize(MOST_VALUES / 19 + 1, SplitNode::Open);
            state
        };
        let mut state = full();
        let cases = [case.clone(), case.clone()];
        let found = search_together(&network, &cases, &options, &mut state, &|_, _| false, &|| false);
        assert!(matches!(found, Together::Unknown { .. }) && state.steps == 0, "{found:?}");
        let mut state = full();
        let found = search_branch(&BranchProblem::new(&network, &case), &options, &mut state);
        assert!(matches!(found, BranchOutcome::Unknown { .. }) && state.steps == 0, "{found:?}");
        assert!(BranchState::are_full(&[state]) && !BranchState::are_full(&[BranchState::default()]));
    }

    /// The lines depend on the first input alone, so that cuts of the second change no line at once; a region that has become
    /// narrow is cut there nevertheless. Cut at the first input only, it would be for ever.
    #[test]
    fn a_narrow_region_is_cut_across() {
        let network = first_input();
        let case = at_most(Rational::one());
        let cases = [case.clone(), case];
        let search = Search::new(&network, &cases, &BranchOptions::default(), &|_, _| false);
        let first = &search.problems[0];
        let mut place = SplitTree::default().place(0, &first.lower, &first.upper);
        for (width, coordinate) in [(1.0, 0), (0.5, 0), (0.01, 1)] {
            (place.lower[0], place.upper[0]) = (0.0, width);
            let rows = OutputRows { weight: &search.weight, constant: &search.constant };
            let found = search.bounder.bound(&place.lower, &place.upper, rows, false);
            let Some(Cut::Input { coordinate: cut, .. }) = search.cuts(&found, 0, &place, 1).first().copied()
            else {
                panic!("no cut")
            };
            assert_eq!(cut, coordinate, "{width}");
        }
    }
}
