//! `secateur compare`: the pruned network against the dense one, over boxes of inputs.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_checker::load::load_states;
use secateur_checker::model::{Perturbation, SensorSet, Units};
use secateur_checker::number::Rational;
use secateur_checker::pair::PairQuestion;
use secateur_checker::reader::certificate::FileDigest;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::property::NamedNetwork;

use crate::cli::command::verify::source::read_masked;
use crate::cli::command::verify::{Begun, DecideOptions, decide, read_network, record};
use crate::cli::context::{CliError, Context};
use crate::cli::option::adversary::{Norm, UnitsWord, exact, exact_list, perturbation};
use crate::cli::option::regions::read as read_boxes;
use crate::policy::before_normaliser;
use crate::search::branch::BranchOptions;
use crate::verify::difference::{Compared, Difference};
use crate::verify::{QuestionNetwork, VerifyError};

/// What a property calls the two.
const NAMES: [&str; 2] = ["dense", "pruned"];

/// Arguments of `compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  secateur compare dense.onnx pruned.onnx --lower=-1,-1 --upper=1,1 \\
      --delta 0.05 --key keys/secateur.pem --out pair.cert.dsse.json
  secateur compare hopper/ --mask hopper/masks/mask-30.safetensors \\
      --states states.npy --limit 20 --epsilon 0.01 --delta 0.2
  # how far apart can they be?
  secateur compare hopper/ --mask hopper/masks/mask-30.safetensors \\
      --states states.npy --limit 1 --epsilon 0.05 --smallest-delta
  secateur compare cartpole/ --mask loose.safetensors --mask tight.safetensors \\
      --box box.toml --same-action
  secateur check --network dense=dense.onnx --network pruned=pruned.onnx \\
      pair.property.json --trust keys/trust.json pair.cert.dsse.json

The first line printed is unsat (nowhere in the boxes do the two differ as asked; a proof is written beside the certificate), sat (at an
exact input they do) or unknown, as `secateur verify` says it; the property goes beside the certificate. Exit code 0 for sat and unsat, 1 for unknown.")]
pub struct CompareArguments {
    /// Two ONNX files or policy directories; of masks of one policy that policy alone.
    #[arg(required = true, num_args = 1..=2, value_names = ["DENSE", "PRUNED"])]
    networks: Vec<PathBuf>,
    /// A mask of DENSE that makes PRUNED; given twice, the first is compared with the second instead.
    #[arg(long = "mask", value_name = "FILE")]
    masks: Vec<PathBuf>,
    /// Boxes of inputs: a TOML file with tables `[[region]]` that have `lower` and `upper`.
    #[arg(long = "box", value_name = "FILE")]
    boxes: Option<PathBuf>,
    /// One box: its least value per input.
    #[arg(
        long,
        value_name = "A,B,...",
        value_delimiter = ',',
        requires = "upper",
        allow_hyphen_values = true
    )]
    lower: Option<Vec<String>>,
    /// Its greatest value per input.
    #[arg(
        long,
        value_name = "A,B,...",
        value_delimiter = ',',
        requires = "lower",
        allow_hyphen_values = true
    )]
    upper: Option<Vec<String>>,
    /// States, a .npy table: a box around each.
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Units of the states; normalised ones are put in front of DENSE's normaliser. [default: raw]
    #[arg(long, value_enum, requires = "states")]
    state_units: Option<UnitsWord>,
    /// The first N of them only.
    #[arg(long, value_name = "N", requires = "states")]
    limit: Option<usize>,
    /// How far the box reaches from a state, in every input.
    #[arg(long, value_name = "R", requires = "states", conflicts_with = "radii")]
    epsilon: Option<String>,
    /// The same per input; or a TOML file of radii by the policy's names.
    #[arg(long, value_name = "R1,R2,...|FILE", value_delimiter = ',', requires = "states")]
    radii: Option<Vec<String>>,
    /// Units of the radii; normalised ones are multiplied with the normaliser's std. [default: raw]
    #[arg(long, value_enum, requires = "states")]
    units: Option<UnitsWord>,
    #[command(flatten)]
    question: QuestionOptions,
    #[command(flatten)]
    decide: DecideOptions,
}

/// What is asked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct QuestionOptions {
    /// Does any output of the two differ by this much or more?
    #[arg(long, value_name = "D")]
    delta: Option<String>,
    /// Find the smallest D, and prove it: of the box of inputs given, or of each, N boxes are bounded, those first in which the
    /// two may differ most.
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "2000",
        value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["state", "leaves"]
    )]
    smallest_delta: Option<u64>,
    /// Is DENSE's greatest output PRUNED's greatest too, alone?
    #[arg(long)]
    same_action: bool,
    /// The same, where DENSE's softmax gives its greatest output a probability of P or more: asked wherever it leads every
    /// other output by ln(P / (1 - P)) or more, which it then does.
    #[arg(long, value_name = "P")]
    same_action_above: Option<String>,
}

