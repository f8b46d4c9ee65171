//! Adversaries learned by PPO on the SA-MDP seen from their side: reward minus the victim's. Untrusted.
//! Optimal attack (SA-RL): Zhang et al. 2021, arXiv:2101.08452. PA-AD: Sun et al. 2022, arXiv:2106.05087.
//! `spec/attacks.md#learned-adversaries`.

use super::imitate::{SHARE, imitation};
use crate::attack::ball::{Ball, Room};
use crate::attack::plan::{AttackError, AttackFiles, AttackPlan, Candidate, Prepared, Target};
use crate::decomposition::ActionMode;
use crate::float::head::{FloatHead, largest};
use crate::float::point::PointPass;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::progress::Progress;
use crate::rl::config::TrainConfig;
use crate::rl::env::{
    Action, ActionSpace, Environment, EnvironmentError, EnvironmentState, Step, make_environment,
};
use crate::rl::evaluate::Adversary;
use crate::rl::rollout::with_action;
use crate::rl::{TrainError, TrainFiles, TrainOutcome, TrainStart, train_in};

/// What an adversary's action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leverage {
    /// A displacement of the observation: `s^ = s + radius hardtanh(a)`, each input by its own radius (SA-RL).
    Observation,
    /// A direction `d` in which the victim's outputs are to move; one step `s^ = s + radius sign(grad <d, f(s)>)`
    /// realises it (PA-AD). Outputs are means over deviations for a Gaussian head, logits for a categorical one.
    Outputs,
}

/// What an adversary is trained against, beside the settings of its own training.
#[derive(Clone, Debug)]
pub struct LearnedConfig {
    /// PPO's settings; `env_id` is the victim's environment. Observations are the victim's inputs, already normalised.
    pub train: TrainConfig,
    /// How far it may move observations.
    pub ball: Ball,
    /// What the adversary's actions are.
    pub leverage: Leverage,
    /// How the victim acts meanwhile.
    pub victim_actions: ActionMode,
}

impl Leverage {
    /// Numbers in an adversary's action.
    fn width(self, victim: &FloatPolicy) -> usize {
        match self {
            Self::Observation => victim.network.input_width(),
            Self::Outputs => victim.network.output_width(),
        }
    }

    /// Moves `input`, the centre of `room`, within it as `action` says.
    fn displace(
        self,
        victim: &FloatPolicy,
        pass: &mut PointPass,
        input: &mut [f64],
        action: &[f64],
        room: &Room<'_>,
    ) {
        match self {
            Self::Observation => {
                let part = |place| action.get(place).map_or(0.0, |part: &f64| part.clamp(-1.0, 1.0));
                room.shift(input, |place, radius| radius * part(place));
            }
            Self::Outputs => {
                pass.forward(&victim.network, input);
                let pull: Vec<f64> = match &victim.head {
                    FloatHead::Gaussian { log_std } => {
                        action.iter().zip(log_std).map(|(entry, log_std)| entry * (-log_std).exp()).collect()
                    }
                    _ => action.to_vec(),
                };
                room.climb(input, pass.backward(&victim.network, &pull), 1);
            }
        }
    }
}

/// The victim's environment as its adversary meets it.
struct VictimEnvironment {
    inner: Box<dyn Environment>,
    victim: FloatPolicy,
    leverage: Leverage,
    ball: Ball,
    victim_actions: ActionMode,
    space: ActionSpace,
    victim_space: ActionSpace,
    raw: Vec<f64>,
    pass: PointPass,
    /// Seed and steps so far: what the victim's draws depend on.
    noise: (u64, u64),
}

impl VictimEnvironment {
    fn new(victim: &FloatPolicy, id: &str, config: &LearnedConfig) -> Result<Self, EnvironmentError> {
        let inner = make_environment(id)?;
        let width = inner.observation_width();
        let victim_space = inner.action_space().clone();
        for (expected, found) in [
            (width, victim.network.input_width()),
            (width, victim.normaliser.mean.len()),
            (victim_space.width(), victim.network.output_width()),
        ] {
            if expected != found {
                return Err(EnvironmentError::Width { expected, found });
            }
        }
        let actions = config.leverage.width(victim);
        let space = ActionSpace::Continuous { lower: vec![-1.0; actions], upper: vec![1.0; actions] };
        Ok(Self {
            inner,
            victim: victim.clone(),
            leverage: config.leverage,
            ball: config.ball.clone(),
            victim_actions: config.victim_actions,
            space,
            victim_space,
            raw: vec![0.0; width],
            pass: PointPass::default(),
            noise: (0, 0),
        })
    }

