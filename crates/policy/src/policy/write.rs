//! Writing files so that a reader sees the old bytes or the new ones, never half of them; several that belong together, all
//! or none. Untrusted. `spec/outputs.md#writing`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};

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

impl WriteError {
    fn new(path: &Path, source: &std::io::Error) -> Self {
        Self { path: path.to_owned(), source: plain(source) }
    }
}

/// The system's reason alone: errors of temporary files come with the name of a file that nobody asked for.
fn plain(error: &std::io::Error) -> std::io::Error {
    let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = inner {
        let code = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if let Some(code) = code {
            return std::io::Error::from_raw_os_error(code);
        }
        inner = current.source();
    }
    std::io::Error::from(error.kind())
}

/// How many parts of the program write at the moment; `None` once the process ends and nothing may begin.
static WRITING: (Mutex<Option<usize>>, Condvar) = (Mutex::new(Some(0)), Condvar::new());

fn writing() -> MutexGuard<'static, Option<usize>> {
    WRITING.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something is being written: an interrupt waits until it is dropped.
#[must_use]
pub struct Held(());

/// Keeps an interrupt from ending the process before the value is dropped. Does not return once the process is ending.
pub fn hold() -> Held {
    let mut count = writing();
    loop {
        if let Some(count) = count.as_mut() {
            *count += 1;
            return Held(());
        }
        count = WRITING.1.wait(count).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(count) = writing().as_mut() {
            *count = count.saturating_sub(1);
        }
        WRITING.1.notify_all();
    }
}

/// Waits until nothing is written, at most for `longest`; from then on nothing is. Whether that came about.
pub fn end_writing(longest: Duration) -> bool {
    let busy = |count: &mut Option<usize>| count.is_some_and(|count| count > 0);
    let waited = WRITING.1.wait_timeout_while(writing(), longest, busy);
    let (mut count, late) = waited.unwrap_or_else(PoisonError::into_inner);
    if !late.timed_out() {
        *count = None;
    }
    !late.timed_out()
}

/// The folder that `path` lies in.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes `bytes` to a temporary file in the folder of `path` and renames it to `path`.
///
/// # Errors
/// [`WriteError`] with the system's reason; `path` then holds what it held before.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let _held = hold();
    let entry = Entry { path: path.to_owned(), bytes: bytes.to_vec(), replace: true, private: false };
    let staged = entry.stage().map_err(|error| WriteError::new(path, &error))?;
    staged.persist(path).map_err(|error| WriteError::new(path, &error.error))
}

/// Creates `folder` and its parents if they are missing.
///
/// # Errors
/// [`WriteError`] with the system's reason.
pub fn create_folder(folder: &Path) -> Result<(), WriteError> {
    std::fs::create_dir_all(folder).map_err(|source| WriteError { path: folder.to_owned(), source })
}

/// One file of a [`FileSet`].
struct Entry {
    path: PathBuf,
    bytes: Vec<u8>,
    replace: bool,
    private: bool,
}

impl Entry {
    /// A temporary file beside the target with the bytes, on the disk.
    fn stage(&self) -> std::io::Result<TempPath> {
        let mut file = NamedTempFile::new_in(parent_of(&self.path))?;
        file.write_all(&self.bytes)?;
        #[cfg(unix)]
        if !self.private {
            use std::os::unix::fs::PermissionsExt;
            // a temporary file is private; results are for others to read
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.as_file().sync_all()?;
        Ok(file.into_temp_path())
    }
}

/// Files that belong together: they are written all or none.
pub struct FileSet {
    entries: Vec<Entry>,
    stale: Vec<PathBuf>,
    replace: bool,
}

/// A file in its place, and what takes it back: a second name of the bytes that were there.
struct Placed {
    path: PathBuf,
    before: Option<TempPath>,
}

impl FileSet {
    /// No files yet. With `replace`, files that are there are replaced; else one that is there is an error.
    pub fn new(replace: bool) -> Self {
        Self { entries: Vec::new(), stale: Vec::new(), replace }
    }

    /// Adds a file; its folder is created if missing.
    pub fn add(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        let replace = self.replace;
        self.entries.push(Entry { path: path.into(), bytes: bytes.into(), replace, private: false });
    }

    /// Adds a file that only its owner may read.
    pub fn add_private(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        let replace = self.replace;
        self.entries.push(Entry { path: path.into(), bytes: bytes.into(), replace, private: true });
    }

    /// Adds the next state of a file that may be there already, whatever holds for the others.
    pub fn update(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.entries.push(Entry { path: path.into(), bytes: bytes.into(), replace: true, private: false });
    }

