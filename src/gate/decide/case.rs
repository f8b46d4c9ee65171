//! One rule for one policy whose certificate was accepted. Untrusted. `spec/gate.md#rules`.

use secateur_checker::family::Family;
use secateur_checker::model::SOURCE_ROLES;
use secateur_checker::number::{Rational, Rounding};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::names::OutputName;
use secateur_checker::table::Quantity;

use super::finding;
use crate::gate::BASELINE;
use crate::gate::about::Subject;
use crate::gate::baseline::Accepted;
use crate::gate::bounds::{Extreme, attained, chosen, counts, worst};
use crate::gate::config::{Choice, Masks, PolicyEntry, Rule, Values};
use crate::gate::evidence::Evidence;
use crate::gate::radius::{RadiusDemand, chosen_radius, multiple_words, number_at};
use crate::gate::report::{Finding, Kind, Number, Test};

/// One rule for one policy.
pub(super) struct Case<'a> {
    pub entry: &'a PolicyEntry,
    pub evidence: &'a Evidence,
    pub rule: &'a Rule,
    pub name: &'a str,
}

impl Case<'_> {
    fn finding(&self, kind: Kind, says: String, advice: &str) -> Finding {
        finding(&self.rule.id, Some(self.name), self.rule.line, kind, says, advice)
    }

    fn certificate(&self) -> &Certificate {
        self.evidence.certificate()
    }

    /// What the policy calls an output.
    fn called(&self, output: usize) -> Option<&OutputName> {
        let names = self.evidence.policy().files.names.as_ref()?;
        names.outputs.iter().find(|named| named.output == output)
    }

    /// `None` if no baseline was found at all, `Some(None)` if it does not have this policy.
    pub fn decide(&self, accepted: Option<Option<&Accepted>>) -> Test {
        let mut test = Test {
            name: self.rule.id.clone(),
            policy: Some(self.name.to_owned()),
            findings: self.about(),
            margin: None,
        };
        // What is about something else is not compared.
        if test.findings.is_empty() {
            let masks = self.masks(&mut test.findings);
            if let Some(values) = &self.rule.values {
                test.margin = self.values(values, &masks, accepted, &mut test.findings);
            }
            if let Some(demand) = &self.rule.radius {
                let shown = self.radius(demand, &masks, accepted, &mut test.findings);
                test.margin = test.margin.into_iter().chain(shown).reduce(|a, b| format!("{a}; {b}"));
            }
            self.harm(&masks, &mut test.findings);
            self.loosened(&masks, &mut test.findings);
            self.sparsity(&masks, &mut test.findings);
        }
        self.origin(&mut test.findings);
        for found in &mut test.findings {
            found.called = found.output.and_then(|output| self.called(output)).cloned();
        }
        test
    }

    fn about(&self) -> Vec<Finding> {
        if !self.rule.needs_about() {
            return Vec::new();
        }
        let Some(about) = self.rule.about.as_ref().or(self.entry.about.as_ref()) else { return Vec::new() };
        let Some((subject, found, wanted)) = about.differs(self.certificate()) else { return Vec::new() };
        let kind = match subject {
            Subject::Adversary => Kind::OtherAdversary,
            Subject::States => Kind::OtherStates,
        };
        let says = format!("the certificate is about {found}; the rule is about {wanted}");
        vec![self.finding(kind, says, "certify under what the rule is about, or change `about` in review")]
    }

    /// The masks of the rule that the chain has.
    fn masks(&self, findings: &mut Vec<Finding>) -> Vec<usize> {
        let count = self.certificate().masks.len();
        match &self.rule.masks {
            Masks::All => (0..count).collect(),
            Masks::Some(listed) => {
                for mask in listed.iter().filter(|mask| **mask >= count) {
                    let says = format!("the chain has {count} masks, from 0; there is no mask {mask}");
                    let mut found =
                        self.finding(Kind::NoMask, says, "correct the rule, or certify the whole chain");
                    found.mask = Some(*mask);
                    findings.push(found);
                }
                listed.iter().copied().filter(|mask| *mask < count).collect()
            }
        }
    }

    /// What the tightest comparison was, where nothing was found.
    fn values(
        &self,
        values: &Values,
        masks: &[usize],
        accepted: Option<Option<&Accepted>>,
        findings: &mut Vec<Finding>,
    ) -> Option<String> {
        let mut shown: Option<(usize, Extreme)> = None;
        for &mask in masks {
            let (quantity, outputs) = (values.quantity, self.evidence.outputs());
            let families = chosen(self.certificate(), quantity, mask, outputs, values.choice);
            let Some(have) = worst(self.certificate(), quantity, mask, outputs, &families) else {
                let says = format!(
                    "{} by {} is not claimed for every output under mask {mask}",
                    quantity.name(),
                    values.choice.name()
                );
                let mut found = self.finding(Kind::NotClaimed, says, "certify with that family and quantity");
                found.mask = Some(mask);
                findings.push(found);
                continue;
            };
            if let Some(limit) = &values.limit {
                findings.extend(self.limit(values, mask, &have, limit));
            }
            if let Some(allowance) = &values.worse_by {
                let compared = self.baseline(values, mask, accepted, &families);
                match compared {
                    Ok(base) => {
                        let need = allowance.applied(&base, quantity.rounding());
                        findings.extend(self.worse(values, mask, &have, &base, need));
                    }
                    Err(found) => findings.push(*found),
                }
            }
            let worse = |known: &Extreme| is_worse(quantity, &have.value, &known.value);
            if shown.as_ref().is_none_or(|(_, known)| worse(known)) {
                shown = Some((mask, have));
            }
        }
        let (mask, have) = shown?;
        let rounding = values.quantity.rounding();
        let number = Number { exact: have.value, rounding };
        let way = if rounding == Rounding::Up { "at most" } else { "at least" };
        let (decimal, name, by) = (number.decimal(), values.quantity.name(), values.choice.name());
        let called = have.output.and_then(|output| self.called(output)).map(|called| {
            let unit = number.in_unit(called).map_or_else(String::new, |unit| format!(" by {unit}"));
            format!(" ({}{unit})", Escaped(&called.name))
        });
        Some(format!("{name} {way} {decimal} by {by}, mask {mask}{}", called.unwrap_or_default()))
    }

    fn at(
        &self,
        mut found: Finding,
        mask: usize,
        have: &Extreme,
        quantity: Quantity,
        need: Rational,
    ) -> Finding {
        let (up, down) = (quantity.rounding(), opposite(quantity.rounding()));
        (found.mask, found.state, found.output) = (Some(mask), have.state, have.output);
        found.have = Some(Number { exact: have.value.clone(), rounding: up });
        found.need = Some(Number { exact: need, rounding: down });
        found
    }

    fn limit(&self, values: &Values, mask: usize, have: &Extreme, limit: &Rational) -> Option<Finding> {
        if !is_worse(values.quantity, &have.value, limit) {
            return None;
        }
        let (name, by) = (values.quantity.name(), values.choice.name());
        let (kind, says, advice) = match values.quantity.rounding() {
            Rounding::Up => (
                Kind::AboveLimit,
                format!("the certified bound on {name} by {by} is above the limit"),
                "prune less, train for robustness, or certify with tighter families (crown-optimised, crown-quadratic, branch)",
            ),
            Rounding::Down => (
                Kind::BelowLimit,
                format!("the certified {name} by {by} is below the limit"),
                "prune less, train for robustness, or certify with tighter families (crown-optimised, crown-quadratic, branch)",
            ),
        };
        Some(self.at(self.finding(kind, says, advice), mask, have, values.quantity, limit.clone()))
    }

    fn not_comparable(&self, mask: usize, says: String) -> Box<Finding> {
        let advice = "certify the same again, or accept the new state with `secateur gate accept` in review";
        let mut found = self.finding(Kind::NotComparable, says, advice);
        found.mask = Some(mask);
        Box::new(found)
    }

    /// The policy's baseline, if it speaks of the same adversary, states, head and outputs.
    fn same_subject<'b>(
        &self,
        mask: usize,
        accepted: Option<Option<&'b Accepted>>,
    ) -> Result<&'b Accepted, Box<Finding>> {
        let missing = |says: &str| {
            let advice = "run `secateur gate accept` on a state that you accept, and commit the file";
            let mut found = self.finding(Kind::NoBaseline, says.to_owned(), advice);
            found.mask = Some(mask);
            Box::new(found)
        };
        let other = |says: String| self.not_comparable(mask, says);
        let base = accepted.ok_or_else(|| missing(&format!("there is no {BASELINE}, and no --baseline")))?;
        let base = base.ok_or_else(|| missing("the baseline does not have this policy"))?;
        if let Some((_, found, wanted)) = base.about.differs(self.certificate()) {
            return Err(other(format!("the certificate is about {found}; the baseline is about {wanted}")));
        }
        let outputs = self.evidence.outputs();
        if base.head != self.certificate().head || (base.outputs != 0 && base.outputs != outputs) {
            return Err(other("the baseline is about another head or another number of outputs".to_owned()));
        }
        Ok(base)
    }

    /// The baseline's number, where it speaks of the same and by no stronger means.
    fn baseline(
        &self,
        values: &Values,
        mask: usize,
        accepted: Option<Option<&Accepted>>,
        families: &[Family],
    ) -> Result<Rational, Box<Finding>> {
        let base = self.same_subject(mask, accepted)?;
        let other = |says: String| self.not_comparable(mask, says);
        let numbers = base.masks.get(mask).and_then(|m| m.quantities.get(values.quantity.name()));
        let none = || {
            other(format!(
                "the baseline has no {} by {} under mask {mask}",
                values.quantity.name(),
                values.choice.name()
            ))
        };
        let numbers = numbers.ok_or_else(none)?;
        let value = numbers.of(values.choice).ok_or_else(none)?;
        let lost: Vec<String> = numbers
            .behind(values.choice)
            .into_iter()
            .filter(|f| !families.contains(f))
            .map(Family::name)
            .collect();
        if !lost.is_empty() {
            let lost = lost.join(", ");
            return Err(other(format!("the baseline rests on {lost}, which the certificate does not claim")));
        }
        Ok(value)
    }

    fn worse(
        &self,
        values: &Values,
        mask: usize,
        have: &Extreme,
        base: &Rational,
        need: Rational,
    ) -> Option<Finding> {
        if !is_worse(values.quantity, &have.value, &need) {
            return None;
        }
        let (name, by) = (values.quantity.name(), values.choice.name());
        let reached = attained(self.certificate(), values.quantity, mask);
        let proved = reached.filter(|reached| reached.value > *base);
        let base = Number { exact: base.clone(), rounding: values.quantity.rounding() };
        let (kind, says, advice) = match proved {
            Some(reached) => {
                let least = Number { exact: reached.value, rounding: Rounding::Down };
                let at = reached.state.map(|s| format!(" at state {s}")).unwrap_or_default();
                let says = format!(
                    "proved worse: an attack reaches {name} of at least {} {at}, the baseline was certified at most {}",
                    least.words(),
                    base.words()
                );
                (
                    Kind::ProvedWorse,
                    says.replace("  ", " "),
                    "the policy itself is worse: prune less, or train again",
                )
            }
            None => (
                Kind::BoundRose,
                format!(
                    "the bound on {name} by {by} is worse than the baseline's {}; whether the policy is worse, is not shown",
                    base.words()
                ),
                "certify with tighter families to tell, prune less, or accept it with `secateur gate accept` in review",
            ),
        };
        Some(self.at(self.finding(kind, says, advice), mask, have, values.quantity, need))
    }

    /// What the smallest radius was, where nothing was found.
    fn radius(
        &self,
        demand: &RadiusDemand,
        masks: &[usize],
        accepted: Option<Option<&Accepted>>,
        findings: &mut Vec<Finding>,
    ) -> Option<String> {
        let mut shown: Option<(usize, Rational)> = None;
        let advice = "prune less, train for robustness, or certify with tighter families (--radius-family)";
        for &mask in masks {
            let claimed = chosen_radius(self.certificate(), mask, &demand.goal(), demand.choice);
            let number = claimed.as_ref().and_then(|(claim, _)| number_at(claim, demand.at));
            let (Some((_, families)), Some((have, state))) = (claimed, number) else {
                let says = format!("no {} is claimed under mask {mask}", demand.words());
                let advice = "certify with --radius-for, and --radius-family for that family";
                let mut found = self.finding(Kind::NotClaimed, says, advice);
                found.mask = Some(mask);
                findings.push(found);
                continue;
            };
            let mut fell = |kind, says, need: &Rational| {
                let mut found = self.finding(kind, says, advice);
                (found.mask, found.state) = (Some(mask), state);
                found.have = Some(Number { exact: have.clone(), rounding: Rounding::Down });
                found.need = Some(Number { exact: need.clone(), rounding: Rounding::Up });
                findings.push(found);
            };
            if let Some(min) = demand.min.as_ref().filter(|min| have < **min) {
                fell(Kind::BelowLimit, format!("the {} is below the limit", demand.words()), min);
            }
            if let Some(allowance) = &demand.worse_by {
                match self.radius_baseline(demand, mask, accepted, &families) {
                    Ok(base) => {
                        let need = allowance.applied(&base, Rounding::Down);
                        if have < need {
                            let base = multiple_words(&base);
                            let says = format!("the {} is below the baseline's {base}", demand.words());
                            fell(Kind::BoundRose, says, &need);
                        }
                    }
                    Err(found) => findings.push(*found),
                }
            }
            if shown.as_ref().is_none_or(|(_, known)| have < *known) {
                shown = Some((mask, have));
            }
        }
        let (mask, have) = shown?;
        Some(format!("{} at least {}, mask {mask}", demand.words(), multiple_words(&have)))
    }

    /// The baseline's radius, where it speaks of the same and rests on no other families.
    fn radius_baseline(
        &self,
        demand: &RadiusDemand,
        mask: usize,
        accepted: Option<Option<&Accepted>>,
        families: &[Family],
    ) -> Result<Rational, Box<Finding>> {
        let base = self.same_subject(mask, accepted)?;
        let kept = base.masks.get(mask).and_then(|m| m.radii.get(&demand.goal()));
        let none =
            || self.not_comparable(mask, format!("the baseline has no {} under mask {mask}", demand.words()));
        let kept = kept.ok_or_else(none)?;
        let value =
            kept.get(&demand.choice.name()).and_then(|radius| radius.at(demand.at)).ok_or_else(none)?;
        let behind = kept.keys().filter_map(|name| Family::parse(name));
        let lost: Vec<String> = behind
            .filter(|family| demand.choice == Choice::Best && counts(*family) && !families.contains(family))
            .map(Family::name)
            .collect();
        if lost.is_empty() {
            return Ok(value);
        }
        let lost = lost.join(", ");
        let says = format!("the baseline's radius rests on {lost}, which the certificate does not claim");
        Err(self.not_comparable(mask, says))
    }

    fn harm(&self, masks: &[usize], findings: &mut Vec<Finding>) {
        if !self.rule.no_proved_harm {
            return;
        }
        for &step in masks.iter().filter(|mask| **mask > 0) {
            let here = self.certificate().brackets.iter().filter(|b| b.step == step);
            let before = step.saturating_sub(1);
            let mut looked = false;
            for bracket in here {
                looked = true;
                let (Some(at), Some(most), Some(least)) =
                    (&bracket.at, &bracket.at_most_before, &bracket.at_least_after)
                else {
                    continue;
                };
                let says = format!(
                    "proved: pruning from mask {before} to mask {step} raised {} at {} of {} places",
                    Escaped(&bracket.of),
                    bracket.hurt,
                    bracket.places
                );
                let found =
                    self.finding(Kind::ProvedHarm, says, "ship a looser mask, or prune by another method");
                let have = Extreme { value: least.clone(), state: at.state, output: at.index };
                let mut found = self.at(found, step, &have, Quantity::TotalVariation, most.clone());
                // A bound from below is rounded down, the one from above before it up.
                found.have = Some(Number { exact: least.clone(), rounding: Rounding::Down });
                found.need = Some(Number { exact: most.clone(), rounding: Rounding::Up });
                findings.push(found);
            }
            if !looked {
                let says = format!("the certificate has no bounds from below at the step to mask {step}");
                let mut found =
                    self.finding(Kind::NoHarmEvidence, says, "certify without --no-counterexample");
                found.mask = Some(step);
                findings.push(found);
            }
        }
    }

    fn loosened(&self, masks: &[usize], findings: &mut Vec<Finding>) {
        for family in &self.rule.no_loosened {
            let name = family.name();
            for &step in masks.iter().filter(|mask| **mask > 0) {
                let verdicts =
                    self.certificate().verdicts.iter().filter(|v| v.step == step && v.family == name);
                let mut looked = false;
                for verdict in verdicts {
                    looked = true;
                    if verdict.verdict != "loosened" {
                        continue;
                    }
                    let says = format!(
                        "{name}: {} rose from mask {} to mask {step}",
                        Escaped(&verdict.of),
                        step - 1
                    );
                    let mut found =
                        self.finding(Kind::Loosened, says, "ship a looser mask, or prune by another method");
                    found.mask = Some(step);
                    if let Some(at) = &verdict.at {
                        found.state = at.state;
                        found.output = at.index.filter(|_| verdict.of == Quantity::ActionDeviation.name());
                    }
                    found.have = verdict.after.clone().map(|exact| Number { exact, rounding: Rounding::Up });
                    found.need =
                        verdict.before.clone().map(|exact| Number { exact, rounding: Rounding::Down });
                    findings.push(found);
                }
                if !looked {
                    let says = format!("{name} is not claimed at the step to mask {step}");
                    let mut found = self.finding(Kind::NotClaimed, says, "certify with that family");
                    found.mask = Some(step);
                    findings.push(found);
                }
            }
        }
    }

    fn sparsity(&self, masks: &[usize], findings: &mut Vec<Finding>) {
        let Some(limit) = &self.rule.max_sparsity else { return };
        for &mask in masks {
            let Some(record) = self.certificate().masks.get(mask) else { continue };
            let Ok(have) = Rational::new(record.pruned.into(), record.total.max(1).into()) else { continue };
            if have > *limit {
                let says = format!("mask {mask} prunes {} of {} weights", record.pruned, record.total);
                let mut found = self.finding(Kind::TooSparse, says, "ship a looser mask");
                found.mask = Some(mask);
                found.have = Some(Number { exact: have, rounding: Rounding::Up });
                found.need = Some(Number { exact: limit.clone(), rounding: Rounding::Down });
                findings.push(found);
            }
        }
    }

    /// Who signed, from which files, for which checker.
    fn origin(&self, findings: &mut Vec<Finding>) {
        for wanted in &self.rule.signers {
            let signed = self.evidence.signers().iter().any(|s| s.name() == wanted || s.keyid() == wanted);
            if !signed {
                let says = format!("{} has not signed, or is not in the trust file", Escaped(wanted));
                let advice = "have that key's owner check and sign it, and trust the key's fingerprint";
                findings.push(self.finding(Kind::SignerMissing, says, advice));
            }
        }
        for wanted in &self.rule.sources {
            let mut sources =
                self.certificate().inputs.iter().filter(|file| SOURCE_ROLES.contains(&file.role.as_str()));
            if !sources.any(|file| file.sha256 == *wanted) {
                let says = format!("the policy was not imported from the file with SHA-256 {wanted}");
                findings.push(self.finding(Kind::OtherSource, says, "import that file, and certify again"));
            }
        }
        if let Some(wanted) = &self.rule.checker_version {
            let found = self.certificate().checker.version.split('.').map(str::parse);
            let found: Option<Vec<u64>> = found.map(Result::ok).collect();
            if found.is_none_or(|found| found < *wanted) {
                let words = wanted.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
                let stated = Escaped(&self.certificate().checker.version);
                let says = format!("the certificate is for checker version {stated}, below {words}");
                findings.push(self.finding(Kind::CheckerTooOld, says, "certify with a newer version"));
            }
        }
    }
}

fn opposite(rounding: Rounding) -> Rounding {
    if rounding == Rounding::Up { Rounding::Down } else { Rounding::Up }
}

/// Whether `have` is worse than `need`: above it, or below it for margins.
fn is_worse(quantity: Quantity, have: &Rational, need: &Rational) -> bool {
    if quantity.rounding() == Rounding::Up { have > need } else { have < need }
}
