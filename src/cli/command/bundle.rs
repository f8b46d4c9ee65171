//! `secateur bundle`: a certificate and everything that it is checked against, in one file; and out of it again.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::bundle::{
    Bundle, CERTIFICATE, CHAIN, Checked, MAX_BUNDLE, POLICIES, POLICY, PROPERTY, check_bytes,
};
use secateur_checker::load::{Failure, read_file};
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::escaped::Escaped;
use serde_json::{Value, json};

use crate::bundle::{BundleError, Parts, pack, unpack};
use crate::cli::context::bar::Bar;
use crate::cli::context::shell::path_in_shell;
use crate::cli::context::{CliError, Context, write};
use crate::cli::option::force::Force;
use crate::outputs::OutputPlan;
use crate::progress::Progress;

/// Arguments of `bundle`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur bundle hopper/ hopper.cert.dsse.json --masks hopper/masks/ \\
      --states states.npy --out hopper.secateur
  secateur check hopper.secateur --trust keys/trust.json
  secateur bundle pair/dense pair/pruned pair.cert.dsse.json \\
      --property pair/property.json --out pair.secateur
  secateur bundle --open hopper.secateur --to opened/

The file is a plain tar file, and the same inputs give the same bytes. It never
holds a trust file: whose word counts must arrive by another way.")]
pub struct BundleArguments {
    /// POLICY_DIR CERTIFICATE; of a certificate about several networks the directory of each, in the property's order, then CERTIFICATE.
    #[arg(value_name = "FILES", num_args = 2..=10, required_unless_present = "open", conflicts_with = "open")]
    files: Vec<PathBuf>,
    /// Mask directory, if the certificate is about masks.
    #[arg(long, value_name = "DIR", conflicts_with = "open")]
    masks: Option<PathBuf>,
    /// The states the certificate speaks of.
    #[arg(long, value_name = "FILE", conflicts_with = "open")]
    states: Option<PathBuf>,
    /// The property a sat or unsat certificate speaks of, in its canonical form, instead of states.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["open", "masks", "states"])]
    property: Option<PathBuf>,
    /// Witness or proof file; by default the one the certificate names, beside the certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "open")]
    witness: Option<PathBuf>,
    /// The bundle to write.
    #[arg(long, value_name = "FILE", required_unless_present = "open", conflicts_with = "open")]
    out: Option<PathBuf>,
    /// A bundle to take apart.
    #[arg(long, value_name = "FILE", requires = "to")]
    open: Option<PathBuf>,
    /// Where its files go.
    #[arg(long, value_name = "DIR", requires = "open")]
    to: Option<PathBuf>,
    #[command(flatten)]
    force: Force,
}

impl From<BundleError> for CliError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Load(failure) => failure.into(),
            other => Self::input(other),
        }
    }
}

/// Makes a bundle, or opens one.
///
/// # Errors
/// Exit code 2 for unreadable files and outputs that are there, 3 if the certificate is not about these files, 4 for limits.
pub fn run(arguments: &BundleArguments, context: Context) -> Result<u8, CliError> {
    match (&arguments.open, &arguments.to, &arguments.out, arguments.files.as_slice()) {
        (Some(bundle), Some(to), ..) => open(bundle, to, arguments.force.force, context),
        (None, None, Some(out), [policies @ .., certificate]) if !policies.is_empty() => {
            let policies: Vec<&Path> = policies.iter().map(PathBuf::as_path).collect();
            let parts = Parts {
                certificate,
                policies: &policies,
                masks: arguments.masks.as_deref(),
                states: arguments.states.as_deref(),
                property: arguments.property.as_deref(),
                witness: arguments.witness.as_deref(),
            };
            make(&parts, out, arguments.force.force, context)
        }
        _ => Err(CliError::input("give POLICY_DIR CERTIFICATE and --out FILE, or --open FILE --to DIR")),
    }
}

