//! Masks in foreign files: PyTorch `weight_mask`, NPZ `M0`, and pairs of a dense and a pruned policy. Untrusted.
//! `spec/semantics.md#masks`.

use super::array::{Array, Arrays};
use super::record::file_record;
use super::{Imported, import};
use crate::import::kind::arrays_of;
use crate::import::problem::{ImportError, ImportOptions, Problem, read_capped};
use crate::policy::emit::weight_name;
use crate::policy::mask::{MaskData, MaskTable};
use crate::policy::{LayerData, PolicyData};
use secateur_checker::model::SourceFile;
use std::path::Path;

/// Reads a mask for an imported policy: arrays `M0`, `M1`, ... or `layer.0.weight`, ..., one for each layer that may be
/// pruned; or `STEM.weight_mask` (or `STEM.mask`, or `STEM.weight` of zeros and ones) for the layers of the same stem,
/// where a layer without one is kept whole. Entries are 0 or 1 (bools, integers or floats), `1` = kept.
///
/// # Errors
/// [`ImportError`]: a mask that has another shape than its weight or holds another number, that belongs to no layer of
/// the policy and to no network that is known to be another, or is missing where there should be one for each layer.
pub fn import_mask(path: &Path, imported: &Imported) -> Result<MaskData, ImportError> {
    let bytes = read_capped(path)?;
    let mask = arrays_of(&bytes).and_then(|arrays| mask_of(&arrays, imported));
    let mut mask = mask.map_err(|problem| ImportError { file: path.to_owned(), problem })?;
    mask.source = Some(file_record("mask", path, &bytes));
    Ok(mask)
}

/// The mask that makes the policy in `path`, imported with the options of `dense`, out of `dense`.
///
/// # Errors
/// [`ImportError`], also if more than weights was pruned.
pub fn import_pruned(
    path: &Path,
    options: &ImportOptions,
    dense: &PolicyData,
) -> Result<MaskData, ImportError> {
    let pruned = import(path, options)?;
    let mask = mask_from_pruned(dense, &pruned);
    let mut mask = mask.map_err(|problem| ImportError { file: path.to_owned(), problem })?;
    let model = pruned.source.into_iter().flat_map(|source| source.files).next();
    mask.source = model.map(|file| SourceFile { role: "mask", ..file });
    Ok(mask)
}

/// The `method` of a chain whose masks were imported as masks, and of one whose masks were derived from pruned policies.
pub const METHODS: [&str; 2] = ["imported", "derived"];

fn mask_of(arrays: &Arrays, imported: &Imported) -> Result<MaskData, Problem> {
    let layers = &imported.policy.layers;
    let free = || layers.iter().enumerate().filter(|(_, layer)| !layer.fixed).map(|(index, _)| index);
    let numbered: [Vec<String>; 2] =
        [free().map(|i| format!("M{i}")).collect(), free().map(weight_name).collect()];
    let mut named: Vec<Option<String>> = vec![None; layers.len()];
    let by_number = numbered.iter().find(|names| names.iter().any(|name| zero_one(arrays, name)));
    if let Some(names) = by_number.filter(|_| !arrays.named.keys().any(|name| has_mask_leaf(name))) {
        for (index, name) in free().zip(names) {
            if !arrays.named.contains_key(name) {
                return Err(Problem::Missing(name.clone()));
            }
            named[index] = Some(name.clone());
        }
    } else {
        for (index, weight) in imported.names.iter().enumerate().filter(|(index, _)| !layers[*index].fixed) {
            named[index] = of_stem(arrays, weight);
        }
    }
    refuse_strays(arrays, imported, &named)?;
    let found = named.iter().zip(layers);
    let tables: Result<Vec<MaskTable>, Problem> = found
        .map(|(name, layer)| match name.as_ref().and_then(|name| arrays.named.get_key_value(name)) {
            Some((name, array)) => table(name, array, &layer.weight.shape),
            None => whole(layer),
        })
        .collect();
    Ok(MaskData::with_own_sparsity(tables?))
}

/// The mask of a layer that is kept whole.
fn whole(layer: &LayerData) -> Result<MaskTable, Problem> {
    let &[rows, columns] = layer.weight.shape.as_slice() else {
        return Err(Problem::NotOnlyPruned("a weight that is no matrix".into()));
    };
    Ok(MaskTable { fixed: layer.fixed, rows, columns, kept: vec![true; rows * columns] })
}

fn zero_one(arrays: &Arrays, name: &str) -> bool {
    arrays.named.get(name).is_some_and(|array| array.zero_one().is_some())
}

/// Whether a name is that of a mask: `M0`, `STEM.weight_mask` or `STEM.mask`.
pub fn is_mask(name: &str) -> bool {
    has_mask_leaf(name) || is_numbered(name)
}

fn has_mask_leaf(name: &str) -> bool {
    name.rsplit(['.', '/']).next().is_some_and(|leaf| ["weight_mask", "mask"].contains(&leaf))
}

