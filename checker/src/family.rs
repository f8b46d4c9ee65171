//! The bound families: the index of names, and their values at a state or for all states.
//! Trusted. `spec/rules/local.md`, `spec/rules/global.md`.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::kernel::band::{BandNetwork, band_bounds};
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
use crate::reader::witness::WitnessFile;
use crate::tables::tanh_table;

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

/// What a local family says at one state under one mask, on the value grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBounds {
    /// Upper bound on each output's absolute change.
    pub deviation: Vec<i64>,
    /// Upper bound on `max_i change_i - min_i change_i`.
    pub oscillation: i64,
    /// Lower bound on the least lead of the preferred output over another within the ball; `None` with one output.
    pub margin: Option<i64>,
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
    witness: Option<WitnessFile<'a>>,
    /// Fraction bits of every bound it returns.
    pub value_bits: u32,
}

/// An upper bound of `sum weights_i * output_i`; an output's number and side if it is one output's.
type BoundOf<'a> = dyn FnMut(&[i64], Option<(usize, bool)>) -> Result<i64, Fault> + 'a;

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
        self.witness = bytes.and_then(|b| WitnessFile::parse(b).ok());
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
                        Family::EnvelopeCrown => Ok(envelope(known)),
                        Family::Binary32Crown => self.float32(&at, known),
                        _ => Ok(known),
                    }
                }
                Family::Branch => self.branch(&at, index),
                Family::CrownOptimised | Family::Lp => self.with_slopes(&at, *family, index),
                Family::EnvelopeIbp => Ok(envelope(self.interval(&at)?)),
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
        pairs.map(|(center, ball)| from_box(center, ball.post.last().unwrap_or(center))).collect()
    }

    fn chain_hull(&self, at: &AtState) -> Result<Vec<StateBounds>, Fault> {
        let Some(first) = self.masked.first() else { return Ok(Vec::new()) };
        let slopes = hull_slopes(first, self.table, &at.balls)?;
        let networks = self.masked.iter().zip(&at.centers);
        networks
            .map(|(network, center)| {
                from_deviation(center, deviation(network, &slopes, &at.input.radii)?, None)
            })
            .collect()
    }

    /// Bands that end at one mask are nested: what holds for a wider one holds for the next, so the least is taken.
    fn band(&self, at: &AtState, end: BandEnd, crown: bool) -> Result<Vec<StateBounds>, Fault> {
        let mut list: Vec<StateBounds> = Vec::new();
        for band in self.bands.get(&end).ok_or(Fault::NoBand)? {
            let mut bounds = band_bounds(band, self.table, &at.input, crown)?;
            if let Some(wider) = list.last() {
                let pairs = bounds.deviation.iter_mut().zip(&wider.deviation);
                pairs.for_each(|(narrow, &wide)| *narrow = (*narrow).min(wide));
                bounds.oscillation = bounds.oscillation.min(wider.oscillation);
            }
            list.push(from_deviation(&bounds.center, bounds.deviation, Some(bounds.oscillation))?);
        }
        Ok(list)
    }

    /// Rule `float32.change`: what binary32 inference makes of bounds over the reals, each mask with its own errors.
    fn float32(&self, at: &AtState, mut bounds: Vec<StateBounds>) -> Result<Vec<StateBounds>, Fault> {
        for (state, (network, ball)) in bounds.iter_mut().zip(self.masked.iter().zip(&at.balls)) {
            let errors = rounding_errors(network, &at.input.region, ball)?;
            widen(state, &errors).ok_or(Fault::Overflow { layer: network.layers.len() })?;
        }
        Ok(bounds)
    }

    fn pruned_deviation(&self, at: &AtState) -> Result<Vec<StateBounds>, Fault> {
        let (dense, pairs) = self.paired.as_ref().ok_or(Fault::NoBand)?;
        let reference = propagate(dense, self.table, &at.input.region)?;
        let zero = GridBox { lower: vec![0; dense_outputs(dense)], upper: vec![0; dense_outputs(dense)] };
        let changes = pairs.iter().zip(&at.balls).map(|(pair, ball)| {
            let change = paired_change(pair, self.table, &at.input.region, &reference, ball)?;
            // Not a perturbation: there is no clean action to keep.
            Ok(StateBounds { margin: None, ..from_box(&zero, &change)? })
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
            let file = self.witness.as_ref().ok_or(Fault::SlopesMissing { mask })?;
            let slopes = file.slopes((&family.name(), mask), network, (state, self.states()));
            let slopes = slopes.map_err(|_| Fault::SlopesMissing { mask })?;
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
            let file = self.witness.as_ref().ok_or(Fault::TreesMissing { mask })?;
            let trees = file.trees(mask, (state, self.states()));
            let mut trees = trees.map_err(|_| Fault::TreesMissing { mask })?;
            list.push(self.bounds_by(center, &mut |weights, _| {
                let own = bound_outputs(network, self.table, layers, &at.input, weights, None)?;
                let tree = trees.begin();
                let bound = bound_tree(network, self.table, &at.input, weights, &mut |_| trees.node(network));
                Ok(own.min(bound.map_err(|e| e.at(Place::Tree(tree)))?))
            })?);
            trees.finish()?;
        }
        Ok(list)
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
        self.bounds_by(center, &mut |weights, row| {
            let row = row.filter(|_| !squashed).and_then(|(output, upper)| witness.row(last, output, upper));
            bound_outputs(network, self.table, layers, &at.input, weights, row)
        })
    }

    /// State bounds from upper bounds on functionals of the outputs: minus and plus each output (given with its number and
    /// side), then, where margins mean something, every difference of two.
    fn bounds_by(&self, center: &GridBox, bound: &mut BoundOf<'_>) -> Result<StateBounds, Fault> {
        let outputs = center.lower.len();
        let mut region = GridBox::default();
        for output in 0..outputs {
            let negative = bound(&unit(outputs, output, -1, None), Some((output, false)))?;
            region.lower.push(negative.checked_neg().ok_or(Fault::Overflow { layer: 0 })?);
            region.upper.push(bound(&unit(outputs, output, 1, None), Some((output, true)))?);
        }
        let mut state = from_box(center, &region)?;
        if self.has_margins() {
            self.sharpen(&mut state, center, bound)?;
        }
        Ok(state)
    }

    /// Oscillation and margin from bounds on differences of outputs, which correlate.
    fn sharpen(
        &self,
        state: &mut StateBounds,
        center: &GridBox,
        bound: &mut BoundOf<'_>,
    ) -> Result<(), Fault> {
        let overflow = || Fault::Overflow { layer: 0 };
        let outputs = center.lower.len();
        let mut oscillation = 0;
        let mut gains = BTreeMap::new();
        for (first, (first_lower, _)) in center.intervals().enumerate() {
            for (second, (_, second_upper)) in center.intervals().enumerate() {
                if first == second {
                    continue;
                }
                let upper = bound(&unit(outputs, first, 1, Some(second)), None)?;
                let clean = first_lower.checked_sub(second_upper).ok_or_else(overflow)?;
                oscillation = oscillation.max(upper.checked_sub(clean).ok_or_else(overflow)?);
                gains.insert((first, second), upper);
            }
        }
        state.oscillation = state.oscillation.min(oscillation);
        let kept = margin(center, state.oscillation, |leader, other| {
            gains.get(&(other, leader)).and_then(|gain: &i64| gain.checked_neg()).ok_or_else(overflow)
        })?;
        state.margin = state.margin.max(kept);
        Ok(())
    }
}

