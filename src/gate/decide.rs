//! Rules against evidence. Every comparison is of exact rationals; nothing here can make a bound better than the checker
//! accepted it. Untrusted. `spec/gate.md#rules`.

mod case;
mod exceptions;

use secateur_checker::load::Failure;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::escaped::Escaped;

use super::GateError;
use super::about::About;
use super::baseline::{Baseline, BaselineSource};
use super::bind::{BindError, BoundFile, bind};
use super::config::{Bound, Gate, PolicyEntry, Rule};
use super::date::Day;
use super::evidence::{Evidence, gather, paths_of};
use super::report::{ConfigFile, Finding, Kind, PolicyReport, Report, Test, VerifiedReport};
use crate::mismatch::explain;
use crate::progress::Progress;
use crate::settings::{line_of, printable};
use case::Case;
use exceptions::except;

/// What a run of a gate is told besides its file.
#[derive(Clone, Debug)]
pub struct Run {
    /// The day that exceptions are compared with.
    pub today: Day,
    /// Where the baseline is.
    pub baseline: BaselineSource,
    /// Deployed files of the only policy, beside those of the file.
    pub bind: Vec<Bound>,
}

/// Checks every policy and decides every rule.
///
/// # Errors
/// [`GateError`] for what is wrong before anything can be decided; what is wrong with evidence is a finding.
pub fn run(gate: &Gate, run: &Run, progress: &dyn Progress) -> Result<Report, GateError> {
    if !run.bind.is_empty() && gate.policies.len() > 1 {
        let reason = "--bind needs a gate of one policy; write bind = [...] into its [[policy]]".to_owned();
        return Err(GateError::Config { path: gate.path.clone(), reason });
    }
    let mut report = Report {
        today: run.today,
        configuration: vec![ConfigFile { path: gate.path.clone(), sha256: sha256_hex(gate.text.as_bytes()) }],
        policies: Vec::new(),
        tests: Vec::new(),
    };
    let baseline = if gate.rules.iter().any(Rule::needs_baseline) {
        let (read, files) = Baseline::load(gate, &run.baseline)?.unzip();
        report.configuration.extend(files.into_iter().flatten());
        read
    } else {
        None
    };
    let mut certificates = Vec::new();
    for entry in &gate.policies {
        let name = entry.name.get_ref();
        let line = line_of(&gate.text, entry.name.span().start);
        let gathered = gather(gate, entry, &mut |done, total| progress.advance("checking", done, total));
        let rejected = |failure: &Failure| rejected(gate, entry, line, failure);
        let mut check =
            Test { name: "check".to_owned(), policy: Some(name.clone()), findings: Vec::new(), margin: None };
        let mut said = PolicyReport { name: name.clone(), verified: None, bound: Vec::new() };
        match &gathered {
            Ok(evidence) => {
                certificates.push((name.clone(), evidence.certificate_sha256()));
                said.verified = Some(verified_report(evidence));
            }
            Err(failure) => check.findings.push(rejected(failure)),
        }
        report.tests.push(check);
        if let Ok(evidence) = &gathered {
            let files = entry.bind.iter().map(|b| Bound { file: gate.place(&b.file), mask: b.mask });
            let files: Vec<Bound> = files.chain(run.bind.iter().cloned()).collect();
            if !files.is_empty() {
                let (test, bound) = bind_all(name, line, &files, evidence);
                report.tests.push(test);
                said.bound = bound;
            }
        }
        match &gathered {
            Ok(evidence) => report.tests.extend(rules(gate, entry, evidence, baseline.as_ref())),
            Err(failure) => {
                let kind = rejected(failure).kind;
                let about = gate.rules.iter().filter(|rule| rule.is_about(name));
                report.tests.extend(about.map(|rule| undecided(rule, name, kind)));
            }
        }
        report.policies.push(said);
    }
    let exceptions = except(gate, run.today, &certificates, &mut report.tests);
    if !gate.exceptions.is_empty() {
        report.tests.push(exceptions);
    }
    Ok(report)
}

/// Decides the rules about one policy, whose evidence was checked.
pub fn rules(
    gate: &Gate,
    entry: &PolicyEntry,
    evidence: &Evidence,
    baseline: Option<&Baseline>,
) -> Vec<Test> {
    let name = entry.name.get_ref();
    let accepted = baseline.map(|b| b.policies.get(name));
    let about = gate.rules.iter().filter(|rule| rule.is_about(name));
    about.map(|rule| Case { entry, evidence, rule, name }.decide(accepted)).collect()
}

fn verified_report(evidence: &Evidence) -> VerifiedReport {
    let about = About::of(evidence.certificate());
    VerifiedReport {
        policy_digest: evidence.policy_digest(),
        files: evidence.policy_files().into_iter().map(|f| (f.name, f.sha256)).collect(),
        certificate: evidence.certificate_sha256(),
        signers: evidence.signers().iter().map(|s| (s.name().to_owned(), s.keyid().to_owned())).collect(),
        adversary: about.adversary_words(),
        states: about.state_words(),
        masks: evidence.certificate().masks.len(),
    }
}

/// A finding about nothing in particular yet.
fn finding(test: &str, policy: Option<&str>, line: usize, kind: Kind, says: String, advice: &str) -> Finding {
    Finding {
        test: test.to_owned(),
        policy: policy.map(str::to_owned),
        kind,
        mask: None,
        state: None,
        output: None,
        called: None,
        have: None,
        need: None,
        says,
        advice: advice.to_owned(),
        line,
        excepted: None,
    }
}

fn rejected(gate: &Gate, entry: &PolicyEntry, line: usize, failure: &Failure) -> Finding {
    let (kind, advice) = match failure.exit_code() {
        4 => (Kind::LimitReached, "check it with `secateur check`, which shows how far it comes"),
        3 => (
            Kind::Rejected,
            "certify these files again; if somebody handed the certificate over, do not use what it is about",
        ),
        _ => (Kind::Unreadable, "correct the path in secateur.toml, or fetch the file again"),
    };
    let says = format!("{failure}{}", explain(failure, &paths_of(gate, entry)));
    finding("check", Some(entry.name.get_ref()), line, kind, says, advice)
}

/// The test of a rule whose policy has no accepted certificate: it fails with it.
fn undecided(rule: &Rule, policy: &str, kind: Kind) -> Test {
    let says = "not decided: the policy has no accepted certificate".to_owned();
    let found = finding(&rule.id, Some(policy), rule.line, kind, says, "see the test check");
    Test { name: rule.id.clone(), policy: Some(policy.to_owned()), findings: vec![found], margin: None }
}

fn bind_all(policy: &str, line: usize, files: &[Bound], evidence: &Evidence) -> (Test, Vec<BoundFile>) {
    let mut test =
        Test { name: "bind".to_owned(), policy: Some(policy.to_owned()), findings: Vec::new(), margin: None };
    let mut bound = Vec::new();
    for Bound { file, mask } in files {
        match bind(file, *mask, evidence.policy(), evidence.masks()) {
            Ok(file) => bound.push(file),
            Err(error) => {
                let kind = match error {
                    BindError::Import(_) | BindError::NoPolicy(_) => Kind::BindUnreadable,
                    _ => Kind::BindDiffers,
                };
                let says = format!("{}: {}", Escaped(&file.to_string_lossy()), printable(&error.to_string()));
                let advice = "ship what `secateur export --mask K` writes, or certify what is shipped";
                let mut found = finding("bind", Some(policy), line, kind, says, advice);
                found.mask = *mask;
                test.findings.push(found);
            }
        }
    }
    (test, bound)
}
