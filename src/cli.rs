//! The command line `secateur`. Untrusted; one file per subcommand, exit codes as `spec/README.md` lists them.

pub mod command;
pub mod context;
pub mod option;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use secateur_checker::threads::use_threads;

#[cfg(feature = "train")]
use command::{attack, episodes, sweep, train};
use command::{
    audit, bundle, certify, check, check_witness, compare, decompose, diff, export, gate, import, keygen,
    keys, names, prune, report, sa_mdp, show, states, verify, vnncomp,
};
use context::error::failure_json;
use context::streams::{complain, print_bytes};
use context::{CliError, Context, Format, interrupt};
use option::document::DocumentOutput;

/// Certifies what a pruned neural-network policy can be pushed into doing, and checks such certificates.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, about, after_help = EXAMPLES)]
pub struct Arguments {
    /// Worker threads; results do not depend on it. Default: one per core.
    #[arg(long, global = true, value_name = "N", help_heading = "Of every command")]
    threads: Option<usize>,
    /// What to print: text for people, or one JSON document.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Of every command")]
    format: Format,
    /// No progress on standard error.
    #[arg(long, short, global = true, help_heading = "Of every command")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  secateur audit fixtures/pendulum-tanh
  secateur import model.onnx --head gaussian --log-std log_std.npy --out hopper/
  secateur prune hopper/ --method magnitude --scope layer --sparsity 0,0.3,0.5 \\
      --out hopper/masks/
  secateur keygen --out keys/
  secateur certify hopper/ --masks hopper/masks/ --states states.npy \\
      --epsilon 0.075 --key keys/secateur.pem --out hopper.cert.dsse.json
  secateur check hopper/ --masks hopper/masks/ --states states.npy \\
      --trust keys/trust.json hopper.cert.dsse.json
  secateur bundle hopper/ hopper.cert.dsse.json --masks hopper/masks/ \\
      --states states.npy --out hopper.secateur
  secateur diff last-release.secateur hopper.secateur

Exit codes: 0 holds, 1 does not hold, 2 usage or unreadable input, 3 evidence rejected, 4 limit or internal error.";

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "train")]
    /// Attack a policy, and every pruned version of it anew: returns with and without each adversary.
    Attack(attack::AttackArguments),
    /// The main job: certify a policy's mask chain as its audit.toml says, check the result, print the table.
    Audit(audit::AuditArguments),
    /// Put a certificate and all that it is checked against into one file, or take such a file apart.
    Bundle(bundle::BundleArguments),
    /// Bound a policy under an adversary and sign what was proved.
    Certify(Box<certify::CertifyArguments>),
    /// Check a certificate against a policy, its masks and states.
    Check(check::CheckArguments),
    /// Decide exactly whether a counterexample to a VNN-LIB property, whoever found it, is one.
    CheckWitness(check_witness::CheckWitnessArguments),
    /// Compare a pruned network with the dense one over boxes of inputs, and sign the proof or the counterexample.
    Compare(compare::CompareArguments),
    /// Split measured returns into clean, pruning loss and robustness, beside certified bounds.
    Decompose(decompose::DecomposeArguments),
    /// Say what changed from one certificate to another, without checking them.
    Diff(diff::DiffArguments),
    #[cfg(feature = "train")]
    /// Draw the states of a statistical claim: independent episodes, each looked at once at a geometric time.
    Episodes(episodes::EpisodesArguments),
    /// Write a policy under a mask as ONNX or safetensors, exactly.
    Export(export::ExportArguments),
    /// Decide a release: rules over checked certificates, in CI.
    Gate(Box<gate::GateArguments>),
    /// Read a policy from ONNX, safetensors, NPZ, PyTorch or Stable-Baselines3 into a policy directory.
    Import(import::ImportArguments),
    /// Make an Ed25519 key pair and a trust file.
    Keygen(keygen::KeygenArguments),
    /// Show a trust file and change it: whose signatures count.
    Keys(keys::KeysArguments),
    /// Say what a policy's inputs and outputs are called, in which units.
    Names(names::NamesArguments),
    /// Make a chain of nested pruning masks.
    Prune(prune::PruneArguments),
    /// Several certificates in one table: how each family moved along each policy's mask chain.
    Report(report::ReportArguments),
    /// Solve a finite SA-MDP exactly and compare the gap with the regret bounds.
    SaMdp(sa_mdp::SaMdpArguments),
    /// Print what a certificate claims, without checking it.
    Show(show::ShowArguments),
    /// Draw states around what the policy's normaliser saw, where no environment is at hand.
    States(states::StatesArguments),
    #[cfg(feature = "train")]
    /// Train, prune, attack and certify over seeds, sparsities and attacks; tables and plots.
    Sweep(sweep::SweepArguments),
    #[cfg(feature = "train")]
    /// Train a policy with PPO: the reference trainer.
    Train(train::TrainArguments),
    /// Decide a VNN-LIB property of a network and sign the proof or the counterexample.
    Verify(Box<verify::VerifyArguments>),
    /// Decide a list of VNN-LIB instances, each within its time, and write the competition's result lines.
    Vnncomp(vnncomp::VnncompArguments),
    /// Print the JSON Schema of a certificate's payload.
    #[command(hide = true)]
    Schema(DocumentOutput),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line and returns its exit code.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            if error.use_stderr() && wants_json(std::env::args()) {
                let said = error.to_string();
                let said = said.trim().trim_start_matches("error: ");
                let _ = print_bytes(format!("{:#}\n", failure_json(&CliError::input(said))).as_bytes());
            }
            return ExitCode::from(code);
        }
    };
    if arguments.format == Format::Snapshot && !matches!(arguments.command, Command::Show(_)) {
        complain("error: --format snapshot is of `secateur show` only; here it is text or json");
        return ExitCode::from(2);
    }
    use_threads(arguments.threads.unwrap_or(0));
    if let Some(threads) = arguments.threads
        && rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_err()
    {
        complain(&format!("error: cannot start {threads} threads"));
        return ExitCode::from(4);
    }
    let context = Context { format: arguments.format, progress: !arguments.quiet };
    interrupt::catch_interrupts();
    let ended = dispatch(arguments.command, context);
    interrupt::finish_first();
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("error: {}", error.message));
            if context.format == Format::Json {
                // Whoever reads documents gets one; that it cannot be printed changes nothing.
                let _ = print_bytes(format!("{:#}\n", failure_json(&error)).as_bytes());
            }
            ExitCode::from(error.code)
        }
    }
}

