//! Every target runs, answers differently to different inputs, and finds a fault that is there.

use secateur_fuzz::driver::fuzz;
use secateur_fuzz::targets::{TARGETS, Target};

#[test]
fn every_target_answers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for target in &TARGETS {
        let run = fuzz(target, 7, folder.path(), |inputs| inputs >= 150);
        assert!(run.found.is_empty(), "{}: {:?}", target.name, run.found);
        assert!(run.outcomes >= 2, "{}: only {} outcomes of {}", target.name, run.outcomes, run.inputs);
    }
}

/// What is committed is good, so that changing begins behind the first clauses; importers ask what some files leave open.
#[test]
fn first_inputs_are_accepted() {
    for target in &TARGETS {
        let first = if target.name == "import" { 1 } else { usize::MAX };
        for seed in (target.seeds)().iter().take(first) {
            assert_eq!((target.run)(seed), "accepted", "{}", target.name);
        }
    }
}

#[test]
fn a_fault_is_found_and_written_down() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let broken = Target {
        name: "broken",
        seeds: || vec![b"[1]".to_vec()],
        run: |bytes| {
            assert!(!bytes.contains(&b'{'), "a brace");
            "accepted".to_owned()
        },
    };
    let run = fuzz(&broken, 1, folder.path(), |inputs| inputs >= 10_000);
    assert!(!run.found.is_empty(), "no brace in ten thousand inputs");
    assert!(std::fs::read(&run.found[0]).expect("written").contains(&b'{'));
}
