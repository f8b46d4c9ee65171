//! What a command prints, and the last step of what it writes.

use clap::ValueEnum;

use super::error::CliError;
use super::interrupt::kept;
use super::streams::print_bytes;
use crate::policy::write::{FileSet, hold};

/// Output for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Text,
    /// One JSON document on standard output.
    Json,
    /// Lines for a version control system; of `show` only.
    #[value(hide = true)]
    Snapshot,
}

/// What a subcommand may use of the global options.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Output format.
    pub format: Format,
    /// Whether progress is wanted.
    pub progress: bool,
}

impl Context {
    /// Prints text for people, or the JSON document.
    ///
    /// # Errors
    /// Exit code 4 if standard output fails; a reader that has closed it is no failure.
    pub fn print(&self, text: &str, json: &serde_json::Value) -> Result<(), CliError> {
        let document = match self.format {
            Format::Text | Format::Snapshot => format!("{}\n", text.trim_end()),
            Format::Json => format!("{json:#}\n"),
        };
        print_bytes(document.as_bytes())
    }
}

/// Writes the files of a command, after which an interrupt has nothing to undo.
///
/// # Errors
/// Exit code 2.
pub fn write(set: FileSet) -> Result<(), CliError> {
    let _held = hold();
    let nothing = set.is_empty();
    set.write().map_err(CliError::input)?;
    if !nothing {
        kept("all files are written");
    }
    Ok(())
}
