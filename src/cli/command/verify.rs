//! `secateur verify`: VNN-LIB properties of networks.

pub mod float32;
mod point;
pub mod source;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::certify::emit::emit_envelope;
use clap::Args;
use secateur_checker::answer::{property_lines, property_verdict};
use secateur_checker::demand::Demands;
use secateur_checker::load::{PropertyFiles, check_property_files, load_policy, read_file};
use secateur_checker::property::Decided;
use secateur_checker::reader::certificate::FileDigest;
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::dsse::{MAX_ENVELOPE, parse_envelope};
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::trust::SignerInfo;
use secateur_checker::reader::verdict::{Claimed, parse_verdict};
use serde_json::json;

use crate::certify::keys::Key;
use crate::cli::command::check::unmet;
use crate::cli::context::bar::Bar;
use crate::cli::context::error::remember;
use crate::cli::context::interrupt::{kept, stop_requested};
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::force::Force;
use crate::cli::option::networks::NetworkOptions;
use crate::mismatch::explain_property;
use crate::outputs::{OutputPlan, Outputs};
use crate::policy::emit::{emit_manifest, emit_tensors};
use crate::policy::input::{MAX_OWN, read_bytes};
use crate::policy::write::{FileSet, hold};
use crate::progress::Progress;
use crate::search::branch::{BranchOptions, BranchState};
use crate::show::summary::FORMAT;
use crate::verify::kept::{emit_search, parse_search};
use crate::verify::leaves::begin_with_leaves;
use crate::verify::{Answer, Question, QuestionNetwork, SearchState, VerifyError, outputs_at, verify};

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur verify net.onnx prop.vnnlib --key keys/secateur.pem \\
      --out proof.cert.dsse.json
  secateur check net.onnx prop.vnnlib --trust keys/trust.json \\
      proof.cert.dsse.json
  secateur verify --network f=dense.onnx --network g=pruned.onnx pair.vnnlib
  # again and again, until it is decided
  secateur verify net.onnx prop.vnnlib --steps 5000 --resume search.json

The first line printed is unsat (no input satisfies the property; a proof is written beside the certificate), sat (an
exact input does; printed in decimals with the outputs) or unknown (the step budget ended first; --resume keeps the search so that it can go on).
Exit code 0 for sat and unsat, 1 for unknown.")]
pub struct VerifyArguments {
    /// ONNX network, or a policy directory, then a VNN-LIB property (1.0 or 2.0) or a property.json; with --network the property
    /// alone. It speaks of inputs before a normaliser.
    #[arg(required = true, num_args = 1..=2, value_names = ["NETWORK", "PROPERTY"])]
    files: Vec<PathBuf>,
    #[command(flatten)]
    networks: NetworkOptions,
    #[command(flatten)]
    decide: DecideOptions,
}

/// How a question is decided and where the answer goes.
#[derive(Debug, Args)]
pub struct DecideOptions {
    /// Signing key; without it nothing is written.
    #[arg(long, value_name = "FILE", requires = "out")]
    key: Option<PathBuf>,
    /// Certificate to write.
    #[arg(long, value_name = "FILE", requires = "key")]
    out: Option<PathBuf>,
    /// Most regions bounded per case.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    steps: u64,
    /// Most seconds that the search takes, its own check of what it found apart: then the answer is unknown.
    #[arg(long, value_name = "T", value_parser = seconds)]
    seconds: Option<Duration>,
    /// File that an unfinished search (budget used up, or Ctrl-C) is kept in and taken up from; it may not exist yet.
    #[arg(long, visible_alias = "resume", value_name = "FILE")]
    state: Option<PathBuf>,
    /// Where the search begins: leaves that another tool found (JSON, spec/leaves.md), or the proof of an earlier run, of this
    /// network or of one much like it. Every leaf is proved again; what is not proved is searched.
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    leaves: Option<PathBuf>,
    /// File for a counterexample of binary32 numbers, whose outputs an inference engine reproduces, beside the exact one: the
    /// competition's format, or that of the VNN-LIB standard for a property of version 2.0.
    #[arg(long, value_name = "FILE")]
    float32_witness: Option<PathBuf>,
    /// Directory for the canonical files that `secateur-check --property` reads.
    #[arg(long, value_name = "DIR")]
    canonical: Option<PathBuf>,
    /// Print a counterexample exactly, as fractions.
    #[arg(long)]
    details: bool,
    /// Seed of the search for counterexamples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    force: Force,
}

/// Seconds above 0.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "a number of seconds above 0 is needed, such as 60".to_owned())
}

