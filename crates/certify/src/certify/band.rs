//! How far one can prune before a bound passes a limit: bands from one mask down to every later one, by the checker's
//! rules. Untrusted: what is found is claimed, and only a [`Verified`] speaks for it. `spec/rules/band.md`.

use std::collections::BTreeMap;

use secateur_checker::check::Verified;
use secateur_checker::evaluate::Problem;
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::load::{MaskDirectory, PolicyDirectory};
use secateur_checker::model::{Head, PerturbationSet, States};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::rejection::Reason;
use secateur_checker::table::{FamilyTable, Quantity};

use super::{CertifyError, evaluate_parallel};
use crate::progress::Progress;

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandQuantity {
    /// Total variation between the clean and the perturbed action distribution.
    TotalVariation,
    /// The largest change of an output.
    Deviation,
}

/// A limit that a band must keep at every state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandLimit {
    /// What it limits.
    pub quantity: BandQuantity,
    /// The largest value allowed, itself included.
    pub most: Rational,
}

/// What the masks from `from` down to `to` reach, at most, at every state: the lesser of `band` and `band-crown`, each
/// rounded up as a claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandReach {
    /// Loosest mask.
    pub from: usize,
    /// Tightest mask.
    pub to: BandEnd,
    /// Total variation per state; `None` for a deterministic head.
    pub total_variation: Option<Vec<Rational>>,
    /// Largest deviation of an output per state.
    pub deviation: Vec<Rational>,
}

impl BandReach {
    /// The values per state of what a limit is about.
    pub fn values(&self, quantity: BandQuantity) -> Option<&[Rational]> {
        match quantity {
            BandQuantity::TotalVariation => self.total_variation.as_deref(),
            BandQuantity::Deviation => Some(&self.deviation),
        }
    }

    /// Whether every state keeps the limit; a band without states or without the quantity keeps none.
    pub fn keeps(&self, limit: &BandLimit) -> bool {
        let values = self.values(limit.quantity).unwrap_or_default();
        !values.is_empty() && values.iter().all(|value| *value <= limit.most)
    }
}

/// Every band from mask `from` of the problem's list: to `from` itself, to each later mask, and to the mask that keeps
/// nothing. Each end is evaluated by itself, so that the work grows with the length of the list, not with its square.
///
/// # Errors
/// [`CertifyError`].
pub fn bound_bands(
    problem: &Problem<'_>,
    from: usize,
    progress: &dyn Progress,
) -> Result<Vec<BandReach>, CertifyError> {
    let last = problem.masks.len().saturating_sub(1);
    let loosest = problem.masks.get(from).ok_or(CertifyError::NoBand { from, to: last, last })?;
    let head = HeadBounds::new(&problem.policy.head).map_err(CertifyError::Head)?;
    let mut reaches = Vec::new();
    for to in (from..=last).map(BandEnd::Mask).chain([BandEnd::Zero]) {
        let mut pair = vec![loosest.clone()];
        let end = match to {
            BandEnd::Mask(mask) => {
                pair.extend(problem.masks.get(mask).cloned());
                BandEnd::Mask(1)
            }
            BandEnd::Zero => BandEnd::Zero,
        };
        let families = [Family::Band(end), Family::BandCrown(end)];
        let evaluated = evaluate_parallel(&Problem { masks: &pair, ..*problem }, &families, progress)?;
        reaches.push(reach(from, to, evaluated.tables(), &head, problem.policy.network.outputs())?);
    }
    Ok(reaches)
}

/// Every band from the loosest mask.
///
/// # Errors
/// [`CertifyError`].
pub fn find_bands(
    policy: &PolicyDirectory,
    masks: &MaskDirectory,
    states: &States,
    perturbation: &PerturbationSet,
    progress: &dyn Progress,
) -> Result<Vec<BandReach>, CertifyError> {
    let (policy, masks) = (&policy.files.policy, masks.masks.as_slice());
    bound_bands(&Problem { policy, masks, states, perturbation, witness: None }, 0, progress)
}

/// Refuses a total variation for a head that has none.
///
/// # Errors
/// [`CertifyError::LimitHead`].
pub fn fits_head(limit: &BandLimit, head: &Head) -> Result<(), CertifyError> {
    if *head == Head::Deterministic && limit.quantity == BandQuantity::TotalVariation {
        return Err(CertifyError::LimitHead);
    }
    Ok(())
}

