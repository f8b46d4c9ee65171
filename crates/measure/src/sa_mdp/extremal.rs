//! The family of SA-MDPs that attains `regret.sup` and `regret.horizon`. Untrusted. `spec/sa-mdp.md#extremal-family`.

use num_rational::BigRational;
use num_traits::{One, Zero};

use super::FiniteSaMdp;

/// States `s`, `x`, `bad`; `B(s) = {s, x}`; the policy plays `good` at `s` and, with probability `tv`, `bad` where it
/// sees `x`. One `bad` move and the reward is -1 instead of +1 forever. `TV_max(s) = tv` and the gap from `s` is exactly
/// `2 tv / ((1-g)(1-g+g tv))`.
pub fn extremal(discount: &BigRational, tv: &BigRational) -> FiniteSaMdp {
    let (zero, one) = (BigRational::zero(), BigRational::one());
    let to = |state: usize| (0..3).map(|s| if s == state { one.clone() } else { zero.clone() }).collect();
    let stay_or_fall: Vec<Vec<BigRational>> = vec![to(0), to(2)];
    let always_good = vec![one.clone(), zero.clone()];
    FiniteSaMdp {
        states: ["s", "x", "bad"].map(str::to_owned).to_vec(),
        actions: ["good", "bad"].map(str::to_owned).to_vec(),
        discount: discount.clone(),
        terminal: vec![false; 3],
        rewards: vec![vec![one.clone(), -&one], vec![one.clone(), -&one], vec![-&one, -&one]],
        transitions: vec![stay_or_fall.clone(), stay_or_fall, vec![to(2), to(2)]],
        policy: vec![always_good.clone(), vec![&one - tv, tv.clone()], always_good],
        perturbations: vec![vec![0, 1], vec![1], vec![2]],
    }
}
