//! Rules of `spec/rules/split.md`: each side condition with one accepted and one rejected case.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types
)]

use std::slice;

use crate::tanh_table;
use secateur_kernel::crown::RowWitness;
use secateur_kernel::fault::{Class, Fault, Place};
use secateur_kernel::grid::{GridNetwork, GridScale};
use secateur_kernel::number::Rational;
use secateur_kernel::relax::SlopeChoice;
use secateur_kernel::split::{Case, Kept, LeafWitness, Node, OutputConstraint, check_sat, check_tree};
use secateur_testkit::hinges::sum_and_difference;
use secateur_testkit::proof::check_unsat;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// `relu(x + y) + relu(x - y)`.
fn network() -> GridNetwork {
    let network = sum_and_difference();
    let scale = GridScale::new(&network, &Rational::one()).unwrap();
    GridNetwork::new(&network, None, &scale).unwrap()
}

/// x in `[1/4, 1]`, y in `[-1, 1]`, `sign * output <= bound`.
fn case(sign: &str, bound: &str) -> Case {
    let constraint = OutputConstraint { coefficients: vec![r(sign)], bound: r(bound) };
    Case { lower: vec![r("1/4"), r("-1")], upper: vec![r("1"), r("1")], constraints: vec![constraint] }
}

fn unsat(case: &Case, nodes: &[Node]) -> Result<(), Fault> {
    check_unsat(&network(), tanh_table(), case, nodes, &mut |_| {})
}

fn leaf() -> Node {
    Node::Leaf { constraint: 0, witness: None }
}

fn relu(neuron: usize, children: [usize; 2]) -> Node {
    Node::Relu { layer: 0, neuron, children }
}

fn cut(coordinate: usize, at: &str, children: [usize; 2]) -> Node {
    Node::Input { coordinate, at: r(at), children }
}

/// The lines below, `x + y` and `x - y`, add up to `2x >= 1/2`: the output is above -1, and not shown to be above 1/2.
#[test]
fn leaves_must_violate_strictly() {
    assert_eq!(unsat(&case("1", "-1"), &[leaf()]), Ok(()));
    let touching = unsat(&case("1", "1/2"), &[leaf()]);
    assert!(matches!(touching, Err(Fault::NotProved { node: 0, bound, .. }) if *bound == r("1/2")));
    assert_eq!(
        unsat(&case("1", "-1"), &[Node::Leaf { constraint: 1, witness: None }]),
        Err(Fault::NoSuchPlace { node: 0 })
    );
}

/// The output is at least 1/2 and at most 2: each of `output <= 1` and `output >= 3/2` is possible, not both. The sum of equal
/// multiples is `0 <= -1/2`, whatever the network; other shares, no share and a share below 0 say nothing.
#[test]
fn combinations_must_violate_strictly() {
    let goal = |most: &str, least: &str| {
        let mut goal = case("1", most);
        goal.constraints.extend(case("-1", &format!("-{least}")).constraints);
        goal
    };
    let combination =
        |multipliers: &[i64]| Node::Combination { multipliers: multipliers.to_vec(), witness: None };
    let by = |goal: &Case, multipliers: &[i64]| unsat(goal, &[combination(multipliers)]);
    let apart = goal("1", "3/2");
    for equal in [[1, 1], [7, 7], [999_999_999_999; 2]] {
        assert_eq!(by(&apart, &equal), Ok(()));
    }
    for nothing in [[0, 0], [1, 0], [0, 1], [1, 2]] {
        assert!(matches!(by(&apart, &nothing), Err(Fault::NotProved { node: 0, .. })), "{nothing:?}");
    }
    // `0 <= 0` holds: the constraints meet in one point.
    let touching = by(&goal("1", "1"), &[1, 1]);
    assert!(matches!(touching, Err(Fault::NotProved { node: 0, bound, .. }) if bound.is_zero()));
    for (constraint, below) in [(0, [-1, 1]), (1, [1, -1]), (0, [-1, -1])] {
        assert_eq!(by(&apart, &below), Err(Fault::NegativeFactor { node: 0, constraint }));
    }
    for count in [&[][..], &[1], &[1, 1, 0]] {
        assert_eq!(by(&apart, count), Err(Fault::NoSuchPlace { node: 0 }));
    }
    // A sum in which outputs are left is bounded over the region: `2 output <= 99/100`, `2 output <= 1`.
    for (bound, proved) in [("-1/100", true), ("0", false)] {
        let mut left = case("3", "1");
        left.constraints.extend(case("-1", bound).constraints);
        assert_eq!(by(&left, &[1, 1]).is_ok(), proved);
    }
    let reason = Fault::Overflow { layer: 2 };
    let huge = Case { constraints: case("1e30", "1").constraints, ..apart };
    assert_eq!(by(&huge, &[1]), Err(reason.at(Place::Node(0))));
}

