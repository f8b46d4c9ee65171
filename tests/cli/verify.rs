//! `secateur verify` and `secateur check NETWORK PROPERTY CERTIFICATE` as a person runs them, on the networks and
//! properties of `fixtures/properties`.

use std::path::{Path, PathBuf};
use std::process::Command;

use secateur::certify::json::canonical;
use secateur::certify::keys::Key;
use secateur_checker::number::Rational;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::{Envelope, parse_envelope};
use secateur_checker::reader::json::{Numbers, Value, parse};
use secateur_testkit::programs::{Ran, run, secateur, secateur_check};
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
    assert!(found.stdout.contains("checked counterexample in case 0 ("), "{found:?}");
    assert!(!bench.path(PROOF).exists());
    let checked = bench.check_both("narrow.onnx", "narrow-sat.vnnlib");
    assert_eq!((checked.code, first_line(&checked)), (0, "sat"), "{checked:?}");
    assert!(checked.stdout.contains("verified"), "{checked:?}");
}

/// Two properties of `narrow.onnx` before a normaliser: the same verdicts, of observations; a policy folder with a
/// normaliser says the same.
#[test]
fn a_normaliser_is_part_of_the_network() {
    for verdict in ["unsat", "sat"] {
        let bench = Bench::new();
        let property = format!("scaled-{verdict}.vnnlib");
        let found = bench.verify("scaled.onnx", &property, &[]);
        assert_eq!((found.code, first_line(&found)), (0, verdict), "{found:?}");
        let checked = bench.check_both("scaled.onnx", &property);
        assert_eq!((checked.code, first_line(&checked)), (0, verdict), "{checked:?}");
        let folder = run(&mut bench.command(&["verify", "canonical", &fixture(&property)]));
        assert_eq!((folder.code, first_line(&folder)), (0, verdict), "{folder:?}");
        // The box of the other property is what the network reads: here it asks for more.
        let other = bench.verify("scaled.onnx", "narrow-unsat.vnnlib", &["--steps", "2000", "--force"]);
        assert_eq!((other.code, first_line(&other)), (0, "sat"), "{other:?}");
    }
    let bench = Bench::new();
    bench.verify("scaled.onnx", "scaled-sat.vnnlib", &[]);
    let point = ["predicate", "counterexample", "point"];
    let mut stated = Value::Array(Vec::new());
    bench.resign(|payload| stated = at(payload, &point).clone());
    let Value::Array(numbers) = stated else { panic!("a point") };
    let inputs = numbers.iter().map(|n| match n {
        Value::String(n) => secateur::float::rational_to_float(&Rational::parse(n).expect("a number")),
        _ => panic!("{n:?}"),
    });
    let inputs: Vec<f64> = inputs.collect();
    assert!((0.25..=0.75).contains(&inputs[0]) && (-5.0..=1.0).contains(&inputs[1]), "{inputs:?}");
    bench.resign(|payload| *at(payload, &point) = Value::Array(vec![text("-1"), text("0")]));
    assert_rejected(&bench.check_both("scaled.onnx", "scaled-sat.vnnlib"), &["leaves the box at input 0"]);
}

/// A property of the box [-1, 1] x [-1, 1] of the small networks.
fn boxed(asserts: &str) -> String {
    let bounds = "(assert (and (>= X_0 -1) (<= X_0 1) (>= X_1 -1) (<= X_1 1)))";
    let names = ["X_0", "X_1", "Y_0", "Y_1"].map(|n| format!("(declare-const {n} Real)"));
    format!("{}\n{bounds}\n{asserts}\n", names.join("\n"))
}

