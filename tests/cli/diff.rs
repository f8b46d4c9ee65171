//! `secateur diff`: what changed from one certificate to another. `spec/snapshot.md#diff`.

use std::path::Path;

use secateur::certify::emit::{emit_certificate, emit_envelope};
use secateur_checker::family::Family;
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::dsse::{PAYLOAD_TYPE, parse_envelope};
use secateur_checker::reader::regions::{RegionClaim, RegionEntry, Share};
use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{Problem, Spec, certify_with, key, linf, rational};
use secateur_testkit::programs::{Ran, run, secateur};
use serde_json::Value;
use tempfile::TempDir;

use super::snapshot::{HOSTILE, assert_harmless};

/// A problem with `old.json`, and `c.cert.dsse.json` that a test changes.
fn pair() -> (TempDir, Problem) {
    pair_of(&Spec::small(1), &[Family::Sensitivity, Family::Ibp])
}

fn pair_of(spec: &Spec, families: &[Family]) -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), spec);
    problem.certify_to_disk(families, &key(1));
    std::fs::copy(problem.certificate_file(), folder.path().join("old.json")).expect("copied");
    (folder, problem)
}

fn diff(folder: &Path, more: &[&str]) -> Ran {
    run(secateur(folder).args(["diff", "old.json", "c.cert.dsse.json"]).args(more))
}

