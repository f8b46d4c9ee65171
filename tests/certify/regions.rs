//! Regions end to end: boxes whose every state is claimed, compared with exact evaluation; files and options.

use secateur::certify::regions::RegionRequest;
use secateur::certify::{Certified, CertifyError, Request, certify};
use secateur::float::{FloatNetwork, rational_to_float};
use secateur::policy::ActivationSpec;
use secateur::progress::Silent;
use secateur::search::cover::{CoverGoal, search_cover};
use secateur_checker::claim::region::{RegionProblem, prove_region};
use secateur_checker::family::Family;
use secateur_checker::kernel::bounds::StateBounds;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::load::{Failure, load_masks, load_policy, load_states};
use secateur_checker::model::{
    Activation, Head, Layer, Mask, Matrix, Network, Perturbation, PerturbationSet, Policy, Units,
};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::digest::sha256_hex;
use secateur_checker::reader::regions::{RegionClaim, RegionEntry, Share};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::LIMIT_REGIONS;
use secateur_testkit::problem::{self, Problem, Spec, key, linf, rational};
use secateur_testkit::programs::{run, secateur};
use secateur_testkit::random::Random;

fn written(gaussian: bool, seed: u64) -> (tempfile::TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec {
        widths: vec![2, 8, 2],
        activation: ActivationSpec::Tanh,
        gaussian,
        masks: 2,
        states: 1,
        ..Spec::small(seed)
    };
    let problem = Problem::write(folder.path(), &spec);
    (folder, problem)
}

fn request(steps: u64, threshold: &str) -> RegionRequest {
    RegionRequest {
        lower: vec![rational("-1"), rational("-1/3")],
        upper: vec![rational("1"), rational("2/3")],
        steps,
        thresholds: vec![rational(threshold)],
    }
}

fn certify_regions(
    problem: &Problem,
    set: &PerturbationSet,
    regions: &[RegionRequest],
) -> Result<Certified, CertifyError> {
    let policy = load_policy(&problem.policy_dir()).expect("a policy");
    let masks = load_masks(&problem.masks_dir(), &policy.files).expect("masks");
    let (states, bytes) = load_states(&problem.states_file(), Units::Normalised).expect("states");
    let families = [Family::Sensitivity];
    let request = Request { regions, ..problem::request(&policy, &masks, (&states, &bytes), set, &families) };
    certify(&request, &key(1), &Silent)
}

fn float(text: &str) -> f64 {
    rational_to_float(&rational(text))
}

/// More cells prove more, and no state of the box and perturbation of it passes what is claimed of all of them.
#[test]
fn no_state_of_the_box_passes_its_claims() {
    let mut mixed = 0;
    for (gaussian, seed) in [(true, 31), (false, 31), (false, 32), (false, 33), (false, 34)] {
        let (_folder, problem) = written(gaussian, seed);
        let set = linf("1/20");
        let coarse = certify_regions(&problem, &set, &[request(20, "1/20")]).expect("certified");
        let fine = certify_regions(&problem, &set, &[request(1500, "1/20")]).expect("certified");
        let entries = |c: &Certified| c.verified.certificate().regions.clone();
        let (coarse, fine) = (entries(&coarse), entries(&fine));
        assert_eq!(fine.len(), if gaussian { 2 } else { 4 }, "a tree of changes a mask, one of margins");
        let policy = load_policy(&problem.policy_dir()).expect("a policy").files;
        let masks = load_masks(&problem.masks_dir(), &policy).expect("masks").masks;
        let mut random = Random(9);
        for (rough, entry) in coarse.iter().zip(&fine) {
            let network = FloatNetwork::from_model(&policy.policy.network, Some(&masks[entry.mask]));
            let network = network.expect("floats");
            let value = |name: &str, output| {
                let named = |c: &&secateur_checker::reader::regions::RegionClaim| {
                    c.quantity == name && c.output == output
                };
                entry.claims.iter().find(named).map(|c| float(&c.value))
            };
            for (a, b) in rough.claims.iter().zip(&entry.claims) {
                let (before, after) = (float(&a.value), float(&b.value));
                let better =
                    if a.quantity == "same-action-margin" { after >= before } else { after < before };
                assert!(better || before == after, "{}: {before} {after}", a.quantity);
                assert!(a.shares.iter().zip(&b.shares).all(|(x, y)| x.fraction <= y.fraction));
            }
            let margin = value("same-action-margin", None);
            let (mut most, mut kept, rounds) = (0.0f64, 0u32, 4000);
            for _ in 0..rounds {
                let state = [f64::from(random.weight()), f64::from(random.weight()) / 2.0 + 1.0 / 6.0];
                let clean = network.forward(&state);
                let preferred = usize::from(clean[1] > clean[0]);
                let mut least = f64::INFINITY;
                for corner in 0..4 {
                    let sign = |bit: u32| if corner >> bit & 1 == 1 { 0.05 } else { -0.05 };
                    let outputs = network.forward(&[state[0] + sign(0), state[1] + sign(1)]);
                    least = least.min(outputs[preferred] - outputs[1 - preferred]);
                    for (output, (a, b)) in outputs.iter().zip(&clean).enumerate() {
                        if let Some(bound) = value("action-deviation", Some(output)) {
                            assert!((a - b).abs() <= bound + 1e-9);
                            most = most.max((a - b).abs() / bound);
                        }
                    }
                }
                if let Some(bound) = margin {
                    assert!(least >= bound - 1e-9, "{least} {bound}");
                    kept += u32::from(least > 0.0);
                }
            }
            match margin {
                // The proved share cannot exceed the true one, of which the sample knows about 2 %.
                Some(_) => {
                    let proved = rational_to_float(&entry.claims[0].shares[0].fraction);
                    let sampled = f64::from(kept) / f64::from(rounds);
                    assert!(proved <= sampled + 0.03 && proved > sampled - 0.3, "{proved} {sampled}");
                    mixed += u32::from(proved > 0.1 && sampled < 0.99);
                }
                None => assert!(most > 0.7, "the bound is near the truth: {most}"),
            }
        }
    }
    assert!(mixed > 0, "some box has states of both kinds");
}

