//! `secateur certify`.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::check::NamedFile;
use secateur_checker::family::Family;
use secateur_checker::load::{MaskDirectory, PolicyDirectory, load_masks, load_policy, load_states};
use serde_json::json;

use crate::certify::band::{families_under, find_bands, fits_head};
use crate::certify::given_slopes::GivenSlopes;
use crate::certify::keys::Key;
use crate::certify::sigstore::emit_sigstore_bundle;
use crate::certify::trees::{BRANCH_STEPS, MAX_BRANCH_STEPS};
use crate::certify::{CertifyError, Request, certify, keep_first, witness_name};
use crate::cli::context::bar::Bar;
use crate::cli::context::interrupt::kept;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::UnitsWord;
use crate::cli::option::adversary::{Norm, band, families, perturbation, radii_file};
use crate::cli::option::band::band_limit;
use crate::cli::option::details::DetailOptions;
use crate::cli::option::force::Force;
use crate::cli::option::gap::GapOptions;
use crate::cli::option::radius::{RadiusOptions, radii_kept};
use crate::cli::option::regions::RegionOptions;
use crate::cli::option::regret::RegretOptions;
use crate::import::read_arrays;
use crate::outputs::OutputPlan;
use crate::show::band::{add_bands, answer};
use crate::show::radius::capped_text;
use crate::show::summary::{verified_json, verified_text};

/// Arguments of `certify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  secateur certify hopper/ --masks hopper/masks/ --states states.npy \\
      --epsilon 0.075 --units normalised --key keys/secateur.pem \\
      --out hopper.cert.dsse.json
  secateur certify cartpole/ --states states.npy --epsilon 0.01 \\
      --discount 0.99 --reward-range 1,1 --episodes-can-end \\
      --key keys/secateur.pem --out cartpole.cert.dsse.json
  secateur certify hopper/ --masks hopper/masks/ --states states.npy \\
      --epsilon 0.01 --band-limit tv=0.3 --key keys/secateur.pem \\
      --out widest.cert.dsse.json
  secateur certify go1/ --states states.npy --radii noise.toml --key key.pem \\
      --out go1.cert.dsse.json
  secateur certify cartpole/ --states states.npy --epsilon 0.01 \\
      --radius-for same-action --key keys/secateur.pem \\
      --out radius.cert.dsse.json
  secateur certify cartpole/ --states states.npy --epsilon 0.01 --units raw \\
      --region-lower=-0.5,-0.5,-0.1,-0.5 --region-upper=0.5,0.5,0.1,0.5 \\
      --region-threshold 0.2 --key keys/secateur.pem --out box.cert.dsse.json

Without --family and --band every family is bounded but those that take long at every state (crown-quadratic;
crown-optimised, lp and branch, which search), float32/ibp and float32/crown (for binary32 inference) and bands; name them. Numbers are read exactly: 0.075 is 3/40.

