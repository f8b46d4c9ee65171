//! Whatever the local and global families accept holds: no exact evaluation within the perturbation set crosses a bound.
#![allow(clippy::disallowed_types, clippy::as_conversions, clippy::float_arithmetic)]
#![allow(clippy::arithmetic_side_effects, clippy::integer_division, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod below;
mod claims;
mod draws;
mod functions;
mod fuzz;
mod generate;
mod points;
mod radius;
mod regions;
mod regret;
mod tally;
mod truth;
mod witness;

use num_bigint::BigInt;
use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::kernel::back::{Functional, Multipliers, SplitMultiplier};
use secateur_checker::kernel::crown::{
    CrownLayers, RowWitness, Witness, bound_outputs, bound_rows, crown_layers,
};
use secateur_checker::kernel::grid::{GridNetwork, GridScale, SLOPE_BITS};
use secateur_checker::kernel::input::{input_magnitude, input_set};
use secateur_checker::kernel::relax::SlopeChoice;
use secateur_checker::model::{Activation, Head, Perturbation};
use secateur_checker::number::Rational;
use secateur_checker::tables::tanh_table;
use secateur_testkit::case::{Case, case, r};
use secateur_testkit::oracle::fixed::{Ends, Trace, change, ends_of, grid, read, trace};
use secateur_testkit::oracle::probe::check_point;
use secateur_testkit::random::Random;

const FAMILIES: [Family; 8] = [
    Family::Sensitivity,
    Family::NormLinf,
    Family::NormL1,
    Family::NormFrobenius,
    Family::Ibp,
    Family::Crown,
    Family::CrownQuadratic,
    Family::ChainHull,
];

/// Evaluates all families on a case and probes them; returns the number of probes (0 if the grid refused the case).
fn probe_case(random: &mut Random, case: &Case, points: usize, label: &str) -> usize {
    probe_families(random, case, &FAMILIES, points, label)
}

fn probe_families(
    random: &mut Random,
    case: &Case,
    families: &[Family],
    points: usize,
    label: &str,
) -> usize {
    let problem = Problem {
        policy: &case.policy,
        masks: &case.masks,
        states: &case.states,
        perturbation: &case.set,
        witness: None,
    };
    let tables = evaluate(&problem, families, &mut |_, _| {}).unwrap_or_else(|e| panic!("{label}: {e}"));
    for table in &tables {
        table.verdicts().unwrap_or_else(|e| panic!("{label}: {e:?}"));
        // Margins mean something for several outputs that are not the mean of a Gaussian, and only there.
        let meant = case.policy.network.outputs() > 1 && !matches!(case.policy.head, Head::Gaussian { .. });
        if meant {
            assert!(table.masks.iter().all(|m| m.margins.iter().all(Option::is_some)), "{label}");
        }
    }
    let zero = vec![Rational::zero(); case.policy.network.inputs()];
    let here = read(case, &zero);
    let clean: Vec<Trace> = case.masks.iter().map(|m| trace(&case.policy.network, m, &here)).collect();
    for _ in 0..points {
        check_point(case, &tables, &clean, &read(case, &change(random, case)), label);
    }
    points
}

fn probe_many(seeds: std::ops::Range<u64>, points: usize) -> usize {
    let mut probes = 0;
    for seed in seeds {
        let mut random = Random(seed);
        let case = case(&mut random);
        probes += probe_case(&mut random, &case, points, &format!("seed {seed}"));
    }
    probes
}

#[test]
fn exact_evaluation_never_crosses_a_bound() {
    assert_eq!(probe_many(0..300, 16), 300 * 16);
}

/// Run with `cargo test --release -p secateur-checker --test soundness -- --ignored`.
#[test]
#[ignore = "a million probes take several minutes"]
fn a_million_probes() {
    assert_eq!(probe_many(1_000_000..1_020_000, 50), 1_000_000);
}

