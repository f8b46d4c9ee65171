//! `back.json` and `crown.json`.

use serde_json::{Value, json};

use super::{Cases, around, layer, random_network, scale, with};
use crate::json::{int, intervals, ints};
use crate::random::Random;

const ONE: i64 = 1 << 24;

/// A functional of the outputs of `network` over `input`.
fn functional(
    network: Value,
    bits: u32,
    weight_bits: &[u32],
    coefficients: &[i64],
    constant: i128,
    input: Value,
) -> Value {
    let relaxed: Vec<Value> = Vec::new();
    json!({
        "network": network, "scale": scale(20, bits, weight_bits), "relaxed": relaxed,
        "coefficients": ints(coefficients.iter().copied()), "constant": int(constant), "input": input,
    })
}

fn relaxed(neurons: &[[i64; 4]], pre: i64, input: i64) -> Value {
    let neurons: Vec<Value> = neurons
        .iter()
        .map(|[us, ui, ls, li]| json!({ "upper": ints([*us, *ui]), "lower": ints([*ls, *li]) }))
        .collect();
    json!([{ "neurons": neurons, "pre_magnitude": int(pre), "input_magnitude": int(input) }])
}

pub fn back(cases: &mut Cases) {
    concretized(cases);
    affine(cases);
    let unit = |activation: &str| {
        json!([layer(2, &[(1, 0), (0, 0), (0, 0), (1, 0)], &[(0, 0), (0, 0)], json!(activation))])
    };
    let input = around(&[10, -20], &[5, 7], false);
    let through = |coefficients: &[i64], neurons: &[[i64; 4]], pre| {
        let own = functional(unit("relu"), 8, &[4], coefficients, 0, input.clone());
        with(own, json!({ "relaxed": relaxed(neurons, pre, 42) }))
    };
    let halves = [[ONE / 2, 3, ONE / 2, -3], [ONE / 2, 3, ONE / 2, -3]];
    let mut add = |name: &str, input: Value| cases.add("back.relax", name, input);
    add(
        "positive coefficients take the upper line",
        through(&[256, 256], &[[ONE, 5, 0, -5], [0, 9, ONE, -9]], 0),
    );
    add(
        "negative coefficients take the lower line",
        through(&[-256, -256], &[[ONE, 5, 0, -5], [0, 9, ONE, -9]], 0),
    );
    add("a coefficient of 0 takes the upper line", through(&[0, 0], &[[ONE, 5, 0, -5], [0, 9, ONE, -9]], 0));
    add("products are floored and paid for", through(&[3, -3], &halves, 41));
    add("negative slopes", through(&[3, -3], &[[-ONE, 0, -ONE / 3, 0], [-1, 0, 1, 0]], 41));
    add("too few relaxations", through(&[3, -3], &halves[..1], 41));
    add("too few coefficients", through(&[3], &halves, 41));
    add("a coefficient beyond 64 bits", through(&[i64::MAX, 0], &[[4 * ONE, 0, 0, 0], [0, 0, 0, 0]], 0));
    add("the largest coefficient", through(&[i64::MAX / 256, 0], &[[ONE, 0, 0, 0], [0, 0, 0, 0]], 0));
    let own = functional(unit("identity"), 8, &[4], &[3, -3], 0, input.clone());
    add("an identity has no lines", with(own, json!({ "relaxed": relaxed(&halves, 41, 42) })));

    let mut add = |name: &str, input: Value| cases.add("back.dual", name, input);
    let split = |neuron: usize, positive: bool, value: i64| {
        let multipliers = json!([[{ "neuron": neuron, "positive": positive, "value": int(value) }]]);
        with(through(&[256, -256], &halves, 41), json!({ "multipliers": multipliers }))
    };
    add("not negative", split(1, true, 100));
    add("not positive", split(1, false, 100));
    add("a multiplier of 0", split(0, true, 0));
    add("a negative multiplier", split(0, true, -1));
    add("a neuron that does not exist", split(2, true, 1));
    add("a sum beyond 64 bits", split(0, true, i64::MAX));
    add("no list for the layer", with(through(&[256, -256], &halves, 41), json!({ "multipliers": [] })));
}

