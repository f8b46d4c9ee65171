//! What an attack is to do, and what its parts hand on. Untrusted. `spec/attacks.md`.

use std::path::PathBuf;

use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

use crate::attack::ball::{Ball, WrittenRadii};
use crate::decomposition::ActionMode;
use crate::float::mlp::Mlp;
use crate::float::policy::FloatPolicy;
use crate::float::rational_to_float;
use crate::float::rng::SeededRng;
use crate::rl::TrainError;
use crate::rl::env::EnvironmentError;
use crate::rl::evaluate::Adversary;

/// Every attack there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackKind {
    /// A uniform draw from the ball.
    Random,
    /// Sign descent or ascent on a value network.
    Critic,
    /// Sign ascent on the change of the policy.
    Mad,
    /// Sign descent on a robust action-value network.
    RobustSarsa,
    /// PPO over observations (SA-RL).
    Optimal,
    /// PPO over directions of the policy's outputs, realised by a gradient step.
    PaAd,
}

impl AttackKind {
    /// Weakest ideas first; the names are those of files and tables.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Random, "random"),
        (Self::Critic, "critic"),
        (Self::Mad, "mad"),
        (Self::RobustSarsa, "robust-sarsa"),
        (Self::Optimal, "optimal"),
        (Self::PaAd, "pa-ad"),
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The attack of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Whether something is learned about the victim first, given that a critic comes with it or not.
    pub fn learns(self, has_critic: bool) -> bool {
        match self {
            Self::Random | Self::Mad => false,
            Self::Critic => !has_critic,
            Self::RobustSarsa | Self::Optimal | Self::PaAd => true,
        }
    }
}

impl std::fmt::Display for AttackKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A number as a person wrote it, and the nearest `f64`. In JSON and TOML it is the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WrittenNumber {
    text: String,
    value: f64,
}

impl WrittenNumber {
    /// Reads a decimal or a fraction.
    ///
    /// # Errors
    /// [`AttackError::Number`].
    pub fn parse(text: &str) -> Result<Self, AttackError> {
        let text = text.trim().to_owned();
        let wrong = || AttackError::Number { text: text.clone() };
        let exact = Rational::parse(&text).map_err(|_| wrong())?;
        let value = rational_to_float(&exact);
        if value.is_finite() { Ok(Self { text, value }) } else { Err(wrong()) }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The nearest `f64`.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl TryFrom<String> for WrittenNumber {
    type Error = AttackError;

    fn try_from(text: String) -> Result<Self, AttackError> {
        Self::parse(&text)
    }
}

impl From<WrittenNumber> for String {
    fn from(number: WrittenNumber) -> Self {
        number.text
    }
}

/// How the victim acts while adversaries learn. Both ways are measured afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnsAgainst {
    /// Every adversary meets the mean or the most likely action.
    Deterministic,
    /// Every adversary meets sampled actions.
    Sampled,
    /// The first, third, ... adversary meets sampled actions, the others deterministic ones.
    Both,
}

impl LearnsAgainst {
    /// The stable names, as in files and on the command line.
    pub const NAMES: [(Self, &'static str); 3] =
        [(Self::Deterministic, "deterministic"), (Self::Sampled, "sampled"), (Self::Both, "both")];

    /// How the victim acts while adversary `index` learns, and how many adversaries before it met the same.
    pub fn mode(self, index: usize) -> (ActionMode, usize) {
        match self {
            Self::Deterministic => (ActionMode::Deterministic, index),
            Self::Sampled => (ActionMode::Sampled, index),
            Self::Both if index.is_multiple_of(2) => (ActionMode::Sampled, index / 2),
            Self::Both => (ActionMode::Deterministic, index / 2),
        }
    }
}

/// What to run. Equal plans against equal victims give equal outcomes, on any number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackPlan {
    /// Which attack.
    pub kind: AttackKind,
    /// How far observations are moved.
    pub radius: WrittenRadii,
    /// Discount of the discounted returns, and of what is learned about the victim.
    pub discount: WrittenNumber,
    /// Episodes of every estimate.
    pub episodes: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Environment steps each learned part may take.
    pub training_steps: usize,
    /// Adversaries trained by an attack that trains some; the one of lowest return counts.
    pub adversaries: usize,
    /// How the victim acts while an adversary learns.
    pub learns_against: LearnsAgainst,
}

impl AttackPlan {
    /// The literature's protocol for an attack of these radii: 50 episodes, two adversaries, one that learns against
    /// sampled actions and one against deterministic ones.
    pub fn new(kind: AttackKind, radius: impl Into<WrittenRadii>, seed: u64, training_steps: usize) -> Self {
        Self {
            kind,
            radius: radius.into(),
            discount: WrittenNumber { text: "0.99".to_owned(), value: 0.99 },
            episodes: 50,
            seed,
            training_steps,
            adversaries: 2,
            learns_against: LearnsAgainst::Both,
        }
    }

