//! The family `branch`: split trees reach the exact range, are true bounds whatever the bytes are, and are the same at any
//! thread count.

use secateur::certify::{Certified, Request, certify};
use secateur::float::{FloatActivation, FloatNetwork, rational_to_float};
use secateur::policy::emit::{write_mask_chain, write_npy, write_policy_dir};
use secateur::policy::mask::{MaskData, MaskTable};
use secateur::policy::{ActivationSpec, HeadData, LayerData, PolicyData, TensorData};
use secateur::progress::Silent;
use secateur_checker::family::Family;
use secateur_checker::kernel::branch::bound_tree;
use secateur_checker::kernel::fault::{Class, Fault};
use secateur_checker::kernel::grid::{GridNetwork, GridScale};
use secateur_checker::kernel::input::input_magnitude;
use secateur_checker::load::{Failure, MaskDirectory, load_masks, load_policy, load_states};
use secateur_checker::local::LocalProblem;
use secateur_checker::model::{Perturbation, PerturbationSet, Units};
use secateur_checker::number::Rational;
use secateur_checker::reader::safetensors::Safetensors;
use secateur_checker::reader::trees::{Trees, state_block};
use secateur_checker::rejection::Reason;
use secateur_checker::tables::tanh_table;
use secateur_testkit::problem::{self, Problem, Spec, certify_directory, key, linf};
use secateur_testkit::programs::{run, secateur};
use secateur_testkit::random::Random;
use secateur_testkit::reference;

/// A problem with one hidden layer, so that its pieces can be enumerated.
fn shallow(seed: u64, gaussian: bool) -> (tempfile::TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec {
        widths: vec![2, 7, 2],
        activation: ActivationSpec::Relu,
        gaussian,
        masks: 2,
        states: 2,
        ..Spec::small(seed)
    };
    let problem = Problem::write(folder.path(), &spec);
    (folder, problem)
}

fn networks(problem: &Problem) -> Vec<FloatNetwork> {
    let policy = load_policy(&problem.policy_dir()).expect("a policy");
    let masks = load_masks(&problem.masks_dir(), &policy.files).expect("masks").masks;
    let float = |mask| FloatNetwork::from_model(&policy.files.policy.network, Some(mask)).expect("floats");
    masks.iter().map(float).collect()
}

/// Every corner of the pieces of a network with two inputs and one hidden layer within a box: crossings of two of the
/// lines `w . x + b = 0` and of the box's sides. A piecewise linear function is extreme at one of them.
fn corners(network: &FloatNetwork, center: &[f64], radius: f64) -> Vec<[f64; 2]> {
    let hidden = &network.layers[0];
    let mut lines: Vec<[f64; 3]> =
        hidden.weight.chunks_exact(2).zip(&hidden.bias).map(|(w, b)| [w[0], w[1], *b]).collect();
    for (i, c) in center.iter().enumerate() {
        for end in [c - radius, c + radius] {
            lines.push(if i == 0 { [1.0, 0.0, -end] } else { [0.0, 1.0, -end] });
        }
    }
    let mut found = Vec::new();
    for (k, p) in lines.iter().enumerate() {
        for q in &lines[..k] {
            let determinant = p[0] * q[1] - p[1] * q[0];
            if determinant.abs() > 1e-12 {
                let x =
                    [(p[1] * q[2] - q[1] * p[2]) / determinant, (q[0] * p[2] - p[0] * q[2]) / determinant];
                if x.iter().zip(center).all(|(x, c)| (x - c).abs() <= radius + 1e-12) {
                    found.push(x);
                }
            }
        }
    }
    found
}

/// The largest change of each output over the ball around a state, and the largest difference of two changes.
fn exact_change(network: &FloatNetwork, state: &[f64], radius: f64) -> (Vec<f64>, f64) {
    let clean = network.forward(state);
    let (mut deviation, mut oscillation) = (vec![0.0f64; clean.len()], 0.0f64);
    for corner in corners(network, state, radius) {
        let change: Vec<f64> = network.forward(&corner).iter().zip(&clean).map(|(a, b)| a - b).collect();
        deviation.iter_mut().zip(&change).for_each(|(d, c)| *d = d.max(c.abs()));
        let ends = change.iter().fold((f64::MAX, f64::MIN), |(l, u), c| (l.min(*c), u.max(*c)));
        oscillation = oscillation.max(ends.1 - ends.0);
    }
    (deviation, oscillation)
}

/// Deviations and oscillations as mask, state; the error if the witness is refused.
type Changes = Vec<Vec<(Vec<f64>, f64)>>;

