//! A file that is said to be a known policy, imported again: what the file itself does not say is taken from the policy,
//! and what it says is never replaced. Untrusted; the caller compares every number. `spec/gate.md#binding`.

use std::path::Path;

use secateur_checker::model::{Head, Policy};

use super::record::options_of;
use super::{HeadKind, ImportError, ImportOptions, Imported, LogStd, Problem, import_bytes};
use crate::float::dyadic_to_float;
use crate::policy::read::activation_spec;

/// An import, and whether the standard deviations are the file's own.
pub struct Reread {
    /// What was read.
    pub imported: Imported,
    /// Whether the standard deviations come from the file; true where the head has none.
    pub log_std: bool,
}

/// The head of a policy as an import is told it.
pub fn head_kind(policy: &Policy) -> HeadKind {
    match policy.head {
        Head::Gaussian { .. } => HeadKind::Gaussian,
        Head::Categorical => HeadKind::Categorical,
        Head::Deterministic => HeadKind::Deterministic,
    }
}

/// Imports `bytes` as the policy `known`, with the options that it was imported with if they fit the file, else with its head and
/// activations alone.
///
/// # Errors
/// Those of the attempt that says most.
pub fn reread(path: &Path, bytes: &[u8], known: &Policy, head: HeadKind) -> Result<Reread, ImportError> {
    let plain = ImportOptions { head: Some(head), ..ImportOptions::default() };
    let layers = &known.network.layers;
    let trained: Vec<_> =
        layers.iter().filter(|l| !l.fixed).map(|l| activation_spec(&l.activation)).collect();
    let mut told = plain.clone();
    if let Some((last, hidden)) = trained.split_last() {
        told.activation = hidden.first().filter(|first| hidden.iter().all(|a| a == *first)).cloned();
        told.output_activation = Some(last.clone());
    }
    let recorded = known.source.as_ref().and_then(|source| {
        // Its own files are not at hand: a normaliser and standard deviations are the deployed file's, or absent.
        let kept: Vec<_> = source
            .options
            .iter()
            .filter(|(name, _)| !["log-std", "clip", "normaliser-epsilon", "mask"].contains(&name.as_str()))
            .cloned()
            .collect();
        options_of(&kept, None, None).ok()
    });
    let recorded = recorded.map(|options| ImportOptions { head: Some(head), ..options });
    let mut failed = None;
    for options in [Some(plain), Some(told), recorded].into_iter().flatten() {
        match attempt(path, bytes, known, &options) {
            Ok(read) => return Ok(read),
            Err(error) => failed = Some(failed.unwrap_or(error)),
        }
    }
    Err(failed.unwrap_or_else(|| ImportError { file: path.to_owned(), problem: Problem::UnknownFormat }))
}

fn attempt(
    path: &Path,
    bytes: &[u8],
    known: &Policy,
    options: &ImportOptions,
) -> Result<Reread, ImportError> {
    match import_bytes(path, bytes, options) {
        Ok(imported) => Ok(Reread { imported, log_std: true }),
        Err(ImportError { problem: Problem::NoLogStd, .. }) => {
            let Head::Gaussian { log_std } = &known.head else { return import_failed(path) };
            let texts = log_std.iter().map(|v| format!("{:?}", dyadic_to_float(*v))).collect();
            let options = ImportOptions { log_std: Some(LogStd::Values(texts)), ..options.clone() };
            Ok(Reread { imported: import_bytes(path, bytes, &options)?, log_std: false })
        }
        Err(error) => Err(error),
    }
}

fn import_failed(path: &Path) -> Result<Reread, ImportError> {
    Err(ImportError { file: path.to_owned(), problem: Problem::NoLogStd })
}
