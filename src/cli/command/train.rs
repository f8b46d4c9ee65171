//! `secateur train`: the reference trainer.

mod masks;

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::load::load_policy;
use secateur_checker::reader::digest::weights_digest;
use serde_json::json;

use crate::cli::context::bar::Bar;
use crate::cli::context::interrupt::kept;
use crate::cli::context::streams::{complain, refuse_dash};
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::force::Force;
use crate::float::policy::FloatPolicy;
use crate::outputs::{OutputPlan, Outputs, there};
use crate::policy::emit::{add_policy, emit_npy};
use crate::policy::input::{MAX_TEXT, read_text};
use crate::policy::write::{FileSet, create_folder};
use crate::prune::recipe::mask_names;
use crate::rl::config::{HiddenActivation, SaConfig, TrainConfig};
use crate::rl::env::make_environment;
use crate::rl::evaluate::evaluate;
use crate::rl::{TrainFiles, TrainOutcome, belongs_to, train, train_from};
use masks::{MaskFlags, NEW_CHAIN, add_chain};

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur train --env Pendulum-v1 --seed 1 --out pendulum/
  secateur train --env CartPole-v1 --seed 1 --sa-kappa 0.1 --sa-epsilon 0.05 \\
      --out cartpole-sa/
  secateur train --config hopper.toml --out hopper/
  secateur train --env Pendulum-v1 --prune-sparsity 0.9 --prune-schedule cubic \\
      --out pendulum-90/
  secateur train --env Pendulum-v1 --finetune pendulum/ \\
      --masks pendulum/masks/ --mask 3 --total-timesteps 50000 \\
      --out pendulum-tuned/

PPO as a reader's reference. The directory gets the policy (normaliser included), critic/ with its value
network, states.npy with visited raw observations, train.toml with every setting, logs/ with CSV and TensorBoard
curves, and a checkpoint: the same command goes on from an interrupted run. --force trains over a finished one. Equal settings give equal bytes of
weights on any number of threads.
With pruning or under a mask it also gets masks/, a new chain of the one mask that the weights obey: training on changes
the base weights, so no certificate of another policy carries over. spec/pruning.md defines methods and schedules.
Environments: Pendulum-v1, CartPole-v1, MountainCarContinuous-v0, Acrobot-v1; with libmujoco 3.17.0
(pip install --no-deps mujoco==3.17.0) also Hopper-v5, Walker2d-v5, HalfCheetah-v5 and Ant-v5.")]
pub struct TrainArguments {
    /// Environment by Gymnasium's name; starts from settings that suit it.
    #[arg(long, value_name = "ID", required_unless_present = "config")]
    env: Option<String>,
    /// TOML file with settings (names as in CleanRL), instead of --env.
    #[arg(long, value_name = "FILE", conflicts_with = "env")]
    config: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// Environment steps in all.
    #[arg(long, value_name = "N")]
    total_timesteps: Option<usize>,
    /// Adam's step size at the start.
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Activation of the hidden layers: tanh, relu, silu, elu, or elu:ALPHA with ALPHA in (0, 1].
    #[arg(long, value_name = "NAME")]
    activation: Option<HiddenActivation>,
    /// Widths of the hidden layers.
    #[arg(long, value_delimiter = ',', value_name = "W1,W2")]
    hidden_sizes: Option<Vec<usize>>,
    /// Weight of the SA regulariser; turns it on.
    #[arg(long, value_name = "K")]
    sa_kappa: Option<f64>,
    /// Radius of the SA regulariser, normalised units.
    #[arg(long, value_name = "R", requires = "sa_kappa")]
    sa_epsilon: Option<f64>,
    #[command(flatten)]
    masks: MaskFlags,
    /// Visited states to write.
    #[arg(long, value_name = "N")]
    states: Option<usize>,
    /// Directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
}