impl QuestionOptions {
    /// The question.
    ///
    /// # Errors
    /// Exit code 2.
    fn asked(&self) -> Result<Asked, CliError> {
        Ok(match self.smallest_delta {
            Some(boxes) => Asked::Smallest { boxes },
            None => Asked::Question(self.question()?),
        })
    }

    fn question(&self) -> Result<PairQuestion, CliError> {
        if let Some(delta) = &self.delta {
            let delta = exact("--delta", delta)?;
            if !delta.is_positive() {
                return Err(CliError::input(format!("--delta {delta}: it must be above 0")));
            }
            return Ok(PairQuestion::Difference { delta });
        }
        let Some(above) = &self.same_action_above else {
            return Ok(PairQuestion::Action { lead: Rational::zero() });
        };
        let above = exact("--same-action-above", above)?;
        let odds = above.div(&Rational::one().sub(&above));
        let half = Rational::parse("1/2").map_err(CliError::internal)?;
        let odds = odds.ok().filter(|_| above >= half && above < Rational::one()).ok_or_else(|| {
            CliError::input(format!("--same-action-above {above}: it must be at least 1/2 and below 1"))
        })?;
        Ok(PairQuestion::Action { lead: below_logarithm(&odds)? })
    }
}

/// A decimal of six places that is not above the natural logarithm of a number from 1.
fn below_logarithm(odds: &Rational) -> Result<Rational, CliError> {
    let float = crate::float::rational_to_float(odds).ln();
    // The float is off by far less than the millionth that is taken off it.
    let below = ((float * 1e6).floor() - 1.0).max(0.0);
    Rational::parse(&format!("{below:.0}e-6")).map_err(CliError::internal)
}

/// Compares.
///
/// # Errors
/// Exit codes 2 and 4; unknown is exit code 1 and no error.
pub fn run(arguments: &CompareArguments, context: Context) -> Result<u8, CliError> {
    let asked = arguments.question.asked()?;
    let given = [&arguments.boxes, &arguments.states].into_iter().flatten();
    let radii = crate::cli::option::adversary::radii_file(arguments.radii.as_deref());
    let paths = arguments.networks.iter().chain(&arguments.masks).chain(given).chain(&radii);
    let reads: Vec<&Path> = paths.map(PathBuf::as_path).collect();
    let question = |options: &BranchOptions, stop: &dyn Fn() -> bool| {
        let compared = compared(arguments, &asked)?;
        let wrong = |e: VerifyError| match e {
            VerifyError::Input(_) => CliError::input(e),
            _ => CliError::internal(e),
        };
        match &asked {
            Asked::Question(asked) => compared.question(asked).map(Begun::from).map_err(wrong),
            Asked::Smallest { boxes } => {
                let options = BranchOptions { max_steps: *boxes, ..*options };
                let Difference { question, states, attained, .. } =
                    compared.smallest(&options, stop).map_err(wrong)?;
                let note = format!("\na difference of {attained:.6} is met, so no smaller one can be proved");
                Ok(Begun { question, search: states.into(), note })
            }
        }
    };
    decide(&arguments.decide, &reads, None, &question, context)
}

/// What is asked of the two.
enum Asked {
    /// A question with a number of its own.
    Question(PairQuestion),
    /// The smallest difference that so many boxes a box prove.
    Smallest {
        /// Boxes bounded.
        boxes: u64,
    },
}

fn compared(arguments: &CompareArguments, asked: &Asked) -> Result<Compared, CliError> {
    let mut inputs = Vec::new();
    let networks = networks(arguments, &mut inputs)?;
    let policies = [&networks[0].files.policy, &networks[1].files.policy];
    let [(width, outputs), other] = policies.map(|p| (p.network.inputs(), p.network.outputs()));
    if (width, outputs) != other {
        return Err(CliError::input(format!(
            "the networks have {width} and {} inputs, {outputs} and {} outputs; compare takes networks of one shape",
            other.0, other.1
        )));
    }
    if outputs < 2 && matches!(asked, Asked::Question(PairQuestion::Action { .. })) {
        return Err(CliError::input("a network of one output has one action: ask for --delta"));
    }
    let boxes = boxes(arguments, policies[0], &mut inputs)?;
    for (number, (lower, upper)) in boxes.iter().enumerate() {
        if lower.len() != width || upper.len() != width {
            let found = lower.len();
            return Err(CliError::input(format!(
                "box {number} has {found} ends, the networks have {width} inputs"
            )));
        }
        if let Some(input) = lower.iter().zip(upper).position(|(l, u)| l > u) {
            return Err(CliError::input(format!(
                "box {number}: the lower end of input {input} is above the upper"
            )));
        }
    }
    let named = NAMES.map(|name| NamedNetwork { name: name.to_owned(), reads: (0..width).collect() });
    Ok(Compared { networks, named: named.to_vec(), boxes, inputs })
}

