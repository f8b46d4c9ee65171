//! The learned adversary of SA-RL: PPO on the SA-MDP seen from the adversary's side. Untrusted.
//! Zhang et al. 2021, arXiv:2101.08452 ("optimal attack"): `s^ = s + epsilon hardtanh(a)`, reward minus the victim's.

use crate::rl::config::TrainConfig;
use crate::rl::env::{
    Action, ActionSpace, Environment, EnvironmentError, EnvironmentState, Step, make_environment,
};
use crate::rl::evaluate::Adversary;
use crate::rl::rollout::with_action;
use crate::rl::{FloatPolicy, Progress, TrainError, TrainFiles, TrainOutcome, train_in};

/// What an adversary is trained against, beside the settings of its own training.
#[derive(Clone, Debug)]
pub struct LearnedConfig {
    /// PPO's settings; `env_id` is the victim's environment. Observations are the victim's inputs, already normalised.
    pub train: TrainConfig,
    /// Radius of the l_inf ball.
    pub radius: f64,
}

/// The victim's environment as its adversary meets it. The victim acts deterministically.
struct VictimEnvironment {
    inner: Box<dyn Environment>,
    victim: FloatPolicy,
    radius: f64,
    space: ActionSpace,
    raw: Vec<f64>,
}

impl VictimEnvironment {
    fn new(victim: &FloatPolicy, id: &str, radius: f64) -> Result<Self, EnvironmentError> {
        let inner = make_environment(id)?;
        let width = inner.observation_width();
        for (expected, found) in [
            (width, victim.network.input_width()),
            (width, victim.normaliser.mean.len()),
            (inner.action_space().width(), victim.network.output_width()),
        ] {
            if expected != found {
                return Err(EnvironmentError::Width { expected, found });
            }
        }
        let space = ActionSpace::Continuous { lower: vec![-1.0; width], upper: vec![1.0; width] };
        Ok(Self { inner, victim: victim.clone(), radius, space, raw: vec![0.0; width] })
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
}

/// `input + radius hardtanh(direction)`.
fn displace(input: &mut [f64], direction: &[f64], radius: f64) {
    for (value, direction) in input.iter_mut().zip(direction) {
        *value += radius * direction.clamp(-1.0, 1.0);
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
        self.inner.reset(seed, &mut self.raw)?;
        self.show(observation)
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvironmentError> {
        let Action::Continuous(direction) = action else { return Err(EnvironmentError::Action) };
        if direction.len() != self.raw.len() {
            return Err(EnvironmentError::Action);
        }
        let mut input = self.victim.normaliser.apply(&self.raw);
        displace(&mut input, direction, self.radius);
        let chosen = self.victim.action_at_input(&input, None);
        let space = self.inner.action_space().clone();
        let step = with_action(&space, &chosen, |action| self.inner.step(action, &mut self.raw))?;
        self.show(observation)?;
        Ok(Step { reward: -step.reward, ..step })
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvironmentError> {
        self.inner.set_state(state, &mut self.raw)?;
        self.show(observation)
    }

    fn save(&self) -> EnvironmentState {
        self.inner.save().with_observation(&self.raw)
    }

    fn restore(&mut self, state: &EnvironmentState) -> Result<(), EnvironmentError> {
        self.inner.restore(state)?;
        let (expected, found) = (self.raw.len(), state.observation().len());
        if expected != found {
            return Err(EnvironmentError::Width { expected, found });
        }
        self.raw.copy_from_slice(state.observation());
        Ok(())
    }
}

/// Trains an adversary against a deterministic victim: once for every mask, since one trained against the dense policy
/// overstates the pruned one's robustness.
///
/// # Errors
/// Those of [`crate::rl::train`].
pub fn train_adversary(
    victim: &FloatPolicy,
    config: &LearnedConfig,
    files: &TrainFiles,
    progress: &mut (dyn Progress + Send),
) -> Result<LearnedAttack, TrainError> {
    // The victim's inputs are normalised already; no states are handed out.
    let settings = TrainConfig { norm_obs: false, states: 0, ..config.train.clone() };
    let make = |id: &str| -> Result<Box<dyn Environment>, EnvironmentError> {
        Ok(Box::new(VictimEnvironment::new(victim, id, config.radius)?))
    };
    let TrainOutcome { float_policy, .. } = train_in(&settings, &make, files, progress)?;
    Ok(LearnedAttack { adversary: float_policy, radius: config.radius })
}

/// A trained adversary, acting deterministically.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedAttack {
    /// From the victim's inputs to a direction.
    pub adversary: FloatPolicy,
    /// Radius of the ball.
    pub radius: f64,
}

impl Adversary for LearnedAttack {
    fn perturb(&mut self, _: &FloatPolicy, input: &mut Vec<f64>) {
        let direction = self.adversary.action(input, None);
        displace(input, &direction, self.radius);
    }
}
