//! `secateur audit`: the main job. Everything comes from `DIR/audit.toml`; nothing is written into DIR.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::audit::{AuditMasks, AuditOptions, AuditOutcome, audit, name_of};
use crate::certify::radius::RadiusRequest;
use crate::certify::trees::{BRANCH_STEPS, MAX_BRANCH_STEPS};
use crate::cli::context::bar::Bar;
use crate::cli::context::shell::path_in_shell;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::{Norm, UnitsWord, families, perturbation};
use crate::cli::option::band::band_limit;
use crate::cli::option::details::DetailOptions;
use crate::cli::option::force::Force;
use crate::cli::option::radius::RadiusOptions;
use crate::cli::option::regions::RegionSettings;
use crate::cli::option::regret::RegretOptions;
use crate::policy::input::{MAX_TEXT, read_text};
use crate::prune::Scope;
use crate::prune::recipe::{MethodWord, Recipe};
use crate::settings::toml_words;
use crate::show::band::add_bands;
use crate::show::radius::capped_text;
use crate::show::summary::{verified_json, verified_text};

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
  radius-for = [\"same-action\"]  # optional; or deviation=0.1, tv=0.1, kl=0.1: the largest multiple of the radii that keeps it
  radius-families = [\"crown\"]   # optional; default crown
  radius-cap = \"64\"             # optional; the multiple at which the search stops
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
  [prune]                        # instead of masks; defaults as `secateur prune` has them
  method = \"magnitude\"           # default; or random; or saliency, with scores or states, a file
  scope = \"layer\"                # default; or global
  sparsity = [\"0\", \"0.5\"]")]
pub struct AuditArguments {
    /// Directory with policy.json, policy.safetensors and audit.toml.
    directory: PathBuf,
    /// Where certificate, witness and trust file go; default: NAME.audit in the current directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    radius: RadiusOptions,
    #[command(flatten)]
    details: DetailOptions,
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
    prune: Option<RecipeSettings>,
    #[serde(default)]
    families: Vec<String>,
    branch_steps: Option<u64>,
    #[serde(default)]
    region: Vec<RegionSettings>,
    limit: Option<usize>,
    band_limit: Option<String>,
    #[serde(default)]
    radius_for: Vec<String>,
    #[serde(default)]
    radius_families: Vec<String>,
    radius_cap: Option<String>,
    #[serde(default = "yes")]
    counterexample: bool,
    discount: Option<String>,
    horizon: Option<String>,
    reward_range: Option<Vec<String>>,
    episodes_can_end: Option<bool>,
    episodes: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Its table `[prune]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RecipeSettings {
    #[serde(default = "magnitude")]
    method: MethodWord,
    #[serde(default = "layer")]
    scope: Scope,
    sparsity: Vec<String>,
    #[serde(default)]
    seed: u64,
    scores: Option<PathBuf>,
    states: Option<PathBuf>,
    #[serde(default = "raw")]
    state_units: UnitsWord,
}

impl RecipeSettings {
    /// The recipe, relative paths taken from `directory`.
    fn inside(self, directory: &Path) -> Recipe {
        let place = |path: PathBuf| directory.join(path);
        Recipe {
            method: self.method,
            scope: self.scope,
            sparsity: self.sparsity,
            seed: self.seed,
            scores: self.scores.map(place),
            states: self.states.map(place),
            state_units: self.state_units.into(),
        }
    }
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

fn magnitude() -> MethodWord {
    MethodWord::Magnitude
}

fn layer() -> Scope {
    Scope::Layer
}

fn settings(directory: &Path) -> Result<Settings, CliError> {
    let path = directory.join("audit.toml");
    let text = read_text(&path, MAX_TEXT).map_err(|e| {
        CliError::input(format!("{}: {e}; `secateur audit --help` shows what it must say", path.display()))
    })?;
    toml::from_str(&text)
        .map_err(|e| CliError::input(format!("{}: {}", path.display(), toml_words(&text, &e))))
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

/// What the command line asks for of radii, or else what the file does.
fn radii(settings: &Settings, options: &RadiusOptions) -> Result<RadiusRequest, CliError> {
    let own = RadiusOptions {
        radius_for: settings.radius_for.clone(),
        radius_family: settings.radius_families.clone(),
        radius_cap: settings.radius_cap.clone(),
    };
    let options = if options.radius_for.is_empty() { &own } else { options };
    options.request(settings.counterexample)
}

fn branch_steps(setting: Option<u64>) -> Result<u64, CliError> {
    let steps = setting.unwrap_or(BRANCH_STEPS);
    if (1..=MAX_BRANCH_STEPS).contains(&steps) {
        return Ok(steps);
    }
    Err(CliError::input(format!("branch-steps {steps} is not between 1 and {MAX_BRANCH_STEPS}")))
}

impl Settings {
    /// What the audit is to do.
    fn options(self, arguments: &AuditArguments) -> Result<AuditOptions, CliError> {
        let directory = &arguments.directory;
        let out = arguments.out.clone();
        let out = out.unwrap_or_else(|| PathBuf::from(format!("{}.audit", name_of(directory))));
        let set = perturbation(self.epsilon.as_deref(), self.radii.as_deref(), self.norm, self.units)?;
        let regions = self.region.iter().map(RegionSettings::request).collect::<Result<Vec<_>, _>>()?;
        let regret = self.regret(directory).request()?;
        let radii = radii(&self, &arguments.radius)?;
        let mut options = AuditOptions::new(directory.clone(), directory.join(&self.states), set, out);
        options.anew = arguments.force.force;
        options.state_units = self.state_units.into();
        options.limit = self.limit;
        options.families = families(&self.families)?;
        options.branch_steps = branch_steps(self.branch_steps)?;
        options.band_limit = self.band_limit.as_deref().map(band_limit).transpose()?;
        options.counterexample = self.counterexample;
        options.key = self.key.map(|key| directory.join(key));
        options.inputs = self.episodes.into_iter().map(|file| directory.join(file)).collect();
        options.masks = match (self.masks, self.prune) {
            (Some(masks), None) => AuditMasks::Directory(directory.join(masks)),
            (None, Some(recipe)) => AuditMasks::Prune(recipe.inside(directory)),
            (None, None) => AuditMasks::Dense,
            (Some(_), Some(_)) => {
                return Err(CliError::input("it has both masks and [prune]; keep one"));
            }
        };
        options.regret = regret;
        options.radii = radii;
        options.regions = regions;
        Ok(options)
    }
}

/// Audits and prints.
///
/// # Errors
/// Exit codes 1 (a theorem was violated), 2, 3 and 4.
pub fn run(arguments: &AuditArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([("DIR", Some(arguments.directory.as_path()))])?;
    let options = settings(&arguments.directory)?.options(arguments).map_err(|error| {
        let file = arguments.directory.join("audit.toml");
        CliError { message: format!("{}: {}", file.display(), error.message), ..error }
    })?;
    let bar = Bar::new(context.progress);
    let outcome = audit(&options, &bar);
    bar.finish();
    let outcome = outcome?;
    let mut text = verified_text(&outcome.verified, None, &arguments.details.wanted());
    let mut document = verified_json(&outcome.verified);
    add_bands((&mut text, &mut document), &outcome.verified, &outcome.bands, options.band_limit.as_ref());
    text.push_str(&capped_text(outcome.verified.certificate(), &options.radii));
    add_paths((&mut text, &mut document), &options, &outcome);
    context.print(&text, &document)?;
    Ok(0)
}

/// Where everything went, and how to check it again.
fn add_paths((text, document): (&mut String, &mut Value), options: &AuditOptions, outcome: &AuditOutcome) {
    let key = match &options.key {
        Some(_) => "the key audit.toml names",
        None => "an ephemeral key made for this run and not kept",
    };
    let (policy, states) = (path_in_shell(&options.policy), path_in_shell(&options.states));
    let (trust, certificate) = (path_in_shell(&outcome.trust), path_in_shell(&outcome.certificate));
    text.push_str(&format!(
        "\nverified, signed with {key}\ncertificate  {}\n",
        outcome.certificate.display()
    ));
    text.push_str(&format!("check again  secateur check {policy} --states {states}"));
    if let Some(masks) = &outcome.masks {
        text.push_str(&format!(" --masks {}", path_in_shell(masks)));
    }
    text.push_str(&format!(" --trust {trust} {certificate}"));
    if let Some(earlier) = &outcome.earlier {
        text.push_str(&format!("\nthe certificate that was there is kept in {}", earlier.display()));
    }
    document["earlier"] = json!(outcome.earlier);
    document["certificate"] = json!(outcome.certificate);
    document["trust"] = json!(outcome.trust);
    document["ephemeralKey"] = json!(options.key.is_none());
}