/// Whether a command line that could not be read asks for documents.
fn wants_json(mut words: impl Iterator<Item = String>) -> bool {
    while let Some(word) = words.next() {
        if word == "--format=json" || (word == "--format" && words.next().as_deref() == Some("json")) {
            return true;
        }
    }
    false
}

fn dispatch(command: Command, context: Context) -> Result<u8, CliError> {
    match command {
        #[cfg(feature = "train")]
        Command::Attack(arguments) => attack::run(&arguments, context),
        Command::Audit(arguments) => audit::run(&arguments, context),
        Command::Bundle(arguments) => bundle::run(&arguments, context),
        Command::Certify(arguments) => certify::run(&arguments, context),
        Command::Check(arguments) => check::run(&arguments, context),
        Command::CheckWitness(arguments) => check_witness::run(&arguments, context),
        Command::Compare(arguments) => compare::run(&arguments, context),
        Command::Decompose(arguments) => decompose::run(&arguments, context),
        Command::Diff(arguments) => diff::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Episodes(arguments) => episodes::run(&arguments, context),
        Command::Export(arguments) => export::run(&arguments, context),
        Command::Gate(arguments) => gate::run(&arguments, context),
        Command::Import(arguments) => import::run(&arguments, context),
        Command::Keygen(arguments) => keygen::run(&arguments, context),
        Command::Keys(arguments) => keys::run(&arguments, context),
        Command::Names(arguments) => names::run(&arguments, context),
        Command::Prune(arguments) => prune::run(&arguments, context),
        Command::Report(arguments) => report::run(&arguments, context),
        Command::SaMdp(arguments) => sa_mdp::run(&arguments, context),
        Command::Show(arguments) => show::run(&arguments, context),
        Command::States(arguments) => states::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Sweep(arguments) => sweep::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Train(arguments) => train::run(&arguments, context),
        Command::Verify(arguments) => verify::run(&arguments, context),
        Command::Vnncomp(arguments) => vnncomp::run(&arguments, context),
        Command::Schema(out) => {
            out.emit_bytes(&out.test([])?, include_bytes!("../spec/certificate.schema.json"))?;
            Ok(0)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "secateur", &mut script);
            print_bytes(&script)?;
            Ok(0)
        }
    }
}
