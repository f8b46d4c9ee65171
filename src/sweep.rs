//! Sweeps over environments, seeds, ways to train, masks and attacks: jobs that resume, tables, plots. Untrusted.
//! Bounds in its tables come out of the checker; returns are measured. `spec/sweep.md`.

pub mod bootstrap;
pub mod config;
mod cost;
pub mod engine;
pub mod gather;
pub mod job;
mod meter;
pub mod plan;
pub mod plots;
pub mod statistic;
pub mod store;
pub mod sweet_spot;
pub mod tables;
