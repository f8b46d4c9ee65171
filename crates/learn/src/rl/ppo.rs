//! PPO's losses, their gradients, and an update from one batch. Untrusted.
//! Schulman et al. 2017, arXiv:1707.06347; details as in CleanRL's `ppo_continuous_action.py` (Huang et al. 2022).

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::adam::Adam;
use super::config::TrainConfig;
use super::pruning::apply_masks;
use super::regulariser::regulariser;
use super::rollout::Batch;
use crate::float::head::FloatHead;
use crate::float::mlp::Mlp;
use crate::float::rng::SeededRng;

/// Policy and value networks; they share nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// From normalised observations to the head's outputs.
    pub actor: Mlp,
    /// What the outputs mean.
    pub head: FloatHead,
    /// From normalised observations to the value of a state (of scaled rewards).
    pub critic: Mlp,
}

/// Rows of a batch.
pub struct Minibatch {
    /// Normalised observations `[states, in]`.
    pub observations: Array2<f64>,
    /// Actions before clipping.
    pub actions: Array2<f64>,
    /// Log probabilities when they were drawn.
    pub log_probabilities: Vec<f64>,
    /// Values before the update.
    pub values: Vec<f64>,
    /// Advantages.
    pub advantages: Vec<f64>,
    /// Targets of the critic.
    pub returns: Vec<f64>,
}

impl Minibatch {
    /// The given rows, advantages normalised if asked.
    pub fn select(batch: &Batch, rows: &[usize], normalise: bool) -> Self {
        let pick = |values: &[f64]| rows.iter().map(|row| values[*row]).collect::<Vec<f64>>();
        let mut advantages = pick(&batch.advantages);
        if normalise && rows.len() > 1 {
            let mean = advantages.iter().sum::<f64>() / rows.len() as f64;
            let square = advantages.iter().map(|a| (a - mean) * (a - mean)).sum::<f64>();
            let deviation = (square / (rows.len() - 1) as f64).sqrt() + 1e-8;
            advantages.iter_mut().for_each(|a| *a = (*a - mean) / deviation);
        }
        Self {
            observations: batch.observations.select(Axis(0), rows),
            actions: batch.actions.select(Axis(0), rows),
            log_probabilities: pick(&batch.log_probabilities),
            values: pick(&batch.values),
            advantages,
            returns: pick(&batch.returns),
        }
    }
}

/// Gradient of the policy's loss, and what is logged about it.
pub struct ActorGradient {
    /// In weights and biases.
    pub network: Mlp,
    /// In the log deviations; empty for other heads than Gaussian.
    pub log_std: Vec<f64>,
    /// Clipped surrogate minus entropy bonus plus regulariser.
    pub loss: f64,
    /// Mean entropy.
    pub entropy: f64,
    /// Estimated KL divergence from the policy that drew the actions, `mean (r - 1 - ln r)`.
    pub divergence: f64,
    /// Share of ratios outside the clip radius.
    pub clipped: f64,
    /// The robust regulariser.
    pub regulariser: f64,
}

/// Gradient of the value loss.
pub struct CriticGradient {
    /// In weights and biases.
    pub network: Mlp,
    /// `vf_coef / 2` times the mean squared error, clipped if so configured.
    pub loss: f64,
}

