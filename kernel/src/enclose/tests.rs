//! Enclosures against evaluations at other precision, by other series and by identities.
#![allow(clippy::as_conversions, clippy::float_arithmetic, clippy::disallowed_types)]

use super::*;
use num_traits::{One, Zero};

impl TanhTable {
    /// The table, computed once for all tests.
    pub(crate) fn shared() -> &'static Self {
        static TABLE: std::sync::OnceLock<TanhTable> = std::sync::OnceLock::new();
        TABLE.get_or_init(|| Self::new().unwrap())
    }
}

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn float(x: &Rational) -> f64 {
    // 60 fraction bits are enough for the sizes compared here.
    let scaled = x.floor_scaled(60);
    scaled.to_string().parse::<f64>().unwrap() / 2f64.powi(60)
}

fn width(e: &Enclosure) -> Rational {
    assert!(e.lower <= e.upper);
    e.upper.sub(&e.lower)
}

fn power_of_two(exponent: i64) -> Rational {
    Rational::from_dyadic(BigInt::one(), exponent)
}

/// Deterministic pseudo-random numbers (splitmix64).
pub(super) struct Random(pub u64);
impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> Rational {
        Rational::new(BigInt::from(self.next() % (bound << 20)), BigInt::from(1u64 << 20)).unwrap()
    }
}

/// `e^x` for `0 <= x` on 256 fraction bits by the plain series, without any halving; error below 2^-200 relative.
fn exp_256(x: &Rational) -> Rational {
    let (one, x) = (BigInt::one() << 256u32, x.floor_scaled(256));
    let (mut term, mut sum, mut n) = (one.clone(), one, 1u32);
    while !term.is_zero() {
        term = ((&term * &x) >> 256u32) / n;
        sum += &term;
        n += 1;
    }
    Rational::from_dyadic(sum, -256)
}

fn contains(e: &Enclosure, value: &Rational, error: &Rational) -> bool {
    e.lower <= value.add(error) && e.upper >= value.sub(error)
}

/// Whether the ends are the two neighbouring points of the grid `2^(exponent - 96)` around a value known within `error`.
fn neighbours(e: &Enclosure, value: &Rational, error: &Rational, exponent: i64) -> bool {
    let unit = power_of_two(exponent - 96);
    let on_grid = |end: &Rational| end.div(&unit).unwrap().denominator().is_one();
    contains(e, value, error) && on_grid(&e.lower) && on_grid(&e.upper) && width(e) <= unit
}

#[test]
fn exp_contains_another_evaluation() {
    let mut random = Random(1);
    for _ in 0..200 {
        let x = random.below(40);
        let value = exp_256(&x);
        let exponent = i64::try_from(x.mul(&r("13/9")).floor_scaled(0)).unwrap();
        // `2^exponent` is about the value: for arguments to 40 it is above it by 3 at most.
        assert!(power_of_two(exponent) < value.add(&value).add(&value), "{x}");
        assert!(neighbours(&exp(&x).unwrap(), &value, &value.mul(&power_of_two(-190)), exponent), "{x}");
        let inverse = Rational::one().div(&value).unwrap();
        assert!(neighbours(&exp(&x.neg()).unwrap(), &inverse, &inverse.mul(&power_of_two(-180)), 0), "{x}");
    }
    let e = exp(&Rational::zero()).unwrap();
    assert!(e.lower <= Rational::one() && e.upper >= Rational::one());
    // e to 40 digits, on the grid 2^-95.
    let (e, digits) = (exp(&Rational::one()).unwrap(), r("2.7182818284590452353602874713526624977572"));
    assert!(neighbours(&e, &digits, &r("1e-40"), 1));
    assert_eq!(exp(&r("2049")), Err(Fault::ExpArgumentTooLarge));
    // e^2048 = 2^2954.64..., to the 92 bits that the grid 2^(2958 - 96) leaves.
    let largest = exp(&r("2048")).unwrap();
    assert!(largest.lower > power_of_two(2954) && largest.upper < power_of_two(2955));
    assert_eq!(width(&largest), power_of_two(2958 - 96));
    let tiny = exp(&r("-1e4000")).unwrap();
    assert_eq!((tiny.lower, tiny.upper), (Rational::zero(), power_of_two(-96)));
}

/// The ends are the neighbouring multiples of 2^-96, the same one for squares of such.
#[test]
fn sqrt_squares_back_and_is_exact_on_dyadic_squares() {
    for (square, root) in [("0", "0"), ("4", "2"), ("9/16", "3/4"), ("1e100", "1e50")] {
        let e = sqrt(&r(square)).unwrap();
        assert_eq!((e.lower, e.upper), (r(root), r(root)));
    }
    let mut random = Random(2);
    for k in 0..200i64 {
        let x = random.below(1000).add(&r("1/7")).mul(&power_of_two(13 * (k - 100)));
        let e = sqrt(&x).unwrap();
        assert!(e.lower.mul(&e.lower) <= x && e.upper.mul(&e.upper) >= x);
        assert_eq!(width(&e), power_of_two(-96));
    }
    assert_eq!(sqrt(&r("-1/3")), Err(Fault::SqrtOfNegative));
}

