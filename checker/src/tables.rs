//! The one table of tanh that a process needs. Trusted; `spec/rules/enclosures.md#enclosetanh-table`.

use std::sync::OnceLock;

use crate::kernel::enclose::TanhTable;
use crate::kernel::fault::Fault;

/// The table, computed once in a process.
///
/// # Errors
/// [`Fault::TanhTable`] if the table is not what its rule says.
pub fn tanh_table() -> Result<&'static TanhTable, Fault> {
    static TABLE: OnceLock<Result<TanhTable, Fault>> = OnceLock::new();
    TABLE.get_or_init(TanhTable::new).as_ref().map_err(Clone::clone)
}
