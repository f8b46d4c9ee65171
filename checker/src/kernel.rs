//! The rules, over typed numbers. Trusted; one file per family, one function per rule; `spec/rules/README.md`.

pub mod back;
pub mod band;
pub mod branch;
pub mod crown;
pub mod enclose;
pub mod error;
pub mod float32;
pub mod grid;
pub mod head;
pub mod hull;
pub mod ibp;
pub mod input;
pub mod logarithm;
pub mod nested;
pub mod norm;
pub mod paired;
pub mod point;
pub mod regret;
pub mod relax;
pub mod scaled;
pub mod sensitivity;
pub mod split;
pub mod statistic;
