//! Rules of `spec/rules/band.md`: each side condition with an accepted and a rejected case, and soundness by evaluating
//! random masks of random bands at random points of the ball: exactly for ReLU, by enclosures for tanh.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::float_arithmetic,
    clippy::as_conversions
)]
#![allow(clippy::integer_division, clippy::print_stderr, clippy::unwrap_used, clippy::indexing_slicing)]

use secateur_testkit::hinges;
use std::collections::BTreeSet;
use std::path::PathBuf;

use secateur_checker::check::{CHECKER_ID, NamedFile, Subject, Verified, check, pruned_count};
use secateur_checker::evaluate::{Problem, evaluate as evaluate_all};
use secateur_checker::family::{BandEnd, Family, WitnessKind};
use secateur_checker::kernel::band::{BandNetwork, band_bounds};
use secateur_checker::kernel::bounds::StateBounds;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::grid::{GridNetwork, GridScale};
use secateur_checker::kernel::head::{HeadBounds, OutputChange};
use secateur_checker::kernel::ibp::{LayerBounds, propagate};
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::kernel::paired::{PairedNetwork, paired_change};
use secateur_checker::kernel::point::{PointHead, deviation_from_below, enclose_outputs, perturbed_inputs};
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{
    Activation, Head, InputLimit, Layer, Mask, Matrix, Network, Normaliser, Perturbation, PerturbationSet,
    Policy, SensorSet, SharedOffset, States, Units,
};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::certificate::{
    Certificate, Claim, FileDigest, MaskRecord, Program, SCHEMA_VERSION, StepVerdict,
};
use secateur_checker::reader::digest::{mask_digest, sha256_hex, weights_digest};
use secateur_checker::reader::npy::parse_states;
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::{LIMIT_BANDS, family_limits, policy_assumptions};
use secateur_checker::table::Quantity;
use secateur_checker::tables::tanh_table;
use secateur_testkit::case::refused;
use secateur_testkit::random::Random;

/// Weights and biases are multiples of 2^-6.
const WEIGHT: i32 = -6;
/// Inputs are multiples of 2^-10.
const INPUT: i32 = -10;

fn random_network(random: &mut Random, widths: &[usize], hidden: &Activation) -> Network {
    let last = widths.len() - 2;
    let layers = widths.windows(2).enumerate().map(|(index, pair)| {
        let mut numbers =
            |count: usize| (0..count).map(|_| Dyadic::new(random.between(-96, 96), WEIGHT)).collect();
        Layer {
            fixed: false,
            weight: Matrix { rows: pair[1], columns: pair[0], values: numbers(pair[0] * pair[1]) },
            bias: numbers(pair[1]),
            activation: if index == last { Activation::Identity } else { hidden.clone() },
        }
    });
    Network { layers: layers.collect() }
}

/// Every bit of `from`, kept with the odds, and always where `must` keeps it.
fn thin(random: &mut Random, from: &Mask, must: Option<&Mask>, odds: u64) -> Mask {
    let tables = from.layers.iter().enumerate().map(|(l, table)| {
        let bit = |(k, &kept): (usize, &bool)| {
            kept && (random.bits() % 100 < odds || must.is_some_and(|m| m.layers[l][k]))
        };
        table.iter().enumerate().map(bit).collect()
    });
    Mask { layers: tables.collect() }
}

fn full(network: &Network) -> Mask {
    Mask { layers: network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect() }
}

fn policy(network: Network) -> Policy {
    Policy { network, head: Head::Categorical, normaliser: None, source: None }
}

fn state(values: &[i64]) -> States {
    let entries = values.iter().map(|&v| Dyadic::new(v, INPUT)).collect();
    States { values: Matrix { rows: 1, columns: values.len(), values: entries }, units: Units::Normalised }
}

fn linf(radius: &str) -> PerturbationSet {
    let radius = Rational::parse(radius).unwrap();
    PerturbationSet { shape: Perturbation::Linf { radius }, units: Units::Normalised }
}

fn point(random: &mut Random, center: &[i64], radius: i64) -> Vec<i64> {
    let corner = random.bits().is_multiple_of(2);
    let step = |c: &i64| {
        let inside = random.between(-radius, radius);
        c + if corner { radius * (2 * random.between(0, 1) - 1) } else { inside }
    };
    center.iter().map(step).collect()
}

/// The exact output of a ReLU network with three layers, times `2^28`.
fn exact(network: &Network, mask: &Mask, input: &[i64]) -> Vec<i128> {
    let mut values: Vec<i128> = input.iter().map(|&x| i128::from(x)).collect();
    for (l, (layer, kept)) in network.layers.iter().zip(&mask.layers).enumerate() {
        let integer = |d: Dyadic| i128::from(d.mantissa) << (d.exponent - WEIGHT);
        let columns = layer.weight.columns;
        let row = |i: usize| {
            let mut sum = integer(layer.bias[i]) << (-INPUT - WEIGHT * l as i32);
            for (j, value) in values.iter().enumerate().filter(|(j, _)| kept[i * columns + j]) {
                sum += integer(layer.weight.values[i * columns + j]) * value;
            }
            if layer.activation == Activation::Relu { sum.max(0) } else { sum }
        };
        values = (0..layer.weight.rows).map(row).collect();
    }
    values
}

fn evaluate(
    policy: &Policy,
    masks: &[Mask],
    states: &States,
    set: &PerturbationSet,
    families: &[Family],
) -> Result<(Vec<Vec<StateBounds>>, u32), Reason> {
    let problem = LocalProblem::new(policy, masks, states, set)?.prepare(families)?;
    Ok((problem.evaluate(0, families)?, problem.value_bits))
}

