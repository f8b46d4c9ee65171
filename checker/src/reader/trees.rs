//! Split trees as a witness file holds them: preorder, self-delimiting. Trusted; any tree is sound.
//! `spec/certificate.md#split-trees`.

use crate::kernel::fault::{Fault, Place};
use crate::kernel::grid::GridNetwork;
use crate::kernel::relax::SlopeChoice;
use crate::kernel::split::{LeafWitness, Node};
use crate::number::Dyadic;
use crate::reader::cursor::{Cursor, slopes_of};

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
#[derive(Clone, Debug)]
pub struct Trees<'a> {
    cursor: Cursor<'a>,
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
        Self { cursor: Cursor(bytes), count: 0, nodes: 0, open: Vec::new() }
    }

    /// Goes on to the next tree, and says which one it is.
    pub fn begin(&mut self) -> usize {
        (self.nodes, self.open) = (0, vec![0]);
        let tree = self.count;
        // Counts trees that the callers ask for, one a target.
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
    /// [`Fault`], a condition of split trees.
    pub fn node(&mut self, network: &GridNetwork) -> Result<(usize, Node), Fault> {
        let node = self.nodes;
        Ok((node, self.read(network)?))
    }

    /// Accepts iff nothing follows the last tree.
    ///
    /// # Errors
    /// [`Fault::TreeTrailing`].
    pub fn finish(self) -> Result<(), Fault> {
        let last = Place::Tree(self.count.saturating_sub(1));
        if self.cursor.0.is_empty() { Ok(()) } else { Err(Fault::TreeTrailing.at(last)) }
    }

    fn read(&mut self, network: &GridNetwork) -> Result<Node, Fault> {
        let above = self.open.pop().ok_or(Fault::NoTree)?;
        if self.nodes >= MAX_NODES {
            return Err(Fault::TooManyNodes);
        }
        self.nodes = self.nodes.saturating_add(1);
        let children = [0, 0];
        let node = match self.take::<1>()? {
            [0] => Node::Leaf { constraint: 0, witness: None },
            [1] => Node::Leaf { constraint: 0, witness: Some(self.witness(network)?) },
            [2] => Node::Relu { layer: self.short()?, neuron: self.short()?, children },
            [3] => Node::Input { coordinate: self.short()?, at: self.number()?.to_rational(), children },
            _ => return Err(Fault::UnknownNode),
        };
        if node.children().is_some() {
            if above >= MAX_DEPTH {
                return Err(Fault::TooDeep);
            }
            self.open.extend([above.saturating_add(1); 2]);
        }
        Ok(node)
    }

    /// Slopes of the layers that have an activation, in order, then multipliers.
    fn witness(&mut self, network: &GridNetwork) -> Result<LeafWitness, Fault> {
        let node = self.nodes.saturating_sub(1);
        let mut witness = LeafWitness::default();
        for layer in &network.layers {
            let mut slopes = Vec::new();
            let count = if slopes_of(&layer.activation) == 0 { 0 } else { self.short()? };
            for _ in 0..count {
                let neuron = self.short()?;
                if neuron < slopes.len() {
                    return Err(Fault::SlopesOutOfOrder);
                }
                if neuron >= layer.outputs() {
                    return Err(Fault::NoSuchPlace { node });
                }
                slopes.resize(neuron, SlopeChoice::default());
                slopes.push(self.cursor.slopes(&layer.activation).ok_or(Fault::TreeTruncated)?);
            }
            if count > 0 {
                slopes.resize(layer.outputs(), SlopeChoice::default());
            }
            witness.slopes.push(slopes);
            witness.multipliers.push(Vec::new());
        }
        for _ in 0..self.short()? {
            let (layer, neuron) = (self.short()?, self.short()?);
            let value = i64::from(u32::from_le_bytes(self.take()?));
            let width = network.layers.get(layer).map_or(0, |l| l.outputs());
            let list = witness.multipliers.get_mut(layer).ok_or(Fault::NoSuchPlace { node })?;
            list.resize(width, 0);
            *list.get_mut(neuron).ok_or(Fault::NoSuchPlace { node })? = value;
        }
        Ok(witness)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.cursor.take().ok_or(Fault::TreeTruncated)
    }

    fn short(&mut self) -> Result<usize, Fault> {
        self.cursor.short().ok_or(Fault::TreeTruncated)
    }

    /// A finite binary64 number, exactly.
    fn number(&mut self) -> Result<Dyadic, Fault> {
        Dyadic::from_ieee(u64::from_le_bytes(self.take()?), 52, 11).ok_or(Fault::CutAtNoNumber)
    }
}
