//! Adversaries of an SA-MDP: they move the observation inside a ball before the policy sees it. Untrusted: an attack gives
//! an estimate from below of what an adversary can do, never a proof.
//!
//! All work on normalised observations, in the l_inf ball, with 10 steps of a tenth of the radius, as the literature does
//! (Zhang et al. 2020, arXiv:2003.08938). What is added is not clipped again.

pub mod critic;
mod fit;
mod imitate;
pub mod learned;
pub mod mad;
pub mod random;
pub mod sarsa;
pub mod score;
pub mod suite;

pub use critic::CriticAttack;
pub use learned::{LearnedAttack, LearnedConfig, Leverage, train_adversary};
pub use mad::MadAttack;
pub use random::RandomAttack;
pub use sarsa::SarsaAttack;
pub use score::{EpisodeScore, Measurement, Summary, summarise};
pub use suite::{
    AttackError, AttackFiles, AttackKind, AttackOutcome, AttackPlan, LearnsAgainst, WrittenNumber, plan_key,
    run_attack, run_transfer,
};

/// Steps of a gradient attack.
pub const STEPS: usize = 10;

/// Moves each coordinate of `point` by `step` along the sign of `slope` and back into the ball around `centre`.
fn ascend(point: &mut [f64], centre: &[f64], slope: &[f64], step: f64, radius: f64) {
    for ((point, centre), slope) in point.iter_mut().zip(centre).zip(slope) {
        let ahead = if *slope == 0.0 { 0.0 } else { slope.signum() * step };
        *point = (*point + ahead).clamp(centre - radius, centre + radius);
    }
}
