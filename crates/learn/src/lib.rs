//! Environments, the reference trainer and adversaries. Untrusted. `spec/attacks.md`.

#![deny(unsafe_code)]

pub mod attack;
pub mod rl;

use secateur_import::prune;
use secateur_measure::{decomposition, statistic};
use secateur_policy::{float, policy, progress};
