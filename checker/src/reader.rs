//! Bytes to typed values, strictly: each clause of a format has its own error, and caps come before allocation.
//! Trusted; `spec/certificate-files.md`. Text: `json`, `fields`, `escaped`, `base64`. Numbers: `safetensors`, `tensor`,
//! `npy`. Objects: `policy`, `mask`, `digest`. Signatures: `pem`, `dsse`, `trust`.

pub mod base64;
pub mod digest;
pub mod dsse;
pub mod escaped;
pub mod fields;
pub mod json;
pub mod mask;
pub mod npy;
pub mod pem;
pub mod policy;
pub mod safetensors;
pub mod tensor;
pub mod trust;
