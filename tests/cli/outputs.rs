//! What every command does to files that are there, to closed pipes and to Ctrl-C: `spec/outputs.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use secateur_checker::family::Family;
use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{CHECK, Ran, check_both, run, secateur, secateur_check};
use tempfile::TempDir;

const SETTINGS: &str = "
env_id = 'Pendulum-v1'
total_timesteps = 512
num_steps = 256
num_minibatches = 4
update_epochs = 2
hidden_sizes = [8, 8]
states = 5
";

const PROPERTY: &str = "
(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)
(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (>= X_0 -0.1))(assert (<= X_0 0.1))(assert (>= X_1 -0.1))(assert (<= X_1 0.1))
(assert (>= X_2 -0.1))(assert (<= X_2 0.1))(assert (>= Y_0 1000.0))
";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// A folder with a policy, masks, states, a certificate of them, keys, settings, a property and documents.
fn bench() -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(1));
    problem.certify_to_disk(&[Family::Sensitivity], &key(1));
    for (name, text) in [("k.pem", key(1).private_pem().as_str()), ("settings.toml", SETTINGS)] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    std::fs::write(folder.path().join("p.vnnlib"), PROPERTY).expect("written");
    let names = "[inputs]\ngyro = { at = \"0..3\" }\n";
    std::fs::write(folder.path().join("names.toml"), names).expect("written");
    for (name, from) in
        [("m.json", "decomposition/two-masks.json"), ("a.json", "sa_mdp/extremal-3-state.json")]
    {
        std::fs::copy(fixture(from), folder.path().join(name)).expect("copied");
    }
    folder
}

/// A command that writes, without its outputs: they are always below `out/`.
struct Writer {
    name: &'static str,
    command: Vec<String>,
    out: &'static str,
    /// Every file it writes or replaces.
    targets: &'static [&'static str],
}

fn writers() -> Vec<Writer> {
    let cartpole = fixture("cartpole-tanh");
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace().map(|word| word.replace("CARTPOLE", &cartpole)).collect()
    };
    let writer = |name, text: &str, out, targets| Writer { name, command: words(text), out, targets };
    vec![
        writer(
            "certify",
            "certify policy --masks masks --states states.npy --epsilon 0.05 --key k.pem",
            "out/c.cert.dsse.json",
            &["out/c.cert.dsse.json", "out/c.witness.safetensors"],
        ),
        writer("keygen", "keygen", "out", &["out/secateur.pem", "out/secateur.pub.pem", "out/trust.json"]),
        writer(
            "prune",
            "prune policy --sparsity 0,0.5",
            "out",
            &["out/chain.json", "out/mask-00.safetensors", "out/mask-01.safetensors"],
        ),
        writer(
            "import",
            "import policy/policy.safetensors --head gaussian --activation tanh",
            "out",
            &["out/policy.json", "out/policy.safetensors"],
        ),
        writer(
            "names",
            "names policy --names names.toml",
            "out",
            &["out/policy.json", "out/policy.safetensors"],
        ),
        writer(
            "train",
            "train --config settings.toml",
            "out",
            &[
                "out/policy.json",
                "out/policy.safetensors",
                "out/critic/policy.json",
                "out/states.npy",
                "out/train.toml",
            ],
        ),
        writer(
            "attack",
            "attack CARTPOLE --attack random --epsilon 0.1 --episodes 3",
            "out",
            &["out/attack.json", "out/attack.csv", "out/decomposition.json"],
        ),
        writer(
            "episodes",
            "episodes CARTPOLE --env CartPole-v1 --discount 0.9 --episodes 20",
            "out",
            &["out/states.npy", "out/episodes.json"],
        ),
        writer(
            "verify",
            "verify policy p.vnnlib --key k.pem",
            "out/v.cert.dsse.json",
            &["out/v.cert.dsse.json", "out/v.proof.json"],
        ),
        writer("decompose", "decompose m.json", "out/d", &["out/d"]),
        writer("sa-mdp", "sa-mdp a.json", "out/d", &["out/d"]),
        writer("show", "show c.cert.dsse.json", "out/d", &["out/d"]),
        writer("diff", "diff c.cert.dsse.json c.cert.dsse.json", "out/d", &["out/d"]),
        writer("keys merge", "keys merge trust.json trust.json", "out/t.json", &["out/t.json"]),
        writer(
            "bundle",
            "bundle policy c.cert.dsse.json --masks masks --states states.npy",
            "out/x.secateur",
            &["out/x.secateur"],
        ),
        writer("states", "states policy --count 3", "out/s.npy", &["out/s.npy"]),
        writer("report", "report c.cert.dsse.json", "out/d", &["out/d"]),
        writer("schema", "schema", "out/d", &["out/d"]),
    ]
}

