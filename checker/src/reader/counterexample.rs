//! The predicate's optional parts that speak from below: `counterexample` and `chain.bracket`. Trusted; shape only.
//! `spec/certificate-bracket.md`. Their numbers stand under keys of their own, so that none reads as an upper bound.

use crate::number::Rational;
use crate::reader::certificate::{MAX_MASKS, Place, capped, number_texts, place};
use crate::reader::clause::Clause;
use crate::reader::fields::{Field, Fields};

/// Most entries of `counterexample`: 64 for each mask.
const MAX_CLAIMS: usize = MAX_MASKS << 6;
/// Most entries of `chain.bracket`: two for each step.
const MAX_BRACKETS: usize = MAX_MASKS << 1;

/// What the witness file's points show from below under one mask, one number a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterexampleClaim {
    /// Position of the mask in the chain, from 0.
    pub mask: usize,
    /// `action-deviation` or `total-variation`.
    pub quantity: String,
    /// Output, for `action-deviation`.
    pub output: Option<usize>,
    /// Lower bounds as written, one per state.
    pub at_least: Vec<String>,
}

/// Whether a step of the chain is shown to have hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BracketVerdict {
    /// `action-deviation` or `total-variation`.
    pub of: String,
    /// Step `k` goes from mask `k - 1` to mask `k`.
    pub step: usize,
    /// `hurt` or `not-shown`.
    pub verdict: String,
    /// Number of places where the least after exceeds the most before.
    pub hurt: usize,
    /// Number of places compared.
    pub places: usize,
    /// Where it exceeds it by most; `None` if it does nowhere.
    pub at: Option<Place>,
    /// The most before the step, there, exactly.
    pub at_most_before: Option<Rational>,
    /// The least after it, there, exactly.
    pub at_least_after: Option<Rational>,
}

/// The entries of `counterexample`; empty if the key is absent.
pub(super) fn counterexample_claims(fields: &mut Fields<'_>) -> Result<Vec<CounterexampleClaim>, Clause> {
    let claims = list(fields, "counterexample", MAX_CLAIMS)?;
    Ok(claims.iter().map(claim).collect::<Result<_, _>>()?)
}

/// The entries of `chain.bracket`; empty if the key is absent.
pub(super) fn bracket_verdicts(chain: &mut Fields<'_>) -> Result<Vec<BracketVerdict>, Clause> {
    let verdicts = list(chain, "bracket", MAX_BRACKETS)?;
    Ok(verdicts.iter().map(bracket).collect::<Result<_, _>>()?)
}

fn list<'a>(fields: &mut Fields<'a>, what: &'static str, cap: usize) -> Result<Vec<Field<'a>>, Clause> {
    let Some(field) = fields.optional(what) else { return Ok(Vec::new()) };
    let items = capped(field.array()?, what, cap)?;
    if items.is_empty() { Err(Clause::ListEmpty { what }) } else { Ok(items) }
}

fn claim(field: &Field<'_>) -> Result<CounterexampleClaim, Clause> {
    let mut fields = field.object()?;
    let claim = CounterexampleClaim {
        mask: fields.required("mask")?.count()?,
        quantity: fields.required("quantity")?.string()?.to_owned(),
        output: fields.optional("output").map(|o| o.count()).transpose()?,
        at_least: number_texts(&fields.required("atLeast")?)?,
    };
    fields.finish()?;
    Ok(claim)
}

fn bracket(field: &Field<'_>) -> Result<BracketVerdict, Clause> {
    let mut fields = field.object()?;
    let verdict = BracketVerdict {
        of: fields.required("of")?.string()?.to_owned(),
        step: fields.required("step")?.count()?,
        verdict: fields.required("verdict")?.string()?.to_owned(),
        hurt: fields.required("hurt")?.count()?,
        places: fields.required("places")?.count()?,
        at: fields.optional("at").map(|a| place(&a)).transpose()?,
        at_most_before: fields.optional("atMostBefore").map(|b| b.rational()).transpose()?,
        at_least_after: fields.optional("atLeastAfter").map(|a| a.rational()).transpose()?,
    };
    fields.finish()?;
    Ok(verdict)
}
