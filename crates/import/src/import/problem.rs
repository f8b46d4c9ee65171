//! What an import is told, and why one was refused. Untrusted. `spec/import.md`.

use std::path::{Path, PathBuf};

use secateur_checker::load::{FileProblem, read_regular};
use secateur_checker::number::Rational;

use super::record::ACTIVATIONS;
use super::words::{did_you_mean, in_shell, nearest, path_in_shell};
use crate::policy::ActivationSpec;

/// Bytes an imported file may have.
pub const MAX_FILE: usize = 1 << 30;

/// Entries one archive may have.
pub(super) const MAX_ENTRIES: usize = 4096;

/// What the outputs mean, when the file does not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// Mean of a Gaussian with state-independent standard deviations.
    Gaussian,
    /// Logits of a softmax.
    Categorical,
    /// The action.
    Deterministic,
}

/// Where log standard deviations come from, when the file has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStd {
    /// A `.npy` file of `[out]` or `[1, out]` floats.
    File(PathBuf),
    /// One decimal for all outputs or one per output, rounded to the nearest binary64.
    Values(Vec<String>),
}

/// What the person says about the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Head; needed when the file does not show it.
    pub head: Option<HeadKind>,
    /// Log standard deviations; in place of the file's own.
    pub log_std: Option<LogStd>,
    /// A `vecnormalize` pickle, or an `.npz` or `.safetensors` with `mean` and `std` (or `var`).
    pub normaliser: Option<PathBuf>,
    /// Clip radius of the normaliser, in place of the file's own.
    pub clip: Option<String>,
    /// Activation of the hidden layers; needed when the file does not show it.
    pub activation: Option<ActivationSpec>,
    /// Activation of the last layer; `Identity` if absent.
    pub output_activation: Option<ActivationSpec>,
    /// Only tensors whose names start with this belong to the policy.
    pub prefix: Option<String>,
    /// The output of an ONNX graph that is read; needed when it has several.
    pub output: Option<String>,
    /// The layers in their order, where the file does not show it.
    pub layers: Option<Vec<String>>,
    /// Tensors, or modules with all their tensors, that are no part of the policy.
    pub ignore: Vec<String>,
    /// Layers without a bias tensor were built without bias.
    pub no_bias: bool,
    /// What is added to a stored variance of observations, where the file does not say it.
    pub normaliser_epsilon: Option<String>,
    /// The file's masks are imported on their own ([`super::masks::import_mask`]): weights are those before pruning.
    pub masks_apart: bool,
    /// Bounds of the action space that squashed actions are scaled to, where a Stable-Baselines3 archive shows none.
    pub action_bounds: Option<(String, String)>,
}

