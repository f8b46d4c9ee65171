//! From the name of a rule and its input in a file to what the kernel makes of it: the only calls of rules.

use std::borrow::Cow;
use std::sync::OnceLock;

use secateur_kernel::back::{Functional, Multipliers, RelaxedLayer, SplitMultiplier, Target, upper_bounds};
use secateur_kernel::band::{BandBounds, BandNetwork, band_bounds};
use secateur_kernel::bounds::{
    Asked, Differences, StateBounds, envelope, margin, margin_of_change, policies_of_later,
};
use secateur_kernel::branch::{CellOutputs, bound_cells, bound_tree};
use secateur_kernel::crown::{CrownLayers, RowWitness, Witness, bound_outputs, crown_layers};
use secateur_kernel::enclose::{self, Enclosure, Enclosures, TanhTable};
use secateur_kernel::fault::Fault;
use secateur_kernel::float32::{check_binary32, rounding_errors};
use secateur_kernel::form::{Frame, Frames};
use secateur_kernel::grid::{GridActivation, GridNetwork, GridScale};
use secateur_kernel::head::HeadBounds;
use secateur_kernel::hull::{deviation, hull_slopes};
use secateur_kernel::ibp::{self, propagate};
use secateur_kernel::input::{
    GridBall, InputSet, cell_magnitude, cell_set, global_radii, global_set, input_magnitude, input_set,
    read_observation,
};
use secateur_kernel::interval::GridBox;
use secateur_kernel::model::{Activation, Head, Layer, Mask, Matrix, Network, Perturbation, Policy, States};
use secateur_kernel::nested::check_nested;
use secateur_kernel::norm::{
    NormFamily, NormProduct, SpectralWitness, norm_product, norm_product_chain, norm_product_spectral,
    perturbation_size,
};
use secateur_kernel::number::{Dyadic, Rational};
use secateur_kernel::paired::{PairedNetwork, paired_change};
use secateur_kernel::point::{PointHead, deviation_from_below, enclose_outputs, perturbed_inputs};
use secateur_kernel::regret::{self, RewardRange};
use secateur_kernel::relax::{Line, Relaxation, SlopeChoice, parabolas, relax};
use secateur_kernel::scaled::ScaledNetwork;
use secateur_kernel::sensitivity::sensitivity;
use secateur_kernel::softmax::{PolicyChange, Softmax};
use secateur_kernel::split::{Kept, check_sat, check_tree};
use secateur_kernel::stack::{Reading, stack};
use secateur_kernel::statistic::{Confidence, Sample, Sampler, bernstein, hoeffding};
use secateur_testkit::proof::check_unsat;
use serde_json::{Value, json};

use crate::json::{In, int, intervals, ints, rational, rationals};
use crate::objects;

type Outcome = Result<Value, Fault>;

