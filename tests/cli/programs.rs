//! The real programs in a temporary folder: what they print, and their exit codes.

use std::path::Path;

use secateur_checker::family::Family;
use secateur_checker::number::Rounding;
use secateur_checker::table::Quantity;
use secateur_testkit::decimal::nudged;
use secateur_testkit::problem::{Problem, Spec, all_families, key, linf, rational, write_trust};
use secateur_testkit::programs::{CHECK, Ran, check_both, run, secateur, secateur_check};
use tempfile::TempDir;

fn certified(families: &[Family]) -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    problem.certify_to_disk(families, &key(1));
    (folder, problem)
}

fn assert_rejected(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("rejected"), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not in {ran:?}");
    }
    assert!(!ran.stdout.contains("verified"), "{ran:?}");
}

fn flip(path: &Path, from_end: usize) {
    let mut bytes = std::fs::read(path).expect("read");
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// The whole path by command line: a key, a certificate with every family, both checks, and what it says.
#[test]
fn keygen_certify_check_show() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    Problem::write(root, &Spec::small(1));
    let made = run(secateur(root).args(["keygen", "--out", "keys"]));
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stdout.contains("SHA256:"), "{made:?}");
    let again = run(secateur(root).args(["keygen", "--out", "keys"]));
    assert_eq!(again.code, 2, "a key is never overwritten: {again:?}");
    let certify = ["--quiet", "certify", "policy", "--masks", "masks", "--states", "states.npy"];
    let with = ["--epsilon", "0.05", "--key", "keys/secateur.pem", "--out", "c.cert.dsse.json"];
    let signed = run(secateur(root).args(certify).args(with));
    assert_eq!(signed.code, 0, "{signed:?}");
    std::fs::copy(root.join("keys/trust.json"), root.join("trust.json")).expect("copied");
    let checked = check_both(root, &CHECK);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stdout.contains("\nsigned     by \"secateur\" SHA256:"), "{checked:?}");
    let shown = run(secateur(root).args(["show", "--details", "c.cert.dsse.json"]));
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("sensitivity") && shown.stdout.contains("chain-hull"), "{shown:?}");
    assert!(shown.stdout.contains("nothing was checked"), "{shown:?}");
    let claims = shown.stdout.replace("(not verified here)", "");
    for word in ["verified", "proved", "certified"] {
        assert!(!claims.contains(word), "show checks nothing and may not say {word}: {shown:?}");
    }
}

#[test]
fn json_says_whether_it_was_signed() {
    let (folder, _) = certified(&[Family::Sensitivity]);
    let checked = run(secateur(folder.path()).args(["--format", "json", "check"]).args(CHECK));
    let document: serde_json::Value = serde_json::from_str(&checked.stdout).expect("one JSON document");
    assert_eq!(document["signed"], true);
    assert_eq!(document["signers"][0]["name"], "tests");
    let unsigned = ["policy", "--masks", "masks", "--states", "states.npy", "--unsigned", "c.cert.dsse.json"];
    let checked = run(secateur(folder.path()).args(["--format", "json", "check"]).args(unsigned));
    let document: serde_json::Value = serde_json::from_str(&checked.stdout).expect("one JSON document");
    assert_eq!((checked.code, &document["signed"]), (0, &serde_json::Value::Bool(false)));
    for ran in [check_both(folder.path(), &unsigned), run(secateur_check(folder.path()).args(unsigned))] {
        assert!(ran.stdout.contains("unsigned"), "{ran:?}");
    }
}

/// Lines of examples fit a terminal of 80 columns, in the commands that were written with it in mind.
#[test]
fn examples_fit_the_terminal() {
    for command in ["bundle", "diff", "keys", "show"] {
        let help = run(secateur(Path::new(".")).args([command, "--help"]));
        assert!(help.code == 0 && help.stdout.contains("Examples:"), "{help:?}");
        let examples = help.stdout.split("Examples:").nth(1).expect("examples");
        assert!(examples.lines().all(|line| line.len() <= 80), "{examples}");
    }
}

#[test]
fn neither_trust_nor_unsigned_is_a_usage_error() {
    let (folder, _) = certified(&[Family::Sensitivity]);
    let bare = ["policy", "--masks", "masks", "--states", "states.npy", "c.cert.dsse.json"];
    assert_eq!(check_both(folder.path(), &bare).code, 2);
    let both = ["--unsigned"].iter().chain(&CHECK).copied().collect::<Vec<_>>();
    assert_eq!(check_both(folder.path(), &both).code, 2);
}

