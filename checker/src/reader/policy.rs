//! `policy.json` with `policy.safetensors`: network, head and normaliser, every shape checked.
//! Trusted. `spec/certificate-files.md#policy`.

use std::collections::BTreeSet;

use super::clause::{Clause, Part};
use super::fields::{Document, Field, Fields};
use super::json::Numbers;
use super::names::Names;
use super::record::Read;
use super::safetensors::Safetensors;
use super::tensor::{MAX_ENTRIES, MAX_WIDTH, RawTensor};
use crate::model::{
    Activation, Head, Layer, Matrix, Network, Normaliser, Policy, SOURCE_ROLES, Source, SourceFile,
};
use crate::number::{Dyadic, Rational};

/// Value of `format` in `policy.json`.
pub(crate) const FORMAT: &str = "secateur.policy/1";
/// Longest manifest, in bytes.
pub const MAX_MANIFEST: usize = 1 << 20;
/// Most layers.
pub const MAX_LAYERS: usize = 64;
/// Longest tensor or file name, in bytes.
pub const MAX_NAME: usize = 200;
/// Most options of an import.
pub(crate) const MAX_OPTIONS: usize = 32;
/// Longest value of one, in bytes.
pub(crate) const MAX_OPTION: usize = 1 << 16;

/// A policy and the names its tensors have in the file; masks use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFiles {
    /// The policy.
    pub policy: Policy,
    /// What its inputs and outputs are called.
    pub names: Option<Names>,
    /// Tensor name of each layer's weight, in layer order.
    pub weight_names: Vec<String>,
    /// Names of all tensors that no mask may touch: biases, `log_std`, normaliser, weights of fixed layers.
    pub fixed_names: BTreeSet<String>,
}

/// Parses a policy directory's two files.
///
/// Shapes: weights out x in, each layer's columns equal to the rows of the one before, biases and `log_std` as long as
/// the rows they belong to, mean and std as long as the observation. Numbers are kept exactly as stored.
///
/// # Errors
/// [`Clause`], one variant per clause of the format.
pub fn parse_policy(manifest: &[u8], tensors: &[u8]) -> Result<PolicyFiles, Clause> {
    let document = Document::parse(manifest, MAX_MANIFEST, Numbers::Refused, Part::PolicyManifest)?;
    let file = Safetensors::parse(tensors).map_err(in_tensors)?;
    let mut reader = Reader { file, used: BTreeSet::new(), entries: 0 };
    let mut fields = document.root().object()?;
    fields.required("format")?.word(FORMAT)?;
    // The head comes first: a policy that is not supported at all should say so before its shapes are judged.
    let (mut head, log_std_name) = parse_head(&fields.required("head")?)?;
    let (layers, weight_names) = parse_layers(&fields.required("layers")?, &mut reader)?;
    if layers.iter().all(|layer| layer.fixed) {
        return Err(Clause::AllFixed);
    }
    let network = Network { layers };
    if let Head::Gaussian { log_std } = &mut head {
        *log_std = read_log_std(log_std_name, network.outputs(), &mut reader)?;
    }
    let normaliser = fields.optional("normaliser");
    let normaliser = normaliser.map(|n| parse_normaliser(&n, network.inputs(), &mut reader)).transpose()?;
    let source = fields.optional("source").map(|s| parse_source(&s)).transpose()?;
    let names = fields.optional("names").map(|n| parse_names(&n, &network)).transpose()?;
    fields.finish()?;
    if let Some(name) = reader.file.names().find(|name| !reader.used.contains(*name)) {
        return Err(Clause::UnnamedTensor { name: name.into() });
    }
    let is_weight = |name: &String| {
        // One name a layer: `parse_layers` makes both lists.
        let layers = weight_names.iter().zip(&network.layers);
        layers.into_iter().any(|(weight, layer)| weight == name && !layer.fixed)
    };
    let fixed_names = reader.used.into_iter().filter(|name| !is_weight(name)).collect();
    let policy = Policy { network, head, normaliser, source };
    Ok(PolicyFiles { policy, names, weight_names, fixed_names })
}

fn in_tensors(clause: Clause) -> Clause {
    clause.within(Part::PolicyTensors)
}

/// The tensor file, the names that were asked for, and how many numbers they hold.
struct Reader<'a> {
    file: Safetensors<'a>,
    used: BTreeSet<String>,
    entries: usize,
}