/// Both ends of a change are off by at most their output's error, a difference of two outputs by two of them. A lead that
/// may be lost in binary32 no longer tells which output is preferred there: what is left is that some output is.
fn widen(state: &mut StateBounds, errors: &[i64]) -> Option<()> {
    let largest = errors.iter().copied().max()?;
    for (deviation, error) in state.deviation.iter_mut().zip(errors) {
        *deviation = deviation.checked_add(error.checked_mul(2)?)?;
    }
    state.oscillation = state.oscillation.checked_add(largest.checked_mul(4)?)?;
    if let Some(margin) = &mut state.margin {
        let lead = margin.checked_sub(largest.checked_mul(2)?)?;
        *margin = if lead > 0 { lead } else { state.oscillation.checked_neg()? };
    }
    Some(())
}

fn dense_outputs(network: &GridNetwork) -> usize {
    network.layers.last().map_or(0, |layer| layer.outputs)
}

/// Rule `mono.envelope`: per mask the worst of its own and all later masks' bounds.
fn envelope(mut bounds: Vec<StateBounds>) -> Vec<StateBounds> {
    let mut worst: Option<StateBounds> = None;
    for state in bounds.iter_mut().rev() {
        if let Some(later) = worst {
            let pairs = state.deviation.iter_mut().zip(&later.deviation);
            pairs.for_each(|(own, &other)| *own = (*own).max(other));
            state.oscillation = state.oscillation.max(later.oscillation);
            state.margin = state.margin.min(later.margin);
        }
        worst = Some(state.clone());
    }
    bounds
}

