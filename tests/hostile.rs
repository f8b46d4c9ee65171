//! Hostile input that is too large, or too strange, to commit; the rest is in `certificates/rejected`.

#[path = "support/problem.rs"]
mod problem;
#[path = "support/programs.rs"]
mod programs;

use problem::{Problem, Spec, key};
use programs::{CHECK, check_both};
use secateur_checker::family::Family;
use secateur_checker::load::{Failure, FileProblem};
use secateur_checker::reader::dsse::{DsseError, MAX_ENVELOPE};
use secateur_checker::reader::json::JsonError;
use tempfile::TempDir;

fn certified() -> (TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec::small(3));
    problem.certify_to_disk(&[Family::Sensitivity], &key(1));
    (folder, problem)
}

/// One byte above the cap; at the cap only the JSON is wrong.
#[test]
fn an_envelope_above_the_cap() {
    let (folder, problem) = certified();
    for (size, above) in [(MAX_ENVELOPE, false), (MAX_ENVELOPE + 1, true)] {
        std::fs::write(problem.certificate_file(), vec![b'['; size]).expect("written");
        let Err(Failure::File { problem: FileProblem::Envelope(DsseError::Json(error)), .. }) =
            problem.check()
        else {
            panic!("{size} bytes are no envelope")
        };
        match error {
            JsonError::TooLarge { size: found, cap } => {
                assert!(above);
                assert_eq!((found, cap), (size, MAX_ENVELOPE));
            }
            JsonError::TooDeep { .. } => assert!(!above),
            other => panic!("{other:?}"),
        }
        assert_eq!(check_both(folder.path(), &CHECK).code, 2);
    }
}

/// A file without an end is read up to the cap only, and reported as a limit.
#[cfg(unix)]
#[test]
fn an_endless_file_is_a_limit() {
    let (folder, problem) = certified();
    std::fs::remove_file(problem.states_file()).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", problem.states_file()).expect("linked");
    let ran = check_both(folder.path(), &CHECK);
    assert_eq!(ran.code, 4, "{ran:?}");
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
