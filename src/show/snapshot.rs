//! A certificate as lines that a version control system compares: one stated number a line, in an order of their own.
//! Untrusted; nothing is checked. `spec/snapshot.md`.

use secateur_checker::family::Family;
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::model::{InputLimit, Perturbation, PerturbationSet, SensorSet, SharedOffset};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::{
    Certificate, Claim, ClaimLists, FileDigest, Program, SCHEMA_VERSION, StepVerdict, WitnessRecord,
};
use secateur_checker::reader::counterexample::{BracketVerdict, CounterexampleClaim, Place};
use secateur_checker::reader::radius::RadiusClaim;
use secateur_checker::reader::regions::{RegionClaim, RegionEntry};
use secateur_checker::reader::regret::{RegretClaim, RegretForm, StatisticalClaim};
use secateur_checker::reader::verdict::{Claimed, PropertyCertificate};
use secateur_checker::table::Quantity;

use super::quoted::{digest, quoted, word};
use crate::certify::emit::units_word;
use crate::certify::statement::Statement;

/// First line of every snapshot.
pub const HEADING: &str = "secateur.snapshot/1: what a certificate claims; nothing was checked";

/// The statement in lines. They hold no signature and no key: a certificate signed again gives the same ones.
pub fn snapshot(statement: &Statement) -> String {
    let mut lines = vec![HEADING.to_owned(), format!("schema: {SCHEMA_VERSION}")];
    match statement {
        Statement::Policy(certificate) => policy_lines(certificate, &mut lines),
        Statement::Property(certificate) => property_lines(certificate, &mut lines),
    }
    lines.push(String::new());
    lines.join("\n")
}

/// An exact number behind the decimal that is nearest in the direction given.
pub fn number(value: &Rational, rounding: Rounding) -> String {
    format!("{}, exactly {value}", claim_decimal(value, rounding))
}

/// A bound as it is stated: what it says, or the text that is no number.
fn stated(text: &str, rounding: Rounding) -> String {
    let direction = if rounding == Rounding::Up { "at most" } else { "at least" };
    match Rational::parse(text) {
        Ok(value) => format!("{direction} {}", number(&value, rounding)),
        Err(_) => format!("{direction} {}, which is no number", quoted(text)),
    }
}

/// A family's name; in quotes if there is no such family.
pub fn family_word(name: &str) -> String {
    word(name, Family::parse(name).is_some())
}

/// A quantity's name; in quotes if there is no such quantity.
pub fn quantity_word(name: &str) -> String {
    word(name, Quantity::parse(name).is_some())
}

/// Families in the order of the format, then strangers' by name.
pub fn family_order(name: &str) -> (bool, Option<Family>, &str) {
    let family = Family::parse(name);
    (family.is_none(), family, name)
}

/// Quantities in the order of the format, then strangers' by name.
pub fn quantity_order(name: &str) -> (bool, Option<Quantity>, &str) {
    let quantity = Quantity::parse(name);
    (quantity.is_none(), quantity, name)
}

/// Which way a bound on a quantity is rounded.
pub fn rounding(quantity: &str) -> Rounding {
    Quantity::parse(quantity).map_or(Rounding::Up, Quantity::rounding)
}

fn output_words(output: Option<usize>) -> String {
    output.map(|output| format!(", output {output}")).unwrap_or_default()
}

fn place_words(place: &Place) -> String {
    let state = place.state.map(|state| format!(" at state {state}")).unwrap_or_default();
    let index = place.index.map(|index| format!(" at index {index}")).unwrap_or_default();
    format!("{state}{index}")
}

fn file_line(kind: &str, file: &FileDigest) -> String {
    format!("{kind}: {} sha256:{}", quoted(&file.name), file.sha256)
}

fn input_line(file: &FileDigest) -> String {
    const ROLES: [&str; 8] =
        ["chain", "mask", "states", "model", "normaliser", "log-std", "source", "property-source"];
    let role = word(&file.role, ROLES.contains(&file.role.as_str()));
    file_line(&format!("input {role}"), file)
}

fn side_line(kind: &str, record: &WitnessRecord) -> String {
    format!("{kind}: {} sha256:{}, {} bytes", quoted(&record.name), record.sha256, record.size)
}

fn program_line(kind: &str, program: &Program) -> String {
    format!("{kind}: {} {}", quoted(&program.id), quoted(&program.version))
}

