//! The subcommands, one file each; what is too long for one lies in a folder of its name.

#[cfg(feature = "train")]
pub mod attack;
pub mod audit;
pub mod bundle;
pub mod certify;
pub mod check;
pub mod decompose;
pub mod diff;
#[cfg(feature = "train")]
pub mod episodes;
pub mod export;
pub mod gate;
pub mod import;
pub mod keygen;
pub mod keys;
pub mod names;
pub mod prune;
pub mod report;
pub mod sa_mdp;
pub mod show;
pub mod states;
#[cfg(feature = "train")]
pub mod sweep;
#[cfg(feature = "train")]
pub mod train;
pub mod verify;
