//! Certificates in words, tables and JSON. Untrusted. `spec/certificate.md`.

pub mod band;
pub mod bracket;
pub mod regions;
pub mod regret;
pub mod summary;
pub mod words;
