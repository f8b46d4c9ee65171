//! Radii: the largest multiple of the adversary's radii at which a claim is proved at each state, and the smallest at which an
//! attack breaks it. Untrusted: every multiple is one that the checker's rule accepted. `spec/certificate-radius.md`.

mod attack;
mod kept;
mod multiple;
mod proved;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use secateur_checker::claim::radius::{RadiusProblem, RadiusTarget, largest, scaled};
use secateur_checker::evaluate::Problem;
use secateur_checker::family::{Family, WitnessKind};
use secateur_checker::kernel::fault::{Class, Fault};
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::model::{Head, Policy};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::json::Value;
use secateur_checker::reader::radius::{MAX_RADII, RadiusClaim};
use secateur_checker::rejection::Reason;
use secateur_checker::table::Quantity;

use crate::certify::value::{list, text};
use crate::certify::witness_error::WitnessError;
use crate::float::{FloatError, FloatNetwork};
use crate::policy::emit::emit_safetensors;
use crate::progress::Progress;

use attack::{Breaker, Found, breaks, farther};
use kept::KeptRadii;
pub use kept::KeptRadiiError;
pub use multiple::{LARGEST, RADIUS_CAP};
use multiple::{multiple, position_at_most};
pub(crate) use proved::softmax_change;
use proved::{Evidence, Prover, evidence_tensor};

/// How often a point that no longer breaks the claim on the final grids is moved out.
const MOVES: usize = 50;

/// What must hold: a quantity and the most it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadiusGoal {
    /// The quantity.
    pub quantity: Quantity,
    /// The most that it may be, itself included; `None` for a same-action margin, which must be above 0.
    pub limit: Option<Rational>,
}

impl RadiusGoal {
    /// `same-action`, `deviation=0.1` (largest change of an output), `tv=0.1` (total variation) or `kl=0.1`, numbers read
    /// exactly.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let malformed = || {
            format!(
                "radius-for {text:?}: give same-action, deviation=0.1 (largest change of an output), tv=0.1 (total variation) or kl=0.1"
            )
        };
        if text.trim() == "same-action" {
            return Ok(Self { quantity: Quantity::SameActionMargin, limit: None });
        }
        let (word, number) = text.split_once('=').ok_or_else(malformed)?;
        let quantity = match word.trim() {
            "deviation" => Quantity::ActionDeviation,
            "tv" => Quantity::TotalVariation,
            "kl" => Quantity::Divergence,
            _ => return Err(malformed()),
        };
        let limit = Rational::parse(number.trim()).map_err(|e| format!("radius-for {text:?}: {e}"))?;
        if limit.is_negative() {
            return Err(format!("radius-for {text:?}: the limit is negative, which no bound is"));
        }
        if quantity == Quantity::TotalVariation && limit >= Rational::one() {
            return Err(format!(
                "radius-for {text:?}: a total variation is never above 1; give a limit below it"
            ));
        }
        Ok(Self { quantity, limit: Some(limit) })
    }
}

/// Radii to claim, under every mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadiusRequest {
    /// What must hold; nothing is claimed without one.
    pub goals: Vec<RadiusGoal>,
    /// Families that prove it, each by itself.
    pub families: Vec<Family>,
    /// The multiple at which the search stops.
    pub cap: Rational,
    /// Whether to search points that break it.
    pub attack: bool,
    /// A file that keeps what was found of each state; a search that finds it there goes on from it, to the same bytes.
    pub keep: Option<PathBuf>,
}

impl Default for RadiusRequest {
    /// No goal; family `crown`, up to [`RADIUS_CAP`], with attacks.
    fn default() -> Self {
        let cap = Rational::parse(RADIUS_CAP).unwrap_or_else(|_| Rational::one());
        Self { goals: Vec::new(), families: vec![Family::Crown], cap, attack: true, keep: None }
    }
}

