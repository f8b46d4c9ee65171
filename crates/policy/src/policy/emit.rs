//! Policies, masks, mask chains and states as bytes: `policy.json`, `policy.safetensors`, `chain.json`, `.npy`.
//! Untrusted: what is written is read back by the checker's reader. `spec/semantics.md#files`.

use super::mask::MaskData;
use super::write::{FileSet, WriteError, write_atomically};
use super::{ActivationSpec, HeadData, PolicyData, Scaling, TensorData};
use secateur_checker::model::{SOURCE_ROLES, Source, SourceFile};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What a mask chain was made by; recorded in `chain.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainOrigin {
    /// `magnitude`, `random`, `saliency`, `imported`.
    pub method: String,
    /// `layer` or `global`.
    pub scope: String,
    /// Seed in decimal; `"0"` if the method draws nothing.
    pub seed: String,
}

/// Name of the weight of layer `index` in a policy directory and in its masks.
pub fn weight_name(index: usize) -> String {
    format!("layer.{index}.weight")
}

/// Name of the bias of layer `index`.
pub fn bias_name(index: usize) -> String {
    format!("layer.{index}.bias")
}

fn activation_value(activation: &ActivationSpec) -> Value {
    match activation {
        ActivationSpec::Identity => json!("identity"),
        ActivationSpec::Relu => json!("relu"),
        ActivationSpec::Tanh => json!("tanh"),
        ActivationSpec::Sigmoid => json!("sigmoid"),
        ActivationSpec::Silu => json!("silu"),
        ActivationSpec::Elu(alpha) => json!({"kind": "elu", "alpha": alpha}),
        ActivationSpec::LeakyRelu(slope) => json!({"kind": "leaky_relu", "slope": slope}),
        ActivationSpec::Clip(lower, upper) if lower == "-1" && upper == "1" => json!("hardtanh"),
        ActivationSpec::Clip(lower, upper) => json!({"kind": "clip", "lower": lower, "upper": upper}),
    }
}

/// The key of a normaliser's scaling in the manifest.
fn scaling_word(scaling: &Scaling) -> &'static str {
    match scaling {
        Scaling::Std(_) => "std",
        Scaling::Factor(_) => "factor",
    }
}

fn file_value(file: &SourceFile) -> Value {
    json!({"name": file.name, "sha256": file.sha256})
}

fn source_value(source: &Source) -> Value {
    if let [only] = source.files.as_slice()
        && only.role == SOURCE_ROLES[0]
    {
        return file_value(only);
    }
    let files: Map<String, Value> =
        source.files.iter().map(|file| (file.role.to_owned(), file_value(file))).collect();
    let options: Map<String, Value> =
        source.options.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({"files": files, "options": options})
}

/// The bytes of `policy.json`: keys in alphabetical order, no white space, numbers as strings.
pub fn emit_manifest(policy: &PolicyData) -> Vec<u8> {
    let layers = policy.layers.iter().enumerate().map(|(i, layer)| {
        let mut entry = json!({
            "weight": weight_name(i), "bias": bias_name(i), "activation": activation_value(&layer.activation),
        });
        if layer.fixed {
            entry["fixed"] = json!(true);
        }
        entry
    });
    let head = match &policy.head {
        HeadData::Gaussian { .. } => json!({"kind": "gaussian", "logStd": "log_std"}),
        HeadData::Categorical => json!({"kind": "categorical"}),
        HeadData::Deterministic => json!({"kind": "deterministic"}),
    };
    let mut manifest = Map::new();
    manifest.insert("format".into(), json!("secateur.policy/1"));
    manifest.insert("layers".into(), Value::Array(layers.collect()));
    manifest.insert("head".into(), head);
    if let Some(normaliser) = &policy.normaliser {
        let mut entry = Map::new();
        entry.insert("mean".into(), json!("normaliser.mean"));
        let word = scaling_word(&normaliser.scaling);
        entry.insert(word.into(), json!(format!("normaliser.{word}")));
        if let Some(clip) = &normaliser.clip {
            entry.insert("clip".into(), json!(clip));
        }
        manifest.insert("normaliser".into(), Value::Object(entry));
    }
    if let Some(source) = &policy.source {
        manifest.insert("source".into(), source_value(source));
    }
    Value::Object(manifest).to_string().into_bytes()
}

/// The bytes of `policy.safetensors`: every tensor of the policy, dtypes and bytes as they were.
pub fn emit_tensors(policy: &PolicyData) -> Vec<u8> {
    let mut tensors: BTreeMap<String, (&str, &[usize], &[u8])> = BTreeMap::new();
    for (index, layer) in policy.layers.iter().enumerate() {
        tensors.insert(weight_name(index), entry(&layer.weight));
        tensors.insert(bias_name(index), entry(&layer.bias));
    }
    if let HeadData::Gaussian { log_std } = &policy.head {
        tensors.insert("log_std".into(), entry(log_std));
    }
    if let Some(normaliser) = &policy.normaliser {
        tensors.insert("normaliser.mean".into(), entry(&normaliser.mean));
        let name = format!("normaliser.{}", scaling_word(&normaliser.scaling));
        tensors.insert(name, entry(normaliser.scaling.tensor()));
    }
    emit_safetensors(&tensors)
}

fn entry(tensor: &TensorData) -> (&str, &[usize], &[u8]) {
    (tensor.dtype.name(), &tensor.shape, &tensor.bytes)
}

/// A safetensors file: tensors in the order of their names, the header padded with spaces to a multiple of 8 bytes.
pub fn emit_safetensors(tensors: &BTreeMap<String, (&str, &[usize], &[u8])>) -> Vec<u8> {
    emit_safetensors_with(tensors, &BTreeMap::new())
}

/// The same with texts in its `__metadata__`.
pub fn emit_safetensors_with(
    tensors: &BTreeMap<String, (&str, &[usize], &[u8])>,
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    for (name, (dtype, shape, bytes)) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]}),
        );
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(&header);
    file.extend_from_slice(&data);
    file
}

/// The bytes of one mask: a `U8` tensor of zeros and ones per weight, named as the weight; none for fixed layers.
pub fn emit_mask(mask: &MaskData) -> Vec<u8> {
    let tables = mask.layers.iter().enumerate().filter(|(_, table)| !table.fixed).map(|(i, table)| {
        (weight_name(i), [table.rows, table.columns], table.kept.iter().map(|&kept| u8::from(kept)).collect())
    });
    let tables: Vec<(String, [usize; 2], Vec<u8>)> = tables.collect();
    emit_safetensors(
        &tables.iter().map(|(name, shape, bytes)| (name.clone(), ("U8", &shape[..], &bytes[..]))).collect(),
    )
}

/// Name of mask `index` inside a chain's folder.
pub fn mask_file_name(index: usize) -> String {
    format!("mask-{index:02}.safetensors")
}

/// The bytes of `chain.json` for masks written under [`mask_file_name`], loosest first.
pub fn emit_chain(masks: &[MaskData], origin: &ChainOrigin) -> Vec<u8> {
    let entries = masks.iter().enumerate();
    let entries: Vec<Value> = entries
        .map(|(i, mask)| {
            let mut entry = json!({"file": mask_file_name(i), "sparsity": mask.sparsity});
            if let Some(source) = &mask.source {
                entry["source"] = file_value(source);
            }
            entry
        })
        .collect();
    let chain = json!({
        "format": "secateur.masks/1", "method": origin.method, "scope": origin.scope, "seed": origin.seed,
        "masks": entries,
    });
    chain.to_string().into_bytes()
}

/// The bytes of a `.npy` file (version 1.0) holding `rows x columns` binary64 numbers, row-major.
pub fn emit_npy(rows: usize, columns: usize, values: &[f64]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    file
}

/// Adds `policy.safetensors` and `policy.json` of `folder`; the manifest is last, so that a folder with a manifest has its
/// tensors.
pub fn add_policy(set: &mut FileSet, folder: &Path, policy: &PolicyData) {
    set.add(folder.join("policy.safetensors"), emit_tensors(policy));
    set.add(folder.join("policy.json"), emit_manifest(policy));
}

/// Adds the masks and `chain.json` of `folder`, loosest first, `chain.json` last.
pub fn add_mask_chain(set: &mut FileSet, folder: &Path, masks: &[MaskData], origin: &ChainOrigin) {
    for (index, mask) in masks.iter().enumerate() {
        set.add(folder.join(mask_file_name(index)), emit_mask(mask));
    }
    set.add(folder.join("chain.json"), emit_chain(masks, origin));
}

/// Writes `policy.json` and `policy.safetensors` into `folder`, over what is there.
///
/// # Errors
/// [`WriteError`].
pub fn write_policy_dir(folder: &Path, policy: &PolicyData) -> Result<(), WriteError> {
    let mut set = FileSet::new(true);
    add_policy(&mut set, folder, policy);
    set.write()
}

/// Writes the masks and `chain.json` into `folder`, over what is there; loosest first.
///
/// # Errors
/// [`WriteError`].
pub fn write_mask_chain(folder: &Path, masks: &[MaskData], origin: &ChainOrigin) -> Result<(), WriteError> {
    let mut set = FileSet::new(true);
    add_mask_chain(&mut set, folder, masks, origin);
    set.write()
}

/// Writes a table of states as `.npy`; `values` has `rows * columns` entries.
///
/// # Errors
/// [`WriteError`].
pub fn write_npy(path: &Path, rows: usize, columns: usize, values: &[f64]) -> Result<(), WriteError> {
    write_atomically(path, &emit_npy(rows, columns, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::mask::MaskTable;
    use crate::policy::{LayerData, NormaliserData};

    fn file(role: &'static str, name: &str) -> SourceFile {
        SourceFile { role, name: name.to_owned(), sha256: "ab".repeat(32) }
    }

    fn policy() -> PolicyData {
        PolicyData {
            layers: vec![LayerData {
                fixed: false,
                weight: TensorData::from_f32(vec![1, 2], &[1.0, -2.0]),
                bias: TensorData::from_f32(vec![1], &[0.5]),
                activation: ActivationSpec::Clip("-1".into(), "1".into()),
            }],
            head: HeadData::Gaussian { log_std: TensorData::from_f32(vec![1], &[0.0]) },
            normaliser: Some(NormaliserData {
                mean: TensorData::from_f64(vec![2], &[0.0, 1.0]),
                scaling: Scaling::Std(TensorData::from_f64(vec![2], &[1.0, 2.0])),
                clip: Some("10".into()),
            }),
            source: Some(Source {
                files: vec![file("model", "p.onnx"), file("log-std", "s.npy")],
                options: vec![("head".into(), "gaussian".into())],
            }),
        }
    }

    #[test]
    fn the_manifest_byte_for_byte() {
        let wanted = format!(
            concat!(
                r#"{{"format":"secateur.policy/1","head":{{"kind":"gaussian","logStd":"log_std"}},"#,
                r#""layers":[{{"activation":"hardtanh","bias":"layer.0.bias","weight":"layer.0.weight"}}],"#,
                r#""normaliser":{{"clip":"10","mean":"normaliser.mean","std":"normaliser.std"}},"#,
                r#""source":{{"files":{{"log-std":{{"name":"s.npy","sha256":"{0}"}},"#,
                r#""model":{{"name":"p.onnx","sha256":"{0}"}}}},"options":{{"head":"gaussian"}}}}}}"#
            ),
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(emit_manifest(&policy())).expect("UTF-8"), wanted);
    }

    /// A directory whose manifest keeps no options stays as it was when it is written again.
    #[test]
    fn a_source_without_options_keeps_its_spelling() {
        let source = Source { files: vec![file("source", "p.onnx")], options: vec![] };
        let manifest = emit_manifest(&PolicyData { source: Some(source), ..policy() });
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!(manifest["source"], json!({"name": "p.onnx", "sha256": "ab".repeat(32)}));
    }

    #[test]
    fn a_mask_names_the_file_it_came_from() {
        let mut mask = MaskData::with_own_sparsity(vec![]);
        mask.source = Some(file("mask", "m.npz"));
        let origin = ChainOrigin { method: "imported".into(), scope: "file".into(), seed: "0".into() };
        let chain: Value = serde_json::from_slice(&emit_chain(&[mask], &origin)).expect("JSON");
        assert_eq!(chain["masks"][0]["source"], json!({"name": "m.npz", "sha256": "ab".repeat(32)}));
    }

    #[test]
    fn tensors_lie_back_to_back_in_the_order_of_their_names() {
        let file = emit_tensors(&policy());
        let length = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
        assert_eq!(length % 8, 0);
        let header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a JSON header");
        assert_eq!(header["layer.0.bias"]["data_offsets"], json!([0, 4]));
        assert_eq!(
            header["layer.0.weight"],
            json!({"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]})
        );
        assert_eq!(header["log_std"]["data_offsets"], json!([12, 16]));
        assert_eq!(file.len(), 8 + length + 16 + 32);
        assert_eq!(&file[8 + length..8 + length + 4], 0.5f32.to_le_bytes());
    }

    #[test]
    fn a_chain_names_its_masks() {
        let mask = MaskData {
            layers: vec![MaskTable { fixed: false, rows: 1, columns: 2, kept: vec![true, false] }],
            sparsity: "0.5".into(),
            source: None,
        };
        let origin = ChainOrigin { method: "magnitude".into(), scope: "layer".into(), seed: "0".into() };
        let folder = tempfile::tempdir().expect("temporary folder");
        write_mask_chain(folder.path(), std::slice::from_ref(&mask), &origin).expect("written");
        let chain = std::fs::read_to_string(folder.path().join("chain.json")).expect("chain");
        let wanted = concat!(
            r#"{"format":"secateur.masks/1","masks":[{"file":"mask-00.safetensors","sparsity":"0.5"}],"#,
            r#""method":"magnitude","scope":"layer","seed":"0"}"#
        );
        assert_eq!(chain, wanted);
        let written = std::fs::read(folder.path().join("mask-00.safetensors")).expect("mask");
        assert_eq!(written, emit_mask(&mask));
        assert_eq!(&written[written.len() - 2..], [1, 0]);
    }
}
