//! Enclosures of exp, ln and the heads' distances in big integers, of another making than the checker's: distances of
//! action distributions at two evaluated outputs, from below and from above. Not trusted; only tests rest on it.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};
use secateur_checker::model::Head;
use secateur_checker::number::Dyadic;

use secateur_testkit::oracle::fixed::{BITS, Ends};

/// Fraction bits of this file's numbers.
const FINE: u32 = 320;

/// Terms of the power series of exp at arguments below 2^-17: 24 terms leave less than a unit.
const TERMS: u32 = 24;

fn one() -> BigInt {
    BigInt::one() << FINE
}

fn fine(ends: &Ends) -> Ends {
    (&ends.0 << (FINE - BITS), &ends.1 << (FINE - BITS))
}

fn coarse(ends: &Ends) -> Ends {
    let unit = BigInt::one() << (FINE - BITS);
    (ends.0.div_floor(&unit), ends.1.div_ceil(&unit))
}

fn times(a: &Ends, b: &Ends) -> Ends {
    let products = [&a.0 * &b.0, &a.0 * &b.1, &a.1 * &b.0, &a.1 * &b.1];
    let least = products.iter().min().cloned().unwrap_or_default();
    let greatest = products.iter().max().cloned().unwrap_or_default();
    (least.div_floor(&one()), greatest.div_ceil(&one()))
}

/// For a divisor above 0.
fn over(a: &Ends, b: &Ends) -> Ends {
    let quotient = |x: &BigInt, y: &BigInt| (x << FINE).div_floor(y);
    let least = quotient(&a.0, &b.0).min(quotient(&a.0, &b.1));
    let above = |x: &BigInt, y: &BigInt| (x << FINE).div_ceil(y);
    (least, above(&a.1, &b.0).max(above(&a.1, &b.1)))
}

fn plus(a: &Ends, b: &Ends) -> Ends {
    (&a.0 + &b.0, &a.1 + &b.1)
}

fn minus(a: &Ends, b: &Ends) -> Ends {
    (&a.0 - &b.1, &a.1 - &b.0)
}

/// `e^x` for an exact `x >= 0`: a power series at `x / 2^24`, squared 24 times.
fn exp_up(x: &BigInt) -> Ends {
    let halvings = 24;
    let small = (x.clone() >> halvings, (x >> halvings) + 1);
    let (mut sum, mut term) = ((one(), one()), (one(), one()));
    for n in 1..=TERMS {
        let next = times(&term, &small);
        term = (next.0.div_floor(&n.into()), next.1.div_ceil(&n.into()));
        sum = plus(&sum, &term);
    }
    // What is left is below the last term, for small arguments.
    sum.1 += &term.1 + 1;
    for _ in 0..halvings {
        sum = times(&sum, &sum);
    }
    sum
}

/// `e^x` between the values at both ends; below `e^-120` only that it is not negative.
fn exp(x: &Ends) -> Ends {
    let floor = -(BigInt::from(120) << FINE);
    let at = |x: &BigInt| {
        if *x < floor {
            (BigInt::zero(), over(&(one(), one()), &exp_up(&-&floor)).1)
        } else if x.is_negative() {
            over(&(one(), one()), &exp_up(&-x))
        } else {
            exp_up(x)
        }
    };
    (at(&x.0).0, at(&x.1).1)
}

/// `2 atanh(u)` for an exact `u` of at most a third.
fn double_atanh(u: &Ends) -> Ends {
    let square = times(u, u);
    let (mut sum, mut power) = (u.clone(), u.clone());
    for n in 1..=110u32 {
        power = times(&power, &square);
        let (low, high) = &power;
        sum = plus(&sum, &(low.div_floor(&(2 * n + 1).into()), high.div_ceil(&(2 * n + 1).into())));
    }
    let rest = power.1.abs().max(power.0.abs()) + 1;
    ((sum.0 - &rest) * 2, (sum.1 + rest) * 2)
}

/// `ln x` for `x > 0`.
fn ln(x: &Ends) -> Ends {
    let at = |x: &BigInt| {
        let power = i64::try_from(x.bits()).unwrap() - 1 - i64::from(FINE);
        let mantissa = if power >= 0 { x >> power } else { x << -power };
        let mantissa = (mantissa.clone(), mantissa + 1);
        let u = over(&minus(&mantissa, &(one(), one())), &plus(&mantissa, &(one(), one())));
        let ln_two = double_atanh(&over(&(one(), one()), &(one() * 3, one() * 3)));
        let whole = (&ln_two.0 * power, &ln_two.1 * power);
        let whole = if power < 0 { (whole.1, whole.0) } else { whole };
        plus(&whole, &double_atanh(&u))
    };
    (at(&x.0).0, at(&x.1).1)
}

