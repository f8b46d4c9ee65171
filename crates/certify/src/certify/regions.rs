//! Regions: boxes of states whose every state is covered, searched cell by cell and claimed as the checker will prove
//! them. Untrusted. `spec/rules/region.md`, `spec/certificate.md#regions`.

use std::collections::BTreeMap;

use secateur_checker::claim::region::{RegionProblem, prove_region};
use secateur_checker::kernel::bounds::StateBounds;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::model::{Mask, PerturbationSet, Policy, Units};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::json::Value;
use secateur_checker::reader::regions::{RegionClaim, RegionEntry, Share};
use secateur_checker::reader::trees::MAX_NODES;
use secateur_checker::table::Quantity;

use crate::certify::value::{list, object, text};
use crate::float::{FloatError, FloatNetwork, rational_to_float};
use crate::progress::Progress;
use crate::search::cover::{CoverGoal, search_cover};

/// Cells bounded for a region unless the user says otherwise.
pub const REGION_STEPS: u64 = 4000;
/// Most cells for a region; what the checker reads of one tree.
pub const MAX_REGION_STEPS: u64 = MAX_NODES as u64;

/// A box of states to claim, under every mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionRequest {
    /// Least value per input, in the states' units.
    pub lower: Vec<Rational>,
    /// Greatest value per input.
    pub upper: Vec<Rational>,
    /// Cells bounded for each tree.
    pub steps: u64,
    /// Thresholds of the total variation, or of the action deviation if there is no distribution.
    pub thresholds: Vec<Rational>,
}

/// Why a region was not claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The box has another width than the policy's input.
    #[error(
        "region {region}: {found} ends for {expected} inputs; give one lower and one upper end per input"
    )]
    Width {
        /// Position of the region.
        region: usize,
        /// Ends found.
        found: usize,
        /// Inputs of the policy.
        expected: usize,
    },
    /// A lower end is above its upper one.
    #[error("region {region}: the lower end of input {input} is above the upper one")]
    Turned {
        /// Position of the region.
        region: usize,
        /// Input, from 0.
        input: usize,
    },
    /// The same box twice.
    #[error("region {region} is the same box as region {earlier}; name it once, with all its thresholds")]
    Repeated {
        /// Position of the region.
        region: usize,
        /// Position of the one it repeats.
        earlier: usize,
    },
    /// The network cannot be lowered to floats.
    #[error("{0}")]
    Float(#[from] FloatError),
    /// A cell could not be bounded.
    #[error("region {region}: {reason}")]
    Cell {
        /// Position of the region.
        region: usize,
        /// Why.
        reason: Fault,
    },
    /// Its own claims could not be proved again: a defect of this program.
    #[error("region {region}: {reason}; please report this")]
    Prove {
        /// Position of the region.
        region: usize,
        /// Why.
        reason: String,
    },
    /// Interrupted by the user.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

/// What regions are claimed of.
pub(crate) struct RegionSubject<'a> {
    pub policy: &'a Policy,
    pub masks: &'a [Mask],
    pub units: Units,
    pub set: &'a PerturbationSet,
    pub head: &'a HeadBounds,
}

/// Entries of `regions` and the witness tensors `region.K` that prove them.
#[derive(Default)]
pub(crate) struct Regions {
    pub entries: Vec<RegionEntry>,
    pub trees: Vec<Vec<u8>>,
}

/// Tests that the boxes fit the policy and are distinct.
///
/// # Errors
/// [`RegionError::Width`], [`RegionError::Turned`], [`RegionError::Repeated`].
pub(crate) fn validate_regions(requests: &[RegionRequest], inputs: usize) -> Result<(), RegionError> {
    for (region, request) in requests.iter().enumerate() {
        for ends in [&request.lower, &request.upper] {
            if ends.len() != inputs || inputs > usize::from(u16::MAX) {
                return Err(RegionError::Width { region, found: ends.len(), expected: inputs });
            }
        }
        let turned = request.lower.iter().zip(&request.upper).position(|(lower, upper)| lower > upper);
        if let Some(input) = turned {
            return Err(RegionError::Turned { region, input });
        }
        let same = |r: &RegionRequest| (&r.lower, &r.upper) == (&request.lower, &request.upper);
        if let Some(earlier) = requests.iter().take(region).position(same) {
            return Err(RegionError::Repeated { region, earlier });
        }
    }
    Ok(())
}

/// Searches a cover for every request and mask: one tree for the quantities of change, one for the margin.
///
/// # Errors
/// [`RegionError`].
pub(crate) fn propose_regions(
    subject: &RegionSubject<'_>,
    requests: &[RegionRequest],
    progress: &dyn Progress,
) -> Result<Regions, RegionError> {
    let mut regions = Regions::default();
    let outputs = subject.policy.network.outputs();
    let margins = !subject.head.is_gaussian() && outputs > 1;
    for (region, request) in requests.iter().enumerate() {
        for mask in 0..subject.masks.len() {
            for margin in [false, true].into_iter().filter(|m| margins || !m) {
                let (entry, tree) = one_region(subject, region, request, mask, margin, progress)?;
                regions.entries.push(entry);
                regions.trees.push(tree);
            }
        }
    }
    Ok(regions)
}

