//! Rule `branch.cells` of `spec/rules/split.md`: hand-computed bounds, and one refused case for each side condition.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types
)]

use secateur_checker::kernel::bounds::StateBounds;
use secateur_checker::kernel::branch::{CellOutputs, bound_cells};
use secateur_checker::kernel::fault::{Fault, Place};
use secateur_checker::kernel::grid::{GridNetwork, GridScale};
use secateur_checker::kernel::head::{HeadBounds, OutputChange};
use secateur_checker::kernel::input::{GridBall, InputSet};
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::kernel::softmax::Softmax;
use secateur_checker::kernel::split::Node;
use secateur_checker::model::{Activation, Head, Layer, Matrix, Network};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::trees::Trees;
use secateur_checker::tables::tanh_table;

const ONE: i64 = 1 << 48;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

/// `relu(x)`, `relu(-x)` and the constant 3.
fn network() -> GridNetwork {
    let layer = |rows, weights: &[i64], bias: &[i64], activation| Layer {
        fixed: false,
        weight: Matrix {
            rows,
            columns: weights.len().div_euclid(rows),
            values: weights.iter().map(|&w| Dyadic::new(w, 0)).collect(),
        },
        bias: bias.iter().map(|&b| Dyadic::new(b, 0)).collect(),
        activation,
    };
    let layers = vec![
        layer(2, &[1, -1], &[0; 2], Activation::Relu),
        layer(3, &[1, 0, 0, 1, 0, 0], &[0, 0, 3], Activation::Identity),
    ];
    let network = Network { layers };
    let scale = GridScale::new(&network, &Rational::one()).unwrap();
    GridNetwork::new(&network, None, &scale).unwrap()
}

/// The interval from `lower` to `upper` around 0.
fn interval(lower: i64, upper: i64) -> InputSet {
    InputSet {
        region: GridBox::from_intervals([(lower, upper)]),
        center: GridBox::point([0]),
        radii: vec![upper.max(-lower)],
        ball: None,
    }
}

/// What the outputs are at 0, on the network's grid.
fn center(network: &GridNetwork) -> GridBox {
    GridBox::point([0, 0, 3 << network.value_bits])
}

/// Under a head.
fn bound_under(input: &InputSet, bytes: &[u8], head: &Head, margins: bool) -> Result<StateBounds, Fault> {
    let network = network();
    let center = center(&network);
    let gaussian = matches!(head, Head::Gaussian { .. }).then(|| HeadBounds::new(head).unwrap());
    let softmax = (*head == Head::Categorical).then(|| Softmax::new(&center, network.value_bits).unwrap());
    let outputs =
        CellOutputs { center: &center, margins, softmax: softmax.as_ref(), gaussian: gaussian.as_ref() };
    let mut trees = Trees::new(bytes);
    trees.begin();
    let mut next = |_: usize| trees.node(&network);
    let found = bound_cells(&network, tanh_table().unwrap(), input, &outputs, &mut next)?;
    trees.finish()?;
    Ok(found)
}

fn bound(input: &InputSet, bytes: &[u8]) -> Result<StateBounds, Fault> {
    bound_under(input, bytes, &Head::Deterministic, true)
}

fn cut(coordinate: u8, at: f64, children: [&[u8]; 2]) -> Vec<u8> {
    [&[3, coordinate, 0], &at.to_bits().to_le_bytes()[..], children[0], children[1]].concat()
}

fn near(found: i64, value: Rational) -> bool {
    let found = Rational::on_grid(found, network().value_bits);
    value <= found && found.sub(&value) < r("1e-9")
}

