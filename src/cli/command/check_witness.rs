//! `secateur check-witness`: whether anybody's counterexample to a VNN-LIB property is one. `spec/vnnlib.md`.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::number::Rational;
use secateur_checker::reader::policy::PolicyFiles;
use serde_json::{Value, json};

use crate::cli::command::verify::source::{read_policy, read_stated};
use crate::cli::context::streams::refuse_dash;
use crate::cli::context::{CliError, Context};
use crate::float::rational_to_float;
use crate::import::read_unpacked;
use crate::property::several::{NetworkRelation, Several};
use crate::verify::assignment::{Assignment, parse_assignment};
use crate::verify::judge::{Enclosure, Judgement, Miss, enclose_outputs, judge};

/// Comparisons that are listed of those that do not hold.
const LISTED: usize = 8;

/// Arguments of `check-witness`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur check-witness net.onnx prop.vnnlib net-prop.counterexample
  secateur check-witness --network f=dense.onnx --network g=pruned.onnx \\
      same.vnnlib same.counterexample

The witness is the competition's file, sat and ((X_0 0.1) ... (Y_0 1.5)), or lines X[0,0]=0.1, or the VNN-LIB
standard's X real [1,2] with a number a line. Numbers are read exactly as they are written.

What is decided: whether the inputs lie in the property's box, and whether the
networks' outputs there, over the real numbers, satisfy some case, strict
comparisons strictly; without any tolerance. Networks of ReLUs are evaluated
exactly. Others are enclosed, and the answer is undecided where the enclosure is
too wide. The outputs that the file states are compared and decide nothing.
Exit code 0 for a counterexample, 1 for none and for undecided.")]
pub struct CheckWitnessArguments {
    /// NETWORK PROPERTY WITNESS; with --network, PROPERTY WITNESS.
    #[arg(required = true, value_name = "FILES", num_args = 2..=3)]
    files: Vec<PathBuf>,
    /// File of a network that the property declares, ONNX or a policy directory; repeat it. A network that is equal to
    /// another needs none.
    #[arg(long = "network", value_name = "NAME=FILE")]
    networks: Vec<String>,
}

/// Judges and prints.
///
/// # Errors
/// Exit codes 2 and 4; no counterexample is exit code 1 and no error.
pub fn run(arguments: &CheckWitnessArguments, context: Context) -> Result<u8, CliError> {
    let (network, property, witness) = match arguments.files.as_slice() {
        [network, property, witness] if arguments.networks.is_empty() => (Some(network), property, witness),
        [property, witness] if !arguments.networks.is_empty() => (None, property, witness),
        _ => {
            let message = "expected NETWORK PROPERTY WITNESS, or --network NAME=FILE ... PROPERTY WITNESS";
            return Err(CliError::input(message));
        }
    };
    refuse_dash([("PROPERTY", Some(property.as_path())), ("WITNESS", Some(witness.as_path()))])?;
    let asked = read_stated(property)?;
    let policies = match network {
        Some(path) => one_policy(&asked, path)?,
        None => named_policies(&asked, &arguments.networks)?,
    };
    let at = |e: &dyn std::fmt::Display| CliError::input(format!("{}: {e}", witness.display()));
    let bytes = read_unpacked(witness).map_err(CliError::input)?;
    let assignment = parse_assignment(&String::from_utf8_lossy(&bytes), &asked).map_err(|e| at(&e))?;
    let mut outputs = Vec::new();
    let mut exact = true;
    for (policy, inputs) in policies.iter().zip(&assignment.inputs) {
        let limit = |e| CliError { message: format!("{}: {e}", witness.display()), code: 4 };
        let (found, is_exact) = enclose_outputs(&policy.policy, inputs).map_err(limit)?;
        exact &= is_exact;
        outputs.push(found);
    }
    let judgement = judge(&asked, &assignment, &outputs);
    let (text, document) = words(&asked, &assignment, &outputs, exact, &judgement);
    context.print(&text, &document)?;
    Ok(u8::from(!matches!(judgement, Judgement::Satisfies { .. })))
}

/// Refuses a network whose inputs or outputs are not as many as declared.
fn fits(asked: &Several, index: usize, policy: PolicyFiles, path: &Path) -> Result<PolicyFiles, CliError> {
    let (declared, network) = (&asked.networks[index], &policy.policy.network);
    let (inputs, outputs) = (declared.input.len(), declared.output.len());
    if (network.inputs(), network.outputs()) == (inputs, outputs) {
        return Ok(policy);
    }
    Err(CliError::input(format!(
        "{}: it has {} inputs and {} outputs, where the property has {inputs} and {outputs}",
        path.display(),
        network.inputs(),
        network.outputs()
    )))
}

fn one_policy(asked: &Several, path: &Path) -> Result<Vec<PolicyFiles>, CliError> {
    if let [_, .., last] = asked.networks.as_slice() {
        let message = format!(
            "the property declares several networks, the last one {}; name a file for each: --network NAME=FILE",
            last.name
        );
        return Err(CliError::input(message));
    }
    Ok(vec![fits(asked, 0, read_policy(path)?, path)?])
}

