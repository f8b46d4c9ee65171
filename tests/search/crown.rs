//! `bound_crown` against the recorded bounds of auto_LiRPA, against sampled points, and against itself.

use proptest::prelude::*;
use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown, bound_crown_all, bound_objectives};
use secateur::bound::ibp::bound_ibp;
use secateur::float::{FloatActivation, FloatLayer, FloatNetwork, float_to_rational};
use secateur_checker::kernel::crown::{Witness, bound_outputs, crown_layers};
use secateur_checker::kernel::grid::{GridNetwork, GridScale, rational_entry};
use secateur_checker::kernel::input::InputSet;
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::model::{Activation, Layer, Matrix, Network};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::tables::tanh_table;
use secateur_testkit::reference;

#[test]
fn widths_are_at_most_the_recorded_ones() {
    let mut scratch = CrownScratch::default();
    for stem in reference::NETWORKS {
        let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
            return;
        };
        for radius in [0.01, 0.05, 0.1] {
            let region = FloatRegion::linf(states[0].clone(), radius);
            let width = bound_crown(&network, &region, &mut scratch).output.mean_width();
            let recorded = reference::recorded_width(stem, "single64", radius, "CROWN");
            println!("{stem} {radius}: {width} against {recorded}");
            assert!(width <= recorded * (1.0 + 1e-6), "{stem} at {radius}: {width} against {recorded}");
            let width = bound_ibp(&network, &region).1.mean_width();
            let recorded = reference::recorded_width(stem, "single64", radius, "IBP");
            assert!((width / recorded - 1.0).abs() < 1e-9, "{stem} at {radius}: {width} against {recorded}");
        }
    }
}

/// The network as the checker reads it.
fn checked(network: &FloatNetwork) -> Network {
    let dyadic = |x: &f64| Dyadic::from_ieee(x.to_bits(), 52, 11).expect("finite");
    let layers = network.layers.iter().map(|layer| Layer {
        fixed: false,
        weight: Matrix {
            rows: layer.bias.len(),
            columns: layer.inputs,
            values: layer.weight.iter().map(dyadic).collect(),
        },
        bias: layer.bias.iter().map(dyadic).collect(),
        activation: match layer.activation {
            FloatActivation::Tanh => Activation::Tanh,
            FloatActivation::Relu => Activation::Relu,
            FloatActivation::Elu(alpha) => {
                Activation::Elu { alpha: float_to_rational(alpha).expect("finite") }
            }
            FloatActivation::Silu => Activation::Silu,
            _ => Activation::Identity,
        },
    });
    Network { layers: layers.collect() }
}

/// Mean width of the outputs by the checker's `crown` with derived slopes over an l_inf ball.
fn proved_width(network: &Network, state: &[f64], radius: f64) -> f64 {
    let exact = |x: f64| float_to_rational(x).expect("finite");
    let largest = state.iter().map(|x| exact(x.abs() + radius + 1.0)).max().expect("a coordinate");
    let scale = GridScale::new(network, &largest).expect("a grid");
    let grid = GridNetwork::new(network, None, &scale).expect("on the grid");
    let region = state.iter().map(|x| {
        let (low, high) = (exact(*x).sub(&exact(radius)), exact(*x).add(&exact(radius)));
        let entry = |end: &Rational| rational_entry(end, grid.value_bits).expect("an entry");
        (entry(&low).0, entry(&high).1)
    });
    let region = GridBox::from_intervals(region);
    let input = InputSet { center: region.clone(), radii: vec![0; state.len()], region, ball: None };
    let table = tanh_table().unwrap();
    let layers =
        crown_layers(&grid, table, &input, Witness::default()).expect("bounds").expect("a box is not empty");
    let outputs = network.outputs();
    let bound = |output: usize, sign: i64| {
        let mut weights = vec![0; outputs];
        weights[output] = sign;
        bound_outputs(&grid, table, &layers, &input, &weights, None).expect("a bound")
    };
    let total: i64 = (0..outputs).map(|output| bound(output, 1) + bound(output, -1)).sum();
    total as f64 / outputs as f64 / 2f64.powi(grid.value_bits as i32)
}

/// What the checker proves is as tight as float64 CROWN; on the large digit classifier at the smallest radius only.
#[test]
fn proved_widths_are_at_most_the_recorded_ones() {
    for stem in reference::NETWORKS {
        let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
            return;
        };
        let radii: &[f64] = if stem.starts_with('f') { &[0.01] } else { &[0.01, 0.05, 0.1] };
        let network = checked(&network);
        for &radius in radii {
            let width = proved_width(&network, &states[0], radius);
            let recorded = reference::recorded_width(stem, "single64", radius, "CROWN");
            println!("{stem} {radius}: proved {width}, recorded {recorded}, {:e}", width / recorded - 1.0);
            assert!(width <= recorded * (1.0 + 1e-6), "{stem} at {radius}: {width} against {recorded}");
        }
    }
}

#[test]
fn bounds_do_not_depend_on_the_number_of_threads() {
    let stem = "a_tanh17x64x64x6";
    let (Some(network), Some(states)) = (reference::network(stem, Some("mask90")), reference::states(stem))
    else {
        return;
    };
    let regions: Vec<_> = states.into_iter().take(50).map(|s| FloatRegion::linf(s, 0.05)).collect();
    let runs = [1, 2, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bound_crown_all(&network, &regions))
    });
    assert!(runs.iter().all(|run| *run == runs[0]));
}

