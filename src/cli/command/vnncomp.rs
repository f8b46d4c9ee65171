//! `secateur vnncomp`: a competition's list of instances, each within its time, as that competition's result lines.
//! `spec/vnnlib.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use secateur_checker::load::{PropertyFiles, check_property_files};
use serde_json::json;

use crate::certify::emit::emit_envelope;
use crate::certify::keys::Key;
use crate::cli::command::verify::{float32, question};
use crate::cli::context::bar::Bar;
use crate::cli::context::interrupt::stop_requested;
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::write;
use crate::cli::context::{CliError, Context};
use crate::cli::option::force::Force;
use crate::outputs::OutputPlan;
use crate::policy::input::read_text;
use crate::policy::write::{FileSet, create_folder};
use crate::progress::Progress;
use crate::search::branch::BranchOptions;
use crate::verify::{Answer, Question, SearchState, VerifyError, verify};

/// Longest list of instances, and longest file of results.
const MAX_LIST: usize = 64 << 20;
/// Regions bounded per case: time ends a search, not steps.
const MOST_STEPS: u64 = u64::MAX / 2;

/// Arguments of `vnncomp`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur vnncomp acasxu/instances.csv --out results.csv
  secateur vnncomp acasxu/instances.csv --out results.csv --timeout 60 \\
      --proofs proofs/ --key keys/secateur.pem

INSTANCES has lines ONNX,VNNLIB,SECONDS, with paths from its own folder; a file
that is only there as FILE.gz is read from that one. RESULTS gets the
competition's columns, and two behind them:

  category,onnx,vnnlib,prepare_seconds,result,seconds,proof_bytes,check_seconds

result is sat, unsat, unknown, timeout or error; seconds are those of the search
and of the check of what it found, before anything is called decided;
check_seconds those of one more check of the certificate in --proofs. What
RESULTS holds already is kept and not run again, so that the same command goes
on after an interruption; remove lines to run them anew.
Exit code 0 if everything is decided, else 1.")]
pub struct VnncompArguments {
    /// The competition's list: ONNX,VNNLIB,SECONDS a line.
    instances: PathBuf,
    /// Result lines; those that are there are kept.
    #[arg(long, value_name = "RESULTS")]
    out: PathBuf,
    /// First column [default: the name of the folder that INSTANCES lies in]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Most seconds an instance, whatever the list allows.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Folder for certificates, proofs and binary32 counterexamples.
    #[arg(long, value_name = "DIR", requires = "key")]
    proofs: Option<PathBuf>,
    /// Signing key for --proofs.
    #[arg(long, value_name = "FILE", requires = "proofs")]
    key: Option<PathBuf>,
    /// Seed of the search for counterexamples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    force: Force,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq)]
struct Instance {
    onnx: String,
    vnnlib: String,
    seconds: f64,
}

/// What became of an instance.
struct Outcome {
    word: &'static str,
    prepare: f64,
    seconds: f64,
    proof_bytes: Option<usize>,
    check: Option<f64>,
    error: Option<String>,
}

fn parse_instances(text: &str) -> Result<Vec<Instance>, String> {
    let mut instances = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let seconds = fields.get(2).and_then(|s| s.parse::<f64>().ok()).filter(|s| s.is_finite() && *s > 0.0);
        match (fields.as_slice(), seconds) {
            ([onnx, vnnlib, _], Some(seconds)) if !onnx.is_empty() && !vnnlib.is_empty() => {
                instances.push(Instance { onnx: (*onnx).to_owned(), vnnlib: (*vnnlib).to_owned(), seconds });
            }
            // Some lists have a heading.
            ([_, _, _], None) if index == 0 => {}
            _ => {
                return Err(format!("line {}: expected ONNX,VNNLIB,SECONDS with seconds above 0", index + 1));
            }
        }
    }
    if instances.is_empty() { Err("it lists no instance".to_owned()) } else { Ok(instances) }
}

/// How often each instance has a result line.
fn parse_results(text: &str) -> Result<BTreeMap<(String, String), usize>, String> {
    let mut done = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let [_, onnx, vnnlib, _, "sat" | "unsat" | "unknown" | "timeout" | "error", _, _, _] = fields[..]
        else {
            return Err(format!("line {}: it is no result line; name another file, or remove it", index + 1));
        };
        *done.entry((onnx.to_owned(), vnnlib.to_owned())).or_insert(0) += 1;
    }
    Ok(done)
}

/// A file as it is named, or packed by gzip.
fn there(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let packed = folder.join(format!("{name}.gz"));
    if !path.exists() && packed.exists() { packed } else { path }
}

fn stem(name: &str) -> String {
    let stem = Path::new(name).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.strip_suffix(".gz").unwrap_or(&stem).to_owned();
    [".onnx", ".vnnlib"].iter().find_map(|end| stem.strip_suffix(end)).map_or(stem.clone(), str::to_owned)
}

