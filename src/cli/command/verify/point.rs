//! A counterexample as people read it: decimals, outputs beside inputs, exact values on demand. Untrusted.
//! `spec/property.md`.

use secateur_checker::number::Rational;
use serde_json::{Value, json};

use crate::float::rational_to_float;

/// Inputs that are all listed; of more, the first [`SHOWN`].
const MOST_LISTED: usize = 32;
/// Inputs listed where there are many.
const SHOWN: usize = 16;

/// An input that satisfies a case, which the checker accepted.
pub struct Found<'a> {
    /// Case, from 0.
    pub case: usize,
    /// The input, exactly.
    pub inputs: &'a [Rational],
    /// The outputs there, in floats.
    pub outputs: &'a [f64],
}

/// A decimal of at most six significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

impl Found<'_> {
    /// One line per input and output, each after a line break.
    pub fn lines(&self, details: bool) -> String {
        let remark = if details {
            "inputs exactly, outputs rounded"
        } else {
            "rounded; --details or --format json for exact inputs"
        };
        let mut text = format!("\nchecked counterexample in case {} ({remark})", self.case);
        let all = details || self.inputs.len() <= MOST_LISTED;
        let shown = if all { self.inputs.len() } else { SHOWN };
        for (index, input) in self.inputs.iter().take(shown).enumerate() {
            let value =
                if details { input.to_string() } else { rounded(rational_to_float(input)).to_string() };
            text.push_str(&format!("\n  X_{index} = {value}"));
        }
        if shown < self.inputs.len() {
            text.push_str(&format!("\n  ... and {} more inputs", self.inputs.len() - shown));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            text.push_str(&format!("\n  Y_{index} = {}", rounded(*output)));
        }
        text
    }

    /// Members of the JSON document: the exact input as fractions, then decimals.
    pub fn describe(&self, document: &mut Value) {
        document["case"] = json!(self.case);
        document["counterexample"] =
            json!(self.inputs.iter().map(ToString::to_string).collect::<Vec<String>>());
        document["inputs"] = json!(self.inputs.iter().map(rational_to_float).collect::<Vec<f64>>());
        document["outputs"] = json!(self.outputs);
    }
}