fn concretized(cases: &mut Cases) {
    let none = json!([]);
    let mut add = |rule, name: &str, coefficients: &[i64], constant: i128, input: Value| {
        cases.add(rule, name, functional(none.clone(), 8, &[], coefficients, constant, input));
    };
    let plain = around(&[10, -20], &[5, 7], false);
    add("conc.box", "both signs", &[300, -200], 17, plain.clone());
    add("conc.box", "rounded up", &[1, 0], 0, plain.clone());
    add("conc.box", "negative, rounded up", &[-1, 0], 0, plain.clone());
    add("conc.box", "a point", &[300, -200], -1, around(&[3, 4], &[0, 0], false));
    add("conc.box", "no input", &[], 256, around(&[], &[], false));
    add("conc.box", "another width", &[1], 0, plain);
    let wide =
        json!({ "region": intervals([(i64::MIN, i64::MAX)]), "center": intervals([(0, 0)]), "radii": [0] });
    add("conc.box", "the largest product", &[i64::MIN], 0, wide.clone());
    add("conc.box", "the largest constant that fits", &[0], (i64::MAX as i128) << 8, wide.clone());
    add("conc.box", "a constant beyond 64 bits", &[0], ((i64::MAX as i128) << 8) + 1, wide.clone());
    add("conc.box", "a sum beyond 128 bits", &[i64::MAX], i128::MAX, wide);

    let ball = around(&[10, -20], &[4, 4], true);
    add("conc.ball", "3 and 4 make 5", &[300, -400], 0, ball.clone());
    add("conc.ball", "one coordinate: the box is better", &[256, 0], 0, ball.clone());
    add("conc.ball", "all coefficients 0", &[0, 0], 5, ball.clone());
    add("conc.ball", "no radius", &[300, -400], 0, around(&[10, -20], &[0, 0], true));
    let cut = with(ball.clone(), json!({ "semi_axes": [4, null] }));
    add("conc.ball", "a coordinate that left the ball", &[300, -400], 0, cut);
    let fuzzy = with(ball.clone(), json!({ "center": intervals([(9, 11), (-21, -19)]) }));
    add("conc.ball", "an enclosed centre", &[3000, -4000], 0, fuzzy);
    add("conc.ball", "too few semi-axes", &[300, -400], 0, with(ball.clone(), json!({ "semi_axes": [4] })));
    add(
        "conc.ball",
        "too few centres",
        &[300, -400],
        0,
        with(ball, json!({ "center": intervals([(9, 11)]) })),
    );
    let shared = |offsets: Value| with(around(&[10, -20], &[4, 6], false), json!({ "offsets": offsets }));
    let pair = |first: i64, second: i64| json!([[{ "input": 0, "axis": int(first) }, { "input": 1, "axis": int(second) }]]);
    add("conc.shared", "against each other, 4 and 4 cancel", &[300, -300], 0, shared(pair(4, 4)));
    add("conc.shared", "with each other, as the box", &[300, 300], 0, shared(pair(4, 4)));
    add("conc.shared", "other axes, negative in sum", &[100, -300], 0, shared(pair(3, 5)));
    add("conc.shared", "no axis", &[300, -300], 0, shared(pair(0, 0)));
    let alone = json!([[{ "input": 1, "axis": int(6) }], [{ "input": 0, "axis": int(2) }]]);
    add("conc.shared", "an offset each, as the box", &[300, -300], 0, shared(alone));
    add("conc.shared", "no offset", &[300, -300], 0, shared(json!([])));
    let fuzzy = with(shared(pair(4, 4)), json!({ "center": intervals([(9, 11), (-21, -19)]) }));
    add("conc.shared", "an enclosed centre", &[3000, -4000], 0, fuzzy);
    add(
        "conc.shared",
        "an input that is not there",
        &[300, -300],
        0,
        shared(json!([[{ "input": 2, "axis": int(1) }]])),
    );
    add("conc.shared", "too few coefficients", &[300], 0, shared(pair(4, 4)));
    let wide =
        with(around(&[0, 0], &[i64::MAX, i64::MAX], false), json!({ "offsets": pair(i64::MAX, i64::MAX) }));
    add("conc.shared", "a sum beyond 128 bits", &[i64::MAX, i64::MIN], i128::MAX, wide);
    let mut random = Random(7);
    let mut add = |rule, name: &str, coefficients: &[i64], constant: i128, input: Value| {
        cases.add(rule, name, functional(none.clone(), 48, &[], coefficients, constant, input));
    };
    for _ in 0..3 {
        let numbers = |random: &mut Random, bits| (0..5).map(|_| random.signed(bits)).collect::<Vec<_>>();
        let (center, coefficients) = (numbers(&mut random, 47), numbers(&mut random, 50));
        let radii: Vec<i64> = numbers(&mut random, 38).iter().map(|r| r.abs()).collect();
        add("conc.box", "random", &coefficients, 1 << 70, around(&center, &radii, false));
        add("conc.ball", "random", &coefficients, 1 << 70, around(&center, &radii, true));
    }
}