/// What rule `rule` makes of `input`.
pub fn apply(rule: &str, input: In<'_>) -> Outcome {
    match rule {
        "enclose.exp" => Ok(enclosure(&enclose::exp(&input.at("x").rational())?)),
        "enclose.sqrt" => Ok(enclosure(&enclose::sqrt(&input.at("x").rational())?)),
        "enclose.ln" => Ok(enclosure(&enclose::ln(&input.at("x").rational())?)),
        "enclose.gaussian-tv" => Ok(enclosure(&gaussian().gaussian_tv(&input.at("d").rational())?)),
        "enclose.tanh" => Ok(enclosure(&enclose::tanh(&input.at("x").rational())?)),
        "enclose.tanh-table" => tanh_table(input),
        "scaled.layer" => columns(input),
        "sensitivity.layer" => {
            let (network, mask) = scaled(input)?;
            Ok(rationals(&sensitivity(&network, mask.as_ref(), &input.at("radii").rationals())?))
        }
        "norm.linf" => norm(input, NormFamily::Linf),
        "norm.l1" => norm(input, NormFamily::L1),
        "norm.frobenius" => norm(input, NormFamily::Frobenius),
        "norm.abs-spectral" => abs_spectral(input),
        "norm.chain" => chain(input),
        "norm.spectral" => spectral(input),
        "norm.deviation" => Ok(rational(&perturbation_size(
            &objects::perturbation(input.at("perturbation")),
            family(input.at("norm").text()),
            input.at("inputs").int(),
        )?)),
        "grid.scale" => {
            let network = objects::network(input.at("network"));
            let GridScale { value_bits, coefficient_bits, weight_bits } =
                GridScale::new(&network, &input.at("magnitude").rational())?;
            Ok(json!({
                "value_bits": value_bits, "coefficient_bits": coefficient_bits, "weight_bits": weight_bits,
            }))
        }
        "grid.layer" => Ok(layers(&grid(input)?)),
        "input.set" | "input.parts" => inputs(input),
        "region.input" => {
            let policy = objects::reader(input);
            let (lower, upper) = (input.at("lower").rationals(), input.at("upper").rationals());
            let units = objects::units(input.at("state_units"));
            let set = objects::perturbation_set(input.at("perturbation"));
            let bits = input.at("value_bits").int();
            let magnitude = cell_magnitude(&policy, (&lower, &upper), units, &set)?;
            let found = cell_set(&policy, (&lower, &upper), units, &set, bits)?;
            Ok(json!({ "set": set_value(&found), "magnitude": rational(&magnitude) }))
        }
        "input.observation" => {
            let normaliser = input.maybe("normaliser").map(objects::normaliser);
            Ok(rationals(&read_observation(normaliser.as_ref(), &input.at("observation").rationals())?))
        }
        "ibp.affine" => {
            let network = grid(input)?;
            Ok(box_value(&ibp::affine(&network.layers[0], 0, &grid_box(input.at("box")))?))
        }
        "ibp.activation" => {
            let bits = input.at("value_bits").int();
            let activation = grid_activation(input.at("activation"), bits)?;
            Ok(box_value(&ibp::activation(&activation, table(), bits, 0, &grid_box(input.at("box")))?))
        }
        "ibp.meet" => Ok(box_value(&grid_box(input.at("one")).meet(&grid_box(input.at("other")), 0)?)),
        "relax.line" | "relax.smooth" | "relax.default" => relaxation(input),
        "back.relax" | "back.affine" | "back.dual" | "conc.box" | "conc.ball" | "conc.shared" => {
            backward(input)
        }
        "crown.layers" => crown(input),
        "relax.parabola" => parabola(input),
        "back.frame" => frame(input),
        "conc.form" => form(input),
        "hull.chain" => hull(input),
        "hull.band" => band(input, false),
        "band.crown" => band(input, true),
        "local.change" => Ok(state_value(&change(input)?)),
        "local.margin" => local_margin(input),
        "mono.envelope" => Ok(envelope(input.at("states").list(state))?.iter().map(state_value).collect()),
        "mono.head" => {
            Ok(policies_of_later(input.at("states").list(state)).iter().map(state_value).collect())
        }
        "float32.change" => Ok(state_value(&state(input.at("state")).widened(&input.at("errors").ints())?)),
        "float32.weights" => check_binary32(&objects::network(input.at("network"))).map(accepted),
        "float32.layer" => {
            let (network, region) = (grid(input)?, grid_box(input.at("region")));
            let bounds = propagate(&network, table(), &region)?;
            Ok(ints(rounding_errors(&network, &region, &bounds)?))
        }
        "deviation.paired" => paired(input),
        "head.gaussian-tv" | "head.categorical-tv" => {
            let head = HeadBounds::new(&objects::head(input.at("head")))?;
            Ok(rational(&head.total_variation(&objects::output_change(input.at("change")))?))
        }
        "head.gaussian-kl" | "head.categorical-kl" => {
            let head = HeadBounds::new(&objects::head(input.at("head")))?;
            Ok(rational(&head.divergence(&objects::output_change(input.at("change")))?))
        }
        "head.softmax-tv" => Ok(rational(&softmax(input)?.total_variation)),
        "head.softmax-kl" => Ok(rational(&softmax(input)?.divergence)),
        "split.input" | "split.relu" | "split.leaf" | "split.combination" | "split.empty"
        | "split.farkas" | "split.kept" => {
            let nodes = input.at("nodes").list(objects::node);
            if let Some(of) = input.maybe("kept") {
                let (grid, case) = (grid(input)?, objects::case(input.at("case")));
                let kept = Kept::new(&grid, table(), &objects::case(of), &[])?;
                let mut node = |index: usize| Ok((index, nodes[index].clone()));
                let cases = (std::slice::from_ref(&case), Some(&kept));
                return check_tree(&grid, table(), cases, &mut node, (0, 1), &mut |_| {}).map(accepted);
            }
            let Some(cases) = input.maybe("cases") else {
                let case = objects::case(input.at("case"));
                return check_unsat(&grid(input)?, table(), &case, &nodes, &mut |_| {}).map(accepted);
            };
            let mut node = |index: usize| Ok((index, nodes[index].clone()));
            let cases = cases.list(objects::case);
            check_tree(&grid(input)?, table(), (&cases, None), &mut node, (0, 1), &mut |_| {}).map(accepted)
        }
        "stack.networks" => {
            let policies = input.at("networks").list(|part| Policy {
                network: objects::network(part.at("network")),
                head: Head::Deterministic,
                normaliser: part.maybe("normaliser").map(objects::normaliser),
                source: None,
            });
            let reads = input.at("networks").list(|part| part.at("reads").ints::<usize>());
            let parts: Vec<Reading<'_>> = policies.iter().zip(reads.iter().map(Vec::as_slice)).collect();
            let carried = input.maybe("carried").map(In::rationals);
            let stacked = stack(&parts, input.at("variables").int(), carried.as_deref())?;
            Ok(objects::stacked_value(&stacked))
        }
        "branch.tree" => {
            let nodes = input.at("nodes").list(objects::node);
            let mut node = |index: usize| Ok((index, nodes[index].clone()));
            let (network, set) = (grid(input)?, set_of(input.at("input")));
            Ok(int(bound_tree(&network, table(), &set, &input.at("weights").ints::<i64>(), &mut node)?))
        }
        "branch.cells" => cells(input),
        "counterexample.property" => {
            let point = input.at("point").rationals();
            check_sat(&grid(input)?, table(), &objects::case(input.at("case")), &point).map(accepted)
        }
        "counterexample.point" => point(input),
        "mono.nested" => {
            let masks = input.at("masks").list(objects::mask);
            check_nested(&objects::network(input.at("network")), &masks).map(accepted)
        }
        "regret.sup" => {
            let (discount, tv) = (input.at("discount").rational(), input.at("tv").rational());
            Ok(rational(&regret::sup(&rewards(input), &discount, &tv)?))
        }
        "regret.expectation" => {
            let (discount, tv) = (input.at("discount").rational(), input.at("tv").rational());
            Ok(rational(&regret::expectation(&rewards(input), &discount, &tv)?))
        }
        "regret.horizon" => {
            let (horizon, tv) = (input.at("horizon").int(), input.at("tv").rational());
            Ok(rational(&regret::horizon(&rewards(input), horizon, &tv)?))
        }
        "statistic.hoeffding" => {
            let (samples, confidence) = samples(input);
            Ok(rational(&hoeffding(SAMPLER, &samples, &confidence)?))
        }
        "statistic.bernstein" => {
            let (samples, confidence) = samples(input);
            Ok(rational(&bernstein(SAMPLER, &samples, &confidence)?))
        }
        unknown => panic!("no rule {unknown}"),
    }
}

