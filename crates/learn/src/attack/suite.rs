//! One interface for every attack: what to run, what it needs to learn first, and what it took from the victim. Untrusted.
//! `spec/attacks.md`. The command and the sweep use this and nothing below it.

use secateur_checker::model::Units;
use secateur_checker::reader::digest::sha256_hex;
use serde::{Deserialize, Serialize};

use super::ball::WrittenRadii;
use super::learned::{Leverage, learn};
use super::plan::{AttackError, AttackFiles, AttackKind, AttackPlan, Candidate, Prepared, Target};
use super::score::{EpisodeScore, Measurement, mean, measure};
use super::{MadAttack, RandomAttack};
use crate::decomposition::ActionMode;
use crate::float::mlp::Mlp;
use crate::float::policy::FloatPolicy;
use crate::progress::Progress;
use crate::rl::env::make_environment;
use crate::rl::evaluate::Adversary;

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
    plan.check()?;
    let ball = plan.radius.ball(&victim.normaliser)?;
    let target = Target { victim, critic, env_id, ball: &ball };
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
    plan.check()?;
    let raw = matches!(plan.radius, WrittenRadii::Each { units: Units::Raw, .. });
    if raw && source.normaliser != victim.normaliser {
        return Err(AttackError::Normalisers);
    }
    let ball = plan.radius.ball(&source.normaliser)?;
    let target = Target { victim: source, critic, env_id, ball: &ball };
    let prepared = prepare(&target, plan, files, progress)?;
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

    fn perturb(&mut self, _: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        self.inner.perturb(&self.takes_it_for, unclipped, input);
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
    let ball = || target.ball.clone();
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
        (AttackKind::Random, _) => Ok(ready(Box::new(RandomAttack::new(ball(), plan.seed_for(0))), "random")),
        (AttackKind::Mad, _) => Ok(ready(Box::new(MadAttack::new(ball(), plan.seed_for(0))), "mad")),
        (AttackKind::Critic, Some(critic)) => {
            let candidates = super::critic::candidates(critic, "kept critic", target.ball);
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
