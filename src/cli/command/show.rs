//! `secateur show`: what a certificate claims, unchecked.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::reader::certificate::parse_certificate;
use secateur_checker::reader::escaped::Escaped;

use crate::certify::statement::Statement;
use crate::cli::context::streams::read_envelope;
use crate::cli::context::{CliError, Context, Format};
use crate::cli::option::document::DocumentOutput;
use crate::show::snapshot::snapshot;
use crate::show::summary::{summary_json, summary_text};

/// Arguments of `show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur show hopper.cert.dsse.json
  secateur show --format snapshot hopper.cert.dsse.json

--format snapshot prints one stated number a line, for git diff and snapshot
tests: spec/snapshot.md.")]
pub struct ShowArguments {
    /// The certificate, or a bundle of one; - is standard input.
    certificate: PathBuf,
    #[command(flatten)]
    out: DocumentOutput,
}

/// Prints a certificate.
///
/// # Errors
/// Exit code 2 if it cannot be read.
pub fn run(arguments: &ShowArguments, context: Context) -> Result<u8, CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", arguments.certificate.display()));
    let outputs = arguments.out.test([arguments.certificate.as_path()])?;
    let envelope = read_envelope(&arguments.certificate)?;
    if context.format == Format::Snapshot {
        let statement = Statement::parse(&envelope.payload).map_err(|e| at(&e))?;
        arguments.out.emit_bytes(&outputs, snapshot(&statement).as_bytes())?;
        return Ok(0);
    }
    let certificate = parse_certificate(&envelope.payload).map_err(|e| at(&e))?;
    let mut text = summary_text(&certificate);
    for signature in &envelope.signatures {
        text.push_str(&format!("signature by key {} (not verified here)\n", Escaped(&signature.keyid)));
    }
    text.push_str("claims only: nothing was checked; `secateur check` checks them");
    arguments.out.emit(&outputs, context, &text, &summary_json(&certificate, "unchecked"))?;
    Ok(0)
}
