//! `secateur audit`: the main job. Everything comes from `DIR/audit.toml`; nothing is written into DIR.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::check::NamedFile;
use secateur_checker::load::{CheckPaths, MaskDirectory, check_paths, load_masks, load_policy, load_states};
use serde::Deserialize;
use serde_json::json;

use crate::certify::keys::{Key, trust_file};
use crate::certify::trees::{BRANCH_STEPS, MAX_BRANCH_STEPS};
use crate::certify::{CertifyError, Progress, Request, certify};
use crate::cli::adversary::{Norm, UnitsWord, families, perturbation};
use crate::cli::band::{add_bands, band_limit, families_under, fits_head};
use crate::cli::certify::{certify_failure, find_bands, witness_name};
use crate::cli::progress::Bar;
use crate::cli::prune::{Recipe, write_pruned};
use crate::cli::regions::RegionSettings;
use crate::cli::regret::{RegretOptions, keep_first};
use crate::cli::summary::{summary_json, summary_text};
use crate::cli::{CliError, Context};
use crate::policy::write::{create_folder, write_atomically};

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  secateur audit fixtures/pendulum-tanh --out /tmp/pendulum

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
    let text = std::fs::read_to_string(&path).map_err(|e| {
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

/// Certifies, signs, writes, checks what was written, and prints the table.
///
/// # Errors
/// Exit codes 1 (a theorem was violated), 2, 3 and 4.
pub fn run(arguments: &AuditArguments, context: Context) -> Result<u8, CliError> {
    let directory = &arguments.directory;
    let settings = settings(directory)?;
    let name = name_of(directory);
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.audit")));
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
    create_folder(&out).map_err(CliError::input)?;
    let mask_directory = match (&settings.masks, &settings.prune) {
        (Some(masks), None) => Some(directory.join(masks)),
        (None, Some(recipe)) => {
            let masks = out.join("masks");
            write_pruned(&policy, &recipe.clone().inside(directory), &masks)?;
            Some(masks)
        }
        (None, None) => None,
        (Some(_), Some(_)) => return Err(CliError::input("audit.toml has both masks and [prune]; keep one")),
    };
    let masks = match &mask_directory {
        Some(path) => load_masks(path, &policy.files).map_err(load)?,
        None => MaskDirectory::dense(&policy.files.policy.network),
    };
    let certificate_path = out.join(format!("{name}.cert.dsse.json"));
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
    certified.write(&certificate_path, &witness_name).map_err(certify_failure)?;
    let trust_path = out.join("trust.json");
    let public = key.public().map(|p| p.emit_pem()).unwrap_or_default();
    write_atomically(&trust_path, trust_file("audit", &public).as_bytes()).map_err(CliError::input)?;
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
    document["certificate"] = json!(certificate_path);
    document["trust"] = json!(trust_path);
    document["ephemeralKey"] = json!(settings.key.is_none());
    context.print(&text, &document)?;
    Ok(0)
}
