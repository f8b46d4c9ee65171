//! Cuts a box of states into cells whose bounds prove a claim about the whole box. Untrusted; the bounds are the checker's
//! own, so that what is found is what will be proved. `spec/rules/region.md`.
//!
//! Of the cells cut in a round a quarter are those with the worst bound, the others the largest that do not keep the threshold
//! yet, as long as there are such.
//! A round's cells are bounded in parallel and taken in order, so that the tree does not depend on the number of threads.

use rayon::prelude::*;
use secateur_checker::claim::region::RegionProblem;
use secateur_checker::kernel::bounds::StateBounds;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::number::Rational;
use secateur_checker::reader::trees::MAX_DEPTH;

use crate::float::{float_to_rational, rational_to_float};

/// Cells cut in a round.
const ROUND: usize = 16;

/// What a search of cells aims at.
pub struct CoverGoal<'a> {
    /// How bad a cell's bound is; the largest is cut first.
    pub badness: &'a (dyn Fn(&StateBounds) -> f64 + Sync),
    /// Whether a cell is good enough to be left whole.
    pub kept: &'a (dyn Fn(&StateBounds) -> bool + Sync),
    /// Cells bounded at most.
    pub steps: u64,
}

/// A cell or a cut.
struct Cell {
    lower: Vec<Rational>,
    upper: Vec<Rational>,
    badness: f64,
    kept: bool,
    /// Share of the box's volume, in floats.
    share: f64,
    /// Cuts above it.
    above: usize,
    /// Coordinate and place of the best cut; `None` if there is none.
    cut: Option<(usize, f64)>,
    children: Option<[usize; 2]>,
}

/// A tree of cells in the layout of the checker's `reader::trees`.
pub struct Cover {
    /// The tree.
    pub bytes: Vec<u8>,
    /// Number of cells.
    pub cells: usize,
}

/// Cuts the box from `lower` to `upper` until every cell is kept and cannot be better, or the budget is used up; `tick` is
/// called after every round with the number of cells bounded and may ask to stop.
///
/// # Errors
/// [`Fault`] of a cell that cannot be bounded.
pub fn search_cover(
    problem: &RegionProblem<'_>,
    (lower, upper): (&[Rational], &[Rational]),
    weights: &[f64],
    goal: &CoverGoal<'_>,
    tick: &dyn Fn(u64) -> bool,
) -> Result<Cover, Fault> {
    let root = bound_cell(problem, weights, goal, (lower.to_vec(), upper.to_vec(), 1.0, 0))?;
    let mut cells = vec![root];
    let mut open = Vec::new();
    // Nothing can be cut of a box without extent in any input that the network reads.
    open.extend(cells[0].cut.map(|_| 0usize));
    let mut steps = 1u64;
    while !open.is_empty() && steps + 2 <= goal.steps && !tick(steps) {
        let budget = usize::try_from((goal.steps - steps) / 2).unwrap_or(ROUND).min(ROUND);
        let chosen = choose(&cells, &mut open, budget);
        let mut parts = Vec::new();
        for &index in &chosen {
            parts.extend(halves(&cells[index]));
        }
        let bounded: Result<Vec<Cell>, Fault> =
            parts.into_par_iter().map(|part| bound_cell(problem, weights, goal, part)).collect();
        let mut bounded = bounded?.into_iter();
        for index in chosen {
            let children = [cells.len(), cells.len() + 1];
            cells[index].children = Some(children);
            cells.extend(bounded.by_ref().take(2));
            open.extend(children.into_iter().filter(|c| cells[*c].cut.is_some()));
            steps += 2;
        }
    }
    Ok(emit(&cells))
}

/// Takes at most `budget` cells out of the open ones: the worst, and the largest that are not kept.
fn choose(cells: &[Cell], open: &mut Vec<usize>, budget: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    // Worst last; then the older.
    open.sort_unstable_by(|a, b| cells[*a].badness.total_cmp(&cells[*b].badness).then(b.cmp(a)));
    let unkept = open.iter().filter(|i| !cells[**i].kept).count();
    let largest = (budget * 3 / 4).min(unkept);
    let worst = (budget - largest).min(open.len());
    chosen.extend(open.split_off(open.len() - worst).into_iter().rev());
    let size = |index: &usize| if cells[*index].kept { 0.0 } else { cells[*index].share };
    open.sort_unstable_by(|a, b| size(a).total_cmp(&size(b)).then(b.cmp(a)));
    let most = (budget - worst).min(open.iter().filter(|i| size(i) > 0.0).count());
    chosen.extend(open.split_off(open.len() - most).into_iter().rev());
    chosen
}

/// Ends, share of the box's volume, cuts above.
type Part = (Vec<Rational>, Vec<Rational>, f64, usize);

fn halves(cell: &Cell) -> Vec<Part> {
    let Some((coordinate, at)) = cell.cut else { return Vec::new() };
    let exact = float_to_rational(at).unwrap_or_else(Rational::zero);
    let (l, u) = (&cell.lower[coordinate], &cell.upper[coordinate]);
    let ratio = exact.sub(l).div(&u.sub(l)).map_or(0.5, |r| rational_to_float(&r));
    let (mut below, mut above) = (cell.upper.clone(), cell.lower.clone());
    (below[coordinate], above[coordinate]) = (exact.clone(), exact);
    vec![
        (cell.lower.clone(), below, cell.share * ratio, cell.above + 1),
        (above, cell.upper.clone(), cell.share * (1.0 - ratio), cell.above + 1),
    ]
}

fn bound_cell(
    problem: &RegionProblem<'_>,
    weights: &[f64],
    goal: &CoverGoal<'_>,
    (lower, upper, share, above): Part,
) -> Result<Cell, Fault> {
    let bounds = problem.cell((&lower, &upper))?;
    let input = problem.input((&lower, &upper))?;
    let mut best = (0.0, None);
    for (coordinate, (low, high)) in input.center.intervals().enumerate() {
        let score = weights[coordinate] * (high as f64 - low as f64);
        let middle = lower[coordinate].add(&upper[coordinate]);
        let at = 0.5 * rational_to_float(&middle);
        let inside = float_to_rational(at).is_some_and(|x| lower[coordinate] < x && x < upper[coordinate]);
        // The checker reads no deeper tree.
        if inside && above < MAX_DEPTH && score > best.0 {
            best = (score, Some((coordinate, at)));
        }
    }
    let (badness, kept) = ((goal.badness)(&bounds), (goal.kept)(&bounds));
    Ok(Cell { lower, upper, badness, kept, share, above, cut: best.1, children: None })
}

fn emit(cells: &[Cell]) -> Cover {
    let (mut bytes, mut leaves) = (Vec::new(), 0);
    let mut waiting = vec![0];
    while let Some(index) = waiting.pop() {
        match (&cells[index].children, cells[index].cut) {
            (Some([first, second]), Some((coordinate, at))) => {
                bytes.push(3);
                // Regions have at most 65535 inputs, which the caller has tested.
                bytes.extend((coordinate as u16).to_le_bytes());
                bytes.extend(at.to_bits().to_le_bytes());
                waiting.extend([*second, *first]);
            }
            _ => {
                bytes.push(0);
                leaves += 1;
            }
        }
    }
    Cover { bytes, cells: leaves }
}
