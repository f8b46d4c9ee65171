//! Imported ONNX models mean what ONNX Runtime says: one model for each operator, order and form, made by
//! `tests/foreign/onnx_forms.py`. Needs a Python with numpy, onnx and onnxruntime: the one named by `SECATEUR_PYTHON`,
//! else `python3`; prints that it skipped when there is none.

use secateur::import::{HeadKind, ImportOptions, import};
use secateur::policy::emit::{emit_manifest, emit_tensors, write_policy_dir};
use secateur::policy::{ActivationSpec, PolicyData};
use secateur_checker::reader::policy::parse_policy;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn python() -> Option<String> {
    let name = std::env::var("SECATEUR_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&name).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(name);
    }
    println!("skipped: {name} has no numpy, onnx and onnxruntime");
    None
}

fn run(python: &str, script: &str, argument: &Path, rest: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(script);
    let output = Command::new(python).arg(script).arg(argument).args(rest).output().expect("Python runs");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn models_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut models: Vec<_> = entries.filter(|path| path.extension() == Some(OsStr::new("onnx"))).collect();
    models.sort();
    models
}

fn deterministic() -> ImportOptions {
    ImportOptions { head: Some(HeadKind::Deterministic), ..ImportOptions::default() }
}

/// Policies to compare with their models, in one run of Python.
struct Comparison {
    folder: tempfile::TempDir,
    list: String,
}

impl Comparison {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("temporary folder"), list: String::new() }
    }

    fn add(&mut self, model: &Path, policy: &PolicyData, rest: [&str; 3]) {
        let read = parse_policy(&emit_manifest(policy), &emit_tensors(policy));
        assert!(read.is_ok(), "{}: the checker's reader refuses it: {:?}", model.display(), read.err());
        let written = self.folder.path().join(self.list.lines().count().to_string());
        write_policy_dir(&written, policy).expect("written");
        let [output, after, tolerance] = rest;
        writeln!(self.list, "{}\t{}\t{output}\t{after}\t{tolerance}", model.display(), written.display())
            .expect("text");
    }

    fn run(&self, python: &str, rest: &[&str]) {
        let list = self.folder.path().join("list");
        std::fs::write(&list, &self.list).expect("written");
        run(python, "onnxruntime_check.py", &list, rest);
    }
}

struct Form {
    name: String,
    options: ImportOptions,
    /// What a refusal says; empty for a model that is read.
    words: String,
    after: String,
    tolerance: String,
    unchecked: bool,
}

fn forms(folder: &Path) -> Vec<Form> {
    let text = std::fs::read_to_string(folder.join("forms.json")).expect("forms");
    let entries: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let form = |entry: serde_json::Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let head = match text("head").as_str() {
            "unstated" => None,
            "categorical" => Some(HeadKind::Categorical),
            _ => Some(HeadKind::Deterministic),
        };
        let output = Some(text("output")).filter(|o| !o.is_empty());
        assert_eq!(entry["read"] == true, text("words").is_empty());
        Form {
            name: text("name"),
            options: ImportOptions { head, output, ..ImportOptions::default() },
            words: text("words"),
            after: text("after"),
            tolerance: entry["tolerance"].as_f64().map(|t| t.to_string()).unwrap_or_default(),
            unchecked: entry["unchecked"] == true,
        }
    };
    entries.into_iter().map(form).collect()
}

