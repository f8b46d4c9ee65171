//! What a gate decides on: a policy's files, read once and hashed, and the certificate that the trusted check accepted for
//! exactly these bytes. Untrusted; the check is the checker's. `spec/gate.md#evidence`.

use std::path::PathBuf;

use secateur_checker::check::Verified;
use secateur_checker::load::{CheckPaths, Failure, MaskDirectory, Outcome, PolicyDirectory, check_paths};
use secateur_checker::reader::certificate::{Certificate, FileDigest};
use secateur_checker::reader::digest::{policy_digest, sha256_hex};
use secateur_checker::reader::trust::SignerInfo;

use super::config::{Gate, PolicyEntry};

/// A policy whose certificate was checked. Only [`gather`] makes one.
#[derive(Debug)]
pub struct Evidence(Outcome);

impl Evidence {
    /// What the checker verified.
    pub fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        self.0.verified.certificate()
    }

    /// Trusted keys that signed; none where no signature was demanded.
    pub fn signers(&self) -> &[SignerInfo] {
        &self.0.signers
    }

    /// Plain SHA-256 of the certificate's file.
    pub fn certificate_sha256(&self) -> String {
        sha256_hex(&self.0.envelope)
    }

    /// The policy.
    pub fn policy(&self) -> &PolicyDirectory {
        &self.0.policy
    }

    /// Its masks.
    pub fn masks(&self) -> &MaskDirectory {
        &self.0.masks
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.0.policy.files.policy.network.outputs()
    }

    /// A digest over everything that defines the policy.
    pub fn policy_digest(&self) -> String {
        policy_digest(&self.0.policy.files.policy, self.0.policy.files.names.as_ref())
    }

    /// Name and digest of the policy's files.
    pub fn policy_files(&self) -> [FileDigest; 2] {
        let file = |name: &str, bytes: &[u8]| FileDigest {
            role: "policy".to_owned(),
            name: name.to_owned(),
            sha256: sha256_hex(bytes),
        };
        [file("policy.json", &self.0.policy.manifest), file("policy.safetensors", &self.0.policy.tensors)]
    }
}

/// Where everything lies that an entry's check reads.
pub fn paths_of(gate: &Gate, entry: &PolicyEntry) -> CheckPaths {
    let place = |path: &Option<PathBuf>| path.as_ref().map(|path| gate.place(path));
    CheckPaths {
        policy: gate.place(&entry.directory),
        masks: place(&entry.masks),
        states: gate.place(&entry.states),
        trust: place(&entry.trust),
        witness: place(&entry.witness),
        certificate: gate.place(&entry.certificate),
    }
}

/// Reads a policy's files and checks its certificate against them; `progress(done, total)` is called after every state.
///
/// # Errors
/// [`Failure`], as `secateur check` would say it.
pub fn gather(
    gate: &Gate,
    entry: &PolicyEntry,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evidence, Failure> {
    check_paths(&paths_of(gate, entry), progress).map(Evidence)
}
