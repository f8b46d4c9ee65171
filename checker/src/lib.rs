//! The trusted checker of Secateur certificates: exact integers and rationals, no float, no `unsafe`, no tolerance.
//! `reader` turns bytes into typed values, `kernel` holds the rules, `check` applies them to a certificate.
//! Start with `checker/README.md`; every rule has a section in `spec/rules/README.md`.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::integer_division))]

pub use secateur_kernel as kernel;
pub use secateur_kernel::{model, number};

pub mod bracket;
pub mod check;
pub mod counterexample;
pub mod evaluate;
pub mod family;
pub mod global;
pub mod load;
pub mod property;
pub mod reader;
pub mod region_claim;
pub mod regret_claim;
pub mod statistical_claim;
pub mod table;
pub mod tables;
