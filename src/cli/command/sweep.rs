//! `secateur sweep`: policies trained, pruned, attacked and certified, as jobs that resume.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::context::bar::Bar;
use crate::cli::context::interrupt::kept;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context};
use crate::cli::option::force::Force;
use crate::outputs::{OutputPlan, there};
use crate::policy::input::{MAX_TEXT, read_text};
use crate::sweep::config::SweepConfig;
use crate::sweep::engine::{Limits, Outcome, run_plan};
use crate::sweep::gather::{gather, whole};
use crate::sweep::plan::Plan;
use crate::sweep::plots::write_plots;
use crate::sweep::store::{Store, StoreError};
use crate::sweep::tables::{tables, write_tables};

/// Arguments of `sweep`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur sweep fixtures/sweeps/small.toml --out small.sweep --dry-run
  secateur sweep fixtures/sweeps/small.toml --out small.sweep
  secateur sweep fixtures/sweeps/small.toml --out small.sweep --plots-only

Trains policies, prunes them, runs episodes with and without attacks and certifies bounds, for every environment, way to
train, seed and sparsity of CONFIG. --out gets one folder a job under jobs/, tables (CSV, JSON, Markdown) under tables/ and SVG plots
under plots/. The same command goes on after an interruption or a kill; jobs whose configuration changed are run again, the
others are not. spec/sweep.md describes CONFIG, the files and every definition.
Hopper-v5, Walker2d-v5, HalfCheetah-v5 and Ant-v5 need libmujoco 3.17.0 (pip install --no-deps mujoco==3.17.0).
Exit codes: 0 everything is done, 2 CONFIG or an environment cannot be used, 4 stopped early or a job failed.")]
pub struct SweepArguments {
    /// What to sweep over, TOML.
    config: PathBuf,
    /// Folder of jobs, tables and plots.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Jobs at a time, each on one thread; default: one per core.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Say what would be run and about how long it takes; run nothing.
    #[arg(long)]
    dry_run: bool,
    /// Run nothing; tables and plots of what is there, also while a sweep runs.
    #[arg(long, conflicts_with = "dry_run")]
    plots_only: bool,
    /// Stop after this many jobs were run.
    #[arg(long, value_name = "N")]
    limit_jobs: Option<usize>,
    #[command(flatten)]
    force: Force,
}

fn read(path: &Path) -> Result<(SweepConfig, Plan), CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let text = read_text(path, MAX_TEXT).map_err(|e| at(&e))?;
    let config = SweepConfig::parse(&text).map_err(|e| at(&e))?;
    let plan = Plan::new(&config).map_err(|e| at(&e))?;
    Ok((config, plan))
}

/// A sweep owns its folder: jobs that fit are kept, others are moved aside, tables and plots are made anew each time. Another
/// folder that holds such names is not taken for one.
fn test_folder(arguments: &SweepArguments) -> Result<(), CliError> {
    let out = &arguments.out;
    let mut plan = OutputPlan::new(arguments.force.force).input(&arguments.config).folder("--out", out);
    if !(out.join("jobs").is_dir() && there(&out.join("lock"))) {
        let names = ["jobs", "work", "tables", "plots", "lock"];
        plan = names.iter().fold(plan, |plan, name| plan.stale(&out.join(name)));
    }
    let inside = |name: &&str| {
        let folder = out.join(name).canonicalize().ok();
        let config = arguments.config.canonicalize().ok();
        folder.zip(config).is_some_and(|(folder, config)| config.starts_with(folder))
    };
    if let Some(name) = ["jobs", "work", "tables", "plots"].iter().find(|name| inside(name)) {
        let (config, out) = (arguments.config.display(), out.display());
        return Err(CliError::input(format!(
            "{config} lies in {out}/{name}, which the sweep writes; move it, or give another --out"
        )));
    }
    Ok(plan.test().map(drop)?)
}

/// `1 h 02 min`, `3 min` or `10 s`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes:02} min"),
    }
}

