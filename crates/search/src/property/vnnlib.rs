//! VNN-LIB 1.0 (2.0: [`version2`]): `declare-const` of `X_i` and `Y_j`, `assert` of `<=`, `>=`, `and`, `or` over linear terms, put into
//! disjunctive normal form with exact numbers. Untrusted; what cannot be read is an error, never an empty property.
//! `spec/semantics.md#properties`.
//!
//! Reference: VNN-LIB 1.0, Guidotti, Demarchi, Tacchella, Pulina (2023), the subset of VNN-COMP. Limits: every input
//! has a constant lower and upper bound in every disjunct; no constraint reads two inputs, or inputs and outputs.

pub mod expression;
pub mod version2;

use std::collections::BTreeMap;
use std::fmt;

use num_bigint::BigInt;
pub use secateur_checker::kernel::split::{Case, OutputConstraint};
use secateur_checker::number::{NumberError, Rational, cost};
use secateur_checker::reader::fields::MAX_DIGITS;

use super::several::{DeclaredTensor, Several};
use expression::{Expression, Node, parse_expressions};

/// Most disjuncts of a normal form.
pub const MAX_DISJUNCTS: usize = 16_384;
/// Most inputs or outputs.
pub const MAX_VARIABLES: usize = 1 << 20;

/// A place in the file; both count from 1, columns in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a file is not a property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VnnlibError {
    /// A parenthesis is never closed.
    #[error("{at}: this parenthesis is never closed")]
    Unclosed {
        /// Where it opens.
        at: Position,
    },
    /// A closing parenthesis without an opening one.
    #[error("{at}: this parenthesis closes nothing")]
    Unopened {
        /// Where it stands.
        at: Position,
    },
    /// Nested too deeply.
    #[error("{at}: nested too deeply")]
    TooDeep {
        /// The parenthesis that is one too many.
        at: Position,
    },
    /// A character outside printable ASCII.
    #[error("{at}: only printable ASCII characters can be read outside comments, not U+{code:04X}")]
    Character {
        /// Where it stands.
        at: Position,
        /// Its code point; U+FFFD for bytes that are no UTF-8.
        code: u32,
    },
    /// A word of the next version of the format in a file of this one.
    #[error(
        "{at}: this is a word of VNN-LIB 2.0 in a file that begins as VNN-LIB 1.0; begin it with (vnnlib-version <2.0>) and \
         declare-network, and leave declare-const out"
    )]
    Version2 {
        /// Its first word of that version.
        at: Position,
    },
    /// VNN-LIB 2.0 without its first line.
    #[error("{at}: VNN-LIB 2.0 begins with (vnnlib-version <2.0>); write that line first")]
    NoVersion {
        /// The first command.
        at: Position,
    },
    /// Another version, or the line a second time.
    #[error("{at}: only VNN-LIB 1.0 and 2.x are read; the line is (vnnlib-version <2.0>), once")]
    Version {
        /// Where it stands.
        at: Position,
    },
    /// Not a command of VNN-LIB 2.0.
    #[error("{at}: expected (declare-network NAME ...), then (assert FORMULA)")]
    Command2 {
        /// Where it starts.
        at: Position,
    },
    /// A network behind an assertion.
    #[error("{at}: networks are declared before the first assert")]
    Late {
        /// Where it starts.
        at: Position,
    },
    /// Not a network's declaration.
    #[error(
        "{at}: expected (declare-network NAME (declare-input NAME TYPE [SHAPE]) (declare-output NAME TYPE [SHAPE])), with \
         (equal-to NAME) or (isomorphic-to NAME) behind the network's name if need be"
    )]
    Network {
        /// Where it starts.
        at: Position,
    },
    /// Not a name.
    #[error("{at}: expected a name: a letter, then letters, digits and underscores")]
    Name {
        /// Where it stands.
        at: Position,
    },
    /// A name for the second time.
    #[error("{at}: {name} is declared twice")]
    Twice {
        /// Where it stands.
        at: Position,
        /// The name.
        name: String,
    },
    /// A network that is not declared before.
    #[error("{at}: no network {name} is declared before this one")]
    NoNetwork {
        /// Where it is named.
        at: Position,
        /// Its name.
        name: String,
    },
    /// A network whose tensors differ from those of the one that it is equal or isomorphic to.
    #[error("{at}: its tensors have other types or shapes than those of {name}, which it is said to equal")]
    OtherShape {
        /// Where the network starts.
        at: Position,
        /// The other network.
        name: String,
    },
    /// An element type that is not read.
    #[error("{at}: elements of type {name} are not read; write real, float32 or float64")]
    Element {
        /// Where it stands.
        at: Position,
        /// Its first characters.
        name: String,
    },
    /// A dimension of 0, or too many elements.
    #[error("{at}: every dimension is at least 1, and all tensors together have at most 1,048,576 elements")]
    Shape {
        /// Where the tensor's type stands.
        at: Position,
    },
    /// Brackets that hold no numbers, or that follow no word.
    #[error("{at}: expected numbers in brackets behind a word: X[0,1] or real [1,5]")]
    Brackets {
        /// Where they open, or the stray one.
        at: Position,
    },
    /// An index outside the tensor.
    #[error(
        "{at}: there is no such element of {name}, whose shape is [{shape}]; indices count from 0, one a dimension"
    )]
    Index {
        /// Where it stands.
        at: Position,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// Not a formula of VNN-LIB 2.0.
    #[error("{at}: expected (and ...), (or ...), or one of <=, <, >=, >, ==, != of two terms")]
    Formula2 {
        /// Where it starts.
        at: Position,
    },
    /// Not a term of VNN-LIB 2.0.
    #[error("{at}: expected an element of a declared tensor, a decimal number, or +, -, * of such")]
    Term2 {
        /// Where it starts.
        at: Position,
    },
    /// An input without a lower or upper bound.
    #[error("input {name} has no lower or no upper bound in some case")]
    UnboundedVariable {
        /// The input.
        name: String,
    },
    /// Declarations of SMT-LIB.
    #[error("{at}: declare-fun is SMT-LIB and not read; write (declare-const X_0 Real)")]
    DeclareFun {
        /// Where it starts.
        at: Position,
    },
    /// A command of SMT-LIB or none.
    #[error("{at}: the command {name} is not read; remove it, a property has declare-const and assert only")]
    UnknownCommand {
        /// Where it starts.
        at: Position,
        /// Its first characters.
        name: String,
    },
    /// Not `(declare-const NAME Real)` or `(assert FORMULA)`.
    #[error("{at}: expected (declare-const NAME Real) or (assert FORMULA)")]
    Command {
        /// Where it starts.
        at: Position,
    },
    /// A name other than `X_i` or `Y_j`, declared twice, or with an index that is too large.
    #[error("{at}: expected a new name X_0, X_1, ... or Y_0, Y_1, ...")]
    Declaration {
        /// Where the name stands.
        at: Position,
    },
    /// The indices of `X` or `Y` have a gap, or there is none.
    #[error("the variables {prefix}_0, {prefix}_1, ... are not all declared, or there is none")]
    Gap {
        /// `X` or `Y`.
        prefix: char,
    },
    /// A formula of SMT-LIB that is not read.
    #[error("{at}: {name} is not read; {instead}")]
    Operator {
        /// Where it starts.
        at: Position,
        /// What it is.
        name: &'static str,
        /// What to write.
        instead: &'static str,
    },
    /// Not `(and ...)`, `(or ...)`, `(<= a b)` or `(>= a b)`.
    #[error("{at}: expected (and ...), (or ...), (<= a b) or (>= a b)")]
    Formula {
        /// Where it starts.
        at: Position,
    },
    /// Not a declared variable, a number, or `+`, `-`, `*` of such.
    #[error("{at}: expected a declared variable, a decimal number, or a linear term of such")]
    Term {
        /// Where it starts.
        at: Position,
    },
    /// A number that is too long.
    #[error("{at}: {reason}")]
    Number {
        /// Where it stands.
        at: Position,
        /// What is wrong with it.
        reason: NumberError,
    },
    /// A comparison that reads several inputs, or inputs and outputs.
    #[error("{at}: a comparison may read one input, or outputs, not both nor several inputs")]
    Mixed {
        /// Where it starts.
        at: Position,
    },
    /// The normal form has more than [`MAX_DISJUNCTS`] disjuncts.
    #[error("the property has too many cases")]
    TooManyCases,
    /// The numbers have more than [`MAX_DIGITS`] digits, those that exponents stand for included.
    #[error(
        "the property's numbers have more than {MAX_DIGITS} digits, those that exponents stand for included"
    )]
    TooManyDigits,
    /// Nothing is asserted.
    #[error("the property asserts nothing")]
    Empty,
    /// An input without a lower or upper bound.
    #[error("input X_{input} has no lower or no upper bound in some case")]
    Unbounded {
        /// Index of the input.
        input: usize,
    },
    /// No case has any input, so that it would hold of every network.
    #[error("no input satisfies the property's bounds, so that it says nothing about a network")]
    Vacuous,
}

