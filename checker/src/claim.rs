//! Claims: stated numbers, beside the sentences they need, against exact bounds that are computed again. Trusted.
//! One driver for all kinds; `spec/certificate.md#claims`.

pub mod bound;
pub mod point;
pub mod radius;
pub mod region;
pub mod regret;
pub mod statistical;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::family::Family;
use crate::kernel::head::HeadBounds;
use crate::number::{Rational, Rounding};
use crate::problem::Problem;
use crate::reader::certificate::Certificate;
use crate::reader::fields::is_canonical;
use crate::rejection::{Entry, Reason, Rejection};
use crate::table::FamilyTable;
use point::PointTable;

/// What is proved of a number that somebody may state; one from below never passes for one from above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The number is at most this.
    AtMost(Rational),
    /// The number is at least this.
    AtLeast(Rational),
}

impl Bound {
    /// Whether a stated bound in the same direction follows. Exact; the only comparison of claims.
    pub(crate) fn implies(&self, stated: &Rational) -> bool {
        match self {
            Self::AtMost(proved) => proved <= stated,
            Self::AtLeast(proved) => proved >= stated,
        }
    }

    /// The number proved.
    pub fn value(&self) -> &Rational {
        match self {
            Self::AtMost(value) | Self::AtLeast(value) => value,
        }
    }

    /// Which way a decimal that follows from it is rounded.
    pub fn rounding(&self) -> Rounding {
        match self {
            Self::AtMost(_) => Rounding::Up,
            Self::AtLeast(_) => Rounding::Down,
        }
    }
}

/// What claims are proved from.
pub struct Proofs<'a> {
    /// The policy, its masks, the listed states, the adversary and the witness file.
    pub problem: &'a Problem<'a>,
    /// Rows of the whole states file.
    pub rows: usize,
    /// The head's constants.
    pub head: &'a HeadBounds,
    /// The families' values at the listed states.
    pub tables: &'a [FamilyTable],
    /// What the witness file's points show, once a claim asks for it.
    points: Option<PointTable>,
    /// The largest total variation by family and mask, once computed.
    largest: BTreeMap<(Family, usize), Rational>,
    progress: &'a mut dyn FnMut(usize, usize),
}

impl<'a> Proofs<'a> {
    /// Nothing is computed yet but `tables`; `progress(done, total)` is told of what takes long.
    pub fn new(
        problem: &'a Problem<'a>,
        rows: usize,
        head: &'a HeadBounds,
        tables: &'a [FamilyTable],
        progress: &'a mut dyn FnMut(usize, usize),
    ) -> Self {
        Self { problem, rows, head, tables, points: None, largest: BTreeMap::new(), progress }
    }

    /// The table of a family that bounds what an adversary can do.
    fn adversary(&self, family: &str) -> Result<&'a FamilyTable, Reason> {
        let named = |t: &&FamilyTable| t.family.bounds_adversary() && t.family.name() == family;
        self.tables.iter().find(named).ok_or_else(|| Reason::FamilyNotClaimed { family: family.into() })
    }
}

/// One kind of claim: an entry of one of a certificate's lists.
pub trait Claim: Sized {
    /// The kind in words, before an entry's position.
    const KIND: &'static str;
    /// What a bound that is computed again is said to be.
    const PROVED: &'static str = "is proved";

    /// What each of the entry's statements is about; no two statements of a list may be about the same.
    fn about(&self) -> Vec<String>;

    /// Sentences that a certificate with these claims must have among its limits.
    fn limits(claims: &[Self]) -> Result<Vec<&'static str>, Reason>;

    /// Sentences that must be among its assumptions.
    fn assumptions(&self, certificate: &Certificate) -> Vec<Cow<'static, str>>;

    /// The numbers stated, as written.
    fn stated(&self) -> Vec<Cow<'_, str>>;

    /// The part of the entry that a stated number is, in words after the entry's position.
    fn part(&self, number: usize) -> String;

    /// What is proved of each of the numbers, in their order; `entry` is the position in the list.
    ///
    /// # Errors
    /// [`Reason`].
    fn prove(&self, entry: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason>;
}

pub(crate) fn located<C: Claim>(position: usize, part: String) -> impl FnOnce(Reason) -> Rejection {
    move |reason| Rejection { entry: Some(Entry { kind: C::KIND, position, part }), reason }
}

/// What a certificate lists, and what of it was asked for so far, in that order.
pub struct Sentences<'a> {
    /// Whether each was asked for.
    listed: [BTreeMap<&'a str, bool>; 2],
    needed: [Vec<String>; 2],
}

impl<'a> Sentences<'a> {
    /// Nothing was asked for.
    pub fn new(certificate: &'a Certificate) -> Self {
        let lists = [&certificate.assumptions, &certificate.limits];
        let listed = lists.map(|list| list.iter().map(|sentence| (sentence.as_str(), false)).collect());
        Self { listed, needed: Default::default() }
    }

