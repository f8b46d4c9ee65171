//! `CartPole-v1`: keep a pole upright by pushing its cart left or right. Untrusted.
//! Gymnasium 1.4.0, `envs/classic_control/cartpole.py`, Euler integration; equal to the last bit.

use super::{Action, ActionSpace, EnvironmentError, Spec, Task, check_width};
use crate::float::rng::SeededRng;

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = POLE_MASS + 1.0;
const HALF_LENGTH: f64 = 0.5;
const POLE_MOMENT: f64 = POLE_MASS * HALF_LENGTH;
const FORCE: f64 = 10.0;
const TIME_STEP: f64 = 0.02;
const ANGLE_LIMIT: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
const POSITION_LIMIT: f64 = 2.4;

pub(super) struct CartPole {
    spec: Spec,
    state: [f64; 4],
    fallen: bool,
}

impl Default for CartPole {
    fn default() -> Self {
        let spec = Spec {
            id: "CartPole-v1",
            observation_width: 4,
            state_width: 4,
            action_space: ActionSpace::Discrete(2),
            time_limit: 500,
        };
        Self { spec, state: [0.0; 4], fallen: false }
    }
}

impl Task for CartPole {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut SeededRng) -> Result<(), EnvironmentError> {
        self.state = std::array::from_fn(|_| rng.uniform(-0.05, 0.05));
        self.fallen = false;
        Ok(())
    }

    fn set_state(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let Ok(values) = <[f64; 4]>::try_from(state) else { return check_width(4, state.len()) };
        (self.state, self.fallen) = (values, false);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>) -> Result<(f64, bool), EnvironmentError> {
        let [position, velocity, angle, spin] = self.state;
        let force = if action == Action::Discrete(1) { FORCE } else { -FORCE };
        let (cosine, sine) = (angle.cos(), angle.sin());
        let push = (force + POLE_MOMENT * (spin * spin) * sine) / TOTAL_MASS;
        let inertia = HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cosine * cosine) / TOTAL_MASS);
        let spin_change = (GRAVITY * sine - cosine * push) / inertia;
        let velocity_change = push - POLE_MOMENT * spin_change * cosine / TOTAL_MASS;
        self.state = [
            position + TIME_STEP * velocity,
            velocity + TIME_STEP * velocity_change,
            angle + TIME_STEP * spin,
            spin + TIME_STEP * spin_change,
        ];
        let terminated = self.state[0].abs() > POSITION_LIMIT || self.state[2].abs() > ANGLE_LIMIT;
        // The step that lets the pole fall still earns its reward; later ones do not.
        let reward = if terminated && self.fallen { 0.0 } else { 1.0 };
        self.fallen |= terminated;
        Ok((reward, terminated))
    }

    fn observe(&mut self, observation: &mut [f64]) {
        for (entry, value) in observation.iter_mut().zip(self.state) {
            *entry = f64::from(value as f32);
        }
    }

    fn save(&self) -> Vec<f64> {
        self.state.iter().copied().chain([f64::from(u8::from(self.fallen))]).collect()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        check_width(5, state.len())?;
        self.set_state(&state[..4])?;
        self.fallen = state[4] != 0.0;
        Ok(())
    }
}
