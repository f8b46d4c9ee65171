//! `secateur keys`: what a trust file says, and its next state.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secateur_checker::load::read_file;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::pem::PublicKey;
use secateur_checker::reader::trust::{MAX_TRUST, parse_trust};
use serde_json::{Value, json};

use crate::certify::VERIFIER_ID;
use crate::certify::trust_file::{TrustEntry, TrustError, TrustFile, is_short};
use crate::cli::context::{CliError, Context, write};
use crate::cli::option::force::Force;
use crate::outputs::{OutputPlan, there};
use crate::policy::input::{MAX_TEXT, read_text};
use crate::show::quoted::quoted;

/// Said wherever fingerprints are printed.
const CHANNEL: &str = "\
A trust file, or these fingerprints, must reach whoever checks by another way
than the certificates do: what comes with a certificate can be changed with it.";

/// Arguments of `keys`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur keys show keys/trust.json
  secateur keys add trust.json vendor.pub.pem --name vendor
  secateur keys revoke trust.json vendor --reason \"laptop lost\"
  secateur keys revoke trust.json old --expired
  secateur keys merge ours.json theirs.json --out trust.json

A trust file says whose signatures count. It, or its fingerprints, must arrive
by another way than the certificates do. `add` and `revoke` change the file in
place, as a whole or not at all; `merge` writes another.")]
pub struct KeysArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the keys of a trust file, or of a public key in PEM: names, fingerprints, what their signatures count for.
    Show {
        /// The trust file, or a public key.
        file: PathBuf,
    },
    /// Add a public key to a trust file; makes the file if there is none.
    Add {
        /// The trust file, changed in place.
        trust: PathBuf,
        /// The public key, SPKI PEM.
        key: PathBuf,
        /// What it is called there.
        #[arg(long, value_name = "NAME", value_parser = short)]
        name: String,
    },
    /// Revoke a key: a certificate that it signed is refused from now on, whoever else signed it.
    Revoke {
        /// The trust file, changed in place.
        trust: PathBuf,
        /// The key's name there, or its fingerprint.
        key: String,
        /// Why; a check says it.
        #[arg(long, value_name = "TEXT", value_parser = short)]
        reason: Option<String>,
        /// Its time is over, nothing is wrong with it: its signatures no longer count, and spoil nothing.
        #[arg(long)]
        expired: bool,
    },
    /// Write the keys of two trust files into another; what is revoked in one of them stays revoked.
    Merge {
        /// One.
        one: PathBuf,
        /// The other.
        two: PathBuf,
        /// How many active keys must have signed; needed if the two disagree.
        #[arg(long, value_name = "N")]
        threshold: Option<usize>,
        /// The trust file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        force: Force,
    },
}

fn short(text: &str) -> Result<String, String> {
    if is_short(text) { Ok(text.to_owned()) } else { Err("1 to 256 bytes".to_owned()) }
}

fn at(path: &Path, error: impl std::fmt::Display) -> CliError {
    CliError::input(format!("{}: {error}", Escaped(&path.to_string_lossy())))
}

fn read_trust(path: &Path) -> Result<TrustFile, CliError> {
    TrustFile::parse(&read_file(path, MAX_TRUST)?).map_err(|e| at(path, e))
}

fn read_key(path: &Path) -> Result<PublicKey, CliError> {
    let text = read_text(path, MAX_TEXT).map_err(|e| at(path, e))?;
    PublicKey::parse_pem(&text).map_err(|e| at(path, e))
}

