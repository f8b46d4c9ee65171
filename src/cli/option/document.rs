//! Where a document goes: `--out`, standard output by default.

use std::path::{Path, PathBuf};

use clap::Args;

use super::force::Force;
use crate::cli::context::streams::print_bytes;
use crate::cli::context::{CliError, Context, Format, write};
use crate::outputs::{OutputPlan, Outputs, is_dash};

/// Where a document goes.
#[derive(Clone, Debug, Default, Args)]
pub struct DocumentOutput {
    /// File to write the document to; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
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
        OutputPlan::new(self.force.force)
    }

    /// Tests the target against such a plan.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn test_with(&self, plan: OutputPlan) -> Result<Outputs, CliError> {
        let plan = if is_dash(&self.out) { plan } else { plan.file("--out", &self.out) };
        Ok(plan.test()?)
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
            Format::Text | Format::Snapshot => format!("{}\n", text.trim_end()),
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
