//! From a policy, masks, states and an adversary to a signed certificate. Untrusted: the values come from the checker's
//! rules, each once, and the finished certificate goes through [`secateur_checker::check`] before it is written.

pub mod band;
pub mod base64;
pub mod cells;
pub mod counterexample;
pub mod emit;
pub mod given_slopes;
pub mod json;
pub mod keys;
pub mod radius;
pub mod regions;
pub mod regret;
pub mod sigstore;
pub mod statement;
pub mod trees;
pub mod trust_file;
pub mod value;
pub mod witness;
mod witness_error;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use secateur_checker::check::{
    CHECKER_ID, NamedFile, Subject, Verified, check_evaluated, head_name, pruned_count,
};
use secateur_checker::claim::{Claim as Kind, Proofs};
use secateur_checker::evaluate::{Evaluated, Evaluation, Problem};
use secateur_checker::family::{BandEnd, Family, WitnessKind};
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::kernel::input::input_set;
use secateur_checker::kernel::nested::check_nested;
use secateur_checker::load::{Failure, MaskDirectory, PolicyDirectory};
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{Perturbation, PerturbationSet, SensorSet, States};
use secateur_checker::number::claim_decimal;
use secateur_checker::reader::certificate::{
    Certificate, Claim, ClaimLists, FileDigest, MaskRecord, Program, SCHEMA_VERSION, WitnessRecord,
    parse_certificate,
};
use secateur_checker::reader::digest::{mask_digest, sha256_hex, weights_digest};
use secateur_checker::reader::dsse::{Envelope, PAYLOAD_TYPE};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::names::Names;
use secateur_checker::reader::npy::parse_states;
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::policy_assumptions;
use secateur_checker::table::{FamilyTable, Quantity};

use crate::certify::cells::CellRequest;
use crate::certify::counterexample::{CounterexampleError, add_counterexample};
use crate::certify::emit::{emit_certificate, emit_envelope};
use crate::certify::given_slopes::GivenSlopes;
use crate::certify::keys::Key;
use crate::certify::radius::{RadiusError, RadiusRequest, propose_radii, validate_radii};
use crate::certify::regions::{RegionError, RegionRequest, RegionSubject, propose_regions, validate_regions};
use crate::certify::regret::{RegretClaimError, RegretRequest, add_regret};
use crate::certify::witness::{Wanted, WitnessError, propose_witness};
use crate::policy::write::{FileSet, WriteError};
use crate::progress::Progress;

