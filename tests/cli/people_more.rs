//! Small things that people meet: what reports bound, what commands say before and beside their work, help that fits a
//! terminal, and one JSON document from every command, whatever happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secateur_checker::family::Family;
use secateur_testkit::problem::{Problem, Spec, certify_with, key, linf, write_trust};
use secateur_testkit::programs::{Ran, run, secateur};
use serde_json::Value;
use tempfile::TempDir;

const WITNESS: &str = "c.witness.safetensors";

const SETTINGS: &str = "
env_id = 'Pendulum-v1'
total_timesteps = 600
num_steps = 256
num_minibatches = 4
update_epochs = 2
hidden_sizes = [8, 8]
states = 5
";

const SWEEP: &str = r#"
seeds = [1]
sparsities = ["0", "0.5"]
episodes = 3
families = ["sensitivity"]
[[environment]]
id = "CartPole-v1"
epsilon = "0.1"
reward-range = ["1", "1"]
train = { total_timesteps = 128, num_envs = 2, num_steps = 64, num_minibatches = 2, hidden_sizes = [8], states = 6 }
[[variant]]
name = "vanilla"
[[attack]]
kind = "random"
"#;

const PROPERTY: &str = "
(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)
(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 -0.1))(assert (<= X_0 0.1))(assert (>= X_1 -0.1))(assert (<= X_1 0.1))
(assert (>= X_2 -0.1))(assert (<= X_2 0.1))(assert (>= Y_0 1000.0))
";

/// What every input of the box satisfies.
const ANY: &str = "
(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)
(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 -0.1))(assert (<= X_0 0.1))(assert (>= X_1 -0.1))(assert (<= X_1 0.1))
(assert (>= X_2 -0.1))(assert (<= X_2 0.1))(assert (<= Y_0 1000.0))
";

const AUDIT: &str =
    "states = \"../states.npy\"\nepsilon = \"0.05\"\nfamilies = [\"ibp\"]\nmasks = \"../masks\"\n";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A policy of three masks with a certificate that speaks from above and from below, a key, and inputs of other commands.
fn bench() -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    let families = [Family::Sensitivity, Family::Ibp];
    let certified = certify_with(folder.path(), &families, &linf("1/20"), &key(1), true).expect("certified");
    certified.write(&problem.certificate_file(), WITNESS).expect("written");
    write_trust(folder.path(), &key(1));
    let texts = [
        ("k.pem", key(1).private_pem().to_string()),
        ("names.toml", "[inputs]\ngyro = { at = \"0..3\" }\n".to_owned()),
        ("settings.toml", SETTINGS.to_owned()),
        ("sweep.toml", SWEEP.to_owned()),
        ("p.vnnlib", PROPERTY.to_owned()),
        ("any.vnnlib", ANY.to_owned()),
        ("w.txt", "sat\n((X_0 0) (X_1 0) (X_2 0))\n".to_owned()),
        ("i.csv", "policy,any.vnnlib,60\n".to_owned()),
        ("policy/audit.toml", AUDIT.to_owned()),
    ];
    for (name, text) in texts {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    for (name, from) in
        [("m.json", "decomposition/two-masks.json"), ("a.json", "sa_mdp/extremal-3-state.json")]
    {
        std::fs::copy(repository("fixtures").join(from), folder.path().join(name)).expect("copied");
    }
    folder
}

/// Runs a command line in which `CARTPOLE` and `PENDULUM` are fixtures.
fn say(folder: &Path, line: &str) -> Ran {
    let place = |name: &str| repository("fixtures").join(name).display().to_string();
    let word = |word: &str| match word {
        "CARTPOLE" => place("cartpole-tanh"),
        "PENDULUM" => place("pendulum-tanh"),
        word => word.to_owned(),
    };
    run(secateur(folder).arg("-q").args(line.split_whitespace().map(word)))
}

