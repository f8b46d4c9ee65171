//! Batched multi-layer perceptron in `f64` with hand-written gradients, in weights and in inputs, through points and
//! through boxes. Untrusted. Interval bounds: Gowal et al. 2018, arXiv:1810.12715.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};

use crate::float::FloatActivation;
use crate::float::rng::SeededRng;

/// Hyperbolic tangent within 4e-16 absolutely: free of branches and of the C library, so that loops over it become
/// vector code (a quarter of the time of `f64::tanh`) and no other machine's library changes a training run.
///
/// `tanh x = e / (e + 2)` with `e = exp(2x) - 1 = 2^k q + (2^k - 1)`, `q` the Taylor polynomial of degree 13 on
/// `|r| <= ln 2 / 2`.
#[inline]
pub fn tanh(x: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    // Adding it leaves the nearest integer in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let doubled = (2.0 * x).clamp(-40.0, 40.0);
    let shifted = doubled * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (doubled - k * LN2_HIGH) - k * LN2_LOW;
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    let mut q = 1.0 / 6_227_020_800.0;
    for coefficient in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ] {
        q = q * r + coefficient;
    }
    let excess = power * (q * r) + (power - 1.0);
    excess / (excess + 2.0)
}

/// Applies the function to every entry, with [`tanh`] in place of the C library's.
pub fn apply_to_all(activation: FloatActivation, values: &mut [f64]) {
    match activation {
        FloatActivation::Identity => {}
        FloatActivation::Relu => values.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { 0.0 }),
        FloatActivation::LeakyRelu(slope) => {
            values.iter_mut().for_each(|x| *x *= if *x > 0.0 { 1.0 } else { slope })
        }
        FloatActivation::Tanh => values.iter_mut().for_each(|x| *x = tanh(*x)),
        FloatActivation::Sigmoid => values.iter_mut().for_each(|x| *x = 0.5 + 0.5 * tanh(0.5 * *x)),
        FloatActivation::Clip(lower, upper) => values.iter_mut().for_each(|x| *x = x.clamp(lower, upper)),
        // SKELETON
        FloatActivation::Elu(_) | FloatActivation::Silu => {
            values.iter_mut().for_each(|x| *x = activation.apply(*x))
        }
    }
}

/// Multiplies `gradient` by the derivative, told from the function's values `post`.
pub fn pull_back(activation: FloatActivation, post: &Array2<f64>, gradient: &mut Array2<f64>) {
    let zip = Zip::from(gradient).and(post);
    match activation {
        FloatActivation::Identity => {}
        FloatActivation::Relu => zip.for_each(|g, y| *g = if *y > 0.0 { *g } else { 0.0 }),
        FloatActivation::LeakyRelu(slope) => zip.for_each(|g, y| *g *= if *y > 0.0 { 1.0 } else { slope }),
        FloatActivation::Tanh => zip.for_each(|g, y| *g *= 1.0 - y * y),
        FloatActivation::Sigmoid => zip.for_each(|g, y| *g *= y * (1.0 - y)),
        FloatActivation::Clip(lower, upper) => {
            zip.for_each(|g, y| *g = if *y > lower && *y < upper { *g } else { 0.0 });
        }
        // SKELETON
        FloatActivation::Elu(_) | FloatActivation::Silu => unimplemented!(),
    }
}

/// `activation(weight x + bias)`; also holds a gradient of the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Out x in.
    pub weight: Array2<f64>,
    /// One entry an output.
    pub bias: Array1<f64>,
    /// What follows.
    pub activation: FloatActivation,
}

/// Layers in order. Batches are arrays `[states, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// At least one; the output width of each is the input width of the next.
    pub layers: Vec<Dense>,
}

/// Values of a forward pass: the inputs, then the output of every layer.
#[derive(Clone, Debug)]
pub struct Tape {
    posts: Vec<Array2<f64>>,
}

impl Tape {
    /// Input of layer `index`, which is the output of the one before.
    pub fn post(&self, index: usize) -> &Array2<f64> {
        &self.posts[index]
    }

    /// Outputs `[states, out]`.
    pub fn outputs(&self) -> &Array2<f64> {
        &self.posts[self.posts.len() - 1]
    }
}

/// Values of a forward pass over boxes: centres and radii into every layer, ends out of it.
#[derive(Clone, Debug)]
pub struct BoxTape {
    inputs: Vec<[Array2<f64>; 2]>,
    ends: Vec<[Array2<f64>; 2]>,
}

impl BoxTape {
    /// Lower ends of the outputs.
    pub fn lower(&self) -> &Array2<f64> {
        &self.ends[self.ends.len() - 1][0]
    }

