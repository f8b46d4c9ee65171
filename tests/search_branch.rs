//! Branch and bound decides the reference instances as the solvers of VNN-COMP do.

#[path = "search_data/files.rs"]
#[allow(dead_code)]
mod files;
#[path = "search_data/onnx.rs"]
mod onnx;

use std::time::{Duration, Instant};

use secateur::property::vnnlib::parse_vnnlib;
use secateur::search::branch::{BranchOptions, BranchOutcome, BranchProblem, BranchState, search_branch};

#[test]
fn the_reference_instances_are_decided_as_expected() {
    let Some(folder) = files::reference().map(|f| f.join("vnnlib")) else { return };
    let expected = std::fs::read_to_string(folder.join("expected.csv")).unwrap();
    let mut times = Vec::new();
    for line in expected.lines().skip(1) {
        let [network, property, verdict] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let network = onnx::network(&std::fs::read(folder.join(network)).unwrap());
        let started = Instant::now();
        let text = std::fs::read_to_string(folder.join(property)).unwrap();
        let parsed = parse_vnnlib(&text).unwrap();
        assert_eq!((parsed.inputs, parsed.outputs), (network.inputs(), network.outputs()));
        let mut found = "unsat";
        let mut nodes = 0;
        for case in &parsed.cases {
            let problem = BranchProblem::new(&network, case);
            let mut state = BranchState::default();
            let options = BranchOptions { max_steps: 200_000, ..BranchOptions::default() };
            match search_branch(&problem, &options, &mut state) {
                BranchOutcome::Verified(tree) => nodes += tree.nodes.len(),
                BranchOutcome::Falsified(_) => found = "sat",
                BranchOutcome::Unknown { best_bound } => panic!("{property}: unknown at {best_bound}"),
            }
        }
        println!("{property}: {found}, {nodes} nodes, {:?}", started.elapsed());
        assert_eq!(found, verdict, "{property}");
        times.push(started.elapsed());
    }
    times.sort();
    assert_eq!(times.len(), 18);
    println!("median {:?}, longest {:?}", times[9], times[17]);
    assert!(times[17] < Duration::from_secs(30) || cfg!(debug_assertions));
}
