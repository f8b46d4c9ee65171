//! Radii: up to which multiple of the adversary's radii a quantity is proved to keep a limit at each state, and at which one
//! a point of the witness file breaks it. Trusted. `spec/certificate-radius.md`.

use std::borrow::Cow;
use std::slice;

use crate::claim::{Bound, Claim, Proofs};
use crate::family::Family;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::head::HeadBounds;
use crate::kernel::interval::GridBox;
use crate::kernel::point::{PointHead, deviation_from_below};
use crate::local::LocalProblem;
use crate::model::{Perturbation, PerturbationSet, SensorSet, SharedOffset};
use crate::number::{Dyadic, Rational};
use crate::problem::Problem;
use crate::reader::certificate::Certificate;
use crate::reader::radius::RadiusClaim;
use crate::reader::witness::WitnessFile;
use crate::rejection::Reason;
use crate::sentences::{LIMIT_RADIUS, family_assumptions, family_limits};
use crate::table::{FamilyTable, MaskTable, Quantity};
use crate::threads::in_order;

/// The set with every radius multiplied.
pub fn scaled(set: &PerturbationSet, multiple: &Rational) -> PerturbationSet {
    let times = |radius: &Rational| radius.mul(multiple);
    let shape = match &set.shape {
        Perturbation::Linf { radius } => Perturbation::Linf { radius: times(radius) },
        Perturbation::L2 { radius } => Perturbation::L2 { radius: times(radius) },
        Perturbation::PerCoordinate { radii } => {
            Perturbation::PerCoordinate { radii: radii.iter().map(times).collect() }
        }
        // What can be observed stays what it is.
        Perturbation::Sensor(SensorSet { radii, shared, limits }) => Perturbation::Sensor(SensorSet {
            radii: radii.iter().map(times).collect(),
            shared: shared
                .iter()
                .map(|offset| SharedOffset { radius: times(&offset.radius), ..offset.clone() })
                .collect(),
            limits: limits.clone(),
        }),
    };
    PerturbationSet { shape, units: set.units }
}

/// What an entry is about: one family's bound on one quantity under one mask, and the limit it must keep.
#[derive(Clone, Debug)]
pub struct RadiusTarget {
    /// The family, one of the listed states that bounds an adversary.
    pub family: Family,
    /// Position of the mask in the chain.
    pub mask: usize,
    /// The quantity.
    pub quantity: Quantity,
    /// The most that it may be; a margin has none and must be above 0.
    pub limit: Option<Rational>,
}

impl RadiusTarget {
    /// Reads the entry's words.
    ///
    /// # Errors
    /// [`Reason`]: a family, quantity, mask or limit that no radius can be claimed of.
    pub fn new(claim: &RadiusClaim, masks: usize) -> Result<Self, Reason> {
        let (family, quantity) = (Family::named(&claim.family)?, Quantity::named(&claim.quantity)?);
        if !family.is_local() || !family.bounds_adversary() {
            return Err(Reason::RadiusFamily { family: claim.family.as_str().into() });
        }
        if claim.mask >= family.covers(masks) {
            return Err(Reason::NoMask);
        }
        if claim.limit.is_none() != (quantity == Quantity::SameActionMargin) {
            return Err(Reason::RadiusLimit);
        }
        Ok(Self { family, mask: claim.mask, quantity, limit: claim.limit.clone() })
    }

    /// Whether a bound on the quantity shows that it keeps the limit.
    pub fn keeps(&self, bound: &Rational) -> bool {
        self.limit.as_ref().map_or_else(|| bound.is_positive(), |limit| bound <= limit)
    }
}

/// A target at every state, at multiples of the radii, on the grids that the widest set fixes.
pub struct RadiusProblem<'a> {
    set: &'a PerturbationSet,
    target: RadiusTarget,
    /// The mask in the list that the family looks at.
    mask: usize,
    local: LocalProblem<'a>,
    head: &'a HeadBounds,
    point: PointHead<'a>,
}

