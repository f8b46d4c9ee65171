//! The statement a certificate signs: an in-toto Statement v1 whose predicate lists claims, verdicts and digests.
//! Trusted; shape only, `check` decides what is true. `spec/certificate.md`.

use crate::model::{InputLimit, Perturbation, PerturbationSet, SensorSet, SharedOffset, Units};
use crate::number::Rational;
use crate::reader::clause::{Clause, Part};
use crate::reader::counterexample::{BracketVerdict, CounterexampleClaim, MAX_BRACKETS, MAX_CLAIMS, Place};
use crate::reader::fields::{Document, Field, Fields};
use crate::reader::json::{self, Numbers};
use crate::reader::mask::MAX_MASKS;
use crate::reader::policy::is_hex_digest;
use crate::reader::radius::{MAX_RADII, RadiusClaim};
use crate::reader::record::{Read, Record, capped, flat, list, list_or_absent, numerals, record};
use crate::reader::regions::{MAX_REGIONS, RegionEntry};
use crate::reader::regret::{self, RegretClaim, StatisticalClaim};
use crate::reader::tensor::{MAX_ENTRIES, MAX_WIDTH};

/// `_type` of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a certificate.
pub const PREDICATE_TYPE: &str = "https://secateur.dev/certificate/v1";
/// Version of the predicate this reader understands.
pub const SCHEMA_VERSION: &str = "1.2.0";
/// Most subjects of a statement.
pub(crate) const MAX_SUBJECTS: usize = 64;
/// Most bytes of a payload.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;

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
    /// Everything a certificate says.
    pub struct Certificate {
        "result" = "verified";
        ["model"] {
            "semantics" = "real-arithmetic";
            /// Digest of the dense weights.
            weights_digest as "weightsDigest": String,
            /// Head as the policy states it: `gaussian`, `categorical`, `deterministic`.
            head: String,
            /// Masks, loosest first.
            masks: Vec<MaskRecord> => list("masks", MAX_MASKS),
        }
        ["method"] {
            /// What the adversary may do.
            perturbation: PerturbationSet,
            /// Units of the states.
            state_units as "stateUnits": Units,
            /// Number of states.
            states: usize => states,
        }
        ["chain"] {
            /// Verdicts.
            verdicts: Vec<StepVerdict>,
            /// Where lower bounds exceed what was the most one step before.
            brackets as "bracket": Vec<BracketVerdict> => list_or_absent("bracket", MAX_BRACKETS),
        }
        /// The files that define the policy; [`parse_certificate`] takes them from the statement.
        subjects: Vec<FileDigest> => elsewhere,
        /// Claims.
        claims: Vec<Claim>,
        /// Witness side file, if any family needs one.
        witness: Option<WitnessRecord>,
        /// Bounds on the value an adversary can take.
        regret: Vec<RegretClaim> => list_or_absent("regret claims", regret::MAX_ENTRIES),
        /// Confidence bounds on `F(theta)`; no proofs.
        statistical: Vec<StatisticalClaim> => list_or_absent("statistical claims", regret::MAX_ENTRIES),
        /// Bounds that hold at every state of a box.
        regions: Vec<RegionEntry> => list_or_absent("regions", MAX_REGIONS),
        /// Lower bounds from points of the witness file.
        counterexample: Vec<CounterexampleClaim> => list_or_absent("counterexample", MAX_CLAIMS),
        /// Multiples of the radii up to which a limit is kept.
        radius: Vec<RadiusClaim> => list_or_absent("radius", MAX_RADII),
        /// What must hold for the claims to mean something.
        assumptions: Vec<String>,
        /// What the claims do not say.
        limits: Vec<String>,
        /// Further files, by digest.
        inputs: Vec<FileDigest>,
        /// The program that made the certificate.
        verifier: Program,
        /// The checker it was made with.
        checker: Program,
        /// Seed of the search.
        seed: String,
    }
}

/// The lists of claims, a field each. Whoever handles every kind of claim takes it apart by name and without `..`, so that
/// the compiler names the places that a new kind needs.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLists<'a> {
    /// Bounds of families.
    pub claims: &'a [Claim],
    /// Bounds on the value an adversary can take.
    pub regret: &'a [RegretClaim],
    /// Confidence bounds.
    pub statistical: &'a [StatisticalClaim],
    /// Bounds over boxes.
    pub regions: &'a [RegionEntry],
    /// Lower bounds from points.
    pub counterexample: &'a [CounterexampleClaim],
    /// Multiples of the radii up to which a limit is kept.
    pub radius: &'a [RadiusClaim],
}

impl Certificate {
    /// The lists of claims; a test names every other field as none of them.
    pub fn lists(&self) -> ClaimLists<'_> {
        ClaimLists {
            claims: &self.claims,
            regret: &self.regret,
            statistical: &self.statistical,
            regions: &self.regions,
            counterexample: &self.counterexample,
            radius: &self.radius,
        }
    }
}

/// What no key of the predicate holds: whoever reads the statement puts it there, and nothing is accepted without.
pub(super) fn elsewhere(_: &mut Fields<'_>, _: &str) -> Result<Vec<FileDigest>, Clause> {
    Ok(Vec::new())
}

