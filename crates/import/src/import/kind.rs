//! Which format a file has, told by its bytes; arrays of the formats that are nothing but arrays. Untrusted.

use std::path::Path;

use super::array::Arrays;
use super::problem::{ImportError, Problem, read_capped};
use super::{archive, foreign, npy, pickle, safetensors, torch};

pub(super) fn is_stable_baselines(bytes: &[u8]) -> bool {
    archive::is_zip(bytes)
        && archive::entry_names(bytes).is_ok_and(|names| names.iter().any(|name| name == "policy.pth"))
}

/// Arrays of a safetensors or NPZ file, as masks and scores use them.
///
/// # Errors
/// [`ImportError`].
pub fn read_arrays(path: &Path) -> Result<Arrays, ImportError> {
    let bytes = read_capped(path)?;
    let read = foreign::known(&bytes).and_then(|known| known.map_or_else(|| arrays_of(&bytes), Err));
    read.map_err(|problem| ImportError { file: path.to_owned(), problem })
}

pub(super) fn arrays_of(bytes: &[u8]) -> Result<Arrays, Problem> {
    if archive::is_zip(bytes) {
        return match archive::entry_names(bytes)?.iter().any(|n| n.ends_with(".npy")) {
            true => npy::parse_npz(bytes),
            false => torch::parse_zip(bytes),
        };
    }
    if safetensors::is_safetensors(bytes) {
        return safetensors::parse_safetensors(bytes);
    }
    if pickle::is_pickle(bytes) { torch::parse_legacy(bytes) } else { Err(Problem::UnknownFormat) }
}
