//! Backward bounds of sixteen regions of one box at a time, which differ in the signs of split ReLUs: slopes and multipliers
//! are optimised, bounds of hidden layers are given and stay (alpha-beta-CROWN). Untrusted. `spec/rules/split.md#splitkept`.
//!
//! The derivative comes from the input that attains the bound, as in [`crate::search::slopes::panel`].
//!
//! # References
//! Wang et al. 2021, arXiv:2103.06624, sections 3.2 and 3.3.

use crate::bound::FloatBounds;
use crate::bound::kernel::{Lane, PANEL, Product, Work};
use crate::float::{FloatLayer, FloatNetwork};

/// Decay of the mean and of the mean square of the derivatives (Adam; Kingma and Ba 2014, arXiv:1412.6980).
const MEAN_DECAY: f64 = 0.9;
const SQUARE_DECAY: f64 = 0.99;

/// A hidden layer of ReLUs over the whole box.
pub(super) struct Hidden {
    /// Neurons that are never off, then those whose sign is open.
    rows: Vec<u32>,
    /// How many of `rows` are never off.
    on: usize,
    /// Of each open neuron: least and greatest value.
    pub ends: Vec<(f64, f64)>,
}

impl Hidden {
    /// Neurons whose sign is open.
    pub fn open(&self) -> &[u32] {
        &self.rows[self.on..]
    }
}

/// What the regions have in common.
pub(super) struct Whole<'a> {
    pub network: &'a FloatNetwork,
    /// Every layer but the last.
    pub hidden: Vec<Hidden>,
    pub center: Vec<f64>,
    pub radius: Vec<f64>,
}

impl<'a> Whole<'a> {
    /// `pre` bounds every hidden layer over the box.
    pub fn new(network: &'a FloatNetwork, pre: &[FloatBounds], (lower, upper): (&[f64], &[f64])) -> Self {
        let hidden = pre.iter().take(network.layers.len() - 1).map(|pre| {
            let ends = || (0u32..).zip(pre.lower.iter().copied().zip(pre.upper.iter().copied()));
            let mut rows: Vec<u32> = ends().filter(|(_, (l, _))| *l >= 0.0).map(|(n, _)| n).collect();
            let on = rows.len();
            let open = ends().filter(|(_, (l, u))| *l < 0.0 && *u > 0.0);
            let (open, ends): (Vec<u32>, _) = open.unzip();
            rows.extend(open);
            Hidden { rows, on, ends }
        });
        let sides = || lower.iter().zip(upper);
        Self {
            network,
            hidden: hidden.collect(),
            center: sides().map(|(l, u)| 0.5 * (l + u)).collect(),
            // A little more than half, so that both ends are in it.
            radius: sides()
                .map(|(l, u)| 0.5 * (u - l) * (1.0 + 1e-12) + 1e-15 * (l.abs() + u.abs()))
                .collect(),
        }
    }
}

/// Numbers that climb, with their best values.
#[derive(Default)]
pub(super) struct Climbing {
    pub value: Vec<Lane>,
    pub best: Vec<Lane>,
    mean: Vec<Lane>,
    square: Vec<Lane>,
}

impl Climbing {
    fn start(&mut self, count: usize, value: f64) {
        for (lanes, value) in [
            (&mut self.value, value),
            (&mut self.best, value),
            (&mut self.mean, 0.0),
            (&mut self.square, 0.0),
        ] {
            lanes.clear();
            lanes.resize(count, [value; PANEL]);
        }
    }

    #[inline(always)]
    fn keep(&mut self, better: &[bool; PANEL]) {
        for (best, value) in self.best.iter_mut().zip(&self.value) {
            *best = core::array::from_fn(|i| if better[i] { value[i] } else { best[i] });
        }
    }

    /// One step of Adam; `size` is a step's length per lane.
    #[inline(always)]
    fn climb(&mut self, place: usize, derivative: &Lane, size: &Lane, most: f64, correction: (f64, f64)) {
        let (value, mean, square) = (&mut self.value[place], &mut self.mean[place], &mut self.square[place]);
        for i in 0..PANEL {
            let d = derivative[i];
            mean[i] = MEAN_DECAY * mean[i] + (1.0 - MEAN_DECAY) * d;
            square[i] = SQUARE_DECAY * square[i] + (1.0 - SQUARE_DECAY) * d * d;
            let root = (square[i] * correction.1).sqrt() + 1e-12;
            value[i] = (value[i] + size[i] * mean[i] * correction.0 / root).max(0.0).min(most);
        }
    }
}

