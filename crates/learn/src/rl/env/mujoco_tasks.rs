//! `Hopper-v5`, `Walker2d-v5`, `HalfCheetah-v5`, `Ant-v5`: run forward on the MuJoCo library. Untrusted.
//! Gymnasium 1.4.0, `envs/mujoco/*_v5.py`; equal to the last bit, so sums run in NumPy's order and number format.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::{Action, ActionSpace, EnvironmentError, Spec, Task, check_width};
use crate::float::rng::SeededRng;
use crate::rl::mujoco::{MujocoError, Simulation, open_library, python_package};

/// What differs between the four tasks.
struct Rules {
    id: &'static str,
    model: &'static str,
    /// `nq, nv, nu`, bodies.
    sizes: [usize; 4],
    time_step: f64,
    frame_skip: usize,
    /// Positions left out of the observation.
    hidden: usize,
    speed_clip: Option<f64>,
    control_weight: f32,
    contact_weight: Option<f64>,
    control_limit: f64,
    healthy_reward: f64,
    healthy: fn(&[f64], &[f64]) -> bool,
    reset_noise: f64,
    /// Velocities start normal (times the noise) rather than uniform.
    normal_velocities: bool,
}

fn within(value: f64, lower: f64, upper: f64) -> bool {
    lower < value && value < upper
}

fn hopper_is_healthy(positions: &[f64], velocities: &[f64]) -> bool {
    let mut state = positions[2..].iter().chain(velocities);
    state.all(|value| within(*value, -100.0, 100.0)) && positions[1] > 0.7 && within(positions[2], -0.2, 0.2)
}

fn walker_is_healthy(positions: &[f64], _: &[f64]) -> bool {
    within(positions[1], 0.8, 2.0) && within(positions[2], -1.0, 1.0)
}

fn ant_is_healthy(positions: &[f64], velocities: &[f64]) -> bool {
    positions.iter().chain(velocities).all(|value| value.is_finite()) && (0.2..=1.0).contains(&positions[2])
}

const HOPPER: Rules = Rules {
    id: "Hopper-v5",
    model: "hopper.xml",
    sizes: [6, 6, 3, 5],
    time_step: 0.002,
    frame_skip: 4,
    hidden: 1,
    speed_clip: Some(10.0),
    control_weight: 1e-3,
    contact_weight: None,
    control_limit: 1.0,
    healthy_reward: 1.0,
    healthy: hopper_is_healthy,
    reset_noise: 5e-3,
    normal_velocities: false,
};

const RULES: [Rules; 4] = [
    HOPPER,
    Rules {
        id: "Walker2d-v5",
        model: "walker2d_v5.xml",
        sizes: [9, 9, 6, 8],
        healthy: walker_is_healthy,
        ..HOPPER
    },
    Rules {
        id: "HalfCheetah-v5",
        model: "half_cheetah.xml",
        sizes: [9, 9, 6, 8],
        time_step: 0.01,
        frame_skip: 5,
        speed_clip: None,
        control_weight: 0.1,
        healthy_reward: 0.0,
        healthy: |_, _| true,
        reset_noise: 0.1,
        normal_velocities: true,
        ..HOPPER
    },
    Rules {
        id: "Ant-v5",
        model: "ant.xml",
        sizes: [15, 14, 8, 14],
        time_step: 0.01,
        frame_skip: 5,
        hidden: 2,
        speed_clip: None,
        control_weight: 0.5,
        contact_weight: Some(5e-4),
        healthy: ant_is_healthy,
        reset_noise: 0.1,
        normal_velocities: true,
        ..HOPPER
    },
];

/// Folder of the model files: `GYMNASIUM_ASSETS` if set, else inside Python's `gymnasium` package.
pub fn assets_directory() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || match env::var_os("GYMNASIUM_ASSETS") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => python_package("gymnasium").map(|package| package.join("envs/mujoco/assets")),
    };
    FOUND.get_or_init(find).clone()
}

/// NumPy's sum of a contiguous array of at most 128 numbers: eight running sums from eight numbers on.
macro_rules! numpy_sum {
    ($name:ident, $number:ty) => {
        fn $name(values: &[$number]) -> $number {
            let blocks = values.chunks_exact(8);
            let rest = blocks.remainder();
            let mut sums = [0.0; 8];
            for (index, block) in blocks.enumerate() {
                for (sum, value) in sums.iter_mut().zip(block) {
                    *sum = if index == 0 { *value } else { *sum + *value };
                }
            }
            let [a, b, c, d, e, f, g, h] = sums;
            let start = ((a + b) + (c + d)) + ((e + f) + (g + h));
            rest.iter().fold(start, |sum, value| sum + value)
        }
    };
}
numpy_sum!(sum_single, f32);
numpy_sum!(sum_double, f64);

pub(super) struct MujocoTask {
    spec: Spec,
    rules: &'static Rules,
    simulation: Simulation,
    initial: (Vec<f64>, Vec<f64>),
    positions: Vec<f64>,
    velocities: Vec<f64>,
    /// What the forward reward measures, before the next step.
    forward: f64,
    controls: Vec<f64>,
    contacts: Vec<f64>,
}

