//! Rules `region.cell` and `region.cover` of `spec/rules/region.md`: hand-computed cells, exact evaluation at random states and
//! perturbations, and one refused case for each side condition.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::float_arithmetic,
    clippy::as_conversions
)]

use secateur_checker::claim::region::RegionProblem;
use secateur_checker::claim::{Proofs, Sentences, check_numbers, check_sentences};
use secateur_checker::evaluate::Problem;
use secateur_checker::kernel::fault::{Fault, Place};
use secateur_checker::kernel::head::HeadBounds;
use secateur_checker::kernel::input::{GridBall, cell_set};
use secateur_checker::kernel::interval::GridBox;
use secateur_checker::model::{
    Activation, Head, Layer, Mask, Matrix, Network, Normaliser, Perturbation, PerturbationSet, Policy,
    States, Units,
};
use secateur_checker::number::{Dyadic, Rational};
use secateur_checker::reader::certificate::{Certificate, Program};
use secateur_checker::reader::clause::Clause;
use secateur_checker::reader::regions::{RegionClaim, RegionEntry, Share};
use secateur_checker::rejection::{Reason, Rejection};
use secateur_checker::sentences::LIMIT_REGIONS;
use secateur_testkit::case::refused;
use secateur_testkit::random::Random;

fn r(text: &str) -> Rational {
    Rational::parse(text).unwrap()
}

fn layer(rows: usize, weights: &[i64], activation: Activation) -> Layer {
    let values: Vec<Dyadic> = weights.iter().map(|&w| Dyadic::new(w, 0)).collect();
    let weight = Matrix { rows, columns: values.len().checked_div(rows).unwrap(), values };
    Layer { fixed: false, weight, bias: vec![Dyadic::ZERO; rows], activation }
}

fn policy(layers: Vec<Layer>, head: Head) -> Policy {
    Policy { network: Network { layers }, head, normaliser: None, source: None }
}

/// `relu(x)`.
fn hinge() -> Policy {
    let layers = vec![layer(1, &[1], Activation::Relu), layer(1, &[1], Activation::Identity)];
    policy(layers, Head::Deterministic)
}

/// Logits `x` and 0.
fn logits() -> Policy {
    policy(vec![layer(2, &[1, 0], Activation::Identity)], Head::Categorical)
}

fn full(policy: &Policy) -> Mask {
    let layers = policy.network.layers.iter().map(|l| vec![true; l.weight.values.len()]);
    Mask { layers: layers.collect() }
}

fn linf(radius: &str, units: Units) -> PerturbationSet {
    PerturbationSet { shape: Perturbation::Linf { radius: r(radius) }, units }
}

fn cut(coordinate: u8, at: f64, children: [&[u8]; 2]) -> Vec<u8> {
    [&[3, coordinate, 0], &at.to_bits().to_le_bytes()[..], children[0], children[1]].concat()
}

/// A safetensors file with trees `region.0`, `region.1`, ...
fn witness(trees: &[&[u8]]) -> Vec<u8> {
    let (mut header, mut begin) = (Vec::new(), 0usize);
    for (index, tree) in trees.iter().enumerate() {
        let end = begin + tree.len();
        header.push(format!(
            "\"region.{index}\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{begin},{end}]}}",
            tree.len()
        ));
        begin = end;
    }
    let header = format!("{{{}}}", header.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &trees.concat()].concat()
}

fn claim(quantity: &str, output: Option<usize>, value: &str, shares: &[(&str, &str)]) -> RegionClaim {
    let share =
        |(threshold, fraction): &(&str, &str)| Share { threshold: r(threshold), fraction: r(fraction) };
    RegionClaim {
        quantity: quantity.to_owned(),
        output,
        value: value.to_owned(),
        shares: shares.iter().map(share).collect(),
    }
}

fn entry(lower: &[&str], upper: &[&str], claims: Vec<RegionClaim>) -> RegionEntry {
    let ends = |texts: &[&str]| texts.iter().map(|t| r(t)).collect();
    RegionEntry { lower: ends(lower), upper: ends(upper), mask: 0, claims }
}

