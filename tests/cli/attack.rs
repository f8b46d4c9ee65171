//! `secateur attack` as a person runs it: tables and files, interruptions, masks, transfer, and what is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use secateur::decomposition::parse_input;
use secateur_testkit::programs::{Ran, run, secateur};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A command with small budgets.
fn attack(folder: &Path, fixture_name: &str, attacks: &str, more: &[&str]) -> Command {
    let mut command = secateur(folder);
    command.args(["--quiet", "attack"]).arg(fixture(fixture_name));
    command.args(["--attack", attacks, "--epsilon", "0.1", "--episodes", "3", "--training-steps", "256"]);
    command.args(["--adversaries", "1", "--out", "out"]).args(more);
    command
}

fn succeed(command: &mut Command) -> Ran {
    let ran = run(command);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

fn document(folder: &Path, name: &str) -> Value {
    let bytes = std::fs::read(folder.join("out").join(name)).expect("written");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Every attack against a Gaussian and against a categorical policy.
#[test]
fn every_attack_is_measured() {
    for name in ["pendulum-tanh", "cartpole-tanh"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let ran = succeed(&mut attack(folder.path(), name, "all", &[]));
        let document = document(folder.path(), "attack.json");
        let rows = document["attacks"].as_array().expect("rows");
        let kinds: Vec<&str> =
            rows.iter().filter_map(|row| row["outcome"]["plan"]["kind"].as_str()).collect();
        assert_eq!(kinds, ["random", "critic", "mad", "robust-sarsa", "optimal", "pa-ad"]);
        for (row, kind) in rows.iter().zip(kinds) {
            assert!(ran.stdout.contains(kind), "{ran:?}");
            for way in ["deterministic", "sampled"] {
                let measured = &row["outcome"][way];
                assert_eq!(measured["clean"], rows[0]["outcome"][way]["clean"], "the same clean episodes");
                assert_eq!(measured["attacked"].as_array().map(Vec::len), Some(3));
                // CartPole's 500 may stand; every step of Pendulum has a reward of its own.
                assert!(name == "cartpole-tanh" || measured["attacked"] != measured["clean"], "{kind}");
            }
            // A quarter more for the values that the start of an adversary over observations imitates.
            let steps = match kind {
                "random" | "mad" => 0,
                "optimal" => 256 + 64,
                _ => 256,
            };
            assert_eq!(row["outcome"]["training_steps"], steps);
        }
        // Such small budgets may take nothing of CartPole's 500.
        let words = if name == "pendulum-tanh" { "strongest" } else { "no attack took anything" };
        assert!(ran.stdout.contains(words), "{ran:?}");
        let csv = std::fs::read_to_string(folder.path().join("out/attack.csv")).expect("written");
        assert_eq!(csv.lines().count(), 13, "{csv}");
        assert!(csv.lines().all(|line| line.split(',').count() == 19), "{csv}");
    }
}

/// What the decomposition reads are the sampled, discounted returns of the strongest attack of each mask.
#[test]
fn decompose_reads_what_was_measured() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let masks = fixture("pendulum-tanh/masks");
    let masks = ["--masks", masks.to_str().expect("a path"), "--mask", "4,1"];
    succeed(&mut attack(folder.path(), "pendulum-tanh", "random,mad", &masks));
    let bytes = std::fs::read(folder.path().join("out/decomposition.json")).expect("written");
    let input = parse_input(&bytes).expect("of the described form");
    let names: Vec<&str> = input.masks.iter().map(|mask| mask.name.as_str()).collect();
    assert_eq!(names, ["mask-01", "mask-04"]);
    let all = document(folder.path(), "attack.json");
    for (mask, strongest) in
        input.masks.iter().zip(all["strongest"]["sampledDiscounted"].as_array().expect("a list"))
    {
        assert_eq!(mask.attacked.attack, strongest["attack"]);
        let mean = mask.attacked.episodes.iter().map(|e| {
            e.value.to_string().parse::<f64>().unwrap_or_else(|_| {
                let text = e.value.to_string();
                let (over, under) = text.split_once('/').expect("a fraction");
                over.parse::<f64>().expect("a number") / under.parse::<f64>().expect("a number")
            })
        });
        let mean = mean.sum::<f64>() / 3.0;
        assert!((mean - strongest["mean"].as_f64().expect("a number")).abs() < 1e-9 * mean.abs());
    }
    let ran = run(secateur(folder.path()).args(["decompose", "out/decomposition.json"]));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// A transferred attack is apart from the one made anew, and never the strongest.
#[test]
fn transfer_is_reported_apart() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let masks = fixture("cartpole-tanh/masks");
    let masks = ["--masks", masks.to_str().expect("a path"), "--mask", "0,3", "--transfer"];
    let ran = succeed(&mut attack(folder.path(), "cartpole-tanh", "optimal", &masks));
    let document = document(folder.path(), "attack.json");
    let rows = document["attacks"].as_array().expect("rows");
    let found: Vec<(&str, bool)> = rows
        .iter()
        .filter_map(|row| Some((row["mask"].as_str()?, row["outcome"]["transfer"].as_bool()?)))
        .collect();
    assert_eq!(
        found,
        [("mask-00", false), ("mask-03", false), ("mask-03", true)],
        "none for the dense policy"
    );
    let attacked = |row: &Value| row["outcome"]["sampled"]["attacked"].clone();
    assert_ne!(attacked(&rows[1]), attacked(&rows[2]), "another adversary");
    assert_eq!(
        rows[1]["outcome"]["sampled"]["clean"], rows[2]["outcome"]["sampled"]["clean"],
        "the same victim"
    );
    assert!(ran.stdout.contains("transfer: made against the dense policy"), "{ran:?}");
    assert_eq!(document["strongest"]["sampledDiscounted"].as_array().map(Vec::len), Some(2));
    let lowest = &document["strongest"]["sampledDiscounted"][1]["mean"];
    assert_eq!(*lowest, rows[1]["sampledDiscounted"]["attacked"]["mean"]);
}

/// Nothing that is finished is done again, and a lost part comes back the same, on one thread and on two.
#[test]
fn resumes_to_the_same_files() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let attacks = "robust-sarsa,optimal,critic";
    succeed(attack(root, "cartpole-tanh", attacks, &[]).args(["--threads", "1"]));
    let names = ["attack.json", "attack.csv", "decomposition.json"];
    let read = |name: &str| std::fs::read(root.join("out").join(name)).expect("written");
    let first = names.map(read);
    std::fs::remove_file(root.join("out/results/dense-optimal.json")).expect("was there");
    std::fs::remove_file(root.join("out/results/dense-robust-sarsa.json")).expect("was there");
    let checkpoints = std::fs::read_dir(root.join("out/checkpoints")).expect("listed");
    for entry in checkpoints {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("robust-sarsa") {
            std::fs::remove_file(path.join("values-2.json")).expect("was there");
        }
    }
    let again = run(&mut attack(root, "cartpole-tanh", attacks, &[]));
    assert!(again.code == 2 && again.stderr.contains("out/attack.json"), "it was finished: {again:?}");
    succeed(attack(root, "cartpole-tanh", attacks, &["--force"]).args(["--threads", "2"]));
    assert!(names.map(read) == first);
}

