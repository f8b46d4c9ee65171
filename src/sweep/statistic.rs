//! What the tables say of a grid: means, worst attacks, scores, each with its interval. Untrusted.
//! `spec/sweep.md#definitions`.

use std::collections::BTreeMap;

use super::bootstrap::{Draw, Interval, interval, mean_of};
use super::config::BootstrapConfig;
use super::gather::{BySeed, Grid, Group, MaskResults};
use super::job::Episodes;
use crate::attack::plan::AttackKind;
use crate::attack::score::EpisodeScore;
use crate::decomposition::ActionMode;

/// Which return of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnKind {
    /// Sum of rewards.
    Total,
    /// Sum of discounted rewards.
    Discounted,
}

impl ReturnKind {
    fn of(self, score: &EpisodeScore) -> f64 {
        match self {
            Self::Total => score.total,
            Self::Discounted => score.discounted,
        }
    }
}

/// How actions were chosen and which return is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// How actions were chosen.
    pub actions: ActionMode,
    /// Which return.
    pub returns: ReturnKind,
}

/// Returns of each seed's episodes.
pub type Strata = Vec<Vec<f64>>;

impl View {
    /// Returns by seed.
    pub fn strata(self, episodes: &BySeed<Episodes>) -> Strata {
        episodes.values().map(|episodes| self.values(episodes)).collect()
    }

    fn values(self, episodes: &Episodes) -> Vec<f64> {
        episodes.of(self.actions).iter().map(|score| self.returns.of(score)).collect()
    }
}

/// Mean of the seeds' means.
pub fn mean(strata: &Strata) -> Option<f64> {
    let (seeds, episodes) = sizes(strata)?;
    Some(draw_mean(strata, &Draw::identity(seeds, episodes)))
}

fn sizes(strata: &Strata) -> Option<(usize, usize)> {
    Some((strata.len(), strata.iter().map(Vec::len).min().filter(|count| *count > 0)?))
}

fn draw_mean(strata: &Strata, draw: &Draw) -> f64 {
    draw.mean(|seed, episodes| mean_of(&strata[seed], episodes))
}

/// The mean with its interval.
pub fn mean_interval(config: &BootstrapConfig, strata: &Strata) -> Option<Interval> {
    let (seeds, episodes) = sizes(strata)?;
    interval(config, seeds, episodes, |draw| draw_mean(strata, draw))
}

/// Returns under several attacks on the same seeds: for each seed, the strata of the attacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Attacked {
    /// `[attack][seed][episode]`.
    returns: Vec<Strata>,
}

impl Attacked {
    /// The seeds on which all of `kinds` were run; `None` without an attack or a seed.
    pub fn new(view: View, results: &MaskResults, kinds: &[AttackKind]) -> Option<Self> {
        let runs: Option<Vec<&BySeed<Episodes>>> =
            kinds.iter().map(|kind| results.attacks.get(kind)).collect();
        let runs = runs.filter(|runs| !runs.is_empty())?;
        let seeds: Vec<u64> = results.clean.keys().copied().collect();
        let shared: Vec<u64> =
            seeds.into_iter().filter(|seed| runs.iter().all(|run| run.contains_key(seed))).collect();
        let strata = |run: &&BySeed<Episodes>| shared.iter().map(|seed| view.values(&run[seed])).collect();
        let returns: Vec<Strata> = runs.iter().map(strata).collect();
        sizes(&returns[0])?;
        Some(Self { returns })
    }

    /// Number of seeds and of episodes.
    pub fn sizes(&self) -> (usize, usize) {
        let all = self.returns.iter().filter_map(sizes);
        all.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))).unwrap_or((0, 0))
    }

    /// Mean over seeds of the least mean return that one of the attacks leaves: the attack may differ from seed to seed.
    pub fn worst(&self, draw: &Draw) -> f64 {
        let least = |seed: usize, episodes: &[usize]| {
            let mean = |strata: &Strata| mean_of(&strata[seed], episodes);
            self.returns.iter().map(mean).fold(f64::INFINITY, f64::min)
        };
        draw.mean(least)
    }

    /// The same with its interval.
    pub fn worst_interval(&self, config: &BootstrapConfig) -> Option<Interval> {
        let (seeds, episodes) = self.sizes();
        interval(config, seeds, episodes, |draw| self.worst(draw))
    }

    /// For each seed the position of its worst attack, the first of equals.
    pub fn worst_attacks(&self) -> Vec<usize> {
        let (seeds, episodes) = self.sizes();
        let all: Vec<usize> = (0..episodes).collect();
        let worst = |seed: usize| {
            let means = self.returns.iter().map(|strata| mean_of(&strata[seed], &all)).enumerate();
            means.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(attack, _)| attack)
        };
        (0..seeds).map(worst).collect()
    }
}

/// Attacks that were run on every seed at every sparsity of a group: the ones by which its masks can be compared.
pub fn common_attacks(group: &Group) -> Vec<AttackKind> {
    let everywhere = |kind: &AttackKind| {
        group.masks.iter().all(|results| {
            let runs = results.attacks.get(kind);
            !results.clean.is_empty()
                && runs.is_some_and(|runs| results.clean.keys().all(|seed| runs.contains_key(seed)))
        })
    };
    AttackKind::ALL.iter().map(|(kind, _)| *kind).filter(everywhere).collect()
}

/// Attacks run on a cell, on any seed.
pub fn attacks_of(results: &MaskResults) -> Vec<AttackKind> {
    results.attacks.iter().filter(|(_, runs)| !runs.is_empty()).map(|(kind, _)| *kind).collect()
}