/// Loss and gradient of the policy on a minibatch; `epsilon` is the present radius of the robust regulariser.
pub fn actor_gradient(
    agent: &Agent,
    minibatch: &Minibatch,
    config: &TrainConfig,
    epsilon: f64,
    rng: &mut SeededRng,
) -> ActorGradient {
    let tape = agent.actor.forward(minibatch.observations.view());
    let outputs = tape.outputs();
    let count = outputs.nrows() as f64;
    let deviations = if let FloatHead::Gaussian { log_std } = &agent.head { log_std.len() } else { 0 };
    let mut found = ActorGradient {
        network: agent.actor.zeros_like(),
        log_std: vec![0.0; deviations],
        loss: 0.0,
        entropy: 0.0,
        divergence: 0.0,
        clipped: 0.0,
        regulariser: 0.0,
    };
    let mut pull = Array2::zeros(outputs.raw_dim());
    let mut state_pull = vec![0.0; outputs.ncols()];
    for (state, row) in outputs.rows().into_iter().enumerate() {
        let (row, action) = (row.to_vec(), minibatch.actions.row(state).to_vec());
        let likelihood = agent.head.likelihood(&row, &action);
        let log_ratio = likelihood.log_probability - minibatch.log_probabilities[state];
        let (ratio, advantage) = (log_ratio.exp(), minibatch.advantages[state]);
        let clipped = ratio.clamp(1.0 - config.clip_coef, 1.0 + config.clip_coef);
        let (plain, bounded) = (-advantage * ratio, -advantage * clipped);
        let slope = if plain >= bounded { plain / count } else { 0.0 };
        found.loss += (plain.max(bounded) - config.ent_coef * likelihood.entropy) / count;
        found.entropy += likelihood.entropy / count;
        found.divergence += (ratio - 1.0 - log_ratio) / count;
        found.clipped += if ratio == clipped { 0.0 } else { 1.0 / count };
        let weights = [slope, -config.ent_coef / count];
        agent.head.pull_back(&row, &action, weights, &mut state_pull, &mut found.log_std);
        pull.row_mut(state).iter_mut().zip(&state_pull).for_each(|(target, value)| *target = *value);
    }
    if let Some(sa) = config.sa.as_ref().filter(|sa| sa.kappa > 0.0 && epsilon > 0.0) {
        let at = (minibatch.observations.view(), &tape);
        let extra = regulariser(&agent.actor, &agent.head, at, (sa, epsilon), &mut found.network, rng);
        pull += &extra.clean_gradient;
        found.regulariser = extra.value;
        found.loss += extra.value;
    }
    agent.actor.backward(&tape, &pull, &mut found.network);
    found
}

/// Loss and gradient of the value network on a minibatch.
pub fn critic_gradient(agent: &Agent, minibatch: &Minibatch, config: &TrainConfig) -> CriticGradient {
    let tape = agent.critic.forward(minibatch.observations.view());
    let count = minibatch.returns.len() as f64;
    let mut found = CriticGradient { network: agent.critic.zeros_like(), loss: 0.0 };
    let mut pull = Array2::zeros(tape.outputs().raw_dim());
    for (state, value) in tape.outputs().iter().enumerate() {
        let (target, before) = (minibatch.returns[state], minibatch.values[state]);
        let error = value - target;
        let limited = before + (value - before).clamp(-config.clip_coef, config.clip_coef) - target;
        let held = config.clip_vloss && limited * limited > error * error;
        let (error, slope) = if held { (limited, 0.0) } else { (error, error) };
        found.loss += 0.5 * config.vf_coef * error * error / count;
        pull[[state, 0]] = config.vf_coef * slope / count;
    }
    agent.critic.backward(&tape, &pull, &mut found.network);
    found
}

/// What an update did, averaged over its minibatches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateLosses {
    /// The policy's loss.
    pub policy: f64,
    /// The value loss.
    pub value: f64,
    /// Entropy.
    pub entropy: f64,
    /// Estimated KL divergence.
    pub divergence: f64,
    /// Share of clipped ratios.
    pub clipped: f64,
    /// The robust regulariser.
    pub regulariser: f64,
}

/// Moments of the two networks' gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimisers {
    pub(super) actor: Adam,
    pub(super) critic: Adam,
}

impl Optimisers {
    /// For the parameters of this agent.
    pub fn new(agent: &Agent) -> Self {
        let deviations = if let FloatHead::Gaussian { log_std } = &agent.head { log_std.len() } else { 0 };
        let actor = Adam::new(agent.actor.parameters().count() + deviations);
        Self { actor, critic: Adam::new(agent.critic.parameters().count()) }
    }
}

/// Where an update stands in the schedule of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Adam's step size.
    pub learning_rate: f64,
    /// Radius of the robust regulariser.
    pub epsilon: f64,
}

