//! The files of a question: read, or named for what they are where they are something else. Untrusted.
//! `spec/semantics.md#files`.

use std::path::Path;

use secateur_checker::load::load_policy;
use secateur_checker::reader::policy::{PolicyFiles, parse_policy};

use crate::cli::context::CliError;
use crate::import::{HeadKind, ImportOptions, import_bytes, read_unpacked};
use crate::policy::PolicyData;
use crate::policy::emit::{emit_manifest, emit_tensors};
use crate::property::several::Several;
use crate::property::vnnlib::{Asked, parse_as_several, parse_property_text};

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
