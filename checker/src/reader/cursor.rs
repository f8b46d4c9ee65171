//! Numbers of a witness file, one after the other. Trusted; any slope is sound. `spec/certificate.md#witness`.

use crate::kernel::grid::GridActivation;
use crate::kernel::relax::SlopeChoice;

/// Slopes are stored in units of 1/65536; the slope grid has 8 bits more.
pub(super) const SLOPE_UNIT: i64 = 256;
/// SiLU's slopes run from -1/8 to 9/8, in units of 5/4 of the others'.
const SILU_UNIT: i64 = 320;
/// -1/8 on the slope grid.
const SILU_FIRST: i64 = -(1 << 21);

/// Slopes stored for one neuron: none for the identity, one for what has a kink (below), two for a curve (below, above).
pub(super) fn slopes_of(activation: &GridActivation) -> usize {
    match activation {
        GridActivation::Identity => 0,
        GridActivation::Relu | GridActivation::LeakyRelu { .. } | GridActivation::Clip { .. } => 1,
        GridActivation::Tanh
        | GridActivation::Sigmoid
        | GridActivation::Elu { .. }
        | GridActivation::Silu => 2,
    }
}

/// Bytes that are still to be read; little-endian.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn short(&mut self) -> Option<usize> {
        self.take().map(|pair| usize::from(u16::from_le_bytes(pair)))
    }

    /// A neuron's slopes; the largest number stands for 1, of SiLU for 9/8.
    pub(super) fn slopes(&mut self, activation: &GridActivation) -> Option<SlopeChoice> {
        let mut slope = || {
            let stored = i64::from(u16::from_le_bytes(self.take()?));
            let units = if stored == i64::from(u16::MAX) { stored.checked_add(1)? } else { stored };
            match activation {
                GridActivation::Silu => units.checked_mul(SILU_UNIT)?.checked_add(SILU_FIRST),
                _ => units.checked_mul(SLOPE_UNIT),
            }
        };
        let lower = Some(slope()?);
        Some(SlopeChoice { lower, upper: if slopes_of(activation) == 2 { Some(slope()?) } else { None } })
    }

    /// The slopes of a layer's neurons.
    pub(super) fn layer(&mut self, activation: &GridActivation, outputs: usize) -> Option<Vec<SlopeChoice>> {
        let neurons = if slopes_of(activation) == 0 { 0 } else { outputs };
        (0..neurons).map(|_| self.slopes(activation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slope of SiLU runs from -1/8 to 9/8, in units of 5/4 of the others'; SiLU and ELU have two.
    #[test]
    fn slopes_of_curves_are_read() {
        let elu = GridActivation::Elu { numerator: 1, denominator: 1 };
        let read = |activation: &GridActivation, below: u16, above: u16| {
            let bytes = [below.to_le_bytes(), above.to_le_bytes()].concat();
            let mut cursor = Cursor(&bytes);
            let read = cursor.slopes(activation).unwrap();
            assert_eq!((slopes_of(activation), cursor.0.len()), (2, 0));
            (read.lower.unwrap(), read.upper.unwrap())
        };
        let one = 1i64 << 24;
        assert_eq!(read(&elu, 0x8000, 0xFFFF), (one / 2, one));
        assert_eq!(read(&GridActivation::Silu, 0, 0xFFFF), (-one / 8, 9 * one / 8));
        assert_eq!(read(&GridActivation::Silu, 0x8000, 1), (one / 2, 320 - one / 8));
        assert_eq!(Cursor(&[0; 3]).slopes(&elu), None);
    }
}
