//! What ELU and SiLU add to the files: at 0, at the ends of pieces, at the minimum, far out.

use serde_json::{Value, json};

use super::{Cases, around, layer, random_mask, random_network, scale, with};
use crate::json::{intervals, ints};
use crate::random::Random;

const ONE: i64 = 1 << 48;
const SLOPE: i64 = 1 << 24;

/// The cases of the file called `name`, after its others.
pub fn more(name: &str, cases: &mut Cases) {
    match name {
        "grid" => grid(cases),
        "ibp" => ibp(cases),
        "relax" => relax(cases),
        "crown" => crown(cases),
        "hull" => hull(cases),
        "band" => band(cases),
        "paired" => paired(cases),
        "float32" => float32(cases),
        "point" => point(cases),
        "sensitivity" => sensitivity(cases),
        _ => {}
    }
}

fn curves() -> [Value; 3] {
    [json!({ "elu": "1" }), json!({ "elu": "2/3" }), json!("silu")]
}

/// SiLU's inflection right of 0 and the place of its minimum, floored.
fn places(bits: u32) -> (i64, i64) {
    (2_766_270_605_941_285_588 >> (60 - bits), -1_473_969_264_226_601_855 >> (60 - bits))
}

/// Intervals around what is special about the curves.
pub fn ends(bits: u32) -> Vec<(&'static str, (i64, i64))> {
    let one = 1i64 << bits;
    let (turn, least) = places(bits);
    vec![
        ("the point 0", (0, 0)),
        ("one step below 0", (-1, 0)),
        ("one step above 0", (0, 1)),
        ("around 0", (-one, 2 * one)),
        ("below 0", (-3 * one, -one / 2)),
        ("above 0", (one / 2, 3 * one)),
        ("a point", (-one / 3, -one / 3)),
        ("the steps around an inflection", (turn, turn + 1)),
        ("to an inflection", (turn - one, turn)),
        ("from an inflection", (turn + 1, turn + one)),
        ("over an inflection from above 0", (one / 2, 5 * one)),
        ("over an inflection from just below it", (turn - one / 64, 5 * one)),
        ("over an inflection from just above 0", (1, 60 * one)),
        ("over an inflection from below 0", (-one, 5 * one)),
        ("over the left inflection", (-5 * one, -one)),
        ("the steps around the left inflection", (-turn - 1, -turn)),
        ("left of both inflections", (-6 * one, -3 * one)),
        ("between the inflections", (-turn, turn)),
        ("over both inflections", (-turn - 1, turn + 1)),
        ("far over both, longer above", (-8 * one, 20 * one)),
        ("far over both, longer below", (-20 * one, 8 * one)),
        ("the steps around the minimum", (least, least + 1)),
        ("to the minimum", (-2 * one, least)),
        ("from the step after the minimum", (least + 1, 0)),
        ("over the minimum", (-2 * one, one / 4)),
        ("far above", (25 * one, 70 * one)),
        ("far below", (-70 * one, -45 * one)),
        ("far on both sides", (-2000 * one, 3000 * one)),
    ]
}

fn on_grid(network: Value, depth: usize) -> Value {
    json!({ "network": network, "scale": scale(48, 48, &vec![52; depth]) })
}

fn grid(cases: &mut Cases) {
    let one = |activation: Value| json!([layer(1, &[(1, 0)], &[(0, 0)], activation)]);
    let mut add = |name: &str, activation: Value| {
        let input = json!({ "network": one(activation), "scale": scale(20, 48, &[52]) });
        cases.add("grid.layer", name, input);
    };
    add("silu", json!("silu"));
    for alpha in
        ["1", "1/1073741824", "1/1073741825", "1073741823/1073741824", "0", "-1/2", "1073741825/1073741824"]
    {
        add(&format!("an alpha of {alpha}"), json!({ "elu": alpha }));
    }
    // 64 * 9/8 * 57 = 4104: one bit more than without the slope.
    for last in [(57, 0), (56, 0)] {
        for activation in [json!("silu"), json!("relu"), json!({ "elu": "1" })] {
            let first = layer(1, &[(1, 6)], &[(0, 0)], activation.clone());
            let network = json!([first, layer(1, &[last], &[(0, 0)], json!("identity"))]);
            let network = json!({ "network": network, "magnitude": "1/64" });
            cases.add("grid.scale", format!("{activation} before a weight of {}", last.0), network);
        }
    }
}

