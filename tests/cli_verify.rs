//! `secateur verify` and `secateur check NETWORK PROPERTY CERTIFICATE` as a person runs them, on the networks and
//! properties of `fixtures/properties`.

#[path = "support/programs.rs"]
mod programs;

use std::path::{Path, PathBuf};
use std::process::Command;

use programs::{Ran, run, secateur, secateur_check};
use secateur::certify::keys::Key;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::{Envelope, parse_envelope};
use secateur_checker::reader::json::{Numbers, Value, canonical, parse};
use tempfile::TempDir;

const OUT: &str = "p.cert.dsse.json";
const PROOF: &str = "p.proof.json";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/properties").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// A folder with keys, in which commands run.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let made = run(secateur(folder.path()).args(["keygen", "--out", "keys"]));
        assert_eq!(made.code, 0, "{made:?}");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = secateur(self.folder.path());
        command.arg("--quiet").args(arguments);
        command
    }

    /// `verify` with key and output, and the canonical files beside them.
    fn verify(&self, network: &str, property: &str, more: &[&str]) -> Ran {
        let (network, property) = (fixture(network), fixture(property));
        let mut command = self.command(&["verify", &network, &property, "--key", "keys/secateur.pem"]);
        run(command.args(["--out", OUT, "--canonical", "canonical"]).args(more))
    }

    fn check(&self, network: &str, property: &str) -> Ran {
        let (network, property) = (fixture(network), fixture(property));
        run(&mut self.command(&["check", &network, &property, "--trust", "keys/trust.json", OUT]))
    }

    /// The trusted program alone, on the canonical files.
    fn check_canonical(&self) -> Ran {
        let property = ["canonical", "--property", "canonical/property.json"];
        run(secateur_check(self.folder.path()).args(property).args(["--trust", "keys/trust.json", OUT]))
    }

    /// Both checks, which must agree on the exit code.
    fn check_both(&self, network: &str, property: &str) -> Ran {
        let (long, short) = (self.check(network, property), self.check_canonical());
        assert_eq!(long.code, short.code, "{long:?} {short:?}");
        long
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("read")
    }

    /// Changes the signed payload and signs it again with the same key.
    fn resign(&self, change: impl FnOnce(&mut Value)) {
        let envelope: Envelope = parse_envelope(&self.bytes(OUT)).expect("an envelope");
        let mut payload = parse(&envelope.payload, 1 << 24, Numbers::Refused).expect("JSON");
        change(&mut payload);
        let key = Key::read(&self.path("keys/secateur.pem")).expect("a key");
        let signed = key.sign(&envelope.payload_type, canonical(&payload).into_bytes());
        std::fs::write(self.path(OUT), secateur::certify::emit::emit_envelope(&signed)).expect("written");
    }

    /// Replaces the proof and signs its digest again.
    fn reproof(&self, proof: &str) {
        std::fs::write(self.path(PROOF), proof).expect("written");
        self.resign(|payload| {
            *at(payload, &["predicate", "proof", "digest", "sha256"]) = text(&sha256_hex(proof.as_bytes()));
            *at(payload, &["predicate", "proof", "size"]) = text(&proof.len().to_string());
        });
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// The value under a path of keys (and positions) that must exist.
fn at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(value, |value, key| match value {
        Value::Object(members) => members.get_mut(*key).expect("a key"),
        Value::Array(items) => &mut items[key.parse::<usize>().expect("a position")],
        _ => panic!("{key} of a plain value"),
    })
}

fn assert_rejected(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("rejected") && !ran.stdout.contains("verified"), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not in {ran:?}");
    }
}

fn first_line(ran: &Ran) -> &str {
    ran.stdout.lines().next().unwrap_or_default()
}

