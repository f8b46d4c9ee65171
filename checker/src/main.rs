//! `secateur-check`: checks a certificate against a policy, its masks and states. Trusted. `checker/README.md`.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use secateur_checker::answer::{
    lines, property_lines, property_verdict, sentence_lines, signed_lines, signer_lines, text, verdict,
};
use secateur_checker::bundle::{Checked, check_bundle};
use secateur_checker::demand::{Demands, OPTIONS};
use secateur_checker::load::{
    CheckPaths, Failure, Outcome, PropertyFiles, check_paths, check_property_files, load_policy, read_file,
};
use secateur_checker::property::Decided;
use secateur_checker::reader::certificate::SCHEMA_VERSION;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::property::MAX_PROPERTY;
use secateur_checker::reader::trust::SignerInfo;
use secateur_checker::threads::use_threads;

const USAGE: &str = "\
usage: secateur-check BUNDLE (--trust FILE.json | --unsigned) [DEMAND...]
       secateur-check POLICY_DIR --states FILE.npy (--trust FILE.json | --unsigned)
                      [--masks DIR] [--witness FILE] [DEMAND...] CERTIFICATE
       secateur-check POLICY_DIR... --property FILE.json (--trust FILE.json | --unsigned)
                      [--witness PROOF.json] [--policy-digest D] CERTIFICATE

Recomputes every bound of CERTIFICATE (a DSSE envelope) from the policy, the masks and the states, exactly, and
prints what was verified. What is in quotes is somebody else's word.
  BUNDLE         one file with all of it but the trust file (secateur bundle)
  POLICY_DIR     directory with policy.json and policy.safetensors; of a property of several networks one for each,
                 in the order in which the property names them
  --states       the states the certificate speaks of
  --masks        directory with chain.json and the masks it lists; without it, the dense policy
  --property     the property a sat or unsat certificate speaks of, instead of states
  --trust        whose signatures count; --unsigned skips signatures and says so
  --witness      side file; by default the one the certificate names, beside the certificate
demands, exit code 1 if the certificate is true and does not meet one:
  --epsilon R        this radius, of a linf ball unless --shape says l2
  --shape S          linf, l2 or per-coordinate
  --units U          the radius is in raw or normalised units
  --min-states N     it speaks of at least N states, or of all rows of the file
  --state-units U    the states are read as raw or normalised
  --max Q=LIMIT      tv, kl or deviation is at most LIMIT at every listed state under every mask; may be repeated
  --min-radius Q=LIMIT:M  Q is proved to keep LIMIT up to M times the radii, at every state and mask (same-action:M)
  --policy-digest D  the policy has this digest (not the one of its weights alone)
output:
  --details      every claim, exact numbers, the signer's names
  --quiet        nothing on standard output, no progress
  --threads N    threads to use, 1 or more; the answer does not depend on it (default: one per core)
  --version, --help
exit codes:
  0 verified, and every demand met
  1 verified, but a demand is not met
  2 usage, or a file that cannot be read or is not what its format says
  3 rejected: a signature, a digest, a bound or a verdict does not hold
  4 a limit of this program, or an input or output that failed";

const PROPERTY_DEMANDS: &str = "of a property certificate only --policy-digest can be demanded";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        return say(USAGE, 0);
    }
    if arguments.iter().any(|a| a == "--version" || a == "-V") {
        let version = env!("CARGO_PKG_VERSION");
        return say(&format!("secateur-check {version}, certificate format {SCHEMA_VERSION}"), 0);
    }
    if arguments.iter().any(|a| a == "-") {
        return complain("-: standard input is not read; a file or folder called - is ./-", 2);
    }
    let given = match parse_arguments(arguments) {
        Ok(given) => given,
        Err(wrong) => return complain(&format!("{wrong}\n{USAGE}"), 2),
    };
    use_threads(given.threads.unwrap_or(0));
    if given.trust.is_none() && !given.unsigned {
        return complain("give --trust FILE.json, or --unsigned to check without a signature", 2);
    }
    let result = match (&given.bundle, &given.property) {
        (Some(bundle), _) => check_one_file(&given, bundle),
        (None, Some(property)) => check_property(&given, property),
        (None, None) => check_policy(&given),
    };
    match result {
        Ok(_) if given.quiet => ExitCode::SUCCESS,
        Ok(text) => say(&text, 0),
        Err(Ended::Unmet(words)) => complain(&words, 1),
        Err(Ended::Failed(failure)) => {
            let word = if failure.exit_code() == 3 { "rejected" } else { "error" };
            complain(&format!("{word}: {failure}"), failure.exit_code())
        }
    }
}