    /// Writes the victim's input.
    fn show(&self, observation: &mut [f64]) -> Result<(), EnvironmentError> {
        let (expected, found) = (self.raw.len(), observation.len());
        if expected != found {
            return Err(EnvironmentError::Width { expected, found });
        }
        observation.copy_from_slice(&self.victim.normaliser.apply(&self.raw));
        Ok(())
    }

    fn victim_action(&mut self, input: &[f64]) -> Vec<f64> {
        let (seed, step) = self.noise;
        self.noise.1 += 1;
        let mut rng = (self.victim_actions == ActionMode::Sampled).then(|| SeededRng::new(seed, step));
        let action = self.victim.action_at_input(input, rng.as_mut());
        // Outputs of a deterministic head in a discrete space: the largest is taken.
        let indexed = matches!(self.victim_space, ActionSpace::Discrete(_)) && action.len() > 1;
        if indexed { vec![largest(&action) as f64] } else { action }
    }
}

impl Environment for VictimEnvironment {
    fn id(&self) -> &'static str {
        self.inner.id()
    }

    fn observation_width(&self) -> usize {
        self.inner.observation_width()
    }

    fn action_space(&self) -> &ActionSpace {
        &self.space
    }

    fn time_limit(&self) -> usize {
        self.inner.time_limit()
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvironmentError> {
        if let Some(seed) = seed {
            self.noise = (seed, 0);
        }
        self.inner.reset(seed, &mut self.raw)?;
        self.show(observation)
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvironmentError> {
        let Action::Continuous(direction) = action else { return Err(EnvironmentError::Action) };
        if direction.len() != self.space.width() {
            return Err(EnvironmentError::Action);
        }
        let unclipped = self.victim.normaliser.scale(&self.raw);
        let mut input = self.victim.normaliser.clipped(&unclipped);
        let room = self.ball.around(&unclipped, &input);
        self.leverage.displace(&self.victim, &mut self.pass, &mut input, direction, &room);
        let chosen = self.victim_action(&input);
        let Self { inner, victim_space, raw, .. } = self;
        let step = with_action(victim_space, &chosen, |action| inner.step(action, raw))?;
        self.show(observation)?;
        Ok(Step { reward: -step.reward, ..step })
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvironmentError> {
        self.inner.set_state(state, &mut self.raw)?;
        self.show(observation)
    }

    /// The present observation, followed by the bits of the noise's seed and counter.
    fn save(&self) -> EnvironmentState {
        let noise = [self.noise.0, self.noise.1].map(f64::from_bits);
        self.inner.save().with_observation(&[self.raw.as_slice(), &noise].concat())
    }

    fn restore(&mut self, state: &EnvironmentState) -> Result<(), EnvironmentError> {
        self.inner.restore(state)?;
        let stored = state.observation();
        let Some((raw, &[seed, count])) =
            stored.split_last_chunk::<2>().filter(|(raw, _)| raw.len() == self.raw.len())
        else {
            return Err(EnvironmentError::Width { expected: self.raw.len() + 2, found: stored.len() });
        };
        self.raw.copy_from_slice(raw);
        self.noise = (seed.to_bits(), count.to_bits());
        Ok(())
    }
}

fn train_outcome(
    victim: &FloatPolicy,
    config: &LearnedConfig,
    start: Option<&TrainStart>,
    files: &TrainFiles,
    progress: &dyn Progress,
) -> Result<TrainOutcome, TrainError> {
    // The victim's inputs are normalised already; no states are handed out.
    let finetune = start.map(TrainStart::digest);
    let settings = TrainConfig { norm_obs: false, states: 0, finetune, ..config.train.clone() };
    let make = |id: &str| -> Result<Box<dyn Environment>, EnvironmentError> {
        Ok(Box::new(VictimEnvironment::new(victim, id, config)?))
    };
    train_in(&settings, &make, start, files, progress)
}

/// Trains an adversary: once for every mask, since one trained against the dense policy overstates the pruned one's
/// robustness.
///
/// # Errors
/// Those of [`crate::rl::train`].
pub fn train_adversary(
    victim: &FloatPolicy,
    config: &LearnedConfig,
    files: &TrainFiles,
    progress: &dyn Progress,
) -> Result<LearnedAttack, TrainError> {
    let TrainOutcome { float_policy, .. } = train_outcome(victim, config, None, files, progress)?;
    Ok(LearnedAttack::new(float_policy, config.ball.clone(), config.leverage))
}

/// A trained adversary, acting deterministically.
#[derive(Clone, Debug)]
pub struct LearnedAttack {
    /// From the victim's inputs to an action.
    pub adversary: FloatPolicy,
    /// How far it may move observations.
    pub ball: Ball,
    /// What its actions are.
    pub leverage: Leverage,
    /// Whether every coordinate of its actions is pushed to the end it points at.
    pub corners: bool,
    pass: PointPass,
}

impl LearnedAttack {
    /// An adversary whose actions are as long as `leverage` needs, used as trained.
    pub fn new(adversary: FloatPolicy, ball: Ball, leverage: Leverage) -> Self {
        Self { adversary, ball, leverage, corners: false, pass: PointPass::default() }
    }
}

impl Adversary for LearnedAttack {
    fn perturb(&mut self, victim: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        let mut action = self.adversary.action(input, None);
        if self.corners {
            action.iter_mut().for_each(|entry| *entry = if *entry == 0.0 { 0.0 } else { entry.signum() });
        }
        let room = self.ball.around(unclipped, input);
        self.leverage.displace(victim, &mut self.pass, input, &action, &room);
    }
}

/// PPO's settings for adversary `index` of a plan, the `turn`-th against victims that act so: those of the literature,
/// step sizes in turn.
fn settings(env_id: &str, plan: &AttackPlan, (index, turn): (usize, usize), threads: usize) -> TrainConfig {
    // The largest power of two up to 2,048 that fits, in minibatches of 64.
    let num_steps = 1 << plan.training_steps.clamp(64, 2048).ilog2();
    let updates = plan.training_steps / num_steps;
    TrainConfig {
        env_id: env_id.to_owned(),
        seed: plan.seed_for(16 + index as u64),
        total_timesteps: plan.training_steps,
        learning_rate: LEARNING_RATES[turn % LEARNING_RATES.len()],
        num_steps,
        num_minibatches: num_steps / 64,
        discount: plan.discount.value(),
        norm_obs: false,
        eval_interval: (updates / 10).max(1),
        keep_best: true,
        states: 0,
        checkpoint_interval: 10,
        threads,
        ..TrainConfig::default()
    }
}

/// Step sizes at the start, adversary by adversary.
const LEARNING_RATES: [f64; 2] = [1e-3, 3e-4];

/// Passes a training run's progress on.
struct Relay<'a> {
    phase: String,
    progress: &'a dyn Progress,
}

impl Progress for Relay<'_> {
    fn advance(&self, _: &str, done: usize, total: usize) {
        self.progress.advance(&self.phase, done, total);
    }

    fn stopped(&self) -> bool {
        self.progress.stopped()
    }
}

