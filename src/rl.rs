//! The reference trainer: environments, networks with hand-written gradients, and PPO. Untrusted: what it trains is
//! read back by the checker's reader like any other policy. Gymnasium v5 rules; Schulman et al. 2017, arXiv:1707.06347.
//!
//! Read `trainer` for the loop, `rollout` for experience, `ppo` for losses, `regulariser` for robust training, `net` for
//! gradients.

pub mod adam;
pub mod bits;
mod checkpoint;
pub mod config;
pub mod env;
pub mod evaluate;
pub mod float_policy;
pub mod head;
pub mod log;
pub mod mujoco;
pub mod net;
pub mod normaliser;
pub mod ppo;
pub mod regulariser;
pub mod rng;
pub mod rollout;
pub mod trainer;

pub use checkpoint::CheckpointError;
pub use config::{ConfigError, TrainConfig};
pub use evaluate::{Evaluation, evaluate};
pub use float_policy::FloatPolicy;
pub use trainer::{Progress, TrainError, TrainFiles, TrainOutcome, Trainer, UpdateRecord, train};
