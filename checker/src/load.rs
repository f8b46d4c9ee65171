//! Files on disk to a checked certificate, for `secateur-check` and for whoever calls it as a library.
//! Trusted. `spec/certificate.md#exit-codes`; exit codes: 2 unreadable or malformed, 3 evidence rejected, 4 limit.

use core::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::check::{NamedFile, Subject, Verified, check};
use crate::kernel::fault::{Class, Code, kebab};
use crate::model::{Mask, Network, States, Units};
use crate::property::{Decided, PropertyNetwork, PropertySubject, check_property};
use crate::reader::certificate::{Certificate, WitnessRecord, parse_certificate};
use crate::reader::clause::Clause;
use crate::reader::dsse::{MAX_ENVELOPE, parse_envelope};
use crate::reader::escaped::Escaped;
use crate::reader::mask::{self, check_chain_size, parse_chain_manifest, parse_mask};
use crate::reader::npy::parse_states;
use crate::reader::policy::{self, PolicyFiles, parse_policy};
use crate::reader::property::{MAX_PROOF, parse_property};
use crate::reader::safetensors;
use crate::reader::trust::{MAX_TRUST, SignerInfo, parse_trust, verify_envelope};
use crate::reader::verdict::{Claimed, parse_verdict};
use crate::rejection::Rejection;

/// What something is that is no regular file, in words; nothing for a regular file.
fn irregular(found: &Metadata) -> Option<&'static str> {
    if found.is_file() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = found.file_type();
        if kind.is_fifo() {
            return Some("it is a pipe, not a regular file: write what comes out of it to a file first");
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Some("it is a device, not a regular file");
        }
    }
    let folder = "it is a folder, not a file";
    Some(if found.is_dir() { folder } else { "it is a socket or the like, not a regular file" })
}

/// What is wrong with one file.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileProblem {
    /// It cannot be opened or read.
    Io(std::io::Error),
    /// It is no regular file but this, in words: nothing says how long it is, or when it ends.
    Irregular(&'static str),
    /// It is no folder, where a folder is wanted.
    NotAFolder,
    /// It is longer than the files of its kind may be.
    TooLarge {
        /// Most bytes.
        cap: usize,
    },
    /// It breaks a clause of its format.
    Clause(Clause),
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.condition().2)
    }
}

impl FileProblem {
    /// Its stable code, its class and its sentence.
    fn condition(&self) -> (Code, Class, String) {
        let malformed = |name, words: &str| (kebab(name), Class::Malformed, words.to_owned());
        match self {
            Self::Io(error) => malformed("Unreadable", &error.to_string()),
            Self::Irregular(words) => malformed("NotARegularFile", words),
            Self::NotAFolder => {
                malformed("NotAFolder", "it is not a folder with the files of a policy or of masks")
            }
            Self::TooLarge { cap } => {
                let words = format!("longer than the {cap} bytes that are read of such a file");
                (kebab("FileTooLarge"), Class::Limit, words)
            }
            Self::Clause(clause) => (clause.code(), clause.class(), clause.to_string()),
        }
    }
}

impl From<Clause> for FileProblem {
    fn from(clause: Clause) -> Self {
        Self::Clause(clause)
    }
}

/// Why nothing was verified.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A file is unreadable or malformed: exit code 2.
    File {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// The signature or the key is not accepted: exit code 3.
    Signature(Clause),
    /// The content is not accepted: exit code 3, or 4 where a limit was reached.
    Rejected(Box<Rejection>),
}

impl Failure {
    /// The stable code of what failed; `unreadable` and its like for files that could not be read.
    pub fn code(&self) -> Code {
        match self {
            Self::File { problem, .. } => problem.condition().0,
            Self::Signature(clause) => clause.code(),
            Self::Rejected(rejection) => rejection.reason.code(),
        }
    }

    /// The process's exit code for this failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File { problem, .. } if problem.condition().1 == Class::Limit => 4,
            Self::File { .. } => 2,
            Self::Signature(_) => 3,
            Self::Rejected(rejection) if rejection.reason.class() == Class::Limit => 4,
            Self::Rejected(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, problem } => write!(f, "{}: {problem}", Escaped(&path.to_string_lossy())),
            Self::Signature(e) => write!(f, "signature: {e}"),
            Self::Rejected(e) => e.fmt(f),
        }
    }
}

