//! prune. Untrusted.
