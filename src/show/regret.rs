//! The regret and statistical claims of a certificate, for people and for programs.

use comfy_table::Table;
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::number::{Rational, Rounding, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::escaped::Escaped;
use secateur_checker::reader::regret::{RegretClaim, RegretForm, StatisticalClaim};
use serde_json::{Value, json};

use super::words::{plain, short};

/// The tables, each with what it says above it; empty without such claims.
pub fn regret_text(certificate: &Certificate) -> String {
    let mut text = String::new();
    if !certificate.regret.is_empty() {
        text.push_str("\nvalue an adversary can take, at most (under the assumptions below)\n");
        text.push_str(&format!("{}\n", regret_table(certificate)));
    }
    if let Some(first) = certificate.statistical.first() {
        text.push_str(&draw_words(first));
        text.push_str(&format!("{}\n", statistical_table(certificate)));
    }
    text
}

/// A bound as the certificate states it, rounded outward.
fn stated(text: &str) -> String {
    Rational::parse(text).map_or_else(|_| "no number".to_owned(), |value| short(&value, Rounding::Up))
}

fn table(header: &[&str]) -> Table {
    let mut table = super::words::table();
    table.set_header(header);
    table
}

fn return_words(form: &RegretForm) -> String {
    match form {
        RegretForm::Sup { discount } | RegretForm::Expectation { discount } => format!("discount {discount}"),
        RegretForm::Horizon { steps } => format!("{steps} steps"),
    }
}

fn reward_words(rewards: &RewardRange) -> String {
    let end = if rewards.episodes_can_end { "or ended" } else { "never ends" };
    format!("[{}, {}], {end}", rewards.lower, rewards.upper)
}

/// What any policy can lose, whatever its total variation; a claim near it says nothing.
fn most(claim: &RegretClaim) -> Option<Rational> {
    let spread = claim.rewards.spread().ok()?;
    match &claim.form {
        RegretForm::Sup { discount } | RegretForm::Expectation { discount } => {
            spread.div(&Rational::one().sub(discount)).ok()
        }
        RegretForm::Horizon { steps } => Some(spread.mul(&Rational::from_integer((*steps).into()))),
    }
}

fn regret_table(certificate: &Certificate) -> Table {
    let header = ["mask", "family", "rule", "return", "rewards", "regret", "of at most", "holds for"];
    let mut table = table(&header);
    for claim in &certificate.regret {
        table.add_row([
            claim.mask.to_string(),
            plain(&claim.family),
            format!("regret.{}", claim.form.name()),
            return_words(&claim.form),
            reward_words(&claim.rewards),
            stated(&claim.value),
            most(claim).map_or_else(String::new, |m| claim_decimal(&m, Rounding::Up)),
            claim.region.name().to_owned(),
        ]);
    }
    table
}

fn draw_words(claim: &StatisticalClaim) -> String {
    let (sampling, confidence) = (&claim.sampling, &claim.confidence);
    format!(
        "\nexpected total variation under the discounted visitation of mask {}: STATISTICAL, no proof\n\
         {} samples by {} with discount {}: {} ended, {} cut off\n\
         confidence {} for all of it together, split over {} masks with {} inequalities each\n",
        claim.mask,
        sampling.samples,
        Escaped(&sampling.sampler),
        sampling.discount,
        sampling.ended,
        sampling.cut_off,
        confidence.level,
        confidence.masks,
        confidence.inequalities
    )
}

fn statistical_table(certificate: &Certificate) -> Table {
    let mut table = table(&["family", "inequality", "F(theta) at most", "rewards", "regret at most"]);
    for claim in &certificate.statistical {
        let regret = claim.regret.as_ref();
        table.add_row([
            plain(&claim.family),
            claim.method.name().to_owned(),
            stated(&claim.value),
            regret.map(|r| reward_words(&r.rewards)).unwrap_or_default(),
            regret.map(|r| stated(&r.value)).unwrap_or_default(),
        ]);
    }
    table
}

fn rewards_json(rewards: &RewardRange) -> Value {
    json!({"lower": rewards.lower.to_string(), "upper": rewards.upper.to_string(),
           "episodesCanEnd": rewards.episodes_can_end})
}

/// The regret claims.
pub fn regret_json(certificate: &Certificate) -> Value {
    let claims = certificate.regret.iter().map(|claim| {
        let (discount, horizon) = match &claim.form {
            RegretForm::Sup { discount } | RegretForm::Expectation { discount } => {
                (Some(discount.to_string()), None)
            }
            RegretForm::Horizon { steps } => (None, Some(steps)),
        };
        json!({"mask": claim.mask, "family": claim.family, "form": claim.form.name(), "discount": discount,
               "horizon": horizon, "rewards": rewards_json(&claim.rewards), "region": claim.region.name(),
               "value": claim.value})
    });
    Value::Array(claims.collect())
}

/// The statistical claims.
pub fn statistical_json(certificate: &Certificate) -> Value {
    let claims = certificate.statistical.iter().map(|claim| {
        let (sampling, confidence) = (&claim.sampling, &claim.confidence);
        let regret = claim.regret.as_ref();
        json!({"kind": "statistical", "mask": claim.mask, "family": claim.family, "method": claim.method.name(),
               "sampler": sampling.sampler, "discount": sampling.discount.to_string(), "samples": sampling.samples,
               "ended": sampling.ended, "cutOff": sampling.cut_off, "confidence": confidence.level.to_string(),
               "masks": confidence.masks, "inequalities": confidence.inequalities, "value": claim.value,
               "regret": regret.map(|r| json!({"rewards": rewards_json(&r.rewards), "value": r.value}))})
    });
    Value::Array(claims.collect())
}
