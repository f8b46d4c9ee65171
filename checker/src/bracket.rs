//! The claims from below, and the steps they show to have hurt: rule `counterexample.bracket`.
//! Trusted. `spec/certificate-bracket.md`.

use core::fmt;

use crate::counterexample::{PointProblem, PointTable, PointsError, QUANTITIES};
use crate::evaluate::Problem;
use crate::kernel::fault::Fault;
use crate::kernel::head::{HeadBounds, OutputChange};
use crate::number::Rational;
use crate::reader::certificate::{Certificate, Place};
use crate::reader::counterexample::BracketVerdict;
use crate::reader::escaped::Escaped;
use crate::table::{FamilyTable, Quantity, TableError};

/// What a number from below does not say.
pub const LIMIT_COUNTEREXAMPLE: &str = "counterexample: a bound from below is what one perturbation of each listed state reaches; another may reach more, and a step that is not shown to hurt may hurt";

/// Why the claims from below or the brackets are not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BracketRejection {
    /// [`LIMIT_COUNTEREXAMPLE`] is not listed.
    LimitMissing,
    /// The points are refused.
    Points(PointsError),
    /// A claim names no quantity that has a bound from below.
    UnknownQuantity {
        /// Position of the claim.
        entry: usize,
        /// The name.
        quantity: String,
    },
    /// A claim asks for something that does not exist.
    NoSuchClaim {
        /// Position of the claim.
        entry: usize,
        /// Why.
        reason: TableError,
    },
    /// The same mask, quantity and output twice.
    Duplicate {
        /// Position of the second.
        entry: usize,
    },
    /// A claim has another number of values than there are states.
    Length {
        /// Position of the claim.
        entry: usize,
        /// Values stated.
        stated: usize,
        /// Values expected.
        expected: usize,
    },
    /// A claimed value is not a number.
    NotANumber {
        /// Position of the claim.
        entry: usize,
        /// The state.
        state: usize,
    },
    /// A claim is above what the point proves.
    TooLarge {
        /// Position of the claim.
        entry: usize,
        /// The state.
        state: usize,
        /// What is claimed, exactly.
        claimed: Rational,
        /// What is proved, exactly.
        proved: Rational,
    },
    /// The head's bound from above failed.
    Head(Fault),
    /// A step's verdict is missing, superfluous or not the one found.
    WrongVerdict {
        /// Position in the certificate's list.
        position: usize,
        /// What is stated there.
        stated: Option<Box<BracketVerdict>>,
        /// What was found.
        found: Option<Box<BracketVerdict>>,
    },
}

impl fmt::Display for BracketRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitMissing => write!(f, "the limit \"{LIMIT_COUNTEREXAMPLE}\" is not listed"),
            Self::Points(e) => write!(f, "counterexample: {e}"),
            Self::UnknownQuantity { entry, quantity } => {
                write!(f, "counterexample {entry}: no bound from below is called {}", Escaped(quantity))
            }
            Self::NoSuchClaim { entry, reason } => write!(f, "counterexample {entry}: {reason}"),
            Self::Duplicate { entry } => write!(f, "counterexample {entry} repeats an earlier one"),
            Self::Length { entry, stated, expected } => {
                write!(f, "counterexample {entry}: {stated} values where there must be {expected}")
            }
            Self::NotANumber { entry, state } => {
                write!(f, "counterexample {entry}: the value of state {state} is not a number")
            }
            Self::TooLarge { entry, state, claimed, proved } => write!(
                f,
                "counterexample {entry}, state {state}: claims at least {claimed}, only {proved} is proved"
            ),
            Self::Head(e) => e.fmt(f),
            Self::WrongVerdict { position, stated, found } => {
                write!(f, "bracket {position}: the certificate says ")?;
                words(f, stated.as_deref())?;
                f.write_str(", the check finds ")?;
                words(f, found.as_deref())
            }
        }
    }
}

fn words(f: &mut fmt::Formatter<'_>, verdict: Option<&BracketVerdict>) -> fmt::Result {
    let Some(v) = verdict else { return f.write_str("nothing") };
    write!(f, "{} step {}: {}", Escaped(&v.of), v.step, Escaped(&v.verdict))?;
    write!(f, " at {} of {} places", v.hurt, v.places)?;
    if let (Some(before), Some(after)) = (&v.at_most_before, &v.at_least_after) {
        write!(f, ", at most {before} before, at least {after} after")?;
    }
    Ok(())
}

/// Checks the claims from below and the brackets; does nothing where there are none.
///
/// # Errors
/// [`BracketRejection`], the first one found.
pub fn check_counterexample(
    certificate: &Certificate,
    problem: &Problem<'_>,
    tables: &[FamilyTable],
    head: &HeadBounds,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), BracketRejection> {
    if certificate.counterexample.is_empty() {
        return check_brackets(&certificate.brackets, &[]);
    }
    if !certificate.limits.iter().any(|l| l == LIMIT_COUNTEREXAMPLE) {
        return Err(BracketRejection::LimitMissing);
    }
    let points = PointProblem::new(problem).map_err(BracketRejection::Points)?;
    let mut table = PointTable::default();
    for state in 0..points.states() {
        table.states.push(points.evaluate_state(state).map_err(BracketRejection::Points)?);
        progress(table.states.len(), points.states());
    }
    check_claims(certificate, &table)?;
    let found = brackets(tables, &table, head, problem.masks.len()).map_err(BracketRejection::Head)?;
    check_brackets(&certificate.brackets, &found)
}

