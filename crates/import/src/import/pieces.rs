//! The tensors of one layer: weights, biases, and how PyTorch parametrises them. Untrusted. `spec/import.md#one-layer`.
//!
//! What PyTorch computes when a layer runs is computed here once, in binary64, and then is the stored weight.
//!
//! # References
//! PyTorch 2.x, `torch/nn/utils/prune.py`, `weight_norm.py`, `spectral_norm.py`, `parametrizations.py`,
//! `nn/modules/batchnorm.py`.

use super::array::{Array, Arrays};
use crate::import::problem::Problem;
use crate::policy::{TensorData, TensorDtype};
use std::collections::BTreeMap;

/// Ends of names, longest first, and the part of a layer that each is.
const ENDS: [(&str, &str); 15] = [
    ("parametrizations.weight.original0", "magnitude"),
    ("parametrizations.weight.original1", "direction"),
    ("parametrizations.weight.original", "original"),
    ("parametrizations.weight.0._u", "left"),
    ("parametrizations.weight.0._v", "right"),
    ("num_batches_tracked", "batches"),
    ("running_mean", "mean"),
    ("running_var", "variance"),
    ("weight_orig", "original"),
    ("weight_mask", "mask"),
    ("weight_u", "left"),
    ("weight_g", "magnitude"),
    ("bias_orig", "bias original"),
    ("bias_mask", "bias mask"),
    ("weight_v", "right or direction"),
];
/// PyTorch's default of BatchNorm's `eps`, which no state dictionary holds.
const BATCH_EPSILON: f64 = 1e-5;

/// All tensors of one layer, by part; each with its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Stem<'a> {
    /// What the names share, without the dot.
    pub(super) name: String,
    parts: BTreeMap<&'static str, (&'a str, &'a Array)>,
}

