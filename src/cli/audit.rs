//! `secateur audit`: the main job. Everything comes from `DIR/audit.toml`; nothing is written into DIR.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::check::NamedFile;
use secateur_checker::load::{
    CheckPaths, MaskDirectory, PolicyDirectory, check_paths, load_masks, load_policy, load_states,
};
use serde::Deserialize;
use serde_json::json;

use crate::certify::keys::Key;
use crate::certify::trees::{BRANCH_STEPS, MAX_BRANCH_STEPS};
use crate::certify::{CertifyError, Progress, Request, certify};
use crate::cli::adversary::{Norm, UnitsWord, families, perturbation};
use crate::cli::audit_folder::AuditFolder;
use crate::cli::band::{add_bands, band_limit, families_under, fits_head};
use crate::cli::certify::{certify_failure, find_bands, witness_name};
use crate::cli::output::{Force, OutputPlan, write};
use crate::cli::progress::Bar;
use crate::cli::prune::{Pruned, Recipe, pruned};
use crate::cli::regions::RegionSettings;
use crate::cli::regret::{RegretOptions, keep_first};
use crate::cli::streams::refuse_dash;
use crate::cli::summary::{summary_json, summary_text};
use crate::cli::{CliError, Context};
use crate::policy::input::{MAX_TEXT, read_text};

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  secateur audit fixtures/pendulum-tanh --out /tmp/pendulum

Again into the same --out: the trust file there keeps its keys and gets the one that signed now; where the certificate is
another than the one there, that one moves to earlier-1/ (then earlier-2/, ...) with its witness and masks, and still
checks. --force starts anew instead: a trust file of one key, and nothing of the run before.

