//! What a command will write, tested before it does any work: nothing that is there is replaced without `--force`, and no
//! input ever. Untrusted. `spec/outputs.md`.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secateur_checker::load::read_file;
use secateur_checker::reader::mask::{MAX_MANIFEST, parse_chain_manifest};

use crate::policy::write::{FileSet, hold, parent_of};

/// Why a plan cannot be carried out; nothing was written. The options are those of the commands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// An input is the word for standard input.
    #[error("-: standard input is not read here; a file or folder called - is ./-")]
    StandardInput,
    /// A folder is the word for standard output.
    #[error("{option} -: a directory cannot be written to standard output; a folder called - is ./-")]
    FolderToStandardOutput {
        /// What named it.
        option: &'static str,
    },
    /// A file is the word for standard output.
    #[error("{option} -: this file cannot be written to standard output; a file called - is ./-")]
    FileToStandardOutput {
        /// What named it.
        option: &'static str,
    },
    /// A folder without a name.
    #[error("{option}: the name is empty; give a folder")]
    EmptyFolder {
        /// What named it.
        option: &'static str,
    },
    /// A folder where a file is wanted, or the other way round.
    #[error("{option} {}: {reason}", .path.display())]
    Shape {
        /// What named it.
        option: &'static str,
        /// The output.
        path: PathBuf,
        /// What is there, and what to give.
        reason: String,
    },
    /// An output is an input.
    #[error(
        "{option} {path} is an input of this command{which}; an input is never replaced, with --force neither: \
         give another --out"
    )]
    Input {
        /// What named the output.
        option: &'static str,
        /// The output.
        path: String,
        /// The input's name after a space, if it has another.
        which: String,
    },
    /// Two outputs are one file.
    #[error(
        "{option} {} and {other} {} are one file; give another name to one of them",
        .path.display(), .second.display()
    )]
    Same {
        /// What named the first.
        option: &'static str,
        /// The first.
        path: PathBuf,
        /// What named the second.
        other: &'static str,
        /// The second.
        second: PathBuf,
    },
    /// Something there is not ours to remove.
    #[error("{} {why}, or give another --out", .path.display())]
    Foreign {
        /// What is there.
        path: PathBuf,
        /// What it is, and what to do.
        why: &'static str,
    },
    /// Outputs are there, and may not be replaced.
    #[error("{}{} there already; --force replaces what is there, or give another {option}", .path.display(), are(*.more))]
    Exists {
        /// What named the first.
        option: &'static str,
        /// The first.
        path: PathBuf,
        /// How many more are.
        more: usize,
    },
    /// A folder cannot be written to.
    #[error("{option} {}: {} {reason}; give another {option}", .path.display(), .folder.display())]
    Unwritable {
        /// What named the output.
        option: &'static str,
        /// The output.
        path: PathBuf,
        /// The nearest folder above it that is there.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
}

fn are(more: usize) -> String {
    if more == 0 { " is".to_owned() } else { format!(" and {more} more of its files are") }
}

