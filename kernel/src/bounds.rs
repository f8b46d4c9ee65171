//! What boxes, deviations and bounds on functionals say about the outputs' changes: rules `local.change`, `local.margin`,
//! `mono.envelope`, `float32.change`. Trusted. `spec/rules/local.md#localchange`.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::band::BandBounds;
use crate::fault::Fault;
use crate::head::OutputChange;
use crate::interval::{GridBox, Interval};
use crate::number::Rational;
use crate::softmax::{PolicyChange, Softmax};
use crate::wide::{AtLayer, Wide, zip_exact};

/// What a local family says at one state under one mask, on the value grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBounds {
    /// Upper bound on each output's absolute change.
    pub deviation: Vec<i64>,
    /// Upper bound on `max_i change_i - min_i change_i`.
    pub oscillation: i64,
    /// Lower bound on the least lead of the preferred output over another within the ball; `None` with one output.
    pub margin: Option<i64>,
    /// Upper bounds on `change_i - change_j`, a row for every `i`, until [`Self::known`] has used them; what stands on the
    /// diagonal is not read.
    pub gains: Vec<i64>,
    /// What they say of a softmax, where the clean one is known.
    pub policy: Option<PolicyChange>,
    /// What a family with a joint bound says of a Gaussian's squared standardised distance.
    pub distance: Option<Rational>,
}

/// The weights of a functional `sum weights_i * output_i`; an output's number and side if it is one output's.
pub type Asked = (Vec<i64>, Option<(usize, bool)>);

/// Which differences of two outputs are bounded beside the outputs themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differences {
    /// None.
    Without,
    /// Those that the margin needs: of every output to the one that leads, unless these leave open which output leads. The oscillation
    /// and the gains stay those of the outputs' box.
    Lead,
    /// All: the oscillation and the gains need them too.
    All,
}

/// Upper bounds of functionals, in their order.
pub(crate) type BoundsOf<'a> = dyn FnMut(&[Asked]) -> Result<Vec<i64>, Fault> + 'a;