impl<'a> Reader<'a> {
    fn tensor(&mut self, name: &str) -> Result<&RawTensor<'a>, Clause> {
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Clause::UnsafeName { name: name.into() });
        }
        if !self.used.insert(name.to_owned()) {
            return Err(Clause::RepeatedName { name: name.into() });
        }
        let tensor = self.file.tensor(name).map_err(in_tensors)?;
        let entries = tensor.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        self.entries = entries.and_then(|n| n.checked_add(self.entries)).ok_or(Clause::PolicyTooLarge)?;
        if self.entries > MAX_ENTRIES {
            return Err(Clause::PolicyTooLarge);
        }
        Ok(tensor)
    }

    fn vector(&mut self, name: &str, expected: usize) -> Result<Vec<Dyadic>, Clause> {
        let values = self.tensor(name)?.vector().map_err(in_tensors)?;
        if values.len() != expected {
            return Err(Clause::LengthMismatch { name: name.into(), expected, found: values.len() });
        }
        Ok(values)
    }
}

fn parse_layers(field: &Field<'_>, reader: &mut Reader<'_>) -> Result<(Vec<Layer>, Vec<String>), Clause> {
    let items = field.array()?;
    if items.is_empty() {
        return Err(Clause::NoLayers);
    }
    if items.len() > MAX_LAYERS {
        return Err(Clause::TooManyLayers { found: items.len() });
    }
    let (mut layers, mut names) = (Vec::new(), Vec::new());
    let mut before = None;
    for (index, item) in items.iter().enumerate() {
        let mut fields = item.object()?;
        let name = fields.required("weight")?.string()?;
        let bias = fields.required("bias")?.string()?;
        let activation = parse_activation(&fields.required("activation")?)?;
        let fixed = fields.optional("fixed").map(|f| f.boolean()).transpose()?.unwrap_or(false);
        fields.finish()?;
        let weight = reader.tensor(name)?.matrix().map_err(in_tensors)?;
        for width in [weight.columns, weight.rows] {
            if width == 0 || width > MAX_WIDTH {
                return Err(Clause::LayerWidth { layer: index, width });
            }
        }
        let expected = before.replace(weight.rows).unwrap_or(weight.columns);
        if weight.columns != expected {
            return Err(Clause::WidthMismatch { layer: index, expected, found: weight.columns });
        }
        if fixed && !is_diagonal(&weight) {
            return Err(Clause::FixedNotDiagonal { layer: index });
        }
        let bias = reader.vector(bias, weight.rows)?;
        layers.push(Layer { weight, bias, activation, fixed });
        names.push(name.to_owned());
    }
    Ok((layers, names))
}

/// Whether a matrix is square with zeros off its diagonal.
fn is_diagonal(weight: &Matrix) -> bool {
    let rows = weight.values.chunks(weight.columns.max(1)).enumerate();
    let off = |(row, entries): (usize, &[Dyadic])| {
        entries.iter().enumerate().any(|(column, entry)| column != row && !entry.is_zero())
    };
    weight.rows == weight.columns && !rows.into_iter().any(off)
}

/// Reads `"relu"` and the like, or an object with the parameters of `leaky_relu` and `clip`.
fn parse_activation(field: &Field<'_>) -> Result<Activation, Clause> {
    const KNOWN: &str =
        "identity, relu, tanh, sigmoid, silu, hardtanh, or an object of kind leaky_relu, elu or clip";
    if let Ok(word) = field.string() {
        return Ok(match word {
            "identity" => Activation::Identity,
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            "sigmoid" => Activation::Sigmoid,
            "silu" => Activation::Silu,
            "hardtanh" => Activation::Clip { lower: Rational::one().neg(), upper: Rational::one() },
            _ => return Err(field.unknown_word(KNOWN)),
        });
    }
    let mut fields = field.object()?;
    let kind = fields.required("kind")?;
    let mut parameter = |key, expected, least: fn(&Rational) -> bool| {
        let place = fields.required(key)?;
        place.allowed(place.rational()?, expected, |number| least(number) && *number <= Rational::one())
    };
    let activation = match kind.string()? {
        "leaky_relu" => {
            let slope = parameter("slope", "a slope in [0, 1]", |slope| !slope.is_negative())?;
            Activation::LeakyRelu { slope }
        }
        "elu" => Activation::Elu { alpha: parameter("alpha", "an alpha in (0, 1]", Rational::is_positive)? },
        "clip" => {
            let lower = fields.required("lower")?.rational()?;
            let place = fields.required("upper")?;
            let upper = place.allowed(place.rational()?, "above lower", |upper| *upper > lower)?;
            Activation::Clip { lower, upper }
        }
        _ => return Err(kind.unknown_word("leaky_relu, elu or clip")),
    };
    fields.finish()?;
    Ok(activation)
}

