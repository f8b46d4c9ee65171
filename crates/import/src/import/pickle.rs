//! An inert pickle reader: opcodes build a graph of plain nodes, and nothing is ever called or imported. Untrusted.
//! `spec/import-sb3.md#pickles`.
//!
//! A class or function is a name; calling one is a node that remembers what would have been called. So a pickle that
//! asks for `os.system` yields a node nobody looks at.
//!
//! # References
//! CPython, `Lib/pickletools.py`, protocols 0 to 5.

use super::array::{Array, Element, from_fortran, swapped};
use crate::import::problem::Problem;
use serde_json::{Map, Value};

mod machine;

/// Nodes one pickle may make.
pub(super) const MAX_NODES: usize = 2_000_000;
/// Entries of the memo.
pub(super) const MAX_MEMO: usize = 1_000_000;
/// Marks open at once.
pub(super) const MAX_DEPTH: usize = 1_000;

/// A node of the graph; numbers are indices of nodes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian two's complement.
    Wide(Vec<u8>),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// A string of Python 2: text or bytes, as it is asked for.
    Str(Vec<u8>),
    Tuple(Vec<usize>),
    /// Lists, sets and dictionaries' items in order.
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    /// `module name`, never imported.
    Global(String, String),
    /// What would have been a call, with the state set later and the items put in later.
    Call {
        callable: usize,
        arguments: usize,
        state: Option<usize>,
        items: Vec<(usize, usize)>,
    },
    Persistent(usize),
    Mark,
}

/// The graph of one pickle.
pub(super) struct Pickle {
    nodes: Vec<Node>,
}

/// Whether the bytes start as a binary pickle does.
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// Whether the bytes are a pickle of protocol 0 or 1, which have no mark of their own: they start as one and end with STOP.
pub(super) fn is_old_pickle(bytes: &[u8]) -> bool {
    let start = matches!(bytes.first(), Some(b'(' | b'c' | b'}' | b']'));
    start && Pickle::parse(bytes, 0).is_ok_and(|(_, _, end)| bytes[end..].iter().all(u8::is_ascii_whitespace))
}

impl Pickle {
    /// Reads the pickle that starts at byte `start`; returns its root and the byte after its STOP.
    ///
    /// # Errors
    /// [`Problem::Pickle`] with the byte: cut short, beyond the caps, an unknown opcode, a stack that does not fit.
    pub(super) fn parse(bytes: &[u8], start: usize) -> Result<(Self, usize, usize), Problem> {
        let mut machine = machine::Machine::new(bytes, start);
        let root = machine.run()?;
        let end = machine.at;
        Ok((Self { nodes: machine.nodes }, root, end))
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        self.nodes.get(index).unwrap_or(&Node::None)
    }

