//! The smallest difference of two networks that so many boxes prove, in place of one that is asked for. Untrusted: what comes out
//! is a question and a tree for it, which go through the checker as any other. `spec/property.md#two-networks`.

use secateur_checker::number::Rational;
use secateur_checker::pair::PairQuestion;
use secateur_checker::property::read_property;
use secateur_checker::reader::certificate::FileDigest;
use secateur_checker::reader::property::{NamedNetwork, Property};

use super::turns::groups;
use super::{Question, QuestionNetwork, VerifyError};
use crate::float::FloatNetwork;
use crate::search::branch::largest::search_largest;
use crate::search::branch::{BranchOptions, BranchState};

/// What is added to a bound found in floats, as a share and at least, so that exact numbers prove it too.
const MARGIN: (f64, f64) = (1e-6, 1e-9);
/// Significant digits of a difference that is found.
const DIGITS: i32 = 6;

/// Two networks and boxes of their inputs.
pub struct Compared {
    /// The networks.
    pub networks: Vec<QuestionNetwork>,
    /// What a property calls them.
    pub named: Vec<NamedNetwork>,
    /// Least and greatest value per input.
    pub boxes: Vec<(Vec<Rational>, Vec<Rational>)>,
    /// The files that all was imported from.
    pub inputs: Vec<FileDigest>,
}

/// What so many boxes prove.
pub struct Difference {
    /// Whether some output differs by `delta` or more.
    pub question: Question,
    /// Trees that say no.
    pub states: Vec<BranchState>,
    /// The difference, of six significant digits.
    pub delta: Rational,
    /// A difference that was met at a point, in floats: no smaller one can be proved.
    pub attained: f64,
}

impl Compared {
    /// The question over every box.
    ///
    /// # Errors
    /// [`VerifyError::Input`].
    pub fn question(self, asked: &PairQuestion) -> Result<Question, VerifyError> {
        let outputs = self.networks.first().map_or(0, |network| network.files.policy.network.outputs());
        let cases = self.boxes.iter().flat_map(|(lower, upper)| asked.cases(outputs, lower, upper));
        let property = Property { cases: cases.collect(), networks: self.named };
        Question::several(self.networks, &property, self.inputs)
    }

    /// The smallest difference that at most `options.max_steps` boxes a box prove, fewer where it comes near to one that is met.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn smallest(
        self,
        options: &BranchOptions,
        stop: &dyn Fn() -> bool,
    ) -> Result<Difference, VerifyError> {
        let wrong = |e: &dyn std::fmt::Display| VerifyError::Input(e.to_string());
        let (named, boxes, inputs) = (self.named.clone(), self.boxes.clone(), self.inputs.clone());
        // A constraint less its right-hand side is then an output of one network less that of the other.
        let none = PairQuestion::Difference { delta: Rational::zero() };
        let asked = self.question(&none)?;
        let network = FloatNetwork::from_model(&asked.policy.network, None).map_err(|e| wrong(&e))?;
        let read =
            read_property(&asked.policy, &asked.stated).map_err(|e| VerifyError::Limit(e.to_string()))?;
        let (mut states, mut bound, mut attained) = (Vec::new(), 0.0f64, 0.0f64);
        for cases in groups(&network, &read.cases, true) {
            let found = search_largest(&network, cases, options, stop);
            bound = bound.max(-found.bound);
            attained = attained.max(-found.attained);
            states.push(found.state);
            states.extend(cases.iter().skip(1).map(|_| BranchState::default()));
        }
        let delta = rounded_up(bound).ok_or_else(|| {
            VerifyError::Limit("the difference of the networks is no finite number in floats".to_owned())
        })?;
        let again = Self { networks: asked.networks, named, boxes, inputs };
        let question = again.question(&PairQuestion::Difference { delta: delta.clone() })?;
        Ok(Difference { question, states, delta, attained })
    }
}

/// A decimal of a few digits above a number and what floats may be off by.
fn rounded_up(value: f64) -> Option<Rational> {
    let enough = value * (1.0 + MARGIN.0) + MARGIN.1;
    let exponent = enough.log10().floor() as i32 - (DIGITS - 1);
    let digits = (enough / 10f64.powi(exponent)).ceil();
    digits.is_finite().then(|| Rational::parse(&format!("{digits:.0}e{exponent}")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_above() {
        for value in [0.0, 1e-12, 0.123_456_789, 0.999_999_9, 1.0, 314.159_265] {
            let above = crate::float::rational_to_float(&rounded_up(value).unwrap());
            assert!(above > value && above <= value * (1.0 + 1.2e-5) + 2e-9, "{value} {above}");
        }
        assert_eq!(rounded_up(f64::INFINITY), None);
    }
}
