//! S-expressions with positions, the outer shape of VNN-LIB and SMT-LIB files. Untrusted. `spec/semantics.md#properties`.

use super::{Position, VnnlibError};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// An atom or a list, and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression<'a> {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub node: Node<'a>,
}

/// An atom or a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// A run of characters other than blanks, parentheses and `;`.
    Atom(&'a str),
    /// What stands between two parentheses.
    List(Vec<Expression<'a>>),
    /// An atom and the numbers in the brackets behind it, of VNN-LIB 2.0.
    Indexed(&'a str, Vec<usize>),
}

/// Reads every expression of a file; `;` starts a comment that ends with the line.
///
/// # Errors
/// [`VnnlibError::Unclosed`], [`VnnlibError::Unopened`], [`VnnlibError::TooDeep`], [`VnnlibError::Character`].
pub fn parse_expressions(text: &str) -> Result<Vec<Expression<'_>>, VnnlibError> {
    group(tokens(text, &[])?.into_iter())
}

/// [`parse_expressions`] of VNN-LIB 2.0, where brackets behind a word hold numbers.
///
/// # Errors
/// As [`parse_expressions`], and [`VnnlibError::Brackets`].
pub fn parse_indexed(text: &str) -> Result<Vec<Expression<'_>>, VnnlibError> {
    group(tokens(text, &['[', ']', ','])?.into_iter())
}

fn group<'a>(
    mut tokens: impl Iterator<Item = (Position, &'a str)>,
) -> Result<Vec<Expression<'a>>, VnnlibError> {
    let mut open: Vec<(Position, Vec<Expression<'_>>)> = Vec::new();
    let mut top = Vec::new();
    while let Some((at, token)) = tokens.next() {
        let list = open.last_mut().map_or(&mut top, |(_, list)| list);
        let done = match token {
            "[" => {
                let indices = indices(&mut tokens).ok_or(VnnlibError::Brackets { at })?;
                match list.last_mut().map(|e| &mut e.node) {
                    Some(node @ Node::Atom(_)) => {
                        let Node::Atom(atom) = *node else { continue };
                        *node = Node::Indexed(atom, indices);
                        continue;
                    }
                    _ => return Err(VnnlibError::Brackets { at }),
                }
            }
            "]" | "," => return Err(VnnlibError::Brackets { at }),
            "(" if open.len() >= MAX_DEPTH => return Err(VnnlibError::TooDeep { at }),
            "(" => {
                open.push((at, Vec::new()));
                continue;
            }
            ")" => {
                let (at, list) = open.pop().ok_or(VnnlibError::Unopened { at })?;
                Expression { at, node: Node::List(list) }
            }
            atom => Expression { at, node: Node::Atom(atom) },
        };
        open.last_mut().map_or(&mut top, |(_, list)| list).push(done);
    }
    match open.pop() {
        Some((at, _)) => Err(VnnlibError::Unclosed { at }),
        None => Ok(top),
    }
}

/// Numbers and commas up to the closing bracket.
fn indices<'a>(tokens: &mut impl Iterator<Item = (Position, &'a str)>) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    loop {
        match tokens.next()?.1 {
            "]" if found.is_empty() => return Some(found),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => found.push(digits.parse().ok()?),
            _ => return None,
        }
        match tokens.next()?.1 {
            "]" => return Some(found),
            "," => {}
            _ => return None,
        }
    }
}

/// Words and parentheses, and `marks`, each a token of its own.
fn tokens<'a>(text: &'a str, marks: &[char]) -> Result<Vec<(Position, &'a str)>, VnnlibError> {
    let mut found = Vec::new();
    for (line, content) in (1usize..).zip(text.lines()) {
        let code = content.split(';').next().unwrap_or("");
        let mut start = None;
        for (offset, c) in code.char_indices() {
            let at = Position { line, column: offset + 1 };
            if !(c.is_ascii_graphic() || c == ' ' || c == '\t') {
                return Err(VnnlibError::Character { at, code: c.into() });
            }
            let mark = c == '(' || c == ')' || marks.contains(&c);
            let ends = c.is_ascii_whitespace() || mark;
            if ends {
                push_atom(&mut found, code, start.take(), offset);
            } else if start.is_none() {
                start = Some(at);
            }
            if mark {
                found.push((at, &code[offset..=offset]));
            }
        }
        push_atom(&mut found, code, start, code.len());
    }
    Ok(found)
}

fn push_atom<'a>(found: &mut Vec<(Position, &'a str)>, code: &'a str, start: Option<Position>, end: usize) {
    if let Some(at) = start {
        found.push((at, &code[at.column - 1..end]));
    }
}
