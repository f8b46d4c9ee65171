//! Properties of a network and proofs about them, as strict JSON. Trusted. `spec/property.md`.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::kernel::crown::{RowWitness, Slopes};
use crate::kernel::fault::Fault;
use crate::kernel::relax::SlopeChoice;
use crate::kernel::split::{Case, LeafWitness, Node, OutputConstraint};
use crate::number::Rational;
use crate::reader::clause::Clause;
use crate::reader::cursor::SLOPE_UNIT;
use crate::reader::fields::{Document, Field, Fields};
use crate::reader::json::{self, Numbers};
use crate::reader::record::{Read, Record, list_or_absent, rationals, record};
use crate::reader::tensor::MAX_WIDTH;

/// Value of `format` in a property file.
pub const PROPERTY_FORMAT: &str = "secateur.property/1";
/// Value of `format` in a proof file.
pub const PROOF_FORMAT: &str = "secateur.proof/1";
/// Longest property file.
pub const MAX_PROPERTY: usize = 4 << 20;
/// Longest proof file.
pub(crate) const MAX_PROOF: usize = 64 << 20;
/// Most networks that a property speaks of.
pub const MAX_NETWORKS: usize = 16;
/// Longest name of one, in bytes.
const MAX_NETWORK_NAME: usize = 64;
/// A slope of one character: 0 to 9, then a to g for 16, is so many sixteenths.
const SIXTEENTH: i64 = SLOPE_UNIT << 12;
/// One more than the largest.
const SIXTEENTHS: u32 = 17;
/// Most digits of a slope or multiplier.
const MAX_UNIT_DIGITS: usize = 12;

record! {
    /// Some input satisfies some case (`sat`), or none satisfies any (`unsat`).
    pub struct Property {
        "format" = PROPERTY_FORMAT;
        /// The cases.
        cases: Vec<Case>,
        /// The networks, if the property names them: then a box is one of variables, and a constraint is on the outputs of
        /// all networks in turn, or on these and then the variables.
        networks: Vec<NamedNetwork> => networks,
    }
}

record! {
    /// A network that a property names.
    pub struct NamedNetwork {
        /// Its name in the property.
        name: String,
        /// The variable that each of its inputs reads, from 0.
        reads: Vec<usize>,
    }
}

/// Networks under different names, each fit to be a folder's.
fn networks(fields: &mut Fields<'_>, key: &str) -> Result<Vec<NamedNetwork>, Clause> {
    let networks: Vec<NamedNetwork> = list_or_absent("networks", MAX_NETWORKS)(fields, key)?;
    let names: BTreeSet<&str> = networks.iter().map(|network| network.name.as_str()).collect();
    let plain = |name: &&str| {
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        letters && !name.is_empty() && name.len() <= MAX_NETWORK_NAME
    };
    if names.len() == networks.len() && names.iter().all(plain) {
        return Ok(networks);
    }
    Err(fields.required(key)?.out_of_range("networks of different names, each of letters, digits, _ and -"))
}

record! {
    for Case {
        lower: Vec<Rational> => rationals::<MAX_WIDTH>,
        upper: Vec<Rational> => rationals::<MAX_WIDTH>,
        constraints: Vec<OutputConstraint>,
    }
}

record! {
    for OutputConstraint {
        coefficients: Vec<Rational> => rationals::<MAX_WIDTH>,
        bound: Rational,
    }
}

fn document(bytes: &[u8], cap: usize) -> Result<Document, Clause> {
    let (value, canonical) = json::parse_spelled(bytes, cap, Numbers::Refused)?;
    if canonical { Ok(Document::new(value, None)) } else { Err(Clause::NotCanonical) }
}

/// Reads a property file.
///
/// # Errors
/// [`Clause`].
pub fn parse_property(bytes: &[u8]) -> Result<Property, Clause> {
    let property = Property::read(&document(bytes, MAX_PROPERTY)?.root())?;
    if property.cases.is_empty() { Err(Clause::NoCases) } else { Ok(property) }
}

