//! Importing real published files: the tensors of every format are the same, byte for byte.
//! Needs `../shared/policies` and `../shared/reference`; prints what it skipped when they are absent.

use secateur::import::masks::import_mask;
use secateur::import::{HeadKind, ImportOptions, LogStd, Problem, import, import_accounted};
use secateur::policy::{ActivationSpec, HeadData, PolicyData};
use std::path::{Path, PathBuf};

fn shared(part: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(part);
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

fn options(head: Option<HeadKind>, activation: Option<ActivationSpec>) -> ImportOptions {
    ImportOptions { head, activation, ..ImportOptions::default() }
}

fn read(path: &Path, options: &ImportOptions) -> PolicyData {
    let mut policy = import(path, options).unwrap_or_else(|error| panic!("{error}"));
    policy.source = None;
    policy
}

const GAUSSIAN: [&str; 4] = ["wocar_hopper", "wocar_walker", "sb3_ppo_Hopper-v3", "sb3_trpo_Hopper-v3"];
const CATEGORICAL: [&str; 2] = ["sb3_ppo_CartPole-v1", "sb3_ppo_LunarLander-v2"];

#[test]
fn safetensors_npz_and_onnx_agree_byte_for_byte() {
    let Some(folder) = shared("policies") else { return };
    for name in GAUSSIAN.iter().chain(&CATEGORICAL) {
        let file = |end: &str| folder.join(format!("{name}.{end}"));
        let tensors = read(&file("safetensors"), &ImportOptions::default());
        let head = match tensors.head {
            HeadData::Gaussian { .. } => HeadKind::Gaussian,
            _ => HeadKind::Categorical,
        };
        let stated = options(Some(head), Some(tensors.layers[0].activation.clone()));
        let mut arrays = read(&file("npz"), &stated);
        // an NPZ has no place for the clip radius
        if let (Some(read), Some(known)) = (&mut arrays.normaliser, &tensors.normaliser) {
            read.clip.clone_from(&known.clip);
        }
        assert_eq!(arrays, tensors, "{name}: NPZ");
        let log_std = tensors.head.clone();
        let stated = match &log_std {
            HeadData::Gaussian { log_std } => {
                let texts = log_std.floats().iter().map(f64::to_string).collect();
                ImportOptions { log_std: Some(LogStd::Values(texts)), ..stated }
            }
            _ => stated,
        };
        let graph = read(&file("onnx"), &stated);
        assert_eq!(graph.layers, tensors.layers, "{name}: ONNX");
        let with = file("withnorm.onnx");
        let Some(known) = &tensors.normaliser else { continue };
        let graph = read(&with, &stated);
        let normaliser = graph.normaliser.expect("a normaliser");
        assert_eq!(graph.layers, tensors.layers, "{name}: ONNX with normaliser");
        assert_eq!(normaliser.clip, known.clip);
        for (narrow, wide) in
            [(&normaliser.mean, &known.mean), (normaliser.scaling.tensor(), known.scaling.tensor())]
        {
            // these files store the normaliser in binary32
            let rounded: Vec<f64> = wide.floats().iter().map(|v| f64::from(*v as f32)).collect();
            assert_eq!(narrow.floats(), rounded, "{name}");
        }
    }
}

#[test]
fn raw_files_give_the_converted_tensors() {
    let Some(folder) = shared("policies") else { return };
    let raw = |name: &str| folder.join("raw").join(name);
    let converted = |name: &str| read(&folder.join(format!("{name}.safetensors")), &ImportOptions::default());
    for (zip, name) in [("ppo-CartPole-v1.zip", CATEGORICAL[0]), ("ppo-LunarLander-v2.zip", CATEGORICAL[1])] {
        assert_eq!(read(&raw(zip), &ImportOptions::default()), converted(name), "{name}");
    }
    let with =
        ImportOptions { normaliser: Some(raw("trpo-Hopper-v3.vecnorm.pkl")), ..ImportOptions::default() };
    assert_eq!(read(&raw("trpo-Hopper-v3.zip"), &with), converted("sb3_trpo_Hopper-v3"));
    let tanh = ImportOptions {
        activation: Some(ActivationSpec::Tanh),
        prefix: Some("policy_model".into()),
        ..ImportOptions::default()
    };
    assert_eq!(read(&raw("wocar-hopper.model"), &tanh), converted("wocar_hopper"));
}

#[test]
fn state_dependent_noise_is_refused() {
    let Some(folder) = shared("policies") else { return };
    for file in ["raw/ppo-Pendulum-v1.zip", "sb3_ppo_Pendulum-v1.safetensors", "sb3_ppo_Pendulum-v1.npz"] {
        let error = import(&folder.join(file), &options(None, Some(ActivationSpec::Tanh))).expect_err(file);
        assert!(matches!(error.problem, Problem::StateDependentNoise(_)), "{error}");
    }
}

#[test]
fn reference_networks_agree_and_their_masks_are_read() {
    let Some(folder) = shared("reference/networks") else { return };
    let deterministic = options(Some(HeadKind::Deterministic), None);
    for name in
        ["a_tanh17x64x64x6", "b_tanh11x64x64x3", "c_relu4x64x64x2", "d_relu17x256x256x6", "f_mnist256x4"]
    {
        let arrays = read(&folder.join(format!("{name}.npz")), &deterministic);
        assert_eq!(read(&folder.join(format!("{name}.onnx")), &deterministic), arrays, "{name}");
        let mut looser = None;
        for percent in [25, 50, 75, 90] {
            let file = folder.join(format!("{name}_mask{percent}.npz"));
            if !file.exists() {
                continue;
            }
            let accounted = import_accounted(&folder.join(format!("{name}.npz")), &deterministic);
            let mask =
                import_mask(&file, &accounted.expect("readable")).unwrap_or_else(|error| panic!("{error}"));
            assert!(looser.as_ref().is_none_or(|outer| mask.is_nested_in(outer)));
            let total: usize = arrays.layers.iter().map(|l| l.weight.entries()).sum();
            assert!((mask.kept() as f64 / total as f64 - 1.0 + f64::from(percent) / 100.0).abs() < 0.01);
            looser = Some(mask);
        }
    }
}

#[test]
fn competition_networks_are_read() {
    let Some(folder) = shared("reference/vnnlib") else { return };
    let deterministic = options(Some(HeadKind::Deterministic), None);
    for (name, shape) in [("cartpole", [4, 2]), ("lunarlander", [8, 4]), ("dubinsrejoin", [8, 8])] {
        let policy = read(&folder.join(format!("{name}.onnx")), &deterministic);
        let (first, last) = (&policy.layers[0], &policy.layers[2]);
        assert_eq!([first.weight.shape[1], last.weight.shape[0]], shape);
        assert_eq!((&first.activation, &last.activation), (&ActivationSpec::Relu, &ActivationSpec::Identity));
        assert_eq!(policy.layers.len(), 3);
    }
}
