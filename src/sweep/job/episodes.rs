//! Jobs that run episodes: random actions, a clean policy, an attacked one, an attack carried over. Untrusted.
//! `spec/sweep.md#episodes`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{JobContext, JobError, RESULT};
use crate::attack::plan::{AttackFiles, AttackPlan};
use crate::attack::score::EpisodeScore;
use crate::attack::suite::{AttackOutcome, measure_clean, run_attack, run_transfer};
use crate::decomposition::ActionMode;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::policy::read::read_policy_dir;
use crate::progress::Quiet;
use crate::rl::env::{Action, ActionSpace, Environment, make_environment};
use secateur_checker::load::load_masks;
use secateur_checker::load::load_policy;

/// Checkpoints of what an attack learned, kept with its result so that it can be carried over to other masks.
const LEARNED: &str = "learned";

/// Episodes of one policy for both ways of choosing actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episodes {
    /// The most likely action.
    pub deterministic: Vec<EpisodeScore>,
    /// A draw from the policy.
    pub sampled: Vec<EpisodeScore>,
    /// Of several adversaries those that counted, deterministic and sampled.
    pub adversaries: Option<[String; 2]>,
    /// Steps taken to learn an attack.
    pub training_steps: usize,
}

impl Episodes {
    fn attacked(outcome: AttackOutcome) -> Self {
        let AttackOutcome { deterministic, sampled, training_steps, .. } = outcome;
        Self {
            adversaries: Some([deterministic.adversary, sampled.adversary]),
            deterministic: deterministic.attacked,
            sampled: sampled.attacked,
            training_steps,
        }
    }

    /// The episodes of one way of choosing actions.
    pub fn of(&self, actions: ActionMode) -> &[EpisodeScore] {
        match actions {
            ActionMode::Deterministic => &self.deterministic,
            ActionMode::Sampled => &self.sampled,
        }
    }
}

fn read_float_policy(folder: &Path) -> Result<FloatPolicy, JobError> {
    let failed = |reason: String| JobError::Read { path: folder.to_owned(), reason };
    let data = read_policy_dir(folder).map_err(|e| failed(e.to_string()))?;
    FloatPolicy::from_data(&data).map_err(|e| failed(e.to_string()))
}

/// The policy of a training job under the mask of a pruning job.
fn masked_policy(train: &Path, pruned: &Path) -> Result<FloatPolicy, JobError> {
    let (folder, masks) = (train.join("policy"), pruned.join("masks"));
    let mut policy = read_float_policy(&folder)?;
    let loaded = load_policy(&folder).map_err(|e| JobError::Other(e.to_string()))?;
    let chain = load_masks(&masks, &loaded.files).map_err(|e| JobError::Other(e.to_string()))?;
    let mask = chain.masks.into_iter().next();
    let mask = mask.ok_or_else(|| JobError::Read { path: masks, reason: "no mask".to_owned() })?;
    for (layer, kept) in policy.network.layers.iter_mut().zip(&mask.layers) {
        layer.weight.iter_mut().zip(kept).filter(|(_, kept)| !**kept).for_each(|(weight, _)| *weight = 0.0);
    }
    Ok(policy)
}

pub(super) fn run_clean(
    environment: &str,
    plan: &AttackPlan,
    context: &JobContext<'_>,
) -> Result<(), JobError> {
    let victim = masked_policy(context.input(0)?, context.input(1)?)?;
    let run = |actions| measure_clean(&victim, environment, plan, actions, &Quiet(context.progress));
    let (deterministic, sampled) = (run(ActionMode::Deterministic)?, run(ActionMode::Sampled)?);
    context.write_json(RESULT, &Episodes { deterministic, sampled, adversaries: None, training_steps: 0 })
}

