//! Where results lie: one folder per job, complete or not there at all, named by what it depends on. Untrusted.
//! `spec/sweep.md#folders`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use secateur_checker::reader::digest::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Job;
use crate::policy::input::{MAX_OWN, read_bytes, read_text};
use crate::policy::write::{WriteError, create_folder, write_atomically};

/// File with the SHA-256 of every other one of a result, in the form of `sha256sum`.
pub const SUMS: &str = "SHA256SUMS";
/// File that says what a result depends on.
const DESCRIPTION: &str = "job.json";
/// Format of [`DESCRIPTION`].
const FORMAT: &str = "secateur.sweep-job/1";

/// Why results cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another sweep runs in the same folder.
    #[error("another sweep is running in {0}; wait for it or choose another --out")]
    Busy(PathBuf),
    /// A folder or file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What lies in the place of a job's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole result, with the digest that stands for it.
    Whole(String),
    /// Nothing.
    Nothing,
    /// Something that is not this job's result, with the reason.
    Wrong(String),
}

/// What a result depends on: `job.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: String,
    job: Value,
    /// Digest of each result it was made from, in the job's order.
    inputs: Vec<String>,
}

/// A sweep's folder.
pub struct Store {
    root: PathBuf,
    /// Held by whoever runs jobs.
    _lock: Option<File>,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| StoreError::File { path: path.to_owned(), source }
}

impl Store {
    /// Opens or creates a sweep's folder and locks it until the value is dropped or the process ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for folder in ["jobs", "work"] {
            create_folder(&root.join(folder))?;
        }
        let path = root.join("lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: Some(lock) }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy(root.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(StoreError::File { path, source }),
        }
    }

    /// A sweep's folder to be looked at, also while a sweep runs in it: results are whole or not there.
    pub fn look_into(root: &Path) -> Self {
        Self { root: root.to_owned(), _lock: None }
    }

    /// The sweep's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a job's result lies once it is whole.
    pub fn folder(&self, job: &Job) -> PathBuf {
        self.root.join("jobs").join(&job.name)
    }

    /// Where a job under way keeps its checkpoint.
    pub fn work(&self, job: &Job) -> PathBuf {
        self.root.join("work").join(&job.name)
    }

    /// Looks at a job's place. A result is whole iff its `SHA256SUMS` lists exactly its files with their digests, and
    /// `job.json` describes this job; with `inputs`, made from results with these digests.
    pub fn look(&self, job: &Job, inputs: Option<&[String]>) -> Found {
        let folder = self.folder(job);
        if !folder.exists() {
            return Found::Nothing;
        }
        match examine(&folder, job, inputs) {
            Ok(digest) => Found::Whole(digest),
            Err(reason) => Found::Wrong(reason),
        }
    }

    /// Makes an empty folder for a job's output inside its work folder.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(&self, job: &Job) -> Result<PathBuf, StoreError> {
        let out = self.work(job).join("out");
        if out.exists() {
            fs::remove_dir_all(&out).map_err(failed(&out))?;
        }
        create_folder(&out)?;
        Ok(out)
    }

    /// Describes and seals the output of a job and puts it in its place in one step; returns its digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish(&self, job: &Job, inputs: &[String]) -> Result<String, StoreError> {
        let (work, folder) = (self.work(job), self.folder(job));
        let out = work.join("out");
        let description =
            Description { format: FORMAT.to_owned(), job: job.describe(), inputs: inputs.to_vec() };
        let text = serde_json::to_string(&description).unwrap_or_default() + "\n";
        write_atomically(&out.join(DESCRIPTION), text.as_bytes())?;
        let sums = sums(&out).map_err(failed(&out))?;
        write_atomically(&out.join(SUMS), sums.as_bytes())?;
        fs::rename(&out, &folder).map_err(failed(&folder))?;
        fs::remove_dir_all(&work).map_err(failed(&work))?;
        Ok(sha256_hex(sums.as_bytes()))
    }

    /// Moves what lies in a job's place aside; returns where to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_aside(&self, job: &Job) -> Result<PathBuf, StoreError> {
        let folder = self.folder(job);
        let name = |number: usize| folder.with_file_name(format!("{}.rejected-{number}", job.name));
        let aside = (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
        fs::rename(&folder, &aside).map_err(failed(&folder))?;
        Ok(aside)
    }

    /// Forgets the unfinished work of a job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn discard_work(&self, job: &Job) -> Result<(), StoreError> {
        let work = self.work(job);
        if work.exists() { fs::remove_dir_all(&work).map_err(failed(&work)) } else { Ok(()) }
    }
}

/// Every file under `folder` but `SHA256SUMS`, as paths with `/`, sorted.
fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(inside) = open.pop() {
        for entry in fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if path != SUMS {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn sums(folder: &Path) -> io::Result<String> {
    let line =
        |path: &String| Ok(format!("{}  {path}\n", sha256_hex(&read_bytes(&folder.join(path), MAX_OWN)?)));
    files(folder)?.iter().map(line).collect()
}

fn examine(folder: &Path, job: &Job, inputs: Option<&[String]>) -> Result<String, String> {
    let stated = read_text(&folder.join(SUMS), MAX_OWN).map_err(|e| format!("{SUMS}: {e}"))?;
    let found = sums(folder).map_err(|e| e.to_string())?;
    if stated != found {
        let differs = found.lines().find(|line| !stated.lines().any(|other| other == *line));
        let name = differs.and_then(|line| line.split_once("  ")).map_or(SUMS, |(_, name)| name);
        return Err(format!("{name} is not what {SUMS} says"));
    }
    let text = read_text(&folder.join(DESCRIPTION), MAX_OWN).map_err(|e| format!("{DESCRIPTION}: {e}"))?;
    let description: Description = serde_json::from_str(&text).map_err(|e| format!("{DESCRIPTION}: {e}"))?;
    if description.format != FORMAT || description.job != job.describe() {
        return Err(format!("{DESCRIPTION} describes another job"));
    }
    if inputs.is_some_and(|inputs| inputs != description.inputs) {
        return Err("it was made from other results than those there are now".to_owned());
    }
    Ok(sha256_hex(stated.as_bytes()))
}