/// What is signed anew with a better number, another box or another tree is refused.
#[test]
fn changed_regions_are_refused() {
    let (folder, problem) = written(false, 31);
    let certified = certify_regions(&problem, &linf("1/20"), &[request(300, "1/1000")]).expect("certified");
    let refused = |change: &dyn Fn(&mut secateur_checker::reader::certificate::Certificate)| {
        certified.write(&problem.certificate_file(), problem::WITNESS).expect("written");
        problem.resign(&key(1), |certificate| change(certificate));
        match problem.check() {
            Err(Failure::Rejected(reason)) => *reason,
            other => panic!("{:?}", other.map(|o| o.verified.certificate().regions.clone())),
        }
    };
    certified.write(&problem.certificate_file(), problem::WITNESS).expect("written");
    problem::write_trust(folder.path(), &key(1));
    problem.check().expect("accepted as made");
    let region = |rejection: Rejection| {
        let entry = rejection.entry.expect("in an entry");
        assert_eq!((entry.kind, entry.position), ("region", 0));
        (entry.part, rejection.reason)
    };
    let tight = region(refused(&|c| c.regions[0].claims[0].value = "0.000001".to_owned()));
    assert!(matches!(&tight, (part, Reason::TooTight { .. }) if part == ", claim 0"), "{tight:?}");
    let share = region(refused(&|c| c.regions[0].claims[2].shares[0].fraction = Rational::one()));
    assert!(matches!(&share, (part, Reason::TooTight { .. }) if part == ", claim 2, share 0"), "{share:?}");
    // The same cuts lie outside a smaller box, and cover a larger one with larger cells.
    let small = region(refused(&|c| c.regions[0].upper[0] = rational("-9/10")));
    assert!(matches!(small.1, Reason::Rule { .. }), "{small:?}");
    let large = region(refused(&|c| c.regions[0].upper[0] = rational("30")));
    assert!(matches!(large.1, Reason::TooTight { .. }), "{large:?}");
    // Each entry has a tree of its own.
    let other = refused(&|c| c.regions.swap(0, 1));
    assert_eq!(other.entry.as_ref().map(|entry| entry.kind), Some("region"), "{other:?}");
    assert!(matches!(other.reason, Reason::TooTight { .. }), "{other:?}");
    let limit = refused(&|c| c.limits.retain(|l| l != LIMIT_REGIONS));
    assert_eq!(limit, Reason::LimitMissing { limit: LIMIT_REGIONS }.into());
    // Every changed byte of the trees: refused, or accepted because what is claimed is still proved.
    let good = certified.witness.clone().expect("a witness");
    let start = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    let mut random = Random(4);
    let mut count = 0;
    for position in (start..good.len()).step_by((good.len() - start) / 60 + 1) {
        let mut bytes = good.clone();
        bytes[position] ^= 1 + random.below(255) as u8;
        certified.write(&problem.certificate_file(), problem::WITNESS).expect("written");
        std::fs::write(folder.path().join(problem::WITNESS), &bytes).expect("written");
        problem.resign(&key(1), |certificate| {
            certificate.witness.as_mut().expect("a record").sha256 = sha256_hex(&bytes);
        });
        match problem.check() {
            Ok(_) => {}
            Err(Failure::Rejected(reason)) => {
                count += 1;
                assert_eq!(reason.entry.as_ref().map(|entry| entry.kind), Some("region"), "{reason}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(count > 20, "{count} refused");
}

#[test]
fn boxes_that_do_not_fit_are_refused_before_the_search() {
    let (_folder, problem) = written(false, 31);
    let certify = |change: fn(&mut RegionRequest)| {
        let mut request = request(10, "1/2");
        change(&mut request);
        certify_regions(&problem, &linf("1/20"), &[request]).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(certify(|_| {}), Ok(()));
    assert!(certify(|r| r.lower.truncate(1)).is_err_and(|e| e.contains("1 ends for 2 inputs")));
    assert!(certify(|r| r.upper[1] = rational("-1")).is_err_and(|e| e.contains("input 1 is above")));
}

#[test]
fn the_cells_do_not_depend_on_the_number_of_threads() {
    let (_folder, problem) = written(false, 31);
    let set = linf("1/20");
    let files = [1, 2, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let made = pool.install(|| certify_regions(&problem, &set, &[request(200, "1/20")]));
        let made = made.expect("certified");
        (made.envelope.payload.clone(), made.witness.expect("a witness"))
    });
    assert!(files.iter().all(|f| *f == files[0]));
}

/// From the command line, from a file and from audit.toml.
#[test]
fn boxes_come_from_options_and_files() {
    let (folder, _problem) = written(false, 31);
    std::fs::write(folder.path().join("k.pem"), key(1).private_pem()).expect("key written");
    let certify = |options: &[&str]| {
        let files = ["--masks", "masks", "--states", "states.npy", "--epsilon", "1/20", "--family", "ibp"];
        let out = ["--key", "k.pem", "--out", "c.cert.dsse.json", "--region-steps", "50", "--force"];
        let mut command = secateur(folder.path());
        run(command.args(["--quiet", "certify", "policy"]).args(files).args(out).args(options))
    };
    let sides = ["--region-lower=-1,-0.5", "--region-upper=1,0.5"];
    let shown = certify(&[&sides[..], &["--region-threshold", "0.05"]].concat());
    assert_eq!(shown.code, 0, "{shown:?}");
    let line = "region     0: every state of [";
    assert!(shown.stdout.contains(line) && shown.stdout.contains(" % of the volume"), "{}", shown.stdout);
    assert!(shown.stdout.contains("           mask 0: total variation at most "), "{}", shown.stdout);
    assert!(shown.stdout.contains("           mask 0: same-action margin at least "), "{}", shown.stdout);
    let file = "[[region]]\nlower = [\"-1\", \"-0.5\"]\nupper = [\"1\", \"0.5\"]\nthresholds = [\"0.05\"]\n";
    std::fs::write(folder.path().join("r.toml"), file).expect("written");
    assert_eq!(certify(&["--region", "r.toml"]).stdout, shown.stdout);
    for (options, word) in [
        (&["--region-threshold", "0.1"][..], "need a box"),
        (&["--region", "none.toml"][..], "none.toml"),
        (&["--region-lower=-1,-0.5"][..], "--region-upper"),
        (&["--region-lower=-1,x", "--region-upper=1,1"][..], "region lower"),
        (&["--region-lower=-1", "--region-upper=1"][..], "1 ends for 2 inputs"),
        (&["--region-lower=2,0", "--region-upper=1,1"][..], "input 0 is above"),
    ] {
        let refused = certify(options);
        assert!(refused.code == 2 && refused.stderr.contains(word), "{options:?}: {refused:?}");
    }
    let audit =
        format!("states = \"../states.npy\"\nepsilon = \"1/20\"\nfamilies = [\"ibp\"]\n{file}steps = 50\n");
    std::fs::write(folder.path().join("policy/audit.toml"), audit).expect("written");
    let audited = run(secateur(folder.path()).args(["--quiet", "audit", "policy", "--out", "made"]));
    assert!(audited.code == 0 && audited.stdout.contains(line), "{audited:?}");
}

/// Networks and boxes at which something vanishes: weights of 0, no adversary, boxes without extent in some or all inputs,
/// saturated activations. Whatever the search finds, the rule proves, and no corner moves further than it says.
#[test]
fn degenerate_regions_are_covered() {
    let mut random = Random(11);
    let mut whole = 0u32;
    let rounds = 1500usize;
    for round in 0..rounds {
        let mut pick = |from: &[&str]| from[random.below(from.len())].to_owned();
        let (inputs, hidden, outputs) = (1 + round % 2, 2, 1 + round / 2 % 2);
        let activation = match pick(&["relu", "tanh", "clip"]).as_str() {
            "relu" => Activation::Relu,
            "tanh" => Activation::Tanh,
            _ => Activation::Clip { lower: rational("-1"), upper: Rational::one() },
        };
        let mut layer = |rows: usize, columns: usize, activation: Activation| Layer {
            fixed: false,
            weight: Matrix {
                rows,
                columns,
                values: (0..rows * columns).map(|_| dyadic(&pick(&["0", "0", "1", "-1", "100"]))).collect(),
            },
            bias: (0..rows).map(|_| dyadic(&pick(&["0", "1", "-100", "100"]))).collect(),
            activation,
        };
        let network = Network {
            layers: vec![layer(hidden, inputs, activation), layer(outputs, hidden, Activation::Identity)],
        };
        let mut pick = |from: &[&str]| from[random.below(from.len())].to_owned();
        let head = match pick(&["gaussian", "categorical", "deterministic"]).as_str() {
            "gaussian" => Head::Gaussian { log_std: vec![Dyadic::ZERO; outputs] },
            "categorical" => Head::Categorical,
            _ => Head::Deterministic,
        };
        let policy = Policy { network, head, normaliser: None, source: None };
        let shape = Perturbation::Linf { radius: rational(&pick(&["0", "0", "1/4"])) };
        let set = PerturbationSet { shape, units: Units::Normalised };
        let ends = |pair: String| {
            let (lower, upper) = pair.split_once(' ').expect("two ends");
            (rational(lower), rational(upper))
        };
        let (lower, upper): (Vec<_>, Vec<_>) =
            (0..inputs).map(|_| ends(pick(&["0 1", "0 0", "-1 1", "1/3 1/3", "5 9"]))).unzip();
        let mask = Mask {
            layers: policy.network.layers.iter().map(|l| vec![true; l.weight.values.len()]).collect(),
        };
        let margins = pick(&["yes", "no"]) == "yes";
        let problem = RegionProblem::new(&policy, &mask, (&lower, &upper), Units::Normalised, &set, margins)
            .expect("on the grid");
        let first = &policy.network.layers[0].weight;
        let weights: Vec<f64> = (0..inputs)
            .map(|i| (0..hidden).map(|r| float_of(&first.values[r * inputs + i]).abs()).sum())
            .collect();
        let badness = |bounds: &StateBounds| bounds.deviation.iter().copied().max().unwrap_or(0) as f64;
        let goal = CoverGoal { badness: &badness, kept: &|_| round % 3 == 0, steps: 1 + round as u64 % 40 };
        let cover = search_cover(&problem, (&lower, &upper), &weights, &goal, &|_| false).expect("a cover");
        whole += u32::from(cover.cells == 1);
        let claims = (0..outputs).map(|output| RegionClaim {
            quantity: "action-deviation".to_owned(),
            output: Some(output),
            value: "0".to_owned(),
            shares: vec![Share { threshold: rational("1000000000"), fraction: Rational::zero() }],
        });
        let entry = RegionEntry { lower, upper, mask: 0, claims: claims.collect() };
        let heads = HeadBounds::new(&policy.head).expect("a head");
        let proved = prove_region(&problem, &entry, &cover.bytes, &heads, &mut |_, _| {}).expect("proved");
        for claim in proved {
            assert_eq!(claim.shares[0].1, Rational::one(), "every cell keeps so large a threshold");
            let bound = claim.worst.expect("a cell");
            assert!(!bound.is_negative());
        }
    }
    assert!((150..1500).contains(&whole), "{whole} boxes had nothing to cut");
}

fn dyadic(text: &str) -> Dyadic {
    Dyadic::new(text.parse().expect("a whole number"), 0)
}

fn float_of(value: &Dyadic) -> f64 {
    rational_to_float(&value.to_rational())
}

/// One weight of 0, no adversary, the box [0, 1]: the root cell is all there is. And a box is named once.
#[test]
fn a_constant_policy_has_one_cell() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec { widths: vec![1, 1], masks: 1, states: 1, gaussian: false, ..Spec::small(1) };
    let problem = Problem::write(folder.path(), &spec);
    let mut policy = load_policy(&problem.policy_dir()).expect("a policy");
    policy.files.policy.network.layers[0].weight.values = vec![Dyadic::ZERO];
    let region = RegionRequest {
        lower: vec![Rational::zero()],
        upper: vec![Rational::one()],
        steps: 100,
        thresholds: Vec::new(),
    };
    let set = linf("0");
    let again = certify_regions(&problem, &set, &[region.clone(), region.clone()]);
    let Err(CertifyError::Region(error)) = again else { panic!("a repeated box") };
    assert_eq!(
        error.to_string(),
        "region 1 is the same box as region 0; name it once, with all its thresholds"
    );
    let network = &policy.files.policy;
    let mask = Mask { layers: vec![vec![true]] };
    let space = (region.lower.as_slice(), region.upper.as_slice());
    let problem =
        RegionProblem::new(network, &mask, space, Units::Normalised, &set, false).expect("on the grid");
    let goal = CoverGoal { badness: &|_| 0.0, kept: &|_| false, steps: 100 };
    let cover = search_cover(&problem, space, &[0.0], &goal, &|_| false).expect("a cover");
    assert_eq!((cover.cells, cover.bytes), (1, vec![0]));
}