/// A coefficient of 1/3 lies between two grid points: the cut is paid for, and the constraint holds with room only.
#[test]
fn coefficients_off_the_grid_are_paid_for() {
    assert_eq!(unsat(&case("1/3", "-1/1000000"), &[leaf()]), Ok(()));
    let exact = unsat(&case("-1/3", "-2/3"), &[cut(0, "1/2", [1, 2]), leaf(), leaf()]);
    assert!(matches!(exact, Err(Fault::NotProved { .. })));
}

#[test]
fn inputs_are_cut_strictly_inside() {
    let goal = case("1", "-1");
    assert_eq!(unsat(&goal, &[cut(0, "1/2", [1, 2]), leaf(), leaf()]), Ok(()));
    for at in ["1/4", "1", "0", "2"] {
        assert_eq!(unsat(&goal, &[cut(0, at, [1, 2]), leaf(), leaf()]), Err(Fault::CutOutside { node: 0 }));
    }
    assert_eq!(unsat(&goal, &[cut(2, "1/2", [1, 2]), leaf(), leaf()]), Err(Fault::NoSuchPlace { node: 0 }));
    // The second cut is outside its own region, `[1/4, 1/2]`, though inside the box.
    let again = [cut(0, "1/2", [1, 2]), cut(0, "3/4", [3, 4]), leaf(), leaf(), leaf()];
    assert_eq!(unsat(&goal, &again), Err(Fault::CutOutside { node: 1 }));
}

#[test]
fn neurons_are_split_once() {
    let goal = case("1", "-1");
    assert_eq!(unsat(&goal, &[relu(0, [1, 2]), leaf(), leaf()]), Ok(()));
    let missing = Err(Fault::NoSuchPlace { node: 0 });
    assert_eq!(unsat(&goal, &[relu(2, [1, 2]), leaf(), leaf()]), missing);
    let deep = Node::Relu { layer: 2, neuron: 0, children: [1, 2] };
    assert_eq!(unsat(&goal, &[deep, leaf(), leaf()]), missing);
    let twice = [relu(0, [1, 2]), relu(0, [3, 4]), leaf(), leaf(), leaf()];
    assert_eq!(unsat(&goal, &twice), Err(Fault::NoSuchPlace { node: 1 }));
}

/// The output is `max(2x, x - y)` for `y <= 0`. At least 1.8 is reached for x above 1/2 only; at least 1.2 with x up to 1/2
/// for `x + y <= 0` only. A second child whose region kept anything of the first one's would look proved.
#[test]
fn a_second_child_has_a_region_of_its_own() {
    let mut goal = case("-1", "-1.8");
    let halves = [cut(0, "1/2", [1, 2]), leaf(), leaf()];
    assert!(matches!(unsat(&goal, &halves), Err(Fault::NotProved { node: 2, .. })));
    goal.upper[0] = r("1/2");
    assert_eq!(unsat(&goal, &[leaf()]), Ok(()));
    (goal.upper[1], goal.constraints[0].bound) = (r("0"), r("-1.2"));
    let signs = [relu(0, [1, 2]), leaf(), leaf()];
    assert!(matches!(unsat(&goal, &signs), Err(Fault::NotProved { node: 2, .. })));
    // And a child of the second child has all that its parent has.
    let under = |first, second| [cut(1, "-1/4", first), leaf(), relu(0, second), leaf(), leaf()];
    goal.constraints[0].bound = r("-1.6");
    assert_eq!(unsat(&goal, &under([1, 2], [3, 4])), Ok(()));
    assert_eq!(unsat(&goal, &under([2, 1], [4, 3])), Ok(()), "children may be named in any order");
}

