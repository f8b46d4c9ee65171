//! Numbers side by side: the floats that many boxes are bounded in, and the matrix product on tiles that fit into registers.
//! Untrusted.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use crate::float::{FloatActivation, FloatLayer, FloatSparse};

/// Columns of a tile: with two vectors of lanes, twelve sums, which leaves room for what they are made of in the sixteen
/// registers of AVX2. Of 4, 6 and 8 it is the fastest.
const COLUMNS: usize = 6;

/// The floats that boxes are bounded in: `f32` takes half the time, `f64` is for networks with large cancellations.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// What is taken off every bound, relative to the terms it was summed from.
    const SLACK: f64;
    /// Whether lines of curves are taken from [`rough_tanh`], without a branch.
    const ROUGH: bool;
    /// The nearest float.
    fn from_f64(value: f64) -> Self;
    /// The same number.
    fn to_f64(self) -> f64;
    /// `self * by + to` with one rounding.
    fn fused(self, by: Self, to: Self) -> Self;
    /// The magnitude.
    fn size(self) -> Self;
    /// The square root.
    fn root(self) -> Self;
    /// `out[j] += sum_i weight[rows[i]][j] * lanes[i]` for every column `j` of the weights. See [`Tiles::every_row`].
    fn add_product<const FUSED: bool, const L: usize>(
        weights: &Tiles<Self>,
        rows: &[u32],
        lanes: &[[Self; L]],
        out: &mut [[Self; L]],
    );
}

macro_rules! real {
    ($float:ty, $slack:expr, $rough:expr, $tile:expr) => {
        impl Real for $float {
            const SLACK: f64 = $slack;
            const ROUGH: bool = $rough;
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn fused(self, by: Self, to: Self) -> Self {
                self.mul_add(by, to)
            }
            #[inline(always)]
            fn size(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn add_product<const FUSED: bool, const L: usize>(
                weights: &Tiles<Self>,
                rows: &[u32],
                lanes: &[[Self; L]],
                out: &mut [[Self; L]],
            ) {
                weights.add::<FUSED, L, $tile>(rows, lanes, out);
            }
        }
    };
}

// A tile is two vectors of AVX2 wide.
real!(f32, 1.0 / (1u64 << 21) as f64, true, 16);
real!(f64, super::SLACK, false, 8);

/// The larger of two numbers.
#[inline(always)]
pub fn greater<T: Real>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// The smaller of two numbers.
#[inline(always)]
pub fn lesser<T: Real>(a: T, b: T) -> T {
    if a < b { a } else { b }
}

/// `a * b + c`.
#[inline(always)]
pub fn multiplied<T: Real, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.fused(b, c) } else { a * b + c }
}

/// A weight matrix as products read it: six columns of all rows, then the next six.
#[derive(Clone, Debug)]
pub struct Tiles<T> {
    weights: Vec<[T; COLUMNS]>,
    height: usize,
    /// Whether so many blocks of six are zero that it pays to look: networks beside each other share few weights.
    gaps: bool,
    /// The weights that are not zero, if they are few.
    sparse: Option<Sparse<T>>,
}

/// Weights by column: entries `starts[j] .. starts[j + 1]`, row and weight, belong to column `j`.
#[derive(Clone, Debug)]
struct Sparse<T> {
    starts: Vec<usize>,
    entries: Vec<(u32, T)>,
}

impl<T: Real> Tiles<T> {
    /// Of a row-major matrix with `width` columns, and of its columns if few weights are not zero.
    pub fn new(weight: &[T], width: usize, sparse: Option<&FloatSparse>) -> Self {
        let height = weight.len() / width.max(1);
        let mut weights = Vec::with_capacity(width.div_ceil(COLUMNS) * height);
        for first in (0..width).step_by(COLUMNS) {
            weights.extend(
                weight
                    .chunks_exact(width)
                    .map(|row| core::array::from_fn(|j| row.get(first + j).copied().unwrap_or_default())),
            );
        }
        let zero = weights.iter().filter(|block| block.iter().all(|w| *w == T::default())).count();
        Self { gaps: 8 * zero > weights.len(), weights, height, sparse: sparse.map(Sparse::new) }
    }

    /// Whether products take a lane for every row, zero where it does not count, in place of those named.
    #[inline(always)]
    pub fn every_row(&self) -> bool {
        self.sparse.is_some()
    }

