//! Every format of the report: hostile names do no harm, other programs read it, the statement is signed.

use std::path::Path;
use std::process::Command;

use secateur_checker::family::Family;
use secateur_checker::reader::dsse::parse_envelope;
use secateur_checker::reader::trust::{parse_trust, verify_envelope};
use secateur_testkit::problem::{WITNESS, certify_with, key, linf};
use secateur_testkit::programs::run;
use serde_json::Value;

use super::support::{Gated, TWO, findings, gated, python};

/// A terminal sequence, workflow commands, markup of three kinds, marks that turn text round, and line breaks.
const HOSTILE: &str = "\u{1b}[2J\n::error file=x::y\r\n::set-output name=a::b\u{2028}</failure><script>alert(1)</script>\
                       <img src=x onerror=y>]]>&amp;\u{202e}gnp.exe\u{2066} `|` [a](javascript:b) **c** @root #1 \
                       https://evil.example {0} %0A%25 \\ ##[error]z";

const FORMATS: [&str; 7] = ["text", "json", "sarif", "junit", "github", "gitlab", "markdown"];

/// A rule that is broken, one that is excepted, one that names a hostile key, and a hostile file.
fn hostile() -> Gated {
    let gated = gated(&TWO);
    let quoted = toml::Value::String(HOSTILE.to_owned());
    let sha256 = gated.certificate_sha256();
    gated.write(&format!(
        "[[rule]]\nid = \"broken\"\nquantity = \"total-variation\"\nmax = \"0\"\n\
         [[rule]]\nid = \"excused\"\nquantity = \"kl-divergence\"\nmax = \"0\"\n\
         [[rule]]\nid = \"signed\"\nsigners = [{quoted}]\n\
         [[rule]]\nid = \"kept\"\nmax-sparsity = \"1\"\n\
         [[exception]]\nrule = \"excused\"\ncertificate = \"{sha256}\"\nreason = {quoted}\nexpires = \"2026-12-31\"\n"
    ));
    std::fs::write(gated.path(FILE), b"no model").expect("written");
    gated
}

/// What a file system takes of it.
const FILE: &str = "m\u{1b}[2J\n::error::x\u{202e}<script>`|@root.onnx";

fn emitted(gated: &Gated, format: &str) -> String {
    let ran = gated.gate(&["--today", "2026-11-29", "--bind", FILE, "--output", format]);
    assert_eq!(ran.code, 3, "{ran:?}");
    ran.stdout
}

#[test]
fn hostile_names_do_no_harm() {
    let gated = hostile();
    for format in FORMATS {
        let text = emitted(&gated, format);
        let odd = text.chars().find(|c| *c != '\n' && *c != ' ' && !c.is_ascii_graphic());
        assert_eq!(odd, None, "{format}: {text}");
        let commands = text.lines().filter(|line| line.trim_start().starts_with("::")).count();
        let marks = text.lines().filter(|line| line.trim_start().starts_with("##[")).count();
        // Three masks of two rules, a key, a file.
        let wanted = if format == "github" { 8 } else { 0 };
        assert_eq!((commands, marks), (wanted, 0), "{format}: {text}");
        let structure: &[&str] = match format {
            "junit" => &["<script", "<img", "]]>"],
            "markdown" => &["<script", "<img", "](", "`", "**c", "@root", "https://", "|` "],
            _ => &[],
        };
        for word in structure {
            assert!(!text.contains(word), "{format}: {word} in {text}");
        }
    }
    let github = emitted(&gated, "github");
    for line in github.lines().filter(|line| line.starts_with("::")) {
        let (head, data) = line[2..].split_once("::").expect("a command");
        assert!(["error ", "warning "].iter().any(|level| head.starts_with(level)), "{line}");
        assert_eq!(head.matches("line=").count(), 1, "{line}");
        assert!(!data.replace("%25", "").contains('%'), "{line}");
    }
    let sarif: Value = serde_json::from_str(&emitted(&gated, "sarif")).expect("JSON");
    for result in sarif["runs"][0]["results"].as_array().expect("results") {
        let text = result["message"]["text"].as_str().expect("a text");
        assert!(!text.replace("\\\\", "").replace("\\[", "").contains("[a"), "a link: {text}");
        assert!(!text.replace("{{", "").contains('{'), "a placeholder: {text}");
    }
}

/// Several at once, each what it is alone; the verdict is the same in all.
#[test]
fn formats_are_written_together() {
    let gated = hostile();
    let outputs: Vec<String> = FORMATS.iter().map(|f| format!("{f}=out.{f}")).collect();
    let mut arguments = vec!["--today", "2026-11-29", "--bind", FILE];
    outputs.iter().for_each(|output| arguments.extend(["--output", output.as_str()]));
    let ran = gated.gate(&arguments);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.starts_with("gate failed: "), "{ran:?}");
    for format in FORMATS {
        let written = std::fs::read_to_string(gated.path(&format!("out.{format}"))).expect(format);
        assert_eq!(written, emitted(&gated, format), "{format}");
    }
    assert_eq!(gated.gate(&arguments).code, 2, "they are there now");
    arguments.push("--force");
    assert_eq!(gated.gate(&arguments).code, 3);
    assert_eq!(gated.gate(&["--output", "json", "--output", "sarif"]).code, 2, "one standard output");
    assert_eq!(gated.gate(&["--output", "yaml"]).code, 2);
    assert_eq!(gated.gate(&["--output", "json=secateur.toml", "--force"]).code, 2, "an input");
}

