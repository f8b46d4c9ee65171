//! `secateur export`: what is certified, as a file that other programs run.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::load::{MaskDirectory, load_masks, load_policy};
use secateur_checker::model::Head;
use secateur_checker::reader::digest::sha256_hex;
use serde_json::json;

use crate::cli::context::shell::in_shell;
use crate::cli::context::{CliError, Context, write};
use crate::cli::option::force::Force;
use crate::export::{ExportFormat, export};
use crate::outputs::OutputPlan;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur export hopper/ --masks hopper/masks/ --mask 3 --to pruned.onnx
  secateur gate --bind 3=pruned.onnx

The file is read back before it is written: it is exactly the certified
policy under that mask, or nothing is written. ONNX holds the normaliser
and the network, not a Gaussian's standard deviations.")]
pub struct ExportArguments {
    /// Policy directory.
    policy: PathBuf,
    /// Mask directory; without it, the dense policy.
    #[arg(long, value_name = "DIR", requires = "mask")]
    masks: Option<PathBuf>,
    /// Which mask of the chain, from 0.
    #[arg(long, value_name = "K", requires = "masks")]
    mask: Option<usize>,
    /// The file: .onnx or .safetensors.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// Writes the file.
///
/// # Errors
/// Exit code 2: unreadable files, no such mask, a policy that the format cannot hold exactly.
pub fn run(arguments: &ExportArguments, context: Context) -> Result<u8, CliError> {
    let Some(format) = ExportFormat::of(&arguments.to) else {
        return Err(CliError::input(format!(
            "--to {}: the name ends in .onnx or .safetensors",
            arguments.to.display()
        )));
    };
    let outputs = OutputPlan::new(arguments.force.force)
        .policy(&arguments.policy)
        .masks(arguments.masks.as_deref())
        .file("--to", &arguments.to)
        .test()?;
    let policy = load_policy(&arguments.policy)?;
    let masks = match &arguments.masks {
        Some(directory) => load_masks(directory, &policy.files)?,
        None => MaskDirectory::dense(&policy.files.policy.network),
    };
    let index = arguments.mask.unwrap_or(0);
    let mask = masks.masks.get(index).ok_or_else(|| {
        CliError::input(format!("--mask {index}: the chain has {} masks, from 0", masks.masks.len()))
    })?;
    let bytes = export(&policy, mask, format)
        .map_err(|e| CliError::input(format!("{}: {e}", arguments.policy.display())))?;
    let sha256 = sha256_hex(&bytes);
    let mut set = outputs.set();
    set.add(&arguments.to, bytes);
    write(set)?;
    let (to, quoted) = (arguments.to.display(), in_shell(&format!("{index}={}", arguments.to.display())));
    let of = if arguments.masks.is_some() { format!("mask {index}") } else { "the dense policy".to_owned() };
    let mut text =
        format!("exported {of} to {to}\nsha256   {sha256}\nbind it  secateur gate --bind {quoted}");
    let gaussian = matches!(policy.files.policy.head, Head::Gaussian { .. });
    if gaussian && format == ExportFormat::Onnx {
        text.push_str(
            "\nnote     the outputs are the mean; the standard deviations stay in the policy directory",
        );
    }
    let document = json!({"to": arguments.to, "sha256": sha256, "mask": arguments.mask});
    context.print(&text, &document)?;
    Ok(0)
}