    /// Adds a file of an earlier run that must not lie beside the new ones: it is removed once they are in place, if it is
    /// there, and so is its folder if nothing else is in it.
    pub fn remove(&mut self, path: impl Into<PathBuf>) {
        self.stale.push(path.into());
    }

    /// Files added so far may be there, and are then replaced.
    pub fn replace_all(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.replace = true);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The files in the order they were added, as paths and bytes.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.entries.iter().map(|entry| (entry.path.as_path(), entry.bytes.as_slice()))
    }

    /// Writes every file to a temporary one beside it, then renames all of them, then removes what is stale.
    ///
    /// # Errors
    /// [`WriteError`] for the first file that could not be written; what was there before is there again.
    pub fn write(self) -> Result<(), WriteError> {
        let _held = hold();
        let mut staged = Vec::new();
        for entry in &self.entries {
            create_folder(parent_of(&entry.path))?;
            staged.push(entry.stage().map_err(|error| WriteError::new(&entry.path, &error))?);
        }
        let mut placed = Vec::new();
        for (entry, file) in self.entries.iter().zip(staged) {
            match place(entry, file) {
                Ok(done) => placed.push(done),
                Err(error) => {
                    placed.into_iter().rev().for_each(take_back);
                    return Err(WriteError::new(&entry.path, &error));
                }
            }
        }
        self.stale.iter().try_for_each(|path| remove_stale(path))
    }
}

fn place(entry: &Entry, file: TempPath) -> std::io::Result<Placed> {
    let path = entry.path.clone();
    if !entry.replace {
        file.persist_noclobber(&path).map_err(|error| error.error)?;
        return Ok(Placed { path, before: None });
    }
    let before = match std::fs::symlink_metadata(&path) {
        Ok(_) => Some(second_name(&path)?),
        Err(_) => None,
    };
    file.persist(&path).map_err(|error| error.error)?;
    Ok(Placed { path, before })
}

/// Another name for the file, or a copy where the file system has no such thing; removed when dropped.
fn second_name(path: &Path) -> std::io::Result<TempPath> {
    let name = tempfile::Builder::new().make_in(parent_of(path), |name| std::fs::hard_link(path, name));
    if let Ok(file) = name {
        return Ok(file.into_temp_path());
    }
    let copy = NamedTempFile::new_in(parent_of(path))?;
    std::fs::copy(path, copy.path())?;
    Ok(copy.into_temp_path())
}

fn take_back(placed: Placed) {
    // An error here is second to the one that is reported.
    match placed.before {
        Some(before) => drop(before.persist(&placed.path)),
        None => drop(std::fs::remove_file(&placed.path)),
    }
}

fn remove_stale(path: &Path) -> Result<(), WriteError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(WriteError { path: path.to_owned(), source });
        }
        _ => {}
    }
    // Fails where other files are, and they stay.
    let _ = std::fs::remove_dir(parent_of(path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("listed");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_else_behind() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a");
        write_atomically(&path, b"first").expect("written");
        write_atomically(&path, b"second").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"second");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_missing_folder_is_named_and_no_temporary_file_is() {
        let folder = tempfile::Builder::new().prefix("folder").tempdir().expect("temporary folder");
        let path = folder.path().join("missing").join("a");
        let error = write_atomically(&path, b"x").expect_err("no folder");
        assert_eq!(error.path, path);
        assert!(!error.to_string().contains(".tmp"), "{error}");
    }

    /// The last of three targets is a folder, so that it cannot be placed: the first two are as before.
    #[test]
    fn a_set_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("old"), b"old").expect("written");
        std::fs::create_dir(path("taken")).expect("made");
        std::fs::write(path("taken/inside"), b"").expect("written");
        let set = |replace: bool, last: &str| {
            let mut set = FileSet::new(replace);
            set.add(path("old"), b"new");
            set.add(path("fresh"), b"new");
            set.add(path(last), b"new");
            set.remove(path("taken/inside"));
            set
        };
        let error = set(true, "taken").write().expect_err("a folder is no file");
        assert_eq!(error.path, path("taken"));
        assert_eq!(names(folder.path()), ["old", "taken"]);
        assert_eq!(std::fs::read(path("old")).expect("read"), b"old");
        assert_eq!(set(false, "last").write().expect_err("it is there").path, path("old"));
        assert_eq!(names(folder.path()), ["old", "taken"]);
        set(true, "last").write().expect("written");
        assert_eq!(names(folder.path()), ["fresh", "last", "old"], "the stale file and its folder are gone");
        assert_eq!(std::fs::read(path("old")).expect("read"), b"new");
    }
}