#[test]
fn unsat_is_proved_signed_and_checked() {
    for (network, property) in [("narrow.onnx", "narrow-unsat.vnnlib"), ("wide.onnx", "wide-unsat.vnnlib")] {
        let bench = Bench::new();
        let found = bench.verify(network, property, &[]);
        assert_eq!((found.code, first_line(&found)), (0, "unsat"), "{found:?}");
        let proof = String::from_utf8(bench.bytes(PROOF)).expect("UTF-8");
        let split = if network == "wide.onnx" { "relu" } else { "input" };
        assert!(
            proof.contains(&format!(r#""node":"{split}""#)),
            "the tree must not be a single leaf: {proof}"
        );
        let checked = bench.check_both(network, property);
        assert_eq!((checked.code, first_line(&checked)), (0, "unsat"), "{checked:?}");
        assert!(checked.stdout.contains("verified, signed by \"secateur\" SHA256:"), "{checked:?}");
        // The same question gives the same bytes.
        let (certificate, before) = (bench.bytes(OUT), bench.bytes(PROOF));
        bench.verify(network, property, &[]);
        assert_eq!((bench.bytes(OUT), bench.bytes(PROOF)), (certificate, before));
    }
}

#[test]
fn sat_is_an_exact_point() {
    let bench = Bench::new();
    let found = bench.verify("narrow.onnx", "narrow-sat.vnnlib", &[]);
    assert_eq!((found.code, first_line(&found)), (0, "sat"), "{found:?}");
    assert!(found.stdout.contains("checked counterexample in case 0: "), "{found:?}");
    assert!(!bench.path(PROOF).exists());
    let checked = bench.check_both("narrow.onnx", "narrow-sat.vnnlib");
    assert_eq!((checked.code, first_line(&checked)), (0, "sat"), "{checked:?}");
    assert!(checked.stdout.contains("verified"), "{checked:?}");
}

#[test]
fn the_formats_agree_and_say_whether_it_was_signed() {
    let bench = Bench::new();
    bench.verify("narrow.onnx", "narrow-sat.vnnlib", &[]);
    let (network, property) = (fixture("narrow.onnx"), fixture("narrow-sat.vnnlib"));
    let json =
        run(&mut bench.command(&["--format", "json", "check", &network, &property, "--unsigned", OUT]));
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&document["result"], &document["signed"]), (&"sat".into(), &false.into()));
    let plain = run(&mut bench.command(&["check", &network, &property, "--unsigned", OUT]));
    assert!(plain.stdout.contains("unsigned: no signature was checked"), "{plain:?}");
    let neither = run(&mut bench.command(&["check", &network, &property, OUT]));
    assert_eq!(neither.code, 2, "{neither:?}");
}

#[test]
fn a_small_budget_is_unknown_and_writes_no_certificate() {
    let bench = Bench::new();
    let found = bench.verify("narrow.onnx", "narrow-unsat.vnnlib", &["--steps", "1"]);
    assert_eq!((found.code, first_line(&found)), (1, "unknown"), "{found:?}");
    assert!(!bench.path(OUT).exists() && !bench.path(PROOF).exists());
}

/// Nothing that cannot be read, or does not fit, is ever `unsat`.
#[test]
fn unreadable_properties_are_errors() {
    let bench = Bench::new();
    let good = std::fs::read_to_string(fixture("narrow-unsat.vnnlib")).expect("read");
    let half = &good[..good.len() / 2];
    let variants = [
        ("half.vnnlib", half.to_owned()),
        ("empty.vnnlib", String::new()),
        ("comment.vnnlib", "; nothing\n".to_owned()),
        ("product.vnnlib", good.replace("(- Y_0 Y_1)", "(* Y_0 Y_1)")),
        ("mixed.vnnlib", good.replace("(- Y_0 Y_1)", "(- Y_0 X_1)")),
        ("number.vnnlib", good.replace("-0.4370", "-0.4370f")),
        ("open.vnnlib", good.replace("(<= X_1 1.0)", "")),
        ("declared.vnnlib", good.replace("(declare-const Y_1 Real)\n", "")),
        ("wider.vnnlib", good.replace("(assert", "(declare-const Y_2 Real)\n(assert")),
        (
            "thicker.vnnlib",
            good.replace("(declare-const Y_0", "(declare-const X_2 Real)\n(declare-const Y_0"),
        ),
        ("strict.vnnlib", good.replace("(<= Y_0", "(< Y_0")),
    ];
    for (name, contents) in variants {
        assert_ne!(contents, good, "{name} changes nothing");
        std::fs::write(bench.path(name), contents).expect("written");
        let ran = run(&mut bench.command(&["verify", &fixture("narrow.onnx"), name]));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}: {ran:?}");
        assert!(ran.stderr.contains(name) || ran.stderr.contains("does not fit"), "{ran:?}");
    }
    let missing = run(&mut bench.command(&["verify", &fixture("narrow.onnx"), "no.vnnlib"]));
    assert_eq!((missing.code, missing.stdout.as_str()), (2, ""), "{missing:?}");
    let swapped = run(&mut bench.command(&["verify", &fixture("wide.onnx"), &fixture("narrow-sat.vnnlib")]));
    assert_eq!((swapped.code, swapped.stdout.as_str()), (2, ""), "{swapped:?}");
}

