//! Radii end to end: what is searched, claimed and checked, against closed forms and against its own neighbours.

use secateur::certify::radius::{RadiusError, RadiusGoal, RadiusRequest, reached_cap};
use secateur::certify::{Certified, CertifyError, Request, certify};
use secateur::policy::ActivationSpec;
use secateur::progress::{Progress, Silent};
use secateur_checker::family::{BandEnd, Family};
use secateur_checker::kernel::fault::Fault;
use secateur_checker::load::{MaskDirectory, PolicyDirectory, load_masks, load_policy, load_states};
use secateur_checker::model::{Perturbation, PerturbationSet, States, Units};
use secateur_checker::number::{Dyadic, Rational, Rounding, claim_decimal};
use secateur_checker::radii::steps;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::radius::RadiusClaim;
use secateur_checker::rejection::Reason;
use secateur_testkit::problem::{self, Problem, Spec, WITNESS, key, linf, rational, write_trust};

fn goal(text: &str) -> RadiusGoal {
    RadiusGoal::parse(text).expect(text)
}

fn asked(goals: &[&str], families: &[Family]) -> RadiusRequest {
    let goals = goals.iter().map(|text| goal(text)).collect();
    RadiusRequest { goals, families: families.to_vec(), ..RadiusRequest::default() }
}

fn certified(
    problem: &Problem,
    set: &PerturbationSet,
    radii: &RadiusRequest,
    progress: &dyn Progress,
) -> Result<Certified, CertifyError> {
    certified_of(problem, set, radii, progress, |_| ())
}

/// What is certified, as loaded.
struct Loaded {
    policy: PolicyDirectory,
    masks: MaskDirectory,
    states: States,
    branch_steps: u64,
}

/// After a change of what was loaded.
fn certified_of(
    problem: &Problem,
    set: &PerturbationSet,
    radii: &RadiusRequest,
    progress: &dyn Progress,
    change: impl FnOnce(&mut Loaded),
) -> Result<Certified, CertifyError> {
    let policy = load_policy(&problem.policy_dir()).expect("a policy");
    let masks = load_masks(&problem.masks_dir(), &policy.files).expect("masks");
    let (states, bytes) = load_states(&problem.states_file(), Units::Normalised).expect("states");
    let mut loaded = Loaded { policy, masks, states, branch_steps: 20 };
    change(&mut loaded);
    let Loaded { policy, masks, states, branch_steps } = loaded;
    let families = [Family::Sensitivity];
    let plain = problem::request(&policy, &masks, (&states, &bytes), set, &families);
    certify(&Request { radii, branch_steps, witness_name: WITNESS, ..plain }, &key(1), progress)
}

fn written(spec: &Spec) -> (tempfile::TempDir, Problem) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let problem = Problem::write(folder.path(), spec);
    (folder, problem)
}

fn radii(certified: &Certified) -> Vec<RadiusClaim> {
    certified.verified.certificate().radius.clone()
}

/// One unit more or less in the last of three digits.
fn next(multiple: &Rational, by: i64) -> Rational {
    let text = claim_decimal(multiple, Rounding::Down);
    // Three digits, whatever zeros the decimal leaves out.
    let value = rational(&text);
    let mut unit = rational("1e-8");
    while unit.mul(&rational("1000")) <= value {
        unit = unit.mul(&rational("10"));
    }
    let unit =
        if by < 0 && value == unit.mul(&rational("100")) { unit.div(&rational("10")).unwrap() } else { unit };
    value.add(&unit.mul(&Rational::from_integer(by.into())))
}

/// Why the checker refuses the certificate on disk after a change; `None` if it accepts it.
fn refusal(problem: &Problem, change: impl FnOnce(&mut Certificate)) -> Option<Reason> {
    let kept = problem.read_envelope();
    problem.resign(&key(1), change);
    let outcome = problem.check();
    problem.write_envelope(&kept);
    match outcome {
        Ok(_) => None,
        Err(secateur_checker::load::Failure::Rejected(rejection)) => Some(rejection.reason),
        Err(other) => panic!("{other}"),
    }
}