/// A question, and where its search begins.
pub struct Begun {
    /// The question.
    pub question: Question,
    /// Trees that are there already; none for a search from nothing.
    pub search: SearchState,
    /// What is said of them: a line after a line break, or nothing.
    pub note: String,
}

impl From<Question> for Begun {
    fn from(question: Question) -> Self {
        Self { question, search: SearchState::default(), note: String::new() }
    }
}

/// The record of a file that was imported.
pub fn record(role: &str, path: &Path, bytes: &[u8]) -> FileDigest {
    FileDigest { role: role.to_owned(), name: source::unpacked_name(path), sha256: sha256_hex(bytes) }
}

/// [`asked`] of one network.
///
/// # Errors
/// Exit code 2.
pub fn question(network: &Path, property: &Path) -> Result<Question, CliError> {
    asked(&[network.to_owned(), property.to_owned()], &NetworkOptions::default())
}

/// Imports networks and property into the canonical files a certificate speaks of: `files` are a network and a property, or
/// the property of the networks that `networks` names.
///
/// # Errors
/// Exit code 2.
pub fn asked(files: &[PathBuf], networks: &NetworkOptions) -> Result<Question, CliError> {
    let given = networks.given()?;
    refuse_dash([("--mask", networks.mask.as_deref())])?;
    let (network, property) = match (files, given.as_slice()) {
        ([network, property], []) => (Some(network), property),
        ([property], [_, ..]) => (None, property),
        ([_], []) => {
            return Err(CliError::input("give NETWORK and PROPERTY, or --network NAME=PATH... and PROPERTY"));
        }
        _ => return Err(CliError::input("with --network give no other network: only PROPERTY")),
    };
    let (bytes, asked) = source::read_asked(property)?;
    // A canonical property file is the subject itself.
    let canonical = bytes.starts_with(b"{");
    let mut inputs = if canonical { Vec::new() } else { vec![record("property-source", property, &bytes)] };
    let (networks, stated) = match network {
        Some(network) => {
            let read = match &networks.mask {
                Some(mask) if network.is_dir() => source::read_masked(network, mask, &mut inputs)?,
                Some(_) => return Err(CliError::input("--mask FILE needs a policy directory as NETWORK")),
                None => read_network(network, &mut inputs)?,
            };
            (vec![read], asked.of_one()?)
        }
        None => asked.of_named(&given, &mut inputs)?,
    };
    let question = Question::several(networks, &stated.property, inputs).map_err(CliError::input)?;
    Ok(question.tightened(stated.tightened.as_deref()))
}

/// A network in its canonical files; an imported file is added to `inputs`.
///
/// # Errors
/// Exit code 2.
pub fn read_network(path: &Path, inputs: &mut Vec<FileDigest>) -> Result<QuestionNetwork, CliError> {
    let (manifest, tensors) = if path.is_dir() {
        let policy =
            load_policy(path).map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?;
        (policy.manifest, policy.tensors)
    } else {
        let bytes = source::read_network(path)?;
        inputs.push(record("source", path, &bytes));
        let data = source::import_network(path, &bytes)?;
        (emit_manifest(&data), emit_tensors(&data))
    };
    QuestionNetwork::new(manifest, tensors).map_err(CliError::input)
}

fn proof_name(out: Option<&PathBuf>) -> String {
    let name = out.and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = [".cert.dsse.json", ".dsse.json", ".json"].iter().find_map(|end| name.strip_suffix(end));
    format!("{}.proof.json", stem.unwrap_or(&name))
}

fn read_search(path: &Path, question: &Question) -> Result<SearchState, CliError> {
    if !path.exists() {
        return Ok(SearchState::default());
    }
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let bytes = read_bytes(path, MAX_OWN).map_err(|e| at(&e))?;
    parse_search(question, &bytes).map_err(|e| at(&e))
}

/// Where a file of leaves leads to, and a line about them after a line break.
fn begin(
    path: &Path,
    question: &Question,
    options: &BranchOptions,
) -> Result<(SearchState, String), CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let bytes = read_bytes(path, MAX_OWN).map_err(|e| at(&e))?;
    let (search, counts) = begin_with_leaves(question, options, &bytes).map_err(|e| at(&e))?;
    let line = format!(
        "\n{} leaves given: {} regions proved with their slopes, {} gone on from their numbers, {} searched anew, {} that no \
         leaf covers",
        counts.leaves, counts.proved, counts.begun, counts.searched, counts.uncovered
    );
    Ok((search, line))
}

