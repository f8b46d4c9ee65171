//! What a certificate says, in about ten lines of the checker's own words and numbers. Trusted. `spec/output.md#the-answer`.
//!
//! Words of the signer stand only in the lines of [`signer_lines`], quoted and escaped. Without [`Facts`], which only a
//! check makes, the same lines say what is claimed; nothing here says that it was verified but [`verdict`].

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Facts, Verified};
use crate::family::Family;
use crate::kernel::regret::RewardRange;
use crate::model::{Perturbation, PerturbationSet, SensorSet, SharedOffset, Units};
use crate::number::{Rational, Rounding, exactly, outward};
use crate::pair::PairQuestion;
use crate::property::Decided;
use crate::radii;
use crate::reader::certificate::{
    Certificate, Claim, ClaimLists, FileDigest, MaskRecord, Program, units_word,
};
use crate::reader::escaped::{Escaped, EscapedSentence};
use crate::reader::names::{InputGroup, Names, OutputName};
use crate::reader::policy::is_hex_digest;
use crate::reader::regions::RegionEntry;
use crate::reader::regret::{Region, RegretClaim, RegretForm, StatisticalClaim};
use crate::reader::trust::SignerInfo;
use crate::reader::verdict::Claimed;
use crate::table::Quantity;

/// Masks, regions and the like that are listed without `--details`.
const SHOWN: usize = 8;

/// A line: its word, and what it says.
pub type Line = (&'static str, String);

/// The first items of a list, and dots for the others.
fn listed(items: impl ExactSizeIterator<Item = String>, between: &str) -> String {
    let others = if items.len() > SHOWN { format!("{between}...") } else { String::new() };
    format!("{}{others}", items.take(SHOWN).collect::<Vec<_>>().join(between))
}

/// Adds lines: all of them with `details`, else the first ones and how many there are besides.
fn push(lines: &mut Vec<Line>, all: impl ExactSizeIterator<Item = Line>, what: &str, details: bool) {
    let shown = if details { all.len() } else { SHOWN };
    let others = all.len().saturating_sub(shown);
    lines.extend(all.take(shown));
    if others > 0 {
        lines.push(("", format!("{others} more {what}: --details")));
    }
}

/// A bound on a quantity at every listed state under one mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The largest value.
    pub value: Rational,
    /// The family that gives it; `None` if it takes several, each at other states.
    pub family: Option<Family>,
    /// Whether it holds at every state there is.
    pub everywhere: bool,
}

type Named<'a> = (Family, &'a Claim);

/// The claims of a certificate by what they are about.
pub struct Claims<'a> {
    certificate: &'a Certificate,
    /// Of the policy, if it is at hand.
    outputs: Option<usize>,
    index: BTreeMap<(usize, Quantity, Option<usize>), Vec<Named<'a>>>,
    main: Option<Quantity>,
}

fn numbers(values: &[String]) -> Option<Vec<Rational>> {
    let read: Option<Vec<Rational>> = values.iter().map(|value| Rational::parse(value).ok()).collect();
    read.filter(|values| !values.is_empty())
}

impl<'a> Claims<'a> {
    /// Sorts the claims; those of names that no checker knows are left out.
    pub fn new(certificate: &'a Certificate, facts: Option<&Facts>) -> Self {
        let mut index: BTreeMap<_, Vec<Named<'a>>> = BTreeMap::new();
        for claim in &certificate.claims {
            if let (Some(family), Some(quantity)) =
                (Family::parse(&claim.family), Quantity::parse(&claim.quantity))
            {
                index.entry((claim.mask, quantity, claim.output)).or_default().push((family, claim));
            }
        }
        let outputs = facts.map(|facts| facts.outputs);
        let mut claims = Self { certificate, outputs, index, main: None };
        let wanted = [Quantity::TotalVariation, Quantity::ActionDeviation, Quantity::Divergence];
        let bounded = |q: Quantity| (0..certificate.masks.len()).any(|mask| claims.most(mask, q).is_some());
        claims.main = wanted.into_iter().find(|quantity| bounded(*quantity));
        claims
    }

