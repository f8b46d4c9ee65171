//! A certificate in a few lines: what it claims per mask and family, and how the families moved along the chain.

use comfy_table::Table;
use secateur_checker::model::Perturbation;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::{Certificate, Claim};
use secateur_checker::reader::escaped::Escaped;
use serde_json::{Value, json};

use super::bracket::{bracket_json, bracket_text};
use super::regions::{regions_json, regions_text};
use super::regret::{regret_json, regret_text, statistical_json};
use super::words::{plain, short, table};
use crate::certify::emit::units_word;

/// What each quantity's column shows of its values.
const COLUMNS: [(&str, &str); 4] = [
    ("action-deviation", "max deviation"),
    ("total-variation", "total variation"),
    ("kl-divergence", "KL"),
    ("same-action-margin", "same action"),
];

/// The families in the order they appear.
fn families(certificate: &Certificate) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for claim in &certificate.claims {
        if !names.contains(&claim.family.as_str()) {
            names.push(&claim.family);
        }
    }
    names
}

fn of<'a>(certificate: &'a Certificate, family: &str, mask: usize, quantity: &str) -> Vec<&'a Claim> {
    let claims = certificate.claims.iter();
    claims.filter(|c| c.family == family && c.mask == mask && c.quantity == quantity).collect()
}

fn numbers(claims: &[&Claim]) -> Vec<Rational> {
    claims.iter().flat_map(|c| c.values.iter()).filter_map(|v| Rational::parse(v).ok()).collect()
}

fn cell(certificate: &Certificate, family: &str, mask: usize, quantity: &str) -> String {
    let claims = of(certificate, family, mask, quantity);
    let mut values = numbers(&claims);
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
    let set = &certificate.perturbation;
    let units = units_word(set.units);
    match &set.shape {
        Perturbation::Linf { radius } => format!("l_inf ball of radius {radius}, {units} units"),
        Perturbation::L2 { radius } => format!("l_2 ball of radius {radius}, {units} units"),
        Perturbation::PerCoordinate { radii } => format!("box with {} radii, {units} units", radii.len()),
    }
}

/// The table and the lists, for people.
pub fn summary_text(certificate: &Certificate) -> String {
    let mut text = format!(
        "policy       weights {}, {} head\nadversary    {}\nstates       {}\nmasks        {}\n",
        certificate.weights_digest,
        Escaped(&certificate.head),
        perturbation_words(certificate),
        certificate.states,
        certificate.masks.len()
    );
    text.push_str(&format!("{}\n", claims_table(certificate)));
    if certificate.masks.len() > 1 {
        text.push_str(&format!("{}\n", verdict_table(certificate)));
        text.push_str(&loosened_lines(certificate));
    }
    text.push_str(&bracket_text(certificate));
    text.push_str(&regions_text(certificate));
    text.push_str(&regret_text(certificate));
    for (word, lines) in [("assumes", &certificate.assumptions), ("limit", &certificate.limits)] {
        for line in lines {
            text.push_str(&format!("{word:<8} {}\n", plain(line)));
        }
    }
    text
}

fn claims_table(certificate: &Certificate) -> Table {
    let mut table = table();
    let present: Vec<&(&str, &str)> =
        COLUMNS.iter().filter(|(q, _)| certificate.claims.iter().any(|c| c.quantity == *q)).collect();
    let mut header = vec!["mask".to_owned(), "sparsity".to_owned(), "family".to_owned()];
    header.extend(present.iter().map(|(_, title)| (*title).to_owned()));
    table.set_header(header);
    for (mask, record) in certificate.masks.iter().enumerate() {
        let sparsity = 100.0 * record.pruned as f64 / (record.total.max(1)) as f64;
        for family in families(certificate) {
            // A band has no bound outside it.
            if !certificate.claims.iter().any(|c| c.family == family && c.mask == mask) {
                continue;
            }
            let mut row = vec![mask.to_string(), format!("{sparsity:.1} %"), plain(family)];
            row.extend(present.iter().map(|(quantity, _)| cell(certificate, family, mask, quantity)));
            table.add_row(row);
        }
    }
    table
}

fn verdict_table(certificate: &Certificate) -> Table {
    let mut table = table();
    let mut header = vec!["family".to_owned(), "of".to_owned()];
    header.extend((1..certificate.masks.len()).map(|step| format!("{} to {step}", step - 1)));
    table.set_header(header);
    let mut rows: Vec<(String, String)> = Vec::new();
    for verdict in &certificate.verdicts {
        let key = (verdict.family.clone(), verdict.of.clone());
        if !rows.contains(&key) {
            rows.push(key);
        }
    }
    for (family, of) in rows {
        let mut row = vec![plain(&family), plain(&of)];
        for verdict in certificate.verdicts.iter().filter(|v| v.family == family && v.of == of) {
            let (fell, stayed, rose) = verdict.counts;
            row.push(match verdict.verdict.as_str() {
                "tightens-by-theorem" => "by theorem".to_owned(),
                "loosened" => format!("loosened {rose}/{}", fell + stayed + rose),
                other => plain(other),
            });
        }
        table.add_row(row);
    }
    table
}

fn loosened_lines(certificate: &Certificate) -> String {
    let mut text = String::new();
    for verdict in certificate.verdicts.iter().filter(|v| v.verdict == "loosened") {
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

/// The same for programs.
pub fn summary_json(certificate: &Certificate, result: &str) -> Value {
    let masks: Vec<Value> = certificate
        .masks
        .iter()
        .enumerate()
        .map(|(mask, record)| {
            let bounds: serde_json::Map<String, Value> =
                families(certificate).into_iter().map(|f| (f.to_owned(), family_json(certificate, f, mask))).collect();
            json!({"name": record.name, "digest": record.digest, "pruned": record.pruned, "total": record.total,
                   "bounds": bounds})
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
    json!({"result": result, "weightsDigest": certificate.weights_digest, "head": certificate.head,
           "perturbation": perturbation_words(certificate), "states": certificate.states, "masks": masks,
           "regions": regions_json(certificate), "regret": regret_json(certificate),
           "statistical": statistical_json(certificate), "verdicts": verdicts, "bracket": bracket_json(certificate),
           "assumptions": certificate.assumptions, "limits": certificate.limits})
}

/// Largest claim per quantity (least margin), as exact decimals.
fn family_json(certificate: &Certificate, family: &str, mask: usize) -> Value {
    let entries = COLUMNS.iter().filter_map(|(quantity, _)| {
        let values = numbers(&of(certificate, family, mask, quantity));
        let (extreme, rounding) = match *quantity {
            "same-action-margin" => (values.into_iter().min()?, Rounding::Down),
            _ => (values.into_iter().max()?, Rounding::Up),
        };
        Some(((*quantity).to_owned(), json!(claim_decimal(&extreme, rounding))))
    });
    Value::Object(entries.collect())
}
