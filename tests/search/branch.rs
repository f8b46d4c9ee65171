//! Branch and bound decides the reference instances as the solvers of VNN-COMP do.

use secateur_testkit::reference;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown};
use secateur::float::float_to_rational;
use secateur::property::vnnlib::{Case, OutputConstraint, parse_vnnlib};
use secateur::search::branch::tree::{SplitLeaf, SplitNode, SplitTree};
use secateur::search::branch::{
    BranchOptions, BranchOutcome, BranchProblem, BranchState, SplitRule, search_branch, search_minimum,
};
use secateur_checker::number::Rational;

#[test]
fn the_reference_instances_are_decided_as_expected() {
    let Some(folder) = reference::reference().map(|f| f.join("vnnlib")) else { return };
    let expected = std::fs::read_to_string(folder.join("expected.csv")).unwrap();
    let mut times = Vec::new();
    for line in expected.lines().skip(1) {
        let [network, property, verdict] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let network = super::onnx::network(&std::fs::read(folder.join(network)).unwrap());
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
    let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
        return;
    };
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

fn lunarlander(property: &str) -> Option<(secateur::float::FloatNetwork, Case)> {
    let folder = reference::reference()?.join("vnnlib");
    let network = super::onnx::network(&std::fs::read(folder.join("lunarlander.onnx")).unwrap());
    let text = std::fs::read_to_string(folder.join(property)).unwrap();
    Some((network, parse_vnnlib(&text).unwrap().cases.remove(0)))
}

fn verified(problem: &BranchProblem<'_>, options: &BranchOptions) -> SplitTree {
    match search_branch(problem, options, &mut BranchState::default()) {
        BranchOutcome::Verified(tree) => tree,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_search_written_down_and_taken_up_again_ends_in_the_same_tree() {
    let Some((network, case)) = lunarlander("lunarlander_case_safe_12.vnnlib") else { return };
    let problem = BranchProblem::new(&network, &case);
    let whole = verified(&problem, &BranchOptions::default());
    let mut state = BranchState::default();
    let (mut max_steps, mut bounds) = (0, Vec::new());
    let again = loop {
        max_steps += 1;
        let options = BranchOptions { max_steps, ..BranchOptions::default() };
        match search_branch(&problem, &options, &mut state) {
            BranchOutcome::Verified(tree) => break tree,
            BranchOutcome::Unknown { best_bound } => bounds.push(best_bound),
            other => panic!("{other:?}"),
        }
        state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    };
    assert_eq!(whole, again);
    assert!(bounds.len() > 3 && bounds.windows(2).all(|w| w[0] <= w[1]), "{bounds:?}");
}

#[test]
fn the_tree_does_not_depend_on_the_number_of_threads() {
    let Some((network, case)) = lunarlander("lunarlander_case_safe_17.vnnlib") else { return };
    let problem = BranchProblem::new(&network, &case);
    let trees = [1, 2, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| verified(&problem, &BranchOptions::default()))
    });
    assert!(trees.iter().all(|t| *t == trees[0] && t.leaves() > 5));
}

/// Every point of the box lies in a leaf, and the constraint that the leaf names is positive there.
#[test]
fn leaves_cover_the_box_and_say_the_truth_at_sampled_points() {
    let Some((network, case)) = lunarlander("lunarlander_case_safe_12.vnnlib") else { return };
    let floats = |side: &[Rational]| side.iter().map(secateur::float::rational_to_float).collect::<Vec<_>>();
    let (lower, upper) = (floats(&case.lower), floats(&case.upper));
    let problem = BranchProblem::new(&network, &case);
    for rule in [SplitRule::Input, SplitRule::Relu] {
        let tree = verified(&problem, &BranchOptions { rule, ..BranchOptions::default() });
        let mut seed = 1u64;
        for _ in 0..2000 {
            let x: Vec<f64> = lower
                .iter()
                .zip(&upper)
                .map(|(l, u)| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    l + (seed >> 11) as f64 / (1u64 << 53) as f64 * (u - l)
                })
                .collect();
            let mut node = 0;
            let leaf = loop {
                node =
                    match &tree.nodes[node] {
                        SplitNode::Leaf(leaf) => break leaf,
                        SplitNode::Open => panic!("an open leaf in a finished tree"),
                        SplitNode::Input { coordinate, at, below, above } => {
                            if x[*coordinate as usize] <= *at { *below } else { *above }
                        }
                        SplitNode::Relu { layer, neuron, positive, negative } => {
                            if pre_activation(&network, &x, *layer, *neuron) >= 0.0 {
                                *positive
                            } else {
                                *negative
                            }
                        }
                    };
            };
            let SplitLeaf::Constraint { constraint, slopes } = leaf else {
                panic!("{x:?} lies in an empty leaf")
            };
            // So few inputs are cut until default slopes do.
            assert!(slopes.is_none() || rule == SplitRule::Relu || tree.nodes.len() == 1);
            let constraint = &case.constraints[*constraint as usize];
            let terms = floats(&constraint.coefficients);
            let value: f64 = terms.iter().zip(network.forward(&x)).map(|(c, y)| c * y).sum();
            assert!(value > secateur::float::rational_to_float(&constraint.bound), "{rule:?} {x:?}");
        }
    }
}

fn pre_activation(network: &secateur::float::FloatNetwork, x: &[f64], layer: u32, neuron: u32) -> f64 {
    let (mut post, mut pre) = (x.to_vec(), Vec::new());
    for l in &network.layers[..=layer as usize] {
        l.affine(&post, &mut pre);
        post = pre.iter().map(|z| l.activation.apply(*z)).collect();
    }
    pre[neuron as usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whether the first output can be at most a bound somewhere between its least and its middle value: a proof agrees
    /// with every sampled point, and a counterexample is one.
    #[test]
    fn verdicts_on_random_networks_are_true(
        network in super::random::networks(),
        center in super::random::numbers(5),
        share in -0.5..1.0f64,
        by_relu in any::<bool>(),
        samples in prop::collection::vec(prop::collection::vec(-1.0..=1.0f64, 5), 200),
    ) {
        let center = center[..network.inputs()].to_vec();
        let point = |d: &Vec<f64>| center.iter().zip(d).map(|(c, d)| c + 0.2 * d).collect::<Vec<f64>>();
        let values: Vec<f64> = samples.iter().map(|d| network.forward(&point(d))[0]).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let middle = network.forward(&center)[0];
        let case = range_case(&center, 0.2, network.outputs(), 0, 1, least + share * (middle - least));
        let bound = secateur::float::rational_to_float(&case.constraints[0].bound);
        let problem = BranchProblem::new(&network, &case);
        let rule = if by_relu { SplitRule::Relu } else { SplitRule::Input };
        let options = BranchOptions { rule, max_steps: 400, ..BranchOptions::default() };
        match search_branch(&problem, &options, &mut BranchState::default()) {
            BranchOutcome::Verified(_) => prop_assert!(values.iter().all(|v| *v > bound)),
            BranchOutcome::Falsified(x) => {
                let x: Vec<f64> = x.iter().map(secateur::float::rational_to_float).collect();
                prop_assert!(network.forward(&x)[0] <= bound + 1e-12 * (1.0 + bound.abs()));
            }
            BranchOutcome::Unknown { best_bound } => prop_assert!(best_bound <= 1e-5),
        }
    }
}
