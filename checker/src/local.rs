//! The families of listed states: a policy under each mask on the integer grid, one state at a time. Trusted.
//! `spec/rules/local.md`.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::family::{BandEnd, Family};
use crate::kernel::band::{BandNetwork, band_bounds};
use crate::kernel::bounds::{Differences, StateBounds, envelope, policies_of_later};
use crate::kernel::branch::{CellOutputs, bound_cells, bound_tree};
use crate::kernel::crown::{CrownLayers, Witness, bound_functionals, crown_layers};
use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::{Fault, Place};
use crate::kernel::float32::{check_binary32, rounding_errors};
use crate::kernel::grid::{GridActivation, GridNetwork, GridScale};
use crate::kernel::head::HeadBounds;
use crate::kernel::hull::{deviation, hull_slopes};
use crate::kernel::ibp::{LayerBounds, propagate};
use crate::kernel::input::{InputSet, input_magnitude, input_set};
use crate::kernel::interval::GridBox;
use crate::kernel::paired::{PairedNetwork, paired_change};
use crate::kernel::point::{enclose_outputs, perturbed_inputs};
use crate::kernel::softmax::Softmax;
use crate::model::{Head, Mask, PerturbationSet, Policy, States};
use crate::number::{Dyadic, Rational};
use crate::reader::clause::Clause;
use crate::reader::witness::WitnessFile;
use crate::tables::tanh_table;

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
    /// Of the outputs, where backward bounds are had.
    differences: Differences,
    /// Of a Gaussian policy whose input sets are cut into cells.
    gaussian: Option<HeadBounds>,
    witness: Option<WitnessFile<'a>>,
    /// Fraction bits of every bound it returns.
    pub value_bits: u32,
}

/// One state's input set, and what the families share of it under each mask.
struct AtState<'s> {
    state: usize,
    input: InputSet,
    masks: Vec<AtMask<'s>>,
}

