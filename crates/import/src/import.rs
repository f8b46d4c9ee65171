//! Foreign policy files to `PolicyData`: safetensors, NPZ, ONNX, PyTorch, Stable-Baselines3. Untrusted: what is read
//! here is written as canonical files, which the checker's reader reads again. `spec/semantics.md#files`.
//!
//! Feed-forward networks of affine layers and activations only: no recurrence, convolution, normalisation layer or
//! residual connection; each is refused by name.

use crate::policy::PolicyData;
use draft::Draft;
use kind::{arrays_of, is_stable_baselines};
use std::path::Path;

pub mod archive;
pub mod array;
pub mod bound;
pub mod compare;
mod draft;
mod foreign;
mod kind;
pub mod masks;
mod modules;
mod named;
mod names;
mod normaliser;
pub mod npy;
mod observation;
mod onnx;
mod order;
mod pickle;
mod pieces;
mod problem;
mod record;
pub mod reimport;
pub mod safetensors;
mod stable_baselines;
mod torch;
mod unpacked;
pub mod words;

pub use kind::read_arrays;
pub use normaliser::read_normaliser;
pub use onnx::write_onnx;
pub use problem::{HeadKind, ImportError, ImportOptions, LogStd, MAX_FILE, Problem, read_capped};
pub use record::{ACTIVATIONS, activation_text, parse_activation};
pub use unpacked::read_unpacked;

/// A policy and what became of the file's tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The policy.
    pub policy: PolicyData,
    /// Name of each layer's weight in the file, for masks and messages.
    pub names: Vec<String>,
    /// Tensors that the policy is made of. Empty for formats that have no dictionary of tensors.
    pub used: Vec<String>,
    /// Tensors that are no part of the policy, and why.
    pub ignored: Vec<(String, &'static str)>,
    /// Remarks for the person: what was assumed, what is not part of the network, what may be missing.
    pub notes: Vec<String>,
}

/// Imports a policy; the format is told by the file's content, never by its name. Tensors keep their stored bytes.
///
/// # Errors
/// [`ImportError`]; nothing in the file is ever executed, and no other file is opened on its behalf.
pub fn import(path: &Path, options: &ImportOptions) -> Result<PolicyData, ImportError> {
    import_accounted(path, options).map(|imported| imported.policy)
}

/// Imports a policy as [`import`] does, and says what became of each tensor and what may be missing.
///
/// # Errors
/// [`ImportError`].
pub fn import_accounted(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    import_bytes(path, &read_capped(path)?, options)
}

/// As [`import_accounted`], of a file whose bytes were read; `path` is what messages call it.
///
/// # Errors
/// [`ImportError`].
pub fn import_bytes(path: &Path, bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    let in_file = |problem| ImportError { file: path.to_owned(), problem };
    let mut notes = Vec::new();
    let (mut draft, settled) = read_draft(path, bytes, options, &mut notes).map_err(in_file)?;
    if let Some(file) = &options.normaliser {
        let read = normaliser::read_with_notes(file, options, &mut notes)?;
        if draft.normaliser.as_ref().is_some_and(|own| *own != read) {
            return Err(in_file(Problem::TwoNormalisers));
        }
        draft.normaliser = Some(read);
    }
    if let Some(LogStd::File(file)) = &options.log_std {
        let in_npy = |problem| ImportError { file: file.clone(), problem };
        let array = npy::parse_npy("log_std", &read_capped(file)?).map_err(in_npy)?;
        draft.log_std = Some(array.floats("log_std").map_err(in_npy)?);
    }
    let source = record::source_of(path, bytes, options)?;
    let mut rest = options.clone();
    if settled {
        // the reader has compared it with what the file says; the last layer may be a scale layer
        rest.output_activation = None;
    }
    if options.normaliser.is_some() {
        rest.normaliser_epsilon = None;
    }
    let names = draft.layers.iter().map(|(name, _)| name.clone()).collect();
    let (used, ignored) = (std::mem::take(&mut draft.used), std::mem::take(&mut draft.ignored));
    let policy = draft.finish(&rest, source).map_err(in_file)?;
    Ok(Imported { policy, names, used, ignored, notes })
}

fn no_output(options: &ImportOptions) -> Result<(), Problem> {
    let reason = "it chooses an output of an ONNX graph".to_owned();
    if options.output.is_some() { Err(Problem::NoEffect { option: "--output", reason }) } else { Ok(()) }
}

/// The draft, and whether the reader has settled all activations itself.
fn read_draft(
    path: &Path,
    bytes: &[u8],
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<(Draft, bool), Problem> {
    if let Some(problem) = foreign::known(bytes)? {
        return Err(problem);
    }
    if is_stable_baselines(bytes) {
        no_output(options)?;
        return stable_baselines::parse(path, bytes, options, notes).map(|draft| (draft, true));
    }
    if options.action_bounds.is_some() {
        let reason = "the file is no Stable-Baselines3 archive".to_owned();
        return Err(Problem::NoEffect { option: "--action-bounds", reason });
    }
    let pickled = pickle::is_pickle(bytes) || archive::is_zip(bytes) && torch::is_checkpoint(bytes)?;
    if pickled && let Some(problem) = torch::no_policy(bytes)? {
        return Err(problem);
    }
    if !pickled && pickle::is_old_pickle(bytes) {
        let (read, root, _) = pickle::Pickle::parse(bytes, 0)?;
        return Err(foreign::pickle(&read, root));
    }
    match arrays_of(bytes) {
        Err(Problem::UnknownFormat) => onnx::parse(bytes, options, notes),
        Ok(arrays) => no_output(options).and_then(|()| named::draft(&arrays, options)),
        Err(other) => Err(other),
    }
    .map(|draft| (draft, false))
}
