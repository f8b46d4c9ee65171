//! The minimal rational counterexamples to "pruning cannot hurt", committed under `fixtures/counterexamples/`, and the
//! tool's own verdicts on them with exact values.

use secateur_testkit::programs;
use std::path::{Path, PathBuf};

use secateur::certify::radius::RadiusRequest;
use secateur::certify::regret::RegretRequest;
use secateur::certify::{Request, certify};
use secateur::import::{ImportOptions, import};
use secateur::policy::emit::{write_mask_chain, write_npy, write_policy_dir};
use secateur::policy::mask::{MaskData, MaskTable};
use secateur::policy::{ActivationSpec, HeadData, LayerData, PolicyData, TensorData};
use secateur::progress::Silent;
use secateur_checker::check::NamedFile;
use secateur_checker::family::Family;
use secateur_checker::load::{load_masks, load_policy, load_states};
use secateur_checker::model::Units;
use secateur_checker::number::Rational;
use secateur_checker::reader::certificate::{Certificate, StepVerdict};
use secateur_testkit::problem::{certify_directory, certify_with, key, linf, origin, rational};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/counterexamples")
}

/// A layer as rows of (weight, kept in the second mask).
type Rows = &'static [&'static [(f32, bool)]];

struct Example {
    name: &'static str,
    layers: &'static [(Rows, ActivationSpec)],
    state: &'static [f64],
}

const KEPT: bool = true;
const PRUNED: bool = false;

/// The spectral norm: `[[1,1],[1,-1]]` to `[[1,1],[1,0]]`.
const SPECTRAL: Example = Example {
    name: "spectral",
    layers: &[(&[&[(1.0, KEPT), (1.0, KEPT)], &[(1.0, KEPT), (-1.0, PRUNED)]], ActivationSpec::Identity)],
    state: &[2.0, 1.0],
};

/// A local bound: `relu(s1 - s2)` at (0, 1) to `relu(s1)`.
const LOCAL: Example = Example {
    name: "local-ibp",
    layers: &[(&[&[(1.0, KEPT), (-1.0, PRUNED)]], ActivationSpec::Relu)],
    state: &[0.0, 1.0],
};

/// True robustness: `relu(s) - relu(s) = 0` to `relu(s)`.
const ROBUSTNESS: Example = Example {
    name: "robustness",
    layers: &[
        (&[&[(1.0, KEPT)], &[(1.0, KEPT)]], ActivationSpec::Relu),
        (&[&[(1.0, KEPT), (-1.0, PRUNED)]], ActivationSpec::Identity),
    ],
    state: &[1.0],
};

fn write_example(root: &Path, example: &Example) {
    let (mut layers, mut all, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (table, activation) in example.layers {
        let (rows, columns) = (table.len(), table[0].len());
        let entries: Vec<(f32, bool)> = table.iter().flat_map(|row| row.iter().copied()).collect();
        let values: Vec<f32> = entries.iter().map(|e| e.0).collect();
        layers.push(LayerData {
            fixed: false,
            weight: TensorData::from_f32(vec![rows, columns], &values),
            bias: TensorData::from_f32(vec![rows], &vec![0.0; rows]),
            activation: activation.clone(),
        });
        all.push(MaskTable { fixed: false, rows, columns, kept: vec![true; entries.len()] });
        kept.push(MaskTable { fixed: false, rows, columns, kept: entries.iter().map(|e| e.1).collect() });
    }
    let policy = PolicyData { layers, head: HeadData::Deterministic, normaliser: None, source: None };
    let folder = root.join(example.name);
    write_policy_dir(&folder.join("policy"), &policy).expect("policy written");
    let masks = [MaskData::with_own_sparsity(all), MaskData::with_own_sparsity(kept)];
    write_mask_chain(&folder.join("masks"), &masks, &origin()).expect("masks written");
    write_npy(&folder.join("states.npy"), 1, example.state.len(), example.state).expect("states written");
}

/// Writes the fixtures anew: `cargo test --test certify -- --ignored regenerate`.
#[test]
#[ignore = "writes fixtures/counterexamples/"]
fn regenerate() {
    for example in [SPECTRAL, LOCAL, ROBUSTNESS] {
        write_example(&fixtures(), &example);
    }
}

#[test]
fn the_committed_fixtures_are_what_the_generator_makes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for example in [SPECTRAL, LOCAL, ROBUSTNESS] {
        write_example(folder.path(), &example);
        for file in [
            "policy/policy.json",
            "policy/policy.safetensors",
            "masks/chain.json",
            "masks/mask-00.safetensors",
            "masks/mask-01.safetensors",
            "states.npy",
        ] {
            let read = |root: &Path| std::fs::read(root.join(example.name).join(file)).expect("read");
            assert!(read(folder.path()) == read(&fixtures()), "{}/{file}", example.name);
        }
    }
}