fn is_numbered(name: &str) -> bool {
    name.strip_prefix('M').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The mask of the layer with this weight.
fn of_stem(arrays: &Arrays, weight: &str) -> Option<String> {
    let stem = weight.strip_suffix("weight").unwrap_or(weight);
    let numbered = weight.strip_prefix('W').map(|n| format!("M{n}"));
    let own = [Some(format!("{stem}weight_mask")), Some(format!("{stem}mask")), numbered];
    let found = own.into_iter().flatten().find(|name| arrays.named.contains_key(name));
    found.or_else(|| Some(weight.to_owned()).filter(|name| zero_one(arrays, name)))
}

/// Refuses a mask that belongs to no layer of the policy, unless it belongs to a network that is known to be another;
/// and a file without any mask.
fn refuse_strays(arrays: &Arrays, imported: &Imported, named: &[Option<String>]) -> Result<(), Problem> {
    let known = |name: &String| named.iter().flatten().any(|own| own == name);
    let other = |name: &String, array: &Array| {
        imported.ignored.iter().any(|(ignored, _)| ignored == name)
            || super::names::foreign(arrays, name, array, 0).is_some()
    };
    let stray =
        arrays.named.iter().find(|(name, array)| is_mask(name) && !known(name) && !other(name, array));
    if let Some((name, _)) = stray {
        let reason = "belongs to no layer of the policy; masks are named as the layers of the imported file";
        return Err(Problem::Mask { name: name.clone(), reason });
    }
    if named.iter().all(Option::is_none) {
        let wanted = imported.names.first().map_or("M0", String::as_str);
        return Err(Problem::NoMask(format!("{wanted}_mask")));
    }
    for (name, array) in arrays.named.iter().filter(|(name, _)| name.ends_with("bias_mask")) {
        let folded = imported.used.contains(name) || other(name, array);
        if !folded && array.zero_one().is_none_or(|kept| kept.contains(&false)) {
            return Err(Problem::Mask {
                name: name.clone(),
                reason: "prunes a bias; masks are of weights alone",
            });
        }
    }
    Ok(())
}

fn table(name: &str, array: &Array, shape: &[usize]) -> Result<MaskTable, Problem> {
    let wrong = |reason: &'static str| Problem::Mask { name: name.to_owned(), reason };
    let &[rows, columns] = shape else { return Err(wrong("belongs to no matrix")) };
    if array.shape != shape {
        return Err(wrong("has another shape than its weight"));
    }
    let kept = array.zero_one().ok_or_else(|| wrong("holds a number that is neither 0 nor 1"))?;
    Ok(MaskTable { fixed: false, rows, columns, kept })
}

/// The mask with `pruned = mask o dense`, exactly; a weight that is zero in `dense` counts as kept.
///
/// # Errors
/// [`Problem::NotPruned`] naming the first weight that differs without being 0; [`Problem::NotOnlyPruned`] if shapes,
/// biases, activations, head or normaliser differ.
pub fn mask_from_pruned(dense: &PolicyData, pruned: &PolicyData) -> Result<MaskData, Problem> {
    if dense.layers.len() != pruned.layers.len() {
        return Err(Problem::NotOnlyPruned("the number of layers".into()));
    }
    if dense.head != pruned.head {
        return Err(Problem::NotOnlyPruned("the head".into()));
    }
    if dense.normaliser != pruned.normaliser {
        return Err(Problem::NotOnlyPruned("the normaliser".into()));
    }
    let mut tables = Vec::with_capacity(dense.layers.len());
    for (index, (before, after)) in dense.layers.iter().zip(&pruned.layers).enumerate() {
        let name = weight_name(index);
        let &[rows, columns] = before.weight.shape.as_slice() else {
            return Err(Problem::NotOnlyPruned(name));
        };
        if before.weight.shape != after.weight.shape || before.activation != after.activation {
            return Err(Problem::NotOnlyPruned(format!("the shape or activation of layer {index}")));
        }
        let finite = |index: usize| Problem::NotFinite { name: name.clone(), index };
        if before.bias.dyadics() != after.bias.dyadics() {
            return Err(Problem::NotOnlyPruned(format!("the bias of layer {index}")));
        }
        let (old, new) = (before.weight.dyadics().map_err(finite)?, after.weight.dyadics().map_err(finite)?);
        let mut kept = Vec::with_capacity(old.len());
        for (place, (old, new)) in old.iter().zip(&new).enumerate() {
            if old != new && !new.is_zero() {
                return Err(Problem::NotPruned { name, row: place / columns, column: place % columns });
            }
            kept.push(old == new);
        }
        tables.push(MaskTable { fixed: before.fixed, rows, columns, kept });
    }
    Ok(MaskData::with_own_sparsity(tables))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ActivationSpec, HeadData, LayerData, TensorData};

    fn policy(weights: [f32; 4]) -> PolicyData {
        let layer = LayerData {
            fixed: false,
            weight: TensorData::from_f32(vec![2, 2], &weights),
            bias: TensorData::from_f32(vec![2], &[0.0, 1.0]),
            activation: ActivationSpec::Identity,
        };
        PolicyData { layers: vec![layer], head: HeadData::Deterministic, normaliser: None, source: None }
    }

    #[test]
    fn a_zero_that_was_there_before_counts_as_kept() {
        let mask =
            mask_from_pruned(&policy([1.0, 0.0, 2.0, 3.0]), &policy([1.0, 0.0, 0.0, 3.0])).expect("pruned");
        assert_eq!(
            (mask.layers[0].kept.as_slice(), mask.sparsity.as_str()),
            (&[true, true, false, true][..], "1/4")
        );
    }

    #[test]
    fn the_first_weight_that_was_changed_is_named() {
        let changed = mask_from_pruned(&policy([1.0, 5.0, 2.0, 3.0]), &policy([1.0, 5.0, 2.5, 3.5]));
        assert_eq!(changed, Err(Problem::NotPruned { name: "layer.0.weight".into(), row: 1, column: 0 }));
    }
}