/// Monotone families of a categorical policy, whose clean policy each mask changes: neither total variation nor divergence
/// rises along a chain, although those of the families that know one mask at a time do.
#[test]
fn total_variation_of_monotone_families_never_rises() {
    let mut random = Random(24);
    let ends = [BandEnd::Mask(3), BandEnd::Zero];
    let bands = ends.into_iter().flat_map(|end| [Family::Band(end), Family::BandCrown(end)]);
    let mut families: Vec<Family> = Family::ALL.into_iter().chain(bands).collect();
    families.retain(|f| matches!(f.entry().witness, WitnessKind::None) && !f.is_float32());
    let (mut rose, mut known) = ([0; 2], BTreeSet::new());
    for _ in 0..60 {
        let network = random_network(&mut random, &[3, 6, 5, 3], &Activation::Tanh);
        let mut masks = vec![full(&network)];
        for _ in 0..3 {
            let next = thin(&mut random, &masks[masks.len() - 1], None, 80);
            masks.push(next);
        }
        let center: Vec<i64> = (0..3).map(|_| random.between(-1500, 1500)).collect();
        let (policy, states, set) = (policy(network), state(&center), linf("1/64"));
        let problem =
            Problem { policy: &policy, masks: &masks, states: &states, perturbation: &set, witness: None };
        let head = HeadBounds::new(&policy.head).unwrap();
        for table in evaluate_all(&problem, &families, &mut |_, _| {}).unwrap() {
            for (which, quantity) in [Quantity::TotalVariation, Quantity::Divergence].into_iter().enumerate()
            {
                let values = |mask| table.values(&head, quantity, mask, None).unwrap()[0].clone();
                for mask in 1..table.masks.len() {
                    let (before, after) = (values(mask - 1), values(mask));
                    if table.family.is_monotone() {
                        assert!(after <= before, "{} {quantity:?}: {before} to {after}", table.family.name());
                    } else if after > before {
                        rose[which] += 1;
                    }
                }
            }
            let change = &table.masks[table.masks.len() - 1].changes[0];
            let any = OutputChange { policy: None, ..change.clone() };
            if head.total_variation(change).unwrap() < head.total_variation(&any).unwrap() {
                known.insert(table.family);
            }
        }
    }
    assert!(rose.iter().all(|rose| *rose > 10), "{rose:?}");
    // Whoever knows the state makes use of it.
    let local: BTreeSet<Family> = families.into_iter().filter(|family| family.is_local()).collect();
    assert_eq!(known, local);
}

const TO_ONE: [Family; 2] = [Family::Band(BandEnd::Mask(1)), Family::BandCrown(BandEnd::Mask(1))];

