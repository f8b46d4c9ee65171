//! Words of the commands that are printed, as a POSIX shell reads them back.

pub use crate::import::words::{in_shell, path_in_shell};
