//! Secateur: bounds on what a pruned neural-network policy can be pushed into doing, signed, and checkable by anyone.
//! Untrusted: everything found here goes through the crate `secateur_checker` before a person sees it. `spec/README.md`.
//!
//! The arrow is `checker <- policy <- float <- bound <- search <- certify <- cli`, never back. Features: `cli` is the program,
//! `lp` the linear programs, `train` the trainer, attacks and sweeps, `simd` the wider instructions; all are on by default.
//!
//! What takes long to compile or to run lives in the packages of `crates/`, which build side by side; here they are one.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bundle;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod diff;
pub mod export;
#[cfg(feature = "cli")]
pub mod gate;
#[cfg(feature = "cli")]
pub mod mismatch;
#[cfg(feature = "cli")]
pub mod names;
pub mod outputs;
#[cfg(feature = "cli")]
pub mod radii;
pub mod report;
#[cfg(feature = "cli")]
pub mod settings;
#[cfg(feature = "cli")]
pub mod show;
#[cfg(feature = "train")]
pub mod sweep;

pub use secateur_certify::{certify, verify};
pub use secateur_import::{import, prune};
#[cfg(feature = "train")]
pub use secateur_learn::{attack, rl};
#[cfg(any(feature = "cli", feature = "train"))]
pub use secateur_measure::decomposition;
#[cfg(any(feature = "cli", feature = "train"))]
pub use secateur_measure::plot;
pub use secateur_measure::{sa_mdp, statistic};
pub use secateur_policy::{float, policy, progress};
pub use secateur_search::{bound, property, search};
