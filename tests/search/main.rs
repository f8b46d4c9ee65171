//! The untrusted search: bounds, slopes, split trees, counterexamples.

mod branch;
mod contradictions;
mod counterexample_points;
mod crown;
mod lp;
mod onnx;
mod random;
mod slopes;
mod verify_shared;
