//! The files of a question: read, or named for what they are where they are something else. Untrusted.
//! `spec/semantics.md#files`.

use std::path::Path;

use secateur_checker::load::load_policy;
use secateur_checker::reader::certificate::FileDigest;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::mask::parse_mask;
use secateur_checker::reader::property::{NamedNetwork, Property, parse_property};

use crate::cli::context::CliError;
use crate::cli::option::networks::GivenNetwork;
use crate::export::pruned_files;
use crate::import::read_capped;
use crate::property::several::{DeclaredNetwork, NetworkRelation, Several};
use crate::property::vnnlib::{Asked, parse_property_text};
use crate::verify::QuestionNetwork;

/// First bytes, what they begin, and what to do.
type Magic = (&'static [u8], &'static str, &'static str);

const PACKED: [Magic; 4] = [
    (b"\x1f\x8b", "is compressed by gzip", "unpack it first: gunzip --keep"),
    (b"BZh", "is compressed by bzip2", "unpack it first: bunzip2 --keep"),
    (b"\xfd7zXZ\x00", "is compressed by xz", "unpack it first: unxz --keep"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd", "unpack it first: unzstd"),
];

const NO_PROPERTY: [Magic; 5] = [
    (b"PK\x03\x04", "is a zip archive", "unpack it first and give the .vnnlib file in it"),
    (b"\x08", "looks like an ONNX model", "the order is: verify NETWORK PROPERTY; swap them for"),
    (b"\xff\xfe", "is UTF-16 text", "save it as UTF-8 or ASCII"),
    (b"\xfe\xff", "is UTF-16 text", "save it as UTF-8 or ASCII"),
    (b"\xef\xbb\xbf", "begins with a byte order mark", "save it as UTF-8 without one"),
];

fn refuse(path: &Path, bytes: &[u8], magics: &[Magic]) -> Result<(), CliError> {
    match magics.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        Some((_, what, action)) => {
            let path = path.display();
            Err(CliError::input(format!("{path}: {what}, which is not read; {action} {path}")))
        }
        None => Ok(()),
    }
}

/// The bytes of a network file.
///
/// # Errors
/// Exit code 2 for a file that cannot be read or is compressed.
pub fn read_network(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = read_capped(path).map_err(CliError::input)?;
    refuse(path, &bytes, &PACKED)?;
    Ok(bytes)
}

/// What a property file asks.
pub enum AskedProperty {
    /// Of one network.
    One(Property),
    /// Of networks that it declares.
    Several(Several),
    /// A canonical property file that names its networks.
    Named(Property),
}

/// The bytes of a property file and what it asks.
///
/// # Errors
/// Exit code 2, with the place in the file or what the file is.
pub fn read_property(path: &Path) -> Result<(Vec<u8>, AskedProperty), CliError> {
    let bytes = read_capped(path).map_err(CliError::input)?;
    refuse(path, &bytes, &PACKED)?;
    refuse(path, &bytes, &NO_PROPERTY)?;
    let wrong = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    if bytes.starts_with(b"{") {
        let property = parse_property(&bytes).map_err(|e| wrong(&e))?;
        let named = !property.networks.is_empty();
        return Ok((
            bytes,
            if named { AskedProperty::Named(property) } else { AskedProperty::One(property) },
        ));
    }
    // Comments may be in any encoding; anywhere else the replacement character is refused with its place.
    let text = String::from_utf8_lossy(&bytes);
    let asked = match parse_property_text(&text).map_err(|e| wrong(&e))? {
        Asked::One(one) => AskedProperty::One(Property { cases: one.cases, networks: Vec::new() }),
        Asked::Several(several) => AskedProperty::Several(several),
    };
    Ok((bytes, asked))
}

impl AskedProperty {
    /// Names of the networks; none of a property of one.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::One(_) => Vec::new(),
            Self::Several(several) => several.networks.iter().map(|network| network.name.as_str()).collect(),
            Self::Named(named) => named.networks.iter().map(|network| network.name.as_str()).collect(),
        }
    }

    /// The property, if it is about one network without a name.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn of_one(self) -> Result<Property, CliError> {
        let names =
            self.names().iter().map(|name| format!("--network {}=PATH", Escaped(name))).collect::<Vec<_>>();
        match self {
            Self::One(property) => Ok(property),
            Self::Several(_) | Self::Named(_) => Err(CliError::input(format!(
                "the property names its networks: give {} and no other network",
                names.join(" ")
            ))),
        }
    }

    /// The networks in the property's order, and the property. Of a network that is declared equal to another the file need
    /// not be given.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn of_named(
        self,
        given: &[GivenNetwork],
        inputs: &mut Vec<FileDigest>,
    ) -> Result<(Vec<QuestionNetwork>, Property), CliError> {
        let names = self.names();
        if names.is_empty() {
            return Err(CliError::input(
                "the property is about one network: give it as NETWORK, without --network",
            ));
        }
        if let Some(extra) = given.iter().find(|network| !names.contains(&network.name.as_str())) {
            let (name, known) = (Escaped(&extra.name), names.join(", "));
            return Err(CliError::input(format!("--network {name}: the property names {known}")));
        }
        let relations = match &self {
            Self::Several(several) => several.networks.iter().map(|n| n.relation).collect(),
            Self::One(_) | Self::Named(_) => vec![None; names.len()],
        };
        let mut networks: Vec<QuestionNetwork> = Vec::new();
        for (name, relation) in names.iter().zip(&relations) {
            let own = given.iter().find(|network| network.name == *name);
            let network = match (own, relation) {
                (Some(own), _) => read_named(own, inputs)?,
                (None, Some(NetworkRelation::EqualTo(other))) => {
                    let other = &networks[*other];
                    QuestionNetwork::new(other.manifest.clone(), other.tensors.clone())
                        .map_err(CliError::input)?
                }
                (None, _) => {
                    return Err(CliError::input(format!(
                        "the property names {0}: give --network {0}=PATH",
                        Escaped(name)
                    )));
                }
            };
            related(name, &network, *relation, &networks)?;
            networks.push(network);
        }
        let property = match self {
            Self::Several(several) => property_of(&several, &networks)?,
            Self::Named(property) | Self::One(property) => property,
        };
        Ok((networks, property))
    }
}