fn certificate(set: PerturbationSet, regions: Vec<RegionEntry>) -> Certificate {
    let program = || Program { id: String::new(), version: String::new() };
    Certificate {
        subjects: Vec::new(),
        weights_digest: String::new(),
        head: String::new(),
        masks: Vec::new(),
        perturbation: set,
        state_units: Units::Raw,
        states: 1,
        claims: Vec::new(),
        regret: Vec::new(),
        statistical: Vec::new(),
        regions,
        radius: Vec::new(),
        verdicts: Vec::new(),
        counterexample: Vec::new(),
        brackets: Vec::new(),
        witness: None,
        assumptions: Vec::new(),
        limits: vec![LIMIT_REGIONS.to_owned()],
        inputs: Vec::new(),
        verifier: program(),
        checker: program(),
        seed: String::new(),
    }
}

fn check_with(policy: &Policy, certificate: &Certificate, file: Option<&[u8]>) -> Result<(), Rejection> {
    let head = HeadBounds::new(&policy.head).unwrap();
    let states = States { values: Matrix { rows: 0, columns: 0, values: Vec::new() }, units: Units::Raw };
    let problem = Problem {
        policy,
        masks: &[full(policy)],
        states: &states,
        perturbation: &certificate.perturbation,
        witness: file,
    };
    check_sentences(&certificate.regions, certificate, &mut Sentences::new(certificate))?;
    let mut silent = |_, _| {};
    check_numbers(&certificate.regions, &mut Proofs::new(&problem, 0, &head, &[], &mut silent))
}

fn check(policy: &Policy, entry: RegionEntry, tree: &[u8]) -> Result<(), Rejection> {
    let set = linf("1/4", Units::Normalised);
    check_with(policy, &certificate(set, vec![entry]), Some(&witness(&[tree])))
}

/// `relu(x)` over `[-1, 1]`, radius 1/4: the whole box moves by at most 1/4; cut at -1/2 the lower cell, a quarter of the
/// volume, is dead.
#[test]
fn cells_by_hand() {
    let at = |value: &str, fraction: &str, tree: &[u8]| {
        let claims = vec![claim("action-deviation", Some(0), value, &[("0", fraction), ("1/4", "1")])];
        check(&hinge(), entry(&["-1"], &["1"], claims), tree)
    };
    let tree = cut(0, -0.5, [&[0], &[0]]);
    assert_eq!(at("0.25", "0", &[0]), Ok(()));
    assert_eq!(at("0.25", "1/4", &tree), Ok(()));
    assert_eq!(at("7", "-1", &tree), Ok(()), "looser claims are true");
    let beyond = |part: &str, claimed: &str, proved: &str| {
        let (claimed, proved) = (Box::new(r(claimed)), Box::new(r(proved)));
        Err(refused("region", 0, part, Reason::TooTight { claimed, proved, how: "is proved" }))
    };
    assert_eq!(at("0.2499999", "0", &tree), beyond(", claim 0", "0.2499999", "1/4"));
    let large = |claimed: &str, proved: &str| beyond(", claim 0, share 0", claimed, proved);
    assert_eq!(at("0.25", "1/1000000", &[0]), large("1/1000000", "0"));
    assert_eq!(at("0.25", "0.25000001", &tree), large("0.25000001", "1/4"));
}

/// Logits `(x, 0)`, radius 1/4: over `[1/2, 1]` the first leads by at least 1/4; over `[-1/2, 1/2]` whoever leads may lose the
/// lead by the oscillation 1/4. Half of the volume of `[-1, 1]` keeps its action.
#[test]
fn margins_by_hand() {
    let tree = cut(0, -0.5, [&[0], &cut(0, 0.5, [&[0], &[0]])]);
    let at = |value: &str, shares: &[(&str, &str)]| {
        check(
            &logits(),
            entry(&["-1"], &["1"], vec![claim("same-action-margin", None, value, shares)]),
            &tree,
        )
    };
    assert_eq!(at("-0.25001", &[("0", "1/2"), ("-1", "1"), ("0.2499", "1/2")]), Ok(()));
    // The lead of 1/4 is not above 1/4: a margin must exceed the threshold.
    assert!(matches!(at("-1", &[("1/4", "1/8")]), Err(Rejection { reason: Reason::TooTight { .. }, .. })));
    assert!(matches!(at("-0.2499", &[]), Err(Rejection { reason: Reason::TooTight { .. }, .. })));
}

