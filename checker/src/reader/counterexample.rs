//! The predicate's optional parts that speak from below: `counterexample` and `chain.bracket`. Trusted; shape only.
//! `spec/certificate-bracket.md`. Their numbers stand under keys of their own, so that none reads as an upper bound.

use crate::number::Rational;
use crate::reader::mask::MAX_MASKS;
use crate::reader::record::{numerals, record};

/// Most entries of `counterexample`: 64 for each mask.
pub(super) const MAX_CLAIMS: usize = MAX_MASKS << 6;
/// Most entries of `chain.bracket`: two for each step.
pub(super) const MAX_BRACKETS: usize = MAX_MASKS << 1;

record! {
    /// What the witness file's points show from below under one mask, one number a state.
    pub struct CounterexampleClaim {
        /// Position of the mask in the chain, from 0.
        mask: usize,
        /// `action-deviation` or `total-variation`.
        quantity: String,
        /// Output, for `action-deviation`.
        output: Option<usize>,
        /// Lower bounds as written, one per state.
        at_least as "atLeast": Vec<String> => numerals,
    }
}

record! {
    /// Where a step's largest change sits.
    pub struct Place {
        /// State, for local families.
        state: Option<usize>,
        /// Output, or layer for per-layer norms.
        index: Option<usize>,
    }
}

record! {
    /// Whether a step of the chain is shown to have hurt.
    pub struct BracketVerdict {
        /// `action-deviation` or `total-variation`.
        of: String,
        /// Step `k` goes from mask `k - 1` to mask `k`.
        step: usize,
        /// `hurt` or `not-shown`.
        verdict: String,
        /// Number of places where the least after exceeds the most before.
        hurt: usize,
        /// Number of places compared.
        places: usize,
        /// Where it exceeds it by most; `None` if it does nowhere.
        at: Option<Place>,
        /// The most before the step, there, exactly.
        at_most_before as "atMostBefore": Option<Rational>,
        /// The least after it, there, exactly.
        at_least_after as "atLeastAfter": Option<Rational>,
    }
}