#[test]
fn every_node_has_one_parent_before_it() {
    let goal = case("1", "-1");
    for children in [[1, 1], [0, 1], [1, 3]] {
        assert_eq!(unsat(&goal, &[relu(0, children), leaf(), leaf()]), Err(Fault::BadChild { node: 0 }));
    }
    let shared = [relu(0, [1, 2]), relu(1, [2, 3]), leaf(), leaf()];
    assert_eq!(unsat(&goal, &shared), Err(Fault::BadChild { node: 1 }));
    // A node that calls itself its child.
    let own = [leaf(), relu(0, [1, 2]), leaf()];
    assert_eq!(unsat(&goal, &own), Err(Fault::BadChild { node: 1 }));
    assert_eq!(unsat(&goal, &[leaf(), leaf()]), Err(Fault::Orphan { node: 1 }));
    assert_eq!(unsat(&goal, &[]), Err(Fault::Orphan { node: 0 }));
}

/// x in `[1/4, 1]` and y in `[-1/8, 1/8]` force `x + y > 0`: the negative side is empty, the positive one is not.
#[test]
fn empty_regions_must_be_empty() {
    let mut goal = case("1", "-1");
    (goal.lower[1], goal.upper[1]) = (r("-1/8"), r("1/8"));
    assert_eq!(unsat(&goal, &[relu(0, [1, 2]), leaf(), Node::Empty]), Ok(()));
    let turned = unsat(&goal, &[relu(0, [1, 2]), Node::Empty, leaf()]);
    assert_eq!(turned, Err(Fault::NotEmpty { node: 1 }));
}

/// `x + y <= 0` and `x - y <= 0` add up to `2x <= 0`, which `x >= 1/4` refutes; neither interval sees it. Multipliers 1, 1 do
/// (65536 units each), 0, 0 and 1, 0 do not.
#[test]
fn multipliers_refute_an_empty_region() {
    let tree = |multipliers: [i64; 2]| {
        let witness = LeafWitness { multipliers: vec![multipliers.to_vec()], ..LeafWitness::default() };
        [relu(0, [1, 2]), leaf(), relu(1, [3, 4]), leaf(), Node::Farkas { witness }]
    };
    let goal = case("1", "-1");
    assert_eq!(unsat(&goal, &tree([65536, 65536])), Ok(()));
    for weak in [[0, 0], [65536, 0], [1, 65536]] {
        assert_eq!(unsat(&goal, &tree(weak)), Err(Fault::NotEmpty { node: 4 }));
    }
    let reason = Fault::NegativeMultiplier { layer: 0, neuron: 0 };
    assert_eq!(unsat(&goal, &tree([-1, 65536])), Err(reason.at(Place::Node(4))));
    // A multiplier beyond the grid is the proof's fault.
    let reason = Fault::WitnessTooLarge { layer: 0 };
    assert_eq!(reason.class(), Class::Evidence);
    assert_eq!(unsat(&goal, &tree([i64::MAX, 0])), Err(reason.at(Place::Node(4))));
    // Without a contradiction no multiplier finds one.
    let mut free = goal;
    free.lower[0] = r("-1");
    free.constraints[0].bound = r("-3");
    assert_eq!(unsat(&free, &tree([65536, 65536])), Err(Fault::NotEmpty { node: 4 }));
}

fn keep(of: &Case, rows: &[Vec<[RowWitness; 2]>]) -> Result<Kept, Fault> {
    Kept::new(&network(), tanh_table(), of, rows)
}

fn unsat_from(of: &Case, kept: Option<&Kept>, nodes: &[Node]) -> Result<(), Fault> {
    let mut node = |index: usize| Ok((index, nodes[index].clone()));
    let cases = (slice::from_ref(of), kept);
    check_tree(&network(), tanh_table(), cases, &mut node, (0, 1), &mut |_| {})
}

fn kept_leaf(slopes: [i64; 2], multipliers: &[i64]) -> Node {
    let slope = |quarters: i64| SlopeChoice { lower: Some(quarters << 22), upper: None };
    Node::Kept { constraint: 0, slopes: vec![slopes.map(slope).to_vec()], multipliers: multipliers.to_vec() }
}