fn sentences(kind: &str, sentences: &[String], lines: &mut Vec<String>) {
    let mut sorted: Vec<String> = sentences.iter().map(|s| format!("{kind}: {}", quoted(s))).collect();
    sorted.sort();
    lines.extend(sorted);
}

fn policy_lines(certificate: &Certificate, lines: &mut Vec<String>) {
    lines.push("about: a policy and an adversary".to_owned());
    lines.extend(certificate.subjects.iter().map(|file| file_line("policy", file)));
    lines.push(format!("weights: {}", digest(&certificate.weights_digest)));
    let known = ["gaussian", "categorical", "deterministic"].contains(&certificate.head.as_str());
    lines.push(format!("head: {}", word(&certificate.head, known)));
    adversary_lines(&certificate.perturbation, lines);
    let units = units_word(certificate.state_units);
    lines.push(format!("states: the first {} rows, in {units} units", certificate.states));
    for (mask, record) in certificate.masks.iter().enumerate() {
        let (name, digest) = (quoted(&record.name), digest(&record.digest));
        lines.push(format!("mask {mask}: {name} {digest}, {} of {} pruned", record.pruned, record.total));
    }
    lines.extend(certificate.inputs.iter().map(input_line));
    lines.extend(certificate.witness.iter().map(|record| side_line("witness", record)));
    let ClaimLists { claims, regret, statistical, regions, counterexample, radius } = certificate.lists();
    claim_lines(claims, lines);
    counterexample_lines(counterexample, lines);
    verdict_lines(certificate, lines);
    region_lines(regions, lines);
    radius_lines(radius, lines);
    regret_lines(regret, lines);
    statistical_lines(statistical, lines);
    sentences("assumes", &certificate.assumptions, lines);
    sentences("limit", &certificate.limits, lines);
    lines.push(program_line("made by", &certificate.verifier));
    lines.push(program_line("checker", &certificate.checker));
    lines.push(format!("seed: {}", quoted(&certificate.seed)));
}

/// The adversary in one line; many radii are only counted.
pub fn adversary_words(set: &PerturbationSet) -> String {
    let units = units_word(set.units);
    match &set.shape {
        Perturbation::Linf { radius } => format!("linf, radius {radius}, {units} units"),
        Perturbation::L2 { radius } => format!("l2, radius {radius}, {units} units"),
        Perturbation::PerCoordinate { radii } => {
            format!("per-coordinate, {} radii, {units} units", radii.len())
        }
        Perturbation::Sensor(SensorSet { radii, shared, limits }) => format!(
            "sensor, {} radii, {} shared offsets, {} limits, {units} units",
            radii.len(),
            shared.len(),
            limits.len()
        ),
    }
}

/// The radius is no bound: a decimal below it never says more than the certificate.
fn adversary_lines(set: &PerturbationSet, lines: &mut Vec<String>) {
    let units = units_word(set.units);
    let radius = |radius: &Rational| number(radius, Rounding::Down);
    match &set.shape {
        Perturbation::Linf { radius: r } => {
            lines.push(format!("adversary: linf, {units} units, radius {}", radius(r)));
        }
        Perturbation::L2 { radius: r } => {
            lines.push(format!("adversary: l2, {units} units, radius {}", radius(r)));
        }
        Perturbation::PerCoordinate { radii } => {
            lines.push(format!("adversary: per-coordinate, {units} units, {} radii", radii.len()));
            let line = |(input, r)| format!("adversary, input {input}: radius {}", radius(r));
            lines.extend(radii.iter().enumerate().map(line));
        }
        Perturbation::Sensor(SensorSet { radii, shared, limits }) => {
            lines.push(adversary_words(set).replacen("sensor", "adversary: sensor", 1));
            let line = |(input, r)| format!("adversary, input {input}: radius {}", radius(r));
            lines.extend(radii.iter().enumerate().map(line));
            for (offset, SharedOffset { radius: size, inputs }) in shared.iter().enumerate() {
                let line = |input| {
                    format!("adversary, shared offset {offset}, input {input}: radius {}", radius(size))
                };
                lines.extend(inputs.iter().map(line));
            }
            let line = |InputLimit { input, lower, upper }: &InputLimit| {
                let (lower, upper) = (number(lower, Rounding::Down), number(upper, Rounding::Up));
                format!("adversary, input {input}: limits {lower}, {upper}")
            };
            lines.extend(limits.iter().map(line));
        }
    }
}

