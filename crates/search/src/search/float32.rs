//! Counterexamples of binary32 numbers, whose outputs an inference engine reproduces: beside the exact ones, as the
//! competition of verifiers asks. Untrusted. `spec/vnnlib.md`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use secateur_checker::kernel::split::{Case, OutputConstraint};
use secateur_checker::number::Rational;

use crate::float::{FloatActivation, FloatNetwork, float_to_rational, rational_to_float};
use crate::property::several::DeclaredTensor;
use crate::search::branch::attack::search_least;
use crate::search::branch::point::FloatConstraint;

/// Points near the exact one that are tried.
const NEIGHBOURS: usize = 400;
/// Steps of binary32 by which an input is moved at most.
const STEPS: i32 = 8;

/// A counterexample of binary32 numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Float32Witness {
    /// The inputs.
    pub inputs: Vec<f32>,
    /// The outputs, computed in binary32 with sums from the first term to the last.
    pub outputs: Vec<f32>,
    /// Whether every constraint holds in whatever order an engine sums.
    pub certain: bool,
    /// Inputs whose interval holds no binary32 number; the nearest stands for it.
    pub outside: Vec<usize>,
}

/// Searches a binary32 counterexample of a case near `point` (in the box exactly) and deep inside the case; `None` if at no
/// point that was tried the outputs computed in binary32 satisfy it. `seed` makes it repeatable.
pub fn search_float32(
    network: &FloatNetwork,
    case: &Case,
    point: &[Rational],
    seed: u64,
) -> Option<Float32Witness> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let near: Vec<f64> = point.iter().map(rational_to_float).collect();
    let ends = |side: &[Rational]| side.iter().map(rational_to_float).collect::<Vec<f64>>();
    let (lower, upper) = (ends(&case.lower), ends(&case.upper));
    let constraints: Vec<FloatConstraint> = case.constraints.iter().map(lowered).collect();
    let (deep, _) = search_least(network, &lower, &upper, &constraints, seed);
    let halfway = near.iter().zip(&deep).map(|(a, b)| 0.5 * (a + b)).collect();
    let mut found: Option<Float32Witness> = None;
    let mut consider = |x: &[f64], moves: &mut dyn FnMut() -> i32| {
        let inputs: Vec<(f32, bool)> = x
            .iter()
            .zip(case.lower.iter().zip(&case.upper))
            .map(|(x, (lower, upper))| inside(moved(*x as f32, moves()), lower, upper))
            .collect();
        let outside = inputs.iter().enumerate().filter(|(_, (_, inside))| !inside).map(|(i, _)| i).collect();
        let inputs: Vec<f32> = inputs.into_iter().map(|(x, _)| x).collect();
        let outputs = forward(network, &inputs);
        if !outputs.iter().all(|y| y.is_finite()) || !satisfies(&case.constraints, &outputs) {
            return false;
        }
        let certain = is_certain(network, &constraints, &inputs);
        if certain || found.is_none() {
            found = Some(Float32Witness { inputs, outputs, certain, outside });
        }
        certain
    };
    for x in [&near, &halfway, &deep] {
        if consider(x, &mut || 0) {
            return found;
        }
    }
    for _ in 0..NEIGHBOURS {
        if consider(&near, &mut || random.random_range(-STEPS..=STEPS)) {
            break;
        }
    }
    found
}

fn lowered(constraint: &OutputConstraint) -> FloatConstraint {
    let coefficients = constraint.coefficients.iter().map(rational_to_float).collect();
    FloatConstraint { coefficients, bound: rational_to_float(&constraint.bound) }
}

fn exact(value: f32) -> Rational {
    float_to_rational(f64::from(value)).unwrap_or_else(Rational::zero)
}

fn moved(mut x: f32, steps: i32) -> f32 {
    for _ in 0..steps.unsigned_abs() {
        x = if steps > 0 { x.next_up() } else { x.next_down() };
    }
    x
}

/// The binary32 number next to `x` that lies in the interval; if none does, the one nearest to it, and false.
fn inside(x: f32, lower: &Rational, upper: &Rational) -> (f32, bool) {
    let mut x = x;
    if exact(x) < *lower {
        x = rational_to_float(lower) as f32;
        x = if exact(x) < *lower { x.next_up() } else { x };
    } else if exact(x) > *upper {
        x = rational_to_float(upper) as f32;
        x = if exact(x) > *upper { x.next_down() } else { x };
    }
    if exact(x) >= *lower && exact(x) <= *upper {
        (x, true)
    } else {
        let middle = 0.5 * (rational_to_float(lower) + rational_to_float(upper));
        (middle as f32, false)
    }
}

