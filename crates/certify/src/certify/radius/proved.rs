//! The largest multiple of the radii at which a family proves a claim at a state: guessed in floats, found with the checker's
//! own rule. Untrusted.

use secateur_checker::claim::radius::{RadiusProblem, RadiusTarget, scaled};
use secateur_checker::evaluate::Problem;
use secateur_checker::family::{Family, WitnessKind};
use secateur_checker::kernel::head::{HeadBounds, OutputChange};
use secateur_checker::kernel::input::{GridBall, InputSet};
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::kernel::softmax::{PolicyChange, Softmax};
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{Matrix, States};
use secateur_checker::number::Rational;
use secateur_checker::rejection::Reason;
use secateur_checker::table::Quantity;

use super::RadiusError;
use super::multiple::{last_position, multiple};
use crate::bound::crown::{CrownScratch, bound_crown, bound_objectives};
use crate::bound::ibp::bound_ibp;
use crate::bound::{FloatBounds, FloatRegion};
use crate::certify::trees::propose_trees;
use crate::certify::witness::slope_table;
use crate::float::{FloatNetwork, float_to_rational, rational_to_float};
use crate::policy::emit::emit_safetensors;
use crate::progress::{Progress, Quiet};

/// One state's part of a witness; empty without one.
pub(super) type Evidence = Vec<u8>;

/// The search for proofs of one target, state by state.
pub(super) struct Prover<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) target: &'a RadiusTarget,
    pub(super) head: &'a HeadBounds,
    /// On the grids of the largest multiple searched.
    pub(super) radius: &'a RadiusProblem<'a>,
    /// Under the target's mask.
    pub(super) network: &'a FloatNetwork,
    /// Position of the largest multiple searched.
    pub(super) cap: usize,
    pub(super) branch_steps: u64,
    pub(super) progress: &'a dyn Progress,
}

