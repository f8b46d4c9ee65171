//! `sensitivity.json` and `norm.json`.

use num_bigint::BigInt;
use serde_json::{Value, json};

use super::{Cases, layer, random_mask, random_network, with};
use crate::json::int;
use crate::random::Random;

fn single(weight: &[(i64, i32)], rows: usize, activation: Value) -> Value {
    json!([layer(rows, weight, &vec![(0, 0); rows], activation)])
}

pub fn sensitivity(cases: &mut Cases) {
    let mut random = Random(19);
    let mut add = |name: &str, input: Value| cases.add("scaled.layer", name, input);
    let weight = [(3, -2), (-5, -1), (0, 0), (1, -1074)];
    let plain = |network: Value| json!({ "network": network });
    add("weights of many scales", plain(single(&weight, 2, json!("relu"))));
    add("a mask", with(plain(single(&weight, 2, json!("relu"))), json!({ "mask": ["1011"] })));
    for activation in super::activations() {
        add("an activation's Lipschitz constant", plain(single(&weight[..2], 1, activation)));
    }
    add("a steep leak", plain(single(&weight[..2], 1, json!({ "leaky-relu": "-7/3" }))));
    add("all weights 0", plain(single(&[(0, 0); 4], 2, json!("tanh"))));
    add("no layer", plain(json!([])));
    let mut shape = plain(single(&weight, 2, json!("relu")));
    shape["network"][0]["columns"] = json!(3);
    add("a table that does not fit its shape", shape.clone());
    shape["network"][0]["columns"] = json!(2);
    shape["network"][0]["bias"] = json!([[0, 0]]);
    add("a bias is missing", shape);
    let first = layer(2, &weight, &[(0, 0), (0, 0)], json!("relu"));
    let second = layer(1, &weight[..3], &[(0, 0)], json!("relu"));
    add("layers that do not fit", plain(json!([first, second])));
    add(
        "a mask of another depth",
        with(plain(single(&weight, 2, json!("relu"))), json!({ "mask": ["1011", "1"] })),
    );
    add(
        "a mask of another width",
        with(plain(single(&weight, 2, json!("relu"))), json!({ "mask": ["101"] })),
    );

    let mut add = |name: &str, network: Value, mask: Value, radii: Value| {
        cases.add("sensitivity.layer", name, json!({ "network": network, "mask": mask, "radii": radii }));
    };
    let one = || single(&weight, 2, json!("sigmoid"));
    add("equal radii", one(), Value::Null, json!(["1/3", "1/3"]));
    add("unequal radii", one(), Value::Null, json!(["1/3", "2/7"]));
    add("radii of 0", one(), Value::Null, json!(["0", "0"]));
    add("a negative radius", one(), Value::Null, json!(["0", "-1/7"]));
    add("too few radii", one(), Value::Null, json!(["0"]));
    let power = |bits: u32, more: u8| ((BigInt::from(1) << bits) + more).to_string();
    let long = |bits: u32| json!([format!("1/{}", power(bits, 0)), "1/2"]);
    add("the longest common denominator", one(), Value::Null, long(1023));
    add("a longer one: radii are rounded up", one(), Value::Null, long(1024));
    add(
        "a longer one of equal radii",
        one(),
        Value::Null,
        json!([format!("1/{}", power(1024, 1)), format!("1/{}", power(1024, 1))]),
    );
    for number in 0..4 {
        let widths = [3, 4, 2];
        let network =
            random_network(&mut random, &widths, &[json!("relu"), json!("identity")], number % 2 == 0);
        let mask = random_mask(&mut random, &widths, 5);
        add("random", network, mask, json!(["1/3", "2/7", "5"]));
    }
}

