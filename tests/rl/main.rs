//! The untrusted trainer, its environments and attacks, and the statistics drawn from them.

mod attack;
mod decomposition;
mod sa_mdp;
mod sampler;
mod traces;
mod training;
