//! Why a command ended early, with its exit code. `spec/README.md`.

use secateur_checker::load::Failure;

use crate::audit::AuditError;
use crate::certify::CertifyError;
use crate::outputs::OutputError;
use crate::prune::recipe::RecipeError;

/// A message for the user and the process's exit code.
#[derive(Debug)]
pub struct CliError {
    /// What went wrong and what to do.
    pub message: String,
    /// 1 to 4.
    pub code: u8,
}

impl CliError {
    /// Exit code 2: usage, configuration, unreadable or malformed input.
    pub fn input(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// Exit code 4: a limit or an internal error.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 4 }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self { message: failure.to_string(), code: failure.exit_code() }
    }
}

impl From<OutputError> for CliError {
    fn from(error: OutputError) -> Self {
        Self::input(error)
    }
}

impl From<CertifyError> for CliError {
    fn from(error: CertifyError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}

impl From<AuditError> for CliError {
    fn from(error: AuditError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}

impl From<RecipeError> for CliError {
    fn from(error: RecipeError) -> Self {
        Self { code: error.exit_code(), message: error.to_string() }
    }
}
