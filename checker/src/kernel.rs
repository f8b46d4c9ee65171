//! The rules, over typed numbers. Trusted; one file per family, one function per rule; `spec/rules.md`.

pub mod enclose;
pub mod error;
pub mod norm;
pub mod scaled;
pub mod sensitivity;
