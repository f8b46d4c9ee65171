//! The integer grid against exact fractions: it contains them, and loses next to nothing.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::float_arithmetic
)]
#![allow(clippy::arithmetic_side_effects, clippy::integer_division, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::unwrap_used)]

use crate::tanh_table;
use num_traits::{Signed, Zero};
use std::collections::BTreeMap;

use secateur_kernel::back::Functional;
use secateur_kernel::crown::{Witness, bound_outputs, bound_rows, crown_layers};
use secateur_kernel::grid::{GridNetwork, GridScale};
use secateur_kernel::hull::{deviation, hull_slopes};
use secateur_kernel::ibp::propagate;
use secateur_kernel::input::{GridBall, InputSet, input_magnitude, input_set};
use secateur_kernel::interval::GridBox;
use secateur_kernel::model::{Activation, Perturbation, Units};
use secateur_kernel::number::Rational;
use secateur_kernel::point::enclose_outputs;
use secateur_testkit::case::{Case, case, r};
use secateur_testkit::oracle::exact::{Boxes, Ends, Exact, ExactInput, Fraction, fraction, on_grid};
use secateur_testkit::random::Random;

/// A case on the grid and as fractions.
struct Both {
    scale: GridScale,
    grids: Vec<GridNetwork>,
    set: InputSet,
    input: ExactInput,
    radii: Vec<Fraction>,
}

/// The input set from its definition, coordinate by coordinate.
fn exact_input(case: &Case) -> (ExactInput, Vec<Fraction>) {
    let normaliser = case.policy.normaliser.as_ref();
    let clip = |x: &Rational| match normaliser.and_then(|n| n.clip.clone()) {
        Some(limit) => x.clone().min(limit.clone()).max(limit.neg()),
        None => x.clone(),
    };
    let mut input =
        ExactInput { region: Vec::new(), center: Vec::new(), semi_axes: None, offsets: Vec::new() };
    let mut offsets: BTreeMap<usize, Vec<(usize, Fraction, Fraction)>> = BTreeMap::new();
    let (mut radii, mut axes) = (Vec::new(), Vec::new());
    for (i, state) in case.states.values.values.iter().enumerate() {
        let state = state.to_rational();
        let (mut limits, mut shared) = (None, None);
        let radius = match &case.set.shape {
            Perturbation::Linf { radius } | Perturbation::L2 { radius } => radius.clone(),
            Perturbation::PerCoordinate { radii } => radii[i].clone(),
            Perturbation::Sensor(set) => {
                limits = set.limits.iter().find(|limit| limit.input == i);
                shared = set.shared.iter().enumerate().find(|(_, offset)| offset.inputs.contains(&i));
                shared.map_or_else(|| set.radii[i].clone(), |(_, offset)| set.radii[i].add(&offset.radius))
            }
        };
        let radius = &radius;
        let within = |x: Rational| match limits {
            Some(limit) => x.max(limit.lower.clone()).min(limit.upper.clone()),
            None => x,
        };
        let (mean, std) = normaliser
            .map_or((Rational::zero(), Rational::one()), |n| (n.mean[i].to_rational(), n.std[i].clone()));
        let forward = |x: &Rational| x.sub(&mean).div(&std).unwrap();
        let normalised = normaliser.is_none() || case.set.units == Units::Normalised;
        let seen = match (normaliser, case.states.units) {
            (Some(_), Units::Raw) => clip(&forward(&state)),
            _ => state.clone(),
        };
        let (lower, center, upper, cut) = if normalised {
            let (l, u) = (seen.sub(radius), seen.add(radius));
            let cut = within(l.clone()) != l || within(u.clone()) != u;
            (within(l), seen.clone(), within(u), cut)
        } else {
            let raw = match case.states.units {
                Units::Raw => state,
                Units::Normalised => state.mul(&std).add(&mean),
            };
            let (l, u) = (raw.sub(radius), raw.add(radius));
            let limited = within(l.clone()) != l || within(u.clone()) != u;
            let (l, u) = (forward(&within(l)), forward(&within(u)));
            let cut = limited || clip(&l) != l || clip(&u) != u;
            (clip(&l), clip(&seen), clip(&u), cut)
        };
        let reach = fraction(&upper.sub(&center).max(center.sub(&lower)));
        axes.push((!cut).then(|| reach.clone()));
        if let Some((offset, shared)) = shared.filter(|_| !cut) {
            let size = if normalised { shared.radius.clone() } else { forward(&mean.add(&shared.radius)) };
            let (axis, place) = (fraction(&size), offsets.entry(offset).or_default());
            place.push((i, axis.clone(), reach.clone() - axis));
        }
        radii.push(reach);
        input.region.push((fraction(&lower), fraction(&upper)));
        input.center.push(fraction(&center));
    }
    if matches!(case.set.shape, Perturbation::L2 { .. }) {
        input.semi_axes = Some(axes);
    }
    input.offsets = offsets.into_values().collect();
    (input, radii)
}

