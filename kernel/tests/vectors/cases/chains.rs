//! `hull.json`, `band.json`, `paired.json`, `nested.json` and `float32.json`.

use serde_json::{Value, json};

use super::{Cases, around, layer, random_mask, random_network, scale, with};
use crate::json::{int, intervals, ints};
use crate::random::Random;

const ONE: i64 = 1 << 48;

/// A chain of masks of a network, each within the one before.
fn chain(random: &mut Random, widths: &[usize], length: usize) -> Vec<Value> {
    let mut masks: Vec<Value> = Vec::new();
    for _ in 0..length {
        let drawn = random_mask(random, widths, 6);
        let and = |(new, old): (char, char)| if new == '1' && old == '1' { '1' } else { '0' };
        masks.push(match masks.last() {
            None => drawn,
            Some(before) => {
                let layers = drawn.as_array().unwrap().iter().zip(before.as_array().unwrap());
                let met = |(new, old): (&Value, &Value)| {
                    new.as_str()
                        .unwrap()
                        .chars()
                        .zip(old.as_str().unwrap().chars())
                        .map(and)
                        .collect::<String>()
                };
                layers.map(|pair| Value::from(met(pair))).collect()
            }
        });
    }
    masks
}

fn box_of(ends: &[(i64, i64)]) -> Value {
    intervals(ends.iter().copied())
}

fn kinds() -> [Value; 6] {
    [
        json!("relu"),
        json!("tanh"),
        json!("sigmoid"),
        json!({ "leaky-relu": "1/7" }),
        json!({ "clip": ["-1/3", "1/2"] }),
        json!("identity"),
    ]
}

fn network_of(network: Value, depth: usize) -> Value {
    json!({ "network": network, "scale": scale(48, 48, &vec![52; depth]) })
}

pub fn hull(cases: &mut Cases) {
    let mut random = Random(10);
    let mut add =
        |name: &str, network: Value, fields: Value| cases.add("hull.chain", name, with(network, fields));
    let pair = |activation: &Value| {
        network_of(json!([layer(1, &[(1, 0), (-1, 0)], &[(0, 0)], activation.clone())]), 1)
    };
    let quarter = ONE / 4;
    let region = box_of(&[(-quarter, quarter), (3 * quarter, 5 * quarter)]);
    for kind in kinds() {
        let fields =
            json!({ "masks": [["11"], ["10"]], "region": region, "radii": ints([quarter, quarter]) });
        add(&format!("hull of two masks: {kind}"), pair(&kind), fields);
    }
    let fields = |ends: &[(i64, i64)]| json!({ "masks": [["11"]], "region": box_of(ends), "radii": [1, 2] });
    for kind in kinds() {
        for (place, ends) in [
            ("touching 0 from above", [(1, 1), (0, 1)]),
            ("touching 0 from below", [(0, 0), (0, 1)]),
            ("touching a limit", [(ONE / 2, ONE), (0, 0)]),
            ("far above 0", [(30 * ONE, 31 * ONE), (0, 0)]),
            ("far below 0", [(-31 * ONE, -30 * ONE), (0, 0)]),
        ] {
            add(&format!("{place}: {kind}"), pair(&kind), fields(&ends));
        }
    }
    add("no mask", pair(&json!("relu")), json!({ "masks": [], "region": region, "radii": [1, 1] }));
    add("too few radii", pair(&json!("relu")), json!({ "masks": [["11"]], "region": region, "radii": [1] }));
    let huge = ints([i64::MAX, i64::MAX]);
    add(
        "radii whose sum leaves 64 bits",
        pair(&json!("relu")),
        json!({ "masks": [["11"]], "region": region, "radii": huge }),
    );
    for number in 0..4 {
        let widths = [3, 4, 3, 2];
        let activations = [kinds()[number].clone(), kinds()[(number + 1) % 5].clone(), json!("identity")];
        let network = network_of(random_network(&mut random, &widths, &activations, number % 2 == 0), 3);
        let masks = chain(&mut random, &widths, 3);
        let ends: Vec<_> = (0..3).map(|_| random.interval(48, 46)).collect();
        let radii: Vec<i64> = ends.iter().map(|(l, u)| u - l).collect();
        add("random", network, json!({ "masks": masks, "region": box_of(&ends), "radii": ints(radii) }));
    }
}

