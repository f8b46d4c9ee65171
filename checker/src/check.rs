//! The check: files and a signed certificate in, a [`Verified`] or a typed reason out. Trusted. `spec/certificate.md`.
//!
//! A claim is accepted iff the checker's own bound, recomputed here, is at least as good. There is no tolerance.

use crate::claim::bound::claimed_families;
use crate::claim::point::{bracket_words, brackets};
use crate::claim::statistical::check_draw;
use crate::claim::{Proofs, Sentences, check_numbers, check_sentences, check_verdicts};
use crate::evaluate::{Evaluated, Problem, evaluate};
use crate::kernel::head::HeadBounds;
use crate::kernel::nested::check_nested;
use crate::model::{Head, Mask, Network, Perturbation, Policy, SOURCE_ROLES, SensorSet, States};
use crate::reader::certificate::{
    Certificate, ClaimLists, FileDigest, Program, SCHEMA_VERSION, StepVerdict, WitnessRecord, units_word,
};
use crate::reader::digest::{mask_digest, policy_digest, sha256_hex, weights_digest};
use crate::reader::escaped::Escaped;
use crate::reader::names::Names;
use crate::rejection::{Reason, Rejection};
use crate::sentences::policy_assumptions;
use crate::table::FamilyTable;

/// Id this checker writes and demands in `checker.id`.
pub const CHECKER_ID: &str = "secateur-checker";

/// A file as the caller read it: its plain name and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct NamedFile<'a> {
    /// Plain file name.
    pub name: &'a str,
    /// Contents.
    pub bytes: &'a [u8],
}

/// The problem a certificate is about, parsed by `reader`, with the digests of the files it came from.
pub struct Subject<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What its inputs and outputs are called.
    pub names: Option<&'a Names>,
    /// `policy.json` and `policy.safetensors`.
    pub policy_files: [NamedFile<'a>; 2],
    /// Masks, loosest first, each with its file; a single all-kept mask without a file stands for "no masks".
    pub masks: &'a [Mask],
    /// `chain.json`, then one file per mask; empty without masks.
    pub mask_files: &'a [NamedFile<'a>],
    /// All states of the file; a certificate may speak of its first rows.
    pub states: &'a States,
    /// The file they came from.
    pub states_file: NamedFile<'a>,
    /// The witness side file, if there is one.
    pub witness: Option<NamedFile<'a>>,
}

/// A certificate whose every claim was proved again from the files. Only [`check_evaluated`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    certificate: Certificate,
    tables: Vec<FamilyTable>,
    facts: Facts,
}

/// What the files say that a certificate does not, and the sentences that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Digest of all that defines the policy.
    pub policy_digest: String,
    /// What its inputs and outputs are called: the words of whoever made the policy's files.
    pub names: Option<Names>,
    /// Its head's word.
    pub head: &'static str,
    /// Inputs of the policy.
    pub inputs: usize,
    /// Outputs of the policy.
    pub outputs: usize,
    /// Whether the policy has a normaliser.
    pub normaliser: bool,
    /// Rows of the states file.
    pub rows: usize,
    /// The assumptions that the claims rest on, each once.
    pub assumptions: Vec<String>,
    /// What the claims do not say, each once.
    pub limits: Vec<String>,
}

/// Most sentences that a certificate may list beside those that its claims need.
pub const MAX_EXTRA_SENTENCES: usize = 1000;

impl Verified {
    /// What was verified.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What the files say.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The exact values behind the claims.
    pub fn tables(&self) -> &[FamilyTable] {
        &self.tables
    }
}

