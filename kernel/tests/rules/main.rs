//! Every side condition of the rules of `spec/rules` that needs the kernel alone: one accepted and one refused case.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]

mod enclosures;
mod global;
mod local_oracle;
mod local_split;
mod regret;
mod softmax;

use std::sync::OnceLock;

use secateur_kernel::enclose::TanhTable;

/// The table of tanh, computed once for all tests.
fn tanh_table() -> &'static TanhTable {
    static TABLE: OnceLock<TanhTable> = OnceLock::new();
    TABLE.get_or_init(|| TanhTable::new().unwrap())
}