/// What a command reads and what it will write.
#[derive(Debug, Default)]
pub struct OutputPlan {
    force: bool,
    /// Option and file, and whether it may be replaced without `--force`.
    files: Vec<(&'static str, PathBuf, bool)>,
    folders: Vec<(&'static str, PathBuf)>,
    stale: Vec<PathBuf>,
    moving: Vec<PathBuf>,
    inputs: Vec<PathBuf>,
    foreign: Vec<(PathBuf, &'static str)>,
    refused: Option<OutputError>,
}

/// A plan that was tested.
#[derive(Debug)]
pub struct Outputs {
    force: bool,
    stale: Vec<PathBuf>,
}

impl Outputs {
    /// A set for the planned files; what is stale goes when it is written.
    pub fn set(&self) -> FileSet {
        let mut set = FileSet::new(self.force);
        self.stale.iter().for_each(|path| set.remove(path));
        set
    }

    /// A sentence about the files of an earlier run that go, if there are any.
    pub fn removed(&self) -> Option<String> {
        let first = self.stale.first()?.display();
        Some(match self.stale.len() {
            1 => format!("removed  {first}, of an earlier run"),
            more => format!("removed  {first} and {} more files of an earlier run", more - 1),
        })
    }

    /// Whether `--force` was given.
    pub fn forced(&self) -> bool {
        self.force
    }
}

impl OutputPlan {
    /// Nothing read, nothing written; with `force`, what earlier runs left may be replaced.
    pub fn new(force: bool) -> Self {
        Self { force, ..Self::default() }
    }

    /// The command reads this file.
    pub fn input(mut self, path: &Path) -> Self {
        if is_dash(path) {
            self.refused.get_or_insert(OutputError::StandardInput);
        }
        self.inputs.push(path.to_owned());
        self
    }

    /// The command reads these files.
    pub fn inputs<'a>(self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        paths.into_iter().fold(self, |plan, path| plan.input(path))
    }

    /// The command reads this document, which may come from standard input.
    pub fn document(mut self, path: &Path) -> Self {
        if !is_dash(path) {
            self.inputs.push(path.to_owned());
        }
        self
    }

    /// The command reads this policy directory.
    pub fn policy(self, directory: &Path) -> Self {
        let names = ["policy.json", "policy.safetensors", "train.toml", "audit.toml"];
        let critic = directory.join("critic");
        let plan = self.input(directory);
        let plan = names.iter().fold(plan, |plan, name| plan.input(&directory.join(name)));
        plan.input(&critic.join("policy.json")).input(&critic.join("policy.safetensors"))
    }

    /// The command reads this mask directory, if there is one.
    pub fn masks(self, directory: Option<&Path>) -> Self {
        let Some(directory) = directory else { return self };
        let names = chain_names(directory).unwrap_or_default();
        let plan = self.input(directory).input(&directory.join("chain.json"));
        names.iter().fold(plan, |plan, name| plan.input(&directory.join(name)))
    }

    /// The command writes this file.
    pub fn file(mut self, option: &'static str, path: &Path) -> Self {
        self.files.push((option, path.to_owned(), false));
        self
    }

    /// The command reads this file if it is there, and writes its next state.
    pub fn state(mut self, option: &'static str, path: &Path) -> Self {
        self.files.push((option, path.to_owned(), true));
        self
    }

    /// The command writes files into this folder.
    pub fn folder(mut self, option: &'static str, path: &Path) -> Self {
        self.folders.push((option, path.to_owned()));
        self
    }

    /// A file that an earlier run may have left and that must not lie beside what this one writes.
    pub fn stale(mut self, path: &Path) -> Self {
        self.stale.push(path.to_owned());
        self
    }

    /// A file or folder that makes the outputs ambiguous if it is there, and that is not ours to remove.
    pub fn foreign(mut self, path: &Path, why: &'static str) -> Self {
        self.foreign.push((path.to_owned(), why));
        self
    }

    /// The command writes a chain of masks with these names into this folder, and no other mask lies there afterwards:
    /// those of the chain that was there go, and any other is named.
    pub fn mask_chain(self, option: &'static str, folder: &Path, names: &[String]) -> Self {
        let plan = self.folder(option, folder).file(option, &folder.join("chain.json"));
        let plan = names.iter().fold(plan, |plan, name| plan.file(option, &folder.join(name)));
        plan.leftover_masks(folder, names)
    }

    /// What an earlier run left of a chain in this folder, but for `names`; it goes without `--force`, since the command
    /// keeps it elsewhere.
    pub fn earlier_masks(self, folder: &Path, names: &[String]) -> Self {
        let kept = self.stale.len();
        let mut plan = self.leftover_masks(folder, names);
        plan.moving = plan.stale.split_off(kept);
        plan
    }

    /// What an earlier run left of a chain in this folder, but for `names`.
    pub fn leftover_masks(mut self, folder: &Path, names: &[String]) -> Self {
        let ours = chain_names(folder).unwrap_or_default();
        if names.is_empty() {
            self.stale.push(folder.join("chain.json"));
        }
        for name in safetensors_in(folder).into_iter().filter(|name| !names.contains(name)) {
            let path = folder.join(&name);
            if ours.contains(&name) {
                self.stale.push(path);
            } else {
                self.foreign.push((path, "is not a mask of the chain.json there; move it away"));
            }
        }
        self
    }

    /// Tests the plan.
    ///
    /// # Errors
    /// [`OutputError`], naming the path: it is there and `--force` is not given; it is an input; two outputs are one file; a
    /// folder is wanted and a file is there, or the other way round; its folder cannot be written to.
    pub fn test(self) -> Result<Outputs, OutputError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let (files, folders) = (&self.files, &self.folders);
        if let Some((option, _)) = folders.iter().find(|(_, path)| is_dash(path)) {
            return Err(OutputError::FolderToStandardOutput { option });
        }
        if let Some((option, ..)) = files.iter().find(|(_, path, _)| is_dash(path)) {
            return Err(OutputError::FileToStandardOutput { option });
        }
        self.shapes()?;
        self.collisions()?;
        self.existing()?;
        let places = files.iter().map(|(option, path, _)| (*option, path, parent_of(path)));
        let places = places.chain(folders.iter().map(|(option, path)| (*option, path, path.as_path())));
        let mut tested = BTreeSet::new();
        for (option, path, folder) in places {
            if tested.insert(folder.to_owned()) {
                writable(option, path, folder)?;
            }
        }
        let stale = self.stale.into_iter().chain(self.moving).filter(|path| there(path)).collect();
        Ok(Outputs { force: self.force, stale })
    }

    /// Files where files are wanted, folders where folders are.
    fn shapes(&self) -> Result<(), OutputError> {
        for (option, path, _) in &self.files {
            let text = path.as_os_str().to_string_lossy();
            let wrong = if text.is_empty() {
                Some("is empty; give a file")
            } else if text.ends_with('/') || path.file_name().is_none() {
                Some("names a folder; give a file in it")
            } else {
                match std::fs::symlink_metadata(path) {
                    Ok(found) if found.is_dir() => Some("is a folder; give a file"),
                    Ok(found) if !found.is_file() && !found.is_symlink() => {
                        Some("is a device or a pipe; give a file")
                    }
                    Ok(found) if found.is_symlink() => match std::fs::metadata(path) {
                        Ok(end) if end.is_dir() => Some("is a link to a folder; give a file"),
                        Ok(end) if !end.is_file() => Some("is a link to a device or a pipe; give a file"),
                        _ => None,
                    },
                    Ok(_) => None,
                    Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
                    Err(e) => {
                        let (path, reason) = (path.clone(), format!("{e}; give another file"));
                        return Err(OutputError::Shape { option, path, reason });
                    }
                }
            };
            if let Some(wrong) = wrong {
                return Err(OutputError::Shape { option, path: path.clone(), reason: wrong.to_owned() });
            }
        }
        for (option, path) in &self.folders {
            if path.as_os_str().is_empty() {
                return Err(OutputError::EmptyFolder { option });
            }
            if there(path) && !path.is_dir() {
                let reason = "it is not a folder; give a folder".to_owned();
                return Err(OutputError::Shape { option, path: path.clone(), reason });
            }
        }
        Ok(())
    }

    /// No output, and nothing that goes, is an input; no two outputs are one file.
    fn collisions(&self) -> Result<(), OutputError> {
        let outputs = self.files.iter().map(|(option, path, _)| (*option, path));
        let going = self.stale.iter().chain(&self.moving).map(|path| ("--out", path));
        for (option, path) in outputs.clone().chain(going) {
            if let Some(input) = self.inputs.iter().find(|input| is_same(input, path)) {
                let (path, input) = (path.display().to_string(), input.display().to_string());
                let which = if path == input { String::new() } else { format!(" {input}") };
                return Err(OutputError::Input { option, path, which });
            }
        }
        for (at, (option, path)) in outputs.clone().enumerate() {
            if let Some((other, second)) = outputs.clone().skip(at + 1).find(|(_, o)| is_same(path, o)) {
                return Err(OutputError::Same { option, path: path.clone(), other, second: second.clone() });
            }
        }
        Ok(())
    }

    fn existing(&self) -> Result<(), OutputError> {
        if let Some((path, why)) = self.foreign.iter().find(|(path, _)| there(path)) {
            return Err(OutputError::Foreign { path: path.clone(), why });
        }
        if self.force {
            return Ok(());
        }
        let kept = self.files.iter().filter(|(_, _, state)| !state).map(|(option, path, _)| (*option, path));
        let kept = kept.chain(self.stale.iter().map(|path| ("--out", path)));
        let mut found = kept.filter(|(_, path)| there(path));
        let Some((option, path)) = found.next() else { return Ok(()) };
        Err(OutputError::Exists { option, path: path.clone(), more: found.count() })
    }
}

/// Whether a path is the word for standard input or output; a file of that name is `./-`.
pub fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether anything has this name: a link that leads nowhere too.
pub fn there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// The mask files that a folder's `chain.json` names; `None` without one that can be read.
pub fn chain_names(folder: &Path) -> Option<Vec<String>> {
    let chain = parse_chain_manifest(&read_file(&folder.join("chain.json"), MAX_MANIFEST).ok()?).ok()?;
    Some(chain.masks.into_iter().map(|entry| entry.file).collect())
}

fn safetensors_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".safetensors")).collect();
    names.sort();
    names
}