/// Logits `relu(2x + 1/8) - 1/8` and `x/8`, radius 1/4. The first never trails by more than `1/8 + 5/32 = 9/32` over the
/// enlarged box, but just left of 0 the second is preferred, and moving x up by 1/4 takes its lead to about -2/5: only the
/// oscillation `(2 - 1/8)/4 = 15/32` bounds that.
#[test]
fn a_lead_that_may_be_lost_is_no_margin() {
    let mut policy = policy(
        vec![layer(2, &[2, 1], Activation::Relu), layer(2, &[1, 0, 0, 1], Activation::Identity)],
        Head::Categorical,
    );
    policy.network.layers[0].bias = vec![Dyadic::new(1, -3), Dyadic::new(2, 0)];
    policy.network.layers[1].bias = vec![Dyadic::new(-1, -3), Dyadic::new(-1, -2)];
    policy.network.layers[1].weight.values[3] = Dyadic::new(1, -3);
    let at = |value: &str| {
        check(&policy, entry(&["-1"], &["1"], vec![claim("same-action-margin", None, value, &[])]), &[0])
    };
    assert_eq!(at("-0.46876"), Ok(()));
    assert!(matches!(at("-0.3"), Err(Rejection { reason: Reason::TooTight { .. }, .. })));
}

/// On quarters, with mean 1, std 1/2 and clip 2.
#[test]
fn cell_inputs_by_hand() {
    let mut policy = hinge();
    policy.normaliser =
        Some(Normaliser { mean: vec![Dyadic::new(1, 0)], std: vec![r("1/2")], clip: Some(r("2")) });
    let at = |lower: &str, upper: &str, units, set: &PerturbationSet| {
        let input = cell_set(&policy, (&[r(lower)], &[r(upper)]), units, set, 2).unwrap();
        let ends = |b: &GridBox| b.at(0).unwrap();
        (ends(&input.region), ends(&input.center), input.radii[0])
    };
    let raw = linf("1/4", Units::Raw);
    // [1, 3/2] reads [0, 1], the raw radius is 1/2 there.
    assert_eq!(at("1", "3/2", Units::Raw, &raw), ((-2, 6), (0, 4), 2));
    assert_eq!(at("0", "1", Units::Normalised, &raw), ((-2, 6), (0, 4), 2));
    // [2, 3] reads 2 throughout; from below the adversary reaches 3/2.
    assert_eq!(at("2", "3", Units::Raw, &raw), ((6, 8), (8, 8), 2));
    // [5/2, 3] is beyond the clip even when perturbed.
    assert_eq!(at("5/2", "3", Units::Raw, &raw), ((8, 8), (8, 8), 0));
    // [15/8, 4] reads [7/4, 2]: up by at most 1/4, down by at most 1/2.
    assert_eq!(at("15/8", "4", Units::Raw, &raw), ((5, 8), (7, 8), 2));
    // Normalised radii are added after the clip.
    assert_eq!(at("2", "3", Units::Raw, &linf("1/4", Units::Normalised)), ((7, 9), (8, 8), 1));
    // A raw ball keeps its semi-axis where the clip cuts nothing.
    let ball = PerturbationSet { shape: Perturbation::L2 { radius: r("1/4") }, units: Units::Raw };
    let semi_axes = |lower: &str, upper: &str| {
        cell_set(&policy, (&[r(lower)], &[r(upper)]), Units::Raw, &ball, 2).unwrap().ball
    };
    assert_eq!(semi_axes("1", "3/2"), Some(GridBall::Euclidean { semi_axes: vec![Some(2)] }));
    assert_eq!(semi_axes("1", "2"), Some(GridBall::Euclidean { semi_axes: vec![None] }));
    let short = cell_set(&policy, (&[], &[]), Units::Raw, &raw, 2);
    assert_eq!(short, Err(Fault::ShapeMismatch { layer: 0 }));
}

