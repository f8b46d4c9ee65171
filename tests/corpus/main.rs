//! The committed certificates: accepted, rejected, altered, hostile.

mod cases;
mod committed;
mod frozen;
mod hostile;
mod mutation;
mod mutation_proofs;
