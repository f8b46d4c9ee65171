//! GitLab's code quality report. Untrusted.
//!
//! # References
//! GitLab Docs, Code Quality, "Code Quality report format".

use serde_json::{Value, json};

use super::super::report::{Finding, Kind, Report};
use super::{fingerprint, printable, rules_file, sentence};

fn severity(finding: &Finding) -> &'static str {
    match finding.kind {
        _ if finding.excepted.is_some() => "info",
        Kind::Rejected | Kind::BindDiffers | Kind::SignerMissing => "blocker",
        Kind::ProvedWorse | Kind::ProvedHarm => "critical",
        Kind::ExceptionUnused | Kind::ExceptionTooLong => "minor",
        _ => "major",
    }
}

/// The report: an array with an entry for each finding.
pub fn emit(report: &Report) -> Value {
    let path = printable(&rules_file(report));
    let entries = report.findings().map(|finding| {
        let policy = finding.policy.as_ref().map(|p| format!("{p}/")).unwrap_or_default();
        let words = format!("{policy}{}: {}", finding.test, sentence(finding));
        json!({"description": words, "check_name": finding.kind.code(), "fingerprint": fingerprint(finding),
               "severity": severity(finding), "location": {"path": path, "lines": {"begin": finding.line.max(1)}}})
    });
    Value::Array(entries.collect())
}