/// A property asks whether some input satisfies some case: `sat` if so, `unsat` if none does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// The cases, at least one; those with an empty box are left out.
    pub cases: Vec<Case>,
    /// Where some comparison is strict, `cases` has it relaxed to the closed one; these imply what is stated, one a case,
    /// `None` where nothing is left.
    pub tightened: Option<Vec<Option<Case>>>,
    /// The input and the output tensor that VNN-LIB 2.0 declares.
    pub tensors: Option<[DeclaredTensor; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variable {
    Input(usize),
    Output(usize),
}

/// `sum coefficients + constant`.
#[derive(Clone, Debug)]
struct Term {
    coefficients: BTreeMap<Variable, Rational>,
    constant: Rational,
}

/// `term <= 0`.
type Atom = Term;
type Declared<'a> = BTreeMap<&'a str, Variable>;

/// Reads a property exactly.
///
/// # Errors
/// [`VnnlibError`], one variant per reason.
pub fn parse_vnnlib(text: &str) -> Result<Property, VnnlibError> {
    within_digits(text)?;
    let expressions = parse_expressions(text)?;
    let mut declared = Declared::new();
    let mut cases: Option<Vec<Vec<Atom>>> = None;
    for command in &expressions {
        let Node::List(parts) = &command.node else { return Err(VnnlibError::Command { at: command.at }) };
        match parts.iter().map(|p| &p.node).collect::<Vec<_>>().as_slice() {
            [Node::Atom("declare-const"), Node::Atom(name), Node::Atom("Real")] => {
                let at = parts[1].at;
                let variable = variable_of(name).ok_or(VnnlibError::Declaration { at })?;
                if declared.insert(name, variable).is_some() {
                    return Err(VnnlibError::Declaration { at });
                }
            }
            [Node::Atom("assert"), _] => {
                let found = normal_form(&parts[1], &declared)?;
                cases = Some(match cases {
                    None => found,
                    Some(before) => product(&before, &found)?,
                });
            }
            _ => return Err(refuse_command(command.at, parts)),
        }
    }
    let inputs = count(&declared, 'X', |v| matches!(v, Variable::Input(_)))?;
    let outputs = count(&declared, 'Y', |v| matches!(v, Variable::Output(_)))?;
    let mut kept = Vec::new();
    for atoms in cases.ok_or(VnnlibError::Empty)? {
        kept.extend(case_of(inputs, outputs, &atoms)?);
    }
    if kept.is_empty() {
        return Err(VnnlibError::Vacuous);
    }
    Ok(Property { inputs, outputs, cases: kept, tightened: None, tensors: None })
}

/// Either version of the format: a property of one network's outputs, or of several networks or of inputs among each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One network, constraints on its outputs.
    One(Property),
    /// The rest.
    Several(Several),
}

