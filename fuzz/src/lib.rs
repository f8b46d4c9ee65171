//! Fuzz targets: every reader, the importers, the whole check. Not trusted, never published. `fuzz/README.md`.

pub mod driver;
pub mod seeds;
pub mod targets;
