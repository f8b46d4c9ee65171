//! Observation statistics that stand beside the layers in a state dictionary. Untrusted. `spec/import.md#normalisers`.
//!
//! # References
//! leggedrobotics/rsl_rl, `rsl_rl/modules/normalization.py`, `EmpiricalNormalization.forward`; Denys88/rl_games,
//! `rl_games/algos_torch/running_mean_std.py`, `RunningMeanStd.forward`; Stable-Baselines3,
//! `common/vec_env/vec_normalize.py`, `_normalize_obs`.

use super::array::{Array, Arrays};
use super::names::segments;
use crate::import::problem::{ImportOptions, Problem, number};
use crate::policy::{NormaliserData, Scaling, TensorData};

/// Added to the stored deviation by rsl_rl.
const RSL_RL: f64 = 1e-2;
/// Added to the stored variance by rl_games, and its clip radius.
const RL_GAMES: (f64, &str) = (1e-5, "5");
/// Words of modules that normalise observations.
const WORDS: [&str; 8] =
    ["norm", "normalizer", "normaliser", "normalization", "rms", "running_mean_std", "stats", "filter"];

/// One group of statistics: what its arrays share in their names, and how they are used.
pub(super) struct Statistics<'a> {
    /// The shared beginning of the names, with its dot or underscore.
    pub(super) stem: String,
    /// Its arrays, with their names.
    pub(super) arrays: Vec<(&'a str, &'a Array)>,
    layout: Layout,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `mean` and `std`: `(x - mean) / std`.
    Plain,
    /// `_mean`, `_std`, `_var`, `count` of rsl_rl.
    RslRl,
    /// `running_mean_std.running_mean`, `running_var`, `count` of rl_games.
    RlGames,
    /// `mean`, `var`, `count`: what is added and where it is clipped is not in the arrays.
    MeanVariance,
}

impl Layout {
    /// Leaves that the layout must have, and those that it may have.
    fn leaves(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Plain => (&["mean", "std"], &["clip"]),
            Self::RslRl => (&["_mean", "_std"], &["_var", "count"]),
            Self::RlGames => (&["running_mean", "running_var"], &["count"]),
            Self::MeanVariance => (&["mean", "var"], &["count", "epsilon", "clip", "clip_obs"]),
        }
    }
}

/// All groups of observation statistics among the names, each of a known layout.
pub(super) fn groups<'a>(named: &[(&'a str, &'a Array)]) -> Vec<Statistics<'a>> {
    let mut groups = Vec::new();
    for &(name, _) in named {
        let Some((stem, layout)) = recognise(name) else { continue };
        let (must, may) = layout.leaves();
        let arrays: Vec<(&str, &Array)> = named
            .iter()
            .filter(|(other, _)| {
                other.strip_prefix(stem).is_some_and(|leaf| must.contains(&leaf) || may.contains(&leaf))
            })
            .copied()
            .collect();
        let has = |leaf: &&str| arrays.iter().any(|(other, _)| other.strip_prefix(stem) == Some(*leaf));
        if must.iter().all(has) {
            groups.push(Statistics { stem: stem.to_owned(), arrays, layout });
        }
    }
    groups
}

/// The stem and layout that the second of a layout's leaves shows.
fn recognise(name: &str) -> Option<(&str, Layout)> {
    if super::names::of_other_values(name) {
        return None;
    }
    if let Some(stem) = name.strip_suffix("_std").filter(|stem| stem.ends_with('.')) {
        return Some((stem, Layout::RslRl));
    }
    if let Some(stem) = name.strip_suffix("running_var") {
        let module = segments(stem.strip_suffix('.')?).last().copied()?.to_owned();
        return (module == "running_mean_std").then_some((stem, Layout::RlGames));
    }
    let module = |stem: &str| {
        let last = stem.trim_end_matches(['.', '_']);
        segments(last).last().is_some_and(|part| {
            let lower = part.to_ascii_lowercase();
            WORDS.iter().any(|word| lower.split('_').any(|w| w == *word) || lower == *word)
        })
    };
    if let Some(stem) = name.strip_suffix("std") {
        let known = ["obs_norm.", "normaliser.", "obs_"].contains(&stem);
        return known.then_some((stem, Layout::Plain));
    }
    let stem = name.strip_suffix("var").filter(|stem| stem.ends_with('.'))?;
    module(stem).then_some((stem, Layout::MeanVariance))
}

