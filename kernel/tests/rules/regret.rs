//! Every side condition of `regret.*` and `statistic.*`: one accepted and one rejected case, by variant.

use secateur_kernel::fault::Fault;
use secateur_kernel::number::Rational;
use secateur_kernel::regret::{MAX_HORIZON, RewardRange, expectation, horizon, sup};
use secateur_kernel::statistic::{Confidence, MAX_SAMPLES, Sample, Sampler, bernstein, hoeffding};

type RegretCall = fn(&RewardRange, &Rational, &Rational) -> Result<Rational, Fault>;
type StatisticCall = fn(Sampler, &[Sample], &Confidence) -> Result<Rational, Fault>;

type Refusal = fn(Box<Rational>) -> Fault;

const DISCOUNTED: [(RegretCall, Refusal); 2] = [
    (sup, |value| Fault::SupNotAProbability { value }),
    (expectation, |value| Fault::MeanNotAProbability { value }),
];
const STATISTICS: [(StatisticCall, usize); 2] = [(hoeffding, 1), (bernstein, 2)];
const SAMPLER: Sampler = Sampler::IndependentEpisodesGeometricTime;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn rewards(lower: &str, upper: &str) -> RewardRange {
    RewardRange { lower: r(lower), upper: r(upper), episodes_can_end: false }
}

fn level(text: &str) -> Confidence {
    Confidence { level: r(text), masks: 1, inequalities: 1 }
}

#[test]
fn discount_lies_in_zero_to_below_one() {
    for (rule, _) in DISCOUNTED {
        for good in ["0", "1/2", "0.999999"] {
            assert!(rule(&rewards("-1", "1"), &r(good), &r("1/10")).is_ok(), "{good}");
        }
        for bad in ["-1/1000", "1", "3/2"] {
            let expected = Err(Fault::DiscountOutOfRange { discount: Box::new(r(bad)) });
            assert_eq!(rule(&rewards("-1", "1"), &r(bad), &r("1/10")), expected);
        }
    }
}

#[test]
fn total_variation_lies_in_zero_to_one() {
    for (rule, fault) in DISCOUNTED {
        for good in ["0", "1"] {
            assert!(rule(&rewards("-1", "1"), &r("1/2"), &r(good)).is_ok());
        }
        for bad in ["-1/1000", "1001/1000"] {
            let expected = Err(fault(Box::new(r(bad))));
            assert_eq!(rule(&rewards("-1", "1"), &r("1/2"), &r(bad)), expected);
        }
    }
    assert!(horizon(&rewards("-1", "1"), 3, &r("1")).is_ok());
    for bad in ["-1/1000", "1001/1000"] {
        let expected = Err(Fault::SupNotAProbability { value: Box::new(r(bad)) });
        assert_eq!(horizon(&rewards("-1", "1"), 3, &r(bad)), expected);
    }
}

#[test]
fn reward_range_is_not_empty() {
    let expected = Err(Fault::EmptyRewardRange { lower: Box::new(r("1")), upper: Box::new(r("0")) });
    for (rule, _) in DISCOUNTED {
        assert!(rule(&rewards("1", "1"), &r("1/2"), &r("1/10")).is_ok());
        assert_eq!(rule(&rewards("1", "0"), &r("1/2"), &r("1/10")), expected);
    }
    assert!(horizon(&rewards("1", "1"), 3, &r("1/2")).is_ok());
    assert_eq!(horizon(&rewards("1", "0"), 3, &r("1/2")), expected);
}

#[test]
fn horizon_is_positive_and_capped() {
    for good in [1, 1000, MAX_HORIZON] {
        assert!(horizon(&rewards("0", "1"), good, &r("0.25")).is_ok());
    }
    for bad in [0, MAX_HORIZON + 1, u32::MAX] {
        let expected = Err(Fault::HorizonOutOfRange { horizon: bad, most: MAX_HORIZON });
        assert_eq!(horizon(&rewards("0", "1"), bad, &r("0.25")), expected);
    }
}

#[test]
fn only_independent_episodes_at_geometric_times_are_accepted() {
    assert_eq!(Sampler::parse("independent-episodes-geometric-time"), Some(SAMPLER));
    for bad in ["", "consecutive-states", "Independent-Episodes-Geometric-Time", "replay-buffer"] {
        assert_eq!(Sampler::parse(bad), None);
    }
}

#[test]
fn enough_samples_and_not_too_many() {
    for (rule, needed) in STATISTICS {
        let samples = vec![Sample::Ended; needed];
        assert!(rule(SAMPLER, &samples, &level("0.9")).is_ok());
        let expected = Err(Fault::TooFewSamples { samples: needed - 1, needed });
        assert_eq!(rule(SAMPLER, &samples[1..], &level("0.9")), expected);
        let many = vec![Sample::Ended; MAX_SAMPLES + 1];
        let expected = Err(Fault::TooManySamples { samples: MAX_SAMPLES + 1, most: MAX_SAMPLES });
        assert_eq!(rule(SAMPLER, &many, &level("0.9")), expected);
    }
}

#[test]
fn uppers_are_not_negative() {
    for (rule, _) in STATISTICS {
        let good = [Sample::State(r("0")), Sample::State(r("2"))];
        assert!(rule(SAMPLER, &good, &level("0.9")).is_ok());
        let bad = [Sample::State(r("0")), Sample::State(r("-1e-9"))];
        assert_eq!(rule(SAMPLER, &bad, &level("0.9")), Err(Fault::NegativeSample { index: 1 }));
    }
}

#[test]
fn confidence_lies_strictly_between_zero_and_one_and_is_split_over_something() {
    let samples = [Sample::Ended, Sample::Ended];
    for (rule, _) in STATISTICS {
        for good in ["0.5", "0.999999999999", "1e-9"] {
            assert!(rule(SAMPLER, &samples, &level(good)).is_ok());
        }
        for bad in ["0", "1", "-1/2", "3/2"] {
            let expected = Err(Fault::ConfidenceOutOfRange { confidence: Box::new(r(bad)) });
            assert_eq!(rule(SAMPLER, &samples, &level(bad)), expected);
        }
        for (masks, inequalities) in [(0, 1), (1, 0)] {
            let empty = Confidence { level: r("0.9"), masks, inequalities };
            assert_eq!(rule(SAMPLER, &samples, &empty), Err(Fault::EmptySplit));
        }
    }
}
