//! import. Untrusted.
