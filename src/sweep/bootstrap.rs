//! Confidence intervals of means over training seeds and episodes. Untrusted; statistics, never proofs.
//! Two-level percentile bootstrap (Efron 1979; Davison and Hinkley 1997): `spec/sweep.md#intervals`.

use super::config::BootstrapConfig;
use crate::float::rng::SeededRng;

/// A resample: seeds drawn with replacement, and for each its episodes drawn with replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Position of a seed, and positions of its episodes.
    pub picks: Vec<(usize, Vec<usize>)>,
}

impl Draw {
    /// Every seed and every episode once: what the estimate itself is computed from.
    pub fn identity(seeds: usize, episodes: usize) -> Self {
        Self { picks: (0..seeds).map(|seed| (seed, (0..episodes).collect())).collect() }
    }

    /// Resample `number`. Depends on nothing else but the seed and the sizes, so that statistics of the same sizes use the
    /// same resamples and can be compared draw by draw.
    fn resample(seed: u64, number: u64, seeds: usize, episodes: usize) -> Self {
        let mut rng = SeededRng::new(seed, number);
        let mut pick = || (rng.below(seeds), (0..episodes).map(|_| rng.below(episodes)).collect());
        Self { picks: (0..seeds).map(|_| pick()).collect() }
    }

    /// Mean over the drawn seeds of `value(seed, episodes)`.
    pub fn mean(&self, value: impl Fn(usize, &[usize]) -> f64) -> f64 {
        let total: f64 = self.picks.iter().map(|(seed, episodes)| value(*seed, episodes)).sum();
        total / self.picks.len() as f64
    }
}

/// Mean of the drawn values.
pub fn mean_of(values: &[f64], episodes: &[usize]) -> f64 {
    episodes.iter().map(|episode| values[*episode]).sum::<f64>() / episodes.len() as f64
}

/// An estimate with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The same of a transformed quantity; `map` is increasing.
    #[must_use]
    pub fn map(self, map: impl Fn(f64) -> f64) -> Self {
        Self { mean: map(self.mean), low: map(self.low), high: map(self.high) }
    }
}

/// All resamples for these sizes.
pub fn draws(config: &BootstrapConfig, seeds: usize, episodes: usize) -> Vec<Draw> {
    let resample = |number| Draw::resample(config.seed, number, seeds, episodes);
    if seeds == 0 || episodes == 0 {
        Vec::new()
    } else {
        (0..config.resamples as u64).map(resample).collect()
    }
}

/// Estimate and percentile interval of a statistic; `None` without data.
///
/// The ends are the values of rank `floor(a B)` from below and from above among the `B` resamples, `a` half of what the
/// confidence leaves out.
pub fn interval(
    config: &BootstrapConfig,
    seeds: usize,
    episodes: usize,
    statistic: impl Fn(&Draw) -> f64,
) -> Option<Interval> {
    let mut values: Vec<f64> = draws(config, seeds, episodes).iter().map(&statistic).collect();
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f64::total_cmp);
    let outside = ((1.0 - config.confidence) / 2.0 * values.len() as f64).floor() as usize;
    let outside = outside.min(last / 2);
    let mean = statistic(&Draw::identity(seeds, episodes));
    Some(Interval { mean, low: values[outside], high: values[last - outside] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BootstrapConfig {
        BootstrapConfig { resamples: 4000, confidence: 0.95, seed: 7 }
    }

    fn of(strata: &[Vec<f64>]) -> Interval {
        let statistic = |draw: &Draw| draw.mean(|seed, episodes| mean_of(&strata[seed], episodes));
        interval(&config(), strata.len(), strata[0].len(), statistic).expect("data")
    }

    /// One seed: the interval of a plain mean. Of 400 draws of +1 and -1 the mean has deviation 1/20, so the interval is
    /// about 0 +- 0.098.
    #[test]
    fn one_seed_is_the_plain_bootstrap() {
        let values: Vec<f64> = (0..400).map(|index| if index % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let found = of(&[values]);
        assert_eq!(found.mean, 0.0);
        assert!((found.low + 0.098).abs() < 0.01 && (found.high - 0.098).abs() < 0.01, "{found:?}");
    }

    /// Seeds 0, 1 and 2 without spread inside: the mean of three draws is one of 0, 1/3, ..., 2; P(0) = 1/27 = 3.7 % is more
    /// than the 2.5 % left out on each side, so the interval is [0, 2].
    #[test]
    fn seeds_are_resampled_too() {
        let found = of(&[vec![0.0; 5], vec![1.0; 5], vec![2.0; 5]]);
        assert_eq!(found, Interval { mean: 1.0, low: 0.0, high: 2.0 });
    }

    #[test]
    fn equal_values_have_an_interval_of_one_point_and_no_data_none() {
        assert_eq!(of(&[vec![3.5; 4], vec![3.5; 4]]), Interval { mean: 3.5, low: 3.5, high: 3.5 });
        assert_eq!(interval(&config(), 0, 5, |_| 0.0), None);
    }

    #[test]
    fn a_seed_gives_the_same_resamples() {
        assert_eq!(draws(&config(), 3, 4), draws(&config(), 3, 4));
        let other = BootstrapConfig { seed: 8, ..config() };
        assert_ne!(draws(&config(), 3, 4), draws(&other, 3, 4));
    }
}
