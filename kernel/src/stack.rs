//! Rule `stack.networks`: several policies that read shared variables, beside each other as one. Trusted.
//! `spec/rules/split.md#stacknetworks`. Weights are copied, never computed, so that the stack is exact.

use alloc::vec;
use alloc::vec::Vec;

use crate::fault::Fault;
use crate::grid::rational_entry;
use crate::model::{Activation, Head, Layer, Matrix, Network, Normaliser, Policy};
use crate::number::{Dyadic, Rational};
use crate::wide::{AtLayer, zip_exact};

/// A policy and, for each of its inputs, the variable that it reads.
pub type Reading<'a> = (&'a Policy, &'a [usize]);

/// What stands before an input: mean, standard deviation, clip; nothing without a normaliser.
type Before<'a> = Option<(&'a Dyadic, &'a Rational, Option<&'a Rational>)>;

/// Rule `stack.networks`: one policy of `variables` inputs whose outputs are those of every policy in turn and, if `carried`
/// holds a least value of each variable, the variables themselves.
///
/// # Errors
/// [`Fault`]: depths, activations or normalisers that differ, inputs that do not read variables one to one, a variable that
/// nobody reads, a layer or a normaliser that does not carry variables; [`Fault::ShapeMismatch`], [`Fault::Overflow`].
pub fn stack(parts: &[Reading<'_>], variables: usize, carried: Option<&[Rational]>) -> Result<Policy, Fault> {
    let normaliser = shared_normaliser(parts, variables)?;
    if carried.is_some_and(|least| least.len() != variables) {
        return Err(Fault::CaseShape);
    }
    if carried.is_some() && normaliser.is_some() {
        return Err(Fault::StackObserved);
    }
    let (first, _) = parts.first().ok_or(Fault::EmptyNetwork)?;
    let depth = first.network.layers.len();
    let mut layers = Vec::with_capacity(depth);
    let mut columns = variables;
    for (index, model) in first.network.layers.iter().enumerate() {
        let (mut values, mut bias, mut below) = (Vec::new(), Vec::new(), 0usize);
        let mut add = |entries: &mut dyn Iterator<Item = (usize, Dyadic)>, constant: Dyadic| {
            let mut row = vec![Dyadic::ZERO; columns];
            for (place, weight) in entries {
                *row.get_mut(place).shaped(index)? = weight;
            }
            values.extend(row);
            bias.push(constant);
            Ok(())
        };
        for (network, (policy, reads)) in parts.iter().enumerate() {
            let own = policy.network.layers.get(index).filter(|_| policy.network.layers.len() == depth);
            let layer = own.ok_or(Fault::StackDepth { network })?;
            if layer.activation != model.activation {
                return Err(Fault::StackActivation { network, layer: index });
            }
            let above = below.checked_add(layer.weight.columns).within(index)?;
            let own: Vec<usize> = if index == 0 { reads.to_vec() } else { (below..above).collect() };
            for (row, &constant) in zip_exact(layer.weight.checked_rows(index)?, &layer.bias, index)? {
                add(&mut zip_exact(&own, row, index)?.map(|(&place, &weight)| (place, weight)), constant)?;
            }
            below = above;
        }
        let last = index.checked_add(1) == Some(depth);
        for (variable, least) in carried.into_iter().flatten().enumerate() {
            let carries = match model.activation {
                Activation::Identity => true,
                Activation::Relu => !last,
                Activation::LeakyRelu { .. }
                | Activation::Tanh
                | Activation::Sigmoid
                | Activation::Clip { .. }
                | Activation::Elu { .. }
                | Activation::Silu => false,
            };
            if !carries {
                return Err(Fault::StackCarried { layer: index });
            }
            // `x - l` with a whole number `l` not above `x` is not negative, and what is taken off first comes back last.
            let (whole, _) = rational_entry(least, 0).ok_or(Fault::MagnitudeTooLarge { layer: 0 })?;
            let constant = match (index == 0, last) {
                (true, false) => Dyadic::new(whole.checked_neg().within(index)?, 0),
                (false, true) => Dyadic::new(whole, 0),
                (true, true) | (false, false) => Dyadic::ZERO,
            };
            let place = if index == 0 { variable } else { below.checked_add(variable).within(index)? };
            add(&mut [(place, Dyadic::new(1, 0))].into_iter(), constant)?;
        }
        let weight = Matrix { rows: bias.len(), columns, values };
        columns = bias.len();
        layers.push(Layer { weight, bias, activation: model.activation.clone(), fixed: false });
    }
    Ok(Policy { network: Network { layers }, head: Head::Deterministic, normaliser, source: None })
}

/// The normaliser of the variables, of which every reader has the same.
fn shared_normaliser(parts: &[Reading<'_>], variables: usize) -> Result<Option<Normaliser>, Fault> {
    let mut found: Vec<Option<Before<'_>>> = vec![None; variables];
    for (network, (policy, reads)) in parts.iter().enumerate() {
        if reads.len() != policy.network.inputs() {
            return Err(Fault::StackReads { network });
        }
        for (input, &variable) in reads.iter().enumerate() {
            if reads.iter().filter(|other| **other == variable).count() > 1 {
                return Err(Fault::StackReads { network });
            }
            let before = match &policy.normaliser {
                Some(n) => Some((n.mean.get(input).shaped(0)?, n.std.get(input).shaped(0)?, n.clip.as_ref())),
                None => None,
            };
            let slot = found.get_mut(variable).ok_or(Fault::StackReads { network })?;
            if *slot.get_or_insert(before) != before {
                return Err(Fault::StackNormaliser { variable });
            }
        }
    }
    let (mut mean, mut std) = (Vec::new(), Vec::new());
    let mut clips = Vec::with_capacity(variables);
    for (variable, before) in found.into_iter().enumerate() {
        let before = before.ok_or(Fault::StackUnread { variable })?;
        clips.push(before.map(|(_, _, clip)| clip));
        if clips.first() != clips.last() {
            return Err(Fault::StackNormaliser { variable });
        }
        if let Some((own_mean, own_std, _)) = before {
            mean.push(*own_mean);
            std.push(own_std.clone());
        }
    }
    Ok(clips.first().copied().flatten().map(|clip| Normaliser { mean, std, clip: clip.cloned() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enclose::TanhTable;
    use crate::grid::{GridNetwork, GridScale};
    use crate::ibp::propagate;
    use crate::interval::GridBox;

    fn layer(rows: usize, weights: &[i64], bias: i64, activation: Activation) -> Layer {
        let values: Vec<Dyadic> = weights.iter().map(|&w| Dyadic::new(w, 0)).collect();
        let weight = Matrix { rows, columns: values.len() / rows, values };
        Layer { weight, bias: vec![Dyadic::new(bias, 0); rows], activation, fixed: false }
    }

    /// `relu(a x + b y + 1) + 3` of two inputs.
    fn policy(a: i64, b: i64) -> Policy {
        let layers = vec![layer(1, &[a, b], 1, Activation::Relu), layer(1, &[1], 3, Activation::Identity)];
        Policy { network: Network { layers }, head: Head::Deterministic, normaliser: None, source: None }
    }

    fn normalised(mean: i64, clip: i64) -> Policy {
        let clip = Some(Rational::from_integer(clip.into()));
        let normaliser = Normaliser {
            mean: vec![Dyadic::new(mean, 0), Dyadic::ZERO],
            std: vec![Rational::one(); 2],
            clip,
        };
        Policy { normaliser: Some(normaliser), ..policy(1, 1) }
    }

    fn outputs(policy: &Policy, point: &[i64]) -> Vec<i64> {
        let scale = GridScale::new(&policy.network, &Rational::from_integer(100.into())).unwrap();
        let grid = GridNetwork::new(&policy.network, None, &scale).unwrap();
        let region = GridBox::point(point.iter().map(|x| x << scale.value_bits));
        let bounds = propagate(&grid, TanhTable::shared(), &region).unwrap();
        bounds
            .outputs()
            .unwrap()
            .intervals()
            .map(|(lower, upper)| {
                assert_eq!(lower, upper);
                lower >> scale.value_bits
            })
            .collect()
    }

    /// f reads (x0, x1), g reads (x2, x0). At (2, -5, 7): f = relu(3*2 + 2*-5 + 1) + 3 = 3, g = relu(5*7 - 2 + 1) + 3 = 37.
    /// The variables come out as they are, negative ones too.
    #[test]
    fn outputs_are_those_of_each_network_at_its_own_inputs_and_the_variables() {
        let (f, g) = (policy(3, 2), policy(5, -1));
        let parts: [Reading<'_>; 2] = [(&f, &[0, 1]), (&g, &[2, 0])];
        assert_eq!(outputs(&stack(&parts, 3, None).unwrap(), &[2, -5, 7]), [3, 37]);
        let least = ["0", "-11/2", "1/3"].map(|n| Rational::parse(n).unwrap());
        assert_eq!(outputs(&stack(&parts, 3, Some(&least)).unwrap(), &[2, -5, 7]), [3, 37, 2, -5, 7]);
        let single = policy(1, 1);
        assert_eq!(stack(&[(&single, &[0, 1])], 2, None).unwrap().network, single.network);
    }

    #[test]
    fn a_normaliser_stands_before_a_variable_once() {
        let (f, g) = (normalised(4, 9), normalised(4, 9));
        let stacked = stack(&[(&f, &[0, 1]), (&g, &[0, 1])], 2, None).unwrap();
        assert_eq!(stacked.normaliser, f.normaliser);
        let refused = |other: &Policy, reads: &[usize], variables| {
            stack(&[(&f, &[0, 1]), (other, reads)], variables, None).expect_err("refused")
        };
        assert_eq!(refused(&normalised(5, 9), &[0, 1], 2), Fault::StackNormaliser { variable: 0 });
        assert_eq!(refused(&normalised(4, 9), &[1, 0], 2), Fault::StackNormaliser { variable: 1 });
        assert_eq!(refused(&normalised(4, 8), &[0, 1], 2), Fault::StackNormaliser { variable: 0 });
        assert_eq!(refused(&policy(1, 1), &[0, 1], 2), Fault::StackNormaliser { variable: 0 });
        // Not of one variable: a clip is one of all.
        assert_eq!(refused(&normalised(4, 8), &[2, 3], 4), Fault::StackNormaliser { variable: 2 });
        assert_eq!(refused(&policy(1, 1), &[2, 3], 4), Fault::StackNormaliser { variable: 2 });
    }

    #[test]
    fn what_does_not_stack_is_named() {
        let f = policy(3, 2);
        let refused = |other: &Policy, reads: &[usize], variables| {
            stack(&[(&f, &[0, 1]), (other, reads)], variables, None).expect_err("refused")
        };
        let mut shallow = policy(1, 1);
        shallow.network.layers.truncate(1);
        assert_eq!(refused(&shallow, &[0, 1], 2), Fault::StackDepth { network: 1 });
        let mut deep = policy(1, 1);
        deep.network.layers.push(layer(1, &[1], 0, Activation::Identity));
        assert_eq!(refused(&deep, &[0, 1], 2), Fault::StackDepth { network: 1 });
        let mut other = policy(1, 1);
        other.network.layers[0].activation = Activation::Tanh;
        assert_eq!(refused(&other, &[0, 1], 2), Fault::StackActivation { network: 1, layer: 0 });
        for reads in [&[0, 0][..], &[0, 2], &[0], &[0, 1, 1]] {
            assert_eq!(refused(&f, reads, 2), Fault::StackReads { network: 1 });
        }
        assert_eq!(refused(&f, &[0, 1], 3), Fault::StackUnread { variable: 2 });
        assert_eq!(stack(&[], 2, None), Err(Fault::StackUnread { variable: 0 }));
        assert_eq!(stack(&[], 0, None), Err(Fault::EmptyNetwork));
        let least = [Rational::zero(), Rational::zero()];
        let carried = |policy: &Policy| stack(&[(policy, &[0, 1])], 2, Some(&least));
        assert_eq!(carried(&other), Err(Fault::StackCarried { layer: 0 }));
        assert_eq!(carried(&normalised(4, 9)), Err(Fault::StackObserved));
        let mut squashed = policy(1, 1);
        squashed.network.layers[1].activation = Activation::Relu;
        assert_eq!(carried(&squashed), Err(Fault::StackCarried { layer: 1 }));
        assert_eq!(stack(&[(&f, &[0, 1])], 2, Some(&least[1..])), Err(Fault::CaseShape));
    }
}
