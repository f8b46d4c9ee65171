//! Optimised slopes against the recorded widths of alpha-CROWN, and what rounding them costs.

use proptest::prelude::*;
use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown};
use secateur::search::slopes::witness::bound_with_slopes;
use secateur::search::slopes::{SlopeOptions, search_slopes};
use secateur_testkit::reference;

#[test]
fn widths_are_at_most_those_of_a_hundred_steps() {
    for stem in reference::NETWORKS {
        let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
            return;
        };
        let options = SlopeOptions::for_network(&network);
        for radius in [0.01, 0.05, 0.1] {
            let region = FloatRegion::linf(states[0].clone(), radius);
            let started = std::time::Instant::now();
            let width = search_slopes(&network, &region, &options).bounds.output.mean_width();
            let recorded = reference::recorded_width(stem, "single64", radius, "alpha100");
            println!("{stem} {radius}: {width:.6} against {recorded:.6} in {:?}", started.elapsed());
            assert!(width <= recorded * 1.005, "{stem} at {radius}: {width} against {recorded}");
        }
    }
}

#[test]
fn rounded_slopes_give_the_bounds_again() {
    for stem in &reference::NETWORKS[..4] {
        let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
            return;
        };
        let region = FloatRegion::linf(states[1].clone(), 0.05);
        let mut search = search_slopes(&network, &region, &SlopeOptions::for_network(&network));
        let found = search.bounds.output.mean_width();
        let again = bound_with_slopes(&network, &region, &search.witness).output.mean_width();
        search.witness.quantise(&network);
        let rounded = bound_with_slopes(&network, &region, &search.witness).output.mean_width();
        println!("{stem}: {found} again {:e}, rounded {:e}", again / found - 1.0, rounded / found - 1.0);
        assert!((again / found - 1.0).abs() < 1e-7, "{stem}: {found} then {again}");
        assert!(rounded / found - 1.0 < 1e-3, "{stem}: {found} then {rounded}");
    }
}

#[test]
fn optimised_bounds_hold_at_corners_and_improve_on_the_default() {
    for stem in &reference::NETWORKS[..3] {
        let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
            return;
        };
        for (state, radius) in states.iter().take(20).zip([0.0, 1e-6, 0.05, 0.1].into_iter().cycle()) {
            let region = FloatRegion::linf(state.clone(), radius);
            let found = search_slopes(&network, &region, &SlopeOptions::for_network(&network)).bounds;
            let default = bound_crown(&network, &region, &mut CrownScratch::default());
            let (width, before) = (found.output.mean_width(), default.output.mean_width());
            assert!(width <= before * (1.0 + 1e-9) + 1e-12, "{stem} {radius}: {width} after {before}");
            for corner in 0..64u64 {
                let side = |i: usize| {
                    if (corner.wrapping_mul(0x9E37_79B9) >> i) & 1 == 1 { radius } else { -radius }
                };
                let x: Vec<f64> = state.iter().enumerate().map(|(i, s)| s + side(i)).collect();
                for (o, y) in network.forward(&x).into_iter().enumerate() {
                    assert!(
                        found.output.lower[o] <= y && y <= found.output.upper[o],
                        "{stem} {radius} {o}: {y}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The bounds of rounded slopes, with everything else derived again, hold at every sampled point.
    #[test]
    fn rounded_slopes_of_any_network_hold(
        network in super::random::networks(),
        center in super::random::numbers(5),
        radius in prop_oneof![Just(1e-6), 0.0..1.0f64],
        is_ball in any::<bool>(),
        samples in prop::collection::vec(prop::collection::vec(-1.0..=1.0f64, 5), 20),
    ) {
        let center = center[..network.inputs()].to_vec();
        let region = if is_ball {
            FloatRegion::Ball { center: center.clone(), radius }
        } else {
            FloatRegion::linf(center.clone(), radius)
        };
        let options = SlopeOptions { hidden_steps: 6, output_steps: 6, ..SlopeOptions::for_network(&network) };
        let mut search = search_slopes(&network, &region, &options);
        search.witness.quantise(&network);
        let again = bound_with_slopes(&network, &region, &search.witness);
        for sample in samples.into_iter().chain([vec![0.0; 5], vec![1.0; 5], vec![-1.0; 5]]) {
            let direction = &sample[..network.inputs()];
            let norm = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(1.0);
            let scale = radius / if is_ball { norm } else { 1.0 };
            let x: Vec<f64> = center.iter().zip(direction).map(|(c, d)| c + scale * d).collect();
            for (o, y) in network.forward(&x).into_iter().enumerate() {
                let found = &search.bounds.output;
                prop_assert!(found.lower[o] <= y && y <= found.upper[o], "{} in {:?}", y, found);
                let (slack, again) = (1e-12 * (1.0 + y.abs()), &again.output);
                prop_assert!(again.lower[o] <= y + slack && y <= again.upper[o] + slack, "{} in {:?}", y, again);
            }
        }
    }
}
