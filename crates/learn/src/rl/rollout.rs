//! What the current policy does in the environments, and how good it was: a batch with generalised advantage estimates.
//! Untrusted. Schulman et al. 2016, arXiv:1506.02438.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::env::{Action, ActionSpace, Environment, EnvironmentError, EnvironmentState, Step};
use super::normaliser::{ObservationNormaliser, RewardScaler};
use crate::float::bits;
use crate::float::head::FloatHead;
use crate::float::mlp::Mlp;
use crate::float::rng::{RngState, SeededRng};

/// An environment with the episode under way in it.
pub(super) struct Seat {
    environment: Box<dyn Environment>,
    observation: Vec<f64>,
    rng: SeededRng,
    episode_return: f64,
    episode_length: usize,
}

/// A seat as a checkpoint holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeatState {
    environment: EnvironmentState,
    #[serde(with = "bits")]
    observation: Vec<f64>,
    rng: RngState,
    #[serde(with = "bits::one")]
    episode_return: f64,
    episode_length: usize,
}

impl Seat {
    /// A seat at a fresh environment; its random numbers depend on the run's seed and its own number.
    pub(super) fn new(
        mut environment: Box<dyn Environment>,
        seed: u64,
        number: u64,
    ) -> Result<Self, EnvironmentError> {
        let mut rng = SeededRng::new(seed, 1000 + number);
        let mut observation = vec![0.0; environment.observation_width()];
        environment.reset(Some(rng.next_u64()), &mut observation)?;
        Ok(Self { environment, observation, rng, episode_return: 0.0, episode_length: 0 })
    }

    pub(super) fn environment(&self) -> &dyn Environment {
        self.environment.as_ref()
    }

    pub(super) fn save(&self) -> SeatState {
        SeatState {
            environment: self.environment.save(),
            observation: self.observation.clone(),
            rng: self.rng.state(),
            episode_return: self.episode_return,
            episode_length: self.episode_length,
        }
    }

    pub(super) fn restore(&mut self, state: &SeatState) -> Result<(), EnvironmentError> {
        if state.observation.len() != self.observation.len() {
            let (expected, found) = (self.observation.len(), state.observation.len());
            return Err(EnvironmentError::Width { expected, found });
        }
        self.environment.restore(&state.environment)?;
        self.observation.clone_from(&state.observation);
        self.rng = SeededRng::from_state(&state.rng);
        (self.episode_return, self.episode_length) = (state.episode_return, state.episode_length);
        Ok(())
    }
}

/// An action as the environment takes it: an index, or coordinates clipped to the box.
pub fn with_action<T>(space: &ActionSpace, values: &[f64], apply: impl FnOnce(Action<'_>) -> T) -> T {
    match space {
        ActionSpace::Discrete(_) => {
            apply(Action::Discrete(values.first().map_or(0, |value| *value as usize)))
        }
        ActionSpace::Continuous { lower, upper } => {
            let limits = lower.iter().zip(upper);
            let clip = |(value, (lower, upper)): (&f64, (&f64, &f64))| value.clamp(*lower, *upper);
            apply(Action::Continuous(&values.iter().zip(limits).map(clip).collect::<Vec<f64>>()))
        }
    }
}

/// Return and length of an episode that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Undiscounted sum of raw rewards.
    pub episode_return: f64,
    /// Number of steps.
    pub length: usize,
}

/// Experience of `num_steps` steps of every environment; row `step * num_envs + environment`.
pub struct Batch {
    /// Normalised observations.
    pub observations: Array2<f64>,
    /// Actions before clipping.
    pub actions: Array2<f64>,
    /// Log probabilities when they were drawn.
    pub log_probabilities: Vec<f64>,
    /// Values of the critic before the update.
    pub values: Vec<f64>,
    /// Generalised advantage estimates.
    pub advantages: Vec<f64>,
    /// Advantages plus values.
    pub returns: Vec<f64>,
    /// Episodes that ended meanwhile.
    pub episodes: Vec<Episode>,
}