/// A finding keeps its fingerprint while its numbers and its worst state change.
#[test]
fn fingerprints_have_no_numbers() {
    let gated = gated(&TWO);
    let prints = |max: &str| {
        gated.write(&format!("[[rule]]\nid = \"r\"\nquantity = \"total-variation\"\nmax = \"{max}\"\n"));
        let found = findings(&gated.report(&[]).0);
        let prints: Vec<String> = found.iter().map(|f| f["fingerprint"].to_string()).collect();
        let numbers: Vec<String> = found.iter().map(|f| f["have"]["exact"].to_string()).collect();
        (prints, numbers)
    };
    let first = prints("0");
    let other =
        certify_with(gated.root(), &[Family::Sensitivity], &linf("1/20"), &key(1), false).expect("certified");
    other.write(&gated.problem.certificate_file(), WITNESS).expect("written");
    let second = prints("1e-9");
    assert_eq!(first.0, second.0);
    assert!(first.1.iter().zip(&second.1).all(|(a, b)| a != b), "{first:?} {second:?}");
    assert_eq!(first.0.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "one for each mask");
}

#[test]
fn the_statement_is_signed_and_says_what_was_tested() {
    let gated = hostile();
    std::fs::write(gated.path("k.pem"), key(7).private_pem()).expect("written");
    let run_with = |name: &str, more: &[&str]| {
        let mut all = vec!["--today", "2026-11-29", "--attest", name, "--key", "k.pem"];
        all.extend(more);
        let ran = gated.gate(&all);
        let envelope =
            parse_envelope(&std::fs::read(gated.path(name)).expect("written")).expect("an envelope");
        let pem = secateur::certify::keys::public_pem(&key(7).public().expect("a key"));
        let trust =
            parse_trust(secateur::certify::keys::trust_file("gate", &pem).as_bytes()).expect("a trust file");
        assert_eq!(verify_envelope(&envelope, &trust).expect("its signature").len(), 1);
        let statement: Value = serde_json::from_slice(&envelope.payload).expect("JSON");
        (statement, ran.code)
    };
    let (statement, code) = run_with("a.json", &[]);
    assert_eq!((code, &statement["predicate"]["result"]), (3, &"FAILED".into()));
    assert_eq!(statement["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
    let names = |key: &str| statement["predicate"][key].to_string();
    assert_eq!(names("failedTests"), r#"["p/broken","p/signed"]"#);
    assert_eq!(names("warnedTests"), r#"["p/excused"]"#);
    assert_eq!(names("passedTests"), r#"["p/check","p/kept","exceptions"]"#);
    assert_eq!(statement["predicate"]["configuration"][0]["name"], "secateur.toml");
    let subjects = statement["subject"].to_string();
    assert!(
        subjects.contains(&gated.certificate_sha256()) && subjects.contains("p/policy.json"),
        "{subjects}"
    );
    let text = std::fs::read_to_string(gated.path("secateur.toml")).expect("read");
    let kept = text.split("[[rule]]").next().expect("its head").to_owned()
        + "[[rule]]\nid = \"kept\"\nmax-sparsity = \"1\"\n";
    std::fs::write(gated.path("secateur.toml"), kept).expect("written");
    let line = ["export", "policy", "--masks", "masks", "--mask", "1", "--to", "m.onnx"];
    assert_eq!(run(secateur_testkit::programs::secateur(gated.root()).args(line)).code, 0);
    let (statement, code) = run_with("b.json", &["--bind", "m.onnx"]);
    assert_eq!((code, &statement["predicate"]["result"]), (0, &"PASSED".into()));
    assert!(statement["subject"].to_string().contains("m.onnx"), "what is shipped is found by its digest");
    assert_eq!(gated.gate(&["--attest", "c.json"]).code, 2, "it needs a key");
}

/// GitHub's summary is appended to what other steps wrote.
#[test]
fn the_step_summary_is_appended() {
    let gated = hostile();
    std::fs::write(gated.path("summary.md"), "# Before\n").expect("written");
    let mut command = gated.command(&["--today", "2026-11-29", "--output", "github"]);
    command = command.env("GITHUB_STEP_SUMMARY", gated.path("summary.md"));
    assert_eq!(run(command).code, 3);
    let text = std::fs::read_to_string(gated.path("summary.md")).expect("read");
    assert!(text.starts_with("# Before\n### gate failed"), "{text}");
}

/// Parsers of other projects read the files.
#[test]
fn other_programs_read_the_reports() {
    let Some(python) = python("json") else { return };
    let gated = hostile();
    std::fs::write(gated.path("k.pem"), key(7).private_pem()).expect("written");
    let mut arguments =
        vec!["--today", "2026-11-29", "--bind", FILE, "--attest", "out.attest", "--key", "k.pem"];
    let outputs: Vec<String> = FORMATS.iter().map(|f| format!("{f}=out.{f}")).collect();
    outputs.iter().for_each(|output| arguments.extend(["--output", output.as_str()]));
    assert_eq!(gated.gate(&arguments).code, 3);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/gate_reports.py");
    let ran = run(Command::new(python).arg(script).arg(gated.root()));
    println!("{}", ran.stdout);
    assert_eq!(ran.code, 0, "{ran:?}");
}
