//! Exact 128-bit arithmetic on integers of the grids: products, sums that know when they left their range, and roundings by
//! powers of two. Trusted. `spec/rules/local.md`: whether a number is refused never depends on the order of a sum.

use alloc::vec::Vec;
use core::iter::Zip;
use core::ops::{Add, Mul, Neg, Sub};

use crate::fault::Fault;

/// The exact value of a formula, or that it left 128 bits on the way, whatever came after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wide(Option<i128>);

impl<T: Into<i128>> From<T> for Wide {
    #[inline]
    fn from(value: T) -> Self {
        Self(Some(value.into()))
    }
}

/// An operator that has no value where one of its sides has none, or the result leaves 128 bits.
macro_rules! operator {
    ($operator:ident, $method:ident, $checked:ident) => {
        impl<T: Into<Self>> $operator<T> for Wide {
            type Output = Self;
            #[inline]
            fn $method(self, other: T) -> Self {
                Self(self.0.zip(other.into().0).and_then(|(a, b)| a.$checked(b)))
            }
        }
    };
}

operator!(Add, add, checked_add);
operator!(Sub, sub, checked_sub);
operator!(Mul, mul, checked_mul);

impl Neg for Wide {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Self(self.0.and_then(i128::checked_neg))
    }
}

impl Wide {
    /// `self * 2^bits`.
    #[inline]
    pub(crate) fn scaled(self, bits: u32) -> Self {
        // A shift by 127 would reach the sign; what a shorter one drops does not come back.
        let value = self.0.filter(|_| bits < 127);
        let scaled = value.and_then(|x| x.checked_shl(bits));
        Self(scaled.filter(|scaled| scaled.checked_shr(bits) == value))
    }

    /// `floor(self / 2^bits)`.
    #[inline]
    pub(crate) fn floor(self, bits: u32) -> Self {
        Self(self.0.and_then(|x| x.checked_shr(bits)))
    }

    /// `ceil(self / 2^bits)`.
    #[inline]
    pub(crate) fn ceil(self, bits: u32) -> Self {
        -(-self).floor(bits)
    }

    /// `floor(self / divisor)`; no value unless the divisor is above 0.
    #[inline]
    pub(crate) fn divided(self, divisor: impl Into<Self>) -> Self {
        let divisor = divisor.into().0.filter(|divisor| *divisor > 0);
        Self(self.0.zip(divisor).and_then(|(a, b)| a.checked_div_euclid(b)))
    }

    /// `ceil(self / divisor)`; no value unless the divisor is above 0.
    #[inline]
    pub(crate) fn divided_up(self, divisor: impl Into<Self>) -> Self {
        -(-self).divided(divisor)
    }

    /// The value.
    #[inline]
    pub(crate) fn get(self) -> Option<i128> {
        self.0
    }

    /// The value as an entry of a grid.
    #[inline]
    pub(crate) fn entry(self) -> Option<i64> {
        self.0.and_then(|x| i64::try_from(x).ok())
    }
}

/// `a * b`; two i64 factors cannot overflow an i128, so wrapping never happens.
#[inline]
pub(crate) fn mul(a: i64, b: i64) -> i128 {
    i128::from(a).wrapping_mul(i128::from(b))
}

/// `a * b`; the product of an i64 and a u64 is below 2^127 in magnitude, so wrapping never happens.
#[inline]
pub(crate) fn mul_unsigned(a: i64, b: u64) -> i128 {
    i128::from(a).wrapping_mul(i128::from(b))
}

/// `sum terms`, which has a value iff their magnitudes add up to less than 2^127: then so does every part of the sum, and
/// wrapping never happens.
#[inline]
pub(crate) fn total(terms: impl IntoIterator<Item = i128>) -> Wide {
    let (mut sum, mut size, mut over) = (0i128, 0u128, false);
    for term in terms {
        sum = sum.wrapping_add(term);
        let (larger, wrapped) = size.overflowing_add(term.unsigned_abs());
        (size, over) = (larger, over || wrapped);
    }
    let fits = !over && i128::try_from(size).is_ok();
    Wide(fits.then_some(sum))
}

