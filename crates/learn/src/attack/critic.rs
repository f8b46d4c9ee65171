//! The critic attack: towards the state the victim's own value network thinks worst. Untrusted.
//! Pattanaik et al. 2018, arXiv:1712.03632, with sign steps as in Zhang et al. 2020, arXiv:2003.08938, appendix D.

use super::ball::{Ball, STEPS};
use crate::attack::plan::Candidate;
use crate::float::mlp::Mlp;
use crate::float::point::PointPass;
use crate::float::policy::FloatPolicy;
use crate::rl::evaluate::Adversary;

/// Sign descent, or ascent, on `V(s^)` inside the ball.
#[derive(Clone, Debug)]
pub struct CriticAttack {
    critic: Mlp,
    ball: Ball,
    /// What the gradient is multiplied by.
    sense: f64,
    pass: PointPass,
}

impl CriticAttack {
    /// Towards low values. `critic` maps normalised observations to one value.
    pub fn new(critic: Mlp, ball: Ball) -> Self {
        Self { critic, ball, sense: -1.0, pass: PointPass::default() }
    }

    /// Towards high values: a victim that thinks itself safe corrects less. Descent, the literature's choice, shows the
    /// victim a state worse than the true one, and it may act all the more carefully.
    pub fn flattering(critic: Mlp, ball: Ball) -> Self {
        Self { sense: 1.0, ..Self::new(critic, ball) }
    }
}

impl Adversary for CriticAttack {
    fn perturb(&mut self, _: &FloatPolicy, unclipped: &[f64], input: &mut Vec<f64>) {
        let room = self.ball.around(unclipped, input);
        for _ in 0..STEPS {
            self.pass.forward(&self.critic, input);
            let slope = self.pass.backward(&self.critic, &[self.sense]);
            room.climb(input, slope, STEPS);
        }
    }
}

/// Both ways of using a critic, for an attack that keeps the stronger.
pub(super) fn candidates(critic: &Mlp, name: &str, ball: &Ball) -> Vec<Candidate> {
    let down = Box::new(CriticAttack::new(critic.clone(), ball.clone()));
    let up = Box::new(CriticAttack::flattering(critic.clone(), ball.clone()));
    let down = Candidate { name: name.to_owned(), adversary: down };
    vec![down, Candidate { name: format!("{name}, upwards"), adversary: up }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::FloatActivation;
    use crate::float::head::FloatHead;
    use crate::float::mlp::Dense;
    use crate::float::normaliser::FixedNormaliser;
    use ndarray::{Array1, arr2};

    /// V(s) = s_0 - 2 s_1 falls fastest along the signs (-, +): both coordinates end at the ball's edge.
    #[test]
    fn a_linear_critic_is_followed_to_the_corner() {
        let layer = Dense {
            weight: arr2(&[[1.0, -2.0, 0.0]]),
            bias: Array1::zeros(1),
            activation: FloatActivation::Identity,
        };
        let critic = Mlp { layers: vec![layer] };
        let (head, normaliser) = (FloatHead::Deterministic, FixedNormaliser::identity(3));
        let policy = FloatPolicy { network: critic.clone(), head, normaliser };
        for (mut attack, expected) in [
            (CriticAttack::new(critic.clone(), Ball::equal(0.5, 3)), [0.5, 1.5, 1.0]),
            (CriticAttack::flattering(critic, Ball::equal(0.5, 3)), [1.5, 0.5, 1.0]),
        ] {
            let mut input = vec![1.0; 3];
            attack.perturb(&policy, &[1.0; 3], &mut input);
            assert!(input.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{input:?}");
        }
    }
}