/// A mask's network at one state.
struct AtMask<'s> {
    mask: usize,
    network: &'s GridNetwork,
    /// Encloses the unperturbed outputs.
    center: GridBox,
    /// What they are the logits of, if they are.
    policy: Option<Softmax>,
    /// Interval bounds over the input set.
    ball: LayerBounds,
    /// Backward bounds with derived slopes, and what they say of the outputs, once a family asks for them.
    backward: OnceCell<(CrownLayers, StateBounds)>,
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
        let (table, value_bits) = (tanh_table()?, scale.value_bits);
        let (bands, paired) = (BTreeMap::new(), None);
        let differences = match policy.head {
            Head::Gaussian { .. } => Differences::Without,
            Head::Deterministic | Head::Categorical if policy.network.outputs() < 2 => Differences::Without,
            Head::Deterministic => Differences::Lead,
            Head::Categorical => Differences::All,
        };
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
            differences,
            gaussian: None,
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
            self.bands.insert(end, bands.collect::<Result<_, Fault>>()?);
        }
        if families.iter().any(|f| f.is_float32()) {
            check_binary32(network)?;
        }
        // What is left of a lead that binary32 may lose is the oscillation.
        if families.contains(&Family::Binary32Crown) {
            self.differences = self.all_differences();
        }
        if families.contains(&Family::Branch) && matches!(self.policy.head, Head::Gaussian { .. }) {
            self.gaussian = Some(HeadBounds::new(&self.policy.head)?);
        }
        if families.contains(&Family::PrunedDeviation) {
            let pairs = self.masks.iter().map(|mask| PairedNetwork::new(network, mask, &self.scale));
            let dense = GridNetwork::new(network, None, &self.scale)?;
            self.paired = Some((dense, pairs.collect::<Result<_, Fault>>()?));
        }
        Ok(self)
    }

    /// With the witness file, if any of the families reads slopes or trees from it.
    ///
    /// # Errors
    /// [`Clause`], of tensor files.
    pub fn with_witness(mut self, bytes: Option<&'a [u8]>, families: &[Family]) -> Result<Self, Clause> {
        let wanted = bytes.filter(|_| families.iter().any(|f| f.is_searched()));
        self.witness = wanted.map(WitnessFile::parse).transpose()?;
        Ok(self)
    }

    /// With what the witness file holds for entry `entry` of `radius`.
    #[must_use]
    pub fn of_radius(mut self, entry: usize) -> Self {
        self.witness = self.witness.map(|file| file.of_radius(entry));
        self
    }

    /// The input set at state `index`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn input_at(&self, index: usize) -> Result<InputSet, Fault> {
        self.input_under(index, self.set)
    }

    /// The input set at state `index` under another set of perturbations, no wider than the problem's.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn input_under(&self, index: usize, set: &PerturbationSet) -> Result<InputSet, Fault> {
        input_set(self.policy, self.state(index)?, self.states.units, set, self.value_bits)
    }

    /// Number of states.
    pub fn states(&self) -> usize {
        self.states.values.rows
    }

    /// Whether same-action margins mean something: several outputs, and not the mean of a Gaussian.
    pub fn has_margins(&self) -> bool {
        self.differences != Differences::Without
    }

    /// All differences if there are margins.
    fn all_differences(&self) -> Differences {
        if self.has_margins() { Differences::All } else { Differences::Without }
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

    /// Encloses the outputs under mask `mask` at state `index` and at the point that lies `offset` from it, if that is in
    /// the set.
    ///
    /// # Errors
    /// [`Fault`]: a point that is refused.
    pub(crate) fn at_point(
        &self,
        mask: usize,
        index: usize,
        set: &PerturbationSet,
        offset: &[Dyadic],
    ) -> Result<(GridBox, GridBox), Fault> {
        let network = self.masked(mask).ok_or(Fault::PointShape)?;
        let offset: Vec<Rational> = offset.iter().map(|d| d.to_rational()).collect();
        let (state, units) = (self.state(index)?, self.states.units);
        let (clean, moved) = perturbed_inputs(self.policy, state, units, set, &offset)?;
        let outputs = |input: &[Rational]| enclose_outputs(network, self.table, input);
        Ok((outputs(&clean)?, outputs(&moved)?))
    }

    /// The families' bounds at state `index`: one list per family, in it one entry per mask that the family covers.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn evaluate(&self, index: usize, families: &[Family]) -> Result<Vec<Vec<StateBounds>>, Fault> {
        self.evaluate_over(index, self.input_at(index)?, families)
    }

    /// The same over another input set at the state.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn evaluate_over(
        &self,
        index: usize,
        input: InputSet,
        families: &[Family],
    ) -> Result<Vec<Vec<StateBounds>>, Fault> {
        let mut at = AtState { state: index, input, masks: Vec::new() };
        if families.iter().any(|f| f.band_end().is_none()) {
            let masks = self.masked.iter().enumerate().map(|(mask, network)| {
                let center = propagate(network, self.table, &at.input.center)?.outputs()?.clone();
                let ball = propagate(network, self.table, &at.input.region)?;
                let policy = self.softmax(&center)?;
                Ok(AtMask { mask, network, center, policy, ball, backward: OnceCell::new() })
            });
            at.masks = masks.collect::<Result<_, Fault>>()?;
        }
        families.iter().map(|family| self.family(&at, *family)).collect()
    }

    fn family(&self, at: &AtState<'_>, family: Family) -> Result<Vec<StateBounds>, Fault> {
        let each = |bounds: &dyn Fn(&AtMask<'_>) -> Result<StateBounds, Fault>| {
            at.masks.iter().map(bounds).collect::<Result<Vec<_>, _>>()
        };
        let known = |bounds: &dyn Fn(&AtMask<'_>) -> Result<StateBounds, Fault>| {
            each(&|mask| bounds(mask)?.known(mask.policy.as_ref()))
        };
        let interval = |at: &AtMask<'_>| StateBounds::from_box(&at.center, at.ball.outputs()?);
        let crown = |mask: &AtMask<'_>| Ok(self.backward(at, mask)?.1.clone());
        // Rule `float32.change`: each mask with its own errors.
        let binary32 = |mask: &AtMask<'_>, bounds: StateBounds| {
            let errors = rounding_errors(mask.network, &at.input.region, &mask.ball)?;
            bounds.widened(&errors)?.known(self.softmax(&mask.center.widened(&errors, 0)?)?.as_ref())
        };
        match family {
            Family::Ibp => known(&interval),
            Family::EnvelopeIbp => envelope(known(&interval)?),
            Family::Binary32Ibp => each(&|mask| binary32(mask, interval(mask)?)),
            Family::Crown => known(&crown),
            Family::EnvelopeCrown => envelope(known(&crown)?),
            Family::Binary32Crown => each(&|mask| binary32(mask, crown(mask)?)),
            Family::CrownOptimised | Family::Lp => known(&|mask| self.with_slopes(at, mask, family)),
            Family::CrownQuadratic => {
                known(&|mask| self.crown_over(at, mask, Witness { quadratic: true, ..Witness::default() }))
            }
            Family::Branch => each(&|mask| self.branch(at, mask)),
            Family::ChainHull => self.chain_hull(at),
            Family::PrunedDeviation => self.pruned_deviation(at),
            Family::Band(end) => self.band(at, end, false),
            Family::BandCrown(end) => self.band(at, end, true),
            Family::Sensitivity
            | Family::NormLinf
            | Family::NormL1
            | Family::NormFrobenius
            | Family::NormAbsSpectral
            | Family::Spectral => Err(Fault::OtherScope { family: family.entry().name }),
        }
    }

    /// Enclosures of the unperturbed outputs at state `index`, one per mask.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) fn clean_outputs(&self, index: usize) -> Result<Vec<GridBox>, Fault> {
        let input = self.input_at(index)?;
        let enclose =
            |network: &GridNetwork| Ok(propagate(network, self.table, &input.center)?.outputs()?.clone());
        self.masked.iter().map(enclose).collect()
    }

    fn chain_hull(&self, at: &AtState<'_>) -> Result<Vec<StateBounds>, Fault> {
        let first = self.masked.first().ok_or(Fault::NoBand)?;
        let balls: Vec<&LayerBounds> = at.masks.iter().map(|mask| &mask.ball).collect();
        let slopes = hull_slopes(first, self.table, &balls)?;
        let bounds = at.masks.iter().map(|mask| {
            StateBounds::from_deviation(
                &mask.center,
                deviation(mask.network, &slopes, &at.input.radii)?,
                None,
            )?
            .known(mask.policy.as_ref())
        });
        Ok(policies_of_later(bounds.collect::<Result<_, Fault>>()?))
    }

    fn band(&self, at: &AtState<'_>, end: BandEnd, crown: bool) -> Result<Vec<StateBounds>, Fault> {
        let mut list: Vec<StateBounds> = Vec::new();
        for band in self.bands.get(&end).ok_or(Fault::NoBand)? {
            let bounds = band_bounds(band, self.table, &at.input, crown)?;
            let policy = self.softmax(&bounds.center)?;
            let bounds = StateBounds::from_band(bounds, list.last())?.known(policy.as_ref())?;
            list.push(bounds.within(list.last()));
        }
        Ok(list)
    }

    fn pruned_deviation(&self, at: &AtState<'_>) -> Result<Vec<StateBounds>, Fault> {
        let (dense, pairs) = self.paired.as_ref().ok_or(Fault::NoBand)?;
        let reference = propagate(dense, self.table, &at.input.region)?;
        let policy = self.softmax(reference.outputs()?)?;
        let changes = at.masks.iter().map(|mask| {
            let pair = pairs.get(mask.mask).ok_or(Fault::NoBand)?;
            StateBounds::from_change(&paired_change(
                pair,
                self.table,
                &at.input.region,
                &reference,
                &mask.ball,
            )?)?
            .known(policy.as_ref())
        });
        changes.collect()
    }

    /// The policy whose logits these outputs are, if it is a softmax.
    fn softmax(&self, outputs: &GridBox) -> Result<Option<Softmax>, Fault> {
        let softmax = matches!(self.policy.head, Head::Categorical);
        softmax.then(|| Softmax::new(outputs, self.value_bits)).transpose()
    }

    /// Backward bounds by `witness`; the input set is never empty.
    fn layers(
        &self,
        at: &AtState<'_>,
        mask: &AtMask<'_>,
        witness: Witness<'_>,
    ) -> Result<CrownLayers, Fault> {
        let layers = crown_layers(mask.network, self.table, &at.input, witness)?;
        layers.ok_or(Fault::EmptyInterval { layer: 0, neuron: 0 })
    }

    /// Backward bounds with derived slopes, computed once a state and mask.
    fn backward<'s>(
        &self,
        at: &AtState<'_>,
        mask: &'s AtMask<'_>,
    ) -> Result<&'s (CrownLayers, StateBounds), Fault> {
        if let Some(known) = mask.backward.get() {
            return Ok(known);
        }
        let layers = self.layers(at, mask, Witness::default())?;
        let bounds = self.crown_bounds(at, mask, &layers, Witness::default())?;
        Ok(mask.backward.get_or_init(|| (layers, bounds)))
    }

    /// Backward bounds with the slopes that the witness file holds for this family, mask and state.
    fn with_slopes(&self, at: &AtState<'_>, mask: &AtMask<'_>, family: Family) -> Result<StateBounds, Fault> {
        let place = (at.state, self.states());
        let slopes = self.witness.as_ref();
        let slopes = slopes.and_then(|w| w.slopes((&family.name(), mask.mask), mask.network, place));
        let slopes = slopes.ok_or(Fault::SlopesMissing { mask: mask.mask })?;
        self.crown_over(at, mask, slopes.witness())
    }

    /// Backward bounds by `witness`, and what they say of the outputs.
    fn crown_over(
        &self,
        at: &AtState<'_>,
        mask: &AtMask<'_>,
        witness: Witness<'_>,
    ) -> Result<StateBounds, Fault> {
        let layers = self.layers(at, mask, witness)?;
        self.crown_bounds(at, mask, &layers, witness)
    }

    fn crown_bounds(
        &self,
        at: &AtState<'_>,
        mask: &AtMask<'_>,
        layers: &CrownLayers,
        witness: Witness<'_>,
    ) -> Result<StateBounds, Fault> {
        let network = mask.network;
        // Without a final squash the last layer's rows are the outputs, and its slopes are theirs.
        let last = network.layers.len().saturating_sub(1);
        let squashed = network.layers.last().is_some_and(|l| l.activation != GridActivation::Identity);
        StateBounds::from_functionals(&mask.center, self.differences, &mut |asked| {
            let row = |row: Option<(usize, bool)>| {
                let (output, upper) = row.filter(|_| !squashed)?;
                witness.row(last, output, upper)
            };
            let asked: Vec<_> = asked.iter().map(|(weights, at)| (&**weights, row(*at))).collect();
            bound_functionals(network, self.table, layers, &at.input, &asked)
        })
    }

    /// By the one tree of cells that the witness file holds for this mask and state, or else `crown` met with its trees, in
    /// the order of the targets.
    fn branch(&self, at: &AtState<'_>, mask: &AtMask<'_>) -> Result<StateBounds, Fault> {
        let cells = self.witness.as_ref().and_then(|w| w.cells(mask.mask, (at.state, self.states())));
        if let Some(cells) = cells {
            let mut cells = cells.ok_or(Fault::TreesMissing { mask: mask.mask })?;
            let tree = cells.begin();
            let outputs = CellOutputs {
                center: &mask.center,
                margins: self.has_margins(),
                softmax: mask.policy.as_ref(),
                gaussian: self.gaussian.as_ref(),
            };
            let network = mask.network;
            let next = &mut |_| cells.node(network);
            let bounds = bound_cells(network, self.table, &at.input, &outputs, next);
            let bounds = bounds.map_err(|e| e.at(Place::Tree(tree)))?;
            cells.finish()?;
            return Ok(bounds);
        }
        let trees = self.witness.as_ref().and_then(|w| w.trees(mask.mask, (at.state, self.states())));
        let mut trees = trees.ok_or(Fault::TreesMissing { mask: mask.mask })?;
        let (network, layers) = (mask.network, &self.backward(at, mask)?.0);
        let bounds = StateBounds::from_functionals(&mask.center, self.all_differences(), &mut |asked| {
            let all: Vec<_> = asked.iter().map(|(weights, _)| (&**weights, None)).collect();
            let own = bound_functionals(network, self.table, layers, &at.input, &all)?;
            let met = own.into_iter().zip(&all).map(|(own, (weights, _))| {
                let tree = trees.begin();
                let bound = bound_tree(network, self.table, &at.input, weights, &mut |_| trees.node(network));
                Ok(own.min(bound.map_err(|e| e.at(Place::Tree(tree)))?))
            });
            met.collect()
        })?;
        trees.finish()?;
        bounds.known(mask.policy.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Layer, Matrix, Network, Perturbation, Units};
    use crate::number::Rational;

    /// The state 1, which moves by 1.
    fn one_by_one() -> (States, PerturbationSet) {
        let values = Matrix { rows: 1, columns: 1, values: vec![Dyadic::new(1, 0)] };
        let set =
            PerturbationSet { shape: Perturbation::Linf { radius: Rational::one() }, units: Units::Raw };
        (States { values, units: Units::Raw }, set)
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
        let (states, set) = one_by_one();
        let masks = [Mask { layers: vec![vec![true; 2]] }];
        let problem = LocalProblem::new(&policy, &masks, &states, &set).unwrap();
        let one = 1i64 << problem.value_bits;
        let found = problem.evaluate(0, &[Family::Ibp, Family::Crown]).unwrap();
        let intervals = &found[0][0];
        assert_eq!(intervals.deviation, [2 * one, one]);
        assert_eq!((intervals.oscillation, intervals.margin), (3 * one, Some(-2 * one)));
        let crown = &found[1][0];
        assert!((one..one + 16).contains(&crown.oscillation), "{crown:?}");
        assert!((-16..=0).contains(&crown.margin.unwrap()), "{crown:?}");
    }

    /// A deterministic head has the same margins from the leader's differences; where binary32 may lose a lead, from all.
    #[test]
    fn a_deterministic_head_needs_the_lead_alone() {
        let weight = Matrix { rows: 3, columns: 1, values: [2, 1, 1].map(|w| Dyadic::new(w, 0)).to_vec() };
        let layer =
            Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; 3], activation: Activation::Identity };
        let network = Network { layers: vec![layer] };
        let (states, set) = one_by_one();
        let masks = [Mask { layers: vec![vec![true; 3]] }];
        let margins = |head: Head, families: &[Family]| {
            let policy = Policy { network: network.clone(), head, normaliser: None, source: None };
            let problem =
                LocalProblem::new(&policy, &masks, &states, &set).unwrap().prepare(families).unwrap();
            let found = problem.evaluate(0, families).unwrap();
            found
                .into_iter()
                .map(|bounds| (bounds[0].margin, bounds[0].oscillation))
                .unzip::<_, _, Vec<_>, Vec<_>>()
        };
        let (crown, both) = ([Family::Crown], [Family::Crown, Family::Binary32Crown]);
        let (lead, loose) = margins(Head::Deterministic, &crown);
        let (all, sharp) = margins(Head::Categorical, &crown);
        assert_eq!(lead, all);
        assert!(loose[0] > sharp[0], "{loose:?} {sharp:?}");
        assert_eq!(margins(Head::Deterministic, &both), margins(Head::Categorical, &both));
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
