//! The check: files and a signed certificate in, a [`Verified`] or a typed reason out. Trusted. `spec/certificate.md`.
//!
//! A claim is accepted iff the checker's own bound, recomputed here, is at least as good. There is no tolerance.

use core::fmt;

use crate::bracket::{BracketRejection, check_counterexample};
use crate::evaluate::{EvaluateError, Problem, evaluate};
use crate::family::Family;
use crate::kernel::fault::Fault;
use crate::kernel::head::HeadBounds;
use crate::kernel::nested::check_nested;
use crate::model::{Head, Mask, Network, Perturbation, Policy, SOURCE_ROLES, States};
use crate::number::{Rational, Rounding};
use crate::reader::certificate::{Certificate, Claim, FileDigest, SCHEMA_VERSION, StepVerdict};
use crate::reader::digest::{mask_digest, sha256_hex, weights_digest};
use crate::reader::escaped::Escaped;
use crate::region_claim::{RegionRejection, check_regions};
use crate::regret_claim::{RegretRejection, check_regret};
use crate::statistical_claim::{StatisticalRejection, check_statistical};
use crate::table::{FamilyTable, Quantity, TableError, TheoremViolated};

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

/// Why a well-formed certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// A file is not the one the certificate speaks of.
    WrongFile {
        /// Its role.
        role: String,
        /// Its name in the certificate.
        name: String,
        /// Digest in the certificate.
        stated: String,
        /// Digest of the file at hand.
        found: String,
    },
    /// The certificate speaks of a file that was not given, or the other way round.
    FileMissing {
        /// Its role.
        role: &'static str,
    },
    /// A file is listed that this version of the format does not know, or twice.
    UnexpectedFile {
        /// Its role.
        role: String,
        /// Its name.
        name: String,
    },
    /// A field of the model record is not what the files say.
    Model {
        /// Which field.
        field: &'static str,
        /// What the certificate says.
        stated: String,
        /// What the files say.
        found: String,
    },
    /// The masks do not fit the network or are not nested.
    Masks(Fault),
    /// A claim names no family of this version.
    UnknownFamily {
        /// Position of the claim.
        claim: usize,
        /// The name.
        family: String,
    },
    /// A claim names no quantity of this version.
    UnknownQuantity {
        /// Position of the claim.
        claim: usize,
        /// The name.
        quantity: String,
    },
    /// A claim asks for something that does not exist.
    NoSuchClaim {
        /// Position of the claim.
        claim: usize,
        /// Why.
        reason: TableError,
    },
    /// A claim has another number of values than there are states (or than one).
    ClaimLength {
        /// Position of the claim.
        claim: usize,
        /// Values stated.
        stated: usize,
        /// Values expected.
        expected: usize,
    },
    /// A claimed value is not a number.
    ClaimNumber {
        /// Position of the claim.
        claim: usize,
        /// Position of the value.
        value: usize,
    },
    /// A claim is better than what can be proved.
    ClaimTooTight {
        /// Position of the claim.
        claim: usize,
        /// Family.
        family: Family,
        /// Quantity.
        quantity: Quantity,
        /// Mask.
        mask: usize,
        /// Position of the value: the state, for values per state.
        value: usize,
        /// What is claimed, exactly.
        claimed: Rational,
        /// What is proved, exactly.
        proved: Rational,
    },
    /// The same claim twice.
    DuplicateClaim {
        /// Position of the second.
        claim: usize,
    },
    /// A regret claim is not accepted.
    Regret(Box<RegretRejection>),
    /// A statistical claim is not accepted.
    Statistical(Box<StatisticalRejection>),
    /// A claim from below or a bracket is not accepted.
    Bracket(Box<BracketRejection>),
    /// A claim about a region is not accepted.
    Region(Box<RegionRejection>),
    /// A step's verdict is missing, superfluous or not the one found.
    WrongVerdict {
        /// Position in the certificate's list.
        position: usize,
        /// What is stated there.
        stated: Option<Box<StepVerdict>>,
        /// What was found.
        found: Option<Box<StepVerdict>>,
    },
    /// A family that is monotone by theorem rose.
    Theorem(TheoremViolated),
    /// An assumption the claims rest on is not listed.
    AssumptionMissing {
        /// The assumption.
        assumption: &'static str,
    },
    /// A limit of the claims is not listed.
    LimitMissing {
        /// The limit.
        limit: &'static str,
    },
    /// The certificate names another checker.
    WrongChecker {
        /// The id stated.
        stated: String,
    },
    /// The certificate speaks of no state.
    NoStates,
    /// A family could not be evaluated.
    Evaluate(EvaluateError),
    /// The head's constants could not be computed.
    Head(Fault),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongFile { role, name, stated, found } => write!(
                f,
                "the {} file {} has SHA-256 {found}, the certificate speaks of {stated}",
                Escaped(role),
                Escaped(name)
            ),
            Self::FileMissing { role } => {
                write!(f, "the certificate and the files given differ in the {role} file")
            }
            Self::UnexpectedFile { role, name } => {
                write!(f, "the certificate lists the unexpected {} file {}", Escaped(role), Escaped(name))
            }
            Self::Model { field, stated, found } => {
                write!(
                    f,
                    "{field} is {} in the certificate and {} in the files",
                    Escaped(stated),
                    Escaped(found)
                )
            }
            Self::Masks(e) => e.fmt(f),
            Self::UnknownFamily { claim, family } => {
                write!(f, "claim {claim}: no family is called {}", Escaped(family))
            }
            Self::UnknownQuantity { claim, quantity } => {
                write!(f, "claim {claim}: no quantity is called {}", Escaped(quantity))
            }
            Self::NoSuchClaim { claim, reason } => write!(f, "claim {claim}: {reason}"),
            Self::ClaimLength { claim, stated, expected } => {
                write!(f, "claim {claim}: {stated} values where there must be {expected}")
            }
            Self::ClaimNumber { claim, value } => write!(f, "claim {claim}: value {value} is not a number"),
            Self::ClaimTooTight { claim, family, quantity, mask, value, claimed, proved } => write!(
                f,
                "claim {claim} ({}, {}, mask {mask}), value {value}: claims {claimed}, only {proved} is proved",
                family.name(),
                quantity.name()
            ),
            Self::DuplicateClaim { claim } => write!(f, "claim {claim} repeats an earlier one"),
            Self::Regret(e) => e.fmt(f),
            Self::Statistical(e) => e.fmt(f),
            Self::Bracket(e) => e.fmt(f),
            Self::Region(e) => e.fmt(f),
            Self::WrongVerdict { position, stated, found } => {
                write!(f, "verdict {position}: the certificate says ")?;
                verdict_words(f, stated.as_deref())?;
                f.write_str(", the check finds ")?;
                verdict_words(f, found.as_deref())
            }
            Self::Theorem(violated) => {
                write!(f, "{} rose at step {}, against its theorem", violated.family.name(), violated.step)
            }
            Self::AssumptionMissing { assumption } => {
                write!(f, "the assumption \"{assumption}\" is not listed")
            }
            Self::LimitMissing { limit } => write!(f, "the limit \"{limit}\" is not listed"),
            Self::WrongChecker { stated } => {
                write!(f, "the certificate was made for checker {}, this is {CHECKER_ID}", Escaped(stated))
            }
            Self::NoStates => f.write_str("the certificate speaks of no state"),
            Self::Evaluate(e) => e.fmt(f),
            Self::Head(e) => e.fmt(f),
        }
    }
}

