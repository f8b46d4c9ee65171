//! Proofs of properties with one thing changed: whatever a tree says, it proves nothing false. Each changed tree is put before
//! the property it was made for and before one that a point is known to satisfy, which no tree may refute. Multipliers of any sign
//! are put before a small box around such a point, where most ReLUs keep their sign: there a negative one would prove anything.

use std::path::Path;

use proptest::prelude::*;
use secateur::certify::keys::Key;
use secateur::cli::command::verify::question;
use secateur::search::branch::{AUTO_INPUTS, BranchOptions, SplitRule};
use secateur::verify::{Answer, Question, SearchState, verify};
use secateur_checker::kernel::crown::RowWitness;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::grid::GridNetwork;
use secateur_checker::kernel::relax::SlopeChoice;
use secateur_checker::kernel::split::{Case, Kept, LeafWitness, Node, check_sat};
use secateur_checker::number::Rational;
use secateur_checker::property::prepare;
use secateur_checker::reader::property::{ProofTree, parse_proof};
use secateur_checker::tables::tanh_table;
use secateur_testkit::proof::{check_unsat, check_unsat_from};

/// A network, the cases it was proved to have no answer to, their trees, and the same cases with a right-hand side at which
/// a point satisfies them.
struct Proved {
    grid: GridNetwork,
    cases: Vec<Case>,
    trees: Vec<Vec<Node>>,
    attained: Vec<Case>,
    /// `attained` over a 64th of the box, around the point.
    near: Vec<Case>,
    /// Rows for the bounds that leaves go on from.
    rows: Option<Vec<Vec<[RowWitness; 2]>>>,
}

/// With leaves of their own bounds, whatever the number of inputs.
fn proved(network: &str, property: &str) -> Proved {
    proved_by(network, property, false)
}

/// With `kept`, leaves may go on from bounds of the whole box.
fn proved_by(network: &str, property: &str, kept: bool) -> Proved {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/properties");
    let asked: Question = question(&fixtures.join(network), &fixtures.join(property)).expect("a question");
    let key = Key::from_seed([7; 32]);
    let many = asked.policy.network.inputs() > AUTO_INPUTS;
    let rule = if many && !kept { SplitRule::Relu } else { SplitRule::Auto };
    let options = BranchOptions { rule, ..BranchOptions::default() };
    let answer = verify(&asked, &options, SearchState::default(), &key, "p", &|| false);
    let Answer::Decided { proof: Some(proof), .. } = answer.expect("an answer") else {
        panic!("{property} is unsat");
    };
    let proof = parse_proof(&proof).expect("a proof");
    let nodes = |t: &ProofTree<'_>| (0..t.children.len()).map(|i| t.node(i).expect("a node").1).collect();
    let trees = proof.trees().expect("trees").iter().map(nodes).collect();
    let grid = prepare(&asked.policy, &asked.stated).expect("a grid");
    let (attained, near) = asked.cases.iter().map(|case| attained(&grid, case)).unzip();
    let rows = proof.kept().expect("rows");
    Proved { grid, cases: asked.cases, trees, attained, near, rows }
}

