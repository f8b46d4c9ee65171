//! Split trees of the family `branch`: one per state, mask and bounded functional of the outputs. Untrusted.
//! `spec/certificate.md#split-trees`.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use secateur_checker::evaluate::Problem;
use secateur_checker::family::Family;
use secateur_checker::kernel::split::{Case, OutputConstraint};
use secateur_checker::local::LocalProblem;
use secateur_checker::number::Rational;
use secateur_checker::reader::trees::MAX_NODES;

use crate::certify::witness_error::WitnessError;
use crate::float::FloatNetwork;
use crate::progress::Progress;
use crate::search::branch::range::{fits, search_range};
use crate::search::branch::{BranchOptions, BranchProblem, SplitRule};

/// Regions bounded for a tree unless the user says otherwise.
pub const BRANCH_STEPS: u64 = 500;
/// Most regions for a tree; what the checker reads of one.
pub const MAX_BRANCH_STEPS: u64 = MAX_NODES as u64;

/// Gradient steps on a region's slopes and multipliers.
const GRADIENT_STEPS: usize = 30;

/// A named table of bytes: per state where its trees end, then all trees.
pub(crate) type TreeTable = (String, [usize; 1], Vec<u8>);

/// The trees of every state under one mask, with at most `steps` regions bounded for each.
///
/// # Errors
/// [`WitnessError`].
pub(crate) fn propose_trees(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    mask: usize,
    steps: u64,
    progress: &dyn Progress,
) -> Result<TreeTable, WitnessError> {
    let network = FloatNetwork::from_model(&problem.policy.network, problem.masks.get(mask))?;
    if !fits(&network) {
        return Err(WitnessError::TooWide);
    }
    let targets = targets(network.outputs(), local.has_margins());
    let options = BranchOptions {
        rule: SplitRule::Loss,
        gradient_steps: GRADIENT_STEPS,
        max_steps: steps,
        ..BranchOptions::default()
    };
    let total = local.states() * targets.len();
    let done = AtomicUsize::new(0);
    let trees: Result<Vec<Vec<u8>>, WitnessError> = (0..total)
        .into_par_iter()
        .map(|index| {
            let (state, target) = (index / targets.len(), index % targets.len());
            let case = case_of(local, state, &targets[target])?;
            let stop = || progress.stopped();
            let tree = search_range(&BranchProblem::new(&network, &case), &options, &stop);
            if progress.stopped() {
                return Err(WitnessError::Interrupted);
            }
            progress.advance("branching", done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(tree.bytes)
        })
        .collect();
    let blocks: Vec<Vec<u8>> = trees?.chunks(targets.len()).map(|trees| trees.concat()).collect();
    Ok(table_of(format!("{}.{mask}", Family::Branch.name()), &blocks))
}

/// What holds for every state, with the table of ends before it.
pub(crate) fn table_of(name: String, blocks: &[Vec<u8>]) -> TreeTable {
    let mut bytes = Vec::with_capacity(blocks.len() * 8);
    let mut end = 0u64;
    for block in blocks {
        end += block.len() as u64;
        bytes.extend(end.to_le_bytes());
    }
    bytes.extend(blocks.concat());
    (name, [bytes.len()], bytes)
}

/// The functionals whose least value is searched, in the checker's order: plus and minus each output (for its least and
/// its greatest value), then, with margins, minus every difference of two.
fn targets(outputs: usize, margins: bool) -> Vec<Vec<i64>> {
    let unit = |plus: Option<usize>, minus: Option<usize>| {
        (0..outputs).map(|o| i64::from(plus == Some(o)) - i64::from(minus == Some(o))).collect()
    };
    let mut list: Vec<Vec<i64>> =
        (0..outputs).flat_map(|o| [unit(Some(o), None), unit(None, Some(o))]).collect();
    if margins {
        let pairs = (0..outputs).flat_map(|i| (0..outputs).map(move |j| (i, j))).filter(|(i, j)| i != j);
        list.extend(pairs.map(|(first, second)| unit(Some(second), Some(first))));
    }
    list
}

/// The input box at a state with the functional as its only constraint.
fn case_of(local: &LocalProblem<'_>, state: usize, target: &[i64]) -> Result<Case, WitnessError> {
    let input = local.input_at(state).map_err(WitnessError::Grid)?;
    let exact = |v: &i64| Rational::from_dyadic((*v).into(), -i64::from(local.value_bits));
    let coefficients = target.iter().map(|c| Rational::from_integer((*c).into())).collect();
    Ok(Case {
        lower: input.region.lower().iter().map(exact).collect(),
        upper: input.region.upper().iter().map(exact).collect(),
        constraints: vec![OutputConstraint { coefficients, bound: Rational::zero() }],
    })
}
