//! A family's values under every mask, what they say about the policy, and how they move along the chain.
//! Trusted. `spec/rules/local.md#heads`, `spec/rules/mono.md`.

use crate::family::Family;
use crate::kernel::head::{HeadBounds, OutputChange};
use crate::number::{Rational, Rounding};
use crate::reader::certificate::StepVerdict;
use crate::reader::counterexample::Place;
use crate::reader::escaped::Escaped;
use crate::rejection::Reason;

/// What a claim bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// `|f_i(perturbed) - f_i(state)|` of one output, from above.
    ActionDeviation,
    /// Total variation between clean and perturbed action distribution, from above.
    TotalVariation,
    /// Kullback-Leibler divergence between them, from above.
    Divergence,
    /// Least lead of the preferred output over another within the ball, from below; the action cannot change if it is
    /// above 0.
    SameActionMargin,
}

impl Quantity {
    /// Every quantity with its name in certificates.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::ActionDeviation, "action-deviation"),
        (Self::TotalVariation, "total-variation"),
        (Self::Divergence, "kl-divergence"),
        (Self::SameActionMargin, "same-action-margin"),
    ];

    /// The quantity with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(quantity, _)| *quantity)
    }

    /// The quantity's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(quantity, _)| *quantity == self).map_or("", |(_, name)| name)
    }

    /// The quantity in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ActionDeviation => "change of any output",
            Self::TotalVariation => "total variation",
            Self::Divergence => "KL divergence",
            Self::SameActionMargin => "same-action margin",
        }
    }

    /// The words of the quantity with this name; a name that no checker knows in quotes.
    pub(crate) fn words_of(name: &str) -> String {
        Self::parse(name).map_or_else(|| Escaped(name).to_string(), |known| known.words().to_owned())
    }

    /// Which way a claim of it is rounded, and which way it may be wrong harmlessly.
    pub fn rounding(self) -> Rounding {
        if self == Self::SameActionMargin { Rounding::Down } else { Rounding::Up }
    }
}

/// One mask's values: one entry for all states, or one per state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskTable {
    /// Output changes; one for a global family, else one per state.
    pub changes: Vec<OutputChange>,
    /// Same-action margins, one per state; `None` with a single output.
    pub margins: Vec<Option<Rational>>,
    /// Per-layer norms, for the norm families.
    pub layer_norms: Vec<Rational>,
    /// Their product with the activations' Lipschitz constants.
    pub product: Option<Rational>,
}

/// What is compared of a mask's values.
type Values = fn(&MaskTable) -> Vec<&Rational>;

/// A family's values under every mask of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyTable {
    /// The family.
    pub family: Family,
    /// One entry per mask.
    pub masks: Vec<MaskTable>,
}

