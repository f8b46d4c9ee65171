//! Conditions on a configuration. Untrusted. `spec/sweep.md#configuration`.

use std::collections::BTreeSet;

use secateur_checker::family::Family;
use secateur_checker::number::Rational;

use super::{MaskMethod, SweepConfig, SweepConfigError, VariantConfig, exact};
use crate::certify::trees::MAX_BRANCH_STEPS;

fn distinct<T: Ord + ToString>(name: &'static str, list: &[T]) -> Result<(), SweepConfigError> {
    let mut seen = BTreeSet::new();
    match list.iter().find(|entry| !seen.insert(*entry)) {
        Some(entry) => Err(SweepConfigError::Twice { name, entry: entry.to_string() }),
        None => Ok(()),
    }
}

impl SweepConfig {
    /// # Errors
    /// The first condition that fails.
    pub(super) fn check(&self) -> Result<(), SweepConfigError> {
        let names = |list: &[VariantConfig]| list.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
        let ids: Vec<String> = self.environments.iter().map(|e| e.id.clone()).collect();
        let plain = |name: &String| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let discount = exact("discount", &self.discount)?;
        let sparsities = self.fractions()?;
        let confidence = self.bootstrap.confidence;
        let rows = [
            (!self.seeds.is_empty(), "seeds", "a list of at least one seed"),
            (!ids.is_empty(), "environment", "given at least once"),
            (!self.variants.is_empty(), "variant", "given at least once, or left out"),
            (names(&self.variants).iter().all(plain), "variant.name", "letters, digits, - and _"),
            (
                self.variants.first().is_none_or(|v| v.environments.is_none()),
                "the first variant",
                "one of all environments: scores are normalised by it",
            ),
            (self.episodes > 0, "episodes", "at least 1"),
            (sparsities.first().is_some_and(Rational::is_zero), "sparsities", "increasing from 0"),
            (sparsities.windows(2).all(|pair| pair[0] < pair[1]), "sparsities", "increasing from 0"),
            (sparsities.last().is_some_and(|last| *last <= Rational::one()), "sparsities", "at most 1"),
            (!discount.is_negative() && discount < Rational::one(), "discount", "at least 0 and below 1"),
            (
                (1..=MAX_BRANCH_STEPS).contains(&self.branch_steps),
                "branch-steps",
                "at least 1 and no more than `secateur certify` takes",
            ),
            (self.bootstrap.resamples >= 100, "bootstrap.resamples", "at least 100"),
            (confidence > 0.0 && confidence < 1.0, "bootstrap.confidence", "between 0 and 1"),
            (
                self.families.iter().all(|name| Family::parse(name).is_some()),
                "families",
                "names of families, as `secateur certify --family` takes them",
            ),
        ];
        if let Some((_, name, must)) = rows.into_iter().find(|(holds, ..)| !holds) {
            return Err(SweepConfigError::Range { name, must });
        }
        distinct("seeds", &self.seeds)?;
        distinct("environment", &ids)?;
        distinct("variant", &names(&self.variants))?;
        for environment in &self.environments {
            environment.radius()?;
            environment.rewards()?;
        }
        let prunes = |variant: &&VariantConfig| variant.pruned_in_training;
        if self.variants.iter().any(|v| prunes(&v)) && self.prune.method != MaskMethod::Magnitude {
            // The masks of a policy pruned in training are its zeros, which only this order prunes first.
            let must = "magnitude beside a variant that is pruned in training";
            return Err(SweepConfigError::Range { name: "prune.method", must });
        }
        self.check_filters(&ids, &names(&self.variants))
    }

    fn check_filters(&self, ids: &[String], variants: &[String]) -> Result<(), SweepConfigError> {
        let within = |place: String, list: Option<&Vec<String>>, known: &[String]| match list
            .into_iter()
            .flatten()
            .find(|entry| !known.contains(entry))
        {
            Some(entry) => Err(SweepConfigError::Unknown { place, entry: entry.clone() }),
            None => Ok(()),
        };
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        for variant in &self.variants {
            let place = format!("environments of variant {:?}", variant.name);
            within(place, variant.environments.as_ref(), ids)?;
        }
        for attack in &self.attacks {
            let place = |what: &str| format!("{what} of attack {:?}", attack.kind);
            within(place("environments"), attack.environments.as_ref(), ids)?;
            within(place("variants"), attack.variants.as_ref(), variants)?;
            within(place("sparsities"), attack.sparsities.as_ref(), &self.sparsities)?;
            let chosen: Option<Vec<String>> =
                attack.seeds.as_ref().map(|seeds| seeds.iter().map(u64::to_string).collect());
            within(place("seeds"), chosen.as_ref(), &seeds)?;
        }
        Ok(())
    }

    fn fractions(&self) -> Result<Vec<Rational>, SweepConfigError> {
        self.sparsities.iter().map(|text| exact("sparsities", text)).collect()
    }
}
