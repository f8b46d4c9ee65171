//! A list of exact maps of one vector to layers and a normaliser. Untrusted. `spec/import-onnx.md#what-becomes-what`.
//!
//! Nothing is rounded: a scale or shift is folded into the layer before it if binary64 holds every product and sum,
//! else it becomes a layer of its own, which always holds it.

use super::exact::{Vector, product, quotient, sum, tensor};
use super::select::place_selections;
use crate::policy::{ActivationSpec, Scaling, TensorData, TensorDtype};
use std::collections::VecDeque;

/// Widest vector that gets a layer of its own: its weight is a full matrix.
const MAX_DIAGONAL: usize = 2048;
/// Layers that a policy may have.
const MAX_LAYERS: usize = 64;

/// An exact map of a flat vector.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Map {
    /// Weights out x in; the name is the weight's.
    Affine {
        name: String,
        weight: TensorData,
        bias: Option<TensorData>,
    },
    Scale(Vector),
    /// By numbers other than 0.
    Divide(Vector),
    Shift(Vector),
    AtLeast(Vector),
    AtMost(Vector),
    Activation(ActivationSpec),
    /// Entry i of the result is entry `indices[i]` of the `of` entries before.
    Select {
        indices: Vec<usize>,
        of: usize,
    },
    /// Softmax, or its logarithm: only at the end, where it belongs to the head.
    Softmax,
}

/// A map and the node that made it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) node: String,
    pub(super) map: Map,
}

/// A node and why what it does cannot be written.
pub(super) type Refused = (String, String);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) weight: TensorData,
    pub(super) bias: TensorData,
    pub(super) activation: ActivationSpec,
    /// Made of scales and shifts, not of the network's weights.
    pub(super) fixed: bool,
}

/// `clip((x - mean) / std)`, or `(x - mean) factor`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Normalisation {
    pub(super) mean: TensorData,
    pub(super) scaling: Scaling,
    pub(super) clip: Option<String>,
}

/// What a policy is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lowered {
    pub(super) layers: Vec<Layer>,
    pub(super) normalisation: Option<Normalisation>,
    /// The outputs are logits whose softmax was taken.
    pub(super) softmax: bool,
    /// What the person should know of the network: rows that are not read.
    pub(super) notes: Vec<String>,
}

/// Writes the maps of an observation of `width` entries as layers.
///
/// # Errors
/// The node whose map has no exact form, and why.
pub(super) fn lower(mut steps: Vec<Step>, width: usize) -> Result<Lowered, Refused> {
    let softmax = matches!(steps.last(), Some(Step { map: Map::Softmax, .. }));
    if softmax {
        steps.pop();
    }
    if let Some(step) = steps.iter().find(|s| s.map == Map::Softmax) {
        let reason = "a softmax inside of the network is not read; only the last step may be one";
        return Err((step.node.clone(), reason.into()));
    }
    let mut notes = Vec::new();
    let placed = place_selections(steps, width, &mut notes)?;
    let mut steps: VecDeque<Step> = super::clips::merge_bounds(placed)?.into();
    let normalisation = take_normalisation(&mut steps, width);
    let mut builder = Builder { layers: Vec::new(), open: false, pending: None, width };
    for step in steps {
        builder.step(step)?;
    }
    builder.flush("", ActivationSpec::Identity)?;
    let layers = builder.layers.into_iter().map(Open::close).collect();
    Ok(Lowered { layers, normalisation, softmax, notes })
}

