//! The local rules over exact fractions: interval bounds, the hull recursion and backward bounds with given lines.
//! tanh comes as a rational enclosure of 128 bits. Slow and obvious; the integer grid is compared with it.

use num_bigint::BigInt;
use num_rational::Ratio;
use num_traits::{One, Signed, Zero};
use secateur_kernel::crown::CrownLayers;
use secateur_kernel::enclose::tanh;
use secateur_kernel::grid::SLOPE_BITS;
use secateur_kernel::model::{Activation, Layer, Mask, Network};
use secateur_kernel::number::Rational;
use secateur_kernel::relax::Line;

use super::curve;

pub type Fraction = Ratio<BigInt>;
/// Lower and upper end.
pub type Ends = (Fraction, Fraction);

pub fn fraction(value: &Rational) -> Fraction {
    Ratio::new(value.numerator().clone(), value.denominator().clone())
}

/// `value * 2^-bits`.
pub fn on_grid(value: i64, bits: u32) -> Fraction {
    Ratio::new(BigInt::from(value), BigInt::one() << bits)
}

fn rational(value: &Fraction) -> Rational {
    Rational::new(value.numer().clone(), value.denom().clone()).unwrap()
}

/// A masked network with fractions for weights.
pub struct Exact<'a> {
    pub layers: Vec<ExactLayer<'a>>,
}

pub struct ExactLayer<'a> {
    pub rows: Vec<Vec<Fraction>>,
    pub bias: Vec<Fraction>,
    pub activation: &'a Activation,
}

/// Boxes before and after each activation.
pub struct Boxes {
    pub pre: Vec<Vec<Ends>>,
    pub post: Vec<Vec<Ends>>,
}

impl<'a> Exact<'a> {
    pub fn new(network: &'a Network, mask: &Mask) -> Self {
        let layers = network.layers.iter().zip(&mask.layers);
        Self { layers: layers.map(|(layer, kept)| ExactLayer::new(layer, kept)).collect() }
    }

    /// `ibp.affine` and `ibp.activation`.
    pub fn intervals(&self, input: &[Ends]) -> Boxes {
        let mut boxes = Boxes { pre: Vec::new(), post: Vec::new() };
        for layer in &self.layers {
            let pre = layer.affine(boxes.post.last().map_or(input, Vec::as_slice));
            boxes.post.push(pre.iter().map(|z| value(layer.activation, z)).collect());
            boxes.pre.push(pre);
        }
        boxes
    }

    /// `hull.chain` over the given boxes of several masks.
    pub fn deviation(&self, boxes: &[Boxes], radii: &[Fraction]) -> Vec<Fraction> {
        let mut current = radii.to_vec();
        for (index, layer) in self.layers.iter().enumerate() {
            let next = layer.rows.iter().enumerate().map(|(neuron, row)| {
                let ends = boxes.iter().map(|b| &b.pre[index][neuron]);
                let lower = ends.clone().map(|e| e.0.clone()).min().unwrap();
                let upper = ends.map(|e| e.1.clone()).max().unwrap();
                let spread: Fraction = row.iter().zip(&current).map(|(w, d)| w.abs() * d).sum();
                largest_slope(layer.activation, &lower, &upper) * spread
            });
            current = next.collect();
        }
        current
    }

    /// Whether an end of a box before an activation lies within `2^-40` of a breakpoint: there a slope jumps, and the
    /// grid may take the larger one.
    pub fn at_breakpoint(&self, boxes: &[Boxes]) -> bool {
        let near = |x: &Fraction, y: &Fraction| (x - y).abs() < on_grid(1, 40);
        self.layers.iter().enumerate().any(|(index, layer)| {
            let points = breakpoints(layer.activation);
            let ends = boxes.iter().flat_map(|b| &b.pre[index]);
            ends.into_iter().any(|(l, u)| points.iter().any(|p| near(l, p) || near(u, p)))
        })
    }

