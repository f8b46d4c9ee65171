//! Families whose slopes come from the witness file: certified, no wider than the derived slopes, sound whatever the
//! bytes are, and refused when the table is missing or of another shape.

use secateur::policy::ActivationSpec;
use secateur_checker::family::Family;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::load::{load_masks, load_policy};
use secateur_checker::number::Rational;
use secateur_checker::rejection::Reason;
use secateur_testkit::problem::{Problem, Spec, certify_directory, key, linf};
use secateur_testkit::random::Random;

/// Deviations of `family` with the witness's bytes as given: mask, state, output.
fn deviations(
    problem: &Problem,
    family: Family,
    witness: Option<&[u8]>,
) -> Result<Vec<Vec<Vec<Rational>>>, Reason> {
    let table = problem.table(&linf("1/20"), family, witness)?;
    let values = table.masks.iter().map(|m| m.changes.iter().map(|c| c.deviation.clone()).collect());
    Ok(values.collect())
}

fn written(activation: ActivationSpec, seed: u64) -> (tempfile::TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), &Spec { activation, ..Spec::small(seed) });
    (folder, problem)
}

#[test]
fn optimised_slopes_are_certified_and_no_wider_on_the_whole() {
    for (activation, families) in [
        (ActivationSpec::Tanh, vec![Family::Crown, Family::CrownOptimised]),
        (ActivationSpec::Relu, vec![Family::Crown, Family::CrownOptimised, Family::Lp]),
        (ActivationSpec::Elu("1".to_owned()), vec![Family::Crown, Family::CrownOptimised]),
        (ActivationSpec::Elu("1/3".to_owned()), vec![Family::Crown, Family::CrownOptimised]),
        (ActivationSpec::Silu, vec![Family::Crown, Family::CrownOptimised]),
    ] {
        let (_folder, problem) = written(activation, 11);
        let certified = problem.certify(&families, &key(1));
        let totals: Vec<Rational> = certified
            .verified
            .tables()
            .iter()
            .map(|t| {
                let all = t.masks.iter().flat_map(|m| &m.changes).flat_map(|c| &c.deviation);
                all.fold(Rational::zero(), |sum, d| sum.add(d))
            })
            .collect();
        // Small ReLU networks may have no neuron whose sign is open, and then nothing to gain.
        let gained = |t: &Rational| if families.len() == 2 { *t < totals[0] } else { *t <= totals[0] };
        assert!(totals[1..].iter().all(gained), "{totals:?}");
    }
}

/// Slopes that no witness file can hold are refused before they are searched, which would take minutes here.
#[test]
fn slopes_that_fit_no_file_are_not_searched() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let spec = Spec {
        widths: vec![2, 256, 256, 2],
        activation: ActivationSpec::Silu,
        masks: 2,
        states: 94,
        ..Spec::small(12)
    };
    let problem = Problem::write(folder.path(), &spec);
    // 256 rows of 256 neurons and 2 of 512, two sides, two slopes of two bytes: 532,480 bytes a state and mask.
    let certified = certify_directory(&problem.root, &[Family::CrownOptimised], &linf("1/20"), &key(1));
    let error = certified.err().expect("too many").to_string();
    assert!(error.contains("take 100106240 bytes") && error.contains("at most 187 pairs"), "{error}");
}

/// With random bytes for slopes no vertex of the ball moves an output by more than its bound (1e-9 pays for evaluating in
/// floats).
#[test]
fn any_bytes_give_a_true_bound() {
    for activation in [ActivationSpec::Relu, ActivationSpec::Elu("1/3".to_owned()), ActivationSpec::Silu] {
        any_bytes_are_true_of(activation);
    }
}

fn any_bytes_are_true_of(activation: ActivationSpec) {
    let (_folder, problem) = written(activation, 12);
    let certified = problem.certify(&[Family::CrownOptimised], &key(1));
    let good = certified.witness.clone().expect("a witness");
    let mut random = Random(5);
    let policy = load_policy(&problem.policy_dir()).expect("a policy").files.policy;
    let masks =
        load_masks(&problem.masks_dir(), &load_policy(&problem.policy_dir()).expect("a policy").files);
    let masks = masks.expect("masks").masks;
    let start = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    for _ in 0..6 {
        let mut bytes = good.clone();
        bytes[start..].iter_mut().for_each(|b| *b = random.bits() as u8);
        let bounds =
            deviations(&problem, Family::CrownOptimised, Some(&bytes)).expect("any slopes are accepted");
        for (mask, per_state) in masks.iter().zip(&bounds) {
            for (row, bound) in problem.states.chunks(3).zip(per_state) {
                for corner in 0..8u32 {
                    let moved: Vec<f64> = row
                        .iter()
                        .enumerate()
                        .map(|(i, x)| if corner >> i & 1 == 1 { x + 0.05 } else { x - 0.05 })
                        .collect();
                    let network = secateur::float::FloatNetwork::from_model(&policy.network, Some(mask))
                        .expect("floats");
                    for ((a, b), bound) in network.forward(row).iter().zip(network.forward(&moved)).zip(bound)
                    {
                        let change =
                            Rational::parse(&format!("{:.15}", (a - b).abs() - 1e-9)).expect("a decimal");
                        assert!(change <= *bound, "{change} above {bound}");
                    }
                }
            }
        }
    }
}

#[test]
fn missing_and_misshapen_tables_are_refused() {
    let (_folder, problem) = written(ActivationSpec::Tanh, 13);
    let missing = |result: Result<_, Reason>| {
        result.is_err_and(|e| e.fault() == Some(&Fault::SlopesMissing { mask: 0 }))
    };
    assert!(missing(deviations(&problem, Family::CrownOptimised, None)));
    let garbage = deviations(&problem, Family::CrownOptimised, Some(b"no safetensors"));
    assert!(matches!(garbage, Err(Reason::WitnessFile { .. })), "{garbage:?}");
    let norms = problem.certify(&[Family::NormAbsSpectral], &key(1)).witness.expect("a witness");
    assert!(missing(deviations(&problem, Family::CrownOptimised, Some(&norms))));
    let (_other, wider) = written(ActivationSpec::Relu, 13);
    let relu = wider.certify(&[Family::CrownOptimised], &key(1)).witness.expect("a witness");
    assert!(missing(deviations(&problem, Family::CrownOptimised, Some(&relu))), "a ReLU table is shorter");
}
