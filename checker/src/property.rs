//! The check of a property certificate: a network, a property and a proof or a point in, a [`Decided`] or a typed reason
//! out. Trusted. `spec/property.md`.

use core::fmt;

use crate::check::{ASSUME_REAL, CHECKER_ID, NamedFile};
use crate::kernel::fault::{Class, Fault};
use crate::kernel::grid::{GridNetwork, GridScale};
use crate::kernel::input::read_observation;
use crate::kernel::split::{Case, check_inside, check_sat, check_shape, check_tree};
use crate::model::Policy;
use crate::number::Rational;
use crate::reader::certificate::{FileDigest, SCHEMA_VERSION};
use crate::reader::digest::{sha256_hex, weights_digest};
use crate::reader::escaped::Escaped;
use crate::reader::property::{Property, PropertyError, parse_proof};
use crate::reader::verdict::{Claimed, PropertyCertificate};
use crate::tables::tanh_table;

/// What a property certificate is about.
pub struct PropertySubject<'a> {
    /// The network (its head does not matter) and its normaliser.
    pub policy: &'a Policy,
    /// `policy.json`, `policy.safetensors`, `property.json`.
    pub files: [NamedFile<'a>; 3],
    /// The property in the last of them.
    pub property: &'a Property,
    /// The proof file, if there is one.
    pub proof: Option<NamedFile<'a>>,
}

/// Why a property certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyRejection {
    /// A file is not the one the certificate speaks of.
    WrongFile {
        /// Its name in the certificate.
        name: String,
        /// Digest in the certificate.
        stated: String,
        /// Digest of the file at hand.
        found: String,
    },
    /// The certificate lists other files, or needs a proof file that was not given.
    Files,
    /// The proof file has another length than the certificate says.
    ProofSize {
        /// Length in the certificate.
        stated: usize,
        /// Length of the file at hand.
        found: usize,
    },
    /// The weights have another digest.
    WrongWeights {
        /// Digest in the certificate.
        stated: String,
        /// Digest of the weights at hand.
        found: String,
    },
    /// The certificate names another checker.
    WrongChecker,
    /// The assumption of real arithmetic is not listed.
    AssumptionMissing,
    /// The network, or its normaliser, does not fit the integer grid.
    Grid(Fault),
    /// The proof file is malformed.
    Proof(PropertyError),
    /// The proof has another number of trees than the property has cases.
    CaseCount {
        /// Trees.
        trees: usize,
        /// Cases.
        cases: usize,
    },
    /// A tree or a point proves nothing.
    Case {
        /// Case, from 0.
        case: usize,
        /// Why.
        reason: Fault,
    },
    /// The point is about a case that does not exist.
    NoSuchCase,
}

impl fmt::Display for PropertyRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongFile { name, stated, found } => {
                write!(
                    f,
                    "{} has SHA-256 {found}, the certificate speaks of {}",
                    Escaped(name),
                    Escaped(stated)
                )
            }
            Self::Files => f.write_str("the certificate is about other files, or its proof file is missing"),
            Self::ProofSize { stated, found } => {
                write!(f, "the proof file has {found} bytes, the certificate says {stated}")
            }
            Self::WrongWeights { stated, found } => {
                write!(f, "the weights are {found}, the certificate speaks of {}", Escaped(stated))
            }
            Self::WrongChecker => write!(f, "the certificate was not made for {CHECKER_ID} {SCHEMA_VERSION}"),
            Self::AssumptionMissing => f.write_str("the assumption of real arithmetic is not listed"),
            Self::Grid(e) => e.fmt(f),
            Self::Proof(e) => write!(f, "proof file: {e}"),
            Self::CaseCount { trees, cases } => write!(f, "the proof has {trees} trees for {cases} cases"),
            Self::Case { case, reason } => write!(f, "case {case}: {reason}"),
            Self::NoSuchCase => f.write_str("the counterexample names a case that does not exist"),
        }
    }
}

impl PropertyRejection {
    /// Whether a limit of the checker was reached, rather than evidence found not to hold.
    pub fn is_limit(&self) -> bool {
        match self {
            Self::Grid(_) => true,
            Self::Proof(PropertyError::Field(e)) => e.is_limit(),
            Self::Case { reason, .. } => reason.class() == Class::Limit,
            _ => false,
        }
    }
}

/// A property certificate that was checked. Only [`check_property`] makes one.
#[derive(Clone, Debug)]
pub struct Decided {
    certificate: PropertyCertificate,
}

impl Decided {
    /// What was verified.
    pub fn certificate(&self) -> &PropertyCertificate {
        &self.certificate
    }

    /// `sat` or `unsat`.
    pub fn word(&self) -> &'static str {
        match self.certificate.claimed {
            Claimed::Unsat { .. } => "unsat",
            Claimed::Sat { .. } => "sat",
        }
    }
}

