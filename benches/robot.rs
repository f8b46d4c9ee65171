//! An exact check and a search of the sizes that run on robots, beside a plain `f64` CROWN through matrix products in the same
//! run: `cargo bench --bench robot`. One thread. ELU networks 48-512-256-128-12 and 480-512-256-128-29 with weights drawn from a
//! fixed seed, 4 states, every input by 0.02, families `crown` and, for the first, `crown-quadratic`; an iteration is all 4 states, so
//! that the ratios are those of one.

#[path = "plain/crown.rs"]
mod plain;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array1;
use plain::plain_crown;
use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown, bound_crown_all};
use secateur::float::FloatNetwork;
use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::Family;
use secateur_checker::model::{Activation, Head, Layer, Mask, Matrix, Network, Policy, States, Units};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::threads::use_threads;
use secateur_testkit::problem::linf;

const STATES: usize = 4;
const RADIUS: f64 = 0.02;

/// Numbers of a fixed seed, spread evenly over -1 to 1, as `f32`.
struct Draw(u64);

impl Draw {
    fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn matrix(&mut self, rows: usize, columns: usize, scale: f32) -> Matrix {
        let exact = |x: f32| Dyadic::from_ieee(x.to_bits().into(), 23, 8).expect("finite");
        Matrix { rows, columns, values: (0..rows * columns).map(|_| exact(scale * self.number())).collect() }
    }
}

/// Weights of variance `1 / inputs`, as initialisers draw them.
fn policy(widths: &[usize], draw: &mut Draw) -> Policy {
    let last = widths.len() - 2;
    let layer = |(index, pair): (usize, &[usize])| {
        let scale = (3.0 / pair[0] as f32).sqrt();
        let activation =
            if index == last { Activation::Identity } else { Activation::Elu { alpha: Rational::one() } };
        let (weight, bias) = (draw.matrix(pair[1], pair[0], scale), draw.matrix(1, pair[1], 0.1).values);
        Layer { fixed: false, weight, bias, activation }
    };
    let layers = widths.windows(2).enumerate().map(layer).collect();
    Policy { network: Network { layers }, head: Head::Deterministic, normaliser: None, source: None }
}

fn robot(c: &mut Criterion) {
    use_threads(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    for widths in [[48, 512, 256, 128, 12], [480, 512, 256, 128, 29]] {
        let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
        let policy = policy(&widths, &mut draw);
        let mask = Mask {
            layers: policy.network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect(),
        };
        let states = States { values: draw.matrix(STATES, widths[0], 1.0), units: Units::Normalised };
        let float = |x: &Dyadic| x.mantissa as f64 * f64::from(x.exponent).exp2();
        let points: Vec<Vec<f64>> =
            states.values.values.chunks(widths[0]).map(|row| row.iter().map(float).collect()).collect();
        let network = FloatNetwork::from_model(&policy.network, Some(&mask)).expect("a network");
        let (masks, perturbation) = ([mask], linf("0.02"));
        let problem = Problem {
            policy: &policy,
            masks: &masks,
            states: &states,
            perturbation: &perturbation,
            witness: None,
        };
        let mut group = c.benchmark_group(format!("robot_{}", widths.map(|w| w.to_string()).join("-")));
        group.bench_function("check", |b| {
            b.iter(|| evaluate(black_box(&problem), &[Family::Crown], &mut |_, _| {}).expect("evaluated"));
        });
        // Of 480 inputs a state takes seconds.
        if widths[0] < 100 {
            group.bench_function("check by parabolas", |b| {
                let families = [Family::CrownQuadratic];
                b.iter(|| evaluate(black_box(&problem), &families, &mut |_, _| {}).expect("evaluated"));
            });
        }
        let regions: Vec<FloatRegion> = points.iter().map(|p| FloatRegion::linf(p.clone(), RADIUS)).collect();
        group.bench_function("search", |b| {
            let mut scratch = CrownScratch::default();
            b.iter(|| {
                for region in &regions {
                    black_box(bound_crown(&network, region, &mut scratch));
                }
            });
        });
        group.bench_function("search, all states", |b| {
            b.iter(|| pool.install(|| black_box(bound_crown_all(&network, &regions))));
        });
        let centers: Vec<Array1<f64>> = points.into_iter().map(Array1::from).collect();
        group.bench_function("plain_crown", |b| {
            b.iter(|| {
                for center in &centers {
                    black_box(plain_crown(&network, center, RADIUS));
                }
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    targets = robot
}
criterion_main!(benches);
