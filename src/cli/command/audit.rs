//! `secateur audit`: the main job. Everything comes from `DIR/audit.toml` and the options; nothing is written into DIR.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::audit::{AuditError, AuditMasks, AuditOptions, AuditOutcome, audit, name_of};
use crate::certify::radius::RadiusRequest;
use crate::certify::trees::{BRANCH_STEPS, MAX_BRANCH_STEPS};
use crate::cli::context::bar::Bar;
use crate::cli::context::interrupt::kept;
use crate::cli::context::shell::path_in_shell;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::{Norm, UnitsWord, families, perturbation, radii_file};
use crate::cli::option::band::band_limit;
use crate::cli::option::details::DetailOptions;
use crate::cli::option::force::Force;
use crate::cli::option::gap::GapOptions;
use crate::cli::option::radius::{RadiusOptions, radii_kept};
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
  secateur audit cartpole --states states.npy --epsilon 0.05 \\
      --sparsity 0,0.3,0.6

Without DIR/audit.toml the options say everything; with it, each replaces what stands there.

Again into the same --out: the trust file there keeps its keys and gets the one that signed now; where the certificate is
another than the one there, that one moves to earlier-1/ (then earlier-2/, ...) with its witness and masks, and still
checks. --force starts anew instead: a trust file of one key, and nothing of the run before.

DIR/audit.toml:
  states = \"states.npy\"          # S rows, one column per input
  state-units = \"raw\"            # or normalised
  epsilon = \"0.05\"               # in quotes, read exactly; or radii = [\"0.1\", ...], or radii = \"noise.toml\"
  norm = \"linf\"                  # or l2
  units = \"normalised\"           # or raw
  masks = \"masks\"                # a directory with chain.json; or a table [prune]
  families = [\"ibp\"]             # optional; default all
  branch-steps = 500             # optional; regions for each split tree of family branch
  gap = \"0.1\"                    # optional; cells of family branch, until below / above is 0.9
  cells = 2000                   # optional, with gap; cells bounded for a state and mask, on average
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
    stated: Stated,
    #[command(flatten)]
    radius: RadiusOptions,
    #[command(flatten)]
    gap: GapOptions,
    #[command(flatten)]
    details: DetailOptions,
    #[command(flatten)]
    force: Force,
}

/// What the command line says in place of `audit.toml`; paths as they are, not taken from DIR.
#[derive(Debug, Args)]
#[command(next_help_heading = "In place of audit.toml")]
struct Stated {
    /// States (.npy), S rows, one column per input
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Their units [default: raw]
    #[arg(long, value_name = "UNITS")]
    state_units: Option<UnitsWord>,
    /// First rows of the states that are used
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Radius of the perturbation, read exactly
    #[arg(long, value_name = "R", conflicts_with = "radii")]
    epsilon: Option<String>,
    /// Radii of the perturbation, one per input, or a file of radii by the policy's names
    #[arg(long, value_name = "R1,R2,...|FILE", value_delimiter = ',')]
    radii: Option<Vec<String>>,
    /// Shape of the perturbation [default: linf]
    #[arg(long)]
    norm: Option<Norm>,
    /// Units of the perturbation [default: normalised; raw for a file of radii]
    #[arg(long)]
    units: Option<UnitsWord>,
    /// Directory of a chain of masks
    #[arg(long, value_name = "DIR", conflicts_with = "sparsity")]
    masks: Option<PathBuf>,
    /// Shares of weights that each mask drops, by magnitude in each layer
    #[arg(long, value_name = "S1,S2,...", value_delimiter = ',')]
    sparsity: Option<Vec<String>>,
    /// Family to claim; may be given again [default: all that need no search]
    #[arg(long = "family", value_name = "FAMILY")]
    families: Vec<String>,
    /// Key that signs (PKCS#8 PEM) [default: one made for this run and not kept]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// `audit.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    states: Option<PathBuf>,
    #[serde(default = "raw")]
    state_units: UnitsWord,
    epsilon: Option<String>,
    radii: Option<RadiiSetting>,
    #[serde(default = "linf")]
    norm: Norm,
    units: Option<UnitsWord>,
    masks: Option<PathBuf>,
    prune: Option<RecipeSettings>,
    #[serde(default)]
    families: Vec<String>,
    branch_steps: Option<u64>,
    gap: Option<String>,
    cells: Option<u64>,
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

/// Radii in `audit.toml`: one per input, or a file of radii by name.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a list of numbers in quotes, one per input, or the name of a file of radii")]
enum RadiiSetting {
    File(String),
    List(Vec<String>),
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
    /// What `audit.toml` says if it names nothing but sparsities.
    fn by_magnitude(sparsity: Vec<String>) -> Self {
        Self {
            method: magnitude(),
            scope: layer(),
            sparsity,
            seed: 0,
            scores: None,
            states: None,
            state_units: raw(),
        }
    }

