//! Cells of the family `branch`: one tree of input cuts a state and mask, as many as the widest gaps need. Untrusted.
//! `spec/certificate.md#split-trees`.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use secateur_checker::evaluate::Problem;
use secateur_checker::local::LocalProblem;
use secateur_checker::model::Head;
use secateur_checker::number::Rational;
use secateur_checker::reader::trees::MAX_NODES;

use crate::bound::FloatBounds;
use crate::certify::radius::softmax_change;
use crate::certify::trees::{TreeTable, table_of};
use crate::certify::witness_error::WitnessError;
use crate::float::{FloatNetwork, dyadic_to_float, rational_to_float};
use crate::progress::Progress;
use crate::search::branch::cells::{CellBounder, CellProblem, CellSearch, Together};
use crate::search::branch::range::fits;
use crate::search::counterexample::PointSearch;

/// Cells bounded for a state and mask, on average, unless the user says otherwise.
pub const CELLS: u64 = 2000;
/// Most of them; what the checker reads of one tree.
pub const MAX_CELLS: u64 = MAX_NODES as u64;

/// Cells bounded of a state and mask between two looks at the gaps.
const TURN: u64 = 128;

/// How close bounds from above and from below are to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellRequest {
    /// The gap `1 - below / above` that is small enough.
    pub gap: Rational,
    /// Cells bounded for a state and mask, on average.
    pub cells: u64,
}

/// What a search of one state and mask needs beside its problem.
struct Task {
    mask: usize,
    state: usize,
    lower: Vec<f64>,
    upper: Vec<f64>,
    clean: Vec<f64>,
    /// What the network reads at the best point known.
    known: Option<Vec<f64>>,
    search: Option<CellSearch>,
}

/// How far outputs move, as a number that is compared and as the quantity that certificates state.
struct Aim<'a> {
    head: &'a Head,
    inverse_std: Vec<f64>,
}

impl Aim<'_> {
    fn of(&self, clean: &[f64], outputs: &FloatBounds, differences: &[f64], together: &Together<'_>) -> f64 {
        let ends = outputs.lower.iter().zip(&outputs.upper).zip(clean);
        let changes = ends.map(|((l, u), c)| (u - c).max(c - l).max(0.0));
        match self.head {
            Head::Gaussian { .. } => {
                let squares = self.inverse_std.iter().map(|inverse| inverse * inverse);
                let by_outputs: f64 =
                    changes.zip(squares.clone()).map(|(change, weight)| change * change * weight).sum();
                // As the checker's rule bounds it.
                let (mut pulls, mut apart, mut still) = (Vec::new(), 0.0, 0.0);
                for ((lower, upper), (clean, weight)) in
                    outputs.lower.iter().zip(&outputs.upper).zip(clean.iter().zip(squares))
                {
                    let (middle, reach) = (0.5 * (lower + upper) - clean, 0.5 * (upper - lower));
                    apart += weight * (reach * reach - middle * middle);
                    still += weight * middle * clean;
                    pulls.push(weight * middle);
                }
                by_outputs.min((2.0 * (together(&pulls) - still) + apart).max(0.0)).sqrt()
            }
            Head::Deterministic => changes.fold(0.0, f64::max),
            Head::Categorical => {
                let drift = drift(clean, differences);
                let known = softmax_change(clean, differences, drift);
                let worst = (0.25 * drift).tanh();
                known.map_or(worst, |known| worst.min(rational_to_float(&known.total_variation)))
            }
        }
    }

    /// The quantity for a value of the aim.
    fn quantity(&self, value: f64) -> f64 {
        match self.head {
            Head::Gaussian { .. } => error_function(value * std::f64::consts::FRAC_1_SQRT_2 * 0.5),
            Head::Categorical | Head::Deterministic => value,
        }
    }
}

/// The largest drift of two logits.
fn drift(clean: &[f64], differences: &[f64]) -> f64 {
    let pairs = (0..clean.len()).flat_map(|i| (0..clean.len()).filter(move |j| *j != i).map(move |j| (i, j)));
    pairs.zip(differences).fold(0.0, |most, ((i, j), upper)| (upper - (clean[i] - clean[j])).max(most))
}

/// To 1.5e-7.
///
/// # References
/// Abramowitz and Stegun 1964, 7.1.26.
fn error_function(x: f64) -> f64 {
    const TERMS: [f64; 5] = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let sum = TERMS.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    1.0 - sum * (-x * x).exp()
}