fn both(case: &Case) -> Both {
    let magnitude = input_magnitude(&case.policy, &case.states, &case.set).unwrap();
    let scale = GridScale::new(&case.policy.network, &magnitude).unwrap();
    let state = &case.states.values.values;
    let set = input_set(&case.policy, state, case.states.units, &case.set, scale.value_bits).unwrap();
    let grids = case.masks.iter().map(|m| GridNetwork::new(&case.policy.network, Some(m), &scale).unwrap());
    let grids = grids.collect();
    let (input, radii) = exact_input(case);
    Both { scale, grids, set, input, radii }
}

/// `excess` is below 1e-9 of `size`, or below 1e-12.
fn small(excess: &Fraction, size: &Fraction) -> bool {
    *excess < size.abs() * fraction(&r("1e-9")) || *excess < fraction(&r("1e-12"))
}

fn check_box(grid: &GridBox, exact: &[Ends], bits: u32, slack: &Fraction, label: &str) {
    assert_eq!(grid.lower().len(), exact.len(), "{label}");
    for ((lower, upper), (low, high)) in grid.intervals().zip(exact) {
        let (below, over) = (low - on_grid(lower, bits), on_grid(upper, bits) - high);
        assert!(
            below >= -slack.clone() && over >= -slack.clone(),
            "{label}: {below} {over} inside the exact interval"
        );
        assert!(small(&below, low) && small(&over, high), "{label}: excess {below} {over}");
    }
}

fn check_boxes(grid: (&[GridBox], &[GridBox]), exact: &Boxes, bits: u32, slack: &Fraction, label: &str) {
    for (layer, (grid, exact)) in grid.0.iter().zip(&exact.pre).enumerate() {
        check_box(grid, exact, bits, slack, &format!("{label}, before activation {layer}"));
    }
    for (layer, (grid, exact)) in grid.1.iter().zip(&exact.post).enumerate() {
        check_box(grid, exact, bits, slack, &format!("{label}, after activation {layer}"));
    }
}

fn cases(seeds: std::ops::Range<u64>) -> impl Iterator<Item = (String, Case)> {
    seeds.map(|seed| (format!("seed {seed}"), case(&mut Random(seed))))
}

