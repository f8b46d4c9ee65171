//! Element-wise operators on the observation: constants on one side, and activations. Untrusted.
//! `spec/import-onnx.md#element-wise`.

use super::constant::Constant;
use super::exact::{Vector, text};
use super::execute::{Execution, Signal, met};
use super::graph::Attributes;
use super::lower::Map;
use super::movement::count;
use super::proto::Node;
use super::{Failure, refuse};
use crate::policy::ActivationSpec;
use secateur_checker::number::Rational;
use std::rc::Rc;

type Constants<'a> = &'a [Option<Rc<Constant>>];

impl Execution<'_> {
    /// Sums, differences, products, quotients and bounds with constants.
    pub(super) fn elementwise(
        &mut self,
        node: &Node,
        place: usize,
        signal: &Signal,
        constants: Constants<'_>,
    ) -> Result<Signal, Failure> {
        Attributes::of(node, &["broadcast"])?;
        let kind = node.op_type.as_str();
        if constants.len() != 2 && !["Max", "Min", "Sum"].contains(&kind) {
            return refuse("it should have two inputs");
        }
        let mut made = signal.clone();
        for (other, constant) in constants.iter().enumerate().filter(|(other, _)| *other != place) {
            let name = node.input.get(other).map_or("", String::as_str);
            let constant =
                constant.as_deref().ok_or_else(|| Failure::Reason("an input is missing".into()))?;
            if matches!(kind, "Max" | "Min") {
                made = self.bound(&made, name, constant, kind == "Max")?;
                continue;
            }
            let (values, shape) = self.spread(name, constant, &made)?;
            made = match (kind, place) {
                ("Add" | "Sum", _) => self.push(&made, Map::Shift(values)),
                ("Sub", 0) => self.push(&made, Map::Shift(values.negated())),
                ("Sub", _) => {
                    let turned = self.push(&made, Map::Scale(Vector::constant(values.values.len(), -1.0)));
                    self.push(&turned, Map::Shift(values))
                }
                ("Mul", _) => self.push(&made, Map::Scale(values)),
                (_, 0) if values.values.contains(&0.0) => return refuse("it divides by zero"),
                (_, 0) => self.push(&made, Map::Divide(values)),
                _ => return refuse("the observation is a divisor"),
            };
            made.shape = shape;
        }
        Ok(made)
    }

    /// `max(x, bound)` or `min(x, bound)`; an infinite bound, or the format's largest number, is none.
    fn bound(
        &mut self,
        signal: &Signal,
        name: &str,
        constant: &Constant,
        lower: bool,
    ) -> Result<Signal, Failure> {
        let (_, values) = constant.as_floats()?;
        let open = if lower { -f64::from(f32::MAX) } else { f64::from(f32::MAX) };
        let is_open = |v: f64| if lower { v <= open } else { v >= open };
        if values.iter().any(|v| v.is_nan()) {
            return refuse("a bound is no number");
        }
        let shape = met(constant, signal)?;
        if !values.is_empty() && values.iter().all(|&v| is_open(v)) {
            let mut unbounded = signal.clone();
            unbounded.shape = shape;
            return Ok(unbounded);
        }
        if values.iter().any(|&v| is_open(v) || !v.is_finite()) {
            return refuse("some of its bounds are infinite and some are not");
        }
        let (values, shape) = self.spread(name, constant, signal)?;
        let mut made = self.push(signal, if lower { Map::AtLeast(values) } else { Map::AtMost(values) });
        made.shape = shape;
        Ok(made)
    }

    /// Operators of one value: activations and clips.
    pub(super) fn activation(
        &mut self,
        node: &Node,
        place: usize,
        signal: &Signal,
        constants: Constants<'_>,
    ) -> Result<Signal, Failure> {
        if place != 0 {
            return refuse(super::refusal(&node.op_type));
        }
        let entries = count(&signal.shape)?;
        let plain = |node| Attributes::of(node, &[]).map(|_| ());
        match node.op_type.as_str() {
            "Relu" => {
                plain(node)?;
                Ok(self.push(signal, Map::AtLeast(Vector::constant(entries, 0.0))))
            }
            "Tanh" => {
                plain(node)?;
                Ok(self.push(signal, Map::Activation(ActivationSpec::Tanh)))
            }
            "Sigmoid" => {
                plain(node)?;
                Ok(self.push(signal, Map::Activation(ActivationSpec::Sigmoid)))
            }
            "Neg" => {
                plain(node)?;
                Ok(self.push(signal, Map::Scale(Vector::constant(entries, -1.0))))
            }
            "LeakyRelu" => {
                let slope = Attributes::of(node, &["alpha"])?.float("alpha")?.unwrap_or(0.01);
                self.leaky(signal, f64::from(slope))
            }
            "Elu" => {
                let alpha = f64::from(Attributes::of(node, &["alpha"])?.float("alpha")?.unwrap_or(1.0));
                match text(alpha).filter(|_| alpha > 0.0 && alpha <= 1.0) {
                    Some(alpha) => Ok(self.push(signal, Map::Activation(ActivationSpec::Elu(alpha)))),
                    None => refuse(format!(
                        "its alpha is {alpha}; ELU is bounded with an alpha above 0 and at most 1, no other: train the \
                         policy with such a one, or distil it into one"
                    )),
                }
            }
            "Swish" => {
                let alpha = Attributes::of(node, &["alpha"])?.float("alpha")?.unwrap_or(1.0);
                if alpha != 1.0 {
                    return refuse(format!(
                        "its alpha is {alpha}; Swish is bounded with alpha 1 (SiLU), no other: train the policy with \
                         that, or distil it into one"
                    ));
                }
                Ok(self.push(signal, Map::Activation(ActivationSpec::Silu)))
            }
            "PRelu" => {
                Attributes::of(node, &[])?;
                let slope = constants.get(1).and_then(Option::as_deref);
                let slope = slope.ok_or_else(|| Failure::Reason("its slope is no constant".into()))?;
                let name = node.input.get(1).map_or("", String::as_str);
                let (slopes, shape) = self.spread(name, slope, signal)?;
                if shape != signal.shape {
                    return refuse(format!(
                        "its slopes of shape {:?} have more sides than its input",
                        slope.shape
                    ));
                }
                match slopes.uniform() {
                    Some(slope) => self.leaky(signal, slope),
                    None => refuse("its slopes differ from entry to entry; one slope is read"),
                }
            }
            "HardSigmoid" => {
                let attributes = Attributes::of(node, &["alpha", "beta"])?;
                let alpha = f64::from(attributes.float("alpha")?.unwrap_or(0.2));
                let beta = f64::from(attributes.float("beta")?.unwrap_or(0.5));
                if !alpha.is_finite() || !beta.is_finite() {
                    return refuse("its alpha or beta is no number");
                }
                let scaled = self.push(signal, Map::Scale(Vector::constant(entries, alpha)));
                let shifted = self.push(&scaled, Map::Shift(Vector::constant(entries, beta)));
                let positive = self.push(&shifted, Map::AtLeast(Vector::constant(entries, 0.0)));
                Ok(self.push(&positive, Map::AtMost(Vector::constant(entries, 1.0))))
            }
            "Clip" => self.clip(node, signal, constants),
            "Softmax" | "LogSoftmax" => self.softmax(node, signal),
            kind => refuse(super::refusal(kind)),
        }
    }

    /// `x` if positive, else `slope x`; a slope above 1 is a slope below 1 of the mirrored value.
    fn leaky(&mut self, signal: &Signal, slope: f64) -> Result<Signal, Failure> {
        let text = text(slope).filter(|_| slope >= 0.0);
        let Some(text) = text else { return refuse(format!("its slope {slope} is not positive")) };
        if slope <= 1.0 {
            return Ok(self.push(signal, Map::Activation(ActivationSpec::LeakyRelu(text))));
        }
        let entries = count(&signal.shape)?;
        let inverse = Rational::parse(&text).ok().and_then(|s| Rational::one().div(&s).ok());
        let inverse = inverse.ok_or_else(|| Failure::Reason("its slope is no number".into()))?;
        let turned = self.push(signal, Map::Scale(Vector::constant(entries, -1.0)));
        let bent = self.push(&turned, Map::Activation(ActivationSpec::LeakyRelu(inverse.to_string())));
        Ok(self.push(&bent, Map::Scale(Vector::constant(entries, -slope))))
    }

    fn clip(&mut self, node: &Node, signal: &Signal, constants: Constants<'_>) -> Result<Signal, Failure> {
        let attributes = Attributes::of(node, &["min", "max"])?;
        let mut made = signal.clone();
        for (place, name) in [(1, "min"), (2, "max")] {
            let input = constants.get(place).and_then(Option::clone);
            let stated = attributes.float(name)?.map(f64::from);
            let bound = match (input, stated) {
                (Some(_), Some(_)) => return refuse(format!("its {name} is given twice")),
                (Some(input), None) => input,
                (None, Some(value)) => Rc::new(Constant::floats(vec![], vec![value])),
                (None, None) => continue,
            };
            if bound.entries() != 1 || bound.shape.len() > 1 {
                return refuse(format!("its {name} is not one number"));
            }
            made = self.bound(&made, name, &bound, place == 1)?;
        }
        made.shape.clone_from(&signal.shape);
        Ok(made)
    }

    fn softmax(&mut self, node: &Node, signal: &Signal) -> Result<Signal, Failure> {
        let old = self.live.opset < 13;
        let axis = Attributes::of(node, &["axis"])?.int("axis")?.unwrap_or(if old { 1 } else { -1 });
        let axis = super::movement::axis_of(axis, signal.shape.len())?;
        // before opset 13 all sides from the axis on were one
        let end = if old { signal.shape.len() } else { axis + 1 };
        if count(signal.shape.get(axis..end).unwrap_or(&[]))? != count(&signal.shape)? {
            return refuse("it does not run over all outputs");
        }
        Ok(self.push(signal, Map::Softmax))
    }
}