impl FamilyTable {
    /// The exact bounds on `quantity` under mask `mask`.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn values(
        &self,
        head: &HeadBounds,
        quantity: Quantity,
        mask: usize,
        output: Option<usize>,
    ) -> Result<Vec<Rational>, Reason> {
        let table = self.masks.get(mask).ok_or(Reason::NoMask)?;
        if output.is_some() != (quantity == Quantity::ActionDeviation) {
            return Err(Reason::NoOutput);
        }
        let each = |value: &dyn Fn(&OutputChange) -> Result<Rational, Reason>| {
            table.changes.iter().map(value).collect::<Result<Vec<_>, _>>()
        };
        match quantity {
            Quantity::ActionDeviation => {
                let output = output.ok_or(Reason::NoOutput)?;
                each(&|change| change.deviation.get(output).cloned().ok_or(Reason::NoOutput))
            }
            Quantity::TotalVariation | Quantity::Divergence if !head.is_distribution() => {
                Err(Reason::NotForThisHead)
            }
            Quantity::TotalVariation => each(&|change| Ok(head.total_variation(change)?)),
            Quantity::Divergence => each(&|change| Ok(head.divergence(change)?)),
            Quantity::SameActionMargin if head.is_gaussian() => Err(Reason::NotForThisHead),
            Quantity::SameActionMargin => {
                table.margins.iter().cloned().collect::<Option<_>>().ok_or(Reason::NotForThisHead)
            }
        }
    }

    /// The verdicts of every step of the chain, by exact value, before any transcendental function.
    ///
    /// # Errors
    /// The step at which a family that is monotone by theorem rose: a contradiction, never a property of a policy.
    pub fn verdicts(&self) -> Result<Vec<StepVerdict>, Reason> {
        let mut verdicts = Vec::new();
        let steps = self.masks.iter().zip(self.masks.iter().skip(1)).enumerate();
        for (index, (before, after)) in steps {
            let step = index.saturating_add(1);
            let outputs = before.changes.first().map_or(0, |c| c.deviation.len()).max(1);
            let local = self.family.is_local();
            let moved = |i: usize| Place {
                state: local.then(|| i.checked_div(outputs)).flatten(),
                index: i.checked_rem(outputs),
            };
            let compared: [(_, Values, &dyn Fn(usize) -> Place); 3] = [
                (
                    "action-deviation",
                    |t| t.changes.iter().flat_map(|change| &change.deviation).collect(),
                    &moved,
                ),
                ("layer-norm", |t| t.layer_norms.iter().collect(), &|i| Place {
                    state: None,
                    index: Some(i),
                }),
                ("product", |t| t.product.iter().collect(), &|_| Place { state: None, index: None }),
            ];
            // Only the norm families have the last two.
            let kinds = if before.layer_norms.is_empty() { 1 } else { compared.len() };
            for (of, values, place) in compared.into_iter().take(kinds) {
                verdicts.push(self.compare((of, step), values(before), values(after), place)?);
            }
        }
        Ok(verdicts)
    }

    fn compare(
        &self,
        (of, step): (&str, usize),
        before: Vec<&Rational>,
        after: Vec<&Rational>,
        place: &dyn Fn(usize) -> Place,
    ) -> Result<StepVerdict, Reason> {
        if before.len() != after.len() {
            return Err(Reason::Length { stated: after.len(), expected: before.len() });
        }
        let (mut fell, mut stayed, mut rose) = (0usize, 0usize, 0usize);
        // The largest rise, or else the largest fall.
        let mut extreme: Option<(Rational, usize, &Rational, &Rational)> = None;
        for (index, (old, new)) in before.into_iter().zip(after).enumerate() {
            if old == new {
                stayed = stayed.saturating_add(1);
                continue;
            }
            let change = new.sub(old);
            if change.is_positive() {
                rose = rose.saturating_add(1);
            } else {
                fell = fell.saturating_add(1);
            }
            let better = match &extreme {
                None => true,
                Some((best, ..)) if best.is_positive() => change > *best,
                Some((best, ..)) => change.is_positive() || change < *best,
            };
            if better {
                extreme = Some((change, index, old, new));
            }
        }
        let verdict = match (self.family.is_monotone(), rose, fell) {
            (true, 0, _) => "tightens-by-theorem",
            (true, ..) => return Err(Reason::Theorem { family: self.family.name(), step }),
            (false, 0, 0) => "unchanged",
            (false, 0, _) => "tightened",
            (false, ..) => "loosened",
        };
        Ok(StepVerdict {
            family: self.family.name(),
            of: of.to_owned(),
            step,
            verdict: verdict.to_owned(),
            counts: (fell, stayed, rose),
            at: extreme.as_ref().map(|(_, index, ..)| place(*index)),
            before: extreme.as_ref().map(|(_, _, old, _)| (*old).clone()),
            after: extreme.as_ref().map(|(_, _, _, new)| (*new).clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(family: Family, values: &[&[&str]]) -> FamilyTable {
        let r = |text: &&str| Rational::parse(text).unwrap();
        let mask = |deviation: &&[&str]| {
            let deviation: Vec<Rational> = deviation.iter().map(r).collect();
            let change = OutputChange::from_deviation(deviation);
            MaskTable { changes: vec![change], ..MaskTable::default() }
        };
        FamilyTable { family, masks: values.iter().map(mask).collect() }
    }

    /// Steps (1, 2) -> (1, 1) -> (1, 1) -> (1/3, 3): one fell, none moved, one fell and one rose by 2, the extreme.
    #[test]
    fn verdicts_compare_exact_values() {
        let rows: [&[&str]; 4] = [&["1", "2"], &["1", "1"], &["1", "1"], &["1/3", "3"]];
        let verdicts = table(Family::Ibp, &rows).verdicts().unwrap();
        let words: Vec<_> = verdicts.iter().map(|v| (v.verdict.as_str(), v.counts)).collect();
        assert_eq!(words, [("tightened", (1, 1, 0)), ("unchanged", (0, 2, 0)), ("loosened", (1, 0, 1))]);
        assert_eq!(verdicts[0].at, Some(Place { state: Some(0), index: Some(1) }));
        assert_eq!(verdicts[1].at, None);
        assert_eq!((verdicts[2].before.clone(), verdicts[2].after.clone()), {
            let r = |text| Some(Rational::parse(text).unwrap());
            (r("1"), r("3"))
        });
        let falling: [&[&str]; 3] = [&["2"], &["1"], &["1"]];
        for family in [Family::Sensitivity, Family::NormAbsSpectral, Family::ChainHull] {
            let verdicts = table(family, &falling).verdicts().unwrap();
            assert!(verdicts.iter().all(|v| v.verdict == "tightens-by-theorem"));
        }
    }

    /// What is not compared is not tightened.
    #[test]
    fn tables_of_other_lengths_are_refused() {
        let rows: [&[&str]; 2] = [&["1", "2"], &["1"]];
        let refused = Err(Reason::Length { stated: 1, expected: 2 });
        assert_eq!(table(Family::Ibp, &rows).verdicts(), refused);
    }

    /// A rise of 10^-30 is a rise.
    #[test]
    fn a_theorem_that_fails_is_refused() {
        let rows: [&[&str]; 3] = [&["1"], &["1"], &["1.000000000000000000000000000001"]];
        for family in Family::ALL {
            let found = table(family, &rows).verdicts();
            if family.is_monotone() {
                assert_eq!(found, Err(Reason::Theorem { family: family.name(), step: 2 }));
            } else {
                assert_eq!(found.unwrap()[1].verdict, "loosened");
            }
        }
    }
}