fn write(folder: &Path, writer: &Writer, more: &[&str]) -> Ran {
    run(secateur(folder).arg("--quiet").args(&writer.command).args(["--out", writer.out]).args(more))
}

/// Every file below a folder, with its bytes.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inside) = open.pop() {
        for entry in std::fs::read_dir(&inside).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.clone(), std::fs::read(&path).expect("read")));
            }
        }
    }
    found.sort();
    found
}

fn assert_no_temporaries(folder: &Path) {
    for (path, _) in tree(folder) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!name.starts_with(".tmp"), "{path:?}");
    }
}

fn assert_refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not in {ran:?}");
    }
    assert!(!ran.stderr.contains(".tmp"), "{ran:?}");
}

/// For every command: what is there stays without `--force`, byte for byte, and is replaced with it.
#[test]
fn nothing_is_replaced_without_force() {
    for writer in writers() {
        for target in writer.targets {
            let folder = bench();
            let path = folder.path().join(target);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(&path, b"mine").expect("written");
            let before = tree(folder.path());
            let ran = write(folder.path(), &writer, &[]);
            assert_refused(&ran, &[target, "--force"]);
            assert!(tree(folder.path()) == before, "{} changed something", writer.name);
        }
        let folder = bench();
        let path = folder.path().join(writer.targets[0]);
        let first = write(folder.path(), &writer, &[]);
        assert_eq!(first.code, 0, "{}: {first:?}", writer.name);
        let before = tree(folder.path());
        assert_refused(&write(folder.path(), &writer, &[]), &[writer.out, "--force"]);
        assert!(tree(folder.path()) == before, "{} again changed something", writer.name);
        std::fs::write(&path, b"mine").expect("written");
        let forced = write(folder.path(), &writer, &["--force"]);
        assert_eq!(forced.code, 0, "{}: {forced:?}", writer.name);
        assert_ne!(std::fs::read(&path).expect("read"), b"mine", "{}", writer.name);
        assert_no_temporaries(folder.path());
    }
}

/// A place that cannot be written to is found before any work.
#[test]
fn a_bad_place_is_refused_first() {
    for writer in writers() {
        let folder = bench();
        std::fs::write(folder.path().join("file"), b"mine").expect("written");
        std::fs::create_dir_all(folder.path().join("folder/d")).expect("made");
        let before = tree(folder.path());
        let wanted_file = writer.targets[0] == writer.out;
        let ways: &[&str] = if wanted_file {
            &["file/inside/c", "folder/d", "folder/d/", "new/", "-", "/dev/full"]
        } else {
            &["file", "file/inside", "-"]
        };
        for out in ways {
            if *out == "-"
                && ["decompose", "sa-mdp", "show", "diff", "report", "schema"].contains(&writer.name)
            {
                continue;
            }
            let command = [&writer.command[..], &["--out".to_owned(), (*out).to_owned()]].concat();
            for force in [&[][..], &["--force"]] {
                let ran = run(secateur(folder.path()).arg("-q").args(&command).args(force));
                assert_refused(&ran, &[if *out == "-" { "--out -: " } else { out.trim_end_matches('/') }]);
            }
        }
        assert!(tree(folder.path()) == before, "{} changed something", writer.name);
    }
}

