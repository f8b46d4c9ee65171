//! The one matrix product of backward bounding, `out += weight^T * coefficients`, on column panels that stay in cache.
//! Untrusted. Plain loops, compiled a second time for AVX2 and AVX-512 and chosen at run time: on 256 x 17 x 512
//! `matrixmultiply` takes twice as long, because it packs both operands again for every call. Without the feature `simd`: plain loops.

use std::sync::OnceLock;

use crate::float::FloatSparse;

/// Columns handled together: sixteen bounds are followed through the whole network before the next sixteen, so that
/// their coefficients never leave the first two cache levels.
pub const PANEL: usize = 16;

/// One row of a panel.
pub type Lane = [f64; PANEL];

/// `out[j] += sum_i weight[rows[i]][j] * panel[i]` for every column `j` of a weight matrix.
pub struct Product<'a> {
    /// Row-major, `width` columns.
    pub weight: &'a [f64],
    /// Columns of `weight`, lanes of `out`.
    pub width: usize,
    /// The same weights by column, if few are nonzero.
    pub sparse: Option<&'a FloatSparse>,
}

/// Work compiled once for each instruction set; `run` and what it calls must be `#[inline(always)]`.
pub trait Work {
    /// Does the work; `FUSED` says that multiply-add is one instruction.
    fn run<const FUSED: bool>(self);
}

#[derive(Clone, Copy)]
enum Level {
    Plain,
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    Avx2,
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    Avx512,
}

fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        Level::Plain
    })
}

/// Runs the work with the widest instructions that this processor has.
#[cfg_attr(
    all(feature = "simd", target_arch = "x86_64"),
    expect(unsafe_code, reason = "instructions chosen at run time")
)]
pub fn dispatch<W: Work>(work: W) {
    match level() {
        Level::Plain => work.run::<false>(),
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        // SAFETY: `level` returns this variant only after the running processor reported avx2 and fma.
        Level::Avx2 => unsafe { run_avx2(work) },
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        // SAFETY: `level` returns this variant only after the running processor reported avx512f and fma.
        Level::Avx512 => unsafe { run_avx512(work) },
    }
}

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<W: Work>(work: W) {
    work.run::<true>();
}

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx2,fma")]
fn run_avx512<W: Work>(work: W) {
    work.run::<true>();
}

impl Product<'_> {
    /// Adds the product with the lanes of `rows` to `out`.
    ///
    /// With sparse columns `panel` holds a lane for EVERY row of `weight` instead, zero where a row does not count.
    #[inline(always)]
    pub fn add<const FUSED: bool>(&self, rows: &[u32], panel: &[Lane], out: &mut [Lane]) {
        if let Some(sparse) = self.sparse {
            return self.add_sparse::<FUSED>(sparse, panel, out);
        }
        let mut j = 0;
        while j + 4 <= self.width {
            self.block::<FUSED, 4>(rows, panel, out, j);
            j += 4;
        }
        while j < self.width {
            self.block::<FUSED, 1>(rows, panel, out, j);
            j += 1;
        }
    }

    #[inline(always)]
    fn block<const FUSED: bool, const J: usize>(
        &self,
        rows: &[u32],
        panel: &[Lane],
        out: &mut [Lane],
        j: usize,
    ) {
        let mut sums = [[0.0f64; PANEL]; J];
        for (row, lane) in rows.iter().zip(panel) {
            let start = *row as usize * self.width + j;
            let Some(weights) = self.weight.get(start..start + J) else { return };
            for (sum, w) in sums.iter_mut().zip(weights) {
                add_scaled::<FUSED>(sum, *w, lane);
            }
        }
        for (offset, sum) in sums.iter().enumerate() {
            if let Some(target) = out.get_mut(j + offset) {
                target.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
            }
        }
    }

    #[inline(always)]
    fn add_sparse<const FUSED: bool>(&self, sparse: &FloatSparse, panel: &[Lane], out: &mut [Lane]) {
        for (j, ends) in sparse.starts.windows(2).enumerate() {
            let (mut even, mut odd) = ([0.0f64; PANEL], [0.0f64; PANEL]);
            let mut pairs = sparse.entries[ends[0]..ends[1]].chunks_exact(2);
            for pair in &mut pairs {
                add_scaled::<FUSED>(&mut even, pair[0].1, &panel[pair[0].0 as usize]);
                add_scaled::<FUSED>(&mut odd, pair[1].1, &panel[pair[1].0 as usize]);
            }
            for (row, w) in pairs.remainder() {
                add_scaled::<FUSED>(&mut even, *w, &panel[*row as usize]);
            }
            out[j].iter_mut().zip(even.iter().zip(&odd)).for_each(|(t, (e, o))| *t += e + o);
        }
    }
}

/// `sum += w * lane`.
#[inline(always)]
pub fn add_scaled<const FUSED: bool>(sum: &mut Lane, w: f64, lane: &Lane) {
    for (s, c) in sum.iter_mut().zip(lane) {
        *s = if FUSED { w.mul_add(*c, *s) } else { *s + w * *c };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run<'a>(&'a Product<'a>, &'a [u32], &'a [Lane], &'a mut [Lane]);

    impl Work for Run<'_> {
        #[inline(always)]
        fn run<const FUSED: bool>(self) {
            self.0.add::<FUSED>(self.1, self.2, self.3);
        }
    }

    /// Small integers have exact sums, so that every order and instruction set gives the same.
    #[test]
    fn products_equal_the_triple_loop() {
        for (height, width) in [(1, 1), (3, 4), (7, 17), (20, 33)] {
            let weight: Vec<f64> = (0..height * width).map(|i| ((i * 7) % 11) as f64 - 5.0).collect();
            let rows: Vec<u32> = (0..height as u32).filter(|r| r % 3 != 1).collect();
            let lane = |r: u32| core::array::from_fn(|i| ((r as usize * 5 + i) % 13) as f64 - 6.0);
            let panel: Vec<Lane> = rows.iter().map(|r| lane(*r)).collect();
            let mut expected = vec![[1.0; PANEL]; width];
            for (row, lane) in rows.iter().zip(&panel) {
                for (j, out) in expected.iter_mut().enumerate() {
                    (0..PANEL).for_each(|i| out[i] += weight[*row as usize * width + j] * lane[i]);
                }
            }
            let product = Product { weight: &weight, width, sparse: None };
            let mut out = vec![[1.0; PANEL]; width];
            dispatch(Run(&product, &rows, &panel, &mut out));
            assert_eq!(out, expected);
            let mut out = vec![[1.0; PANEL]; width];
            product.add::<false>(&rows, &panel, &mut out);
            assert_eq!(out, expected);
            let (mut starts, mut entries) = (vec![0], Vec::new());
            for j in 0..width {
                entries.extend((0..height as u32).map(|r| (r, weight[r as usize * width + j])));
                starts.push(entries.len());
            }
            let sparse = FloatSparse { starts, entries };
            let mut full = vec![[0.0; PANEL]; height];
            rows.iter().zip(&panel).for_each(|(r, lane)| full[*r as usize] = *lane);
            let product = Product { weight: &weight, width, sparse: Some(&sparse) };
            let mut out = vec![[1.0; PANEL]; width];
            dispatch(Run(&product, &rows, &full, &mut out));
            assert_eq!(out, expected);
        }
    }
}
