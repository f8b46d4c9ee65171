//! The training loop: updates, evaluations, logs, checkpoints, until the end or until told to stop. Untrusted.
//! The order of everything is CleanRL's `ppo_continuous_action.py`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::config::TrainConfig;
use super::env::make_environment;
use super::log::CurveLog;
use super::start::TrainStart;
use super::trainer::{MakeEnvironment, TrainError, TrainOutcome, Trainer, UpdateRecord};
use crate::progress::Progress;

/// Where a run leaves its traces; nothing is written for what is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainFiles {
    /// Directory of `progress.csv` and the TensorBoard event file.
    pub logs: Option<PathBuf>,
    /// The checkpoint; an existing one is resumed from.
    pub checkpoint: Option<PathBuf>,
}

/// Work that a run with a checkpoint loses at most when it is ended within an update, beside that update.
const LONGEST_LOSS: Duration = Duration::from_secs(10);

/// Episodes whose mean return is shown while training.
const RECENT: usize = 20;

/// Names and values of a row of the logs; NaN where there is nothing.
fn row(record: &UpdateRecord) -> [(&'static str, f64); 13] {
    let count = record.episodes.len() as f64;
    let mean = |total: f64| if count > 0.0 { total / count } else { f64::NAN };
    [
        ("charts/episodic_return", mean(record.episodes.iter().map(|episode| episode.episode_return).sum())),
        ("charts/episodic_length", mean(record.episodes.iter().map(|episode| episode.length as f64).sum())),
        ("charts/evaluation", record.evaluation.unwrap_or(f64::NAN)),
        ("charts/learning_rate", record.schedule.learning_rate),
        ("charts/epsilon", record.schedule.epsilon),
        ("charts/sparsity", record.sparsity),
        ("charts/SPS", record.steps_per_second),
        ("losses/policy_loss", record.losses.policy),
        ("losses/value_loss", record.losses.value),
        ("losses/entropy", record.losses.entropy),
        ("losses/approx_kl", record.losses.divergence),
        ("losses/clipfrac", record.losses.clipped),
        ("losses/regulariser", record.losses.regulariser),
    ]
}

/// Trains a policy; resumes if `files.checkpoint` exists. The weights depend on the settings alone: not on the number of
/// threads, nor on interruptions.
///
/// # Errors
/// [`TrainError`], whichever comes first.
pub fn train(
    config: &TrainConfig,
    files: &TrainFiles,
    progress: &dyn Progress,
) -> Result<TrainOutcome, TrainError> {
    train_in(config, &make_environment, None, files, progress)
}

/// The same in environments made by `make`, on from `start` if there is one.
///
/// # Errors
/// Those of [`train_from`] and of `make`.
pub fn train_in(
    config: &TrainConfig,
    make: &MakeEnvironment<'_>,
    start: Option<&TrainStart>,
    files: &TrainFiles,
    progress: &dyn Progress,
) -> Result<TrainOutcome, TrainError> {
    config.check()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.threads).build()?;
    pool.install(|| run(config, (make, start), files, progress))
}

/// Trains on from `start`, under its masks: fine-tuning. The weights change, so the policy is a new base policy with a digest
/// of its own, and no certificate of the old one says anything about it.
///
/// # Errors
/// Those of [`train`]; [`TrainError::Start`].
pub fn train_from(
    config: &TrainConfig,
    start: &TrainStart,
    files: &TrainFiles,
    progress: &dyn Progress,
) -> Result<TrainOutcome, TrainError> {
    train_in(config, &make_environment, Some(start), files, progress)
}

/// Whether a run with these settings can go on from the checkpoint.
pub fn belongs_to(checkpoint: &Path, config: &TrainConfig) -> bool {
    let same = |found: Checkpoint| TrainConfig { threads: config.threads, ..found.config } == *config;
    Checkpoint::read(checkpoint).is_ok_and(same)
}

fn run(
    config: &TrainConfig,
    (make, start): (&MakeEnvironment<'_>, Option<&TrainStart>),
    files: &TrainFiles,
    progress: &dyn Progress,
) -> Result<TrainOutcome, TrainError> {
    let mut trainer = match (&files.checkpoint, start) {
        (Some(path), _) if path.exists() => Trainer::resume_in(config, make, start, path)?,
        (_, Some(start)) => Trainer::new_from(config, make, start)?,
        (_, None) => Trainer::new_in(config, make)?,
    };
    if let Some(path) = files.checkpoint.as_ref().filter(|path| !path.exists()) {
        // From here on logs are there, and only a checkpoint says that they are of this run.
        trainer.save(path)?;
    }
    let mut log = match &files.logs {
        Some(directory) => Some(CurveLog::open(directory, trainer.global_step())?),
        None => None,
    };
    let mut environment = make(&config.env_id)?;
    let mut saved = Instant::now();
    let mut returns = Vec::new();
    while !trainer.finished() {
        let mut record = trainer.update()?;
        let due = |interval: usize| interval > 0 && trainer.updates().is_multiple_of(interval);
        let save = due(config.checkpoint_interval) || saved.elapsed() > LONGEST_LOSS;
        if due(config.eval_interval) || config.keep_best && trainer.finished() {
            record.evaluation = Some(trainer.evaluate(environment.as_mut())?);
        }
        if let Some(log) = &mut log {
            log.write((record.global_step, &row(&record)))?;
        }
        returns.extend(record.episodes.iter().map(|episode| episode.episode_return));
        let recent = &returns[returns.len().saturating_sub(RECENT)..];
        if !recent.is_empty() {
            progress.remark(&format!("return {:.1}", recent.iter().sum::<f64>() / recent.len() as f64));
        }
        progress.advance("training", record.global_step, record.total_timesteps);
        let stop = progress.stopped() && !trainer.finished();
        if let Some(path) = files.checkpoint.as_ref().filter(|_| save || stop || trainer.finished()) {
            trainer.save(path)?;
            saved = Instant::now();
        }
        if stop {
            break;
        }
    }
    trainer.finish(environment.as_mut())
}
