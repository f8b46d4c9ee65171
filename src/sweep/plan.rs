//! From a configuration to the jobs of a sweep and what each depends on. Untrusted.
//! `spec/sweep.md#jobs`.

mod builder;

use std::collections::BTreeMap;

use secateur_checker::reader::digest::sha256_hex;
use serde::Serialize;
use serde_json::{Value, json};

use super::config::{MaskRecipe, SweepConfig, SweepConfigError};
use super::cost::Pace;
use crate::attack::plan::{AttackKind, AttackPlan};
use crate::attack::suite::DEFINITIONS;
use crate::rl::TrainConfig;
use crate::rl::env::{EnvironmentError, make_environment};

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] SweepConfigError),
    /// An environment cannot be made here.
    #[error("environment {id}: {reason}")]
    Environment {
        /// Its name.
        id: String,
        /// Why.
        reason: EnvironmentError,
    },
    /// No attack has this name.
    #[error("no attack is called {kind:?}; known are {}", known())]
    Attack {
        /// The name.
        kind: String,
    },
    /// A number is malformed or outside its range.
    #[error("{0}")]
    Number(String),
    /// An attack lacks its steps, or has steps that mean nothing.
    #[error("attack {kind:?} {needs}")]
    Steps {
        /// The attack.
        kind: String,
        /// What is wrong.
        needs: &'static str,
    },
}

fn known() -> String {
    AttackKind::ALL.map(|(_, name)| name).join(", ")
}

/// What a job does. Everything it depends on is here or among its inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Spec {
    /// Trains a policy.
    Train {
        /// All settings.
        config: Box<TrainConfig>,
    },
    /// Makes one mask; needs the policy.
    Prune {
        /// How.
        recipe: MaskRecipe,
        /// Fraction pruned.
        sparsity: String,
    },
    /// Certifies the chain of masks at visited states; needs the policy and its masks, loosest first.
    Certify {
        /// Radius, exactly.
        epsilon: String,
        /// Families.
        families: Vec<String>,
        /// Discount of regret claims.
        discount: String,
        /// Reward range and whether episodes can end; without it no regret claims.
        rewards: Option<([String; 2], bool)>,
        /// Regions a split tree of family `branch` may have, where it is among the families.
        #[serde(skip_serializing_if = "Option::is_none")]
        branch_steps: Option<u64>,
    },
    /// Runs uniformly random actions; needs nothing.
    RandomPolicy {
        /// Gymnasium's name.
        environment: String,
        /// Episodes, seed and discount count; nothing is attacked.
        plan: AttackPlan,
    },
    /// Runs the policy under its mask; needs the policy and the mask.
    Clean {
        /// Gymnasium's name.
        environment: String,
        /// Episodes, seed and discount count; nothing is attacked.
        plan: AttackPlan,
    },
    /// Runs an attack against the policy under its mask; needs the policy and the mask.
    Attack {
        /// Gymnasium's name.
        environment: String,
        /// The attack.
        plan: AttackPlan,
        /// Whether the critic that was trained with the policy is about the policy under this mask.
        own_critic: bool,
    },
    /// Runs what an attack learned about the dense policy; needs that attack's job, the dense policy, the policy and the mask.
    Transfer {
        /// Gymnasium's name.
        environment: String,
        /// The attack.
        plan: AttackPlan,
    },
}

impl Spec {
    /// Name of the kind, and the version of the code that does it: a new version does not use results of an old one.
    pub fn kind(&self) -> (&'static str, u32) {
        match self {
            Self::Train { .. } => ("train", 1),
            Self::Prune { .. } => ("prune", 1),
            Self::Certify { .. } => ("certify", 3),
            Self::RandomPolicy { .. } => ("random-policy", 1),
            Self::Clean { .. } => ("clean", 1),
            Self::Attack { .. } => ("attack", DEFINITIONS),
            Self::Transfer { .. } => ("transfer", DEFINITIONS),
        }
    }
}

