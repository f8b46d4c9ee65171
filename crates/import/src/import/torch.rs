//! PyTorch checkpoints: zip archives with `data.pkl`, and the older chain of pickles. Untrusted.
//! `spec/semantics.md#files`.
//!
//! # References
//! PyTorch 2.x, `torch/serialization.py`, `_legacy_load` and `_load`.

use super::archive::{Entries, entry_names, is_zip, read_entries};
use super::array::{Array, Arrays, Element};
use super::foreign;
use super::pickle::{Node, Pickle};
use super::{modules, normaliser};
use crate::import::problem::Problem;
use crate::policy::{TensorData, TensorDtype};
use std::collections::{BTreeMap, BTreeSet};

/// `torch.save` writes this number first in the older format, little-endian.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Dictionaries, lists and modules inside each other.
const MAX_NESTING: usize = 24;
/// Values looked at: a pickle may name the same dictionary many times.
const MAX_VISITS: usize = 500_000;

/// State dictionaries of a checkpoint in the zip format, flattened to dotted names.
///
/// # Errors
/// [`Problem`].
pub(super) fn parse_zip(bytes: &[u8]) -> Result<Arrays, Problem> {
    open_zip(bytes, collect)
}

/// Why a checkpoint is no policy, where its keys say so: an optimizer's state, or what `policy.save()` writes.
///
/// # Errors
/// [`Problem`] for a file that cannot be opened.
pub(super) fn no_policy(bytes: &[u8]) -> Result<Option<Problem>, Problem> {
    let read = |pickle: &Pickle, root: usize, _: &Storages<'_>| {
        if pickle.entry(root, "param_groups").is_some() && pickle.entry(root, "state").is_some() {
            let (what, next) =
                ("the state of an optimizer, no network", "give the model's file (policy.pth)");
            return Ok(Some(Problem::OtherFile { what: what.into(), next }));
        }
        let arguments = pickle.entry(root, "data").filter(|_| pickle.entry(root, "state_dict").is_some());
        if arguments.is_some_and(|data| pickle.entry(data, "action_space").is_some()) {
            let what =
                "written by policy.save() of Stable-Baselines3, which does not say the policy's class".into();
            let next = "import the archive that model.save() writes; or torch.save(policy.state_dict(), \"policy.pt\") \
                        and state --head, --activation and --output-activation";
            return Ok(Some(Problem::OtherFile { what, next }));
        }
        Ok(None)
    };
    if is_zip(bytes) { open_zip(bytes, read) } else { open_legacy(bytes, read) }
}

/// Whether a zip archive is a checkpoint.
///
/// # Errors
/// [`Problem::Zip`] for a broken archive.
pub(super) fn is_checkpoint(bytes: &[u8]) -> Result<bool, Problem> {
    Ok(entry_names(bytes)?.iter().any(|name| name.ends_with("data.pkl")))
}

fn open_zip<T>(
    bytes: &[u8],
    read: impl FnOnce(&Pickle, usize, &Storages<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let entries = read_entries(bytes, |name| {
        name.ends_with("/data.pkl") || name.contains("/data/") || name.ends_with("/byteorder")
    })?;
    let Some((folder, pickled)) =
        entries.iter().find_map(|(name, b)| name.strip_suffix("data.pkl").map(|f| (f, b)))
    else {
        return Err(Problem::UnknownFormat);
    };
    if entries.get(&format!("{folder}byteorder")).is_some_and(|order| order.starts_with(b"big")) {
        return Err(Problem::PickleContent("it was saved on a big-endian machine; save it again on another"));
    }
    let (pickle, root, _) = Pickle::parse(pickled, 0)?;
    let storages = ZipStorages { entries: &entries, folder };
    read(&pickle, root, &|key, _| storages.get(key))
}

struct ZipStorages<'a> {
    entries: &'a Entries,
    folder: &'a str,
}

impl<'a> ZipStorages<'a> {
    fn get(&self, key: &str) -> Option<&'a [u8]> {
        self.entries.get(&format!("{}data/{key}", self.folder)).map(Vec::as_slice)
    }
}

