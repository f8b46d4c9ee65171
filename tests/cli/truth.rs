//! What a signer could once make a check say that was not true, signed by a trusted key: refused now, or said truthfully.
//! `spec/certificate.md#what-is-said-of-each-field`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur::certify::emit::emit_certificate;
use secateur::policy::ActivationSpec;
use secateur_checker::family::Family;
use secateur_checker::load::load_policy;
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::Claim;
use secateur_checker::reader::digest::{policy_digest, weights_digest};
use secateur_checker::reader::dsse::{MAX_ENVELOPE, PAYLOAD_TYPE};
use secateur_testkit::problem::{
    Problem, Spec, WITNESS, certify_directory, key, linf, rational, write_trust,
};
use secateur_testkit::programs::{CHECK, Ran, check_both, run, secateur, secateur_check};
use serde_json::Value;
use tempfile::TempDir;

fn certified(families: &[Family]) -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    problem.certify_to_disk(families, &key(1));
    (folder, problem)
}

fn under(set: &PerturbationSet) -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    let made = certify_directory(folder.path(), &[Family::Sensitivity], set, &key(1)).expect("certified");
    made.write(&problem.certificate_file(), "c.witness.safetensors").expect("written");
    write_trust(folder.path(), &key(1));
    (folder, problem)
}

/// Both programs with the same options; they agree on the exit code.
fn both(folder: &Path, options: &[&str]) -> [Ran; 2] {
    let arguments = [&CHECK[..], options].concat();
    let long = run(secateur(folder).args(["--quiet", "check"]).args(&arguments));
    let short = run(secateur_check(folder).args(&arguments));
    assert_eq!(long.code, short.code, "{long:?} {short:?}");
    [long, short]
}

fn line<'a>(ran: &'a Ran, word: &str) -> &'a str {
    ran.stdout.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word} in {ran:?}"))
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let ran = run(secateur(folder).args(["--quiet", "--format", "json"]).args(arguments));
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

fn check_json(folder: &Path) -> Value {
    json(folder, &[&["check"], &CHECK[..]].concat())
}

/// The first lines are an answer: what is proved with its number, and of what.
#[test]
fn the_answer_comes_first() {
    let (folder, _) = certified(&[Family::Sensitivity, Family::Ibp]);
    for ran in both(folder.path(), &[]) {
        let top: Vec<&str> = ran.stdout.lines().take(10).collect();
        assert!(
            top[0].starts_with("verified: total variation at most 0.") && top[0].contains("mask"),
            "{top:?}"
        );
        for word in
            ["signed", "policy     sha256:", "files", "adversary  linf ball of radius 0.05", "states", "mask"]
        {
            assert!(top.iter().any(|line| line.starts_with(word)), "{word}: {top:?}");
        }
        assert!(
            ran.stdout.is_ascii() && !ran.stdout.contains("sensitivity"),
            "the rest is for --details: {ran:?}"
        );
    }
    for ran in both(folder.path(), &["--details"]) {
        assert!(ran.stdout.contains("sensitivity"), "{ran:?}");
    }
}

#[test]
fn radius_shape_and_units_are_named() {
    for (radius, words) in
        [("1/1000000000", "linf ball of radius 1e-9, in"), ("1/10", "linf ball of radius 0.1, in")]
    {
        let (folder, _) = under(&linf(radius));
        for ran in both(folder.path(), &[]) {
            assert!(line(&ran, "adversary").contains(words), "{ran:?}");
        }
    }
    let (folder, _) = under(&linf("0"));
    assert!(
        both(folder.path(), &[]).iter().all(|ran| line(ran, "adversary").ends_with("it may change nothing"))
    );
    let radii = ["1/1000", "1/20", "3"].map(rational).to_vec();
    let shape = Perturbation::PerCoordinate { radii };
    let (folder, _) = under(&PerturbationSet { shape, units: Units::Raw });
    for ran in both(folder.path(), &[]) {
        let words = "box of 3 radii, 0.001 to 3: 0.001, 0.05, 3, in raw units";
        assert!(line(&ran, "adversary").contains(words), "{ran:?}");
    }
    let document = check_json(folder.path());
    assert_eq!(document["adversary"]["shape"], "per-coordinate");
    assert_eq!(document["adversary"]["radii"][1]["exact"], "1/20");
}

