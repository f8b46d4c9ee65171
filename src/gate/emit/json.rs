//! The report for programs. `spec/gate.md#json`.

use secateur_checker::reader::names::OutputName;
use serde_json::{Value, json};

use super::super::report::{Finding, Number, PolicyReport, Report, Test};
use super::{fingerprint, printable, slashes};

/// Value of `schema`.
pub const SCHEMA: &str = "secateur.gate-report/1";

/// The report.
pub fn emit(report: &Report) -> Value {
    json!({
        "schema": SCHEMA,
        "result": report.ended().word(),
        "exitCode": report.exit_code(),
        "today": report.today.to_string(),
        "configuration": report.configuration.iter()
            .map(|file| json!({"path": printable(&slashes(&file.path)), "sha256": file.sha256})).collect::<Vec<_>>(),
        "policies": report.policies.iter().map(policy).collect::<Vec<_>>(),
        "tests": report.tests.iter().map(test).collect::<Vec<_>>(),
    })
}

fn policy(policy: &PolicyReport) -> Value {
    let bound: Vec<Value> = policy
        .bound
        .iter()
        .map(|b| json!({"path": printable(&slashes(&b.path)), "sha256": b.sha256, "mask": b.mask, "absent": b.absent}))
        .collect();
    let verified = policy.verified.as_ref().map(|v| {
        let signers: Vec<Value> = v.signers.iter().map(|(name, keyid)| json!({"name": printable(name), "keyid": keyid})).collect();
        let files: Vec<Value> = v.files.iter().map(|(name, sha256)| json!({"name": name, "sha256": sha256})).collect();
        json!({"policyDigest": v.policy_digest, "files": files, "certificate": v.certificate, "signers": signers,
               "adversary": v.adversary, "states": v.states, "masks": v.masks})
    });
    json!({"name": policy.name, "verified": verified, "bound": bound})
}

fn test(test: &Test) -> Value {
    json!({"name": test.full_name(), "result": test.ended().word(), "compared": test.margin,
           "findings": test.findings.iter().map(finding).collect::<Vec<_>>()})
}

/// A number as a JSON number, a decimal and exactly.
pub fn number(number: &Number) -> Value {
    let decimal = number.decimal();
    json!({"number": decimal.parse::<f64>().ok().filter(|n| n.is_finite()), "decimal": decimal,
           "exact": number.exact.to_string()})
}

/// An output as the policy calls it: a change of 1 is `scale` of the unit.
pub fn called(named: &OutputName) -> Value {
    json!({"name": named.name, "unit": named.unit, "scale": named.scale.as_ref().map(ToString::to_string)})
}

fn finding(finding: &Finding) -> Value {
    json!({"code": finding.kind.code(), "says": printable(&finding.says), "do": printable(&finding.advice), "mask": finding.mask,
           "state": finding.state, "output": finding.output, "called": finding.called.as_ref().map(called), "have": finding.have.as_ref().map(number),
           "need": finding.need.as_ref().map(number), "line": finding.line, "excepted": finding.excepted.as_deref().map(printable),
           "exitCode": finding.kind.exit_code(), "fingerprint": fingerprint(finding)})
}