    /// The claims about a quantity under a mask: one list an output, or one.
    fn of(&self, mask: usize, quantity: Quantity) -> impl Iterator<Item = (Option<usize>, &[Named<'a>])> {
        let range = (mask, quantity, None)..=(mask, quantity, Some(usize::MAX));
        self.index.range(range).map(|((.., output), claims)| (*output, claims.as_slice()))
    }

    /// The outputs whose deviation is claimed under a mask by a family that bounds an adversary.
    pub fn outputs(&self, mask: usize) -> Vec<usize> {
        let listed = self.of(mask, Quantity::ActionDeviation);
        let listed = listed.filter(|(_, claims)| claims.iter().any(|(family, _)| family.bounds_adversary()));
        listed.filter_map(|(output, _)| output).collect()
    }

    /// The largest value at the listed states of a quantity that is bounded from above: at each state by the best of the
    /// families that bound an adversary. Nothing if no claim speaks of it, or a policy's output is left out.
    pub fn most(&self, mask: usize, quantity: Quantity) -> Option<Bound> {
        let (bound, count) = self.largest(mask, quantity, |_| true)?;
        let all =
            quantity != Quantity::ActionDeviation || self.outputs.is_none_or(|outputs| outputs == count);
        all.then_some(bound)
    }

    /// The same over the outputs that are wanted, and how many of them are bounded.
    fn largest(
        &self,
        mask: usize,
        quantity: Quantity,
        wanted: impl Fn(Option<usize>) -> bool,
    ) -> Option<(Bound, usize)> {
        if quantity == Quantity::SameActionMargin {
            return None;
        }
        let mut own: BTreeMap<Family, (Rational, usize)> = BTreeMap::new();
        let mut largest: Option<Rational> = None;
        let (mut count, mut everywhere) = (0usize, true);
        for (_, claims) in self.of(mask, quantity).filter(|(output, _)| wanted(*output)) {
            let (mut global, mut local): (Option<Rational>, Option<Vec<Rational>>) = (None, None);
            for (family, claim) in claims.iter().filter(|(family, _)| family.bounds_adversary()) {
                let values = numbers(&claim.values)?;
                let most = values.iter().max()?.clone();
                let entry = own.entry(*family).or_insert_with(|| (most.clone(), 0));
                *entry = (entry.0.clone().max(most.clone()), entry.1.saturating_add(1));
                if family.is_local() {
                    local = Some(match local {
                        Some(least) if least.len() != values.len() => return None,
                        Some(least) => least.into_iter().zip(values).map(|(a, b)| a.min(b)).collect(),
                        None => values,
                    });
                } else {
                    global = global.into_iter().chain([most]).min();
                }
            }
            let local = local.and_then(|values| values.into_iter().max());
            let reached = match (local, global) {
                (Some(local), Some(global)) if local >= global => global,
                (Some(local), _) => {
                    everywhere = false;
                    local
                }
                (None, Some(global)) => global,
                (None, None) => continue,
            };
            count = count.saturating_add(1);
            largest = largest.into_iter().chain([reached]).max();
        }
        let value = largest?;
        let one = own.into_iter().find(|(_, (most, outputs))| *most == value && *outputs == count);
        Some((Bound { value, family: one.map(|(family, _)| family), everywhere }, count))
    }

    /// The change of each output that has a name, in its unit, by mask where one is bounded; the largest first.
    pub fn named_outputs<'n>(&self, names: Option<&'n Names>) -> Vec<(&'n OutputName, Vec<(usize, Bound)>)> {
        let bounds = |named: &OutputName| {
            let bound = |mask| {
                let wanted = |output| output == Some(named.output);
                let (mut bound, _) = self.largest(mask, Quantity::ActionDeviation, wanted)?;
                if let Some(scale) = &named.scale {
                    bound.value = bound.value.mul(scale);
                }
                Some((mask, bound))
            };
            (0..self.certificate.masks.len()).filter_map(bound).collect::<Vec<_>>()
        };
        let all = names.into_iter().flat_map(|names| &names.outputs).map(|named| (named, bounds(named)));
        let mut all: Vec<_> = all.filter(|(_, bounds)| !bounds.is_empty()).collect();
        let most = |bounds: &[(usize, Bound)]| bounds.iter().map(|(_, bound)| bound.value.clone()).max();
        all.sort_by_cached_key(|(_, bounds)| core::cmp::Reverse(most(bounds)));
        all
    }

    /// What an attack reaches, at least, at the listed state where it reaches most.
    pub fn least(&self, mask: usize, quantity: Quantity) -> Option<Rational> {
        let claims = self.certificate.counterexample.iter();
        let claims = claims.filter(|claim| claim.mask == mask && claim.quantity == quantity.name());
        claims.filter_map(|claim| numbers(&claim.at_least)).flatten().max()
    }

    /// At how many of the listed states the action cannot change.
    pub fn same_action(&self, mask: usize) -> Option<usize> {
        let mut same: Option<Vec<bool>> = None;
        for (family, claim) in self.of(mask, Quantity::SameActionMargin).flat_map(|(_, claims)| claims) {
            if !family.bounds_adversary() {
                continue;
            }
            let kept = numbers(&claim.values)?.iter().map(Rational::is_positive).collect::<Vec<bool>>();
            same = Some(match same {
                Some(same) => same.into_iter().zip(kept).map(|(a, b)| a || b).collect(),
                None => kept,
            });
        }
        same.map(|same| same.iter().filter(|kept| **kept).count())
    }