/// Whether two paths name one file: by the file system's identity if both are there, else by their canonical folders and
/// names.
fn is_same(one: &Path, other: &Path) -> bool {
    if let (Ok(a), Ok(b)) = (std::fs::metadata(one), std::fs::metadata(other)) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
                return true;
            }
        }
        let _ = (a, b);
    }
    full(one) == full(other)
}

/// The path from the root, through links as far as it exists.
fn full(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    match (path.parent(), path.file_name()) {
        (Some(_), Some(name)) if parent_of(path) != path => full(parent_of(path)).join(name),
        _ => path.to_owned(),
    }
}

/// Tests that files can be made in `folder`, or in the nearest folder above it that exists, for the output `path`; leaves
/// nothing there.
fn writable(option: &'static str, path: &Path, folder: &Path) -> Result<(), OutputError> {
    let mut nearest = folder;
    while !there(nearest) {
        nearest = parent_of(nearest);
    }
    let refused = |reason: &str| OutputError::Unwritable {
        option,
        path: path.to_owned(),
        folder: nearest.to_owned(),
        reason: reason.to_owned(),
    };
    if !nearest.is_dir() {
        return Err(refused("is not a folder"));
    }
    let _held = hold();
    let made = tempfile::tempfile_in(nearest);
    made.map(drop).map_err(|error| refused(&format!("cannot be written to ({})", error.kind())))
}
