//! Stable-Baselines3 archives, normaliser files and whole modules of every kind that is read, or refused by name.
//! The files are written by `foreign/sb3_files.py`, which needs a Python with numpy: the one named by
//! `SECATEUR_PYTHON`, else `python3`; prints that it skipped when there is none.

use secateur::import::{HeadKind, ImportOptions, Imported, LogStd, import_accounted, parse_activation};
use secateur::policy::{ActivationSpec, HeadData, PolicyData, Scaling};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The written files; `None` where no Python has numpy.
static FILES: LazyLock<Option<(tempfile::TempDir, Vec<Value>)>> = LazyLock::new(|| {
    let python = std::env::var("SECATEUR_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", "import numpy"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no numpy");
        return None;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/sb3_files.py");
    let output = Command::new(&python).arg(script).arg(folder.path()).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases = std::fs::read(folder.path().join("cases.json")).expect("cases");
    let cases: Vec<Value> = serde_json::from_slice(&cases).expect("JSON");
    Some((folder, cases))
});

/// The options of a case as the command line would read them.
fn options(folder: &Path, case: &Value) -> ImportOptions {
    let words: Vec<&str> =
        case["options"].as_array().expect("options").iter().filter_map(Value::as_str).collect();
    let mut words = words.iter().flat_map(|word| word.splitn(2, '='));
    let mut options = ImportOptions::default();
    while let Some(word) = words.next() {
        let value = words.next().expect("a value").to_owned();
        match word {
            "--head" => {
                options.head = Some(match value.as_str() {
                    "gaussian" => HeadKind::Gaussian,
                    "categorical" => HeadKind::Categorical,
                    _ => HeadKind::Deterministic,
                });
            }
            "--activation" => options.activation = Some(parse_activation(&value).expect("known")),
            "--output-activation" => {
                options.output_activation = Some(parse_activation(&value).expect("known"));
            }
            "--prefix" => options.prefix = Some(value),
            "--clip" => options.clip = Some(value),
            "--normaliser-epsilon" => options.normaliser_epsilon = Some(value),
            "--log-std" => options.log_std = Some(LogStd::Values(vec![value])),
            "--normaliser" => options.normaliser = Some(folder.join(value)),
            "--action-bounds" => {
                let (low, high) = value.split_once(',').expect("two bounds");
                options.action_bounds = Some((low.to_owned(), high.to_owned()));
            }
            other => panic!("{other}"),
        }
    }
    options
}

fn read(folder: &Path, case: &Value) -> Result<Imported, String> {
    let file = folder.join(case["file"].as_str().expect("file"));
    import_accounted(&file, &options(folder, case)).map_err(|error| error.to_string())
}

fn fraction(text: &str) -> f64 {
    match text.split_once('/') {
        Some((over, under)) => over.parse::<f64>().expect("number") / under.parse::<f64>().expect("number"),
        None => text.parse().expect("number"),
    }
}

/// The policy at one observation, in binary64.
fn evaluate(policy: &PolicyData, observation: &[f64]) -> Vec<f64> {
    let mut values = observation.to_vec();
    if let Some(normaliser) = &policy.normaliser {
        let Scaling::Std(std) = &normaliser.scaling else { panic!("factors") };
        let clip = normaliser.clip.as_deref().map_or(f64::INFINITY, fraction);
        for ((value, mean), std) in values.iter_mut().zip(normaliser.mean.floats()).zip(std.floats()) {
            *value = ((*value - mean) / std).clamp(-clip, clip);
        }
    }
    for layer in &policy.layers {
        let rows = layer.weight.floats();
        let sums = rows.chunks(values.len()).zip(layer.bias.floats()).map(|(row, bias)| {
            let pre = row.iter().zip(&values).map(|(w, x)| w * x).sum::<f64>() + bias;
            match &layer.activation {
                ActivationSpec::Identity => pre,
                ActivationSpec::Relu => pre.max(0.0),
                ActivationSpec::LeakyRelu(slope) => {
                    if pre > 0.0 {
                        pre
                    } else {
                        pre * fraction(slope)
                    }
                }
                ActivationSpec::Tanh => pre.tanh(),
                ActivationSpec::Sigmoid => 1.0 / (1.0 + (-pre).exp()),
                ActivationSpec::Elu(alpha) => {
                    if pre > 0.0 {
                        pre
                    } else {
                        fraction(alpha) * pre.exp_m1()
                    }
                }
                ActivationSpec::Silu => pre / (1.0 + (-pre).exp()),
                ActivationSpec::Clip(lower, upper) => pre.clamp(fraction(lower), fraction(upper)),
            }
        });
        values = sums.collect();
    }
    values
}

fn matrix(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).expect("a matrix")
}