pub fn band(cases: &mut Cases) {
    for rule in ["hull.band", "band.crown"] {
        let mut random = Random(11);
        let mut add =
            |name: &str, network: Value, fields: Value| cases.add(rule, name, with(network, fields));
        let one_layer = |activation: Value| {
            network_of(
                json!([layer(2, &[(1, 0), (-1, 0), (3, -1), (1, -60)], &[(1, -3), (0, 0)], activation)]),
                1,
            )
        };
        let input = around(&[ONE / 2, -ONE / 3], &[ONE / 4, ONE / 8], false);
        let bands = [
            ("a band of one mask", json!(["1011"]), json!(["1011"])),
            ("a band with free weights", json!(["1111"]), json!(["1000"])),
            ("a band down to nothing", json!(["1111"]), json!(["0000"])),
            ("a band down to no mask", json!(["1111"]), Value::Null),
        ];
        for (name, loosest, tightest) in bands {
            for kind in kinds() {
                let fields = json!({ "loosest": loosest, "tightest": tightest, "input": input });
                add(&format!("{name}: {kind}"), one_layer(kind), fields);
            }
        }
        let fields = |loosest: Value, tightest: Value, input: &Value| json!({ "loosest": loosest, "tightest": tightest, "input": input });
        let relu = || one_layer(json!("relu"));
        let ball = around(&[ONE / 2, -ONE / 3], &[ONE / 4, ONE / 8], true);
        add("a ball", relu(), fields(json!(["1111"]), json!(["1000"]), &ball));
        let point = around(&[ONE / 2, -ONE / 3], &[0, 0], false);
        add("no radius", relu(), fields(json!(["1111"]), json!(["1000"]), &point));
        add("not nested", relu(), fields(json!(["1011"]), json!(["1100"]), &input));
        add("another width", relu(), fields(json!(["101"]), json!(["1000"]), &input));
        add("a tightest mask of another width", relu(), fields(json!(["1111"]), json!(["100"]), &input));
        add("a tightest mask of another depth", relu(), fields(json!(["1111"]), json!([]), &input));
        let narrow = around(&[ONE / 2], &[ONE / 4], false);
        add("an input of another width", relu(), fields(json!(["1111"]), json!(["1000"]), &narrow));
        let vast = around(&[0, 0], &[i64::MAX / 2, i64::MAX / 2], false);
        add("an input too large", relu(), fields(json!(["1111"]), json!(["1000"]), &vast));
        let mut fixed = network_of(
            json!([
                layer(2, &[(1, 0), (0, 0), (0, 0), (3, -1)], &[(0, 0), (0, 0)], json!("identity")),
                layer(2, &[(1, 0), (-1, 0), (3, -1), (1, -1)], &[(0, 0), (0, 0)], json!("tanh")),
            ]),
            2,
        );
        fixed["network"][0]["fixed"] = json!(true);
        add("a scale layer stays in every band", fixed, fields(json!(["1001", "1111"]), Value::Null, &input));
        for number in 0..4 {
            let widths = [2, 4, 3, 2];
            let activations = [kinds()[number].clone(), kinds()[(number + 1) % 5].clone(), json!("identity")];
            let network = network_of(random_network(&mut random, &widths, &activations, number % 2 == 0), 3);
            let masks = chain(&mut random, &widths, 2);
            let own = around(&[random.signed(48), random.signed(48)], &[ONE / 5, ONE / 3], number == 3);
            add("random", network, fields(masks[0].clone(), masks[1].clone(), &own));
        }
    }
}

pub fn paired(cases: &mut Cases) {
    let mut random = Random(12);
    let mut add = |name: &str, network: Value, fields: Value| {
        cases.add("deviation.paired", name, with(network, fields))
    };
    let region = box_of(&[(-ONE / 4, ONE / 4), (ONE / 2, ONE)]);
    for kind in kinds() {
        let network = || {
            network_of(
                json!([layer(2, &[(1, 0), (-1, 0), (3, -1), (1, -60)], &[(1, -3), (0, 0)], kind.clone())]),
                1,
            )
        };
        for (name, mask) in
            [("nothing pruned", "1111"), ("one weight a row pruned", "1001"), ("all pruned", "0000")]
        {
            add(&format!("{name}: {kind}"), network(), json!({ "pruned": [mask], "region": region }));
        }
    }
    let network = || network_of(json!([layer(1, &[(1, 0), (-1, 0)], &[(0, 0)], json!("relu"))]), 1);
    add("a point", network(), json!({ "pruned": ["01"], "region": box_of(&[(7, 7), (5, 5)]) }));
    add("a mask of another width", network(), json!({ "pruned": ["0"], "region": region }));
    add("an input of another width", network(), json!({ "pruned": ["01"], "region": box_of(&[(7, 7)]) }));
    let vast = i64::MAX / 2;
    add(
        "an input too large",
        network(),
        json!({ "pruned": ["01"], "region": box_of(&[(-vast, vast), (-vast, vast)]) }),
    );
    for number in 0..4 {
        let widths = [2, 4, 3, 2];
        let activations = [kinds()[number].clone(), kinds()[(number + 1) % 5].clone(), json!("identity")];
        let network = network_of(random_network(&mut random, &widths, &activations, number % 2 == 0), 3);
        let mask = random_mask(&mut random, &widths, 6);
        let ends: Vec<_> = (0..2).map(|_| random.interval(48, 46)).collect();
        add("random", network, json!({ "pruned": mask, "region": box_of(&ends) }));
    }
}

