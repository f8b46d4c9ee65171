//! Families `float32/ibp` and `float32/crown` against honest binary32 inference in random summation orders, fused or not:
//! exactly, over the rationals, for piecewise linear networks. And what certificates with them must list.

use secateur::certify::CertifyError;
use secateur::float::{FloatNetwork, float_to_rational};
use secateur::policy::{ActivationSpec, TensorData};
use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::Family;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::kernel::float32::rounding_errors;
use secateur_checker::kernel::grid::{GridNetwork, GridScale};
use secateur_checker::kernel::ibp::propagate;
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::load::Failure;
use secateur_checker::model::{
    Activation, Head, Layer, Mask, Matrix, Network, PerturbationSet, Policy, States, Units,
};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::rejection::Reason;
use secateur_checker::sentences::{ASSUME_FLOAT32, ASSUME_REAL, LIMIT_FLOAT32};
use secateur_checker::tables::tanh_table;
use secateur_testkit::oracle::binary32::{Binary32, dyadic};
use secateur_testkit::problem::{Problem as Files, Spec, all_families, certify_directory, key, linf};
use secateur_testkit::random::Random;

fn exact(value: f32) -> Rational {
    dyadic(value).to_rational()
}

/// Uniform in [-1, 1) with all 24 bits in use.
fn number(random: &mut Random) -> f32 {
    (random.below(1 << 25) as f32 - (1 << 24) as f32) / (1 << 24) as f32
}

fn network(random: &mut Random, widths: &[usize], hidden: &Activation) -> Network {
    let count = widths.len() - 1;
    let layers = widths.windows(2).enumerate().map(|(index, pair)| {
        let mut numbers = |n: usize| (0..n).map(|_| dyadic(number(random))).collect::<Vec<_>>();
        let values = numbers(pair[0] * pair[1]);
        Layer {
            fixed: false,
            weight: Matrix { rows: pair[1], columns: pair[0], values },
            bias: numbers(pair[1]),
            activation: if index + 1 == count { Activation::Identity } else { hidden.clone() },
        }
    });
    Network { layers: layers.collect() }
}

fn infer(random: &mut Random, network: &Network, x: &[f32]) -> Vec<f32> {
    Binary32 { below: &mut |n| random.below(n), flushes: false }.infer(network, None, x)
}

/// The real outputs at a rational input; `None` with tanh or the logistic function.
fn real(network: &Network, x: &[Rational]) -> Option<Vec<Rational>> {
    let mut post = x.to_vec();
    for layer in &network.layers {
        let rows = layer.weight.values.chunks(layer.weight.columns).zip(&layer.bias);
        post = rows
            .map(|(row, bias)| {
                let products = row.iter().zip(&post).map(|(w, x)| w.to_rational().mul(x));
                let pre = products.fold(bias.to_rational(), |sum, p| sum.add(&p));
                Some(match &layer.activation {
                    Activation::Identity => pre,
                    Activation::Relu => pre.max(Rational::zero()),
                    Activation::LeakyRelu { slope } if pre.is_negative() => pre.mul(slope),
                    Activation::LeakyRelu { .. } => pre,
                    Activation::Clip { lower, upper } => pre.max(lower.clone()).min(upper.clone()),
                    Activation::Tanh | Activation::Sigmoid | Activation::Elu { .. } | Activation::Silu => {
                        return None;
                    }
                })
            })
            .collect::<Option<_>>()?;
    }
    Some(post)
}

/// The same in binary64, whose own error is below 1e-12 here.
fn nearly_real(network: &Network, x: &[f64]) -> Vec<f64> {
    FloatNetwork::from_model(network, None).expect("floats").forward(x)
}

fn policy(network: Network) -> Policy {
    Policy { network, head: Head::Deterministic, normaliser: None, source: None }
}

fn all_kept(network: &Network) -> Mask {
    Mask { layers: network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect() }
}

fn deviations(
    policy: &Policy,
    states: &States,
    set: &PerturbationSet,
    family: Family,
) -> Result<Vec<Vec<Rational>>, Reason> {
    let masks = [all_kept(&policy.network)];
    let problem = Problem { policy, masks: &masks, states, perturbation: set, witness: None };
    let tables = evaluate(&problem, &[family], &mut |_, _| {})?;
    Ok(tables[0].masks[0].changes.iter().map(|c| c.deviation.clone()).collect())
}

/// Per output, the rule's bound on the error over a box, as a rational.
fn errors(network: &Network, center: &[f64], radius: f64) -> Vec<Rational> {
    let scale = GridScale::new(network, &Rational::from_integer(4u8.into())).expect("a grid");
    let grid = GridNetwork::new(network, None, &scale).expect("on the grid");
    let step = f64::from(scale.value_bits).exp2();
    let ends =
        center.iter().map(|c| (((c - radius) * step).floor() as i64, ((c + radius) * step).ceil() as i64));
    let region = GridBox::from_intervals(ends);
    let bounds = propagate(&grid, tanh_table().unwrap(), &region).expect("bounds");
    let errors = rounding_errors(&grid, &region, &bounds).expect("errors");
    errors.into_iter().map(|e| Rational::from_dyadic(e.into(), -i64::from(scale.value_bits))).collect()
}