/// Each of two outputs moves by at most 1 over [-1, 1], with any tree, though never both: deviations 1 say 2 of the squared
/// distance. Both lie in [0, 1] with middles 1/2, and the chords `(x + 1)/4 + (1 - x)/4` bound half their sum by 1/2, so that
/// it is at most `2/2 - 2/4 + 2/4 = 1`; cut at 0, it is 1 in either half. Of unequal halves the worse counts.
#[test]
fn outputs_that_never_move_together_by_hand() {
    let head = Head::Gaussian { log_std: vec![Dyadic::ZERO; 3] };
    let at = |input: InputSet, bytes: &[u8]| bound_under(&input, bytes, &head, false).unwrap();
    let cut_at_zero = cut(0, 0.0, [&[0], &[0]]);
    let (whole, halves) = (at(interval(-ONE, ONE), &[0]), at(interval(-ONE, ONE), &cut_at_zero));
    let distance = |bounds: &StateBounds| bounds.distance.clone().unwrap();
    for bounds in [&whole, &halves] {
        assert!(near(bounds.deviation[0], r("1")) && near(bounds.deviation[1], r("1")), "{bounds:?}");
        assert!(near(bounds.deviation[2], r("0")) && bounds.policy.is_none() && bounds.gains.is_empty());
        assert!(r("1") <= distance(bounds) && distance(bounds) < r("1.000001"), "{bounds:?}");
    }
    for unequal in [interval(-ONE, ONE >> 1), interval(-(ONE >> 1), ONE)] {
        let found = distance(&at(unequal, &cut_at_zero));
        assert!(r("1") <= found && found < r("1.000001"), "{found}");
    }
    // The head takes it where it is less than what the deviations say: 2 Phi(1/2) - 1.
    let gaussian = HeadBounds::new(&head).unwrap();
    let change = halves.exact(network().value_bits).0;
    let variation = gaussian.total_variation(&change).unwrap();
    assert!(r("0.38292492") < variation && variation < r("0.38292493"), "{variation}");
    assert!(gaussian.divergence(&change).unwrap() < r("0.500001"));
    let (less, more) = (Some(r("1/2")), Some(distance(&halves)));
    let other = |distance: Option<Rational>| OutputChange { distance, ..change.clone() };
    assert_eq!(change.meet(&other(less.clone())).unwrap().distance, less);
    assert_eq!(other(None).meet(&change).unwrap().distance, more);
}

/// Outputs `x + y` and `x - y` over [-1, 1]^2 move by 2 each: 8 together, though 4 at any corner. Cut at x = 0, both lie in
/// [-1, 2] with middles 1/2, `y_1/2 + y_2/2 = x` is at most 1, and the distance at most `2 - 1/2 + 2 (3/2)^2 = 6`. With
/// deviations 1/2 of the head, four times that.
#[test]
fn outputs_that_move_together_are_bounded_along_the_change() {
    let layer = Layer {
        fixed: false,
        weight: Matrix { rows: 2, columns: 2, values: [1, 1, 1, -1].map(|w| Dyadic::new(w, 0)).to_vec() },
        bias: vec![Dyadic::ZERO; 2],
        activation: Activation::Identity,
    };
    let plain = Network { layers: vec![layer] };
    let scale = GridScale::new(&plain, &Rational::one()).unwrap();
    let network = GridNetwork::new(&plain, None, &scale).unwrap();
    let input = InputSet {
        region: GridBox::from_intervals([(-(1 << network.value_bits), 1 << network.value_bits); 2]),
        center: GridBox::point([0; 2]),
        radii: vec![1 << network.value_bits; 2],
        ball: None,
    };
    let distance = |log_std: Dyadic, clean: &GridBox, bytes: &[u8]| {
        let head = HeadBounds::new(&Head::Gaussian { log_std: vec![log_std; 2] }).unwrap();
        let outputs = CellOutputs { center: clean, margins: false, softmax: None, gaussian: Some(&head) };
        let mut trees = Trees::new(bytes);
        trees.begin();
        let mut next = |_: usize| trees.node(&network);
        let found = bound_cells(&network, tanh_table().unwrap(), &input, &outputs, &mut next).unwrap();
        found.distance.unwrap()
    };
    let halves = cut(0, 0.0, [&[0], &[0]]);
    let near = |found: Rational, value: &str| r(value) <= found && found < r(value).add(&r("0.00001"));
    let center = GridBox::point([0; 2]);
    assert!(near(distance(Dyadic::ZERO, &center, &[0]), "8"));
    assert!(near(distance(Dyadic::ZERO, &center, &halves), "6"));
    // log_std -1: 1 / sigma^2 = e^2 = 7.389056.
    assert!(near(distance(Dyadic::new(-1, 0), &center, &halves).sub(&r("44.334336")), "0"));
    // Unperturbed outputs known to 1/4 at either side: middles stay, reaches are 7/4, and `y_1/2 + y_2/2` may have gained 1/4
    // more: 2 (1 + 1/4) - 1/2 + 2 (7/4)^2.
    let quarter = 1i64 << (network.value_bits - 2);
    let unsure = GridBox::from_intervals([(-quarter, quarter); 2]);
    assert!(near(distance(Dyadic::ZERO, &unsure, &halves), "8.125"));
}

