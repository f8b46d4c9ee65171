//! Policies and masks as files, and as networks over floats for the search. Untrusted. `spec/certificate-files.md`.

#![forbid(unsafe_code)]

pub mod float;
pub mod policy;
pub mod progress;