#[test]
fn boxes_masks_and_trees_must_fit() {
    let claims = || vec![claim("action-deviation", Some(0), "1", &[])];
    let good = || entry(&["-1"], &["1"], claims());
    assert_eq!(check(&hinge(), good(), &[0]), Ok(()));
    let shape = Err(refused("region", 0, "", Reason::BoxShape));
    assert_eq!(check(&hinge(), entry(&["1"], &["-1"], claims()), &[0]), shape);
    assert_eq!(check(&hinge(), entry(&["-1", "0"], &["1", "0"], claims()), &[0]), shape);
    assert_eq!(check(&hinge(), entry(&["-1"], &["1", "2"], claims()), &[0]), shape);
    let mut other = good();
    other.mask = 1;
    assert_eq!(check(&hinge(), other, &[0]), Err(refused("region", 0, "", Reason::NoMask)));
    let set = || linf("1/4", Units::Normalised);
    let one = |file| check_with(&hinge(), &certificate(set(), vec![good()]), file);
    assert_eq!(one(None), Err(refused("region", 0, "", Reason::NoWitness)));
    let malformed = one(Some(b"no safetensors")).unwrap_err().reason;
    assert!(matches!(malformed, Reason::WitnessFile { .. }), "{malformed}");
    let half = entry(&["-1"], &["0"], claims());
    let second = check_with(&hinge(), &certificate(set(), vec![good(), half]), Some(&witness(&[&[0]])));
    assert_eq!(second, Err(refused("region", 1, "", Clause::NoTensor { name: "region.1".into() }.into())));
    let mut unlimited = certificate(set(), vec![good()]);
    unlimited.limits.clear();
    let file = witness(&[&[0]]);
    assert_eq!(
        check_with(&hinge(), &unlimited, Some(&file)),
        Err(Reason::LimitMissing { limit: LIMIT_REGIONS }.into())
    );
    unlimited.regions.clear();
    assert_eq!(check_with(&hinge(), &unlimited, None), Ok(()), "without regions nothing is asked");
}

#[test]
fn only_trees_of_input_cuts_cover() {
    let claims = || vec![claim("action-deviation", Some(0), "1", &[])];
    let fails = |tree: &[u8]| match check(&hinge(), entry(&["-1"], &["1"], claims()), tree) {
        Err(Rejection {
            reason: Reason::Rule { fault: Fault::At { place: Place::Tree(0), fault } }, ..
        }) => *fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fails(&cut(0, 1.0, [&[0], &[0]])), Fault::CutOutside { node: 0 });
    assert_eq!(fails(&cut(1, 0.0, [&[0], &[0]])), Fault::NoSuchPlace { node: 0 });
    // Signs of neurons say nothing about the volume, and slopes nothing about the cell's rule.
    assert_eq!(fails(&[2, 0, 0, 0, 0, 0, 0]), Fault::NoSuchPlace { node: 1 });
    assert_eq!(fails(&[1, 0, 0, 0, 0]), Fault::NoSuchPlace { node: 0 });
    assert_eq!(fails(&cut(0, 0.0, [&[0], &[]])), Fault::TreeTruncated);
    assert_eq!(fails(&[0, 0]), Fault::TreeTrailing);
}