    /// Upper ends of the outputs.
    pub fn upper(&self) -> &Array2<f64> {
        &self.ends[self.ends.len() - 1][1]
    }
}

fn apply(activation: FloatActivation, values: &mut Array2<f64>) {
    match values.as_slice_mut() {
        Some(values) => apply_to_all(activation, values),
        None => values.iter_mut().for_each(|value| apply_to_all(activation, std::slice::from_mut(value))),
    }
}

impl Mlp {
    /// Widths input, hidden..., output: orthogonal weights of gain `sqrt 2` (tanh or ReLU alike, as CleanRL) and
    /// `output_gain` in the last layer, zero biases, the identity after the last layer.
    pub fn orthogonal(
        widths: &[usize],
        activation: FloatActivation,
        output_gain: f64,
        rng: &mut SeededRng,
    ) -> Self {
        let count = widths.len().saturating_sub(1);
        let layer = |(index, pair): (usize, &[usize])| {
            let last = index + 1 == count;
            let gain = if last { output_gain } else { std::f64::consts::SQRT_2 };
            Dense {
                weight: orthogonal_matrix(pair[1], pair[0], rng) * gain,
                bias: Array1::zeros(pair[1]),
                activation: if last { FloatActivation::Identity } else { activation },
            }
        };
        Self { layers: widths.windows(2).enumerate().map(layer).collect() }
    }

    /// The same shapes filled with zeros: where a gradient is added up.
    pub fn zeros_like(&self) -> Self {
        let zero = |layer: &Dense| Dense {
            weight: Array2::zeros(layer.weight.raw_dim()),
            bias: Array1::zeros(layer.bias.raw_dim()),
            activation: layer.activation,
        };
        Self { layers: self.layers.iter().map(zero).collect() }
    }

    /// Number of inputs.
    pub fn input_width(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.weight.ncols())
    }

    /// Number of outputs.
    pub fn output_width(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.weight.nrows())
    }

    /// Weights and biases, layer by layer.
    pub fn parameters(&self) -> impl Iterator<Item = &f64> + Clone {
        self.layers.iter().flat_map(|layer| layer.weight.iter().chain(&layer.bias))
    }

    /// The same, to be changed.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.layers.iter_mut().flat_map(|layer| layer.weight.iter_mut().chain(&mut layer.bias))
    }

    /// Outputs at one input. The last bits may differ from a batch's.
    pub fn forward_one(&self, input: &[f64]) -> Vec<f64> {
        let mut values = Array1::from(input.to_vec());
        for layer in &self.layers {
            values = layer.weight.dot(&values) + &layer.bias;
            if let Some(values) = values.as_slice_mut() {
                apply_to_all(layer.activation, values);
            }
        }
        values.to_vec()
    }

    /// Forward pass that remembers what the backward pass needs.
    pub fn forward(&self, inputs: ArrayView2<'_, f64>) -> Tape {
        let mut posts = vec![inputs.to_owned()];
        for layer in &self.layers {
            let mut next = spread(layer.bias.view(), inputs.nrows());
            general_mat_mul(1.0, &posts[posts.len() - 1], &layer.weight.t(), 1.0, &mut next);
            apply(layer.activation, &mut next);
            posts.push(next);
        }
        Tape { posts }
    }

    /// Adds the gradient in the weights to `gradient`, given that in the outputs (`[states, out]`); no gradient in the
    /// inputs is made.
    pub fn backward(&self, tape: &Tape, outputs: &Array2<f64>, gradient: &mut Self) {
        self.pull_back(tape, outputs, Some(gradient), false);
    }

    /// Gradient in the inputs, `[states, in]`, given that in the outputs.
    pub fn backward_inputs(&self, tape: &Tape, outputs: &Array2<f64>) -> Array2<f64> {
        self.pull_back(tape, outputs, None, true)
    }

    fn pull_back(
        &self,
        tape: &Tape,
        outputs: &Array2<f64>,
        mut gradient: Option<&mut Self>,
        to_inputs: bool,
    ) -> Array2<f64> {
        let mut current = outputs.clone();
        for (index, layer) in self.layers.iter().enumerate().rev() {
            pull_back(layer.activation, &tape.posts[index + 1], &mut current);
            if let Some(gradient) = &mut gradient {
                let target = &mut gradient.layers[index];
                general_mat_mul(1.0, &current.t(), &tape.posts[index], 1.0, &mut target.weight);
                target.bias += &current.sum_axis(Axis(0));
            }
            if index > 0 || to_inputs {
                current = current.dot(&layer.weight);
            }
        }
        current
    }

    /// Interval bound propagation: every input lies within `radius` of its centre (both `[states, in]`).
    pub fn forward_box(&self, centre: ArrayView2<'_, f64>, radius: ArrayView2<'_, f64>) -> BoxTape {
        let mut tape = BoxTape { inputs: Vec::new(), ends: Vec::new() };
        let mut input = [centre.to_owned(), radius.to_owned()];
        for layer in &self.layers {
            let mut middle = spread(layer.bias.view(), centre.nrows());
            general_mat_mul(1.0, &input[0], &layer.weight.t(), 1.0, &mut middle);
            let reach = input[1].dot(&layer.weight.mapv(f64::abs).t());
            let mut lower = &middle - &reach;
            let mut upper = middle + reach;
            apply(layer.activation, &mut lower);
            apply(layer.activation, &mut upper);
            let next = [(&lower + &upper) * 0.5, (&upper - &lower) * 0.5];
            tape.inputs.push(std::mem::replace(&mut input, next));
            tape.ends.push([lower, upper]);
        }
        tape
    }

    /// Adds the gradient in the weights to `gradient`, given those in the lower and in the upper ends of the outputs.
    pub fn backward_box(
        &self,
        tape: &BoxTape,
        lower: &Array2<f64>,
        upper: &Array2<f64>,
        gradient: &mut Self,
    ) {
        let (mut lower, mut upper) = (lower.clone(), upper.clone());
        for (index, layer) in self.layers.iter().enumerate().rev() {
            pull_back(layer.activation, &tape.ends[index][0], &mut lower);
            pull_back(layer.activation, &tape.ends[index][1], &mut upper);
            let middle = &lower + &upper;
            let reach = &upper - &lower;
            let [centre, radius] = &tape.inputs[index];
            let target = &mut gradient.layers[index];
            general_mat_mul(1.0, &middle.t(), centre, 1.0, &mut target.weight);
            let mut through = reach.t().dot(radius);
            Zip::from(&mut through).and(&layer.weight).for_each(|g, w| *g *= sign(*w));
            target.weight += &through;
            target.bias += &middle.sum_axis(Axis(0));
            if index > 0 {
                let centre = middle.dot(&layer.weight) * 0.5;
                let radius = reach.dot(&layer.weight.mapv(f64::abs)) * 0.5;
                lower = &centre - &radius;
                upper = centre + radius;
            }
        }
    }
}

