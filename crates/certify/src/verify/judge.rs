//! Whether a stated counterexample is one: exactly for networks of ReLUs, else by the checker's enclosures. Untrusted; it
//! makes no certificate. `spec/vnnlib.md`.

use secateur_checker::kernel::ibp::propagate;
use secateur_checker::kernel::input::read_observation;
use secateur_checker::kernel::split::Case;
use secateur_checker::model::Policy;
use secateur_checker::number::Rational;
use secateur_checker::property::{prepare, read_property};
use secateur_checker::reader::property::Property;
use secateur_checker::tables::tanh_table;

use super::VerifyError;
use super::assignment::Assignment;
use crate::float::FloatNetwork;
use crate::property::several::{Several, SeveralCase};
use crate::search::branch::point::exact_outputs;

/// What an output is known to lie between; the ends are equal where it is exact.
pub type Enclosure = (Rational, Rational);

/// What was found out about an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It satisfies this case, every comparison as it is stated.
    Satisfies {
        /// The case, from 0.
        case: usize,
    },
    /// It satisfies no case.
    Fails {
        /// The case that it misses by least, from 0; `None` if inputs that must be equal are not.
        case: Option<usize>,
        /// What it misses there.
        misses: Vec<Miss>,
    },
    /// The enclosures are too wide to tell for this case.
    Undecided {
        /// The case, from 0.
        case: usize,
    },
}

/// A comparison that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// An input is outside the box.
    Input {
        /// What it is called.
        name: String,
        /// By how much; 0 at an end that is left out.
        by: Rational,
    },
    /// A constraint.
    Constraint {
        /// Its number in the case, from 0.
        constraint: usize,
        /// By how much at least; 0 for a strict one that is met with equality.
        by: Rational,
    },
    /// Two inputs that must be equal.
    Unequal {
        /// What they are called.
        names: [String; 2],
        /// By how much they differ.
        by: Rational,
    },
}

impl Miss {
    /// By how much.
    pub fn by(&self) -> &Rational {
        match self {
            Self::Input { by, .. } | Self::Constraint { by, .. } | Self::Unequal { by, .. } => by,
        }
    }
}

/// The outputs of a policy's network at an observation, and whether they are exact.
///
/// # Errors
/// [`VerifyError::Limit`] if the numbers are too large for the checker's grid.
pub fn enclose_outputs(
    policy: &Policy,
    observation: &[Rational],
) -> Result<(Vec<Enclosure>, bool), VerifyError> {
    let limit = |e: &dyn std::fmt::Display| VerifyError::Limit(e.to_string());
    let read = read_observation(policy.normaliser.as_ref(), observation).map_err(|e| limit(&e))?;
    let floats = FloatNetwork::from_model(&policy.network, None).map_err(|e| limit(&e))?;
    if let Some(outputs) = exact_outputs(&floats, &read) {
        return Ok((outputs.into_iter().map(|y| (y.clone(), y)).collect(), true));
    }
    let point = Case { lower: observation.to_vec(), upper: observation.to_vec(), constraints: Vec::new() };
    let property = read_property(policy, &Property { cases: vec![point], networks: Vec::new() })
        .map_err(|e| limit(&e))?;
    let grid = prepare(policy, &property).map_err(|e| limit(&e))?;
    let ends = read.iter().map(|x| secateur_checker::kernel::grid::rational_entry(x, grid.value_bits));
    let ends = ends.collect::<Option<Vec<_>>>().ok_or_else(|| limit(&"the input is too large"))?;
    let region = secateur_checker::kernel::interval::GridBox::from_intervals(ends);
    let table = tanh_table().map_err(|e| limit(&e))?;
    let bounds = propagate(&grid, table, &region).map_err(|e| limit(&e))?;
    let outputs = bounds.outputs().map_err(|e| limit(&e))?;
    let on_grid = |end| Rational::on_grid(end, grid.value_bits);
    Ok((outputs.intervals().map(|(lower, upper)| (on_grid(lower), on_grid(upper))).collect(), false))
}