/// Reads a signed payload, strict JSON in canonical form: an in-toto Statement with this type of predicate, of the version
/// that is read here. The files it is about, and the predicate.
pub(super) fn parse_statement<T: Record>(
    payload: &[u8],
    predicate_type: &'static str,
) -> Result<(Vec<FileDigest>, T), Clause> {
    let (value, canonical) =
        json::parse_spelled(payload, MAX_PAYLOAD, Numbers::Refused).map_err(|e| e.within(Part::Payload))?;
    if !canonical {
        return Err(Clause::PayloadNotCanonical);
    }
    let document = Document::new(value, None).spelled();
    let mut fields = document.root().object()?;
    fields.required("_type")?.word(STATEMENT_TYPE)?;
    fields.required("predicateType")?.word(predicate_type)?;
    let subjects: Vec<Subject> = capped(&fields.required("subject")?, "subjects", MAX_SUBJECTS)?;
    let mut predicate = fields.required("predicate")?.object()?;
    fields.finish()?;
    let found = predicate.required("schemaVersion")?.string()?;
    if found != SCHEMA_VERSION {
        return Err(Clause::SchemaVersion { found: found.into() });
    }
    let read = T::part(&mut predicate)?;
    predicate.finish()?;
    let subject = |Subject { name, sha256 }| FileDigest { role: "subject".to_owned(), name, sha256 };
    Ok((subjects.into_iter().map(subject).collect(), read))
}

/// Reads the signed payload.
///
/// # Errors
/// [`Clause`].
pub fn parse_certificate(payload: &[u8]) -> Result<Certificate, Clause> {
    let (subjects, certificate) = parse_statement::<Certificate>(payload, PREDICATE_TYPE)?;
    if subjects.is_empty() {
        return Err(Clause::ListEmpty { what: "subjects" });
    }
    if certificate.claims.is_empty() {
        return Err(Clause::NoClaims);
    }
    Ok(Certificate { subjects, ..certificate })
}

/// An object with a plain SHA-256.
fn digest(fields: &mut Fields<'_>, key: &str) -> Result<String, Clause> {
    let mut fields = fields.required(key)?.object()?;
    let field = fields.required("sha256")?;
    let text = field.allowed(field.string()?, "64 lower-case hexadecimal digits", |t| is_hex_digest(t))?;
    fields.finish()?;
    Ok(text.to_owned())
}

/// No more states than a file can hold.
fn states(fields: &mut Fields<'_>, key: &str) -> Result<usize, Clause> {
    let states = fields.required(key)?;
    let count = states.count()?;
    if count > MAX_ENTRIES { Err(states.clause(Clause::StatesStated)) } else { Ok(count) }
}

fn counts(fields: &mut Fields<'_>, _key: &str) -> Result<(usize, usize, usize), Clause> {
    let mut count = |key: &str| fields.required(key)?.count();
    Ok((count("tightened")?, count("unchanged")?, count("loosened")?))
}

/// The word for units.
pub fn units_word(units: Units) -> &'static str {
    if units == Units::Raw { "raw" } else { "normalised" }
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

record! {
    for PerturbationSet {
        shape: Perturbation => flat,
        units: Units,
    }
}

impl Record for Perturbation {
    fn part(fields: &mut Fields<'_>) -> Result<Self, Clause> {
        let kind = fields.required("shape")?;
        let mut radius = || {
            let field = fields.required("radius")?;
            field.allowed(field.rational()?, "at least 0", |radius| !radius.is_negative())
        };
        Ok(match kind.string()? {
            "linf" => Self::Linf { radius: radius()? },
            "l2" => Self::L2 { radius: radius()? },
            "per-coordinate" => Self::PerCoordinate { radii: radii(fields, "radii")? },
            "sensor" => Self::Sensor(SensorSet::part(fields)?),
            _ => return Err(kind.unknown_word("linf, l2, per-coordinate or sensor")),
        })
    }
}

/// Numbers of at least 0, no more than inputs can be.
fn radii(fields: &mut Fields<'_>, key: &str) -> Result<Vec<Rational>, Clause> {
    let field = fields.required(key)?;
    let least = |radii: &Vec<Rational>| !radii.iter().any(Rational::is_negative);
    field.allowed(field.rationals(MAX_WIDTH)?, "a list of numbers of at least 0", least)
}

record! {
    for SensorSet {
        radii: Vec<Rational> => radii,
        shared: Vec<SharedOffset> => list_or_absent("shared offsets", MAX_WIDTH),
        limits: Vec<InputLimit> => list_or_absent("limits", MAX_WIDTH),
    }
}

record! {
    for SharedOffset {
        radius: Rational,
        inputs: Vec<usize> => list("inputs", MAX_WIDTH),
    }
}

record! {
    for InputLimit {
        input: usize,
        lower: Rational,
        upper: Rational,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever handles every kind of claim asks for [`Certificate::lists`]: a new field of the certificate is one of them, or
    /// is named here as none, and what is not named is not compiled.
    #[test]
    fn every_list_of_claims_is_among_the_lists() {
        let lengths = |certificate: &Certificate| {
            let Certificate {
                claims,
                regret,
                statistical,
                regions,
                counterexample,
                radius,
                weights_digest: _,
                head: _,
                masks: _,
                perturbation: _,
                state_units: _,
                states: _,
                verdicts: _,
                brackets: _,
                subjects: _,
                witness: _,
                assumptions: _,
                limits: _,
                inputs: _,
                verifier: _,
                checker: _,
                seed: _,
            } = certificate;
            let own = [
                claims.len(),
                regret.len(),
                statistical.len(),
                regions.len(),
                counterexample.len(),
                radius.len(),
            ];
            let ClaimLists { claims, regret, statistical, regions, counterexample, radius } =
                certificate.lists();
            let listed = [
                claims.len(),
                regret.len(),
                statistical.len(),
                regions.len(),
                counterexample.len(),
                radius.len(),
            ];
            (own, listed)
        };
        let envelope = include_bytes!("../../../certificates/accepted/radius.cert.dsse.json");
        let payload = crate::reader::dsse::parse_envelope(envelope).unwrap().payload;
        let (own, listed) = lengths(&parse_certificate(&payload).unwrap());
        assert!(own == listed && own[0] > 0 && own[5] > 0);
    }
}
