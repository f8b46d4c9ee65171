//! The check of a property certificate: a network, a property and a proof or a point in, a [`Decided`] or a typed reason
//! out. Trusted. `spec/property.md`.

use std::borrow::Cow;
use std::io;
use std::thread::{self, ScopedJoinHandle};

use crate::check::{MAX_EXTRA_SENTENCES, NamedFile, check_checker, check_file, check_record, same};
use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::grid::{GridNetwork, GridScale};
use crate::kernel::input::read_observation;
use crate::kernel::split::{Case, Kept, check_inside, check_sat, check_shape, check_tree};
use crate::kernel::stack::{Reading, stack};
use crate::model::Policy;
use crate::number::Rational;
use crate::pair::PairQuestion;
use crate::reader::digest::{policy_digest, weights_digest};
use crate::reader::names::Names;
use crate::reader::property::{Proof, ProofTree, Property, parse_proof};
use crate::reader::verdict::{Claimed, PropertyCertificate};
use crate::rejection::{Reason, Rejection};
use crate::sentences::ASSUME_REAL;
use crate::tables::tanh_table;
use crate::threads::threads;

/// Bytes of a proof that one thread checks before a second has begun.
const SMALL_PROOF: usize = 4096;
/// Most threads that check a proof, each of which walks the whole of it.
const MAX_THREADS: usize = 8;

/// A network that a property certificate is about.
#[derive(Clone, Copy)]
pub struct PropertyNetwork<'a> {
    /// The network (its head does not matter) and its normaliser.
    pub policy: &'a Policy,
    /// What its inputs and outputs are called.
    pub names: Option<&'a Names>,
    /// `policy.json`, `policy.safetensors`.
    pub files: [NamedFile<'a>; 2],
}

/// What a property certificate is about.
pub struct PropertySubject<'a> {
    /// The networks in the order of the property's list; one of a property without a list.
    pub networks: Vec<PropertyNetwork<'a>>,
    /// `property.json`.
    pub file: NamedFile<'a>,
    /// The property in it.
    pub property: &'a Property,
    /// The proof file, if there is one.
    pub proof: Option<NamedFile<'a>>,
}

/// A property certificate that was checked. Only [`check_property`] makes one.
#[derive(Clone, Debug)]
pub struct Decided {
    certificate: PropertyCertificate,
    policies: Vec<(Option<String>, String)>,
    cases: usize,
    asked: Option<(PairQuestion, usize)>,
}

impl Decided {
    /// What was verified.
    pub fn certificate(&self) -> &PropertyCertificate {
        &self.certificate
    }

    /// The policies: the name in the property, if it has names, and the digest of all that defines the policy.
    pub fn policies(&self) -> &[(Option<String>, String)] {
        &self.policies
    }

    /// The question about two networks that the property asks, and over how many boxes, if it is a known one.
    pub fn asked(&self) -> Option<&(PairQuestion, usize)> {
        self.asked.as_ref()
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
    let policies: Vec<&Policy> = subject.networks.iter().map(|network| network.policy).collect();
    let policy = beside(&policies, subject.property);
    // Other files are named as such before what they hold is.
    if !matches!(policy, Err(Reason::NetworkCount { .. })) {
        check_files(&certificate, subject)?;
    }
    let policy = &*policy?;
    same("the weights digest", &certificate.weights_digest, &weights_digest(&policy.network))?;
    let read = read_property(policy, subject.property)?;
    let grid = prepare(policy, &read)?;
    let table = tanh_table()?;
    match &certificate.claimed {
        Claimed::Sat { case, point } => {
            let at = |fault: Fault| fault.at(Place::Case(*case));
            // A clip reads observations outside the box as some inside it.
            let stated = subject.property.cases.get(*case).ok_or(Reason::NoSuchCase)?;
            check_inside(stated, point).map_err(at)?;
            let point = read_observation(policy.normaliser.as_ref(), point)?;
            let seen = read.cases.get(*case).ok_or(Reason::NoSuchCase)?;
            check_sat(&grid, table, seen, &point).map_err(at)?;
        }
        Claimed::Unsat { .. } => {
            let proof = subject.proof.ok_or(Reason::ProofMissing)?;
            check_proof(proof.bytes, &grid, table, &read.cases, progress)?;
        }
    }
    let property = subject.property;
    let outputs: Vec<usize> = policies.iter().map(|policy| policy.network.outputs()).collect();
    let mut named = property.networks.iter();
    let digest = |network: &PropertyNetwork<'_>| {
        (named.next().map(|named| named.name.clone()), policy_digest(network.policy, network.names))
    };
    let policies = subject.networks.iter().map(digest).collect();
    let (cases, asked) = (property.cases.len(), PairQuestion::of(property, &outputs));
    Ok(Decided { certificate, policies, cases, asked })
}