    /// `crown.layers` with the slopes of `given` (for smooth activations its lines, since their tangent points are not
    /// exposed): the boxes before each activation.
    pub fn backward(&self, given: &CrownLayers, value_bits: u32, input: &ExactInput) -> Boxes {
        let mut boxes = Boxes { pre: Vec::new(), post: Vec::new() };
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let mut pre = layer.affine(boxes.post.last().map_or(&input.region, |v| v));
            let needed = index < last || *layer.activation != Activation::Identity;
            for (neuron, ends) in pre.iter_mut().enumerate() {
                let stable = match layer.activation {
                    Activation::Relu => !ends.0.is_negative() || !ends.1.is_positive(),
                    Activation::Elu { .. } => !ends.0.is_negative(),
                    _ => false,
                };
                if !needed || stable {
                    continue;
                }
                let row = &layer.rows[neuron];
                let negated: Vec<Fraction> = row.iter().map(|w| -w).collect();
                let upper = self.carry(&boxes, given, value_bits, index, row.clone(), input);
                let lower = self.carry(&boxes, given, value_bits, index, negated, input);
                ends.1 = (upper + &layer.bias[neuron]).min(ends.1.clone());
                ends.0 = (-lower + &layer.bias[neuron]).max(ends.0.clone());
            }
            boxes.post.push(pre.iter().map(|z| value(layer.activation, z)).collect());
            boxes.pre.push(pre);
        }
        boxes
    }

    /// The largest `coefficients . x`, x the inputs of layer `depth`, by lines down to the input set.
    pub fn carry(
        &self,
        boxes: &Boxes,
        given: &CrownLayers,
        value_bits: u32,
        depth: usize,
        mut coefficients: Vec<Fraction>,
        input: &ExactInput,
    ) -> Fraction {
        let mut constant = Fraction::zero();
        for index in (0..depth).rev() {
            let layer = &self.layers[index];
            for ((neuron, coefficient), lines) in
                coefficients.iter_mut().enumerate().zip(given.relaxed[index].neurons())
            {
                let above = !coefficient.is_negative();
                let line = if above { lines.upper } else { lines.lower };
                let (slope, intercept) =
                    exact_line(layer.activation, &boxes.pre[index][neuron], line, above, value_bits);
                constant += &*coefficient * intercept;
                *coefficient = &*coefficient * slope;
            }
            constant += coefficients.iter().zip(&layer.bias).map(|(c, b)| c * b).sum::<Fraction>();
            let columns = layer.rows[0].len();
            let column = |j: usize| coefficients.iter().zip(&layer.rows).map(|(c, row)| c * &row[j]).sum();
            coefficients = (0..columns).map(column).collect();
        }
        constant + input.largest(&coefficients)
    }
}

/// The input set: the box, and for an l2 set the centre with one semi-axis per coordinate that no clip cuts.
pub struct ExactInput {
    pub region: Vec<Ends>,
    pub center: Vec<Fraction>,
    pub semi_axes: Option<Vec<Option<Fraction>>>,
    /// Shared offsets: input, axis, and what is left of its radius.
    pub offsets: Vec<Vec<(usize, Fraction, Fraction)>>,
}

impl ExactInput {
    /// Within `2^-200` below the largest `coefficients . x`.
    fn largest(&self, coefficients: &[Fraction]) -> Fraction {
        let end = |c: &Fraction, (lower, upper): &Ends| if c.is_negative() { c * lower } else { c * upper };
        let over_box: Fraction = coefficients.iter().zip(&self.region).map(|(c, e)| end(c, e)).sum();
        if !self.offsets.is_empty() {
            let mut sum = over_box.clone();
            for offset in &self.offsets {
                for (j, _, own) in offset {
                    let c = &coefficients[*j];
                    sum += c * &self.center[*j] + c.abs() * own - end(c, &self.region[*j]);
                }
                sum += offset.iter().map(|(j, axis, _)| &coefficients[*j] * axis).sum::<Fraction>().abs();
            }
            return over_box.min(sum);
        }
        let Some(axes) = &self.semi_axes else { return over_box };
        let (mut fixed, mut squares) = (Fraction::zero(), Fraction::zero());
        for (j, c) in coefficients.iter().enumerate() {
            match &axes[j] {
                Some(axis) => {
                    fixed += c * &self.center[j];
                    squares += c * axis * c * axis;
                }
                None => fixed += end(c, &self.region[j]),
            }
        }
        let scaled: BigInt = (squares.numer() << 400u32) / squares.denom();
        over_box.min(fixed + Ratio::new(scaled.sqrt(), BigInt::one() << 200u32))
    }
}

impl<'a> ExactLayer<'a> {
    fn new(layer: &'a Layer, kept: &[bool]) -> Self {
        let columns = layer.weight.columns;
        let entry = |(w, k): (&secateur_kernel::number::Dyadic, &bool)| {
            if *k { fraction(&w.to_rational()) } else { Fraction::zero() }
        };
        let values: Vec<Fraction> = layer.weight.values.iter().zip(kept).map(entry).collect();
        Self {
            rows: values.chunks(columns).map(<[Fraction]>::to_vec).collect(),
            bias: layer.bias.iter().map(|b| fraction(&b.to_rational())).collect(),
            activation: &layer.activation,
        }
    }

    fn affine(&self, input: &[Ends]) -> Vec<Ends> {
        let rows = self.rows.iter().zip(&self.bias);
        rows.map(|(row, bias)| {
            let (mut lower, mut upper) = (bias.clone(), bias.clone());
            for (w, (low, high)) in row.iter().zip(input) {
                let (a, b) = if w.is_negative() { (high, low) } else { (low, high) };
                lower += w * a;
                upper += w * b;
            }
            (lower, upper)
        })
        .collect()
    }
}