/// Bits of a low limb.
pub(crate) const LOW: u32 = 26;
/// What a low limb has of a number.
pub(crate) const LOW_LIMB: i64 = (1 << LOW) - 1;

/// `x = high 2^26 + low` with `0 <= low < 2^26`, if `high` has 32 bits, which the shifts tell the compiler.
#[inline(always)]
fn limbs(x: i64) -> [i64; 2] {
    [x & LOW_LIMB, (x << (32 - LOW)) >> 32]
}

/// How many sums of two limbs of one number times two of another, of these magnitudes or less, add up to at most `2^62`; none
/// if a limb may have more than 32 bits.
pub(crate) fn terms_in_64_bits(a: u64, b: u64) -> Option<u64> {
    let limb = |most: u64| i32::try_from((most >> LOW).checked_add(1 << LOW)?).ok();
    let product = i64::from(limb(a)?).checked_mul(limb(b)?.into())?;
    (1u64 << 62).checked_div(product.unsigned_abs())
}

/// How many products of numbers of these magnitudes are added up by limbs at once, in a sum of `count`; none if it does not show
/// that they fit. Numbers with such limbs are below 2^57, and 2^12 of their products below 2^126.
pub(crate) fn terms_by_limbs(a: u64, b: u64, count: usize) -> Option<usize> {
    let terms = usize::try_from(terms_in_64_bits(a, b)?).ok()?;
    (terms > 0 && count < 1 << 12).then_some(terms)
}

/// `sum a_i * b_i` of two lists of one length, as [`total`]; by limbs, several at once, if so many terms of them fit.
#[inline(always)]
pub(crate) fn products(a: &[i64], b: &[i64], terms: Option<usize>) -> Wide {
    let Some(terms) = terms else { return total(a.iter().zip(b).map(|(&a, &b)| mul(a, b))) };
    let mut sum = 0i128;
    for (a, b) in a.chunks(terms).zip(b.chunks(terms)) {
        let (mut low, mut middle, mut high) = (0i64, 0i64, 0i64);
        for (&a, &b) in a.iter().zip(b) {
            let ([a_low, a_high], [b_low, b_high]) = (limbs(a), limbs(b));
            low = low.wrapping_add(a_low.wrapping_mul(b_low));
            middle = middle.wrapping_add(a_low.wrapping_mul(b_high)).wrapping_add(a_high.wrapping_mul(b_low));
            high = high.wrapping_add(a_high.wrapping_mul(b_high));
        }
        let (low, middle, high) = (i128::from(low), i128::from(middle), i128::from(high));
        sum = sum.wrapping_add(high << (2 * LOW)).wrapping_add(middle << LOW).wrapping_add(low);
    }
    sum.into()
}

/// All bits of the magnitudes: at least each of them, and less than twice the largest.
#[inline(always)]
pub(crate) fn magnitudes(a: &[i64]) -> u64 {
    a.iter().fold(0, |bits, x| bits | x.unsigned_abs())
}

/// `sum |a_i|`: fewer than 2^64 terms of at most 2^63, so wrapping never happens, nor in 64 bits with 2^20 halves of 32.
#[inline(always)]
pub(crate) fn absolute_sum(a: &[i64]) -> u128 {
    a.chunks(1 << 20).fold(0, |sum, some| {
        let (mut low, mut high) = (0u64, 0u64);
        for x in some {
            low = low.wrapping_add(x.unsigned_abs() & 0xffff_ffff);
            high = high.wrapping_add(x.unsigned_abs() >> 32);
        }
        sum.wrapping_add(u128::from(high) << 32).wrapping_add(low.into())
    })
}

/// Whether `sum |a_i b_i| < 2^127` follows from `sum |a_i| <= reach` and `|b_i| <= largest`.
#[inline]
pub(crate) fn fits(reach: u128, largest: u64) -> bool {
    reach.checked_mul(largest.into()).is_some_and(|bound| i128::try_from(bound).is_ok())
}

