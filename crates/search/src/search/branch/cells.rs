//! One tree of input cuts for all outputs at once: the cell where they may move farthest is cut again, until that is near
//! what a point attains or the budget is used up. Untrusted. `spec/rules/split.md#branchcells`.
//!
//! A cell is bounded with default slopes and stores nothing, so that many are cheap. Anytime and resumable; what is found
//! does not depend on the number of threads, because a fixed number of cells is cut at a time and taken in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use secateur_checker::reader::trees::{MAX_DEPTH, MAX_NODES};

use crate::bound::FloatBounds;
use crate::bound::boxes::{BoxBounder, BoxBounds, OutputRows};
use crate::float::FloatNetwork;

use super::range::emit_cut;
use super::tree::Cut;

/// Cells cut at a time.
const BATCH: usize = 16;
/// Inputs at which a cell is cut on trial; the cut whose halves are the least bad stays.
const TRIALS: usize = 4;

/// A network that is bounded over many cells at once.
pub struct CellBounder<'a> {
    network: &'a FloatNetwork,
    boxes: BoxBounder<f32>,
    /// Each output and its negation, then, if they are read, every difference of two.
    weight: Vec<f64>,
    constant: Vec<f64>,
}

impl<'a> CellBounder<'a> {
    /// For aims that read bounds of the differences of outputs if `differences`.
    pub fn new(network: &'a FloatNetwork, differences: bool) -> Self {
        let outputs = network.outputs();
        let unit = |i: usize, sign: f64| (0..outputs).map(move |o| if o == i { sign } else { 0.0 });
        let mut weight: Vec<f64> =
            (0..outputs).flat_map(|i| unit(i, 1.0).chain(unit(i, -1.0)).collect::<Vec<_>>()).collect();
        if differences {
            // The upper bound of a difference is minus the lower one of its negation.
            weight.extend(pairs(outputs).into_iter().map(|w| -w));
        }
        let constant = vec![0.0; weight.len() / outputs.max(1)];
        Self { network, boxes: BoxBounder::new(network), weight, constant }
    }
}

/// Every ordered difference of two of `outputs` outputs as weights, row-major.
pub fn pairs(outputs: usize) -> Vec<f64> {
    let of = |i: usize, j: usize| {
        (0..outputs).map(move |o| f64::from(u8::from(o == i)) - f64::from(u8::from(o == j)))
    };
    let each = (0..outputs).flat_map(|i| (0..outputs).filter(move |j| *j != i).map(move |j| (i, j)));
    each.flat_map(|(i, j)| of(i, j)).collect()
}

/// What cells are to make small, and of what.
pub struct CellProblem<'a> {
    /// The network.
    pub bounder: &'a CellBounder<'a>,
    /// Ends of the inputs.
    pub lower: &'a [f64],
    /// As many.
    pub upper: &'a [f64],
    /// The unperturbed outputs.
    pub clean: &'a [f64],
    /// How much a change of each output counts when a cut is chosen.
    pub weights: &'a [f64],
    /// How far the outputs move at most, given bounds of them, upper bounds of their differences in the order of
    /// [`pairs`], if there are any, and a bound of any weighted sum of them.
    pub aim: &'a (dyn Fn(&FloatBounds, &[f64], &Together<'_>) -> f64 + Sync),
}

/// The greatest value of a weighted sum of the outputs, given its weights.
pub type Together<'a> = dyn Fn(&[f64]) -> f64 + 'a;

/// A cell that was bounded.
struct Cell {
    bound: f64,
    parent: u32,
    /// Cuts above it.
    above: u32,
    /// Inputs that are worth a cut, the best first.
    worth: [u16; TRIALS],
    /// Coordinate and place of the cut, and the cell below; the one above follows it.
    cut: Option<(u16, f64, u32)>,
}

/// No input.
const NONE: u16 = u16::MAX;

/// A cell that may be cut: the worst first, then the older.
struct Waiting {
    bound: f64,
    cell: usize,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound).then(other.cell.cmp(&self.cell))
    }
}

/// Where a search stands.
pub struct CellSearch {
    cells: Vec<Cell>,
    waiting: BinaryHeap<Waiting>,
    /// The worst bound of a cell that cannot be cut.
    stuck: f64,
    /// The most that a point was seen to attain, and that point if the search met it.
    attained: (f64, Option<Vec<f64>>),
}

/// How bad the halves of a cut are together, its coordinate and place, and the halves.
type Trial = (f64, u16, f64, [Found; 2]);

/// What was found of one box.
struct Found {
    bound: f64,
    worth: [u16; TRIALS],
    /// The corner that decides the worst output.
    corner: Vec<f64>,
}

impl CellSearch {
    /// The whole set as one cell; `attained` is what some point of it is known to attain.
    pub fn new(problem: &CellProblem<'_>, attained: f64) -> Self {
        let mut search = Self {
            cells: Vec::new(),
            waiting: BinaryHeap::new(),
            stuck: f64::NEG_INFINITY,
            attained: (attained, None),
        };
        if let Some(root) = problem.bound(problem.lower, problem.upper).pop() {
            search.waiting.push(Waiting { bound: root.bound, cell: 0 });
            search.cells.push(Cell { bound: root.bound, parent: 0, above: 0, worth: root.worth, cut: None });
        }
        search
    }

