//! A deployed file is the certified policy under a mask: imported here and compared number by number. Untrusted: it relies
//! on the importers. `spec/gate.md#binding`.

use std::path::{Path, PathBuf};

use secateur_checker::load::{MaskDirectory, PolicyDirectory};
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::policy::parse_policy;

use crate::export::pruned;
use crate::import::bound::{Reread, head_kind, reread};
use crate::import::compare::{Difference, Scope, compare_policies};
use crate::import::{ImportError, read_capped};
use crate::policy::emit::{emit_manifest, emit_tensors};

/// A file that is bound to a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its plain SHA-256.
    pub sha256: String,
    /// The mask.
    pub mask: usize,
    /// Parts of the policy that the file does not hold: `log_std`, `normaliser`.
    pub absent: Vec<&'static str>,
}

/// Why a file is not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It cannot be imported.
    #[error("{}", .0.problem)]
    Import(#[from] ImportError),
    /// What it holds is no policy.
    #[error("what it holds is no policy: {0}")]
    NoPolicy(String),
    /// It is another network than dense o mask.
    #[error("it is not the policy under mask {mask}: {}", words(.difference))]
    Differs {
        /// The mask.
        mask: usize,
        /// The first difference.
        difference: Difference,
    },
    /// It is the policy under none of the masks.
    #[error("it is the policy under none of the {masks} masks; under mask {mask}: {}", words(.difference))]
    NoMask {
        /// How many there are.
        masks: usize,
        /// The mask that agrees furthest.
        mask: usize,
        /// The first difference there.
        difference: Difference,
    },
    /// The chain has no such mask.
    #[error("there is no mask {mask}; the chain has masks 0 to {last}")]
    UnknownMask {
        /// Asked for.
        mask: usize,
        /// Last.
        last: usize,
    },
}

fn words(difference: &Difference) -> String {
    format!("{} is {} in the file, certified is {}", difference.place, difference.found, difference.stored)
}

/// Imports the file and compares it with the policy under `mask`, or under each mask where none is named.
///
/// # Errors
/// [`BindError`].
pub fn bind(
    path: &Path,
    mask: Option<usize>,
    policy: &PolicyDirectory,
    masks: &MaskDirectory,
) -> Result<BoundFile, BindError> {
    let last = masks.masks.len().saturating_sub(1);
    if let Some(mask) = mask.filter(|mask| *mask > last) {
        return Err(BindError::UnknownMask { mask, last });
    }
    let bytes = read_capped(path)?;
    let stored = &policy.files.policy;
    let Reread { imported, log_std } = reread(path, &bytes, stored, head_kind(stored))?;
    let data = &imported.policy;
    let found = parse_policy(&emit_manifest(data), &emit_tensors(data));
    let found = found.map_err(|e| BindError::NoPolicy(e.to_string()))?.policy;
    let normaliser = found.normaliser.is_some() || stored.normaliser.is_none();
    let scope = Scope { log_std, normaliser };
    let mut furthest: Option<(usize, Difference)> = None;
    for (index, kept) in masks.masks.iter().enumerate().filter(|(index, _)| mask.is_none_or(|m| m == *index))
    {
        match compare_policies(&found, &pruned(stored, kept), scope) {
            Ok(()) => {
                let absent = [("log_std", log_std), ("normaliser", normaliser)];
                let absent = absent.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect();
                return Ok(BoundFile {
                    path: path.to_owned(),
                    sha256: sha256_hex(&bytes),
                    mask: index,
                    absent,
                });
            }
            Err(difference) => furthest = Some((index, difference)),
        }
    }
    Err(match (mask, furthest) {
        (_, None) => BindError::UnknownMask { mask: mask.unwrap_or(0), last },
        (Some(mask), Some((_, difference))) => BindError::Differs { mask, difference },
        (None, Some((mask, difference))) => BindError::NoMask { masks: masks.masks.len(), mask, difference },
    })
}