    /// `out[j] += sum_i weight[rows[i]][j] * lanes[i]`, `S` lanes at a time.
    #[inline(always)]
    fn add<const FUSED: bool, const L: usize, const S: usize>(
        &self,
        rows: &[u32],
        lanes: &[[T; L]],
        out: &mut [[T; L]],
    ) {
        if let Some(sparse) = &self.sparse {
            return sparse.add::<FUSED, L>(lanes, out);
        }
        // The lanes of a part stay in the nearest cache while the columns go by.
        for part in 0..L / S {
            let tiles = self.weights.chunks_exact(self.height.max(1)).zip(out.chunks_mut(COLUMNS));
            for (tile, out) in tiles {
                let sums = if self.gaps {
                    sums::<T, FUSED, true, L, S>(tile, rows, lanes, part)
                } else {
                    sums::<T, FUSED, false, L, S>(tile, rows, lanes, part)
                };
                for (out, sums) in out.iter_mut().zip(&sums) {
                    let Some(out) = out.as_chunks_mut::<S>().0.get_mut(part) else { continue };
                    let before: [T; S] = *out;
                    *out = core::array::from_fn(|s| before[s] + sums[s]);
                }
            }
        }
    }
}

impl<T: Real> Sparse<T> {
    fn new(sparse: &FloatSparse) -> Self {
        let entries = sparse.entries.iter().map(|(row, w)| (*row, T::from_f64(*w)));
        Self { starts: sparse.starts.clone(), entries: entries.collect() }
    }

    #[inline(always)]
    fn add<const FUSED: bool, const L: usize>(&self, lanes: &[[T; L]], out: &mut [[T; L]]) {
        for (ends, out) in self.starts.windows(2).zip(out) {
            let mut sum: [T; L] = *out;
            for (row, w) in &self.entries[ends[0]..ends[1]] {
                let lane: [T; L] = lanes[*row as usize];
                for s in 0..L {
                    sum[s] = multiplied::<T, FUSED>(*w, lane[s], sum[s]);
                }
            }
            *out = sum;
        }
    }
}

#[inline(always)]
fn sums<T: Real, const FUSED: bool, const GAPS: bool, const L: usize, const S: usize>(
    tile: &[[T; COLUMNS]],
    rows: &[u32],
    lanes: &[[T; L]],
    part: usize,
) -> [[T; S]; COLUMNS] {
    let mut sums = [[T::default(); S]; COLUMNS];
    for (row, lane) in rows.iter().zip(lanes) {
        let Some(weights) = tile.get(*row as usize) else { return sums };
        let Some(lane) = lane.as_chunks::<S>().0.get(part) else { return sums };
        if GAPS && weights.iter().all(|w| *w == T::default()) {
            continue;
        }
        let lane: [T; S] = *lane;
        for j in 0..COLUMNS {
            let w = weights[j];
            for s in 0..S {
                sums[j][s] = multiplied::<T, FUSED>(w, lane[s], sums[j][s]);
            }
        }
    }
    sums
}

/// A layer in these floats.
#[derive(Clone, Debug)]
pub struct RealLayer<T> {
    /// Row-major, outputs x inputs.
    pub weight: Vec<T>,
    /// Inputs x outputs.
    pub transposed: Vec<T>,
    /// The same weights for products.
    pub tiles: Tiles<T>,
    /// One per output.
    pub bias: Vec<T>,
    /// Columns.
    pub inputs: usize,
    /// Rows.
    pub outputs: usize,
    /// What follows.
    pub activation: FloatActivation,
}

impl<T: Real> RealLayer<T> {
    /// The layer, rounded.
    pub fn new(layer: &FloatLayer) -> Self {
        let rounded = |numbers: &[f64]| numbers.iter().map(|w| T::from_f64(*w)).collect::<Vec<T>>();
        let weight = rounded(&layer.weight);
        Self {
            tiles: Tiles::new(&weight, layer.inputs, layer.sparse.as_ref()),
            weight,
            transposed: rounded(&layer.transposed),
            bias: rounded(&layer.bias),
            inputs: layer.inputs,
            outputs: layer.outputs,
            activation: layer.activation,
        }
    }
}

