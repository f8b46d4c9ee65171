//! The command line `secateur`. Untrusted.
fn main() {}
