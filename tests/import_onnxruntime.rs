//! Imported ONNX models mean what ONNX Runtime says. Needs a Python with numpy, onnx and onnxruntime: the one named by
//! `SECATEUR_PYTHON`, else `python3`; prints that it skipped when there is none.

use secateur::import::{HeadKind, ImportOptions, import};
use secateur::policy::emit::write_policy_dir;
use std::ffi::OsStr;
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

fn run(python: &str, arguments: &[&OsStr]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/onnxruntime_check.py");
    let output = Command::new(python).arg(script).args(arguments).output().expect("Python runs");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn models_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension() == Some(OsStr::new("onnx"))).collect()
}

#[test]
fn imported_models_agree_with_onnx_runtime() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    run(&python, &[OsStr::new("make"), folder.path().as_os_str()]);
    let mut models = models_in(folder.path());
    assert_eq!(models.len(), 4);
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    for part in ["policies", "reference/networks", "reference/vnnlib"] {
        let found = models_in(&shared.join(part));
        if found.is_empty() {
            println!("skipped: no models in {}", shared.join(part).display());
        }
        models.extend(found);
    }
    let options = ImportOptions { head: Some(HeadKind::Deterministic), ..ImportOptions::default() };
    for (index, model) in models.iter().enumerate() {
        let policy = import(model, &options).unwrap_or_else(|error| panic!("{error}"));
        let written = folder.path().join(index.to_string());
        write_policy_dir(&written, &policy).expect("written");
        run(&python, &[OsStr::new("check"), model.as_os_str(), written.as_os_str()]);
    }
}