fn root(x: &Ends) -> Ends {
    let at = |x: &BigInt| (x.max(&BigInt::zero()) << FINE).sqrt();
    (at(&x.0), at(&x.1) + 1)
}

/// `2 Phi(d / 2) - 1 = 2 phi(h) sum h^(2n+1) / (2n+1)!!` at `h = d / 2`; above 22 the least is that of 22.
fn gaussian_tv(distance: &Ends) -> Ends {
    let cap = BigInt::from(22) << FINE;
    let at = |d: &BigInt| {
        let half: BigInt = d.min(&cap).clone() >> 1;
        let half = (half.clone(), half + 1);
        let square = times(&half, &half);
        let (mut sum, mut term) = (half.clone(), half.clone());
        for n in 1u32..=1500 {
            let next = times(&term, &square);
            term = (next.0.div_floor(&(2 * n + 1).into()), next.1.div_ceil(&(2 * n + 1).into()));
            sum = plus(&sum, &term);
            if term.1 <= BigInt::one() {
                break;
            }
        }
        sum.1 += 2;
        let weight = exp(&(-&square.1 / 2 - 1, -&square.0 / 2));
        times(&times(&sum, &weight), &over(&(one() * 2, one() * 2), &root(&pi_twice())))
    };
    let upper = if distance.1 > cap { one() } else { at(&distance.1).1 };
    (at(&distance.0.clone().max(BigInt::zero())).0, upper)
}

/// Machin: `pi = 16 atan(1/5) - 4 atan(1/239)`.
fn pi_twice() -> Ends {
    let atan = |inverse: u32| {
        let (mut sum, mut power) = (BigInt::zero(), one() / inverse);
        let mut n = 1u32;
        while !power.is_zero() {
            let term: BigInt = &power / n;
            if n % 4 == 1 {
                sum += term
            } else {
                sum -= term
            };
            power /= inverse * inverse;
            n += 2;
        }
        sum
    };
    let twice: BigInt = atan(5) * 32 - atan(239) * 8;
    // Each of the few hundred divisions is off by less than one unit.
    (&twice - (BigInt::one() << 16), twice + (BigInt::one() << 16))
}

/// Distances of two action distributions.
pub struct Distances {
    pub total_variation: Ends,
    /// Of the second from the first, and of the first from the second.
    pub divergence: [Ends; 2],
}

/// `1 / sigma` of a Gaussian head.
fn inverse_deviation(log_std: Dyadic) -> Ends {
    let x = log_std.to_rational().neg();
    exp(&(x.floor_scaled(FINE), x.ceil_scaled(FINE)))
}

/// Between the distributions of a head at two outputs; `None` for a deterministic one.
pub fn distances(head: &Head, first: &[Ends], second: &[Ends]) -> Option<Distances> {
    match head {
        Head::Deterministic => None,
        Head::Categorical => Some(categorical(first, second)),
        Head::Gaussian { log_std } => {
            let mut square = (BigInt::zero(), BigInt::zero());
            for ((a, b), log_std) in first.iter().zip(second).zip(log_std) {
                let (low, high) = fine(&minus(a, b));
                let least = low.clone().max(-&high).max(BigInt::zero());
                let apart = (least, low.abs().max(high.abs()));
                let scaled = times(&apart, &inverse_deviation(*log_std));
                square = plus(&square, &times(&scaled, &scaled));
            }
            let half = coarse(&(square.0.div_floor(&2.into()), square.1.div_ceil(&2.into())));
            let total_variation = coarse(&gaussian_tv(&root(&square)));
            Some(Distances { total_variation, divergence: [half.clone(), half] })
        }
    }
}

/// Probabilities of a softmax, and the logarithm of the sum that normalises them.
fn softmax(logits: &[Ends]) -> (Vec<Ends>, Ends) {
    let logits: Vec<Ends> = logits.iter().map(fine).collect();
    let top = logits.iter().map(|z| z.1.clone()).max().unwrap_or_default();
    let powers: Vec<Ends> = logits.iter().map(|z| exp(&(&z.0 - &top, &z.1 - &top))).collect();
    let sum = powers.iter().fold((BigInt::zero(), BigInt::zero()), |sum, p| plus(&sum, p));
    let probabilities = powers.iter().map(|p| over(p, &sum)).collect();
    (probabilities, plus(&ln(&sum), &(top.clone(), top)))
}

/// Probabilities on the grid of 2^-[`BITS`].
pub fn probabilities(logits: &[Ends]) -> Vec<Ends> {
    softmax(logits).0.iter().map(coarse).collect()
}

