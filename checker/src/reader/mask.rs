//! `chain.json` and one `.safetensors` per mask: a bit per weight, `1` = kept.
//! Trusted. `spec/certificate-files.md#masks`.

use core::fmt;
use std::collections::BTreeSet;

use super::escaped::Escaped;
use super::fields::{Field, FieldError};
use super::json::{self, JsonError, Numbers};
use super::policy::{PolicyFiles, is_plain_file_name, parse_source_file};
use super::safetensors::{Safetensors, SafetensorsError};
use crate::model::{Mask, Network, SourceFile};
use crate::number::Rational;

/// Value of `format` in `chain.json`.
pub const FORMAT: &str = "secateur.masks/1";
/// Longest manifest, in bytes.
pub const MAX_MANIFEST: usize = 1 << 20;
/// Most masks in a chain.
pub const MAX_MASKS: usize = 1024;
/// Most bits in all masks of a chain together (a bit takes a byte of memory).
pub const MAX_CHAIN_BITS: usize = 1 << 27;
/// Longest `method`, `scope` or `seed`, in bytes.
pub const MAX_TEXT: usize = 256;

/// Why bytes are not a mask of a policy, or not a chain's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaskError {
    /// The manifest is not JSON.
    Json(JsonError),
    /// The manifest lacks something or has too much.
    Field(FieldError),
    /// The mask file is malformed, a tensor is missing, or is no table of bits.
    Tensors(SafetensorsError),
    /// The chain has no mask.
    NoMasks,
    /// More than [`MAX_MASKS`].
    TooManyMasks {
        /// How many.
        found: usize,
    },
    /// More than [`MAX_CHAIN_BITS`].
    ChainTooLarge {
        /// How many masks.
        masks: usize,
    },
    /// A file name with a separator, a leading dot or another character no plain name has.
    UnsafeFileName {
        /// The name.
        name: String,
    },
    /// A file named twice.
    RepeatedFileName {
        /// The name.
        name: String,
    },
    /// The mask masks a bias, `log_std` or the normaliser.
    MayNotBeMasked {
        /// The tensor.
        name: String,
    },
    /// A tensor that is none of the policy's.
    UnknownTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape than its weight.
    ShapeMismatch {
        /// The tensor.
        name: String,
    },
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "in the mask manifest: {error}"),
            Self::Field(error) => write!(f, "in the mask manifest: {error}"),
            Self::Tensors(error) => write!(f, "in the mask: {error}"),
            Self::NoMasks => f.write_str("the chain has no mask"),
            Self::TooManyMasks { found } => write!(f, "the chain has {found} masks, more than {MAX_MASKS}"),
            Self::ChainTooLarge { masks } => {
                write!(f, "{masks} masks of this policy are more than {MAX_CHAIN_BITS} bits")
            }
            Self::UnsafeFileName { name } => write!(f, "{} is not a plain file name", Escaped(name)),
            Self::RepeatedFileName { name } => write!(f, "the chain names the file {} twice", Escaped(name)),
            Self::MayNotBeMasked { name } => {
                write!(f, "tensor {} may not be masked: masks are for weights", Escaped(name))
            }
            Self::UnknownTensor { name } => {
                write!(f, "the mask has a tensor {}, the policy has none", Escaped(name))
            }
            Self::ShapeMismatch { name } => {
                write!(f, "the mask of tensor {} has another shape", Escaped(name))
            }
        }
    }
}

impl From<JsonError> for MaskError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<FieldError> for MaskError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<SafetensorsError> for MaskError {
    fn from(error: SafetensorsError) -> Self {
        Self::Tensors(error)
    }
}

/// One entry of a chain's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskEntry {
    /// Plain file name, beside `chain.json`.
    pub file: String,
    /// Sparsity that was asked for, in [0, 1]; recorded only.
    pub requested_sparsity: Rational,
    /// The file it was imported from, with the role `mask`; recorded only.
    pub source: Option<SourceFile>,
}

