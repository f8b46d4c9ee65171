//! How far one can prune under a limit: the widest band is found, claimed, checked, and only then said.

use std::path::{Path, PathBuf};

use secateur::certify::band::{BandLimit, BandQuantity, bound_bands, proved_bands, widest};
use secateur::progress::Silent;
use secateur::show::band::answer;
use secateur_checker::evaluate::Problem as Subject;
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::load::{load_masks, load_policy, load_states};
use secateur_checker::model::Units;
use secateur_testkit::problem::{Problem, Spec, key, linf, rational};
use secateur_testkit::programs::{self, Ran, run};
use serde_json::Value;

fn secateur(folder: &Path, arguments: &[&str]) -> Ran {
    run(programs::secateur(folder).args(arguments))
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pendulum-relu-sa")
}

fn word(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// A command about the robust Pendulum fixture: 3 masks (dense, 30 %, 50 %) and 50 states.
fn about_fixture(folder: &Path, command: &str, options: &[&str]) -> Ran {
    let fixture = fixture();
    let mut arguments = vec![
        "--quiet".to_owned(),
        command.to_owned(),
        word(&fixture),
        "--masks".to_owned(),
        word(&fixture.join("masks")),
        "--states".to_owned(),
        word(&fixture.join("states.npy")),
    ];
    arguments.extend(options.iter().map(|o| (*o).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    secateur(folder, &arguments)
}

fn certify(folder: &Path, options: &[&str]) -> Ran {
    let mut all =
        vec!["--epsilon", "0.05", "--key", "keys/secateur.pem", "--out", "c.cert.dsse.json", "--force"];
    all.extend(options);
    about_fixture(folder, "certify", &all)
}

fn check(folder: &Path, limit: &str) -> Ran {
    let trusted = ["--trust", "keys/trust.json", "c.cert.dsse.json", "--band-limit", limit];
    about_fixture(folder, "check", &trusted)
}

fn with_keys() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    assert_eq!(secateur(folder.path(), &["keygen", "--out", "keys"]).code, 0);
    folder
}

/// The largest bound is 0.59927 down to mask 0, 0.59962 to mask 1, 0.61385 to mask 2: under 0.6 the widest ends at mask 1.
#[test]
fn the_widest_band_is_claimed_and_only_a_check_says_so() {
    let folder = with_keys();
    let made = certify(folder.path(), &["--band-limit", "tv=0.6", "--details"]);
    assert_eq!(made.code, 0, "{made:?}");
    let sentence = "proved: every mask between mask 0 (0.0 %) and mask 1 (30.0 %) keeps total variation at most 3/5 at all 50 states";
    assert!(made.stdout.contains(sentence), "{made:?}");
    assert!(made.stdout.contains("band/1") && made.stdout.contains("band-crown/1"), "{made:?}");
    assert!(!made.stdout.contains("sensitivity") && !made.stdout.contains("band/2"), "{made:?}");
    let checked = check(folder.path(), "tv=0.6");
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stdout.contains(sentence), "{checked:?}");
    let stricter = check(folder.path(), "tv=0.5996");
    assert_eq!(stricter.code, 1, "{stricter:?}");
    assert!(!stricter.stdout.contains("proved: ") && stricter.stdout.contains("no band from mask 0"));
    let shown = secateur(folder.path(), &["show", "c.cert.dsse.json"]);
    assert!(!shown.stdout.contains("proved"), "{shown:?}");
}

#[test]
fn every_submask_may_keep_a_limit_and_no_band_may() {
    let folder = with_keys();
    let every = certify(folder.path(), &["--band-limit", "deviation=1"]);
    let words =
        "every submask of mask 0 (0.0 %) keeps the deviation of every output at most 1 at all 50 states";
    assert!(every.code == 0 && every.stdout.contains(words), "{every:?}");
    let none = certify(folder.path(), &["--band-limit", "tv=0.01", "--format", "json"]);
    assert_eq!(none.code, 1, "signed, but not what was asked for: {none:?}");
    let document: Value = serde_json::from_str(&none.stdout).expect("JSON");
    assert_eq!(
        (&document["bandLimit"]["holds"], &document["bandLimit"]["to"]),
        (&Value::Bool(false), &Value::Null)
    );
    let rows = document["bands"].as_array().expect("rows");
    let ends: Vec<_> =
        rows.iter().map(|r| (r["to"].as_str().expect("an end"), r["claimed"] == true)).collect();
    assert_eq!(ends, [("0", true), ("1", false), ("2", false), ("zero", false)]);
    let tv = |row: &Value, what: &str| rational(row["totalVariation"][what].as_str().expect("a number"));
    for pair in rows.windows(2) {
        assert!(tv(&pair[0], "max") <= tv(&pair[1], "max"), "a wider band has no smaller bound here");
    }
    assert!(rows.iter().all(|r| tv(r, "median") <= tv(r, "max") && tv(r, "mean") <= tv(r, "max")));
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let folder = with_keys();
    for (limit, word) in
        [("0.3", "tv=0.3"), ("kl=0.3", "tv=0.3"), ("tv=much", "band-limit"), ("tv=-1/2", "negative")]
    {
        let ran = certify(folder.path(), &["--band-limit", limit]);
        assert!(ran.code == 2 && ran.stderr.contains(word), "{limit}: {ran:?}");
        assert_eq!(check(folder.path(), limit).code, 2, "{limit}");
    }
    assert_eq!(certify(folder.path(), &["--band-limit", "tv=0.6", "--band", "0..1"]).code, 2);
}

#[test]
fn audit_shows_how_far_one_can_prune() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let directory = folder.path().join("policy");
    std::fs::create_dir(&directory).expect("folder");
    for file in ["policy.json", "policy.safetensors", "states.npy"] {
        std::fs::copy(fixture().join(file), directory.join(file)).expect("copied");
    }
    let audit = |limit: &str| {
        let settings = format!(
            "states = \"states.npy\"\nepsilon = \"0.05\"\nlimit = 5\nfamilies = [\"sensitivity\"]\n{limit}\n\
             [prune]\nmethod = \"magnitude\"\nscope = \"layer\"\nsparsity = [\"0\", \"0.3\", \"0.5\"]\n"
        );
        std::fs::write(directory.join("audit.toml"), settings).expect("settings");
        secateur(folder.path(), &["--quiet", "audit", "policy", "--out", "out", "--details"])
    };
    let plain = audit("");
    assert!(plain.code == 0 && plain.stdout.contains("bands from mask 0"), "{plain:?}");
    assert!(plain.stdout.contains("found only") && !plain.stdout.contains("proved: "), "{plain:?}");
    let limited = audit("band-limit = \"tv=0.99\"");
    assert!(
        limited.stdout.contains("proved: every mask between mask 0")
            || limited.stdout.contains("proved: every submask")
    );
    assert!(
        limited.stdout.contains("at all 5 states") && limited.stdout.contains("sensitivity"),
        "{limited:?}"
    );
    assert_eq!(audit("band-limit = \"0.99\"").code, 2);
}