/// A proof file that was read: split trees, one per case or per several cases of one box. It is kept as text, and a node's numbers are made again whenever it
/// is asked for, so that they take memory for one leaf at a time.
#[derive(Clone, Debug)]
pub struct Proof {
    document: Document,
}

/// One tree of a proof.
#[derive(Debug)]
pub struct ProofTree<'a> {
    nodes: Vec<Field<'a>>,
    /// Slopes that nodes name by number.
    shared: Rc<[Field<'a>]>,
    /// How many cases it is about: those that follow the ones of the tree before.
    pub cases: usize,
    /// The children that each node names.
    pub children: Vec<Option<[usize; 2]>>,
}

impl ProofTree<'_> {
    /// A node and its number.
    ///
    /// # Errors
    /// [`Fault::Orphan`] if there is no such node.
    pub fn node(&self, index: usize) -> Result<(usize, Node), Fault> {
        // `Proof::trees` has read every node; what it can lack now is digits, which count again.
        let read = self.nodes.get(index).and_then(|field| node(field, &self.shared).ok());
        Ok((index, read.ok_or(Fault::Orphan { node: index })?))
    }
}

impl Proof {
    /// The trees, in the order of the cases, every node of them read once. Without `together` each is about one case.
    ///
    /// # Errors
    /// [`Clause`].
    pub fn trees(&self) -> Result<Vec<ProofTree<'_>>, Clause> {
        let mut fields = self.document.root().object()?;
        fields.required("format")?.word(PROOF_FORMAT)?;
        let field = fields.required("cases")?;
        let trees = field.array()?;
        let (together, kept) = (fields.optional("together"), fields.optional("kept"));
        fields.finish()?;
        let shared = kept.map(|kept| kept.object()?.required("slopes")?.array()).transpose()?;
        let shared: Rc<[Field<'_>]> = shared.unwrap_or_default().into();
        let cases: Vec<usize> = match &together {
            Some(list) => Vec::read(list)?,
            None => vec![1; trees.len()],
        };
        if cases.len() != trees.len() {
            return Err(field.out_of_range("one tree for each number under together"));
        }
        trees.iter().zip(cases).map(|(field, cases)| tree(field, shared.clone(), cases)).collect()
    }

    /// Rows of slopes for the bounds of each layer over the box of the first case, if leaves go on from these: by layer,
    /// neuron and side (below, above).
    ///
    /// # Errors
    /// [`Clause`].
    pub fn kept(&self) -> Result<Option<Vec<Vec<[RowWitness; 2]>>>, Clause> {
        let Some(kept) = self.document.root().object()?.optional("kept") else { return Ok(None) };
        let mut fields = kept.object()?;
        fields.required("slopes")?;
        let layers = fields.required("rows")?.array()?;
        fields.finish()?;
        let rows = |layer: &Field<'_>| layer.array()?.iter().map(sides).collect();
        layers.iter().map(rows).collect::<Result<_, Clause>>().map(Some)
    }
}

/// The slopes of one neuron's bounds: one string per layer below it for the bound below, then as many for the one above.
fn sides(field: &Field<'_>) -> Result<[RowWitness; 2], Clause> {
    let mut below = sixteenths(field)?;
    let above = below.split_off(below.len().div_euclid(2));
    Ok([below, above].map(|slopes| RowWitness { slopes, ..RowWitness::default() }))
}

/// One string per layer, one character per neuron: the slope of its line below.
fn sixteenths(field: &Field<'_>) -> Result<Slopes, Clause> {
    let slopes = |layer: &Field<'_>| {
        let slope = |c: char| {
            let digit = c.to_digit(SIXTEENTHS).filter(|_| !c.is_ascii_uppercase())?;
            Some(SlopeChoice { upper: None, lower: Some(SIXTEENTH.checked_mul(digit.into())?) })
        };
        let slopes: Option<_> = layer.string()?.chars().map(slope).collect();
        slopes.ok_or_else(|| layer.out_of_range("characters 0 to 9 and a to g"))
    };
    field.array()?.iter().map(slopes).collect()
}