/// Whatever name an input has, and with `--force` too.
#[test]
fn an_input_is_never_replaced() {
    let certify = "certify policy --masks masks --states states.npy --epsilon 0.05 --key k.pem --out";
    let verify = "verify policy p.vnnlib --key k.pem";
    let cases = [
        format!("{certify} states.npy"),
        format!("{certify} ./k.pem"),
        format!("{certify} masks/../policy/policy.json"),
        format!("{certify} masks/mask-01.safetensors"),
        format!("{certify} soft"),
        format!("{certify} hard"),
        format!("{certify} way/policy.safetensors"),
        "import policy/policy.safetensors --head gaussian --activation tanh --out policy".to_owned(),
        "import policy/policy.safetensors --head gaussian --activation tanh --mask out/masks/mask-01.safetensors --out out"
            .to_owned(),
        format!("{verify} --out p.vnnlib"),
        format!("{verify} --out v.json --resume k.pem"),
        format!("{verify} --out v.json --resume v.json"),
        format!("{verify} --out v.json --canonical policy"),
        "decompose m.json --out ./m.json".to_owned(),
        "sa-mdp a.json --out soft-a".to_owned(),
        "show c.cert.dsse.json --out c.cert.dsse.json".to_owned(),
        "report c.cert.dsse.json --out c.cert.dsse.json".to_owned(),
        "diff c.cert.dsse.json c.cert.dsse.json --out ./c.cert.dsse.json".to_owned(),
        "bundle policy c.cert.dsse.json --masks masks --states states.npy --out soft".to_owned(),
        "keys merge trust.json trust.json --out ./trust.json".to_owned(),
        format!("{certify} new.json --bundle k.pem"),
        "train --config out/train.toml --out out".to_owned(),
        "prune policy --sparsity 0.5 --out policy".to_owned(),
        "prune policy --method saliency --scores masks/mask-01.safetensors --sparsity 0.5 --out masks".to_owned(),
        "audit policy --out policy".to_owned(),
        "names policy --names names.toml --out policy".to_owned(),
    ];
    let folder = bench();
    let root = folder.path();
    std::fs::create_dir_all(root.join("out/masks")).expect("made");
    for name in ["chain.json", "mask-00.safetensors", "mask-01.safetensors", "mask-02.safetensors"] {
        std::fs::copy(root.join("masks").join(name), root.join("out/masks").join(name)).expect("copied");
    }
    std::fs::write(root.join("out/train.toml"), SETTINGS).expect("written");
    std::fs::write(root.join("policy/audit.toml"), "states = \"../states.npy\"\nepsilon = \"0.1\"\n")
        .expect("written");
    std::os::unix::fs::symlink("states.npy", root.join("soft")).expect("linked");
    std::os::unix::fs::symlink("a.json", root.join("soft-a")).expect("linked");
    std::os::unix::fs::symlink("policy", root.join("way")).expect("linked");
    std::fs::hard_link(root.join("states.npy"), root.join("hard")).expect("linked");
    let before = tree(root);
    for case in cases {
        for force in [&[][..], &["--force"]] {
            let ran = run(secateur(root).arg("-q").args(case.split_whitespace()).args(force));
            assert_refused(&ran, &[]);
            assert!(!ran.stderr.contains("--force replaces"), "{case}: {ran:?}");
            assert!(tree(root) == before, "{case} changed something");
        }
    }
}

