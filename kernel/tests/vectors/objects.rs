//! Networks, policies, input sets and witnesses in the files: `spec/vectors/README.md`.

use secateur_kernel::crown::Slopes;
use secateur_kernel::grid::GridScale;
use secateur_kernel::head::OutputChange;
use secateur_kernel::model::{
    Activation, Head, InputLimit, Layer, Mask, Matrix, Network, Normaliser, Perturbation, PerturbationSet,
    Policy, SensorSet, SharedOffset, Units,
};
use secateur_kernel::number::Dyadic;
use secateur_kernel::relax::SlopeChoice;
use secateur_kernel::softmax::PolicyChange;
use secateur_kernel::split::{Case, LeafWitness, Node, OutputConstraint};
use serde_json::{Value, json};

use crate::json::{In, int, rational, rationals};

/// `"tanh"`, or `{"leaky-relu": slope}`, `{"clip": [lower, upper]}`.
pub fn activation(value: In<'_>) -> Activation {
    if let Some(slope) = value.maybe("leaky-relu") {
        return Activation::LeakyRelu { slope: slope.rational() };
    }
    if let Some(limits) = value.maybe("clip") {
        let (lower, upper) = limits.pair();
        return Activation::Clip { lower: lower.rational(), upper: upper.rational() };
    }
    if let Some(alpha) = value.maybe("elu") {
        return Activation::Elu { alpha: alpha.rational() };
    }
    match value.text() {
        "identity" => Activation::Identity,
        "relu" => Activation::Relu,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "silu" => Activation::Silu,
        other => panic!("no activation {other}"),
    }
}

/// A network: `rows`, `columns`, `weight` row by row, `bias`, `activation`, and `fixed` for a scale layer.
pub fn network(value: In<'_>) -> Network {
    let layer = |layer: In<'_>| Layer {
        weight: Matrix {
            rows: layer.at("rows").int(),
            columns: layer.at("columns").int(),
            values: layer.at("weight").list(In::dyadic),
        },
        bias: layer.at("bias").list(In::dyadic),
        activation: activation(layer.at("activation")),
        fixed: layer.maybe("fixed").is_some_and(In::flag),
    };
    Network { layers: value.list(layer) }
}

/// The grids of a network.
pub fn scale(value: In<'_>) -> GridScale {
    GridScale {
        value_bits: value.at("value_bits").int(),
        coefficient_bits: value.at("coefficient_bits").int(),
        weight_bits: value.at("weight_bits").ints(),
    }
}

/// A mask: one text of 0 and 1 per layer, row by row; 1 = kept.
pub fn mask(value: In<'_>) -> Mask {
    Mask { layers: value.list(|layer| layer.text().chars().map(|bit| bit == '1').collect()) }
}

/// `raw` or `normalised`.
pub fn units(value: In<'_>) -> Units {
    match value.text() {
        "raw" => Units::Raw,
        "normalised" => Units::Normalised,
        other => panic!("no units {other}"),
    }
}

/// `{"linf": r}`, `{"l2": r}` or `{"radii": [r, ..]}`; the last one, perhaps with `shared` and `limits`.
pub fn perturbation(value: In<'_>) -> Perturbation {
    if let Some(radius) = value.maybe("linf") {
        return Perturbation::Linf { radius: radius.rational() };
    }
    if let Some(radius) = value.maybe("l2") {
        return Perturbation::L2 { radius: radius.rational() };
    }
    let radii = value.at("radii").rationals();
    let (shared, limits) = (value.maybe("shared"), value.maybe("limits"));
    if shared.is_none() && limits.is_none() {
        return Perturbation::PerCoordinate { radii };
    }
    let offset = |offset: In<'_>| SharedOffset {
        radius: offset.at("radius").rational(),
        inputs: offset.at("inputs").ints(),
    };
    let limit = |limit: In<'_>| InputLimit {
        input: limit.at("input").int(),
        lower: limit.at("lower").rational(),
        upper: limit.at("upper").rational(),
    };
    Perturbation::Sensor(SensorSet {
        radii,
        shared: shared.map_or(Vec::new(), |shared| shared.list(offset)),
        limits: limits.map_or(Vec::new(), |limits| limits.list(limit)),
    })
}

/// A perturbation with its units.
pub fn perturbation_set(value: In<'_>) -> PerturbationSet {
    PerturbationSet { shape: perturbation(value), units: units(value.at("units")) }
}

/// `"categorical"`, `"deterministic"` or `{"log_std": [..]}`.
pub fn head(value: In<'_>) -> Head {
    if let Some(log_std) = value.maybe("log_std") {
        return Head::Gaussian { log_std: log_std.list(In::dyadic) };
    }
    match value.text() {
        "categorical" => Head::Categorical,
        "deterministic" => Head::Deterministic,
        other => panic!("no head {other}"),
    }
}

/// Mean, standard deviation and clip of a normaliser.
pub fn normaliser(value: In<'_>) -> Normaliser {
    Normaliser {
        mean: value.at("mean").list(In::dyadic),
        std: value.at("std").rationals(),
        clip: value.maybe("clip").map(In::rational),
    }
}

