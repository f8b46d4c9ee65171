//! What the search finds lies in the ball exactly, under every shape, unit, normaliser and head; and what it shows from
//! below is never above what any family shows from above for the same mask and state.

use secateur::policy::ActivationSpec;
use secateur::policy::emit::emit_safetensors;
use secateur::search::counterexample::PointSearch;
use secateur_checker::claim::point::{PointProblem, PointTable};
use secateur_checker::evaluate::{Problem, evaluate};
use secateur_checker::family::Family;
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::load::{load_masks, load_policy, load_states};
use secateur_checker::model::{
    Head, InputLimit, Perturbation, PerturbationSet, Policy, SensorSet, SharedOffset, States, Units,
};
use secateur_checker::number::Rational;
use secateur_checker::table::Quantity;
use secateur_testkit::case::base;
use secateur_testkit::problem::{Problem as Files, Spec, linf, rational};
use secateur_testkit::random::Random;

const FAMILIES: [Family; 5] =
    [Family::Sensitivity, Family::NormFrobenius, Family::Ibp, Family::Crown, Family::ChainHull];

struct Case {
    set: PerturbationSet,
    state_units: Units,
    spec: Spec,
    deterministic: bool,
}

/// Noise, none of it in one input, and an offset that the first two share.
fn sensor(radius: Rational) -> Perturbation {
    let shared = vec![SharedOffset { radius: rational("0.1"), inputs: vec![0, 1] }];
    let radii = vec![radius, Rational::zero(), rational("0.07")];
    Perturbation::Sensor(SensorSet { radii, shared, limits: Vec::new() })
}

/// Limits that stop the first and the last input at some states, of which all are within them.
fn limit(set: &mut PerturbationSet, policy: &Policy, states: &States) {
    let Perturbation::Sensor(sensor) = &mut set.shape else { return };
    let rows = states.values.values.chunks(states.values.columns).map(|row| {
        let row: Vec<Rational> = row.iter().map(|x| x.to_rational()).collect();
        base(policy, &row, states.units, set.units)
    });
    let rows: Vec<Vec<Rational>> = rows.collect();
    for (input, room) in [(0, "1/30"), (2, "0")] {
        let values = || rows.iter().map(|row| row[input].clone());
        let (least, most) = (values().min().expect("a state"), values().max().expect("a state"));
        let (lower, upper) = (least.sub(&rational(room)), most.add(&rational("1/50")));
        sensor.limits.push(InputLimit { input, lower, upper });
    }
}

/// Radii that are and are not binary64 numbers, down to 0.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, radius) in ["1/20", "1/3", "1/1024", "1e-30", "0"].into_iter().enumerate() {
        for kind in 0..4 {
            let radius = rational(radius);
            let shape = match kind {
                0 => Perturbation::Linf { radius },
                1 => Perturbation::L2 { radius },
                2 => sensor(radius),
                _ => Perturbation::PerCoordinate { radii: vec![radius, Rational::zero(), rational("0.07")] },
            };
            for (units, state_units) in [
                (Units::Normalised, Units::Normalised),
                (Units::Normalised, Units::Raw),
                (Units::Raw, Units::Raw),
                (Units::Raw, Units::Normalised),
            ] {
                let number = cases.len();
                let activation = match number % 4 {
                    0 | 2 => ActivationSpec::Relu,
                    1 => ActivationSpec::Tanh,
                    _ if number % 8 == 3 => ActivationSpec::Silu,
                    _ => ActivationSpec::Elu("1/2".to_owned()),
                };
                let spec = Spec {
                    activation,
                    gaussian: number % 3 != 1,
                    normaliser: (number + index) % 2 == 0,
                    masks: 2,
                    ..Spec::small(number as u64)
                };
                let set = PerturbationSet { shape: shape.clone(), units };
                cases.push(Case { set, state_units, spec, deterministic: number % 5 == 4 });
            }
        }
    }
    cases
}

fn witness(tables: &[Vec<u8>], shape: &[usize]) -> Vec<u8> {
    let named = tables.iter().enumerate();
    emit_safetensors(
        &named.map(|(mask, bytes)| (format!("counterexample.{mask}"), ("F64", shape, &bytes[..]))).collect(),
    )
}

fn bytes(offsets: impl Iterator<Item = Vec<f64>>) -> Vec<u8> {
    offsets.flatten().flat_map(f64::to_le_bytes).collect()
}

/// The lower bounds of these points; panics if one is refused.
fn table(problem: &Problem<'_>) -> PointTable {
    let points = PointProblem::new(problem).expect("points");
    let states = (0..points.states()).map(|s| points.evaluate_state(s).expect("a point of the ball"));
    PointTable { states: states.collect() }
}

