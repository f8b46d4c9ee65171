//! The reference trainer: environments, networks with hand-written gradients, and PPO. Untrusted: what it trains is
//! read back by the checker's reader like any other policy. Gymnasium v5 rules; Schulman et al. 2017, arXiv:1707.06347.

pub mod adam;
pub mod bits;
pub mod config;
pub mod env;
pub mod head;
pub mod mujoco;
pub mod net;
pub mod normaliser;
pub mod rng;
