//! Secateur: bounds on what a pruned neural-network policy can be pushed into doing, signed, and checkable by anyone.
//! Untrusted: everything found here goes through the crate `secateur_checker` before a person sees it. `spec/README.md`.
//!
//! The arrow is `checker <- float <- bound <- search <- certify <- cli`, never back.

pub mod attack;
pub mod bound;
pub mod certify;
pub mod cli;
pub mod decomposition;
pub mod float;
pub mod import;
pub mod plot;
pub mod policy;
pub mod property;
pub mod prune;
pub mod report;
pub mod rl;
pub mod sa_mdp;
pub mod search;
pub mod statistic;
pub mod sweep;
pub mod verify;