/// The case with the least right-hand side, to 1/1024, that some point of 4,000 of its box satisfies, and the same near the point.
fn attained(grid: &GridNetwork, case: &Case) -> (Case, Case) {
    let mut random = 1u64;
    let mut best: Option<(Case, Vec<Rational>)> = None;
    for round in 0..4000 {
        // Ends of the box every other time, else any of 65 places.
        let mut part = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 33) % 65;
            Rational::from_dyadic(if round % 2 == 0 { (place % 2) << 6 } else { place }.into(), -6)
        };
        let ends = case.lower.iter().zip(&case.upper);
        let point: Vec<Rational> = ends.map(|(l, u)| l.add(&u.sub(l).mul(&part()))).collect();
        let loosest = || {
            let mut case = case.clone();
            case.constraints[0].bound = Rational::from_integer(64.into());
            case
        };
        let mut tried = best.as_ref().map_or_else(loosest, |(case, _)| case.clone());
        let step = Rational::from_dyadic(1.into(), -10);
        while check_sat(grid, tanh_table().unwrap(), &tried, &point).is_ok() {
            best = Some((tried.clone(), point.clone()));
            tried.constraints[0].bound = tried.constraints[0].bound.sub(&step);
        }
    }
    let (attained, point) = best.expect("some point satisfies the loosest bound");
    let mut near = attained.clone();
    for ((lower, upper), x) in near.lower.iter_mut().zip(&mut near.upper).zip(point) {
        let reach = upper.sub(lower).mul(&Rational::from_dyadic(1.into(), -7));
        (*lower, *upper) = (lower.clone().max(x.sub(&reach)), upper.clone().min(x.add(&reach)));
    }
    (attained, near)
}

/// A neuron before its activation, as raw numbers, and a multiplier of its sign.
type Split = ([usize; 2], i64);

/// The complete tree that splits the given neurons one after the other, whatever their bounds, with their multipliers at every leaf.
fn tree_of(grid: &GridNetwork, splits: &[Split]) -> Vec<Node> {
    let mut witness = LeafWitness::default();
    let place = |[layer, neuron]: [usize; 2]| {
        let layer = layer % grid.layers.len();
        (layer, neuron % grid.layers[layer].outputs())
    };
    witness.multipliers.extend(grid.layers.iter().map(|layer| vec![0; layer.outputs()]));
    for &(raw, multiplier) in splits {
        let (layer, neuron) = place(raw);
        witness.multipliers[layer][neuron] = multiplier;
    }
    let mut nodes = Vec::new();
    for (depth, &(raw, _)) in splits.iter().enumerate() {
        let (layer, neuron) = place(raw);
        for index in (1 << depth) - 1..(2 << depth) - 1 {
            nodes.push(Node::Relu { layer, neuron, children: [2 * index + 1, 2 * index + 2] });
        }
    }
    nodes.resize((2 << splits.len()) - 1, Node::Leaf { constraint: 0, witness: Some(witness) });
    nodes
}

/// What to change, as raw numbers that are reduced to what the tree has.
#[derive(Clone, Debug)]
struct Change {
    node: usize,
    kind: u8,
    place: [usize; 2],
    number: i64,
}

fn change() -> impl Strategy<Value = Change> {
    (any::<usize>(), 0u8..13, any::<[usize; 2]>(), -70_000i64..70_000)
        .prop_map(|(node, kind, place, number)| Change { node, kind, place, number })
}

