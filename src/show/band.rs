//! How far one can prune under a limit: the table of bands, and the sentence, which only a verified certificate can give. `spec/rules/band.md`.

use secateur_checker::check::Verified;
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::{Certificate, MaskRecord};
use serde_json::{Value, json};

use super::words::short;
use crate::certify::band::{BandLimit, BandQuantity, BandReach, proved_bands, widest};

fn end_words(to: BandEnd) -> String {
    match to {
        BandEnd::Mask(mask) => mask.to_string(),
        BandEnd::Zero => "zero".to_owned(),
    }
}

fn sparsity(record: &MaskRecord) -> String {
    format!("{:.1} %", 100.0 * record.pruned as f64 / record.total.max(1) as f64)
}

fn end_sparsity(certificate: &Certificate, to: BandEnd) -> String {
    match to {
        BandEnd::Mask(mask) => certificate.masks.get(mask).map(sparsity).unwrap_or_default(),
        BandEnd::Zero => {
            sparsity(&MaskRecord { name: String::new(), digest: String::new(), pruned: 1, total: 1 })
        }
    }
}

/// Median (the upper one of two), mean and largest of a list.
fn spread(values: &[Rational]) -> Option<[Rational; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort();
    let count = Rational::from_integer(sorted.len().into());
    let sum = sorted.iter().fold(Rational::zero(), |sum, value| sum.add(value));
    Some([sorted.get(sorted.len() / 2)?.clone(), sum.div(&count).ok()?, sorted.last()?.clone()])
}

/// The bands found from the loosest mask of interest, one row an end; those that the certificate claims are marked.
pub fn bands_text(certificate: &Certificate, reaches: &[BandReach]) -> String {
    let Some(first) = reaches.first() else { return String::new() };
    let with_tv = first.total_variation.is_some();
    let mut table = super::words::table();
    let mut header = vec!["down to mask", "sparsity"];
    if with_tv {
        header.extend(["median TV", "mean TV", "max TV"]);
    }
    header.extend(["max deviation", "claimed"]);
    table.set_header(header);
    for reach in reaches {
        let mut row = vec![end_words(reach.to), end_sparsity(certificate, reach.to)];
        if let Some(spread) = reach.total_variation.as_deref().and_then(spread) {
            row.extend(spread.iter().map(|value| short(value, Rounding::Up)));
        }
        row.push(reach.deviation.iter().max().map(|d| short(d, Rounding::Up)).unwrap_or_default());
        row.push(if is_claimed(certificate, reach) { "yes" } else { "found only" }.to_owned());
        table.add_row(row);
    }
    format!(
        "\nbands from mask {}: bounds for every mask in between, from any method, in any order; claimed: in the certificate, found only: not\n{table}\n",
        first.from
    )
}

fn is_claimed(certificate: &Certificate, reach: &BandReach) -> bool {
    let names = [Family::Band(reach.to).name(), Family::BandCrown(reach.to).name()];
    names.iter().all(|name| certificate.claims.iter().any(|c| c.family == *name && c.mask == reach.from))
}

/// What a verified certificate says about a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitAnswer {
    /// The widest band that keeps it.
    pub widest: Option<BandReach>,
    /// In words.
    pub sentence: String,
}

/// The widest band among those proved that keeps the limit. Only a [`Verified`] can say so.
pub fn answer(verified: &Verified, limit: &BandLimit) -> LimitAnswer {
    let certificate = verified.certificate();
    let mut proved = proved_bands(verified);
    let loosest = proved.first().map(|reach| reach.from);
    proved.retain(|reach| Some(reach.from) == loosest);
    let (what, states) = match limit.quantity {
        BandQuantity::TotalVariation => ("total variation", certificate.states),
        BandQuantity::Deviation => ("the deviation of every output", certificate.states),
    };
    let most = &limit.most;
    let percent = |mask: usize| certificate.masks.get(mask).map(sparsity).unwrap_or_default();
    if let Some(reach) = widest(&proved, limit) {
        let from = format!("mask {} ({})", reach.from, percent(reach.from));
        let sentence = match reach.to {
            BandEnd::Mask(mask) => format!(
                "proved: every mask between {from} and mask {mask} ({}) keeps {what} at most {most} at all {states} states",
                percent(mask)
            ),
            BandEnd::Zero => {
                format!("proved: every submask of {from} keeps {what} at most {most} at all {states} states")
            }
        };
        return LimitAnswer { widest: Some(reach.clone()), sentence };
    }
    let sentence = match proved.first().and_then(|r| Some((r, r.values(limit.quantity)?.iter().max()?))) {
        Some((reach, largest)) => format!(
            "no band from mask {} is proved to keep {what} at most {most} at all {states} states: down to mask {} the bound reaches {}",
            reach.from,
            end_words(reach.to),
            claim_decimal(largest, Rounding::Up)
        ),
        None => {
            format!("no band is claimed that could keep {what} at most {most}; certify with --band-limit")
        }
    };
    LimitAnswer { widest: None, sentence }
}

/// The answer for programs.
pub fn answer_json(limit: &BandLimit, answer: &LimitAnswer) -> Value {
    let quantity = match limit.quantity {
        BandQuantity::TotalVariation => "total-variation",
        BandQuantity::Deviation => "action-deviation",
    };
    let band = answer.widest.as_ref();
    json!({"quantity": quantity, "limit": limit.most.to_string(), "holds": band.is_some(),
           "from": band.map(|r| r.from), "to": band.map(|r| end_words(r.to)), "sentence": answer.sentence})
}

/// The bands found, for programs.
pub fn bands_json(certificate: &Certificate, reaches: &[BandReach]) -> Value {
    let decimal = |value: &Rational| claim_decimal(value, Rounding::Up);
    let rows = reaches.iter().map(|reach| {
        let tv = reach.total_variation.as_deref().and_then(spread);
        let tv = tv.map(|[median, mean, max]| json!({"median": decimal(&median), "mean": decimal(&mean), "max": decimal(&max)}));
        json!({"from": reach.from, "to": end_words(reach.to), "totalVariation": tv,
               "maxDeviation": reach.deviation.iter().max().map(decimal), "claimed": is_claimed(certificate, reach)})
    });
    Value::Array(rows.collect())
}

/// Adds the table of bands, if they were bounded, and what was proved about the limit, if there is one.
pub fn add_bands(
    (text, document): (&mut String, &mut Value),
    verified: &Verified,
    reaches: &[BandReach],
    limit: Option<&BandLimit>,
) {
    if !reaches.is_empty() {
        text.push_str(&bands_text(verified.certificate(), reaches));
        document["bands"] = bands_json(verified.certificate(), reaches);
    }
    if let Some(limit) = limit {
        let answer = answer(verified, limit);
        let gap = if text.ends_with('\n') { "" } else { "\n" };
        text.push_str(&format!("{gap}{}\n", answer.sentence));
        document["bandLimit"] = answer_json(limit, &answer);
    }
}