/// Whether the policy gives the reference outputs, to the rounding of sums.
fn agrees(policy: &PolicyData, case: &Value) -> bool {
    matrix(&case["inputs"]).iter().zip(matrix(&case["outputs"])).all(|(input, wanted)| {
        let found = evaluate(policy, input);
        let close = |(f, w): (&f64, &f64)| (f - w).abs() <= 1e-6 * w.abs().max(1.0);
        found.len() == wanted.len() && found.iter().zip(&wanted).all(close)
    })
}

#[test]
fn every_kind_is_read_or_refused_by_name() {
    let Some((folder, cases)) = FILES.as_ref() else { return };
    let (mut read_count, mut refused_count) = (0, 0);
    for case in cases.iter().filter(|case| case["or_refused"].is_null()) {
        let name = &case["name"];
        match (read(folder.path(), case), case["refused"].as_str()) {
            (Ok(imported), None) => {
                assert!(agrees(&imported.policy, case), "{name}: other outputs");
                let note = case["note"].as_str().unwrap_or("");
                assert!(
                    note.is_empty() || imported.notes.iter().any(|n| n.contains(note)),
                    "{name}: no note"
                );
                read_count += 1;
            }
            (Err(error), Some(words)) => {
                assert!(error.contains(words), "{name}: {error}");
                refused_count += 1;
            }
            (Ok(_), Some(words)) => panic!("{name}: read, but should be refused ({words})"),
            (Err(error), None) => panic!("{name}: {error}"),
        }
    }
    assert!(read_count >= 60 && refused_count >= 60, "{read_count} read, {refused_count} refused");
}

#[test]
fn every_tensor_is_used_or_on_the_ignore_list() {
    let Some((folder, cases)) = FILES.as_ref() else { return };
    let names = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).expect("names") };
    let mut tested = 0;
    for case in cases.iter().filter(|case| !case["used"].is_null()) {
        let imported = read(folder.path(), case).unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        assert_eq!(imported.used, names(&case["used"]), "{}", case["name"]);
        let mut ignored: Vec<String> = imported.ignored.into_iter().map(|(name, _)| name).collect();
        ignored.sort();
        assert_eq!(ignored, names(&case["ignored"]), "{}", case["name"]);
        tested += 1;
    }
    assert!(tested >= 8, "{tested}");
}

/// A tensor dropped, renamed, added or moved: the same network or an error, never another network.
#[test]
fn a_changed_archive_gives_the_same_network_or_fails() {
    let Some((folder, cases)) = FILES.as_ref() else { return };
    let (mut same, mut failed) = (0, 0);
    for case in cases.iter().filter(|case| !case["or_refused"].is_null()) {
        match read(folder.path(), case) {
            Ok(imported) => {
                assert!(agrees(&imported.policy, case), "{}: another network", case["name"]);
                same += 1;
            }
            Err(_) => failed += 1,
        }
    }
    assert!(same >= 40 && failed >= 150, "{same} the same, {failed} failed");
}

fn file_of(name: &str) -> Option<PathBuf> {
    let (folder, cases) = FILES.as_ref()?;
    let case = cases.iter().find(|case| case["name"] == name).expect("the case");
    Some(folder.path().join(case["file"].as_str().expect("file")))
}

#[test]
fn a_gaussian_keeps_its_standard_deviations_and_scale_layers_are_fixed() {
    let (Some(ppo), Some(td3)) = (file_of("ppo-box"), file_of("td3")) else { return };
    let policy = import_accounted(&ppo, &ImportOptions::default()).expect("readable").policy;
    assert!(matches!(policy.head, HeadData::Gaussian { log_std } if log_std.shape == [2]));
    assert!(policy.layers.iter().all(|layer| !layer.fixed));
    let policy = import_accounted(&td3, &ImportOptions::default()).expect("readable").policy;
    assert!(matches!(policy.head, HeadData::Deterministic));
    let fixed: Vec<bool> = policy.layers.iter().map(|layer| layer.fixed).collect();
    assert_eq!(fixed, [false, false, true]);
}

/// The real program asks about a normaliser that lies beside the archive, in one line, unless one is given.
#[test]
fn a_normaliser_beside_the_archive_is_asked_about() {
    let (Some(archive), Some(normaliser)) = (file_of("ppo-box"), file_of("norm-protocol-4")) else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(archive, path("best_model.zip")).expect("copied");
    std::fs::copy(normaliser.with_file_name("norm-protocol-4.normaliser"), path("vecnormalize.pkl"))
        .expect("copied");
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        let output =
            command.current_dir(&folder).args(["import", "best_model.zip", "--out"]).args(more).output();
        let output = output.expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let asked = run(&["without"]);
    assert_eq!(
        asked.lines().filter(|line| line.contains("vecnormalize.pkl lies beside it")).count(),
        1,
        "{asked}"
    );
    assert_eq!(run(&["with", "--normaliser", "vecnormalize.pkl"]), "");
}