fn verdict_words(f: &mut fmt::Formatter<'_>, verdict: Option<&StepVerdict>) -> fmt::Result {
    let Some(v) = verdict else { return f.write_str("nothing") };
    let (fell, stayed, rose) = v.counts;
    write!(f, "{} {} step {}: {}", Escaped(&v.family), Escaped(&v.of), v.step, Escaped(&v.verdict))?;
    write!(f, " ({fell} fell, {stayed} stayed, {rose} rose")?;
    if let (Some(before), Some(after)) = (&v.before, &v.after) {
        write!(f, ", {before} to {after}")?;
    }
    f.write_str(")")
}

/// A certificate whose every claim was proved again from the files. Only [`check`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    certificate: Certificate,
    tables: Vec<FamilyTable>,
}

impl Verified {
    /// What was verified.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The exact values behind the claims.
    pub fn tables(&self) -> &[FamilyTable] {
        &self.tables
    }
}

/// Assumptions that a certificate about this policy must list.
pub fn required_assumptions(policy: &Policy) -> Vec<&'static str> {
    let mut list = vec![ASSUME_REAL, ASSUME_HEAD];
    if policy.source.is_some() {
        list.push(ASSUME_SOURCE);
    }
    list
}

/// Assumptions that a certificate with claims of these families must list besides.
pub fn family_assumptions(families: &[Family]) -> Vec<&'static str> {
    if families.iter().any(|f| f.is_float32()) { vec![ASSUME_FLOAT32] } else { Vec::new() }
}