/// Decides, signs, writes.
///
/// # Errors
/// Exit codes 2 and 4; unknown is exit code 1 and no error.
pub fn run(arguments: &VerifyArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash(arguments.files.iter().map(|path| ("NETWORK or PROPERTY", Some(path.as_path()))))?;
    let given = arguments.networks.given()?;
    let networks = given.iter().flat_map(|network| [Some(&network.path), network.mask.as_ref()]).flatten();
    let networks = networks.chain(&arguments.networks.mask);
    let reads: Vec<&Path> = arguments.files.iter().chain(networks).map(PathBuf::as_path).collect();
    let property = arguments.files.last().map(PathBuf::as_path);
    let question = |_: &BranchOptions, _: &dyn Fn() -> bool| {
        asked(&arguments.files, &arguments.networks).map(Begun::from)
    };
    decide(&arguments.decide, &reads, property, &question, context)
}

/// Makes the question, given how to search and when to stop.
pub type Ask<'a> = dyn Fn(&BranchOptions, &dyn Fn() -> bool) -> Result<Begun, CliError> + 'a;

/// Decides a question about the files `reads`, signs and writes. Where `property` names no file that states it, the property
/// is written too, beside the certificate.
///
/// # Errors
/// Exit codes 2 and 4; unknown is exit code 1 and no error.
pub fn decide(
    arguments: &DecideOptions,
    reads: &[&Path],
    property: Option<&Path>,
    question: &Ask<'_>,
    context: Context,
) -> Result<u8, CliError> {
    refuse_dash([("--resume", arguments.state.as_deref()), ("--leaves", arguments.leaves.as_deref())])?;
    let (name, beside) = (proof_name(arguments.out.as_ref()), property.is_none());
    // Before the network is read, which may take long; what is in --canonical is compared once its files are known.
    plan(arguments, reads, beside, &name).test()?;
    let options =
        BranchOptions { max_steps: arguments.steps, seed: arguments.seed, ..BranchOptions::default() };
    let begun = Instant::now();
    let late = || arguments.seconds.is_some_and(|most| begun.elapsed() >= most);
    let stop = || stop_requested() || late();
    let Begun { question, search, note } = question(&options, &stop)?;
    let outputs = outputs(arguments, plan(arguments, reads, beside, &name), &question)?;
    // Without --key the verdict is still checked; the signature of a key nobody knows is thrown away.
    let key = match &arguments.key {
        Some(path) => Key::read(path).map_err(CliError::input)?,
        None => Key::generate().map_err(CliError::internal)?,
    };
    let (search, given) = match (&arguments.leaves, &arguments.state) {
        (Some(path), _) => begin(path, &question, &options)?,
        (None, Some(path)) => (read_search(path, &question)?, note),
        (None, None) => (search, note),
    };
    if let Some(path) = &arguments.state {
        kept(format!("the search of this run was not kept; {} is as it was", path.display()));
    }
    let mut answer = verify(&question, &options, search, &key, &name, &stop);
    if arguments.leaves.is_some() && matches!(answer, Err(VerifyError::Rejected(_))) {
        // What floats took for proved the checker has refused: nothing of the file is relied on any more.
        answer = verify(&question, &options, SearchState::default(), &key, &name, &stop);
    }
    let answer = answer.map_err(|e| match e {
        VerifyError::Input(_) => CliError::input(e),
        _ => CliError::internal(e),
    })?;
    // A search that is about to be kept is not lost to an interrupt.
    let held = hold();
    let mut set = outputs.set();
    if let Some(directory) = &arguments.canonical {
        let sat = matches!(&answer, Answer::Decided { decided, .. } if decided.word() == "sat");
        add_canonical(&mut set, directory, &question, sat);
    }
    match answer {
        Answer::Unknown { best_bound, search } => {
            let mut text = if best_bound.is_finite() {
                format!(
                    "unknown\nthe search stopped; some constraint is at least {best_bound:.6} where it is open"
                )
            } else {
                "unknown\nthe search stopped before it had looked everywhere".to_owned()
            };
            if BranchState::are_full(&search.states) {
                text.push_str("; no proof would hold more regions than it has come to");
            }
            if let Some(path) = &arguments.state {
                let kept = emit_search(&question, search).map_err(CliError::internal)?;
                set.update(path, kept);
                text.push_str(&format!("\nkept in {}; the same command goes on from there", path.display()));
            }
            write(set)?;
            drop(held);
            text.push_str(&given);
            context.print(&text, &json!({"result": "unknown", "bestBound": best_bound}))?;
            Ok(1)
        }
        Answer::Decided { decided, envelope, proof } => {
            let witness = arguments.float32_witness.as_deref().map(|path| {
                float32::witness(&question, &decided.certificate().claimed, property, path, arguments.seed)
            });
            let witness = witness.transpose()?.flatten();
            if let (Some(path), Some(witness)) = (&arguments.float32_witness, &witness) {
                match &witness.file {
                    Some(file) => set.add(path, file.as_bytes()),
                    None => set.remove(path),
                }
            }
            let found32 =
                witness.as_ref().and_then(|w| w.file.as_ref()).and(arguments.float32_witness.as_ref());
            if let Some(out) = &arguments.out {
                let proof_path = out.with_file_name(&name);
                match &proof {
                    Some(proof) => set.add(proof_path, proof.as_slice()),
                    None => set.remove(proof_path),
                }
                set.add(out, format!("{}\n", emit_envelope(&envelope)));
                if beside {
                    set.add(property_beside(out), question.property_file(decided.word() == "sat"));
                }
            }
            write(set)?;
            drop(held);
            let mut text = decided.word().to_owned();
            let mut document = json!({"result": decided.word(), "certificate": arguments.out});
            if decided.asked().is_some() {
                let verdict = property_verdict(&decided);
                text.push_str(&format!("\n{verdict}"));
                document["verdict"] = json!(verdict);
            }
            match &decided.certificate().claimed {
                Claimed::Unsat { proof } => {
                    text.push_str(&format!("\nchecked proof of {} bytes", proof.size))
                }
                Claimed::Sat { case, point } => {
                    let outputs = outputs_at(&question, point).map_err(CliError::internal)?;
                    let found =
                        point::Found { question: &question, case: *case, inputs: point, outputs: &outputs };
                    text.push_str(&found.lines(arguments.details));
                    found.describe(&mut document);
                    text.push_str(&witness.map_or(String::new(), |witness| witness.line));
                    if arguments.float32_witness.is_some() {
                        document["float32Witness"] = json!(found32);
                    }
                }
            }
            text.push_str(&given);
            if let Some(out) = &arguments.out {
                text.push_str(&format!("\nwritten to {}", out.display()));
            }
            context.print(&text, &document)?;
            Ok(0)
        }
    }
}

