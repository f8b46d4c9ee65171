//! The cases of a property, searched in turns: one that is hard to prove does not keep a point of another from being met.
//! Untrusted.

use secateur_checker::kernel::split::Case;
use secateur_checker::number::Rational;

use crate::float::FloatNetwork;
use crate::search::branch::together::{Together, search_together};
use crate::search::branch::tree::SplitTree;
use crate::search::branch::{
    AUTO_INPUTS, BranchOptions, BranchOutcome, BranchProblem, BranchState, search_branch_with,
};

/// Most inputs of networks whose cases are searched together first.
const TOGETHER_INPUTS: usize = 40;
/// Regions that are bounded together where there are more than [`AUTO_INPUTS`] inputs, before each case is searched alone.
const TOGETHER_STEPS: u64 = 1 << 13;
/// Regions of a first turn; every further one has twice as many.
const FIRST_TURN: u64 = 1 << 12;
/// Regions between two looks at `stop`.
const STEPS_A_ROUND: u64 = 64;

/// What became of all cases.
pub(super) enum Turns {
    /// Trees in the order of the cases, and how many cases each is about.
    Verified(Vec<(SplitTree, usize)>),
    Falsified {
        /// Which case, from 0.
        case: usize,
        point: Vec<Rational>,
    },
    Unknown {
        /// In every region left open some constraint of its case is at least this.
        best_bound: f64,
    },
}

/// Cases that follow each other and are searched by one tree, whose state is that of the first.
struct Task {
    first: usize,
    count: usize,
    /// Regions in all.
    limit: u64,
    tree: Option<SplitTree>,
    best_bound: f64,
}

/// Whether a point, in what the network reads, may answer for a case.
pub(super) type Accepts<'a> = dyn Fn(usize, &[Rational]) -> bool + 'a;

/// Searches all cases until each is decided, a point of one is met, its budget is used up, or `stop`. `several` says that the
/// network is of several side by side; `together` that cases may share a tree that is thrown away.
pub(super) fn search(
    network: &FloatNetwork,
    cases: &[Case],
    (several, together): (bool, bool),
    options: &BranchOptions,
    states: &mut [BranchState],
    accepts: &Accepts<'_>,
    stop: &dyn Fn() -> bool,
) -> Turns {
    let mut tasks: Vec<Task> = Vec::new();
    let mut first = 0;
    for cases in groups(network, cases, several) {
        let own = &states[first..first + cases.len()];
        let task = |at: usize, count: usize| Task {
            first: first + at,
            count,
            limit: own[at].steps().saturating_add(options.max_steps),
            tree: None,
            best_bound: f64::NEG_INFINITY,
        };
        // Leaves that were given of each case are gone on with alone.
        let is_one = cases.len() > 1 && own.iter().skip(1).all(is_new);
        if is_one && network.inputs() <= AUTO_INPUTS {
            tasks.push(task(0, cases.len()));
        } else {
            // With many inputs a tree that does not close is thrown away, so that each case has a state of its own.
            let mut all = task(0, cases.len());
            if is_one && together && is_new(&own[0]) {
                let most = options.max_steps.min(TOGETHER_STEPS);
                let mut passing = BranchState::default();
                match all.search(network, cases, (options, most), &mut passing, accepts, stop) {
                    Together::Falsified { case, point } => return Turns::Falsified { case, point },
                    Together::Verified(tree) => all.tree = Some(tree),
                    Together::Unknown { .. } => {}
                }
            }
            if all.tree.is_some() {
                tasks.push(all);
            } else {
                tasks.extend((0..cases.len()).map(|at| task(at, 1)));
            }
        }
        first += cases.len();
    }
    let mut pending: Vec<usize> = (0..tasks.len()).filter(|task| tasks[*task].tree.is_none()).collect();
    let mut turn = FIRST_TURN;
    while !pending.is_empty() {
        let mut left = Vec::new();
        for index in pending {
            // Of many cases, those that time or the proof's room has run out for are not looked at.
            if stop() || BranchState::are_full(states) {
                continue;
            }
            let task = &mut tasks[index];
            let state = &mut states[task.first];
            let until = state.steps().saturating_add(turn).min(task.limit);
            let own = &cases[task.first..task.first + task.count];
            match task.search(network, own, (options, until), state, accepts, stop) {
                Together::Falsified { case, point } => return Turns::Falsified { case, point },
                Together::Verified(tree) => task.tree = Some(tree),
                Together::Unknown { best_bound } => {
                    task.best_bound = best_bound;
                    if state.steps() >= until && until < task.limit {
                        left.push(index);
                    }
                }
            }
        }
        pending = left;
        turn = turn.saturating_mul(2);
    }
    let open = tasks.iter().filter(|task| task.tree.is_none());
    if let Some(best_bound) = open.map(|task| task.best_bound).reduce(f64::min) {
        return Turns::Unknown { best_bound };
    }
    Turns::Verified(tasks.into_iter().filter_map(|task| Some((task.tree?, task.count))).collect())
}

