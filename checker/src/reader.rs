//! Bytes to typed values: strict JSON, safetensors, `.npy`, PEM, DSSE, digests. Trusted; `spec/certificate-files.md`.

pub mod certificate;
pub mod digest;
pub mod escaped;
pub mod fields;
pub mod json;
pub mod mask;
pub mod npy;
pub mod policy;
pub mod safetensors;