/// What cannot be, whatever the network, is `unsat` without a cut, and the proof says so; what cannot be together over this
/// box only, too.
#[test]
fn contradictory_outputs_are_refuted_together() {
    let bench = Bench::new();
    for asserts in [
        "(assert (>= Y_0 -0.1)) (assert (<= Y_0 -0.15))",
        "(assert (>= Y_0 Y_1)) (assert (>= Y_1 (+ Y_0 0.5)))",
        "(assert (<= (* 3 Y_0) -0.45)) (assert (>= (* 7 Y_0) -0.7)) (assert (<= Y_1 0.5))",
        "(assert (>= Y_0 -0.1)) (assert (<= Y_0 -0.10001))",
        "(assert (and (<= -0.5 X_0) (<= X_0 -0.1) (<= -0.6 X_1) (<= X_1 -0.2) (<= Y_0 -0.1309) (<= Y_1 0.1406)))",
    ] {
        for network in ["narrow.onnx", "smooth.onnx"] {
            if network == "smooth.onnx" && asserts.contains("<= Y_1 0.1406") {
                continue;
            }
            std::fs::write(bench.path("together.vnnlib"), boxed(asserts)).expect("written");
            let network = fixture(network);
            let asked = ["verify", &network, "together.vnnlib", "--key", "keys/secateur.pem", "--steps", "1"];
            let found =
                run(bench.command(&asked).args(["--out", OUT, "--canonical", "canonical", "--force"]));
            assert_eq!((found.code, first_line(&found)), (0, "unsat"), "{asserts} {found:?}");
            let proof = String::from_utf8(bench.bytes(PROOF)).expect("UTF-8");
            assert!(proof.contains(r#""node":"combination""#), "{proof}");
            assert!(!proof.contains("children"), "{proof}");
            assert_eq!(bench.check_canonical().code, 0, "{asserts}");
            let emptied = proof.replace(r#""multipliers":"1 1""#, r#""multipliers":"0 0""#);
            if emptied != proof {
                bench.reproof(&emptied);
                assert_rejected(&bench.check_canonical(), &["not above"]);
            }
        }
    }
}

/// Bands of outputs that no step of a fixed size hits, of ReLU and of tanh networks.
#[test]
fn narrow_bands_are_reached() {
    let bench = Bench::new();
    for (network, asserts) in [
        ("narrow.onnx", "(assert (>= Y_0 -0.2)) (assert (<= Y_0 -0.1999999))"),
        ("narrow.onnx", "(assert (and (>= Y_0 -0.1) (<= Y_0 -0.09999999999)))"),
        (
            "narrow.onnx",
            "(assert (and (>= Y_0 -0.11385) (<= Y_0 -0.11384) (>= Y_1 -0.1486) (<= Y_1 -0.1485)))",
        ),
        ("smooth.onnx", "(assert (>= Y_0 0.1)) (assert (<= Y_0 0.10001))"),
        ("smooth.onnx", "(assert (>= (- Y_0 Y_1) 0.7)) (assert (<= (- Y_0 Y_1) 0.7000000001))"),
        ("smooth.onnx", "(assert (and (>= Y_0 0.0919) (<= Y_0 0.09192) (>= Y_1 -0.6326) (<= Y_1 -0.6325)))"),
    ] {
        std::fs::write(bench.path("band.vnnlib"), boxed(asserts)).expect("written");
        let found = run(&mut bench.command(&["verify", &fixture(network), "band.vnnlib", "--steps", "500"]));
        assert_eq!((found.code, first_line(&found)), (0, "sat"), "{asserts}: {found:?}");
    }
}

/// Inputs that are fixed at a decimal that is no float, and a band that floats find but enclosures cannot decide.
#[test]
fn points_between_floats_are_tried_and_doubtful_ones_dropped() {
    let bench = Bench::new();
    let verify = |network: &str, property: &str| {
        std::fs::write(bench.path("exact.vnnlib"), property).expect("written");
        run(&mut bench.command(&["verify", &fixture(network), "exact.vnnlib", "--steps", "40"]))
    };
    let fixed = boxed("(assert (and (>= X_0 0.1) (<= X_0 0.1) (>= X_1 0.7) (<= X_1 0.7) (<= Y_0 9)))");
    for network in ["narrow.onnx", "smooth.onnx"] {
        let found = verify(network, &fixed);
        assert_eq!((found.code, first_line(&found)), (0, "sat"), "{found:?}");
    }
    let band = boxed("(assert (and (>= Y_0 -0.1) (<= Y_0 -0.099999999999997)))");
    for network in ["narrow.onnx", "smooth.onnx"] {
        let found = verify(network, &band);
        assert_eq!((found.code, first_line(&found)), (1, "unknown"), "{found:?}");
    }
}

/// Decimals with outputs for people, fractions on demand and in JSON.
#[test]
fn a_counterexample_can_be_read() {
    let bench = Bench::new();
    let (network, property) = (fixture("scaled.onnx"), fixture("scaled-sat.vnnlib"));
    let plain = run(&mut bench.command(&["verify", &network, &property]));
    let value = |ran: &Ran, name: &str| {
        let line = ran.stdout.lines().find_map(|l| l.trim().strip_prefix(&format!("{name} = ")));
        line.unwrap_or_else(|| panic!("{name} in {ran:?}")).to_owned()
    };
    let decimal = |ran: &Ran, name: &str| -> f64 { value(ran, name).parse().expect("a decimal") };
    assert!((0.25..=0.75).contains(&decimal(&plain, "X_0")) && decimal(&plain, "Y_0") < -0.428, "{plain:?}");
    assert!(plain.stdout.lines().all(|l| l.len() < 100), "{plain:?}");
    let exact = run(&mut bench.command(&["verify", &network, &property, "--details"]));
    let json = run(&mut bench.command(&["--format", "json", "verify", &network, &property]));
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(document["counterexample"][1], value(&exact, "X_1").as_str());
    assert_eq!(decimal(&exact, "Y_1"), decimal(&plain, "Y_1"));
    for (place, name) in ["X_0", "X_1", "Y_0", "Y_1"].into_iter().enumerate() {
        let list = &document[if place < 2 { "inputs" } else { "outputs" }];
        let number = list[place % 2].as_f64().expect("a number");
        assert!((number - decimal(&plain, name)).abs() <= 1e-5 * number.abs(), "{name} {document}");
    }
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
    let network = std::fs::read(fixture("narrow.onnx")).expect("read");
    let packed = [b"\x1f\x8b\x08\x00".as_slice(), &[0; 20]].concat();
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(good.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let version_2 = "(vnnlib-version <2.0>)\n(declare-network N (declare-input X Real [2]) (declare-output Y Real [2]))\n";
    let latin = [b"; f\xfcr\n(assert (<= X_0 \xb1))".as_slice(), good.as_bytes()].concat();
    for (name, contents, words) in [
        ("a.vnnlib.gz", packed, ["gzip", "unpacked"]),
        ("b.vnnlib", b"BZh9".to_vec(), ["bzip2", "bunzip2"]),
        ("x.vnnlib", b"\xfd7zXZ\x00".to_vec(), ["xz", "unxz"]),
        ("z.vnnlib", b"PK\x03\x04".to_vec(), ["zip", "unpack"]),
        ("n.vnnlib", network, ["ONNX", "NETWORK PROPERTY"]),
        ("u.vnnlib", utf16, ["UTF-16", "save it"]),
        ("v.vnnlib", version_2.into(), ["v.vnnlib", "asserts nothing"]),
        ("w.vnnlib", format!("{good}{version_2}").into(), ["VNN-LIB 2.0", "vnnlib-version <2.0>"]),
        ("f.vnnlib", "\n(declare-fun X_0 () Real)".into(), ["line 2, column 1", "declare-const X_0"]),
        ("s.vnnlib", "(set-logic QF_LRA)".into(), ["line 1, column 1", "set-logic"]),
        ("l.vnnlib", latin, ["line 2, column 17", "U+FFFD"]),
    ] {
        std::fs::write(bench.path(name), contents).expect("written");
        let ran = run(&mut bench.command(&["verify", &fixture("narrow.onnx"), name]));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}: {ran:?}");
        assert!(
            words.iter().all(|w| ran.stderr.contains(w)) && ran.stderr.contains(name),
            "{words:?} {ran:?}"
        );
    }
    std::fs::copy(bench.path("a.vnnlib.gz"), bench.path("net.onnx.gz")).expect("copied");
    let ran = run(&mut bench.command(&["verify", "net.onnx.gz", &fixture("narrow-sat.vnnlib")]));
    assert!(
        ran.code == 2 && ran.stderr.contains("net.onnx.gz: cannot be read: it begins as a gzip file"),
        "{ran:?}"
    );
    let commented = [good.as_bytes(), b"; \xfc\xfe is a comment\n"].concat();
    std::fs::write(bench.path("latin.vnnlib"), commented).expect("written");
    let ran = run(&mut bench.command(&["verify", &fixture("narrow.onnx"), "latin.vnnlib"]));
    assert_eq!((ran.code, first_line(&ran)), (0, "unsat"), "{ran:?}");
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
    assert_rejected(&bench.check_both(network, property), &["side file's size is \"1\""]);
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
        let ran = bench.verify(network, property, &["--steps", "1", "--resume", "search.json"]);
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
        let ran = bench.verify(network, property, &[&keep[..], &["--force"]].concat());
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
