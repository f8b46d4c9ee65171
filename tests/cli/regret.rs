//! Regret on the command line: claims in certificates, finite SA-MDPs, decompositions. The real binary in a temporary
//! folder.

use std::path::{Path, PathBuf};

use secateur::certify::emit::{emit_certificate, emit_envelope};
use secateur::certify::keys::Key;
use secateur::policy::emit::{write_npy, write_policy_dir};
use secateur::policy::{ActivationSpec, HeadData, LayerData, PolicyData, TensorData};
use secateur_checker::kernel::regret::{RewardRange, sup};
use secateur_checker::number::outward;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::{Certificate, parse_certificate};
use secateur_checker::reader::dsse::{PAYLOAD_TYPE, parse_envelope};
use secateur_checker::reader::regret::{Region, RegretClaim, RegretForm};
use secateur_testkit::programs::{self, secateur, secateur_check};
use serde_json::Value;

const SEED: [u8; 32] = [7; 32];

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// Runs, demands the exit code, and returns standard output and standard error.
fn run(arguments: &[&str], code: i32) -> (String, String) {
    let ran = programs::run(secateur(Path::new(env!("CARGO_MANIFEST_DIR"))).args(arguments));
    assert_eq!(ran.code, code, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
    (ran.stdout, ran.stderr)
}

fn json(arguments: &[&str], code: i32) -> Value {
    let arguments: Vec<&str> = ["--format", "json"].into_iter().chain(arguments.iter().copied()).collect();
    serde_json::from_str(&run(&arguments, code).0).unwrap()
}

/// A folder with a CartPole-like policy (4 inputs, 8 tanh, 2 outputs), five states and a key.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(head: HeadData) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let weights = |out: usize, inputs: usize| {
            let number = |i: usize| f64::from(((i * 7 + 3) % 11) as u8) / 8.0 - 0.625;
            TensorData::from_f64(vec![out, inputs], &(0..out * inputs).map(number).collect::<Vec<_>>())
        };
        let layer = |out, inputs, activation| LayerData {
            fixed: false,
            weight: weights(out, inputs),
            bias: TensorData::from_f64(vec![out], &vec![0.125; out]),
            activation,
        };
        let layers = vec![layer(8, 4, ActivationSpec::Tanh), layer(2, 8, ActivationSpec::Identity)];
        let policy = PolicyData { layers, head, normaliser: None, source: None };
        write_policy_dir(&bench.path("policy"), &policy).unwrap();
        let states: Vec<f64> = (0..20).map(|i| f64::from(i % 7) / 4.0 - 0.75).collect();
        write_npy(&bench.path("states.npy"), 5, 4, &states).unwrap();
        Key::from_seed(SEED).write(&bench.path("keys"), "secateur").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `certify` with these options on top; the certificate goes to `cert.json`.
    fn certify(&self, options: &[&str], code: i32) -> (String, String) {
        let paths = ["policy", "states.npy", "keys/secateur.pem", "cert.json"].map(|name| self.word(name));
        let mut arguments = vec!["certify", &paths[0], "--states", &paths[1], "--key", &paths[2]];
        arguments.extend(["--out", &paths[3], "--force", "--epsilon", "0.01", "--quiet"]);
        arguments.extend(options);
        run(&arguments, code)
    }

    fn check(&self, certificate: &str, code: i32) -> (String, String) {
        let paths = ["policy", "states.npy", "keys/trust.json", certificate].map(|name| self.word(name));
        run(&["check", &paths[0], "--states", &paths[1], "--trust", &paths[2], &paths[3], "--quiet"], code)
    }

    fn read(&self) -> Certificate {
        let envelope = parse_envelope(&std::fs::read(self.path("cert.json")).unwrap()).unwrap();
        parse_certificate(&envelope.payload).unwrap()
    }

    /// Signs a certificate with the trusted key.
    fn sign(&self, certificate: &Certificate, name: &str) {
        let envelope = Key::from_seed(SEED).sign(PAYLOAD_TYPE, emit_certificate(certificate).into_bytes());
        std::fs::write(self.path(name), emit_envelope(&envelope)).unwrap();
    }
}

const CART_POLE: [&str; 4] = ["--discount", "0.99", "--reward-range", "1,1"];

