//! Regions whose signs contradict each other in sum: found by the search, accepted by the checker as leaves of their own
//! (properties) or as multiples of their multipliers (policies), and proving nothing false when changed.

use secateur::certify::keys::Key;
use secateur::float::{FloatNetwork, float_to_rational, rational_to_float};
use secateur::policy::ActivationSpec;
use secateur::policy::emit::{emit_manifest, emit_tensors};
use secateur::property::vnnlib::{Case, OutputConstraint, parse_vnnlib};
use secateur::search::branch::range::search_range;
use secateur::search::branch::tree::{SplitLeaf, SplitNode, SplitTree};
use secateur::search::branch::{
    BranchOptions, BranchOutcome, BranchProblem, BranchState, SplitRule, search_branch, search_minimum,
};
use secateur::verify::{Answer, Question, SearchState, verify};
use secateur_checker::kernel::branch::bound_tree;
use secateur_checker::kernel::grid::{GridNetwork, GridScale};
use secateur_checker::kernel::input::InputSet;
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::kernel::relax::SlopeChoice;
use secateur_checker::kernel::split::{LeafWitness, Node, check_sat};
use secateur_checker::number::Rational;
use secateur_checker::property::prepare;
use secateur_checker::reader::property::parse_proof;
use secateur_checker::reader::trees::Trees;
use secateur_checker::tables::tanh_table;
use secateur_testkit::problem::{Spec, random_policy};
use secateur_testkit::proof::check_unsat;
use secateur_testkit::reference;

fn rational(value: f64) -> Rational {
    float_to_rational(value).expect("finite")
}

fn by_signs(contradictions: bool) -> BranchOptions {
    BranchOptions { rule: SplitRule::Relu, contradictions, max_steps: 5_000, ..BranchOptions::default() }
}

/// Whether the first output can be at most `bound` in the box of radius `radius` around 0.
fn case(inputs: usize, outputs: usize, radius: f64, bound: f64) -> Case {
    let mut coefficients = vec![Rational::zero(); outputs];
    coefficients[0] = Rational::one();
    Case {
        lower: vec![rational(-radius); inputs],
        upper: vec![rational(radius); inputs],
        constraints: vec![OutputConstraint { coefficients, bound: rational(bound) }],
    }
}

/// A random ReLU network 4-8-8-2 and the question whether it can go a little lower than the lowest it goes, with the point
/// where it does.
struct Asked {
    question: Question,
    network: FloatNetwork,
    lowest: Vec<f64>,
}

const RADIUS: f64 = 0.5;

fn asked(seed: u64) -> Asked {
    let spec = Spec {
        widths: vec![4, 8, 8, 2],
        activation: ActivationSpec::Relu,
        gaussian: false,
        ..Spec::small(seed)
    };
    let policy = random_policy(&spec);
    let ask = |case: Case| {
        Question::new(emit_manifest(&policy), emit_tensors(&policy), &[case], Vec::new()).expect("a question")
    };
    let rough = ask(case(4, 2, RADIUS, 0.0));
    let network = FloatNetwork::from_model(&rough.policy.network, None).expect("floats");
    let least =
        search_minimum(&BranchProblem::new(&network, &rough.cases[0]), 0.05, &BranchOptions::default());
    assert!(least.complete);
    let question = ask(case(4, 2, RADIUS, least.attained - 0.1));
    Asked { question, network, lowest: least.point }
}

impl Asked {
    /// The tree of signs; `None` if the steps do not suffice.
    fn tree(&self, contradictions: bool) -> Option<SplitTree> {
        let problem = BranchProblem::new(&self.network, &self.question.cases[0]);
        match search_branch(&problem, &by_signs(contradictions), &mut BranchState::default()) {
            BranchOutcome::Verified(tree) => Some(tree),
            BranchOutcome::Unknown { .. } => None,
            BranchOutcome::Falsified(point) => panic!("{point:?}"),
        }
    }

    /// The proof that `verify` hands out, which the checker has accepted.
    fn proof(&self) -> Vec<Node> {
        let key = Key::from_seed([9; 32]);
        let answer = verify(&self.question, &by_signs(true), SearchState::default(), &key, "p", &|| false);
        let Answer::Decided { proof: Some(proof), .. } = answer.expect("an answer") else {
            panic!("the case is unsat");
        };
        let proof = parse_proof(&proof).expect("a proof");
        let tree = proof.trees().expect("trees").remove(0);
        (0..tree.children.len()).map(|index| tree.node(index).expect("a node").1).collect()
    }
}

/// How many leaves are empty regions by multipliers.
fn contradicted(tree: &SplitTree) -> usize {
    let leaf = |n: &&SplitNode| matches!(n, SplitNode::Leaf(SplitLeaf::Farkas { .. }));
    tree.nodes.iter().filter(leaf).count()
}

/// A seed whose proof has several contradictions.
const FRUITFUL: u64 = 2;

const SEEDS: std::ops::Range<u64> = 1..8;

