//! What an independent check costs: `cargo bench --bench check`. One thread; a plain `f64` pass of the same families
//! runs beside each for the ratio. The policy is 17-64-64-6, tanh, Gaussian, drawn from a fixed seed, with 10 masks; `crown` also
//! on 17-256-256-6.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown};
use secateur::float::FloatNetwork;
use secateur::gate::about::About;
use secateur::gate::baseline::{Accepted, Baseline};
use secateur::gate::config::Gate;
use secateur::gate::date::Day;
use secateur::gate::decide::rules;
use secateur::gate::emit::OutputFormat;
use secateur::gate::evidence::gather;
use secateur::gate::report::Report;
use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::load::{MaskDirectory, PolicyDirectory, load_masks, load_policy, load_states};
use secateur_checker::model::{PerturbationSet, States, Units};
use secateur_testkit::problem::{Problem as Files, Spec, key, linf};

const RADIUS: f64 = 0.05;

struct Loaded {
    policy: PolicyDirectory,
    masks: MaskDirectory,
    states: States,
    perturbation: PerturbationSet,
    networks: Vec<FloatNetwork>,
    points: Vec<Vec<f64>>,
}

impl Loaded {
    fn new(states: usize) -> Self {
        Self::of(64, 10, states)
    }

    /// 17-`width`-`width`-6.
    fn of(width: usize, masks: usize, states: usize) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let spec = Spec { widths: vec![17, width, width, 6], masks, states, ..Spec::small(1) };
        let files = Files::write(folder.path(), &spec);
        let policy = load_policy(&files.policy_dir()).expect("a policy");
        let masks = load_masks(&files.masks_dir(), &policy.files).expect("masks");
        let (states, _) = load_states(&files.states_file(), Units::Normalised).expect("states");
        let network = &policy.files.policy.network;
        let lower = |mask| FloatNetwork::from_model(network, Some(mask)).expect("a network");
        let networks = masks.masks.iter().map(lower).collect();
        let points = files.states.chunks(17).map(<[f64]>::to_vec).collect();
        Self { policy, masks, states, perturbation: linf("0.05"), networks, points }
    }

    fn check(&self, families: &[Family]) -> usize {
        let problem = Problem {
            policy: &self.policy.files.policy,
            masks: &self.masks.masks,
            states: &self.states,
            perturbation: &self.perturbation,
            witness: None,
        };
        evaluate(&problem, families, &mut |_, _| {}).expect("evaluated").len()
    }
}

/// `v_l = |W_l| v_{l-1}`; tanh has Lipschitz constant 1.
fn plain_sensitivity(network: &FloatNetwork) -> Vec<f64> {
    let mut reach = vec![RADIUS; network.inputs()];
    for layer in &network.layers {
        let rows = layer.weight.chunks(layer.inputs);
        reach = rows.map(|row| row.iter().zip(&reach).map(|(w, r)| w.abs() * r).sum()).collect();
    }
    reach
}

type Box64 = (Vec<f64>, Vec<f64>);

/// Pre-activation bounds of every layer, centre and radius.
fn plain_ibp(network: &FloatNetwork, point: &[f64]) -> Vec<Box64> {
    let mut lower: Vec<f64> = point.iter().map(|x| x - RADIUS).collect();
    let mut upper: Vec<f64> = point.iter().map(|x| x + RADIUS).collect();
    let mut bounds = Vec::new();
    for (index, layer) in network.layers.iter().enumerate() {
        let (mut next_lower, mut next_upper) = (layer.bias.clone(), layer.bias.clone());
        for (row, weights) in layer.weight.chunks(layer.inputs).enumerate() {
            for ((w, l), u) in weights.iter().zip(&lower).zip(&upper) {
                let (a, b) = (w * l, w * u);
                next_lower[row] += a.min(b);
                next_upper[row] += a.max(b);
            }
        }
        bounds.push((next_lower.clone(), next_upper.clone()));
        let last = index + 1 == network.layers.len();
        let activate = |x: f64| if last { x } else { x.tanh() };
        lower = next_lower.into_iter().map(activate).collect();
        upper = next_upper.into_iter().map(activate).collect();
    }
    bounds
}

/// `ibp` under every mask, then `chain-hull`: slopes over the hull of the masks' bounds.
fn plain_local(networks: &[FloatNetwork], point: &[f64]) -> f64 {
    let boxes: Vec<Vec<Box64>> = networks.iter().map(|n| plain_ibp(n, point)).collect();
    let hull_slope = |layer: usize, neuron: usize| {
        let low = boxes.iter().map(|b| b[layer].0[neuron]).fold(f64::INFINITY, f64::min);
        let high = boxes.iter().map(|b| b[layer].1[neuron]).fold(f64::NEG_INFINITY, f64::max);
        let nearest = low.max(-high).max(0.0);
        1.0 - nearest.tanh().powi(2)
    };
    let slopes: Vec<Vec<f64>> = (0..networks[0].layers.len() - 1)
        .map(|layer| (0..boxes[0][layer].0.len()).map(|neuron| hull_slope(layer, neuron)).collect())
        .collect();
    let mut sum = 0.0;
    for network in networks {
        let mut reach = vec![RADIUS; network.inputs()];
        for (index, layer) in network.layers.iter().enumerate() {
            let rows = layer.weight.chunks(layer.inputs);
            reach = rows.map(|row| row.iter().zip(&reach).map(|(w, r)| w.abs() * r).sum()).collect();
            if let Some(slopes) = slopes.get(index) {
                reach.iter_mut().zip(slopes).for_each(|(r, s)| *r *= s);
            }
        }
        sum += reach.iter().sum::<f64>();
    }
    sum
}