#[test]
fn claims_for_every_family_and_form_are_made_checked_and_shown() {
    let bench = Bench::new(HeadData::Categorical);
    let (out, _) = bench.certify(
        &[
            "--family",
            "sensitivity,ibp",
            "--discount",
            "0.9",
            "--horizon",
            "20",
            "--reward-range",
            "-1,2",
            "--details",
        ],
        0,
    );
    let certificate = bench.read();
    let words: Vec<String> = certificate
        .regret
        .iter()
        .map(|c| format!("{} {} {}", c.family, c.form.name(), c.region.name()))
        .collect();
    let expected = [
        "sensitivity sup all-states",
        "sensitivity horizon all-states",
        "ibp sup listed-states",
        "ibp horizon listed-states",
    ];
    assert_eq!(words, expected);
    for assumption in ["discount", "horizon", "reward-range", "episodes", "listed-states", "sampled-actions"]
    {
        let listed = certificate.assumptions.iter().find(|a| a.starts_with(&format!("{assumption}:")));
        assert!(out.contains(listed.unwrap()), "{assumption}\n{out}");
    }
    let (shown, _) = run(&["show", &bench.word("cert.json")], 0);
    let (checked, _) = bench.check("cert.json", 0);
    // dR / (1 - g) = 30 and dR T = 60: what any policy can lose.
    assert!(out.contains("of at most") && out.contains(" 30 ") && out.contains(" 60 "), "{out}");
    for claim in &certificate.regret {
        let value = outward(&r(&claim.value), Rounding::Up);
        assert!(out.contains(&value) && shown.contains(&value) && checked.contains(&value));
    }
    let document = json(&["show", &bench.word("cert.json")], 0);
    assert_eq!(document["regret"].as_array().unwrap().len(), 4);
    assert_eq!(document["regret"][0]["discount"], "9/10");
    assert_eq!(document["regret"][1]["horizon"], 20);
}

/// The claim is the rule's value for the largest total variation claimed, up to the rounding of both to 12 digits.
#[test]
fn the_claim_follows_from_the_total_variation() {
    let bench = Bench::new(HeadData::Categorical);
    bench.certify(&["--family", "ibp", "--discount", "0.9", "--reward-range", "-1,2"], 0);
    let certificate = bench.read();
    let tv = certificate.claims.iter().find(|c| c.quantity == "total-variation").unwrap();
    assert_eq!(tv.values.len(), 5);
    let largest = tv.values.iter().map(|v| r(v)).max().unwrap();
    let pays = RewardRange { lower: r("-1"), upper: r("2"), episodes_can_end: true };
    let from_claims = sup(&pays, &r("0.9"), &largest).unwrap();
    let claimed = r(&certificate.regret[0].value);
    let off = claimed.sub(&from_claims).abs().div(&from_claims).unwrap();
    assert!(off < r("1e-10"), "{claimed} {from_claims}");
}

/// Every step of CartPole pays 1. The value lost is then not 0, for an episode can end sooner.
#[test]
fn cart_pole_rewards_do_not_certify_zero_regret() {
    let bench = Bench::new(HeadData::Categorical);
    for ends in [&[][..], &["--episodes-can-end"], &["--episodes-can-end=true"]] {
        bench.certify(&[&["--family", "ibp"], &CART_POLE[..], ends].concat(), 0);
        let claim = &bench.read().regret[0];
        assert!(claim.rewards.episodes_can_end && r(&claim.value).is_positive(), "{ends:?} {}", claim.value);
    }
    bench.certify(&[&["--family", "ibp", "--episodes-can-end=false"], &CART_POLE[..]].concat(), 0);
    let certificate = bench.read();
    assert_eq!(certificate.regret[0].value, "0");
    assert!(certificate.assumptions.contains(&"episodes: no episode ever ends".to_owned()));
}

/// A trusted signature does not help a claim below the bound, nor one without its assumptions.
#[test]
fn a_signed_claim_that_is_too_small_is_rejected() {
    let bench = Bench::new(HeadData::Categorical);
    bench.certify(&[&["--family", "ibp,sensitivity"], &CART_POLE[..]].concat(), 0);
    let honest = bench.read();
    let mut small = honest.clone();
    small.regret[1].value = r(&honest.regret[1].value).mul(&r("0.999999")).to_string();
    bench.sign(&small, "small.json");
    let (_, err) = bench.check("small.json", 3);
    assert!(err.contains("rejected: regret claim 1") && err.contains("only"), "{err}");
    let mut loose = honest.clone();
    loose.regret[1].value = "100".to_owned();
    bench.sign(&loose, "loose.json");
    bench.check("loose.json", 0);
    let mut silent = honest;
    silent.assumptions.retain(|a| !a.starts_with("listed-states"));
    bench.sign(&silent, "silent.json");
    let (_, err) = bench.check("silent.json", 3);
    assert!(err.contains("listed-states"), "{err}");
}