fn check_claims(certificate: &Certificate, table: &PointTable) -> Result<(), BracketRejection> {
    let mut seen = std::collections::BTreeSet::new();
    for (entry, record) in certificate.counterexample.iter().enumerate() {
        let unknown = || BracketRejection::UnknownQuantity { entry, quantity: record.quantity.clone() };
        let quantity = Quantity::parse(&record.quantity).filter(|q| QUANTITIES.contains(q));
        let quantity = quantity.ok_or_else(unknown)?;
        if !seen.insert((quantity, record.mask, record.output)) {
            return Err(BracketRejection::Duplicate { entry });
        }
        let proved = table.values(quantity, record.mask, record.output);
        let proved = proved.map_err(|reason| BracketRejection::NoSuchClaim { entry, reason })?;
        if proved.len() != record.at_least.len() {
            let (stated, expected) = (record.at_least.len(), proved.len());
            return Err(BracketRejection::Length { entry, stated, expected });
        }
        for (state, (text, proved)) in record.at_least.iter().zip(proved).enumerate() {
            let claimed = Rational::parse(text).map_err(|_| BracketRejection::NotANumber { entry, state })?;
            if claimed > proved {
                return Err(BracketRejection::TooLarge { entry, state, claimed, proved });
            }
        }
    }
    Ok(())
}

fn check_brackets(stated: &[BracketVerdict], found: &[BracketVerdict]) -> Result<(), BracketRejection> {
    for position in 0..found.len().max(stated.len()) {
        let (stated, found) = (stated.get(position), found.get(position));
        if stated != found {
            let boxed = |v: Option<&BracketVerdict>| v.cloned().map(Box::new);
            let (stated, found) = (boxed(stated), boxed(found));
            return Err(BracketRejection::WrongVerdict { position, stated, found });
        }
    }
    Ok(())
}

/// What every family that bounds an adversary says together about the changes at a state under a mask.
fn least_change(tables: &[FamilyTable], mask: usize, state: usize) -> Option<OutputChange> {
    let changes = tables.iter().filter(|t| t.family.bounds_adversary()).filter_map(|table| {
        let place = if table.family.is_local() { state } else { 0 };
        table.masks.get(mask)?.changes.get(place)
    });
    changes.fold(None, |met: Option<OutputChange>, change| match met {
        Some(met) => Some(met.meet(change)),
        None => Some(change.clone()),
    })
}

/// Rule `counterexample.bracket`: for every step and quantity, where the least after the step exceeds the most before it.
///
/// # Errors
/// [`Fault`].
pub fn brackets(
    tables: &[FamilyTable],
    points: &PointTable,
    head: &HeadBounds,
    masks: usize,
) -> Result<Vec<BracketVerdict>, Fault> {
    let mut verdicts = Vec::new();
    for (before, step) in (1..masks).enumerate() {
        for quantity in QUANTITIES {
            if quantity == Quantity::ActionDeviation || head.is_distribution() {
                verdicts.push(bracket(tables, points, head, quantity, (before, step))?);
            }
        }
    }
    Ok(verdicts)
}

fn bracket(
    tables: &[FamilyTable],
    points: &PointTable,
    head: &HeadBounds,
    quantity: Quantity,
    (before, after): (usize, usize),
) -> Result<BracketVerdict, Fault> {
    let (mut hurt, mut places) = (0usize, 0usize);
    let mut largest: Option<(Rational, Place, Rational, Rational)> = None;
    for (state, masks) in points.states.iter().enumerate() {
        let lower = masks.get(after).map_or(&[][..], |values| values.of(quantity));
        places = places.saturating_add(lower.len());
        // Where no family bounds the mask before, nothing can be shown.
        let Some(change) = least_change(tables, before, state) else { continue };
        let total_variation;
        let upper = if quantity == Quantity::ActionDeviation {
            &change.deviation[..]
        } else {
            total_variation = [head.total_variation(&change)?];
            &total_variation[..]
        };
        for (index, (most, least)) in upper.iter().zip(lower).enumerate().filter(|(_, (u, l))| l > u) {
            hurt = hurt.saturating_add(1);
            let gap = least.sub(most);
            if largest.as_ref().is_none_or(|(best, ..)| gap > *best) {
                let index = (quantity == Quantity::ActionDeviation).then_some(index);
                largest = Some((gap, Place { state: Some(state), index }, most.clone(), least.clone()));
            }
        }
    }
    let verdict = if hurt > 0 { "hurt" } else { "not-shown" };
    let (mut at, mut at_most_before, mut at_least_after) = (None, None, None);
    if let Some((_, place, most, least)) = largest {
        (at, at_most_before, at_least_after) = (Some(place), Some(most), Some(least));
    }
    Ok(BracketVerdict {
        of: quantity.name().to_owned(),
        step: after,
        verdict: verdict.to_owned(),
        hurt,
        places,
        at,
        at_most_before,
        at_least_after,
    })
}
