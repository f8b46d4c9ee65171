//! Split trees as a witness file holds them: preorder, self-delimiting. Trusted; any tree is sound.
//! `spec/certificate.md#split-trees`.

use crate::kernel::branch::TreeFault;
use crate::kernel::grid::{GridError, GridNetwork};
use crate::kernel::relax::SlopeChoice;
use crate::kernel::split::{LeafWitness, Node};
use crate::number::Dyadic;
use crate::reader::slopes::{slope, slopes_of};

/// Most nodes of a tree.
pub const MAX_NODES: usize = 1 << 18;
/// Most cuts above a node; bounds how many regions wait at a time.
pub const MAX_DEPTH: usize = 512;
/// Bytes of one entry of the table of ends.
const END_BYTES: usize = 8;

/// The trees of one state: what `bytes` holds between two ends. The table of ends comes first, one unsigned 64-bit number
/// a state, counted from the end of the table.
pub fn state_block(bytes: &[u8], states: usize, state: usize) -> Option<&[u8]> {
    let (table, data) = bytes.split_at_checked(states.checked_mul(END_BYTES)?)?;
    let end_of = |index: usize| -> Option<usize> {
        let start = index.checked_mul(END_BYTES)?;
        let entry = table.get(start..start.checked_add(END_BYTES)?)?;
        usize::try_from(u64::from_le_bytes(entry.try_into().ok()?)).ok()
    };
    let end = end_of(state)?;
    let last = state.checked_add(1)? == states;
    let start = state.checked_sub(1).map_or(Some(0), end_of)?;
    if last && end != data.len() { None } else { data.get(start..end) }
}

/// Trees one after the other.
pub struct Trees<'a> {
    bytes: &'a [u8],
    /// Number of trees read so far.
    pub count: usize,
}

impl<'a> Trees<'a> {
    /// A list that begins here.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, count: 0 }
    }

    /// The next tree.
    ///
    /// # Errors
    /// [`GridError::BadTree`].
    pub fn next_tree(&mut self, network: &GridNetwork) -> Result<Vec<Node>, GridError> {
        let nodes = self.nodes(network).map_err(|fault| GridError::BadTree { tree: self.count, fault })?;
        self.count = self.count.saturating_add(1);
        Ok(nodes)
    }

    /// Accepts iff nothing follows the last tree.
    ///
    /// # Errors
    /// [`GridError::BadTree`].
    pub fn finish(self) -> Result<(), GridError> {
        let fault = TreeFault::Trailing;
        if self.bytes.is_empty() { Ok(()) } else { Err(GridError::BadTree { tree: self.count, fault }) }
    }

    fn nodes(&mut self, network: &GridNetwork) -> Result<Vec<Node>, TreeFault> {
        let mut nodes: Vec<Node> = Vec::new();
        // Cuts whose second child has not begun, innermost last.
        let mut open: Vec<usize> = Vec::new();
        loop {
            let index = nodes.len();
            if index >= MAX_NODES {
                return Err(TreeFault::TooManyNodes);
            }
            // The first child follows at once; the second is set when it begins.
            let next = index.saturating_add(1);
            let children = [next, next];
            let node = match self.take::<1>()? {
                [0] => Node::Leaf { constraint: 0, witness: None },
                [1] => Node::Leaf { constraint: 0, witness: Some(self.witness(network)?) },
                [2] => Node::Relu { layer: self.short()?, neuron: self.short()?, children },
                [3] => Node::Input { coordinate: self.short()?, at: self.number()?.to_rational(), children },
                _ => return Err(TreeFault::UnknownNode),
            };
            let is_leaf = matches!(node, Node::Leaf { .. });
            nodes.push(node);
            if !is_leaf {
                open.push(index);
                if open.len() > MAX_DEPTH {
                    return Err(TreeFault::TooDeep);
                }
                continue;
            }
            let Some(parent) = open.pop() else { return Ok(nodes) };
            if let Some(Node::Relu { children, .. } | Node::Input { children, .. }) = nodes.get_mut(parent) {
                let [_, second] = children;
                *second = next;
            }
        }
    }

    /// Slopes of the layers that have an activation, in order, then multipliers.
    fn witness(&mut self, network: &GridNetwork) -> Result<LeafWitness, TreeFault> {
        let mut witness = LeafWitness::default();
        for layer in &network.layers {
            let kinds = slopes_of(&layer.activation);
            let mut slopes = Vec::new();
            let count = if kinds == 0 { 0 } else { self.short()? };
            for _ in 0..count {
                let neuron = self.short()?;
                if neuron < slopes.len() {
                    return Err(TreeFault::NotAscending);
                }
                if neuron >= layer.outputs {
                    return Err(TreeFault::NoSuchPlace);
                }
                slopes.resize(neuron, SlopeChoice::default());
                let lower = Some(slope(u16::from_le_bytes(self.take()?)));
                let upper = if kinds == 2 { Some(slope(u16::from_le_bytes(self.take()?))) } else { None };
                slopes.push(SlopeChoice { upper, lower });
            }
            if count > 0 {
                slopes.resize(layer.outputs, SlopeChoice::default());
            }
            witness.slopes.push(slopes);
            witness.multipliers.push(Vec::new());
        }
        for _ in 0..self.short()? {
            let (layer, neuron) = (self.short()?, self.short()?);
            let value = i64::from(u32::from_le_bytes(self.take()?));
            let width = network.layers.get(layer).map_or(0, |l| l.outputs);
            let list = witness.multipliers.get_mut(layer).ok_or(TreeFault::NoSuchPlace)?;
            list.resize(width, 0);
            *list.get_mut(neuron).ok_or(TreeFault::NoSuchPlace)? = value;
        }
        Ok(witness)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], TreeFault> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(TreeFault::Truncated)?;
        self.bytes = tail;
        Ok(*head)
    }

    fn short(&mut self) -> Result<usize, TreeFault> {
        Ok(usize::from(u16::from_le_bytes(self.take()?)))
    }

    /// A finite binary64 number, exactly.
    fn number(&mut self) -> Result<Dyadic, TreeFault> {
        Dyadic::from_ieee(u64::from_le_bytes(self.take()?), 52, 11).ok_or(TreeFault::NotANumber)
    }
}
