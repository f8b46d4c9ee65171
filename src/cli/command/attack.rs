//! `secateur attack`: measured returns of a policy under adversaries, mask by mask. Untrusted; `spec/attacks.md`.

mod tables;

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::answer::adversary_words;
use secateur_checker::load::{load_masks, load_policy};
use secateur_checker::model::{Perturbation, PerturbationSet, SensorSet, Units};
use secateur_checker::reader::escaped::Escaped;
use serde::{Deserialize, Serialize};

use crate::attack::{
    AttackError, AttackFiles, AttackKind, AttackOutcome, AttackPlan, LearnsAgainst, WrittenNumber,
    WrittenRadii, plan_key, run_attack, run_transfer,
};
use crate::cli::context::bar::Bar;
use crate::cli::context::interrupt::kept;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::{Norm, UnitsWord, perturbation, radii_file};
use crate::cli::option::force::Force;
use crate::float::mlp::Mlp;
use crate::float::policy::FloatPolicy;
use crate::outputs::{OutputPlan, Outputs};
use crate::policy::input::{MAX_OWN, MAX_TEXT, read_bytes, read_text};
use crate::policy::read::{policy_data, read_policy_dir};
use crate::policy::write::{create_folder, write_atomically};
use crate::progress::Progress;
use crate::rl::TrainConfig;
use tables::{Row, csv, decomposition, document, tables};

/// Arguments of `attack`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur attack hopper/ --attack mad,critic --epsilon 0.075 \\
      --out hopper-attacks/
  secateur attack fixtures/cartpole-tanh --env CartPole-v1 \\
      --masks fixtures/cartpole-tanh/masks --mask all \\
      --attack random,mad,optimal --epsilon 0.1 --training-steps 50000 \\
      --transfer --out cartpole-attacks/
  secateur attack hopper-named/ --env Hopper-v5 --attack mad,optimal \\
      --radii noise.toml --out hopper-noise/

