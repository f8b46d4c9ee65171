//! Sums of products of several lists of coefficients with one table of weights, by the vector instructions of the machine at
//! hand. Trusted. `spec/rules/local.md#backward-bounds`; `spec/trust.md` on `pulp`.
//!
//! A factor is `high * 2^26 + low` with `0 <= low < 2^26`, and `x w = hh 2^52 + (both - hh - ll) 2^26 + ll` with `ll`, `hh` and
//! `both` the products of the low limbs, of the high ones and of their sums. So many terms are added up in 64 bits as cannot
//! leave them, and the rest in 128: exact, and so the same on every machine.

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
pub(crate) use vector::column_sums;

/// Without vector instructions there is no faster way than row by row.
#[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
pub(crate) fn column_sums(
    _: &[&[i64]],
    _: &crate::table::Table<i64>,
    _: u64,
) -> Option<alloc::vec::Vec<alloc::vec::Vec<i128>>> {
    None
}

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod vector {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::arch::x86_64::{__m256i, __m512i};
    use core::ops::Range;

    use pulp::bytemuck::Pod;
    use pulp::x86::{V3, V4};
    use pulp::{NullaryFnOnce, cast};

    use crate::table::Table;
    use crate::wide::{absolute_sum, fits};

    /// Bits of a low limb.
    const LOW: u32 = 26;
    /// Lists that are multiplied with a vector of weights while it is at hand.
    const LISTS: usize = 4;
    /// Terms of which the weights stay in the cache.
    const TERMS: usize = 128;

    /// What an instruction set does with vectors of 64-bit lanes.
    trait Lanes: Copy {
        type Vector: Pod;
        /// The upper halves of the lanes as lower ones.
        fn high(self, lanes: Self::Vector) -> Self::Vector;
        /// Sums modulo `2^64`.
        fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
        /// Products of the lower halves, which have a sign.
        fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    }

    impl Lanes for V3 {
        type Vector = __m256i;
        #[inline(always)]
        fn high(self, lanes: __m256i) -> __m256i {
            self.avx2._mm256_srli_epi64::<32>(lanes)
        }
        #[inline(always)]
        fn add(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_add_epi64(a, b)
        }
        #[inline(always)]
        fn mul(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_mul_epi32(a, b)
        }
    }

    impl Lanes for V4 {
        type Vector = __m512i;
        #[inline(always)]
        fn high(self, lanes: __m512i) -> __m512i {
            self.avx512f._mm512_srli_epi64::<32>(lanes)
        }
        #[inline(always)]
        fn add(self, a: __m512i, b: __m512i) -> __m512i {
            self.avx512f._mm512_add_epi64(a, b)
        }
        #[inline(always)]
        fn mul(self, a: __m512i, b: __m512i) -> __m512i {
            self.avx512f._mm512_mul_epi32(a, b)
        }
    }

    /// `sum_i c_i W_ij` for every list `c` and column `j`; `largest` is at least every magnitude in `weight`.
    ///
    /// `None` where it would not pay, where a list has another length than the table, or where magnitudes do not show that
    /// every sum is in range: then each has to be looked at alone.
    pub(crate) fn column_sums(lists: &[&[i64]], weight: &Table<i64>, largest: u64) -> Option<Vec<Vec<i128>>> {
        let suits = |list: &&[i64]| list.len() == weight.height() && fits(absolute_sum(list), largest);
        let terms = terms_in_64_bits(lists, largest)?;
        if lists.len() < LISTS || !lists.iter().all(suits) {
            return None;
        }
        match V4::try_new() {
            Some(lanes) => lanes.vectorize(Product::<V4, 8> { lanes, lists, weight, terms }),
            None => {
                V3::try_new()?.vectorize(Product::<V3, 4> { lanes: V3::try_new()?, lists, weight, terms })
            }
        }
    }

    /// How many products of limbs add up to less than `2^63` in magnitude; `None` if not all limbs have 32 bits.
    fn terms_in_64_bits(lists: &[&[i64]], largest: u64) -> Option<usize> {
        let coefficient = lists.iter().flat_map(|list| list.iter()).map(|c| c.unsigned_abs()).max()?;
        // No limb, nor the sum of two, is larger than this.
        let limb = |most: u64| i32::try_from((most >> LOW).checked_add(1 << LOW)?).ok();
        let product = i64::from(limb(coefficient)?).checked_mul(limb(largest)?.into())?;
        usize::try_from(i64::MAX.checked_div(product)?).ok()
    }

    /// [`column_sums`] by vectors of `N` lanes, at most `terms` terms of them in 64 bits.
    struct Product<'a, L, const N: usize> {
        lanes: L,
        lists: &'a [&'a [i64]],
        weight: &'a Table<i64>,
        terms: usize,
    }

    impl<L: Lanes, const N: usize> NullaryFnOnce for Product<'_, L, N>
    where
        [i64; N]: Pod,
    {
        type Output = Option<Vec<Vec<i128>>>;

        // What is not inlined is not compiled for the instruction set.
        #[inline(always)]
        fn call(self) -> Self::Output {
            let Self { lanes, lists, weight, terms } = self;
            let columns = weight.columns();
            let mut sums = vec![vec![0i128; columns]; lists.len()];
            let counts = |term: &usize| lists.iter().any(|list| list.get(*term) != Some(&0));
            let counted: Vec<usize> = (0..weight.height()).filter(counts).collect();
            for terms in counted.chunks(terms.min(TERMS)) {
                let mut panels = vec![Vec::with_capacity(terms.len()); columns.div_ceil(N)];
                for &term in terms {
                    for (panel, weights) in panels.iter_mut().zip(weight.row(term)?.chunks(N)) {
                        panel.push(packed::<N>(weights));
                    }
                }
                let spans: Vec<_> = panels.iter().map(|panel| span(panel, &[0; N])).collect();
                for (lists, sums) in lists.chunks(LISTS).zip(sums.chunks_mut(LISTS)) {
                    let mut limbs = vec![[[0; 3]; LISTS]; terms.len()];
                    for (limbs, &term) in limbs.iter_mut().zip(terms) {
                        for (limbs, list) in limbs.iter_mut().zip(lists) {
                            let coefficient = list.get(term)?;
                            let (low, high) = (coefficient & LOW_LIMB, coefficient >> LOW);
                            *limbs = [low, high, low.wrapping_add(high)];
                        }
                    }
                    let own = span(&limbs, &[[0; 3]; LISTS]);
                    let mut places = sums.iter_mut().map(|sums| sums.chunks_mut(N)).collect::<Vec<_>>();
                    for (weights, span) in panels.iter().zip(&spans) {
                        // Networks beside each other are apart: most panels have no weight where a list has a number.
                        let both = own.start.max(span.start)..own.end.min(span.end);
                        let columns = places.iter_mut().map(Iterator::next);
                        let Some(terms) =
                            limbs.get(both.clone()).zip(weights.get(both)).filter(|t| !t.0.is_empty())
                        else {
                            columns.for_each(drop);
                            continue;
                        };
                        for (sums, found) in columns.zip(panel_sums(lanes, terms)) {
                            for (sum, part) in sums?.iter_mut().zip(found) {
                                // Every sum is in range, and so is what is between.
                                *sum = sum.wrapping_add(part);
                            }
                        }
                    }
                }
            }
            Some(sums)
        }
    }

    /// The least range of items outside which all are 0.
    #[inline(always)]
    fn span<T: PartialEq>(items: &[T], zero: &T) -> Range<usize> {
        let counts = |item: &T| item != zero;
        let start = items.iter().position(counts).unwrap_or(items.len());
        start..items.iter().rposition(counts).map_or(start, |last| last.saturating_add(1))
    }

    /// Up to `N` weights, each with its low limb in the lower half of a lane and its high one in the upper.
    #[inline(always)]
    fn packed<const N: usize>(weights: &[i64]) -> [i64; N] {
        let mut lanes = [0; N];
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane = (weight >> LOW << 32) | (weight & LOW_LIMB);
        }
        lanes
    }

    const LOW_LIMB: i64 = (1 << LOW) - 1;

    /// The sums over the terms at hand for a panel of `N` columns.
    #[inline(always)]
    fn panel_sums<L: Lanes, const N: usize>(
        lanes: L,
        (limbs, weights): (&[[[i64; 3]; LISTS]], &[[i64; N]]),
    ) -> [[i128; N]; LISTS]
    where
        [i64; N]: Pod,
    {
        let mut sums = [[cast::<_, L::Vector>([0i64; N]); 3]; LISTS];
        for (limbs, weights) in limbs.iter().zip(weights) {
            let low = cast(*weights);
            let high = lanes.high(low);
            let weights = [low, high, lanes.add(low, high)];
            for (sums, limbs) in sums.iter_mut().zip(limbs) {
                for ((sum, limb), weight) in sums.iter_mut().zip(limbs).zip(weights) {
                    *sum = lanes.add(*sum, lanes.mul(cast([*limb; N]), weight));
                }
            }
        }
        let mut all = [[0; N]; LISTS];
        for (all, [low, high, both]) in all.iter_mut().zip(sums) {
            let limbs: [[i64; N]; 3] = [cast(low), cast(high), cast(both)];
            let [low, high, both] = limbs;
            for (((all, low), high), both) in all.iter_mut().zip(low).zip(high).zip(both) {
                // Each is below 2^63 in magnitude, so nothing wraps.
                let (low, high, both) = (i128::from(low), i128::from(high), i128::from(both));
                let middle = both.wrapping_sub(low).wrapping_sub(high);
                *all = (high << (2 * LOW)).wrapping_add(middle << LOW).wrapping_add(low);
            }
        }
        all
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::*;
        use crate::wide::mul;

        /// The sums of every instruction set that the machine has, with `terms` terms in 64 bits.
        fn found(lists: &[&[i64]], weight: &Table<i64>, terms: usize) -> Vec<Option<Vec<Vec<i128>>>> {
            let v3 =
                V3::try_new().map(|lanes| lanes.vectorize(Product::<V3, 4> { lanes, lists, weight, terms }));
            let v4 =
                V4::try_new().map(|lanes| lanes.vectorize(Product::<V4, 8> { lanes, lists, weight, terms }));
            [v3, v4].into_iter().flatten().collect()
        }

        fn plain(lists: &[&[i64]], weight: &Table<i64>) -> Vec<Vec<i128>> {
            let column =
                |list: &[i64], j| list.iter().zip(weight.rows()).map(|(&c, row)| mul(c, row[j])).sum();
            lists.iter().map(|list| (0..weight.columns()).map(|j| column(list, j)).collect()).collect()
        }

        fn largest(table: &[i64]) -> u64 {
            table.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0)
        }

        /// Magnitudes of any number of bits up to the last that has limbs, and what lies around the ends of limbs.
        fn number() -> impl Strategy<Value = i64> {
            const MOST: i64 = (1 << 57) - (1 << 52) - 1;
            let ends = prop::sample::select(vec![0, 1, -1, LOW_LIMB, -LOW_LIMB, LOW_LIMB + 1, MOST, -MOST]);
            prop_oneof![1 => Just(0i64), 2 => ends, 5 => (-MOST..=MOST, 0..57u32).prop_map(|(x, shift)| x >> shift)]
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(200))]

            #[test]
            fn vectors_say_what_single_products_say(
                (count, height, columns) in (1..10usize, 1..40usize, 1..20usize),
                pool in prop::collection::vec(number(), 1..800),
                dropped in prop::collection::vec(any::<bool>(), 40),
            ) {
                let mut pool = pool.iter().cycle().copied();
                let lists = (0..count).map(|_| {
                    let list = dropped.iter().take(height);
                    list.map(|&drop| if drop { 0 } else { pool.next().unwrap_or(0) }).collect::<Vec<_>>()
                });
                let lists: Vec<Vec<i64>> = lists.collect();
                let lists: Vec<&[i64]> = lists.iter().map(|list| &**list).collect();
                let weights: Vec<i64> = pool.by_ref().take(height * columns).collect();
                let largest = largest(&weights);
                let weight = Table::new(height, columns, weights, 0).unwrap();
                let terms = terms_in_64_bits(&lists, largest).unwrap();
                for sums in found(&lists, &weight, terms) {
                    prop_assert_eq!(sums.unwrap(), plain(&lists, &weight));
                }
                if let Some(sums) = column_sums(&lists, &weight, largest) {
                    prop_assert_eq!(sums, plain(&lists, &weight));
                }
            }
        }

        /// Every limb as large as it can be, more terms than 64 bits hold and than are packed at once, and of either sign.
        #[test]
        fn sums_leave_64_bits_in_time() {
            let most = (1i64 << 57) - (1 << 52) - 1;
            for (c, w) in [(most, most), (-most, most), (-most, -most), (1 << 50, 1 << 52), (1 << 56, -1)] {
                for (height, columns) in [(1, 1), (3, 9), (300, 17)] {
                    let (list, weights) = (vec![c; height], vec![w; height * columns]);
                    let lists = [&list[..]; 5];
                    let weight = Table::new(height, columns, weights, 0).unwrap();
                    let terms = terms_in_64_bits(&lists, w.unsigned_abs()).unwrap();
                    // A sum of products of 2^31 and 2^31, as large as they come, leaves 63 bits with the third.
                    assert_eq!(terms == 2, c.abs() == most && w.abs() == most);
                    for sums in found(&lists, &weight, terms) {
                        assert_eq!(sums, Some(plain(&lists, &weight)));
                    }
                }
            }
        }

        /// Two blocks beside each other, with the edge inside a vector of columns, after more terms than are packed at once, or at the
        /// end: what is passed over is 0 and nothing else is.
        #[test]
        fn blocks_beside_each_other_are_passed_over() {
            for (height, columns, edge) in [(6, 20, 3), (300, 30, 140), (5, 16, 0), (5, 16, 5)] {
                let entry = |i: usize, j: usize, first: bool| {
                    let value = i64::try_from((7 * i + 3 * j) % 11).unwrap() - 5;
                    if (i < edge) == first { value << 27 } else { 0 }
                };
                let lists: Vec<Vec<i64>> =
                    (0..9).map(|k| (0..height).map(|i| entry(i, k, k < 4)).collect()).collect();
                let lists: Vec<&[i64]> = lists.iter().map(|list| &**list).collect();
                let weights =
                    (0..height).flat_map(|i| (0..columns).map(move |j| entry(i, j, j < columns / 2)));
                let weights: Vec<i64> = weights.collect();
                let most = largest(&weights);
                let weight = Table::new(height, columns, weights, 0).unwrap();
                let terms = terms_in_64_bits(&lists, most).unwrap();
                for sums in found(&lists, &weight, terms) {
                    assert_eq!(sums, Some(plain(&lists, &weight)), "{height} {columns} {edge}");
                }
            }
        }

        /// A longer limb, a list of another length, too few lists, magnitudes that may add up to `2^127`: one by one.
        #[test]
        fn what_does_not_fit_is_left_alone() {
            let sums = |list: &[i64], lists: usize, w: i64| {
                let weight = Table::new(2, 3, vec![w; 6], 0).unwrap();
                column_sums(&vec![list; lists], &weight, w.unsigned_abs()).map(|sums| sums.len())
            };
            let there = V3::try_new().map(|_| 4);
            assert_eq!(sums(&[1, 2], 4, 3), there);
            assert_eq!(sums(&[1, 2], 3, 3), None);
            assert_eq!(sums(&[1, 2, 3], 4, 3), None);
            let most = (1i64 << 57) - (1 << 52) - 1;
            for (c, w, fits) in [(most, 1, true), (most + (1 << 26), 1, false), (1, i64::MIN, false)] {
                assert_eq!(sums(&[c, 0], 4, w), there.filter(|_| fits), "{c} {w}");
            }
            let (list, weights) = (vec![most; 1 << 14], vec![most; 1 << 14]);
            let weight = Table::new(1 << 14, 1, weights, 0).unwrap();
            assert_eq!(column_sums(&[&list[..]; 4], &weight, most.unsigned_abs()), None);
            assert_eq!(column_sums(&[&list[..]; 4], &weight, 1 << 30).is_some(), there.is_some());
        }
    }
}
