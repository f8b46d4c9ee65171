//! Follows the observation through a live graph: constants are computed, the rest becomes a list of exact maps of one
//! flat vector, with its shape. Untrusted. `spec/import-onnx.md`.

use super::constant::{Constant, MAX_ENTRIES, float_type, integer_type};
use super::exact::Vector;
use super::fold::{self, joined};
use super::graph::{Attributes, Live, fits_opset, label};
use super::lower::{Map, Step};
use super::movement::{Movement, broadcast, count, movements, spread};
use super::proto::Node;
use super::{Failure, refuse};
use crate::import::problem::Problem;
use crate::policy::{ActivationSpec, TensorDtype};
use std::collections::HashMap;
use std::rc::Rc;

/// The observation as far as it was transformed: a place in the trace, and the shape (row-major, one row of a batch).
#[derive(Clone)]
pub(super) struct Signal {
    at: usize,
    pub(super) shape: Vec<usize>,
    /// Integers until they are cast; nothing is computed with them.
    pub(super) integer: bool,
    /// What its numbers are held in; `None` for integers of one byte, which every format holds.
    format: Option<TensorDtype>,
}

#[derive(Clone)]
enum Value {
    Constant(Rc<Constant>),
    Signal(Signal),
}

/// What a node computes on the observation.
pub(super) struct Execution<'a> {
    pub(super) live: &'a Live<'a>,
    values: HashMap<&'a str, Value>,
    /// Every map with the place it continues from; place 0 is the observation.
    trace: Vec<(usize, Step)>,
    label: String,
    /// Entries of all values made so far.
    made: usize,
}

/// Why a graph was not followed to its end, and how many nodes were.
pub(super) struct Stopped {
    pub(super) problem: Problem,
    pub(super) nodes: usize,
}

impl<'a> Execution<'a> {
    /// The maps from an observation of the given shape to the output.
    pub(super) fn run(live: &'a Live<'a>, shape: &[usize]) -> Result<(Vec<Step>, Signal), Stopped> {
        let element = live.input.kind.as_ref().and_then(|k| k.tensor.as_ref()).map_or(1, |t| t.element);
        let integer = element != 0 && float_type(element).is_none();
        let format = match integer_type(element) {
            Some((1, _)) => None,
            _ => Some(float_type(element).unwrap_or(TensorDtype::F32)),
        };
        let input = Signal { at: 0, shape: shape.to_vec(), integer, format };
        let mut values: HashMap<&str, Value> =
            live.constants.iter().map(|(&name, c)| (name, Value::Constant(c.clone()))).collect();
        values.insert(&live.input.name, Value::Signal(input));
        let mut run = Self { live, values, trace: Vec::new(), label: String::new(), made: 0 };
        for (done, (index, node)) in live.nodes.iter().enumerate() {
            run.label = label(*index, node);
            run.node(node).map_err(|failure| Stopped { problem: failure.at(&run.label), nodes: done })?;
        }
        let stop =
            |text: &str| Stopped { problem: Problem::OnnxGraph(text.to_owned()), nodes: live.nodes.len() };
        match run.values.remove(live.output.name.as_str()) {
            Some(Value::Signal(signal)) if !signal.integer => {
                let steps = run.steps_to(signal.at);
                Ok((steps, signal))
            }
            Some(Value::Signal(_)) => Err(stop("its output is made of integers")),
            _ => Err(stop("its output does not depend on its input")),
        }
    }

    fn steps_to(&self, mut at: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some((before, step)) = at.checked_sub(1).and_then(|place| self.trace.get(place)) {
            steps.push(step.clone());
            at = *before;
        }
        steps.reverse();
        steps
    }

