//! Every side condition of the rules of `spec/rules`: one accepted and one refused case.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]

mod band;
mod branch;
mod cells;
mod region;
