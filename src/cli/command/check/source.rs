//! What `check --source` says: which parts of a policy were compared with their source files, and what was not.

use std::path::{Path, PathBuf};

use secateur_checker::load::{Failure, PolicyDirectory, load_masks, load_policy};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::escaped::Escaped;
use serde_json::{Value, json};

use crate::cli::context::CliError;
use crate::cli::context::shell::path_in_shell;
use crate::import::reimport::{Decision, Origin, Part, SourceReport, compare_sources};

/// A policy directory that was compared with its source files.
pub struct Confirmed {
    policy: PolicyDirectory,
    report: SourceReport,
}

/// Imports the source files again and compares.
///
/// # Errors
/// Exit code 2 for unreadable files and a model that is not among them, 3 for a difference.
pub fn compare(given: &[PathBuf], policy: &Path, masks: Option<&Path>) -> Result<Confirmed, CliError> {
    let failure = |e: Failure| CliError { message: e.to_string(), code: e.exit_code() };
    let policy = load_policy(policy).map_err(failure)?;
    let masks = masks.map(|directory| load_masks(directory, &policy.files)).transpose().map_err(failure)?;
    let report = compare_sources(given, &policy, masks.as_ref()).map_err(|e| match e.exit_code() {
        3 => CliError { message: format!("rejected: {e}"), code: 3 },
        code => CliError { message: e.to_string(), code },
    })?;
    Ok(Confirmed { policy, report })
}

impl Confirmed {
    /// That the certificate is about the files that were compared.
    ///
    /// # Errors
    /// Exit code 3.
    pub fn bind(&self, certificate: &Certificate) -> Result<(), CliError> {
        let compared = [&self.policy.manifest, &self.policy.tensors].map(|bytes| sha256_hex(bytes));
        if certificate.subjects.iter().map(|file| &file.sha256).eq(&compared) {
            return Ok(());
        }
        let message = "rejected: the policy directory was changed while it was checked".to_owned();
        Err(CliError { message, code: 3 })
    }

    /// A line for each part and option, each begun by a line feed.
    pub fn text(&self) -> String {
        let parts = self.report.parts.iter().map(part_text);
        parts
            .chain(self.report.options.iter().map(option_text))
            .map(|line| format!("\nsource   {line}"))
            .collect()
    }

    /// The same facts.
    pub fn json(&self) -> Value {
        let parts: Vec<Value> = self.report.parts.iter().map(part_json).collect();
        let option = |o: &Decision| json!({"name": o.name, "value": o.value, "shownByFile": o.is_shown});
        let options: Vec<Value> = self.report.options.iter().map(option).collect();
        json!({"parts": parts, "options": options})
    }
}

fn part_text(part: &Part) -> String {
    let Part { name, content, origin, compared } = part;
    let begin = format!("{name}, {content}:");
    match (origin, compared) {
        (Origin::File(file), true) => {
            format!("{begin} the same by {} ({}), imported again", Escaped(&file.name), file.role)
        }
        (Origin::File(file), false) => format!(
            "{begin} from {} ({}), not given: not compared; give --source {}",
            Escaped(&file.name),
            file.role,
            path_in_shell(Path::new(&file.name))
        ),
        (Origin::Option(option), _) => format!("{begin} the same by --{option}, as recorded"),
        (Origin::Made(method), _) => {
            format!("{begin} made by {}, imported from no file: not compared", Escaped(method))
        }
    }
}

fn part_json(part: &Part) -> Value {
    let from = match &part.origin {
        Origin::File(file) => json!({"role": file.role, "name": file.name, "sha256": file.sha256}),
        Origin::Option(option) => json!({"option": option}),
        Origin::Made(method) => json!({"method": method}),
    };
    json!({"part": part.name, "content": part.content, "from": from, "compared": part.compared})
}

fn option_text(option: &Decision) -> String {
    let says = match option.is_shown {
        Some(true) => "the files alone give the same",
        Some(false) => "stated by the person who imported it; the files do not show it",
        None => "what it is about was not compared",
    };
    format!("--{} {}: {says}", option.name, Escaped(&option.value))
}