/// A folder of masks holds the masks of its chain and no other; a file that no chain names is not removed.
#[test]
fn no_stale_masks() {
    let folder = bench();
    let root = folder.path();
    let prune = |sparsity: &str, more: &[&str]| {
        let start = ["-q", "prune", "policy", "--sparsity", sparsity, "--out", "out"];
        run(secateur(root).args(start).args(more))
    };
    assert_eq!(prune("0,0.3,0.5,0.7", &[]).code, 0);
    let fewer = prune("0,0.5", &["--force"]);
    assert!(fewer.code == 0 && fewer.stdout.contains("removed  out/mask-0"), "{fewer:?}");
    let names = |folder: &str| -> Vec<String> {
        let names = tree(&root.join(folder)).into_iter().map(|(path, _)| path);
        names.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("out"), ["chain.json", "mask-00.safetensors", "mask-01.safetensors"]);
    std::fs::write(root.join("out/mask-07.safetensors"), b"mine").expect("written");
    std::fs::write(root.join("out/notes.txt"), b"mine").expect("written");
    for more in [&[][..], &["--force"]] {
        assert_refused(&prune("0", more), &["out/mask-07.safetensors", "chain.json"]);
    }
    std::fs::remove_file(root.join("out/mask-07.safetensors")).expect("removed");
    assert_eq!(prune("0", &["--force"]).code, 0);
    assert_eq!(names("out"), ["chain.json", "mask-00.safetensors", "notes.txt"]);
    // A policy without masks does not keep those of the policy that was there, nor its value network.
    let import = ["-q", "import", "policy/policy.safetensors", "--head", "gaussian", "--activation", "tanh"];
    let import = |more: &[&str]| run(secateur(root).args(import).args(["--out", "policy2"]).args(more));
    assert_eq!(import(&["--mask", "masks/mask-00.safetensors"]).code, 0);
    assert_eq!(names("policy2/masks"), ["chain.json", "mask-00.safetensors"]);
    assert_refused(&import(&[]), &["policy2/policy.safetensors", "--force"]);
    assert_eq!(import(&["--force"]).code, 0);
    assert!(!root.join("policy2/masks").exists());
    std::fs::create_dir(root.join("policy2/critic")).expect("made");
    assert_refused(&import(&["--force"]), &["policy2/critic", "secateur train"]);
}

/// A certificate that needs no witness does not lie beside the witness of another.
#[test]
fn no_stale_witness() {
    let folder = bench();
    let certify = |more: &[&str]| {
        let start =
            ["-q", "certify", "policy", "--states", "states.npy", "--epsilon", "0.05", "--key", "k.pem"];
        run(secateur(folder.path()).args(start).args(["--out", "out/c.cert.dsse.json"]).args(more))
    };
    assert_eq!(certify(&[]).code, 0);
    let witness = folder.path().join("out/c.witness.safetensors");
    assert!(witness.exists());
    std::fs::remove_file(folder.path().join("out/c.cert.dsse.json")).expect("removed");
    let plain = ["--family", "sensitivity", "--no-counterexample"];
    assert_refused(&certify(&plain), &["c.witness.safetensors"]);
    assert_eq!(certify(&[&plain[..], &["--force"]].concat()).code, 0);
    assert!(!witness.exists());
}