/// Claims of one value and other assumptions: each program prints beside the number what it rests on, and a lie about that is
/// refused where it makes the number too small, or the certificate's sentences speak of something else.
#[test]
fn what_a_claim_assumes_stands_beside_its_number() {
    let bench = Bench::new(HeadData::Categorical);
    let lines = |name: &str| {
        let paths = ["policy", "states.npy", "keys/trust.json", name].map(|name| bench.word(name));
        let words = [&paths[0], "--states", &paths[1], "--trust", &paths[2], &paths[3]];
        let ran = programs::run(secateur_check(bench.folder.path()).args(words));
        assert_eq!(ran.code, 0, "{ran:?}");
        let (long, _) = bench.check(name, 0);
        let regret = |text: &str| text.lines().find(|line| line.starts_with("regret")).unwrap().to_owned();
        assert_eq!(regret(&long), regret(&ran.stdout));
        regret(&long)
    };
    let mut seen = Vec::new();
    for (options, words) in [
        ("--discount 0.9 --reward-range 0,1", "discounted by 0.9; every step pays 0 to 1; episodes may end"),
        ("--discount 0.5 --reward-range 0,1", "discounted by 0.5; every step pays 0 to 1; episodes may end"),
        ("--discount 0.9 --reward-range 0,2", "discounted by 0.9; every step pays 0 to 2; episodes may end"),
        (
            "--discount 0.9 --reward-range 0,1 --episodes-can-end=false",
            "discounted by 0.9; every step pays 0 to 1; no episode ever ends",
        ),
        ("--horizon 20 --reward-range 0,1", "return of 20 steps; every step pays 0 to 1; episodes may end"),
    ] {
        let options: Vec<&str> = ["--family", "ibp"].into_iter().chain(options.split(' ')).collect();
        bench.certify(&options, 0);
        let mut loose = bench.read();
        loose.regret[0].value = "1000".to_owned();
        bench.sign(&loose, "loose.json");
        let line = lines("loose.json");
        assert!(line.contains("at most 1000 (ibp, rule regret.") && line.contains(words), "{line}");
        assert!(line.ends_with("if no other than the listed states is met"), "{line}");
        seen.push(line);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "{seen:?}");

    bench.certify(&["--family", "ibp", "--discount", "0.9", "--reward-range", "0,1"], 0);
    let honest = bench.read();
    let refused = |lie: &dyn Fn(&mut RegretClaim), words: &str| {
        let mut other = honest.clone();
        lie(&mut other.regret[0]);
        bench.sign(&other, "other.json");
        let (_, err) = bench.check("other.json", 3);
        assert!(err.contains(words), "{err}");
    };
    refused(&|claim| claim.rewards.upper = r("2"), "reward-range: ");
    refused(&|claim| claim.rewards.episodes_can_end = false, "episodes: ");
    refused(&|claim| claim.form = RegretForm::Sup { discount: r("0.99") }, "discount: ");
    refused(&|claim| claim.region = Region::AllStates, "region");
}

#[test]
fn deterministic_heads_are_refused() {
    let bench = Bench::new(HeadData::Deterministic);
    let (_, err) = bench.certify(&[&["--family", "ibp"], &CART_POLE[..]].concat(), 2);
    assert!(err.contains("deterministic") && !bench.path("cert.json").exists(), "{err}");
    bench.certify(&["--family", "ibp"], 0);
    assert!(bench.read().regret.is_empty());
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let bench = Bench::new(HeadData::Categorical);
    for (options, word) in [
        (&["--discount", "0.9"][..], "reward-range"),
        (&["--reward-range", "0,1"], "discount"),
        (&["--episodes-can-end"], "reward-range"),
        (&["--discount", "0.9", "--reward-range", "1"], "two numbers"),
        (&["--discount", "0.9", "--reward-range", "2,1"], "empty"),
        (&["--discount", "1", "--reward-range", "0,1"], "[0, 1)"),
        (&["--discount", "nine tenths", "--reward-range", "0,1"], "discount"),
        (&["--horizon", "0", "--reward-range", "0,1"], "horizon"),
        (&["--horizon", "-3", "--reward-range", "0,1"], "-3"),
        (&["--horizon", "1.5", "--reward-range", "0,1"], "horizon"),
    ] {
        let (_, err) = bench.certify(options, 2);
        assert!(err.contains(word), "{options:?}: {err}");
    }
}

