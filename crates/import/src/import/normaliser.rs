//! Observation normalisers in files of their own: `vecnormalize` pickles, `.npz`, `.safetensors`. Untrusted.
//! `spec/import-sb3.md#normaliser-files`.
//!
//! The stored `std` is the meaning; where a file holds a variance, `std = sqrt(var + epsilon)` is computed once in
//! binary64, as Stable-Baselines3 does.

use super::array::{Array, Arrays};
use super::pickle::{Node, Pickle, is_old_pickle, is_pickle};
use super::{foreign, torch};
use crate::import::kind::arrays_of;
use crate::import::problem::{ImportError, ImportOptions, Problem, number, read_capped};
use crate::policy::{NormaliserData, Scaling, TensorData};
use secateur_checker::number::Dyadic;
use std::path::Path;

/// Where names of a normaliser's arrays may begin.
const STEMS: [&str; 8] =
    ["", "obs_norm.", "normaliser.", "normalizer.", "obs_", "obs_rms.", "rms.", "running_mean_std."];
/// Names of arrays that say how many observations were seen.
const COUNTS: [&str; 4] = ["count", "n", "running_count", "num_batches_tracked"];
/// What Stable-Baselines3, Gymnasium and Baselines add to a variance unless told otherwise.
const EPSILON: f64 = 1e-8;
/// Classes that hold a `RunningMeanStd` as `obs_rms`, `epsilon` and perhaps a clip radius.
const WRAPPERS: [&str; 2] = ["VecNormalize", "NormalizeObservation"];

/// Packages whose wrappers are known.
const LIBRARIES: [&str; 8] = [
    "stable_baselines3",
    "stable_baselines",
    "baselines",
    "gymnasium",
    "gym",
    "sb3_contrib",
    "a2c_ppo_acktr",
    "rl_zoo3",
];

/// Reads a normaliser from a `vecnormalize` pickle or from arrays `mean` and `std` (or `var`).
///
/// # Errors
/// [`ImportError`]; a `vecnormalize` file with `norm_obs = False`, a normaliser of dictionary observations and arrays
/// that nobody reads are refused by name.
pub fn read_normaliser(path: &Path) -> Result<NormaliserData, ImportError> {
    read_with_notes(path, &ImportOptions::default(), &mut Vec::new())
}

