//! `secateur-check`: checks a certificate against a policy, its masks and states. Trusted. `checker/README.md`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secateur_checker::bundle::{Checked, check_bundle};
use secateur_checker::load::{
    CheckPaths, Failure, Outcome, PropertyFiles, check_paths, check_property_files, load_policy, read_file,
};
use secateur_checker::property::Decided;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::escaped::{Escaped, EscapedSentence};
use secateur_checker::reader::property::MAX_PROPERTY;
use secateur_checker::reader::regret::RegretForm;
use secateur_checker::reader::trust::SignerInfo;

const USAGE: &str = "\
usage: secateur-check BUNDLE (--trust FILE.json | --unsigned)
       secateur-check POLICY_DIR --states FILE.npy (--trust FILE.json | --unsigned)
                      [--masks DIR] [--witness FILE] CERTIFICATE
       secateur-check POLICY_DIR --property FILE.json (--trust FILE.json | --unsigned)
                      [--witness PROOF.json] CERTIFICATE

Recomputes every bound of CERTIFICATE (a DSSE envelope) from the policy, the masks and the states, exactly.
  BUNDLE         one file with all of it but the trust file (secateur bundle)
  POLICY_DIR     directory with policy.json and policy.safetensors
  --states       the states the certificate speaks of
  --masks        directory with chain.json and the masks it lists; without it, the dense policy
  --property     the property a sat or unsat certificate speaks of, instead of states
  --trust        whose signatures count; --unsigned skips signatures and says so
  --witness      side file; by default the one the certificate names, beside the certificate
exit codes: 0 verified, 2 usage or unreadable file, 3 rejected, 4 limit";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        return say(USAGE, 0);
    }
    if arguments.iter().any(|a| a == "-") {
        return complain("-: standard input is not read; a file or folder called - is ./-", 2);
    }
    let Some(given) = parse_arguments(arguments) else {
        return complain(USAGE, 2);
    };
    if given.trust.is_none() && !given.unsigned {
        return complain("give --trust FILE.json, or --unsigned to check without a signature", 2);
    }
    let result = match (given.bundle.clone(), given.property.clone()) {
        (Some(bundle), _) => check_one_file(&given, &bundle),
        (None, Some(property)) => check_property(&given, &property),
        (None, None) => check_policy(given),
    };
    match result {
        Ok(text) => say(&text, 0),
        Err(failure) => {
            let word = if failure.exit_code() == 3 { "rejected" } else { "error" };
            complain(&format!("{word}: {failure}"), failure.exit_code())
        }
    }
}

struct Given {
    policy: PathBuf,
    certificate: PathBuf,
    states: PathBuf,
    masks: Option<PathBuf>,
    trust: Option<PathBuf>,
    witness: Option<PathBuf>,
    property: Option<PathBuf>,
    bundle: Option<PathBuf>,
    unsigned: bool,
}

fn check_one_file(given: &Given, bundle: &Path) -> Result<String, Failure> {
    match check_bundle(bundle, given.trust.as_deref(), &mut |_, _| {})? {
        Checked::Policy(outcome) => Ok(summary(&outcome)),
        Checked::Property(decided, signers) => Ok(decided_lines(&decided, &signers)),
    }
}

fn check_policy(given: Given) -> Result<String, Failure> {
    let Given { policy, certificate, states, masks, trust, witness, .. } = given;
    let paths = CheckPaths { policy, masks, states, trust, witness, certificate };
    check_paths(&paths, &mut |_, _| {}).map(|outcome| summary(&outcome))
}

fn check_property(given: &Given, property: &Path) -> Result<String, Failure> {
    let policy = load_policy(&given.policy)?;
    let property = read_file(property, MAX_PROPERTY)?;
    let files = PropertyFiles { manifest: &policy.manifest, tensors: &policy.tensors, property: &property };
    let (witness, trust) = (given.witness.as_deref(), given.trust.as_deref());
    let (decided, signers) = check_property_files(&files, &given.certificate, witness, trust, &mut |_| {})?;
    Ok(decided_lines(&decided, &signers))
}

fn decided_lines(decided: &Decided, signers: &[SignerInfo]) -> String {
    let mut text =
        format!("{}\nverified\nweights  {}\n", decided.word(), decided.certificate().weights_digest);
    text.push_str(&signer_lines(signers));
    text.trim_end().to_owned()
}

