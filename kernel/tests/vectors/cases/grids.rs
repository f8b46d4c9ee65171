//! `grid.json` and `ibp.json`.

use serde_json::{Value, json};

use super::{Cases, activations, layer, random_mask, random_network, scale, with};
use crate::json::{int, intervals};
use crate::random::Random;

fn one(weight: &[(i64, i32)], rows: usize, bias: (i64, i32), activation: Value) -> Value {
    json!([layer(rows, weight, &vec![bias; rows], activation)])
}

pub fn grid(cases: &mut Cases) {
    scales(cases);
    let mut random = Random(3);
    let scaled = |network: Value, value_bits, weight_bits: &[u32]| json!({ "network": network, "scale": scale(value_bits, 48, weight_bits) });
    let mut add = |name: &str, input: Value| cases.add("grid.layer", name, input);
    let weight = [(1, 0), (-1, 0), (3, -2), (-3, -2), (1, -60), (-1, -60), (0, 0), (1, -1074), (-1, -1074)];
    add("weights are floored", scaled(one(&weight, 1, (1, -60), json!("relu")), 48, &[52]));
    add("exact weights", scaled(one(&weight[..4], 1, (-1, -60), json!("tanh")), 48, &[52]));
    add("a coarse grid", scaled(one(&weight[..4], 1, (-1, -60), json!("identity")), 16, &[1]));
    let masked = scaled(one(&weight, 1, (1, -60), json!("relu")), 48, &[52]);
    add("a pruned weight is 0, its error stays", with(masked.clone(), json!({ "mask": ["111100000"] })));
    add("a mask of another width", with(masked.clone(), json!({ "mask": ["1111000000"] })));
    add("a mask of another depth", with(masked, json!({ "mask": ["111100000", "1"] })));
    add("no weight bits", scaled(one(&[(1, 0)], 1, (0, 0), json!("relu")), 48, &[]));
    add("the largest entry", scaled(one(&[(i64::MAX, -52)], 1, (0, 0), json!("relu")), 48, &[52]));
    add("the least entry but one", scaled(one(&[(-i64::MAX, -52)], 1, (0, 0), json!("relu")), 48, &[52]));
    add("the least entry", scaled(one(&[(-1, 11)], 1, (0, 0), json!("relu")), 48, &[52]));
    add("an entry beyond", scaled(one(&[(1, 11)], 1, (0, 0), json!("relu")), 48, &[52]));
    add("the least bias", scaled(one(&[(1, 0)], 1, (-1, 15), json!("relu")), 48, &[52]));
    add("a bias beyond", scaled(one(&[(1, 0)], 1, (1, 15), json!("relu")), 48, &[52]));
    for activation in activations() {
        add("an activation's parameters", scaled(one(&[(1, 0)], 1, (0, 0), activation), 20, &[52]));
    }
    for slope in ["0", "1", "1/1073741824", "1/1073741825", "1073741823/1073741824", "-1/2", "3/2"] {
        let activation = json!({ "leaky-relu": slope });
        add(&format!("a slope {slope}"), scaled(one(&[(1, 0)], 1, (0, 0), activation), 20, &[52]));
    }
    for limits in [["1", "1"], ["1", "-1"], ["0", "8796093022207"], ["0", "8796093022208"], ["1/7", "1/5"]] {
        let activation = json!({ "clip": limits });
        let name = format!("limits {} and {}", limits[0], limits[1]);
        add(&name, scaled(one(&[(1, 0)], 1, (0, 0), activation), 20, &[52]));
    }
    let mut shape = scaled(one(&[(1, 0), (2, 0)], 1, (0, 0), json!("relu")), 48, &[52]);
    shape["network"][0]["rows"] = json!(2);
    add("a table that does not fit its shape", shape.clone());
    shape["network"][0]["rows"] = json!(1);
    shape["network"][0]["bias"] = json!([]);
    add("a bias is missing", shape);
    for number in 0..3 {
        let widths = [3, 4, 2];
        let exact = number == 0;
        let network = random_network(&mut random, &widths, &[json!("relu"), json!("identity")], exact);
        let mask = random_mask(&mut random, &widths, 5);
        add(&format!("random {number}"), with(scaled(network, 47, &[52, 50]), json!({ "mask": mask })));
    }
}

