//! Sweeps by the real program: whole, killed in the middle, with a changed configuration, with a damaged result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use secateur_testkit::programs::{Ran, run, secateur};
use tempfile::TempDir;

const SMALL: &str = r#"
seeds = [1, 2]
sparsities = ["0", "0.5"]
episodes = 3
families = ["sensitivity", "crown", "pruned-deviation"]
bootstrap = { resamples = 100 }

[[environment]]
id = "CartPole-v1"
epsilon = "0.1"
reward-range = ["1", "1"]
train = { total_timesteps = 512, num_envs = 2, num_steps = 64, num_minibatches = 2, hidden_sizes = [8], states = 6 }

[[environment]]
id = "Pendulum-v1"
epsilon = "1/20"
train = { total_timesteps = 512, num_envs = 2, num_steps = 64, num_minibatches = 2, hidden_sizes = [8], states = 6 }

[[variant]]
name = "vanilla"

[[variant]]
name = "micro"
environments = ["CartPole-v1"]
pruned-in-training = true
train = { prune = { start = 0.2 } }

[[attack]]
kind = "random"

[[attack]]
kind = "optimal"
steps = 128
environments = ["CartPole-v1"]
transfer = true
"#;

fn folder_with(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("sweep.toml"), config).expect("written");
    folder
}

fn sweep(folder: &Path, out: &str, arguments: &[&str]) -> Ran {
    run(secateur(folder).args(["-q", "sweep", "sweep.toml", "--out", out, "--jobs", "2"]).args(arguments))
}

fn finished(folder: &Path, out: &str) -> Ran {
    let ran = sweep(folder, out, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// Names and bytes of the files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (name(&path), std::fs::read(&path).expect("a file"))).collect()
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn jobs(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder.join("jobs"));
    entries
        .map_or_else(|_| BTreeSet::new(), |list| list.map(|e| name(&e.expect("an entry").path())).collect())
}

/// Tables and plots of a sweep.
fn report(folder: &Path) -> [BTreeMap<String, Vec<u8>>; 2] {
    ["tables", "plots"].map(|part| files(&folder.join(part)))
}

fn of_kind(jobs: &BTreeSet<String>, kind: &str) -> BTreeSet<String> {
    jobs.iter().filter(|job| job.starts_with(&format!("{kind}-"))).cloned().collect()
}

/// The rows of a table as JSON.
fn rows(folder: &Path, table: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("tables").join(table)).expect("a table");
    serde_json::from_str(&text).expect("JSON")
}

/// Trained: 2 tasks, 2 seeds, and once more for each seed at sparsity 1/2; the dense micro-pruned policies are the vanilla
/// ones. Cells: (2 + 1) groups, 2 seeds, 2 sparsities, of which the dense micro-pruned ones are shared.
#[test]
fn a_whole_sweep() {
    let folder = folder_with(SMALL);
    let out = folder.path().join("out");
    finished(folder.path(), "out");
    let found = jobs(&out);
    let count = |kind: &str| of_kind(&found, kind).len();
    assert_eq!([count("random"), count("train"), count("clean")], [2, 6, 10]);
    // 10 policies by random noise, 6 of CartPole by optimal adversaries.
    assert_eq!([count("attack"), count("transfer"), count("prune")], [16, 4, 12 - 2]);
    assert!(std::fs::read_dir(out.join("work")).expect("a folder").next().is_none());
    let names: Vec<String> = report(&out).iter().flat_map(|files| files.keys().cloned()).collect();
    assert_eq!(names.len(), 7 * 3 + 6, "{names:?}");
    // Groups times sparsities times what stands under each.
    let sampled = rows(&out, "returns-sampled.json");
    let under = |what: &str| sampled.iter().filter(|row| row["under"] == what).count();
    assert_eq!([under("clean"), under("random"), under("optimal"), under("worst")], [6, 6, 4, 6]);
    assert!(sampled.iter().all(|row| row["mean"].is_number() && row["seeds"] == 2), "{sampled:?}");
    let dense = |row: &&serde_json::Value| {
        row["variant"] == "vanilla" && row["sparsity"] == "0" && row["under"] == "clean"
    };
    assert!(sampled.iter().filter(dense).all(|row| row["score"] == 1.0 || row["score"].is_null()));
    let bounds = rows(&out, "certified-bounds.json");
    assert!(bounds.iter().any(|row| row["family"] == "crown" && row["mean"].as_f64() > Some(0.0)));
    let steps = rows(&out, "steps.json");
    let crown: Vec<_> = steps.iter().filter(|row| row["family that rose"] == "crown").collect();
    // 2 seeds, 6 states, an output an action.
    let places = |row: &&serde_json::Value| if row["environment"] == "CartPole-v1" { 24 } else { 12 };
    assert!(!crown.is_empty() && crown.iter().all(|row| row["places"] == places(row)), "{steps:?}");
    assert!(steps.iter().any(|row| row["of"] == "total-variation" && row["family that rose"].is_null()));
    let decomposed = rows(&out, "decomposition.json");
    assert_eq!(decomposed.len(), 6);
    for row in &decomposed {
        assert_eq!(row["robustness bound"].is_number(), row["environment"] == "CartPole-v1", "{row}");
    }
    assert_eq!(rows(&out, "transfer.json").len(), 2 * 2);
    for plot in report(&out)[1].values() {
        let text = String::from_utf8(plot.clone()).expect("UTF-8");
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n") && !text.contains("NaN"), "{text}");
    }
    let sums = Path::new("SHA256SUMS");
    for job in &found {
        assert!(out.join("jobs").join(job).join(sums).exists(), "{job}");
    }
    // A second run has nothing to do and writes the same bytes.
    let before = report(&out);
    finished(folder.path(), "out");
    assert!(before == report(&out) && found == jobs(&out));
}

