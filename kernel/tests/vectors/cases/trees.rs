//! `split.json` and `branch.json`.

use num_bigint::BigInt;
use secateur_kernel::number::Rational;
use serde_json::{Value, json};

use super::{Cases, around, float, layer, random_network, scale, with};
use crate::adapter::{apply, least};
use crate::json::{In, int, rational};
use crate::random::Random;

const ONE: i64 = 1 << 48;
const STEEP: i64 = 1 << 24;

/// `relu(x - y)` and `relu(x + y)`, then their difference and their sum.
fn network() -> Value {
    let network = json!([
        layer(2, &[(1, 0), (-1, 0), (1, 0), (1, 0)], &[(0, 0), (0, 0)], json!("relu")),
        layer(2, &[(1, 0), (-1, 0), (1, 0), (1, 0)], &[(0, 0), (0, 0)], json!("identity")),
    ]);
    json!({ "network": network, "scale": scale(48, 48, &[52, 52]) })
}

fn case(lower: [&str; 2], upper: [&str; 2], constraints: &[([&str; 2], &str)]) -> Value {
    let constraints: Vec<Value> =
        constraints.iter().map(|(c, bound)| json!({ "coefficients": c, "bound": bound })).collect();
    json!({ "case": { "lower": lower, "upper": upper, "constraints": constraints } })
}

fn problem(case: Value, nodes: Value) -> Value {
    with(with(network(), case), json!({ "nodes": nodes }))
}

/// The unit square around 0, on which no output of the sum is below 0.
fn square(bound: &str) -> Value {
    case(["-1", "-1"], ["1", "1"], &[(["0", "1"], bound)])
}

pub fn split(cases: &mut Cases) {
    cuts(cases);
    leaves(cases);
    empty(cases);
    property(cases);
}

fn cuts(cases: &mut Cases) {
    let leaf = || json!({ "leaf": 0 });
    let cut = |coordinate: i64, at: &str, children: [i64; 2]| json!({ "input": coordinate, "at": at, "children": children });
    let sign = |layer: i64, neuron: i64, children: [i64; 2]| json!({ "relu": [layer, neuron], "children": children });
    // Low enough for every leaf, so that only the cuts decide.
    let mut add = |rule, name: &str, nodes: Value| cases.add(rule, name, problem(square("-5"), nodes));
    let rule = "split.input";
    add(rule, "no cut", json!([leaf()]));
    add(rule, "a cut", json!([cut(0, "1/3", [1, 2]), leaf(), leaf()]));
    add(rule, "children in the other order", json!([cut(0, "1/3", [2, 1]), leaf(), leaf()]));
    add(
        rule,
        "two cuts of one input",
        json!([cut(0, "0", [1, 2]), cut(0, "-1/2", [3, 4]), leaf(), leaf(), leaf()]),
    );
    add(
        rule,
        "a cut outside of a child",
        json!([cut(0, "0", [1, 2]), cut(0, "1/2", [3, 4]), leaf(), leaf(), leaf()]),
    );
    add(rule, "a cut at the lower end", json!([cut(0, "-1", [1, 2]), leaf(), leaf()]));
    add(rule, "a cut at the upper end", json!([cut(1, "1", [1, 2]), leaf(), leaf()]));
    add(
        rule,
        "a cut just inside",
        json!([cut(1, "999999999999999999999/1000000000000000000000", [1, 2]), leaf(), leaf()]),
    );
    add(rule, "an input that does not exist", json!([cut(2, "0", [1, 2]), leaf(), leaf()]));
    add(rule, "no node", json!([]));
    add(rule, "a child is missing", json!([cut(0, "0", [1, 2]), leaf()]));
    add(rule, "a child of two parents", json!([cut(0, "0", [1, 1]), leaf()]));
    add(rule, "a child before its parent", json!([cut(0, "0", [1, 2]), cut(1, "0", [0, 3]), leaf(), leaf()]));
    add(rule, "an orphan", json!([leaf(), leaf()]));
    let rule = "split.relu";
    add(rule, "a sign", json!([sign(0, 1, [1, 2]), leaf(), leaf()]));
    add(rule, "a sign of the last layer", json!([sign(1, 0, [1, 2]), leaf(), leaf()]));
    add(rule, "two signs", json!([sign(0, 0, [1, 2]), leaf(), sign(0, 1, [3, 4]), leaf(), leaf()]));
    add(rule, "a sign twice", json!([sign(0, 0, [1, 2]), leaf(), sign(0, 0, [3, 4]), leaf(), leaf()]));
    add(
        rule,
        "a sign in two branches",
        json!([sign(0, 0, [1, 2]), sign(0, 1, [3, 4]), sign(0, 1, [5, 6]), leaf(), leaf(), leaf(), leaf()]),
    );
    add(rule, "a neuron that does not exist", json!([sign(0, 2, [1, 2]), leaf(), leaf()]));
    add(rule, "a layer that does not exist", json!([sign(2, 0, [1, 2]), leaf(), leaf()]));
}