/// Why radii were not claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RadiusError {
    /// The family has one bound for all states, or none on an adversary.
    #[error(
        "radius: family {family} does not bound what an adversary changes at each listed state; take one that does, such as crown"
    )]
    Family {
        /// Its name.
        family: String,
    },
    /// The quantity means nothing for the head.
    #[error("radius: {quantity} means nothing for this policy's head; {instead}")]
    Head {
        /// Its name.
        quantity: &'static str,
        /// What does.
        instead: &'static str,
    },
    /// A band ends at a mask that there is not.
    #[error("radius: no band {family}: the chain has masks 0 to {last}")]
    Band {
        /// Name of the family.
        family: String,
        /// Last mask of the chain.
        last: usize,
    },
    /// More entries than a certificate has room for.
    #[error("radius: {entries} entries, a certificate has at most {MAX_RADII}; name fewer families or goals")]
    TooMany {
        /// Families, goals and masks multiplied.
        entries: usize,
    },
    /// No witness could be found.
    #[error("radius: {0}")]
    Witness(#[from] WitnessError),
    /// The network cannot be lowered to floats.
    #[error("radius: {0}")]
    Float(#[from] FloatError),
    /// The checker's rule cannot be evaluated.
    #[error("radius: {0}")]
    Rule(Reason),
    /// What was found cannot be kept, or what was kept cannot be gone on from.
    #[error("{}: {error}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KeptRadiiError,
    },
    /// Interrupted by the user.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl From<(PathBuf, KeptRadiiError)> for RadiusError {
    fn from((path, error): (PathBuf, KeptRadiiError)) -> Self {
        Self::Kept { path, error }
    }
}

impl RadiusError {
    /// The exit code of a command that ends for this reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Rule(_) | Self::Interrupted | Self::Witness(WitnessError::Interrupted) => 4,
            _ => 2,
        }
    }
}

/// A tensor of the witness file: name, element type, shape, bytes.
pub type RadiusTensor = (String, &'static str, Vec<usize>, Vec<u8>);

/// Entries of `radius` and what proves them.
#[derive(Default)]
pub(crate) struct Radii {
    pub entries: Vec<RadiusClaim>,
    pub tensors: Vec<RadiusTensor>,
}

/// Tests that the goals mean something for the policy and that every family has a value at each state.
///
/// # Errors
/// [`RadiusError`].
pub(crate) fn validate_radii(
    request: &RadiusRequest,
    policy: &Policy,
    masks: usize,
) -> Result<(), RadiusError> {
    if request.goals.is_empty() {
        return Ok(());
    }
    for family in &request.families {
        if !family.is_local() || !family.bounds_adversary() {
            return Err(RadiusError::Family { family: family.name() });
        }
        if family.covers(masks) == 0 {
            return Err(RadiusError::Band { family: family.name(), last: masks.saturating_sub(1) });
        }
    }
    for goal in &request.goals {
        let quantity = goal.quantity.name();
        match (goal.quantity, &policy.head) {
            (Quantity::TotalVariation | Quantity::Divergence, Head::Deterministic) => {
                let instead = "it is deterministic: ask for deviation=R or same-action";
                return Err(RadiusError::Head { quantity, instead });
            }
            (Quantity::SameActionMargin, Head::Gaussian { .. }) => {
                let instead = "it is Gaussian: ask for tv=T, kl=D or deviation=R";
                return Err(RadiusError::Head { quantity, instead });
            }
            (Quantity::SameActionMargin, _) if policy.network.outputs() < 2 => {
                let instead = "it has one output: ask for deviation=R";
                return Err(RadiusError::Head { quantity, instead });
            }
            _ => {}
        }
    }
    let families = request.families.iter().map(|family| family.covers(masks)).sum::<usize>();
    let entries = families.saturating_mul(request.goals.len());
    if entries > MAX_RADII { Err(RadiusError::TooMany { entries }) } else { Ok(()) }
}

/// Searches every goal under every mask by every family.
///
/// # Errors
/// [`RadiusError`].
pub(crate) fn propose_radii(
    problem: &Problem<'_>,
    request: &RadiusRequest,
    branch_steps: u64,
    head: &HeadBounds,
    progress: &dyn Progress,
) -> Result<Radii, RadiusError> {
    let mut radii = Radii::default();
    let mut families = request.families.clone();
    families.sort();
    families.dedup();
    let mut goals: Vec<&RadiusGoal> = Vec::new();
    for goal in &request.goals {
        if !goals.contains(&goal) {
            goals.push(goal);
        }
    }
    let searches = families.iter().map(|family| family.covers(problem.masks.len())).sum::<usize>();
    let total = searches * goals.len() * problem.states.values.rows;
    if total == 0 {
        return Ok(radii);
    }
    let kept = KeptRadii::open(problem, request, branch_steps)?;
    let work =
        Work { problem, request, branch_steps, head, progress, kept, done: AtomicUsize::new(0), total };
    let searched = goals.into_iter().try_for_each(|goal| {
        (0..problem.masks.len()).try_for_each(|mask| {
            let covering = families.iter().filter(|family| mask < family.covers(problem.masks.len()));
            work.one_mask(goal, mask, &covering.copied().collect::<Vec<_>>(), &mut radii)
        })
    });
    work.kept.flush()?;
    searched.map(|()| radii)
}

/// What one run of the search knows.
struct Work<'a> {
    problem: &'a Problem<'a>,
    request: &'a RadiusRequest,
    branch_steps: u64,
    head: &'a HeadBounds,
    progress: &'a dyn Progress,
    kept: KeptRadii,
    /// States searched, of every entry.
    done: AtomicUsize,
    total: usize,
}