/// Reads a whole regular file of at most `cap` bytes; both are tested before it is opened. The only place where files are
/// opened.
///
/// # Errors
/// [`FileProblem::Io`], [`FileProblem::Irregular`], [`FileProblem::TooLarge`].
pub fn read_regular(path: &Path, cap: usize) -> Result<Vec<u8>, FileProblem> {
    // Before it is opened: opening a pipe waits for somebody to write into it.
    let found = std::fs::metadata(path).map_err(FileProblem::Io)?;
    if let Some(words) = irregular(&found) {
        return Err(FileProblem::Irregular(words));
    }
    let most = u64::try_from(cap).unwrap_or(u64::MAX);
    if found.len() > most {
        return Err(FileProblem::TooLarge { cap });
    }
    let file = File::open(path).map_err(FileProblem::Io)?;
    let mut bytes = Vec::new();
    // One byte more than the cap shows that the file has grown since.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(FileProblem::Io)?;
    if bytes.len() > cap { Err(FileProblem::TooLarge { cap }) } else { Ok(bytes) }
}

/// What was found in the file at `path`, or what is wrong with it there.
fn in_file<T, E: Into<FileProblem>>(path: &Path, found: Result<T, E>) -> Result<T, Failure> {
    found.map_err(|problem| Failure::File { path: path.to_owned(), problem: problem.into() })
}

/// [`read_regular`] with the file's name.
///
/// # Errors
/// [`Failure::File`].
pub fn read_file(path: &Path, cap: usize) -> Result<Vec<u8>, Failure> {
    in_file(path, read_regular(path, cap))
}

/// How a check reads a file of at most so many bytes: from the disk as [`read_file`], or from a bundle.
pub(crate) type FileReader<'a> = dyn Fn(&Path, usize) -> Result<Vec<u8>, Failure> + 'a;

/// What a file of at most `cap` bytes holds, and its bytes.
fn load<T>(
    read: &FileReader<'_>,
    path: &Path,
    cap: usize,
    parse: impl FnOnce(&[u8]) -> Result<T, Clause>,
) -> Result<(T, Vec<u8>), Failure> {
    let bytes = read(path, cap)?;
    Ok((in_file(path, parse(&bytes))?, bytes))
}

/// Accepts a folder, and what is not there, which its files will say.
fn check_folder(path: &Path) -> Result<(), Failure> {
    let other = std::fs::metadata(path).is_ok_and(|found| !found.is_dir());
    in_file(path, if other { Err(FileProblem::NotAFolder) } else { Ok(()) })
}

fn plain_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A file and its name, where they are kept apart.
fn with_name((name, bytes): &(String, Vec<u8>)) -> NamedFile<'_> {
    NamedFile { name, bytes }
}

fn policy_files<'a>(manifest: &'a [u8], tensors: &'a [u8]) -> [NamedFile<'a>; 2] {
    [("policy.json", manifest), ("policy.safetensors", tensors)]
        .map(|(name, bytes)| NamedFile { name, bytes })
}

/// Name and bytes of a side file: the one given, or the one that a certificate names, beside it.
fn side_file(
    read: &FileReader<'_>,
    given: Option<&Path>,
    named: Option<&WitnessRecord>,
    certificate: &Path,
    cap: usize,
) -> Result<Option<(String, Vec<u8>)>, Failure> {
    // Only the plain name counts, so that a certificate cannot point elsewhere.
    let beside = named.and_then(|n| Some(certificate.with_file_name(Path::new(&n.name).file_name()?)));
    let path = given.or(beside.as_deref());
    path.map(|path| Ok((plain_name(path), read(path, cap)?))).transpose()
}

/// A policy directory: `policy.json` and `policy.safetensors`.
#[derive(Clone, Debug)]
pub struct PolicyDirectory {
    /// The policy with its tensors' names.
    pub files: PolicyFiles,
    /// Bytes of `policy.json`.
    pub manifest: Vec<u8>,
    /// Bytes of `policy.safetensors`.
    pub tensors: Vec<u8>,
}

/// Reads a policy directory.
///
/// # Errors
/// [`Failure::File`].
pub fn load_policy(directory: &Path) -> Result<PolicyDirectory, Failure> {
    check_folder(directory)?;
    load_policy_by(&read_file, directory)
}

pub(crate) fn load_policy_by(read: &FileReader<'_>, directory: &Path) -> Result<PolicyDirectory, Failure> {
    let manifest_path = directory.join("policy.json");
    let manifest = read(&manifest_path, policy::MAX_MANIFEST)?;
    let tensors = read(&directory.join("policy.safetensors"), safetensors::MAX_FILE)?;
    let files = in_file(&manifest_path, parse_policy(&manifest, &tensors))?;
    Ok(PolicyDirectory { files, manifest, tensors })
}

/// A mask directory: masks, and the files they came from with `chain.json` first.
#[derive(Clone, Debug)]
pub struct MaskDirectory {
    /// Masks, loosest first.
    pub masks: Vec<Mask>,
    /// Names and bytes: `chain.json`, then one file per mask; empty for [`MaskDirectory::dense`].
    pub files: Vec<(String, Vec<u8>)>,
}