/// Returns as shares of the way from the random policy (0) to the dense policies of the first variant (1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Mean return of uniformly random actions.
    pub random: f64,
    /// Mean clean return of the dense policies.
    pub dense: f64,
}

impl Scale {
    /// The score of a return.
    pub fn score(self, value: f64) -> f64 {
        (value - self.random) / (self.dense - self.random)
    }
}

/// The scale of every environment where the dense policies do better than random actions.
pub fn scales(grid: &Grid, view: View) -> BTreeMap<String, Scale> {
    let mut scales = BTreeMap::new();
    for group in &grid.groups {
        // The first group of an environment is that of the first variant.
        if scales.contains_key(&group.environment) {
            continue;
        }
        let dense = mean(&view.strata(&group.masks[0].clean));
        let random = grid.random.get(&group.environment).and_then(|found| mean(&vec![view.values(found)]));
        if let (Some(dense), Some(random)) = (dense, random) {
            scales.insert(group.environment.clone(), Scale { random, dense });
        }
    }
    scales.retain(|_, scale| scale.dense > scale.random);
    scales
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View { actions: ActionMode::Deterministic, returns: ReturnKind::Total };

    fn episodes(returns: &[f64]) -> Episodes {
        let score = |(episode, total): (usize, &f64)| EpisodeScore {
            episode: episode as u64,
            total: *total,
            discounted: total / 2.0,
            length: 1,
        };
        let scores: Vec<EpisodeScore> = returns.iter().enumerate().map(score).collect();
        Episodes { deterministic: scores.clone(), sampled: scores, adversaries: None, training_steps: 0 }
    }

    fn by_seed(list: &[(u64, &[f64])]) -> BySeed<Episodes> {
        list.iter().map(|(seed, returns)| (*seed, episodes(returns))).collect()
    }

    /// Seed 1: means 4 and 6; seed 2: 10 and 2. The worst is (4 + 2) / 2 = 3, not the lower of the attacks' means 7 and 4.
    fn results() -> MaskResults {
        let mut results =
            MaskResults { clean: by_seed(&[(1, &[10.0]), (2, &[12.0])]), ..MaskResults::default() };
        results.attacks.insert(AttackKind::Random, by_seed(&[(1, &[3.0, 5.0]), (2, &[10.0, 10.0])]));
        results.attacks.insert(AttackKind::Mad, by_seed(&[(1, &[6.0, 6.0]), (2, &[1.0, 3.0])]));
        results
    }

    #[test]
    fn the_worst_attack_may_differ_from_seed_to_seed() {
        let attacked =
            Attacked::new(VIEW, &results(), &[AttackKind::Random, AttackKind::Mad]).expect("attacks");
        assert_eq!(attacked.sizes(), (2, 2));
        assert_eq!(attacked.worst(&Draw::identity(2, 2)), 3.0);
        assert_eq!(attacked.worst_attacks(), [0, 1]);
        // The second episode of each seed only: (5 + 3) / 2; seed 2 twice, first episodes: 1.
        let draw =
            |picks: &[(usize, usize)]| Draw { picks: picks.iter().map(|(s, e)| (*s, vec![*e])).collect() };
        assert_eq!(attacked.worst(&draw(&[(0, 1), (1, 1)])), 4.0);
        assert_eq!(attacked.worst(&draw(&[(1, 0), (1, 0)])), 1.0);
    }

    #[test]
    fn only_attacks_of_every_seed_and_sparsity_are_compared() {
        let mut group = Group {
            environment: "E".to_owned(),
            variant: "v".to_owned(),
            epsilon: "0".to_owned(),
            own_chains: false,
            masks: vec![results(), results()],
            bounds: BySeed::new(),
            curves: BySeed::new(),
        };
        assert_eq!(common_attacks(&group), [AttackKind::Random, AttackKind::Mad]);
        if let Some(runs) = group.masks[1].attacks.get_mut(&AttackKind::Mad) {
            runs.remove(&2);
        }
        assert_eq!(common_attacks(&group), [AttackKind::Random]);
        assert_eq!(attacks_of(&group.masks[1]), [AttackKind::Random, AttackKind::Mad]);
        // A seed without a clean result is not trained yet: it asks for no attack.
        group.masks[1].clean.remove(&2);
        assert_eq!(common_attacks(&group), [AttackKind::Random, AttackKind::Mad]);
    }

    /// Random 2, dense (10 + 12) / 2 = 11: a return of 6.5 scores one half.
    #[test]
    fn scores_by_hand() {
        let group = Group {
            environment: "E".to_owned(),
            variant: "v".to_owned(),
            epsilon: "0".to_owned(),
            own_chains: false,
            masks: vec![results()],
            bounds: BySeed::new(),
            curves: BySeed::new(),
        };
        let random = BTreeMap::from([("E".to_owned(), episodes(&[1.0, 3.0]))]);
        let mut grid = Grid { sparsities: vec!["0".to_owned()], groups: vec![group], random, jobs: (0, 0) };
        let scale = scales(&grid, VIEW)["E"];
        assert_eq!((scale.random, scale.dense), (2.0, 11.0));
        assert_eq!([scale.score(2.0), scale.score(6.5), scale.score(11.0)], [0.0, 0.5, 1.0]);
        // Dense policies that are no better than random actions give no scale.
        grid.random.insert("E".to_owned(), episodes(&[11.0]));
        assert!(scales(&grid, VIEW).is_empty());
    }
}