    /// The quantity that the answer speaks of: the one that means most for the head, of those that are bounded.
    pub fn main(&self) -> Option<Quantity> {
        self.main
    }
}

/// The word for a shape.
pub fn shape_word(shape: &Perturbation) -> &'static str {
    match shape {
        Perturbation::Linf { .. } => "linf",
        Perturbation::L2 { .. } => "l2",
        Perturbation::PerCoordinate { .. } => "per-coordinate",
        Perturbation::Sensor(_) => "sensor",
    }
}

/// What the adversary may do.
pub fn adversary_words(set: &PerturbationSet, facts: Option<&Facts>) -> String {
    let raw = set.units == Units::Raw || facts.is_some_and(|facts| !facts.normaliser);
    let named = facts.and_then(|facts| facts.names.as_ref()).map(|names| (names, raw));
    let (size, none) = match &set.shape {
        Perturbation::Linf { radius } => {
            (format!("linf ball of radius {}", exactly(radius)), radius.is_zero())
        }
        Perturbation::L2 { radius } => (format!("l2 ball of radius {}", exactly(radius)), radius.is_zero()),
        Perturbation::PerCoordinate { radii } => {
            (box_words(radii, named), radii.iter().all(Rational::is_zero))
        }
        Perturbation::Sensor(SensorSet { radii, shared, limits }) => {
            let noise = box_words(radii, named);
            let offsets = offset_words(shared, named);
            let limits = match limits.len() {
                0 => String::new(),
                count => format!("; {count} inputs stay within limits"),
            };
            let none = radii.iter().chain(shared.iter().map(|offset| &offset.radius)).all(Rational::is_zero);
            (format!("{noise}{offsets}{limits}"), none)
        }
    };
    let units = units_word(set.units);
    let same = if facts.is_some_and(|facts| !facts.normaliser) {
        " (no normaliser: raw and normalised are one)"
    } else {
        ""
    };
    let none = if none { "; of radius 0, it may change nothing" } else { "" };
    format!("{size}, in {units} units{same}{none}")
}

/// Names of the inputs, and whether their units are those of the radii.
type NamedUnits<'a> = Option<(&'a Names, bool)>;

/// A size with its unit, or two sizes.
fn size_words(least: &Rational, most: &Rational, unit: Option<&String>) -> String {
    let from = if least == most { String::new() } else { format!("{} to ", exactly(least)) };
    let unit = unit.map_or_else(String::new, |unit| format!(" {unit}"));
    format!("{from}{}{unit}", exactly(most))
}

/// Radii by the groups that the policy's files name, and the largest of the inputs that have no name; without names, a list.
fn box_words(radii: &[Rational], named: NamedUnits<'_>) -> String {
    let Some((names, units)) = named.filter(|(names, _)| !names.inputs.is_empty()) else {
        let ends = radii.iter().min().zip(radii.iter().max());
        let ends = ends.map(|(least, most)| format!("{} to {}", exactly(least), exactly(most)));
        let (count, listed) = (radii.len(), listed(radii.iter().map(exactly), ", "));
        return format!("box of {count} radii, {}: {listed}", ends.unwrap_or_default());
    };
    let mut parts = Vec::new();
    for group in &names.inputs {
        let own = || group.inputs().flatten().filter_map(|input| radii.get(input));
        if let Some((least, most)) = own().min().zip(own().max()).filter(|(_, most)| most.is_positive()) {
            let unit = group.unit.as_ref().filter(|_| units);
            parts.push(format!("{} by {}", Escaped(&group.name), size_words(least, most, unit)));
        }
    }
    let unnamed = radii.iter().enumerate().filter(|(input, _)| names.group_of(*input).is_none());
    if let Some(most) = unnamed.map(|(_, radius)| radius).max().filter(|most| most.is_positive()) {
        parts.push(format!("inputs without a name by up to {}", exactly(most)));
    }
    if parts.is_empty() { "no noise".to_owned() } else { format!("noise: {}", parts.join(", ")) }
}

