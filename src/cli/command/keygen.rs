//! `secateur keygen`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::certify::keys::{Key, key_files};
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::force::Force;
use crate::outputs::OutputPlan;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  secateur keygen --out keys/")]
pub struct KeygenArguments {
    /// Directory for NAME.pem (private, PKCS#8), NAME.pub.pem (SPKI) and trust.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the key in file names and in the trust file.
    #[arg(long, default_value = "secateur", value_parser = plain_name)]
    name: String,
    #[command(flatten)]
    force: Force,
}

fn plain_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain { Ok(text.to_owned()) } else { Err("use letters, digits, - and _".to_owned()) }
}

/// Makes and writes a key pair.
///
/// # Errors
/// Exit code 2 if a file is there already or cannot be written, 4 without randomness.
pub fn run(arguments: &KeygenArguments, context: Context) -> Result<u8, CliError> {
    let files = key_files(&arguments.out, &arguments.name);
    let plan = OutputPlan::new(arguments.force.force).folder("--out", &arguments.out);
    let outputs = files.iter().fold(plan, |plan, path| plan.file("--out", path)).test()?;
    let key = Key::generate().map_err(CliError::internal)?;
    let mut set = outputs.set();
    key.add_to(&mut set, &arguments.out, &arguments.name);
    write(set)?;
    let keyid = key.public().map(|p| p.keyid()).unwrap_or_default();
    let [private, _, trust] = files;
    let text = format!(
        "key      {keyid}\nprivate  {} (keep it secret)\ntrust    {} (give it to whoever checks)",
        private.display(),
        trust.display()
    );
    context.print(&text, &json!({"keyid": keyid, "private": private, "trust": trust}))?;
    Ok(0)
}