/// Id this program writes into certificates.
pub const VERIFIER_ID: &str = "secateur";

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertifyError {
    /// A file is unreadable or malformed.
    #[error("{0}")]
    Load(Failure),
    /// The masks are not a chain.
    #[error(
        "masks: {0}; a chain lists masks from loosest to tightest, each keeping a subset of the one before"
    )]
    Masks(Fault),
    /// The states have another width than the policy's input.
    #[error("the states have {found} columns, the policy reads {expected} inputs")]
    StateWidth {
        /// Columns found.
        found: usize,
        /// Inputs of the policy.
        expected: usize,
    },
    /// A band ends at a mask that the chain does not have, or begins after its end.
    #[error("no band from mask {from} to mask {to}: the chain has masks 0 to {last}, loosest first")]
    NoBand {
        /// Loosest mask asked for.
        from: usize,
        /// Tightest mask asked for.
        to: usize,
        /// Last mask of the chain.
        last: usize,
    },
    /// A band has no such value.
    #[error("band: {reason}")]
    Band {
        /// Why.
        reason: Reason,
    },
    /// There is no state.
    #[error("there are no states to certify: the states file has no rows (or --limit is 0)")]
    NoStates,
    /// The perturbation has another width than the policy's input.
    #[error("{found} radii for {expected} inputs; give one radius per input, or a single one")]
    RadiiWidth {
        /// Radii found.
        found: usize,
        /// Inputs of the policy.
        expected: usize,
    },
    /// A state is where its inputs cannot be.
    #[error(
        "state {state}: input {coordinate}{name} is outside its limits; widen them, or leave the state out"
    )]
    OutsideLimits {
        /// Row of the states, from 0.
        state: usize,
        /// Input, from 0.
        coordinate: usize,
        /// Its name between commas, if it has one.
        name: String,
    },
    /// No witness could be found.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// A family could not be evaluated.
    #[error("{reason}{next}", reason = .0, next = next_step(.0))]
    Evaluate(Reason),
    /// The head's constants could not be computed.
    #[error("{0}")]
    Head(Fault),
    /// A family that is monotone by theorem rose: a defect of this program.
    #[error("{0}; please report this")]
    Theorem(Reason),
    /// The finished certificate did not pass its own check: a defect of this program.
    #[error("the finished certificate was rejected ({0}); nothing was written; please report this")]
    SelfCheck(String),
    /// A region cannot be claimed.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Radii that were asked for cannot be claimed.
    #[error(transparent)]
    Radius(#[from] RadiusError),
    /// A regret or statistical claim that was asked for cannot be made.
    #[error(transparent)]
    Regret(#[from] RegretClaimError),
    /// What the points show from below could not be claimed.
    #[error(transparent)]
    Counterexample(#[from] CounterexampleError),
    /// A total variation is limited, but the head has none.
    #[error("band-limit tv=...: the head is deterministic, its total variation is 0 or 1; give deviation=R")]
    LimitHead,
    /// Rows would go that a statistical claim averages.
    #[error(
        "the limit {limit} leaves out rows of the {rows} in the states file, and a statistical claim averages all"
    )]
    LimitRows {
        /// Rows that would stay.
        limit: usize,
        /// Rows there are.
        rows: usize,
    },
    /// Interrupted by the user.
    #[error("interrupted; nothing was written")]
    Interrupted,
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What to do about a fault, where that does not follow from its sentence.
fn next_step(reason: &Reason) -> &'static str {
    match reason.fault() {
        Some(Fault::ActivationInBinary32 { .. }) => {
            "; leave the families float32/... out: the others bound the same network in exact arithmetic"
        }
        _ => "",
    }
}

impl CertifyError {
    /// Whether the user stopped it.
    pub fn is_interrupted(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Region(RegionError::Interrupted)
                | Self::Witness(WitnessError::Interrupted)
                | Self::Radius(RadiusError::Interrupted | RadiusError::Witness(WitnessError::Interrupted))
        )
    }

    /// The exit code of a command that ends for this reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Theorem(_) => 1,
            Self::SelfCheck(_)
            | Self::Region(RegionError::Cell { .. } | RegionError::Prove { .. } | RegionError::Interrupted)
            | Self::Interrupted
            | Self::Witness(WitnessError::Interrupted)
            | Self::Evaluate(_)
            | Self::Head(_)
            | Self::Counterexample(_) => 4,
            Self::Load(failure) => failure.exit_code(),
            Self::Radius(error) => error.exit_code(),
            _ => 2,
        }
    }
}

/// `NAME.witness.safetensors` beside `NAME.cert.dsse.json`.
pub fn witness_name(out: &Path) -> String {
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = [".cert.dsse.json", ".dsse.json", ".json"].iter().find_map(|end| name.strip_suffix(end));
    format!("{}.witness.safetensors", stem.unwrap_or(&name))
}

/// What to certify.
pub struct Request<'a> {
    /// The policy.
    pub policy: &'a PolicyDirectory,
    /// Its masks.
    pub masks: &'a MaskDirectory,
    /// The states, and the file they came from.
    pub states: &'a States,
    /// Name and bytes of that file.
    pub states_file: NamedFile<'a>,
    /// The adversary.
    pub perturbation: &'a PerturbationSet,
    /// Families to claim, in any order.
    pub families: &'a [Family],
    /// Regret and statistical claims to make beside them.
    pub regret: &'a RegretRequest,
    /// Claims about bands begin at this mask, the loosest that is of interest.
    pub band_from: usize,
    /// Boxes of states to claim.
    pub regions: &'a [RegionRequest],
    /// Radii to claim.
    pub radii: &'a RadiusRequest,
    /// Regions that the family `branch` may bound for each of its trees.
    pub branch_steps: u64,
    /// Cells of one tree a state and mask for the family `branch`, in place of those trees.
    pub cells: Option<&'a CellRequest>,
    /// Slopes that another tool found, for `crown-optimised` in place of a search.
    pub slopes: Option<&'a GivenSlopes>,
    /// File name of the witness side file, if one is needed.
    pub witness_name: &'a str,
    /// Whether to search points that bound the true quantities from below, and to claim what they show.
    pub counterexample: bool,
    /// Seed recorded in the certificate.
    pub seed: &'a str,
}

