//! `secateur compare`, `secateur verify --network` and the checks of what they write, as a person runs them, on two
//! fixtures and their masks.

use std::path::Path;

use secateur::certify::json::canonical;
use secateur::policy::emit::emit_npy;
use secateur_checker::load::load_policy;
use secateur_testkit::programs::{Ran, run, secateur, secateur_check};
use tempfile::TempDir;

const OUT: &str = "p.cert.dsse.json";
/// The mask that is compared, and another one of the chain.
const MASK: &str = "mask-02.safetensors";
const OTHER: &str = "mask-01.safetensors";
/// A difference that no output has in [`BOX`], and one that some input shows.
const PROVED: &str = "0.5";
const SHOWN: &str = "0.1";
/// Around the upright position: cosine, sine, velocity.
const BOX: [&str; 2] = ["--lower=0.9,-0.2,-0.5", "--upper=1,0.2,0.5"];

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// A folder with keys, in which commands run.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let made = run(secateur(folder.path()).args(["keygen", "--out", "keys"]));
        assert_eq!(made.code, 0, "{made:?}");
        Self(folder)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(secateur(self.0.path()).arg("--quiet").args(arguments))
    }

    /// `compare` of the pendulum under one of its masks, written with its canonical files.
    fn compare(&self, mask: &str, more: &[&str]) -> Ran {
        let (policy, mask) = (fixture("pendulum-relu-sa"), pendulum_mask(mask));
        let mut arguments =
            vec!["compare", &policy, "--mask", &mask, "--key", "keys/secateur.pem", "--out", OUT];
        arguments.extend(["--canonical", "canonical"].iter().chain(more));
        self.run(&arguments)
    }

    /// `check` against the policy and its mask, with the property that lies beside the certificate.
    fn check(&self, mask: &str) -> Ran {
        let policy = fixture("pendulum-relu-sa");
        let (dense, pruned) = (format!("dense={policy}"), format!("pruned={policy}"));
        let mask = format!("pruned={}", pendulum_mask(mask));
        let trust = ["p.property.json", "--trust", "keys/trust.json", OUT];
        let mut arguments = vec!["check", "--network", &dense, "--network", &pruned, "--network-mask", &mask];
        arguments.extend(trust);
        self.run(&arguments)
    }

    /// The trusted program on canonical folders in this order.
    fn check_canonical(&self, folders: &[&str]) -> Ran {
        let rest = ["--property", "canonical/property.json", "--trust", "keys/trust.json", OUT];
        run(secateur_check(self.0.path()).args(folders).args(rest))
    }
}

fn pendulum_mask(name: &str) -> String {
    fixture(&format!("pendulum-relu-sa/masks/{name}"))
}

const FOLDERS: [&str; 2] = ["canonical/dense", "canonical/pruned"];

