//! Regret claims against small state-adversarial MDPs whose states are the listed ones and whose policy is the network's own
//! softmax: an adversary shows points of the perturbation set, its value is solved over the rationals.
//! `spec/certificate-regret.md`, `spec/rules/regret.md`.

use num_bigint::BigInt;
use secateur_checker::claim::regret::{largest_total_variation, regret_bound};
use secateur_checker::kernel::regret::RewardRange;
use secateur_checker::model::Head;
use secateur_checker::number::Rational;
use secateur_checker::reader::regret::RegretForm;
use secateur_testkit::case::{Case, r};
use secateur_testkit::oracle::fixed::{self, BITS, trace};
use secateur_testkit::random::Random;

use super::claims::{AtState, Proved, story};
use super::functions::probabilities;
use super::tally::{Tally, family_word, head_word};

pub const FORMS: [&str; 3] = ["sup", "expectation", "horizon"];
/// Points that the adversary may show at a state.
const SHOWN: usize = 8;
/// Probabilities are rounded to this many bits; what that moves a value by is far below [`slack`].
const FINE: u32 = 120;

/// Above all that rounded probabilities can move a value by: 2^-116 each, at most a hundred steps of reward 4, squared.
fn slack() -> Rational {
    Rational::from_dyadic(1.into(), -80)
}

type Distribution = Vec<Rational>;

/// Rewards by state and action; where an action leads, `None` for the end.
struct Model {
    rewards: Vec<Vec<Rational>>,
    next: Vec<Vec<Option<usize>>>,
    range: RewardRange,
}

fn model(random: &mut Random, states: usize, actions: usize, liked: &[usize]) -> Model {
    let range = random.pick(&[("-1", "1"), ("0", "1"), ("1", "1"), ("-2", "-1"), ("0", "4")]);
    let (lower, upper) = (r(range.0), r(range.1));
    let ends = random.one_in(2);
    let place = |random: &mut Random| random.between(0, states as i64 - 1) as usize;
    let mut rewards = Vec::new();
    let mut next = Vec::new();
    let strict = random.one_in(2);
    for state in 0..states {
        let liked = |action: usize| action == liked[state];
        let reward = |action: usize| {
            let good = if strict { liked(action) } else { action.is_multiple_of(2) };
            if good { upper.clone() } else { lower.clone() }
        };
        rewards.push((0..actions).map(reward).collect());
        let lead = |action: usize| {
            if strict && liked(action) {
                return Some(state);
            }
            if ends && (strict || random.one_in(3)) { None } else { Some(place(random)) }
        };
        next.push((0..actions).map(lead).collect::<Vec<Option<usize>>>());
    }
    let episodes_can_end = next.iter().flatten().any(Option::is_none) || random.one_in(2);
    Model { rewards, next, range: RewardRange { lower, upper, episodes_can_end } }
}

fn softmax(case: &Case, mask: usize, input: &[fixed::Ends]) -> Distribution {
    let logits = trace(&case.policy.network, &case.masks[mask], input).outputs;
    let floors = probabilities(&logits).into_iter().map(|(low, _)| low >> (BITS - FINE));
    let mut rounded: Vec<BigInt> = floors.collect();
    let rest = (BigInt::from(1) << FINE) - rounded.iter().sum::<BigInt>();
    let largest = (0..rounded.len()).max_by_key(|i| rounded[*i].clone()).unwrap_or(0);
    rounded[largest] += rest;
    rounded.into_iter().map(|p| Rational::from_dyadic(p, -i64::from(FINE))).collect()
}

impl Model {
    fn step(&self, state: usize, shown: &Distribution, discount: &Rational, values: &[Rational]) -> Rational {
        let terms = shown.iter().enumerate().map(|(action, p)| {
            let after = self.next[state][action].map_or_else(Rational::zero, |s| values[s].clone());
            p.mul(&self.rewards[state][action].add(&discount.mul(&after)))
        });
        terms.fold(Rational::zero(), |sum, term| sum.add(&term))
    }