impl StateBounds {
    /// Rule `local.change`, from a box that holds the unperturbed outputs and one that holds every perturbed output.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn from_box(center: &GridBox, region: &GridBox) -> Result<Self, Fault> {
        let changes = region.with(center, 0, |_, (lower, upper), (clean_lower, clean_upper)| {
            lower.checked_sub(clean_upper).zip(upper.checked_sub(clean_lower)).within(0)
        })?;
        let change = Self::from_change(&changes)?;
        let margin = margin(center, change.oscillation, |leader, other| {
            let (own, rival) = region.at(leader).zip(region.at(other)).shaped(0)?;
            own.0.checked_sub(rival.1).within(0)
        })?;
        Ok(Self { margin, ..change })
    }

    /// Rule `local.change`, from a box that holds the change itself, which has no unperturbed side and so no margin.
    ///
    /// # Errors
    /// [`Fault::Overflow`].
    pub fn from_change(change: &GridBox) -> Result<Self, Fault> {
        let largest = |(fall, rise): Interval| Some(rise.max(fall.checked_neg()?).max(0));
        let deviation = change.intervals().map(largest).collect::<Option<_>>().within(0)?;
        let oscillation = oscillation_of(change)?;
        let gains = gains_of(change, oscillation)?;
        Ok(Self { deviation, oscillation, margin: None, gains, policy: None, distance: None })
    }

    /// Rule `local.change`, from a symmetric deviation per output and, where there is one, a bound on the oscillation.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn from_deviation(
        center: &GridBox,
        deviation: Vec<i64>,
        oscillation: Option<i64>,
    ) -> Result<Self, Fault> {
        let both = zip_exact(center.intervals(), &deviation, 0)?;
        let changes = both.map(|(_, &d)| Some((d.checked_neg()?, d))).collect::<Option<Vec<_>>>();
        let changes = GridBox::from_intervals(changes.within(0)?);
        let own = oscillation_of(&changes)?;
        let oscillation = oscillation.map_or(own, |known| known.min(own));
        let margin = margin(center, oscillation, |leader, other| {
            let (own, rival) = center.at(leader).zip(center.at(other)).shaped(0)?;
            let (own_moves, rival_moves) = deviation.get(leader).zip(deviation.get(other)).shaped(0)?;
            (Wide::from(own.0) - rival.1 - *own_moves - *rival_moves).entry().within(0)
        })?;
        let gains = gains_of(&changes, oscillation)?;
        Ok(Self { deviation, oscillation, margin, gains, policy: None, distance: None })
    }

    /// Rule `hull.band` along a list of masks whose bands end at one mask: the bands are nested, so that what `wider` says
    /// of the band before holds for this one, and the least is taken.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn from_band(band: BandBounds, wider: Option<&Self>) -> Result<Self, Fault> {
        let BandBounds { center, mut deviation, mut oscillation } = band;
        if let Some(wider) = wider {
            deviation =
                zip_exact(deviation, &wider.deviation, 0)?.map(|(own, wide)| own.min(*wide)).collect();
            oscillation = oscillation.min(wider.oscillation);
        }
        Self::from_deviation(&center, deviation, Some(oscillation))
    }

    /// Rule `hull.band`, of the softmax: what `wider` says holds as well.
    #[must_use]
    pub fn within(mut self, wider: Option<&Self>) -> Self {
        let wider = wider.and_then(|wider| wider.policy.as_ref());
        if let Some((own, wider)) = self.policy.as_mut().zip(wider) {
            *own = own.with(wider, Ord::min);
        }
        self
    }

    /// Rule `local.change`, from upper bounds on functionals of the outputs: minus and plus each output (given with its
    /// number and side), then the differences of two, which correlate. The margin is the same with [`Differences::Lead`].
    ///
    /// # Errors
    /// Those of `bounds`; [`Fault::Overflow`].
    pub fn from_functionals(
        center: &GridBox,
        differences: Differences,
        bounds: &mut BoundsOf<'_>,
    ) -> Result<Self, Fault> {
        let outputs = center.len();
        let sides = (0..outputs).flat_map(|output| {
            let negative = (difference(outputs, None, Some(output)), Some((output, false)));
            [negative, (difference(outputs, Some(output), None), Some((output, true)))]
        });
        let mut found = bounds(&sides.collect::<Vec<_>>())?.into_iter();
        let mut region = Vec::with_capacity(outputs);
        for _ in 0..outputs {
            let (negative, positive) = found.next().zip(found.next()).shaped(0)?;
            region.push((negative.checked_neg().within(0)?, positive));
        }
        let mut state = Self::from_box(center, &GridBox::from_intervals(region))?;
        match differences {
            Differences::Without => {}
            Differences::Lead if state.lead(center, bounds)? => {}
            Differences::Lead | Differences::All => state.sharpen(center, bounds)?,
        }
        Ok(state)
    }

    /// The margin from bounds on the leader's differences, and whether more of them would make no other.
    fn lead(&mut self, center: &GridBox, bounds: &mut BoundsOf<'_>) -> Result<bool, Fault> {
        let outputs = center.len();
        let Some((leader, _)) = leader(center) else { return Ok(true) };
        let others = (0..outputs).filter(|other| *other != leader);
        let asked = others.map(|other| (difference(outputs, Some(other), Some(leader)), None));
        let mut gains = bounds(&asked.collect::<Vec<_>>())?.into_iter();
        let kept = margin(center, self.oscillation, |_, _| gains.next().shaped(0)?.checked_neg().within(0))?;
        self.margin = self.margin.max(kept);
        // Any output may lead iff there is no more than that it loses at most the oscillation.
        Ok(kept != self.oscillation.checked_neg())
    }

    /// Oscillation and margin from bounds on the differences of outputs.
    fn sharpen(&mut self, center: &GridBox, bounds: &mut BoundsOf<'_>) -> Result<(), Fault> {
        let outputs = center.len();
        let others = |first| (0..outputs).filter(move |second| *second != first);
        let pairs = (0..outputs).flat_map(|first| others(first).map(move |second| (first, second)));
        let asked = pairs.map(|(first, second)| (difference(outputs, Some(first), Some(second)), None));
        let mut found = bounds(&asked.collect::<Vec<_>>())?.into_iter();
        let mut oscillation = 0;
        let mut gains = BTreeMap::new();
        let mut drifts = self.gains.iter_mut();
        for (first, (first_lower, _)) in center.intervals().enumerate() {
            for (second, (_, second_upper)) in center.intervals().enumerate() {
                let drift = drifts.next().shaped(0)?;
                if second == first {
                    continue;
                }
                let gain = found.next().shaped(0)?;
                let clean = Wide::from(first_lower) - second_upper;
                let own = (Wide::from(gain) - clean).entry().within(0)?;
                (*drift, oscillation) = (own.min(*drift), oscillation.max(own));
                gains.insert((first, second), gain);
            }
        }
        self.oscillation = self.oscillation.min(oscillation);
        let kept = margin(center, self.oscillation, |leader, other| {
            gains.get(&(other, leader)).shaped(0)?.checked_neg().within(0)
        })?;
        self.margin = self.margin.max(kept);
        Ok(())
    }

    /// Rule `float32.change`: what binary32 inference makes of bounds over the reals, with one bound on its error per output.
    /// Both ends of a change are off by at most their output's error, a difference of two outputs by two of them. A lead
    /// that may be lost in binary32 no longer tells which output is preferred there: what is left is that some output is.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub fn widened(self, errors: &[i64]) -> Result<Self, Fault> {
        let largest = *errors.iter().max().shaped(0)?;
        let deviation = zip_exact(&self.deviation, errors, 0)?;
        let deviation = deviation.map(|(&own, &error)| (Wide::from(error) * 2i64 + own).entry());
        let oscillation = (Wide::from(largest) * 4i64 + self.oscillation).entry().within(0)?;
        let margin = match self.margin {
            Some(margin) => {
                let lead = (Wide::from(margin) - Wide::from(largest) * 2i64).entry().within(0)?;
                Some(if lead > 0 { lead } else { oscillation.checked_neg().within(0)? })
            }
            None => None,
        };
        let gains = self.gains.iter().map(|&gain| (Wide::from(largest) * 4i64 + gain).entry());
        let gains = gains.collect::<Option<_>>().within(0)?;
        let deviation = deviation.collect::<Option<_>>().within(0)?;
        Ok(Self { deviation, oscillation, margin, gains, policy: None, distance: None })
    }

    /// What the gains say of a softmax whose clean policy is `clean`; of another head nothing. They are used up.
    ///
    /// # Errors
    /// Those of [`Softmax::change`].
    pub fn known(self, clean: Option<&Softmax>) -> Result<Self, Fault> {
        let policy = clean.map(|clean| clean.change(&self.gains, self.oscillation)).transpose()?;
        Ok(Self { policy, gains: Vec::new(), ..self })
    }

    /// The numbers themselves, from the grid with `value_bits` fraction bits.
    pub fn exact(&self, value_bits: u32) -> (OutputChange, Option<Rational>) {
        let exact = |value: i64| Rational::on_grid(value, value_bits);
        let change = OutputChange {
            deviation: self.deviation.iter().map(|&d| exact(d)).collect(),
            oscillation: exact(self.oscillation),
            euclidean: None,
            policy: self.policy.clone(),
            distance: self.distance.clone(),
        };
        (change, self.margin.map(exact))
    }
}