/// -1, 0 or 1.
fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// `row` repeated `count` times.
fn spread(row: ArrayView1<'_, f64>, count: usize) -> Array2<f64> {
    let mut out = Array2::zeros((count, row.len()));
    out.rows_mut().into_iter().for_each(|mut target| target.assign(&row));
    out
}

/// Random matrix `[rows, columns]` with orthonormal rows or columns, whichever are fewer: modified Gram-Schmidt, twice,
/// on normal numbers.
fn orthogonal_matrix(rows: usize, columns: usize, rng: &mut SeededRng) -> Array2<f64> {
    let (few, many) = (rows.min(columns), rows.max(columns));
    let mut basis = Array2::from_shape_fn((few, many), |_| rng.normal());
    for index in 0..few {
        for _ in 0..2 {
            for earlier in 0..index {
                let along = basis.row(index).dot(&basis.row(earlier));
                let shift = &basis.row(earlier) * along;
                let mut row = basis.row_mut(index);
                row -= &shift;
            }
        }
        let norm = basis.row(index).dot(&basis.row(index)).sqrt();
        basis.row_mut(index).mapv_inplace(|value| value / norm);
    }
    if rows <= columns { basis } else { basis.reversed_axes().as_standard_layout().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [FloatActivation; 6] = [
        FloatActivation::Identity,
        FloatActivation::Relu,
        FloatActivation::LeakyRelu(0.1),
        FloatActivation::Tanh,
        FloatActivation::Sigmoid,
        FloatActivation::Clip(-0.5, 0.7),
    ];

    fn random(rows: usize, columns: usize, rng: &mut SeededRng) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |_| rng.normal())
    }

    fn network(activation: FloatActivation, rng: &mut SeededRng) -> Mlp {
        let mut network = Mlp::orthogonal(&[4, 7, 6, 3], activation, 1.0, rng);
        network.layers.iter_mut().for_each(|layer| layer.bias.mapv_inplace(|_| 0.3 * rng.normal()));
        network
    }

    /// Compares `gradient` with central differences of `loss` at every parameter.
    fn compare(network: &Mlp, gradient: &Mlp, loss: impl Fn(&Mlp) -> f64) {
        for (index, found) in gradient.parameters().enumerate() {
            let shifted = |step: f64| {
                let mut network = network.clone();
                *network.parameters_mut().nth(index).expect("in range") += step;
                loss(&network)
            };
            let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            assert!((found - expected).abs() < 2e-7, "{index}: {found} and {expected}");
        }
    }

    #[test]
    fn tanh_is_close_and_odd_enough() {
        for index in -4000..=4000 {
            let x = f64::from(index) * 0.01;
            assert!((tanh(x) - x.tanh()).abs() <= 4e-16, "{x}");
        }
        assert_eq!((tanh(0.0), tanh(1e300), tanh(-1e300)), (0.0, 1.0, -1.0));
        assert!((tanh(1e-9) / 1e-9 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn weight_gradients_are_those_of_differences() {
        for activation in ALL {
            let mut rng = SeededRng::new(11, 0);
            let network = network(activation, &mut rng);
            let (inputs, pull) = (random(5, 4, &mut rng), random(5, 3, &mut rng));
            let mut gradient = network.zeros_like();
            network.backward(&network.forward(inputs.view()), &pull, &mut gradient);
            compare(&network, &gradient, |net| (net.forward(inputs.view()).outputs() * &pull).sum());
        }
    }

    #[test]
    fn input_gradients_are_those_of_differences() {
        for activation in ALL {
            let mut rng = SeededRng::new(12, 0);
            let network = network(activation, &mut rng);
            let (inputs, pull) = (random(5, 4, &mut rng), random(5, 3, &mut rng));
            let found = network.backward_inputs(&network.forward(inputs.view()), &pull);
            for index in 0..20 {
                let loss = |step: f64| {
                    let mut inputs = inputs.clone();
                    inputs[[index / 4, index % 4]] += step;
                    (network.forward(inputs.view()).outputs() * &pull).sum()
                };
                let expected = (loss(1e-6) - loss(-1e-6)) / 2e-6;
                assert!((found[[index / 4, index % 4]] - expected).abs() < 2e-7, "{activation:?}");
            }
        }
    }

    #[test]
    fn box_gradients_are_those_of_differences() {
        for activation in ALL {
            let mut rng = SeededRng::new(13, 0);
            let network = network(activation, &mut rng);
            let (inputs, radius) = (random(5, 4, &mut rng), Array2::from_elem((5, 4), 0.07));
            let pulls = [random(5, 3, &mut rng), random(5, 3, &mut rng)];
            let mut gradient = network.zeros_like();
            let tape = network.forward_box(inputs.view(), radius.view());
            network.backward_box(&tape, &pulls[0], &pulls[1], &mut gradient);
            compare(&network, &gradient, |net| {
                let tape = net.forward_box(inputs.view(), radius.view());
                (tape.lower() * &pulls[0]).sum() + (tape.upper() * &pulls[1]).sum()
            });
        }
    }

    #[test]
    fn boxes_hold_every_point_inside() {
        for activation in ALL {
            let mut rng = SeededRng::new(14, 0);
            let network = network(activation, &mut rng);
            let inputs = random(5, 4, &mut rng);
            let tape = network.forward_box(inputs.view(), Array2::from_elem((5, 4), 0.2).view());
            for _ in 0..100 {
                let inside = inputs.mapv(|value| value + rng.uniform(-0.2, 0.2));
                let outputs = network.forward(inside.view());
                for ((value, lower), upper) in outputs.outputs().iter().zip(tape.lower()).zip(tape.upper()) {
                    assert!(lower - 1e-12 <= *value && *value <= upper + 1e-12);
                }
            }
        }
    }

    #[test]
    fn one_state_is_a_batch_of_one() {
        let mut rng = SeededRng::new(15, 0);
        let network = network(FloatActivation::Tanh, &mut rng);
        let inputs = random(1, 4, &mut rng);
        let batch = network.forward(inputs.view());
        for (a, b) in
            network.forward_one(inputs.row(0).as_slice().expect("one row")).iter().zip(batch.outputs())
        {
            assert!((a - b).abs() < 1e-14);
        }
    }

    #[test]
    fn rows_or_columns_are_orthonormal() {
        let mut rng = SeededRng::new(16, 0);
        for (rows, columns) in [(5, 9), (9, 5), (6, 6)] {
            let matrix = orthogonal_matrix(rows, columns, &mut rng);
            assert_eq!(matrix.dim(), (rows, columns));
            let gram = if rows <= columns { matrix.dot(&matrix.t()) } else { matrix.t().dot(&matrix) };
            assert!((gram - Array2::<f64>::eye(rows.min(columns))).iter().all(|entry| entry.abs() < 1e-14));
        }
    }
}