/// The cells of every state under every mask: the budget goes, turn by turn, to those with the widest gaps. `points`
/// holds, by mask and state, the offset of the best point known, and gets a better one where a cell leads to it.
///
/// # Errors
/// [`WitnessError`].
pub(crate) fn propose_cells(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    request: &CellRequest,
    points: &mut [Vec<Vec<f64>>],
    progress: &dyn Progress,
) -> Result<Vec<TreeTable>, WitnessError> {
    let networks =
        problem.masks.iter().map(|mask| FloatNetwork::from_model(&problem.policy.network, Some(mask)));
    let networks = networks.collect::<Result<Vec<_>, _>>()?;
    if !networks.iter().all(fits) {
        return Err(WitnessError::TooWide);
    }
    let head = &problem.policy.head;
    let differences = matches!(head, Head::Categorical);
    let bounders: Vec<_> = networks.iter().map(|network| CellBounder::new(network, differences)).collect();
    let inverse_std: Vec<f64> = match head {
        Head::Gaussian { log_std } => log_std.iter().map(|entry| (-dyadic_to_float(*entry)).exp()).collect(),
        Head::Categorical | Head::Deterministic => vec![1.0; problem.policy.network.outputs()],
    };
    let aim = Aim { head, inverse_std };
    let scale = 0.5f64.powi(local.value_bits as i32);
    let floats = |ends: Vec<i64>| ends.into_iter().map(|x| x as f64 * scale).collect::<Vec<f64>>();
    let mut tasks = Vec::new();
    for (mask, network) in networks.iter().enumerate() {
        let attack = PointSearch::new(problem, mask)?;
        for state in 0..local.states() {
            let input = local.input_at(state).map_err(WitnessError::Grid)?;
            let clean = network.forward(&floats(input.center.lower()));
            let (lower, upper) = (floats(input.region.lower()), floats(input.region.upper()));
            let known = points.get(mask).and_then(|rows| rows.get(state));
            let known = known.map(|offset| attack.read(state, offset));
            tasks.push(Task { mask, state, lower, upper, clean, known, search: None });
        }
    }
    let total = request.cells.saturating_mul(tasks.len() as u64);
    let done = AtomicU64::new(0);
    let enough = rational_to_float(&request.gap);
    let gap = |attained: f64, bound: f64| {
        let (below, above) = (aim.quantity(attained), aim.quantity(bound));
        if above > 0.0 { 1.0 - below / above } else { 0.0 }
    };
    // What is proved is proved on a grid, and a little more than what floats say.
    let kept = |attained: f64, bound: f64| gap(attained, bound) <= enough - 1e-6;
    let turn = |task: &mut Task, cells: u64| {
        let Task { mask, lower, upper, clean, known, search, .. } = task;
        let value = |outputs: &FloatBounds, differences: &[f64], together: &Together<'_>| {
            aim.of(clean, outputs, differences, together)
        };
        let (bounder, weights) = (&bounders[*mask], &aim.inverse_std[..]);
        let problem = CellProblem { bounder, lower, upper, clean, weights, aim: &value };
        let attained = || known.as_ref().map_or(0.0, |x| problem.attained(x));
        let search = search.get_or_insert_with(|| CellSearch::new(&problem, attained()));
        let before = search.steps();
        search.run(&problem, cells, &kept);
        done.fetch_add(search.steps() - before, Ordering::Relaxed);
    };
    tasks.par_iter_mut().for_each(|task| turn(task, 0));
    loop {
        if progress.stopped() {
            return Err(WitnessError::Interrupted);
        }
        let used = done.load(Ordering::Relaxed);
        progress.advance("cutting", used.min(total) as usize, total as usize);
        let mut open: Vec<(f64, &mut Task)> = Vec::new();
        for task in &mut tasks {
            let Some(search) = &task.search else { continue };
            if search.is_open() && !kept(search.attained(), search.bound()) {
                open.push((gap(search.attained(), search.bound()), task));
            }
        }
        let left = total.saturating_sub(used);
        if open.is_empty() || left < 2 {
            break;
        }
        open.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1.mask, a.1.state).cmp(&(b.1.mask, b.1.state))));
        // The wider half, so that the machine is busy.
        let chosen = open.len().div_ceil(2).min((left / 2) as usize);
        open.truncate(chosen);
        let cells = TURN.min(left / chosen as u64);
        open.into_par_iter().for_each(|(_, task)| turn(task, cells));
    }
    for (mask, rows) in points.iter_mut().enumerate() {
        let attack = PointSearch::new(problem, mask)?;
        for task in tasks.iter().filter(|task| task.mask == mask) {
            let met = task.search.as_ref().and_then(CellSearch::point);
            if let Some((row, input)) = rows.get_mut(task.state).zip(met) {
                *row = attack.search_from(task.state, std::mem::take(row), input);
            }
        }
    }
    let tables = (0..networks.len()).map(|mask| {
        let own = tasks.iter().filter(|task| task.mask == mask);
        let trees: Vec<Vec<u8>> = own.filter_map(|task| task.search.as_ref()).map(CellSearch::emit).collect();
        table_of(format!("cells.{mask}"), &trees)
    });
    Ok(tables.collect())
}
