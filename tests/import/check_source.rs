//! `check --source`: a directory that was changed after the import, and certified again, is not what its source says. The
//! network is 3-2-2, tanh, Gaussian, with a diagonal last layer; its files are written here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secateur::certify::certify;
use secateur::import::compare::{Difference, Place};
use secateur::import::masks::{import_mask, import_pruned};
use secateur::import::reimport::{Origin, SourceError, SourceReport, compare_sources};
use secateur::import::{HeadKind, ImportOptions, LogStd, import, import_accounted};
use secateur::policy::emit::{
    ChainOrigin, emit_npy, emit_safetensors, write_mask_chain, write_npy, write_policy_dir,
};
use secateur::policy::mask::MaskData;
use secateur::policy::read::read_policy_dir;
use secateur::policy::{ActivationSpec, HeadData, PolicyData, Scaling, TensorData};
use secateur::progress::Silent;
use secateur_checker::family::Family;
use secateur_checker::load::{MaskDirectory, load_masks, load_policy, load_states};
use secateur_checker::model::Units;
use secateur_checker::reader::certificate::FileDigest;
use secateur_testkit::problem::{WITNESS, key, linf, request, write_trust};
use secateur_testkit::programs::{Ran, check_both, run, secateur};
use serde_json::{Value, json};
use tempfile::TempDir;

const FIRST: [f32; 6] = [0.5, -0.25, 1.0, 0.75, -1.0, 0.125];

/// A safetensors file of binary32 tensors.
fn tensors(list: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        list.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let entries = list.iter().zip(&bytes);
    let entries = entries.map(|((name, shape, _), bytes)| ((*name).to_owned(), ("F32", *shape, &bytes[..])));
    emit_safetensors(&entries.collect::<BTreeMap<_, _>>())
}

fn network(first: &[f32; 6]) -> Vec<u8> {
    tensors(&[
        ("0.weight", &[2, 3], first),
        ("0.bias", &[2], &[0.5, -0.5]),
        ("2.weight", &[2, 2], &[2.0, 0.0, 0.0, 3.0]),
        ("2.bias", &[2], &[0.0, 0.25]),
    ])
}

fn normaliser(mean: f32) -> Vec<u8> {
    tensors(&[("mean", &[3], &[mean, 0.0, 1.0]), ("std", &[3], &[1.0, 2.0, 0.5])])
}

/// A folder with the source files, and `policy/` imported from them.
struct Imported(TempDir);

const SOURCES: [&str; 3] = ["model.safetensors", "norm.safetensors", "s.npy"];

impl Imported {
    fn options(root: &Path) -> ImportOptions {
        ImportOptions {
            head: Some(HeadKind::Gaussian),
            log_std: Some(LogStd::File(root.join("s.npy"))),
            normaliser: Some(root.join("norm.safetensors")),
            clip: Some("5".into()),
            activation: Some(ActivationSpec::Tanh),
            ..ImportOptions::default()
        }
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(root.join(name), bytes).expect("written");
        write("model.safetensors", network(&FIRST));
        write("norm.safetensors", normaliser(0.25));
        write("s.npy", emit_npy(1, 2, &[-0.5, -1.0]));
        let policy = import(&root.join("model.safetensors"), &Self::options(root)).expect("imported");
        write_policy_dir(&root.join("policy"), &policy).expect("written");
        write_npy(&root.join("states.npy"), 2, 3, &[0.0, 0.5, 1.0, -1.0, 0.25, 2.0]).expect("written");
        write_trust(root, &key(1));
        let imported = Self(folder);
        imported.certify();
        imported
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn sources(&self, names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| self.root().join(name)).collect()
    }

    /// Certifies `policy/` as it lies there now.
    fn certify(&self) {
        let root = self.root();
        let policy = load_policy(&root.join("policy")).expect("a policy");
        let masks = match root.join("masks").is_dir() {
            true => load_masks(&root.join("masks"), &policy.files).expect("masks"),
            false => MaskDirectory::dense(&policy.files.policy.network),
        };
        let (states, bytes) = load_states(&root.join("states.npy"), Units::Normalised).expect("states");
        let ball = linf("1/20");
        let request = request(&policy, &masks, (&states, &bytes), &ball, &[Family::Sensitivity]);
        let certified = certify(&request, &key(1), &Silent).expect("certified");
        certified.write(&root.join("c.cert.dsse.json"), WITNESS).expect("written");
    }

