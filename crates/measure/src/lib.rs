//! Finite models solved exactly, draws of states, measured returns, plots. Untrusted. `spec/sa-mdp.md`.

#![forbid(unsafe_code)]

#[cfg(feature = "decomposition")]
pub mod decomposition;
pub mod plot;
pub mod sa_mdp;
pub mod statistic;
