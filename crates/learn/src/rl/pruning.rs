//! Pruning while training: when weights go, how many, and which. Masks only ever shrink. Untrusted: any mask is as good
//! as another to the checker. `spec/pruning.md#while-training`; Zhu and Gupta 2017, arXiv:1710.01878, for `cubic`.

use ndarray::Array2;
use num_bigint::BigInt;
use secateur_checker::number::Rational;
use serde::{Deserialize, Deserializer, Serialize};

use super::config::TrainConfig;
use crate::float::mlp::Mlp;
use crate::float::rng::SeededRng;
use crate::policy::emit::ChainOrigin;
use crate::policy::mask::{MaskData, MaskTable};
use crate::prune::{Scope, pruned_count};

/// One entry a weight of each layer, row-major, `true` = kept; empty if nothing is masked.
pub type Masks = Vec<Vec<bool>>;

/// What ranks the weights that are still kept; the lowest score goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PruneMethod {
    /// `|w|` at the time.
    Magnitude,
    /// One draw a weight from the run's seed, the same at every pruning.
    Random,
    /// `|w g|`, `g` the gradient of the policy's loss over the update's whole batch, at the weights after the update.
    Saliency,
}

impl PruneMethod {
    /// The word for it in settings and in `chain.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Random => "random",
            Self::Saliency => "saliency",
        }
    }
}

/// How sparsity grows between `start` and `end`; `t` runs from 0 to 1 and `s` is the final sparsity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneSchedule {
    /// `s` at once at `start`; `end` and `interval` do not count.
    OneShot,
    /// `s t`.
    Linear,
    /// `s (1 - (1 - t)^3)`.
    Cubic,
    /// `1 - (1 - s)^t`: every pruning takes the same fraction of what is left.
    Exponential,
}

impl PruneSchedule {
    /// The word for it in settings and in `chain.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneShot => "one-shot",
            Self::Linear => "linear",
            Self::Cubic => "cubic",
            Self::Exponential => "exponential",
        }
    }
}

/// Pruning while training. After `end` the run goes on with the mask fixed (fine-tuning); with `end = 1` it does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneConfig {
    /// What goes first.
    pub method: PruneMethod,
    /// Whether the fraction is counted in each layer or over all.
    pub scope: Scope,
    /// How sparsity grows.
    pub schedule: PruneSchedule,
    /// Fraction pruned in the end: a decimal or a fraction, read exactly.
    #[serde(deserialize_with = "number_or_text")]
    pub sparsity: String,
    /// Share of training done when pruning starts.
    pub start: f64,
    /// Share of training done when the final sparsity is reached.
    pub end: f64,
    /// Updates between prunings; 1 prunes a tiny fraction after every update (micro-pruning).
    pub interval: usize,
}

impl Default for PruneConfig {
    fn default() -> Self {
        Self {
            method: PruneMethod::Magnitude,
            scope: Scope::Layer,
            schedule: PruneSchedule::Cubic,
            sparsity: "0.5".to_owned(),
            start: 0.1,
            end: 0.75,
            interval: 1,
        }
    }
}

/// `0.9` and `"0.9"` are the same sparsity.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Whole(i64),
        Number(f64),
    }
    Ok(match Value::deserialize(deserializer)? {
        Value::Text(text) => text,
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
    })
}

impl PruneConfig {
    /// The final sparsity; `None` if it is no number in [0, 1].
    pub fn final_sparsity(&self) -> Option<Rational> {
        Rational::parse(&self.sparsity).ok().filter(|s| !s.is_negative() && *s <= Rational::one())
    }

    /// Updates done at the first and at the last pruning of a run of `updates`: `start` and `end` times `updates`, rounded
    /// to the nearest whole number, halves up.
    pub fn span(&self, updates: usize) -> (usize, usize) {
        let at = |share: f64| (share * updates as f64 + 0.5).floor() as usize;
        let first = at(self.start);
        (first, if self.schedule == PruneSchedule::OneShot { first } else { at(self.end).max(first) })
    }

    /// Whether weights are pruned once `done` of `updates` are done.
    pub fn is_due(&self, done: usize, updates: usize) -> bool {
        let (first, last) = self.span(updates);
        done == last || done > first && done < last && (done - first).is_multiple_of(self.interval.max(1))
    }

    /// Weights of a scope of `total` that are pruned once `done` of `updates` are done: the floor of the schedule's sparsity
    /// times `total`. Exact, but for `exponential` before its end, which is in `f64`.
    pub fn pruned_count(&self, done: usize, updates: usize, total: usize) -> usize {
        let (first, last) = self.span(updates);
        let Some(s) = self.final_sparsity().filter(|_| done >= first) else { return 0 };
        if done >= last {
            return pruned_count(&s, total);
        }
        let (over, under) = (BigInt::from(last - done), BigInt::from(last - first));
        let Ok(rest) = Rational::new(over, under) else { return 0 };
        let one = Rational::one();
        let now = match self.schedule {
            PruneSchedule::OneShot => s,
            PruneSchedule::Linear => s.mul(&one.sub(&rest)),
            PruneSchedule::Cubic => s.mul(&one.sub(&rest.mul(&rest).mul(&rest))),
            PruneSchedule::Exponential => {
                let t = (done - first) as f64 / (last - first) as f64;
                let now = 1.0 - (1.0 - self.sparsity_as_float()).powf(t);
                return ((now * total as f64).floor() as usize).min(pruned_count(&s, total));
            }
        };
        pruned_count(&now, total)
    }

