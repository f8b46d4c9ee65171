//! Hostile input that is too large, or too strange, to commit; the rest is in `certificates/rejected`.

use secateur::certify::base64;
use secateur_checker::family::Family;
use secateur_checker::load::{Failure, FileProblem};
use secateur_checker::reader::dsse::MAX_ENVELOPE;
use secateur_testkit::problem::{Problem, Spec, key};
use secateur_testkit::programs::{CHECK, check_both, secateur};
use tempfile::TempDir;

fn certified() -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(3));
    problem.certify_to_disk(&[Family::Sensitivity], &key(1));
    (folder, problem)
}

/// One byte above the cap is a limit, and not read; at the cap only the JSON is wrong.
#[test]
fn an_envelope_above_the_cap() {
    let (folder, problem) = certified();
    let write = |size: usize| {
        std::fs::write(problem.certificate_file(), vec![b'['; size]).expect("written");
        let Err(Failure::File { problem: found, .. }) = problem.check() else { panic!("no envelope") };
        (found, check_both(folder.path(), &CHECK).code)
    };
    let (within, code) = write(MAX_ENVELOPE);
    assert!(matches!(&within, FileProblem::Clause(clause) if clause.code() == "too-deep"), "{within}");
    assert_eq!(code, 2);
    let (above, code) = write(MAX_ENVELOPE + 1);
    assert!(matches!(above, FileProblem::TooLarge { cap: MAX_ENVELOPE }), "{above}");
    assert_eq!(code, 4);
}

/// Each input of a check in turn: a pipe that nobody writes into, a device without an end, a folder.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_by_name() {
    use std::os::unix::fs::symlink;
    let (folder, problem) = certified();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mask = secateur::policy::emit::mask_file_name(0);
    let files =
        ["policy/policy.json", "policy/policy.safetensors", "masks/chain.json", "states.npy", "trust.json"];
    let mut files: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
    files.extend([format!("masks/{mask}"), "c.cert.dsse.json".to_owned()]);
    for file in files {
        let path = folder.path().join(&file);
        let whole = std::fs::read(&path).expect("read");
        for (other, word) in [("pipe", "a pipe"), ("/dev/zero", "a device"), ("policy", "a folder")] {
            std::fs::remove_file(&path).expect("removed");
            symlink(folder.path().join(other), &path).expect("linked");
            let ran = check_both(folder.path(), &CHECK);
            assert_eq!(ran.code, 2, "{file}, {other}: {ran:?}");
            assert!(ran.stderr.contains(&file) && ran.stderr.contains(word), "{file}, {other}: {ran:?}");
        }
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, whole).expect("written");
    }
    problem.check().expect("the original is accepted");
    let mut arguments = CHECK;
    arguments[0] = "pipe";
    let ran = check_both(folder.path(), &arguments);
    assert!(ran.code == 2 && ran.stderr.contains("it is not a folder"), "{ran:?}");
}

/// Every command that reads a file says of a pipe that it is one, and waits for nobody.
#[cfg(unix)]
#[test]
fn no_command_waits_for_a_pipe() {
    let (folder, _problem) = certified();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let certify = ["certify", "policy", "--epsilon", "0", "--out", "new.json"];
    let with = |more: &[&'static str]| [&certify[..], more].concat();
    let commands: Vec<Vec<&str>> = vec![
        vec!["show", "pipe"],
        vec!["report", "pipe"],
        vec!["report", "--unsigned", "--list", "pipe"],
        vec!["import", "pipe", "--out", "new"],
        vec!["verify", "pipe", "pipe"],
        vec!["verify", "policy", "pipe"],
        vec!["decompose", "pipe"],
        vec!["sa-mdp", "pipe"],
        vec!["sweep", "pipe", "--out", "new"],
        vec!["train", "--config", "pipe", "--out", "new"],
        vec![
            "prune",
            "policy",
            "--method",
            "saliency",
            "--scores",
            "pipe",
            "--sparsity",
            "0.5",
            "--out",
            "new",
        ],
        with(&["--states", "pipe", "--key", "pipe"]),
        with(&["--states", "states.npy", "--key", "pipe", "--region", "pipe"]),
        with(&["--states", "states.npy", "--key", "pipe"]),
    ];
    for arguments in commands {
        let mut child = secateur(folder.path())
            .arg("--quiet")
            .args(&arguments)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        let started = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a status") {
                break status;
            }
            if started.elapsed().as_secs() > 60 {
                child.kill().expect("killed");
                panic!("{arguments:?} waits");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut said).expect("text");
        assert!(status.code() == Some(2) && said.contains("it is a pipe"), "{arguments:?}: {said}");
    }
}

