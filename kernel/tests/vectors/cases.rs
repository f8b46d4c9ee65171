//! The inputs of the files: chosen by hand at the places where rules change, and random ones of a fixed seed.

use serde_json::{Value, json};

use crate::json::{int, intervals, ints};
use crate::random::Random;

mod back;
mod chains;
mod curves;
mod enclosures;
mod global;
mod grids;
mod inputs;
mod quadratic;
mod regret;
mod relax;
mod states;
mod trees;

/// One input of one rule.
pub struct Case {
    pub rule: &'static str,
    pub name: String,
    pub input: Value,
}

/// The inputs of one file.
#[derive(Default)]
pub struct Cases(pub Vec<Case>);

impl Cases {
    /// One more input.
    pub fn add(&mut self, rule: &'static str, name: impl Into<String>, input: Value) {
        self.0.push(Case { rule, name: name.into(), input });
    }
}

/// Every file: its name, what it is about, its inputs.
pub fn all() -> Vec<(&'static str, &'static str, Vec<Case>)> {
    let file = |name, about, make: fn(&mut Cases)| {
        let mut cases = Cases::default();
        make(&mut cases);
        curves::more(name, &mut cases);
        (name, about, cases.0)
    };
    vec![
        file("enclosures", "exp, square root, tanh and the Gaussian total variation", enclosures::enclosures),
        file(
            "tanh-table",
            "T_k = floor(2^62 tanh(k/256)), k = 0 ..= 5632, and lookups",
            enclosures::tanh_table,
        ),
        file("grid", "Grids of a network, and the network on them", grids::grid),
        file("input", "What a network may read at a state", inputs::input),
        file("region", "What a network may read at the states of a cell", inputs::region),
        file("ibp", "Interval bound propagation", grids::ibp),
        file("relax", "Lines above and below an activation: asked slopes, and the defaults", relax::relax),
        file(
            "back",
            "A functional carried back by a layer, and its largest value over the inputs",
            back::back,
        ),
        file(
            "crown",
            "Bounds of every layer by backward passes, and of functionals of the outputs",
            back::crown,
        ),
        file(
            "quadratic",
            "Parabolas, neurons as functions of the inputs, and what their second-order terms add up to",
            quadratic::quadratic,
        ),
        file("hull", "Deviations that never rise along a chain of masks", chains::hull),
        file("band", "Bounds that hold for every mask between two", chains::band),
        file("paired", "The pruned network against the dense one", chains::paired),
        file("nested", "Chains of masks", chains::nested),
        file("float32", "Weights in binary32, rounding errors, and what they do to bounds", chains::float32),
        file("bounds", "What bounds say of changes, margins and later masks", states::bounds),
        file("head", "From changes of outputs to distances of action distributions", states::head),
        file("point", "What one perturbed observation proves from below", states::point),
        file(
            "sensitivity",
            "Weights as integers, and how far outputs move over all states",
            global::sensitivity,
        ),
        file("norm", "Products of operator norms", global::norm),
        file("split", "Trees that refute a property, and points that satisfy one", trees::split),
        file("stack", "Several networks over shared variables as one", trees::stack),
        file("branch", "Bounds by cutting the inputs into regions", trees::branch),
        file("regret", "From total variation to the value that an adversary can take", regret::regret),
        file("statistic", "Confidence bounds of a mean", regret::statistic),
    ]
}

/// A stored float `mantissa * 2^exponent`.
pub fn float(mantissa: i64, exponent: i32) -> Value {
    json!([int(mantissa), exponent])
}

/// Stored floats.
pub fn floats(values: &[(i64, i32)]) -> Value {
    values.iter().map(|&(mantissa, exponent)| float(mantissa, exponent)).collect()
}

/// One layer.
pub fn layer(rows: usize, weight: &[(i64, i32)], bias: &[(i64, i32)], activation: Value) -> Value {
    json!({
        "rows": rows, "columns": weight.len() / rows.max(1),
        "weight": floats(weight), "bias": floats(bias), "activation": activation,
    })
}

/// The grids with these fraction bits.
pub fn scale(value_bits: u32, coefficient_bits: u32, weight_bits: &[u32]) -> Value {
    json!({ "value_bits": value_bits, "coefficient_bits": coefficient_bits, "weight_bits": weight_bits })
}

/// Fields of both objects.
pub fn with(mut one: Value, other: Value) -> Value {
    for (name, value) in other.as_object().unwrap() {
        one[name] = value.clone();
    }
    one
}

/// Activations by turns.
pub fn activations() -> Vec<Value> {
    vec![
        json!("identity"),
        json!("relu"),
        json!("tanh"),
        json!("sigmoid"),
        json!({ "leaky-relu": "1/3" }),
        json!({ "clip": ["-1", "1"] }),
        json!({ "clip": ["-1/3", "2/3"] }),
    ]
}

/// A network with random weights below 1 in magnitude: multiples of 2^-20, or, unless `exact`, 53-bit floats that end below
/// the finest grid.
pub fn random_network(random: &mut Random, widths: &[usize], activations: &[Value], exact: bool) -> Value {
    let mut stored = |one_in: u64| match () {
        () if random.below(8) < one_in => (0, 0),
        () if exact => (random.signed(20), -20),
        () => (random.signed(52) | 1, -53 - random.below(4) as i32),
    };
    let layers = widths.windows(2).zip(activations).map(|(pair, activation)| {
        let weight: Vec<_> = (0..pair[0] * pair[1]).map(|_| stored(1)).collect();
        let bias: Vec<_> = (0..pair[1]).map(|_| stored(2)).collect();
        layer(pair[1], &weight, &bias, activation.clone())
    });
    layers.collect()
}

/// A random mask of a network, each weight kept `of` times out of 8.
pub fn random_mask(random: &mut Random, widths: &[usize], of: u64) -> Value {
    let mut bits =
        |count: usize| (0..count).map(|_| if random.often(of) { '1' } else { '0' }).collect::<String>();
    widths.windows(2).map(|pair| Value::from(bits(pair[0] * pair[1]))).collect()
}

/// The set of inputs around `center`, `radii` to either side, on the value grid.
pub fn around(center: &[i64], radii: &[i64], ball: bool) -> Value {
    let ends = center.iter().zip(radii).map(|(c, r)| (c - r, c + r));
    json!({
        "region": intervals(ends),
        "center": intervals(center.iter().map(|c| (*c, *c))),
        "radii": ints(radii.iter().copied()),
        "semi_axes": ball.then(|| ints(radii.iter().copied())),
    })
}
