//! `secateur prune`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ndarray::Array2;
use secateur_checker::load::{Failure, MaskDirectory, PolicyDirectory, load_policy, load_states};
use secateur_checker::model::Units;
use secateur_checker::number::Dyadic;
use secateur_checker::reader::mask::parse_mask;
use serde::Deserialize;
use serde_json::json;

use crate::cli::adversary::UnitsWord;
use crate::cli::output::{Force, OutputPlan, write};
use crate::cli::{CliError, Context};
use crate::float::policy::FloatPolicy;
use crate::import::read_arrays;
use crate::policy::emit::{ChainOrigin, add_mask_chain, mask_file_name};
use crate::policy::mask::MaskData;
use crate::policy::read::policy_data;
use crate::policy::write::FileSet;
use crate::policy::{PolicyData, TensorData};
use crate::prune::saliency::fisher_scores;
use crate::prune::{Method, Scope, prune, scores_from};

/// Arguments of `prune`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur prune hopper/ --method magnitude --scope layer --sparsity 0,0.1,0.3,0.5,0.9 --out hopper/masks/
  secateur prune hopper/ --method saliency --states hopper/states.npy --sparsity 0,0.5 --out hopper/masks/

The directory holds exactly the masks of its chain.json afterwards. Masks are nested by construction. Biases, standard deviations and the normaliser are never pruned.
spec/pruning.md defines each method exactly.")]
pub struct PruneArguments {
    /// Policy directory.
    policy: PathBuf,
    /// What to prune first.
    #[arg(long, value_enum, default_value_t = MethodWord::Magnitude)]
    method: MethodWord,
    /// Whether sparsity counts within each layer or over all.
    #[arg(long, value_enum, default_value_t = ScopeWord::Layer)]
    scope: ScopeWord,
    /// Fractions pruned, increasing; decimals or fractions, read exactly.
    #[arg(long, value_name = "S1,S2,...", value_delimiter = ',', required = true)]
    sparsity: Vec<String>,
    /// Seed of --method random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Scores of --method saliency: an .npz or .safetensors with one table per weight; the lowest are pruned first.
    #[arg(long, value_name = "FILE", conflicts_with = "states")]
    scores: Option<PathBuf>,
    /// States (.npy) of --method saliency: scores by what each weight does to the actions there (Fisher information).
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Units of --states.
    #[arg(long, value_enum, default_value_t = UnitsWord::Raw)]
    state_units: UnitsWord,
    /// Mask directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// Pruning method on the command line and in audit.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodWord {
    /// Smallest magnitude first.
    Magnitude,
    /// A seeded random order.
    Random,
    /// Smallest score first: from a file of scores, or from states.
    Saliency,
}

/// Scope on the command line and in audit.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeWord {
    /// The same sparsity in every layer.
    Layer,
    /// One ranking over all layers.
    Global,
}

impl ScopeWord {
    /// What the word means.
    pub fn scope(self) -> Scope {
        match self {
            Self::Layer => Scope::Layer,
            Self::Global => Scope::Global,
        }
    }
}

/// How to prune, as audit.toml says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    method: MethodWord,
    scope: ScopeWord,
    sparsity: Vec<String>,
    #[serde(default)]
    seed: u64,
    scores: Option<PathBuf>,
    states: Option<PathBuf>,
    #[serde(default = "raw")]
    state_units: UnitsWord,
}

fn raw() -> UnitsWord {
    UnitsWord::Raw
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

    /// Takes relative paths from `directory`.
    pub fn inside(mut self, directory: &Path) -> Self {
        let place = |path: PathBuf| directory.join(path);
        (self.scores, self.states) = (self.scores.map(place), self.states.map(place));
        self
    }
}

