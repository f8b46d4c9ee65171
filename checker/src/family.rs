//! The bound families: the index of names, and their values at a state or for all states.
//! Trusted. `spec/rules/local.md`, `spec/rules/global.md`.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::kernel::band::{BandNetwork, band_bounds};
use crate::kernel::bounds::envelope;
use crate::kernel::branch::bound_tree;
use crate::kernel::crown::{CrownLayers, NoWitness, Witness, bound_outputs, crown_layers};
use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::float32::{check_binary32, rounding_errors};
use crate::kernel::grid::{GridActivation, GridNetwork, GridScale};
use crate::kernel::hull::{deviation, hull_slopes};
use crate::kernel::ibp::{GridBox, LayerBounds, propagate};
use crate::kernel::input::{InputSet, input_magnitude, input_set};
use crate::kernel::paired::{PairedNetwork, paired_change};
use crate::model::{Head, Mask, PerturbationSet, Policy, States};
use crate::number::Dyadic;
use crate::reader::safetensors::Safetensors;
use crate::reader::slopes::{StateSlopes, state_bytes};
use crate::reader::tensor::Dtype;
use crate::reader::trees::{Trees, state_block};
use crate::tables::tanh_table;

pub use crate::kernel::bounds::StateBounds;

/// A bound family. `spec/rules/README.md` lists what each assumes and whether it is monotone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Coordinate-wise sensitivity, all states.
    Sensitivity,
    /// Product of row-sum norms, all states.
    NormLinf,
    /// Product of column-sum norms, all states.
    NormL1,
    /// Product of Frobenius norms, all states.
    NormFrobenius,
    /// Product of spectral norms of the absolute weights, all states; witness: one vector a layer.
    NormAbsSpectral,
    /// Product of spectral norms, all states; witness: one factor a layer. Not monotone.
    Spectral,
    /// Interval bound propagation. Not monotone.
    Ibp,
    /// Backward linear bounds with derived slopes. Not monotone.
    Crown,
    /// Backward linear bounds with slopes found by gradient steps; witness: slopes a state. Not monotone.
    CrownOptimised,
    /// Backward linear bounds with slopes from the dual of the triangle relaxation; witness: slopes a state. Not monotone.
    Lp,
    /// Backward linear bounds over the regions of a split tree; witness: trees a state. Not monotone.
    Branch,
    /// Slopes over the hull of the listed masks; monotone within the list.
    ChainHull,
    /// The largest interval bound over the mask and all later ones of the list.
    EnvelopeIbp,
    /// The largest backward bound over the mask and all later ones of the list.
    EnvelopeCrown,
    /// The pruned policy against the dense one, on the same input. Not monotone.
    PrunedDeviation,
    /// `ibp` for binary32 inference. Not monotone.
    Binary32Ibp,
    /// `crown` for binary32 inference. Not monotone.
    Binary32Crown,
    /// Every mask from the listed one down to the band's end; monotone by theorem.
    Band(BandEnd),
    /// The same by backward bounds over the band; the least along the list.
    BandCrown(BandEnd),
}

/// The tightest mask of a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BandEnd {
    /// A mask of the list, from 0; the band has no bound under later masks.
    Mask(usize),
    /// The mask that keeps nothing: the band holds every submask.
    Zero,
}

