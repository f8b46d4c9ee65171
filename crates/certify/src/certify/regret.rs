//! Regret and statistical claims: what is asked for, the claims made of the checker's own bounds, and their JSON.
//! Untrusted: the finished certificate is checked. `spec/certificate-regret.md`.

use std::collections::BTreeMap;

use secateur_checker::claim::regret::{region_of, regret_bound};
use secateur_checker::claim::{Bound, Claim as _, Proofs};
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::kernel::statistic::Confidence;
use secateur_checker::model::Head;
use secateur_checker::number::{Rational, claim_decimal};
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::json::Value;
use secateur_checker::reader::regret::{
    ExpectedRegret, Method, RegretClaim, RegretForm, Sampling, StatisticalClaim,
};
use secateur_checker::rejection::Reason;
use secateur_checker::table::{FamilyTable, Quantity};

/// Which regret claims to make, for every family and mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegretRequest {
    /// Rules and returns.
    pub forms: Vec<RegretForm>,
    /// Rewards of the environment; needed with a form, and for regret that follows from `statistical`.
    pub rewards: Option<RewardRange>,
    /// How the states were drawn, if they were drawn for a statistical claim.
    pub statistical: Option<StatisticalRequest>,
}

/// A draw of states by independent episodes of one mask's clean policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticalRequest {
    /// Position of that mask in the chain, from 0.
    pub mask: usize,
    /// The draw.
    pub sampling: Sampling,
    /// Probability with which all claims that share it hold together.
    pub level: Rational,
    /// Number of masks, each with a certificate of its own, that share the level.
    pub masks: u32,
}

/// Why no regret claim can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegretClaimError {
    /// The head is deterministic.
    #[error(
        "the head is deterministic: its total variation is 0 or 1 and bounds no regret; leave out the regret and sampling options"
    )]
    Deterministic,
    /// No reward range beside a form.
    #[error("a regret claim needs the range of the rewards")]
    NoRewards,
    /// The mask of the draw does not exist.
    #[error("the states were drawn under mask {mask}, the chain has {masks} masks")]
    NoMask {
        /// The mask.
        mask: usize,
        /// Number of masks.
        masks: usize,
    },
    /// No local family beside a draw.
    #[error("a statistical claim averages a local family; add one, such as ibp or crown")]
    NoLocalFamily,
    /// A rule refused.
    #[error("{0}")]
    Rule(Fault),
    /// A family has no total variation.
    #[error("{family}: {reason}")]
    NoTotalVariation {
        /// The family.
        family: String,
        /// Why.
        reason: Reason,
    },
    /// The draw was refused.
    #[error("{0}")]
    Statistical(Reason),
}

impl RegretRequest {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty() && self.statistical.is_none()
    }

    /// Whether the rules take these numbers and this head, before anything is bounded.
    ///
    /// # Errors
    /// [`RegretClaimError`].
    pub fn validate(&self, head: &Head) -> Result<(), RegretClaimError> {
        if self.is_empty() {
            return Ok(());
        }
        if *head == Head::Deterministic {
            return Err(RegretClaimError::Deterministic);
        }
        if let Some(rewards) = &self.rewards {
            rewards.spread().map_err(RegretClaimError::Rule)?;
        }
        for form in &self.forms {
            let rewards = self.rewards.as_ref().ok_or(RegretClaimError::NoRewards)?;
            regret_bound(form, rewards, &Rational::zero()).map_err(RegretClaimError::Rule)?;
        }
        Ok(())
    }
}

/// Adds the claims asked for to `certificate`.
///
/// # Errors
/// [`RegretClaimError`].
pub fn add_regret(
    certificate: &mut Certificate,
    request: &RegretRequest,
    proofs: &mut Proofs<'_>,
) -> Result<(), RegretClaimError> {
    if request.is_empty() {
        return Ok(());
    }
    if !proofs.head.is_distribution() {
        return Err(RegretClaimError::Deterministic);
    }
    if !request.forms.is_empty() {
        let rewards = request.rewards.as_ref().ok_or(RegretClaimError::NoRewards)?;
        let claimed = |family: &str, mask| has_total_variation(certificate, family, mask);
        certificate.regret = regret_claims(&request.forms, rewards, proofs, &claimed)?;
    }
    if let Some(draw) = &request.statistical {
        let masks = certificate.masks.len();
        if draw.mask >= masks {
            return Err(RegretClaimError::NoMask { mask: draw.mask, masks });
        }
        certificate.statistical = statistical_claims(draw, request.rewards.as_ref(), proofs)?;
    }
    Ok(())
}

/// The decimal that follows from a bound.
fn decimal(bound: &Bound) -> String {
    claim_decimal(bound.value(), bound.rounding())
}

/// Whether the certificate claims the total variation of a family under a mask: a band has it for its own masks only.
fn has_total_variation(certificate: &Certificate, family: &str, mask: usize) -> bool {
    let name = Quantity::TotalVariation.name();
    certificate.claims.iter().any(|c| c.family == family && c.mask == mask && c.quantity == name)
}

