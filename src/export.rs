//! A policy under a mask as a file that other programs run: ONNX or safetensors. Untrusted; what is written was read back
//! and is exactly the network that was certified. `spec/gate.md#export`.

use std::collections::BTreeMap;
use std::path::Path;

use secateur_checker::load::PolicyDirectory;
use secateur_checker::model::{Mask, Policy};
use secateur_checker::number::Dyadic;
use secateur_checker::reader::digest::{mask_digest, weights_digest};
use secateur_checker::reader::policy::parse_policy;

use crate::import::bound::{Reread, head_kind, reread};
use crate::import::compare::{Difference, Scope, compare_policies};
use crate::import::{ImportError, activation_text, write_onnx};
use crate::policy::emit::{bias_name, emit_manifest, emit_safetensors_with, emit_tensors, weight_name};
use crate::policy::read::policy_data;
use crate::policy::{ActivationSpec, HeadData, PolicyData, Scaling, TensorData};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// ONNX, opset 13.
    Onnx,
    /// safetensors, with activations, head and normaliser.
    Safetensors,
}

impl ExportFormat {
    /// By the end of the file's name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "onnx" => Some(Self::Onnx),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The format has no exact form for a part of the policy.
    #[error("the policy cannot be written exactly: {0}")]
    NotExact(String),
    /// What was made does not read back.
    #[error("what was made does not read back: {0}")]
    Unreadable(ImportError),
    /// What was made reads back as another network.
    #[error(
        "what was made reads back as another network ({0}); the format has no exact form for this policy"
    )]
    Differs(#[from] Difference),
    /// The policy was not loaded by the checker's reader.
    #[error("the policy directory is not as it was read")]
    NotLoaded,
}

/// The policy with every pruned weight 0.
pub fn pruned(policy: &Policy, mask: &Mask) -> Policy {
    let mut made = policy.clone();
    for (layer, kept) in made.network.layers.iter_mut().zip(&mask.layers) {
        for (value, kept) in layer.weight.values.iter_mut().zip(kept) {
            if !kept {
                *value = Dyadic::ZERO;
            }
        }
    }
    made
}

/// The bytes of a file that holds the policy under `mask`, exactly.
///
/// The standard deviations of a Gaussian are not part of an ONNX file.
///
/// # Errors
/// [`ExportError`].
pub fn export(policy: &PolicyDirectory, mask: &Mask, format: ExportFormat) -> Result<Vec<u8>, ExportError> {
    let stored = &policy.files.policy;
    let mut data = policy_data(policy).ok_or(ExportError::NotLoaded)?;
    for (layer, kept) in data.layers.iter_mut().zip(&mask.layers) {
        clear(&mut layer.weight, kept);
    }
    let (weights, mask_name) = (weights_digest(&stored.network), mask_digest(mask, &stored.network));
    // For people only: whoever binds the file compares its numbers.
    let notes = [("secateur.weights", weights.as_str()), ("secateur.mask", mask_name.as_str())];
    let bytes = match format {
        ExportFormat::Onnx => write_onnx(&data, &notes).map_err(ExportError::NotExact)?,
        ExportFormat::Safetensors => tensors(&data, &notes).map_err(ExportError::NotExact)?,
    };
    read_back(&bytes, stored, mask, format)?;
    Ok(bytes)
}

/// The canonical files, manifest and tensors, of the policy with every pruned weight 0.
///
/// # Errors
/// [`ExportError::NotLoaded`].
pub fn pruned_files(policy: &PolicyDirectory, mask: &Mask) -> Result<(Vec<u8>, Vec<u8>), ExportError> {
    let mut data = policy_data(policy).ok_or(ExportError::NotLoaded)?;
    for (layer, kept) in data.layers.iter_mut().zip(&mask.layers) {
        clear(&mut layer.weight, kept);
    }
    Ok((emit_manifest(&data), emit_tensors(&data)))
}

/// Sets every number that is not kept to 0.
fn clear(tensor: &mut TensorData, kept: &[bool]) {
    for (number, _) in tensor.bytes.chunks_mut(tensor.dtype.width()).zip(kept).filter(|(_, kept)| !**kept) {
        number.fill(0);
    }
}

fn read_back(bytes: &[u8], stored: &Policy, mask: &Mask, format: ExportFormat) -> Result<(), ExportError> {
    let name = Path::new("the exported file");
    let read = reread(name, bytes, stored, head_kind(stored)).map_err(ExportError::Unreadable)?;
    let Reread { imported, log_std } = read;
    let data = &imported.policy;
    let found = parse_policy(&emit_manifest(data), &emit_tensors(data));
    let found = found.map_err(|e| ExportError::NotExact(e.to_string()))?.policy;
    if format == ExportFormat::Safetensors && !log_std {
        return Err(ExportError::NotExact("its standard deviations were lost".to_owned()));
    }
    compare_policies(&found, &pruned(stored, mask), Scope { log_std, normaliser: true })?;
    Ok(())
}

fn entry(tensor: &TensorData) -> (&str, &[usize], &[u8]) {
    (tensor.dtype.name(), &tensor.shape, &tensor.bytes)
}

/// A state dictionary with what it does not say itself as metadata, by the names that `secateur import` reads.
fn tensors(policy: &PolicyData, notes: &[(&str, &str)]) -> Result<Vec<u8>, String> {
    let mut entries: BTreeMap<String, (&str, &[usize], &[u8])> = BTreeMap::new();
    let mut texts: BTreeMap<String, String> =
        notes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut activations = Vec::new();
    for (index, layer) in policy.layers.iter().enumerate() {
        if layer.fixed {
            return Err(format!(
                "layer {index} only scales, which a state dictionary does not show; write .onnx"
            ));
        }
        entries.insert(weight_name(index), entry(&layer.weight));
        entries.insert(bias_name(index), entry(&layer.bias));
        match &layer.activation {
            ActivationSpec::LeakyRelu(_) | ActivationSpec::Clip(..)
                if activation_text(&layer.activation) != "hardtanh" =>
            {
                return Err(format!(
                    "the activation {} of layer {index} has no name; write .onnx",
                    activation_text(&layer.activation)
                ));
            }
            named => activations.push(activation_text(named)),
        }
    }
    if policy.layers.len() > 1 {
        texts.insert("activation".to_owned(), activations.join(","));
    }
    let head = match &policy.head {
        HeadData::Gaussian { log_std } => {
            entries.insert("log_std".to_owned(), entry(log_std));
            "gaussian"
        }
        HeadData::Categorical => "categorical",
        HeadData::Deterministic => "deterministic",
    };
    texts.insert("distribution".to_owned(), head.to_owned());
    if let Some(normaliser) = &policy.normaliser {
        let Scaling::Std(std) = &normaliser.scaling else {
            return Err("its normaliser stores factors, which no state dictionary does".to_owned());
        };
        entries.insert("obs_norm.mean".to_owned(), entry(&normaliser.mean));
        entries.insert("obs_norm.std".to_owned(), entry(std));
        if let Some(clip) = &normaliser.clip {
            texts.insert("obs_norm.clip".to_owned(), clip.clone());
        }
    }
    Ok(emit_safetensors_with(&entries, &texts))
}