/// What is written beside the result lines.
struct Proofs<'a> {
    folder: &'a Path,
    name: String,
}

/// Runs what has no result line yet.
///
/// # Errors
/// Exit codes 2 and 4; what is undecided is exit code 1 and no error.
pub fn run(arguments: &VnncompArguments, context: Context) -> Result<u8, CliError> {
    refuse_dash([
        ("INSTANCES", Some(arguments.instances.as_path())),
        ("--out", Some(arguments.out.as_path())),
    ])?;
    let in_file =
        |path: &Path, e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", path.display()));
    let text = read_text(&arguments.instances, MAX_LIST).map_err(|e| in_file(&arguments.instances, &e))?;
    let instances = parse_instances(&text).map_err(|e| in_file(&arguments.instances, &e))?;
    let most = arguments.timeout.unwrap_or(f64::INFINITY);
    if most.is_nan() || most <= 0.0 {
        return Err(CliError::input("--timeout: give seconds above 0"));
    }
    let plan = OutputPlan::new(arguments.force.force).input(&arguments.instances).inputs(&arguments.key);
    plan.state("--out", &arguments.out).test()?;
    let mut results = match arguments.out.exists() {
        true => read_text(&arguments.out, MAX_LIST).map_err(|e| in_file(&arguments.out, &e))?,
        false => String::new(),
    };
    if !results.is_empty() && !results.ends_with('\n') {
        results.push('\n');
    }
    let mut done = parse_results(&results).map_err(|e| in_file(&arguments.out, &e))?;
    let key = match &arguments.key {
        Some(path) => Key::read(path).map_err(CliError::input)?,
        None => Key::generate().map_err(CliError::internal)?,
    };
    if let Some(folder) = &arguments.proofs {
        create_folder(folder).map_err(CliError::internal)?;
    }
    let folder = arguments.instances.parent().unwrap_or(Path::new(""));
    let absolute = std::path::absolute(&arguments.instances).unwrap_or_default();
    let of_folder = absolute.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
    let category = arguments.category.clone().or(of_folder).unwrap_or_default();
    let bar = Bar::new(context.progress);
    let (mut errors, mut stopped) = (Vec::new(), false);
    for (index, instance) in instances.iter().enumerate() {
        bar.advance("instances", index, instances.len());
        let pair = (instance.onnx.clone(), instance.vnnlib.clone());
        if let Some(left) = done.get_mut(&pair).filter(|left| **left > 0) {
            *left -= 1;
            continue;
        }
        let proofs = arguments.proofs.as_deref();
        let proofs = proofs.map(|folder| Proofs {
            folder,
            name: format!("{}-{}", stem(&instance.onnx), stem(&instance.vnnlib)),
        });
        let outcome =
            run_instance(arguments, instance, folder, instance.seconds.min(most), &key, proofs.as_ref());
        if stop_requested() {
            stopped = true;
            break;
        }
        let outcome = outcome?;
        let number = |value: Option<String>| value.unwrap_or_default();
        results.push_str(&format!(
            "{category},{},{},{:.3},{},{:.3},{},{}\n",
            instance.onnx,
            instance.vnnlib,
            outcome.prepare,
            outcome.word,
            outcome.seconds,
            number(outcome.proof_bytes.map(|n| n.to_string())),
            number(outcome.check.map(|s| format!("{s:.3}"))),
        ));
        if let Some(error) = outcome.error {
            errors.push(format!("{} {}: {error}", instance.onnx, instance.vnnlib));
        }
        let mut set = FileSet::new(true);
        set.update(&arguments.out, results.clone());
        write(set)?;
    }
    bar.finish();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in results.lines().filter_map(|line| line.split(',').nth(4)) {
        *counts.entry(word).or_insert(0) += 1;
    }
    let mut text: String = counts.iter().map(|(word, count)| format!("{word:<8} {count}\n")).collect();
    text.push_str(&format!("result lines in {}", arguments.out.display()));
    errors.iter().for_each(|error| text.push_str(&format!("\nerror: {error}")));
    if stopped {
        text.push_str("\nstopped; the same command goes on with what has no line");
    }
    context.print(
        &text,
        &json!({"counts": counts, "errors": errors, "out": arguments.out, "stopped": stopped}),
    )?;
    let decided = ["sat", "unsat"].iter().filter_map(|word| counts.get(word)).sum::<usize>();
    Ok(u8::from(stopped || decided < counts.values().sum()))
}