/// A band has a bound for its own masks only, and the deviation from the dense policy bounds no adversary.
#[test]
fn bands_claim_regret_for_their_masks_and_deviations_none() {
    let bench = Bench::new(HeadData::Categorical);
    let masks = bench.word("masks");
    let sparsity = "0,0.3,0.5,0.7";
    run(&["prune", &bench.word("policy"), "--sparsity", sparsity, "--out", &masks], 0);
    let options = ["--masks", &masks, "--family", "pruned-deviation", "--band", "1..2"];
    bench.certify(&[&options[..], &CART_POLE[..]].concat(), 0);
    let found: Vec<_> = bench.read().regret.iter().map(|c| format!("{} {}", c.family, c.mask)).collect();
    assert_eq!(found, ["band/2 1", "band/2 2", "band-crown/2 1", "band-crown/2 2"]);
}

fn episodes(sampler: &str, samples: u32) -> String {
    format!(
        r#"{{"format": "secateur.episodes/1", "sampler": "{sampler}", "discount": "0.5", "mask": "0",
            "samples": "{samples}", "ended": "200", "cutOff": "1", "confidence": "0.95", "masks": "1"}}"#
    )
}

#[test]
fn episodes_give_statistical_claims_that_say_so() {
    let bench = Bench::new(HeadData::Categorical);
    let file = bench.word("episodes.json");
    std::fs::write(&file, episodes("independent-episodes-geometric-time", 206)).unwrap();
    let options =
        ["--family", "ibp,crown,sensitivity", "--episodes", &file, "--reward-range", "0,1", "--details"];
    let (out, _) = bench.certify(&options, 0);
    let certificate = bench.read();
    assert_eq!(certificate.statistical.len(), 4);
    for claim in &certificate.statistical {
        assert_eq!(claim.confidence.inequalities, 4);
        let value = r(&claim.value);
        assert!(value.is_positive() && value < Rational::one(), "{value}");
        let lost = r(&claim.regret.as_ref().unwrap().value);
        assert!(out.contains(&outward(&value, Rounding::Up)) && lost <= r("2"));
    }
    assert!(out.contains("STATISTICAL, no proof") && out.contains("206 samples"), "{out}");
    let (shown, _) = run(&["show", "--details", &bench.word("cert.json")], 0);
    assert!(shown.contains("STATISTICAL, no proof"));
    // Both programs say that it is no proof, and of which draw; a larger sample than the states are is refused.
    let paths = ["policy", "states.npy", "keys/trust.json", "cert.json"].map(|name| bench.word(name));
    let words = [&paths[0], "--states", &paths[1], "--trust", &paths[2], &paths[3]];
    let short = programs::run(secateur_check(bench.folder.path()).args(words));
    for printed in [&short.stdout, &bench.check("cert.json", 0).0] {
        let line = printed.lines().find(|line| line.starts_with("sampled")).expect("a line");
        assert!(line.contains("no proof: mask 0: expected total variation at most 0."), "{line}");
        assert!(line.contains("with confidence 0.9") && line.ends_with("assuming the draw below"), "{line}");
        assert!(printed.contains("206 independent episodes of the clean policy of mask 0"), "{printed}");
    }
    for (samples, words) in [(2060, "2060"), (205, "205")] {
        let mut other = certificate.clone();
        other.statistical.iter_mut().for_each(|claim| claim.sampling.samples = samples);
        bench.sign(&other, "other.json");
        let (_, err) = bench.check("other.json", 3);
        assert!(err.contains(words), "{err}");
    }
    let mut small = certificate;
    small.statistical[0].value = r(&small.statistical[0].value).mul(&r("0.999999")).to_string();
    bench.sign(&small, "small.json");
    assert!(bench.check("small.json", 3).1.contains("statistical claim 0"));
    for (sampler, samples, word) in [
        ("consecutive-states", 206, "independent"),
        ("independent-episodes-geometric-time", 207, "207 samples"),
    ] {
        std::fs::write(&file, episodes(sampler, samples)).unwrap();
        let (_, err) = bench.certify(&options, 2);
        assert!(err.contains(word), "{err}");
    }
}