/// A ball of another shape is another adversary, whatever its radius.
#[test]
fn demands_are_met_or_name_what_is_missing() {
    let shape = Perturbation::L2 { radius: rational("1/20") };
    let (folder, _) = under(&PerturbationSet { shape, units: Units::Normalised });
    let unmet = |options: &[&str], code: &str| {
        for ran in both(folder.path(), options) {
            assert_eq!(ran.code, 1, "{options:?}: {ran:?}");
            assert!(ran.stderr.contains(&format!("not met ({code})")) && ran.stdout.is_empty(), "{ran:?}");
        }
    };
    unmet(&["--epsilon", "0.05", "--units", "normalised"], "unmet-shape");
    unmet(&["--shape", "l2", "--epsilon", "0.051"], "unmet-epsilon");
    unmet(&["--units", "raw"], "unmet-units");
    unmet(&["--state-units", "raw"], "unmet-state-units");
    unmet(&["--min-states", "3"], "unmet-states");
    unmet(&["--max", "tv=1", "--max", "deviation=0.000001"], "unmet-max");
    unmet(&["--min-radius", "tv=1:0"], "unmet-radius");
    let other = format!("sha256:{}", "0".repeat(64));
    unmet(&["--policy-digest", &other], "unmet-policy-digest");
    let [ran, _] =
        both(folder.path(), &["--shape", "l2", "--epsilon", "1/20", "--min-states", "all", "--max", "tv=1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let digest = line(&ran, "policy").trim_start_matches("policy").trim().to_owned();
    assert_eq!(both(folder.path(), &["--policy-digest", &digest])[0].code, 0);
    for wrong in [
        ["--max", "tv"],
        ["--shape", "ball"],
        ["--min-states", "x"],
        ["--policy-digest", "abc"],
        ["--min-radius", "tv=1"],
        ["--min-radius", "same-action:x"],
        ["--min-radius", "1:1"],
    ] {
        let [long, short] = both(folder.path(), &wrong);
        assert!(
            long.code == 2 && short.stderr.contains(wrong[0]) && long.stderr.contains(wrong[0]),
            "{long:?}"
        );
    }
}

#[test]
fn the_first_states_of_a_file_are_called_so() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    problem.resign(&key(1), |c| c.states = 1);
    for ran in both(folder.path(), &[]) {
        assert!(line(&ran, "states").contains("the first 1 of 2 rows of the states file"), "{ran:?}");
    }
    assert_eq!(both(folder.path(), &["--min-states", "all"])[0].code, 1);
    assert_eq!(both(folder.path(), &["--min-states", "1"])[0].code, 0);
    assert_eq!(check_json(folder.path())["statesInFile"], 2);
}

fn keep(problem: &Problem, kept: fn(&Claim) -> bool) {
    problem.resign(&key(1), |c| c.claims.retain(kept));
}

/// Where an output is left out, nothing is said to be the most that any output changes.
#[test]
fn a_table_without_all_outputs_has_no_largest() {
    let (folder, problem) = certified(&[Family::Ibp]);
    keep(&problem, |c| c.quantity == "action-deviation");
    for ran in both(folder.path(), &[]) {
        assert!(ran.stdout.starts_with("verified: change of any output at most "), "{ran:?}");
    }
    keep(&problem, |c| c.output == Some(0));
    for ran in both(folder.path(), &[]) {
        assert!(ran.code == 0 && !ran.stdout.contains("change of any output"), "{ran:?}");
        assert!(line(&ran, "mask").contains("bounds of the outputs 0 only, none of any output"), "{ran:?}");
    }
    let document = check_json(folder.path());
    assert_eq!(document["masks"][0]["quantities"]["action-deviation"], Value::Null);
    assert_eq!(both(folder.path(), &["--max", "deviation=1000"])[0].code, 1);
}

/// `0...020.3` was printed as zeros, cut.
#[test]
fn numbers_have_one_spelling_and_are_printed_by_the_checker() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let value = |text: String| problem.resign(&key(1), move |c| c.claims[0].values[0] = text);
    for bad in
        [format!("{}20.3", "0".repeat(200)), "20.30".to_owned(), "2.03e+1".to_owned(), "406/20".to_owned()]
    {
        value(bad.clone());
        for ran in both(folder.path(), &[]) {
            assert!(ran.code == 3 && ran.stderr.contains("another spelling"), "{bad}: {ran:?}");
        }
    }
    assert_eq!(check_json(folder.path())["code"], "number-spelling");
    value(format!("20.{}", "3".repeat(500)));
    for ran in both(folder.path(), &["--details"]) {
        assert!(ran.code == 0 && ran.stdout.contains("20.333334"), "rounded up: {ran:?}");
    }
}