    /// # Errors
    /// [`AttackError::Range`], naming the first field outside its range.
    pub fn check(&self) -> Result<(), AttackError> {
        let rows = [
            (self.radius.numbers().iter().all(|radius| radius.value >= 0.0), "radius", "0 or more"),
            ((0.0..1.0).contains(&self.discount.value), "discount", "at least 0 and below 1"),
            (self.episodes > 0, "episodes", "at least 1"),
            (self.training_steps >= 64, "training_steps", "at least 64"),
            (self.adversaries > 0, "adversaries", "at least 1"),
        ];
        match rows.into_iter().find(|(holds, ..)| !holds) {
            Some((_, name, must)) => Err(AttackError::Range { name, must }),
            None => Ok(()),
        }
    }

    /// A seed for one purpose, far from those of training runs and reports, which count up from small numbers.
    pub(super) fn seed_for(&self, purpose: u64) -> u64 {
        SeededRng::new(self.seed, u64::MAX - purpose).next_u64()
    }
}

/// Where learned parts keep their checkpoints, and how fast they may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttackFiles {
    /// Folder of checkpoints, one subfolder per plan and victim, so that neither is ever mixed up; `None` for none.
    pub checkpoints: Option<PathBuf>,
    /// Worker threads of a training run; 0 for as many as there are cores. No result depends on it.
    pub threads: usize,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
    /// Not a decimal or fraction.
    #[error("{text:?} is neither a decimal nor a fraction")]
    Number {
        /// What was written.
        text: String,
    },
    /// A field of the plan is outside its range.
    #[error("{name} must be {must}")]
    Range {
        /// The field.
        name: &'static str,
        /// What it has to be.
        must: &'static str,
    },
    /// The policy has another number of inputs than there are radii.
    #[error("{found} radii for {expected} inputs; give one radius per input, or a single one")]
    Radii {
        /// Radii found.
        found: usize,
        /// Inputs of the policy.
        expected: usize,
    },
    /// Raw radii of a transferred attack are not one ball for both policies.
    #[error(
        "the policies of a transferred attack have different normalisers, so that radii in raw units are not one ball for \
         both; give radii in normalised units"
    )]
    Normalisers,
    /// The critic does not read the victim's inputs or has more than one output.
    #[error(
        "the critic maps {inputs} inputs to {outputs} outputs; the policy has {expected} inputs and a value is one number"
    )]
    Critic {
        /// Inputs of the critic.
        inputs: usize,
        /// Its outputs.
        outputs: usize,
        /// Inputs of the policy.
        expected: usize,
    },
    /// The environment cannot be made or moved, or the policy does not fit it.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// An adversary could not be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Stopped on demand; a run with the same checkpoints goes on from there.
    #[error("stopped; the same command goes on from its checkpoints")]
    Stopped,
}

/// One ready adversary.
pub(super) struct Candidate {
    pub name: String,
    pub adversary: Box<dyn Adversary>,
}

/// Ready adversaries, and the steps it took to learn them.
pub(super) struct Prepared {
    pub candidates: Vec<Candidate>,
    pub training_steps: usize,
}

/// What is known about the policy an attack is made against.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub victim: &'a FloatPolicy,
    /// Its value network, if one came with it: from normalised observations to one number.
    pub critic: Option<&'a Mlp>,
    pub env_id: &'a str,
    /// What the attack may do.
    pub ball: &'a Ball,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns count the adversaries that met the same way of acting: their step sizes alternate.
    #[test]
    fn both_ways_of_acting_alternate() {
        use ActionMode::{Deterministic, Sampled};
        let modes = |against: LearnsAgainst| [0, 1, 2, 3].map(|index| against.mode(index));
        assert_eq!(
            modes(LearnsAgainst::Both),
            [(Sampled, 0), (Deterministic, 0), (Sampled, 1), (Deterministic, 1)]
        );
        assert_eq!(modes(LearnsAgainst::Sampled), [0, 1, 2, 3].map(|index| (Sampled, index)));
        assert_eq!(modes(LearnsAgainst::Deterministic), [0, 1, 2, 3].map(|index| (Deterministic, index)));
    }
}