/// Whether a claim is a same-action margin, which speaks of the listed states whatever its family.
pub fn has_margins(claims: &[Claim]) -> bool {
    claims.iter().any(|claim| claim.quantity == Quantity::SameActionMargin.name())
}

/// Limits that a certificate with claims of these families, perhaps with `margins` among them, must list.
pub fn required_limits(families: &[Family], margins: bool) -> Vec<&'static str> {
    let mut list = vec![LIMIT_TRUTH];
    if margins || families.iter().any(|f| f.is_local()) {
        list.push(LIMIT_STATES);
    }
    if families.iter().any(|f| !f.is_monotone() && !f.is_float32()) {
        list.push(LIMIT_MONOTONE);
    }
    if families.iter().any(|f| f.band_end().is_some()) {
        list.push(LIMIT_BANDS);
    }
    if families.iter().any(|f| f.is_float32()) {
        list.push(LIMIT_FLOAT32);
    }
    list
}

/// The network is evaluated over the real numbers.
pub const ASSUME_REAL: &str =
    "real-arithmetic: the network is the function over the real numbers with exactly the stored weights";
/// Which executions the families of binary32 inference speak of.
pub const ASSUME_FLOAT32: &str = "float32: the families float32/ibp and float32/crown speak of IEEE 754 binary32 inference with the stored weights: products and sums are rounded to nearest, in any order, fused or not; subnormal numbers are kept or flushed to zero; the input is the exactly normalised observation, rounded once; tanh and sigmoid are within 2^-22 of the real functions; slopes and limits of activations are rounded once; the action distribution is exactly that of the outputs computed";
/// The head is taken at its word.
pub const ASSUME_HEAD: &str = "head: the outputs mean what the policy file says they mean";
/// The importer is not trusted.
pub const ASSUME_SOURCE: &str = "source: the policy files were derived from the source file by an importer that this check does not cover";
/// Bounds are upper bounds.
pub const LIMIT_TRUTH: &str =
    "bounds: a smaller bound does not mean a more robust policy, nor a larger one a less robust policy";
/// What speaks of listed states.
pub const LIMIT_STATES: &str =
    "states: the local families, and same-action margins of every family, speak of the listed states only";
/// A band has the same mask before and after the perturbation.
pub const LIMIT_BANDS: &str = "bands: a band bounds the change under each of its masks, the same mask before and after, not the distance between two masks";
/// What the families of binary32 inference do not say.
pub const LIMIT_FLOAT32: &str = "float32: float32/ibp and float32/crown bounds may rise when more weights are pruned and do not carry over to other masks; all other bounds speak of real arithmetic";
/// Families without a theorem.
pub const LIMIT_MONOTONE: &str = "pruning: ibp, crown, crown-optimised, lp, branch, spectral and pruned-deviation bounds may rise when more weights are pruned and do not carry over to other masks";