/// On a linear network an output changes by at most its row of the product, times the radius: the largest multiple that keeps a
/// limit is known exactly, and a corner breaks the next.
#[test]
fn linear_radii_are_the_closed_form() {
    let spec = Spec { widths: vec![3, 4, 2], masks: 1, states: 2, ..Spec::linear(5) };
    let (_folder, problem) = written(&spec);
    let policy = load_policy(&problem.policy_dir()).expect("a policy").files.policy;
    let [first, second] = policy.network.layers.as_slice() else { panic!("two layers") };
    let weight = |layer: &secateur_checker::model::Layer, row: usize, column: usize| {
        layer.weight.values[row * layer.weight.columns + column].to_rational()
    };
    let row = |output: usize| {
        let entry = |input: usize| {
            let terms =
                (0..4).map(|hidden| weight(second, output, hidden).mul(&weight(first, hidden, input)));
            terms.fold(Rational::zero(), |sum, term| sum.add(&term)).abs()
        };
        (0..3).map(entry).fold(Rational::zero(), |sum, entry| sum.add(&entry))
    };
    let most = row(0).max(row(1)).mul(&rational("1/20"));
    let exact = rational("1/8").div(&most).expect("a positive row");
    let found = certified(&problem, &linf("1/20"), &asked(&["deviation=1/8"], &[Family::Crown]), &Silent);
    let [claim] = &radii(&found.expect("certified"))[..] else { panic!("one entry") };
    for (proved, broken) in claim.proved.iter().zip(&claim.broken) {
        let broken = broken.as_ref().expect("a corner breaks it");
        assert!(*proved <= exact && exact < next(proved, 1), "{proved} {exact}");
        assert!(*broken > exact && next(broken, -1) <= exact, "{broken} {exact}");
    }
}

/// Every family: a multiple is the largest of three digits that the checker accepts with that witness, and what breaks it is on
/// the edge of its set.
#[test]
fn multiples_are_those_that_the_checker_accepts_and_no_better() {
    let families = [
        Family::Ibp,
        Family::Crown,
        Family::CrownOptimised,
        Family::CrownQuadratic,
        Family::Branch,
        Family::ChainHull,
        Family::EnvelopeCrown,
        Family::Binary32Crown,
        Family::Band(BandEnd::Mask(1)),
        Family::BandCrown(BandEnd::Zero),
    ];
    for (gaussian, goals) in
        [(true, &["deviation=0.2", "tv=0.1", "kl=0.05"][..]), (false, &["same-action"][..])]
    {
        let spec = Spec {
            widths: vec![2, 5, 2],
            activation: ActivationSpec::Relu,
            gaussian,
            normaliser: true,
            masks: 2,
            states: 2,
            ..Spec::small(12)
        };
        let (folder, problem) = written(&spec);
        let found = certified(&problem, &linf("1/20"), &asked(goals, &families), &Silent).expect("certified");
        found.write(&problem.certificate_file(), WITNESS).expect("written");
        write_trust(folder.path(), &key(1));
        assert_eq!(refusal(&problem, |_| {}), None);
        let claims = radii(&found);
        assert_eq!(claims.len(), goals.len() * families.len() * 2);
        let mut proved_somewhere = 0;
        for (entry, claim) in claims.iter().enumerate() {
            for state in 0..2 {
                let (proved, broken) = (&claim.proved[state], claim.broken[state].as_ref());
                let about = format!("{} {} mask {} state {state}", claim.family, claim.quantity, claim.mask);
                assert!(broken.is_none_or(|broken| broken > proved), "{about}");
                proved_somewhere += usize::from(proved.is_positive());
                let larger = |c: &mut Certificate| c.radius[entry].proved[state] = next(proved, 1);
                let searched = Family::parse(&claim.family).is_some_and(Family::is_searched);
                // Slopes and trees of one set may prove a little more than they were searched for; at 64 the search stops.
                if !searched && proved.is_positive() && *proved < rational("64") {
                    let reason = refusal(&problem, larger);
                    let raised =
                        matches!(reason, Some(Reason::RadiusTooLarge { state: at, .. }) if at == state);
                    assert!(raised, "{about}: {reason:?}");
                }
                if let Some(broken) = broken {
                    let smaller =
                        |c: &mut Certificate| c.radius[entry].broken[state] = Some(next(broken, -1));
                    let reason = refusal(&problem, smaller);
                    let outside = reason.as_ref().and_then(Reason::fault);
                    assert!(matches!(outside, Some(Fault::PointTooFar { .. })), "{about}: {reason:?}");
                }
            }
        }
        assert!(proved_somewhere * 10 > claims.len() * 2 * 9, "{proved_somewhere} of {}", claims.len() * 2);
        // Tighter families prove no less: of equal witnesses, and of the same grid's rounding, to the last digit.
        let of = |family: &str, mask: usize| {
            let named = |c: &&RadiusClaim| c.family == family && c.mask == mask;
            claims.iter().find(named).expect("claimed").proved.clone()
        };
        for mask in 0..2 {
            for (wide, tight) in [("ibp", "crown"), ("crown", "branch"), ("envelope/crown", "crown")] {
                let pairs = of(wide, mask).into_iter().zip(of(tight, mask));
                for (wide, tight) in pairs {
                    assert!(next(&tight, 1) >= wide, "mask {mask}: {wide} {tight}");
                }
            }
        }
        // Whatever is decided of the step is decided one way.
        for step in steps(&claims) {
            assert_eq!(step.larger + step.smaller + step.undecided, 2);
        }
    }
}