    fn ask(&mut self, list: usize, sentence: &str) -> bool {
        let asked = self.listed.get_mut(list).and_then(|listed| listed.get_mut(sentence));
        let (Some(asked), Some(needed)) = (asked, self.needed.get_mut(list)) else { return false };
        if !core::mem::replace(asked, true) {
            needed.push(sentence.to_owned());
        }
        true
    }

    /// Accepts iff the assumption is listed.
    ///
    /// # Errors
    /// [`Reason::AssumptionMissing`].
    pub fn assume(&mut self, assumption: Cow<'_, str>) -> Result<(), Reason> {
        let listed = self.ask(0, &assumption);
        if listed { Ok(()) } else { Err(Reason::AssumptionMissing { assumption: assumption.into_owned() }) }
    }

    /// Accepts iff the limit is listed.
    fn limit(&mut self, limit: &'static str) -> Result<(), Reason> {
        if self.ask(1, limit) { Ok(()) } else { Err(Reason::LimitMissing { limit }) }
    }

    /// The assumptions and the limits that were asked for, each once.
    pub fn needed(self) -> (Vec<String>, Vec<String>) {
        let [assumptions, limits] = self.needed;
        (assumptions, limits)
    }
}

/// Accepts iff no statement repeats another and every sentence that the claims need is listed. An empty list needs none.
///
/// # Errors
/// [`Rejection`]: repeated, or a sentence that is missing.
pub fn check_sentences<C: Claim>(
    claims: &[C],
    certificate: &Certificate,
    needed: &mut Sentences<'_>,
) -> Result<(), Rejection> {
    if claims.is_empty() {
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    for (position, claim) in claims.iter().enumerate() {
        for (number, about) in claim.about().into_iter().enumerate() {
            if !seen.insert(about) {
                return Err(located::<C>(position, claim.part(number))(Reason::Repeated));
            }
        }
        for assumption in claim.assumptions(certificate) {
            needed.assume(assumption).map_err(located::<C>(position, String::new()))?;
        }
    }
    for limit in C::limits(claims)? {
        needed.limit(limit)?;
    }
    Ok(())
}

/// Accepts iff every stated number follows from what is proved of it.
///
/// # Errors
/// [`Rejection`], the first one found.
pub fn check_numbers<C: Claim>(claims: &[C], proofs: &mut Proofs<'_>) -> Result<(), Rejection> {
    for (position, claim) in claims.iter().enumerate() {
        let proved = claim.prove(position, proofs).map_err(located::<C>(position, String::new()))?;
        let stated = claim.stated();
        if stated.len() != proved.len() {
            let (stated, expected) = (stated.len(), proved.len());
            return Err(located::<C>(position, String::new())(Reason::Length { stated, expected }));
        }
        for (number, (text, bound)) in stated.iter().zip(&proved).enumerate() {
            let refused = |reason| located::<C>(position, claim.part(number))(reason);
            let claimed = Rational::parse(text).map_err(|_| refused(Reason::NotANumber))?;
            if !is_canonical(text, &claimed) {
                return Err(refused(Reason::NumberSpelling));
            }
            if !bound.implies(&claimed) {
                let proved = Box::new(bound.value().clone());
                return Err(refused(Reason::TooTight { claimed: Box::new(claimed), proved, how: C::PROVED }));
            }
        }
    }
    Ok(())
}

/// Accepts iff two lists of verdicts are the same, word for word and number for number.
///
/// # Errors
/// [`Reason::WrongVerdict`] at the first difference.
pub(crate) fn check_verdicts<V: PartialEq>(
    kind: &'static str,
    stated: &[V],
    found: &[V],
    words: fn(&V) -> String,
) -> Result<(), Rejection> {
    for position in 0..found.len().max(stated.len()) {
        let (stated, found) = (stated.get(position), found.get(position));
        if stated != found {
            let said = |verdict: Option<&V>| verdict.map_or_else(|| "nothing".to_owned(), words);
            let reason = Reason::WrongVerdict { stated: said(stated), found: said(found) };
            return Err(Rejection { entry: Some(Entry { kind, position, part: String::new() }), reason });
        }
    }
    Ok(())
}
