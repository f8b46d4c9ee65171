//! The readers: hostile bytes, and published files.

mod hostile;
mod shared;