/// Keeps the first `limit` rows, if that is wished.
///
/// # Errors
/// [`CertifyError::LimitRows`].
pub fn keep_first(
    states: &mut States,
    limit: Option<usize>,
    regret: &RegretRequest,
) -> Result<(), CertifyError> {
    let rows = states.values.rows;
    let Some(limit) = limit.filter(|limit| *limit < rows) else { return Ok(()) };
    if regret.statistical.is_some() {
        return Err(CertifyError::LimitRows { limit, rows });
    }
    states.keep_first(limit);
    Ok(())
}

/// A checked certificate, ready to be written.
pub struct Certified {
    /// The signed envelope.
    pub envelope: Envelope,
    /// The witness file, if any family needs one.
    pub witness: Option<Vec<u8>>,
    /// What the checker verified.
    pub verified: Verified,
}

/// Evaluates the families in parallel over states, claims every quantity that means something for the head, signs, and
/// checks the result: the signed bytes are read again, and every digest, sentence, number and verdict is compared with the
/// values of that one evaluation. Whoever checks the files evaluates for themselves.
///
/// # Errors
/// [`CertifyError`].
pub fn certify(request: &Request<'_>, key: &Key, progress: &dyn Progress) -> Result<Certified, CertifyError> {
    validate(request)?;
    let policy = &request.policy.files.policy;
    let mut families = request.families.to_vec();
    families.sort();
    families.dedup();
    let mut problem = Problem {
        policy,
        masks: &request.masks.masks,
        states: request.states,
        perturbation: request.perturbation,
        witness: None,
    };
    let head = HeadBounds::new(&policy.head).map_err(CertifyError::Head)?;
    let subject = RegionSubject {
        policy,
        masks: &request.masks.masks,
        units: request.states.units,
        set: request.perturbation,
        head: &head,
    };
    let regions = propose_regions(&subject, request.regions, progress)?;
    let radii = propose_radii(&problem, request.radii, request.branch_steps, &head, progress)?;
    let points = request.counterexample;
    let searched = points || !regions.trees.is_empty() || !radii.tensors.is_empty();
    let witness = if searched || families.iter().any(|f| f.entry().witness != WitnessKind::None) {
        let local = local_problem(&problem, &families)?;
        let (trees, radii) = (&regions.trees, &radii.tensors);
        let (branch_steps, cells, slopes) = (request.branch_steps, request.cells, request.slopes);
        let wanted = Wanted { branch_steps, cells, regions: trees, points, radii, slopes };
        Some(propose_witness(&problem, &local, &families, &wanted, progress)?)
    } else {
        None
    };
    problem.witness = witness.as_deref();
    let evaluated = evaluate_parallel(&problem, &families, progress)?;
    let tables = evaluated.tables();
    let mut certificate = build(request, tables, witness.as_deref())?;
    if request.counterexample {
        add_counterexample(&mut certificate, &problem, tables, &head, progress)?;
    }
    certificate.regions = regions.entries;
    certificate.radius = radii.entries;
    let mut silent = |_, _| {};
    let rows = request.states.values.rows;
    let mut proofs = Proofs::new(&problem, rows, &head, tables, &mut silent);
    add_regret(&mut certificate, request.regret, &mut proofs)?;
    list_sentences(&mut certificate).map_err(CertifyError::Evaluate)?;
    let payload = emit_certificate(&certificate).into_bytes();
    let envelope = key.sign(PAYLOAD_TYPE, payload);
    let verified = self_check(request, &envelope, witness.as_deref(), evaluated, progress)?;
    Ok(Certified { envelope, witness, verified })
}

