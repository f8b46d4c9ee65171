//! A policy directory back as [`PolicyData`], with its tensors' bytes as stored: for pruning and training further.
//! Untrusted; shapes and names were checked by the checker's reader.

use std::path::Path;

use secateur_checker::load::{Failure, PolicyDirectory, load_policy};
use secateur_checker::model::Activation;
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::reader::tensor::{Dtype, RawTensor};
use serde_json::Value;

use crate::policy::{
    ActivationSpec, HeadData, LayerData, NormaliserData, PolicyData, Scaling, TensorData, TensorDtype,
};

/// Reads `policy.json` and `policy.safetensors` in `directory`.
///
/// # Errors
/// [`Failure`], as the checker's reader says it.
pub fn read_policy_dir(directory: &Path) -> Result<PolicyData, Failure> {
    let loaded = load_policy(directory)?;
    Ok(policy_data(&loaded).unwrap_or_else(|| unreachable!("the checker's reader accepted these files")))
}

/// The same from a loaded directory; `None` only if it was not loaded by the checker's reader.
pub fn policy_data(loaded: &PolicyDirectory) -> Option<PolicyData> {
    let manifest: Value = serde_json::from_slice(&loaded.manifest).ok()?;
    let tensors = Safetensors::parse(&loaded.tensors).ok()?;
    let tensor = |name: &Value| data(tensors.tensor(name.as_str()?).ok()?);
    let policy = &loaded.files.policy;
    let entries = manifest["layers"].as_array()?.iter().zip(&policy.network.layers);
    let layers = entries.map(|(entry, layer)| {
        Some(LayerData {
            fixed: layer.fixed,
            weight: tensor(&entry["weight"])?,
            bias: tensor(&entry["bias"])?,
            activation: activation_spec(&layer.activation),
        })
    });
    let head = match manifest["head"]["kind"].as_str()? {
        "gaussian" => HeadData::Gaussian { log_std: tensor(&manifest["head"]["logStd"])? },
        "categorical" => HeadData::Categorical,
        _ => HeadData::Deterministic,
    };
    let normaliser = match &policy.normaliser {
        None => None,
        Some(_) => {
            let entry = &manifest["normaliser"];
            let clip = entry["clip"].as_str().map(str::to_owned);
            let scaling = match entry.get("factor") {
                Some(name) => Scaling::Factor(tensor(name)?),
                None => Scaling::Std(tensor(&entry["std"])?),
            };
            Some(NormaliserData { mean: tensor(&entry["mean"])?, scaling, clip })
        }
    };
    Some(PolicyData {
        layers: layers.collect::<Option<_>>()?,
        head,
        normaliser,
        source: policy.source.clone(),
    })
}

fn data(tensor: &RawTensor<'_>) -> Option<TensorData> {
    let dtype = match tensor.dtype {
        Dtype::F16 => TensorDtype::F16,
        Dtype::Bf16 => TensorDtype::BF16,
        Dtype::F32 => TensorDtype::F32,
        Dtype::F64 => TensorDtype::F64,
        _ => return None,
    };
    Some(TensorData { dtype, shape: tensor.shape.clone(), bytes: tensor.bytes.to_vec() })
}

/// How the manifest spells a stored activation.
pub fn activation_spec(activation: &Activation) -> ActivationSpec {
    match activation {
        Activation::Identity => ActivationSpec::Identity,
        Activation::Relu => ActivationSpec::Relu,
        Activation::LeakyRelu { slope } => ActivationSpec::LeakyRelu(slope.to_string()),
        Activation::Tanh => ActivationSpec::Tanh,
        Activation::Sigmoid => ActivationSpec::Sigmoid,
        Activation::Elu { alpha } => ActivationSpec::Elu(alpha.to_string()),
        Activation::Silu => ActivationSpec::Silu,
        Activation::Clip { lower, upper } => ActivationSpec::Clip(lower.to_string(), upper.to_string()),
    }
}