    fn node(&mut self, node: &'a Node) -> Result<(), Failure> {
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            let next = match node.domain.as_str() {
                "com.microsoft" if node.op_type == "QuickGelu" => {
                    "; QuickGelu is what ONNX Runtime's optimiser makes of x * Sigmoid(b x), SiLU where b is 1: import \
                     the file that was optimised, or save it with basic optimisations only"
                }
                "com.microsoft" | "com.microsoft.nchwc" => {
                    "; it was made by a runtime's optimiser: import the file that was optimised, or save it with basic \
                     optimisations only"
                }
                _ => "; export the model with operators of the standard domain (functions inlined)",
            };
            return refuse(format!("operators of the domain {:?} are not read{next}", node.domain));
        }
        fits_opset(node, self.live.opset)?;
        let inputs: Vec<Option<Value>> = node
            .input
            .iter()
            .map(|name| match name.as_str() {
                "" => Ok(None),
                name => match self.values.get(name) {
                    Some(value) => Ok(Some(value.clone())),
                    None => refuse(format!("its input {name:?} is an output that is not read")),
                },
            })
            .collect::<Result<_, Failure>>()?;
        let signals: Vec<(usize, Signal)> = inputs
            .iter()
            .enumerate()
            .filter_map(|(place, value)| match value {
                Some(Value::Signal(signal)) => Some((place, signal.clone())),
                _ => None,
            })
            .collect();
        let constants: Vec<Option<Rc<Constant>>> = inputs
            .iter()
            .map(|value| match value {
                Some(Value::Constant(constant)) => Some(constant.clone()),
                _ => None,
            })
            .collect();
        let made: Vec<Value> = match &signals[..] {
            [] => {
                let made = fold::fold(node, &constants, self.live.opset)?;
                made.into_iter().map(|c| Value::Constant(Rc::new(c))).collect()
            }
            [_] if node.op_type == "Concat" && inputs.len() > 1 => {
                return refuse(self.branches(node, &signals));
            }
            [(place, signal)] => self.one(node, *place, signal, &constants)?,
            several if node.op_type == "Concat" && several.len() == inputs.len() => {
                let parts: Vec<Signal> = several.iter().map(|(_, s)| s.clone()).collect();
                vec![Value::Signal(self.concat(node, &parts)?)]
            }
            [(_, one), (_, other)] if node.op_type == "Mul" && inputs.len() == 2 => {
                Attributes::of(node, &["broadcast"])?;
                vec![Value::Signal(self.gated(one, other)?)]
            }
            several => return refuse(self.branches(node, several)),
        };
        for value in &made {
            self.made += match value {
                Value::Constant(constant) => constant.entries(),
                Value::Signal(signal) => count(&signal.shape)?,
            };
        }
        if self.made > MAX_ENTRIES {
            return refuse(format!("the graph makes values of more than {MAX_ENTRIES} entries"));
        }
        for (name, value) in node.output.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
            self.values.insert(name, value);
        }
        Ok(())
    }

    /// Appends a map.
    pub(super) fn push(&mut self, signal: &Signal, map: Map) -> Signal {
        self.trace.push((signal.at, Step { node: self.label.clone(), map }));
        Signal { at: self.trace.len(), ..signal.clone() }
    }

    fn moved(&mut self, signal: &Signal, movement: Movement) -> Result<Signal, Failure> {
        let of = count(&signal.shape)?;
        let identity =
            |indices: &[usize]| indices.len() == of && indices.iter().enumerate().all(|(i, &p)| i == p);
        let mut moved = match movement.indices {
            Some(indices) if !identity(&indices) => self.push(signal, Map::Select { indices, of }),
            _ => signal.clone(),
        };
        moved.shape = movement.shape;
        Ok(moved)
    }

    fn one(
        &mut self,
        node: &'a Node,
        place: usize,
        signal: &Signal,
        constants: &[Option<Rc<Constant>>],
    ) -> Result<Vec<Value>, Failure> {
        if node.op_type == "Shape" {
            return Ok(vec![Value::Constant(Rc::new(fold::shape_of(node, &signal.shape)?))]);
        }
        if node.op_type == "Cast" {
            return Ok(vec![Value::Signal(cast(node, signal)?)]);
        }
        if place == 0
            && let Some(moves) =
                movements(node, &signal.shape, constants.get(1..).unwrap_or(&[]), self.live.opset)?
        {
            let made: Result<Vec<_>, Failure> =
                moves.into_iter().map(|m| self.moved(signal, m).map(Value::Signal)).collect();
            return made;
        }
        if signal.integer {
            return refuse("it computes with integers of the observation; cast them to floats first");
        }
        let made = match node.op_type.as_str() {
            "Concat" if constants.len() == 1 => self.concat(node, std::slice::from_ref(signal))?,
            "Gemm" => self.gemm(node, place, signal, constants)?,
            "MatMul" => self.product(node, place, signal, constants)?,
            "BatchNormalization" => self.batch_normalization(node, place, signal, constants)?,
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Sum" => {
                self.elementwise(node, place, signal, constants)?
            }
            _ => self.activation(node, place, signal, constants)?,
        };
        Ok(vec![Value::Signal(made)])
    }

    /// The step that made a signal, with the place that it continued from.
    fn last(&self, at: usize) -> Option<&(usize, Step)> {
        at.checked_sub(1).and_then(|place| self.trace.get(place))
    }

    /// `x * Sigmoid(x)` of one and the same value, in either order: SiLU.
    fn gated(&mut self, one: &Signal, other: &Signal) -> Result<Signal, Failure> {
        let sigmoid_of = |gate: &Signal| match self.last(gate.at) {
            Some((before, Step { map: Map::Activation(ActivationSpec::Sigmoid), .. })) => Some(*before),
            _ => None,
        };
        let pairs = [(one, other), (other, one)];
        let of_itself =
            |(x, gate): &&(&Signal, &Signal)| sigmoid_of(gate) == Some(x.at) && x.shape == gate.shape;
        if let Some((x, _)) = pairs.iter().find(of_itself) {
            return Ok(self.push(x, Map::Activation(ActivationSpec::Silu)));
        }
        let is_scaled = |x: &Signal, inside: usize| match self.last(inside) {
            Some((before, Step { map: Map::Scale(_) | Map::Divide(_), .. })) => *before == x.at,
            _ => false,
        };
        for (x, gate) in pairs {
            match sigmoid_of(gate) {
                Some(inside) if is_scaled(x, inside) => {
                    return refuse(
                        "it is x * Sigmoid(b x), SiLU (swish) with a factor inside (b = 1.702 is the quick form of \
                         GELU), which is not bounded here; x * Sigmoid(x) is",
                    );
                }
                Some(_) => {
                    return refuse(
                        "it multiplies a value by the sigmoid of another one (a gate); only x * Sigmoid(x) of one \
                         value, which is SiLU (swish), is read",
                    );
                }
                None => {}
            }
        }
        if let Some(reason) = self.two_parts(&[one, other]) {
            return refuse(reason);
        }
        let clipped =
            |gate: &Signal| matches!(self.last(gate.at), Some((_, Step { map: Map::AtMost(_), .. })));
        if clipped(one) != clipped(other) {
            return refuse(
                "it is the HardSwish activation (or another product with a clip), which is not bounded here",
            );
        }
        refuse("it multiplies two values of the network (a gate, a power or an activation such as GELU)")
    }

    /// Why values that were made of different parts of one value cannot meet.
    fn two_parts(&self, signals: &[&Signal]) -> Option<String> {
        let mut seen: Vec<(usize, usize)> = Vec::new();
        for signal in signals {
            let mut at = signal.at;
            while let Some((before, step)) = self.last(at) {
                if matches!(step.map, Map::Select { .. }) {
                    if seen.iter().any(|(base, part)| base == before && *part != at) {
                        return Some(
                            "it joins two parts of one value that was split, as an action sampled from a mean and a \
                             scale does; of a split the part that is used must be one: export the mean alone, or \
                             choose it with --output"
                                .into(),
                        );
                    }
                    seen.push((*before, at));
                }
                at = *before;
            }
        }
        None
    }

    /// Parts of one vector side by side: a selection of its entries, and what was done to each part alike.
    fn concat(&mut self, node: &Node, parts: &[Signal]) -> Result<Signal, Failure> {
        let axis = Attributes::of(node, &["axis"])?.int("axis")?.unwrap_or(1);
        let near: Vec<Part> = parts.iter().map(|p| self.part(p, false)).collect::<Result<_, Failure>>()?;
        let found = match Part::one_base(&near) {
            true => near,
            false => parts.iter().map(|p| self.part(p, true)).collect::<Result<_, Failure>>()?,
        };
        let Some(first) = found.first().filter(|_| Part::one_base(&found)) else {
            return refuse("it joins branches that were computed apart; only parts of one vector are joined");
        };
        let shapes: Vec<&[usize]> = parts.iter().map(|p| p.shape.as_slice()).collect();
        let (shape, order) = joined(&shapes, axis)?;
        let sources: Vec<usize> = found.iter().flat_map(|p| p.indices.iter().copied()).collect();
        let indices: Option<Vec<usize>> = order.iter().map(|&i| sources.get(i).copied()).collect();
        let Some(indices) = indices else { return refuse("it has no inputs") };
        let steps = alike(&found, &order)?;
        let integer = parts.iter().any(|p| p.integer);
        let format = parts.iter().find_map(|p| p.format);
        let start = Signal { at: first.base, shape: vec![first.of], integer, format };
        let mut made = self.moved(&start, Movement { shape, indices: Some(indices) })?;
        for step in steps {
            self.trace.push((made.at, step));
            made.at = self.trace.len();
        }
        Ok(made)
    }

    /// A signal as entries of the value that they were selected from; `far`: before element-wise maps too.
    fn part(&self, signal: &Signal, far: bool) -> Result<Part, Failure> {
        let (mut at, mut steps) = (signal.at, Vec::new());
        while let Some((before, step)) = self.last(at) {
            match &step.map {
                Map::Select { indices, of } => {
                    steps.reverse();
                    return Ok(Part { base: *before, indices: indices.clone(), of: *of, steps });
                }
                Map::Affine { .. } | Map::Softmax => break,
                _ if !far => break,
                _ => steps.push(step.clone()),
            }
            at = *before;
        }
        let of = count(&signal.shape)?;
        Ok(Part { base: signal.at, indices: (0..of).collect(), of, steps: Vec::new() })
    }

    /// Why two values that both depend on the observation cannot meet in this node.
    fn branches(&self, node: &Node, signals: &[(usize, Signal)]) -> String {
        let signals: Vec<&Signal> = signals.iter().map(|(_, signal)| signal).collect();
        if let Some(reason) = self.two_parts(&signals) {
            return reason;
        }
        match node.op_type.as_str() {
            "Add" | "Sum" | "Sub" => {
                "it joins two branches: residual (skip) connections are not read, only one chain of layers"
                    .into()
            }
            "MatMul" | "Gemm" | "Einsum" => {
                "it multiplies two values of the network, as attention does".into()
            }
            "Concat" => "it joins a branch with something else; only parts of one vector are joined".into(),
            kind => format!("{}; branches are not read, only one chain of layers", super::refusal(kind)),
        }
    }

    /// A constant input as one number for each entry of the signal, and the shape that both meet in.
    pub(super) fn spread(
        &self,
        name: &str,
        constant: &Constant,
        signal: &Signal,
    ) -> Result<(Vector, Vec<usize>), Failure> {
        let shape = met(constant, signal)?;
        Ok((constant.vector(name, &spread(&constant.shape, &shape)?)?, shape))
    }
}

