//! `Pendulum-v1`: swing a torque-driven pendulum up and hold it. Untrusted.
//! Gymnasium 1.4.0, `envs/classic_control/pendulum.py`; the torque's terms are in `f32`, the rest in `f64`.

use std::f64::consts::PI;

use super::{Action, ActionSpace, EnvironmentError, Spec, Task, check_width, single};
use crate::float::rng::SeededRng;

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
const TIME_STEP: f64 = 0.05;

pub(super) struct Pendulum {
    spec: Spec,
    angle: f64,
    speed: f64,
}

impl Default for Pendulum {
    fn default() -> Self {
        let spec = Spec {
            id: "Pendulum-v1",
            observation_width: 3,
            state_width: 2,
            action_space: ActionSpace::Continuous { lower: vec![-2.0], upper: vec![2.0] },
            time_limit: 200,
        };
        Self { spec, angle: 0.0, speed: 0.0 }
    }
}

/// `angle` moved to `[-pi, pi)` as Python's `((x + pi) % (2 pi)) - pi`.
fn normalised(angle: f64) -> f64 {
    (angle + PI).rem_euclid(2.0 * PI) - PI
}

impl Task for Pendulum {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut SeededRng) -> Result<(), EnvironmentError> {
        self.angle = rng.uniform(-PI, PI);
        self.speed = rng.uniform(-1.0, 1.0);
        Ok(())
    }

    fn set_state(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        self.restore(state)
    }

    fn step(&mut self, action: Action<'_>) -> Result<(f64, bool), EnvironmentError> {
        let torque = single(action)?.clamp(-MAX_TORQUE, MAX_TORQUE);
        let angle = normalised(self.angle);
        let cost = angle * angle + 0.1 * (self.speed * self.speed) + f64::from(0.001f32 * (torque * torque));
        let acceleration = 15.0 * self.angle.sin() + f64::from(3.0f32 * torque);
        self.speed = (self.speed + acceleration * TIME_STEP).clamp(-MAX_SPEED, MAX_SPEED);
        self.angle += self.speed * TIME_STEP;
        Ok((-cost, false))
    }

    fn observe(&mut self, observation: &mut [f64]) {
        let seen = [self.angle.cos(), self.angle.sin(), self.speed];
        for (entry, value) in observation.iter_mut().zip(seen) {
            *entry = f64::from(value as f32);
        }
    }

    fn save(&self) -> Vec<f64> {
        vec![self.angle, self.speed]
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let &[angle, speed] = state else { return check_width(2, state.len()) };
        (self.angle, self.speed) = (angle, speed);
        Ok(())
    }
}
