//! How long a job takes, roughly: for `--dry-run` and the progress bar only. Untrusted.
//! Seconds on one core of a 2020s x86-64 machine with networks of 64-64.

use super::plan::Spec;
use crate::attack::plan::{AttackKind, AttackPlan};
use crate::rl::env::Environment;

/// Speed of an environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds a step.
    step: f64,
    /// Longest episode.
    limit: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { step: 1e-5, limit: 500.0 }
    }
}

/// Seconds a step of PPO beside the environment's own: acting, ten epochs of updates.
const PPO_STEP: f64 = 8e-5;
/// Seconds of one forward pass of a policy.
const ACT: f64 = 5e-6;
/// Seconds of ten gradient steps at one observation.
const ASCENT: f64 = 5e-5;

impl Pace {
    /// The pace of an environment.
    pub fn of(environment: &dyn Environment) -> Self {
        let step = if environment.id().ends_with("-v5") { 3e-5 } else { 2e-6 };
        Self { step, limit: environment.time_limit() as f64 }
    }

    /// Seconds of measured episodes, all of the longest kind, for both ways of choosing actions.
    fn episodes(self, episodes: usize, attack: f64) -> f64 {
        2.0 * episodes as f64 * self.limit * (self.step + ACT + attack)
    }

    fn learning(self, steps: usize) -> f64 {
        steps as f64 * (self.step + PPO_STEP)
    }
}

/// Seconds beside the environment's an attack takes at every step.
fn per_step(kind: AttackKind) -> f64 {
    match kind {
        AttackKind::Random => 1e-6,
        AttackKind::Critic | AttackKind::Mad | AttackKind::RobustSarsa => ASCENT,
        AttackKind::Optimal | AttackKind::PaAd => 2.0 * ACT,
    }
}

/// Seconds of measuring an attack: clean and attacked, and once more where there is a choice.
fn measuring(pace: Pace, plan: &AttackPlan) -> f64 {
    let choosing = if plan.kind.learns(false) { 2.0 } else { 1.0 };
    pace.episodes(plan.episodes, 0.0) + choosing * pace.episodes(plan.episodes, per_step(plan.kind))
}

/// Seconds of a job, roughly.
pub fn cost(spec: &Spec, pace: Pace) -> f64 {
    match spec {
        Spec::Train { config } => {
            let robust = if config.sa.is_some() { 1.7 } else { 1.0 };
            let evaluations = config.updates().checked_div(config.eval_interval).unwrap_or(0);
            let evaluated = pace.episodes(evaluations * config.eval_episodes, 0.0) / 2.0;
            pace.learning(config.total_timesteps) * robust + evaluated
        }
        Spec::Prune { .. } => 0.01,
        Spec::Certify { families, .. } => 2.0 * families.len() as f64,
        Spec::RandomPolicy { plan, .. } | Spec::Clean { plan, .. } => pace.episodes(plan.episodes, 0.0),
        Spec::Attack { plan, own_critic, .. } => {
            let learning = match plan.kind {
                kind if !kind.learns(*own_critic) => 0.0,
                AttackKind::Critic => plan.training_steps as f64 * (pace.step + 2.0 * ACT),
                _ => pace.learning(plan.training_steps) * plan.adversaries as f64,
            };
            learning + measuring(pace, plan)
        }
        Spec::Transfer { plan, .. } => measuring(pace, plan),
    }
}