/// `max(|lower|, |upper|)`.
#[inline]
pub(crate) fn magnitude((lower, upper): (i64, i64)) -> u64 {
    lower.unsigned_abs().max(upper.unsigned_abs())
}

/// The pairs of two lists of one length.
///
/// # Errors
/// [`Fault::ShapeMismatch`] if their lengths differ.
#[inline(always)]
pub(crate) fn zip_exact<A, B>(a: A, b: B, layer: usize) -> Result<Zip<A::IntoIter, B::IntoIter>, Fault>
where
    A: IntoIterator<IntoIter: ExactSizeIterator>,
    B: IntoIterator<IntoIter: ExactSizeIterator>,
{
    let (a, b) = (a.into_iter(), b.into_iter());
    if a.len() == b.len() { Ok(a.zip(b)) } else { Err(Fault::ShapeMismatch { layer }) }
}

/// All items, unless one is missing; in one allocation, which `collect` cannot promise for items that may be.
#[inline]
pub(crate) fn every<T>(items: impl ExactSizeIterator<Item = Option<T>>) -> Option<Vec<T>> {
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.push(item?);
    }
    Some(all)
}

/// What a computation that left its range, or a place that does not exist, is at a layer.
pub(crate) trait AtLayer<T> {
    /// The value, or [`Fault::Overflow`].
    fn within(self, layer: usize) -> Result<T, Fault>;
    /// The value, or [`Fault::ShapeMismatch`].
    fn shaped(self, layer: usize) -> Result<T, Fault>;
}