/// A few characters that stand for thousands of digits, as radii: 70,000 are more than any policy has inputs, 10,000 have
/// too many digits. Both are limits, at once.
#[test]
fn radii_are_counted_before_they_are_read() {
    let (folder, problem) = certified();
    let whole = std::fs::read_to_string(problem.certificate_file()).expect("read");
    let payload =
        secateur_checker::reader::dsse::parse_envelope(whole.as_bytes()).expect("an envelope").payload;
    let text = String::from_utf8(payload.clone()).expect("text");
    let (before, rest) = text.split_once(r#""perturbation":{"#).expect("a set");
    let (_, after) = rest.split_once('}').expect("its end");
    let mut arguments = CHECK.to_vec();
    arguments.splice(5..7, ["--unsigned"]);
    assert_eq!(check_both(folder.path(), &arguments).code, 0, "accepted as made");
    for (count, reason) in [(70_000, "more than 65536 entries"), (10_000, "digits")] {
        let radii = vec![r#""7e-4096""#; count].join(",");
        let set =
            format!(r#""perturbation":{{"radii":[{radii}],"shape":"per-coordinate","units":"normalised"}}"#);
        let hostile = base64::encode(format!("{before}{set}{after}").as_bytes());
        let envelope = whole.replace(&base64::encode(&payload), &hostile);
        std::fs::write(problem.certificate_file(), envelope).expect("written");
        let started = std::time::Instant::now();
        let ran = check_both(folder.path(), &arguments);
        assert!(ran.code == 4 && ran.stderr.contains(reason), "{ran:?}");
        assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    }
}

/// Every prefix of a small certificate, and the certificate with every byte changed in turn: an error each time,
/// never a panic, never accepted.
#[test]
fn no_prefix_and_no_changed_byte_is_accepted() {
    let (_folder, problem) = certified();
    let whole = std::fs::read(problem.certificate_file()).expect("read");
    let step = whole.len() / 400 + 1;
    for at in (0..whole.len()).step_by(step) {
        std::fs::write(problem.certificate_file(), &whole[..at]).expect("written");
        assert_eq!(problem.check().expect_err("a prefix").exit_code(), 2, "prefix of {at} bytes");
        let mut changed = whole.clone();
        changed[at] ^= 0x15;
        std::fs::write(problem.certificate_file(), &changed).expect("written");
        assert!(problem.check().is_err(), "byte {at}");
    }
}

/// Every byte of the other files in turn: the digest differs, or the file no longer parses.
#[test]
fn no_changed_byte_of_another_file_is_accepted() {
    let (folder, problem) = certified();
    for file in ["policy/policy.json", "policy/policy.safetensors", "masks/chain.json", "states.npy"] {
        let path = folder.path().join(file);
        let whole = std::fs::read(&path).expect("read");
        for at in (0..whole.len()).step_by(whole.len() / 150 + 1) {
            let mut changed = whole.clone();
            changed[at] ^= 0x15;
            std::fs::write(&path, &changed).expect("written");
            let failure = problem.check().expect_err("a changed byte");
            assert!(matches!(failure.exit_code(), 2 | 3), "{file}, byte {at}: {failure}");
        }
        std::fs::write(&path, &whole).expect("written");
    }
    problem.check().expect("the original is accepted");
}
