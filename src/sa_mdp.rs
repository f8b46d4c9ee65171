//! sa_mdp. Untrusted.
