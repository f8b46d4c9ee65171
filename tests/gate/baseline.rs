//! What was accepted before: its file, git revisions, certificates; worse, risen, not comparable.

use std::path::Path;
use std::process::Command;

use secateur_checker::family::Family;
use secateur_testkit::problem::{Spec, WITNESS, certify_with, key, linf};
use secateur_testkit::programs::run;
use serde_json::Value;

use super::support::{Gated, TWO, codes, findings, gated, gated_by};

const RULE: &str = "[[rule]]\nid = \"r\"\nquantity = \"total-variation\"\nworse-by = \"0\"\n";

fn accepted(gated: &Gated) -> Value {
    let ran = gated.gate(&["accept"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    read(gated)
}

fn read(gated: &Gated) -> Value {
    let bytes = std::fs::read(gated.path("secateur.baseline.json")).expect("a baseline");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn replace(gated: &Gated, document: &Value) {
    std::fs::write(gated.path("secateur.baseline.json"), document.to_string()).expect("written");
}

fn git(root: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(root).args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "init.defaultBranch=main",
    ]);
    let ran = run(command.args(arguments));
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_missing_baseline_is_an_error() {
    let gated = gated(&TWO);
    assert_eq!(gated.codes(RULE, &[]), (vec!["no-baseline".to_owned()], 2));
    accepted(&gated);
    assert_eq!(codes(&gated.report(&[]).0), Vec::<String>::new());
    let mut document = read(&gated);
    document["policies"] = serde_json::json!({});
    replace(&gated, &document);
    assert_eq!(gated.codes(RULE, &[]), (vec!["no-baseline".to_owned()], 2), "it does not have this policy");
    document["schema"] = "secateur.baseline/2".into();
    replace(&gated, &document);
    assert_eq!(gated.gate(&[]).code, 2);
}

/// Only a person accepts; and only what the check accepts.
#[test]
fn ci_accepts_nothing() {
    let gated = gated(&TWO);
    gated.write(RULE);
    let ran = run(gated.command(&["accept"]).env("CI", "true"));
    assert!(ran.code == 2 && ran.stderr.contains("by a person"), "{ran:?}");
    assert!(!gated.path("secateur.baseline.json").exists());
    gated.problem.resign(&key(2), |_| {});
    let ran = gated.gate(&["accept"]);
    assert!(ran.code == 3 && ran.stderr.contains("rejected"), "{ran:?}");
    assert!(!gated.path("secateur.baseline.json").exists());
}

/// The same bounds pass; a lower baseline tells a bound that rose from a policy that is proved worse.
#[test]
fn worse_is_proved_or_only_a_bound() {
    let gated = gated_by(&Spec::small(1), &TWO, true);
    gated.write(RULE);
    let mut document = accepted(&gated);
    assert_eq!(gated.report(&[]).1, 0);
    let numbers = document["policies"]["p"]["masks"][1]["quantities"]["total-variation"].clone();
    let least: secateur_checker::number::Rational =
        secateur_checker::number::Rational::parse(numbers["atLeast"].as_str().expect("from below"))
            .expect("a number");
    let half = |n: &secateur_checker::number::Rational| {
        n.div(&secateur_checker::number::Rational::from_integer(2.into())).expect("not 0").to_string()
    };
    // Between what is reached and what is certified: nothing is proved.
    document["policies"]["p"]["masks"][1]["quantities"]["total-variation"]["best"] = least.to_string().into();
    replace(&gated, &document);
    let (report, code) = gated.report(&[]);
    assert_eq!((codes(&report), code), (vec!["bound-rose".to_owned()], 1));
    assert_eq!(findings(&report)[0]["mask"], 1);
    // Below what is reached.
    document["policies"]["p"]["masks"][1]["quantities"]["total-variation"]["best"] = half(&least).into();
    replace(&gated, &document);
    let (report, code) = gated.report(&[]);
    assert_eq!((codes(&report), code), (vec!["proved-worse".to_owned()], 1));
    assert_eq!(findings(&report)[0]["need"]["exact"], half(&least));
    let roomy = RULE.replace("\"0\"", "\"1\"");
    assert_eq!(gated.codes(&roomy, &[]), (vec![], 0), "so much worse is allowed");
    assert_eq!(gated.codes(&RULE.replace("\"0\"", "\"99999%\""), &[]).1, 0);
    assert_eq!(gated.codes(&RULE.replace("\"0\"", "\"1%\""), &[]).1, 1);
    gated.write(&RULE.replace("\"0\"", "\"-1\""));
    assert_eq!(gated.gate(&[]).code, 2);
}

/// Other states, another adversary, another head, and bounds by weaker means are not compared.
#[test]
fn what_is_not_comparable_is_not_compared() {
    let gated = gated(&TWO);
    gated.write(RULE);
    let good = accepted(&gated);
    let change = |at: &str, to: Value| {
        let mut document = good.clone();
        *document.pointer_mut(&format!("/policies/p{at}")).expect(at) = to;
        replace(&gated, &document);
        codes(&gated.report(&[]).0)
    };
    assert_eq!(change("/about/radius", "1/10".into()), ["not-comparable"]);
    assert_eq!(change("/about/state-count", 1.into()), ["not-comparable"]);
    assert_eq!(change("/about/states", "0".repeat(64).into()), ["not-comparable"]);
    assert_eq!(change("/head", "categorical".into()), ["not-comparable"]);
    assert_eq!(change("/outputs", 3.into()), ["not-comparable"]);
    assert_eq!(change("/masks", serde_json::json!([])), ["not-comparable"]);
    replace(&gated, &good);
    let weaker =
        certify_with(gated.root(), &[Family::Sensitivity], &linf("1/20"), &key(1), false).expect("certified");
    weaker.write(&gated.problem.certificate_file(), WITNESS).expect("written");
    let (report, code) = gated.report(&[]);
    assert_eq!((codes(&report), code), (vec!["not-comparable".to_owned()], 1));
    assert!(findings(&report)[0]["says"].as_str().expect("words").contains("rests on ibp"), "{report}");
}

#[test]
fn a_revision_or_a_certificate_is_a_baseline() {
    let gated = gated(&TWO);
    gated.write(RULE);
    let good = accepted(&gated);
    git(gated.root(), &["init", "-q"]);
    git(gated.root(), &["add", "."]);
    git(gated.root(), &["commit", "-q", "-m", "a"]);
    // In the working tree, everything is accepted; the revision is what counts.
    let mut lower = good.clone();
    lower["policies"]["p"]["masks"][0]["quantities"]["total-variation"]["best"] = "0".into();
    replace(&gated, &lower);
    assert_eq!(codes(&gated.report(&[]).0), ["bound-rose"]);
    assert_eq!(gated.report(&["--baseline-rev", "main"]).1, 0);
    assert_eq!(gated.report(&["--baseline-rev", "HEAD"]).1, 0);
    for rev in ["nothing", "--output=x", "main:x", ""] {
        let ran = gated.gate(&[&format!("--baseline-rev={rev}")]);
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    assert_eq!(gated.report(&["--baseline", "c.cert.dsse.json", "--baseline-rev", "main"]).1, 0);
    assert_eq!(gated.report(&["--baseline", "c.cert.dsse.json"]).1, 0);
    std::fs::copy(gated.path("c.cert.dsse.json"), gated.path("old.json")).expect("copied");
    gated.problem.resign(&key(2), |_| {});
    std::fs::rename(gated.path("c.cert.dsse.json"), gated.path("forged.json")).expect("moved");
    std::fs::rename(gated.path("old.json"), gated.path("c.cert.dsse.json")).expect("moved");
    let ran = gated.gate(&["--baseline", "forged.json"]);
    assert!(ran.code == 3 && ran.stderr.contains("rejected"), "{ran:?}");
    assert_eq!(gated.gate(&["--baseline", "not-there.json"]).code, 2);
}