/// Every form is read and agrees with ONNX Runtime, or is refused in the words that name what it is.
#[test]
fn every_form_is_read_or_refused_by_name() {
    let Some(python) = python() else { return };
    let made = tempfile::tempdir().expect("temporary folder");
    run(&python, "onnx_forms.py", made.path(), &[]);
    let forms = forms(made.path());
    assert!(forms.len() > 200, "{} forms", forms.len());
    let (mut comparison, mut wrong) = (Comparison::new(), String::new());
    for form in &forms {
        let model = made.path().join(format!("{}.onnx", form.name));
        match (import(&model, &form.options), form.words.is_empty()) {
            (Ok(policy), true) if form.unchecked => drop(policy),
            (Ok(policy), true) => {
                let output = form.options.output.as_deref().unwrap_or_default();
                comparison.add(&model, &policy, [output, &form.after, &form.tolerance]);
            }
            (Err(error), false) if error.to_string().contains(&form.words) => {}
            (Ok(_), false) => writeln!(wrong, "{}: read, not refused", form.name).expect("text"),
            (Err(error), _) => {
                writeln!(wrong, "{}: {}, not {:?}", form.name, error.problem, form.words).expect("text");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    comparison.run(&python, &[]);
}

#[test]
fn published_models_agree_with_onnx_runtime() {
    let Some(python) = python() else { return };
    let mut comparison = Comparison::new();
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let parts = [
        ("policies", 1),
        ("reference/networks", 1),
        ("reference/vnnlib", 1),
        ("vnncomp/pairs/onnx", 144),
        ("vnncomp/acasxu/onnx", 1),
        ("vnncomp/mnist_fc/onnx", 1),
    ];
    for (part, least) in parts {
        let found = models_in(&shared.join(part));
        if found.is_empty() {
            println!("skipped: no models in {}", shared.join(part).display());
            continue;
        }
        assert!(found.len() >= least, "{part}: {} models", found.len());
        for model in found {
            let policy = import(&model, &deterministic()).unwrap_or_else(|error| panic!("{error}"));
            comparison.add(&model, &policy, ["", "", ""]);
        }
    }
    comparison.run(&python, &[]);
}

/// Published policies of robots, in the folder that `SECATEUR_ROBOTS` names, else in `../shared/robots`: each is read,
/// and agrees with ONNX Runtime at a thousand observations.
#[test]
fn policies_of_robots_agree_with_onnx_runtime() {
    let stated = std::env::var_os("SECATEUR_ROBOTS").map(PathBuf::from);
    let folder = stated.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/robots"));
    let models = models_in(&folder);
    if models.is_empty() {
        println!("skipped: no models in {}", folder.display());
        return;
    }
    let mut comparison = Comparison::new();
    for model in &models {
        let policy = import(model, &deterministic()).unwrap_or_else(|error| panic!("{error}"));
        let trained = policy.layers.iter().filter(|layer| !layer.fixed);
        let activations: Vec<_> = trained.map(|layer| layer.activation.clone()).collect();
        println!("{}: {activations:?}", model.display());
        assert!(
            matches!(activations.first(), Some(ActivationSpec::Elu(_) | ActivationSpec::Silu)),
            "{}: {activations:?}",
            model.display()
        );
        comparison.add(model, &policy, ["", "", ""]);
    }
    let Some(python) = python() else { return };
    comparison.run(&python, &["1000"]);
}

/// Another order of nodes, other names and dead parts change nothing; without one of its parts a graph gives the same
/// network (the part was dead) or an error, never another.
#[test]
fn other_files_of_a_network_give_it_and_parts_of_it_give_none() {
    let Some(python) = python() else { return };
    let made = tempfile::tempdir().expect("temporary folder");
    run(&python, "onnx_forms.py", made.path(), &[]);
    let less = models_in(&made.path().join("less"));
    let (mut tried, mut wrong) = (0, String::new());
    for form in forms(made.path()).iter().filter(|form| form.words.is_empty()) {
        let read = |path: &Path| import(path, &form.options).map(|p| PolicyData { source: None, ..p });
        let policy = read(&made.path().join(format!("{}.onnx", form.name))).expect(&form.name);
        match read(&made.path().join("same").join(format!("{}.onnx", form.name))) {
            Ok(same) if same == policy => {}
            other => writeln!(wrong, "{}: {:?}", form.name, other.map(|_| "another network")).expect("text"),
        }
        let parts = |path: &&PathBuf| {
            path.file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|n| n.strip_prefix(form.name.as_str()).is_some_and(|rest| rest.starts_with('.')))
        };
        for part in less.iter().filter(parts) {
            tried += 1;
            if let Ok(other) = read(part)
                && other != policy
            {
                writeln!(wrong, "{}: another network", part.display()).expect("text");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(tried > 1000, "{tried} parts");
}