/// The least value that a tree's leaf proves of its constraint, if that does not refute it.
pub fn least(input: In<'_>) -> Option<Rational> {
    let nodes = input.at("nodes").list(objects::node);
    let case = objects::case(input.at("case"));
    match check_unsat(&grid(input).ok()?, table(), &case, &nodes, &mut |_| {}).err()?.condition() {
        Fault::NotProved { least, .. } => Some((**least).clone()),
        _ => None,
    }
}

const SAMPLER: Sampler = Sampler::IndependentEpisodesGeometricTime;
/// What a rule that refuses because a number left its range says where no layer is at hand.
const OVERFLOW: Fault = Fault::Overflow { layer: 0 };

fn table() -> &'static TanhTable {
    static TABLE: OnceLock<TanhTable> = OnceLock::new();
    TABLE.get_or_init(|| TanhTable::new().unwrap())
}

fn gaussian() -> &'static Enclosures {
    static CONSTANTS: OnceLock<Enclosures> = OnceLock::new();
    CONSTANTS.get_or_init(|| Enclosures::new().unwrap())
}

fn accepted(_: ()) -> Value {
    Value::from("accepted")
}

fn enclosure(found: &Enclosure) -> Value {
    json!({ "lower": rational(&found.lower), "upper": rational(&found.upper) })
}

fn tanh_table(input: In<'_>) -> Outcome {
    let Some(x) = input.maybe("x") else {
        let entries = table().entries().iter().map(|entry| Value::from(entry.to_string()));
        return Ok(entries.collect());
    };
    let (lower, upper) = table().tanh(x.int(), input.at("bits").int()).ok_or(OVERFLOW)?;
    Ok(ints([lower, upper]))
}

// ---- global rules ----

fn scaled(input: In<'_>) -> Result<(ScaledNetwork, Option<Mask>), Fault> {
    let network = ScaledNetwork::new(&objects::network(input.at("network")))?;
    Ok((network, input.maybe("mask").map(objects::mask)))
}

/// The magnitudes times Lipschitz constants, a column per input: what a unit radius of that input alone becomes.
fn columns(input: In<'_>) -> Outcome {
    let (network, mask) = scaled(input)?;
    let inputs = objects::network(input.at("network")).inputs();
    let columns = (0..inputs).map(|column| {
        let radius = |at| if at == column { Rational::one() } else { Rational::zero() };
        let radii: Vec<Rational> = (0..inputs).map(radius).collect();
        Ok(rationals(&sensitivity(&network, mask.as_ref(), &radii)?))
    });
    columns.collect()
}