/// ln 2 = 0.6931471805599453094172321214581765680755..., ln 10 = 2.30258509299404568401799145468436420760... (OEIS A002162,
/// A002392); ln(a b) = ln a + ln b, so that the enclosures meet.
#[test]
fn logarithms_are_enclosed() {
    for (x, value) in [
        ("1", "0"),
        ("2", "0.6931471805599453094172321214581765680755"),
        ("10", "2.3025850929940456840179914546843642076011"),
    ] {
        assert!(neighbours(&ln(&r(x)).unwrap(), &r(value), &r("1e-39"), 0), "{x}");
    }
    let mut random = Random(6);
    for k in 0..100i64 {
        let (a, b) = (random.below(9).add(&Rational::one()), power_of_two(k).add(&r("1/3")));
        let (one, two, both) = (ln(&a).unwrap(), ln(&b).unwrap(), ln(&a.mul(&b)).unwrap());
        assert!(one.lower.add(&two.lower) <= both.upper && both.lower <= one.upper.add(&two.upper));
        assert!(width(&both) <= power_of_two(-96));
    }
    for x in ["0.999999", "0", "-1"] {
        assert_eq!(ln(&r(x)), Err(Fault::LogarithmBelowOne));
    }
}

#[test]
fn pi_is_pi() {
    let pi = fixed::pi().unwrap().to_enclosure();
    assert!(pi.lower < r("3.14159265358979323846264338327950288419717"));
    assert!(pi.upper > r("3.14159265358979323846264338327950288419716"));
    assert!(width(&pi) < power_of_two(-150));
}

/// `2 Phi(d/2) - 1 = erf(y)`, `y = d / (2 sqrt 2)`, by the alternating series on 320 bits (no exponential).
fn tv_320(d: &Rational) -> Rational {
    let d = d.floor_scaled(320);
    let eighth: BigInt = ((&d * &d) >> 320u32) >> 3u32;
    let (mut term, mut sum, mut n) = (d.clone(), BigInt::zero(), 0u32);
    while !term.is_zero() {
        let part = &term / (2 * n + 1);
        if n % 2 == 0 {
            sum += part
        } else {
            sum -= part
        }
        n += 1;
        term = ((&term * &eighth) >> 320u32) / n;
    }
    let two_pi = fixed::pi().unwrap().lower << (160u32 + 320 + 1);
    Rational::new(sum, two_pi.sqrt()).unwrap()
}

#[test]
fn total_variation_contains_another_evaluation() {
    let constants = Enclosures::new().unwrap();
    let mut random = Random(3);
    for _ in 0..150 {
        let d = random.below(20);
        let e = constants.gaussian_tv(&d).unwrap();
        assert!(neighbours(&e, &tv_320(&d), &power_of_two(-140), 0), "{d}");
        assert!(e.upper <= Rational::one());
    }
    assert!(constants.gaussian_tv(&Rational::zero()).unwrap().upper.is_zero());
    let at_two = constants.gaussian_tv(&r("2")).unwrap();
    // 2 Phi(1) - 1.
    assert!((float(&at_two.lower) - 0.682_689_492_137_085_9).abs() < 1e-15);
    let far = constants.gaussian_tv(&r("1e4000")).unwrap();
    assert_eq!(far.upper, Rational::one());
    assert!(far.lower > Rational::one().sub(&power_of_two(-95)));
    assert_eq!(constants.gaussian_tv(&r("-1/9")), Err(Fault::NegativeDistance));
}

#[test]
fn tanh_contains_another_evaluation() {
    let mut random = Random(4);
    for _ in 0..200 {
        let x = random.below(30);
        let power = exp_256(&x.add(&x));
        let one = Rational::one();
        let value = power.sub(&one).div(&power.add(&one)).unwrap();
        let e = tanh(&x).unwrap();
        assert!(neighbours(&e, &value, &power_of_two(-190), 0), "{x}");
        let mirrored = tanh(&x.neg()).unwrap();
        assert_eq!((mirrored.lower, mirrored.upper), (e.upper.neg(), e.lower.neg()));
    }
    let far = tanh(&r("1e4000")).unwrap();
    assert_eq!(far.upper, Rational::one());
    assert_eq!(far.lower, Rational::one().sub(&power_of_two(-96)));
    assert_eq!(tanh(&Rational::zero()).unwrap().upper, Rational::zero());
}

#[test]
fn the_table_contains_the_series() {
    let table = TanhTable::new().unwrap();
    let mut random = Random(5);
    let scale = |v: i64| Rational::from_dyadic(BigInt::from(v), -60);
    for _ in 0..3000 {
        let bits = (random.next() % 75) as u32;
        let x = (random.next() as i64) >> (random.next() % 64);
        let exact = Rational::from_dyadic(BigInt::from(x), -i64::from(bits));
        let (lower, upper) = table.tanh(x, bits).unwrap();
        let e = tanh(&exact).unwrap();
        assert!(scale(lower) <= e.upper && scale(upper) >= e.lower, "{x} {bits}: {lower} {upper}");
        assert!(scale(lower) <= e.lower && scale(upper) >= e.upper, "{x} {bits}: {lower} {upper}");
        assert!(lower <= upper && upper - lower <= 8, "{x} {bits}: {}", upper - lower);
        assert!(lower >= -(1 << 60) && upper <= 1 << 60);
        let (negative_lower, negative_upper) = table.tanh(-x.max(-i64::MAX), bits).unwrap();
        if bits <= 62 && x > i64::MIN {
            assert_eq!((negative_lower, negative_upper), (-upper, -lower));
        }
    }
    assert_eq!(table.tanh(0, 10), Some((0, 0)));
    assert_eq!(table.tanh(i64::MIN, 0), Some((-(1 << 60), -(1 << 60) + 1)));
    assert_eq!(table.tanh(22, 0), Some(((1 << 60) - 1, 1 << 60)));
}
