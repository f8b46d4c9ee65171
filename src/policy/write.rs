//! Writing a file so that a reader sees the old bytes or the new ones, never half of them. Untrusted.
//! `spec/semantics.md#files`.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}; check that the folder exists and that you may write to it")]
pub struct WriteError {
    /// What was to be written.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: std::io::Error,
}

/// Writes `bytes` to a temporary file in the folder of `path` and renames it to `path`.
///
/// # Errors
/// [`WriteError`] with the system's reason; `path` then holds what it held before.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let failed = |source: std::io::Error| WriteError { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // a temporary file is private; results are for others to read
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Creates `folder` and its parents if they are missing.
///
/// # Errors
/// [`WriteError`] with the system's reason.
pub fn create_folder(folder: &Path) -> Result<(), WriteError> {
    std::fs::create_dir_all(folder).map_err(|source| WriteError { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else_behind() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        write_atomically(&path, b"first").expect("written");
        write_atomically(&path, b"second").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("missing").join("a");
        assert_eq!(write_atomically(&path, b"x").expect_err("no folder").path, path);
    }
}
