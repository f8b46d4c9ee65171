//! What to sweep over, as a TOML file. Untrusted; nothing here speaks of what was measured.
//! `spec/sweep.md#configuration`.

mod check;

use num_traits::ToPrimitive;
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

use crate::certify::trees::BRANCH_STEPS;
use crate::rl::config::{ConfigError, TrainConfig};

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepConfigError {
    /// The file is no TOML, or has an unknown name or a wrong kind of value.
    #[error("{0}")]
    Parse(#[from] toml::de::Error),
    /// Training settings cannot be used.
    #[error("environment {environment:?}, variant {variant:?}, train: {reason}")]
    Train {
        /// The environment.
        environment: String,
        /// The variant.
        variant: String,
        /// Why.
        reason: ConfigError,
    },
    /// A value is outside its range.
    #[error("{name} must be {must}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it has to be.
        must: &'static str,
    },
    /// A list has an entry twice.
    #[error("{name} lists {entry:?} twice")]
    Twice {
        /// The list.
        name: &'static str,
        /// The entry.
        entry: String,
    },
    /// A filter names something that the sweep does not have.
    #[error("{place} names {entry:?}, which this sweep does not have")]
    Unknown {
        /// Where.
        place: String,
        /// What it names.
        entry: String,
    },
    /// A number that is neither a decimal nor a fraction.
    #[error("{name} {text:?}: {reason}; numbers are decimals or fractions in quotes, such as \"0.075\"")]
    Number {
        /// The setting.
        name: &'static str,
        /// What stands there.
        text: String,
        /// Why it is none.
        reason: String,
    },
    /// Two entries of `attack` run the same attack on the same policy.
    #[error(
        "two [[attack]] entries run {kind} on {cell}; give them environments, variants, sparsities or seeds that differ"
    )]
    Overlap {
        /// The attack.
        kind: String,
        /// The policy.
        cell: String,
    },
}

/// Which weights the masks of a trained policy prune first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskMethod {
    /// Smallest magnitude first.
    Magnitude,
    /// A seeded random order.
    Random,
}

/// Over which weights the sparsity is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskScope {
    /// Each layer on its own.
    Layer,
    /// All layers together.
    Global,
}

/// How masks are made. `spec/pruning.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskRecipe {
    /// What is pruned first.
    pub method: MaskMethod,
    /// Over which weights the fraction counts.
    pub scope: MaskScope,
    /// Seed of the random order.
    pub seed: u64,
}

impl Default for MaskRecipe {
    fn default() -> Self {
        Self { method: MaskMethod::Magnitude, scope: MaskScope::Layer, seed: 0 }
    }
}

/// Confidence intervals. `spec/sweep.md#intervals`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BootstrapConfig {
    /// Resamples.
    pub resamples: usize,
    /// Probability inside the interval.
    pub confidence: f64,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { resamples: 2000, confidence: 0.95, seed: 1 }
    }
}

/// A task to train in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvironmentConfig {
    /// Gymnasium's name.
    pub id: String,
    /// Radius of the l_inf ball, normalised units; a decimal or a fraction.
    pub epsilon: String,
    /// Least and greatest reward of a step, if known: gives certified bounds on returns.
    pub reward_range: Option<[String; 2]>,
    /// Whether episodes can end by themselves.
    #[serde(default = "yes")]
    pub episodes_can_end: bool,
    /// Training settings over those that suit the task.
    #[serde(default)]
    pub train: toml::Table,
}

/// A way to train.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VariantConfig {
    /// Its name in tables and plots.
    pub name: String,
    /// Environments it is trained in; all of them if absent.
    pub environments: Option<Vec<String>>,
    /// Trains once for every sparsity above 0 and prunes to it meanwhile, instead of pruning the trained policy: `train.prune`
    /// says how, its sparsity aside.
    #[serde(default)]
    pub pruned_in_training: bool,
    /// Training settings over the environment's.
    #[serde(default)]
    pub train: toml::Table,
}

/// An attack and the policies it is run on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AttackEntry {
    /// Which one.
    pub kind: String,
    /// Environment steps an adversary is trained for; learned attacks only.
    pub steps: Option<usize>,
    /// Adversaries trained by an attack that trains some; 1 if absent.
    pub adversaries: Option<usize>,
    /// Environments; all if absent.
    pub environments: Option<Vec<String>>,
    /// Variants; all if absent.
    pub variants: Option<Vec<String>>,
    /// Sparsities; all if absent.
    pub sparsities: Option<Vec<String>>,
    /// Training seeds; all if absent.
    pub seeds: Option<Vec<u64>>,
    /// Also run what was prepared against the dense policy on the pruned ones; reported apart.
    #[serde(default)]
    pub transfer: bool,
}