/// Samples so many masks of so many bands; the release run `SECATEUR_SAMPLES=100000` is the long one.
fn samples() -> usize {
    std::env::var("SECATEUR_SAMPLES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

#[test]
fn no_exact_evaluation_of_a_mask_in_the_band_lies_outside() {
    let mut random = Random(3);
    let total = samples();
    let (mut tried, mut closest) = (0, 0.0f64);
    while tried < total {
        let network = random_network(&mut random, &[3, 6, 5, 2], &Activation::Relu);
        let dense = full(&network);
        let loosest = thin(&mut random, &dense, None, 90);
        let odds = random.bits() % 101;
        let tightest = thin(&mut random, &loosest, None, odds);
        let center: Vec<i64> = (0..3).map(|_| random.between(-1500, 1500)).collect();
        let families = if random.bits().is_multiple_of(4) {
            [Family::Band(BandEnd::Zero), Family::BandCrown(BandEnd::Zero)]
        } else {
            TO_ONE
        };
        let must = (families == TO_ONE).then_some(&tightest);
        let masks = [loosest.clone(), tightest.clone()];
        let policy = policy(network);
        let (bounds, bits) = evaluate(&policy, &masks, &state(&center), &linf("1/16"), &families).unwrap();
        for _ in 0..50.min(total - tried) {
            tried += 1;
            let odds = random.bits() % 101;
            let mask = thin(&mut random, &loosest, must, odds);
            let clean = exact(&policy.network, &mask, &center);
            let moved = exact(&policy.network, &mask, &point(&mut random, &center, 64));
            let change: Vec<i128> = clean.iter().zip(&moved).map(|(a, b)| (b - a) << (bits - 28)).collect();
            for family in &bounds {
                for (change, &bound) in change.iter().zip(&family[0].deviation) {
                    assert!(change.abs() <= i128::from(bound), "{change} beyond {bound}");
                    closest = closest.max(change.abs() as f64 / bound.max(1) as f64);
                }
                assert!((change[0] - change[1]).abs() <= i128::from(family[0].oscillation));
                if family[0].margin.unwrap() > 0 {
                    assert_eq!(clean[0] > clean[1], moved[0] > moved[1]);
                    assert!(moved[0] != moved[1]);
                }
            }
        }
    }
    eprintln!("{tried} masks, largest share of a bound reached: {closest:.3}");
    // Bounds that nothing comes near would hide an unsound step.
    assert!(closest > 0.9);
}

fn enclosure(grid: &GridNetwork, input: &[i64]) -> GridBox {
    let entries: Vec<i64> =
        input.iter().map(|&x| x << (i64::from(grid.value_bits) + i64::from(INPUT))).collect();
    let box_at = GridBox::point(entries);
    propagate(grid, tanh_table().unwrap(), &box_at).unwrap().post.pop().unwrap()
}

/// The least distance between a number of the first interval and one of the second.
fn gap((l1, u1): (i64, i64), (l2, u2): (i64, i64)) -> i64 {
    (l2 - u1).max(l1 - u2).max(0)
}

#[test]
fn smooth_and_clipped_networks_stay_inside_too() {
    let clip = Activation::Clip { lower: Rational::parse("-1/3").unwrap(), upper: Rational::one() };
    let leaky = Activation::LeakyRelu { slope: Rational::parse("1/3").unwrap() };
    let mut random = Random(5);
    for activation in [Activation::Tanh, Activation::Sigmoid, clip, leaky] {
        let mut closest = 0.0f64;
        for _ in 0..40 {
            let network = random_network(&mut random, &[3, 6, 5, 2], &activation);
            let loosest = full(&network);
            let tightest = thin(&mut random, &loosest, None, 70);
            let center: Vec<i64> = (0..3).map(|_| random.between(-1024, 1024)).collect();
            let policy = policy(network);
            let masks = [loosest.clone(), tightest.clone()];
            let set = PerturbationSet {
                shape: Perturbation::L2 { radius: Rational::parse("1/16").unwrap() },
                units: Units::Normalised,
            };
            for set in [linf("1/16"), set] {
                let ball = matches!(set.shape, Perturbation::L2 { .. });
                let states = state(&center);
                let (bounds, bits) = evaluate(&policy, &masks, &states, &set, &TO_ONE).unwrap();
                let scale = GridScale::new(&policy.network, &Rational::parse("2").unwrap()).unwrap();
                assert_eq!(scale.value_bits, bits);
                for _ in 0..15 {
                    let odds = random.bits() % 101;
                    let mask = thin(&mut random, &loosest, Some(&tightest), odds);
                    let grid = GridNetwork::new(&policy.network, Some(&mask), &scale).unwrap();
                    // 36 / 1024 is below 1/16 / sqrt(3), so that corners lie in the l2 ball.
                    let input = point(&mut random, &center, if ball { 36 } else { 64 });
                    let (clean, moved) = (enclosure(&grid, &center), enclosure(&grid, &input));
                    for family in &bounds {
                        let pairs = clean.intervals().zip(moved.intervals());
                        for ((clean, moved), &bound) in pairs.zip(&family[0].deviation) {
                            assert!(gap(clean, moved) <= bound);
                            closest = closest.max(gap(clean, moved) as f64 / bound.max(1) as f64);
                        }
                    }
                }
            }
        }
        assert!(closest > 0.5, "{activation:?}: {closest}");
    }
}

/// One layer `2 x - 3 y` with radii 1/16: dense 5/16; all submasks the same; band that must keep both the same.
#[test]
fn one_layer_by_hand() {
    let weight = Matrix { rows: 1, columns: 2, values: vec![Dyadic::new(2, 0), Dyadic::new(-3, 0)] };
    let layer =
        Layer { fixed: false, weight, bias: vec![Dyadic::new(1, 0)], activation: Activation::Identity };
    let policy = policy(Network { layers: vec![layer] });
    let masks = [full(&policy.network), Mask { layers: vec![vec![false, true]] }];
    for end in [BandEnd::Zero, BandEnd::Mask(0), BandEnd::Mask(1)] {
        let families = [Family::Band(end), Family::BandCrown(end)];
        let (bounds, bits) = evaluate(&policy, &masks, &state(&[40, 50]), &linf("1/16"), &families).unwrap();
        for family in bounds {
            assert_eq!(family[0].deviation, vec![5 << (bits - 4)]);
            if let Some(tight) = family.get(1) {
                assert_eq!(tight.deviation, vec![3 << (bits - 4)]);
            }
        }
    }
}

/// `relu(x) - relu(x)` has deviation 0 as one mask and 1/16 over the band that may drop the second term.
#[test]
fn signs_are_kept_where_the_band_allows() {
    let policy = policy(hinges::cancelling());
    let masks = hinges::cancelling_masks();
    let families = [0, 1].map(|k| Family::Band(BandEnd::Mask(k)));
    let (bounds, bits) = evaluate(&policy, &masks, &state(&[512]), &linf("1/16"), &families).unwrap();
    assert_eq!(bounds[0][0].deviation, vec![0]);
    assert_eq!(bounds[1][0].deviation, vec![1 << (bits - 4)]);
    assert_eq!(bounds[1][1].deviation, vec![1 << (bits - 4)]);
}

/// The theorem, without the least over the list: every pair of nested bands, each evaluated alone.
#[test]
fn a_narrower_band_never_has_a_larger_bound() {
    let mut random = Random(7);
    for activation in [Activation::Tanh, Activation::Relu, Activation::Sigmoid] {
        for _ in 0..60 {
            let network = random_network(&mut random, &[3, 6, 5, 2], &activation);
            let loosest = full(&network);
            let inner = thin(&mut random, &loosest, None, 80);
            let tight = thin(&mut random, &inner, None, 60);
            let tightest = thin(&mut random, &tight, None, 60);
            let center: Vec<i64> = (0..3).map(|_| random.between(-1024, 1024)).collect();
            let policy = policy(network);
            let alone = |from: &Mask, to: &Mask| {
                let masks = [from.clone(), to.clone()];
                let (bounds, _) = evaluate(&policy, &masks, &state(&center), &linf("1/16"), &TO_ONE).unwrap();
                (bounds[0][0].clone(), bounds[1][0].clone())
            };
            let wide = alone(&loosest, &tightest);
            for narrow in [alone(&inner, &tight), alone(&loosest, &tight), alone(&inner, &tightest)] {
                assert!(narrow.0.deviation.iter().zip(&wide.0.deviation).all(|(n, w)| n <= w));
                assert!(narrow.0.oscillation <= wide.0.oscillation);
            }
            assert!(wide.1.deviation.iter().zip(&wide.0.deviation).all(|(crown, plain)| crown <= plain));
        }
    }
}

#[test]
fn a_band_must_be_nested_and_shaped() {
    let mut random = Random(9);
    let network = random_network(&mut random, &[2, 3, 1], &Activation::Relu);
    let scale = GridScale::new(&network, &Rational::one()).unwrap();
    let band = |loosest: &Mask, tightest: Option<&Mask>| {
        BandNetwork::new(&network, loosest, tightest, &scale).map(|_| ())
    };
    let dense = full(&network);
    let mut pruned = dense.clone();
    pruned.layers[1][2] = false;
    assert_eq!(band(&dense, Some(&pruned)), Ok(()));
    assert_eq!(band(&dense, None), Ok(()));
    assert_eq!(band(&pruned, Some(&dense)), Err(Fault::BandNotNested { layer: 1, weight: 2 }));
    let mut short = pruned.clone();
    short.layers[1].pop();
    assert_eq!(band(&dense, Some(&short)), Err(Fault::ShapeMismatch { layer: 1 }));
    assert_eq!(band(&short, None), Err(Fault::ShapeMismatch { layer: 1 }));
    short.layers.pop();
    assert_eq!(band(&dense, Some(&short)), Err(Fault::ShapeMismatch { layer: 2 }));
    let mut long = dense.clone();
    long.layers.push(vec![true]);
    assert_eq!(band(&long, Some(&dense)), Err(Fault::ShapeMismatch { layer: 2 }));
    assert_eq!(band(&dense, Some(&long)), Err(Fault::ShapeMismatch { layer: 2 }));
}

/// `s (5 + w x)` at x = 1 with w = 2, s = 3: submasks that keep the scale s give 15 to 21, those that may prune it 0 to 21.
#[test]
fn the_widest_band_keeps_scale_layers() {
    let one = |entry: i64, bias: i64, fixed| Layer {
        fixed,
        weight: Matrix { rows: 1, columns: 1, values: vec![Dyadic::new(entry, 0)] },
        bias: vec![Dyadic::new(bias, 0)],
        activation: Activation::Identity,
    };
    let center = |fixed| {
        let policy = policy(Network { layers: vec![one(2, 5, false), one(3, 0, fixed)] });
        let (states, set, masks) = (state(&[1 << -INPUT]), linf("0"), [full(&policy.network)]);
        let problem = LocalProblem::new(&policy, &masks, &states, &set).unwrap();
        let scale = GridScale::new(&policy.network, &Rational::one()).unwrap();
        let band = BandNetwork::new(&policy.network, &masks[0], None, &scale).unwrap();
        let bounds = band_bounds(&band, tanh_table().unwrap(), &problem.input_at(0).unwrap(), false).unwrap();
        let unit = 1i64 << problem.value_bits;
        (bounds.center.lower()[0] / unit, bounds.center.upper()[0] / unit)
    };
    assert_eq!((center(true), center(false)), ((15, 21), (0, 21)));
}

#[test]
fn a_band_ends_at_a_listed_mask() {
    let mut random = Random(13);
    let policy = policy(random_network(&mut random, &[2, 3, 2], &Activation::Tanh));
    let masks = [full(&policy.network)];
    let at =
        |family: Family| evaluate(&policy, &masks, &state(&[1, 2]), &linf("1/16"), &[family]).map(|_| ());
    assert_eq!(at(Family::Band(BandEnd::Mask(0))), Ok(()));
    assert_eq!(at(Family::BandCrown(BandEnd::Mask(1))), Err(Fault::NoBand.into()));
    let (states, set) = (state(&[1, 2]), linf("1/16"));
    let unprepared = LocalProblem::new(&policy, &masks, &states, &set).unwrap();
    assert_eq!(unprepared.evaluate(0, &[Family::Band(BandEnd::Zero)]), Err(Fault::NoBand));
    assert_eq!(unprepared.evaluate(0, &[Family::PrunedDeviation]), Err(Fault::NoBand));
}

#[test]
fn family_names_are_canonical() {
    for name in ["band/0", "band/12", "band/zero", "band-crown/3", "band-crown/zero", "envelope/ibp", "ibp"] {
        assert_eq!(Family::parse(name).unwrap().name(), name);
    }
    for name in
        ["band", "band/", "band/01", "band/+1", "band/-1", "band/ 1", "band/dense", "band-crown", "Band/0"]
    {
        assert_eq!(Family::parse(name), None, "{name}");
    }
    assert_eq!(Family::parse("band/2").unwrap().covers(3), 3);
    assert_eq!(Family::parse("band/2").unwrap().covers(2), 0);
    assert_eq!(Family::parse("band/zero").unwrap().covers(2), 2);
}

#[test]
fn an_envelope_is_the_worst_of_all_later_masks() {
    let mut random = Random(17);
    let mut raised = 0;
    for _ in 0..20 {
        let network = random_network(&mut random, &[3, 6, 5, 2], &Activation::Relu);
        let mut masks = vec![full(&network)];
        for _ in 0..3 {
            let next = thin(&mut random, &masks[masks.len() - 1], None, 70);
            masks.push(next);
        }
        let policy = policy(network);
        let families = [Family::Ibp, Family::EnvelopeIbp, Family::Crown, Family::EnvelopeCrown];
        let (bounds, _) =
            evaluate(&policy, &masks, &state(&[5, 900, -900]), &linf("1/16"), &families).unwrap();
        for pair in bounds.chunks(2) {
            for mask in 0..masks.len() {
                for output in 0..2 {
                    let later = pair[0][mask..].iter().map(|b| b.deviation[output]).max().unwrap();
                    assert_eq!(pair[1][mask].deviation[output], later);
                    raised += usize::from(later > pair[0][mask].deviation[output]);
                }
                let worst = pair[0][mask..].iter().map(|b| b.oscillation).max().unwrap();
                assert_eq!(pair[1][mask].oscillation, worst);
                assert_eq!(pair[1][mask].margin, pair[0][mask..].iter().map(|b| b.margin).min().unwrap());
            }
        }
    }
    assert!(raised > 0, "no local bound ever rose: the envelope was not tried");
}

#[test]
fn pruned_and_dense_differ_by_at_most_the_paired_bound() {
    let mut random = Random(19);
    let mut closest = 0.0f64;
    for _ in 0..100 {
        let network = random_network(&mut random, &[3, 6, 5, 2], &Activation::Relu);
        let dense = full(&network);
        let mask = thin(&mut random, &dense, None, 92);
        let center: Vec<i64> = (0..3).map(|_| random.between(-1024, 1024)).collect();
        let policy = policy(network);
        let masks = [dense.clone(), mask.clone()];
        let families = [Family::PrunedDeviation];
        let (bounds, bits) = evaluate(&policy, &masks, &state(&center), &linf("1/16"), &families).unwrap();
        assert_eq!(bounds[0][0].deviation, vec![0, 0]);
        assert_eq!(bounds[0][1].margin, None);
        for _ in 0..20 {
            let input = point(&mut random, &center, 64);
            let (one, other) =
                (exact(&policy.network, &mask, &input), exact(&policy.network, &dense, &input));
            for ((a, b), &bound) in one.iter().zip(&other).zip(&bounds[0][1].deviation) {
                let change = ((a - b) << (bits - 28)).abs();
                assert!(change <= i128::from(bound));
                closest = closest.max(change as f64 / bound.max(1) as f64);
            }
        }
    }
    assert!(closest > 0.9);
}

#[test]
fn paired_bounds_must_be_of_the_same_network() {
    let mut random = Random(23);
    let network = random_network(&mut random, &[2, 3, 1], &Activation::Relu);
    let scale = GridScale::new(&network, &Rational::one()).unwrap();
    let grid = GridNetwork::new(&network, None, &scale).unwrap();
    let paired = PairedNetwork::new(&network, &full(&network), &scale).unwrap();
    let table = tanh_table().unwrap();
    let input = GridBox::from_intervals([(0, 5); 2]);
    let bounds = propagate(&grid, table, &input).unwrap();
    assert!(paired_change(&paired, table, &input, &bounds, &bounds).is_ok());
    let shape = |layer| Err(Fault::ShapeMismatch { layer });
    let wide = GridBox::point([0; 3]);
    assert_eq!(paired_change(&paired, table, &wide, &bounds, &bounds), shape(0));
    let mut short = bounds.clone();
    short.pre.pop();
    assert_eq!(paired_change(&paired, table, &input, &short, &bounds), shape(0));
    // Bounds that leave no common point are refused, not met to something else.
    let far =
        |b: &GridBox| GridBox::from_intervals(b.intervals().map(|(l, u)| (l + (1 << 50), u + (1 << 50))));
    let moved = LayerBounds { pre: bounds.pre.iter().map(far).collect(), post: bounds.post.clone() };
    let refused = paired_change(&paired, table, &input, &bounds, &moved);
    assert_eq!(refused, Err(Fault::EmptyInterval { layer: 0, neuron: 0 }));
}

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn set(shape: Perturbation, units: Units) -> PerturbationSet {
    PerturbationSet { shape, units }
}

/// Two inputs of weight 1; normaliser (s - 1) / 2 for the first coordinate and s / 4 for the second, clipped at 3.
fn normalised_pair() -> Policy {
    let weight = Matrix { rows: 1, columns: 2, values: vec![Dyadic::new(1, 0); 2] };
    let layer =
        Layer { fixed: false, weight, bias: vec![Dyadic::new(0, 0)], activation: Activation::Identity };
    let mean = vec![Dyadic::new(1, 0), Dyadic::new(0, 0)];
    let std = vec![r("2"), r("4")];
    let normaliser = Some(Normaliser { mean, std, clip: Some(r("3")) });
    Policy { network: Network { layers: vec![layer] }, head: Head::Deterministic, normaliser, source: None }
}

/// State (5, 20) is seen as (2, 3) after the clip; in raw units the ball is around (5, 20), else around (2, 3).
#[test]
fn a_point_must_lie_in_the_ball_exactly() {
    let policy = normalised_pair();
    let state = [Dyadic::new(5, 0), Dyadic::new(20, 0)];
    let inputs = |shape: Perturbation, units: Units, offset: [&str; 2]| {
        perturbed_inputs(&policy, &state, Units::Raw, &set(shape, units), &offset.map(r))
    };
    let third = || Perturbation::Linf { radius: r("1/3") };
    let seen = vec![r("2"), r("3")];
    let moved = inputs(third(), Units::Normalised, ["1/3", "-1/3"]);
    assert_eq!(moved, Ok((seen.clone(), vec![r("7/3"), r("8/3")])));
    let beyond = inputs(third(), Units::Normalised, ["0", "0.3333333333333333333333333333333334"]);
    assert_eq!(beyond, Err(Fault::PointTooFar { coordinate: 1 }));
    // Raw: mapped, clipped, and compared before the normaliser.
    assert_eq!(inputs(third(), Units::Raw, ["1/3", "0"]), Ok((seen.clone(), vec![r("13/6"), r("3")])));
    assert_eq!(inputs(third(), Units::Raw, ["-3", "-17"]), Err(Fault::PointTooFar { coordinate: 0 }));
    let five = || Perturbation::L2 { radius: r("5") };
    assert_eq!(inputs(five(), Units::Raw, ["3", "-4"]), Ok((seen, vec![r("3"), r("3")])));
    assert_eq!(inputs(five(), Units::Raw, ["3", "-4.000000000000000000001"]), Err(Fault::PointOutsideBall));
    let radii = || Perturbation::PerCoordinate { radii: vec![r("1"), r("0")] };
    assert!(inputs(radii(), Units::Normalised, ["-1", "0"]).is_ok());
    let moved = inputs(radii(), Units::Normalised, ["-1", "0.01"]);
    assert_eq!(moved, Err(Fault::PointTooFar { coordinate: 1 }));
    let short = perturbed_inputs(&policy, &state, Units::Raw, &set(third(), Units::Raw), &[r("0")]);
    assert_eq!(short, Err(Fault::PointShape));
}

/// Noise of 1/10 and 1/5 and one offset of 1 for both inputs, which 11/10 needs whole: the other then moves by 4/5 to 6/5. Input
/// 1 is seen at most at 21 of its 20.
#[test]
fn a_point_needs_one_offset_for_all() {
    let policy = normalised_pair();
    let state = [Dyadic::new(5, 0), Dyadic::new(20, 0)];
    let sensor = |limit: &str, units| {
        let (radii, inputs) = (vec![r("1/10"), r("1/5")], vec![0, 1]);
        let shared = vec![SharedOffset { radius: r("1"), inputs }];
        let limits = vec![InputLimit { input: 1, lower: r("-100"), upper: r(limit) }];
        set(Perturbation::Sensor(SensorSet { radii, shared, limits }), units)
    };
    let inputs = |limit: &str, offset: [&str; 2]| {
        perturbed_inputs(&policy, &state, Units::Raw, &sensor(limit, Units::Raw), &offset.map(r)).map(|_| ())
    };
    for offset in [["1.1", "0.8"], ["1.1", "1.2"], ["-1.1", "-1.2"], ["0", "0.3"], ["0.05", "-0.25"]] {
        assert_eq!(inputs("100", offset), Ok(()), "{offset:?}");
    }
    let far = |coordinate| Err(Fault::PointTooFar { coordinate });
    assert_eq!(inputs("100", ["1.1", "0.7999999999999999999999"]), far(1));
    assert_eq!(inputs("100", ["0", "0.3000000000000000000001"]), far(1));
    assert_eq!(inputs("100", ["-1.1", "0.8"]), far(1));
    assert_eq!(inputs("100", ["1.1000000000000000000001", "1"]), far(0));
    assert_eq!(inputs("21", ["1", "1"]), Ok(()));
    assert_eq!(inputs("21", ["1", "1.0000000000000000000001"]), Err(Fault::OutsideLimits { coordinate: 1 }));
    // The state itself is not within the limits, the perturbed one is.
    assert_eq!(inputs("19", ["-1", "-1"]), Err(Fault::OutsideLimits { coordinate: 1 }));
    // In the network's units the state is seen at 3.
    let seen = |limit| {
        let offset = [r("0"), r("0")];
        perturbed_inputs(&policy, &state, Units::Raw, &sensor(limit, Units::Normalised), &offset).map(|_| ())
    };
    assert_eq!((seen("3"), seen("2.999")), (Ok(()), Err(Fault::OutsideLimits { coordinate: 1 })));
}

/// `relu(s) - relu(s)` pruned to `relu(s)`: the dense bound from above is 0, the pruned one from below 1/16. Pruning hurt.
#[test]
fn pruning_that_hurts_is_proved_from_both_sides() {
    let number = |v: i64| Dyadic::new(v, 0);
    let matrix = |rows, columns, values: Vec<Dyadic>| Matrix { rows, columns, values };
    let layers = vec![
        Layer {
            fixed: false,
            weight: matrix(2, 1, vec![number(1); 2]),
            bias: vec![number(0); 2],
            activation: Activation::Relu,
        },
        Layer {
            fixed: false,
            weight: matrix(1, 2, vec![number(1), number(-1)]),
            bias: vec![number(0)],
            activation: Activation::Identity,
        },
    ];
    let policy = Policy {
        network: Network { layers },
        head: Head::Gaussian { log_std: vec![number(0)] },
        normaliser: None,
        source: None,
    };
    let pruned = Mask { layers: vec![vec![true, true], vec![true, false]] };
    let (states, ball) = (state(&[512]), linf("1/16"));
    let family = [Family::Band(BandEnd::Mask(0))];
    let (bounds, _) = evaluate(&policy, &[full(&policy.network)], &states, &ball, &family).unwrap();
    assert_eq!(bounds[0][0].deviation, vec![0]);
    let scale = GridScale::new(&policy.network, &Rational::one()).unwrap();
    let grid = GridNetwork::new(&policy.network, Some(&pruned), &scale).unwrap();
    let offset = [r("1/16")];
    let (clean, moved) =
        perturbed_inputs(&policy, &states.values.values, Units::Normalised, &ball, &offset).unwrap();
    let at = |input: &[Rational]| enclose_outputs(&grid, tanh_table().unwrap(), input).unwrap();
    let (clean, moved) = (at(&clean), at(&moved));
    let gaps = deviation_from_below(&clean, &moved, grid.value_bits).unwrap();
    assert_eq!(gaps, vec![r("1/16")]);
    // 2 Phi(1/32) - 1 = 0.0249299..., attained by a Gaussian with this shift.
    let below =
        PointHead::new(&policy.head).unwrap().total_variation(&clean, &moved, grid.value_bits).unwrap();
    let change = OutputChange::from_deviation(gaps);
    let above = HeadBounds::new(&policy.head).unwrap().total_variation(&change).unwrap();
    assert!(r("0.02492") < below && below <= above && above.sub(&below) < r("1e-9"));
    assert_eq!(
        PointHead::new(&Head::Deterministic).unwrap().total_variation(&clean, &moved, grid.value_bits),
        Err(Fault::NoDistribution)
    );
}

/// Logits (0, 0, 0) to (2^-2, 0, 0): the first probability moves from 1/3 to e^(1/4) / (e^(1/4) + 2) = 0.390990...
#[test]
fn a_probability_that_moves_bounds_the_total_variation_from_below() {
    let logits = |first: i64| GridBox::point([first, 0, 0]);
    let head = PointHead::new(&Head::Categorical).unwrap();
    let below = head.total_variation(&logits(0), &logits(1 << 38), 40).unwrap();
    let truth = 0.25f64.exp() / (0.25f64.exp() + 2.0) - 1.0 / 3.0;
    let near = |offset: f64| r(&format!("{:.15}", truth + offset));
    assert!(near(-1e-9) < below && below < near(1e-12), "{below}");
    let none = head.total_variation(&logits(0), &logits(0), 40).unwrap();
    assert!(none.is_zero());
    let gaussian = Head::Gaussian { log_std: vec![Dyadic::new(0, 0)] };
    let shape = PointHead::new(&gaussian).unwrap().total_variation(&logits(0), &logits(0), 40);
    assert_eq!(shape, Err(Fault::PointShape));
}

/// Two of three probabilities grow, (1, 1, 1) / 3 to (e, e, 1) / (2 e + 1): together by 2 e / (2 e + 1) - 2/3 = 0.177970...,
/// twice what either does alone. A change that the enclosures leave open counts nothing.
#[test]
fn all_probabilities_that_grew_count_together() {
    let head = PointHead::new(&Head::Categorical).unwrap();
    let exact = |ends: [i64; 3]| GridBox::point(ends);
    let (clean, one) = (exact([0, 0, 0]), 1i64 << 40);
    let below = head.total_variation(&clean, &exact([one, one, 0]), 40).unwrap();
    assert!(r("0.177969") < below && below < r("0.177971"), "{below}");
    assert_eq!(head.total_variation(&exact([one, one, 0]), &clean, 40), Ok(below));
    let open = GridBox::from_intervals([(-one, one), (0, 0), (0, 0)]);
    assert_eq!(head.total_variation(&clean, &open, 40), Ok(Rational::zero()));
}

/// A certificate about `relu(s) - relu(s)` and its pruning, with one claim; the files' bytes stand for themselves.
fn certificate(policy: &Policy, masks: &[Mask], claim: Claim) -> Certificate {
    let file = |role: &str, name: &str| FileDigest {
        role: role.to_owned(),
        name: name.to_owned(),
        sha256: sha256_hex(name.as_bytes()),
    };
    let record = |mask: &Mask| {
        let (pruned, total) = pruned_count(mask, &policy.network);
        MaskRecord { name: "m".to_owned(), digest: mask_digest(mask, &policy.network), pruned, total }
    };
    let family = Family::parse(&claim.family);
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
    let program = |id: &str, version: &str| Program { id: id.to_owned(), version: version.to_owned() };
    Certificate {
        subjects: vec![file("subject", "policy.json"), file("subject", "policy.safetensors")],
        weights_digest: weights_digest(&policy.network),
        head: "categorical".to_owned(),
        masks: masks.iter().map(record).collect(),
        perturbation: linf("1/16"),
        state_units: Units::Normalised,
        states: 1,
        claims: vec![claim],
        verdicts: Vec::new(),
        counterexample: Vec::new(),
        brackets: Vec::new(),
        regret: Vec::new(),
        statistical: Vec::new(),
        regions: Vec::new(),
        radius: Vec::new(),
        witness: None,
        assumptions: owned(policy_assumptions(policy)),
        limits: owned(family_limits(&family.into_iter().collect::<Vec<_>>(), false)),
        inputs: vec![
            file("chain", "chain"),
            file("mask", "m0"),
            file("mask", "m1"),
            file("states", "states"),
        ],
        verifier: program("test", "0"),
        checker: program(CHECKER_ID, SCHEMA_VERSION),
        seed: "0".to_owned(),
    }
}

fn checked(policy: &Policy, masks: &[Mask], certificate: Certificate) -> Result<Verified, Rejection> {
    let file = |name: &'static str| NamedFile { name, bytes: name.as_bytes() };
    let subject = Subject {
        policy,
        names: None,
        policy_files: [file("policy.json"), file("policy.safetensors")],
        masks,
        mask_files: &["chain", "m0", "m1"].map(file),
        states: &state(&[512]),
        states_file: file("states"),
        witness: None,
    };
    check(certificate, &subject, &mut |_, _| {})
}

/// Deviation 1/16 over the band and 0 for the dense mask alone: accepted as they are and looser, refused tighter.
#[test]
fn a_band_claim_is_recomputed() {
    let policy = policy(hinges::cancelling());
    let masks = hinges::cancelling_masks();
    let claim = |family: &str, mask: usize, value: &str| Claim {
        family: family.to_owned(),
        mask,
        quantity: "action-deviation".to_owned(),
        output: Some(0),
        values: vec![value.to_owned()],
    };
    let result = |claim: Claim| checked(&policy, &masks, certificate(&policy, &masks, claim)).map(|_| ());
    // Bands that end at mask 0 have no step, hence no verdict to state.
    for family in ["band/0", "band-crown/0"] {
        assert_eq!(result(claim(family, 0, "0")), Ok(()));
        assert_eq!(result(claim(family, 0, "0.5")), Ok(()));
        assert!(matches!(
            result(claim(family, 0, "-1e-30")),
            Err(Rejection { reason: Reason::TooTight { .. }, .. })
        ));
        let outside = refused("claim", 0, "", Reason::NoMask);
        assert_eq!(result(claim(family, 1, "0.5")), Err(outside));
    }
    for (family, mask) in [("band/2", 0), ("band-crown/9", 0), ("band/1", 2), ("band/zero", 2)] {
        let outside = refused("claim", 0, "", Reason::NoMask);
        assert_eq!(result(claim(family, mask, "9")), Err(outside), "{family}");
    }
    assert!(matches!(
        result(claim("band/00", 0, "0")),
        Err(Rejection { reason: Reason::UnknownFamily { .. }, .. })
    ));
    // The band's two masks make a step; its verdict must be stated, and the bound is 1/16.
    let mut wide = certificate(&policy, &masks, claim("band/1", 0, "0.0625"));
    let Err(Rejection { reason: Reason::WrongVerdict { stated, found }, .. }) =
        checked(&policy, &masks, wide.clone())
    else {
        panic!("a certificate without its verdict was accepted")
    };
    let words = "\"band/1\" \"action-deviation\" step 1: \"tightens-by-theorem\" (0 fell, 1 stayed, 0 rose)";
    assert_eq!((stated.as_str(), found.as_str()), ("nothing", words));
    wide.verdicts.push(StepVerdict {
        family: "band/1".to_owned(),
        of: "action-deviation".to_owned(),
        step: 1,
        verdict: "tightens-by-theorem".to_owned(),
        counts: (0, 1, 0),
        at: None,
        before: None,
        after: None,
    });
    assert!(checked(&policy, &masks, wide.clone()).is_ok());
    wide.claims[0].values[0] = "0.0624999999999999999999".to_owned();
    assert!(matches!(
        checked(&policy, &masks, wide.clone()),
        Err(Rejection { reason: Reason::TooTight { .. }, .. })
    ));
    wide.claims[0].values[0] = "0.0625".to_owned();
    wide.limits.retain(|limit| limit != LIMIT_BANDS);
    assert_eq!(
        checked(&policy, &masks, wide).map(|_| ()),
        Err(Reason::LimitMissing { limit: LIMIT_BANDS }.into())
    );
}

/// A published policy, its first 100 states and its standard deviations.
fn published(name: &str) -> Option<(Policy, States, Vec<f64>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/policies");
    let Ok(bytes) = std::fs::read(folder.join(format!("{name}.safetensors"))) else {
        eprintln!("skipped: no {name} in {}", folder.display());
        return None;
    };
    let file = Safetensors::parse(&bytes).unwrap();
    let vector = |name: &str| file.tensor(name).unwrap().dyadics().unwrap();
    let layers = (0..3).map(|l| Layer {
        fixed: false,
        weight: file.tensor(&format!("policy.{l}.weight")).unwrap().matrix().unwrap(),
        bias: vector(&format!("policy.{l}.bias")),
        activation: if l == 2 { Activation::Identity } else { Activation::Tanh },
    });
    let clip = Rational::parse("10").ok();
    let normaliser = Normaliser {
        mean: vector("obs_norm.mean"),
        std: vector("obs_norm.std").iter().map(|d| d.to_rational()).collect(),
        clip,
    };
    let log_std = vector("policy.log_std");
    let sigma = log_std.iter().map(|d| (d.mantissa as f64 * 2f64.powi(d.exponent)).exp()).collect();
    let network = Network { layers: layers.collect() };
    let policy =
        Policy { network, head: Head::Gaussian { log_std }, normaliser: Some(normaliser), source: None };
    let states = std::fs::read(folder.join(format!("{name}.states.npy"))).unwrap();
    let mut states = parse_states(&states, Units::Raw).unwrap();
    states.keep_first(100);
    Some((policy, states, sigma))
}

/// Prunes the share of smallest weights in every layer.
fn magnitude_mask(network: &Network, share: f64) -> Mask {
    let tables = network.layers.iter().map(|layer| {
        let weights = &layer.weight.values;
        let size = |k: usize| (weights[k].mantissa as f64 * 2f64.powi(weights[k].exponent)).abs();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| size(a).total_cmp(&size(b)));
        let mut kept = vec![true; weights.len()];
        for &k in order.iter().take((share * weights.len() as f64).floor() as usize) {
            kept[k] = false;
        }
        kept
    });
    Mask { layers: tables.collect() }
}

/// `"key": number` of every object of the reference table, in order.
fn column<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let key = format!("\"{key}\": ");
    text.split(&key as &str).skip(1).map(|rest| rest.split([',', '\n']).next().unwrap().trim()).collect()
}

