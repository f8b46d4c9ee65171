//! What a gate decides on: a policy's files, read once and hashed, and the certificate that the trusted check accepted for
//! exactly these bytes. Untrusted; the check is the checker's. `spec/gate.md#evidence`.

use std::path::{Path, PathBuf};

use secateur_checker::check::{NamedFile, Subject, Verified, check};
use secateur_checker::load::{
    Failure, FileProblem, MaskDirectory, PolicyDirectory, load_masks, load_policy, load_states, read_file,
};
use secateur_checker::reader::certificate::{Certificate, FileDigest, parse_certificate};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::digest::{policy_digest, sha256_hex};
use secateur_checker::reader::dsse::{MAX_ENVELOPE, parse_envelope};
use secateur_checker::reader::safetensors;
use secateur_checker::reader::trust::{MAX_TRUST, SignerInfo, parse_trust, verify_envelope};

use super::config::{Gate, PolicyEntry};

/// A policy whose certificate was checked. Only [`gather`] makes one.
#[derive(Debug)]
pub struct Evidence {
    verified: Verified,
    signers: Vec<SignerInfo>,
    certificate_sha256: String,
    policy: PolicyDirectory,
    masks: MaskDirectory,
}

impl Evidence {
    /// What the checker verified.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        self.verified.certificate()
    }

    /// Trusted keys that signed; none where no signature was demanded.
    pub fn signers(&self) -> &[SignerInfo] {
        &self.signers
    }

    /// Plain SHA-256 of the certificate's file.
    pub fn certificate_sha256(&self) -> &str {
        &self.certificate_sha256
    }

    /// The policy.
    pub fn policy(&self) -> &PolicyDirectory {
        &self.policy
    }

    /// Its masks.
    pub fn masks(&self) -> &MaskDirectory {
        &self.masks
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.policy.files.policy.network.outputs()
    }

    /// A digest over everything that defines the policy.
    pub fn policy_digest(&self) -> String {
        policy_digest(&self.policy.files.policy)
    }

    /// Name and digest of the policy's files.
    pub fn policy_files(&self) -> [FileDigest; 2] {
        let file = |name: &str, bytes: &[u8]| FileDigest {
            role: "policy".to_owned(),
            name: name.to_owned(),
            sha256: sha256_hex(bytes),
        };
        [file("policy.json", &self.policy.manifest), file("policy.safetensors", &self.policy.tensors)]
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
    let path = gate.place(&entry.certificate);
    let bytes = read_file(&path, MAX_ENVELOPE)?;
    let trust = entry.trust.as_ref().map(|trust| gate.place(trust));
    let (certificate, signers) = open_certificate(&path, &bytes, trust.as_deref())?;
    let policy = load_policy(&gate.place(&entry.directory))?;
    let masks = match &entry.masks {
        Some(directory) => load_masks(&gate.place(directory), &policy.files)?,
        None => MaskDirectory::dense(&policy.files.policy.network),
    };
    let states_path = gate.place(&entry.states);
    let (states, states_bytes) = load_states(&states_path, certificate.state_units)?;
    let witness = witness_path(gate, entry, &path, &certificate);
    let witness = witness.map(|p| Ok((plain_name(&p), read_file(&p, safetensors::MAX_FILE)?))).transpose()?;
    let mask_files: Vec<NamedFile<'_>> =
        masks.files.iter().map(|(name, bytes)| NamedFile { name, bytes }).collect();
    let subject = Subject {
        policy: &policy.files.policy,
        policy_files: [
            NamedFile { name: "policy.json", bytes: &policy.manifest },
            NamedFile { name: "policy.safetensors", bytes: &policy.tensors },
        ],
        masks: &masks.masks,
        mask_files: &mask_files,
        states: &states,
        states_file: NamedFile { name: &plain_name(&states_path), bytes: &states_bytes },
        witness: witness.as_ref().map(|(name, bytes)| NamedFile { name, bytes }),
    };
    let verified = check(certificate, &subject, progress).map_err(|e| Failure::Rejected(Box::new(e)))?;
    Ok(Evidence { verified, signers, certificate_sha256: sha256_hex(&bytes), policy, masks })
}

/// A certificate's content, and who signed it; without a trust file no signature counts.
///
/// # Errors
/// [`Failure`].
pub fn open_certificate(
    path: &Path,
    bytes: &[u8],
    trust: Option<&Path>,
) -> Result<(Certificate, Vec<SignerInfo>), Failure> {
    let problem = |path: &Path, clause: Clause| Failure::File {
        path: path.to_owned(),
        problem: FileProblem::Clause(clause),
    };
    let envelope = parse_envelope(bytes).map_err(|e| problem(path, e))?;
    let trust = match trust {
        Some(file) => Some(parse_trust(&read_file(file, MAX_TRUST)?).map_err(|e| problem(file, e))?),
        None => None,
    };
    let signers = match &trust {
        Some(trust) => verify_envelope(&envelope, trust).map_err(Failure::Signature)?,
        None => Vec::new(),
    };
    let certificate = parse_certificate(&envelope.payload).map_err(|e| problem(path, e))?;
    if let Some(trust) = &trust {
        trust.check_verifier(&certificate.verifier.id).map_err(Failure::Signature)?;
    }
    Ok((certificate, signers))
}

/// The witness that is named, or the one that the certificate names, beside it; only its plain name counts.
fn witness_path(gate: &Gate, entry: &PolicyEntry, path: &Path, certificate: &Certificate) -> Option<PathBuf> {
    if let Some(witness) = &entry.witness {
        return Some(gate.place(witness));
    }
    let name = Path::new(&certificate.witness.as_ref()?.name).file_name()?;
    Some(path.with_file_name(name))
}

fn plain_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