fn scales(cases: &mut Cases) {
    let mut add = |name: &str, network: Value, magnitude: &str| {
        cases.add("grid.scale", name, json!({ "network": network, "magnitude": magnitude }));
    };
    let single = |weight: &[(i64, i32)], activation| one(weight, 1, (3, 0), activation);
    add("the finest grids", single(&[(1, 0), (-2, 0)], json!("relu")), "4");
    add("large weight and input", single(&[(1, 20)], json!("relu")), "1048576");
    for power in [11u32, 12, 13, 42, 43, 44] {
        let input = (1u64 << power).to_string();
        add(&format!("an input of 2^{power}"), single(&[(1, 0)], json!("tanh")), &input);
        let below = ((1u64 << power) - 1).to_string();
        add(&format!("an input of 2^{power} - 1"), single(&[(1, 0)], json!("tanh")), &below);
    }
    add("the largest input", single(&[(1, 0)], json!("tanh")), &((1u64 << 44) - 4).to_string());
    add("the first beyond it", single(&[(1, 0)], json!("tanh")), &((1u64 << 44) - 3).to_string());
    add("an input just above a power of two", single(&[(1, 0)], json!("tanh")), "33554433/8192");
    for power in [7, 8, 43, 44, 50] {
        add(&format!("a weight of 2^{power}"), single(&[(1, power)], json!("tanh")), "0");
    }
    add("a weight beyond all estimates", single(&[(1, 900)], json!("tanh")), "1");
    add("a weight that is no float of any grid", single(&[(1, -1074)], json!("tanh")), "1");
    add("an input beyond all estimates", single(&[(1, 0)], json!("tanh")), &format!("1{}", "0".repeat(60)));
    add("a negative magnitude counts as its absolute value", single(&[(1, 0)], json!("relu")), "-1048576");
    let clip = json!({ "clip": ["-1048576", "3"] });
    add("a clip bounds what follows", json!([layer(1, &[(1, 20)], &[(0, 0)], clip)]), "1048576");
    let first = layer(2, &[(1, 14), (0, 0), (0, 0), (1, 2)], &[(3, 0), (3, 0)], json!("relu"));
    let second = layer(1, &[(1, 2), (1, 14)], &[(3, 0)], json!("identity"));
    add("neuron by neuron", json!([first, second]), "1");
    let mut random = Random(4);
    for number in 0..4 {
        let network =
            random_network(&mut random, &[3, 5, 2], &[json!("relu"), json!("sigmoid")], number % 2 == 0);
        add(&format!("random {number}"), network, ["1", "1000/7", "123456789", "1/3"][number]);
    }
}

pub fn ibp(cases: &mut Cases) {
    let mut affine = |name: &str, network: Value, value_bits, weight_bits: u32, ends: Vec<(i64, i64)>| {
        let grids = scale(value_bits, 48, &[weight_bits]);
        let input = json!({ "network": network, "scale": grids, "box": intervals(ends) });
        cases.add("ibp.affine", name, input);
    };
    let weight = |values: &[(i64, i32)]| json!([layer(1, values, &[(0, 0)], json!("identity"))]);
    affine("zero width", weight(&[(3, -1), (-5, -1)]), 20, 1, vec![(7, 7), (-3, -3)]);
    affine("ends of both signs", weight(&[(3, -1), (-5, -1)]), 20, 1, vec![(-7, 8), (-3, 2)]);
    affine("a sum between two steps", weight(&[(1, -2), (-1, -2)]), 20, 2, vec![(-1, 2), (1, 1)]);
    affine(
        "inexact weights pay for every input",
        weight(&[(1, -3), (-1, -3)]),
        20,
        2,
        vec![(-7, 8), (-3, 2)],
    );
    affine("a pruned input pays too", weight(&[(1, -3), (0, 0)]), 20, 2, vec![(-7, 8), (-300, 2)]);
    let biased = json!([layer(2, &[(1, 0), (1, 0)], &[(1, -25), (-1, -25)], json!("relu"))]);
    affine("biases off the grid", biased, 20, 4, vec![(-5, 5)]);
    affine("too few ends", weight(&[(1, 0), (1, 0)]), 20, 4, vec![(-5, 5)]);
    let most = i64::MAX / 2;
    affine("the largest ends", weight(&[(1, 0)]), 20, 4, vec![(-most, most)]);
    affine("ends whose width leaves 64 bits", weight(&[(1, 0)]), 20, 4, vec![(-most - 1, most + 1)]);
    affine("an output beyond 64 bits", weight(&[(4, 0)]), 20, 4, vec![(most - 1, most)]);
    affine("the largest output", weight(&[(2, 0)]), 20, 4, vec![(most, most)]);
    let mut random = Random(5);
    for number in 0..6 {
        let network = random_network(&mut random, &[4, 3], &[json!("relu")], number % 2 == 0);
        let ends = (0..4).map(|_| random.interval(46, 20 + 4 * number)).collect();
        affine(&format!("random {number}"), network, 47, 52, ends);
    }

    for activation in activations() {
        let one = 1i64 << 20;
        let mut ends =
            vec![(0, 0), (-1, 1), (-one, one), (one / 3, one / 3), (-one / 3, 0), (-40 * one, 40 * one)];
        ends.extend((0..6).map(|_| random.interval(22, 21)));
        for value_bits in [20, 48] {
            let input =
                json!({ "activation": activation, "value_bits": value_bits, "box": intervals(ends.clone()) });
            cases.add("ibp.activation", "kinks, points, far ends and random ones", input);
        }
    }
    let steep = json!({ "activation": { "leaky-relu": "1" }, "value_bits": 48, "box": [[int(i64::MIN), int(i64::MIN)]] });
    cases.add("ibp.activation", "the least integer", steep);

    let mut meet = |name: &str, one: Value, other: Value| {
        cases.add("ibp.meet", name, json!({ "one": one, "other": other }));
    };
    meet("overlapping", json!([[-1, 5], [0, 3]]), json!([[2, 9], [-7, 1]]));
    meet("touching in a point", json!([[-1, 5]]), json!([[5, 9]]));
    meet("one step apart", json!([[0, 0], [-1, 5]]), json!([[0, 0], [6, 9]]));
    meet("other lengths", json!([[0, 0], [-1, 5]]), json!([[0, 0]]));
    meet("nothing to meet", json!([]), json!([]));
}
