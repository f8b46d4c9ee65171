//! Training jobs: policy, critic, visited states and the curve. Untrusted.
//! `spec/sweep.md#jobs`.

use std::path::Path;

use super::{CURVE, JobContext, JobError};
use crate::float::policy::FloatPolicy;
use crate::policy::emit::{write_npy, write_policy_dir};
use crate::policy::input::{MAX_OWN, read_text};
use crate::policy::write::write_atomically;
use crate::rl::{TrainConfig, TrainFiles, train};

/// Column of the log that differs from run to run.
const SPEED: &str = "charts/SPS";

/// The log without its column of speeds, which no two runs share.
fn curve(log: &Path) -> Result<String, JobError> {
    let text = read_text(log, MAX_OWN)
        .map_err(|e| JobError::Read { path: log.to_owned(), reason: e.to_string() })?;
    let speed = text.lines().next().and_then(|head| head.split(',').position(|name| name == SPEED));
    let line = |line: &str| {
        let kept = line.split(',').enumerate().filter(|(column, _)| Some(*column) != speed);
        kept.map(|(_, cell)| cell).collect::<Vec<_>>().join(",") + "\n"
    };
    Ok(text.lines().map(line).collect())
}

pub(super) fn run(config: &TrainConfig, context: &JobContext<'_>) -> Result<(), JobError> {
    let files = TrainFiles {
        logs: Some(context.work.join("logs")),
        checkpoint: Some(context.work.join("checkpoint.json")),
    };
    let outcome = train(config, &files, context.progress)?;
    if !outcome.finished {
        return Err(JobError::Interrupted);
    }
    write_policy_dir(&context.out.join("policy"), &outcome.policy)?;
    write_policy_dir(&context.out.join("critic"), &FloatPolicy::of_critic(outcome.critic).to_data())?;
    let (rows, columns) = outcome.states.dim();
    let values: Vec<f64> = outcome.states.iter().copied().collect();
    write_npy(&context.out.join("states.npy"), rows, columns, &values)?;
    let settings = toml::to_string(config).map_err(|e| JobError::Other(e.to_string()))?;
    write_atomically(&context.out.join("train.toml"), settings.as_bytes())?;
    let curve = curve(&context.work.join("logs/progress.csv"))?;
    Ok(write_atomically(&context.out.join(CURVE), curve.as_bytes())?)
}