impl Schedule {
    /// At update `index` (from 0) of a run.
    pub fn at(config: &TrainConfig, index: usize) -> Self {
        let done = index as f64 / config.updates().max(1) as f64;
        let rate = if config.anneal_lr { config.learning_rate * (1.0 - done) } else { config.learning_rate };
        let epsilon = config.sa.as_ref().map_or(0.0, |sa| {
            let span = sa.ramp_end - sa.ramp_start;
            let share = if done >= sa.ramp_end { 1.0 } else { (done - sa.ramp_start).max(0.0) / span };
            sa.epsilon * share
        });
        Self { learning_rate: rate, epsilon }
    }
}

/// All epochs over one batch. Policy and value gradients of a minibatch are taken at once on two threads; each is a sum in
/// a fixed order, so the number of threads changes no bit. Where `masks` is `false` the gradient of the policy is zero before
/// the joint gradient is clipped, and the weight is zero after the step.
pub fn update(
    agent: &mut Agent,
    optimisers: &mut Optimisers,
    batch: &Batch,
    (config, schedule): (&TrainConfig, Schedule),
    (shuffler, ascender): (&mut SeededRng, &mut SeededRng),
    masks: &[Vec<bool>],
) -> UpdateLosses {
    let size = batch.advantages.len() / config.num_minibatches;
    let mut rows: Vec<usize> = (0..batch.advantages.len()).collect();
    let (mut total, mut count) = (UpdateLosses::default(), 0.0);
    'epochs: for _ in 0..config.update_epochs {
        shuffler.shuffle(&mut rows);
        let mut divergence = 0.0;
        for chosen in rows.chunks_exact(size) {
            let minibatch = Minibatch::select(batch, chosen, config.norm_adv);
            let (mut actor, critic) = rayon::join(
                || actor_gradient(agent, &minibatch, config, schedule.epsilon, ascender),
                || critic_gradient(agent, &minibatch, config),
            );
            apply_masks(masks, &mut actor.network);
            step(agent, optimisers, &actor, &critic, (config, schedule));
            apply_masks(masks, &mut agent.actor);
            divergence = actor.divergence;
            total.add(&actor, &critic);
            count += 1.0;
        }
        if config.target_kl.is_some_and(|limit| divergence > limit) {
            break 'epochs;
        }
    }
    total.divided(count)
}

/// One step of Adam on both networks, the joint gradient clipped to `max_grad_norm`.
fn step(
    agent: &mut Agent,
    optimisers: &mut Optimisers,
    actor: &ActorGradient,
    critic: &CriticGradient,
    (config, schedule): (&TrainConfig, Schedule),
) {
    let square = |sum: f64, entry: &f64| sum + entry * entry;
    let actor_entries = actor.network.parameters().chain(&actor.log_std);
    let norm = actor_entries.clone().chain(critic.network.parameters()).fold(0.0, square).sqrt();
    let scale = (config.max_grad_norm / (norm + 1e-6)).min(1.0);
    let rate = schedule.learning_rate;
    let log_std = match &mut agent.head {
        FloatHead::Gaussian { log_std } => log_std.as_mut_slice(),
        _ => &mut [],
    };
    optimisers.actor.step(agent.actor.parameters_mut().chain(log_std), actor_entries, scale, rate);
    optimisers.critic.step(agent.critic.parameters_mut(), critic.network.parameters(), scale, rate);
}

impl UpdateLosses {
    fn add(&mut self, actor: &ActorGradient, critic: &CriticGradient) {
        self.policy += actor.loss;
        self.value += critic.loss;
        self.entropy += actor.entropy;
        self.divergence += actor.divergence;
        self.clipped += actor.clipped;
        self.regulariser += actor.regulariser;
    }

