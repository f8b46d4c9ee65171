//! The statement that a network satisfies a property nowhere (`unsat`) or somewhere (`sat`): an in-toto Statement v1.
//! Trusted; shape only. `spec/property.md`.

use crate::number::Rational;
use crate::reader::certificate::{
    CertificateError, FileDigest, MAX_PAYLOAD, MAX_SUBJECTS, Program, SCHEMA_VERSION, STATEMENT_TYPE,
    WitnessRecord, capped, input, program, subject, witness, words,
};
use crate::reader::fields::{Field, FieldError};
use crate::reader::json::{Numbers, canonical, parse};

/// `predicateType` of a property certificate.
pub const PREDICATE_TYPE: &str = "https://secateur.dev/property/v1";

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// No input satisfies any case; the proof file holds one split tree per case.
    Unsat {
        /// The proof file.
        proof: WitnessRecord,
    },
    /// This input satisfies this case.
    Sat {
        /// Case, from 0.
        case: usize,
        /// The input, exactly.
        point: Vec<Rational>,
    },
}

/// Everything a property certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyCertificate {
    /// `policy.json`, `policy.safetensors`, `property.json`.
    pub subjects: Vec<FileDigest>,
    /// Digest of the weights.
    pub weights_digest: String,
    /// The claim.
    pub claimed: Claimed,
    /// What must hold for the claim to mean something.
    pub assumptions: Vec<String>,
    /// The files that network and property were imported from.
    pub inputs: Vec<FileDigest>,
    /// The program that made the certificate.
    pub verifier: Program,
    /// The checker it was made with.
    pub checker: Program,
}

/// Reads the signed payload.
///
/// # Errors
/// [`CertificateError`].
pub fn parse_verdict(payload: &[u8]) -> Result<PropertyCertificate, CertificateError> {
    let value = parse(payload, MAX_PAYLOAD, Numbers::Refused).map_err(CertificateError::Json)?;
    if canonical(&value).as_bytes() != payload {
        return Err(CertificateError::NotCanonical);
    }
    let mut fields = Field::root(&value).object()?;
    fields.required("_type")?.word(STATEMENT_TYPE)?;
    fields.required("predicateType")?.word(PREDICATE_TYPE)?;
    let subjects = capped(fields.required("subject")?.array()?, "subjects", MAX_SUBJECTS)?;
    let subjects = subjects.iter().map(subject).collect::<Result<Vec<_>, _>>()?;
    let predicate = fields.required("predicate")?;
    fields.finish()?;
    let mut fields = predicate.object()?;
    let version = fields.required("schemaVersion")?.string()?;
    if version != SCHEMA_VERSION {
        return Err(CertificateError::Version { found: version.to_owned() });
    }
    let result = fields.required("result")?;
    let claimed = match result.string()? {
        "unsat" => Claimed::Unsat { proof: witness(&fields.required("proof")?)? },
        "sat" => sat(&fields.required("counterexample")?)?,
        _ => return Err(result.unknown_word("sat or unsat").into()),
    };
    fields.required("semantics")?.word("real-arithmetic")?;
    let certificate = PropertyCertificate {
        subjects,
        weights_digest: fields.required("weightsDigest")?.string()?.to_owned(),
        claimed,
        assumptions: words(&fields.required("assumptions")?)?,
        inputs: fields.required("inputs")?.array()?.iter().map(input).collect::<Result<Vec<_>, _>>()?,
        verifier: program(&fields.required("verifier")?)?,
        checker: program(&fields.required("checker")?)?,
    };
    fields.finish()?;
    Ok(certificate)
}

fn sat(field: &Field<'_>) -> Result<Claimed, FieldError> {
    let mut fields = field.object()?;
    let case = fields.required("case")?.count()?;
    let point = fields.required("point")?.rationals()?;
    fields.finish()?;
    Ok(Claimed::Sat { case, point })
}
