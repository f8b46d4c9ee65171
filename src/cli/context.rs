//! What every command shares: errors with exit codes, printing, standard streams, progress, Ctrl-C. Untrusted.

pub mod bar;
pub mod error;
pub mod interrupt;
mod print;
pub mod shell;
pub mod streams;

pub use error::CliError;
pub use print::{Context, Format, write};