fn ibp(cases: &mut Cases) {
    for activation in curves() {
        for bits in [16, 48] {
            for (name, ends) in ends(bits) {
                let input = json!({ "activation": activation, "value_bits": bits, "box": intervals([ends]) });
                cases.add("ibp.activation", name, input);
            }
        }
        for (bits, x) in [(20, 1i64 << 62), (20, -(1 << 62)), (48, i64::MIN)] {
            let input = json!({ "activation": activation, "value_bits": bits, "box": intervals([(x, x)]) });
            cases.add("ibp.activation", "beyond what is computed", input);
        }
    }
}

fn relax(cases: &mut Cases) {
    let mut random = Random(41);
    let over = |activation: &Value, bits: u32, ends: (i64, i64)| json!({ "activation": activation, "value_bits": bits, "interval": ints([ends.0, ends.1]) });
    for activation in &curves() {
        for bits in [16, 48] {
            for (number, (name, ends)) in ends(bits).into_iter().enumerate() {
                let asked = [
                    (0, 0),
                    (SLOPE, SLOPE),
                    (SLOPE / 3, 2 * SLOPE / 3 + 1),
                    (SLOPE + SLOPE / 11, -SLOPE / 11),
                    (-SLOPE / 10, SLOPE + SLOPE / 10),
                    (9 * SLOPE / 8, -SLOPE / 8),
                    (-SLOPE / 50, SLOPE / 2),
                ];
                let (upper, lower) = asked[number % asked.len()];
                let asked = json!({ "upper_slope": upper, "lower_slope": lower });
                cases.add("relax.smooth", name, with(over(activation, bits, ends), asked));
                cases.add("relax.default", name, over(activation, bits, ends));
            }
        }
        for number in 0..12 {
            let bits = [16, 30, 40, 48][number % 4];
            let ends = random.interval(bits + 3, bits + 3);
            let asked =
                json!({ "upper_slope": random.signed(24), "lower_slope": SLOPE / 2 + random.signed(23) });
            cases.add("relax.smooth", "random", with(over(activation, bits, ends), asked));
            cases.add("relax.default", "random", over(activation, bits, ends));
        }
        for (name, run) in [("the shortest chord", 1i64 << 14), ("too short for a chord", (1 << 14) - 1)] {
            cases.add("relax.default", name, over(activation, 48, (-ONE / 2, -ONE / 2 + run)));
        }
        for (name, ends) in [
            ("an empty interval", (1, 0)),
            ("the widest interval", (-i64::MAX, i64::MAX)),
            ("the least integer", (i64::MIN, 0)),
        ] {
            cases.add("relax.default", name, over(activation, 48, ends));
        }
    }
}

fn crown(cases: &mut Cases) {
    let mut random = Random(42);
    for (index, kind) in curves().iter().enumerate() {
        let activations = [kind.clone(), kind.clone(), json!("identity")];
        let network = random_network(&mut random, &[3, 4, 3, 2], &activations, index == 1);
        let input = around(&[ONE / 2, -2 * ONE, ONE / 5], &[ONE / 4, ONE, ONE / 3], index == 2);
        let outputs = json!([{ "weights": [1, 0] }, { "weights": [-1, 1] }]);
        let whole = with(on_grid(network, 3), json!({ "input": input, "outputs": outputs }));
        cases.add("crown.layers", format!("two layers of {kind}"), whole.clone());
        for (name, steepest) in
            [("the steepest slope of silu", 9 * SLOPE / 8), ("a slope beyond it", 9 * SLOPE / 8 + 1)]
        {
            let mut slopes = json!([[[null, null], [null, null], [null, null], [null, null]], [], []]);
            slopes[0][1] = json!([steepest, -steepest]);
            let outputs = json!([{ "weights": [1, 0], "slopes": slopes, "multipliers": [] }]);
            let asked = with(whole.clone(), json!({ "outputs": outputs }));
            cases.add("crown.layers", format!("{name}: {kind}"), asked);
        }
    }
}

