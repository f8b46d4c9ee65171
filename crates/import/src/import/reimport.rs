//! `check --source`: the files that a policy directory was imported from, imported again with the recorded options and
//! compared with what the directory holds. Untrusted: it relies on the same importers. `spec/trust.md`.

use super::compare::{Difference, Place, Scope, compare_masks, compare_policies};
use super::masks::{METHODS, import_mask, import_pruned};
use super::record::{OptionProblem, digest_of, options_of};
use super::{Imported, import_accounted};
use crate::float::dyadic_to_float;
use crate::import::problem::{ImportError, ImportOptions, LogStd, read_capped};
use crate::policy::PolicyData;
use crate::policy::emit::{emit_manifest, emit_tensors};
use secateur_checker::check::head_name;
use secateur_checker::load::{MaskDirectory, PolicyDirectory};
use secateur_checker::model::{Head, Policy, SOURCE_ROLES, Source, SourceFile};
use secateur_checker::reader::mask::{ChainManifest, parse_chain_manifest};
use secateur_checker::reader::policy::parse_policy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a part of a policy or chain comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file that was imported.
    File(SourceFile),
    /// An option of the import.
    Option(&'static str),
    /// No file that was imported: how, in words.
    Made(String),
}

/// A part of a policy or chain, and whether it was compared with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `layers`, `head`, `log_std`, `normaliser`, `mask 0`, ..., `masks`.
    pub name: String,
    /// What it is, in words.
    pub content: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Compared, and the same; false if its file was not given.
    pub compared: bool,
}

/// A recorded option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether the import gives the same without it; `None` if what it is about was not compared.
    pub is_shown: Option<bool>,
}

/// Options that are about the normaliser alone.
const OF_NORMALISER: [&str; 2] = ["clip", "normaliser-epsilon"];

/// What was compared, and found to be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// The parts of the policy, then of the chain.
    pub parts: Vec<Part>,
    /// The options that the import was given.
    pub options: Vec<Decision>,
}

/// Why the source files do not confirm a policy directory.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages are the documentation
pub enum SourceError {
    #[error(transparent)]
    Unreadable(ImportError),
    #[error("policy.json names no source file: the policy was not imported, or has been changed since")]
    NoSource,
    #[error(
        "policy.json names its source file {0} without the options of the import, as older versions did; import it again"
    )]
    NoOptions(String),
    #[error("{} has SHA-256 {sha256}, but the directory was imported from {recorded}; {why}", file.display())]
    OtherFile { file: PathBuf, sha256: String, recorded: String, why: &'static str },
    #[error("policy.json says that log_std came from a file and from --log-std; an import takes one of them")]
    TwoLogStd,
    #[error("give --source {0} too: everything else is read for that model")]
    NoModel(String),
    #[error(transparent)]
    Option(#[from] OptionProblem),
    #[error("importing again as recorded fails: {0}")]
    Refused(ImportError),
    #[error("what importing again as recorded gives is no policy: {0}")]
    NoPolicy(String),
    #[error("the source is not what the directory holds: {0}")]
    Differs(#[from] Difference),
}

impl SourceError {
    /// The process's exit code: 2 for what cannot be read or is missing, 3 for evidence that does not confirm.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable(_) | Self::NoModel(_) => 2,
            _ => 3,
        }
    }
}

/// Imports the files in `given` again, recognised by their digests, and compares everything that comes from them.
///
/// What comes from a file that was not given is reported as not compared; only the model must be there.
///
/// # Errors
/// [`SourceError`]; a difference names the first place.
pub fn compare_sources(
    given: &[PathBuf],
    policy: &PolicyDirectory,
    masks: Option<&MaskDirectory>,
) -> Result<SourceReport, SourceError> {
    let stored = &policy.files.policy;
    let source = stored.source.as_ref().ok_or(SourceError::NoSource)?;
    let chain = masks.and_then(|masks| parse_chain_manifest(&masks.files.first()?.1).ok());
    let again = Again::new(given, stored, source, chain.as_ref())?;
    let imported = again.import(&again.options).map_err(SourceError::Refused)?;
    let data = &imported.policy;
    let found = parse_policy(&emit_manifest(data), &emit_tensors(data));
    let found = found.map_err(|e| SourceError::NoPolicy(e.to_string()))?.policy;
    compare_policies(&found, stored, again.scope())?;
    let mut parts = again.parts();
    if let (Some(masks), Some(chain)) = (masks, &chain) {
        parts.extend(again.masks(&imported, masks, chain)?);
    }
    Ok(SourceReport { parts, options: again.decisions(data) })
}