    /// Changes the policy, writes and certifies it.
    fn change(&self, change: impl FnOnce(&mut PolicyData)) {
        let directory = self.root().join("policy");
        let mut policy = read_policy_dir(&directory).expect("a policy");
        change(&mut policy);
        write_policy_dir(&directory, &policy).expect("written");
        self.certify();
    }

    /// The same for the `source` of the manifest as JSON.
    fn change_source(&self, change: impl FnOnce(&mut Value)) {
        let path = self.root().join("policy/policy.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        change(&mut manifest["source"]);
        if manifest["source"].is_null() {
            manifest.as_object_mut().expect("an object").remove("source");
        }
        std::fs::write(&path, manifest.to_string()).expect("written");
        self.certify();
    }

    fn compare(&self, names: &[&str]) -> Result<SourceReport, SourceError> {
        let root = self.root();
        let policy = load_policy(&root.join("policy")).expect("a policy");
        let masks = root.join("masks");
        let masks = masks.is_dir().then(|| load_masks(&masks, &policy.files).expect("masks"));
        compare_sources(&self.sources(names), &policy, masks.as_ref())
    }

    fn check(&self, format: &str, names: &[&str]) -> Ran {
        let mut command = secateur(self.root());
        command.args([
            "--format",
            format,
            "check",
            "policy",
            "--states",
            "states.npy",
            "--trust",
            "trust.json",
        ]);
        if self.root().join("masks").is_dir() {
            command.args(["--masks", "masks"]);
        }
        for name in names {
            command.args(["--source", name]);
        }
        run(command.arg("c.cert.dsse.json"))
    }

    /// Without `--source` the certificate is fine, with it the difference is named.
    fn assert_refused(&self, place: &Place, found: &str, stored: &str) {
        let (place, found, stored) = (place.clone(), found.to_owned(), stored.to_owned());
        let expected = Difference { place, found, stored };
        match self.compare(&SOURCES) {
            Err(SourceError::Differs(difference)) => assert_eq!(difference, expected),
            other => panic!("{expected}: {other:?}"),
        }
        self.assert_rejected(&SOURCES, &[&expected.to_string()]);
    }

    fn assert_rejected(&self, names: &[&str], words: &[&str]) {
        let fine = self.check("text", &[]);
        assert_eq!(fine.code, 0, "{fine:?}");
        let ran = self.check("text", names);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
        for word in ["rejected: "].iter().chain(words) {
            assert!(ran.stderr.contains(word), "{word:?} is not in {ran:?}");
        }
    }
}

/// Name, origin's role and whether it was compared, of every part.
fn parts(report: &SourceReport) -> Vec<(&str, &str, bool)> {
    let role = |origin: &Origin| match origin {
        Origin::File(file) => file.role,
        Origin::Option(option) => option,
        Origin::Made(_) => "none",
    };
    report.parts.iter().map(|p| (p.name.as_str(), role(&p.origin), p.compared)).collect()
}

fn options(report: &SourceReport) -> Vec<(&str, &str, Option<bool>)> {
    report.options.iter().map(|o| (o.name.as_str(), o.value.as_str(), o.is_shown)).collect()
}

#[test]
fn everything_that_was_taken_is_compared_and_named() {
    let imported = Imported::new();
    let report = imported.compare(&SOURCES).expect("the same");
    let wanted = [
        ("layers", "model", true),
        ("head", "model", true),
        ("log_std", "log-std", true),
        ("normaliser", "normaliser", true),
    ];
    assert_eq!(parts(&report), wanted);
    // The files show neither the activation nor the clip; a log_std alone would not say that the head is Gaussian.
    let stated =
        [("activation", "tanh", Some(false)), ("clip", "5", Some(false)), ("head", "gaussian", Some(false))];
    assert_eq!(options(&report), stated);
    let ran = imported.check("text", &SOURCES);
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in [
        "source   layers, 2 (3-2-2): 10 weights, 4 biases, activations: the same by \"model.safetensors\" (model)",
        "source   log_std, 2 numbers: the same by \"s.npy\" (log-std)",
        "source   normaliser, 3 means and standard deviations, a clip: the same by \"norm.safetensors\" (normaliser)",
        "source   --head \"gaussian\": stated by the person who imported it; the files do not show it",
    ] {
        assert!(ran.stdout.contains(line), "{line:?} is not in {ran:?}");
    }
    let document: Value = serde_json::from_str(&imported.check("json", &SOURCES).stdout).expect("JSON");
    assert_eq!(document["source"]["parts"][3]["part"], "normaliser");
    assert_eq!(document["source"]["parts"][3]["compared"], true);
    assert_eq!(document["source"]["parts"][2]["from"]["role"], "log-std");
    assert_eq!(
        document["source"]["options"][2],
        json!({"name": "head", "value": "gaussian", "shownByFile": false})
    );
}

/// By the command line, from names that no plain name has, in a folder of its own.
#[test]
fn what_import_records_is_enough_to_import_again() {
    let imported = Imported::new();
    let root = imported.root();
    std::fs::rename(root.join("model.safetensors"), root.join("my model (1).safetensors")).expect("renamed");
    let given = ["import", "my model (1).safetensors", "--head", "gaussian", "--log-std=-0.5,-1"];
    let more = ["--normaliser", "norm.safetensors", "--activation", "leaky_relu:1/8", "--out", "policy"];
    let _ = std::fs::remove_dir_all(root.join("policy"));
    let made =
        run(secateur(root).arg("-q").args(given).args(more).args(["--output-activation", "clip:-2:3"]));
    assert_eq!(made.code, 0, "{made:?}");
    imported.certify();
    let ran = imported.check("text", &["my model (1).safetensors", "norm.safetensors"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("log_std, 2 numbers: the same by --log-std, as recorded"), "{ran:?}");
    assert!(ran.stdout.contains("--activation \"leaky_relu:1/8\": stated"), "{ran:?}");
    imported.change(|p| {
        let HeadData::Gaussian { log_std } = &mut p.head else { panic!("gaussian") };
        *log_std = TensorData::from_f64(vec![2], &[-0.5, -1.5]);
    });
    let named = ["my model (1).safetensors", "norm.safetensors"];
    imported
        .assert_rejected(&named, &["the log_std of output 1 is -1 by the source and -3/2 in the directory"]);
}

/// The change, where it is, and what the source and the directory say there.
type Case = (fn(&mut PolicyData), Place, &'static str, &'static str);

fn cases() -> Vec<Case> {
    fn normalised(policy: &mut PolicyData) -> &mut secateur::policy::NormaliserData {
        policy.normaliser.as_mut().expect("a normaliser")
    }
    vec![
        (
            |p| p.layers[0].weight = TensorData::from_f32(vec![2, 3], &[0.5, -0.25, 1.0, 0.75, -1.0, 0.25]),
            Place::Weight { layer: 0, row: 1, column: 2 },
            "1/8",
            "1/4",
        ),
        (
            |p| p.layers[1].bias = TensorData::from_f32(vec![2], &[0.0, 0.5]),
            Place::Bias { layer: 1, row: 1 },
            "1/4",
            "1/2",
        ),
        (|p| p.layers[0].activation = ActivationSpec::Relu, Place::Activation(0), "tanh", "relu"),
        (|p| p.layers[1].activation = ActivationSpec::Tanh, Place::Activation(1), "identity", "tanh"),
        (|p| p.layers[1].fixed = true, Place::Fixed(1), "no", "yes"),
        (|p| p.layers.push(p.layers[1].clone()), Place::Layers, "2", "3"),
        (|p| drop(p.layers.pop()), Place::Layers, "2", "1"),
        (
            |p| {
                p.layers[0].weight = TensorData::from_f32(vec![2, 4], &[0.5; 8]);
                let wide = |values: [f64; 4]| TensorData::from_f64(vec![4], &values);
                let normaliser = p.normaliser.as_mut().expect("a normaliser");
                normaliser.mean = wide([0.25, 0.0, 1.0, 0.0]);
                normaliser.scaling = Scaling::Std(wide([1.0, 2.0, 0.5, 1.0]));
            },
            Place::Shape(0),
            "2 x 3",
            "2 x 4",
        ),
        (|p| p.head = HeadData::Deterministic, Place::Head, "gaussian", "deterministic"),
        (|p| p.head = HeadData::Categorical, Place::Head, "gaussian", "categorical"),
        (
            |p| p.head = HeadData::Gaussian { log_std: TensorData::from_f64(vec![2], &[-0.5, 0.25]) },
            Place::LogStd(1),
            "-1",
            "1/4",
        ),
        (
            |p| normalised(p).mean = TensorData::from_f32(vec![3], &[0.5, 0.0, 1.0]),
            Place::Mean(0),
            "1/4",
            "1/2",
        ),
        (
            |p| normalised(p).scaling = Scaling::Std(TensorData::from_f32(vec![3], &[1.0, 2.0, 4.0])),
            Place::Std(2),
            "1/2",
            "4",
        ),
        (
            |p| normalised(p).scaling = Scaling::Factor(TensorData::from_f32(vec![3], &[1.0, 3.0, 2.0])),
            Place::Std(1),
            "2",
            "1/3",
        ),
        (|p| normalised(p).clip = Some("10".into()), Place::Clip, "5", "10"),
        (|p| normalised(p).clip = None, Place::Clip, "5", "none"),
        (|p| p.normaliser = None, Place::Normaliser, "there", "absent"),
    ]
}

#[test]
fn every_change_of_the_policy_is_refused() {
    for (change, place, found, stored) in cases() {
        let imported = Imported::new();
        if matches!(place, Place::Shape(_)) {
            // the states must fit what is certified
            write_npy(&imported.root().join("states.npy"), 1, 4, &[0.0; 4]).expect("written");
        }
        imported.change(change);
        imported.assert_refused(&place, found, stored);
    }
}

/// The same numbers in another format, or as exact inverses, are the same network.
#[test]
fn formats_are_no_difference() {
    let imported = Imported::new();
    imported.change(|p| {
        p.layers[0].weight = TensorData::from_f64(vec![2, 3], &FIRST.map(f64::from));
        let factors = TensorData::from_f64(vec![3], &[1.0, 0.5, 2.0]);
        p.normaliser.as_mut().expect("a normaliser").scaling = Scaling::Factor(factors);
    });
    imported.compare(&SOURCES).expect("the same");
}

#[test]
fn recorded_options_decide_what_is_compared() {
    let changed = |name: &str, value: Value| {
        let imported = Imported::new();
        imported.change_source(|source| source["options"][name] = value);
        imported
    };
    let activation = changed("activation", json!("relu"));
    activation.assert_refused(&Place::Activation(0), "relu", "tanh");
    changed("head", json!("deterministic")).assert_rejected(&SOURCES, &["--log-std has no effect"]);
    changed("clip", json!("6")).assert_refused(&Place::Clip, "6", "5");
    changed("output-activation", json!("tanh")).assert_refused(&Place::Activation(1), "tanh", "identity");
    changed("dtype", json!("f16"))
        .assert_rejected(&SOURCES, &["given --dtype, which this version does not know"]);
    changed("activation", json!("gelu"))
        .assert_rejected(&SOURCES, &["--activation \"gelu\", which is no value of it"]);
    changed("prefix", json!("actor.")).assert_rejected(&SOURCES, &["importing again as recorded fails"]);
    changed("log-std", json!("-0.5,-1")).assert_rejected(&SOURCES, &["a file and from --log-std"]);
    let imported = Imported::new();
    imported.change_source(|source| drop(source["options"].as_object_mut().expect("options").remove("clip")));
    imported.assert_refused(&Place::Clip, "none", "5");
}

/// A file that was left out of the record does not help: what it gave differs from what the rest gives.
#[test]
fn recorded_files_decide_what_is_compared() {
    let imported = Imported::new();
    imported
        .change_source(|source| drop(source["files"].as_object_mut().expect("files").remove("normaliser")));
    imported.assert_rejected(&["model.safetensors", "s.npy"], &["normaliser"]);
    let imported = Imported::new();
    imported.change_source(|source| drop(source["files"].as_object_mut().expect("files").remove("log-std")));
    imported.assert_rejected(&["model.safetensors", "norm.safetensors"], &["log standard deviations"]);
    let imported = Imported::new();
    imported.change_source(|source| *source = Value::Null);
    imported.assert_rejected(&SOURCES, &["names no source file"]);
}

#[test]
fn another_file_is_refused_by_its_digest() {
    let imported = Imported::new();
    let write =
        |name: &str, bytes: Vec<u8>| std::fs::write(imported.root().join(name), bytes).expect("written");
    write("other.safetensors", network(&[0.5; 6]));
    write("norm2.safetensors", normaliser(0.5));
    for file in ["other.safetensors", "norm2.safetensors"] {
        let words = [
            file,
            "has SHA-256",
            "model model.safetensors",
            "normaliser norm.safetensors",
            "another policy's",
        ];
        imported.assert_rejected(&["model.safetensors", file], &words);
    }
    let trained = imported.root().join("model.safetensors");
    let kept = std::fs::read(&trained).expect("read");
    write("model.safetensors", network(&[0.25; 6]));
    imported
        .assert_rejected(&["model.safetensors"], &["model.safetensors has SHA-256", "trained again since"]);
    std::fs::write(&trained, kept).expect("written");
    // Named as the source by the directory itself, they are still other networks.
    let digest = |name: &str| {
        let bytes = std::fs::read(imported.root().join(name)).expect("read");
        secateur_checker::reader::digest::sha256_hex(&bytes)
    };
    imported.change_source(|source| source["files"]["model"]["sha256"] = json!(digest("other.safetensors")));
    let named = ["other.safetensors", "norm.safetensors", "s.npy"];
    imported
        .assert_rejected(&named, &["the weight of layer 0, row 0, column 1, is 1/2 by the source and -1/4"]);
    let swapped = Imported::new();
    std::fs::write(swapped.root().join("norm2.safetensors"), normaliser(0.5)).expect("written");
    swapped
        .change_source(|source| source["files"]["normaliser"]["sha256"] = json!(digest("norm2.safetensors")));
    let named = ["model.safetensors", "norm2.safetensors", "s.npy"];
    swapped.assert_rejected(&named, &["the normaliser's mean of coordinate 0 is 1/2 by the source and 1/4"]);
}

#[test]
fn what_was_not_given_is_not_compared_and_says_so() {
    let imported = Imported::new();
    let report = imported.compare(&["model.safetensors", "s.npy"]).expect("the same");
    assert_eq!(parts(&report)[2..], [("log_std", "log-std", true), ("normaliser", "normaliser", false)]);
    assert_eq!(options(&report)[1], ("clip", "5", None));
    let report = imported.compare(&["model.safetensors", "norm.safetensors"]).expect("the same");
    assert_eq!(parts(&report)[2..], [("log_std", "log-std", false), ("normaliser", "normaliser", true)]);
    // What was left out may have been changed; what was given is compared all the same.
    imported.change(|p| p.normaliser.as_mut().expect("a normaliser").clip = None);
    let ran = imported.check("text", &["model.safetensors", "s.npy"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let line =
        "from \"norm.safetensors\" (normaliser), not given: not compared; give --source norm.safetensors";
    assert!(ran.stdout.contains(line), "{ran:?}");
    assert!(ran.stdout.contains("--clip \"5\": what it is about was not compared"), "{ran:?}");
    imported.change(|p| p.normaliser = None);
    imported.assert_rejected(&["model.safetensors"], &["the normaliser is there by the source and absent"]);
    imported.change(|p| p.layers[0].activation = ActivationSpec::Relu);
    imported.assert_rejected(&["model.safetensors"], &["normaliser"]);
    let none = imported.check("text", &["norm.safetensors"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.stderr.contains("give --source model.safetensors too"), "{none:?}");
    let absent = imported.check("text", &["absent.onnx"]);
    assert_eq!(absent.code, 2, "{absent:?}");
    assert!(absent.stderr.contains("absent.onnx: cannot be read"), "{absent:?}");
}

/// An option that only says what the file says too decides nothing.
#[test]
fn options_that_the_files_confirm_are_told_apart() {
    let imported = Imported::new();
    let root = imported.root();
    let metadata = json!({
        "__metadata__": {"activation": "tanh", "distribution": "categorical"},
        "0.weight": {"dtype": "F32", "shape": [1, 3], "data_offsets": [0, 12]},
        "0.bias": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
        "2.weight": {"dtype": "F32", "shape": [2, 1], "data_offsets": [16, 24]},
        "2.bias": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
    });
    let header = metadata.to_string();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 32]].concat();
    std::fs::write(root.join("labelled.safetensors"), file).expect("written");
    let options_given = ImportOptions {
        head: Some(HeadKind::Categorical),
        activation: Some(ActivationSpec::Tanh),
        output_activation: Some(ActivationSpec::Relu),
        ..ImportOptions::default()
    };
    let policy = import(&root.join("labelled.safetensors"), &options_given).expect("imported");
    write_policy_dir(&root.join("policy"), &policy).expect("written");
    let report = imported.compare(&["labelled.safetensors"]).expect("the same");
    let wanted = [
        ("activation", "tanh", Some(true)),
        ("head", "categorical", Some(true)),
        ("output-activation", "relu", Some(false)),
    ];
    assert_eq!(options(&report), wanted);
    assert_eq!(parts(&report)[2], ("normaliser", "model", true));
}

fn chain(imported: &Imported, masks: &[MaskData], method: &str) {
    let origin = ChainOrigin { method: method.into(), scope: "file".into(), seed: "0".into() };
    write_mask_chain(&imported.root().join("masks"), masks, &origin).expect("written");
    imported.certify();
}

/// Masks as imported, of either kind; then one entry is changed, and the directory certified again.
#[test]
fn masks_are_compared_with_the_files_they_came_from() {
    let imported = Imported::new();
    let root = imported.root();
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(root.join(name), bytes).expect("written");
    let pruned = [0.5, 0.0, 1.0, 0.0, -1.0, 0.125];
    write("pruned.safetensors", network(&pruned));
    let kept = |first: [f32; 6]| tensors(&[("M0", &[2, 3], &first), ("M1", &[2, 2], &[1.0; 4])]);
    write("mask.safetensors", kept([1.0, 0.0, 1.0, 0.0, 1.0, 1.0]));
    let options = Imported::options(root);
    let dense = import_accounted(&root.join("model.safetensors"), &options).expect("imported");
    let derived = import_pruned(&root.join("pruned.safetensors"), &options, &dense.policy).expect("pruned");
    let read = import_mask(&root.join("mask.safetensors"), &dense).expect("a mask");
    assert_eq!(derived.layers, read.layers);
    for (file, mask, method) in
        [("pruned.safetensors", derived, "derived"), ("mask.safetensors", read, "imported")]
    {
        chain(&imported, std::slice::from_ref(&mask), method);
        let given = ["model.safetensors", "norm.safetensors", "s.npy", file];
        let report = imported.compare(&given).expect("the same");
        assert_eq!(parts(&report)[4..], [("mask 0", "mask", true)]);
        let report = imported.compare(&SOURCES).expect("the same");
        assert_eq!(parts(&report)[4..], [("mask 0", "mask", false)]);
        let mut changed = mask.clone();
        changed.layers[0].kept[1] = true;
        chain(&imported, &[changed.clone()], method);
        let words = "mask 0, layer 0, row 0, column 1, is pruned by the source and kept in the directory";
        imported.assert_rejected(&given, &[words]);
        assert_eq!(imported.check("text", &SOURCES).code, 0);
        changed.source = None;
        chain(&imported, &[changed], method);
        let report = imported.compare(&SOURCES).expect("the same");
        assert_eq!(parts(&report)[4..], [("masks", "none", false)]);
        imported.assert_rejected(&given, &["has SHA-256"]);
    }
}

/// Older manifests keep one file and no options: their certificates hold, their import cannot be made again.
#[test]
fn a_source_without_options_is_read_and_not_compared() {
    let imported = Imported::new();
    imported.change_source(|source| *source = source["files"]["model"].clone());
    let roles: Vec<String> = stated_sources(&imported).into_iter().map(|f| f.role).collect();
    assert_eq!(roles, ["source"]);
    imported
        .assert_rejected(&["model.safetensors"], &["without the options of the import", "import it again"]);
}

fn certificate(imported: &Imported) -> secateur_checker::reader::certificate::Certificate {
    let bytes = std::fs::read(imported.root().join("c.cert.dsse.json")).expect("read");
    let envelope = secateur_checker::reader::dsse::parse_envelope(&bytes).expect("an envelope");
    secateur_checker::reader::certificate::parse_certificate(&envelope.payload).expect("a certificate")
}

fn stated_sources(imported: &Imported) -> Vec<FileDigest> {
    certificate(imported).inputs.into_iter().filter(|f| f.role != "states").collect()
}

/// The certificate lists each source file with its role, and nothing else than `policy.json` does.
#[test]
fn the_certificate_lists_the_source_files_by_role() {
    let imported = Imported::new();
    let listed = stated_sources(&imported);
    let names: Vec<(&str, &str)> = listed.iter().map(|f| (f.role.as_str(), f.name.as_str())).collect();
    let wanted = [("model", "model.safetensors"), ("normaliser", "norm.safetensors"), ("log-std", "s.npy")];
    assert_eq!(names, wanted);
    let check = ["policy", "--states", "states.npy", "--trust", "trust.json", "c.cert.dsse.json"];
    assert_eq!(check_both(imported.root(), &check).code, 0);
    let whole = certificate(&imported);
    let resign = |inputs: Vec<FileDigest>| {
        let changed = secateur_checker::reader::certificate::Certificate { inputs, ..whole.clone() };
        let payload = secateur::certify::emit::emit_certificate(&changed).into_bytes();
        let envelope = key(1).sign(secateur_checker::reader::dsse::PAYLOAD_TYPE, payload);
        let text = secateur::certify::emit::emit_envelope(&envelope);
        std::fs::write(imported.root().join("c.cert.dsse.json"), text).expect("written");
        check_both(imported.root(), &check)
    };
    let (states, list) = whole.inputs.split_at(1);
    let with = |list: &[FileDigest]| [states, list].concat();
    assert_eq!(resign(with(list)).code, 0);
    assert_eq!(resign([list, states].concat()).code, 0, "the source files may stand anywhere");
    let renamed = |change: fn(&mut FileDigest)| {
        let mut list = list.to_vec();
        change(&mut list[1]);
        with(&list)
    };
    for (inputs, word) in [
        (with(&list[..2]), "log-std file"),
        (with(&[list[0].clone(), list[2].clone()]), "normaliser file"),
        (with(&[list[1].clone(), list[0].clone(), list[2].clone()]), "model file"),
        (renamed(|f| f.role = "source".into()), "normaliser file"),
        (renamed(|f| f.name = "other.npz".into()), "normaliser file"),
        (renamed(|f| f.sha256 = "ab".repeat(32)), "normaliser file"),
        (with(&[list, &list[..1]].concat()), "unexpected \"model\" file \"model.safetensors\""),
    ] {
        let ran = resign(inputs);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains(word), "{word}: {ran:?}");
    }
}

/// Nothing of the certificate is looked at before the source is known to be the right one.
#[test]
fn the_source_is_compared_before_the_check() {
    let imported = Imported::new();
    imported.change(|p| p.layers[0].activation = ActivationSpec::Relu);
    std::fs::write(imported.root().join("c.cert.dsse.json"), "no certificate").expect("written");
    let ran = imported.check("text", &SOURCES);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("the activation of layer 0"), "{ran:?}");
    assert_eq!(imported.check("text", &[]).code, 2);
    let property = ["check", "net.onnx", "p.vnnlib", "c.cert.dsse.json", "--unsigned", "--source", "s.npy"];
    let ran = run(secateur(imported.root()).args(property));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--source has no effect"), "{ran:?}");
}
