//! `secateur gate`: rules over checked certificates, for CI. What it does lies in `crate::gate`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::certify::keys::Key;
use crate::cli::context::bar::Bar;
use crate::cli::context::streams::{complain, print_bytes, refuse_dash};
use crate::cli::context::{CliError, Context, Format, write};
use crate::cli::option::force::Force;
use crate::gate::accept::accept;
use crate::gate::baseline::BaselineSource;
use crate::gate::config::{Bound, Gate};
use crate::gate::date::Day;
use crate::gate::decide::{Run, run as decide};
use crate::gate::emit::OutputFormat;
use crate::gate::emit::attest::attest;
use crate::gate::init::{InitPaths, init};
use crate::gate::report::Report;
use crate::gate::{FILE, GateError};
use crate::outputs::{OutputPlan, Outputs};

/// Where GitHub collects what a step says.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Arguments of `gate`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  secateur gate --init hopper.audit/hopper.cert.dsse.json --policy hopper/ \\
      --states states.npy
  secateur gate
  secateur gate accept                       # then commit the baseline
  secateur gate --baseline-rev main
  secateur gate --bind 3=pruned.onnx         # what is shipped is mask 3
  secateur gate --output github --output sarif=gate.sarif \\
      --output junit=gate.xml
  secateur gate --attest result.dsse.json --key keys/secateur.pem

The worst finding decides the exit code: 0 every rule holds, 1 a rule
does not, 2 something cannot be read or no baseline is there, 3 evidence
is rejected (a certificate, a signature, a deployed file), 4 a limit was
reached. spec/gate.md explains secateur.toml."
)]
pub struct GateArguments {
    #[command(subcommand)]
    command: Option<GateCommand>,
    /// The gate.
    #[arg(value_name = "FILE", default_value = FILE)]
    file: PathBuf,
    /// Write FILE, commented, from this certificate; then decide it.
    #[arg(long, value_name = "CERTIFICATE", requires_all = ["policy", "states"])]
    init: Option<PathBuf>,
    /// With --init: the policy directory.
    #[arg(long, value_name = "DIR", requires = "init")]
    policy: Option<PathBuf>,
    /// With --init: the masks; default: masks/ beside the certificate.
    #[arg(long, value_name = "DIR", requires = "init")]
    masks: Option<PathBuf>,
    /// With --init: the states the certificate speaks of.
    #[arg(long, value_name = "FILE", requires = "init")]
    states: Option<PathBuf>,
    /// With --init: whose signatures count; default: trust.json beside
    /// the certificate.
    #[arg(long, value_name = "FILE", requires = "init", conflicts_with = "unsigned")]
    trust: Option<PathBuf>,
    /// With --init: demand no signature.
    #[arg(long, requires = "init")]
    unsigned: bool,
    /// Compare with this baseline or certificate; repeat it.
    #[arg(long, value_name = "FILE")]
    baseline: Vec<PathBuf>,
    /// Take the baseline from this git revision.
    #[arg(long, value_name = "REV")]
    baseline_rev: Option<String>,
    /// A deployed file: exactly the policy under mask MASK, or under any
    /// mask; repeat it.
    #[arg(long, value_name = "[MASK=]FILE")]
    bind: Vec<String>,
    /// Write the report as text, json, sarif, junit, github, gitlab or
    /// markdown; without =FILE to standard output; repeat it.
    #[arg(long, value_name = "FORMAT[=FILE]")]
    output: Vec<String>,
    /// Sign the result as an in-toto Test Result statement.
    #[arg(long, value_name = "FILE", requires = "key")]
    attest: Option<PathBuf>,
    /// Signing key for --attest, PKCS#8 PEM.
    #[arg(long, value_name = "FILE", requires = "attest")]
    key: Option<PathBuf>,
    /// The day that exceptions are compared with; default: today, in UTC.
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<String>,
    #[command(flatten)]
    force: Force,
}

#[derive(Debug, Subcommand)]
enum GateCommand {
    /// Write the baseline from certificates that are checked now; not in CI.
    Accept(AcceptArguments),
}

/// Arguments of `gate accept`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  secateur gate accept && git add secateur.baseline.json

Refused where the environment variable CI is set: a person accepts.")]
struct AcceptArguments {
    /// The gate.
    #[arg(value_name = "FILE", default_value = FILE)]
    file: PathBuf,
}

impl From<GateError> for CliError {
    fn from(error: GateError) -> Self {
        let code = error.exit_code();
        let message = if code == 3 { format!("rejected: {error}") } else { error.to_string() };
        Self { message, code }
    }
}

/// Where the report goes in one format; standard output if nowhere.
struct Target {
    format: OutputFormat,
    file: Option<PathBuf>,
}

