//! Every condition on regret and statistical claims of `spec/certificate-regret.md`: one certificate that is accepted and
//! one that is rejected, by variant.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "regret_claims/case.rs"]
mod case;
#[path = "../../src/certify/json.rs"]
mod json;
#[path = "regret_claims/regret.rs"]
mod regret;
#[path = "regret_claims/statistical.rs"]
mod statistical;