pub(super) fn run_attacked(
    environment: &str,
    plan: &AttackPlan,
    own_critic: bool,
    context: &JobContext<'_>,
) -> Result<(), JobError> {
    let train = context.input(0)?;
    let victim = masked_policy(train, context.input(1)?)?;
    // The critic of a policy that was pruned afterwards knows another one; the attack then fits its own.
    let critic = if own_critic { Some(read_float_policy(&train.join("critic"))?.network) } else { None };
    let learned = context.work.join(LEARNED);
    let files = AttackFiles { checkpoints: Some(learned.clone()), threads: 1 };
    let outcome = run_attack(&victim, critic.as_ref(), environment, plan, &files, &Quiet(context.progress))?;
    if own_critic && learned.exists() {
        copy_folder(&learned, &context.out.join(LEARNED))?;
    }
    context.write_json(RESULT, &Episodes::attacked(outcome))
}

pub(super) fn run_transferred(
    environment: &str,
    plan: &AttackPlan,
    context: &JobContext<'_>,
) -> Result<(), JobError> {
    let (attack, dense) = (context.input(0)?, context.input(1)?);
    let source = read_float_policy(&dense.join("policy"))?;
    let critic = read_float_policy(&dense.join("critic"))?.network;
    let victim = masked_policy(context.input(2)?, context.input(3)?)?;
    let learned = context.work.join(LEARNED);
    if attack.join(LEARNED).exists() && !learned.exists() {
        copy_folder(&attack.join(LEARNED), &learned)?;
    }
    let files = AttackFiles { checkpoints: Some(learned), threads: 1 };
    let from = (&source, Some(&critic));
    let outcome = run_transfer(from, &victim, environment, plan, &files, &Quiet(context.progress))?;
    context.write_json(RESULT, &Episodes::attacked(outcome))
}

/// Copies a folder with everything in it.
fn copy_folder(from: &Path, to: &Path) -> Result<(), JobError> {
    let failed = |e: std::io::Error| JobError::Read { path: from.to_owned(), reason: e.to_string() };
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).map_err(failed)?;
        }
    }
    Ok(())
}

/// Uniform actions: every index of a discrete space, every point of a box.
fn random_action(space: &ActionSpace, rng: &mut SeededRng) -> Vec<f64> {
    match space {
        ActionSpace::Discrete(count) => vec![rng.below(*count) as f64],
        ActionSpace::Continuous { lower, upper } => {
            lower.iter().zip(upper).map(|(lower, upper)| rng.uniform(*lower, *upper)).collect()
        }
    }
}

pub(super) fn run_random(id: &str, plan: &AttackPlan, context: &JobContext<'_>) -> Result<(), JobError> {
    let mut environment = make_environment(id)?;
    let mut scores = Vec::new();
    for episode in 0..plan.episodes as u64 {
        if context.progress.stopped() {
            return Err(JobError::Interrupted);
        }
        scores.push(random_episode(environment.as_mut(), plan, episode)?);
    }
    let sampled = scores.clone();
    context.write_json(
        RESULT,
        &Episodes { deterministic: scores, sampled, adversaries: None, training_steps: 0 },
    )
}

fn random_episode(
    environment: &mut dyn Environment,
    plan: &AttackPlan,
    episode: u64,
) -> Result<EpisodeScore, JobError> {
    let space = environment.action_space().clone();
    let mut observation = vec![0.0; environment.observation_width()];
    let mut rng = SeededRng::new(plan.seed, episode);
    environment.reset(Some(rng.next_u64()), &mut observation)?;
    let mut score = EpisodeScore { episode, total: 0.0, discounted: 0.0, length: 0 };
    let mut weight = 1.0;
    loop {
        let values = random_action(&space, &mut rng);
        let action = match &space {
            ActionSpace::Discrete(_) => Action::Discrete(values[0] as usize),
            ActionSpace::Continuous { .. } => Action::Continuous(&values),
        };
        let step = environment.step(action, &mut observation)?;
        score.total += step.reward;
        score.discounted += weight * step.reward;
        score.length += 1;
        weight *= plan.discount.value();
        if step.terminated || step.truncated {
            return Ok(score);
        }
    }
}
