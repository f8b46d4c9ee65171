//! An inert pickle reader: opcodes build a graph of plain nodes, and nothing is ever called or imported. Untrusted.
//! `spec/semantics.md#files`.
//!
//! A class or function is a name; calling one is a node that remembers what would have been called. So a pickle that
//! asks for `os.system` yields a node nobody looks at.
//!
//! # References
//! CPython, `Lib/pickletools.py`, protocols 0 to 5.

use super::Problem;
use super::array::{Array, Element, from_fortran, swapped};
use std::collections::HashMap;

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

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    memo: HashMap<u64, usize>,
    marks: usize,
}

impl Pickle {
    /// Reads the pickle that starts at byte `start`; returns its root and the byte after its STOP.
    ///
    /// # Errors
    /// [`Problem::Pickle`] with the byte: cut short, beyond the caps, an unknown opcode, a stack that does not fit.
    pub(super) fn parse(bytes: &[u8], start: usize) -> Result<(Self, usize, usize), Problem> {
        let mut machine = Machine {
            bytes,
            at: start,
            nodes: Vec::new(),
            stack: Vec::new(),
            memo: HashMap::new(),
            marks: 0,
        };
        while machine.step()? {}
        let root = machine.pop()?;
        let end = machine.at;
        Ok((Self { nodes: machine.nodes }, root, end))
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        self.nodes.get(index).unwrap_or(&Node::None)
    }

    pub(super) fn text(&self, index: usize) -> Option<&str> {
        if let Node::Text(text) = self.node(index) { Some(text) } else { None }
    }

    pub(super) fn boolean(&self, index: usize) -> Option<bool> {
        if let Node::Bool(value) = self.node(index) { Some(*value) } else { None }
    }

    pub(super) fn size(&self, index: usize) -> Option<usize> {
        if let Node::Int(value) = self.node(index) { usize::try_from(*value).ok() } else { None }
    }

