//! The files of a question: read, or named for what they are where they are something else. Untrusted.
//! `spec/semantics.md#files`.

use std::path::Path;

use crate::cli::context::CliError;
use crate::import::read_capped;
use crate::property::vnnlib::{Case, parse_vnnlib};

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

/// The bytes of a property file and its cases.
///
/// # Errors
/// Exit code 2, with the place in the file or what the file is.
pub fn read_property(path: &Path) -> Result<(Vec<u8>, Vec<Case>), CliError> {
    let bytes = read_capped(path).map_err(CliError::input)?;
    refuse(path, &bytes, &PACKED)?;
    refuse(path, &bytes, &NO_PROPERTY)?;
    // Comments may be in any encoding; anywhere else the replacement character is refused with its place.
    let text = String::from_utf8_lossy(&bytes);
    let property = parse_vnnlib(&text).map_err(|e| CliError::input(format!("{}: {e}", path.display())))?;
    Ok((bytes, property.cases))
}
