//! The committed certificates: accepted, rejected, altered, hostile.

mod cases;
mod committed;
mod hostile;
mod mutation;
mod mutation_proofs;