impl Prover<'_> {
    /// The last position at which the family proves the target at a state, and its evidence there.
    ///
    /// # Errors
    /// [`RadiusError::Witness`], [`RadiusError::Interrupted`].
    pub(super) fn find(&self, state: usize) -> Result<(usize, Evidence), RadiusError> {
        let mut scratch = CrownScratch::default();
        let guess = last_position(self.cap, self.cap, |position| {
            Ok::<_, RadiusError>(self.seems(state, position, &mut scratch))
        })?;
        let mut best = Evidence::new();
        let found = last_position(self.cap, guess, |position| {
            let evidence = self.proves(state, position)?;
            Ok::<_, RadiusError>(evidence.map(|evidence| best = evidence).is_some())
        })?;
        Ok((found, best))
    }

    /// The evidence with which the family proves the target at a state and position, if it does.
    ///
    /// # Errors
    /// [`RadiusError::Witness`], [`RadiusError::Interrupted`].
    pub(super) fn proves(&self, state: usize, position: usize) -> Result<Option<Evidence>, RadiusError> {
        if self.progress.stopped() {
            return Err(RadiusError::Interrupted);
        }
        let multiple = multiple(position);
        let kept = |bound: Result<Rational, Reason>| bound.is_ok_and(|bound| self.target.keeps(&bound));
        if self.target.family.entry().witness == WitnessKind::None {
            return Ok(kept(self.radius.bound(state, &multiple)).then(Evidence::new));
        }
        let Some(one) = row(self.problem.states, state) else { return Ok(None) };
        let Some(mask) = self.problem.masks.get(self.target.mask) else { return Ok(None) };
        let set = scaled(self.problem.perturbation, &multiple);
        let masks = std::slice::from_ref(mask);
        let at = Problem { masks, states: &one, perturbation: &set, witness: None, ..*self.problem };
        // Radii at which the network no longer fits the grids are not proved.
        let Ok(local) = LocalProblem::new(at.policy, masks, &one, &set) else { return Ok(None) };
        let evidence = self.evidence(&at, &local)?;
        let file = witness_file(0, self.target.family, &[evidence.as_slice()]);
        let problem =
            Problem { perturbation: self.problem.perturbation, witness: Some(file.as_slice()), ..at };
        let target = RadiusTarget { mask: 0, ..self.target.clone() };
        let radius = RadiusProblem::new(&problem, (&set, self.head), target, 0);
        Ok(radius.is_ok_and(|radius| kept(radius.bound(0, &multiple))).then_some(evidence))
    }

    /// What the family's search finds for the only state and mask of a problem.
    fn evidence(&self, at: &Problem<'_>, local: &LocalProblem<'_>) -> Result<Evidence, RadiusError> {
        let quiet = Quiet(self.progress);
        if self.target.family == Family::Branch {
            let (.., bytes) = propose_trees(at, local, 0, self.branch_steps, &quiet)?;
            // The tree's end goes; that of the whole table is another.
            return Ok(bytes.get(8..).unwrap_or_default().to_vec());
        }
        let (.., bytes) = slope_table(at, local, (self.target.family, None), 0, &quiet)?;
        Ok(bytes)
    }

    /// Whether plain float bounds keep the limit: a guess.
    fn seems(&self, state: usize, position: usize, scratch: &mut CrownScratch) -> bool {
        let set = scaled(self.problem.perturbation, &multiple(position));
        let local = self.radius.local();
        let Ok(input) = local.input_under(state, &set) else { return false };
        let scale = 0.5f64.powi(i32::try_from(local.value_bits).unwrap_or(i32::MAX));
        let region = region(&input, scale);
        let center = |ends: Vec<i64>| ends.into_iter().map(|x| x as f64 * scale).collect::<Vec<f64>>();
        let clean = self.network.forward(&center(input.center.lower()));
        let intervals = matches!(self.target.family, Family::Ibp | Family::EnvelopeIbp | Family::Binary32Ibp);
        let (pre, outputs) = if intervals {
            bound_ibp(self.network, &region)
        } else {
            let bounds = bound_crown(self.network, &region, scratch);
            (bounds.pre, bounds.output)
        };
        if outputs.len() != clean.len() {
            return false;
        }
        let differences = (!self.head.is_gaussian() && self.target.quantity != Quantity::ActionDeviation)
            .then(|| {
                let mut differences = spread(&outputs);
                if !intervals {
                    let (weight, constant) = pairs(clean.len());
                    differences.meet(&bound_objectives(
                        self.network,
                        &region,
                        &pre,
                        &weight,
                        &constant,
                        scratch,
                    ));
                }
                differences
            });
        self.keeps(&clean, &outputs, differences.as_ref()).unwrap_or(false)
    }

    /// Whether bounds on the outputs, and on their differences in the order of [`pairs`], keep the limit.
    fn keeps(&self, clean: &[f64], outputs: &FloatBounds, differences: Option<&FloatBounds>) -> Option<bool> {
        let ends = outputs.lower.iter().zip(&outputs.upper).zip(clean);
        let deviation: Vec<f64> = ends.map(|((l, u), c)| (u - c).max(c - l).max(0.0)).collect();
        if self.target.quantity == Quantity::ActionDeviation {
            let limit = rational_to_float(self.target.limit.as_ref()?);
            return Some(deviation.iter().all(|change| *change <= limit));
        }
        let mut oscillation = 0.0f64;
        let (mut lead, mut first) = (f64::INFINITY, 0);
        for (index, value) in clean.iter().enumerate() {
            if *value > *clean.get(first)? {
                first = index;
            }
        }
        let order = (0..clean.len()).flat_map(|i| (0..clean.len()).map(move |j| (i, j)));
        for (at, (i, j)) in order.filter(|(i, j)| i != j).enumerate() {
            let Some(differences) = differences else { break };
            oscillation = oscillation.max(differences.upper.get(at)? - (clean.get(i)? - clean.get(j)?));
            if i == first {
                lead = lead.min(*differences.lower.get(at)?);
            }
        }
        if self.target.quantity == Quantity::SameActionMargin {
            return Some(lead > 0.0);
        }
        let change = OutputChange {
            deviation: deviation.into_iter().map(float_to_rational).collect::<Option<_>>()?,
            oscillation: float_to_rational(oscillation)?,
            euclidean: None,
            policy: differences.and_then(|differences| softmax_change(clean, differences, oscillation)),
        };
        let bound = match self.target.quantity {
            Quantity::TotalVariation => self.head.total_variation(&change),
            _ => self.head.divergence(&change),
        };
        Some(self.target.keeps(&bound.ok()?))
    }
}

