//! What benches compare with: CROWN through whole matrix products in `f64`, without any care for rounding.

use ndarray::{Array1, Array2, Axis};
use secateur::bound::relax::lines;
use secateur::float::FloatNetwork;

/// CROWN as it is usually written: two coefficient matrices, all rows, whole products.
pub fn plain_crown(network: &FloatNetwork, center: &Array1<f64>, radius: f64) -> (Array1<f64>, Array1<f64>) {
    let weights: Vec<Array2<f64>> = network
        .layers
        .iter()
        .map(|l| Array2::from_shape_vec((l.outputs, l.inputs), l.weight.clone()).unwrap())
        .collect();
    let mut bounds: Vec<(Array1<f64>, Array1<f64>)> = Vec::new();
    for top in 0..weights.len() {
        let mut sides = [weights[top].clone(), weights[top].clone()];
        let bias = Array1::from(network.layers[top].bias.clone());
        let mut constants = [bias.clone(), bias];
        for below in (0..top).rev() {
            let layer = &network.layers[below];
            let (l, u) = &bounds[below];
            let relaxed: Vec<_> = l.iter().zip(u).map(|(l, u)| lines(layer.activation, *l, *u)).collect();
            for (side, (coefficients, constant)) in sides.iter_mut().zip(&mut constants).enumerate() {
                for (mut row, c) in coefficients.axis_iter_mut(Axis(0)).zip(constant.iter_mut()) {
                    for ((a, line), b) in row.iter_mut().zip(&relaxed).zip(&layer.bias) {
                        let lower = (*a >= 0.0) == (side == 0);
                        let (slope, intercept) = if lower {
                            (line.lower_slope, line.lower_intercept)
                        } else {
                            (line.upper_slope, line.upper_intercept)
                        };
                        *c += *a * (intercept + slope * b);
                        *a *= slope;
                    }
                }
                *coefficients = coefficients.dot(&weights[below]);
            }
        }
        let spread = |a: &Array2<f64>| a.mapv(f64::abs).sum_axis(Axis(1)) * radius;
        let lower = sides[0].dot(center) + &constants[0] - spread(&sides[0]);
        let upper = sides[1].dot(center) + &constants[1] + spread(&sides[1]);
        bounds.push((lower, upper));
    }
    bounds.pop().unwrap()
}
