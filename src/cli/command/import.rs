//! `secateur import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secateur_checker::load::load_policy;
use secateur_checker::reader::digest::weights_digest;
use secateur_checker::reader::policy::parse_policy;
use serde_json::json;

use crate::cli::command::names::read_names;
use crate::cli::context::shell::path_in_shell;
use crate::cli::context::streams::complain;
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::force::Force;
use crate::import::masks::{METHODS, import_mask, import_pruned, is_mask};
use crate::import::{HeadKind, ImportOptions, Imported, LogStd, import_accounted, parse_activation};
use crate::names::{names_json, names_lines, names_words, with_names};
use crate::outputs::OutputPlan;
use crate::policy::ActivationSpec;
use crate::policy::emit::{ChainOrigin, add_mask_chain, add_policy, emit_manifest, emit_tensors};
use crate::policy::mask::MaskData;
use crate::prune::recipe::mask_names;

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur import model.onnx --head gaussian --log-std log_std.npy --out hopper/
  secateur import model.onnx --head gaussian --log-std=-0.5,-0.5,-1 \\
      --normaliser vecnormalize.pkl --out hopper/
  secateur import ppo-CartPole-v1.zip --out cartpole/
  secateur import dense.safetensors --head categorical \\
      --pruned p50.safetensors --pruned p80.safetensors --out p/

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
    /// Clip radius of the normaliser, in place of the file's own; none for no clip.
    #[arg(long, value_name = "R")]
    clip: Option<String>,
    /// What is added to the variance of observations before its root is taken, where the file does not say it.
    #[arg(long, value_name = "E")]
    normaliser_epsilon: Option<String>,
    /// Activation of the hidden layers, where the file does not show it: tanh, relu, elu, elu:ALPHA, silu, ...
    #[arg(long, value_parser = activation, value_name = "NAME")]
    activation: Option<ActivationSpec>,
    /// Activation of the last layer; the default is none.
    #[arg(long, value_parser = activation, value_name = "NAME")]
    output_activation: Option<ActivationSpec>,
    /// Only tensors whose names start with this belong to the policy.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// The output of an ONNX graph to read, when it has several.
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// The layers in their order, separated by commas, where the file does not show it.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    layers: Option<Vec<String>>,
    /// A tensor, or a module with all its tensors, that is no part of the policy; repeat it.
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// Layers without a bias tensor were built without bias.
    #[arg(long)]
    no_bias: bool,
    /// Bounds that a squashed action is scaled to, where a Stable-Baselines3 archive does not show its action space.
    #[arg(long, value_parser = bounds, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    action_bounds: Option<(String, String)>,
    /// What inputs and outputs are called, and their units: a TOML file as `secateur names --help` shows it.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// A mask to import (NPZ M0.., safetensors, PyTorch weight_mask); repeat it, loosest first.
    #[arg(long, value_name = "FILE", conflicts_with = "pruned")]
    mask: Vec<PathBuf>,
    /// A pruned copy of the same network, from which a mask is derived; repeat it, loosest first.
    #[arg(long, value_name = "FILE")]
    pruned: Vec<PathBuf>,
    /// Policy directory to write; masks go into its folder masks/.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
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
        output: arguments.output.clone(),
        action_bounds: arguments.action_bounds.clone(),
        layers: arguments.layers.clone(),
        ignore: arguments.ignore.clone(),
        no_bias: arguments.no_bias,
        normaliser_epsilon: arguments.normaliser_epsilon.clone(),
        masks_apart: !arguments.mask.is_empty(),
    }
}

fn bounds(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(',').map(|(low, high)| (low.trim().to_owned(), high.trim().to_owned()));
    let is_below = |low: &str, high: &str| match (low.parse::<f64>(), high.parse::<f64>()) {
        (Ok(low), Ok(high)) => low < high,
        _ => false,
    };
    match parts {
        Some((low, high)) if is_below(&low, &high) => Ok((low, high)),
        _ => Err("two numbers LOW,HIGH with LOW below HIGH".to_owned()),
    }
}

fn activation(name: &str) -> Result<ActivationSpec, String> {
    parse_activation(name)
}

