//! Settings of a training run, as a TOML file and as flags; names and defaults as in CleanRL's `ppo_continuous_action.py`
//! (<https://docs.cleanrl.dev/rl-algorithms/ppo/>), RL Zoo's names accepted beside them. Untrusted.

use secateur_checker::number::Rational;
use serde::{Deserialize, Serialize};

pub use super::hidden::HiddenActivation;
use super::pruning::{PruneConfig, PruneMethod, PruneSchedule};

/// How the regulariser finds the largest change of the policy inside the ball.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InnerMaximum {
    /// From above, by interval bound propagation.
    Ibp,
    /// From below, by projected gradient ascent.
    Pgd,
}

/// The SA-PPO regulariser: `kappa mean_s max_{s^ in ball} sum_i ((mu_i(s^) - mu_i(s)) / sigma_i)^2`, logits in place of
/// `mu / sigma` for a categorical policy; sigma is not changed by it.
///
/// # References
/// Zhang et al. 2020, arXiv:2003.08938, section 3.3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaConfig {
    /// Weight of the regulariser.
    pub kappa: f64,
    /// Radius of the l_inf ball around the normalised observation, once ramped up.
    pub epsilon: f64,
    /// Which bound on the inner maximum.
    pub method: InnerMaximum,
    /// Share of training before the radius starts to grow.
    pub ramp_start: f64,
    /// Share of training at which the radius is `epsilon`.
    pub ramp_end: f64,
    /// Ascent steps of `pgd`.
    pub steps: usize,
}

impl Default for SaConfig {
    fn default() -> Self {
        let method = InnerMaximum::Ibp;
        Self { kappa: 0.1, epsilon: 0.075, method, ramp_start: 0.0, ramp_end: 0.75, steps: 10 }
    }
}

/// Settings of a training run. Two runs with equal settings write equal weights; `threads` changes only the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Environment, Gymnasium's name.
    #[serde(alias = "env")]
    pub env_id: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Environment steps in all.
    #[serde(alias = "n_timesteps")]
    pub total_timesteps: usize,
    /// Adam's step size at the start.
    pub learning_rate: f64,
    /// Lower the step size linearly to 0.
    pub anneal_lr: bool,
    /// Environments stepped side by side.
    #[serde(alias = "n_envs")]
    pub num_envs: usize,
    /// Steps of each environment between updates.
    #[serde(alias = "n_steps")]
    pub num_steps: usize,
    /// Discount.
    #[serde(rename = "gamma", alias = "discount")]
    pub discount: f64,
    /// Lambda of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Minibatches an epoch.
    pub num_minibatches: usize,
    /// Passes over a batch.
    #[serde(alias = "n_epochs")]
    pub update_epochs: usize,
    /// Normalise advantages within a minibatch.
    pub norm_adv: bool,
    /// Clip radius of the probability ratio.
    #[serde(alias = "clip_range")]
    pub clip_coef: f64,
    /// Clip the value loss by the same radius.
    pub clip_vloss: bool,
    /// Weight of the entropy bonus.
    pub ent_coef: f64,
    /// Weight of the value loss.
    pub vf_coef: f64,
    /// Largest l2 norm of a gradient.
    pub max_grad_norm: f64,
    /// End an update once the estimated KL divergence exceeds this.
    pub target_kl: Option<f64>,
    /// Widths of the hidden layers, of the policy and of the value network alike.
    pub hidden_sizes: Vec<usize>,
    /// Activation of the hidden layers.
    pub activation: HiddenActivation,
    /// Logarithm of the standard deviations at the start.
    pub log_std_init: f64,
    /// Normalise observations by their running mean and deviation, clipped at 10.
    pub norm_obs: bool,
    /// Scale rewards by the running deviation of the discounted return, clipped at 10.
    pub norm_reward: bool,
    /// The robust regulariser, if any.
    pub sa: Option<SaConfig>,
    /// Pruning while training, if any.
    pub prune: Option<PruneConfig>,
    /// [`super::TrainStart::digest`] of what a fine-tuning run starts from; none for a fresh start.
    pub finetune: Option<String>,
    /// Updates between evaluations; 0 for none before the end.
    pub eval_interval: usize,
    /// Episodes an evaluation, deterministic actions.
    pub eval_episodes: usize,
    /// Return the policy of the best evaluation rather than the last. Its seeds differ from those of any report.
    pub keep_best: bool,
    /// Visited states to hand out with the policy.
    pub states: usize,
    /// Updates between checkpoints; 0 for one at the end only.
    pub checkpoint_interval: usize,
    /// Worker threads; 0 for as many as there are cores.
    pub threads: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            env_id: "Hopper-v5".to_owned(),
            seed: 1,
            total_timesteps: 1_000_000,
            learning_rate: 3e-4,
            anneal_lr: true,
            num_envs: 1,
            num_steps: 2048,
            discount: 0.99,
            gae_lambda: 0.95,
            num_minibatches: 32,
            update_epochs: 10,
            norm_adv: true,
            clip_coef: 0.2,
            clip_vloss: true,
            ent_coef: 0.0,
            vf_coef: 0.5,
            max_grad_norm: 0.5,
            target_kl: None,
            hidden_sizes: vec![64, 64],
            activation: HiddenActivation::Tanh,
            log_std_init: 0.0,
            norm_obs: true,
            norm_reward: true,
            sa: None,
            prune: None,
            finetune: None,
            eval_interval: 0,
            eval_episodes: 10,
            keep_best: false,
            states: 1000,
            checkpoint_interval: 0,
            threads: 0,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is no TOML, or has an unknown name or a wrong kind of value.
    #[error("{0}")]
    Parse(#[from] toml::de::Error),
    /// The settings cannot be written as TOML.
    #[error("{0}")]
    Write(#[from] toml::ser::Error),
    /// A value is outside its range.
    #[error("{name} must be {must}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it has to be.
        must: &'static str,
    },
}