fn activations() -> [Activation; 5] {
    let number = |text| Rational::parse(text).expect("a number");
    [
        Activation::Relu,
        Activation::LeakyRelu { slope: number("1/100") },
        Activation::Clip { lower: number("-1/3"), upper: number("0.7") },
        Activation::Tanh,
        Activation::Sigmoid,
    ]
}

/// At random points of random balls: what binary32 computes is within the rule's error of the real outputs, and what an
/// adversary changes of it within the families' deviation. The error bound is not idle: some run uses 5 % of it.
#[test]
fn binary32_inference_stays_inside() {
    let mut random = Random(32);
    let (mut used, mut runs) = (0.0f64, 0);
    for activation in activations() {
        for widths in [vec![3, 24, 24, 2], vec![8, 1], vec![5, 40, 3]] {
            let net = network(&mut random, &widths, &activation);
            let policy = policy(net);
            let center: Vec<f64> = (0..widths[0]).map(|_| f64::from(number(&mut random)) / 3.0).collect();
            let values =
                center.iter().map(|x| Dyadic::from_ieee(x.to_bits(), 52, 11).expect("finite")).collect();
            let states = States { values: Matrix { rows: 1, columns: widths[0], values }, units: Units::Raw };
            let bounds = [Family::Binary32Ibp, Family::Binary32Crown]
                .map(|family| deviations(&policy, &states, &linf("1/32"), family).expect("bounds").remove(0));
            let allowed = errors(&policy.network, &center, 1.0 / 32.0);
            for _ in 0..60 {
                let scale = [0.0, 1.0, 1.0][random.below(3)];
                let point: Vec<f64> =
                    center.iter().map(|c| c + scale * f64::from(number(&mut random)) / 32.0).collect();
                let single = |x: &[f64]| x.iter().map(|x| *x as f32).collect::<Vec<f32>>();
                let clean = infer(&mut random, &policy.network, &single(&center));
                let moved = infer(&mut random, &policy.network, &single(&point));
                for ((clean, moved), output) in clean.iter().zip(&moved).zip(0..) {
                    let change = exact(*moved).sub(&exact(*clean)).abs();
                    bounds.iter().for_each(|b| assert!(change <= b[output], "{change} above {}", b[output]));
                }
                let rational: Option<Vec<Rational>> = point.iter().map(|x| float_to_rational(*x)).collect();
                let truth = real(&policy.network, &rational.expect("finite"));
                let near = nearly_real(&policy.network, &point);
                for (output, computed) in moved.iter().enumerate() {
                    let allowed = &allowed[output];
                    if let Some(truth) = &truth {
                        let error = exact(*computed).sub(&truth[output]).abs();
                        assert!(error <= *allowed, "{activation:?}: {error} above {allowed}");
                    }
                    let error = (f64::from(*computed) - near[output]).abs();
                    let allowed = secateur::float::rational_to_float(allowed);
                    assert!(error <= allowed + 1e-12, "{activation:?}: {error} above {allowed}");
                    used = used.max(error / allowed);
                    runs += 1;
                }
            }
        }
    }
    assert!(used > 0.05 && used <= 1.0 && runs > 1000, "{used} of the error is used in {runs} runs");
}

/// `2^24 + 1 + 1 + ...`: added one by one each 1 is lost, added first none is. The rule's n + 1 roundings are met within 6.
#[test]
fn the_order_of_a_sum_can_cost_what_the_rule_allows() {
    let ones = 200;
    let mut values = vec![Dyadic::new(1, 0); ones + 1];
    values[0] = Dyadic::new(1, 24);
    let layer = Layer {
        fixed: false,
        weight: Matrix { rows: 1, columns: ones + 1, values },
        bias: vec![Dyadic::ZERO],
        activation: Activation::Identity,
    };
    let net = Network { layers: vec![layer] };
    let lost = (0..ones).fold(16_777_216.0f32, |sum, _| sum + 1.0);
    let kept = (0..ones).fold(0.0f32, |sum, _| sum + 1.0) + 16_777_216.0;
    assert_eq!(kept - lost, ones as f32);
    let center = vec![1.0; ones + 1];
    let allowed = errors(&net, &center, 0.0).remove(0);
    let least = Rational::from_integer(ones.into());
    assert!(least <= allowed && allowed <= Rational::from_integer((ones + 6).into()), "{allowed}");
    let policy = policy(net);
    let values = vec![Dyadic::new(1, 0); ones + 1];
    let states = States { values: Matrix { rows: 1, columns: ones + 1, values }, units: Units::Raw };
    for (family, zero) in [(Family::Ibp, true), (Family::Binary32Ibp, false), (Family::Binary32Crown, false)]
    {
        let bound = deviations(&policy, &states, &linf("0"), family).expect("bounds").remove(0).remove(0);
        assert_eq!(bound < least, zero, "{family:?}: {bound}");
    }
}