/// What the property is about as one policy: the only one, or those that it names beside each other (rule
/// `stack.networks`), with the variables among the outputs if a constraint has more coefficients than there are outputs.
///
/// # Errors
/// [`Reason`].
pub fn beside<'a>(policies: &[&'a Policy], property: &Property) -> Result<Cow<'a, Policy>, Reason> {
    let (given, stated) = (policies.len(), property.networks.len().max(1));
    if given != stated {
        return Err(Reason::NetworkCount { given, stated });
    }
    if let ([policy], []) = (policies, property.networks.as_slice()) {
        return Ok(Cow::Borrowed(policy));
    }
    let reads = property.networks.iter().map(|network| network.reads.as_slice());
    let parts: Vec<Reading<'_>> = policies.iter().copied().zip(reads).collect();
    let outputs = policies.iter().fold(0usize, |sum, p| sum.saturating_add(p.network.outputs()));
    let mut least = property.cases.first().map(|case| case.lower.clone()).unwrap_or_default();
    for case in &property.cases {
        // Cases of different lengths do not fit the network, which [`read_property`] refuses.
        for (least, lower) in least.iter_mut().zip(&case.lower) {
            *least = lower.clone().min(least.clone());
        }
    }
    let mut constraints = property.cases.iter().flat_map(|case| &case.constraints);
    let carries = constraints.any(|constraint| constraint.coefficients.len() > outputs);
    Ok(Cow::Owned(stack(&parts, least.len(), carries.then_some(least.as_slice()))?))
}

/// Accepts iff every tree of a proof proves its cases. Every thread walks all trees and checks its share of the leaves; where one
/// refuses or cannot be had, this one checks them all, so that what is said does not depend on the threads.
fn check_proof(
    bytes: &[u8],
    grid: &GridNetwork,
    table: &TanhTable,
    cases: &[Case],
    progress: &mut dyn FnMut(usize),
) -> Result<(), Rejection> {
    let threads = if bytes.len() < SMALL_PROOF { 1 } else { threads().min(MAX_THREADS) };
    let proof = parse_proof(bytes).map_err(Reason::from)?;
    let check = |proof: &Proof, own, of, progress: &mut dyn FnMut(usize)| {
        check_share(proof, (grid, table), cases, (own, of), progress)
    };
    if threads > 1 {
        // Refused once, before many threads have room for it.
        trees_of(&proof.clone(), cases)?;
        let accepted = thread::scope(|scope| {
            let share = |own| {
                let proof = proof.clone();
                thread::Builder::new().spawn_scoped(scope, move || check(&proof, own, threads, &mut |_| {}))
            };
            let others: Vec<_> = (1..threads).map(share).collect();
            let own = check(&proof.clone(), 0, threads, progress).is_ok();
            let accepts = |other: io::Result<ScopedJoinHandle<'_, Result<(), Rejection>>>| {
                other.is_ok_and(|handle| handle.join().is_ok_and(|found| found.is_ok()))
            };
            others.into_iter().map(accepts).fold(own, |all, one| all && one)
        });
        if accepted {
            return Ok(());
        }
    }
    check(&proof, 0, 1, progress)
}

/// The trees, which are about as many cases as there are.
fn trees_of<'a>(proof: &'a Proof, cases: &[Case]) -> Result<Vec<ProofTree<'a>>, Rejection> {
    let trees = proof.trees().map_err(Reason::from)?;
    let found = trees.iter().fold(0usize, |sum, tree| sum.saturating_add(tree.cases));
    if found != cases.len() {
        return Err(Reason::ProofCases { trees: found, cases: cases.len() }.into());
    }
    Ok(trees)
}

/// The share `own` of `of` of the leaves of every tree.
fn check_share(
    proof: &Proof,
    (grid, table): (&GridNetwork, &TanhTable),
    cases: &[Case],
    share: (usize, usize),
    progress: &mut dyn FnMut(usize),
) -> Result<(), Rejection> {
    let trees = trees_of(proof, cases)?;
    let rows = proof.kept().map_err(Reason::from)?;
    let (mut kept, mut first) = (None::<Kept>, 0usize);
    for tree in &trees {
        // They add up to the number of cases.
        let end = first.saturating_add(tree.cases);
        let stated = cases.get(first..end).ok_or(Reason::NoSuchCase)?;
        if let Some((rows, case)) = rows.as_ref().zip(stated.first())
            && !kept.as_ref().is_some_and(|kept| kept.is_of(case))
        {
            let own = Kept::new(grid, table, case, rows).map_err(|fault| fault.at(Place::Case(first)))?;
            kept = Some(own);
        }
        check_shape(tree.children.iter().copied())
            .and_then(|()| {
                let cases = (stated, kept.as_ref());
                check_tree(grid, table, cases, &mut |node| tree.node(node), share, progress)
            })
            .map_err(|fault| fault.at(Place::Case(first)))?;
        first = end;
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
    Ok(Property { cases: cases.collect::<Result<_, _>>()?, networks: property.networks.clone() })
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
    let files: Vec<_> = subject.networks.iter().flat_map(|n| &n.files).chain([&subject.file]).collect();
    if certificate.subjects.len() != files.len() {
        return Err(Reason::ProofMissing);
    }
    for (stated, file) in certificate.subjects.iter().zip(files) {
        check_file(stated, file)?;
    }
    match (&certificate.claimed, &subject.proof) {
        (Claimed::Unsat { proof }, Some(file)) => check_record("proof", proof, file),
        (Claimed::Sat { .. }, None) => Ok(()),
        (Claimed::Unsat { .. }, None) | (Claimed::Sat { .. }, Some(_)) => Err(Reason::ProofMissing),
    }
}