/// l2 balls and radii of their own per input, in raw units behind a normaliser; an input that does not move stays where it is.
#[test]
fn every_shape_of_set_is_multiplied() {
    let spec = Spec {
        widths: vec![3, 6, 2],
        activation: ActivationSpec::Tanh,
        normaliser: true,
        masks: 1,
        states: 3,
        ..Spec::small(8)
    };
    let (_folder, problem) = written(&spec);
    let radii_of =
        |radii: &[&str]| Perturbation::PerCoordinate { radii: radii.iter().map(|r| rational(r)).collect() };
    for shape in [Perturbation::L2 { radius: rational("1/20") }, radii_of(&["1/20", "0", "1/100"])] {
        for units in [Units::Raw, Units::Normalised] {
            let set = PerturbationSet { shape: shape.clone(), units };
            let found =
                certified(&problem, &set, &asked(&["tv=0.2", "deviation=0.3"], &[Family::Crown]), &Silent);
            for claim in radii(&found.unwrap_or_else(|e| panic!("{shape:?} {units:?}: {e}"))) {
                for (proved, broken) in claim.proved.iter().zip(&claim.broken) {
                    let broken =
                        broken.as_ref().unwrap_or_else(|| panic!("{shape:?} {units:?} is not broken"));
                    assert!(
                        proved.is_positive() && proved < broken,
                        "{shape:?} {units:?}: {proved} {broken}"
                    );
                    assert!(*broken < proved.mul(&rational("4")), "{shape:?} {units:?}: {proved} {broken}");
                }
            }
        }
    }
}

/// A limit that no change passes is kept as far as the search goes, and nothing breaks it; a set that is a point likewise.
#[test]
fn the_search_ends_at_its_cap() {
    let (_folder, problem) = written(&Spec { masks: 1, ..Spec::small(3) });
    let request = RadiusRequest { cap: rational("0.7"), ..asked(&["deviation=1000"], &[Family::Crown]) };
    let [claim] = &radii(&certified(&problem, &linf("1/20"), &request, &Silent).expect("certified"))[..]
    else {
        panic!("one entry")
    };
    assert_eq!((&claim.proved, &claim.broken), (&vec![rational("0.7"); 2], &vec![None; 2]));
    assert_eq!(reached_cap(claim, &request), 2);
    let still = asked(&["deviation=0.001"], &[Family::Crown]);
    let [claim] = &radii(&certified(&problem, &linf("0"), &still, &Silent).expect("certified"))[..] else {
        panic!("one entry")
    };
    assert_eq!((&claim.proved, &claim.broken), (&vec![rational("64"); 2], &vec![None; 2]));
    // Without attacks nothing is broken, and no witness is written.
    let unbroken = RadiusRequest { attack: false, ..asked(&["deviation=0.1"], &[Family::Crown]) };
    let found = certified(&problem, &linf("1/20"), &unbroken, &Silent).expect("certified");
    assert!(found.witness.is_none() && radii(&found)[0].broken.iter().all(Option::is_none));
}

