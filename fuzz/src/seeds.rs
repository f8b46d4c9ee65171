//! Where changing begins: committed files, read where they lie.

use std::path::{Path, PathBuf};

use secateur_checker::reader::dsse::parse_envelope;
use secateur_testkit::foreign::{self, Value};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: &str) -> Vec<u8> {
    std::fs::read(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files of a folder whose names end so, in order; at least one.
pub fn ending(folder: &str, suffix: &str) -> Vec<Vec<u8>> {
    let found = files(&root().join(folder), suffix);
    assert!(!found.is_empty(), "{folder} holds no *{suffix}");
    found.into_iter().map(|(_, bytes)| bytes).collect()
}

/// As [`ending`], each with its name before the ending.
pub fn named(folder: &str, suffix: &str) -> Vec<(String, Vec<u8>)> {
    let found = files(&root().join(folder), suffix).into_iter();
    found.map(|(name, bytes)| (name.trim_end_matches(suffix).to_owned(), bytes)).collect()
}

/// The folder of a target's committed inputs.
pub fn corpus_folder(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// A target's committed inputs, each with its file's name: the outcome, with hyphens, and a word after a dot if there are several.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    files(&corpus_folder(target), "")
}

/// An outcome as the name of a file.
pub fn file_name(outcome: &str) -> String {
    outcome.replace(' ', "-")
}

/// The outcome that a committed input's name promises, as [`file_name`] writes it.
pub fn outcome_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn files(folder: &Path, suffix: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_name().expect("a file").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).expect("readable"))).collect()
}

/// What the accepted envelopes sign.
pub fn payloads(properties: bool) -> Vec<Vec<u8>> {
    let envelopes = ending("certificates/accepted", ".cert.dsse.json");
    let payloads = envelopes.iter().map(|bytes| parse_envelope(bytes).expect("an envelope").payload);
    let is_property = |payload: &[u8]| String::from_utf8_lossy(payload).contains("secateur.dev/property");
    payloads.filter(|payload| is_property(payload) == properties).collect()
}

/// Policies of other programs: one small file of every format.
pub fn foreign_files() -> Vec<Vec<u8>> {
    let tensor = |name: &str, shape: &[usize]| {
        let entries = shape.iter().product::<usize>();
        (name.to_owned(), shape.to_vec(), (0..entries).map(|i| i as f32 / 8.0 - 0.5).collect::<Vec<f32>>())
    };
    let tensors = [
        tensor("0.weight", &[3, 2]),
        tensor("0.bias", &[3]),
        tensor("2.weight", &[2, 3]),
        tensor("2.bias", &[2]),
    ];
    let state = foreign::dictionary(&tensors);
    let nested =
        Value::Dict(vec![("state_dict".to_owned(), state.clone()), ("epoch".to_owned(), Value::Count(3))]);
    let mut files = vec![
        foreign::torch_file(&state),
        foreign::torch_file(&nested),
        foreign::safetensors(&tensors, &[("activation", "tanh")]),
        foreign::npz(&tensors, &[("activation", &["tanh"])]),
        read("certificates/problems/gaussian/states.npy"),
    ];
    files.extend(ending("fixtures/properties", ".onnx").into_iter().filter(|file| file.len() < 1 << 14));
    files
}