/// Slope and intercept of the line below a curve, then of that above.
pub type Lines<T> = [T; 4];

/// How far [`tanh`] and the lines made of it may be off.
const OFF: f64 = 6e-7;

/// The lines of [`super::relax::lines`] for tanh, without a branch and off by rounding; the tangent point through the far end from a
/// quotient of polynomials, 4e-5 from the best one at most: a line through another point is as true.
#[inline(always)]
pub fn rough_tanh<T: Real>(l: T, u: T) -> Lines<T> {
    let (tl, tu) = (tanh(l), tanh(u));
    let (below, below_at) = tanh_below(l, u, tl, tu);
    let (above, mirrored) = tanh_below(-u, -l, -tu, -tl);
    let off = T::from_f64(OFF);
    [below, below_at - off, above, off - mirrored]
}

/// The same of the logistic function.
#[inline(always)]
pub fn rough_sigmoid<T: Real>(l: T, u: T) -> Lines<T> {
    let (half, quarter) = (T::from_f64(0.5), T::from_f64(0.25));
    let [below, below_at, above, above_at] = rough_tanh(half * l, half * u);
    [quarter * below, half + half * below_at, quarter * above, half + half * above_at]
}

#[inline(always)]
fn tanh_below<T: Real>(l: T, u: T, tl: T, tu: T) -> (T, T) {
    let (zero, one) = (T::default(), T::from_f64(1.0));
    let likely = l + T::from_f64(super::relax::LIKELY) * (u - l);
    let point = if u <= zero { likely } else { lesser(likely, touch(u)) };
    let value = tanh(point);
    let tangent = one - value * value;
    let tangent_at = lesser(value - tangent * point, tu - tangent * u);
    // In shorter intervals the quotient is noise.
    let flatter = one - greater(tl * tl, tu * tu);
    let chord = if u - l > T::from_f64(1e-3) { (tu - tl) / (u - l) } else { flatter };
    let chord_at = lesser(tl - chord * l, tu - chord * u);
    let straight = (l >= zero) | ((u > zero) & (chord <= one - tl * tl));
    if straight { (chord, chord_at) } else { (tangent, tangent_at) }
}

/// About where the tangent of tanh passes through `(u, tanh u)`, `u >= 0`.
#[inline(always)]
fn touch<T: Real>(u: T) -> T {
    const OVER: [f64; 4] = [0.499_742_35, 0.197_804_18, 0.086_197_4, 0.001_988_640_6];
    const UNDER: [f64; 5] = [1.0, 0.393_390_85, 0.274_275_99, 0.046_185_46, 0.000_600_550_3];
    let u = lesser(greater(u, T::default()), T::from_f64(32.0));
    -u * polynomial(OVER, u) / polynomial(UNDER, u)
}

#[inline(always)]
fn polynomial<T: Real, const N: usize>(coefficients: [f64; N], x: T) -> T {
    coefficients.into_iter().rev().fold(T::default(), |sum, c| sum * x + T::from_f64(c))
}

