//! The check of a property certificate: a network, a property and a proof or a point in, a [`Decided`] or a typed reason
//! out. Trusted. `spec/property.md`.

use std::num::NonZero;

use crate::check::{MAX_EXTRA_SENTENCES, NamedFile, check_checker, check_file, check_record, same};
use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::grid::{GridNetwork, GridScale};
use crate::kernel::input::read_observation;
use crate::kernel::split::{Case, check_inside, check_sat, check_shape, check_tree};
use crate::model::Policy;
use crate::number::Rational;
use crate::reader::digest::{policy_digest, weights_digest};
use crate::reader::names::Names;
use crate::reader::property::{Property, parse_proof};
use crate::reader::verdict::{Claimed, PropertyCertificate};
use crate::rejection::{Reason, Rejection};
use crate::sentences::ASSUME_REAL;
use crate::tables::tanh_table;

/// Most threads that check a proof.
const MAX_THREADS: usize = 8;
/// Bytes of a proof that one thread checks before a second has begun.
const SMALL_PROOF: usize = 4096;

/// What a property certificate is about.
pub struct PropertySubject<'a> {
    /// The network (its head does not matter) and its normaliser.
    pub policy: &'a Policy,
    /// What its inputs and outputs are called.
    pub names: Option<&'a Names>,
    /// `policy.json`, `policy.safetensors`, `property.json`.
    pub files: [NamedFile<'a>; 3],
    /// The property in the last of them.
    pub property: &'a Property,
    /// The proof file, if there is one.
    pub proof: Option<NamedFile<'a>>,
}

/// A property certificate that was checked. Only [`check_property`] makes one.
#[derive(Clone, Debug)]
pub struct Decided {
    certificate: PropertyCertificate,
    policy_digest: String,
    cases: usize,
}

impl Decided {
    /// What was verified.
    pub fn certificate(&self) -> &PropertyCertificate {
        &self.certificate
    }

    /// Digest of all that defines the policy.
    pub fn policy_digest(&self) -> &str {
        &self.policy_digest
    }

