//! `quadratic.json`: parabolas of an activation, frames of neurons, forms, and bounds of networks by all of these.

use serde_json::{Value, json};

use super::curves::ends;
use super::{Cases, around, random_network, scale, with};
use crate::json::{int, intervals, ints};
use crate::random::Random;

const ONE: i64 = 1 << 48;

pub fn quadratic(cases: &mut Cases) {
    parabolas(cases);
    frames(cases);
    forms(cases);
    networks(cases);
}

fn parabolas(cases: &mut Cases) {
    let kinds = [
        json!("tanh"),
        json!("sigmoid"),
        json!("silu"),
        json!({ "elu": "1" }),
        json!({ "elu": "2/3" }),
        json!("relu"),
    ];
    let case = |kind: &Value, bits: u32, ends: (i64, i64), point: i64| json!({ "activation": kind, "value_bits": bits, "interval": intervals([ends])[0], "point": int(point) });
    for kind in &kinds {
        for (name, ends) in ends(48) {
            let middle = ends.0.midpoint(ends.1);
            cases.add("relax.parabola", name, case(kind, 48, ends, middle));
        }
        for (name, point) in [("the point at an end", -ONE), ("the point at the other", ONE / 3)] {
            cases.add("relax.parabola", name, case(kind, 48, (-ONE, ONE / 3), point));
        }
        cases.add("relax.parabola", "a coarse grid", case(kind, 20, (-3 << 18, 5 << 19), 1 << 19));
        for (name, point) in [("a point below", -1), ("a point above", 3)] {
            cases.add("relax.parabola", name, case(kind, 48, (0, 2), point));
        }
        cases.add("relax.parabola", "an empty interval", case(kind, 48, (2, 1), 2));
    }
}

fn bits(value: u32, coefficient: u32) -> Value {
    json!({ "value_bits": value, "coefficient_bits": coefficient })
}

fn functional(coefficients: &[i64], constant: i128) -> Value {
    json!({ "coefficients": ints(coefficients.iter().copied()), "constant": int(constant) })
}

fn frames(cases: &mut Cases) {
    let mut add = |name: &str, bits: &Value, input: &Value, below: Value, above: Value| {
        let fields = json!({ "input": input, "below": below, "above": above });
        cases.add("back.frame", name, with(bits.clone(), fields));
    };
    let (grid, plain) = (bits(20, 8), around(&[10, -21], &[5, 7], false));
    add(
        "apart by their constants",
        &grid,
        &plain,
        functional(&[-256, -512], 900),
        functional(&[256, 512], 300),
    );
    add("apart by coefficients", &grid, &plain, functional(&[-250, -512], 900), functional(&[256, 500], 300));
    add("an odd sum", &grid, &plain, functional(&[-256, 0], 256), functional(&[256, 0], 512));
    add("an even sum", &grid, &plain, functional(&[-256, 0], 256), functional(&[256, 0], 256));
    add("an image between two steps", &grid, &plain, functional(&[-255, 1], 0), functional(&[255, -1], 0));
    add(
        "an interval of odd length",
        &grid,
        &with(plain.clone(), json!({ "region": intervals([(5, 14), (-28, -13)]) })),
        functional(&[-300, 100], 7),
        functional(&[300, -100], 9),
    );
    add("contradictory", &grid, &plain, functional(&[-256, -512], -9000), functional(&[256, 512], 300));
    add(
        "a ball",
        &grid,
        &around(&[10, -20], &[4, 4], true),
        functional(&[-250, -512], 900),
        functional(&[256, 500], 300),
    );
    add("too few coefficients below", &grid, &plain, functional(&[-256], 900), functional(&[256, 512], 300));
    add("too few coefficients above", &grid, &plain, functional(&[-256, 0], 900), functional(&[256], 300));
    add("coefficients beyond 64 bits", &grid, &plain, functional(&[i64::MAX, 0], 0), functional(&[1, 0], 0));
    add("a rest beyond 64 bits", &grid, &plain, functional(&[0, 0], 0), functional(&[0, 0], i128::MAX));
    let mut random = Random(91);
    for _ in 0..3 {
        let mut numbers = |bits| (0..4).map(|_| random.signed(bits)).collect::<Vec<_>>();
        let (center, radii) = (numbers(47), numbers(40).iter().map(|r| r.abs()).collect::<Vec<_>>());
        let (above, noise) = (numbers(49), numbers(12));
        let below: Vec<i64> = above.iter().zip(&noise).map(|(a, n)| n - a).collect();
        let input = around(&center, &radii, false);
        add("random", &bits(48, 48), &input, functional(&below, 1 << 88), functional(&above, -(1 << 86)));
    }
}