/// The families to claim so that the widest band under the limit is checked; without one that keeps it, the narrowest, so
/// that the certificate shows why.
pub fn families_under(limit: &BandLimit, reaches: &[BandReach]) -> Vec<Family> {
    let chosen = widest(reaches, limit).or_else(|| reaches.first());
    chosen.into_iter().flat_map(|r| [Family::Band(r.to), Family::BandCrown(r.to)]).collect()
}

fn reach(
    from: usize,
    to: BandEnd,
    tables: &[FamilyTable],
    head: &HeadBounds,
    outputs: usize,
) -> Result<BandReach, CertifyError> {
    let failed = |reason: Reason| CertifyError::Band { reason };
    let least = |quantity, output| -> Result<Vec<Rational>, CertifyError> {
        let mut least: Option<Vec<Rational>> = None;
        for table in tables {
            let values = table.values(head, quantity, 0, output).map_err(failed)?;
            let rounded = values.iter().map(as_claimed).collect();
            least = Some(least.map_or_else(|| Vec::clone(&rounded), |old| lesser(old, &rounded)));
        }
        Ok(least.unwrap_or_default())
    };
    let total_variation =
        head.is_distribution().then(|| least(Quantity::TotalVariation, None)).transpose()?;
    let mut deviation: Vec<Rational> = Vec::new();
    for output in 0..outputs {
        deviation = greater(deviation, least(Quantity::ActionDeviation, Some(output))?);
    }
    Ok(BandReach { from, to, total_variation, deviation })
}

/// The value a claim of it would have.
fn as_claimed(value: &Rational) -> Rational {
    Rational::parse(&claim_decimal(value, Rounding::Up)).unwrap_or_else(|_| value.clone())
}

fn lesser(left: Vec<Rational>, right: &[Rational]) -> Vec<Rational> {
    left.into_iter().zip(right).map(|(l, r)| l.min(r.clone())).collect()
}

fn greater(left: Vec<Rational>, right: Vec<Rational>) -> Vec<Rational> {
    if left.is_empty() {
        return right;
    }
    left.into_iter().zip(right).map(|(l, r)| l.max(r)).collect()
}

/// The widest band that keeps the limit: the tightest end. A wider band that keeps it proves it for the narrower ones.
pub fn widest<'a>(reaches: &'a [BandReach], limit: &BandLimit) -> Option<&'a BandReach> {
    reaches.iter().filter(|reach| reach.keeps(limit)).max_by_key(|reach| reach.to)
}

/// The bands that a verified certificate claims, each from the loosest mask it is claimed for; bands from the loosest mask
/// of all come first, each kind narrowest first.
pub fn proved_bands(verified: &Verified) -> Vec<BandReach> {
    let certificate = verified.certificate();
    let mut firsts: BTreeMap<BandEnd, usize> = BTreeMap::new();
    for claim in &certificate.claims {
        if let Some(end) = Family::parse(&claim.family).and_then(Family::band_end) {
            let first = firsts.entry(end).or_insert(claim.mask);
            *first = claim.mask.min(*first);
        }
    }
    // From the checker's own tables: a certificate may leave outputs out, and then says nothing of the largest.
    let changes = verified.tables().iter().flat_map(|t| &t.masks).flat_map(|mask| &mask.changes);
    let outputs = changes.map(|change| change.deviation.len()).max().unwrap_or(0);
    let mut reaches: Vec<BandReach> =
        firsts.iter().map(|(end, from)| claimed_reach(certificate, outputs, *from, *end)).collect();
    reaches.sort_by_key(|reach| (reach.from, reach.to));
    reaches
}

/// From the claims; no deviations if an output's is claimed by neither family.
fn claimed_reach(certificate: &Certificate, outputs: usize, from: usize, to: BandEnd) -> BandReach {
    let names = [Family::Band(to).name(), Family::BandCrown(to).name()];
    let least = |quantity: Quantity, output: Option<usize>| {
        let claims = certificate.claims.iter().filter(|claim| {
            names.contains(&claim.family)
                && claim.mask == from
                && claim.quantity == quantity.name()
                && claim.output == output
        });
        let lists = claims.filter_map(|claim| {
            claim.values.iter().map(|v| Rational::parse(v).ok()).collect::<Option<Vec<_>>>()
        });
        lists.reduce(|left, right| lesser(left, &right))
    };
    let each: Option<Vec<_>> = (0..outputs).map(|o| least(Quantity::ActionDeviation, Some(o))).collect();
    let deviation = each.unwrap_or_default().into_iter().fold(Vec::new(), greater);
    BandReach { from, to, total_variation: least(Quantity::TotalVariation, None), deviation }
}