Attacks: random, critic, mad, robust-sarsa, optimal, pa-ad, or all. Everything learned is learned anew for every mask.
An attack gives an estimate from below of what an adversary can do, never a proof. spec/attacks.md defines each.
--out gets attack.json, attack.csv, decomposition.json (for `secateur decompose`), results/ and checkpoints/: the same
command goes on from an interrupted run. With --force a finished run is attacked again; what is the same is not.")]
pub struct AttackArguments {
    /// Policy directory.
    policy: PathBuf,
    /// Environment by Gymnasium's name. Default: that of the policy's train.toml.
    #[arg(long, value_name = "ID")]
    env: Option<String>,
    /// Mask directory.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Masks to attack under: numbers, loosest 0, or `all`.
    #[arg(long, value_name = "K1,K2|all", default_value = "all", requires = "masks", value_delimiter = ',')]
    mask: Vec<String>,
    /// Attacks, or `all`.
    #[arg(long, value_name = "A1,A2,...", value_delimiter = ',', required = true)]
    attack: Vec<String>,
    /// Radius of the l_inf ball around the observation, normalised unless --units raw: a decimal or a fraction.
    #[arg(long, value_name = "R", conflicts_with = "radii")]
    epsilon: Option<String>,
    /// One radius per input instead of a single epsilon; or a TOML file of radii by the policy's names, such as
    /// `gyro = "0.2"`, as `certify` reads it, but without [bias] and [limits].
    #[arg(long, value_name = "R1,R2,...|FILE", value_delimiter = ',')]
    radii: Option<Vec<String>>,
    /// Units of the radii [default: normalised; raw for a file of radii]
    #[arg(long, value_enum)]
    units: Option<UnitsWord>,
    /// Episodes of every estimate.
    #[arg(long, value_name = "N", default_value_t = 50)]
    episodes: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Environment steps that each learned adversary or critic may take.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    training_steps: usize,
    /// Adversaries trained by `optimal` and `pa-ad`; the strongest counts.
    #[arg(long, value_name = "N", default_value_t = 2)]
    adversaries: usize,
    /// Discount of discounted returns and of learning.
    #[arg(long, value_name = "G", default_value = "0.99")]
    discount: String,
    /// How the victim acts while adversaries learn: `both` alternates from adversary to adversary. Both ways are measured.
    #[arg(long, default_value = "both", value_parser = LearnsAgainst::NAMES.map(|(_, name)| name))]
    learns_against: String,
    /// Also measure on every mask the attacks made against the dense policy; never a robust score.
    #[arg(long)]
    transfer: bool,
    /// Directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// A policy to be attacked.
struct Victim {
    name: String,
    /// Weights pruned, and all weights.
    pruned: [usize; 2],
    policy: FloatPolicy,
}

struct Subject {
    dense: FloatPolicy,
    critic: Option<Mlp>,
    env_id: String,
    victims: Vec<Victim>,
}

fn environment(arguments: &AttackArguments) -> Result<String, CliError> {
    if let Some(id) = &arguments.env {
        return Ok(id.clone());
    }
    let path = arguments.policy.join("train.toml");
    let text = read_text(&path, MAX_TEXT)
        .map_err(|e| CliError::input(format!("{}: {e}; give --env ID", path.display())))?;
    let config =
        TrainConfig::parse(&text).map_err(|e| CliError::input(format!("{}: {e}", path.display())))?;
    Ok(config.env_id)
}

/// The value network that `train` left beside the policy.
pub(super) fn kept_critic(policy: &Path) -> Result<Option<Mlp>, CliError> {
    let folder = policy.join("critic");
    if !folder.join("policy.json").exists() {
        return Ok(None);
    }
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", folder.display()));
    let data = read_policy_dir(&folder).map_err(|e| at(&e))?;
    Ok(Some(FloatPolicy::from_data(&data).map_err(|e| at(&e))?.network))
}

fn subject(arguments: &AttackArguments) -> Result<Subject, CliError> {
    let failed =
        |e: secateur_checker::load::Failure| CliError { message: e.to_string(), code: e.exit_code() };
    let loaded = load_policy(&arguments.policy).map_err(failed)?;
    let data = policy_data(&loaded).ok_or_else(|| CliError::internal("a loaded policy did not read back"))?;
    let dense = FloatPolicy::from_data(&data).map_err(CliError::input)?;
    let weights = loaded.files.policy.network.layers.iter().filter(|layer| !layer.fixed);
    let total = weights.map(|layer| layer.weight.values.len()).sum();
    let mut victims = Vec::new();
    match &arguments.masks {
        None => {
            victims.push(Victim { name: "dense".to_owned(), pruned: [0, total], policy: dense.clone() });
        }
        Some(folder) => {
            let masks = load_masks(folder, &loaded.files).map_err(failed)?.masks;
            for number in numbers(&arguments.mask, masks.len())? {
                let kept = &masks[number].layers;
                let pruned = kept.iter().flatten().filter(|kept| !**kept).count();
                let policy = dense.masked(kept).map_err(CliError::input)?;
                victims.push(Victim { name: format!("mask-{number:02}"), pruned: [pruned, total], policy });
            }
        }
    }
    let (env_id, critic) = (environment(arguments)?, kept_critic(&arguments.policy)?);
    Ok(Subject { dense, critic, env_id, victims })
}

/// The masks asked for, in order.
fn numbers(words: &[String], count: usize) -> Result<Vec<usize>, CliError> {
    if words == ["all"] {
        return Ok((0..count).collect());
    }
    let parse = |word: &String| {
        let wrong = || {
            CliError::input(format!(
                "--mask {word:?}: give numbers from 0 to {}, or all",
                count.saturating_sub(1)
            ))
        };
        word.trim().parse::<usize>().ok().filter(|number| *number < count).ok_or_else(wrong)
    };
    let mut found = words.iter().map(parse).collect::<Result<Vec<usize>, CliError>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What adversaries may do, and in words.
///
/// # Errors
/// Those of [`perturbation`]; exit code 2 for a set that moves inputs together or keeps them within limits.
fn radius(arguments: &AttackArguments, inputs: usize) -> Result<(WrittenRadii, String), CliError> {
    let (epsilon, radii) = (arguments.epsilon.as_deref(), arguments.radii.as_deref());
    let set = perturbation(&arguments.policy, epsilon, radii, Norm::Linf, arguments.units)?;
    if let Perturbation::Sensor(SensorSet { shared, limits, .. }) = &set.shape {
        let tables = [("[bias]", shared.is_empty()), ("[limits]", limits.is_empty())];
        let tables: Vec<&str> = tables.into_iter().filter(|(_, none)| !none).map(|(name, _)| name).collect();
        let file = radii_file(radii).unwrap_or_default();
        return Err(CliError::input(format!(
            "{}: adversaries move every input by itself and know no limits: leave out {}; a bias added to the radii \
             of its inputs allows no less",
            Escaped(&file.to_string_lossy()),
            tables.join(" and ")
        )));
    }
    let failed = |e: AttackError| CliError::input(e);
    match (epsilon, &set) {
        // As it was written: so it stands in results, which their key finds again.
        (Some(text), PerturbationSet { shape: Perturbation::Linf { .. }, units: Units::Normalised }) => {
            let radius = WrittenNumber::parse(text).map_err(failed)?;
            let words = format!("l_inf radius {} around normalised observations", radius.text());
            Ok((radius.into(), words))
        }
        _ => {
            let each = WrittenRadii::each(&set, inputs).map_err(failed)?;
            let each = each.ok_or_else(|| CliError::internal("a set of radii that is no box"))?;
            Ok((each, adversary_words(&set, None)))
        }
    }
}

fn plans(arguments: &AttackArguments, radius: &WrittenRadii) -> Result<Vec<AttackPlan>, CliError> {
    let known = || AttackKind::ALL.map(|(_, name)| name).join(", ");
    let mut kinds = Vec::new();
    for name in &arguments.attack {
        match (name.as_str(), AttackKind::parse(name)) {
            ("all", _) => kinds.extend(AttackKind::ALL.map(|(kind, _)| kind)),
            (_, Some(kind)) => kinds.push(kind),
            (_, None) => {
                let known = known();
                return Err(CliError::input(format!(
                    "no attack is called {name:?}; choose from {known}, all"
                )));
            }
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    let at = |option: &str, e: AttackError| CliError::input(format!("{option}: {e}"));
    let discount = WrittenNumber::parse(&arguments.discount).map_err(|e| at("--discount", e))?;
    let named = LearnsAgainst::NAMES.iter().find(|(_, name)| *name == arguments.learns_against);
    let learns_against = named.map_or(LearnsAgainst::Both, |(against, _)| *against);
    let plan = |kind| {
        let plan = AttackPlan {
            discount: discount.clone(),
            episodes: arguments.episodes,
            adversaries: arguments.adversaries,
            learns_against,
            ..AttackPlan::new(kind, radius.clone(), arguments.seed, arguments.training_steps)
        };
        plan.check().map_err(CliError::input)?;
        Ok(plan)
    };
    kinds.into_iter().map(plan).collect()
}

/// A finished attack as its file holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    key: String,
    outcome: AttackOutcome,
}

struct Job<'a> {
    subject: &'a Subject,
    victim: &'a Victim,
    plan: &'a AttackPlan,
    transfer: bool,
}

impl Job<'_> {
    fn name(&self) -> String {
        let how = if self.transfer { "-transfer" } else { "" };
        format!("{}-{}{how}", self.victim.name, self.plan.kind)
    }

    /// The critic is the dense policy's: under a mask that prunes something, another is fitted.
    fn critic(&self) -> Option<&Mlp> {
        let critic = self.subject.critic.as_ref();
        critic.filter(|_| self.transfer || self.victim.policy == self.subject.dense)
    }

    fn key(&self) -> String {
        let Subject { dense, env_id, .. } = self.subject;
        let dense = self.transfer.then_some(dense);
        plan_key(&self.victim.policy, dense, self.critic(), env_id, self.plan)
    }

    fn path(&self, out: &Path) -> PathBuf {
        out.join("results").join(format!("{}.json", self.name()))
    }

    /// What its file holds, if that is of the same plan and policies.
    fn stored(&self, out: &Path) -> Option<AttackOutcome> {
        let stored: Stored = serde_json::from_slice(&read_bytes(&self.path(out), MAX_OWN).ok()?).ok()?;
        (stored.key == self.key()).then_some(stored.outcome)
    }

    /// From its file, if that is of the same plan and policies, else by running it.
    fn outcome(&self, out: &Path, files: &AttackFiles, bar: &Bar) -> Result<AttackOutcome, CliError> {
        if let Some(outcome) = self.stored(out) {
            return Ok(outcome);
        }
        let Subject { dense, env_id, .. } = self.subject;
        let (policy, critic) = (&self.victim.policy, self.critic());
        bar.remark(&self.name());
        let run = if self.transfer {
            run_transfer((dense, critic), policy, env_id, self.plan, files, bar)
        } else {
            run_attack(policy, critic, env_id, self.plan, files, bar)
        };
        let outcome = run.map_err(|error| match error {
            AttackError::Stopped => CliError::internal(error),
            error => CliError::input(format!("{}: {error}", self.name())),
        })?;
        let stored = Stored { key: self.key(), outcome };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(CliError::internal)?;
        write_atomically(&self.path(out), &bytes).map_err(CliError::input)?;
        Ok(stored.outcome)
    }
}

/// Every attack on every victim, in the order of the tables.
fn jobs<'a>(subject: &'a Subject, plans: &'a [AttackPlan], transfer: bool) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for victim in &subject.victims {
        for plan in plans {
            jobs.push(Job { subject, victim, plan, transfer: false });
            // What is made against the dense policy itself is no transfer.
            if transfer && victim.policy != subject.dense {
                jobs.push(Job { subject, victim, plan, transfer: true });
            }
        }
    }
    jobs
}

