//! Accept and reject tests of the rules in `spec/rules/regret.md`.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]

#[path = "rules/regret.rs"]
mod regret;
