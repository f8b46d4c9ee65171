//! The main job: certify a policy under every mask of a chain, sign, write, and check what was written, with the files alone.
//! Untrusted: what it returns as verified, the checker verified. `spec/outputs.md#audit`.
//!
//! `secateur audit` is this function with `audit.toml` in front of it; `examples/audit.rs` calls it.

mod folder;

pub use folder::{AuditFolder, FolderError};

use std::path::{Path, PathBuf};

use secateur_checker::check::{NamedFile, Verified};
use secateur_checker::family::Family;
use secateur_checker::load::{
    CheckPaths, Failure, MaskDirectory, PolicyDirectory, check_paths, load_masks, load_policy, load_states,
};
use secateur_checker::model::{PerturbationSet, Units};

use crate::certify::band::{BandLimit, BandReach, families_under, find_bands, fits_head};
use crate::certify::cells::CellRequest;
use crate::certify::keys::{Key, KeyError};
use crate::certify::radius::RadiusRequest;
use crate::certify::regions::RegionRequest;
use crate::certify::regret::RegretRequest;
use crate::certify::trees::BRANCH_STEPS;
use crate::certify::{CertifyError, Request, certify, keep_first, witness_name};
use crate::outputs::{OutputError, OutputPlan};
use crate::policy::write::{WriteError, hold};
use crate::progress::Progress;
use crate::prune::recipe::{Pruned, Recipe, RecipeError, pruned};

/// Where the masks come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditMasks {
    /// One mask that keeps every weight.
    #[default]
    Dense,
    /// A directory with `chain.json`.
    Directory(PathBuf),
    /// Pruned here; the masks are written beside the certificate.
    Prune(Recipe),
}

/// What to audit, and where the results go.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Policy directory: `policy.json`, `policy.safetensors`. Nothing is written into it.
    pub policy: PathBuf,
    /// Folder of certificate, witness, trust file and made masks.
    pub out: PathBuf,
    /// Start anew in `out`; else the trust file there keeps its keys, and another certificate there is kept beside.
    pub anew: bool,
    /// States file (.npy), one row a state.
    pub states: PathBuf,
    /// Its units.
    pub state_units: Units,
    /// First rows of the states; all if `None`.
    pub limit: Option<usize>,
    /// The adversary.
    pub perturbation: PerturbationSet,
    /// The chain of masks.
    pub masks: AuditMasks,
    /// Families to claim.
    pub families: Vec<Family>,
    /// Regions that the family `branch` may bound for each of its trees.
    pub branch_steps: u64,
    /// Gap between bounds from above and below that the family `branch` is to close, by cells in place of those trees.
    pub cells: Option<CellRequest>,
    /// Claims the widest band of masks that keeps this limit.
    pub band_limit: Option<BandLimit>,
    /// Regret and statistical claims to make besides.
    pub regret: RegretRequest,
    /// Radii to claim.
    pub radii: RadiusRequest,
    /// Boxes of states to claim.
    pub regions: Vec<RegionRequest>,
    /// Bounds from below, by an attack on each state.
    pub counterexample: bool,
    /// Signing key (PKCS#8 PEM); `None` makes one for this audit and throws it away.
    pub key: Option<PathBuf>,
    /// Further files that the options came from, which an output may not replace.
    pub inputs: Vec<PathBuf>,
}

impl AuditOptions {
    /// The families that are claimed unless others are named, of the dense policy, with points from below and a key of
    /// its own.
    pub fn new(policy: PathBuf, states: PathBuf, perturbation: PerturbationSet, out: PathBuf) -> Self {
        Self {
            policy,
            out,
            anew: false,
            states,
            state_units: Units::Raw,
            limit: None,
            perturbation,
            masks: AuditMasks::Dense,
            families: default_families(),
            branch_steps: BRANCH_STEPS,
            cells: None,
            band_limit: None,
            regret: RegretRequest::default(),
            radii: RadiusRequest::default(),
            regions: Vec::new(),
            counterexample: true,
            key: None,
            inputs: Vec::new(),
        }
    }
}

/// Every family without a parameter, but for those that are searched and those about binary32 inference: slopes and trees
/// take much longer than all others together, and not every policy has binary32 weights. A new family has to be put here.
pub fn default_families() -> Vec<Family> {
    let everybody = |family: &Family| match family {
        Family::Sensitivity
        | Family::NormLinf
        | Family::NormL1
        | Family::NormFrobenius
        | Family::NormAbsSpectral
        | Family::Spectral
        | Family::Ibp
        | Family::Crown
        | Family::ChainHull
        | Family::EnvelopeIbp
        | Family::EnvelopeCrown
        | Family::PrunedDeviation => true,
        Family::CrownOptimised
        | Family::CrownQuadratic
        | Family::Lp
        | Family::Branch
        | Family::Binary32Ibp
        | Family::Binary32Crown
        | Family::Band(_)
        | Family::BandCrown(_) => false,
    };
    Family::ALL.into_iter().filter(everybody).collect()
}

/// A finished audit.
#[derive(Debug)]
pub struct AuditOutcome {
    /// What the checker verified when it read the written files again; its tables hold every bound exactly.
    pub verified: Verified,
    /// How far each band of masks from the loosest reaches.
    pub bands: Vec<BandReach>,
    /// The certificate.
    pub certificate: PathBuf,
    /// The trust file, which knows the key.
    pub trust: PathBuf,
    /// The mask directory; `None` for the dense policy.
    pub masks: Option<PathBuf>,
    /// Where the certificate went that was there before, if another was.
    pub earlier: Option<PathBuf>,
}

