//! search. Untrusted.