/// Over the box the slopes `s, t` below give `s (x + y) + t (x - y)`: 1 and 1 say `2x >= 1/2`, 0 and 0 say 0. Under the signs
/// `x + y <= 0` and `x - y <= 0` one multiplier each adds `2x`; the box that was kept still reaches to 2.
#[test]
fn kept_bounds_are_met_with_signs() {
    let goal = |bound: &str| case("1", bound);
    let kept = keep(&goal("0"), &[]).unwrap();
    let below = |bound: &str, slopes| unsat_from(&goal(bound), Some(&kept), &[kept_leaf(slopes, &[])]);
    // A slope of 4 quarters is 1.
    assert_eq!(below("499/1000", [4, 4]), Ok(()));
    assert!(matches!(below("1/2", [4, 4]), Err(Fault::NotProved { node: 0, .. })));
    assert!(matches!(below("499/1000", [0, 0]), Err(Fault::NotProved { node: 0, .. })));
    assert_eq!(below("-1/1000", [0, 0]), Ok(()));
    // Where both are off the output is 0, which signs alone refute: 3/4 of each multiplier add up to 3/8.
    let tree = |multipliers: &[i64]| {
        let end = kept_leaf([0, 0], multipliers);
        vec![relu(0, [1, 2]), kept_leaf([4, 4], &[0]), relu(1, [3, 4]), kept_leaf([4, 4], &[65_536, 0]), end]
    };
    let under = |multipliers: &[i64]| unsat_from(&goal("3/8"), Some(&kept), &tree(multipliers));
    assert_eq!(under(&[49_153, 49_153]), Ok(()));
    for weak in [[49_151, 49_151], [0, 0], [65_536, 0], [0, 65_536]] {
        assert!(matches!(under(&weak), Err(Fault::NotProved { node: 4, .. })), "{weak:?}");
    }
    assert_eq!(
        under(&[-1, 65_536]),
        Err(Fault::NegativeMultiplier { layer: 0, neuron: 0 }.at(Place::Node(4)))
    );
    // As many multipliers as signs.
    for count in [&[][..], &[49_153], &[49_153, 49_153, 0]] {
        assert_eq!(under(count), Err(Fault::NoSuchPlace { node: 4 }));
    }
    let nowhere = Node::Kept { constraint: 1, slopes: Vec::new(), multipliers: Vec::new() };
    assert_eq!(unsat_from(&goal("-1"), Some(&kept), &[nowhere]), Err(Fault::NoSuchPlace { node: 0 }));
    // Over the box, x + y and x - y lie between -3/4 and 2.
    let quarters = |n: i64| n << (network().value_bits - 2);
    let first: Vec<_> = kept.bounds().pre[0].intervals().collect();
    assert_eq!(first, [(quarters(-3), quarters(8)); 2]);
    // Nothing is kept, or of another box, which may be too small.
    let leaf = [kept_leaf([4, 4], &[])];
    assert_eq!(unsat_from(&goal("-1"), None, &leaf), Err(Fault::NothingKept { node: 0 }));
    let mut small = goal("0");
    small.upper[1] = r("0");
    let small = keep(&small, &[]).unwrap();
    assert_eq!(unsat_from(&goal("-1"), Some(&small), &leaf), Err(Fault::CasesApart));
    // A slope outside the grid's range, of a leaf and of what is kept; a box that does not fit.
    let steep = unsat_from(&goal("-1"), Some(&kept), &[kept_leaf([5, 0], &[])]);
    assert_eq!(steep, Err(Fault::SlopeOutOfRange { layer: 0, neuron: 0 }.at(Place::Node(0))));
    let mut wide = goal("0");
    wide.lower.pop();
    assert!(matches!(keep(&wide, &[]), Err(Fault::CaseShape)));
}

/// At x = 1/4 and y = 0 the output is 1/2, so that no leaf, whatever its slopes and multipliers, may refute `output <= 1/2`.
#[test]
fn no_kept_leaf_refutes_what_holds() {
    let goal = case("1", "1/2");
    let kept = keep(&goal, &[]).unwrap();
    let steps = [-65_536, -1, 0, 1, 30_000, 65_536, 1 << 20];
    for (first, second) in steps.iter().flat_map(|a| steps.iter().map(move |b| (*a, *b))) {
        for slopes in (0..5).flat_map(|a| (0..5).map(move |b| [a, b])) {
            let leaf = |count: usize| kept_leaf(slopes, &[first, second][..count]);
            let tree = [relu(0, [1, 2]), leaf(1), relu(1, [3, 4]), leaf(2), leaf(2)];
            assert!(unsat_from(&goal, Some(&kept), &tree).is_err(), "{slopes:?} {first} {second}");
        }
    }
}