/// Imports, writes, and reads the result back with the checker's reader.
///
/// # Errors
/// Exit code 2 for a file that cannot be imported or written, 4 if what was written does not read back.
pub fn run(arguments: &ImportArguments, context: Context) -> Result<u8, CliError> {
    let options = options(arguments);
    let outputs = plan(arguments, &options).test()?;
    let imported = import_accounted(&arguments.source, &options).map_err(CliError::input)?;
    let data = &imported.policy;
    for note in &imported.notes {
        complain(&format!("note: {note}"));
    }
    // Read back from memory first, so that nothing is written that the checker would refuse.
    let read = parse_policy(&emit_manifest(data), &emit_tensors(data))
        .map_err(|e| CliError::input(format!("{}: {e}", arguments.source.display())))?;
    let names = arguments.names.as_deref().map(|path| read_names(path, &read.policy)).transpose()?;
    let masks = masks(arguments, &options, &imported)?;
    let mut set = outputs.set();
    match names.as_ref().and_then(|names| with_names(&emit_manifest(data), names)) {
        Some(manifest) => {
            set.add(arguments.out.join("policy.safetensors"), emit_tensors(data));
            set.add(arguments.out.join("policy.json"), manifest);
        }
        None => add_policy(&mut set, &arguments.out, data),
    }
    if !masks.is_empty() {
        let method = METHODS[usize::from(!arguments.pruned.is_empty())];
        let origin =
            ChainOrigin { method: method.to_owned(), scope: "file".to_owned(), seed: "0".to_owned() };
        add_mask_chain(&mut set, &arguments.out.join("masks"), &masks, &origin);
    }
    write(set)?;
    let written = load_policy(&arguments.out).map_err(CliError::internal)?;
    let policy = &written.files.policy;
    let widths: Vec<String> = std::iter::once(policy.network.inputs())
        .chain(policy.network.layers.iter().map(|l| l.weight.rows))
        .map(|w| w.to_string())
        .collect();
    let digest = weights_digest(&policy.network);
    let head = secateur_checker::check::head_name(&policy.head);
    let mut text = format!(
        "imported {} to {}\nnetwork  {}, {head} head{}\nweights  {digest}\nmasks    {}",
        arguments.source.display(),
        arguments.out.display(),
        widths.join("-"),
        if policy.normaliser.is_some() { ", with observation normaliser" } else { "" },
        match masks.len() {
            0 => "none; `secateur prune` makes a chain".to_owned(),
            count => count.to_string(),
        }
    );
    if let Some(names) = &written.files.names {
        let (inputs, outputs) = (policy.network.inputs(), policy.network.outputs());
        let lines = names_lines(names);
        text.push_str(&format!("\nnames    {}\n{}", names_words(names, inputs, outputs), lines.trim_end()));
    }
    text.push_str(&ignored_lines(&imported));
    text.extend(outputs.removed().map(|words| format!("\n{words}")));
    let mut document = json!({"out": arguments.out, "weightsDigest": digest, "head": head, "widths": widths,
                          "normaliser": policy.normaliser.is_some(), "masks": masks.len()});
    if let Some(names) = &written.files.names {
        document["names"] = names_json(names);
    }
    context.print(&text, &document)?;
    Ok(0)
}

/// The policy, and its masks; neither masks nor what `train` left beside another policy may stay beside it.
fn plan(arguments: &ImportArguments, options: &ImportOptions) -> OutputPlan {
    let (out, masks) = (&arguments.out, arguments.out.join("masks"));
    let mut plan = OutputPlan::new(arguments.force.force)
        .input(&arguments.source)
        .inputs(&arguments.normaliser)
        .inputs(&arguments.names)
        .inputs(&arguments.mask)
        .inputs(&arguments.pruned)
        .folder("--out", out)
        .file("--out", &out.join("policy.safetensors"))
        .file("--out", &out.join("policy.json"));
    if let Some(LogStd::File(path)) = &options.log_std {
        plan = plan.input(path);
    }
    for name in ["critic", "train.toml", "checkpoint.json"] {
        plan = plan
            .foreign(&out.join(name), "belongs to a policy that `secateur train` makes there; move it away");
    }
    match arguments.mask.len() + arguments.pruned.len() {
        0 => plan.leftover_masks(&masks, &[]),
        count => plan.mask_chain("--out", &masks, &mask_names(count)),
    }
}

/// A line for each reason why tensors were left out.
fn ignored_lines(imported: &Imported) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, reason) in &imported.ignored {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    let lines = reasons.iter().map(|(reason, names)| {
        let shown = names.iter().take(4).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
        format!("\nignored  {shown}{more}: {reason}")
    });
    lines.collect()
}

fn masks(
    arguments: &ImportArguments,
    options: &ImportOptions,
    imported: &Imported,
) -> Result<Vec<MaskData>, CliError> {
    let mut masks = Vec::new();
    for path in &arguments.mask {
        masks.push(import_mask(path, imported).map_err(CliError::input)?);
    }
    own_mask_among(&masks, arguments, imported)?;
    for path in &arguments.pruned {
        masks.push(import_pruned(path, options, &imported.policy).map_err(CliError::input)?);
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

/// With `--mask` the weights are those before pruning; so the masks that the file itself holds must be among those given.
fn own_mask_among(
    masks: &[MaskData],
    arguments: &ImportArguments,
    imported: &Imported,
) -> Result<(), CliError> {
    if masks.is_empty() || !imported.used.iter().any(|name| is_mask(name)) {
        return Ok(());
    }
    let own = import_mask(&arguments.source, imported).map_err(CliError::input)?;
    if masks.iter().any(|mask| mask.layers == own.layers) {
        return Ok(());
    }
    let source = arguments.source.display();
    let message = format!(
        "{source}: holds a mask of its own that is none of those given; give it too (--mask {}), or leave --mask \
         out to import the pruned network",
        path_in_shell(&arguments.source)
    );
    Err(CliError::input(message))
}
