//! What `check` says of a certificate: every reason for refusal.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod case;
mod counterexample;
mod evaluated;
#[path = "../../../crates/certify/src/certify/json.rs"]
mod json;
mod property;
mod radius;
mod regret;
mod statistical;