/// A tree at the least value that it proves, where it refutes nothing, and just below.
fn at_its_least(
    cases: &mut Cases,
    rule: &'static str,
    name: &str,
    grids: &Value,
    nodes: &Value,
    part: &Value,
) {
    at_sum(cases, rule, name, grids, nodes, (part, 1, "0"));
}

/// The same for a sum of `times` the first constraint and others whose bounds add up to `rest`.
fn at_sum(
    cases: &mut Cases,
    rule: &'static str,
    name: &str,
    grids: &Value,
    nodes: &Value,
    (part, times, rest): (&Value, i64, &str),
) {
    let input = |bound: &Rational| {
        let mut input = with(with(grids.clone(), part.clone()), json!({ "nodes": nodes }));
        input["case"]["constraints"][0]["bound"] = rational(bound);
        input
    };
    let far = input(&Rational::from_integer(BigInt::from(1) << 200u32));
    let least = least(In(&far)).expect("the bound is above every output");
    let times = Rational::from_integer(times.into());
    let least = least.sub(&Rational::parse(rest).unwrap()).div(&times).unwrap();
    let step = Rational::from_dyadic(BigInt::from(1), -200);
    cases.add(rule, format!("{name}: the bound is the least value"), input(&least));
    cases.add(rule, format!("{name}: the bound is just below it"), input(&least.sub(&step)));
}

/// With a bound below every output.
fn lowered(mut case: Value) -> Value {
    case["case"]["constraints"][0]["bound"] = json!("-9");
    case
}

