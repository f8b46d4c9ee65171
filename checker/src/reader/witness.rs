//! The witness file: slopes, split trees, points and vectors, each with its shape. Trusted; any witness is sound.
//! `spec/certificate.md#witness`. A file of another form is refused, never passed over.

use num_bigint::BigInt;

use crate::kernel::crown::{RowWitness, Witness};
use crate::kernel::grid::GridNetwork;
use crate::kernel::norm::SpectralWitness;
use crate::number::Dyadic;
use crate::reader::clause::Clause;
use crate::reader::cursor::Cursor;
use crate::reader::safetensors::Safetensors;
use crate::reader::tensor::Dtype;
use crate::reader::trees::{Trees, state_block};

/// Vectors are read with this many fraction bits.
const VECTOR_BITS: u32 = 64;
/// Factors are read with this many fraction bits.
const FACTOR_BITS: u32 = 44;

/// A witness file.
#[derive(Clone, Debug)]
pub(crate) struct WitnessFile<'a> {
    file: Safetensors<'a>,
    /// Stands before the names of the tensors that are asked for.
    prefix: String,
}

impl<'a> WitnessFile<'a> {
    /// Reads the file; what its tensors hold is read when it is asked for.
    ///
    /// # Errors
    /// [`Clause`], of tensor files.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Clause> {
        Ok(Self { file: Safetensors::parse(bytes)?, prefix: String::new() })
    }

    /// The slopes, trees and points of entry `entry` of `radius`.
    pub(crate) fn of_radius(self, entry: usize) -> Self {
        Self { prefix: format!("radius.{entry}."), ..self }
    }

    /// Bytes of a tensor of the element type U8, if the shape is what `shape` makes of their number. A missing tensor and
    /// one of another shape are the same condition, which the caller names.
    fn bytes(&self, name: &str, shape: impl Fn(usize) -> Option<Vec<usize>>) -> Option<&'a [u8]> {
        let tensor = self.file.tensor(name).ok()?;
        let fits = tensor.dtype == Dtype::U8 && Some(&tensor.shape) == shape(tensor.bytes.len()).as_ref();
        if fits { Some(tensor.bytes) } else { None }
    }

    /// Slopes of one state of `states` under a mask, for the family called `family`: tensor `FAMILY.MASK`, a row a state.
    pub(crate) fn slopes(
        &self,
        (family, mask): (&str, usize),
        network: &GridNetwork,
        (state, states): (usize, usize),
    ) -> Option<StateSlopes> {
        let shape = |bytes: usize| Some(vec![states, bytes.checked_div(states)?]);
        let table = self.bytes(&format!("{}{family}.{mask}", self.prefix), shape)?;
        let columns = table.len().checked_div(states)?;
        let start = state.checked_mul(columns)?;
        StateSlopes::parse(network, table.get(start..start.checked_add(columns)?)?)
    }

    /// Split trees of one state of `states` under a mask: tensor `branch.MASK`, the table of ends and the trees.
    pub(crate) fn trees(&self, mask: usize, (state, states): (usize, usize)) -> Option<Trees<'a>> {
        let bytes = self.bytes(&format!("{}branch.{mask}", self.prefix), |bytes| Some(vec![bytes]))?;
        state_block(bytes, states, state).map(Trees::new)
    }

    /// The cells of one state of `states` under a mask, if there are any: tensor `cells.MASK`, the table of ends and a tree
    /// a state. `Some(None)` if they cannot be read.
    pub(crate) fn cells(&self, mask: usize, (state, states): (usize, usize)) -> Option<Option<Trees<'a>>> {
        let name = format!("{}cells.{mask}", self.prefix);
        self.file.tensor(&name).ok()?;
        let bytes = self.bytes(&name, |bytes| Some(vec![bytes]));
        Some(bytes.and_then(|bytes| state_block(bytes, states, state)).map(Trees::new))
    }

    /// The bytes of a region's one tree: tensor `region.REGION`. `None` if its type or shape is another.
    ///
    /// # Errors
    /// [`Clause::NoTensor`].
    pub(crate) fn region(&self, region: usize) -> Result<Option<&'a [u8]>, Clause> {
        let name = format!("region.{region}");
        self.file.tensor(&name)?;
        Ok(self.bytes(&name, |bytes| Some(vec![bytes])))
    }

    /// The points of a mask as offsets from the states, row-major: tensor `counterexample.MASK`, states x inputs. `None` if
    /// its type or shape is another.
    ///
    /// # Errors
    /// [`Clause::NoTensor`], [`Clause::NotFinite`].
    pub(crate) fn points(
        &self,
        mask: usize,
        states: usize,
        inputs: usize,
    ) -> Result<Option<Vec<Dyadic>>, Clause> {
        let table = self.file.tensor(&format!("{}counterexample.{mask}", self.prefix))?;
        let fits = table.dtype == Dtype::F64 && table.shape == [states, inputs];
        if fits { table.dyadics().map(Some) } else { Ok(None) }
    }

    /// A layer's vector for `norm.abs-spectral`: tensor `abs-spectral.MASK.LAYER`, floored to the rule's grid.
    ///
    /// # Errors
    /// [`Clause`], of tensors.
    pub(crate) fn vector(&self, mask: usize, layer: usize) -> Result<Vec<BigInt>, Clause> {
        let numbers = self.file.tensor(&format!("abs-spectral.{mask}.{layer}"))?.vector()?;
        Ok(numbers.into_iter().map(|n| n.to_rational().floor_scaled(VECTOR_BITS)).collect())
    }

    /// A layer's factor and scale for `norm.spectral`: tensors `spectral.MASK.LAYER.factor` and `.rho`, floored to the
    /// rule's grid: any rounding of a witness is sound. `None` if a number is too large for it, or the scale is no number.
    ///
    /// # Errors
    /// [`Clause`], of tensors.
    pub(crate) fn factor(&self, mask: usize, layer: usize) -> Result<Option<SpectralWitness>, Clause> {
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
pub(crate) struct StateSlopes {
    layers: Vec<Vec<[RowWitness; 2]>>,
}

impl StateSlopes {
    /// Reads one state's bytes: layers 1 and up, each with its neurons, each with a row from below and one from above.
    /// `None` if their number is wrong.
    pub(crate) fn parse(network: &GridNetwork, bytes: &[u8]) -> Option<Self> {
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
    pub(crate) fn witness(&self) -> Witness<'_> {
        Witness { rows: &self.layers, ..Witness::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types)]
    use super::super::safetensors::tests::tensors;
    use super::*;
    use crate::kernel::grid::GridScale;
    use crate::kernel::relax::SlopeChoice;
    use crate::model::{Activation, Layer, Matrix, Network};
    use crate::number::Rational;

    /// The grid of one ReLU layer of two neurons and an output: a state's slopes are two bytes for each neuron of the first,
    /// below and above the output.
    fn grid() -> GridNetwork {
        let layer = |rows, columns, activation| Layer {
            fixed: false,
            weight: Matrix { rows, columns, values: vec![Dyadic::new(1, 0); rows * columns] },
            bias: vec![Dyadic::ZERO; rows],
            activation,
        };
        let layers = vec![layer(2, 1, Activation::Relu), layer(1, 2, Activation::Identity)];
        let network = Network { layers };
        let scale = GridScale::new(&network, &Rational::one()).unwrap();
        GridNetwork::new(&network, None, &scale).unwrap()
    }

    /// Nothing of another form counts as a witness, or as none.
    #[test]
    fn witness_files_are_refused_by_clause() {
        assert_eq!(WitnessFile::parse(b"PK").unwrap_err(), Clause::NoHeaderLength);
        let slopes = |dtype: &str, shape: &[usize], bytes: usize| {
            let file = tensors(&[("lp.0", dtype, shape, vec![0xFF; bytes])]);
            WitnessFile::parse(&file).unwrap().slopes(("lp", 0), &grid(), (1, 2))
        };
        let read = slopes("U8", &[2, 8], 16).unwrap();
        // The largest number stands for 1, which is 2^24 on the slope grid.
        let one = SlopeChoice { lower: Some(1 << 24), upper: None };
        assert_eq!(read.witness().row(1, 0, true).unwrap().slopes, [vec![one; 2]]);
        let shapes: [(&str, &[usize], usize); 5] = [
            ("I8", &[2, 8], 16),
            ("U8", &[16], 16),
            ("U8", &[1, 16], 16),
            ("U8", &[2, 7], 14),
            ("U8", &[2, 9], 18),
        ];
        for (dtype, shape, bytes) in shapes {
            assert_eq!(slopes(dtype, shape, bytes), None, "{dtype} {shape:?}");
        }
        let file = tensors(&[("lp.0", "U8", &[2, 8], vec![0; 16])]);
        let file = WitnessFile::parse(&file).unwrap();
        assert_eq!(file.slopes(("lp", 0), &grid(), (2, 2)), None);
        assert_eq!(file.slopes(("lp", 1), &grid(), (0, 2)), None);
        assert!(file.trees(0, (0, 2)).is_none());
        assert_eq!(file.region(3), Err(Clause::NoTensor { name: "region.3".into() }));
        assert_eq!(file.points(0, 2, 1), Err(Clause::NoTensor { name: "counterexample.0".into() }));
        let doubles = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let file = |rho: &[usize], values: &[f64], factor: f64| {
            tensors(&[
                ("spectral.0.0.factor", "F64", &[1], doubles(&[factor])),
                ("spectral.0.0.rho", "F64", rho, doubles(values)),
                ("region.0", "U8", &[1, 1], vec![0]),
            ])
        };
        let good = file(&[1], &[1.0], 0.5);
        let factor = WitnessFile::parse(&good).unwrap().factor(0, 0).unwrap().unwrap();
        assert_eq!((factor.factor, factor.fraction_bits), (vec![1 << 43], 44));
        assert_eq!(WitnessFile::parse(&good).unwrap().region(0), Ok(None));
        for bad in [file(&[2], &[1.0; 2], 0.5), file(&[1], &[1.0], 1e6)] {
            assert_eq!(WitnessFile::parse(&bad).unwrap().factor(0, 0), Ok(None));
        }
    }
}