/// The line's end for a list of numbers: which state, unless there is one number for all.
fn rows(values: &[String], everywhere: bool) -> impl Iterator<Item = (String, &String)> {
    let one = everywhere && values.len() == 1;
    let place = move |state| if one { String::new() } else { format!(", state {state}") };
    values.iter().enumerate().map(move |(state, value)| (place(state), value))
}

fn claim_lines(claims: &[Claim], lines: &mut Vec<String>) {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_by(|a, b| {
        let by_family = family_order(&a.family).cmp(&family_order(&b.family));
        let by_quantity = quantity_order(&a.quantity).cmp(&quantity_order(&b.quantity));
        a.mask.cmp(&b.mask).then(by_family).then(by_quantity).then(a.output.cmp(&b.output))
    });
    for claim in claims {
        let (family, quantity) = (family_word(&claim.family), quantity_word(&claim.quantity));
        let about = format!("mask {}, {family}, {quantity}{}", claim.mask, output_words(claim.output));
        let everywhere = Family::parse(&claim.family).is_some_and(|family| !family.is_local());
        for (place, value) in rows(&claim.values, everywhere) {
            lines.push(format!("{about}{place}: {}", stated(value, rounding(&claim.quantity))));
        }
    }
}

fn counterexample_lines(claims: &[CounterexampleClaim], lines: &mut Vec<String>) {
    let mut claims: Vec<&CounterexampleClaim> = claims.iter().collect();
    claims.sort_by(|a, b| {
        let by_quantity = quantity_order(&a.quantity).cmp(&quantity_order(&b.quantity));
        a.mask.cmp(&b.mask).then(by_quantity).then(a.output.cmp(&b.output))
    });
    for claim in claims {
        let quantity = quantity_word(&claim.quantity);
        let about = format!("mask {}, an attack, {quantity}{}", claim.mask, output_words(claim.output));
        for (place, value) in rows(&claim.at_least, false) {
            lines.push(format!("{about}{place}: {}", stated(value, Rounding::Down)));
        }
    }
}

fn verdict_lines(certificate: &Certificate, lines: &mut Vec<String>) {
    let mut verdicts: Vec<&StepVerdict> = certificate.verdicts.iter().collect();
    verdicts.sort_by(|a, b| {
        let by_family = family_order(&a.family).cmp(&family_order(&b.family));
        a.step.cmp(&b.step).then(by_family).then(a.of.cmp(&b.of))
    });
    lines.extend(verdicts.into_iter().map(verdict_line));
    let mut brackets: Vec<&BracketVerdict> = certificate.brackets.iter().collect();
    brackets.sort_by(|a, b| a.step.cmp(&b.step).then(quantity_order(&a.of).cmp(&quantity_order(&b.of))));
    lines.extend(brackets.into_iter().map(bracket_line));
}

fn verdict_line(verdict: &StepVerdict) -> String {
    let known = ["action-deviation", "layer-norm", "product"].contains(&verdict.of.as_str());
    let (family, of) = (family_word(&verdict.family), word(&verdict.of, known));
    let words = ["tightens-by-theorem", "tightened", "unchanged", "loosened"];
    let said = word(&verdict.verdict, words.contains(&verdict.verdict.as_str()));
    let (fell, stayed, rose) = verdict.counts;
    let mut line =
        format!("step {}, {family}, {of}: {said}; {fell} fell, {stayed} stayed, {rose} rose", verdict.step);
    if let (Some(at), Some(before), Some(after)) = (&verdict.at, &verdict.before, &verdict.after) {
        let (before, after) = (number(before, Rounding::Up), number(after, Rounding::Up));
        line.push_str(&format!("; most{}, before {before}, after {after}", place_words(at)));
    }
    line
}

fn bracket_line(verdict: &BracketVerdict) -> String {
    let said = word(&verdict.verdict, ["hurt", "not-shown"].contains(&verdict.verdict.as_str()));
    let (step, of) = (verdict.step, quantity_word(&verdict.of));
    let mut line =
        format!("step {step}, an attack, {of}: {said} at {} of {} places", verdict.hurt, verdict.places);
    if let (Some(at), Some(most), Some(least)) =
        (&verdict.at, &verdict.at_most_before, &verdict.at_least_after)
    {
        let (most, least) = (number(most, Rounding::Up), number(least, Rounding::Down));
        line.push_str(&format!("; most{}, before at most {most}, after at least {least}", place_words(at)));
    }
    line
}

