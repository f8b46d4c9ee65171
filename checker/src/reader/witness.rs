//! The witness file: slopes, split trees, points and vectors, each with its shape. Trusted; any witness is sound.
//! `spec/certificate.md#witness`. A file of another form is refused, never passed over.

use num_bigint::BigInt;

use crate::kernel::crown::{RowWitness, Witness};
use crate::kernel::grid::{GridActivation, GridNetwork};
use crate::kernel::norm::SpectralWitness;
use crate::kernel::relax::SlopeChoice;
use crate::number::Dyadic;
use crate::reader::clause::Clause;
use crate::reader::safetensors::Safetensors;
use crate::reader::tensor::Dtype;
use crate::reader::trees::{Trees, state_block};

/// Vectors are read with this many fraction bits.
const VECTOR_BITS: u32 = 64;
/// Factors are read with this many fraction bits.
const FACTOR_BITS: u32 = 44;
/// Slopes are stored in units of 1/65536; the slope grid has 8 bits more.
pub(super) const SLOPE_UNIT: i64 = 256;

/// A witness file.
#[derive(Clone, Debug)]
pub struct WitnessFile<'a> {
    file: Safetensors<'a>,
}

impl<'a> WitnessFile<'a> {
    /// Reads the file; what its tensors hold is read when it is asked for.
    ///
    /// # Errors
    /// [`Clause`], of tensor files.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Clause> {
        Ok(Self { file: Safetensors::parse(bytes)? })
    }

    /// Bytes of a tensor of the element type U8, if the shape is what `shape` makes of their number. A missing tensor and
    /// one of another shape are the same condition, which the caller names.
    fn bytes(&self, name: &str, shape: impl Fn(usize) -> Option<Vec<usize>>) -> Option<&'a [u8]> {
        let tensor = self.file.tensor(name).ok()?;
        let fits = tensor.dtype == Dtype::U8 && Some(&tensor.shape) == shape(tensor.bytes.len()).as_ref();
        if fits { Some(tensor.bytes) } else { None }
    }

    /// Slopes of one state of `states` under a mask, for the family called `family`: tensor `FAMILY.MASK`, a row a state.
    pub fn slopes(
        &self,
        (family, mask): (&str, usize),
        network: &GridNetwork,
        (state, states): (usize, usize),
    ) -> Option<StateSlopes> {
        let shape = |bytes: usize| Some(vec![states, bytes.checked_div(states)?]);
        let table = self.bytes(&format!("{family}.{mask}"), shape)?;
        let columns = table.len().checked_div(states)?;
        let start = state.checked_mul(columns)?;
        StateSlopes::parse(network, table.get(start..start.checked_add(columns)?)?)
    }

    /// Split trees of one state of `states` under a mask: tensor `branch.MASK`, the table of ends and the trees.
    pub fn trees(&self, mask: usize, (state, states): (usize, usize)) -> Option<Trees<'a>> {
        let bytes = self.bytes(&format!("branch.{mask}"), |bytes| Some(vec![bytes]))?;
        state_block(bytes, states, state).map(Trees::new)
    }

    /// The bytes of a region's one tree: tensor `region.REGION`. `None` if its type or shape is another.
    ///
    /// # Errors
    /// [`Clause::NoTensor`].
    pub fn region(&self, region: usize) -> Result<Option<&'a [u8]>, Clause> {
        let name = format!("region.{region}");
        self.file.tensor(&name)?;
        Ok(self.bytes(&name, |bytes| Some(vec![bytes])))
    }

    /// The points of a mask as offsets from the states, row-major: tensor `counterexample.MASK`, states x inputs. `None` if
    /// its type or shape is another.
    ///
    /// # Errors
    /// [`Clause::NoTensor`], [`Clause::NotFinite`].
    pub fn points(&self, mask: usize, states: usize, inputs: usize) -> Result<Option<Vec<Dyadic>>, Clause> {
        let table = self.file.tensor(&format!("counterexample.{mask}"))?;
        let fits = table.dtype == Dtype::F64 && table.shape == [states, inputs];
        if fits { table.dyadics().map(Some) } else { Ok(None) }
    }

    /// A layer's vector for `norm.abs-spectral`: tensor `abs-spectral.MASK.LAYER`, floored to the rule's grid.
    ///
    /// # Errors
    /// [`Clause`], of tensors.
    pub fn vector(&self, mask: usize, layer: usize) -> Result<Vec<BigInt>, Clause> {
        let numbers = self.file.tensor(&format!("abs-spectral.{mask}.{layer}"))?.vector()?;
        Ok(numbers.into_iter().map(|n| n.to_rational().floor_scaled(VECTOR_BITS)).collect())
    }

    /// A layer's factor and scale for `norm.spectral`: tensors `spectral.MASK.LAYER.factor` and `.rho`, floored to the
    /// rule's grid: any rounding of a witness is sound. `None` if a number is too large for it, or the scale is no number.
    ///
    /// # Errors
    /// [`Clause`], of tensors.
    pub fn factor(&self, mask: usize, layer: usize) -> Result<Option<SpectralWitness>, Clause> {
        let named = |part: &str| self.file.tensor(&format!("spectral.{mask}.{layer}.{part}"))?.vector();
        let (entries, rho) = (named("factor")?, named("rho")?);
        let entries = entries.into_iter().map(|n| i64::try_from(n.to_rational().floor_scaled(FACTOR_BITS)));
        let (Ok(factor), [rho]) = (entries.collect::<Result<_, _>>(), rho.as_slice()) else {
            return Ok(None);
        };
        let rho = rho.to_rational().floor_scaled(FACTOR_BITS << 1);
        Ok(Some(SpectralWitness { rho, factor, fraction_bits: FACTOR_BITS }))
    }
}