/// An input's name in quotes: of its group, and which it is in it.
fn input_word(names: &Names, input: usize) -> Option<String> {
    let (group, member) = names.group_of(input)?;
    let place = if group.count == 1 { String::new() } else { format!("[{member}]") };
    Some(format!("{}{place}", Escaped(&group.name)))
}

/// Every listed state is within the limits of its inputs, if the perturbation has some.
fn within_limits(request: &Request<'_>) -> Result<(), CertifyError> {
    let limited = matches!(&request.perturbation.shape, Perturbation::Sensor(set) if !set.limits.is_empty());
    if !limited {
        return Ok(());
    }
    let (values, files) = (&request.states.values, &request.policy.files);
    for (state, row) in values.values.chunks(values.columns.max(1)).enumerate() {
        // Any grid tells: limits are compared exactly.
        match input_set(&files.policy, row, request.states.units, request.perturbation, 16) {
            Err(Fault::OutsideLimits { coordinate }) => {
                let name = files.names.as_ref().and_then(|names| input_word(names, coordinate));
                let name = name.map_or_else(String::new, |name| format!(", {name},"));
                return Err(CertifyError::OutsideLimits { state, coordinate, name });
            }
            _ => continue,
        }
    }
    Ok(())
}

fn validate(request: &Request<'_>) -> Result<(), CertifyError> {
    let network = &request.policy.files.policy.network;
    let expected = network.inputs();
    if request.states.values.columns != expected {
        return Err(CertifyError::StateWidth { found: request.states.values.columns, expected });
    }
    if request.states.values.rows == 0 {
        return Err(CertifyError::NoStates);
    }
    let shape = &request.perturbation.shape;
    if let Perturbation::PerCoordinate { radii } | Perturbation::Sensor(SensorSet { radii, .. }) = shape
        && radii.len() != expected
    {
        return Err(CertifyError::RadiiWidth { found: radii.len(), expected });
    }
    within_limits(request)?;
    let masks = request.masks.masks.len();
    for end in request.families.iter().filter_map(|family| family.band_end()) {
        let to = if let BandEnd::Mask(to) = end { to } else { masks.saturating_sub(1) };
        if to >= masks || request.band_from > to {
            return Err(CertifyError::NoBand { from: request.band_from, to, last: masks.saturating_sub(1) });
        }
    }
    check_nested(network, &request.masks.masks).map_err(CertifyError::Masks)?;
    validate_regions(request.regions, expected)?;
    validate_radii(request.radii, &request.policy.files.policy, masks)?;
    Ok(request.regret.validate(&request.policy.files.policy.head)?)
}

fn local_problem<'a>(problem: &Problem<'a>, families: &[Family]) -> Result<LocalProblem<'a>, CertifyError> {
    let refused = |fault: Fault| CertifyError::Evaluate(fault.into());
    let local = LocalProblem::new(problem.policy, problem.masks, problem.states, problem.perturbation);
    let local = local.map_err(refused)?.with_witness(problem.witness, families);
    local.map_err(|clause| CertifyError::Evaluate(clause.into()))?.prepare(families).map_err(refused)
}

/// The families' values, evaluated in parallel over states.
fn evaluate_parallel<'a>(
    problem: &Problem<'a>,
    families: &[Family],
    progress: &dyn Progress,
) -> Result<Evaluated<'a>, CertifyError> {
    let evaluation = Evaluation::new(problem, families).map_err(CertifyError::Evaluate)?;
    let (done, total) = (AtomicUsize::new(0), evaluation.states());
    // Which of several refusals is said is left to `finish`, which takes the first state's.
    let _ = (0..total).into_par_iter().try_for_each(|state| {
        if progress.stopped() {
            return Err(());
        }
        evaluation.state(state).map_err(|_| ())?;
        progress.advance("bounding", done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok(())
    });
    if progress.stopped() {
        return Err(CertifyError::Interrupted);
    }
    evaluation.finish().map_err(CertifyError::Evaluate)
}

