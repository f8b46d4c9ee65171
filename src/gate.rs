//! A release gate: rules over checked certificates, a baseline, exceptions that expire. Untrusted: what it calls verified,
//! the checker verified in this run; numbers are compared as exact rationals. `spec/gate.md`.

pub mod about;
pub mod accept;
pub mod baseline;
pub mod bind;
pub mod bounds;
pub mod config;
pub mod date;
pub mod decide;
pub mod emit;
pub mod evidence;
pub mod git;
pub mod init;
pub mod radius;
pub mod report;

use std::path::PathBuf;

/// Value of `schema` in `secateur.toml`.
pub const SCHEMA: &str = "secateur.gate/1";
/// The file that a gate is described in, unless another is named.
pub const FILE: &str = "secateur.toml";
/// The file that a baseline is kept in, unless another is named.
pub const BASELINE: &str = "secateur.baseline.json";

/// Why a gate could not be run at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// `secateur.toml` cannot be read or does not say what it must.
    #[error("{}: {reason}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what to do.
        reason: String,
    },
    /// A file cannot be read, or is not accepted.
    #[error("{0}")]
    Failure(secateur_checker::load::Failure),
    /// A baseline cannot be read or does not say what it must.
    #[error("{place}: {reason}")]
    Baseline {
        /// Where it is.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A baseline is not accepted in CI.
    #[error(
        "a baseline is accepted by a person, not by CI (the variable CI is set): run `secateur gate accept` yourself and \
         commit the file"
    )]
    InCi,
}

impl From<secateur_checker::load::Failure> for GateError {
    fn from(failure: secateur_checker::load::Failure) -> Self {
        Self::Failure(failure)
    }
}

impl GateError {
    /// The exit code of a command that ends for this reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failure(failure) => failure.exit_code(),
            Self::Config { .. } | Self::Baseline { .. } | Self::InCi => 2,
        }
    }
}
