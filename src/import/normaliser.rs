//! Observation normalisers in files of their own: `vecnormalize` pickles, `.npz`, `.safetensors`. Untrusted.
//! `spec/semantics.md#files`.
//!
//! The stored `std` is the meaning; where a file holds a variance, `std = sqrt(var + epsilon)` is computed once in
//! binary64, as Stable-Baselines3 does.

use super::array::{Array, Arrays};
use super::pickle::{Pickle, is_pickle};
use super::{ImportError, Problem, arrays_of, named, number, read_capped};
use crate::policy::{NormaliserData, Scaling, TensorData};
use secateur_checker::number::Dyadic;
use std::path::Path;

/// Reads a normaliser from a `vecnormalize` pickle or from arrays `mean` and `std` (or `var`, with 1e-8 added).
///
/// # Errors
/// [`ImportError`]; a `vecnormalize` file with `norm_obs = False` is refused.
pub fn read_normaliser(path: &Path) -> Result<NormaliserData, ImportError> {
    let bytes = read_capped(path)?;
    let read =
        if is_pickle(&bytes) { from_pickle(&bytes) } else { arrays_of(&bytes).and_then(|a| from_arrays(&a)) };
    read.map_err(|problem| ImportError { file: path.to_owned(), problem })
}

fn from_arrays(arrays: &Arrays) -> Result<NormaliserData, Problem> {
    if let Some(found) = named::find_normaliser(arrays)? {
        return Ok(found);
    }
    let mean = arrays.named.get("mean").ok_or_else(|| Problem::Missing("mean".into()))?.floats("mean")?;
    let std = match (arrays.named.get("std"), arrays.named.get("var")) {
        (Some(std), _) => std.floats("std")?,
        (None, Some(var)) => deviations(var, 1e-8)?,
        (None, None) => return Err(Problem::Missing("std".into())),
    };
    let clip = match (arrays.metadata.get("clip"), arrays.named.get("clip").and_then(Array::tensor)) {
        (Some(text), _) if text != "None" => Some(number("normaliser clip", text)?.to_string()),
        (_, Some(value)) => match value.dyadics().as_deref() {
            Ok([clip]) => Some(clip.to_rational().to_string()),
            _ => return Err(Problem::Normaliser("its clip is not one finite number")),
        },
        _ => None,
    };
    Ok(NormaliserData { mean, scaling: Scaling::Std(std), clip })
}

/// `sqrt(var + epsilon)` in binary64.
fn deviations(var: &Array, epsilon: f64) -> Result<TensorData, Problem> {
    let var = var.floats("var")?;
    let std: Vec<f64> = var.floats().iter().map(|v| (v + epsilon).sqrt()).collect();
    Ok(TensorData::from_f64(var.shape, &std))
}

fn from_pickle(bytes: &[u8]) -> Result<NormaliserData, Problem> {
    let (pickle, root, _) = Pickle::parse(bytes, 0)?;
    if pickle.attribute(root, "norm_obs").and_then(|v| pickle.boolean(v)) == Some(false) {
        return Err(Problem::Normaliser(
            "norm_obs is False: observations are not normalised, give no normaliser",
        ));
    }
    let missing = |name: &str| Problem::Missing(name.to_owned());
    let statistics = pickle.attribute(root, "obs_rms").ok_or_else(|| missing("obs_rms"))?;
    let read = |name: &'static str| {
        let node = pickle.attribute(statistics, name);
        node.and_then(|node| pickle.array(name, node).transpose()).unwrap_or_else(|| Err(missing(name)))
    };
    let float = |name: &'static str| {
        let node = pickle.attribute(root, name).ok_or_else(|| missing(name))?;
        pickle.float(node).ok_or(Problem::Normaliser("epsilon or clip_obs is no number"))
    };
    let (mean, var) = (read("mean")?, read("var")?);
    let std = deviations(&var, float("epsilon")?)?;
    Ok(NormaliserData {
        mean: mean.floats("mean")?,
        scaling: Scaling::Std(std),
        clip: Some(exact_text(float("clip_obs")?)?),
    })
}

/// A finite binary64 number as an exact decimal integer or fraction.
pub(super) fn exact_text(value: f64) -> Result<String, Problem> {
    let exact =
        Dyadic::from_ieee(value.to_bits(), 52, 11).ok_or(Problem::Normaliser("its clip is not finite"))?;
    Ok(exact.to_rational().to_string())
}

/// The `ZFilter` of WocaR and SA-PPO checkpoints: `clip((x - M) / (sqrt(S / (n - 1)) + 1e-8), -clip, clip)`.
pub(super) fn from_zfilter(pickle: &Pickle, filter: usize) -> Result<NormaliserData, Problem> {
    let missing = |name: &str| Problem::Missing(name.to_owned());
    let statistics = pickle.attribute(filter, "rs").ok_or_else(|| missing("rs"))?;
    let read = |name: &'static str| {
        let node = pickle.attribute(statistics, name);
        node.and_then(|node| pickle.array(name, node).transpose()).unwrap_or_else(|| Err(missing(name)))
    };
    let (mean, squares) = (read("_M")?.floats("_M")?, read("_S")?.floats("_S")?);
    let count =
        pickle.attribute(statistics, "_n").and_then(|n| pickle.float(n)).ok_or_else(|| missing("_n"))?;
    if count < 2.0 {
        return Err(Problem::Normaliser("it has seen fewer than two observations"));
    }
    let std: Vec<f64> = squares.floats().iter().map(|s| (s / (count - 1.0)).sqrt() + 1e-8).collect();
    let clip = pickle.attribute(filter, "clip").and_then(|c| pickle.float(c)).map(exact_text).transpose()?;
    Ok(NormaliserData { scaling: Scaling::Std(TensorData::from_f64(mean.shape.clone(), &std)), mean, clip })
}
