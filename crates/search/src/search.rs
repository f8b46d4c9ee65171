//! Search for witnesses: slopes, multipliers, split trees, norm vectors, counterexamples. Untrusted: the checker
//! recomputes whatever is found here. `spec/trust.md`.

pub mod branch;
pub mod counterexample;
pub mod cover;
pub mod float32;
#[cfg(feature = "lp")]
pub mod lp;
pub mod norm_witness;
pub mod slopes;