/// As [`parse_property_text`], with one network's property in the form of several: every comparison as it is stated.
///
/// # Errors
/// [`VnnlibError`].
pub fn parse_as_several(text: &str) -> Result<Several, VnnlibError> {
    if is_version_2(text) { version2::parse_several(text) } else { parse_vnnlib(text).map(Several::from) }
}

/// Reads a property of either version exactly; VNN-LIB 2.0 is told by its first word.
///
/// # Errors
/// [`VnnlibError`], one variant per reason.
pub fn parse_property_text(text: &str) -> Result<Asked, VnnlibError> {
    if !is_version_2(text) {
        return parse_vnnlib(text).map(Asked::One);
    }
    let several = version2::parse_several(text)?;
    Ok(several.single().map_or(Asked::Several(several), Asked::One))
}

/// Whether the first word is one of VNN-LIB 2.0.
pub fn is_version_2(text: &str) -> bool {
    let code = text.lines().map(|line| line.split(';').next().unwrap_or(""));
    let mut words = code.flat_map(|l| l.split(|c: char| c.is_whitespace() || c == '(' || c == ')'));
    words.find(|word| !word.is_empty()).is_some_and(|word| VERSION_2.contains(&word))
}

fn within_digits(text: &str) -> Result<(), VnnlibError> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
    if words.map(cost).sum::<usize>() > MAX_DIGITS {
        return Err(VnnlibError::TooManyDigits);
    }
    Ok(())
}

