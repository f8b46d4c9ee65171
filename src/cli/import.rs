//! `secateur import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secateur_checker::load::load_policy;
use secateur_checker::reader::digest::weights_digest;
use secateur_checker::reader::policy::parse_policy;
use serde_json::json;

use crate::cli::{CliError, Context};
use crate::import::masks::{METHODS, import_mask, import_pruned};
use crate::import::{HeadKind, ImportOptions, LogStd, import, parse_activation};
use crate::policy::emit::{ChainOrigin, emit_manifest, emit_tensors, write_mask_chain, write_policy_dir};
use crate::policy::{ActivationSpec, PolicyData};

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur import model.onnx --head gaussian --log-std log_std.npy --out hopper/
  secateur import model.onnx --head gaussian --log-std=-0.5,-0.5,-1 --normaliser vecnormalize.pkl --out hopper/
  secateur import ppo-CartPole-v1.zip --out cartpole/
  secateur import dense.safetensors --head categorical --pruned p50.safetensors --pruned p80.safetensors --out p/

Nothing in a pickle is executed. The directory records the digest of every file read and the options given;
`secateur check --source FILE` imports again and compares.")]
pub struct ImportArguments {
    /// ONNX, safetensors, NPZ, PyTorch (.pt, .pth) or Stable-Baselines3 (.zip) file.
    source: PathBuf,
    /// What the outputs mean, where the file does not say so.
    #[arg(long, value_enum)]
    head: Option<HeadWord>,
    /// Log standard deviations: a .npy file, or decimals separated by commas (one for all outputs, or one each).
    #[arg(long, value_name = "FILE|NUMBERS", allow_hyphen_values = true)]
    log_std: Option<String>,
    /// Observation normaliser: a vecnormalize pickle, or an .npz or .safetensors with mean and std (or var).
    #[arg(long, value_name = "FILE")]
    normaliser: Option<PathBuf>,
    /// Clip radius of the normaliser, in place of the file's own.
    #[arg(long, value_name = "R")]
    clip: Option<String>,
    /// Activation of the hidden layers, where the file does not show it.
    #[arg(long, value_parser = activation, value_name = "NAME")]
    activation: Option<ActivationSpec>,
    /// Activation of the last layer; the default is none.
    #[arg(long, value_parser = activation, value_name = "NAME")]
    output_activation: Option<ActivationSpec>,
    /// Only tensors whose names start with this belong to the policy.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// A mask to import (NPZ M0.., safetensors, PyTorch weight_mask); repeat it, loosest first.
    #[arg(long, value_name = "FILE", conflicts_with = "pruned")]
    mask: Vec<PathBuf>,
    /// A pruned copy of the same network, from which a mask is derived; repeat it, loosest first.
    #[arg(long, value_name = "FILE")]
    pruned: Vec<PathBuf>,
    /// Policy directory to write; masks go into its folder masks/.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Head on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeadWord {
    /// Mean of a Gaussian with state-independent standard deviations.
    Gaussian,
    /// Logits of a softmax.
    Categorical,
    /// The action itself.
    Deterministic,
}

fn options(arguments: &ImportArguments) -> ImportOptions {
    let log_std = arguments.log_std.as_ref().map(|text| {
        let numbers: Vec<String> = text.split(',').map(|t| t.trim().to_owned()).collect();
        if numbers.iter().all(|n| n.parse::<f64>().is_ok()) {
            LogStd::Values(numbers)
        } else {
            LogStd::File(PathBuf::from(text))
        }
    });
    ImportOptions {
        head: arguments.head.map(|word| match word {
            HeadWord::Gaussian => HeadKind::Gaussian,
            HeadWord::Categorical => HeadKind::Categorical,
            HeadWord::Deterministic => HeadKind::Deterministic,
        }),
        log_std,
        normaliser: arguments.normaliser.clone(),
        clip: arguments.clip.clone(),
        activation: arguments.activation.clone(),
        output_activation: arguments.output_activation.clone(),
        prefix: arguments.prefix.clone(),
    }
}

fn activation(name: &str) -> Result<ActivationSpec, String> {
    let known = "identity, relu, tanh, sigmoid, hardtanh, leaky_relu:SLOPE or clip:LOWER:UPPER";
    parse_activation(name).ok_or_else(|| known.to_owned())
}

/// Imports, writes, and reads the result back with the checker's reader.
///
/// # Errors
/// Exit code 2 for a file that cannot be imported or written, 4 if what was written does not read back.
pub fn run(arguments: &ImportArguments, context: Context) -> Result<u8, CliError> {
    let options = options(arguments);
    let data = import(&arguments.source, &options).map_err(CliError::input)?;
    // Read back from memory first, so that nothing is written that the checker would refuse.
    parse_policy(&emit_manifest(&data), &emit_tensors(&data))
        .map_err(|e| CliError::input(format!("{}: {e}", arguments.source.display())))?;
    let masks = masks(arguments, &options, &data)?;
    write_policy_dir(&arguments.out, &data).map_err(CliError::input)?;
    if !masks.is_empty() {
        let method = METHODS[usize::from(!arguments.pruned.is_empty())];
        let origin =
            ChainOrigin { method: method.to_owned(), scope: "file".to_owned(), seed: "0".to_owned() };
        write_mask_chain(&arguments.out.join("masks"), &masks, &origin).map_err(CliError::input)?;
    }
    let written = load_policy(&arguments.out).map_err(CliError::internal)?;
    let policy = &written.files.policy;
    let widths: Vec<String> = std::iter::once(policy.network.inputs())
        .chain(policy.network.layers.iter().map(|l| l.weight.rows))
        .map(|w| w.to_string())
        .collect();
    let digest = weights_digest(&policy.network);
    let head = secateur_checker::check::head_name(&policy.head);
    let text = format!(
        "imported {} to {}\nnetwork  {}, {head} head{}\nweights  {digest}\nmasks    {}",
        arguments.source.display(),
        arguments.out.display(),
        widths.join("-"),
        if policy.normaliser.is_some() { ", with observation normaliser" } else { "" },
        masks.len()
    );
    let document = json!({"out": arguments.out, "weightsDigest": digest, "head": head, "widths": widths,
                          "normaliser": policy.normaliser.is_some(), "masks": masks.len()});
    context.print(&text, &document)?;
    Ok(0)
}

fn masks(
    arguments: &ImportArguments,
    options: &ImportOptions,
    dense: &PolicyData,
) -> Result<Vec<crate::policy::mask::MaskData>, CliError> {
    let mut masks = Vec::new();
    for path in &arguments.mask {
        masks.push(import_mask(path, dense).map_err(CliError::input)?);
    }
    for path in &arguments.pruned {
        masks.push(import_pruned(path, options, dense).map_err(CliError::input)?);
    }
    for (step, pair) in masks.windows(2).enumerate() {
        if let [looser, tighter] = pair
            && !tighter.is_nested_in(looser)
        {
            let message = format!(
                "mask {} keeps a weight that mask {step} has pruned; list nested masks, loosest first",
                step + 1
            );
            return Err(CliError::input(message));
        }
    }
    Ok(masks)
}