fn make(parts: &Parts<'_>, out: &Path, force: bool, context: Context) -> Result<u8, CliError> {
    let plan = OutputPlan::new(force).masks(parts.masks).input(parts.certificate);
    let plan = parts.policies.iter().copied().fold(plan, OutputPlan::policy);
    let given = [parts.states, parts.property, parts.witness];
    let plan = given.into_iter().flatten().fold(plan, OutputPlan::input);
    let outputs = plan.file("--out", out).test()?;
    let bytes = pack(parts)?;
    if bytes.len() > MAX_BUNDLE {
        let size = bytes.len();
        return Err(CliError::internal(format!("{size} bytes, a bundle has at most {MAX_BUNDLE}")));
    }
    let bar = Bar::new(context.progress);
    // What goes in is what a check without signatures accepts, so that nobody receives a bundle of something else.
    let checked = check_bytes(out, &bytes, None, &mut |done, total| bar.advance("checking", done, total));
    bar.finish();
    let checked = checked.map_err(|error| rejected(&error))?;
    let members = listed(&bytes)?;
    let (files, size, digest) = (members.len(), bytes.len(), sha256_hex(&bytes));
    let mut set = outputs.set();
    set.add(out, bytes);
    write(set)?;
    let about = match checked {
        Checked::Policy(_) => "a policy and an adversary",
        Checked::Property(..) if parts.policies.len() > 1 => "several networks and a property",
        Checked::Property(..) => "a network and a property",
    };
    let shown = out.display();
    let text = format!(
        "bundle   {shown}, {files} files, {size} bytes\nsha256   {digest}\nabout    {about}\n\
         checked  against the files in it; whose signatures count is for who receives it:\n         \
         secateur-check {} --trust TRUST.json",
        path_in_shell(out)
    );
    let document = json!({"bundle": out, "size": size, "sha256": digest, "members": members});
    context.print(&text, &document)?;
    Ok(0)
}

fn rejected(error: &Failure) -> CliError {
    let word = if error.exit_code() == 3 { "rejected: " } else { "" };
    CliError { message: format!("{word}{error}"), code: error.exit_code() }
}

/// Names, sizes and digests of the members.
fn listed(bytes: &[u8]) -> Result<Vec<Value>, CliError> {
    let bundle = Bundle::parse(bytes).map_err(CliError::internal)?;
    let member = |member: &secateur_checker::bundle::Member<'_>| json!({"name": member.name, "size": member.contents.len(), "sha256": sha256_hex(member.contents)});
    Ok(bundle.members().iter().map(member).collect())
}

fn open(path: &Path, to: &Path, force: bool, context: Context) -> Result<u8, CliError> {
    let plan = OutputPlan::new(force).input(path);
    let bytes = read_file(path, MAX_BUNDLE)?;
    let named =
        |error: BundleError| CliError::input(format!("{}: {error}", Escaped(&path.to_string_lossy())));
    let members = unpack(&bytes).map_err(named)?;
    let plan = plan.folder("--to", to);
    let plan = members.iter().fold(plan, |plan, (name, _)| plan.file("--to", &to.join(name)));
    let outputs = plan.test()?;
    let mut set = outputs.set();
    let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
    let at = |name: &str| path_in_shell(&to.join(name));
    let about = if has(PROPERTY) {
        format!("--property {}", at(PROPERTY))
    } else {
        format!("--states {}", at("states.npy"))
    };
    let masks = if has(CHAIN) { format!(" --masks {}", at("masks")) } else { String::new() };
    let is_there = |folder: &&&str| has(&format!("{folder}/{}", POLICY[0]));
    let folders: Vec<String> = POLICIES.iter().filter(is_there).map(|folder| at(folder)).collect();
    let folders = folders.join(" ");
    let command = format!("secateur-check {folders} {about}{masks} --trust TRUST.json {}", at(CERTIFICATE));
    let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).collect();
    for (name, bytes) in members {
        set.add(to.join(name), bytes);
    }
    write(set)?;
    let text = format!(
        "opened   {} files into {}; nothing was checked:\n         {command}",
        names.len(),
        to.display()
    );
    context.print(&text, &json!({"folder": to, "files": names, "checked": false, "check": command}))?;
    Ok(0)
}
