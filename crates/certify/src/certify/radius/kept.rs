//! What a search of radii has found so far, as a file from which the same search goes on. Untrusted: whatever the file says
//! goes through the checker's rule, as what was just found does. `spec/certificate-radius.md#unfinished-searches`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secateur_checker::evaluate::Problem;
use secateur_checker::reader::base64::decode;
use secateur_checker::reader::digest::{mask_digest, policy_digest, sha256_hex};
use serde::{Deserialize, Serialize};

use super::{AtState, RadiusRequest};
use crate::certify::base64::encode;
use crate::policy::input::read_bytes;
use crate::policy::write::write_atomically;

/// Value of `format`.
const FORMAT: &str = "secateur.radius-search/1";
/// Longest file that is read.
const MAX_KEPT: usize = 1 << 30;
/// The file is written again after so long, and at the end.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a file is no search that can be gone on with, or could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptRadiiError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It cannot be written.
    #[error("{0}")]
    Write(#[from] crate::policy::write::WriteError),
    /// Not such a file.
    #[error("not a kept search of radii ({0}); remove it to begin anew")]
    Malformed(#[from] serde_json::Error),
    /// A file of another format or version.
    #[error("its format is not {FORMAT}; remove it to begin anew")]
    Format,
    /// It belongs to another search.
    #[error(
        "it was kept for another search (policy, masks, states, radii, goals, families or options differ); name another file to begin anew"
    )]
    Other,
    /// An entry does not fit the search.
    #[error("its entry {0} is broken; remove the file to begin anew")]
    Broken(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: String,
    /// SHA-256 of all that decides what is found.
    search: String,
    found: Vec<Entry>,
}

/// What was found for one family, goal, mask and state.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Number of the search of one goal, mask and family, from 0 in the order of the search.
    part: usize,
    state: usize,
    /// Position of the multiple proved.
    proved: usize,
    /// Base64.
    evidence: String,
    broken: Option<Point>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    /// Position of the multiple at which it breaks the claim.
    at: usize,
    /// Base64 of binary64 numbers, the least significant byte first.
    offset: String,
}

struct Inner {
    found: BTreeMap<(usize, usize), Entry>,
    written: Instant,
    dirty: bool,
}

/// The file of one search; nothing is kept without a path.
pub(super) struct KeptRadii {
    path: Option<PathBuf>,
    search: String,
    inner: Mutex<Inner>,
}

/// A digest over all that decides what is found, this program's version included.
fn search_digest(problem: &Problem<'_>, request: &RadiusRequest, branch_steps: u64) -> String {
    let values = &problem.states.values;
    let mut states = format!("{:?} {}", problem.states.units, values.columns).into_bytes();
    for value in &values.values {
        states.extend(value.mantissa.to_le_bytes());
        states.extend(value.exponent.to_le_bytes());
    }
    let masks: Vec<String> =
        problem.masks.iter().map(|mask| mask_digest(mask, &problem.policy.network)).collect();
    let RadiusRequest { goals, families, cap, attack, keep: _ } = request;
    let text = format!(
        "{FORMAT} {}\n{}\n{masks:?}\n{}\n{:?}\n{goals:?} {families:?} {cap} {attack} {branch_steps}",
        env!("CARGO_PKG_VERSION"),
        policy_digest(problem.policy, None),
        sha256_hex(&states),
        problem.perturbation,
    );
    sha256_hex(text.as_bytes())
}

