//! What decided an import, as `policy.json` keeps it: files by role, options by name; and the options back. Untrusted.
//! `spec/certificate-files.md#policy`.

use crate::import::problem::{HeadKind, ImportError, ImportOptions, LogStd, hex, read_capped};
use crate::import::words::did_you_mean;
use crate::policy::ActivationSpec;
use secateur_checker::model::{Source, SourceFile};
use secateur_checker::number::Rational;
use secateur_checker::reader::policy::MAX_NAME;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A recorded option that this version cannot give again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionProblem {
    /// No option has that name.
    #[error("the import was given --{0}, which this version does not know; use the version that imported it")]
    Unknown(String),
    /// The option takes no such value.
    #[error("the import is said to have been given --{name} {value:?}, which is no value of it")]
    Value {
        /// Option.
        name: String,
        /// What is recorded.
        value: String,
    },
}

/// What an import with these options took: the model's bytes are given, the other files are read.
///
/// # Errors
/// [`ImportError`] if one of them cannot be read.
pub(super) fn source_of(path: &Path, model: &[u8], options: &ImportOptions) -> Result<Source, ImportError> {
    let mut files = vec![file_record("model", path, model)];
    let log_std = options.log_std.as_ref().and_then(|stated| match stated {
        LogStd::File(file) => Some(file),
        LogStd::Values(_) => None,
    });
    for (role, file) in [("normaliser", options.normaliser.as_ref()), ("log-std", log_std)] {
        if let Some(file) = file {
            files.push(file_record(role, file, &read_capped(file)?));
        }
    }
    Ok(Source { files, options: recorded(options) })
}

/// Name and digest of a file.
pub(super) fn file_record(role: &'static str, path: &Path, bytes: &[u8]) -> SourceFile {
    SourceFile { role, name: plain_name(path), sha256: digest_of(bytes) }
}

/// Plain SHA-256 in lower-case hexadecimal.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The file's name as a label: what no plain file name has becomes `_`. Files are recognised by their digests.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let mut label: String = name.chars().map(|c| if plain(c) { c } else { '_' }).take(MAX_NAME).collect();
    if label.is_empty() || label.starts_with(['.', '-']) {
        label.insert(0, '_');
        label.truncate(MAX_NAME);
    }
    label
}

/// Value of an option that takes none, or whose files are recorded elsewhere (`mask`: in `chain.json`).
const YES: &str = "yes";

/// The options as the command line takes them, lists separated by commas, in the order of their names; files are recorded
/// by their roles.
fn recorded(options: &ImportOptions) -> Vec<(String, String)> {
    // No `..`: a new option that is not recorded must not compile.
    let ImportOptions {
        head,
        log_std,
        normaliser: _,
        clip,
        activation,
        output_activation,
        prefix,
        output,
        layers,
        ignore,
        no_bias,
        normaliser_epsilon,
        masks_apart,
        action_bounds,
    } = options;
    let flag = |is_given: bool| is_given.then(|| YES.to_owned());
    let numbers = log_std.as_ref().and_then(|stated| match stated {
        LogStd::Values(texts) => Some(texts.join(",")),
        LogStd::File(_) => None,
    });
    let stated = [
        ("action-bounds", action_bounds.as_ref().map(|(low, high)| format!("{low},{high}"))),
        ("activation", activation.as_ref().map(activation_text)),
        ("clip", clip.clone()),
        ("head", head.map(|head| head.word().to_owned())),
        ("ignore", (!ignore.is_empty()).then(|| ignore.join(","))),
        ("layers", layers.as_ref().map(|names| names.join(","))),
        ("log-std", numbers),
        ("mask", flag(*masks_apart)),
        ("no-bias", flag(*no_bias)),
        ("normaliser-epsilon", normaliser_epsilon.clone()),
        ("output", output.clone()),
        ("output-activation", output_activation.as_ref().map(activation_text)),
        ("prefix", prefix.clone()),
    ];
    stated.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The options that [`recorded`] has written; the files are those given here.
///
/// # Errors
/// [`OptionProblem`].
pub(super) fn options_of(
    recorded: &[(String, String)],
    normaliser: Option<PathBuf>,
    log_std: Option<LogStd>,
) -> Result<ImportOptions, OptionProblem> {
    let mut left: BTreeMap<&str, &str> = recorded.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut take = |name: &'static str| left.remove(name).map(|value| Stated { name, value });
    let activation = take("activation");
    let options = ImportOptions {
        head: take("head").map(|o| o.read(HeadKind::from_word)).transpose()?,
        log_std: match take("log-std") {
            Some(numbers) => Some(LogStd::Values(numbers.list())),
            None => log_std,
        },
        normaliser,
        clip: take("clip").map(|o| o.value.to_owned()),
        activation: activation.map(|o| o.read(|t| parse_activation(t).ok())).transpose()?,
        output_activation: take("output-activation")
            .map(|o| o.read(|text| parse_activation(text).ok()))
            .transpose()?,
        prefix: take("prefix").map(|o| o.value.to_owned()),
        output: take("output").map(|o| o.value.to_owned()),
        layers: take("layers").map(Stated::list),
        ignore: take("ignore").map(Stated::list).unwrap_or_default(),
        no_bias: take("no-bias").map(|o| o.read(yes)).transpose()?.is_some(),
        normaliser_epsilon: take("normaliser-epsilon").map(|o| o.value.to_owned()),
        masks_apart: take("mask").map(|o| o.read(yes)).transpose()?.is_some(),
        action_bounds: take("action-bounds").map(|o| o.read(bounds)).transpose()?,
    };
    match left.keys().next() {
        Some(name) => Err(OptionProblem::Unknown((*name).to_owned())),
        None => Ok(options),
    }
}

/// A recorded option.
#[derive(Clone, Copy)]
struct Stated<'a> {
    name: &'static str,
    value: &'a str,
}