fn categorical(first: &[Ends], second: &[Ends]) -> Distances {
    let ((p, p_sum), (q, q_sum)) = (softmax(first), softmax(second));
    let gains = |from: &[Ends], to: &[Ends]| {
        let pairs = from.iter().zip(to).map(|(a, b)| minus(b, a));
        pairs.fold((BigInt::zero(), BigInt::zero()), |sum, (low, high)| {
            (sum.0 + low.max(BigInt::zero()), sum.1 + high.max(BigInt::zero()))
        })
    };
    let (up, down) = (gains(&p, &q), gains(&q, &p));
    let total_variation = coarse(&(up.0.max(down.0), up.1.min(down.1)));
    let from = |p: &[Ends], here: &[Ends], there: &[Ends], here_sum: &Ends, there_sum: &Ends| {
        let terms = p.iter().zip(here.iter().zip(there));
        let drift = terms.map(|(p, (a, b))| times(p, &minus(&fine(a), &fine(b))));
        let drift = drift.fold((BigInt::zero(), BigInt::zero()), |sum, term| plus(&sum, &term));
        coarse(&minus(&plus(&drift, there_sum), here_sum))
    };
    let divergence = [from(&p, first, second, &p_sum, &q_sum), from(&q, second, first, &q_sum, &p_sum)];
    Distances { total_variation, divergence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_checker::kernel::enclose::{Enclosures, tanh};
    use secateur_checker::number::Rational;

    fn at(text: &str) -> Ends {
        let x = Rational::parse(text).unwrap();
        (x.floor_scaled(BITS), x.ceil_scaled(BITS))
    }

    fn holds(ends: &Ends, text: &str, width_bits: u32) -> bool {
        let x = at(text);
        ends.0 <= x.1 && x.0 <= ends.1 && (&ends.1 - &ends.0) < (BigInt::one() << (BITS - width_bits))
    }

    /// e, ln 10 and erf(1 / sqrt 2) = 0.6826894921370858971704650912640758..., to 33 digits.
    #[test]
    fn known_numbers() {
        let e = coarse(&exp(&fine(&at("1"))));
        assert!(holds(&e, "2.718281828459045235360287471352662497757247093699959574966967627724", 150));
        let ln_ten = coarse(&ln(&fine(&at("10"))));
        assert!(holds(&ln_ten, "2.302585092994045684017991454684364207601101488628772976033327900967", 150));
        let head = Head::Gaussian { log_std: vec![Dyadic::ZERO] };
        let far = distances(&head, &[at("0")], &[at("2")]).unwrap();
        let known = Rational::parse("0.6826894921370858971704650912640758").unwrap();
        let slack = Rational::parse("1e-33").unwrap();
        assert!(far.total_variation.0 <= known.add(&slack).ceil_scaled(BITS));
        assert!(far.total_variation.1 >= known.sub(&slack).floor_scaled(BITS));
        assert!(holds(&far.divergence[0], "2", 150));
    }

    /// Two makings of tanh and of the Gaussian total variation agree wherever they are asked.
    #[test]
    fn the_checkers_enclosures_meet_these() {
        let meets = |ends: &Ends, lower: &Rational, upper: &Rational| {
            ends.0 <= upper.ceil_scaled(BITS) && lower.floor_scaled(BITS) <= ends.1
        };
        let known = Enclosures::new().unwrap();
        for text in ["0", "1e-9", "1/3", "0.7", "3/2", "7", "19", "23.5"] {
            let x = Rational::parse(text).unwrap();
            let power = exp(&fine(&at(text)));
            let square = times(&power, &power);
            let here = coarse(&over(&minus(&square, &(one(), one())), &plus(&square, &(one(), one()))));
            let there = tanh(&x).unwrap();
            assert!(meets(&here, &there.lower, &there.upper), "tanh {text}");
            let here = coarse(&gaussian_tv(&fine(&at(text))));
            let there = known.gaussian_tv(&x).unwrap();
            assert!(meets(&here, &there.lower, &there.upper), "tv {text}");
        }
    }

    /// Logits (2, -2) against (-2, 2): probabilities 1/(1+e^-4) and its rest; the divergence is 4 tanh 2, the variation tanh 2.
    #[test]
    fn softmax_by_hand() {
        let (a, b) = ([at("2"), at("-2")], [at("-2"), at("2")]);
        let found = distances(&Head::Categorical, &a, &b).unwrap();
        let value = tanh(&Rational::parse("2").unwrap()).unwrap();
        let inside = |ends: &Ends, scale: u32| {
            ends.0 <= value.upper.ceil_scaled(BITS) * scale
                && ends.1 >= value.lower.floor_scaled(BITS) * scale
        };
        assert!(inside(&found.total_variation, 1));
        assert!(inside(&found.divergence[0], 4) && inside(&found.divergence[1], 4));
    }
}
