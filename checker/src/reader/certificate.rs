//! The statement a certificate signs: an in-toto Statement v1 whose predicate lists claims, verdicts and digests.
//! Trusted; shape only, `check` decides what is true. `spec/certificate.md`.

use crate::model::{Perturbation, PerturbationSet, Units};
use crate::number::Rational;
use crate::reader::clause::{Clause, Part};
use crate::reader::counterexample::{
    BracketVerdict, CounterexampleClaim, bracket_verdicts, counterexample_claims,
};
use crate::reader::fields::{Document, Field};
use crate::reader::json::{Numbers, canonical, parse};
use crate::reader::policy::MAX_WIDTH;
use crate::reader::regions::{RegionEntry, region_entries};
use crate::reader::regret::{RegretClaim, StatisticalClaim, regret_claims, statistical_claims};

/// `_type` of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a certificate.
pub const PREDICATE_TYPE: &str = "https://secateur.dev/certificate/v1";
/// Version of the predicate this reader understands.
pub const SCHEMA_VERSION: &str = "1.1.0";
/// Most subjects of a statement.
pub const MAX_SUBJECTS: usize = 64;
/// Most masks of a chain.
pub const MAX_MASKS: usize = 1024;
/// Most bytes of a payload.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// A file named with its plain SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// What the file is for: `policy`, `weights`, `chain`, `mask`, `states`, `witness`, or a source's.
    pub role: String,
    /// Plain file name.
    pub name: String,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// One mask of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskRecord {
    /// Plain file name; `dense` for the all-kept mask of a certificate without mask files.
    pub name: String,
    /// `sha256:` mask digest.
    pub digest: String,
    /// Number of pruned weights.
    pub pruned: usize,
    /// Number of weights.
    pub total: usize,
}

/// A family's bound on one quantity under one mask; one decimal per state, or one for all states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Family name.
    pub family: String,
    /// Position of the mask in the chain, from 0.
    pub mask: usize,
    /// Quantity name.
    pub quantity: String,
    /// Output, for quantities that have one bound per output.
    pub output: Option<usize>,
    /// Claimed bounds as written; upper bounds, but lower bounds for `same-action-margin`.
    pub values: Vec<String>,
}

/// Where a step's largest change sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// State, for local families.
    pub state: Option<usize>,
    /// Output, or layer for per-layer norms.
    pub index: Option<usize>,
}

/// What one family did from one mask to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepVerdict {
    /// Family name.
    pub family: String,
    /// What is compared: `action-deviation`, `layer-norm` or `product`.
    pub of: String,
    /// Step `k` goes from mask `k - 1` to mask `k`.
    pub step: usize,
    /// `tightens-by-theorem`, `tightened`, `unchanged` or `loosened`.
    pub verdict: String,
    /// How many values fell, stayed and rose.
    pub counts: (usize, usize, usize),
    /// The largest rise, or else the largest fall; `None` if nothing changed.
    pub at: Option<Place>,
    /// Exact value there before the step.
    pub before: Option<Rational>,
    /// Exact value there after the step.
    pub after: Option<Rational>,
}

/// The side file with witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRecord {
    /// Plain file name.
    pub name: String,
    /// Plain SHA-256.
    pub sha256: String,
    /// Length in bytes.
    pub size: usize,
}

/// A program's name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Name.
    pub id: String,
    /// Version.
    pub version: String,
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
    let value = parse(payload, MAX_PAYLOAD, Numbers::Refused).map_err(|e| e.within(Part::Payload))?;
    if canonical(&value).as_bytes() == payload {
        Ok(Document::new(value, None))
    } else {
        Err(Clause::PayloadNotCanonical)
    }
}

/// Reads the signed payload.
///
/// # Errors
/// [`Clause`].
pub fn parse_certificate(payload: &[u8]) -> Result<Certificate, Clause> {
    let document = parse_payload(payload)?;
    let mut fields = document.root().object()?;
    fields.required("_type")?.word(STATEMENT_TYPE)?;
    fields.required("predicateType")?.word(PREDICATE_TYPE)?;
    let subjects = capped(fields.required("subject")?.array()?, "subjects", MAX_SUBJECTS)?;
    let subjects = subjects.iter().map(subject).collect::<Result<Vec<_>, _>>()?;
    if subjects.is_empty() {
        return Err(Clause::ListEmpty { what: "subjects" });
    }
    let predicate = fields.required("predicate")?;
    fields.finish()?;
    predicate_fields(&predicate, subjects)
}