fn bounds(value: &str) -> Option<(String, String)> {
    value.split_once(',').map(|(low, high)| (low.to_owned(), high.to_owned()))
}

fn yes(value: &str) -> Option<()> {
    (value == YES).then_some(())
}

impl Stated<'_> {
    fn list(self) -> Vec<String> {
        self.value.split(',').map(str::to_owned).collect()
    }

    fn read<T>(self, read: impl Fn(&str) -> Option<T>) -> Result<T, OptionProblem> {
        let (name, value) = (self.name.to_owned(), self.value.to_owned());
        read(self.value).ok_or(OptionProblem::Value { name, value })
    }
}

impl HeadKind {
    /// The head's word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Categorical => "categorical",
            Self::Deterministic => "deterministic",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Gaussian, Self::Categorical, Self::Deterministic].into_iter().find(|head| head.word() == word)
    }
}

/// An activation as the command line takes it; [`parse_activation`] reads it.
pub fn activation_text(activation: &ActivationSpec) -> String {
    match activation {
        ActivationSpec::Identity => "identity".to_owned(),
        ActivationSpec::Relu => "relu".to_owned(),
        ActivationSpec::Tanh => "tanh".to_owned(),
        ActivationSpec::Sigmoid => "sigmoid".to_owned(),
        ActivationSpec::LeakyRelu(slope) => format!("leaky_relu:{slope}"),
        ActivationSpec::Elu(alpha) => format!("elu:{alpha}"),
        ActivationSpec::Silu => "silu".to_owned(),
        ActivationSpec::Clip(lower, upper) if lower == "-1" && upper == "1" => "hardtanh".to_owned(),
        ActivationSpec::Clip(lower, upper) => format!("clip:{lower}:{upper}"),
    }
}

/// What [`parse_activation`] reads.
pub const ACTIVATIONS: &str = "identity, relu, tanh, sigmoid, elu, elu:ALPHA, silu (swish), hardtanh, \
                               leaky_relu:SLOPE or clip:LOWER:UPPER";

/// An activation by its word: one of [`ACTIVATIONS`]. `elu` has alpha 1; `swish` is `silu`.
///
/// # Errors
/// What is wrong and what is known, in words.
pub fn parse_activation(text: &str) -> Result<ActivationSpec, String> {
    Ok(match text {
        "identity" => ActivationSpec::Identity,
        "relu" => ActivationSpec::Relu,
        "tanh" => ActivationSpec::Tanh,
        "sigmoid" => ActivationSpec::Sigmoid,
        "elu" => ActivationSpec::Elu("1".to_owned()),
        "silu" | "swish" => ActivationSpec::Silu,
        "hardtanh" => ActivationSpec::Clip("-1".to_owned(), "1".to_owned()),
        _ => match text.split(':').collect::<Vec<_>>()[..] {
            ["leaky_relu", slope] => ActivationSpec::LeakyRelu(slope.to_owned()),
            ["elu", alpha] => ActivationSpec::Elu(elu_alpha(alpha)?),
            ["clip", lower, upper] => ActivationSpec::Clip(lower.to_owned(), upper.to_owned()),
            _ => {
                let words = ACTIVATIONS.split([' ', ',', ':', '(', ')']);
                let words = words.filter(|w| w.len() > 2 && w.starts_with(|c: char| c.is_ascii_lowercase()));
                let near = did_you_mean(text.split(':').next().unwrap_or(text), words);
                return Err(format!("one of {ACTIVATIONS}{near}"));
            }
        },
    })
}