/// Shared offsets: by the name of a group whose every input shares one with its copies alone, else by input.
fn offset_words(shared: &[SharedOffset], named: NamedUnits<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut groups: BTreeMap<(usize, &Rational), (&InputGroup, Vec<usize>)> = BTreeMap::new();
    for SharedOffset { radius, inputs } in shared {
        let member = named.and_then(|(names, _)| {
            let (group, member) = names.group_of(*inputs.first()?)?;
            let copies = (0..group.frames).map(|frame| group.input(member, frame));
            copies.eq(inputs.iter().copied().map(Some)).then_some((group, member))
        });
        if let Some((group, member)) = member {
            groups.entry((group.first, radius)).or_insert_with(|| (group, Vec::new())).1.push(member);
        } else {
            let inputs = listed(inputs.iter().map(usize::to_string), ", ");
            parts.push(format!("inputs {inputs} by {}", exactly(radius)));
        }
    }
    for ((_, radius), (group, members)) in groups {
        let unit = group.unit.as_ref().filter(|_| named.is_some_and(|(_, units)| units));
        let (name, size) = (Escaped(&group.name), size_words(radius, radius, unit));
        let one = |member: &usize| format!("{name}[{member}]");
        let all = members.len() == group.count;
        let names = if all { vec![name.to_string()] } else { members.iter().map(one).collect() };
        parts.push(format!("{} by {size}", names.join(", ")));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("; bias, the same in all copies: {}", listed(parts.into_iter(), ", "))
}

/// How many of which states.
pub fn states_words(certificate: &Certificate, facts: Option<&Facts>) -> String {
    let states = certificate.states;
    match facts.map(|facts| facts.rows) {
        Some(rows) if rows == states => format!("all {rows} rows of the states file"),
        Some(rows) => format!("the first {states} of {rows} rows of the states file"),
        None => format!("the first {states} rows of the states file"),
    }
}

/// A share of a whole, cut to a tenth of a per cent.
pub fn percent(part: usize, whole: usize) -> String {
    let tenths = part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
    let (units, rest) = (tenths.checked_div(10).unwrap_or(0), tenths.checked_rem(10).unwrap_or(0));
    format!("{units}.{rest} %")
}

fn by(family: Option<Family>) -> String {
    family.map_or_else(|| "several families".to_owned(), Family::name)
}

fn mask_words(claims: &Claims<'_>, mask: usize) -> String {
    let Some(record) = claims.certificate.masks.get(mask) else { return String::new() };
    let mut parts = Vec::new();
    let quantity = claims.main();
    match quantity.and_then(|quantity| claims.most(mask, quantity).map(|bound| (quantity, bound))) {
        Some((quantity, Bound { value, family, .. })) => {
            let (words, value) = (quantity.words(), outward(&value, Rounding::Up));
            parts.push(format!("{words} at most {value} ({})", by(family)));
        }
        None => {
            let outputs = listed(claims.outputs(mask).iter().map(usize::to_string), ", ");
            parts.push(match outputs.as_str() {
                "" => "no bound from above".to_owned(),
                _ => format!("bounds of the outputs {outputs} only, none of any output"),
            });
        }
    }
    if let Some((quantity, least)) = quantity.and_then(|q| claims.least(mask, q).map(|least| (q, least))) {
        let words = if parts.is_empty() { quantity.words() } else { "an attack reaches" };
        parts.push(format!("{words} at least {}", outward(&least, Rounding::Down)));
    }
    if let Some(same) = claims.same_action(mask) {
        parts.push(format!("same action at {same} of {} states", claims.certificate.states));
    }
    let (pruned, total) = (record.pruned, record.total);
    format!("{mask}: {pruned} of {total} weights pruned ({}): {}", percent(pruned, total), parts.join("; "))
}

/// What is bounded, with its number: the largest over the masks.
pub fn headline(certificate: &Certificate, facts: Option<&Facts>) -> String {
    let claims = Claims::new(certificate, facts);
    let masks = certificate.masks.len();
    let Some(quantity) = claims.main() else {
        let count = certificate.claims.len();
        return format!("{count} claims, none of which bounds what an adversary changes from above");
    };
    let bounds = (0..masks).filter_map(|mask| claims.most(mask, quantity).map(|bound| (mask, bound)));
    let bounds: Vec<(usize, Bound)> = bounds.collect();
    let Some((worst, most)) = bounds.iter().max_by(|a, b| a.1.value.cmp(&b.1.value)) else {
        return String::new();
    };
    let value = outward(&most.value, Rounding::Up);
    let all = facts.is_some_and(|facts| facts.rows == certificate.states);
    let place = match (bounds.iter().all(|(_, bound)| bound.everywhere), all) {
        (true, _) => "at every state".to_owned(),
        (false, true) => format!("at each of the {} listed states", certificate.states),
        (false, false) => format!("at each of {}", states_words(certificate, facts)),
    };
    let under = match (masks, bounds.len()) {
        (1, _) => String::new(),
        (_, bounded) if bounded == masks => {
            format!(", under each of the {masks} masks, most under mask {worst}")
        }
        (_, bounded) => format!(
            ", under {bounded} of the {masks} masks (the others have no such bound), most under mask {worst}"
        ),
    };
    format!("{} at most {value} {place}{under}", quantity.words())
}

/// What was verified. The one place that says so of a certificate about masks and states.
pub fn verdict(verified: &Verified) -> String {
    format!("verified: {}", headline(verified.certificate(), Some(verified.facts())))
}

/// Who signed, by the names of the trust file.
pub fn signed_lines(signers: &[SignerInfo]) -> Vec<Line> {
    if signers.is_empty() {
        return vec![("unsigned", "no signature was checked".to_owned())];
    }
    let line = |signer: &SignerInfo| {
        format!("by {} {} (name as in the trust file)", Escaped(signer.name()), signer.keyid())
    };
    signers.iter().map(|signer| ("signed", line(signer))).collect()
}

/// A digest, or with `details` unset its beginning.
fn digest_words(digest: &str, details: bool) -> &str {
    digest.get(..16).filter(|_| !details).unwrap_or(digest)
}

/// Policy, adversary, states, masks, steps that hurt.
pub fn lines(certificate: &Certificate, facts: Option<&Facts>, details: bool) -> Vec<Line> {
    let claims = Claims::new(certificate, facts);
    let mut lines = Vec::new();
    if let Some(Facts { policy_digest, head, inputs, outputs, normaliser, .. }) = facts {
        let normaliser = if *normaliser { ", with a normaliser" } else { "" };
        lines.push(("policy", policy_digest.clone()));
        lines.push(("", format!("{head} head, {inputs} inputs, {outputs} outputs{normaliser}")));
    }
    let files = certificate.subjects.iter().zip(["policy.json", "policy.safetensors"]);
    let files = files.map(|(file, name)| format!("{name} {}", digest_words(&file.sha256, details)));
    lines.push(("files", format!("{} (SHA-256)", files.collect::<Vec<_>>().join(", "))));
    if details || facts.is_none() {
        let digest = weights_words(&certificate.weights_digest);
        lines.push(("weights", format!("{digest} (the dense weights alone)")));
    }
    lines.push(("adversary", adversary_words(&certificate.perturbation, facts)));
    let file = certificate.inputs.iter().find(|file| file.role == "states");
    let file = file.map_or("", |file| digest_words(&file.sha256, details));
    let units = units_word(certificate.state_units);
    let states = states_words(certificate, facts);
    lines.push(("states", format!("{states} {file}, read as {units}, which is the signer's word")));
    let masks = certificate.masks.len();
    push(&mut lines, (0..masks).map(|mask| ("mask", mask_words(&claims, mask))), "masks", details);
    let named = claims.named_outputs(facts.and_then(|facts| facts.names.as_ref()));
    let each = named.iter().flat_map(|(named, bounds)| output_lines(named, bounds, masks, details));
    push(&mut lines, each.collect::<Vec<_>>().into_iter(), "outputs with a name", details);
    let hurt = certificate.brackets.iter().filter(|bracket| bracket.at.is_some());
    lines.extend(hurt.map(|b| ("hurt", hurt_words(b))));
    // The masks' lines speak of the first two.
    let ClaimLists { claims: _, counterexample: _, regions, regret, statistical, radius } =
        certificate.lists();
    push(&mut lines, radii::lines(radius, details).into_iter(), "lines about radii", details);
    let mut rest: Vec<Line> = region_lines(regions);
    rest.extend(regret.iter().map(|claim| ("regret", regret_words(claim))));
    rest.extend(statistical_lines(statistical));
    push(&mut lines, rest.into_iter(), "claims about regions, regret or samples", details);
    if details {
        lines.extend(claim_lines(&claims));
    }
    lines
}

/// The digest of the weights, which is the signer's word until it was compared: in quotes unless it is one.
fn weights_words(text: &str) -> String {
    let hex = text.strip_prefix("sha256:").filter(|hex| is_hex_digest(hex));
    hex.map_or_else(|| Escaped(text).to_string(), |_| text.to_owned())
}

/// The largest change of an output in its own unit and, with `details`, that under each mask.
fn output_lines(named: &OutputName, bounds: &[(usize, Bound)], masks: usize, details: bool) -> Vec<Line> {
    let unit = named.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
    let size = |bound: &Bound| format!("at most {}{unit}", outward(&bound.value, Rounding::Up));
    let place = |everywhere| if everywhere { "at every state" } else { "at every listed state" };
    let Some((worst, most)) = bounds.iter().max_by(|a, b| a.1.value.cmp(&b.1.value)) else {
        return Vec::new();
    };
    let under = match (masks, bounds.len()) {
        (1, _) => String::new(),
        (_, bounded) if bounded == masks => format!(", under every mask (most under mask {worst})"),
        (_, bounded) => format!(", under {bounded} of {masks} masks (most under mask {worst})"),
    };
    let everywhere = place(bounds.iter().all(|(_, bound)| bound.everywhere));
    let (name, output, size_of_most) = (Escaped(&named.name), named.output, size(most));
    let mut lines = vec![("output", format!("{name} (output {output}): {size_of_most} {everywhere}{under}"))];
    if details && masks > 1 {
        let line = |(mask, bound): &(usize, Bound)| {
            format!("mask {mask}: {} {}", size(bound), place(bound.everywhere))
        };
        lines.extend(bounds.iter().map(|bound| ("", line(bound))));
    }
    lines
}

/// A step that the certificate shows to have hurt.
fn hurt_words(b: &crate::reader::counterexample::BracketVerdict) -> String {
    let words = Quantity::words_of(&b.of);
    let (state, output) = b.at.as_ref().map_or((None, None), |at| (at.state, at.index));
    let output = output.map_or_else(String::new, |output| format!(", output {output}"));
    let state = state.map_or_else(String::new, |state| format!(" at state {state}{output}"));
    let at_most = b.at_most_before.as_ref().map(|most| outward(most, Rounding::Up)).unwrap_or_default();
    let at_least = b.at_least_after.as_ref().map(|least| outward(least, Rounding::Down)).unwrap_or_default();
    format!(
        "pruning mask {} to mask {} raised the {words} at {} of {} places, most{state}: at most {at_most} before, at least {at_least} after",
        b.step.saturating_sub(1),
        b.step,
        b.hurt,
        b.places
    )
}

fn quantity_of(name: &str) -> (String, &'static str, Rounding) {
    match Quantity::parse(name) {
        Some(quantity) if quantity.rounding() == Rounding::Down => {
            (quantity.words().to_owned(), "at least", Rounding::Down)
        }
        Some(Quantity::ActionDeviation) => ("change".to_owned(), "at most", Rounding::Up),
        Some(quantity) => (quantity.words().to_owned(), "at most", Rounding::Up),
        None => (Escaped(name).to_string(), "stated as", Rounding::Up),
    }
}

fn number(text: &str, rounding: Rounding) -> String {
    Rational::parse(text).map_or_else(|_| "no number".to_owned(), |value| outward(&value, rounding))
}

fn of_output(output: Option<usize>) -> String {
    output.map_or_else(String::new, |output| format!(" of output {output}"))
}

/// One line a box, whatever the masks it is bounded under, then one a mask and claim.
fn region_lines(regions: &[RegionEntry]) -> Vec<Line> {
    let mut boxes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in regions {
        boxes.entry((&entry.lower, &entry.upper)).or_default().push(entry);
    }
    let mut lines = Vec::new();
    for (index, ((lower, upper), entries)) in boxes.into_iter().enumerate() {
        // Rounded inward: what is printed lies in the box.
        let side = |(l, u): (&Rational, &Rational)| {
            format!("[{}, {}]", outward(l, Rounding::Up), outward(u, Rounding::Down))
        };
        let sides = listed(lower.iter().zip(upper).map(side), " x ");
        lines.push(("region", format!("{index}: every state of {sides}")));
        for (mask, claim) in entries.iter().flat_map(|e| e.claims.iter().map(|claim| (e.mask, claim))) {
            let (words, side, rounding) = quantity_of(&claim.quantity);
            let (output, value) = (of_output(claim.output), number(&claim.value, rounding));
            let mut text = format!("mask {mask}: {words}{output} {side} {value}");
            for share in &claim.shares {
                let percent = share.fraction.mul(&Rational::from_integer(100.into()));
                let side = if rounding == Rounding::Up { "at most" } else { "above" };
                let (threshold, percent) = (exactly(&share.threshold), outward(&percent, Rounding::Down));
                text.push_str(&format!("; {side} {threshold} on {percent} % of the volume"));
            }
            lines.push(("", text));
        }
    }
    lines
}

fn reward_words(rewards: &RewardRange) -> String {
    let end =
        if rewards.episodes_can_end { "episodes may end, and pay 0 then" } else { "no episode ever ends" };
    format!("every step pays {} to {}; {end}", exactly(&rewards.lower), exactly(&rewards.upper))
}

/// A regret claim with what it assumes.
pub fn regret_words(claim: &RegretClaim) -> String {
    let family = Family::words(&claim.family);
    let of = match &claim.form {
        RegretForm::Sup { discount } | RegretForm::Expectation { discount } => {
            format!("return discounted by {}", exactly(discount))
        }
        RegretForm::Horizon { steps } => format!("return of {steps} steps"),
    };
    let region = match claim.region {
        Region::AllStates => "at all states",
        Region::ListedStates => "if no other than the listed states is met",
    };
    let (form, value, rewards) =
        (claim.form.name(), number(&claim.value, Rounding::Up), reward_words(&claim.rewards));
    format!(
        "mask {}: an adversary takes at most {value} ({family}, rule regret.{form}), assuming: {of}; {rewards}; {region}",
        claim.mask
    )
}

fn statistical_lines(claims: &[StatisticalClaim]) -> Vec<Line> {
    let mut lines = Vec::new();
    for claim in claims {
        let (mask, family, method) = (claim.mask, Family::words(&claim.family), claim.method.name());
        let level = outward(&claim.confidence.level, Rounding::Down);
        let value = number(&claim.value, Rounding::Up);
        lines.push(("sampled", format!(
            "no proof: mask {mask}: expected total variation at most {value} with confidence {level} ({family}, {method}), assuming the draw below"
        )));
        if let Some(regret) = &claim.regret {
            let (value, rewards) = (number(&regret.value, Rounding::Up), reward_words(&regret.rewards));
            let discount = exactly(&claim.sampling.discount);
            lines.push(("", format!("an adversary takes at most {value} then, assuming: return discounted by {discount}; {rewards}")));
        }
    }
    lines
}

/// Every claim with its largest value exactly (a margin: its least).
fn claim_lines(claims: &Claims<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for ((mask, quantity, output), named) in &claims.index {
        let (words, side, rounding) = quantity_of(quantity.name());
        let output = of_output(*output);
        for (family, claim) in named {
            let Some(values) = numbers(&claim.values) else { continue };
            let end = if rounding == Rounding::Up { values.iter().max() } else { values.iter().min() };
            let Some(end) = end else { continue };
            let everywhere = values.len() == 1 && !family.is_local();
            let place = if everywhere { "every state" } else { "every listed state" };
            let of = if family.bounds_adversary() { "" } else { ", of the dense policy from the pruned one" };
            let (family, decimal) = (family.name(), outward(end, rounding));
            lines.push((
                "claim",
                format!(
                    "mask {mask}, {family}: {words}{output} {side} {decimal}, exactly {end}, at {place}{of}"
                ),
            ));
        }
    }
    lines
}

/// What the numbers rest on and what they do not say: the checker's own sentences.
pub fn sentence_lines(facts: &Facts) -> Vec<Line> {
    let assumed = facts.assumptions.iter().map(|line| ("assumes", line.clone()));
    assumed.chain(facts.limits.iter().map(|line| ("limit", line.clone()))).collect()
}

/// The signer's sentences that are not required.
fn push_sentences<'a>(
    lines: &mut Vec<Line>,
    all: impl Iterator<Item = &'a String>,
    required: &BTreeSet<&str>,
    details: bool,
) {
    let others: Vec<&String> = all.filter(|sentence| !required.contains(sentence.as_str())).collect();
    let said = others.into_iter().map(|sentence| ("signer", EscapedSentence(sentence).to_string()));
    push(lines, said, "sentences of the signer", details);
}

