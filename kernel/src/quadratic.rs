//! Backward bounds by parabolas in place of lines. Trusted. `spec/rules/quadratic.md`; Zhang et al. 2018, arXiv:1811.00866 (quadratic
//! bounds of a neuron).
//!
//! A line over a neuron's range gives away what the neuron bends, each neuron by itself. A parabola keeps it as a second-order term, and
//! those of all neurons are bounded together, at the inputs.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::slice;

use crate::back::{Functional, RelaxedLayer, Target, carry, each, groups, most};
use crate::enclose::TanhTable;
use crate::fault::Fault;
use crate::form::Frames;
use crate::grid::{GridNetwork, SLOPE_BITS};
use crate::input::InputSet;
use crate::interval::{GridBox, Interval};
use crate::relax::{Parabolas, SlopeChoice, parabolas, relax};
use crate::wide::{AtLayer, Wide, every, magnitude, mul, total, zip_exact};

/// A neuron, and functionals of the inputs above its negation and above itself.
pub(crate) type Enclosed = (usize, [Functional; 2]);

/// An upper bound, and a functional of the inputs that is one where parabolas have been asked for.
pub(crate) type Found = Result<(i64, Option<Functional>), Fault>;

/// Parabolas of the neurons of the first layers over an input set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quadratics {
    frames: Frames,
    /// Each layer's parabolas without their second-order terms.
    tangents: Vec<RelaxedLayer>,
    /// Each layer's second-order coefficients below and above, on the slope grid.
    bends: Vec<Vec<Interval>>,
}

impl Quadratics {
    /// No layer yet.
    ///
    /// # Errors
    /// Those of [`Frames::new`].
    pub(crate) fn new(network: &GridNetwork, input: &InputSet) -> Result<Self, Fault> {
        Ok(Self { frames: Frames::new(network, input)?, tangents: Vec::new(), bends: Vec::new() })
    }

    /// The next layer, over the box `pre` of its neurons, of which `enclosed` lists those that may bend, in order. `input_magnitude` is
    /// that of the layer's inputs.
    ///
    /// # Errors
    /// [`Fault::ShapeMismatch`], [`Fault::Overflow`].
    pub(crate) fn push(
        &mut self,
        network: &GridNetwork,
        table: &TanhTable,
        (pre, input_magnitude): (&GridBox, i128),
        enclosed: Vec<Enclosed>,
        input: &InputSet,
    ) -> Result<(), Fault> {
        let index = self.bends.len();
        let activation = &network.layers.get(index).shaped(index)?.activation;
        let (mut lines, mut bends, mut frames, mut paid) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut enclosed = enclosed.into_iter().peekable();
        for (neuron, mut ends) in pre.intervals().enumerate() {
            let frame = enclosed.next_if(|(own, _)| *own == neuron);
            // One whose numbers leave their range keeps its lines.
            let frame = frame.and_then(|(_, functionals)| self.frames.frame(functionals, input).ok());
            let found = match &frame {
                Some(frame) => {
                    ends = (ends.0.min(frame.point), ends.1.max(frame.point));
                    parabolas(activation, table, network.value_bits, ends, frame.point)
                }
                None => relax(activation, table, network.value_bits, ends, SlopeChoice::default())
                    .map(|lines| Parabolas { lines, bends: (0, 0) }),
            };
            let found = found.within(index)?;
            if found.lines.cuts() {
                paid.push(magnitude(ends).into());
            }
            lines.push(found.lines);
            bends.push(found.bends);
            frames.push(frame.filter(|_| found.bends != (0, 0)));
        }
        self.tangents.push(RelaxedLayer::new(&lines, total(paid).get().within(index)?, input_magnitude));
        self.bends.push(bends);
        self.frames.push(frames)
    }

    /// Upper bounds of functionals of layer `depth`, as [`upper_bounds`](crate::back::upper_bounds): the least of the one by lines and,
    /// for each layer that bends, the one by parabolas of it and of the layers below. With the functional of the inputs that most
    /// parabolas make of it.
    ///
    /// # Errors
    /// Those of `upper_bounds`.
    pub(crate) fn upper_bounds<'a>(
        &'a self,
        network: &GridNetwork,
        depth: usize,
        targets: impl IntoIterator<Item = Result<Target<'a>, Fault>>,
        input: &InputSet,
    ) -> Result<Vec<Found>, Fault> {
        let layers = network.layers.get(..depth).shaped(depth)?;
        let mut found = Vec::new();
        for mut some in groups(depth, targets) {
            // Those that stay with lines, then those that took to parabolas, first those that did so first.
            let count = some.len();
            let mut seconds = vec![Vec::new(); count];
            for (index, layer) in layers.iter().enumerate().rev() {
                let bends = self.bends.get(index).shaped(index)?;
                if bends.iter().any(|bends| *bends != (0, 0)) {
                    let forks: Vec<_> = some.iter().take(count).map(|target| self.fork(target)).collect();
                    some.extend(forks);
                    seconds.resize(some.len(), Vec::new());
                }
                for (target, seconds) in some.iter_mut().zip(&mut seconds).skip(count) {
                    each(slice::from_mut(target), |target| {
                        let own = second_order(&target.functional.coefficients, bends, index)?;
                        *seconds = [&own[..], &seconds[..]].concat();
                        Ok(())
                    });
                }
                carry(layer, index, &mut some);
            }
            let bound = |(target, seconds): (Result<Target<'a>, Fault>, Vec<i64>)| {
                let (bound, functional) = self.frames.concretize(target?.functional, seconds, input)?;
                Ok((bound, Some(functional)))
            };
            let mut bounds: Vec<Found> = some.into_iter().zip(seconds).map(bound).collect();
            let forks = bounds.split_off(count);
            for (index, lines) in bounds.into_iter().enumerate() {
                let own = forks.iter().skip(index).step_by(count).cloned();
                // Parabolas of which a number leaves its range say nothing.
                found.push(
                    own.rev()
                        .flatten()
                        .fold(lines, |least, (bound, functional)| Ok((least?.0.min(bound), functional))),
                );
            }
        }
        Ok(found)
    }

    /// A target whose functional goes on by parabolas.
    fn fork<'a>(&'a self, target: &Result<Target<'a>, Fault>) -> Result<Target<'a>, Fault> {
        match target {
            Ok(Target { functional, multipliers, .. }) => Ok(Target {
                functional: functional.clone(),
                relaxed: Cow::Borrowed(&self.tangents),
                multipliers: *multipliers,
            }),
            Err(fault) => Err(fault.clone()),
        }
    }
}

/// The second-order coefficients of a functional of a layer's outputs, on the coefficient grid. Squares are not below 0: a coefficient
/// may be larger.
fn second_order(coefficients: &[i64], bends: &[Interval], index: usize) -> Result<Vec<i64>, Fault> {
    let pairs = zip_exact(coefficients, bends, index)?;
    every(pairs.map(|(&c, &bends)| Wide::from(mul(c, most(c, bends))).ceil(SLOPE_BITS).entry())).within(index)
}
