//! A policy as an ONNX graph that [`super::parse`] reads back as the same network. Untrusted; the caller reads it back.
//! `spec/gate.md#export`.
//!
//! Numbers are written in float32 where every number of a stage is one, else in float64, with casts between stages: over
//! the reals a cast is the identity.

use prost::Message;
use secateur_checker::number::{Dyadic, Rational};

use super::proto::{Attribute, Dim, Entry, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo};
use crate::float::rational_to_float;
use crate::policy::{ActivationSpec, LayerData, NormaliserData, PolicyData, Scaling, TensorData};

/// Opset 13 and its IR version: what runtimes of the last years read.
const OPSET: i64 = 13;
const IR: i64 = 7;
/// ONNX's types of attributes.
const FLOAT_ATTRIBUTE: i32 = 1;
const INT_ATTRIBUTE: i32 = 2;

/// The model as it is written: with the names that runtimes ask for, which are not read.
#[derive(Clone, PartialEq, Message)]
struct WrittenModel {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<WrittenGraph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct WrittenGraph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

/// The graph's network part, from observation to mean, logits or action, with texts as metadata.
///
/// # Errors
/// What ONNX cannot hold exactly.
pub fn write_onnx(policy: &PolicyData, metadata: &[(&str, &str)]) -> Result<Vec<u8>, String> {
    let inputs = policy.layers.first().and_then(|l| l.weight.shape.get(1)).copied().unwrap_or(0);
    let outputs = policy.layers.last().and_then(|l| l.weight.shape.first()).copied().unwrap_or(0);
    let mut writer = Writer::default();
    if let Some(normaliser) = &policy.normaliser {
        writer.normaliser(normaliser)?;
    }
    for (index, layer) in policy.layers.iter().enumerate() {
        writer.layer(index, layer)?;
    }
    let element = |wide: Option<bool>| if wide == Some(true) { 11 } else { 1 };
    let (first, last) = (element(writer.first), element(writer.wide));
    if let Some(node) = writer.nodes.last_mut() {
        node.output = vec!["output".to_owned()];
    }
    let graph = WrittenGraph {
        node: writer.nodes,
        name: "policy".to_owned(),
        initializer: writer.constants,
        input: vec![value("observation", first, inputs)],
        output: vec![value("output", last, outputs)],
    };
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    let model = WrittenModel {
        ir_version: IR,
        producer_name: "secateur".to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata: metadata.iter().map(entry).collect(),
    };
    Ok(model.encode_to_vec())
}

fn value(name: &str, element: i32, width: usize) -> ValueInfo {
    let batch = Dim { value: 0, symbol: "batch".to_owned() };
    let width = Dim { value: width as i64, symbol: String::new() };
    let shape = Some(Shape { dim: vec![batch, width] });
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(TensorType { element, shape }) }) }
}

/// Whether binary32 holds every number.
fn is_narrow(values: &[f64]) -> bool {
    values.iter().all(|v| f64::from(*v as f32) == *v)
}

/// The binary64 that is exactly this number.
fn exact(text: &str) -> Result<f64, String> {
    let value = Rational::parse(text).map_err(|e| format!("{text:?}: {e}"))?;
    let float = rational_to_float(&value);
    let back = Dyadic::from_ieee(float.to_bits(), 52, 11).map(Dyadic::to_rational);
    if back.as_ref() == Some(&value) { Ok(float) } else { Err(format!("no float is exactly {value}")) }
}

/// The attribute `alpha` of an activation, which ONNX stores in binary32.
fn alpha(what: &str, text: &str) -> Result<Attribute, String> {
    let value = exact(text)?;
    if !is_narrow(&[value]) {
        return Err(format!("ONNX stores {what} as float32, which {value} is not"));
    }
    Ok(Attribute { name: "alpha".into(), kind: FLOAT_ATTRIBUTE, f: value as f32, ..Attribute::default() })
}

#[derive(Default)]
struct Writer {
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
    /// Whether values are float64 at the input, and now.
    first: Option<bool>,
    wide: Option<bool>,
}

impl Writer {
    /// Values are of this width from here on.
    fn stage(&mut self, wide: bool) {
        if self.first.is_none() {
            self.first = Some(wide);
        } else if self.wide != Some(wide) {
            let to = if wide { 11 } else { 1 };
            let attribute =
                Attribute { name: "to".into(), kind: INT_ATTRIBUTE, i: to, ..Attribute::default() };
            self.node("Cast", &[], vec![attribute]);
        }
        self.wide = Some(wide);
    }

    fn constant(&mut self, name: String, shape: &[usize], values: &[f64]) -> String {
        let wide = self.wide == Some(true);
        let raw_data = if wide {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect()
        };
        self.constants.push(Tensor {
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: if wide { 11 } else { 1 },
            name: name.clone(),
            raw_data,
            ..Tensor::default()
        });
        name
    }

    /// The value made last.
    fn last(&self) -> String {
        let made = self.nodes.last().and_then(|n| n.output.first()).cloned();
        made.unwrap_or_else(|| "observation".to_owned())
    }

