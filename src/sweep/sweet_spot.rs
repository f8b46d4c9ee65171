//! Which mask a group's policies are best pruned to, by three rules. Untrusted.
//! `spec/sweep.md#sweet-spots`.

use super::bootstrap::{Draw, draws, mean_of};
use super::config::BootstrapConfig;
use super::gather::Group;
use super::statistic::{Attacked, Scale, Strata, View, common_attacks};

/// Clean score below which a policy counts as collapsed: half way between random actions and the dense policies.
pub const COLLAPSED: f64 = 0.5;

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The highest mean of clean and worst attacked score.
    HighestMean,
    /// The highest minimum of the two.
    HighestMinimum,
    /// The lowest regret: clean less worst attacked score.
    LowestRegret,
}

impl Rule {
    /// Every rule with its name.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::HighestMean, "highest mean"),
        (Self::HighestMinimum, "highest minimum"),
        (Self::LowestRegret, "lowest regret"),
    ];

    /// What the rule goes by.
    pub fn value(self, scores: Scores) -> f64 {
        match self {
            Self::HighestMean => (scores.clean + scores.attacked) / 2.0,
            Self::HighestMinimum => scores.clean.min(scores.attacked),
            Self::LowestRegret => scores.clean - scores.attacked,
        }
    }

    fn prefers(self, value: f64, over: f64) -> bool {
        if self == Self::LowestRegret { value < over } else { value > over }
    }
}

/// Normalised scores of a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Without an attack.
    pub clean: f64,
    /// Under its worst attack.
    pub attacked: f64,
}

impl Scores {
    /// Whether the clean policy is too bad to be chosen.
    pub fn collapsed(self) -> bool {
        self.clean.is_nan() || self.clean < COLLAPSED
    }
}

/// The mask that a rule chooses among those that have not collapsed; of equals the sparsest, which comes last.
pub fn choose(rule: Rule, masks: &[Scores]) -> Option<usize> {
    let mut chosen: Option<(usize, f64)> = None;
    for (mask, scores) in masks.iter().enumerate().filter(|(_, scores)| !scores.collapsed()) {
        let value = rule.value(*scores);
        if chosen.is_none_or(|(_, best)| !rule.prefers(best, value)) {
            chosen = Some((mask, value));
        }
    }
    chosen.map(|(mask, _)| mask)
}

/// What the rules say of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct SweetSpots {
    /// Scores of every mask.
    pub scores: Vec<Scores>,
    /// For each of [`Rule::ALL`] the mask chosen, and the share of resamples in which it is chosen too.
    pub chosen: Vec<Option<(usize, f64)>>,
}

/// Chooses for a group by the attacks that all its masks had; `None` without such attacks or results.
pub fn sweet_spots(config: &BootstrapConfig, group: &Group, view: View, scale: Scale) -> Option<SweetSpots> {
    let kinds = common_attacks(group);
    let clean: Vec<Strata> = group.masks.iter().map(|results| view.strata(&results.clean)).collect();
    let attacked: Option<Vec<Attacked>> =
        group.masks.iter().map(|results| Attacked::new(view, results, &kinds)).collect();
    let attacked = attacked?;
    let all = attacked.iter().map(Attacked::sizes);
    let (seeds, episodes) = all.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))?;
    let scores = |draw: &Draw| -> Vec<Scores> {
        let mask = |(clean, attacked): (&Strata, &Attacked)| Scores {
            clean: scale.score(draw.mean(|seed, episodes| mean_of(&clean[seed], episodes))),
            attacked: scale.score(attacked.worst(draw)),
        };
        clean.iter().zip(&attacked).map(mask).collect()
    };
    let resampled: Vec<Vec<Scores>> = draws(config, seeds, episodes).iter().map(scores).collect();
    let scores = scores(&Draw::identity(seeds, episodes));
    let chosen = Rule::ALL.iter().map(|(rule, _)| {
        let mask = choose(*rule, &scores)?;
        let agree = resampled.iter().filter(|scores| choose(*rule, scores) == Some(mask)).count();
        Some((mask, agree as f64 / resampled.len() as f64))
    });
    Some(SweetSpots { chosen: chosen.collect(), scores })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(list: &[(f64, f64)]) -> Vec<Scores> {
        list.iter().map(|(clean, attacked)| Scores { clean: *clean, attacked: *attacked }).collect()
    }

    /// Means 0.65, 0.7, 0.6; minima 0.3, 0.5, 0.55; regrets 0.7, 0.4, 0.1.
    #[test]
    fn rules_by_hand() {
        let masks = scores(&[(1.0, 0.3), (0.9, 0.5), (0.65, 0.55)]);
        assert_eq!(choose(Rule::HighestMean, &masks), Some(1));
        assert_eq!(choose(Rule::HighestMinimum, &masks), Some(2));
        assert_eq!(choose(Rule::LowestRegret, &masks), Some(2));
    }

    /// The last policy does nothing, so no attack takes anything from it: regret 0, and yet it never wins.
    #[test]
    fn a_dead_policy_never_wins() {
        let masks = scores(&[(1.0, 0.2), (0.8, 0.3), (0.0, 0.0)]);
        for (rule, _) in Rule::ALL {
            assert_ne!(choose(rule, &masks), Some(2));
        }
        assert_eq!(choose(Rule::LowestRegret, &masks), Some(1));
        let all_dead = scores(&[(0.49, 0.4), (f64::NAN, f64::NAN)]);
        assert_eq!(choose(Rule::HighestMean, &all_dead), None);
        assert_eq!(choose(Rule::HighestMean, &scores(&[(0.5, 0.0)])), Some(0));
    }

    /// Regrets 1/2, 1/2 and 5/8.
    #[test]
    fn of_equals_the_sparsest() {
        let masks = scores(&[(1.0, 0.5), (1.0, 0.5), (0.875, 0.25)]);
        assert_eq!(choose(Rule::HighestMinimum, &masks), Some(1));
        assert_eq!(choose(Rule::LowestRegret, &masks), Some(1));
    }
}