fn family(name: &str) -> NormFamily {
    match name {
        "linf" => NormFamily::Linf,
        "l1" => NormFamily::L1,
        "l2" => NormFamily::Frobenius,
        other => panic!("no norm {other}"),
    }
}

fn product_value(found: &NormProduct, family: NormFamily) -> Outcome {
    Ok(json!({
        "layers": rationals(&found.layers),
        "product": rational(&found.product),
        "deviation": rational(&found.deviation),
        "change_of_two": objects::change_value(&found.change(family, 2)?),
    }))
}

fn norm(input: In<'_>, family: NormFamily) -> Outcome {
    let network = ScaledNetwork::new(&objects::network(input.at("network")))?;
    let mask = input.maybe("mask").map(objects::mask);
    let perturbation = objects::perturbation(input.at("perturbation"));
    product_value(&norm_product(&network, mask.as_ref(), family, &perturbation)?, family)
}

fn abs_spectral(input: In<'_>) -> Outcome {
    let network = objects::network(input.at("network"));
    let full = || Mask { layers: network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect() };
    let mask = input.maybe("mask").map_or_else(full, objects::mask);
    let perturbation = objects::perturbation(input.at("perturbation"));
    let vectors = Some(input.at("vectors").list(|vector| vector.list(In::big)));
    let found = norm_product_chain(&ScaledNetwork::new(&network)?, &[mask], &[vectors], &perturbation)?;
    product_value(&found[0], NormFamily::AbsSpectral)
}

fn chain(input: In<'_>) -> Outcome {
    let network = ScaledNetwork::new(&objects::network(input.at("network")))?;
    let masks = input.at("masks").list(objects::mask);
    let perturbation = objects::perturbation(input.at("perturbation"));
    let own = |vectors: In<'_>| (!vectors.0.is_null()).then(|| vectors.list(|vector| vector.list(In::big)));
    let vectors = input.at("vectors").list(own);
    let found = norm_product_chain(&network, &masks, &vectors, &perturbation)?;
    found.iter().map(|found| product_value(found, NormFamily::AbsSpectral)).collect()
}

fn spectral(input: In<'_>) -> Outcome {
    let network = ScaledNetwork::new(&objects::network(input.at("network")))?;
    let mask = input.maybe("mask").map(objects::mask);
    let perturbation = objects::perturbation(input.at("perturbation"));
    let witnesses = input.at("witnesses").list(|witness| SpectralWitness {
        rho: witness.at("rho").big(),
        factor: witness.at("factor").ints(),
        fraction_bits: witness.at("fraction_bits").int(),
    });
    let found = norm_product_spectral(&network, mask.as_ref(), &witnesses, &perturbation)?;
    product_value(&found, NormFamily::Spectral)
}

// ---- grids and boxes ----

fn grid(input: In<'_>) -> Result<GridNetwork, Fault> {
    let (network, scale) = (objects::network(input.at("network")), objects::scale(input.at("scale")));
    GridNetwork::new(&network, input.maybe("mask").map(objects::mask).as_ref(), &scale)
}

/// An activation with its parameters on the value grid, by way of a network of one neuron.
fn grid_activation(value: In<'_>, value_bits: u32) -> Result<GridActivation, Fault> {
    let weight = Matrix { rows: 1, columns: 1, values: vec![Dyadic::ZERO] };
    let activation: Activation = objects::activation(value);
    let layer = Layer { weight, bias: vec![Dyadic::ZERO], activation, fixed: false };
    let scale = GridScale { value_bits, coefficient_bits: 48, weight_bits: vec![52] };
    let network = GridNetwork::new(&Network { layers: vec![layer] }, None, &scale)?;
    Ok(network.layers[0].activation.clone())
}

fn layers(network: &GridNetwork) -> Value {
    let activation = |activation: &GridActivation| match activation {
        GridActivation::Identity => json!("identity"),
        GridActivation::Relu => json!("relu"),
        GridActivation::Tanh => json!("tanh"),
        GridActivation::Sigmoid => json!("sigmoid"),
        GridActivation::Silu => json!("silu"),
        GridActivation::Elu { numerator, denominator } => {
            json!({ "elu": ints([*numerator, *denominator]) })
        }
        GridActivation::LeakyRelu { numerator, denominator } => {
            json!({ "leaky-relu": ints([*numerator, *denominator]) })
        }
        GridActivation::Clip { lower, upper } => json!({ "clip": intervals([*lower, *upper]) }),
    };
    let layer = |layer: &secateur_kernel::grid::GridLayer| {
        json!({
            "weight": ints(layer.weight.values().iter().copied()),
            "absolute": ints(layer.absolute.values().iter().copied()),
            "weight_error": layer.weight_error,
            "bias": intervals(layer.bias.iter().copied()),
            "activation": activation(&layer.activation),
        })
    };
    network.layers.iter().map(layer).collect()
}

