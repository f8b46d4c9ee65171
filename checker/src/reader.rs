//! Bytes to typed values: strict JSON, safetensors, `.npy`, PEM, DSSE, digests. Trusted; `spec/certificate-files.md`.

pub mod base64;
pub mod certificate;
pub mod clause;
pub mod counterexample;
pub(crate) mod cursor;
pub mod digest;
pub mod dsse;
pub mod escaped;
pub mod fields;
pub mod json;
pub mod mask;
pub mod names;
pub mod npy;
pub mod pem;
pub mod policy;
pub mod property;
pub mod radius;
mod record;
pub mod regions;
pub mod regret;
pub mod safetensors;
pub mod tensor;
pub mod trees;
pub mod trust;
pub mod verdict;
pub(crate) mod witness;
