//! Groups of options that several commands share, and what they mean.

pub mod adversary;
pub mod band;
pub mod details;
pub mod document;
pub mod force;
pub mod gap;
pub mod networks;
pub mod radius;
pub mod regions;
pub mod regret;
