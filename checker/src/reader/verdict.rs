//! The statement that a network satisfies a property nowhere (`unsat`) or somewhere (`sat`): an in-toto Statement v1.
//! Trusted; shape only. `spec/property.md`.

use crate::number::Rational;
use crate::reader::certificate::{FileDigest, Program, WitnessRecord, elsewhere, parse_statement};
use crate::reader::clause::Clause;
use crate::reader::fields::Fields;
use crate::reader::record::{Read, Record, flat, rationals, record};
use crate::reader::tensor::MAX_WIDTH;

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

record! {
    /// An input that satisfies a case.
    struct Example {
        /// Case, from 0.
        case: usize,
        /// The input, exactly.
        point: Vec<Rational> => rationals::<MAX_WIDTH>,
    }
}

impl Record for Claimed {
    fn part(fields: &mut Fields<'_>) -> Result<Self, Clause> {
        let result = fields.required("result")?;
        match result.string()? {
            "unsat" => Ok(Self::Unsat { proof: WitnessRecord::under(fields, "proof")? }),
            "sat" => {
                let Example { case, point } = Example::under(fields, "counterexample")?;
                Ok(Self::Sat { case, point })
            }
            _ => Err(result.unknown_word("sat or unsat")),
        }
    }
}

record! {
    /// Everything a property certificate says.
    pub struct PropertyCertificate {
        "semantics" = "real-arithmetic";
        /// `policy.json`, `policy.safetensors`, `property.json`; [`parse_verdict`] takes them from the statement.
        subjects: Vec<FileDigest> => elsewhere,
        /// The claim.
        claimed: Claimed => flat,
        /// Digest of the weights.
        weights_digest as "weightsDigest": String,
        /// What must hold for the claim to mean something.
        assumptions: Vec<String>,
        /// The files that network and property were imported from.
        inputs: Vec<FileDigest>,
        /// The program that made the certificate.
        verifier: Program,
        /// The checker it was made with.
        checker: Program,
    }
}

