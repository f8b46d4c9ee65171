//! ELU and SiLU from the exponential function, over rationals; where SiLU turns, from decimals.

use secateur_kernel::enclose::exp;
use secateur_kernel::number::Rational;

use crate::case::r;

/// Lower and upper end.
pub type Ends = (Rational, Rational);

/// Where SiLU is least, cut off; there it is 1 more.
const LEAST: &str = "-1.27846454276107379510935873902298";
/// Where SiLU is steepest, cut off; there its slope is `1/2 + c / 4`.
const TURN: &str = "2.39935728051546766783273969728228";
/// More than what the decimals lack.
const CUT: &str = "1e-32";

/// `e^x`, of arguments below -2000 or above 2000 that of those.
fn power(x: &Rational) -> Ends {
    let far = r("2000");
    let power = exp(&x.clone().min(far.clone()).max(far.neg())).expect("exp");
    let lower = if *x < far.neg() { Rational::zero() } else { power.lower };
    // Nothing that is read here is above 2000 but SiLU's far left, which is 0 to any grid.
    (lower, power.upper)
}

/// `x` for `x >= 0`, else `alpha (e^x - 1)`.
pub fn elu(alpha: &Rational, x: &Rational) -> Ends {
    if !x.is_negative() {
        return (x.clone(), x.clone());
    }
    let (low, high) = power(x);
    (low.sub(&Rational::one()).mul(alpha), high.sub(&Rational::one()).mul(alpha))
}

/// The slope of ELU left of `x` at 0, and everywhere else.
pub fn elu_slope(alpha: &Rational, x: &Rational) -> Ends {
    if x.is_positive() {
        return (Rational::one(), Rational::one());
    }
    let (low, high) = power(x);
    (low.mul(alpha), high.mul(alpha))
}

/// The logistic function `1 / (1 + e^-x)`.
fn logistic(x: &Rational) -> Ends {
    let (low, high) = power(&x.neg());
    let over = |p: &Rational| Rational::one().div(&Rational::one().add(p)).expect("above 0");
    // Far to the left only that it is not negative.
    let low_end = if *x < r("-2000") { Rational::zero() } else { over(&high) };
    (low_end, over(&low))
}

fn hull(ends: impl IntoIterator<Item = Rational>) -> Ends {
    let mut ends = ends.into_iter();
    let first = ends.next().expect("ends");
    ends.fold((first.clone(), first), |(low, high), x| (low.min(x.clone()), high.max(x)))
}

/// `x / (1 + e^-x)`.
pub fn silu(x: &Rational) -> Ends {
    let (low, high) = logistic(x);
    hull([x.mul(&low), x.mul(&high)])
}

/// `s + x s (1 - s)`.
pub fn silu_slope(x: &Rational) -> Ends {
    let one = Rational::one();
    let (low, high) = logistic(x);
    let rest = [one.sub(&high).max(Rational::zero()), one.sub(&low)];
    let product = [&low, &high].map(|s| rest.clone().map(|r| s.mul(&r).mul(x)));
    let product = hull(product.into_iter().flatten());
    (low.add(&product.0), high.add(&product.1))
}

fn between(text: &str, lower: &Rational, upper: &Rational) -> bool {
    let (place, cut) = (r(text), r(CUT));
    *lower <= place.add(&cut) && place.sub(&cut) <= *upper
}

/// The values of SiLU over an interval.
pub fn silu_over(lower: &Rational, upper: &Rational) -> Ends {
    let (first, last) = (silu(lower), silu(upper));
    let (low, high) = (first.0.min(last.0), first.1.max(last.1));
    if between(LEAST, lower, upper) {
        (low.min(r(LEAST).add(&Rational::one()).sub(&r(CUT))), high)
    } else {
        (low, high)
    }
}

/// The largest magnitude of SiLU's slope over an interval, from below by what enclosures leave.
pub fn silu_steepest(lower: &Rational, upper: &Rational) -> Rational {
    let half = r("1/2");
    let most = half.add(&r(TURN).mul(&r("1/4")));
    let mut found = silu_slope(lower).0.abs().max(silu_slope(upper).0.abs());
    if between(TURN, lower, upper) {
        found = found.max(most.clone());
    }
    let mirrored = r(TURN).neg();
    if *lower <= mirrored && mirrored <= *upper {
        found = found.max(most.sub(&Rational::one()));
    }
    found
}