/// Recomputes everything `certificate` says about `subject`; `progress(done, total)` is called after every state.
///
/// # Errors
/// [`Rejection`], the first difference found: files, model, masks, claims, verdicts, assumptions, in this order.
pub fn check(
    certificate: Certificate,
    subject: &Subject<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Verified, Rejection> {
    if certificate.checker.id != CHECKER_ID || certificate.checker.version != SCHEMA_VERSION {
        let stated = format!("{} {}", certificate.checker.id, certificate.checker.version);
        return Err(Rejection::WrongChecker { stated });
    }
    check_files(&certificate, subject)?;
    let mut states = subject.states.clone();
    states.keep_first(certificate.states);
    check_model(&certificate, subject, &states)?;
    let families = claimed_families(&certificate)?;
    check_lists(&certificate, subject.policy, &families)?;
    let problem = Problem {
        policy: subject.policy,
        masks: subject.masks,
        states: &states,
        perturbation: &certificate.perturbation,
        witness: subject.witness.map(|w| w.bytes),
    };
    let tables = evaluate(&problem, &families, progress).map_err(Rejection::Evaluate)?;
    let head = HeadBounds::new(&subject.policy.head).map_err(Rejection::Head)?;
    check_claims(&certificate, &tables, &head)?;
    check_regret(&certificate, &tables, &head).map_err(|e| Rejection::Regret(Box::new(e)))?;
    let rows = subject.states.values.rows;
    check_statistical(&certificate, rows, &tables, &head).map_err(|e| Rejection::Statistical(Box::new(e)))?;
    check_regions(&certificate, subject.policy, subject.masks, problem.witness, &head, progress)
        .map_err(|e| Rejection::Region(Box::new(e)))?;
    check_verdicts(&certificate, &tables)?;
    check_counterexample(&certificate, &problem, &tables, &head, progress)
        .map_err(|e| Rejection::Bracket(Box::new(e)))?;
    Ok(Verified { certificate, tables })
}

fn check_file(stated: &FileDigest, file: &NamedFile<'_>) -> Result<(), Rejection> {
    let found = sha256_hex(file.bytes);
    if stated.sha256 == found {
        return Ok(());
    }
    let (role, name) = (stated.role.clone(), stated.name.clone());
    Err(Rejection::WrongFile { role, name, stated: stated.sha256.clone(), found })
}

fn check_files(certificate: &Certificate, subject: &Subject<'_>) -> Result<(), Rejection> {
    let [manifest, tensors] = &subject.policy_files;
    let [stated_manifest, stated_tensors] = certificate.subjects.as_slice() else {
        return Err(Rejection::FileMissing { role: "policy" });
    };
    check_file(stated_manifest, manifest)?;
    check_file(stated_tensors, tensors)?;
    let mut expected: Vec<(&'static str, NamedFile<'_>)> = Vec::new();
    for (position, file) in subject.mask_files.iter().enumerate() {
        expected.push((if position == 0 { "chain" } else { "mask" }, *file));
    }
    expected.push(("states", subject.states_file));
    let mut listed = certificate.inputs.iter().filter(|f| !is_source(f));
    for (role, file) in expected {
        let stated = listed.next().filter(|f| f.role == role).ok_or(Rejection::FileMissing { role })?;
        check_file(stated, &file)?;
    }
    if let Some(extra) = listed.next() {
        return Err(Rejection::UnexpectedFile { role: extra.role.clone(), name: extra.name.clone() });
    }
    check_source(certificate, subject.policy)?;
    match (&certificate.witness, &subject.witness) {
        (None, None) => Ok(()),
        (Some(stated), Some(file)) => {
            let sha256 = stated.sha256.clone();
            check_file(&FileDigest { role: "witness".to_owned(), name: stated.name.clone(), sha256 }, file)?;
            same("the witness's size", &stated.size.to_string(), &file.bytes.len().to_string())
        }
        _ => Err(Rejection::FileMissing { role: "witness" }),
    }
}

fn is_source(file: &FileDigest) -> bool {
    SOURCE_ROLES.contains(&file.role.as_str())
}

/// The source files' digests are copied from the policy's manifest; `check --source` outside this crate imports again.
fn check_source(certificate: &Certificate, policy: &Policy) -> Result<(), Rejection> {
    let mut listed = certificate.inputs.iter().filter(|f| is_source(f));
    for file in policy.source.iter().flat_map(|source| &source.files) {
        let same = |f: &&FileDigest| f.role == file.role && f.name == file.name && f.sha256 == file.sha256;
        listed.next().filter(same).ok_or(Rejection::FileMissing { role: file.role })?;
    }
    match listed.next() {
        Some(extra) => Err(Rejection::UnexpectedFile { role: extra.role.clone(), name: extra.name.clone() }),
        None => Ok(()),
    }
}

/// The head's word in certificates.
pub fn head_name(head: &Head) -> &'static str {
    match head {
        Head::Gaussian { .. } => "gaussian",
        Head::Categorical => "categorical",
        Head::Deterministic => "deterministic",
    }
}

fn same(field: &'static str, stated: &str, found: &str) -> Result<(), Rejection> {
    if stated == found {
        return Ok(());
    }
    Err(Rejection::Model { field, stated: stated.to_owned(), found: found.to_owned() })
}

/// Number of pruned weights and of all weights; fixed layers have none.
pub fn pruned_count(mask: &Mask, network: &Network) -> (usize, usize) {
    let layers = mask.layers.iter().zip(&network.layers).filter(|(_, layer)| !layer.fixed);
    let entries = layers.flat_map(|(kept, _)| kept);
    entries.fold((0, 0), |(pruned, total), kept| {
        (pruned.saturating_add(usize::from(!kept)), total.saturating_add(1))
    })
}