pub fn nested(cases: &mut Cases) {
    let zero = |rows: usize, columns: usize| {
        layer(rows, &vec![(0, 0); rows * columns], &vec![(0, 0); rows], json!("identity"))
    };
    let network = json!([zero(2, 2), zero(1, 2)]);
    let mut add = |name: &str, masks: Value| {
        cases.add("mono.nested", name, json!({ "network": network, "masks": masks }));
    };
    add("no mask", json!([]));
    add("one mask", json!([["1010", "11"]]));
    add("losing weights", json!([["1111", "11"], ["1101", "11"], ["1101", "11"], ["0001", "00"]]));
    add("a weight that comes back", json!([["1111", "11"], ["1101", "11"], ["1111", "11"]]));
    add("one weight for another", json!([["1111", "10"], ["1111", "01"]]));
    add("a table too short", json!([["111", "11"]]));
    add("a second table too short", json!([["1111", "11"], ["1111", "1"]]));
    add("a layer missing", json!([["1111"]]));
    add("a layer too many", json!([["1111", "11", "1"]]));
}

pub fn float32(cases: &mut Cases) {
    let single = |mantissa, exponent| json!([layer(1, &[(mantissa, exponent)], &[(0, 0)], json!("relu"))]);
    let mut add =
        |name: &str, network: Value| cases.add("float32.weights", name, json!({ "network": network }));
    for (name, mantissa, exponent) in [
        ("0", 0, 0),
        ("24 bits", (1 << 24) - 1, 0),
        ("25 bits", (1 << 24) + 1, 0),
        ("25 bits with a trailing 0", 1 << 24, 7),
        ("the least subnormal", 1, -149),
        ("half of it", 1, -150),
        ("a subnormal with trailing zeros", 1 << 20, -169),
        ("the greatest number", (1 << 24) - 1, 104),
        ("beyond it", 1, 128),
        ("the least number", -((1 << 24) - 1), 104),
        ("a negative number of 25 bits", -(1 << 24) - 1, -30),
    ] {
        add(name, single(mantissa, exponent));
    }
    add("a bias", json!([layer(1, &[(1, 0)], &[((1 << 24) + 1, 0)], json!("relu"))]));
    add(
        "a second layer",
        json!([
            layer(1, &[(1, 0)], &[(0, 0)], json!("relu")),
            layer(1, &[(1, 200)], &[(0, 0)], json!("relu"))
        ]),
    );

    let mut random = Random(13);
    let mut add = |name: &str, input: Value, ends: &[(i64, i64)]| {
        cases.add("float32.layer", name, with(input, json!({ "region": box_of(ends) })));
    };
    for kind in kinds() {
        let one = || {
            network_of(
                json!([layer(2, &[(1, 0), (-1, 0), (3, -1), (1, -60)], &[(1, -3), (0, 0)], kind.clone())]),
                1,
            )
        };
        add(&format!("a region: {kind}"), one(), &[(-ONE / 4, ONE / 4), (ONE / 2, 3 * ONE)]);
        add(&format!("the point 0: {kind}"), one(), &[(0, 0), (0, 0)]);
        add(&format!("a step: {kind}"), one(), &[(0, 1), (-1, 0)]);
    }
    let relu = || network_of(json!([layer(1, &[(1, 0), (-1, 0)], &[(0, 0)], json!("relu"))]), 1);
    add("an input of another width", relu(), &[(0, 1)]);
    add("an input too large", relu(), &[(0, 1 << 62), (0, 1 << 62)]);
    for number in 0..4 {
        let widths = [2, 4, 3, 2];
        let activations = [kinds()[number].clone(), kinds()[(number + 1) % 5].clone(), json!("identity")];
        let network = network_of(random_network(&mut random, &widths, &activations, true), 3);
        let ends: Vec<_> = (0..2).map(|_| random.interval(48, 46)).collect();
        add("random", network, &ends);
    }
    let state = |deviation: &[i64], oscillation: i64, margin: Option<i64>| json!({ "deviation": ints(deviation.iter().copied()), "oscillation": int(oscillation), "margin": margin.map(int) });
    let mut add = |name: &str, state: Value, errors: &[i64]| {
        cases.add("float32.change", name, json!({ "state": state, "errors": ints(errors.iter().copied()) }));
    };
    add("a lead that is kept", state(&[5, 7], 9, Some(11)), &[2, 5]);
    add("a lead of one step less is lost", state(&[5, 7], 9, Some(10)), &[2, 5]);
    add("no error", state(&[5, 7], 9, Some(1)), &[0, 0]);
    add("a lead of 0 is lost", state(&[5, 7], 9, Some(0)), &[0, 0]);
    add("a negative lead", state(&[5, 7], 9, Some(-100)), &[1, 1]);
    add("no lead", state(&[5], 0, None), &[3]);
    add("too few errors", state(&[5, 7], 9, Some(11)), &[2]);
    add("no error at all", state(&[], 9, Some(11)), &[]);
    add("the largest deviation", state(&[i64::MAX - 2], 0, None), &[1]);
    add("a deviation beyond", state(&[i64::MAX - 1], 0, None), &[1]);
    add("an oscillation beyond", state(&[0], i64::MAX - 3, None), &[1]);
    add("an error beyond", state(&[0], 0, None), &[1 << 62]);
    let gains = |gains: [i64; 4]| with(state(&[5, 7], 9, Some(11)), json!({ "gains": ints(gains) }));
    add("gains", gains([3, 9, 8, 5]), &[2, 5]);
    add("a gain beyond", gains([3, 9, i64::MAX - 3, 5]), &[1, 1]);
}
