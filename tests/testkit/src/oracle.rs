//! What networks compute, by other means than the checker's rules.

pub mod binary32;
pub mod curve;
pub mod exact;
pub mod fixed;
#[cfg(feature = "checker")]
pub mod probe;