/// The next number of the curves' grid below, or above.
fn below(x: &Fraction) -> BigInt {
    rational(x).floor_scaled(curve::FINE)
}

fn above(x: &Fraction) -> BigInt {
    rational(x).ceil_scaled(curve::FINE)
}

fn of_curve(x: BigInt) -> Fraction {
    Ratio::new(x, BigInt::one() << curve::FINE)
}

fn half() -> Fraction {
    Ratio::new(BigInt::one(), BigInt::from(2))
}

/// `activation` over an interval; the ends of smooth ones are outward by less than 2^-120.
pub fn value(activation: &Activation, (lower, upper): &Ends) -> Ends {
    let smooth = |x: &Fraction| {
        let enclosure = tanh(&rational(x)).expect("tanh");
        (fraction(&enclosure.lower), fraction(&enclosure.upper))
    };
    let zero = Fraction::zero();
    let map = |f: &dyn Fn(&Fraction) -> Fraction| (f(lower), f(upper));
    match activation {
        Activation::Identity => (lower.clone(), upper.clone()),
        Activation::Relu => map(&|x| x.clone().max(zero.clone())),
        Activation::LeakyRelu { slope } => {
            map(&|x| if x.is_negative() { x * fraction(slope) } else { x.clone() })
        }
        Activation::Tanh => (smooth(lower).0, smooth(upper).1),
        Activation::Sigmoid => {
            let logistic = |t: Fraction| (t + Fraction::one()) * half();
            (logistic(smooth(&(lower * half())).0), logistic(smooth(&(upper * half())).1))
        }
        Activation::Clip { lower: low, upper: high } => {
            map(&|x| x.clone().max(fraction(low)).min(fraction(high)))
        }
        Activation::Elu { alpha } if lower.is_negative() => {
            let low = of_curve(curve::elu(alpha, &below(lower)).0);
            let high = of_curve(curve::elu(alpha, &above(upper)).1);
            (low, if upper.is_negative() { high } else { upper.clone() })
        }
        Activation::Elu { .. } => (lower.clone(), upper.clone()),
        Activation::Silu => {
            let (low, high) = curve::silu_over(&below(lower), &above(upper));
            (of_curve(low), of_curve(high))
        }
    }
}

fn largest_slope(activation: &Activation, lower: &Fraction, upper: &Fraction) -> Fraction {
    let (zero, one) = (Fraction::zero(), Fraction::one());
    let nearest = if lower.is_positive() { lower.clone() } else { upper.clone().min(zero.clone()) };
    let tanh_slope = |x: &Fraction| {
        let enclosure = tanh(&rational(&x.abs())).expect("tanh");
        let least = fraction(&enclosure.lower);
        &one - &least * &least
    };
    match activation {
        Activation::Identity => one,
        Activation::Relu => {
            if upper.is_positive() {
                one
            } else {
                zero
            }
        }
        Activation::LeakyRelu { slope } => {
            if upper.is_positive() {
                one
            } else {
                fraction(slope)
            }
        }
        Activation::Tanh => tanh_slope(&nearest),
        Activation::Sigmoid => tanh_slope(&(nearest * half())) * half() * half(),
        Activation::Clip { lower: low, upper: high } => {
            if *upper <= fraction(low) || *lower >= fraction(high) { zero } else { one }
        }
        Activation::Elu { .. } if upper.is_positive() => one,
        Activation::Elu { alpha } => of_curve(curve::elu_slope(alpha, &below(upper)).0),
        Activation::Silu => of_curve(curve::silu_steepest(&above(lower), &below(upper))),
    }
}

fn breakpoints(activation: &Activation) -> Vec<Fraction> {
    match activation {
        Activation::Identity | Activation::Tanh | Activation::Sigmoid | Activation::Silu => Vec::new(),
        Activation::Clip { lower, upper } => vec![fraction(lower), fraction(upper)],
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => vec![Fraction::zero()],
    }
}

/// The slope of `line` with the exact least intercept for piecewise linear activations; the line itself for smooth ones.
fn exact_line(
    activation: &Activation,
    ends: &Ends,
    line: Line,
    above: bool,
    value_bits: u32,
) -> (Fraction, Fraction) {
    let slope = on_grid(line.slope, SLOPE_BITS);
    if matches!(
        activation,
        Activation::Tanh | Activation::Sigmoid | Activation::Elu { .. } | Activation::Silu
    ) {
        return (slope, on_grid(line.intercept, value_bits));
    }
    let inside = breakpoints(activation).into_iter().filter(|x| ends.0 < *x && *x < ends.1);
    let points = [ends.0.clone(), ends.1.clone()].into_iter().chain(inside);
    let gaps = points.map(|x| value(activation, &(x.clone(), x.clone())).0 - &slope * x);
    let intercept = if above { gaps.max() } else { gaps.min() };
    (slope, intercept.unwrap())
}