/// `chain.json`: where a chain's masks are, loosest first, and how they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainManifest {
    /// Pruning method, free text.
    pub method: String,
    /// Per layer or global, free text.
    pub scope: String,
    /// Seed of the method, free text.
    pub seed: String,
    /// The masks, at least one, at most [`MAX_MASKS`], under distinct names.
    pub masks: Vec<MaskEntry>,
}

/// Parses `chain.json`. That the masks are nested is the kernel's to check.
///
/// # Errors
/// [`MaskError`], one variant per clause of the format.
pub fn parse_chain_manifest(bytes: &[u8]) -> Result<ChainManifest, MaskError> {
    let document = json::parse(bytes, MAX_MANIFEST, Numbers::Refused)?;
    let mut fields = Field::root(&document).object()?;
    fields.required("format")?.word(FORMAT)?;
    let method = free_text(&fields.required("method")?)?;
    let scope = free_text(&fields.required("scope")?)?;
    let seed = free_text(&fields.required("seed")?)?;
    let items = fields.required("masks")?.array()?;
    fields.finish()?;
    if items.is_empty() {
        return Err(MaskError::NoMasks);
    }
    if items.len() > MAX_MASKS {
        return Err(MaskError::TooManyMasks { found: items.len() });
    }
    let masks = items.iter().map(parse_entry).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = masks.iter().find(|m| !names.insert(m.file.as_str())) {
        return Err(MaskError::RepeatedFileName { name: twice.file.clone() });
    }
    Ok(ChainManifest { method, scope, seed, masks })
}

fn parse_entry(item: &Field<'_>) -> Result<MaskEntry, MaskError> {
    let mut fields = item.object()?;
    let file = fields.required("file")?.string()?;
    let place = fields.required("sparsity")?;
    let requested_sparsity = place.fraction()?;
    let source = fields.optional("source").map(|s| parse_source_file("mask", s.object()?)).transpose()?;
    fields.finish()?;
    if !is_plain_file_name(file) {
        return Err(MaskError::UnsafeFileName { name: file.to_owned() });
    }
    Ok(MaskEntry { file: file.to_owned(), requested_sparsity, source })
}

fn free_text(field: &Field<'_>) -> Result<String, FieldError> {
    let text = field.string()?;
    if text.len() > MAX_TEXT {
        Err(field.out_of_range("at most 256 bytes long"))
    } else {
        Ok(text.to_owned())
    }
}

/// Parses one mask of a policy: exactly one BOOL or U8 tensor per weight, with the weight's name and shape, of 0 and 1.
/// Fixed layers have none; their weights are kept.
///
/// # Errors
/// [`MaskError`]: a missing tensor, one that is not a weight's, another shape, or another value.
pub fn parse_mask(bytes: &[u8], files: &PolicyFiles) -> Result<Mask, MaskError> {
    let file = Safetensors::parse(bytes)?;
    for name in file.names() {
        if files.fixed_names.contains(name) {
            return Err(MaskError::MayNotBeMasked { name: name.to_owned() });
        }
        if !files.weight_names.iter().any(|weight| weight == name) {
            return Err(MaskError::UnknownTensor { name: name.to_owned() });
        }
    }
    let mut layers = Vec::new();
    for (layer, name) in files.policy.network.layers.iter().zip(&files.weight_names) {
        if layer.fixed {
            layers.push(vec![true; layer.weight.values.len()]);
            continue;
        }
        let tensor = file.tensor(name)?;
        if tensor.shape != [layer.weight.rows, layer.weight.columns] {
            return Err(MaskError::ShapeMismatch { name: name.clone() });
        }
        layers.push(tensor.bits()?);
    }
    Ok(Mask { layers })
}

