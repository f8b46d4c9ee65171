//! What people meet: outputs that cannot be written, interrupts, pipes, other files than those that were certified, settings
//! with a slip, paths that a shell would split, terminals. `spec/outputs.md`, `spec/import-sb3.md`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use secateur_checker::family::Family;
use secateur_checker::reader::digest::sha256_hex;
use secateur_testkit::foreign::{Tensor, dictionary, torch_file, zip_of};
use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{CHECK, Ran, check_both, run, secateur, secateur_check};
use serde_json::{Value, json};
use tempfile::TempDir;

const PROPERTY: &str = "
(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)
(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 -0.1))(assert (<= X_0 0.1))(assert (>= X_1 -0.1))(assert (<= X_1 0.1))
(assert (>= X_2 -0.1))(assert (<= X_2 0.1))(assert (>= Y_0 1000.0))
";
const SETTINGS: &str = "states = \"../states.npy\"\nepsilon = \"0.05\"\nfamilies = [\"sensitivity\"]\n";

fn write(root: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(root.join(name), text).expect("written");
}

fn problem_in(root: &Path) -> Problem {
    let problem = Problem::write(root, &Spec::small(1));
    problem.certify_to_disk(&[Family::Sensitivity], &key(1));
    write(root, "k.pem", key(1).private_pem());
    write(root, "p.vnnlib", PROPERTY);
    write(root, "policy/audit.toml", SETTINGS);
    problem
}

/// A policy, masks, states, a certificate of them, keys, a property and settings.
fn bench() -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = problem_in(folder.path());
    (folder, problem)
}

fn words(root: &Path, line: &str) -> Ran {
    run(secateur(root).arg("--quiet").args(line.split_whitespace()))
}

fn good(root: &Path, line: &str) -> Ran {
    let ran = words(root, line);
    assert_eq!(ran.code, 0, "{line}: {ran:?}");
    ran
}

fn says(ran: &Ran, parts: &[&str]) {
    for part in parts {
        assert!(ran.stderr.contains(part) || ran.stdout.contains(part), "{part:?} is not in {ran:?}");
    }
}

const INIT: &str =
    "gate --init c.cert.dsse.json --policy policy --masks masks --states states.npy --trust trust.json";

/// Every input is broken, so that only a command that looks at its outputs first can name them.
#[test]
fn outputs_are_tested_before_anything_is_read() {
    let (folder, _) = bench();
    let root = folder.path();
    good(root, INIT);
    std::fs::rename(root.join("secateur.toml"), root.join("g.toml")).expect("renamed");
    write(root, "file", "mine");
    for name in ["policy/policy.json", "policy/policy.safetensors", "states.npy", "c.cert.dsse.json", "k.pem"]
    {
        write(root, name, "broken");
    }
    write(root, "net.onnx", "broken");
    let bad = "file/inside/x";
    for command in [
        format!("certify policy --masks masks --states states.npy --epsilon 0.05 --key k.pem --out {bad}"),
        format!("certify policy --states states.npy --epsilon 0.05 --key k.pem --out c --bundle {bad}"),
        format!("audit policy --out {bad}"),
        format!("prune policy --sparsity 0,0.5 --out {bad}"),
        format!("import policy/policy.safetensors --head gaussian --activation tanh --out {bad}"),
        format!("export policy --to {bad}.onnx"),
        format!("verify net.onnx p.vnnlib --key k.pem --out {bad}"),
        format!("verify net.onnx p.vnnlib --resume {bad}"),
        format!("verify net.onnx p.vnnlib --canonical {bad}"),
        format!("bundle policy c.cert.dsse.json --masks masks --states states.npy --out {bad}"),
        format!("gate g.toml --output json={bad}"),
        format!("gate g.toml --output sarif={bad} --attest a.json --key k.pem"),
        format!("gate g.toml --attest {bad} --key k.pem"),
        format!("{INIT} --output json={bad}"),
        format!("{INIT} {bad}"),
        format!("show c.cert.dsse.json --out {bad}"),
        format!("report c.cert.dsse.json --out {bad}"),
        format!("diff c.cert.dsse.json c.cert.dsse.json --out {bad}"),
        format!("keygen --out {bad}"),
    ] {
        let ran = words(root, &command);
        assert_eq!(ran.code, 2, "{command}: {ran:?}");
        assert!(ran.stderr.contains("file is not a folder"), "{command}: {ran:?}");
        assert!(!ran.stderr.contains(".tmp"), "{ran:?}");
    }
    assert!(!root.join("secateur.toml").exists(), "--init wrote its file before another output failed");
    let github = secateur(root)
        .args(["-q", "gate", "g.toml", "--output", "github"])
        .env("GITHUB_STEP_SUMMARY", bad)
        .output();
    let said = String::from_utf8_lossy(&github.expect("it starts").stderr).into_owned();
    assert!(said.contains("GITHUB_STEP_SUMMARY") && said.contains(bad), "{said}");
}

