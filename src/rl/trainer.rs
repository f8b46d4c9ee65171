//! The training loop: rollouts, updates, evaluations, checkpoints, logs. Untrusted; read it top to bottom.
//! The order of everything is CleanRL's `ppo_continuous_action.py`; what differs is said where it differs.

use std::path::PathBuf;
use std::time::Instant;

use ndarray::Array2;

use super::checkpoint::{AgentState, BestState, Checkpoint, CheckpointError};
use super::config::{ConfigError, TrainConfig};
use super::env::{ActionSpace, EnvironmentError, make_environment};
use super::evaluate::{evaluate, visited_states};
use super::float_policy::FloatPolicy;
use super::head::FloatHead;
use super::log::CurveLog;
use super::net::Mlp;
use super::normaliser::{FixedNormaliser, RewardScaler, RunningMoments};
use super::ppo::{Agent, Optimisers, Schedule, UpdateLosses, update};
use super::rng::SeededRng;
use super::rollout::{Actor, Episode, Seat, Statistics, collect};
use crate::policy::PolicyData;

/// Where a run leaves its traces; nothing is written for what is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainFiles {
    /// Directory of `progress.csv` and the TensorBoard event file.
    pub logs: Option<PathBuf>,
    /// The checkpoint; an existing one is resumed from.
    pub checkpoint: Option<PathBuf>,
}

/// What happened in one update.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateRecord {
    /// Environment steps so far.
    pub global_step: usize,
    /// Environment steps in all.
    pub total_timesteps: usize,
    /// Episodes that ended during the rollout.
    pub episodes: Vec<Episode>,
    /// Losses.
    pub losses: UpdateLosses,
    /// Step size and radius.
    pub schedule: Schedule,
    /// Mean return of an evaluation after this update, if there was one.
    pub evaluation: Option<f64>,
    /// Environment steps a second of this update, evaluation aside.
    pub steps_per_second: f64,
}

/// Watches a run, and may end it.
pub trait Progress {
    /// Called after every update.
    fn updated(&mut self, record: &UpdateRecord);
    /// Asked after every update; `true` writes a checkpoint and ends the run.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
impl Progress for () {
    fn updated(&mut self, _: &UpdateRecord) {}
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The environment cannot be made or moved.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Logs cannot be written.
    #[error("the logs cannot be written: {0}")]
    Log(#[from] std::io::Error),
    /// Worker threads cannot be started.
    #[error("worker threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// Weights left the range of numbers.
    #[error("training diverged after {global_step} steps; lower the learning rate")]
    Diverged {
        /// Environment steps done.
        global_step: usize,
    },
    /// Masks that do not fit the policy's weights.
    #[error("the masks do not fit the policy's weights")]
    Masks,
}

/// What a run produced.
#[derive(Clone, Debug)]
pub struct TrainOutcome {
    /// The policy to be written.
    pub policy: PolicyData,
    /// The same, lowered: exactly the stored numbers.
    pub float_policy: FloatPolicy,
    /// The value network (of scaled rewards), for adversaries.
    pub critic: Mlp,
    /// Raw observations visited by the stochastic policy in episodes of their own, `[states, width]`.
    pub states: Array2<f64>,
    /// Environment steps done; fewer than asked for if the run was stopped.
    pub global_step: usize,
    /// Whether the run reached its end.
    pub finished: bool,
}

/// A run between two updates.
pub struct Trainer {
    config: TrainConfig,
    agent: Agent,
    optimisers: Optimisers,
    observations: Option<RunningMoments>,
    rewards: Option<RewardScaler>,
    shuffler: SeededRng,
    ascender: SeededRng,
    seats: Vec<Seat>,
    best: Option<BestState>,
    masks: Vec<Vec<bool>>,
    updates: usize,
}

impl Trainer {
    /// Starts a run.
    ///
    /// # Errors
    /// [`TrainError::Config`], [`TrainError::Environment`].
    pub fn new(config: &TrainConfig) -> Result<Self, TrainError> {
        config.check()?;
        let seats = (0..config.num_envs as u64).map(|number| Seat::new(&config.env_id, config.seed, number));
        let seats = seats.collect::<Result<Vec<Seat>, EnvironmentError>>()?;
        let (inputs, space) =
            (seats[0].environment().observation_width(), seats[0].environment().action_space());
        let outputs = space.width();
        let head = match space {
            ActionSpace::Discrete(_) => FloatHead::Categorical,
            ActionSpace::Continuous { .. } => {
                FloatHead::Gaussian { log_std: vec![config.log_std_init; outputs] }
            }
        };
        let mut rng = SeededRng::new(config.seed, 0);
        let mut network = |outputs: usize, gain: f64| {
            let widths: Vec<usize> =
                [inputs].into_iter().chain(config.hidden_sizes.iter().copied()).chain([outputs]).collect();
            Mlp::orthogonal(&widths, config.activation.into(), gain, &mut rng)
        };
        let agent = Agent { actor: network(outputs, 0.01), critic: network(1, 1.0), head };
        Ok(Self {
            optimisers: Optimisers::new(&agent),
            agent,
            observations: config.norm_obs.then(|| RunningMoments::new(inputs)),
            rewards: config.norm_reward.then(|| RewardScaler::new(config.num_envs, config.discount)),
            shuffler: SeededRng::new(config.seed, 1),
            ascender: SeededRng::new(config.seed, 2),
            seats,
            best: None,
            masks: Vec::new(),
            updates: 0,
            config: config.clone(),
        })
    }