#[test]
fn one_changed_weight_is_named() {
    let (folder, _) = certified(&[Family::Sensitivity]);
    flip(&folder.path().join("policy/policy.safetensors"), 5);
    assert_rejected(&check_both(folder.path(), &CHECK), &["policy.safetensors", "SHA-256"]);
}

#[test]
fn one_changed_manifest_is_named() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let path = problem.policy_dir().join("policy.json");
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text.replacen("tanh", "relu", 1)).expect("written");
    assert_rejected(&check_both(folder.path(), &CHECK), &["policy.json"]);
}

#[test]
fn one_changed_mask_bit_is_named() {
    let (folder, _) = certified(&[Family::Sensitivity]);
    flip(&folder.path().join("masks/mask-01.safetensors"), 1);
    assert_rejected(&check_both(folder.path(), &CHECK), &["mask-01.safetensors"]);
}

#[test]
fn one_changed_state_is_named() {
    let (folder, _) = certified(&[Family::Sensitivity, Family::Ibp]);
    flip(&folder.path().join("states.npy"), 3);
    assert_rejected(&check_both(folder.path(), &CHECK), &["states.npy"]);
}

#[test]
fn another_epsilon_is_named() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let right = run(secateur(folder.path()).args(["-q", "check"]).args(CHECK).args(["--epsilon", "0.05"]));
    assert_eq!(right.code, 0, "{right:?}");
    let wrong = run(secateur(folder.path()).args(["-q", "check"]).args(CHECK).args(["--epsilon", "0.06"]));
    assert!(wrong.code == 1 && wrong.stderr.contains("not met (unmet-epsilon)"), "{wrong:?}");
    assert!(!wrong.stdout.contains("verified"), "{wrong:?}");
    // The same change inside the certificate, signed again: the claims no longer follow.
    problem.resign(&key(1), |c| c.perturbation = linf("0.06"));
    assert_rejected(&check_both(folder.path(), &CHECK), &["claim 0 (sensitivity, action-deviation"]);
}

#[test]
fn one_changed_digit_of_a_claim_breaks_the_signature() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let mut envelope = problem.read_envelope();
    let text = String::from_utf8(envelope.payload.clone()).expect("UTF-8");
    let value = problem.read_certificate().claims[0].values[0].clone();
    let (head, last) = value.split_at(value.len() - 1);
    let other = format!("{head}{}", (last.parse::<u8>().expect("a digit") + 1) % 10);
    envelope.payload = text.replacen(&format!("\"{value}\""), &format!("\"{other}\""), 1).into_bytes();
    assert_ne!(envelope.payload, text.into_bytes());
    problem.write_envelope(&envelope);
    assert_rejected(
        &check_both(folder.path(), &CHECK),
        &["the signature by \"tests\" does not fit the payload"],
    );
}

#[test]
fn one_changed_bit_of_the_signature_is_named() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let mut envelope = problem.read_envelope();
    envelope.signatures[0].sig[7] ^= 4;
    problem.write_envelope(&envelope);
    assert_rejected(&check_both(folder.path(), &CHECK), &["the signature by \"tests\""]);
}

#[test]
fn another_key_is_named() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    let keyid = problem.read_envelope().signatures[0].keyid.clone();
    write_trust(folder.path(), &key(2));
    assert_rejected(&check_both(folder.path(), &CHECK), &["0 trusted keys signed", &keyid]);
}

/// One claim of every quantity, moved by one unit in its twelfth digit and signed again with the trusted key.
#[test]
fn tighter_by_one_unit_is_rejected_and_looser_is_accepted() {
    let (folder, problem) = certified(&all_families());
    let certificate = problem.read_certificate();
    for quantity in [Quantity::ActionDeviation, Quantity::TotalVariation, Quantity::Divergence] {
        let positive = |text: &String| rational(text).is_positive();
        let found = certificate.claims.iter().position(|c| {
            c.quantity == quantity.name() && c.family == "ibp" && c.values.iter().all(positive)
        });
        let claim = found.expect("a positive claim");
        let value = certificate.claims[claim].values[0].clone();
        let unit = if quantity.rounding() == Rounding::Up { 1 } else { -1 };
        problem.resign(&key(1), |c| c.claims[claim].values[0] = nudged(&value, unit));
        assert_eq!(check_both(folder.path(), &CHECK).code, 0, "a looser claim is true");
        let tight = nudged(&value, -unit);
        problem.resign(&key(1), |c| c.claims[claim] = certificate.claims[claim].clone());
        problem.resign(&key(1), |c| c.claims[claim].values[0] = tight.clone());
        let ran = check_both(folder.path(), &CHECK);
        let claimed = format!("claims {}, only ", rational(&tight));
        assert_rejected(&ran, &[&format!("claim {claim} (ibp, {}", quantity.name()), &claimed]);
        assert!(ran.stderr.contains(" is proved"), "{ran:?}");
        problem.resign(&key(1), |c| c.claims[claim] = certificate.claims[claim].clone());
    }
    assert_eq!(check_both(folder.path(), &CHECK).code, 0, "the original again");
}