fn grid_box(value: In<'_>) -> GridBox {
    GridBox::from_intervals(value.list(In::interval))
}

fn box_value(region: &GridBox) -> Value {
    intervals(region.intervals())
}

/// The input set at one `state`, the magnitude of all inputs over `states`, or what holds at every state.
fn inputs(input: In<'_>) -> Outcome {
    let policy = objects::reader(input);
    let units = objects::units(input.at("state_units"));
    let set = objects::perturbation_set(input.at("perturbation"));
    if let Some(states) = input.maybe("states") {
        let rows = states.list(|state| state.list(In::dyadic));
        let values = Matrix { rows: rows.len(), columns: policy.network.inputs(), values: rows.concat() };
        return Ok(rational(&input_magnitude(&policy, &States { values, units }, &set)?));
    }
    if input.maybe("every_state").is_some() {
        let radii = global_radii(&policy, &set)?;
        let size = match global_set(&set, &radii)? {
            Perturbation::Linf { radius } => json!({ "linf": rational(&radius) }),
            Perturbation::L2 { radius } => json!({ "l2": rational(&radius) }),
            Perturbation::PerCoordinate { radii } => json!({ "radii": rationals(&radii) }),
            Perturbation::Sensor(set) => panic!("{set:?} was made a box"),
        };
        return Ok(json!({ "radii": rationals(&radii), "perturbation": size }));
    }
    let state = input.at("state").list(In::dyadic);
    Ok(set_value(&input_set(&policy, &state, units, &set, input.at("value_bits").int())?))
}

fn set_of(value: In<'_>) -> InputSet {
    let axis = |axis: In<'_>| if axis.0.is_null() { None } else { Some(axis.int()) };
    let shared = value.maybe("offsets").map(|offsets| GridBall::Shared {
        offsets: offsets.list(|offset| offset.list(|pair| (pair.at("input").int(), pair.at("axis").int()))),
    });
    InputSet {
        region: grid_box(value.at("region")),
        center: grid_box(value.at("center")),
        radii: value.at("radii").ints(),
        ball: value
            .maybe("semi_axes")
            .map(|axes| GridBall::Euclidean { semi_axes: axes.list(axis) })
            .or(shared),
    }
}

fn set_value(set: &InputSet) -> Value {
    let axis = |axis: &Option<i64>| axis.map_or(Value::Null, int);
    let axes = match &set.ball {
        Some(GridBall::Euclidean { semi_axes }) => Some(semi_axes.iter().map(axis).collect::<Value>()),
        Some(GridBall::Shared { .. }) | None => None,
    };
    let mut value = json!({
        "region": box_value(&set.region),
        "center": box_value(&set.center),
        "radii": ints(set.radii.iter().copied()),
        "semi_axes": axes,
    });
    if let Some(GridBall::Shared { offsets }) = &set.ball {
        let pair = |(input, axis): &(usize, i64)| json!({ "input": input, "axis": int(*axis) });
        let offset = |offset: &Vec<(usize, i64)>| offset.iter().map(pair).collect::<Value>();
        value["offsets"] = offsets.iter().map(offset).collect();
    }
    value
}

// ---- lines and backward bounds ----

fn line_value(line: &Line) -> Value {
    ints([line.slope, line.intercept])
}

fn relaxation_value(lines: &Relaxation) -> Value {
    json!({ "upper": line_value(&lines.upper), "lower": line_value(&lines.lower) })
}

fn relaxation(input: In<'_>) -> Outcome {
    let bits = input.at("value_bits").int();
    let activation = grid_activation(input.at("activation"), bits)?;
    let slope = |name| input.maybe(name).map(In::int);
    let choice = SlopeChoice { upper: slope("upper_slope"), lower: slope("lower_slope") };
    let lines = relax(&activation, table(), bits, input.at("interval").interval(), choice);
    Ok(relaxation_value(&lines.ok_or(OVERFLOW)?))
}

fn parabola(input: In<'_>) -> Outcome {
    let (bits, ends) = (input.at("value_bits").int(), input.at("interval").interval());
    let activation = grid_activation(input.at("activation"), bits)?;
    let found = parabolas(&activation, table(), bits, ends, input.at("point").int()).ok_or(OVERFLOW)?;
    Ok(json!({ "lines": relaxation_value(&found.lines), "bends": intervals([found.bends])[0] }))
}