#[test]
fn weights_that_are_not_binary32_are_refused() {
    let mut net = network(&mut Random(5), &[2, 2, 1], &Activation::Tanh);
    net.layers[1].weight.values[0] = Dyadic::from_ieee(0.1f64.to_bits(), 52, 11).expect("finite");
    let policy = policy(net);
    let values = vec![Dyadic::ZERO; 2];
    let states = States { values: Matrix { rows: 1, columns: 2, values }, units: Units::Raw };
    assert!(deviations(&policy, &states, &linf("1/32"), Family::Ibp).is_ok());
    for family in [Family::Binary32Ibp, Family::Binary32Crown] {
        let reason = Fault::NotBinary32 { layer: 1 };
        let refused = Err(Reason::Rule { fault: reason });
        assert_eq!(deviations(&policy, &states, &linf("1/32"), family), refused);
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let files = Files::write(folder.path(), &Spec::small(1));
    let mut doubles = files.policy.clone();
    doubles.layers[0].bias = TensorData::from_f64(vec![8], &[0.1; 8]);
    secateur::policy::emit::write_policy_dir(&files.policy_dir(), &doubles).expect("written");
    let made = certify_directory(folder.path(), &[Family::Binary32Ibp], &linf("1/20"), &key(1));
    assert!(matches!(made.map(|_| ()), Err(CertifyError::Evaluate(_))));
}

/// Certified for every head; refused without its assumption or limit, and tighter than proved.
#[test]
fn certificates_say_which_families_cover_binary32() {
    for (seed, gaussian) in [(1, true), (2, false)] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let spec = Spec { gaussian, activation: ActivationSpec::Tanh, ..Spec::small(seed) };
        let files = Files::write(folder.path(), &spec);
        let families = [Family::Ibp, Family::Binary32Ibp, Family::Binary32Crown];
        let certified = files.certify_to_disk(&families, &key(1));
        assert!(files.check().is_ok());
        let certificate = certified.verified.certificate();
        for sentence in [ASSUME_REAL, ASSUME_FLOAT32] {
            assert!(certificate.assumptions.iter().any(|a| a == sentence), "{sentence}");
        }
        let tables = certified.verified.tables();
        let pairs = tables[0].masks.iter().zip(&tables[1].masks);
        for (real, float) in pairs.flat_map(|(real, float)| real.changes.iter().zip(&float.changes)) {
            assert!(real.deviation.iter().zip(&float.deviation).all(|(r, f)| r < f));
            assert!(real.oscillation < float.oscillation);
        }
        let margins = tables[0].masks[0].margins.iter().zip(&tables[1].masks[0].margins);
        for (real, float) in margins {
            assert!(real.is_none() || float < real, "{real:?} {float:?}");
        }
        let rejected = |change: &dyn Fn(&mut secateur_checker::reader::certificate::Certificate)| {
            files.write_envelope(&certified.envelope);
            files.resign(&key(1), change);
            match files.check() {
                Err(Failure::Rejected(rejection)) => rejection.reason,
                other => panic!("{other:?}"),
            }
        };
        let assumption = rejected(&|c| c.assumptions.retain(|a| a != ASSUME_FLOAT32));
        assert_eq!(assumption, Reason::AssumptionMissing { assumption: ASSUME_FLOAT32.to_owned() });
        let words = rejected(&|c| {
            c.assumptions.iter_mut().for_each(|a| *a = a.replace("2^-22", "2^-23"));
        });
        assert_eq!(words, Reason::AssumptionMissing { assumption: ASSUME_FLOAT32.to_owned() });
        let limit = rejected(&|c| c.limits.retain(|l| l != LIMIT_FLOAT32));
        assert_eq!(limit, Reason::LimitMissing { limit: LIMIT_FLOAT32 });
        // The bound over the reals is no bound over binary32.
        let tight = rejected(&|c| {
            let real = c.claims[0].values.clone();
            let claim = c.claims.iter_mut().find(|claim| claim.family == "float32/ibp").expect("a claim");
            claim.values = real;
        });
        assert!(matches!(tight, Reason::TooTight { .. }), "{tight:?}");
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let without = Files::write(folder.path(), &Spec::small(1)).certify(&[Family::Ibp], &key(1));
    let certificate = without.verified.certificate();
    assert!(!certificate.assumptions.iter().any(|a| a == ASSUME_FLOAT32));
    assert!(!all_families().iter().any(|f| f.is_float32()), "float32 families are on demand");
}