/// Rule `mono.envelope`: per mask the worst of its own and all later masks' bounds.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if the masks have different numbers of outputs.
pub fn envelope(mut bounds: Vec<StateBounds>) -> Result<Vec<StateBounds>, Fault> {
    let mut worst: Option<StateBounds> = None;
    for state in bounds.iter_mut().rev() {
        if let Some(later) = worst {
            for (own, &other) in zip_exact(&mut state.deviation, &later.deviation, 0)? {
                *own = other.max(*own);
            }
            state.oscillation = state.oscillation.max(later.oscillation);
            state.policy =
                state.policy.take().zip(later.policy).map(|(own, later)| own.with(&later, Ord::max));
            // `None` is less than any margin: a mask without one leaves none to those before it.
            state.margin = state.margin.min(later.margin);
        }
        worst = Some(state.clone());
    }
    Ok(bounds)
}

/// The weights of `output_plus - output_minus`; of one alone where the other is `None`.
pub fn difference(outputs: usize, plus: Option<usize>, minus: Option<usize>) -> Vec<i64> {
    let mut weights = vec![0; outputs];
    for (at, weight) in weights.iter_mut().enumerate() {
        if plus == Some(at) {
            *weight = 1;
        }
        if minus == Some(at) {
            *weight = -1;
        }
    }
    weights
}