#[test]
fn claims_must_mean_something() {
    let at = |policy: &Policy, one: RegionClaim| check(policy, entry(&["-1"], &["1"], vec![one]), &[0]);
    let no = |reason| Err(refused("region", 0, "", reason));
    let unknown = no(Reason::UnknownQuantity { quantity: "action".into() });
    assert_eq!(at(&hinge(), claim("action", None, "1", &[])), unknown);
    assert_eq!(at(&hinge(), claim("action-deviation", None, "1", &[])), no(Reason::NoOutput));
    assert_eq!(at(&hinge(), claim("action-deviation", Some(1), "1", &[])), no(Reason::NoOutput));
    assert_eq!(at(&hinge(), claim("total-variation", None, "1", &[])), no(Reason::NotForThisHead));
    assert_eq!(at(&hinge(), claim("same-action-margin", None, "-9", &[])), no(Reason::NotForThisHead));
    assert_eq!(at(&logits(), claim("total-variation", None, "1", &[])), Ok(()));
    let both = |a: RegionEntry, b: RegionEntry| {
        let regions = certificate(linf("1/4", Units::Normalised), vec![a, b]);
        check_with(&logits(), &regions, Some(&witness(&[&[0], &[0]])))
    };
    let one = |upper: &str, quantity: &str, value: &str| {
        entry(&["-1"], &[upper], vec![claim(quantity, None, value, &[])])
    };
    assert_eq!(both(one("1", "total-variation", "1"), one("1", "kl-divergence", "1")), Ok(()));
    assert_eq!(both(one("1", "total-variation", "1"), one("1/2", "total-variation", "1")), Ok(()));
    let again = both(one("1", "total-variation", "1"), one("1", "total-variation", "0.9"));
    assert_eq!(again, Err(refused("region", 1, ", claim 0", Reason::Repeated)));
    let twice = vec![claim("kl-divergence", None, "1", &[]), claim("kl-divergence", None, "2", &[])];
    let within = check(&logits(), entry(&["-1"], &["1"], twice), &[0]);
    assert_eq!(within, Err(refused("region", 0, ", claim 1", Reason::Repeated)));
    let number = Err(refused("region", 0, ", claim 0", Reason::NotANumber));
    assert_eq!(at(&logits(), claim("total-variation", None, "one", &[])), number);
}

/// A box without extent in one input: it cannot be cut there, and the volume is that of the others.
#[test]
fn flat_sides_count_for_nothing() {
    let policy = policy(
        vec![layer(1, &[1, 1], Activation::Relu), layer(1, &[1], Activation::Identity)],
        Head::Deterministic,
    );
    let at = |tree: &[u8]| {
        let claims = vec![claim("action-deviation", Some(0), "1/2", &[("0", "1/4")])];
        check(&policy, entry(&["-1", "0"], &["1", "0"], claims), tree)
    };
    // relu(x + y), radius 1/4 each: dead where x <= -1/2.
    assert_eq!(at(&cut(0, -0.5, [&[0], &[0]])), Ok(()));
    let outside = at(&cut(1, 0.0, [&[0], &[0]]));
    assert!(matches!(&outside, Err(Rejection { reason: Reason::Rule { .. }, .. })), "{outside:?}");
}

/// A multiple of 1/64 in [-2, 2].
fn weight(random: &mut Random) -> Dyadic {
    Dyadic::new((random.unit() * 257.0) as i64 - 128, -6)
}

fn float(x: Dyadic) -> f64 {
    x.mantissa as f64 * 2f64.powi(x.exponent)
}

fn forward(policy: &Policy, x: &[f64]) -> Vec<f64> {
    policy.network.layers.iter().fold(x.to_vec(), |x, layer| {
        let rows = layer.weight.values.chunks(layer.weight.columns).zip(&layer.bias);
        let pre =
            rows.map(|(row, b)| float(*b) + row.iter().zip(&x).map(|(w, x)| float(*w) * x).sum::<f64>());
        let apply = |z: f64| match layer.activation {
            Activation::Relu => z.max(0.0),
            Activation::Tanh => z.tanh(),
            _ => z,
        };
        pre.map(apply).collect()
    })
}

/// Clean and perturbed input of the network, as `spec/semantics.md` says; mean 1/4, std 3/2, clip 1.
fn read(state: &[f64], delta: &[f64], normaliser: bool, raw: bool) -> [Vec<f64>; 2] {
    let see = |x: f64| if normaliser { ((x - 0.25) / 1.5).clamp(-1.0, 1.0) } else { x };
    let clean: Vec<f64> = state.iter().map(|x| see(*x)).collect();
    let moved = state.iter().zip(&clean).zip(delta);
    let moved = moved.map(|((x, c), d)| if raw && normaliser { see(x + d) } else { c + d });
    [clean.clone(), moved.collect()]
}

