//! The SA-PPO regulariser and its gradient: how far the policy moves inside a ball around each observation. Untrusted.
//! Zhang et al. 2020, arXiv:2003.08938, section 3.3: interval bounds (from above) or projected ascent (from below).

use ndarray::{Array2, ArrayView2, Zip};

use super::config::{InnerMaximum, SaConfig};
use crate::float::head::FloatHead;
use crate::float::mlp::{Mlp, Tape};
use crate::float::rng::SeededRng;

/// Value of the regulariser and its gradient in the clean outputs; the caller pulls that back together with its own.
pub struct Regulariser {
    /// `kappa mean_s max_{s^} sum_i w_i (f_i(s^) - f_i(s))^2`.
    pub value: f64,
    /// `[states, out]`.
    pub clean_gradient: Array2<f64>,
}

/// `1 / sigma_i^2` for a Gaussian head, else 1.
pub fn output_weights(head: &FloatHead, outputs: usize) -> Vec<f64> {
    match head {
        FloatHead::Gaussian { log_std } => log_std.iter().map(|log_std| (-2.0 * log_std).exp()).collect(),
        _ => vec![1.0; outputs],
    }
}

/// Evaluates the regulariser at the states of `tape` and adds to `gradient` what passes through the perturbed network.
/// The deviations of a Gaussian head are held fixed, else growing them would be the cheapest way to be robust.
pub fn regulariser(
    network: &Mlp,
    head: &FloatHead,
    (inputs, tape): (ArrayView2<'_, f64>, &Tape),
    (config, epsilon): (&SaConfig, f64),
    gradient: &mut Mlp,
    rng: &mut SeededRng,
) -> Regulariser {
    let clean = tape.outputs();
    let weights = output_weights(head, clean.ncols());
    let scale = config.kappa / clean.nrows() as f64;
    let mut value = 0.0;
    let mut clean_gradient = Array2::zeros(clean.raw_dim());
    match config.method {
        InnerMaximum::Ibp => {
            let radius = Array2::from_elem(inputs.raw_dim(), epsilon);
            let boxes = network.forward_box(inputs, radius.view());
            let mut pulls = [Array2::zeros(clean.raw_dim()), Array2::zeros(clean.raw_dim())];
            for ((state, output), centre) in clean.indexed_iter() {
                let at = [state, output];
                let (down, up) = (centre - boxes.lower()[at], boxes.upper()[at] - centre);
                let weight = scale * weights[output];
                let (side, reach) = if up >= down { (1, up) } else { (0, -down) };
                value += weight * reach * reach;
                pulls[side][at] = 2.0 * weight * reach;
                clean_gradient[at] = -2.0 * weight * reach;
            }
            network.backward_box(&boxes, &pulls[0], &pulls[1], gradient);
        }
        InnerMaximum::Pgd => {
            let moved = ascend(network, &weights, (inputs, clean), epsilon, config.steps, rng);
            let tape = network.forward(moved.view());
            let mut pull = tape.outputs() - clean;
            for ((_, output), change) in pull.indexed_iter_mut() {
                let weight = scale * weights[output];
                value += weight * *change * *change;
                *change *= 2.0 * weight;
            }
            network.backward(&tape, &pull, gradient);
            clean_gradient = -pull;
        }
    }
    Regulariser { value, clean_gradient }
}

/// Points of the ball of radius `epsilon` around each input at which the weighted squared change of the outputs from
/// `clean` is large: sign ascent from a random point, `steps` steps of `2 epsilon / steps`, projected.
pub fn ascend(
    network: &Mlp,
    weights: &[f64],
    (inputs, clean): (ArrayView2<'_, f64>, &Array2<f64>),
    epsilon: f64,
    steps: usize,
    rng: &mut SeededRng,
) -> Array2<f64> {
    let mut moved = inputs.mapv(|value| value + rng.uniform(-epsilon, epsilon));
    let step = 2.0 * epsilon / steps.max(1) as f64;
    for _ in 0..steps {
        let tape = network.forward(moved.view());
        let mut pull = tape.outputs() - clean;
        pull.indexed_iter_mut().for_each(|((_, output), change)| *change *= weights[output]);
        let slope = network.backward_inputs(&tape, &pull);
        Zip::from(&mut moved).and(&inputs).and(&slope).for_each(|point, centre, slope| {
            let ahead = if *slope == 0.0 { 0.0 } else { slope.signum() * step };
            *point = (*point + ahead).clamp(centre - epsilon, centre + epsilon);
        });
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::FloatActivation;

    fn setting(method: InnerMaximum) -> (Mlp, FloatHead, Array2<f64>, SaConfig) {
        let mut rng = SeededRng::new(31, 0);
        let network = Mlp::orthogonal(&[4, 8, 8, 3], FloatActivation::Tanh, 1.0, &mut rng);
        let head = FloatHead::Gaussian { log_std: vec![-0.5, 0.1, 0.4] };
        let inputs = Array2::from_shape_fn((6, 4), |_| rng.normal());
        (network, head, inputs, SaConfig { kappa: 0.7, method, ..SaConfig::default() })
    }

    fn value_and_gradient(
        network: &Mlp,
        head: &FloatHead,
        inputs: &Array2<f64>,
        config: &SaConfig,
    ) -> (f64, Mlp) {
        let mut gradient = network.zeros_like();
        let tape = network.forward(inputs.view());
        let mut rng = SeededRng::new(32, 0);
        let found =
            regulariser(network, head, (inputs.view(), &tape), (config, 0.1), &mut gradient, &mut rng);
        network.backward(&tape, &found.clean_gradient, &mut gradient);
        (found.value, gradient)
    }

    /// The whole gradient, through boxes and through points, is that of central differences. The points PGD finds move
    /// with the weights; they are corners here and stay where they are under a small change.
    #[test]
    fn gradient_is_that_of_differences() {
        for method in [InnerMaximum::Ibp, InnerMaximum::Pgd] {
            let (network, head, inputs, config) = setting(method);
            let (_, gradient) = value_and_gradient(&network, &head, &inputs, &config);
            for (index, found) in gradient.parameters().enumerate() {
                let shifted = |step: f64| {
                    let mut network = network.clone();
                    *network.parameters_mut().nth(index).expect("in range") += step;
                    value_and_gradient(&network, &head, &inputs, &config).0
                };
                let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((found - expected).abs() < 1e-7, "{method:?} {index}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn interval_bounds_exceed_what_ascent_finds() {
        let (network, head, inputs, config) = setting(InnerMaximum::Ibp);
        let above = value_and_gradient(&network, &head, &inputs, &config).0;
        let (network, head, inputs, config) = setting(InnerMaximum::Pgd);
        let below = value_and_gradient(&network, &head, &inputs, &config).0;
        assert!(0.0 < below && below < above, "{below} {above}");
    }
}
