//! The certified radius as a person asks for it: `certify`, `check`, `show`, `report`, `diff`, `audit`.

use std::path::Path;

use secateur_checker::number::Rational;
use secateur_testkit::problem::{Problem, Spec, key, write_trust};
use secateur_testkit::programs::{self, Ran, run, secateur_check};
use serde_json::Value;

fn secateur(folder: &Path, arguments: &[&str]) -> Ran {
    run(programs::secateur(folder).arg("--quiet").args(arguments))
}

/// A policy with two outputs and its key, in the folder.
fn written() -> (tempfile::TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec { gaussian: false, masks: 2, states: 4, ..Spec::small(21) };
    let problem = Problem::write(folder.path(), &spec);
    std::fs::write(folder.path().join("key.pem"), key(1).private_pem()).expect("key written");
    write_trust(folder.path(), &key(1));
    (folder, problem)
}

const CERTIFY: [&str; 17] = [
    "certify",
    "policy",
    "--masks",
    "masks",
    "--states",
    "states.npy",
    "--state-units",
    "normalised",
    "--epsilon",
    "0.05",
    "--family",
    "ibp",
    "--key",
    "key.pem",
    "--out",
    "c.cert.dsse.json",
    "--force",
];

fn certify(folder: &Path, more: &[&str]) -> Ran {
    secateur(folder, &[&CERTIFY[..], more].concat())
}

/// The largest multiple that every state and mask keeps can be demanded of both programs, and nothing more; a larger limit is
/// kept as well, a smaller one is not known to be.
fn demands_of_radii(root: &Path, check: &[&str]) {
    let document: Value = {
        let shown = secateur(root, &["--format", "json", "show", "c.cert.dsse.json"]);
        serde_json::from_str(&shown.stdout).expect("JSON")
    };
    let claims = document["radius"]["claims"].as_array().expect("claims").clone();
    let least = |quantity: &str| {
        let of = |mask: usize| {
            let entries = claims.iter().filter(|c| c["quantity"] == quantity && c["mask"] == mask);
            let lists =
                entries.map(|c| c["proved"].as_array().expect("multiples").clone()).collect::<Vec<_>>();
            let number =
                |v: &Value| v.as_str().map_or_else(|| v.as_f64(), |t| t.parse().ok()).expect("a number");
            let at = |state: usize| lists.iter().map(|l| number(&l[state])).fold(0.0, f64::max);
            (0..4).map(at).fold(f64::INFINITY, f64::min)
        };
        of(0).min(of(1))
    };
    let said = |code: i32, value: &str, words: &str| {
        let long =
            run(programs::secateur(root).args(["--quiet", "check", "--min-radius", value]).args(check));
        let short = run(secateur_check(root).args(["--min-radius", value]).args(check));
        for ran in [long, short] {
            assert!(ran.code == code && ran.stderr.contains(words), "{value}: {ran:?}");
        }
    };
    for (goal, quantity) in [("same-action", "same-action-margin"), ("deviation=0.2", "action-deviation")] {
        let most = least(quantity);
        assert!(most > 0.0, "{goal}: {claims:?}");
        said(0, &format!("{goal}:{:.6}", most * 0.999), "");
        said(1, &format!("{goal}:{:.6}", most * 1.001), "x at every state");
    }
    said(0, "deviation=0.3:0.001", "");
    said(
        1,
        "deviation=0.1:0",
        "not met (unmet-radius): change of any output at most 0.1 up to 0 x the radii under mask 0 is demanded, the certificate has no such radius",
    );
    said(1, "tv=0.5:0", "no such radius");
}

