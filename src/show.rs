//! Certificates in words, tables and JSON. Untrusted. `spec/certificate.md`.

pub mod band;
pub mod bracket;
pub mod quoted;
pub mod radius;
pub mod regions;
pub mod regret;
pub mod snapshot;
pub mod summary;
pub mod survival;
pub mod words;
