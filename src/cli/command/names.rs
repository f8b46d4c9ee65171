//! `secateur names`.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::load::load_policy;
use secateur_checker::model::Policy;
use secateur_checker::reader::digest::policy_digest;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::names::Names;
use secateur_checker::reader::policy::parse_policy;
use serde_json::json;

use crate::cli::context::{CliError, Context, write};
use crate::cli::option::force::Force;
use crate::names::{names_json, names_lines, names_words, parse_names, with_names};
use crate::outputs::OutputPlan;
use crate::policy::input::{MAX_TEXT, read_text};

/// Arguments of `names`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur names go1/
  secateur names go1/ --names robot.toml --out go1-named/

robot.toml:
  [inputs]
  gyro = { at = \"0..3\", unit = \"rad/s\" }        # inputs 0, 1, 2
  joint_pos = { at = \"9..21\", unit = \"rad\" }
  # five frames of 96 inputs: input i again at i + 96, i + 192, ...
  # gyro = { at = \"0..3\", unit = \"rad/s\", frames = 5, stride = 96 }
  [outputs]
  legs = { at = \"0..2\", unit = \"rad\", scale = \"0.25\", names = [\"left hip pitch\", \"left knee\"] }
  gripper = { at = \"2\" }

Inputs and outputs may be left without a name; none may have two. A change of 1 of an output is `scale` of its unit. The
masks of a policy fit the named one too; its digest, and so its certificates, are others.")]
pub struct NamesArguments {
    /// Policy directory; without --names, its names are printed.
    policy: PathBuf,
    /// What inputs and outputs are called, a TOML file; it replaces names that are there.
    #[arg(long, value_name = "FILE", requires = "out")]
    names: Option<PathBuf>,
    /// Policy directory to write.
    #[arg(long, value_name = "DIR", requires = "names")]
    out: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

/// The names that a file gives to a policy.
///
/// # Errors
/// Exit code 2, with the file and the place in it.
pub fn read_names(path: &Path, policy: &Policy) -> Result<Names, CliError> {
    let at = |words: String| CliError::input(format!("{}: {words}", Escaped(&path.to_string_lossy())));
    let text = read_text(path, MAX_TEXT).map_err(|e| at(e.to_string()))?;
    parse_names(&text, policy.network.inputs(), policy.network.outputs()).map_err(at)
}

/// Prints the names of a policy, or writes a policy with names.
///
/// # Errors
/// Exit code 2.
pub fn run(arguments: &NamesArguments, context: Context) -> Result<u8, CliError> {
    let mut plan = OutputPlan::new(arguments.force.force).policy(&arguments.policy).inputs(&arguments.names);
    if let Some(out) = &arguments.out {
        plan = plan
            .folder("--out", out)
            .file("--out", &out.join("policy.safetensors"))
            .file("--out", &out.join("policy.json"))
            .leftover_masks(&out.join("masks"), &[]);
    }
    let outputs = plan.test()?;
    let loaded = load_policy(&arguments.policy)?;
    let policy = &loaded.files.policy;
    let (Some(path), Some(out)) = (&arguments.names, &arguments.out) else {
        let names = loaded.files.names.as_ref();
        let text = names.map_or_else(
            || format!("{} has no names; --names FILE --out DIR gives it some", arguments.policy.display()),
            |names| names_lines(names).trim_end().to_owned(),
        );
        let digest = policy_digest(policy, names);
        let document =
            json!({"policy": arguments.policy, "policyDigest": digest, "names": names.map(names_json)});
        context.print(&text, &document)?;
        return Ok(0);
    };
    let names = read_names(path, policy)?;
    let manifest = with_names(&loaded.manifest, &names);
    let manifest = manifest.ok_or_else(|| CliError::internal("a loaded manifest did not read back"))?;
    let written = parse_policy(&manifest, &loaded.tensors)
        .map_err(|e| CliError::input(format!("{}: {e}", Escaped(&path.to_string_lossy()))))?;
    let mut set = outputs.set();
    set.add(out.join("policy.safetensors"), loaded.tensors.clone());
    set.add(out.join("policy.json"), manifest);
    write(set)?;
    let digest = policy_digest(&written.policy, written.names.as_ref());
    let (inputs, outs) = (policy.network.inputs(), policy.network.outputs());
    let mut text = format!(
        "named {} in {}\npolicy   {digest}\nnames    {}\n{}",
        arguments.policy.display(),
        out.display(),
        names_words(&names, inputs, outs),
        names_lines(&names).trim_end()
    );
    text.extend(outputs.removed().map(|words| format!("\n{words}")));
    let document = json!({"out": out, "policyDigest": digest, "names": names_json(&names)});
    context.print(&text, &document)?;
    Ok(0)
}