/// A part of a concatenation.
struct Part {
    /// Place of the value whose entries it is made of, and how many that has.
    base: usize,
    of: usize,
    indices: Vec<usize>,
    /// What was done to the selected entries, element by element.
    steps: Vec<Step>,
}

impl Part {
    fn one_base(parts: &[Self]) -> bool {
        parts.windows(2).all(|pair| (pair[0].base, pair[0].of) == (pair[1].base, pair[1].of))
    }
}

/// What was done to all parts, if it is the same maps in the same order, whatever their numbers; a part that nothing
/// was done to is one that was scaled by 1 and shifted by 0. `order`: places in the parts' entries one after another.
fn alike(parts: &[Part], order: &[usize]) -> Result<Vec<Step>, Failure> {
    let apart = || Failure::Reason("it joins parts of one value to which different things were done".into());
    let Some(longest) = parts.iter().max_by_key(|part| part.steps.len()) else { return Ok(Vec::new()) };
    let mut steps = Vec::new();
    for (place, step) in longest.steps.iter().enumerate() {
        if let Map::Activation(activation) = &step.map {
            let same = |part: &Part| part.steps.get(place).is_some_and(|s| s.map == step.map);
            if !parts.iter().all(same) {
                return Err(apart());
            }
            steps.push(Step { node: step.node.clone(), map: Map::Activation(activation.clone()) });
            continue;
        }
        let mut all: Option<Vector> = None;
        for part in parts {
            let own = match (part.steps.get(place).map(|s| &s.map), &step.map) {
                (Some(Map::Scale(v)), Map::Scale(_))
                | (Some(Map::Divide(v)), Map::Divide(_))
                | (Some(Map::Shift(v)), Map::Shift(_))
                | (Some(Map::AtLeast(v)), Map::AtLeast(_))
                | (Some(Map::AtMost(v)), Map::AtMost(_)) => v.clone(),
                (None, Map::Scale(_) | Map::Divide(_)) if part.steps.is_empty() => {
                    Vector::constant(part.indices.len(), 1.0)
                }
                (None, Map::Shift(_)) if part.steps.is_empty() => Vector::constant(part.indices.len(), 0.0),
                _ => return Err(apart()),
            };
            all = Some(match all {
                Some(before) => before.followed_by(&own),
                None => own,
            });
        }
        let vector = all.and_then(|all| all.pick(order)).ok_or_else(apart)?;
        let map = match &step.map {
            Map::Scale(_) => Map::Scale(vector),
            Map::Divide(_) => Map::Divide(vector),
            Map::Shift(_) => Map::Shift(vector),
            Map::AtLeast(_) => Map::AtLeast(vector),
            _ => Map::AtMost(vector),
        };
        steps.push(Step { node: step.node.clone(), map });
    }
    Ok(steps)
}

