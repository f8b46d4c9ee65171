//! Rules of `spec/rules/enclosures.md`: each side condition with one accepted and one rejected case.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use num_bigint::BigInt;
use secateur_kernel::enclose::{COARSE_BITS, Enclosure, Enclosures, TanhTable, exp, ln, sqrt, tanh};
use secateur_kernel::fault::Fault;
use secateur_kernel::number::Rational;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn within(enclosure: &Enclosure, lower: &str, upper: &str) -> bool {
    r(lower) <= enclosure.lower && enclosure.lower <= enclosure.upper && enclosure.upper <= r(upper)
}

/// e^(1/2) = 1.6487212707001281468..., e^-1 = 0.36787944117144232159...
#[test]
fn exp_accepts_up_to_its_cap() {
    assert!(within(&exp(&r("1/2")).unwrap(), "1.64872127070012814684", "1.64872127070012814685"));
    assert!(within(&exp(&r("-1")).unwrap(), "0.36787944117144232159", "0.36787944117144232160"));
    assert!(exp(&r("2048")).is_ok());
    assert_eq!(exp(&r("2048.0000001")), Err(Fault::ExpArgumentTooLarge));
}

/// sqrt 2 = 1.41421356237309504880168872...
#[test]
fn sqrt_accepts_what_is_not_negative() {
    assert!(within(&sqrt(&r("2")).unwrap(), "1.4142135623730950488016", "1.4142135623730950488017"));
    assert!(within(&sqrt(&r("0")).unwrap(), "0", "0"));
    assert_eq!(sqrt(&r("-1e-300")), Err(Fault::SqrtOfNegative));
}

/// Roots keep the order of bounds along a chain, also where neighbours differ by less than the grid and have numerators
/// and denominators of other lengths: `1 + 2^-k` for rising `k` falls to 1, around the power of two where the scale changes.
#[test]
fn upper_roots_are_isotone() {
    let one = Rational::one();
    for base in ["1", "4", "1/2", "2", "1/1048576", "3"] {
        let mut last = sqrt(&r(base).add(&one)).unwrap().upper;
        for k in 1..600 {
            let x = r(base).add(&Rational::from_dyadic(BigInt::from(1), -k));
            let upper = sqrt(&x).unwrap().upper;
            assert!(upper <= last, "{base} {k}");
            let third = r(base).add(&Rational::new(BigInt::from(1), BigInt::from(3) << (k - 1)).unwrap());
            last = sqrt(&third).unwrap().upper;
            assert!(last <= upper, "{base} {k}");
            let below = r(base).sub(&Rational::from_dyadic(BigInt::from(1), -k - 30));
            assert!(sqrt(&below).unwrap().upper <= last);
        }
    }
}

/// 2 Phi(1/2) - 1 = 0.38292492254802620727...
#[test]
fn gaussian_tv_accepts_distances() {
    let constants = Enclosures::new().unwrap();
    assert!(within(
        &constants.gaussian_tv(&r("1")).unwrap(),
        "0.38292492254802620727",
        "0.38292492254802620728"
    ));
    assert_eq!(constants.gaussian_tv(&r("-1")), Err(Fault::NegativeDistance));
}

/// ln 20 = 2.99573227355399099343...
#[test]
fn ln_accepts_from_one_on() {
    assert!(within(&ln(&r("20")).unwrap(), "2.99573227355399099343", "2.99573227355399099344"));
    assert!(within(&ln(&r("1")).unwrap(), "0", "1e-28"));
    assert_eq!(ln(&r("0.999999999")), Err(Fault::LogarithmBelowOne));
}

/// Every end is a multiple of 2^-96, and two ends that differ are neighbours: all bits of them, by hand in another language.
/// `floor(sqrt(2) 2^96)`, `floor(tanh(1) 2^96)`, `floor(2^96 / e)` and so on.
#[test]
fn published_ends_are_neighbours_on_the_coarse_grid() {
    let constants = Enclosures::new().unwrap();
    for (enclosure, floor) in [
        (sqrt(&r("2")).unwrap(), "112045541949572279837463876454"),
        (tanh(&r("1")).unwrap(), "60339705557977319517545951561"),
        (exp(&r("-1")).unwrap(), "29146412150787779157341161346"),
        (ln(&r("20")).unwrap(), "237346363418362187441271409734"),
        (constants.gaussian_tv(&r("1")).unwrap(), "30338437994397104772481519749"),
    ] {
        let floor = r(floor).numerator().clone();
        let expected =
            (Rational::on_grid(floor.clone(), COARSE_BITS), Rational::on_grid(floor + 1, COARSE_BITS));
        assert_eq!((enclosure.lower, enclosure.upper), expected);
    }
}

/// tanh 1 = 0.76159415595576488811...
#[test]
fn tanh_and_its_table() {
    assert!(within(&tanh(&r("1")).unwrap(), "0.76159415595576488811", "0.76159415595576488812"));
    let (lower, upper) = TanhTable::new().unwrap().tanh(1 << 20, 20).unwrap();
    let table = Enclosure {
        lower: Rational::from_dyadic(BigInt::from(lower), -60),
        upper: Rational::from_dyadic(BigInt::from(upper), -60),
    };
    assert!(within(&table, "0.76159415595576488", "0.7615941559557649"));
    assert!(table.lower <= r("0.76159415595576488811") && table.upper >= r("0.76159415595576488812"));
}
