//! `show --format snapshot`: lines that version control compares, and `git diff` with it. `spec/snapshot.md`.

use std::path::Path;
use std::process::Command;

use secateur_checker::family::Family;
use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{Problem, Spec, key, rational};
use secateur_testkit::programs::{Ran, run, secateur};
use tempfile::TempDir;

/// A name that does harm wherever it is not escaped.
pub const HOSTILE: &str =
    "\u{1b}[2J\n::error::x\r##[group]`|</td><script>[a](http://x)\u{202e}\u{2028}*_@all$(id)\"'\\";

pub fn assert_harmless(text: &str) {
    assert!(text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{text:?}");
    assert!(!text.contains("##["), "{text}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{text}");
}

fn certified() -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    problem.certify_to_disk(&[Family::Sensitivity, Family::Ibp], &key(1));
    (folder, problem)
}

fn snapshot(folder: &Path) -> Ran {
    run(secateur(folder).args(["show", "--format", "snapshot", "c.cert.dsse.json"]))
}

/// One number a line; the exact one is what the certificate says.
#[test]
fn every_stated_number_has_a_line() {
    let (folder, problem) = certified();
    let ran = snapshot(folder.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    let certificate = problem.read_certificate();
    let stated: usize = certificate.claims.iter().map(|claim| claim.values.len()).sum();
    let lines = ran.stdout.lines().filter(|line| line.starts_with("mask ") && line.contains(": at "));
    assert_eq!(lines.count(), stated);
    let claim = certificate.claims.iter().find(|c| c.family == "ibp" && c.mask == 1).expect("a claim");
    let value = rational(&claim.values[1]);
    let line = format!(
        "mask 1, ibp, action-deviation, output 0, state 1: at most {}, exactly {value}",
        claim.values[1]
    );
    assert!(ran.stdout.lines().any(|found| found == line), "{line} is not in {}", ran.stdout);
    assert!(!ran.stdout.contains("  ") && !ran.stdout.contains("verified"), "{}", ran.stdout);
}

/// Signed by another key, twice, or with its claims in another order: the same lines.
#[test]
fn keys_and_order_change_nothing() {
    let (folder, problem) = certified();
    let before = snapshot(folder.path()).stdout;
    problem.resign(&key(2), |certificate| {
        certificate.claims.reverse();
        certificate.verdicts.reverse();
        certificate.assumptions.reverse();
    });
    assert_eq!(snapshot(folder.path()).stdout, before);
}

#[test]
fn words_of_a_stranger_stay_in_their_quotes() {
    let (folder, problem) = certified();
    problem.resign(&key(1), |certificate| {
        certificate.masks[0].name = HOSTILE.to_owned();
        certificate.weights_digest = HOSTILE.to_owned();
        certificate.head = HOSTILE.to_owned();
        certificate.claims[0].family = HOSTILE.to_owned();
        certificate.claims[1].quantity = HOSTILE.to_owned();
        certificate.claims[2].family = "verified".to_owned();
        certificate.verdicts[0].verdict = HOSTILE.to_owned();
        certificate.assumptions.push(HOSTILE.to_owned());
        certificate.limits.push("x".repeat(10_000));
        certificate.seed = HOSTILE.to_owned();
        certificate.inputs[0].role = HOSTILE.to_owned();
    });
    let ran = snapshot(folder.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_harmless(&ran.stdout);
    assert!(ran.stdout.contains("mask 0: \"\\u{1b}[2J\\n::error::x"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\"verified\""), "{}", ran.stdout);
    assert!(ran.stdout.contains("(cut; 10000 bytes, sha256:"), "{}", ran.stdout);
}

/// What a stranger's certificate says of its size costs nothing.
#[test]
fn a_huge_count_is_refused() {
    let (folder, problem) = certified();
    problem.resign(&key(1), |certificate| certificate.states = usize::MAX);
    let ran = snapshot(folder.path());
    assert!(ran.code == 2 && ran.stderr.contains("method.states"), "{ran:?}");
}

#[test]
fn only_show_prints_snapshots() {
    let (folder, _) = certified();
    let ran = run(secateur(folder.path()).args(["--format", "snapshot", "report", "c.cert.dsse.json"]));
    assert!(ran.code == 2 && ran.stderr.contains("show"), "{ran:?}");
}

/// The two lines of `spec/snapshot.md`, with a real git: a changed number is one line out and one line in.
#[test]
fn git_diff_shows_changed_numbers() {
    let (folder, problem) = certified();
    let root = folder.path();
    let git = |arguments: &[&str]| -> Ran {
        let mut command = Command::new("git");
        command.current_dir(root).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        run(&mut command)
    };
    if Command::new("git").arg("--version").output().is_err() {
        println!("skipped: git is not installed");
        return;
    }
    let page = include_str!("../../spec/snapshot.md");
    let attributes =
        page.lines().map(str::trim).find(|line| line.ends_with("diff=secateur")).expect("the line");
    let config = page
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("git config diff.secateur"))
        .expect("the line");
    assert!(config.ends_with("textconv \"secateur show --format snapshot\""), "{config}");
    assert_eq!(git(&["init", "-q"]).code, 0);
    std::fs::write(root.join(".gitattributes"), format!("{attributes}\n")).expect("written");
    // The program under test instead of an installed one.
    let program = secateur(root).get_program().to_owned();
    let convert = format!("'{}' show --format snapshot", program.to_str().expect("UTF-8"));
    assert_eq!(git(&["config", "diff.secateur.textconv", &convert]).code, 0);
    assert_eq!(git(&["add", "."]).code, 0);
    assert_eq!(git(&["commit", "-q", "-m", "one"]).code, 0);
    let mut words = (String::new(), String::new());
    problem.resign(&key(2), |certificate| {
        let value = &mut certificate.claims[0].values[0];
        let changed = nudged(value, 1);
        words = (format!(", exactly {}", rational(value)), format!(", exactly {}", rational(&changed)));
        *value = changed;
    });
    let diff = git(&["diff"]);
    let changed: Vec<&str> = diff
        .stdout
        .lines()
        .filter(|line| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++"))
        .collect();
    assert_eq!(changed.len(), 2, "{}", diff.stdout);
    let line = "mask 0, sensitivity, action-deviation, output 0: at most ";
    for (changed, (sign, exact)) in changed.iter().zip([("-", words.0), ("+", words.1)]) {
        assert!(
            changed.starts_with(&format!("{sign}{line}")) && changed.ends_with(&exact),
            "{}",
            diff.stdout
        );
    }
}
