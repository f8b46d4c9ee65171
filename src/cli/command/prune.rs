//! `secateur prune`.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::load::load_policy;
use serde_json::json;

use crate::cli::context::{CliError, Context, write};
use crate::cli::option::adversary::UnitsWord;
use crate::cli::option::force::Force;
use crate::outputs::OutputPlan;
use crate::policy::mask::MaskData;
use crate::prune::Scope;
use crate::prune::recipe::{MethodWord, Recipe, pruned};

/// Arguments of `prune`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur prune hopper/ --method magnitude --scope layer \\
      --sparsity 0,0.1,0.3,0.5,0.9 --out hopper/masks/
  secateur prune hopper/ --method saliency --states hopper/states.npy \\
      --sparsity 0,0.5 --out hopper/masks/

The directory holds exactly the masks of its chain.json afterwards. Masks are nested by construction. Biases, standard deviations and the normaliser are never pruned.
spec/pruning.md defines each method exactly.")]
pub struct PruneArguments {
    /// Policy directory.
    policy: PathBuf,
    /// What to prune first.
    #[arg(long, value_enum, default_value_t = MethodWord::Magnitude)]
    method: MethodWord,
    /// Whether sparsity counts within each layer or over all.
    #[arg(long, value_enum, default_value_t = Scope::Layer)]
    scope: Scope,
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
        state_units: arguments.state_units.into(),
    };
    let outputs = OutputPlan::new(arguments.force.force)
        .policy(&arguments.policy)
        .inputs(recipe.files())
        .mask_chain("--out", &arguments.out, &recipe.names())
        .test()?;
    let policy = load_policy(&arguments.policy)?;
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
