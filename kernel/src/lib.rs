//! The rules behind Secateur certificates over typed numbers: exact integers and rationals, no float, no `unsafe` of its own,
//! no tolerance, no input or output. Trusted; one file a family, one function a rule; `spec/rules/README.md`.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    test,
    allow(clippy::arithmetic_side_effects, clippy::integer_division, clippy::wildcard_enum_match_arm)
)]

extern crate alloc;

mod advice;
pub mod back;
pub mod band;
pub mod bounds;
pub mod branch;
pub mod crown;
mod curve;
pub mod enclose;
pub mod fault;
pub mod float32;
pub mod form;
pub mod grid;
pub mod head;
pub mod hull;
pub mod ibp;
pub mod input;
pub mod interval;
pub mod model;
pub mod nested;
pub mod norm;
pub mod number;
pub mod paired;
pub mod point;
mod product;
pub mod quadratic;
pub mod regret;
pub mod relax;
pub mod scaled;
pub mod sensitivity;
pub mod softmax;
pub mod split;
pub mod stack;
pub mod statistic;
mod table;
mod wide;