fn leaves(cases: &mut Cases) {
    let rule = "split.leaf";
    let square = |c: [&str; 2]| case(["-1", "-2/3"], ["1", "1/7"], &[(c, "0")]);
    let plain = json!([{ "leaf": 0 }]);
    at_its_least(cases, rule, "a sum", &network(), &plain, &square(["0", "1"]));
    at_its_least(cases, rule, "a difference", &network(), &plain, &square(["1", "0"]));
    at_its_least(cases, rule, "coefficients off the grid", &network(), &plain, &square(["-1/3", "2/7"]));
    at_its_least(cases, rule, "no coefficient", &network(), &plain, &square(["0", "0"]));
    let slopes = json!([{ "leaf": 0, "witness": { "slopes": [[[STEEP / 2, 0], [STEEP / 3, STEEP / 4]], []], "multipliers": [] } }]);
    at_its_least(cases, rule, "asked slopes", &network(), &slopes, &square(["1", "-1"]));
    let witness = json!({ "slopes": [[], []], "multipliers": [[40000, 70000], []] });
    let tree = json!([{ "relu": [0, 0], "children": [1, 2] }, { "leaf": 0, "witness": witness }, "empty"]);
    let positive = case(["1/2", "-1"], ["1", "1/4"], &[(["1", "-1"], "0")]);
    at_its_least(cases, rule, "a multiplier of a sign", &network(), &tree, &positive);
    let mut random = Random(17);
    for number in 0..4 {
        let activations = [json!(["relu", "tanh", "sigmoid", "relu"][number]), json!("identity")];
        let network = random_network(&mut random, &[2, 4, 2], &activations, number % 2 == 0);
        let grids = json!({ "network": network, "scale": scale(48, 46, &[52, 51]) });
        at_its_least(cases, rule, "random", &grids, &plain, &square(["1", "-3/5"]));
    }
    let mut add = |name: &str, case: Value, nodes: Value| cases.add(rule, name, problem(case, nodes));
    add("a constraint that does not exist", square(["0", "1"]), json!([{ "leaf": 1 }]));
    let witness = json!({ "slopes": [[[STEEP + 1, 0], [0, 0]], []], "multipliers": [] });
    add("a slope beyond 1", square(["0", "1"]), json!([{ "leaf": 0, "witness": witness }]));
    let witness = json!({ "slopes": [[], []], "multipliers": [[-1, 0], []] });
    let tree =
        json!([{ "relu": [0, 0], "children": [1, 2] }, { "leaf": 0, "witness": witness }, { "leaf": 0 }]);
    add("a negative multiplier", square(["0", "1"]), tree);
    let witness = json!({ "slopes": [[], []], "multipliers": [[int(i64::MAX), 0], []] });
    let tree =
        json!([{ "relu": [0, 0], "children": [1, 2] }, { "leaf": 0, "witness": witness }, { "leaf": 0 }]);
    add("a multiplier too large", square(["0", "1"]), tree);
    add("an empty box", case(["1", "0"], ["0", "0"], &[(["0", "1"], "-1")]), plain.clone());
    add("a coefficient too many", case(["0", "0"], ["1", "1"], &[(["0", "1"], "-1")]), plain.clone());
    add("a box beyond the grid", case(["0", "0"], ["1", "32768"], &[(["0", "1"], "-1")]), plain.clone());
    add("a coefficient beyond the grid", square(["0", "1000000000000000000000"]), plain);

    let together = |cases: &[Value]| {
        let cases: Vec<Value> = cases.iter().map(|case| case["case"].clone()).collect();
        with(network(), json!({ "cases": cases, "nodes": [{ "leaf": 0 }] }))
    };
    cases.add(rule, "two cases of one box", together(&[square(["0", "1"]), square(["1", "1"])].map(lowered)));
    cases.add(rule, "the second of two cases", together(&[lowered(square(["0", "1"])), square(["1", "1"])]));
    let apart = case(["-1", "-1"], ["1", "1"], &[(["0", "1"], "-9")]);
    cases.add(rule, "two cases of two boxes", together(&[lowered(square(["0", "1"])), apart]));
    cases.add(rule, "no case", together(&[]));

    let rule = "split.combination";
    let both = |bound: &str| case(["-1", "-1"], ["1", "1"], &[(["1", "-1/3"], bound), (["-1", "1"], "-1/8")]);
    at_sum(
        cases,
        rule,
        "a sum of two",
        &network(),
        &json!([{ "combination": [2, 3] }]),
        (&both("0"), 2, "-3/8"),
    );
    at_its_least(cases, rule, "one of two", &network(), &json!([{ "combination": [1, 0] }]), &both("0"));
    let mut add = |name: &str, nodes: Value| cases.add(rule, name, problem(both("-9"), nodes));
    add("all multipliers 0", json!([{ "combination": [0, 0] }]));
    add("a negative multiplier", json!([{ "combination": [1, -1] }]));
    add("too few multipliers", json!([{ "combination": [1] }]));
    add("the largest multiplier", json!([{ "combination": [int(i64::MAX), 0] }]));
}

