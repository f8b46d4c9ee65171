//! Products of several lists of coefficients with one table of weights, and other work on lists, by the vector instructions
//! of the machine at hand. Trusted. `spec/rules/local.md#backward-bounds`; `spec/trust.md` on `pulp`.
//!
//! Where the machine multiplies 52 bits by 52 bits and adds, and the numbers fit, that is what it does (`Fused`). Else a factor
//! is `high * 2^26 + low` with `0 <= low < 2^26`, and `x w = hh 2^52 + (both - hh - ll) 2^26 + ll` with `ll`, `hh` and `both` the
//! products of the low limbs, of the high ones and of their sums. So many terms are added up in 64 bits as cannot leave them;
//! what has added up is carried from limb to limb: exact, and so the same on every machine.

use alloc::vec::Vec;

pub(crate) use vector::{Work, column_floors, vectorized};

use crate::fault::Fault;
use crate::table::Table;
use crate::wide::{AtLayer, Wide, magnitudes, products, terms_by_limbs};

/// `sum a_i * b_i`; no value if the magnitudes add up to 2^127 or more.
///
/// # Errors
/// [`Fault::ShapeMismatch`].
pub(crate) fn dot(a: &[i64], b: &[i64], layer: usize) -> Result<Wide, Fault> {
    vectorized(Dots { rows: [a].into_iter(), most: magnitudes(a), list: b, layer })?.pop().shaped(layer)
}

/// [`dot`] of every row of a table, whose entries are no larger than `most`, with a list.
///
/// # Errors
/// [`Fault::ShapeMismatch`].
pub(crate) fn dots(rows: &Table<i64>, most: u64, list: &[i64], layer: usize) -> Result<Vec<Wide>, Fault> {
    vectorized(Dots { rows: rows.rows(), most, list, layer })
}

/// What [`dots`] is asked for.
struct Dots<'a, R> {
    rows: R,
    most: u64,
    list: &'a [i64],
    layer: usize,
}

impl<'a, R: Iterator<Item = &'a [i64]>> Work for Dots<'_, R> {
    type Output = Result<Vec<Wide>, Fault>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { rows, most, list, layer } = self;
        let terms = terms_by_limbs(most, magnitudes(list), list.len());
        let mut found = Vec::with_capacity(rows.size_hint().0);
        for row in rows {
            (row.len() == list.len()).then_some(()).shaped(layer)?;
            found.push(products(row, list, terms));
        }
        Ok(found)
    }
}

/// Without vector instructions there is one way to work, and none faster than row by row.
#[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
mod vector {
    use alloc::vec::Vec;

    /// Something to do.
    pub(crate) trait Work {
        /// What comes of it.
        type Output;
        /// Does it.
        fn call(self) -> Self::Output;
    }

    pub(crate) fn vectorized<W: Work>(work: W) -> W::Output {
        work.call()
    }