/// What rollouts need to know of the agent.
pub(super) struct Actor<'a> {
    pub network: &'a Mlp,
    pub head: &'a FloatHead,
    pub critic: &'a Mlp,
}

/// Statistics that rollouts update.
pub(super) struct Statistics<'a> {
    pub observations: &'a mut ObservationNormaliser,
    pub rewards: Option<&'a mut RewardScaler>,
}

impl Statistics<'_> {
    fn input(&self, raw: &[f64]) -> Vec<f64> {
        self.observations.apply(raw)
    }
}

/// Runs every environment for `steps` steps.
pub(super) fn collect(
    seats: &mut [Seat],
    actor: &Actor<'_>,
    statistics: &mut Statistics<'_>,
    steps: usize,
    (discount, lambda): (f64, f64),
) -> Result<Batch, EnvironmentError> {
    let count = seats.len();
    let space = seats[0].environment.action_space().clone();
    let width = seats[0].observation.len();
    let rows = steps * count;
    let mut batch = Batch {
        observations: Array2::zeros((rows, width)),
        actions: Array2::zeros((rows, actor.head.action_width(space.width()))),
        log_probabilities: vec![0.0; rows],
        values: Vec::new(),
        advantages: vec![0.0; rows],
        returns: Vec::new(),
        episodes: Vec::new(),
    };
    let mut rewards = vec![0.0; rows];
    let mut ends = vec![false; rows];
    for step in 0..steps {
        for (number, seat) in seats.iter_mut().enumerate() {
            statistics.observations.update(&seat.observation);
            let input = statistics.input(&seat.observation);
            let outputs = actor.network.forward_one(&input);
            let action = actor.head.sample(&outputs, &mut seat.rng);
            let row = step * count + number;
            batch.log_probabilities[row] = actor.head.likelihood(&outputs, &action).log_probability;
            batch
                .observations
                .row_mut(row)
                .assign(&ArrayView2::from_shape((1, width), &input).expect("a row").row(0));
            batch.actions.row_mut(row).iter_mut().zip(&action).for_each(|(target, value)| *target = *value);
        }
        let moved = step_all(seats, &space, &batch.actions, step * count);
        for (number, (seat, moved)) in seats.iter_mut().zip(moved).enumerate() {
            let row = step * count + number;
            let moved = moved?;
            ends[row] = moved.terminated || moved.truncated;
            rewards[row] = settle(seat, moved, number, actor, statistics, discount, &mut batch.episodes)?;
        }
    }
    let values = actor.critic.forward(batch.observations.view());
    batch.values = values.outputs().iter().copied().collect();
    let next: Vec<f64> =
        seats.iter().map(|seat| actor.critic.forward_one(&statistics.input(&seat.observation))[0]).collect();
    estimate(&mut batch, &rewards, &ends, &next, (discount, lambda));
    Ok(batch)
}

/// Steps every environment with its row of `actions`; several of the slow ones at once.
fn step_all(
    seats: &mut [Seat],
    space: &ActionSpace,
    actions: &Array2<f64>,
    first: usize,
) -> Vec<Result<Step, EnvironmentError>> {
    let step = |(number, seat): (usize, &mut Seat)| {
        let row = actions.row(first + number);
        let Seat { environment, observation, .. } = seat;
        with_action(space, &row.to_vec(), |action| environment.step(action, observation))
    };
    if seats.len() > 1 && seats[0].environment.id().ends_with("-v5") {
        seats.par_iter_mut().enumerate().map(step).collect()
    } else {
        seats.iter_mut().enumerate().map(step).collect()
    }
}

