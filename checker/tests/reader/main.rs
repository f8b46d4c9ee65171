//! The readers: hostile bytes, and published files.

mod differential;
mod hostile;
mod shared;