/// Rule `mono.head`: with what the softmax of any later mask may do as well.
///
/// A bound of its own would fall with the change but not with the mask, whose clean policy is another.
pub fn policies_of_later(mut bounds: Vec<StateBounds>) -> Vec<StateBounds> {
    let mut later: Option<PolicyChange> = None;
    for state in bounds.iter_mut().rev() {
        if let Some((own, later)) = state.policy.as_mut().zip(later) {
            *own = own.with(&later, Ord::max);
        }
        later = state.policy.clone();
    }
    bounds
}

/// Bounds of `change_i - change_j` from a box of changes and the oscillation.
fn gains_of(changes: &GridBox, oscillation: i64) -> Result<Vec<i64>, Fault> {
    let rows = changes.intervals().map(|(_, rise)| changes.intervals().map(move |(fall, _)| (rise, fall)));
    let gains = rows.flatten().map(|(rise, fall)| {
        let gain = (Wide::from(rise) - fall).get()?;
        i64::try_from(gain.min(oscillation.into())).ok()
    });
    gains.collect::<Option<_>>().within(0)
}

/// `max over i != j of rise_i - fall_j`, and at least 0.
fn oscillation_of(changes: &GridBox) -> Result<i64, Fault> {
    let mut largest = 0i64;
    for (i, (_, rise)) in changes.intervals().enumerate() {
        for (_, (fall, _)) in changes.intervals().enumerate().filter(|(j, _)| *j != i) {
            largest = largest.max(rise.checked_sub(fall).within(0)?);
        }
    }
    Ok(largest)
}

/// Rule `local.margin`: a lower bound, of either sign, on the lead of every output that is preferred at an unperturbed input.
///
/// `center` encloses the unperturbed outputs (of every mask and state spoken of), `oscillation` bounds the difference of two
/// outputs' changes, and `kept(p, j)` is below `y_p - y_j` at every perturbed and unperturbed input. `None` with one output.
///
/// # Errors
/// [`Fault::Overflow`].
pub fn margin(
    center: &GridBox,
    oscillation: i64,
    mut kept: impl FnMut(usize, usize) -> Result<i64, Fault>,
) -> Result<Option<i64>, Fault> {
    let Some((leader, own)) = leader(center) else { return Ok(None) };
    let mut leads = Vec::with_capacity(center.len());
    for (other, (_, upper)) in center.intervals().enumerate().filter(|(other, _)| *other != leader) {
        leads.push((own.checked_sub(upper).within(0)?, kept(leader, other)?));
    }
    let (clean, lead) = (leads.iter().map(|l| l.0).min(), leads.iter().map(|l| l.1).min());
    let Some((clean, lead)) = clean.zip(lead) else { return Ok(None) };
    // Whichever output is preferred leads by at least 0 unperturbed, and loses at most the oscillation.
    let any = clean.max(0).checked_sub(oscillation).within(0)?;
    // Above 0, either of the two says that the leader is the one preferred output throughout.
    Ok(Some(if clean > 0 || lead > 0 { any.max(lead) } else { any }))
}

/// Rule `local.margin` for a change that holds at all states: `center` encloses the unperturbed outputs at one of them, on the
/// grid with `value_bits` fraction bits. `None` with one output.
///
/// # Errors
/// [`Fault::ShapeMismatch`].
pub fn margin_of_change(
    center: &GridBox,
    value_bits: u32,
    change: &OutputChange,
) -> Result<Option<Rational>, Fault> {
    let pairs = zip_exact(center.intervals(), &change.deviation, 0)?.enumerate();
    let Some((leader, own)) = leader(center) else { return Ok(None) };
    let own = Rational::on_grid(own, value_bits);
    let moved = change.deviation.get(leader).shaped(0)?;
    let leads = pairs.filter(|(other, _)| *other != leader).map(|(_, ((_, upper), other))| {
        let clean = own.sub(&Rational::on_grid(upper, value_bits));
        let kept = clean.sub(moved).sub(other);
        (clean, kept)
    });
    let Some((clean, kept)) = leads.reduce(|(a, b), (c, d)| (a.min(c), b.min(d))) else { return Ok(None) };
    let any = clean.clone().max(Rational::zero()).sub(&change.oscillation);
    Ok(Some(if clean.is_positive() { any.max(kept) } else { any }))
}

