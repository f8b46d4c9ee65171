//! From a Stable-Baselines3 archive to a passing gate in four commands, and a worse policy that fails it.

use std::path::Path;

use secateur::policy::TensorData;
use secateur::policy::read::read_policy_dir;
use secateur_testkit::foreign::{Tensor, dictionary, torch_file, zip_of};
use secateur_testkit::programs::{Ran, run, secateur};
use serde_json::json;

fn tensor(name: &str, data: &TensorData) -> Tensor {
    (name.to_owned(), data.shape.clone(), data.floats().iter().map(|v| *v as f32).collect())
}

/// What `PPO.save` writes of the trained fixture: its text where it pickles, which are not read here.
fn archive() -> Vec<u8> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cartpole-tanh");
    let policy = read_policy_dir(&fixture).expect("the fixture");
    let names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"];
    let tensors: Vec<Tensor> = names
        .iter()
        .zip(&policy.layers)
        .flat_map(|(stem, layer)| {
            [tensor(&format!("{stem}.weight"), &layer.weight), tensor(&format!("{stem}.bias"), &layer.bias)]
        })
        .collect();
    let unread = "gAS";
    let space = |kind: &str, class: &str| format!("<class 'gymnasium.spaces.{kind}.{class}'>");
    let data = json!({
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": unread,
                         "__module__": "stable_baselines3.common.policies",
                         "__init__": "<function ActorCriticPolicy.__init__ at 0x7f0>"},
        "policy_kwargs": {}, "use_sde": false, "verbose": 0, "_last_original_obs": null,
        "observation_space": {":type:": space("box", "Box"), ":serialized:": unread, "dtype": "float32", "_shape": [4],
                              "low": "[-4.8 -inf -0.41887903 -inf]", "high": "[4.8 inf 0.41887903 inf]"},
        "action_space": {":type:": space("discrete", "Discrete"), ":serialized:": unread, "n": "2", "_shape": []},
    });
    let weights = torch_file(&dictionary(&tensors));
    zip_of(&[
        ("data", data.to_string().as_bytes()),
        ("policy.pth", &weights),
        ("_stable_baselines3_version", b"2.3.0"),
    ])
}

fn audit_toml(method: &str) -> String {
    format!(
        "states = \"../states.npy\"\nepsilon = \"0.05\"\nlimit = 10\nfamilies = [\"sensitivity\", \"ibp\", \"crown\"]\n\
         [prune]\nmethod = \"{method}\"\nscope = \"layer\"\nsparsity = [\"0\", \"0.3\", \"0.6\"]\n"
    )
}

fn step(root: &Path, line: &str) -> Ran {
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("secateur"));
    run(secateur(root).arg("--quiet").args(words))
}

fn good(root: &Path, line: &str) -> Ran {
    let ran = step(root, line);
    assert_eq!(ran.code, 0, "{line}: {ran:?}");
    ran
}

#[test]
fn four_commands_to_a_gate_and_a_worse_policy_fails_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    std::fs::write(root.join("ppo.zip"), archive()).expect("written");
    let states = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cartpole-tanh/states.npy");
    std::fs::copy(states, root.join("states.npy")).expect("copied");

    good(root, "secateur import ppo.zip --out cartpole");
    good(
        root,
        "secateur audit cartpole --states states.npy --epsilon 0.05 --limit 10 --sparsity 0,0.3,0.6 --out release",
    );
    let certificate = "release/cartpole.cert.dsse.json";
    good(root, &format!("secateur gate --init {certificate} --policy cartpole --states states.npy"));
    let passed = good(root, "secateur gate");
    assert!(passed.stdout.starts_with("gate passed: "), "{passed:?}");
    assert!(passed.stdout.contains("signed by audit SHA256:"), "{passed:?}");

    // The team writes down what it audits, accepts this state, and asks for no worse one.
    std::fs::write(root.join("cartpole/audit.toml"), audit_toml("random")).expect("written");
    good(root, "secateur audit cartpole --out release");
    let mut text = std::fs::read_to_string(root.join("secateur.toml")).expect("written by --init");
    text.push_str("\n[[rule]]\nid = \"no-worse\"\nquantity = \"total-variation\"\nworse-by = \"1%\"\n");
    // Each audit signs with a key of its own here.
    let unsigned = text.find("[[rule]]\nid = \"signed\"").expect("a rule for the signer");
    let rest = text.split_off(unsigned);
    text.push_str(rest.split_once("\n\n").expect("the next one").1);
    std::fs::write(root.join("secateur.toml"), &text).expect("written");
    good(root, "secateur gate accept");
    good(root, "secateur gate");

    // Pruned again, by magnitude: the tighter masks of this chain keep what moves the action most.
    std::fs::write(root.join("cartpole/audit.toml"), audit_toml("magnitude")).expect("written");
    good(root, "secateur audit cartpole --out release");
    let failed = step(root, "secateur gate");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stdout.starts_with("gate failed: 1 of "), "{failed:?}");
    for word in
        ["failed   cartpole/no-worse", "proved-worse: proved worse: an attack reaches", "mask 2", "do: "]
    {
        assert!(failed.stdout.contains(word), "{word:?} is not in {failed:?}");
    }

    // Masks of the old chain with the new certificate are no evidence.
    std::fs::remove_dir_all(root.join("release/masks")).expect("removed");
    std::fs::rename(root.join("release/earlier-2/masks"), root.join("release/masks")).expect("moved");
    let mixed = step(root, "secateur gate");
    assert_eq!(mixed.code, 3, "{mixed:?}");
}