impl MaskDirectory {
    /// The all-kept mask alone, without files: the dense policy.
    pub fn dense(network: &Network) -> Self {
        let layers = network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect();
        Self { masks: vec![Mask { layers }], files: Vec::new() }
    }
}

/// Reads the chain in `directory`.
///
/// # Errors
/// [`Failure::File`].
pub fn load_masks(directory: &Path, policy: &PolicyFiles) -> Result<MaskDirectory, Failure> {
    check_folder(directory)?;
    load_masks_by(&read_file, directory, policy)
}

fn load_masks_by(
    read: &FileReader<'_>,
    directory: &Path,
    policy: &PolicyFiles,
) -> Result<MaskDirectory, Failure> {
    let network = &policy.policy.network;
    let (chain, chain_bytes) = load(read, &directory.join("chain.json"), mask::MAX_MANIFEST, |bytes| {
        let chain = parse_chain_manifest(bytes)?;
        check_chain_size(chain.masks.len(), network)?;
        Ok(chain)
    })?;
    let mut loaded = MaskDirectory { masks: Vec::new(), files: vec![("chain.json".to_owned(), chain_bytes)] };
    // The files of all masks are kept for their digests; a byte a weight and the header is all that one can need, and eight
    // leave room to say what is wrong with a table of another type.
    let weights = network.layers.iter().map(|l| l.weight.values.len());
    let weights = weights.fold(0usize, usize::saturating_add);
    let cap = weights.saturating_mul(8).saturating_add(safetensors::MAX_HEADER).saturating_add(8);
    for entry in chain.masks {
        let (mask, bytes) = load(read, &directory.join(&entry.file), cap, |bytes| parse_mask(bytes, policy))?;
        loaded.masks.push(mask);
        loaded.files.push((entry.file, bytes));
    }
    Ok(loaded)
}

/// Reads a table of states.
///
/// # Errors
/// [`Failure::File`].
pub fn load_states(path: &Path, units: Units) -> Result<(States, Vec<u8>), Failure> {
    load_states_by(&read_file, path, units)
}

fn load_states_by(read: &FileReader<'_>, path: &Path, units: Units) -> Result<(States, Vec<u8>), Failure> {
    load(read, path, safetensors::MAX_FILE, |bytes| parse_states(bytes, units))
}

/// Where everything a check needs lies.
#[derive(Clone, Debug)]
pub struct CheckPaths {
    /// The policy directory.
    pub policy: PathBuf,
    /// The mask directory, if the certificate is about masks.
    pub masks: Option<PathBuf>,
    /// The states.
    pub states: PathBuf,
    /// The trust file; `None` accepts an unsigned or unknown envelope, and says so.
    pub trust: Option<PathBuf>,
    /// The witness file; by default the one the certificate names, beside the certificate.
    pub witness: Option<PathBuf>,
    /// The certificate.
    pub certificate: PathBuf,
}

/// A verified certificate, who signed it, and what it was verified against.
#[derive(Debug)]
pub struct Outcome {
    /// What was verified.
    pub verified: Verified,
    /// Trusted signers; none if no trust file was given.
    pub signers: Vec<SignerInfo>,
    /// Bytes of the certificate's file.
    pub envelope: Vec<u8>,
    /// The policy.
    pub policy: PolicyDirectory,
    /// Its masks.
    pub masks: MaskDirectory,
}

/// Reads all files and checks the certificate; `progress(done, total)` is called after every state.
///
/// # Errors
/// [`Failure`]: unreadable files first, then the signature, then the content.
pub fn check_paths(paths: &CheckPaths, progress: &mut dyn FnMut(usize, usize)) -> Result<Outcome, Failure> {
    check_folder(&paths.policy)?;
    paths.masks.as_deref().map_or(Ok(()), check_folder)?;
    check_by(&read_file, paths, progress)
}

