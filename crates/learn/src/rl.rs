//! The reference trainer: environments, networks with hand-written gradients, and PPO. Untrusted: what it trains is
//! read back by the checker's reader like any other policy. Gymnasium v5 rules; Schulman et al. 2017, arXiv:1707.06347.
//!
//! Read `run` for the loop, `trainer` for one turn of it, `rollout` for experience, `ppo` for losses, `regulariser` for
//! robust training, `pruning` for masks that shrink meanwhile, `float::mlp` for gradients.

pub mod adam;
mod checkpoint;
pub mod config;
pub mod env;
pub mod evaluate;
mod hidden;
pub mod log;
pub mod mujoco;
pub mod normaliser;
pub mod ppo;
pub mod pruning;
pub mod regulariser;
pub mod rollout;
pub mod run;
pub mod start;
pub mod trainer;
pub mod visits;

pub use checkpoint::CheckpointError;
pub use config::{ConfigError, TrainConfig};
pub use evaluate::{Evaluation, evaluate};
pub use pruning::PruneConfig;
pub use run::{TrainFiles, belongs_to, train, train_from, train_in};
pub use start::TrainStart;
pub use trainer::{TrainError, TrainOutcome, Trainer, UpdateRecord};