/// An audit again: the trust file handed out stays good, the certificate there is kept and still checks.
#[test]
fn an_audit_again_keeps_what_was_handed_out() {
    let folder = bench();
    let root = folder.path();
    let settings = |text: &str| {
        let text = format!("states = \"../states.npy\"\nepsilon = \"0.05\"\nfamilies = [\"crown\"]\n{text}");
        std::fs::write(root.join("policy/audit.toml"), text).expect("written");
    };
    let audit =
        |more: &[&str]| run(secateur(root).args(["-q", "audit", "policy", "--out", "out"]).args(more));
    settings("[prune]\nmethod = \"magnitude\"\nscope = \"layer\"\nsparsity = [\"0\", \"0.3\", \"0.5\"]");
    let first = audit(&[]);
    assert_eq!(first.code, 0, "{first:?}");
    let handed_out = root.join("handed-out.json");
    std::fs::copy(root.join("out/trust.json"), &handed_out).expect("copied");
    let certificate = std::fs::read(root.join("out/policy.cert.dsse.json")).expect("read");
    settings("[prune]\nmethod = \"magnitude\"\nscope = \"layer\"\nsparsity = [\"0\", \"0.4\"]");
    let second = audit(&[]);
    assert!(second.code == 0 && second.stdout.contains("kept in out/earlier-1"), "{second:?}");
    assert_eq!(std::fs::read(root.join("out/earlier-1/policy.cert.dsse.json")).expect("kept"), certificate);
    let check = |trust: &str, place: &str| {
        let masks = format!("{place}/masks");
        let certificate = format!("{place}/policy.cert.dsse.json");
        let rest = ["policy", "--masks", &masks, "--states", "states.npy", "--trust", trust, &certificate];
        check_both(root, &rest).code
    };
    assert_eq!(check("handed-out.json", "out/earlier-1"), 0);
    assert_eq!(check("out/trust.json", "out/earlier-1"), 0);
    assert_eq!(check("out/trust.json", "out"), 0);
    assert_eq!(check("handed-out.json", "out"), 3, "another key signed");
    assert!(!root.join("out/masks/mask-02.safetensors").exists());
    let anew = audit(&["--force"]);
    assert_eq!(anew.code, 0, "{anew:?}");
    assert_eq!((check("out/trust.json", "out"), check("out/trust.json", "out/earlier-1")), (0, 3));
    // With a key of its own, equal inputs give equal bytes, and nothing moves.
    settings("key = \"../k.pem\"");
    assert_eq!(run(secateur(root).args(["-q", "audit", "policy", "--out", "own"])).code, 0);
    let before = tree(&root.join("own"));
    assert_eq!(run(secateur(root).args(["-q", "audit", "policy", "--out", "own"])).code, 0);
    assert!(tree(&root.join("own")) == before);
    for (name, text) in [("trust.json", "{}"), ("policy.cert.dsse.json", "mine")] {
        std::fs::write(root.join("own").join(name), text).expect("written");
        let before = tree(&root.join("own"));
        let ran = run(secateur(root).args(["-q", "audit", "policy", "--out", "own"]));
        assert_refused(&ran, &[name, "--force"]);
        assert!(tree(&root.join("own")) == before);
    }
}

/// A sweep is not run into a folder that holds something else under its names.
#[test]
fn a_sweep_takes_no_other_folder() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::create_dir_all(folder.path().join("out/tables")).expect("made");
    std::fs::write(folder.path().join("out/tables/returns.csv"), b"mine").expect("written");
    let sweep = ["-q", "sweep", &fixture("sweeps/small.toml"), "--out", "out"];
    assert_refused(&run(secateur(folder.path()).args(sweep)), &["out/tables", "--force"]);
    assert_eq!(tree(folder.path()).len(), 1);
}

#[test]
fn a_dash_is_standard_input_where_a_document_is_read() {
    let folder = bench();
    let pipe = |file: &str, arguments: &[&str]| {
        let input = std::fs::File::open(folder.path().join(file)).expect("opened");
        run(secateur(folder.path()).args(arguments).stdin(input))
    };
    for (file, command) in [
        ("c.cert.dsse.json", "show"),
        ("c.cert.dsse.json", "report"),
        ("m.json", "decompose"),
        ("a.json", "sa-mdp"),
    ] {
        let piped = pipe(file, &[command, "-", "--out", "-"]);
        let named = run(secateur(folder.path()).args([command, file]));
        assert_eq!((piped.code, named.code), (0, 0), "{piped:?} {named:?}");
        assert!(command == "report" || piped.stdout == named.stdout, "{piped:?}");
        std::fs::copy(folder.path().join(file), folder.path().join("-")).expect("copied");
        let other = run(secateur(folder.path()).args([command, "./-"]));
        assert_eq!(other.code, 0, "{other:?}");
        std::fs::remove_file(folder.path().join("-")).expect("removed");
    }
    for (at, _) in CHECK.iter().enumerate().filter(|(_, word)| !word.starts_with("--")) {
        let mut words = CHECK.to_vec();
        words[at] = "-";
        let ran = check_both(folder.path(), &words);
        assert_refused(&ran, &["-: standard input is not read", "./-"]);
    }
    let certify = "certify policy --masks - --states states.npy --epsilon 0.05 --key k.pem --out c2.json";
    let ran = run(secateur(folder.path()).args(certify.split_whitespace()));
    assert_refused(&ran, &["-: standard input is not read"]);
}