fn empty(cases: &mut Cases) {
    let positive = |bound: &str| case(["1/2", "-1"], ["1", "1/4"], &[(["0", "1"], bound)]);
    let mut add =
        |name: &str, case: Value, nodes: Value| cases.add("split.empty", name, problem(case, nodes));
    let sign = |first: Value, second: Value| json!([{ "relu": [0, 0], "children": [1, 2] }, first, second]);
    add("a sign against the bounds", positive("0"), sign(json!({ "leaf": 0 }), json!("empty")));
    add("a leaf there may say anything", positive("0"), sign(json!({ "leaf": 0 }), json!({ "leaf": 7 })));
    add("a region with points", positive("0"), sign(json!("empty"), json!("empty")));
    add("a root with points", positive("0"), json!(["empty"]));
    let touching = case(["0", "-1"], ["1", "0"], &[(["0", "1"], "-1")]);
    add("a sign that leaves the point 0", touching, sign(json!({ "leaf": 0 }), json!("empty")));

    // x - y <= 0 and x + y <= 0 add up to x <= 0.
    let tree = |multipliers: [i64; 2], lower: &str| {
        let witness = json!({ "slopes": [[], []], "multipliers": [multipliers, []] });
        let leaf = || json!({ "leaf": 0 });
        let nodes = json!([
            { "relu": [0, 0], "children": [1, 2] }, leaf(), { "relu": [0, 1], "children": [3, 4] }, leaf(), { "farkas": witness },
        ]);
        problem(case([lower, "-1"], ["1", "1"], &[(["0", "1"], "-5")]), nodes)
    };
    let mut add = |name: &str, input: Value| cases.add("split.farkas", name, input);
    add("two signs that contradict x > 0", tree([65536, 65536], "1/3"));
    let at = |steps: i64| tree([65536, 65536], &Rational::on_grid(steps, 48).to_string());
    let refuted = |steps: &i64| apply("split.farkas", In(&at(*steps))).is_ok();
    let first = (1..1000).find(refuted).expect("some small x is refuted");
    add("the least x that is refuted", at(first));
    add("a step less", at(first - 1));
    add("x may be 0", at(0));
    add("no multipliers", tree([0, 0], "1/3"));
    add("unequal multipliers", tree([65536, 60000], "1/3"));
    add("negative multipliers", tree([-65536, -65536], "1/3"));

    // The same signs from the bounds of the whole box, with the constraint's own multipliers.
    let kept = |multipliers: &[i64], bound: &str, upper: &str| {
        let leaf = |multipliers: &[i64]| json!({ "kept": 0, "multipliers": multipliers });
        let nodes = json!([
            { "relu": [0, 0], "children": [1, 2] }, leaf(&[0]), { "relu": [0, 1], "children": [3, 4] }, leaf(&[0, 0]), leaf(multipliers),
        ]);
        let goal = case(["1/4", "-1"], ["1", "1"], &[(["0", "1"], bound)]);
        let of = json!({ "kept": case(["1/4", "-1"], [upper, "1"], &[(["0", "1"], bound)])["case"] });
        with(problem(goal, nodes), of)
    };
    let mut add = |name: &str, input: Value| cases.add("split.kept", name, input);
    add("signs and multipliers", kept(&[65536, 65536], "-5", "1"));
    add("no multipliers", kept(&[0, 0], "-5", "1"));
    add("a constraint that may hold", kept(&[65536, 65536], "5", "1"));
    add("negative multipliers", kept(&[-65536, 65536], "-5", "1"));
    add("a multiplier for each sign only", kept(&[65536, 65536, 0], "-5", "1"));
    add("another box", kept(&[65536, 65536], "-5", "1/2"));
}

fn property(cases: &mut Cases) {
    let mut add = |name: &str, case: Value, point: &[&str]| {
        let input = with(with(network(), case), json!({ "point": point }));
        cases.add("counterexample.property", name, input);
    };
    // At (1/2, 1/4): relu(1/4) and relu(3/4), whose difference is -1/2 and whose sum is 1.
    let at = |c: [&str; 2], bound: &str| case(["-1", "-1"], ["1", "1"], &[(c, bound)]);
    add("a constraint with equality", at(["1", "0"], "-1/2"), &["1/2", "1/4"]);
    add("a constraint that fails by little", at(["1", "0"], "-500000001/1000000000"), &["1/2", "1/4"]);
    add("coefficients of both signs", at(["-2/3", "1/7"], "1"), &["1/2", "1/4"]);
    add("a point off the grid", at(["0", "1"], "2/3"), &["1/3", "0"]);
    add("a point off the grid, with room", at(["0", "1"], "667/1000"), &["1/3", "0"]);
    add("no constraint", case(["-1", "-1"], ["1", "1"], &[]), &["1", "-1"]);
    add("outside the box", case(["-1", "-1"], ["1", "1"], &[]), &["0", "1000000000001/1000000000000"]);
    add("too few coordinates", case(["-1", "-1"], ["1", "1"], &[]), &["0"]);
    add("beyond the grid", case(["-1", "-1"], ["1", "40000"], &[]), &["0", "40000"]);
    let two = case(["-1", "-1"], ["1", "1"], &[(["1", "0"], "0"), (["0", "1"], "1/2")]);
    add("the second of two fails", two, &["1/2", "1/4"]);
}

