//! What each kind of job does: from the folders of its inputs to the files of its output. Untrusted.
//! Equal specifications and inputs give equal bytes. `spec/sweep.md#jobs`.

mod certify;
mod episodes;
mod train;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::plan::Spec;
use crate::attack::plan::AttackError;
use crate::certify::CertifyError;
use crate::policy::input::{MAX_OWN, read_bytes};
use crate::policy::read::read_policy_dir;
use crate::policy::write::{WriteError, create_folder, write_atomically};
use crate::progress::Progress;
use crate::prune::{Method, Scope, prune};
use crate::rl::TrainError;
use crate::rl::env::EnvironmentError;

pub use certify::{CertifiedBounds, Claimed, StepCount};
pub use episodes::Episodes;

use super::config::{MaskMethod, MaskRecipe, MaskScope};

/// The file of a result that tables are made from.
pub const RESULT: &str = "result.json";
/// The training curve of a training job.
pub const CURVE: &str = "curve.csv";

/// Why a job gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Stopped by the user; what was checkpointed is kept.
    #[error("interrupted")]
    Interrupted,
    /// Its checkpoint cannot be used.
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
    /// Training failed.
    #[error(transparent)]
    Train(TrainError),
    /// An attack failed.
    #[error(transparent)]
    Attack(AttackError),
    /// Certification failed.
    #[error(transparent)]
    Certify(CertifyError),
    /// An environment failed.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An input cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

impl From<TrainError> for JobError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Checkpoint(reason) => Self::Checkpoint(reason.to_string()),
            error => Self::Train(error),
        }
    }
}

impl From<AttackError> for JobError {
    fn from(error: AttackError) -> Self {
        match error {
            AttackError::Stopped => Self::Interrupted,
            AttackError::Train(error) => error.into(),
            error => Self::Attack(error),
        }
    }
}

impl From<CertifyError> for JobError {
    fn from(error: CertifyError) -> Self {
        match error {
            CertifyError::Interrupted => Self::Interrupted,
            error => Self::Certify(error),
        }
    }
}

/// What a job is given.
pub struct JobContext<'a> {
    /// Empty folder for its output.
    pub out: &'a Path,
    /// Folder of its checkpoints, kept when it is interrupted.
    pub work: &'a Path,
    /// Folders of the results it needs, in the job's order.
    pub inputs: &'a [PathBuf],
    /// Whom to tell.
    pub progress: &'a dyn Progress,
}

impl JobContext<'_> {
    fn input(&self, position: usize) -> Result<&Path, JobError> {
        let found = self.inputs.get(position).map(PathBuf::as_path);
        found.ok_or_else(|| JobError::Other("the job lacks an input; please report this".to_owned()))
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), JobError> {
        let text = serde_json::to_string(value).map_err(|e| JobError::Other(e.to_string()))?;
        Ok(write_atomically(&self.out.join(name), (text + "\n").as_bytes())?)
    }
}

/// Reads the JSON of a result.
///
/// # Errors
/// [`JobError::Read`].
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, JobError> {
    let failed = |reason: String| JobError::Read { path: path.to_owned(), reason };
    let bytes = read_bytes(path, MAX_OWN).map_err(|e| failed(e.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|e| failed(e.to_string()))
}

/// Runs a job on the thread it is called from.
///
/// # Errors
/// [`JobError`].
pub fn run_job(spec: &Spec, context: &JobContext<'_>) -> Result<(), JobError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|e| JobError::Other(e.to_string()))?;
    pool.install(|| match spec {
        Spec::Train { config } => train::run(config, context),
        Spec::Prune { recipe, sparsity } => run_prune(recipe, sparsity, context),
        Spec::Certify { .. } => certify::run(spec, context),
        Spec::RandomPolicy { environment, plan } => episodes::run_random(environment, plan, context),
        Spec::Clean { environment, plan } => episodes::run_clean(environment, plan, context),
        Spec::Attack { environment, plan, own_critic } => {
            episodes::run_attacked(environment, plan, *own_critic, context)
        }
        Spec::Transfer { environment, plan } => episodes::run_transferred(environment, plan, context),
    })
}

/// Writes the mask of one sparsity: `masks/` with a chain of one.
fn run_prune(recipe: &MaskRecipe, sparsity: &str, context: &JobContext<'_>) -> Result<(), JobError> {
    let folder = context.input(0)?.join("policy");
    let policy = read_policy_dir(&folder)
        .map_err(|reason| JobError::Read { path: folder, reason: reason.to_string() })?;
    let method = match recipe.method {
        MaskMethod::Magnitude => Method::Magnitude,
        MaskMethod::Random => Method::Random { seed: recipe.seed },
    };
    let scope = match recipe.scope {
        MaskScope::Layer => Scope::Layer,
        MaskScope::Global => Scope::Global,
    };
    let masks = prune(&policy, &method, scope, &[sparsity.to_owned()]);
    let masks = masks.map_err(|e| JobError::Other(e.to_string()))?;
    create_folder(&context.out.join("masks"))?;
    certify::write_chain(&context.out.join("masks"), &masks, recipe)
}
