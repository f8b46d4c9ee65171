//! A report in the formats that people and their tools read. Untrusted. `spec/gate.md#output`.
//!
//! Every text first becomes printable ASCII, so that no terminal sequence, line break, look-alike or right-to-left mark is
//! left of it; then each format escapes what it gives a meaning to.

pub mod attest;
pub mod github;
pub mod gitlab;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sarif;
pub mod text;

use std::path::Path;

use secateur_checker::reader::digest::sha256_hex;

use super::report::{Finding, Report};
use crate::settings::printable;

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// GitHub's annotations.
    Github,
    /// GitLab's code quality report.
    Gitlab,
    /// A comment or a summary.
    Markdown,
}

impl OutputFormat {
    /// Every format with its word.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Text, "text"),
        (Self::Json, "json"),
        (Self::Sarif, "sarif"),
        (Self::Junit, "junit"),
        (Self::Github, "github"),
        (Self::Gitlab, "gitlab"),
        (Self::Markdown, "markdown"),
    ];

    /// The format with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(format, _)| *format)
    }

    /// The report in this format, ending in a line feed.
    pub fn emit(self, report: &Report) -> String {
        match self {
            Self::Text => text::emit(report),
            Self::Json => pretty(&json::emit(report)),
            Self::Sarif => pretty(&sarif::emit(report)),
            Self::Junit => junit::emit(report),
            Self::Github => github::emit(report),
            Self::Gitlab => pretty(&gitlab::emit(report)),
            Self::Markdown => markdown::emit(report),
        }
    }
}

fn pretty(document: &serde_json::Value) -> String {
    format!("{document:#}\n")
}

/// What a finding says, with its numbers, in one line.
pub fn sentence(finding: &Finding) -> String {
    let mut text = printable(&finding.says);
    for (word, number) in [("have", &finding.have), ("need", &finding.need)] {
        let Some(number) = number else { continue };
        let unit = finding.called.as_ref().and_then(|called| number.in_unit(called));
        let unit = unit.map_or_else(String::new, |unit| format!(", that is {unit}"));
        text.push_str(&format!("; {word} {}{unit}", number.words()));
    }
    let place = finding.place();
    if !place.is_empty() {
        text.push_str(&format!("; {place}"));
    }
    if let Some(reason) = &finding.excepted {
        text.push_str(&format!("; excepted: {}", printable(reason)));
    }
    text
}

/// Names a finding for tools that follow it over runs; no number of it counts.
pub fn fingerprint(finding: &Finding) -> String {
    sha256_hex(finding.identity().as_bytes())
}

/// The path as tools compare it: with `/`, and relative if it was named so.
pub fn slashes(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "/");
    text.strip_prefix("./").map(str::to_owned).unwrap_or(text)
}

/// The file that the rules stand in.
fn rules_file(report: &Report) -> String {
    report.configuration.first().map(|file| slashes(&file.path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_printable_ascii_is_left() {
        let text = printable("a\u{1b}[2J\n::error\u{202e}\u{2028}\u{e9}\u{7f}");
        assert_eq!(text, "a\\u{1b}[2J\\n::error\\u{202e}\\u{2028}\\u{e9}\\u{7f}");
        assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()));
    }
}
