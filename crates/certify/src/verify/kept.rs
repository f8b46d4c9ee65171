//! An unfinished search as a file, bound to the network and the property it is about. Untrusted: whatever the file says,
//! the tree it leads to goes through the checker. `spec/property.md#unfinished-searches`.

use secateur_checker::reader::digest::sha256_hex;
use serde::{Deserialize, Serialize};

use super::neurons::{KeptRows, rows_fit};
use super::{Question, QuestionNetwork, SearchState};
use crate::search::branch::BranchState;

/// Value of `format`.
const FORMAT: &str = "secateur.search/1";

/// Why a file is no search that can be gone on with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// Not such a file.
    #[error("not a kept search ({0}); remove it to begin anew")]
    Malformed(#[from] serde_json::Error),
    /// A file of another format or version.
    #[error("its format is not {FORMAT}; remove it to begin anew")]
    Format,
    /// It belongs to another question.
    #[error("it was kept for another {0}; name another file to begin anew")]
    Other(&'static str),
    /// Its tree does not fit the network.
    #[error("its tree of case {0} is broken; remove the file to begin anew")]
    Broken(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: String,
    /// SHA-256 of each `policy.json`, each `policy.safetensors` and `property.json`.
    manifest: String,
    tensors: String,
    property: String,
    states: Vec<BranchState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<KeptRows>,
}

/// SHA-256 of a file of each network, with a space between.
fn digests(question: &Question, file: fn(&QuestionNetwork) -> &Vec<u8>) -> String {
    question.networks.iter().map(|network| sha256_hex(file(network))).collect::<Vec<_>>().join(" ")
}

/// The file's contents: where the search stands and the digests of what it is about.
///
/// # Errors
/// [`KeptError::Malformed`] if a state cannot be written.
pub fn emit_search(question: &Question, search: SearchState) -> Result<Vec<u8>, KeptError> {
    let kept = Kept {
        format: FORMAT.to_owned(),
        manifest: digests(question, |network| &network.manifest),
        tensors: digests(question, |network| &network.tensors),
        property: sha256_hex(&question.property),
        states: search.states,
        rows: search.rows,
    };
    Ok(serde_json::to_vec(&kept)?)
}

/// Where the search stood that a file was kept of for the same question.
///
/// # Errors
/// [`KeptError`].
pub fn parse_search(question: &Question, bytes: &[u8]) -> Result<SearchState, KeptError> {
    let kept: Kept = serde_json::from_slice(bytes)?;
    if kept.format != FORMAT {
        return Err(KeptError::Format);
    }
    let network_matches = kept.manifest == digests(question, |network| &network.manifest)
        && kept.tensors == digests(question, |network| &network.tensors);
    if !network_matches {
        return Err(KeptError::Other("network"));
    }
    if kept.property != sha256_hex(&question.property) || kept.states.len() != question.cases.len() {
        return Err(KeptError::Other("property"));
    }
    let network = &question.policy.network;
    let widths: Vec<usize> = network.layers.iter().map(|l| l.weight.rows).collect();
    let broken = kept.states.iter().position(|s| !s.fits(network.inputs(), &widths));
    if let Some(case) = broken {
        return Err(KeptError::Broken(case));
    }
    if !kept.rows.iter().all(|rows| rows_fit(rows, &widths)) {
        return Err(KeptError::Broken(0));
    }
    Ok(SearchState { states: kept.states, rows: kept.rows })
}
