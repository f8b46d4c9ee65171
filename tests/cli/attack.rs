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
    attack_within(folder, &fixture(fixture_name), attacks, &[&["--epsilon", "0.1"], more].concat())
}

/// The same, the ball among the rest.
fn attack_within(folder: &Path, policy: &Path, attacks: &str, more: &[&str]) -> Command {
    let mut command = secateur(folder);
    command.args(["--quiet", "attack"]).arg(policy);
    command.args(["--attack", attacks, "--episodes", "3", "--training-steps", "256"]);
    command.args(["--adversaries", "1", "--out", "out"]).args(more);
    command
}

/// A policy of the fixtures with names, and a file of radii beside it.
fn named(folder: &Path, fixture_name: &str, names: &str, radii: &str) -> PathBuf {
    std::fs::write(folder.join("names.toml"), names).expect("written");
    std::fs::write(folder.join("noise.toml"), radii).expect("written");
    let mut command = secateur(folder);
    command.args(["--quiet", "names"]).arg(fixture(fixture_name));
    succeed(command.args(["--names", "names.toml", "--out", "named", "--force"]));
    folder.join("named")
}

/// A player of CartPole with names.
fn named_player(folder: &Path, radii: &str) -> PathBuf {
    let names = "[inputs]\ncart = { at = \"0..2\" }\npole = { at = \"2..4\", unit = \"rad\" }\n";
    named(folder, "cartpole-tanh", names, radii)
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

/// Radii of a file: every attack takes them, and what is written says which they were, input by input and in which units.
#[test]
fn radii_of_a_file_are_attacked_within() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let policy = named_player(folder.path(), "pole = \"0.05 rad\"\n\"pole[1]\" = \"0.2\"\n");
    let more = ["--env", "CartPole-v1", "--radii", "noise.toml"];
    let ran = succeed(&mut attack_within(folder.path(), &policy, "all", &more));
    let note = "note: 2 inputs do not move, as the file of radii does not say how far (\"cart\")";
    assert!(ran.stderr.contains(note), "{ran:?}");
    let words = "CartPole-v1, box of 4 radii, 0 to 0.2: 0, 0, 0.05, 0.2, in raw units, 3 episodes, seed 1";
    assert!(ran.stdout.contains(words), "{ran:?}");
    let radii = serde_json::json!({"units": "raw", "radii": ["0", "0", "1/20", "1/5"]});
    let all = document(folder.path(), "attack.json");
    let rows = all["attacks"].as_array().expect("rows");
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row["outcome"]["plan"]["radius"] == radii), "{all}");
    let csv = std::fs::read_to_string(folder.path().join("out/attack.csv")).expect("written");
    let column = |line: &str| line.split(',').nth(7).map(str::to_owned);
    let mut lines = csv.lines().map(column);
    assert_eq!(lines.next().flatten().as_deref(), Some("radii_raw"));
    assert!(lines.all(|entry| entry.as_deref() == Some("0 0 1/20 1/5")), "{csv}");
    // A finished run of one file is not taken for that of another.
    named_player(folder.path(), "pole = \"0\"\n");
    succeed(attack_within(folder.path(), &policy, "mad", &more).arg("--force"));
    let still = document(folder.path(), "attack.json");
    let outcome = &still["attacks"][0]["outcome"];
    assert_eq!(outcome["plan"]["radius"]["radii"], serde_json::json!(["0", "0", "0", "0"]));
    assert_eq!(outcome["sampled"]["attacked"], outcome["sampled"]["clean"]);
}

/// The same radius for every input is one radius, to the last bit, from a list and from a file. Unlike those of a pole,
/// returns of a pendulum differ wherever torques do.
#[test]
fn equal_radii_give_what_epsilon_gives() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let names = "[inputs]\nangle = { at = \"0..2\" }\nvelocity = { at = \"2\", unit = \"rad/s\" }\n";
    let policy = named(folder.path(), "pendulum-tanh", names, "angle = \"0.1\"\nvelocity = \"0.1\"\n");
    let run = |ball: &[&str]| {
        let more = [&["--env", "Pendulum-v1", "--force"], ball].concat();
        succeed(&mut attack_within(folder.path(), &policy, "all", &more));
        let all = document(folder.path(), "attack.json");
        let rows = all["attacks"].as_array().expect("rows").iter();
        rows.map(|row| [row["outcome"]["deterministic"].clone(), row["outcome"]["sampled"].clone()])
            .collect::<Vec<_>>()
    };
    let epsilon = run(&["--epsilon", "0.1"]);
    assert_eq!(epsilon.len(), 6);
    assert!(run(&["--radii", "0.1,0.1,0.1"]) == epsilon);
    assert!(run(&["--radii", "noise.toml", "--units", "normalised"]) == epsilon);
    // In raw units the deviations of this policy's observations make another ball of it.
    let raw = run(&["--radii", "noise.toml"]);
    assert!(raw != epsilon);
    assert!(run(&["--epsilon", "0.1", "--units", "raw"]) == raw);
}

/// Balls that are not one, and sets that adversaries do not keep to, are refused before anything is written.
#[test]
fn balls_that_are_none_are_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let plain = fixture("cartpole-tanh");
    for (radii, ball, words) in [
        (
            "",
            &[][..],
            "give --epsilon R (one radius) or --radii R1,R2,... (one per input, or a file of radii",
        ),
        (
            "",
            &["--epsilon", "0.1", "--radii", "0.1,0.1,0.1,0.1"],
            "'--epsilon <R>' cannot be used with '--radii",
        ),
        ("", &["--epsilon", "x"], "epsilon \"x\": not a decimal or a fraction"),
        ("", &["--epsilon=-0.1"], "epsilon -1/10 is negative"),
        ("", &["--radii", "0.1,0.2"], "2 radii for 4 inputs; give one radius per input, or a single one"),
        ("", &["--radii", "0.1,0.1,0.1,-1"], "radii -1 is negative"),
        ("", &["--radii", "nowhere.toml"], "\"nowhere.toml\": "),
        (
            "pol = \"1\"",
            &["--radii", "noise.toml"],
            "\"noise.toml\": pol: the policy names no inputs so; did you mean pole?",
        ),
        ("pole = \"1 m\"", &["--radii", "noise.toml"], "\"noise.toml\": pole: the unit is rad"),
        (
            "pole = \"1\"\nbias.cart = \"1\"",
            &["--radii", "noise.toml"],
            "\"noise.toml\": adversaries move every input by itself and know no limits: leave out [bias]; a bias added to the",
        ),
        (
            "pole = \"1\"\n[limits]\npole = [\"-1\", \"1\"]",
            &["--radii", "noise.toml"],
            "know no limits: leave out [limits]; ",
        ),
        (
            "bias.cart = \"1\"\n[limits]\npole = [\"-1\", \"1\"]",
            &["--radii", "noise.toml"],
            "leave out [bias] and [limits]; ",
        ),
    ] {
        let policy = named_player(folder.path(), radii);
        let more = [&["--env", "CartPole-v1"], ball].concat();
        let ran = run(&mut attack_within(folder.path(), &policy, "mad", &more));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(words), "{words:?} is not in {ran:?}");
        assert!(!folder.path().join("out").exists(), "{words}");
    }
    let ran = run(&mut attack_within(folder.path(), &plain, "mad", &["--radii", "noise.toml"]));
    assert!(ran.code == 2 && ran.stderr.contains("names no inputs; `secateur names "), "{ran:?}");
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