#[test]
fn a_proof_of_another_property_or_network_is_rejected() {
    let bench = Bench::new();
    bench.verify("narrow.onnx", "narrow-unsat.vnnlib", &[]);
    let other = bench.check("narrow.onnx", "narrow-sat.vnnlib");
    assert_rejected(&other, &["property.json", "SHA-256"]);
    let other = bench.check("wide.onnx", "wide-unsat.vnnlib");
    assert_rejected(&other, &["policy.json", "SHA-256"]);
    // The same meaning in other bytes: the sources' digests are in the certificate.
    let spaced = std::fs::read_to_string(fixture("narrow-unsat.vnnlib")).expect("read") + "\n; more\n";
    std::fs::write(bench.path("spaced.vnnlib"), spaced).expect("written");
    let ran = run(&mut bench.command(&[
        "check",
        &fixture("narrow.onnx"),
        "spaced.vnnlib",
        "--trust",
        "keys/trust.json",
        OUT,
    ]));
    assert_rejected(&ran, &["property-source", "another one"]);
    // One weight of the canonical network.
    let path = bench.path("canonical/policy.safetensors");
    let mut bytes = std::fs::read(&path).expect("read");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let ran = bench.check_canonical();
    assert_rejected(&ran, &["policy.safetensors"]);
}

#[test]
fn a_policy_certificate_is_no_property_certificate() {
    let bench = Bench::new();
    let accepted = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/accepted");
    let mut files: Vec<PathBuf> = std::fs::read_dir(accepted)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.to_string_lossy().ends_with(".cert.dsse.json"))
        .collect();
    files.sort();
    std::fs::copy(&files[0], bench.path(OUT)).expect("copied");
    let (network, property) = (fixture("narrow.onnx"), fixture("narrow-unsat.vnnlib"));
    let ran = run(&mut bench.command(&["check", &network, &property, "--unsigned", OUT]));
    assert!(ran.code == 2 && ran.stderr.contains("predicateType"), "{ran:?}");
}

#[test]
fn another_key_is_rejected() {
    let bench = Bench::new();
    bench.verify("narrow.onnx", "narrow-sat.vnnlib", &[]);
    std::fs::remove_dir_all(bench.path("keys")).expect("removed");
    run(&mut bench.command(&["keygen", "--out", "keys"]));
    let ran = bench.check_both("narrow.onnx", "narrow-sat.vnnlib");
    assert_rejected(&ran, &["0 trusted keys signed"]);
}

