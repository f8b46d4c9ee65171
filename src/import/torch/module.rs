//! Whole pickled modules (`torch.save(model)`): a `Sequential` of linear layers and activations is read from its parts;
//! any other class is code, and is refused by its name. Untrusted. `spec/import-sb3.md#whole-modules`.
//!
//! # References
//! PyTorch 2.x: `nn/modules/module.py` (what a module's state holds), `nn/modules/linear.py`, `activation.py`.

use super::{Storages, tensor};
use crate::import::array::Array;
use crate::import::pickle::{Node, Pickle};
use crate::import::{Draft, ImportOptions, Problem};
use crate::policy::{ActivationSpec, LayerData, TensorData};

/// Modules inside modules.
const MAX_NESTING: usize = 16;

/// Entries of a module's state that change nothing in what is read, or are read.
const STATE: [&str; 30] = [
    "training",
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_version",
    "in_features",
    "out_features",
    "inplace",
    "negative_slope",
    "min_val",
    "max_val",
    "p",
    "start_dim",
    "end_dim",
    "_call_super_init",
    "dump_patches",
    "_compiled_call_impl",
];

/// The network of a pickle whose root is a module; `None` if it is something else.
///
/// # Errors
/// [`Problem::WholeModule`] naming the first class that is not read.
pub(super) fn draft(
    pickle: &Pickle,
    root: usize,
    storages: &Storages<'_>,
    options: &ImportOptions,
) -> Result<Option<Draft>, Problem> {
    if pickle.attribute(root, "_modules").is_none() {
        return Ok(None);
    }
    let mut chain = Chain { pickle, storages, layers: Vec::new() };
    chain.module(root, "", 0)?;
    let layers = chain.layers;
    let count = layers.len();
    for (index, (name, layer)) in layers.iter().enumerate() {
        let (option, stated) = match index + 1 == count {
            true => ("--output-activation", &options.output_activation),
            false => ("--activation", &options.activation),
        };
        if let Some(stated) = stated
            && *stated != layer.activation
        {
            return Err(Problem::Contradicts {
                option,
                given: format!("{stated:?}").to_lowercase(),
                file: format!("{:?} after {name:?}", layer.activation).to_lowercase(),
            });
        }
    }
    Ok(Some(Draft { layers, ..Draft::default() }))
}

struct Chain<'a, 's> {
    pickle: &'a Pickle,
    storages: &'a Storages<'s>,
    layers: Vec<(String, LayerData)>,
}

impl Chain<'_, '_> {
    fn module(&mut self, node: usize, name: &str, depth: usize) -> Result<(), Problem> {
        let (module, class) = self.pickle.class_path(node).unwrap_or(("", "something"));
        let path = if module.is_empty() { class.to_owned() } else { format!("{module}.{class}") };
        let unread = |what: &str| Problem::WholeModule { class: format!("{path}{what}") };
        if depth > MAX_NESTING || !module.starts_with("torch.nn.modules.") {
            return Err(unread(""));
        }
        self.check_state(node, &unread)?;
        let children = self.pickle.attribute(node, "_modules").map_or(&[][..], |m| self.pickle.entries(m));
        if class == "Sequential" {
            for &(key, child) in children {
                let key = self.pickle.text(key).unwrap_or("?");
                let name = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                self.module(child, &name, depth + 1)?;
            }
            return Ok(());
        }
        if !children.is_empty() {
            return Err(unread(" with modules inside"));
        }
        if class == "Linear" {
            return self.linear(node, name, &unread);
        }
        let value = |key: &str| self.pickle.attribute(node, key).and_then(|n| self.pickle.float(n));
        let number = |key: &str| value(key).filter(|v| v.is_finite()).map(|v| v.to_string());
        let activation = match class {
            "Identity" | "Dropout" => return Ok(()),
            "Flatten" if self.layers.is_empty() => return Ok(()),
            "ReLU" => ActivationSpec::Relu,
            "Tanh" => ActivationSpec::Tanh,
            "Sigmoid" => ActivationSpec::Sigmoid,
            "LeakyReLU" => {
                ActivationSpec::LeakyRelu(number("negative_slope").ok_or_else(|| unread(" without its slope"))?)
            }
            "Hardtanh" | "ReLU6" => {
                let bounds = (number("min_val"), number("max_val"));
                let (Some(lower), Some(upper)) = bounds else { return Err(unread(" without its bounds")) };
                ActivationSpec::Clip(lower, upper)
            }
            _ => return Err(unread("")),
        };
        match self.layers.last_mut() {
            Some((_, layer)) if layer.activation == ActivationSpec::Identity => {
                layer.activation = activation;
                Ok(())
            }
            Some(_) => Err(unread(" after another activation")),
            None => Err(unread(" before the first linear layer")),
        }
    }

    /// No hooks, no buffers, nothing that is not known.
    fn check_state(&self, node: usize, unread: &dyn Fn(&str) -> Problem) -> Result<(), Problem> {
        let Node::Call { state: Some(state), .. } = self.pickle.node(node) else {
            return Err(unread(" without a state"));
        };
        for &(key, value) in self.pickle.entries(*state) {
            let key = self.pickle.text(key).unwrap_or("?");
            let hooks = key.contains("_hooks") || key == "_buffers";
            if hooks && !self.pickle.entries(value).is_empty() {
                return Err(unread(&format!(" with {key}")));
            }
            if !STATE.contains(&key) {
                return Err(unread(&format!(" with {key}")));
            }
        }
        Ok(())
    }

    fn linear(&mut self, node: usize, name: &str, unread: &dyn Fn(&str) -> Problem) -> Result<(), Problem> {
        let parameters = self.pickle.attribute(node, "_parameters").ok_or_else(|| unread(""))?;
        let extra = self.pickle.entries(parameters).iter().find_map(|&(key, _)| {
            let key = self.pickle.text(key).unwrap_or("?");
            (!matches!(key, "weight" | "bias")).then(|| key.to_owned())
        });
        if let Some(key) = extra {
            return Err(unread(&format!(" with the parameter {key}")));
        }
        let weight = self.parameter(parameters, &format!("{name}.weight"), "weight")?;
        let weight = weight.ok_or_else(|| Problem::Missing(format!("{name}.weight")))?;
        let sides = ["out_features", "in_features"].map(|key| {
            self.pickle.attribute(node, key).and_then(|n| self.pickle.size(n)).unwrap_or(usize::MAX)
        });
        if weight.shape != sides {
            return Err(Problem::NotAffine { name: format!("{name}.weight"), shape: weight.shape });
        }
        let bias = match self.parameter(parameters, &format!("{name}.bias"), "bias")? {
            Some(bias) => bias,
            None => TensorData::zeros(weight.dtype, sides[0]),
        };
        let layer = LayerData { fixed: false, weight, bias, activation: ActivationSpec::Identity };
        self.layers.push((name.to_owned(), layer));
        Ok(())
    }

    /// A parameter; `None` where the module has none (`bias=False`).
    fn parameter(&self, parameters: usize, name: &str, key: &str) -> Result<Option<TensorData>, Problem> {
        let missing = || Problem::Missing(name.to_owned());
        let node = self.pickle.entry(parameters, key).ok_or_else(missing)?;
        if *self.pickle.node(node) == Node::None {
            return Ok(None);
        }
        let array: Option<Array> = tensor(self.pickle, name, node, self.storages)?;
        array.ok_or_else(missing)?.floats(name).map(Some)
    }
}