/// Recomputes everything `certificate` says about `subject`; `progress(done, total)` is told of the states.
///
/// # Errors
/// [`Rejection`], the first difference found: files, model, sentences, claims, verdicts, brackets, in this order.
pub fn check(
    certificate: Certificate,
    subject: &Subject<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verified, Rejection> {
    check_evaluated(certificate, subject, None, progress)
}

/// [`check`] by whoever has just evaluated the families: their values are taken as they are iff they are of this very policy,
/// these masks, states, perturbation, witness and families. Everything else is read and recomputed.
///
/// # Errors
/// Those of [`check`].
pub fn check_evaluated(
    certificate: Certificate,
    subject: &Subject<'_>,
    known: Option<Evaluated<'_>>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verified, Rejection> {
    check_checker(&certificate.checker)?;
    check_files(&certificate, subject)?;
    let mut states = subject.states.clone();
    states.keep_first(certificate.states);
    check_model(&certificate, subject, &states)?;
    let ClaimLists { claims, regret, statistical, regions, counterexample, radius } = certificate.lists();
    let families = claimed_families(claims, certificate.masks.len())?;
    let rows = subject.states.values.rows;
    let facts = check_listed(&certificate, subject, rows)?;
    let problem = Problem {
        policy: subject.policy,
        masks: subject.masks,
        states: &states,
        perturbation: &certificate.perturbation,
        witness: subject.witness.map(|w| w.bytes),
    };
    let tables = match known.and_then(|known| known.of(&problem, &families)) {
        Some(tables) => tables,
        None => evaluate(&problem, &families, progress)?,
    };
    let head = HeadBounds::new(&subject.policy.head)?;
    let mut proofs = Proofs::new(&problem, rows, &head, &tables, progress);
    check_numbers(claims, &mut proofs)?;
    check_numbers(regret, &mut proofs)?;
    check_numbers(statistical, &mut proofs)?;
    check_numbers(regions, &mut proofs)?;
    check_numbers(radius, &mut proofs)?;
    let mut verdicts = Vec::new();
    for table in &tables {
        verdicts.extend(table.verdicts()?);
    }
    check_verdicts("verdict", &certificate.verdicts, &verdicts, verdict_words)?;
    check_numbers(counterexample, &mut proofs)?;
    // Without claims from below there is nothing to compare, and no bracket.
    let shown = if counterexample.is_empty() {
        Vec::new()
    } else {
        brackets(&tables, proofs.points()?, &head, problem.masks.len())?
    };
    check_verdicts("bracket", &certificate.brackets, &shown, bracket_words)?;
    Ok(Verified { certificate, tables, facts })
}

/// Accepts iff the certificate was made for this checker and this version of the format.
///
/// # Errors
/// [`Reason::WrongChecker`].
pub(crate) fn check_checker(stated: &Program) -> Result<(), Reason> {
    if stated.id == CHECKER_ID && stated.version == SCHEMA_VERSION {
        return Ok(());
    }
    let stated = format!("{} {}", stated.id, stated.version).as_str().into();
    Err(Reason::WrongChecker { stated, own: CHECKER_ID })
}

/// Accepts iff every sentence that the policy and the claims need is listed, with few others, and no claim repeats another.
fn check_listed(certificate: &Certificate, subject: &Subject<'_>, rows: usize) -> Result<Facts, Rejection> {
    let (policy, names) = (subject.policy, subject.names.cloned());
    let mut needed = Sentences::new(certificate);
    for assumption in policy_assumptions(policy) {
        needed.assume(assumption.into())?;
    }
    let ClaimLists { claims, regret, statistical, regions, counterexample, radius } = certificate.lists();
    check_sentences(claims, certificate, &mut needed)?;
    check_sentences(regret, certificate, &mut needed)?;
    check_draw(certificate, rows)?;
    check_sentences(statistical, certificate, &mut needed)?;
    check_sentences(regions, certificate, &mut needed)?;
    check_sentences(counterexample, certificate, &mut needed)?;
    check_sentences(radius, certificate, &mut needed)?;
    let (assumptions, limits) = needed.needed();
    let listed = certificate.assumptions.len().saturating_add(certificate.limits.len());
    let extra = listed.saturating_sub(assumptions.len()).saturating_sub(limits.len());
    if extra > MAX_EXTRA_SENTENCES {
        return Err(Reason::TooManySentences { extra, most: MAX_EXTRA_SENTENCES }.into());
    }
    let (head, normaliser) = (head_name(&policy.head), policy.normaliser.is_some());
    let (inputs, outputs) = (policy.network.inputs(), policy.network.outputs());
    let policy_digest = policy_digest(policy, subject.names);
    Ok(Facts { policy_digest, names, head, inputs, outputs, normaliser, rows, assumptions, limits })
}

fn verdict_words(v: &StepVerdict) -> String {
    let (fell, stayed, rose) = v.counts;
    let (family, of, verdict) = (Escaped(&v.family), Escaped(&v.of), Escaped(&v.verdict));
    let moved = v.before.as_ref().zip(v.after.as_ref());
    let moved = moved.map_or_else(String::new, |(before, after)| format!(", {before} to {after}"));
    format!("{family} {of} step {}: {verdict} ({fell} fell, {stayed} stayed, {rose} rose{moved})", v.step)
}

/// Accepts iff the file has the digest stated.
///
/// # Errors
/// [`Reason::WrongFile`].
pub(crate) fn check_file(stated: &FileDigest, file: &NamedFile<'_>) -> Result<(), Reason> {
    let found = sha256_hex(file.bytes);
    if stated.sha256 == found {
        return Ok(());
    }
    let (role, name) = (stated.role.as_str().into(), stated.name.as_str().into());
    // Read as hexadecimal digits.
    Err(Reason::WrongFile { role, name, stated: stated.sha256.clone(), found })
}

fn check_files(certificate: &Certificate, subject: &Subject<'_>) -> Result<(), Reason> {
    let [manifest, tensors] = &subject.policy_files;
    let [stated_manifest, stated_tensors] = certificate.subjects.as_slice() else {
        return Err(Reason::FileMissing { role: "policy" });
    };
    check_file(stated_manifest, manifest)?;
    check_file(stated_tensors, tensors)?;
    match (certificate.inputs.iter().any(|f| f.role == "chain"), subject.mask_files.is_empty()) {
        (true, true) => return Err(Reason::MasksMissing { masks: certificate.masks.len() }),
        (false, false) => return Err(Reason::MasksUnexpected),
        (true, false) | (false, true) => {}
    }
    let mut expected: Vec<(&'static str, NamedFile<'_>)> = Vec::new();
    for (position, file) in subject.mask_files.iter().enumerate() {
        expected.push((if position == 0 { "chain" } else { "mask" }, *file));
    }
    expected.push(("states", subject.states_file));
    let mut listed = certificate.inputs.iter().filter(|f| !is_source(f));
    for (role, file) in expected {
        let stated = listed.next().filter(|f| f.role == role).ok_or(Reason::FileMissing { role })?;
        check_file(stated, &file)?;
    }
    if let Some(extra) = listed.next() {
        return Err(unexpected(extra));
    }
    check_source(certificate, subject.policy)?;
    match (&certificate.witness, &subject.witness) {
        (None, None) => Ok(()),
        (Some(stated), Some(file)) => check_record("witness", stated, file),
        (Some(_), None) | (None, Some(_)) => Err(Reason::FileMissing { role: "witness" }),
    }
}

/// Accepts iff the side file has the digest and the size stated.
///
/// # Errors
/// [`Reason::WrongFile`], [`Reason::Model`].
pub(crate) fn check_record(role: &str, stated: &WitnessRecord, file: &NamedFile<'_>) -> Result<(), Reason> {
    let (role, name, sha256) = (role.to_owned(), stated.name.clone(), stated.sha256.clone());
    check_file(&FileDigest { role, name, sha256 }, file)?;
    same("the side file's size", &stated.size.to_string(), &file.bytes.len().to_string())
}

fn unexpected(file: &FileDigest) -> Reason {
    Reason::UnexpectedFile { role: file.role.as_str().into(), name: file.name.as_str().into() }
}

fn is_source(file: &FileDigest) -> bool {
    SOURCE_ROLES.contains(&file.role.as_str())
}

/// The source files' digests are copied from the policy's manifest; `check --source` outside this crate imports again.
fn check_source(certificate: &Certificate, policy: &Policy) -> Result<(), Reason> {
    let mut listed = certificate.inputs.iter().filter(|f| is_source(f));
    for file in policy.source.iter().flat_map(|source| &source.files) {
        let same = |f: &&FileDigest| f.role == file.role && f.name == file.name && f.sha256 == file.sha256;
        listed.next().filter(same).ok_or(Reason::FileMissing { role: file.role })?;
    }
    listed.next().map_or(Ok(()), |extra| Err(unexpected(extra)))
}

/// The head's word in certificates.
pub fn head_name(head: &Head) -> &'static str {
    match head {
        Head::Gaussian { .. } => "gaussian",
        Head::Categorical => "categorical",
        Head::Deterministic => "deterministic",
    }
}

