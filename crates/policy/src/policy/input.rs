//! Reading whole input files: regular ones only, up to a cap; both are tested before a file is opened. Untrusted; the
//! checker's own `load::read_regular` does it. `spec/certificate-files.md`.

use std::io;
use std::path::Path;

use secateur_checker::load::{FileProblem, read_regular};

/// Most bytes of a text that a person writes: a configuration, a list of regions, a key.
pub const MAX_TEXT: usize = 1 << 20;
/// Most bytes of a file that this program wrote itself: a result, a log, a checkpoint.
pub const MAX_OWN: usize = 1 << 30;

/// The bytes of a regular file of at most `cap` bytes.
///
/// # Errors
/// The system's, or what the file is instead.
pub fn read_bytes(path: &Path, cap: usize) -> io::Result<Vec<u8>> {
    read_regular(path, cap).map_err(|problem| match problem {
        FileProblem::Io(error) => error,
        other => io::Error::other(other.to_string()),
    })
}

/// The text of a regular file of at most `cap` bytes.
///
/// # Errors
/// As [`read_bytes`]; bytes that are no UTF-8.
pub fn read_text(path: &Path, cap: usize) -> io::Result<String> {
    let text = String::from_utf8(read_bytes(path, cap)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}
