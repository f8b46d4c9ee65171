//! `enclosures.json` and `tanh-table.json`.

use num_bigint::BigInt;
use serde_json::json;

use super::Cases;
use crate::json::int;
use crate::random::Random;

/// A random rational with a numerator of `top` and a denominator of `bottom` bits at most.
fn random_rational(random: &mut Random, top: u32, bottom: u32) -> String {
    format!("{}/{}", random.signed(top), random.signed(bottom).abs() + 1)
}

pub fn enclosures(cases: &mut Cases) {
    let power = |bits: u32| (BigInt::from(1) << bits).to_string();
    let tiny = format!("1/{}", power(200));
    let mut random = Random(1);

    for x in
        ["0", "1", "-1", "1/2", "-1/2", "1/256", "1/255", "-1/3", "2", "-7/2", "20", "-20", "100", "-700"]
    {
        cases.add("enclose.exp", x, json!({ "x": x }));
    }
    cases.add("enclose.exp", "far below the grid", json!({ "x": tiny }));
    cases.add("enclose.exp", "the largest argument", json!({ "x": "2048" }));
    cases.add("enclose.exp", "beyond the largest argument", json!({ "x": "2049/1" }));
    cases.add("enclose.exp", "just beyond the largest argument", json!({ "x": "4194305/2048" }));
    cases.add("enclose.exp", "the last argument with a positive lower end", json!({ "x": "-2048" }));
    cases.add("enclose.exp", "below it", json!({ "x": "-4194305/2048" }));
    for number in 0..6 {
        let x = random_rational(&mut random, 24, 20);
        cases.add("enclose.exp", format!("random {number}"), json!({ "x": x }));
    }

    for x in
        ["0", "1", "4", "2", "3", "1/4", "1/3", "9/16", "1000000000000000000000000000000000000000001", "-1"]
    {
        cases.add("enclose.sqrt", x, json!({ "x": x }));
    }
    cases.add("enclose.sqrt", "just below 0", json!({ "x": format!("-1/{}", power(300)) }));
    cases.add("enclose.sqrt", "small", json!({ "x": format!("1/{}", power(301)) }));
    for bits in [254u32, 255, 256, 257, 300] {
        let n = BigInt::from(1) << bits;
        cases.add("enclose.sqrt", format!("2^{bits}"), json!({ "x": n.to_string() }));
        cases.add("enclose.sqrt", format!("2^{bits} - 1"), json!({ "x": (&n - 1u8).to_string() }));
        cases.add("enclose.sqrt", format!("2^{bits} + 1"), json!({ "x": (n + 1u8).to_string() }));
    }
    let root = (BigInt::from(1) << 128u32) - 159;
    let square = format!("{}/{}", &root * &root, power(200));
    cases.add("enclose.sqrt", "the square of a number of 128 bits", json!({ "x": square }));
    for number in 0..6 {
        let x = random_rational(&mut random, 60, 60).replace('-', "");
        cases.add("enclose.sqrt", format!("random {number}"), json!({ "x": x }));
    }

    for x in [
        "1",
        "2",
        "4",
        "3/2",
        "10",
        "20",
        "1000000",
        "340282366920938463463374607431768211456",
        "999/1000",
        "0",
        "-1",
    ] {
        cases.add("enclose.ln", x, json!({ "x": x }));
    }
    cases.add(
        "enclose.ln",
        "just above 1",
        json!({ "x": format!("{}/{}", BigInt::from(1) + &(BigInt::from(1) << 200u32), power(200)) }),
    );
    for (number, bits) in [20u32, 64, 200].into_iter().enumerate() {
        let x = (BigInt::from(1) << bits) + BigInt::from(number) + 1u8;
        cases.add("enclose.ln", format!("2^{bits} and a little"), json!({ "x": x.to_string() }));
    }

    for d in ["0", "1/1000000", "1/10", "1/2", "1", "2", "3", "10", "24", "24001/1000", "1000", "-1/2"] {
        cases.add("enclose.gaussian-tv", d, json!({ "d": d }));
    }
    cases.add("enclose.gaussian-tv", "far below the grid", json!({ "d": tiny }));
    for number in 0..6 {
        let d = random_rational(&mut random, 22, 20).replace('-', "");
        cases.add("enclose.gaussian-tv", format!("random {number}"), json!({ "d": d }));
    }

    for x in ["0", "1", "-1", "1/256", "-1/3", "5", "-22", "63", "64", "-64", "64001/1000", "-65", "1000"] {
        cases.add("enclose.tanh", x, json!({ "x": x }));
    }
    cases.add("enclose.tanh", "far below the grid", json!({ "x": tiny }));
    cases.add("enclose.tanh", "just below 0", json!({ "x": format!("-{tiny}") }));
    for number in 0..6 {
        let x = random_rational(&mut random, 22, 20);
        cases.add("enclose.tanh", format!("random {number}"), json!({ "x": x }));
    }
}

pub fn tanh_table(cases: &mut Cases) {
    cases.add("enclose.tanh-table", "the entries T_k", json!({}));
    let lookup = |cases: &mut Cases, name: String, x: i64, bits: u32| {
        cases.add("enclose.tanh-table", name, json!({ "x": int(x), "bits": bits }));
    };
    for bits in [0, 1, 7, 8, 9, 16, 17, 24, 40, 48, 49, 57, 58, 61, 62, 63, 64, 90, 126] {
        for x in [0, 1, -1, 2, i64::MAX, i64::MIN + 1] {
            lookup(cases, format!("{x} at 2^-{bits}"), x, bits);
        }
    }
    lookup(cases, "the least integer".into(), i64::MIN, 48);
    for (k, bits) in
        [(1i64, 48), (2, 48), (255, 48), (256, 48), (256, 49), (1000, 24), (5631, 48), (5632, 49)]
    {
        let entry = k << (bits - 8);
        for (name, x) in [("at", entry), ("below", entry - 1), ("above", entry + 1), ("mirrored at", -entry)]
        {
            lookup(cases, format!("{name} entry {k}, 2^-{bits}"), x, bits);
        }
    }
    let mut random = Random(2);
    for number in 0..60 {
        let bits = [16, 30, 47, 48, 49][number % 5];
        let x = random.signed(bits + 1 + (number as u32 % 4));
        lookup(cases, format!("random {number}"), x, bits);
    }
}