    /// Of the policy that shows one distribution at each state, by elimination.
    fn values(&self, shown: &[&Distribution], discount: &Rational) -> Vec<Rational> {
        let states = shown.len();
        let zero = vec![Rational::zero(); states];
        let mut rows: Vec<Vec<Rational>> = (0..states)
            .map(|state| {
                let mut row: Vec<Rational> = (0..states)
                    .map(|column| {
                        let mut unit = zero.clone();
                        unit[column] = Rational::one();
                        let after = self.step(state, shown[state], discount, &unit);
                        let at_once = self.step(state, shown[state], discount, &zero);
                        let own = if state == column { Rational::one() } else { Rational::zero() };
                        own.sub(&after.sub(&at_once))
                    })
                    .collect();
                row.push(self.step(state, shown[state], discount, &zero));
                row
            })
            .collect();
        for pivot in 0..states {
            let scale = rows[pivot][pivot].clone();
            rows[pivot].iter_mut().for_each(|x| *x = x.div(&scale).expect("diagonally dominant"));
            let own = rows[pivot].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(index, _)| *index != pivot) {
                let factor = row[pivot].clone();
                row.iter_mut().zip(&own).for_each(|(x, own)| *x = x.sub(&factor.mul(own)));
            }
        }
        rows.into_iter().map(|mut row| row.pop().unwrap_or_else(Rational::zero)).collect()
    }

    /// Values without and with an adversary that has improved its choices twice: any adversary's value is a fair witness.
    fn discounted(&self, shown: &[Vec<Distribution>], discount: &Rational) -> (Vec<Rational>, Vec<Rational>) {
        let clean: Vec<&Distribution> = shown.iter().map(|s| &s[0]).collect();
        let unmoved = self.values(&clean, discount);
        let mut attacked = unmoved.clone();
        for _ in 0..2 {
            let choice = |(state, list): (usize, &Vec<Distribution>)| {
                (0..list.len()).min_by_key(|k| self.step(state, &list[*k], discount, &attacked)).unwrap_or(0)
            };
            let chosen: Vec<usize> = shown.iter().enumerate().map(choice).collect();
            let worst: Vec<&Distribution> = shown.iter().zip(chosen).map(|(list, k)| &list[k]).collect();
            attacked = self.values(&worst, discount);
        }
        (unmoved, attacked)
    }

    fn horizon(&self, shown: &[Vec<Distribution>], steps: u32) -> (Vec<Rational>, Vec<Rational>) {
        let one = Rational::one();
        let mut clean = vec![Rational::zero(); shown.len()];
        let mut attacked = clean.clone();
        for _ in 0..steps {
            let own = |(state, list): (usize, &Vec<Distribution>)| self.step(state, &list[0], &one, &clean);
            clean = shown.iter().enumerate().map(own).collect();
            let least = |(state, list): (usize, &Vec<Distribution>)| {
                let values = list.iter().map(|shown| self.step(state, shown, &one, &attacked));
                values.min().unwrap_or_else(Rational::zero)
            };
            attacked = shown.iter().enumerate().map(least).collect();
        }
        (clean, attacked)
    }
}

pub fn hold_regret(
    seed: u64,
    random: &mut Random,
    case: &Case,
    proved: &Proved<'_>,
    here: &[AtState],
    tally: &mut Tally,
) {
    if !matches!(case.policy.head, Head::Categorical) || case.policy.network.outputs() < 2 {
        return;
    }
    let mask = random.between(0, case.masks.len() as i64 - 1) as usize;
    let shown: Vec<Vec<Distribution>> = here
        .iter()
        .map(|at| {
            let peak = at.masks[mask].total_variation.as_ref().map_or(0, |p| p.pair);
            let chosen = [0, peak].into_iter().chain(1..SHOWN.min(at.points.len()));
            chosen.map(|point| softmax(case, mask, &at.points[point].input)).collect()
        })
        .collect();
    let liked: Vec<usize> = shown
        .iter()
        .map(|list| (0..list[0].len()).max_by_key(|a| list[0][*a].clone()).unwrap_or(0))
        .collect();
    let model = model(random, here.len(), case.policy.network.outputs(), &liked);
    let discount = random.pick(&["0", "1/2", "9/10", "99/100"].map(r));
    let steps = random.pick(&[1u32, 2, 4]);
    let forms = [
        RegretForm::Sup { discount: discount.clone() },
        RegretForm::Expectation { discount: discount.clone() },
        RegretForm::Horizon { steps },
    ];
    let sums = model.discounted(&shown, &discount);
    let steps = model.horizon(&shown, steps);
    for table in proved.tables.iter().filter(|t| t.family.bounds_adversary()) {
        let Ok(largest) = largest_total_variation(table, &proved.head, mask) else { continue };
        for form in &forms {
            let bound =
                regret_bound(form, &model.range, &largest).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let (clean, attacked) = if matches!(form, RegretForm::Horizon { .. }) { &steps } else { &sums };
            let gap = clean.iter().zip(attacked).map(|(c, a)| c.sub(a)).max().unwrap_or_else(Rational::zero);
            let word = family_word(table.family);
            tally.claimed(&word, &case.policy.head, form.name());
            let kind = (word, head_word(&case.policy.head), form.name());
            let entry = tally.kinds.entry(kind.clone()).or_default();
            entry.evaluations += clean.len();
            let near = gap.mul(&Rational::new(10.into(), 9.into()).expect("a number"));
            entry.attained += usize::from(bound.is_positive() && near >= bound);
            if gap.sub(&slack()) > bound {
                let what = format!("{form:?} is {bound}, found {gap} for {:?}", model.range);
                tally.violation(kind, &what, &story(seed, case));
            }
        }
    }
}