    /// Environment steps so far.
    pub fn global_step(&self) -> usize {
        self.updates * self.config.batch_size()
    }

    /// Updates so far.
    pub fn updates(&self) -> usize {
        self.updates
    }

    /// Whether all updates are done.
    pub fn finished(&self) -> bool {
        self.updates >= self.config.updates()
    }

    /// The networks as they stand.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// From now on keeps the policy's weights at zero where their mask is `false`: one mask a layer, row-major, `true` =
    /// kept. Biases, deviations, normaliser and critic are never masked.
    ///
    /// # Errors
    /// [`TrainError::Masks`] unless there is one entry for each weight.
    pub fn set_masks(&mut self, masks: Vec<Vec<bool>>) -> Result<(), TrainError> {
        let lengths = self.agent.actor.layers.iter().map(|layer| layer.weight.len());
        if !lengths.eq(masks.iter().map(Vec::len)) {
            return Err(TrainError::Masks);
        }
        apply_masks(&masks, &mut self.agent);
        self.masks = masks;
        Ok(())
    }

    /// The policy as it stands, rounded to what would be written.
    pub fn policy(&self) -> FloatPolicy {
        assemble(&self.agent, self.observations.as_ref())
    }

    /// One rollout of every environment and one update from it. Must run inside the run's thread pool to use it.
    ///
    /// # Errors
    /// [`TrainError::Environment`], [`TrainError::Diverged`].
    pub fn update(&mut self) -> Result<UpdateRecord, TrainError> {
        let began = Instant::now();
        let config = &self.config;
        let schedule = Schedule::at(config, self.updates);
        let mut statistics =
            Statistics { observations: self.observations.as_mut(), rewards: self.rewards.as_mut() };
        let actor = Actor { network: &self.agent.actor, head: &self.agent.head, critic: &self.agent.critic };
        let weights = (config.discount, config.gae_lambda);
        let batch = collect(&mut self.seats, &actor, &mut statistics, config.num_steps, weights)?;
        let masks = &self.masks;
        let losses = update(
            &mut self.agent,
            &mut self.optimisers,
            &batch,
            (config, schedule),
            (&mut self.shuffler, &mut self.ascender),
            &|agent| apply_masks(masks, agent),
        );
        self.updates += 1;
        if !self.agent.actor.parameters().chain(self.agent.critic.parameters()).all(|entry| entry.is_finite())
        {
            return Err(TrainError::Diverged { global_step: self.global_step() });
        }
        Ok(UpdateRecord {
            global_step: self.global_step(),
            total_timesteps: self.config.total_timesteps,
            episodes: batch.episodes,
            losses,
            schedule,
            evaluation: None,
            steps_per_second: self.config.batch_size() as f64 / began.elapsed().as_secs_f64(),
        })
    }

    /// Mean deterministic return of the present policy, kept as the best if it is (the later of equals).
    ///
    /// # Errors
    /// Those of the environment.
    pub fn evaluate(&mut self) -> Result<f64, TrainError> {
        let policy = self.policy();
        let mut environment = make_environment(&self.config.env_id)?;
        // Far from the seeds a report would count up from.
        let seed = self.config.seed ^ 0x5eed << 48;
        let score = evaluate(&policy, environment.as_mut(), self.config.eval_episodes, seed, true)?.mean();
        if self.best.as_ref().is_none_or(|best| score >= best.score) {
            let (agent, observations) = (AgentState::of(&self.agent), self.observations.clone());
            self.best = Some(BestState { score, agent, observations });
        }
        Ok(score)
    }

    /// Writes everything needed to go on.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn save(&self, path: &std::path::Path) -> Result<(), TrainError> {
        let checkpoint = Checkpoint {
            format: Checkpoint::format(),
            config: self.config.clone(),
            updates: self.updates,
            agent: AgentState::of(&self.agent),
            optimisers: self.optimisers.clone(),
            observations: self.observations.clone(),
            rewards: self.rewards.clone(),
            shuffler: self.shuffler.state(),
            ascender: self.ascender.state(),
            seats: self.seats.iter().map(Seat::save).collect(),
            best: self.best.clone(),
            masks: self.masks.clone(),
        };
        Ok(checkpoint.write(path)?)
    }