/// One hidden layer's numbers in sixteen regions, per open neuron.
#[derive(Default)]
pub(super) struct LaneLayer {
    /// 1 if it was split to `pre >= 0`, -1 to `pre <= 0`, else 0.
    pub sign: Vec<Lane>,
    /// Slope of the line below.
    pub slope: Climbing,
    /// Multiplier of the sign.
    pub multiplier: Climbing,
    /// Coefficient of every neuron's activation in the last bound.
    pub coefficient: Vec<Lane>,
    /// Means over the steps: value before and after the activation at the inputs that attain the bounds, size of the
    /// coefficient.
    pub mean: Vec<[Lane; 3]>,
}

/// Sixteen regions.
#[derive(Default)]
pub(super) struct Lanes {
    pub layers: Vec<LaneLayer>,
    packed: Vec<Lane>,
    pre: Vec<Lane>,
    input: Vec<Lane>,
    /// The inputs that attain the last bounds.
    pub point: Vec<Lane>,
    /// Their mean over the steps.
    pub middle: Vec<Lane>,
    /// The best bounds.
    pub best: Lane,
}

impl Lanes {
    /// No signs, default slopes, no multipliers.
    pub fn start(&mut self, whole: &Whole<'_>) {
        self.layers.resize_with(whole.hidden.len(), LaneLayer::default);
        for (layer, hidden) in self.layers.iter_mut().zip(&whole.hidden) {
            let count = hidden.ends.len();
            layer.sign.clear();
            layer.sign.resize(count, [0.0; PANEL]);
            layer.slope.start(count, 0.0);
            for (slope, (l, u)) in layer.slope.value.iter_mut().zip(&hidden.ends) {
                *slope = [if *u > -l { 1.0 } else { 0.0 }; PANEL];
            }
            layer.multiplier.start(count, 0.0);
            layer.mean.clear();
            layer.mean.resize(count, [[0.0; PANEL]; 3]);
        }
        self.middle.clear();
        self.middle.resize(whole.center.len(), [0.0; PANEL]);
        self.best = [f64::NEG_INFINITY; PANEL];
    }

    /// Goes on from the best numbers, of which no bound is known.
    pub fn take_best(&mut self) {
        for layer in &mut self.layers {
            layer.slope.value.clone_from(&layer.slope.best);
            layer.multiplier.value.clone_from(&layer.multiplier.best);
        }
        self.best = [f64::NEG_INFINITY; PANEL];
    }
}

/// Bounds of `weight . outputs + constant`, a row for every lane.
pub(super) struct Objective {
    /// One lane an output.
    pub weight: Vec<Lane>,
    pub constant: Lane,
}

/// Optimises all lanes; `lanes.best` receives what they reach.
pub(super) struct Optimise<'a> {
    pub whole: &'a Whole<'a>,
    pub objective: &'a Objective,
    pub lanes: &'a mut Lanes,
    /// Gradient steps.
    pub steps: usize,
    /// First steps of slopes and multipliers, the latter as a share of the coefficients.
    pub rate: (f64, f64),
    /// Factor from one step to the next.
    pub decay: f64,
    /// It ends once every lane is above this.
    pub enough: f64,
    /// Bounds are those of slopes rounded to so many parts of 1, 0 for none: what is climbed is what they are rounded from, so that a
    /// proof's own slopes are looked for.
    pub parts: f64,
}

impl Work for Optimise<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let lanes = self.lanes;
        let (mut slope_rate, mut multiplier_rate) = self.rate;
        for iteration in 0..=self.steps {
            let value = backward::<FUSED>(self.whole, self.objective, lanes, self.parts);
            let better: [bool; PANEL] = core::array::from_fn(|i| value[i] > lanes.best[i]);
            if better.iter().any(|b| *b) {
                for layer in &mut lanes.layers {
                    layer.slope.keep(&better);
                    layer.multiplier.keep(&better);
                }
                lanes.best = core::array::from_fn(|i| value[i].max(lanes.best[i]));
            }
            if iteration == self.steps || lanes.best.iter().all(|b| *b > self.enough) {
                break;
            }
            let count = i32::try_from(iteration).unwrap_or(i32::MAX - 1) + 1;
            let correction = (1.0 / (1.0 - MEAN_DECAY.powi(count)), 1.0 / (1.0 - SQUARE_DECAY.powi(count)));
            let share = 2.0 / f64::from(count + 1);
            let steps = (correction, share, self.parts);
            climb::<FUSED>(self.whole, lanes, (slope_rate, multiplier_rate), steps);
            slope_rate *= self.decay;
            multiplier_rate *= self.decay;
        }
    }
}

