//! Rule `mono.nested`: a chain's masks only ever lose weights. Trusted; `spec/rules/mono.md#mononested`.

use crate::fault::Fault;
use crate::model::{Mask, Network};
use crate::wide::zip_exact;

/// Accepts iff every mask has one entry per weight of `network` and, for each mask but the first, `M_k <= M_{k-1}`
/// entrywise. The empty list is accepted: it claims nothing.
///
/// # Errors
/// [`Fault`], at the first mask, layer and entry (row-major) that breaks the rule.
pub fn check_nested(network: &Network, masks: &[Mask]) -> Result<(), Fault> {
    let mut before: Option<&Mask> = None;
    for (step, mask) in masks.iter().enumerate() {
        check_step(network, before.unwrap_or(mask), mask, step)?;
        before = Some(mask);
    }
    Ok(())
}

/// The first mask has none before it, and is compared with itself.
fn check_step(network: &Network, before: &Mask, mask: &Mask, step: usize) -> Result<(), Fault> {
    for layer in 0..network.layers.len().max(mask.layers.len()) {
        let shape = Fault::MaskDoesNotFit { step, layer };
        let tables = before.layers.get(layer).zip(mask.layers.get(layer));
        let ((before, after), stored) = tables.zip(network.layers.get(layer)).ok_or(shape.clone())?;
        if before.len() != stored.weight.values.len() {
            return Err(shape);
        }
        let mut pairs = zip_exact(before, after, layer).map_err(|_| shape.clone())?;
        if let Some(index) = pairs.position(|(before, after)| *after && !*before) {
            let columns = stored.weight.columns;
            let place = index.checked_div(columns).zip(index.checked_rem(columns));
            let (row, column) = place.ok_or(shape)?;
            return Err(Fault::NotNested { step, layer, row, column });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Layer, Matrix};
    use crate::number::Dyadic;

    /// 2 inputs, 2 outputs, then 2 inputs, 1 output.
    fn network() -> Network {
        let layer = |rows, columns| Layer {
            fixed: false,
            weight: Matrix { rows, columns, values: vec![Dyadic::ZERO; rows * columns] },
            bias: vec![Dyadic::ZERO; rows],
            activation: Activation::Identity,
        };
        Network { layers: vec![layer(2, 2), layer(1, 2)] }
    }

    fn mask(first: &str, second: &str) -> Mask {
        let bits = |t: &str| t.chars().map(|c| c == '1').collect();
        Mask { layers: vec![bits(first), bits(second)] }
    }

    #[test]
    fn shrinking_masks_are_accepted() {
        let chain = [mask("1111", "11"), mask("1101", "11"), mask("1101", "11"), mask("0001", "00")];
        assert_eq!(check_nested(&network(), &chain), Ok(()));
        assert_eq!(check_nested(&network(), &[]), Ok(()));
    }

    #[test]
    fn a_weight_that_comes_back_is_located() {
        let chain = [mask("1111", "11"), mask("1101", "11"), mask("1111", "11")];
        let error = || Fault::NotNested { step: 2, layer: 0, row: 1, column: 0 };
        assert_eq!(check_nested(&network(), &chain), Err(error()));
        let chain = [mask("1111", "10"), mask("1111", "01")];
        let error = || Fault::NotNested { step: 1, layer: 1, row: 0, column: 1 };
        assert_eq!(check_nested(&network(), &chain), Err(error()));
    }

    #[test]
    fn masks_of_another_network_are_refused() {
        let error = |step, layer| Err(Fault::MaskDoesNotFit { step, layer });
        assert_eq!(check_nested(&network(), &[mask("111", "11")]), error(0, 0));
        assert_eq!(check_nested(&network(), &[mask("1111", "11"), mask("1111", "1")]), error(1, 1));
        assert_eq!(check_nested(&network(), &[Mask { layers: vec![vec![true; 4]] }]), error(0, 1));
    }
}