/// tanh to 3e-7.
///
/// # References
/// The quotient of polynomials is that of Eigen's `ptanh` (Eigen 3.4, `MathFunctionsImpl.h`).
#[inline(always)]
pub fn tanh<T: Real>(x: T) -> T {
    const OVER: [f64; 7] = [
        4.893_524_558_917_86e-3,
        6.372_619_288_754_36e-4,
        1.485_722_357_179_79e-5,
        5.122_297_090_371_14e-8,
        -8.604_671_522_137_35e-11,
        2.000_187_904_824_77e-13,
        -2.760_768_477_423_55e-16,
    ];
    const UNDER: [f64; 4] =
        [4.893_525_185_543_85e-3, 2.268_434_632_439e-3, 1.185_347_056_866_54e-4, 1.198_258_394_667_02e-6];
    let most = T::from_f64(7.905_311_107_637_980_5);
    let x = lesser(greater(x, -most), most);
    let square = x * x;
    x * polynomial(OVER, square) / polynomial(UNDER, square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::kernel::{Work, dispatch};
    use crate::bound::relax;

    struct Run<'a, T: Real>(&'a Tiles<T>, &'a [u32], &'a [[T; 32]], &'a mut [[T; 32]]);

    impl<T: Real> Work for Run<'_, T> {
        #[inline(always)]
        fn run<const FUSED: bool>(self) {
            T::add_product::<FUSED, 32>(self.0, self.1, self.2, self.3);
        }
    }

    /// Small integers have exact sums, so that every order, tile and instruction set gives the same: dense, with one row in two
    /// zero, and with so few weights that columns are walked along.
    fn products<T: Real + std::fmt::Debug>() {
        for (height, width) in [(1, 1), (3, 6), (7, 17), (20, 33)] {
            for keep in [1, 2, 12] {
                let number = |i: usize| {
                    let kept = if keep == 2 { (i / width).is_multiple_of(2) } else { i.is_multiple_of(keep) };
                    if kept { ((i * 7) % 11) as f64 - 5.5 } else { 0.0 }
                };
                let weight: Vec<f64> = (0..height * width).map(number).collect();
                let layer =
                    FloatLayer::new(width, weight.clone(), vec![0.0; height], FloatActivation::Identity);
                let tiles = RealLayer::<T>::new(&layer.unwrap()).tiles;
                assert_eq!(tiles.every_row(), keep == 12 && height > 1, "{keep}");
                let rows: Vec<u32> = (0..height as u32).filter(|r| r % 3 != 1).collect();
                let lane = |r: u32| -> [f64; 32] {
                    core::array::from_fn(|i| ((r as usize * 5 + i) % 13) as f64 - 6.0)
                };
                let zero = [T::default(); 32];
                let mut lanes = vec![zero; if tiles.every_row() { height } else { 0 }];
                let mut expected = vec![[1.0; 32]; width];
                for row in &rows {
                    let rounded = lane(*row).map(T::from_f64);
                    if tiles.every_row() {
                        lanes[*row as usize] = rounded
                    } else {
                        lanes.push(rounded)
                    }
                    for (j, out) in expected.iter_mut().enumerate() {
                        (0..32).for_each(|i| out[i] += weight[*row as usize * width + j] * lane(*row)[i]);
                    }
                }
                let mut out = vec![[T::from_f64(1.0); 32]; width];
                dispatch(Run(&tiles, &rows, &lanes, &mut out));
                let found: Vec<[f64; 32]> = out.iter().map(|lane| lane.map(T::to_f64)).collect();
                assert_eq!(found, expected, "{height} x {width}, {keep}");
            }
        }
    }

    #[test]
    fn products_equal_the_triple_loop() {
        products::<f32>();
        products::<f64>();
    }

    /// The rough lines hold the curve, and are nearly those that single boxes get.
    #[test]
    fn rough_lines_hold_the_curve() {
        let ends = [-31.0, -9.0, -3.0, -1.2, -0.3, -0.01, -1e-4, 0.0, 1e-5, 0.02, 0.4, 1.7, 3.5, 12.0, 31.0];
        for activation in [FloatActivation::Tanh, FloatActivation::Sigmoid] {
            for (i, l) in ends.iter().enumerate() {
                for u in &ends[i..] {
                    let (l32, u32) = (*l as f32, *u as f32);
                    let lines = if activation == FloatActivation::Tanh {
                        rough_tanh(l32, u32)
                    } else {
                        rough_sigmoid(l32, u32)
                    };
                    let [below, below_at, above, above_at] = lines.map(f64::from);
                    let best = relax::lines(activation, *l, *u);
                    for step in 0..=200 {
                        let z = l + (u - l) * f64::from(step) / 200.0;
                        let y = activation.apply(z);
                        let (low, high) = (below * z + below_at, above * z + above_at);
                        assert!(low <= y && y <= high, "{activation:?} [{l}, {u}] {z}: {low} {y} {high}");
                        let (lower, upper) = (
                            best.lower_slope * z + best.lower_intercept,
                            best.upper_slope * z + best.upper_intercept,
                        );
                        let far = (lower - low).abs().max((upper - high).abs());
                        assert!(far < 1e-4 * (1.0 + u - l), "{activation:?} [{l}, {u}] {z}: {far}");
                    }
                }
            }
        }
    }

    #[test]
    fn rough_values_are_near() {
        for i in -2000..=2000 {
            let x = f64::from(i) / 200.0;
            let off = f64::from(tanh(x as f32)) - x.tanh();
            assert!(off.abs() < 3e-7, "{x}: {off}");
        }
    }
}
