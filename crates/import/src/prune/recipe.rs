//! From a policy directory and a few words to a chain of masks. Untrusted. `spec/pruning.md`.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use secateur_checker::load::{Failure, MaskDirectory, PolicyDirectory, load_states};
use secateur_checker::model::Units;
use secateur_checker::number::Dyadic;
use secateur_checker::reader::mask::parse_mask;
use serde::Deserialize;

use super::saliency::fisher_scores;
use super::{Method, PruneError, Scope, prune, scores_from};
use crate::float::policy::{FloatPolicy, FloatPolicyError};
use crate::import::{ImportError, read_arrays};
use crate::policy::emit::{ChainOrigin, add_mask_chain, mask_file_name};
use crate::policy::mask::MaskData;
use crate::policy::read::policy_data;
use crate::policy::write::FileSet;
use crate::policy::{PolicyData, TensorData};

/// Why there are no masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A file is unreadable or malformed.
    #[error("{0}")]
    Load(Failure),
    /// The file of scores cannot be read.
    #[error(transparent)]
    Arrays(#[from] ImportError),
    /// The policy cannot be lowered to floats.
    #[error(transparent)]
    Float(#[from] FloatPolicyError),
    /// A malformed sparsity, or scores that do not fit.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// Method saliency without scores, or with both kinds.
    #[error("method saliency needs one of: --scores, a file of scores; --states, a file of states")]
    Scores,
    /// States of another width, or none.
    #[error("{}: {rows} x {columns}, but the policy reads rows of {inputs}; give at least one", .path.display())]
    States {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// Inputs of the policy.
        inputs: usize,
    },
    /// A defect of this program.
    #[error("a loaded policy did not read back")]
    Policy,
    /// A defect of this program.
    #[error("{0}")]
    ReadBack(String),
    /// A defect of this program.
    #[error("states of one width made no table")]
    Internal,
}

impl RecipeError {
    /// The exit code of a command that ends for this reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Load(failure) => failure.exit_code(),
            Self::Policy | Self::ReadBack(_) | Self::Internal => 4,
            _ => 2,
        }
    }
}

/// What is pruned first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum MethodWord {
    /// Smallest magnitude first.
    Magnitude,
    /// A seeded random order.
    Random,
    /// Smallest score first: from a file of scores, or from states.
    Saliency,
}

impl MethodWord {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Random => "random",
            Self::Saliency => "saliency",
        }
    }
}

/// How to prune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What goes first.
    pub method: MethodWord,
    /// Over which weights the fraction is counted.
    pub scope: Scope,
    /// Fractions pruned, increasing; decimals or fractions, read exactly.
    pub sparsity: Vec<String>,
    /// Seed of a random order.
    pub seed: u64,
    /// Scores to rank by: an .npz or .safetensors with one table per weight.
    pub scores: Option<PathBuf>,
    /// Or the states (.npy) at which scores are taken.
    pub states: Option<PathBuf>,
    /// Their units.
    pub state_units: Units,
}

impl Recipe {
    /// Names of the masks it will make.
    pub fn names(&self) -> Vec<String> {
        mask_names(self.sparsity.len())
    }

    /// The files it reads beside the policy's.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.scores.iter().chain(&self.states)
    }
}

/// The tables of scores that method saliency ranks by.
fn saliency(
    policy: &PolicyDirectory,
    data: &PolicyData,
    recipe: &Recipe,
) -> Result<Vec<TensorData>, RecipeError> {
    match (&recipe.scores, &recipe.states) {
        (Some(path), None) => {
            let arrays = read_arrays(path)?;
            Ok(scores_from(&arrays, data)?)
        }
        (None, Some(path)) => {
            let (states, _) = load_states(path, recipe.state_units).map_err(RecipeError::Load)?;
            let float = FloatPolicy::from_data(data)?;
            let (rows, columns) = (states.values.rows, states.values.columns);
            let inputs = policy.files.policy.network.layers.first().map_or(0, |layer| layer.weight.columns);
            if columns != inputs || rows == 0 {
                return Err(RecipeError::States { path: path.clone(), rows, columns, inputs });
            }
            let values: Vec<f64> = states.values.values.iter().map(|entry| float_of(*entry)).collect();
            let values = values.chunks_exact(columns).flat_map(|row| match states.units {
                Units::Raw => float.normaliser.apply(row),
                Units::Normalised => row.to_vec(),
            });
            let table = Array2::from_shape_vec((rows, columns), values.collect());
            let table = table.map_err(|_| RecipeError::Internal)?;
            let scores = fisher_scores(&float, table.view());
            let pairs = scores.iter().zip(&data.layers);
            Ok(pairs
                .map(|(scores, layer)| TensorData::from_f64(layer.weight.shape.clone(), scores))
                .collect())
        }
        _ => Err(RecipeError::Scores),
    }
}

/// A stored float as `f64`: exact, since the mantissa has at most 53 bits.
fn float_of(entry: Dyadic) -> f64 {
    // In two steps, because 2^exponent alone may be subnormal.
    let half = entry.exponent / 2;
    entry.mantissa as f64 * 2f64.powi(half) * 2f64.powi(entry.exponent - half)
}

/// Masks and what made them.
pub struct Pruned {
    /// Loosest first.
    pub masks: Vec<MaskData>,
    origin: ChainOrigin,
}

impl Pruned {
    /// The chain as it reads back once it is written.
    ///
    /// # Errors
    /// [`RecipeError::ReadBack`].
    pub fn directory(&self, policy: &PolicyDirectory) -> Result<MaskDirectory, RecipeError> {
        let mut set = FileSet::new(false);
        self.add_to(&mut set, Path::new(""));
        let mut directory = MaskDirectory { masks: Vec::new(), files: Vec::new() };
        for (path, bytes) in set.files() {
            let file = (path.to_string_lossy().into_owned(), bytes.to_vec());
            if path == Path::new("chain.json") {
                directory.files.insert(0, file);
            } else {
                let mask =
                    parse_mask(bytes, &policy.files).map_err(|e| RecipeError::ReadBack(e.to_string()))?;
                directory.masks.push(mask);
                directory.files.push(file);
            }
        }
        Ok(directory)
    }

    /// Adds the chain's files in `folder`.
    pub fn add_to(&self, set: &mut FileSet, folder: &Path) {
        add_mask_chain(set, folder, &self.masks, &self.origin);
    }
}

/// Names of the first `count` masks of a chain.
pub fn mask_names(count: usize) -> Vec<String> {
    (0..count).map(mask_file_name).collect()
}

/// Prunes as the recipe says.
///
/// # Errors
/// [`RecipeError`]: a malformed sparsity, missing scores.
pub fn pruned(policy: &PolicyDirectory, recipe: &Recipe) -> Result<Pruned, RecipeError> {
    let data = policy_data(policy).ok_or(RecipeError::Policy)?;
    let method = match recipe.method {
        MethodWord::Magnitude => Method::Magnitude,
        MethodWord::Random => Method::Random { seed: recipe.seed },
        MethodWord::Saliency => Method::Saliency(saliency(policy, &data, recipe)?),
    };
    let masks = prune(&data, &method, recipe.scope, &recipe.sparsity)?;
    let origin = ChainOrigin {
        method: recipe.method.name().to_owned(),
        scope: recipe.scope.name().to_owned(),
        seed: recipe.seed.to_string(),
    };
    Ok(Pruned { masks, origin })
}