/// `check` is among the commands of `outputs.rs`; these check too.
#[test]
fn an_interrupt_ends_what_checks() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let wide = Spec { widths: vec![6, 64, 64, 64, 3], states: 1500, ..Spec::small(3) };
    Problem::write(root, &wide).certify_to_disk(&[Family::Crown], &key(1));
    let files = "--masks masks --states states.npy";
    let lines = [
        format!("gate --init c.cert.dsse.json --policy policy {files} --unsigned"),
        format!("bundle policy c.cert.dsse.json {files} --out x.secateur"),
    ];
    for line in lines {
        let mut command = secateur(root);
        command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        std::thread::sleep(Duration::from_millis(500));
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill is there").success(), "{line} had ended before");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(4), "{line}: {ended:?}");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("error: interrupted; nothing was written"), "{line}: {said}");
    }
    assert!(!root.join("secateur.toml").exists() && !root.join("x.secateur").exists());
}

/// Whoever reads the output, or the notes, may have gone: the exit code is that of the work, and nothing is added.
#[test]
fn closed_pipes_end_quietly() {
    let (folder, _) = bench();
    let root = folder.path();
    good(root, INIT);
    write(root, "ppo.zip", actor_critic(&[("_last_original_obs", json!([[0.0]]))]));
    let lines = [
        "gate",
        "gate --output markdown",
        "gate --init c.cert.dsse.json --policy policy --states states.npy --masks masks --unsigned h.toml",
        "gate accept",
        "audit policy --out out",
        "verify policy p.vnnlib",
        "bundle policy c.cert.dsse.json --masks masks --states states.npy --out x.secateur",
        "bundle --open x.secateur --to opened",
        "keygen --out keys",
        "keys show trust.json",
        "export policy --to p.onnx",
        "import ppo.zip --out imported",
        "diff c.cert.dsse.json c.cert.dsse.json",
        "certify policy --states states.npy --epsilon 0.05 --key k.pem --family ibp --out d.json",
        "--version",
    ];
    for line in lines {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = secateur(root);
        command.args(line.split_whitespace());
        let status = command.stderr(writer.try_clone().expect("another end")).stdout(writer).status();
        assert_eq!(status.expect("it starts").code(), Some(0), "{line}");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ran = secateur_check(root).arg("--version").stdout(writer).output().expect("it starts");
    assert_eq!((ran.status.code(), ran.stderr.as_slice()), (Some(0), &b""[..]));
}

fn sha256(path: &Path) -> String {
    sha256_hex(&std::fs::read(path).expect("read"))
}

/// Both digests, the path that was read, what it was given as, what is probably wrong, and the right file if it is near.
#[test]
fn another_file_is_named_with_what_is_probably_wrong() {
    let (folder, _) = bench();
    let root = folder.path();
    let other = root.join("other");
    std::fs::create_dir(&other).expect("made");
    Problem::write(&other, &Spec { seed: 2, ..Spec::small(2) })
        .certify_to_disk(&[Family::Sensitivity], &key(1));
    write(root, "more.npy", std::fs::read(other.join("states.npy")).expect("read"));
    let check = |policy: &str, masks: &str, states: &str| {
        check_both(root, &[policy, "--masks", masks, "--states", states, "--unsigned", "c.cert.dsse.json"])
    };
    let states = check("policy", "masks", "more.npy");
    assert_eq!(states.code, 3);
    let digests = [sha256(&root.join("more.npy")), sha256(&root.join("states.npy"))];
    says(&states, &[&digests[0], &digests[1], "read from \"more.npy\", given as the states"]);
    says(&states, &["the policy and the masks fit: probably other states"]);
    says(&states, &["\"states.npy\" is the file that the certificate speaks of"]);
    let policy = check("other/policy", "masks", "states.npy");
    says(
        &policy,
        &[
            "\"other/policy/policy.",
            "given as the policy",
            "probably another policy",
            &sha256(&root.join("policy/policy.safetensors")),
        ],
    );
    says(&policy, &["\"policy/policy.safetensors\" is the file that the certificate speaks of"]);
    let masks = check("policy", "other/masks", "states.npy");
    says(&masks, &["\"other/masks/chain.json\"", "given as the masks", "probably other masks"]);
    let all = check("other/policy", "other/masks", "more.npy");
    says(&all, &["probably another certificate"]);
    // The gate says the same of the same files.
    good(root, INIT);
    std::fs::copy(root.join("more.npy"), root.join("states.npy")).expect("copied");
    let gate = words(root, "gate");
    assert_eq!(gate.code, 3, "{gate:?}");
    says(&gate, &["states.npy", "given as the states", "probably other states", &digests[0], &digests[1]]);
}

#[test]
fn another_network_of_a_property_is_named() {
    let (folder, _) = bench();
    let root = folder.path();
    good(root, "export policy --to a.onnx");
    let other = root.join("other");
    std::fs::create_dir(&other).expect("made");
    Problem::write(&other, &Spec { seed: 2, ..Spec::small(2) });
    good(root, "export other/policy --to b.onnx");
    good(root, "verify a.onnx p.vnnlib --key k.pem --out v.cert.dsse.json");
    let network = words(root, "check b.onnx p.vnnlib --unsigned v.cert.dsse.json");
    assert_eq!(network.code, 3, "{network:?}");
    says(&network, &["made of \"b.onnx\": probably another network"]);
    write(root, "q.vnnlib", PROPERTY.replace("1000.0", "2000.0"));
    let property = words(root, "check a.onnx q.vnnlib --unsigned v.cert.dsse.json");
    assert_eq!(property.code, 3, "{property:?}");
    says(&property, &["made of \"q.vnnlib\": probably another property"]);
    write(root, "q.vnnlib", format!("{PROPERTY}\n; the same, in another file\n"));
    let source = words(root, "check a.onnx q.vnnlib --unsigned v.cert.dsse.json");
    assert_eq!(source.code, 3, "{source:?}");
    says(
        &source,
        &[&sha256(&root.join("q.vnnlib")), &sha256(&root.join("p.vnnlib")), "\"q.vnnlib\" has SHA-256"],
    );
}

/// A slip in `audit.toml`: its file and line, the key that was meant, and how numbers are written only if that is wrong.
#[test]
fn errors_of_audit_toml_say_what_was_meant() {
    const QUOTES: &str = "numbers are written in quotes";
    let (folder, _) = bench();
    let root = folder.path();
    let audit = |text: &str| {
        write(root, "policy/audit.toml", text);
        let ran = words(root, "audit policy --out out");
        assert_eq!(ran.code, 2, "{text}: {ran:?}");
        says(&ran, &["policy/audit.toml: "]);
        ran
    };
    for (text, part) in [
        (format!("{SETTINGS}limt = 5"), "line 4: unknown field `limt`"),
        (format!("{SETTINGS}limt = 5"), "did you mean limit?"),
        (format!("{SETTINGS}state_units = \"raw\""), "did you mean state-units?"),
        (format!("{SETTINGS}norm = \"lnf\""), "did you mean linf?"),
        (format!("{SETTINGS}[prune]\nsparsty = [\"0\"]"), "did you mean sparsity?"),
        (format!("{SETTINGS}limit = \"5\""), "is written without quotes"),
        (format!("{SETTINGS}limit = 1.5"), "it is a whole number"),
        (format!("{SETTINGS}branch-steps = 0"), "branch-steps 0 is not between"),
        (SETTINGS.replace("sensitivity", "sensitivty"), "did you mean sensitivity?"),
        (
            SETTINGS.replace("states = \"../states.npy\"\n", ""),
            "it names no states; write states = \"FILE\", or give --states FILE",
        ),
    ] {
        let ran = audit(&text);
        says(&ran, &[part]);
        assert!(!ran.stderr.contains(QUOTES), "{text}: {ran:?}");
    }
    for text in [
        SETTINGS.replace("\"0.05\"", "0.05"),
        SETTINGS.replace("\"0.05\"", "1"),
        format!("{SETTINGS}reward-range = [0, 1]"),
    ] {
        says(&audit(&text), &[QUOTES]);
    }
}

/// `[prune]` and the command line have one default: the same masks, byte for byte.
#[test]
fn prune_in_audit_toml_has_the_defaults_of_the_command() {
    let (folder, _) = bench();
    let root = folder.path();
    write(root, "policy/audit.toml", format!("{SETTINGS}[prune]\nsparsity = [\"0\", \"0.5\"]"));
    good(root, "audit policy --out out");
    good(root, "prune policy --sparsity 0,0.5 --out made");
    for name in ["chain.json", "mask-01.safetensors"] {
        let read = |folder: &str| std::fs::read(root.join(folder).join(name)).expect("read");
        assert_eq!(read("out/masks"), read("made"), "{name}");
    }
}

#[test]
fn unknown_options_are_named() {
    let (folder, _) = bench();
    for (option, named) in
        [("--frob", "\"--frob\""), ("-x", "\"-x\""), ("--state=s.npy", "\"--state=s.npy\"")]
    {
        let ran = run(secateur_check(folder.path()).args(CHECK).arg(option));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.starts_with(&format!("there is no option {named}")), "{ran:?}");
        let long = run(secateur(folder.path()).arg("check").args(CHECK).arg(option));
        let name = option.split('=').next().expect("a name");
        assert!(long.code == 2 && long.stderr.contains(name), "{long:?}");
    }
}

