//! Inputs and outputs with names: given, refused, and said again by both programs. Radii by these names.

use std::path::Path;

use secateur::gate::about::About;
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::dsse::parse_envelope;
use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{Ran, check_both, run, secateur, secateur_check};
use serde_json::Value;
use tempfile::TempDir;

const NAMES: &str = "[inputs]
gyro = { at = \"0..2\", unit = \"rad/s\", frames = 2, stride = 3 }
joint_pos = { at = \"2\", unit = \"rad\" }
[outputs]
\"left hip pitch\" = { at = \"0\", unit = \"rad\", scale = \"0.25\" }
knee = { at = \"1\", unit = \"rad\" }
";

const NOISE: &str = "gyro = \"0.02 rad/s\"
joint_pos = \"0.01\"
\"gyro[1]\" = \"0.03\"
bias.gyro = \"0.05\"
[limits]
joint_pos = [\"-100 rad\", \"100\"]
";

/// Six inputs, two outputs, a normaliser; names and radii beside it.
fn bench() -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec { widths: vec![6, 5, 2], normaliser: true, masks: 2, ..Spec::small(3) };
    Problem::write(folder.path(), &spec);
    for (name, text) in
        [("names.toml", NAMES), ("noise.toml", NOISE), ("k.pem", &key(1).private_pem().to_string())]
    {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn named(folder: &Path) -> Ran {
    run(secateur(folder).args(["names", "policy", "--names", "names.toml", "--out", "named"]))
}

fn certificate(folder: &Path) -> Certificate {
    let bytes = std::fs::read(folder.join("c.cert.dsse.json")).expect("read");
    parse_certificate(&parse_envelope(&bytes).expect("an envelope").payload).expect("a certificate")
}

const CERTIFY: [&str; 16] = [
    "certify",
    "named",
    "--masks",
    "masks",
    "--states",
    "states.npy",
    "--state-units",
    "normalised",
    "--family",
    "ibp,crown",
    "--radii",
    "noise.toml",
    "--key",
    "k.pem",
    "--out",
    "c.cert.dsse.json",
];

#[test]
fn a_policy_gets_names_and_its_answer_speaks_of_them() {
    let folder = bench();
    let ran = named(folder.path());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("2 groups of inputs (1 inputs have no name), 2 outputs"), "{ran:?}");
    assert!(ran.stdout.contains("input  0..2, 2 frames every 3 inputs: \"gyro\", rad/s"), "{ran:?}");
    let shown = run(secateur(folder.path()).args(["names", "named", "--format", "json"]));
    let document: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(document["names"]["outputs"][0]["scale"], "1/4");
    let ran = run(secateur(folder.path()).args(CERTIFY));
    assert_eq!(ran.code, 0, "{ran:?}");
    let note = "1 inputs do not move, as the file of radii does not say how far (1 inputs without a name)";
    assert!(ran.stderr.contains(note), "{ran:?}");
    let adversary = "noise: \"gyro\" by 0.02 to 0.03 rad/s, \"joint_pos\" by 0.01 rad; \
                     bias, the same in all copies: \"gyro\" by 0.05 rad/s; 1 inputs stay within limits, in raw units";
    assert!(ran.stdout.contains(adversary), "{ran:?}");
    let check = ["named", "--masks", "masks", "--states", "states.npy", "c.cert.dsse.json", "--unsigned"];
    let ran = check_both(folder.path(), &check);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains(adversary), "{ran:?}");
    let short = run(secateur_check(folder.path()).args(check));
    let outputs = |text: &str| text.lines().filter(|line| line.starts_with("output ")).count();
    assert!(short.stdout.contains(adversary) && outputs(&short.stdout) == 2, "{short:?}");
    // What the claims say of output 0, a quarter of it.
    let json = run(secateur(folder.path()).arg("check").args(check).args(["--format", "json"]));
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let outputs = document["outputs"].as_array().expect("outputs");
    assert_eq!(outputs.len(), 2);
    for (name, scale) in [("left hip pitch", 0.25), ("knee", 1.0)] {
        let entry = outputs.iter().find(|entry| entry["name"] == name).expect("named");
        let line = ran.stdout.lines().find(|line| line.contains(&format!("{name:?}"))).expect("a line");
        assert!(
            line.starts_with("output ") && line.contains(" rad at every listed state, under every mask"),
            "{line}"
        );
        for mask in 0..2 {
            let own = (0..2)
                .filter_map(|family| {
                    let family = ["ibp", "crown"][family];
                    document["masks"][mask]["bounds"][family]["action-deviation"]
                        .as_str()?
                        .parse::<f64>()
                        .ok()
                })
                .fold(f64::INFINITY, f64::min);
            let value = entry["masks"][mask]["atMost"]["value"].as_f64().expect("a number");
            assert!(value > 0.0 && value <= own * scale * (1.0 + 1e-9), "{value} {own}");
        }
    }
    let worst = |entry: &Value| {
        entry["masks"]
            .as_array()
            .expect("masks")
            .iter()
            .filter_map(|m| m["atMost"]["value"].as_f64())
            .fold(0.0, f64::max)
    };
    assert!(worst(&outputs[0]) >= worst(&outputs[1]), "the largest first");
    assert_eq!(document["adversary"]["shared"].as_array().map(Vec::len), Some(2));
}

/// `report` and `gate` say an output's change in the policy's own words, scaled and rounded outward.
#[test]
fn reports_and_gates_speak_of_outputs_in_their_units() {
    let folder = bench();
    assert_eq!(named(folder.path()).code, 0);
    assert_eq!(run(secateur(folder.path()).args(CERTIFY)).code, 0);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write(
        "list.toml",
        "[[policy]]\nname = \"p\"\ncertificate = \"c.cert.dsse.json\"\npolicy = \"named\"\nmasks = \"masks\"\nstates = \"states.npy\"\n",
    );
    let report = ["report", "--list", "list.toml", "--unsigned"];
    let json = run(secateur(folder.path()).args(report).args(["--format", "json"]));
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let check =
        ["check", "named", "--masks", "masks", "--states", "states.npy", "c.cert.dsse.json", "--unsigned"];
    let checked = run(secateur(folder.path()).args(check).args(["--format", "json"]));
    let checked: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let outputs = document["outputs"].as_array().expect("outputs");
    assert_eq!(outputs.len(), 2);
    let at = |value: &Value| value["value"].as_f64().expect("a number");
    for (entry, known) in outputs.iter().zip(checked["outputs"].as_array().expect("outputs")) {
        assert_eq!((&entry["name"], &entry["masks"]), (&known["name"], &known["masks"]));
        let most =
            entry["masks"].as_array().expect("masks").iter().map(|m| at(&m["atMost"])).fold(0.0, f64::max);
        let least = at(&entry["attackAtLeast"]);
        assert!(0.0 < least && least <= most, "{entry}");
    }
    // The attack's own claims of output 0, a quarter of the largest.
    let certificate = certificate(folder.path());
    let own =
        certificate.counterexample.iter().filter(|c| c.quantity == "action-deviation" && c.output == Some(0));
    let own = own.flat_map(|c| &c.at_least).map(|v| v.parse::<f64>().expect("a decimal")).fold(0.0, f64::max);
    let entry = outputs.iter().find(|entry| entry["output"] == 0).expect("output 0");
    assert!((at(&entry["attackAtLeast"]) - own * 0.25).abs() < 1e-9 * own, "{entry} {own}");
    let text = run(secateur(folder.path()).args(report));
    let row = text.stdout.lines().find(|line| line.contains("left hip pitch")).expect("a row");
    assert!(row.matches(" rad ").count() == 2, "{row}");
    // Its numbers are those of the document, rounded outward to few places; the mask is the one of the largest.
    let worst = |entry: &Value| {
        let masks = entry["masks"].as_array().expect("masks").iter();
        let masks = masks.map(|m| (at(&m["atMost"]), m["mask"].as_u64().expect("a mask")));
        masks.reduce(|worst, next| if next.0 > worst.0 { next } else { worst }).expect("a mask")
    };
    for entry in outputs {
        let name = entry["name"].as_str().expect("a name");
        let row = text.stdout.lines().find(|line| line.contains(name)).expect("a row");
        let before_unit = |part: usize| -> f64 {
            let words = row.split(" rad ").nth(part).expect(row);
            words.split_whitespace().next_back().expect(row).parse().expect(row)
        };
        let ((most, mask), least) = (worst(entry), at(&entry["attackAtLeast"]));
        assert!(row.contains(&format!("mask {mask} ")), "{row}: {mask}");
        let (said_most, said_least) = (before_unit(0), before_unit(1));
        assert!(most < said_most && said_most < 1.01 * most, "{row}: {most}");
        assert!(0.99 * least < said_least && said_least < least, "{row}: {least}");
    }
    // Without the policy there are no names.
    let bare = run(secateur(folder.path()).args(["report", "c.cert.dsse.json", "--format", "json"]));
    let bare: Value = serde_json::from_str(&bare.stdout).expect("JSON");
    assert!(bare.get("outputs").is_none(), "{bare}");

    let rule = |limit: &str| {
        format!(
            "schema = \"secateur.gate/1\"\n[[policy]]\nname = \"p\"\ndirectory = \"named\"\nmasks = \"masks\"\nstates = \"states.npy\"\n\
             certificate = \"c.cert.dsse.json\"\nunsigned = true\nabout = {}\n\
             [[rule]]\nid = \"calm\"\nquantity = \"action-deviation\"\nmax = \"{limit}\"\n",
            toml::Value::try_from(About::of(&certificate)).expect("TOML")
        )
    };
    write("secateur.toml", &rule("0"));
    let gate = run(secateur(folder.path()).arg("gate"));
    let said =
        gate.stdout.lines().find(|line| line.contains("above-limit")).unwrap_or_else(|| panic!("{gate:?}"));
    let json = run(secateur(folder.path()).args(["gate", "--output", "json"]));
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let findings: Vec<&Value> = document["tests"]
        .as_array()
        .expect("tests")
        .iter()
        .flat_map(|t| t["findings"].as_array().expect("findings"))
        .collect();
    let found = findings.iter().find(|f| f["code"] == "above-limit").expect("a finding");
    let (have, name) = (
        found["have"]["number"].as_f64().expect("a number"),
        found["called"]["name"].as_str().expect("a name"),
    );
    let scale = if name == "knee" { 1.0 } else { 0.25 };
    let words = said.split(", that is ").nth(1).and_then(|rest| rest.split(" rad;").next()).expect(said);
    let spoken: f64 = words.parse().expect(words);
    assert!(spoken >= have * scale && spoken <= have * scale + 1e-5, "{said}");
    assert!(said.ends_with(&format!("output {} {name:?}", found["output"])), "{said}");
    // Every output under its own name: the answer of the check says which is which.
    let known = checked["outputs"].as_array().expect("outputs");
    let known = known.iter().find(|known| known["output"] == found["output"]).expect("the output");
    assert_eq!(found["called"]["name"], known["name"]);
    let sarif = run(secateur(folder.path()).args(["gate", "--output", "sarif"]));
    let sarif: Value = serde_json::from_str(&sarif.stdout).expect("JSON");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let result = results.iter().find(|result| result["ruleId"] == "above-limit").expect("a result");
    assert_eq!(result["properties"]["called"], found["called"], "{result}");
    write("secateur.toml", &rule("1000"));
    let gate = run(secateur(folder.path()).arg("gate"));
    let said = gate.stdout.lines().find(|line| line.contains("p/calm")).expect("a line");
    assert!(
        gate.code == 0 && said.contains(&format!("({name:?} by ")) && said.ends_with(" rad)"),
        "{gate:?}"
    );
    // An output without a name has none, though another one has.
    let others: Vec<&str> = NAMES.lines().filter(|line| !line.contains(&format!("{name:?} "))).collect();
    assert_eq!(others.len() + 1, NAMES.lines().count(), "{name}");
    write("names.toml", &others.join("\n"));
    std::fs::remove_dir_all(folder.path().join("named")).expect("removed");
    for ran in [named(folder.path()), run(secateur(folder.path()).args(CERTIFY).arg("--force"))] {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    write("secateur.toml", &rule("0"));
    let gate = run(secateur(folder.path()).arg("gate"));
    let said = gate.stdout.lines().find(|line| line.contains("above-limit")).expect("a finding");
    assert!(said.ends_with(&format!("output {}", found["output"])) && !said.contains(" rad"), "{said}");
}

#[test]
fn names_and_radii_that_do_not_fit_are_refused_with_their_place() {
    let folder = bench();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    let refused = |ran: Ran, wanted: &str| {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(wanted), "{wanted}: {ran:?}");
    };
    write("names.toml", &NAMES.replace("at = \"2\"", "at = \"1\""));
    refused(
        named(folder.path()),
        "\"names.toml\": [inputs]: \"joint_pos\" covers number 1, which has a name already",
    );
    assert!(!folder.path().join("named").exists());
    write("names.toml", NAMES);
    // A policy without names.
    let plain: Vec<&str> =
        CERTIFY.iter().map(|word| if *word == "named" { "policy" } else { word }).collect();
    refused(run(secateur(folder.path()).args(plain)), "the policy in policy names no inputs");
    assert_eq!(named(folder.path()).code, 0);
    refused(named(folder.path()), "--force");
    for (from, to, wanted) in [
        (
            "gyro = \"0.02 rad/s\"",
            "gyr = \"0.02\"",
            "\"noise.toml\": gyr: the policy names no inputs so; did you mean gyro?",
        ),
        ("0.02 rad/s", "0.02 deg/s", "gyro: the unit is rad/s"),
        ("bias.gyro = \"0.05\"", "bias.gyro = \"-0.05\"", "bias.gyro: -1/20 is negative"),
        ("[\"-100 rad\", \"100\"]", "[\"99\", \"100\"]", "input 2, \"joint_pos\", is outside its limits"),
    ] {
        assert!(NOISE.contains(from), "{from}");
        write("noise.toml", &NOISE.replacen(from, to, 1));
        refused(run(secateur(folder.path()).args(CERTIFY)), wanted);
    }
    refused(
        run(secateur(folder.path()).args(CERTIFY.map(|w| if w == "noise.toml" { "nowhere.toml" } else { w }))),
        "nowhere.toml",
    );
    write("noise.toml", NOISE);
    let units = [&CERTIFY[..], &["--units", "normalised"]].concat();
    refused(run(secateur(folder.path()).args(units)), "give --units raw");
}

/// The same from `audit.toml`, whose folder the file of radii is taken from.
#[test]
fn audit_takes_a_file_of_radii() {
    let folder = bench();
    assert_eq!(named(folder.path()).code, 0);
    let text = "states = \"../states.npy\"\nstate-units = \"normalised\"\nradii = \"noise.toml\"\nfamilies = [\"crown\"]\n";
    std::fs::write(folder.path().join("named/audit.toml"), text).expect("written");
    std::fs::copy(folder.path().join("noise.toml"), folder.path().join("named/noise.toml")).expect("copied");
    let ran = run(secateur(folder.path()).args(["audit", "named", "--out", "out"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("\"gyro\" by 0.05 rad/s"), "{ran:?}");
    assert!(ran.stdout.contains("output     \""), "{ran:?}");
    // Unlike a list, and like any file: the command line's is taken from here.
    let ran =
        run(secateur(folder.path()).args(["audit", "named", "--out", "out2", "--radii", "nowhere.toml"]));
    assert!(ran.code == 2 && ran.stderr.contains("nowhere.toml"), "{ran:?}");
}
