//! Binary32 inference as `spec/rules/float32.md` allows it: sums in random orders, fused or not, subnormal numbers kept or
//! flushed, tanh and the logistic function within their assumed accuracy. `below(n)` draws from `0..n`.

use num_bigint::BigInt;
use num_traits::ToPrimitive;
use secateur_kernel::model::{Activation, Mask, Network};
use secateur_kernel::number::{Dyadic, Rational};

/// One execution's choices.
pub struct Binary32<'a> {
    pub below: &'a mut dyn FnMut(usize) -> usize,
    /// Whether subnormal operands and results become 0.
    pub flushes: bool,
}

impl Binary32<'_> {
    fn kept(&self, x: f32) -> f32 {
        if self.flushes && x.is_subnormal() { 0.0 } else { x }
    }

    fn product(&self, w: f32, x: f32) -> f32 {
        self.kept(self.kept(w) * self.kept(x))
    }

    fn total(&self, x: f32, y: f32) -> f32 {
        self.kept(self.kept(x) + self.kept(y))
    }

    fn fused(&self, w: f32, x: f32, sum: f32) -> f32 {
        self.kept(self.kept(w).mul_add(self.kept(x), self.kept(sum)))
    }

    /// `w x + b`: a random order, by a random tree or one accumulator or eight, fused or not.
    fn sum(&mut self, row: &[f32], x: &[f32], bias: f32) -> f32 {
        let mut pairs: Vec<(f32, f32)> = row.iter().copied().zip(x.iter().copied()).collect();
        for last in (1..pairs.len()).rev() {
            pairs.swap(last, (self.below)(last + 1));
        }
        match (self.below)(4) {
            0 => pairs.iter().fold(bias, |sum, (w, x)| self.fused(*w, *x, sum)),
            1 => {
                let sum = pairs.iter().fold(0.0, |sum, (w, x)| self.total(sum, self.product(*w, *x)));
                self.total(sum, bias)
            }
            2 => {
                let mut lanes = [0.0f32; 8];
                for (index, (w, x)) in pairs.iter().enumerate() {
                    let lane = lanes[index % 8];
                    lanes[index % 8] = if (self.below)(2) == 0 {
                        self.fused(*w, *x, lane)
                    } else {
                        self.total(lane, self.product(*w, *x))
                    };
                }
                let sum = lanes.iter().fold(0.0, |sum, lane| self.total(sum, *lane));
                self.total(sum, bias)
            }
            _ => {
                let mut terms: Vec<f32> =
                    pairs.iter().map(|(w, x)| self.product(*w, *x)).chain([bias]).collect();
                while terms.len() > 1 {
                    let one = terms.swap_remove((self.below)(terms.len()));
                    let other = (self.below)(terms.len());
                    terms[other] = self.total(terms[other], one);
                }
                terms[0]
            }
        }
    }

    /// Any function within the assumed accuracy of tanh or the logistic function.
    fn inexact(&mut self, truth: f64) -> f32 {
        let off = ((self.below)(2001) as f64 - 1000.0) / 1000.0;
        (truth + off * 0.8 * 0.5f64.powi(22)) as f32
    }

    fn activate(&mut self, activation: &Activation, x: f32) -> f32 {
        let rounded = |r: &Rational| (whole(r.numerator()) / whole(r.denominator())) as f32;
        match activation {
            Activation::Identity => x,
            Activation::Relu => self.kept(x.max(0.0)),
            Activation::LeakyRelu { slope } => {
                if x >= 0.0 {
                    x
                } else {
                    self.product(rounded(slope), x)
                }
            }
            Activation::Tanh => self.inexact(f64::from(x).tanh()),
            Activation::Sigmoid => self.inexact(1.0 / (1.0 + (-f64::from(x)).exp())),
            Activation::Clip { lower, upper } => x.max(rounded(lower)).min(rounded(upper)),
            Activation::Elu { .. } | Activation::Silu => panic!("no float32 rule"),
        }
    }

    /// The outputs at `x` under a mask, if one is given.
    pub fn infer(&mut self, network: &Network, mask: Option<&Mask>, x: &[f32]) -> Vec<f32> {
        let mut post = x.to_vec();
        for (index, layer) in network.layers.iter().enumerate() {
            let float = |d: &Dyadic| (d.mantissa as f64 * 2.0f64.powi(d.exponent)) as f32;
            let mut weights: Vec<f32> = layer.weight.values.iter().map(float).collect();
            if let Some(mask) = mask {
                weights.iter_mut().zip(&mask.layers[index]).filter(|(_, k)| !**k).for_each(|(w, _)| *w = 0.0);
            }
            let rows: Vec<(&[f32], f32)> =
                weights.chunks(layer.weight.columns).zip(layer.bias.iter().map(float)).collect();
            post = rows
                .into_iter()
                .map(|(row, bias)| {
                    let pre = self.sum(row, &post, bias);
                    self.activate(&layer.activation, pre)
                })
                .collect();
        }
        post
    }
}

fn whole(value: &BigInt) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}

/// A binary32 number, exactly.
pub fn dyadic(value: f32) -> Dyadic {
    Dyadic::from_ieee(f64::from(value).to_bits(), 52, 11).expect("finite")
}