/// Number of comparisons, and how many lower bounds were above 0.
fn compare(problem: &Problem<'_>, policy: &Policy, points: &PointTable) -> (usize, usize) {
    let tables = evaluate(problem, &FAMILIES, &mut |_, _| {}).expect("bounds");
    let head = HeadBounds::new(&policy.head).expect("a head");
    let (mut compared, mut positive) = (0, 0);
    for mask in 0..problem.masks.len() {
        let mut cells: Vec<_> = (0..2).map(|o| (Quantity::ActionDeviation, Some(o))).collect();
        if head.is_distribution() {
            cells.push((Quantity::TotalVariation, None));
        }
        for (quantity, output) in cells {
            let lower = points.values(quantity, mask, output).expect("from below");
            positive += lower.iter().filter(|l| l.is_positive()).count();
            for family in &tables {
                let upper = family.values(&head, quantity, mask, output).expect("from above");
                for (state, lower) in lower.iter().enumerate() {
                    let upper = &upper[if upper.len() == 1 { 0 } else { state }];
                    assert!(
                        lower <= upper,
                        "{} {quantity:?} mask {mask} state {state}",
                        family.family.name()
                    );
                    compared += 1;
                }
            }
        }
    }
    (compared, positive)
}

#[test]
fn points_are_inside_and_never_above_a_bound() {
    let (mut compared, mut positive) = (0, 0);
    for mut case in cases() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let files = Files::write(folder.path(), &case.spec);
        let mut policy = load_policy(&files.policy_dir()).expect("a policy");
        if case.deterministic {
            policy.files.policy.head = Head::Deterministic;
        }
        let masks = load_masks(&files.masks_dir(), &policy.files).expect("masks");
        let (states, _) = load_states(&files.states_file(), case.state_units).expect("states");
        let policy = &policy.files.policy;
        limit(&mut case.set, policy, &states);
        let mut problem =
            Problem { policy, masks: &masks.masks, states: &states, perturbation: &case.set, witness: None };
        let found: Vec<Vec<u8>> = (0..masks.masks.len())
            .map(|mask| {
                let search = PointSearch::new(&problem, mask).expect("floats");
                bytes((0..states.values.rows).map(|s| search.search(s)))
            })
            .collect();
        let file = witness(&found, &[states.values.rows, 3]);
        problem.witness = Some(&file);
        let (some, more) = compare(&problem, policy, &table(&problem));
        (compared, positive) = (compared + some, positive + more);
    }
    assert!(compared > 3000 && positive > 200, "{compared} compared, {positive} above 0");
}

/// Random points of a box, not only those of the search: corners, edges and the inside.
#[test]
fn random_points_are_never_above_a_bound() {
    let mut random = Random(77);
    for seed in 0..8 {
        let folder = tempfile::tempdir().expect("temporary folder");
        let spec = Spec { gaussian: seed % 2 == 0, masks: 1, states: 6, ..Spec::small(900 + seed) };
        let files = Files::write(folder.path(), &spec);
        let policy = load_policy(&files.policy_dir()).expect("a policy");
        let masks = load_masks(&files.masks_dir(), &policy.files).expect("masks");
        let (states, _) = load_states(&files.states_file(), Units::Normalised).expect("states");
        let policy = &policy.files.policy;
        let set = linf("1/8");
        let offsets = (0..states.values.rows)
            .map(|_| (0..3).map(|_| (random.below(17) as f64 - 8.0) / 64.0).collect::<Vec<f64>>());
        let file = witness(&[bytes(offsets)], &[states.values.rows, 3]);
        let problem = Problem {
            policy,
            masks: &masks.masks,
            states: &states,
            perturbation: &set,
            witness: Some(&file),
        };
        compare(&problem, policy, &table(&problem));
    }
}

/// On a linear network every corner is tried, so that the bracket closes: lower and upper end differ by rounding alone.
#[test]
fn a_linear_network_has_a_closed_bracket() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let files = Files::write(folder.path(), &Spec { widths: vec![3, 1], masks: 1, ..Spec::linear(5) });
    let policy = load_policy(&files.policy_dir()).expect("a policy");
    let masks = load_masks(&files.masks_dir(), &policy.files).expect("masks");
    let (states, _) = load_states(&files.states_file(), Units::Normalised).expect("states");
    let mut policy = policy.files.policy;
    policy.head = Head::Deterministic;
    let set = linf("1/3");
    let mut problem =
        Problem { policy: &policy, masks: &masks.masks, states: &states, perturbation: &set, witness: None };
    let search = PointSearch::new(&problem, 0).expect("floats");
    let offsets = bytes((0..states.values.rows).map(|s| search.search(s)));
    let file = witness(&[offsets], &[states.values.rows, 3]);
    problem.witness = Some(&file);
    let lower = table(&problem).values(Quantity::ActionDeviation, 0, Some(0)).expect("from below");
    let tables = evaluate(&problem, &[Family::Crown], &mut |_, _| {}).expect("bounds");
    let head = HeadBounds::new(&policy.head).expect("a head");
    let upper = tables[0].values(&head, Quantity::ActionDeviation, 0, Some(0)).expect("from above");
    for (lower, upper) in lower.iter().zip(&upper) {
        assert!(
            lower.is_positive() && lower <= upper && upper.sub(lower) < rational("1e-12"),
            "{lower} {upper}"
        );
    }
}