fn certificate(name: &str, families: &[Family]) -> Certificate {
    let certified = certify_directory(&fixtures().join(name), families, &linf("1/4"), &key(1));
    certified.expect("certified").verified.certificate().clone()
}

fn verdict<'a>(certificate: &'a Certificate, family: &str, of: &str) -> &'a StepVerdict {
    let found = certificate.verdicts.iter().find(|v| v.family == family && v.of == of);
    found.expect("a verdict")
}

fn before_and_after(verdict: &StepVerdict) -> (Rational, Rational) {
    (verdict.before.clone().expect("a value"), verdict.after.clone().expect("a value"))
}

/// `|W|^2 = 2` for `W = [[1,1],[1,-1]]`, since `W^T W = 2 I`; with z = (2, 1), `|Vz|^2 = 9 + 4 = 13 > 10 = 2 |z|^2`.
#[test]
fn the_spectral_norm_rises() {
    let certificate = certificate("spectral", &[Family::NormFrobenius, Family::Spectral]);
    for of in ["layer-norm", "product", "action-deviation"] {
        assert_eq!(verdict(&certificate, "spectral", of).verdict, "loosened", "{of}");
    }
    let (before, after) = before_and_after(verdict(&certificate, "spectral", "layer-norm"));
    let (two, ratio) = (rational("2"), rational("13/10"));
    let slack = rational("1000000001/1000000000");
    assert!(before.mul(&before) >= two && before.mul(&before) <= two.mul(&slack), "{before}");
    assert!(after.mul(&after) >= two.mul(&ratio), "{after} is no bound at z = (2, 1)");
    assert_eq!(verdict(&certificate, "norm-product/frobenius", "layer-norm").verdict, "tightens-by-theorem");
}

/// Over [-1/4, 1/4] x [3/4, 5/4], `s1 - s2 <= -1/2`, so the output is 0; without s2 it reaches 1/4.
#[test]
fn a_local_bound_rises() {
    let certificate =
        certificate("local-ibp", &[Family::Sensitivity, Family::Ibp, Family::Crown, Family::ChainHull]);
    for family in ["ibp", "crown"] {
        let found = verdict(&certificate, family, "action-deviation");
        assert_eq!((found.verdict.as_str(), found.counts), ("loosened", (0, 0, 1)), "{family}");
        assert_eq!(before_and_after(found), (rational("0"), rational("1/4")), "{family}");
    }
    let theorem = verdict(&certificate, "sensitivity", "action-deviation");
    assert_eq!(theorem.verdict, "tightens-by-theorem");
    assert_eq!(before_and_after(theorem), (rational("1/2"), rational("1/4")));
    assert_eq!(verdict(&certificate, "chain-hull", "action-deviation").verdict, "tightens-by-theorem");
}

/// The function itself goes from constant to moving by 1/4; `crown` sees it (both units are active in the ball), while `ibp` falls from 1/2 to 1/4: a smaller bound does not mean a more robust policy.
#[test]
fn true_robustness_falls_while_a_bound_tightens() {
    let certificate = certificate("robustness", &[Family::Sensitivity, Family::Ibp, Family::Crown]);
    let crown = verdict(&certificate, "crown", "action-deviation");
    assert_eq!(crown.verdict, "loosened");
    // The truth before is 0; two layers on the grid cost a few of its units of 2^-48.
    let (before, after) = before_and_after(crown);
    assert!(!before.is_negative() && before < rational("1e-12"), "{before}");
    assert_eq!(after, rational("1/4"));
    let ibp = verdict(&certificate, "ibp", "action-deviation");
    assert_eq!(ibp.verdict, "tightened");
    assert_eq!(before_and_after(ibp), (rational("1/2"), rational("1/4")));
    assert!(certificate.limits.iter().any(|l| l.contains("does not mean a more robust policy")));
}