/// Shows or changes a trust file.
///
/// # Errors
/// Exit code 2.
pub fn run(arguments: &KeysArguments, context: Context) -> Result<u8, CliError> {
    match &arguments.action {
        Action::Show { file } => show(file, context),
        Action::Add { trust, key, name } => {
            let outputs = OutputPlan::new(false).input(key).state("TRUST", trust).test()?;
            let key = read_key(key)?;
            let mut file = match there(trust) {
                true => read_trust(trust)?,
                false => {
                    let verifiers = Some(vec![VERIFIER_ID.to_owned()]);
                    TrustFile { threshold: 1, keys: Vec::new(), verifiers }
                }
            };
            file.add(name, key).map_err(|e| at(trust, e))?;
            let mut set = outputs.set();
            set.update(trust, file.emit().map_err(|e| at(trust, e))?);
            write(set)?;
            print(trust, &file, Some("added"), context)
        }
        Action::Revoke { trust, key, reason, expired } => {
            let outputs = OutputPlan::new(false).state("TRUST", trust).test()?;
            let mut file = read_trust(trust)?;
            let status = if *expired { "expired" } else { "revoked" };
            file.retire(key, status, reason.as_deref()).map_err(|e| at(trust, e))?;
            let mut set = outputs.set();
            set.update(trust, file.emit().map_err(|e| at(trust, e))?);
            write(set)?;
            print(trust, &file, Some(status), context)
        }
        Action::Merge { one, two, threshold, out, force } => {
            let plan = OutputPlan::new(force.force).input(one).input(two).file("--out", out);
            let outputs = plan.test()?;
            let merged = read_trust(one)?.merge(&read_trust(two)?, *threshold);
            let merged = merged.map_err(|e| match e {
                TrustError::Apart(why) => CliError::input(why),
                other => at(out, other),
            })?;
            let mut set = outputs.set();
            set.add(out, merged.emit().map_err(|e| at(out, e))?);
            write(set)?;
            print(out, &merged, Some("merged"), context)
        }
    }
}

fn show(path: &Path, context: Context) -> Result<u8, CliError> {
    let bytes = read_file(path, MAX_TRUST)?;
    if !bytes.starts_with(b"-----BEGIN ") {
        let file = TrustFile::parse(&bytes).map_err(|e| at(path, e))?;
        return print(path, &file, None, context);
    }
    let entry = TrustEntry::active("", read_key(path)?);
    let text = format!("key      {}\nspki     sha256:{}\n{CHANNEL}", entry.key.keyid(), entry.spki_digest());
    context.print(&text, &json!({"keyid": entry.key.keyid(), "spkiSha256": entry.spki_digest()}))?;
    Ok(0)
}

/// What the signatures of a key count for.
fn meaning(entry: &TrustEntry) -> String {
    let reason = entry.reason.as_deref().map(|reason| format!(", because of {}", quoted(reason)));
    let reason = reason.unwrap_or_default();
    match entry.status.as_str() {
        "active" => "active: its signatures count".to_owned(),
        "revoked" => format!("revoked{reason}: a certificate that it signed is refused"),
        "expired" => format!("expired{reason}: its signatures no longer count"),
        other => format!("{}{reason}", quoted(other)),
    }
}

fn print(path: &Path, file: &TrustFile, done: Option<&str>, context: Context) -> Result<u8, CliError> {
    let mut text = done.map(|done| format!("{done:<8} {}\n", path.display())).unwrap_or_default();
    text.push_str(&format!("asks for {} of {} active keys\n", file.threshold, file.active()));
    for entry in &file.keys {
        let (name, keyid, digest) = (quoted(&entry.name), entry.key.keyid(), entry.spki_digest());
        text.push_str(&format!("key      {name}\n         {}\n", meaning(entry)));
        text.push_str(&format!("         {keyid}\n         spki sha256:{digest}\n"));
    }
    match &file.verifiers {
        None => text.push_str("accepts certificates of every program\n"),
        Some(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
            text.push_str(&format!("accepts certificates of {}\n", ids.join(", ")));
        }
    }
    let refused = file.emit().ok().and_then(|text| parse_trust(text.as_bytes()).err());
    if refused.is_some() {
        text.push_str("too few keys are active: every check with this file is refused until one is added\n");
    }
    text.push_str(CHANNEL);
    let key = |entry: &TrustEntry| {
        json!({"name": entry.name, "status": entry.status, "reason": entry.reason, "keyid": entry.key.keyid(),
               "spkiSha256": entry.spki_digest()})
    };
    let document: Value = json!({
        "trust": path, "threshold": file.threshold, "active": file.active(), "usable": refused.is_none(),
        "keys": file.keys.iter().map(key).collect::<Vec<_>>(), "verifiers": file.verifiers,
    });
    context.print(&text, &document)?;
    Ok(0)
}