fn settings(arguments: &TrainArguments) -> Result<TrainConfig, CliError> {
    let mut config = match (&arguments.config, &arguments.env) {
        (Some(path), _) => {
            let text =
                read_text(path, MAX_TEXT).map_err(|e| CliError::input(format!("{}: {e}", path.display())))?;
            TrainConfig::parse(&text).map_err(|e| CliError::input(format!("{}: {e}", path.display())))?
        }
        (None, Some(id)) => TrainConfig::for_environment(id),
        (None, None) => return Err(CliError::input("give --env ID or --config FILE")),
    };
    config.seed = arguments.seed.unwrap_or(config.seed);
    config.total_timesteps = arguments.total_timesteps.unwrap_or(config.total_timesteps);
    config.learning_rate = arguments.learning_rate.unwrap_or(config.learning_rate);
    config.states = arguments.states.unwrap_or(config.states);
    config.activation = arguments.activation.unwrap_or(config.activation);
    if let Some(widths) = &arguments.hidden_sizes {
        config.hidden_sizes.clone_from(widths);
    }
    if let Some(kappa) = arguments.sa_kappa {
        let mut sa = config.sa.take().unwrap_or_else(SaConfig::default);
        sa.kappa = kappa;
        sa.epsilon = arguments.sa_epsilon.unwrap_or(sa.epsilon);
        config.sa = Some(sa);
    }
    arguments.masks.prune(&mut config);
    config.check().map_err(CliError::input)?;
    Ok(config)
}

/// What a finished run leaves; the checkpoint and the logs of a run under way are what it goes on from.
fn outputs(arguments: &TrainArguments, config: &TrainConfig) -> Result<Outputs, CliError> {
    let (out, masks) = (&arguments.out, arguments.out.join("masks"));
    let mut plan = OutputPlan::new(arguments.force.force).inputs(&arguments.config).folder("--out", out);
    if let Some(policy) = arguments.masks.finetuned() {
        plan = plan.policy(policy).masks(arguments.masks.directory());
    }
    for name in POLICY_FILES {
        plan = plan.file("--out", &out.join(name));
    }
    if !there(&out.join(CHECKPOINT)) {
        plan = plan.file("--out", &out.join("logs/progress.csv"));
    }
    Ok(if config.prune.is_some() || arguments.masks.directory().is_some() {
        plan.mask_chain("--out", &masks, &mask_names(1)).test()?
    } else {
        plan.leftover_masks(&masks, &[]).test()?
    })
}

const CHECKPOINT: &str = "checkpoint.json";
/// Files beside masks, logs and checkpoint.
const POLICY_FILES: [&str; 6] = [
    "policy.safetensors",
    "policy.json",
    "critic/policy.safetensors",
    "critic/policy.json",
    "states.npy",
    "train.toml",
];

/// Where the run keeps its progress; with `--force` that of another run, or of none, is forgotten.
fn progress_files(arguments: &TrainArguments, config: &TrainConfig) -> Result<TrainFiles, CliError> {
    let checkpoint = arguments.out.join(CHECKPOINT);
    if arguments.force.force && there(&checkpoint) && !belongs_to(&checkpoint, config) {
        std::fs::remove_file(&checkpoint)
            .map_err(|e| CliError::input(format!("{}: {e}", checkpoint.display())))?;
    }
    create_folder(&arguments.out).map_err(CliError::input)?;
    Ok(TrainFiles { logs: Some(arguments.out.join("logs")), checkpoint: Some(checkpoint) })
}

/// Adds the policy and what belongs to it. The value network (of scaled rewards, of normalised observations) is a
/// deterministic policy in `critic/`: what `secateur attack` descends on.
fn add_outcome(
    set: &mut FileSet,
    out: &Path,
    outcome: &TrainOutcome,
    config: &TrainConfig,
) -> Result<(), CliError> {
    let (rows, columns) = outcome.states.dim();
    let values: Vec<f64> = outcome.states.iter().copied().collect();
    set.add(out.join("states.npy"), emit_npy(rows, columns, &values));
    set.add(out.join("train.toml"), toml::to_string(config).map_err(CliError::internal)?);
    let critic = FloatPolicy::of_critic(outcome.critic.clone());
    add_policy(set, &out.join("critic"), &critic.to_data());
    add_policy(set, out, &outcome.policy);
    Ok(())
}

