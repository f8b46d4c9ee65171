//! The lists of numbers that a certificate states, each with what it is about and what it can be compared under.

use secateur_checker::family::Family;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::{Certificate, Claim, ClaimLists};
use secateur_checker::reader::counterexample::CounterexampleClaim;
use secateur_checker::reader::radius::RadiusClaim;
use secateur_checker::reader::regions::RegionEntry;
use secateur_checker::reader::regret::{Region, RegretClaim, StatisticalClaim};
use secateur_checker::table::Quantity;

use crate::certify::emit::units_word;
use crate::show::snapshot::{
    adversary_words, box_words, family_order, family_word, form_words, quantity_order, quantity_word,
    radius_words, reward_words, rounding,
};

/// What a list of numbers is about. Words of a stranger are in quotes and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Mask, but for a property's result.
    pub mask: Option<usize>,
    /// `bound`, `attack`, `region`, `share`, `radius`, `regret`, `statistical` or `result`.
    pub kind: &'static str,
    /// Family, if one is named.
    pub family: Option<String>,
    /// Quantity.
    pub quantity: String,
    /// Output, for quantities that have one bound per output.
    pub output: Option<usize>,
    /// Whatever else tells it from others.
    pub detail: Option<String>,
}

impl About {
    /// All of it in words; different things have different words.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.mask.map(|mask| format!("mask {mask}")));
        parts.extend(self.family.clone());
        if self.kind != "bound" && self.kind != "result" {
            parts.push(self.kind.to_owned());
        }
        parts.push(self.quantity.clone());
        parts.extend(self.output.map(|output| format!("output {output}")));
        parts.extend(self.detail.clone());
        parts.join(", ")
    }

    /// What an attack reaches.
    pub fn attack(claim: &CounterexampleClaim) -> Self {
        Self {
            mask: Some(claim.mask),
            kind: "attack",
            family: None,
            quantity: quantity_word(&claim.quantity),
            output: claim.output,
            detail: None,
        }
    }

    /// Whether a property is satisfied.
    pub fn result() -> Self {
        let quantity = "result".to_owned();
        Self { mask: None, kind: "result", family: None, quantity, output: None, detail: None }
    }
}

/// Which way a number is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Bounded from above what an adversary can do: worse if it rose.
    AtMost,
    /// Bounded from below what is safe, a margin or a share of a volume: worse if it fell.
    AtLeast,
    /// Reached by an attack: worse if it rose.
    Reached,
    /// A multiple of the radii at which an attack succeeds: worse if it fell.
    BrokenAt,
}

impl Direction {
    /// Whether a larger number is worse.
    pub fn worse_up(self) -> bool {
        matches!(self, Self::AtMost | Self::Reached)
    }

    /// Which way a decimal of it is rounded.
    pub fn rounding(self) -> Rounding {
        if matches!(self, Self::AtMost | Self::BrokenAt) { Rounding::Up } else { Rounding::Down }
    }
}

/// A list of stated numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What they are about.
    pub about: About,
    /// Which way is worse.
    pub direction: Direction,
    /// The numbers as written.
    pub values: Vec<String>,
    /// Whether there is one per listed state.
    pub per_state: bool,
    /// Whether they speak of the listed states.
    pub listed: bool,
    /// Whether they speak of points in the states' units.
    pub in_units: bool,
    /// What both certificates must say alike, in words.
    pub under: String,
}

impl Item {
    fn new(about: About, direction: Direction, values: Vec<String>) -> Self {
        let (per_state, listed, in_units, under) = (false, false, false, String::new());
        Self { about, direction, values, per_state, listed, in_units, under }
    }
}

fn direction(quantity: &str) -> Direction {
    if rounding(quantity) == Rounding::Up { Direction::AtMost } else { Direction::AtLeast }
}

/// Everything that a certificate states a number of, in the order of snapshots.
pub fn of(certificate: &Certificate) -> Vec<Item> {
    let ClaimLists { claims, regret, statistical, regions, counterexample, radius } = certificate.lists();
    let mut items = bounds(claims);
    items.extend(attacks(counterexample));
    items.extend(boxes(regions));
    items.extend(radii(radius));
    items.extend(regrets(regret));
    items.extend(statistics(statistical));
    items
}