noise.toml, for a policy whose inputs have names (`secateur names`):
  gyro = \"0.2 rad/s\"            # every input of the group, in every frame
  \"joint_pos[3]\" = \"0.02\"       # one of them; in raw units, unless --units normalised
  bias.gyro = \"0.05\"            # one offset for the copies in all frames, besides
  [limits]                       # what is never observed is not asked about
  gravity = [\"-1\", \"1\"]
Inputs of which it says nothing do not move.")]
pub struct CertifyArguments {
    /// Policy directory (policy.json, policy.safetensors); `secateur import` makes one.
    policy: PathBuf,
    /// Mask directory with chain.json; `secateur prune` makes one. Without it, the dense policy alone.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// States, a .npy table of S rows with one column per input.
    #[arg(long, value_name = "FILE")]
    states: PathBuf,
    /// Units of the states.
    #[arg(long, value_enum, default_value_t = UnitsWord::Raw)]
    state_units: UnitsWord,
    /// Certify the first N rows of the states only.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Perturbation radius, a decimal or a fraction.
    #[arg(long, value_name = "R", conflicts_with = "radii")]
    epsilon: Option<String>,
    /// One radius per input instead of a single epsilon; or a TOML file of radii by the policy's names, such as
    /// `gyro = "0.2"`, with tables [bias] and [limits].
    #[arg(long, value_name = "R1,R2,...|FILE", value_delimiter = ',')]
    radii: Option<Vec<String>>,
    /// Shape of the perturbation set.
    #[arg(long, value_enum, default_value_t = Norm::Linf)]
    norm: Norm,
    /// Units of the radii [default: normalised; raw for a file of radii]
    #[arg(long, value_enum)]
    units: Option<UnitsWord>,
    /// Bound families; repeat or separate by commas.
    #[arg(long = "family", value_name = "NAME", value_delimiter = ',')]
    families: Vec<String>,
    /// Regions that family branch may bound for each of its split trees.
    #[arg(long, value_name = "N", default_value_t = BRANCH_STEPS, value_parser = clap::value_parser!(u64).range(1..=MAX_BRANCH_STEPS))]
    branch_steps: u64,
    #[command(flatten)]
    gap: GapOptions,
    #[command(flatten)]
    regions: RegionOptions,
    #[command(flatten)]
    radius: RadiusOptions,
    #[command(flatten)]
    regret: RegretOptions,
    /// Bound every mask between two masks of the chain (families band and band-crown): LO..HI, or LO..zero for every
    /// submask of mask LO. Without --family, nothing else.
    #[arg(long, value_name = "LO..HI")]
    band: Option<String>,
    /// Find and claim the widest band from the loosest mask that keeps a limit at every state: tv=L (total variation) or
    /// deviation=L (largest change of an output). Without --family, nothing else.
    #[arg(long, value_name = "tv=L|deviation=L", conflicts_with = "band")]
    band_limit: Option<String>,
    /// Slopes that another tool found (NPZ or safetensors, spec/leaves.md), for family crown-optimised in place of a search.
    #[arg(long, value_name = "FILE")]
    witness_from: Option<PathBuf>,
    /// Search no points that bound the true quantities from below, and claim nothing from below.
    #[arg(long)]
    no_counterexample: bool,
    /// Signing key, PKCS#8 PEM; `secateur keygen` makes one.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Certificate to write; a witness goes beside it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the envelope as a sigstore bundle v0.3, for tools that read those.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    details: DetailOptions,
    #[command(flatten)]
    force: Force,
}

/// The slopes of `--witness-from`.
fn given_slopes(
    arguments: &CertifyArguments,
    families: &[Family],
    policy: &PolicyDirectory,
    masks: usize,
    states: usize,
) -> Result<Option<GivenSlopes>, CliError> {
    let Some(path) = &arguments.witness_from else { return Ok(None) };
    if !families.contains(&Family::CrownOptimised) {
        return Err(CliError::input(
            "--witness-from: its slopes are of family crown-optimised; name it by --family",
        ));
    }
    let read = read_arrays(path).map_err(CliError::input)?;
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let arrays = read.named.iter().map(|(name, array)| {
        let tensor = array.floats(name).map_err(|e| at(&e))?;
        Ok((name.clone(), tensor.shape.clone(), tensor.floats()))
    });
    let arrays = arrays.collect::<Result<Vec<_>, CliError>>()?;
    let given = GivenSlopes::new(&policy.files.policy.network, masks, states, arrays);
    Ok(Some(given.map_err(|e| at(&e))?))
}

/// Certifies and writes.
///
/// # Errors
/// Exit codes 2 and 4. A limit that no band keeps is exit code 1; what was found is signed all the same.
pub fn run(arguments: &CertifyArguments, context: Context) -> Result<u8, CliError> {
    let load = CertifyError::Load;
    refuse_dash([("--resume", arguments.radius.resume.as_deref())])?;
    let witness_name = witness_name(&arguments.out);
    let plan = OutputPlan::new(arguments.force.force);
    let plan = arguments.bundle.iter().fold(plan, |plan, path| plan.file("--bundle", path));
    let plan = arguments.radius.resume.iter().fold(plan, |plan, path| plan.state("--resume", path));
    let outputs = plan
        .policy(&arguments.policy)
        .masks(arguments.masks.as_deref())
        .input(&arguments.states)
        .input(&arguments.key)
        .inputs(&arguments.regret.episodes)
        .inputs(&arguments.regions.file)
        .inputs(&arguments.witness_from)
        .inputs(&radii_file(arguments.radii.as_deref()))
        .file("--out", &arguments.out)
        .file("--out", &arguments.out.with_file_name(&witness_name))
        .test()?;
    let key = Key::read(&arguments.key).map_err(CliError::input)?;
    let set = perturbation(
        &arguments.policy,
        arguments.epsilon.as_deref(),
        arguments.radii.as_deref(),
        arguments.norm,
        arguments.units,
    )?;
    let regret = arguments.regret.request()?;
    let radii = arguments.radius.request(!arguments.no_counterexample)?;
    let band = arguments.band.as_deref().map(band).transpose()?;
    let limit = arguments.band_limit.as_deref().map(band_limit).transpose()?;
    let mut families = match (&band, &limit) {
        (Some(_), _) | (_, Some(_)) if arguments.families.is_empty() => Vec::new(),
        _ => families(&arguments.families)?,
    };
    let cells = arguments.gap.request(!arguments.no_counterexample)?;
    families.extend(cells.iter().map(|_| Family::Branch));
    families.extend(band.into_iter().flat_map(|(_, end)| [Family::Band(end), Family::BandCrown(end)]));
    let policy = load_policy(&arguments.policy).map_err(load)?;
    let masks = match &arguments.masks {
        Some(directory) => load_masks(directory, &policy.files).map_err(load)?,
        None => MaskDirectory::dense(&policy.files.policy.network),
    };
    let (mut states, bytes) = load_states(&arguments.states, arguments.state_units.into()).map_err(load)?;
    keep_first(&mut states, arguments.limit, &regret)?;
    let states_name =
        arguments.states.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let slopes = given_slopes(arguments, &families, &policy, masks.masks.len(), states.values.rows)?;
    let bar = Bar::new(context.progress);
    let mut reaches = Vec::new();
    if let Some(limit) = &limit {
        fits_head(limit, &policy.files.policy.head)?;
        reaches = find_bands(&policy, &masks, &states, &set, &bar)?;
        families.extend(families_under(limit, &reaches));
    }
    let request = Request {
        policy: &policy,
        masks: &masks,
        states: &states,
        states_file: NamedFile { name: &states_name, bytes: &bytes },
        perturbation: &set,
        families: &families,
        regret: &regret,
        band_from: band.map_or(0, |(from, _)| from),
        radii: &radii,
        regions: &arguments.regions.requests()?,
        branch_steps: arguments.branch_steps,
        cells: cells.as_ref(),
        counterexample: !arguments.no_counterexample,
        slopes: slopes.as_ref(),
        witness_name: &witness_name,
        seed: "0",
    };
    let going_on = radii.keep.as_deref().map(radii_kept);
    going_on.iter().for_each(kept);
    let certified = certify(&request, &key, &bar);
    bar.finish();
    let certified = certified.map_err(|error| match &going_on {
        Some(words) if error.is_interrupted() => {
            CliError { message: format!("interrupted; {words}"), code: error.exit_code() }
        }
        _ => error.into(),
    })?;
    let mut set = outputs.set();
    certified.add_to(&mut set, &arguments.out, &witness_name);
    if let (Some(path), Some(bundle)) = (&arguments.bundle, emit_sigstore_bundle(&certified.envelope)) {
        set.add(path, bundle);
    }
    write(set)?;
    let mut text = verified_text(&certified.verified, None, &arguments.details.wanted());
    let mut document = verified_json(&certified.verified);
    add_bands((&mut text, &mut document), &certified.verified, &reaches, limit.as_ref());
    text.push_str(&capped_text(certified.verified.certificate(), &radii));
    text.push_str(&format!("\nwritten and checked: {}\n", arguments.out.display()));
    if certified.witness.is_some() {
        text.push_str(&format!("witness beside it:   {witness_name}\n"));
    }
    if let Some(path) = &arguments.bundle {
        text.push_str(&format!("sigstore bundle:     {}\n", path.display()));
    }
    document["certificate"] = json!(arguments.out);
    document["witness"] =
        json!(certified.witness.as_ref().map(|_| arguments.out.with_file_name(&witness_name)));
    context.print(&text, &document)?;
    let keeps = limit.is_none_or(|limit| answer(&certified.verified, &limit).widest.is_some());
    Ok(u8::from(!keeps))
}
