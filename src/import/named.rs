//! Layers found by the names of their tensors: state dictionaries, NPZ and safetensors files. Untrusted.
//! `spec/semantics.md#files`.

use super::array::{Array, Arrays};
use super::{Draft, HeadKind, ImportOptions, Problem, activation_named, number};
use crate::policy::{ActivationSpec, LayerData, NormaliserData, Scaling, TensorData};

/// Parts of a name that belong to value functions, targets and optimisers, never to the policy.
const OTHERS: [&str; 12] = [
    "value",
    "value_net",
    "value_model",
    "val_model",
    "critic",
    "vf",
    "q_net_target",
    "target",
    "adversary",
    "adversary_policy_model",
    "adversary_val_model",
    "optimizer",
];
const LOG_STD: [&str; 6] = ["log_std", "log_stdev", "logstd", "actor_logstd", "logstdev", "log_sigma"];

/// Finds the policy's layers, log standard deviations and normaliser.
///
/// Layers are `STEM.weight` (or PyTorch's `STEM.weight_orig`) with `STEM.bias`, or `W0`, `b0`, ...; ordered by their
/// numbers, with `shared_net` first and output layers (`action_net`, `final...`, `mean`, `mu`, `out...`) last.
///
/// # Errors
/// [`Problem`]; recurrent layers, convolutions and state-dependent noise are refused by name.
pub(super) fn draft(arrays: &Arrays, options: &ImportOptions) -> Result<Draft, Problem> {
    let belongs = |name: &str| match &options.prefix {
        Some(prefix) => name.starts_with(prefix.as_str()),
        None => !name.split(['.', '/']).any(|part| OTHERS.contains(&part)),
    };
    refuse_recurrent(arrays, belongs)?;
    let distribution = arrays.metadata.get("distribution").map(String::as_str);
    if distribution == Some("gsde") {
        return Err(Problem::StateDependentNoise("the file says so".into()));
    }
    let mut weights: Vec<(&String, &Array)> = Vec::new();
    for (name, array) in arrays.named.iter().filter(|(name, _)| belongs(name)) {
        if bias_of(name).is_some() {
            if name.split('.').any(|part| LOG_STD.contains(&part)) {
                return Err(Problem::StateDependentNoise(format!(
                    "{name:?} computes log_std from the state"
                )));
            }
            weights.push((name, array));
        }
    }
    if weights.is_empty() {
        let known: Vec<&str> = arrays.named.keys().take(8).map(String::as_str).collect();
        return Err(Problem::NoLayers(format!("among its tensors {known:?}")));
    }
    weights.sort_by_key(|(name, _)| order(name));
    let activation = hidden_activation(arrays, options, weights.len())?;
    let count = weights.len();
    let layers = weights.into_iter().enumerate().map(|(i, (name, array))| {
        let last = i + 1 == count;
        layer(arrays, name, array, if last { ActivationSpec::Identity } else { activation.clone() })
    });
    let log_std = find_log_std(arrays, belongs)?;
    let head = match distribution {
        Some("categorical") => Some(HeadKind::Categorical),
        Some("diag_gaussian" | "gaussian") => Some(HeadKind::Gaussian),
        Some("deterministic") => Some(HeadKind::Deterministic),
        Some(other) => return Err(Problem::Distribution(other.to_owned())),
        None => log_std.as_ref().map(|_| HeadKind::Gaussian),
    };
    Ok(Draft {
        layers: layers.collect::<Result<_, _>>()?,
        head,
        log_std,
        normaliser: find_normaliser(arrays)?,
        ..Draft::default()
    })
}

fn refuse_recurrent(arrays: &Arrays, belongs: impl Fn(&str) -> bool) -> Result<(), Problem> {
    let recurrent = |name: &&String| {
        let lower = name.to_ascii_lowercase();
        ["lstm", "gru", "rnn", "weight_ih", "weight_hh"].iter().any(|mark| lower.contains(mark))
    };
    match arrays.named.keys().filter(|name| belongs(name)).find(recurrent) {
        Some(name) => Err(Problem::Recurrent(name.clone())),
        None => Ok(()),
    }
}

