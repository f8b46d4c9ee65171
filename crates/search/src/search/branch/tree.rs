//! The tree of regions that a search by branching leaves behind, as data. Untrusted. `spec/certificate.md`.

use serde::{Deserialize, Serialize};

use crate::bound::crown::FloatSplit;

/// A node; children are indices into [`SplitTree::nodes`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SplitNode {
    /// Not decided yet.
    Open,
    /// Decided.
    Leaf(SplitLeaf),
    /// Cut by the sign of a pre-activation.
    Relu {
        /// Index of the layer.
        layer: u32,
        /// Index of the neuron.
        neuron: u32,
        /// Where it is at least 0.
        positive: usize,
        /// Where it is at most 0.
        negative: usize,
    },
    /// Cut at a value of an input.
    Input {
        /// Index of the input.
        coordinate: u32,
        /// Where; the exact value of the float, a dyadic rational.
        #[serde(with = "bits")]
        at: f64,
        /// Where it is at most `at`.
        below: usize,
        /// Where it is at least `at`.
        above: usize,
    },
}

/// Why a region holds no input that satisfies every constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SplitLeaf {
    /// The bounds of a split neuron exclude the sign it was split to.
    Empty {
        /// Index of the layer.
        layer: u32,
        /// Index of the neuron.
        neuron: u32,
    },
    /// A constraint is positive all over the region.
    Constraint {
        /// Index of the constraint.
        constraint: u32,
        /// Slopes and multipliers of the bound; `None` if the default slopes prove it.
        slopes: Option<LeafSlopes>,
    },
    /// A sum of multiples of the constraints is positive all over the region.
    Combination {
        /// One per constraint.
        multipliers: Vec<u32>,
        /// Slopes and multipliers of signs of the bound; `None` if the default slopes prove it.
        slopes: Option<LeafSlopes>,
    },
    /// The only constraint is positive all over the region, whose hidden layers keep the bounds of the whole box.
    Kept {
        /// Index of the constraint.
        constraint: u32,
        /// Index into [`SplitTree::slopes`].
        slopes: u32,
        /// One per sign, outermost first, in units of 1/65536.
        multipliers: Vec<u32>,
    },
    /// The multipliers add the region's signs up to a contradiction, whatever the constraints.
    Farkas {
        /// Slopes and multipliers of the bound of the constant 0, which is above 0.
        slopes: LeafSlopes,
    },
}

/// Values that an object with members counts for beside them.
const OBJECT_VALUES: usize = 17;

/// Slopes and multipliers of one bound, in units of 1/65536, per layer and neuron.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafSlopes {
    /// Slopes of the lines below.
    pub lower_slope: Vec<Vec<i32>>,
    /// Slopes of the lines above (of a ReLU: for information, the chord is derived).
    pub upper_slope: Vec<Vec<i32>>,
    /// Multipliers of the split neurons; empty for a layer without splits.
    pub multipliers: Vec<Vec<u32>>,
}

/// A way to cut a region in two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// By the sign of a pre-activation.
    Relu {
        /// Index of the layer.
        layer: u32,
        /// Index of the neuron.
        neuron: u32,
    },
    /// At a value of an input.
    Input {
        /// Index of the input.
        coordinate: u32,
        /// Where.
        at: f64,
    },
}

/// All nodes, the root first, parents before children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitTree {
    /// The nodes.
    pub nodes: Vec<SplitNode>,
    /// The parent of every node; the root's is the root.
    parents: Vec<usize>,
    /// Slopes that leaves of kept bounds share: per layer and neuron, in sixteenths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slopes: Vec<Vec<Vec<u8>>>,
}

/// The region of a node: a box, and the signs of split neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Least value per input.
    pub lower: Vec<f64>,
    /// Greatest value per input.
    pub upper: Vec<f64>,
    /// Signs, outermost cut first.
    pub splits: Vec<FloatSplit>,
    /// Whether nothing was cut.
    root: bool,
}

