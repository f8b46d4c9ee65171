//! The one table of tanh that a process needs. Trusted; `spec/rules/enclosures.md#enclosetanh-table`.

use std::sync::OnceLock;

use crate::kernel::enclose::TanhTable;

/// The table, computed once in a process.
pub fn tanh_table() -> &'static TanhTable {
    static TABLE: OnceLock<TanhTable> = OnceLock::new();
    TABLE.get_or_init(TanhTable::new)
}