/// Scales the reward; where an episode ends, adds the value of a state that was only cut off, and starts the next.
fn settle(
    seat: &mut Seat,
    moved: Step,
    number: usize,
    actor: &Actor<'_>,
    statistics: &mut Statistics<'_>,
    discount: f64,
    episodes: &mut Vec<Episode>,
) -> Result<f64, EnvironmentError> {
    let ended = moved.terminated || moved.truncated;
    seat.episode_return += moved.reward;
    seat.episode_length += 1;
    let mut reward = match &mut statistics.rewards {
        Some(scaler) => scaler.scale(number, moved.reward, ended),
        None => moved.reward,
    };
    if ended {
        if !moved.terminated {
            reward += discount * actor.critic.forward_one(&statistics.input(&seat.observation))[0];
        }
        episodes.push(Episode { episode_return: seat.episode_return, length: seat.episode_length });
        (seat.episode_return, seat.episode_length) = (0.0, 0);
        seat.environment.reset(None, &mut seat.observation)?;
    }
    Ok(reward)
}

/// `A_t = delta_t + discount lambda A_{t+1}` within an episode, `delta_t = r_t + discount V_{t+1} - V_t`.
fn estimate(batch: &mut Batch, rewards: &[f64], ends: &[bool], next: &[f64], (discount, lambda): (f64, f64)) {
    let count = next.len();
    for (number, after) in next.iter().enumerate() {
        let (mut value_after, mut advantage_after) = (*after, 0.0);
        for row in (number..rewards.len()).step_by(count).rev() {
            let goes_on = if ends[row] { 0.0 } else { discount };
            let delta = rewards[row] + goes_on * value_after - batch.values[row];
            advantage_after = delta + goes_on * lambda * advantage_after;
            batch.advantages[row] = advantage_after;
            value_after = batch.values[row];
        }
    }
    batch.returns = batch.advantages.iter().zip(&batch.values).map(|(a, v)| a + v).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::normaliser::FixedNormaliser;
    use crate::rl::env::make_environment;

    /// Two environments of two steps, discount 1/2, lambda 1/2; the first ends after its first step.
    /// Environment 0: A_0 = 1 - 1 = 0; A_1 = 2 + 4/2 - 2 = 2.
    /// Environment 1: A_1 = 3 + 8/2 - 1 = 6; A_0 = (1 + 1/2 - 2) + 6/4 = 1.
    #[test]
    fn advantages_by_hand() {
        let mut batch = Batch {
            observations: Array2::zeros((4, 1)),
            actions: Array2::zeros((4, 1)),
            log_probabilities: vec![0.0; 4],
            values: vec![1.0, 2.0, 2.0, 1.0],
            advantages: vec![0.0; 4],
            returns: Vec::new(),
            episodes: Vec::new(),
        };
        estimate(&mut batch, &[1.0, 1.0, 2.0, 3.0], &[true, false, false, false], &[4.0, 8.0], (0.5, 0.5));
        assert_eq!(batch.advantages, [0.0, 1.0, 2.0, 6.0]);
        assert_eq!(batch.returns, [1.0, 3.0, 4.0, 7.0]);
    }

    #[test]
    fn a_cut_episode_still_has_a_future_and_a_finished_one_has_none() {
        let mut seat =
            Seat::new(make_environment("Pendulum-v1").expect("a known task"), 1, 0).expect("resets");
        let mut critic =
            Mlp::orthogonal(&[3, 4, 1], crate::float::FloatActivation::Tanh, 1.0, &mut SeededRng::new(1, 0));
        critic.layers[1].weight.fill(0.0);
        critic.layers[1].bias[0] = 8.0;
        let head = FloatHead::Deterministic;
        let actor = Actor { network: &critic, head: &head, critic: &critic };
        let mut settled = |terminated, truncated| {
            let mut identity = ObservationNormaliser::Fixed(FixedNormaliser::identity(3));
            let mut none = Statistics { observations: &mut identity, rewards: None };
            let step = Step { reward: 1.0, terminated, truncated };
            settle(&mut seat, step, 0, &actor, &mut none, 0.5, &mut Vec::new()).expect("resets")
        };
        assert_eq!([settled(false, false), settled(false, true), settled(true, true)], [1.0, 5.0, 1.0]);
    }
}
