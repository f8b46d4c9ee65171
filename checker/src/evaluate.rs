//! All families of a problem, state by state. Trusted. `spec/certificate.md#what-the-check-does`.

use core::fmt;

use crate::family::{Family, LocalProblem, StateBounds, largest_lower_end};
use crate::global::{GlobalError, GlobalProblem};
use crate::kernel::fault::Fault;
use crate::kernel::head::OutputChange;
use crate::kernel::ibp::GridBox;
use crate::model::{Mask, PerturbationSet, Policy, States};
use crate::number::Rational;
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
    let exact =
        |value: i64| Rational::from_dyadic(value.into(), i64::from(local.value_bits).saturating_neg());
    let mut global = None;
    let mut tables = Vec::with_capacity(families.len());
    let mut position = 0usize;
    for &family in families {
        if family.is_local() {
            let masks = (0..family.covers(problem.masks.len()))
                .map(|mask| local_table(&states, position, mask, &exact));
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
                table.margins = states.iter().map(|s| margin(s.clean.get(mask)?, change, &exact)).collect();
            }
            tables.push(FamilyTable { family, masks });
        }
    }
    Ok(tables)
}

fn local_table(
    states: &[StateValues],
    family: usize,
    mask: usize,
    exact: &dyn Fn(i64) -> Rational,
) -> MaskTable {
    let mut table = MaskTable::default();
    for bounds in states.iter().filter_map(|s| s.local.get(family)?.get(mask)) {
        table.changes.push(OutputChange {
            deviation: bounds.deviation.iter().map(|&d| exact(d)).collect(),
            oscillation: exact(bounds.oscillation),
            euclidean: None,
        });
        table.margins.push(bounds.margin.map(exact));
    }
    table
}

/// Rule `local.margin` for a family of all states: the change is that of any state, the clean outputs are the state's.
fn margin(clean: &GridBox, change: &OutputChange, exact: &dyn Fn(i64) -> Rational) -> Option<Rational> {
    let (leader, own) = largest_lower_end(clean)?;
    let (own, moved) = (exact(own), change.deviation.get(leader)?);
    let others = clean.upper.iter().zip(&change.deviation).enumerate().filter(|(other, _)| *other != leader);
    let leads = others.map(|(_, (&upper, other))| {
        let lead = own.sub(&exact(upper));
        let kept = lead.sub(moved).sub(other);
        (lead, kept)
    });
    let (clean, kept) = leads.reduce(|(a, b), (c, d)| (a.min(c), b.min(d)))?;
    let any = clean.clone().max(Rational::zero()).sub(&change.oscillation);
    Some(if clean.is_positive() { any.max(kept) } else { any })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs 7, 7 and 3 that move by 1, 2 and 5: in the tie either of two is preferred, and the second can fall by
    /// 2 + 5 - 4 behind the third, the oscillation 7 behind the first. With 8 in front, it keeps 8 - 7 - 1 - 2 and 8 - 3 - 1 - 5.
    #[test]
    fn a_tie_of_listed_outputs_leaves_the_oscillation() {
        let whole = |value: i64| Rational::from_integer(value.into());
        let change =
            OutputChange { deviation: [1, 2, 5].map(whole).to_vec(), oscillation: whole(7), euclidean: None };
        let found = |outputs: [i64; 3]| {
            margin(&GridBox::from_intervals(outputs.into_iter().map(|o| (o, o))), &change, &whole)
        };
        assert_eq!(found([7, 7, 3]), Some(whole(-7)));
        assert_eq!(found([8, 7, 3]), Some(whole(-2)));
        assert_eq!(found([20, 7, 3]), Some(whole(10)));
        // One output closer than its enclosure is as good as a tie.
        let near = GridBox::from_intervals([(7, 8), (6, 7), (3, 3)]);
        assert_eq!(margin(&near, &change, &whole), Some(whole(-7)));
        assert_eq!(margin(&GridBox::from_intervals([(1, 1)]), &change, &whole), None);
    }
}