/// The shape in which a constant meets the signal without spreading it.
pub(super) fn met(constant: &Constant, signal: &Signal) -> Result<Vec<usize>, Failure> {
    let shape = broadcast(&signal.shape, &constant.shape)?;
    if count(&shape)? != count(&signal.shape)? {
        return refuse(format!(
            "its constant of shape {:?} would spread a value of shape {:?} to {shape:?}",
            constant.shape, signal.shape
        ));
    }
    Ok(shape)
}

/// Casts to floats of 32 and 64 bits, which round no more than the runtime's own arithmetic; to narrower ones only
/// where nothing is rounded.
fn cast(node: &Node, signal: &Signal) -> Result<Signal, Failure> {
    let to = Attributes::of(node, &["to", "saturate", "round_mode"])?.int("to")?;
    let to = to.and_then(|t| i32::try_from(t).ok()).unwrap_or(0);
    match float_type(to) {
        Some(TensorDtype::F16 | TensorDtype::BF16)
            if signal.format.is_some_and(|f| Some(f) != float_type(to)) =>
        {
            refuse(
                "it rounds a value of the network to 16 bits, which is no exact map; import the model as it was before \
                 its conversion to 16 bits, or export it in float32",
            )
        }
        Some(format) => Ok(Signal { integer: false, format: Some(format), ..signal.clone() }),
        None => refuse("it casts the observation to something else than floats, which rounds"),
    }
}