/// `sign * output` or `sign * (output - other)` as integer weights.
fn unit(outputs: usize, output: usize, sign: i64, other: Option<usize>) -> Vec<i64> {
    let weight = |i: usize| match other {
        Some(second) if i == second => sign.saturating_neg(),
        _ if i == output => sign,
        _ => 0,
    };
    (0..outputs).map(weight).collect()
}

/// Rule `local.margin`: a lower bound, of either sign, on the lead of every output that is preferred at an unperturbed input.
///
/// `center` encloses the unperturbed outputs (of every mask and state spoken of), `oscillation` bounds the difference of two
/// outputs' changes, and `kept(p, j)` is below `y_p - y_j` at every perturbed and unperturbed input. `None` with one output.
///
/// # Errors
/// [`Fault::Overflow`].
pub(crate) fn margin(
    center: &GridBox,
    oscillation: i64,
    mut kept: impl FnMut(usize, usize) -> Result<i64, Fault>,
) -> Result<Option<i64>, Fault> {
    let overflow = || Fault::Overflow { layer: 0 };
    let Some((leader, own)) = largest_lower_end(center) else { return Ok(None) };
    let (mut clean, mut lead) = (None, None);
    for (other, &upper) in center.upper.iter().enumerate().filter(|(other, _)| *other != leader) {
        clean = least(clean, own.checked_sub(upper).ok_or_else(overflow)?);
        lead = least(lead, kept(leader, other)?);
    }
    let (Some(clean), Some(lead)) = (clean, lead) else { return Ok(None) };
    // Whichever output is preferred leads by at least 0 unperturbed, and loses at most the oscillation.
    let any = clean.max(0).checked_sub(oscillation).ok_or_else(overflow)?;
    // Above 0, either of the two says that the leader is the one preferred output throughout.
    Ok(Some(if clean > 0 || lead > 0 { any.max(lead) } else { any }))
}

fn least(known: Option<i64>, next: i64) -> Option<i64> {
    Some(known.map_or(next, |k| k.min(next)))
}