/// A policy's layers without their activations, and its normaliser.
pub fn stacked_value(policy: &Policy) -> Value {
    let float = |x: &Dyadic| json!([int(x.mantissa), x.exponent]);
    let layer = |layer: &Layer| {
        let weight: Vec<Value> = layer.weight.values.iter().map(float).collect();
        let bias: Vec<Value> = layer.bias.iter().map(float).collect();
        json!({ "rows": layer.weight.rows, "columns": layer.weight.columns, "weight": weight, "bias": bias })
    };
    let layers: Vec<Value> = policy.network.layers.iter().map(layer).collect();
    let normaliser = policy.normaliser.as_ref().map(|normaliser| {
        let mean: Vec<Value> = normaliser.mean.iter().map(float).collect();
        let clip = normaliser.clip.as_ref().map(rational);
        json!({ "mean": mean, "std": rationals(&normaliser.std), "clip": clip })
    });
    json!({ "network": layers, "normaliser": normaliser })
}

/// A policy that reads `inputs` numbers: only its width and its normaliser matter to input sets.
pub fn reader(value: In<'_>) -> Policy {
    let columns = value.at("inputs").int();
    let weight = Matrix { rows: 0, columns, values: Vec::new() };
    let layer = Layer { weight, bias: Vec::new(), activation: Activation::Identity, fixed: false };
    Policy {
        network: Network { layers: vec![layer] },
        head: Head::Deterministic,
        normaliser: value.maybe("normaliser").map(normaliser),
        source: None,
    }
}

/// Deviation per output, oscillation, and the Euclidean norm where it is bounded.
pub fn output_change(value: In<'_>) -> OutputChange {
    OutputChange {
        deviation: value.at("deviation").rationals(),
        oscillation: value.at("oscillation").rational(),
        euclidean: value.maybe("euclidean").map(In::rational),
        policy: value.maybe("policy").map(policy_change),
        distance: value.maybe("distance").map(In::rational),
    }
}

/// What is known of a softmax beside the oscillation.
pub fn policy_change(value: In<'_>) -> PolicyChange {
    PolicyChange {
        total_variation: value.at("total_variation").rational(),
        divergence: value.at("divergence").rational(),
    }
}

/// As it is written.
pub fn policy_value(policy: &PolicyChange) -> Value {
    json!({
        "total_variation": rational(&policy.total_variation),
        "divergence": rational(&policy.divergence),
    })
}

/// As it is written.
pub fn change_value(change: &OutputChange) -> Value {
    let euclidean = change.euclidean.as_ref().map(rational);
    json!({
        "deviation": rationals(&change.deviation),
        "oscillation": rational(&change.oscillation),
        "euclidean": euclidean,
    })
}

/// Slopes per layer and neuron: pairs of upper and lower, each an integer or null.
pub fn slopes(value: In<'_>) -> Slopes {
    let slope = |value: In<'_>| if value.0.is_null() { None } else { Some(value.int()) };
    value.list(|layer| {
        layer.list(|neuron| {
            let (upper, lower) = neuron.pair();
            SlopeChoice { upper: slope(upper), lower: slope(lower) }
        })
    })
}

/// Boxes of inputs and constraints on outputs.
pub fn case(value: In<'_>) -> Case {
    Case {
        lower: value.at("lower").rationals(),
        upper: value.at("upper").rationals(),
        constraints: value.at("constraints").list(|constraint| OutputConstraint {
            coefficients: constraint.at("coefficients").rationals(),
            bound: constraint.at("bound").rational(),
        }),
    }
}

fn witness(value: In<'_>) -> LeafWitness {
    LeafWitness { slopes: slopes(value.at("slopes")), multipliers: value.at("multipliers").list(In::ints) }
}

/// A node of a split tree: `input`, `relu`, `leaf`, `combination`, `kept`, `farkas` or the text `empty`.
pub fn node(value: In<'_>) -> Node {
    let children = |node: In<'_>| {
        let (first, second) = node.at("children").pair();
        [first.int(), second.int()]
    };
    let own = value.maybe("witness").map(witness);
    if let Some(cut) = value.maybe("input") {
        return Node::Input {
            coordinate: cut.int(),
            at: value.at("at").rational(),
            children: children(value),
        };
    }
    if let Some(place) = value.maybe("relu") {
        let (layer, neuron) = place.pair();
        return Node::Relu { layer: layer.int(), neuron: neuron.int(), children: children(value) };
    }
    if let Some(constraint) = value.maybe("leaf") {
        return Node::Leaf { constraint: constraint.int(), witness: own };
    }
    if let Some(multipliers) = value.maybe("combination") {
        return Node::Combination { multipliers: multipliers.ints(), witness: own };
    }
    if let Some(constraint) = value.maybe("kept") {
        let own = own.unwrap_or_default();
        let multipliers = value.at("multipliers").ints();
        return Node::Kept { constraint: constraint.int(), slopes: own.slopes, multipliers };
    }
    match value.maybe("farkas") {
        Some(own) => Node::Farkas { witness: witness(own) },
        None if value.0 == "empty" => Node::Empty,
        None => panic!("no node {}", value.0),
    }
}
