//! Which algorithm: policy classes of Stable-Baselines3 and sb3-contrib, read or refused by name. Untrusted.
//! `spec/import-sb3.md#policy-classes`.

use super::bad;
use crate::import::problem::Problem;

/// How a policy class computes its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `ActorCriticPolicy`: PPO, A2C, TRPO, MaskablePPO.
    ActorCritic { maskable: bool },
    /// `DQNPolicy`.
    Dqn,
    /// The squashed Gaussian actor of SAC and TQC.
    Sac,
    /// The deterministic actor of TD3 and DDPG.
    Td3,
    /// `ARSPolicy` and `ARSLinearPolicy`; `None` where only the module is known.
    Ars { linear: Option<bool> },
}

const EXPORT: &str = "export its network as ONNX and import that";

/// The family of a class, by its module and name.
///
/// # Errors
/// [`Problem::StableBaselines`] naming the class and what to do.
pub(super) fn family(module: &str, class: Option<&str>) -> Result<Family, Problem> {
    let name = class.map_or_else(|| module.to_owned(), |class| format!("{module}.{class}"));
    if let Some(class) = class {
        if class.contains("Cnn") {
            return Err(bad(format!("its policy is {name}, with convolutions, which are not read")));
        }
        if class.contains("MultiInput") {
            return Err(bad(format!(
                "its policy is {name}: dictionary observations (HER included) are not read; {EXPORT}"
            )));
        }
    }
    let (family, classes): (Family, &[&str]) = match module {
        "stable_baselines3.common.policies"
        | "stable_baselines3.ppo.policies"
        | "stable_baselines3.a2c.policies"
        | "sb3_contrib.trpo.policies"
        | "sb3_contrib.common.policies" => (
            Family::ActorCritic { maskable: false },
            &["ActorCriticPolicy", "PPOPolicy", "A2CPolicy", "TRPOPolicy", "MlpPolicy"],
        ),
        "sb3_contrib.common.maskable.policies" | "sb3_contrib.ppo_mask.policies" => {
            (Family::ActorCritic { maskable: true }, &["MaskableActorCriticPolicy", "MlpPolicy"])
        }
        "stable_baselines3.dqn.policies" => (Family::Dqn, &["DQNPolicy", "MlpPolicy"]),
        "stable_baselines3.sac.policies" => (Family::Sac, &["SACPolicy", "MlpPolicy"]),
        "sb3_contrib.tqc.policies" => (Family::Sac, &["TQCPolicy", "MlpPolicy"]),
        "stable_baselines3.td3.policies" | "stable_baselines3.ddpg.policies" => {
            (Family::Td3, &["TD3Policy", "MlpPolicy"])
        }
        "sb3_contrib.ars.policies" => (
            Family::Ars { linear: class.map(|c| c.contains("Linear")) },
            &["ARSPolicy", "ARSLinearPolicy", "MlpPolicy", "LinearPolicy"],
        ),
        _ => return Err(bad(unknown(module, &name))),
    };
    match class {
        Some(class) if !classes.contains(&class) => Err(bad(unknown(module, &name))),
        _ => Ok(family),
    }
}

fn unknown(module: &str, name: &str) -> String {
    let why = match module {
        "sb3_contrib.qrdqn.policies" => {
            "QR-DQN: it decides by the mean of learnt quantiles, which is not read".to_owned()
        }
        "sb3_contrib.common.recurrent.policies" | "sb3_contrib.ppo_recurrent.policies" => {
            "RecurrentPPO: only feed-forward policies can be certified".to_owned()
        }
        "sb3_contrib.crossq.policies" => "CrossQ: its batch renormalisation is not read".to_owned(),
        _ if module.starts_with("sbx.") => "SBX: its parameters are JAX's, which are not read".to_owned(),
        _ => "its computation is not known here (PPO, A2C, TRPO, MaskablePPO, DQN, SAC, TQC, TD3, DDPG and ARS \
              of Stable-Baselines3 and sb3-contrib are)"
            .to_owned(),
    };
    format!("its policy class is {name}. {why}; {EXPORT}")
}

impl Family {
    /// The name messages use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ActorCritic { maskable: false } => "an actor-critic policy (PPO, A2C, TRPO)",
            Self::ActorCritic { maskable: true } => "an actor-critic policy (MaskablePPO)",
            Self::Dqn => "a DQN policy",
            Self::Sac => "a SAC or TQC policy",
            Self::Td3 => "a TD3 or DDPG policy",
            Self::Ars { .. } => "an ARS policy",
        }
    }

    /// Whether `_last_original_obs` is set only where a VecNormalize wraps the environment: the off-policy algorithms keep
    /// the last observation there in any case (`OffPolicyAlgorithm._store_transition`).
    pub(super) fn keeps_original_only_if_wrapped(self) -> bool {
        match self {
            Self::ActorCritic { .. } | Self::Ars { .. } => true,
            Self::Dqn | Self::Sac | Self::Td3 => false,
        }
    }

    /// Tensors of the archive that are not part of the policy: value functions and target networks.
    pub(super) fn ignored(self) -> &'static [&'static str] {
        match self {
            Self::ActorCritic { .. } => &["value_net.", "mlp_extractor.value_net."],
            Self::Dqn => &["q_net_target."],
            Self::Sac => &["critic.", "critic_target."],
            Self::Td3 => &["critic.", "critic_target.", "actor_target."],
            Self::Ars { .. } => &[],
        }
    }
}