fn predicate_fields(predicate: &Field<'_>, subjects: Vec<FileDigest>) -> Result<Certificate, Clause> {
    let mut fields = predicate.object()?;
    let version = fields.required("schemaVersion")?.string()?;
    if version != SCHEMA_VERSION {
        return Err(Clause::SchemaVersion { found: version.into() });
    }
    fields.required("result")?.word("verified")?;
    let (weights_digest, head, masks) = model(&fields.required("model")?)?;
    let (perturbation, state_units, states) = method(&fields.required("method")?)?;
    let claims = fields.required("claims")?.array()?.iter().map(claim).collect::<Result<Vec<_>, _>>()?;
    if claims.is_empty() {
        return Err(Clause::NoClaims);
    }
    let mut chain = fields.required("chain")?.object()?;
    let verdicts = chain.required("verdicts")?.array()?.iter().map(verdict).collect::<Result<Vec<_>, _>>()?;
    let brackets = bracket_verdicts(&mut chain)?;
    chain.finish()?;
    let witness = fields.optional("witness").map(|w| witness(&w)).transpose()?;
    let certificate = Certificate {
        subjects,
        weights_digest,
        head,
        masks,
        perturbation,
        state_units,
        states,
        claims,
        regret: regret_claims(&mut fields)?,
        statistical: statistical_claims(&mut fields)?,
        regions: region_entries(&mut fields)?,
        verdicts,
        counterexample: counterexample_claims(&mut fields)?,
        brackets,
        witness,
        assumptions: words(&fields.required("assumptions")?)?,
        limits: words(&fields.required("limits")?)?,
        inputs: fields.required("inputs")?.array()?.iter().map(input).collect::<Result<Vec<_>, _>>()?,
        verifier: program(&fields.required("verifier")?)?,
        checker: program(&fields.required("checker")?)?,
        seed: fields.required("seed")?.string()?.to_owned(),
    };
    fields.finish()?;
    Ok(certificate)
}

pub(super) fn capped<'a>(
    items: Vec<Field<'a>>,
    what: &'static str,
    cap: usize,
) -> Result<Vec<Field<'a>>, Clause> {
    if items.len() > cap { Err(Clause::ListTooLong { what, cap }) } else { Ok(items) }
}

/// Numbers as written; they are compared once it is known how many there must be.
pub(super) fn number_texts(field: &Field<'_>) -> Result<Vec<String>, Clause> {
    Ok(field.number_texts()?.into_iter().map(str::to_owned).collect())
}

pub(super) fn words(field: &Field<'_>) -> Result<Vec<String>, Clause> {
    Ok(field.strings()?.into_iter().map(str::to_owned).collect())
}

fn hex_digest(field: &Field<'_>) -> Result<String, Clause> {
    let text = field.string()?;
    let plain = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain { Ok(text.to_owned()) } else { Err(field.out_of_range("64 lower-case hexadecimal digits")) }
}

fn sha256(field: &Field<'_>) -> Result<String, Clause> {
    let mut fields = field.object()?;
    let digest = hex_digest(&fields.required("sha256")?)?;
    fields.finish()?;
    Ok(digest)
}

pub(super) fn subject(field: &Field<'_>) -> Result<FileDigest, Clause> {
    let mut fields = field.object()?;
    let name = fields.required("name")?.string()?.to_owned();
    let sha256 = sha256(&fields.required("digest")?)?;
    fields.finish()?;
    Ok(FileDigest { role: "subject".to_owned(), name, sha256 })
}

pub(super) fn input(field: &Field<'_>) -> Result<FileDigest, Clause> {
    let mut fields = field.object()?;
    let role = fields.required("role")?.string()?.to_owned();
    let name = fields.required("name")?.string()?.to_owned();
    let sha256 = sha256(&fields.required("digest")?)?;
    fields.finish()?;
    Ok(FileDigest { role, name, sha256 })
}

pub(super) fn witness(field: &Field<'_>) -> Result<WitnessRecord, Clause> {
    let mut fields = field.object()?;
    let name = fields.required("name")?.string()?.to_owned();
    let sha256 = sha256(&fields.required("digest")?)?;
    let size = fields.required("size")?.count()?;
    fields.finish()?;
    Ok(WitnessRecord { name, sha256, size })
}

pub(super) fn program(field: &Field<'_>) -> Result<Program, Clause> {
    let mut fields = field.object()?;
    let id = fields.required("id")?.string()?.to_owned();
    let version = fields.required("version")?.string()?.to_owned();
    fields.finish()?;
    Ok(Program { id, version })
}