/// The output with the largest lower end, the first of several, and that end.
fn leader(center: &GridBox) -> Option<(usize, i64)> {
    let ends = center.intervals().map(|(lower, _)| lower).enumerate();
    ends.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(pairs: &[(i64, i64)]) -> GridBox {
        GridBox::from_intervals(pairs.iter().copied())
    }

    const SHAPE: Fault = Fault::ShapeMismatch { layer: 0 };

    /// What is said beside the gains.
    fn said(state: &StateBounds) -> (&[i64], i64, Option<i64>) {
        (&state.deviation, state.oscillation, state.margin)
    }

    /// Clean outputs (10, 0), perturbed ones in `[5, 15] x [-10, 20]`: changes `[-5, 5]` and `[-10, 20]`. The second gains
    /// at most 20 + 5 on the first, the first 5 + 10 on it; the first leads by at least 5 - 20.
    #[test]
    fn changes_by_hand() {
        let bounds =
            StateBounds::from_box(&region(&[(10, 10), (0, 0)]), &region(&[(5, 15), (-10, 20)])).unwrap();
        assert_eq!(said(&bounds), (&[5, 20][..], 25, Some(-15)));
        assert_eq!(bounds.gains, [10, 15, 25, 25]);
        let bounds = StateBounds::from_deviation(&region(&[(10, 11), (0, 2)]), vec![3, 4], None).unwrap();
        assert_eq!(said(&bounds), (&[3, 4][..], 7, Some(10 - 2 - 7)));
        assert_eq!(bounds.gains, [6, 7, 7, 7]);
        let bounds = StateBounds::from_deviation(&region(&[(10, 11), (0, 2)]), vec![3, 4], Some(5)).unwrap();
        assert_eq!(bounds.gains, [5; 4]);
        let known = bounds.clone().known(None).unwrap();
        assert_eq!((said(&known), &known.policy, &known.gains), (said(&bounds), &None, &Vec::new()));
    }

    /// Errors 3 and 5: deviations grow by 6 and 10, the oscillation by 20, the margin falls by 10, and where that is not above
    /// 0 another output may be preferred.
    #[test]
    fn binary32_widens_deviation_oscillation_and_margin() {
        let state = |margin| StateBounds {
            deviation: vec![1, 2],
            oscillation: 7,
            margin: Some(margin),
            gains: vec![2, 7, 6, 4],
            policy: None,
            distance: None,
        };
        let wide = state(4).widened(&[3, 5]).unwrap();
        assert_eq!(said(&wide), (&[7, 12][..], 27, Some(-27)));
        assert_eq!(wide.gains, [22, 27, 26, 24]);
        for (margin, wide) in [(10, -27), (11, 1)] {
            assert_eq!(state(margin).widened(&[3, 5]).map(|s| s.margin), Ok(Some(wide)));
        }
        assert_eq!(state(4).widened(&[i64::MAX, 0]), Err(Fault::Overflow { layer: 0 }));
        for errors in [&[][..], &[3], &[3, 5, 7]] {
            assert_eq!(state(4).widened(errors), Err(SHAPE));
        }
    }

    /// A clean value known to `[10, 12]`: the perturbed `[9, 13]` may be 3 above it or 3 below.
    #[test]
    fn an_uncertain_clean_output_widens_the_change() {
        let bounds = StateBounds::from_box(&region(&[(10, 12)]), &region(&[(9, 13)])).unwrap();
        assert_eq!(said(&bounds), (&[3][..], 0, None));
        let overflow = Err(Fault::Overflow { layer: 0 });
        assert_eq!(StateBounds::from_box(&region(&[(i64::MIN, 0)]), &region(&[(0, i64::MAX)])), overflow);
    }

    /// Of equal outputs either is preferred, so that only the change counts: one may gain 3 on the other.
    #[test]
    fn ties_have_a_margin_of_minus_the_oscillation() {
        let tie = region(&[(7, 7), (7, 7), (3, 3)]);
        assert_eq!(StateBounds::from_box(&tie, &tie).unwrap().margin, Some(0));
        let moved = StateBounds::from_box(&tie, &region(&[(7, 7), (7, 10), (3, 3)])).unwrap();
        assert_eq!((moved.oscillation, moved.margin), (3, Some(-3)));
        assert_eq!(StateBounds::from_deviation(&tie, vec![1, 2, 0], None).unwrap().margin, Some(-3));
        assert_eq!(StateBounds::from_deviation(&tie, vec![1, 2, 0], Some(2)).unwrap().margin, Some(-2));
    }

    /// Clean outputs 1, 1/8 and 0 of a mask, 1, 4 1/8 and 4 of others (on eighths): no output leads, and two can part by 64.
    #[test]
    fn outputs_that_another_mask_prefers_count() {
        let center = region(&[(8, 8), (1, 33), (0, 32)]);
        let bounds = StateBounds::from_deviation(&center, vec![0, 32, 32], None).unwrap();
        assert_eq!((bounds.oscillation, bounds.margin), (64, Some(-64)));
    }

    /// The leader by 3 and 8: over the first it keeps at least -4, over the second -3; the oscillation 5 says 3 - 5.
    #[test]
    fn a_leader_keeps_the_better_of_two_bounds() {
        let center = region(&[(10, 10), (6, 7), (0, 2)]);
        let kept = |gain: i64| {
            move |leader: usize, other: usize| {
                assert_eq!(leader, 0);
                Ok(if other == 1 { gain } else { gain + 1 })
            }
        };
        assert_eq!(margin(&center, 5, kept(-4)), Ok(Some(-2)));
        assert_eq!(margin(&center, 9, kept(-4)), Ok(Some(-4)));
        let close = region(&[(10, 10), (6, 10), (0, 2)]);
        assert_eq!(margin(&close, 9, kept(-4)), Ok(Some(-9)));
        assert_eq!(margin(&close, 9, kept(2)), Ok(Some(2)));
        assert_eq!(margin(&close, 9, kept(0)), Ok(Some(-9)));
        assert_eq!(margin(&region(&[(1, 2)]), 0, kept(0)), Ok(None));
        assert_eq!(margin(&GridBox::default(), 0, kept(0)), Ok(None));
        let far = region(&[(i64::MAX, i64::MAX), (-2, -2)]);
        assert_eq!(margin(&far, 0, kept(0)), Err(Fault::Overflow { layer: 0 }));
        let lost = |_: usize, _: usize| Err(Fault::NoBand);
        assert_eq!(margin(&center, 0, lost), Err(Fault::NoBand));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Whatever is said of outputs and differences: the leader's alone make the margin that all make, and are asked for alone where
        /// it is known which output leads.
        #[test]
        fn the_lead_needs_no_other_differences(
            center in prop::collection::vec((-20..20i64, 0..4i64), 1..6),
            pool in prop::collection::vec(-30..30i64, 36),
        ) {
            let outputs = center.len();
            let center = GridBox::from_intervals(center.into_iter().map(|(lower, width)| (lower, lower + width)));
            let found = |differences| {
                let mut count = 0;
                let state = StateBounds::from_functionals(&center, differences, &mut |asked| {
                    count += asked.len();
                    let bound = |(weights, _): &Asked| {
                        let place = |weight| weights.iter().position(|w| *w == weight);
                        match (place(1), place(-1)) {
                            (Some(plus), Some(minus)) => pool[plus * 6 + minus],
                            // The least and greatest value, at both sides of the unperturbed.
                            (plus, minus) => 60 + pool[plus.or(minus).unwrap()],
                        }
                    };
                    Ok(asked.iter().map(bound).collect())
                });
                (state.unwrap().margin, count)
            };
            let ((lead, asked), (all, most)) = (found(Differences::Lead), found(Differences::All));
            prop_assert_eq!(lead, all);
            let clean = leader(&center).unwrap();
            let clear = center.intervals().enumerate().all(|(i, (_, upper))| i == clean.0 || upper < clean.1);
            prop_assert_eq!(most, 2 * outputs + outputs * (outputs - 1));
            if clear {
                prop_assert_eq!(asked, 3 * outputs - 1);
            }
        }
    }

    /// Outputs 7, 7 and 3 that move by 1, 2 and 5: in the tie either of two is preferred, and the second can fall by
    /// 2 + 5 - 4 behind the third, the oscillation 7 behind the first. With 8 in front, it keeps 8 - 7 - 1 - 2 and 8 - 3 - 1 - 5.
    #[test]
    fn a_tie_of_listed_outputs_leaves_the_oscillation() {
        let whole = |value: i64| Rational::from_integer(value.into());
        let deviation = [1, 2, 5].map(whole).to_vec();
        let change =
            OutputChange { deviation, oscillation: whole(7), euclidean: None, policy: None, distance: None };
        let found = |center: &GridBox| margin_of_change(center, 0, &change);
        let at = |outputs: [i64; 3]| found(&GridBox::from_intervals(outputs.into_iter().map(|o| (o, o))));
        assert_eq!(at([7, 7, 3]), Ok(Some(whole(-7))));
        assert_eq!(at([8, 7, 3]), Ok(Some(whole(-2))));
        assert_eq!(at([20, 7, 3]), Ok(Some(whole(10))));
        // One output closer than its enclosure is as good as a tie.
        assert_eq!(found(&region(&[(7, 8), (6, 7), (3, 3)])), Ok(Some(whole(-7))));
        assert_eq!(found(&region(&[(7, 8), (6, 7)])), Err(SHAPE));
        let one = OutputChange { deviation: vec![whole(1)], ..change.clone() };
        assert_eq!(margin_of_change(&region(&[(1, 1)]), 0, &one), Ok(None));
    }

    /// Masks (1, 2), (3, 1): the first takes the worse of both, the second keeps its own.
    #[test]
    fn an_envelope_takes_the_worst_of_the_later() {
        let state = |d: &[i64], oscillation, margin| StateBounds {
            deviation: d.to_vec(),
            oscillation,
            margin,
            gains: Vec::new(),
            policy: None,
            distance: None,
        };
        let found = envelope(vec![state(&[1, 2], 5, Some(4)), state(&[3, 1], 6, Some(7))]);
        assert_eq!(found, Ok(vec![state(&[3, 2], 6, Some(4)), state(&[3, 1], 6, Some(7))]));
        assert_eq!(envelope(vec![state(&[1], 0, None), state(&[3, 1], 6, None)]), Err(SHAPE));
    }

    /// Policies that move by 1/4, 1/8 and 1/5: the first is the worst of all, the second has the third after it; a mask
    /// without one says nothing of its own. Changes stay each mask's own.
    #[test]
    fn policies_of_later_masks_count() {
        let state = |deviation: i64, parts: Option<[i64; 2]>| StateBounds {
            deviation: vec![deviation],
            oscillation: deviation,
            margin: None,
            gains: Vec::new(),
            policy: parts.map(|[tv, kl]| PolicyChange {
                total_variation: Rational::one().div(&Rational::from_integer(tv.into())).unwrap(),
                divergence: Rational::one().div(&Rational::from_integer(kl.into())).unwrap(),
            }),
            distance: None,
        };
        let own = vec![state(3, Some([4, 9])), state(2, Some([8, 3])), state(1, Some([5, 5]))];
        let worst = vec![state(3, Some([4, 3])), state(2, Some([5, 3])), state(1, Some([5, 5]))];
        assert_eq!(policies_of_later(own.clone()), worst);
        let found = envelope(own.clone()).unwrap();
        assert!(found.iter().zip(&worst).all(|(found, worst)| found.policy == worst.policy));
        assert_eq!(policies_of_later(vec![state(3, None), state(2, None)])[0], state(3, None));
        // Of bands the least holds.
        let least = state(2, Some([8, 3])).within(Some(&own[0]));
        assert_eq!(least, state(2, Some([8, 9])));
        assert_eq!(state(2, Some([8, 3])).within(None), state(2, Some([8, 3])));
    }

    /// A wider band says 2 and 5 where the narrow one says 3 and 4, and 6 where it says 7.
    #[test]
    fn a_narrower_band_takes_the_least() {
        let band = || BandBounds { center: region(&[(9, 9), (0, 0)]), deviation: vec![3, 4], oscillation: 7 };
        let alone = StateBounds::from_band(band(), None).unwrap();
        assert_eq!(said(&alone), (&[3, 4][..], 7, Some(2)));
        let wider = StateBounds { deviation: vec![2, 5], oscillation: 6, margin: None, ..alone };
        let met = StateBounds::from_band(band(), Some(&wider)).unwrap();
        assert_eq!((said(&met), &met.gains[..]), ((&[2, 4][..], 6, Some(3)), &[4, 6, 6, 6][..]));
        let other = StateBounds { deviation: vec![2], ..wider };
        assert_eq!(StateBounds::from_band(band(), Some(&other)), Err(SHAPE));
    }

    #[test]
    fn boxes_of_other_shapes_are_refused() {
        assert_eq!(StateBounds::from_box(&region(&[(0, 0)]), &region(&[(0, 0), (1, 1)])), Err(SHAPE));
        assert_eq!(StateBounds::from_deviation(&region(&[(0, 0)]), vec![1, 2], None), Err(SHAPE));
    }
}