/// The lines of an open neuron in every lane: slope below, slope above, intercept above.
#[inline(always)]
fn lines((l, u): (f64, f64), sign: &Lane, slope: &Lane, parts: f64) -> [Lane; 3] {
    let chord = u / (u - l);
    let slope = if parts > 0.0 { slope.map(|slope| (slope * parts).round() / parts) } else { *slope };
    let mut found = [[0.0; PANEL]; 3];
    for i in 0..PANEL {
        let split = if sign[i] > 0.0 { 1.0 } else { 0.0 };
        let open = sign[i] == 0.0;
        found[0][i] = if open { slope[i] } else { split };
        found[1][i] = if open { chord } else { split };
        found[2][i] = if open { -chord * l } else { 0.0 };
    }
    found
}

/// The least values over the box; `lanes.point` receives where they are attained.
#[inline(always)]
fn backward<const FUSED: bool>(
    whole: &Whole<'_>,
    objective: &Objective,
    lanes: &mut Lanes,
    parts: f64,
) -> Lane {
    let last = whole.hidden.len();
    let layers = &whole.network.layers;
    let mut sum = objective.constant;
    lanes.packed.clear();
    for (weight, bias) in objective.weight.iter().zip(&layers[last].bias) {
        (0..PANEL).for_each(|i| sum[i] += weight[i] * bias);
        lanes.packed.push(*weight);
    }
    let rows: Vec<u32> = (0u32..).take(layers[last].outputs).collect();
    carry::<FUSED>(&layers[last].weight, layers[last].inputs, &rows, lanes, last);
    for index in (0..last).rev() {
        let (layer, hidden) = (&layers[index], &whole.hidden[index]);
        lanes.packed.clear();
        let state = &lanes.layers[index];
        for neuron in &hidden.rows[..hidden.on] {
            let lane = state.coefficient[*neuron as usize];
            (0..PANEL).for_each(|i| sum[i] += lane[i] * layer.bias[*neuron as usize]);
            lanes.packed.push(lane);
        }
        for (place, (neuron, ends)) in hidden.open().iter().zip(&hidden.ends).enumerate() {
            let (c, bias) = (&state.coefficient[*neuron as usize], layer.bias[*neuron as usize]);
            let [below, above, lift] = lines(*ends, &state.sign[place], &state.slope.value[place], parts);
            let (sign, multiplier) = (&state.sign[place], &state.multiplier.value[place]);
            let mut lane = [0.0; PANEL];
            for i in 0..PANEL {
                let positive = if c[i] > 0.0 { c[i] } else { 0.0 };
                let negative = c[i] - positive;
                lane[i] = positive * below[i] + negative * above[i] - sign[i] * multiplier[i];
                sum[i] += lane[i] * bias + negative * lift[i];
            }
            lanes.packed.push(lane);
        }
        carry::<FUSED>(&layer.weight, layer.inputs, &hidden.rows, lanes, index);
    }
    lanes.point.clear();
    for (c, (center, radius)) in lanes.input.iter().zip(whole.center.iter().zip(&whole.radius)) {
        let mut point = [*center; PANEL];
        for i in 0..PANEL {
            sum[i] += c[i] * center - c[i].abs() * radius;
            point[i] = if c[i] > 0.0 { center - radius } else { center + radius };
        }
        lanes.point.push(point);
    }
    sum
}

/// What was packed for `rows` of the layer above, times its weights: coefficients of the activations below it.
#[inline(always)]
fn carry<const FUSED: bool>(weight: &[f64], width: usize, rows: &[u32], lanes: &mut Lanes, above: usize) {
    let out = match above.checked_sub(1) {
        Some(below) => &mut lanes.layers[below].coefficient,
        None => &mut lanes.input,
    };
    out.clear();
    out.resize(width, [0.0; PANEL]);
    Product { weight, width, sparse: None }.add::<FUSED>(rows, &lanes.packed, out);
}