/// The stem and the part that a name is, if it is one of a layer's. `W0`, `b0` and `M0` have the stem `W0`.
pub(super) fn part_of(name: &str) -> Option<(String, &'static str)> {
    for (letter, part) in [('W', "weight"), ('b', "bias"), ('M', "mask")] {
        if let Some(number) = name.strip_prefix(letter).filter(|n| is_number(n)) {
            return Some((format!("W{number}"), part));
        }
    }
    let plain = [("weight", "weight"), ("bias", "bias"), ("mask", "mask")];
    ENDS.iter().chain(&plain).find_map(|(end, part)| {
        let stem = name.strip_suffix(end)?;
        let dotted = stem.strip_suffix(['.', '/']);
        dotted.or_else(|| stem.is_empty().then_some("")).map(|stem| (stem.to_owned(), *part))
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a stem is that of `W0`, `b0`.
fn short(stem: &str) -> bool {
    stem.strip_prefix('W').is_some_and(is_number)
}

/// Collects the layers among the names, in their order; returns too what is no part of a layer.
pub(super) fn stems<'a>(named: &[(&'a str, &'a Array)]) -> (Vec<Stem<'a>>, Vec<&'a str>) {
    let (mut stems, mut rest): (Vec<Stem<'a>>, Vec<&str>) = (Vec::new(), Vec::new());
    for &(name, array) in named {
        let Some((stem, part)) = part_of(name) else {
            rest.push(name);
            continue;
        };
        let at = stems.iter().position(|known| known.name == stem).unwrap_or_else(|| {
            stems.push(Stem { name: stem, parts: BTreeMap::new() });
            stems.len() - 1
        });
        if stems[at].parts.insert(part, (name, array)).is_some() {
            rest.push(name); // two names for one part: neither is trusted
        }
    }
    (stems, rest)
}

impl<'a> Stem<'a> {
    /// Name of the weight, for messages and masks: `STEM.weight`, or `W0`.
    pub(super) fn weight_name(&self) -> String {
        match self.name.as_str() {
            "" => "weight".to_owned(),
            name if short(name) => name.to_owned(),
            name => format!("{name}.weight"),
        }
    }

    fn bias_name(&self) -> String {
        match self.name.strip_prefix('W').filter(|_| short(&self.name)) {
            Some(number) => format!("b{number}"),
            None if self.name.is_empty() => "bias".to_owned(),
            None => format!("{}.bias", self.name),
        }
    }

    /// Names of all its tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.parts.values().map(|(name, _)| *name)
    }

    fn array(&self, part: &str) -> Option<&'a Array> {
        self.parts.get(part).map(|(_, array)| *array)
    }

    fn floats(&self, part: &str) -> Result<TensorData, Problem> {
        match self.parts.get(part) {
            Some((name, array)) => array.floats(name),
            None => Err(Problem::Missing(format!("{} of {}", part, self.weight_name()))),
        }
    }

    /// Whether it holds statistics of batches.
    pub(super) fn is_batch_norm(&self) -> bool {
        self.parts.contains_key("mean") || self.parts.contains_key("variance")
    }

    /// `[out, in]` of the weight.
    ///
    /// # Errors
    /// [`Problem::NotAffine`] for another rank, [`Problem::Lost`] for a layer without a weight.
    pub(super) fn shape(&self) -> Result<[usize; 2], Problem> {
        let weight = ["weight", "original", "direction", "right or direction"];
        let Some((name, array)) = weight.iter().find_map(|part| self.parts.get(part)) else {
            let names: Vec<String> = self.names().map(str::to_owned).collect();
            return Err(Problem::Lost { names, wanted: self.weight_name() });
        };
        match array.shape.as_slice() {
            &[rows, columns] => Ok([rows, columns]),
            [_] => Err(Problem::NormLayer { stem: self.name.clone() }),
            shape => Err(Problem::NotAffine { name: (*name).to_owned(), shape: shape.to_vec() }),
        }
    }

    /// The weight as the layer uses it. `apart`: the masks are imported on their own, so the weight is the one before
    /// pruning.
    ///
    /// # Errors
    /// [`Problem::Parametrised`] for parts that do not make one weight.
    pub(super) fn weight(&self, apart: bool) -> Result<TensorData, Problem> {
        let rest = ["bias", "bias original", "bias mask"];
        let parts: Vec<&str> = self.parts.keys().copied().filter(|part| !rest.contains(part)).collect();
        match parts.as_slice() {
            ["weight"] => self.floats("weight"),
            ["mask", "original"] if apart => self.floats("original"),
            ["mask", "original"] => self.masked("original", "mask"),
            ["mask", "weight"] => {
                let (plain, masked) = (self.floats("weight")?, self.masked("weight", "mask")?);
                if apart || plain.dyadics() == masked.dyadics() {
                    Ok(plain)
                } else {
                    Err(self.unclear(&parts))
                }
            }
            ["left", "original", "right"] => self.spectral("right"),
            ["left", "original", "right or direction"] => self.spectral("right or direction"),
            ["direction", "magnitude"] => self.normed("direction"),
            ["magnitude", "right or direction"] => self.normed("right or direction"),
            _ => Err(self.unclear(&parts)),
        }
    }

    fn unclear(&self, parts: &[&str]) -> Problem {
        let masked = parts == ["mask", "weight"];
        let names = self.names().map(str::to_owned).collect();
        Problem::Parametrised { layer: self.weight_name(), names, masked }
    }

    /// Entries where the mask is 0 made 0; the others keep their bytes.
    fn masked(&self, part: &str, mask: &str) -> Result<TensorData, Problem> {
        let (mut tensor, array) = (self.floats(part)?, self.array(mask));
        let (name, array) = (self.parts.get(mask).map_or("", |(name, _)| *name), array);
        let wrong = |reason| Problem::Mask { name: name.to_owned(), reason };
        let array = array.ok_or_else(|| wrong("is missing"))?;
        if array.shape != tensor.shape {
            return Err(wrong("has another shape than its weight or bias"));
        }
        let kept = array.zero_one().ok_or_else(|| wrong("holds a number that is neither 0 nor 1"))?;
        let width = tensor.dtype.width();
        for (entry, kept) in tensor.bytes.chunks_exact_mut(width).zip(kept) {
            if !kept {
                entry.fill(0);
            }
        }
        Ok(tensor)
    }

    /// Spectral norm as a network in evaluation computes it: `W / (u . W v)` with the stored `u` and `v`.
    fn spectral(&self, right: &str) -> Result<TensorData, Problem> {
        let (weight, left, right) = (self.floats("original")?, self.floats("left")?, self.floats(right)?);
        let [rows, columns] = self.shape()?;
        if left.shape != [rows] || right.shape != [columns] {
            return Err(self.unclear(&["original", "left", "right"]));
        }
        let (values, right) = (weight.floats(), right.floats());
        let products = values.chunks_exact(columns.max(1)).map(|row| dot(row, &right));
        let sigma: f64 = products.zip(left.floats()).map(|(product, u)| product * u).sum();
        if !sigma.is_finite() || sigma == 0.0 {
            return Err(self.unclear(&["original", "left", "right"]));
        }
        Ok(rounded(&weight, &values.iter().map(|w| w / sigma).collect::<Vec<_>>()))
    }

    /// Weight norm: `g v / |v|`, a norm for each row, each column or the whole, as the shape of `g` says.
    fn normed(&self, direction: &str) -> Result<TensorData, Problem> {
        let (magnitude, direction) = (self.floats("magnitude")?, self.floats(direction)?);
        let [rows, columns] = self.shape()?;
        let (g, v) = (magnitude.floats(), direction.floats());
        let unit = |index: usize| match magnitude.shape.as_slice() {
            [n, 1] if *n == rows => Some(index / columns.max(1)),
            [1, n] if *n == columns => Some(index % columns.max(1)),
            [] | [1] => Some(0),
            _ => None,
        };
        let mut squares = vec![0.0; g.len()];
        for (index, entry) in v.iter().enumerate() {
            let place = unit(index).and_then(|u| squares.get_mut(u));
            *place.ok_or_else(|| self.unclear(&["magnitude", "direction"]))? += entry * entry;
        }
        if squares.contains(&0.0) {
            return Err(self.unclear(&["magnitude", "direction"]));
        }
        let scaled = v.iter().enumerate().filter_map(|(i, v)| {
            let unit = unit(i)?;
            Some(v * (g.get(unit)? / squares.get(unit)?.sqrt()))
        });
        Ok(rounded(&direction, &scaled.collect::<Vec<_>>()))
    }

    /// The bias; zeros where `none` says that a layer without one has none, or the file says so.
    ///
    /// # Errors
    /// [`Problem::NoBias`] for a layer without one.
    pub(super) fn bias(&self, arrays: &Arrays, none: bool) -> Result<TensorData, Problem> {
        let parts = ["bias", "bias original", "bias mask"].map(|part| self.parts.contains_key(part));
        match parts {
            [true, false, false] => self.floats("bias"),
            [false, true, true] => self.masked("bias original", "bias mask"),
            [false, false, false] if none || arrays.absent.contains(&self.bias_name()) => {
                let [rows, _] = self.shape()?;
                Ok(TensorData::zeros(self.weight(true)?.dtype, rows))
            }
            [false, false, false] => {
                Err(Problem::NoBias { layer: self.weight_name(), wanted: self.bias_name() })
            }
            _ => Err(self.unclear(&["bias"])),
        }
    }

    /// Whether it has no bias tensor.
    pub(super) fn lacks_bias(&self) -> bool {
        !["bias", "bias original"].iter().any(|part| self.parts.contains_key(part))
    }

    /// Scale and shift of BatchNorm in evaluation: `g / sqrt(var + 1e-5)` and `b - mean * scale`, without affine tensors
    /// `g = 1` and `b = 0`.
    ///
    /// # Errors
    /// [`Problem::NormLayer`] where tensors are missing or of another shape.
    pub(super) fn batch_norm(&self) -> Result<(Vec<f64>, Vec<f64>), Problem> {
        let wrong = || Problem::NormLayer { stem: self.name.clone() };
        let vector = |part: &str| match self.array(part) {
            Some(array) if array.shape.len() == 1 => self.floats(part).map(|t| Some(t.floats())),
            Some(_) => Err(wrong()),
            None => Ok(None),
        };
        let known = ["weight", "bias", "mean", "variance", "batches"];
        if !self.parts.keys().all(|part| known.contains(part)) || !self.parts.contains_key("batches") {
            return Err(wrong());
        }
        let (mean, variance) = (vector("mean")?.ok_or_else(wrong)?, vector("variance")?.ok_or_else(wrong)?);
        let width = mean.len();
        let (scale, shift) = match (vector("weight")?, vector("bias")?) {
            (Some(scale), Some(shift)) => (scale, shift),
            (None, None) => (vec![1.0; width], vec![0.0; width]),
            _ => return Err(wrong()),
        };
        if [variance.len(), scale.len(), shift.len()] != [width; 3] || variance.iter().any(|v| *v < 0.0) {
            return Err(wrong());
        }
        let factor: Vec<f64> =
            scale.iter().zip(&variance).map(|(g, v)| g / (v + BATCH_EPSILON).sqrt()).collect();
        let offset = shift.iter().zip(&mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
        Ok((factor, offset))
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Computed values in binary32, or in binary64 where the stored ones are.
fn rounded(stored: &TensorData, values: &[f64]) -> TensorData {
    match stored.dtype {
        TensorDtype::F64 => TensorData::from_f64(stored.shape.clone(), values),
        _ => {
            TensorData::from_f32(stored.shape.clone(), &values.iter().map(|v| *v as f32).collect::<Vec<_>>())
        }
    }
}

/// `diag(scale) W` and `scale b + shift`, in binary64: a normalisation after the layer.
pub(super) fn fold_after(
    weight: &mut TensorData,
    bias: &mut TensorData,
    scale: &[f64],
    shift: &[f64],
) -> bool {
    let &[rows, columns] = weight.shape.as_slice() else { return false };
    if columns == 0 || [rows, bias.entries()] != [scale.len(); 2] {
        return false;
    }
    let (w, b) = (weight.floats(), bias.floats());
    let folded: Vec<f64> = w.iter().enumerate().map(|(i, w)| w * scale[i / columns]).collect();
    let moved: Vec<f64> = b.iter().zip(scale).zip(shift).map(|((b, s), t)| b * s + t).collect();
    *weight = TensorData::from_f64(vec![rows, columns], &folded);
    *bias = TensorData::from_f64(vec![rows], &moved);
    true
}

/// `W diag(scale)` and `b + W shift`, in binary64: a normalisation before the layer.
pub(super) fn fold_before(
    weight: &mut TensorData,
    bias: &mut TensorData,
    scale: &[f64],
    shift: &[f64],
) -> bool {
    let &[rows, columns] = weight.shape.as_slice() else { return false };
    if columns == 0 || columns != scale.len() || bias.entries() != rows {
        return false;
    }
    let (w, b) = (weight.floats(), bias.floats());
    let folded: Vec<f64> = w.iter().enumerate().map(|(i, w)| w * scale[i % columns]).collect();
    let moved: Vec<f64> = w.chunks_exact(columns).zip(&b).map(|(row, b)| b + dot(row, shift)).collect();
    *weight = TensorData::from_f64(vec![rows, columns], &folded);
    *bias = TensorData::from_f64(vec![rows], &moved);
    true
}
