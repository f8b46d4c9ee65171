//! Rule `branch.tree` of `spec/rules/split.md` and the trees' encoding: hand-computed bounds, and one refused case for each
//! side condition.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::panic
)]

use secateur_checker::kernel::branch::bound_tree;
use secateur_checker::kernel::fault::{Class, Fault, Place};
use secateur_checker::kernel::grid::{GridNetwork, GridScale};
use secateur_checker::kernel::input::{GridBall, InputSet};
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::kernel::split::Node;
use secateur_checker::model::{Activation, Layer, Matrix, Network};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::trees::{MAX_DEPTH, Trees, state_block};
use secateur_checker::tables::tanh_table;

const ONE: i64 = 1 << 48;

fn network_of(hidden: Activation) -> GridNetwork {
    network_with(hidden, 0)
}

/// With inputs up to `2^scale` in the grid's eyes.
fn network_with(hidden: Activation, scale: i64) -> GridNetwork {
    let layer = |rows, columns, weights: &[i64], activation| Layer {
        fixed: false,
        weight: Matrix { rows, columns, values: weights.iter().map(|&w| Dyadic::new(w, 0)).collect() },
        bias: vec![Dyadic::ZERO; rows],
        activation,
    };
    let layers = vec![layer(2, 2, &[1, 1, 1, -1], hidden), layer(1, 2, &[1, 1], Activation::Identity)];
    let network = Network { layers };
    let largest = Rational::from_dyadic(1.into(), scale);
    let scale = GridScale::new(&network, &largest).unwrap();
    GridNetwork::new(&network, None, &scale).unwrap()
}

/// `relu(x + y) + relu(x - y)`.
fn network() -> GridNetwork {
    network_of(Activation::Relu)
}

/// The box `[-1, 1]^2`, as the ball of radius 1 if asked.
fn unit(ball: bool) -> InputSet {
    InputSet {
        region: GridBox::from_intervals([(-ONE, ONE); 2]),
        center: GridBox::point([0; 2]),
        radii: vec![ONE; 2],
        ball: ball.then(|| GridBall::Euclidean { semi_axes: vec![Some(ONE); 2] }),
    }
}

fn bound_over(network: &GridNetwork, input: &InputSet, weights: &[i64], bytes: &[u8]) -> Result<i64, Fault> {
    let mut trees = Trees::new(bytes);
    trees.begin();
    let found = bound_tree(network, tanh_table().unwrap(), input, weights, &mut |_| trees.node(network))?;
    trees.finish().unwrap();
    Ok(found)
}

fn bound(input: &InputSet, bytes: &[u8]) -> Result<i64, Fault> {
    bound_over(&network(), input, &[1], bytes)
}

/// All nodes of the one tree in `bytes`.
fn nodes_of(network: &GridNetwork, bytes: &[u8]) -> Result<Vec<Node>, Fault> {
    let (mut trees, mut nodes) = (Trees::new(bytes), Vec::new());
    trees.begin();
    while !trees.is_complete() {
        let (index, node) = trees.node(network)?;
        assert_eq!(index, nodes.len());
        nodes.push(node);
    }
    trees.finish()?;
    Ok(nodes)
}

fn read(bytes: &[u8]) -> Result<Vec<Node>, Fault> {
    nodes_of(&network(), bytes)
}

fn near(found: Result<i64, Fault>, value: i64) {
    let found = found.unwrap();
    assert!((value..=value + 64).contains(&found), "{found} is not {value}");
}

fn relu(neuron: u8, children: [&[u8]; 2]) -> Vec<u8> {
    [&[2, 0, 0, neuron, 0], children[0], children[1]].concat()
}

fn cut(coordinate: u8, at: f64, children: [&[u8]; 2]) -> Vec<u8> {
    [&[3, coordinate, 0], &at.to_bits().to_le_bytes()[..], children[0], children[1]].concat()
}

