//! Standard input, output and error: documents read from and written to `-`, and pipes that their reader has closed.
//! Untrusted. `spec/outputs.md#standard-input-and-output`.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::load::read_file;

use crate::cli::output::{Force, OutputPlan, Outputs, write};
use crate::cli::{CliError, Context, Format};

/// Where a document goes.
#[derive(Clone, Debug, Default, Args)]
pub struct DocumentOutput {
    /// File to write the document to; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// Whether a path is the word for standard input or output; a file of that name is `./-`.
pub fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses `-` where a path must name a file or folder.
///
/// # Errors
/// Exit code 2.
pub fn refuse_dash<'a>(
    inputs: impl IntoIterator<Item = (&'a str, Option<&'a Path>)>,
) -> Result<(), CliError> {
    for (option, path) in inputs {
        if path.is_some_and(is_dash) {
            return Err(CliError::input(format!(
                "{option} -: standard input is not read here; a file or folder called - is ./-"
            )));
        }
    }
    Ok(())
}

/// Reads a document of at most `cap` bytes from a file, or from standard input if the path is `-`.
///
/// # Errors
/// Exit codes 2 and 4 (longer than that).
pub fn read_document(path: &Path, cap: usize) -> Result<Vec<u8>, CliError> {
    if !is_dash(path) {
        return Ok(read_file(path, cap)?);
    }
    let (mut bytes, most) = (Vec::new(), cap as u64);
    let read = std::io::stdin().lock().take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| CliError::input(format!("standard input: {e}")))?;
    if bytes.len() > cap {
        return Err(CliError::internal(format!("standard input: longer than {cap} bytes")));
    }
    Ok(bytes)
}

impl DocumentOutput {
    /// Tests the target.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn test<'a>(&self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<Outputs, CliError> {
        self.test_with(inputs.into_iter().fold(self.plan(), OutputPlan::document))
    }

    /// A plan for what the command reads.
    pub fn plan(&self) -> OutputPlan {
        OutputPlan::new(self.force)
    }

    /// Tests the target against such a plan.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn test_with(&self, plan: OutputPlan) -> Result<Outputs, CliError> {
        if is_dash(&self.out) { plan.test() } else { plan.file("--out", &self.out).test() }
    }

    /// Prints or writes the document in the format asked for.
    ///
    /// # Errors
    /// Exit code 2 if it cannot be written, 4 if standard output fails.
    pub fn emit(
        &self,
        outputs: &Outputs,
        context: Context,
        text: &str,
        json: &serde_json::Value,
    ) -> Result<(), CliError> {
        let document = match context.format {
            Format::Text => format!("{}\n", text.trim_end()),
            Format::Json => format!("{json:#}\n"),
        };
        self.emit_bytes(outputs, document.as_bytes())
    }

    /// The same of a document with one format.
    ///
    /// # Errors
    /// Those of [`DocumentOutput::emit`].
    pub fn emit_bytes(&self, outputs: &Outputs, document: &[u8]) -> Result<(), CliError> {
        if is_dash(&self.out) {
            return print_bytes(document);
        }
        let mut set = outputs.set();
        set.add(&self.out, document);
        write(set)
    }
}

/// Writes to standard output; a reader that has closed it has read enough.
///
/// # Errors
/// Exit code 4 for any other failure.
pub fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::internal(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, where nobody may be listening.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