/// Cases that follow each other and may be searched together: those of several networks, one box and one constraint each.
pub(super) fn groups<'a>(
    network: &FloatNetwork,
    cases: &'a [Case],
    several: bool,
) -> impl Iterator<Item = &'a [Case]> {
    let several = several && network.inputs() <= TOGETHER_INPUTS;
    cases.chunk_by(move |a, b| {
        let single = a.constraints.len() == 1 && b.constraints.len() == 1;
        several && single && same_box(a, b)
    })
}

pub(super) fn same_box(a: &Case, b: &Case) -> bool {
    (&a.lower, &a.upper) == (&b.lower, &b.upper)
}

fn is_new(state: &BranchState) -> bool {
    *state == BranchState::default()
}

impl Task {
    /// Goes on until the state has `until` regions.
    fn search(
        &self,
        network: &FloatNetwork,
        cases: &[Case],
        (options, until): (&BranchOptions, u64),
        state: &mut BranchState,
        accepts: &Accepts<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Together {
        if let [case] = cases {
            let accepts = |point: &[Rational]| accepts(self.first, point);
            return match search_alone(network, case, (options, until), state, &accepts, stop) {
                BranchOutcome::Falsified(point) => Together::Falsified { case: self.first, point },
                BranchOutcome::Verified(tree) => Together::Verified(tree),
                BranchOutcome::Unknown { best_bound } => Together::Unknown { best_bound },
            };
        }
        let options = BranchOptions { max_steps: until.saturating_sub(state.steps()), ..*options };
        let of_case = |case: usize, point: &[Rational]| accepts(self.first + case, point);
        match search_together(network, cases, &options, state, &of_case, stop) {
            Together::Falsified { case, point } => Together::Falsified { case: self.first + case, point },
            found => found,
        }
    }
}

fn search_alone(
    network: &FloatNetwork,
    case: &Case,
    (options, until): (&BranchOptions, u64),
    state: &mut BranchState,
    accepts: &dyn Fn(&[Rational]) -> bool,
    stop: &dyn Fn() -> bool,
) -> BranchOutcome {
    let problem = BranchProblem::new(network, case);
    loop {
        let budget = state.steps().saturating_add(STEPS_A_ROUND).min(until);
        let options = BranchOptions { max_steps: budget, ..*options };
        let outcome = search_branch_with(&problem, &options, state, accepts);
        let unknown = matches!(outcome, BranchOutcome::Unknown { .. });
        if !unknown || state.steps() >= until || state.steps() < budget || stop() {
            return outcome;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use secateur_checker::kernel::split::OutputConstraint;

    use super::*;
    use crate::float::{FloatActivation, FloatLayer};

    /// `|x_0 - x_1|` and `x_0`, over two inputs in `[-1, 1]`.
    fn network() -> FloatNetwork {
        let weight = vec![1.0, -1.0, -1.0, 1.0, 1.0, 0.0];
        let hidden = FloatLayer::new(2, weight, vec![0.0, 0.0, 2.0], FloatActivation::Relu).expect("a layer");
        let weight = vec![1.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let last = FloatLayer::new(3, weight, vec![0.0, -2.0], FloatActivation::Identity).expect("a layer");
        FloatNetwork { layers: vec![hidden, last] }
    }

    fn at_most(coefficients: [i64; 2], bound: &str) -> Case {
        let one = || vec![Rational::one(); 2];
        let coefficients = coefficients.map(|c| Rational::from_integer(c.into())).to_vec();
        let bound = Rational::parse(bound).expect("a number");
        let constraints = vec![OutputConstraint { coefficients, bound }];
        Case { lower: one().iter().map(Rational::neg).collect(), upper: one(), constraints }
    }

    /// The first case is false, and so narrowly along a whole line that it is never closed; a point of the second is met before the
    /// time is up that the first would take.
    #[test]
    fn a_case_does_not_wait_for_another_for_ever() {
        let network = network();
        let cases = [at_most([1, 0], "-1e-9"), at_most([0, 1], "-0.99")];
        let mut states = vec![BranchState::default(); 2];
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 200
        };
        let options = BranchOptions::default();
        let found =
            search(&network, &cases, (false, true), &options, &mut states, &|case, _| case == 1, &stop);
        assert!(matches!(found, Turns::Falsified { case: 1, .. }));
        assert!(states[0].steps() >= FIRST_TURN && asked.get() < 200);
    }

    /// Turns do not change what a budget of steps means.
    #[test]
    fn a_budget_ends_the_turns() {
        let network = network();
        let cases = [at_most([1, 0], "-1e-9"), at_most([1, 0], "-2e-9")];
        let mut states = vec![BranchState::default(); 2];
        let options = BranchOptions { max_steps: 3 * FIRST_TURN, ..BranchOptions::default() };
        for turn in 1..=2 {
            let found =
                search(&network, &cases, (false, true), &options, &mut states, &|_, _| false, &|| false);
            assert!(matches!(found, Turns::Unknown { .. }));
            for state in &states {
                let over = state.steps() - turn * options.max_steps;
                assert!(over < 2048, "{}", state.steps());
            }
        }
    }
}
