//! `Acrobot-v1`: swing the tip of a two-link arm above a line by a torque at the elbow. Untrusted.
//! Gymnasium 1.4.0, `envs/classic_control/acrobot.py`, the book's equations (Sutton and Barto 2018, section 11.3), one
//! Runge-Kutta step of 0.2 s; equal within 1e-13.

use std::f64::consts::PI;

use super::{Action, ActionSpace, EnvironmentError, Spec, Task, check_width};
use crate::float::rng::SeededRng;

const TIME_STEP: f64 = 0.2;
const CENTRE: f64 = 0.5;
const GRAVITY: f64 = 9.8;
const MAX_SPIN: [f64; 2] = [4.0 * PI, 9.0 * PI];

pub(super) struct Acrobot {
    spec: Spec,
    state: [f64; 4],
}

impl Default for Acrobot {
    fn default() -> Self {
        let spec = Spec {
            id: "Acrobot-v1",
            observation_width: 6,
            state_width: 4,
            action_space: ActionSpace::Discrete(3),
            time_limit: 500,
        };
        Self { spec, state: [0.0; 4] }
    }
}

/// Time derivative of `[angle1, angle2, spin1, spin2]`; masses, lengths and moments of inertia are 1.
fn derivative(state: [f64; 4], torque: f64) -> [f64; 4] {
    let [first, second, first_spin, second_spin] = state;
    let d1 = CENTRE * CENTRE + (1.0 + CENTRE * CENTRE + 2.0 * CENTRE * second.cos()) + 1.0 + 1.0;
    let d2 = (CENTRE * CENTRE + CENTRE * second.cos()) + 1.0;
    let phi2 = CENTRE * GRAVITY * (first + second - PI / 2.0).cos();
    let phi1 = -CENTRE * (second_spin * second_spin) * second.sin()
        - 2.0 * CENTRE * second_spin * first_spin * second.sin()
        + (CENTRE + 1.0) * GRAVITY * (first - PI / 2.0).cos()
        + phi2;
    let second_change = (torque + d2 / d1 * phi1 - CENTRE * (first_spin * first_spin) * second.sin() - phi2)
        / (CENTRE * CENTRE + 1.0 - d2 * d2 / d1);
    let first_change = -(d2 * second_change + phi1) / d1;
    [first_spin, second_spin, first_change, second_change]
}

fn moved(state: [f64; 4], change: [f64; 4], time: f64) -> [f64; 4] {
    std::array::from_fn(|index| state[index] + time * change[index])
}

/// `angle` moved into `[-pi, pi]` by whole turns.
fn wrapped(mut angle: f64) -> f64 {
    while angle > PI {
        angle -= 2.0 * PI;
    }
    while angle < -PI {
        angle += 2.0 * PI;
    }
    angle
}

impl Task for Acrobot {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut SeededRng) -> Result<(), EnvironmentError> {
        self.state = std::array::from_fn(|_| f64::from(rng.uniform(-0.1, 0.1) as f32));
        Ok(())
    }

    fn set_state(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        self.restore(state)
    }

    fn step(&mut self, action: Action<'_>) -> Result<(f64, bool), EnvironmentError> {
        let torque = match action {
            Action::Discrete(index) => index as f64 - 1.0,
            Action::Continuous(_) => return Err(EnvironmentError::Action),
        };
        let start = self.state;
        let k1 = derivative(start, torque);
        let k2 = derivative(moved(start, k1, TIME_STEP / 2.0), torque);
        let k3 = derivative(moved(start, k2, TIME_STEP / 2.0), torque);
        let k4 = derivative(moved(start, k3, TIME_STEP), torque);
        let [first, second, first_spin, second_spin]: [f64; 4] = std::array::from_fn(|index| {
            start[index] + TIME_STEP / 6.0 * (k1[index] + 2.0 * k2[index] + 2.0 * k3[index] + k4[index])
        });
        self.state = [
            wrapped(first),
            wrapped(second),
            first_spin.clamp(-MAX_SPIN[0], MAX_SPIN[0]),
            second_spin.clamp(-MAX_SPIN[1], MAX_SPIN[1]),
        ];
        let terminated = -self.state[0].cos() - (self.state[1] + self.state[0]).cos() > 1.0;
        Ok((if terminated { 0.0 } else { -1.0 }, terminated))
    }

    fn observe(&mut self, observation: &mut [f64]) {
        let [first, second, first_spin, second_spin] = self.state;
        let seen = [first.cos(), first.sin(), second.cos(), second.sin(), first_spin, second_spin];
        for (entry, value) in observation.iter_mut().zip(seen) {
            *entry = f64::from(value as f32);
        }
    }

    fn save(&self) -> Vec<f64> {
        self.state.to_vec()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let Ok(values) = <[f64; 4]>::try_from(state) else { return check_width(4, state.len()) };
        self.state = values;
        Ok(())
    }
}