/// As [`read_normaliser`]; what the file does not say goes to `notes`.
pub(super) fn read_with_notes(
    path: &Path,
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<NormaliserData, ImportError> {
    let bytes = read_capped(path)?;
    let read = read(&bytes).and_then(|statistics| statistics.settle(options, notes));
    read.map_err(|problem| ImportError { file: path.to_owned(), problem })
}

fn said(text: impl Into<String>) -> Problem {
    Problem::NormaliserFile(text.into())
}

fn read(bytes: &[u8]) -> Result<Statistics, Problem> {
    if let Some(problem) = foreign::known(bytes)? {
        return Err(problem);
    }
    if crate::import::kind::is_stable_baselines(bytes) {
        return Err(foreign::model_as_normaliser());
    }
    if is_pickle(bytes) || is_old_pickle(bytes) {
        let (pickle, root, _) = Pickle::parse(bytes, 0)?;
        if !torch::is_legacy(&pickle, root) {
            return from_pickle(&pickle, root);
        }
    }
    match arrays_of(bytes) {
        Ok(arrays) => from_arrays(&arrays),
        Err(Problem::UnknownFormat) => Err(said(
            "is no vecnormalize pickle, .npz, .safetensors or PyTorch file; save mean, std and clip as .npz",
        )),
        Err(other) => Err(other),
    }
}

/// What a file says, before what it leaves out is settled.
struct Statistics {
    mean: TensorData,
    spread: Spread,
    clip: Option<String>,
}

enum Spread {
    Std(TensorData),
    Variance { values: TensorData, epsilon: Option<f64> },
}

impl Statistics {
    fn settle(self, options: &ImportOptions, notes: &mut Vec<String>) -> Result<NormaliserData, Problem> {
        let option = "--normaliser-epsilon";
        let stated = options.normaliser_epsilon.as_ref().map(|text| {
            text.parse::<f64>().map_err(|e| Problem::Number {
                name: "epsilon",
                text: text.clone(),
                reason: e.to_string(),
            })
        });
        let std = match (self.spread, stated.transpose()?) {
            (Spread::Std(_), Some(_)) => {
                let reason = "the normaliser holds standard deviations".to_owned();
                return Err(Problem::NoEffect { option, reason });
            }
            (Spread::Variance { epsilon: Some(own), .. }, Some(stated)) if own != stated => {
                let (given, file) = (format!("{stated:e}"), format!("{own:e}"));
                return Err(Problem::Contradicts { option, given, file });
            }
            (Spread::Std(std), None) => std,
            (Spread::Variance { values, epsilon }, stated) => {
                let epsilon = epsilon.or(stated);
                if epsilon.is_none() {
                    notes.push(format!(
                        "the normaliser holds a variance and no epsilon: std = sqrt(var + {EPSILON:e}), as \
                         Stable-Baselines3 and Gymnasium compute it"
                    ));
                }
                deviations(&values, epsilon.unwrap_or(EPSILON))?
            }
        };
        if self.clip.is_none() && options.clip.is_none() {
            notes.push(
                "the normaliser holds no clip radius: its values are not clipped; VecNormalize clips at 10 \
                 (--clip 10)"
                    .into(),
            );
        }
        Ok(NormaliserData { mean: self.mean, scaling: Scaling::Std(std), clip: self.clip })
    }
}

/// `sqrt(var + epsilon)` in binary64.
fn deviations(values: &TensorData, epsilon: f64) -> Result<TensorData, Problem> {
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(said(format!("its epsilon is {epsilon}")));
    }
    let floats = values.floats();
    if let Some((index, value)) = floats.iter().enumerate().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
        return Err(said(format!("its variance {index} is {value}")));
    }
    let std: Vec<f64> = floats.iter().map(|v| (v + epsilon).sqrt()).collect();
    Ok(TensorData::from_f64(values.shape.clone(), &std))
}

fn from_arrays(arrays: &Arrays) -> Result<Statistics, Problem> {
    let known = |stem: &str| {
        let has = |name: &str| arrays.named.contains_key(&format!("{stem}{name}"));
        has("mean") || has("running_mean")
    };
    let names = || arrays.named.keys().take(8).cloned().collect::<Vec<_>>().join(", ");
    let Some(stem) = STEMS.iter().find(|stem| known(stem)) else {
        return Err(said(format!("no mean among its arrays ({})", names())));
    };
    let mut found = Fields::default();
    for (name, array) in &arrays.named {
        let field = name.strip_prefix(stem).unwrap_or("");
        found.array(field, name, array)?;
    }
    let noted = |leaf: &str| {
        let own = arrays.metadata.get(&format!("{stem}{leaf}"));
        own.or_else(|| arrays.metadata.get(leaf)).filter(|text| !matches!(&text[..], "None" | "none" | ""))
    };
    if let Some(text) = noted("clip").or_else(|| noted("clip_obs")) {
        found.clip = Some(Some(number("normaliser clip", text)?.to_string()));
    }
    if let Some(text) = noted("epsilon").or_else(|| noted("eps")) {
        let wrong = |_| said(format!("its epsilon is {text:?}"));
        found.epsilon = Some(text.parse().map_err(wrong)?);
    }
    if *stem == "running_mean_std." {
        // rl_games: RunningMeanStd.forward clamps at 5 and adds 1e-5
        found.epsilon = found.epsilon.or(Some(1e-5));
        found.clip = found.clip.or(Some(Some("5".into())));
    } else if found.running && found.epsilon.is_none() {
        return Err(said(
            "running_mean and running_var are of several libraries that differ in epsilon and clip radius; add an \
             array epsilon (and clip), or save mean, std and clip",
        ));
    }
    found.statistics()
}

/// Named numbers and arrays of a normaliser.
#[derive(Default)]
struct Fields {
    mean: Option<TensorData>,
    std: Option<TensorData>,
    variance: Option<TensorData>,
    epsilon: Option<f64>,
    /// The clip radius; the inner `None` says that there is none.
    clip: Option<Option<String>>,
    running: bool,
}

