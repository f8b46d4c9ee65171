//! ONNX graphs that are one chain of affine maps and activations. Untrusted. `spec/import-onnx.md`.
//!
//! A graph is followed from the chosen output back to its input, executed on one symbolic observation whose shape is
//! known at every node, and the exact maps found are written as layers; what could only be rounded is refused, naming
//! the node.
//!
//! # References
//! ONNX operator schemas, opset 6 to 28.

use crate::import::draft::Draft;
use crate::import::problem::{HeadKind, ImportOptions, Problem};
use crate::import::record::activation_text;
use crate::import::words::did_you_mean;
use crate::policy::{ActivationSpec, LayerData, NormaliserData};
use execute::{Execution, Signal, Stopped};
use graph::Live;
use lower::{Layer, Lowered, Step, lower};
use prost::Message;

mod affine;
mod clips;
mod constant;
mod elementwise;
mod exact;
mod execute;
mod fold;
mod graph;
mod lower;
mod movement;
mod proto;
mod select;
mod write;

pub use write::write_onnx;

use proto::{Graph, Model, ValueInfo};

/// Opsets whose operators mean what is read here.
const OPSETS: std::ops::RangeInclusive<i64> = 6..=28;
/// Widths that an input of unstated width is tried with.
const MAX_WIDTHS: usize = 64;
/// Entries that an observation may have.
const MAX_INPUTS: usize = 1 << 16;

enum Failure {
    Reason(String),
    Problem(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    fn at(self, node: &str) -> Problem {
        match self {
            Self::Reason(reason) => Problem::OnnxNode { node: node.to_owned(), reason },
            Self::Problem(problem) => problem,
        }
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Reason(reason.into()))
}

/// Reads the network behind one output of a model; remarks for the person go to `notes`.
///
/// # Errors
/// [`Problem::Onnx`], [`Problem::OnnxGraph`], [`Problem::OnnxNode`], [`Problem::OnnxTensor`],
/// [`Problem::ExternalData`], [`Problem::SeveralOutputs`], [`Problem::NoSuchOutput`].
pub(super) fn parse(
    bytes: &[u8],
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<Draft, Problem> {
    // field 1 (ir_version) comes first in every model that tools write
    if bytes.first() != Some(&0x08) {
        return Err(Problem::UnknownFormat);
    }
    let model = Model::decode(bytes).map_err(|error| Problem::Onnx(error.to_string()))?;
    let opset = opset(&model)?;
    let graph = model.graph.as_ref().ok_or_else(|| Problem::Onnx("it has no graph".into()))?;
    let output = chosen_output(graph, options.output.as_deref())?;
    let live = Live::of(graph, opset, output)?;
    let lowered = network(&live)?;
    notes.extend_from_slice(&lowered.notes);
    draft(lowered, options)
}

fn opset(model: &Model) -> Result<i64, Problem> {
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    if let Some(function) = model.functions.iter().find(|f| default(&f.domain)) {
        let text = format!("it defines the operator {:?} of the standard domain itself", function.name);
        return Err(Problem::OnnxGraph(text));
    }
    let mut versions: Vec<i64> =
        model.opset_import.iter().filter(|o| default(&o.domain)).map(|o| o.version).collect();
    versions.dedup();
    match versions[..] {
        [version] if OPSETS.contains(&version) => Ok(version),
        [version] => Err(Problem::OnnxGraph(format!(
            "its opset is {version}; {} to {} are read. Export it again with one of those",
            OPSETS.start(),
            OPSETS.end()
        ))),
        _ => Err(Problem::OnnxGraph("it does not state one opset of the standard domain".into())),
    }
}

fn chosen_output<'a>(graph: &'a Graph, name: Option<&str>) -> Result<&'a ValueInfo, Problem> {
    let known = || graph.output.iter().map(described).collect::<Vec<_>>().join(", ");
    match (name, graph.output.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => Err(Problem::Onnx("it has no output".into())),
        (None, outputs) => {
            let names = outputs.iter().map(|o| o.name.clone()).collect();
            Err(Problem::SeveralOutputs { names, described: known() })
        }
        (Some(name), outputs) => {
            let found = outputs.iter().find(|o| o.name == name);
            found.ok_or_else(|| Problem::NoSuchOutput {
                name: name.to_owned(),
                known: known() + &did_you_mean(name, outputs.iter().map(|o| o.name.as_str())),
            })
        }
    }
}

fn described(value: &ValueInfo) -> String {
    let Some(sides) = stated_shape(value) else { return format!("{:?}", value.name) };
    let sides: Vec<String> = sides.iter().map(|s| s.map_or("?".into(), |s| s.to_string())).collect();
    format!("{:?} [{}]", value.name, sides.join(", "))
}

/// Sides as the file states them; `None` for one it leaves open.
fn stated_shape(value: &ValueInfo) -> Option<Vec<Option<usize>>> {
    let shape = value.kind.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    let side = |d: &proto::Dim| usize::try_from(d.value).ok().filter(|&v| v > 0 && d.symbol.is_empty());
    Some(shape.dim.iter().map(side).collect())
}

