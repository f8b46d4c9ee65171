//! Bytes to typed values: strict JSON, safetensors, `.npy`, PEM, DSSE, digests. Trusted; `spec/certificate.md`.