/// The property file that a certificate named by `--out` has beside it.
fn property_beside(out: &Path) -> PathBuf {
    let name = proof_name(Some(&out.to_path_buf()));
    out.with_file_name(name.replace(".proof.json", ".property.json"))
}

/// What is read and written, but for the files in `--canonical`.
fn plan(arguments: &DecideOptions, reads: &[&Path], beside: bool, proof_name: &str) -> OutputPlan {
    let mut plan = OutputPlan::new(arguments.force.force).inputs(&arguments.key).inputs(&arguments.leaves);
    for path in reads {
        plan = if path.is_dir() { plan.policy(path) } else { plan.input(path) };
    }
    if let Some(out) = &arguments.out {
        plan = plan.file("--out", out).file("--out", &out.with_file_name(proof_name));
        if beside {
            plan = plan.file("--out", &property_beside(out));
        }
    }
    if let Some(path) = &arguments.state {
        plan = plan.state("--resume", path);
    }
    if let Some(path) = &arguments.float32_witness {
        plan = plan.file("--float32-witness", path);
    }
    if let Some(directory) = &arguments.canonical {
        plan = plan.folder("--canonical", directory);
    }
    plan
}

fn outputs(
    arguments: &DecideOptions,
    mut plan: OutputPlan,
    question: &Question,
) -> Result<Outputs, CliError> {
    if let Some(directory) = &arguments.canonical {
        let either = question.named_files(false).into_iter().zip(question.named_files(true));
        for ((name, bytes), (_, of_sat)) in either {
            let path = directory.join(name);
            // The same files again, as a search that is resumed writes them, replace nothing.
            let same = read_bytes(&path, MAX_OWN).is_ok_and(|found| found == bytes || found == of_sat);
            plan = if same { plan.state("--canonical", &path) } else { plan.file("--canonical", &path) };
        }
    }
    Ok(plan.test()?)
}

fn add_canonical(set: &mut FileSet, directory: &Path, question: &Question, sat: bool) {
    for (name, bytes) in question.named_files(sat) {
        set.update(directory.join(name), bytes);
    }
}