/// Trains the adversaries of a plan. Those over observations start from an imitation, which is itself the first candidate.
pub(super) fn learn(
    target: &Target<'_>,
    leverage: Leverage,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<Prepared, AttackError> {
    let mut prepared = Prepared { candidates: Vec::new(), training_steps: 0 };
    let ball = || target.ball.clone();
    let start = match leverage {
        Leverage::Observation => Some(imitation(target, plan, files, progress)?),
        Leverage::Outputs => None,
    };
    if let Some(start) = &start {
        prepared.offer("imitation", LearnedAttack::new(start.policy.clone(), ball(), leverage));
        prepared.training_steps += plan.training_steps / SHARE;
    }
    for index in 0..plan.adversaries {
        let (victim_actions, turn) = plan.learns_against.mode(index);
        let train = settings(target.env_id, plan, (index, turn), files.threads);
        let config = LearnedConfig { train, ball: ball(), leverage, victim_actions };
        let checkpoint =
            files.checkpoints.as_ref().map(|folder| folder.join(format!("adversary-{index}.json")));
        let files = TrainFiles { logs: None, checkpoint };
        let phase = format!("{} {}/{}", plan.kind, index + 1, plan.adversaries);
        let relay = Relay { phase, progress };
        let outcome = train_outcome(target.victim, &config, start.as_ref(), &files, &relay)?;
        if !outcome.finished {
            return Err(AttackError::Stopped);
        }
        prepared.training_steps += outcome.global_step;
        let attack = LearnedAttack::new(outcome.float_policy, ball(), leverage);
        prepared.offer(&format!("adversary {index}"), attack);
    }
    Ok(prepared)
}

impl Prepared {
    /// Adds an adversary; one over observations also with every coordinate at the end it points at.
    fn offer(&mut self, name: &str, attack: LearnedAttack) {
        if attack.leverage == Leverage::Observation {
            let corners = Box::new(LearnedAttack { corners: true, ..attack.clone() });
            self.candidates.push(Candidate { name: format!("{name}, corners"), adversary: corners });
        }
        self.candidates.push(Candidate { name: name.to_owned(), adversary: Box::new(attack) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::ball::WrittenRadii;
    use crate::float::FloatActivation;
    use crate::float::mlp::{Dense, Mlp};
    use crate::float::normaliser::FixedNormaliser;
    use ndarray::{Array1, arr2};
    use secateur_checker::model::Units;

    fn victim(head: FloatHead) -> FloatPolicy {
        let weight = arr2(&[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]);
        let layer = Dense { weight, bias: Array1::zeros(2), activation: FloatActivation::Identity };
        FloatPolicy { network: Mlp { layers: vec![layer] }, head, normaliser: FixedNormaliser::identity(3) }
    }

    /// `W^T (-1, 1) = (0, 1, 0)`; with deviations (1/10, 1) it is `W^T (-10, 1) = (-9, 1, 0)`.
    #[test]
    fn a_direction_of_outputs_is_realised_by_signs() {
        let gaussian = FloatHead::Gaussian { log_std: vec![0.1f64.ln(), 0.0] };
        for (head, expected) in [(FloatHead::Categorical, [1.0, 1.5, 1.0]), (gaussian, [0.5, 1.5, 1.0])] {
            let mut input = [1.0; 3];
            let (pass, ball) = (&mut PointPass::default(), Ball::equal(0.5, 3));
            let room = ball.around(&[1.0; 3], &[1.0; 3]);
            Leverage::Outputs.displace(&victim(head), pass, &mut input, &[-1.0, 1.0], &room);
            assert_eq!(input, expected);
        }
    }

    #[test]
    fn displacements_are_clipped_to_the_ball() {
        let mut input = [1.0; 3];
        let (pass, ball) = (&mut PointPass::default(), Ball::equal(0.5, 3));
        Leverage::Observation.displace(
            &victim(FloatHead::Categorical),
            pass,
            &mut input,
            &[0.5, -7.0, 2.0],
            &ball.around(&[1.0; 3], &[1.0; 3]),
        );
        assert_eq!(input, [1.25, 0.5, 1.5]);
    }

    /// While an adversary learns, each input keeps to its own radius: a victim that reads the angular velocity alone does
    /// the same unless that may be moved.
    #[test]
    fn radii_hold_while_learning() {
        let weight = arr2(&[[0.0, 0.0, 0.25]]);
        let layer = Dense { weight, bias: Array1::zeros(1), activation: FloatActivation::Identity };
        let normaliser = FixedNormaliser { std: vec![2.0; 3], ..FixedNormaliser::identity(3) };
        let (network, head) = (Mlp { layers: vec![layer] }, FloatHead::Deterministic);
        let victim = FloatPolicy { network, head, normaliser };
        let train = TrainConfig::for_environment("Pendulum-v1");
        let reward = |radii: [&str; 3], leverage: Leverage, direction: f64| {
            let set = radii.map(|text| super::super::WrittenNumber::parse(text).expect("a number"));
            let set = WrittenRadii::Each { units: Units::Raw, radii: set.to_vec() };
            let ball = set.ball(&victim.normaliser).expect("as many as inputs");
            let victim_actions = ActionMode::Deterministic;
            let config = LearnedConfig { train: train.clone(), ball, leverage, victim_actions };
            let mut environment = VictimEnvironment::new(&victim, "Pendulum-v1", &config).expect("fits");
            let mut observation = vec![0.0; 3];
            environment.reset(Some(5), &mut observation).expect("a start");
            let direction = vec![direction; environment.action_space().width()];
            environment.step(Action::Continuous(&direction), &mut observation).expect("a step").reward
        };
        for leverage in [Leverage::Observation, Leverage::Outputs] {
            let still = reward(["0", "0", "0"], leverage, 1.0);
            assert_eq!(reward(["3", "3", "0"], leverage, 1.0), still);
            assert_ne!(reward(["0", "0", "1"], leverage, 1.0), still);
        }
        // An action of 1 realises the whole radius in both ways; half of it half the radius in one.
        let whole = reward(["0", "0", "1"], Leverage::Observation, 1.0);
        assert_eq!(reward(["0", "0", "1"], Leverage::Outputs, 1.0), whole);
        assert_eq!(reward(["0", "0", "2"], Leverage::Observation, 0.5), whole);
    }

    /// Steps fit the smallest budgets, in minibatches of 64.
    #[test]
    fn settings_fit_every_budget() {
        let radius = super::super::WrittenNumber::parse("0.1").expect("a number");
        for (steps, rollout) in [(64, 64), (100, 64), (2047, 1024), (200_000, 2048)] {
            let plan = AttackPlan::new(super::super::AttackKind::Optimal, radius.clone(), 1, steps);
            let found = settings("Pendulum-v1", &plan, (0, 0), 1);
            assert_eq!((found.num_steps, found.num_minibatches), (rollout, rollout / 64));
            found.check().expect("usable settings");
        }
    }
}