/// Decides whether the inputs of an assignment satisfy some case, given the networks' outputs there; the outputs that the
/// assignment states play no part.
pub fn judge(asked: &Several, assignment: &Assignment, outputs: &[Vec<Enclosure>]) -> Judgement {
    let mut variables: Vec<Option<(&Rational, String)>> = vec![None; asked.variables.len()];
    let mut unequal = Vec::new();
    for (network, inputs) in asked.networks.iter().zip(&assignment.inputs) {
        for ((element, variable), value) in network.reads.iter().enumerate().zip(inputs) {
            let name = network.input.element_name(element);
            match &variables[*variable] {
                Some((first, of)) if *first != value => {
                    unequal.push(Miss::Unequal { names: [of.clone(), name], by: first.sub(value).abs() });
                }
                Some(_) => {}
                None => variables[*variable] = Some((value, name)),
            }
        }
    }
    if !unequal.is_empty() {
        return Judgement::Fails { case: None, misses: unequal };
    }
    let variables: Vec<&Rational> = variables.iter().flatten().map(|(value, _)| *value).collect();
    let mut values: Vec<Enclosure> = outputs.concat();
    values.extend(variables.iter().map(|v| ((*v).clone(), (*v).clone())));
    let mut open: Option<usize> = None;
    let mut nearest: Option<(Rational, usize, Vec<Miss>)> = None;
    for (index, case) in asked.cases.iter().enumerate() {
        let mut misses = misses_of_box(case, &variables, &asked.variables);
        let undecided = misses_of_constraints(case, &values, &mut misses);
        let worst = misses.iter().map(Miss::by).max().cloned();
        match worst {
            None if undecided => open = open.or(Some(index)),
            None => return Judgement::Satisfies { case: index },
            Some(worst) if nearest.as_ref().is_none_or(|(least, ..)| worst < *least) => {
                nearest = Some((worst, index, misses));
            }
            Some(_) => {}
        }
    }
    match (open, nearest) {
        (Some(case), _) => Judgement::Undecided { case },
        (None, Some((_, case, misses))) => Judgement::Fails { case: Some(case), misses },
        (None, None) => Judgement::Fails { case: None, misses: Vec::new() },
    }
}

fn misses_of_box(case: &SeveralCase, variables: &[&Rational], names: &[String]) -> Vec<Miss> {
    let sides = case.case.lower.iter().zip(&case.case.upper).zip(&case.open);
    let mut misses = Vec::new();
    for ((value, name), ((lower, upper), [above, below])) in variables.iter().zip(names).zip(sides) {
        let (under, over) = (lower.sub(value), value.sub(upper));
        if under.is_positive() || (under.is_zero() && *above) {
            misses.push(Miss::Input { name: name.clone(), by: under });
        } else if over.is_positive() || (over.is_zero() && *below) {
            misses.push(Miss::Input { name: name.clone(), by: over });
        }
    }
    misses
}

/// Adds what does not hold; whether something else cannot be told.
fn misses_of_constraints(case: &SeveralCase, values: &[Enclosure], misses: &mut Vec<Miss>) -> bool {
    let mut undecided = false;
    let constraints = case.case.constraints.iter().zip(&case.strict).enumerate();
    for (constraint, (wanted, strict)) in constraints {
        let (mut least, mut greatest) = (Rational::zero(), Rational::zero());
        for (coefficient, (lower, upper)) in wanted.coefficients.iter().zip(values) {
            let (below, above) = if coefficient.is_negative() { (upper, lower) } else { (lower, upper) };
            least = least.add(&coefficient.mul(below));
            greatest = greatest.add(&coefficient.mul(above));
        }
        let fails = |value: &Rational| *value > wanted.bound || (*strict && *value == wanted.bound);
        if fails(&least) {
            misses.push(Miss::Constraint { constraint, by: least.sub(&wanted.bound) });
        } else {
            undecided |= fails(&greatest);
        }
    }
    undecided
}