/// Logits (0, 0, 3): p = (1, 1, e^3) / (2 + e^3), e^3 = 20.0855. In each half one of the first two gains at most 1 on both
/// others: TV is at most `e / (e + 1 + e^3) - p_1 = 0.11420 - 0.04528 = 0.06892`. Did both gain in one cell, the two
/// together would move by 0.1224.
#[test]
fn a_softmax_is_bounded_cell_by_cell() {
    let variation = |input: InputSet, bytes: &[u8]| {
        bound_under(&input, bytes, &Head::Categorical, true).unwrap().policy.unwrap().total_variation
    };
    // Of unequal halves the worse counts.
    for input in [interval(-ONE, ONE), interval(-ONE, ONE >> 1), interval(-(ONE >> 1), ONE)] {
        let halves = variation(input, &cut(0, 0.0, [&[0], &[0]]));
        assert!(r("0.06891") < halves && halves < r("0.06893"), "{halves}");
    }
    assert!(variation(interval(-ONE, ONE), &[0]) > r("0.122"));
}

/// Over [-1/4, 1] the second output falls back by at most 1 and rises by 1/4: the lead at 0, where they are equal, is lost by
/// the largest oscillation of a cell, whichever cell holds the state.
#[test]
fn margins_are_those_of_the_whole_set() {
    let network = network();
    let center = GridBox::point([0, 0]);
    let layer = |weights: &[i64], activation| Layer {
        fixed: false,
        weight: Matrix { rows: 2, columns: 1, values: weights.iter().map(|&w| Dyadic::new(w, 0)).collect() },
        bias: vec![Dyadic::ZERO; 2],
        activation,
    };
    let linear = Network { layers: vec![layer(&[1, 0], Activation::Identity)] };
    let scale = GridScale::new(&linear, &Rational::one()).unwrap();
    let linear = GridNetwork::new(&linear, None, &scale).unwrap();
    assert_eq!(linear.value_bits, network.value_bits);
    let outputs = CellOutputs { center: &center, margins: true, softmax: None, gaussian: None };
    for bytes in [vec![0], cut(0, 0.125, [&[0], &[0]]), cut(0, 0.0, [&[0], &[0]])] {
        let mut trees = Trees::new(&bytes);
        trees.begin();
        let input = interval(-(ONE >> 2), ONE);
        let mut next = |_: usize| trees.node(&linear);
        let found = bound_cells(&linear, tanh_table().unwrap(), &input, &outputs, &mut next).unwrap();
        assert!(near(found.oscillation, r("1")), "{found:?}");
        assert!(near(-found.margin.unwrap(), r("1")), "{found:?}");
    }
}

/// Signs cut a cell as well; a leaf that they leave empty counts for nothing.
#[test]
fn signs_cut_cells() {
    let sign = |children: [&[u8]; 2]| [&[2, 0, 0, 0, 0], children[0], children[1]].concat();
    let bytes = sign([&[0], &[0]]);
    let found = bound(&interval(-ONE, ONE), &bytes).unwrap();
    assert!(near(found.deviation[0], r("1")), "{found:?}");
    assert_eq!(bound(&interval(0, ONE), &bytes).map(|b| near(b.deviation[0], r("1"))), Ok(true));
}

#[test]
fn cells_have_no_slopes_and_lie_inside() {
    let fails = |bytes: &[u8]| bound(&interval(-ONE, ONE), bytes).unwrap_err();
    let slopes: &[u8] = &[1, 0, 0, 0, 0];
    assert_eq!(fails(slopes).condition(), &Fault::SlopesInCell { node: 0 });
    let second = cut(0, 0.0, [&[0], slopes]);
    assert_eq!(fails(&second), Fault::SlopesInCell { node: 2 }.at(Place::Node(2)));
    for at in [-1.0, 1.0, 2.0] {
        assert_eq!(fails(&cut(0, at, [&[0], &[0]])), Fault::CutOutside { node: 0 });
    }
    assert_eq!(fails(&cut(1, 0.0, [&[0], &[0]])), Fault::NoSuchPlace { node: 0 });
    let (network, table, input) = (network(), tanh_table().unwrap(), interval(-ONE, ONE));
    let center = center(&network);
    let outputs = CellOutputs { center: &center, margins: false, softmax: None, gaussian: None };
    let mut empty = |index: usize| Ok((index, Node::Empty));
    let other = bound_cells(&network, table, &input, &outputs, &mut empty);
    assert_eq!(other, Err(Fault::NotEmpty { node: 0 }));
    // A set whose ball and box do not meet.
    let mut turned = input;
    turned.center = GridBox::point([5 * ONE]);
    turned.ball = Some(GridBall::Euclidean { semi_axes: vec![Some(0)] });
    assert_eq!(bound(&turned, &[0]), Err(Fault::EmptyInterval { layer: 0, neuron: 0 }));
}
