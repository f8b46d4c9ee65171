//! JUnit XML: a failure where a rule does not hold, an error where there is nothing to decide on. Untrusted.

use super::super::report::{Ended, Report, Standing, Test};
use super::{printable, sentence};

/// Text or an attribute's value.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            _ => out.push(c),
        }
    }
    out
}

/// Whether a failed test is an error, not a failure.
fn is_error(test: &Test) -> bool {
    let open = test.findings.iter().filter(|f| f.excepted.is_none());
    open.into_iter().any(|f| f.kind.standing() == Standing::Evidence)
}

fn count(tests: &[&Test], error: bool) -> usize {
    tests.iter().filter(|t| t.ended() == Ended::Failed && is_error(t) == error).count()
}

/// The report.
pub fn emit(report: &Report) -> String {
    let all: Vec<&Test> = report.tests.iter().collect();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"secateur gate\" tests=\"{}\" failures=\"{}\" \
         errors=\"{}\" time=\"0\">\n",
        all.len(),
        count(&all, false),
        count(&all, true)
    );
    let mut suites: Vec<Option<&str>> = Vec::new();
    for test in &all {
        if !suites.contains(&test.policy.as_deref()) {
            suites.push(test.policy.as_deref());
        }
    }
    for suite in suites {
        let tests: Vec<&Test> = all.iter().filter(|t| t.policy.as_deref() == suite).copied().collect();
        text.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"0\" time=\"0\">\n",
            escape(suite.unwrap_or("gate")),
            tests.len(),
            count(&tests, false),
            count(&tests, true)
        ));
        tests.iter().for_each(|test| text.push_str(&case(test, suite.unwrap_or("gate"))));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn case(test: &Test, suite: &str) -> String {
    let head = format!(
        "    <testcase classname=\"secateur.gate.{}\" name=\"{}\" time=\"0\"",
        escape(suite),
        escape(&test.name)
    );
    let lines: Vec<String> = test
        .findings
        .iter()
        .map(|f| format!("{}: {}\ndo: {}", f.kind.code(), escape(&sentence(f)), escape(&f.advice)))
        .collect();
    let body = lines.join("\n");
    match test.ended() {
        Ended::Passed => format!("{head}/>\n"),
        Ended::Warned => format!("{head}>\n      <system-out>{body}</system-out>\n    </testcase>\n"),
        Ended::Failed => {
            let element = if is_error(test) { "error" } else { "failure" };
            let open = test.findings.iter().find(|f| f.excepted.is_none());
            let (kind, says) = open.map_or(("", String::new()), |f| (f.kind.code(), sentence(f)));
            let says = escape(&says);
            format!(
                "{head}>\n      <{element} type=\"{kind}\" message=\"{says}\">{body}</{element}>\n    </testcase>\n"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(
            escape("</failure><x a='\"'>&\u{0}\u{202e}]]>"),
            "&lt;/failure&gt;&lt;x a=&apos;&quot;&apos;&gt;&amp;\\u{0}\\u{202e}]]&gt;"
        );
    }
}
