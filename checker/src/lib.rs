//! The trusted checker of Secateur certificates: exact integers and rationals, no float, no `unsafe`, no tolerance.
//! `reader` turns bytes into typed values, `kernel` holds the rules, `check` applies them to a certificate.
//! Start with `checker/README.md`; every rule has a section in `spec/rules/README.md`.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::integer_division))]

pub use secateur_kernel as kernel;
pub use secateur_kernel::model;

pub mod answer;
pub mod bundle;
pub mod check;
pub mod claim;
pub mod demand;
pub mod evaluate;
pub mod family;
pub(crate) mod global;
pub mod load;
pub mod local;
pub mod number;
pub mod pair;
pub mod problem;
pub mod property;
pub mod radii;
pub mod reader;
pub mod rejection;
pub mod sentences;
pub mod table;
pub mod tables;
pub mod threads;