/// The output with the largest lower end, the first of several, and that end.
pub(crate) fn largest_lower_end(center: &GridBox) -> Option<(usize, i64)> {
    let ends = center.lower.iter().copied().enumerate();
    ends.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// Bounds from a box that holds every perturbed output and one that holds the clean output.
fn from_box(center: &GridBox, region: &GridBox) -> Result<StateBounds, Fault> {
    let overflow = || Fault::Overflow { layer: 0 };
    let mut deviation = Vec::with_capacity(center.lower.len());
    let mut changes = Vec::with_capacity(center.lower.len());
    for ((clean_lower, clean_upper), (lower, upper)) in center.intervals().zip(region.intervals()) {
        let rise = upper.checked_sub(clean_lower).ok_or_else(overflow)?;
        let fall = lower.checked_sub(clean_upper).ok_or_else(overflow)?;
        deviation.push(rise.max(fall.checked_neg().ok_or_else(overflow)?).max(0));
        changes.push((fall, rise));
    }
    let oscillation = oscillation_of(&changes).ok_or_else(overflow)?;
    let margin = margin(center, oscillation, |leader, other| {
        let ends = region.lower.get(leader).zip(region.upper.get(other));
        ends.and_then(|(lower, upper)| lower.checked_sub(*upper)).ok_or_else(overflow)
    })?;
    Ok(StateBounds { deviation, oscillation, margin })
}

/// `max over i != j of rise_i - fall_j`, and at least 0.
fn oscillation_of(changes: &[(i64, i64)]) -> Option<i64> {
    let mut largest = 0i64;
    for (i, (_, rise)) in changes.iter().enumerate() {
        for (j, (fall, _)) in changes.iter().enumerate() {
            if i != j {
                largest = largest.max(rise.checked_sub(*fall)?);
            }
        }
    }
    Some(largest)
}

/// Bounds from a symmetric deviation per output and, where there is one, a bound on the oscillation.
fn from_deviation(
    center: &GridBox,
    deviation: Vec<i64>,
    oscillation: Option<i64>,
) -> Result<StateBounds, Fault> {
    let overflow = || Fault::Overflow { layer: 0 };
    let changes = deviation.iter().map(|&d| Some((d.checked_neg()?, d)));
    let changes = changes.collect::<Option<Vec<_>>>().ok_or_else(overflow)?;
    let own = oscillation_of(&changes).ok_or_else(overflow)?;
    let oscillation = oscillation.map_or(own, |known| known.min(own));
    let moved = |leader: usize, other: usize| {
        let clean = center.lower.get(leader)?.checked_sub(*center.upper.get(other)?)?;
        clean.checked_sub(*deviation.get(leader)?)?.checked_sub(*deviation.get(other)?)
    };
    let margin = margin(center, oscillation, |leader, other| moved(leader, other).ok_or_else(overflow))?;
    Ok(StateBounds { deviation, oscillation, margin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Layer, Matrix, Network, Perturbation, Units};
    use crate::number::Rational;

    fn region(pairs: &[(i64, i64)]) -> GridBox {
        GridBox::from_intervals(pairs.iter().copied())
    }

    /// Clean outputs (10, 0), perturbed ones in `[5, 15] x [-10, 20]`: changes `[-5, 5]` and `[-10, 20]`. The second gains
    /// at most 20 + 5 on the first; the first leads by at least 5 - 20.
    #[test]
    fn changes_by_hand() {
        let bounds = from_box(&region(&[(10, 10), (0, 0)]), &region(&[(5, 15), (-10, 20)])).unwrap();
        assert_eq!(bounds, StateBounds { deviation: vec![5, 20], oscillation: 25, margin: Some(-15) });
        let bounds = from_deviation(&region(&[(10, 11), (0, 2)]), vec![3, 4], None).unwrap();
        assert_eq!(bounds, StateBounds { deviation: vec![3, 4], oscillation: 7, margin: Some(10 - 2 - 7) });
    }

    /// Errors 3 and 5: deviations grow by 6 and 10, the oscillation by 20, the margin falls by 10, and where that is not above
    /// 0 another output may be preferred.
    #[test]
    fn binary32_widens_deviation_oscillation_and_margin() {
        let mut state = StateBounds { deviation: vec![1, 2], oscillation: 7, margin: Some(4) };
        assert_eq!(widen(&mut state, &[3, 5]), Some(()));
        assert_eq!(state, StateBounds { deviation: vec![7, 12], oscillation: 27, margin: Some(-27) });
        for (margin, wide) in [(10, -27), (11, 1)] {
            let mut state = StateBounds { deviation: vec![1, 2], oscillation: 7, margin: Some(margin) };
            assert_eq!((widen(&mut state, &[3, 5]), state.margin), (Some(()), Some(wide)));
        }
        assert_eq!(widen(&mut state, &[i64::MAX, 0]), None);
        assert_eq!(widen(&mut state, &[]), None);
    }

    /// A clean value known to `[10, 12]`: the perturbed `[9, 13]` may be 3 above it or 3 below.
    #[test]
    fn an_uncertain_clean_output_widens_the_change() {
        let bounds = from_box(&region(&[(10, 12)]), &region(&[(9, 13)])).unwrap();
        assert_eq!(bounds, StateBounds { deviation: vec![3], oscillation: 0, margin: None });
        let overflow = Err(Fault::Overflow { layer: 0 });
        assert_eq!(from_box(&region(&[(i64::MIN, 0)]), &region(&[(0, i64::MAX)])), overflow);
    }

    /// Of equal outputs either is preferred, so that only the change counts: one may gain 3 on the other.
    #[test]
    fn ties_have_a_margin_of_minus_the_oscillation() {
        let tie = region(&[(7, 7), (7, 7), (3, 3)]);
        assert_eq!(from_box(&tie, &tie).unwrap().margin, Some(0));
        let moved = from_box(&tie, &region(&[(7, 7), (7, 10), (3, 3)])).unwrap();
        assert_eq!((moved.oscillation, moved.margin), (3, Some(-3)));
        assert_eq!(from_deviation(&tie, vec![1, 2, 0], None).unwrap().margin, Some(-3));
        assert_eq!(from_deviation(&tie, vec![1, 2, 0], Some(2)).unwrap().margin, Some(-2));
    }

    /// Clean outputs 1, 1/8 and 0 of a mask, 1, 4 1/8 and 4 of others (on eighths): no output leads, and two can part by 64.
    #[test]
    fn outputs_that_another_mask_prefers_count() {
        let center = region(&[(8, 8), (1, 33), (0, 32)]);
        let bounds = from_deviation(&center, vec![0, 32, 32], None).unwrap();
        assert_eq!((bounds.oscillation, bounds.margin), (64, Some(-64)));
    }

    /// The leader by 3 and 8: over the first it keeps at least -4, over the second -3; the oscillation 5 says 3 - 5.
    #[test]
    fn a_leader_keeps_the_better_of_two_bounds() {
        let center = region(&[(10, 10), (6, 7), (0, 2)]);
        let kept = |gain: i64| {
            move |leader: usize, other: usize| {
                assert_eq!(leader, 0);
                Ok(if other == 1 { gain } else { gain + 1 })
            }
        };
        assert_eq!(margin(&center, 5, kept(-4)), Ok(Some(-2)));
        assert_eq!(margin(&center, 9, kept(-4)), Ok(Some(-4)));
        let close = region(&[(10, 10), (6, 10), (0, 2)]);
        assert_eq!(margin(&close, 9, kept(-4)), Ok(Some(-9)));
        assert_eq!(margin(&close, 9, kept(2)), Ok(Some(2)));
        assert_eq!(margin(&close, 9, kept(0)), Ok(Some(-9)));
        assert_eq!(margin(&region(&[(1, 2)]), 0, kept(0)), Ok(None));
        assert_eq!(margin(&GridBox::default(), 0, kept(0)), Ok(None));
        let far = region(&[(i64::MAX, i64::MAX), (-2, -2)]);
        assert_eq!(margin(&far, 0, kept(0)), Err(Fault::Overflow { layer: 0 }));
        let lost = |_: usize, _: usize| Err(Fault::NoBand);
        assert_eq!(margin(&center, 0, lost), Err(Fault::NoBand));
    }

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
