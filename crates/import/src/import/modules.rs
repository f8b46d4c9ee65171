//! Whole pickled modules of PyTorch: read where every class is one of PyTorch's own whose meaning is known. Untrusted.
//! `spec/import.md#whole-modules`.
//!
//! A `Sequential` says the order and the activations of its layers; a class of the file's author is code that the file
//! does not hold, and is refused by name.

use super::normaliser::exact_text;
use super::pickle::{Node, Pickle};
use crate::import::problem::Problem;
use crate::import::record::elu_alpha;
use crate::policy::ActivationSpec;

/// Activations of PyTorch that no rule bounds.
const UNBOUNDED: [&str; 14] = [
    "CELU",
    "GELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "RReLU",
    "SELU",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanhshrink",
];

/// A tensor or parameter of a module: its dotted name and its node; `None` where the module has none (`bias=False`).
pub(super) type Parameter = (String, Option<usize>);

/// A chain of affine layers: stems with activations, and the tensors they have.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) layers: Vec<(String, ActivationSpec)>,
    pub(super) parameters: Vec<Parameter>,
}

/// Whether a node is a pickled module.
pub(super) fn is_module(pickle: &Pickle, node: usize) -> bool {
    pickle.attribute(node, "_modules").is_some()
}

/// Reads a module made of PyTorch's `Sequential`, `Linear` and activations.
///
/// # Errors
/// [`Problem::OtherFile`] naming the first class that is something else, or hooks, which are code.
pub(super) fn chain(pickle: &Pickle, node: usize, name: &str) -> Result<Chain, Problem> {
    let mut chain = Chain::default();
    walk(pickle, node, name, 0, &mut chain)?;
    Ok(chain)
}

fn walk(pickle: &Pickle, node: usize, name: &str, depth: usize, chain: &mut Chain) -> Result<(), Problem> {
    let class = class_of(pickle, node);
    let hooks = ["_forward_hooks", "_forward_pre_hooks"];
    let hooked =
        hooks.iter().any(|key| pickle.attribute(node, key).is_some_and(|n| !pickle.entries(n).is_empty()));
    if hooked || depth > 16 {
        return Err(refused(&class, name, "with hooks, which are code"));
    }
    match class.strip_prefix("torch.nn.modules.").map(|path| path.rsplit('.').next().unwrap_or(path)) {
        Some("Sequential") => {
            let children = pickle.attribute(node, "_modules").map(|n| pickle.entries(n)).unwrap_or_default();
            for &(key, child) in children {
                let key = pickle.text(key).unwrap_or_default();
                let below = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                walk(pickle, child, &below, depth + 1, chain)?;
            }
            Ok(())
        }
        Some("Linear") => {
            let own = pickle.attribute(node, "_parameters").map(|n| pickle.entries(n)).unwrap_or_default();
            for &(key, value) in own {
                let key = pickle.text(key).unwrap_or_default();
                let whole = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                let absent = *pickle.node(value) == Node::None;
                chain.parameters.push((whole, (!absent).then_some(value)));
            }
            chain.layers.push((name.to_owned(), ActivationSpec::Identity));
            Ok(())
        }
        Some("Identity" | "Dropout" | "Flatten") => Ok(()),
        Some(other) => {
            let activation = activation(pickle, node, (other, &class), name)?
                .ok_or_else(|| refused(&class, name, "inside a chain"))?;
            match chain.layers.last_mut() {
                Some((_, last)) if *last == ActivationSpec::Identity => {
                    *last = activation;
                    Ok(())
                }
                _ => Err(refused(&class, name, "that follows no affine layer")),
            }
        }
        None => Err(refused(&class, name, "whose code is not in the file")),
    }
}

/// Module and name of the class, with dots.
fn class_of(pickle: &Pickle, node: usize) -> String {
    match pickle.node(node) {
        Node::Call { callable, .. } => match pickle.node(*callable) {
            Node::Global(module, name) => format!("{module}.{name}"),
            _ => "of no name".to_owned(),
        },
        _ => "of no name".to_owned(),
    }
}

fn refused(class: &str, name: &str, why: &str) -> Problem {
    let place = if name.is_empty() { String::new() } else { format!(" at {name:?}") };
    let next =
        "save its tensors (torch.save(module.state_dict(), FILE)) and import those, or export it as ONNX";
    Problem::OtherFile { what: format!("a whole pickled module, with a {class}{place} {why}"), next }
}

fn activation(
    pickle: &Pickle,
    node: usize,
    (class, whole): (&str, &str),
    name: &str,
) -> Result<Option<ActivationSpec>, Problem> {
    let number = |key: &str| {
        let value = pickle.attribute(node, key).and_then(|n| pickle.float(n));
        value.map(exact_text).transpose()
    };
    Ok(match class {
        "ReLU" => Some(ActivationSpec::Relu),
        "Tanh" => Some(ActivationSpec::Tanh),
        "Sigmoid" => Some(ActivationSpec::Sigmoid),
        "SiLU" => Some(ActivationSpec::Silu),
        "ELU" => match number("alpha")?.map(|alpha| elu_alpha(&alpha)) {
            Some(Ok(alpha)) => Some(ActivationSpec::Elu(alpha)),
            Some(Err(why)) => return Err(refused(whole, name, &format!("that is refused: {why}"))),
            None => None,
        },
        "LeakyReLU" => number("negative_slope")?.map(ActivationSpec::LeakyRelu),
        "Hardtanh" | "ReLU6" => match (number("min_val")?, number("max_val")?) {
            (Some(low), Some(high)) => Some(ActivationSpec::Clip(low, high)),
            _ => None,
        },
        _ if UNBOUNDED.contains(&class) => return Err(Problem::Activation(class.to_owned())),
        _ => None,
    })
}
