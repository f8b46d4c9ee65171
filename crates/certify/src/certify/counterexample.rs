//! Claims from below and brackets: made of the checker's own evaluation of the points, and their JSON.
//! Untrusted: the finished certificate is checked. `spec/certificate-bracket.md`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use secateur_checker::claim::point::{PointProblem, PointTable, brackets};
use secateur_checker::evaluate::Problem;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::number::{Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::counterexample::{BracketVerdict, CounterexampleClaim};
use secateur_checker::reader::json::Value;
use secateur_checker::rejection::Reason;
use secateur_checker::table::{FamilyTable, Quantity};

use crate::certify::value::{emit_place, emit_verdict, list, text};
use crate::progress::Progress;

/// Why what the points show cannot be claimed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CounterexampleError {
    /// The checker's rule refuses a point that the search took to be in the ball.
    #[error("counterexample: {0}; --no-counterexample leaves the bounds from below out")]
    Points(Reason),
    /// A bound that was evaluated has no value.
    #[error("counterexample: {0}")]
    Table(Reason),
    /// The head's bound from above failed.
    #[error("{0}")]
    Head(Fault),
    /// Interrupted by the user.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

/// Evaluates the points in parallel over states and adds every claim from below and every bracket.
///
/// # Errors
/// [`CounterexampleError`].
pub fn add_counterexample(
    certificate: &mut Certificate,
    problem: &Problem<'_>,
    tables: &[FamilyTable],
    head: &HeadBounds,
    progress: &dyn Progress,
) -> Result<(), CounterexampleError> {
    let points = PointProblem::new(problem).map_err(CounterexampleError::Points)?;
    let done = AtomicUsize::new(0);
    let states: Result<Vec<_>, CounterexampleError> = (0..points.states())
        .into_par_iter()
        .map(|state| {
            if progress.stopped() {
                return Err(CounterexampleError::Interrupted);
            }
            let values =
                points.evaluate_state(state).map_err(|fault| CounterexampleError::Points(fault.into()))?;
            progress.advance("bounding", done.fetch_add(1, Ordering::Relaxed) + 1, points.states());
            Ok(values)
        })
        .collect();
    let table = PointTable { states: states? };
    let outputs = problem.policy.network.outputs();
    for mask in 0..problem.masks.len() {
        let mut cells: Vec<_> = (0..outputs).map(|o| (Quantity::ActionDeviation, Some(o))).collect();
        if head.is_distribution() {
            cells.push((Quantity::TotalVariation, None));
        }
        for (quantity, output) in cells {
            let values = table.values(quantity, mask, output).map_err(CounterexampleError::Table)?;
            certificate.counterexample.push(CounterexampleClaim {
                mask,
                quantity: quantity.name().to_owned(),
                output,
                at_least: values.iter().map(|v| claim_decimal(v, Rounding::Down)).collect(),
            });
        }
    }
    certificate.brackets =
        brackets(tables, &table, head, problem.masks.len()).map_err(CounterexampleError::Head)?;
    Ok(())
}

/// The predicate's optional member `counterexample`.
pub(crate) fn emit_counterexample(claims: &[CounterexampleClaim]) -> Option<(String, Value)> {
    (!claims.is_empty()).then(|| ("counterexample".to_owned(), list(claims, emit_claim)))
}

/// The predicate's member `chain`.
pub(crate) fn emit_chain(certificate: &Certificate) -> Value {
    let mut fields = BTreeMap::from([("verdicts".to_owned(), list(&certificate.verdicts, emit_verdict))]);
    if !certificate.brackets.is_empty() {
        fields.insert("bracket".to_owned(), list(&certificate.brackets, emit_bracket));
    }
    Value::Object(fields)
}

fn emit_claim(claim: &CounterexampleClaim) -> Value {
    let mut fields = BTreeMap::from([
        ("mask".to_owned(), text(claim.mask.to_string())),
        ("quantity".to_owned(), text(claim.quantity.as_str())),
        ("atLeast".to_owned(), list(&claim.at_least, |v| text(v.as_str()))),
    ]);
    if let Some(output) = claim.output {
        fields.insert("output".to_owned(), text(output.to_string()));
    }
    Value::Object(fields)
}

fn emit_bracket(verdict: &BracketVerdict) -> Value {
    let mut fields: BTreeMap<String, Value> = [
        ("of", text(verdict.of.as_str())),
        ("step", text(verdict.step.to_string())),
        ("verdict", text(verdict.verdict.as_str())),
        ("hurt", text(verdict.hurt.to_string())),
        ("places", text(verdict.places.to_string())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(at) = &verdict.at {
        fields.insert("at".to_owned(), emit_place(at));
    }
    for (key, value) in [("atMostBefore", &verdict.at_most_before), ("atLeastAfter", &verdict.at_least_after)]
    {
        if let Some(value) = value {
            fields.insert(key.to_owned(), text(value.to_string()));
        }
    }
    Value::Object(fields)
}
