//! Every target runs, answers differently to different inputs, and finds a fault that is there.

use secateur_fuzz::driver::fuzz;
use secateur_fuzz::seeds::{corpus, file_name, outcome_of, root};
use secateur_fuzz::targets::{TARGETS, Target};

#[test]
fn every_target_answers() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for target in &TARGETS {
        let run = fuzz(target, 7, folder.path(), |inputs| inputs >= 150);
        assert!(run.found.is_empty(), "{}: {:?}", target.name, run.found);
        let outcomes = run.outcomes.len();
        assert!(outcomes >= 2, "{}: only {outcomes} outcomes of {}", target.name, run.inputs);
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

/// Where a change renames a refusal on purpose, `secateur-fuzz --corpus` names the inputs again.
#[test]
fn committed_inputs_give_the_outcomes_in_their_names() {
    let mut size = 0;
    for target in &TARGETS {
        let inputs = corpus(target.name);
        let accepted = inputs.iter().any(|(name, _)| outcome_of(name) == "accepted");
        assert!(
            accepted && inputs.len() >= 2,
            "{}: {} inputs, accepted: {accepted}",
            target.name,
            inputs.len()
        );
        for (name, input) in inputs {
            assert_eq!(file_name(&(target.run)(&input)), outcome_of(&name), "{}/{name}", target.name);
            size += input.len();
        }
    }
    assert!(size <= 400 << 10, "{size} bytes: a corpus is cloned by everyone");
    for folder in std::fs::read_dir(root().join("fuzz/corpus")).expect("a folder") {
        let name = folder.expect("an entry").file_name();
        assert!(TARGETS.iter().any(|target| target.name == name), "no target is called {name:?}");
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
