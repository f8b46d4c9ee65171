//! The specification against the code.

mod families;
mod rules;
mod schema;