fn forms(cases: &mut Cases) {
    let frame = |direction: &[i64], square: i64| json!({ "direction": ints(direction.iter().copied()), "square": int(square) });
    let mut add = |name: &str,
                   bits: &Value,
                   input: &Value,
                   frames: &Value,
                   seconds: &[i64],
                   c: &[i64],
                   constant: i128| {
        let fields = json!({
            "input": input, "frames": frames, "seconds": ints(seconds.iter().copied()),
            "coefficients": ints(c.iter().copied()), "constant": int(constant),
        });
        cases.add("conc.form", name, with(bits.clone(), fields));
    };
    let one = 1i64 << 8;
    let (grid, unit) = (bits(8, 8), around(&[0, 0], &[one, one], false));
    let both = json!([frame(&[one, one], 0), frame(&[one, -one], 0)]);
    add("neurons cancel", &grid, &unit, &both, &[one, -one], &[0, 0], 0);
    add("a corner is found", &grid, &unit, &both, &[one, -one], &[3 * one, -3 * one], 5);
    add("an input fixed by another", &grid, &unit, &both, &[one, -one], &[3 * one, one / 4], 5);
    add("a slope that is just enough", &grid, &unit, &both, &[one, -one], &[2 * one, 0], 0);
    add("a slope that is not", &grid, &unit, &both, &[one, -one], &[2 * one - 1, 0], 0);
    add("no slope has a sign", &grid, &unit, &both, &[one, -one], &[one, one / 2], -5);
    add("squares downward", &grid, &unit, &both, &[-one, 0], &[0, 0], 0);
    add("squares downward with a slope", &grid, &unit, &both, &[-one], &[4 * one, 0], 0);
    add(
        "steps of entries",
        &grid,
        &unit,
        &json!([frame(&[3, 7], 0), frame(&[-5, 11], 0)]),
        &[13, -17],
        &[1, 1],
        0,
    );
    add(
        "rests",
        &grid,
        &unit,
        &json!([frame(&[one, 0], 9), frame(&[3, -one], 100)]),
        &[one, -one],
        &[0, 0],
        0,
    );
    add(
        "a neuron without a frame",
        &grid,
        &unit,
        &json!([null, frame(&[3, -one], 100)]),
        &[one, -one],
        &[7, 0],
        0,
    );
    add("fewer coefficients than frames", &grid, &unit, &both, &[one], &[7, 0], 0);
    add("none at all", &grid, &unit, &both, &[], &[7, -3], 1000);
    add("no radius", &grid, &around(&[5, 6], &[0, 0], false), &both, &[one, -one], &[7, -3], 1000);
    let odd = with(unit.clone(), json!({ "region": intervals([(-one, one - 1), (3, 6)]) }));
    add("intervals of odd length", &grid, &odd, &both, &[one, -one], &[7, -3], 1000);
    add("a ball", &grid, &around(&[0, 0], &[one, one], true), &both, &[1, -1], &[3 * one, 4 * one], 0);
    let shared = json!([[{ "input": 0, "axis": int(one) }, { "input": 1, "axis": int(one) }]]);
    let shared = with(unit.clone(), json!({ "offsets": shared }));
    add("shared offsets", &grid, &shared, &both, &[1, -1], &[3 * one, -3 * one], 0);
    add("more coefficients than frames", &grid, &unit, &both, &[one, one, 1], &[7, 0], 0);
    add("too few of the functional", &grid, &unit, &both, &[one, one], &[7], 0);
    add("a frame of another width", &grid, &unit, &json!([frame(&[one], 0)]), &[one], &[7, 0], 0);
    add("a coefficient without a magnitude", &grid, &unit, &both, &[i64::MIN, 0], &[7, 0], 0);
    add("entries beyond 64 bits", &grid, &unit, &both, &[i64::MAX, 0], &[7, 0], 0);
    let mut random = Random(92);
    for (name, inputs, reach, slopes) in [
        ("random, most slopes have a sign", 5, 38, 50),
        ("random, some have", 5, 46, 49),
        ("random, 70 inputs", 70, 40, 50),
    ] {
        let mut numbers = |count, bits| (0..count).map(|_| random.signed(bits)).collect::<Vec<_>>();
        let (center, radii) =
            (numbers(inputs, 47), numbers(inputs, reach).iter().map(|r| r.abs()).collect::<Vec<_>>());
        let neurons: Value = (0..4).map(|_| frame(&numbers(inputs, 48), numbers(1, 30)[0].abs())).collect();
        let (seconds, c) = (numbers(4, 48), numbers(inputs, slopes));
        add(name, &bits(48, 48), &around(&center, &radii, false), &neurons, &seconds, &c, 1 << 80);
    }
}

