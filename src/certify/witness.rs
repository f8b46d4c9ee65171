//! The witness side file: the norm families' vectors and factors as binary64 tensors. `spec/certificate.md#witness`.

use num_traits::ToPrimitive;
use rayon::prelude::*;
use secateur_checker::family::Family;
use secateur_checker::model::{Mask, Network};

use crate::policy::emit::emit_safetensors;
use crate::search::norm_witness::{propose_abs_spectral, propose_spectral};

/// The witness file for these families: `abs-spectral.MASK.LAYER`, `spectral.MASK.LAYER.factor` and `.rho`.
pub fn propose_witness(network: &Network, masks: &[Mask], families: &[Family]) -> Vec<u8> {
    let per_mask: Vec<Vec<Doubles>> = masks
        .par_iter()
        .enumerate()
        .map(|(index, mask)| mask_tensors(network, index, mask, families))
        .collect();
    let tensors: Vec<(String, [usize; 1], Vec<u8>)> = per_mask.into_iter().flatten().map(encode).collect();
    emit_safetensors(
        &tensors.iter().map(|(n, shape, bytes)| (n.clone(), ("F64", &shape[..], &bytes[..]))).collect(),
    )
}

/// A named vector.
type Doubles = (String, Vec<f64>);

fn encode((name, values): Doubles) -> (String, [usize; 1], Vec<u8>) {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name, [values.len()], bytes)
}

fn mask_tensors(network: &Network, index: usize, mask: &Mask, families: &[Family]) -> Vec<Doubles> {
    let mut tensors = Vec::new();
    if families.contains(&Family::NormAbsSpectral) {
        for (layer, vector) in propose_abs_spectral(network, Some(mask)).into_iter().enumerate() {
            let values = vector.iter().map(|v| v.to_f64().unwrap_or(1.0)).collect();
            tensors.push((format!("abs-spectral.{index}.{layer}"), values));
        }
    }
    if families.contains(&Family::Spectral) {
        for (layer, witness) in propose_spectral(network, Some(mask)).into_iter().enumerate() {
            let scale = 0.5f64.powi(witness.fraction_bits as i32);
            let factor = witness.factor.iter().map(|&r| r as f64 * scale).collect();
            let rho = witness.rho.to_f64().unwrap_or(0.0) * scale * scale;
            tensors.push((format!("spectral.{index}.{layer}.factor"), factor));
            tensors.push((format!("spectral.{index}.{layer}.rho"), vec![rho]));
        }
    }
    tensors
}
