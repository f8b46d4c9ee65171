//! What one point per state and mask proves from below: the points of a witness file through rule `counterexample.point`,
//! and the steps they show to have hurt by rule `counterexample.bracket`. Trusted. `spec/certificate-bracket.md`.

use std::borrow::Cow;

use crate::claim::{Bound, Claim, Proofs};
use crate::kernel::fault::{Fault, Place as At};
use crate::kernel::head::{HeadBounds, OutputChange};
use crate::kernel::point::{PointHead, deviation_from_below};
use crate::local::LocalProblem;
use crate::model::Head;
use crate::number::{Dyadic, Rational};
use crate::problem::Problem;
use crate::reader::certificate::Certificate;
use crate::reader::counterexample::{BracketVerdict, CounterexampleClaim, Place};
use crate::reader::escaped::Escaped;
use crate::reader::witness::WitnessFile;
use crate::rejection::Reason;
use crate::sentences::LIMIT_COUNTEREXAMPLE;
use crate::table::{FamilyTable, Quantity};
use crate::threads::in_order;

/// The quantities that a point bounds from below.
pub(crate) const QUANTITIES: [Quantity; 2] = [Quantity::ActionDeviation, Quantity::TotalVariation];

/// Lower bounds at one state under one mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointValues {
    /// Of each output's absolute change.
    pub deviation: Vec<Rational>,
    /// Of the total variation; `None` for a deterministic head.
    pub total_variation: Option<Rational>,
}

impl PointValues {
    /// The lower bounds on `quantity` in the order of places: one per output, or one; none for other quantities.
    pub fn of(&self, quantity: Quantity) -> &[Rational] {
        match quantity {
            Quantity::ActionDeviation => &self.deviation,
            Quantity::TotalVariation => self.total_variation.as_slice(),
            Quantity::Divergence | Quantity::SameActionMargin => &[],
        }
    }
}

/// Lower bounds by state, then mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointTable {
    /// One list per state, with one entry per mask.
    pub states: Vec<Vec<PointValues>>,
}

impl PointTable {
    /// The exact lower bounds on `quantity` under mask `mask`, one per state.
    ///
    /// # Errors
    /// [`Reason`]: no such mask, output or quantity.
    pub fn values(
        &self,
        quantity: Quantity,
        mask: usize,
        output: Option<usize>,
    ) -> Result<Vec<Rational>, Reason> {
        if output.is_some() != (quantity == Quantity::ActionDeviation) {
            return Err(Reason::NoOutput);
        }
        let missing = || if output.is_some() { Reason::NoOutput } else { Reason::NotForThisHead };
        let value = |state: &Vec<PointValues>| {
            let values = state.get(mask).ok_or(Reason::NoMask)?.of(quantity);
            values.get(output.unwrap_or(0)).cloned().ok_or_else(missing)
        };
        self.states.iter().map(value).collect()
    }
}

/// A problem with the points of its witness file; states are evaluated one at a time.
pub struct PointProblem<'a> {
    problem: Problem<'a>,
    local: LocalProblem<'a>,
    head: PointHead<'a>,
    /// By mask, row-major: the points' offsets from the states.
    offsets: Vec<Vec<Dyadic>>,
}

impl<'a> PointProblem<'a> {
    /// Reads the points of every mask: tensor `counterexample.MASK`, binary64, states x inputs.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn new(problem: &Problem<'a>) -> Result<Self, Reason> {
        let local = LocalProblem::new(problem.policy, problem.masks, problem.states, problem.perturbation)?;
        let file = WitnessFile::parse(problem.witness.ok_or(Reason::NoWitness)?)?;
        let mut offsets = Vec::with_capacity(problem.masks.len());
        for mask in 0..problem.masks.len() {
            let points = file.points(mask, local.states(), problem.policy.network.inputs())?;
            offsets.push(points.ok_or(Reason::PointsShape { mask })?);
        }
        let head = PointHead::new(&problem.policy.head)?;
        Ok(Self { problem: *problem, local, head, offsets })
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        self.local.states()
    }

    /// One entry per mask; independent of every other state, so that a caller may run states in parallel.
    ///
    /// # Errors
    /// [`Fault`]: a point that is refused.
    pub fn evaluate_state(&self, state: usize) -> Result<Vec<PointValues>, Fault> {
        let at =
            |mask: usize| self.at(mask, state).map_err(|fault| fault.at(At::State(state)).at(At::Mask(mask)));
        (0..self.offsets.len()).map(at).collect()
    }

    fn at(&self, mask: usize, state: usize) -> Result<PointValues, Fault> {
        let Problem { policy, states, perturbation, .. } = self.problem;
        let mut rows = self.offsets.get(mask).ok_or(Fault::PointShape)?.chunks(states.values.columns);
        let row = rows.nth(state).ok_or(Fault::PointShape)?;
        let (clean, moved) = self.local.at_point(mask, state, perturbation, row)?;
        let bits = self.local.value_bits;
        let total_variation = match policy.head {
            Head::Deterministic => None,
            Head::Gaussian { .. } | Head::Categorical => {
                Some(self.head.total_variation(&clean, &moved, bits)?)
            }
        };
        Ok(PointValues { deviation: deviation_from_below(&clean, &moved, bits)?, total_variation })
    }
}

