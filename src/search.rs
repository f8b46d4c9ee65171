//! Searches for witnesses in floating point. Untrusted: whatever they find goes through the checker. `spec/trust.md`.

pub mod norm_witness;