fn begin(folder: &Path, out: &str) -> Child {
    let mut command = secateur(folder);
    command.args(["-q", "sweep", "sweep.toml", "--out", out, "--jobs", "2"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

fn wait_for_jobs(folder: &Path, count: usize) {
    let began = Instant::now();
    while jobs(folder).len() < count {
        assert!(began.elapsed() < Duration::from_secs(120), "{} of {count} jobs", jobs(folder).len());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Killed with SIGKILL again and again, at whatever it was doing; the tables and plots at the end are those of a sweep that ran
/// through, byte for byte, and nothing that was done is done again.
#[test]
fn a_killed_sweep_goes_on() {
    let folder = folder_with(SMALL);
    finished(folder.path(), "whole");
    let out = folder.path().join("killed");
    for count in [1, 4, 9, 17, 30] {
        let mut child = begin(folder.path(), "killed");
        wait_for_jobs(&out, count);
        child.kill().expect("SIGKILL");
        child.wait().expect("it ended");
        let after = jobs(&out);
        assert!(after.len() < 40, "killed too late to tell anything");
    }
    let times = |folder: &Path| -> BTreeMap<String, std::time::SystemTime> {
        let time = |job: &String| folder.join("jobs").join(job).join("SHA256SUMS").metadata()?.modified();
        jobs(folder).iter().map(|job| (job.clone(), time(job).expect("a time"))).collect()
    };
    let before = times(&out);
    finished(folder.path(), "killed");
    let after = times(&out);
    assert!(before.iter().all(|(job, time)| after[job] == *time), "what was done is not done again");
    let whole = folder.path().join("whole");
    assert_eq!(jobs(&whole), jobs(&out));
    assert!(report(&whole) == report(&out));
}

/// An interrupt keeps checkpoints: the next run resumes and ends in the same tables.
#[cfg(unix)]
#[test]
fn an_interrupted_sweep_keeps_its_checkpoints() {
    let long = SMALL.replace("total_timesteps = 512, num_envs = 2", "total_timesteps = 40960, num_envs = 2");
    let folder = folder_with(&long);
    let out = folder.path().join("out");
    let mut child = begin(folder.path(), "out");
    let began = Instant::now();
    let logs = || {
        let work = std::fs::read_dir(out.join("work")).into_iter().flatten();
        work.filter_map(Result::ok).any(|entry| entry.path().join("logs/progress.csv").exists())
    };
    while !logs() {
        assert!(began.elapsed() < Duration::from_secs(120), "no training began");
        std::thread::sleep(Duration::from_millis(2));
    }
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ended").code(), Some(4));
    let kept: Vec<PathBuf> = std::fs::read_dir(out.join("work"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().join("checkpoint.json"))
        .filter(|path| path.exists())
        .collect();
    assert!(!kept.is_empty(), "a checkpoint is kept");
    let damaged = std::fs::read(&kept[0]).expect("a checkpoint");
    std::fs::write(&kept[0], &damaged[..damaged.len() / 2]).expect("written");
    let ran = finished(folder.path(), "out");
    assert!(ran.stderr.contains("it starts anew"), "{ran:?}");
    finished(folder.path(), "whole");
    assert!(report(&out) == report(&folder.path().join("whole")));
}

/// More episodes: every measured mean is made anew, nothing else is, and what is stale stays where it is.
#[test]
fn a_changed_configuration_does_not_use_old_results() {
    let folder = folder_with(SMALL);
    let out = folder.path().join("out");
    finished(folder.path(), "out");
    let (before, tables) = (jobs(&out), report(&out));
    std::fs::write(folder.path().join("sweep.toml"), SMALL.replace("episodes = 3", "episodes = 4"))
        .expect("written");
    finished(folder.path(), "out");
    let after = jobs(&out);
    assert!(before.is_subset(&after) && report(&out) != tables);
    for kind in ["train", "prune", "certify"] {
        assert_eq!(of_kind(&before, kind), of_kind(&after, kind), "{kind}");
    }
    for kind in ["clean", "attack", "random-policy", "transfer"] {
        assert_eq!(2 * of_kind(&before, kind).len(), of_kind(&after, kind).len(), "{kind}");
    }
    // Back again: everything is there, and the tables are the old ones.
    std::fs::write(folder.path().join("sweep.toml"), SMALL).expect("written");
    finished(folder.path(), "out");
    assert!(jobs(&out) == after && report(&out) == tables);
    // Another learning rate in one task (1e-3 is what CartPole has anyway) leaves the other task alone.
    let other = SMALL.replacen("hidden_sizes = [8]", "hidden_sizes = [8], learning_rate = 2e-3", 1);
    std::fs::write(folder.path().join("sweep.toml"), other).expect("written");
    finished(folder.path(), "out");
    assert_eq!(of_kind(&jobs(&out), "train").len(), 6 + 4);
}

/// A digit of a result changed, a file missing, a file too many: each is noticed, said, moved aside and made again.
#[test]
fn a_damaged_result_is_made_again() {
    let folder = folder_with(SMALL);
    let out = folder.path().join("out");
    finished(folder.path(), "out");
    let (whole, all) = (report(&out), jobs(&out));
    let place = |kind: &str, number: usize| {
        let job = of_kind(&all, kind).into_iter().nth(number).expect("a job");
        out.join("jobs").join(job)
    };
    let result = place("clean", 0).join("result.json");
    let text = std::fs::read_to_string(&result).expect("a result");
    let digit = text.rfind(|c: char| c.is_ascii_digit() && c != '7').expect("a digit");
    std::fs::write(&result, format!("{}7{}", &text[..digit], &text[digit + 1..])).expect("written");
    std::fs::remove_file(place("attack", 1).join("result.json")).expect("removed");
    std::fs::write(place("attack", 2).join("more.json"), "{}").expect("written");
    std::fs::remove_file(place("train", 0).join("SHA256SUMS")).expect("removed");
    let ran = finished(folder.path(), "out");
    assert_eq!(ran.stderr.matches("the result is not used").count(), 4, "{ran:?}");
    for words in
        ["result.json is not what SHA256SUMS says", "more.json is not what", "SHA256SUMS: No such file"]
    {
        assert!(ran.stderr.contains(words), "{words:?} is not in {ran:?}");
    }
    assert!(report(&out) == whole);
    let aside = jobs(&out).iter().filter(|job| job.ends_with(".rejected-1")).count();
    assert_eq!((aside, jobs(&out).len()), (4, all.len() + 4));
}

/// A result that is whole but was made from another policy: its description names other inputs.
#[test]
fn a_result_of_other_inputs_is_made_again() {
    let folder = folder_with(SMALL);
    finished(folder.path(), "out");
    let out = folder.path().join("out");
    let clean = out.join("jobs").join(of_kind(&jobs(&out), "clean").first().expect("a job"));
    let description = clean.join("job.json");
    let text = std::fs::read_to_string(&description).expect("a description");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    value["inputs"][0] = "00".repeat(32).into();
    std::fs::write(&description, value.to_string()).expect("written");
    let sums = run(std::process::Command::new("sh")
        .current_dir(&clean)
        .args(["-c", "sha256sum job.json result.json > SHA256SUMS && sha256sum --check --quiet SHA256SUMS"]));
    assert_eq!(sums.code, 0, "{sums:?}");
    let ran = finished(folder.path(), "out");
    assert!(ran.stderr.contains("made from other results than those there are now"), "{ran:?}");
}

#[test]
fn limits_dry_runs_and_partial_tables() {
    let folder = folder_with(SMALL);
    let out = folder.path().join("out");
    let dry = sweep(folder.path(), "out", &["--dry-run"]);
    assert!(
        dry.code == 0 && dry.stdout.contains("train") && dry.stdout.contains("6 of     6 to run"),
        "{dry:?}"
    );
    assert!(!out.exists(), "a dry run writes nothing");
    let nothing = sweep(folder.path(), "out", &["--plots-only"]);
    assert!(nothing.code == 2 && nothing.stderr.contains("holds no sweep") && !out.exists(), "{nothing:?}");
    let ran = sweep(folder.path(), "out", &["--limit-jobs", "12"]);
    assert!(ran.code == 4 && ran.stderr.contains("the same command goes on"), "{ran:?}");
    assert_eq!(jobs(&out).len(), 12);
    assert!(!out.join("tables").exists());
    let partial = sweep(folder.path(), "out", &["--plots-only"]);
    assert_eq!(partial.code, 0, "{partial:?}");
    let table = std::fs::read_to_string(out.join("tables/returns-sampled.md")).expect("a table");
    assert!(table.contains("INCOMPLETE"), "{table}");
    finished(folder.path(), "out");
    let table = std::fs::read_to_string(out.join("tables/returns-sampled.md")).expect("a table");
    assert!(!table.contains("INCOMPLETE"), "{table}");
}

#[test]
fn two_sweeps_do_not_share_a_folder() {
    let folder = folder_with(SMALL);
    let mut first = begin(folder.path(), "out");
    wait_for_jobs(&folder.path().join("out"), 1);
    let second = sweep(folder.path(), "out", &[]);
    assert!(second.code == 4 && second.stderr.contains("another sweep is running"), "{second:?}");
    // Looking is allowed.
    for looking in ["--dry-run", "--plots-only"] {
        assert_eq!(sweep(folder.path(), "out", &[looking]).code, 0, "{looking}");
    }
    first.kill().expect("SIGKILL");
    first.wait().expect("it ended");
}

#[test]
fn what_cannot_be_swept_is_said() {
    let cases = [
        (SMALL.replace("CartPole-v1", "CartPole-v7"), "unknown environment"),
        (SMALL.replace("kind = \"random\"", "kind = \"rnadom\""), "no attack is called"),
        (SMALL.replace("steps = 128", ""), "give steps"),
        (SMALL.replace("kind = \"random\"", "kind = \"random\"\nsteps = 9"), "leave out steps"),
        (SMALL.replace("\"0\", \"0.5\"", "\"0.5\", \"0\""), "sparsities must be increasing from 0"),
        (SMALL.replace("epsilon = \"0.1\"", "epsilon = \"a tenth\""), "numbers are decimals or fractions"),
        (SMALL.replace("\"crown\"", "\"krown\""), "names of families"),
        (
            SMALL.replace("environments = [\"CartPole-v1\"]", "environments = [\"Acrobot-v1\"]"),
            "does not have",
        ),
        (SMALL.replace("num_minibatches = 2", "num_minibatches = 3"), "a divisor of"),
        (SMALL.replace("seeds = [1, 2]", "seeds = [1, 1]"), "twice"),
        (format!("{SMALL}\n[[attack]]\nkind = \"random\"\n"), "two [[attack]] entries run random"),
        (SMALL.replace("episodes = 3", "episode = 3"), "unknown field `episode`"),
    ];
    for (config, words) in cases {
        let folder = folder_with(&config);
        let ran = sweep(folder.path(), "out", &[]);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{words:?} is not in {ran:?}");
        assert!(!folder.path().join("out").exists(), "{words}");
    }
}