    /// What the cells prove.
    pub fn bound(&self) -> f64 {
        self.waiting.peek().map_or(f64::NEG_INFINITY, |worst| worst.bound).max(self.stuck)
    }

    /// The most that a point was seen to attain.
    pub fn attained(&self) -> f64 {
        self.attained.0
    }

    /// The point that attains it, if this search met it.
    pub fn point(&self) -> Option<&[f64]> {
        self.attained.1.as_deref()
    }

    /// Whether the worst cell can be cut.
    pub fn is_open(&self) -> bool {
        self.cells.len() + 2 <= MAX_NODES && self.waiting.peek().is_some_and(|worst| worst.bound > self.stuck)
    }

    /// Cells bounded so far, those on trial aside.
    pub fn steps(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Cuts cells until `steps` more are bounded, about, or `enough` of what is attained and the bound, or none is left.
    pub fn run(&mut self, problem: &CellProblem<'_>, steps: u64, enough: &(dyn Fn(f64, f64) -> bool + Sync)) {
        let until = self.steps().saturating_add(steps);
        while self.is_open() && self.steps() < until && !enough(self.attained.0, self.bound()) {
            let room = MAX_NODES.saturating_sub(self.cells.len()) / 2;
            let mut chosen = Vec::new();
            while chosen.len() < BATCH.min(room) {
                let Some(worst) = self.waiting.pop() else { break };
                chosen.push(worst);
            }
            self.cut(problem, &chosen);
        }
    }

    /// The ends of a cell.
    fn place(&self, cell: usize, problem: &CellProblem<'_>) -> (Vec<f64>, Vec<f64>) {
        let (mut lower, mut upper) = (problem.lower.to_vec(), problem.upper.to_vec());
        let mut child = cell;
        while child != 0 {
            let parent = self.cells[child].parent as usize;
            if let Some((coordinate, at, below)) = self.cells[parent].cut {
                let coordinate = usize::from(coordinate);
                if below as usize == child {
                    upper[coordinate] = upper[coordinate].min(at);
                } else {
                    lower[coordinate] = lower[coordinate].max(at);
                }
            }
            child = parent;
        }
        (lower, upper)
    }

    fn cut(&mut self, problem: &CellProblem<'_>, chosen: &[Waiting]) {
        let (mut lower, mut upper, mut trials) = (Vec::new(), Vec::new(), Vec::new());
        for (order, worst) in chosen.iter().enumerate() {
            let cell = &self.cells[worst.cell];
            let (from, to) = self.place(worst.cell, problem);
            // The checker reads no deeper tree.
            let worth = cell.worth.iter().filter(|_| (cell.above as usize) < MAX_DEPTH);
            for &coordinate in worth.filter(|coordinate| **coordinate != NONE) {
                let place = usize::from(coordinate);
                let at = 0.5 * (from[place] + to[place]);
                lower.extend_from_slice(&from);
                upper.extend_from_slice(&to);
                let half = upper.len() - to.len() + place;
                upper[half] = at;
                lower.extend_from_slice(&from);
                upper.extend_from_slice(&to);
                let half = lower.len() - from.len() + place;
                lower[half] = at;
                trials.push((order, coordinate, at));
            }
        }
        let mut found = problem.bound(&lower, &upper).into_iter();
        let mut best: Vec<Option<Trial>> = chosen.iter().map(|_| None).collect();
        for (order, coordinate, at) in trials {
            let (Some(below), Some(above)) = (found.next(), found.next()) else { break };
            let score = below.bound + above.bound;
            if best[order].as_ref().is_none_or(|(least, ..)| score < *least) {
                best[order] = Some((score, coordinate, at, [below, above]));
            }
        }
        for (worst, best) in chosen.iter().zip(best) {
            let Some((_, coordinate, at, halves)) = best else {
                self.stuck = self.stuck.max(worst.bound);
                continue;
            };
            let (parent, first) = (worst.cell as u32, self.cells.len());
            self.cells[worst.cell].cut = Some((coordinate, at, first as u32));
            let above = self.cells[worst.cell].above + 1;
            for half in halves {
                let met = problem.attained(&half.corner);
                if met > self.attained.0 {
                    self.attained = (met, Some(half.corner));
                }
                self.waiting.push(Waiting { bound: half.bound, cell: self.cells.len() });
                self.cells.push(Cell { bound: half.bound, parent, above, worth: half.worth, cut: None });
            }
        }
    }

    /// The tree in the layout of the checker's `reader::trees`, without the cuts that did not help.
    pub fn emit(&self) -> Vec<u8> {
        let mut best: Vec<f64> = self.cells.iter().map(|cell| cell.bound).collect();
        for cell in (0..best.len()).rev() {
            if let Some((_, _, below)) = self.cells[cell].cut {
                let below = below as usize;
                best[cell] = best[cell].min(best[below].max(best[below + 1]));
            }
        }
        let (mut bytes, mut waiting) = (Vec::new(), vec![0]);
        while let Some(cell) = waiting.pop() {
            match self.cells[cell].cut {
                // A cell that is no worse than the worst of all need not be cut.
                Some((coordinate, at, below)) if self.cells[cell].bound > best[0] => {
                    emit_cut(Cut::Input { coordinate: coordinate.into(), at }, &mut bytes);
                    waiting.extend([below as usize + 1, below as usize]);
                }
                _ => bytes.push(0),
            }
        }
        bytes
    }
}

impl CellProblem<'_> {
    /// Bounds boxes, given one after the other.
    fn bound(&self, lower: &[f64], upper: &[f64]) -> Vec<Found> {
        let CellBounder { boxes, weight, constant, .. } = self.bounder;
        let inputs = self.lower.len();
        let found = boxes.bound(lower, upper, OutputRows { weight, constant }, true);
        let ends = lower.chunks_exact(inputs).zip(upper.chunks_exact(inputs)).enumerate();
        ends.map(|(at, ends)| self.found(&found, at, ends)).collect()
    }