/// Over random networks no tree is larger where contradictions are looked for, most are smaller, some by far; the checker
/// accepts a proof with such leaves.
#[test]
fn trees_are_smaller_where_contradictions_are_seen() {
    let (mut smaller, mut by_far) = (0, 0);
    for seed in SEEDS {
        let asked = asked(seed);
        let seeing = asked.tree(true).expect("decided");
        let blind = asked.tree(false).expect("decided");
        println!("{seed}: {} {} {}", blind.nodes.len(), seeing.nodes.len(), contradicted(&seeing));
        assert!(contradicted(&blind) == 0 && seeing.nodes.len() <= blind.nodes.len());
        smaller += usize::from(seeing.nodes.len() < blind.nodes.len());
        by_far += usize::from(3 * seeing.nodes.len() < blind.nodes.len());
        let proof = asked.proof();
        let leaves = proof.iter().filter(|n| matches!(n, Node::Farkas { .. })).count();
        assert_eq!((proof.len(), leaves), (seeing.nodes.len(), contradicted(&seeing)));
    }
    println!("{smaller} smaller, {by_far} of them by far");
    assert!(smaller > 2 && by_far > 0);
}

/// Every leaf of a contradiction with one number changed, taken to another leaf or to all, or turned into a leaf of the
/// constraint: the tree proves nothing of a case that a point satisfies.
#[test]
fn changed_contradictions_prove_nothing_false() {
    let (asked, table) = (asked(FRUITFUL), tanh_table().unwrap());
    let case = &asked.question.cases[0];
    let grid = prepare(&asked.question.policy, &asked.question.stated);
    let grid = grid.expect("a grid");
    let proof = asked.proof();
    assert_eq!(check_unsat(&grid, table, case, &proof, &mut |_| {}), Ok(()));
    let mut attained = case.clone();
    attained.constraints[0].bound = rational(asked.network.forward(&asked.lowest)[0] + 1e-6);
    let point: Vec<Rational> = asked.lowest.iter().map(|x| rational(*x)).collect();
    assert_eq!(check_sat(&grid, table, &attained, &point), Ok(()));
    let leaves: Vec<usize> = (0..proof.len()).filter(|n| is_leaf(&proof[*n])).collect();
    let (mut tried, mut refused) = (0, 0);
    for (place, node) in proof.iter().enumerate() {
        let Node::Farkas { witness } = node else { continue };
        let mut put = |at: usize, node: Node| {
            let mut changed = proof.clone();
            // The point lies in some leaf, so that all of them at once must not be refuted either.
            leaves.iter().for_each(|leaf| changed[*leaf] = node.clone());
            assert!(check_unsat(&grid, table, &attained, &changed, &mut |_| {}).is_err(), "everywhere");
            changed.clone_from(&proof);
            changed[at] = node;
            tried += 1;
            // What is still accepted is true: the case has no answer.
            refused += usize::from(check_unsat(&grid, table, case, &changed, &mut |_| {}).is_err());
            assert!(check_unsat(&grid, table, &attained, &changed, &mut |_| {}).is_err(), "node {at}");
        };
        for changed in changes(witness) {
            put(place, Node::Farkas { witness: changed });
        }
        put(place, Node::Leaf { constraint: 0, witness: Some(witness.clone()) });
        put(place, Node::Empty);
        for other in &leaves {
            put(*other, Node::Farkas { witness: witness.clone() });
        }
    }
    println!("{tried} changes, {refused} refused");
    assert!(tried > 200 && refused > tried / 4, "{tried} {refused}");
}

fn is_leaf(node: &Node) -> bool {
    matches!(node, Node::Leaf { .. } | Node::Empty | Node::Farkas { .. })
}

/// The witness with one multiplier or slope at another value.
fn changes(witness: &LeafWitness) -> Vec<LeafWitness> {
    let mut found = vec![LeafWitness::default()];
    for (layer, row) in witness.multipliers.iter().enumerate() {
        for (neuron, old) in row.iter().enumerate() {
            for value in [0, -1, -65_536, 2 * old, old / 2, 1 << 40, i64::MAX, i64::MIN] {
                let mut changed = witness.clone();
                changed.multipliers[layer][neuron] = value;
                found.push(changed);
            }
        }
    }
    for (layer, row) in witness.slopes.iter().enumerate() {
        for (neuron, slope) in row.iter().enumerate() {
            for value in [0, -(1 << 24), 1 << 24, 1 << 23] {
                let mut changed = witness.clone();
                changed.slopes[layer][neuron] = SlopeChoice { lower: Some(value), ..*slope };
                found.push(changed);
            }
        }
    }
    found
}