/// A whole sweep.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SweepConfig {
    /// Training seeds.
    pub seeds: Vec<u64>,
    /// Fractions pruned, increasing, the first 0.
    pub sparsities: Vec<String>,
    /// Episodes of every measured mean, for each way of choosing actions.
    pub episodes: usize,
    /// Seed of the measured episodes, the same ones for every policy and attack.
    #[serde(default = "evaluation_seed")]
    pub evaluation_seed: u64,
    /// Discount of the discounted returns, below 1.
    #[serde(default = "discount")]
    pub discount: String,
    /// Bound families; those of `certify`.
    #[serde(default = "families")]
    pub families: Vec<String>,
    /// Regions a split tree of family `branch` may have.
    #[serde(default = "branch_steps")]
    pub branch_steps: u64,
    /// How masks are made.
    #[serde(default)]
    pub prune: MaskRecipe,
    /// Confidence intervals.
    #[serde(default)]
    pub bootstrap: BootstrapConfig,
    /// Tasks.
    #[serde(rename = "environment")]
    pub environments: Vec<EnvironmentConfig>,
    /// Ways to train; the first is the one that scores are normalised by.
    #[serde(rename = "variant", default = "vanilla")]
    pub variants: Vec<VariantConfig>,
    /// Attacks.
    #[serde(rename = "attack", default)]
    pub attacks: Vec<AttackEntry>,
}

fn yes() -> bool {
    true
}

fn evaluation_seed() -> u64 {
    10_000
}

fn discount() -> String {
    "0.99".to_owned()
}

fn families() -> Vec<String> {
    ["sensitivity", "ibp", "crown", "pruned-deviation"].map(str::to_owned).to_vec()
}

fn branch_steps() -> u64 {
    BRANCH_STEPS
}

fn vanilla() -> Vec<VariantConfig> {
    let name = "vanilla".to_owned();
    vec![VariantConfig { name, environments: None, pruned_in_training: false, train: toml::Table::new() }]
}

/// Reads a decimal or fraction exactly.
pub(super) fn exact(name: &'static str, text: &str) -> Result<Rational, SweepConfigError> {
    let wrong = |reason: String| SweepConfigError::Number { name, text: text.to_owned(), reason };
    Rational::parse(text).map_err(|e| wrong(e.to_string()))
}

/// The nearest `f64` of a short decimal or fraction.
pub(super) fn float(value: &Rational) -> f64 {
    let part = |n: &num_bigint::BigInt| n.to_f64().unwrap_or(f64::NAN);
    part(value.numerator()) / part(value.denominator())
}

/// Writes the final sparsity into the table `prune`, which goes without one of 0.
fn set_sparsity(train: &mut toml::Table, sparsity: &str) -> Result<(), SweepConfigError> {
    if exact("sparsities", sparsity)?.is_zero() {
        train.remove("prune");
        return Ok(());
    }
    if let toml::Value::Table(prune) = train.entry("prune").or_insert(toml::Table::new().into()) {
        prune.insert("sparsity".to_owned(), sparsity.into());
    }
    Ok(())
}

impl SweepConfig {
    /// Reads and checks a sweep.
    ///
    /// # Errors
    /// [`SweepConfigError`].
    pub fn parse(text: &str) -> Result<Self, SweepConfigError> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Variants that are trained in an environment.
    pub fn variants_of(&self, environment: &EnvironmentConfig) -> impl Iterator<Item = &VariantConfig> {
        let id = environment.id.clone();
        self.variants.iter().filter(move |v| v.environments.as_ref().is_none_or(|list| list.contains(&id)))
    }

    /// Settings of one training run, of which a variant that prunes in training has one for each sparsity: those that suit the task, then the environment's, then the variant's. One thread;
    /// a checkpoint about every 20,000 steps; the radius of robust training is that of the environment unless it is given.
    ///
    /// # Errors
    /// [`SweepConfigError::Train`].
    pub fn train_config(
        &self,
        environment: &EnvironmentConfig,
        variant: &VariantConfig,
        (seed, sparsity): (u64, &str),
    ) -> Result<TrainConfig, SweepConfigError> {
        let failed = |reason| SweepConfigError::Train {
            environment: environment.id.clone(),
            variant: variant.name.clone(),
            reason,
        };
        let mut over = variant.train.clone();
        if let Some(toml::Value::Table(sa)) = over.get_mut("sa") {
            sa.entry("epsilon").or_insert(float(&environment.radius()?).into());
        }
        if variant.pruned_in_training {
            set_sparsity(&mut over, sparsity)?;
        }
        let texts =
            [&environment.train, &over].map(|table| toml::to_string(table).map_err(ConfigError::Write));
        let [first, second] = texts;
        let (first, second) = (first.map_err(failed)?, second.map_err(failed)?);
        let base = TrainConfig::for_environment(&environment.id);
        let merged = base.with_settings([first.as_str(), second.as_str()]).map_err(failed)?;
        let mut config = TrainConfig { seed, threads: 1, ..merged };
        if config.checkpoint_interval == 0 {
            config.checkpoint_interval = 20_480usize.div_ceil(config.batch_size());
        }
        Ok(config)
    }
}

