//! Secateur: bounds on what a pruned neural-network policy can be pushed into doing, signed, and checkable by anyone.
//! Untrusted: everything found here goes through the crate `secateur_checker` before a person sees it. `spec/README.md`.
//!
//! The arrow is `checker <- policy <- float <- bound <- search <- certify <- cli`, never back. Features: `cli` is the program,
//! `lp` the linear programs, `train` the trainer, attacks and sweeps, `simd` the wider instructions; all are on by default.

#![deny(unsafe_code)]
#![cfg_attr(not(any(feature = "simd", feature = "train")), forbid(unsafe_code))]

#[cfg(feature = "train")]
pub mod attack;
pub mod audit;
pub mod bound;
pub mod bundle;
pub mod certify;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(feature = "cli", feature = "train"))]
pub mod decomposition;
#[cfg(feature = "cli")]
pub mod diff;
pub mod float;
pub mod import;
pub mod outputs;
#[cfg(feature = "train")]
pub mod plot;
pub mod policy;
pub mod progress;
pub mod property;
pub mod prune;
pub mod report;
#[cfg(feature = "train")]
pub mod rl;
pub mod sa_mdp;
pub mod search;
#[cfg(feature = "cli")]
pub mod show;
pub mod statistic;
#[cfg(feature = "train")]
pub mod sweep;
pub mod verify;