/// What the signer says besides, none of it verified: further sentences and, with `details`, names.
pub fn signer_lines(certificate: &Certificate, facts: Option<&Facts>, details: bool) -> Vec<Line> {
    let required = facts.map(|f| f.assumptions.iter().chain(&f.limits).map(String::as_str).collect());
    let required: BTreeSet<&str> = required.unwrap_or_default();
    let mut lines = Vec::new();
    push_sentences(&mut lines, certificate.assumptions.iter().chain(&certificate.limits), &required, details);
    if details {
        let named =
            |(mask, record): (usize, &MaskRecord)| format!("calls mask {mask} {}", Escaped(&record.name));
        lines.extend(certificate.masks.iter().enumerate().map(|mask| ("signer", named(mask))));
        let files = certificate.subjects.iter().chain(&certificate.inputs);
        lines.extend(files.map(|file| file_line("names a file", file)));
        lines.push(("signer", format!("seed {}", Escaped(&certificate.seed))));
        lines.push(program_line(&certificate.verifier));
    }
    lines
}

fn file_line(said: &str, file: &FileDigest) -> Line {
    let (role, name) = (Escaped(&file.role), Escaped(&file.name));
    ("signer", format!("{said} {role} {name}, SHA-256 {}", file.sha256))
}

fn program_line(program: &Program) -> Line {
    ("signer", format!("made with {} {}", Escaped(&program.id), Escaped(&program.version)))
}