#[test]
fn unreadable_files_are_exit_code_2() {
    for (path, named) in [
        ("policy/policy.json", "policy.json"),
        ("policy/policy.safetensors", "policy"),
        ("masks/chain.json", "chain.json"),
        ("masks/mask-02.safetensors", "mask-02.safetensors"),
        ("states.npy", "states.npy"),
        ("trust.json", "trust.json"),
        ("c.cert.dsse.json", "c.cert.dsse.json"),
        ("c.witness.safetensors", "c.witness.safetensors"),
    ] {
        let (folder, _) = certified(&[Family::Sensitivity, Family::NormAbsSpectral]);
        let file = folder.path().join(path);
        let bytes = std::fs::read(&file).expect("read");
        if !path.contains("witness") {
            std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
            let half = check_both(folder.path(), &CHECK);
            assert_eq!(half.code, 2, "half of {path}: {half:?}");
            assert!(half.stderr.contains(named), "{half:?}");
        }
        std::fs::remove_file(&file).expect("removed");
        let gone = check_both(folder.path(), &CHECK);
        assert_eq!(gone.code, 2, "no {path}: {gone:?}");
        assert!(gone.stderr.contains(named), "{gone:?}");
        std::fs::create_dir(&file).expect("a folder in its place");
        let folder_instead = check_both(folder.path(), &CHECK);
        assert_eq!(folder_instead.code, 2, "a folder for {path}: {folder_instead:?}");
    }
}

#[test]
fn a_changed_witness_is_named() {
    let (folder, _) = certified(&[Family::NormAbsSpectral]);
    flip(&folder.path().join("c.witness.safetensors"), 4);
    assert_rejected(&check_both(folder.path(), &CHECK), &["c.witness.safetensors"]);
}

#[test]
fn terminal_escapes_are_never_printed() {
    let (folder, problem) = certified(&[Family::Sensitivity]);
    problem.resign(&key(1), |c| c.claims[0].family = "\u{1b}[2J\u{1b}[31mverified\u{7}".to_owned());
    let outputs = [
        check_both(folder.path(), &CHECK),
        run(secateur_check(folder.path()).args(CHECK)),
        run(secateur(folder.path()).args(["show", "c.cert.dsse.json"])),
        run(secateur(folder.path()).args(["--format", "json", "show", "c.cert.dsse.json"])),
    ];
    for ran in outputs {
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        let control = printed.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{printed:?}");
    }
}

#[test]
fn usage_errors_are_exit_code_2_and_help_is_0() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    assert_eq!(run(secateur(root).arg("--no-such-option")).code, 2);
    assert_eq!(run(&mut secateur(root)).code, 2);
    assert_eq!(run(secateur_check(root).arg("--no-such-option")).code, 2);
    assert_eq!(run(&mut secateur_check(root)).code, 2);
    for command in ["certify", "check", "keygen", "show"] {
        let help = run(secateur(root).args([command, "--help"]));
        assert!(help.code == 0 && help.stdout.contains("Usage:"), "{help:?}");
    }
    let help = run(secateur_check(root).arg("--help"));
    assert!(help.code == 0 && help.stdout.contains("exit codes:"), "{help:?}");
}

#[test]
fn numbers_are_read_exactly_or_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    Problem::write(folder.path(), &Spec::small(1));
    std::fs::write(folder.path().join("k.pem"), key(1).private_pem()).expect("written");
    for epsilon in ["nan", "inf", "1/0", "0x1p-3", "-0.1", "", "0,05"] {
        let arguments = ["-q", "certify", "policy", "--states", "states.npy", "--key", "k.pem", "--out", "c"];
        let ran = run(secateur(folder.path()).args(arguments).arg(format!("--epsilon={epsilon}")));
        assert_eq!(ran.code, 2, "epsilon {epsilon:?}: {ran:?}");
        assert!(!folder.path().join("c").exists());
    }
}