/// Why an audit did not end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// An output may not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The folder may not be written into.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The key cannot be read.
    #[error("{0}")]
    Key(KeyError),
    /// No key can be made.
    #[error("{0}")]
    NoKey(KeyError),
    /// There are no masks.
    #[error(transparent)]
    Masks(#[from] RecipeError),
    /// Nothing could be certified; nothing was written.
    #[error(transparent)]
    Certify(#[from] CertifyError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The written files did not pass the check: a defect of this program, or the files were changed meanwhile.
    #[error("{0}")]
    Check(Failure),
}

impl AuditError {
    /// The exit code of a command that ends for this reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Folder(error) => error.exit_code(),
            Self::Masks(error) => error.exit_code(),
            Self::Certify(error) => error.exit_code(),
            Self::Check(failure) => failure.exit_code(),
            Self::NoKey(_) => 4,
            Self::Output(_) | Self::Key(_) | Self::Write(_) => 2,
        }
    }
}

/// Certifies, signs, writes, and checks what was written.
///
/// # Errors
/// [`AuditError`]; before its variant `Check`, nothing was written.
pub fn audit(options: &AuditOptions, progress: &dyn Progress) -> Result<AuditOutcome, AuditError> {
    let load = |failure| AuditError::Certify(CertifyError::Load(failure));
    let folder = AuditFolder::new(&options.policy, &options.out, &name_of(&options.policy))?;
    let outputs = plan(options, &folder).test()?;
    let policy = load_policy(&options.policy).map_err(load)?;
    let (mut states, bytes) = load_states(&options.states, options.state_units).map_err(load)?;
    keep_first(&mut states, options.limit, &options.regret)?;
    let key = match &options.key {
        Some(path) => Key::read(path).map_err(AuditError::Key)?,
        None => Key::generate().map_err(AuditError::NoKey)?,
    };
    let folder = folder.open(&key, options.anew)?;
    let (masks, made) = masks(options, &policy)?;
    let certificate = folder.certificate();
    let witness_name = witness_name(&certificate);
    let states_name =
        options.states.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let bands = find_bands(&policy, &masks, &states, &options.perturbation, progress)?;
    let mut families = options.families.clone();
    families.extend(options.cells.iter().map(|_| Family::Branch));
    if let Some(limit) = &options.band_limit {
        fits_head(limit, &policy.files.policy.head)?;
        families.extend(families_under(limit, &bands));
    }
    let request = Request {
        policy: &policy,
        masks: &masks,
        states: &states,
        states_file: NamedFile { name: &states_name, bytes: &bytes },
        perturbation: &options.perturbation,
        families: &families,
        regret: &options.regret,
        band_from: 0,
        radii: &options.radii,
        regions: &options.regions,
        branch_steps: options.branch_steps,
        cells: options.cells.as_ref(),
        counterexample: options.counterexample,
        slopes: None,
        witness_name: &witness_name,
        seed: "0",
    };
    let certified = certify(&request, &key, progress)?;
    let mut set = outputs.set();
    if let Some(made) = &made {
        made.add_to(&mut set, &folder.masks());
    }
    certified.add_to(&mut set, &certificate, &witness_name);
    let earlier = folder.keep_earlier(&mut set)?;
    folder.add_trust(&mut set, &key)?;
    {
        // An interrupt waits until all files are written and that is known.
        let _held = hold();
        set.write()?;
        progress.written();
    }
    let paths = CheckPaths {
        policy: options.policy.clone(),
        masks: match &options.masks {
            AuditMasks::Dense => None,
            AuditMasks::Directory(directory) => Some(directory.clone()),
            AuditMasks::Prune(_) => Some(folder.masks()),
        },
        states: options.states.clone(),
        trust: Some(folder.trust()),
        witness: None,
        certificate,
    };
    let checked = check_paths(&paths, &mut |done, total| progress.advance("checking", done, total));
    let verified = checked.map_err(AuditError::Check)?.verified;
    let CheckPaths { masks, certificate, .. } = paths;
    Ok(AuditOutcome { verified, bands, certificate, trust: folder.trust(), masks, earlier })
}

/// The name of a policy directory, which its certificate gets.
pub fn name_of(directory: &Path) -> String {
    let full = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    full.file_name().map_or_else(|| "policy".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// The masks that the options name, or those made as they say, which are still to be written.
fn masks(
    options: &AuditOptions,
    policy: &PolicyDirectory,
) -> Result<(MaskDirectory, Option<Pruned>), AuditError> {
    Ok(match &options.masks {
        AuditMasks::Dense => (MaskDirectory::dense(&policy.files.policy.network), None),
        AuditMasks::Directory(directory) => {
            (load_masks(directory, &policy.files).map_err(CertifyError::Load)?, None)
        }
        AuditMasks::Prune(recipe) => {
            let made = pruned(policy, recipe)?;
            (made.directory(policy)?, Some(made))
        }
    })
}

/// Everything the audit reads and writes.
fn plan(options: &AuditOptions, folder: &AuditFolder) -> OutputPlan {
    let (directory, recipe) = match &options.masks {
        AuditMasks::Dense => (None, None),
        AuditMasks::Directory(directory) => (Some(directory.as_path()), None),
        AuditMasks::Prune(recipe) => (None, Some(recipe)),
    };
    let plan = OutputPlan::new(options.anew)
        .policy(&options.policy)
        .masks(directory)
        .input(&options.states)
        .inputs(&options.key)
        .inputs(&options.inputs)
        .inputs(recipe.into_iter().flat_map(Recipe::files));
    let plan = options.radii.keep.iter().fold(plan, |plan, path| plan.state("--resume", path));
    folder.plan(plan, recipe.map(Recipe::names).unwrap_or_default())
}
