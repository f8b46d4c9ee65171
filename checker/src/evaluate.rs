//! All families of a problem, state by state. Trusted. `spec/certificate.md#order-of-the-check`.

use std::sync::OnceLock;

use crate::family::Family;
use crate::global::GlobalProblem;
use crate::kernel::bounds::{StateBounds, margin_of_change};
use crate::kernel::fault::{Fault, Place};
use crate::kernel::interval::GridBox;
use crate::local::LocalProblem;
pub use crate::problem::Problem;
use crate::rejection::Reason;
use crate::table::{FamilyTable, MaskTable};
use crate::threads::in_order;

/// The values of `families` (all of them) under every mask; `progress(done, total)` is told of the states.
///
/// # Errors
/// [`Reason`]: of several states that are refused, the first one's.
pub fn evaluate(
    problem: &Problem<'_>,
    families: &[Family],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<FamilyTable>, Reason> {
    let evaluation = Evaluation::new(problem, families)?;
    in_order(evaluation.states(), &|state| evaluation.state(state), progress)?;
    Ok(evaluation.finish()?.tables)
}

/// The values of families, state by state in any order and on any thread.
pub struct Evaluation<'a> {
    problem: Problem<'a>,
    families: Vec<Family>,
    local: LocalProblem<'a>,
    states: Vec<OnceLock<StateValues>>,
}

impl<'a> Evaluation<'a> {
    /// Prepares the masks; no state is evaluated yet.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn new(problem: &Problem<'a>, families: &[Family]) -> Result<Self, Reason> {
        let local = LocalProblem::new(problem.policy, problem.masks, problem.states, problem.perturbation)?;
        let local = local.with_witness(problem.witness, families)?.prepare(families)?;
        let states = (0..local.states()).map(|_| OnceLock::new()).collect();
        Ok(Self { problem: *problem, families: families.to_vec(), local, states })
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// Evaluates one state, unless it has been.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn state(&self, index: usize) -> Result<(), Fault> {
        self.values(index).map(|_| ())
    }

    fn values(&self, index: usize) -> Result<&StateValues, Fault> {
        let slot = self.states.get(index).ok_or(Fault::ShapeMismatch { layer: 0 })?;
        if let Some(known) = slot.get() {
            return Ok(known);
        }
        let values = evaluate_state(&self.local, index, &self.families)?;
        Ok(slot.get_or_init(|| values))
    }

    /// Evaluates what is left, and puts the states' values and the global families' together.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn finish(self) -> Result<Evaluated<'a>, Reason> {
        let states = (0..self.states()).map(|state| self.values(state)).collect::<Result<Vec<_>, _>>()?;
        let tables = assemble(&self.problem, &self.local, &self.families, &states)?;
        Ok(Evaluated { problem: self.problem, families: self.families, tables })
    }
}

/// The values of families, and of what problem. Only [`Evaluation`] makes one.
pub struct Evaluated<'a> {
    problem: Problem<'a>,
    families: Vec<Family>,
    tables: Vec<FamilyTable>,
}

impl Evaluated<'_> {
    /// One table a family.
    pub fn tables(&self) -> &[FamilyTable] {
        &self.tables
    }

    /// The tables, iff they are those of these families of this very problem.
    pub(crate) fn of(self, problem: &Problem<'_>, families: &[Family]) -> Option<Vec<FamilyTable>> {
        (self.problem == *problem && self.families == families).then_some(self.tables)
    }
}

/// What one state contributes: bounds per local family and mask, and clean outputs per mask where margins need them.
#[derive(Clone, Debug)]
struct StateValues {
    local: Vec<Vec<StateBounds>>,
    clean: Vec<GridBox>,
}

/// Evaluates one state.
fn evaluate_state(local: &LocalProblem<'_>, state: usize, families: &[Family]) -> Result<StateValues, Fault> {
    let at = |fault: Fault| fault.at(Place::State(state));
    let local_families: Vec<Family> = families.iter().copied().filter(|f| f.is_local()).collect();
    let values = if local_families.is_empty() {
        Vec::new()
    } else {
        local.evaluate(state, &local_families).map_err(at)?
    };
    let clean = if local_families.len() < families.len() && local.has_margins() {
        local.clean_outputs(state).map_err(at)?
    } else {
        Vec::new()
    };
    Ok(StateValues { local: values, clean })
}

/// Puts the states' values and the global families' together, in the order of `families`.
fn assemble(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    families: &[Family],
    states: &[&StateValues],
) -> Result<Vec<FamilyTable>, Reason> {
    let mut global = None;
    let mut tables = Vec::with_capacity(families.len());
    let mut position = 0usize;
    for &family in families {
        if family.is_local() {
            let masks = 0..family.covers(problem.masks.len());
            let masks = masks.map(|mask| local_table(states, position, mask, local.value_bits));
            tables.push(FamilyTable { family, masks: masks.collect::<Result<_, _>>()? });
            position = position.saturating_add(1);
        } else {
            let prepared = match global.take() {
                Some(prepared) => prepared,
                None => GlobalProblem::new(problem)?,
            };
            let mut masks = prepared.tables(family)?;
            global = Some(prepared);
            for (mask, table) in masks.iter_mut().enumerate() {
                let change = table.changes.first().ok_or(Reason::NoMask)?;
                // States have no clean outputs where margins mean nothing.
                let margins = states.iter().map(|s| match s.clean.get(mask) {
                    Some(clean) => margin_of_change(clean, local.value_bits, change),
                    None => Ok(None),
                });
                table.margins = margins.collect::<Result<_, _>>()?;
            }
            tables.push(FamilyTable { family, masks });
        }
    }
    Ok(tables)
}

/// A family's values under a mask, one entry a state.
fn local_table(
    states: &[&StateValues],
    family: usize,
    mask: usize,
    value_bits: u32,
) -> Result<MaskTable, Reason> {
    let mut table = MaskTable::default();
    for state in states {
        let bounds = state.local.get(family).and_then(|masks| masks.get(mask)).ok_or(Reason::NoMask)?;
        let (change, margin) = bounds.exact(value_bits);
        table.changes.push(change);
        table.margins.push(margin);
    }
    Ok(table)
}
