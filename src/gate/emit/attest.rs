//! The report as a signed in-toto Test Result v0.1 statement. Untrusted.
//!
//! # References
//! in-toto attestation framework: Statement v1; predicate Test Result v0.1.

use secateur_checker::reader::certificate::STATEMENT_TYPE;
use secateur_checker::reader::dsse::PAYLOAD_TYPE;
use secateur_checker::reader::json::Value;

use super::super::report::{Ended, Report};
use super::{printable, slashes};
use crate::certify::emit::emit_envelope;
use crate::certify::json::canonical;
use crate::certify::keys::Key;
use crate::certify::value::{list, object, text};

/// `predicateType`.
pub const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/test-result/v0.1";

fn resource(name: &str, sha256: &str) -> Value {
    object([("name", text(name)), ("digest", object([("sha256", text(sha256))]))])
}

/// The statement: its subjects are the policies' files, their certificates and the deployed files.
pub fn statement(report: &Report) -> String {
    let mut subjects = Vec::new();
    for policy in &report.policies {
        let name = &policy.name;
        if let Some(verified) = &policy.verified {
            subjects.extend(
                verified.files.iter().map(|(file, sha256)| resource(&format!("{name}/{file}"), sha256)),
            );
            subjects.push(resource(&format!("{name}/certificate"), &verified.certificate));
        }
        subjects.extend(policy.bound.iter().map(|b| resource(&printable(&slashes(&b.path)), &b.sha256)));
    }
    let configuration =
        report.configuration.iter().map(|file| resource(&printable(&slashes(&file.path)), &file.sha256));
    let names = |ended| list(&report.names(ended), |name| text(name.as_str()));
    let result = match report.ended() {
        Ended::Passed => "PASSED",
        Ended::Warned => "WARNED",
        Ended::Failed => "FAILED",
    };
    canonical(&object([
        ("_type", text(STATEMENT_TYPE)),
        ("predicateType", text(PREDICATE_TYPE)),
        ("subject", Value::Array(subjects)),
        (
            "predicate",
            object([
                ("result", text(result)),
                ("configuration", Value::Array(configuration.collect())),
                ("passedTests", names(Ended::Passed)),
                ("warnedTests", names(Ended::Warned)),
                ("failedTests", names(Ended::Failed)),
            ]),
        ),
    ]))
}

/// The statement in a DSSE envelope; `None` without a subject, which no statement may lack.
pub fn attest(report: &Report, key: &Key) -> Option<String> {
    let subjects = report.policies.iter().any(|p| p.verified.is_some() || !p.bound.is_empty());
    subjects.then(|| format!("{}\n", emit_envelope(&key.sign(PAYLOAD_TYPE, statement(report).into_bytes()))))
}