    fn sparsity_as_float(&self) -> f64 {
        let part = |text: &str| text.trim().parse::<f64>().unwrap_or(0.0);
        match self.sparsity.split_once('/') {
            Some((over, under)) => part(over) / part(under),
            None => part(&self.sparsity),
        }
    }
}

/// Scores of all weights, shaped as [`Masks`]; `gradient` is asked for by `saliency` alone.
pub fn scores(
    method: PruneMethod,
    network: &Mlp,
    seed: u64,
    gradient: impl FnOnce() -> Mlp,
) -> Vec<Vec<f64>> {
    let layers = network.layers.iter().map(|layer| &layer.weight);
    let magnitudes = |weight: &Array2<f64>| weight.iter().map(|entry| entry.abs()).collect();
    match method {
        PruneMethod::Magnitude => layers.map(magnitudes).collect(),
        PruneMethod::Random => {
            let mut rng = SeededRng::new(seed, 3);
            layers.map(|weight| weight.iter().map(|_| rng.unit()).collect()).collect()
        }
        PruneMethod::Saliency => {
            let gradient = gradient();
            layers.zip(&gradient.layers).map(|(weight, g)| magnitudes(&(weight * &g.weight))).collect()
        }
    }
}

/// Prunes the lowest scores among the kept weights of each scope until `target(total)` of its `total` are pruned. Of equal
/// scores the one that comes later (layer, row, column) goes first. Never un-prunes.
pub fn shrink(masks: &mut Masks, scores: &[Vec<f64>], scope: Scope, target: impl Fn(usize) -> usize) {
    let groups: Vec<Vec<usize>> = match scope {
        Scope::Layer => (0..masks.len()).map(|layer| vec![layer]).collect(),
        Scope::Global => vec![(0..masks.len()).collect()],
    };
    for layers in groups {
        let total: usize = layers.iter().map(|layer| masks[*layer].len()).sum();
        let places = |layer: usize| (0..masks[layer].len()).map(move |place| (layer, place));
        let mut kept: Vec<(usize, usize)> = layers.iter().flat_map(|layer| places(*layer)).collect();
        kept.retain(|(layer, place)| masks[*layer][*place]);
        let more = target(total).saturating_sub(total - kept.len());
        kept.sort_by(|a, b| scores[a.0][a.1].total_cmp(&scores[b.0][b.1]).then(b.cmp(a)));
        for (layer, place) in kept.into_iter().take(more) {
            masks[layer][place] = false;
        }
    }
}

/// All weights kept.
pub fn all_kept(network: &Mlp) -> Masks {
    network.layers.iter().map(|layer| vec![true; layer.weight.len()]).collect()
}

/// Zeroes the weights whose mask is `false`.
pub fn apply_masks(masks: &[Vec<bool>], network: &mut Mlp) {
    for (layer, mask) in network.layers.iter_mut().zip(masks) {
        for (weight, kept) in layer.weight.iter_mut().zip(mask) {
            if !kept {
                *weight = 0.0;
            }
        }
    }
}

/// Weights pruned over all weights; 0 without masks.
pub fn sparsity(masks: &[Vec<bool>]) -> f64 {
    let total: usize = masks.iter().map(Vec::len).sum();
    let pruned = masks.iter().flatten().filter(|kept| !**kept).count();
    if total == 0 { 0.0 } else { pruned as f64 / total as f64 }
}

/// The masks as they are written, with their own exact sparsity.
pub fn mask_data(masks: &[Vec<bool>], network: &Mlp) -> MaskData {
    let table = |(layer, kept): (&crate::float::mlp::Dense, &Vec<bool>)| {
        let (rows, columns) = layer.weight.dim();
        MaskTable { fixed: false, rows, columns, kept: kept.clone() }
    };
    MaskData::with_own_sparsity(network.layers.iter().zip(masks).map(table).collect())
}