fn mutate(nodes: &mut [Node], change: &Change) {
    let count = nodes.len();
    let index = change.node % count;
    let [first, second] = change.place;
    let near = Rational::from_dyadic(change.number.into(), -16);
    let leaf = |witness| Node::Leaf { constraint: first % 3, witness };
    match (&mut nodes[index], change.kind) {
        (Node::Input { coordinate, .. }, 0) => *coordinate = first % 16,
        (Node::Input { at, .. }, 1) => *at = near,
        (Node::Input { at, .. }, 2) => *at = at.add(&near),
        (Node::Relu { layer, .. }, 0) => *layer = first % 4,
        (Node::Relu { neuron, .. }, 1 | 2) => *neuron = first % 9,
        (Node::Input { children, .. } | Node::Relu { children, .. }, 3) => children.swap(0, 1),
        (Node::Input { children, .. } | Node::Relu { children, .. }, 4) => {
            children[first % 2] = second % (count + 1)
        }
        (Node::Leaf { constraint, .. } | Node::Kept { constraint, .. }, 0) => *constraint = first % 3,
        (Node::Kept { slopes, .. }, 1 | 2) if !slopes.is_empty() => {
            let layer = first % slopes.len();
            if !slopes[layer].is_empty() {
                let neuron = second % slopes[layer].len();
                slopes[layer][neuron].lower = Some(change.number << 8);
            }
        }
        (Node::Kept { multipliers, .. }, 3 | 4) => {
            multipliers.resize(multipliers.len().max(1), 0);
            let place = second % multipliers.len();
            multipliers[place] = change.number << (first % 16);
        }
        (Node::Kept { multipliers, .. }, 5) => multipliers.resize(first % 6, change.number),
        (node, 11) => {
            *node = Node::Kept { constraint: first % 3, slopes: Vec::new(), multipliers: vec![0; second % 4] }
        }
        (Node::Leaf { witness: Some(witness), .. } | Node::Farkas { witness }, 1..=5) => {
            change_witness(witness, change);
        }
        (node, 6) => *node = Node::Empty,
        (node, 7) => *node = leaf(None),
        (node, 8) => *node = leaf(Some(LeafWitness::default())),
        (node, 9) => *node = Node::Farkas { witness: LeafWitness::default() },
        (node, 10) => {
            *node = Node::Relu { layer: first % 3, neuron: second % 9, children: [index + 1, index + 2] }
        }
        (node, _) => {
            let witness = match node {
                Node::Leaf { witness: Some(witness), .. } => witness.clone(),
                _ => LeafWitness::default(),
            };
            *node = Node::Farkas { witness };
        }
    }
}

fn change_witness(witness: &mut LeafWitness, change: &Change) {
    let [first, second] = change.place;
    match change.kind {
        1 | 2 if !witness.slopes.is_empty() => {
            let layer = first % witness.slopes.len();
            let slopes = &mut witness.slopes[layer];
            if !slopes.is_empty() {
                let neuron = second % slopes.len();
                let value = Some(change.number << 8);
                let old = slopes[neuron];
                slopes[neuron] = if change.kind == 1 {
                    SlopeChoice { lower: value, ..old }
                } else {
                    SlopeChoice { upper: value, ..old }
                };
            }
        }
        3 | 4 if !witness.multipliers.is_empty() => {
            let layer = first % witness.multipliers.len();
            let list = &mut witness.multipliers[layer];
            list.resize(list.len().max(6), 0);
            list[second % 6] = change.number << (first % 16);
        }
        _ => *witness = LeafWitness::default(),
    }
}

fn changed_proofs_prove_nothing_false(proved: &Proved, changes: &[Change]) -> Result<(), TestCaseError> {
    let table = tanh_table().unwrap();
    for (tree, attained) in proved.trees.iter().zip(&proved.attained) {
        let mut nodes = tree.clone();
        for change in changes {
            mutate(&mut nodes, change);
        }
        let refuted = check_unsat(&proved.grid, table, attained, &nodes, &mut |_| {});
        prop_assert!(refuted.is_err(), "{:?}", nodes);
    }
    Ok(())
}

/// The trees as found prove their cases, and nothing of the cases that a point satisfies.
#[test]
fn unchanged_proofs_prove_their_own_cases_only() {
    for (network, property) in [("narrow.onnx", "narrow-unsat.vnnlib"), ("wide.onnx", "wide-unsat.vnnlib")] {
        let proved = proved(network, property);
        let table = tanh_table().unwrap();
        for ((case, attained), tree) in proved.cases.iter().zip(&proved.attained).zip(&proved.trees) {
            assert_eq!(check_unsat(&proved.grid, table, case, tree, &mut |_| {}), Ok(()));
            assert!(attained.constraints[0].bound > case.constraints[0].bound);
            assert!(check_unsat(&proved.grid, table, attained, tree, &mut |_| {}).is_err());
        }
    }
}

#[test]
fn changed_input_trees_prove_nothing_false() {
    let proved = proved("narrow.onnx", "narrow-unsat.vnnlib");
    proptest!(ProptestConfig::with_cases(300), |(changes in proptest::collection::vec(change(), 1..4))| {
        changed_proofs_prove_nothing_false(&proved, &changes)?;
    });
}