/// The alpha of an ELU, as one text for each number.
pub(super) fn elu_alpha(text: &str) -> Result<String, String> {
    let alpha = Rational::parse(text).map_err(|e| format!("the alpha of elu is no number ({e})"))?;
    if !alpha.is_positive() || alpha > Rational::one() {
        return Err(format!("elu is bounded with an alpha above 0 and at most 1, and {text} is not"));
    }
    Ok(alpha.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> ImportOptions {
        ImportOptions {
            head: Some(HeadKind::Gaussian),
            log_std: Some(LogStd::Values(vec!["-0.5".into(), "1e-3".into()])),
            normaliser: Some("n.pkl".into()),
            clip: Some("5/2".into()),
            activation: Some(ActivationSpec::LeakyRelu("0.01".into())),
            output_activation: Some(ActivationSpec::Clip("-2".into(), "1/2".into())),
            prefix: Some("actor, \"x\".".into()),
            layers: Some(vec!["a.0".into(), "a.2".into()]),
            ignore: vec!["ema".into(), "old".into()],
            no_bias: true,
            normaliser_epsilon: Some("1e-8".into()),
            masks_apart: true,
            output: Some("logits".into()),
            action_bounds: Some(("-2".into(), "2".into())),
        }
    }

    #[test]
    fn what_is_recorded_gives_the_options_again() {
        let options = everything();
        let record = recorded(&options);
        let names: Vec<&str> = record.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.is_sorted() && names.len() == 13, "{names:?}");
        assert_eq!(options_of(&record, Some("n.pkl".into()), None), Ok(options));
        assert_eq!(options_of(&[], None, None), Ok(ImportOptions::default()));
        for head in ["gaussian", "categorical", "deterministic"] {
            assert_eq!(HeadKind::from_word(head).map(HeadKind::word), Some(head));
        }
        let plain = ["identity", "relu", "tanh", "sigmoid", "hardtanh", "silu"];
        for text in plain.into_iter().chain(["leaky_relu:1/8", "elu:1/8", "elu:1", "clip:-1:1/2"]) {
            assert_eq!(parse_activation(text).map(|a| activation_text(&a)).as_deref(), Ok(text));
        }
        for (text, same) in [("elu", "elu:1"), ("elu:0.5", "elu:1/2"), ("swish", "silu")] {
            assert_eq!(parse_activation(text).map(|a| activation_text(&a)).as_deref(), Ok(same));
        }
    }

    #[test]
    fn activations_that_are_none_say_what_is_known() {
        for (text, words) in [
            ("swhish", "did you mean swish?"),
            ("ELU", "one of identity, "),
            ("elu:0", "above 0 and at most 1, and 0 is not"),
            ("elu:-1/2", "above 0 and at most 1"),
            ("elu:1.01", "above 0 and at most 1, and 1.01 is not"),
            ("elu:one", "is no number"),
            ("elu:1:1", "one of identity, "),
        ] {
            let said = parse_activation(text).expect_err(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn unknown_options_and_values_are_refused() {
        let option = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let unknown = options_of(&option("dtype", "f16"), None, None);
        assert_eq!(unknown, Err(OptionProblem::Unknown("dtype".into())));
        for (name, value) in [
            ("head", "Gaussian"),
            ("activation", "gelu"),
            ("output-activation", "clip:1"),
            ("no-bias", "1"),
            ("action-bounds", "2"),
        ] {
            let refused = options_of(&option(name, value), None, None);
            assert_eq!(refused, Err(OptionProblem::Value { name: name.into(), value: value.into() }));
        }
    }

    #[test]
    fn any_file_name_makes_a_plain_label() {
        for (name, label) in [
            ("hopper.onnx", "hopper.onnx"),
            ("best model (1).zip", "best_model__1_.zip"),
            (".hidden", "_.hidden"),
            ("-rf", "_-rf"),
            ("\u{00e9}t\u{00e9}\u{1b}", "_t__"),
        ] {
            assert_eq!(plain_name(&Path::new("folder").join(name)), label);
        }
        let long = plain_name(Path::new(&format!(".{}", "x".repeat(250))));
        assert_eq!((long.len(), &long[..3]), (MAX_NAME, "_.x"));
        assert_eq!(plain_name(Path::new("/")), "_");
    }
}
