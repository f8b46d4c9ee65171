//! A certificate for people: the answer first, by the checker's own lines; its families and steps on demand. For programs,
//! everything. `spec/output.md`.

use std::collections::BTreeMap;

use secateur_checker::answer::{
    Claims, Line, headline, lines, sentence_lines, shape_word, signed_lines, signer_lines, text, verdict,
};
use secateur_checker::check::{Facts, Verified};
use secateur_checker::model::{InputLimit, Perturbation, SensorSet, SharedOffset};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::{Certificate, Claim, ClaimLists};
use secateur_checker::reader::trust::SignerInfo;
use secateur_checker::table::Quantity;
use serde_json::{Map, Value, json};

use super::bracket::{bracket_json, bracket_text};
use super::radius::radius_json;
use super::regions::regions_json;
use super::regret::{regret_json, regret_text, statistical_json};
use super::words::{number, plain, quoted, short, table};
use crate::certify::emit::units_word;

/// Name of this form of the JSON documents.
pub const FORMAT: &str = "secateur.output/1";

/// What is shown beside the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Every family, exact numbers, the signer's names.
    pub all: bool,
    /// These families in the table, those included that are looser than others.
    pub families: Vec<String>,
}

/// What each quantity's column shows of its values.
const COLUMNS: [(&str, &str); 4] = [
    ("action-deviation", "max deviation"),
    ("total-variation", "total variation"),
    ("kl-divergence", "KL"),
    ("same-action-margin", "same action"),
];

/// Most rows of a table of a stranger's certificate.
const MAX_ROWS: usize = 1000;
/// Most families that are compared with each other.
const MAX_COMPARED: usize = 64;

/// The claims by mask and family, families in the order in which they first appear.
struct Index<'a> {
    families: Vec<&'a str>,
    rows: BTreeMap<(usize, usize), BTreeMap<&'a str, Vec<&'a Claim>>>,
}

impl<'a> Index<'a> {
    fn new(certificate: &'a Certificate) -> Self {
        let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
        let mut index = Self { families: Vec::new(), rows: BTreeMap::new() };
        for claim in &certificate.claims {
            let rank = *ranks.entry(claim.family.as_str()).or_insert_with(|| {
                index.families.push(&claim.family);
                index.families.len() - 1
            });
            let row = index.rows.entry((claim.mask, rank)).or_default();
            row.entry(claim.quantity.as_str()).or_default().push(claim);
        }
        index
    }

    /// The largest value of a row's quantity, of a margin the least.
    fn extreme(&self, row: (usize, usize), quantity: &str) -> Option<Rational> {
        let values = numbers(self.rows.get(&row)?.get(quantity)?).into_iter();
        if quantity == "same-action-margin" { values.min() } else { values.max() }
    }

    /// Families that another one beats or equals at every mask and quantity; of equal ones the first stays.
    fn looser(&self, masks: usize) -> Vec<usize> {
        let count = self.families.len();
        if count > MAX_COMPARED {
            return Vec::new();
        }
        let mut best: BTreeMap<((usize, usize), &str), Rational> = BTreeMap::new();
        for row in self.rows.keys() {
            for (quantity, _) in COLUMNS {
                if let Some(value) = self.extreme(*row, quantity) {
                    best.insert((*row, quantity), value);
                }
            }
        }
        // Whether `b` says at least as much as `a` wherever `a` says anything.
        let covers = |b: usize, a: usize| {
            (0..masks).flat_map(|mask| COLUMNS.map(|(quantity, _)| (mask, quantity))).all(
                |(mask, quantity)| match (best.get(&((mask, a), quantity)), best.get(&((mask, b), quantity)))
                {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(a), Some(b)) if quantity == "same-action-margin" => b >= a,
                    (Some(a), Some(b)) => b <= a,
                },
            )
        };
        // What speaks of another thing is not compared.
        let alike = |a: usize, b: usize| {
            let adversary = |f: usize| {
                secateur_checker::family::Family::parse(self.families[f])
                    .map(|f| (f.bounds_adversary(), f.is_float32(), f.is_local(), f.band_end().is_some()))
            };
            adversary(a) == adversary(b)
        };
        let beaten =
            |a: usize| (0..count).any(|b| b != a && alike(a, b) && covers(b, a) && (b < a || !covers(a, b)));
        (0..count).filter(|a| beaten(*a)).collect()
    }
}