/// A folder that cannot be written to is named, and no temporary file is.
#[test]
fn messages_hold_no_temporary_names() {
    let (folder, _) = bench();
    let root = folder.path();
    for out in ["/proc/none/x", "/dev/null/x", "policy/policy.json/x", "/sys/x"] {
        for command in [
            format!("prune policy --sparsity 0 --out {out}"),
            format!("export policy --to {out}.onnx"),
            format!("certify policy --states states.npy --epsilon 0.05 --key k.pem --out {out}"),
            format!("gate --init c.cert.dsse.json --policy policy --states states.npy --unsigned {out}"),
        ] {
            let ran = words(root, &command);
            assert_eq!(ran.code, 2, "{command}: {ran:?}");
            assert!(!ran.stderr.contains("tmp") || out.contains("tmp"), "{ran:?}");
            assert!(ran.stderr.contains(out), "{ran:?}");
        }
    }
}

/// Every printed command, given to a shell as it stands, does what it says.
#[test]
fn printed_commands_can_be_pasted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path().join("it's a $(folder)");
    std::fs::create_dir(&root).expect("made");
    problem_in(&root);
    let paste = |line: &str| {
        let (long, short) = (secateur(&root), secateur_check(&root));
        let (program, rest) = line.trim().split_once(' ').expect("a program");
        let path = if program == "secateur-check" { short.get_program() } else { long.get_program() };
        let shell = Command::new("sh")
            .args(["-c", &format!("\"$P\" {rest}")])
            .env("P", path)
            .env_remove("CI")
            .current_dir(folder.path())
            .output();
        let shell = shell.expect("a shell");
        assert!(shell.status.success(), "{line}: {shell:?}");
    };
    let here = |line: &[&str]| {
        let ran = run(secateur(folder.path()).arg("-q").args(line));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    };
    let at = |name: &str| format!("it's a $(folder)/{name}");
    let after = |ran: &Ran, word: &str| -> String {
        let found = ran.stdout.lines().find_map(|line| line.split_once(word));
        found.unwrap_or_else(|| panic!("no {word} in {ran:?}")).1.trim().to_owned()
    };
    let (policy, out) = (at("policy"), at("out & more"));
    paste(&after(&here(&["audit", &policy, "--out", &out]), "check again"));
    let (certificate, masks, states) = (at("c.cert.dsse.json"), at("masks"), at("states.npy"));
    let (bundle, opened, trust) = (at("x;y.secateur"), at("opened"), at("trust.json"));
    std::fs::copy(root.join("trust.json"), folder.path().join("TRUST.json")).expect("copied");
    let made =
        here(&["bundle", &policy, &certificate, "--masks", &masks, "--states", &states, "--out", &bundle]);
    let line =
        made.stdout.lines().find(|line| line.trim().starts_with("secateur-check ")).expect("a command");
    paste(line);
    let took = here(&["bundle", "--open", &bundle, "--to", &opened]);
    let line =
        took.stdout.lines().find(|line| line.trim().starts_with("secateur-check ")).expect("a command");
    paste(line);
    // `gate --bind` wants a gate in the folder it is run in.
    let gate = folder.path().join("secateur.toml");
    here(&[
        "gate",
        "--init",
        &certificate,
        "--policy",
        &policy,
        "--masks",
        &masks,
        "--states",
        &states,
        "--trust",
        &trust,
    ]);
    assert!(gate.exists());
    let onnx = at("mask 1.onnx");
    paste(&after(&here(&["export", &policy, "--masks", &masks, "--mask", "1", "--to", &onnx]), "bind it"));
}

