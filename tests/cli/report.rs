//! Several certificates in one table: counted as the verdicts say, and `verified` only after a check.

use std::path::Path;

use secateur_checker::family::Family;
use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{self, Ran, run};
use serde_json::Value;

const FAMILIES: [Family; 4] = [Family::Sensitivity, Family::NormLinf, Family::Spectral, Family::Ibp];

fn secateur(folder: &Path, arguments: &[&str]) -> Ran {
    run(programs::secateur(folder).arg("--quiet").args(arguments))
}

fn json(folder: &Path, arguments: &[&str], code: i32) -> Value {
    let ran = secateur(folder, &[&["--format", "json"], arguments].concat());
    assert_eq!(ran.code, code, "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Two policies of three masks each, `a/` and `b/`, certified and signed by one key, and their list.
fn two() -> (tempfile::TempDir, [Problem; 2]) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problems = ["a", "b"].map(|name| {
        let seed = u64::from(name.as_bytes()[0]);
        let problem = Problem::write(&folder.path().join(name), &Spec::small(seed));
        problem.certify_to_disk(&FAMILIES, &key(1));
        problem
    });
    let entry = |name: &str| {
        format!(
            "[[policy]]\nname = \"{name}\"\ncertificate = \"{name}/c.cert.dsse.json\"\npolicy = \"{name}/policy\"\n\
             masks = \"{name}/masks\"\nstates = \"{name}/states.npy\"\n"
        )
    };
    let list = format!("{}{}", entry("a"), entry("b"));
    std::fs::write(folder.path().join("list.toml"), list).expect("list written");
    (folder, problems)
}

fn row<'a>(document: &'a Value, policy: &str, family: &str, of: &str) -> &'a Value {
    let rows = document["rows"].as_array().expect("rows");
    rows.iter().find(|r| r["policy"] == policy && r["family"] == family && r["of"] == of).expect("a row")
}

/// The counts of every row are those of the certificate's verdicts, and the sums are the sums.
#[test]
fn rows_count_the_verdicts() {
    let (folder, problems) = two();
    let document = json(folder.path(), &["report", "--list", "list.toml", "--trust", "a/trust.json"], 0);
    let mut rose = 0;
    for (name, problem) in ["a", "b"].iter().zip(&problems) {
        for verdict in problem.read_certificate().verdicts {
            let found = row(&document, name, &verdict.family, &verdict.of);
            assert_eq!(found["evidence"], "verified");
            let steps: u64 = found["steps"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
            assert_eq!(steps, 2, "three masks, two steps");
        }
        let of_ibp: Vec<_> =
            problem.read_certificate().verdicts.into_iter().filter(|v| v.family == "ibp").collect();
        let counted = row(&document, name, "ibp", "action-deviation");
        let values =
            |at: fn(&(usize, usize, usize)) -> usize| of_ibp.iter().map(|v| at(&v.counts)).sum::<usize>();
        assert_eq!(counted["values"]["fell"], values(|c| c.0));
        assert_eq!(counted["values"]["stayed"], values(|c| c.1));
        assert_eq!(counted["values"]["rose"], values(|c| c.2));
        assert_eq!(counted["steps"]["loosened"], of_ibp.iter().filter(|v| v.verdict == "loosened").count());
        assert_eq!(row(&document, name, "sensitivity", "action-deviation")["steps"]["byTheorem"], 2);
        rose += values(|c| c.2);
    }
    let sums = document["sums"].as_array().unwrap();
    let ibp = sums.iter().find(|s| s["family"] == "ibp").unwrap();
    assert_eq!(ibp["values"]["rose"], rose);
    // sensitivity once, the norm three times (deviations, layers, product), two steps, two policies.
    assert_eq!((&document["theoremSteps"], &document["violations"]), (&Value::from(16), &Value::from(0)));
}

#[test]
fn only_a_check_makes_a_row_verified() {
    let (folder, problems) = two();
    let certificates = ["report", "a/c.cert.dsse.json", "b/c.cert.dsse.json"];
    let unread = secateur(folder.path(), &certificates);
    assert!(unread.code == 0 && unread.stdout.contains("claims only"), "{unread:?}");
    assert!(!unread.stdout.contains("verified"), "{unread:?}");
    let unsigned = secateur(folder.path(), &["report", "--list", "list.toml", "--unsigned"]);
    assert!(unsigned.code == 0 && unsigned.stdout.contains("verified, unsigned"), "{unsigned:?}");
    assert_eq!(secateur(folder.path(), &["report", "--list", "list.toml"]).code, 2, "trust or --unsigned");
    assert_eq!(secateur(folder.path(), &["report"]).code, 2);
    // A signed certificate that claims too much: its row is not printed at all.
    problems[1].resign(&key(1), |c| c.claims[0].values[0] = "0".to_owned());
    let rejected = secateur(folder.path(), &["report", "--list", "list.toml", "--trust", "a/trust.json"]);
    assert!(rejected.code == 3 && rejected.stderr.contains("\"b\": rejected"), "{rejected:?}");
    assert_eq!(rejected.stdout, "");
}

/// A verdict that says `tightens-by-theorem` although values rose is counted by its values.
#[test]
fn a_violated_theorem_is_counted_whatever_the_word() {
    let (folder, problems) = two();
    problems[0].resign(&key(1), |c| {
        let verdict = c.verdicts.iter_mut().find(|v| v.family == "sensitivity").expect("a verdict");
        verdict.counts = (1, 0, 3);
    });
    let document = json(folder.path(), &["report", "a/c.cert.dsse.json"], 1);
    assert_eq!(document["violations"], 1);
    let ran = secateur(folder.path(), &["report", "a/c.cert.dsse.json"]);
    assert!(ran.code == 1 && ran.stdout.contains("1 violations in 8 steps"), "{ran:?}");
}

#[test]
fn markdown_is_a_table_that_markdown_reads() {
    let (folder, _) = two();
    let list = std::fs::read_to_string(folder.path().join("list.toml")).unwrap();
    std::fs::write(folder.path().join("list.toml"), list.replace("name = \"a\"", "name = \"a|\\u0007b\""))
        .unwrap();
    let ran = secateur(folder.path(), &["report", "--list", "list.toml", "--unsigned", "--markdown"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let rows: Vec<&str> = ran.stdout.lines().take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() > 6 && rows[1].starts_with("|-"), "{}", ran.stdout);
    assert!(
        rows.iter().all(|row| row.matches('|').count() == rows[0].matches('|').count()),
        "{}",
        ran.stdout
    );
    assert!(rows[2].contains("\"a\\u{7}b\""), "{}", ran.stdout);
}

#[test]
fn lists_that_are_none_are_refused() {
    let (folder, _) = two();
    for (text, word) in
        [("", "policy"), ("policy = []", "no [[policy]]"), ("[[policy]]\nname = \"x\"", "certificate")]
    {
        std::fs::write(folder.path().join("bad.toml"), text).unwrap();
        let ran = secateur(folder.path(), &["report", "--list", "bad.toml", "--unsigned"]);
        assert!(ran.code == 2 && ran.stderr.contains("bad.toml") && ran.stderr.contains(word), "{ran:?}");
    }
    assert_eq!(secateur(folder.path(), &["report", "list.toml"]).code, 2, "a list is no certificate");
}
