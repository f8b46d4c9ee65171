//! `secateur show`: what a certificate claims, unchecked; of every kind that `check` accepts.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::reader::certificate::parse_certificate;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::verdict::parse_verdict;

use crate::certify::statement::Statement;
use crate::cli::context::streams::read_envelope;
use crate::cli::context::{CliError, Context, Format};
use crate::cli::option::details::DetailOptions;
use crate::cli::option::document::DocumentOutput;
use crate::show::snapshot::snapshot;
use crate::show::summary::{claimed_json, claimed_text, property_claims};

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
    details: DetailOptions,
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
    let (mut text, document) = match parse_certificate(&envelope.payload) {
        Ok(certificate) => {
            (claimed_text(&certificate, &arguments.details.wanted()), claimed_json(&certificate))
        }
        // The other kind; what is wrong with one that is neither is said of the first.
        Err(wrong) => match parse_verdict(&envelope.payload) {
            Ok(certificate) => property_claims(&certificate),
            Err(_) => return Err(at(&wrong)),
        },
    };
    for signature in &envelope.signatures {
        text.push_str(&format!("signature by key {} (not verified here)\n", Escaped(&signature.keyid)));
    }
    text.push_str("claims only: nothing was checked; `secateur check` checks them");
    arguments.out.emit(&outputs, context, &text, &document)?;
    Ok(0)
}
