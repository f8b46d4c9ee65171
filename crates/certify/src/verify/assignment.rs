//! Counterexamples of other tools as text: values of inputs, and of outputs where they are given. Untrusted. `spec/vnnlib.md`.

use std::collections::BTreeMap;

use secateur_checker::number::Rational;

use crate::property::several::{DeclaredTensor, Several};
use crate::property::vnnlib::expression::{Expression, Node, parse_indexed};
use crate::property::vnnlib::{Position, VnnlibError};

/// Why a file is no assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// Its parentheses or brackets do not fit.
    #[error("{0}")]
    Shape(#[from] VnnlibError),
    /// It says that there is none.
    #[error("line 1: it begins with {0}, so that it states no counterexample; give one that begins with sat")]
    NotSat(String),
    /// Not a pair of a name and a number.
    #[error(
        "{at}: expected (NAME NUMBER), such as (X_0 0.1); or NAME=NUMBER a line; or NAME TYPE [SHAPE] with the numbers on the \
         lines that follow"
    )]
    Entry {
        /// Where it stands.
        at: Position,
    },
    /// A name that the property does not declare.
    #[error("{at}: the property has no {name}")]
    Name {
        /// Where it stands.
        at: Position,
        /// Its first characters.
        name: String,
    },
    /// A value for the second time.
    #[error("{at}: {name} has a value already")]
    Twice {
        /// Where it stands.
        at: Position,
        /// The name.
        name: String,
    },
    /// An input without a value.
    #[error("{0} has no value")]
    Missing(String),
}

/// Values by the networks' tensors, in row-major order, exactly as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Inputs of each network.
    pub inputs: Vec<Vec<Rational>>,
    /// Outputs of each network, where they are given.
    pub outputs: Vec<Vec<Option<Rational>>>,
}

/// Network, output or input, element.
type Place = (usize, bool, usize);

struct Reader {
    places: BTreeMap<String, Place>,
    tensors: BTreeMap<String, Vec<Place>>,
    found: BTreeMap<Place, Rational>,
}

impl Reader {
    fn new(asked: &Several) -> Self {
        let (mut places, mut tensors) = (BTreeMap::new(), BTreeMap::new());
        let mut add = |network, output, tensor: &DeclaredTensor| {
            let of = |element| (network, output, element);
            places.extend((0..tensor.len()).map(|element| (tensor.element_name(element), of(element))));
            tensors.insert(tensor.name.clone(), (0..tensor.len()).map(of).collect());
        };
        for (index, network) in asked.networks.iter().enumerate() {
            add(index, false, &network.input);
            add(index, true, &network.output);
        }
        // The competition calls the elements of one network X_0, ..., Y_0, ..., whatever the property calls them.
        if let [network] = asked.networks.as_slice() {
            for (prefix, output, count) in
                [("X", false, network.input.len()), ("Y", true, network.output.len())]
            {
                for element in 0..count {
                    places.entry(format!("{prefix}_{element}")).or_insert((0, output, element));
                }
            }
        }
        Self { places, tensors, found: BTreeMap::new() }
    }

    fn set(&mut self, at: Position, name: &str, place: Place, number: &str) -> Result<(), AssignmentError> {
        let value = Rational::parse(number).ok().filter(|_| !number.contains('/'));
        let value = value.ok_or(AssignmentError::Entry { at })?;
        match self.found.insert(place, value) {
            Some(_) => Err(AssignmentError::Twice { at, name: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn named(&mut self, at: Position, name: &str, number: &str) -> Result<(), AssignmentError> {
        let spelled: String = name.chars().filter(|c| *c != ' ').collect();
        let place = self.places.get(&spelled).copied();
        let unknown = || AssignmentError::Name { at, name: name.chars().take(40).collect() };
        self.set(at, name, place.ok_or_else(unknown)?, number)
    }

    fn expression(&mut self, expression: &Expression<'_>) -> Result<(), AssignmentError> {
        let at = expression.at;
        let Node::List(parts) = &expression.node else { return Err(AssignmentError::Entry { at }) };
        match parts.iter().map(|p| &p.node).collect::<Vec<_>>().as_slice() {
            [Node::Atom(name), Node::Atom(number)] => self.named(at, name, number),
            [Node::Indexed(name, indices), Node::Atom(number)] => {
                let indices: Vec<String> = indices.iter().map(usize::to_string).collect();
                self.named(at, &format!("{name}[{}]", indices.join(",")), number)
            }
            _ => parts.iter().try_for_each(|part| self.expression(part)),
        }
    }

    fn lines<'a>(&mut self, lines: impl Iterator<Item = (usize, &'a str)>) -> Result<(), AssignmentError> {
        let mut waiting: Vec<Place> = Vec::new();
        for (line, text) in lines {
            let (at, text) = (Position { line, column: 1 }, text.trim());
            if text.is_empty() {
                continue;
            }
            if let Some((name, number)) = text.split_once('=') {
                self.named(at, name.trim(), number.trim())?;
            } else if let Some(place) = waiting.pop() {
                self.set(at, text, place, text)?;
            } else {
                let name = text.split_whitespace().next().unwrap_or_default();
                let elements = self.tensors.get(name).ok_or(AssignmentError::Entry { at })?;
                waiting = elements.iter().rev().copied().collect();
            }
        }
        Ok(())
    }

    fn finish(self, asked: &Several) -> Result<Assignment, AssignmentError> {
        let value = |network, output, element| self.found.get(&(network, output, element)).cloned();
        let mut assignment = Assignment { inputs: Vec::new(), outputs: Vec::new() };
        for (index, network) in asked.networks.iter().enumerate() {
            let missing = |element| AssignmentError::Missing(network.input.element_name(element));
            let inputs = (0..network.input.len()).map(|e| value(index, false, e).ok_or_else(|| missing(e)));
            assignment.inputs.push(inputs.collect::<Result<_, _>>()?);
            assignment.outputs.push((0..network.output.len()).map(|e| value(index, true, e)).collect());
        }
        Ok(assignment)
    }
}

/// Reads an assignment: `sat` (or nothing), then `((X_0 0.1) ... (Y_0 1.5))` as the competition has it, or lines
/// `X[0,0]=0.1`, or the VNN-LIB standard's `X real [1,2]` and a number a line.
///
/// # Errors
/// [`AssignmentError`].
pub fn parse_assignment(text: &str, asked: &Several) -> Result<Assignment, AssignmentError> {
    let mut reader = Reader::new(asked);
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line)).peekable();
    while lines.next_if(|(_, line)| line.trim().is_empty()).is_some() {}
    if let Some((_, word)) = lines.next_if(|(_, line)| line.trim().bytes().all(|b| b.is_ascii_lowercase()))
        && word.trim() != "sat"
    {
        return Err(AssignmentError::NotSat(word.trim().chars().take(40).collect()));
    }
    let rest: Vec<(usize, &str)> = lines.collect();
    let begins = rest.iter().map(|(_, line)| line.trim()).find(|line| !line.is_empty());
    if begins.is_some_and(|line| line.starts_with('(')) {
        // The lines before stay, so that places in messages are those of the file.
        let before = text.lines().count() - rest.len();
        let body = "\n".repeat(before) + &rest.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
        parse_indexed(&body)?.iter().try_for_each(|expression| reader.expression(expression))?;
    } else {
        reader.lines(rest.into_iter())?;
    }
    reader.finish(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property::vnnlib::version2::parse_several;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap()
    }