fn tree<'a>(field: &Field<'a>, shared: Rc<[Field<'a>]>, cases: usize) -> Result<ProofTree<'a>, Clause> {
    let nodes = field.array()?;
    let children = nodes.iter().map(|n| Ok(node(n, &shared)?.children())).collect::<Result<_, Clause>>()?;
    Ok(ProofTree { nodes, shared, cases, children })
}

/// Reads a proof file.
///
/// # Errors
/// [`Clause`].
pub fn parse_proof(bytes: &[u8]) -> Result<Proof, Clause> {
    Ok(Proof { document: document(bytes, MAX_PROOF)? })
}

fn node(field: &Field<'_>, shared: &[Field<'_>]) -> Result<Node, Clause> {
    let mut own = field.object()?;
    let kind = own.required("node")?;
    let node = match kind.string()? {
        "input" => Node::Input {
            coordinate: usize::under(&mut own, "coordinate")?,
            at: Rational::under(&mut own, "at")?,
            children: children(&mut own)?,
        },
        "relu" => Node::Relu {
            layer: usize::under(&mut own, "layer")?,
            neuron: usize::under(&mut own, "neuron")?,
            children: children(&mut own)?,
        },
        "leaf" => Node::Leaf {
            constraint: usize::under(&mut own, "constraint")?,
            witness: Option::under(&mut own, "witness")?,
        },
        "combination" => Node::Combination {
            multipliers: numbers(&own.required("multipliers")?, 1)?,
            witness: Option::under(&mut own, "witness")?,
        },
        "empty" => Node::Empty,
        "farkas" => Node::Farkas { witness: LeafWitness::under(&mut own, "witness")? },
        "kept" => {
            let number = own.required("slopes")?;
            let slopes = shared.get(number.count()?);
            Node::Kept {
                constraint: usize::under(&mut own, "constraint")?,
                slopes: sixteenths(slopes.ok_or_else(|| number.out_of_range("a number of shared slopes"))?)?,
                multipliers: numbers(&own.required("multipliers")?, 1)?,
            }
        }
        _ => return Err(kind.unknown_word("input, relu, leaf, combination, empty, farkas or kept")),
    };
    own.finish()?;
    Ok(node)
}

fn children(fields: &mut Fields<'_>) -> Result<[usize; 2], Clause> {
    let field = fields.required("children")?;
    let nodes = <[usize; 2]>::try_from(Vec::read(&field)?);
    nodes.map_err(|_| field.out_of_range("a list of two nodes"))
}

impl Record for LeafWitness {
    fn part(fields: &mut Fields<'_>) -> Result<Self, Clause> {
        let lower = tables(&fields.required("lower")?, SLOPE_UNIT)?;
        let upper = tables(&fields.required("upper")?, SLOPE_UNIT)?;
        let multipliers = tables(&fields.required("multipliers")?, 1)?;
        // A layer that one list lacks takes the slopes of the relaxation: any slopes are sound.
        let slopes = lower.iter().zip(&upper).map(|(below, above)| {
            let choice =
                |n: usize| SlopeChoice { upper: above.get(n).copied(), lower: below.get(n).copied() };
            (0..below.len().max(above.len())).map(choice).collect()
        });
        Ok(Self { slopes: slopes.collect(), multipliers })
    }
}

/// One string per layer.
fn tables(field: &Field<'_>, unit: i64) -> Result<Vec<Vec<i64>>, Clause> {
    field.array()?.iter().map(|layer| numbers(layer, unit)).collect()
}