fn changes(
    problem: &Problem,
    set: &PerturbationSet,
    family: Family,
    witness: Option<&[u8]>,
) -> Result<Changes, Reason> {
    let float = |d: &Vec<Rational>| d.iter().map(rational_to_float).collect();
    let table = problem.table(set, family, witness)?;
    let of_mask = |m: &secateur_checker::table::MaskTable| {
        m.changes.iter().map(|c| (float(&c.deviation), rational_to_float(&c.oscillation))).collect()
    };
    Ok(table.masks.iter().map(of_mask).collect())
}

/// On small networks of two inputs the bounds are within 1 % of the exact change, which every piece was searched for.
#[test]
fn branching_reaches_what_enumeration_finds() {
    let (mut closed, mut open) = (0.0, 0.0);
    for seed in 1..=6 {
        let (folder, problem) = shallow(seed, false);
        let set = linf("1/2");
        let families = [Family::Crown, Family::Branch];
        let certified = certify_directory(folder.path(), &families, &set, &key(1)).expect("certified");
        let witness = certified.witness.as_deref();
        let found = changes(&problem, &set, Family::Branch, witness).expect("accepted");
        let crown = changes(&problem, &set, Family::Crown, witness).expect("accepted");
        for (mask, network) in networks(&problem).iter().enumerate() {
            for (state, row) in problem.states.chunks(2).enumerate() {
                let (exact, oscillation) = exact_change(network, row, 0.5);
                let ((branch, between), (loose, _)) = (&found[mask][state], &crown[mask][state]);
                for ((e, b), c) in exact.iter().zip(branch).zip(loose) {
                    assert!(*e <= b + 1e-9 && *b <= 1.01 * e + 1e-9, "seed {seed}: {e} {b}");
                    assert!(b <= c, "branch is met with crown: {b} {c}");
                    (closed, open) = (closed + b, open + c);
                }
                assert!(oscillation <= between + 1e-9 && *between <= 1.01 * oscillation + 1e-9);
            }
        }
    }
    assert!(closed < 0.95 * open, "branching gained something: {closed} {open}");
}

/// The policy of a float network whose numbers are binary32, with one state, on disk.
fn write_reference(folder: &std::path::Path, network: &FloatNetwork, state: &[f64]) {
    let tensor = |shape, values: &[f64]| {
        TensorData::from_f32(shape, &values.iter().map(|v| *v as f32).collect::<Vec<f32>>())
    };
    let layers = network.layers.iter().map(|layer| LayerData {
        fixed: false,
        weight: tensor(vec![layer.outputs, layer.inputs], &layer.weight),
        bias: tensor(vec![layer.outputs], &layer.bias),
        activation: match layer.activation {
            FloatActivation::Relu => ActivationSpec::Relu,
            _ => ActivationSpec::Identity,
        },
    });
    let policy = PolicyData {
        layers: layers.collect(),
        head: HeadData::Deterministic,
        normaliser: None,
        source: None,
    };
    write_policy_dir(&folder.join("policy"), &policy).expect("policy written");
    write_npy(&folder.join("states.npy"), 1, state.len(), state).expect("states written");
}

fn certify_dense(folder: &std::path::Path, set: &PerturbationSet, steps: u64) -> Certified {
    let policy = load_policy(&folder.join("policy")).expect("a policy");
    let masks = MaskDirectory::dense(&policy.files.policy.network);
    let (states, bytes) = load_states(&folder.join("states.npy"), Units::Normalised).expect("states");
    let families = [Family::Crown, Family::Branch];
    let request = Request {
        branch_steps: steps,
        cells: None,
        ..problem::request(&policy, &masks, (&states, &bytes), set, &families)
    };
    certify(&request, &key(1), &Silent).expect("certified")
}