/// The sides of a box.
pub fn box_words(entry: &RegionEntry) -> String {
    let sides = entry.lower.iter().zip(&entry.upper).map(|(lower, upper)| format!("[{lower}, {upper}]"));
    sides.collect::<Vec<_>>().join(" x ")
}

fn region_lines(regions: &[RegionEntry], lines: &mut Vec<String>) {
    let mut regions: Vec<&RegionEntry> = regions.iter().collect();
    regions.sort_by(|a, b| (&a.lower, &a.upper, a.mask).cmp(&(&b.lower, &b.upper, b.mask)));
    // A box is written once, however many masks and quantities speak of it.
    let mut boxes: Vec<(&[Rational], &[Rational])> = Vec::new();
    for region in regions {
        let sides = (region.lower.as_slice(), region.upper.as_slice());
        if boxes.last() != Some(&sides) {
            boxes.push(sides);
            lines.push(format!("box {}: {}", boxes.len() - 1, box_words(region)));
        }
        let mut claims: Vec<&RegionClaim> = region.claims.iter().collect();
        claims.sort_by(|a, b| {
            quantity_order(&a.quantity).cmp(&quantity_order(&b.quantity)).then(a.output.cmp(&b.output))
        });
        for claim in claims {
            let (quantity, output) = (quantity_word(&claim.quantity), output_words(claim.output));
            let about = format!("mask {}, box {}, {quantity}{output}", region.mask, boxes.len() - 1);
            lines.push(format!("{about}: {}", stated(&claim.value, rounding(&claim.quantity))));
            for share in &claim.shares {
                let (threshold, part) = (&share.threshold, number(&share.fraction, Rounding::Down));
                lines.push(format!("{about}, share of the volume with bound {threshold}: at least {part}"));
            }
        }
    }
}

/// What a radius is about, but for its mask and family.
pub fn radius_words(claim: &RadiusClaim) -> String {
    let quantity = quantity_word(&claim.quantity);
    claim.limit.as_ref().map_or_else(|| quantity.clone(), |limit| format!("{quantity} at most {limit}"))
}

fn radius_lines(claims: &[RadiusClaim], lines: &mut Vec<String>) {
    let mut claims: Vec<&RadiusClaim> = claims.iter().collect();
    claims.sort_by(|a, b| {
        let by_family = family_order(&a.family).cmp(&family_order(&b.family));
        let by_quantity = quantity_order(&a.quantity).cmp(&quantity_order(&b.quantity));
        a.mask.cmp(&b.mask).then(by_family).then(by_quantity).then(a.limit.cmp(&b.limit))
    });
    for claim in claims {
        let about =
            format!("mask {}, {}, radius, {}", claim.mask, family_word(&claim.family), radius_words(claim));
        for (state, multiple) in claim.proved.iter().enumerate() {
            lines.push(format!("{about}, state {state}: at least {}", number(multiple, Rounding::Down)));
        }
        for (state, multiple) in claim.broken.iter().enumerate() {
            let broken = multiple.as_ref().map(|multiple| number(multiple, Rounding::Up));
            let broken = broken.map_or_else(|| "none".to_owned(), |broken| format!("broken at {broken}"));
            lines.push(format!("{about}, an attack, state {state}: {broken}"));
        }
    }
}

/// A return, as a regret claim speaks of it.
pub fn form_words(form: &RegretForm) -> String {
    match form {
        RegretForm::Sup { discount } | RegretForm::Expectation { discount } => {
            format!("{}, discount {discount}", form.name())
        }
        RegretForm::Horizon { steps } => format!("{}, {steps} steps", form.name()),
    }
}

/// The rewards that a regret claim rests on.
pub fn reward_words(rewards: &RewardRange) -> String {
    let end = if rewards.episodes_can_end { "episodes can end" } else { "episodes never end" };
    format!("rewards in [{}, {}], {end}", rewards.lower, rewards.upper)
}