#[test]
fn changed_sign_trees_prove_nothing_false() {
    let proved = proved("wide.onnx", "wide-unsat.vnnlib");
    proptest!(ProptestConfig::with_cases(300), |(changes in proptest::collection::vec(change(), 1..4))| {
        changed_proofs_prove_nothing_false(&proved, &changes)?;
    });
}

/// Each neuron split alone near a point that satisfies the case: a multiplier that is not negative proves nothing false, a negative
/// one is refused as such, at every neuron.
#[test]
fn negative_multipliers_are_refused_where_they_would_prove_anything() {
    for (network, property) in [("narrow.onnx", "narrow-unsat.vnnlib"), ("wide.onnx", "wide-unsat.vnnlib")] {
        let Proved { grid, near, .. } = proved(network, property);
        for (case, layer) in near.iter().flat_map(|case| (0..grid.layers.len()).map(move |l| (case, l))) {
            for neuron in 0..grid.layers[layer].outputs() {
                let refused = |multiplier| {
                    let tree = tree_of(&grid, &[([layer, neuron], multiplier)]);
                    check_unsat(&grid, tanh_table().unwrap(), case, &tree, &mut |_| {})
                };
                for multiplier in [0, 1 << 10, 1 << 16, 1 << 20] {
                    let found = refused(multiplier);
                    assert!(matches!(found, Err(Fault::NotProved { .. })), "{found:?}");
                    let found = refused(-multiplier - 1);
                    let reason = Fault::NegativeMultiplier { layer, neuron };
                    assert_eq!(found.unwrap_err().condition(), &reason);
                }
            }
        }
    }
}

/// Several neurons split at once, with multipliers of any sign and size.
#[test]
fn trees_with_any_multipliers_prove_nothing_false() {
    let split = || (any::<[usize; 2]>(), -70_000i64..70_000, 0u32..12);
    for (network, property) in [("narrow.onnx", "narrow-unsat.vnnlib"), ("wide.onnx", "wide-unsat.vnnlib")] {
        let proved = proved(network, property);
        proptest!(ProptestConfig::with_cases(300), |(raw in proptest::collection::vec(split(), 1..4))| {
            let splits: Vec<Split> = raw.iter().map(|&(place, number, shift)| (place, number << shift)).collect();
            for case in &proved.near {
                let tree = tree_of(&proved.grid, &splits);
                let refuted = check_unsat(&proved.grid, tanh_table().unwrap(), case, &tree, &mut |_| {});
                prop_assert!(refuted.is_err(), "{:?}", splits);
            }
        });
    }
}

/// Bounds over a case's box, with the proof's rows.
fn kept_of(proved: &Proved, case: &Case) -> Result<Kept, Fault> {
    kept_with(&proved.grid, case, proved.rows.as_deref().unwrap_or_default())
}

fn kept_with(grid: &GridNetwork, case: &Case, rows: &[Vec<[RowWitness; 2]>]) -> Result<Kept, Fault> {
    Kept::new(grid, tanh_table().unwrap(), case, rows)
}

/// A tree whose leaves go on from bounds of the whole box proves its own case, and not one that a point satisfies; over another box, or
/// without the bounds, it is refused for that.
#[test]
fn unchanged_kept_trees_prove_their_own_case_only() {
    let proved = proved_by("wide.onnx", "wide-unsat.vnnlib", true);
    let table = tanh_table().unwrap();
    let (case, attained, tree) = (&proved.cases[0], &proved.attained[0], &proved.trees[0]);
    assert!(proved.rows.is_some() && tree.iter().any(|node| matches!(node, Node::Kept { .. })));
    let kept = kept_of(&proved, case).unwrap();
    let check = |case: &Case, kept: Option<&Kept>| {
        check_unsat_from(&proved.grid, table, (case, kept), tree, &mut |_| {})
            .map_err(|e| e.condition().clone())
    };
    assert_eq!(check(case, Some(&kept)), Ok(()));
    assert!(matches!(check(attained, Some(&kept)), Err(Fault::NotProved { .. })));
    assert!(matches!(check(case, None), Err(Fault::NothingKept { .. })));
    assert_eq!(check(&proved.near[0], Some(&kept)), Err(Fault::CasesApart));
}

