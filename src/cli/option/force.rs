//! `--force`.

use clap::Args;

/// `--force`, one meaning for every command that writes.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Force {
    /// Replace what earlier runs left at the outputs; an input of the command is never replaced.
    #[arg(long)]
    pub force: bool,
}
