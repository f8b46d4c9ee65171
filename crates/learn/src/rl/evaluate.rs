//! Episodes of a fixed policy: returns, visited states, and a place for an adversary between state and policy. Untrusted.
//! Every episode has random numbers of its own, so the result does not depend on the order or the number of threads.

use ndarray::Array2;

use super::env::{Environment, EnvironmentError};
use super::rollout::{Episode, with_action};
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;

/// Stands between the normalised observation and the policy (the adversary of an SA-MDP).
pub trait Adversary {
    /// Told that an episode starts.
    fn start(&mut self, _episode: u64) {}
    /// Moves the input within its perturbation set; before the normaliser's clip the input was `unclipped`.
    fn perturb(&mut self, policy: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>);
    /// Told what followed (for adversaries that learn).
    fn observe(&mut self, _reward: f64, _ended: bool) {}
}

/// Which episodes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodePlan {
    /// How many.
    pub episodes: usize,
    /// Seed; episode `i` uses stream `i` of it.
    pub seed: u64,
    /// The most likely action rather than a draw.
    pub deterministic: bool,
}

/// Returns of independent episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Undiscounted returns and lengths, in the order of the episodes.
    pub episodes: Vec<Episode>,
}

impl Evaluation {
    /// Mean return.
    pub fn mean(&self) -> f64 {
        self.episodes.iter().map(|episode| episode.episode_return).sum::<f64>() / self.episodes.len() as f64
    }

    /// Sample standard deviation of the returns; 0 for fewer than two episodes.
    pub fn deviation(&self) -> f64 {
        let (count, mean) = (self.episodes.len(), self.mean());
        if count < 2 {
            return 0.0;
        }
        let square = |sum: f64, episode: &Episode| sum + (episode.episode_return - mean).powi(2);
        (self.episodes.iter().fold(0.0, square) / (count - 1) as f64).sqrt()
    }
}

/// Runs `episodes` clean episodes.
///
/// # Errors
/// Those of the environment; [`EnvironmentError::Width`] if the policy does not fit it.
pub fn evaluate(
    policy: &FloatPolicy,
    environment: &mut dyn Environment,
    episodes: usize,
    seed: u64,
    deterministic: bool,
) -> Result<Evaluation, EnvironmentError> {
    run_episodes(policy, environment, EpisodePlan { episodes, seed, deterministic }, None, &mut |_| {})
}

/// Runs episodes, with an adversary if one is given; `visit` sees every raw observation an action was taken at.
///
/// # Errors
/// Those of the environment; [`EnvironmentError::Width`] if the policy does not fit it.
pub fn run_episodes(
    policy: &FloatPolicy,
    environment: &mut dyn Environment,
    plan: EpisodePlan,
    mut adversary: Option<&mut dyn Adversary>,
    visit: &mut dyn FnMut(&[f64]),
) -> Result<Evaluation, EnvironmentError> {
    let space = environment.action_space().clone();
    let mut observation = vec![0.0; environment.observation_width()];
    for (expected, found) in [
        (observation.len(), policy.network.input_width()),
        (observation.len(), policy.normaliser.mean.len()),
        (space.width(), policy.network.output_width()),
    ] {
        if expected != found {
            return Err(EnvironmentError::Width { expected, found });
        }
    }
    let discrete = matches!(space, super::env::ActionSpace::Discrete(_));
    let mut episodes = Vec::new();
    for number in 0..plan.episodes as u64 {
        let mut rng = SeededRng::new(plan.seed, number);
        environment.reset(Some(rng.next_u64()), &mut observation)?;
        if let Some(adversary) = &mut adversary {
            adversary.start(number);
        }
        let mut episode = Episode { episode_return: 0.0, length: 0 };
        loop {
            visit(&observation);
            let unclipped = policy.normaliser.scale(&observation);
            let mut input = policy.normaliser.clipped(&unclipped);
            if let Some(adversary) = &mut adversary {
                adversary.perturb(policy, &unclipped, &mut input);
            }
            let mut action = policy.action_at_input(&input, (!plan.deterministic).then_some(&mut rng));
            if discrete && action.len() > 1 {
                action = vec![crate::float::head::largest(&action) as f64];
            }
            let step = with_action(&space, &action, |action| environment.step(action, &mut observation))?;
            episode.episode_return += step.reward;
            episode.length += 1;
            let ended = step.terminated || step.truncated;
            if let Some(adversary) = &mut adversary {
                adversary.observe(step.reward, ended);
            }
            if ended {
                break;
            }
        }
        episodes.push(episode);
    }
    Ok(Evaluation { episodes })
}

/// `count` raw observations visited by the stochastic policy: all states of as many independent episodes as give at
/// least four times as many (twenty at least), of which `count` are drawn without replacement and kept in order.
///
/// # Errors
/// Those of [`run_episodes`].
pub fn visited_states(
    policy: &FloatPolicy,
    environment: &mut dyn Environment,
    count: usize,
    seed: u64,
) -> Result<Array2<f64>, EnvironmentError> {
    let width = environment.observation_width();
    let mut seen: Vec<f64> = Vec::new();
    let mut rounds = 0;
    while count > 0 && (rounds == 0 || seen.len() < 4 * count * width) {
        // Seeds of later rounds are far from those of other runs, which count up from small numbers.
        let plan = EpisodePlan { episodes: 20, seed: seed ^ (rounds << 40), deterministic: false };
        run_episodes(policy, environment, plan, None, &mut |observation| {
            seen.extend_from_slice(observation)
        })?;
        rounds += 1;
    }
    let mut rows: Vec<usize> = (0..seen.len() / width.max(1)).collect();
    SeededRng::new(seed, u64::MAX).shuffle(&mut rows);
    rows.truncate(count);
    rows.sort_unstable();
    Ok(Array2::from_shape_fn((rows.len(), width), |(row, column)| seen[rows[row] * width + column]))
}