impl MujocoTask {
    /// The task of that name; `None` if there is none.
    pub(super) fn open(id: &str) -> Result<Option<Self>, EnvironmentError> {
        static ALL: [Rules; 4] = RULES;
        let Some(rules) = ALL.iter().find(|rules| rules.id == id) else { return Ok(None) };
        open_library()?;
        let path = assets_directory().map(|folder| folder.join(rules.model)).filter(|path| path.is_file());
        let path = path.ok_or_else(|| MujocoError::ModelMissing { name: rules.model.to_owned() })?;
        let simulation = Simulation::open(&path)?;
        for (expected, found) in rules.sizes.into_iter().zip(simulation.sizes()) {
            if expected != found {
                return Err(MujocoError::Shape { expected, found }.into());
            }
        }
        let [positions, velocities, controls, bodies] = rules.sizes;
        let contacts = if rules.contact_weight.is_some() { 6 * (bodies - 1) } else { 0 };
        let spec = Spec {
            id: rules.id,
            observation_width: positions - rules.hidden + velocities + contacts,
            state_width: positions + velocities,
            action_space: ActionSpace::Continuous {
                lower: vec![-rules.control_limit; controls],
                upper: vec![rules.control_limit; controls],
            },
            time_limit: 1000,
        };
        let initial = (simulation.positions(), simulation.velocities());
        let mut task = Self {
            spec,
            rules,
            positions: initial.0.clone(),
            velocities: initial.1.clone(),
            initial,
            simulation,
            forward: 0.0,
            controls: vec![0.0; controls],
            contacts: vec![0.0; if contacts > 0 { 6 * bodies } else { 0 }],
        };
        let (positions, velocities) = task.initial.clone();
        task.start(&positions, &velocities);
        Ok(Some(task))
    }

    fn start(&mut self, positions: &[f64], velocities: &[f64]) {
        self.simulation.reset();
        self.simulation.set_state(positions, velocities);
        self.read();
    }

    /// Copies what rewards and observations are made of.
    fn read(&mut self) {
        self.simulation.read_state(&mut self.positions, &mut self.velocities);
        // Ant's reward follows its torso's frame, which lags `qpos` by a step of the integrator.
        self.forward = if self.rules.contact_weight.is_some() {
            let forces = self.simulation.contact_forces();
            for (entry, force) in self.contacts.iter_mut().zip(forces) {
                *entry = force.clamp(-1.0, 1.0);
            }
            self.simulation.body_positions()[3]
        } else {
            self.positions[0]
        };
    }

    /// Cost of the action in `f32` (as NumPy keeps it) plus the cost of contacts in `f64`.
    fn cost(&self, squares: &[f32]) -> f64 {
        let control = f64::from(self.rules.control_weight * sum_single(squares));
        let Some(weight) = self.rules.contact_weight else { return control };
        let squares: Vec<f64> = self.contacts.iter().map(|force| force * force).collect();
        control + weight * sum_double(&squares)
    }
}

impl Task for MujocoTask {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut SeededRng) -> Result<(), EnvironmentError> {
        let noise = self.rules.reset_noise;
        let (mut positions, mut velocities) = self.initial.clone();
        positions.iter_mut().for_each(|value| *value += rng.uniform(-noise, noise));
        for value in &mut velocities {
            let change =
                if self.rules.normal_velocities { noise * rng.normal() } else { rng.uniform(-noise, noise) };
            *value += change;
        }
        self.start(&positions, &velocities);
        Ok(())
    }

    fn set_state(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        check_width(self.spec.state_width, state.len())?;
        let (positions, velocities) = state.split_at(self.positions.len());
        self.start(positions, velocities);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>) -> Result<(f64, bool), EnvironmentError> {
        let Action::Continuous(values) = action else { return Err(EnvironmentError::Action) };
        let before = self.forward;
        let mut squares = [0.0f32; 8];
        for ((control, square), value) in self.controls.iter_mut().zip(&mut squares).zip(values) {
            let single = *value as f32;
            (*control, *square) = (f64::from(single), single * single);
        }
        self.simulation.step(&self.controls, self.rules.frame_skip);
        self.read();
        let speed = (self.forward - before) / (self.rules.time_step * self.rules.frame_skip as f64);
        let healthy = (self.rules.healthy)(&self.positions, &self.velocities);
        let bonus = if healthy { self.rules.healthy_reward } else { 0.0 };
        let reward = (speed + bonus) - self.cost(&squares[..values.len()]);
        Ok((reward, !healthy))
    }

    fn observe(&mut self, observation: &mut [f64]) {
        let clip = self.rules.speed_clip.unwrap_or(f64::INFINITY);
        let positions = self.positions[self.rules.hidden..].iter().copied();
        let velocities = self.velocities.iter().map(|value| value.clamp(-clip, clip));
        // The first body is the world.
        let contacts = self.contacts.iter().skip(6).copied();
        for (entry, value) in observation.iter_mut().zip(positions.chain(velocities).chain(contacts)) {
            *entry = value;
        }
    }

    fn save(&self) -> Vec<f64> {
        std::iter::once(self.forward).chain(self.simulation.save()).collect()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let Some((forward, physics)) = state.split_first() else { return check_width(1, 0) };
        self.simulation.restore(physics)?;
        self.simulation.read_state(&mut self.positions, &mut self.velocities);
        self.forward = *forward;
        Ok(())
    }
}