// A fault that is made for a value that is there would have to be dropped, which costs a call a number.
#[allow(clippy::unnecessary_lazy_evaluations)]
impl<T> AtLayer<T> for Option<T> {
    #[inline]
    fn within(self, layer: usize) -> Result<T, Fault> {
        self.ok_or_else(|| Fault::Overflow { layer })
    }
    #[inline]
    fn shaped(self, layer: usize) -> Result<T, Fault> {
        self.ok_or_else(|| Fault::ShapeMismatch { layer })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By their own magnitudes.
    fn own(a: &[i64], b: &[i64]) -> Wide {
        products(a, b, terms_by_limbs(magnitudes(a), magnitudes(b), a.len()))
    }

    proptest! {
        /// Of any length: by limbs where they fit, one by one where not.
        #[test]
        fn limbs_say_what_single_products_say(
            (a_bits, b_bits) in (1..64u32, 1..64u32),
            pairs in prop::collection::vec(any::<(i64, i64)>(), 0..70),
        ) {
            let pairs = pairs.into_iter().map(|(a, b)| (a >> (64 - a_bits), b >> (64 - b_bits)));
            let exact = total(pairs.clone().map(|(a, b)| mul(a, b)));
            let (all, others): (Vec<i64>, Vec<i64>) = pairs.unzip();
            prop_assert_eq!(own(&all, &others), exact);
            prop_assert_eq!(products(&all, &others, None), exact);
            prop_assert_eq!(absolute_sum(&all), all.iter().map(|a| u128::from(a.unsigned_abs())).sum::<u128>());
            prop_assert!(all.iter().all(|a| a.unsigned_abs() <= magnitudes(&all)));
        }
    }

    /// As large as their count shows to stay in 64 bits, of one sign, and one more.
    #[test]
    fn sums_of_limbs_stay_in_64_bits() {
        let most = (1i64 << 57) - (1 << 52) - 1;
        assert_eq!(terms_in_64_bits(most.unsigned_abs(), most.unsigned_abs()), Some(1));
        assert_eq!(terms_in_64_bits(1 << 57, 1), None);
        for (a, b) in [(most, most), (most, -most), (-most, -most), (1 << 50, 1 << 52), (-1, 1 << 56)] {
            let terms = terms_in_64_bits(magnitudes(&[a]), magnitudes(&[b])).unwrap();
            for count in [1, terms, terms + 1] {
                let exact = mul(a, b) * i128::from(count);
                if let Some(count) = usize::try_from(count).ok().filter(|count| *count <= 5000) {
                    assert_eq!(own(&vec![a; count], &vec![b; count]).get(), Some(exact), "{a} {b} {count}");
                }
            }
        }
        // 2^12 products of the longest numbers with limbs may be too many, 9,000 are.
        for (count, fits) in [(4095usize, true), (4096, true), (9000, false)] {
            let exact = mul(most, most).checked_mul(i128::try_from(count).unwrap());
            assert_eq!(exact.is_some(), fits);
            assert_eq!(own(&vec![most; count], &vec![most; count]).get(), exact);
        }
        let far = vec![i64::MIN; (1 << 20) + 3];
        assert_eq!(absolute_sum(&far), ((1 << 20) + 3) << 63);
    }

    /// `-5/2 = -2.5` and `5/2 = 2.5`; a third of -5 lies between -2 and -1.
    #[test]
    fn roundings_go_outward() {
        let at = |x: i64| (Wide::from(x).floor(1).entry(), Wide::from(x).ceil(1).entry());
        assert_eq!((at(-5), at(5)), ((Some(-3), Some(-2)), (Some(2), Some(3))));
        let third = |x: i64| (Wide::from(x).divided(3i64).entry(), Wide::from(x).divided_up(3i64).entry());
        assert_eq!((third(-5), third(6)), ((Some(-2), Some(-1)), (Some(2), Some(2))));
        for divisor in [0, -1i64] {
            assert_eq!(Wide::from(1i64).divided(divisor).get(), None);
        }
        let far = Wide::from(1i64).scaled(80);
        assert_eq!((far.entry(), far.floor(18).entry(), far.floor(17).entry()), (None, Some(1 << 62), None));
        assert_eq!((far.floor(128).get(), Wide::from(1i64).scaled(127).get()), (None, None));
    }

    /// Once out of range, a formula stays there, even if what follows would lead back.
    #[test]
    fn a_value_that_left_its_range_does_not_come_back() {
        let most = Wide::from(i128::MAX);
        assert_eq!((most + 1i64 - 1i64).get(), None);
        assert_eq!((-Wide::from(i128::MIN)).get(), None);
        assert_eq!((most * 2i64).get(), None);
        assert_eq!((Wide::from(2i64) * 3i64 - 10i64 + 1u64).get(), Some(-3));
    }

    /// `2 (2^63)^2 = 2^127` is one too many in either order, though `2^126 - 2^126 + 2^126` has parts in range.
    #[test]
    fn the_range_of_a_sum_does_not_depend_on_its_order() {
        let half = 1i128 << 126;
        for terms in [[half, -half, 0], [-half, 0, half], [half, half, 0]] {
            assert_eq!(total(terms).get(), None, "{terms:?}");
        }
        assert_eq!(total([half, 1 - half]).get(), Some(1));
        assert_eq!(total([i128::MIN]).get(), None);
        let far = [i64::MIN, 0, i64::MIN, 1];
        assert_eq!(own(&far, &far).get(), None);
        assert_eq!(own(&far[..2], &far[..2]).get(), Some(1 << 126));
        // What fits says no of, because the largest of one list is not beside the largest of the other, is added up.
        let apart = own(&[i64::MIN, 5, 1 << 62, 1 << 62], &[3, i64::MIN, 4, 4]);
        assert_eq!(apart.get(), Some((1 << 65) - 8 * (1i128 << 63)));
        assert_eq!(total([]).get(), Some(0));
        assert_eq!(own(&[2, -3], &[5, 7]).get(), Some(-11));
        // 2^64 * 2^63 = 2^127 is one more than an i128 holds; one step less of reach fits.
        assert!(!fits(1 << 64, 1 << 63) && fits((1 << 64) - 1, 1 << 63));
        assert_eq!(absolute_sum(&[i64::MIN, 1]), (1 << 63) + 1);
        assert_eq!(magnitude((i64::MIN, 7)), 1 << 63);
        assert_eq!(mul_unsigned(i64::MIN, u64::MAX), i128::MIN + (1 << 63));
    }
}
