//! `MountainCarContinuous-v0`: rock an underpowered car out of a valley. Untrusted.
//! Gymnasium 1.4.0, `envs/classic_control/continuous_mountain_car.py`; equal to the last bit.
//!
//! Gymnasium keeps the state in `float32` after the first step but in `float64` right after a reset, and NumPy's
//! promotion follows whichever scalar it meets: a clipped force is a Python number and does not round the sum.

use super::{Action, ActionSpace, EnvironmentError, Spec, Task, check_width, single};
use crate::float::rng::SeededRng;

const POWER: f64 = 0.0015;
const SLOPE: f64 = 0.0025;
const MAX_SPEED: f64 = 0.07;
const MIN_POSITION: f64 = -1.2;
const MAX_POSITION: f64 = 0.6;
const GOAL: f64 = 0.45;

pub(super) struct MountainCar {
    spec: Spec,
    position: f64,
    velocity: f64,
    /// The state has been rounded to `f32`: true after the first step of an episode.
    rounded: bool,
}

impl Default for MountainCar {
    fn default() -> Self {
        let spec = Spec {
            id: "MountainCarContinuous-v0",
            observation_width: 2,
            state_width: 2,
            action_space: ActionSpace::Continuous { lower: vec![-1.0], upper: vec![1.0] },
            time_limit: 999,
        };
        Self { spec, position: -0.5, velocity: 0.0, rounded: false }
    }
}

/// Change of velocity, with the bits of the promotion described above.
fn pull(force: f32, slope_angle_cosine: f64) -> f64 {
    let gravity = SLOPE * slope_angle_cosine;
    if force.abs() > 1.0 {
        f64::from(force.signum()) * POWER - gravity
    } else {
        f64::from(force * POWER as f32 - gravity as f32)
    }
}

/// The state after a step, and whether the goal was reached, in double precision.
fn move_double(position: f64, velocity: f64, force: f32) -> (f64, f64, bool) {
    let mut velocity = (velocity + pull(force, (3.0 * position).cos())).clamp(-MAX_SPEED, MAX_SPEED);
    let position = (position + velocity).clamp(MIN_POSITION, MAX_POSITION);
    if position == MIN_POSITION && velocity < 0.0 {
        velocity = 0.0;
    }
    (position, velocity, position >= GOAL && velocity >= 0.0)
}

/// The state after a step, and whether the goal was reached, in single precision.
fn move_single(position: f32, velocity: f32, force: f32) -> (f32, f32, bool) {
    let change = pull(force, f64::from(3.0 * position).cos()) as f32;
    let mut velocity = (velocity + change).clamp(-MAX_SPEED as f32, MAX_SPEED as f32);
    let position = (position + velocity).clamp(MIN_POSITION as f32, MAX_POSITION as f32);
    if position == MIN_POSITION as f32 && velocity < 0.0 {
        velocity = 0.0;
    }
    (position, velocity, position >= GOAL as f32 && velocity >= 0.0)
}

impl Task for MountainCar {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut SeededRng) -> Result<(), EnvironmentError> {
        (self.position, self.velocity, self.rounded) = (rng.uniform(-0.6, -0.4), 0.0, false);
        Ok(())
    }

    fn set_state(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let &[position, velocity] = state else { return check_width(2, state.len()) };
        (self.position, self.velocity, self.rounded) = (position, velocity, false);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>) -> Result<(f64, bool), EnvironmentError> {
        let force = single(action)?;
        let terminated = if self.rounded {
            let (position, velocity, done) = move_single(self.position as f32, self.velocity as f32, force);
            (self.position, self.velocity) = (f64::from(position), f64::from(velocity));
            done
        } else {
            let (position, velocity, done) = move_double(self.position, self.velocity, force);
            (self.position, self.velocity) = (f64::from(position as f32), f64::from(velocity as f32));
            done
        };
        self.rounded = true;
        let cost = f64::from(force) * f64::from(force) * 0.1;
        Ok((if terminated { 100.0 } else { 0.0 } - cost, terminated))
    }

    fn observe(&mut self, observation: &mut [f64]) {
        for (entry, value) in observation.iter_mut().zip([self.position, self.velocity]) {
            *entry = f64::from(value as f32);
        }
    }

    fn save(&self) -> Vec<f64> {
        vec![self.position, self.velocity, f64::from(u8::from(self.rounded))]
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let &[position, velocity, rounded] = state else { return check_width(3, state.len()) };
        (self.position, self.velocity, self.rounded) = (position, velocity, rounded != 0.0);
        Ok(())
    }
}