/// Two layers without an activation are one linear map: over a ball the range is `+- radius * |row|`, over a box
/// `+- sum |row_i| radius_i`. [[1, 2], [3, -1]] after [[1, 0], [1, 1]] is [[3, 2], [2, -1]], bias [1, 1] goes to [3 + 5, 2].
#[test]
fn linear_networks_have_their_closed_form() {
    let layer = |weight: [f64; 4], bias: [f64; 2]| {
        FloatLayer::new(2, weight.to_vec(), bias.to_vec(), FloatActivation::Identity).unwrap()
    };
    let network = FloatNetwork::new(vec![
        layer([1.0, 0.0, 1.0, 1.0], [1.0, 1.0]),
        layer([1.0, 2.0, 3.0, -1.0], [5.0, 0.0]),
    ])
    .unwrap();
    let mut scratch = CrownScratch::default();
    let close = |found: &[f64], expected: [f64; 2]| {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?} {expected:?}");
    };
    let ball = FloatRegion::Ball { center: vec![0.0, 0.0], radius: 2.0 };
    let bounds = bound_crown(&network, &ball, &mut scratch).output;
    close(&bounds.upper, [8.0 + 2.0 * 13f64.sqrt(), 2.0 + 2.0 * 5f64.sqrt()]);
    close(&bounds.lower, [8.0 - 2.0 * 13f64.sqrt(), 2.0 - 2.0 * 5f64.sqrt()]);
    let region = FloatRegion::Box { center: vec![1.0, 0.0], radius: vec![0.5, 0.25] };
    let bounds = bound_crown(&network, &region, &mut scratch);
    close(&bounds.output.upper, [11.0 + 2.0, 4.0 + 1.25]);
    close(&bounds.output.lower, [11.0 - 2.0, 4.0 - 1.25]);
    // The difference of the outputs is (1, 3) x + 6.
    let difference = bound_objectives(&network, &region, &bounds.pre, &[1.0, -1.0], &[0.0], &mut scratch);
    close(&[difference.lower[0], difference.upper[0]], [7.0 - 1.25, 7.0 + 1.25]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Dense and sparse layers, every activation, boxes and balls of radius 0 to 1: no sampled point leaves the bounds by more than rounding,
    /// and the bounds are no wider than intervals.
    #[test]
    fn sampled_points_stay_inside(
        network in super::random::networks(),
        center in super::random::numbers(5),
        radius in prop_oneof![Just(0.0), Just(1e-6), Just(1e-5), 0.0..1.0f64],
        is_ball in any::<bool>(),
        samples in prop::collection::vec(prop::collection::vec(-1.0..=1.0f64, 5), 30),
    ) {
        let center = center[..network.inputs()].to_vec();
        let region = if is_ball {
            FloatRegion::Ball { center: center.clone(), radius }
        } else {
            FloatRegion::linf(center.clone(), radius)
        };
        let bounds = bound_crown(&network, &region, &mut CrownScratch::default()).output;
        let intervals = bound_ibp(&network, &region).1;
        // Sums of a mean may round apart in the last place where both bounds coincide.
        prop_assert!(bounds.mean_width() <= intervals.mean_width() * (1.0 + 1e-12));
        for sample in samples.into_iter().chain([vec![0.0; 5], vec![1.0; 5], vec![-1.0; 5]]) {
            let direction = &sample[..network.inputs()];
            let norm = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(1.0);
            let scale = radius / if is_ball { norm } else { 1.0 };
            let x: Vec<f64> = center.iter().zip(direction).map(|(c, d)| c + scale * d).collect();
            for (o, y) in network.forward(&x).into_iter().enumerate() {
                // Both sides are rounded to nearest on the way; only the checker's bounds are proofs.
                let slack = 1e-12 * (1.0 + y.abs());
                prop_assert!(bounds.lower[o] - slack <= y && y <= bounds.upper[o] + slack, "{} in {:?}", y, bounds);
            }
        }
    }
}

/// Of ELU and SiLU the checker's derived lines are about as tight as the search's: within 2 % of its widths on average, and
/// never below them by more than that.
#[test]
fn proved_widths_of_curves_are_near_those_of_the_search() {
    let mut random = secateur_testkit::random::Random(17);
    for activation in [FloatActivation::Elu(1.0), FloatActivation::Elu(0.5), FloatActivation::Silu] {
        let mut layer = |inputs: usize, outputs: usize, activation| {
            let mut draw = |count: usize, scale: f64| {
                (0..count).map(|_| scale * f64::from(random.weight())).collect::<Vec<f64>>()
            };
            let (weight, bias) = (draw(inputs * outputs, 1.5 / (inputs as f64).sqrt()), draw(outputs, 1.0));
            FloatLayer::new(inputs, weight, bias, activation).expect("fits")
        };
        let layers = vec![
            layer(6, 24, activation),
            layer(24, 24, activation),
            layer(24, 3, FloatActivation::Identity),
        ];
        let network = FloatNetwork::new(layers).expect("fits");
        let exact = checked(&network);
        let mut scratch = CrownScratch::default();
        let mut ratios = Vec::new();
        for (state, radius) in [0.02, 0.1, 0.4].into_iter().flat_map(|r| (0..4).map(move |s| (s, r))) {
            let state: Vec<f64> = (0..6).map(|i| f64::from(state * 6 + i).sin() * 2.0).collect();
            let region = FloatRegion::linf(state.clone(), radius);
            let width = bound_crown(&network, &region, &mut scratch).output.mean_width();
            ratios.push(proved_width(&exact, &state, radius) / width);
        }
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        println!("{activation:?}: proved over searched {mean:.4}, {ratios:.4?}");
        assert!((mean - 1.0).abs() < 0.02, "{activation:?}: {mean} {ratios:?}");
    }
}
