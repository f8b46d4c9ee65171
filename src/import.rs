//! Foreign policy files to `PolicyData`: safetensors, NPZ, ONNX, PyTorch, Stable-Baselines3. Untrusted: what is read
//! here is written as canonical files, which the checker's reader reads again. `spec/semantics.md#files`.
//!
//! Feed-forward networks of affine layers and activations only: no recurrence, convolution, normalisation layer or
//! residual connection; each is refused by name.

use crate::policy::{ActivationSpec, HeadData, LayerData, NormaliserData, PolicyData, TensorData};
use array::Arrays;
use secateur_checker::load::{FileProblem, read_regular};
use secateur_checker::model::Source;
use secateur_checker::number::Rational;
use std::path::{Path, PathBuf};

pub mod archive;
pub mod array;
pub mod compare;
mod foreign;
pub mod masks;
mod modules;
mod named;
mod names;
mod normaliser;
pub mod npy;
mod observation;
mod onnx;
mod order;
mod pickle;
mod pieces;
mod record;
pub mod reimport;
pub mod safetensors;
mod stable_baselines;
mod torch;

pub use normaliser::read_normaliser;
pub use record::{activation_text, parse_activation};

/// Bytes an imported file may have.
pub const MAX_FILE: usize = 1 << 30;

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
    /// The file's masks are imported on their own ([`masks::import_mask`]): weights are those before pruning.
    pub masks_apart: bool,
    /// Bounds of the action space that squashed actions are scaled to, where a Stable-Baselines3 archive shows none.
    pub action_bounds: Option<(String, String)>,
}

