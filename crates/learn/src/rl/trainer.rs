//! A training run between two updates: rollout, update, evaluation, checkpoint. Untrusted; `run` is the loop around it.
//! The order of everything is CleanRL's `ppo_continuous_action.py`; what differs is said where it differs.

use std::path::Path;
use std::time::Instant;

use ndarray::Array2;

use super::checkpoint::{AgentState, BestState, Checkpoint, CheckpointError};
use super::config::{ConfigError, TrainConfig};
use super::env::{ActionSpace, Environment, EnvironmentError, make_environment};
use super::evaluate::{evaluate, visited_states};
use super::normaliser::{ObservationNormaliser, RewardScaler, RunningMoments};
use super::ppo::{Agent, Minibatch, Optimisers, Schedule, UpdateLosses, actor_gradient, update};
use super::pruning::{Masks, all_kept, apply_masks, mask_data, scores, shrink, sparsity};
use super::rollout::{Actor, Batch, Episode, Seat, Statistics, collect};
use super::start::TrainStart;
use crate::float::head::FloatHead;
use crate::float::mlp::Mlp;
use crate::float::normaliser::FixedNormaliser;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::policy::PolicyData;
use crate::policy::mask::MaskData;

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
    /// Fraction of the policy's weights that is pruned once the update is over.
    pub sparsity: f64,
    /// Environment steps a second of this update, evaluation aside.
    pub steps_per_second: f64,
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
    /// A start that does not fit the settings.
    #[error("the policy to start from does not fit: {0}")]
    Start(&'static str),
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
    /// The mask that the weights obey, if the run had one. The weights are its base weights already multiplied by it.
    pub mask: Option<MaskData>,
    /// Environment steps done; fewer than asked for if the run was stopped.
    pub global_step: usize,
    /// Whether the run reached its end.
    pub finished: bool,
}

/// Makes an environment by its name: [`make_environment`], or one that wraps it.
pub type MakeEnvironment<'a> = dyn Fn(&str) -> Result<Box<dyn Environment>, EnvironmentError> + Sync + 'a;

/// A run between two updates.
pub struct Trainer {
    config: TrainConfig,
    agent: Agent,
    optimisers: Optimisers,
    observations: ObservationNormaliser,
    rewards: Option<RewardScaler>,
    shuffler: SeededRng,
    ascender: SeededRng,
    seats: Vec<Seat>,
    best: Option<BestState>,
    masks: Masks,
    updates: usize,
}

impl Trainer {
    /// Starts a run.
    ///
    /// # Errors
    /// [`TrainError::Config`], [`TrainError::Environment`].
    pub fn new(config: &TrainConfig) -> Result<Self, TrainError> {
        Self::new_in(config, &make_environment)
    }

    /// Starts a run in environments made by `make`.
    ///
    /// # Errors
    /// Those of [`Trainer::new`] and of `make`.
    pub fn new_in(config: &TrainConfig, make: &MakeEnvironment<'_>) -> Result<Self, TrainError> {
        let mut trainer = Self::fresh(config, make)?;
        if config.finetune.is_some() {
            return Err(TrainError::Start("the settings name one (finetune), and none is given"));
        }
        trainer.prune_if_due(None)?;
        Ok(trainer)
    }

    /// Starts a run from the weights, deviations, normaliser and masks of `start`. The settings' `hidden_sizes` and
    /// `activation` are those of the value network alone; `finetune` is the digest of `start`.
    ///
    /// # Errors
    /// Those of [`Trainer::new_in`]; [`TrainError::Start`].
    pub fn new_from(
        config: &TrainConfig,
        make: &MakeEnvironment<'_>,
        start: &TrainStart,
    ) -> Result<Self, TrainError> {
        if config.finetune.as_ref() != Some(&start.digest()) {
            return Err(TrainError::Start("the settings' finetune is another digest than its own"));
        }
        let mut trainer = Self::fresh(config, make)?;
        let Agent { actor, critic, head } = &mut trainer.agent;
        if !start.fits(actor, critic, head) {
            return Err(TrainError::Start("its network, head, critic or mask has another shape"));
        }
        (*actor, *head) = (start.policy.network.clone(), start.policy.head.clone());
        if let Some(given) = &start.critic {
            critic.clone_from(given);
        }
        trainer.optimisers = Optimisers::new(&trainer.agent);
        trainer.observations = ObservationNormaliser::Fixed(start.policy.normaliser.clone());
        if !start.masks.is_empty() {
            trainer.set_masks(start.masks.clone())?;
        }
        trainer.prune_if_due(None)?;
        Ok(trainer)
    }

