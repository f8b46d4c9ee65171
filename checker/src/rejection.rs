//! Why a well-formed certificate is not accepted: the first difference found, a line each, and the entry it is in.
//! Trusted; `spec/certificate.md#order-of-the-check`.

use core::fmt;

use crate::kernel::fault::{Class, Code, Fault};
use crate::number::Rational;
use crate::reader::clause::{Clause, Word};
use secateur_kernel::conditions;

conditions! {
    /// A condition of acceptance that does not hold.
    pub enum Reason {
        Rule { fault: Fault } => Evidence, "{fault}";

        // Files and the model record.
        WrongFile { role: Word, name: Word, stated: String, found: String } => Evidence,
            "the {role} file {name} has SHA-256 {found}, the certificate speaks of {stated}";
        FileMissing { role: &'static str } => Evidence,
            "the certificate and the files given differ in the {role} file";
        MasksMissing { masks: usize } => Evidence,
            "the certificate is about {masks} masks, and none are given: --masks DIR, the folder with their chain.json";
        MasksUnexpected => Evidence, "the certificate is about the policy without masks, and masks are given: leave out --masks";
        UnexpectedFile { role: Word, name: Word } => Evidence,
            "the certificate lists the unexpected {role} file {name}";
        Model { field: &'static str, stated: Word, found: Word } => Evidence,
            "{field} is {stated} in the certificate and {found} in the files";
        NoStates => Evidence, "the certificate speaks of no state";
        WrongChecker { stated: Word, own: &'static str } => Evidence,
            "the certificate was made for checker {stated}, this is {own}";

        // Sentences.
        AssumptionMissing { assumption: String } => Evidence, "the assumption \"{assumption}\" is not listed";
        LimitMissing { limit: &'static str } => Evidence, "the limit \"{limit}\" is not listed";
        TooManySentences { extra: usize, most: usize } => Evidence,
            "{extra} assumptions and limits that the claims do not need, more than {most}";

        // What a claim speaks of.
        UnknownFamily { family: Word } => Evidence, "no family is called {family}";
        UnknownQuantity { quantity: Word } => Evidence, "no quantity is called {quantity}";
        NotFromBelow { quantity: Word } => Evidence, "no bound from below is called {quantity}";
        NoMask => Evidence, "the chain has no such mask";
        NoOutput => Evidence, "there is no such output, or the quantity wants none";
        NotForThisHead => Evidence, "the quantity means nothing for this head";
        Repeated => Evidence, "it repeats an earlier one";

        // Numbers and verdicts.
        Length { stated: usize, expected: usize } => Evidence, "{stated} values where there must be {expected}";
        NotANumber => Evidence, "it is not a number";
        NumberSpelling => Evidence, "it is a number in another spelling than the canonical one, such as 0.075, 1.5e-9 or 3/40";
        TooTight { claimed: Box<Rational>, proved: Box<Rational>, how: &'static str } => Evidence,
            "claims {claimed}, only {proved} {how}";
        WrongVerdict { stated: String, found: String } => Evidence,
            "the certificate says {stated}, the check finds {found}";
        Theorem { family: String, step: usize } => Limit, "{family} rose at step {step}, against its theorem";

        // Regret and statistical claims.
        Deterministic => Evidence,
            "the head is deterministic; total variation is then 0 or 1, and there is nothing to average or to lose by it";
        FamilyNotClaimed { family: Word } => Evidence, "no claim bounds the adversary by a family called {family}";
        WrongRegion { stated: &'static str, found: &'static str } => Evidence,
            "the region is {stated}, the family holds for {found}";
        NotLocal => Evidence, "the family has one bound for all states; there is nothing to sample";
        Sampler { name: Word, accepted: &'static str } => Evidence,
            "states from the sampler {name} are not independent draws of the discounted visitation; only \"{accepted}\" is accepted";
        SampleCount { stated: usize, states: usize, ended: usize, cut_off: usize } => Evidence,
            "{stated} samples, but {states} states, {ended} ended and {cut_off} cut off";
        RowsLeftOut { rows: usize, states: usize } => Evidence,
            "the states file has {rows} rows and the certificate lists {states}; a statistical claim averages all";
        OtherDraw { what: &'static str } => Evidence,
            "its {what} is not that of the first entry; the states were drawn once";
        TooManyInequalities { entries: usize, inequalities: u32 } => Evidence,
            "{entries} statistical claims share a confidence split over {inequalities}";
        EndedAlthoughNever { ended: usize } => Evidence,
            "{ended} episodes had ended, but its rewards assume that none ever ends";

        // Witness files.
        NoWitness => Evidence, "there is no witness file";
        WitnessFile { clause: Box<Clause> } => Evidence, "witness file: {clause}";
        WitnessRange => Evidence, "a witness number is too large";
        PointsShape { mask: usize } => Evidence,
            "the points of mask {mask} are not binary64 with one row a state and one column an input";
        TreeMissing => Evidence, "the witness file has no tree for it";
        BoxShape => Evidence, "the box does not fit the policy's inputs";

        // Radii.
        RadiusFamily { family: Word } => Evidence,
            "the family {family} does not bound what an adversary changes at each listed state";
        RadiusLimit => Evidence, "a same-action-margin has no limit, every other quantity has one";
        RadiusTooLarge { state: usize, multiple: Box<Rational>, proved: Box<Rational> } => Evidence,
            "at state {state} and {multiple} times the radii only {proved} is proved";
        RadiusNotBroken { state: usize, multiple: Box<Rational> } => Evidence,
            "the point of state {state} breaks nothing at {multiple} times the radii";

        // Properties.
        ProofMissing => Evidence, "the certificate is about other files, or its proof file is missing";
        NetworkCount { given: usize, stated: usize } => Evidence,
            "the property speaks of {stated} networks, and {given} are given";
        ProofCases { trees: usize, cases: usize } => Evidence, "the proof has {trees} trees for {cases} cases";
        NoSuchCase => Evidence, "the counterexample names a case that does not exist";
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        Self::Rule { fault }
    }
}

impl From<Clause> for Reason {
    fn from(clause: Clause) -> Self {
        Self::WitnessFile { clause: Box::new(clause) }
    }
}

impl Reason {
    /// The condition's stable code: the kernel's where a rule refused, the reader's for the witness file.
    pub fn code(&self) -> Code {
        if let Self::Rule { fault } = self {
            return fault.code();
        }
        if let Self::WitnessFile { clause } = self { clause.code() } else { self.own_code() }
    }

    /// The rule's own condition, if a rule refused.
    pub fn fault(&self) -> Option<&Fault> {
        if let Self::Rule { fault } = self { Some(fault.condition()) } else { None }
    }

    /// The condition's class. A witness file that is not what its format says is evidence that does not hold.
    pub fn class(&self) -> Class {
        let class = match self {
            Self::Rule { fault } => fault.class(),
            Self::WitnessFile { clause } => clause.class(),
            other => other.own_class(),
        };
        if class == Class::Malformed { Class::Evidence } else { class }
    }
}

/// The entry of a certificate's list that a rejection is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The list, in words.
    pub kind: &'static str,
    /// Position in the list, from 0.
    pub position: usize,
    /// What part of it, in words that follow the position; empty for the whole.
    pub part: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.kind, self.position, self.part)
    }
}

/// Why a certificate is not accepted, and in which entry of its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The entry, if it is about one.
    pub entry: Option<Entry>,
    /// Why.
    pub reason: Reason,
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self { entry: None, reason }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Reason::from(fault).into()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = &self.entry {
            write!(f, "{entry}: ")?;
        }
        self.reason.fmt(f)
    }
}

impl core::error::Error for Rejection {}