/// Takes `(x - mean) / std` and a symmetric clip after it off the front, or `(x - mean) factor` right before a layer.
fn take_normalisation(steps: &mut VecDeque<Step>, width: usize) -> Option<Normalisation> {
    let map = |steps: &VecDeque<Step>, place: usize| steps.get(place).map(|s| s.map.clone());
    while let Some(Map::Shift(shift)) = map(steps, 0)
        && shift.is_all(0.0)
    {
        steps.pop_front();
    }
    let (mut mean, mut std, mut clip) = (None, None, None);
    match (map(steps, 0), map(steps, 1)) {
        (Some(Map::Shift(shift)), Some(Map::Scale(by)))
            if deviation(&by).is_none()
                && by.values.iter().all(|&v| v > 0.0)
                && matches!(map(steps, 2), Some(Map::Affine { .. })) =>
        {
            steps.drain(..2);
            let (mean, scaling) = (shift.negated().tensor(), Scaling::Factor(by.tensor()));
            return Some(Normalisation { mean, scaling, clip: None });
        }
        // what else is no division by deviations becomes one layer with its shift
        (Some(Map::Shift(_)), Some(Map::Scale(by))) if deviation(&by).is_none() => return None,
        (Some(Map::Shift(shift)), _) => {
            mean = Some(shift.negated());
            steps.pop_front();
        }
        // x / d + t = (x + t d) / d
        (Some(Map::Divide(by)), Some(Map::Shift(shift))) => {
            mean = shift.combine(&by, product).map(|moved| moved.negated());
            if mean.is_some() {
                steps.remove(1);
            }
        }
        _ => {}
    }
    match map(steps, 0) {
        Some(Map::Divide(by)) => {
            std = Some(by.map(f64::abs));
            let signs = by.map(f64::signum);
            if signs.is_all(1.0) {
                steps.pop_front();
            } else if let Some(step) = steps.front_mut() {
                step.map = Map::Scale(Vector { dtype: TensorDtype::F32, ..signs });
            }
        }
        Some(Map::Scale(by)) if !by.is_all(1.0) => {
            if let Some(by) = deviation(&by).filter(|_| !matches!(map(steps, 1), Some(Map::Shift(_)))) {
                std = Some(by);
                steps.pop_front();
            }
        }
        _ => {}
    }
    if let Some(Map::Activation(ActivationSpec::Clip(lower, upper))) = map(steps, 0)
        && lower.strip_prefix('-') == Some(&upper)
    {
        clip = Some(upper);
        steps.pop_front();
    }
    if mean.is_none() && std.is_none() && clip.is_none() {
        return None;
    }
    Some(Normalisation {
        mean: mean.map_or_else(|| TensorData::zeros(TensorDtype::F32, width), |v| v.tensor()),
        scaling: Scaling::Std(std.unwrap_or_else(|| Vector::constant(width, 1.0)).tensor()),
        clip,
    })
}

/// The standard deviations of a positive factor whose reciprocals are exact.
fn deviation(factor: &Vector) -> Option<Vector> {
    let ones = Vector::constant(factor.values.len(), 1.0);
    ones.combine(factor, quotient).filter(|v| v.values.iter().all(|&v| v > 0.0))
}

/// A layer whose bias may still be absent.
struct Open {
    name: String,
    weight: TensorData,
    bias: Option<TensorData>,
    activation: ActivationSpec,
    fixed: bool,
}

impl Open {
    fn close(self) -> Layer {
        let rows = self.weight.shape.first().copied().unwrap_or(0);
        let bias = self.bias.unwrap_or_else(|| TensorData::zeros(self.weight.dtype, rows));
        Layer { name: self.name, weight: self.weight, bias, activation: self.activation, fixed: self.fixed }
    }
}

/// `scale x + shift` that was not yet written.
struct Pending {
    node: String,
    scale: Option<Vector>,
    shift: Option<Vector>,
}

struct Builder {
    layers: Vec<Open>,
    /// The last layer has no activation yet.
    open: bool,
    pending: Option<Pending>,
    width: usize,
}

impl Builder {
    fn step(&mut self, step: Step) -> Result<(), Refused> {
        if self.layers.len() > MAX_LAYERS {
            return Err((step.node, format!("it comes after more than {MAX_LAYERS} layers")));
        }
        match step.map {
            Map::Affine { name, weight, bias } => {
                self.flush(&step.node, ActivationSpec::Identity)?;
                self.width = weight.shape.first().copied().unwrap_or(0);
                self.layers.push(Open {
                    name,
                    weight,
                    bias,
                    activation: ActivationSpec::Identity,
                    fixed: false,
                });
                self.open = true;
                Ok(())
            }
            Map::Shift(by) => self.shift(&step.node, by),
            Map::Scale(by) => self.scale(&step.node, by),
            Map::Divide(by) => self.divide(&step.node, &by),
            Map::Activation(activation) => self.activate(&step.node, activation),
            Map::AtLeast(_) | Map::AtMost(_) | Map::Select { .. } | Map::Softmax => {
                Err((step.node, "it was left where no layer can hold it".into()))
            }
        }
    }

    fn last(&mut self) -> Option<&mut Open> {
        if self.open { self.layers.last_mut() } else { None }
    }

    fn shift(&mut self, node: &str, by: Vector) -> Result<(), Refused> {
        if self.pending.is_none()
            && let Some(layer) = self.last()
        {
            let bias = match &layer.bias {
                Some(bias) => Vector::of(bias).combine(&by, sum).map(|v| v.tensor()),
                None => Some(by.tensor()),
            };
            if bias.is_some() {
                layer.bias = bias;
                return Ok(());
            }
        }
        if by.is_all(0.0) {
            return Ok(());
        }
        let sum = match &self.pending {
            Some(Pending { shift: Some(shift), .. }) => shift.combine(&by, sum),
            _ => Some(by.clone()),
        };
        match (&mut self.pending, sum) {
            (Some(pending), Some(sum)) => pending.shift = Some(sum),
            _ => {
                self.flush(node, ActivationSpec::Identity)?;
                self.pending = Some(Pending { node: node.into(), scale: None, shift: Some(by) });
            }
        }
        Ok(())
    }

