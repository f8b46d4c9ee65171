//! Adversaries of an SA-MDP: they move the observation inside a ball before the policy sees it. Untrusted: an attack gives
//! an estimate from below of what an adversary can do, never a proof.
//!
//! All move normalised observations within a box, gradient attacks in 10 steps of a tenth of each input's radius; the literature's
//! box is the l_inf ball behind the normaliser's clip (Zhang et al. 2020, arXiv:2003.08938).

pub mod ball;
pub mod critic;
mod fit;
mod imitate;
pub mod learned;
pub mod mad;
pub mod plan;
pub mod random;
pub mod sarsa;
pub mod score;
pub mod suite;

pub use ball::{Ball, WrittenRadii};
pub use critic::CriticAttack;
pub use learned::{LearnedAttack, LearnedConfig, Leverage, train_adversary};
pub use mad::MadAttack;
pub use plan::{AttackError, AttackFiles, AttackKind, AttackPlan, LearnsAgainst, WrittenNumber};
pub use random::RandomAttack;
pub use sarsa::SarsaAttack;
pub use score::{EpisodeScore, Measurement, Summary, summarise};
pub use suite::{AttackOutcome, plan_key, run_attack, run_transfer};