    fn divided(self, count: f64) -> Self {
        Self {
            policy: self.policy / count,
            value: self.value / count,
            entropy: self.entropy / count,
            divergence: self.divergence / count,
            clipped: self.clipped / count,
            regulariser: self.regulariser / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::FloatActivation;
    use crate::rl::config::{InnerMaximum, SaConfig};

    /// An agent, and a minibatch drawn from a slightly different one: some ratios are clipped, none is near the clip radius.
    fn setting(head: FloatHead, activation: FloatActivation) -> (Agent, Minibatch) {
        let mut rng = SeededRng::new(41, 0);
        let mut network = |outputs: usize| Mlp::orthogonal(&[4, 8, 8, outputs], activation, 1.0, &mut rng);
        let agent = Agent { actor: network(3), critic: network(1), head };
        let observations = Array2::from_shape_fn((16, 4), |_| rng.normal());
        let outputs = agent.actor.forward(observations.view()).outputs().clone();
        let drawn: Vec<Vec<f64>> =
            outputs.rows().into_iter().map(|row| agent.head.sample(&row.to_vec(), &mut rng)).collect();
        let width = agent.head.action_width(3);
        let actions = Array2::from_shape_fn((16, width), |(state, index)| drawn[state][index]);
        let mut shifted = |state: usize| {
            let likelihood = agent.head.likelihood(&outputs.row(state).to_vec(), &drawn[state]);
            likelihood.log_probability + [-0.5, -0.05, 0.05, 0.5][state % 4] + 0.01 * rng.unit()
        };
        let log_probabilities = (0..16).map(&mut shifted).collect();
        let values = (0..16).map(|_| rng.normal()).collect();
        let (advantages, returns) =
            ((0..16).map(|_| rng.normal()).collect(), (0..16).map(|_| rng.normal()).collect());
        let minibatch = Minibatch { observations, actions, log_probabilities, values, advantages, returns };
        (agent, minibatch)
    }

    fn heads() -> [FloatHead; 2] {
        [FloatHead::Gaussian { log_std: vec![-0.3, 0.0, 0.4] }, FloatHead::Categorical]
    }

    fn config(method: Option<InnerMaximum>) -> TrainConfig {
        let sa = method.map(|method| SaConfig { kappa: 0.4, method, ..SaConfig::default() });
        TrainConfig { ent_coef: 0.02, sa, ..TrainConfig::default() }
    }

    #[test]
    fn actor_gradient_is_that_of_differences() {
        let curves = [FloatActivation::Tanh, FloatActivation::Elu(0.75), FloatActivation::Silu];
        for ((head, method), activation) in heads().into_iter().flat_map(|head| {
            let methods = [None, Some(InnerMaximum::Ibp), Some(InnerMaximum::Pgd)];
            methods.into_iter().flat_map(move |method| curves.map(|curve| ((head.clone(), method), curve)))
        }) {
            let (agent, minibatch) = setting(head, activation);
            let config = config(method);
            let loss = |agent: &Agent| {
                actor_gradient(agent, &minibatch, &config, 0.1, &mut SeededRng::new(42, 0)).loss
            };
            let found = actor_gradient(&agent, &minibatch, &config, 0.1, &mut SeededRng::new(42, 0));
            assert!(found.clipped > 0.2 && found.clipped < 0.8, "some ratios are clipped, some are not");
            for (index, entry) in found.network.parameters().enumerate() {
                let shifted = |step: f64| {
                    let mut agent = agent.clone();
                    *agent.actor.parameters_mut().nth(index).expect("in range") += step;
                    loss(&agent)
                };
                let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((entry - expected).abs() < 1e-7, "{method:?} {index}: {entry} and {expected}");
            }
        }
    }

    /// Without the regulariser, whose deviations are held fixed by definition.
    #[test]
    fn log_std_gradient_is_that_of_differences() {
        let (agent, minibatch) = setting(heads()[0].clone(), FloatActivation::Relu);
        let config = config(None);
        let found = actor_gradient(&agent, &minibatch, &config, 0.0, &mut SeededRng::new(42, 0));
        for index in 0..3 {
            let shifted = |step: f64| {
                let mut agent = agent.clone();
                if let FloatHead::Gaussian { log_std } = &mut agent.head {
                    log_std[index] += step;
                }
                actor_gradient(&agent, &minibatch, &config, 0.0, &mut SeededRng::new(42, 0)).loss
            };
            let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            assert!((found.log_std[index] - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn critic_gradient_is_that_of_differences() {
        let curves = [FloatActivation::Elu(0.75), FloatActivation::Silu];
        for activation in [FloatActivation::Tanh, FloatActivation::Relu].into_iter().chain(curves) {
            let (agent, minibatch) = setting(FloatHead::Categorical, activation);
            let config = config(None);
            let found = critic_gradient(&agent, &minibatch, &config);
            for (index, entry) in found.network.parameters().enumerate() {
                let shifted = |step: f64| {
                    let mut agent = agent.clone();
                    *agent.critic.parameters_mut().nth(index).expect("in range") += step;
                    critic_gradient(&agent, &minibatch, &config).loss
                };
                let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                assert!((entry - expected).abs() < 1e-7, "{index}: {entry} and {expected}");
            }
        }
    }

    /// After one step Adam's first moment is a tenth of the clipped gradient: its scale shows that the gradient at pruned
    /// weights did not count in the joint norm, and the pruned weights are zero.
    #[test]
    fn gradients_of_pruned_weights_do_not_count() {
        let (mut agent, minibatch) = setting(heads()[0].clone(), FloatActivation::Tanh);
        let masks: Vec<Vec<bool>> =
            agent.actor.layers.iter().map(|layer| vec![false; layer.weight.len()]).collect();
        let config = TrainConfig {
            num_minibatches: 1,
            update_epochs: 1,
            norm_adv: false,
            max_grad_norm: 1e-3,
            ..config(None)
        };
        let mut actor = actor_gradient(&agent, &minibatch, &config, 0.0, &mut SeededRng::new(1, 0));
        let critic = critic_gradient(&agent, &minibatch, &config).network;
        let norm = |actor: &ActorGradient| {
            let entries = actor.network.parameters().chain(&actor.log_std).chain(critic.parameters());
            entries.map(|entry| entry * entry).sum::<f64>().sqrt()
        };
        let whole = norm(&actor);
        apply_masks(&masks, &mut actor.network);
        let masked = norm(&actor);
        assert!(masked < 0.99 * whole, "{masked} and {whole}");
        let Minibatch { observations, actions, log_probabilities, values, advantages, returns } = minibatch;
        let episodes = Vec::new();
        let batch = Batch { observations, actions, log_probabilities, values, advantages, returns, episodes };
        let mut optimisers = Optimisers::new(&agent);
        let schedule = Schedule { learning_rate: 1e-3, epsilon: 0.0 };
        let (mut shuffler, mut ascender) = (SeededRng::new(1, 1), SeededRng::new(1, 2));
        let rngs = (&mut shuffler, &mut ascender);
        update(&mut agent, &mut optimisers, &batch, (&config, schedule), rngs, &masks);
        for (found, entry) in optimisers.critic.first.iter().zip(critic.parameters()) {
            let wanted = 0.1 * entry * 1e-3 / (masked + 1e-6);
            assert!((found - wanted).abs() < 1e-9 * wanted.abs().max(1e-9), "{found} and {wanted}");
        }
        assert!(agent.actor.layers.iter().all(|layer| layer.weight.iter().all(|weight| *weight == 0.0)));
    }

    /// Rate 3e-4 (1 - 1/4); the radius is half way up its ramp from 0 to 1/2 of training.
    #[test]
    fn schedule_by_hand() {
        let sa = SaConfig { epsilon: 0.1, ramp_start: 0.0, ramp_end: 0.5, ..SaConfig::default() };
        let config = TrainConfig { total_timesteps: 2048 * 8, sa: Some(sa), ..TrainConfig::default() };
        let at = Schedule::at(&config, 2);
        assert!((at.learning_rate - 2.25e-4).abs() < 1e-18 && (at.epsilon - 0.05).abs() < 1e-15);
        assert_eq!(Schedule::at(&config, 6).epsilon, 0.1);
    }
}