/// A policy and what became of the file's tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The policy.
    pub policy: PolicyData,
    /// Name of each layer's weight in the file, for masks and messages.
    pub names: Vec<String>,
    /// Tensors that the policy is made of. Empty for formats that have no dictionary of tensors.
    pub used: Vec<String>,
    /// Tensors that are no part of the policy, and why.
    pub ignored: Vec<(String, &'static str)>,
    /// Remarks for the person: what was assumed, what is not part of the network, what may be missing.
    pub notes: Vec<String>,
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
    #[error("is an archive with {0} entries, more than {max}", max = archive::MAX_ENTRIES)]
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
         deviation has no certified total variation here. Its mean action is imported with --head deterministic; or \
         train without use_sde"
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
    #[error("the order of the layers is not certain: {} or {}; give it with --layers", first.join(","), second.join(","))]
    TwoOrders { first: Vec<String>, second: Vec<String> },
    #[error(
        "{first:?} and {second:?} may be two networks; choose one with --prefix {first} or --prefix {second}, or give all \
         layers in order with --layers"
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
    #[error("{name:?} is no layer, or several, or given twice; the layers are {}", known.join(", "))]
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
    #[error("does not show the activation; give it with --activation (tanh, relu, ...)")]
    NoActivation,
    #[error("activation {0:?} is not one of identity, relu, leaky_relu, tanh, sigmoid, hardtanh, clip")]
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

/// Imports a policy; the format is told by the file's content, never by its name. Tensors keep their stored bytes.
///
/// # Errors
/// [`ImportError`]; nothing in the file is ever executed, and no other file is opened on its behalf.
pub fn import(path: &Path, options: &ImportOptions) -> Result<PolicyData, ImportError> {
    import_accounted(path, options).map(|imported| imported.policy)
}

/// Imports a policy as [`import`] does, and says what became of each tensor and what may be missing.
///
/// # Errors
/// [`ImportError`].
pub fn import_accounted(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let in_file = |problem| ImportError { file: path.to_owned(), problem };
    let bytes = read_capped(path)?;
    let mut notes = Vec::new();
    let (mut draft, settled) = read_draft(path, &bytes, options, &mut notes).map_err(in_file)?;
    if let Some(file) = &options.normaliser {
        let read = normaliser::read_with_notes(file, options, &mut notes)?;
        if draft.normaliser.as_ref().is_some_and(|own| *own != read) {
            return Err(in_file(Problem::TwoNormalisers));
        }
        draft.normaliser = Some(read);
    }
    if let Some(LogStd::File(file)) = &options.log_std {
        let in_npy = |problem| ImportError { file: file.clone(), problem };
        let array = npy::parse_npy("log_std", &read_capped(file)?).map_err(in_npy)?;
        draft.log_std = Some(array.floats("log_std").map_err(in_npy)?);
    }
    let source = record::source_of(path, &bytes, options)?;
    let mut rest = options.clone();
    if settled {
        // the reader has compared it with what the file says; the last layer may be a scale layer
        rest.output_activation = None;
    }
    if options.normaliser.is_some() {
        rest.normaliser_epsilon = None;
    }
    let names = draft.layers.iter().map(|(name, _)| name.clone()).collect();
    let (used, ignored) = (std::mem::take(&mut draft.used), std::mem::take(&mut draft.ignored));
    let policy = draft.finish(&rest, source).map_err(in_file)?;
    Ok(Imported { policy, names, used, ignored, notes })
}

fn is_stable_baselines(bytes: &[u8]) -> bool {
    archive::is_zip(bytes)
        && archive::entry_names(bytes).is_ok_and(|names| names.iter().any(|name| name == "policy.pth"))
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

/// Arrays of a safetensors or NPZ file, as masks and scores use them.
///
/// # Errors
/// [`ImportError`].
pub fn read_arrays(path: &Path) -> Result<Arrays, ImportError> {
    let bytes = read_capped(path)?;
    let read = foreign::known(&bytes).and_then(|known| known.map_or_else(|| arrays_of(&bytes), Err));
    read.map_err(|problem| ImportError { file: path.to_owned(), problem })
}

fn arrays_of(bytes: &[u8]) -> Result<Arrays, Problem> {
    if archive::is_zip(bytes) {
        return match archive::entry_names(bytes)?.iter().any(|n| n.ends_with(".npy")) {
            true => npy::parse_npz(bytes),
            false => torch::parse_zip(bytes),
        };
    }
    if safetensors::is_safetensors(bytes) {
        return safetensors::parse_safetensors(bytes);
    }
    if pickle::is_pickle(bytes) { torch::parse_legacy(bytes) } else { Err(Problem::UnknownFormat) }
}

fn no_output(options: &ImportOptions) -> Result<(), Problem> {
    let reason = "it chooses an output of an ONNX graph".to_owned();
    if options.output.is_some() { Err(Problem::NoEffect { option: "--output", reason }) } else { Ok(()) }
}

/// The draft, and whether the reader has settled all activations itself.
fn read_draft(
    path: &Path,
    bytes: &[u8],
    options: &ImportOptions,
    notes: &mut Vec<String>,
) -> Result<(Draft, bool), Problem> {
    if let Some(problem) = foreign::known(bytes)? {
        return Err(problem);
    }
    if is_stable_baselines(bytes) {
        no_output(options)?;
        return stable_baselines::parse(path, bytes, options, notes).map(|draft| (draft, true));
    }
    if options.action_bounds.is_some() {
        let reason = "the file is no Stable-Baselines3 archive".to_owned();
        return Err(Problem::NoEffect { option: "--action-bounds", reason });
    }
    let pickled = pickle::is_pickle(bytes) || archive::is_zip(bytes) && torch::is_checkpoint(bytes)?;
    if pickled && let Some(problem) = torch::no_policy(bytes)? {
        return Err(problem);
    }
    if !pickled && pickle::is_old_pickle(bytes) {
        let (read, root, _) = pickle::Pickle::parse(bytes, 0)?;
        return Err(foreign::pickle(&read, root));
    }
    match arrays_of(bytes) {
        Err(Problem::UnknownFormat) => onnx::parse(bytes, options),
        Ok(arrays) => no_output(options).and_then(|()| named::draft(&arrays, options)),
        Err(other) => Err(other),
    }
    .map(|draft| (draft, false))
}

/// Reads a file of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// [`Problem::Unreadable`], [`Problem::FileTooLarge`].
pub fn read_capped(path: &Path) -> Result<Vec<u8>, ImportError> {
    read_regular(path, MAX_FILE).map_err(|found| {
        let problem = match found {
            FileProblem::TooLarge { .. } => Problem::FileTooLarge,
            other => Problem::Unreadable(other.to_string()),
        };
        ImportError { file: path.to_owned(), problem }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A policy before its head and shapes were settled.
#[derive(Default)]
struct Draft {
    /// Layers with the names messages use.
    layers: Vec<(String, LayerData)>,
    head: Option<HeadKind>,
    log_std: Option<TensorData>,
    normaliser: Option<NormaliserData>,
    /// Tensors that it is made of, where the file is a dictionary of tensors.
    used: Vec<String>,
    /// Tensors that are no part of it, and why.
    ignored: Vec<(String, &'static str)>,
}

impl Draft {
    /// Settles the head, tests every shape and every number.
    fn finish(mut self, options: &ImportOptions, source: Source) -> Result<PolicyData, Problem> {
        let (inputs, outputs) = self.check_chain()?;
        self.settle_output(options)?;
        if let Some(LogStd::Values(texts)) = &options.log_std {
            self.log_std = Some(log_std_of(texts, outputs)?);
        }
        let head = self.settle_head(options, outputs)?;
        if options.log_std.is_some() && !matches!(head, HeadData::Gaussian { .. }) {
            let reason = "only a gaussian head has standard deviations".to_owned();
            return Err(Problem::NoEffect { option: "--log-std", reason });
        }
        if let Some(normaliser) = &mut self.normaliser {
            if let Some(clip) = &options.clip {
                normaliser.clip = Some(clip.clone()).filter(|text| !observation::none(text));
            }
            check_normaliser(normaliser, inputs)?;
        } else if options.clip.is_some() || options.normaliser_epsilon.is_some() {
            let option = if options.clip.is_some() { "--clip" } else { "--normaliser-epsilon" };
            let reason = "there is no normaliser; give one with --normaliser FILE".to_owned();
            return Err(Problem::NoEffect { option, reason });
        }
        let layers = self.layers.into_iter().map(|(_, layer)| layer).collect();
        Ok(PolicyData { layers, head, normaliser: self.normaliser, source: Some(source) })
    }

    /// The activation of the last layer that is no scale layer; one that the file says is never replaced.
    fn settle_output(&mut self, options: &ImportOptions) -> Result<(), Problem> {
        let last = self.layers.iter_mut().rev().find(|(_, layer)| !layer.fixed);
        let (Some(stated), Some((_, last))) = (&options.output_activation, last) else { return Ok(()) };
        if last.activation != ActivationSpec::Identity && last.activation != *stated {
            let (given, file) = (format!("{stated:?}"), format!("{:?}", last.activation));
            return Err(Problem::Contradicts { option: "--output-activation", given, file });
        }
        last.activation = stated.clone();
        Ok(())
    }

    fn check_chain(&self) -> Result<(usize, usize), Problem> {
        let mut gives: Option<(&str, usize)> = None;
        let mut inputs = 0;
        for (name, layer) in &self.layers {
            let &[rows, columns] = layer.weight.shape.as_slice() else {
                return Err(Problem::NotAffine { name: name.clone(), shape: layer.weight.shape.clone() });
            };
            if rows == 0 || columns == 0 || !layer.weight.is_consistent() || !layer.bias.is_consistent() {
                return Err(Problem::NotAffine { name: name.clone(), shape: layer.weight.shape.clone() });
            }
            match gives {
                None => inputs = columns,
                Some((_, width)) if width == columns => {}
                Some((before, gives)) => {
                    let (before, after) = (before.to_owned(), name.clone());
                    return Err(Problem::Chain { before, gives, after, reads: columns });
                }
            }
            expect_size(&format!("{name} bias"), &layer.bias, rows)?;
            expect_finite(name, &layer.weight)?;
            expect_finite(&format!("{name} bias"), &layer.bias)?;
            gives = Some((name, rows));
        }
        let (_, outputs) = gives.ok_or_else(|| Problem::NoLayers("at all".into()))?;
        Ok((inputs, outputs))
    }

    fn settle_head(&self, options: &ImportOptions, outputs: usize) -> Result<HeadData, Problem> {
        match options.head.or(self.head).ok_or(Problem::NoHead)? {
            HeadKind::Categorical => Ok(HeadData::Categorical),
            HeadKind::Deterministic => Ok(HeadData::Deterministic),
            HeadKind::Gaussian => {
                let mut log_std = self.log_std.clone().ok_or(Problem::NoLogStd)?;
                if log_std.shape.len() > 1 && log_std.shape != [1, outputs] {
                    return Err(Problem::StateDependentNoise(format!(
                        "log_std of shape {:?}",
                        log_std.shape
                    )));
                }
                log_std.shape = vec![log_std.entries()];
                expect_size("log_std", &log_std, outputs)?;
                expect_finite("log_std", &log_std)?;
                Ok(HeadData::Gaussian { log_std })
            }
        }
    }
}

fn check_normaliser(normaliser: &NormaliserData, inputs: usize) -> Result<(), Problem> {
    expect_size("normaliser mean", &normaliser.mean, inputs)?;
    let scaling = normaliser.scaling.tensor();
    expect_size("normaliser std", scaling, inputs)?;
    expect_finite("normaliser mean", &normaliser.mean)?;
    expect_finite("normaliser std", scaling)?;
    if let Some(index) = scaling.floats().iter().position(|&std| std <= 0.0) {
        return Err(Problem::Deviation { index });
    }
    match &normaliser.clip {
        Some(clip) if !number("normaliser clip", clip)?.is_positive() => {
            Err(Problem::Normaliser("its clip radius is not positive"))
        }
        _ => Ok(()),
    }
}

fn number(name: &'static str, text: &str) -> Result<Rational, Problem> {
    Rational::parse(text).map_err(|e| Problem::Number { name, text: text.to_owned(), reason: e.to_string() })
}

fn log_std_of(texts: &[String], outputs: usize) -> Result<TensorData, Problem> {
    let bad = |text: &String, reason: String| Problem::Number { name: "log_std", text: text.clone(), reason };
    let values: Result<Vec<f64>, Problem> =
        texts.iter().map(|t| t.parse().map_err(|e| bad(t, format!("{e}")))).collect();
    let mut values = values?;
    if let [only] = values[..] {
        values = vec![only; outputs];
    }
    Ok(TensorData::from_f64(vec![values.len()], &values))
}

fn expect_size(name: &str, tensor: &TensorData, wanted: usize) -> Result<(), Problem> {
    if tensor.shape == [wanted] && tensor.is_consistent() {
        return Ok(());
    }
    Err(Problem::WrongSize { name: name.to_owned(), wanted, shape: tensor.shape.clone() })
}

fn expect_finite(name: &str, tensor: &TensorData) -> Result<(), Problem> {
    tensor.dyadics().map(|_| ()).map_err(|index| Problem::NotFinite { name: name.to_owned(), index })
}

/// An activation by the name frameworks give it.
fn activation_named(name: &str) -> Result<ActivationSpec, Problem> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "identity" | "linear" => ActivationSpec::Identity,
        "relu" => ActivationSpec::Relu,
        "tanh" => ActivationSpec::Tanh,
        "sigmoid" => ActivationSpec::Sigmoid,
        "hardtanh" => ActivationSpec::Clip("-1".into(), "1".into()),
        // PyTorch's default slope, as its documentation writes it
        "leakyrelu" | "leaky_relu" => ActivationSpec::LeakyRelu("0.01".into()),
        _ => return Err(Problem::Activation(name.to_owned())),
    })
}
