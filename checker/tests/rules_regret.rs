//! Accept and reject tests of the rules in `spec/rules/regret.md`.

#[path = "rules/regret.rs"]
mod regret;