/// Outputs in binary32; sums go from the first term to the last, the bias is added at the end.
fn forward(network: &FloatNetwork, inputs: &[f32]) -> Vec<f32> {
    network.layers.iter().fold(inputs.to_vec(), |x, layer| {
        let rows = layer.weight.chunks_exact(layer.inputs).zip(&layer.bias);
        let pre = rows.map(|(row, bias)| {
            row.iter().zip(&x).fold(0f32, |sum, (w, x)| sum + *w as f32 * x) + *bias as f32
        });
        pre.map(|z| activate(layer.activation, z)).collect()
    })
}

fn activate(activation: FloatActivation, z: f32) -> f32 {
    match activation {
        FloatActivation::Identity => z,
        FloatActivation::Relu => z.max(0.0),
        FloatActivation::Tanh => z.tanh(),
        other => other.apply(f64::from(z)) as f32,
    }
}

/// Whether binary32 outputs satisfy every constraint, exactly.
fn satisfies(constraints: &[OutputConstraint], outputs: &[f32]) -> bool {
    constraints.iter().all(|constraint| {
        let terms = constraint.coefficients.iter().zip(outputs).map(|(c, y)| c.mul(&exact(*y)));
        terms.fold(Rational::zero(), |sum, term| sum.add(&term)) <= constraint.bound
    })
}

/// Whether the constraints hold with more to spare than any order of summation can lose: Higham's `gamma_(n+1)` times the sum
/// of magnitudes a layer, carried on by the next one's weights, and as much again for the arithmetic of this estimate.
fn is_certain(network: &FloatNetwork, constraints: &[FloatConstraint], inputs: &[f32]) -> bool {
    let unit = 2f64.powi(-24);
    let mut x: Vec<f64> = inputs.iter().map(|x| f64::from(*x)).collect();
    let mut errors = vec![0.0; x.len()];
    for layer in &network.layers {
        let roundings = (layer.inputs + 1) as f64 * unit;
        let gamma = roundings / (1.0 - roundings);
        let rows = layer.weight.chunks_exact(layer.inputs).zip(&layer.bias);
        let next: Vec<(f64, f64)> = rows
            .map(|(row, bias)| {
                let (mut sum, mut size, mut carried) = (*bias, bias.abs(), 0.0);
                for (w, (x, error)) in row.iter().zip(x.iter().zip(&errors)) {
                    sum += w * x;
                    size += w.abs() * (x.abs() + error);
                    carried += w.abs() * error;
                }
                let own = match layer.activation {
                    FloatActivation::Identity | FloatActivation::Relu => 0.0,
                    // What an engine's own functions are off by, and a rounding.
                    _ => 2f64.powi(-20) * (1.0 + sum.abs()),
                };
                (layer.activation.apply(sum), 2.0 * (carried + gamma * size) + own)
            })
            .collect();
        (x, errors) = next.into_iter().unzip();
    }
    constraints.iter().all(|constraint| {
        let slack: f64 = constraint.coefficients.iter().zip(&errors).map(|(c, e)| c.abs() * e).sum();
        constraint.value(&x) < -slack
    })
}

impl Float32Witness {
    /// The counterexample as a file: the competition's `sat` and `((X_0 0.1) ... (Y_0 1.5))`, or, with the tensors that a
    /// property of VNN-LIB 2.0 declares, that standard's `X real [1,2]` and a number a line. Numbers are read back as the
    /// same binary32 ones.
    pub fn emit(&self, tensors: Option<&[DeclaredTensor; 2]>) -> String {
        let mut text = "sat\n".to_owned();
        match tensors {
            None => {
                let inputs = self.inputs.iter().enumerate().map(|(i, x)| format!("(X_{i} {x})"));
                let outputs = self.outputs.iter().enumerate().map(|(i, y)| format!("(Y_{i} {y})"));
                text.push_str(&format!("({})\n", inputs.chain(outputs).collect::<Vec<_>>().join("\n")));
            }
            Some([input, output]) => {
                for (tensor, values) in [(input, &self.inputs), (output, &self.outputs)] {
                    let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
                    text.push_str(&format!("{} {} [{}]\n", tensor.name, tensor.element, shape.join(",")));
                    values.iter().for_each(|value| text.push_str(&format!("{value}\n")));
                }
            }
        }
        text
    }
}
