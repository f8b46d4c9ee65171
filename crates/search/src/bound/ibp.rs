//! Interval bound propagation in `f64`. Untrusted. `spec/rules/README.md` (family `ibp`).

use crate::bound::kernel::{Work, dispatch};
use crate::bound::{FloatBounds, FloatRegion, SLACK};
use crate::float::{FloatLayer, FloatNetwork};

/// Bounds of `weight * x + bias` over a region of inputs: widened by [`SLACK`].
pub fn bound_first(layer: &FloatLayer, region: &FloatRegion) -> FloatBounds {
    match region {
        FloatRegion::Box { center, radius } => spread(layer, center, radius),
        FloatRegion::Ball { center, radius } => {
            let mut middle = Vec::new();
            layer.affine(center, &mut middle);
            let norms = layer.weight.chunks_exact(layer.inputs);
            let norms = norms.map(|row| radius * row.iter().map(|w| w * w).sum::<f64>().sqrt());
            let norms: Vec<f64> = norms.collect();
            around(&middle, &norms)
        }
    }
}

/// Bounds of the next pre-activation from bounds of the last one.
pub fn bound_next(previous: &FloatLayer, layer: &FloatLayer, pre: &FloatBounds) -> FloatBounds {
    let post = |(l, u): (&f64, &f64)| previous.activation.range(*l, *u);
    let ends: Vec<(f64, f64)> = pre.lower.iter().zip(&pre.upper).map(post).collect();
    let center: Vec<f64> = ends.iter().map(|(l, u)| 0.5 * (l + u)).collect();
    let radius: Vec<f64> = ends.iter().map(|(l, u)| 0.5 * (u - l)).collect();
    spread(layer, &center, &radius)
}

/// Interval bounds of every pre-activation, layer by layer, and of the outputs.
pub fn bound_ibp(network: &FloatNetwork, region: &FloatRegion) -> (Vec<FloatBounds>, FloatBounds) {
    let mut pre = Vec::with_capacity(network.layers.len());
    let mut bounds = FloatBounds::default();
    for (index, layer) in network.layers.iter().enumerate() {
        bounds = match index.checked_sub(1).and_then(|i| network.layers.get(i)) {
            None => bound_first(layer, region),
            Some(previous) => bound_next(previous, layer, &bounds),
        };
        pre.push(bounds.clone());
    }
    if let Some(last) = network.layers.last() {
        bounds = bounds.through(last.activation);
    }
    (pre, bounds)
}

fn around(middle: &[f64], spread: &[f64]) -> FloatBounds {
    let wide = |m: &f64, s: &f64| s + SLACK * (m.abs() + s);
    FloatBounds {
        lower: middle.iter().zip(spread).map(|(m, s)| m - wide(m, s)).collect(),
        upper: middle.iter().zip(spread).map(|(m, s)| m + wide(m, s)).collect(),
    }
}

fn spread(layer: &FloatLayer, center: &[f64], radius: &[f64]) -> FloatBounds {
    let mut middle = layer.bias.clone();
    let mut width = vec![0.0; layer.outputs];
    dispatch(Spread { layer, center, radius, middle: &mut middle, width: &mut width });
    around(&middle, &width)
}

/// `middle += weight * center`, `width += |weight| * radius`; input by input, so that the inner loop runs over
/// neighbours in memory.
struct Spread<'a> {
    layer: &'a FloatLayer,
    center: &'a [f64],
    radius: &'a [f64],
    middle: &'a mut [f64],
    width: &'a mut [f64],
}

impl Work for Spread<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let inputs = self.center.iter().zip(self.radius).enumerate();
        for (j, (c, r)) in inputs.filter(|(_, (c, r))| **c != 0.0 || **r != 0.0) {
            if let Some(sparse) = &self.layer.sparse {
                for (o, w) in &sparse.entries[sparse.starts[j]..sparse.starts[j + 1]] {
                    self.middle[*o as usize] += c * w;
                    self.width[*o as usize] += r * w.abs();
                }
                continue;
            }
            let column = &self.layer.transposed[j * self.layer.outputs..][..self.layer.outputs];
            for ((m, s), w) in self.middle.iter_mut().zip(&mut *self.width).zip(column) {
                *m += c * w;
                *s += r * w.abs();
            }
        }
    }
}
