//! An ONNX graph as names: what makes each value, what the chosen output needs, in an order that can be evaluated.
//! Untrusted. `spec/import-onnx.md`.

use super::constant::{Constant, constant_of};
use super::proto::{self, Node, ValueInfo};
use super::{Failure, refuse};
use crate::import::problem::Problem;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Nodes that a live graph may have.
const MAX_NODES: usize = 100_000;

/// The part of a graph that one output needs.
pub(super) struct Live<'a> {
    pub(super) opset: i64,
    /// Index in the file and node; every node comes after those that it reads.
    pub(super) nodes: Vec<(usize, &'a Node)>,
    pub(super) constants: HashMap<&'a str, Rc<Constant>>,
    pub(super) input: &'a ValueInfo,
    pub(super) output: &'a ValueInfo,
}

impl<'a> Live<'a> {
    /// Follows `output` back to the inputs; nodes and initializers that it does not need are never looked at.
    pub(super) fn of(graph: &'a proto::Graph, opset: i64, output: &'a ValueInfo) -> Result<Self, Problem> {
        let makers = makers(graph)?;
        let (order, leaves) = live_nodes(graph, &makers, &output.name)?;
        // their bodies read values that they do not list
        let node = |index: &usize| graph.node.get(*index).map(|node| (*index, node));
        if let Some((index, node)) =
            order.iter().filter_map(node).find(|(_, n)| ["If", "Loop", "Scan"].contains(&n.op_type.as_str()))
        {
            let reason = super::refusal(&node.op_type);
            return Err(Problem::OnnxNode { node: label(index, node), reason });
        }
        let initializers: HashMap<&str, &proto::Tensor> =
            graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        let (mut constants, mut inputs) = (HashMap::new(), Vec::new());
        for leaf in leaves {
            if let Some(tensor) = initializers.get(leaf) {
                constants.insert(leaf, Rc::new(constant_of(leaf, tensor)?));
            } else if graph
                .sparse_initializer
                .iter()
                .any(|s| s.values.as_ref().is_some_and(|v| v.name == leaf))
            {
                let reason = "it is stored as a sparse tensor; save it as a dense initializer";
                return Err(Problem::OnnxTensor { name: leaf.to_owned(), reason });
            } else if let Some(input) = graph.input.iter().find(|i| i.name == leaf) {
                inputs.push(input);
            } else {
                return Err(Problem::OnnxGraph(format!("nothing makes the value {leaf:?}")));
            }
        }
        let input = match inputs[..] {
            [input] => input,
            [] => return Err(Problem::OnnxGraph("its output does not depend on its input".into())),
            _ => {
                let names: Vec<_> = inputs.iter().map(|i| format!("{:?}", i.name)).collect();
                return Err(Problem::OnnxGraph(format!(
                    "its output depends on {} inputs ({}); one observation vector is read. Export the policy behind \
                     the concatenation, or one that takes the concatenated vector",
                    inputs.len(),
                    names.join(", ")
                )));
            }
        };
        let nodes = order.into_iter().filter_map(|index| Some((index, graph.node.get(index)?))).collect();
        Ok(Self { opset, nodes, constants, input, output })
    }

    /// Lengths of the sides of the float constants that are needed: what an unstated input width can be.
    pub(super) fn sides(&self) -> Vec<usize> {
        let inner = self.nodes.iter().flat_map(|(_, n)| &n.attribute).filter_map(|a| a.t.as_ref());
        let inner = inner.flat_map(|t| t.dims.iter().filter_map(|&side| usize::try_from(side).ok()));
        let mut sides: Vec<usize> =
            self.constants.values().flat_map(|c| c.shape.clone()).chain(inner).collect();
        sides.sort_unstable();
        sides.dedup();
        sides
    }
}

/// What messages call a node.
pub(super) fn label(index: usize, node: &Node) -> String {
    format!("{index} ({} {:?})", node.op_type, node.name)
}

fn makers(graph: &proto::Graph) -> Result<HashMap<&str, usize>, Problem> {
    let mut makers = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if makers.insert(output.as_str(), index).is_some() {
                return Err(Problem::OnnxGraph(format!("two nodes make the value {output:?}")));
            }
        }
    }
    let mut named = HashSet::new();
    for name in graph.initializer.iter().map(|t| t.name.as_str()) {
        if makers.contains_key(name) {
            return Err(Problem::OnnxGraph(format!("{name:?} is an initializer and made by a node")));
        }
        if !named.insert(name) {
            return Err(Problem::OnnxGraph(format!("two initializers are called {name:?}")));
        }
    }
    match graph.input.iter().find(|i| makers.contains_key(i.name.as_str())) {
        Some(input) => Err(Problem::OnnxGraph(format!("its input {:?} is made by a node", input.name))),
        None => Ok(makers),
    }
}