/// [`check_paths`], by another reader of files; the trust file lies on the disk.
pub(crate) fn check_by(
    read: &FileReader<'_>,
    paths: &CheckPaths,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Outcome, Failure> {
    let (certificate, signers, envelope) =
        open_envelope(read, &paths.certificate, paths.trust.as_deref(), parse_certificate, verifier_of)?;
    let policy = load_policy_by(read, &paths.policy)?;
    let masks = match &paths.masks {
        Some(directory) => load_masks_by(read, directory, &policy.files)?,
        None => MaskDirectory::dense(&policy.files.policy.network),
    };
    let (states, states_bytes) = load_states_by(read, &paths.states, certificate.state_units)?;
    let (given, named) = (paths.witness.as_deref(), certificate.witness.as_ref());
    let witness = side_file(read, given, named, &paths.certificate, safetensors::MAX_FILE)?;
    let mask_files: Vec<NamedFile<'_>> = masks.files.iter().map(with_name).collect();
    let subject = Subject {
        policy: &policy.files.policy,
        names: policy.files.names.as_ref(),
        policy_files: policy_files(&policy.manifest, &policy.tensors),
        masks: &masks.masks,
        mask_files: &mask_files,
        states: &states,
        states_file: NamedFile { name: &plain_name(&paths.states), bytes: &states_bytes },
        witness: witness.as_ref().map(with_name),
    };
    let verified = check(certificate, &subject, progress).map_err(|e| Failure::Rejected(Box::new(e)))?;
    Ok(Outcome { verified, signers, envelope, policy, masks })
}

fn verifier_of(certificate: &Certificate) -> String {
    certificate.verifier.id.clone()
}

/// What a certificate's file says that was read already, and who signed it; nothing of it is verified but, by a trust file,
/// its signatures.
///
/// # Errors
/// [`Failure`]; `path` names the file in it.
pub fn open_certificate(
    path: &Path,
    bytes: &[u8],
    trust: Option<&Path>,
) -> Result<(Certificate, Vec<SignerInfo>), Failure> {
    let read = |_: &Path, _: usize| Ok(bytes.to_vec());
    let (certificate, signers, _) = open_envelope(&read, path, trust, parse_certificate, verifier_of)?;
    Ok((certificate, signers))
}

/// What an envelope says, who signed it, and its bytes: its signatures and its verifier are tested if there is a trust file, the
/// signatures before its payload is read.
fn open_envelope<T>(
    read: &FileReader<'_>,
    path: &Path,
    trust: Option<&Path>,
    parse: fn(&[u8]) -> Result<T, Clause>,
    verifier: fn(&T) -> String,
) -> Result<(T, Vec<SignerInfo>, Vec<u8>), Failure> {
    let (envelope, bytes) = load(read, path, MAX_ENVELOPE, parse_envelope)?;
    let trust = trust.map(|path| load(&read_file, path, MAX_TRUST, parse_trust)).transpose()?;
    let signers = match &trust {
        Some((trust, _)) => verify_envelope(&envelope, trust).map_err(Failure::Signature)?,
        None => Vec::new(),
    };
    let said = in_file(path, parse(&envelope.payload))?;
    if let Some((trust, _)) = &trust {
        trust.check_verifier(&verifier(&said)).map_err(Failure::Signature)?;
    }
    Ok((said, signers, bytes))
}

/// The files a property certificate is checked against, already in memory.
#[derive(Clone, Debug)]
pub struct PropertyFiles<'a> {
    /// `policy.json` and `policy.safetensors` of each network, in the order of the property's list.
    pub policies: Vec<[&'a [u8]; 2]>,
    /// `property.json`.
    pub property: &'a [u8],
}

/// Reads and checks a property certificate; the proof file lies beside it unless `proof` names another.
///
/// # Errors
/// [`Failure`].
pub fn check_property_files(
    files: &PropertyFiles<'_>,
    certificate: &Path,
    proof: Option<&Path>,
    trust: Option<&Path>,
    progress: &mut dyn FnMut(usize),
) -> Result<(Decided, Vec<SignerInfo>), Failure> {
    check_property_by(&read_file, files, certificate, proof, trust, progress)
}

/// [`check_property_files`], by another reader of files; the trust file lies on the disk.
pub(crate) fn check_property_by(
    read: &FileReader<'_>,
    files: &PropertyFiles<'_>,
    certificate: &Path,
    proof: Option<&Path>,
    trust: Option<&Path>,
    progress: &mut dyn FnMut(usize),
) -> Result<(Decided, Vec<SignerInfo>), Failure> {
    let (verdict, signers, _) =
        open_envelope(read, certificate, trust, parse_verdict, |v| v.verifier.id.clone())?;
    let policies = files.policies.iter().map(|&[manifest, tensors]| {
        Ok((in_file(Path::new("policy.json"), parse_policy(manifest, tensors))?, manifest, tensors))
    });
    let policies = policies.collect::<Result<Vec<_>, Failure>>()?;
    let property = in_file(Path::new("property.json"), parse_property(files.property))?;
    let proof = match &verdict.claimed {
        Claimed::Sat { .. } => None,
        Claimed::Unsat { proof: named } => side_file(read, proof, Some(named), certificate, MAX_PROOF)?,
    };
    let networks = policies.iter().map(|(read, manifest, tensors)| PropertyNetwork {
        policy: &read.policy,
        names: read.names.as_ref(),
        files: policy_files(manifest, tensors),
    });
    let subject = PropertySubject {
        networks: networks.collect(),
        file: NamedFile { name: "property.json", bytes: files.property },
        property: &property,
        proof: proof.as_ref().map(with_name),
    };
    let decided = check_property(verdict, &subject, progress);
    Ok((decided.map_err(|e| Failure::Rejected(Box::new(e)))?, signers))
}
