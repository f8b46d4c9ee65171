//! A counterexample of binary32 numbers beside the exact one. Untrusted. `spec/vnnlib.md`.

use std::path::Path;

use secateur_checker::reader::verdict::Claimed;

use super::source::read_property;
use crate::cli::context::CliError;
use crate::float::FloatNetwork;
use crate::property::vnnlib::Asked;
use crate::search::float32::search_float32;
use crate::verify::Question;

/// A counterexample of binary32 numbers, or that there is none.
pub struct Written {
    /// The file, if one was found.
    pub file: Option<String>,
    /// A line for people, after a line break.
    pub line: String,
}

/// Searches beside an exact counterexample; `None` for `unsat`.
///
/// # Errors
/// Exit code 2 for a network with a normaliser, whose inputs are no engine's inputs.
pub fn witness(
    question: &Question,
    claimed: &Claimed,
    property: Option<&Path>,
    path: &Path,
    seed: u64,
) -> Result<Option<Written>, CliError> {
    let Claimed::Sat { case, point } = claimed else { return Ok(None) };
    let policy = &question.policy;
    if question.networks.len() > 1 {
        return Err(CliError::input("--float32-witness: there are several networks; leave it out"));
    }
    if policy.normaliser.is_some() {
        let message = "--float32-witness: the policy has a normaliser, which no ONNX file of the network has; leave it out";
        return Err(CliError::input(message));
    }
    let network = FloatNetwork::from_model(&policy.network, None).map_err(CliError::input)?;
    let stated = question.tightened.as_ref().map_or(&question.cases, |tightened| &tightened.cases);
    let case = stated.get(*case).ok_or_else(|| CliError::internal("the certificate names no case"))?;
    let Some(found) = search_float32(&network, case, point, seed) else {
        let line = "\nno counterexample of binary32 numbers was found near it".to_owned();
        return Ok(Some(Written { file: None, line }));
    };
    let tensors = match property.map(read_property).transpose()? {
        Some((_, Asked::One(asked))) => asked.tensors,
        Some((_, Asked::Several(_))) | None => None,
    };
    let sure = if found.certain {
        "holds in whatever order an engine sums"
    } else {
        "holds as computed here; an engine that sums in another order may differ"
    };
    let mut line = format!("\nbinary32 counterexample in {}: {sure}", path.display());
    if !found.outside.is_empty() {
        let named: Vec<String> = found.outside.iter().map(|i| format!("X_{i}")).collect();
        line.push_str(&format!(
            "\n  no binary32 number lies in the interval of {}; the nearest is written",
            named.join(", ")
        ));
    }
    Ok(Some(Written { file: Some(found.emit(tensors.as_ref())), line }))
}
