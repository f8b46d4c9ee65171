//! The command line `secateur`. Untrusted; one file per subcommand, exit codes as `spec/README.md` lists them.

pub mod adversary;
#[cfg(feature = "train")]
pub mod attack;
#[cfg(feature = "train")]
pub mod attack_tables;
pub mod audit;
pub mod audit_folder;
pub mod band;
pub mod bracket_summary;
pub mod certify;
pub mod check;
pub mod decompose;
#[cfg(feature = "train")]
pub mod episodes;
pub mod import;
pub mod interrupt;
pub mod keygen;
pub mod output;
pub mod progress;
pub mod prune;
pub mod regions;
pub mod regret;
pub mod regret_summary;
pub mod report;
pub mod sa_mdp;
pub mod show;
pub mod source;
pub mod streams;
pub mod summary;
#[cfg(feature = "train")]
pub mod sweep;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod train_masks;
pub mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use secateur_checker::load::Failure;

/// Certifies what a pruned neural-network policy can be pushed into doing, and checks such certificates.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, about, after_help = EXAMPLES)]
pub struct Arguments {
    /// Worker threads; results do not depend on it. Default: one per core.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// What to print: text for people, or one JSON document.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// No progress on standard error.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  secateur audit fixtures/pendulum-tanh
  secateur import model.onnx --head gaussian --log-std log_std.npy --out hopper/
  secateur prune hopper/ --method magnitude --scope layer --sparsity 0,0.3,0.5 --out hopper/masks/
  secateur keygen --out keys/
  secateur certify hopper/ --masks hopper/masks/ --states states.npy --epsilon 0.075 \\
      --key keys/secateur.pem --out hopper.cert.dsse.json
  secateur check hopper/ --masks hopper/masks/ --states states.npy --trust keys/trust.json hopper.cert.dsse.json

Exit codes: 0 holds, 1 does not hold, 2 usage or unreadable input, 3 evidence rejected, 4 limit or internal error.";

/// Output for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences.
    Text,
    /// One JSON document on standard output.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "train")]
    /// Attack a policy, and every pruned version of it anew: returns with and without each adversary.
    Attack(attack::AttackArguments),
    /// The main job: certify a policy's mask chain as its audit.toml says, check the result, print the table.
    Audit(audit::AuditArguments),
    /// Bound a policy under an adversary and sign what was proved.
    Certify(certify::CertifyArguments),
    /// Check a certificate against a policy, its masks and states.
    Check(check::CheckArguments),
    /// Split measured returns into clean, pruning loss and robustness, beside certified bounds.
    Decompose(decompose::DecomposeArguments),
    #[cfg(feature = "train")]
    /// Draw the states of a statistical claim: independent episodes, each looked at once at a geometric time.
    Episodes(episodes::EpisodesArguments),
    /// Read a policy from ONNX, safetensors, NPZ, PyTorch or Stable-Baselines3 into a policy directory.
    Import(import::ImportArguments),
    /// Make an Ed25519 key pair and a trust file.
    Keygen(keygen::KeygenArguments),
    /// Make a chain of nested pruning masks.
    Prune(prune::PruneArguments),
    /// Several certificates in one table: how each family moved along each policy's mask chain.
    Report(report::ReportArguments),
    /// Solve a finite SA-MDP exactly and compare the gap with the regret bounds.
    SaMdp(sa_mdp::SaMdpArguments),
    /// Print what a certificate claims, without checking it.
    Show(show::ShowArguments),
    #[cfg(feature = "train")]
    /// Train, prune, attack and certify over seeds, sparsities and attacks; tables and plots.
    Sweep(sweep::SweepArguments),
    #[cfg(feature = "train")]
    /// Train a policy with PPO: the reference trainer.
    Train(train::TrainArguments),
    /// Decide a VNN-LIB property of a network and sign the proof or the counterexample.
    Verify(verify::VerifyArguments),
    /// Print the JSON Schema of a certificate's payload.
    #[command(hide = true)]
    Schema(streams::DocumentOutput),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// A message for the user and the process's exit code.
#[derive(Debug)]
pub struct CliError {
    /// What went wrong and what to do.
    pub message: String,
    /// 1 to 4.
    pub code: u8,
}

impl CliError {
    /// Exit code 2: usage, configuration, unreadable or malformed input.
    pub fn input(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// Exit code 4: a limit or an internal error.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 4 }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self { message: failure.to_string(), code: failure.exit_code() }
    }
}

/// What a subcommand may use of the global options.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Output format.
    pub format: Format,
    /// Whether progress is wanted.
    pub progress: bool,
}

impl Context {
    /// Prints text for people, or the JSON document.
    ///
    /// # Errors
    /// Exit code 4 if standard output fails; a reader that has closed it is no failure.
    pub fn print(&self, text: &str, json: &serde_json::Value) -> Result<(), CliError> {
        let document = match self.format {
            Format::Text => format!("{}\n", text.trim_end()),
            Format::Json => format!("{json:#}\n"),
        };
        streams::print_bytes(document.as_bytes())
    }
}

/// Runs the command line and returns its exit code.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if let Some(threads) = arguments.threads
        && rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_err()
    {
        streams::complain(&format!("error: cannot start {threads} threads"));
        return ExitCode::from(4);
    }
    let context = Context { format: arguments.format, progress: !arguments.quiet };
    interrupt::catch_interrupts();
    let ended = dispatch(arguments.command, context);
    interrupt::finish_first();
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            streams::complain(&format!("error: {}", error.message));
            ExitCode::from(error.code)
        }
    }
}

fn dispatch(command: Command, context: Context) -> Result<u8, CliError> {
    match command {
        #[cfg(feature = "train")]
        Command::Attack(arguments) => attack::run(&arguments, context),
        Command::Audit(arguments) => audit::run(&arguments, context),
        Command::Certify(arguments) => certify::run(&arguments, context),
        Command::Check(arguments) => check::run(&arguments, context),
        Command::Decompose(arguments) => decompose::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Episodes(arguments) => episodes::run(&arguments, context),
        Command::Import(arguments) => import::run(&arguments, context),
        Command::Keygen(arguments) => keygen::run(&arguments, context),
        Command::Prune(arguments) => prune::run(&arguments, context),
        Command::Report(arguments) => report::run(&arguments, context),
        Command::SaMdp(arguments) => sa_mdp::run(&arguments, context),
        Command::Show(arguments) => show::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Sweep(arguments) => sweep::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Train(arguments) => train::run(&arguments, context),
        Command::Verify(arguments) => verify::run(&arguments, context),
        Command::Schema(out) => {
            out.emit_bytes(&out.test([])?, include_bytes!("../spec/certificate.schema.json"))?;
            Ok(0)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "secateur", &mut script);
            streams::print_bytes(&script)?;
            Ok(0)
        }
    }
}
