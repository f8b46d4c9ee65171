//! Values that were evaluated just now are taken for those of their own problem, and of no other.

use secateur_checker::evaluate::{Evaluated, Evaluation, Problem};
use secateur_checker::family::Family;
use secateur_checker::kernel::fault::Fault;
use secateur_checker::model::{Head, Mask, Perturbation, PerturbationSet, Policy, States};
use secateur_checker::number::Dyadic;
use secateur_checker::rejection::Reason;

use crate::case::{Case, Said, r};

const FAMILIES: [Family; 3] = [Family::Sensitivity, Family::Ibp, Family::PrunedDeviation];

/// A part and how it is bent.
type Bend = (&'static str, fn(&mut Parts));

/// The case's parts, to be bent one at a time.
struct Parts {
    policy: Policy,
    masks: Vec<Mask>,
    states: States,
    set: PerturbationSet,
    families: Vec<Family>,
    witness: Option<Vec<u8>>,
}

impl Parts {
    fn of(case: &Case) -> Self {
        Self {
            policy: case.policy.clone(),
            masks: vec![case.mask.clone()],
            states: case.states.clone(),
            set: case.set.clone(),
            families: FAMILIES.to_vec(),
            witness: None,
        }
    }

    fn evaluated(&self) -> Evaluated<'_> {
        let Self { policy, masks, states, set: perturbation, witness, .. } = self;
        let problem = Problem { policy, masks, states, perturbation, witness: witness.as_deref() };
        Evaluation::new(&problem, &self.families).unwrap().finish().unwrap()
    }
}

/// How often the check said that it evaluated a state, and what it made of the case.
fn check(case: &Case, known: Option<Evaluated<'_>>) -> (usize, Result<(), Reason>) {
    let mut evaluated = 0;
    let found = case.check_known(&Said::default(), &case.states, known, &mut |_, _| evaluated += 1);
    (evaluated, found.map(|_| ()).map_err(|rejection| rejection.reason))
}

#[test]
fn values_of_the_same_problem_are_taken() {
    let case = Case::categorical();
    let parts = Parts::of(&case);
    assert_eq!(check(&case, Some(parts.evaluated())), (0, Ok(())));
    let (evaluated, found) = check(&case, None);
    assert!(evaluated > 0 && found == Ok(()), "{evaluated} {found:?}");
}

#[test]
fn values_of_anything_else_are_not() {
    let case = Case::categorical();
    let bends: [Bend; 8] = [
        ("a bias", |p| p.policy.network.layers[0].bias[0] = Dyadic::new(1, -9)),
        ("the head", |p| p.policy.head = Head::Deterministic),
        ("a mask", |p| p.masks[0].layers[0][3] = false),
        ("a state", |p| p.states.values.values[1] = Dyadic::new(9, 0)),
        ("fewer states", |p| p.states.keep_first(2)),
        ("the radius", |p| p.set.shape = Perturbation::Linf { radius: r("1/16") }),
        ("the families", |p| p.families.truncate(2)),
        // Nobody reads it here; all the same it is another problem.
        ("a witness", |p| p.witness = Some(b"another".to_vec())),
    ];
    for (what, bend) in bends {
        let mut parts = Parts::of(&case);
        bend(&mut parts);
        let (evaluated, found) = check(&case, Some(parts.evaluated()));
        assert!(evaluated > 0 && found == Ok(()), "{what}: {evaluated} {found:?}");
    }
}

/// A certificate that states the values of half the radius is refused, whoever brings them along.
#[test]
fn a_smaller_set_proves_nothing() {
    let mut case = Case::categorical();
    let mut parts = Parts::of(&case);
    parts.set.shape = Perturbation::Linf { radius: r("1/16") };
    case.tables = parts.evaluated().tables().to_vec();
    let (_, found) = check(&case, Some(parts.evaluated()));
    assert!(matches!(found, Err(Reason::TooTight { .. })), "{found:?}");
}

/// Any order of the states, and any left out, end in the same tables; there is no state behind the last.
#[test]
fn states_are_evaluated_in_any_order() {
    let case = Case::categorical();
    let parts = Parts::of(&case);
    let Parts { policy, masks, states, set: perturbation, .. } = &parts;
    let problem = Problem { policy, masks, states, perturbation, witness: None };
    for order in [&[][..], &[2, 0, 1], &[1, 1]] {
        let evaluation = Evaluation::new(&problem, &FAMILIES).unwrap();
        assert!(order.iter().all(|state| evaluation.state(*state).is_ok()));
        assert_eq!(evaluation.state(3), Err(Fault::ShapeMismatch { layer: 0 }));
        assert_eq!(evaluation.finish().unwrap().tables(), case.tables);
    }
}