/// A head as the manifest spells it; of a Gaussian, whose numbers are read later, with the name of their tensor.
fn parse_head<'a>(field: &Field<'a>) -> Result<(Head, &'a str), Clause> {
    let mut fields = field.object()?;
    let kind = fields.required("kind")?;
    let head = match kind.string()? {
        "gaussian" => (Head::Gaussian { log_std: Vec::new() }, fields.required("logStd")?.string()?),
        "categorical" => (Head::Categorical, ""),
        "deterministic" => (Head::Deterministic, ""),
        // Refused whatever else the object holds.
        "gsde" => return Err(Clause::StateDependentStd),
        "squashed_gaussian" => return Err(Clause::SquashedGaussian),
        "recurrent" => return Err(Clause::Recurrent),
        _ => return Err(kind.unknown_word("gaussian, categorical or deterministic")),
    };
    fields.finish()?;
    Ok(head)
}

fn read_log_std(name: &str, outputs: usize, reader: &mut Reader<'_>) -> Result<Vec<Dyadic>, Clause> {
    reader.vector(name, outputs).map_err(|clause| match clause.condition() {
        Clause::WrongRank { found: 2, .. } => Clause::StateDependentStd,
        _ => clause,
    })
}

fn parse_normaliser(field: &Field<'_>, inputs: usize, reader: &mut Reader<'_>) -> Result<Normaliser, Clause> {
    let mut fields = field.object()?;
    let mean = fields.required("mean")?.string()?;
    let (name, is_factor) = match fields.optional("factor") {
        Some(place) => (place.string()?, true),
        None => (fields.required("std")?.string()?, false),
    };
    let clip = fields.optional("clip");
    let clip =
        clip.map(|place| place.allowed(place.rational()?, "positive", Rational::is_positive)).transpose()?;
    fields.finish()?;
    let mean = reader.vector(mean, inputs)?;
    let stored = reader.vector(name, inputs)?;
    let std = stored.iter().enumerate().map(|(index, entry)| {
        let (value, one) = (entry.to_rational(), Rational::one());
        let std = if is_factor { one.div(&value).ok() } else { Some(value) };
        std.filter(Rational::is_positive).ok_or(Clause::StdNotPositive { index })
    });
    let std = std.collect::<Result<Vec<_>, _>>()?;
    Ok(Normaliser { mean, std, clip })
}

fn parse_names(field: &Field<'_>, network: &Network) -> Result<Names, Clause> {
    let names = Names::read(field)?;
    names.check(network.inputs(), network.outputs()).map_err(|clause| field.clause(clause))?;
    Ok(names)
}

fn parse_source(field: &Field<'_>) -> Result<Source, Clause> {
    let mut fields = field.object()?;
    let [legacy, model, others @ ..] = SOURCE_ROLES;
    let Some(place) = fields.optional("files") else {
        return Ok(Source { files: vec![parse_source_file(legacy, fields)?], options: Vec::new() });
    };
    let mut listed = place.object()?;
    let mut files = vec![parse_source_file(model, listed.required(model)?.object()?)?];
    for role in others {
        if let Some(file) = listed.optional(role) {
            files.push(parse_source_file(role, file.object()?)?);
        }
    }
    listed.finish()?;
    let place = fields.required("options")?;
    let entries = place.allowed(place.entries()?, "at most 32 options", |all| all.len() <= MAX_OPTIONS)?;
    let options = entries.iter().map(|(name, place)| {
        let value = place.string()?;
        place.allowed(name, "an option with a plain name", |name| is_plain_file_name(name))?;
        place.allowed(value, "at most 65536 bytes long", |value| value.len() <= MAX_OPTION)?;
        Ok(((*name).to_owned(), value.to_owned()))
    });
    let options = options.collect::<Result<_, Clause>>()?;
    fields.finish()?;
    Ok(Source { files, options })
}

/// A plain file name and a SHA-256, and nothing else.
pub(super) fn parse_source_file(role: &'static str, mut fields: Fields<'_>) -> Result<SourceFile, Clause> {
    let mut text = |key, expected, test: fn(&str) -> bool| {
        let place = fields.required(key)?;
        let text = place.string()?;
        if test(text) { Ok(text.to_owned()) } else { Err(place.unknown_word(expected)) }
    };
    let name = text("name", "a plain file name", is_plain_file_name)?;
    let sha256 = text("sha256", "64 lower-case hexadecimal digits", is_hex_digest)?;
    fields.finish()?;
    Ok(SourceFile { role, name, sha256 })
}

/// Whether a text is a plain SHA-256: 64 lower-case hexadecimal digits.
pub(crate) fn is_hex_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a name denotes a file beside the one that names it: 1 to [`MAX_NAME`] of `A-Z a-z 0-9 . _ - +`, not
/// beginning with a dot or a hyphen.
pub(crate) fn is_plain_file_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

#[cfg(test)]
pub(super) mod tests;