/// ELU and SiLU alone, in every family that needs no witness; `SECATEUR_CURVE_PROBES` probes, a thousand if it is not set.
#[test]
fn curves_are_never_crossed() {
    let wanted = std::env::var("SECATEUR_CURVE_PROBES").map_or(1000, |n| n.parse().expect("a number"));
    let mut families = FAMILIES.to_vec();
    families.extend([
        Family::EnvelopeIbp,
        Family::EnvelopeCrown,
        Family::Band(BandEnd::Zero),
        Family::BandCrown(BandEnd::Zero),
    ]);
    let curves = [
        Activation::Elu { alpha: Rational::one() },
        Activation::Elu { alpha: r("3/7") },
        Activation::Silu,
        Activation::Silu,
    ];
    let (mut probes, mut seed) = (0, 11_000_000);
    while probes < wanted {
        let mut random = Random(seed);
        let mut case = case(&mut random);
        let common = random.pick(&curves);
        for layer in &mut case.policy.network.layers {
            layer.activation = if random.one_in(3) { random.pick(&curves) } else { common.clone() };
        }
        probes += probe_families(&mut random, &case, &families, 100, &format!("seed {seed}"));
        seed += 1;
    }
    println!("{probes} probes of {} families", families.len());
}

/// Random slopes, splits and multipliers.
struct Arbitrary {
    splits: Vec<Vec<Option<bool>>>,
    signs: Vec<(usize, usize, bool)>,
    rows: Vec<Vec<[RowWitness; 2]>>,
    outputs: Option<RowWitness>,
}

fn slope(random: &mut Random) -> Option<i64> {
    let one = 1i64 << SLOPE_BITS;
    (!random.one_in(3)).then(|| {
        let anywhere = random.between(-one, one);
        random.pick(&[anywhere, 0, one, -one, one / 2, anywhere & !0xff])
    })
}

fn choice(random: &mut Random) -> SlopeChoice {
    SlopeChoice { upper: slope(random), lower: slope(random) }
}

impl Arbitrary {
    fn new(random: &mut Random, widths: &[usize], coefficient_bits: u32, split: bool) -> Self {
        let splits: Vec<Vec<Option<bool>>> = widths
            .iter()
            .map(|&n| (0..n).map(|_| (split && random.one_in(3)).then(|| random.one_in(2))).collect())
            .collect();
        let row = |random: &mut Random, depth: usize| {
            (!random.one_in(3)).then(|| {
                let slopes = widths.iter().take(depth).map(|&n| {
                    if random.one_in(3) { Vec::new() } else { (0..n).map(|_| choice(random)).collect() }
                });
                let slopes = slopes.collect();
                let multipliers = splits.iter().take(depth).map(|layer| {
                    let chosen = layer.iter().enumerate().filter_map(|(neuron, s)| s.map(|s| (neuron, s)));
                    let chosen = chosen.map(|(neuron, positive)| SplitMultiplier {
                        neuron,
                        positive,
                        value: random.between(0, 2i64 << coefficient_bits),
                    });
                    chosen.collect()
                });
                RowWitness { slopes, multipliers: Multipliers { layers: multipliers.collect() } }
            })
        };
        let rows = widths.iter().enumerate().map(|(layer, &n)| {
            (0..n).map(|_| [(); 2].map(|()| row(random, layer).unwrap_or_default())).collect()
        });
        let rows = rows.collect();
        let outputs = row(random, widths.len());
        let signs = splits.iter().enumerate().flat_map(|(layer, splits)| {
            let known = splits.iter().enumerate();
            known.filter_map(move |(neuron, sign)| Some((layer, neuron, (*sign)?)))
        });
        Self { signs: signs.collect(), splits, rows, outputs }
    }

    fn witness(&self) -> Witness<'_> {
        Witness { rows: &self.rows, signs: &self.signs, ..Witness::default() }
    }

    /// Whether a point lies in the leaf that the splits describe, as far as its enclosures tell.
    fn holds(&self, trace: &Trace) -> bool {
        let decided = trace.pre.iter().zip(&self.splits).flat_map(|(pre, splits)| pre.iter().zip(splits));
        decided.into_iter().all(|((low, high), split)| match split {
            Some(true) => *low >= 0.into(),
            Some(false) => *high <= 0.into(),
            None => true,
        })
    }
}

fn within(ends: &Ends, lower: i64, upper: i64, value_bits: u32) -> bool {
    ends.1 >= grid(lower, value_bits) && ends.0 <= grid(upper, value_bits)
}

fn weights_for(random: &mut Random, outputs: usize) -> Vec<i64> {
    (0..outputs).map(|_| random.between(-2, 2)).collect()
}

