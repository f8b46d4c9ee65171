//! Questions about two networks that have a name of their own, so that an answer can say what was proved. Trusted.
//! `spec/property.md#two-networks`. A property is known for one of them by equality with what is written here.

use crate::kernel::split::{Case, OutputConstraint};
use crate::number::Rational;
use crate::reader::property::Property;

/// A question about two networks that read the same variables and have as many outputs each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairQuestion {
    /// Does some output of one differ by `delta` or more from that of the other?
    Difference {
        /// What no output is to differ by.
        delta: Rational,
    },
    /// Is some output that is the first network's greatest by `lead` or more not above every other of the second's?
    Action {
        /// By how much the output leads every other of the first network, or more.
        lead: Rational,
    },
}

impl PairQuestion {
    /// The cases over one box of two networks with `outputs` outputs each: per output above and below, or per pair of
    /// outputs.
    pub fn cases(&self, outputs: usize, lower: &[Rational], upper: &[Rational]) -> Vec<Case> {
        // What is below `less` of the one network plus `bound`.
        let at_most = |network: usize, less: usize, (other, more): (usize, usize), bound: &Rational| {
            let place =
                |network: usize, output: usize| network.saturating_mul(outputs).saturating_add(output);
            let coefficient = |index: usize| match index {
                one if one == place(network, less) => Rational::one(),
                one if one == place(other, more) => Rational::one().neg(),
                _ => Rational::zero(),
            };
            let coefficients = (0..outputs.saturating_mul(2)).map(coefficient).collect();
            OutputConstraint { coefficients, bound: bound.neg() }
        };
        let case = |constraints| Case { lower: lower.to_vec(), upper: upper.to_vec(), constraints };
        let all = 0..outputs;
        match self {
            Self::Difference { delta } => {
                let sides = all.flat_map(|output| [(0, 1, output), (1, 0, output)]);
                sides
                    .map(|(less, more, output)| case(vec![at_most(less, output, (more, output), delta)]))
                    .collect()
            }
            Self::Action { lead } => {
                let pairs = all.clone().flat_map(|best| (0..outputs).map(move |other| (best, other)));
                let constraints = |(best, other): (usize, usize)| {
                    let below = all.clone().filter(|output| *output != best);
                    let second = at_most(1, best, (1, other), &Rational::zero());
                    let first = below.map(|output| at_most(0, output, (0, best), lead));
                    [second].into_iter().chain(first).collect()
                };
                pairs.filter(|(best, other)| best != other).map(|pair| case(constraints(pair))).collect()
            }
        }
    }

    /// The question that the property asks over one or more boxes, and their number, if it is one of these.
    pub fn of(property: &Property, outputs: &[usize]) -> Option<(Self, usize)> {
        let ([first, second], [width, other]) = (property.networks.as_slice(), outputs) else { return None };
        let known = [
            Self::Difference { delta: bound_of(property, 0)? },
            // The constraint that follows the second network's.
            Self::Action { lead: bound_of(property, 1).unwrap_or_else(Rational::zero) },
        ];
        if width != other || first.reads != second.reads {
            return None;
        }
        let asked = |question: &Self| -> Option<usize> {
            let mut boxes = 0usize;
            let mut rest = property.cases.as_slice();
            while let Some(case) = rest.first() {
                let expected = question.cases(*width, &case.lower, &case.upper);
                rest = rest.strip_prefix(expected.as_slice()).filter(|_| !expected.is_empty())?;
                boxes = boxes.saturating_add(1);
            }
            Some(boxes)
        };
        known.into_iter().find_map(|question| asked(&question).map(|boxes| (question, boxes)))
    }
}

/// What the right-hand side of a constraint of the first case takes off.
fn bound_of(property: &Property, constraint: usize) -> Option<Rational> {
    Some(property.cases.first()?.constraints.get(constraint)?.bound.neg())
}
