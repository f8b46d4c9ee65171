//! The statement a certificate signs: an in-toto Statement v1 whose predicate lists claims, verdicts and digests.
//! Trusted; shape only, `check` decides what is true. `spec/certificate.md`.

use crate::model::{Perturbation, PerturbationSet, Units};
use crate::number::Rational;
use crate::reader::clause::{Clause, Part};
use crate::reader::counterexample::{
    BracketVerdict, CounterexampleClaim, bracket_verdicts, counterexample_claims,
};
use crate::reader::fields::{Document, Field, Fields};
use crate::reader::json::{self, Numbers};
use crate::reader::policy::{MAX_WIDTH, is_hex_digest};
use crate::reader::record::{Read, capped, listed, numerals, record};
use crate::reader::regions::{RegionEntry, region_entries};
use crate::reader::regret::{RegretClaim, StatisticalClaim, regret_claims, statistical_claims};
use crate::reader::tensor::MAX_ENTRIES;

/// `_type` of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a certificate.
pub const PREDICATE_TYPE: &str = "https://secateur.dev/certificate/v1";
/// Version of the predicate this reader understands.
pub const SCHEMA_VERSION: &str = "1.2.0";
/// Most subjects of a statement.
pub const MAX_SUBJECTS: usize = 64;
/// Most masks of a chain.
pub const MAX_MASKS: usize = 1024;
/// Most bytes of a payload.
pub const MAX_PAYLOAD: usize = 16 << 20;

record! {
    /// A file named with its plain SHA-256.
    pub struct FileDigest {
        /// What the file is for: `policy`, `weights`, `chain`, `mask`, `states`, `witness`, or a source's.
        role: String,
        /// Plain file name.
        name: String,
        /// 64 lower-case hexadecimal digits.
        sha256 as "digest": String => digest,
    }
}

record! {
    /// A file that the statement is about.
    struct Subject {
        /// Plain file name.
        name: String,
        /// 64 lower-case hexadecimal digits.
        sha256 as "digest": String => digest,
    }
}

record! {
    /// One mask of the chain.
    pub struct MaskRecord {
        /// Plain file name; `dense` for the all-kept mask of a certificate without mask files.
        name: String,
        /// `sha256:` mask digest.
        digest: String,
        /// Number of pruned weights.
        pruned: usize,
        /// Number of weights.
        total: usize,
    }
}

record! {
    /// A family's bound on one quantity under one mask; one decimal per state, or one for all states.
    pub struct Claim {
        /// Family name.
        family: String,
        /// Position of the mask in the chain, from 0.
        mask: usize,
        /// Quantity name.
        quantity: String,
        /// Output, for quantities that have one bound per output.
        output: Option<usize>,
        /// Claimed bounds as written; upper bounds, but lower bounds for `same-action-margin`.
        values: Vec<String> => numerals,
    }
}

record! {
    /// Where a step's largest change sits.
    pub struct Place {
        /// State, for local families.
        state: Option<usize>,
        /// Output, or layer for per-layer norms.
        index: Option<usize>,
    }
}

record! {
    /// What one family did from one mask to the next.
    pub struct StepVerdict {
        /// Family name.
        family: String,
        /// What is compared: `action-deviation`, `layer-norm` or `product`.
        of: String,
        /// Step `k` goes from mask `k - 1` to mask `k`.
        step: usize,
        /// `tightens-by-theorem`, `tightened`, `unchanged` or `loosened`.
        verdict: String,
        /// How many values fell, stayed and rose.
        counts: (usize, usize, usize) => counts,
        /// The largest rise, or else the largest fall; `None` if nothing changed.
        at: Option<Place>,
        /// Exact value there before the step.
        before: Option<Rational>,
        /// Exact value there after the step.
        after: Option<Rational>,
    }
}

record! {
    /// The side file with witnesses.
    pub struct WitnessRecord {
        /// Plain file name.
        name: String,
        /// Plain SHA-256.
        sha256 as "digest": String => digest,
        /// Length in bytes.
        size: usize,
    }
}

record! {
    /// A program's name and version.
    pub struct Program {
        /// Name.
        id: String,
        /// Version.
        version: String,
    }
}

