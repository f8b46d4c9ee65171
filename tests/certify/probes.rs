//! Whatever a searched witness proves holds: no exact evaluation within the perturbation set crosses a bound of the families
//! that carry one, nor of those for binary32. The families without a witness: `checker/tests/soundness/`.

use std::collections::BTreeMap;

use secateur::certify::witness::{Wanted, WitnessError, propose_witness};
use secateur::progress::Silent;
use secateur::search::lp::LpError;
use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::Family;
use secateur_checker::kernel::float32::check_binary32;
use secateur_checker::local::LocalProblem;
use secateur_checker::model::Perturbation;
use secateur_checker::number::Rational;
use secateur_checker::table::FamilyTable;
use secateur_testkit::case::{Case, case, r};
use secateur_testkit::oracle::fixed::{Trace, change, read, trace};
use secateur_testkit::oracle::probe::check_point;
use secateur_testkit::random::Random;

const FAMILIES: [Family; 7] = [
    Family::NormAbsSpectral,
    Family::Spectral,
    Family::CrownOptimised,
    Family::Branch,
    Family::Lp,
    Family::Binary32Ibp,
    Family::Binary32Crown,
];

const RADII: [&str; 4] = ["0", "1e-6", "1e-5", "0.05"];

/// Regions bounded for each tree.
const BRANCH_STEPS: u64 = 15;

/// A random case with this radius everywhere.
fn case_of(random: &mut Random, radius: &str) -> Case {
    let mut case = case(random);
    let inputs = case.policy.network.inputs();
    case.set.shape = match case.set.shape {
        Perturbation::Linf { .. } => Perturbation::Linf { radius: r(radius) },
        Perturbation::L2 { .. } => Perturbation::L2 { radius: r(radius) },
        Perturbation::PerCoordinate { .. } => Perturbation::PerCoordinate { radii: vec![r(radius); inputs] },
        Perturbation::Sensor(mut set) => {
            set.radii = vec![r(radius); inputs];
            set.shared.iter_mut().for_each(|offset| offset.radius = r(radius));
            Perturbation::Sensor(set)
        }
    };
    case
}

/// The families that exist for a case: binary32 families need such weights, `lp` has no relaxation of some activations.
fn tables(case: &Case, label: &str) -> Vec<FamilyTable> {
    let problem = Problem {
        policy: &case.policy,
        masks: &case.masks,
        states: &case.states,
        perturbation: &case.set,
        witness: None,
    };
    let mut families = FAMILIES.to_vec();
    if check_binary32(&case.policy.network).is_err() {
        families.retain(|f| !f.is_float32());
    }
    let local = LocalProblem::new(&case.policy, &case.masks, &case.states, &case.set).expect("a grid");
    let wanted = Wanted { branch_steps: BRANCH_STEPS, regions: &[], points: false, radii: &[], slopes: None };
    let witness = match propose_witness(&problem, &local, &families, &wanted, &Silent) {
        Err(WitnessError::Lp(LpError::Activation { .. })) => {
            families.retain(|f| *f != Family::Lp);
            propose_witness(&problem, &local, &families, &wanted, &Silent)
        }
        found => found,
    };
    let witness = witness.unwrap_or_else(|e| panic!("{label}: {e}"));
    let problem = Problem { witness: Some(&witness), ..problem };
    evaluate(&problem, &families, &mut |_, _| {}).unwrap_or_else(|e| panic!("{label}: {e}"))
}

/// Probes of each family, of each radius, and in all.
#[derive(Default)]
struct Count {
    families: BTreeMap<String, usize>,
    radii: BTreeMap<&'static str, usize>,
    probes: usize,
}

fn probe_many(seeds: std::ops::Range<u64>, points: usize) -> Count {
    let mut count = Count::default();
    for (seed, radius) in seeds.zip(RADII.into_iter().cycle()) {
        let (mut random, label) = (Random(seed), format!("seed {seed}"));
        let case = case_of(&mut random, radius);
        let tables = tables(&case, &label);
        let here = read(&case, &vec![Rational::zero(); case.policy.network.inputs()]);
        let clean: Vec<Trace> = case.masks.iter().map(|m| trace(&case.policy.network, m, &here)).collect();
        for _ in 0..points {
            let point = read(&case, &change(&mut random, &case));
            check_point(&case, &tables, &clean, &point, &label);
        }
        for table in &tables {
            *count.families.entry(table.family.name()).or_default() += points;
        }
        *count.radii.entry(radius).or_default() += points;
        count.probes += points;
    }
    println!("{} probes; {:?}; {:?}", count.probes, count.radii, count.families);
    count
}

#[test]
fn exact_evaluation_never_crosses_a_searched_bound() {
    let count = probe_many(0..40, 12);
    assert_eq!(count.probes, 480);
    for family in FAMILIES {
        let probes = count.families.get(&family.name()).copied().unwrap_or(0);
        assert!(probes >= 60, "{}: {probes}", family.name());
    }
    assert!(RADII.iter().all(|radius| count.radii[radius] == 120));
}

/// Run with `cargo test --release --test certify probes -- --ignored --nocapture`.
#[test]
#[ignore = "a million probes take several minutes"]
fn a_million_probes_of_searched_bounds() {
    assert_eq!(probe_many(1_000_000..1_020_000, 50).probes, 1_000_000);
}