/// Live nodes in an order of evaluation, and the live values that no node makes.
fn live_nodes<'a>(
    graph: &'a proto::Graph,
    makers: &HashMap<&'a str, usize>,
    output: &'a str,
) -> Result<(Vec<usize>, Vec<&'a str>), Problem> {
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![0u8; graph.node.len()];
    let (mut order, mut leaves, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let Some(&last) = makers.get(output) else { return Ok((order, vec![output])) };
    // explicit stack: a graph may be deeper than the thread's
    let mut stack = vec![(last, 0usize)];
    while let Some((index, next)) = stack.pop() {
        let (Some(node), Some(mark)) = (graph.node.get(index), state.get_mut(index)) else { continue };
        *mark = OPEN;
        let Some(name) = node.input.get(next) else {
            *mark = DONE;
            order.push(index);
            continue;
        };
        stack.push((index, next + 1));
        if name.is_empty() {
            continue;
        }
        match makers.get(name.as_str()) {
            None if seen.insert(name.as_str()) => leaves.push(name.as_str()),
            None => {}
            Some(&maker) => match state.get(maker) {
                Some(&OPEN) => {
                    return Err(Problem::OnnxGraph(format!("the value {name:?} is made from itself")));
                }
                Some(&DONE) => {}
                _ => stack.push((maker, 0)),
            },
        }
        if order.len() > MAX_NODES {
            return Err(Problem::OnnxGraph(format!("it has more than {MAX_NODES} live nodes")));
        }
    }
    Ok((order, leaves))
}

/// Attributes of a node by name and type; one that the operator's reader does not ask for is an error.
pub(super) struct Attributes<'a>(&'a Node);

/// The opset from which an operator takes as inputs what were its attributes.
const BECAME_INPUTS: [(&str, i64, &[&str]); 6] = [
    ("Slice", 10, &["starts", "ends", "axes"]),
    ("Clip", 11, &["min", "max"]),
    ("Dropout", 12, &["ratio"]),
    ("Split", 13, &["split"]),
    ("Squeeze", 13, &["axes"]),
    ("Unsqueeze", 13, &["axes"]),
];

/// Refuses a node in a form that its opset does not have, which no runtime loads.
pub(super) fn fits_opset(node: &Node, opset: i64) -> Result<(), Failure> {
    let known = BECAME_INPUTS.iter().find(|(kind, ..)| *kind == node.op_type);
    let Some(&(_, since, names)) = known else { return Ok(()) };
    let stated = node.attribute.iter().find(|a| names.contains(&a.name.as_str()));
    match stated {
        Some(attribute) if opset >= since => {
            let name = &attribute.name;
            refuse(format!("its attribute {name:?} is an input in opset {opset}; export the model again"))
        }
        _ if opset < since && node.input.len() > 1 => refuse(format!(
            "in opset {opset} it has one input, and attributes for the rest; export the model again"
        )),
        _ => Ok(()),
    }
}

/// ONNX's attribute types.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const TENSOR: i32 = 4;
const FLOATS: i32 = 6;
const INTS: i32 = 7;

impl<'a> Attributes<'a> {
    /// The attributes, all of which must be among `known`.
    pub(super) fn of(node: &'a Node, known: &[&str]) -> Result<Self, Failure> {
        for (position, attribute) in node.attribute.iter().enumerate() {
            let name = attribute.name.as_str();
            if !known.contains(&name) {
                return refuse(format!("its attribute {name:?} is not read"));
            }
            if node.attribute.iter().take(position).any(|a| a.name == name) {
                return refuse(format!("its attribute {name:?} is given twice"));
            }
            if !attribute.reference.is_empty() {
                return refuse(format!("its attribute {name:?} belongs to a function"));
            }
        }
        Ok(Self(node))
    }

    fn find(&self, name: &str, kind: i32) -> Result<Option<&'a proto::Attribute>, Failure> {
        match self.0.attribute.iter().find(|a| a.name == name) {
            // models older than IR version 3 do not state the type
            Some(found) if found.kind != kind && found.kind != 0 => {
                refuse(format!("its attribute {name:?} has another type than it should"))
            }
            found => Ok(found),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.attribute.iter().any(|a| a.name == name)
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Failure> {
        Ok(self.find(name, INT)?.map(|a| a.i))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Failure> {
        Ok(self.find(name, FLOAT)?.map(|a| a.f))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, Failure> {
        Ok(self.find(name, INTS)?.map(|a| a.ints.as_slice()))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, Failure> {
        Ok(self.find(name, FLOATS)?.map(|a| a.floats.as_slice()))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a proto::Tensor>, Failure> {
        match self.find(name, TENSOR)? {
            Some(found) if found.t.is_none() => refuse(format!("its attribute {name:?} is empty")),
            found => Ok(found.and_then(|a| a.t.as_ref())),
        }
    }
}