/// Other activations, same weights: one weights digest, two policies.
#[test]
fn the_policy_printed_is_all_of_it() {
    let digests = [ActivationSpec::Tanh, ActivationSpec::Relu].map(|activation| {
        let folder = tempfile::tempdir().expect("temporary folder");
        let problem = Problem::write(folder.path(), &Spec { activation, ..Spec::small(1) });
        problem.certify_to_disk(&[Family::Sensitivity], &key(1));
        let policy = load_policy(&problem.policy_dir()).expect("a policy").files.policy;
        let digest = policy_digest(&policy, None);
        for ran in both(folder.path(), &[]) {
            assert!(line(&ran, "policy").ends_with(&digest) && !ran.stdout.contains("weights  "), "{ran:?}");
        }
        (weights_digest(&policy.network), digest)
    });
    assert_eq!(digests[0].0, digests[1].0);
    assert_ne!(digests[0].1, digests[1].1);
}

/// What the signer says stands apart, quoted, with nothing that turns a line round or ends it.
#[test]
fn sentences_and_names_of_the_signer_are_marked() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let lie = "real-arithmetic: \u{202e}proved\u{2028}verified\u{1b}[2K robust <b>::error::</b>";
    problem.resign(&key(1), |c| {
        c.assumptions.insert(0, lie.to_owned());
        c.limits.push("nothing: this is all one could wish".to_owned());
        c.masks[2].name = "dense".to_owned();
    });
    for ran in both(folder.path(), &["--details"]) {
        assert_eq!(ran.code, 0, "{ran:?}");
        let hidden = |c: char| "\u{202e}\u{2028}\u{1b}".contains(c);
        assert!(!ran.stdout.contains(hidden), "{ran:?}");
        let of =
            |word: &str| ran.stdout.lines().filter(|l| l.starts_with(word)).collect::<Vec<_>>().join("\n");
        assert!(!of("assumes").contains("robust") && !of("limit").contains("wish"), "{ran:?}");
        let said = of("signer");
        assert!(
            said.contains("\"real-arithmetic: \\u{202e}proved\\u{2028}verified\\u{1b}[2K robust"),
            "{said}"
        );
        assert!(said.contains("\"nothing: this is all") && said.contains("calls mask 2 \"dense\""), "{said}");
    }
    let [_, short] = both(folder.path(), &[]);
    assert!(
        line(&short, "mask       2").contains(" weights pruned (25.0 %)") && !short.stdout.contains("dense"),
        "{short:?}"
    );
    let shown = run(secateur(folder.path()).args(["show", "--details", "c.cert.dsse.json"]));
    assert!(shown.code == 0 && !shown.stdout.contains("\u{202e}"), "{shown:?}");
}

#[test]
fn a_thousand_further_sentences_are_enough() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let add = |count: usize| {
        problem.resign(&key(1), |c| c.limits.extend((0..count).map(|n| format!("sentence {n}"))));
    };
    add(1000);
    assert_eq!(check_both(folder.path(), &CHECK).code, 0);
    add(1);
    for ran in both(folder.path(), &[]) {
        assert!(
            ran.code == 3 && ran.stderr.contains("1001 assumptions and limits that the claims do not need"),
            "{ran:?}"
        );
    }
}