/// One state of an entry: the position proved, its evidence, and the point that breaks the claim.
struct AtState {
    proved: usize,
    evidence: Evidence,
    broken: Option<Found>,
}

impl Work<'_> {
    /// The entries of one goal under one mask, a family each; a point found above one family's radius serves them all.
    fn one_mask(
        &self,
        goal: &RadiusGoal,
        mask: usize,
        families: &[Family],
        radii: &mut Radii,
    ) -> Result<(), RadiusError> {
        let RadiusGoal { quantity, limit } = goal;
        let network = FloatNetwork::from_model(&self.problem.policy.network, self.problem.masks.get(mask))?;
        let mut points: Vec<Option<Option<Found>>> = vec![None; self.problem.states.values.rows];
        for &family in families {
            let target = RadiusTarget { family, mask, quantity: *quantity, limit: limit.clone() };
            let (cap, widest) = self.widest(&target)?;
            let radius = RadiusProblem::new(self.problem, (&widest, self.head), target.clone(), 0);
            let radius = radius.map_err(RadiusError::Rule)?;
            let breaker = Breaker::new(self.problem, mask, *quantity, &radius)?;
            let prover = Prover {
                problem: self.problem,
                target: &target,
                head: self.head,
                radius: &radius,
                network: &network,
                cap,
                branch_steps: self.branch_steps,
                progress: self.progress,
            };
            let part = radii.entries.len();
            let states: Result<Vec<AtState>, RadiusError> = points
                .par_iter()
                .enumerate()
                .map(|(state, known)| {
                    let kept = self.kept.known(part, state, cap);
                    let at = match kept {
                        Some(at) => at,
                        None => {
                            let at = self.one_state(&prover, &breaker, state, known)?;
                            self.kept.add(part, state, &at)?;
                            at
                        }
                    };
                    let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                    self.progress.advance("radii", done, self.total);
                    Ok(at)
                })
                .collect();
            let mut states = states?;
            points = states.iter().map(|state| Some(state.broken.clone())).collect();
            let (claim, tensors) = self.settle(&prover, radii.entries.len(), &mut states)?;
            radii.entries.push(claim);
            radii.tensors.extend(tensors);
        }
        Ok(())
    }

    /// What is proved at a state, and a point that breaks the claim: the one that is `known`, or one that is searched.
    fn one_state(
        &self,
        prover: &Prover<'_>,
        breaker: &Breaker<'_>,
        state: usize,
        known: &Option<Option<Found>>,
    ) -> Result<AtState, RadiusError> {
        let (proved, evidence) = prover.find(state)?;
        let stop = || self.progress.stopped();
        let broken = match known {
            Some(known) => known.clone(),
            None if self.request.attack => breaker.find(state, proved, prover.cap, &stop),
            None => None,
        };
        // A search for points that was cut short has found fewer.
        if stop() { Err(RadiusError::Interrupted) } else { Ok(AtState { proved, evidence, broken }) }
    }

    /// The largest multiple searched, which is the cap unless the network would not fit the grids there, and its set.
    fn widest(
        &self,
        target: &RadiusTarget,
    ) -> Result<(usize, secateur_checker::model::PerturbationSet), RadiusError> {
        let mut cap = self.request.cap.clone();
        let two = Rational::from_integer(2.into());
        loop {
            let position = position_at_most(&cap);
            let widest = scaled(self.problem.perturbation, &multiple(position));
            match RadiusProblem::new(self.problem, (&widest, self.head), target.clone(), 0) {
                Err(reason) if is_limit(&reason) && position > 0 => {
                    cap = cap.div(&two).map_err(|_| RadiusError::Rule(Fault::ZeroDenominator.into()))?;
                }
                Err(reason) => return Err(RadiusError::Rule(reason)),
                Ok(_) => return Ok((position, widest)),
            }
        }
    }

    /// The entry as the checker accepts it: on the grids that its own largest multiple fixes, which the search did not know, a
    /// multiple that fails is lowered and a point that fails moved out.
    fn settle(
        &self,
        prover: &Prover<'_>,
        entry: usize,
        states: &mut [AtState],
    ) -> Result<(RadiusClaim, Vec<RadiusTensor>), RadiusError> {
        let target = prover.target;
        let mut moves = vec![0usize; states.len()];
        loop {
            let claim = claim_of(target, states);
            let tensors = tensors_of(self.problem, target, entry, states);
            let file = emit(&tensors);
            let problem = Problem { witness: Some(file.as_slice()), ..*self.problem };
            let widest = scaled(problem.perturbation, &largest(&claim));
            let radius = RadiusProblem::new(&problem, (&widest, self.head), target.clone(), entry);
            let radius = radius.map_err(RadiusError::Rule)?;
            let failed = |(state, at): (usize, &AtState)| {
                if self.progress.stopped() {
                    return Err(RadiusError::Interrupted);
                }
                let bound = (at.proved > 0).then(|| radius.bound(state, &multiple(at.proved)));
                let proved = bound.is_none_or(|bound| bound.is_ok_and(|bound| target.keeps(&bound)));
                let broken = at.broken.as_ref();
                let broken =
                    broken.is_none_or(|(position, offset)| breaks(&radius, state, *position, offset));
                Ok((!proved, !broken))
            };
            let failed: Result<Vec<(bool, bool)>, RadiusError> =
                states.par_iter().enumerate().map(failed).collect();
            let failed = failed?;
            if !failed.iter().any(|(proved, broken)| *proved || *broken) {
                return Ok((claim, tensors));
            }
            for (state, (at, (proved, broken))) in states.iter_mut().zip(failed).enumerate() {
                if proved {
                    (at.proved, at.evidence) = lower(prover, state, at.proved)?;
                }
                if let Some(found) = at.broken.take_if(|_| broken)
                    && moves[state] < MOVES
                {
                    moves[state] += 1;
                    at.broken = Some(farther(self.problem.perturbation, &found));
                }
            }
        }
    }
}

