//! `secateur episodes`: draws the states of a statistical claim and writes them as `certify --episodes` reads them.
//! `spec/certificate-regret.md`.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::kernel::statistic::{MAX_SAMPLES, Sampler};
use secateur_checker::load::{MaskDirectory, load_masks, load_policy};
use secateur_checker::number::Rational;
use serde_json::{Value, json};

use crate::cli::context::bar::Bar;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::exact;
use crate::cli::option::force::Force;
use crate::cli::option::regret::EPISODES_FORMAT;
use crate::float::head::FloatHead;
use crate::float::policy::FloatPolicy;
use crate::outputs::OutputPlan;
use crate::policy::emit::emit_npy;
use crate::policy::input::{MAX_TEXT, read_text};
use crate::policy::read::policy_data;
use crate::policy::write::FileSet;
use crate::progress::Progress;
use crate::rl::env::{ActionSpace, Environment, make_environment};
use crate::rl::visits::{check_fit, masked, visit_at};
use crate::statistic::{GeometricTime, Visit, cut_off_share, seed_from, visit_episodes};

/// Arguments of `episodes`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur episodes fixtures/cartpole-tanh --env CartPole-v1 \\
      --masks fixtures/cartpole-tanh/masks --mask 1 --discount 0.9 \\
      --episodes 1000 --seed 1 --out drawn/
  secateur certify fixtures/cartpole-tanh --masks fixtures/cartpole-tanh/masks \\
      --states drawn/states.npy --episodes drawn/episodes.json --epsilon 0.01 \\
      --family crown --reward-range 1,1 --key keys/secateur.pem \\
      --out drawn/f.cert.dsse.json

Runs independent episodes of the policy's own stochastic actions and looks at each once, at a time k drawn with
probability (1 - G) G^k. OUT gets states.npy (raw observations, every one that was there) and episodes.json (how many
episodes had ended or were cut off). With several masks, OUT/mask-K/ for each; each makes a certificate of its own, and
they share the confidence. Episodes are played in f64; that they follow the policy is an assumption of the certificate.")]
pub struct EpisodesArguments {
    /// Policy directory.
    policy: PathBuf,
    /// Environment by Gymnasium's name.
    #[arg(long, value_name = "ID")]
    env: String,
    /// Mask directory with chain.json. Without it, the dense policy.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Whose policy plays: positions in the chain, from 0, or `all`.
    #[arg(long, value_name = "K,...|all", value_delimiter = ',', default_value = "0")]
    mask: Vec<String>,
    /// Discount, a decimal or a fraction below 1.
    #[arg(long, value_name = "G")]
    discount: String,
    /// Episodes for each mask.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    episodes: usize,
    /// Probability with which all claims of all these masks hold together.
    #[arg(long, value_name = "P", default_value = "0.95")]
    confidence: String,
    /// Seed of everything random.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    force: Force,
}

/// What was seen under one mask.
struct Draw {
    states: Vec<f64>,
    alive: usize,
    ended: usize,
    cut_off: usize,
}