fn done(folder: &Path, line: &str) -> Ran {
    let ran = say(folder, line);
    assert_eq!(ran.code, 0, "{line}: {ran:?}");
    ran
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// The names of all commands, as the program lists them.
fn commands(folder: &Path) -> Vec<String> {
    let help = run(secateur(folder).arg("--help")).stdout;
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let name = |line: &str| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    let names = listed.filter_map(name);
    let names = names.filter_map(|rest| rest.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

/// The table of bounds says per mask what `show` says, beside what an attack reaches; one certificate is not summed.
#[test]
fn a_report_says_the_bounds() {
    let folder = bench();
    let ran = done(folder.path(), "report c.cert.dsse.json");
    for words in [
        "certified at most",
        "attack at least",
        "claimed, unchecked",
        "total variation",
        "loosened, some rose",
    ] {
        assert!(ran.stdout.contains(words), "{words:?} is not in {}", ran.stdout);
    }
    assert!(!ran.stdout.lines().any(|line| line.starts_with("│ all ")), "{}", ran.stdout);
    let shown = json(&done(folder.path(), "show c.cert.dsse.json --format json"));
    let report = json(&done(folder.path(), "report c.cert.dsse.json --format json"));
    let bounds = report["bounds"].as_array().expect("bounds");
    let mut compared = 0;
    for (mask, said) in shown["masks"].as_array().expect("masks").iter().enumerate() {
        for (quantity, said) in said["quantities"].as_object().expect("quantities") {
            let row =
                bounds.iter().find(|row| row["mask"] == mask && row["quantity"] == *quantity).expect("a row");
            assert!(
                row["atMost"] == said["atMost"] && row["attackAtLeast"] == said["attackAtLeast"],
                "{row} {said}"
            );
            let (most, least) = (row["atMost"]["value"].as_f64(), row["attackAtLeast"]["value"].as_f64());
            compared +=
                usize::from(most.zip(least).is_some_and(|(most, least)| 0.0 < least && least <= most));
        }
    }
    assert!(compared >= 3, "from both sides under every mask: {report}");
    let both = done(folder.path(), "report c.cert.dsse.json c.cert.dsse.json");
    assert!(both.stdout.lines().any(|line| line.starts_with("│ all ")), "{}", both.stdout);
}

/// A box is printed once, however many masks are bounded in it, and two boxes are numbered 0 and 1.
#[test]
fn a_box_is_printed_once() {
    let folder = bench();
    done(
        folder.path(),
        "certify policy --masks masks --states states.npy --epsilon 0.05 --family sensitivity --key k.pem --out r.json \
         --region-lower=-0.1,-0.1,-0.1 --region-upper=0.1,0.1,0.1",
    );
    let ran = done(folder.path(), "show --details r.json");
    let boxes: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("region")).collect();
    assert_eq!(boxes.len(), 1, "{}", ran.stdout);
    assert!(boxes[0].contains("0: every state of [-0.1, 0.1] x [-0.1, 0.1] x [-0.1, 0.1]"), "{}", ran.stdout);
    let regions = json(&done(folder.path(), "show r.json --format json"))["regions"].as_array().map(Vec::len);
    assert_eq!(regions, Some(3), "an entry a mask");
    for mask in 0..3 {
        let claim = format!(" mask {mask}: ");
        let mut lines = ran.stdout.lines().skip_while(|line| !line.starts_with("region"));
        assert!(lines.any(|line| line.starts_with(' ') && line.contains(&claim)), "{}", ran.stdout);
    }
}

/// Words of tables are explained where they stand.
#[test]
fn words_of_tables_are_explained() {
    let folder = bench();
    let ran = done(
        folder.path(),
        "certify policy --masks masks --states states.npy --epsilon 0.01 --family sensitivity --band-limit deviation=9 \
         --key k.pem --out b.json",
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let first = lines.iter().position(|line| line.contains("found only")).expect("the words");
    assert!(lines[first].contains("claimed: in the certificate, found only: not"), "{}", lines[first]);
    let shown = done(folder.path(), "show --details c.cert.dsse.json").stdout;
    let first = shown.lines().find(|line| line.contains("loosened")).expect("the word");
    assert!(first.contains("loosened a/b: a of b values rose"), "{first}");
}

#[test]
fn decompositions_say_why_columns_are_empty() {
    let folder = bench();
    done(folder.path(), "attack CARTPOLE --attack random --epsilon 0.1 --episodes 3 --out out");
    let ran = done(folder.path(), "decompose out/decomposition.json");
    assert!(ran.stdout.contains("bounds: the file gives none"), "{}", ran.stdout);
    assert!(ran.stdout.contains("0.0 %") && ran.stdout.starts_with('┌'), "{}", ran.stdout);
    let bounded = done(folder.path(), "decompose m.json");
    assert!(!bounded.stdout.contains("gives none") && bounded.stdout.contains("<= "), "{}", bounded.stdout);
}

/// Of an attack that took nothing, the table does not say that it is the strongest.
#[test]
fn no_attack_is_strongest_that_took_nothing() {
    let folder = bench();
    // A policy whose every episode ends at the time limit, whatever such a small ball does.
    let ran =
        done(folder.path(), "attack CARTPOLE --attack random --epsilon 0.000000001 --episodes 3 --out out");
    assert!(ran.stdout.contains("no attack took anything"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("strongest"), "{}", ran.stdout);
    let ran = done(folder.path(), "attack PENDULUM --attack mad --epsilon 1 --episodes 3 --out strong");
    assert!(ran.stdout.contains("strongest"), "{}", ran.stdout);
    let document = json(&done(
        folder.path(),
        "attack PENDULUM --attack mad --epsilon 1 --episodes 3 --out b --format json",
    ));
    assert!(
        document["strongest"]["deterministic"][0]["took"].as_f64() > Some(0.0),
        "{}",
        document["strongest"]
    );
}

#[test]
fn an_import_without_masks_says_so() {
    let folder = bench();
    let ran =
        done(folder.path(), "import policy/policy.safetensors --head gaussian --activation tanh --out p");
    assert!(ran.stdout.contains("masks    none") && !ran.stdout.contains("masks    0"), "{}", ran.stdout);
}

/// 600 steps are two updates of 256; a number that fits is not commented.
#[test]
fn train_says_how_many_steps_it_runs() {
    let folder = bench();
    let ran = done(folder.path(), "train --config settings.toml --out p");
    assert!(ran.stderr.contains("512 of the 600 steps are run"), "{ran:?}");
    assert!(ran.stdout.contains("512 steps"), "{ran:?}");
    let ran = done(folder.path(), "train --config settings.toml --total-timesteps 512 --out q");
    assert!(!ran.stderr.contains("are run"), "{ran:?}");
}

#[test]
fn a_dry_run_gives_a_range() {
    let folder = bench();
    let ran = done(folder.path(), "sweep sweep.toml --out out --dry-run");
    assert!(
        ran.stdout.lines().all(|line| line.contains(" to run, ") && line.matches(" to ").count() == 2),
        "{}",
        ran.stdout
    );
    let document = json(&done(folder.path(), "sweep sweep.toml --out out --dry-run --format json"));
    let ends = document["coreSecondsBetween"].as_array().expect("two ends");
    let estimate = document["coreSeconds"].as_f64();
    assert!(ends[0].as_f64() <= estimate && estimate <= ends[1].as_f64(), "{document}");
}

/// Lines of examples and of what `--help` says beside them fit 80 columns; what every command takes stands apart.
#[test]
fn help_fits_a_terminal() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let names = commands(folder.path());
    assert!(names.len() >= 20, "{names:?}");
    let mut examples = 0;
    for name in names.iter().map(String::as_str).chain([""]) {
        let words: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let help = run(secateur(folder.path()).env("COLUMNS", "200").args(words)).stdout;
        let block =
            help.lines().skip_while(|line| !line.starts_with("Example")).take_while(|line| !line.is_empty());
        for line in block {
            examples += usize::from(line.starts_with("  secateur "));
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let apart: Vec<&str> = help.lines().skip_while(|line| *line != "Of every command:").collect();
        for option in ["--threads <N>", "--format <FORMAT>", "-q, --quiet"] {
            let found = help.matches(option).count();
            assert!(apart.iter().any(|line| line.contains(option)) && found == 1, "{name} {option}: {help}");
        }
        assert_eq!(help.contains("Environments: Pendulum-v1"), name == "train", "{name}");
    }
    assert!(examples > 30, "{examples}");
    let help = run(secateur(folder.path()).args(["train", "--help"])).stdout;
    let known =
        ["Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0", "Acrobot-v1", "Hopper-v5", "Walker2d-v5"];
    for name in known.iter().chain(&["HalfCheetah-v5", "Ant-v5"]) {
        assert!(help.contains(name), "{name}");
    }
}

/// A command line of each command that ends well; `gate` reads the file that the one before it writes.
const GOOD: [&str; 33] = [
    "attack CARTPOLE --attack random --epsilon 0.1 --episodes 3 --out attacked",
    "audit policy --out audited",
    "bundle policy c.cert.dsse.json --masks masks --states states.npy --out x.secateur",
    "bundle --open x.secateur --to opened",
    "certify policy --masks masks --states states.npy --epsilon 0.05 --family ibp --key k.pem --out n.json",
    "check policy --masks masks --states states.npy --trust trust.json c.cert.dsse.json",
    "check-witness policy any.vnnlib w.txt",
    "compare policy --mask masks/mask-01.safetensors --states states.npy --epsilon 0.001 --delta 9",
    "compare policy --mask masks/mask-01.safetensors --states states.npy --state-units raw --epsilon 0.001 --smallest-delta 20 --seconds 60",
    "decompose m.json",
    "diff c.cert.dsse.json c.cert.dsse.json",
    "episodes CARTPOLE --env CartPole-v1 --discount 0.9 --episodes 20 --out drawn",
    "export policy --to p.onnx",
    "gate --init c.cert.dsse.json --policy policy --masks masks --states states.npy --trust trust.json",
    "gate accept",
    "gate",
    "import policy/policy.safetensors --head gaussian --activation tanh --out imported",
    "keygen --out keys",
    "keys show trust.json",
    "keys add trust.json keys/secateur.pub.pem --name other",
    "keys merge trust.json keys/trust.json --out merged.json",
    "names policy",
    "names policy --names names.toml --out named",
    "prune policy --sparsity 0,0.5 --out pruned",
    "report c.cert.dsse.json",
    "sa-mdp a.json",
    "show c.cert.dsse.json",
    "states policy --count 3 --out drawn.npy",
    "sweep sweep.toml --out swept",
    "train --config settings.toml --out trained",
    "verify policy p.vnnlib --key k.pem --out v.json",
    "show v.json",
    "vnncomp i.csv --out r.csv",
];

/// Every command prints one document on standard output, when it ends well, when its input is none, when its options are.
#[test]
fn every_command_prints_one_document() {
    let folder = bench();
    let spec = std::fs::read_to_string(repository("spec/output.md")).expect("read");
    for line in GOOD {
        let ran = say(folder.path(), &format!("{line} --format json"));
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        let document = json(&ran);
        let members = document.as_object().expect("an object");
        let name = line.split_whitespace().next().unwrap_or_default();
        let row = spec.lines().find(|row| {
            row.starts_with('|')
                && row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{name}`")))
        });
        // What names its own format is described beside it.
        if members.contains_key("format") || ["diff", "gate"].contains(&name) {
            continue;
        }
        let row = row.unwrap_or_else(|| panic!("spec/output.md has no row of {name}"));
        for member in members.keys() {
            let listed = row.contains(&format!("`{member}`")) || row.contains(&format!("`{member}[]`"));
            assert!(listed, "spec/output.md does not list {member} of {line}");
        }
    }
    let called: BTreeSet<&str> = GOOD.iter().filter_map(|line| line.split_whitespace().next()).collect();
    let listed = commands(folder.path());
    // A script for a shell is no document.
    let expected: BTreeSet<&str> =
        listed.iter().map(String::as_str).filter(|name| *name != "completions").collect();
    assert_eq!(called, expected);
    for name in &expected {
        for line in
            [format!("{name} --format json --no-such-option"), format!("--format=json {name} --no-such")]
        {
            let ran = say(folder.path(), &line);
            let document = json(&ran);
            assert_eq!((ran.code, &document["exitCode"]), (2, &Value::from(2)), "{line}: {ran:?}");
            assert_eq!(document["kind"], "failure", "{line}");
            assert!(
                document["message"].as_str().is_some_and(|said| said.contains("--no-such")),
                "{line}: {document}"
            );
        }
    }
}

/// The same command lines where nothing is that they read, and where what they write is there.
#[test]
fn every_failure_is_a_document() {
    let (empty, full) = (tempfile::tempdir().expect("temporary folder"), bench());
    let writes = |line: &str| line.contains("--out") || line.contains("--to");
    for line in GOOD.iter().filter(|line| !line.starts_with("keygen") && !line.contains("CARTPOLE")) {
        let ran = say(empty.path(), &format!("{line} --format json"));
        assert_eq!(ran.code, 2, "{line}: {ran:?}");
        let document = json(&ran);
        assert_eq!(document["exitCode"], 2, "{line}: {ran:?}");
    }
    for out in [
        "attacked",
        "audited",
        "drawn",
        "drawn.npy",
        "imported",
        "keys",
        "named",
        "opened",
        "pruned",
        "r.csv",
        "swept",
        "trained",
    ] {
        std::fs::write(full.path().join(out), b"mine").expect("written");
    }
    for line in
        GOOD.iter().filter(|line| writes(line) && !line.contains("json") && !line.contains("x.secateur"))
    {
        if line.contains("--to") || line.contains("keys/") {
            continue;
        }
        let ran = say(full.path(), &format!("{line} --format json"));
        assert_eq!((ran.code, &json(&ran)["kind"]), (2, &Value::from("failure")), "{line}: {ran:?}");
    }
    // A rejection too.
    let problem = Problem::write(&full.path().join("again"), &Spec::small(1));
    problem.certify_to_disk(&[Family::Sensitivity], &key(1));
    problem.resign(&key(1), |c| c.claims[0].values[0] = "0".to_owned());
    let line =
        "check policy --masks masks --states states.npy --trust trust.json c.cert.dsse.json --format json";
    let ran = say(&full.path().join("again"), line);
    let document = json(&ran);
    assert_eq!((ran.code, &document["result"]), (3, &Value::from("rejected")), "{ran:?}");
    assert!(document["code"].is_string(), "{document}");
}
