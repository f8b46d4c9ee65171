//! `chain.json` and one `.safetensors` per mask: a bit per weight, `1` = kept.
//! Trusted. `spec/certificate-files.md#masks`.

use std::collections::BTreeSet;

use super::clause::{Clause, Part};
use super::fields::{Document, Fields};
use super::json::Numbers;
use super::policy::{PolicyFiles, is_plain_file_name, parse_source_file};
use super::record::{Read, fraction, record};
use super::safetensors::Safetensors;
use crate::model::{Mask, Network, SourceFile};
use crate::number::Rational;

/// Value of `format` in `chain.json`.
pub(crate) const FORMAT: &str = "secateur.masks/1";
/// Longest manifest, in bytes.
pub const MAX_MANIFEST: usize = 1 << 20;
/// Most masks in a chain.
pub const MAX_MASKS: usize = 1024;
/// Most bits in all masks of a chain together (a bit takes a byte of memory).
pub(crate) const MAX_CHAIN_BITS: usize = 1 << 27;
/// Longest `method`, `scope` or `seed`, in bytes.
pub(crate) const MAX_TEXT: usize = 256;

record! {
    /// One entry of a chain's manifest.
    pub struct MaskEntry {
        /// Plain file name, beside `chain.json`.
        file: String => file_name,
        /// Sparsity that was asked for, in [0, 1]; recorded only.
        requested_sparsity as "sparsity": Rational => fraction,
        /// The file it was imported from, with the role `mask`; recorded only.
        source: Option<SourceFile> => source,
    }
}

record! {
    /// `chain.json`: where a chain's masks are, loosest first, and how they were made.
    pub struct ChainManifest {
        "format" = FORMAT;
        /// Pruning method, free text.
        method: String => free_text,
        /// Per layer or global, free text.
        scope: String => free_text,
        /// Seed of the method, free text.
        seed: String => free_text,
        /// The masks, at least one, at most [`MAX_MASKS`], under distinct names.
        masks: Vec<MaskEntry> => masks,
    }
}

/// Parses `chain.json`. That the masks are nested is the kernel's to check.
///
/// # Errors
/// [`Clause`].
pub fn parse_chain_manifest(bytes: &[u8]) -> Result<ChainManifest, Clause> {
    let document = Document::parse(bytes, MAX_MANIFEST, Numbers::Refused, Part::MaskManifest)?;
    ChainManifest::read(&document.root())
}

fn masks(fields: &mut Fields<'_>, key: &str) -> Result<Vec<MaskEntry>, Clause> {
    let items = fields.required(key)?.array()?;
    if items.is_empty() {
        return Err(Clause::NoMasks);
    }
    if items.len() > MAX_MASKS {
        return Err(Clause::TooManyMasks { found: items.len() });
    }
    let masks: Vec<MaskEntry> = items.iter().map(MaskEntry::read).collect::<Result<_, _>>()?;
    let mut names = BTreeSet::new();
    match masks.iter().find(|m| !names.insert(m.file.as_str())) {
        Some(twice) => Err(Clause::RepeatedFileName { name: twice.file.as_str().into() }),
        None => Ok(masks),
    }
}

fn file_name(fields: &mut Fields<'_>, key: &str) -> Result<String, Clause> {
    let name = fields.required(key)?.string()?;
    if is_plain_file_name(name) {
        Ok(name.to_owned())
    } else {
        Err(Clause::UnsafeFileName { name: name.into() })
    }
}

fn source(fields: &mut Fields<'_>, key: &str) -> Result<Option<SourceFile>, Clause> {
    fields.optional(key).map(|source| parse_source_file("mask", source.object()?)).transpose()
}

fn free_text(fields: &mut Fields<'_>, key: &str) -> Result<String, Clause> {
    let field = fields.required(key)?;
    let text = field.allowed(field.string()?, "at most 256 bytes long", |text| text.len() <= MAX_TEXT);
    text.map(str::to_owned)
}

fn in_mask(clause: Clause) -> Clause {
    clause.within(Part::MaskTensors)
}

/// Parses one mask of a policy: exactly one BOOL or U8 tensor per weight, with the weight's name and shape, of 0 and 1.
/// Fixed layers have none; their weights are kept.
///
/// # Errors
/// [`Clause`]: a missing tensor, one that is not a weight's, another shape, or another value.
pub fn parse_mask(bytes: &[u8], files: &PolicyFiles) -> Result<Mask, Clause> {
    let file = Safetensors::parse(bytes).map_err(in_mask)?;
    for name in file.names() {
        if files.fixed_names.contains(name) {
            return Err(Clause::MayNotBeMasked { name: name.into() });
        }
        if !files.weight_names.iter().any(|weight| weight == name) {
            return Err(Clause::UnknownTensor { name: name.into() });
        }
    }
    let mut layers = Vec::new();
    for (layer, name) in files.policy.network.layers.iter().zip(&files.weight_names) {
        if layer.fixed {
            layers.push(vec![true; layer.weight.values.len()]);
            continue;
        }
        let tensor = file.tensor(name).map_err(in_mask)?;
        if tensor.shape != [layer.weight.rows, layer.weight.columns] {
            return Err(Clause::MaskShape { name: name.as_str().into() });
        }
        layers.push(tensor.bits().map_err(in_mask)?);
    }
    Ok(Mask { layers })
}