fn parse_arguments(arguments: Vec<std::ffi::OsString>) -> Option<Given> {
    let (mut states, mut trust, mut masks, mut witness, mut property) = (None, None, None, None, None);
    let mut unsigned = false;
    let mut plain = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let slot = match argument.to_str() {
            Some("--states") => &mut states,
            Some("--trust") => &mut trust,
            Some("--masks") => &mut masks,
            Some("--witness") => &mut witness,
            Some("--property") => &mut property,
            Some("--unsigned") => {
                unsigned = true;
                continue;
            }
            Some(flag) if flag.starts_with("--") => return None,
            _ => {
                plain.push(PathBuf::from(argument));
                continue;
            }
        };
        if slot.replace(PathBuf::from(rest.next()?)).is_some() {
            return None;
        }
    }
    let others = [&states, &masks, &witness, &property].iter().any(|given| given.is_some());
    let bundle = if plain.len() == 1 && !others { plain.pop() } else { None };
    if bundle.is_some() {
        let (policy, certificate, states) = <(PathBuf, PathBuf, PathBuf)>::default();
        let known = !(unsigned && trust.is_some());
        let given = Given { policy, certificate, states, masks, trust, witness, property, bundle, unsigned };
        return known.then_some(given);
    }
    let mut plain = plain.into_iter();
    let (policy, certificate) = (plain.next()?, plain.next()?);
    let one_kind = states.is_some() != property.is_some() && !(property.is_some() && masks.is_some());
    if plain.next().is_some() || !one_kind || (unsigned && trust.is_some()) {
        return None;
    }
    let states = states.unwrap_or_default();
    Some(Given { policy, certificate, states, masks, trust, witness, property, bundle, unsigned })
}

fn signer_lines(signers: &[SignerInfo]) -> String {
    if signers.is_empty() {
        return "unsigned: no signature was checked\n".to_owned();
    }
    signers.iter().map(|s| format!("signed by {} {}\n", Escaped(s.name()), s.keyid())).collect()
}

fn summary(outcome: &Outcome) -> String {
    let certificate = outcome.verified.certificate();
    let mut text = format!(
        "verified: {} claims over {} masks and {} states\nweights  {}\n",
        certificate.claims.len(),
        certificate.masks.len(),
        certificate.states,
        certificate.weights_digest
    );
    text.push_str(&signer_lines(&outcome.signers));
    text.push_str(&hurt_lines(certificate));
    text.push_str(&region_lines(certificate));
    text.push_str(&regret_lines(certificate));
    for line in certificate.assumptions.iter() {
        text.push_str(&format!("assumes  {}\n", EscapedSentence(line)));
    }
    for line in certificate.limits.iter() {
        text.push_str(&format!("limit    {}\n", EscapedSentence(line)));
    }
    text.trim_end().to_owned()
}

/// One line per step that the check showed to have hurt.
fn hurt_lines(certificate: &Certificate) -> String {
    let shown = certificate.brackets.iter().filter(|b| b.at.is_some());
    shown
        .map(|b| {
            let (state, output) = b.at.as_ref().map_or((None, None), |at| (at.state, at.index));
            let output = output.map_or_else(String::new, |i| format!(" of output {i}"));
            format!(
                "hurt     step {}, {}{output}: more after than can be before at {} of {} places, most at state {}\n",
                b.step,
                Escaped(&b.of),
                b.hurt,
                b.places,
                state.unwrap_or(0)
            )
        })
        .collect()
}

/// One line per claim about a box; every value and fraction was compared with what the cells prove.
fn region_lines(certificate: &Certificate) -> String {
    let mut text = String::new();
    for entry in &certificate.regions {
        let sides = entry.lower.iter().zip(&entry.upper).map(|(l, u)| format!("[{l}, {u}]"));
        let sides = sides.collect::<Vec<_>>().join(" x ");
        for claim in &entry.claims {
            let output = claim.output.map_or_else(String::new, |i| format!(" of output {i}"));
            let (quantity, value) = (Escaped(&claim.quantity), Escaped(&claim.value));
            text.push_str(&format!(
                "region   mask {}, {quantity}{output}: {value} bounds all of {sides}",
                entry.mask
            ));
            for share in &claim.shares {
                let (threshold, fraction) = (&share.threshold, &share.fraction);
                text.push_str(&format!("; {threshold} bounds {fraction} of its volume"));
            }
            text.push('\n');
        }
    }
    text
}

/// One line per regret claim and per statistical claim; every value was compared with the bound found.
fn regret_lines(certificate: &Certificate) -> String {
    let mut text = String::new();
    for claim in &certificate.regret {
        let of = match &claim.form {
            RegretForm::Sup { discount } | RegretForm::Expectation { discount } => {
                format!("discount {discount}")
            }
            RegretForm::Horizon { steps } => format!("{steps} steps"),
        };
        let (family, value) = (Escaped(&claim.family), Escaped(&claim.value));
        let (mask, region) = (claim.mask, claim.region.name());
        text.push_str(&format!("regret   at most {value}: {of}, mask {mask}, {family}, {region}\n"));
    }
    for claim in &certificate.statistical {
        let (family, value, level) = (Escaped(&claim.family), Escaped(&claim.value), &claim.confidence.level);
        let (mask, method) = (claim.mask, claim.method.name());
        text.push_str(&format!(
            "statistical, no proof: expected total variation at most {value} with confidence {level}, mask {mask}, {family}, {method}\n"
        ));
        if let Some(regret) = &claim.regret {
            let value = Escaped(&regret.value);
            text.push_str(&format!("statistical, no proof: regret at most {value} from it\n"));
        }
    }
    text
}

fn say(text: &str, code: u8) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::from(code),
        // Whoever closed the pipe has read enough; the verdict stands.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(code),
        Err(_) => complain("error: the verdict cannot be written to standard output", 4),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}
