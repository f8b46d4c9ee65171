//! The two programs, run as a person runs them.

mod attack;
mod bundle;
mod compare;
mod diff;
mod episodes;
mod keys;
mod names;
mod outputs;
mod people;
mod people_more;
mod programs;
mod radius;
mod regret;
mod report;
mod snapshot;
mod sweep;
mod train;
mod truth;
mod verify;
mod vnnlib;