/// Trains and writes the policy directory.
///
/// # Errors
/// Exit code 2 for settings, a missing library or an unwritable directory; 4 for an interrupted or diverged run.
pub fn run(arguments: &TrainArguments, context: Context) -> Result<u8, CliError> {
    let (config, from) = (arguments.config.as_deref(), arguments.masks.finetuned());
    refuse_dash([("--config", config), ("--finetune", from)])?;
    let mut config = settings(arguments)?;
    let start = arguments.masks.start(&mut config, &arguments.out)?;
    let outputs = outputs(arguments, &config)?;
    let files = progress_files(arguments, &config)?;
    kept(format!(
        "{} keeps the last checkpoint; the same command goes on from there",
        arguments.out.display()
    ));
    let whole = config.updates() * config.batch_size();
    if whole != config.total_timesteps {
        complain(&format!(
            "note: {whole} of the {} steps are run: an update takes {}, and only whole updates count",
            config.total_timesteps,
            config.batch_size()
        ));
    }
    let bar = Bar::styled(context.progress, "{prefix} {bar:40} {pos}/{len} {eta} {msg}");
    let outcome = match &start {
        Some((start, _)) => train_from(&config, start, &files, &bar),
        None => train(&config, &files, &bar),
    };
    let outcome = outcome.map_err(CliError::input)?;
    bar.finish();
    if !outcome.finished {
        let (done, all) = (outcome.global_step, config.total_timesteps);
        return Err(CliError::internal(format!(
            "stopped at step {done} of {all}; the same command goes on from there"
        )));
    }
    let mut set = outputs.set();
    let mut notes: Vec<String> = start.iter().map(|(_, said)| said.clone()).collect();
    if let Some(mask) = &outcome.mask {
        notes.push(add_chain(&mut set, &arguments.out, mask, &config));
    }
    add_outcome(&mut set, &arguments.out, &outcome, &config)?;
    write(set)?;
    let written = load_policy(&arguments.out).map_err(CliError::internal)?;
    let digest = weights_digest(&written.files.policy.network);
    let new_chain = !notes.is_empty();
    if new_chain {
        notes.push(NEW_CHAIN.to_owned());
    }
    notes.extend(outputs.removed());
    let mut environment = make_environment(&config.env_id).map_err(CliError::input)?;
    // Seeds of a report count up from 10,000 so that no training or selection has seen them.
    let score = |environment: &mut dyn crate::rl::env::Environment, deterministic| {
        evaluate(&outcome.float_policy, environment, 50, 10_000, deterministic).map_err(CliError::input)
    };
    let deterministic = score(environment.as_mut(), true)?;
    let sampled = score(environment.as_mut(), false)?;
    let text = format!(
        "{} seed {}, {} steps\nreturn   {:.1} +- {:.1} deterministic, {:.1} +- {:.1} sampled (50 episodes each)\nweights  {digest}\n{}written to {}",
        config.env_id,
        config.seed,
        outcome.global_step,
        deterministic.mean(),
        deterministic.deviation(),
        sampled.mean(),
        sampled.deviation(),
        notes.iter().map(|note| format!("{note}\n")).collect::<String>(),
        arguments.out.display()
    );
    let document = json!({"env": config.env_id, "seed": config.seed, "steps": outcome.global_step,
        "deterministicReturn": deterministic.mean(), "sampledReturn": sampled.mean(), "weightsDigest": digest,
        "sparsity": outcome.mask.as_ref().map(|mask| &mask.sparsity), "newChain": new_chain,
        "out": arguments.out});
    context.print(&text, &document)?;
    Ok(0)
}