fn digest(role: &str, name: &str, bytes: &[u8]) -> FileDigest {
    FileDigest { role: role.to_owned(), name: name.to_owned(), sha256: sha256_hex(bytes) }
}

fn build(
    request: &Request<'_>,
    tables: &[FamilyTable],
    witness: Option<&[u8]>,
) -> Result<Certificate, CertifyError> {
    let policy = &request.policy.files.policy;
    let mut verdicts = Vec::new();
    for table in tables {
        verdicts.extend(table.verdicts().map_err(CertifyError::Theorem)?);
    }
    Ok(Certificate {
        subjects: vec![
            digest("subject", "policy.json", &request.policy.manifest),
            digest("subject", "policy.safetensors", &request.policy.tensors),
        ],
        weights_digest: weights_digest(&policy.network),
        head: head_name(&policy.head).to_owned(),
        masks: mask_records(request),
        perturbation: request.perturbation.clone(),
        state_units: request.states.units,
        states: request.states.values.rows,
        claims: claims(request, tables)?,
        regret: Vec::new(),
        statistical: Vec::new(),
        regions: Vec::new(),
        radius: Vec::new(),
        verdicts,
        counterexample: Vec::new(),
        brackets: Vec::new(),
        witness: witness.map(|bytes| WitnessRecord {
            name: request.witness_name.to_owned(),
            sha256: sha256_hex(bytes),
            size: bytes.len(),
        }),
        assumptions: policy_assumptions(policy).into_iter().map(str::to_owned).collect(),
        limits: Vec::new(),
        inputs: inputs(request),
        verifier: Program { id: VERIFIER_ID.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        checker: Program { id: CHECKER_ID.to_owned(), version: SCHEMA_VERSION.to_owned() },
        seed: request.seed.to_owned(),
    })
}

/// Lists the assumptions and limits that the claims need, each once, in the order of the claims' lists.
fn list_sentences(certificate: &mut Certificate) -> Result<(), Reason> {
    fn add<C: Kind>(
        claims: &[C],
        certificate: &Certificate,
        lists: &mut [Vec<String>; 2],
    ) -> Result<(), Reason> {
        let assumptions = claims.iter().flat_map(|claim| claim.assumptions(certificate));
        let limits = if claims.is_empty() { Vec::new() } else { C::limits(claims)? };
        for (list, sentence) in assumptions
            .map(|a| (0, a.into_owned()))
            .chain(limits.into_iter().map(|limit| (1, limit.to_owned())))
        {
            if !lists[list].contains(&sentence) {
                lists[list].push(sentence);
            }
        }
        Ok(())
    }
    let ClaimLists { claims, regret, statistical, regions, counterexample, radius } = certificate.lists();
    let mut lists = [certificate.assumptions.clone(), certificate.limits.clone()];
    add(claims, certificate, &mut lists)?;
    add(counterexample, certificate, &mut lists)?;
    add(regions, certificate, &mut lists)?;
    add(radius, certificate, &mut lists)?;
    add(regret, certificate, &mut lists)?;
    add(statistical, certificate, &mut lists)?;
    [certificate.assumptions, certificate.limits] = lists;
    Ok(())
}

fn mask_records(request: &Request<'_>) -> Vec<MaskRecord> {
    let network = &request.policy.files.policy.network;
    let names = request.masks.files.iter().skip(1).map(|(name, _)| name.as_str()).chain(["dense"]);
    let pairs = request.masks.masks.iter().zip(names);
    pairs
        .map(|(mask, name)| {
            let (pruned, total) = pruned_count(mask, network);
            MaskRecord { name: name.to_owned(), digest: mask_digest(mask, network), pruned, total }
        })
        .collect()
}

fn inputs(request: &Request<'_>) -> Vec<FileDigest> {
    let mut list = Vec::new();
    for (position, (name, bytes)) in request.masks.files.iter().enumerate() {
        list.push(digest(if position == 0 { "chain" } else { "mask" }, name, bytes));
    }
    list.push(digest("states", request.states_file.name, request.states_file.bytes));
    for file in request.policy.files.policy.source.iter().flat_map(|source| &source.files) {
        let (role, name, sha256) = (file.role.to_owned(), file.name.clone(), file.sha256.clone());
        list.push(FileDigest { role, name, sha256 });
    }
    list
}

/// Every quantity that means something, for every family and mask, rounded outward to 12 significant digits.
fn claims(request: &Request<'_>, tables: &[FamilyTable]) -> Result<Vec<Claim>, CertifyError> {
    let policy = &request.policy.files.policy;
    let head = HeadBounds::new(&policy.head).map_err(CertifyError::Head)?;
    let outputs = policy.network.outputs();
    let mut cells = Vec::new();
    for table in tables {
        let first = if table.family.band_end().is_some() { request.band_from } else { 0 };
        for mask in first..table.masks.len() {
            cells.extend((0..outputs).map(|o| (table, mask, Quantity::ActionDeviation, Some(o))));
            if head.is_distribution() {
                cells
                    .extend([Quantity::TotalVariation, Quantity::Divergence].map(|q| (table, mask, q, None)));
            }
            if !head.is_gaussian() && outputs > 1 {
                cells.push((table, mask, Quantity::SameActionMargin, None));
            }
        }
    }
    let claims = cells.into_par_iter().map(|(table, mask, quantity, output)| {
        let values = table.values(&head, quantity, mask, output).ok()?;
        Some(Claim {
            family: table.family.name(),
            mask,
            quantity: quantity.name().to_owned(),
            output,
            values: values.iter().map(|v| claim_decimal(v, quantity.rounding())).collect(),
        })
    });
    // A value that cannot be had is not claimed; the checker would say so of a claim that asks for it.
    Ok(claims.collect::<Vec<_>>().into_iter().flatten().collect())
}

/// The check of the envelope as whoever receives it reads it, with the families' values as they were just evaluated.
fn self_check(
    request: &Request<'_>,
    envelope: &Envelope,
    witness: Option<&[u8]>,
    evaluated: Evaluated<'_>,
    progress: &dyn Progress,
) -> Result<Verified, CertifyError> {
    let certificate =
        parse_certificate(&envelope.payload).map_err(|e| CertifyError::SelfCheck(e.to_string()))?;
    let mask_files: Vec<NamedFile<'_>> =
        request.masks.files.iter().map(|(name, bytes)| NamedFile { name, bytes }).collect();
    // All rows of the file, as whoever checks it reads them.
    let states = parse_states(request.states_file.bytes, request.states.units)
        .map_err(|e| CertifyError::SelfCheck(e.to_string()))?;
    let subject = Subject {
        policy: &request.policy.files.policy,
        names: request.policy.files.names.as_ref(),
        policy_files: [
            NamedFile { name: "policy.json", bytes: &request.policy.manifest },
            NamedFile { name: "policy.safetensors", bytes: &request.policy.tensors },
        ],
        masks: &request.masks.masks,
        mask_files: &mask_files,
        states: &states,
        states_file: request.states_file,
        witness: witness.map(|bytes| NamedFile { name: request.witness_name, bytes }),
    };
    let mut progress = |done, total| progress.advance("checking", done, total);
    let verified = check_evaluated(certificate, &subject, Some(evaluated), &mut progress);
    verified.map_err(|e: Rejection| CertifyError::SelfCheck(e.to_string()))
}

impl Certified {
    /// Adds the witness, and the certificate that speaks of it; without a witness, one that lies there goes.
    pub fn add_to(&self, set: &mut FileSet, path: &Path, witness_name: &str) {
        let witness_path = path.with_file_name(witness_name);
        match &self.witness {
            Some(witness) => set.add(witness_path, witness.as_slice()),
            None => set.remove(witness_path),
        }
        set.add(path, format!("{}\n", emit_envelope(&self.envelope)));
    }

    /// Writes the certificate, and the witness beside it, over what is there.
    ///
    /// # Errors
    /// [`CertifyError::Write`].
    pub fn write(&self, path: &Path, witness_name: &str) -> Result<(), CertifyError> {
        let mut set = FileSet::new(true);
        self.add_to(&mut set, path, witness_name);
        Ok(set.write()?)
    }
}
