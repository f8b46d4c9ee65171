//! Checkpoints: everything a run needs to go on to the same bytes, as one JSON file replaced at once. Untrusted.
//! Floats are stored as their 64 bits, so reading gives back what was written.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::normaliser::{ObservationNormaliser, RewardScaler};
use super::ppo::{Agent, Optimisers};
use super::pruning::Masks;
use super::rollout::SeatState;
use crate::float::bits;
use crate::float::head::FloatHead;
use crate::float::rng::RngState;
use crate::policy::input::{MAX_OWN, read_bytes};
use crate::policy::write::{create_folder, parent_of, write_atomically};

/// Version of the format.
const FORMAT: &str = "secateur.checkpoint/2";

/// Parameters of an agent without its shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AgentState {
    #[serde(with = "bits")]
    actor: Vec<f64>,
    #[serde(with = "bits")]
    log_std: Vec<f64>,
    #[serde(with = "bits")]
    critic: Vec<f64>,
}

/// A policy that was best so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BestState {
    #[serde(with = "bits::one")]
    pub score: f64,
    pub agent: AgentState,
    pub observations: ObservationNormaliser,
}

/// State of a run between two updates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub format: String,
    pub config: TrainConfig,
    pub updates: usize,
    pub agent: AgentState,
    pub optimisers: Optimisers,
    pub observations: ObservationNormaliser,
    pub rewards: Option<RewardScaler>,
    pub shuffler: RngState,
    pub ascender: RngState,
    pub seats: Vec<SeatState>,
    pub best: Option<BestState>,
    /// One entry a weight, `true` = kept; empty without masks.
    pub masks: Masks,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no checkpoint of this version.
    #[error("{path} is no checkpoint of this version: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Where it fails.
        reason: String,
    },
    /// It belongs to a run with other settings.
    #[error("the checkpoint belongs to a run with other settings; start anew or use its own")]
    OtherConfig,
    /// Its parts do not fit its settings.
    #[error("the checkpoint's parts do not fit its settings")]
    Shape,
}

impl AgentState {
    pub(super) fn of(agent: &Agent) -> Self {
        let log_std =
            if let FloatHead::Gaussian { log_std } = &agent.head { log_std.clone() } else { Vec::new() };
        Self {
            actor: agent.actor.parameters().copied().collect(),
            log_std,
            critic: agent.critic.parameters().copied().collect(),
        }
    }

    /// Writes the parameters into an agent of the same shape.
    pub(super) fn restore(&self, agent: &mut Agent) -> Result<(), CheckpointError> {
        let log_std = match &mut agent.head {
            FloatHead::Gaussian { log_std } => log_std.as_mut_slice(),
            _ => &mut [],
        };
        let lengths = [agent.actor.parameters().count(), log_std.len(), agent.critic.parameters().count()];
        if lengths != [self.actor.len(), self.log_std.len(), self.critic.len()] {
            return Err(CheckpointError::Shape);
        }
        log_std.copy_from_slice(&self.log_std);
        agent.actor.parameters_mut().zip(&self.actor).for_each(|(target, value)| *target = *value);
        agent.critic.parameters_mut().zip(&self.critic).for_each(|(target, value)| *target = *value);
        Ok(())
    }
}

impl Checkpoint {
    pub(super) fn format() -> String {
        FORMAT.to_owned()
    }

    /// Writes to a temporary file beside `path`, then renames: whoever reads `path` sees the old or the new one, whole.
    pub(super) fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let failed = |source| CheckpointError::File { path: path.display().to_string(), source };
        let bytes = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let written = create_folder(parent_of(path)).and_then(|()| write_atomically(path, &bytes));
        written.map_err(|error| failed(error.source))
    }

    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let name = || path.display().to_string();
        let bytes =
            read_bytes(path, MAX_OWN).map_err(|source| CheckpointError::File { path: name(), source })?;
        let malformed = |reason: String| CheckpointError::Malformed { path: name(), reason };
        let found: Self = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if found.format == FORMAT {
            Ok(found)
        } else {
            Err(malformed(format!("its format is {:?}", found.format)))
        }
    }
}
