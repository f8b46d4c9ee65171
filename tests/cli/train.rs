//! `secateur train` as a person runs it: pruning while training, fine-tuning under a mask, and what it says about chains.

use std::path::Path;

use secateur_testkit::programs::{Ran, run, secateur};

/// Two short updates of a small network.
const SETTINGS: &str = "
env_id = 'Pendulum-v1'
total_timesteps = 512
num_steps = 256
num_minibatches = 4
update_epochs = 2
hidden_sizes = [8, 8]
states = 5
";

fn train(folder: &Path, rest: &[&str]) -> Ran {
    std::fs::write(folder.join("settings.toml"), SETTINGS).expect("written");
    run(secateur(folder).args(["-q", "train", "--config", "settings.toml"]).args(rest))
}

fn masks(policy: &Path) -> String {
    std::fs::read_to_string(policy.join("masks/chain.json")).expect("a chain")
}

/// Half of 3 * 8 + 8 * 8 + 8 = 96 weights, counted over all layers.
#[test]
fn a_pruned_policy_starts_a_chain_of_its_own() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = ["--prune-sparsity", "1/2", "--prune-scope", "global", "--prune-schedule", "linear"];
    let ran = train(folder.path(), &[&flags[..], &["--out", "p"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("48 of 96 weights (50.0 %), mask 0 of p/masks"), "{ran:?}");
    assert!(ran.stdout.contains("chain    a new one"), "{ran:?}");
    let chain = masks(&folder.path().join("p"));
    assert!(chain.contains(r#""sparsity":"1/2""#), "{chain}");
    assert!(
        chain.contains(r#""method":"linear magnitude while training","scope":"global","seed":"1""#),
        "{chain}"
    );
    let settings = std::fs::read_to_string(folder.path().join("p/train.toml")).expect("settings");
    assert!(settings.contains("[prune]\n") && settings.contains("sparsity = \"1/2\""), "{settings}");
    // The chain fits the policy beside it, and further masks extend it.
    let further = ["-q", "prune", "p", "--scope", "global", "--sparsity", "0.5,0.75", "--out", "more"];
    let ran = run(secateur(folder.path()).args(further));
    assert_eq!(ran.code, 0, "{ran:?}");
    let read = |path: &str| std::fs::read(folder.path().join(path)).expect("a mask");
    assert!(read("more/mask-00.safetensors") == read("p/masks/mask-00.safetensors"), "zeros go first");
}

/// By states, and by the scores a file gives; each with one source.
#[test]
fn saliency_needs_one_source_of_scores() {
    let folder = tempfile::tempdir().expect("temporary folder");
    assert_eq!(train(folder.path(), &["--out", "p"]).code, 0);
    let prune = |rest: &[&str]| {
        let start =
            ["-q", "prune", "p", "--method", "saliency", "--sparsity", "0,0.5", "--out", "masks", "--force"];
        run(secateur(folder.path()).args(start).args(rest))
    };
    let by_states = prune(&["--states", "p/states.npy"]);
    assert!(by_states.code == 0 && by_states.stdout.contains("48 of 96 weights pruned"), "{by_states:?}");
    let read = |path: &str| std::fs::read(folder.path().join(path)).expect("a mask");
    let found = read("masks/mask-01.safetensors");
    assert_eq!(prune(&["--states", "p/states.npy", "--state-units", "normalised"]).code, 0);
    assert!(found != read("masks/mask-01.safetensors"), "units count");
    let none = prune(&[]);
    assert!(
        none.code == 2 && none.stderr.contains("--scores") && none.stderr.contains("--states"),
        "{none:?}"
    );
    let both = prune(&["--states", "p/states.npy", "--scores", "p/policy.safetensors"]);
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn fine_tuning_says_where_it_started() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let ran = train(folder.path(), &["--out", "dense"]);
    assert!(ran.code == 0 && !ran.stdout.contains("chain"), "{ran:?}");
    let prune = ["-q", "prune", "dense", "--sparsity", "0,0.25", "--out", "dense/masks"];
    assert_eq!(run(secateur(folder.path()).args(prune)).code, 0);
    let from = ["--finetune", "dense", "--masks", "dense/masks"];
    let tuned = train(folder.path(), &[&from[..], &["--mask", "1", "--out", "tuned"]].concat());
    assert_eq!(tuned.code, 0, "{tuned:?}");
    for words in ["from     dense, weights sha256:", "mask     1 of dense/masks", "chain    a new one"] {
        assert!(tuned.stdout.contains(words), "{words:?} is not in {tuned:?}");
    }
    let read = |path: &str| std::fs::read(folder.path().join(path)).expect("a file");
    assert!(read("tuned/policy.safetensors") != read("dense/policy.safetensors"));
    assert!(read("tuned/masks/mask-00.safetensors") == read("dense/masks/mask-01.safetensors"));
    let far = train(folder.path(), &[&from[..], &["--mask", "2", "--out", "far"]].concat());
    assert!(far.code == 2 && far.stderr.contains("mask 2 is not there; it has 0 to 1"), "{far:?}");
    let over = train(folder.path(), &["--finetune", "dense", "--out", "dense"]);
    assert!(over.code == 2 && over.stderr.contains("needs another"), "{over:?}");
    let recorded =
        run(secateur(folder.path()).args(["-q", "train", "--config", "tuned/train.toml", "--out", "again"]));
    assert!(recorded.code == 2 && recorded.stderr.contains("--finetune"), "{recorded:?}");
    let wrong = train(folder.path(), &["--prune-sparsity", "1.5", "--out", "wrong"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("prune.sparsity must be"), "{wrong:?}");
}