fn affine(cases: &mut Cases) {
    let mut random = Random(8);
    let mut add = |name: &str, input: Value| cases.add("back.affine", name, input);
    let input = around(&[10, -20], &[5, 7], false);
    let weights =
        |values: &[(i64, i32)]| json!([layer(2, values, &[(1, -25), (-1, -25)], json!("identity"))]);
    let exact = [(3, -1), (-5, -2), (1, 0), (0, 0)];
    let inexact = [(3, -9), (-5, -9), (1, 0), (0, 0)];
    let neutral = relaxed(&[[ONE, 0, ONE, 0], [ONE, 0, ONE, 0]], 0, 42);
    for (name, weight) in [("exact weights", &exact), ("inexact weights", &inexact)] {
        for coefficients in [[256, 256], [-256, 3], [0, 0], [1, -1]] {
            let own = functional(weights(weight), 8, &[4], &coefficients, 5, input.clone());
            add(name, with(own, json!({ "relaxed": neutral })));
        }
        for (coefficient_bits, weight_bits) in [(8, 4), (4, 8), (4, 4)] {
            for (neuron, negative) in [(0, false), (0, true), (1, false), (1, true)] {
                add(
                    &format!("{name}: a neuron's row"),
                    json!({
                        "network": weights(weight), "scale": scale(20, coefficient_bits, &[weight_bits]),
                        "layer": 0, "neuron": neuron, "negative": negative, "input_magnitude": 42,
                    }),
                );
            }
        }
    }
    let own = functional(weights(&exact), 8, &[4], &[1, 1, 1], 5, input.clone());
    add("too many coefficients", with(own, json!({ "relaxed": neutral })));
    let own =
        functional(weights(&[(4, 0), (0, 0), (0, 0), (0, 0)]), 8, &[4], &[i64::MAX, 0], 5, input.clone());
    add("a coefficient beyond 64 bits", with(own, json!({ "relaxed": neutral })));
    add(
        "a weight's row beyond 64 bits",
        json!({
            "network": weights(&[(1, 40), (0, 0), (0, 0), (0, 0)]), "scale": scale(20, 48, &[4]),
            "layer": 0, "neuron": 0, "negative": false, "input_magnitude": 42,
        }),
    );
    let own = functional(weights(&exact), 8, &[4], &[256, 256], 5, around(&[1], &[1], false));
    add("inputs of another width", with(own, json!({ "relaxed": neutral })));
    let own = functional(weights(&exact), 8, &[4], &[256, 256], 5, input);
    add("no relaxation of the layer", own);
    for number in 0..4 {
        let network = random_network(&mut random, &[4, 3], &[json!("identity")], number % 2 == 0);
        let coefficients: Vec<i64> = (0..3).map(|_| random.signed(49)).collect();
        let center: Vec<i64> = (0..4).map(|_| random.signed(20)).collect();
        let own = functional(
            network,
            48,
            &[52],
            &coefficients,
            random.signed(60).into(),
            around(&center, &[9; 4], number > 1),
        );
        let lines = relaxed(&[[ONE, 0, ONE, 0]; 3], 0, 1 << 22);
        add("random", with(own, json!({ "relaxed": lines })));
    }
}