/// What `chain.json` says of a mask that a run with these settings ended with: `cubic magnitude while training`, or
/// `given while training` if the mask came from elsewhere and stayed.
pub fn chain_origin(config: &TrainConfig) -> ChainOrigin {
    let (method, scope) = match &config.prune {
        Some(prune) => (format!("{} {}", prune.schedule.name(), prune.method.name()), prune.scope.name()),
        None => ("given".to_owned(), "given"),
    };
    let method = format!("{method} while training");
    ChainOrigin { method, scope: scope.to_owned(), seed: config.seed.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::FloatActivation;
    use proptest::prelude::*;

    fn config(schedule: PruneSchedule, sparsity: &str) -> PruneConfig {
        PruneConfig { schedule, sparsity: sparsity.into(), start: 0.2, end: 0.6, ..PruneConfig::default() }
    }

    /// 20 updates, pruning from 4 to 12, so t = 1/2 after 8. Of 1000 weights at s = 0.96: linear 480;
    /// cubic 0.96 * 7/8 = 0.84; exponential 1 - sqrt(0.04) = 0.8.
    #[test]
    fn schedules_by_hand() {
        let count = |schedule, done| config(schedule, "0.96").pruned_count(done, 20, 1000);
        for schedule in [PruneSchedule::Linear, PruneSchedule::Cubic, PruneSchedule::Exponential] {
            assert_eq!((count(schedule, 3), count(schedule, 4)), (0, 0));
            assert_eq!((count(schedule, 12), count(schedule, 20)), (960, 960));
        }
        assert_eq!(count(PruneSchedule::Linear, 8), 480);
        assert_eq!(count(PruneSchedule::Cubic, 8), 840);
        assert!(
            (799..=800).contains(&count(PruneSchedule::Exponential, 8)),
            "0.2 and 0.8 are no binary numbers"
        );
        assert_eq!((count(PruneSchedule::OneShot, 3), count(PruneSchedule::OneShot, 4)), (0, 960));
    }

    /// Every third update after the fourth, and the last one.
    #[test]
    fn prunings_by_hand() {
        let gradual = PruneConfig { interval: 3, ..config(PruneSchedule::Linear, "0.5") };
        let due = |config: &PruneConfig| (0..=20).filter(|done| config.is_due(*done, 20)).collect::<Vec<_>>();
        assert_eq!(due(&gradual), [7, 10, 12]);
        assert_eq!(due(&config(PruneSchedule::OneShot, "0.5")), [4]);
        assert_eq!(due(&PruneConfig { interval: 1, ..gradual }), (5..=12).collect::<Vec<_>>());
    }

    /// Counts are exact: 0.29 of 100 is 29 and half of 0.58 of 100 too, though 0.29 * 100 < 29 in binary64.
    #[test]
    fn counts_are_exact() {
        assert_eq!(config(PruneSchedule::Linear, "0.58").pruned_count(8, 20, 100), 29);
        assert_eq!(config(PruneSchedule::Linear, "0.29").pruned_count(12, 20, 100), 29);
        assert_eq!(config(PruneSchedule::Linear, "2/3").pruned_count(12, 20, 3), 2);
    }

    /// Scores 1, 1, 0 and 2: two are to go: the 0, and of the ones the later.
    #[test]
    fn lowest_scores_go_first_and_later_of_equals() {
        let mut masks = vec![vec![true; 3], vec![true; 1]];
        shrink(&mut masks, &[vec![1.0, 1.0, 0.0], vec![2.0]], Scope::Global, |total| total / 2);
        assert_eq!(masks, [vec![true, false, false], vec![true]]);
        // What is pruned stays pruned, whatever its score becomes; each layer alone loses what it lacks.
        shrink(&mut masks, &[vec![0.0, 9.0, 9.0], vec![2.0]], Scope::Layer, |total| total.min(2));
        assert_eq!(masks, [vec![true, false, false], vec![false]]);
    }

    /// Weights 3, -1, 2 with gradients 0.1, 1, -0.2: scores 0.3, 1, 0.4.
    #[test]
    fn saliency_by_hand() {
        let mut network = Mlp::orthogonal(&[3, 1], FloatActivation::Tanh, 1.0, &mut SeededRng::new(1, 0));
        let mut gradient = network.zeros_like();
        network.layers[0].weight.iter_mut().zip([3.0, -1.0, 2.0]).for_each(|(entry, value)| *entry = value);
        gradient.layers[0].weight.iter_mut().zip([0.1, 1.0, -0.2]).for_each(|(entry, value)| *entry = value);
        let found = scores(PruneMethod::Saliency, &network, 0, || gradient);
        for (found, wanted) in found[0].iter().zip([0.3, 1.0, 0.4]) {
            assert!((found - wanted).abs() < 1e-15);
        }
    }

    proptest! {
        #[test]
        fn counts_never_fall_and_never_exceed_the_end(
            thousandths in 0usize..1000, kind in 0usize..4, total in 1usize..500, updates in 1usize..60,
        ) {
            let schedules =
                [PruneSchedule::OneShot, PruneSchedule::Linear, PruneSchedule::Cubic, PruneSchedule::Exponential];
            let config = config(schedules[kind], &format!("{thousandths}/1000"));
            let counts: Vec<usize> = (0..=updates).map(|done| config.pruned_count(done, updates, total)).collect();
            prop_assert!(counts.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!(counts[updates], thousandths * total / 1000);
        }
    }
}
