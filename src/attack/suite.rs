//! One interface for every attack: what to run, what it needs to learn first, and what it took from the victim. Untrusted.
//! `spec/attacks.md`. The command and the sweep use this and nothing below it.

use std::path::PathBuf;

use secateur_checker::number::Rational;
use secateur_checker::reader::digest::sha256_hex;
use serde::{Deserialize, Serialize};

use super::learned::{Leverage, learn};
use super::score::{EpisodeScore, Measurement, mean, measure};
use super::{MadAttack, RandomAttack};
use crate::decomposition::ActionMode;
use crate::float::mlp::Mlp;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::progress::Progress;
use crate::rl::TrainError;
use crate::rl::env::{EnvironmentError, make_environment};
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
        Rational::parse(&text).map_err(|_| wrong())?;
        let part = |part: &str| part.trim().parse::<f64>().map_err(|_| wrong());
        let value = match text.split_once('/') {
            Some((over, under)) => part(over)? / part(under)?,
            None => part(&text)?,
        };
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
    /// Radius of the l_inf ball around the normalised observation.
    pub radius: WrittenNumber,
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
    /// The literature's protocol for an attack of this radius: 50 episodes, two adversaries, one that learns against
    /// sampled actions and one against deterministic ones.
    pub fn new(kind: AttackKind, radius: WrittenNumber, seed: u64, training_steps: usize) -> Self {
        Self {
            kind,
            radius,
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
            (self.radius.value >= 0.0, "radius", "0 or more"),
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

/// What an attack took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackOutcome {
    /// What was run.
    pub plan: AttackPlan,
    /// Whether what the attack knows and learned is about another policy than the one attacked: never a robust score.
    pub transfer: bool,
    /// Environment steps taken to learn, all adversaries together.
    pub training_steps: usize,
    /// Names of the adversaries the attack chose from.
    pub candidates: Vec<String>,
    /// Deterministic actions: what tables of returns report.
    pub deterministic: Measurement,
    /// Sampled actions: what may stand beside a bound from total variation.
    pub sampled: Measurement,
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
}

/// Runs an attack against `victim`. Everything learned is learned about this victim, mask included: call it once per mask.
///
/// `critic` is the value network of this very policy; pass `None` for a pruned policy that kept the dense one's, and
/// one is fitted.
///
/// # Errors
/// [`AttackError`].
pub fn run_attack(
    victim: &FloatPolicy,
    critic: Option<&Mlp>,
    env_id: &str,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<AttackOutcome, AttackError> {
    let target = Target { victim, critic, env_id };
    let prepared = prepare(&target, plan, files, progress)?;
    measure_all(victim, env_id, plan, prepared, false, progress)
}

/// Measures on `victim` an attack made against `source`, which the adversary takes the victim for: how far an attack on the
/// dense policy carries over to a pruned one. It overstates robustness and is reported apart.
///
/// # Errors
/// [`AttackError`].
pub fn run_transfer(
    (source, critic): (&FloatPolicy, Option<&Mlp>),
    victim: &FloatPolicy,
    env_id: &str,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<AttackOutcome, AttackError> {
    let prepared = prepare(&Target { victim: source, critic, env_id }, plan, files, progress)?;
    let wrap = |candidate: Candidate| {
        let adversary = Box::new(Mistaken { takes_it_for: source.clone(), inner: candidate.adversary });
        Candidate { name: candidate.name, adversary }
    };
    let candidates = prepared.candidates.into_iter().map(wrap).collect();
    measure_all(victim, env_id, plan, Prepared { candidates, ..prepared }, true, progress)
}

/// An adversary that takes its victim for another policy.
struct Mistaken {
    takes_it_for: FloatPolicy,
    inner: Box<dyn Adversary>,
}

impl Adversary for Mistaken {
    fn start(&mut self, episode: u64) {
        self.inner.start(episode);
    }

    fn perturb(&mut self, _: &FloatPolicy, input: &mut Vec<f64>) {
        self.inner.perturb(&self.takes_it_for, input);
    }
}

/// Version of what the attacks are; a change of any of them gets a new number, so that older results are not taken for
/// new ones.
pub const DEFINITIONS: u32 = 3;

/// Identifies an outcome: equal keys, equal outcomes. Lower-case hex SHA-256 over the version of the attacks, plan,
/// environment and every number of the policies involved; `source` is the policy a transferred attack was made against.
pub fn plan_key(
    victim: &FloatPolicy,
    source: Option<&FloatPolicy>,
    critic: Option<&Mlp>,
    env_id: &str,
    plan: &AttackPlan,
) -> String {
    let mut text = format!("secateur.attack/{DEFINITIONS}\n{env_id}\n{}\n", serde_json::json!(plan));
    let network = |network: &Mlp| {
        let shape =
            |layer: &crate::float::mlp::Dense| format!("{:?}{:?}", layer.weight.dim(), layer.activation);
        let shapes: Vec<String> = network.layers.iter().map(shape).collect();
        let bits: Vec<u64> = network.parameters().map(|entry| entry.to_bits()).collect();
        format!("{shapes:?}{bits:?}\n")
    };
    let policy = |policy: &FloatPolicy| {
        // `{:?}` of an f64 is its shortest decimal that reads back as the same number.
        format!("{}{:?}{:?}\n", network(&policy.network), policy.head, policy.normaliser)
    };
    text.push_str(&policy(victim));
    for (word, part) in [("source", source.map(policy)), ("critic", critic.map(network))] {
        text.push_str(word);
        text.push_str(&part.unwrap_or_default());
    }
    sha256_hex(text.as_bytes())
}

/// Clean episodes: the ones that every attack of a plan with this seed is measured beside.
///
/// # Errors
/// [`AttackError`].
pub fn measure_clean(
    victim: &FloatPolicy,
    env_id: &str,
    plan: &AttackPlan,
    actions: ActionMode,
    progress: &dyn Progress,
) -> Result<Vec<EpisodeScore>, AttackError> {
    let mut environment = make_environment(env_id)?;
    measure((victim, environment.as_mut()), (plan, actions, plan.seed_for(2)), None, "clean", progress)
}

fn prepare(
    target: &Target<'_>,
    plan: &AttackPlan,
    files: &AttackFiles,
    progress: &dyn Progress,
) -> Result<Prepared, AttackError> {
    plan.check()?;
    let radius = plan.radius.value;
    let ready = |adversary: Box<dyn Adversary>, name: &str| Prepared {
        candidates: vec![Candidate { name: name.to_owned(), adversary }],
        training_steps: 0,
    };
    if let Some(critic) = target.critic {
        let (inputs, outputs) = (critic.input_width(), critic.output_width());
        let expected = target.victim.network.input_width();
        if (inputs, outputs) != (expected, 1) {
            return Err(AttackError::Critic { inputs, outputs, expected });
        }
    }
    let folder = files.checkpoints.as_ref().map(|folder| {
        let key = plan_key(target.victim, None, target.critic, target.env_id, plan);
        folder.join(format!("{}-{}", plan.kind, &key[..16]))
    });
    let own = AttackFiles { checkpoints: folder, threads: files.threads };
    match (plan.kind, target.critic) {
        (AttackKind::Random, _) => Ok(ready(Box::new(RandomAttack::new(radius, plan.seed_for(0))), "random")),
        (AttackKind::Mad, _) => Ok(ready(Box::new(MadAttack::new(radius, plan.seed_for(0))), "mad")),
        (AttackKind::Critic, Some(critic)) => {
            let candidates = super::critic::candidates(critic, "kept critic", radius);
            Ok(Prepared { candidates, training_steps: 0 })
        }
        (AttackKind::Critic, None) => super::fit::critics(target, plan, &own, progress),
        (AttackKind::RobustSarsa, _) => super::sarsa::critics(target, plan, &own, progress),
        (AttackKind::Optimal, _) => learn(target, Leverage::Observation, plan, &own, progress),
        (AttackKind::PaAd, _) => learn(target, Leverage::Outputs, plan, &own, progress),
    }
}

/// Chooses among candidates on episodes of their own, then measures the chosen one, for both ways of acting.
fn measure_all(
    victim: &FloatPolicy,
    env_id: &str,
    plan: &AttackPlan,
    mut prepared: Prepared,
    transfer: bool,
    progress: &dyn Progress,
) -> Result<AttackOutcome, AttackError> {
    let mut environment = make_environment(env_id)?;
    let mut found = Vec::new();
    for actions in [ActionMode::Deterministic, ActionMode::Sampled] {
        let mut run = |seed, phase: &str, adversary: Option<&mut dyn Adversary>| {
            measure((victim, environment.as_mut()), (plan, actions, seed), adversary, phase, progress)
        };
        let mut chosen = (0, f64::INFINITY);
        if prepared.candidates.len() > 1 {
            for (index, candidate) in prepared.candidates.iter_mut().enumerate() {
                let score = mean(&run(plan.seed_for(1), "choosing", Some(candidate.adversary.as_mut()))?);
                if score < chosen.1 {
                    chosen = (index, score);
                }
            }
        }
        let clean = run(plan.seed_for(2), "clean", None)?;
        let candidate = &mut prepared.candidates[chosen.0];
        let attacked = run(plan.seed_for(2), "attacked", Some(candidate.adversary.as_mut()))?;
        found.push(Measurement { adversary: candidate.name.clone(), clean, attacked });
    }
    let candidates = prepared.candidates.iter().map(|candidate| candidate.name.clone()).collect();
    let (Some(sampled), Some(deterministic)) = (found.pop(), found.pop()) else {
        unreachable!("both ways of acting were measured")
    };
    let training_steps = prepared.training_steps;
    Ok(AttackOutcome { plan: plan.clone(), transfer, training_steps, candidates, deterministic, sampled })
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
