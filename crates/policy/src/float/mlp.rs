//! Batched multi-layer perceptron in `f64` with hand-written gradients, in weights and in inputs, through points and
//! through boxes. Untrusted. Interval bounds: Gowal et al. 2018, arXiv:1810.12715.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};

use crate::float::FloatActivation;
use crate::float::rng::SeededRng;
use crate::float::smooth::{exp_m1_below, silu, tanh};

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
        FloatActivation::Elu(alpha) => {
            values.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { alpha * exp_m1_below(*x) });
        }
        FloatActivation::Silu => values.iter_mut().for_each(|x| *x = silu(*x).0),
    }
}

/// [`apply_to_all`] that keeps the derivatives in `slopes`, if the function's values do not tell them; else `slopes` is left
/// empty.
pub(crate) fn apply_with_slopes(activation: FloatActivation, values: &mut [f64], slopes: &mut Vec<f64>) {
    slopes.clear();
    if activation.value_tells_slope() {
        return apply_to_all(activation, values);
    }
    slopes.extend(values.iter().map(|x| activation.derivative(*x)));
    apply_to_all(activation, values);
}

/// Multiplies `gradient` by the derivative, told from the function's values `post` where they tell it.
fn pull_back(activation: FloatActivation, post: &Array2<f64>, gradient: &mut Array2<f64>) {
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
        FloatActivation::Elu(alpha) => zip.for_each(|g, y| *g *= if *y > 0.0 { 1.0 } else { y + alpha }),
        // Its derivatives are on the tape: see [`FloatActivation::value_tells_slope`].
        FloatActivation::Silu => {}
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

/// Values of a forward pass: the inputs, then the output of every layer; the derivatives of the activations that those do
/// not tell.
#[derive(Clone, Debug)]
pub struct Tape {
    posts: Vec<Array2<f64>>,
    slopes: Vec<Option<Array2<f64>>>,
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

    /// Multiplies a gradient in the outputs of layer `index`, which has this activation, by the activation's derivative.
    pub fn pull_back(&self, index: usize, activation: FloatActivation, gradient: &mut Array2<f64>) {
        match &self.slopes[index] {
            Some(slopes) => *gradient *= slopes,
            None => pull_back(activation, &self.posts[index + 1], gradient),
        }
    }
}

/// Values of a forward pass over boxes: centres and radii into every layer, ends out of it; ends into an activation that
/// also falls.
#[derive(Clone, Debug)]
pub struct BoxTape {
    inputs: Vec<[Array2<f64>; 2]>,
    pres: Vec<Option<[Array2<f64>; 2]>>,
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

/// Least and greatest values over the intervals between `lower` and `upper`.
fn apply_to_ends(activation: FloatActivation, lower: &mut Array2<f64>, upper: &mut Array2<f64>) {
    if activation.is_monotone() {
        apply(activation, lower);
        apply(activation, upper);
        return;
    }
    Zip::from(lower).and(upper).for_each(|l, u| (*l, *u) = activation.range(*l, *u));
}

/// Turns gradients in the least and greatest values over intervals into gradients in the ends of the intervals `pres`: each
/// goes to the end at which its value is attained, or to none where that is inside.
fn pull_back_ends(
    activation: FloatActivation,
    pres: &[Array2<f64>; 2],
    lower: &mut Array2<f64>,
    upper: &mut Array2<f64>,
) {
    Zip::from(lower).and(upper).and(&pres[0]).and(&pres[1]).for_each(|below, above, l, u| {
        let values = [activation.apply(*l), activation.apply(*u)];
        let slopes = [activation.derivative(*l), activation.derivative(*u)];
        let (least, greatest) = activation.range(*l, *u);
        let pulled: [f64; 2] = std::array::from_fn(|end| {
            // Of two ends with one value the left one counts.
            let first = end == 0 || values[0] != values[1];
            let from_least = if first && values[end] == least { *below } else { 0.0 };
            let from_greatest = if first && values[end] == greatest { *above } else { 0.0 };
            slopes[end] * (from_least + from_greatest)
        });
        [*below, *above] = pulled;
    });
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
        let (mut posts, mut slopes) = (vec![inputs.to_owned()], Vec::new());
        for layer in &self.layers {
            let mut next = spread(layer.bias.view(), inputs.nrows());
            general_mat_mul(1.0, &posts[posts.len() - 1], &layer.weight.t(), 1.0, &mut next);
            let kept = !layer.activation.value_tells_slope();
            slopes.push(kept.then(|| next.mapv(|x| layer.activation.derivative(x))));
            apply(layer.activation, &mut next);
            posts.push(next);
        }
        Tape { posts, slopes }
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
            tape.pull_back(index, layer.activation, &mut current);
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
        let mut tape = BoxTape { inputs: Vec::new(), pres: Vec::new(), ends: Vec::new() };
        let mut input = [centre.to_owned(), radius.to_owned()];
        for layer in &self.layers {
            let mut middle = spread(layer.bias.view(), centre.nrows());
            general_mat_mul(1.0, &input[0], &layer.weight.t(), 1.0, &mut middle);
            let reach = input[1].dot(&layer.weight.mapv(f64::abs).t());
            let mut lower = &middle - &reach;
            let mut upper = middle + reach;
            tape.pres.push((!layer.activation.is_monotone()).then(|| [lower.clone(), upper.clone()]));
            apply_to_ends(layer.activation, &mut lower, &mut upper);
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
            match &tape.pres[index] {
                Some(pres) => pull_back_ends(layer.activation, pres, &mut lower, &mut upper),
                None => {
                    pull_back(layer.activation, &tape.ends[index][0], &mut lower);
                    pull_back(layer.activation, &tape.ends[index][1], &mut upper);
                }
            }
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

    const ALL: [FloatActivation; 9] = [
        FloatActivation::Identity,
        FloatActivation::Relu,
        FloatActivation::LeakyRelu(0.1),
        FloatActivation::Tanh,
        FloatActivation::Sigmoid,
        FloatActivation::Clip(-0.5, 0.7),
        FloatActivation::Elu(1.0),
        FloatActivation::Elu(0.375),
        FloatActivation::Silu,
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