/// An import that is made again.
struct Again<'a> {
    stored: &'a Policy,
    source: &'a Source,
    /// The given files by digest.
    given: BTreeMap<String, PathBuf>,
    model: &'a SourceFile,
    /// The recorded options; without those of a normaliser whose file is not given.
    stated: Vec<(String, String)>,
    /// These, with the files given; the stored log_std stands in for a file that is not.
    options: ImportOptions,
}

impl<'a> Again<'a> {
    fn new(
        given: &[PathBuf],
        stored: &'a Policy,
        source: &'a Source,
        chain: Option<&ChainManifest>,
    ) -> Result<Self, SourceError> {
        let model = source.files.first().ok_or(SourceError::NoSource)?;
        if model.role == SOURCE_ROLES[0] {
            return Err(SourceError::NoOptions(model.name.clone()));
        }
        let masks = chain.into_iter().flat_map(|chain| &chain.masks).filter_map(|mask| mask.source.as_ref());
        let given = recognise(given, source.files.iter().chain(masks))?;
        let path = |role: &str| {
            let file = source.files.iter().find(|file| file.role == role)?;
            given.get(&file.sha256).cloned()
        };
        if path(model.role).is_none() {
            return Err(SourceError::NoModel(model.name.clone()));
        }
        let has = |role: &str| source.files.iter().any(|file| file.role == role);
        if has("log-std") && source.options.iter().any(|(name, _)| name == "log-std") {
            return Err(SourceError::TwoLogStd);
        }
        let log_std = has("log-std")
            .then(|| path("log-std").map_or_else(|| LogStd::Values(stored_log_std(stored)), LogStd::File));
        let normaliser = path("normaliser");
        let mut stated = source.options.clone();
        if has("normaliser") && normaliser.is_none() {
            if stored.normaliser.is_none() {
                let (found, stored) = ("there".to_owned(), "absent".to_owned());
                return Err(Difference { place: Place::Normaliser, found, stored }.into());
            }
            stated.retain(|(name, _)| !OF_NORMALISER.contains(&name.as_str()));
        }
        let options = options_of(&stated, normaliser, log_std)?;
        Ok(Self { stored, source, given, model, stated, options })
    }