#[test]
fn a_radius_is_found_checked_shown_and_drawn() {
    let (folder, _problem) = written();
    let root = folder.path();
    let ran = certify(
        root,
        &["--radius-for", "same-action,deviation=0.2", "--radius-family", "crown,band-crown/1"],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in ["mask 0: same action proved up to ", "mask 0 to mask 1: the radius of ", "x (median)"] {
        assert!(ran.stdout.contains(words), "{words}: {ran:?}");
    }
    let check =
        ["policy", "--masks", "masks", "--states", "states.npy", "--trust", "trust.json", "c.cert.dsse.json"];
    let checked = run(secateur_check(root).args(["--state-units", "normalised"]).args(check));
    assert_eq!(checked.code, 0, "{checked:?}");
    let line =
        |text: &str| text.lines().filter(|l| l.starts_with("radius")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(line(&checked.stdout), line(&ran.stdout));
    assert!(line(&checked.stdout).len() >= 4, "{checked:?}");
    demands_of_radii(root, &check);
    let details = secateur(root, &["show", "--details", "c.cert.dsse.json"]);
    assert!(
        details.stdout.contains("of 4 states, proved at this multiple or a larger one: 1 at "),
        "{details:?}"
    );
    let shown = secateur(root, &["--format", "json", "show", "c.cert.dsse.json"]);
    let document: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/output.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).expect("a schema")).expect("JSON");
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .expect("a schema")
        .iter_errors(&document)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let claims = document["radius"]["claims"].as_array().expect("claims");
    assert_eq!(claims.len(), 8, "two goals, two masks, two families");
    assert!(claims.iter().all(|c| c["proved"].as_array().is_some_and(|p| p.len() == 4)), "{claims:?}");
    let snapshot = secateur(root, &["show", "--format", "snapshot", "c.cert.dsse.json"]);
    let wanted = "mask 0, crown, radius, action-deviation at most 1/5, state 3: at least ";
    assert!(snapshot.stdout.contains(wanted), "{snapshot:?}");
    let report = secateur(root, &["report", "c.cert.dsse.json", "--plot", "radius.svg"]);
    assert!(report.code == 0 && report.stdout.contains("claimed, unchecked"), "{report:?}");
    assert!(report.stdout.contains("same action") && report.stdout.contains("attack, median"), "{report:?}");
    let plot = std::fs::read_to_string(root.join("radius.svg")).expect("a plot");
    assert!(
        plot.starts_with("<svg")
            && plot.contains("mask 1, not broken")
            && plot.contains("nothing was checked")
    );
    let again = secateur(root, &["report", "c.cert.dsse.json", "--plot", "radius.svg"]);
    assert!(again.code == 2 && again.stderr.contains("--force"), "{again:?}");
}

/// Numbers of `report`'s tables are those of its document rounded outward: what is proved is never said to be more, nor what
/// an attack reaches.
#[test]
fn tables_of_reports_round_outward() {
    let (folder, _problem) = written();
    let root = folder.path();
    // A mean of three multiples is no decimal of few places.
    assert_eq!(certify(root, &["--radius-for", "deviation=0.2,same-action", "--limit", "3"]).code, 0);
    let document: Value = {
        let ran = secateur(root, &["report", "c.cert.dsse.json", "--format", "json"]);
        serde_json::from_str(&ran.stdout).expect("JSON")
    };
    let text = secateur(root, &["report", "c.cert.dsse.json"]).stdout;
    let rows_after = |title: &str| -> Vec<Vec<String>> {
        let after = text.split(title).nth(1).unwrap_or_else(|| panic!("{title}: {text}"));
        let lines = after.lines().skip(1).take_while(|line| line.starts_with(['┌', '│', '╞', '└']));
        let rows = lines.filter(|line| line.starts_with('│')).skip(1);
        rows.map(|row| row.split(['│', '┆']).map(|cell| cell.trim().to_owned()).collect()).collect()
    };
    let (mut compared, mut strict) = (0, 0);
    // How a cell and a number may differ: `above`, the cell is at least the number, else at most.
    let mut compare = |cell: &str, number: &Value, above: bool| {
        let Some(exact) = number["exact"].as_str() else { return };
        let [said, exact] = [cell, exact].map(|text| Rational::parse(text).expect(text));
        let off = if above { said.sub(&exact) } else { exact.sub(&said) };
        let small = exact.abs().mul(&Rational::parse("1/100").expect("a number"));
        assert!(!off.is_negative() && off <= small, "{cell}: {number}");
        compared += 1;
        strict += usize::from(off.is_positive());
    };
    let bounds = document["bounds"].as_array().expect("bounds");
    let rows = rows_after("bounds at the listed states");
    assert_eq!(rows.len(), bounds.len());
    for (row, bound) in rows.iter().zip(bounds) {
        compare(&row[5], &bound["atMost"], true);
        compare(&row[7], &bound["attackAtLeast"], false);
    }
    let radii = document["radii"].as_array().expect("radii");
    let rows = rows_after("radii, as multiples");
    assert_eq!(rows.len(), radii.len());
    for (row, radius) in rows.iter().zip(radii) {
        for (cell, key) in [(6, "least"), (7, "median"), (8, "mean")] {
            compare(&row[cell], &radius[key], false);
        }
        compare(&row[9], &radius["brokenMedian"], true);
    }
    assert!(compared > 12 && strict > 4, "{compared} {strict}: {text}");
}

/// A radius that fell is worse, one that an attack breaks sooner too.
#[test]
fn diff_knows_which_way_a_radius_is_worse() {
    let (folder, problem) = written();
    let root = folder.path();
    assert_eq!(certify(root, &["--radius-for", "deviation=0.2"]).code, 0);
    std::fs::copy(root.join("c.cert.dsse.json"), root.join("old.cert.dsse.json")).expect("copied");
    let same = secateur(root, &["diff", "old.cert.dsse.json", "c.cert.dsse.json"]);
    assert_eq!(same.code, 0, "{same:?}");
    let half = secateur_testkit::problem::rational("1/2");
    for (what, worse) in [("proved", true), ("proved", false), ("broken", true), ("broken", false)] {
        let kept = problem.read_envelope();
        problem.resign(&key(1), |c| {
            let claim = &mut c.radius[0];
            let number = if what == "proved" {
                &mut claim.proved[1]
            } else {
                claim.broken[1].as_mut().expect("broken")
            };
            *number = if worse { number.mul(&half) } else { number.div(&half).expect("a half") };
        });
        let ran = secateur(root, &["diff", "old.cert.dsse.json", "c.cert.dsse.json"]);
        problem.write_envelope(&kept);
        let word = if worse { "worse  mask 0, crown, radius" } else { "better  mask 0, crown, radius" };
        assert!(ran.code == i32::from(worse) && ran.stdout.contains(word), "{what} {worse}: {ran:?}");
        let attack = ran.stdout.contains("broken by an attack");
        assert_eq!(attack, what == "broken", "{ran:?}");
    }
}