#[test]
fn a_tampered_proof_is_rejected_even_if_it_is_signed_again() {
    let bench = Bench::new();
    let (network, property) = ("narrow.onnx", "narrow-unsat.vnnlib");
    bench.verify(network, property, &[]);
    let proof = String::from_utf8(bench.bytes(PROOF)).expect("UTF-8");
    std::fs::write(bench.path(PROOF), proof.clone() + "\n").expect("written");
    assert_rejected(&bench.check_both(network, property), &[PROOF, "SHA-256"]);
    std::fs::remove_file(bench.path(PROOF)).expect("removed");
    let gone = bench.check_both(network, property);
    assert!(gone.code == 2 && gone.stderr.contains(PROOF), "{gone:?}");
    for (changed, words) in [
        (proof.replacen(r#""constraint":"0""#, r#""constraint":"1""#, 1), "names a place"),
        (r#"{"cases":[[{"constraint":"0","node":"leaf"}],[{"node":"empty"}]],"format":"secateur.proof/1"}"#.into(), "leaf 0"),
        (r#"{"cases":[],"format":"secateur.proof/1"}"#.to_owned(), "0 trees for 2 cases"),
        (proof.replacen(r#"["1","2"]"#, r#"["1","1"]"#, 1), "two parents"),
        (proof.replacen(r#""at":"0""#, r#""at":"7""#, 1), "outside its interval"),
        (format!(" {proof}"), "canonical"),
    ] {
        assert_ne!(changed, proof, "{words}: nothing was changed");
        bench.reproof(&changed);
        assert_rejected(&bench.check_both(network, property), &[words]);
    }
    bench.reproof(&proof);
    assert_eq!(bench.check_both(network, property).code, 0, "the original again");
    bench.resign(|payload| *at(payload, &["predicate", "proof", "size"]) = text("1"));
    assert_rejected(&bench.check_both(network, property), &["the certificate says 1"]);
}

#[test]
fn a_moved_point_is_rejected() {
    let bench = Bench::new();
    let (network, property) = ("narrow.onnx", "narrow-sat.vnnlib");
    bench.verify(network, property, &[]);
    let original = bench.bytes(OUT);
    let point = ["predicate", "counterexample", "point"];
    let moved = |x: &str, y: &str| {
        std::fs::write(bench.path(OUT), &original).expect("written");
        bench.resign(|payload| *at(payload, &point) = Value::Array(vec![text(x), text(y)]));
        bench.check_both(network, property)
    };
    assert_rejected(&moved("1000000001/1000000000", "0"), &["leaves the box at input 0"]);
    assert_rejected(&moved("0", "-1.5"), &["leaves the box at input 1"]);
    assert_rejected(&moved("0", "0"), &["not shown to satisfy constraint 0"]);
    std::fs::write(bench.path(OUT), &original).expect("written");
    bench.resign(|payload| *at(payload, &["predicate", "counterexample", "case"]) = text("1"));
    assert_rejected(&bench.check_both(network, property), &["a case that does not exist"]);
}

#[test]
fn a_policy_folder_can_be_the_network() {
    let bench = Bench::new();
    bench.verify("narrow.onnx", "narrow-unsat.vnnlib", &[]);
    let property = fixture("narrow-unsat.vnnlib");
    let found = run(&mut bench.command(&[
        "verify",
        "canonical",
        &property,
        "--key",
        "keys/secateur.pem",
        "--out",
        OUT,
        "--force",
    ]));
    assert_eq!((found.code, first_line(&found)), (0, "unsat"), "{found:?}");
    let ran = run(&mut bench.command(&["check", "canonical", &property, "--trust", "keys/trust.json", OUT]));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// Interrupted by small budgets, taken up again each time: the same certificate and proof, byte for byte.
#[test]
fn a_resumed_search_ends_as_an_uninterrupted_one() {
    let (network, property) = ("narrow.onnx", "narrow-unsat.vnnlib");
    let bench = Bench::new();
    bench.verify(network, property, &[]);
    let (certificate, proof) = (bench.bytes(OUT), bench.bytes(PROOF));
    std::fs::remove_file(bench.path(OUT)).expect("removed");
    std::fs::remove_file(bench.path(PROOF)).expect("removed");
    let mut rounds = 0;
    loop {
        let ran = bench.verify(network, property, &["--steps", "8", "--resume", "search.json"]);
        if ran.code == 0 {
            break;
        }
        assert_eq!((ran.code, first_line(&ran)), (1, "unknown"), "{ran:?}");
        assert!(ran.stdout.contains("kept in search.json"), "{ran:?}");
        assert!(!bench.path(OUT).exists());
        rounds += 1;
        assert!(rounds < 1000, "no progress");
    }
    assert!(rounds >= 2, "the budget must interrupt it: {rounds}");
    assert_eq!((bench.bytes(OUT), bench.bytes(PROOF)), (certificate, proof));
}

#[test]
fn kept_searches_belong_to_one_question() {
    let bench = Bench::new();
    let keep = ["--steps", "1", "--resume", "search.json"];
    let ran = bench.verify("narrow.onnx", "narrow-unsat.vnnlib", &keep);
    assert_eq!(ran.code, 1, "{ran:?}");
    let kept = String::from_utf8(bench.bytes("search.json")).expect("UTF-8");
    for (network, property, word) in
        [("narrow.onnx", "narrow-sat.vnnlib", "property"), ("wide.onnx", "wide-unsat.vnnlib", "network")]
    {
        let ran = bench.verify(network, property, &keep);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(&format!("search.json: it was kept for another {word}")), "{ran:?}");
    }
    let children = kept.find("\"parents\":[0,0,").expect("a cut");
    for (broken, words) in [
        (kept[..kept.len() / 2].to_owned(), "not a kept search"),
        (kept.replace("secateur.search/1", "secateur.search/2"), "format"),
        (kept.replacen("\"parents\":[0,0,", "\"parents\":[0,9,", 1), "broken"),
        (kept.replacen("\"coordinate\":", "\"coordinate\":4", 1), "broken"),
        (kept.replacen("{\"node\":", "{\"node\":9", 1), "broken"),
        (kept.replacen("\"below\":1", "\"below\":0", 1), "broken"),
        (kept.replacen("\"open\":[{", "\"also\":0,\"open\":[{", 1), "not a kept search"),
    ] {
        assert!(broken != kept && children > 0, "{words}");
        std::fs::write(bench.path("search.json"), broken).expect("written");
        let ran = bench.verify("narrow.onnx", "narrow-unsat.vnnlib", &keep);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words}: {ran:?}");
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
}