/// The tool refutes "pruning cannot hurt" on both: nothing could move before (for two layers, by a few units of the
/// grid), the point moves the output by exactly 1/4 after, and the checker accepted both sides.
#[test]
fn that_pruning_hurt_is_certified() {
    for name in ["local-ibp", "robustness"] {
        let certified =
            certify_with(&fixtures().join(name), &[Family::Crown], &linf("1/4"), &key(1), true).expect(name);
        let certificate = certified.verified.certificate();
        let [bracket] = &certificate.brackets[..] else { panic!("{name}: {:?}", certificate.brackets) };
        let words = (bracket.of.as_str(), bracket.verdict.as_str(), bracket.hurt, bracket.places);
        assert_eq!(words, ("action-deviation", "hurt", 1, 1), "{name}");
        assert!(bracket.at_most_before.clone().expect("a value") < rational("1e-12"), "{name}");
        assert_eq!(bracket.at_least_after, Some(rational("1/4")), "{name}");
        let before: Vec<&str> = certificate.counterexample.iter().map(|c| c.at_least[0].as_str()).collect();
        assert_eq!(before, ["0", "0.25"], "{name}");
    }
}

/// A trained policy under its own audit's adversary: some state's total variation is certified to have risen at each step
/// of its magnitude chain.
#[test]
fn pruning_hurt_a_trained_policy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pendulum-tanh");
    let certificate = certify_files(&root, &root.join("masks"), &root.join("states.npy"), "0.05", usize::MAX);
    let hurt = |step| certificate.brackets.iter().find(|b| b.of == "total-variation" && b.step == step);
    for step in 1..5 {
        let bracket = hurt(step).expect("a bracket");
        assert_eq!((bracket.verdict.as_str(), bracket.places), ("hurt", 100), "{bracket:?}");
        assert!(bracket.hurt > 0 && bracket.at_least_after > bracket.at_most_before, "{bracket:?}");
    }
}

/// Published policies, pruned by magnitude, at radius 1/1000 (normalised): the step from 50 to 70 % hurt in total variation
/// at some visited state. Needs `../shared/policies`; says so where it is absent.
#[test]
fn pruning_hurt_published_policies() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/policies");
    if !shared.is_dir() {
        println!("skipped: {} is absent", shared.display());
        return;
    }
    for (name, step) in [("sb3_trpo_Hopper-v3", 4), ("wocar_hopper", 3), ("wocar_walker", 4)] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (policy, masks) = (folder.path().join("policy"), folder.path().join("masks"));
        let source = shared.join(format!("{name}.safetensors"));
        let imported = import(&source, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        write_policy_dir(&policy, &imported).expect("policy written");
        let ran = programs::run(programs::secateur(folder.path()).args([
            "--quiet",
            "prune",
            "policy",
            "--sparsity",
            "0,0.1,0.3,0.5,0.7,0.9",
            "--out",
            "masks",
        ]));
        assert_eq!(ran.code, 0, "{ran:?}");
        let states = shared.join(format!("{name}.states.npy"));
        let certificate = certify_files(&policy, &masks, &states, "0.001", 100);
        let found = certificate.brackets.iter().find(|b| b.of == "total-variation" && b.step == step);
        assert_eq!(found.expect("a bracket").verdict, "hurt", "{name}");
    }
}

/// `crown` and the points over the first `limit` raw states, normalised l_inf ball.
fn certify_files(policy: &Path, masks: &Path, states: &Path, radius: &str, limit: usize) -> Certificate {
    let policy = load_policy(policy).expect("a policy");
    let masks = load_masks(masks, &policy.files).expect("masks");
    let (mut states, bytes) = load_states(states, Units::Raw).expect("states");
    states.keep_first(limit);
    let request = Request {
        policy: &policy,
        masks: &masks,
        states: &states,
        states_file: NamedFile { name: "states.npy", bytes: &bytes },
        perturbation: &linf(radius),
        families: &[Family::Crown],
        regret: &RegretRequest::default(),
        band_from: 0,
        slopes: None,
        witness_name: "w.witness.safetensors",
        branch_steps: 200,
        radii: &RadiusRequest::default(),
        regions: &[],
        counterexample: true,
        seed: "0",
    };
    certify(&request, &key(1), &Silent).expect("certified").verified.certificate().clone()
}