/// What an input counts at least when a cut is chosen, of what a bound depends on most: otherwise one input may be cut once and again
/// where another one keeps the bound from rising, and a search does not end.
const LEAST_SHARE: f64 = 0.05;

impl Place {
    /// The cut through the middle of the input that moves the bound most; see [`Self::halvings`].
    pub(super) fn halved(&self, inner: &(Vec<f64>, Vec<f64>), weights: &[f64]) -> Option<Cut> {
        self.halvings(inner, weights).first().map(|(_, cut)| *cut)
    }

    /// The cuts through the middle of an input with their scores, the one first that moves the bound most, given how much each input
    /// does per width; strictly inside the exact box too, of which the floats are the outside.
    pub(super) fn halvings(&self, (lower, upper): &(Vec<f64>, Vec<f64>), weights: &[f64]) -> Vec<(f64, Cut)> {
        let floor = LEAST_SHARE * weights.iter().fold(0.0, |most: f64, w| most.max(w.abs())) + 1e-9;
        let mut cuts = Vec::new();
        let sides = self.lower.iter().zip(&self.upper).zip(lower.iter().zip(upper));
        for ((coordinate, weight), ((l, u), (inner_l, inner_u))) in (0u32..).zip(weights).zip(sides) {
            let (l, u) = (l.max(*inner_l), u.min(*inner_u));
            let at = 0.5 * (l + u);
            if l < at && at < u {
                cuts.push((weight.abs().max(floor) * (u - l), Cut::Input { coordinate, at }));
            }
        }
        cuts.sort_by(|a, b| b.0.total_cmp(&a.0));
        cuts
    }
}

impl Place {
    /// Whether it is the whole box.
    pub fn is_root(&self) -> bool {
        self.root
    }
}

impl Default for SplitTree {
    fn default() -> Self {
        Self { nodes: vec![SplitNode::Open], parents: vec![0], slopes: Vec::new() }
    }
}

impl SplitTree {
    /// Cuts an open node; its children, (positive, negative) or (below, above), are open.
    pub fn cut(&mut self, node: usize, cut: Cut) -> [usize; 2] {
        let [first, second] = [self.nodes.len(), self.nodes.len() + 1];
        self.nodes[node] = match cut {
            Cut::Relu { layer, neuron } => {
                SplitNode::Relu { layer, neuron, positive: first, negative: second }
            }
            Cut::Input { coordinate, at } => SplitNode::Input { coordinate, at, below: first, above: second },
        };
        self.nodes.extend([SplitNode::Open, SplitNode::Open]);
        self.parents.extend([node, node]);
        [first, second]
    }

    /// Values that the tree takes in a proof's document, as the checker counts them: an object as sixteen and one more.
    pub(super) fn values(&self) -> usize {
        let lists = |slopes: &LeafSlopes| {
            let lists = slopes.lower_slope.len() + slopes.upper_slope.len() + slopes.multipliers.len();
            OBJECT_VALUES + 3 + lists
        };
        let node = |node: &SplitNode| match node {
            SplitNode::Relu { .. } | SplitNode::Input { .. } => OBJECT_VALUES + 6,
            SplitNode::Open => OBJECT_VALUES + 2,
            SplitNode::Leaf(SplitLeaf::Kept { .. }) => OBJECT_VALUES + 4,
            SplitNode::Leaf(SplitLeaf::Constraint { slopes, .. } | SplitLeaf::Combination { slopes, .. }) => {
                OBJECT_VALUES + 2 + slopes.as_ref().map_or(0, lists)
            }
            SplitNode::Leaf(SplitLeaf::Farkas { slopes }) => OBJECT_VALUES + 1 + lists(slopes),
            SplitNode::Leaf(SplitLeaf::Empty { .. }) => OBJECT_VALUES + 1,
        };
        let noted: usize = self.slopes.iter().map(|slopes| 1 + slopes.len()).sum();
        self.nodes.iter().map(node).sum::<usize>() + noted
    }