#[test]
fn audit_reads_the_same_options() {
    let bench = Bench::new(HeadData::Categorical);
    std::fs::copy(bench.path("states.npy"), bench.path("policy/states.npy")).unwrap();
    let settings = "states = \"states.npy\"\nepsilon = \"0.01\"\nfamilies = [\"sensitivity\"]\n\
                    discount = \"0.99\"\nhorizon = \"20\"\nreward-range = [\"1\", \"1\"]\n[prune]\n\
                    method = \"magnitude\"\nscope = \"layer\"\nsparsity = [\"0\", \"0.5\"]\n";
    std::fs::write(bench.path("policy/audit.toml"), settings).unwrap();
    let out = bench.word("out");
    let document = json(&["audit", &bench.word("policy"), "--out", &out, "--quiet"], 0);
    let claims = document["regret"].as_array().unwrap();
    assert_eq!(claims.len(), 4, "two masks, two forms");
    let value = |i: usize| r(claims[i]["value"].as_str().unwrap());
    assert_eq!((claims[0]["mask"].as_u64(), claims[2]["mask"].as_u64()), (Some(0), Some(1)));
    assert!(value(0).is_positive() && value(2) < value(0), "sensitivity falls with pruning");
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name).to_str().unwrap().to_owned()
}

#[test]
fn sa_mdp_says_that_the_quoted_constant_fails() {
    let file = fixture("sa_mdp/extremal-3-state.json");
    let (out, _) = run(&["sa-mdp", &file], 0);
    assert!(out.contains("8/11") && out.contains("3/5"), "{out}");
    assert!(out.contains("constant usually quoted") && out.contains("FAILS at start s"), "{out}");
    assert!(out.contains("regret.sup is met with equality at start s"), "{out}");
    let report = json(&["sa-mdp", &file, "--horizon", "10"], 0);
    assert_eq!(report["starts"][0]["gap"], "8/11");
    assert_eq!(report["starts"][0]["regret.sup"], "8/11");
    assert_eq!(report["starts"][0]["quotedRefuted"], true);
    assert_eq!(report["starts"][0]["regret.horizon"]["gap"], report["starts"][0]["regret.horizon"]["bound"]);
    let (out, _) = run(&["sa-mdp", &fixture("sa_mdp/pole-that-falls.json"), "--horizon", "10"], 0);
    assert!(out.contains("regret.horizon") && out.contains("episodes can end"), "{out}");
}

#[test]
fn sa_mdp_refuses_what_is_none() {
    let (_, err) = run(&["sa-mdp", &fixture("decomposition/two-masks.json")], 2);
    assert!(err.contains("two-masks.json"), "{err}");
    run(&["sa-mdp", "no-such-file.json"], 2);
    let (_, err) = run(&["sa-mdp", &fixture("sa_mdp/extremal-3-state.json"), "--horizon", "257"], 2);
    assert!(err.contains("257"), "{err}");
}

#[test]
fn decompose_prints_terms_that_add_up_and_says_what_exceeds_its_bound() {
    let file = fixture("decomposition/two-masks.json");
    let (out, _) = run(&["decompose", &file, "--digits", "2"], 0);
    assert!(out.contains("robustness (found") && out.contains("12.5 (proof)"), "{out}");
    let report = json(&["decompose", &file], 0);
    for mask in report["masks"].as_array().unwrap() {
        let at = |term: &str| r(mask[term]["measured"].as_str().unwrap());
        let sum = at("clean").add(&at("pruning")).add(&at("robustness"));
        assert_eq!(sum, r(mask["total"].as_str().unwrap()));
    }
    let folder = tempfile::tempdir().unwrap();
    let exceeded = folder.path().join("exceeded.json");
    let input = std::fs::read_to_string(&file).unwrap().replacen("43.75", "19.25", 1);
    std::fs::write(&exceeded, input).unwrap();
    let (out, _) = run(&["decompose", exceeded.to_str().unwrap()], 1);
    assert!(out.contains("exceeded"), "{out}");
    run(&["decompose", &fixture("sa_mdp/extremal-3-state.json")], 2);
}

#[test]
fn help_shows_examples() {
    for (command, word) in
        [("sa-mdp", "extremal-3-state"), ("decompose", "two-masks"), ("certify", "--reward-range 1,1")]
    {
        let (out, _) = run(&[command, "--help"], 0);
        assert!(out.contains("Example") && out.contains(word), "{out}");
    }
    assert!(run(&["audit", "--help"], 0).0.contains("reward-range"));
}