impl Target {
    fn parse(text: &str) -> Result<Self, CliError> {
        let (word, file) = text.split_once('=').map_or((text, None), |(word, file)| (word, Some(file)));
        let known: Vec<&str> = OutputFormat::ALL.iter().map(|(_, name)| *name).collect();
        let format = OutputFormat::parse(word).ok_or_else(|| {
            CliError::input(format!(
                "--output {text:?}: no format is called {word:?}; choose from {}",
                known.join(", ")
            ))
        })?;
        Ok(Self { format, file: file.filter(|f| *f != "-").map(PathBuf::from) })
    }
}

fn targets(arguments: &GateArguments, context: Context) -> Result<Vec<Target>, CliError> {
    let mut targets =
        arguments.output.iter().map(|text| Target::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let printed = targets.iter().filter(|t| t.file.is_none()).count();
    let asked = context.format == Format::Json;
    if printed + usize::from(asked) > 1 {
        return Err(CliError::input(
            "one report goes to standard output; write the others as --output FORMAT=FILE",
        ));
    }
    if printed == 0 {
        let format = if asked { OutputFormat::Json } else { OutputFormat::Text };
        targets.push(Target { format, file: None });
    }
    Ok(targets)
}

/// A mask number before the first `=`; a file whose name begins so is `./4=x`.
fn bound(text: &str) -> Bound {
    let named = text.split_once('=').and_then(|(mask, file)| Some((mask.parse().ok()?, file)));
    match named {
        Some((mask, file)) => Bound { file: PathBuf::from(file), mask: Some(mask) },
        None => Bound { file: PathBuf::from(text), mask: None },
    }
}

/// Decides a gate, or makes its file or its baseline.
///
/// # Errors
/// Exit codes 2, 3 and 4 for what keeps the gate from being decided; the findings decide the code otherwise.
pub fn run(arguments: &GateArguments, context: Context) -> Result<u8, CliError> {
    if let Some(GateCommand::Accept(arguments)) = &arguments.command {
        return run_accept(arguments, context);
    }
    let files = [
        ("FILE", Some(&arguments.file)),
        ("--init", arguments.init.as_ref()),
        ("--key", arguments.key.as_ref()),
    ];
    refuse_dash(files.map(|(option, path)| (option, path.map(PathBuf::as_path))))?;
    refuse_dash(arguments.baseline.iter().map(|path| ("--baseline", Some(path.as_path()))))?;
    let targets = targets(arguments, context)?;
    let today = match &arguments.today {
        Some(text) => Day::parse(text)
            .ok_or_else(|| CliError::input(format!("--today {text:?} is no day such as 2026-11-29")))?,
        None => Day::today(),
    };
    let bar = Bar::new(context.progress);
    // Before --init checks its certificate, and before its file is there.
    reports(first_plan(arguments), arguments, &targets).test()?;
    test_summary(&targets)?;
    if let Some(certificate) = &arguments.init {
        write_gate(arguments, certificate, &bar)?;
    }
    let gate = Gate::read(&arguments.file)?;
    let outputs = plan(arguments, &gate, &targets)?;
    let key = arguments.key.as_deref().map(Key::read).transpose().map_err(CliError::input)?;
    let baseline = BaselineSource { files: arguments.baseline.clone(), rev: arguments.baseline_rev.clone() };
    let bind = arguments.bind.iter().map(|text| bound(text)).collect();
    let report = decide(&gate, &Run { today, baseline, bind }, &bar);
    bar.finish();
    let report = report?;
    let mut set = outputs.set();
    for target in &targets {
        if let Some(file) = &target.file {
            set.add(file, target.format.emit(&report));
        }
    }
    if let (Some(file), Some(key)) = (&arguments.attest, &key) {
        let envelope = attest(&report, key).ok_or_else(|| CliError {
            message: "nothing was verified, so there is no subject to attest".to_owned(),
            code: report.exit_code(),
        });
        match envelope {
            Ok(envelope) => set.add(file, envelope),
            Err(error) => complain(&format!("note: {}", error.message)),
        }
    }
    write(set)?;
    if targets.iter().any(|t| t.format == OutputFormat::Github) {
        add_summary(&report)?;
    }
    if let Some(target) = targets.iter().find(|t| t.file.is_none()) {
        print_bytes(target.format.emit(&report).as_bytes())?;
    }
    Ok(report.exit_code())
}

fn plan(arguments: &GateArguments, gate: &Gate, targets: &[Target]) -> Result<Outputs, CliError> {
    let mut plan = OutputPlan::new(arguments.force.force).input(&gate.path).inputs(&arguments.key);
    plan = plan.input(&gate.place(&gate.baseline)).inputs(&arguments.baseline);
    for entry in &gate.policies {
        plan = plan.policy(&gate.place(&entry.directory)).input(&gate.place(&entry.states));
        plan = plan.input(&gate.place(&entry.certificate));
        let masks = entry.masks.as_ref().map(|masks| gate.place(masks));
        plan = plan.masks(masks.as_deref());
        for file in entry.trust.iter().chain(&entry.witness).chain(entry.bind.iter().map(|b| &b.file)) {
            plan = plan.input(&gate.place(file));
        }
    }
    plan = arguments.bind.iter().fold(plan, |plan, text| plan.input(&bound(text).file));
    Ok(reports(plan, arguments, targets).test()?)
}

/// What the command line alone says.
fn first_plan(arguments: &GateArguments) -> OutputPlan {
    let plan = OutputPlan::new(arguments.force.force).inputs(&arguments.key).inputs(&arguments.baseline);
    let plan = arguments.bind.iter().fold(plan, |plan, text| plan.input(&bound(text).file));
    let Some(certificate) = &arguments.init else { return plan.input(&arguments.file) };
    let plan = arguments.policy.iter().fold(plan, |plan, policy| plan.policy(policy));
    let plan = plan.input(certificate).inputs(&arguments.states).inputs(&arguments.trust);
    plan.masks(arguments.masks.as_deref()).file("--init", &arguments.file)
}

/// Adds what is written about the decision.
fn reports(plan: OutputPlan, arguments: &GateArguments, targets: &[Target]) -> OutputPlan {
    let files = targets.iter().filter_map(|t| t.file.as_ref());
    let plan = files.fold(plan, |plan, file| plan.file("--output", file));
    arguments.attest.iter().fold(plan, |plan, file| plan.file("--attest", file))
}

/// Writes `secateur.toml`.
fn write_gate(arguments: &GateArguments, certificate: &Path, bar: &Bar) -> Result<(), CliError> {
    let outputs = OutputPlan::new(arguments.force.force)
        .input(certificate)
        .inputs(&arguments.policy)
        .inputs(&arguments.states)
        .inputs(&arguments.trust)
        .file("--init", &arguments.file)
        .test()?;
    let paths = InitPaths {
        certificate: certificate.to_owned(),
        policy: arguments.policy.clone().unwrap_or_default(),
        masks: arguments.masks.clone(),
        states: arguments.states.clone().unwrap_or_default(),
        trust: arguments.trust.clone(),
    };
    let paths = paths.completed(arguments.unsigned);
    if paths.trust.is_none() && !arguments.unsigned {
        let message = "give --trust FILE.json, whose signatures count, or --unsigned to demand none";
        return Err(CliError::input(message));
    }
    let text = init(&arguments.file, &paths, bar)?;
    let mut set = outputs.set();
    set.add(&arguments.file, text);
    write(set)?;
    complain(&format!("wrote {}: read it, then commit it", arguments.file.display()));
    Ok(())
}

/// The file that GitHub shows, opened for more; nothing where there is none. The runner made it, and other steps write to it.
fn summary() -> Result<Option<(PathBuf, std::fs::File)>, CliError> {
    let Some(path) = std::env::var_os(STEP_SUMMARY).filter(|path| !path.is_empty()) else { return Ok(None) };
    let path = PathBuf::from(path);
    match std::fs::OpenOptions::new().append(true).create(true).open(&path) {
        Ok(file) => Ok(Some((path, file))),
        Err(e) => Err(CliError::input(format!("{STEP_SUMMARY} {}: {e}", path.display()))),
    }
}

fn test_summary(targets: &[Target]) -> Result<(), CliError> {
    if targets.iter().any(|t| t.format == OutputFormat::Github) { summary().map(drop) } else { Ok(()) }
}

/// Appends the Markdown report to it.
fn add_summary(report: &Report) -> Result<(), CliError> {
    let Some((path, mut file)) = summary()? else { return Ok(()) };
    let written = file.write_all(OutputFormat::Markdown.emit(report).as_bytes());
    written.map_err(|e| CliError::input(format!("{STEP_SUMMARY} {}: {e}", path.display())))
}

fn run_accept(arguments: &AcceptArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([("FILE", Some(arguments.file.as_path()))])?;
    let gate = Gate::read(&arguments.file)?;
    let path = gate.place(&gate.baseline);
    // The next state of a file that this command alone writes: no --force.
    let outputs = OutputPlan::new(false).input(&gate.path).state("baseline", &path).test()?;
    let bar = Bar::new(context.progress);
    let made = accept(&gate, &bar);
    bar.finish();
    let made = made?;
    let mut set = outputs.set();
    set.update(&path, made.emit());
    write(set)?;
    let mut text = format!("accepted {}\n", path.display());
    for (name, accepted) in &made.policies {
        text.push_str(&format!(
            "policy   {name}: {} masks, certificate sha256:{}\n",
            accepted.masks.len(),
            accepted.certificate
        ));
    }
    text.push_str("commit it: `secateur gate` compares with it where a rule says worse-by");
    let document = json!({"baseline": path, "policies": made.policies});
    context.print(&text, &document)?;
    Ok(0)
}