fn hull(cases: &mut Cases) {
    let mut random = Random(43);
    for kind in curves() {
        let one = || on_grid(json!([layer(1, &[(1, 0)], &[(0, 0)], kind.clone())]), 1);
        for (name, ends) in ends(48) {
            let fields = json!({ "masks": [["1"]], "region": intervals([ends]), "radii": ints([ONE]) });
            cases.add("hull.chain", name, with(one(), fields));
        }
        let widths = [2, 3, 2];
        let network = random_network(&mut random, &widths, &[kind.clone(), kind.clone()], false);
        let masks = [random_mask(&mut random, &widths, 8), random_mask(&mut random, &widths, 5)];
        let fields = json!({ "masks": masks, "region": intervals([(-3 * ONE, ONE), (0, 2 * ONE)]), "radii": ints([2 * ONE, ONE]) });
        cases.add("hull.chain", "random", with(on_grid(network, 2), fields));
    }
}

fn band(cases: &mut Cases) {
    let mut random = Random(44);
    for kind in curves() {
        let widths = [2, 4, 3, 2];
        let activations = [kind.clone(), kind.clone(), kind.clone()];
        let network = on_grid(random_network(&mut random, &widths, &activations, false), 3);
        let all: Vec<Value> = widths.windows(2).map(|p| json!("1".repeat(p[0] * p[1]))).collect();
        for (rule, tightest) in
            [("hull.band", Value::Null), ("band.crown", random_mask(&mut random, &widths, 6))]
        {
            let input = around(&[-ONE, 2 * ONE], &[2 * ONE, ONE], false);
            let fields = json!({ "loosest": all, "tightest": tightest, "input": input });
            cases.add(rule, format!("{kind}"), with(network.clone(), fields));
        }
    }
}

fn paired(cases: &mut Cases) {
    let mut random = Random(45);
    for kind in curves() {
        let widths = [2, 4, 2];
        let network = on_grid(random_network(&mut random, &widths, &[kind.clone(), kind.clone()], false), 2);
        let mask = random_mask(&mut random, &widths, 6);
        let fields = json!({ "pruned": mask, "region": intervals([(-3 * ONE, ONE), (0, 2 * ONE)]) });
        cases.add("deviation.paired", format!("{kind}"), with(network, fields));
    }
}

fn float32(cases: &mut Cases) {
    for kind in curves() {
        let network = json!([layer(1, &[(1, 0)], &[(0, 0)], kind)]);
        cases.add("float32.weights", "an activation that is not bounded", json!({ "network": network }));
        let region = json!({ "region": intervals([(0, ONE)]) });
        cases.add("float32.layer", "an activation that is not bounded", with(on_grid(network, 1), region));
    }
}

fn point(cases: &mut Cases) {
    let mut random = Random(46);
    for kind in curves() {
        let network = random_network(&mut random, &[2, 2, 2], &[kind, json!("identity")], false);
        let input = with(on_grid(network, 2), json!({ "at": ["1/3", "-5/2"] }));
        cases.add("counterexample.point", "outputs at a point", input);
    }
}

fn sensitivity(cases: &mut Cases) {
    for kind in curves() {
        let network = json!([layer(1, &[(3, -2), (-5, -1)], &[(0, 0)], kind)]);
        cases.add("scaled.layer", "an activation's Lipschitz constant", json!({ "network": network }));
    }
    let network = json!([layer(1, &[(3, -2), (-5, -1)], &[(0, 0)], json!("silu"))]);
    let input = json!({ "network": network, "mask": null, "radii": ["1/3", "2/7"] });
    cases.add("sensitivity.layer", "slopes above 1", input);
}