/// The chords `(x + y)/2 + 1` and `(x - y)/2 + 1` add up to `x + 2`, at most 3; the truth is 2, at (1, 0). Cut at x = 0, the
/// upper half has the chords `2(x + y)/3 + 2/3`, 8/3 together. Cut by both signs nothing is relaxed: where both are
/// positive the output is `2x`. With `x + y >= 0` alone, `x + y + (x - y)/2 + 1` still reaches 3.
#[test]
fn cuts_tighten_by_hand() {
    near(bound(&unit(false), &[0]), 3 * ONE);
    let halves = bound(&unit(false), &cut(0, 0.0, [&[0], &[0]])).unwrap();
    assert!((8 * ONE..8 * ONE + (ONE >> 20)).contains(&(3 * halves)), "{halves}");
    let signs = relu(0, [&relu(1, [&[0], &[0]]), &relu(1, [&[0], &[0]])]);
    near(bound(&unit(false), &signs), 2 * ONE);
    // One split alone: with x + y <= 0 the other chord stays.
    let half = bound(&unit(false), &relu(0, [&[0], &[0]])).unwrap();
    assert!((2 * ONE..=3 * ONE + 64).contains(&half), "{half}");
}

/// Only the worst leaf counts: tightening the other changes nothing.
#[test]
fn the_worst_leaf_counts() {
    let loose = bound(&unit(false), &cut(0, 0.5, [&[0], &[0]])).unwrap();
    let upper = bound(&unit(false), &cut(0, 0.5, [&relu(0, [&[0], &[0]]), &[0]])).unwrap();
    assert_eq!(loose, upper);
}

/// Cut at y = 0, each half's bound over the ball is below that over its box, whose corners lie outside the ball.
#[test]
fn leaves_keep_the_ball() {
    let tree = cut(1, 0.0, [&[0], &[0]]);
    let (over_box, over_ball) = (bound(&unit(false), &tree).unwrap(), bound(&unit(true), &tree).unwrap());
    assert!(over_ball < over_box, "{over_ball} {over_box}");
    // A part of the box beyond the ball holds no point and counts for nothing, or for no more than the ball allows.
    let corner = cut(0, 0.75, [&[0], &cut(1, 0.75, [&[0], &[0]])]);
    assert!(bound(&unit(true), &corner).unwrap() <= bound(&unit(true), &cut(0, 0.75, [&[0], &[0]])).unwrap());
}

/// A slope of 0 below both neurons bounds `-output` by 0.
#[test]
fn slopes_and_multipliers_are_read() {
    let network = network();
    let leaf = |slope: u16, multiplier: &[u8]| {
        let [low, high] = slope.to_le_bytes();
        let mut bytes = vec![1, 2, 0, 0, 0, low, high, 1, 0, low, high];
        bytes.extend(multiplier);
        bytes
    };
    let least = |bytes: &[u8]| bound_over(&network, &unit(false), &[-1], bytes);
    near(least(&leaf(0, &[0, 0])), 0);
    // Both lines below with slope 1: `-(x + y) - (x - y) = -2x`, at most 2; intervals say 0, and the lesser counts.
    near(least(&leaf(65535, &[0, 0])), 0);
    // Under `x + y >= 0` and `x - y >= 0` the output is `2x`: 2 at most; the multiplier 1 on each constraint gives
    // `2x + (x + y) + (x - y) = 4x`, at most 4 by itself, and 2 by the intervals met with it.
    let one = 65536u32.to_le_bytes();
    let both = [&[2, 0, 0, 0, 0, 0][..], &one, &[0, 0, 1, 0], &one].concat();
    let with = relu(0, [&relu(1, [&leaf(0, &both), &[0]]), &[0]]);
    assert!(bound(&unit(false), &with).unwrap() >= 2 * ONE);
}

/// Biases of 2^20 leave the grid little room: multipliers of 65535 on all neurons drive the sum beyond it, which is the
/// witness's fault.
#[test]
fn multipliers_beyond_the_grid_are_the_witnesss_fault() {
    let network = network_with(Activation::Relu, 20);
    let leaf = |value: u32| {
        let both: Vec<u8> =
            [0u8, 1].iter().flat_map(|n| [0, 0, *n, 0].into_iter().chain(value.to_le_bytes())).collect();
        [&[1, 0, 0, 2, 0][..], &both].concat()
    };
    let at =
        |value| bound_over(&network, &unit(false), &[1], &relu(0, [&relu(1, [&leaf(value), &[0]]), &[0]]));
    let mut refused = 0;
    for shift in 0..32 {
        match at(1u32 << shift) {
            Ok(_) => assert_eq!(refused, 0, "larger ones were"),
            Err(fault) => {
                assert!(matches!(fault.condition(), Fault::WitnessTooLarge { .. }), "{fault}");
                assert_eq!(fault.class(), Class::Evidence);
                refused += 1;
            }
        }
    }
    assert!((1..32).contains(&refused), "{refused}");
}