/// The last position below one that fails at which the target is proved, and the evidence.
fn lower(prover: &Prover<'_>, state: usize, position: usize) -> Result<(usize, Evidence), RadiusError> {
    for position in (1..position).rev() {
        if let Some(evidence) = prover.proves(state, position)? {
            return Ok((position, evidence));
        }
    }
    Ok((0, Evidence::new()))
}

/// Whether smaller radii may help.
fn is_limit(reason: &Reason) -> bool {
    reason.class() == Class::Limit || matches!(reason.fault(), Some(Fault::MagnitudeTooLarge { .. }))
}

fn claim_of(target: &RadiusTarget, states: &[AtState]) -> RadiusClaim {
    RadiusClaim {
        family: target.family.name(),
        mask: target.mask,
        quantity: target.quantity.name().to_owned(),
        limit: target.limit.clone(),
        proved: states.iter().map(|at| multiple(at.proved)).collect(),
        broken: states.iter().map(|at| at.broken.as_ref().map(|(position, _)| multiple(*position))).collect(),
    }
}

fn tensors_of(
    problem: &Problem<'_>,
    target: &RadiusTarget,
    entry: usize,
    states: &[AtState],
) -> Vec<RadiusTensor> {
    let mut tensors = Vec::new();
    let searched = target.family.entry().witness != WitnessKind::None;
    if searched && states.iter().any(|at| at.proved > 0) {
        let parts: Vec<&[u8]> = states.iter().map(|at| at.evidence.as_slice()).collect();
        tensors.push(evidence_tensor(entry, target.family, &parts));
    }
    if states.iter().any(|at| at.broken.is_some()) {
        let inputs = problem.policy.network.inputs();
        let none = vec![0.0; inputs];
        let offsets = states.iter().map(|at| at.broken.as_ref().map_or(&none, |(_, offset)| offset));
        let bytes = offsets.flat_map(|offset| offset.iter().flat_map(|o| o.to_le_bytes())).collect();
        tensors.push((format!("radius.{entry}.counterexample.0"), "F64", vec![states.len(), inputs], bytes));
    }
    tensors
}

