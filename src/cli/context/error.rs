//! Why a command ended early, with its exit code. `spec/README.md`.

use std::sync::Mutex;

use secateur_checker::load::Failure;

use crate::audit::AuditError;
use crate::certify::CertifyError;
use crate::outputs::OutputError;
use crate::prune::recipe::RecipeError;

/// The stable code of what the command failed of, for its JSON document.
static REASON: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the stable code of a failure, which a message for people does not have.
pub fn remember(code: &str) {
    if let Ok(mut reason) = REASON.lock() {
        *reason = Some(code.to_owned());
    }
}

/// The document of a command that failed.
pub fn failure_json(error: &CliError) -> serde_json::Value {
    let result = match error.code {
        1 => "not-met",
        3 => "rejected",
        4 => "limit",
        _ => "error",
    };
    let code = REASON.lock().ok().and_then(|reason| reason.clone());
    serde_json::json!({"format": "secateur.output/1", "kind": "failure", "result": result, "code": code,
                       "exitCode": error.code, "message": error.message})
}

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
        remember(&failure.code());
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