fn model(field: &Field<'_>) -> Result<(String, String, Vec<MaskRecord>), Clause> {
    let mut fields = field.object()?;
    fields.required("semantics")?.word("real-arithmetic")?;
    let weights = fields.required("weightsDigest")?.string()?.to_owned();
    let head = fields.required("head")?.string()?.to_owned();
    let masks = capped(fields.required("masks")?.array()?, "masks", MAX_MASKS)?;
    let masks = masks.iter().map(mask).collect::<Result<Vec<_>, _>>()?;
    fields.finish()?;
    if masks.is_empty() {
        return Err(Clause::ListEmpty { what: "masks" });
    }
    Ok((weights, head, masks))
}

fn mask(field: &Field<'_>) -> Result<MaskRecord, Clause> {
    let mut fields = field.object()?;
    let name = fields.required("name")?.string()?.to_owned();
    let digest = fields.required("digest")?.string()?.to_owned();
    let pruned = fields.required("pruned")?.count()?;
    let total = fields.required("total")?.count()?;
    fields.finish()?;
    Ok(MaskRecord { name, digest, pruned, total })
}

fn units(field: &Field<'_>) -> Result<Units, Clause> {
    match field.string()? {
        "raw" => Ok(Units::Raw),
        "normalised" => Ok(Units::Normalised),
        _ => Err(field.unknown_word("raw or normalised")),
    }
}

fn method(field: &Field<'_>) -> Result<(PerturbationSet, Units, usize), Clause> {
    let mut fields = field.object()?;
    let set = perturbation(&fields.required("perturbation")?)?;
    let state_units = units(&fields.required("stateUnits")?)?;
    let states = fields.required("states")?.count()?;
    fields.finish()?;
    Ok((set, state_units, states))
}

fn radius(field: &Field<'_>) -> Result<Rational, Clause> {
    let radius = field.rational()?;
    if radius.is_negative() { Err(field.out_of_range("at least 0")) } else { Ok(radius) }
}

fn perturbation(field: &Field<'_>) -> Result<PerturbationSet, Clause> {
    let mut fields = field.object()?;
    let kind = fields.required("shape")?;
    let mut radius = || radius(&fields.required("radius")?);
    let shape = match kind.string()? {
        "linf" => Perturbation::Linf { radius: radius()? },
        "l2" => Perturbation::L2 { radius: radius()? },
        "per-coordinate" => {
            let place = fields.required("radii")?;
            let radii = place.rationals(MAX_WIDTH)?;
            if radii.iter().any(Rational::is_negative) {
                return Err(place.out_of_range("a list of numbers of at least 0"));
            }
            Perturbation::PerCoordinate { radii }
        }
        _ => return Err(kind.unknown_word("linf, l2 or per-coordinate")),
    };
    let units = units(&fields.required("units")?)?;
    fields.finish()?;
    Ok(PerturbationSet { shape, units })
}

fn claim(field: &Field<'_>) -> Result<Claim, Clause> {
    let mut fields = field.object()?;
    let claim = Claim {
        family: fields.required("family")?.string()?.to_owned(),
        mask: fields.required("mask")?.count()?,
        quantity: fields.required("quantity")?.string()?.to_owned(),
        output: fields.optional("output").map(|o| o.count()).transpose()?,
        values: number_texts(&fields.required("values")?)?,
    };
    fields.finish()?;
    Ok(claim)
}

fn verdict(field: &Field<'_>) -> Result<StepVerdict, Clause> {
    let mut fields = field.object()?;
    let family = fields.required("family")?.string()?.to_owned();
    let of = fields.required("of")?.string()?.to_owned();
    let step = fields.required("step")?.count()?;
    let verdict = fields.required("verdict")?.string()?.to_owned();
    let mut count = |key: &str| fields.required(key)?.count();
    let counts = (count("tightened")?, count("unchanged")?, count("loosened")?);
    let at = fields.optional("at").map(|a| place(&a)).transpose()?;
    let before = fields.optional("before").map(|b| b.rational()).transpose()?;
    let after = fields.optional("after").map(|a| a.rational()).transpose()?;
    fields.finish()?;
    Ok(StepVerdict { family, of, step, verdict, counts, at, before, after })
}

pub(super) fn place(field: &Field<'_>) -> Result<Place, Clause> {
    let mut fields = field.object()?;
    let state = fields.optional("state").map(|s| s.count()).transpose()?;
    let index = fields.optional("index").map(|i| i.count()).transpose()?;
    fields.finish()?;
    Ok(Place { state, index })
}
