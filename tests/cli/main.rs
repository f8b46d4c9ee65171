//! The two programs, run as a person runs them.

mod attack;
mod episodes;
mod outputs;
mod programs;
mod regret;
mod report;
mod sweep;
mod train;
mod truth;
mod verify;
