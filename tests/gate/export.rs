//! What is written is what is certified, and what is shipped is bound to it.

use std::path::Path;
use std::process::Command;

use secateur::export::{ExportFormat, export};
use secateur::import::{HeadKind, ImportOptions, import};
use secateur::policy::emit::write_policy_dir;
use secateur::policy::{ActivationSpec, HeadData, LayerData, PolicyData, Scaling, TensorData};
use secateur_checker::load::{MaskDirectory, PolicyDirectory, load_policy};
use secateur_checker::reader::digest::weights_digest;
use secateur_testkit::problem::{Problem, Spec, random_policy};
use secateur_testkit::programs::{run, secateur};

use super::support::{Gated, TWO, codes, findings, gated, gated_by, python};

const PASS: &str = "[[rule]]\nid = \"r\"\nmax-sparsity = \"1\"\n";

fn exported(gated: &Gated, mask: &str, to: &str) {
    let line = ["export", "policy", "--masks", "masks", "--mask", mask, "--to", to];
    let ran = run(secateur(gated.root()).args(line));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// Each mask's file is bound to its mask, with its name and without, and to no other.
#[test]
fn a_file_is_bound_to_its_mask_alone() {
    let gated = gated_by(&Spec { normaliser: true, ..Spec::small(1) }, &TWO, false);
    gated.write(PASS);
    for end in ["onnx", "safetensors"] {
        for mask in ["0", "1", "2"] {
            let name = format!("m{mask}.{end}");
            exported(&gated, mask, &name);
            let (report, code) = gated.report(&["--bind", &name]);
            assert_eq!(
                (code, &report["policies"][0]["bound"][0]["mask"]),
                (0, &mask.parse::<u64>().expect("a number").into())
            );
            let absent = &report["policies"][0]["bound"][0]["absent"];
            let wanted = if end == "onnx" { serde_json::json!(["log_std"]) } else { serde_json::json!([]) };
            assert_eq!(*absent, wanted, "{name}");
            for other in ["0", "1", "2"] {
                let (report, code) = gated.report(&["--bind", &format!("{other}={name}")]);
                let wanted = if other == mask { (vec![], 0) } else { (vec!["bind-differs".to_owned()], 3) };
                assert_eq!((codes(&report), code), wanted, "{other}={name}");
            }
        }
    }
    assert_eq!(gated.report(&["--bind", "9=m0.onnx"]).1, 3, "there is no such mask");
    assert_eq!(gated.report(&["--bind", "m0.onnx", "--bind", "m2.safetensors"]).1, 0);
    let head = gated.head().replace("trust = ", "bind = [{ file = \"m1.onnx\", mask = 1 }]\ntrust = ");
    std::fs::write(gated.path("secateur.toml"), head + PASS).expect("written");
    let (report, code) = gated.report(&[]);
    assert_eq!((code, &report["policies"][0]["bound"][0]["path"]), (0, &"m1.onnx".into()));
}

/// Files of ELU and SiLU are bound to their mask alone, and another alpha, or another activation, is found.
#[test]
fn smooth_activations_are_bound() {
    let alpha = 0.375f32.to_le_bytes();
    for activation in [ActivationSpec::Elu("3/8".to_owned()), ActivationSpec::Silu] {
        let spec = Spec { normaliser: true, activation: activation.clone(), ..Spec::small(7) };
        let gated = gated_by(&spec, &TWO, false);
        gated.write(PASS);
        for end in ["onnx", "safetensors"] {
            let name = format!("m1.{end}");
            exported(&gated, "1", &name);
            assert_eq!(gated.report(&["--bind", &format!("1={name}")]).1, 0, "{activation:?} {end}");
            assert_eq!(gated.report(&["--bind", &format!("2={name}")]).1, 3, "{activation:?} {end}");
        }
        let mut bytes = std::fs::read(gated.path("m1.onnx")).expect("read");
        let (from, to) = match activation {
            ActivationSpec::Silu => (&b"Sigmoid"[..], &b"Softsig"[..]),
            _ => (&alpha[..], &0.5f32.to_le_bytes()[..]),
        };
        let at = bytes.windows(from.len()).position(|window| window == from).expect("as it is stored");
        bytes[at..at + to.len()].copy_from_slice(to);
        std::fs::write(gated.path("other.onnx"), &bytes).expect("written");
        let (report, code) = gated.report(&["--bind", "1=other.onnx"]);
        if activation == ActivationSpec::Silu {
            assert_eq!((codes(&report), code), (vec!["bind-unreadable".to_owned()], 2));
        } else {
            assert_eq!((codes(&report), code), (vec!["bind-differs".to_owned()], 3));
            let says = findings(&report)[0]["says"].as_str().expect("words").to_owned();
            assert!(says.contains("the activation of layer 0 is elu:1/2 in the file"), "{says}");
        }
    }
}

/// One bit of a deployed file, wherever it changes a number, and the file is not the policy.
#[test]
fn a_changed_weight_is_found() {
    let gated = gated(&TWO);
    gated.write(PASS);
    exported(&gated, "1", "m.onnx");
    let good = std::fs::read(gated.path("m.onnx")).expect("read");
    let dense = gated.problem.policy.layers[1].bias.bytes.clone();
    let at = good.windows(dense.len()).position(|window| window == dense).expect("the bias as it is stored");
    let mut bytes = good.clone();
    bytes[at] ^= 1;
    std::fs::write(gated.path("m.onnx"), &bytes).expect("written");
    let (report, code) = gated.report(&["--bind", "1=m.onnx"]);
    assert_eq!((codes(&report), code), (vec!["bind-differs".to_owned()], 3));
    assert!(
        findings(&report)[0]["says"].as_str().expect("words").contains("the bias of layer 1, row 0"),
        "{report}"
    );
}

/// The standard deviations of a file that has them are compared.
#[test]
fn standard_deviations_of_a_file_count() {
    let gated = gated(&TWO);
    gated.write(PASS);
    exported(&gated, "1", "m.safetensors");
    let mut bytes = std::fs::read(gated.path("m.safetensors")).expect("read");
    let stored = (-0.5f32).to_le_bytes().repeat(2);
    let at = bytes.windows(8).position(|window| window == stored).expect("log_std as it is stored");
    bytes[at..at + 4].copy_from_slice(&(-0.25f32).to_le_bytes());
    std::fs::write(gated.path("m.safetensors"), &bytes).expect("written");
    let (report, code) = gated.report(&["--bind", "1=m.safetensors"]);
    assert_eq!((codes(&report), code), (vec!["bind-differs".to_owned()], 3));
}

fn directory(folder: &Path, policy: &PolicyData) -> PolicyDirectory {
    write_policy_dir(folder, policy).expect("written");
    load_policy(folder).expect("a policy")
}

/// Policies with every activation, wide and narrow numbers, a fixed layer: each is written exactly or refused.
#[test]
fn every_part_is_exact_or_refused() {
    let clip = |l: &str, u: &str| ActivationSpec::Clip(l.to_owned(), u.to_owned());
    let leaky = |s: &str| ActivationSpec::LeakyRelu(s.to_owned());
    let elu = |a: &str| ActivationSpec::Elu(a.to_owned());
    // Activation, and whether ONNX and a state dictionary have a form for it.
    let rows = [
        (ActivationSpec::Relu, true, true),
        (ActivationSpec::Tanh, true, true),
        (ActivationSpec::Sigmoid, true, true),
        (ActivationSpec::Identity, true, true),
        (clip("-1", "1"), true, true),
        (clip("-1/2", "3/4"), true, false),
        (clip("-1/3", "1"), false, false),
        (leaky("1/8"), true, false),
        (leaky("1/100"), false, false),
        (leaky("0.1"), false, false),
        (ActivationSpec::Silu, true, true),
        (elu("1"), true, true),
        (elu("3/8"), true, true),
        (elu("1/10"), false, true),
        // The float64 next to 0.1, which is no float32.
        (leaky("3602879701896397/36028797018963968"), false, false),
    ];
    for (activation, onnx, tensors) in rows {
        for wide in [false, true] {
            let mut policy = random_policy(&Spec { activation: activation.clone(), ..Spec::small(3) });
            if wide {
                // No float32 is 1/10.
                policy.layers[1].bias = TensorData::from_f64(vec![8], &[0.1; 8]);
            }
            let folder = tempfile::tempdir().expect("temporary folder");
            let loaded = directory(folder.path(), &policy);
            let mask = MaskDirectory::dense(&loaded.files.policy.network).masks.remove(0);
            for (format, wanted) in [(ExportFormat::Onnx, onnx), (ExportFormat::Safetensors, tensors)] {
                let made = export(&loaded, &mask, format);
                assert_eq!(made.is_ok(), wanted, "{activation:?} {format:?} wide {wide}: {:?}", made.err());
            }
        }
    }
}

#[test]
fn fixed_layers_and_factors() {
    let mut policy = random_policy(&Spec { gaussian: false, ..Spec::small(4) });
    policy.head = HeadData::Deterministic;
    policy.layers[2].activation = ActivationSpec::Tanh;
    policy.layers.push(LayerData {
        weight: TensorData::from_f64(vec![2, 2], &[2.0, 0.0, 0.0, 0.1]),
        bias: TensorData::from_f64(vec![2], &[0.5, 0.0]),
        activation: ActivationSpec::Identity,
        fixed: true,
    });
    let folder = tempfile::tempdir().expect("temporary folder");
    let loaded = directory(folder.path(), &policy);
    let mask = MaskDirectory::dense(&loaded.files.policy.network).masks.remove(0);
    assert!(export(&loaded, &mask, ExportFormat::Onnx).is_ok());
    assert!(export(&loaded, &mask, ExportFormat::Safetensors).is_err());
    for (clip, factors, onnx) in
        [(None, [0.3; 3], true), (None, [0.5; 3], true), (Some("2"), [0.3; 3], false)]
    {
        let mut policy = random_policy(&Spec { normaliser: true, ..Spec::small(4) });
        if let Some(normaliser) = &mut policy.normaliser {
            normaliser.scaling = Scaling::Factor(TensorData::from_f64(vec![3], &factors));
            normaliser.clip = clip.map(str::to_owned);
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let loaded = directory(folder.path(), &policy);
        let mask = MaskDirectory::dense(&loaded.files.policy.network).masks.remove(0);
        let made = export(&loaded, &mask, ExportFormat::Onnx);
        assert_eq!(made.is_ok(), onnx, "{clip:?} {factors:?}: {:?}", made.err());
        assert!(export(&loaded, &mask, ExportFormat::Safetensors).is_err());
    }
}

/// What is written of ELU, SiLU and a normaliser of factors is imported again as the same policy, with the same digest.
#[test]
fn smooth_activations_come_back_with_their_digest() {
    let first = ActivationSpec::Elu("3/8".to_owned());
    for hidden in [first, ActivationSpec::Elu("1".to_owned()), ActivationSpec::Silu] {
        let spec = Spec { gaussian: false, normaliser: true, activation: hidden.clone(), ..Spec::small(6) };
        let mut policy = random_policy(&spec);
        policy.head = HeadData::Deterministic;
        policy.layers[2].activation = hidden.clone();
        if let Some(normaliser) = &mut policy.normaliser {
            normaliser.scaling = Scaling::Factor(TensorData::from_f64(vec![3], &[0.3, 1.7, 0.01]));
            normaliser.clip = None;
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let loaded = directory(folder.path(), &policy);
        let mask = MaskDirectory::dense(&loaded.files.policy.network).masks.remove(0);
        let bytes = export(&loaded, &mask, ExportFormat::Onnx).expect("exported");
        let file = folder.path().join("m.onnx");
        std::fs::write(&file, bytes).expect("written");
        let options = ImportOptions { head: Some(HeadKind::Deterministic), ..ImportOptions::default() };
        let again = directory(&folder.path().join("again"), &import(&file, &options).expect("readable"));
        let digest = |of: &PolicyDirectory| weights_digest(&of.files.policy.network);
        assert_eq!(digest(&again), digest(&loaded), "{hidden:?}");
        let (found, stored) = (&again.files.policy, &loaded.files.policy);
        assert_eq!((&found.network, &found.normaliser), (&stored.network, &stored.normaliser));
    }
}

#[test]
fn files_are_named_and_never_replaced() {
    let gated = gated(&TWO);
    let code = |line: &[&str]| run(secateur(gated.root()).arg("export").args(line)).code;
    assert_eq!(code(&["policy", "--to", "x.txt"]), 2);
    assert_eq!(code(&["policy", "--masks", "masks", "--mask", "3", "--to", "x.onnx"]), 2);
    assert_eq!(code(&["policy", "--masks", "masks", "--to", "x.onnx"]), 2);
    assert_eq!(code(&["policy", "--to", "policy/policy.safetensors", "--force"]), 2, "an input");
    assert_eq!(code(&["policy", "--to", "x.onnx"]), 0);
    assert_eq!(code(&["policy", "--to", "x.onnx"]), 2);
    assert_eq!(code(&["policy", "--to", "x.onnx", "--force"]), 0);
}

/// ONNX Runtime loads what is written, and it computes the same.
#[test]
fn onnx_runtime_agrees() {
    let Some(python) = python("numpy, onnx, onnxruntime") else { return };
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut list = String::new();
    let activations = [
        ActivationSpec::Relu,
        ActivationSpec::Tanh,
        ActivationSpec::Sigmoid,
        ActivationSpec::Silu,
        ActivationSpec::Elu("3/8".to_owned()),
        ActivationSpec::LeakyRelu("1/8".to_owned()),
        ActivationSpec::Clip("-1/2".to_owned(), "3/4".to_owned()),
    ];
    for (index, activation) in activations.into_iter().enumerate() {
        for wide in [false, true] {
            // ONNX Runtime has no float64 kernel of these.
            if wide && matches!(activation, ActivationSpec::LeakyRelu(_) | ActivationSpec::Elu(_)) {
                continue;
            }
            let spec = Spec { normaliser: true, activation: activation.clone(), ..Spec::small(5) };
            let root = folder.path().join(format!("{index}-{wide}"));
            std::fs::create_dir(&root).expect("made");
            let problem = Problem::write(&root, &spec);
            if wide {
                let mut policy = problem.policy.clone();
                policy.layers[1].bias = TensorData::from_f64(vec![8], &[0.1; 8]);
                write_policy_dir(&problem.policy_dir(), &policy).expect("written");
            }
            let loaded = load_policy(&problem.policy_dir()).expect("a policy");
            let mask = MaskDirectory::dense(&loaded.files.policy.network).masks.remove(0);
            let bytes = export(&loaded, &mask, ExportFormat::Onnx).expect("exported");
            let model = root.join("m.onnx");
            std::fs::write(&model, bytes).expect("written");
            list.push_str(&format!("{}\t{}\t\t\t\n", model.display(), problem.policy_dir().display()));
        }
    }
    let listed = folder.path().join("list");
    std::fs::write(&listed, list).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/onnxruntime_check.py");
    let ran = run(Command::new(python).arg(script).arg(listed));
    assert_eq!(ran.code, 0, "{ran:?}");
}