fn check_model(certificate: &Certificate, subject: &Subject<'_>, listed: &States) -> Result<(), Rejection> {
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
    check_nested(network, subject.masks).map_err(Rejection::Masks)?;
    let states = listed.values.rows;
    if states == 0 {
        return Err(Rejection::NoStates);
    }
    if let Perturbation::PerCoordinate { radii } = &certificate.perturbation.shape {
        same("the number of radii", &count(radii.len()), &count(network.inputs()))?;
    }
    same("the number of states", &count(certificate.states), &count(states))?;
    let word = |units| if units == crate::model::Units::Raw { "raw" } else { "normalised" };
    same("the states' units", word(certificate.state_units), word(listed.units))
}

/// The families that claims name, each once, in their order.
fn claimed_families(certificate: &Certificate) -> Result<Vec<Family>, Rejection> {
    let mut found = std::collections::BTreeSet::new();
    for (claim, record) in certificate.claims.iter().enumerate() {
        let unknown = || Rejection::UnknownFamily { claim, family: record.family.clone() };
        let family = Family::parse(&record.family).ok_or_else(unknown)?;
        if record.mask >= family.covers(certificate.masks.len()) {
            return Err(Rejection::NoSuchClaim { claim, reason: TableError::NoMask });
        }
        found.insert(family);
    }
    Ok(found.into_iter().collect())
}

fn check_lists(certificate: &Certificate, policy: &Policy, families: &[Family]) -> Result<(), Rejection> {
    for assumption in required_assumptions(policy).into_iter().chain(family_assumptions(families)) {
        if !certificate.assumptions.iter().any(|a| a == assumption) {
            return Err(Rejection::AssumptionMissing { assumption });
        }
    }
    for limit in required_limits(families, has_margins(&certificate.claims)) {
        if !certificate.limits.iter().any(|l| l == limit) {
            return Err(Rejection::LimitMissing { limit });
        }
    }
    Ok(())
}

fn check_claims(
    certificate: &Certificate,
    tables: &[FamilyTable],
    head: &HeadBounds,
) -> Result<(), Rejection> {
    let mut seen = std::collections::BTreeSet::new();
    for (claim, record) in certificate.claims.iter().enumerate() {
        let unknown = || Rejection::UnknownQuantity { claim, quantity: record.quantity.clone() };
        let quantity = Quantity::parse(&record.quantity).ok_or_else(unknown)?;
        let table = tables.iter().find(|t| t.family.name() == record.family);
        let table = table.ok_or_else(|| Rejection::UnknownFamily { claim, family: record.family.clone() })?;
        if !seen.insert((table.family, quantity, record.mask, record.output)) {
            return Err(Rejection::DuplicateClaim { claim });
        }
        let proved = table.values(head, quantity, record.mask, record.output);
        let proved = proved.map_err(|reason| Rejection::NoSuchClaim { claim, reason })?;
        if proved.len() != record.values.len() {
            let (stated, expected) = (record.values.len(), proved.len());
            return Err(Rejection::ClaimLength { claim, stated, expected });
        }
        for (value, (text, proved)) in record.values.iter().zip(proved).enumerate() {
            let claimed = Rational::parse(text).map_err(|_| Rejection::ClaimNumber { claim, value })?;
            let true_claim = match quantity.rounding() {
                Rounding::Up => claimed >= proved,
                Rounding::Down => claimed <= proved,
            };
            if !true_claim {
                let (family, mask) = (table.family, record.mask);
                return Err(Rejection::ClaimTooTight {
                    claim,
                    family,
                    quantity,
                    mask,
                    value,
                    claimed,
                    proved,
                });
            }
        }
    }
    Ok(())
}

fn check_verdicts(certificate: &Certificate, tables: &[FamilyTable]) -> Result<(), Rejection> {
    let mut found = Vec::new();
    for table in tables {
        found.extend(table.verdicts().map_err(Rejection::Theorem)?);
    }
    let length = found.len().max(certificate.verdicts.len());
    for position in 0..length {
        let (stated, found) = (certificate.verdicts.get(position), found.get(position));
        if stated != found {
            let boxed = |v: Option<&StepVerdict>| v.cloned().map(Box::new);
            return Err(Rejection::WrongVerdict { position, stated: boxed(stated), found: boxed(found) });
        }
    }
    Ok(())
}