impl Statistics<'_> {
    fn array(&self, leaf: &str) -> Option<(&str, &Array)> {
        let wanted = format!("{}{leaf}", self.stem);
        self.arrays.iter().find(|(name, _)| *name == wanted).copied()
    }

    /// A row of statistics; `[n]`, or `[1, n]` as modules with a batch axis store it.
    fn row(&self, leaf: &str) -> Result<TensorData, Problem> {
        let (name, array) =
            self.array(leaf).ok_or_else(|| Problem::Missing(format!("{}{leaf}", self.stem)))?;
        let mut tensor = array.floats(name)?;
        if let &[1, n] = tensor.shape.as_slice() {
            tensor.shape = vec![n];
        }
        Ok(tensor)
    }

    fn one(&self, leaf: &str, arrays: &Arrays) -> Result<Option<String>, Problem> {
        if let Some((name, array)) = self.array(leaf) {
            let exact = array.floats(name)?.dyadics();
            return match exact.as_deref() {
                Ok([only]) => Ok(Some(only.to_rational().to_string())),
                _ => Err(Problem::Normaliser("its clip or epsilon is not one finite number")),
            };
        }
        Ok(arrays
            .metadata
            .get(&format!("{}{leaf}", self.stem))
            // an outermost epsilon or clip of a checkpoint may be the training's: exploration, or PPO's
            .or_else(|| arrays.metadata.get(leaf).filter(|_| !arrays.pickled))
            .cloned())
    }

    /// `(x - mean) / std`, clipped, as the layout's source does.
    ///
    /// # Errors
    /// [`Problem::Statistics`] where the file does not say what is added or where it is clipped, and nobody else does.
    pub(super) fn normaliser(
        &self,
        arrays: &Arrays,
        options: &ImportOptions,
    ) -> Result<NormaliserData, Problem> {
        if options.normaliser_epsilon.is_some() && self.layout != Layout::MeanVariance {
            let reason = format!("{:?} has deviations, or a rule of its own", self.stem);
            return Err(Problem::NoEffect { option: "--normaliser-epsilon", reason });
        }
        match self.layout {
            Layout::Plain => {
                let clip = self.one("clip", arrays)?.filter(|text| !none(text));
                let clip =
                    clip.map(|text| number("normaliser clip", &text).map(|n| n.to_string())).transpose()?;
                Ok(NormaliserData { mean: self.row("mean")?, scaling: Scaling::Std(self.row("std")?), clip })
            }
            Layout::RslRl => {
                let std = self.row("_std")?;
                if self.array("_var").is_some() && !same_deviations(&std, &self.row("_var")?) {
                    return Err(Problem::Normaliser("its _std is not the root of its _var"));
                }
                let std = shifted(&std, |s| s + RSL_RL);
                Ok(NormaliserData { mean: self.row("_mean")?, scaling: Scaling::Std(std), clip: None })
            }
            Layout::RlGames => {
                let std = shifted(&self.row("running_var")?, |v| (v + RL_GAMES.0).sqrt());
                let clip = Some(RL_GAMES.1.to_owned());
                Ok(NormaliserData { mean: self.row("running_mean")?, scaling: Scaling::Std(std), clip })
            }
            Layout::MeanVariance => self.stated(arrays, options),
        }
    }

    fn stated(&self, arrays: &Arrays, options: &ImportOptions) -> Result<NormaliserData, Problem> {
        let own = (self.one("epsilon", arrays)?, self.one("clip_obs", arrays)?.or(self.one("clip", arrays)?));
        if let (Some(stated), Some(own)) = (&options.normaliser_epsilon, &own.0)
            && number("normaliser epsilon", stated)? != number("normaliser epsilon", own)?
        {
            let (given, file) = (stated.clone(), own.clone());
            return Err(Problem::Contradicts { option: "--normaliser-epsilon", given, file });
        }
        let epsilon = options.normaliser_epsilon.clone().or(own.0);
        let clip = options.clip.clone().or(own.1);
        let (Some(epsilon), Some(clip)) = (epsilon, clip) else {
            return Err(Problem::Statistics { stem: self.stem.trim_end_matches('.').to_owned() });
        };
        let added: f64 = epsilon.parse().map_err(|e| Problem::Number {
            name: "normaliser epsilon",
            text: epsilon.clone(),
            reason: format!("{e}"),
        })?;
        let clip = Some(clip).filter(|text| !none(text));
        let clip = clip.map(|text| number("normaliser clip", &text).map(|n| n.to_string())).transpose()?;
        let std = shifted(&self.row("var")?, |v| (v + added).sqrt());
        Ok(NormaliserData { mean: self.row("mean")?, scaling: Scaling::Std(std), clip })
    }
}

/// Whether a clip radius says that there is none.
pub(super) fn none(text: &str) -> bool {
    ["", "none"].contains(&text.to_ascii_lowercase().as_str())
}

fn shifted(tensor: &TensorData, change: impl Fn(f64) -> f64) -> TensorData {
    let values: Vec<f64> = tensor.floats().into_iter().map(change).collect();
    TensorData::from_f64(tensor.shape.clone(), &values)
}

/// Whether deviations are the roots of variances, as far as binary32 tells.
fn same_deviations(std: &TensorData, var: &TensorData) -> bool {
    let (std, var) = (std.floats(), var.floats());
    std.len() == var.len()
        && std.iter().zip(&var).all(|(s, v)| (s * s - v).abs() <= 1e-4 * v.abs().max(1e-30))
}
