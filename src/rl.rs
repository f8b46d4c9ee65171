//! rl. Untrusted.
