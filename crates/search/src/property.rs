//! Properties of networks read from files. Untrusted. `spec/semantics.md#properties`.

pub mod several;
pub mod vnnlib;