/// RL Zoo's names and ours.
const ALIASES: [(&str, &str); 7] = [
    ("env", "env_id"),
    ("n_timesteps", "total_timesteps"),
    ("n_envs", "num_envs"),
    ("n_steps", "num_steps"),
    ("discount", "gamma"),
    ("n_epochs", "update_epochs"),
    ("clip_range", "clip_coef"),
];

/// Puts every entry of `over` into `table`, tables entry by entry.
fn merge(table: &mut toml::Table, over: toml::Table) {
    for (name, value) in over {
        let name =
            ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, ours)| (*ours).to_owned());
        match (table.get_mut(&name), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

impl TrainConfig {
    /// Settings that solve the task, where this tool has been tried on it; the defaults elsewhere.
    pub fn for_environment(id: &str) -> Self {
        let base = Self { env_id: id.to_owned(), ..Self::default() };
        match id {
            "CartPole-v1" => Self {
                total_timesteps: 100_000,
                num_envs: 8,
                num_steps: 128,
                num_minibatches: 16,
                gae_lambda: 0.98,
                learning_rate: 1e-3,
                ..base
            },
            "Pendulum-v1" => Self {
                total_timesteps: 200_000,
                num_envs: 4,
                num_steps: 1024,
                num_minibatches: 64,
                discount: 0.9,
                learning_rate: 1e-3,
                ..base
            },
            "Acrobot-v1" => Self { total_timesteps: 200_000, num_envs: 8, num_steps: 256, ..base },
            "MountainCarContinuous-v0" => Self { total_timesteps: 100_000, discount: 0.999, ..base },
            _ if id.ends_with("-v5") => Self { eval_interval: 10, keep_best: true, ..base },
            _ => base,
        }
    }

    /// Reads settings from TOML; what is missing has its default.
    ///
    /// # Errors
    /// [`ConfigError::Parse`], [`ConfigError::Range`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// The settings with TOML assignments put over them (`"learning_rate = 1e-4"`, `"sa.kappa = 0.3"`), later ones last:
    /// how flags change a file's settings.
    ///
    /// # Errors
    /// [`ConfigError::Parse`], [`ConfigError::Range`].
    pub fn with_settings<'a>(
        &self,
        assignments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let mut table = toml::Table::try_from(self)?;
        for assignment in assignments {
            merge(&mut table, assignment.parse()?);
        }
        let config: Self = table.try_into()?;
        config.check()?;
        Ok(config)
    }

    /// # Errors
    /// [`ConfigError::Range`], naming the first setting outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let unit = |value: f64| (0.0..=1.0).contains(&value);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let natural = |value: f64| value >= 0.0 && value.is_finite();
        let batch = self.num_envs.saturating_mul(self.num_steps);
        let divides = self.num_minibatches > 0 && batch.is_multiple_of(self.num_minibatches);
        let widths = self.hidden_sizes.iter().all(|width| (1..=4096).contains(width));
        let sa = self.sa.as_ref();
        let ramp =
            sa.is_none_or(|sa| unit(sa.ramp_start) && unit(sa.ramp_end) && sa.ramp_start <= sa.ramp_end);
        let rows = [
            (batch > 0 && batch <= 1 << 24, "num_envs * num_steps", "between 1 and 2^24"),
            (self.total_timesteps >= batch, "total_timesteps", "at least num_envs * num_steps"),
            (divides, "num_minibatches", "a divisor of num_envs * num_steps"),
            (self.update_epochs > 0, "update_epochs", "at least 1"),
            (positive(self.learning_rate), "learning_rate", "positive"),
            (unit(self.discount), "gamma", "between 0 and 1"),
            (unit(self.gae_lambda), "gae_lambda", "between 0 and 1"),
            (positive(self.clip_coef), "clip_coef", "positive"),
            (natural(self.ent_coef), "ent_coef", "0 or more"),
            (natural(self.vf_coef), "vf_coef", "0 or more"),
            (positive(self.max_grad_norm), "max_grad_norm", "positive"),
            (self.target_kl.is_none_or(positive), "target_kl", "positive"),
            (
                !self.hidden_sizes.is_empty() && widths,
                "hidden_sizes",
                "one or more widths between 1 and 4096",
            ),
            (self.log_std_init.abs() <= 10.0, "log_std_init", "between -10 and 10"),
            (sa.is_none_or(|sa| natural(sa.kappa)), "sa.kappa", "0 or more"),
            (sa.is_none_or(|sa| positive(sa.epsilon)), "sa.epsilon", "positive"),
            (ramp, "sa.ramp_start and sa.ramp_end", "between 0 and 1, in this order"),
            (sa.is_none_or(|sa| sa.steps > 0), "sa.steps", "at least 1"),
            (self.eval_episodes > 0, "eval_episodes", "at least 1"),
            (!self.keep_best || self.eval_interval > 0, "eval_interval", "at least 1 with keep_best"),
        ];
        match rows.into_iter().chain(self.pruning_rows()).find(|(holds, ..)| !holds) {
            Some((_, name, must)) => Err(ConfigError::Range { name, must }),
            None => Ok(()),
        }
    }

    /// Conditions on `[prune]`.
    fn pruning_rows(&self) -> Vec<(bool, &'static str, &'static str)> {
        let Some(prune) = &self.prune else { return Vec::new() };
        let unit = |value: f64| (0.0..=1.0).contains(&value);
        let sparsity = prune.final_sparsity();
        let whole = sparsity.as_ref().is_some_and(|sparsity| *sparsity == Rational::one());
        let gradual = (prune.schedule != PruneSchedule::OneShot).then_some(prune.end);
        let exponential = prune.schedule == PruneSchedule::Exponential;
        let late = prune.method != PruneMethod::Saliency || prune.span(self.updates()).0 > 0;
        vec![
            (sparsity.is_some(), "prune.sparsity", "a decimal or a fraction between 0 and 1"),
            (!(exponential && whole), "prune.sparsity", "below 1 with schedule exponential"),
            (unit(prune.start), "prune.start", "between 0 and 1"),
            (
                gradual.is_none_or(|end| unit(end) && prune.start <= end),
                "prune.end",
                "between prune.start and 1",
            ),
            (prune.interval > 0, "prune.interval", "at least 1"),
            (late, "prune.start", "late enough that one update comes before it, for method saliency"),
        ]
    }

    /// Environment steps an update.
    pub fn batch_size(&self) -> usize {
        self.num_envs * self.num_steps
    }

    /// Updates in all.
    pub fn updates(&self) -> usize {
        self.total_timesteps / self.batch_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_schools_are_read_and_written_back() {
        let text = "env_id = 'Pendulum-v1'\nn_steps = 1024\ngamma = 0.9\n[sa]\nkappa = 0.3\nmethod = 'pgd'\n";
        let config = TrainConfig::parse(text).expect("valid");
        assert_eq!((config.num_steps, config.discount), (1024, 0.9));
        assert_eq!(config.sa.as_ref().map(|sa| (sa.kappa, sa.method)), Some((0.3, InnerMaximum::Pgd)));
        let curved = config.with_settings(["activation = 'elu:0.5'"]).expect("valid");
        assert_eq!(curved.activation, HiddenActivation::Elu(0.5));
        let written = toml::to_string(&curved).expect("plain values");
        assert_eq!(TrainConfig::parse(&written).expect("its own output"), curved);
        let written = toml::to_string(&config).expect("plain values");
        assert_eq!(TrainConfig::parse(&written).expect("its own output"), config);
    }

    #[test]
    fn flags_go_over_a_file() {
        let file = TrainConfig::parse("num_steps = 1024\n[sa]\nkappa = 0.3\n").expect("valid");
        let config =
            file.with_settings(["n_steps = 512", "sa.epsilon = 0.1", "target_kl = 0.02"]).expect("valid");
        assert_eq!((config.num_steps, config.target_kl), (512, Some(0.02)));
        assert_eq!(config.sa.map(|sa| (sa.kappa, sa.epsilon)), Some((0.3, 0.1)));
        assert!(matches!(file.with_settings(["no_such = 1"]), Err(ConfigError::Parse(_))));
        assert!(matches!(file.with_settings(["num_steps = 0"]), Err(ConfigError::Range { .. })));
    }

    #[test]
    fn wrong_settings_are_named() {
        assert!(matches!(TrainConfig::parse("learning_rat = 1.0"), Err(ConfigError::Parse(_))));
        let alpha = TrainConfig::parse("activation = 'elu:2'").expect_err("above 1").to_string();
        assert!(alpha.contains("activation = 'elu:2'") && alpha.contains("at most 1"), "{alpha}");
        let wrong = |text| match TrainConfig::parse(text) {
            Err(ConfigError::Range { name, .. }) => name,
            _ => "accepted",
        };
        assert_eq!(wrong("gamma = 1.5"), "gamma");
        assert_eq!(wrong("gamma = nan"), "gamma");
        assert_eq!(wrong("num_minibatches = 7"), "num_minibatches");
        assert_eq!(wrong("total_timesteps = 3"), "total_timesteps");
        assert_eq!(wrong("keep_best = true"), "eval_interval");
        assert_eq!(wrong("[prune]\nsparsity = 1.5"), "prune.sparsity");
        assert_eq!(wrong("[prune]\nsparsity = 1\nschedule = 'exponential'"), "prune.sparsity");
        assert_eq!(wrong("[prune]\nstart = 0.8"), "prune.end");
        assert_eq!(wrong("[prune]\nstart = 0\nmethod = 'saliency'"), "prune.start");
        assert_eq!(wrong("[prune]\ninterval = 0"), "prune.interval");
        for id in super::super::env::ENVIRONMENTS {
            TrainConfig::for_environment(id).check().expect("ready-made settings");
        }
    }
}
