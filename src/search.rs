//! Search for witnesses: slopes, multipliers, split trees, counterexamples. Untrusted: the checker recomputes whatever
//! is found here. `spec/rules.md`.

pub mod branch;
pub mod lp;
pub mod slopes;