fn regret_claims(
    forms: &[RegretForm],
    rewards: &RewardRange,
    proofs: &mut Proofs<'_>,
    claimed: &dyn Fn(&str, usize) -> bool,
) -> Result<Vec<RegretClaim>, RegretClaimError> {
    let mut claims = Vec::new();
    for table in proofs.tables.iter().filter(|t| t.family.bounds_adversary()) {
        let family = table.family.name();
        for mask in (0..table.masks.len()).filter(|mask| claimed(&family, *mask)) {
            for form in forms {
                let mut claim = RegretClaim {
                    family: family.clone(),
                    mask,
                    form: form.clone(),
                    rewards: rewards.clone(),
                    region: region_of(table.family),
                    value: String::new(),
                };
                let failed = |reason| RegretClaimError::NoTotalVariation { family: family.clone(), reason };
                claim.value = claim.prove(0, proofs).map_err(failed)?.iter().map(decimal).collect();
                claims.push(claim);
            }
        }
    }
    Ok(claims)
}

/// Both inequalities for every local family; the confidence is split over all of them.
fn statistical_claims(
    draw: &StatisticalRequest,
    rewards: Option<&RewardRange>,
    proofs: &mut Proofs<'_>,
) -> Result<Vec<StatisticalClaim>, RegretClaimError> {
    let usable =
        |t: &&FamilyTable| t.family.is_local() && t.family.bounds_adversary() && draw.mask < t.masks.len();
    let local: Vec<&FamilyTable> = proofs.tables.iter().filter(usable).collect();
    if local.is_empty() {
        return Err(RegretClaimError::NoLocalFamily);
    }
    let inequalities = u32::try_from(2 * local.len()).unwrap_or(u32::MAX);
    let confidence = Confidence { level: draw.level.clone(), masks: draw.masks, inequalities };
    let mut claims = Vec::new();
    for table in local {
        for method in [Method::Hoeffding, Method::Bernstein] {
            let mut claim = StatisticalClaim {
                family: table.family.name().to_owned(),
                mask: draw.mask,
                sampling: draw.sampling.clone(),
                confidence: confidence.clone(),
                method,
                value: String::new(),
                regret: rewards
                    .map(|rewards| ExpectedRegret { rewards: rewards.clone(), value: String::new() }),
            };
            let proved = claim.prove(0, proofs).map_err(RegretClaimError::Statistical)?;
            let mut values = proved.iter().map(decimal);
            claim.value = values.next().unwrap_or_default();
            if let (Some(regret), Some(value)) = (&mut claim.regret, values.next()) {
                regret.value = value;
            }
            claims.push(claim);
        }
    }
    Ok(claims)
}

type Object = BTreeMap<String, Value>;

fn put(object: &mut Object, key: &str, value: impl ToString) {
    object.insert(key.to_owned(), Value::String(value.to_string()));
}

fn put_rewards(object: &mut Object, rewards: &RewardRange) {
    let mut range = Object::new();
    put(&mut range, "lower", &rewards.lower);
    put(&mut range, "upper", &rewards.upper);
    object.insert("rewardRange".to_owned(), Value::Object(range));
    object.insert("episodesCanEnd".to_owned(), Value::Bool(rewards.episodes_can_end));
}

/// The predicate's optional members `regret` and `statistical`.
pub(crate) fn emit_regret(
    regret: &[RegretClaim],
    statistical: &[StatisticalClaim],
) -> impl Iterator<Item = (String, Value)> + use<> {
    let regret: Vec<Value> = regret.iter().map(emit_claim).collect();
    let statistical: Vec<Value> = statistical.iter().map(emit_statistical).collect();
    [("regret", regret), ("statistical", statistical)]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(key, list)| (key.to_owned(), Value::Array(list)))
}

fn emit_claim(claim: &RegretClaim) -> Value {
    let mut object = Object::new();
    put(&mut object, "family", &claim.family);
    put(&mut object, "mask", claim.mask);
    put(&mut object, "form", claim.form.name());
    match &claim.form {
        RegretForm::Sup { discount } | RegretForm::Expectation { discount } => {
            put(&mut object, "discount", discount);
        }
        RegretForm::Horizon { steps } => put(&mut object, "horizon", steps),
    }
    put_rewards(&mut object, &claim.rewards);
    put(&mut object, "region", claim.region.name());
    put(&mut object, "value", &claim.value);
    Value::Object(object)
}

fn emit_statistical(claim: &StatisticalClaim) -> Value {
    let mut object = Object::new();
    put(&mut object, "kind", "statistical");
    put(&mut object, "family", &claim.family);
    put(&mut object, "mask", claim.mask);
    put(&mut object, "sampler", &claim.sampling.sampler);
    put(&mut object, "discount", &claim.sampling.discount);
    put(&mut object, "samples", claim.sampling.samples);
    put(&mut object, "ended", claim.sampling.ended);
    put(&mut object, "cutOff", claim.sampling.cut_off);
    put(&mut object, "confidence", &claim.confidence.level);
    put(&mut object, "masks", claim.confidence.masks);
    put(&mut object, "inequalities", claim.confidence.inequalities);
    put(&mut object, "method", claim.method.name());
    put(&mut object, "value", &claim.value);
    if let Some(regret) = &claim.regret {
        let mut lost = Object::new();
        put_rewards(&mut lost, &regret.rewards);
        put(&mut lost, "value", &regret.value);
        object.insert("regret".to_owned(), Value::Object(lost));
    }
    Value::Object(object)
}
