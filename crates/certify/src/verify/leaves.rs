//! Split trees of other tools, and of earlier proofs, as where a search begins. Untrusted: whatever the file says, every leaf
//! goes through the checker. `spec/leaves.md`.

use std::collections::BTreeMap;

use secateur_checker::number::Rational;
use secateur_checker::property::read_property;
use secateur_checker::reader::property::PROOF_FORMAT;
use serde::Deserialize;

use super::neurons::{KeptRows, rows_fit};
use super::{Question, SearchState, VerifyError};
use crate::bound::crown::FloatSplit;
use crate::float::{FloatNetwork, rational_to_float};
use crate::search::branch::given::{
    GivenCounts, GivenEvidence, GivenLeaf, TreeEvidence, state_of_leaves, state_of_tree,
};
use crate::search::branch::neurons::{SLOPE_PARTS, StoredSlopes};
use crate::search::branch::tree::{Cut, LeafSlopes};
use crate::search::branch::{BranchOptions, BranchProblem, BranchState, GivenNumbers};
use crate::search::slopes::witness::SLOPE_DENOMINATOR;

/// Value of `format`.
pub const LEAVES_FORMAT: &str = "secateur.leaves/1";
/// Most leaves of a file.
const MAX_LEAVES: usize = 1 << 20;