impl KeptRadii {
    /// What the request's file holds, if there is one.
    ///
    /// # Errors
    /// [`KeptRadiiError`], with the file.
    pub(super) fn open(
        problem: &Problem<'_>,
        request: &RadiusRequest,
        branch_steps: u64,
    ) -> Result<Self, (PathBuf, KeptRadiiError)> {
        let (path, search) = (request.keep.clone(), search_digest(problem, request, branch_steps));
        let found = match &path {
            Some(path) if path.exists() => {
                read(path, &search, problem).map_err(|error| (path.clone(), error))?
            }
            _ => BTreeMap::new(),
        };
        let inner = Mutex::new(Inner { found, written: Instant::now(), dirty: false });
        Ok(Self { path, search, inner })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a state in one part of the search, whose largest position is `cap`.
    pub(super) fn known(&self, part: usize, state: usize, cap: usize) -> Option<AtState> {
        let entry = self.inner().found.get(&(part, state)).cloned()?;
        let broken = match &entry.broken {
            Some(point) => Some((point.at, floats(&point.offset)?)),
            None => None,
        };
        let fits = entry.proved <= cap && broken.as_ref().is_none_or(|(at, _)| *at <= cap);
        fits.then_some(AtState { proved: entry.proved, evidence: decode(&entry.evidence).ok()?, broken })
    }

    /// Keeps what was found.
    ///
    /// # Errors
    /// [`KeptRadiiError::Write`], with the file.
    pub(super) fn add(
        &self,
        part: usize,
        state: usize,
        at: &AtState,
    ) -> Result<(), (PathBuf, KeptRadiiError)> {
        if self.path.is_none() {
            return Ok(());
        }
        let broken = at.broken.as_ref().map(|(position, offset)| Point {
            at: *position,
            offset: encode(&offset.iter().flat_map(|o| o.to_le_bytes()).collect::<Vec<u8>>()),
        });
        let entry = Entry { part, state, proved: at.proved, evidence: encode(&at.evidence), broken };
        let mut inner = self.inner();
        inner.found.insert((part, state), entry);
        inner.dirty = true;
        if inner.written.elapsed() < PAUSE { Ok(()) } else { self.write(&mut inner) }
    }

    /// Writes what is not yet in the file.
    ///
    /// # Errors
    /// [`KeptRadiiError::Write`], with the file.
    pub(super) fn flush(&self) -> Result<(), (PathBuf, KeptRadiiError)> {
        let mut inner = self.inner();
        if inner.dirty { self.write(&mut inner) } else { Ok(()) }
    }

    fn write(&self, inner: &mut Inner) -> Result<(), (PathBuf, KeptRadiiError)> {
        let Some(path) = &self.path else { return Ok(()) };
        let (format, search) = (FORMAT.to_owned(), self.search.clone());
        let kept = Kept { format, search, found: inner.found.values().cloned().collect() };
        let written = serde_json::to_vec(&kept)
            .map_err(KeptRadiiError::from)
            .and_then(|bytes| Ok(write_atomically(path, &bytes)?));
        written.map_err(|error| (path.clone(), error))?;
        (inner.written, inner.dirty) = (Instant::now(), false);
        Ok(())
    }
}

fn floats(text: &str) -> Option<Vec<f64>> {
    let bytes = decode(text).ok()?;
    let words = bytes.chunks_exact(8);
    words.remainder().is_empty().then_some(())?;
    words.map(|word| Some(f64::from_le_bytes(word.try_into().ok()?))).collect()
}

fn read(
    path: &Path,
    search: &str,
    problem: &Problem<'_>,
) -> Result<BTreeMap<(usize, usize), Entry>, KeptRadiiError> {
    let kept: Kept = serde_json::from_slice(&read_bytes(path, MAX_KEPT)?)?;
    if kept.format != FORMAT {
        return Err(KeptRadiiError::Format);
    }
    if kept.search != search {
        return Err(KeptRadiiError::Other);
    }
    let (states, inputs) = (problem.states.values.rows, problem.policy.network.inputs());
    let mut found = BTreeMap::new();
    for (index, entry) in kept.found.into_iter().enumerate() {
        let offset = entry.broken.as_ref().map(|point| floats(&point.offset));
        let whole = match &offset {
            None => true,
            Some(Some(offset)) => offset.len() == inputs && offset.iter().all(|o| o.is_finite()),
            Some(None) => false,
        };
        if entry.state >= states || !whole || decode(&entry.evidence).is_err() {
            return Err(KeptRadiiError::Broken(index));
        }
        found.insert((entry.part, entry.state), entry);
    }
    Ok(found)
}