/// `check NETWORK PROPERTY CERTIFICATE`, or with `--network` `check PROPERTY CERTIFICATE`: imports all again and checks the
/// certificate against them.
///
/// # Errors
/// Exit codes 2, 3 and 4.
pub fn check(
    files: &[PathBuf],
    networks: &NetworkOptions,
    certificate: &Path,
    (witness, trust): (Option<&Path>, Option<&Path>),
    demands: &Demands,
    context: Context,
) -> Result<u8, CliError> {
    let question = asked(files, networks)?;
    let given = networks.given()?;
    let sat = says_sat(certificate);
    let own = question.networks.iter().map(|network| [&*network.manifest, &*network.tensors]);
    let own = PropertyFiles { policies: own.collect(), property: question.property_file(sat) };
    // How many regions a proof has is known at its end.
    let bar = Bar::styled(context.progress, "{prefix:10} region {pos}");
    let mut progress = |regions| bar.advance("checking", regions, regions);
    let checked = check_property_files(&own, certificate, witness, trust, &mut progress);
    bar.finish();
    let property = files.last().map_or(Path::new(""), PathBuf::as_path);
    let paths: Vec<&Path> = match files {
        [network, _] => vec![network],
        _ => given.iter().map(|network| network.path.as_path()).collect(),
    };
    let (decided, signers) = checked.map_err(|e| {
        remember(&e.code());
        let word = if e.exit_code() == 3 { "rejected: " } else { "" };
        let why = explain_property(&e, &own, (&paths, property));
        CliError { message: format!("{word}{e}{why}"), code: e.exit_code() }
    })?;
    if question.tightened.is_some() && sat != (decided.word() == "sat") {
        let message = "rejected: the certificate changed while it was read".to_owned();
        return Err(CliError { message, code: 3 });
    }
    let of_role = |files: &[FileDigest], role: &str| files.iter().filter(|f| f.role == role).count();
    let stated = &decided.certificate().inputs;
    for file in stated {
        let mut given = question.inputs.iter().filter(|f| f.role == file.role);
        // What is at hand in canonical form has no source here; its digest was compared already.
        let canonical = file.role != "source" || paths.iter().any(|path| path.is_dir());
        let fewer = of_role(&question.inputs, &file.role) < of_role(stated, &file.role);
        if given.clone().any(|f| f.sha256 == file.sha256) || (canonical && fewer) {
            continue;
        }
        let given = given.next();
        let name = given.map_or(String::new(), |given| format!(" {}", Escaped(&given.name)));
        let message = format!(
            "rejected: the {} file {} is another one:{name} has SHA-256 {}, the certificate speaks of {}",
            Escaped(&file.role),
            Escaped(&file.name),
            given.map_or("of no such file", |f| f.sha256.as_str()),
            file.sha256
        );
        return Err(CliError { message, code: 3 });
    }
    print_decided(&decided, &signers, demands, context)
}

/// Whether a certificate says `sat`, which decides how strict comparisons are to be read. What cannot be read is refused by
/// the check.
fn says_sat(certificate: &Path) -> bool {
    let bytes = read_file(certificate, MAX_ENVELOPE).ok();
    let envelope = bytes.and_then(|bytes| parse_envelope(&bytes).ok());
    let verdict = envelope.and_then(|envelope| parse_verdict(&envelope.payload).ok());
    verdict.is_some_and(|verdict| matches!(verdict.claimed, Claimed::Sat { .. }))
}

/// Prints what was decided, and who signed it.
///
/// # Errors
/// Exit code 1 for another policy than the one that is demanded, 4 if standard output fails.
pub fn print_decided(
    decided: &Decided,
    signers: &[SignerInfo],
    demands: &Demands,
    context: Context,
) -> Result<u8, CliError> {
    demands.meet_property(decided).map_err(unmet)?;
    let mut text = decided.word().to_owned();
    if decided.asked().is_some() {
        text.push_str(&format!("\n{}", property_verdict(decided)));
    }
    text.push_str("\nverified");
    if signers.is_empty() {
        text.push_str(", unsigned: no signature was checked");
    }
    for signer in signers {
        text.push_str(&format!(", signed by {} {}", Escaped(signer.name()), signer.keyid()));
    }
    for (word, line) in property_lines(decided, signers, false) {
        text.push_str(&format!("\n{word:<10} {line}"));
    }
    let keys: Vec<&str> = signers.iter().map(|s| s.keyid()).collect();
    let files: Vec<_> =
        decided.certificate().subjects.iter().map(|f| json!({"name": f.name, "sha256": f.sha256})).collect();
    let mut document = json!({"format": FORMAT, "kind": "property", "result": decided.word(),
        "signed": !keys.is_empty(), "keyids": keys, "subjects": files});
    match decided.policies() {
        [(None, digest)] => document["policy"] = json!({"digest": digest}),
        several => {
            let policy = |(name, digest): &(Option<String>, String)| json!({"name": name, "digest": digest});
            document["policies"] = json!(several.iter().map(policy).collect::<Vec<_>>());
        }
    }
    context.print(&text, &document)?;
    Ok(0)
}