#[test]
fn places_must_exist_and_cuts_lie_inside() {
    let fails = |bytes: &[u8]| bound(&unit(false), bytes).unwrap_err();
    assert!(bound(&unit(false), &cut(1, 0.5, [&[0], &[0]])).is_ok());
    for at in [-1.0, 1.0, 2.0, -3.0] {
        assert_eq!(fails(&cut(1, at, [&[0], &[0]])), Fault::CutOutside { node: 0 });
    }
    let again = cut(0, 0.5, [&cut(0, 0.75, [&[0], &[0]]), &[0]]);
    assert_eq!(fails(&again), Fault::CutOutside { node: 1 });
    assert_eq!(fails(&cut(2, 0.0, [&[0], &[0]])), Fault::NoSuchPlace { node: 0 });
    assert_eq!(fails(&relu(2, [&[0], &[0]])), Fault::NoSuchPlace { node: 0 });
    assert_eq!(fails(&[2, 2, 0, 0, 0, 0, 0]), Fault::NoSuchPlace { node: 0 });
    let twice = relu(0, [&relu(0, [&[0], &[0]]), &[0]]);
    assert_eq!(fails(&twice), Fault::NoSuchPlace { node: 1 });
    // Nodes of other proofs bound nothing.
    let table = tanh_table().unwrap();
    let other = bound_tree(&network(), table, &unit(false), &[1], &mut |index| Ok((index, Node::Empty)));
    assert_eq!(other, Err(Fault::NotEmpty { node: 0 }));
}

/// Bounds that contradict each other everywhere prove nothing: the unperturbed input is in the set.
#[test]
fn a_set_found_empty_everywhere_is_refused() {
    let mut turned = unit(true);
    turned.center = GridBox::point([5 * ONE; 2]);
    turned.ball = Some(GridBall::Euclidean { semi_axes: vec![Some(0); 2] });
    let reason = Fault::EmptyInterval { layer: 0, neuron: 0 };
    assert_eq!(bound(&turned, &[0]), Err(reason));
}

#[test]
fn malformed_trees_are_refused() {
    let bad = |fault: Fault| Err(fault);
    assert_eq!(read(&[0]).map(|n| n.len()), Ok(1));
    assert_eq!(read(&relu(0, [&relu(1, [&[0], &[0]]), &[0]])).map(|n| n.len()), Ok(5));
    assert_eq!(read(&[]), bad(Fault::TreeTruncated));
    assert_eq!(read(&relu(0, [&[0], &[]])), bad(Fault::TreeTruncated));
    assert_eq!(read(&[2, 0, 0, 0]), bad(Fault::TreeTruncated));
    assert_eq!(read(&[4]), bad(Fault::UnknownNode));
    assert_eq!(read(&[0, 0]), Err(Fault::TreeTrailing.at(Place::Tree(0))));
    let mut beyond = Trees::new(&[0]);
    beyond.begin();
    assert!(beyond.node(&network()).is_ok() && beyond.is_complete());
    assert_eq!(beyond.node(&network()), Err(Fault::NoTree));
    for at in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(read(&cut(0, at, [&[0], &[0]])), bad(Fault::CutAtNoNumber));
    }
    // Slopes: neurons out of order, twice, beyond the layer; a multiplier of no layer or neuron.
    assert!(read(&[1, 2, 0, 0, 0, 9, 9, 1, 0, 9, 9, 0, 0]).is_ok());
    assert_eq!(read(&[1, 2, 0, 1, 0, 9, 9, 0, 0, 9, 9, 0, 0]), bad(Fault::SlopesOutOfOrder));
    assert_eq!(read(&[1, 2, 0, 1, 0, 9, 9, 1, 0, 9, 9, 0, 0]), bad(Fault::SlopesOutOfOrder));
    assert_eq!(read(&[1, 1, 0, 2, 0, 9, 9, 0, 0]), bad(Fault::NoSuchPlace { node: 0 }));
    assert!(read(&[1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0]).is_ok());
    assert_eq!(read(&[1, 0, 0, 1, 0, 2, 0, 1, 0, 1, 0, 0, 0]), bad(Fault::NoSuchPlace { node: 0 }));
    assert_eq!(read(&[1, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0]), bad(Fault::NoSuchPlace { node: 0 }));
}