/// Why a file is nothing to begin a search with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeavesError {
    /// Not such a file.
    #[error("not a file of leaves ({0}); spec/leaves.md has its layout")]
    Malformed(#[from] serde_json::Error),
    /// A file of another format or version.
    #[error("its format is neither {LEAVES_FORMAT} nor {PROOF_FORMAT}")]
    Format,
    /// Another number of cases.
    #[error("it has {found} cases, the property {expected}; an empty list leaves a case to the search")]
    Cases {
        /// Of the file.
        found: usize,
        /// Of the property.
        expected: usize,
    },
    /// Too many leaves.
    #[error("it has more than {MAX_LEAVES} leaves")]
    TooMany,
    /// A leaf that does not fit the network or the case.
    #[error("case {case}, leaf {leaf}: {what}")]
    Leaf {
        /// The case, from 0.
        case: usize,
        /// The leaf, from 0.
        leaf: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A proof whose nodes are no tree over this network, or have slopes of another.
    #[error("case {case}: its nodes are no tree over this network")]
    Tree {
        /// The case, from 0.
        case: usize,
    },
    /// A proof whose bounds of hidden layers are of another network.
    #[error("its \"kept\" is not for this network's layers")]
    Kept,
    /// The question cannot be searched.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

#[derive(Deserialize)]
struct Format {
    format: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeavesFile {
    #[serde(rename = "format")]
    _format: String,
    cases: Vec<Vec<Leaf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaf {
    lower: Option<Vec<f64>>,
    upper: Option<Vec<f64>>,
    #[serde(default)]
    splits: Vec<(u32, u32, i8)>,
    constraint: Option<u32>,
    #[serde(default)]
    lower_slopes: Vec<Vec<f64>>,
    #[serde(default)]
    multipliers: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct ProofFile {
    cases: Vec<Vec<ProofNode>>,
    /// How many cases each tree is of; one each if it is not there.
    together: Option<Vec<String>>,
    kept: Option<ProofKept>,
}

/// What leaves of kept bounds read: a string a layer, a character a neuron.
#[derive(Deserialize)]
struct ProofKept {
    rows: Vec<Vec<Vec<String>>>,
    slopes: Vec<Vec<String>>,
}

/// A node of a proof; members that are not there are not looked at.
#[derive(Deserialize)]
struct ProofNode {
    node: String,
    coordinate: Option<String>,
    at: Option<String>,
    layer: Option<String>,
    neuron: Option<String>,
    children: Option<[String; 2]>,
    constraint: Option<String>,
    witness: Option<ProofWitness>,
    /// Of a leaf of kept bounds.
    slopes: Option<String>,
    multipliers: Option<String>,
}

#[derive(Deserialize)]
struct ProofWitness {
    lower: Vec<String>,
    upper: Vec<String>,
    multipliers: Vec<String>,
}

/// Where the search begins, and what became of what was given.
///
/// # Errors
/// [`LeavesError`].
pub fn begin_with_leaves(
    question: &Question,
    options: &BranchOptions,
    bytes: &[u8],
) -> Result<(SearchState, GivenCounts), LeavesError> {
    let policy = &question.policy;
    let wrong = |e: &dyn std::fmt::Display| VerifyError::Input(e.to_string());
    let network = FloatNetwork::from_model(&policy.network, None).map_err(|e| wrong(&e))?;
    let read = read_property(policy, &question.stated).map_err(|e| wrong(&e))?;
    let problems: Vec<BranchProblem<'_>> =
        read.cases.iter().map(|case| BranchProblem::new(&network, case)).collect();
    let expected = problems.len();
    let fits = |found| if found == expected { Ok(()) } else { Err(LeavesError::Cases { found, expected }) };
    let mut rows = None;
    let begun: Vec<(BranchState, GivenCounts)> =
        match serde_json::from_slice::<Format>(bytes)?.format.as_str() {
            LEAVES_FORMAT => {
                let file: LeavesFile = serde_json::from_slice(bytes)?;
                fits(file.cases.len())?;
                if file.cases.iter().map(Vec::len).sum::<usize>() > MAX_LEAVES {
                    return Err(LeavesError::TooMany);
                }
                let cases = file.cases.iter().zip(&problems).enumerate();
                cases
                    .map(|(case, (leaves, problem))| {
                        let given = leaves.iter().enumerate().map(|(leaf, given)| {
                            given_leaf(given, problem).map_err(|what| LeavesError::Leaf { case, leaf, what })
                        });
                        let given = given.collect::<Result<Vec<_>, _>>()?;
                        Ok(match given.is_empty() {
                            true => Default::default(),
                            false => state_of_leaves(problem, options, &given),
                        })
                    })
                    .collect::<Result<_, LeavesError>>()?
            }
            PROOF_FORMAT => {
                let file: ProofFile = serde_json::from_slice(bytes)?;
                let counts = cases_of_trees(&file).unwrap_or_default();
                fits(counts.iter().fold(0, |sum: usize, count| sum.saturating_add(*count)))?;
                let read = file.kept.as_ref().map(|kept| rows_of_proof(kept, &network)).transpose()?;
                let (own, noted) = read.map_or((None, Vec::new()), |(rows, noted)| (Some(rows), noted));
                rows = own;
                let (mut begun, mut first) = (Vec::new(), 0);
                for (nodes, count) in file.cases.iter().zip(counts) {
                    // A tree of several cases begins the search of all of them, which takes it from the first.
                    let tree = state_of_proof(nodes, &noted, &problems[first], options);
                    begun.push(tree.ok_or(LeavesError::Tree { case: first })?);
                    begun.resize_with(first + count, Default::default);
                    first += count;
                }
                begun
            }
            _ => return Err(LeavesError::Format),
        };
    let counts = begun.iter().fold(GivenCounts::default(), |sum, (_, counts)| sum.plus(*counts));
    Ok((SearchState { states: begun.into_iter().map(|(state, _)| state).collect(), rows }, counts))
}

/// The rows that hidden layers are bounded with, and the slopes that leaves name.
fn rows_of_proof(
    kept: &ProofKept,
    network: &FloatNetwork,
) -> Result<(KeptRows, Vec<StoredSlopes>), LeavesError> {
    let slopes = |layers: &[String]| -> Option<StoredSlopes> {
        let digit = |c: char| u8::try_from(c.to_digit(u32::from(SLOPE_PARTS) + 1)?).ok();
        layers.iter().map(|layer| layer.chars().map(digit).collect()).collect()
    };
    // The layers below a neuron's, first for the bound below, then for the one above.
    let sides = |layers: &Vec<String>| {
        let (below, above) = layers.split_at_checked(layers.len() / 2)?;
        Some([slopes(below)?, slopes(above)?])
    };
    let rows = kept.rows.iter().map(|layer| layer.iter().map(sides).collect()).collect::<Option<_>>();
    let noted = kept.slopes.iter().map(|layers| slopes(layers)).collect::<Option<_>>();
    let widths: Vec<usize> = network.layers.iter().map(|l| l.outputs).collect();
    rows.zip(noted).filter(|(rows, _)| rows_fit(rows, &widths)).ok_or(LeavesError::Kept)
}

/// Of how many cases each tree is, at least one; `None` if that is not said of every tree.
fn cases_of_trees(file: &ProofFile) -> Option<Vec<usize>> {
    let counts = match &file.together {
        None => vec![1; file.cases.len()],
        Some(counts) => counts.iter().map(|count| count.parse().ok()).collect::<Option<Vec<usize>>>()?,
    };
    (counts.len() == file.cases.len() && !counts.contains(&0)).then_some(counts)
}

fn given_leaf(leaf: &Leaf, problem: &BranchProblem<'_>) -> Result<GivenLeaf, &'static str> {
    let network = problem.network;
    let end = |given: &Option<Vec<f64>>, of_case: &[Rational]| {
        given.clone().unwrap_or_else(|| of_case.iter().map(rational_to_float).collect())
    };
    let (lower, upper) = (end(&leaf.lower, &problem.case.lower), end(&leaf.upper, &problem.case.upper));
    if lower.len() != network.inputs() || upper.len() != network.inputs() {
        return Err("lower and upper have one number for each input");
    }
    if !lower.iter().zip(&upper).all(|(l, u)| l <= u) {
        return Err("an end below is above the one above");
    }
    let split = |(layer, neuron, sign): &(u32, u32, i8)| {
        let exists = network.layers.get(*layer as usize).is_some_and(|l| (*neuron as usize) < l.outputs);
        (exists && [1, -1].contains(sign)).then_some(FloatSplit {
            layer: *layer,
            neuron: *neuron,
            positive: *sign > 0,
        })
    };
    let splits = leaf.splits.iter().map(split).collect::<Option<Vec<_>>>();
    let splits = splits.ok_or("a split is [layer, neuron, 1 or -1] of a neuron that exists, from 0")?;
    let unit = f64::from(SLOPE_DENOMINATOR);
    let evidence = match leaf.constraint {
        None => None,
        Some(constraint) if (constraint as usize) < problem.case.constraints.len() => {
            let slopes =
                |row: &Vec<f64>| row.iter().map(|s| (s.clamp(0.0, 1.0) * unit).round() as i32).collect();
            let multipliers =
                |row: &Vec<f64>| row.iter().map(|m| (m.clamp(0.0, 65_535.0) * unit) as u32).collect();
            let slopes = LeafSlopes {
                lower_slope: leaf.lower_slopes.iter().map(slopes).collect(),
                upper_slope: Vec::new(),
                multipliers: leaf.multipliers.iter().map(multipliers).collect(),
            };
            Some(GivenEvidence { constraint, slopes })
        }
        Some(_) => return Err("the case has no such constraint"),
    };
    Ok(GivenLeaf { lower, upper, splits, evidence })
}

fn state_of_proof(
    nodes: &[ProofNode],
    noted: &[StoredSlopes],
    problem: &BranchProblem<'_>,
    options: &BranchOptions,
) -> Option<(BranchState, GivenCounts)> {
    let number = |text: &Option<String>| text.as_ref()?.parse::<u32>().ok();
    let mut evidence = TreeEvidence::default();
    // Of the slopes that all trees of a proof share, a tree has those that its leaves name.
    let mut own = BTreeMap::new();
    let mut cuts = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let cut = match node.node.as_str() {
            "input" => {
                let at = rational_to_float(&Rational::parse(node.at.as_ref()?).ok()?);
                Some(Cut::Input { coordinate: number(&node.coordinate)?, at })
            }
            "relu" => Some(Cut::Relu { layer: number(&node.layer)?, neuron: number(&node.neuron)? }),
            _ => None,
        };
        cuts.push(match cut {
            Some(cut) => {
                let [first, second] = node.children.as_ref()?;
                Some((cut, [first.parse().ok()?, second.parse().ok()?]))
            }
            None => None,
        });
        if node.node == "leaf"
            && let (Some(constraint), Some(witness)) = (number(&node.constraint), &node.witness)
            && (constraint as usize) < problem.case.constraints.len()
        {
            let table =
                |rows: &[String]| rows.iter().map(|row| words(row)).collect::<Option<Vec<Vec<i64>>>>();
            let slopes = |rows: &[String]| -> Option<Vec<Vec<i32>>> {
                table(rows)?
                    .into_iter()
                    .map(|row| row.into_iter().map(|v| i32::try_from(v).ok()).collect())
                    .collect()
            };
            let multipliers = table(&witness.multipliers)?.into_iter();
            let multipliers = multipliers.map(|row| row.into_iter().map(|v| u32::try_from(v).ok()).collect());
            let slopes = LeafSlopes {
                lower_slope: slopes(&witness.lower)?,
                upper_slope: slopes(&witness.upper)?,
                multipliers: multipliers.collect::<Option<_>>()?,
            };
            evidence.own.insert(index, GivenEvidence { constraint, slopes });
        }
        if node.node == "kept" {
            let multipliers = words(node.multipliers.as_ref()?)?.into_iter().map(|m| u32::try_from(m).ok());
            let (named, multipliers) = (number(&node.slopes)?, multipliers.collect::<Option<_>>()?);
            let slopes = match own.get(&named) {
                Some(slopes) => *slopes,
                None => {
                    evidence.noted.push(noted.get(named as usize)?.clone());
                    let slopes = (evidence.noted.len() - 1) as u32;
                    own.insert(named, slopes);
                    slopes
                }
            };
            evidence.kept.push(GivenNumbers { node: index, slopes, multipliers });
        }
    }
    // Leaves of default slopes are tried first by the search anyway.
    state_of_tree(problem, options, &cuts, evidence)
}

fn words(row: &str) -> Option<Vec<i64>> {
    row.split(' ').filter(|word| !word.is_empty()).map(|word| word.parse().ok()).collect()
}
