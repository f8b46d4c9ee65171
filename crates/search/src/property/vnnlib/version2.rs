//! VNN-LIB 2.0: `declare-network` with one input and one output tensor each, affine comparisons over the elements of all of
//! them, `and`, `or`. Untrusted; what cannot be read is an error, never an empty property. `spec/vnnlib.md`.
//!
//! Reference: the VNN-LIB standard, version 2.0 (Demarchi, Guidotti, Pulina, Tacchella, Roy, Antony, Daggitt), its grammar
//! and chapter "Query language". Limits: no hidden nodes, no names of ONNX nodes, one input and output tensor a network,
//! comparisons that are affine, every input bounded in every disjunct.

use std::collections::BTreeMap;

use secateur_checker::kernel::split::{Case, OutputConstraint};
use secateur_checker::number::Rational;

use super::expression::{Expression, Node, parse_indexed};
use super::{
    MAX_VARIABLES, Position, Term, Variable, VnnlibError, constant_term, integer, product, refuse_formula,
    within_disjuncts,
};
use crate::property::several::{DeclaredNetwork, DeclaredTensor, NetworkRelation, Several, SeveralCase};

/// Element types that are read; arithmetic is that of the reals for each of them.
const ELEMENTS: [&str; 4] = ["real", "Real", "float32", "float64"];

/// What a term is to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtMost,
    Below,
    Equal,
}

#[derive(Clone, Debug)]
struct Atom {
    term: Term,
    relation: Relation,
}

/// Where a tensor's elements begin.
struct Declared {
    shape: Vec<usize>,
    first: usize,
    output: bool,
}

#[derive(Default)]
struct Reader<'a> {
    networks: Vec<DeclaredNetwork>,
    tensors: BTreeMap<&'a str, Declared>,
    inputs: usize,
    outputs: usize,
    /// What is asserted outside any disjunction.
    sure: Vec<Atom>,
    cases: Vec<Vec<Atom>>,
}

/// Reads a property of VNN-LIB 2.0 exactly.
///
/// # Errors
/// [`VnnlibError`], one variant per reason.
pub fn parse_several(text: &str) -> Result<Several, VnnlibError> {
    super::within_digits(text)?;
    let expressions = parse_indexed(text)?;
    let mut commands = expressions.iter();
    read_version(commands.next())?;
    let mut reader = Reader { cases: vec![Vec::new()], ..Reader::default() };
    let mut asserted = false;
    for command in commands {
        let at = command.at;
        match list(command) {
            Some(("assert", [formula])) if !reader.networks.is_empty() => {
                asserted = true;
                reader.assert(formula)?;
            }
            Some(("declare-network", parts)) if !asserted => reader.network(at, parts)?,
            Some(("declare-network", _)) => return Err(VnnlibError::Late { at }),
            Some(("vnnlib-version", _)) => return Err(VnnlibError::Version { at }),
            Some(("assert", _)) | None => return Err(VnnlibError::Command2 { at }),
            Some((name, _)) => {
                return Err(VnnlibError::UnknownCommand { at, name: name.chars().take(40).collect() });
            }
        }
    }
    if asserted { reader.finish() } else { Err(VnnlibError::Empty) }
}

/// Head and arguments of a list.
fn list<'e, 'a>(expression: &'e Expression<'a>) -> Option<(&'a str, &'e [Expression<'a>])> {
    let Node::List(parts) = &expression.node else { return None };
    match parts.split_first() {
        Some((Expression { node: Node::Atom(head), .. }, rest)) => Some((head, rest)),
        _ => None,
    }
}

fn read_version(first: Option<&Expression<'_>>) -> Result<(), VnnlibError> {
    let at = first.map_or(Position { line: 1, column: 1 }, |e| e.at);
    let Some(("vnnlib-version", [version])) = first.and_then(list) else {
        return Err(VnnlibError::NoVersion { at });
    };
    let digits = match &version.node {
        Node::Atom(atom) => atom.strip_prefix("<2.").and_then(|rest| rest.strip_suffix('>')),
        _ => None,
    };
    let good = digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    if good { Ok(()) } else { Err(VnnlibError::Version { at: version.at }) }
}

/// A name of the standard: a letter, then letters, digits and underscores.
fn name<'a>(expression: &Expression<'a>) -> Result<&'a str, VnnlibError> {
    let Node::Atom(atom) = expression.node else { return Err(VnnlibError::Name { at: expression.at }) };
    let begins = atom.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let goes_on = atom.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if begins && goes_on { Ok(atom) } else { Err(VnnlibError::Name { at: expression.at }) }
}

