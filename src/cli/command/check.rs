//! `secateur check`: the trusted crate's check, and a comparison with the file a policy was imported from.

mod source;

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::bundle::{Checked, check_bundle};
use secateur_checker::demand::{Demands, Unmet};
use secateur_checker::load::{CheckPaths, Failure, Outcome, check_paths};
use secateur_checker::reader::escaped::Escaped;
use serde_json::json;

use crate::certify::band::BandLimit;
use crate::cli::command::check::source::Confirmed;
use crate::cli::command::verify;
use crate::cli::context::bar::Bar;
use crate::cli::context::error::remember;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context};
use crate::cli::option::band::band_limit;
use crate::cli::option::details::DetailOptions;
use crate::cli::option::networks::NetworkOptions;
use crate::mismatch::explain;
use crate::progress::Progress;
use crate::show::band::{add_bands, answer};
use crate::show::summary::{verified_json, verified_text};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur check hopper/ --masks hopper/masks/ --states states.npy \\
      --trust keys/trust.json hopper.cert.dsse.json
  secateur check hopper/ --states states.npy --trust keys/trust.json \\
      --source model.onnx --source vecnormalize.pkl hopper.cert.dsse.json
  secateur check hopper.secateur --trust keys/trust.json
  secateur check net.onnx prop.vnnlib --trust keys/trust.json \\
      proof.cert.dsse.json
  secateur check --network dense=hopper/ --network pruned=hopper/ \\
      --network-mask pruned=hopper/masks/mask-50.safetensors \\
      same.property.json --trust keys/trust.json same.cert.dsse.json

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
    #[command(flatten)]
    networks: NetworkOptions,
    #[command(flatten)]
    demands: DemandOptions,
    #[command(flatten)]
    details: DetailOptions,
    /// Demand that a claimed band of masks keeps a limit at every state: tv=L or deviation=L; exit code 1 if none does.
    #[arg(long, value_name = "tv=L|deviation=L")]
    band_limit: Option<String>,
}

/// What is demanded of a certificate beside that it is true; exit code 1 if it does not meet it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Demands")]
pub struct DemandOptions {
    /// This radius, of a linf ball unless --shape says l2.
    #[arg(long, value_name = "R")]
    epsilon: Option<String>,
    /// This shape: linf, l2 or per-coordinate.
    #[arg(long, value_name = "S")]
    shape: Option<String>,
    /// The radius is in these units: raw or normalised.
    #[arg(long, value_name = "U")]
    units: Option<String>,
    /// It speaks of at least N states, or of all rows of the file.
    #[arg(long, value_name = "N|all")]
    min_states: Option<String>,
    /// The states are read in these units, which is otherwise the signer's word.
    #[arg(long, value_name = "U")]
    state_units: Option<String>,
    /// tv, kl or deviation is at most LIMIT at every listed state under every mask; repeat it.
    #[arg(long, value_name = "Q=LIMIT")]
    max: Vec<String>,
    /// The certified radius: Q (tv, kl or deviation) is proved to keep LIMIT up to M times the adversary's radii at every
    /// listed state under every mask; same-action:M for the preferred action; repeat it.
    #[arg(long, value_name = "Q=LIMIT:M")]
    min_radius: Vec<String>,
    /// The policy has this digest: of all that defines it, not of its weights alone.
    #[arg(long, value_name = "sha256:...")]
    policy_digest: Option<String>,
}

impl DemandOptions {
    /// The checker's demands.
    ///
    /// # Errors
    /// Exit code 2.
    fn read(&self) -> Result<Demands, CliError> {
        let mut demands = Demands::default();
        let named = [
            ("--epsilon", &self.epsilon),
            ("--shape", &self.shape),
            ("--units", &self.units),
            ("--min-states", &self.min_states),
            ("--state-units", &self.state_units),
            ("--policy-digest", &self.policy_digest),
        ];
        let single = named.iter().filter_map(|(option, value)| value.as_ref().map(|value| (*option, value)));
        let most = self.max.iter().map(|value| ("--max", value));
        let least = self.min_radius.iter().map(|value| ("--min-radius", value));
        for (option, value) in single.chain(most).chain(least) {
            let added = demands.add(option, value);
            added.map_err(|takes| {
                CliError::input(format!("{option} takes {takes}, not {}", Escaped(value)))
            })?;
        }
        Ok(demands)
    }
}

/// What is demanded beside the truth.
struct Wanted {
    demands: Demands,
    limit: Option<BandLimit>,
}