impl Family {
    /// Every family that has no parameter, with its name in certificates, in the order certificates list them.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::Sensitivity, "sensitivity"),
        (Self::NormLinf, "norm-product/linf"),
        (Self::NormL1, "norm-product/l1"),
        (Self::NormFrobenius, "norm-product/frobenius"),
        (Self::NormAbsSpectral, "norm-product/abs-spectral"),
        (Self::Spectral, "spectral"),
        (Self::Ibp, "ibp"),
        (Self::Crown, "crown"),
        (Self::CrownOptimised, "crown-optimised"),
        (Self::Lp, "lp"),
        (Self::Branch, "branch"),
        (Self::ChainHull, "chain-hull"),
        (Self::EnvelopeIbp, "envelope/ibp"),
        (Self::EnvelopeCrown, "envelope/crown"),
        (Self::PrunedDeviation, "pruned-deviation"),
        (Self::Binary32Ibp, "float32/ibp"),
        (Self::Binary32Crown, "float32/crown"),
    ];

    /// The family with this name; `band/K` and `band-crown/K` end at mask K, `band/zero` at the mask that keeps nothing.
    pub fn parse(name: &str) -> Option<Self> {
        let end = |text: &str| match text {
            "zero" => Some(BandEnd::Zero),
            _ => text.parse().ok().filter(|k: &usize| k.to_string() == text).map(BandEnd::Mask),
        };
        match name.split_once('/') {
            Some(("band", text)) => end(text).map(Self::Band),
            Some(("band-crown", text)) => end(text).map(Self::BandCrown),
            _ => Self::ALL.iter().find(|(_, n)| *n == name).map(|(family, _)| *family),
        }
    }

    /// The family's name.
    pub fn name(self) -> String {
        let (word, end) = match self {
            Self::Band(end) => ("band", end),
            Self::BandCrown(end) => ("band-crown", end),
            _ => {
                let known = Self::ALL.iter().find(|(family, _)| *family == self);
                return known.map_or_else(String::new, |(_, name)| (*name).to_owned());
            }
        };
        match end {
            BandEnd::Mask(mask) => format!("{word}/{mask}"),
            BandEnd::Zero => format!("{word}/zero"),
        }
    }

    /// Where a band family's bands end.
    pub fn band_end(self) -> Option<BandEnd> {
        match self {
            Self::Band(end) | Self::BandCrown(end) => Some(end),
            _ => None,
        }
    }

    /// How many of a list's masks it has bounds for: the first ones. 0 if it ends at a mask that the list does not have.
    pub fn covers(self, masks: usize) -> usize {
        match self.band_end() {
            Some(BandEnd::Mask(last)) if last < masks => last.saturating_add(1),
            Some(BandEnd::Mask(_)) => 0,
            _ => masks,
        }
    }

    /// Whether the bound holds at listed states only.
    pub fn is_local(self) -> bool {
        // The variants are declared global families first.
        self >= Self::Ibp
    }

    /// Whether a smaller mask can never have a larger bound, by theorem.
    pub fn is_monotone(self) -> bool {
        !matches!(
            self,
            Self::Ibp
                | Self::Crown
                | Self::CrownOptimised
                | Self::Lp
                | Self::Branch
                | Self::Spectral
                | Self::PrunedDeviation
                | Self::Binary32Ibp
                | Self::Binary32Crown
        )
    }

    /// Whether it covers binary32 inference, beside the network over the reals.
    pub fn is_float32(self) -> bool {
        matches!(self, Self::Binary32Ibp | Self::Binary32Crown)
    }

    /// Whether the bound compares a policy's clean and perturbed action, as regret under an adversary needs; the
    /// deviation from the dense policy compares two policies.
    pub fn bounds_adversary(self) -> bool {
        self != Self::PrunedDeviation
    }

    /// Whether certificates carry a witness for it.
    pub fn needs_witness(self) -> bool {
        matches!(self, Self::NormAbsSpectral | Self::Spectral) || self.is_searched()
    }

    /// Whether its witness takes a search at every state.
    pub fn is_searched(self) -> bool {
        self == Self::Branch || self.has_slopes()
    }

    /// Whether its witness is a table of slopes.
    pub fn has_slopes(self) -> bool {
        matches!(self, Self::CrownOptimised | Self::Lp)
    }
}

/// A policy, its masks and an adversary, put on the integer grid once; states are evaluated one at a time.
pub struct LocalProblem<'a> {
    policy: &'a Policy,
    set: &'a PerturbationSet,
    states: &'a States,
    masks: &'a [Mask],
    scale: GridScale,
    masked: Vec<GridNetwork>,
    bands: BTreeMap<BandEnd, Vec<BandNetwork>>,
    paired: Option<(GridNetwork, Vec<PairedNetwork>)>,
    table: &'static TanhTable,
    witness: Option<Safetensors<'a>>,
    /// Fraction bits of every bound it returns.
    pub value_bits: u32,
}