/// Two networks of two inputs each over three variables, and what does not stack.
pub fn stack(cases: &mut Cases) {
    let network = |a: i64, b: i64, last: &str| {
        json!([
            layer(2, &[(a, 0), (b, -1), (1, 2), (-3, 0)], &[(1, 0), (-5, -3)], json!("relu")),
            layer(1, &[(b, 0), (1, -4)], &[(a, 1)], json!(last)),
        ])
    };
    let part = |network: Value, reads: &[i64]| json!({ "network": network, "reads": reads });
    let normalised = |mut part: Value, mean: i64, clip: Option<&str>| {
        part["normaliser"] = json!({ "mean": [[mean.to_string(), 0], ["1", -1]], "std": ["1/3", "2"] });
        if let Some(clip) = clip {
            part["normaliser"]["clip"] = json!(clip);
        }
        part
    };
    let mut add = |name: &str, parts: Vec<Value>, variables: i64, carried: Option<&[&str]>| {
        let mut input = json!({ "networks": parts, "variables": variables.to_string() });
        if let Some(carried) = carried {
            input["carried"] = json!(carried);
        }
        cases.add("stack.networks", name, input);
    };
    let (f, g) = (network(3, -2, "identity"), network(-1, 7, "identity"));
    let both = |reads: &[i64]| vec![part(f.clone(), &[0, 1]), part(g.clone(), reads)];
    add("one network", vec![part(f.clone(), &[0, 1])], 2, None);
    add("one network whose inputs are exchanged", vec![part(f.clone(), &[1, 0])], 2, None);
    add("two networks of the same inputs", both(&[0, 1]), 2, None);
    add("two networks that share an input", both(&[2, 0]), 3, None);
    add("two networks of inputs of their own", both(&[2, 3]), 4, None);
    add("variables among the outputs", both(&[2, 0]), 3, Some(&["-7/2", "0", "11/3"]));
    let before = |mean, clip| {
        vec![
            normalised(part(f.clone(), &[0, 1]), 4, Some("5")),
            normalised(part(g.clone(), &[0, 1]), mean, clip),
        ]
    };
    add("one normaliser", before(4, Some("5")), 2, None);
    add("two normalisers", before(3, Some("5")), 2, None);
    add("two clips", before(4, Some("6")), 2, None);
    add("a clip and none", before(4, None), 2, None);
    add("a normaliser and none", vec![before(4, None).remove(1), part(f.clone(), &[0, 1])], 2, None);
    add("variables behind a normaliser", before(4, Some("5")), 2, Some(&["0", "0"]));
    add("no network", Vec::new(), 0, None);
    add("a variable that nobody reads", both(&[0, 1]), 3, None);
    add("an input twice", both(&[0, 0]), 2, None);
    add("a variable that does not exist", both(&[0, 2]), 2, None);
    add("too few reads", both(&[0]), 2, None);
    let mut short = f.clone();
    short.as_array_mut().unwrap().pop();
    add("two depths", vec![part(f.clone(), &[0, 1]), part(short, &[0, 1])], 2, None);
    let squashed = network(1, 1, "relu");
    add("two activations", vec![part(f.clone(), &[0, 1]), part(squashed.clone(), &[0, 1])], 2, None);
    add("variables through a last relu", vec![part(squashed, &[0, 1])], 2, Some(&["0", "0"]));
    add("too few least values", vec![part(f.clone(), &[0, 1])], 2, Some(&["0"]));
    add(
        "a least value beyond 64 bits",
        vec![part(f, &[0, 1])],
        2,
        Some(&["0", "1000000000000000000000000000000"]),
    );
}

