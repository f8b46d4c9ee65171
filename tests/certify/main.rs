//! Certifying: every family, from the search to a certificate that the checker accepts.

mod audit;
mod band_limit;
mod branch;
mod cells;
mod closed_form;
mod counterexamples;
mod curves;
mod determinism;
mod float32;
mod probes;
mod radius;
mod regions;
mod round_trip;
mod slopes;
