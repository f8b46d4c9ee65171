//! The pickle machine: opcodes to nodes, with caps on objects, memo and depth. Untrusted. `spec/import-sb3.md#pickles`.
//!
//! Strings of protocol 0 are decoded as Python writes them: `V` lines are raw-unicode-escape, `S` lines are `repr`.

use super::{MAX_DEPTH, MAX_MEMO, MAX_NODES, Node};
use crate::import::problem::Problem;
use std::collections::HashMap;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) nodes: Vec<Node>,
    stack: Vec<usize>,
    memo: HashMap<u64, usize>,
    marks: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, nodes: Vec::new(), stack: Vec::new(), memo: HashMap::new(), marks: 0 }
    }

    /// Runs to STOP and returns the object on top.
    pub(super) fn run(&mut self) -> Result<usize, Problem> {
        while self.step()? {}
        self.pop()
    }

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

    fn line(&mut self) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let Some(end) = rest.iter().take(1 << 24).position(|&b| b == b'\n') else {
            return self.fail("a line does not end");
        };
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn name(&mut self) -> Result<String, Problem> {
        Ok(String::from_utf8_lossy(self.line()?).trim_end_matches('\r').to_owned())
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
        match &mut self.nodes[target] {
            // a second state would be merged into the first: no library writes that
            Node::Call { state: Some(_), .. } => self.fail("it sets the state of one object twice"),
            Node::Call { state, .. } => {
                *state = Some(given);
                Ok(())
            }
            _ => Ok(()),
        }
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
            b'C' | b'B' | 0x8e | 0x96 => {
                let length = self.length(match code {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.raw(length)
            }
            b'U' | b'T' => {
                let length = self.length(if code == b'U' { 1 } else { 4 })?;
                let bytes = self.take(length)?.to_vec();
                self.push(Node::Str(bytes))
            }
            b'I' | b'L' | b'F' | b'S' | b'V' => self.step_line(code),
            _ => self.step_container(code),
        }
    }

    /// Protocol 0: values written as lines.
    fn step_line(&mut self, code: u8) -> Result<(), Problem> {
        let line = self.line()?;
        let number = || std::str::from_utf8(line).ok().map(|l| l.trim_end_matches(['L', '\r']));
        let node = match code {
            b'I' if line == b"00" || line == b"01" => Some(Node::Bool(line == b"01")),
            b'I' | b'L' => number().and_then(|n| n.parse().ok()).map(Node::Int),
            b'F' => number().and_then(|n| n.parse().ok()).map(Node::Float),
            b'V' => raw_unicode_escape(line).map(Node::Text),
            _ => string_repr(line).map(Node::Str),
        };
        match node {
            Some(node) => self.push(node),
            None => self.fail("a number or text cannot be read"),
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
                let (module, name) = (self.name()?, self.name()?);
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
                let line = self.name()?;
                match line.parse() {
                    Ok(key) if code == b'p' => self.put(key),
                    Ok(key) => self.get(key),
                    Err(_) => self.fail("a number cannot be read"),
                }
            }
            0x97 => {
                self.fail("its arrays lie in buffers outside the file; save it again without buffer_callback")
            }
            0x98 => Ok(()),
            _ => self.fail("an opcode is unknown"),
        }
    }
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`, as `V` lines are written.
fn raw_unicode_escape(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let width = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                rest = after;
                continue;
            }
        };
        let digits = std::str::from_utf8(after.get(1..=width)?).ok()?;
        text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = &after[width + 1..];
    }
    Some(text)
}

/// The bytes of a quoted string with Python's escapes, as `S` lines are written.
fn string_repr(line: &[u8]) -> Option<Vec<u8>> {
    let quoted = line.trim_ascii();
    let (&quote, rest) = quoted.split_first()?;
    let inner = rest.strip_suffix(&[quote]).filter(|_| matches!(quote, b'\'' | b'"'))?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [*rest.next()?, *rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain @ (b'\\' | b'\'' | b'"') => *plain,
            _ => return None,
        });
    }
    Some(bytes)
}
