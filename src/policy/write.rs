//! Files that are whole or absent: written to a temporary file beside the target, then renamed.

use std::io::Write;
use std::path::Path;

/// Writes `bytes` to a temporary file in the folder of `path`, flushes it to disk and renames it.
///
/// # Errors
/// Whatever the file system says; the target is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