/// State dictionaries of a checkpoint in the older format: magic, version, system, object, storage keys, storages.
///
/// # Errors
/// [`Problem`]; pickles that are no checkpoint are refused.
pub(super) fn parse_legacy(bytes: &[u8]) -> Result<Arrays, Problem> {
    open_legacy(bytes, collect)
}

/// Whether a pickle is the first of a checkpoint in the older format.
pub(super) fn is_legacy(pickle: &Pickle, root: usize) -> bool {
    *pickle.node(root) == Node::Wide(LEGACY_MAGIC.to_vec())
}

fn open_legacy<T>(
    bytes: &[u8],
    read: impl FnOnce(&Pickle, usize, &Storages<'_>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (magic, root, mut at) = Pickle::parse(bytes, 0)?;
    if !is_legacy(&magic, root) {
        return Err(foreign::pickle(&magic, root));
    }
    at = Pickle::parse(bytes, at)?.2;
    let (system, root, after) = Pickle::parse(bytes, at)?;
    if system.entry(root, "little_endian").and_then(|v| system.boolean(v)) == Some(false) {
        return Err(Problem::PickleContent("it was saved on a big-endian machine; save it again on another"));
    }
    let (pickle, root, after) = Pickle::parse(bytes, after)?;
    let (keys, list, mut at) = Pickle::parse(bytes, after)?;
    let widths = storage_widths(&pickle);
    let mut storages: BTreeMap<String, &[u8]> = BTreeMap::new();
    for &key in keys.sequence(list).ok_or(Problem::PickleContent("its list of storages is missing"))? {
        let key = keys.text(key).ok_or(Problem::PickleContent("a storage has no name"))?;
        let cut = Problem::Pickle { at, reason: "it is cut short inside a storage" };
        let count = bytes.get(at..).and_then(|b| b.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b));
        let width = widths.get(key).copied().ok_or(Problem::PickleContent("a storage is never used"))?;
        let length = count.and_then(|c| usize::try_from(c).ok()).and_then(|c| c.checked_mul(width));
        let end = length.and_then(|l| l.checked_add(at + 8)).ok_or(cut.clone())?;
        storages.insert(key.to_owned(), bytes.get(at + 8..end).ok_or(cut)?);
        at = end;
    }
    read(&pickle, root, &|key, _| storages.get(key).copied())
}

fn storage_widths(pickle: &Pickle) -> BTreeMap<String, usize> {
    let tuples = pickle.persistent().into_iter().filter_map(|id| pickle.sequence(id));
    let found = tuples.filter_map(|parts| match parts {
        [_, class, key, ..] => {
            Some((pickle.text(*key)?.to_owned(), storage_element(pickle, *class)?.width()))
        }
        _ => None,
    });
    found.collect()
}

fn storage_element(pickle: &Pickle, class: usize) -> Option<Element> {
    let Node::Global(_, name) = pickle.node(class) else { return None };
    Some(match name.as_str() {
        "FloatStorage" => Element::Float(TensorDtype::F32),
        "DoubleStorage" => Element::Float(TensorDtype::F64),
        "HalfStorage" => Element::Float(TensorDtype::F16),
        "BFloat16Storage" => Element::Float(TensorDtype::BF16),
        "LongStorage" => Element::Integer(8),
        "IntStorage" => Element::Integer(4),
        "ShortStorage" => Element::Integer(2),
        "CharStorage" | "ByteStorage" => Element::Integer(1),
        "BoolStorage" => Element::Bool,
        _ => return None,
    })
}

type Storages<'a> = dyn Fn(&str, Element) -> Option<&'a [u8]> + 'a;

