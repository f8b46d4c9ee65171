//! Bounds in floats, and the search for what makes them better. Untrusted: the checker recomputes what they claim.
//! `spec/rules/README.md`.

#![deny(unsafe_code)]
#![cfg_attr(not(feature = "simd"), forbid(unsafe_code))]

pub mod bound;
pub mod property;
pub mod search;

use secateur_policy::float;
