//! The rules, over typed numbers. Trusted; one file per family, one function per rule; `spec/rules.md`.

pub mod logarithm;
pub mod regret;
pub mod statistic;