    fn asked(networks: usize) -> Several {
        let network = |n| {
            format!("(declare-network n{n} (declare-input A{n} real [1,2]) (declare-output B{n} real [1]))")
        };
        let ends =
            |n| format!("(assert (and (<= A{n}[0,0] 1) (>= A{n}[0,0] 0) (<= A{n}[0,1] 1) (>= A{n}[0,1] 0)))");
        let text: String = (0..networks).map(network).chain((0..networks).map(ends)).collect();
        parse_several(&format!("(vnnlib-version <2.0>){text}")).unwrap()
    }

    /// Numbers are what is written: 0.1 is 1/10.
    #[test]
    fn every_form_gives_the_same() {
        let expected =
            Assignment { inputs: vec![vec![r("1/10"), r("-1e-5")]], outputs: vec![vec![Some(r("2"))]] };
        for text in [
            "sat\n((X_0 0.1)\n (X_1 -1e-05)\n (Y_0 2.0))\n",
            "((X_0 0.1) (X_1 -0.00001)) ((Y_0 2))",
            "sat\n\n(A0[0,0] 0.1)\n(A0 [0, 1] -0.00001)(B0[0] 2)",
            "sat\nA0[0,0]=0.1\nA0[0,1] = -1e-5\nB0[0]=2\n",
            "\nsat\nA0 float32 [1,2]\n0.1\n-1e-5\nB0 float32 [1]\n2\n",
        ] {
            assert_eq!(parse_assignment(text, &asked(1)).as_ref(), Ok(&expected), "{text}");
        }
        let without = parse_assignment("((X_0 0.1) (X_1 0))", &asked(1)).unwrap();
        assert_eq!(without.outputs, [[None]]);
        let two = parse_assignment("A1 real [1,2]\n3\n4\nB1 real [1]\n5\nA0 real [1,2]\n1\n2\n", &asked(2))
            .unwrap();
        assert_eq!(two.inputs, [[r("1"), r("2")], [r("3"), r("4")]]);
        assert_eq!(two.outputs, [[None], [Some(r("5"))]]);
    }

    #[test]
    fn whatever_is_not_an_assignment_is_refused() {
        let at = |line, column| Position { line, column };
        let name = |at, name: &str| AssignmentError::Name { at, name: name.to_owned() };
        for (text, error) in [
            ("unsat\n", AssignmentError::NotSat("unsat".to_owned())),
            ("", AssignmentError::Missing("A0[0,0]".to_owned())),
            ("sat\n((X_0 0.1))", AssignmentError::Missing("A0[0,1]".to_owned())),
            ("sat\n((X_0 0.1)\n(X_2 1))", name(at(3, 1), "X_2")),
            ("sat\n((X_0 0.1)\n(A0[1,0] 1))", name(at(3, 1), "A0[1,0]")),
            ("sat\n((X_0 nan))", AssignmentError::Entry { at: at(2, 2) }),
            ("sat\n((X_0 1/2))", AssignmentError::Entry { at: at(2, 2) }),
            ("sat\n((X_0 1)\n(X_0 1))", AssignmentError::Twice { at: at(3, 1), name: "X_0".to_owned() }),
            (
                "sat\n((X_0 1)\n(A0[0,0] 1))",
                AssignmentError::Twice { at: at(3, 1), name: "A0[0,0]".to_owned() },
            ),
            ("sat\n((X_0 1)", AssignmentError::Shape(VnnlibError::Unclosed { at: at(2, 1) })),
            ("sat\n(X_0)", AssignmentError::Entry { at: at(2, 2) }),
            ("sat\nA0[0,0]=1\nhello", AssignmentError::Entry { at: at(3, 1) }),
            ("A0 real [1,2]\n1\n2\n3", AssignmentError::Entry { at: at(4, 1) }),
        ] {
            assert_eq!(parse_assignment(text, &asked(1)), Err(error), "{text}");
        }
        // Two networks have no X_0.
        assert_eq!(parse_assignment("((X_0 1))", &asked(2)), Err(name(at(1, 2), "X_0")));
    }
}