impl EnvironmentConfig {
    /// The radius, exactly.
    ///
    /// # Errors
    /// [`SweepConfigError::Number`], [`SweepConfigError::Range`].
    pub fn radius(&self) -> Result<Rational, SweepConfigError> {
        let radius = exact("epsilon", &self.epsilon)?;
        if radius.is_negative() {
            return Err(SweepConfigError::Range { name: "epsilon", must: "at least 0" });
        }
        Ok(radius)
    }

    /// The reward range, if it is known.
    ///
    /// # Errors
    /// [`SweepConfigError::Number`], [`SweepConfigError::Range`].
    pub fn rewards(&self) -> Result<Option<RewardRange>, SweepConfigError> {
        let Some([lower, upper]) = &self.reward_range else { return Ok(None) };
        let rewards = RewardRange {
            lower: exact("reward-range", lower)?,
            upper: exact("reward-range", upper)?,
            episodes_can_end: self.episodes_can_end,
        };
        match rewards.spread() {
            Ok(_) => Ok(Some(rewards)),
            Err(_) => {
                Err(SweepConfigError::Range { name: "reward-range", must: "a least and a greatest reward" })
            }
        }
    }
}

impl AttackEntry {
    /// Whether it is run on this policy.
    pub fn applies(&self, environment: &str, variant: &str, sparsity: &str, seed: u64) -> bool {
        let has = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_none_or(|l| l.iter().any(|e| e == name))
        };
        has(&self.environments, environment)
            && has(&self.variants, variant)
            && has(&self.sparsities, sparsity)
            && self.seeds.as_ref().is_none_or(|seeds| seeds.contains(&seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "seeds = [1]\nsparsities = ['0', '0.5']\nepisodes = 2\n[[environment]]\nid = 'Pendulum-v1'\nepsilon = '3/40'\n";

    #[test]
    fn training_settings_go_over_one_another() {
        let text = format!(
            "{TEXT}train = {{ learning_rate = 0.5, states = 7 }}\n[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\n\
             pruned-in-training = true\ntrain = {{ learning_rate = 0.25, sa = {{ kappa = 2.0 }}, prune = {{ start = 0.5 }} }}\n"
        );
        let config = SweepConfig::parse(&text).expect("valid");
        let environment = &config.environments[0];
        let settings = |variant: usize, sparsity| {
            config.train_config(environment, &config.variants[variant], (9, sparsity)).expect("valid")
        };
        let plain = settings(0, "0.5");
        assert_eq!((plain.seed, plain.threads, plain.states, plain.learning_rate), (9, 1, 7, 0.5));
        // What the task is known to need stays: Pendulum's discount. 20,480 steps are 5 updates of 4,096.
        assert_eq!((plain.discount, plain.checkpoint_interval), (0.9, 5));
        assert!(plain.sa.is_none() && plain.prune.is_none());
        let robust = settings(1, "0.5");
        assert_eq!(robust.learning_rate, 0.25);
        assert_eq!(robust.sa.map(|sa| (sa.kappa, sa.epsilon)), Some((2.0, 0.075)));
        assert_eq!(robust.prune.map(|prune| (prune.sparsity, prune.start)), Some(("0.5".to_owned(), 0.5)));
        assert!(settings(1, "0").prune.is_none());
    }

    #[test]
    fn attacks_apply_where_they_say() {
        let text = format!("{TEXT}[[attack]]\nkind = 'mad'\nsparsities = ['0.5']\nseeds = [1]\n");
        let attack = &SweepConfig::parse(&text).expect("valid").attacks[0];
        assert!(attack.applies("Pendulum-v1", "vanilla", "0.5", 1));
        assert!(!attack.applies("Pendulum-v1", "vanilla", "0", 1));
        assert!(!attack.applies("Pendulum-v1", "vanilla", "0.5", 2));
    }

    #[test]
    fn fractions_are_nearest_floats() {
        let value = |text| float(&exact("epsilon", text).expect("a number"));
        assert_eq!([value("3/40"), value("0.1"), value("-2")], [0.075, 0.1, -2.0]);
    }
}