#[test]
fn input_sets_contain_their_definition() {
    for (label, case) in cases(0..400) {
        let both = both(&case);
        let bits = both.scale.value_bits;
        check_box(&both.set.region, &both.input.region, bits, &Fraction::zero(), &label);
        let center: Vec<Ends> = both.input.center.iter().map(|c| (c.clone(), c.clone())).collect();
        check_box(&both.set.center, &center, bits, &Fraction::zero(), &label);
        for (grid, radius) in both.set.radii.iter().zip(&both.radii) {
            let excess = on_grid(*grid, bits) - radius;
            assert!(!excess.is_negative() && small(&excess, radius), "{label}");
        }
        let (axes, offsets) = match both.set.ball {
            Some(GridBall::Euclidean { semi_axes }) => (Some(semi_axes), Vec::new()),
            Some(GridBall::Shared { offsets }) => (None, offsets),
            None => (None, Vec::new()),
        };
        assert_eq!(offsets.len(), both.input.offsets.len(), "{label}");
        for (grid, exact) in offsets.iter().flatten().zip(both.input.offsets.iter().flatten()) {
            let below = &exact.1 - on_grid(grid.1, bits);
            assert!(grid.0 == exact.0 && !below.is_negative() && small(&below, &exact.1), "{label}");
        }
        assert_eq!(axes.is_some(), both.input.semi_axes.is_some(), "{label}");
        for (grid, exact) in axes.iter().flatten().zip(both.input.semi_axes.iter().flatten()) {
            assert_eq!(grid.is_some(), exact.is_some(), "{label}");
        }
    }
}

#[test]
fn interval_bounds_contain_the_exact_ones() {
    for (label, case) in cases(0..400) {
        let both = both(&case);
        for (mask, grid) in case.masks.iter().zip(&both.grids) {
            let bounds = propagate(grid, tanh_table(), &both.set.region).unwrap();
            let exact = Exact::new(&case.policy.network, mask).intervals(&both.input.region);
            let boxes = (bounds.pre.as_slice(), bounds.post.as_slice());
            check_boxes(boxes, &exact, both.scale.value_bits, &Fraction::zero(), &label);
        }
    }
}

#[test]
fn hull_deviations_contain_the_exact_ones() {
    let mut tight = 0;
    for (label, case) in cases(0..400) {
        let both = both(&case);
        let table = tanh_table();
        let bounds: Vec<_> =
            both.grids.iter().map(|n| propagate(n, table, &both.set.region).unwrap()).collect();
        let slopes = hull_slopes(&both.grids[0], table, &bounds.iter().collect::<Vec<_>>()).unwrap();
        let boxes: Vec<_> = case
            .masks
            .iter()
            .map(|m| Exact::new(&case.policy.network, m).intervals(&both.input.region))
            .collect();
        let jump = Exact::new(&case.policy.network, &case.masks[0]).at_breakpoint(&boxes);
        tight += usize::from(!jump);
        let mut before: Option<Vec<i64>> = None;
        for (mask, grid) in case.masks.iter().zip(&both.grids) {
            let found = deviation(grid, &slopes, &both.set.radii).unwrap();
            let exact = Exact::new(&case.policy.network, mask).deviation(&boxes, &both.radii);
            for (value, exact) in found.iter().zip(&exact) {
                let excess = on_grid(*value, both.scale.value_bits) - exact;
                assert!(
                    !excess.is_negative() && (jump || small(&excess, exact)),
                    "{label}: {excess} over {exact}"
                );
            }
            let rose = before.iter().flatten().zip(&found).any(|(old, new)| new > old);
            assert!(!rose, "{label}: a mask of the chain has a larger bound than the one before it");
            before = Some(found);
        }
    }
    assert!(tight > 200, "only {tight} cases compare the excess");
}

/// The grid may undercut the exact backward bound by its own steps: a coefficient of less than one step is paid for by
/// the activation's range instead of by its line. Hence the slack of 2^-40.
#[test]
fn backward_bounds_agree_with_the_exact_ones() {
    let slack = on_grid(1, 40);
    for (label, case) in cases(0..250) {
        let both = both(&case);
        let bits = both.scale.value_bits;
        for (mask, grid) in case.masks.iter().zip(&both.grids) {
            let table = tanh_table();
            let layers = crown_layers(grid, table, &both.set, Witness::default()).unwrap().unwrap();
            let network = Exact::new(&case.policy.network, mask);
            let exact = network.backward(&layers, bits, &both.input);
            check_boxes((&layers.pre, &layers.post), &exact, bits, &slack, &label);
            let depth = network.layers.len();
            for output in 0..case.policy.network.outputs() {
                for sign in [1i64, -1] {
                    let mut weights = vec![0; case.policy.network.outputs()];
                    weights[output] = sign;
                    let functional = Functional::of_outputs(grid, &weights).unwrap();
                    let found =
                        bound_rows(grid, table, vec![functional], &layers, &both.set, None).unwrap()[0];
                    let weights = weights.iter().map(|&w| on_grid(w, 0)).collect();
                    let exact = network.carry(&exact, &layers, bits, depth, weights, &both.input);
                    let excess = on_grid(found, bits) - &exact;
                    assert!(
                        excess >= -slack.clone() && small(&excess, &exact),
                        "{label}: {excess} over {exact}"
                    );
                }
            }
        }
    }
}