const DOCUMENTS: [&str; 3] = ["attack.json", "attack.csv", "decomposition.json"];

/// The documents of a finished run; results of this plan are gone on from, those of another are in the way.
fn outputs(arguments: &AttackArguments, jobs: &[Job<'_>]) -> Result<Outputs, CliError> {
    let out = &arguments.out;
    let mut plan = OutputPlan::new(arguments.force.force)
        .policy(&arguments.policy)
        .masks(arguments.masks.as_deref())
        .inputs(&radii_file(arguments.radii.as_deref()))
        .folder("--out", out)
        .folder("--out", &out.join("results"));
    for name in DOCUMENTS {
        plan = plan.file("--out", &out.join(name));
    }
    for job in jobs.iter().filter(|job| job.stored(out).is_none()) {
        plan = plan.file("--out", &job.path(out));
    }
    Ok(plan.test()?)
}

/// Attacks, writes and prints.
///
/// # Errors
/// Exit code 2 for files, options and environments; 4 for an interrupted run.
pub fn run(arguments: &AttackArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([("POLICY", Some(arguments.policy.as_path())), ("--masks", arguments.masks.as_deref())])?;
    let subject = subject(arguments)?;
    let (radius, adversary) = radius(arguments, subject.dense.network.input_width())?;
    radius.ball(&subject.dense.normaliser).map_err(CliError::input)?;
    let plans = plans(arguments, &radius)?;
    let jobs = jobs(&subject, &plans, arguments.transfer);
    let outputs = outputs(arguments, &jobs)?;
    create_folder(&arguments.out.join("results")).map_err(CliError::input)?;
    kept(format!(
        "{} keeps every finished attack and what was learned; the same command goes on from there",
        arguments.out.display()
    ));
    let bar = Bar::styled(context.progress, "{msg:28} {prefix:12} {bar:30} {pos}/{len} {eta}");
    let files = AttackFiles {
        checkpoints: Some(arguments.out.join("checkpoints")),
        threads: rayon::current_num_threads(),
    };
    let mut rows = Vec::new();
    for job in &jobs {
        let outcome = job.outcome(&arguments.out, &files, &bar)?;
        rows.push(Row { mask: job.victim.name.clone(), pruned: job.victim.pruned, outcome });
    }
    let dense = dense_clean(&subject, &plans[0], &rows, &bar)?;
    bar.finish();
    let document = document(&subject.env_id, &rows);
    let input = decomposition(&plans[0], &dense, &rows)?;
    let mut set = outputs.set();
    let [json, csv_file, decomposition_file] = DOCUMENTS.map(|name| arguments.out.join(name));
    set.add(json, serde_json::to_vec_pretty(&document).map_err(CliError::internal)?);
    set.add(csv_file, csv(&rows));
    set.add(decomposition_file, serde_json::to_vec_pretty(&input).map_err(CliError::internal)?);
    write(set)?;
    let text =
        format!("{}\nwritten to {}", tables(&subject.env_id, &adversary, &rows), arguments.out.display());
    context.print(&text, &document)?;
    Ok(0)
}

/// Clean episodes of the dense policy: from a row that has them, else played.
fn dense_clean(
    subject: &Subject,
    plan: &AttackPlan,
    rows: &[Row],
    bar: &Bar,
) -> Result<Vec<crate::attack::EpisodeScore>, CliError> {
    if let Some(row) = rows.iter().find(|row| row.pruned[0] == 0) {
        return Ok(row.outcome.sampled.clean.clone());
    }
    let plan = AttackPlan { kind: AttackKind::Random, ..plan.clone() };
    bar.remark("dense");
    let files = AttackFiles::default();
    let outcome = run_attack(&subject.dense, None, &subject.env_id, &plan, &files, bar);
    Ok(outcome.map_err(CliError::input)?.sampled.clean)
}