/// Why a file was not imported, and which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct ImportError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Why a file was not imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages are the documentation
pub enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("has more than the {MAX_FILE} bytes that are read")]
    FileTooLarge,
    #[error("is no ONNX, safetensors, NPZ, PyTorch or Stable-Baselines3 file")]
    UnknownFormat,
    #[error("is a broken zip archive ({0}); fetch it again")]
    Zip(String),
    #[error("is an archive with {0} entries, more than {max}", max = MAX_ENTRIES)]
    ZipTooMany(usize),
    #[error("entry {name:?} unpacks to more than {cap} bytes, as zip bombs do; it is not read")]
    ZipBomb { name: String, cap: u64 },
    #[error("array {name:?}: {reason}")]
    Npy { name: String, reason: &'static str },
    #[error("{name:?}: {reason}")]
    Safetensors { name: String, reason: &'static str },
    #[error("tensor {name:?} has shape {shape:?} but {bytes} bytes")]
    ShapeSize { name: String, shape: Vec<usize>, bytes: usize },
    #[error("tensor {0:?} does not hold floats (F16, BF16, F32 or F64)")]
    NotFloats(String),
    #[error("tensor {name:?} has a NaN or an infinity at entry {index}; it is no network over the reals")]
    NotFinite { name: String, index: usize },
    #[error("pickle, byte {at}: {reason}")]
    Pickle { at: usize, reason: &'static str },
    #[error("pickle: {0}")]
    PickleContent(&'static str),
    #[error("{0:?} is recurrent; only feed-forward policies can be certified")]
    Recurrent(String),
    #[error(
        "the policy draws its noise from the state (gSDE or a squashed Gaussian: {0}); a state-dependent standard \
         deviation has no certified total variation here. Its mean action, which is all that its ONNX file holds, is \
         imported with --head deterministic, whatever the file; or train without use_sde"
    )]
    StateDependentNoise(String),
    #[error(
        "tensor {name:?} of shape {shape:?} is no affine layer (convolutions and normalisation layers are not read)"
    )]
    NotAffine { name: String, shape: Vec<usize> },
    #[error(
        "has no layers {0}; name the policy's tensors with --prefix, or check that this is the policy file"
    )]
    NoLayers(String),
    #[error(
        "layer {after:?} reads {reads} values but {before:?} gives {gives}; choose the policy's layers with --prefix or --layers"
    )]
    Chain { before: String, gives: usize, after: String, reads: usize },
    #[error(
        "{layer:?} of shape {shape:?} and the others form a chain only if they are [in, out]; weights are [out, in], so \
         transpose them and save again"
    )]
    Transposed { layer: String, shape: [usize; 2] },
    #[error("tensor {0:?} is missing")]
    Missing(String),
    #[error(
        "{} used by no layer and {} not on the list of what may be ignored (spec/import.md); choose the policy's tensors \
         with --prefix or --layers, or name what is no part of it with --ignore", shown(names),
        if names.len() == 1 { "is" } else { "are" }
    )]
    Unread { names: Vec<String> },
    #[error(
        "{} found, but {wanted:?} is not; the file is incomplete, or these belong to no affine layer",
        shown(names)
    )]
    Lost { names: Vec<String>, wanted: String },
    #[error(
        "{layer:?} has no bias: {wanted:?} is missing. If the layers were built without bias (bias=False), say so with \
         --no-bias"
    )]
    NoBias { layer: String, wanted: String },
    #[error(
        "{} {}", shown(names),
        if *masked {
            format!(
                "found for {layer:?}: the file does not say whether the weight is pruned already. Import the mask on its \
                 own with --mask FILE, or save the weight multiplied by its mask"
            )
        } else {
            format!(
                "do not make the weight or bias of {layer:?} by a rule that is known here; remove the parametrisation \
                 (torch.nn.utils.parametrize.remove_parametrizations, prune.remove) and save again"
            )
        }
    )]
    Parametrised { layer: String, names: Vec<String>, masked: bool },
    #[error(
        "{stem:?} is a normalisation layer (LayerNorm, GroupNorm, or a BatchNorm whose place beside its activation the \
         names do not show), which is not read; export the policy as ONNX in evaluation mode"
    )]
    NormLayer { stem: String },
    #[error("{name:?} is of {what}; only chains of affine layers and activations can be certified")]
    Unsupported { name: String, what: &'static str },
    #[error(
        "the order of the layers is not certain: --layers {} or --layers {}",
        in_shell(&first.join(",")),
        in_shell(&second.join(","))
    )]
    TwoOrders { first: Vec<String>, second: Vec<String> },
    #[error(
        "{first:?} and {second:?} may be two networks; choose one with --prefix {} or --prefix {}, or give all layers in \
         order with --layers",
        in_shell(first),
        in_shell(second)
    )]
    TwoNetworks { first: String, second: String },
    #[error(
        "{first:?} and {second:?} both say it; name the one that does not belong to the policy with --ignore"
    )]
    TwoStatistics { first: String, second: String },
    #[error(
        "{stem:?} has the mean and variance of observations, but not what is added to the variance nor where they are \
         clipped; give both (Stable-Baselines3 and Gymnasium: --normaliser-epsilon 1e-8 --clip 10, or --clip none)"
    )]
    Statistics { stem: String },
    #[error("{0:?} may be standard deviations or their logarithms; give the logarithms with --log-std")]
    SigmaOrLog(String),
    #[error("{name:?}: standard deviation {index} is not positive")]
    StoredDeviation { name: String, index: usize },
    #[error(
        "{name:?} is no layer, or several, or given twice; the layers are {}{}",
        known.join(", "),
        did_you_mean(name, known.iter().map(String::as_str))
    )]
    NoSuchLayer { name: String, known: Vec<String> },
    #[error("{option} has no effect: {reason}")]
    NoEffect { option: &'static str, reason: String },
    #[error("{option} {given} contradicts the file, which says {file}")]
    Contradicts { option: &'static str, given: String, file: String },
    #[error(
        "{key:?} is {text:?}, which is no activation for each layer; store one activation for all hidden layers, or one \
         for each, separated by commas"
    )]
    ActivationEntry { key: String, text: String },
    #[error(
        "its setting {key:?} is {text:?}, which --activation and --output-activation do not say; give what the policy \
         computes, or save its tensors alone (torch.save(policy.state_dict(), FILE)) if the setting is not about it"
    )]
    Setting { key: String, text: String },
    #[error("is {what}; {next}")]
    OtherFile { what: String, next: &'static str },
    #[error("tensor {name:?} should have {wanted} entries but has shape {shape:?}")]
    WrongSize { name: String, wanted: usize, shape: Vec<usize> },
    #[error("does not show the activation; give it with --activation (tanh, relu, elu, silu, ...)")]
    NoActivation,
    #[error(
        "activation {0:?} is not bounded here; known are {ACTIVATIONS}: train the policy with one of those, or distil it \
         into one"
    )]
    Activation(String),
    #[error(
        "does not show what its outputs mean; give it with --head (gaussian, categorical or deterministic)"
    )]
    NoHead,
    #[error(
        "a gaussian head needs log standard deviations; give them with --log-std, as numbers or as a .npy file"
    )]
    NoLogStd,
    #[error("{name} is {text:?}, which is no number ({reason})")]
    Number { name: &'static str, text: String, reason: String },
    #[error("distribution {0:?} is not supported (gaussian, categorical or deterministic)")]
    Distribution(String),
    #[error("has a normaliser of its own; give no second one")]
    TwoNormalisers,
    #[error("standard deviation {index} of the normaliser is not positive")]
    Deviation { index: usize },
    #[error("normaliser: {0}")]
    Normaliser(&'static str),
    #[error("is no ONNX model: {0}")]
    Onnx(String),
    #[error("ONNX graph: {0}")]
    OnnxGraph(String),
    #[error("has several outputs; choose one with --output NAME: {described}")]
    SeveralOutputs { names: Vec<String>, described: String },
    #[error("has no output {name:?}; its outputs are {known}")]
    NoSuchOutput { name: String, known: String },
    #[error("ONNX node {node}: {reason}")]
    OnnxNode { node: String, reason: String },
    #[error("ONNX tensor {name:?} lies in another file ({location:?}); {reason}. Save the model as one file")]
    ExternalData { name: String, location: String, reason: &'static str },
    #[error("ONNX tensor {name:?}: {reason}")]
    OnnxTensor { name: String, reason: &'static str },
    #[error("Stable-Baselines3 archive: {0}")]
    StableBaselines(String),
    #[error("as a normaliser: {0}")]
    NormaliserFile(String),
    #[error("has no mask: neither {0:?} nor \"M0\" nor \"layer.0.weight\" is there")]
    NoMask(String),
    #[error("mask {name:?} {reason}")]
    Mask { name: String, reason: &'static str },
    #[error("weight {name:?}, row {row}, column {column}: the pruned value is neither 0 nor the dense value")]
    NotPruned { name: String, row: usize, column: usize },
    #[error("the dense and the pruned policy differ in {0}; only weights may be pruned")]
    NotOnlyPruned(String),
}

/// Names for a message: the first ones, and how many more.
fn shown(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(6).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(first.len());
    let verb = if names.len() == 1 { "is" } else { "are" };
    if more == 0 {
        format!("{} {verb}", first.join(", "))
    } else {
        format!("{} and {more} more {verb}", first.join(", "))
    }
}

/// Reads a file of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// [`Problem::Unreadable`], [`Problem::FileTooLarge`].
pub fn read_capped(path: &Path) -> Result<Vec<u8>, ImportError> {
    read_regular(path, MAX_FILE).map_err(|found| {
        let problem = match found {
            FileProblem::TooLarge { .. } => Problem::FileTooLarge,
            FileProblem::Io(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Problem::Unreadable(format!("there is no such file{}", file_beside(path)))
            }
            FileProblem::Irregular(_) if path.is_dir() => {
                Problem::Unreadable(format!("it is a folder; give the file in it{}", file_inside(path)))
            }
            other => Problem::Unreadable(other.to_string()),
        };
        ImportError { file: path.to_owned(), problem }
    })
}

/// Names of the files in a folder, in their order.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten();
    let files = entries.filter(|e| e.path().is_file());
    let mut names: Vec<String> = files.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The first file of a folder that may hold a policy.
fn file_inside(folder: &Path) -> String {
    let ends = [".onnx", ".zip", ".pt", ".pth", ".safetensors", ".npz", ".pkl"];
    match files_in(folder).iter().find(|name| ends.iter().any(|end| name.ends_with(end))) {
        Some(name) => format!(", such as {}", path_in_shell(&folder.join(name))),
        None => String::new(),
    }
}

/// The file of the same folder whose name is nearest.
fn file_beside(path: &Path) -> String {
    let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    let names = folder.map(files_in).unwrap_or_default();
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {}?", path_in_shell(&path.with_file_name(near))),
        None => String::new(),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn number(name: &'static str, text: &str) -> Result<Rational, Problem> {
    Rational::parse(text).map_err(|e| Problem::Number { name, text: text.to_owned(), reason: e.to_string() })
}
