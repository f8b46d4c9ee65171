//! The states that `F(theta)` averages over: one from each independent episode of a clean stochastic policy, at a geometric
//! time. Untrusted: a certificate lists the sampler as an assumption. `spec/rules/regret.md#statistichoeffding`.

use secateur_checker::model::Mask;

use super::env::{ActionSpace, Environment, EnvironmentError};
use super::rollout::with_action;
use crate::float::head::largest;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::statistic::Visit;

/// The policy under a mask: pruned weights are 0, everything else unchanged. `None` if the mask does not fit.
pub fn masked(policy: &FloatPolicy, mask: &Mask) -> Option<FloatPolicy> {
    let mut pruned = policy.clone();
    if pruned.network.layers.len() != mask.layers.len() {
        return None;
    }
    for (layer, kept) in pruned.network.layers.iter_mut().zip(&mask.layers) {
        if layer.weight.len() != kept.len() {
            return None;
        }
        // Both are row-major, out x in.
        for (weight, kept) in layer.weight.iter_mut().zip(kept) {
            if !kept {
                *weight = 0.0;
            }
        }
    }
    Some(pruned)
}

/// Whether policy and environment have the same widths.
///
/// # Errors
/// [`EnvironmentError::Width`].
pub fn check_fit(policy: &FloatPolicy, environment: &dyn Environment) -> Result<(), EnvironmentError> {
    let observed = environment.observation_width();
    for (expected, found) in [
        (observed, policy.network.input_width()),
        (observed, policy.normaliser.mean.len()),
        (environment.action_space().width(), policy.network.output_width()),
    ] {
        if expected != found {
            return Err(EnvironmentError::Width { expected, found });
        }
    }
    Ok(())
}

/// Plays episode `episode` of `seed` from the start distribution, with actions drawn from the policy, and says what is there
/// after `time` steps: the raw observation, nothing because the episode had ended, or nothing because the time limit
/// cut it off. A task that ends in the very step of the time limit has ended.
///
/// # Errors
/// Those of the environment.
pub fn visit_at(
    policy: &FloatPolicy,
    environment: &mut dyn Environment,
    (seed, episode): (u64, u64),
    time: u64,
) -> Result<Visit<Vec<f64>>, EnvironmentError> {
    let space = environment.action_space().clone();
    let mut rng = SeededRng::new(seed, episode);
    let mut observation = vec![0.0; environment.observation_width()];
    environment.reset(Some(rng.next_u64()), &mut observation)?;
    for elapsed in 1..=time {
        let mut action = policy.action(&observation, Some(&mut rng));
        if matches!(space, ActionSpace::Discrete(_)) && action.len() > 1 {
            action = vec![largest(&action) as f64];
        }
        let step = with_action(&space, &action, |action| environment.step(action, &mut observation))?;
        if step.terminated {
            return Ok(Visit::Ended);
        }
        if step.truncated && elapsed < time {
            return Ok(Visit::CutOff);
        }
    }
    Ok(Visit::State(observation))
}