/// The tables of scores that method saliency ranks by.
fn saliency(
    policy: &PolicyDirectory,
    data: &PolicyData,
    recipe: &Recipe,
) -> Result<Vec<TensorData>, CliError> {
    match (&recipe.scores, &recipe.states) {
        (Some(path), None) => {
            let arrays = read_arrays(path).map_err(CliError::input)?;
            scores_from(&arrays, data).map_err(CliError::input)
        }
        (None, Some(path)) => {
            let failure = |e: Failure| CliError { message: e.to_string(), code: e.exit_code() };
            let (states, _) = load_states(path, recipe.state_units.into()).map_err(failure)?;
            let float = FloatPolicy::from_data(data).map_err(CliError::input)?;
            let (rows, columns) = (states.values.rows, states.values.columns);
            let inputs = policy.files.policy.network.layers.first().map_or(0, |layer| layer.weight.columns);
            if columns != inputs || rows == 0 {
                let path = path.display();
                return Err(CliError::input(format!(
                    "{path}: {rows} x {columns}, but the policy reads rows of {inputs}; give at least one"
                )));
            }
            let values: Vec<f64> = states.values.values.iter().map(|entry| float_of(*entry)).collect();
            let values = values.chunks_exact(columns).flat_map(|row| match states.units {
                Units::Raw => float.normaliser.apply(row),
                Units::Normalised => row.to_vec(),
            });
            let table =
                Array2::from_shape_vec((rows, columns), values.collect()).map_err(CliError::internal)?;
            let scores = fisher_scores(&float, table.view());
            let pairs = scores.iter().zip(&data.layers);
            Ok(pairs
                .map(|(scores, layer)| TensorData::from_f64(layer.weight.shape.clone(), scores))
                .collect())
        }
        _ => Err(CliError::input(
            "method saliency needs one of: --scores, a file of scores; --states, a file of states",
        )),
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
    /// Exit code 4: it does not read back.
    pub fn directory(&self, policy: &PolicyDirectory) -> Result<MaskDirectory, CliError> {
        let mut set = FileSet::new(false);
        self.add_to(&mut set, Path::new(""));
        let mut directory = MaskDirectory { masks: Vec::new(), files: Vec::new() };
        for (path, bytes) in set.files() {
            let file = (path.to_string_lossy().into_owned(), bytes.to_vec());
            if path == Path::new("chain.json") {
                directory.files.insert(0, file);
            } else {
                let mask = parse_mask(bytes, &policy.files).map_err(CliError::internal)?;
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
/// Exit code 2: a malformed sparsity, missing scores.
pub fn pruned(policy: &PolicyDirectory, recipe: &Recipe) -> Result<Pruned, CliError> {
    let data = policy_data(policy).ok_or_else(|| CliError::internal("a loaded policy did not read back"))?;
    let method = match recipe.method {
        MethodWord::Magnitude => Method::Magnitude,
        MethodWord::Random => Method::Random { seed: recipe.seed },
        MethodWord::Saliency => Method::Saliency(saliency(policy, &data, recipe)?),
    };
    let masks = prune(&data, &method, recipe.scope.scope(), &recipe.sparsity).map_err(CliError::input)?;
    let word = |value: &dyn ValueEnumName| value.name();
    let origin = ChainOrigin {
        method: word(&recipe.method),
        scope: word(&recipe.scope),
        seed: recipe.seed.to_string(),
    };
    Ok(Pruned { masks, origin })
}

trait ValueEnumName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueEnumName for T {
    fn name(&self) -> String {
        self.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
    }
}

/// Prunes and writes.
///
/// # Errors
/// Exit code 2.
pub fn run(arguments: &PruneArguments, context: Context) -> Result<u8, CliError> {
    let recipe = Recipe {
        method: arguments.method,
        scope: arguments.scope,
        sparsity: arguments.sparsity.clone(),
        seed: arguments.seed,
        scores: arguments.scores.clone(),
        states: arguments.states.clone(),
        state_units: arguments.state_units,
    };
    let outputs = OutputPlan::new(arguments.force)
        .policy(&arguments.policy)
        .inputs(recipe.files())
        .mask_chain("--out", &arguments.out, &recipe.names())
        .test()?;
    let policy = load_policy(&arguments.policy);
    let policy = policy.map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?;
    let pruned = pruned(&policy, &recipe)?;
    let mut set = outputs.set();
    pruned.add_to(&mut set, &arguments.out);
    write(set)?;
    let masks = pruned.masks;
    let total = MaskData::weights;
    let lines: Vec<String> = masks
        .iter()
        .enumerate()
        .map(|(index, mask)| {
            let (kept, total) = (mask.kept(), total(mask));
            format!("mask {index}: sparsity {}, {} of {total} weights pruned", mask.sparsity, total - kept)
        })
        .collect();
    let mut text = format!("{}\nwritten to {}", lines.join("\n"), arguments.out.display());
    text.extend(outputs.removed().map(|words| format!("\n{words}")));
    let rows: Vec<_> = masks
        .iter()
        .map(|m| json!({"sparsity": m.sparsity, "pruned": total(m) - m.kept(), "total": total(m)}))
        .collect();
    context.print(&text, &json!({"out": arguments.out, "masks": rows}))?;
    Ok(0)
}