/// A property certificate's further sentences and sources are shown, marked.
#[test]
fn a_property_certificate_shows_what_it_rests_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates");
    let text = std::fs::read_to_string(root.join("accepted/property-unsat.toml")).expect("a sidecar");
    let entry = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("an entry");
        line.split('"').nth(1).expect("a word").to_owned()
    };
    let problem = PathBuf::from("problems").join(entry("problem"));
    let property = problem.join(format!("{}.property.json", entry("property")));
    let ran = run(secateur_check(&root).arg(problem.join("policy")).arg("--property").arg(property).args([
        "--trust",
        "trust/one.json",
        "accepted/property-unsat.cert.dsse.json",
    ]));
    assert!(ran.code == 0 && ran.stdout.starts_with("verified: "), "{ran:?}");
    for word in [
        "policy     sha256:",
        "file       property.json ",
        "assumes    real-arithmetic",
        "signer     imported from",
    ] {
        assert!(ran.stdout.contains(word), "{word}: {ran:?}");
    }
    let shown = run(secateur(&root).args(["show", "accepted/property-unsat.cert.dsse.json"]));
    assert!(shown.code == 0 && shown.stdout.contains("unsat, unchecked"), "{shown:?}");
    assert!(!shown.stdout.replace("(not verified here)", "").contains("verified"), "{shown:?}");
}

/// Every kind in the corpus that a check accepts.
#[test]
fn show_shows_every_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates");
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("accepted")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if !path.to_string_lossy().ends_with(".cert.dsse.json") {
            continue;
        }
        let ran = run(secateur(&root).args(["show", "--details"]).arg(&path));
        assert!(ran.code == 0 && ran.stdout.contains("unchecked"), "{}: {ran:?}", path.display());
        count += 1;
    }
    assert!(count > 15, "{count}");
}

/// Counts and lists that a stranger states, before anything was checked: an answer or a refusal, soon, and no panic.
#[test]
fn what_a_stranger_states_allocates_nothing() {
    let (folder, problem) = certified(&[Family::Sensitivity, Family::Ibp]);
    let good = problem.read_certificate();
    let write = |certificate: &secateur_checker::reader::certificate::Certificate| {
        let payload = emit_certificate(certificate).into_bytes();
        problem.write_envelope(&key(1).sign(PAYLOAD_TYPE, payload));
    };
    let shown = |code: i32| {
        for arguments in [&["show"][..], &["show", "--details"], &["report"], &["--format", "json", "show"]] {
            let started = Instant::now();
            let ran = run(secateur(folder.path()).arg("--quiet").args(arguments).arg("c.cert.dsse.json"));
            assert_eq!(ran.code, code, "{arguments:?}: {}", &ran.stderr[..ran.stderr.len().min(400)]);
            assert!(started.elapsed().as_secs() < 60, "{arguments:?}: {:?}", started.elapsed());
        }
    };
    for states in [usize::MAX, 100_000_000_000] {
        write(&secateur_checker::reader::certificate::Certificate { states, ..good.clone() });
        shown(2);
    }
    write(&secateur_checker::reader::certificate::Certificate { states: 1 << 24, ..good.clone() });
    shown(0);
    let mut counts = good.clone();
    counts.verdicts.iter_mut().for_each(|v| v.counts = (usize::MAX, usize::MAX, usize::MAX));
    counts.verdicts.retain(|v| v.family == "ibp");
    write(&counts);
    shown(0);
    // 1.1 MB of claims that all differ.
    let mut many = good.clone();
    let claim = good.claims[0].clone();
    let named = |n: usize| Claim { family: format!("family-{n}"), mask: n % 1024, ..claim.clone() };
    many.claims.extend((0..10_000).map(named));
    many.masks = vec![good.masks[0].clone(); 1024];
    write(&many);
    shown(0);
    // As many as a file may hold.
    let one = emit_certificate(&good).len().div_ceil(good.claims.len());
    many.claims.extend((10_000..MAX_ENVELOPE * 13 / 10 / one).map(named));
    write(&many);
    let length = std::fs::metadata(problem.certificate_file()).expect("written").len();
    assert!(length > 8 << 20 && length <= MAX_ENVELOPE as u64, "{length}");
    shown(0);
    // Fractions whose sum has a denominator of millions of digits.
    let mut long = good;
    let fraction = |n: usize| format!("1/{}{:04}1", "7".repeat(3000), n);
    let ibp = long.claims.iter_mut().find(|c| c.family == "ibp").expect("a claim");
    ibp.values = (0..400).map(fraction).collect();
    write(&long);
    shown(0);
}