/// What was decided of a property.
pub fn property_verdict(decided: &Decided) -> String {
    let cases = decided.cases();
    if let (Some((asked, boxes)), Some(names)) = (decided.asked(), pair_names(decided)) {
        return pair_verdict(&decided.certificate().claimed, asked, *boxes, names);
    }
    match &decided.certificate().claimed {
        Claimed::Unsat { .. } => format!("verified: unsat: no input satisfies the property; cases: {cases}"),
        Claimed::Sat { case, .. } => {
            format!("verified: sat: an input satisfies the property's case {case}; cases: {cases}")
        }
    }
}

/// The names of two networks.
fn pair_names(decided: &Decided) -> Option<[&str; 2]> {
    let names = decided.policies().iter().map(|(name, _)| name.as_deref()).collect::<Option<Vec<_>>>()?;
    <[&str; 2]>::try_from(names).ok()
}

fn pair_verdict(claimed: &Claimed, asked: &PairQuestion, boxes: usize, [f, g]: [&str; 2]) -> String {
    let place = if boxes == 1 { "in the box".to_owned() } else { format!("in {boxes} boxes") };
    match (claimed, asked) {
        (Claimed::Unsat { .. }, PairQuestion::Difference { delta }) => format!(
            "verified: unsat: {place} every output of {f} and {g} differs by less than {}",
            exactly(delta)
        ),
        (Claimed::Sat { case, .. }, PairQuestion::Difference { delta }) => format!(
            "verified: sat: at an input some output of {f} and {g} differs by {} or more; case {case}",
            exactly(delta)
        ),
        (Claimed::Unsat { .. }, PairQuestion::Action { lead }) => format!(
            "verified: unsat: {place} an output that is greatest in {f}{} is greatest in {g}, alone",
            led(lead)
        ),
        (Claimed::Sat { case, .. }, PairQuestion::Action { lead }) => format!(
            "verified: sat: at an input an output that is greatest in {f}{} is not greatest in {g}, or not alone; \
             case {case}",
            led(lead)
        ),
    }
}