/// Whole numbers separated by single spaces, or nothing.
fn numbers(field: &Field<'_>, unit: i64) -> Result<Vec<i64>, Clause> {
    let text = field.string()?;
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
    numbers.ok_or_else(|| field.out_of_range("whole numbers separated by single spaces"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{NumberError, Rational};
    use crate::reader::clause::Part;

    const CASE: &str =
        r#"{"constraints":[{"bound":"0.5","coefficients":["1","-2"]}],"lower":["0"],"upper":["1/3"]}"#;

    fn property(cases: &str) -> Result<Property, Clause> {
        parse_property(format!(r#"{{"cases":[{cases}],"format":"secateur.property/1"}}"#).as_bytes())
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<Node>>, Clause> {
        let proof = parse_proof(bytes)?;
        let nodes = |t: &ProofTree<'_>| (0..t.children.len()).map(|i| t.node(i).unwrap().1).collect();
        Ok(proof.trees()?.iter().map(nodes).collect())
    }

    fn proof(nodes: &str) -> Result<Vec<Vec<Node>>, Clause> {
        read(format!(r#"{{"cases":[[{nodes}]],"format":"secateur.proof/1"}}"#).as_bytes())
    }

    fn witness_with(lower: &str, multipliers: &str) -> Result<Vec<Vec<Node>>, Clause> {
        let (lower, multipliers) = (format!(r#""{lower}""#), format!(r#""{multipliers}""#));
        let witness = format!(r#"{{"lower":[{lower}],"multipliers":[{multipliers}],"upper":[""]}}"#);
        proof(&format!(r#"{{"node":"farkas","witness":{witness}}}"#))
    }

    fn at<T: core::fmt::Debug>(result: Result<T, Clause>) -> (&'static str, String) {
        let (path, clause) = match result.expect_err("refused") {
            Clause::Within { part: Part::Value(path), clause } => (path, *clause),
            clause => (String::new(), clause),
        };
        match clause {
            Clause::MissingKey { key } => ("missing", format!("{path}.{}", key.0)),
            Clause::UnknownKey { key } => ("unknown", format!("{path}.{}", key.0)),
            Clause::WrongType { .. } => ("type", path),
            Clause::UnknownWord { .. } => ("word", path),
            Clause::NotANumber { .. } => ("number", path),
            Clause::OutOfRange { .. } => ("range", path),
            Clause::TooMany { .. } => ("many", path),
            Clause::TooManyDigits { at } => ("digits", at.0),
            Clause::NotCanonical => ("canonical", String::new()),
            Clause::NoCases => ("cases", String::new()),
            _ => ("json", String::new()),
        }
    }

    fn refused(kind: &'static str, path: &str) -> (&'static str, String) {
        (kind, path.to_owned())
    }

    #[test]
    fn numbers_of_a_property_are_exact() {
        let parsed = property(CASE).unwrap();
        let number = |text| Rational::parse(text).unwrap();
        let constraint =
            OutputConstraint { coefficients: vec![number("1"), number("-2")], bound: number("1/2") };
        let case =
            Case { lower: vec![number("0")], upper: vec![number("1/3")], constraints: vec![constraint] };
        assert_eq!(parsed, Property { cases: vec![case], networks: Vec::new() });
    }

    #[test]
    fn properties_are_refused_by_clause() {
        assert_eq!(at(property("")), refused("cases", ""));
        assert_eq!(at(property(&format!(" {CASE}"))), refused("canonical", ""));
        assert_eq!(at(property("1")), refused("json", ""));
        assert_eq!(at(property(r#""x""#)), refused("type", "cases[0]"));
        assert_eq!(at(property(&CASE.replace("lower", "least"))), refused("missing", "cases[0].lower"));
        let more = CASE.replacen('{', r#"{"about":"x","#, 1);
        assert_eq!(at(property(&more)), refused("unknown", "cases[0].about"));
        let within = CASE.replace(r#"{"bound""#, r#"{"also":"x","bound""#);
        assert_eq!(at(property(&within)), refused("unknown", "cases[0].constraints[0].also"));
        assert_eq!(at(property(&CASE.replace("1/3", "1/0"))), refused("number", "cases[0].upper[0]"));
        let zero = Clause::NotANumber { error: NumberError::ZeroDenominator }
            .within(Part::Value("cases[0].upper[0]".into()));
        assert_eq!(property(&CASE.replace("1/3", "1/0")), Err(zero));
        assert_eq!(
            at(property(&CASE.replace("0.5", "nan"))),
            refused("number", "cases[0].constraints[0].bound")
        );
        let other = br#"{"cases":[],"format":"secateur.property/2"}"#;
        assert_eq!(at(parse_property(other)), refused("word", "format"));
        let extra = br#"{"cases":[],"format":"secateur.property/1","more":"x"}"#;
        assert_eq!(at(parse_property(extra)), refused("unknown", ".more"));
        let large = vec![b' '; MAX_PROPERTY + 1];
        let size = Clause::TooLarge { size: MAX_PROPERTY + 1, cap: MAX_PROPERTY };
        assert_eq!(parse_property(&large), Err(size));
    }

    #[test]
    fn every_kind_of_node_is_read() {
        let nodes = [
            r#"{"at":"1/4","children":["1","2"],"coordinate":"0","node":"input"}"#,
            r#"{"children":["3","4"],"layer":"1","neuron":"7","node":"relu"}"#,
            r#"{"constraint":"2","node":"leaf"}"#,
            r#"{"constraint":"0","node":"leaf","witness":{"lower":["1 -2"],"multipliers":[""],"upper":[""]}}"#,
            r#"{"node":"empty"}"#,
            r#"{"multipliers":"1 0 -3","node":"combination"}"#,
        ];
        let witness = LeafWitness {
            slopes: vec![vec![
                SlopeChoice { lower: Some(SLOPE_UNIT), upper: None },
                SlopeChoice { lower: Some(-2 * SLOPE_UNIT), upper: None },
            ]],
            multipliers: vec![vec![]],
        };
        let expected = vec![
            Node::Input { coordinate: 0, at: Rational::parse("1/4").unwrap(), children: [1, 2] },
            Node::Relu { layer: 1, neuron: 7, children: [3, 4] },
            Node::Leaf { constraint: 2, witness: None },
            Node::Leaf { constraint: 0, witness: Some(witness) },
            Node::Empty,
            Node::Combination { multipliers: vec![1, 0, -3], witness: None },
        ];
        assert_eq!(proof(&nodes.join(",")), Ok(vec![expected]));
        let multipliers = LeafWitness { slopes: vec![vec![]], multipliers: vec![vec![0, 65536]] };
        assert_eq!(witness_with("", "0 65536"), Ok(vec![vec![Node::Farkas { witness: multipliers }]]));
    }

    fn with_kept(node: &str, kept: &str) -> Result<Vec<Vec<Node>>, Clause> {
        let kept = format!(r#","kept":{{"rows":[],"slopes":{kept}}}"#);
        read(format!(r#"{{"cases":[[{node}]],"format":"secateur.proof/1"{kept}}}"#).as_bytes())
    }

    /// `0` is slope 0, `g` is 16 sixteenths: 65536 units. Tables are named by number.
    #[test]
    fn shared_slopes_are_sixteenths() {
        let node = |slopes: &str| {
            format!(r#"{{"constraint":"1","multipliers":"7 0","node":"kept","slopes":"{slopes}"}}"#)
        };
        let slope = |parts: i64| SlopeChoice { lower: Some(parts * 4096 * SLOPE_UNIT), upper: None };
        let expected = Node::Kept {
            constraint: 1,
            slopes: vec![vec![slope(0), slope(16)], vec![]],
            multipliers: vec![7, 0],
        };
        assert_eq!(with_kept(&node("1"), r#"[["8"],["0g",""]]"#), Ok(vec![vec![expected]]));
        assert_eq!(at(with_kept(&node("2"), r#"[["8"],["0g",""]]"#)), refused("range", "cases[0][0].slopes"));
        assert_eq!(at(proof(&node("0"))), refused("range", "cases[0][0].slopes"));
        for wrong in ["h", "G", "-", " "] {
            let found = with_kept(&node("0"), &format!(r#"[["0{wrong}"]]"#));
            assert_eq!(at(found).0, "range", "{wrong:?}");
        }
        let rows = |text: &str| {
            let file = format!(r#"{{"cases":[],"format":"secateur.proof/1","kept":{text}}}"#);
            parse_proof(file.as_bytes()).unwrap().kept()
        };
        let found = rows(r#"{"rows":[[],[["8","g"],[]]],"slopes":[]}"#).unwrap().unwrap();
        let side = |parts| RowWitness { slopes: vec![vec![slope(parts)]], ..RowWitness::default() };
        assert_eq!(found, vec![vec![], vec![[side(8), side(16)], <[RowWitness; 2]>::default()]]);
        for wrong in [r#"{"rows":[]}"#, r#"{"slopes":[]}"#, r#"{"more":"","rows":[],"slopes":[]}"#] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nodes_are_refused_by_clause() {
        let node = |text: &str| at(proof(text));
        assert_eq!(node(r#"{"node":"hole"}"#), refused("word", "cases[0][0].node"));
        assert_eq!(node(r#"{"children":["1","2"]}"#), refused("missing", "cases[0][0].node"));
        assert_eq!(node(r#"{"node":"farkas"}"#), refused("missing", "cases[0][0].witness"));
        assert_eq!(node(r#"{"node":"leaf"}"#), refused("missing", "cases[0][0].constraint"));
        assert_eq!(node(r#"{"node":"combination"}"#), refused("missing", "cases[0][0].multipliers"));
        for bad in [r#"["1"]"#, r#"{}"#] {
            let text = format!(r#"{{"multipliers":{bad},"node":"combination"}}"#);
            assert_eq!(node(&text), refused("type", "cases[0][0].multipliers"));
        }
        for bad in ["1/2", "1  1", "0.5"] {
            let text = format!(r#"{{"multipliers":"{bad}","node":"combination"}}"#);
            assert_eq!(node(&text), refused("range", "cases[0][0].multipliers"));
        }
        assert_eq!(node(r#"{"node":"empty","witness":"x"}"#), refused("unknown", "cases[0][0].witness"));
        let relu = |children: &str, neuron: &str| {
            node(&format!(r#"{{"children":{children},"layer":"0","neuron":"{neuron}","node":"relu"}}"#))
        };
        for children in [r#"["1"]"#, r#"["1","2","3"]"#, "[]"] {
            assert_eq!(relu(children, "0"), refused("range", "cases[0][0].children"));
        }
        assert_eq!(relu(r#"["1","-2"]"#, "0"), refused("range", "cases[0][0].children[1]"));
        assert_eq!(relu(r#"["1","2"]"#, "00"), refused("range", "cases[0][0].neuron"));
        let input = r#"{"at":"1/0","children":["1","2"],"coordinate":"0","node":"input"}"#;
        assert_eq!(node(input), refused("number", "cases[0][0].at"));
        let other = br#"{"cases":[],"format":"secateur.proof/2"}"#;
        assert_eq!(at(read(other)), refused("word", "format"));
        let extra = br#"{"cases":[],"format":"secateur.proof/1","holes":[]}"#;
        assert_eq!(at(read(extra)), refused("unknown", ".holes"));
    }

    #[test]
    fn tables_are_whole_numbers_and_single_spaces() {
        for good in ["", "0", "-1", "65536 0 1", "999999999999"] {
            assert!(witness_with(good, good).is_ok(), "{good:?}");
        }
        for bad in [" ", "1 ", " 1", "1  2", "+1", "-", "0x1", "1.5", "1,2", "1000000000000"] {
            assert_eq!(
                at(witness_with(bad, "")),
                refused("range", "cases[0][0].witness.lower[0]"),
                "{bad:?}"
            );
            let multipliers = refused("range", "cases[0][0].witness.multipliers[0]");
            assert_eq!(at(witness_with("", bad)), multipliers, "{bad:?}");
        }
        let lacking = r#"{"node":"farkas","witness":{"lower":[],"multipliers":[]}}"#;
        assert_eq!(at(proof(lacking)), refused("missing", "cases[0][0].witness.upper"));
    }
}
