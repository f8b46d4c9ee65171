//! `secateur verify`: VNN-LIB properties of networks.

pub mod float32;
mod point;
pub mod source;

use std::path::{Path, PathBuf};

use crate::certify::emit::emit_envelope;
use clap::Args;
use secateur_checker::answer::property_lines;
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
use crate::mismatch::explain_property;
use crate::outputs::{OutputPlan, Outputs};
use crate::policy::emit::{emit_manifest, emit_tensors};
use crate::policy::input::{MAX_OWN, read_bytes};
use crate::policy::write::{FileSet, hold};
use crate::progress::Progress;
use crate::property::vnnlib::{Asked, VnnlibError};
use crate::search::branch::{BranchOptions, BranchState};
use crate::show::summary::FORMAT;
use crate::verify::kept::{emit_search, parse_search};
use crate::verify::leaves::states_of_leaves;
use crate::verify::{Answer, Question, VerifyError, outputs_at, verify};

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur verify net.onnx prop.vnnlib --key keys/secateur.pem \\
      --out proof.cert.dsse.json
  secateur check net.onnx prop.vnnlib --trust keys/trust.json \\
      proof.cert.dsse.json
  # again and again, until it is decided
  secateur verify net.onnx prop.vnnlib --steps 5000 --resume search.json