/// The name of the bias that goes with a weight's name, if it is one.
fn bias_of(weight: &str) -> Option<String> {
    if let Some(number) =
        weight.strip_prefix('W').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    {
        return Some(format!("b{number}"));
    }
    let stem = weight.strip_suffix("weight_orig").or_else(|| weight.strip_suffix("weight"))?;
    (stem.is_empty() || stem.ends_with('.')).then(|| format!("{stem}bias"))
}

/// Orders weights: shared layers, then hidden ones by prefix and number, then output layers.
fn order(name: &str) -> (u8, Vec<(u64, String)>) {
    let parts: Vec<&str> = name.split('.').collect();
    let output = |part: &&str| {
        ["action_net", "mean", "mu", "logits", "head", "final"].contains(part)
            || ["final_", "out", "fc_out", "fc_mean", "mean_", "action_head"]
                .iter()
                .any(|start| part.starts_with(start))
    };
    let class = match parts.contains(&"shared_net") {
        true => 0,
        false => 1 + u8::from(parts.iter().any(output)),
    };
    let key = |part: &str| {
        let digits: String = part.chars().filter(char::is_ascii_digit).collect();
        let letters: String = part.chars().filter(|c| !c.is_ascii_digit()).collect();
        (digits.parse().unwrap_or(0), letters)
    };
    (class, parts.iter().map(|p| key(p)).collect())
}

fn layer(
    arrays: &Arrays,
    name: &str,
    array: &Array,
    activation: ActivationSpec,
) -> Result<(String, LayerData), Problem> {
    let weight = array.floats(name)?;
    let &[rows, _] = weight.shape.as_slice() else {
        return Err(Problem::NotAffine { name: name.to_owned(), shape: weight.shape.clone() });
    };
    let bias = match bias_of(name).and_then(|b| arrays.named.get_key_value(b.as_str())) {
        Some((bias_name, bias)) => bias.floats(bias_name)?,
        None => TensorData::zeros(weight.dtype, rows),
    };
    Ok((name.to_owned(), LayerData { fixed: false, weight, bias, activation }))
}

fn hidden_activation(
    arrays: &Arrays,
    options: &ImportOptions,
    layers: usize,
) -> Result<ActivationSpec, Problem> {
    match (&options.activation, arrays.metadata.get("activation")) {
        (Some(stated), _) => Ok(stated.clone()),
        (None, Some(name)) => activation_named(name),
        (None, None) if layers == 1 => Ok(ActivationSpec::Identity),
        (None, None) => Err(Problem::NoActivation),
    }
}

fn find_log_std(arrays: &Arrays, belongs: impl Fn(&str) -> bool) -> Result<Option<TensorData>, Problem> {
    let is_log_std = |name: &str| name.rsplit('.').next().is_some_and(|last| LOG_STD.contains(&last));
    let mut found = arrays.named.iter().filter(|(name, _)| is_log_std(name) && belongs(name));
    let Some((name, array)) =
        found.next().or_else(|| arrays.named.iter().find(|(name, _)| LOG_STD.contains(&&name[..])))
    else {
        return Ok(None);
    };
    let tensor = array.floats(name)?;
    match tensor.shape.as_slice() {
        [_] | [1, _] => Ok(Some(tensor)),
        shape => Err(Problem::StateDependentNoise(format!("{name:?} has shape {shape:?}"))),
    }
}

/// A normaliser stored as `obs_norm.mean`/`.std` or `normaliser.mean`/`.std`, with `clip` in the metadata.
pub(super) fn find_normaliser(arrays: &Arrays) -> Result<Option<NormaliserData>, Problem> {
    for stem in ["obs_norm.", "normaliser.", "obs_"] {
        let names = [format!("{stem}mean"), format!("{stem}std")];
        let [Some(mean), Some(std)] = names.each_ref().map(|name| arrays.named.get(name)) else { continue };
        let clip = match arrays.metadata.get("clip").map(String::as_str) {
            None | Some("None" | "none" | "") => None,
            Some(text) => Some(number("normaliser clip", text)?.to_string()),
        };
        let scaling = Scaling::Std(std.floats(&names[1])?);
        return Ok(Some(NormaliserData { mean: mean.floats(&names[0])?, scaling, clip }));
    }
    Ok(None)
}

/// Names in the order of their layers.
pub(super) fn ordered<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_by_key(|name| order(name));
    names
}