#[test]
fn what_cannot_be_asked_is_named() {
    let (folder, _problem) = written();
    for (more, words) in [
        (&["--radius-for", "margin"][..], "give same-action, deviation=0.1"),
        (&["--radius-for", "same-action", "--radius-cap", "0"], "radius-cap"),
        (&["--radius-for", "same-action", "--radius-family", "crwon"], "did you mean crown"),
        (&["--radius-for", "same-action", "--radius-family", "sensitivity"], "at each listed state"),
        (&["--radius-family", "crown"], "--radius-for"),
        (&["--radius-cap", "2"], "--radius-for"),
        (&["--resume", "r.json"], "resume keeps a search of radii"),
        (&["--radius-for", "same-action", "--resume", "-"], "--resume"),
    ] {
        let ran = certify(folder.path(), more);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{more:?}: {ran:?}");
        assert!(!folder.path().join("c.cert.dsse.json").exists());
    }
    let plot = secateur(folder.path(), &["report", "--plot", "x.svg", "c.cert.dsse.json"]);
    assert_eq!(plot.code, 2, "{plot:?}");
}

/// `audit` takes the radii from its file, or from its command line instead.
#[test]
fn audits_claim_radii() {
    let (folder, _problem) = written();
    let root = folder.path();
    let settings = |more: &str| {
        format!(
            "states = \"../states.npy\"\nstate-units = \"normalised\"\nepsilon = \"0.05\"\nfamilies = [\"ibp\"]\n{more}"
        )
    };
    let write = |more: &str| std::fs::write(root.join("policy/audit.toml"), settings(more)).expect("written");
    write("radius-for = [\"same-action\"]\nradius-families = [\"ibp\", \"crown\"]\nradius-cap = \"0.001\"\n");
    let ran = secateur(root, &["audit", "policy", "--out", "a"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("radius")).count(), 2, "{ran:?}");
    assert!(ran.stdout.contains("the search for the radius stopped at 0.001 x (--radius-cap)"), "{ran:?}");
    let ran = secateur(root, &["audit", "policy", "--out", "b", "--radius-for", "deviation=0.2"]);
    assert!(ran.code == 0 && ran.stdout.contains("change of any output at most 0.2 proved up to"), "{ran:?}");
    assert!(!ran.stdout.contains("same action proved"), "{ran:?}");
    write("radius-cap = \"2\"\n");
    let ran = secateur(root, &["audit", "policy", "--out", "c"]);
    assert!(ran.code == 2 && ran.stderr.contains("need radius-for"), "{ran:?}");
}

/// The file of a search stays beside the certificate, is gone on from, and is refused for another search and as another output.
#[test]
fn searches_of_radii_are_kept() {
    let (folder, _problem) = written();
    let root = folder.path();
    let asked = ["--radius-for", "deviation=0.2", "--resume", "r.json"];
    let ran = certify(root, &asked);
    assert_eq!(ran.code, 0, "{ran:?}");
    let bytes = |name: &str| std::fs::read(root.join(name)).expect(name);
    let (first, kept) = (bytes("c.cert.dsse.json"), bytes("r.json"));
    let ran = certify(root, &asked);
    assert_eq!((ran.code, bytes("c.cert.dsse.json"), bytes("r.json")), (0, first, kept), "{}", ran.stderr);
    let ran = certify(root, &["--radius-for", "deviation=0.3", "--resume", "r.json"]);
    assert!(ran.code == 2 && ran.stderr.contains("r.json: it was kept for another search"), "{ran:?}");
    let ran = certify(root, &["--radius-for", "deviation=0.2", "--resume", "c.cert.dsse.json"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let settings = "states = \"../states.npy\"\nstate-units = \"normalised\"\nepsilon = \"0.05\"\nfamilies = [\"ibp\"]\n\
                    radius-for = [\"same-action\"]\n";
    std::fs::write(root.join("policy/audit.toml"), settings).expect("written");
    let ran = secateur(root, &["audit", "policy", "--out", "a", "--resume", "audit.json"]);
    assert!(ran.code == 0 && root.join("audit.json").exists(), "{ran:?}");
}