/// A job of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What it does.
    pub spec: Spec,
    /// For people: where in the sweep it belongs.
    pub label: String,
    /// Positions in the plan of the jobs whose results it reads, all before its own.
    pub needs: Vec<usize>,
    /// Seconds it takes, roughly.
    pub cost: f64,
    /// Folder names of `needs`.
    inputs: Vec<String>,
    /// Name of its own folder: kind and a hash of [`Job::describe`].
    pub name: String,
}

impl Job {
    /// Everything the result depends on.
    pub fn describe(&self) -> Value {
        let (_, version) = self.spec.kind();
        json!({"version": version, "spec": self.spec, "needs": self.inputs})
    }

    /// Kind, for attacks the attack: what a summary counts together.
    pub fn group(&self) -> String {
        match &self.spec {
            Spec::Attack { plan, .. } => plan.kind.name().to_owned(),
            Spec::Transfer { plan, .. } => format!("{} from dense", plan.kind),
            spec => spec.kind().0.to_owned(),
        }
    }

    fn new(spec: Spec, label: String, (needs, inputs): (Vec<usize>, Vec<String>), cost: f64) -> Self {
        let mut job = Self { spec, label, needs, cost, inputs, name: String::new() };
        let hash = sha256_hex(job.describe().to_string().as_bytes());
        job.name = format!("{}-{}", job.spec.kind().0, &hash[..20]);
        job
    }
}

/// A trained and pruned policy of the sweep and the jobs that are about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Environment.
    pub environment: String,
    /// Variant.
    pub variant: String,
    /// Training seed.
    pub seed: u64,
    /// Position of the sparsity in the configuration's list.
    pub mask: usize,
    /// Whether the critic that was trained with the policy is about the policy as it is.
    pub own_critic: bool,
    /// Job of the clean episodes.
    pub clean: usize,
    /// Job of each attack.
    pub attacks: BTreeMap<AttackKind, usize>,
    /// Job of each attack that was prepared against the dense policy.
    pub transfers: BTreeMap<AttackKind, usize>,
}

impl Cell {
    /// For people: environment, variant, seed and sparsity.
    pub fn name(&self, sparsity: &str) -> String {
        format!("{} {} seed {} sparsity {sparsity}", self.environment, self.variant, self.seed)
    }
}

/// A trained policy and the jobs about all its masks.
///
/// A variant that prunes in training has one for each sparsity.
#[derive(Clone, Debug, PartialEq)]
pub struct Lineage {
    /// Environment.
    pub environment: String,
    /// Variant.
    pub variant: String,
    /// Training seed.
    pub seed: u64,
    /// Position of its loosest mask in the configuration's list of sparsities.
    pub first_mask: usize,
    /// Job of its training.
    pub train: usize,
    /// Job of its certificate.
    pub certify: usize,
}

/// All jobs of a sweep; the order is that in which they are begun where dependencies leave a choice.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The jobs; needs come before what needs them.
    pub jobs: Vec<Job>,
    /// Trained policies.
    pub lineages: Vec<Lineage>,
    /// Pruned policies.
    pub cells: Vec<Cell>,
    /// Job of each environment's random policy.
    pub random: BTreeMap<String, usize>,
}

impl Plan {
    /// Lays out a sweep. Trainings come first, then what is cheap, then learned attacks.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(config: &SweepConfig) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        let mut paces = BTreeMap::new();
        for environment in &config.environments {
            let reason = |reason| PlanError::Environment { id: environment.id.clone(), reason };
            let made = make_environment(&environment.id).map_err(reason)?;
            paces.insert(environment.id.clone(), Pace::of(made.as_ref()));
        }
        builder::build(config, paces, &mut plan)?;
        Ok(plan)
    }

    /// Seconds of all jobs for which `wanted` holds, roughly.
    pub fn cost(&self, wanted: impl Fn(usize) -> bool) -> f64 {
        self.jobs.iter().enumerate().filter(|(index, _)| wanted(*index)).map(|(_, job)| job.cost).sum()
    }
}