/// The frames of no neuron yet over `input`, and that.
fn frames(input: In<'_>) -> Result<(Frames, InputSet), Fault> {
    let (value_bits, coefficient_bits) = (input.at("value_bits").int(), input.at("coefficient_bits").int());
    let set = set_of(input.at("input"));
    Ok((Frames::new(&GridNetwork { layers: Vec::new(), value_bits, coefficient_bits }, &set)?, set))
}

fn functional_of(value: In<'_>) -> Functional {
    let (coefficients, constant) = (value.at("coefficients").ints(), value.at("constant").int());
    Functional { coefficients, constant, layer: 0 }
}

fn frame(input: In<'_>) -> Outcome {
    let (frames, set) = frames(input)?;
    let found = frames.frame(["below", "above"].map(|side| functional_of(input.at(side))), &set)?;
    Ok(json!({ "point": int(found.point), "square": int(found.square) }))
}

fn form(input: In<'_>) -> Outcome {
    let (mut frames, set) = frames(input)?;
    let frame = |frame: In<'_>| {
        let read =
            || Frame { point: 0, direction: frame.at("direction").ints(), square: frame.at("square").int() };
        (!frame.0.is_null()).then(read)
    };
    frames.push(input.at("frames").list(frame))?;
    let (bound, above) = frames.concretize(functional_of(input), input.at("seconds").ints(), &set)?;
    Ok(json!({ "bound": int(bound), "above": functional_value(&above) }))
}

fn line_of(value: In<'_>) -> Line {
    let (slope, intercept) = value.interval();
    Line { slope, intercept }
}

fn functional_value(functional: &Functional) -> Value {
    json!({
        "coefficients": ints(functional.coefficients.iter().copied()),
        "constant": int(functional.constant),
    })
}

fn multipliers_of(value: In<'_>) -> Multipliers {
    let split = |split: In<'_>| SplitMultiplier {
        neuron: split.at("neuron").int(),
        positive: split.at("positive").flag(),
        value: split.at("value").int(),
    };
    Multipliers { layers: value.list(|layer| layer.list(split)) }
}

fn backward(input: In<'_>) -> Outcome {
    let network = grid(input)?;
    if let Some(neuron) = input.maybe("neuron") {
        let (layer, negative) = (input.at("layer").int(), input.at("negative").flag());
        let magnitude = input.at("input_magnitude").int();
        return Ok(functional_value(&Functional::of_neuron(
            &network,
            layer,
            neuron.int(),
            negative,
            magnitude,
        )?));
    }
    let relaxed: Vec<RelaxedLayer> = input.at("relaxed").list(|layer| {
        let neurons: Vec<_> = layer.at("neurons").list(|neuron| Relaxation {
            upper: line_of(neuron.at("upper")),
            lower: line_of(neuron.at("lower")),
        });
        RelaxedLayer::new(&neurons, layer.at("pre_magnitude").int(), layer.at("input_magnitude").int())
    });
    let functional = Functional {
        coefficients: input.at("coefficients").ints(),
        constant: input.at("constant").int(),
        layer: network.layers.len(),
    };
    let multipliers = input.maybe("multipliers").map(multipliers_of);
    let set = set_of(input.at("input"));
    let depth = network.layers.len();
    let target = Target { functional, relaxed: Cow::Owned(relaxed), multipliers: multipliers.as_ref() };
    Ok(int(upper_bounds(&network, depth, [Ok(target)], &set)?.remove(0)?))
}

fn crown(input: In<'_>) -> Outcome {
    let (network, set) = (grid(input)?, set_of(input.at("input")));
    let sign = |sign: In<'_>| (sign.at("layer").int(), sign.at("neuron").int(), sign.at("positive").flag());
    let signs = input.maybe("signs").map_or(Vec::new(), |signs| signs.list(sign));
    let quadratic = input.maybe("quadratic").is_some_and(In::flag);
    let witness = Witness { rows: &[], signs: &signs, quadratic };
    let Some(layers) = crown_layers(&network, table(), &set, witness)? else {
        return Ok(Value::from("empty"));
    };
    let row = |target: In<'_>| {
        target.maybe("slopes").map(|slopes| RowWitness {
            slopes: objects::slopes(slopes),
            multipliers: target.maybe("multipliers").map_or(Multipliers::default(), multipliers_of),
        })
    };
    let bound = |target: In<'_>| {
        let weights = target.at("weights").ints::<i64>();
        Ok(int(bound_outputs(&network, table(), &layers, &set, &weights, row(target).as_ref())?))
    };
    let outputs = input.at("outputs").list(bound).into_iter().collect::<Result<Value, Fault>>()?;
    Ok(json!({ "layers": crown_value(&layers), "outputs": outputs }))
}