fn emit(tensors: &[RadiusTensor]) -> Vec<u8> {
    let named = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let tensor: (&str, &[usize], &[u8]) = (dtype, shape, bytes);
        (name.clone(), tensor)
    });
    emit_safetensors(&named.collect())
}

/// At how many of an entry's states the search went no farther because it was told to stop there.
pub fn reached_cap(claim: &RadiusClaim, request: &RadiusRequest) -> usize {
    let last = multiple(position_at_most(&request.cap));
    claim.proved.iter().filter(|proved| proved.is_positive() && **proved == last).count()
}

/// The predicate's array; `None` without radii.
pub(crate) fn emit_radii(claims: &[RadiusClaim]) -> Option<(String, Value)> {
    let number = |number: &Rational| {
        // A decimal, where it says the same.
        let decimal = claim_decimal(number, Rounding::Down);
        let same = Rational::parse(&decimal).is_ok_and(|read| read == *number);
        text(if same { decimal } else { number.to_string() })
    };
    let claim = |claim: &RadiusClaim| {
        let RadiusClaim { family, mask, quantity, limit, proved, broken } = claim;
        let mut fields: BTreeMap<String, Value> = [
            ("family", text(family.as_str())),
            ("mask", text(mask.to_string())),
            ("quantity", text(quantity.as_str())),
            ("proved", list(proved, number)),
            ("broken", list(broken, |broken| broken.as_ref().map_or_else(|| text("none"), number))),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        fields.extend(limit.as_ref().map(|limit| ("limit".to_owned(), number(limit))));
        Value::Object(fields)
    };
    (!claims.is_empty()).then(|| ("radius".to_owned(), list(claims, claim)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_exactly_or_named() {
        let read = |text: &str| {
            let goal = RadiusGoal::parse(text).expect(text);
            (goal.quantity.name(), goal.limit.map(|limit| limit.to_string()))
        };
        assert_eq!(read("same-action"), ("same-action-margin", None));
        assert_eq!(read("deviation=0.1"), ("action-deviation", Some("1/10".to_owned())));
        assert_eq!(read("tv=1/4"), ("total-variation", Some("1/4".to_owned())));
        assert_eq!(read("kl=2"), ("kl-divergence", Some("2".to_owned())));
        for bad in ["deviation", "margin=1", "tv=1", "tv=-0.1", "deviation=x", "same-action=1", ""] {
            let error = RadiusGoal::parse(bad).expect_err(bad);
            assert!(error.starts_with("radius-for"), "{error}");
        }
    }
}