/// Runs, or says what would be run.
///
/// # Errors
/// Exit code 2 for CONFIG, a missing library or an unwritable folder; 4 for jobs that failed or were not run.
pub fn run(arguments: &SweepArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([("CONFIG", Some(arguments.config.as_path()))])?;
    let (config, plan) = read(&arguments.config)?;
    let workers = arguments.jobs.filter(|jobs| *jobs > 0);
    let workers = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if arguments.dry_run {
        return dry_run(arguments, &plan, workers, context);
    }
    test_folder(arguments)?;
    kept(format!(
        "{} keeps every finished job and the checkpoints of the others; the same command goes on from there",
        arguments.out.display()
    ));
    let store = if arguments.plots_only {
        if !arguments.out.join("jobs").is_dir() {
            let place = arguments.out.display();
            return Err(CliError::input(format!(
                "{place} holds no sweep; run it without --plots-only first"
            )));
        }
        Store::look_into(&arguments.out)
    } else {
        Store::open(&arguments.out).map_err(|error| match error {
            StoreError::Busy(_) => CliError::internal(error),
            error => CliError::input(error),
        })?
    };
    if !arguments.plots_only {
        let bar = Bar::styled(context.progress, "{prefix} {bar:30} {percent} % eta {eta} {msg}");
        let limits = Limits { workers, jobs: arguments.limit_jobs };
        let outcome = run_plan(&plan, &store, limits, &bar);
        bar.finish();
        unfinished(&plan, &outcome)?;
    }
    let grid = gather(&config, &plan, &store).map_err(CliError::internal)?;
    let tables = tables(&config, &grid).map_err(CliError::internal)?;
    let folder = store.root().join("tables");
    let written = write_tables(&folder, &tables, grid.jobs).map_err(CliError::input)?;
    let plots = write_plots(&config, &grid, &store.root().join("plots")).map_err(CliError::input)?;
    let (all, there) = grid.jobs;
    let list = |paths: &[PathBuf]| -> String {
        paths.iter().map(|path| format!("  {}\n", path.display())).collect()
    };
    let text = format!(
        "{there} of {all} jobs have results\ntables (each also .csv and .json)\n{}plots\n{}",
        list(&written),
        list(&plots)
    );
    let document = json!({"jobs": all, "done": there, "tables": written, "plots": plots});
    context.print(&text, &document)?;
    Ok(0)
}

/// # Errors
/// Exit code 4 if a job failed or was not run.
fn unfinished(plan: &Plan, outcome: &Outcome) -> Result<(), CliError> {
    let left = plan.jobs.len() - outcome.done;
    if let Some((label, reason)) = outcome.failed.first() {
        let (failed, blocked) = (outcome.failed.len(), outcome.blocked);
        return Err(CliError::internal(format!(
            "{failed} jobs failed and {blocked} need them; first, {label}: {reason}. {} of {} are done; --plots-only makes \
             tables of these",
            outcome.done,
            plan.jobs.len()
        )));
    }
    if left > 0 {
        return Err(CliError::internal(format!(
            "stopped with {} of {} jobs done; the same command goes on from there",
            outcome.done,
            plan.jobs.len()
        )));
    }
    Ok(())
}

/// How far from an estimate jobs were seen to end, on idle machines and on busy ones.
const FASTER: f64 = 0.5;
const SLOWER: f64 = 2.5;

fn between(seconds: f64) -> String {
    format!("{} to {}", duration(FASTER * seconds), duration(SLOWER * seconds))
}

fn dry_run(
    arguments: &SweepArguments,
    plan: &Plan,
    workers: usize,
    context: Context,
) -> Result<u8, CliError> {
    let done = whole(plan, &Store::look_into(&arguments.out));
    let mut kinds: Vec<(String, usize, usize, f64)> = Vec::new();
    for (job, done) in plan.jobs.iter().zip(&done) {
        let name = job.group();
        let position = kinds.iter().position(|(kind, ..)| *kind == name).unwrap_or_else(|| {
            kinds.push((name, 0, 0, 0.0));
            kinds.len() - 1
        });
        let entry = &mut kinds[position];
        entry.1 += 1;
        if !done {
            entry.2 += 1;
            entry.3 += job.cost;
        }
    }
    let total: f64 = kinds.iter().map(|(.., cost)| cost).sum();
    let mut text = String::new();
    for (name, all, left, cost) in &kinds {
        text.push_str(&format!("{name:24} {left:>5} of {all:>5} to run, {} of one core\n", between(*cost)));
    }
    let left: usize = kinds.iter().map(|(_, _, left, _)| left).sum();
    text.push_str(&format!(
        "{:24} {left:>5} of {:>5} to run, {} with {workers} jobs at a time\n",
        "together",
        plan.jobs.len(),
        between(total / workers as f64)
    ));
    let rows: Vec<_> = kinds
        .iter()
        .map(|(name, all, left, cost)| json!({"kind": name, "jobs": all, "toRun": left, "coreSeconds": cost.round()}))
        .collect();
    context.print(
        &text,
        &json!({"kinds": rows, "workers": workers, "coreSeconds": total.round(),
                           "coreSecondsBetween": [(FASTER * total).round(), (SLOWER * total).round()]}),
    )?;
    Ok(0)
}