#[test]
fn changed_kept_trees_prove_nothing_false() {
    let proved = proved_by("wide.onnx", "wide-unsat.vnnlib", true);
    let table = tanh_table().unwrap();
    let targets = [&proved.attained[0], &proved.near[0]].map(|case| (case, kept_of(&proved, case).unwrap()));
    proptest!(ProptestConfig::with_cases(300), |(changes in proptest::collection::vec(change(), 1..4))| {
        let mut nodes = proved.trees[0].clone();
        for change in &changes {
            mutate(&mut nodes, change);
        }
        for (case, kept) in &targets {
            let refuted = check_unsat_from(&proved.grid, table, (case, Some(kept)), &nodes, &mut |_| {});
            prop_assert!(refuted.is_err(), "{:?}", nodes);
        }
    });
}

/// The slopes of hidden layers' bounds may be any: the tree, and each of its leaves alone, proves nothing false with them.
#[test]
fn changed_rows_prove_nothing_false() {
    let proved = proved_by("wide.onnx", "wide-unsat.vnnlib", true);
    let rows = proved.rows.clone().expect("rows");
    let table = tanh_table().unwrap();
    let place = || (any::<[usize; 4]>(), -70_000i64..70_000, 0u32..16);
    proptest!(ProptestConfig::with_cases(300), |(changes in proptest::collection::vec(place(), 1..6))| {
        let mut changed = rows.clone();
        for ([layer, neuron, below, place], number, shift) in changes {
            let layers = changed.len();
            let row = &mut changed[layer % layers];
            if row.is_empty() {
                continue;
            }
            let neurons = row.len();
            let slopes = &mut row[neuron % neurons][place % 2].slopes;
            if slopes.is_empty() {
                continue;
            }
            let depth = slopes.len();
            let list = &mut slopes[below % depth];
            let width = list.len();
            list[place % width].lower = Some(number << shift);
        }
        for case in [&proved.attained[0], &proved.near[0]] {
            let Ok(kept) = kept_with(&proved.grid, case, &changed) else { continue };
            let found =
                check_unsat_from(&proved.grid, table, (case, Some(&kept)), &proved.trees[0], &mut |_| {});
            prop_assert!(found.is_err());
        }
    });
}

/// Each neuron split alone near a point that satisfies the case, as [`negative_multipliers_are_refused_where_they_would_prove_anything`].
#[test]
fn negative_multipliers_of_kept_leaves_are_refused() {
    let proved = proved_by("wide.onnx", "wide-unsat.vnnlib", true);
    let (table, case) = (tanh_table().unwrap(), &proved.near[0]);
    let kept = kept_of(&proved, case).unwrap();
    for layer in 0..proved.grid.layers.len() {
        for neuron in 0..proved.grid.layers[layer].outputs() {
            let refused = |multiplier| {
                let leaf = Node::Kept { constraint: 0, slopes: Vec::new(), multipliers: vec![multiplier] };
                let tree = [Node::Relu { layer, neuron, children: [1, 2] }, leaf.clone(), leaf];
                check_unsat_from(&proved.grid, table, (case, Some(&kept)), &tree, &mut |_| {})
            };
            for multiplier in [0, 1 << 10, 1 << 16, 1 << 20] {
                let found = refused(multiplier);
                assert!(matches!(found, Err(Fault::NotProved { .. })), "{found:?}");
                let found = refused(-multiplier - 1);
                assert_eq!(found.unwrap_err().condition(), &Fault::NegativeMultiplier { layer, neuron });
            }
        }
    }
}