/// The network with every shape of the input that its graph allows; more than one network is an error.
fn network(live: &Live<'_>) -> Result<Lowered, Problem> {
    let (mut found, mut furthest): (Vec<(Vec<usize>, Lowered)>, Option<Stopped>) = (Vec::new(), None);
    for shape in input_shapes(live)? {
        match read_with(live, &shape) {
            Ok(lowered) if found.iter().any(|(_, known)| *known == lowered) => {}
            Ok(lowered) => {
                found.push((shape, lowered));
                if found.len() > 1 {
                    break;
                }
            }
            Err(stopped) if furthest.as_ref().is_none_or(|f| f.nodes < stopped.nodes) => {
                furthest = Some(stopped)
            }
            Err(_) => {}
        }
    }
    match (found.len(), found.pop(), furthest) {
        (1, Some((_, lowered)), _) => Ok(lowered),
        (_, Some((last, _)), _) => {
            let first = found.first().map(|(shape, _)| shape.clone()).unwrap_or_default();
            Err(Problem::OnnxGraph(format!(
                "the shape of its input is not stated in full, and {first:?} and {last:?} both fit; export it with a \
                 stated width"
            )))
        }
        (_, None, Some(stopped)) => Err(stopped.problem),
        (_, None, None) => Err(Problem::OnnxGraph("no shape of its input fits".into())),
    }
}

fn read_with(live: &Live<'_>, shape: &[usize]) -> Result<Lowered, Stopped> {
    let (steps, output): (Vec<Step>, Signal) = Execution::run(live, shape)?;
    let nodes = live.nodes.len();
    let stop = |problem| Stopped { problem, nodes };
    if let Some(stated) = stated_shape(live.output)
        && (stated.len() != output.shape.len()
            // the batch has one row here, whatever the file says it has
            || stated.iter().zip(&output.shape).skip(1).any(|(s, &found)| s.is_some_and(|s| s != found))
            || stated.len() == 1 && stated[0].is_some_and(|s| s != output.shape[0]))
    {
        let text = format!(
            "its output is stated as {}, but its shape is {:?}",
            described(live.output),
            output.shape
        );
        return Err(stop(Problem::OnnxGraph(text)));
    }
    let width = shape.iter().product();
    lower(steps, width).map_err(|(node, reason)| {
        stop(match node.is_empty() {
            true => Problem::OnnxGraph(reason),
            false => Problem::OnnxNode { node, reason },
        })
    })
}

/// Shapes that the input can have: one row where the first side is open, every width that the graph's constants know
/// where the width is.
fn input_shapes(live: &Live<'_>) -> Result<Vec<Vec<usize>>, Problem> {
    let templates = match stated_shape(live.input) {
        Some(sides) => match (sides.iter().filter(|s| s.is_none()).count(), sides.first()) {
            (0, _) => vec![sides],
            (1 | 2, Some(None)) if sides.len() > 1 => {
                let rest = sides.iter().skip(1).copied();
                vec![std::iter::once(Some(1)).chain(rest).collect()]
            }
            // an open side behind the first is the width, or a batch of columns
            (1, _) if sides.len() > 1 => {
                vec![sides.iter().map(|s| s.or(Some(1))).collect(), sides]
            }
            (1, _) => vec![sides],
            _ => {
                let text = format!("the shape of its input {} is not stated", described(live.input));
                return Err(Problem::OnnxGraph(text + "; export it with a stated width"));
            }
        },
        None => vec![vec![Some(1), None], vec![None], vec![None, Some(1)]],
    };
    let mut widths = live.sides();
    widths.retain(|&side| side > 0 && side <= MAX_INPUTS);
    if widths.len() > MAX_WIDTHS {
        widths.clear();
    }
    // a width that nothing fixes (a slice of the first entries) also fits with one entry more
    widths.extend(widths.clone().iter().map(|side| side + 1));
    let mut shapes = Vec::new();
    for template in templates {
        if template.iter().all(Option::is_some) {
            shapes.push(template.into_iter().flatten().collect());
            continue;
        }
        shapes.extend(widths.iter().map(|&w| template.iter().map(|s| s.unwrap_or(w)).collect::<Vec<_>>()));
    }
    shapes.retain(|shape: &Vec<usize>| {
        let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side));
        count.is_some_and(|count| count > 0 && count <= MAX_INPUTS)
    });
    match shapes.is_empty() {
        true => {
            Err(Problem::OnnxGraph(format!("the width of its input {} is not known", described(live.input))))
        }
        false => Ok(shapes),
    }
}