    fn recorded(&self, role: &str) -> Option<&'a SourceFile> {
        self.source.files.iter().find(|file| file.role == role)
    }

    fn is_given(&self, file: &SourceFile) -> bool {
        self.given.contains_key(&file.sha256)
    }

    /// What comes from the model or from a file that was given.
    fn scope(&self) -> Scope {
        let at_hand = |role| self.recorded(role).is_none_or(|file| self.is_given(file));
        Scope { log_std: at_hand("log-std"), normaliser: at_hand("normaliser") }
    }

    fn path(&self, file: &SourceFile) -> &Path {
        self.given.get(&file.sha256).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Imports the model. The bytes that were read are those recorded, whatever happened to the files meanwhile.
    fn import(&self, options: &ImportOptions) -> Result<Imported, ImportError> {
        let path = self.path(self.model);
        let imported = import_accounted(path, options)?;
        let read = imported.policy.source.iter().flat_map(|source| &source.files);
        for file in read {
            if self.recorded(file.role).is_none_or(|recorded| recorded.sha256 != file.sha256) {
                let problem = crate::import::problem::Problem::Unreadable(
                    "it was changed while it was read".to_owned(),
                );
                return Err(ImportError { file: path.to_owned(), problem });
            }
        }
        Ok(imported)
    }

    fn parts(&self) -> Vec<Part> {
        let policy = self.stored;
        let scope = self.scope();
        let from_model = || Origin::File(self.model.clone());
        let file = |role| self.recorded(role).map(|file| Origin::File(file.clone()));
        let part = |name: &str, content: String, origin, compared| {
            let name = name.to_owned();
            Part { name, content, origin, compared }
        };
        let mut parts = vec![
            part("layers", layers_in_words(policy), from_model(), true),
            part("head", head_name(&policy.head).to_owned(), from_model(), true),
        ];
        if let Head::Gaussian { log_std } = &policy.head {
            let content = format!("{} numbers", log_std.len());
            let stated = self.source.options.iter().any(|(name, _)| name == "log-std");
            let option = stated.then_some(Origin::Option("log-std"));
            let origin = option.or_else(|| file("log-std")).unwrap_or_else(from_model);
            parts.push(part("log_std", content, origin, scope.log_std));
        }
        let content = match &policy.normaliser {
            None => "none".to_owned(),
            Some(normaliser) => {
                let clip = if normaliser.clip.is_some() { "a clip" } else { "no clip" };
                format!("{} means and standard deviations, {clip}", normaliser.mean.len())
            }
        };
        let origin = file("normaliser").unwrap_or_else(from_model);
        parts.push(part("normaliser", content, origin, scope.normaliser));
        parts
    }

    fn masks(
        &self,
        dense: &Imported,
        masks: &MaskDirectory,
        chain: &ChainManifest,
    ) -> Result<Vec<Part>, SourceError> {
        let mut parts = Vec::new();
        for (index, (entry, stored)) in chain.masks.iter().zip(&masks.masks).enumerate() {
            let Some(file) = &entry.source else { continue };
            let compared = self.is_given(file);
            if compared {
                let path = self.path(file);
                let found = match chain.method == METHODS[1] {
                    true => import_pruned(path, &self.options, &dense.policy),
                    false => import_mask(path, dense),
                };
                compare_masks(index, &found.map_err(SourceError::Refused)?, stored)?;
            }
            let name = format!("mask {index}");
            let content = "which weights are kept".to_owned();
            parts.push(Part { name, content, origin: Origin::File(file.clone()), compared });
        }
        if parts.len() < chain.masks.len() {
            let (name, content) =
                ("masks".to_owned(), format!("{} without a source file", chain.masks.len() - parts.len()));
            parts.push(Part { name, content, origin: Origin::Made(chain.method.clone()), compared: false });
        }
        Ok(parts)
    }

    /// Imports once more without each option: what then fails or differs rests on it.
    fn decisions(&self, data: &PolicyData) -> Vec<Decision> {
        let content = |data: &PolicyData| PolicyData { source: None, ..data.clone() };
        let whole = content(data);
        let ImportOptions { normaliser, log_std, .. } = &self.options;
        let log_std = log_std.clone().filter(|_| self.recorded("log-std").is_some());
        let decide = |(name, value): &(String, String)| {
            let others: Vec<_> = self.stated.iter().filter(|(other, _)| other != name).cloned().collect();
            let is_stated = others.len() < self.stated.len();
            let gives_the_same = || {
                let options = options_of(&others, normaliser.clone(), log_std.clone()).ok()?;
                Some(content(&self.import(&options).ok()?.policy) == whole)
            };
            let is_shown = is_stated.then(|| gives_the_same().unwrap_or(false));
            Decision { name: name.clone(), value: value.clone(), is_shown }
        };
        self.source.options.iter().map(decide).collect()
    }
}

/// The given files by digest; each is one of those recorded.
fn recognise<'a>(
    given: &[PathBuf],
    recorded: impl Iterator<Item = &'a SourceFile>,
) -> Result<BTreeMap<String, PathBuf>, SourceError> {
    let known: Vec<&SourceFile> = recorded.collect();
    let mut found = BTreeMap::new();
    for file in given {
        let sha256 = digest_of(&read_capped(file).map_err(SourceError::Unreadable)?);
        if !known.iter().any(|known| known.sha256 == sha256) {
            let words = known.iter().map(|f| format!("{} {} ({})", f.role, f.name, f.sha256));
            let recorded = words.collect::<Vec<_>>().join(", ");
            let name = file.file_name().map(|n| n.to_string_lossy());
            let why = match known.iter().any(|known| Some(known.name.as_str()) == name.as_deref()) {
                true => {
                    "it has been changed or trained again since, or the directory is of another file of that name"
                }
                false => "it is another file, or the directory is another policy's",
            };
            return Err(SourceError::OtherFile { file: file.clone(), sha256, recorded, why });
        }
        found.insert(sha256, file.clone());
    }
    Ok(found)
}

/// The stored standard deviations, as the command line takes them; so that the model is read although their file is not
/// at hand.
fn stored_log_std(policy: &Policy) -> Vec<String> {
    match &policy.head {
        Head::Gaussian { log_std } => log_std.iter().map(|v| format!("{:?}", dyadic_to_float(*v))).collect(),
        Head::Categorical | Head::Deterministic => vec!["0".to_owned()],
    }
}

fn layers_in_words(policy: &Policy) -> String {
    let layers = &policy.network.layers;
    let widths = std::iter::once(policy.network.inputs()).chain(layers.iter().map(|l| l.weight.rows));
    let widths: Vec<String> = widths.map(|w| w.to_string()).collect();
    let weights: usize = layers.iter().map(|l| l.weight.values.len()).sum();
    let biases: usize = layers.iter().map(|l| l.bias.len()).sum();
    let widths = widths.join("-");
    format!("{} ({widths}): {weights} weights, {biases} biases, activations", layers.len())
}