/// Follows the attaining inputs forward through the lines that the bounds used and moves every free number.
#[inline(always)]
fn climb<const FUSED: bool>(
    whole: &Whole<'_>,
    lanes: &mut Lanes,
    (slope_rate, multiplier_rate): (f64, f64),
    (correction, share, parts): ((f64, f64), f64, f64),
) {
    for (middle, point) in lanes.middle.iter_mut().zip(&lanes.point) {
        (0..PANEL).for_each(|i| middle[i] += share * (point[i] - middle[i]));
    }
    let inputs: Vec<u32> = (0u32..).take(whole.center.len()).collect();
    let mut rows: &[u32] = &inputs;
    lanes.packed.clone_from(&lanes.point);
    for (index, hidden) in whole.hidden.iter().enumerate() {
        let layer = &whole.network.layers[index];
        lanes.pre.clear();
        lanes.pre.extend(layer.bias.iter().map(|b| [*b; PANEL]));
        Product { weight: &layer.transposed, width: layer.outputs, sparse: None }.add::<FUSED>(
            rows,
            &lanes.packed,
            &mut lanes.pre,
        );
        rows = &hidden.rows;
        let state = &mut lanes.layers[index];
        lanes.packed.clear();
        lanes.packed.extend(hidden.rows[..hidden.on].iter().map(|neuron| lanes.pre[*neuron as usize]));
        let mut usual = [1e-6; PANEL];
        for neuron in hidden.open() {
            let c = &state.coefficient[*neuron as usize];
            (0..PANEL).for_each(|i| usual[i] += c[i].abs() / hidden.ends.len() as f64);
        }
        for (place, (neuron, ends)) in hidden.open().iter().zip(&hidden.ends).enumerate() {
            let (c, v) = (state.coefficient[*neuron as usize], &lanes.pre[*neuron as usize]);
            let sign = state.sign[place];
            let [below, above, lift] = lines(*ends, &sign, &state.slope.value[place], parts);
            let mut post = [0.0; PANEL];
            let (mut by_slope, mut by_multiplier, mut size) = ([0.0; PANEL], [0.0; PANEL], [0.0; PANEL]);
            for i in 0..PANEL {
                let positive = c[i] > 0.0;
                post[i] = if positive { below[i] * v[i] } else { above[i] * v[i] + lift[i] };
                by_slope[i] = if positive && sign[i] == 0.0 { c[i] * v[i] } else { 0.0 };
                by_multiplier[i] = -sign[i] * v[i];
                size[i] = if sign[i] == 0.0 { 0.0 } else { multiplier_rate * c[i].abs().max(usual[i]) };
            }
            state.slope.climb(place, &by_slope, &[slope_rate; PANEL], 1.0, correction);
            if sign.iter().any(|s| *s != 0.0) {
                state.multiplier.climb(place, &by_multiplier, &size, f64::INFINITY, correction);
            }
            let [pre_mean, post_mean, size_mean] = &mut state.mean[place];
            for i in 0..PANEL {
                pre_mean[i] += share * (v[i] - pre_mean[i]);
                post_mean[i] += share * (post[i] - post_mean[i]);
                size_mean[i] += share * (c[i].abs() - size_mean[i]);
            }
            lanes.packed.push(post);
        }
    }
}

/// Sixteen points that go down by signed gradient steps, each in a box of its own; what goes down is the largest of the
/// objectives, whose gradient is that of the one which is largest there.
pub(super) struct Descend<'a> {
    pub network: &'a FloatNetwork,
    pub objectives: &'a [Objective],
    /// Ends of the boxes in which points may lie, one lane an input.
    pub lower: &'a [Lane],
    pub upper: &'a [Lane],
    pub steps: usize,
    /// Where they are; receives the best places.
    pub points: &'a mut Vec<Lane>,
    /// The least values met.
    pub best: &'a mut Lane,
}

/// First step, as a share of the box.
const FIRST_STEP: f64 = 0.25;