/// The mean width that the checker derives from the trees, and the number of tree bytes.
fn tree_width(folder: &std::path::Path, set: &PerturbationSet, witness: &[u8]) -> (f64, usize) {
    let policy = load_policy(&folder.join("policy")).expect("a policy").files.policy;
    let masks = MaskDirectory::dense(&policy.network).masks;
    let (states, _) = load_states(&folder.join("states.npy"), Units::Normalised).expect("states");
    let local = LocalProblem::new(&policy, &masks, &states, set).expect("on the grid");
    let input = local.input_at(0).expect("an input set");
    let magnitude = input_magnitude(&policy, &states, set).expect("a magnitude");
    let scale = GridScale::new(&policy.network, &magnitude).expect("a scale");
    let network = GridNetwork::new(&policy.network, Some(&masks[0]), &scale).expect("on the grid");
    let file = Safetensors::parse(witness).expect("safetensors");
    let tensor = file.tensor("branch.0").expect("trees");
    let mut trees = Trees::new(state_block(tensor.bytes, 1, 0).expect("a block"));
    let outputs = policy.network.outputs();
    let mut sum = 0.0;
    for output in 0..outputs {
        for sign in [-1, 1] {
            let mut weights = vec![0; outputs];
            weights[output] = sign;
            trees.begin();
            let mut next = |_| trees.node(&network);
            let bound = bound_tree(&network, tanh_table().unwrap(), &input, &weights, &mut next);
            let bound = bound.expect("a bound");
            sum += bound as f64 / 2f64.powi(network.value_bits as i32);
        }
    }
    (sum / outputs as f64, tensor.bytes.len())
}