The first line printed is unsat (no input satisfies the property; a proof is written beside the certificate), sat (an
exact input does; printed in decimals with the outputs) or unknown (the step budget ended first; --resume keeps the search so that it can go on).
Exit code 0 for sat and unsat, 1 for unknown.")]
pub struct VerifyArguments {
    /// ONNX network, or a policy directory; the property speaks of inputs before its normaliser, if it has one.
    network: PathBuf,
    /// VNN-LIB property, version 1.0 or 2.0.
    property: PathBuf,
    /// Signing key; without it nothing is written.
    #[arg(long, value_name = "FILE", requires = "out")]
    key: Option<PathBuf>,
    /// Certificate to write.
    #[arg(long, value_name = "FILE", requires = "key")]
    out: Option<PathBuf>,
    /// Most regions bounded per case.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    steps: u64,
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

/// Imports network and property into the canonical files a certificate speaks of.
///
/// # Errors
/// Exit code 2.
pub fn question(network: &Path, property: &Path) -> Result<Question, CliError> {
    let (bytes, asked) = source::read_property(property)?;
    let record = |role: &str, path: &Path, bytes: &[u8]| FileDigest {
        role: role.to_owned(),
        name: source::unpacked_name(path),
        sha256: sha256_hex(bytes),
    };
    let asked = match asked {
        Asked::One(asked) => asked,
        Asked::Several(several) => {
            let names: Vec<&str> = several.networks.iter().map(|n| n.name.as_str()).collect();
            let networks = format!("{} and of inputs among each other", names.join(", "));
            let error = VnnlibError::Several { networks };
            return Err(CliError::input(format!("{}: {error}", property.display())));
        }
    };
    let mut inputs = vec![record("property-source", property, &bytes)];
    let (manifest, tensors) = if network.is_dir() {
        let policy =
            load_policy(network).map_err(|e| CliError { message: e.to_string(), code: e.exit_code() })?;
        (policy.manifest, policy.tensors)
    } else {
        let bytes = source::read_network(network)?;
        inputs.push(record("source", network, &bytes));
        let data = source::import_network(network, &bytes)?;
        (emit_manifest(&data), emit_tensors(&data))
    };
    let question = Question::new(manifest, tensors, &asked.cases, inputs).map_err(CliError::input)?;
    Ok(question.tightened(asked.tightened.as_deref()))
}

fn proof_name(out: Option<&PathBuf>) -> String {
    let name = out.and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = [".cert.dsse.json", ".dsse.json", ".json"].iter().find_map(|end| name.strip_suffix(end));
    format!("{}.proof.json", stem.unwrap_or(&name))
}

fn read_states(path: Option<&PathBuf>, question: &Question) -> Result<Vec<BranchState>, CliError> {
    let Some(path) = path.filter(|p| p.exists()) else { return Ok(Vec::new()) };
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let bytes = read_bytes(path, MAX_OWN).map_err(|e| at(&e))?;
    parse_search(question, &bytes).map_err(|e| at(&e))
}

/// The states that a file of leaves leads to, and a line about them after a line break.
fn begin(
    path: &Path,
    question: &Question,
    options: &BranchOptions,
) -> Result<(Vec<BranchState>, String), CliError> {
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let bytes = read_bytes(path, MAX_OWN).map_err(|e| at(&e))?;
    let (states, counts) = states_of_leaves(question, options, &bytes).map_err(|e| at(&e))?;
    let line = format!(
        "\n{} leaves given: {} regions proved with their slopes, {} searched anew, {} that no leaf covers",
        counts.leaves, counts.proved, counts.searched, counts.uncovered
    );
    Ok((states, line))
}

/// Decides, signs, writes.
///
/// # Errors
/// Exit codes 2 and 4; unknown is exit code 1 and no error.
pub fn run(arguments: &VerifyArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([
        ("NETWORK", Some(arguments.network.as_path())),
        ("PROPERTY", Some(arguments.property.as_path())),
        ("--resume", arguments.state.as_deref()),
        ("--leaves", arguments.leaves.as_deref()),
    ])?;
    let name = proof_name(arguments.out.as_ref());
    // Before the network is read, which may take long; what is in --canonical is compared once its files are known.
    plan(arguments, &name).test()?;
    let question = question(&arguments.network, &arguments.property)?;
    let outputs = outputs(arguments, &name, &question)?;
    // Without --key the verdict is still checked; the signature of a key nobody knows is thrown away.
    let key = match &arguments.key {
        Some(path) => Key::read(path).map_err(CliError::input)?,
        None => Key::generate().map_err(CliError::internal)?,
    };
    let options =
        BranchOptions { max_steps: arguments.steps, seed: arguments.seed, ..BranchOptions::default() };
    let (states, given) = match &arguments.leaves {
        Some(path) => begin(path, &question, &options)?,
        None => (read_states(arguments.state.as_ref(), &question)?, String::new()),
    };
    if let Some(path) = &arguments.state {
        kept(format!("the search of this run was not kept; {} is as it was", path.display()));
    }
    let mut answer = verify(&question, &options, states, &key, &name, &stop_requested);
    if arguments.leaves.is_some() && matches!(answer, Err(VerifyError::Rejected(_))) {
        // What floats took for proved the checker has refused: nothing of the file is relied on any more.
        answer = verify(&question, &options, Vec::new(), &key, &name, &stop_requested);
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
        Answer::Unknown { best_bound, states } => {
            let mut text = format!(
                "unknown\nthe search stopped; some constraint is at least {best_bound:.6} where it is open"
            );
            if let Some(path) = &arguments.state {
                let kept = emit_search(&question, states).map_err(CliError::internal)?;
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
                float32::witness(
                    &question,
                    &decided.certificate().claimed,
                    &arguments.property,
                    path,
                    arguments.seed,
                )
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
            }
            write(set)?;
            drop(held);
            let mut text = decided.word().to_owned();
            let mut document = json!({"result": decided.word(), "certificate": arguments.out});
            match &decided.certificate().claimed {
                Claimed::Unsat { proof } => {
                    text.push_str(&format!("\nchecked proof of {} bytes", proof.size))
                }
                Claimed::Sat { case, point } => {
                    let outputs = outputs_at(&question, point).map_err(CliError::internal)?;
                    let found = point::Found { case: *case, inputs: point, outputs: &outputs };
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

fn canonical(question: &Question, sat: bool) -> [(&'static str, &[u8]); 3] {
    [
        ("policy.json", &question.manifest),
        ("policy.safetensors", &question.tensors),
        ("property.json", question.property_file(sat)),
    ]
}

/// What is read and written, but for the files in `--canonical`.
fn plan(arguments: &VerifyArguments, proof_name: &str) -> OutputPlan {
    let mut plan = OutputPlan::new(arguments.force.force).input(&arguments.property).inputs(&arguments.key);
    plan = plan.inputs(&arguments.leaves);
    plan = if arguments.network.is_dir() {
        plan.policy(&arguments.network)
    } else {
        plan.input(&arguments.network)
    };
    if let Some(out) = &arguments.out {
        plan = plan.file("--out", out).file("--out", &out.with_file_name(proof_name));
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

fn outputs(arguments: &VerifyArguments, proof_name: &str, question: &Question) -> Result<Outputs, CliError> {
    let mut plan = plan(arguments, proof_name);
    if let Some(directory) = &arguments.canonical {
        let either = canonical(question, false).into_iter().zip(canonical(question, true));
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
    for (name, bytes) in canonical(question, sat) {
        set.update(directory.join(name), bytes);
    }
}

/// `check NETWORK PROPERTY CERTIFICATE`: imports both again and checks the certificate against them.
///
/// # Errors
/// Exit codes 2, 3 and 4.
pub fn check(
    network: &Path,
    property: &Path,
    certificate: &Path,
    (witness, trust): (Option<&Path>, Option<&Path>),
    demands: &Demands,
    context: Context,
) -> Result<u8, CliError> {
    let question = question(network, property)?;
    let sat = says_sat(certificate);
    let files = PropertyFiles {
        manifest: &question.manifest,
        tensors: &question.tensors,
        property: question.property_file(sat),
    };
    // How many regions a proof has is known at its end.
    let bar = Bar::styled(context.progress, "{prefix:10} region {pos}");
    let mut progress = |regions| bar.advance("checking", regions, regions);
    let checked = check_property_files(&files, certificate, witness, trust, &mut progress);
    bar.finish();
    let (decided, signers) = checked.map_err(|e| {
        remember(&e.code());
        let word = if e.exit_code() == 3 { "rejected: " } else { "" };
        let why = explain_property(&e, &files, (network, property));
        CliError { message: format!("{word}{e}{why}"), code: e.exit_code() }
    })?;
    if question.tightened.is_some() && sat != (decided.word() == "sat") {
        let message = "rejected: the certificate changed while it was read".to_owned();
        return Err(CliError { message, code: 3 });
    }
    for stated in &decided.certificate().inputs {
        let given = question.inputs.iter().find(|f| f.role == stated.role);
        let same = given.is_some_and(|f| f.sha256 == stated.sha256);
        // A policy directory stands for its source; then only the property's source is at hand.
        let absent = stated.role == "source" && network.is_dir();
        if !same && !absent {
            let path = if stated.role == "source" { network } else { property };
            let message = format!(
                "rejected: the {} file {} is another one: {} has SHA-256 {}, the certificate speaks of {}",
                Escaped(&stated.role),
                Escaped(&stated.name),
                Escaped(&path.to_string_lossy()),
                given.map_or("of no such file", |f| f.sha256.as_str()),
                stated.sha256
            );
            return Err(CliError { message, code: 3 });
        }
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
    demands.meet_policy(decided.policy_digest()).map_err(unmet)?;
    let mut text = format!("{}\nverified", decided.word());
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
    context.print(
        &text,
        &json!({"format": FORMAT, "kind": "property", "result": decided.word(), "signed": !keys.is_empty(),
                "keyids": keys, "policy": {"digest": decided.policy_digest()}, "subjects": files}),
    )?;
    Ok(0)
}