/// Flattens dictionaries of tensors to dotted names; finds the `ZFilter` that research checkpoints carry.
fn collect<'a>(pickle: &Pickle, root: usize, storages: &Storages<'a>) -> Result<Arrays, Problem> {
    let arrays = Arrays { ordered: true, pickled: true, ..Arrays::default() };
    let mut flat = Flattened { pickle, storages, arrays, visits: 0, objects: BTreeSet::new(), inside: false };
    flat.value(root, "", 0)?;
    let mut arrays = flat.arrays;
    let mut filters = Vec::new();
    for object in pickle.objects("ZFilter") {
        filters.push(normaliser::from_zfilter(pickle, object)?);
    }
    if let Some(first) = filters.first() {
        if filters.iter().any(|other| other != first) {
            return Err(Problem::Normaliser("the checkpoint holds several that differ; give one by a file"));
        }
        for (name, tensor) in [("obs_norm.mean", &first.mean), ("obs_norm.std", first.scaling.tensor())] {
            let element = Element::Float(tensor.dtype);
            arrays
                .named
                .insert(name.into(), Array::new(name, element, tensor.shape.clone(), tensor.bytes.clone())?);
        }
        if let Some(clip) = &first.clip {
            arrays.metadata.insert("obs_norm.clip".into(), clip.clone());
        }
    }
    Ok(arrays)
}

/// Tensors and arrays by dotted name, in the order in which the dictionaries were filled.
struct Flattened<'p, 's, 'a> {
    pickle: &'p Pickle,
    storages: &'s Storages<'a>,
    arrays: Arrays,
    visits: usize,
    /// Objects whose attributes were looked at: objects may hold each other.
    objects: BTreeSet<usize>,
    /// Whether what is looked at is an attribute of such an object.
    inside: bool,
}

