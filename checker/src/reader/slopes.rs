//! Slopes of optimised backward bounds, as a witness file holds them. Trusted; any slopes are sound.
//! `spec/certificate.md#witness`. ReLU-like layers have one slope a neuron (below), tanh and sigmoid two (below, above).

use crate::kernel::crown::{RowWitness, Slopes, Witness};
use crate::kernel::grid::{GridActivation, GridNetwork};
use crate::kernel::relax::SlopeChoice;

/// The slope grid has this many bits more than the stored 16.
const UNIT_BITS: u32 = 8;
/// Bytes of one slope.
const BYTES: usize = 2;

/// Slopes stored for one neuron of a layer: none for the identity.
pub(super) fn slopes_of(activation: &GridActivation) -> usize {
    match activation {
        GridActivation::Identity => 0,
        GridActivation::Relu | GridActivation::LeakyRelu { .. } | GridActivation::Clip { .. } => 1,
        GridActivation::Tanh | GridActivation::Sigmoid => 2,
    }
}

/// Bytes of one row that bounds a quantity of layer `target`.
fn row_bytes(network: &GridNetwork, target: usize) -> Option<usize> {
    network.layers.iter().take(target).try_fold(0usize, |sum, layer| {
        sum.checked_add(layer.outputs().checked_mul(slopes_of(&layer.activation))?.checked_mul(BYTES)?)
    })
}

/// Bytes of one state: layers 1 and up, each with its neurons, each with a row from below and one from above.
pub fn state_bytes(network: &GridNetwork) -> Option<usize> {
    let mut layers = network.layers.iter().enumerate().skip(1);
    layers.try_fold(0usize, |sum, (target, layer)| {
        let rows = layer.outputs().checked_mul(2)?;
        sum.checked_add(rows.checked_mul(row_bytes(network, target)?)?)
    })
}

/// One state's slopes, by layer and neuron: from below, from above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSlopes {
    layers: Vec<Vec<[RowWitness; 2]>>,
}

impl StateSlopes {
    /// Reads one state's bytes; `None` if their number is wrong.
    pub fn parse(network: &GridNetwork, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != state_bytes(network)? {
            return None;
        }
        let mut rest = bytes;
        let mut layers = vec![Vec::new()];
        for (target, layer) in network.layers.iter().enumerate().skip(1) {
            let size = row_bytes(network, target)?;
            let mut rows = Vec::with_capacity(layer.outputs());
            for _ in 0..layer.outputs() {
                let (below, tail) = rest.split_at_checked(size)?;
                let (above, tail) = tail.split_at_checked(size)?;
                rows.push([row(network, target, below)?, row(network, target, above)?]);
                rest = tail;
            }
            layers.push(rows);
        }
        Some(Self { layers })
    }

    /// The slopes as a witness of backward bounds.
    pub fn witness(&self) -> Witness<'_> {
        Witness { rows: &self.layers, signs: &[] }
    }
}

fn row(network: &GridNetwork, target: usize, bytes: &[u8]) -> Option<RowWitness> {
    let mut numbers =
        bytes.chunks_exact(BYTES).map(|pair| pair.try_into().ok().map(u16::from_le_bytes).map(slope));
    let mut slopes: Slopes = Vec::with_capacity(target);
    for layer in network.layers.iter().take(target) {
        let mut choices = Vec::new();
        for _ in 0..layer.outputs() {
            match slopes_of(&layer.activation) {
                0 => break,
                1 => choices.push(SlopeChoice { lower: numbers.next()?, upper: None }),
                _ => choices.push(SlopeChoice { lower: numbers.next()?, upper: numbers.next()? }),
            }
        }
        slopes.push(choices);
    }
    Some(RowWitness { slopes, ..RowWitness::default() })
}

/// Units of 1/65536 on the slope grid; the largest number stands for 1.
pub(super) fn slope(stored: u16) -> i64 {
    let units = if stored == u16::MAX { i64::from(stored).saturating_add(1) } else { i64::from(stored) };
    units.checked_shl(UNIT_BITS).unwrap_or(0)
}
