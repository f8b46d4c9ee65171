//! `secateur check`: the trusted crate's check, and a comparison with the file a policy was imported from.

mod source;

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::bundle::{Checked, check_bundle};
use secateur_checker::load::{CheckPaths, Failure, Outcome, check_paths};
use secateur_checker::model::Perturbation;
use secateur_checker::reader::escaped::Escaped;
use serde_json::json;

use crate::certify::band::BandLimit;
use crate::certify::emit::units_word;
use crate::cli::command::check::source::Confirmed;
use crate::cli::command::verify;
use crate::cli::context::bar::Bar;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::UnitsWord;
use crate::cli::option::adversary::exact;
use crate::cli::option::band::band_limit;
use crate::progress::Progress;
use crate::show::band::{add_bands, answer};
use crate::show::summary::{summary_json, summary_text};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur check hopper/ --masks hopper/masks/ --states states.npy --trust keys/trust.json hopper.cert.dsse.json
  secateur check hopper/ --states states.npy --trust keys/trust.json --source model.onnx --source vecnormalize.pkl \
      hopper.cert.dsse.json
  secateur check hopper.secateur --trust keys/trust.json
  secateur check net.onnx prop.vnnlib --trust keys/trust.json proof.cert.dsse.json

`secateur-check`, the trusted crate's own small program, does the same check.")]
pub struct CheckArguments {
    /// A bundle alone; POLICY_DIR CERTIFICATE; or NETWORK PROPERTY CERTIFICATE for what `secateur verify` wrote.
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
    /// A file that the policy or a mask was imported from, told by its digest: imports it again and compares; repeat it.
    #[arg(long, value_name = "FILE")]
    source: Vec<PathBuf>,
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
    ];
    refuse_dash(named.map(|(option, path)| (option, path.as_deref())))?;
    refuse_dash(arguments.source.iter().map(|path| ("--source", Some(path.as_path()))))?;
    refuse_dash(arguments.files.iter().map(|path| ("FILES", Some(path.as_path()))))?;
    let limit = arguments.band_limit.as_deref().map(band_limit).transpose()?;
    if let [bundle] = arguments.files.as_slice() {
        return check_one_file(arguments, bundle, limit.as_ref(), context);
    }
    let (policy, certificate_path) = match arguments.files.as_slice() {
        [policy, certificate] => (policy, certificate),
        [_, _, _] if !arguments.source.is_empty() => {
            let message = "--source has no effect with NETWORK PROPERTY: both are imported again in any case";
            return Err(CliError::input(message));
        }
        [network, property, certificate] => {
            let (witness, trust) = (arguments.witness.as_deref(), arguments.trust.as_deref());
            return verify::check(network, property, certificate, witness, trust, context);
        }
        _ => {
            return Err(CliError::input(
                "give BUNDLE, POLICY_DIR CERTIFICATE, or NETWORK PROPERTY CERTIFICATE",
            ));
        }
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
    // Before the long check: another network than the one that was handed over needs no bounds.
    let confirmed = match arguments.source.as_slice() {
        [] => None,
        given => Some(source::compare(given, policy, arguments.masks.as_deref())?),
    };
    let bar = Bar::new(context.progress);
    let outcome = check_paths(&paths, &mut |done, total| bar.advance("checking", done, total));
    bar.finish();
    let outcome = outcome.map_err(|e| failure(&e))?;
    conclude(arguments, &outcome, confirmed.as_ref(), limit.as_ref(), context)
}

/// A bundle holds everything but the trust file.
fn check_one_file(
    arguments: &CheckArguments,
    bundle: &Path,
    limit: Option<&BandLimit>,
    context: Context,
) -> Result<u8, CliError> {
    let beside = [&arguments.masks, &arguments.states, &arguments.witness];
    if beside.iter().any(|path| path.is_some()) || !arguments.source.is_empty() {
        return Err(CliError::input(
            "one FILE is a bundle, which holds masks, states and witness: give none beside it, and no --source; \
             `secateur bundle --open` takes it apart; or give POLICY_DIR CERTIFICATE",
        ));
    }
    let bar = Bar::new(context.progress);
    let checked = check_bundle(bundle, arguments.trust.as_deref(), &mut |done, total| {
        bar.advance("checking", done, total);
    });
    bar.finish();
    match checked.map_err(|e| failure(&e))? {
        Checked::Policy(outcome) => conclude(arguments, &outcome, None, limit, context),
        Checked::Property(decided, signers) => verify::print_decided(&decided, &signers, context),
    }
}

/// Tests what is demanded of a verified certificate, and prints it.
fn conclude(
    arguments: &CheckArguments,
    outcome: &Outcome,
    confirmed: Option<&Confirmed>,
    limit: Option<&BandLimit>,
    context: Context,
) -> Result<u8, CliError> {
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
    let mut text = summary_text(certificate);
    let mut document = summary_json(certificate, "verified");
    if let Some(confirmed) = confirmed {
        confirmed.bind(certificate)?;
        text.push_str(&confirmed.text());
        document["source"] = confirmed.json();
    }
    text.push_str("\nverified");
    if outcome.signers.is_empty() {
        text.push_str(", unsigned: no signature was checked");
    }
    for signer in &outcome.signers {
        text.push_str(&format!(", signed by {} {}", Escaped(signer.name()), signer.keyid()));
    }
    let signers: Vec<_> =
        outcome.signers.iter().map(|s| json!({"name": s.name(), "keyid": s.keyid()})).collect();
    document["signed"] = json!(!signers.is_empty());
    document["signers"] = json!(signers);
    add_bands((&mut text, &mut document), &outcome.verified, &[], limit);
    context.print(&text, &document)?;
    let kept = limit.is_none_or(|limit| answer(&outcome.verified, limit).widest.is_some());
    Ok(u8::from(!kept))
}