record! {
    /// `predicate.model`.
    struct Model {
        "semantics" = "real-arithmetic";
        /// Digest of the dense weights.
        weights_digest as "weightsDigest": String,
        /// Head as the policy states it.
        head: String,
        /// Masks, loosest first.
        masks: Vec<MaskRecord> => |fields: &mut Fields<'_>, key| {
            listed(&fields.required(key)?, "masks", MAX_MASKS)
        },
    }
}

record! {
    /// `predicate.method`.
    struct Method {
        /// What the adversary may do.
        perturbation: PerturbationSet,
        /// Units of the states.
        state_units as "stateUnits": Units,
        /// Number of states.
        states: usize => |fields: &mut Fields<'_>, key| {
            let states = fields.required(key)?;
            let count = states.count()?;
            if count > MAX_ENTRIES { Err(states.clause(Clause::StatesStated)) } else { Ok(count) }
        },
    }
}

record! {
    /// `predicate.chain`.
    struct Chain {
        /// Verdicts.
        verdicts: Vec<StepVerdict>,
        /// Where lower bounds exceed what was the most one step before.
        bracket: Vec<BracketVerdict> => bracket_verdicts,
    }
}

/// Everything a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The files that define the policy.
    pub subjects: Vec<FileDigest>,
    /// Digest of the dense weights.
    pub weights_digest: String,
    /// Head as the policy states it: `gaussian`, `categorical`, `deterministic`.
    pub head: String,
    /// Masks, loosest first.
    pub masks: Vec<MaskRecord>,
    /// What the adversary may do.
    pub perturbation: PerturbationSet,
    /// Units of the states.
    pub state_units: Units,
    /// Number of states.
    pub states: usize,
    /// Claims.
    pub claims: Vec<Claim>,
    /// Bounds on the value an adversary can take.
    pub regret: Vec<RegretClaim>,
    /// Confidence bounds on `F(theta)`; no proofs.
    pub statistical: Vec<StatisticalClaim>,
    /// Bounds that hold at every state of a box.
    pub regions: Vec<RegionEntry>,
    /// Verdicts.
    pub verdicts: Vec<StepVerdict>,
    /// Lower bounds from points of the witness file.
    pub counterexample: Vec<CounterexampleClaim>,
    /// Where they exceed what was the most one step before.
    pub brackets: Vec<BracketVerdict>,
    /// Witness side file, if any family needs one.
    pub witness: Option<WitnessRecord>,
    /// What must hold for the claims to mean something.
    pub assumptions: Vec<String>,
    /// What the claims do not say.
    pub limits: Vec<String>,
    /// Further files, by digest.
    pub inputs: Vec<FileDigest>,
    /// The program that made the certificate.
    pub verifier: Program,
    /// The checker it was made with.
    pub checker: Program,
    /// Seed of the search.
    pub seed: String,
}

/// The document of a signed payload: strict JSON in canonical form.
pub(super) fn parse_payload(payload: &[u8]) -> Result<Document, Clause> {
    let (value, canonical) =
        json::parse_spelled(payload, MAX_PAYLOAD, Numbers::Refused).map_err(|e| e.within(Part::Payload))?;
    if canonical { Ok(Document::new(value, None).spelled()) } else { Err(Clause::PayloadNotCanonical) }
}

/// The statement's predicate, and the files it is about.
pub(super) fn parse_statement<'a>(
    document: &'a Document,
    predicate_type: &'static str,
) -> Result<(Vec<FileDigest>, Field<'a>), Clause> {
    let mut fields = document.root().object()?;
    fields.required("_type")?.word(STATEMENT_TYPE)?;
    fields.required("predicateType")?.word(predicate_type)?;
    let subjects: Vec<Subject> = capped(&fields.required("subject")?, "subjects", MAX_SUBJECTS)?;
    let predicate = fields.required("predicate")?;
    fields.finish()?;
    let subject = |Subject { name, sha256 }| FileDigest { role: "subject".to_owned(), name, sha256 };
    Ok((subjects.into_iter().map(subject).collect(), predicate))
}

/// Accepts iff the predicate is of the version that is read here.
pub(super) fn check_version(predicate: &mut Fields<'_>) -> Result<(), Clause> {
    let found = predicate.required("schemaVersion")?.string()?;
    if found == SCHEMA_VERSION { Ok(()) } else { Err(Clause::SchemaVersion { found: found.into() }) }
}