fn networks(
    arguments: &CompareArguments,
    inputs: &mut Vec<FileDigest>,
) -> Result<Vec<QuestionNetwork>, CliError> {
    let CompareArguments { networks, masks, .. } = arguments;
    Ok(match (networks.as_slice(), masks.as_slice()) {
        ([dense, pruned], []) => vec![read_network(dense, inputs)?, read_network(pruned, inputs)?],
        ([dense], [mask]) => vec![read_network(dense, inputs)?, read_masked(dense, mask, inputs)?],
        ([policy], [first, second]) => {
            vec![read_masked(policy, first, inputs)?, read_masked(policy, second, inputs)?]
        }
        _ => {
            return Err(CliError::input(
                "give DENSE and PRUNED, or one policy directory with one --mask or two",
            ));
        }
    })
}

/// A box: least and greatest values.
type InputBox = (Vec<Rational>, Vec<Rational>);

/// The boxes in observations before a normaliser.
fn boxes(
    arguments: &CompareArguments,
    policy: &secateur_checker::model::Policy,
    inputs: &mut Vec<FileDigest>,
) -> Result<Vec<InputBox>, CliError> {
    match (&arguments.boxes, &arguments.lower, &arguments.upper, &arguments.states) {
        (Some(file), None, None, None) => {
            let regions = read_boxes(file)?;
            let boxes = regions.iter().map(|region| region.request().map(|r| (r.lower, r.upper)));
            boxes.collect()
        }
        (None, Some(lower), Some(upper), None) => {
            Ok(vec![(exact_list("--lower", lower)?, exact_list("--upper", upper)?)])
        }
        (None, None, None, Some(states)) => around(arguments, states, policy, inputs),
        _ => Err(CliError::input(
            "say where: --box FILE, --lower and --upper, or --states with --epsilon or --radii, one of them",
        )),
    }
}

/// A box around each state.
fn around(
    arguments: &CompareArguments,
    path: &Path,
    policy: &secateur_checker::model::Policy,
    inputs: &mut Vec<FileDigest>,
) -> Result<Vec<InputBox>, CliError> {
    let units = arguments.state_units.unwrap_or(UnitsWord::Raw).into();
    let (mut states, bytes) = load_states(path, units)?;
    inputs.push(record("states", path, &bytes));
    states.keep_first(arguments.limit.unwrap_or(usize::MAX));
    let (epsilon, radii) = (arguments.epsilon.as_deref(), arguments.radii.as_deref());
    let units = Some(arguments.units.unwrap_or(UnitsWord::Raw));
    let set = perturbation(&arguments.networks[0], epsilon, radii, Norm::Linf, units)?;
    let width = policy.network.inputs();
    let (mut radii, limits) = match set.shape {
        Perturbation::Linf { radius } => (vec![radius; width], Vec::new()),
        Perturbation::PerCoordinate { radii } => (radii, Vec::new()),
        Perturbation::Sensor(SensorSet { radii, shared, limits }) if shared.is_empty() => (radii, limits),
        Perturbation::Sensor(_) | Perturbation::L2 { .. } => {
            return Err(CliError::input("compare asks about boxes: leave out [bias] of the radii"));
        }
    };
    if states.values.columns != width || radii.len() != width {
        return Err(CliError::input(format!(
            "{}: {} columns and {} radii, the networks have {width} inputs",
            Escaped(&path.to_string_lossy()),
            states.values.columns,
            radii.len()
        )));
    }
    if let (Units::Normalised, Some(normaliser)) = (set.units, &policy.normaliser) {
        radii.iter_mut().zip(&normaliser.std).for_each(|(radius, std)| *radius = radius.mul(std));
    }
    let rows = states.values.values.chunks_exact(width.max(1));
    Ok(rows
        .map(|row| {
            let mut state: Vec<Rational> = row.iter().map(|x| x.to_rational()).collect();
            if let (Units::Normalised, Some(normaliser)) = (states.units, &policy.normaliser) {
                state = before_normaliser(normaliser, &state);
            }
            let (mut lower, mut upper): InputBox =
                state.iter().zip(&radii).map(|(x, r)| (x.sub(r), x.add(r))).unzip();
            for limit in &limits {
                lower[limit.input] = lower[limit.input].clone().max(limit.lower.clone());
                upper[limit.input] = upper[limit.input].clone().min(limit.upper.clone());
            }
            (lower, upper)
        })
        .collect())
}