#[test]
fn deep_and_large_trees_are_refused() {
    let bad = |fault: Fault| Err(fault);
    let chain = |depth: usize| {
        let mut bytes: Vec<u8> = [3, 0, 0].into_iter().chain(0.0f64.to_bits().to_le_bytes()).collect();
        bytes = bytes.repeat(depth);
        bytes.resize(bytes.len() + depth + 1, 0);
        bytes
    };
    assert!(read(&chain(MAX_DEPTH)).is_ok());
    assert_eq!(read(&chain(MAX_DEPTH + 1)), bad(Fault::TooDeep));
    // The same, leaning the other way: nothing waits, yet as many cuts lie above the last leaf.
    let turned = |depth: usize| [relu(0, [&[0], &[]]).repeat(depth), vec![0]].concat();
    assert!(read(&turned(MAX_DEPTH)).is_ok());
    assert_eq!(read(&turned(MAX_DEPTH + 1)), bad(Fault::TooDeep));
    // Caps are limits; what is malformed is not.
    let class = |fault: Fault| fault.at(Place::Tree(0)).class();
    assert_eq!((class(Fault::TooDeep), class(Fault::TooManyNodes)), (Class::Limit, Class::Limit));
    assert_eq!(class(Fault::TreeTruncated), Class::Evidence);
    // A full tree of depth 18 has 2^19 - 1 nodes.
    let full = (0..18).fold(vec![0], |child: Vec<u8>, _| relu(0, [&child, &child]));
    assert_eq!(read(&full), bad(Fault::TooManyNodes));
    let half = (0..17).fold(vec![0], |child: Vec<u8>, _| relu(0, [&child, &child]));
    assert_eq!(read(&half).map(|n| n.len()), Ok((1 << 18) - 1));
}

/// Smooth layers have two slopes a neuron, the identity none.
#[test]
fn smooth_layers_have_two_slopes() {
    let network = network_of(Activation::Tanh);
    let leaf = [1, 1, 0, 1, 0, 7, 0, 9, 0, 0, 0];
    let nodes = nodes_of(&network, &leaf).unwrap();
    let Node::Leaf { witness: Some(witness), .. } = &nodes[0] else { panic!("a leaf") };
    let choice = witness.slopes[0][1];
    assert_eq!((choice.lower, choice.upper), (Some(7 << 8), Some(9 << 8)));
    assert_eq!((witness.slopes[0][0].lower, witness.slopes[1].len()), (None, 0));
}

/// Two states whose blocks hold one byte and two.
#[test]
fn blocks_lie_between_their_ends() {
    let file =
        |ends: [u64; 2], data: &[u8]| [&ends[0].to_le_bytes()[..], &ends[1].to_le_bytes(), data].concat();
    let good = file([1, 3], &[7, 8, 9]);
    assert_eq!((state_block(&good, 2, 0), state_block(&good, 2, 1)), (Some(&[7][..]), Some(&[8, 9][..])));
    assert_eq!(state_block(&good, 2, 2), None);
    assert_eq!(state_block(&file([1, 2], &[7, 8, 9]), 2, 1), None);
    assert_eq!(state_block(&file([1, 4], &[7, 8, 9]), 2, 1), None);
    assert_eq!(state_block(&file([4, 3], &[7, 8, 9]), 2, 0), None);
    assert_eq!(state_block(&file([4, 3], &[7, 8, 9]), 2, 1), None);
    assert_eq!(state_block(&good[..15], 2, 0), None);
}