/// What is found for one end alone is what the chain's certificate claims, and a certificate that leaves out an output says
/// nothing of the largest deviation.
#[test]
fn found_and_proved_agree_and_an_absent_output_proves_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let files = Problem::write(folder.path(), &Spec::small(5));
    let signer = key(1);
    let ends = [BandEnd::Mask(0), BandEnd::Mask(1), BandEnd::Mask(2), BandEnd::Zero];
    let families: Vec<Family> = ends.iter().flat_map(|e| [Family::Band(*e), Family::BandCrown(*e)]).collect();
    files.certify_to_disk(&families, &signer);
    let proved = files.check().expect("accepted").verified;
    let policy = load_policy(&files.policy_dir()).expect("a policy");
    let masks = load_masks(&files.masks_dir(), &policy.files).expect("masks");
    let (states, _) = load_states(&files.states_file(), Units::Normalised).expect("states");
    let subject = Subject {
        policy: &policy.files.policy,
        masks: &masks.masks,
        states: &states,
        perturbation: &linf("1/20"),
        witness: None,
    };
    let found = bound_bands(&subject, 0, &Silent).expect("bounded");
    assert_eq!(found, proved_bands(&proved));
    // Read off the claims once more: the greater output of the lesser family.
    let claimed = |family: &str, output: usize, state: usize| {
        let claims = &proved.certificate().claims;
        let claim = claims.iter().find(|c| c.family == family && c.mask == 0 && c.output == Some(output));
        rational(&claim.expect("claimed").values[state])
    };
    let least = |output, state| claimed("band/1", output, state).min(claimed("band-crown/1", output, state));
    let by_hand: Vec<_> = (0..2).map(|state| least(0, state).max(least(1, state))).collect();
    assert_eq!(found[1].deviation, by_hand);
    let largest = found[1].deviation.iter().max().expect("a state").clone();
    let limit = BandLimit { quantity: BandQuantity::Deviation, most: largest.clone() };
    assert_eq!(widest(&found, &limit).map(|r| r.to), Some(BandEnd::Mask(1)));
    let below = BandLimit { most: largest.sub(&rational("1e-15")), ..limit.clone() };
    assert_eq!(widest(&found, &below).map(|r| r.to), Some(BandEnd::Mask(0)));
    assert_eq!(answer(&proved, &limit).widest, Some(found[1].clone()));
    files.resign(&signer, |c| c.claims.retain(|claim| claim.output != Some(1)));
    let silent = files.check().expect("fewer claims are as true").verified;
    let everything = BandLimit { most: rational("1000"), ..limit };
    assert_eq!(answer(&silent, &everything).widest, None);
    let (variation, most) = (BandQuantity::TotalVariation, rational("1"));
    assert!(answer(&silent, &BandLimit { quantity: variation, most }).widest.is_some());
}

#[test]
fn a_deterministic_head_has_no_total_variation_to_limit() {
    let folder = with_keys();
    let files = Problem::write(folder.path(), &Spec::small(6));
    let mut policy = files.policy.clone();
    policy.head = secateur::policy::HeadData::Deterministic;
    secateur::policy::emit::write_policy_dir(&files.policy_dir(), &policy).expect("written");
    let ran = |limit: &str| {
        secateur(
            folder.path(),
            &[
                "-q",
                "certify",
                "policy",
                "--masks",
                "masks",
                "--states",
                "states.npy",
                "--epsilon",
                "0.01",
                "--key",
                "keys/secateur.pem",
                "--out",
                "d.json",
                "--force",
                "--band-limit",
                limit,
            ],
        )
    };
    let refused = ran("tv=0.5");
    assert!(refused.code == 2 && refused.stderr.contains("deviation=R"), "{refused:?}");
    let made = ran("deviation=1000");
    assert!(made.code == 0 && made.stdout.contains("proved: every submask"), "{made:?}");
}