/// On a terminal both programs show how far they are; a bar never says that it did all of nothing.
#[cfg(target_os = "linux")]
#[test]
fn progress_is_shown_on_a_terminal_alone() {
    let (folder, _) = bench();
    let root = folder.path();
    good(root, "export policy --to a.onnx");
    good(root, "verify a.onnx p.vnnlib --key k.pem --out v.cert.dsse.json --canonical v");
    let on_terminal = |program: &Command, line: &str| {
        let program = program.get_program().to_string_lossy().into_owned();
        let shown = Command::new("script")
            .args(["-qec", &format!("stty cols 120; '{program}' {line} > said"), "/dev/null"])
            .env("TERM", "xterm")
            .current_dir(root)
            .stdin(Stdio::null())
            .output();
        let shown = shown.expect("`script` of util-linux");
        assert!(shown.status.success(), "{line}: {shown:?}");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let (long, short) = (secateur(root), secateur_check(root));
    let check = CHECK.join(" ");
    let states = Spec::small(1).states;
    let shown = on_terminal(&short, &check);
    assert!(shown.contains(&format!("checking {states} of {states}")), "{shown:?}");
    assert!(shown.ends_with("\u{1b}[2K"), "the line is left clean: {shown:?}");
    for line in [
        format!("check {check}"),
        "certify policy --states states.npy --epsilon 0.05 --key k.pem --family ibp --out d.json".to_owned(),
        "audit policy --out out".to_owned(),
        "bundle policy c.cert.dsse.json --masks masks --states states.npy --out x.secateur".to_owned(),
        "check a.onnx p.vnnlib --unsigned v.cert.dsse.json".to_owned(),
    ] {
        let shown = on_terminal(&long, &line);
        assert!(!shown.contains(" 0/0"), "{line}: {shown:?}");
        assert!(line.starts_with("check a") || shown.contains('/'), "{line}: {shown:?}");
        assert!(!shown.contains("\u{2588}\u{2588} 0/"), "a full bar of nothing: {line}: {shown:?}");
    }
    let quiet = on_terminal(&short, &format!("{check} --quiet"));
    assert_eq!(quiet, "");
    let piped = run(secateur_check(root).args(CHECK));
    assert_eq!(piped.stderr, "");
    let piped = run(secateur(root).arg("check").args(CHECK));
    assert_eq!(piped.stderr, "");
}

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|at| (at % 7) as f32 * 0.125 - 0.25).collect();
    (name.to_owned(), shape.to_vec(), values)
}