fn bounds(claims: &[Claim]) -> Vec<Item> {
    let mut claims: Vec<_> = claims.iter().collect();
    claims.sort_by(|a, b| {
        let by_family = family_order(&a.family).cmp(&family_order(&b.family));
        let by_quantity = quantity_order(&a.quantity).cmp(&quantity_order(&b.quantity));
        a.mask.cmp(&b.mask).then(by_family).then(by_quantity).then(a.output.cmp(&b.output))
    });
    let item = |claim: &Claim| {
        let about = About {
            mask: Some(claim.mask),
            kind: "bound",
            family: Some(family_word(&claim.family)),
            quantity: quantity_word(&claim.quantity),
            output: claim.output,
            detail: None,
        };
        let everywhere = Family::parse(&claim.family).is_some_and(|family| !family.is_local());
        let margin = Quantity::parse(&claim.quantity) == Some(Quantity::SameActionMargin);
        let listed = margin || !everywhere;
        let item = Item::new(about, direction(&claim.quantity), claim.values.clone());
        Item { per_state: listed, listed, ..item }
    };
    claims.into_iter().map(item).collect()
}

fn attacks(claims: &[CounterexampleClaim]) -> impl Iterator<Item = Item> {
    claims.iter().map(|claim| {
        let item = Item::new(About::attack(claim), Direction::Reached, claim.at_least.clone());
        Item { per_state: true, listed: true, ..item }
    })
}

fn boxes(regions: &[RegionEntry]) -> Vec<Item> {
    let mut items = Vec::new();
    for entry in regions {
        for claim in &entry.claims {
            let about = About {
                mask: Some(entry.mask),
                kind: "region",
                family: None,
                quantity: quantity_word(&claim.quantity),
                output: claim.output,
                detail: Some(box_words(entry)),
            };
            for share in &claim.shares {
                let detail = format!("{}, bound {}", box_words(entry), share.threshold);
                let about = About { kind: "share", detail: Some(detail), ..about.clone() };
                let item = Item::new(about, Direction::AtLeast, vec![share.fraction.to_string()]);
                items.push(Item { in_units: true, ..item });
            }
            let item = Item::new(about, direction(&claim.quantity), vec![claim.value.clone()]);
            items.push(Item { in_units: true, ..item });
        }
    }
    items
}

fn radii(claims: &[RadiusClaim]) -> Vec<Item> {
    let mut items = Vec::new();
    for claim in claims {
        let about = About {
            mask: Some(claim.mask),
            kind: "radius",
            family: Some(family_word(&claim.family)),
            quantity: radius_words(claim),
            output: None,
            detail: None,
        };
        let values = claim.proved.iter().map(ToString::to_string).collect();
        let item = Item::new(about.clone(), Direction::AtLeast, values);
        items.push(Item { per_state: true, listed: true, ..item });
        let broken: Vec<(usize, &Rational)> =
            claim.broken.iter().enumerate().filter_map(|(state, m)| Some((state, m.as_ref()?))).collect();
        if broken.is_empty() {
            continue;
        }
        let every = broken.len() == claim.broken.len();
        let places = broken.iter().map(|(state, _)| state.to_string()).collect::<Vec<_>>().join(", ");
        let under = if every { String::new() } else { format!("broken at states {places}") };
        let about = About { detail: Some("broken by an attack".to_owned()), ..about };
        let values = broken.iter().map(|(_, multiple)| multiple.to_string()).collect();
        let item = Item::new(about, Direction::BrokenAt, values);
        items.push(Item { per_state: every, listed: true, under, ..item });
    }
    items
}

fn regrets(claims: &[RegretClaim]) -> impl Iterator<Item = Item> {
    claims.iter().map(|claim| {
        let about = About {
            mask: Some(claim.mask),
            kind: "regret",
            family: Some(family_word(&claim.family)),
            quantity: claim.form.name().to_owned(),
            output: None,
            detail: None,
        };
        let item = Item::new(about, Direction::AtMost, vec![claim.value.clone()]);
        let (form, rewards) = (form_words(&claim.form), reward_words(&claim.rewards));
        let under = format!("{form}, {rewards}, {}", claim.region.name());
        Item { listed: claim.region == Region::ListedStates, under, ..item }
    })
}