fn one_region(
    subject: &RegionSubject<'_>,
    region: usize,
    request: &RegionRequest,
    mask: usize,
    margin: bool,
    progress: &dyn Progress,
) -> Result<(RegionEntry, Vec<u8>), RegionError> {
    let cell = |reason| RegionError::Cell { region, reason };
    let space = (request.lower.as_slice(), request.upper.as_slice());
    let Some(kept) = subject.masks.get(mask) else { return Err(cell(Fault::NoBand)) };
    let problem = RegionProblem::new(subject.policy, kept, space, subject.units, subject.set, margin);
    let problem = problem.map_err(cell)?;
    let network = FloatNetwork::from_model(&subject.policy.network, Some(kept))?;
    let first = network.layers.first().map_or(&[][..], |layer| layer.weight.as_slice());
    let mut weights = vec![0.0; request.lower.len()];
    for row in first.chunks_exact(weights.len().max(1)) {
        weights.iter_mut().zip(row).for_each(|(sum, w)| *sum += w.abs());
    }
    let head = subject.head;
    let main = if head.is_distribution() { Quantity::TotalVariation } else { Quantity::ActionDeviation };
    let value = |bounds: &StateBounds| -> Option<Rational> {
        let table = problem.table(bounds);
        match (margin, main) {
            (true, _) => table.values(head, Quantity::SameActionMargin, 0, None).ok()?.pop(),
            (_, Quantity::ActionDeviation) => table.masks[0].changes[0].deviation.iter().max().cloned(),
            _ => table.values(head, main, 0, None).ok()?.pop(),
        }
    };
    let badness = |bounds: &StateBounds| {
        let float = value(bounds).map_or(f64::INFINITY, |v| rational_to_float(&v));
        if margin { -float } else { float }
    };
    // The least threshold asked for; without one the worst cell alone counts.
    let least = request.thresholds.iter().min();
    let kept = |bounds: &StateBounds| match (margin, value(bounds)) {
        (true, Some(v)) => v.is_positive(),
        (false, Some(v)) => least.is_none_or(|t| v <= *t),
        _ => false,
    };
    let goal = CoverGoal { badness: &badness, kept: &kept, steps: request.steps };
    let total = usize::try_from(request.steps).unwrap_or(usize::MAX);
    let tick = |done: u64| {
        progress.advance("covering", usize::try_from(done).unwrap_or(total), total);
        progress.stopped()
    };
    let cover = search_cover(&problem, space, &weights, &goal, &tick).map_err(cell)?;
    if progress.stopped() {
        return Err(RegionError::Interrupted);
    }
    let entry = RegionEntry {
        lower: request.lower.clone(),
        upper: request.upper.clone(),
        mask,
        claims: unproved(subject, request, margin),
    };
    prove(&problem, region, entry, cover.bytes, head)
}

/// The claims of an entry, without their values.
fn unproved(subject: &RegionSubject<'_>, request: &RegionRequest, margin: bool) -> Vec<RegionClaim> {
    let claim = |quantity: Quantity, output, thresholds: &[Rational]| RegionClaim {
        quantity: quantity.name().to_owned(),
        output,
        value: "0".to_owned(),
        shares: thresholds
            .iter()
            .map(|t| Share { threshold: t.clone(), fraction: Rational::zero() })
            .collect(),
    };
    if margin {
        return vec![claim(Quantity::SameActionMargin, None, &[Rational::zero()])];
    }
    let distribution = subject.head.is_distribution();
    let thresholds: &[Rational] = if distribution { &[] } else { &request.thresholds };
    let outputs = 0..subject.policy.network.outputs();
    let mut claims: Vec<RegionClaim> =
        outputs.map(|o| claim(Quantity::ActionDeviation, Some(o), thresholds)).collect();
    if distribution {
        claims.push(claim(Quantity::TotalVariation, None, &request.thresholds));
        claims.push(claim(Quantity::Divergence, None, &[]));
    }
    claims
}

/// Fills in what the checker's rule proves with the tree, values rounded outward, fractions exact.
fn prove(
    problem: &RegionProblem<'_>,
    region: usize,
    mut entry: RegionEntry,
    tree: Vec<u8>,
    head: &HeadBounds,
) -> Result<(RegionEntry, Vec<u8>), RegionError> {
    let proved = prove_region(problem, &entry, &tree, head, &mut |_, _| {});
    let proved = proved.map_err(|e| RegionError::Prove { region, reason: e.to_string() })?;
    for (claim, proved) in entry.claims.iter_mut().zip(proved) {
        let rounding = Quantity::parse(&claim.quantity).map_or(Rounding::Up, Quantity::rounding);
        claim.value = proved.worst.map_or_else(String::new, |worst| claim_decimal(&worst, rounding));
        for (share, (_, fraction)) in claim.shares.iter_mut().zip(proved.shares) {
            share.fraction = fraction;
        }
    }
    Ok((entry, tree))
}

/// The predicate's array; `None` without regions.
pub(crate) fn emit_regions(entries: &[RegionEntry]) -> Option<(String, Value)> {
    let rationals = |numbers: &[Rational]| list(numbers, |n| text(n.to_string()));
    let share = |s: &Share| {
        object([("threshold", text(s.threshold.to_string())), ("fraction", text(s.fraction.to_string()))])
    };
    let claim = |c: &RegionClaim| {
        let mut fields = BTreeMap::from([
            ("quantity".to_owned(), text(c.quantity.as_str())),
            ("value".to_owned(), text(c.value.as_str())),
        ]);
        if let Some(output) = c.output {
            fields.insert("output".to_owned(), text(output.to_string()));
        }
        if !c.shares.is_empty() {
            fields.insert("shares".to_owned(), list(&c.shares, share));
        }
        Value::Object(fields)
    };
    let entry = |e: &RegionEntry| {
        object([
            ("lower", rationals(&e.lower)),
            ("upper", rationals(&e.upper)),
            ("mask", text(e.mask.to_string())),
            ("claims", list(&e.claims, claim)),
        ])
    };
    (!entries.is_empty()).then(|| ("regions".to_owned(), list(entries, entry)))
}
