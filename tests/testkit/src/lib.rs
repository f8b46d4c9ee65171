//! What tests and benchmarks of this workspace share: seeded problems, the programs as cargo built them, and exact
//! evaluation that no rule of the checker takes part in. Not trusted, never published.

pub mod bytes;
pub mod case;
pub mod decimal;
#[cfg(feature = "program")]
pub mod foreign;
pub mod hinges;
pub mod oracle;
#[cfg(feature = "program")]
pub mod problem;
pub mod programs;
pub mod proof;
pub mod random;
#[cfg(feature = "program")]
pub mod reference;