fn assert_rejected(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 3, "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

#[test]
fn a_difference_is_proved_and_checked() {
    let bench = Bench::new();
    let ran = bench.compare(MASK, &[&BOX[..], &["--delta", PROVED]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let says = format!("in the box every output of dense and pruned differs by less than {PROVED}");
    assert!(ran.stdout.starts_with("unsat\n") && ran.stdout.contains(&says), "{}", ran.stdout);
    for checked in [bench.check(MASK), bench.check_canonical(&FOLDERS)] {
        assert_eq!(checked.code, 0, "{checked:?}");
        assert!(checked.stdout.contains(&says), "{}", checked.stdout);
        let policies = checked.stdout.lines().filter(|line| line.starts_with("policy ")).count();
        assert_eq!(policies, 2, "{}", checked.stdout);
    }
    // Another mask, the networks exchanged, one of them twice, one alone.
    assert_rejected(&bench.check(OTHER), &["policy.safetensors"]);
    assert_rejected(
        &bench.check_canonical(&["canonical/pruned", "canonical/dense"]),
        &["policy.safetensors"],
    );
    assert_rejected(&bench.check_canonical(&["canonical/dense"; 2]), &["policy.safetensors"]);
    assert_rejected(&bench.check_canonical(&["canonical/dense"]), &["2 networks, and 1 are given"]);
    // A smaller difference, an exchange of what is read: the property is another one.
    let path = bench.0.path().join("canonical/property.json");
    let text = std::fs::read_to_string(&path).expect("property");
    for (from, to) in
        [("\"-1/2\"".to_owned(), "\"-1/4\"".to_owned()), (READS.to_owned(), EXCHANGED.to_owned())]
    {
        assert!(text.contains(&from), "{text}");
        std::fs::write(&path, text.replace(&from, &to)).expect("write");
        assert_rejected(&bench.check_canonical(&FOLDERS), &["property.json"]);
    }
}

/// Both networks, the property, the certificate and its proof lie in one file, which is all that a check needs.
#[test]
fn a_pair_lies_in_a_bundle() {
    let bench = Bench::new();
    let ran = bench.compare(MASK, &[&BOX[..], &["--delta", PROVED]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let rest = ["--property", "p.property.json", "--out", "pair.secateur", "--force"];
    let bundle = |folders: &[&str]| bench.run(&[&["bundle"], folders, &[OUT], &rest].concat());
    let made = bundle(&FOLDERS);
    assert!(made.code == 0 && made.stdout.contains("several networks"), "{made:?}");
    let path = bench.0.path().join("pair.secateur");
    let bytes = std::fs::read(&path).expect("a bundle");
    let alone = ["pair.secateur", "--trust", "keys/trust.json"];
    let check = || run(secateur_check(bench.0.path()).args(alone));
    let says = format!("in the box every output of dense and pruned differs by less than {PROVED}");
    for checked in [check(), bench.run(&[&["check"], &alone[..]].concat())] {
        assert!(checked.code == 0 && checked.stdout.contains(&says), "{checked:?}");
    }
    // The folders in another order, one of them twice, one alone, one too many.
    for (folders, code) in [
        (["canonical/pruned", "canonical/dense"].as_slice(), 3),
        (&["canonical/dense"; 2], 3),
        (&["canonical/dense"], 2),
        (&["canonical/dense", "canonical/pruned", "canonical/pruned"], 2),
    ] {
        let refused = bundle(folders);
        assert_eq!(refused.code, code, "{folders:?}: {refused:?}");
    }
    assert_eq!(std::fs::read(&path).expect("a bundle"), bytes, "refused bundles replace nothing");
    // A network that is moved to a third place is used by nobody, and one that is not there is missed.
    let opened = bench.run(&["bundle", "--open", "pair.secateur", "--to", "opened"]);
    assert_eq!(opened.code, 0, "{opened:?}");
    assert!(opened.stdout.contains("opened/policy opened/policy-2 --property"), "{opened:?}");
    let dense = std::fs::read(bench.0.path().join("opened/policy/policy.safetensors")).expect("a file");
    assert_eq!(
        dense,
        std::fs::read(bench.0.path().join("canonical/dense/policy.safetensors")).expect("a file")
    );
    let name = b"policy-2/policy.safetensors";
    let mut moved = bytes.clone();
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .step_by(512)
        .filter(|at| bytes[*at..].starts_with(b"policy-2/"))
        .collect();
    assert_eq!(places.len(), 2);
    for at in places {
        // The checksum of the header is the sum of its bytes.
        moved[at + 7] = b'3';
        let sum = usize::from_str_radix(std::str::from_utf8(&moved[at + 148..at + 154]).expect("digits"), 8);
        let sum = format!("{:06o}", sum.expect("a sum") + 1);
        moved[at + 148..at + 154].copy_from_slice(sum.as_bytes());
    }
    std::fs::write(&path, &moved).expect("write");
    let refused = check();
    assert!(refused.code == 2 || refused.code == 3, "{refused:?}");
    assert!(refused.stderr.contains("2 networks, and 1 are given"), "{refused:?}");
}

/// The smallest difference that a few boxes prove lies between what is met at a point and what intervals say, sinks with more
/// of them, and is proved, signed and checked as any other.
#[test]
fn the_smallest_difference_is_found_and_proved() {
    let bench = Bench::new();
    let decimals = |text: &str, before: &str| -> f64 {
        let after = text.split(before).nth(1).unwrap_or_else(|| panic!("{before}: {text}"));
        let number = after.trim_start().split([' ', '\n']).next().expect("a number");
        number.trim_end_matches(',').parse().unwrap_or_else(|_| panic!("{number}: {text}"))
    };
    let (mut found, mut shown_at) = (Vec::new(), 0.0f64);
    for boxes in ["1", "40", "400"] {
        let ran = bench.compare(MASK, &[&BOX[..], &["--smallest-delta", boxes, "--force"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.starts_with("unsat\n"), "{}", ran.stdout);
        let (proved, met) = (decimals(&ran.stdout, "by less than"), decimals(&ran.stdout, "a difference of"));
        let shown: f64 = SHOWN.parse().expect("a number");
        assert!(met > shown && proved > met, "{}", ran.stdout);
        found.push(proved);
        shown_at = shown_at.max(met);
        for checked in [bench.check(MASK), bench.check_canonical(&FOLDERS)] {
            assert_eq!(checked.code, 0, "{checked:?}");
            assert_eq!(decimals(&checked.stdout, "by less than"), proved);
        }
    }
    assert!(found[0] > 1.2 * found[1] && found[1] >= found[2], "{found:?}");
    // What is said to be met is: an input shows nearly as much, and none shows what was proved.
    for (delta, verdict) in [(0.9999 * shown_at, "sat\n"), (found[2], "unsat\n")] {
        let ran = bench.compare(MASK, &[&BOX[..], &["--delta", &format!("{delta:.9}"), "--force"]].concat());
        assert!(ran.stdout.starts_with(verdict), "{delta}: {ran:?}");
    }
    // Of several boxes the largest difference counts, of those proved and of those met.
    let states = fixture("pendulum-relu-sa/states.npy");
    let around = |limit: &str| {
        let asked =
            ["--states", &states, "--limit", limit, "--epsilon", "0.02", "--smallest-delta", "--force"];
        let ran = bench.compare(MASK, &asked);
        assert!(ran.code == 0 && ran.stdout.starts_with("unsat\n"), "{ran:?}");
        (decimals(&ran.stdout, "by less than"), decimals(&ran.stdout, "a difference of"))
    };
    let (first, several) = (around("1"), around("7"));
    assert!(several.0 > first.0 && several.1 > first.1, "{first:?} {several:?}");
    for (proved, met) in [first, several] {
        assert!(met < proved && proved <= 1.02 * met, "{met} {proved}");
    }
    for (more, word) in [
        (&["--smallest-delta", "0"][..], "--smallest-delta"),
        (&["--smallest-delta", "--delta", "1"], "cannot be used with"),
        (&["--smallest-delta", "--resume", "s.json"], "cannot be used with"),
    ] {
        let refused = bench.compare(MASK, &[&BOX[..], more].concat());
        assert!(refused.code == 2 && refused.stderr.contains(word), "{word}: {refused:?}");
    }
}

/// The proof for one mask begins that for another, though one tree proves all cases of a box; what is no such proof is refused.
#[test]
fn a_proof_of_a_pair_begins_the_next() {
    let bench = Bench::new();
    let asked = [&BOX[..], &["--delta", "0.22"]].concat();
    assert_eq!(bench.compare(OTHER, &asked).code, 0);
    let proof = bench.0.path().join("p.proof.json");
    let earlier = std::fs::read_to_string(&proof).expect("proof");
    assert!(earlier.contains("\"together\":[\"2\"]"), "{earlier}");
    std::fs::write(bench.0.path().join("earlier.json"), &earlier).expect("write");
    let ran = bench.compare(MASK, &[&asked[..], &["--leaves", "earlier.json", "--force"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("unsat\n") && ran.stdout.contains("leaves given"), "{}", ran.stdout);
    let now = std::fs::read_to_string(&proof).expect("proof");
    // Its cuts are the first of what is proved now, which takes more of them.
    let cuts = |proof: &str| proof.matches("children").count();
    assert!(cuts(&earlier) > 1 && cuts(&now) > cuts(&earlier), "{earlier}\n{now}");
    assert!(ran.stdout.contains(&format!("\n{} leaves given", cuts(&earlier) + 1)), "{}", ran.stdout);
    assert_eq!(bench.check(MASK).code, 0);
    for (to, word) in [("[\"3\"]", "3 cases"), ("[\"0\"]", "0 cases"), ("[]", "0 cases")] {
        let other = earlier.replace("[\"2\"]", to);
        std::fs::write(bench.0.path().join("other.json"), other).expect("write");
        let refused = bench.compare(MASK, &[&asked[..], &["--leaves", "other.json", "--force"]].concat());
        assert!(refused.code == 2 && refused.stderr.contains(word), "{word}: {refused:?}");
    }
}

/// A search whose time is over answers unknown.
#[test]
fn time_that_runs_out_is_no_answer() {
    let bench = Bench::new();
    let asked = [&BOX[..], &["--delta", PROVED, "--seconds"]].concat();
    let ran = bench.compare(MASK, &[&asked[..], &["0.000001"]].concat());
    assert!(ran.code == 1 && ran.stdout.starts_with("unknown\n"), "{ran:?}");
    assert!(ran.stdout.contains("before it had looked everywhere"), "{ran:?}");
    assert_eq!(bench.compare(MASK, &[&asked[..], &["600"]].concat()).code, 0);
    for seconds in ["0", "-1", "soon", "inf"] {
        let refused = bench.compare(MASK, &[&asked[..], &[seconds, "--force"]].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
    }
}

const READS: &str = r#"{"name":"pruned","reads":["0","1","2"]}"#;
const EXCHANGED: &str = r#"{"name":"pruned","reads":["1","0","2"]}"#;

#[test]
fn a_difference_is_shown_at_an_exact_input() {
    let bench = Bench::new();
    let ran = bench.compare(MASK, &[&BOX[..], &["--delta", SHOWN]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let says = format!("at an input some output of dense and pruned differs by {SHOWN} or more");
    assert!(ran.stdout.starts_with("sat\n") && ran.stdout.contains(&says), "{}", ran.stdout);
    // Each network's own output, which differ by that much.
    let output = |network: &str| -> f64 {
        let line = ran.stdout.lines().find_map(|line| line.trim().strip_prefix(&format!("{network}.Y_0 = ")));
        line.unwrap_or_else(|| panic!("{network}: {}", ran.stdout)).parse().expect("a number")
    };
    assert!((output("dense") - output("pruned")).abs() > 0.099, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("Y_").count(), 2, "{}", ran.stdout);
    for checked in [bench.check(MASK), bench.check_canonical(&FOLDERS)] {
        assert_eq!(checked.code, 0, "{checked:?}");
        assert!(checked.stdout.contains(&says), "{}", checked.stdout);
    }
    let ran = bench.compare(MASK, &[&BOX[..], &["--delta", SHOWN, "--force", "--format", "json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    for network in ["dense", "pruned"] {
        assert_eq!(document["outputs"][network].as_array().map(Vec::len), Some(1), "{document}");
    }
}

/// Two masks of a chain, around states, with fewer steps than it takes.
#[test]
fn masks_are_compared_around_states() {
    let bench = Bench::new();
    let (policy, states) = (fixture("pendulum-relu-sa"), fixture("pendulum-relu-sa/states.npy"));
    let (loose, tight) = (pendulum_mask(MASK), pendulum_mask(OTHER));
    let plain = ["compare", &policy, "--mask", &loose, "--mask", &tight, "--states", &states, "--limit", "2"];
    let ask = |more: &[&str]| bench.run(&[&plain[..], more].concat());
    let ran = ask(&["--epsilon", "0.001", "--delta", "5"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("unsat: in 2 boxes every output"), "{}", ran.stdout);
    let wide = ask(&["--radii", "0.5,0.5,4", "--delta", "3", "--steps", "1"]);
    assert!(wide.code == 1 && wide.stdout.starts_with("unknown\n"), "{wide:?}");
    for (more, word) in [
        (&["--epsilon", "0.001", "--delta", "0"][..], "must be above 0"),
        (&["--epsilon", "0.001", "--same-action"], "one action"),
        (&["--delta", "1"], "epsilon"),
        (&["--epsilon", "0.001"], "--delta"),
    ] {
        let refused = ask(more);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
}

/// A state of zeros in the units that the network reads is the normaliser's mean in those of observations.
#[test]
fn states_are_read_in_their_units() {
    let bench = Bench::new();
    let (policy, mask) = (fixture("hopper-tanh"), fixture("hopper-tanh/masks/mask-01.safetensors"));
    let text = std::fs::read_to_string(Path::new(&policy).join("policy.json")).expect("policy.json");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(manifest["normaliser"].is_object(), "{text}");
    let zeros = emit_npy(1, 11, &[0.0; 11]);
    std::fs::write(bench.0.path().join("zeros.npy"), zeros).expect("write");
    let lower = |units: &[&str]| {
        let plain = ["compare", &policy, "--mask", &mask, "--states", "zeros.npy", "--epsilon", "0"];
        let more = ["--delta", "9", "--key", "keys/secateur.pem", "--out", OUT, "--force"];
        let ran = bench.run(&[&plain[..], &more, units].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let text = std::fs::read_to_string(bench.0.path().join("p.property.json")).expect("property");
        let property: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        property["cases"][0]["lower"].as_array().expect("a box").clone()
    };
    let raw = lower(&[]);
    assert!(raw.iter().all(|x| x == "0"), "{raw:?}");
    assert_eq!(raw, lower(&["--state-units", "raw"]));
    let read = load_policy(Path::new(&policy)).expect("policy");
    let mean = read.files.policy.normaliser.expect("a normaliser").mean;
    let expected: Vec<String> = mean.iter().map(|m| m.to_rational().to_string()).collect();
    assert_eq!(lower(&["--state-units", "normalised"]), expected);
}

/// The cart pole's two actions, between a tanh policy and its mask: the same far from where it changes its mind, the more so
/// where it is confident.
#[test]
fn actions_are_compared() {
    let bench = Bench::new();
    let (policy, mask) = (fixture("cartpole-tanh"), fixture("cartpole-tanh/masks/mask-01.safetensors"));
    let ask = |velocity: [&str; 2], question: &[&str]| {
        let (lower, upper) = (
            format!("--lower=-0.1,{0},0.05,{0}", velocity[0]),
            format!("--upper=0.1,{0},0.1,{0}", velocity[1]),
        );
        bench.run(&[&["compare", &policy, "--mask", &mask, &lower, &upper], question].concat())
    };
    let ran = ask(["0.9", "1"], &["--same-action"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("an output that is greatest in dense is greatest in pruned, alone"),
        "{ran:?}"
    );
    let ran = ask(["-1", "1"], &["--same-action"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("sat\n"), "{ran:?}");
    let ran = ask(["-0.2", "0.2"], &["--same-action-above", "0.999"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // ln 999 is 6.906754..., and a millionth is taken off what is rounded down.
    assert!(ran.stdout.contains("greatest in dense by 6.906753 or more"), "{ran:?}");
    for p in ["0.4", "1"] {
        let refused = ask(["0.9", "1"], &["--same-action-above", p]);
        assert!(refused.code == 2 && refused.stderr.contains("at least 1/2 and below 1"), "{refused:?}");
    }
}

/// VNN-LIB 2.0 over two networks: the pendulum and its mask, exported; `equal-to` needs no second file.
#[test]
fn properties_of_two_networks_are_verified() {
    let bench = Bench::new();
    let policy = fixture("pendulum-relu-sa");
    let export = |mask: &[&str], out: &str| {
        let ran = bench.run(&[&["export", &policy, "--to", out], mask].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    export(&[], "f.onnx");
    export(&["--masks", &fixture("pendulum-relu-sa/masks"), "--mask", "2"], "g.onnx");
    let property = |relation: &str, delta: &str| {
        let text = format!(
            "(vnnlib-version <2.0>)
             (declare-network f (declare-input X real [1,3]) (declare-output Y real [1,1]))
             (declare-network g ({relation} f) (declare-input U real [1,3]) (declare-output V real [1,1]))
             (assert (and (>= X[0,0] 0.9) (<= X[0,0] 1) (>= X[0,1] -0.2) (<= X[0,1] 0.2)))
             (assert (and (>= X[0,2] -0.5) (<= X[0,2] 0.5)))
             (assert (and (== U[0,0] X[0,0]) (== U[0,1] X[0,1]) (== U[0,2] X[0,2])))
             (assert (or (> V[0,0] (+ Y[0,0] {delta})) (< V[0,0] (- Y[0,0] {delta}))))"
        );
        std::fs::write(bench.0.path().join("p.vnnlib"), text).expect("write");
    };
    let verify = |networks: &[&str]| {
        let fixed = [
            "verify",
            "p.vnnlib",
            "--key",
            "keys/secateur.pem",
            "--out",
            OUT,
            "--canonical",
            "canonical",
            "--force",
        ];
        bench.run(&[&fixed[..], networks].concat())
    };
    let check = |networks: &[&str]| {
        bench.run(&[&["check", "p.vnnlib", OUT, "--trust", "keys/trust.json"], networks].concat())
    };
    let (f, g, swapped) = (["--network", "f=f.onnx"], ["--network", "g=g.onnx"], ["--network", "f=g.onnx"]);
    let both = [f, g].concat();
    property("isomorphic-to", PROVED);
    let ran = verify(&both);
    assert!(ran.code == 0 && ran.stdout.starts_with("unsat\n"), "{ran:?}");
    assert!(
        ran.stdout.contains(&format!("every output of f and g differs by less than {PROVED}")),
        "{ran:?}"
    );
    assert_eq!(check(&both).code, 0);
    assert_eq!(check(&[g, f].concat()).code, 0, "names count, not their order");
    assert_rejected(&check(&[swapped, ["--network", "g=f.onnx"]].concat()), &["f/policy.json", "g.onnx"]);
    property("isomorphic-to", SHOWN);
    assert_rejected(&check(&both), &["property.json"]);
    let ran = verify(&both);
    assert!(ran.code == 0 && ran.stdout.starts_with("sat\n"), "{ran:?}");
    assert_eq!(check(&both).code, 0);
    property("equal-to", SHOWN);
    let ran = verify(&f);
    assert!(ran.code == 0 && ran.stdout.starts_with("unsat\n"), "{ran:?}");
    for (networks, word) in [
        (&both[..], "equal to another network"),
        (&g, "give --network \"f\"=PATH"),
        (&["--network", "h=f.onnx"], "the property names f, g"),
        (&["--network", "f"], "NAME=PATH"),
        (&[], "--network"),
    ] {
        let refused = verify(networks);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
}

/// A certificate whose second network is another file than the one that is handed over, signed by the right key.
#[test]
fn another_network_under_a_true_signature_is_refused() {
    let bench = Bench::new();
    let ran = bench.compare(MASK, &[&BOX[..], &["--delta", PROVED]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let path = bench.0.path().join(OUT);
    let bytes = std::fs::read(&path).expect("certificate");
    let envelope = secateur_checker::reader::dsse::parse_envelope(&bytes).expect("envelope");
    let numbers = secateur_checker::reader::json::Numbers::Refused;
    let mut payload =
        secateur_checker::reader::json::parse(&envelope.payload, 1 << 24, numbers).expect("JSON");
    let text = canonical(&payload);
    // The digest of the dense tensors stands where that of the pruned ones was.
    let digests: Vec<String> = [FOLDERS[0], FOLDERS[1]]
        .map(|folder| bench.0.path().join(folder).join("policy.safetensors"))
        .map(|path| secateur_checker::reader::digest::sha256_hex(&std::fs::read(path).expect("tensors")))
        .to_vec();
    let lied = text.replace(&digests[1], &digests[0]);
    assert_ne!(text, lied);
    payload = secateur_checker::reader::json::parse(lied.as_bytes(), 1 << 24, numbers).expect("JSON");
    let key = secateur::certify::keys::Key::read(&bench.0.path().join("keys/secateur.pem")).expect("key");
    let signed = key.sign(&envelope.payload_type, canonical(&payload).into_bytes());
    std::fs::write(&path, secateur::certify::emit::emit_envelope(&signed)).expect("write");
    assert_rejected(&bench.check_canonical(&FOLDERS), &["policy.safetensors"]);
    // Handed over as it lies: the files fit, their stack has other weights.
    assert_rejected(&bench.check_canonical(&[FOLDERS[0], FOLDERS[0]]), &[]);
}

/// What the pendulum's first output, a mean torque, is asked to reach in [`BOX`].
fn reaches(bound: &str) -> String {
    let inputs = ["0.9 1", "-0.2 0.2", "-0.5 0.5"];
    let mut text = String::from("(declare-const Y_0 Real)\n");
    for (i, ends) in inputs.iter().enumerate() {
        let (lower, upper) = ends.split_once(' ').expect("two ends");
        text +=
            &format!("(declare-const X_{i} Real)(assert (>= X_{i} {lower}))(assert (<= X_{i} {upper}))\n");
    }
    text + &format!("(assert (>= Y_0 {bound}))\n")
}

/// A property of one network holds of the policy under a mask, which the check is then about too.
#[test]
fn a_property_is_decided_under_a_mask() {
    let bench = Bench::new();
    let (policy, mask, other) = (fixture("pendulum-relu-sa"), pendulum_mask(MASK), pendulum_mask(OTHER));
    std::fs::write(bench.0.path().join("p.vnnlib"), reaches("100")).expect("write");
    let named = ["p.vnnlib", "--mask", &mask, "--key", "keys/secateur.pem", "--out", OUT];
    let decided = bench.run(&[&["verify", &policy], &named[..]].concat());
    assert!(decided.code == 0 && decided.stdout.starts_with("unsat\n"), "{decided:?}");
    let trusted = |more: &[&str]| {
        bench.run(&[&["check", &policy, "p.vnnlib", OUT, "--trust", "keys/trust.json"], more].concat())
    };
    let checked = trusted(&["--mask", &mask]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert_rejected(&trusted(&["--mask", &other]), &["policy.safetensors"]);
    assert_rejected(&trusted(&[]), &["policy.safetensors"]);
    // The proof of one mask begins the search for the next.
    let begun = bench.run(&["verify", &policy, "p.vnnlib", "--mask", &other, "--leaves", "p.proof.json"]);
    assert!(begun.code == 0 && begun.stdout.starts_with("unsat\n"), "{begun:?}");
    assert!(begun.stdout.contains(" 0 that no leaf covers"), "{begun:?}");
    for (arguments, said) in [
        (["verify", "net.onnx", "p.vnnlib", "--mask", &mask].as_slice(), "a policy directory as NETWORK"),
        (&["check", &policy, OUT, "--mask", &mask, "--trust", "keys/trust.json"], "takes --masks"),
        (&["verify", "p.vnnlib", "--network", "f=n.onnx", "--mask", &mask], "cannot be used with"),
        (
            &["verify", &policy, "p.vnnlib", "--mask", &mask, "--key", "keys/secateur.pem", "--out", &mask],
            "is an input of this command",
        ),
    ] {
        let refused = bench.run(arguments);
        assert!(refused.code == 2 && refused.stderr.contains(said), "{arguments:?}: {refused:?}");
    }
}
