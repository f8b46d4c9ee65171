//! Bounds from one side or both as activations: `max(x, 0)` is relu, bounds on both sides are a clip, others are relus
//! of shifted values. Untrusted. `spec/import-onnx.md#element-wise`.

use super::exact::{Vector, text};
use super::lower::{Map, Refused, Step};
use crate::policy::ActivationSpec;

/// Replaces every run of `AtLeast` and `AtMost`.
pub(super) fn merge_bounds(steps: Vec<Step>) -> Result<Vec<Step>, Refused> {
    let mut merged = Vec::new();
    let mut open: Option<Bounds> = None;
    for step in steps {
        match step.map {
            Map::AtLeast(bound) => open = Some(Bounds::met(open, step.node, bound, true)?),
            Map::AtMost(bound) => open = Some(Bounds::met(open, step.node, bound, false)?),
            _ => {
                merged.extend(open.take().map(Bounds::steps).transpose()?.unwrap_or_default());
                merged.push(step);
            }
        }
    }
    merged.extend(open.take().map(Bounds::steps).transpose()?.unwrap_or_default());
    Ok(merged)
}

/// `min(max(x, lower), upper)` with `lower < upper`.
struct Bounds {
    node: String,
    lower: Option<Vector>,
    upper: Option<Vector>,
}

impl Bounds {
    fn met(open: Option<Self>, node: String, bound: Vector, from_below: bool) -> Result<Self, Refused> {
        let mut bounds = open.unwrap_or(Self { node: node.clone(), lower: None, upper: None });
        let (own, other) = match from_below {
            true => (&mut bounds.lower, &bounds.upper),
            false => (&mut bounds.upper, &bounds.lower),
        };
        let crossed = |a: f64, b: f64| if from_below { a >= b } else { a <= b };
        if other.as_ref().is_some_and(|o| bound.values.iter().zip(&o.values).any(|(&b, &o)| crossed(b, o))) {
            return Err((node, "its bounds leave at most one value".into()));
        }
        let tighter = |a: f64, b: f64| Some(if from_below { a.max(b) } else { a.min(b) });
        *own = match own.take() {
            Some(before) => before.combine(&bound, tighter),
            None => Some(bound),
        };
        Ok(bounds)
    }

    fn steps(self) -> Result<Vec<Step>, Refused> {
        let uniform = |bound: &Option<Vector>| bound.as_ref().map(|b| b.uniform().filter(|v| v.is_finite()));
        let act = |activation| Step { node: self.node.clone(), map: Map::Activation(activation) };
        match (uniform(&self.lower), uniform(&self.upper)) {
            (Some(Some(0.0)), None) => return Ok(vec![act(ActivationSpec::Relu)]),
            (Some(Some(lower)), Some(Some(upper))) => {
                let (Some(lower), Some(upper)) = (text(lower), text(upper)) else {
                    return Err((self.node, "a bound is not finite".into()));
                };
                return Ok(vec![act(ActivationSpec::Clip(lower, upper))]);
            }
            _ => {}
        }
        let step = |map| Step { node: self.node.clone(), map };
        let mut steps = Vec::new();
        if let Some(lower) = &self.lower {
            // max(x, l) = relu(x - l) + l
            steps.push(step(Map::Shift(lower.negated())));
            steps.push(act(ActivationSpec::Relu));
            steps.push(step(Map::Shift(lower.clone())));
        }
        if let Some(upper) = &self.upper {
            // min(x, u) = u - relu(u - x)
            let turn = Map::Scale(Vector::constant(upper.values.len(), -1.0));
            steps.extend([step(turn.clone()), step(Map::Shift(upper.clone()))]);
            steps.extend([act(ActivationSpec::Relu), step(turn), step(Map::Shift(upper.clone()))]);
        }
        Ok(steps)
    }
}
