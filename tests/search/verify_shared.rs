//! The reference instances of `../shared/reference/vnnlib`, from network and property files to a verdict that the checker
//! accepted. Skipped, with a word, where that folder is not there.

use std::path::Path;

use secateur::certify::keys::Key;
use secateur::cli::command::verify::question;
use secateur::search::branch::BranchOptions;
use secateur::verify::{Answer, SearchState, verify};

#[test]
fn every_reference_instance_gets_the_expected_verdict_from_the_checker() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/vnnlib");
    let Ok(expected) = std::fs::read_to_string(folder.join("expected.csv")) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut decided = 0;
    for line in expected.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let [network, property, verdict] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line:?} has three fields");
        };
        let asked = question(&folder.join(network), &folder.join(property)).expect("a question");
        let key = Key::from_seed([3; 32]);
        let answer = verify(&asked, &BranchOptions::default(), SearchState::default(), &key, "p", &|| false);
        // `verify` hands out a verdict only after the checker has accepted its evidence.
        let Answer::Decided { decided: found, proof, .. } = answer.expect("an answer") else {
            panic!("{property}: unknown");
        };
        assert_eq!((found.word(), proof.is_some()), (verdict, verdict == "unsat"), "{property}");
        decided += 1;
    }
    assert_eq!(decided, 18);
}