    pub(super) fn text(&self, index: usize) -> Option<&str> {
        match self.node(index) {
            Node::Text(text) => Some(text),
            Node::Str(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, index: usize) -> Option<bool> {
        if let Node::Bool(value) = self.node(index) { Some(*value) } else { None }
    }

    pub(super) fn size(&self, index: usize) -> Option<usize> {
        if let Node::Int(value) = self.node(index) { usize::try_from(*value).ok() } else { None }
    }

    /// A number, a NumPy scalar or a NumPy array of one entry without dimensions, as binary64.
    pub(super) fn float(&self, index: usize) -> Option<f64> {
        match self.node(index) {
            Node::Float(value) => Some(*value),
            Node::Int(value) => Some(*value as f64),
            Node::Call { arguments, .. } if self.class(index) == Some("scalar") => {
                let &[dtype, data] = self.sequence(*arguments)? else { return None };
                let (element, big) = self.dtype(dtype)?;
                let raw = self.raw(data)?;
                let raw = if big { swapped(element.width(), raw) } else { raw };
                Array::new("scalar", element, vec![], raw).ok()?.number()
            }
            _ => self.array("number", index).ok()??.number(),
        }
    }

    pub(super) fn sequence(&self, index: usize) -> Option<&[usize]> {
        match self.node(index) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// Sizes in a tuple.
    pub(super) fn sizes(&self, index: usize) -> Option<Vec<usize>> {
        self.sequence(index)?.iter().map(|&i| self.size(i)).collect()
    }

    /// Entries of a dictionary or of an object that was filled like one.
    pub(super) fn entries(&self, index: usize) -> &[(usize, usize)] {
        match self.node(index) {
            Node::Dict(entries) | Node::Call { items: entries, .. } => entries,
            _ => &[],
        }
    }

    /// The last value stored under a text key.
    pub(super) fn entry(&self, index: usize, key: &str) -> Option<usize> {
        self.entries(index).iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// Attribute of an object from the state it would have been given: a dictionary, or `(dictionary, slots)`.
    pub(super) fn attribute(&self, index: usize, key: &str) -> Option<usize> {
        let Node::Call { state: Some(state), .. } = self.node(index) else { return None };
        match self.node(*state) {
            Node::Tuple(parts) => parts.iter().rev().find_map(|&part| self.entry(part, key)),
            _ => self.entry(*state, key),
        }
    }

    /// Module and name of a class or function.
    pub(super) fn global(&self, index: usize) -> Option<(&str, &str)> {
        if let Node::Global(module, name) = self.node(index) { Some((module, name)) } else { None }
    }

    /// Module and name of what a call node calls; of the object's class where `copyreg` makes it.
    pub(super) fn class_path(&self, index: usize) -> Option<(&str, &str)> {
        let Node::Call { callable, .. } = self.node(index) else { return None };
        match self.global(*callable)? {
            (_, "_reconstructor" | "__newobj__" | "__newobj_ex__") => {
                self.global(*self.arguments(index)?.first()?)
            }
            path => Some(path),
        }
    }

    /// Name, without its module, of the class or function a call node names.
    pub(super) fn class(&self, index: usize) -> Option<&str> {
        self.class_path(index).map(|(_, name)| name)
    }

    /// Arguments of a call node.
    pub(super) fn arguments(&self, index: usize) -> Option<&[usize]> {
        if let Node::Call { arguments, .. } = self.node(index) { self.sequence(*arguments) } else { None }
    }

    /// Plain values as JSON; a class as `<class 'module.name'>`, as `str` writes it. `None` for anything else.
    pub(super) fn json(&self, index: usize, depth: usize) -> Option<Value> {
        if depth == 0 {
            return None;
        }
        Some(match self.node(index) {
            Node::None => Value::Null,
            Node::Bool(value) => Value::from(*value),
            Node::Int(value) => Value::from(*value),
            Node::Float(value) => serde_json::Number::from_f64(*value)?.into(),
            Node::Text(_) | Node::Str(_) => Value::from(self.text(index)?),
            Node::Tuple(items) | Node::List(items) => {
                items.iter().map(|&item| self.json(item, depth - 1)).collect::<Option<_>>()?
            }
            Node::Dict(entries) => {
                let pairs = entries
                    .iter()
                    .map(|&(key, value)| Some((self.text(key)?.to_owned(), self.json(value, depth - 1)?)));
                Value::Object(pairs.collect::<Option<Map<_, _>>>()?)
            }
            Node::Global(module, name) => Value::from(format!("<class '{module}.{name}'>")),
            Node::Call { .. } if self.class(index) == Some("scalar") => {
                let value = self.float(index)?;
                match value.fract() == 0.0 && value.abs() < 9e15 {
                    true => Value::from(value as i64),
                    false => serde_json::Number::from_f64(value)?.into(),
                }
            }
            _ => return None,
        })
    }

    /// Every object of a class, in the order they were made.
    pub(super) fn objects(&self, class: &str) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&i| self.class(i) == Some(class)).collect()
    }

    /// Keys of all persistent objects (PyTorch's storages).
    pub(super) fn persistent(&self) -> Vec<usize> {
        self.nodes
            .iter()
            .filter_map(|n| if let Node::Persistent(key) = n { Some(*key) } else { None })
            .collect()
    }

    /// A NumPy array; `None` if the node is something else.
    ///
    /// # Errors
    /// [`Problem::ShapeSize`] if shape and bytes disagree; [`Problem::NotFloats`] for entries that are not read.
    pub(super) fn array(&self, name: &str, index: usize) -> Result<Option<Array>, Problem> {
        let (shape, dtype, fortran, data) = match (self.class(index), self.node(index)) {
            // numpy: _reconstruct(ndarray, (0,), b"b"), then the state (version, shape, dtype, fortran, data)
            (Some("_reconstruct"), Node::Call { state: Some(state), .. }) => {
                let Some(&[_, shape, dtype, fortran, data]) = self.sequence(*state) else { return Ok(None) };
                (shape, dtype, self.boolean(fortran) == Some(true), data)
            }
            // protocol 5: _frombuffer(data, dtype, shape, order)
            (Some("_frombuffer"), _) => {
                let Some(&[data, dtype, shape, order]) = self.arguments(index) else { return Ok(None) };
                (shape, dtype, self.text(order) == Some("F"), data)
            }
            _ => return Ok(None),
        };
        let (Some(shape), Some((element, big)), Some(raw)) =
            (self.sizes(shape), self.dtype(dtype), self.raw(data))
        else {
            return Err(Problem::NotFloats(name.to_owned()));
        };
        let array = Array::new(name, element, shape, raw)?;
        let bytes = if big { swapped(element.width(), array.bytes) } else { array.bytes };
        let bytes = if fortran { from_fortran(&array.shape, element.width(), &bytes) } else { bytes };
        Ok(Some(Array { bytes, ..array }))
    }

    /// A NumPy dtype, and whether it is big-endian.
    fn dtype(&self, index: usize) -> Option<(Element, bool)> {
        if self.class(index) != Some("dtype") {
            return None;
        }
        let code = self.text(*self.arguments(index)?.first()?)?;
        let big = match self.node(index) {
            Node::Call { state: Some(state), .. } => {
                self.sequence(*state).and_then(|s| s.get(1)).and_then(|&order| self.text(order)) == Some(">")
            }
            _ => false,
        };
        let big = big || code.starts_with('>');
        Some((Element::from_numpy(code.trim_start_matches(['<', '>', '|', '=']))?, big))
    }

    /// Bytes, also as `_codecs.encode(text, "latin1")`, which Python 2 protocols write.
    fn raw(&self, index: usize) -> Option<Vec<u8>> {
        match self.node(index) {
            Node::Bytes(bytes) | Node::Str(bytes) => Some(bytes.clone()),
            Node::Call { .. } if self.class(index) == Some("encode") => {
                let text = self.text(*self.arguments(index)?.first()?)?;
                text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cos\nsystem\n(S'touch x'\ntR.`: the textbook attack.
    #[test]
    fn calls_are_remembered_and_never_made() {
        let (pickle, root, end) = Pickle::parse(b"cos\nsystem\n(S'touch x'\ntR.", 0).expect("readable");
        assert_eq!((pickle.class(root), end), (Some("system"), 26));
        assert_eq!(pickle.text(pickle.arguments(root).expect("arguments")[0]), Some("touch x"));
    }

    #[test]
    fn caps() {
        let reason = |bytes: &[u8]| match Pickle::parse(bytes, 0) {
            Err(Problem::Pickle { reason, .. }) => reason,
            _ => "accepted",
        };
        assert_eq!(reason(&[b'('; 2000]), "it nests too deeply");
        assert_eq!(reason(&vec![b'N'; MAX_NODES + 1]), "it makes too many objects");
        assert_eq!(reason(&[b'X', 255, 255, 255, 255]), "it is cut short");
        assert_eq!(reason(b"h\x07."), "it reads a memo entry it never wrote");
        assert_eq!(reason(b"\xff"), "an opcode is unknown");
        assert_eq!(reason(b"."), "its stack is empty");
        let mut memo = b"N".to_vec();
        (0..=MAX_MEMO as u32).for_each(|key| memo.extend([&[b'r'][..], &key.to_le_bytes()].concat()));
        assert_eq!(reason(&memo), "its memo is too large");
    }

    #[test]
    fn text_lines_are_read_as_python_writes_them() {
        let text = |bytes: &[u8]| {
            let (pickle, root, _) = Pickle::parse(bytes, 0).expect("readable");
            pickle.text(root).map(str::to_owned)
        };
        assert_eq!(text(b"V\xc4\\u005cx\n.").as_deref(), Some("\u{c4}\\x"));
        assert_eq!(text(b"S'a\\x41\\n\\''\n.").as_deref(), Some("aA\n'"));
        assert!(Pickle::parse(b"S'a\n.", 0).is_err());
        assert!(Pickle::parse(b"V\\u12\n.", 0).is_err());
    }

    #[test]
    fn a_state_is_set_once_and_buffers_outside_the_file_are_refused() {
        let twice = b"cm\nC\n)\x81}b}b.";
        assert!(matches!(Pickle::parse(twice, 0), Err(Problem::Pickle { .. })));
        assert!(Pickle::parse(b"cm\nC\n)\x81}b.", 0).is_ok());
        assert!(matches!(Pickle::parse(b"\x80\x05\x97\x98.", 0), Err(Problem::Pickle { .. })));
    }

    #[test]
    fn integers_of_every_width() {
        let root = |bytes: &[u8]| {
            let (pickle, root, _) = Pickle::parse(bytes, 0).expect("readable");
            pickle.node(root).clone()
        };
        assert_eq!(root(b"\x8a\x01\xff."), Node::Int(-1));
        assert_eq!(root(b"\x8a\x02\xff\x00."), Node::Int(255));
        assert_eq!(root(b"J\xfe\xff\xff\xff."), Node::Int(-2));
        assert_eq!(root(b"G\x40\x24\x00\x00\x00\x00\x00\x00."), Node::Float(10.0));
    }
}
