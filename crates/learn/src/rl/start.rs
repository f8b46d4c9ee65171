//! Where a fine-tuning run starts: a policy, perhaps its critic, and a mask that stays. Untrusted. `spec/pruning.md#fine-tuning`.

use sha2::{Digest, Sha256};

use super::pruning::Masks;
use crate::float::head::FloatHead;
use crate::float::mlp::Mlp;
use crate::float::policy::FloatPolicy;
use crate::policy::emit::{emit_manifest, emit_tensors};

/// What a fine-tuning run starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainStart {
    /// Weights, log deviations and normaliser; the normaliser stays as it is.
    pub policy: FloatPolicy,
    /// Value network of normalised observations and scaled rewards; a fresh one if there is none.
    pub critic: Option<Mlp>,
    /// Weights that are kept at zero, where `false`; empty for none.
    pub masks: Masks,
}

impl TrainStart {
    /// `sha256:` and the SHA-256 of the policy's files as they would be written, the masks (a byte an entry) and the
    /// critic's parameters (64-bit little-endian).
    pub fn digest(&self) -> String {
        let data = self.policy.to_data();
        let mut hash = Sha256::new();
        for part in [emit_manifest(&data), emit_tensors(&data)] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        for layer in &self.masks {
            hash.update(layer.iter().map(|kept| u8::from(*kept)).collect::<Vec<u8>>());
        }
        for value in self.critic.iter().flat_map(Mlp::parameters) {
            hash.update(value.to_le_bytes());
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Whether policy, critic and masks fit a run whose fresh actor, critic and head these are.
    pub(super) fn fits(&self, actor: &Mlp, critic: &Mlp, head: &FloatHead) -> bool {
        let network = &self.policy.network;
        let heads = match (&self.policy.head, head) {
            (FloatHead::Gaussian { log_std: ours }, FloatHead::Gaussian { log_std }) => {
                ours.len() == log_std.len()
            }
            (ours, other) => ours == other,
        };
        let weights = network.layers.iter().map(|layer| layer.weight.len());
        let ends = |network: &Mlp| (network.input_width(), network.output_width());
        heads
            && ends(network) == ends(actor)
            && self.policy.normaliser.mean.len() == network.input_width()
            && self.critic.as_ref().is_none_or(|ours| ends(ours) == ends(critic))
            && (self.masks.is_empty() || weights.eq(self.masks.iter().map(Vec::len)))
    }
}