/// What `save` of Stable-Baselines3 writes: its text where it pickles, which are not read here.
fn archive(class: (&str, &str), tensors: &[Tensor], more: &[(&str, Value)]) -> Vec<u8> {
    let space = |name: &str| format!("<class 'gymnasium.spaces.{name}'>");
    let described = |shape: usize| {
        let ones = |sign: &str| format!("[{}]", vec![format!("{sign}1."); shape].join(" "));
        json!({":type:": space("box.Box"), ":serialized:": "gAS", "dtype": "float32", "_shape": [shape],
               "low": ones("-"), "high": ones("")})
    };
    let mut data = json!({
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gAS", "__module__": class.0,
                         "__init__": format!("<function {}.__init__ at 0x7f0>", class.1)},
        "policy_kwargs": {}, "use_sde": false, "_last_original_obs": null,
        "observation_space": described(3), "action_space": described(2),
    });
    for (key, value) in more {
        data[*key] = value.clone();
    }
    zip_of(&[("data", data.to_string().as_bytes()), ("policy.pth", &torch_file(&dictionary(tensors)))])
}

fn actor(log_std: &[usize]) -> Vec<Tensor> {
    let mut tensors = vec![tensor("log_std", log_std)];
    for (stem, rows, columns) in
        [("mlp_extractor.policy_net.0", 4, 3), ("mlp_extractor.policy_net.2", 4, 4), ("action_net", 2, 4)]
    {
        tensors.push(tensor(&format!("{stem}.weight"), &[rows, columns]));
        tensors.push(tensor(&format!("{stem}.bias"), &[rows]));
    }
    tensors
}