/// Checks every claim of a property certificate; `progress` is called with the number of nodes done.
///
/// # Errors
/// [`PropertyRejection`].
pub fn check_property(
    certificate: PropertyCertificate,
    subject: &PropertySubject<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Decided, PropertyRejection> {
    if certificate.checker.id != CHECKER_ID || certificate.checker.version != SCHEMA_VERSION {
        return Err(PropertyRejection::WrongChecker);
    }
    if !certificate.assumptions.iter().any(|a| a == ASSUME_REAL) {
        return Err(PropertyRejection::AssumptionMissing);
    }
    check_files(&certificate, subject)?;
    let network = &subject.policy.network;
    let found = weights_digest(network);
    if found != certificate.weights_digest {
        return Err(PropertyRejection::WrongWeights { stated: certificate.weights_digest, found });
    }
    let read = read_property(subject.policy, subject.property)?;
    let grid = prepare(subject.policy, &read).map_err(PropertyRejection::Grid)?;
    let table = tanh_table();
    let cases = &read.cases;
    match &certificate.claimed {
        Claimed::Sat { case, point } => {
            let at = |reason| PropertyRejection::Case { case: *case, reason };
            // A clip reads observations outside the box as some inside it.
            let stated = subject.property.cases.get(*case).ok_or(PropertyRejection::NoSuchCase)?;
            check_inside(stated, point).map_err(at)?;
            let point = read_observation(subject.policy.normaliser.as_ref(), point)
                .map_err(PropertyRejection::Grid)?;
            let seen = cases.get(*case).ok_or(PropertyRejection::NoSuchCase)?;
            check_sat(&grid, table, seen, &point).map_err(at)?;
        }
        Claimed::Unsat { .. } => {
            let proof = subject.proof.ok_or(PropertyRejection::Files)?;
            let proof = parse_proof(proof.bytes).map_err(PropertyRejection::Proof)?;
            let trees = proof.trees().map_err(PropertyRejection::Proof)?;
            if trees.len() != cases.len() {
                return Err(PropertyRejection::CaseCount { trees: trees.len(), cases: cases.len() });
            }
            for (case, (stated, tree)) in cases.iter().zip(&trees).enumerate() {
                check_shape(tree.children.iter().copied())
                    .and_then(|()| check_tree(&grid, table, stated, &mut |node| tree.node(node), progress))
                    .map_err(|reason| PropertyRejection::Case { case, reason })?;
            }
        }
    }
    Ok(Decided { certificate })
}

/// The property in what the network reads (rule `input.observation`): boxes behind the normaliser, outputs as they are.
///
/// # Errors
/// [`PropertyRejection::Grid`], [`PropertyRejection::Case`] for a box that does not fit the network or whose ends are turned
/// round (a clip may read them as the same).
pub fn read_property(policy: &Policy, property: &Property) -> Result<Property, PropertyRejection> {
    let inputs = policy.network.inputs();
    let read = |side: &[Rational]| {
        read_observation(policy.normaliser.as_ref(), side).map_err(PropertyRejection::Grid)
    };
    let cases = property.cases.iter().enumerate().map(|(case, stated)| {
        let Case { lower, upper, constraints } = stated;
        let fits = lower.len() == inputs && upper.len() == inputs;
        if !fits || !lower.iter().zip(upper).all(|(lower, upper)| lower <= upper) {
            return Err(PropertyRejection::Case { case, reason: Fault::CaseShape });
        }
        Ok(Case { lower: read(lower)?, upper: read(upper)?, constraints: constraints.clone() })
    });
    Ok(Property { cases: cases.collect::<Result<_, _>>()? })
}

/// The network on the grids that the boxes of a property, as [`read_property`] gives them, fix.
///
/// # Errors
/// [`Fault`].
pub fn prepare(policy: &Policy, property: &Property) -> Result<GridNetwork, Fault> {
    let ends = property.cases.iter().flat_map(|c| c.lower.iter().chain(&c.upper));
    let largest = ends.map(Rational::abs).max().unwrap_or_else(Rational::zero);
    GridNetwork::new(&policy.network, None, &GridScale::new(&policy.network, &largest)?)
}

fn check_files(
    certificate: &PropertyCertificate,
    subject: &PropertySubject<'_>,
) -> Result<(), PropertyRejection> {
    if certificate.subjects.len() != subject.files.len() {
        return Err(PropertyRejection::Files);
    }
    for (stated, file) in certificate.subjects.iter().zip(&subject.files) {
        check_file(stated, file)?;
    }
    match (&certificate.claimed, &subject.proof) {
        (Claimed::Unsat { proof }, Some(file)) => {
            let (name, sha256) = (proof.name.clone(), proof.sha256.clone());
            check_file(&FileDigest { role: "proof".to_owned(), name, sha256 }, file)?;
            let (stated, found) = (proof.size, file.bytes.len());
            if stated == found { Ok(()) } else { Err(PropertyRejection::ProofSize { stated, found }) }
        }
        (Claimed::Sat { .. }, None) => Ok(()),
        _ => Err(PropertyRejection::Files),
    }
}

fn check_file(stated: &FileDigest, file: &NamedFile<'_>) -> Result<(), PropertyRejection> {
    let found = sha256_hex(file.bytes);
    if stated.sha256 == found {
        return Ok(());
    }
    Err(PropertyRejection::WrongFile { name: stated.name.clone(), stated: stated.sha256.clone(), found })
}