/// Accepts iff so many masks of the policy fit into [`MAX_CHAIN_BITS`]; to be asked before the masks are read.
///
/// # Errors
/// [`MaskError::ChainTooLarge`].
pub fn check_chain_size(masks: usize, network: &Network) -> Result<(), MaskError> {
    let weights = network.layers.iter().try_fold(0usize, |n, layer| n.checked_add(layer.weight.values.len()));
    match weights.and_then(|n| n.checked_mul(masks)) {
        Some(bits) if bits <= MAX_CHAIN_BITS => Ok(()),
        _ => Err(MaskError::ChainTooLarge { masks }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::sample;
    use super::super::safetensors::tests::{f32s, tensors};
    use super::*;

    fn chain(masks: &str) -> Result<ChainManifest, MaskError> {
        let text = format!(
            r#"{{"format":"secateur.masks/1","method":"magnitude","scope":"layer","seed":"0","masks":[{masks}]}}"#
        );
        parse_chain_manifest(text.as_bytes())
    }

    fn entry(file: &str, sparsity: &str) -> String {
        format!(r#"{{"file":"{file}","sparsity":"{sparsity}"}}"#)
    }

    #[test]
    fn chains_are_read() {
        let manifest =
            chain(&[entry("mask-00.safetensors", "0"), entry("mask-01.safetensors", "0.1")].join(","))
                .unwrap();
        assert_eq!(
            (manifest.method.as_str(), manifest.scope.as_str(), manifest.seed.as_str()),
            ("magnitude", "layer", "0")
        );
        assert_eq!(manifest.masks[1].file, "mask-01.safetensors");
        assert_eq!(manifest.masks[1].requested_sparsity, Rational::parse("1/10").unwrap());
    }

    #[test]
    fn a_mask_may_name_the_file_it_was_imported_from() {
        let with = |source: &str| chain(&format!(r#"{{"file":"m","sparsity":"0","source":{source}}}"#));
        let digest = "ab".repeat(32);
        let manifest = with(&format!(r#"{{"name":"p50.npz","sha256":"{digest}"}}"#)).unwrap();
        let source = SourceFile { role: "mask", name: "p50.npz".into(), sha256: digest.clone() };
        assert_eq!(manifest.masks[0].source, Some(source));
        assert_eq!(chain(&entry("m", "0")).unwrap().masks[0].source, None);
        let path = with(&format!(r#"{{"name":"../p50.npz","sha256":"{digest}"}}"#));
        assert!(matches!(path, Err(MaskError::Field(FieldError::UnknownWord { .. }))));
        let short = with(r#"{"name":"p50.npz","sha256":"ab"}"#);
        assert!(matches!(short, Err(MaskError::Field(FieldError::UnknownWord { .. }))));
        let more = with(&format!(r#"{{"name":"p50.npz","sha256":"{digest}","role":"mask"}}"#));
        assert!(matches!(more, Err(MaskError::Field(FieldError::Unknown { .. }))));
    }

    #[test]
    fn file_names_stay_in_the_directory() {
        for bad in [
            "",
            "..",
            ".",
            "../m",
            "a/b",
            "/etc/passwd",
            "a\\\\b",
            ".hidden",
            "-rf",
            "a b",
            "C:m",
            "\\u001b[2J",
            "m\\u0000",
        ] {
            assert!(matches!(chain(&entry(bad, "0")), Err(MaskError::UnsafeFileName { .. })), "{bad}");
        }
        assert!(matches!(chain(&entry(&"x".repeat(201), "0")), Err(MaskError::UnsafeFileName { .. })));
        let twice = chain(&[entry("m", "0"), entry("m", "0.5")].join(","));
        assert_eq!(twice, Err(MaskError::RepeatedFileName { name: "m".into() }));
    }

    #[test]
    fn chains_have_one_to_1024_masks() {
        assert_eq!(chain(""), Err(MaskError::NoMasks));
        let many: Vec<_> = (0..1025).map(|i| entry(&format!("m{i}"), "0")).collect();
        assert_eq!(chain(&many.join(",")), Err(MaskError::TooManyMasks { found: 1025 }));
        assert_eq!(chain(&many[..1024].join(",")).unwrap().masks.len(), 1024);
    }

    #[test]
    fn chains_fit_into_memory() {
        // The sample has nine weights.
        let network = sample().policy.network;
        let most = MAX_CHAIN_BITS / 9;
        assert_eq!(check_chain_size(most, &network), Ok(()));
        for masks in [most + 1, usize::MAX] {
            assert_eq!(check_chain_size(masks, &network), Err(MaskError::ChainTooLarge { masks }));
        }
    }

    #[test]
    fn manifests_are_strict() {
        for bad in ["1.1", "-0.1"] {
            assert!(matches!(chain(&entry("m", bad)), Err(MaskError::Field(FieldError::OutOfRange { .. }))));
        }
        assert!(matches!(chain(&entry("m", "x")), Err(MaskError::Field(FieldError::Number { .. }))));
        assert!(matches!(chain(r#"{"file":"m"}"#), Err(MaskError::Field(FieldError::Missing { .. }))));
        let number = chain(r#"{"file":"m","sparsity":0.1}"#);
        assert!(matches!(number, Err(MaskError::Json(JsonError::NumberToken { .. }))));
        let long = format!(
            r#"{{"format":"secateur.masks/1","method":"{}","scope":"","seed":"","masks":[]}}"#,
            "x".repeat(257)
        );
        let long = parse_chain_manifest(long.as_bytes());
        assert!(matches!(long, Err(MaskError::Field(FieldError::OutOfRange { .. }))));
    }

    #[test]
    fn masks_are_read() {
        let bytes =
            tensors(&[("w0", "BOOL", &[3, 2], vec![1, 0, 1, 1, 0, 1]), ("w1", "U8", &[1, 3], vec![1, 1, 0])]);
        let mask = parse_mask(&bytes, &sample()).unwrap();
        assert_eq!(mask.layers, [vec![true, false, true, true, false, true], vec![true, true, false]]);
    }

    #[test]
    fn the_mask_of_a_scale_layer_is_whole_and_not_in_the_file() {
        let mut files = sample();
        files.policy.network.layers[1].fixed = true;
        files.fixed_names.insert("w1".into());
        let first = ("w0", "BOOL", &[3, 2][..], vec![1, 0, 1, 1, 0, 1]);
        let mask = parse_mask(&tensors(std::slice::from_ref(&first)), &files).unwrap();
        assert_eq!(mask.layers, [vec![true, false, true, true, false, true], vec![true; 3]]);
        let both = tensors(&[first, ("w1", "BOOL", &[1, 3], vec![1; 3])]);
        assert_eq!(parse_mask(&both, &files), Err(MaskError::MayNotBeMasked { name: "w1".into() }));
    }

    #[test]
    fn masks_cover_the_weights_and_nothing_else() {
        let whole = [("w0", "BOOL", &[3, 2][..], vec![1; 6]), ("w1", "BOOL", &[1, 3][..], vec![1; 3])];
        let read = |list: &[_]| parse_mask(&tensors(list), &sample());
        let missing = read(&whole[..1]);
        assert_eq!(missing, Err(MaskError::Tensors(SafetensorsError::Missing { name: "w1".into() })));
        for fixed in ["b0", "b1", "s", "m", "d"] {
            let mut list = whole.to_vec();
            list.push((fixed, "BOOL", &[1][..], vec![1]));
            assert_eq!(read(&list), Err(MaskError::MayNotBeMasked { name: fixed.into() }));
        }
        let mut list = whole.to_vec();
        list.push(("x", "BOOL", &[1][..], vec![1]));
        assert_eq!(read(&list), Err(MaskError::UnknownTensor { name: "x".into() }));
        let mut list = whole.to_vec();
        list[0].2 = &[2, 3];
        assert_eq!(read(&list), Err(MaskError::ShapeMismatch { name: "w0".into() }));
        let mut list = whole.to_vec();
        list[1].3 = vec![1, 1, 2];
        assert_eq!(
            read(&list),
            Err(MaskError::Tensors(SafetensorsError::NotABit { name: "w1".into(), index: 2 }))
        );
        let mut list = whole.to_vec();
        list[1] = ("w1", "F32", &[1, 3], f32s(&[1.0; 3]));
        assert!(matches!(read(&list), Err(MaskError::Tensors(SafetensorsError::WrongDtype { .. }))));
    }
}