fn networks(cases: &mut Cases) {
    let mut random = Random(93);
    let outputs = json!([{ "weights": [1, 0] }, { "weights": [-1, 1] }]);
    for (name, value, coefficient) in
        [("a coarse grid of coefficients", 48, 4), ("a coarse grid of values", 9, 30)]
    {
        let network = random_network(
            &mut random,
            &[3, 4, 3, 2],
            &[json!("silu"), json!("tanh"), json!("identity")],
            false,
        );
        let one = 1i64 << value;
        let input = around(&[one / 2, -one / 3, one / 5], &[one / 5, one / 3, one / 4], false);
        let fields = json!({ "input": input, "outputs": outputs, "quadratic": true });
        let grids = json!({ "network": network, "scale": scale(value, coefficient, &[10, 52, 52]) });
        cases.add("crown.layers", format!("parabolas on {name}"), with(grids, fields));
    }
    let mut add = |name: &str, network: Value, depth: usize, input: Value| {
        let fields = json!({ "input": input, "outputs": outputs, "quadratic": true });
        let grids = json!({ "network": network, "scale": scale(48, 48, &vec![52; depth]) });
        cases.add("crown.layers", name, with(grids, fields));
    };
    let near = around(&[ONE / 2, -ONE / 3, ONE / 5], &[ONE / 16, ONE / 9, ONE / 12], false);
    for (index, kind) in [
        json!("silu"),
        json!({ "elu": "1" }),
        json!({ "elu": "2/3" }),
        json!("tanh"),
        json!("sigmoid"),
        json!("relu"),
    ]
    .iter()
    .enumerate()
    {
        let activations = [kind.clone(), kind.clone(), json!("identity")];
        let network = random_network(&mut random, &[3, 4, 3, 2], &activations, index == 1);
        add(&format!("parabolas of two layers of {kind}"), network.clone(), 3, near.clone());
        let wide = around(&[ONE / 2, -2 * ONE, ONE / 5], &[ONE, 3 * ONE, 2 * ONE], index == 2);
        add(&format!("parabolas over wide inputs of {kind}"), network, 3, wide);
    }
    let kinds = [json!("silu"), json!("relu"), json!("tanh"), json!("tanh")];
    let network = random_network(&mut random, &[3, 4, 4, 3, 2], &kinds, false);
    add("parabolas around a layer of lines, and of the last layer", network, 4, near.clone());
    let single = random_network(&mut random, &[3, 2], &[json!("silu")], true);
    add("parabolas of a single layer", single.clone(), 1, near.clone());
    let radii = [ONE / 16, ONE / 9, ONE / 12];
    add("parabolas over a ball", single, 1, around(&[ONE / 2, -ONE / 3, ONE / 5], &radii, true));
    let network = random_network(&mut random, &[3, 2], &[json!("silu")], true);
    add("an input of another width than parabolas have", network, 1, around(&[0], &[1], false));
}
