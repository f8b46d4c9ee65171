//! Properties of a network and proofs about them, as strict JSON. Trusted. `spec/property.md`.

use core::fmt;

use crate::kernel::relax::SlopeChoice;
use crate::kernel::split::{Case, LeafWitness, Node, OutputConstraint};
use crate::reader::fields::{Field, FieldError, Fields};
use crate::reader::json::{JsonError, Numbers, Value, canonical, parse};

/// Value of `format` in a property file.
pub const PROPERTY_FORMAT: &str = "secateur.property/1";
/// Value of `format` in a proof file.
pub const PROOF_FORMAT: &str = "secateur.proof/1";
/// Longest property file.
pub const MAX_PROPERTY: usize = 4 << 20;
/// Longest proof file.
pub const MAX_PROOF: usize = 64 << 20;
/// Slopes are written in units of 1/65536; the slope grid has 8 bits more.
const SLOPE_UNIT: i64 = 256;
/// Most digits of a slope or multiplier.
const MAX_UNIT_DIGITS: usize = 12;

/// Why bytes are no property or proof.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyError {
    /// Not strict JSON.
    Json(JsonError),
    /// A field is missing, unknown or of the wrong kind.
    Field(FieldError),
    /// Not in the canonical form of RFC 8785.
    NotCanonical,
    /// No case at all: such a property holds of nothing.
    NoCases,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(e) => e.fmt(f),
            Self::Field(e) => e.fmt(f),
            Self::NotCanonical => f.write_str("not canonical JSON (RFC 8785)"),
            Self::NoCases => f.write_str("the property has no case"),
        }
    }
}

impl From<FieldError> for PropertyError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

/// Some input satisfies some case (`sat`), or none satisfies any (`unsat`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The cases.
    pub cases: Vec<Case>,
}

fn document(bytes: &[u8], cap: usize) -> Result<Value, PropertyError> {
    let value = parse(bytes, cap, Numbers::Refused).map_err(PropertyError::Json)?;
    if canonical(&value).as_bytes() == bytes { Ok(value) } else { Err(PropertyError::NotCanonical) }
}

/// Reads a property file.
///
/// # Errors
/// [`PropertyError`].
pub fn parse_property(bytes: &[u8]) -> Result<Property, PropertyError> {
    let value = document(bytes, MAX_PROPERTY)?;
    let mut fields = Field::root(&value).object()?;
    fields.required("format")?.word(PROPERTY_FORMAT)?;
    let cases = fields.required("cases")?.array()?.iter().map(case).collect::<Result<Vec<_>, _>>()?;
    fields.finish()?;
    if cases.is_empty() { Err(PropertyError::NoCases) } else { Ok(Property { cases }) }
}

fn case(field: &Field<'_>) -> Result<Case, FieldError> {
    let mut fields = field.object()?;
    let lower = fields.required("lower")?.rationals()?;
    let upper = fields.required("upper")?.rationals()?;
    let constraints = fields.required("constraints")?.array()?;
    fields.finish()?;
    Ok(Case { lower, upper, constraints: constraints.iter().map(constraint).collect::<Result<_, _>>()? })
}

fn constraint(field: &Field<'_>) -> Result<OutputConstraint, FieldError> {
    let mut fields = field.object()?;
    let coefficients = fields.required("coefficients")?.rationals()?;
    let bound = fields.required("bound")?.rational()?;
    fields.finish()?;
    Ok(OutputConstraint { coefficients, bound })
}

/// Reads a proof file: one split tree per case.
///
/// # Errors
/// [`PropertyError`].
pub fn parse_proof(bytes: &[u8]) -> Result<Vec<Vec<Node>>, PropertyError> {
    let value = document(bytes, MAX_PROOF)?;
    let mut fields = Field::root(&value).object()?;
    fields.required("format")?.word(PROOF_FORMAT)?;
    let trees = fields.required("cases")?.array()?;
    fields.finish()?;
    let tree = |t: &Field<'_>| t.array()?.iter().map(node).collect::<Result<Vec<_>, _>>();
    Ok(trees.iter().map(tree).collect::<Result<_, _>>()?)
}

fn node(field: &Field<'_>) -> Result<Node, FieldError> {
    let mut fields = field.object()?;
    let kind = fields.required("node")?;
    let node = match kind.string()? {
        "input" => Node::Input {
            coordinate: fields.required("coordinate")?.count()?,
            at: fields.required("at")?.rational()?,
            children: children(&mut fields)?,
        },
        "relu" => Node::Relu {
            layer: fields.required("layer")?.count()?,
            neuron: fields.required("neuron")?.count()?,
            children: children(&mut fields)?,
        },
        "leaf" => Node::Leaf {
            constraint: fields.required("constraint")?.count()?,
            witness: fields.optional("witness").map(|w| witness(&w)).transpose()?,
        },
        "empty" => Node::Empty,
        "farkas" => Node::Farkas { witness: witness(&fields.required("witness")?)? },
        _ => return Err(kind.unknown_word("input, relu, leaf, empty or farkas")),
    };
    fields.finish()?;
    Ok(node)
}

fn children(fields: &mut Fields<'_>) -> Result<[usize; 2], FieldError> {
    let field = fields.required("children")?;
    let items = field.array()?;
    match items.as_slice() {
        [first, second] => Ok([first.count()?, second.count()?]),
        _ => Err(field.out_of_range("a list of two nodes")),
    }
}

fn witness(field: &Field<'_>) -> Result<LeafWitness, FieldError> {
    let mut fields = field.object()?;
    let lower = tables(&fields.required("lower")?, SLOPE_UNIT)?;
    let upper = tables(&fields.required("upper")?, SLOPE_UNIT)?;
    let multipliers = tables(&fields.required("multipliers")?, 1)?;
    fields.finish()?;
    let slopes = lower.iter().zip(&upper).map(|(below, above)| {
        let choice = |n: usize| SlopeChoice { upper: above.get(n).copied(), lower: below.get(n).copied() };
        (0..below.len().max(above.len())).map(choice).collect()
    });
    Ok(LeafWitness { slopes: slopes.collect(), multipliers })
}

/// One string per layer: whole numbers separated by single spaces, or nothing.
fn tables(field: &Field<'_>, unit: i64) -> Result<Vec<Vec<i64>>, FieldError> {
    let layer = |item: &Field<'_>| -> Result<Vec<i64>, FieldError> {
        let text = item.string()?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let number = |word: &str| {
            let body = word.strip_prefix('-').unwrap_or(word);
            let plain =
                !body.is_empty() && body.len() <= MAX_UNIT_DIGITS && body.bytes().all(|b| b.is_ascii_digit());
            let parsed: Option<i64> = if plain { word.parse().ok() } else { None };
            parsed.and_then(|n| n.checked_mul(unit))
        };
        let numbers: Option<Vec<i64>> = text.split(' ').map(number).collect();
        numbers.ok_or_else(|| item.out_of_range("whole numbers separated by single spaces"))
    };
    field.array()?.iter().map(layer).collect()
}