/// Accepts iff the files say what the certificate says of them.
///
/// # Errors
/// [`Reason::Model`].
pub(crate) fn same(field: &'static str, stated: &str, found: &str) -> Result<(), Reason> {
    if stated == found {
        return Ok(());
    }
    Err(Reason::Model { field, stated: stated.into(), found: found.into() })
}

/// Number of pruned weights and of all weights; fixed layers have none.
pub fn pruned_count(mask: &Mask, network: &Network) -> (usize, usize) {
    let layers = mask.layers.iter().zip(&network.layers).filter(|(_, layer)| !layer.fixed);
    let entries = layers.flat_map(|(kept, _)| kept);
    entries.fold((0, 0), |(pruned, total), kept| {
        (pruned.saturating_add(usize::from(!kept)), total.saturating_add(1))
    })
}

fn check_model(certificate: &Certificate, subject: &Subject<'_>, listed: &States) -> Result<(), Reason> {
    let network = &subject.policy.network;
    same("the weights digest", &certificate.weights_digest, &weights_digest(network))?;
    same("the head", &certificate.head, head_name(&subject.policy.head))?;
    let count = |n: usize| n.to_string();
    same("the number of masks", &count(certificate.masks.len()), &count(subject.masks.len()))?;
    for (record, mask) in certificate.masks.iter().zip(subject.masks) {
        same("a mask digest", &record.digest, &mask_digest(mask, network))?;
        let (pruned, total) = pruned_count(mask, network);
        same("a mask's pruned weights", &count(record.pruned), &count(pruned))?;
        same("a mask's weights", &count(record.total), &count(total))?;
    }
    check_nested(network, subject.masks)?;
    let states = listed.values.rows;
    if states == 0 {
        return Err(Reason::NoStates);
    }
    if let Perturbation::PerCoordinate { radii } | Perturbation::Sensor(SensorSet { radii, .. }) =
        &certificate.perturbation.shape
    {
        same("the number of radii", &count(radii.len()), &count(network.inputs()))?;
    }
    same("the number of states", &count(certificate.states), &count(states))?;
    same("the states' units", units_word(certificate.state_units), units_word(listed.units))
}
