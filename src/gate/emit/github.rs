//! GitHub's workflow commands: an annotation for each finding. The step summary is the Markdown report. Untrusted.
//!
//! # References
//! GitHub Docs, Workflow commands for GitHub Actions; actions/toolkit, `packages/core/src/command.ts` (what is escaped).

use super::super::report::Report;
use super::text::headline;
use super::{printable, rules_file, sentence};

fn data(text: &str) -> String {
    printable(text).replace('%', "%25")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The report: the last line is no command.
pub fn emit(report: &Report) -> String {
    let file = property(&rules_file(report));
    let mut text = String::new();
    for finding in report.findings() {
        let level = if finding.excepted.is_some() { "warning" } else { "error" };
        let policy = finding.policy.as_ref().map(|p| format!("{p}/")).unwrap_or_default();
        let title = property(&format!("{policy}{} ({})", finding.test, finding.kind.code()));
        let says = data(&format!("{}. To do: {}", sentence(finding), finding.advice));
        text.push_str(&format!("::{level} file={file},line={},title={title}::{says}\n", finding.line.max(1)));
    }
    text.push_str(&format!("{}\n", headline(report)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_command_or_ends_a_property() {
        assert_eq!(data("a\n::error::b%0A\r"), "a\\n::error::b%250A\\r");
        assert_eq!(property("x,line=1::y%2C"), "x%2Cline=1%3A%3Ay%252C");
    }
}