impl Wanted {
    /// Refuses what a property certificate cannot meet.
    fn of_property(&self) -> Result<(), CliError> {
        if self.demands.is_about_policy() && self.limit.is_none() {
            return Ok(());
        }
        Err(CliError::input("of a property certificate only --policy-digest can be demanded"))
    }
}

/// The error of a demand that is not met.
pub fn unmet(unmet: Unmet) -> CliError {
    remember(unmet.code);
    CliError { message: format!("not met ({}): {}", unmet.code, unmet.words), code: 1 }
}

fn failure(error: &Failure) -> CliError {
    remember(&error.code());
    let message = match error.exit_code() {
        3 => format!("rejected: {error}"),
        _ => error.to_string(),
    };
    CliError { message, code: error.exit_code() }
}

/// Checks a certificate.
///
/// # Errors
/// Exit code 1 for a demand that is not met, 2 for unreadable files and malformed demands, 3 for rejected evidence, 4 for limits.
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
    let wanted = Wanted {
        demands: arguments.demands.read()?,
        limit: arguments.band_limit.as_deref().map(band_limit).transpose()?,
    };
    if arguments.networks.mask.is_some() && arguments.files.len() < 3 {
        let message =
            "--mask FILE is about NETWORK PROPERTY CERTIFICATE; a policy's certificate takes --masks DIR";
        return Err(CliError::input(message));
    }
    if let ([bundle], true) = (arguments.files.as_slice(), arguments.networks.is_empty()) {
        return check_one_file(arguments, bundle, &wanted, context);
    }
    let (policy, certificate_path) = match arguments.files.as_slice() {
        [policy, certificate] if arguments.networks.is_empty() => (policy, certificate),
        _ if !arguments.networks.is_empty() && !arguments.source.is_empty() => {
            return Err(CliError::input(
                "--source has no effect with --network: networks are imported again",
            ));
        }
        [files @ .., certificate] if !arguments.networks.is_empty() => {
            let (witness, trust) = (arguments.witness.as_deref(), arguments.trust.as_deref());
            wanted.of_property()?;
            return verify::check(
                files,
                &arguments.networks,
                certificate,
                (witness, trust),
                &wanted.demands,
                context,
            );
        }
        [_, _, _] if !arguments.source.is_empty() => {
            let message = "--source has no effect with NETWORK PROPERTY: both are imported again in any case";
            return Err(CliError::input(message));
        }
        [files @ .., certificate] if files.len() == 2 => {
            let (witness, trust) = (arguments.witness.as_deref(), arguments.trust.as_deref());
            wanted.of_property()?;
            let networks = &arguments.networks;
            return verify::check(files, networks, certificate, (witness, trust), &wanted.demands, context);
        }
        _ => {
            return Err(CliError::input(
                "give BUNDLE, POLICY_DIR CERTIFICATE, NETWORK PROPERTY CERTIFICATE, or --network NAME=PATH... \
                 PROPERTY CERTIFICATE",
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
    let outcome = outcome.map_err(|e| {
        let mut error = failure(&e);
        error.message.push_str(&explain(&e, &paths));
        error
    })?;
    conclude(arguments, &outcome, confirmed.as_ref(), &wanted, context)
}

/// A bundle holds everything but the trust file.
fn check_one_file(
    arguments: &CheckArguments,
    bundle: &Path,
    wanted: &Wanted,
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
        Checked::Policy(outcome) => conclude(arguments, &outcome, None, wanted, context),
        Checked::Property(decided, signers) => {
            wanted.of_property()?;
            verify::print_decided(&decided, &signers, &wanted.demands, context)
        }
    }
}

/// Tests what is demanded of a verified certificate, and prints it.
fn conclude(
    arguments: &CheckArguments,
    outcome: &Outcome,
    confirmed: Option<&Confirmed>,
    wanted: &Wanted,
    context: Context,
) -> Result<u8, CliError> {
    let limit = wanted.limit.as_ref();
    let certificate = outcome.verified.certificate();
    wanted.demands.meet(&outcome.verified).map_err(unmet)?;
    let mut text = verified_text(&outcome.verified, Some(&outcome.signers), &arguments.details.wanted());
    let mut document = verified_json(&outcome.verified);
    if let Some(confirmed) = confirmed {
        confirmed.bind(certificate)?;
        text.push_str(&confirmed.text());
        document["source"] = confirmed.json();
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