pub fn crown(cases: &mut Cases) {
    let mut random = Random(9);
    let mut add = |name: &str, input: Value| cases.add("crown.layers", name, input);
    let targets = |outputs: usize| {
        let mut made: Vec<Value> = (0..outputs)
            .map(|one| json!({ "weights": (0..outputs).map(|at| i64::from(at == one)).collect::<Vec<_>>() }))
            .collect();
        made.push(json!({ "weights": (0..outputs).map(|at| if at == 0 { -1 } else { i64::from(at == 1) }).collect::<Vec<_>>() }));
        json!(made)
    };
    let whole = |network: Value, depth: usize, input: Value, outputs: usize| json!({ "network": network, "scale": scale(48, 48, &vec![52; depth]), "input": input, "outputs": targets(outputs) });
    let one = 1i64 << 48;
    let kinds = [
        json!("relu"),
        json!("tanh"),
        json!("sigmoid"),
        json!({ "leaky-relu": "1/7" }),
        json!({ "clip": ["-1/3", "1/2"] }),
    ];
    for (index, kind) in kinds.iter().enumerate() {
        let activations = [kind.clone(), kind.clone(), json!("identity")];
        let network = random_network(&mut random, &[3, 4, 3, 2], &activations, index % 2 == 1);
        let input = around(&[one / 2, -one / 3, one / 5], &[one / 4, one / 2, one / 3], index % 2 == 0);
        add(&format!("two layers of {kind}"), whole(network, 3, input, 2));
    }
    let squashed = random_network(&mut random, &[2, 3, 2], &[json!("relu"), json!("tanh")], true);
    let input = around(&[one / 2, -one / 3], &[one, one], false);
    add("a last layer with a squash is tightened", whole(squashed, 2, input.clone(), 2));
    let one_layer = random_network(&mut random, &[2, 2], &[json!("tanh")], true);
    add(
        "one layer over a ball is tightened",
        whole(one_layer.clone(), 1, around(&[one, one], &[one, one], true), 2),
    );
    add("one layer over a box is not", whole(one_layer, 1, input.clone(), 2));
    let point = around(&[one / 2, -one / 3], &[0, 0], false);
    let network = random_network(&mut random, &[2, 3, 1], &[json!("relu"), json!("identity")], true);
    add("a point", whole(network.clone(), 2, point, 1));
    let full = whole(network.clone(), 2, input.clone(), 1);
    let signs = |list: &[(usize, usize, bool)]| -> Value {
        list.iter()
            .map(
                |(layer, neuron, positive)| json!({ "layer": layer, "neuron": neuron, "positive": positive }),
            )
            .collect()
    };
    add("no signs", full.clone());
    add("signs", with(full.clone(), json!({ "signs": signs(&[(0, 0, true), (0, 2, false)]) })));
    add("a sign of the last layer", with(full.clone(), json!({ "signs": signs(&[(1, 0, true)]) })));
    let parallel = json!([
        layer(2, &[(1, 0), (1, 0)], &[(-1, 0), (1, 0)], json!("relu")),
        layer(1, &[(1, 0), (-1, 0)], &[(0, 0)], json!("identity")),
    ]);
    let around_zero = around(&[0], &[one / 2], false);
    let parallel = whole(parallel, 2, around_zero, 1);
    add("parallel neurons", parallel.clone());
    add("signs that leave nothing", with(parallel.clone(), json!({ "signs": signs(&[(0, 0, true)]) })));
    let asked = |slopes: Value, multipliers: Value| json!({ "outputs": [{ "weights": [1], "slopes": slopes, "multipliers": multipliers }, { "weights": [-1] }] });
    let row = json!([[[ONE / 2, 0], [null, ONE], [0, null]], []]);
    add("asked slopes", with(full.clone(), asked(row.clone(), json!([]))));
    let positive = json!([[{ "neuron": 0, "positive": true, "value": int(one / 3) }]]);
    let signed = with(full.clone(), json!({ "signs": signs(&[(0, 0, true), (0, 2, false)]) }));
    add("multipliers of signs", with(signed.clone(), asked(row.clone(), positive.clone())));
    let negative = json!([[{ "neuron": 2, "positive": false, "value": int(one / 3) }]]);
    add("a multiplier of a negative sign", with(signed, asked(json!([[], []]), negative.clone())));
    add("a multiplier without its sign", with(full.clone(), asked(json!([[], []]), negative)));
    add(
        "the steepest slope",
        with(full.clone(), asked(json!([[[ONE, -ONE], [ONE, ONE], [-ONE, 0]], []]), json!([]))),
    );
    add(
        "a slope beyond 1",
        with(full.clone(), asked(json!([[[ONE + 1, 0], [0, 0], [0, 0]], []]), json!([]))),
    );
    add(
        "a slope beyond -1",
        with(full.clone(), asked(json!([[[0, -ONE - 1], [0, 0], [0, 0]], []]), json!([]))),
    );
    add("too few slopes", with(full.clone(), asked(json!([[[0, 0]], []]), json!([]))));
    add("an input of another width", with(full.clone(), json!({ "input": around(&[0], &[1], false) })));
    let vast = around(&[0, 0], &[1 << 62, 1 << 62], false);
    add("an input too large", with(full, json!({ "input": vast })));
}
