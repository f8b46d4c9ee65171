//! Random small networks.

use proptest::prelude::*;
use secateur::float::{FloatActivation, FloatLayer, FloatNetwork};

fn activation() -> impl Strategy<Value = FloatActivation> {
    prop_oneof![
        Just(FloatActivation::Relu),
        Just(FloatActivation::Tanh),
        Just(FloatActivation::Sigmoid),
        Just(FloatActivation::Identity),
        (0.0..1.0f64).prop_map(FloatActivation::LeakyRelu),
        (-1.0..0.0f64, 0.1..1.0f64).prop_map(|(l, u)| FloatActivation::Clip(l, u)),
        prop_oneof![Just(1.0), 0.01..1.0f64].prop_map(FloatActivation::Elu),
        Just(FloatActivation::Silu),
    ]
}

/// Numbers in [-2, 2], a quarter of them 0.
pub fn numbers(count: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![3 => -2.0..2.0f64, 1 => Just(0.0)], count)
}

/// Three layers, up to 4 inputs, 19 hidden neurons and 3 outputs; every activation, some layers sparse.
pub fn networks() -> impl Strategy<Value = FloatNetwork> {
    (1..5usize, 1..20usize, 1..20usize, 1..4usize).prop_flat_map(|(n, a, b, m)| {
        let layer = |i: usize, o: usize| {
            let sparse = prop_oneof![Just(1.0), Just(0.0)];
            (numbers(i * o), numbers(o), activation(), prop::collection::vec(sparse, i * o), any::<bool>())
                .prop_map(move |(mut w, b, act, keep, thin)| {
                    if thin {
                        w.iter_mut()
                            .zip(keep)
                            .enumerate()
                            .for_each(|(k, (w, m))| *w *= m * f64::from(k % 2 == 0));
                    }
                    FloatLayer::new(i, w, b, act).unwrap()
                })
        };
        (layer(n, a), layer(a, b), layer(b, m))
            .prop_map(|(x, y, z)| FloatNetwork::new(vec![x, y, z]).unwrap())
    })
}