impl<'a> RadiusProblem<'a> {
    /// Puts what the family looks at on the grids for `widest`, the set at the largest multiple; the witness is that of entry
    /// `entry`.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn new(
        problem: &Problem<'a>,
        (widest, head): (&'a PerturbationSet, &'a HeadBounds),
        target: RadiusTarget,
        entry: usize,
    ) -> Result<Self, Reason> {
        // A family that may rise under a smaller mask looks at no other mask; its list of one mask says the same of it.
        let (masks, mask) = if target.family.is_monotone() {
            (problem.masks, target.mask)
        } else {
            (slice::from_ref(problem.masks.get(target.mask).ok_or(Reason::NoMask)?), 0)
        };
        let families = [target.family];
        let local = LocalProblem::new(problem.policy, masks, problem.states, widest)?;
        let local = local.with_witness(problem.witness, &families)?.of_radius(entry).prepare(&families)?;
        let point = PointHead::new(&problem.policy.head)?;
        Ok(Self { set: problem.perturbation, target, mask, local, head, point })
    }

    /// The families' problem of the widest set, for whoever searches witnesses; its list may be the one mask.
    pub fn local(&self) -> &LocalProblem<'a> {
        &self.local
    }

    /// What the family proves of the quantity at a state if the radii are multiplied: from above, a margin from below.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn bound(&self, state: usize, multiple: &Rational) -> Result<Rational, Reason> {
        let at = |fault: Fault| fault.at(Place::State(state));
        let input = self.local.input_under(state, &scaled(self.set, multiple)).map_err(at)?;
        let family = self.target.family;
        let values = self.local.evaluate_over(state, input, &[family]).map_err(at)?;
        let bounds = values.first().and_then(|masks| masks.get(self.mask)).ok_or(Reason::NoMask)?;
        let (change, margin) = bounds.exact(self.local.value_bits);
        if self.target.quantity == Quantity::ActionDeviation {
            return change.deviation.into_iter().max().ok_or(Reason::NoOutput);
        }
        let table = MaskTable { changes: vec![change], margins: vec![margin], ..MaskTable::default() };
        let table = FamilyTable { family, masks: vec![table] };
        table.values(self.head, self.target.quantity, 0, None)?.pop().ok_or(Reason::NoOutput)
    }

    /// Whether the point that lies `offset` from the state shows that the limit is not kept at this multiple.
    ///
    /// # Errors
    /// [`Reason`]: a point outside the set, or a head for which the quantity means nothing.
    pub fn breaks(&self, state: usize, multiple: &Rational, offset: &[Dyadic]) -> Result<bool, Reason> {
        let at = |fault: Fault| fault.at(Place::State(state));
        let set = scaled(self.set, multiple);
        let (clean, moved) = self.local.at_point(self.mask, state, &set, offset).map_err(at)?;
        let bits = self.local.value_bits;
        let total_variation = || self.point.total_variation(&clean, &moved, bits).map_err(at);
        let shown = match self.target.quantity {
            Quantity::SameActionMargin if self.head.is_gaussian() => return Err(Reason::NotForThisHead),
            Quantity::SameActionMargin => return Ok(another_action(&clean, &moved)),
            Quantity::ActionDeviation => deviation_from_below(&clean, &moved, bits)?.into_iter().max(),
            Quantity::TotalVariation => Some(total_variation()?),
            // Pinsker's inequality.
            Quantity::Divergence => {
                let distance = total_variation()?;
                Some(distance.mul(&distance).mul(&Rational::from_integer(2.into())))
            }
        };
        Ok(shown.is_some_and(|shown| !self.target.keeps(&shown)))
    }
}

/// Whether an output leads every other at the state and another one leads it at the point, for certain.
fn another_action(clean: &GridBox, moved: &GridBox) -> bool {
    let leads = |outputs: &GridBox, leader: usize, other: usize| {
        outputs.at(leader).zip(outputs.at(other)).is_some_and(|(own, rival)| own.0 > rival.1)
    };
    let outputs = clean.intervals().count();
    let others = |own: usize| (0..outputs).filter(move |other| *other != own);
    let first = |own: usize| others(own).all(|other| leads(clean, own, other));
    (0..outputs).any(|own| first(own) && others(own).any(|other| leads(moved, other, own)))
}

/// The largest multiple of an entry: its set fixes the grids.
pub fn largest(claim: &RadiusClaim) -> Rational {
    let all = claim.proved.iter().chain(claim.broken.iter().flatten());
    all.max().cloned().unwrap_or_else(Rational::zero)
}

impl Claim for RadiusClaim {
    const KIND: &'static str = "radius";

    fn about(&self) -> Vec<String> {
        vec![format!("{} {} {} {:?}", self.family, self.mask, self.quantity, self.limit)]
    }

    fn limits(claims: &[Self]) -> Result<Vec<&'static str>, Reason> {
        let families = claims.iter().filter_map(|claim| Family::parse(&claim.family)).collect::<Vec<_>>();
        Ok(family_limits(&families, true).into_iter().chain([LIMIT_RADIUS]).collect())
    }

    fn assumptions(&self, _: &Certificate) -> Vec<Cow<'static, str>> {
        let families = Family::parse(&self.family).into_iter().collect::<Vec<_>>();
        family_assumptions(&families).into_iter().map(Cow::Borrowed).collect()
    }

    /// None: what is stated are multiples, and `prove` tests each.
    fn stated(&self) -> Vec<Cow<'_, str>> {
        Vec::new()
    }

    fn part(&self, _: usize) -> String {
        String::new()
    }

    fn prove(&self, entry: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason> {
        let (problem, states) = (proofs.problem, proofs.problem.states.values.rows);
        for stated in [self.proved.len(), self.broken.len()] {
            if stated != states {
                return Err(Reason::Length { stated, expected: states });
            }
        }
        let target = RadiusTarget::new(self, problem.masks.len())?;
        let widest = scaled(problem.perturbation, &largest(self));
        let radius = RadiusProblem::new(problem, (&widest, proofs.head), target, entry)?;
        let columns = problem.states.values.columns;
        let mut offsets = Vec::new();
        if self.broken.iter().any(Option::is_some) {
            let file = WitnessFile::parse(problem.witness.ok_or(Reason::NoWitness)?)?.of_radius(entry);
            let points = file.points(0, states, columns)?;
            offsets = points.ok_or(Reason::PointsShape { mask: self.mask })?;
        }
        let offsets: Vec<&[Dyadic]> = offsets.chunks(columns.max(1)).collect();
        let stated: Vec<_> = self.proved.iter().zip(&self.broken).collect();
        let part = |state: usize| {
            let (proved, broken) = stated.get(state).ok_or(Reason::NoStates)?;
            if proved.is_positive() {
                let bound = radius.bound(state, proved)?;
                if !radius.target.keeps(&bound) {
                    let (multiple, proved) = (Box::new((*proved).clone()), Box::new(bound));
                    return Err(Reason::RadiusTooLarge { state, multiple, proved });
                }
            }
            if let Some(multiple) = broken {
                let offset = offsets.get(state).ok_or(Reason::PointsShape { mask: self.mask })?;
                if !radius.breaks(state, multiple, offset)? {
                    return Err(Reason::RadiusNotBroken { state, multiple: Box::new(multiple.clone()) });
                }
            }
            Ok(())
        };
        in_order(states, &part, proofs.progress)?;
        Ok(Vec::new())
    }
}
