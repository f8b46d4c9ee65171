//! The confidence of statistical bounds, by enumeration: of all draws from a small distribution, those whose bound falls
//! below the mean have together at most the probability that is allowed. `spec/rules/regret.md`.

use num_bigint::BigInt;
use secateur_checker::kernel::statistic::{Confidence, Sample, Sampler, bernstein, hoeffding};
use secateur_checker::number::Rational;

use secateur_testkit::case::r;

/// `choose(n, k) p^k (1 - p)^(n - k)`.
fn binomial(n: u32, k: u32, p: &Rational) -> Rational {
    let choose = (0..k).fold(BigInt::from(1), |c, i| c * (n - i) / (i + 1));
    let power = |x: &Rational, times: u32| (0..times).fold(Rational::one(), |product, _| product.mul(x));
    let rest = power(&Rational::one().sub(p), n - k);
    Rational::from_integer(choose).mul(&power(p, k)).mul(&rest)
}

/// Total variation `high` at a state met with probability p, `low` else (or the episode has ended and counts 0).
#[test]
fn draws_fail_no_more_often_than_allowed() {
    let sampler = Sampler::parse("independent-episodes-geometric-time").unwrap();
    let mut failed = 0;
    for (n, level, inequalities) in [(12u32, "1/2", 1u32), (30, "3/4", 1), (40, "1/2", 2), (24, "9/10", 2)] {
        let confidence = Confidence { level: r(level), masks: 1, inequalities };
        let allowed = confidence.failure().unwrap();
        for (high, low) in [("1", Some("0")), ("3/4", Some("1/4")), ("1", None), ("1/10", Some("1/20"))] {
            for p in ["1/2", "3/4", "15/16", "1/8"].map(r) {
                let (high, below) = (r(high), r(low.unwrap_or("0")));
                let mean = p.mul(&high).add(&Rational::one().sub(&p).mul(&below));
                for bound in [hoeffding, bernstein] {
                    let mut lost = Rational::zero();
                    for k in 0..=n {
                        let other = low.map_or(Sample::Ended, |low| Sample::State(r(low)));
                        let highs = (0..k).map(|_| Sample::State(high.clone()));
                        let samples: Vec<Sample> = highs.chain((k..n).map(|_| other.clone())).collect();
                        if bound(sampler, &samples, &confidence).unwrap() < mean {
                            lost = lost.add(&binomial(n, k, &p));
                            failed += 1;
                        }
                    }
                    assert!(lost <= allowed, "n {n}, level {level}, {high} or {below}, p {p}: {lost}");
                }
            }
        }
    }
    assert!(failed > 50, "no draw misses its mean: {failed}");
}