fn named_policies(asked: &Several, given: &[String]) -> Result<Vec<PolicyFiles>, CliError> {
    let pairs = given.iter().map(|pair| {
        let split = pair.split_once('=').filter(|(_, path)| !path.is_empty());
        let (name, path) =
            split.ok_or_else(|| CliError::input(format!("--network {pair}: expected NAME=FILE")))?;
        let index = asked.networks.iter().position(|n| n.name == name);
        let index = index.ok_or_else(|| {
            let names: Vec<&str> = asked.networks.iter().map(|n| n.name.as_str()).collect();
            CliError::input(format!("--network {pair}: the property declares {}", names.join(", ")))
        })?;
        Ok::<_, CliError>((index, PathBuf::from(path)))
    });
    let mut paths: Vec<Option<PathBuf>> = vec![None; asked.networks.len()];
    for pair in pairs {
        let (index, path) = pair?;
        let name = &asked.networks[index].name;
        if matches!(asked.networks[index].relation, Some(NetworkRelation::EqualTo(_))) {
            let message = format!("--network {name}: it is equal to another one; name that one's file only");
            return Err(CliError::input(message));
        }
        if paths[index].replace(path).is_some() {
            return Err(CliError::input(format!("--network {name}: it is named twice")));
        }
    }
    let mut policies: Vec<PolicyFiles> = Vec::new();
    for (index, (declared, path)) in asked.networks.iter().zip(&paths).enumerate() {
        let policy = match (declared.relation, path) {
            (Some(NetworkRelation::EqualTo(other)), _) => policies[other].clone(),
            (_, Some(path)) => fits(asked, index, read_policy(path)?, path)?,
            (_, None) => {
                let message = format!("the property declares {0}: give --network {0}=FILE", declared.name);
                return Err(CliError::input(message));
            }
        };
        if let (Some(NetworkRelation::IsomorphicTo(other)), Some(path)) = (declared.relation, path) {
            let shapes = |policy: &PolicyFiles| -> Vec<_> {
                let layers = policy.policy.network.layers.iter();
                layers.map(|l| (l.weight.rows, format!("{:?}", l.activation))).collect()
            };
            if shapes(&policies[other]) != shapes(&policy) {
                let name = &asked.networks[other].name;
                let message = format!(
                    "{}: its layers are not those of {name}, to which it is declared isomorphic",
                    path.display()
                );
                return Err(CliError::input(message));
            }
        }
        policies.push(policy);
    }
    Ok(policies)
}

/// The largest difference between an output that is stated and what it is.
fn difference(assignment: &Assignment, outputs: &[Vec<Enclosure>]) -> Option<Rational> {
    let stated = assignment.outputs.iter().flatten().zip(outputs.iter().flatten());
    let differences = stated.filter_map(|(stated, (lower, upper))| {
        let stated = stated.as_ref()?;
        Some(stated.sub(lower).abs().max(stated.sub(upper).abs()))
    });
    differences.max()
}

fn rounded(value: &Rational) -> String {
    format!("{:.3e}", rational_to_float(value))
}

fn line(miss: &Miss) -> String {
    match miss {
        Miss::Input { name, by } if by.is_zero() => format!("{name} is at an end that is left out"),
        Miss::Input { name, by } => format!("{name} is outside its interval by {}", rounded(by)),
        Miss::Constraint { constraint, by } if by.is_zero() => {
            format!("constraint {constraint} holds with equality, where it is strict")
        }
        Miss::Constraint { constraint, by } => {
            format!("constraint {constraint} is missed by {} at least", rounded(by))
        }
        Miss::Unequal { names: [one, other], by } => {
            format!("{one} and {other} differ by {}, where they must be equal", rounded(by))
        }
    }
}

fn words(
    asked: &Several,
    assignment: &Assignment,
    outputs: &[Vec<Enclosure>],
    exact: bool,
    judgement: &Judgement,
) -> (String, Value) {
    let how = if exact { "evaluated exactly" } else { "enclosed by the checker" };
    let (word, case, misses) = match judgement {
        Judgement::Satisfies { case } => ("counterexample", Some(*case), &[][..]),
        Judgement::Fails { case, misses } => ("no counterexample", *case, misses.as_slice()),
        Judgement::Undecided { case } => ("undecided", Some(*case), &[][..]),
    };
    let mut text = match judgement {
        Judgement::Satisfies { case } => format!("{word}\nit satisfies case {case}; outputs {how}"),
        Judgement::Fails { case: Some(case), .. } => {
            format!(
                "{word}\nit satisfies none of {} cases; outputs {how}; nearest is case {case}:",
                asked.cases.len()
            )
        }
        Judgement::Fails { case: None, .. } => format!("{word}\nits inputs contradict each other:"),
        Judgement::Undecided { case } => {
            format!("{word}\nthe outputs, {how}, leave open whether it satisfies case {case}")
        }
    };
    for miss in misses.iter().take(LISTED) {
        text.push_str(&format!("\n  {}", line(miss)));
    }
    if misses.len() > LISTED {
        text.push_str(&format!("\n  ... and {} more", misses.len() - LISTED));
    }
    let stated = difference(assignment, outputs);
    match &stated {
        Some(difference) => {
            let named = rounded(difference);
            text.push_str(&format!("\nthe outputs that it states differ from these by at most {named}"));
        }
        None => text.push_str("\nit states no outputs"),
    }
    let enclosures = |values: &[Enclosure]| -> Vec<Value> {
        values.iter().map(|(lower, upper)| json!([lower.to_string(), upper.to_string()])).collect()
    };
    let networks = asked.networks.iter().zip(outputs);
    let networks: Vec<Value> =
        networks.map(|(n, y)| json!({"name": n.name, "outputs": enclosures(y)})).collect();
    let misses: Vec<Value> =
        misses.iter().map(|m| json!({"what": line(m), "by": m.by().to_string()})).collect();
    let document = json!({"result": word, "case": case, "exact": exact, "misses": misses, "networks": networks,
                          "statedOutputsDiffer": stated.map(|d| d.to_string())});
    (text, document)
}