/// What is printed fits `spec/output.schema.json`.
#[test]
fn documents_fit_their_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/output.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).expect("read")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let fits = |document: &Value| {
        let errors: Vec<String> = validator.iter_errors(document).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}: {document:#}");
    };
    let (folder, problem) = certified(&[Family::Sensitivity, Family::Ibp]);
    fits(&check_json(folder.path()));
    fits(&json(folder.path(), &["show", "c.cert.dsse.json"]));
    fits(&json(folder.path(), &["show", "absent"]));
    fits(&json(folder.path(), &[&["check"], &CHECK[..], &["--max", "tv=0"]].concat()));
    problem.resign(&key(1), |c| c.head = "categorical".to_owned());
    fits(&check_json(folder.path()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates");
    for name in ["regret", "statistical", "counterexample", "margins", "property-sat", "property-unsat"] {
        fits(&json(&root, &["show", &format!("accepted/{name}.cert.dsse.json")]));
    }
    let mut report =
        json(&root, &["report", "accepted/regret.cert.dsse.json", "accepted/counterexample.cert.dsse.json"]);
    fits(&report);
    report["bounds"][0]["atMost"] = "0.1".into();
    assert!(!validator.is_valid(&report));
    assert!(!validator.is_valid(&serde_json::json!({"format": "secateur.output/1", "kind": "certificate"})));
}

/// A refusal and an unmet demand are documents too.
#[test]
fn a_rejection_is_json() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let document = check_json(folder.path());
    assert_eq!((&document["result"], &document["format"]), (&"verified".into(), &"secateur.output/1".into()));
    let most = &document["masks"][0]["quantities"]["total-variation"]["atMost"];
    let exact = Rational::parse(most["exact"].as_str().expect("text")).expect("a number");
    let shown =
        Rational::parse(&format!("{:.30}", most["value"].as_f64().expect("a number"))).expect("a number");
    assert!(shown.add(&rational("1e-29")) >= exact, "a JSON number is rounded outward: {most}");
    let unmet = json(folder.path(), &[&["check"], &CHECK[..], &["--epsilon", "0.06"]].concat());
    assert_eq!(
        (&unmet["result"], &unmet["code"], &unmet["exitCode"]),
        (&"not-met".into(), &"unmet-epsilon".into(), &1.into())
    );
    problem.resign(&key(1), |c| c.perturbation = linf("0.06"));
    let refused = check_json(folder.path());
    assert_eq!(
        (&refused["result"], &refused["code"], &refused["exitCode"]),
        (&"rejected".into(), &"too-tight".into(), &3.into())
    );
}

#[test]
fn the_small_program_explains_itself() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let version = run(secateur_check(folder.path()).arg("--version"));
    assert!(version.code == 0 && version.stdout.starts_with("secateur-check "), "{version:?}");
    let help = run(secateur_check(folder.path()).arg("--help"));
    for words in ["0 verified", "1 verified, but a demand", "2 usage", "3 rejected", "4 a limit"] {
        assert!(help.stdout.contains(words), "{help:?}");
    }
    let wrong = run(secateur_check(folder.path()).args(["policy", "--frob"]));
    assert!(wrong.code == 2 && wrong.stderr.starts_with("there is no option \"--frob\""), "{wrong:?}");
    for (value, words) in
        [(&["0"][..], "takes a number from 1 on, not \"0\""), (&["two"], "not \"two\""), (&[], "a value")]
    {
        let wrong = run(secateur_check(folder.path()).args(["policy", "--threads"]).args(value));
        assert!(wrong.code == 2 && wrong.stderr.contains(words), "{wrong:?}");
    }
    let twice = run(secateur_check(folder.path()).args(["policy", "--threads", "1", "--threads", "2"]));
    assert!(twice.code == 2 && twice.stderr.starts_with("--threads stands twice"), "{twice:?}");
    let (folder, _) = certified(&[Family::Sensitivity]);
    let quiet = run(secateur_check(folder.path()).args(CHECK).arg("--quiet"));
    assert!(quiet.code == 0 && quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
}

