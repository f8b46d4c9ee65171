//! The report for people: the verdict first, then what failed, then the rest.

use super::super::report::{Ended, Finding, Report};
use super::{printable, sentence};

/// The words of a verdict, without its numbers.
pub fn headline(report: &Report) -> String {
    let count = |ended| report.names(ended).len();
    let (failed, warned, all) = (count(Ended::Failed), count(Ended::Warned), report.tests.len());
    let warned = if warned > 0 { format!(", {warned} excepted") } else { String::new() };
    match report.ended() {
        Ended::Failed => {
            format!("gate failed: {failed} of {all} tests{warned} (exit code {})", report.exit_code())
        }
        Ended::Warned => format!("gate passed with exceptions: {all} tests{warned}"),
        Ended::Passed => format!("gate passed: {all} tests"),
    }
}

/// The report.
pub fn emit(report: &Report) -> String {
    let mut text = format!("{}\n", headline(report));
    for policy in &report.policies {
        let name = printable(&policy.name);
        let Some(verified) = &policy.verified else {
            text.push_str(&format!("policy   {name}: not verified\n"));
            continue;
        };
        text.push_str(&format!("policy   {name}: verified, {}\n", verified.policy_digest));
        text.push_str(&format!("         certificate sha256:{}\n", verified.certificate));
        text.push_str(&format!("         adversary {}\n", printable(&verified.adversary)));
        text.push_str(&format!("         states {}\n", printable(&verified.states)));
        match verified.signers.as_slice() {
            [] => text.push_str("         unsigned: no signature was checked\n"),
            signers => {
                for (name, keyid) in signers {
                    text.push_str(&format!("         signed by {} {keyid}\n", printable(name)));
                }
            }
        }
        for bound in &policy.bound {
            let file = printable(&bound.path.to_string_lossy());
            text.push_str(&format!(
                "         {file} is mask {} of it, sha256:{}\n",
                bound.mask, bound.sha256
            ));
            for part in &bound.absent {
                text.push_str(&format!(
                    "         {file} does not hold its {part}: whoever runs it adds it\n"
                ));
            }
        }
    }
    let order = [Ended::Failed, Ended::Warned, Ended::Passed];
    for test in order.iter().flat_map(|ended| report.tests.iter().filter(move |t| t.ended() == *ended)) {
        let margin = test.margin.as_ref().map(|m| format!(": {}", printable(m))).unwrap_or_default();
        let ended = test.ended();
        let margin = if ended == Ended::Passed { margin } else { String::new() };
        text.push_str(&format!("{:<8} {}{margin}\n", ended.word(), printable(&test.full_name())));
        test.findings.iter().for_each(|finding| text.push_str(&lines(finding)));
    }
    text
}

fn lines(finding: &Finding) -> String {
    let advice = printable(&finding.advice);
    format!("         {}: {}\n         do: {advice}\n", finding.kind.code(), sentence(finding))
}
