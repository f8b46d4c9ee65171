//! How much each weight matters to the actions at given states: Fisher saliency, for pruning without training. Untrusted.
//! `spec/pruning.md#rankings`. The idea is Fisher pruning, Theis et al. 2018, arXiv:1801.05787.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};

use crate::float::head::FloatHead;
use crate::float::mlp::{Mlp, Tape};
use crate::float::policy::FloatPolicy;

/// `|w| sqrt(F_w)` of every weight, a layer after the other, row-major: `F_w` is the mean over the rows of `inputs` (normalised
/// observations) of the Fisher information `E_{a ~ pi(.|s)} (d log pi(a|s) / dw)^2`. For a deterministic head the actions count
/// as means of unit deviation.
///
/// To second order in `w`, half its square is the mean KL divergence that pruning this weight alone causes.
pub fn fisher_scores(policy: &FloatPolicy, inputs: ArrayView2<'_, f64>) -> Vec<Vec<f64>> {
    let network = &policy.network;
    let tape = network.forward(inputs);
    let mut sums: Vec<Array2<f64>> =
        network.layers.iter().map(|layer| Array2::zeros(layer.weight.raw_dim())).collect();
    for pull in output_factors(&policy.head, tape.outputs()) {
        add_squares(network, &tape, pull, &mut sums);
    }
    let count = inputs.nrows().max(1) as f64;
    let pairs = network.layers.iter().zip(&sums);
    let score = |(weight, sum): (&f64, &f64)| weight.abs() * (sum / count).sqrt();
    pairs.map(|(layer, sum)| layer.weight.iter().zip(sum).map(score).collect()).collect()
}

/// Tables `[states, out]`, one for each output or action, whose outer products at a state add up to the Fisher information of
/// the head in its outputs: `e_i / sigma_i`, or `sqrt(p_a) (e_a - p)`.
fn output_factors(head: &FloatHead, outputs: &Array2<f64>) -> Vec<Array2<f64>> {
    let (_, width) = outputs.dim();
    let unit = |index: usize, size: f64| {
        let mut pull = Array2::zeros(outputs.raw_dim());
        pull.column_mut(index).fill(size);
        pull
    };
    match head {
        FloatHead::Gaussian { log_std } => {
            log_std.iter().enumerate().map(|(index, log_std)| unit(index, (-log_std).exp())).collect()
        }
        FloatHead::Deterministic => (0..width).map(|index| unit(index, 1.0)).collect(),
        FloatHead::Categorical => {
            let mut shares = outputs.clone();
            for mut row in shares.rows_mut() {
                let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.mapv_inplace(|logit| (logit - highest).exp());
                let total = row.sum();
                row /= total;
            }
            let factor = |action: usize| {
                let roots = shares.column(action).mapv(f64::sqrt).insert_axis(Axis(1));
                (unit(action, 1.0) - &shares) * &roots
            };
            (0..width).map(factor).collect()
        }
    }
}

/// Adds the squares of the gradient of `pull . outputs` in every weight, state by state.
fn add_squares(network: &Mlp, tape: &Tape, pull: Array2<f64>, sums: &mut [Array2<f64>]) {
    let mut current = pull;
    for (index, layer) in network.layers.iter().enumerate().rev() {
        tape.pull_back(index, layer.activation, &mut current);
        let squares = [&current, tape.post(index)].map(|table| table.mapv(|entry| entry * entry));
        general_mat_mul(1.0, &squares[0].t(), &squares[1], 1.0, &mut sums[index]);
        current = current.dot(&layer.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::FloatActivation;
    use crate::float::normaliser::FixedNormaliser;
    use crate::float::rng::SeededRng;

    /// Half the squared score is the mean KL divergence when the weight shrinks by a small share `h`, over `h^2`.
    #[test]
    fn scores_are_divergences() {
        let heads = [
            FloatHead::Gaussian { log_std: vec![-0.4, 0.3, 0.0] },
            FloatHead::Categorical,
            FloatHead::Deterministic,
        ];
        let curves = [FloatActivation::Tanh, FloatActivation::Elu(0.75), FloatActivation::Silu];
        for (head, activation) in heads.into_iter().flat_map(|head| curves.map(|c| (head.clone(), c))) {
            let mut rng = SeededRng::new(51, 0);
            let network = Mlp::orthogonal(&[4, 6, 5, 3], activation, 1.0, &mut rng);
            let inputs = Array2::from_shape_fn((7, 4), |_| rng.normal());
            let policy = FloatPolicy { network, head, normaliser: FixedNormaliser::identity(4) };
            let scores = fisher_scores(&policy, inputs.view());
            let clean = policy.network.forward(inputs.view());
            for (layer, scores) in scores.iter().enumerate() {
                for (place, score) in scores.iter().enumerate() {
                    let mut network = policy.network.clone();
                    let weight = network.layers[layer].weight.iter_mut().nth(place).expect("in range");
                    *weight *= 1.0 - 1e-4;
                    let moved = network.forward(inputs.view());
                    let wanted = divergence(&policy.head, clean.outputs(), moved.outputs()) / 1e-8;
                    let found = 0.5 * score * score;
                    assert!((found - wanted).abs() < 1e-3 * wanted.max(1e-3), "{found} and {wanted}");
                }
            }
        }
    }

    /// Mean KL divergence of the actions, from the formulas.
    fn divergence(head: &FloatHead, clean: &Array2<f64>, moved: &Array2<f64>) -> f64 {
        let rows = clean.rows().into_iter().zip(moved.rows());
        let each = rows.map(|(p, q)| match head {
            FloatHead::Gaussian { log_std } => {
                let terms = p.iter().zip(q).zip(log_std);
                terms.map(|((p, q), log_std)| 0.5 * ((p - q) / log_std.exp()).powi(2)).sum::<f64>()
            }
            FloatHead::Deterministic => p.iter().zip(q).map(|(p, q)| 0.5 * (p - q) * (p - q)).sum(),
            FloatHead::Categorical => {
                let total = |z: &ndarray::ArrayView1<'_, f64>| z.iter().map(|z| z.exp()).sum::<f64>().ln();
                let (all_p, all_q) = (total(&p), total(&q));
                p.iter().zip(q).map(|(p, q)| (p - all_p).exp() * (p - all_p - q + all_q)).sum()
            }
        });
        each.sum::<f64>() / clean.nrows() as f64
    }
}