/// Accepted or refused, a check says the same on any number of threads.
#[test]
fn the_number_of_threads_changes_no_word() {
    let (folder, problem) = certified(&[Family::Ibp, Family::Crown, Family::CrownOptimised]);
    let said = |code: i32, words: &str| {
        let on = |threads: &str| both(folder.path(), &["--details", "--threads", threads]);
        let one = on("1");
        assert!(one.iter().all(|ran| ran.code == code && ran.stderr.contains(words)), "{one:?}");
        for threads in ["2", "3", "16"] {
            let many = on(threads);
            for (one, many) in one.iter().zip(&many) {
                assert_eq!((one.code, &one.stdout, &one.stderr), (many.code, &many.stdout, &many.stderr));
            }
        }
    };
    said(0, "");
    // Other slopes for the second state: they prove something else.
    let path = folder.path().join(WITNESS);
    let mut witness = std::fs::read(&path).expect("read");
    let header =
        usize::try_from(u64::from_le_bytes(witness[..8].try_into().expect("eight bytes"))).expect("a size");
    let end = witness.len();
    let from = 8 + header + (end - 8 - header) / 2;
    witness[from..end].fill(0x7f);
    std::fs::write(&path, &witness).expect("written");
    problem.resign(&key(1), |c| {
        let record = c.witness.as_mut().expect("a witness");
        record.sha256 = secateur_checker::reader::digest::sha256_hex(&witness);
    });
    said(3, "crown-optimised");
}

/// One secret and two keys of it: the second has a part of small order, and the trust file is refused.
#[test]
fn one_secret_does_not_meet_a_threshold_of_two() {
    let (folder, _) = certified(&[Family::Sensitivity]);
    let path = folder.path().join("trust.json");
    let mut trust: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    let mut second = trust["keys"][0].clone();
    second["name"] = "second".into();
    let mixed = hex("9ea3f11f5bd34f0cd7147fd0a436c088f624c6100c1df6a53c0a29e05d60cea0");
    let der = [&hex("302a300506032b6570032100")[..], &mixed].concat();
    let body = secateur::certify::base64::encode(&der);
    second["publicKey"] = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into();
    trust["keys"].as_array_mut().expect("keys").push(second);
    trust["threshold"] = "2".into();
    std::fs::write(&path, trust.to_string()).expect("written");
    for ran in both(folder.path(), &[]) {
        assert!(ran.code == 2 && ran.stderr.contains("a part of small order"), "{ran:?}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// Masks that are missing, or too many, are named as such.
#[test]
fn masks_that_are_not_given_are_named() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let dense = ["policy", "--states", "states.npy", "--trust", "trust.json", "c.cert.dsse.json"];
    let ran = check_both(folder.path(), &dense);
    assert!(
        ran.code == 3 && ran.stderr.contains("is about 3 masks, and none are given: --masks DIR"),
        "{ran:?}"
    );
    problem.resign(&key(1), |c| c.inputs.retain(|f| f.role == "states"));
    let ran = check_both(folder.path(), &CHECK);
    assert!(ran.code == 3 && ran.stderr.contains("leave out --masks"), "{ran:?}");
}

/// A trust file whose only key is revoked says which.
#[test]
fn a_revoked_key_is_named() {
    let (folder, _) = certified(&[Family::Sensitivity]);
    let path = folder.path().join("trust.json");
    let text = std::fs::read_to_string(&path).expect("read").replace("\"active\"", "\"revoked\"");
    std::fs::write(&path, text).expect("written");
    let ran = check_both(folder.path(), &CHECK);
    assert!(ran.code == 2 && ran.stderr.contains("revoked: \"tests\""), "{ran:?}");
}