fn numbers(claims: &[&Claim]) -> Vec<Rational> {
    claims.iter().flat_map(|c| c.values.iter()).filter_map(|v| Rational::parse(v).ok()).collect()
}

fn cell(claims: Option<&Vec<&Claim>>, quantity: &str) -> String {
    let Some(claims) = claims else { return String::new() };
    let mut values = numbers(claims);
    if values.is_empty() {
        return String::new();
    }
    if quantity == "same-action-margin" {
        let kept = values.iter().filter(|v| v.is_positive()).count();
        return format!("{kept} of {} states", values.len());
    }
    values.sort();
    let largest = values.last().map(|v| short(v, Rounding::Up)).unwrap_or_default();
    let per_state = claims.first().is_some_and(|c| c.values.len() > 1);
    if !per_state || quantity == "action-deviation" {
        return largest;
    }
    let median = values.get(values.len() / 2).map(|v| short(v, Rounding::Up)).unwrap_or_default();
    format!("{median} median, {largest} max")
}

/// The perturbation set in words.
pub fn perturbation_words(certificate: &Certificate) -> String {
    secateur_checker::answer::adversary_words(&certificate.perturbation, None)
}

/// What a check found: the verdict with its number, then the checker's lines.
pub fn verified_text(verified: &Verified, signers: Option<&[SignerInfo]>, details: &Details) -> String {
    let (certificate, facts) = (verified.certificate(), verified.facts());
    let mut all: Vec<Line> = signers.map(signed_lines).unwrap_or_default();
    all.extend(lines(certificate, Some(facts), details.all));
    let mut document = format!("{}\n{}", verdict(verified), text(&all));
    document.push_str(&details_text(certificate, details));
    let mut rest = sentence_lines(facts);
    rest.extend(signer_lines(certificate, Some(facts), details.all));
    document.push_str(&text(&rest));
    document
}

/// What a certificate claims, of which nothing was checked.
pub fn claimed_text(certificate: &Certificate, details: &Details) -> String {
    let mut document = format!("claims, unchecked: {}\n", headline(certificate, None));
    document.push_str(&text(&lines(certificate, None, details.all)));
    document.push_str(&details_text(certificate, details));
    document.push_str(&text(&signer_lines(certificate, None, details.all)));
    document
}

/// Families, steps, brackets, regret: on demand.
fn details_text(certificate: &Certificate, details: &Details) -> String {
    let mut text = String::new();
    if details.all || !details.families.is_empty() {
        text.push_str(&claims_text(certificate, &details.families));
    }
    if details.all {
        if certificate.masks.len() > 1 {
            text.push_str(&verdict_text(certificate));
            text.push_str(&loosened_lines(certificate));
        }
        text.push_str(&bracket_text(certificate));
        text.push_str(&regret_text(certificate));
    }
    text
}

fn claims_text(certificate: &Certificate, wanted: &[String]) -> String {
    let index = Index::new(certificate);
    let folded = if wanted.is_empty() { index.looser(certificate.masks.len()) } else { Vec::new() };
    let mut table = table();
    let present: Vec<&(&str, &str)> =
        COLUMNS.iter().filter(|(q, _)| certificate.claims.iter().any(|c| c.quantity == *q)).collect();
    let mut header = vec!["mask".to_owned(), "sparsity".to_owned(), "family".to_owned()];
    header.extend(present.iter().map(|(_, title)| (*title).to_owned()));
    table.set_header(header);
    // A band has no bound outside it, so that not every mask has every family.
    let named = |rank: usize| wanted.is_empty() || wanted.iter().any(|name| name == index.families[rank]);
    let rows = index.rows.iter().filter(|((_, rank), _)| named(*rank) && !folded.contains(rank));
    let mut left = 0;
    for (position, ((mask, rank), claims)) in rows.enumerate() {
        let Some(record) = certificate.masks.get(*mask).filter(|_| position < MAX_ROWS) else {
            left += 1;
            continue;
        };
        let sparsity = 100.0 * record.pruned as f64 / (record.total.max(1)) as f64;
        let mut row = vec![mask.to_string(), format!("{sparsity:.1} %"), plain(index.families[*rank])];
        row.extend(present.iter().map(|(quantity, _)| cell(claims.get(quantity), quantity)));
        table.add_row(row);
    }
    let mut text = format!("{table}\n");
    if left > 0 {
        text.push_str(&format!("{left} more rows: --format json\n"));
    }
    if !folded.is_empty() {
        let names = folded.iter().map(|rank| plain(index.families[*rank])).collect::<Vec<_>>().join(", ");
        text.push_str(&format!(
            "never tighter than another family above (--show-family NAME shows it): {names}\n"
        ));
    }
    text
}

