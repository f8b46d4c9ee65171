//! `secateur prune`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secateur_checker::load::{PolicyDirectory, load_policy};
use serde::Deserialize;
use serde_json::json;

use crate::cli::{CliError, Context};
use crate::import::read_arrays;
use crate::policy::emit::{ChainOrigin, write_mask_chain};
use crate::policy::mask::MaskData;
use crate::policy::read::policy_data;
use crate::prune::{Method, Scope, prune, scores_from};

/// Arguments of `prune`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  secateur prune hopper/ --method magnitude --scope layer --sparsity 0,0.1,0.3,0.5,0.9 --out hopper/masks/

Masks are nested by construction. Biases, standard deviations and the normaliser are never pruned.
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
    #[arg(long, value_name = "FILE", required_if_eq("method", "saliency"))]
    scores: Option<PathBuf>,
    /// Mask directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Pruning method on the command line and in audit.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodWord {
    /// Smallest magnitude first.
    Magnitude,
    /// A seeded random order.
    Random,
    /// Smallest score first, from a file.
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    method: MethodWord,
    scope: ScopeWord,
    sparsity: Vec<String>,
    #[serde(default)]
    seed: u64,
    scores: Option<PathBuf>,
}

/// Prunes as the recipe says and writes the chain.
///
/// # Errors
/// Exit code 2: a malformed sparsity, missing scores, an unwritable directory.
pub fn write_pruned(
    policy: &PolicyDirectory,
    recipe: &Recipe,
    out: &Path,
) -> Result<Vec<MaskData>, CliError> {
    let data = policy_data(policy).ok_or_else(|| CliError::internal("a loaded policy did not read back"))?;
    let method = match recipe.method {
        MethodWord::Magnitude => Method::Magnitude,
        MethodWord::Random => Method::Random { seed: recipe.seed },
        MethodWord::Saliency => {
            let path = recipe.scores.as_ref();
            let path = path.ok_or_else(|| CliError::input("method saliency needs scores, a file"))?;
            let arrays = read_arrays(path).map_err(CliError::input)?;
            Method::Saliency(scores_from(&arrays, data.layers.len()).map_err(CliError::input)?)
        }
    };
    let masks = prune(&data, &method, recipe.scope.scope(), &recipe.sparsity).map_err(CliError::input)?;
    let word = |value: &dyn ValueEnumName| value.name();
    let origin = ChainOrigin {
        method: word(&recipe.method),
        scope: word(&recipe.scope),
        seed: recipe.seed.to_string(),
    };
    write_mask_chain(out, &masks, &origin).map_err(CliError::input)?;
    Ok(masks)
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
    let policy = load_policy(&arguments.policy);
    let policy = policy.map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?;
    let recipe = Recipe {
        method: arguments.method,
        scope: arguments.scope,
        sparsity: arguments.sparsity.clone(),
        seed: arguments.seed,
        scores: arguments.scores.clone(),
    };
    let masks = write_pruned(&policy, &recipe, &arguments.out)?;
    let total = |mask: &MaskData| mask.layers.iter().map(|l| l.kept.len()).sum::<usize>();
    let lines: Vec<String> = masks
        .iter()
        .enumerate()
        .map(|(index, mask)| {
            let (kept, total) = (mask.kept(), total(mask));
            format!("mask {index}: sparsity {}, {} of {total} weights pruned", mask.sparsity, total - kept)
        })
        .collect();
    let text = format!("{}\nwritten to {}", lines.join("\n"), arguments.out.display());
    let rows: Vec<_> = masks
        .iter()
        .map(|m| json!({"sparsity": m.sparsity, "pruned": total(m) - m.kept(), "total": total(m)}))
        .collect();
    context.print(&text, &json!({"out": arguments.out, "masks": rows}))?;
    Ok(0)
}