const ACTOR: (&str, &str) = ("stable_baselines3.common.policies", "ActorCriticPolicy");

fn actor_critic(more: &[(&str, Value)]) -> Vec<u8> {
    archive(ACTOR, &actor(&[2]), more)
}

/// Noise that depends on the state is refused with the reason in every kind of file, and left out with `--head deterministic`
/// in every kind; what is imported then is what an ONNX file of the policy holds.
#[test]
fn gsde_is_refused_or_deterministic_in_every_file() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let tensors = actor(&[4, 2]);
    write(root, "ppo.zip", archive(ACTOR, &tensors, &[("use_sde", json!(true))]));
    write(root, "ppo.pth", torch_file(&dictionary(&tensors)));
    let weights = |line: &str| {
        let ran = good(root, line);
        let found = ran.stdout.lines().find_map(|line| line.strip_prefix("weights"));
        (found.expect("a digest").trim().to_owned(), ran)
    };
    for line in ["import ppo.zip --out a", "import ppo.pth --activation tanh --out a"] {
        let refused = words(root, line);
        assert_eq!(refused.code, 2, "{refused:?}");
        says(&refused, &["gSDE", "no certified total variation", "ONNX file holds", "--head deterministic"]);
    }
    let (archived, ran) = weights("import ppo.zip --head deterministic --out archived");
    says(&ran, &["note: read as deterministic", "depends on the state (gSDE)"]);
    let (stored, ran) = weights("import ppo.pth --activation tanh --head deterministic --out stored");
    says(&ran, &["log_std: noise from the state (gSDE), which a deterministic head leaves out"]);
    good(root, "export archived --to ppo.onnx");
    let (graph, _) = weights("import ppo.onnx --head deterministic --out graph");
    assert_eq!((&archived, &archived), (&stored, &graph));
}

/// A normaliser beside the archive, or an archive that says it was trained with one, is asked about; off-policy algorithms keep
/// an observation under the same name without any.
#[test]
fn a_normaliser_is_asked_about_where_there_may_be_one() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let import = |name: &str, line: &str| {
        let out = format!("import {name} {line} --out {}", name.replace('.', "-"));
        good(root, &out).stderr
    };
    let seen = [("_last_original_obs", json!([[0.0, 0.0, 0.0]]))];
    write(root, "plain.zip", actor_critic(&[]));
    write(root, "wrapped.zip", actor_critic(&seen));
    let actor = [
        tensor("actor.latent_pi.0.weight", &[4, 3]),
        tensor("actor.latent_pi.0.bias", &[4]),
        tensor("actor.mu.weight", &[2, 4]),
        tensor("actor.mu.bias", &[2]),
        tensor("actor.log_std.weight", &[2, 4]),
        tensor("actor.log_std.bias", &[2]),
    ];
    write(root, "sac.zip", archive(("stable_baselines3.sac.policies", "SACPolicy"), &actor, &seen));
    assert_eq!(import("plain.zip", ""), "");
    let asked = import("wrapped.zip", "");
    assert!(asked.contains("wrapped in VecNormalize") && asked.contains("--normaliser FILE"), "{asked}");
    assert!(!import("sac.zip", "--head deterministic").contains("VecNormalize"));
    write(root, "vecnormalize.pkl", "not opened");
    write(root, "beside.zip", actor_critic(&[]));
    let asked = import("beside.zip", "");
    assert!(
        asked.contains("vecnormalize.pkl lies beside it") && asked.contains("--normaliser FILE"),
        "{asked}"
    );
}