/// Random networks, cells, states in them and perturbations: no change, difference of changes or lead passes its bound.
#[test]
fn no_state_of_a_cell_passes_its_bounds() {
    let mut random = Random(11);
    let (mut kept, mut near) = (0, 0);
    for round in 0..240 {
        let (relu, normaliser, raw, ball) =
            (round % 2 == 0, round % 3 != 0, (round >> 1) % 2 == 0, (round >> 2) % 2 == 0);
        let activation = if relu { Activation::Relu } else { Activation::Tanh };
        let mut draw = |rows: usize, columns: usize, activation: Activation| Layer {
            fixed: false,
            weight: Matrix {
                rows,
                columns,
                values: (0..rows * columns).map(|_| weight(&mut random)).collect(),
            },
            bias: (0..rows).map(|_| weight(&mut random)).collect(),
            activation,
        };
        let layers =
            vec![draw(6, 2, activation.clone()), draw(5, 6, activation), draw(2, 5, Activation::Identity)];
        let mut policy = policy(layers, Head::Categorical);
        policy.normaliser = normaliser.then(|| Normaliser {
            mean: vec![Dyadic::new(1, -2); 2],
            std: vec![r("3/2"); 2],
            clip: Some(r("1")),
        });
        let radius = r("1/16");
        let shape = if ball { Perturbation::L2 { radius } } else { Perturbation::Linf { radius } };
        let set = PerturbationSet { shape, units: if raw { Units::Raw } else { Units::Normalised } };
        let width = [1.0, 0.25, 0.0625][round % 3];
        let lower: Vec<f64> = (0..2).map(|_| (random.unit() * 16.0).floor() / 4.0 - 2.0).collect();
        let exact = |x: f64| Rational::from_dyadic(((x * 64.0) as i64).into(), -6);
        let cell: [Vec<Rational>; 2] =
            [0.0, width].map(|shift| lower.iter().map(|l| exact(l + shift)).collect());
        let mask = full(&policy);
        let space = (cell[0].as_slice(), cell[1].as_slice());
        let problem = RegionProblem::new(&policy, &mask, space, Units::Raw, &set, true).unwrap();
        let table = problem.table(&problem.cell(space).unwrap());
        let number = |x: &Rational| x.floor_scaled(40).to_string().parse::<f64>().unwrap() / 2f64.powi(40);
        let change = &table.masks[0].changes[0];
        let deviation: Vec<f64> = change.deviation.iter().map(number).collect();
        let (oscillation, margin) =
            (number(&change.oscillation), number(table.masks[0].margins[0].as_ref().unwrap()));
        kept += usize::from(margin > 0.0);
        let mut most = 0.0f64;
        for _ in 0..120 {
            let state: Vec<f64> = lower.iter().map(|l| l + width * random.unit()).collect();
            let mut delta: Vec<f64> = (0..2).map(|_| (random.unit() - 0.5) / 8.0).collect();
            if random.unit() < 0.5 {
                delta.iter_mut().for_each(|d| *d = d.signum() / 16.0);
            }
            let length = delta.iter().map(|d| d * d).sum::<f64>().sqrt();
            if ball && length > 0.0625 {
                delta.iter_mut().for_each(|d| *d *= 0.0625 / length);
            }
            let [clean, moved] = read(&state, &delta, normaliser, raw);
            let (before, after) = (forward(&policy, &clean), forward(&policy, &moved));
            let changes: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            for (c, d) in changes.iter().zip(&deviation) {
                assert!(c.abs() <= d + 1e-9, "round {round}: {c} {d}");
                most = most.max(c.abs() / (d + 1e-9));
            }
            assert!((changes[0] - changes[1]).abs() <= oscillation + 1e-9, "round {round}");
            let preferred = usize::from(before[1] > before[0]);
            let lead = after[preferred] - after[1 - preferred];
            assert!(lead >= margin - 1e-9, "round {round}: {lead} {margin}");
        }
        near += usize::from(most > 0.5);
    }
    assert!(kept > 10 && near > 40, "{kept} kept, {near} near");
}
