//! A counterexample as people read it: decimals, outputs beside inputs, exact values on demand. Untrusted.
//! `spec/property.md`.

use secateur_checker::number::Rational;
use serde_json::{Value, json};

use crate::float::rational_to_float;
use crate::verify::Question;

/// Inputs that are all listed; of more, the first [`SHOWN`].
const MOST_LISTED: usize = 32;
/// Inputs listed where there are many.
const SHOWN: usize = 16;

/// An input that satisfies a case, which the checker accepted.
pub struct Found<'a> {
    /// What was asked: of several networks, outputs are named by their network's name in it.
    pub question: &'a Question,
    /// Case, from 0.
    pub case: usize,
    /// The input, exactly.
    pub inputs: &'a [Rational],
    /// The outputs there, in floats: of the first network, of the second, ..., then the variables that constraints read.
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
        for (network, outputs) in self.by_network() {
            for (index, output) in outputs.iter().enumerate() {
                text.push_str(&format!("\n  {network}Y_{index} = {}", rounded(*output)));
            }
        }
        text
    }

    /// Each network's outputs and what stands before their names: its own in the property and a dot, if it has one.
    fn by_network(&self) -> Vec<(String, &[f64])> {
        let mut rest = self.outputs;
        let named = self.question.folders().into_iter().zip(&self.question.networks);
        let outputs = named.map(|(folder, network)| {
            let (own, others) = rest.split_at(network.files.policy.network.outputs().min(rest.len()));
            rest = others;
            (folder.replace('/', "."), own)
        });
        outputs.collect()
    }

    /// Members of the JSON document: the exact input as fractions, then decimals.
    pub fn describe(&self, document: &mut Value) {
        document["case"] = json!(self.case);
        document["counterexample"] =
            json!(self.inputs.iter().map(ToString::to_string).collect::<Vec<String>>());
        document["inputs"] = json!(self.inputs.iter().map(rational_to_float).collect::<Vec<f64>>());
        let by_network = self.by_network();
        match by_network.as_slice() {
            [(_, outputs)] => document["outputs"] = json!(outputs),
            several => {
                let named = several
                    .iter()
                    .map(|(name, outputs)| (name.trim_end_matches('.').to_owned(), json!(outputs)));
                document["outputs"] = Value::Object(named.collect());
            }
        }
    }
}