/// Network c, state 0, radius 0.05: the exact mean width is 0.182 (`../shared/reference/README.md`).
#[test]
fn the_exact_width_of_c_is_certified_within_one_percent() {
    let stem = "c_relu4x64x64x2";
    let (Some(network), Some(states)) = (reference::network(stem, None), reference::states(stem)) else {
        return;
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    write_reference(folder.path(), &network, &states[0]);
    let set = linf("1/20");
    let started = std::time::Instant::now();
    let certified = certify_dense(folder.path(), &set, 500);
    let (width, bytes) = tree_width(folder.path(), &set, &certified.witness.expect("a witness"));
    println!("width {width}, {bytes} bytes of trees, {:?}", started.elapsed());
    assert!((0.18..0.18382).contains(&width), "{width}");
    // Anytime: fewer regions give a wider and still certified range.
    let early = certify_dense(folder.path(), &set, 9);
    let (wider, fewer) = tree_width(folder.path(), &set, &early.witness.expect("a witness"));
    assert!(width < wider && wider < 0.21 && fewer < bytes, "{wider}");
}

/// Whatever a byte of the trees becomes, they are refused or prove what enumeration does not contradict; the certificate
/// made anew with such a file is refused or accepted by the same rule.
#[test]
fn any_changed_byte_is_refused_or_proves_a_true_bound() {
    let (folder, problem) = shallow(2, false);
    let set = linf("1/2");
    let certified = certify_directory(folder.path(), &[Family::Branch], &set, &key(1)).expect("certified");
    let good = certified.witness.clone().expect("a witness");
    certified.write(&problem.certificate_file(), problem::WITNESS).expect("written");
    problem::write_trust(folder.path(), &key(1));
    problem.check().expect("accepted as made");
    let start = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    let exact: Vec<Vec<(Vec<f64>, f64)>> = networks(&problem)
        .iter()
        .map(|n| problem.states.chunks(2).map(|row| exact_change(n, row, 0.5)).collect())
        .collect();
    let mut random = Random(7);
    let (mut refused, mut proved) = (0, 0);
    let stride = (good.len() - start) / 400 + 1;
    for position in (start..good.len()).step_by(stride) {
        let mut bytes = good.clone();
        bytes[position] ^= 1 + random.below(255) as u8;
        let found = match changes(&problem, &set, Family::Branch, Some(&bytes)) {
            Ok(found) => found,
            Err(reason) => {
                assert_eq!(reason.class(), Class::Evidence, "{reason}");
                refused += 1;
                continue;
            }
        };
        proved += 1;
        for (truth, bound) in exact.iter().flatten().zip(found.iter().flatten()) {
            let holds = truth.0.iter().zip(&bound.0).all(|(t, b)| *t <= b + 1e-9);
            assert!(holds && truth.1 <= bound.1 + 1e-9, "byte {position}: {truth:?} {bound:?}");
        }
        if proved % 16 == 0 {
            std::fs::write(folder.path().join(problem::WITNESS), &bytes).expect("written");
            problem.resign(&key(1), |certificate| {
                let record = certificate.witness.as_mut().expect("a record");
                record.sha256 = secateur_checker::reader::digest::sha256_hex(&bytes);
            });
            match problem.check() {
                Ok(_) => {}
                Err(Failure::Rejected(reason)) => {
                    let tight = matches!(reason.reason, Reason::TooTight { .. });
                    assert!(tight || matches!(reason.reason, Reason::WrongVerdict { .. }), "{reason}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(refused > 20 && proved > 20, "{refused} refused, {proved} proved");
}

/// Where each state's trees begin must be said, and nothing may follow them.
#[test]
fn missing_short_and_long_files_are_refused() {
    let (folder, problem) = shallow(3, true);
    let set = linf("1/2");
    let certified = certify_directory(folder.path(), &[Family::Branch], &set, &key(1)).expect("certified");
    let good = certified.witness.expect("a witness");
    assert!(changes(&problem, &set, Family::Branch, Some(&good)).is_ok());
    let missing = |result: Result<Changes, Reason>| {
        result.is_err_and(|e| e.fault() == Some(&Fault::TreesMissing { mask: 0 }))
    };
    assert!(missing(changes(&problem, &set, Family::Branch, None)));
    let garbage = changes(&problem, &set, Family::Branch, Some(b"no safetensors"));
    assert!(matches!(garbage, Err(Reason::WitnessFile { .. })), "{garbage:?}");
    let start = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    let with = |at: usize, value: u64| {
        let mut bytes = good.clone();
        bytes[start + at..start + at + 8].copy_from_slice(&value.to_le_bytes());
        changes(&problem, &set, Family::Branch, Some(&bytes))
    };
    let end = |at: usize| u64::from_le_bytes(good[start + at..start + at + 8].try_into().expect("eight"));
    // The first state's end beyond the file, or after the second's; the last state's end before the data's.
    assert!(missing(with(0, u64::MAX)) && missing(with(0, end(8) + 1)) && missing(with(8, end(8) - 1)));
    let fault = |result: Result<Changes, Reason>| match result {
        Err(reason) => reason.fault().cloned(),
        Ok(_) => None,
    };
    assert_eq!(fault(with(0, end(0) - 1)), Some(Fault::TreeTruncated));
    assert_eq!(fault(with(0, end(0) + 1)), Some(Fault::TreeTrailing));
}

/// The bound over an l2 ball holds at points of the ball, and a corner of its box may move an output more.
#[test]
fn balls_are_branched_soundly() {
    let (folder, problem) = shallow(4, true);
    let radius = Rational::parse("1/2").expect("a number");
    let set = PerturbationSet { shape: Perturbation::L2 { radius }, units: Units::Normalised };
    let certified = certify_directory(folder.path(), &[Family::Branch], &set, &key(1)).expect("certified");
    let found = changes(&problem, &set, Family::Branch, certified.witness.as_deref()).expect("accepted");
    for (network, of_mask) in networks(&problem).iter().zip(&found) {
        for (row, (bound, _)) in problem.states.chunks(2).zip(of_mask) {
            let clean = network.forward(row);
            let mut most = vec![0.0f64; clean.len()];
            for step in 0..20_000 {
                let angle = f64::from(step) * 0.001;
                let length = 0.5 * f64::from(step % 20 + 1) / 20.0;
                let outputs =
                    network.forward(&[row[0] + length * angle.cos(), row[1] + length * angle.sin()]);
                for ((m, a), c) in most.iter_mut().zip(&outputs).zip(&clean) {
                    *m = m.max((a - c).abs());
                }
            }
            let (corner, _) = exact_change(network, row, 0.5);
            for ((m, b), c) in most.iter().zip(bound).zip(&corner) {
                assert!(*m <= b + 1e-9 && *b <= 1.01 * c, "{m} {b} {c}");
            }
        }
    }
}

#[test]
fn the_trees_do_not_depend_on_the_number_of_threads() {
    let (folder, _problem) = shallow(5, true);
    let set = linf("1/2");
    let files = [1, 2, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let certify = || certify_directory(folder.path(), &[Family::Branch], &set, &key(1));
        pool.install(certify).expect("certified").witness.expect("a witness")
    });
    assert!(files.iter().all(|f| *f == files[0]));
}

/// `relu(x - y)` at (0, 1) with radius 1/4 is 0 throughout; without the weight of y it reaches 1/4. `branch` says so: it is no
/// monotone family.
#[test]
fn a_step_that_loosens_is_said() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let tensor = |shape, values: &[f32]| TensorData::from_f32(shape, values);
    let layers = vec![
        LayerData {
            fixed: false,
            weight: tensor(vec![1, 2], &[1.0, -1.0]),
            bias: tensor(vec![1], &[0.0]),
            activation: ActivationSpec::Relu,
        },
        LayerData {
            fixed: false,
            weight: tensor(vec![1, 1], &[1.0]),
            bias: tensor(vec![1], &[0.0]),
            activation: ActivationSpec::Identity,
        },
    ];
    let policy = PolicyData { layers, head: HeadData::Deterministic, normaliser: None, source: None };
    write_policy_dir(&folder.path().join("policy"), &policy).expect("policy written");
    write_npy(&folder.path().join("states.npy"), 1, 2, &[0.0, 1.0]).expect("states written");
    let table = |kept: [bool; 2]| {
        let tables = vec![
            MaskTable { fixed: false, rows: 1, columns: 2, kept: kept.to_vec() },
            MaskTable { fixed: false, rows: 1, columns: 1, kept: vec![true] },
        ];
        MaskData::with_own_sparsity(tables)
    };
    let masks = [table([true, true]), table([true, false])];
    write_mask_chain(&folder.path().join("masks"), &masks, &problem::origin()).expect("masks written");
    let certified =
        certify_directory(folder.path(), &[Family::Branch], &linf("1/4"), &key(1)).expect("certified");
    let certificate = certified.verified.certificate();
    assert_eq!(certificate.claims.iter().map(|c| c.values[0].as_str()).collect::<Vec<_>>(), ["0", "0.25"]);
    let verdict = &certificate.verdicts[0];
    assert_eq!((verdict.family.as_str(), verdict.verdict.as_str()), ("branch", "loosened"));
    assert!(certificate.limits.iter().any(|l| l.starts_with("pruning: ") && l.contains(" branch,")));
}

/// The program takes the budget from its option, keeps to its range, and needs the family named.
#[test]
fn the_command_line_takes_a_budget() {
    let (folder, _problem) = shallow(6, true);
    std::fs::write(folder.path().join("k.pem"), key(1).private_pem()).expect("key written");
    let certify = |options: &[&str]| {
        let files = ["--masks", "masks", "--states", "states.npy", "--epsilon", "1/2"];
        let out = ["--key", "k.pem", "--out", "c.cert.dsse.json", "--force"];
        let mut command = secateur(folder.path());
        run(command.args(["--quiet", "certify", "policy"]).args(files).args(out).args(options))
    };
    let witness = || std::fs::read(folder.path().join("c.witness.safetensors")).expect("a witness").len();
    let branch = ["--family", "branch", "--branch-steps"];
    assert_eq!(certify(&[&branch[..], &["1"]].concat()).code, 0);
    let early = witness();
    assert_eq!(certify(&[&branch[..], &["300"]].concat()).code, 0);
    assert!(witness() > early, "more regions, more bytes");
    for wrong in ["0", "262145", "many"] {
        let refused = certify(&[&branch[..], &[wrong]].concat());
        assert!(refused.code == 2 && refused.stderr.contains("--branch-steps"), "{refused:?}");
    }
    let plain = certify(&[]);
    assert_eq!(plain.code, 0, "{plain:?}");
    let file = std::fs::read(folder.path().join("c.witness.safetensors")).expect("a witness");
    assert!(!file.windows(9).any(|w| w == b"branch.0\""), "on demand only");
}

/// Random points of the ball never move an output of a tanh network (input cuts and tangents) more than its bound.
#[test]
fn smooth_networks_are_branched_soundly() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec { gaussian: false, ..Spec::small(21) });
    let set = linf("1/4");
    let families = [Family::Crown, Family::Branch];
    let certified = certify_directory(folder.path(), &families, &set, &key(1)).expect("certified");
    let witness = certified.witness.as_deref();
    let found = changes(&problem, &set, Family::Branch, witness).expect("accepted");
    let crown = changes(&problem, &set, Family::Crown, witness).expect("accepted");
    let total = |c: &Changes| c.iter().flatten().flat_map(|(d, _)| d).sum::<f64>();
    assert!(total(&found) < 0.99 * total(&crown), "{} {}", total(&found), total(&crown));
    let mut random = Random(3);
    for (network, of_mask) in networks(&problem).iter().zip(&found) {
        for (row, (bound, oscillation)) in problem.states.chunks(3).zip(of_mask) {
            let clean = network.forward(row);
            for _ in 0..4000 {
                let moved: Vec<f64> =
                    row.iter().map(|x| x + 0.25 * f64::from(random.weight()).clamp(-1.0, 1.0)).collect();
                let change: Vec<f64> =
                    network.forward(&moved).iter().zip(&clean).map(|(a, b)| a - b).collect();
                assert!(change.iter().zip(bound).all(|(c, b)| c.abs() <= b + 1e-9));
                assert!((change[0] - change[1]).abs() <= oscillation + 1e-9);
            }
        }
    }
}