fn document(folder: &Path, more: &[&str]) -> Value {
    let ran = diff(folder, &[&["--format", "json"], more].concat());
    assert_harmless(&ran.stdout);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn changed(change: impl FnOnce(&mut Certificate)) -> (TempDir, Problem) {
    let (folder, problem) = pair();
    problem.resign(&key(1), change);
    (folder, problem)
}

#[test]
fn the_same_certificate_holds() {
    let (folder, _) = pair();
    let ran = diff(folder.path(), &[]);
    assert!(ran.code == 0 && ran.stdout.contains("worse 0, removed 0"), "{ran:?}");
    assert!(ran.stdout.contains("nothing was checked") && ran.stdout.contains("secateur check"), "{ran:?}");
    let document = document(folder.path(), &[]);
    assert_eq!((&document["holds"], &document["checked"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(document["facts"], Value::Array(Vec::new()));
    assert!(document["compared"].as_u64().expect("a number") > 10);
}

/// A rise in the last digit of one number of one state is a rise, is named, and is tolerated only up to what is asked.
#[test]
fn a_rise_is_exit_code_1() {
    let mut rise = String::new();
    let (folder, _) = changed(|certificate| {
        let claim =
            certificate.claims.iter_mut().find(|c| c.family == "ibp" && c.mask == 2).expect("a claim");
        let value = &mut claim.values[1];
        let before = rational(value);
        *value = nudged(value, 1);
        rise = rational(value).sub(&before).to_string();
    });
    let ran = diff(folder.path(), &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let line = "worse  mask 2, ibp, action-deviation, output 0: rose at 1 of 2 states; most at state 1: ";
    assert!(ran.stdout.lines().any(|found| found.starts_with(line)), "{}", ran.stdout);
    let found = document(folder.path(), &[]);
    let row = &found["rows"][0];
    assert_eq!(
        (&row["change"], &row["rose"], &row["most"]["state"]),
        (&"worse".into(), &1.into(), &1.into())
    );
    assert_eq!(diff(folder.path(), &["--tolerance", &rise]).code, 0, "the tolerance itself is tolerated");
    let less = format!("{rise}0");
    assert_eq!(diff(folder.path(), &["--tolerance", &less]).code, 1, "a tenth of it");
    assert_eq!(document(folder.path(), &["--tolerance", &rise])["counts"]["within the tolerance"], 1);
    for bad in ["-1", "x", "1/0"] {
        assert_eq!(diff(folder.path(), &[&format!("--tolerance={bad}")]).code, 2, "{bad}");
    }
}

#[test]
fn a_fall_is_none() {
    let (folder, _) = changed(|certificate| {
        let value = &mut certificate.claims[0].values[0];
        *value = nudged(value, -1);
    });
    let ran = diff(folder.path(), &[]);
    assert!(
        ran.code == 0
            && ran.stdout.contains("better  mask 0, sensitivity, action-deviation, output 0: fell; "),
        "{ran:?}"
    );
}

/// A margin says how safe a state is: it is worse if it fell.
#[test]
fn a_margin_is_worse_if_it_falls() {
    let (folder, problem) = pair_of(&Spec { gaussian: false, ..Spec::small(1) }, &[Family::Ibp]);
    problem.resign(&key(1), |certificate| {
        let margin =
            certificate.claims.iter_mut().find(|c| c.quantity == "same-action-margin").expect("a margin");
        margin.values[0] = nudged(&margin.values[0], -1);
    });
    let ran = diff(folder.path(), &[]);
    assert!(ran.code == 1 && ran.stdout.contains("same-action-margin: fell at 1 of 2 states"), "{ran:?}");
}

#[test]
fn what_is_new_and_what_is_gone_is_said() {
    let (folder, _) = changed(|certificate| {
        certificate.claims.retain(|claim| !(claim.family == "ibp" && claim.mask == 0));
        certificate.assumptions.push("the moon is full".to_owned());
        certificate.claims[0].family = "spectral".to_owned();
    });
    let ran = diff(folder.path(), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in [
        "removed  mask 0, ibp, total-variation",
        "removed  mask 0, sensitivity, action-deviation, output 0",
        "added  mask 0, spectral, action-deviation, output 0",
        "new  assumption \"the moon is full\": listed",
    ] {
        assert!(ran.stdout.lines().any(|found| found == line), "{line} is not in {}", ran.stdout);
    }
}

/// Bounds for all states do not depend on which states are listed; the others are not compared.
#[test]
fn other_states_are_not_comparable() {
    let (folder, _) = changed(|certificate| {
        let states = certificate.inputs.iter_mut().find(|file| file.role == "states").expect("states");
        states.sha256 = "0".repeat(64);
        certificate.claims.iter_mut().for_each(|claim| claim.values[0] = "1000".to_owned());
    });
    let ran = diff(folder.path(), &[]);
    assert!(ran.stdout.contains("not comparable  mask 0, ibp, total-variation: other states"), "{ran:?}");
    assert!(ran.stdout.contains("worse  mask 0, sensitivity, total-variation: rose; "), "{ran:?}");
    assert!(!ran.stdout.contains("worse  mask 0, ibp"), "{ran:?}");
}

#[test]
fn another_adversary_is_not_comparable_and_nothing_holds_then() {
    let (folder, problem) = pair();
    let families = [Family::Sensitivity, Family::Ibp];
    let other = certify_with(folder.path(), &families, &linf("1/10"), &key(1), false).expect("certified");
    other.write(&problem.certificate_file(), "c.witness.safetensors").expect("written");
    let ran = diff(folder.path(), &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("another adversary: linf, radius 1/20, normalised units, then linf, radius 1/10"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.ends_with("nothing could be compared\n") && !ran.stdout.contains("worse  "),
        "{ran:?}"
    );
}

/// An attack that reaches more than all old claims allow: the true value rose, however loose the bounds are.
#[test]
fn an_attack_above_the_old_claims_is_named() {
    let (folder, problem) = pair();
    let points =
        certify_with(folder.path(), &[Family::Ibp], &linf("1/20"), &key(1), true).expect("certified");
    points.write(&problem.certificate_file(), "c.witness.safetensors").expect("written");
    let before = document(folder.path(), &[]);
    assert_eq!(before["trueValueRose"], Value::Array(Vec::new()));
    problem.resign(&key(1), |certificate| {
        let attack = certificate
            .counterexample
            .iter_mut()
            .find(|c| c.quantity == "total-variation")
            .expect("an attack");
        attack.at_least[1] = "0.99".to_owned();
    });
    let ran = diff(folder.path(), &[]);
    assert!(
        ran.code == 1
            && ran.stdout.contains("if both hold, the true value rose at 1 states; most at state 1"),
        "{ran:?}"
    );
    assert_eq!(document(folder.path(), &[])["trueValueRose"][0]["atLeastAfter"]["exact"], "99/100");
}

/// `old.json` is this certificate of the corpus, `c.cert.dsse.json` a changed one.
fn altered(name: &str, change: impl FnOnce(&mut Certificate)) -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/accepted");
    let old = std::fs::read(corpus.join(format!("{name}.cert.dsse.json"))).expect("read");
    let mut certificate =
        parse_certificate(&parse_envelope(&old).expect("an envelope").payload).expect("a certificate");
    change(&mut certificate);
    let envelope = key(1).sign(PAYLOAD_TYPE, emit_certificate(&certificate).into_bytes());
    std::fs::write(folder.path().join("old.json"), old).expect("written");
    std::fs::write(folder.path().join("c.cert.dsse.json"), emit_envelope(&envelope)).expect("written");
    folder
}

fn assert_line(ran: &Ran, code: i32, line: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stdout.lines().any(|found| found.starts_with(line)), "{line} is not in {}", ran.stdout);
}

/// Lost value is compared for the same return, the same rewards and the same draw.
#[test]
fn regret_and_statistical_claims_are_compared() {
    let rewards = |certificate: &mut Certificate| certificate.regret[0].rewards.episodes_can_end = false;
    let folder = altered("regret", rewards);
    let ran = diff(folder.path(), &[]);
    assert_line(&ran, 0, "not comparable  mask ");
    assert!(ran.stdout.contains("episodes never end"), "{ran:?}");
    let folder = altered("regret", |certificate| certificate.regret[0].value = "1000".to_owned());
    let found = document(folder.path(), &[]);
    assert_eq!((&found["rows"][0]["kind"], &found["rows"][0]["change"]), (&"regret".into(), &"worse".into()));
    let folder = altered("statistical", |certificate| certificate.statistical[0].value = "0.99".to_owned());
    let ran = diff(folder.path(), &[]);
    assert_line(&ran, 1, "worse  mask 1, ibp, statistical, expected total variation, ");
    let folder = altered("statistical", |certificate| {
        certificate.statistical[0].confidence.level = rational("0.9");
    });
    let found = document(folder.path(), &[]);
    assert_eq!(found["counts"]["not comparable"], 2, "the bound, and the regret from it");
}

/// A share of a volume is worse if it fell; another box is another claim.
#[test]
fn regions_are_compared_by_box() {
    let entry = |upper: &str, value: &str, fraction: &str| RegionEntry {
        lower: vec![rational("0"); 3],
        upper: vec![rational(upper); 3],
        mask: 1,
        claims: vec![RegionClaim {
            quantity: "total-variation".to_owned(),
            output: None,
            value: value.to_owned(),
            shares: vec![Share { threshold: rational("0.3"), fraction: rational(fraction) }],
        }],
    };
    let folder = altered("small", |certificate| certificate.regions.push(entry("1/2", "0.4", "0.75")));
    std::fs::copy(folder.path().join("c.cert.dsse.json"), folder.path().join("with.json")).expect("copied");
    let added = diff(folder.path(), &[]);
    assert_line(
        &added,
        0,
        "added  mask 1, share, total-variation, [0, 1/2] x [0, 1/2] x [0, 1/2], bound 3/10",
    );
    let folder_of = |upper: &str, value: &str, fraction: &str| {
        let changed = altered("small", |certificate| certificate.regions.push(entry(upper, value, fraction)));
        std::fs::copy(folder.path().join("with.json"), changed.path().join("old.json")).expect("copied");
        changed
    };
    let fell = folder_of("1/2", "0.4", "0.5");
    let ran = diff(fell.path(), &[]);
    assert_line(&ran, 1, "worse  mask 1, share, total-variation, [0, 1/2]");
    assert!(ran.stdout.contains(": fell; 0.75 to 0.5"), "{ran:?}");
    let rose = folder_of("1/2", "0.41", "0.75");
    assert_line(&diff(rose.path(), &[]), 1, "worse  mask 1, region, total-variation, [0, 1/2]");
    let other = folder_of("1/4", "9", "0");
    assert_line(&diff(other.path(), &[]), 0, "removed  mask 1, region, total-variation, [0, 1/2]");
}

#[test]
fn signers_are_named_and_not_called_verified() {
    let (folder, problem) = pair();
    problem.resign(&key(2), |_| {});
    let ran = diff(folder.path(), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let fingerprint = |seed| key(seed).public().expect("a strong key").keyid();
    assert!(ran.stdout.contains(&format!("gone  signature by key \"{}\"", fingerprint(1))), "{ran:?}");
    assert!(
        ran.stdout.contains(&format!("new  signature by key \"{}\": there, not verified", fingerprint(2))),
        "{ran:?}"
    );
    assert!(!ran.stdout.replace("not verified", "").contains("verified"), "{ran:?}");
}

/// Names full of escapes, markup and marks that turn the direction of writing, in all three formats.
#[test]
fn words_of_a_stranger_do_no_harm() {
    let (folder, _) = changed(|certificate| {
        certificate.masks[0].name = HOSTILE.to_owned();
        certificate.claims[0].family = HOSTILE.to_owned();
        certificate.claims[1].quantity = HOSTILE.to_owned();
        certificate.assumptions.push(HOSTILE.to_owned());
        certificate.verdicts[0].verdict = HOSTILE.to_owned();
        certificate.verifier.version = HOSTILE.to_owned();
    });
    assert_harmless(&diff(folder.path(), &[]).stdout);
    let rows = document(folder.path(), &[]);
    assert!(rows["rows"].as_array().expect("rows").len() > 10);
    let markdown = diff(folder.path(), &["--markdown"]).stdout;
    assert_harmless(&markdown);
    let tables: Vec<Vec<&str>> = markdown
        .split("\n\n")
        .map(|part| part.lines().filter(|line| line.starts_with('|')).collect())
        .filter(|rows: &Vec<&str>| !rows.is_empty())
        .collect();
    assert_eq!(tables.len(), 2, "{markdown}");
    for rows in tables {
        for row in &rows {
            assert_eq!(row.matches('|').count(), rows[0].matches('|').count(), "{row}");
            // Outside code spans there are only words of our own.
            let outside: String = row.split('`').step_by(2).collect();
            assert!(!outside.contains(['<', '[', '*', '@', '\\']), "{row}");
        }
    }
}

#[test]
fn other_kinds_and_unreadable_files_are_usage_errors() {
    let (folder, problem) = pair();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/accepted");
    let of = |name: &str| corpus.join(format!("{name}.cert.dsse.json"));
    let compare = |old: &Path, new: &Path| run(secateur(folder.path()).arg("diff").args([old, new]));
    let other = compare(&problem.certificate_file(), &of("property-sat"));
    assert!(other.code == 2 && other.stderr.contains("property"), "{other:?}");
    let same = compare(&of("property-sat"), &of("property-sat"));
    assert!(same.code == 0 && same.stdout.contains("same 1"), "{same:?}");
    // Two properties of one network.
    let apart = compare(&of("property-unsat"), &of("property-sat"));
    assert!(
        apart.code == 1 && apart.stdout.contains("not comparable  result: another property"),
        "{apart:?}"
    );
    assert_eq!(compare(Path::new("old.json"), Path::new("missing")).code, 2);
    assert_eq!(compare(Path::new("states.npy"), Path::new("old.json")).code, 2);
    assert_eq!(compare(Path::new("-"), Path::new("-")).code, 2);
}