DIR/audit.toml:
  states = \"states.npy\"          # S rows, one column per input
  state-units = \"raw\"            # or normalised
  epsilon = \"0.05\"               # in quotes, read exactly; or radii = [\"0.1\", ...]
  norm = \"linf\"                  # or l2
  units = \"normalised\"           # or raw
  masks = \"masks\"                # a directory with chain.json; or a table [prune]
  families = [\"ibp\"]             # optional; default all
  branch-steps = 500             # optional; regions for each split tree of family branch
  limit = 100                    # optional; first rows of the states
  band-limit = \"tv=0.3\"         # optional, or deviation=0.1: claims the widest band of masks that keeps it
  counterexample = false         # default true: bounds from below, by an attack on each state
  key = \"key.pem\"                # optional; default an ephemeral key
  discount = \"0.99\"              # optional, as the next four: claims the value an adversary can take
  horizon = \"1000\"               # or, or also, over this many steps
  reward-range = [\"0\", \"1\"]      # least and greatest reward of a step
  episodes-can-end = true        # default; false only if no episode ever ends
  episodes = \"episodes.json\"     # how the states were drawn, for statistical claims
  [[region]]                     # optional: every state of this box
  lower = [\"-0.5\", \"-1\"]        # in the units of the states, one number per input
  upper = [\"0.5\", \"1\"]
  steps = 4000                   # optional; cells bounded
  thresholds = [\"0.2\"]          # optional; on which fraction of the box it is kept
  [prune]                        # instead of masks
  method = \"magnitude\"           # or random; or saliency, with scores or states, a file
  scope = \"layer\"                # or global
  sparsity = [\"0\", \"0.5\"]")]
pub struct AuditArguments {
    /// Directory with policy.json, policy.safetensors and audit.toml.
    directory: PathBuf,
    /// Where certificate, witness and trust file go; default: NAME.audit in the current directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

/// `audit.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    states: PathBuf,
    #[serde(default = "raw")]
    state_units: UnitsWord,
    epsilon: Option<String>,
    radii: Option<Vec<String>>,
    #[serde(default = "linf")]
    norm: Norm,
    #[serde(default = "normalised")]
    units: UnitsWord,
    masks: Option<PathBuf>,
    prune: Option<Recipe>,
    #[serde(default)]
    families: Vec<String>,
    branch_steps: Option<u64>,
    #[serde(default)]
    region: Vec<RegionSettings>,
    limit: Option<usize>,
    band_limit: Option<String>,
    #[serde(default = "yes")]
    counterexample: bool,
    discount: Option<String>,
    horizon: Option<String>,
    reward_range: Option<Vec<String>>,
    episodes_can_end: Option<bool>,
    episodes: Option<PathBuf>,
    key: Option<PathBuf>,
}

fn raw() -> UnitsWord {
    UnitsWord::Raw
}

fn normalised() -> UnitsWord {
    UnitsWord::Normalised
}

fn yes() -> bool {
    true
}

fn linf() -> Norm {
    Norm::Linf
}

fn settings(directory: &Path) -> Result<Settings, CliError> {
    let path = directory.join("audit.toml");
    let text = read_text(&path, MAX_TEXT).map_err(|e| {
        CliError::input(format!("{}: {e}; `secateur audit --help` shows what it must say", path.display()))
    })?;
    let parsed: Result<Settings, _> = toml::from_str(&text);
    parsed.map_err(|e| {
        CliError::input(format!("{}: {e}numbers are written in quotes, such as \"0.05\"", path.display()))
    })
}

impl Settings {
    fn regret(&self, directory: &Path) -> RegretOptions {
        RegretOptions {
            discount: self.discount.clone(),
            horizon: self.horizon.clone(),
            reward_range: self.reward_range.clone(),
            episodes_can_end: self.episodes_can_end,
            episodes: self.episodes.as_ref().map(|file| directory.join(file)),
        }
    }
}

fn branch_steps(setting: Option<u64>) -> Result<u64, CliError> {
    let steps = setting.unwrap_or(BRANCH_STEPS);
    if (1..=MAX_BRANCH_STEPS).contains(&steps) {
        return Ok(steps);
    }
    Err(CliError::input(format!("audit.toml: branch-steps {steps} is not between 1 and {MAX_BRANCH_STEPS}")))
}

fn name_of(directory: &Path) -> String {
    let full = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    full.file_name().map_or_else(|| "policy".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// The masks that the settings name, or those made as they say, which are still to be written.
fn masks(
    settings: &Settings,
    directory: &Path,
    policy: &PolicyDirectory,
) -> Result<(MaskDirectory, Option<Pruned>), CliError> {
    let load = |e| certify_failure(CertifyError::Load(e));
    match (&settings.masks, &settings.prune) {
        (Some(masks), None) => Ok((load_masks(&directory.join(masks), &policy.files).map_err(load)?, None)),
        (None, Some(recipe)) => {
            let made = pruned(policy, &recipe.clone().inside(directory))?;
            Ok((made.directory(policy)?, Some(made)))
        }
        (None, None) => Ok((MaskDirectory::dense(&policy.files.policy.network), None)),
        (Some(_), Some(_)) => Err(CliError::input("audit.toml has both masks and [prune]; keep one")),
    }
}

/// Everything the run reads and writes.
fn plan(arguments: &AuditArguments, settings: &Settings, folder: &AuditFolder) -> OutputPlan {
    let directory = &arguments.directory;
    let inside = |path: &Option<PathBuf>| path.as_ref().map(|path| directory.join(path));
    let recipe = settings.prune.clone().map(|recipe| recipe.inside(directory));
    let plan = OutputPlan::new(arguments.force)
        .policy(directory)
        .masks(inside(&settings.masks).as_deref())
        .input(&directory.join(&settings.states))
        .inputs(&inside(&settings.key))
        .inputs(&inside(&settings.episodes))
        .inputs(recipe.iter().flat_map(Recipe::files));
    folder.plan(plan, recipe.map(|recipe| recipe.names()).unwrap_or_default())
}

/// Certifies, signs, writes, checks what was written, and prints the table.
///
/// # Errors
/// Exit codes 1 (a theorem was violated), 2, 3 and 4.
pub fn run(arguments: &AuditArguments, context: Context) -> Result<u8, CliError> {
    let directory = &arguments.directory;
    refuse_dash([("DIR", Some(directory.as_path()))])?;
    let settings = settings(directory)?;
    let name = name_of(directory);
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.audit")));
    let folder = AuditFolder::new(directory, &out, &name)?;
    let outputs = plan(arguments, &settings, &folder).test()?;
    let load = |e| certify_failure(CertifyError::Load(e));
    let set =
        perturbation(settings.epsilon.as_deref(), settings.radii.as_deref(), settings.norm, settings.units)?;
    let mut families = families(&settings.families)?;
    let limit = settings.band_limit.as_deref().map(band_limit).transpose()?;
    let regret = settings.regret(directory).request()?;
    let policy = load_policy(directory).map_err(load)?;
    let states_path = directory.join(&settings.states);
    let (mut states, bytes) = load_states(&states_path, settings.state_units.into()).map_err(load)?;
    keep_first(&mut states, settings.limit, &regret)?;
    let (key, key_words) = match &settings.key {
        Some(path) => {
            (Key::read(&directory.join(path)).map_err(CliError::input)?, "the key audit.toml names")
        }
        None => {
            (Key::generate().map_err(CliError::internal)?, "an ephemeral key made for this run and not kept")
        }
    };
    let folder = folder.open(&key, arguments.force.force)?;
    let (masks, made) = masks(&settings, directory, &policy)?;
    let mask_directory = match &made {
        Some(_) => Some(folder.masks()),
        None => settings.masks.as_ref().map(|masks| directory.join(masks)),
    };
    let certificate_path = folder.certificate();
    let witness_name = witness_name(&certificate_path);
    let states_name = states_path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let bar = Bar::new(context.progress);
    let reaches = find_bands(&policy, &masks, &states, &set, &bar)?;
    if let Some(limit) = &limit {
        fits_head(limit, &policy.files.policy.head)?;
        families.extend(families_under(limit, &reaches));
    }
    let regions = settings.region.iter().map(RegionSettings::request).collect::<Result<Vec<_>, _>>()?;
    let request = Request {
        policy: &policy,
        masks: &masks,
        states: &states,
        states_file: NamedFile { name: &states_name, bytes: &bytes },
        perturbation: &set,
        families: &families,
        regret: &regret,
        band_from: 0,
        regions: &regions,
        branch_steps: branch_steps(settings.branch_steps)?,
        counterexample: settings.counterexample,
        witness_name: &witness_name,
        seed: "0",
    };
    let certified = certify(&request, &key, &bar).map_err(certify_failure)?;
    let mut set = outputs.set();
    if let Some(made) = &made {
        made.add_to(&mut set, &folder.masks());
    }
    certified.add_to(&mut set, &certificate_path, &witness_name);
    let earlier = folder.keep_earlier(&mut set)?;
    let trust_path = folder.trust();
    folder.add_trust(&mut set, &key)?;
    write(set)?;
    let paths = CheckPaths {
        policy: directory.clone(),
        masks: mask_directory.clone(),
        states: states_path.clone(),
        trust: Some(trust_path.clone()),
        witness: None,
        certificate: certificate_path.clone(),
    };
    let outcome = check_paths(&paths, &mut |done, total| bar.advance("checking", done, total));
    bar.finish();
    let outcome = outcome.map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?;
    let certificate = outcome.verified.certificate();
    let mut text = summary_text(certificate);
    let mut document = summary_json(certificate, "verified");
    add_bands((&mut text, &mut document), &outcome.verified, &reaches, limit.as_ref());
    text.push_str(&format!(
        "\nverified, signed with {key_words}\ncertificate  {}\n",
        certificate_path.display()
    ));
    text.push_str(&format!(
        "check again  secateur check {} --states {}",
        directory.display(),
        states_path.display()
    ));
    if let Some(masks) = &mask_directory {
        text.push_str(&format!(" --masks {}", masks.display()));
    }
    text.push_str(&format!(" --trust {} {}", trust_path.display(), certificate_path.display()));
    if let Some(earlier) = &earlier {
        text.push_str(&format!("\nthe certificate that was there is kept in {}", earlier.display()));
    }
    document["earlier"] = json!(earlier);
    document["certificate"] = json!(certificate_path);
    document["trust"] = json!(trust_path);
    document["ephemeralKey"] = json!(settings.key.is_none());
    context.print(&text, &document)?;
    Ok(0)
}