    fn scale(&mut self, node: &str, by: Vector) -> Result<(), Refused> {
        if by.is_all(1.0) {
            return Ok(());
        }
        if let Some(pending) = &mut self.pending {
            let times =
                |v: &Option<Vector>| v.as_ref().map_or(Some(None), |v| v.combine(&by, product).map(Some));
            if let (Some(scale), Some(shift)) = (times(&pending.scale), times(&pending.shift)) {
                pending.scale = Some(scale.unwrap_or(by));
                pending.shift = shift;
                return Ok(());
            }
        }
        self.flush(node, ActivationSpec::Identity)?;
        self.pending = Some(Pending { node: node.into(), scale: Some(by), shift: None });
        Ok(())
    }

    fn divide(&mut self, node: &str, by: &Vector) -> Result<(), Refused> {
        if by.is_all(1.0) {
            return Ok(());
        }
        if let Some(factor) = Vector::constant(by.values.len(), 1.0).combine(by, quotient) {
            return self.scale(node, factor);
        }
        if self.pending.is_none() && self.last().is_some_and(|layer| layer.rows_times(by, quotient)) {
            return Ok(());
        }
        let reason = "a division inside of the network by a number that is no power of two is no exact weight; \
                      multiply by a stored reciprocal, or fold it into the layer before exporting";
        Err((node.into(), reason.into()))
    }

    fn activate(&mut self, node: &str, activation: ActivationSpec) -> Result<(), Refused> {
        if let Some(pending) = self.pending.take() {
            if !self.last().is_some_and(|layer| layer.absorb(&pending)) {
                self.pending = Some(pending);
                return self.flush(node, activation);
            }
        } else if !self.open {
            self.pending = Some(Pending { node: node.into(), scale: None, shift: None });
            return self.flush(node, activation);
        }
        if let Some(layer) = self.last() {
            layer.activation = activation;
        }
        self.open = false;
        Ok(())
    }

    /// Writes what is pending as a layer of its own, with the activation after it.
    fn flush(&mut self, node: &str, activation: ActivationSpec) -> Result<(), Refused> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        if self.width > MAX_DIAGONAL {
            let node = if node.is_empty() { pending.node } else { node.into() };
            return Err((node, format!("it is wider than the {MAX_DIAGONAL} that element-wise maps may be")));
        }
        let scale = pending.scale.unwrap_or_else(|| Vector::constant(self.width, 1.0));
        self.layers.push(Open {
            name: format!("the element-wise map of node {}", pending.node),
            weight: diagonal(&scale),
            bias: pending.shift.map(|v| v.tensor()),
            activation,
            fixed: true,
        });
        self.open = false;
        Ok(())
    }
}

impl Open {
    /// Multiplies (or divides) every row and its bias; `false`, and nothing changed, if a result is not exact.
    fn rows_times(&mut self, by: &Vector, f: fn(f64, f64) -> Option<f64>) -> bool {
        let columns = self.weight.shape.get(1).copied().unwrap_or(0).max(1);
        let rows: Vec<f64> = by.values.iter().flat_map(|&v| std::iter::repeat_n(v, columns)).collect();
        let rows = Vector { dtype: by.dtype, values: rows };
        let Some(weight) = Vector::of(&self.weight).combine(&rows, f) else { return false };
        let bias = match &self.bias {
            Some(bias) => match Vector::of(bias).combine(by, f) {
                Some(bias) => Some(bias.tensor()),
                None => return false,
            },
            None => None,
        };
        self.weight = tensor(weight.dtype, self.weight.shape.clone(), &weight.values);
        self.bias = bias;
        true
    }

    fn absorb(&mut self, pending: &Pending) -> bool {
        let bias = self.bias.as_ref().map(Vector::of);
        // tested before anything is changed
        let scaled = match (&bias, &pending.scale) {
            (Some(bias), Some(scale)) => match bias.combine(scale, product) {
                Some(scaled) => Some(scaled),
                None => return false,
            },
            _ => bias,
        };
        let shifted = match (scaled, &pending.shift) {
            (Some(bias), Some(shift)) => match bias.combine(shift, sum) {
                Some(shifted) => Some(shifted),
                None => return false,
            },
            (bias, shift) => bias.or_else(|| shift.clone()),
        };
        if let Some(scale) = &pending.scale
            && !self.rows_times(scale, product)
        {
            return false;
        }
        self.bias = shifted.map(|v| v.tensor());
        true
    }
}

/// The matrix with the numbers on its diagonal.
fn diagonal(numbers: &Vector) -> TensorData {
    let count = numbers.values.len();
    let mut values = vec![0.0; count * count];
    for (i, &number) in numbers.values.iter().enumerate() {
        if let Some(entry) = values.get_mut(i * count + i) {
            *entry = number;
        }
    }
    tensor(numbers.dtype, vec![count, count], &values)
}