/// How the families moved along the chain: a table, or for long chains one line a family.
fn verdict_text(certificate: &Certificate) -> String {
    let steps = certificate.masks.len() - 1;
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut rows: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for verdict in &certificate.verdicts {
        let key = (verdict.family.as_str(), verdict.of.as_str());
        let (fell, stayed, rose) = verdict.counts;
        let row = rows.entry(key).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        row.push(match verdict.verdict.as_str() {
            "tightens-by-theorem" => "by theorem".to_owned(),
            "loosened" => format!("loosened {rose}/{}", fell.saturating_add(stayed).saturating_add(rose)),
            other => plain(other),
        });
    }
    let mut text = "what pruning did to each bound; loosened a/b: a of b values rose in that step, which says nothing of the policy itself\n".to_owned();
    let narrow = steps <= 8;
    let mut table = table();
    let mut header = vec!["family".to_owned(), "of".to_owned()];
    header.extend((1..=steps).filter(|_| narrow).map(|step| format!("{} to {step}", step - 1)));
    if !narrow {
        header.extend(["by theorem", "tightened", "unchanged", "loosened"].map(str::to_owned));
    }
    table.set_header(header);
    let count = order.len();
    for (family, of) in order.into_iter().take(MAX_ROWS) {
        let cells = rows.remove(&(family, of)).unwrap_or_default();
        let mut row = vec![plain(family), plain(of)];
        if narrow {
            row.extend(cells.into_iter().take(steps));
        } else {
            let of_kind = |word: &str| cells.iter().filter(|cell| cell.starts_with(word)).count().to_string();
            row.extend(["by theorem", "tightened", "unchanged", "loosened"].map(of_kind));
        }
        table.add_row(row);
    }
    text.push_str(&format!("{table}\n"));
    if count > MAX_ROWS {
        text.push_str(&format!("{} more rows: --format json\n", count - MAX_ROWS));
    }
    text
}

fn loosened_lines(certificate: &Certificate) -> String {
    let mut text = String::new();
    let loosened = certificate.verdicts.iter().filter(|v| v.verdict == "loosened");
    for verdict in loosened.take(MAX_ROWS) {
        let (Some(at), Some(before), Some(after)) = (&verdict.at, &verdict.before, &verdict.after) else {
            continue;
        };
        let mut place = String::new();
        if let Some(state) = at.state {
            place.push_str(&format!(" at state {state}"));
        }
        if let Some(index) = at.index {
            place.push_str(&format!(
                " {} {index}",
                if verdict.of == "layer-norm" { "of layer" } else { "output" }
            ));
        }
        text.push_str(&format!(
            "loosened {} {} from mask {} to {}{place}: {} to {}\n",
            plain(&verdict.family),
            plain(&verdict.of),
            verdict.step.saturating_sub(1),
            verdict.step,
            short(before, Rounding::Down),
            short(after, Rounding::Up)
        ));
    }
    text
}

/// A number and its exact spelling, the first rounded outward.
pub fn both(value: &Rational, rounding: Rounding) -> Value {
    json!({"value": number(value, rounding), "exact": value.to_string()})
}