pub fn norm(cases: &mut Cases) {
    let mut random = Random(20);
    let weight = [(3, 0), (-4, 0), (0, 0), (1, -2)];
    let shapes = [json!({ "linf": "1/3" }), json!({ "l2": "1/3" }), json!({ "radii": ["1/3", "1/4"] })];
    let (one, mask) = (|| single(&weight, 2, json!("sigmoid")), json!(["1011"]));
    let large = || single(&[((1 << 53) - 1, 900), (3, 900)], 1, json!("relu"));
    for rule in ["norm.linf", "norm.l1", "norm.frobenius"] {
        let mut add = |name: &str, network: Value, mask: Value, perturbation: Value| {
            cases.add(rule, name, json!({ "network": network, "mask": mask, "perturbation": perturbation }));
        };
        for shape in &shapes {
            add("one layer", one(), Value::Null, shape.clone());
            add("a mask", one(), mask.clone(), shape.clone());
        }
        add("all pruned", one(), json!(["0000"]), shapes[0].clone());
        add("large weights", large(), Value::Null, shapes[2].clone());
        add("a negative radius", one(), Value::Null, json!({ "linf": "-1/3" }));
        add("too few radii", one(), Value::Null, json!({ "radii": ["1/3"] }));
        add("a mask of another width", one(), json!(["101"]), shapes[0].clone());
        let network = random_network(&mut random, &[3, 4, 2], &[json!("relu"), json!("identity")], false);
        add("random", network, Value::Null, json!({ "radii": ["1/3", "2/7", "5"] }));
    }

    let mut add = |name: &str, network: Value, mask: Value, vectors: Value| {
        cases.add(
            "norm.abs-spectral",
            name,
            json!({
                "network": network, "mask": mask, "vectors": vectors, "perturbation": { "l2": "1/3" },
            }),
        );
    };
    add("equal entries", one(), Value::Null, json!([[1, 1]]));
    add("better entries", one(), Value::Null, json!([[3, 4]]));
    add("a mask", one(), mask.clone(), json!([[3, 4]]));
    let cap = |bits: u32| ((BigInt::from(1) << bits) - 1u8).to_string();
    add("the longest entry", one(), Value::Null, json!([[cap(512), 4]]));
    add("an entry too long", one(), Value::Null, json!([[cap(513), 4]]));
    add("an entry of 0", one(), Value::Null, json!([[1, 0]]));
    add("a negative entry", one(), Value::Null, json!([[-1, 1]]));
    add("too few entries", one(), Value::Null, json!([[1]]));
    add("too few vectors", one(), Value::Null, json!([]));
    for _ in 0..2 {
        let network = random_network(&mut random, &[3, 4, 2], &[json!("relu"), json!("identity")], false);
        add("random", network, Value::Null, json!([[5, 3, 4], [1000, 999, 1200, 70]]));
    }

    let mut add = |name: &str, masks: Value, vectors: Value| {
        cases.add(
            "norm.chain",
            name,
            json!({
                "network": one(), "masks": masks, "vectors": vectors, "perturbation": { "l2": "1/3" },
            }),
        );
    };
    let masks = json!([["1111"], ["1011"], ["0001"]]);
    add("own vectors", masks.clone(), json!([[[1, 1]], [[3, 4]], [[1, 9]]]));
    add("earlier vectors", masks.clone(), json!([[[1, 1]], null, [[1, 9]]]));
    add("no vector at first", masks.clone(), json!([null, [[3, 4]], [[1, 9]]]));
    add("too few vectors", masks.clone(), json!([[[1, 1]], [[3, 4]]]));
    add("no mask", json!([]), json!([]));
    add("a vector of another width", masks, json!([[[1, 1]], [[3]], [[1, 9]]]));

    let mut add = |name: &str, network: Value, mask: Value, witnesses: Value| {
        cases.add(
            "norm.spectral",
            name,
            json!({
                "network": network, "mask": mask, "witnesses": witnesses, "perturbation": { "l2": "1/3" },
            }),
        );
    };
    let witness = |rho: i64, factor: &[i64], bits: u32| {
        let factor: Vec<Value> = factor.iter().map(|&entry| int(entry)).collect();
        json!([{ "rho": int(rho), "factor": factor, "fraction_bits": bits }])
    };
    // W^T W is [[9, -12], [-12, 257/16]]; at rho = 26 and R = [[4, 0], [3, 1]] what is left is small.
    add("a factor", one(), Value::Null, witness(26, &[4, 3, 1], 0));
    add("a finer factor", one(), Value::Null, witness(26 << 8, &[66, 47, 4], 4));
    add("a mask", one(), mask, witness(26, &[4, 3, 1], 0));
    add("no factor worth its name", one(), Value::Null, witness(0, &[0, 0, 0], 0));
    add("a negative rho", one(), Value::Null, witness(-1000, &[0, 0, 0], 0));
    let wide = || single(&[(3, 0), (-4, 0), (1, -2)], 1, json!("tanh"));
    add("fewer rows than columns", wide(), Value::Null, witness(401, &[1], 2));
    add(
        "a weight below the factor's grid",
        single(&[(1, -40)], 1, json!("tanh")),
        Value::Null,
        witness(0, &[0], 0),
    );
    add("large weights", large(), Value::Null, witness(0, &[0], 0));
    add("a factor of another width", one(), Value::Null, witness(26, &[4, 3], 0));
    add("the largest entry", one(), Value::Null, witness(0, &[i64::MAX, 0, 0], 0));
    add("an entry too long", one(), Value::Null, witness(0, &[i64::MIN, 0, 0], 0));
    add("the finest factor", one(), Value::Null, witness(0, &[1, 0, 0], 1024));
    add("a finer one", one(), Value::Null, witness(0, &[1, 0, 0], 1025));
    add("no witness", one(), Value::Null, json!([]));
    let rho = |bits: u32| json!([{ "rho": cap(bits), "factor": [0, 0, 0], "fraction_bits": 1000 }]);
    add("the longest rho", one(), Value::Null, rho(4096));
    add("a rho too long", one(), Value::Null, rho(4097));

    let mut add = |name: &str, norm: &str, inputs: usize, perturbation: &Value| {
        let input = json!({ "norm": norm, "inputs": inputs, "perturbation": perturbation });
        cases.add("norm.deviation", format!("{name} in {norm}"), input);
    };
    for norm in ["linf", "l1", "l2"] {
        for shape in &shapes {
            add("2 inputs", norm, 2, shape);
            add("9 inputs", norm, 9, shape);
        }
        add("no radius", norm, 2, &json!({ "radii": [] }));
        add("a negative radius", norm, 2, &json!({ "l2": "-1/3" }));
        add("a negative radius of one", norm, 2, &json!({ "radii": ["1", "-1"] }));
    }
}