/// Over `y` in `[0, 1/8]` and `x` in `[1/4, 1]` no sum is below 0: a sign says so from what was kept, and the other does not.
#[test]
fn kept_bounds_know_what_is_empty() {
    let mut goal = case("1", "-1");
    (goal.lower[1], goal.upper[1]) = (r("0"), r("1/8"));
    let kept = keep(&goal, &[]).unwrap();
    let tree = |bound: &str, children| {
        let goal = Case { constraints: case("1", bound).constraints, ..goal.clone() };
        unsat_from(&goal, Some(&kept), &[relu(0, children), kept_leaf([4, 4], &[0]), kept_leaf([0, 0], &[0])])
    };
    // The output is 2x there, at least 1/2; the side below 0 is proved whatever its leaf says.
    assert_eq!(tree("499/1000", [1, 2]), Ok(()));
    assert!(tree("1", [1, 2]).is_err());
}

/// Two leaves, of which the second proves nothing: it is in the second of two shares, and in one that is none.
#[test]
fn each_leaf_is_in_a_share() {
    let goal = case("1", "-1");
    let nodes = [cut(1, "0", [1, 2]), leaf(), Node::Empty];
    let share = |share| {
        let mut node = |index: usize| Ok((index, nodes[index].clone()));
        let cases = (slice::from_ref(&goal), None);
        check_tree(&network(), tanh_table(), cases, &mut node, share, &mut |_| {})
    };
    assert_eq!(share((0, 2)), Ok(()));
    for all in [(1, 2), (0, 1), (2, 2), (0, 0)] {
        assert_eq!(share(all), Err(Fault::NotEmpty { node: 2 }), "{all:?}");
    }
}

/// The output is above -1 and, by the lines below, above 1/4, which one leaf says of both cases; not above 1/2.
#[test]
fn a_leaf_of_several_cases_holds_of_each() {
    let both = |cases: &[Case]| {
        let mut node = |index: usize| Ok((index, leaf()));
        check_tree(&network(), tanh_table(), (cases, None), &mut node, (0, 1), &mut |_| {})
    };
    assert_eq!(both(&[case("1", "-1"), case("1", "1/4")]), Ok(()));
    for cases in [[case("1", "1/2"), case("1", "-1")], [case("1", "-1"), case("1", "1/2")]] {
        assert!(matches!(both(&cases), Err(Fault::NotProved { node: 0, .. })));
    }
    let mut apart = case("1", "-1");
    apart.upper[1] = r("1/2");
    for cases in [&[case("1", "-1"), apart][..], &[]] {
        assert_eq!(both(cases), Err(Fault::CasesApart));
    }
    let mut wide = case("1", "-1");
    wide.constraints[0].coefficients.push(r("1"));
    assert_eq!(both(&[case("1", "-1"), wide]), Err(Fault::CaseShape));
}

#[test]
fn cases_must_fit() {
    let mut short = case("1", "-1");
    short.lower.pop();
    let mut turned = case("1", "-1");
    turned.lower[0] = r("2");
    let mut wide = case("1", "-1");
    wide.constraints[0].coefficients.push(r("1"));
    for bad in [short, turned, wide] {
        assert_eq!(unsat(&bad, &[leaf()]), Err(Fault::CaseShape));
    }
}

/// At (1, 1) the output is `2 + 0`: at most 2, at least 2, not at most 1.
#[test]
fn points_satisfy_every_constraint() {
    let at = |goal: &Case, point: &[&str]| {
        let point: Vec<Rational> = point.iter().map(|t| r(t)).collect();
        check_sat(&network(), tanh_table(), goal, &point)
    };
    assert_eq!(at(&case("1", "2"), &["1", "1"]), Ok(()));
    assert_eq!(at(&case("-1", "-2"), &["1", "1"]), Ok(()));
    assert_eq!(at(&case("1", "1"), &["1", "1"]), Err(Fault::PointFails { constraint: 0 }));
    assert_eq!(at(&case("1", "2"), &["1", "5/4"]), Err(Fault::PointOutside { coordinate: 1 }));
    assert_eq!(at(&case("1", "2"), &["1"]), Err(Fault::CaseShape));
    let far = Case { upper: vec![r("1e30"), r("1")], ..case("1", "2") };
    let reason = Fault::MagnitudeTooLarge { layer: 0 };
    assert_eq!(at(&far, &["1e30", "0"]), Err(reason.at(Place::Node(0))));
}