    fn fresh(config: &TrainConfig, make: &MakeEnvironment<'_>) -> Result<Self, TrainError> {
        config.check()?;
        let seat = |number: u64| Seat::new(make(&config.env_id)?, config.seed, number);
        let seats = (0..config.num_envs as u64).map(seat);
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
            observations: if config.norm_obs {
                ObservationNormaliser::Running(RunningMoments::new(inputs))
            } else {
                ObservationNormaliser::Fixed(FixedNormaliser::identity(inputs))
            },
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
    /// kept. Biases, deviations, normaliser and critic are never masked. Adam forgets the moments of pruned weights, and the
    /// best policy so far is forgotten if the masks change.
    ///
    /// # Errors
    /// [`TrainError::Masks`] unless there is one entry for each weight.
    pub fn set_masks(&mut self, masks: Masks) -> Result<(), TrainError> {
        let lengths = self.agent.actor.layers.iter().map(|layer| layer.weight.len());
        if !lengths.eq(masks.iter().map(Vec::len)) {
            return Err(TrainError::Masks);
        }
        apply_masks(&masks, &mut self.agent.actor);
        let layers = self.agent.actor.layers.iter().zip(&masks);
        let entries = layers.flat_map(|(layer, mask)| {
            mask.iter().copied().chain(std::iter::repeat_n(true, layer.bias.len()))
        });
        self.optimisers.actor.forget(entries);
        if self.masks != masks {
            self.best = None;
        }
        self.masks = masks;
        Ok(())
    }

    /// Shrinks the masks if the settings say that weights are pruned now; `batch` is that of the update just done.
    fn prune_if_due(&mut self, batch: Option<(&Batch, Schedule)>) -> Result<(), TrainError> {
        let (updates, config) = (self.config.updates(), &self.config);
        let Some(prune) = config.prune.clone().filter(|prune| prune.is_due(self.updates, updates)) else {
            return Ok(());
        };
        let (agent, ascender) = (&self.agent, &mut self.ascender);
        let gradient = || match batch {
            None => agent.actor.zeros_like(),
            Some((batch, schedule)) => {
                let rows: Vec<usize> = (0..batch.advantages.len()).collect();
                let whole = Minibatch::select(batch, &rows, config.norm_adv);
                actor_gradient(agent, &whole, config, schedule.epsilon, ascender).network
            }
        };
        let scores = scores(prune.method, &agent.actor, config.seed, gradient);
        let mut masks = if self.masks.is_empty() { all_kept(&self.agent.actor) } else { self.masks.clone() };
        shrink(&mut masks, &scores, prune.scope, |total| prune.pruned_count(self.updates, updates, total));
        self.set_masks(masks)
    }

    /// The masks as they stand; empty if nothing is masked.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// The policy as it stands, rounded to what would be written.
    pub fn policy(&self) -> FloatPolicy {
        assemble(&self.agent, &self.observations)
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
            Statistics { observations: &mut self.observations, rewards: self.rewards.as_mut() };
        let actor = Actor { network: &self.agent.actor, head: &self.agent.head, critic: &self.agent.critic };
        let weights = (config.discount, config.gae_lambda);
        let batch = collect(&mut self.seats, &actor, &mut statistics, config.num_steps, weights)?;
        let losses = update(
            &mut self.agent,
            &mut self.optimisers,
            &batch,
            (config, schedule),
            (&mut self.shuffler, &mut self.ascender),
            &self.masks,
        );
        self.updates += 1;
        if !self.agent.actor.parameters().chain(self.agent.critic.parameters()).all(|entry| entry.is_finite())
        {
            return Err(TrainError::Diverged { global_step: self.global_step() });
        }
        self.prune_if_due(Some((&batch, schedule)))?;
        Ok(UpdateRecord {
            global_step: self.global_step(),
            total_timesteps: self.config.total_timesteps,
            episodes: batch.episodes,
            losses,
            schedule,
            evaluation: None,
            sparsity: sparsity(&self.masks),
            steps_per_second: self.config.batch_size() as f64 / began.elapsed().as_secs_f64(),
        })
    }

    /// Mean deterministic return of the present policy, kept as the best if it is (the later of equals).
    ///
    /// # Errors
    /// Those of the environment.
    pub fn evaluate(&mut self, environment: &mut dyn Environment) -> Result<f64, TrainError> {
        let policy = self.policy();
        // Far from the seeds a report would count up from.
        let seed = self.config.seed ^ 0x5eed << 48;
        let score = evaluate(&policy, environment, self.config.eval_episodes, seed, true)?.mean();
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
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
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
    pub fn resume(config: &TrainConfig, path: &Path) -> Result<Self, TrainError> {
        Self::resume_in(config, &make_environment, None, path)
    }

    /// The same in environments made by `make`, of a run that began at `start` if it did.
    ///
    /// # Errors
    /// Those of [`Trainer::resume`], [`TrainError::Start`] and of `make`.
    pub fn resume_in(
        config: &TrainConfig,
        make: &MakeEnvironment<'_>,
        start: Option<&TrainStart>,
        path: &Path,
    ) -> Result<Self, TrainError> {
        let found = Checkpoint::read(path)?;
        if (TrainConfig { threads: config.threads, ..found.config }) != *config {
            return Err(CheckpointError::OtherConfig.into());
        }
        let mut trainer = Self::fresh(config, make)?;
        if let Some(start) = start {
            // The shapes are the start's; the checkpoint holds the rest.
            trainer = Self::new_from(config, make, start)?;
        } else if config.finetune.is_some() {
            return Err(TrainError::Start("the settings name one (finetune), and none is given"));
        }
        found.agent.restore(&mut trainer.agent)?;
        let fits = found.optimisers.actor.len() == trainer.optimisers.actor.len()
            && found.optimisers.critic.len() == trainer.optimisers.critic.len()
            && found.observations.is_like(&trainer.observations)
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
    pub fn finish(self, environment: &mut dyn Environment) -> Result<TrainOutcome, TrainError> {
        let (global_step, finished) = (self.global_step(), self.finished());
        let (mut agent, mut observations) = (self.agent, self.observations);
        if let Some(best) = self.best.filter(|_| self.config.keep_best) {
            best.agent.restore(&mut agent)?;
            observations = best.observations;
        }
        let float_policy = assemble(&agent, &observations);
        let mask = (!self.masks.is_empty()).then(|| mask_data(&self.masks, &agent.actor));
        let seed = self.config.seed ^ 0x57a7e5 << 40;
        let states = visited_states(&float_policy, environment, self.config.states, seed)?;
        let policy = float_policy.to_data();
        Ok(TrainOutcome { policy, float_policy, critic: agent.critic, states, mask, global_step, finished })
    }
}

fn assemble(agent: &Agent, observations: &ObservationNormaliser) -> FloatPolicy {
    let normaliser = observations.fixed();
    FloatPolicy { network: agent.actor.clone(), head: agent.head.clone(), normaliser }.rounded()
}