/// One state's input set with each mask's output enclosure and bounds there, shared by the families.
struct AtState {
    input: InputSet,
    centers: Vec<GridBox>,
    balls: Vec<LayerBounds>,
    /// Backward bounds with derived slopes, once a family asks for them.
    layers: OnceCell<Vec<CrownLayers>>,
}

impl<'a> LocalProblem<'a> {
    /// Puts every mask on the grids that the dense network and the states fix.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn new(
        policy: &'a Policy,
        masks: &'a [Mask],
        states: &'a States,
        set: &'a PerturbationSet,
    ) -> Result<Self, Fault> {
        if states.values.columns != policy.network.inputs() {
            return Err(Fault::ShapeMismatch { layer: 0 });
        }
        let magnitude = input_magnitude(policy, states, set)?;
        let scale = GridScale::new(&policy.network, &magnitude)?;
        let dense = GridNetwork::new(&policy.network, None, &scale)?;
        let masked = masks.iter().map(|mask| dense.pruned(mask)).collect::<Result<Vec<_>, _>>()?;
        let (table, value_bits) = (tanh_table(), scale.value_bits);
        let (bands, paired) = (BTreeMap::new(), None);
        Ok(Self {
            policy,
            set,
            states,
            masks,
            scale,
            masked,
            bands,
            paired,
            table,
            witness: None,
            value_bits,
        })
    }

    /// Prepares what the families of bands and pairs need beside the masked networks.
    ///
    /// # Errors
    /// [`Fault::NoBand`] if a band ends at a mask that the list does not have; [`Fault::BandNotNested`];
    /// [`Fault::NotBinary32`].
    pub fn prepare(mut self, families: &[Family]) -> Result<Self, Fault> {
        let network = &self.policy.network;
        for end in families.iter().filter_map(|f| f.band_end()) {
            let tightest = match end {
                BandEnd::Zero => None,
                BandEnd::Mask(mask) => Some(self.masks.get(mask).ok_or(Fault::NoBand)?),
            };
            let masks = self.masks.iter().take(Family::Band(end).covers(self.masks.len()));
            let bands = masks.map(|mask| BandNetwork::new(network, mask, tightest, &self.scale));
            self.bands.insert(end, bands.collect::<Result<_, _>>()?);
        }
        if families.iter().any(|f| f.is_float32()) {
            check_binary32(network)?;
        }
        if families.contains(&Family::PrunedDeviation) {
            let pairs = self.masks.iter().map(|mask| PairedNetwork::new(network, mask, &self.scale));
            let dense = GridNetwork::new(network, None, &self.scale)?;
            self.paired = Some((dense, pairs.collect::<Result<_, _>>()?));
        }
        Ok(self)
    }

    /// With the witness file, for the families that read slopes from it; a malformed file counts as none.
    pub fn with_witness(mut self, bytes: Option<&'a [u8]>) -> Self {
        self.witness = bytes.and_then(|b| Safetensors::parse(b).ok());
        self
    }

    /// The input set at state `index`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn input_at(&self, index: usize) -> Result<InputSet, Fault> {
        input_set(self.policy, self.state(index)?, self.states.units, self.set, self.value_bits)
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        self.states.values.rows
    }

    /// Whether same-action margins mean something: several outputs, and not the mean of a Gaussian.
    pub fn has_margins(&self) -> bool {
        self.policy.network.outputs() > 1 && !matches!(self.policy.head, Head::Gaussian { .. })
    }

    /// The network pruned by mask `mask`, on the grid.
    pub(crate) fn masked(&self, mask: usize) -> Option<&GridNetwork> {
        self.masked.get(mask)
    }

    pub(crate) fn state(&self, index: usize) -> Result<&[Dyadic], Fault> {
        let columns = self.states.values.columns;
        let start = index.checked_mul(columns).ok_or(Fault::ShapeMismatch { layer: 0 })?;
        let end = start.checked_add(columns).ok_or(Fault::ShapeMismatch { layer: 0 })?;
        self.states.values.values.get(start..end).ok_or(Fault::ShapeMismatch { layer: 0 })
    }

    /// The families' bounds at state `index`: one list per family, in it one entry per mask that the family covers.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn evaluate(&self, index: usize, families: &[Family]) -> Result<Vec<Vec<StateBounds>>, Fault> {
        let input = self.input_at(index)?;
        let mut at = AtState { input, centers: Vec::new(), balls: Vec::new(), layers: OnceCell::new() };
        let plain = families.iter().any(|f| f.band_end().is_none());
        for network in self.masked.iter().filter(|_| plain) {
            at.centers.push(propagate(network, self.table, &at.input.center)?.post.pop().unwrap_or_default());
            at.balls.push(propagate(network, self.table, &at.input.region)?);
        }
        let mut crown = None;
        families
            .iter()
            .map(|family| match family {
                Family::ChainHull => self.chain_hull(&at),
                Family::Crown | Family::EnvelopeCrown | Family::Binary32Crown => {
                    let known = match crown.take() {
                        Some(known) => known,
                        None => self.crown(&at)?,
                    };
                    crown = Some(known.clone());
                    match family {
                        Family::EnvelopeCrown => envelope(known),
                        Family::Binary32Crown => self.float32(&at, known),
                        _ => Ok(known),
                    }
                }
                Family::Branch => self.branch(&at, index),
                Family::CrownOptimised | Family::Lp => self.with_slopes(&at, *family, index),
                Family::EnvelopeIbp => envelope(self.interval(&at)?),
                Family::Binary32Ibp => self.float32(&at, self.interval(&at)?),
                Family::PrunedDeviation => self.pruned_deviation(&at),
                Family::Band(end) => self.band(&at, *end, false),
                Family::BandCrown(end) => self.band(&at, *end, true),
                _ => self.interval(&at),
            })
            .collect()
    }

    /// Enclosures of the unperturbed outputs at state `index`, one per mask.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn clean_outputs(&self, index: usize) -> Result<Vec<GridBox>, Fault> {
        let input = self.input_at(index)?;
        let outputs = self.masked.iter().map(|n| propagate(n, self.table, &input.center));
        outputs.map(|bounds| Ok(bounds?.post.pop().unwrap_or_default())).collect()
    }

    fn interval(&self, at: &AtState) -> Result<Vec<StateBounds>, Fault> {
        let pairs = at.centers.iter().zip(&at.balls);
        pairs
            .map(|(center, ball)| StateBounds::from_box(center, ball.post.last().unwrap_or(center)))
            .collect()
    }

    fn chain_hull(&self, at: &AtState) -> Result<Vec<StateBounds>, Fault> {
        let Some(first) = self.masked.first() else { return Ok(Vec::new()) };
        let slopes = hull_slopes(first, self.table, &at.balls)?;
        let networks = self.masked.iter().zip(&at.centers);
        networks
            .map(|(network, center)| {
                StateBounds::from_deviation(center, deviation(network, &slopes, &at.input.radii)?, None)
            })
            .collect()
    }

    /// Bands that end at one mask are nested: what holds for a wider one holds for the next, so the least is taken.
    fn band(&self, at: &AtState, end: BandEnd, crown: bool) -> Result<Vec<StateBounds>, Fault> {
        let mut list: Vec<StateBounds> = Vec::new();
        for band in self.bands.get(&end).ok_or(Fault::NoBand)? {
            let bounds = band_bounds(band, self.table, &at.input, crown)?;
            list.push(StateBounds::from_band(bounds, list.last())?);
        }
        Ok(list)
    }

    /// Rule `float32.change`: what binary32 inference makes of bounds over the reals, each mask with its own errors.
    fn float32(&self, at: &AtState, bounds: Vec<StateBounds>) -> Result<Vec<StateBounds>, Fault> {
        let masks = bounds.into_iter().zip(self.masked.iter().zip(&at.balls));
        let widened = masks.map(|(state, (network, ball))| {
            state.widened(&rounding_errors(network, &at.input.region, ball)?)
        });
        widened.collect()
    }

    fn pruned_deviation(&self, at: &AtState) -> Result<Vec<StateBounds>, Fault> {
        let (dense, pairs) = self.paired.as_ref().ok_or(Fault::NoBand)?;
        let reference = propagate(dense, self.table, &at.input.region)?;
        let changes = pairs.iter().zip(&at.balls).map(|(pair, ball)| {
            let change = paired_change(pair, self.table, &at.input.region, &reference, ball)?;
            // Not a perturbation: there is no clean action to keep.
            StateBounds::from_change(&change)
        });
        changes.collect()
    }

    /// Every mask's layers by backward bounds with derived slopes, computed once a state.
    fn layers<'s>(&self, at: &'s AtState) -> Result<&'s [CrownLayers], Fault> {
        if let Some(known) = at.layers.get() {
            return Ok(known);
        }
        let layers = self.masked.iter().map(|network| {
            let layers = crown_layers(network, self.table, &at.input, &NoWitness)?;
            layers.ok_or(Fault::EmptyInterval { layer: 0, neuron: 0 })
        });
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(at.layers.get_or_init(|| layers))
    }

    fn crown(&self, at: &AtState) -> Result<Vec<StateBounds>, Fault> {
        let masks = self.masked.iter().zip(&at.centers).zip(self.layers(at)?);
        masks
            .map(|((network, center), layers)| self.crown_bounds(network, at, center, layers, &NoWitness))
            .collect()
    }

    /// Backward bounds with the slopes that the witness file holds for this family, mask and state.
    fn with_slopes(&self, at: &AtState, family: Family, state: usize) -> Result<Vec<StateBounds>, Fault> {
        let mut bounds = Vec::with_capacity(self.masked.len());
        for (mask, (network, center)) in self.masked.iter().zip(&at.centers).enumerate() {
            let slopes =
                self.state_slopes(network, family, mask, state).ok_or(Fault::SlopesMissing { mask })?;
            let layers = crown_layers(network, self.table, &at.input, &slopes)?;
            let layers = layers.ok_or(Fault::EmptyInterval { layer: 0, neuron: 0 })?;
            bounds.push(self.crown_bounds(network, at, center, &layers, &slopes)?);
        }
        Ok(bounds)
    }

    /// `crown` met with the trees that the witness file holds for this mask and state, in the order of the targets.
    fn branch(&self, at: &AtState, state: usize) -> Result<Vec<StateBounds>, Fault> {
        let mut list = Vec::with_capacity(self.masked.len());
        let masks = self.masked.iter().zip(&at.centers).zip(self.layers(at)?);
        for (mask, ((network, center), layers)) in masks.enumerate() {
            let bytes = self.state_trees(mask, state).ok_or(Fault::TreesMissing { mask })?;
            let mut trees = Trees::new(bytes);
            list.push(StateBounds::from_functionals(center, self.has_margins(), &mut |weights, _| {
                let own = bound_outputs(network, self.table, layers, &at.input, weights, None)?;
                let tree = trees.begin();
                let bound = bound_tree(network, self.table, &at.input, weights, &mut |_| trees.node(network));
                Ok(own.min(bound.map_err(|e| e.at(Place::Tree(tree)))?))
            })?);
            trees.finish()?;
        }
        Ok(list)
    }

    fn state_trees(&self, mask: usize, state: usize) -> Option<&'a [u8]> {
        let table = self.witness.as_ref()?.tensor(&format!("{}.{mask}", Family::Branch.name())).ok()?;
        let fits = table.dtype == Dtype::U8 && table.shape == [table.bytes.len()];
        if fits { state_block(table.bytes, self.states(), state) } else { None }
    }

    fn state_slopes(
        &self,
        network: &GridNetwork,
        family: Family,
        mask: usize,
        state: usize,
    ) -> Option<StateSlopes> {
        let table = self.witness.as_ref()?.tensor(&format!("{}.{mask}", family.name())).ok()?;
        let size = state_bytes(network)?;
        let expected = [self.states.values.rows, size];
        if table.dtype != Dtype::U8 || table.shape != expected {
            return None;
        }
        let start = state.checked_mul(size)?;
        StateSlopes::parse(network, table.bytes.get(start..start.checked_add(size)?)?)
    }

    fn crown_bounds(
        &self,
        network: &GridNetwork,
        at: &AtState,
        center: &GridBox,
        layers: &CrownLayers,
        witness: &dyn Witness,
    ) -> Result<StateBounds, Fault> {
        // Without a final squash the last layer's rows are the outputs, and its slopes are theirs.
        let last = network.layers.len().saturating_sub(1);
        let squashed = network.layers.last().is_some_and(|l| l.activation != GridActivation::Identity);
        StateBounds::from_functionals(center, self.has_margins(), &mut |weights, row| {
            let row = row.filter(|_| !squashed).and_then(|(output, upper)| witness.row(last, output, upper));
            bound_outputs(network, self.table, layers, &at.input, weights, row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Layer, Matrix, Network, Perturbation, Units};
    use crate::number::Rational;

    /// Outputs `2x` and `x` at 1 with radius 1: intervals let them drift apart by 3 and lead by -2; their difference `x`
    /// moves by 1 and is at least 0.
    #[test]
    fn differences_sharpen_oscillation_and_margin() {
        let weight = Matrix { rows: 2, columns: 1, values: vec![Dyadic::new(1, 1), Dyadic::new(1, 0)] };
        let layer =
            Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; 2], activation: Activation::Identity };
        let network = Network { layers: vec![layer] };
        let policy = Policy { network, head: Head::Categorical, normaliser: None, source: None };
        let states = States {
            values: Matrix { rows: 1, columns: 1, values: vec![Dyadic::new(1, 0)] },
            units: Units::Raw,
        };
        let set =
            PerturbationSet { shape: Perturbation::Linf { radius: Rational::one() }, units: Units::Raw };
        let masks = [Mask { layers: vec![vec![true; 2]] }];
        let problem = LocalProblem::new(&policy, &masks, &states, &set).unwrap();
        let one = 1i64 << problem.value_bits;
        let found = problem.evaluate(0, &[Family::Ibp, Family::Crown]).unwrap();
        let intervals =
            StateBounds { deviation: vec![2 * one, one], oscillation: 3 * one, margin: Some(-2 * one) };
        assert_eq!(found[0], vec![intervals]);
        let crown = &found[1][0];
        assert!((one..one + 16).contains(&crown.oscillation), "{crown:?}");
        assert!((-16..=0).contains(&crown.margin.unwrap()), "{crown:?}");
    }

    #[test]
    fn states_of_another_width_are_refused() {
        let weight = Matrix { rows: 1, columns: 1, values: vec![Dyadic::ZERO] };
        let layer = Layer {
            fixed: false,
            weight: weight.clone(),
            bias: vec![Dyadic::ZERO],
            activation: Activation::Relu,
        };
        let network = Network { layers: vec![layer] };
        let policy = Policy { network, head: Head::Deterministic, normaliser: None, source: None };
        let set =
            PerturbationSet { shape: Perturbation::Linf { radius: Rational::one() }, units: Units::Raw };
        let states = |columns| States {
            values: Matrix { rows: 1, columns, values: vec![Dyadic::ZERO; columns] },
            units: Units::Raw,
        };
        let masks = [Mask { layers: vec![vec![true]] }];
        let fits = states(1);
        let problem = LocalProblem::new(&policy, &masks, &fits, &set).unwrap();
        assert!(problem.evaluate(0, &[Family::Crown]).is_ok());
        let shape = || Fault::ShapeMismatch { layer: 0 };
        assert_eq!(problem.evaluate(1, &[Family::Crown]), Err(shape()));
        assert_eq!(LocalProblem::new(&policy, &masks, &states(2), &set).map(|p| p.value_bits), Err(shape()));
    }
}