/// No corner of the box, and no other point of it, has an output or a difference of two beyond the bound by parabolas, whose
/// enclosure at a point is next to exact; and often the bound is lower than that by lines.
#[test]
fn parabolas_hold_every_point() {
    let (mut better, mut same, mut random) = (0, 0, Random(5));
    let elu = |alpha| Activation::Elu { alpha: r(alpha) };
    let smooth = [Activation::Silu, elu("1"), elu("2/3"), Activation::Tanh, Activation::Sigmoid];
    for (label, mut case) in cases(0..2000) {
        for layer in &mut case.policy.network.layers {
            if !random.one_in(4) {
                layer.activation = random.pick(&smooth);
            }
        }
        let both = both(&case);
        let outputs = case.policy.network.outputs();
        if both.set.ball.is_some() {
            continue;
        }
        let ends: Vec<(i64, i64)> = both.set.region.intervals().collect();
        let point = |random: &mut Random, inner: bool| -> Vec<Rational> {
            let at = |(lower, upper): &(i64, i64)| match inner {
                true => random.between(*lower, *upper),
                false => random.pick(&[*lower, *upper]),
            };
            ends.iter().map(at).map(|x| Rational::on_grid(x, both.scale.value_bits)).collect()
        };
        let points: Vec<Vec<Rational>> = (0..12).map(|k| point(&mut random, k % 4 == 3)).collect();
        for grid in &both.grids {
            let bounds = |quadratic: bool| {
                let witness = Witness { quadratic, ..Witness::default() };
                let layers = crown_layers(grid, tanh_table(), &both.set, witness).unwrap().unwrap();
                let bound = |weights: &Vec<i64>| {
                    bound_outputs(grid, tanh_table(), &layers, &both.set, weights, None).unwrap()
                };
                let mut asked: Vec<Vec<i64>> = Vec::new();
                for output in 0..outputs {
                    let of = |sign: i64| (0..outputs).map(|at| if at == output { sign } else { 0 }).collect();
                    asked.extend([of(1), of(-1)]);
                }
                asked.extend(
                    (outputs > 1)
                        .then(|| (0..outputs).map(|at| [1, -1].get(at).copied().unwrap_or(0)).collect()),
                );
                let found = asked.iter().map(bound).collect::<Vec<_>>();
                (asked, found)
            };
            let ((_, lines), (asked, found)) = (bounds(false), bounds(true));
            for (line, found) in lines.iter().zip(&found) {
                better += usize::from(found < line);
                same += usize::from(found == line);
            }
            for point in &points {
                let enclosed: Vec<(i64, i64)> =
                    enclose_outputs(grid, tanh_table(), point).unwrap().intervals().collect();
                for (weights, bound) in asked.iter().zip(&found) {
                    let least =
                        weights.iter().zip(&enclosed).map(|(w, (l, u))| if *w < 0 { w * u } else { w * l });
                    assert!(
                        least.sum::<i64>() <= *bound,
                        "{label}: {weights:?} at {point:?} is above {bound}"
                    );
                }
            }
        }
    }
    assert!(better > 1000 && same > 1000, "{better} lower, {same} the same");
}