fn positions(words: &[String], masks: usize) -> Result<Vec<usize>, CliError> {
    if words.iter().any(|w| w == "all") {
        return Ok((0..masks).collect());
    }
    let parse = |word: &String| {
        let position = word.parse().ok().filter(|k: &usize| *k < masks);
        position.ok_or_else(|| {
            CliError::input(format!("--mask {word:?}: the chain has masks 0 to {}; or all", masks - 1))
        })
    };
    let mut list = words.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

fn draw(
    policy: &FloatPolicy,
    environment: &mut dyn Environment,
    arguments: &EpisodesArguments,
    (times, words): (&GeometricTime, &str),
    bar: &Bar,
) -> Result<Draw, CliError> {
    let (count, limit) = (arguments.episodes as u64, environment.time_limit() as u64);
    let visits = visit_episodes(times, count, limit, |episode, time| {
        if bar.stopped() {
            return Err(CliError::internal("interrupted; nothing was written"));
        }
        bar.advance(words, episode as usize + 1, arguments.episodes);
        visit_at(policy, environment, (arguments.seed, episode), time).map_err(CliError::input)
    })?;
    let mut draw = Draw { states: Vec::new(), alive: 0, ended: 0, cut_off: 0 };
    for visit in visits {
        match visit {
            Visit::State(state) => {
                draw.states.extend(state);
                draw.alive += 1;
            }
            Visit::Ended => draw.ended += 1,
            Visit::CutOff => draw.cut_off += 1,
        }
    }
    Ok(draw)
}

fn add_draw(
    set: &mut FileSet,
    folder: &Path,
    draw: &Draw,
    (mask, masks): (usize, usize),
    arguments: &EpisodesArguments,
) -> Result<(), CliError> {
    if draw.alive == 0 {
        return Err(CliError::input(format!(
            "mask {mask}: not one of {} episodes was alive at its time ({} ended, {} cut off), so there is no state to certify; ask for more episodes or a smaller discount",
            arguments.episodes, draw.ended, draw.cut_off
        )));
    }
    let document = json!({
        "format": EPISODES_FORMAT, "sampler": Sampler::INDEPENDENT_EPISODES, "discount": arguments.discount.trim(),
        "mask": mask.to_string(), "samples": arguments.episodes.to_string(), "ended": draw.ended.to_string(),
        "cutOff": draw.cut_off.to_string(), "confidence": arguments.confidence.trim(), "masks": masks.to_string(),
    });
    let columns = draw.states.len() / draw.alive;
    set.add(folder.join("states.npy"), emit_npy(draw.alive, columns, &draw.states));
    set.add(folder.join("episodes.json"), format!("{document:#}\n"));
    Ok(())
}

/// Where each mask's draw goes.
fn folders(out: &Path, chosen: &[usize]) -> Vec<PathBuf> {
    match chosen {
        [_] => vec![out.to_owned()],
        _ => chosen.iter().map(|mask| out.join(format!("mask-{mask:02}"))).collect(),
    }
}

/// Both files of every draw; the draws of an earlier run, which shared a confidence of their own, do not stay beside them.
fn plan(arguments: &EpisodesArguments, folders: &[PathBuf]) -> OutputPlan {
    let plan = OutputPlan::new(arguments.force.force)
        .policy(&arguments.policy)
        .masks(arguments.masks.as_deref())
        .folder("--out", &arguments.out);
    let names = ["states.npy", "episodes.json"];
    let files = folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
    let mut plan = files.fold(plan, |plan, file| plan.file("--out", &file));
    let inside = std::fs::read_dir(&arguments.out).into_iter().flatten().flatten();
    let inside = inside.map(|entry| entry.path()).filter(|path| path.is_dir());
    for folder in inside.chain([arguments.out.clone()]).filter(|folder| !folders.contains(folder)) {
        if is_draw(&folder) {
            plan = names.iter().fold(plan, |plan, name| plan.stale(&folder.join(name)));
        }
    }
    plan
}

/// Whether an earlier run of this command wrote into the folder.
fn is_draw(folder: &Path) -> bool {
    let text = read_text(&folder.join("episodes.json"), MAX_TEXT).unwrap_or_default();
    serde_json::from_str::<Value>(&text).is_ok_and(|document| document["format"] == EPISODES_FORMAT)
}

/// Refuses numbers that a claim could not use, before an episode is played.
fn validate(arguments: &EpisodesArguments) -> Result<Rational, CliError> {
    let (discount, confidence) =
        (exact("--discount", &arguments.discount)?, exact("--confidence", &arguments.confidence)?);
    if !confidence.is_positive() || confidence >= Rational::one() {
        return Err(CliError::input(format!("--confidence {confidence} is not strictly between 0 and 1")));
    }
    if arguments.episodes < 2 || arguments.episodes > MAX_SAMPLES {
        return Err(CliError::input(format!("--episodes {}: give 2 to {MAX_SAMPLES}", arguments.episodes)));
    }
    Ok(discount)
}

/// Draws and writes.
///
/// # Errors
/// Exit code 2 for options, files and an environment that do not fit; 4 if interrupted.
pub fn run(arguments: &EpisodesArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([("POLICY", Some(arguments.policy.as_path())), ("--masks", arguments.masks.as_deref())])?;
    let discount = validate(arguments)?;
    let times = GeometricTime::new(seed_from(arguments.seed), &discount).map_err(CliError::input)?;
    let loaded = load_policy(&arguments.policy).map_err(CliError::input)?;
    let masks = match &arguments.masks {
        Some(directory) => load_masks(directory, &loaded.files).map_err(CliError::input)?,
        None => MaskDirectory::dense(&loaded.files.policy.network),
    };
    let chosen = positions(&arguments.mask, masks.masks.len())?;
    let data = policy_data(&loaded).ok_or_else(|| CliError::internal("the policy cannot be lowered"))?;
    let dense = FloatPolicy::from_data(&data).map_err(CliError::input)?;
    if dense.head == FloatHead::Deterministic {
        return Err(CliError::input(
            "the head is deterministic: its total variation is 0 or 1, and there is no F(theta) to bound",
        ));
    }
    let mut environment = make_environment(&arguments.env).map_err(CliError::input)?;
    check_fit(&dense, environment.as_ref())
        .map_err(|e| CliError::input(format!("the policy does not fit {}: {e}", arguments.env)))?;
    if dense.head == FloatHead::Categorical
        && matches!(environment.action_space(), ActionSpace::Continuous { .. })
    {
        return Err(CliError::input(format!(
            "a categorical policy cannot act in {}, whose actions are a box",
            arguments.env
        )));
    }
    let folders = folders(&arguments.out, &chosen);
    let outputs = plan(arguments, &folders).test()?;
    let mut set = outputs.set();
    let bar = Bar::new(context.progress);
    let mut rows = Vec::new();
    let mut text = format!(
        "{}, discount {discount}, {} independent episodes a mask, seed {}\ntime limit {}: a share of {} of the times lies beyond it\n",
        arguments.env,
        arguments.episodes,
        arguments.seed,
        environment.time_limit(),
        share(&discount, environment.time_limit())
    );
    for (&mask, folder) in chosen.iter().zip(&folders) {
        let fits = masks.masks.get(mask).and_then(|m| masked(&dense, m));
        let policy = fits.ok_or_else(|| CliError::internal("a mask does not fit"))?;
        let words = format!("mask {mask}");
        let seen = draw(&policy, environment.as_mut(), arguments, (&times, &words), &bar)?;
        add_draw(&mut set, folder, &seen, (mask, chosen.len()), arguments)?;
        text.push_str(&format!(
            "mask {mask}: {} states, {} ended, {} cut off; written to {}\n",
            seen.alive,
            seen.ended,
            seen.cut_off,
            folder.display()
        ));
        rows.push(json!({"mask": mask, "states": seen.alive, "ended": seen.ended, "cutOff": seen.cut_off,
                         "out": folder}));
    }
    bar.finish();
    write(set)?;
    text.push_str(
        "next: secateur certify with --states OUT/states.npy --episodes OUT/episodes.json, once a mask",
    );
    let document = json!({"env": arguments.env, "discount": discount.to_string(), "episodes": arguments.episodes,
        "seed": arguments.seed, "masks": Value::Array(rows)});
    context.print(&text, &document)?;
    Ok(0)
}

/// The share of times beyond a limit, for people.
fn share(discount: &Rational, limit: usize) -> String {
    let exact = cut_off_share(discount, u32::try_from(limit).unwrap_or(u32::MAX));
    crate::show::words::short(&exact, secateur_checker::number::Rounding::Up)
}
