//! Statistical claims on `F(theta)`: what the uppers at the listed states say by the rules `statistic.*`. They hold with a
//! confidence over the draw and are no proofs. Trusted. `spec/certificate-regret.md`.

use std::borrow::Cow;

use crate::claim::{Bound, Claim, Proofs, located};
use crate::kernel::fault::Fault;
use crate::kernel::regret::expectation;
use crate::kernel::statistic::{MAX_SAMPLES, Sample, Sampler, bernstein, hoeffding};
use crate::number::Rational;
use crate::reader::certificate::Certificate;
use crate::reader::regret::{Method, StatisticalClaim};
use crate::rejection::{Reason, Rejection};
use crate::sentences::{LIMIT_REGRET, LIMIT_STATISTICAL, statistical_assumptions};
use crate::table::Quantity;

/// Accepts iff all entries speak of one draw of all `rows` rows of the states file: one mask's clean policy visited the
/// listed states, and the confidence is split once, over at least as many inequalities as there are entries.
///
/// # Errors
/// [`Rejection`].
pub(crate) fn check_draw(certificate: &Certificate, rows: usize) -> Result<(), Rejection> {
    let claims = &certificate.statistical;
    let Some(first) = claims.first() else { return Ok(()) };
    if certificate.states != rows {
        return Err(Reason::RowsLeftOut { rows, states: certificate.states }.into());
    }
    let (entries, inequalities) = (claims.len(), first.confidence.inequalities);
    if u32::try_from(entries).map_or(true, |n| n > inequalities) {
        return Err(Reason::TooManyInequalities { entries, inequalities }.into());
    }
    for (position, claim) in claims.iter().enumerate() {
        let same = [
            ("mask", claim.mask == first.mask),
            ("sampling", claim.sampling == first.sampling),
            ("confidence", claim.confidence == first.confidence),
        ];
        if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
            return Err(located::<StatisticalClaim>(position, String::new())(Reason::OtherDraw { what }));
        }
    }
    Ok(())
}

impl StatisticalClaim {
    /// The bound on `F(theta)` by the claim's method.
    fn expected_total_variation(&self, proofs: &Proofs<'_>) -> Result<Rational, Reason> {
        let (name, accepted) = (self.sampling.sampler.as_str(), Sampler::INDEPENDENT_EPISODES);
        let sampler = Sampler::parse(name).ok_or_else(|| Reason::Sampler { name: name.into(), accepted })?;
        let table = proofs.adversary(&self.family)?;
        if !table.family.is_local() {
            return Err(Reason::NotLocal);
        }
        let uppers = table.values(proofs.head, Quantity::TotalVariation, self.mask, None)?;
        let (stated, states) = (self.sampling.samples, uppers.len());
        let (ended, cut_off) = (self.sampling.ended, self.sampling.cut_off);
        if states.checked_add(ended).and_then(|n| n.checked_add(cut_off)) != Some(stated) {
            return Err(Reason::SampleCount { stated, states, ended, cut_off });
        }
        // Before anything is allocated.
        if stated > MAX_SAMPLES {
            return Err(Fault::TooManySamples { samples: stated, most: MAX_SAMPLES }.into());
        }
        let mut samples: Vec<Sample> = uppers.into_iter().map(Sample::State).collect();
        samples.extend((0..ended).map(|_| Sample::Ended));
        samples.extend((0..cut_off).map(|_| Sample::CutOff));
        Ok(match self.method {
            Method::Hoeffding => hoeffding(sampler, &samples, &self.confidence)?,
            Method::Bernstein => bernstein(sampler, &samples, &self.confidence)?,
        })
    }
}

impl Claim for StatisticalClaim {
    const KIND: &'static str = "statistical claim";
    const PROVED: &'static str = "was found";

    fn about(&self) -> Vec<String> {
        vec![format!("{} {}", self.family, self.method.name())]
    }

    fn limits(claims: &[Self]) -> Result<Vec<&'static str>, Reason> {
        let regret = claims.iter().any(|c| c.regret.is_some());
        Ok(if regret { vec![LIMIT_REGRET, LIMIT_STATISTICAL] } else { vec![LIMIT_STATISTICAL] })
    }

    fn assumptions(&self, certificate: &Certificate) -> Vec<Cow<'static, str>> {
        statistical_assumptions(self, certificate.states).into_iter().map(Cow::Owned).collect()
    }

    fn stated(&self) -> Vec<Cow<'_, str>> {
        let lost = self.regret.iter().map(|regret| &regret.value);
        [&self.value].into_iter().chain(lost).map(Cow::from).collect()
    }

    fn part(&self, number: usize) -> String {
        if number == 0 { String::new() } else { ", regret".to_owned() }
    }

    fn prove(&self, _: usize, proofs: &mut Proofs<'_>) -> Result<Vec<Bound>, Reason> {
        if !proofs.head.is_distribution() {
            return Err(Reason::Deterministic);
        }
        let discount = &self.sampling.discount;
        if discount.is_negative() || *discount >= Rational::one() {
            return Err(Fault::DiscountOutOfRange { discount: Box::new(discount.clone()) }.into());
        }
        let bound = self.expected_total_variation(proofs)?;
        let mut proved = vec![Bound::AtMost(bound.clone())];
        if let Some(regret) = &self.regret {
            let ended = self.sampling.ended;
            if ended > 0 && !regret.rewards.episodes_can_end {
                return Err(Reason::EndedAlthoughNever { ended });
            }
            // From the bound found, not from the claim: a looser claim of F must not loosen what follows.
            proved.push(Bound::AtMost(expectation(&regret.rewards, discount, &bound)?));
        }
        Ok(proved)
    }
}