/// Decides one instance; whatever is wrong with it is its outcome.
fn run_instance(
    arguments: &VnncompArguments,
    instance: &Instance,
    folder: &Path,
    seconds: f64,
    key: &Key,
    proofs: Option<&Proofs<'_>>,
) -> Result<Outcome, CliError> {
    let begun = Instant::now();
    let (network, property) = (there(folder, &instance.onnx), there(folder, &instance.vnnlib));
    let mut outcome =
        Outcome { word: "error", prepare: 0.0, seconds: 0.0, proof_bytes: None, check: None, error: None };
    let asked = match question(&network, &property) {
        Ok(asked) => asked,
        Err(error) => return Ok(Outcome { error: Some(error.message), ..outcome }),
    };
    outcome.prepare = begun.elapsed().as_secs_f64();
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let begun = Instant::now();
    let late = || begun.elapsed() >= limit;
    let options = BranchOptions { max_steps: MOST_STEPS, seed: arguments.seed, ..BranchOptions::default() };
    let certificate = proofs.map(|p| format!("{}.cert.dsse.json", p.name)).unwrap_or_default();
    let proof_name = proofs.map(|p| format!("{}.proof.json", p.name)).unwrap_or_default();
    let stop = || late() || stop_requested();
    let answer = match verify(&asked, &options, SearchState::default(), key, &proof_name, &stop) {
        Ok(answer) => answer,
        Err(error @ (VerifyError::Input(_) | VerifyError::Limit(_) | VerifyError::Rejected(_))) => {
            outcome.seconds = begun.elapsed().as_secs_f64();
            return Ok(Outcome { error: Some(error.to_string()), ..outcome });
        }
        Err(error) => return Err(CliError::internal(error)),
    };
    outcome.seconds = begun.elapsed().as_secs_f64();
    match answer {
        Answer::Unknown { .. } => outcome.word = if late() { "timeout" } else { "unknown" },
        // What is decided too late is not decided for a competition.
        Answer::Decided { .. } if outcome.seconds > seconds => outcome.word = "timeout",
        Answer::Decided { decided, envelope, proof } => {
            outcome.word = decided.word();
            outcome.proof_bytes = proof.as_ref().map(Vec::len);
            if let Some(proofs) = proofs {
                let mut set = FileSet::new(true);
                if let Some(proof) = proof {
                    set.add(proofs.folder.join(&proof_name), proof);
                }
                let claimed = &decided.certificate().claimed;
                let witness_path = proofs.folder.join(format!("{}.counterexample", proofs.name));
                let written =
                    float32::witness(&asked, claimed, Some(&property), &witness_path, arguments.seed);
                if let Some(file) = written.ok().flatten().and_then(|w| w.file) {
                    set.add(&witness_path, file);
                }
                let path = proofs.folder.join(certificate);
                set.add(&path, format!("{}\n", emit_envelope(&envelope)));
                write(set)?;
                outcome.check = check_again(&asked, decided.word() == "sat", &path);
            }
        }
    }
    Ok(outcome)
}

/// Seconds of one more check of the written certificate; `None` if it is refused, which `verify` has excluded.
fn check_again(asked: &Question, sat: bool, certificate: &Path) -> Option<f64> {
    let own = asked.networks.iter().map(|network| [&*network.manifest, &*network.tensors]);
    let files = PropertyFiles { policies: own.collect(), property: asked.property_file(sat) };
    let begun = Instant::now();
    check_property_files(&files, certificate, None, None, &mut |_| {}).ok()?;
    Some(begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_results_are_read_strictly() {
        let found =
            parse_instances("onnx,vnnlib,timeout\n\n./a.onnx, b.vnnlib ,1.5\r\na.onnx,b.vnnlib,116\n")
                .unwrap();
        let of =
            |onnx: &str, seconds| Instance { onnx: onnx.to_owned(), vnnlib: "b.vnnlib".to_owned(), seconds };
        assert_eq!(found, [of("./a.onnx", 1.5), of("a.onnx", 116.0)]);
        for (text, word) in [
            ("", "no instance"),
            ("a.onnx,b.vnnlib,1\na.onnx,b.vnnlib,0\n", "line 2"),
            ("a.onnx,b.vnnlib,1\na.onnx,b.vnnlib\n", "line 2"),
            ("a.onnx,b.vnnlib,1\na.onnx,b.vnnlib,nan\n", "line 2"),
            ("a.onnx,b.vnnlib,1,2\n", "line 1"),
        ] {
            let error = parse_instances(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let done = parse_results("c,a,b,0.1,unsat,2.0,10,0.5\nc,a,b,0.1,timeout,2.0,,\n").unwrap();
        assert_eq!(done, BTreeMap::from([(("a".to_owned(), "b".to_owned()), 2)]));
        for text in ["c,a,b,0.1,maybe,2.0,,\n", "c,a,b,0.1,sat,2.0\n"] {
            assert!(parse_results(text).unwrap_err().contains("line 1"), "{text}");
        }
    }
}
