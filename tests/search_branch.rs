//! Branch and bound decides the reference instances as the solvers of VNN-COMP do.

#[path = "search_data/files.rs"]
#[allow(dead_code)]
mod files;
#[path = "search_data/onnx.rs"]
mod onnx;

use std::time::{Duration, Instant};

use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown};
use secateur::float::float_to_rational;
use secateur::property::vnnlib::{Case, OutputConstraint, parse_vnnlib};
use secateur::search::branch::{
    BranchOptions, BranchOutcome, BranchProblem, BranchState, SplitRule, search_branch, search_minimum,
};
use secateur_checker::number::Rational;

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

fn rational(value: f64) -> Rational {
    float_to_rational(value).unwrap()
}

/// The question whether `sign * Y_output <= bound` is possible within `radius` of `center`.
fn range_case(center: &[f64], radius: f64, outputs: usize, output: usize, sign: i64, bound: f64) -> Case {
    let mut coefficients = vec![Rational::zero(); outputs];
    coefficients[output] = Rational::from_integer(sign.into());
    Case {
        lower: center.iter().map(|c| rational(c - radius)).collect(),
        upper: center.iter().map(|c| rational(c + radius)).collect(),
        constraints: vec![OutputConstraint { coefficients, bound: rational(bound) }],
    }
}

/// The exact mean width of network c at its first state and radius 0.05 is 0.182 (`../shared/reference/README.md`).
#[test]
fn the_exact_width_of_c_is_reached_by_either_rule() {
    let stem = "c_relu4x64x64x2";
    let (Some(network), Some(states)) = (files::network(stem, None), files::states(stem)) else { return };
    let region = FloatRegion::linf(states[0].clone(), 0.05);
    let crown = bound_crown(&network, &region, &mut CrownScratch::default()).output.mean_width();
    for rule in [SplitRule::Input, SplitRule::Relu] {
        let options = BranchOptions { rule, ..BranchOptions::default() };
        let (mut proved, mut attained) = (0.0, 0.0);
        for output in 0..2 {
            for sign in [1, -1] {
                let case = range_case(&states[0], 0.05, 2, output, sign, 0.0);
                let started = Instant::now();
                let least = search_minimum(&BranchProblem::new(&network, &case), 0.002 * crown, &options);
                println!("{rule:?} {output} {sign}: {} leaves, {:?}", least.tree.leaves(), started.elapsed());
                assert!(least.complete && least.bound <= least.attained);
                proved -= 0.5 * least.bound;
                attained -= 0.5 * least.attained;
            }
        }
        println!("{rule:?}: width between {attained} and {proved}, default slopes {crown}");
        assert!(attained <= proved && proved <= 1.01 * attained);
        assert!((0.1815..0.1825).contains(&attained), "{attained}");
    }
}