/// A reader that has read enough: no complaint, and the exit code of the work.
#[test]
fn a_closed_pipe_is_no_failure() {
    let folder = bench();
    let unsigned = ["policy", "--masks", "masks", "--states", "states.npy", "--unsigned", "c.cert.dsse.json"];
    let commands: Vec<(Command, i32)> = vec![
        (with(secateur(folder.path()), &["show", "c.cert.dsse.json"]), 0),
        (with(secateur(folder.path()), &["--format", "json", "report", "c.cert.dsse.json"]), 0),
        (with(secateur(folder.path()), &["schema"]), 0),
        (with(secateur(folder.path()), &["completions", "bash"]), 0),
        (with(secateur(folder.path()), &["--help"]), 0),
        (with(with(secateur(folder.path()), &["-q", "check"]), &CHECK), 0),
        (with(with(secateur(folder.path()), &["-q", "check", "--band-limit", "tv=0.1"]), &CHECK), 1),
        (with(secateur(folder.path()), &["decompose", "m.json"]), 0),
        (with(secateur(folder.path()), &["sa-mdp", "a.json"]), 0),
        (with(secateur(folder.path()), &["-q", "prune", "policy", "--sparsity", "0", "--out", "pruned"]), 0),
        (with(secateur_check(folder.path()), &CHECK), 0),
        (with(secateur_check(folder.path()), &unsigned), 0),
        (with(secateur_check(folder.path()), &["--help"]), 0),
    ];
    for (mut command, code) in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = command.stdout(writer).stderr(Stdio::piped()).output().expect("the program starts");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!((ran.status.code(), said.as_str()), (Some(code), ""), "{command:?}");
    }
    // Nobody listens to the complaint either.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ran = with(secateur(folder.path()), &["show", "missing"]).stderr(writer).status().expect("it starts");
    assert_eq!(ran.code(), Some(2));
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Long commands: Ctrl-C ends each at once, with a sentence, and leaves whole files and no temporary one.
#[test]
fn an_interrupt_ends_every_command() {
    let folder = bench();
    let root = folder.path();
    let wide = Spec { widths: vec![6, 64, 64, 64, 3], states: 1500, ..Spec::small(3) };
    std::fs::create_dir(root.join("wide")).expect("made");
    Problem::write(&root.join("wide"), &wide).certify_to_disk(&[Family::Crown], &key(1));
    let cartpole = fixture("cartpole-tanh");
    let certify = "certify wide/policy --masks wide/masks --states wide/states.npy --epsilon 0.2 --key k.pem";
    let drawn =
        format!("episodes {cartpole} --env CartPole-v1 --discount 0.999 --episodes 100000 --out drawn");
    let attack =
        format!("attack {cartpole} --attack optimal --epsilon 0.1 --training-steps 9000000 --out attacked");
    let check =
        "check wide/policy --masks wide/masks --states wide/states.npy --unsigned wide/c.cert.dsse.json";
    let cases = [
        (
            format!("{certify} --family crown,band/zero,branch --branch-steps 100000 --out c"),
            "nothing was written",
        ),
        (check.to_owned(), "nothing was written"),
        (
            "train --env Pendulum-v1 --total-timesteps 9000000 --out trained".to_owned(),
            "the same command goes on from there",
        ),
        (attack, "the same command goes on from"),
        (drawn, "nothing was written"),
        ("show -".to_owned(), "nothing was written"),
    ];
    for (case, words) in cases {
        let mut command = secateur(root);
        command.arg("-q").args(case.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // Held open, so that a command that reads it waits.
        let _stdin = child.stdin.take();
        std::thread::sleep(Duration::from_millis(500));
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill is there").success(), "{case} had ended before");
        let since = Instant::now();
        let ended = child.wait_with_output().expect("it ends");
        assert!(since.elapsed() < Duration::from_secs(5), "{case}: {:?}", since.elapsed());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(4), "{case}: {said}");
        assert!(said.contains(words), "{case}: {said}");
        assert_no_temporaries(root);
    }
    for name in ["c", "drawn", "attacked/attack.json", "trained/policy.json"] {
        assert!(!root.join(name).exists(), "{name}");
    }
    assert!(root.join("trained/checkpoint.json").exists());
}