impl Fields {
    fn array(&mut self, field: &str, name: &str, array: &Array) -> Result<(), Problem> {
        let scalar = || array.number().ok_or_else(|| said(format!("its {name} is not one number")));
        let place = match field {
            "mean" => &mut self.mean,
            "running_mean" => {
                self.running = true;
                &mut self.mean
            }
            "std" => &mut self.std,
            "var" | "variance" | "running_var" => &mut self.variance,
            "epsilon" | "eps" => {
                self.epsilon = Some(scalar()?);
                return Ok(());
            }
            "clip" | "clip_obs" | "clipob" => {
                self.clip = Some(clip_of(scalar()?)?);
                return Ok(());
            }
            _ if COUNTS.contains(&field) => return Ok(()),
            _ => {
                return Err(said(format!(
                    "array {name:?} is no part of a normaliser (mean, std or var, epsilon, clip, count)"
                )));
            }
        };
        if place.replace(array.floats(name)?).is_some() {
            return Err(said(format!("it holds {name:?} twice, under two names")));
        }
        Ok(())
    }

    fn statistics(self) -> Result<Statistics, Problem> {
        let mean = self.mean.ok_or_else(|| Problem::Missing("mean".into()))?;
        let spread = match (self.std, self.variance) {
            (Some(_), Some(_)) => return Err(said("it holds both std and var; keep the one that is used")),
            (Some(_), None) if self.epsilon.is_some() => {
                return Err(said(
                    "it holds std and an epsilon: say what is divided by, and store that as std alone",
                ));
            }
            (Some(std), None) => Spread::Std(std),
            (None, Some(values)) => Spread::Variance { values, epsilon: self.epsilon },
            (None, None) => return Err(Problem::Missing("std".into())),
        };
        Ok(Statistics { mean, spread, clip: self.clip.flatten() })
    }
}

fn clip_of(value: f64) -> Result<Option<String>, Problem> {
    if value == f64::INFINITY { Ok(None) } else { exact_text(value).map(Some) }
}

fn from_pickle(pickle: &Pickle, root: usize) -> Result<Statistics, Problem> {
    if let Some(statistics) = pickle.attribute(root, "obs_rms").or_else(|| pickle.attribute(root, "ob_rms")) {
        return from_wrapper(pickle, root, statistics);
    }
    match pickle.node(root) {
        Node::Call { .. } => match pickle.class_path(root) {
            Some((_, "RunningMeanStd")) => running(pickle, root)?.statistics(),
            Some((_, "ZFilter")) => {
                let read = from_zfilter(pickle, root)?;
                Ok(Statistics {
                    mean: read.mean,
                    spread: Spread::Std(read.scaling.tensor().clone()),
                    clip: read.clip,
                })
            }
            Some((_, "VecNormalize")) => Err(said(
                "it has no obs_rms: observations are not normalised (norm_obs=False), give no normaliser",
            )),
            _ => Err(foreign::pickle(pickle, root)),
        },
        Node::Dict(_) => match pickle.entry(root, "obs_rms") {
            Some(inner) => {
                let mut fields = running(pickle, inner)?;
                let names = ["obs_rms", "ret_rms"];
                fields.entries(pickle, root, &names)?;
                fields.statistics()
            }
            None => {
                refuse_dictionary(pickle, root)?;
                let mut fields = Fields::default();
                fields.entries(pickle, root, &[])?;
                fields.statistics()
            }
        },
        Node::Tuple(_) | Node::List(_) => Err(said(
            "it is a bare sequence of values, which does not say what they are (variance or standard deviation); \
             save numpy.savez(\"obs.npz\", mean=..., var=..., epsilon=..., clip=...)",
        )),
        _ => Err(foreign::pickle(pickle, root)),
    }
}