fn statistics(claims: &[StatisticalClaim]) -> Vec<Item> {
    let mut items = Vec::new();
    for claim in claims {
        let about = About {
            mask: Some(claim.mask),
            kind: "statistical",
            family: Some(family_word(&claim.family)),
            quantity: "expected total variation".to_owned(),
            output: None,
            detail: Some(claim.method.name().to_owned()),
        };
        // The states are the draw: another draw gives other states.
        let under = format!(
            "discount {}, confidence {} over {} masks with {} inequalities",
            claim.sampling.discount,
            claim.confidence.level,
            claim.confidence.masks,
            claim.confidence.inequalities
        );
        if let Some(regret) = &claim.regret {
            let about = About { quantity: "regret".to_owned(), ..about.clone() };
            let item = Item::new(about, Direction::AtMost, vec![regret.value.clone()]);
            let under = format!("{under}, {}", reward_words(&regret.rewards));
            items.push(Item { listed: true, under, ..item });
        }
        let item = Item::new(about, Direction::AtMost, vec![claim.value.clone()]);
        items.push(Item { listed: true, under, ..item });
    }
    items
}

/// What keeps two certificates' numbers from being compared.
#[derive(Clone, Debug)]
pub struct Apart {
    /// Of all numbers.
    all: Option<String>,
    /// Of those about listed states.
    listed: Option<&'static str>,
    /// Of those about points in the states' units.
    units: bool,
}

impl Apart {
    /// Compares what both speak of.
    pub fn new(old: &Certificate, new: &Certificate) -> Self {
        let states = |c: &Certificate| {
            let file = c.inputs.iter().find(|file| file.role == "states").map(|file| file.sha256.clone());
            (file, c.states)
        };
        let units = old.state_units != new.state_units;
        let all = if old.perturbation != new.perturbation {
            let (old, new) = (adversary_words(&old.perturbation), adversary_words(&new.perturbation));
            // Two sets of many radii have the same words.
            Some(if old == new {
                "another adversary".to_owned()
            } else {
                format!("another adversary: {old}, then {new}")
            })
        } else if old.head != new.head {
            Some("another head".to_owned())
        } else {
            None
        };
        let listed = match (states(old) == states(new), units) {
            (true, false) => None,
            (true, true) => Some("the states are in other units"),
            (false, _) => Some("other states"),
        };
        Self { all, listed, units }
    }

    /// Whether numbers about listed states cannot be compared.
    pub fn states_apart(&self) -> bool {
        self.all.is_some() || self.listed.is_some()
    }

    /// Why the two lists cannot be compared.
    pub fn reason(&self, old: &Item, new: &Item) -> Option<String> {
        if let Some(reason) = &self.all {
            return Some(reason.clone());
        }
        if let (Some(reason), true) = (self.listed, old.listed || new.listed) {
            return Some(reason.to_owned());
        }
        if self.units && old.in_units {
            return Some("the states are in other units".to_owned());
        }
        if old.under != new.under {
            return Some(format!("{}, then {}", old.under, new.under));
        }
        let lengths = (old.values.len(), new.values.len());
        (lengths.0 != lengths.1).then(|| format!("{} numbers, then {}", lengths.0, lengths.1))
    }
}

/// By state, the least that the families claim from above of what an attack is about; `None` without such a claim.
pub fn least_claims(
    certificate: &Certificate,
    attack: &CounterexampleClaim,
    states: usize,
) -> Option<Vec<Rational>> {
    let mut least: Option<Vec<Rational>> = None;
    for claim in &certificate.claims {
        let same =
            claim.mask == attack.mask && claim.quantity == attack.quantity && claim.output == attack.output;
        if !same || !Family::parse(&claim.family).is_some_and(Family::bounds_adversary) {
            continue;
        }
        let values: Option<Vec<Rational>> = claim.values.iter().map(|v| Rational::parse(v).ok()).collect();
        // A stranger's list of another length says nothing about these states.
        let values = match values? {
            one if one.len() == 1 => one.into_iter().cycle().take(states).collect(),
            all if all.len() == states => all,
            _ => continue,
        };
        least = Some(match least {
            Some(least) => least.into_iter().zip(values).map(|(a, b): (Rational, _)| a.min(b)).collect(),
            None => values,
        });
    }
    least
}

/// The states' words.
pub fn states_words(certificate: &Certificate) -> String {
    let file = certificate.inputs.iter().find(|file| file.role == "states");
    let digest = file.map(|file| format!(" of sha256:{}", file.sha256)).unwrap_or_default();
    format!("the first {} rows{digest}, {} units", certificate.states, units_word(certificate.state_units))
}