/// Accepts iff so many masks of the policy fit into [`MAX_CHAIN_BITS`]; to be asked before the masks are read.
///
/// # Errors
/// [`Clause::ChainTooLarge`].
pub(crate) fn check_chain_size(masks: usize, network: &Network) -> Result<(), Clause> {
    let weights = network.layers.iter().try_fold(0usize, |n, layer| n.checked_add(layer.weight.values.len()));
    let bits = weights.and_then(|n| n.checked_mul(masks)).filter(|bits| *bits <= MAX_CHAIN_BITS);
    bits.map(|_| ()).ok_or(Clause::ChainTooLarge { masks })
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::sample;
    use super::super::safetensors::tests::{f32s, tensors};
    use super::*;

    fn chain(masks: &str) -> Result<ChainManifest, Clause> {
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
        assert!(matches!(path.map_err(|e| e.condition().clone()), Err(Clause::UnknownWord { .. })));
        let short = with(r#"{"name":"p50.npz","sha256":"ab"}"#);
        assert!(matches!(short.map_err(|e| e.condition().clone()), Err(Clause::UnknownWord { .. })));
        let more = with(&format!(r#"{{"name":"p50.npz","sha256":"{digest}","role":"mask"}}"#));
        assert!(matches!(more.map_err(|e| e.condition().clone()), Err(Clause::UnknownKey { .. })));
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
            assert!(
                matches!(
                    chain(&entry(bad, "0")).map_err(|e| e.condition().clone()),
                    Err(Clause::UnsafeFileName { .. })
                ),
                "{bad}"
            );
        }
        assert!(matches!(
            chain(&entry(&"x".repeat(201), "0")).map_err(|e| e.condition().clone()),
            Err(Clause::UnsafeFileName { .. })
        ));
        let twice = chain(&[entry("m", "0"), entry("m", "0.5")].join(","));
        assert_eq!(twice, Err(Clause::RepeatedFileName { name: "m".into() }));
    }

    #[test]
    fn chains_have_one_to_1024_masks() {
        assert_eq!(chain(""), Err(Clause::NoMasks));
        let many: Vec<_> = (0..1025).map(|i| entry(&format!("m{i}"), "0")).collect();
        assert_eq!(chain(&many.join(",")), Err(Clause::TooManyMasks { found: 1025 }));
        assert_eq!(chain(&many[..1024].join(",")).unwrap().masks.len(), 1024);
    }

    #[test]
    fn chains_fit_into_memory() {
        // The sample has nine weights.
        let network = sample().policy.network;
        let most = MAX_CHAIN_BITS / 9;
        assert_eq!(check_chain_size(most, &network), Ok(()));
        for masks in [most + 1, usize::MAX] {
            assert_eq!(check_chain_size(masks, &network), Err(Clause::ChainTooLarge { masks }));
        }
    }

    #[test]
    fn manifests_are_strict() {
        for bad in ["1.1", "-0.1"] {
            assert!(matches!(
                chain(&entry("m", bad)).map_err(|e| e.condition().clone()),
                Err(Clause::OutOfRange { .. })
            ));
        }
        assert!(matches!(
            chain(&entry("m", "x")).map_err(|e| e.condition().clone()),
            Err(Clause::NotANumber { .. })
        ));
        assert!(matches!(
            chain(r#"{"file":"m"}"#).map_err(|e| e.condition().clone()),
            Err(Clause::MissingKey { .. })
        ));
        let number = chain(r#"{"file":"m","sparsity":0.1}"#);
        assert!(matches!(number.map_err(|e| e.condition().clone()), Err(Clause::NumberToken { .. })));
        let long = format!(
            r#"{{"format":"secateur.masks/1","method":"{}","scope":"","seed":"","masks":[]}}"#,
            "x".repeat(257)
        );
        let long = parse_chain_manifest(long.as_bytes());
        assert!(matches!(long.map_err(|e| e.condition().clone()), Err(Clause::OutOfRange { .. })));
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
        assert_eq!(parse_mask(&both, &files), Err(Clause::MayNotBeMasked { name: "w1".into() }));
    }

    #[test]
    fn masks_cover_the_weights_and_nothing_else() {
        let whole = [("w0", "BOOL", &[3, 2][..], vec![1; 6]), ("w1", "BOOL", &[1, 3][..], vec![1; 3])];
        let read = |list: &[_]| parse_mask(&tensors(list), &sample());
        let missing = read(&whole[..1]);
        assert_eq!(missing, Err(Clause::NoTensor { name: "w1".into() }.within(Part::MaskTensors)));
        for fixed in ["b0", "b1", "s", "m", "d"] {
            let mut list = whole.to_vec();
            list.push((fixed, "BOOL", &[1][..], vec![1]));
            assert_eq!(read(&list), Err(Clause::MayNotBeMasked { name: fixed.into() }));
        }
        let mut list = whole.to_vec();
        list.push(("x", "BOOL", &[1][..], vec![1]));
        assert_eq!(read(&list), Err(Clause::UnknownTensor { name: "x".into() }));
        let mut list = whole.to_vec();
        list[0].2 = &[2, 3];
        assert_eq!(read(&list), Err(Clause::MaskShape { name: "w0".into() }));
        let mut list = whole.to_vec();
        list[1].3 = vec![1, 1, 2];
        assert_eq!(
            read(&list),
            Err(Clause::NotABit { name: "w1".into(), index: 2 }.within(Part::MaskTensors))
        );
        let mut list = whole.to_vec();
        list[1] = ("w1", "F32", &[1, 3], f32s(&[1.0; 3]));
        assert!(matches!(read(&list).map_err(|e| e.condition().clone()), Err(Clause::WrongDtype { .. })));
    }
}