    /// A number or a NumPy scalar as binary64.
    pub(super) fn float(&self, index: usize) -> Option<f64> {
        match self.node(index) {
            Node::Float(value) => Some(*value),
            Node::Int(value) => Some(*value as f64),
            Node::Call { arguments, .. } if self.class(index) == Some("scalar") => {
                let &[dtype, data] = self.sequence(*arguments)? else { return None };
                let (element, _) = self.dtype(dtype)?;
                let array = Array::new("scalar", element, vec![], self.raw(data)?).ok()?;
                array.tensor()?.floats().first().copied()
            }
            _ => None,
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

    /// Attribute of an object from the state it would have been given.
    pub(super) fn attribute(&self, index: usize, key: &str) -> Option<usize> {
        match self.node(index) {
            Node::Call { state: Some(state), .. } => self.entry(*state, key),
            _ => None,
        }
    }

    /// Name, without its module, of the class or function a call node names.
    pub(super) fn class(&self, index: usize) -> Option<&str> {
        let Node::Call { callable, .. } = self.node(index) else { return None };
        if let Node::Global(_, name) = self.node(*callable) { Some(name) } else { None }
    }

    /// Arguments of a call node.
    pub(super) fn arguments(&self, index: usize) -> Option<&[usize]> {
        if let Node::Call { arguments, .. } = self.node(index) { self.sequence(*arguments) } else { None }
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
    /// [`Problem::ShapeSize`] if shape and bytes disagree.
    pub(super) fn array(&self, name: &str, index: usize) -> Result<Option<Array>, Problem> {
        let Node::Call { state: Some(state), .. } = self.node(index) else { return Ok(None) };
        if self.class(index) != Some("_reconstruct") {
            return Ok(None);
        }
        let Some(&[_, shape, dtype, fortran, data]) = self.sequence(*state) else { return Ok(None) };
        let (Some(shape), Some((element, big)), Some(raw)) =
            (self.sizes(shape), self.dtype(dtype), self.raw(data))
        else {
            return Ok(None);
        };
        let array = Array::new(name, element, shape, raw)?;
        let bytes = if big { swapped(element.width(), array.bytes) } else { array.bytes };
        let fortran = self.boolean(fortran) == Some(true);
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
        Some((Element::from_numpy(code.trim_start_matches(['<', '>', '|', '=']))?, big))
    }

    /// Bytes, also as `_codecs.encode(text, "latin1")`, which Python 2 protocols write.
    fn raw(&self, index: usize) -> Option<Vec<u8>> {
        match self.node(index) {
            Node::Bytes(bytes) => Some(bytes.clone()),
            Node::Call { .. } if self.class(index) == Some("encode") => {
                let text = self.text(*self.arguments(index)?.first()?)?;
                text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
            }
            _ => None,
        }
    }
}

impl Machine<'_> {
    fn fail<T>(&self, reason: &'static str) -> Result<T, Problem> {
        Err(Problem::Pickle { at: self.at, reason })
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Problem> {
        match self.at.checked_add(count).filter(|&end| end <= self.bytes.len()) {
            Some(end) => {
                let taken = &self.bytes[self.at..end];
                self.at = end;
                Ok(taken)
            }
            None => self.fail("it is cut short"),
        }
    }

    /// Unsigned little-endian number of so many bytes.
    fn unsigned(&mut self, width: usize) -> Result<u64, Problem> {
        Ok(self.take(width)?.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b)))
    }

    fn length(&mut self, width: usize) -> Result<usize, Problem> {
        let length = self.unsigned(width)?;
        match usize::try_from(length) {
            Ok(length) => Ok(length),
            Err(_) => self.fail("a length is too large"),
        }
    }

    fn line(&mut self) -> Result<String, Problem> {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let Some(end) = rest.iter().take(1 << 20).position(|&b| b == b'\n') else {
            return self.fail("a line does not end");
        };
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 1;
        Ok(text)
    }

    fn push(&mut self, node: Node) -> Result<(), Problem> {
        if self.nodes.len() >= MAX_NODES {
            return self.fail("it makes too many objects");
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, Problem> {
        match self.stack.pop() {
            Some(top) if self.nodes[top] != Node::Mark => Ok(top),
            _ => self.fail("its stack is empty"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<usize>, Problem> {
        match self.stack.iter().rposition(|&i| self.nodes[i] == Node::Mark) {
            Some(mark) => {
                let items = self.stack.split_off(mark + 1);
                self.stack.pop();
                self.marks -= 1;
                Ok(items)
            }
            None => self.fail("a mark is missing"),
        }
    }

    fn text(&mut self, length: usize) -> Result<(), Problem> {
        // a lone surrogate is written as invalid UTF-8; such names are never looked up
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Node::Text(text))
    }

    fn raw(&mut self, length: usize) -> Result<(), Problem> {
        let bytes = self.take(length)?.to_vec();
        self.push(Node::Bytes(bytes))
    }

    fn long(&mut self, length: usize) -> Result<(), Problem> {
        let bytes = self.take(length)?.to_vec();
        if bytes.len() > 8 {
            return self.push(Node::Wide(bytes));
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xFF } else { 0 };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    fn put(&mut self, key: u64) -> Result<(), Problem> {
        if self.memo.len() >= MAX_MEMO {
            return self.fail("its memo is too large");
        }
        match self.stack.last() {
            Some(&top) => {
                self.memo.insert(key, top);
                Ok(())
            }
            None => self.fail("its stack is empty"),
        }
    }

    fn get(&mut self, key: u64) -> Result<(), Problem> {
        match self.memo.get(&key) {
            Some(&index) => {
                self.stack.push(index);
                Ok(())
            }
            None => self.fail("it reads a memo entry it never wrote"),
        }
    }

    fn tuple(&mut self, count: usize) -> Result<(), Problem> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items))
    }

    fn call(&mut self) -> Result<(), Problem> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        self.push(Node::Call { callable, arguments, state: None, items: Vec::new() })
    }

    fn insert(&mut self, added: Vec<usize>) -> Result<(), Problem> {
        let Some(&target) = self.stack.last() else { return self.fail("its stack is empty") };
        if !added.len().is_multiple_of(2) {
            return self.fail("a key has no value");
        }
        let pairs = added.chunks_exact(2).map(|p| (p[0], p[1]));
        match &mut self.nodes[target] {
            Node::Dict(entries) | Node::Call { items: entries, .. } => entries.extend(pairs),
            _ => return self.fail("items are put into something that is no dictionary"),
        }
        Ok(())
    }

    fn append(&mut self, added: Vec<usize>) -> Result<(), Problem> {
        let Some(&target) = self.stack.last() else { return self.fail("its stack is empty") };
        match &mut self.nodes[target] {
            Node::List(items) => items.extend(added),
            Node::Call { .. } => {} // items of a foreign list class: never read
            _ => return self.fail("items are appended to something that is no list"),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<(), Problem> {
        let given = self.pop()?;
        let Some(&target) = self.stack.last() else { return self.fail("its stack is empty") };
        if let Node::Call { state, .. } = &mut self.nodes[target] {
            *state = Some(given);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<bool, Problem> {
        let code = self.unsigned(1)? as u8;
        match code {
            b'.' => return Ok(false),
            0x80 => self.take(1).map(|_| ())?,
            0x95 => self.take(8).map(|_| ())?,
            b'(' => {
                self.marks += 1;
                if self.marks > MAX_DEPTH {
                    return self.fail("it nests too deeply");
                }
                self.push(Node::Mark)?;
            }
            b'0' => self.pop().map(|_| ())?,
            b'1' => self.pop_mark().map(|_| ())?,
            b'2' => match self.stack.last() {
                Some(&top) => self.stack.push(top),
                None => return self.fail("its stack is empty"),
            },
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            _ => self.step_value(code)?,
        }
        Ok(true)
    }

    fn step_value(&mut self, code: u8) -> Result<(), Problem> {
        match code {
            b'J' => {
                let value = self.unsigned(4)? as u32 as i32;
                self.push(Node::Int(i64::from(value)))
            }
            b'K' | b'M' => {
                let value = self.unsigned(if code == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(value as i64))
            }
            b'G' => {
                let value = f64::from_bits(self.unsigned(8)?.swap_bytes());
                self.push(Node::Float(value))
            }
            0x8a | 0x8b => {
                let length = self.length(if code == 0x8a { 1 } else { 4 })?;
                self.long(length)
            }
            0x8c | b'X' | 0x8d => {
                let length = self.length(match code {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                })?;
                self.text(length)
            }
            b'C' | b'U' | b'B' | b'T' | 0x8e | 0x96 => {
                let length = self.length(match code {
                    b'C' | b'U' => 1,
                    b'B' | b'T' => 4,
                    _ => 8,
                })?;
                self.raw(length)
            }
            b'I' | b'L' | b'F' | b'S' | b'V' => self.step_line(code),
            _ => self.step_container(code),
        }
    }

    /// Protocol 0: values written as lines.
    fn step_line(&mut self, code: u8) -> Result<(), Problem> {
        let line = self.line()?;
        let node = match code {
            b'I' if line == "00" || line == "01" => Some(Node::Bool(line == "01")),
            b'I' | b'L' => line.trim_end_matches('L').parse().ok().map(Node::Int),
            b'F' => line.parse().ok().map(Node::Float),
            _ => Some(Node::Text(line.trim_matches(['\'', '"']).to_owned())),
        };
        match node {
            Some(node) => self.push(node),
            None => self.fail("a number cannot be read"),
        }
    }

    fn step_container(&mut self, code: u8) -> Result<(), Problem> {
        match code {
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(if code == b't' { Node::Tuple(items) } else { Node::List(items) })
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.insert(items)
            }
            0x85..=0x87 => self.tuple(usize::from(code) - 0x84),
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![key, value])
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.insert(items)
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)
            }
            _ => self.step_object(code),
        }
    }

    fn step_object(&mut self, code: u8) -> Result<(), Problem> {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(module, name))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.nodes[module], &self.nodes[name]) {
                    (Node::Text(module), Node::Text(name)) => {
                        let global = Node::Global(module.clone(), name.clone());
                        self.push(global)
                    }
                    _ => self.fail("a class is named by something that is no text"),
                }
            }
            b'R' | 0x81 => self.call(),
            0x92 => {
                let _keywords = self.pop()?;
                self.call()
            }
            b'o' | b'i' => self.fail("it makes objects the way of Python 1; save it again"),
            b'b' => self.build(),
            b'Q' => {
                let key = self.pop()?;
                self.push(Node::Persistent(key))
            }
            b'q' | b'r' => {
                let key = self.unsigned(if code == b'q' { 1 } else { 4 })?;
                self.put(key)
            }
            0x94 => self.put(self.memo.len() as u64),
            b'h' | b'j' => {
                let key = self.unsigned(if code == b'h' { 1 } else { 4 })?;
                self.get(key)
            }
            b'p' | b'g' => {
                let line = self.line()?;
                match line.parse() {
                    Ok(key) if code == b'p' => self.put(key),
                    Ok(key) => self.get(key),
                    Err(_) => self.fail("a number cannot be read"),
                }
            }
            _ => self.fail("an opcode is unknown"),
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
