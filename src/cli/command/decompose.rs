//! `secateur decompose`: measured returns in three terms, beside certified bounds.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::streams::read_document;
use crate::cli::context::{CliError, Context};
use crate::cli::option::document::DocumentOutput;
use crate::decomposition::{MAX_BYTES, MaskTerms, decompose, emit_json, emit_text, parse_input};

/// Arguments of `decompose`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur decompose fixtures/decomposition/two-masks.json
  secateur decompose fixtures/decomposition/two-masks.json --digits 2 \\
      --format json

J(ref) - J~(pi_m o nu) = [J(ref) - J(pi)] + [J(pi) - J(pi_m)] + [J(pi_m) - J~(pi_m o nu)]: clean, pruning loss, robustness.
spec/decomposition.md describes the file.
Exit codes: 0 every measured term is within its bound, 1 one is above it, 2 the file is not of the described form.")]
pub struct DecomposeArguments {
    /// Measured returns and certified bounds, JSON; - is standard input.
    file: PathBuf,
    /// Digits after the point in the table; the JSON is exact.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=30))]
    digits: u32,
    #[command(flatten)]
    out: DocumentOutput,
}

/// Computes and prints the terms.
///
/// # Errors
/// Exit code 2 for a file that is not of the described form.
pub fn run(arguments: &DecomposeArguments, context: Context) -> Result<u8, CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", arguments.file.display()));
    let outputs = arguments.out.test([arguments.file.as_path()])?;
    let bytes = read_document(&arguments.file, MAX_BYTES)?;
    let decomposition = decompose(&parse_input(&bytes).map_err(|e| at(&e))?);
    let text = emit_text(&decomposition, arguments.digits, crate::show::words::table());
    arguments.out.emit(&outputs, context, &text, &emit_json(&decomposition))?;
    Ok(u8::from(decomposition.masks.iter().any(exceeded)))
}

fn exceeded(mask: &MaskTerms) -> bool {
    [&mask.clean, &mask.pruning, &mask.robustness].iter().any(|term| term.within_bound() == Some(false))
}