    pub(crate) fn column_floors(
        _: &[&[i64]],
        _: u128,
        _: crate::table::Weights<'_>,
    ) -> Option<Vec<Vec<i64>>> {
        None
    }
}

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod vector {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::arch::x86_64::{__m256i, __m512i};
    use core::ops::Range;

    pub(crate) use pulp::NullaryFnOnce as Work;
    use pulp::bytemuck::Pod;
    use pulp::cast;
    use pulp::x86::{V3, V4};

    use crate::table::{Table, Weights};
    use crate::wide::{LOW, LOW_LIMB, magnitudes, terms_in_64_bits};

    pulp::simd_type! {
        /// AVX-512 with fused multiply-adds of 52 bits, as pulp names what a machine has.
        struct Ifma {
            avx512f: "avx512f",
            avx512bw: "avx512bw",
            avx512dq: "avx512dq",
            avx512vl: "avx512vl",
            avx512ifma: "avx512ifma",
        }
    }

    /// Lists that are multiplied with a vector of weights while it is at hand.
    const LISTS: usize = 4;
    /// Terms of which the weights stay in the cache.
    const TERMS: usize = 128;
    /// Bits of the lower of the two numbers that a sum is had in.
    const LOWER: u32 = 2 * LOW;
    /// What it has of a sum.
    const LOWER_BITS: i64 = (1 << LOWER) - 1;

    /// Does the work by the best instruction set of the machine; what is not inlined is not compiled for it.
    pub(crate) fn vectorized<W: Work>(work: W) -> W::Output {
        match (V4::try_new(), V3::try_new()) {
            (Some(lanes), _) => lanes.vectorize(work),
            (None, Some(lanes)) => lanes.vectorize(work),
            (None, None) => work.call(),
        }
    }

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

    /// A way to multiply lists with `N` columns at once.
    trait Way<const N: usize>: Copy {
        /// A number of a list, as it goes into products.
        type Factor: Copy + PartialEq;
        /// So made of the number.
        fn factor(self, number: i64) -> Self::Factor;
        /// A weight as a lane has it.
        fn weight(self, weight: i64) -> i64;
        /// What the products of up to [`TERMS`] terms add up to for each list, `high 2^52 + low` with `|low| < 2^63 - 2^52`.
        fn sums(
            self,
            factors: &[[Self::Factor; LISTS]],
            weights: &[[i64; N]],
        ) -> impl Iterator<Item = [[i64; N]; 2]>;
    }

    /// Three products of limbs.
    #[derive(Clone, Copy)]
    struct Limbs<L>(L);

    impl<L: Lanes, const N: usize> Way<N> for Limbs<L>
    where
        [i64; N]: Pod,
    {
        type Factor = [i64; 3];

        #[inline(always)]
        fn factor(self, number: i64) -> [i64; 3] {
            let (low, high) = (number & LOW_LIMB, number >> LOW);
            [low, high, low.wrapping_add(high)]
        }

        /// The low limb in the lower half of the lane and the high one in the upper.
        #[inline(always)]
        fn weight(self, weight: i64) -> i64 {
            (weight >> LOW << 32) | (weight & LOW_LIMB)
        }

        #[inline(always)]
        fn sums(
            self,
            factors: &[[[i64; 3]; LISTS]],
            weights: &[[i64; N]],
        ) -> impl Iterator<Item = [[i64; N]; 2]> {
            let Self(lanes) = self;
            let mut sums = [[cast::<_, L::Vector>([0i64; N]); 3]; LISTS];
            for (factors, weights) in factors.iter().zip(weights) {
                let low = cast(*weights);
                let high = lanes.high(low);
                let weights = [low, high, lanes.add(low, high)];
                for (sums, limbs) in sums.iter_mut().zip(factors) {
                    for ((sum, limb), weight) in sums.iter_mut().zip(limbs).zip(weights) {
                        *sum = lanes.add(*sum, lanes.mul(cast([*limb; N]), weight));
                    }
                }
            }
            sums.into_iter().map(|sums| {
                let [mut ll, mut hh, both] = sums.map(cast::<_, [i64; N]>);
                for ((ll, hh), both) in ll.iter_mut().zip(&mut hh).zip(both) {
                    // Each is at most 2^62 in magnitude, the middle too.
                    let middle = both.wrapping_sub(*ll).wrapping_sub(*hh).wrapping_add(*ll >> LOW);
                    *hh = hh.wrapping_add(middle >> LOW);
                    *ll = ((middle & LOW_LIMB) << LOW) | (*ll & LOW_LIMB);
                }
                [hh, ll]
            })
        }
    }

    /// Fused multiply-adds of 52 bits without sign: `w = w_1 2^coarse + w_0` with `0 <= w_0 < 2^coarse`, and the products are those
    /// of `c + 2^(51 - coarse)` and `w_1 + 2^51`, of which neither is below 0 or has more bits.
    #[derive(Clone, Copy)]
    struct Fused {
        lanes: Ifma,
        coarse: u32,
    }

    impl Fused {
        /// For numbers and weights of these magnitudes.
        fn of(lanes: Ifma, numbers: u64, largest: u64) -> Option<Self> {
            let coarse =
                (0..=3u32).find(|coarse| largest.checked_shr(coarse.saturating_add(51)) == Some(0))?;
            (numbers.checked_shr(51u32.checked_sub(coarse)?)? == 0).then_some(Self { lanes, coarse })
        }

        /// What is added to a number of a list.
        #[inline(always)]
        fn shift(self) -> i64 {
            1 << 51u32.saturating_sub(self.coarse)
        }
    }

    impl Way<8> for Fused {
        type Factor = i64;

        #[inline(always)]
        fn factor(self, number: i64) -> i64 {
            number.wrapping_add(self.shift())
        }

        /// What has been cut off stands above the 52 bits that products read.
        #[inline(always)]
        fn weight(self, weight: i64) -> i64 {
            let fine = weight & (1i64 << self.coarse).wrapping_sub(1);
            (fine << LOWER) | (weight >> self.coarse).wrapping_add(1 << 51)
        }

        #[inline(always)]
        fn sums(self, factors: &[[i64; LISTS]], weights: &[[i64; 8]]) -> impl Iterator<Item = [[i64; 8]; 2]> {
            let (f, ifma) = (self.lanes.avx512f, self.lanes.avx512ifma);
            let none = cast::<_, __m512i>([0i64; 8]);
            let lower_bits = cast([LOWER_BITS; 8]);
            let (mut sums, mut weight, mut bits) = ([[none; 2]; LISTS], none, none);
            let (mut number, mut count) = ([0i64; LISTS], 0i64);
            for (factors, weights) in factors.iter().zip(weights) {
                let weights = cast(*weights);
                (bits, count) = (f._mm512_or_si512(bits, weights), count.wrapping_add(1));
                weight = f._mm512_add_epi64(weight, f._mm512_and_si512(weights, lower_bits));
                for (([low, high], number), factor) in sums.iter_mut().zip(&mut number).zip(factors) {
                    let factors = cast([*factor; 8]);
                    *low = ifma._mm512_madd52lo_epu64(*low, factors, weights);
                    *high = ifma._mm512_madd52hi_epu64(*high, factors, weights);
                    *number = number.wrapping_add(*factor);
                }
            }
            // Few weights have bits that are cut off.
            let (mut fine, mut fine_weight) = ([none; LISTS], none);
            if cast::<_, [i64; 8]>(bits).iter().any(|bits| bits >> LOWER != 0) {
                for (factors, weights) in factors.iter().zip(weights) {
                    let weights = f._mm512_srli_epi64::<LOWER>(cast(*weights));
                    fine_weight = f._mm512_add_epi64(fine_weight, weights);
                    for (fine, factor) in fine.iter_mut().zip(factors) {
                        *fine = ifma._mm512_madd52lo_epu64(*fine, cast([*factor; 8]), weights);
                    }
                }
            }
            let (weight, fine_weight): ([i64; 8], [i64; 8]) = (cast(weight), cast(fine_weight));
            sums.into_iter().zip(fine).zip(number).map(move |((sums, fine), number)| {
                let ([mut low, mut high], fine) = (sums.map(cast::<_, [i64; 8]>), cast::<_, [i64; 8]>(fine));
                // Of up to 128 terms, each summand has 62 bits at most.
                let own = (number << self.coarse).wrapping_sub(count << 51);
                let others = fine.iter().zip(weight.iter().zip(&fine_weight));
                for ((low, high), (fine, (weight, fine_weight))) in low.iter_mut().zip(&mut high).zip(others)
                {
                    // `2^51` times this, and the fine weights' share, is what the shifts of both have added.
                    let shifts = weight.wrapping_add(own);
                    let fine = fine.wrapping_sub(fine_weight.wrapping_mul(self.shift()));
                    *high = (*high << self.coarse).wrapping_sub(shifts >> 1);
                    *low = (*low << self.coarse).wrapping_add(fine).wrapping_sub((shifts & 1) << 51);
                }
                [high, low]
            })
        }
    }

    /// `floor(sum_i c_i W_ij / 2^bits)` for every list `c` and column `j`; `reach` is at least `sum_i |c_i|` of each.
    ///
    /// `None` where it would not pay, where a list has another length than the weights are high, or where magnitudes do not show
    /// that all of it is in range: then each has to be looked at alone.
    pub(crate) fn column_floors(
        lists: &[&[i64]],
        reach: u128,
        weights: Weights<'_>,
    ) -> Option<Vec<Vec<i64>>> {
        let up = LOWER.checked_sub(weights.bits)?;
        let most = reach.checked_mul(weights.largest.into())?.checked_shr(weights.bits)?;
        let numbers = lists.iter().fold(0, |bits, list| bits | magnitudes(list));
        let terms = usize::try_from(terms_in_64_bits(numbers, weights.largest)?).ok();
        let terms = terms.filter(|terms| *terms > 0)?.min(TERMS);
        let suits = |list: &&[i64]| list.len() == weights.table.height();
        if most >> 62 != 0 || lists.len() < LISTS || !lists.iter().all(suits) {
            return None;
        }
        let Weights { table: weight, from, .. } = weights;
        if let Some(way) = Ifma::try_new().and_then(|lanes| Fused::of(lanes, numbers, weights.largest)) {
            return way.lanes.vectorize(Product { way, lists, weight, from, terms: TERMS, up });
        }
        match V4::try_new() {
            Some(lanes) => {
                lanes.vectorize(Product::<_, 8> { way: Limbs(lanes), lists, weight, from, terms, up })
            }
            None => {
                let lanes = V3::try_new()?;
                lanes.vectorize(Product::<_, 4> { way: Limbs(lanes), lists, weight, from, terms, up })
            }
        }
    }

    /// [`column_floors`] by vectors of `N` lanes, at most `terms` terms of them in 64 bits; `up` is what is left of 52 bits.
    struct Product<'a, W, const N: usize> {
        way: W,
        lists: &'a [&'a [i64]],
        weight: &'a Table<i64>,
        from: usize,
        terms: usize,
        up: u32,
    }

    impl<W: Way<N>, const N: usize> Work for Product<'_, W, N> {
        type Output = Option<Vec<Vec<i64>>>;

        // What is not inlined is not compiled for the instruction set.
        #[inline(always)]
        fn call(self) -> Self::Output {
            let Self { way, lists, weight, from, terms, up } = self;
            let columns = weight.columns().checked_sub(from).filter(|columns| *columns > 0)?;
            let across = columns.div_ceil(N);
            // `high 2^52 + low` with `0 <= low < 2^52`, for every list a panel of columns after the other.
            let mut sums = vec![[[0i64; N]; 2]; lists.len().checked_mul(across)?];
            let counts = |term: &usize| lists.iter().any(|list| list.get(*term) != Some(&0));
            let counted: Vec<usize> = (0..weight.height()).filter(counts).collect();
            for terms in counted.chunks(terms) {
                let mut panels = vec![Vec::with_capacity(terms.len()); across];
                for &term in terms {
                    for (panel, weights) in panels.iter_mut().zip(weight.row(term)?.get(from..)?.chunks(N)) {
                        panel.push(packed::<W, N>(way, weights));
                    }
                }
                let spans: Vec<_> = panels.iter().map(|panel| span(panel, &[way.weight(0); N])).collect();
                // Beside the last lists, those of others may stay: their sums are not taken.
                let mut factors = vec![[way.factor(0); LISTS]; terms.len()];
                for (lists, sums) in lists.chunks(LISTS).zip(sums.chunks_mut(LISTS.checked_mul(across)?)) {
                    for (factors, &term) in factors.iter_mut().zip(terms) {
                        for (factor, list) in factors.iter_mut().zip(lists) {
                            *factor = way.factor(*list.get(term)?);
                        }
                    }
                    let own = span(&factors, &[way.factor(0); LISTS]);
                    let mut places = sums.chunks_mut(across).map(|sums| sums.iter_mut()).collect::<Vec<_>>();
                    for (weights, span) in panels.iter().zip(&spans) {
                        // Networks beside each other are apart: most panels have no weight where a list has a number.
                        let both = own.start.max(span.start)..own.end.min(span.end);
                        let columns = places.iter_mut().map(Iterator::next);
                        let Some((factors, weights)) =
                            factors.get(both.clone()).zip(weights.get(both)).filter(|t| !t.0.is_empty())
                        else {
                            columns.for_each(drop);
                            continue;
                        };
                        for (sums, found) in columns.zip(way.sums(factors, weights)) {
                            add(sums?, found);
                        }
                    }
                }
            }
            let mut floors = Vec::with_capacity(lists.len());
            // The weights' bits.
            let down = LOWER.checked_sub(up)?;
            for sums in sums.chunks(across) {
                let mut own = Vec::with_capacity(columns.checked_next_multiple_of(N)?);
                for [high, low] in sums {
                    let mut floor = *high;
                    for (floor, low) in floor.iter_mut().zip(low) {
                        *floor = (*floor << up) | (low >> down);
                    }
                    own.extend(floor);
                }
                own.truncate(columns);
                floors.push(own);
            }
            Some(floors)
        }
    }

    /// The least range of items outside which all are 0.
    #[inline(always)]
    fn span<T: PartialEq>(items: &[T], zero: &T) -> Range<usize> {
        let counts = |item: &T| item != zero;
        let start = items.iter().position(counts).unwrap_or(items.len());
        start..items.iter().rposition(counts).map_or(start, |last| last.saturating_add(1))
    }

    /// Up to `N` weights, a lane each.
    #[inline(always)]
    fn packed<W: Way<N>, const N: usize>(way: W, weights: &[i64]) -> [i64; N] {
        let mut lanes = [0; N];
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane = *weight;
        }
        lanes.map(|weight| way.weight(weight))
    }

    /// Adds to `high 2^52 + low`; the whole sum is below `2^114`.
    #[inline(always)]
    fn add<const N: usize>([high, low]: &mut [[i64; N]; 2], [more_high, more_low]: [[i64; N]; 2]) {
        let more = more_high.into_iter().zip(more_low);
        for ((high, low), (more_high, more_low)) in high.iter_mut().zip(low).zip(more) {
            let sum = low.wrapping_add(more_low);
            *high = high.wrapping_add(more_high).wrapping_add(sum >> LOWER);
            *low = sum & LOWER_BITS;
        }
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::*;
        use crate::grid::{GridActivation, GridLayer};
        use crate::wide::{absolute_sum, mul};

        /// The floors of every instruction set that the machine has, with `terms` terms in 64 bits.
        fn found(lists: &[&[i64]], layer: &GridLayer, terms: usize) -> Vec<Option<Vec<Vec<i64>>>> {
            let (weight, up) = (&layer.weight, 52 - layer.weight_bits);
            let v3 = V3::try_new().map(|lanes| {
                lanes.vectorize(Product::<_, 4> { way: Limbs(lanes), lists, weight, from: 0, terms, up })
            });
            let v4 = V4::try_new().map(|lanes| {
                lanes.vectorize(Product::<_, 8> { way: Limbs(lanes), lists, weight, from: 0, terms, up })
            });
            let numbers = lists.iter().fold(0, |bits, list| bits | magnitudes(list));
            let fused = Ifma::try_new().and_then(|lanes| Fused::of(lanes, numbers, layer.largest));
            let fused = fused
                .map(|way| way.lanes.vectorize(Product { way, lists, weight, from: 0, terms: TERMS, up }));
            [v3, v4, fused].into_iter().flatten().collect()
        }

        fn plain(lists: &[&[i64]], layer: &GridLayer) -> Vec<Vec<i64>> {
            let floor = |list: &[i64], j| {
                let products = list.iter().zip(layer.weight.rows()).map(|(&c, row)| mul(c, row[j]));
                i64::try_from(products.sum::<i128>() >> layer.weight_bits).unwrap()
            };
            let columns = layer.weight.columns();
            lists.iter().map(|list| (0..columns).map(|j| floor(list, j)).collect()).collect()
        }

        fn layer(height: usize, columns: usize, weights: Vec<i64>, weight_bits: u32) -> GridLayer {
            let largest = weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
            let weight = Table::new(height, columns, weights, 0).unwrap();
            GridLayer {
                absolute: weight.map(|w| w.saturating_abs()),
                weight,
                largest,
                weight_bits,
                weight_error: 0,
                bias: vec![(0, 0); height],
                activation: GridActivation::Identity,
            }
        }

        fn reach(lists: &[&[i64]]) -> u128 {
            lists.iter().map(|list| absolute_sum(list)).max().unwrap_or(0)
        }

        fn terms(lists: &[&[i64]], layer: &GridLayer) -> usize {
            let terms =
                terms_in_64_bits(lists.iter().fold(0, |bits, list| bits | magnitudes(list)), layer.largest)
                    .unwrap();
            terms.try_into().unwrap()
        }

        /// Magnitudes of any number of bits up to 56, and what lies around the ends of limbs.
        fn number() -> impl Strategy<Value = i64> {
            const MOST: i64 = (1 << 56) - 1;
            let ends = prop::sample::select(vec![0, 1, -1, LOW_LIMB, -LOW_LIMB, LOW_LIMB + 1, MOST, -MOST]);
            prop_oneof![1 => Just(0i64), 2 => ends, 5 => (-MOST..=MOST, 0..56u32).prop_map(|(x, shift)| x >> shift)]
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(400))]

            #[test]
            fn vectors_say_what_single_products_say(
                (count, height, columns) in (1..10usize, 1..40usize, 1..20usize),
                (bits, c_shift, w_shift) in (0..=52u32, 0..40u32, 0..40u32),
                pool in prop::collection::vec(number(), 1..800),
                dropped in prop::collection::vec(any::<bool>(), 40),
            ) {
                let mut pool = pool.iter().cycle().copied();
                let lists = (0..count).map(|_| {
                    let list = dropped.iter().take(height);
                    list.map(|&drop| if drop { 0 } else { pool.next().unwrap_or(0) >> c_shift }).collect::<Vec<_>>()
                });
                let lists: Vec<Vec<i64>> = lists.collect();
                let lists: Vec<&[i64]> = lists.iter().map(|list| &**list).collect();
                let weights = pool.take(height * columns).map(|w| w >> w_shift).collect();
                let layer = layer(height, columns, weights, bits);
                let most = (reach(&lists) * u128::from(layer.largest)) >> bits;
                let floors = column_floors(&lists, reach(&lists), layer.weights());
                prop_assert_eq!(floors.is_some(), most >> 62 == 0 && count >= LISTS && V3::try_new().is_some());
                // From any column on, and from none.
                let after = Weights { from: usize::try_from(bits).unwrap() % (columns + 1), ..layer.weights() };
                if let Some(floors) = column_floors(&lists, reach(&lists), after) {
                    let cut = |row: Vec<i64>| row[after.from..].to_vec();
                    prop_assert_eq!(floors, plain(&lists, &layer).into_iter().map(cut).collect::<Vec<_>>());
                } else {
                    prop_assert!(floors.is_none() || after.from == columns);
                }
                if most >> 62 == 0 {
                    for some in found(&lists, &layer, terms(&lists, &layer)) {
                        prop_assert_eq!(some.unwrap(), plain(&lists, &layer));
                    }
                    if let Some(floors) = floors {
                        prop_assert_eq!(floors, plain(&lists, &layer));
                    }
                }
            }
        }

        /// Every limb as large as it can be, more terms than 64 bits hold and than are packed at once, and of either sign.
        #[test]
        fn sums_leave_64_bits_in_time() {
            let most = (1i64 << 57) - (1 << 52) - 1;
            for (c, w) in [(most, most), (-most, most), (-most, -most), (1 << 50, 1 << 52), (1 << 56, -1)] {
                for (height, columns) in [(1, 1), (3, 9), (300, 17)] {
                    let list = vec![c; height];
                    let lists = [&list[..]; 5];
                    // What three hundred such products add up to has 123 bits, of which 52 are cut off: none of the first three fits.
                    let layer = layer(height, columns, vec![w; height * columns], 52);
                    let terms = terms(&lists, &layer);
                    // Limbs of 2^31 each: a second product might leave 63 bits.
                    assert_eq!(terms == 1, c.abs() == most && w.abs() == most);
                    for floors in found(&lists, &layer, terms) {
                        let floors = floors.unwrap();
                        let exact = (mul(c, w) * i128::try_from(height).unwrap()) >> 52;
                        let fits = i64::try_from(exact).is_ok();
                        assert_eq!(floors == vec![vec![i64::try_from(exact).unwrap_or(0); columns]; 5], fits);
                        assert_eq!(
                            column_floors(&lists, reach(&lists), layer.weights()).is_some(),
                            exact.abs() >> 62 == 0
                        );
                    }
                }
            }
        }

        /// As large as 52 bits without sign take them, of either sign, with and without bits that are cut off, in more terms than one
        /// block has; and one beyond.
        #[test]
        fn fused_products_reach_their_ends() {
            for coarse in 0..=3 {
                let (c, w) = ((1i64 << (51 - coarse)) - 1, (1i64 << (51 + coarse)) - 1);
                for (c, w) in [(c, w), (-c, w), (c, -w), (-c, -w), (c, 1), (-1, -w), (3, w - 1), (-c, 0)] {
                    for (height, mixed) in [(1, true), (127, true), (300, true), (128, false), (600, false)] {
                        let list = (0..height).map(|i| if mixed && i % 5 == 4 { -c } else { c });
                        let list: Vec<i64> = list.collect();
                        let lists = [&list[..]; 6];
                        let weights = (0..height * 11).map(|i| if mixed && i % 7 == 3 { -w } else { w });
                        let layer = layer(height.try_into().unwrap(), 11, weights.collect(), 52);
                        let floors = found(&lists, &layer, terms(&lists, &layer));
                        assert!(floors.len() == 3 || Ifma::try_new().is_none());
                        assert!(
                            floors.iter().all(|found| *found == Some(plain(&lists, &layer))),
                            "{coarse} {c} {w}"
                        );
                    }
                }
                if let Some(lanes) = Ifma::try_new() {
                    let (c, w) = (c.unsigned_abs(), w.unsigned_abs());
                    assert!(Fused::of(lanes, c, w).is_some_and(|way| way.coarse == coarse));
                    assert!(Fused::of(lanes, c + 1, w).is_none());
                    assert!(Fused::of(lanes, c, w + 1).is_none());
                    // Bits that are cut off, times what is added to numbers, have room for three.
                    assert!(Fused::of(lanes, 1, 1 << 54).is_none());
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
                let layer = layer(height, columns, weights.collect(), 27);
                for floors in found(&lists, &layer, terms(&lists, &layer)) {
                    assert_eq!(floors, Some(plain(&lists, &layer)), "{height} {columns} {edge}");
                }
            }
        }

        /// A longer limb, a list of another length, too few lists, finer weights than 52 bits, floors that may pass 2^62: one by one.
        #[test]
        fn what_does_not_fit_is_left_alone() {
            let floors = |list: &[i64], count: usize, w: i64, bits: u32| {
                let lists = vec![list; count];
                let floors = column_floors(&lists, reach(&lists), layer(2, 3, vec![w; 6], bits).weights());
                floors.map(|floors| floors.len())
            };
            let there = V3::try_new().map(|_| 4);
            assert_eq!(floors(&[1, 2], 4, 3, 52), there);
            assert_eq!(floors(&[1, 2], 4, 3, 0), there);
            assert_eq!(floors(&[1, 2], 4, 3, 53), None);
            assert_eq!(floors(&[1, 2], 3, 3, 52), None);
            assert_eq!(floors(&[1, 2, 3], 4, 3, 52), None);
            let most = (1i64 << 57) - (1 << 52) - 1;
            for (c, w, fits) in [(most, 1, true), (most + (1 << 26), 1, false), (1, i64::MIN, false)] {
                assert_eq!(floors(&[c, 0], 4, w, 52), there.filter(|_| fits), "{c} {w}");
            }
            for (c, fits) in [((1 << 31) - 1, true), (1 << 31, false)] {
                assert_eq!(floors(&[c, 0], 4, 1 << 31, 0), there.filter(|_| fits), "{c}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wide::{mul, total};

    #[test]
    fn lists_of_one_length_are_multiplied() {
        assert_eq!(dot(&[2, -3], &[5, 7], 0), Ok((-11i64).into()));
        assert_eq!(dot(&[2, -3], &[5], 4), Err(Fault::ShapeMismatch { layer: 4 }));
        let far = [i64::MIN; 2];
        assert_eq!(dot(&far, &far, 3).map(Wide::get), Ok(None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Of any magnitudes, alone and in a table: what single products add up to, or that they do not fit.
        #[test]
        fn dots_say_what_single_products_say(
            (a_bits, b_bits) in (1..64u32, 1..64u32),
            rows in prop::collection::vec(any::<[i64; 9]>(), 1..5),
            list in any::<[i64; 9]>(),
        ) {
            let list = list.map(|b| b >> (64 - b_bits));
            let rows: Vec<[i64; 9]> = rows.into_iter().map(|row| row.map(|a| a >> (64 - a_bits))).collect();
            let wanted: Vec<Wide> = rows.iter().map(|row| total(row.iter().zip(list).map(|(&a, b)| mul(a, b)))).collect();
            let alone: Vec<Wide> = rows.iter().map(|row| dot(row, &list, 0).unwrap()).collect();
            prop_assert_eq!(&alone, &wanted);
            let table = Table::new(rows.len(), 9, rows.concat(), 0).unwrap();
            prop_assert_eq!(dots(&table, magnitudes(table.values()), &list, 0).unwrap(), wanted);
        }
    }
}
