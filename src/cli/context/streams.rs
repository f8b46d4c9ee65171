//! Standard input, output and error: documents read from and written to `-`, and pipes that their reader has closed.
//! Untrusted. `spec/outputs.md#standard-input-and-output`.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use secateur_checker::bundle::MAX_BUNDLE;
use secateur_checker::load::read_file;
use secateur_checker::reader::dsse::{Envelope, MAX_ENVELOPE, parse_envelope};
use secateur_checker::reader::escaped::Escaped;

use super::error::CliError;
use crate::bundle::envelope_of;
use crate::outputs::is_dash;

/// Refuses `-` where a path must name a file or folder.
///
/// # Errors
/// Exit code 2.
pub fn refuse_dash<'a>(
    inputs: impl IntoIterator<Item = (&'a str, Option<&'a Path>)>,
) -> Result<(), CliError> {
    for (option, path) in inputs {
        if path.is_some_and(is_dash) {
            return Err(CliError::input(format!(
                "{option} -: standard input is not read here; a file or folder called - is ./-"
            )));
        }
    }
    Ok(())
}

/// Reads a document of at most `cap` bytes from a file, or from standard input if the path is `-`.
///
/// # Errors
/// Exit codes 2 and 4 (longer than that).
pub fn read_document(path: &Path, cap: usize) -> Result<Vec<u8>, CliError> {
    if !is_dash(path) {
        return Ok(read_file(path, cap)?);
    }
    let (mut bytes, most) = (Vec::new(), cap as u64);
    let read = std::io::stdin().lock().take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| CliError::input(format!("standard input: {e}")))?;
    if bytes.len() > cap {
        return Err(CliError::internal(format!("standard input: longer than {cap} bytes")));
    }
    Ok(bytes)
}

/// The envelope in a certificate, or in a bundle of one.
///
/// # Errors
/// Exit codes 2 and 4 (longer than they may be).
pub fn read_envelope(path: &Path) -> Result<Envelope, CliError> {
    let shown = path.to_string_lossy();
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", Escaped(&shown)));
    let bytes = envelope_of(read_document(path, MAX_BUNDLE)?).map_err(|e| at(&e))?;
    if bytes.len() > MAX_ENVELOPE {
        let why = format!("longer than the {MAX_ENVELOPE} bytes that are read of such a file");
        return Err(CliError::internal(format!("{}: {why}", Escaped(&shown))));
    }
    parse_envelope(&bytes).map_err(|e| at(&e))
}

/// Writes to standard output; a reader that has closed it has read enough.
///
/// # Errors
/// Exit code 4 for any other failure.
pub fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::internal(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, where nobody may be listening.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
