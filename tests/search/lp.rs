//! The linear program against the recorded LP width of network c, and against its own slopes.

use secateur::bound::FloatRegion;
use secateur::float::{FloatActivation, FloatLayer, FloatNetwork};
use secateur::search::lp::{LpError, search_lp};
use secateur::search::slopes::witness::bound_with_slopes;
use secateur::search::slopes::{SlopeOptions, search_slopes};
use secateur_testkit::reference;

/// 0.20335 is the recorded mean width of the LP over CROWN's bounds of the hidden layers, radius 0.05, first state.
#[test]
fn the_optimum_of_c_is_reached_and_its_slopes_give_it_again() {
    let stem = "c_relu4x64x64x2";
    let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
        return;
    };
    let region = FloatRegion::linf(states[0].clone(), 0.05);
    let options = SlopeOptions { hidden_steps: 0, output_steps: 0, ..SlopeOptions::for_network(&network) };
    let base = search_slopes(&network, &region, &options);
    let started = std::time::Instant::now();
    let mut lp = search_lp(&network, &region, &base).unwrap();
    let width = lp.bounds.output.mean_width();
    println!("{} by default, {width} by LP in {:?}", base.bounds.output.mean_width(), started.elapsed());
    assert!((width - 0.20335).abs() < 5e-6 + 0.20335e-4, "{width}");
    let again = bound_with_slopes(&network, &region, &lp.witness).output.mean_width();
    assert!((again / width - 1.0).abs() < 1e-9, "{again}");
    lp.witness.quantise(&network);
    let rounded = bound_with_slopes(&network, &region, &lp.witness).output.mean_width();
    assert!(rounded / width - 1.0 < 1e-4, "{rounded}");
}

#[test]
fn tanh_has_no_triangle() {
    let stem = "b_tanh11x64x64x3";
    let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
        return;
    };
    let region = FloatRegion::linf(states[0].clone(), 0.05);
    let base = search_slopes(&network, &region, &SlopeOptions::for_network(&network));
    assert_eq!(
        search_lp(&network, &region, &base),
        Err(LpError::Activation { layer: 0, activation: "tanh" })
    );
}

/// `(x + 2 y, x - y + 1)` over the unit box: intervals are exact, and there is nothing to choose.
#[test]
fn a_single_layer_keeps_its_bounds() {
    let weight = vec![1.0, 2.0, 1.0, -1.0];
    let layer = FloatLayer::new(2, weight, vec![0.0, 1.0], FloatActivation::Identity).unwrap();
    let network = FloatNetwork::new(vec![layer]).unwrap();
    let region = FloatRegion::linf(vec![0.0; 2], 1.0);
    let base = search_slopes(&network, &region, &SlopeOptions::for_network(&network));
    let output = search_lp(&network, &region, &base).unwrap().bounds.output;
    let close =
        |found: &[f64], expected: [f64; 2]| found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9);
    assert!(close(&output.lower, [-3.0, -1.0]) && close(&output.upper, [3.0, 3.0]), "{output:?}");
}
