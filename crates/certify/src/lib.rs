//! From a policy, masks and states to a certificate that the checker accepts. Untrusted. `spec/certificate.md`.

#![forbid(unsafe_code)]

pub mod certify;
pub mod verify;

use secateur_policy::{float, policy, progress};
use secateur_search::{bound, property, search};