    fn found(&self, found: &BoxBounds, at: usize, (lower, upper): (&[f64], &[f64])) -> Found {
        let (rows, inputs) = (self.bounder.constant.len(), lower.len());
        let bounds = &found.lower[at * rows..][..rows];
        let (sides, differences) = bounds.split_at(2 * self.clean.len());
        let outputs = FloatBounds {
            lower: sides.chunks_exact(2).map(|side| side[0]).collect(),
            upper: sides.chunks_exact(2).map(|side| -side[1]).collect(),
        };
        let differences: Vec<f64> = differences.iter().map(|lower| -lower).collect();
        let lines = &found.coefficients[at * rows * inputs..][..rows * inputs];
        // Each output's line from the side that its weight asks for, added up before the worst corner is taken.
        let together = |weights: &[f64]| {
            let (mut line, mut constant) = (vec![0.0; inputs], 0.0);
            for (output, weight) in weights.iter().enumerate() {
                let row = 2 * output + usize::from(*weight > 0.0);
                let own = &lines[row * inputs..][..inputs];
                let ends = own.iter().zip(lower.iter().zip(upper));
                let least: f64 = ends.map(|(c, (l, u))| (c * l).min(c * u)).sum();
                constant += weight.abs() * (bounds[row] - least);
                line.iter_mut().zip(own).for_each(|(sum, c)| *sum += weight.abs() * c);
            }
            let ends = line.iter().zip(lower.iter().zip(upper));
            -(constant + ends.map(|(c, (l, u))| (c * l).min(c * u)).sum::<f64>())
        };
        let bound = (self.aim)(&outputs, &differences, &together);
        let mut scores = vec![0.0; inputs];
        let mut worst = (f64::NEG_INFINITY, 0);
        for (output, (clean, weight)) in self.clean.iter().zip(self.weights).enumerate() {
            let (fall, rise) = (clean - outputs.lower[output], outputs.upper[output] - clean);
            let row = 2 * output + usize::from(rise > fall);
            let moved = weight * fall.max(rise);
            if moved > worst.0 {
                worst = (moved, row);
            }
            let losses = &found.losses[(at * rows + row) * inputs..][..inputs];
            scores.iter_mut().zip(losses).for_each(|(score, loss)| *score += moved * weight * loss);
        }
        let mut order: Vec<usize> = (0..inputs.min(usize::from(NONE))).collect();
        order.retain(|&i| {
            let middle = 0.5 * (lower[i] + upper[i]);
            lower[i] < middle && middle < upper[i]
        });
        let score = |i: usize| scores[i] * (upper[i] - lower[i]);
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        let mut worth = [NONE; TRIALS];
        worth.iter_mut().zip(order).for_each(|(worth, input)| *worth = input as u16);
        let ends = lower.iter().zip(upper).zip(&lines[worst.1 * inputs..][..inputs]);
        let corner = ends.map(|((l, u), c)| if *c < 0.0 { *u } else { *l }).collect();
        Found { bound, worth, corner }
    }

    /// How far the outputs move at a point.
    pub fn attained(&self, x: &[f64]) -> f64 {
        let outputs = self.bounder.network.forward(x);
        let with_differences = self.bounder.constant.len() > 2 * outputs.len();
        let weight = if with_differences { pairs(outputs.len()) } else { Vec::new() };
        let rows = weight.chunks_exact(outputs.len().max(1));
        let differences: Vec<f64> =
            rows.map(|row| row.iter().zip(&outputs).map(|(w, y)| w * y).sum()).collect();
        let together = |weights: &[f64]| weights.iter().zip(&outputs).map(|(w, y)| w * y).sum();
        let bounds = FloatBounds { lower: outputs.clone(), upper: outputs.clone() };
        (self.aim)(&bounds, &differences, &together)
    }
}