fn crown_value(found: &CrownLayers) -> Value {
    let layers = found.pre.iter().zip(&found.post).zip(&found.relaxed);
    layers
        .map(|((pre, post), relaxed)| {
            json!({
                "pre": box_value(pre),
                "post": box_value(post),
                "lines": relaxed.neurons().map(|neuron| relaxation_value(&neuron)).collect::<Value>(),
                "pre_magnitude": int(relaxed.pre_magnitude),
                "input_magnitude": int(relaxed.input_magnitude),
            })
        })
        .collect()
}

// ---- chains, bands and pairs ----

fn hull(input: In<'_>) -> Outcome {
    let dense = grid(input)?;
    let masks = input.at("masks").list(objects::mask);
    let networks = masks.iter().map(|mask| dense.pruned(mask)).collect::<Result<Vec<_>, _>>()?;
    let region = grid_box(input.at("region"));
    let bounds = networks.iter().map(|network| propagate(network, table(), &region));
    let bounds = bounds.collect::<Result<Vec<_>, _>>()?;
    let slopes = hull_slopes(&dense, table(), &bounds.iter().collect::<Vec<_>>())?;
    let radii = input.at("radii").ints::<i64>();
    let moved = networks.iter().map(|network| Ok(ints(deviation(network, &slopes, &radii)?)));
    let moved = moved.collect::<Result<Value, Fault>>()?;
    let slopes: Value = slopes.layers.iter().map(|layer| ints(layer.iter().copied())).collect();
    Ok(json!({ "slopes": slopes, "deviation": moved }))
}

fn band(input: In<'_>, crown: bool) -> Outcome {
    let (network, scale) = (objects::network(input.at("network")), objects::scale(input.at("scale")));
    let loosest = objects::mask(input.at("loosest"));
    let tightest = input.maybe("tightest").map(objects::mask);
    let band = BandNetwork::new(&network, &loosest, tightest.as_ref(), &scale)?;
    let BandBounds { center, deviation, oscillation } =
        band_bounds(&band, table(), &set_of(input.at("input")), crown)?;
    Ok(json!({
        "center": box_value(&center), "deviation": ints(deviation), "oscillation": int(oscillation),
    }))
}

fn paired(input: In<'_>) -> Outcome {
    let (network, scale) = (objects::network(input.at("network")), objects::scale(input.at("scale")));
    let (mask, region) = (objects::mask(input.at("pruned")), grid_box(input.at("region")));
    let pair = PairedNetwork::new(&network, &mask, &scale)?;
    let dense = GridNetwork::new(&network, None, &scale)?;
    let pruned = dense.pruned(&mask)?;
    let (dense, pruned) = (propagate(&dense, table(), &region)?, propagate(&pruned, table(), &region)?);
    Ok(box_value(&paired_change(&pair, table(), &region, &dense, &pruned)?))
}

// ---- what bounds say ----

fn cells(input: In<'_>) -> Outcome {
    let nodes = input.at("nodes").list(objects::node);
    let mut node = |index: usize| Ok((index, nodes[index].clone()));
    let (network, set) = (grid(input)?, set_of(input.at("input")));
    let (head, center) = (objects::head(input.at("head")), grid_box(input.at("center")));
    let gaussian = matches!(head, Head::Gaussian { .. }).then(|| HeadBounds::new(&head)).transpose()?;
    let softmax =
        (head == Head::Categorical).then(|| Softmax::new(&center, network.value_bits)).transpose()?;
    let (softmax, gaussian) = (softmax.as_ref(), gaussian.as_ref());
    let outputs = CellOutputs { center: &center, margins: gaussian.is_none(), softmax, gaussian };
    Ok(joint_value(&bound_cells(&network, table(), &set, &outputs, &mut node)?))
}

fn state(value: In<'_>) -> StateBounds {
    StateBounds {
        deviation: value.at("deviation").ints(),
        oscillation: value.at("oscillation").int(),
        margin: value.maybe("margin").map(In::int),
        gains: value.maybe("gains").map_or_else(Vec::new, In::ints),
        policy: value.maybe("policy").map(objects::policy_change),
        distance: value.maybe("distance").map(In::rational),
    }
}

fn state_value(state: &StateBounds) -> Value {
    json!({
        "deviation": ints(state.deviation.iter().copied()),
        "oscillation": int(state.oscillation),
        "margin": state.margin.map(int),
        "gains": ints(state.gains.iter().copied()),
        "policy": state.policy.as_ref().map(objects::policy_value),
    })
}