fn regret_lines(claims: &[RegretClaim], lines: &mut Vec<String>) {
    let mut claims: Vec<&RegretClaim> = claims.iter().collect();
    claims.sort_by(|a, b| {
        let by_family = family_order(&a.family).cmp(&family_order(&b.family));
        a.mask.cmp(&b.mask).then(by_family).then_with(|| form_words(&a.form).cmp(&form_words(&b.form)))
    });
    for claim in claims {
        let (form, rewards) = (form_words(&claim.form), reward_words(&claim.rewards));
        let (mask, family, region) = (claim.mask, family_word(&claim.family), claim.region.name());
        let value = stated(&claim.value, Rounding::Up);
        lines.push(format!("mask {mask}, {family}, regret, {form}, {rewards}, {region}: {value}"));
    }
}

fn statistical_lines(claims: &[StatisticalClaim], lines: &mut Vec<String>) {
    let mut claims: Vec<&StatisticalClaim> = claims.iter().collect();
    claims.sort_by(|a, b| {
        let by_family = family_order(&a.family).cmp(&family_order(&b.family));
        a.mask.cmp(&b.mask).then(by_family).then(a.method.name().cmp(b.method.name()))
    });
    for claim in claims {
        let about = statistical_words(claim);
        lines.push(format!("{about}: {}", stated(&claim.value, Rounding::Up)));
        let (sampling, confidence) = (&claim.sampling, &claim.confidence);
        lines.push(format!(
            "{about}, draw: {} samples by {}, discount {}, {} ended, {} cut off; confidence {} over {} masks \
             with {} inequalities each",
            sampling.samples,
            quoted(&sampling.sampler),
            sampling.discount,
            sampling.ended,
            sampling.cut_off,
            confidence.level,
            confidence.masks,
            confidence.inequalities
        ));
        if let Some(regret) = &claim.regret {
            let (rewards, value) = (reward_words(&regret.rewards), stated(&regret.value, Rounding::Up));
            lines.push(format!("{about}, regret, {rewards}: {value}"));
        }
    }
}

/// What a statistical claim is about; it is never a proof.
pub fn statistical_words(claim: &StatisticalClaim) -> String {
    let (family, method) = (family_word(&claim.family), claim.method.name());
    format!("mask {}, {family}, statistical, {method}, expected total variation", claim.mask)
}

fn property_lines(certificate: &PropertyCertificate, lines: &mut Vec<String>) {
    let several = certificate.subjects.len() > 3;
    let about =
        if several { "about: several networks and a property" } else { "about: a network and a property" };
    lines.push(about.to_owned());
    lines.extend(certificate.subjects.iter().map(|file| file_line("subject", file)));
    lines.push(format!("weights: {}", digest(&certificate.weights_digest)));
    lines.extend(certificate.inputs.iter().map(input_line));
    match &certificate.claimed {
        Claimed::Unsat { proof } => {
            lines.push("result: unsat".to_owned());
            lines.push(side_line("proof", proof));
        }
        Claimed::Sat { case, point } => {
            lines.push(format!("result: sat, in case {case}"));
            let line = |(input, value)| format!("input {input}: {}", number(value, Rounding::Down));
            lines.extend(point.iter().enumerate().map(line));
        }
    }
    sentences("assumes", &certificate.assumptions, lines);
    lines.push(program_line("made by", &certificate.verifier));
    lines.push(program_line("checker", &certificate.checker));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1/3 from above and from below; what is no number is quoted and never shown as one.
    #[test]
    fn numbers_are_rounded_outward_and_shown_exactly() {
        assert_eq!(stated("1/3", Rounding::Up), "at most 0.333333333334, exactly 1/3");
        assert_eq!(stated("0.50", Rounding::Down), "at least 0.5, exactly 1/2");
        let no_number = "at most \"1e-9\\u{202e}\", which is no number";
        assert_eq!(stated("1e-9\u{202e}", Rounding::Up), no_number);
    }

    /// Families in the format's order, whatever the alphabet says; strangers' last, in quotes.
    #[test]
    fn families_have_an_order_of_their_own() {
        let mut names = ["zebra", "branch", "ibp", "alpha", "sensitivity", "band/10", "band/9"];
        names.sort_by(|a, b| family_order(a).cmp(&family_order(b)));
        assert_eq!(names, ["sensitivity", "ibp", "branch", "band/9", "band/10", "alpha", "zebra"]);
        assert_eq!((family_word("ibp"), family_word("zebra")), ("ibp".to_owned(), "\"zebra\"".to_owned()));
    }
}
