//! SARIF 2.1.0. Untrusted.
//!
//! # References
//! OASIS, Static Analysis Results Interchange Format 2.1.0, sections 3.11.5 and 3.11.6 (messages), 3.27 (results).

use serde_json::{Value, json};

use super::super::report::{Finding, Kind, Report};
use super::json::{called, number};
use super::{fingerprint, printable, rules_file, sentence};

/// A plain text message: brackets would be a link, braces a placeholder.
fn message(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '\\' | '[' | ']' => out.extend(['\\', c]),
            '{' | '}' => out.extend([c, c]),
            _ => out.push(c),
        }
    }
    out
}

/// A path as a URI reference: RFC 3986's unreserved characters and `/`, all else by bytes.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    if path.starts_with('/') { format!("file://{out}") } else { out }
}

/// The report.
pub fn emit(report: &Report) -> Value {
    let rules: Vec<Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            json!({"id": kind.code(), "name": kind.code(), "shortDescription": {"text": kind.title()},
                   "defaultConfiguration": {"level": "error"}})
        })
        .collect();
    let file = uri(&rules_file(report));
    let results: Vec<Value> = report.findings().map(|finding| result(finding, &file)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "secateur gate", "version": env!("CARGO_PKG_VERSION"),
                                "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules}},
            // An exit code above 1 says that something could not be decided.
            "invocations": [{"executionSuccessful": report.exit_code() <= 1, "exitCode": report.exit_code()}],
            "results": results,
        }],
    })
}

fn result(finding: &Finding, file: &str) -> Value {
    let level = if finding.excepted.is_some() { "warning" } else { "error" };
    let policy = finding.policy.as_ref().map(|p| format!("{p}/")).unwrap_or_default();
    let words = format!("{policy}{}: {}. To do: {}", finding.test, sentence(finding), finding.advice);
    let index = Kind::ALL.iter().position(|kind| *kind == finding.kind);
    let mut result = json!({
        "ruleId": finding.kind.code(), "ruleIndex": index, "level": level, "message": {"text": message(&words)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": finding.line.max(1)}}}],
        "partialFingerprints": {"secateurGate/v1": fingerprint(finding)},
        "properties": {"test": finding.test, "policy": finding.policy, "mask": finding.mask, "state": finding.state,
                       "output": finding.output, "called": finding.called.as_ref().map(called), "have": finding.have.as_ref().map(number),
                       "need": finding.need.as_ref().map(number)},
    });
    if let Some(reason) = &finding.excepted {
        result["suppressions"] = json!([{"kind": "external", "justification": printable(reason)}]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_no_links_and_no_placeholders() {
        assert_eq!(message("[a](b) {0} \\"), "\\[a\\](b) {{0}} \\\\");
    }

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("a b/%2e:c#d?e"), "a%20b/%252e%3Ac%23d%3Fe");
        assert_eq!(uri("/a/\u{e9}"), "file:///a/%C3%A9");
    }
}
