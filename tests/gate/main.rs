//! `secateur gate` and `secateur export`, run as a person or a CI job runs them: `spec/gate.md`.

mod baseline;
mod ci;
mod export;
mod newcomer;
mod radius;
mod reports;
mod rules;
mod support;