/// The files of a named network, its mask applied.
///
/// # Errors
/// Exit code 2.
pub fn read_named(given: &GivenNetwork, inputs: &mut Vec<FileDigest>) -> Result<QuestionNetwork, CliError> {
    let Some(mask) = &given.mask else { return super::read_network(&given.path, inputs) };
    read_masked(&given.path, mask, inputs)
}

/// The files of a policy directory under a mask.
///
/// # Errors
/// Exit code 2.
pub fn read_masked(
    policy: &Path,
    mask: &Path,
    inputs: &mut Vec<FileDigest>,
) -> Result<QuestionNetwork, CliError> {
    let policy = load_policy(policy).map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?;
    let bytes = read_capped(mask).map_err(CliError::input)?;
    let parsed = parse_mask(&bytes, &policy.files);
    let parsed = parsed.map_err(|e| CliError::input(format!("{}: {e}", mask.display())))?;
    inputs.push(super::record("mask", mask, &bytes));
    let (manifest, tensors) = pruned_files(&policy, &parsed).map_err(CliError::internal)?;
    QuestionNetwork::new(manifest, tensors).map_err(CliError::input)
}

/// Whether a network is to an earlier one what the property says.
fn related(
    name: &str,
    network: &QuestionNetwork,
    relation: Option<NetworkRelation>,
    earlier: &[QuestionNetwork],
) -> Result<(), CliError> {
    let shape = |network: &QuestionNetwork| {
        let layers = network.files.policy.network.layers.iter();
        layers.map(|l| (l.weight.rows, l.weight.columns, l.activation.clone())).collect::<Vec<_>>()
    };
    let wrong = match relation {
        Some(NetworkRelation::EqualTo(other))
            if earlier[other].files.policy.network != network.files.policy.network =>
        {
            "equal to another network than the one given"
        }
        Some(NetworkRelation::IsomorphicTo(other)) if shape(&earlier[other]) != shape(network) => {
            "isomorphic to a network of other layers"
        }
        _ => return Ok(()),
    };
    Err(CliError::input(format!("the property declares {} {wrong}", Escaped(name))))
}

/// The canonical property, once the networks are known to have the inputs and outputs declared.
fn property_of(several: &Several, networks: &[QuestionNetwork]) -> Result<Property, CliError> {
    for (declared, network) in several.networks.iter().zip(networks) {
        let network = &network.files.policy.network;
        let (found, wanted) =
            ((network.inputs(), network.outputs()), (declared.input.len(), declared.output.len()));
        if found != wanted {
            return Err(CliError::input(format!(
                "the property declares {} with {} inputs and {} outputs; the network given has {} and {}",
                Escaped(&declared.name),
                wanted.0,
                wanted.1,
                found.0,
                found.1
            )));
        }
    }
    let (outputs, carries) = (several.outputs(), several.constrains_variables());
    let mut cases = several.relaxed();
    if !carries {
        let constraints = cases.iter_mut().flat_map(|case| &mut case.constraints);
        constraints.for_each(|constraint| constraint.coefficients.truncate(outputs));
    }
    let named = |n: &DeclaredNetwork| NamedNetwork { name: n.name.clone(), reads: n.reads.clone() };
    Ok(Property { cases, networks: several.networks.iter().map(named).collect() })
}
