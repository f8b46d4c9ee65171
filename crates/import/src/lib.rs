//! Policies of other programs, and pruning masks. Untrusted: the checker reads what is written. `spec/import.md`.

#![forbid(unsafe_code)]

pub mod import;
pub mod prune;

use secateur_policy::{float, policy};
