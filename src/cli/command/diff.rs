//! `secateur diff`: what changed from one certificate to another, unchecked.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::number::Rational;
use secateur_checker::reader::dsse::Envelope;
use secateur_checker::reader::escaped::Escaped;

use crate::certify::statement::Statement;
use crate::cli::context::streams::read_envelope;
use crate::cli::context::{CliError, Context, Format};
use crate::cli::option::adversary::exact;
use crate::cli::option::document::DocumentOutput;
use crate::diff::{Diff, print};
use crate::outputs::is_dash;
use crate::show::quoted::ascii_json;

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur diff old.cert.dsse.json new.cert.dsse.json
  secateur diff --markdown old.secateur new.secateur
  secateur diff --tolerance 0.001 old.cert.dsse.json new.cert.dsse.json

Numbers are compared exactly. Exit code 1 if one of them got worse (a bound or
what an attack reaches rose, a margin or a share of a volume fell), or if
nothing could be compared. Nothing is checked here: `secateur check` does it.")]
pub struct DiffArguments {
    /// The earlier certificate, or a bundle of one; - is standard input.
    old: PathBuf,
    /// The later one.
    new: PathBuf,
    /// By how much a number may be worse, a decimal or a fraction; without it, not at all.
    #[arg(long, value_name = "R")]
    tolerance: Option<String>,
    /// Markdown instead of text.
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    out: DocumentOutput,
}

fn read(path: &Path) -> Result<(Statement, Envelope), CliError> {
    let envelope = read_envelope(path)?;
    let statement = Statement::parse(&envelope.payload);
    let at = |e| CliError::input(format!("{}: {e}", Escaped(&path.to_string_lossy())));
    Ok((statement.map_err(at)?, envelope))
}

/// Compares two certificates.
///
/// # Errors
/// Exit code 2 if one cannot be read, or if they are about different things, 4 for limits.
pub fn run(arguments: &DiffArguments, context: Context) -> Result<u8, CliError> {
    if is_dash(&arguments.old) && is_dash(&arguments.new) {
        return Err(CliError::input("- - : standard input can be one of the two only"));
    }
    if arguments.markdown && context.format == Format::Json {
        return Err(CliError::input("--markdown and --format json are two formats; give one"));
    }
    let tolerance = match &arguments.tolerance {
        Some(text) => exact("--tolerance", text)?,
        None => Rational::zero(),
    };
    if tolerance.is_negative() {
        return Err(CliError::input("--tolerance is below 0"));
    }
    let outputs = arguments.out.test([arguments.old.as_path(), arguments.new.as_path()])?;
    let (old, new) = (read(&arguments.old)?, read(&arguments.new)?);
    let diff = Diff::new((&old.0, &old.1), (&new.0, &new.1), tolerance).map_err(CliError::input)?;
    let names = [&arguments.old, &arguments.new].map(|path| path.to_string_lossy().into_owned());
    let names = [names[0].as_str(), names[1].as_str()];
    let document = match (arguments.markdown, context.format) {
        (true, _) => print::markdown(&diff, names),
        (false, Format::Json) => ascii_json(&print::json(&diff, names)),
        (false, Format::Text | Format::Snapshot) => format!("{}\n", print::text(&diff, names)),
    };
    arguments.out.emit_bytes(&outputs, document.as_bytes())?;
    Ok(u8::from(!diff.holds()))
}