    /// Notes slopes for leaves; their index.
    pub(super) fn note(&mut self, slopes: Vec<Vec<u8>>) -> u32 {
        self.slopes.push(slopes);
        (self.slopes.len() - 1) as u32
    }

    /// The region of a node, given the root's box.
    pub fn place(&self, node: usize, lower: &[f64], upper: &[f64]) -> Place {
        let root = node == 0;
        let mut place = Place { lower: lower.to_vec(), upper: upper.to_vec(), splits: Vec::new(), root };
        let mut child = node;
        while child != 0 {
            let parent = self.parents[child];
            match self.nodes[parent] {
                SplitNode::Relu { layer, neuron, positive, .. } => {
                    place.splits.push(FloatSplit { layer, neuron, positive: positive == child });
                }
                SplitNode::Input { coordinate, at, below, .. } => {
                    let i = coordinate as usize;
                    if below == child {
                        place.upper[i] = place.upper[i].min(at);
                    } else {
                        place.lower[i] = place.lower[i].max(at);
                    }
                }
                SplitNode::Open | SplitNode::Leaf(_) => {}
            }
            child = parent;
        }
        place.splits.reverse();
        place
    }

    /// Whether every node but the root is the child of exactly one node before it, its parent, and every cut names an
    /// input or a neuron that exists.
    pub(super) fn fits(&self, inputs: usize, widths: &[usize]) -> bool {
        let mut parents = vec![None; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let (exists, children) = match *node {
                SplitNode::Open | SplitNode::Leaf(_) => continue,
                SplitNode::Relu { layer, neuron, positive, negative } => {
                    let width = widths.get(layer as usize).copied().unwrap_or(0);
                    ((neuron as usize) < width, [positive, negative])
                }
                SplitNode::Input { coordinate, below, above, .. } => {
                    ((coordinate as usize) < inputs, [below, above])
                }
            };
            for child in children {
                let Some(slot) = parents.get_mut(child).filter(|p| exists && child > index && p.is_none())
                else {
                    return false;
                };
                *slot = Some(index);
            }
        }
        let stated = self.parents.iter().map(|p| Some(*p)).skip(1);
        !parents.is_empty() && self.parents.len() == parents.len() && parents.into_iter().skip(1).eq(stated)
    }

    /// Number of leaves that are not open.
    pub fn leaves(&self) -> usize {
        self.nodes.iter().filter(|n| matches!(n, SplitNode::Leaf(_))).count()
    }
}

/// Floats by their bits, so that what is read back is the very same number.
pub(crate) mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the checker counts `{"node": ..., "layer": ..., "neuron": ..., "children": [..., ...]}` and leaves: a value each, and sixteen
    /// more for an object with members.
    #[test]
    fn values_are_counted_as_the_checker_does() {
        let mut tree = SplitTree::default();
        assert_eq!(tree.values(), 19);
        let [first, second] = tree.cut(0, Cut::Relu { layer: 0, neuron: 1 });
        assert_eq!(tree.values(), 23 + 2 * 19);
        let slopes = LeafSlopes {
            lower_slope: vec![vec![0; 5]; 2],
            upper_slope: vec![Vec::new(); 2],
            multipliers: vec![Vec::new(); 2],
        };
        tree.nodes[first] = SplitNode::Leaf(SplitLeaf::Constraint { constraint: 0, slopes: Some(slopes) });
        // The witness is an object of three lists of two.
        assert_eq!(tree.values(), 23 + (19 + 17 + 3 + 6) + 19);
        let number = tree.note(vec![vec![0; 5]; 2]);
        tree.nodes[second] =
            SplitNode::Leaf(SplitLeaf::Kept { constraint: 0, slopes: number, multipliers: vec![1] });
        assert_eq!(tree.values(), 23 + (19 + 17 + 3 + 6) + 21 + 3);
    }
}