/// `band` and `band-crown` against the float prototype of the plain recursion, row by row: medians of d over 100 states.
/// Without optimisation only the first state set's rows at one epsilon.
#[test]
fn bands_of_published_policies_are_tighter_than_the_prototype() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/bounds/band_prototype.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no {}", path.display());
        return;
    };
    let names: Vec<&str> = column(&text, "policy").iter().map(|n| n.trim_matches('"')).collect();
    let numbers = |key: &str| column(&text, key);
    let (epsilons, ends, medians) = (numbers("epsilon"), numbers("band_to"), numbers("d_median"));
    assert!(names.len() == 40 && epsilons.len() == 40 && ends.len() == 40 && medians.len() == 40);
    for (row, name) in names.iter().enumerate() {
        if cfg!(debug_assertions) && (*name != "wocar_hopper" || epsilons[row] != "0.01") {
            continue;
        }
        let Some((policy, states, sigma)) = published(name) else { return };
        let masks = [0.0, ends[row].parse().unwrap()].map(|share| magnitude_mask(&policy.network, share));
        let set = linf(epsilons[row]);
        let problem = LocalProblem::new(&policy, &masks, &states, &set).unwrap();
        let problem = problem.prepare(&TO_ONE).unwrap();
        let unit = 2f64.powi(-(problem.value_bits as i32));
        let mut distances = [Vec::new(), Vec::new()];
        for index in 0..problem.states() {
            for (list, bounds) in distances.iter_mut().zip(problem.evaluate(index, &TO_ONE).unwrap()) {
                let parts =
                    bounds[0].deviation.iter().zip(&sigma).map(|(&d, s)| (d as f64 * unit / s).powi(2));
                list.push(parts.sum::<f64>().sqrt());
            }
        }
        let [band, crown] = distances.map(|mut list| {
            list.sort_by(f64::total_cmp);
            (list[list.len() / 2 - 1] + list[list.len() / 2]) / 2.0
        });
        let prototype: f64 = medians[row].parse().unwrap();
        eprintln!(
            "{name} {} dense..{}: {prototype:.4} band {band:.4} crown {crown:.4}",
            epsilons[row], ends[row]
        );
        assert!(band <= prototype && crown < prototype && crown <= band);
    }
}
