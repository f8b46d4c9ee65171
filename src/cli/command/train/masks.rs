//! Masks of `secateur train`: pruning while training, fine-tuning under a mask, and the chain that is written.
//! Untrusted. `spec/pruning.md#while-training`, `#fine-tuning`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secateur_checker::load::{load_masks, load_policy};
use secateur_checker::reader::digest::weights_digest;

use crate::cli::command::attack::kept_critic;
use crate::cli::context::CliError;
use crate::float::policy::FloatPolicy;
use crate::policy::emit::add_mask_chain;
use crate::policy::mask::MaskData;
use crate::policy::read::policy_data;
use crate::policy::write::FileSet;
use crate::prune::Scope;
use crate::prune::recipe::MethodWord;
use crate::rl::TrainStart;
use crate::rl::config::TrainConfig;
use crate::rl::pruning::{PruneMethod, PruneSchedule, chain_origin};

/// Flags of pruning and fine-tuning.
#[derive(Debug, Args)]
pub struct MaskFlags {
    /// Prune while training until this fraction is gone; a decimal or a fraction, read exactly.
    #[arg(long, value_name = "S")]
    prune_sparsity: Option<String>,
    /// What goes first.
    #[arg(long, value_enum, requires = "prune_sparsity")]
    prune_method: Option<MethodWord>,
    /// Whether the fraction counts within each layer or over all.
    #[arg(long, value_enum, requires = "prune_sparsity")]
    prune_scope: Option<Scope>,
    /// How sparsity grows from --prune-start to --prune-end.
    #[arg(long, value_enum, requires = "prune_sparsity")]
    prune_schedule: Option<ScheduleWord>,
    /// Share of training done when pruning starts.
    #[arg(long, value_name = "X", requires = "prune_sparsity")]
    prune_start: Option<f64>,
    /// Share of training done when the sparsity is reached; what is left of training fine-tunes.
    #[arg(long, value_name = "X", requires = "prune_sparsity")]
    prune_end: Option<f64>,
    /// Updates between prunings; 1 is micro-pruning.
    #[arg(long, value_name = "N", requires = "prune_sparsity")]
    prune_interval: Option<usize>,
    /// Train on from this policy directory instead of fresh weights; its normaliser stays as it is.
    #[arg(long, value_name = "POLICY")]
    finetune: Option<PathBuf>,
    /// Mask directory of --finetune: the mask stays in force while training.
    #[arg(long, value_name = "DIR", requires = "finetune", requires = "mask")]
    masks: Option<PathBuf>,
    /// Which mask of --masks, counted from 0.
    #[arg(long, value_name = "K", requires = "masks")]
    mask: Option<usize>,
}

/// Schedule on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleWord {
    /// All at once at --prune-start.
    OneShot,
    /// The same number of weights each time.
    Linear,
    /// Many at first, few at the end.
    Cubic,
    /// The same fraction of what is left each time.
    Exponential,
}

impl MaskFlags {
    /// The policy directory to train on from.
    pub fn finetuned(&self) -> Option<&Path> {
        self.finetune.as_deref()
    }

    /// The mask directory of that policy.
    pub fn directory(&self) -> Option<&Path> {
        self.masks.as_deref()
    }

    /// Puts the flags' pruning over the settings.
    pub fn prune(&self, config: &mut TrainConfig) {
        let Some(sparsity) = &self.prune_sparsity else { return };
        let mut prune = config.prune.take().unwrap_or_default();
        prune.sparsity.clone_from(sparsity);
        prune.method = self.prune_method.map_or(prune.method, |word| match word {
            MethodWord::Magnitude => PruneMethod::Magnitude,
            MethodWord::Random => PruneMethod::Random,
            MethodWord::Saliency => PruneMethod::Saliency,
        });
        prune.scope = self.prune_scope.unwrap_or(prune.scope);
        prune.schedule = self.prune_schedule.map_or(prune.schedule, |word| match word {
            ScheduleWord::OneShot => PruneSchedule::OneShot,
            ScheduleWord::Linear => PruneSchedule::Linear,
            ScheduleWord::Cubic => PruneSchedule::Cubic,
            ScheduleWord::Exponential => PruneSchedule::Exponential,
        });
        prune.start = self.prune_start.unwrap_or(prune.start);
        prune.end = self.prune_end.unwrap_or(prune.end);
        prune.interval = self.prune_interval.unwrap_or(prune.interval);
        config.prune = Some(prune);
    }

    /// The policy and mask to start from, if `--finetune` is given, with a sentence that says so; `config.finetune` becomes
    /// its digest.
    ///
    /// # Errors
    /// Exit code 2: files that cannot be read, a mask that is not there, a policy that is to be overwritten.
    pub fn start(
        &self,
        config: &mut TrainConfig,
        out: &Path,
    ) -> Result<Option<(TrainStart, String)>, CliError> {
        let Some(directory) = &self.finetune else {
            return match config.finetune {
                Some(_) => Err(CliError::input(
                    "these settings fine-tune a policy; name its directory with --finetune",
                )),
                None => Ok(None),
            };
        };
        if out.canonicalize().ok() == directory.canonicalize().ok() {
            return Err(CliError::input(
                "--out is the directory of --finetune; the fine-tuned policy needs another",
            ));
        }
        let failure =
            |e: secateur_checker::load::Failure| CliError { message: e.to_string(), code: e.exit_code() };
        let loaded = load_policy(directory).map_err(failure)?;
        let data =
            policy_data(&loaded).ok_or_else(|| CliError::internal("a loaded policy did not read back"))?;
        if let Some(layer) = data.layers.iter().position(|layer| layer.fixed) {
            return Err(CliError::input(format!(
                "{}: layer {layer} is a scale layer, which training would change; start from a policy without one",
                directory.display()
            )));
        }
        let policy = FloatPolicy::from_data(&data).map_err(CliError::input)?;
        let mut said = format!(
            "from     {}, weights {}",
            directory.display(),
            weights_digest(&loaded.files.policy.network)
        );
        let mut masks = Vec::new();
        if let (Some(folder), Some(index)) = (&self.masks, self.mask) {
            let mut found = load_masks(folder, &loaded.files).map_err(failure)?.masks;
            if index >= found.len() {
                let (folder, count) = (folder.display(), found.len());
                return Err(CliError::input(format!(
                    "{folder}: mask {index} is not there; it has 0 to {}",
                    count - 1
                )));
            }
            masks = found.swap_remove(index).layers;
            said.push_str(&format!("\nmask     {index} of {} stays in force", folder.display()));
        }
        let start = TrainStart { policy, critic: kept_critic(directory)?, masks };
        config.finetune = Some(start.digest());
        Ok(Some((start, said)))
    }
}

/// Adds the chain of one mask that a pruned run ends with, and says what it is.
pub fn add_chain(set: &mut FileSet, out: &Path, mask: &MaskData, config: &TrainConfig) -> String {
    let origin = chain_origin(config);
    let folder = out.join("masks");
    add_mask_chain(set, &folder, std::slice::from_ref(mask), &origin);
    let total: usize = mask.layers.iter().map(|layer| layer.kept.len()).sum();
    let pruned = total - mask.kept();
    let share = 100.0 * pruned as f64 / total.max(1) as f64;
    format!("pruned   {pruned} of {total} weights ({share:.1} %), mask 0 of {}", folder.display())
}

/// What starts here, and what does not carry over; for every run that pruned, obeyed a mask or went on from a policy.
pub const NEW_CHAIN: &str = "\
chain    a new one: these weights are a base policy of their own, with a digest of their own. No certificate of another
         policy or of its masks, dense or pruned, carries over.";