impl Flattened<'_, '_, '_> {
    fn value(&mut self, node: usize, name: &str, depth: usize) -> Result<(), Problem> {
        self.visits += 1;
        if depth > MAX_NESTING || self.visits > MAX_VISITS {
            return Err(Problem::PickleContent("its dictionaries nest too deeply"));
        }
        let array = match tensor(self.pickle, name, node, self.storages)? {
            None => self.pickle.array(name, node)?,
            found => found,
        };
        if let Some(array) = array {
            return self.insert(name, array);
        }
        if modules::is_module(self.pickle, node) {
            if self.inside {
                let what = format!(
                    "a checkpoint whose {name:?} is in an object of a class whose code the file does not hold"
                );
                let next = "save its tensors (torch.save(module.state_dict(), FILE)) and import those, or export it as ONNX";
                return Err(Problem::OtherFile { what, next });
            }
            return self.module(node, name);
        }
        let class = self.pickle.class(node).unwrap_or_default();
        if class.starts_with("_rebuild") && !name.to_ascii_lowercase().contains("optim") {
            return Err(Problem::PickleContent(
                "it holds a tensor of a kind that is not read (sparse, quantised, or of a class of its own); save it as a \
                 plain tensor",
            ));
        }
        match self.pickle.node(node) {
            Node::Tuple(items) | Node::List(items) => {
                if let Some(array) = self.numbers(items, name) {
                    return self.insert(name, array);
                }
                for (index, &item) in items.iter().enumerate() {
                    self.value(item, &joined(name, &index.to_string()), depth + 1)?;
                }
            }
            Node::Call { state: Some(state), .. } if self.is_statistics(*state) => {
                self.value(*state, name, depth + 1)?;
            }
            Node::Float(_) | Node::Int(_) if scales_actions(name) => {
                let value = self.pickle.float(node).unwrap_or(f64::NAN);
                // a limit of 1 scales nothing
                if value != 1.0 || name.contains("action_scale") {
                    self.insert(name, Array::of(name, TensorData::from_f64(vec![], &[value]))?)?;
                }
            }
            Node::Bool(true) if super::names::says_squash(name) => {
                self.arrays.settings.push((name.to_owned(), "tanh".to_owned()));
            }
            Node::Float(_) | Node::Int(_) | Node::Text(_) | Node::Global(..) => self.note(node, name),
            Node::Call { state: Some(state), .. } if self.is_own_object(node, name) => {
                let parts = match self.pickle.node(*state) {
                    Node::Tuple(parts) => parts.clone(),
                    _ => vec![*state],
                };
                let outside = !std::mem::replace(&mut self.inside, true);
                for part in parts {
                    self.entries(part, name, depth)?;
                }
                self.entries(node, name, depth)?;
                self.inside = !outside;
            }
            _ => self.entries(node, name, depth)?,
        }
        Ok(())
    }

    fn entries(&mut self, node: usize, name: &str, depth: usize) -> Result<(), Problem> {
        for (index, &(key, value)) in self.pickle.entries(node).iter().enumerate() {
            let key = match (self.pickle.text(key), self.pickle.node(key)) {
                (Some(text), _) => text.to_owned(),
                (None, Node::Int(number)) => number.to_string(),
                // a key of another kind: its tensors must not be lost
                _ => format!("entry {index}"),
            };
            self.value(value, &joined(name, &key), depth + 1)?;
        }
        Ok(())
    }

    /// Whether an object is of a class whose attributes may be part of the policy, and was not looked at.
    fn is_own_object(&mut self, node: usize, name: &str) -> bool {
        let Some((module, class)) = self.pickle.class_path(node) else { return false };
        let library = ["collections", "numpy", "gym", "gymnasium", "torch"];
        let known = library.contains(&module.split('.').next().unwrap_or(module))
            || ["ZFilter", "RunningStat"].contains(&class);
        !name.is_empty() && !known && self.objects.insert(node)
    }

    /// Statistics or scalings that are stored as a list of numbers.
    fn numbers(&self, items: &[usize], name: &str) -> Option<Array> {
        if !super::names::is_vector(name) {
            return None;
        }
        let numeric = |&&item: &&usize| matches!(self.pickle.node(item), Node::Float(_) | Node::Int(_));
        let values: Vec<f64> =
            items.iter().take_while(numeric).filter_map(|&item| self.pickle.float(item)).collect();
        if values.is_empty() || values.len() != items.len() {
            return None;
        }
        Array::of(name, TensorData::from_f64(vec![values.len()], &values)).ok()
    }

    fn insert(&mut self, name: &str, array: Array) -> Result<(), Problem> {
        match self.arrays.named.insert(name.to_owned(), array) {
            None => Ok(()),
            Some(_) => Err(Problem::PickleContent("two tensors have the same name")),
        }
    }

    /// Words and numbers of the checkpoint: its activation, or the epsilon of its statistics.
    fn note(&mut self, node: usize, name: &str) {
        let text = match self.pickle.node(node) {
            Node::Text(text) => Some(text.clone()),
            Node::Float(value) => Some(value.to_string()),
            Node::Int(value) => Some(value.to_string()),
            Node::Global(module, class) if module.starts_with("torch.nn.") => Some(class.clone()),
            _ => None,
        };
        let leaf = name.rsplit('.').next().unwrap_or(name);
        if name != "activation" && super::names::says_activation(name) {
            self.arrays.settings.extend(text.map(|text| (name.to_owned(), text)));
            return;
        }
        if let Some(text) =
            text.filter(|_| ["epsilon", "clip", "clip_obs"].contains(&leaf) || name == "activation")
        {
            self.arrays.metadata.insert(name.to_owned(), text);
        }
    }

    /// An object that holds running statistics, such as a `RunningMeanStd`.
    fn is_statistics(&self, state: usize) -> bool {
        ["mean", "var"].iter().all(|key| self.pickle.entry(state, key).is_some())
    }

    fn module(&mut self, node: usize, name: &str) -> Result<(), Problem> {
        let chain = modules::chain(self.pickle, node, name)?;
        for (whole, value) in chain.parameters {
            match value {
                None => {
                    self.arrays.absent.insert(whole);
                }
                Some(value) => {
                    let found = tensor(self.pickle, &whole, value, self.storages)?;
                    let broken = Problem::PickleContent("a parameter of a module is no tensor");
                    self.insert(&whole, found.ok_or(broken)?)?;
                }
            }
        }
        self.arrays.chains.push((name.to_owned(), chain.layers));
        Ok(())
    }
}

