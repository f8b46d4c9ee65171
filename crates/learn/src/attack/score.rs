//! Returns of clean and attacked episodes, and intervals around their means. Untrusted; statistics, not proofs.
//! `spec/attacks.md#measurements`; percentile bootstrap: Efron 1979.

use serde::{Deserialize, Serialize};

use crate::attack::plan::{AttackError, AttackPlan};
use crate::decomposition::ActionMode;
use crate::float::policy::FloatPolicy;
use crate::float::rng::SeededRng;
use crate::progress::Progress;
use crate::rl::env::Environment;
use crate::rl::evaluate::{Adversary, EpisodePlan, run_episodes};

/// One episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EpisodeScore {
    /// Its number: equal numbers start in the same state, clean and attacked.
    pub episode: u64,
    /// Sum of rewards.
    #[serde(rename = "return")]
    pub total: f64,
    /// `sum g^k r_k`.
    pub discounted: f64,
    /// Steps.
    pub length: usize,
}

/// Episodes of one victim, clean and under one adversary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Name of the adversary that counted: of several, the one of lowest mean return on episodes of their own.
    pub adversary: String,
    /// Without it.
    pub clean: Vec<EpisodeScore>,
    /// With it, from the same starts.
    pub attacked: Vec<EpisodeScore>,
}

/// Mean undiscounted return.
pub fn mean(scores: &[EpisodeScore]) -> f64 {
    scores.iter().map(|score| score.total).sum::<f64>() / scores.len() as f64
}

/// A mean, its standard error and a 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation over the root of the count; 0 for fewer than two values.
    pub standard_error: f64,
    /// 2.5 % and 97.5 % percentiles of the bootstrapped mean.
    pub interval: [f64; 2],
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// Summary of values (at least one); the bootstrap draws from `seed`.
pub fn summarise(values: &[f64], seed: u64) -> Summary {
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let square: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    let standard_error = if count < 2 { 0.0 } else { (square / ((count - 1) * count) as f64).sqrt() };
    let mut rng = SeededRng::new(seed, 0);
    let mut resample = || (0..count).map(|_| values[rng.below(count)]).sum::<f64>() / count as f64;
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_unstable_by(f64::total_cmp);
    Summary { mean, standard_error, interval: [means[RESAMPLES / 40 - 1], means[RESAMPLES - RESAMPLES / 40]] }
}

/// Adds up discounted returns on the way, and passes everything on.
struct Recorder<'a, 'b> {
    inner: Option<&'a mut (dyn Adversary + 'a)>,
    discount: f64,
    weight: f64,
    sums: Vec<f64>,
    ended: usize,
    total: usize,
    phase: &'b str,
    progress: &'b dyn Progress,
}

impl Adversary for Recorder<'_, '_> {
    fn start(&mut self, episode: u64) {
        self.weight = 1.0;
        self.sums.push(0.0);
        if let Some(inner) = &mut self.inner {
            inner.start(episode);
        }
    }

    fn perturb(&mut self, policy: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        if let Some(inner) = &mut self.inner {
            inner.perturb(policy, unclipped, input);
        }
    }

    fn observe(&mut self, reward: f64, ended: bool) {
        if let Some(sum) = self.sums.last_mut() {
            *sum += self.weight * reward;
        }
        self.weight *= self.discount;
        if ended {
            self.ended += 1;
            self.progress.advance(self.phase, self.ended, self.total);
        }
        if let Some(inner) = &mut self.inner {
            inner.observe(reward, ended);
        }
    }
}

/// The episodes of a plan from one seed; a stop is heard before they begin.
pub(super) fn measure(
    (victim, environment): (&FloatPolicy, &mut dyn Environment),
    (plan, actions, seed): (&AttackPlan, ActionMode, u64),
    adversary: Option<&mut dyn Adversary>,
    phase: &str,
    progress: &dyn Progress,
) -> Result<Vec<EpisodeScore>, AttackError> {
    if progress.stopped() {
        return Err(AttackError::Stopped);
    }
    let deterministic = actions == ActionMode::Deterministic;
    let episodes = EpisodePlan { episodes: plan.episodes, seed, deterministic };
    let mut recorder = Recorder {
        inner: adversary,
        discount: plan.discount.value(),
        weight: 1.0,
        sums: Vec::new(),
        ended: 0,
        total: plan.episodes,
        phase,
        progress,
    };
    let found = run_episodes(victim, environment, episodes, Some(&mut recorder), &mut |_| {})?;
    let score = |(episode, (found, discounted)): (u64, (&crate::rl::rollout::Episode, &f64))| EpisodeScore {
        episode,
        total: found.episode_return,
        discounted: *discounted,
        length: found.length,
    };
    Ok((0..).zip(found.episodes.iter().zip(&recorder.sums)).map(score).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1, 2, 3, 6: mean 3, deviations -2, -1, 0, 3, so the variance of the mean is 14 / (3 * 4).
    #[test]
    fn summary_by_hand() {
        let found = summarise(&[1.0, 2.0, 3.0, 6.0], 1);
        assert_eq!(found.mean, 3.0);
        assert!((found.standard_error - (14.0f64 / 12.0).sqrt()).abs() < 1e-15);
        assert!(1.0 < found.interval[0] && found.interval[0] < 2.0, "{found:?}");
        assert!(4.0 < found.interval[1] && found.interval[1] < 6.0, "{found:?}");
        assert_eq!(summarise(&[2.5], 1), Summary { mean: 2.5, standard_error: 0.0, interval: [2.5, 2.5] });
    }

    /// Of a large sample the percentile interval is the normal one, mean +- 1.96 standard errors.
    #[test]
    fn intervals_of_many_values_are_normal() {
        let mut rng = SeededRng::new(3, 0);
        let values: Vec<f64> = (0..2000).map(|_| rng.normal()).collect();
        let found = summarise(&values, 1);
        for (end, sign) in found.interval.into_iter().zip([-1.0, 1.0]) {
            let expected = found.mean + sign * 1.96 * found.standard_error;
            assert!((end - expected).abs() < 0.2 * found.standard_error, "{found:?}");
        }
    }
}
