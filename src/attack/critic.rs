//! The critic attack: towards the state the victim's own value network thinks worst. Untrusted.
//! Pattanaik et al. 2018, arXiv:1712.03632, with sign steps as in Zhang et al. 2020, arXiv:2003.08938, appendix D.

use super::{STEPS, ascend};
use crate::rl::FloatPolicy;
use crate::rl::evaluate::Adversary;
use crate::rl::net::Mlp;
use crate::rl::point::PointPass;

/// Sign descent on `V(s^)` inside the ball.
#[derive(Clone, Debug)]
pub struct CriticAttack {
    critic: Mlp,
    radius: f64,
    pass: PointPass,
}

impl CriticAttack {
    /// `critic` maps normalised observations to one value.
    pub fn new(critic: Mlp, radius: f64) -> Self {
        Self { critic, radius, pass: PointPass::default() }
    }
}

impl Adversary for CriticAttack {
    fn perturb(&mut self, _: &FloatPolicy, input: &mut Vec<f64>) {
        let centre = input.clone();
        for _ in 0..STEPS {
            self.pass.forward(&self.critic, input);
            let slope = self.pass.backward(&self.critic, &[-1.0]);
            ascend(input, &centre, slope, self.radius / STEPS as f64, self.radius);
        }
    }
}