/// The network as a draft; options may confirm what the graph shows, never contradict it.
fn draft(lowered: Lowered, options: &ImportOptions) -> Result<Draft, Problem> {
    if lowered.layers.iter().all(|layer| layer.fixed) {
        return Err(Problem::NoLayers("of weights in its graph".into()));
    }
    confirm(&lowered.layers, options)?;
    if options.normaliser.is_some() && lowered.layers.first().is_some_and(|layer| layer.fixed) {
        return Err(Problem::TwoNormalisers);
    }
    if lowered.softmax && options.head.is_some_and(|head| head != HeadKind::Categorical) {
        let text = "its outputs are the probabilities of a softmax, so its head is categorical: import it with --head \
                    categorical, or export the logits";
        return Err(Problem::OnnxGraph(text.into()));
    }
    let head = lowered.softmax.then_some(HeadKind::Categorical);
    let normaliser =
        lowered.normalisation.map(|n| NormaliserData { mean: n.mean, scaling: n.scaling, clip: n.clip });
    let layers = lowered.layers.into_iter().map(|layer| {
        let Layer { name, weight, bias, activation, fixed } = layer;
        (name, LayerData { weight, bias, activation, fixed })
    });
    Ok(Draft { layers: layers.collect(), head, normaliser, ..Draft::default() })
}

/// Options may confirm the activations that the graph shows, and choose no tensors.
fn confirm(layers: &[Layer], options: &ImportOptions) -> Result<(), Problem> {
    let choices = [
        ("--prefix", options.prefix.is_some()),
        ("--layers", options.layers.is_some()),
        ("--ignore", !options.ignore.is_empty()),
        ("--no-bias", options.no_bias),
    ];
    if let Some((option, _)) = choices.iter().find(|(_, given)| *given) {
        return Err(Problem::NoEffect { option, reason: "an ONNX graph says which layers it has".into() });
    }
    let differs = |option: &'static str, stated: &Option<ActivationSpec>, layer: &Layer| match stated {
        Some(stated) if *stated != layer.activation => {
            let (given, file) = (activation_text(stated), activation_text(&layer.activation));
            Err(Problem::Contradicts { option, given, file })
        }
        _ => Ok(()),
    };
    let trained: Vec<&Layer> = layers.iter().filter(|layer| !layer.fixed).collect();
    if let Some((last, hidden)) = trained.split_last() {
        // a layer whose normalisation became a layer of its own has its activation there
        let shown = hidden.iter().filter(|layer| layer.activation != ActivationSpec::Identity);
        shown.into_iter().try_for_each(|layer| differs("--activation", &options.activation, layer))?;
        differs("--output-activation", &options.output_activation, last)?;
    }
    Ok(())
}

/// What to do about an activation that is not bounded here.
const OTHER_ACTIVATION: &str = "train the policy with one of those, or distil it into one";

/// Why an operator is not read, as a sentence that names what it is.
fn refusal(kind: &str) -> String {
    let unbounded = || {
        let known = "relu, leaky relu, elu, silu, tanh, sigmoid, hardtanh and clips are";
        format!("is not bounded here ({known}); {OTHER_ACTIVATION}")
    };
    match kind {
        "Conv" | "ConvTranspose" | "ConvInteger" | "DeformConv" | "MaxPool" | "AveragePool" | "GlobalAveragePool"
        | "GlobalMaxPool" => "convolutions and pooling are not read; only fully connected layers are".into(),
        "LSTM" | "GRU" | "RNN" => {
            "it is recurrent; only feed-forward policies can be certified: train one that reads stacked frames in place \
             of the memory, or distil this one into it"
                .into()
        }
        "LayerNormalization" | "InstanceNormalization" | "GroupNormalization" | "RMSNormalization"
        | "LpNormalization" | "MeanVarianceNormalization" | "LRN" => {
            "it normalises by statistics of the state itself (layer normalisation), which is not read: train without it, \
             or with batch normalisation, which is folded into the layers in evaluation mode"
                .into()
        }
        "ReduceMean" | "ReduceSum" | "ReduceL2" | "ReduceSumSquare" | "ReduceMax" | "ReduceMin" | "CumSum" => {
            "it sums over the state (as layer normalisation or pooling does), which is not read".into()
        }
        "If" | "Loop" | "Scan" => "control flow is not read".into(),
        "Where" | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "Not" | "And" | "Or" => {
            "it decides by comparing, which is no affine map or activation that is bounded here".into()
        }
        "Selu" | "Celu" | "Mish" | "Softplus" | "Softsign" | "HardSwish" | "ThresholdedRelu" => {
            format!("the activation {kind} {}", unbounded())
        }
        "Gelu" | "Erf" => format!("the activation GELU {}", unbounded()),
        "Abs" | "Sign" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Sin" | "Cos" | "Floor" | "Ceil" | "Round" => {
            format!("the function {kind} of a value of the network {}", unbounded())
        }
        "Pow" => "a power of a value of the network (as in the tanh form of GELU) is not read".into(),
        "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Multinomial" | "Bernoulli" => {
            "it draws random numbers; export the mean or the logits instead of a sampled action".into()
        }
        "ArgMax" | "ArgMin" | "TopK" | "OneHot" | "Hardmax" => {
            "it chooses an action; export the logits or values before it and import those (several outputs: --output)"
                .into()
        }
        "Pad" => "it adds entries that are not the observation's, which is not read".into(),
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" | "QLinearMatMul" | "MatMulInteger"
        | "QGemm" => "quantised networks are not read; export the float model".into(),
        _ => "the operator is not read; affine maps and activations are".into(),
    }
}
