//! `secateur check`: the trusted crate's check, and a comparison with the file a policy was imported from.

use std::path::PathBuf;

use clap::Args;
use secateur_checker::load::{CheckPaths, Failure, check_paths, read_file};
use secateur_checker::model::Perturbation;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::escaped::Escaped;
use serde_json::json;

use crate::certify::Progress;
use crate::certify::emit::units_word;
use crate::cli::adversary::{UnitsWord, exact};
use crate::cli::band::{add_bands, answer, band_limit};
use crate::cli::import::reimport;
use crate::cli::progress::Bar;
use crate::cli::streams::refuse_dash;
use crate::cli::summary::{summary_json, summary_text};
use crate::cli::{CliError, Context, verify};
use crate::import::MAX_FILE;

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur check hopper/ --masks hopper/masks/ --states states.npy --trust keys/trust.json hopper.cert.dsse.json
  secateur check net.onnx prop.vnnlib --trust keys/trust.json proof.cert.dsse.json

`secateur-check`, the trusted crate's own small program, does the same check.")]
pub struct CheckArguments {
    /// POLICY_DIR CERTIFICATE, or NETWORK PROPERTY CERTIFICATE for what `secateur verify` wrote.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Mask directory, if the certificate is about masks.
    #[arg(long, value_name = "DIR")]
    masks: Option<PathBuf>,
    /// The states the certificate speaks of.
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Whose signatures count.
    #[arg(long, value_name = "FILE", required_unless_present = "unsigned", conflicts_with = "unsigned")]
    trust: Option<PathBuf>,
    /// Check the claims without any signature; the result says so.
    #[arg(long)]
    unsigned: bool,
    /// Witness file; by default the one the certificate names, beside the certificate.
    #[arg(long, value_name = "FILE")]
    witness: Option<PathBuf>,
    /// The file the policy was imported from: imports it again and compares.
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Demand this radius.
    #[arg(long, value_name = "R")]
    epsilon: Option<String>,
    /// Demand these units of the radius.
    #[arg(long, value_enum)]
    units: Option<UnitsWord>,
    /// Demand that a claimed band of masks keeps a limit at every state: tv=L or deviation=L; exit code 1 if none does.
    #[arg(long, value_name = "tv=L|deviation=L")]
    band_limit: Option<String>,
}

fn failure(error: &Failure) -> CliError {
    let message = match error.exit_code() {
        3 => format!("rejected: {error}"),
        _ => error.to_string(),
    };
    CliError { message, code: error.exit_code() }
}

fn rejected(message: String) -> CliError {
    CliError { message: format!("rejected: {message}"), code: 3 }
}

/// Checks a certificate.
///
/// # Errors
/// Exit code 2 for unreadable files and a malformed band limit, 3 for rejected evidence, 4 for limits.
pub fn run(arguments: &CheckArguments, context: Context) -> Result<u8, CliError> {
    let named = [
        ("--masks", &arguments.masks),
        ("--states", &arguments.states),
        ("--trust", &arguments.trust),
        ("--witness", &arguments.witness),
        ("--source", &arguments.source),
    ];
    refuse_dash(named.map(|(option, path)| (option, path.as_deref())))?;
    refuse_dash(arguments.files.iter().map(|path| ("FILES", Some(path.as_path()))))?;
    let (policy, certificate_path) = match arguments.files.as_slice() {
        [policy, certificate] => (policy, certificate),
        [network, property, certificate] => {
            let (witness, trust) = (arguments.witness.as_deref(), arguments.trust.as_deref());
            return verify::check(network, property, certificate, witness, trust, context);
        }
        _ => return Err(CliError::input("give POLICY_DIR CERTIFICATE, or NETWORK PROPERTY CERTIFICATE")),
    };
    let Some(states) = &arguments.states else {
        return Err(CliError::input("give --states FILE.npy, the states that the certificate speaks of"));
    };
    let paths = CheckPaths {
        policy: policy.clone(),
        masks: arguments.masks.clone(),
        states: states.clone(),
        trust: arguments.trust.clone(),
        witness: arguments.witness.clone(),
        certificate: certificate_path.clone(),
    };
    let limit = arguments.band_limit.as_deref().map(band_limit).transpose()?;
    let bar = Bar::new(context.progress);
    let outcome = check_paths(&paths, &mut |done, total| bar.advance("checking", done, total));
    bar.finish();
    let outcome = outcome.map_err(|e| failure(&e))?;
    let certificate = outcome.verified.certificate();
    if let Some(epsilon) = &arguments.epsilon {
        let demanded = exact("--epsilon", epsilon)?;
        let stated = match &certificate.perturbation.shape {
            Perturbation::Linf { radius } | Perturbation::L2 { radius } => radius.clone(),
            Perturbation::PerCoordinate { .. } => {
                return Err(rejected(
                    "the certificate has one radius per coordinate, not one epsilon".to_owned(),
                ));
            }
        };
        if stated != demanded {
            return Err(rejected(format!("the certificate is about epsilon {stated}, not {demanded}")));
        }
    }
    if let Some(units) = arguments.units
        && certificate.perturbation.units != units.into()
    {
        let stated = units_word(certificate.perturbation.units);
        return Err(rejected(format!("the certificate's epsilon is in {stated} units")));
    }
    if let Some(source) = &arguments.source {
        check_source(policy, source, certificate)?;
    }
    let mut text = summary_text(certificate);
    text.push_str("\nverified");
    if outcome.signers.is_empty() {
        text.push_str(", unsigned: no signature was checked");
    }
    for signer in &outcome.signers {
        text.push_str(&format!(", signed by {} {}", Escaped(signer.name()), signer.keyid()));
    }
    let mut document = summary_json(certificate, "verified");
    let signers: Vec<_> =
        outcome.signers.iter().map(|s| json!({"name": s.name(), "keyid": s.keyid()})).collect();
    document["signed"] = json!(!signers.is_empty());
    document["signers"] = json!(signers);
    add_bands((&mut text, &mut document), &outcome.verified, &[], limit.as_ref());
    context.print(&text, &document)?;
    let kept = limit.is_none_or(|limit| answer(&outcome.verified, &limit).widest.is_some());
    Ok(u8::from(!kept))
}

fn check_source(
    policy: &std::path::Path,
    source: &std::path::Path,
    certificate: &secateur_checker::reader::certificate::Certificate,
) -> Result<(), CliError> {
    let bytes = read_file(source, MAX_FILE).map_err(|e| failure(&e))?;
    let found = sha256_hex(&bytes);
    let stated = certificate.inputs.iter().find(|f| f.role == "source");
    let Some(stated) = stated else {
        return Err(rejected("the certificate names no source file".to_owned()));
    };
    if stated.sha256 != found {
        let name = Escaped(&stated.name);
        return Err(rejected(format!(
            "the source file has SHA-256 {found}, the certificate speaks of {name} {}",
            stated.sha256
        )));
    }
    let digest = reimport(source, policy)?;
    if digest != certificate.weights_digest {
        let stated = &certificate.weights_digest;
        return Err(rejected(format!(
            "importing the source again gives weights {digest}, the certificate speaks of {stated}"
        )));
    }
    Ok(())
}