/// With what is joint of a Gaussian, where a rule says that.
fn joint_value(state: &StateBounds) -> Value {
    let mut value = state_value(state);
    value["distance"] = json!(state.distance.as_ref().map(rational));
    value
}

fn change(input: In<'_>) -> Result<StateBounds, Fault> {
    if let Some(change) = input.maybe("change") {
        return StateBounds::from_change(&grid_box(change));
    }
    let center = grid_box(input.at("center"));
    if let Some(region) = input.maybe("region") {
        return StateBounds::from_box(&center, &grid_box(region));
    }
    if let Some(functionals) = input.maybe("functionals") {
        let known = functionals.list(|f| (f.at("weights").ints::<i64>(), f.at("bound").int::<i64>()));
        let bound = |(weights, _): &Asked| {
            let found = known.iter().find(|(named, _)| named == weights);
            found.unwrap_or_else(|| panic!("no bound of {weights:?}")).1
        };
        let mut bounds = |asked: &[Asked]| Ok(asked.iter().map(bound).collect());
        let differences = match (input.at("margins").flag(), input.maybe("lead")) {
            (false, _) => Differences::Without,
            (true, Some(lead)) if lead.flag() => Differences::Lead,
            (true, _) => Differences::All,
        };
        return StateBounds::from_functionals(&center, differences, &mut bounds);
    }
    let deviation = input.at("deviation").ints();
    if let Some(wider) = input.maybe("wider") {
        let band = BandBounds { center, deviation, oscillation: input.at("oscillation").int() };
        return StateBounds::from_band(band, Some(&state(wider)));
    }
    StateBounds::from_deviation(&center, deviation, input.maybe("oscillation").map(In::int))
}

fn softmax(input: In<'_>) -> Result<PolicyChange, Fault> {
    let clean = Softmax::new(&grid_box(input.at("logits")), input.at("value_bits").int())?;
    clean.change(&input.at("gains").ints::<i64>(), input.at("oscillation").int())
}

fn local_margin(input: In<'_>) -> Outcome {
    let center = grid_box(input.at("center"));
    if let Some(change) = input.maybe("change") {
        let bits = input.at("value_bits").int();
        let found = margin_of_change(&center, bits, &objects::output_change(change))?;
        return Ok(found.as_ref().map_or(Value::Null, rational));
    }
    let kept = input.at("kept").list(In::ints::<i64>);
    let found = margin(&center, input.at("oscillation").int(), |leader, other| Ok(kept[leader][other]))?;
    Ok(found.map_or(Value::Null, int))
}

fn point(input: In<'_>) -> Outcome {
    if let Some(offset) = input.maybe("offset") {
        let policy = objects::reader(input);
        let state = input.at("state").list(In::dyadic);
        let units = objects::units(input.at("state_units"));
        let set = objects::perturbation_set(input.at("perturbation"));
        let (clean, moved) = perturbed_inputs(&policy, &state, units, &set, &offset.rationals())?;
        return Ok(json!({ "clean": rationals(&clean), "moved": rationals(&moved) }));
    }
    if let Some(at) = input.maybe("at") {
        return Ok(box_value(&enclose_outputs(&grid(input)?, table(), &at.rationals())?));
    }
    let (clean, moved) = (grid_box(input.at("clean")), grid_box(input.at("moved")));
    let bits = input.at("value_bits").int();
    let head = objects::head(input.at("head"));
    let deviation = deviation_from_below(&clean, &moved, bits)?;
    let tv = match PointHead::new(&head)?.total_variation(&clean, &moved, bits) {
        Err(Fault::NoDistribution) => Value::Null,
        other => rational(&other?),
    };
    Ok(json!({ "deviation": rationals(&deviation), "total_variation": tv }))
}

// ---- regret and statistics ----

fn rewards(input: In<'_>) -> RewardRange {
    let rewards = input.at("rewards");
    RewardRange {
        lower: rewards.at("lower").rational(),
        upper: rewards.at("upper").rational(),
        episodes_can_end: rewards.at("episodes_can_end").flag(),
    }
}

/// Samples: runs of `[count, value]`, where a value is a rational, `ended` or `cut-off`.
fn samples(input: In<'_>) -> (Vec<Sample>, Confidence) {
    let mut samples = Vec::new();
    for (count, sample) in input.at("samples").list(In::pair) {
        let sample = match sample.text() {
            "ended" => Sample::Ended,
            "cut-off" => Sample::CutOff,
            _ => Sample::State(sample.rational()),
        };
        samples.extend(vec![sample; count.int()]);
    }
    let confidence = input.at("confidence");
    let confidence = Confidence {
        level: confidence.at("level").rational(),
        masks: confidence.at("masks").int(),
        inequalities: confidence.at("inequalities").int(),
    };
    (samples, confidence)
}