pub fn branch(cases: &mut Cases) {
    let mut random = Random(18);
    let mut add = |name: &str, grids: &Value, input: &Value, weights: [i64; 2], nodes: Value| {
        let fields = json!({ "input": input, "weights": weights, "nodes": nodes });
        cases.add("branch.tree", name, with(grids.clone(), fields));
    };
    let (plain, square) = (network(), around(&[0, 0], &[ONE, ONE], false));
    let leaf = || json!({ "leaf": 0 });
    let cut = |at: &str| json!([{ "input": 0, "at": at, "children": [1, 2] }, leaf(), leaf()]);
    let signed = |slopes: Value, multipliers: [i64; 2]| {
        let own = json!({ "leaf": 0, "witness": { "slopes": slopes, "multipliers": [multipliers, []] } });
        json!([{ "relu": [0, 0], "children": [1, 2] }, own, leaf()])
    };
    for weights in [[1, 0], [-1, 1], [0, -3]] {
        add("a leaf", &plain, &square, weights, json!([leaf()]));
        add("a cut", &plain, &square, weights, cut("1/3"));
        add("a sign", &plain, &square, weights, signed(json!([[], []]), [0, 0]));
        add("multipliers", &plain, &square, weights, signed(json!([[], []]), [65536, 5]));
        add(
            "slopes",
            &plain,
            &square,
            weights,
            signed(json!([[[0, 0], [STEEP / 2, STEEP / 2]], []]), [1, 0]),
        );
    }
    let ball = around(&[0, ONE / 3], &[ONE, ONE], true);
    add("a ball", &plain, &ball, [1, 0], json!([leaf()]));
    add("a ball in two halves", &plain, &ball, [1, 0], cut("1/3"));
    let right = around(&[ONE, 0], &[ONE / 4, ONE / 4], false);
    add(
        "an empty leaf is passed over",
        &plain,
        &right,
        [1, 0],
        json!([{ "relu": [0, 0], "children": [1, 2] }, leaf(), "empty"]),
    );
    add(
        "an empty node with points",
        &plain,
        &right,
        [1, 0],
        json!([{ "relu": [0, 0], "children": [1, 2] }, "empty", leaf()]),
    );
    add("a cut outside", &plain, &right, [1, 0], cut("2"));
    add("a negative multiplier", &plain, &square, [1, 0], signed(json!([[], []]), [-1, 0]));
    add("a slope beyond 1", &plain, &square, [1, 0], signed(json!([[[STEEP + 1, 0], [0, 0]], []]), [0, 0]));
    for number in 0..4 {
        let activations = [json!(["relu", "tanh", "sigmoid", "relu"][number]), json!("identity")];
        let network = random_network(&mut random, &[2, 4, 2], &activations, number % 2 == 0);
        let grids = json!({ "network": network, "scale": scale(48, 46, &[52, 51]) });
        add("random", &grids, &square, [1, -1], cut("-2/7"));
    }
    cells(cases, &square, &ball);
}

fn cells(cases: &mut Cases, square: &Value, ball: &Value) {
    let mut random = Random(19);
    let mut add = |name: &str, grids: &Value, input: &Value, head: Value, nodes: Value| {
        let fields =
            json!({ "input": input, "center": [[0, 0], [0, ONE / 8]], "head": head, "nodes": nodes });
        cases.add("branch.cells", name, with(grids.clone(), fields));
    };
    let (plain, leaf) = (network(), || json!({ "leaf": 0 }));
    let cut = |at: &str| json!([{ "input": 0, "at": at, "children": [1, 2] }, leaf(), leaf()]);
    let gaussian = || json!({ "log_std": [float(0, 0), float(-1, 0)] });
    for (name, head) in [
        ("deterministic", json!("deterministic")),
        ("categorical", json!("categorical")),
        ("gaussian", gaussian()),
    ] {
        add(&format!("{name}, a leaf"), &plain, square, head.clone(), json!([leaf()]));
        add(&format!("{name}, a cut"), &plain, square, head.clone(), cut("1/3"));
        add(&format!("{name}, a ball in two halves"), &plain, ball, head.clone(), cut("1/3"));
        let sign = json!([{ "relu": [0, 0], "children": [1, 2] }, leaf(), leaf()]);
        add(&format!("{name}, a sign"), &plain, square, head, sign);
    }
    let witness = json!({ "slopes": [[], []], "multipliers": [[], []] });
    let own = json!([{ "leaf": 0, "witness": witness }]);
    add("slopes of its own", &plain, square, gaussian(), own);
    add("a node of another proof", &plain, square, gaussian(), json!(["empty"]));
    add("a cut outside", &plain, square, gaussian(), cut("2"));
    for number in 0..4 {
        let activations = [json!(["relu", "tanh", "sigmoid", "relu"][number]), json!("identity")];
        let network = random_network(&mut random, &[2, 4, 2], &activations, number % 2 == 0);
        let grids = json!({ "network": network, "scale": scale(48, 46, &[52, 51]) });
        let head = if number % 2 == 0 { json!("categorical") } else { gaussian() };
        add("random", &grids, square, head, cut("-2/7"));
    }
}
