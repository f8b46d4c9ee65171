//! Split trees as a witness file holds them: preorder, self-delimiting. Trusted; any tree is sound.
//! `spec/certificate.md#split-trees`.

use crate::kernel::branch::TreeFault;
use crate::kernel::grid::{GridError, GridNetwork};
use crate::kernel::relax::SlopeChoice;
use crate::kernel::split::{LeafWitness, Node, SplitError};
use crate::number::Dyadic;
use crate::reader::slopes::{slope, slopes_of};

/// Most nodes of a tree.
pub const MAX_NODES: usize = 1 << 18;
/// Most cuts above a node.
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

/// Trees one after the other, a node at a time: slopes and multipliers are held of one leaf only.
pub struct Trees<'a> {
    bytes: &'a [u8],
    /// Number of trees begun so far.
    count: usize,
    /// Nodes of the tree read so far.
    nodes: usize,
    /// Cuts above each node of the tree that is still to come, the next one last.
    open: Vec<usize>,
}

impl<'a> Trees<'a> {
    /// A list that begins here.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, count: 0, nodes: 0, open: Vec::new() }
    }

    /// Goes on to the next tree, and says which one it is.
    pub fn begin(&mut self) -> usize {
        (self.nodes, self.open) = (0, vec![0]);
        let tree = self.count;
        self.count = tree.saturating_add(1);
        tree
    }

    /// Whether the tree's nodes have all been read.
    pub fn is_complete(&self) -> bool {
        self.open.is_empty()
    }

    /// The tree's next node and its number. Nodes come in preorder, so that the children of a cut are not named.
    ///
    /// # Errors
    /// [`GridError::BadTree`].
    pub fn node(&mut self, network: &GridNetwork) -> Result<(usize, Node), SplitError> {
        let node = self.nodes;
        let read = self.read(network).map(|read| (node, read));
        let tree = self.count.saturating_sub(1);
        read.map_err(|fault| SplitError::Grid { node, reason: GridError::BadTree { tree, fault } })
    }

    /// Accepts iff nothing follows the last tree.
    ///
    /// # Errors
    /// [`GridError::BadTree`].
    pub fn finish(self) -> Result<(), GridError> {
        let fault = TreeFault::Trailing;
        if self.bytes.is_empty() { Ok(()) } else { Err(GridError::BadTree { tree: self.count, fault }) }
    }

    fn read(&mut self, network: &GridNetwork) -> Result<Node, TreeFault> {
        let above = self.open.pop().ok_or(TreeFault::NoTree)?;
        if self.nodes >= MAX_NODES {
            return Err(TreeFault::TooManyNodes);
        }
        self.nodes = self.nodes.saturating_add(1);
        let children = [0, 0];
        let node = match self.take::<1>()? {
            [0] => Node::Leaf { constraint: 0, witness: None },
            [1] => Node::Leaf { constraint: 0, witness: Some(self.witness(network)?) },
            [2] => Node::Relu { layer: self.short()?, neuron: self.short()?, children },
            [3] => Node::Input { coordinate: self.short()?, at: self.number()?.to_rational(), children },
            _ => return Err(TreeFault::UnknownNode),
        };
        if node.children().is_some() {
            if above >= MAX_DEPTH {
                return Err(TreeFault::TooDeep);
            }
            self.open.extend([above.saturating_add(1); 2]);
        }
        Ok(node)
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