#[derive(Default)]
struct Given {
    /// One, or of a property one or more.
    policies: Vec<PathBuf>,
    certificate: PathBuf,
    states: Option<PathBuf>,
    masks: Option<PathBuf>,
    trust: Option<PathBuf>,
    witness: Option<PathBuf>,
    property: Option<PathBuf>,
    bundle: Option<PathBuf>,
    demands: Demands,
    threads: Option<usize>,
    unsigned: bool,
    details: bool,
    quiet: bool,
}

/// Why there is nothing to say on standard output.
enum Ended {
    Failed(Failure),
    Unmet(String),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<secateur_checker::demand::Unmet> for Ended {
    fn from(unmet: secateur_checker::demand::Unmet) -> Self {
        Self::Unmet(format!("not met ({}): {}", unmet.code, unmet.words))
    }
}

fn check_one_file(given: &Given, bundle: &Path) -> Result<String, Ended> {
    let trust = given.trust.as_deref();
    match watched(given.quiet, |progress| check_bundle(bundle, trust, progress))? {
        Checked::Policy(outcome) => policy_answer(given, &outcome),
        Checked::Property(decided, signers) => property_answer(given, &decided, &signers),
    }
}

fn check_policy(given: &Given) -> Result<String, Ended> {
    let Given { policies, certificate, states, masks, trust, witness, .. } = given;
    let paths = CheckPaths {
        policy: policies.first().cloned().unwrap_or_default(),
        masks: masks.clone(),
        states: states.clone().unwrap_or_default(),
        trust: trust.clone(),
        witness: witness.clone(),
        certificate: certificate.clone(),
    };
    let outcome = watched(given.quiet, |progress| check_paths(&paths, progress))?;
    policy_answer(given, &outcome)
}

fn policy_answer(given: &Given, outcome: &Outcome) -> Result<String, Ended> {
    given.demands.meet(&outcome.verified)?;
    Ok(summary(outcome, given.details))
}

fn check_property(given: &Given, property: &Path) -> Result<String, Ended> {
    let loaded = given.policies.iter().map(|policy| load_policy(policy)).collect::<Result<Vec<_>, _>>()?;
    let property = read_file(property, MAX_PROPERTY)?;
    let policies = loaded.iter().map(|policy| [policy.manifest.as_slice(), policy.tensors.as_slice()]);
    let files = PropertyFiles { policies: policies.collect(), property: &property };
    let (witness, trust) = (given.witness.as_deref(), given.trust.as_deref());
    let (decided, signers) = watched(given.quiet, |progress| {
        check_property_files(&files, &given.certificate, witness, trust, &mut |done| progress(done, 0))
    })?;
    property_answer(given, &decided, &signers)
}

fn property_answer(given: &Given, decided: &Decided, signers: &[SignerInfo]) -> Result<String, Ended> {
    if !given.demands.is_about_policy() {
        return Err(Ended::Unmet(format!("not met (unmet-kind): {PROPERTY_DEMANDS}")));
    }
    given.demands.meet_property(decided)?;
    let lines = text(&property_lines(decided, signers, given.details));
    Ok(format!("{}\n{lines}", property_verdict(decided)))
}

fn summary(outcome: &Outcome, details: bool) -> String {
    let verified = &outcome.verified;
    let (certificate, facts) = (verified.certificate(), verified.facts());
    let mut all = signed_lines(&outcome.signers);
    all.extend(lines(certificate, Some(facts), details));
    all.extend(sentence_lines(facts));
    all.extend(signer_lines(certificate, Some(facts), details));
    format!("{}\n{}", verdict(verified), text(&all))
}

fn parse_arguments(arguments: Vec<OsString>) -> Result<Given, String> {
    let mut given = Given::default();
    let mut plain = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let word = argument.to_string_lossy().into_owned();
        let slot = match word.as_str() {
            "--states" => &mut given.states,
            "--trust" => &mut given.trust,
            "--masks" => &mut given.masks,
            "--witness" => &mut given.witness,
            "--property" => &mut given.property,
            "--unsigned" | "--details" | "--quiet" | "-q" => {
                given.unsigned |= word == "--unsigned";
                given.details |= word == "--details";
                given.quiet |= word == "--quiet" || word == "-q";
                continue;
            }
            "--threads" => {
                let value = rest.next().ok_or("--threads wants a value")?;
                let number = value.to_str().and_then(|value| value.parse().ok()).filter(|number| *number > 0);
                let number: usize = number.ok_or_else(|| {
                    format!("--threads takes a number from 1 on, not {}", Escaped(&value.to_string_lossy()))
                })?;
                if given.threads.replace(number).is_some() {
                    return Err("--threads stands twice".to_owned());
                }
                continue;
            }
            demand if OPTIONS.contains(&demand) => {
                let value = rest.next().ok_or_else(|| format!("{demand} wants a value"))?;
                let value = value.to_string_lossy();
                let added = given.demands.add(demand, &value);
                added.map_err(|takes| format!("{demand} takes {takes}, not {}", Escaped(&value)))?;
                continue;
            }
            flag if flag.starts_with('-') => return Err(format!("there is no option {}", Escaped(flag))),
            _ => {
                plain.push(PathBuf::from(argument));
                continue;
            }
        };
        let value = rest.next().ok_or_else(|| format!("{word} wants a file"))?;
        if slot.replace(PathBuf::from(value)).is_some() {
            return Err(format!("{word} stands twice"));
        }
    }
    if given.unsigned && given.trust.is_some() {
        return Err("give --trust or --unsigned, not both".to_owned());
    }
    let others = [&given.states, &given.masks, &given.witness, &given.property];
    if plain.len() == 1 && others.iter().all(|other| other.is_none()) {
        given.bundle = plain.pop();
        return Ok(given);
    }
    let found = plain.len();
    let fits = found == 2 || (found > 2 && given.property.is_some());
    given.certificate = plain.pop().filter(|_| fits).ok_or_else(|| {
        format!("give BUNDLE alone, or POLICY_DIR and CERTIFICATE; there are {found} such arguments")
    })?;
    given.policies = plain;
    match (&given.states, &given.property) {
        (None, None) => Err("give --states FILE.npy, or --property FILE.json")?,
        (Some(_), Some(_)) => Err("give --states or --property, not both")?,
        (None, Some(_)) if given.masks.is_some() => {
            Err("a property certificate is about the dense policy: no --masks")?
        }
        (None, Some(_)) if !given.demands.is_about_policy() => {
            Err(PROPERTY_DEMANDS)?;
        }
        _ => {}
    }
    Ok(given)
}

/// A check with its progress on a terminal, and nothing elsewhere; a total of 0 is one that is known at the end.
fn watched<T>(quiet: bool, check: impl FnOnce(&mut dyn FnMut(usize, usize)) -> T) -> T {
    let on = !quiet && std::io::stderr().is_terminal();
    let mut shown = false;
    let checked = check(&mut |done, total| {
        if on && done > 0 && (total > 0 || done.is_multiple_of(64)) {
            shown = true;
            let of = if total > 0 { format!(" of {total}") } else { String::new() };
            let _ = write!(std::io::stderr(), "\r\u{1b}[2Kchecking {done}{of}");
        }
    });
    if shown {
        let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
    }
    checked
}

fn say(text: &str, code: u8) -> ExitCode {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
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