    /// Number of the property's cases.
    pub fn cases(&self) -> usize {
        self.cases
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
/// [`Rejection`].
pub fn check_property(
    certificate: PropertyCertificate,
    subject: &PropertySubject<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Decided, Rejection> {
    check_checker(&certificate.checker)?;
    if !certificate.assumptions.iter().any(|a| a == ASSUME_REAL) {
        return Err(Reason::AssumptionMissing { assumption: ASSUME_REAL.to_owned() }.into());
    }
    let extra = certificate.assumptions.len().saturating_sub(1);
    if extra > MAX_EXTRA_SENTENCES {
        return Err(Reason::TooManySentences { extra, most: MAX_EXTRA_SENTENCES }.into());
    }
    check_files(&certificate, subject)?;
    same("the weights digest", &certificate.weights_digest, &weights_digest(&subject.policy.network))?;
    let read = read_property(subject.policy, subject.property)?;
    let grid = prepare(subject.policy, &read)?;
    let table = tanh_table()?;
    match &certificate.claimed {
        Claimed::Sat { case, point } => {
            let at = |fault: Fault| fault.at(Place::Case(*case));
            // A clip reads observations outside the box as some inside it.
            let stated = subject.property.cases.get(*case).ok_or(Reason::NoSuchCase)?;
            check_inside(stated, point).map_err(at)?;
            let point = read_observation(subject.policy.normaliser.as_ref(), point)?;
            let seen = read.cases.get(*case).ok_or(Reason::NoSuchCase)?;
            check_sat(&grid, table, seen, &point).map_err(at)?;
        }
        Claimed::Unsat { .. } => {
            let proof = subject.proof.ok_or(Reason::ProofMissing)?;
            check_proof(proof.bytes, &grid, table, &read.cases, progress)?;
        }
    }
    let cases = subject.property.cases.len();
    Ok(Decided { certificate, policy_digest: policy_digest(subject.policy, subject.names), cases })
}

/// Accepts iff every tree of a proof proves its case. On up to [`MAX_THREADS`] threads, of which each walks all trees and checks
/// its share of the leaves; what is said is what one thread would meet first.
fn check_proof(
    bytes: &[u8],
    grid: &GridNetwork,
    table: &TanhTable,
    cases: &[Case],
    progress: &mut dyn FnMut(usize),
) -> Result<(), Rejection> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let threads = if bytes.len() < SMALL_PROOF { 1 } else { threads };
    let check = |own, progress: &mut dyn FnMut(usize)| {
        check_share(bytes, (grid, table), cases, (own, threads), progress)
    };
    let mut shares: Vec<Option<Result<(), Refused>>> = (0..threads).map(|_| None).collect();
    std::thread::scope(|scope| {
        let mut others = shares.iter_mut().enumerate();
        let first = others.next();
        for (own, share) in others {
            // The share of a thread that cannot be had is checked below.
            let task = move || *share = Some(check(own, &mut |_| {}));
            std::thread::Builder::new().spawn_scoped(scope, task).ok();
        }
        if let Some((own, share)) = first {
            *share = Some(check(own, progress));
        }
    });
    let shares = shares.into_iter().enumerate();
    let shares = shares.map(|(own, share)| share.unwrap_or_else(|| check(own, &mut |_| {})));
    shares.filter_map(Result::err).min_by_key(|(at, _)| *at).map_or(Ok(()), |(_, rejection)| Err(rejection))
}

/// What is refused, behind the case and the place in its walk.
type Refused = ((usize, usize), Rejection);

/// The leaves that are the `own`-th of every `threads`.
fn check_share(
    bytes: &[u8],
    (grid, table): (&GridNetwork, &TanhTable),
    cases: &[Case],
    (own, threads): (usize, usize),
    progress: &mut dyn FnMut(usize),
) -> Result<(), Refused> {
    let first = |reason: Reason| ((0, 0), Rejection::from(reason));
    let proof = parse_proof(bytes).map_err(|clause| first(clause.into()))?;
    let trees = proof.trees().map_err(|clause| first(clause.into()))?;
    if trees.len() != cases.len() {
        return Err(first(Reason::ProofCases { trees: trees.len(), cases: cases.len() }));
    }
    for (case, (stated, tree)) in cases.iter().zip(&trees).enumerate() {
        // A leaf comes before the cuts behind it, which every thread sees.
        let (mut leaves, mut at) = (0usize, 0usize);
        let mut mine = || {
            let mine = leaves.checked_rem(threads) == Some(own);
            leaves = leaves.saturating_add(1);
            at = leaves.saturating_mul(2).saturating_sub(mine.into());
            mine
        };
        let mut node = |index| tree.node(index);
        check_shape(tree.children.iter().copied())
            .and_then(|()| check_tree(grid, table, stated, &mut node, &mut mine, progress))
            .map_err(|fault| ((case, at), fault.at(Place::Case(case)).into()))?;
    }
    Ok(())
}

/// The property in what the network reads (rule `input.observation`): boxes behind the normaliser, outputs as they are.
///
/// # Errors
/// [`Fault`]: also for a box that does not fit the network or whose ends are turned round (a clip may read them as the
/// same).
pub fn read_property(policy: &Policy, property: &Property) -> Result<Property, Fault> {
    let inputs = policy.network.inputs();
    let read = |side: &[Rational]| read_observation(policy.normaliser.as_ref(), side);
    let cases = property.cases.iter().enumerate().map(|(case, stated)| {
        let Case { lower, upper, constraints } = stated;
        let fits = lower.len() == inputs && upper.len() == inputs;
        if !fits || !lower.iter().zip(upper).all(|(lower, upper)| lower <= upper) {
            return Err(Fault::CaseShape.at(Place::Case(case)));
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

fn check_files(certificate: &PropertyCertificate, subject: &PropertySubject<'_>) -> Result<(), Reason> {
    if certificate.subjects.len() != subject.files.len() {
        return Err(Reason::ProofMissing);
    }
    for (stated, file) in certificate.subjects.iter().zip(&subject.files) {
        check_file(stated, file)?;
    }
    match (&certificate.claimed, &subject.proof) {
        (Claimed::Unsat { proof }, Some(file)) => check_record("proof", proof, file),
        (Claimed::Sat { .. }, None) => Ok(()),
        (Claimed::Unsat { .. }, None) | (Claimed::Sat { .. }, Some(_)) => Err(Reason::ProofMissing),
    }
}