/// `VecNormalize` and Gymnasium's `NormalizeObservation`.
fn from_wrapper(pickle: &Pickle, root: usize, statistics: usize) -> Result<Statistics, Problem> {
    let class = pickle.class(root).unwrap_or("?");
    if !WRAPPERS.contains(&class) {
        return Err(said(format!(
            "it is of class {class}, whose formula is not known; save mean, std and clip"
        )));
    }
    let own = pickle.class_path(root).map_or("", |(module, _)| module.split('.').next().unwrap_or(module));
    if !LIBRARIES.contains(&own) {
        return Err(said(format!(
            "its class {class} is of {own:?}, whose formula is not known; save mean, std and clip"
        )));
    }
    match pickle.attribute(root, "norm_obs").map(|v| (pickle.boolean(v), pickle.float(v))) {
        None | Some((Some(true), _) | (None, Some(1.0))) => {}
        Some((Some(false), _) | (None, Some(0.0))) => {
            return Err(said("norm_obs is False: observations are not normalised, give no normaliser"));
        }
        Some(_) => return Err(said("its norm_obs is neither True nor False; save mean, std and clip")),
    }
    let mut fields = running(pickle, statistics)?;
    let value = |name: &str| match pickle.attribute(root, name) {
        Some(node) => match pickle.float(node) {
            Some(value) => Ok(Some(value)),
            None => Err(said(format!("its {name} is no number"))),
        },
        None => Ok(None),
    };
    fields.epsilon = value("epsilon")?;
    fields.clip = match (value("clip_obs")?, value("clipob")?) {
        (Some(clip), _) | (None, Some(clip)) => Some(clip_of(clip)?),
        (None, None) if class == "VecNormalize" => return Err(Problem::Missing("clip_obs".into())),
        (None, None) => None,
    };
    if fields.epsilon.is_none() {
        return Err(Problem::Missing("epsilon".into()));
    }
    fields.statistics()
}

/// A `RunningMeanStd`, as an object or as a dictionary.
fn running(pickle: &Pickle, node: usize) -> Result<Fields, Problem> {
    refuse_dictionary(pickle, node)?;
    let mut fields = Fields::default();
    match pickle.node(node) {
        Node::Call { state: Some(state), .. } => fields.entries(pickle, *state, &[])?,
        _ => fields.entries(pickle, node, &[])?,
    }
    Ok(fields)
}

/// Statistics by observation key, as `VecNormalize` keeps them for dictionary observations.
fn refuse_dictionary(pickle: &Pickle, node: usize) -> Result<(), Problem> {
    let inner =
        |value: usize| pickle.attribute(value, "mean").or_else(|| pickle.entry(value, "mean")).is_some();
    let keys: Vec<&str> = match pickle.node(node) {
        Node::Dict(entries) => entries
            .iter()
            .filter(|&&(_, value)| inner(value))
            .filter_map(|&(key, _)| pickle.text(key))
            .collect(),
        _ => Vec::new(),
    };
    if keys.is_empty() {
        return Ok(());
    }
    Err(said(format!(
        "it is a Dict normaliser: statistics by observation key ({}); dictionary observations are not read. If the \
         policy reads one key only, save that key's mean, std and clip as .npz",
        keys.join(", ")
    )))
}

impl Fields {
    /// Every entry of a dictionary of arrays and numbers, but for those read elsewhere.
    fn entries(&mut self, pickle: &Pickle, node: usize, elsewhere: &[&str]) -> Result<(), Problem> {
        for &(key, value) in pickle.entries(node) {
            let Some(key) = pickle.text(key) else { return Err(said("it has a key that is no text")) };
            if elsewhere.contains(&key) || COUNTS.contains(&key) {
                continue;
            }
            match plain_array(pickle, key, value)? {
                Some(array) => self.array(key, key, &array)?,
                None => {
                    return Err(said(format!(
                        "{key:?} is no part of a normaliser (mean, std or var, epsilon, clip)"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// A NumPy array, a number, or a list of numbers.
fn plain_array(pickle: &Pickle, name: &str, node: usize) -> Result<Option<Array>, Problem> {
    if let Some(array) = pickle.array(name, node)? {
        return Ok(Some(array));
    }
    let values: Option<Vec<f64>> = match pickle.node(node) {
        Node::List(items) | Node::Tuple(items) => items.iter().map(|&item| pickle.float(item)).collect(),
        _ => {
            let Some(value) = pickle.float(node) else { return Ok(None) };
            let tensor = TensorData::from_f64(vec![], &[value]);
            return Array::of(name, tensor).map(Some);
        }
    };
    values.map(|v| Array::of(name, TensorData::from_f64(vec![v.len()], &v))).transpose()
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