impl Work for Descend<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let layers = &self.network.layers;
        let mut x = self.points.clone();
        *self.best = [f64::INFINITY; PANEL];
        let mut slopes: Vec<Vec<Lane>> = Vec::new();
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for step in 0..=self.steps {
            slopes.clear();
            from.clone_from(&x);
            forward::<FUSED>(self.network, &mut from, &mut to, |layer, pre| {
                slopes.push(pre.iter().map(|z| z.map(|z| layer.activation.derivative(z))).collect());
            });
            let (value, weight) = largest(self.objectives, &from);
            let better: [bool; PANEL] = core::array::from_fn(|i| value[i] < self.best[i]);
            *self.best = core::array::from_fn(|i| value[i].min(self.best[i]));
            for (kept, x) in self.points.iter_mut().zip(&x) {
                *kept = core::array::from_fn(|i| if better[i] { x[i] } else { kept[i] });
            }
            if step == self.steps || self.best.iter().any(|b| *b < 0.0) {
                break;
            }
            from = weight;
            for (layer, slope) in layers.iter().zip(&slopes).rev() {
                for (lane, slope) in from.iter_mut().zip(slope) {
                    (0..PANEL).for_each(|i| lane[i] *= slope[i]);
                }
                to.clear();
                to.resize(layer.inputs, [0.0; PANEL]);
                let product = Product { weight: &layer.weight, width: layer.inputs, sparse: None };
                product.add::<FUSED>(&all(layer.outputs), &from, &mut to);
                std::mem::swap(&mut from, &mut to);
            }
            let share = FIRST_STEP * (1.0 - step as f64 / self.steps as f64);
            for ((x, gradient), (l, u)) in x.iter_mut().zip(&from).zip(self.lower.iter().zip(self.upper)) {
                for i in 0..PANEL {
                    let size = share * (u[i] - l[i]);
                    let step = if gradient[i] > 0.0 { -size } else { size };
                    x[i] = (x[i] + step).max(l[i]).min(u[i]);
                }
            }
        }
    }
}

/// Outputs at sixteen points of `from`, which receives them; `each` sees the layers and what their activations are applied to.
#[inline(always)]
fn forward<const FUSED: bool>(
    network: &FloatNetwork,
    from: &mut Vec<Lane>,
    to: &mut Vec<Lane>,
    mut each: impl FnMut(&FloatLayer, &[Lane]),
) {
    for layer in &network.layers {
        to.clear();
        to.extend(layer.bias.iter().map(|b| [*b; PANEL]));
        let product = Product { weight: &layer.transposed, width: layer.outputs, sparse: None };
        product.add::<FUSED>(&all(layer.inputs), from, to);
        each(layer, to);
        from.clear();
        from.extend(to.iter().map(|z| z.map(|z| layer.activation.apply(z))));
    }
}

fn all(count: usize) -> Vec<u32> {
    (0u32..).take(count).collect()
}

/// The largest constraint of each case at sixteen points.
pub(super) struct Evaluate<'a> {
    pub network: &'a FloatNetwork,
    pub cases: &'a [Vec<Objective>],
    /// One lane an input.
    pub points: &'a [Lane],
    /// One lane a case.
    pub values: &'a mut [Lane],
}

impl Work for Evaluate<'_> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let (mut from, mut to) = (self.points.to_vec(), Vec::new());
        forward::<FUSED>(self.network, &mut from, &mut to, |_, _| {});
        for (value, objectives) in self.values.iter_mut().zip(self.cases) {
            *value = largest(objectives, &from).0;
        }
    }
}

/// In every lane the largest objective at the outputs, and its weights.
#[inline(always)]
fn largest(objectives: &[Objective], outputs: &[Lane]) -> (Lane, Vec<Lane>) {
    let (mut most, mut weights) = ([f64::NEG_INFINITY; PANEL], vec![[0.0; PANEL]; outputs.len()]);
    for objective in objectives {
        let mut value = objective.constant;
        for (weight, output) in objective.weight.iter().zip(outputs) {
            (0..PANEL).for_each(|i| value[i] += weight[i] * output[i]);
        }
        let larger: [bool; PANEL] = core::array::from_fn(|i| value[i] > most[i]);
        most = core::array::from_fn(|i| if larger[i] { value[i] } else { most[i] });
        for (kept, weight) in weights.iter_mut().zip(&objective.weight) {
            *kept = core::array::from_fn(|i| if larger[i] { weight[i] } else { kept[i] });
        }
    }
    (most, weights)
}