    /// Goes on from a checkpoint; the weights at the end are those of a run that was never interrupted.
    ///
    /// # Errors
    /// [`CheckpointError::OtherConfig`] if any setting but `threads` differs; [`CheckpointError::Malformed`],
    /// [`CheckpointError::File`], [`CheckpointError::Shape`].
    pub fn resume(config: &TrainConfig, path: &std::path::Path) -> Result<Self, TrainError> {
        let found = Checkpoint::read(path)?;
        if (TrainConfig { threads: config.threads, ..found.config }) != *config {
            return Err(CheckpointError::OtherConfig.into());
        }
        let mut trainer = Self::new(config)?;
        found.agent.restore(&mut trainer.agent)?;
        let fits = found.optimisers.actor.len() == trainer.optimisers.actor.len()
            && found.optimisers.critic.len() == trainer.optimisers.critic.len()
            && found.observations.is_some() == config.norm_obs
            && found.rewards.is_some() == config.norm_reward
            && found.seats.len() == trainer.seats.len();
        if !fits {
            return Err(CheckpointError::Shape.into());
        }
        for (seat, state) in trainer.seats.iter_mut().zip(&found.seats) {
            seat.restore(state)?;
        }
        if !found.masks.is_empty() {
            trainer.set_masks(found.masks)?;
        }
        trainer.optimisers = found.optimisers;
        (trainer.observations, trainer.rewards) = (found.observations, found.rewards);
        trainer.shuffler = SeededRng::from_state(&found.shuffler);
        trainer.ascender = SeededRng::from_state(&found.ascender);
        (trainer.best, trainer.updates) = (found.best, found.updates);
        Ok(trainer)
    }

    /// The policy (the best one if the settings say so), its critic, and states it visits.
    ///
    /// # Errors
    /// Those of the environment.
    pub fn finish(self) -> Result<TrainOutcome, TrainError> {
        let (global_step, finished) = (self.global_step(), self.finished());
        let (mut agent, mut observations) = (self.agent, self.observations);
        if let Some(best) = self.best.filter(|_| self.config.keep_best) {
            best.agent.restore(&mut agent)?;
            observations = best.observations;
        }
        let float_policy = assemble(&agent, observations.as_ref());
        let mut environment = make_environment(&self.config.env_id)?;
        let seed = self.config.seed ^ 0x57a7e5 << 40;
        let states = visited_states(&float_policy, environment.as_mut(), self.config.states, seed)?;
        let policy = float_policy.to_data();
        Ok(TrainOutcome { policy, float_policy, critic: agent.critic, states, global_step, finished })
    }
}

/// Zeroes the weights whose mask is `false`.
fn apply_masks(masks: &[Vec<bool>], agent: &mut Agent) {
    for (layer, mask) in agent.actor.layers.iter_mut().zip(masks) {
        for (weight, kept) in layer.weight.iter_mut().zip(mask) {
            if !kept {
                *weight = 0.0;
            }
        }
    }
}

fn assemble(agent: &Agent, observations: Option<&RunningMoments>) -> FloatPolicy {
    let width = agent.actor.input_width();
    let normaliser = observations.map_or_else(|| FixedNormaliser::identity(width), RunningMoments::fixed);
    FloatPolicy { network: agent.actor.clone(), head: agent.head.clone(), normaliser }.rounded()
}

/// Names and values of a row of the logs; NaN where there is nothing.
fn row(record: &UpdateRecord) -> [(&'static str, f64); 12] {
    let count = record.episodes.len() as f64;
    let mean = |total: f64| if count > 0.0 { total / count } else { f64::NAN };
    [
        ("charts/episodic_return", mean(record.episodes.iter().map(|episode| episode.episode_return).sum())),
        ("charts/episodic_length", mean(record.episodes.iter().map(|episode| episode.length as f64).sum())),
        ("charts/evaluation", record.evaluation.unwrap_or(f64::NAN)),
        ("charts/learning_rate", record.schedule.learning_rate),
        ("charts/epsilon", record.schedule.epsilon),
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
    progress: &mut (dyn Progress + Send),
) -> Result<TrainOutcome, TrainError> {
    config.check()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.threads).build()?;
    pool.install(|| run(config, files, progress))
}

fn run(
    config: &TrainConfig,
    files: &TrainFiles,
    progress: &mut (dyn Progress + Send),
) -> Result<TrainOutcome, TrainError> {
    let mut trainer = match &files.checkpoint {
        Some(path) if path.exists() => Trainer::resume(config, path)?,
        _ => Trainer::new(config)?,
    };
    let mut log = match &files.logs {
        Some(directory) => Some(CurveLog::open(directory, trainer.global_step())?),
        None => None,
    };
    while !trainer.finished() {
        let mut record = trainer.update()?;
        let due = |interval: usize| interval > 0 && trainer.updates().is_multiple_of(interval);
        let save = due(config.checkpoint_interval);
        if due(config.eval_interval) || config.keep_best && trainer.finished() {
            record.evaluation = Some(trainer.evaluate()?);
        }
        if let Some(log) = &mut log {
            log.write((record.global_step, &row(&record)))?;
        }
        progress.updated(&record);
        let stop = progress.should_stop() && !trainer.finished();
        if let Some(path) = files.checkpoint.as_ref().filter(|_| save || stop || trainer.finished()) {
            trainer.save(path)?;
        }
        if stop {
            break;
        }
    }
    trainer.finish()
}