/// One witnessed bounding of one mask, probed at points of the leaf; returns how many points lay in it.
fn probe_witness(random: &mut Random, case: &Case, points: usize, label: &str) -> usize {
    let scale = input_magnitude(&case.policy, &case.states, &case.set).unwrap();
    let scale = GridScale::new(&case.policy.network, &scale).unwrap();
    let bits = scale.value_bits;
    let set =
        input_set(&case.policy, &case.states.values.values, case.states.units, &case.set, bits).unwrap();
    let table = tanh_table().unwrap();
    let mask = &case.masks[case.masks.len() - 1];
    let network = GridNetwork::new(&case.policy.network, Some(mask), &scale).unwrap();
    let widths: Vec<usize> = network.layers.iter().map(|l| l.outputs()).collect();
    let split = random.one_in(2);
    let witness = Arbitrary::new(random, &widths, scale.coefficient_bits.min(40), split);
    let layers =
        crown_layers(&network, table, &set, witness.witness()).unwrap_or_else(|e| panic!("{label}: {e}"));
    let mut bounds = Vec::new();
    if let Some(layers) = &layers {
        for _ in 0..3 {
            let weights = weights_for(random, network.layers.last().map_or(0, |l| l.outputs()));
            let row = witness.outputs.as_ref();
            let least = bound_outputs(&network, table, layers, &set, &weights, row).unwrap();
            let functional = Functional::of_outputs(&network, &weights).unwrap();
            let alone = bound_rows(&network, table, vec![functional], layers, &set, row).unwrap()[0];
            assert!(least <= alone, "{label}");
            bounds.push((weights, least));
        }
    }
    let mut inside = 0;
    for _ in 0..points {
        let point = trace(&case.policy.network, mask, &read(case, &change(random, case)));
        if !witness.holds(&point) {
            continue;
        }
        inside += 1;
        let Some(layers) = &layers else { panic!("{label}: a leaf with a point was called empty") };
        check_layers(layers, &point, bits, label);
        for (weights, bound) in &bounds {
            let mut low = BigInt::from(0);
            for (w, (l, h)) in weights.iter().zip(&point.outputs) {
                low += if *w >= 0 { l * w } else { h * w };
            }
            assert!(low <= grid(*bound, bits), "{label}: functional {weights:?}");
        }
    }
    inside
}

fn check_layers(layers: &CrownLayers, point: &Trace, bits: u32, label: &str) {
    for (index, (bounds, pre)) in layers.pre.iter().zip(&point.pre).enumerate() {
        for ((lower, upper), ends) in bounds.intervals().zip(pre) {
            assert!(within(ends, lower, upper, bits), "{label}: layer {index}");
        }
    }
    let outputs = layers.post.last().unwrap();
    for ((lower, upper), ends) in outputs.intervals().zip(&point.outputs) {
        assert!(within(ends, lower, upper, bits), "{label}: outputs");
    }
}

/// Slopes in [-1, 1] of any kind, splits and multipliers: bounds hold at every point of the leaf.
#[test]
fn no_witness_makes_a_bound_wrong() {
    let mut inside = 0;
    for seed in 0..500 {
        let mut random = Random(seed + 7_000_000);
        let case = case(&mut random);
        inside += probe_witness(&mut random, &case, 24, &format!("seed {seed}"));
    }
    assert!(inside > 3000, "{inside}");
}

/// A corner of the plainest case, by hand: relu(x) at 0 with radius 1/20 moves by exactly 1/20.
#[test]
fn the_probes_reach_tight_bounds() {
    let mut random = Random(3);
    let mut case = case(&mut random);
    case.policy.network.layers.truncate(1);
    let layer = &mut case.policy.network.layers[0];
    let one = secateur_checker::number::Dyadic::new(1, 0);
    layer.weight = secateur_checker::model::Matrix { rows: 1, columns: 1, values: vec![one] };
    layer.bias = vec![secateur_checker::number::Dyadic::ZERO];
    layer.activation = Activation::Relu;
    case.policy.normaliser = None;
    case.policy.head = Head::Deterministic;
    case.masks = vec![secateur_checker::model::Mask { layers: vec![vec![true]] }];
    case.states.values = secateur_checker::model::Matrix {
        rows: 1,
        columns: 1,
        values: vec![secateur_checker::number::Dyadic::ZERO],
    };
    case.set.shape = Perturbation::Linf { radius: r("1/20") };
    assert_eq!(probe_case(&mut random, &case, 50, "relu"), 50);
    let moved = trace(&case.policy.network, &case.masks[0], &read(&case, &[r("1/20")]));
    assert_eq!(moved.outputs[0], ends_of(&r("1/20")));
}
