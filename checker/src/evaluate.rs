//! All families of a problem, state by state. Trusted. `spec/certificate.md#what-the-check-does`.

use core::fmt;

use crate::family::{Family, LocalProblem, StateBounds};
use crate::global::{GlobalError, GlobalProblem};
use crate::kernel::bounds::margin_of_change;
use crate::kernel::fault::Fault;
use crate::kernel::ibp::GridBox;
use crate::model::{Mask, PerturbationSet, Policy, States};
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

/// Why a family could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A local family failed at a state.
    Local {
        /// The state; `None` while the problem was set up.
        state: Option<usize>,
        /// Why.
        reason: Fault,
    },
    /// A global family failed.
    Global {
        /// The family.
        family: Family,
        /// Why.
        reason: GlobalError,
    },
}

impl fmt::Display for EvaluateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { state: Some(state), reason } => write!(f, "state {state}: {reason}"),
            Self::Local { state: None, reason } => reason.fmt(f),
            Self::Global { family, reason } => write!(f, "{}: {reason}", family.name()),
        }
    }
}

/// The values of `families` (all of them) under every mask; `progress(done, total)` is called after every state.
///
/// # Errors
/// [`EvaluateError`].
pub fn evaluate(
    problem: &Problem<'_>,
    families: &[Family],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<FamilyTable>, EvaluateError> {
    let setup = |reason| EvaluateError::Local { state: None, reason };
    let local = LocalProblem::new(problem.policy, problem.masks, problem.states, problem.perturbation)
        .and_then(|local| local.with_witness(problem.witness).prepare(families))
        .map_err(setup)?;
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
/// [`EvaluateError::Local`].
pub fn evaluate_state(
    local: &LocalProblem<'_>,
    state: usize,
    families: &[Family],
) -> Result<StateValues, EvaluateError> {
    let at = |reason| EvaluateError::Local { state: Some(state), reason };
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
/// [`EvaluateError`].
pub fn assemble(
    problem: &Problem<'_>,
    local: &LocalProblem<'_>,
    families: &[Family],
    states: Vec<StateValues>,
) -> Result<Vec<FamilyTable>, EvaluateError> {
    let setup = |reason| EvaluateError::Local { state: None, reason };
    let mut global = None;
    let mut tables = Vec::with_capacity(families.len());
    let mut position = 0usize;
    for &family in families {
        if family.is_local() {
            let masks = (0..family.covers(problem.masks.len()))
                .map(|mask| local_table(&states, position, mask, local.value_bits));
            tables.push(FamilyTable { family, masks: masks.collect() });
            position = position.saturating_add(1);
        } else {
            let failed = |reason| EvaluateError::Global { family, reason };
            if global.is_none() {
                global = Some(GlobalProblem::new(problem).map_err(failed)?);
            }
            let Some(prepared) = &global else { continue };
            let mut masks = prepared.tables(family).map_err(failed)?;
            for (mask, table) in masks.iter_mut().enumerate() {
                let Some(change) = table.changes.first() else { continue };
                let margins = states.iter().map(|s| match s.clean.get(mask) {
                    Some(clean) => margin_of_change(clean, local.value_bits, change),
                    None => Ok(None),
                });
                table.margins = margins.collect::<Result<_, _>>().map_err(setup)?;
            }
            tables.push(FamilyTable { family, masks });
        }
    }
    Ok(tables)
}

fn local_table(states: &[StateValues], family: usize, mask: usize, value_bits: u32) -> MaskTable {
    let mut table = MaskTable::default();
    for bounds in states.iter().filter_map(|s| s.local.get(family)?.get(mask)) {
        let (change, margin) = bounds.exact(value_bits);
        table.changes.push(change);
        table.margins.push(margin);
    }
    table
}
