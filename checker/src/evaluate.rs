//! All families of a problem, state by state. Trusted. `spec/certificate.md#order-of-the-check`.

use crate::family::Family;
use crate::global::GlobalProblem;
use crate::kernel::bounds::{StateBounds, margin_of_change};
use crate::kernel::fault::{Fault, Place};
use crate::kernel::interval::GridBox;
use crate::local::LocalProblem;
use crate::model::{Mask, PerturbationSet, Policy, States};
use crate::rejection::Reason;
use crate::table::{FamilyTable, MaskTable};

/// A policy, its masks, its states and an adversary; and the witness file's bytes, if there is one.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Nested masks, loosest first.
    pub masks: &'a [Mask],
    /// The states.
    pub states: &'a States,
    /// The adversary.
    pub perturbation: &'a PerturbationSet,
    /// The witness side file.
    pub witness: Option<&'a [u8]>,
}

/// The values of `families` (all of them) under every mask; `progress(done, total)` is called after every state.
///
/// # Errors
/// [`Reason`].
pub fn evaluate(
    problem: &Problem<'_>,
    families: &[Family],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<FamilyTable>, Reason> {
    let local = LocalProblem::new(problem.policy, problem.masks, problem.states, problem.perturbation)?;
    let local = local.with_witness(problem.witness, families)?.prepare(families)?;
    let total = local.states();
    let mut states = Vec::with_capacity(total);
    for state in 0..total {
        states.push(evaluate_state(&local, state, families)?);
        progress(states.len(), total);
    }
    assemble(problem, &local, families, states)
}

/// What one state contributes: bounds per local family and mask, and clean outputs per mask where margins need them.
#[derive(Clone, Debug)]
pub struct StateValues {
    local: Vec<Vec<StateBounds>>,
    clean: Vec<GridBox>,
}

/// Evaluates one state; independent of every other, so that a caller may run states in parallel.
///
/// # Errors
/// [`Fault`].
pub fn evaluate_state(
    local: &LocalProblem<'_>,
    state: usize,
    families: &[Family],
) -> Result<StateValues, Fault> {
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
///
/// # Errors
/// [`Reason`].
pub fn assemble(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    families: &[Family],
    states: Vec<StateValues>,
) -> Result<Vec<FamilyTable>, Reason> {
    let mut global = None;
    let mut tables = Vec::with_capacity(families.len());
    let mut position = 0usize;
    for &family in families {
        if family.is_local() {
            let masks = 0..family.covers(problem.masks.len());
            let masks = masks.map(|mask| local_table(&states, position, mask, local.value_bits));
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
    states: &[StateValues],
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