impl Proofs<'_> {
    /// What the points show, computed for the first claim that asks.
    ///
    /// # Errors
    /// [`Reason`].
    pub(crate) fn points(&mut self) -> Result<&PointTable, Reason> {
        if self.points.is_none() {
            let points = PointProblem::new(self.problem)?;
            let states = in_order(points.states(), &|state| points.evaluate_state(state), self.progress)?;
            self.points = Some(PointTable { states });
        }
        self.points.as_ref().ok_or(Reason::NoWitness)
    }
}

impl Claim for CounterexampleClaim {
    const KIND: &'static str = "counterexample";

    fn about(&self) -> Vec<String> {
        vec![format!("{} {} {:?}", self.quantity, self.mask, self.output)]
    }

    fn limits(_: &[Self]) -> Result<Vec<&'static str>, Reason> {
        Ok(vec![LIMIT_COUNTEREXAMPLE])
    }

    fn assumptions(&self, _: &Certificate) -> Vec<Cow<'static, str>> {
        Vec::new()
    }

    fn stated(&self) -> Vec<Cow<'_, str>> {
        self.at_least.iter().map(Cow::from).collect()
    }

    fn part(&self, number: usize) -> String {
        format!(", state {number}")
    }

    fn prove(&self, _: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason> {
        let unknown = || Reason::NotFromBelow { quantity: self.quantity.as_str().into() };
        let quantity = Quantity::parse(&self.quantity).filter(|q| QUANTITIES.contains(q));
        let quantity = quantity.ok_or_else(unknown)?;
        let values = proofs.points()?.values(quantity, self.mask, self.output)?;
        Ok(values.into_iter().map(Bound::AtLeast).collect())
    }
}

/// What every family that bounds an adversary says together about the changes at a state under a mask.
fn least_change(tables: &[FamilyTable], mask: usize, state: usize) -> Result<Option<OutputChange>, Fault> {
    let changes = tables.iter().filter(|t| t.family.bounds_adversary()).filter_map(|table| {
        let place = if table.family.is_local() { state } else { 0 };
        table.masks.get(mask)?.changes.get(place)
    });
    let mut met: Option<OutputChange> = None;
    for change in changes {
        met = Some(match met {
            Some(met) => met.meet(change)?,
            None => change.clone(),
        });
    }
    Ok(met)
}

/// Rule `counterexample.bracket`: for every step and quantity, where the least after the step exceeds the most before it.
///
/// # Errors
/// [`Fault`].
pub fn brackets(
    tables: &[FamilyTable],
    points: &PointTable,
    head: &HeadBounds,
    masks: usize,
) -> Result<Vec<BracketVerdict>, Fault> {
    let mut verdicts = Vec::new();
    for (before, step) in (1..masks).enumerate() {
        for quantity in QUANTITIES {
            if quantity == Quantity::ActionDeviation || head.is_distribution() {
                verdicts.push(bracket(tables, points, head, quantity, (before, step))?);
            }
        }
    }
    Ok(verdicts)
}

fn bracket(
    tables: &[FamilyTable],
    points: &PointTable,
    head: &HeadBounds,
    quantity: Quantity,
    (before, after): (usize, usize),
) -> Result<BracketVerdict, Fault> {
    let (mut hurt, mut places) = (0usize, 0usize);
    let mut largest: Option<(Rational, Place, Rational, Rational)> = None;
    for (state, masks) in points.states.iter().enumerate() {
        let lower = masks.get(after).map_or(&[][..], |values| values.of(quantity));
        places = places.saturating_add(lower.len());
        // Where no family bounds the mask before, nothing can be shown.
        let Some(change) = least_change(tables, before, state)? else { continue };
        let total_variation;
        let upper = if quantity == Quantity::ActionDeviation {
            &change.deviation[..]
        } else {
            total_variation = [head.total_variation(&change)?];
            &total_variation[..]
        };
        for (index, (most, least)) in upper.iter().zip(lower).enumerate().filter(|(_, (u, l))| l > u) {
            hurt = hurt.saturating_add(1);
            let gap = least.sub(most);
            if largest.as_ref().is_none_or(|(best, ..)| gap > *best) {
                let index = (quantity == Quantity::ActionDeviation).then_some(index);
                largest = Some((gap, Place { state: Some(state), index }, most.clone(), least.clone()));
            }
        }
    }
    let verdict = if hurt > 0 { "hurt" } else { "not-shown" };
    let (at, at_most_before, at_least_after) = match largest {
        Some((_, place, most, least)) => (Some(place), Some(most), Some(least)),
        None => (None, None, None),
    };
    Ok(BracketVerdict {
        of: quantity.name().to_owned(),
        step: after,
        verdict: verdict.to_owned(),
        hurt,
        places,
        at,
        at_most_before,
        at_least_after,
    })
}

/// A bracket in words.
pub(crate) fn bracket_words(v: &BracketVerdict) -> String {
    let (of, verdict, BracketVerdict { step, hurt, places, .. }) = (Escaped(&v.of), Escaped(&v.verdict), v);
    let ends = v.at_most_before.as_ref().zip(v.at_least_after.as_ref());
    let ends = ends.map(|(before, after)| format!(", at most {before} before, at least {after} after"));
    format!("{of} step {step}: {verdict} at {hurt} of {places} places{}", ends.unwrap_or_default())
}