    /// A node that reads the value made last, and others.
    fn node(&mut self, kind: &str, others: &[String], attribute: Vec<Attribute>) {
        let mut input = vec![self.last()];
        input.extend(others.iter().cloned());
        let name = format!("value.{}", self.nodes.len());
        self.nodes.push(Node {
            input,
            output: vec![name.clone()],
            name,
            op_type: kind.to_owned(),
            attribute,
            domain: String::new(),
        });
    }

    fn normaliser(&mut self, normaliser: &NormaliserData) -> Result<(), String> {
        let (kind, word) = match &normaliser.scaling {
            Scaling::Std(_) => ("Div", "std"),
            Scaling::Factor(_) if normaliser.clip.is_some() => {
                return Err(
                    "its normaliser stores factors and clips, which a graph shows as a layer".to_owned()
                );
            }
            Scaling::Factor(_) => ("Mul", "factor"),
        };
        let clip = normaliser.clip.as_deref().map(exact).transpose();
        let clip = clip.map_err(|e| format!("the clip of its normaliser: {e}"))?;
        let (mean, scaling) = (normaliser.mean.floats(), normaliser.scaling.tensor().floats());
        let all: Vec<f64> = mean.iter().chain(&scaling).copied().chain(clip).collect();
        self.stage(!is_narrow(&all));
        let name = self.constant("normaliser.mean".to_owned(), &[mean.len()], &mean);
        self.node("Sub", &[name], Vec::new());
        let name = self.constant(format!("normaliser.{word}"), &[scaling.len()], &scaling);
        self.node(kind, &[name], Vec::new());
        if let Some(clip) = clip {
            self.clip("normaliser", -clip, clip);
        }
        Ok(())
    }

    fn clip(&mut self, name: &str, lower: f64, upper: f64) {
        let lower = self.constant(format!("{name}.min"), &[], &[lower]);
        let upper = self.constant(format!("{name}.max"), &[], &[upper]);
        self.node("Clip", &[lower, upper], Vec::new());
    }

    fn layer(&mut self, index: usize, layer: &LayerData) -> Result<(), String> {
        let at = |e: String| format!("the activation of layer {index}: {e}");
        let bounds = match &layer.activation {
            ActivationSpec::Clip(lower, upper) => {
                Some((exact(lower).map_err(at)?, exact(upper).map_err(at)?))
            }
            _ => None,
        };
        let (weight, bias) = (layer.weight.floats(), layer.bias.floats());
        let all = weight.iter().chain(&bias).copied();
        let all: Vec<f64> = all.chain(bounds.iter().flat_map(|(l, u)| [*l, *u])).collect();
        self.stage(!is_narrow(&all));
        if layer.fixed {
            self.scale(index, &layer.weight, &weight, &bias);
        } else {
            let weight = self.constant(format!("layer.{index}.weight"), &layer.weight.shape, &weight);
            let bias = self.constant(format!("layer.{index}.bias"), &layer.bias.shape, &bias);
            let turned =
                Attribute { name: "transB".into(), kind: INT_ATTRIBUTE, i: 1, ..Attribute::default() };
            self.node("Gemm", &[weight, bias], vec![turned]);
        }
        match (&layer.activation, bounds) {
            (ActivationSpec::Identity, _) => {}
            (ActivationSpec::Relu, _) => self.node("Relu", &[], Vec::new()),
            (ActivationSpec::Tanh, _) => self.node("Tanh", &[], Vec::new()),
            (ActivationSpec::Sigmoid, _) => self.node("Sigmoid", &[], Vec::new()),
            (ActivationSpec::Silu, _) => {
                let x = self.last();
                self.node("Sigmoid", &[], Vec::new());
                self.node("Mul", &[x], Vec::new());
            }
            (ActivationSpec::LeakyRelu(slope), _) => {
                self.node("LeakyRelu", &[], vec![alpha("a slope", slope).map_err(at)?]);
            }
            (ActivationSpec::Elu(stated), _) => {
                self.node("Elu", &[], vec![alpha("an alpha", stated).map_err(at)?]);
            }
            (ActivationSpec::Clip(..), Some((lower, upper))) => {
                self.clip(&format!("layer.{index}"), lower, upper)
            }
            (ActivationSpec::Clip(..), None) => {}
        }
        Ok(())
    }

    /// A fixed layer: its diagonal, then its bias.
    fn scale(&mut self, index: usize, shape: &TensorData, weight: &[f64], bias: &[f64]) {
        let columns = shape.shape.get(1).copied().unwrap_or(0).max(1);
        let diagonal: Vec<f64> = weight.iter().step_by(columns + 1).copied().collect();
        let scale = self.constant(format!("layer.{index}.scale"), &[diagonal.len()], &diagonal);
        self.node("Mul", &[scale], Vec::new());
        let shift = self.constant(format!("layer.{index}.shift"), &[bias.len()], bias);
        self.node("Add", &[shift], Vec::new());
    }
}
