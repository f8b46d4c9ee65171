//! The specification against the code.

mod rules;
mod schema;