fn adversary_json(certificate: &Certificate) -> Value {
    let set = &certificate.perturbation;
    let (radius, radii) = match &set.shape {
        Perturbation::Linf { radius } | Perturbation::L2 { radius } => (Some(radius), None),
        Perturbation::PerCoordinate { radii } | Perturbation::Sensor(SensorSet { radii, .. }) => {
            (None, Some(radii))
        }
    };
    let mut document = json!({"shape": shape_word(&set.shape), "units": units_word(set.units),
           "radius": radius.map(|r| both(r, Rounding::Down)),
           "radii": radii.map(|radii| radii.iter().map(|r| both(r, Rounding::Down)).collect::<Vec<_>>())});
    if let Perturbation::Sensor(SensorSet { shared, limits, .. }) = &set.shape {
        let offset = |SharedOffset { radius, inputs }: &SharedOffset| json!({"radius": both(radius, Rounding::Down), "inputs": inputs});
        let limit = |InputLimit { input, lower, upper }: &InputLimit| json!({"input": input, "lower": both(lower, Rounding::Down), "upper": both(upper, Rounding::Up)});
        document["shared"] = json!(shared.iter().map(offset).collect::<Vec<_>>());
        document["limits"] = json!(limits.iter().map(limit).collect::<Vec<_>>());
    }
    document
}

/// The best bound of every quantity under a mask, and what an attack reaches.
fn answers_json(claims: &Claims<'_>, mask: usize) -> Value {
    let quantities = [Quantity::ActionDeviation, Quantity::TotalVariation, Quantity::Divergence];
    let entry = |quantity: Quantity| {
        let (most, least) = (claims.most(mask, quantity), claims.least(mask, quantity));
        if most.is_none() && least.is_none() {
            return None;
        }
        let family = most.as_ref().and_then(|bound| bound.family).map(|family| family.name());
        let document = json!({"words": quantity.words(), "family": family,
            "atMost": most.as_ref().map(|bound| both(&bound.value, Rounding::Up)),
            "everyState": most.as_ref().map(|bound| bound.everywhere),
            "attackAtLeast": least.map(|least| both(&least, Rounding::Down))});
        Some((quantity.name().to_owned(), document))
    };
    Value::Object(quantities.into_iter().filter_map(entry).collect())
}

/// Everything for programs: `result` says whether it was checked, which takes a [`Verified`].
pub fn verified_json(verified: &Verified) -> Value {
    let mut document = claims_json(verified.certificate(), Some(verified.facts()));
    document["result"] = json!("verified");
    document["verdict"] = json!(verdict(verified));
    document
}

/// The same of a certificate that was only read.
pub fn claimed_json(certificate: &Certificate) -> Value {
    claims_json(certificate, None)
}

fn claims_json(certificate: &Certificate, facts: Option<&Facts>) -> Value {
    // Every kind is below: `bounds` and `quantities`, `regions`, `regret`, `statistical`, `bracket`, `radius`. A new one is not
    // left out in silence.
    let ClaimLists { claims: _, counterexample: _, regions: _, regret: _, statistical: _, radius: _ } =
        certificate.lists();
    let (index, claims) = (Index::new(certificate), Claims::new(certificate, facts));
    let mut bounds: BTreeMap<usize, Map<String, Value>> = BTreeMap::new();
    for (mask, rank) in index.rows.keys() {
        let family = family_json(&index, (*mask, *rank));
        bounds.entry(*mask).or_default().insert(index.families[*rank].to_owned(), family);
    }
    let masks: Vec<Value> = certificate
        .masks
        .iter()
        .enumerate()
        .map(|(mask, record)| {
            json!({"name": record.name, "digest": record.digest, "pruned": record.pruned, "total": record.total,
                   "sparsity": record.pruned as f64 / record.total.max(1) as f64,
                   "quantities": answers_json(&claims, mask), "sameActionStates": claims.same_action(mask),
                   "bounds": bounds.remove(&mask).unwrap_or_default()})
        })
        .collect();
    let verdicts: Vec<Value> = certificate
        .verdicts
        .iter()
        .map(|v| {
            json!({"family": v.family, "of": v.of, "step": v.step, "verdict": v.verdict, "tightened": v.counts.0,
                   "unchanged": v.counts.1, "loosened": v.counts.2,
                   "state": v.at.as_ref().and_then(|a| a.state), "index": v.at.as_ref().and_then(|a| a.index),
                   "before": v.before.as_ref().map(ToString::to_string),
                   "after": v.after.as_ref().map(ToString::to_string)})
        })
        .collect();
    let file = |f: &secateur_checker::reader::certificate::FileDigest| json!({"role": f.role, "name": f.name, "sha256": f.sha256});
    let policy = facts.map(|facts| {
        json!({"digest": facts.policy_digest, "inputs": facts.inputs, "outputs": facts.outputs,
               "normaliser": facts.normaliser})
    });
    let states = certificate.inputs.iter().find(|f| f.role == "states").map(|f| f.sha256.clone());
    let named = claims.named_outputs(facts.and_then(|facts| facts.names.as_ref()));
    let named: Vec<Value> = named
        .iter()
        .map(|(named, bounds)| {
            let masks: Vec<Value> = bounds.iter().map(|(mask, bound)| {
            json!({"mask": mask, "atMost": both(&bound.value, Rounding::Up), "everyState": bound.everywhere})
        }).collect();
            json!({"name": named.name, "output": named.output, "unit": named.unit,
               "scale": named.scale.as_ref().map(|scale| both(scale, Rounding::Down)), "masks": masks})
        })
        .collect();
    let mut document = json!({"format": FORMAT, "kind": "certificate", "result": "unchecked", "outputs": named, "headline": headline(certificate, facts),
           "policy": policy, "weightsDigest": certificate.weights_digest, "head": certificate.head,
           "adversary": adversary_json(certificate), "perturbation": perturbation_words(certificate),
           "states": certificate.states, "statesInFile": facts.map(|facts| facts.rows),
           "stateUnits": units_word(certificate.state_units), "statesDigest": states,
           "subjects": certificate.subjects.iter().map(file).collect::<Vec<_>>(),
           "inputs": certificate.inputs.iter().map(file).collect::<Vec<_>>(), "masks": masks,
           "regions": regions_json(certificate), "regret": regret_json(certificate),
           "statistical": statistical_json(certificate), "verdicts": verdicts, "bracket": bracket_json(certificate),
           "assumptions": certificate.assumptions, "limits": certificate.limits,
           "required": facts.map(|facts| json!({"assumptions": facts.assumptions, "limits": facts.limits}))});
    if let Some(radius) = radius_json(certificate) {
        document["radius"] = radius;
    }
    document
}

