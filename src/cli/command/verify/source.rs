//! The files of a question: read, or named for what they are where they are something else. Untrusted.
//! `spec/semantics.md#files`.

use std::path::Path;

use secateur_checker::load::load_policy;
use secateur_checker::reader::certificate::FileDigest;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::mask::parse_mask;
use secateur_checker::reader::policy::{PolicyFiles, parse_policy};
use secateur_checker::reader::property::{NamedNetwork, Property, parse_property};

use crate::cli::context::CliError;
use crate::cli::option::networks::GivenNetwork;
use crate::export::pruned_files;
use crate::import::{HeadKind, ImportOptions, import_bytes, read_capped, read_unpacked};
use crate::policy::PolicyData;
use crate::policy::emit::{emit_manifest, emit_tensors};
use crate::property::several::{DeclaredNetwork, NetworkRelation, Several};
use crate::property::vnnlib::{Asked, Case, parse_as_several, parse_property_text};
use crate::verify::QuestionNetwork;

/// First bytes, what they begin, and what to do.
type Magic = (&'static [u8], &'static str, &'static str);

const PACKED: [Magic; 3] = [
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

/// The bytes of a network file, unpacked if it is compressed by gzip.
///
/// # Errors
/// Exit code 2 for a file that cannot be read or is compressed otherwise.
pub fn read_network(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = read_unpacked(path).map_err(CliError::input)?;
    refuse(path, &bytes, &PACKED)?;
    Ok(bytes)
}

/// What a property file asks.
pub enum AskedProperty {
    /// VNN-LIB.
    Text(Asked),
    /// A canonical property file.
    Canonical(Property),
}

/// A property, and each of its cases tightened where some comparison is strict.
pub struct Stated {
    /// The property.
    pub property: Property,
    /// As [`Question::tightened`](crate::verify::Question::tightened) takes them.
    pub tightened: Option<Vec<Option<Case>>>,
}

/// The bytes of a property file and what it asks, of one network or of several; also of a canonical property file.
///
/// # Errors
/// As [`read_property`].
pub fn read_asked(path: &Path) -> Result<(Vec<u8>, AskedProperty), CliError> {
    let bytes = property_bytes(path)?;
    if !bytes.starts_with(b"{") {
        let (bytes, asked) = read_property(path)?;
        return Ok((bytes, AskedProperty::Text(asked)));
    }
    let property = parse_property(&bytes).map_err(|e| CliError::input(format!("{}: {e}", path.display())))?;
    Ok((bytes, AskedProperty::Canonical(property)))
}

impl AskedProperty {
    /// Names of the networks; none of a property of one.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Text(Asked::One(_)) => Vec::new(),
            Self::Text(Asked::Several(several)) => several.networks.iter().map(|n| n.name.as_str()).collect(),
            Self::Canonical(property) => property.networks.iter().map(|n| n.name.as_str()).collect(),
        }
    }

    /// The property, if it is about one network without a name.
    ///
    /// # Errors
    /// Exit code 2.
    pub fn of_one(self) -> Result<Stated, CliError> {
        let names = self.names().iter().map(|n| format!("--network {}=PATH", Escaped(n))).collect::<Vec<_>>();
        match self {
            Self::Text(Asked::One(one)) => {
                let property = Property { cases: one.cases, networks: Vec::new() };
                Ok(Stated { property, tightened: one.tightened })
            }
            Self::Canonical(property) if names.is_empty() => Ok(Stated { property, tightened: None }),
            Self::Text(Asked::Several(_)) | Self::Canonical(_) => Err(CliError::input(format!(
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
    ) -> Result<(Vec<QuestionNetwork>, Stated), CliError> {
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
            Self::Text(Asked::Several(several)) => several.networks.iter().map(|n| n.relation).collect(),
            Self::Text(Asked::One(_)) | Self::Canonical(_) => vec![None; names.len()],
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
        let stated = match self {
            Self::Text(Asked::Several(several)) => property_of(&several, &networks)?,
            Self::Canonical(property) => Stated { property, tightened: None },
            Self::Text(Asked::One(_)) => {
                return Err(CliError::internal("a property of one network has no names"));
            }
        };
        Ok((networks, stated))
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
fn property_of(several: &Several, networks: &[QuestionNetwork]) -> Result<Stated, CliError> {
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
    let of_outputs = |mut case: Case| {
        if !carries {
            case.constraints.iter_mut().for_each(|constraint| constraint.coefficients.truncate(outputs));
        }
        case
    };
    let cases = several.relaxed().into_iter().map(of_outputs).collect();
    let tightened = several
        .is_strict()
        .then(|| several.tightened().into_iter().map(|case| case.map(of_outputs)).collect());
    let named = |n: &DeclaredNetwork| NamedNetwork { name: n.name.clone(), reads: n.reads.clone() };
    let property = Property { cases, networks: several.networks.iter().map(named).collect() };
    Ok(Stated { property, tightened })
}

/// The bytes of a property file, unpacked if it is compressed by gzip, and what it asks.
///
/// # Errors
/// Exit code 2, with the place in the file or what the file is.
pub fn read_property(path: &Path) -> Result<(Vec<u8>, Asked), CliError> {
    let bytes = property_bytes(path)?;
    // Comments may be in any encoding; anywhere else the replacement character is refused with its place.
    let text = String::from_utf8_lossy(&bytes);
    let asked = parse_property_text(&text);
    let asked = asked.map_err(|e| CliError::input(format!("{}: {e}", path.display())))?;
    Ok((bytes, asked))
}

/// A property of either version in the form of several networks, every comparison as it is stated.
///
/// # Errors
/// As [`read_property`].
pub fn read_stated(path: &Path) -> Result<Several, CliError> {
    let bytes = property_bytes(path)?;
    let stated = parse_as_several(&String::from_utf8_lossy(&bytes));
    stated.map_err(|e| CliError::input(format!("{}: {e}", path.display())))
}

fn property_bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = read_unpacked(path).map_err(CliError::input)?;
    refuse(path, &bytes, &PACKED)?;
    refuse(path, &bytes, &NO_PROPERTY)?;
    Ok(bytes)
}

/// The policy in a directory, or imported from a file.
///
/// # Errors
/// Exit code 2.
pub fn read_policy(path: &Path) -> Result<PolicyFiles, CliError> {
    if path.is_dir() {
        let policy = load_policy(path);
        return Ok(policy.map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?.files);
    }
    let data = import_network(path, &read_network(path)?)?;
    let files = parse_policy(&emit_manifest(&data), &emit_tensors(&data));
    files.map_err(|e| CliError::input(format!("{}: {e}", path.display())))
}

/// Imports the unpacked bytes of a network file. The policy records the name of the unpacked file, so that it is the same
/// whichever of the two was read.
///
/// # Errors
/// Exit code 2.
pub fn import_network(path: &Path, bytes: &[u8]) -> Result<PolicyData, CliError> {
    let options = ImportOptions { head: Some(HeadKind::Deterministic), ..ImportOptions::default() };
    let named = path.with_file_name(unpacked_name(path));
    let imported = import_bytes(&named, bytes, &options).or_else(|_| import_bytes(path, bytes, &options));
    Ok(imported.map_err(CliError::input)?.policy)
}

/// What a file is called once it is unpacked.
pub fn unpacked_name(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".gz").map_or(name.clone(), str::to_owned)
}