/// What differences of two outputs, in the order of [`pairs`], say of the softmax of the clean outputs.
fn softmax_change(clean: &[f64], differences: &FloatBounds, oscillation: f64) -> Option<PolicyChange> {
    const BITS: u32 = 40;
    let on_grid = |value: f64| (value.abs() < 2f64.powi(20)).then_some((value * 2f64.powi(40)) as i64);
    let logits = clean.iter().map(|value| on_grid(*value).map(|logit| (logit, logit)));
    let logits = GridBox::from_intervals(logits.collect::<Option<Vec<_>>>()?);
    let mut upper = differences.upper.iter();
    let mut gains = Vec::with_capacity(clean.len() * clean.len());
    for (i, own) in clean.iter().enumerate() {
        for (j, other) in clean.iter().enumerate() {
            gains.push(if i == j { 0 } else { on_grid(upper.next()? - (own - other))? });
        }
    }
    Softmax::new(&logits, BITS).ok()?.change(&gains, on_grid(oscillation)?).ok()
}

/// A ball where the set is one that nothing cuts or stretches, else its box.
fn region(input: &InputSet, scale: f64) -> FloatRegion {
    let floats = |ends: Vec<i64>| ends.into_iter().map(|x| x as f64 * scale).collect::<Vec<f64>>();
    if let Some(GridBall::Euclidean { semi_axes }) = &input.ball
        && let [Some(first), rest @ ..] = semi_axes.as_slice()
        && rest.iter().all(|axis| *axis == Some(*first))
    {
        return FloatRegion::Ball { center: floats(input.center.lower()), radius: *first as f64 * scale };
    }
    FloatRegion::between(&floats(input.region.lower()), &floats(input.region.upper()))
}

/// Bounds of every ordered difference of two outputs from bounds of the outputs.
fn spread(outputs: &FloatBounds) -> FloatBounds {
    let ends = || outputs.lower.iter().zip(&outputs.upper).enumerate();
    let mut differences = FloatBounds::default();
    for (i, (own_lower, own_upper)) in ends() {
        for (_, (lower, upper)) in ends().filter(|(j, _)| *j != i) {
            differences.lower.push(own_lower - upper);
            differences.upper.push(own_upper - lower);
        }
    }
    differences
}

/// Every ordered difference of two outputs as weights, row-major, and constants of 0.
fn pairs(outputs: usize) -> (Vec<f64>, Vec<f64>) {
    let order = (0..outputs).flat_map(|i| (0..outputs).map(move |j| (i, j))).filter(|(i, j)| i != j);
    let entry = |(i, j): (usize, usize), o: usize| f64::from(u8::from(o == i)) - f64::from(u8::from(o == j));
    let weight: Vec<f64> = order.flat_map(|pair| (0..outputs).map(move |o| entry(pair, o))).collect();
    let count = outputs * outputs.saturating_sub(1);
    (weight, vec![0.0; count])
}

/// One row of the states.
fn row(states: &States, state: usize) -> Option<States> {
    let columns = states.values.columns;
    let start = state.checked_mul(columns)?;
    let values = states.values.values.get(start..start.checked_add(columns)?)?.to_vec();
    Some(States { values: Matrix { rows: 1, columns, values }, units: states.units })
}

/// The tensor of an entry's evidence, one part a state: rows of equal length, 0 where a state has none, or for split trees
/// the table of their ends and the trees.
pub(super) fn evidence_tensor(entry: usize, family: Family, parts: &[&[u8]]) -> super::RadiusTensor {
    let name = format!("radius.{entry}.{}.0", family.name());
    if family == Family::Branch {
        let mut bytes = Vec::new();
        let mut end = 0u64;
        for part in parts {
            end += part.len() as u64;
            bytes.extend(end.to_le_bytes());
        }
        bytes.extend(parts.concat());
        return (name, "U8", vec![bytes.len()], bytes);
    }
    let columns = parts.iter().map(|part| part.len()).max().unwrap_or(0);
    let mut bytes = Vec::with_capacity(columns * parts.len());
    for part in parts {
        bytes.extend(*part);
        bytes.resize(bytes.len() + columns - part.len(), 0);
    }
    (name, "U8", vec![parts.len(), columns], bytes)
}

fn witness_file(entry: usize, family: Family, parts: &[&[u8]]) -> Vec<u8> {
    let (name, dtype, shape, bytes) = evidence_tensor(entry, family, parts);
    emit_safetensors(&[(name, (dtype, shape.as_slice(), bytes.as_slice()))].into())
}
