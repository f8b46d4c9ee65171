//! Violations that somebody answers for, until a day. Untrusted. `spec/gate.md#exceptions`.

use super::finding;
use crate::gate::config::{Exception, Gate, MAX_DAYS};
use crate::gate::date::Day;
use crate::gate::report::{Kind, Test};

/// Excuses what the exceptions name, and says what is wrong with them.
pub(super) fn except(gate: &Gate, today: Day, certificates: &[(String, String)], tests: &mut [Test]) -> Test {
    let mut test = Test { name: "exceptions".to_owned(), policy: None, findings: Vec::new(), margin: None };
    for exception in &gate.exceptions {
        let Exception { rule, certificate, reason, expires, line } = exception;
        let mut fail = |kind, says, advice| {
            test.findings.push(finding("exceptions", None, *line, kind, says, advice));
        };
        if today.until(*expires) < 0 {
            let says = format!("the exception from rule {rule} ended on {expires}");
            fail(Kind::ExceptionExpired, says, "mend what it excused, or write a new one in review");
            continue;
        }
        if today.until(*expires) > MAX_DAYS {
            let says =
                format!("the exception from rule {rule} ends on {expires}, more than {MAX_DAYS} days away");
            fail(Kind::ExceptionTooLong, says, "give it a nearer end");
            continue;
        }
        let named: Vec<&String> =
            certificates.iter().filter(|(_, sha256)| sha256 == certificate).map(|(name, _)| name).collect();
        let mut used = false;
        for test in tests
            .iter_mut()
            .filter(|t| t.name == *rule && t.policy.as_ref().is_some_and(|p| named.contains(&p)))
        {
            for found in test.findings.iter_mut().filter(|f| f.kind.may_be_excepted() && f.excepted.is_none())
            {
                found.excepted = Some(reason.clone());
                used = true;
            }
        }
        if !used {
            let says = format!(
                "the exception from rule {rule} excuses nothing: the rule holds, or the certificate is another"
            );
            fail(Kind::ExceptionUnused, says, "remove it");
        }
    }
    test
}
