//! ONNX graphs that are one chain of affine maps and activations. Untrusted. `spec/semantics.md#files`.
//!
//! Every step is exact over the reals: constants keep their stored bytes; what could only be rounded (a division by
//! something else than the normaliser's standard deviation, `alpha != 1`) is refused, naming the node.
//!
//! # References
//! ONNX operator schemas, opset 6 to 21.

use super::{Draft, Problem};
use crate::policy::{ActivationSpec, LayerData, NormaliserData, Scaling, TensorData, TensorDtype};
use prost::Message;
use std::collections::HashMap;

mod proto;
mod tensor;

use proto::{Graph, Model, Node};
use tensor::{broadcast, diagonal, is_zero, scalar_text, tensor_of};

/// Reads a model whose graph has one input and one output.
///
/// # Errors
/// [`Problem::Onnx`], [`Problem::OnnxNode`], [`Problem::OnnxTensor`], [`Problem::ExternalData`].
pub(super) fn parse(bytes: &[u8]) -> Result<Draft, Problem> {
    // field 1 (ir_version) comes first in every model that tools write
    if bytes.first() != Some(&0x08) {
        return Err(Problem::UnknownFormat);
    }
    let model = Model::decode(bytes).map_err(|error| Problem::Onnx(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| Problem::Onnx("it has no graph".into()))?;
    let mut chain = Chain::start(&graph)?;
    for (index, node) in graph.node.iter().enumerate() {
        let label = format!("{index} ({} {:?})", node.op_type, node.name);
        chain.step(node).map_err(|failure| match failure {
            Failure::Reason(reason) => Problem::OnnxNode { node: label, reason },
            Failure::Problem(problem) => problem,
        })?;
    }
    match graph.output.as_slice() {
        [only] if only.name == chain.current => Ok(chain.draft()),
        [only] => Err(Problem::Onnx(format!("its output {:?} is not the end of the chain", only.name))),
        others => Err(Problem::Onnx(format!("it has {} outputs; one is read", others.len()))),
    }
}

enum Failure {
    Reason(String),
    Problem(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Reason(reason.into()))
}

/// The network read so far; `current` names the value that the next node must read.
struct Chain {
    constants: HashMap<String, TensorData>,
    /// Integer constants (shapes): present, never read.
    others: Vec<String>,
    current: String,
    width: Option<usize>,
    layers: Vec<(String, LayerData)>,
    /// The last layer is a bare product that may still take a bias.
    open: bool,
    mean: Option<TensorData>,
    std: Option<TensorData>,
    clip: Option<String>,
}

impl Chain {
    fn start(graph: &Graph) -> Result<Self, Problem> {
        let (mut constants, mut others) = (HashMap::new(), Vec::new());
        for tensor in &graph.initializer {
            match tensor_of(&tensor.name, tensor)? {
                Some(read) => drop(constants.insert(tensor.name.clone(), read)),
                None => others.push(tensor.name.clone()),
            }
        }
        let known = |name: &String| constants.contains_key(name) || others.contains(name);
        let inputs: Vec<_> = graph.input.iter().filter(|input| !known(&input.name)).collect();
        let [input] = inputs[..] else {
            return Err(Problem::Onnx(format!("it has {} inputs; one is read", inputs.len())));
        };
        let shape = input.kind.as_ref().and_then(|k| k.tensor.as_ref()).and_then(|t| t.shape.as_ref());
        let last = shape.and_then(|s| s.dim.last()).map_or(0, |d| d.value);
        let width = usize::try_from(last).ok().filter(|&w| w > 0 && w <= 1 << 24);
        let current = input.name.clone();
        let layers = Vec::new();
        Ok(Self { constants, others, current, width, layers, open: false, mean: None, std: None, clip: None })
    }

    fn step(&mut self, node: &Node) -> Result<(), Failure> {
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            return refuse(format!("operators of {:?} are not read", node.domain));
        }
        let Some(output) = node.output.first().filter(|o| !o.is_empty()) else {
            return refuse("it has no output");
        };
        if self.step_constant(node, output)? {
            return Ok(());
        }
        let count = node.input.iter().filter(|name| **name == self.current).count();
        if count != 1 {
            return refuse("it does not continue the chain; branches and residual connections are not read");
        }
        match node.op_type.as_str() {
            "Identity" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Dropout" => {
                self.expect_first(node)?
            }
            "Cast" => self.cast(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.product(node)?,
            "Add" => self.add(node)?,
            "Sub" => self.subtract(node)?,
            "Mul" => self.multiply(node)?,
            "Div" => self.divide(node)?,
            "Clip" => self.clip(node)?,
            "Relu" => self.activate(ActivationSpec::Relu)?,
            "Tanh" => self.activate(ActivationSpec::Tanh)?,
            "Sigmoid" => self.activate(ActivationSpec::Sigmoid)?,
            "LeakyRelu" => {
                let slope = attribute(node, "alpha").map_or(0.01f32, |a| a.f);
                let slope = scalar_text(&TensorData::from_f32(vec![], &[slope])).ok_or_else(not_finite)?;
                self.activate(ActivationSpec::LeakyRelu(slope))?;
            }
            "Softmax" => {
                return refuse("export the logits instead: the softmax belongs to the categorical head");
            }
            _ => return refuse("the operator is not read; affine maps and activations are"),
        }
        self.current.clone_from(output);
        Ok(())
    }

    /// Nodes that only make constants; `true` if this was one.
    fn step_constant(&mut self, node: &Node, output: &str) -> Result<bool, Failure> {
        if node.op_type == "Constant" {
            if let Some(tensor) = attribute(node, "value").and_then(|a| a.t.as_ref()) {
                match tensor_of(output, tensor)? {
                    Some(read) => drop(self.constants.insert(output.to_owned(), read)),
                    None => self.others.push(output.to_owned()),
                }
            } else if let Some(value) = attribute(node, "value_float") {
                self.constants.insert(output.to_owned(), TensorData::from_f32(vec![], &[value.f]));
            } else if let Some(values) = attribute(node, "value_floats") {
                let tensor = TensorData::from_f32(vec![values.floats.len()], &values.floats);
                self.constants.insert(output.to_owned(), tensor);
            } else {
                self.others.push(output.to_owned());
            }
            return Ok(true);
        }
        let Some(constant) = node.input.first().and_then(|name| self.constants.get(name)) else {
            return Ok(false);
        };
        let made = match node.op_type.as_str() {
            "Identity" => constant.clone(),
            "Transpose" if attribute(node, "perm").is_none_or(|p| p.ints == [1, 0]) => {
                constant.transposed().ok_or_else(|| Failure::Reason("only matrices are transposed".into()))?
            }
            _ => return Ok(false),
        };
        self.constants.insert(output.to_owned(), made);
        Ok(true)
    }

    fn expect_first(&self, node: &Node) -> Result<(), Failure> {
        match node.input.first() == Some(&self.current) {
            true => Ok(()),
            false => refuse("the value of the chain is not its first input"),
        }
    }

    fn constant(&self, name: &str) -> Result<&TensorData, Failure> {
        self.constants
            .get(name)
            .ok_or_else(|| Failure::Reason(format!("its input {name:?} is no constant of floats")))
    }

    /// The input that is not the chain, and whether the chain comes first.
    fn operand(&self, node: &Node) -> Result<(TensorData, bool), Failure> {
        let [left, right] = node.input.as_slice() else { return refuse("it should have two inputs") };
        let first = *left == self.current;
        Ok((self.constant(if first { right } else { left })?.clone(), first))
    }

    fn cast(&self, node: &Node) -> Result<(), Failure> {
        // FLOAT, DOUBLE: exact for the numbers these networks hold; the semantics is over the reals
        match attribute(node, "to").map(|a| a.i) {
            Some(1 | 11) => self.expect_first(node),
            _ => refuse("only casts to float32 and float64 are read"),
        }
    }

    fn gemm(&mut self, node: &Node) -> Result<(), Failure> {
        self.expect_first(node)?;
        let one = |name: &str| attribute(node, name).is_none_or(|a| a.f == 1.0);
        if !one("alpha") || !one("beta") {
            return refuse("alpha and beta must be 1");
        }
        if attribute(node, "transA").is_some_and(|a| a.i != 0) {
            return refuse("transA must be 0");
        }
        let Some(name) = node.input.get(1) else { return refuse("it has no weight") };
        let mut weight = self.constant(name)?.clone();
        if attribute(node, "transB").is_none_or(|a| a.i == 0) {
            weight = weight.transposed().ok_or_else(|| Failure::Reason("its weight is no matrix".into()))?;
        }
        let bias = match node.input.get(2).filter(|n| !n.is_empty()) {
            Some(name) => Some(self.constant(name)?.clone()),
            None => None,
        };
        self.affine(name.clone(), weight, bias)
    }

    fn product(&mut self, node: &Node) -> Result<(), Failure> {
        self.expect_first(node)?;
        let Some(name) = node.input.get(1) else { return refuse("it has no weight") };
        let weight = self.constant(name)?.transposed();
        let weight = weight.ok_or_else(|| Failure::Reason("its weight is no matrix".into()))?;
        self.affine(name.clone(), weight, None)
    }

    fn affine(&mut self, name: String, weight: TensorData, bias: Option<TensorData>) -> Result<(), Failure> {
        let &[rows, _] = weight.shape.as_slice() else { return refuse("its weight is no matrix") };
        self.open = bias.is_none();
        let bias = match bias {
            Some(bias) => {
                broadcast(&bias, rows).ok_or_else(|| Failure::Reason("its bias has another width".into()))?
            }
            None => TensorData::zeros(weight.dtype, rows),
        };
        self.layers
            .push((name, LayerData { fixed: false, weight, bias, activation: ActivationSpec::Identity }));
        self.width = Some(rows);
        Ok(())
    }

    fn at_input(&self) -> bool {
        self.layers.is_empty() && self.clip.is_none()
    }

    fn wide(&mut self, constant: &TensorData) -> Result<TensorData, Failure> {
        let width = *self.width.get_or_insert(constant.entries());
        broadcast(constant, width).ok_or_else(|| Failure::Reason("its constant has another width".into()))
    }

    fn add(&mut self, node: &Node) -> Result<(), Failure> {
        let (constant, _) = self.operand(node)?;
        let constant = self.wide(&constant)?;
        self.shift(constant)
    }

    fn subtract(&mut self, node: &Node) -> Result<(), Failure> {
        let (constant, first) = self.operand(node)?;
        let constant = self.wide(&constant)?;
        if !first {
            return self.scale_and_shift(None, Some(constant));
        }
        self.shift(constant.negated())
    }

    /// `x + shift`: the bias of a bare product, the normaliser's mean, or a layer of its own.
    fn shift(&mut self, shift: TensorData) -> Result<(), Failure> {
        if self.open
            && let Some((_, layer)) = self.layers.last_mut()
        {
            layer.bias = shift;
            self.open = false;
            return Ok(());
        }
        if self.at_input() && self.mean.is_none() && self.std.is_none() {
            self.mean = Some(shift.negated());
            return Ok(());
        }
        if is_zero(&shift) {
            return Ok(());
        }
        let (ones, name) =
            (TensorData::from_f32(vec![shift.entries()], &vec![1.0; shift.entries()]), self.label());
        self.affine(name, diagonal(&ones), Some(shift))
    }

    /// `scale * x + shift` as a layer of its own; the scale is -1 and the shift 0 if they are not given.
    fn scale_and_shift(
        &mut self,
        scale: Option<TensorData>,
        shift: Option<TensorData>,
    ) -> Result<(), Failure> {
        let count = shift.as_ref().or(scale.as_ref()).map_or(0, TensorData::entries);
        if count > 4096 {
            return refuse("it is wider than the 4096 that element-wise maps may be");
        }
        let scale = scale.unwrap_or_else(|| TensorData::from_f32(vec![count], &vec![-1.0; count]));
        let shift = shift.unwrap_or_else(|| TensorData::zeros(scale.dtype, count));
        let name = self.label();
        self.affine(name, diagonal(&scale), Some(shift))
    }

    fn multiply(&mut self, node: &Node) -> Result<(), Failure> {
        let (constant, _) = self.operand(node)?;
        let constant = self.wide(&constant)?;
        if constant.floats().iter().all(|&v| v == 1.0) {
            return Ok(());
        }
        self.scale_and_shift(Some(constant), None)
    }

    fn divide(&mut self, node: &Node) -> Result<(), Failure> {
        let (constant, first) = self.operand(node)?;
        let constant = self.wide(&constant)?;
        if !first {
            return refuse("the chain is a divisor");
        }
        if constant.floats().iter().all(|&v| v == 1.0) {
            return Ok(());
        }
        if self.at_input() && self.std.is_none() {
            self.std = Some(constant);
            return Ok(());
        }
        refuse("a division inside the network cannot be written as an exact weight; fold it before exporting")
    }

    fn clip(&mut self, node: &Node) -> Result<(), Failure> {
        self.expect_first(node)?;
        let bound = |place: usize, name: &str| -> Result<String, Failure> {
            let text = match (node.input.get(place).filter(|n| !n.is_empty()), attribute(node, name)) {
                (Some(input), _) => scalar_text(self.constant(input)?),
                (None, Some(stated)) => scalar_text(&TensorData::from_f32(vec![], &[stated.f])),
                (None, None) => return refuse("it is open on one side; both bounds are needed"),
            };
            text.ok_or_else(not_finite)
        };
        let (lower, upper) = (bound(1, "min")?, bound(2, "max")?);
        if self.at_input() && lower.strip_prefix('-') == Some(&upper) {
            self.clip = Some(upper);
            return Ok(());
        }
        self.activate(ActivationSpec::Clip(lower, upper))
    }

    fn activate(&mut self, activation: ActivationSpec) -> Result<(), Failure> {
        self.open = false;
        if let Some((_, layer)) = self.layers.last_mut()
            && layer.activation == ActivationSpec::Identity
        {
            layer.activation = activation;
            return Ok(());
        }
        let Some(width) = self.width.filter(|&w| w <= 4096) else {
            return refuse("it has no affine map before it, and the width of its input is not known");
        };
        let name = self.label();
        let ones = TensorData::from_f32(vec![width], &vec![1.0; width]);
        self.affine(name, diagonal(&ones), Some(TensorData::zeros(TensorDtype::F32, width)))?;
        self.activate(activation)
    }

    fn label(&self) -> String {
        format!("the element-wise map {}", self.layers.len())
    }

    fn draft(self) -> Draft {
        let nothing = self.std.is_none() && self.clip.is_none() && self.mean.as_ref().is_none_or(is_zero);
        let width = self.layers.first().and_then(|(_, l)| l.weight.shape.get(1)).copied().unwrap_or(0);
        let normaliser = (!nothing).then(|| NormaliserData {
            mean: self.mean.unwrap_or_else(|| TensorData::zeros(TensorDtype::F32, width)),
            scaling: Scaling::Std(
                self.std.unwrap_or_else(|| TensorData::from_f32(vec![width], &vec![1.0; width])),
            ),
            clip: self.clip,
        });
        Draft { layers: self.layers, normaliser, ..Draft::default() }
    }
}

fn not_finite() -> Failure {
    Failure::Reason("a constant is not one finite number".into())
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a proto::Attribute> {
    node.attribute.iter().find(|a| a.name == name)
}