impl<'a> Reader<'a> {
    fn network(&mut self, at: Position, parts: &[Expression<'a>]) -> Result<(), VnnlibError> {
        let (first, parts) = parts.split_first().ok_or(VnnlibError::Network { at })?;
        let called = name(first)?;
        if self.networks.iter().any(|n| n.name == called) {
            return Err(VnnlibError::Twice { at: first.at, name: called.to_owned() });
        }
        let (mut relation, mut input, mut output) = (None, None, None);
        for part in parts {
            let at = part.at;
            match list(part) {
                Some((word @ ("equal-to" | "isomorphic-to"), [other]))
                    if relation.is_none() && input.is_none() =>
                {
                    let of = name(other)?;
                    let index = self.networks.iter().position(|n| n.name == of);
                    let index = index.ok_or(VnnlibError::NoNetwork { at: other.at, name: of.to_owned() })?;
                    relation = Some(match word {
                        "equal-to" => NetworkRelation::EqualTo(index),
                        _ => NetworkRelation::IsomorphicTo(index),
                    });
                }
                Some(("declare-input", tensor)) if input.is_none() && output.is_none() => {
                    input = Some(self.tensor(at, tensor, false)?);
                }
                Some(("declare-output", tensor)) if input.is_some() && output.is_none() => {
                    output = Some(self.tensor(at, tensor, true)?);
                }
                Some(("declare-input", _)) if output.is_none() => {
                    return Err(unsupported(at, "a second input tensor", ONE_TENSOR));
                }
                Some(("declare-output", _)) if output.is_some() => {
                    return Err(unsupported(at, "a second output tensor", ONE_TENSOR));
                }
                Some(("declare-hidden", _)) => return Err(unsupported(at, "declare-hidden", NO_HIDDEN)),
                _ => return Err(VnnlibError::Network { at }),
            }
        }
        let (Some(input), Some(output)) = (input, output) else { return Err(VnnlibError::Network { at }) };
        if let Some(NetworkRelation::EqualTo(other) | NetworkRelation::IsomorphicTo(other)) = relation {
            let other = &self.networks[other];
            let same = |a: &DeclaredTensor, b: &DeclaredTensor| a.shape == b.shape && a.element == b.element;
            if !same(&input, &other.input) || !same(&output, &other.output) {
                return Err(VnnlibError::OtherShape { at, name: other.name.clone() });
            }
        }
        self.networks.push(DeclaredNetwork {
            name: called.to_owned(),
            relation,
            reads: (self.inputs - input.len()..self.inputs).collect(),
            input,
            output,
        });
        Ok(())
    }

    fn tensor(
        &mut self,
        at: Position,
        parts: &[Expression<'a>],
        output: bool,
    ) -> Result<DeclaredTensor, VnnlibError> {
        let (called, element, shape) = match parts {
            [called, Expression { node: Node::Indexed(element, shape), at }] => {
                (called, (*element, *at), shape)
            }
            [_, _, Expression { node: Node::Atom(text), at }, ..] if text.starts_with('"') => {
                return Err(unsupported(*at, "the name of an ONNX node", NO_NODE));
            }
            _ => return Err(VnnlibError::Network { at }),
        };
        let text = name(called)?;
        if !ELEMENTS.contains(&element.0) {
            let name = element.0.chars().take(40).collect();
            return Err(VnnlibError::Element { at: element.1, name });
        }
        let size = shape.iter().try_fold(1usize, |size, n| size.checked_mul(*n));
        let size = size.filter(|size| (1..=MAX_VARIABLES).contains(size));
        let size = size.ok_or(VnnlibError::Shape { at: element.1 })?;
        let first = if output { &mut self.outputs } else { &mut self.inputs };
        let declared = Declared { shape: shape.clone(), first: *first, output };
        *first += size;
        if *first > MAX_VARIABLES {
            return Err(VnnlibError::Shape { at: element.1 });
        }
        if self.tensors.insert(text, declared).is_some() {
            return Err(VnnlibError::Twice { at: called.at, name: text.to_owned() });
        }
        Ok(DeclaredTensor { name: text.to_owned(), element: element.0.to_owned(), shape: shape.clone() })
    }

    /// Keeps what holds in every case apart, so that equal inputs are found and cases stay few.
    fn assert(&mut self, formula: &Expression<'a>) -> Result<(), VnnlibError> {
        match list(formula) {
            Some(("and", parts @ [_, ..])) => parts.iter().try_for_each(|part| self.assert(part)),
            Some(("or" | "!=", [_, ..])) => {
                self.cases = product(&self.cases, &self.normal_form(formula)?)?;
                Ok(())
            }
            _ => {
                for mut atoms in self.normal_form(formula)? {
                    self.sure.append(&mut atoms);
                }
                Ok(())
            }
        }
    }

    fn normal_form(&self, formula: &Expression<'a>) -> Result<Vec<Vec<Atom>>, VnnlibError> {
        let at = formula.at;
        let Some((head, arguments)) = list(formula) else { return Err(VnnlibError::Formula2 { at }) };
        let one = |less: &Expression<'a>, more: &Expression<'a>, relation| {
            let term = self.term(less)?.plus(&self.term(more)?, &integer(-1));
            Ok(vec![Atom { term, relation }])
        };
        match (head, arguments) {
            ("and", [first, rest @ ..]) => rest.iter().try_fold(self.normal_form(first)?, |before, part| {
                product(&before, &self.normal_form(part)?)
            }),
            ("or", [_, ..]) => {
                let mut cases = Vec::new();
                for part in arguments {
                    cases.extend(self.normal_form(part)?);
                    within_disjuncts(cases.len())?;
                }
                Ok(cases)
            }
            ("<=", [a, b]) => Ok(vec![one(a, b, Relation::AtMost)?]),
            (">=", [a, b]) => Ok(vec![one(b, a, Relation::AtMost)?]),
            ("<", [a, b]) => Ok(vec![one(a, b, Relation::Below)?]),
            (">", [a, b]) => Ok(vec![one(b, a, Relation::Below)?]),
            // The standard's text has `=`, its grammar `==`.
            ("==" | "=", [a, b]) => Ok(vec![one(a, b, Relation::Equal)?]),
            ("!=", [a, b]) => Ok(vec![one(a, b, Relation::Below)?, one(b, a, Relation::Below)?]),
            ("and" | "or" | "<=" | ">=" | "<" | ">" | "==" | "=" | "!=", _) => {
                Err(VnnlibError::Formula2 { at })
            }
            (head, _) => Err(match refuse_formula(at, head) {
                VnnlibError::Formula { at } => VnnlibError::Formula2 { at },
                refused => refused,
            }),
        }
    }

    fn term(&self, expression: &Expression<'a>) -> Result<Term, VnnlibError> {
        let at = expression.at;
        let (head, arguments) = match &expression.node {
            Node::Atom(atom) if self.tensors.contains_key(atom) => return self.element(at, atom, &[]),
            Node::Atom(atom) => return constant_term(at, atom).ok_or(VnnlibError::Term2 { at })?,
            Node::Indexed(_, indices) if indices.is_empty() => return Err(VnnlibError::Term2 { at }),
            Node::Indexed(name, indices) => return self.element(at, name, indices),
            Node::List(_) => list(expression).ok_or(VnnlibError::Term2 { at })?,
        };
        let terms = arguments.iter().map(|a| self.term(a)).collect::<Result<Vec<_>, _>>()?;
        let scaled = |term: &Term, factor: &Rational| Term::constant(Rational::zero()).plus(term, factor);
        match (head, terms.as_slice()) {
            ("-", [one]) => Ok(scaled(one, &integer(-1))),
            ("+" | "-", [first, rest @ ..]) => {
                let factor = integer(if head == "+" { 1 } else { -1 });
                Ok(rest.iter().fold(first.clone(), |sum, t| sum.plus(t, &factor)))
            }
            ("*", [first, rest @ ..]) => rest.iter().try_fold(first.clone(), |product, factor| {
                if factor.coefficients.is_empty() {
                    Ok(scaled(&product, &factor.constant))
                } else if product.coefficients.is_empty() {
                    Ok(scaled(factor, &product.constant))
                } else {
                    Err(unsupported(at, "a product of variables", "comparisons are affine here"))
                }
            }),
            _ => Err(VnnlibError::Term2 { at }),
        }
    }

    fn element(&self, at: Position, called: &str, indices: &[usize]) -> Result<Term, VnnlibError> {
        let tensor = self.tensors.get(called).ok_or(VnnlibError::Term2 { at })?;
        let inside =
            indices.len() == tensor.shape.len() && indices.iter().zip(&tensor.shape).all(|(i, n)| i < n);
        if !inside {
            return Err(VnnlibError::Index { at, name: called.to_owned(), shape: spelled(&tensor.shape) });
        }
        let place = indices.iter().zip(&tensor.shape).fold(0, |place, (i, n)| place * n + i) + tensor.first;
        let variable = if tensor.output { Variable::Output(place) } else { Variable::Input(place) };
        Ok(Term { coefficients: BTreeMap::from([(variable, Rational::one())]), constant: Rational::zero() })
    }

    fn finish(mut self) -> Result<Several, VnnlibError> {
        let shared = shared_variables(self.inputs, &self.sure);
        let names: Vec<String> = self
            .networks
            .iter()
            .flat_map(|n| (0..n.input.len()).map(|element| n.input.element_name(element)))
            .collect();
        let count = shared.iter().max().map_or(0, |largest| largest + 1);
        let mut variables = vec![String::new(); count];
        for (variable, name) in shared.iter().zip(&names).rev() {
            variables[*variable].clone_from(name);
        }
        for network in &mut self.networks {
            network.reads.iter_mut().for_each(|input| *input = shared[*input]);
        }
        let mut cases = Vec::new();
        for atoms in &self.cases {
            let atoms = self.sure.iter().chain(atoms).map(|atom| atom.over(&shared));
            cases.extend(CaseReader::new(self.outputs, count).read(atoms, &variables)?);
        }
        if cases.is_empty() {
            return Err(VnnlibError::Vacuous);
        }
        Ok(Several { networks: self.networks, variables, cases })
    }
}

const ONE_TENSOR: &str = "a network reads one tensor and writes one here; join them in the ONNX file";
const NO_HIDDEN: &str =
    "a property reads inputs and outputs only; export the hidden tensor as the network's output";
const NO_NODE: &str = "leave it out: the only input and the only output of the file are meant";

fn unsupported(at: Position, name: &'static str, instead: &'static str) -> VnnlibError {
    VnnlibError::Operator { at, name, instead }
}

fn spelled(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The variable of each input: inputs that are asserted to be equal, as one equation or two inequalities, share one.
fn shared_variables(inputs: usize, sure: &[Atom]) -> Vec<usize> {
    let mut leader: Vec<usize> = (0..inputs).collect();
    let find = |leader: &[usize], mut input: usize| {
        while leader[input] != input {
            input = leader[input];
        }
        input
    };
    let ordered = |atom: &Atom| {
        let mut entries = atom.term.coefficients.iter();
        let pair = (entries.next(), entries.next(), entries.next());
        match pair {
            (Some((Variable::Input(a), c)), Some((Variable::Input(b), d)), None)
                if atom.term.constant.is_zero() && c.add(d).is_zero() =>
            {
                Some(if c.is_positive() { (*a, *b) } else { (*b, *a) })
            }
            _ => None,
        }
    };
    let at_most: std::collections::BTreeSet<(usize, usize)> =
        sure.iter().filter(|a| a.relation == Relation::AtMost).filter_map(ordered).collect();
    let equal = sure.iter().filter(|a| a.relation == Relation::Equal).filter_map(ordered);
    for (a, b) in equal.chain(at_most.iter().copied().filter(|(a, b)| at_most.contains(&(*b, *a)))) {
        let (a, b) = (find(&leader, a), find(&leader, b));
        leader[a.max(b)] = a.min(b);
    }
    let mut number = BTreeMap::new();
    (0..inputs)
        .map(|input| {
            let next = number.len();
            *number.entry(find(&leader, input)).or_insert(next)
        })
        .collect()
}

impl Atom {
    /// The same of shared variables.
    fn over(&self, shared: &[usize]) -> Self {
        let mut coefficients = BTreeMap::new();
        for (variable, coefficient) in &self.term.coefficients {
            let variable = match variable {
                Variable::Input(input) => Variable::Input(shared[*input]),
                output @ Variable::Output(_) => *output,
            };
            let entry = coefficients.entry(variable).or_insert_with(Rational::zero);
            *entry = entry.add(coefficient);
        }
        coefficients.retain(|_, c| !c.is_zero());
        Self { term: Term { coefficients, constant: self.term.constant.clone() }, relation: self.relation }
    }
}

/// A bound and whether it is left out.
type End = Option<(Rational, bool)>;

struct CaseReader {
    outputs: usize,
    /// Lower and upper end of each variable.
    ends: Vec<[End; 2]>,
    constraints: Vec<OutputConstraint>,
    strict: Vec<bool>,
    possible: bool,
}

impl CaseReader {
    fn new(outputs: usize, variables: usize) -> Self {
        let ends = vec![[None, None]; variables];
        Self { outputs, ends, constraints: Vec::new(), strict: Vec::new(), possible: true }
    }

    /// The case of a conjunction; `None` if its box is empty.
    fn read(
        mut self,
        atoms: impl Iterator<Item = Atom>,
        names: &[String],
    ) -> Result<Option<SeveralCase>, VnnlibError> {
        for Atom { term, relation } in atoms {
            let strict = relation == Relation::Below;
            if relation == Relation::Equal {
                let other = Term::constant(Rational::zero()).plus(&term, &integer(-1));
                self.at_most(&other, strict);
            }
            self.at_most(&term, strict);
        }
        self.derive_ends();
        let mut case = Case { lower: Vec::new(), upper: Vec::new(), constraints: self.constraints };
        let mut open = Vec::new();
        for (ends, name) in self.ends.into_iter().zip(names) {
            let [Some((lower, above)), Some((upper, below))] = ends else {
                return Err(VnnlibError::UnboundedVariable { name: name.clone() });
            };
            self.possible &= lower < upper || (lower == upper && !above && !below);
            case.lower.push(lower);
            case.upper.push(upper);
            open.push([above, below]);
        }
        Ok(self.possible.then_some(SeveralCase { case, strict: self.strict, open }))
    }

    /// Takes in `term <= 0`, or `< 0`.
    fn at_most(&mut self, term: &Term, strict: bool) {
        let bound = term.constant.neg();
        let mut entries = term.coefficients.iter();
        match (entries.next(), entries.next()) {
            (None, _) => self.possible &= bound.is_positive() || (bound.is_zero() && !strict),
            (Some((Variable::Input(variable), coefficient)), None) => {
                let end = bound.div(coefficient).unwrap_or_else(|_| Rational::zero());
                self.end(*variable, coefficient.is_positive(), end, strict);
            }
            _ => {
                let mut coefficients = vec![Rational::zero(); self.outputs + self.ends.len()];
                for (variable, coefficient) in &term.coefficients {
                    let place = match variable {
                        Variable::Output(output) => *output,
                        Variable::Input(variable) => self.outputs + variable,
                    };
                    coefficients[place] = coefficient.clone();
                }
                self.constraints.push(OutputConstraint { coefficients, bound });
                self.strict.push(strict);
            }
        }
    }

    fn end(&mut self, variable: usize, upper: bool, end: Rational, strict: bool) {
        let slot = &mut self.ends[variable][usize::from(upper)];
        match slot {
            Some((old, open)) if *old == end => *open |= strict,
            Some((old, _)) if (end < *old) != upper => {}
            _ => *slot = Some((end, strict)),
        }
    }

    /// Ends that nobody states follow from constraints between variables whose other ends are known: `x <= y <= 1`.
    fn derive_ends(&mut self) {
        let mut rounds = self.ends.len();
        while rounds > 0 && self.ends.iter().flatten().any(Option::is_none) {
            rounds -= 1;
            let mut found = Vec::new();
            for constraint in &self.constraints {
                let (outputs, variables) = constraint.coefficients.split_at(self.outputs);
                if outputs.iter().all(Rational::is_zero) {
                    found.extend(self.implied(variables, &constraint.bound));
                }
            }
            if found.is_empty() {
                return;
            }
            for (variable, upper, end) in found {
                self.end(variable, upper, end, false);
            }
        }
    }

    /// Ends that are missing and that `coefficients . variables <= bound` implies, not strictly.
    fn implied(&self, coefficients: &[Rational], bound: &Rational) -> Vec<(usize, bool, Rational)> {
        let used: Vec<usize> = (0..coefficients.len()).filter(|v| !coefficients[*v].is_zero()).collect();
        let missing =
            used.iter().filter(|v| self.ends[**v][usize::from(coefficients[**v].is_positive())].is_none());
        let of = |variable: usize| {
            let others = used.iter().filter(|v| **v != variable);
            let least = others.map(|v| {
                let (end, _) = self.ends[*v][usize::from(coefficients[*v].is_negative())].as_ref()?;
                Some(coefficients[*v].mul(end))
            });
            let least = least.sum::<Option<Sum>>()?.0;
            let coefficient = &coefficients[variable];
            let end = bound.add(&least.neg()).div(coefficient).ok()?;
            Some((variable, coefficient.is_positive(), end))
        };
        missing.filter_map(|v| of(*v)).collect()
    }
}

struct Sum(Rational);

impl std::iter::Sum<Rational> for Sum {
    fn sum<I: Iterator<Item = Rational>>(iter: I) -> Self {
        Self(iter.fold(Rational::zero(), |sum, r| sum.add(&r)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, parse_property_text};
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    const PAIR: &str = "(vnnlib-version <2.0>)
(declare-network f (declare-input X_f real [2]) (declare-output Y_f real [1,1]))
(declare-network g (isomorphic-to f) (declare-input X_g real [2]) (declare-output Y_g real [1,1]))\n";
    const BOX: &str = "(assert (and (<= X_f[0] 1) (>= X_f[0] 0) (<= X_f [1] 0.5) (>= X_f[ 1 ] -0.5)))\n";
    const EQUAL: &str =
        "(assert (== X_f[0] X_g[0])) (assert (<= X_f[1] X_g[1])) (assert (>= X_f[1] X_g[1]))\n";

    fn several(asserts: &str) -> Result<Several, VnnlibError> {
        parse_several(&format!("{PAIR}{asserts}"))
    }

    /// Equal inputs share a variable, whether an equation or two inequalities say so; `Y_g > Y_f + 1/10` is
    /// `Y_f - Y_g < -1/10`.
    #[test]
    fn two_networks_over_the_same_inputs() {
        let found =
            several(&format!("{BOX}{EQUAL}(assert (or (> Y_g[0,0] (+ Y_f[0,0] 0.1)) (!= Y_f[0,0] 2)))"))
                .unwrap();
        assert_eq!(found.variables, ["X_f[0]", "X_f[1]"]);
        let names: Vec<_> =
            found.networks.iter().map(|n| (n.name.as_str(), n.relation, n.reads.clone())).collect();
        assert_eq!(
            names,
            [("f", None, vec![0, 1]), ("g", Some(NetworkRelation::IsomorphicTo(0)), vec![0, 1])]
        );
        assert_eq!(found.cases.len(), 3);
        let case = &found.cases[0];
        assert_eq!((&case.case.lower, &case.case.upper), (&vec![r("0"), r("-1/2")], &vec![r("1"), r("1/2")]));
        let expected =
            OutputConstraint { coefficients: vec![r("1"), r("-1"), r("0"), r("0")], bound: r("-1/10") };
        assert_eq!((&case.case.constraints, &case.strict), (&vec![expected], &vec![true]));
        let bounds: Vec<_> = found.cases[1..].iter().map(|c| c.case.constraints[0].bound.clone()).collect();
        assert_eq!(bounds, [r("2"), r("-2")]);
        assert!(!found.constrains_variables() && found.single().is_none());
    }

    /// An equation in one case of two leaves two variables; the ends of `X_g[0]` follow from `X_f[0] <= X_g[0] <= 2 X_f[0]`.
    #[test]
    fn constraints_between_inputs_stay_and_bound_them() {
        let text = "(assert (and (>= X_g[0] X_f[0]) (<= X_g[0] (* 2.0 X_f[0])) (>= X_g[1] 0) (<= X_g[1] 3)))
            (assert (or (== X_f[1] X_g[1]) (<= Y_f[0,0] X_f[1])))";
        let found = several(&format!("{BOX}{text}")).unwrap();
        assert_eq!(found.variables, ["X_f[0]", "X_f[1]", "X_g[0]", "X_g[1]"]);
        assert_eq!(found.networks[1].reads, [2, 3]);
        assert!(found.constrains_variables());
        let case = &found.cases[0].case;
        assert_eq!((&case.lower[2], &case.upper[2]), (&r("0"), &r("2")));
        assert_eq!(case.constraints.len(), 4);
        let last =
            OutputConstraint { coefficients: ["1", "0", "0", "-1", "0", "0"].map(r).to_vec(), bound: r("0") };
        assert_eq!(found.cases[1].case.constraints[2], last);
    }

    /// A step of 2^-40 times the largest coefficient, and of a quarter of a narrow box.
    #[test]
    fn strict_comparisons_are_relaxed_or_tightened() {
        let text = "(assert (and (< X[0] 0.000000000001) (>= X[0] 0) (> X[1] 0) (<= X[1] 1)))
            (assert (< (* 3 Y) 6)) (assert (<= Y 4))";
        let head = "(vnnlib-version <2.0>)(declare-network n (declare-input X float32 [2])\n(declare-output Y float32 []))";
        let Ok(Asked::One(found)) = parse_property_text(&format!("; c\n{head}{text}")) else {
            panic!("one network")
        };
        let step = r("1/1099511627776");
        assert_eq!((found.inputs, found.outputs), (2, 1));
        let (relaxed, tightened) = (&found.cases[0], found.tightened.as_ref().unwrap()[0].as_ref().unwrap());
        assert_eq!((&relaxed.lower, &relaxed.upper), (&vec![r("0"), r("0")], &vec![r("1e-12"), r("1")]));
        assert_eq!(
            (&tightened.lower, &tightened.upper),
            (&vec![r("0"), step.clone()], &vec![r("0.75e-12"), r("1")])
        );
        let bounds = |case: &Case| case.constraints.iter().map(|c| c.bound.clone()).collect::<Vec<_>>();
        assert_eq!(bounds(relaxed), [r("6"), r("4")]);
        assert_eq!(bounds(tightened), [r("6").add(&r("-3").mul(&step)), r("4")]);
    }

    #[test]
    fn rows_come_first_and_elements_have_names() {
        let text = "(vnnlib-version <2.0>)(declare-network n (declare-input X real [2,3]) (declare-output Y real [2]))";
        let bounds: String = (0..6)
            .map(|i| format!("(assert (<= {i} X[{},{}] ))(assert (<= X[{0},{1}] 9))", i / 3, i % 3))
            .collect();
        let Ok(Asked::One(found)) = parse_property_text(&format!("{text}{bounds}")) else {
            panic!("one network")
        };
        assert_eq!(found.cases[0].lower, ["0", "1", "2", "3", "4", "5"].map(r));
        let unbounded = bounds.replacen("(assert (<= X[1,2] 9))", "", 1);
        let error = VnnlibError::UnboundedVariable { name: "X[1,2]".to_owned() };
        assert_eq!(parse_several(&format!("{text}{unbounded}")), Err(error));
    }

    #[test]
    fn every_unreadable_file_is_an_error_with_a_place() {
        let at = |line, column| Position { line, column };
        let head = "(vnnlib-version <2.0>)\n";
        let network = "(declare-network f (declare-input X real [2]) (declare-output Y real [2]))\n";
        let one = |text: &str| format!("{head}{network}{text}");
        let declared = |text: &str| format!("{head}(declare-network f {text})");
        let index = |shape: &str, name: &str| VnnlibError::Index {
            at: at(3, 13),
            name: name.into(),
            shape: shape.into(),
        };
        let twice = |at, name: &str| VnnlibError::Twice { at, name: name.to_owned() };
        let command = |at, name: &str| VnnlibError::UnknownCommand { at, name: name.to_owned() };
        let cases = [
            (network.to_owned(), VnnlibError::NoVersion { at: at(1, 1) }),
            (format!("(vnnlib-version <3.0>){network}"), VnnlibError::Version { at: at(1, 17) }),
            (format!("(vnnlib-version 2.0){network}"), VnnlibError::Version { at: at(1, 17) }),
            (format!("{head}{head}{network}"), VnnlibError::Version { at: at(2, 1) }),
            (format!("{head}(assert (<= 0 1))"), VnnlibError::Command2 { at: at(2, 1) }),
            (one("(assert (<= 0 1) (<= 0 1))"), VnnlibError::Command2 { at: at(3, 1) }),
            (one(&format!("(assert (<= 0 1)) {network}")), VnnlibError::Late { at: at(3, 19) }),
            (one("(check-sat)"), command(at(3, 1), "check-sat")),
            (one(""), VnnlibError::Empty),
            (one(network), twice(at(3, 18), "f")),
            (declared("(declare-input X real [2])"), VnnlibError::Network { at: at(2, 1) }),
            (declared("(declare-output Y real [2])"), VnnlibError::Network { at: at(2, 20) }),
            (declared("(declare-input X real)"), VnnlibError::Network { at: at(2, 20) }),
            (declared("(declare-input X real [2]) (declare-output X real [2])"), twice(at(2, 63), "X")),
            (declared("(declare-input 1X real [2])"), VnnlibError::Name { at: at(2, 35) }),
            (declared("(declare-input X-1 real [2])"), VnnlibError::Name { at: at(2, 35) }),
            (
                declared("(declare-input X int8 [2])"),
                VnnlibError::Element { at: at(2, 37), name: "int8".to_owned() },
            ),
            (declared("(declare-input X real [0])"), VnnlibError::Shape { at: at(2, 37) }),
            (declared("(declare-input X real [2097152])"), VnnlibError::Shape { at: at(2, 37) }),
            (declared("(declare-input X real [2 3])"), VnnlibError::Brackets { at: at(2, 42) }),
            (declared("(declare-input X real [-1])"), VnnlibError::Brackets { at: at(2, 42) }),
            (declared("(declare-input X real [2,])"), VnnlibError::Brackets { at: at(2, 42) }),
            (declared("([2])"), VnnlibError::Brackets { at: at(2, 21) }),
            (declared("(declare-input X real 2])"), VnnlibError::Brackets { at: at(2, 43) }),
            (
                declared("(declare-input X real [2]) (declare-input Z real [2]) (declare-output Y real [2])"),
                unsupported(at(2, 47), "a second input tensor", ONE_TENSOR),
            ),
            (
                declared(
                    "(declare-input X real [2]) (declare-output Z real [2]) (declare-output Y real [2])",
                ),
                unsupported(at(2, 75), "a second output tensor", ONE_TENSOR),
            ),
            (
                declared(
                    "(declare-input X real [2]) (declare-hidden Z real [2] \"z\") (declare-output Y real [2])",
                ),
                unsupported(at(2, 47), "declare-hidden", NO_HIDDEN),
            ),
            (
                declared("(declare-input X real [2] \"z\") (declare-output Y real [2])"),
                unsupported(at(2, 46), "the name of an ONNX node", NO_NODE),
            ),
            (
                one(
                    "(declare-network g (equal-to h) (declare-input Z real [2]) (declare-output W real [2]))",
                ),
                VnnlibError::NoNetwork { at: at(3, 30), name: "h".to_owned() },
            ),
            (
                one(
                    "(declare-network g (equal-to f) (declare-input Z real [3]) (declare-output W real [2]))",
                ),
                VnnlibError::OtherShape { at: at(3, 1), name: "f".to_owned() },
            ),
            (
                one(
                    "(declare-network g (isomorphic-to f) (declare-input Z real [2]) (declare-output W float32 [2]))",
                ),
                VnnlibError::OtherShape { at: at(3, 1), name: "f".to_owned() },
            ),
            (one("(assert (<= X[2] 1))"), index("2", "X")),
            (one("(assert (<= X[0,0] 1))"), index("2", "X")),
            (one("(assert (<= Y 1))"), index("2", "Y")),
            (one("(assert (<= X[] 1))"), VnnlibError::Term2 { at: at(3, 13) }),
            (one("(assert (<= Z[0] 1))"), VnnlibError::Term2 { at: at(3, 13) }),
            (one("(assert (<= X[0] 1/2))"), VnnlibError::Term2 { at: at(3, 18) }),
            (one("(assert (<= X[0] (/ 1 2)))"), VnnlibError::Term2 { at: at(3, 18) }),
            (
                one("(assert (<= (* 2 X[0] X[1]) 1))"),
                unsupported(at(3, 13), "a product of variables", "comparisons are affine here"),
            ),
            (one("(assert (<= X[0] 1 2))"), VnnlibError::Formula2 { at: at(3, 9) }),
            (one("(assert (and))"), VnnlibError::Formula2 { at: at(3, 9) }),
            (one("(assert X)"), VnnlibError::Formula2 { at: at(3, 9) }),
            (
                one("(assert (not (<= X[0] 1)))"),
                unsupported(at(3, 9), "not", "write the comparisons the other way round"),
            ),
            (one("(assert (<= X[0] 1))"), VnnlibError::UnboundedVariable { name: "X[0]".to_owned() }),
            (one("(assert (and (<= X[0] 1) (>= X[0] 1) (<= X[1] 1) (>= X[1] 2)))"), VnnlibError::Vacuous),
            (one("(assert (and (<= X[0] 1) (>= X[0] 1) (<= X[1] 2) (> X[1] 2)))"), VnnlibError::Vacuous),
            (one("(assert (<= X[0] 1)"), VnnlibError::Unclosed { at: at(3, 1) }),
        ];
        for (text, error) in cases {
            assert_eq!(parse_several(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn one_version_is_not_taken_for_the_other() {
        assert!(parse_several("(declare-const X_0 Real)").is_err());
        let first =
            "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (<= X_0 1) (>= X_0 0) (<= Y_0 0)))";
        assert!(matches!(parse_property_text(first), Ok(Asked::One(_))));
        let mixed = format!("{PAIR}{first}");
        assert!(matches!(parse_property_text(&mixed), Err(VnnlibError::UnknownCommand { .. })));
    }
}