/// Whether a number of a checkpoint scales actions.
fn scales_actions(name: &str) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    ["action_scale", "action_bias", "max_action", "action_max", "act_limit", "action_limit"].contains(&leaf)
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// `_rebuild_tensor_v2(storage, offset, size, stride, ...)`, also inside `_rebuild_parameter`.
fn tensor<'a>(
    pickle: &Pickle,
    name: &str,
    node: usize,
    storages: &Storages<'a>,
) -> Result<Option<Array>, Problem> {
    let arguments = match pickle.class(node) {
        Some("_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            let inner = pickle.arguments(node).and_then(|a| a.first().copied());
            return match inner {
                Some(inner) if inner != node && pickle.class(inner) == Some("_rebuild_tensor_v2") => {
                    tensor(pickle, name, inner, storages)
                }
                _ => Ok(None),
            };
        }
        Some("_rebuild_tensor_v2" | "_rebuild_tensor") => pickle.arguments(node),
        // a tensor with attributes: (function, class, arguments, attributes)
        Some("_rebuild_from_type_v2") => match pickle.arguments(node) {
            Some(&[function, class, inner, ..])
                if pickle.global(function).is_some_and(|(_, name)| name == "_rebuild_tensor_v2")
                    && pickle
                        .global(class)
                        .is_some_and(|(module, _)| module.split('.').next() == Some("torch")) =>
            {
                pickle.sequence(inner)
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let broken = Problem::PickleContent("a tensor is not described as PyTorch does");
    let Some(&[storage, offset, size, stride, ..]) = arguments else { return Err(broken) };
    let Node::Persistent(id) = pickle.node(storage) else { return Err(broken) };
    let Some(&[_, class, key, ..]) = pickle.sequence(*id) else { return Err(broken) };
    let Some(element) = storage_element(pickle, class) else {
        return Err(Problem::PickleContent("a storage has a type that is not read (quantised or complex)"));
    };
    let (Some(key), Some(offset), Some(shape), Some(stride)) =
        (pickle.text(key), pickle.size(offset), pickle.sizes(size), pickle.sizes(stride))
    else {
        return Err(broken);
    };
    let data = storages(key, element).ok_or(Problem::PickleContent("a storage is missing from the file"))?;
    let outside = Problem::PickleContent("a tensor reaches outside its storage");
    let bytes = strided(data, element.width(), offset, &shape, &stride).ok_or(outside)?;
    Array::new(name, element, shape, bytes).map(Some)
}

/// Row-major copy of a strided view; `None` if it leaves the storage or would be larger than it (expanded views).
fn strided(data: &[u8], width: usize, offset: usize, shape: &[usize], stride: &[usize]) -> Option<Vec<u8>> {
    let total = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))?;
    if shape.len() != stride.len() || total.checked_mul(width)? > data.len() {
        return None;
    }
    let mut bytes = Vec::with_capacity(total * width);
    let mut index = vec![0usize; shape.len()];
    for _ in 0..total {
        let mut position = offset;
        for (i, step) in index.iter().zip(stride) {
            position = position.checked_add(i.checked_mul(*step)?)?;
        }
        let start = position.checked_mul(width)?;
        bytes.extend_from_slice(data.get(start..start.checked_add(width)?)?);
        for (i, side) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *side {
                break;
            }
            *i = 0;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_copied_and_never_leave_their_storage() {
        assert_eq!(strided(&[1, 2, 3, 4], 1, 0, &[2, 2], &[1, 2]), Some(vec![1, 3, 2, 4]));
        assert_eq!(strided(&[1, 2, 3, 4], 1, 1, &[2, 2], &[2, 1]), None);
        assert_eq!(strided(&[1], 1, 0, &[1 << 40], &[0]), None);
        assert_eq!(strided(&[1], 1, 0, &[usize::MAX, 2], &[0, 0]), None);
    }

    #[test]
    fn a_pickle_that_is_no_checkpoint_is_refused() {
        assert!(matches!(
            parse_legacy(b"\x80\x02cos\nsystem\n(S'touch x'\ntR."),
            Err(Problem::OtherFile { .. })
        ));
    }
}
