//! What radii say of all listed states together: their spread, and where they grow or shrink along the chain. Trusted; made
//! of nothing but the multiples of a certificate. `spec/certificate-radius.md#together`.

use std::collections::BTreeMap;

use crate::family::Family;
use crate::number::{Rational, Rounding, exactly, outward};
use crate::reader::radius::RadiusClaim;
use crate::table::Quantity;

/// Of one entry's states together; there is at least one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The largest multiple that is proved at every state.
    pub least: Rational,
    /// The largest that is proved at more than half of the states.
    pub median: Rational,
    /// The mean of the proved multiples.
    pub mean: Rational,
    /// At how many states a point breaks it.
    pub broken: usize,
    /// The smallest multiple by which more than half of the states are broken; never below the proved median of a true
    /// certificate.
    pub broken_median: Option<Rational>,
}

/// The spread of an entry; `None` if it speaks of no state.
pub fn spread(claim: &RadiusClaim) -> Option<Spread> {
    let mut proved: Vec<&Rational> = claim.proved.iter().collect();
    let mut broken: Vec<&Rational> = claim.broken.iter().flatten().collect();
    proved.sort();
    broken.sort();
    let states = proved.len();
    let count = Rational::from_integer(states.into());
    let sum = proved.iter().fold(Rational::zero(), |sum, multiple| sum.add(multiple));
    let half = states.checked_div(2)?;
    Some(Spread {
        least: (*proved.first()?).clone(),
        median: (*proved.get(states.checked_sub(1)?.checked_sub(half)?)?).clone(),
        mean: sum.div(&count).ok()?,
        broken: broken.len(),
        broken_median: broken.get(half).map(|multiple| (*multiple).clone()),
    })
}

/// The curve over the states: for every tenth of them, how many are proved at which multiple or a larger one.
pub fn curve(claim: &RadiusClaim) -> Vec<(usize, &Rational)> {
    let mut proved: Vec<&Rational> = claim.proved.iter().collect();
    proved.sort();
    proved.reverse();
    let mut counts: Vec<usize> =
        (1..=10).map(|tenth| proved.len().saturating_mul(tenth).div_ceil(10)).collect();
    counts.dedup();
    counts.into_iter().filter_map(|count| Some((count, *proved.get(count.checked_sub(1)?)?))).collect()
}

/// What one step of the chain does to the radii of one claim, by what is proved: a radius is larger if the multiple proved
/// after the step exceeds the one broken before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Quantity name.
    pub quantity: String,
    /// Its limit.
    pub limit: Option<Rational>,
    /// Step `k` goes from mask `k - 1` to mask `k`.
    pub step: usize,
    /// States whose radius is proved larger after the step.
    pub larger: usize,
    /// States whose radius is proved smaller.
    pub smaller: usize,
    /// The other states.
    pub undecided: usize,
}

/// The most proved and the least broken multiple of one claim under one mask, by state.
type Brackets = Vec<(Rational, Option<Rational>)>;

/// The steps of the chain whose both masks have radii of the same quantity and limit, of whatever families.
pub fn steps(claims: &[RadiusClaim]) -> Vec<Step> {
    let mut known: BTreeMap<(&str, Option<&Rational>, usize), Brackets> = BTreeMap::new();
    for claim in claims {
        let at = known.entry((&claim.quantity, claim.limit.as_ref(), claim.mask)).or_default();
        at.resize(claim.proved.len().max(at.len()), (Rational::zero(), None));
        for ((most, least), (proved, broken)) in at.iter_mut().zip(claim.proved.iter().zip(&claim.broken)) {
            *most = most.clone().max(proved.clone());
            *least = least.take().into_iter().chain(broken.clone()).min();
        }
    }
    let above = |proved: &Rational, broken: &Option<Rational>| broken.as_ref().is_some_and(|b| proved > b);
    let mut steps = Vec::new();
    for ((quantity, limit, mask), before) in &known {
        let step = mask.saturating_add(1);
        let Some(after) = known.get(&(*quantity, *limit, step)) else { continue };
        let pairs = || before.iter().zip(after);
        let larger = pairs().filter(|(before, after)| above(&after.0, &before.1)).count();
        let smaller = pairs().filter(|(before, after)| above(&before.0, &after.1)).count();
        let undecided = pairs().count().saturating_sub(larger).saturating_sub(smaller);
        let (quantity, limit) = ((*quantity).to_owned(), limit.cloned());
        steps.push(Step { quantity, limit, step, larger, smaller, undecided });
    }
    steps
}

/// What must hold, in words.
pub fn target_words(quantity: &str, limit: Option<&Rational>) -> String {
    if quantity == Quantity::SameActionMargin.name() {
        return "same action".to_owned();
    }
    format!("{} at most {}", Quantity::words_of(quantity), limit.map(exactly).unwrap_or_default())
}

/// For each quantity and limit a line an entry, with `details` one for its curve too, then one a step.
pub fn lines(claims: &[RadiusClaim], details: bool) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let steps = steps(claims);
    let goal = |claim: &RadiusClaim| (claim.quantity.clone(), claim.limit.clone());
    let mut goals: Vec<_> = claims.iter().map(goal).collect();
    goals.sort();
    goals.dedup();
    for (quantity, limit) in goals {
        let target = target_words(&quantity, limit.as_ref());
        let of_goal = |c: &&RadiusClaim| c.quantity == quantity && c.limit == limit;
        lines.extend(claims.iter().filter(of_goal).flat_map(|claim| claim_lines(claim, &target, details)));
        for step in steps.iter().filter(|step| step.quantity == quantity && step.limit == limit) {
            let Step { step, larger, smaller, undecided, .. } = step;
            let before = step.saturating_sub(1);
            lines.push(("", format!(
                "mask {before} to mask {step}: the radius of {target} is proved larger at {larger} states, smaller at {smaller}; undecided at {undecided}"
            )));
        }
    }
    lines
}

fn claim_lines(claim: &RadiusClaim, target: &str, details: bool) -> Vec<(&'static str, String)> {
    let Some(Spread { least, median, mean, broken, broken_median }) = spread(claim) else {
        return Vec::new();
    };
    let family = Family::words(&claim.family);
    let [least, median, mean] = [least, median, mean].map(|number| outward(&number, Rounding::Down));
    let (mask, states) = (claim.mask, claim.proved.len());
    let mut text = format!(
        "mask {mask}: {target} proved up to {median} x the radii at half of the states (median; least {least}, mean {mean}; {family})"
    );
    if let Some(broken) = broken_median {
        text.push_str(&format!("; an attack breaks it at {} x (median)", outward(&broken, Rounding::Up)));
    } else if broken > 0 {
        text.push_str(&format!("; an attack breaks it at {broken} of {states} states"));
    }
    let mut lines = vec![("radius", text)];
    if details {
        let at = |(count, multiple)| format!("{count} at {} x", outward(multiple, Rounding::Down));
        let curve = curve(claim).into_iter().map(at).collect::<Vec<_>>().join(", ");
        lines.push(("", format!("of {states} states, proved at this multiple or a larger one: {curve}")));
    }
    lines
}
