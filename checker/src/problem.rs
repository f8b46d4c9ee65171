//! What a certificate is about, as typed values. Trusted. `spec/certificate.md`.

use crate::model::{Mask, PerturbationSet, Policy, States};

/// A policy, its masks, its states and an adversary; and the witness file's bytes, if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Problem<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Nested masks, loosest first.
    pub masks: &'a [Mask],
    /// The states.
    pub states: &'a States,
    /// The adversary.
    pub perturbation: &'a PerturbationSet,
    /// The witness side file.
    pub witness: Option<&'a [u8]>,
}