/// Reads the signed payload.
///
/// # Errors
/// [`Clause`].
pub fn parse_verdict(payload: &[u8]) -> Result<PropertyCertificate, Clause> {
    let (subjects, certificate) = parse_statement(payload, PREDICATE_TYPE)?;
    Ok(PropertyCertificate { subjects, ..certificate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::certificate::{MAX_SUBJECTS, STATEMENT_TYPE};
    use crate::reader::clause::Part;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn statement(claim: &str, result: &str, without: &str) -> String {
        let file = |name: &str| format!(r#"{{"digest":{{"sha256":"{DIGEST}"}},"name":"{name}"}}"#);
        let program = r#"{"id":"x","version":"1"}"#;
        let mut members = vec![
            r#""assumptions":["a"]"#.to_owned(),
            format!(r#""checker":{program}"#),
            claim.to_owned(),
            format!(r#""inputs":[{{"digest":{{"sha256":"{DIGEST}"}},"name":"n","role":"source"}}]"#),
            format!(r#""result":"{result}""#),
            r#""schemaVersion":"1.2.0""#.to_owned(),
            r#""semantics":"real-arithmetic""#.to_owned(),
            format!(r#""verifier":{program}"#),
            r#""weightsDigest":"sha256:w""#.to_owned(),
        ];
        members.retain(|member| !member.starts_with(&format!("\"{without}\":")));
        members.sort();
        let (files, predicate) = (["a", "b", "c"].map(file).join(","), members.join(","));
        format!(
            r#"{{"_type":"{STATEMENT_TYPE}","predicate":{{{predicate}}},"predicateType":"{PREDICATE_TYPE}","subject":[{files}]}}"#
        )
    }

    fn proof_record() -> String {
        format!(r#""proof":{{"digest":{{"sha256":"{DIGEST}"}},"name":"p","size":"7"}}"#)
    }

    fn unsat() -> String {
        statement(&proof_record(), "unsat", "none")
    }

    fn sat() -> String {
        statement(r#""counterexample":{"case":"3","point":["1/2","-0.25"]}"#, "sat", "none")
    }

    fn refused(text: &str) -> Clause {
        parse_verdict(text.as_bytes()).expect_err("refused")
    }

    fn changed(text: &str, from: &str, to: &str) -> Clause {
        assert!(text.contains(from), "{from}");
        refused(&text.replacen(from, to, 1))
    }

    fn missing(path: &str, key: &str) -> Clause {
        Clause::MissingKey { key: key.into() }.within(Part::Value(path.into()))
    }

    fn unknown(path: &str, key: &str) -> Clause {
        Clause::UnknownKey { key: key.into() }.within(Part::Value(path.into()))
    }

    #[test]
    fn both_verdicts_are_read() {
        let certificate = parse_verdict(unsat().as_bytes()).unwrap();
        assert_eq!(certificate.subjects.len(), 3);
        assert_eq!((certificate.inputs.len(), certificate.inputs[0].role.as_str()), (1, "source"));
        let proof = WitnessRecord { name: "p".into(), sha256: DIGEST.into(), size: 7 };
        assert_eq!(certificate.claimed, Claimed::Unsat { proof });
        let point = ["1/2", "-1/4"].map(|t| Rational::parse(t).unwrap()).to_vec();
        let certificate = parse_verdict(sat().as_bytes()).unwrap();
        assert_eq!(certificate.claimed, Claimed::Sat { case: 3, point });
    }

    #[test]
    fn the_payload_is_canonical_json() {
        let spaced = format!("{} ", unsat());
        assert_eq!(refused(&spaced), Clause::PayloadNotCanonical);
        assert_eq!(
            changed(&sat(), r#""3""#, "3"),
            Clause::NumberToken { at: sat().find(r#""3""#).unwrap() }.within(Part::Payload)
        );
        let twice = changed(&sat(), r#""result":"sat""#, r#""result":"sat","result":"unsat""#);
        assert!(matches!(twice.condition(), Clause::DuplicateKey { .. }));
    }

    /// Unknown, other and missing words; nothing is taken for `unsat` that does not say so.
    #[test]
    fn words_are_known_or_refused() {
        let word = |error: Clause| match error {
            Clause::Within { part: Part::Value(path), clause } if clause.code() == "unknown-word" => path,
            other => panic!("{other:?}"),
        };
        for other in ["unknown", "verified", "", "UNSAT"] {
            let to = format!(r#""result":"{other}""#);
            assert_eq!(word(changed(&unsat(), r#""result":"unsat""#, &to)), "predicate.result");
        }
        assert_eq!(word(changed(&unsat(), "Statement/v1", "Statement/v2")), "_type");
        assert_eq!(word(changed(&unsat(), "property/v1", "certificate/v1")), "predicateType");
        assert_eq!(word(changed(&unsat(), "real-arithmetic", "float32")), "predicate.semantics");
        let version = changed(&unsat(), "1.2.0", "1.2.1");
        assert_eq!(version, Clause::SchemaVersion { found: "1.2.1".into() });
    }

    /// `unsat` needs its proof and has no point, `sat` the other way round.
    #[test]
    fn each_verdict_has_its_own_evidence() {
        let flipped = changed(&sat(), r#""result":"sat""#, r#""result":"unsat""#);
        assert_eq!(flipped, missing("predicate", "proof"));
        let flipped = changed(&unsat(), r#""result":"unsat""#, r#""result":"sat""#);
        assert_eq!(flipped, missing("predicate", "counterexample"));
        let both = changed(&sat(), r#""counterexample""#, r#""also":"x","counterexample""#);
        assert_eq!(both, Clause::PayloadNotCanonical);
        let proof =
            format!(r#","proof":{{"digest":{{"sha256":"{DIGEST}"}},"name":"p","size":"7"}},"result""#);
        assert_eq!(changed(&sat(), r#","result""#, &proof), unknown("predicate", "proof"));
    }

    #[test]
    fn keys_are_complete_and_known() {
        let top = changed(&unsat(), r#","subject""#, r#","seed":"0","subject""#);
        assert_eq!(top, unknown("", "seed"));
        let file = changed(&unsat(), r#","name":"a""#, r#","name":"a","path":"/""#);
        assert_eq!(file, unknown("subject[0]", "path"));
        let proof = changed(&unsat(), r#","size":"7""#, "");
        assert_eq!(proof, missing("predicate.proof", "size"));
        let point = changed(&sat(), r#"{"case":"3","#, "{");
        assert_eq!(point, missing("predicate.counterexample", "case"));
        for key in ["assumptions", "checker", "inputs", "semantics", "verifier", "weightsDigest"] {
            let without = statement(&proof_record(), "unsat", key);
            assert_eq!(refused(&without), missing("predicate", key));
        }
    }

    #[test]
    fn digests_numbers_and_counts_are_well_formed() {
        let range = |error: Clause| match error {
            Clause::Within { part: Part::Value(path), clause } if clause.code() == "out-of-range" => path,
            other => panic!("{other:?}"),
        };
        let upper = DIGEST.to_uppercase();
        assert_eq!(range(changed(&sat(), DIGEST, &upper)), "predicate.inputs[0].digest.sha256");
        assert_eq!(range(changed(&unsat(), r#""7""#, r#""07""#)), "predicate.proof.size");
        assert_eq!(range(changed(&sat(), r#""3""#, r#""-3""#)), "predicate.counterexample.case");
        let point = changed(&sat(), "-0.25", "1/0");
        let path = "predicate.counterexample.point[1]".into();
        let error = crate::number::NumberError::ZeroDenominator;
        assert_eq!(point, Clause::NotANumber { error }.within(Part::Value(path)));
    }

    #[test]
    fn subjects_are_capped() {
        let text = unsat();
        let one = format!(r#"{{"digest":{{"sha256":"{DIGEST}"}},"name":"a"}}"#);
        // In the place of one of three.
        let with = |count: usize| text.replacen(&one, &vec![one.clone(); count - 2].join(","), 1);
        assert_eq!(parse_verdict(with(MAX_SUBJECTS).as_bytes()).map(|c| c.subjects.len()), Ok(MAX_SUBJECTS));
        let error = Clause::ListTooLong { what: "subjects", cap: MAX_SUBJECTS };
        assert_eq!(refused(&with(MAX_SUBJECTS + 1)), error);
    }
}