/// Largest claim per quantity (least margin), as exact decimals.
fn family_json(index: &Index<'_>, row: (usize, usize)) -> Value {
    let entries = COLUMNS.iter().filter_map(|(quantity, _)| {
        let extreme = index.extreme(row, quantity)?;
        let rounding = if *quantity == "same-action-margin" { Rounding::Down } else { Rounding::Up };
        Some(((*quantity).to_owned(), json!(claim_decimal(&extreme, rounding))))
    });
    Value::Object(entries.collect())
}

/// What a property certificate claims, of which nothing was checked.
pub fn property_claims(
    certificate: &secateur_checker::reader::verdict::PropertyCertificate,
) -> (String, Value) {
    use secateur_checker::reader::verdict::Claimed;
    let (word, point) = match &certificate.claimed {
        Claimed::Unsat { .. } => ("unsat", None),
        Claimed::Sat { point, .. } => {
            ("sat", Some(point.iter().map(ToString::to_string).collect::<Vec<_>>()))
        }
    };
    let says =
        if point.is_some() { "an input satisfies the property" } else { "no input satisfies the property" };
    let mut all: Vec<Line> = vec![("claims", format!("{word}, unchecked: {says}"))];
    for file in certificate.subjects.iter().chain(&certificate.inputs) {
        all.push(("file", format!("{} {}, SHA-256 {}", quoted(&file.role), quoted(&file.name), file.sha256)));
    }
    if let Claimed::Sat { case, point } = &certificate.claimed {
        let shown =
            point.iter().take(16).map(secateur_checker::number::exactly).collect::<Vec<_>>().join(", ");
        let more = if point.len() > 16 { ", ..." } else { "" };
        all.push(("input", format!("of case {case}: {shown}{more}")));
    }
    for line in certificate.assumptions.iter().take(MAX_ROWS) {
        all.push(("signer", quoted(line)));
    }
    let file = |f: &secateur_checker::reader::certificate::FileDigest| json!({"role": f.role, "name": f.name, "sha256": f.sha256});
    let document = json!({"format": FORMAT, "kind": "property", "result": "unchecked", "claimed": word,
        "counterexample": point, "weightsDigest": certificate.weights_digest,
        "subjects": certificate.subjects.iter().map(file).collect::<Vec<_>>(),
        "inputs": certificate.inputs.iter().map(file).collect::<Vec<_>>(),
        "assumptions": certificate.assumptions});
    (text(&all), document)
}