/// Reads the signed payload.
///
/// # Errors
/// [`Clause`].
pub fn parse_certificate(payload: &[u8]) -> Result<Certificate, Clause> {
    let document = parse_payload(payload)?;
    let (subjects, predicate) = parse_statement(&document, PREDICATE_TYPE)?;
    if subjects.is_empty() {
        return Err(Clause::ListEmpty { what: "subjects" });
    }
    let mut fields = predicate.object()?;
    check_version(&mut fields)?;
    fields.required("result")?.word("verified")?;
    let Model { weights_digest, head, masks } = Model::under(&mut fields, "model")?;
    let Method { perturbation, state_units, states } = Method::under(&mut fields, "method")?;
    let claims = Vec::under(&mut fields, "claims")?;
    if claims.is_empty() {
        return Err(Clause::NoClaims);
    }
    let Chain { verdicts, bracket } = Chain::under(&mut fields, "chain")?;
    let certificate = Certificate {
        subjects,
        weights_digest,
        head,
        masks,
        perturbation,
        state_units,
        states,
        claims,
        witness: Option::under(&mut fields, "witness")?,
        regret: regret_claims(&mut fields)?,
        statistical: statistical_claims(&mut fields)?,
        regions: region_entries(&mut fields)?,
        verdicts,
        counterexample: counterexample_claims(&mut fields)?,
        brackets: bracket,
        assumptions: Vec::under(&mut fields, "assumptions")?,
        limits: Vec::under(&mut fields, "limits")?,
        inputs: Vec::under(&mut fields, "inputs")?,
        verifier: Program::under(&mut fields, "verifier")?,
        checker: Program::under(&mut fields, "checker")?,
        seed: String::under(&mut fields, "seed")?,
    };
    fields.finish()?;
    Ok(certificate)
}

/// An object with a plain SHA-256.
fn digest(fields: &mut Fields<'_>, key: &str) -> Result<String, Clause> {
    let mut fields = fields.required(key)?.object()?;
    let field = fields.required("sha256")?;
    let text = field.string()?;
    if !is_hex_digest(text) {
        return Err(field.out_of_range("64 lower-case hexadecimal digits"));
    }
    fields.finish()?;
    Ok(text.to_owned())
}

fn counts(fields: &mut Fields<'_>, _key: &str) -> Result<(usize, usize, usize), Clause> {
    let mut count = |key: &str| fields.required(key)?.count();
    Ok((count("tightened")?, count("unchanged")?, count("loosened")?))
}

impl Read for Units {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        match field.string()? {
            "raw" => Ok(Self::Raw),
            "normalised" => Ok(Self::Normalised),
            _ => Err(field.unknown_word("raw or normalised")),
        }
    }
}

impl Read for PerturbationSet {
    fn read(field: &Field<'_>) -> Result<Self, Clause> {
        let mut fields = field.object()?;
        let kind = fields.required("shape")?;
        let shape = match kind.string()? {
            "linf" => Perturbation::Linf { radius: radius(&mut fields)? },
            "l2" => Perturbation::L2 { radius: radius(&mut fields)? },
            "per-coordinate" => Perturbation::PerCoordinate { radii: radii(&mut fields)? },
            _ => return Err(kind.unknown_word("linf, l2 or per-coordinate")),
        };
        let units = Units::under(&mut fields, "units")?;
        fields.finish()?;
        Ok(Self { shape, units })
    }
}

fn radius(fields: &mut Fields<'_>) -> Result<Rational, Clause> {
    let field = fields.required("radius")?;
    let radius = field.rational()?;
    if radius.is_negative() { Err(field.out_of_range("at least 0")) } else { Ok(radius) }
}

fn radii(fields: &mut Fields<'_>) -> Result<Vec<Rational>, Clause> {
    let field = fields.required("radii")?;
    let radii = field.rationals(MAX_WIDTH)?;
    let negative = radii.iter().any(Rational::is_negative);
    if negative { Err(field.out_of_range("a list of numbers of at least 0")) } else { Ok(radii) }
}
