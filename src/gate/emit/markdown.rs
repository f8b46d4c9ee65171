//! The report as Markdown, for a comment or a step summary. Untrusted.
//!
//! # References
//! CommonMark 0.31, section 2.5: entities stand for characters, never for structure. GitHub's own filters (mentions, issues,
//! links) look at text nodes after that, which the empty element splits.

use super::super::report::{Ended, Report};
use super::text::headline;
use super::{printable, sentence};

/// Text that is nothing but text: every character that may have a meaning as an entity.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | ' ' | ',' | ';' | '/' => out.push(c),
            // Of addresses, mentions, issues and links, which are found after entities are read.
            '@' | '#' | ':' => out.push_str(&format!("<span>&#{};</span>", u32::from(c))),
            _ => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out
}

/// The report.
pub fn emit(report: &Report) -> String {
    let mut text = format!("### {}\n\n", escape(&headline(report)));
    text.push_str("| Test | Result | What | To do |\n|---|---|---|---|\n");
    let order = [Ended::Failed, Ended::Warned, Ended::Passed];
    for test in order.iter().flat_map(|ended| report.tests.iter().filter(move |t| t.ended() == *ended)) {
        let (name, word) = (escape(&test.full_name()), test.ended().word());
        if test.findings.is_empty() {
            let margin = test.margin.as_deref().map(escape).unwrap_or_default();
            text.push_str(&format!("| {name} | {word} | {margin} |  |\n"));
        }
        for finding in &test.findings {
            let word = if finding.excepted.is_some() { "warned" } else { "failed" };
            let says = format!("{}: {}", finding.kind.code(), sentence(finding));
            text.push_str(&format!(
                "| {name} | {word} | {} | {} |\n",
                escape(&says),
                escape(&finding.advice)
            ));
        }
    }
    for policy in &report.policies {
        let name = escape(&policy.name);
        let Some(verified) = &policy.verified else {
            text.push_str(&format!("\n**{name}**: not verified\n"));
            continue;
        };
        text.push_str(&format!(
            "\n**{name}**: verified, {}; certificate sha256 {}; adversary {}; states {}\n",
            escape(&verified.policy_digest),
            verified.certificate,
            escape(&verified.adversary),
            escape(&verified.states)
        ));
        for bound in &policy.bound {
            let file = escape(&bound.path.to_string_lossy());
            text.push_str(&format!("\n{file} is mask {} of it, sha256 {}\n", bound.mask, bound.sha256));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_markdown_or_html_is_left() {
        let hostile = "<img src=x> [a](javascript:b) **c** | `d` @root #1 https://e.f\n# g";
        let text = escape(hostile);
        for found in ["<img", "](", "**", "|", "`", "@root", " #1", "://", "\n"] {
            assert!(!text.contains(found), "{found} in {text}");
        }
    }
}