/// A result of another plan is not taken for this one's.
#[test]
fn another_plan_starts_anew() {
    let folder = tempfile::tempdir().expect("temporary folder");
    succeed(&mut attack(folder.path(), "cartpole-tanh", "random", &["--seed", "1"]));
    let first = document(folder.path(), "attack.json");
    succeed(&mut attack(folder.path(), "cartpole-tanh", "random", &["--seed", "2", "--force"]));
    assert_ne!(document(folder.path(), "attack.json"), first);
    succeed(&mut attack(folder.path(), "cartpole-tanh", "random", &["--seed", "1", "--force"]));
    assert_eq!(document(folder.path(), "attack.json"), first);
}

#[test]
fn wrong_options_are_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let masks = fixture("cartpole-tanh/masks");
    let masks = masks.to_str().expect("a path");
    let cases: [(&str, &[&str], &str); 6] = [
        ("nonsense", &[], "no attack is called \"nonsense\"; choose from random, critic"),
        ("mad", &["--env", "Nowhere-v0"], "unknown environment \"Nowhere-v0\""),
        ("mad", &["--env", "Pendulum-v1"], "expected 3 numbers, got 4"),
        ("mad", &["--masks", masks, "--mask", "9"], "--mask \"9\": give numbers from 0 to 3"),
        ("mad", &["--discount", "1"], "discount must be at least 0 and below 1"),
        ("mad", &["--discount", "x"], "--discount: \"x\" is neither a decimal nor a fraction"),
    ];
    for (attacks, more, words) in cases {
        let ran = run(&mut attack(folder.path(), "cartpole-tanh", attacks, more));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(words), "{words:?} is not in {ran:?}");
    }
}
