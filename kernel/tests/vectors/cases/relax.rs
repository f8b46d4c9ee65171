//! `relax.json`: lines with asked slopes, and the default relaxation.

use serde_json::{Value, json};

use super::{Cases, activations, with};
use crate::json::{int, ints};
use crate::random::Random;

const ONE: i64 = 1 << 24;

fn over(activation: &Value, value_bits: u32, (lower, upper): (i64, i64)) -> Value {
    json!({ "activation": activation, "value_bits": value_bits, "interval": ints([lower, upper]) })
}

fn slopes(upper: i64, lower: i64) -> Value {
    json!({ "upper_slope": int(upper), "lower_slope": int(lower) })
}

pub fn relax(cases: &mut Cases) {
    let mut random = Random(6);
    let all = activations();
    let (smooth, linear): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|a| *a == "tanh" || *a == "sigmoid");
    for (activations, rule) in [(&linear, "relax.line"), (&smooth, "relax.smooth")] {
        for activation in activations {
            lines(cases, rule, activation, &mut random);
        }
    }
    for activation in linear.iter().chain(&smooth) {
        defaults(cases, activation, &mut random);
    }
}

/// Intervals at, around and away from what is special about an activation, on the grid of 2^-`bits`.
fn places(bits: u32) -> Vec<(&'static str, (i64, i64))> {
    let one = 1i64 << bits;
    vec![
        ("the point 0", (0, 0)),
        ("a point above 0", (one / 3, one / 3)),
        ("a point below 0", (-one / 3, -one / 3)),
        ("one step", (0, 1)),
        ("one step around 0", (-1, 1)),
        ("from 0", (0, 2 * one)),
        ("to 0", (-2 * one, 0)),
        ("around 0, equal sides", (-one, one)),
        ("around 0, one step longer above", (-one, one + 1)),
        ("around 0, one step longer below", (-one - 1, one)),
        ("around 0, longer above", (-one / 2, 3 * one)),
        ("around 0, longer below", (-3 * one, one / 2)),
        ("above 0", (one / 2, 3 * one)),
        ("below 0", (-3 * one, -one / 2)),
        ("far above 0", (25 * one, 30 * one)),
        ("far on both sides", (-40 * one, 50 * one)),
        ("from a limit", (one, 3 * one)),
        ("to a limit", (-3 * one, -one)),
        ("just inside two limits", (-one + 1, one - 1)),
        ("just outside two limits", (-one - 1, one + 1)),
    ]
}

fn lines(cases: &mut Cases, rule: &'static str, activation: &Value, random: &mut Random) {
    for (index, (name, interval)) in places(48).into_iter().enumerate() {
        let (upper, lower) = [(0, 0), (ONE, ONE), (-ONE, ONE / 2), (ONE / 3, 1), (3, ONE - 1)][index % 5];
        cases.add(rule, name, with(over(activation, 48, interval), slopes(upper, lower)));
    }
    for bits in [16, 24, 40, 47] {
        let interval = random.interval(bits + 1, bits + 1);
        let asked = slopes(random.signed(24), random.signed(24));
        cases.add(rule, "random", with(over(activation, bits, interval), asked));
    }
    for (name, interval) in [("an empty interval", (1, 0)), ("the widest interval", (-i64::MAX, i64::MAX))] {
        cases.add(rule, name, with(over(activation, 48, interval), slopes(ONE / 2, ONE / 2)));
    }
    cases.add(rule, "the least integer", with(over(activation, 48, (i64::MIN, 0)), slopes(0, 0)));
}

fn defaults(cases: &mut Cases, activation: &Value, random: &mut Random) {
    let rule = "relax.default";
    for bits in [48, 20] {
        for (name, interval) in places(bits) {
            cases.add(rule, name, over(activation, bits, interval));
        }
    }
    // Where a chord gives way to a derivative: shorter than 2^-34.
    for (name, run) in [("the shortest chord", 1i64 << 14), ("too short for a chord", (1 << 14) - 1)] {
        let end = -(1i64 << 47);
        cases.add(rule, name, over(activation, 48, (end, end + run)));
        cases.add(rule, name, over(activation, 48, (-run / 2, run - run / 2)));
    }
    for number in 0..8 {
        let bits = [16, 33, 34, 35, 40, 47, 48, 48][number];
        let one = 1i64 << bits;
        let interval = random.interval(bits + 1, bits + 1);
        cases.add(rule, "random", over(activation, bits, interval));
        let interval = (-(random.signed(bits).abs()), one / 8 + random.signed(bits).abs());
        cases.add(rule, "random around 0", over(activation, bits, interval));
    }
    cases.add(rule, "an empty interval", over(activation, 48, (1, 0)));
    cases.add(rule, "the widest interval", over(activation, 48, (-i64::MAX, i64::MAX)));
    cases.add(rule, "the longest interval", over(activation, 48, (-(1 << 62), (1 << 62) - 1)));
    cases.add(
        rule,
        "one side asked for",
        with(over(activation, 48, (-(1 << 48), 1 << 49)), json!({ "upper_slope": 0 })),
    );
}