/// One state's slopes, by layer and neuron: from below, from above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSlopes {
    layers: Vec<Vec<[RowWitness; 2]>>,
}

impl StateSlopes {
    /// Reads one state's bytes: layers 1 and up, each with its neurons, each with a row from below and one from above.
    /// `None` if their number is wrong.
    pub fn parse(network: &GridNetwork, bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let mut layers = vec![Vec::new()];
        for (target, layer) in network.layers.iter().enumerate().skip(1) {
            let mut row = || {
                let below = network.layers.iter().take(target);
                let slopes = below.map(|layer| cursor.layer(&layer.activation, layer.outputs()));
                Some(RowWitness { slopes: slopes.collect::<Option<_>>()?, ..RowWitness::default() })
            };
            layers.push((0..layer.outputs()).map(|_| Some([row()?, row()?])).collect::<Option<_>>()?);
        }
        if cursor.0.is_empty() { Some(Self { layers }) } else { None }
    }

    /// The slopes as a witness of backward bounds.
    pub fn witness(&self) -> Witness<'_> {
        Witness { rows: &self.layers, signs: &[] }
    }
}

/// Slopes stored for one neuron: none for the identity, one for what has a kink (below), two for a curve (below, above).
pub(super) fn slopes_of(activation: &GridActivation) -> usize {
    match activation {
        GridActivation::Identity => 0,
        GridActivation::Relu | GridActivation::LeakyRelu { .. } | GridActivation::Clip { .. } => 1,
        GridActivation::Tanh | GridActivation::Sigmoid => 2,
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

    /// A neuron's slopes; the largest number stands for 1.
    pub(super) fn slopes(&mut self, activation: &GridActivation) -> Option<SlopeChoice> {
        let mut slope = || {
            let stored = i64::from(u16::from_le_bytes(self.take()?));
            let units = if stored == i64::from(u16::MAX) { stored.checked_add(1)? } else { stored };
            units.checked_mul(SLOPE_UNIT)
        };
        let lower = Some(slope()?);
        Some(SlopeChoice { lower, upper: if slopes_of(activation) == 2 { Some(slope()?) } else { None } })
    }

    fn layer(&mut self, activation: &GridActivation, outputs: usize) -> Option<Vec<SlopeChoice>> {
        let neurons = if slopes_of(activation) == 0 { 0 } else { outputs };
        (0..neurons).map(|_| self.slopes(activation)).collect()
    }
}