/// By how much an output leads the others.
fn led(lead: &Rational) -> String {
    if lead.is_zero() { String::new() } else { format!(" by {} or more", exactly(lead)) }
}

/// The same of a property, beside [`property_verdict`].
pub fn property_lines(decided: &Decided, signers: &[SignerInfo], details: bool) -> Vec<Line> {
    let certificate = decided.certificate();
    let mut lines = signed_lines(signers);
    let mut names = Vec::new();
    for (name, digest) in decided.policies() {
        // A name of letters, digits, _ and -.
        let (word, folder) =
            name.as_ref().map(|name| (format!("{name} "), format!("{name}/"))).unwrap_or_default();
        lines.push(("policy", format!("{word}{digest}: its network and normaliser")));
        names.extend(["policy.json", "policy.safetensors"].map(|file| format!("{folder}{file}")));
    }
    names.push("property.json".to_owned());
    let files = certificate.subjects.iter().zip(names);
    lines.extend(files.map(|(file, name)| ("file", format!("{name} {}", file.sha256))));
    if let Claimed::Sat { point, .. } = &certificate.claimed {
        let values = point.iter().enumerate().map(|(index, value)| {
            let text = if details { value.to_string() } else { exactly(value) };
            ("input", format!("X_{index} = {text}"))
        });
        push(&mut lines, values, "inputs", details);
    }
    lines.push(("assumes", crate::sentences::ASSUME_REAL.to_owned()));
    let required = BTreeSet::from([crate::sentences::ASSUME_REAL]);
    push_sentences(&mut lines, certificate.assumptions.iter(), &required, details);
    lines.extend(certificate.inputs.iter().map(|file| file_line("imported from", file)));
    if details {
        lines.push(program_line(&certificate.verifier));
    }
    lines
}

/// The lines under each other.
pub fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for (word, line) in lines {
        // Escaped already, or the checker's own.
        text.push_str(format!("{word:<10} {line}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::certificate::parse_certificate;
    use crate::reader::dsse::parse_envelope;

    /// Before a check the digest of the weights is what the signer wrote: a sentence in its place stands in quotes.
    #[test]
    fn a_digest_that_is_none_stands_in_quotes() {
        let envelope = include_bytes!("../../certificates/accepted/small.cert.dsse.json");
        let mut certificate = parse_certificate(&parse_envelope(envelope).unwrap().payload).unwrap();
        let mut weights = |digest: &str| {
            certificate.weights_digest = digest.to_owned();
            let lines = lines(&certificate, None, false);
            lines.into_iter().find(|(word, _)| *word == "weights").unwrap().1
        };
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(weights(&digest), format!("{digest} (the dense weights alone)"));
        for claimed in
            ["verified by everybody", "sha256:0", &digest.to_uppercase(), &format!("{digest} verified")]
        {
            assert_eq!(weights(claimed), format!("{} (the dense weights alone)", Escaped(claimed)));
        }
    }
}