#[test]
fn what_cannot_be_claimed_is_named_before_any_work() {
    let refused = |gaussian: bool, goals: &[&str], families: &[Family]| {
        let (_folder, problem) = written(&Spec { gaussian, ..Spec::small(3) });
        match certified(&problem, &linf("1/20"), &asked(goals, families), &Silent) {
            Err(CertifyError::Radius(error)) => error,
            other => panic!("{:?}", other.err()),
        }
    };
    for family in [Family::Sensitivity, Family::PrunedDeviation] {
        let error = refused(true, &["deviation=1"], &[family]);
        assert!(matches!(error, RadiusError::Family { .. }) && error.exit_code() == 2, "{error}");
    }
    let band = refused(true, &["deviation=1"], &[Family::Band(BandEnd::Mask(3))]);
    assert!(matches!(band, RadiusError::Band { last: 2, .. }), "{band}");
    let margin = refused(true, &["same-action"], &[Family::Crown]);
    assert!(matches!(margin, RadiusError::Head { quantity: "same-action-margin", .. }), "{margin}");
}

struct Stopped;

impl Progress for Stopped {
    fn advance(&self, _: &str, _: usize, _: usize) {}

    fn stopped(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_search_writes_nothing() {
    let (_folder, problem) = written(&Spec::small(3));
    let found = certified(&problem, &linf("1/20"), &asked(&["deviation=0.1"], &[Family::Crown]), &Stopped);
    let error = found.err().expect("interrupted");
    assert!(
        matches!(error, CertifyError::Radius(RadiusError::Interrupted)) && error.exit_code() == 4,
        "{error}"
    );
}

/// The same bytes whatever the threads.
#[test]
fn radii_do_not_depend_on_threads() {
    let (_folder, problem) = written(&Spec { states: 4, ..Spec::small(4) });
    let request = asked(&["deviation=0.1", "tv=0.2"], &[Family::Crown, Family::CrownOptimised]);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let found =
            pool.install(|| certified(&problem, &linf("1/20"), &request, &Silent)).expect("certified");
        (found.envelope.payload.clone(), found.witness)
    };
    assert!(run(1) == run(3));
}

/// The helper of these tests: a neighbour in the last of three digits.
#[test]
fn neighbours_by_hand() {
    for (text, up, down) in [("0.5", "0.501", "0.499"), ("1", "1.01", "0.999"), ("12.3", "12.4", "12.2")] {
        assert_eq!(
            (next(&rational(text), 1), next(&rational(text), -1)),
            (rational(up), rational(down)),
            "{text}"
        );
    }
}

/// Stops as soon as so many states of radii are searched.
struct StopAfter {
    states: usize,
    done: std::sync::atomic::AtomicUsize,
}

impl Progress for StopAfter {
    fn advance(&self, phase: &str, done: usize, _: usize) {
        if phase == "radii" {
            self.done.fetch_max(done, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn stopped(&self) -> bool {
        self.done.load(std::sync::atomic::Ordering::SeqCst) >= self.states
    }
}

/// A search that was stopped half way and gone on with ends in the bytes of one that was not, with points, slopes and trees;
/// what was kept is used, is bound to its search, and is no evidence.
#[test]
fn a_stopped_search_goes_on() {
    let (folder, problem) = written(&Spec { gaussian: false, states: 3, masks: 2, ..Spec::small(8) });
    let keep = folder.path().join("radii.json");
    let plain = asked(&["deviation=0.1"], &[Family::Crown, Family::CrownOptimised, Family::Branch]);
    let set = linf("1/20");
    let whole = certified(&problem, &set, &plain, &Silent).expect("certified");
    let request = RadiusRequest { keep: Some(keep.clone()), ..plain.clone() };
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&keep).expect("kept")).expect("JSON")
    };
    let entries = || read()["found"].as_array().expect("entries").len();
    for states in [2, 10] {
        let stop = StopAfter { states, done: Default::default() };
        let error = certified(&problem, &set, &request, &stop).err().expect("stopped");
        assert!(error.is_interrupted() && error.exit_code() == 4, "{error}");
        // Of the states under way at that time some may be finished too.
        assert!((states..18).contains(&entries()), "{}", entries());
    }
    let gone_on = certified(&problem, &set, &request, &Silent).expect("certified");
    assert_eq!((&gone_on.envelope, &gone_on.witness), (&whole.envelope, &whole.witness));
    assert_eq!(entries(), 18);
    // Nothing is searched again.
    let stop = StopAfter { states: usize::MAX, done: Default::default() };
    let again = certified(&problem, &set, &request, &stop).expect("certified");
    assert_eq!(again.envelope, whole.envelope);

    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut document = read();
        change(&mut document);
        std::fs::write(&keep, document.to_string()).expect("written");
    };
    let kept = std::fs::read(&keep).expect("kept");
    let back = || std::fs::write(&keep, &kept).expect("written");
    // A smaller multiple than was found is claimed, so the file was read; a larger one is not believed.
    change(&|document| document["found"][0]["proved"] = 1.into());
    let smaller = certified(&problem, &set, &request, &Silent).expect("certified");
    assert_eq!(radii(&smaller)[0].proved[0], rational("0.000001"));
    back();
    change(&|document| {
        let proved = document["found"][0]["proved"].as_u64().expect("a position");
        document["found"][0]["proved"] = (proved + 3).into();
    });
    let lowered = certified(&problem, &set, &request, &Silent).expect("certified");
    assert_eq!(radii(&lowered), radii(&whole));
    back();
    // Another search: radii, goals, families, cap, attack.
    let others = [
        (linf("1/10"), request.clone()),
        (set.clone(), RadiusRequest { goals: vec![goal("deviation=0.2")], ..request.clone() }),
        (set.clone(), RadiusRequest { families: vec![Family::Crown], ..request.clone() }),
        (set.clone(), RadiusRequest { cap: rational("2"), ..request.clone() }),
        (set.clone(), RadiusRequest { attack: false, ..request.clone() }),
    ];
    for (set, other) in others {
        let error = certified(&problem, &set, &other, &Silent).err().expect("refused");
        assert!(error.to_string().contains("radii.json: it was kept for another search"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    // Another problem: one bias, one weight of one mask, one coordinate of one state, the steps for a range.
    let problems: [fn(&mut Loaded); 4] = [
        |loaded| loaded.policy.files.policy.network.layers[1].bias[0] = Dyadic::new(1, -3),
        |loaded| {
            let kept = loaded.masks.masks[1].layers[0].iter_mut().find(|kept| **kept);
            *kept.expect("a weight that is kept") = false;
        },
        |loaded| loaded.states.values.values[4] = Dyadic::new(1, -3),
        |loaded| loaded.branch_steps += 1,
    ];
    for (index, change) in problems.into_iter().enumerate() {
        let error = certified_of(&problem, &set, &request, &Silent, change).err();
        let error = error.unwrap_or_else(|| panic!("problem {index} is gone on with")).to_string();
        assert!(error.contains("radii.json: it was kept for another search"), "{index}: {error}");
    }
    type Damage = fn(&mut serde_json::Value);
    let broken: [(&str, Damage); 6] = [
        ("its format is not", |document| document["format"] = "x".into()),
        ("not a kept search", |document| document["more"] = 1.into()),
        ("its entry 2 is broken", |document| document["found"][2]["state"] = 3.into()),
        ("its entry 1 is broken", |document| document["found"][1]["evidence"] = "?".into()),
        ("its entry 0 is broken", |document| {
            document["found"][0]["broken"] = serde_json::json!({"at": 1, "offset": "AAAAAAAAAAA="});
        }),
        ("its entry 0 is broken", |document| {
            document["found"][0]["broken"] = serde_json::json!({"at": 1, "offset": "AAAA"});
        }),
    ];
    for (words, damage) in broken {
        back();
        change(&damage);
        let error = certified(&problem, &set, &request, &Silent).err().expect("refused");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}