fn within_disjuncts(cases: usize) -> Result<(), VnnlibError> {
    if cases > MAX_DISJUNCTS { Err(VnnlibError::TooManyCases) } else { Ok(()) }
}

/// Words that only VNN-LIB 2.0 has.
const VERSION_2: [&str; 5] =
    ["vnnlib-version", "declare-network", "declare-input", "declare-output", "declare-hidden"];

fn refuse_command(at: Position, parts: &[Expression<'_>]) -> VnnlibError {
    match parts.first().map(|p| &p.node) {
        Some(Node::Atom(word)) if VERSION_2.contains(word) => VnnlibError::Version2 { at },
        Some(Node::Atom("declare-fun")) => VnnlibError::DeclareFun { at },
        Some(Node::Atom("declare-const" | "assert") | Node::List(_) | Node::Indexed(..)) | None => {
            VnnlibError::Command { at }
        }
        Some(Node::Atom(word)) => VnnlibError::UnknownCommand { at, name: word.chars().take(40).collect() },
    }
}

/// What SMT-LIB has beside the formulas that are read, and what stands for it.
const OPERATORS: [(&str, &str); 9] = [
    ("<", "sets are closed here: write <="),
    (">", "sets are closed here: write >="),
    ("=", "write (and (<= a b) (>= a b))"),
    ("not", "write the comparisons the other way round"),
    ("=>", "write (or ...) of what remains"),
    ("xor", "write (or ...) of (and ...)"),
    ("ite", "write (or ...) of (and ...)"),
    ("let", "write the terms out"),
    ("distinct", "write (or ...) of comparisons"),
];

fn refuse_formula(at: Position, head: &str) -> VnnlibError {
    let known = OPERATORS.iter().find(|(name, _)| *name == head);
    known.map_or(VnnlibError::Formula { at }, |(name, instead)| VnnlibError::Operator { at, name, instead })
}

fn variable_of(name: &str) -> Option<Variable> {
    let (prefix, digits) = name.split_once('_')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    if !canonical || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let index: usize = digits.parse().ok().filter(|i| *i < MAX_VARIABLES)?;
    match prefix {
        "X" => Some(Variable::Input(index)),
        "Y" => Some(Variable::Output(index)),
        _ => None,
    }
}

/// Indices are distinct, so they are 0, 1, ... exactly if the largest is one less than their number.
fn count(
    declared: &Declared<'_>,
    prefix: char,
    of: impl Fn(&Variable) -> bool,
) -> Result<usize, VnnlibError> {
    let indices = declared.values().filter(|v| of(v)).map(|v| match v {
        Variable::Input(i) | Variable::Output(i) => *i,
    });
    let (number, largest) = indices.fold((0, None), |(n, m), i| (n + 1, m.max(Some(i))));
    match largest {
        Some(largest) if largest + 1 == number => Ok(number),
        _ => Err(VnnlibError::Gap { prefix }),
    }
}

fn normal_form(formula: &Expression<'_>, declared: &Declared<'_>) -> Result<Vec<Vec<Atom>>, VnnlibError> {
    let bad = || VnnlibError::Formula { at: formula.at };
    let Node::List(parts) = &formula.node else { return Err(bad()) };
    let Some((Node::Atom(head), arguments)) = parts.split_first().map(|(h, a)| (&h.node, a)) else {
        return Err(bad());
    };
    match (*head, arguments) {
        ("and", [first, rest @ ..]) => rest.iter().try_fold(normal_form(first, declared)?, |before, part| {
            product(&before, &normal_form(part, declared)?)
        }),
        ("or", [_, ..]) => {
            let mut cases = Vec::new();
            for part in arguments {
                cases.extend(normal_form(part, declared)?);
                within_disjuncts(cases.len())?;
            }
            Ok(cases)
        }
        ("<=", [a, b]) => Ok(vec![vec![comparison(formula.at, a, b, declared)?]]),
        (">=", [a, b]) => Ok(vec![vec![comparison(formula.at, b, a, declared)?]]),
        (head, _) => Err(refuse_formula(formula.at, head)),
    }
}

fn product<T: Clone>(left: &[Vec<T>], right: &[Vec<T>]) -> Result<Vec<Vec<T>>, VnnlibError> {
    if left.len().checked_mul(right.len()).is_none_or(|n| n > MAX_DISJUNCTS) {
        return Err(VnnlibError::TooManyCases);
    }
    let joined = |l: &Vec<T>, r: &Vec<T>| l.iter().chain(r).cloned().collect();
    Ok(left.iter().flat_map(|l| right.iter().map(move |r| joined(l, r))).collect())
}

fn comparison(
    at: Position,
    less: &Expression<'_>,
    more: &Expression<'_>,
    declared: &Declared<'_>,
) -> Result<Atom, VnnlibError> {
    let difference = term(less, declared)?.plus(&term(more, declared)?, &integer(-1));
    let inputs = difference.coefficients.keys().filter(|v| matches!(v, Variable::Input(_))).count();
    if inputs > 1 || (inputs == 1 && difference.coefficients.len() > 1) {
        return Err(VnnlibError::Mixed { at });
    }
    Ok(difference)
}

fn integer(value: i64) -> Rational {
    Rational::from_integer(BigInt::from(value))
}

impl Term {
    fn constant(constant: Rational) -> Self {
        Self { coefficients: BTreeMap::new(), constant }
    }

    /// `self + factor * other`; coefficients that cancel disappear.
    fn plus(mut self, other: &Self, factor: &Rational) -> Self {
        for (variable, coefficient) in &other.coefficients {
            let entry = self.coefficients.entry(*variable).or_insert_with(Rational::zero);
            *entry = entry.add(&coefficient.mul(factor));
        }
        self.coefficients.retain(|_, c| !c.is_zero());
        self.constant = self.constant.add(&other.constant.mul(factor));
        self
    }
}

fn term(expression: &Expression<'_>, declared: &Declared<'_>) -> Result<Term, VnnlibError> {
    let at = expression.at;
    let parts = match &expression.node {
        Node::Atom(atom) => return atom_term(at, atom, declared),
        Node::List(parts) => parts,
        Node::Indexed(..) => return Err(VnnlibError::Term { at }),
    };
    let Some((Node::Atom(head), arguments)) = parts.split_first().map(|(h, a)| (&h.node, a)) else {
        return Err(VnnlibError::Term { at });
    };
    let terms = arguments.iter().map(|a| term(a, declared)).collect::<Result<Vec<_>, _>>()?;
    match (*head, terms.as_slice()) {
        ("-", [one]) => Ok(Term::constant(Rational::zero()).plus(one, &integer(-1))),
        ("+" | "-", [first, rest @ ..]) if !rest.is_empty() => {
            let factor = integer(if *head == "+" { 1 } else { -1 });
            Ok(rest.iter().fold(first.clone(), |sum, t| sum.plus(t, &factor)))
        }
        ("*", [a, b]) if a.coefficients.is_empty() => {
            Ok(Term::constant(Rational::zero()).plus(b, &a.constant))
        }
        ("*", [a, b]) if b.coefficients.is_empty() => {
            Ok(Term::constant(Rational::zero()).plus(a, &b.constant))
        }
        _ => Err(VnnlibError::Term { at }),
    }
}

fn atom_term(at: Position, atom: &str, declared: &Declared<'_>) -> Result<Term, VnnlibError> {
    if let Some(variable) = declared.get(atom) {
        let coefficients = BTreeMap::from([(*variable, Rational::one())]);
        return Ok(Term { coefficients, constant: Rational::zero() });
    }
    constant_term(at, atom).ok_or(VnnlibError::Term { at })?
}

/// A number; `None` for what is none.
fn constant_term(at: Position, atom: &str) -> Option<Result<Term, VnnlibError>> {
    // A fraction is a number of ours, but not of this format.
    if atom.contains('/') {
        return None;
    }
    match Rational::parse(atom) {
        Ok(value) => Some(Ok(Term::constant(value))),
        Err(NumberError::Malformed) => None,
        Err(reason) => Some(Err(VnnlibError::Number { at, reason })),
    }
}

/// The box and constraints of a conjunction; `None` if its box is empty.
fn case_of(inputs: usize, outputs: usize, atoms: &[Atom]) -> Result<Option<Case>, VnnlibError> {
    let mut lower: Vec<Option<Rational>> = vec![None; inputs];
    let mut upper: Vec<Option<Rational>> = vec![None; inputs];
    let mut constraints = Vec::new();
    let mut possible = true;
    for atom in atoms {
        let bound = atom.constant.neg();
        match atom.coefficients.iter().next() {
            None => possible &= !bound.is_negative(),
            Some((Variable::Input(input), coefficient)) => {
                let limit = bound.div(coefficient).unwrap_or_else(|_| Rational::zero());
                let (side, keep): (_, fn(&Rational, &Rational) -> bool) = if coefficient.is_positive() {
                    (&mut upper, |n, o| n < o)
                } else {
                    (&mut lower, |n, o| n > o)
                };
                if side[*input].as_ref().is_none_or(|old| keep(&limit, old)) {
                    side[*input] = Some(limit);
                }
            }
            Some((Variable::Output(_), _)) => {
                let mut coefficients = vec![Rational::zero(); outputs];
                for (variable, coefficient) in &atom.coefficients {
                    if let Variable::Output(output) = variable {
                        coefficients[*output] = coefficient.clone();
                    }
                }
                constraints.push(OutputConstraint { coefficients, bound });
            }
        }
    }
    let all = |side: Vec<Option<Rational>>| -> Result<Vec<Rational>, VnnlibError> {
        let bounded =
            |(input, bound): (usize, Option<Rational>)| bound.ok_or(VnnlibError::Unbounded { input });
        side.into_iter().enumerate().map(bounded).collect()
    };
    let (lower, upper) = (all(lower)?, all(upper)?);
    possible &= lower.iter().zip(&upper).all(|(l, u)| l <= u);
    Ok(possible.then_some(Case { lower, upper, constraints }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    const HEAD: &str = "(declare-const X_0 Real)\n(declare-const Y_0 Real) (declare-const Y_1 Real)\n";

    fn parsed(asserts: &str) -> Result<Property, VnnlibError> {
        parse_vnnlib(&format!("{HEAD}{asserts}"))
    }

    /// 0.1 is 1/10 and not the float next to it; `Y_0 >= Y_1` is `-Y_0 + Y_1 <= 0`.
    #[test]
    fn numbers_are_exact_and_comparisons_point_one_way() {
        let p = parsed("(assert (<= X_0 0.1)) (assert (>= X_0 -1e-3)) ; c\n(assert (>= Y_0 Y_1))").unwrap();
        assert_eq!((p.inputs, p.outputs, p.cases.len()), (1, 2, 1));
        assert_eq!((&p.cases[0].lower[0], &p.cases[0].upper[0]), (&r("-1/1000"), &r("1/10")));
        let expected = OutputConstraint { coefficients: vec![r("-1"), r("1")], bound: r("0") };
        assert_eq!(p.cases[0].constraints, [expected]);
    }

    /// Two boxes times two output cases; bounds of both asserts meet: [0, 1] and [2, 3] within [1/2, 5/2].
    #[test]
    fn disjunctions_multiply_out() {
        let p = parsed(
            "(assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))
             (assert (and (>= X_0 0.5) (<= X_0 2.5)))
             (assert (or (<= Y_0 1) (and (>= Y_0 2) (<= (+ Y_1 (* 2 Y_0) (- 3)) 0))))",
        )
        .unwrap();
        let boxes: Vec<_> = p.cases.iter().map(|c| (c.lower[0].clone(), c.upper[0].clone())).collect();
        let (first, second) = ((r("1/2"), r("1")), (r("2"), r("5/2")));
        assert_eq!(boxes, [first.clone(), first, second.clone(), second]);
        let expected = OutputConstraint { coefficients: vec![r("2"), r("1")], bound: r("3") };
        assert_eq!(p.cases[1].constraints[1], expected);
    }

    #[test]
    fn every_unreadable_file_is_an_error_with_a_place() {
        let bounds = "(assert (<= X_0 1)) (assert (>= X_0 0))\n";
        let at = |line, column| Position { line, column };
        let operator = |at, name, instead| VnnlibError::Operator { at, name, instead };
        let cases = [
            (format!("{bounds}(assert (<= Y_0 Y_1)"), VnnlibError::Unclosed { at: at(4, 1) }),
            (format!("{bounds}(assert (<= Y_0 Y_1)))"), VnnlibError::Unopened { at: at(4, 22) }),
            (
                format!("{bounds}(assert (< Y_0 Y_1))"),
                operator(at(4, 9), "<", "sets are closed here: write <="),
            ),
            (format!("{bounds}(assert (= Y_0 1))"), operator(at(4, 9), "=", "write (and (<= a b) (>= a b))")),
            (format!("{bounds}(assert (or (<= Y_0 1) (<= Y_1)))"), VnnlibError::Formula { at: at(4, 24) }),
            (format!("{bounds}(assert (or))"), VnnlibError::Formula { at: at(4, 9) }),
            (format!("{bounds}(assert or)"), VnnlibError::Formula { at: at(4, 9) }),
            (format!("{bounds}(assert (or (<= Y_0 1)) (<= Y_1 1))"), VnnlibError::Command { at: at(4, 1) }),
            (format!("{bounds}(declare-const X_1 Int)"), VnnlibError::Command { at: at(4, 1) }),
            (format!("{bounds}(declare-fun X_1 () Real)"), VnnlibError::DeclareFun { at: at(4, 1) }),
            (format!("{bounds}\n (vnnlib-version <2.0>)"), VnnlibError::Version2 { at: at(5, 2) }),
            (
                format!("{bounds}(declare-network N (declare-input X Real [1]))"),
                VnnlibError::Version2 { at: at(4, 1) },
            ),
            (format!("{bounds}(assert (<= Y_0 Y_2))"), VnnlibError::Term { at: at(4, 17) }),
            (format!("{bounds}(assert (<= Y_0 1/2))"), VnnlibError::Term { at: at(4, 17) }),
            (
                format!("{bounds}(assert (<= Y_0 1e9999))"),
                VnnlibError::Number { at: at(4, 17), reason: NumberError::TooLong },
            ),
            (format!("{bounds}(assert (<= Y_0 X_0))"), VnnlibError::Mixed { at: at(4, 9) }),
            (
                format!("{bounds}(assert (not (<= Y_0 1)))"),
                operator(at(4, 9), "not", "write the comparisons the other way round"),
            ),
            (format!("{bounds}(assert (and))"), VnnlibError::Formula { at: at(4, 9) }),
            (format!("{bounds}(assert (<= (* Y_0 Y_1) 1))"), VnnlibError::Term { at: at(4, 13) }),
            (
                format!("{bounds}(check-sat)"),
                VnnlibError::UnknownCommand { at: at(4, 1), name: "check-sat".to_owned() },
            ),
            (format!("{bounds}((assert (<= Y_0 1)))"), VnnlibError::Command { at: at(4, 1) }),
            (format!("{bounds}(declare-const X_0 Real)"), VnnlibError::Declaration { at: at(4, 16) }),
            (format!("{bounds}(declare-const X_01 Real)"), VnnlibError::Declaration { at: at(4, 16) }),
            (format!("{bounds}(declare-const X_2 Real)"), VnnlibError::Gap { prefix: 'X' }),
            (
                format!("{bounds}(assert (<= Y_0 \u{1b}1))"),
                VnnlibError::Character { at: at(4, 17), code: 0x1b },
            ),
            (
                format!("{bounds}; \u{fc}ber\n(assert (<= Y_0 \u{2212}1))"),
                VnnlibError::Character { at: at(5, 17), code: 0x2212 },
            ),
            ("(assert (<= X_0 1))".to_owned(), VnnlibError::Unbounded { input: 0 }),
            ("(assert (<= X_0 1)) (assert (>= X_0 2))".to_owned(), VnnlibError::Vacuous),
            (String::new(), VnnlibError::Empty),
            ("(".repeat(65), VnnlibError::TooDeep { at: at(3, 65) }),
        ];
        for (text, error) in cases {
            assert_eq!(parsed(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn cases_are_capped() {
        let either = "(assert (or (<= Y_0 1) (<= Y_1 1)))".repeat(15);
        assert_eq!(parsed(&either), Err(VnnlibError::TooManyCases));
    }
}