/// The trees of a policy: within the same steps their bounds are better in sum where contradictions are looked for, and the
/// checker's rule gives the bounds that the search expects.
#[test]
fn policies_gain_by_multiples_of_contradictions() {
    let (mut sums, mut steps) = ([0.0; 2], [0; 2]);
    for seed in SEEDS {
        let asked = asked(seed);
        let problem = BranchProblem::new(&asked.network, &asked.question.cases[0]);
        for (index, contradictions) in [false, true].into_iter().enumerate() {
            let options = BranchOptions { max_steps: 121, ..by_signs(contradictions) };
            let found = search_range(&problem, &options, &|| false);
            let checked = checked_bound(&asked, &found.bytes);
            // The tree bounds the first output less the case's right-hand side from below.
            let stated = found.bound + rational_to_float(&asked.question.cases[0].constraints[0].bound);
            assert!(checked > stated - 1e-6 * (1.0 + stated.abs()), "{seed}: {checked} {stated}");
            let truth = asked.network.forward(&asked.lowest)[0];
            assert!(checked <= truth + 1e-9, "{seed}: {checked} {truth}");
            sums[index] += truth - checked;
            steps[index] += found.steps;
        }
    }
    println!("short of the least values by {sums:?} in {steps:?} steps");
    assert!(sums[1] < 0.9 * sums[0] && steps[1] <= steps[0]);
}

/// The least value of the first output that the checker reads off a tree.
fn checked_bound(asked: &Asked, bytes: &[u8]) -> f64 {
    let network = &asked.question.policy.network;
    let scale = GridScale::new(network, &Rational::one()).expect("a scale");
    let grid = GridNetwork::new(network, None, &scale).expect("on the grid");
    let mut trees = Trees::new(bytes);
    trees.begin();
    let unit = 2f64.powi(grid.value_bits as i32);
    let end = |sign: f64| vec![(sign * RADIUS * unit) as i64; asked.network.inputs()];
    let region = GridBox::from_intervals(end(-1.0).into_iter().zip(end(1.0)));
    let input = InputSet { region, center: GridBox::default(), radii: Vec::new(), ball: None };
    let mut next = |_| trees.node(&grid);
    let bound = bound_tree(&grid, tanh_table().unwrap(), &input, &[-1, 0], &mut next).expect("a bound");
    -(bound as f64) / unit
}

/// Nodes, contradicted leaves and time of one search.
fn measured(
    network: &FloatNetwork,
    cases: &[Case],
    rule: SplitRule,
    contradictions: bool,
) -> (usize, usize, f64, bool) {
    let started = std::time::Instant::now();
    let (mut nodes, mut leaves, mut done) = (0, 0, true);
    for case in cases {
        let problem = BranchProblem::new(network, case);
        let options = BranchOptions { rule, contradictions, max_steps: 20_000, ..BranchOptions::default() };
        match search_branch(&problem, &options, &mut BranchState::default()) {
            BranchOutcome::Verified(tree) => {
                nodes += tree.nodes.len();
                leaves += contradicted(&tree);
            }
            BranchOutcome::Falsified(_) => {}
            BranchOutcome::Unknown { .. } => done = false,
        }
    }
    (nodes, leaves, started.elapsed().as_secs_f64(), done)
}

/// What looking for contradictions saves and costs: `cargo test --release --test search contradictions -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn measure_contradictions() {
    let folder = reference::reference().expect("the reference folder").join("vnnlib");
    let expected = std::fs::read_to_string(folder.join("expected.csv")).expect("read");
    for line in expected.lines().skip(1) {
        let [network, property, _] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let network = super::onnx::network(&std::fs::read(folder.join(network)).expect("read"));
        let text = std::fs::read_to_string(folder.join(property)).expect("read");
        let cases = parse_vnnlib(&text).expect("a property").cases;
        for rule in [SplitRule::Auto, SplitRule::Relu] {
            let both = [false, true].map(|seen| measured(&network, &cases, rule, seen));
            println!("{property} {rule:?}: {both:?}");
        }
    }
    let stem = "c_relu4x64x64x2";
    let (network, states) = reference::network(stem, None).zip(reference::states(stem)).expect("network c");
    for output in 0..2 {
        for sign in [1, -1] {
            let mut coefficients = vec![Rational::zero(); 2];
            coefficients[output] = Rational::from_integer(sign.into());
            let case = Case {
                lower: states[0].iter().map(|c| rational(c - 0.05)).collect(),
                upper: states[0].iter().map(|c| rational(c + 0.05)).collect(),
                constraints: vec![OutputConstraint { coefficients, bound: Rational::zero() }],
            };
            for rule in [SplitRule::Auto, SplitRule::Relu] {
                let both = [false, true].map(|contradictions| {
                    let started = std::time::Instant::now();
                    let options = BranchOptions { rule, contradictions, ..BranchOptions::default() };
                    let found = search_minimum(&BranchProblem::new(&network, &case), 1e-4, &options);
                    assert!(found.complete);
                    (found.tree.nodes.len(), contradicted(&found.tree), started.elapsed().as_secs_f64())
                });
                println!("c {output} {sign} {rule:?}: {both:?}");
            }
        }
    }
    for seed in SEEDS {
        let asked = asked(seed);
        let both = [false, true].map(|s| measured(&asked.network, &asked.question.cases, SplitRule::Relu, s));
        println!("random {seed}: {both:?}");
    }
}