    fn recipe(self) -> Recipe {
        Recipe {
            method: self.method,
            scope: self.scope,
            sparsity: self.sparsity,
            seed: self.seed,
            scores: self.scores,
            states: self.states,
            state_units: self.state_units.into(),
        }
    }
}

fn raw() -> UnitsWord {
    UnitsWord::Raw
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

/// What the file says, its paths taken from its folder, and in its place what the command line says.
fn settings(arguments: &AuditArguments) -> Result<Settings, CliError> {
    let path = arguments.directory.join("audit.toml");
    // A file that is there is read, whatever else is said.
    let text = if arguments.stated.states.is_some() && !path.exists() {
        String::new()
    } else {
        read_text(&path, MAX_TEXT).map_err(|e| {
            let file = path.display();
            CliError::input(format!(
                "{file}: {e}; `secateur audit --help` shows what it must say, or give --states FILE --epsilon R"
            ))
        })?
    };
    let mut settings: Settings = toml::from_str(&text)
        .map_err(|e| CliError::input(format!("{}: {}", path.display(), toml_words(&text, &e))))?;
    settings.place(&arguments.directory);
    settings.replace(&arguments.stated);
    Ok(settings)
}

impl Settings {
    /// Takes all paths from `directory`.
    fn place(&mut self, directory: &Path) {
        let (scores, states) = match &mut self.prune {
            Some(recipe) => (recipe.scores.as_mut(), recipe.states.as_mut()),
            None => (None, None),
        };
        let own = [&mut self.states, &mut self.masks, &mut self.episodes, &mut self.key];
        for path in own.into_iter().filter_map(Option::as_mut).chain(scores).chain(states) {
            *path = directory.join(&*path);
        }
        if let Some(RadiiSetting::File(path)) = &mut self.radii {
            *path = directory.join(&*path).to_string_lossy().into_owned();
        }
    }

    /// What the command line says counts.
    fn replace(&mut self, stated: &Stated) {
        let Stated {
            states,
            state_units,
            limit,
            epsilon,
            radii,
            norm,
            units,
            masks,
            sparsity,
            families,
            key,
        } = stated;
        if states.is_some() {
            self.states.clone_from(states);
        }
        if epsilon.is_some() || radii.is_some() {
            self.epsilon.clone_from(epsilon);
            self.radii = radii.clone().map(RadiiSetting::List);
        }
        if masks.is_some() || sparsity.is_some() {
            self.masks.clone_from(masks);
            self.prune = sparsity.clone().map(RecipeSettings::by_magnitude);
        }
        if !families.is_empty() {
            self.families.clone_from(families);
        }
        if key.is_some() {
            self.key.clone_from(key);
        }
        self.limit = limit.or(self.limit);
        self.state_units = state_units.unwrap_or(self.state_units);
        self.norm = norm.unwrap_or(self.norm);
        self.units = units.or(self.units);
    }

    fn regret(&self) -> RegretOptions {
        RegretOptions {
            discount: self.discount.clone(),
            horizon: self.horizon.clone(),
            reward_range: self.reward_range.clone(),
            episodes_can_end: self.episodes_can_end,
            episodes: self.episodes.clone(),
        }
    }
}

/// What the command line asks for of radii, or else what the file does.
fn multiples(settings: &Settings, options: &RadiusOptions) -> Result<RadiusRequest, CliError> {
    let own = RadiusOptions {
        radius_for: settings.radius_for.clone(),
        radius_family: settings.radius_families.clone(),
        radius_cap: settings.radius_cap.clone(),
        resume: options.resume.clone(),
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
    fn options(mut self, arguments: &AuditArguments) -> Result<AuditOptions, CliError> {
        let directory = &arguments.directory;
        let out = arguments.out.clone();
        let out = out.unwrap_or_else(|| PathBuf::from(format!("{}.audit", name_of(directory))));
        let radii = match self.radii.take() {
            Some(RadiiSetting::File(path)) => Some(vec![path]),
            Some(RadiiSetting::List(radii)) => Some(radii),
            None => None,
        };
        let set = perturbation(directory, self.epsilon.as_deref(), radii.as_deref(), self.norm, self.units)?;
        let regions = self.region.iter().map(RegionSettings::request).collect::<Result<Vec<_>, _>>()?;
        let regret = self.regret().request()?;
        let multiples = multiples(&self, &arguments.radius)?;
        let own = GapOptions { gap: self.gap.take(), cells: self.cells };
        let cells = arguments.gap.or(own).request(self.counterexample)?;
        let Some(states) = self.states else {
            return Err(CliError::input(
                "it names no states; write states = \"FILE\", or give --states FILE",
            ));
        };
        let mut options = AuditOptions::new(directory.clone(), states, set, out);
        options.anew = arguments.force.force;
        options.state_units = self.state_units.into();
        options.limit = self.limit;
        options.families = families(&self.families)?;
        options.branch_steps = branch_steps(self.branch_steps)?;
        options.cells = cells;
        options.band_limit = self.band_limit.as_deref().map(band_limit).transpose()?;
        options.counterexample = self.counterexample;
        options.key = self.key;
        options.inputs = self.episodes.into_iter().chain(radii_file(radii.as_deref())).collect();
        options.masks = match (self.masks, self.prune) {
            (Some(masks), None) => AuditMasks::Directory(masks),
            (None, Some(recipe)) => AuditMasks::Prune(recipe.recipe()),
            (None, None) => AuditMasks::Dense,
            (Some(_), Some(_)) => {
                return Err(CliError::input("it has both masks and [prune]; keep one"));
            }
        };
        options.regret = regret;
        options.radii = multiples;
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
    let stated = &arguments.stated;
    refuse_dash([
        ("--resume", arguments.radius.resume.as_deref()),
        ("--states", stated.states.as_deref()),
        ("--masks", stated.masks.as_deref()),
        ("--key", stated.key.as_deref()),
    ])?;
    let options = settings(arguments)?.options(arguments).map_err(|error| {
        let file = arguments.directory.join("audit.toml");
        let place = if file.exists() { format!("{}: ", file.display()) } else { String::new() };
        CliError { message: format!("{place}{}", error.message), ..error }
    })?;
    let going_on = options.radii.keep.as_deref().map(radii_kept);
    going_on.iter().for_each(kept);
    let bar = Bar::new(context.progress);
    let outcome = audit(&options, &bar);
    bar.finish();
    let outcome = outcome.map_err(|error| match (&error, &going_on) {
        (AuditError::Certify(cause), Some(words)) if cause.is_interrupted() => {
            CliError { message: format!("interrupted; {words}"), code: error.exit_code() }
        }
        _ => error.into(),
    })?;
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
        Some(file) => format!("the key {}", path_in_shell(file)),
        None => "an ephemeral key made for this run and not kept".to_owned(),
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
