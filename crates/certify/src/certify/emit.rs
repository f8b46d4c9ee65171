//! A certificate as canonical JSON. Untrusted: what is written is read back by the checker. `spec/certificate.md`.

use std::collections::BTreeMap;

use secateur_checker::model::{InputLimit, Perturbation, PerturbationSet, SensorSet, SharedOffset, Units};
use secateur_checker::reader::certificate::{
    Certificate, Claim, ClaimLists, FileDigest, MaskRecord, PREDICATE_TYPE, Program, SCHEMA_VERSION,
    STATEMENT_TYPE, WitnessRecord,
};
use secateur_checker::reader::dsse::{Envelope, EnvelopeSignature};
use secateur_checker::reader::json::Value;

use crate::certify::base64;
use crate::certify::counterexample::{emit_chain, emit_counterexample};
use crate::certify::json::canonical;
use crate::certify::radius::emit_radii;
use crate::certify::regions::emit_regions;
use crate::certify::regret::emit_regret;
use crate::certify::value::{list, object, text};

/// The signed payload: an in-toto Statement in the canonical form of RFC 8785.
pub fn emit_certificate(certificate: &Certificate) -> String {
    canonical(&object([
        ("_type", text(STATEMENT_TYPE)),
        ("predicateType", text(PREDICATE_TYPE)),
        ("subject", list(&certificate.subjects, emit_subject)),
        ("predicate", emit_predicate(certificate)),
    ]))
}

/// An envelope as canonical JSON; the checker's `parse_envelope` reads it back.
pub fn emit_envelope(envelope: &Envelope) -> String {
    let signature = |s: &EnvelopeSignature| {
        object([("keyid", text(s.keyid.as_str())), ("sig", text(base64::encode(&s.sig)))])
    };
    canonical(&object([
        ("payload", text(base64::encode(&envelope.payload))),
        ("payloadType", text(envelope.payload_type.as_str())),
        ("signatures", list(&envelope.signatures, signature)),
    ]))
}

fn emit_predicate(certificate: &Certificate) -> Value {
    let ClaimLists { claims, regret, statistical, regions, counterexample, radius } = certificate.lists();
    let mut fields = BTreeMap::from([
        ("schemaVersion".to_owned(), text(SCHEMA_VERSION)),
        ("result".to_owned(), text("verified")),
        ("model".to_owned(), emit_model(certificate)),
        ("method".to_owned(), emit_method(certificate)),
        ("claims".to_owned(), list(claims, emit_claim)),
        ("chain".to_owned(), emit_chain(certificate)),
        ("assumptions".to_owned(), list(&certificate.assumptions, |a| text(a.as_str()))),
        ("limits".to_owned(), list(&certificate.limits, |l| text(l.as_str()))),
        ("inputs".to_owned(), list(&certificate.inputs, emit_input)),
        ("verifier".to_owned(), emit_program(&certificate.verifier)),
        ("checker".to_owned(), emit_program(&certificate.checker)),
        ("seed".to_owned(), text(certificate.seed.as_str())),
    ]);
    fields.extend(emit_regret(regret, statistical));
    fields.extend(emit_counterexample(counterexample));
    fields.extend(emit_regions(regions));
    fields.extend(emit_radii(radius));
    if let Some(witness) = &certificate.witness {
        fields.insert("witness".to_owned(), emit_witness(witness));
    }
    Value::Object(fields)
}

fn emit_digest(sha256: &str) -> Value {
    object([("sha256", text(sha256))])
}

pub(crate) fn emit_witness(witness: &WitnessRecord) -> Value {
    object([
        ("name", text(witness.name.as_str())),
        ("digest", emit_digest(&witness.sha256)),
        ("size", text(witness.size.to_string())),
    ])
}

pub(crate) fn emit_subject(file: &FileDigest) -> Value {
    object([("name", text(file.name.as_str())), ("digest", emit_digest(&file.sha256))])
}

pub(crate) fn emit_input(file: &FileDigest) -> Value {
    object([
        ("role", text(file.role.as_str())),
        ("name", text(file.name.as_str())),
        ("digest", emit_digest(&file.sha256)),
    ])
}

pub(crate) fn emit_program(program: &Program) -> Value {
    object([("id", text(program.id.as_str())), ("version", text(program.version.as_str()))])
}

fn emit_model(certificate: &Certificate) -> Value {
    object([
        ("semantics", text("real-arithmetic")),
        ("weightsDigest", text(certificate.weights_digest.as_str())),
        ("head", text(certificate.head.as_str())),
        ("masks", list(&certificate.masks, emit_mask)),
    ])
}

fn emit_mask(mask: &MaskRecord) -> Value {
    object([
        ("name", text(mask.name.as_str())),
        ("digest", text(mask.digest.as_str())),
        ("pruned", text(mask.pruned.to_string())),
        ("total", text(mask.total.to_string())),
    ])
}

/// The word for units in files and on the command line.
pub fn units_word(units: Units) -> &'static str {
    match units {
        Units::Raw => "raw",
        Units::Normalised => "normalised",
    }
}

fn emit_method(certificate: &Certificate) -> Value {
    object([
        ("perturbation", emit_perturbation(&certificate.perturbation)),
        ("stateUnits", text(units_word(certificate.state_units))),
        ("states", text(certificate.states.to_string())),
    ])
}

fn emit_perturbation(set: &PerturbationSet) -> Value {
    let units = ("units", text(units_word(set.units)));
    match &set.shape {
        Perturbation::Linf { radius } => {
            object([("shape", text("linf")), ("radius", text(radius.to_string())), units])
        }
        Perturbation::L2 { radius } => {
            object([("shape", text("l2")), ("radius", text(radius.to_string())), units])
        }
        Perturbation::PerCoordinate { radii } => object([
            ("shape", text("per-coordinate")),
            ("radii", list(radii, |r| text(r.to_string()))),
            units,
        ]),
        Perturbation::Sensor(SensorSet { radii, shared, limits }) => {
            let offset = |SharedOffset { radius, inputs }: &SharedOffset| {
                object([
                    ("radius", text(radius.to_string())),
                    ("inputs", list(inputs, |input| text(input.to_string()))),
                ])
            };
            let limit = |InputLimit { input, lower, upper }: &InputLimit| {
                object([
                    ("input", text(input.to_string())),
                    ("lower", text(lower.to_string())),
                    ("upper", text(upper.to_string())),
                ])
            };
            let mut fields = BTreeMap::from([
                ("shape".to_owned(), text("sensor")),
                ("radii".to_owned(), list(radii, |r| text(r.to_string()))),
                (units.0.to_owned(), units.1),
            ]);
            // Lists without an entry are left out.
            if !shared.is_empty() {
                fields.insert("shared".to_owned(), list(shared, offset));
            }
            if !limits.is_empty() {
                fields.insert("limits".to_owned(), list(limits, limit));
            }
            Value::Object(fields)
        }
    }
}

fn emit_claim(claim: &Claim) -> Value {
    let mut fields = BTreeMap::from([
        ("family".to_owned(), text(claim.family.as_str())),
        ("mask".to_owned(), text(claim.mask.to_string())),
        ("quantity".to_owned(), text(claim.quantity.as_str())),
        ("values".to_owned(), list(&claim.values, |v| text(v.as_str()))),
    ]);
    if let Some(output) = claim.output {
        fields.insert("output".to_owned(), text(output.to_string()));
    }
    Value::Object(fields)
}
