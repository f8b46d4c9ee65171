//! Pruning masks as they are made and written: one table per weight, `true` = kept. Untrusted.
//! `spec/semantics.md#masks`.

use secateur_checker::model::SourceFile;

/// Which entries of one weight are kept; row-major, `rows x columns` (out x in).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskTable {
    /// Output width.
    pub rows: usize,
    /// Input width.
    pub columns: usize,
    /// `rows * columns` entries.
    pub kept: Vec<bool>,
    /// Of a scale layer: all kept, not counted, not written.
    pub fixed: bool,
}

/// One mask: a table per layer, and the sparsity it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskData {
    /// One table per layer, in order.
    pub layers: Vec<MaskTable>,
    /// Sparsity as the person wrote it (`"0.3"`, `"3/10"`), or the exact fraction pruned of an imported mask.
    pub sparsity: String,
    /// The file it was imported from.
    pub source: Option<SourceFile>,
}

impl MaskData {
    /// A mask with its own exact sparsity as text, `pruned / total` in lowest terms.
    pub fn with_own_sparsity(layers: Vec<MaskTable>) -> Self {
        let mut mask = Self { layers, sparsity: String::new(), source: None };
        let (total, kept) = (mask.weights() as u64, mask.kept() as u64);
        let pruned = total - kept;
        let divisor = num_integer::gcd(total, pruned).max(1);
        let (top, bottom) = (pruned / divisor, total / divisor);
        mask.sparsity = if top == 0 || bottom == 1 { top.to_string() } else { format!("{top}/{bottom}") };
        mask
    }

    /// Every weight's entry; scale layers have no weights.
    fn entries(&self) -> impl Iterator<Item = &bool> {
        self.layers.iter().filter(|l| !l.fixed).flat_map(|l| &l.kept)
    }

    /// Number of kept weights over all layers.
    pub fn kept(&self) -> usize {
        self.entries().filter(|k| **k).count()
    }

    /// Number of weights over all layers.
    pub fn weights(&self) -> usize {
        self.entries().count()
    }

    /// Whether every entry that `self` keeps is kept by `looser` too.
    pub fn is_nested_in(&self, looser: &Self) -> bool {
        self.layers.len() == looser.layers.len()
            && self.layers.iter().zip(&looser.layers).all(|(inner, outer)| {
                (inner.rows, inner.columns) == (outer.rows, outer.columns)
                    && inner.kept.iter().zip(&outer.kept).all(|(i, o)| !i || *o)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(kept: &[bool]) -> MaskData {
        MaskData::with_own_sparsity(vec![MaskTable {
            fixed: false,
            rows: 1,
            columns: kept.len(),
            kept: kept.to_vec(),
        }])
    }

    #[test]
    fn sparsity_is_in_lowest_terms() {
        assert_eq!(mask(&[true, false, true, false]).sparsity, "1/2");
        assert_eq!(mask(&[true, true]).sparsity, "0");
        assert_eq!(mask(&[false]).sparsity, "1");
    }

    #[test]
    fn nesting() {
        assert!(mask(&[true, false]).is_nested_in(&mask(&[true, true])));
        assert!(!mask(&[true, true]).is_nested_in(&mask(&[true, false])));
    }
}
