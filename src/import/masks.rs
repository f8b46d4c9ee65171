//! Masks in foreign files: PyTorch `weight_mask`, NPZ `M0`, and pairs of a dense and a pruned policy. Untrusted.
//! `spec/semantics.md#masks`.

use super::array::{Array, Arrays};
use super::record::file_record;
use super::{ImportError, ImportOptions, Problem, arrays_of, import, read_capped};
use crate::policy::PolicyData;
use crate::policy::emit::weight_name;
use crate::policy::mask::{MaskData, MaskTable};
use secateur_checker::model::SourceFile;
use std::path::Path;

/// Reads a mask for `policy`: arrays `M0`, `M1`, ...; or `layer.0.weight`, ...; or PyTorch's `STEM.weight_mask`, in the
/// order of their numbers. Entries are 0 or 1 (bools, integers or floats), `1` = kept.
///
/// # Errors
/// [`ImportError`]: a mask that is missing, has another shape than its weight or holds another number.
pub fn import_mask(path: &Path, policy: &PolicyData) -> Result<MaskData, ImportError> {
    let bytes = read_capped(path)?;
    let mask = arrays_of(&bytes).and_then(|arrays| mask_of(&arrays, policy));
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

fn mask_of(arrays: &Arrays, policy: &PolicyData) -> Result<MaskData, Problem> {
    let mut tables = Vec::with_capacity(policy.layers.len());
    let stems = super::named::ordered(arrays.named.keys().filter(|n| n.ends_with("weight_mask")));
    for (index, layer) in policy.layers.iter().enumerate() {
        let names = [format!("M{index}"), weight_name(index), stems.get(index).cloned().unwrap_or_default()];
        let found = names.iter().find_map(|name| arrays.named.get_key_value(name));
        let Some((name, array)) = found else { return Err(Problem::Missing(format!("M{index}"))) };
        tables.push(table(name, array, &layer.weight.shape)?);
    }
    Ok(MaskData::with_own_sparsity(tables))
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