fn check_global(criterion: &mut Criterion) {
    let loaded = Loaded::new(1);
    let mut group = criterion.benchmark_group("check_global");
    group.bench_function("sensitivity, 10 masks", |b| {
        b.iter(|| black_box(loaded.check(&[Family::Sensitivity])))
    });
    group.bench_function("plain f64", |b| {
        b.iter(|| loaded.networks.iter().map(plain_sensitivity).map(|v| black_box(v).len()).sum::<usize>());
    });
    group.finish();
}

fn check_local(criterion: &mut Criterion) {
    let loaded = Loaded::new(1000);
    let mut group = criterion.benchmark_group("check_local");
    group.sample_size(10);
    group.bench_function("ibp and chain-hull, 10 masks x 1000 states", |b| {
        b.iter(|| black_box(loaded.check(&[Family::Ibp, Family::ChainHull])));
    });
    group.bench_function("ibp and chain-hull, plain f64", |b| {
        b.iter(|| loaded.points.iter().map(|p| plain_local(&loaded.networks, p)).sum::<f64>());
    });
    for (width, masks) in [(64, 10), (256, 2)] {
        let one = Loaded::of(width, masks, 1);
        let name = format!("crown, 17-{width}-{width}-6, {masks} masks x 1 state");
        group.bench_function(&name, |b| b.iter(|| black_box(one.check(&[Family::Crown]))));
        group.bench_function(format!("{name}, the search's f64"), |b| {
            let mut scratch = CrownScratch::default();
            b.iter(|| {
                for network in &one.networks {
                    let region = FloatRegion::linf(one.points[0].clone(), RADIUS);
                    black_box(bound_crown(network, &region, &mut scratch));
                }
            });
        });
    }
    group.finish();
}

/// Bands from the loosest of two masks; the band of the second alone is evaluated beside it, as the family says.
fn check_band(criterion: &mut Criterion) {
    let loaded = Loaded::of(64, 2, 1000);
    let mut group = criterion.benchmark_group("check_band");
    group.sample_size(10);
    for family in
        [Family::Band(BandEnd::Mask(1)), Family::Band(BandEnd::Zero), Family::BandCrown(BandEnd::Mask(1))]
    {
        let name = format!("{}, 2 masks x 1000 states", family.name());
        group.bench_function(name, |b| b.iter(|| black_box(loaded.check(&[family]))));
    }
    group.finish();
}

/// What a gate does beyond the check: one rule a quantity over every mask, the numbers of a baseline, and every report.
fn gate(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let root = folder.path();
    let spec = Spec { widths: vec![17, 64, 64, 6], masks: 10, states: 1000, ..Spec::small(1) };
    let files = Files::write(root, &spec);
    files.certify_to_disk(&[Family::Sensitivity, Family::Ibp, Family::ChainHull], &key(1));
    let about = toml::to_string(&About::of(&files.read_certificate())).expect("TOML");
    let rule = |quantity: &str| {
        format!("[[rule]]\nid = \"{quantity}\"\nquantity = \"{quantity}\"\nmax = \"0\"\nworse-by = \"1%\"\n")
    };
    let text = format!(
        "schema = \"secateur.gate/1\"\n[[policy]]\nname = \"p\"\ndirectory = \"policy\"\nmasks = \"masks\"\n\
         states = \"states.npy\"\ncertificate = \"c.cert.dsse.json\"\ntrust = \"trust.json\"\n[policy.about]\n{about}\n{}{}",
        rule("total-variation"),
        rule("action-deviation")
    );
    let gate = Gate::parse(&root.join("secateur.toml"), text).expect("a gate");
    let evidence = gather(&gate, &gate.policies[0], &mut |_, _| {}).expect("checked");
    let mut baseline = Baseline::empty();
    baseline.policies.insert("p".to_owned(), Accepted::of(&evidence));
    let mut group = criterion.benchmark_group("gate");
    group.sample_size(10);
    group.bench_function("two rules and a baseline, 10 masks x 1000 states", |b| {
        b.iter(|| black_box(rules(&gate, &gate.policies[0], &evidence, Some(&baseline))));
    });
    group.bench_function("accept, 10 masks x 1000 states", |b| b.iter(|| black_box(Accepted::of(&evidence))));
    let report = Report {
        today: Day::today(),
        configuration: Vec::new(),
        policies: Vec::new(),
        tests: rules(&gate, &gate.policies[0], &evidence, Some(&baseline)),
    };
    group.bench_function("every report", |b| {
        b.iter(|| OutputFormat::ALL.map(|(format, _)| black_box(format.emit(&report))));
    });
    group.finish();
}

criterion_group!(benches, check_global, check_local, check_band, gate);
criterion_main!(benches);
