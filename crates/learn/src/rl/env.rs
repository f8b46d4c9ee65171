//! Environments under Gymnasium 1.x rules: one task per file, one clock for all. Untrusted.
//! Observations are what Gymnasium's `step` returns (`float32` values of the classic tasks held as `f64`).

mod acrobot;
mod cartpole;
mod mountain_car;
mod mujoco_tasks;
mod pendulum;

use serde::{Deserialize, Serialize};

use super::mujoco::MujocoError;
use crate::float::rng::{RngState, SeededRng};

pub use mujoco_tasks::assets_directory;

/// What an agent may do.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionSpace {
    /// One of this many actions.
    Discrete(usize),
    /// A box; what lies outside is the caller's to clip.
    Continuous {
        /// Least value of each coordinate.
        lower: Vec<f64>,
        /// Greatest value of each coordinate.
        upper: Vec<f64>,
    },
}

impl ActionSpace {
    /// Number of outputs a policy needs: actions of a discrete space, coordinates of a continuous one.
    pub fn width(&self) -> usize {
        match self {
            Self::Discrete(count) => *count,
            Self::Continuous { lower, .. } => lower.len(),
        }
    }
}

/// One action. Continuous actions are rounded to `f32`, as Gymnasium's action spaces hold them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// Index of a discrete action.
    Discrete(usize),
    /// Coordinates of a continuous action.
    Continuous(&'a [f64]),
}

/// What a step returned, beside the observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Reward.
    pub reward: f64,
    /// The task reached a final state: nothing follows.
    pub terminated: bool,
    /// The time limit cut the episode: something would have followed.
    pub truncated: bool,
}

/// Everything that decides how an environment goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentState {
    #[serde(with = "crate::float::bits")]
    task: Vec<f64>,
    elapsed: usize,
    rng: RngState,
    /// The present raw observation, where a wrapper needs it to go on.
    #[serde(with = "crate::float::bits")]
    observation: Vec<f64>,
}

impl EnvironmentState {
    /// The same with the present observation, for wrappers that act on it.
    #[must_use]
    pub fn with_observation(mut self, observation: &[f64]) -> Self {
        self.observation = observation.to_vec();
        self
    }

    /// What [`EnvironmentState::with_observation`] stored; else empty.
    pub fn observation(&self) -> &[f64] {
        &self.observation
    }
}

/// Why an environment could not be made or moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// No such task.
    #[error("unknown environment {id:?}; known are {}", ENVIRONMENTS.join(", "))]
    Unknown {
        /// The name that was asked for.
        id: String,
    },
    /// The action is not of the space.
    #[error("the action does not belong to the environment's action space")]
    Action,
    /// A buffer or a state has the wrong number of entries.
    #[error("expected {expected} numbers, got {found}")]
    Width {
        /// How many are needed.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// The physics library failed.
    #[error(transparent)]
    Mujoco(#[from] MujocoError),
}

/// Names [`make_environment`] knows.
pub const ENVIRONMENTS: [&str; 8] = [
    "Pendulum-v1",
    "CartPole-v1",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
    "Hopper-v5",
    "Walker2d-v5",
    "HalfCheetah-v5",
    "Ant-v5",
];

/// An episodic task with a time limit and random numbers of its own.
pub trait Environment: Send {
    /// Gymnasium's name with its version.
    fn id(&self) -> &'static str;
    /// Number of observed coordinates.
    fn observation_width(&self) -> usize;
    /// What may be done.
    fn action_space(&self) -> &ActionSpace;
    /// Steps after which an episode is truncated.
    fn time_limit(&self) -> usize;
    /// Starts an episode; with a seed, from that seed, else from where the random numbers stand.
    ///
    /// # Errors
    /// [`EnvironmentError::Width`] if `observation` has the wrong length; a failure of the physics library.
    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvironmentError>;
    /// Moves one step and writes what is seen after it.
    ///
    /// # Errors
    /// [`EnvironmentError::Action`], [`EnvironmentError::Width`]; a failure of the physics library.
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvironmentError>;
    /// Starts an episode in the given state instead of a random one (for replays): the state vector of the classic
    /// tasks, `qpos` followed by `qvel` for MuJoCo.
    ///
    /// # Errors
    /// [`EnvironmentError::Width`] if `state` or `observation` has the wrong length.
    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvironmentError>;
    /// Everything that decides how the environment goes on, for a checkpoint.
    fn save(&self) -> EnvironmentState;
    /// Goes on from what [`Environment::save`] returned; the next step is the same to the last bit.
    ///
    /// # Errors
    /// [`EnvironmentError::Width`] if the state is another task's.
    fn restore(&mut self, state: &EnvironmentState) -> Result<(), EnvironmentError>;
}

/// Makes an environment by its Gymnasium name. Random numbers start at seed 0.
///
/// # Errors
/// [`EnvironmentError::Unknown`]; [`EnvironmentError::Mujoco`] if the physics library or its model file is missing.
pub fn make_environment(id: &str) -> Result<Box<dyn Environment>, EnvironmentError> {
    Ok(match id {
        "Pendulum-v1" => Box::new(TimeLimit::new(pendulum::Pendulum::default())),
        "CartPole-v1" => Box::new(TimeLimit::new(cartpole::CartPole::default())),
        "MountainCarContinuous-v0" => Box::new(TimeLimit::new(mountain_car::MountainCar::default())),
        "Acrobot-v1" => Box::new(TimeLimit::new(acrobot::Acrobot::default())),
        _ => match mujoco_tasks::MujocoTask::open(id)? {
            Some(task) => Box::new(TimeLimit::new(task)),
            None => return Err(EnvironmentError::Unknown { id: id.to_owned() }),
        },
    })
}

/// What distinguishes a task, apart from its dynamics.
struct Spec {
    id: &'static str,
    observation_width: usize,
    state_width: usize,
    action_space: ActionSpace,
    time_limit: usize,
}

/// The rules of one task, without clock, seeds and width checks.
trait Task: Send {
    fn spec(&self) -> &Spec;
    fn reset(&mut self, rng: &mut SeededRng) -> Result<(), EnvironmentError>;
    /// Puts the task where a reset would have left it; `state` has `state_width` numbers.
    fn set_state(&mut self, state: &[f64]) -> Result<(), EnvironmentError>;
    /// Reward and whether the state is final. The action has been checked.
    fn step(&mut self, action: Action<'_>) -> Result<(f64, bool), EnvironmentError>;
    fn observe(&mut self, observation: &mut [f64]);
    fn save(&self) -> Vec<f64>;
    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError>;
}

/// A task with Gymnasium's `TimeLimit` wrapper around it.
struct TimeLimit<T> {
    task: T,
    elapsed: usize,
    rng: SeededRng,
}

impl<T: Task> TimeLimit<T> {
    fn new(task: T) -> Self {
        Self { task, elapsed: 0, rng: SeededRng::new(0, 0) }
    }
}

/// # Errors
/// [`EnvironmentError::Width`] unless the two are equal.
fn check_width(expected: usize, found: usize) -> Result<(), EnvironmentError> {
    if expected == found { Ok(()) } else { Err(EnvironmentError::Width { expected, found }) }
}

impl<T: Task> Environment for TimeLimit<T> {
    fn id(&self) -> &'static str {
        self.task.spec().id
    }

    fn observation_width(&self) -> usize {
        self.task.spec().observation_width
    }

    fn action_space(&self) -> &ActionSpace {
        &self.task.spec().action_space
    }

    fn time_limit(&self) -> usize {
        self.task.spec().time_limit
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvironmentError> {
        check_width(self.observation_width(), observation.len())?;
        if let Some(seed) = seed {
            self.rng = SeededRng::new(seed, 0);
        }
        self.elapsed = 0;
        self.task.reset(&mut self.rng)?;
        self.task.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvironmentError> {
        check_width(self.observation_width(), observation.len())?;
        match (self.action_space(), action) {
            (ActionSpace::Discrete(count), Action::Discrete(index)) if index < *count => {}
            (ActionSpace::Continuous { lower, .. }, Action::Continuous(values))
                if values.len() == lower.len() && values.iter().all(|value| value.is_finite()) => {}
            _ => return Err(EnvironmentError::Action),
        }
        let (reward, terminated) = self.task.step(action)?;
        self.elapsed += 1;
        self.task.observe(observation);
        Ok(Step { reward, terminated, truncated: self.elapsed >= self.time_limit() })
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvironmentError> {
        check_width(self.observation_width(), observation.len())?;
        check_width(self.task.spec().state_width, state.len())?;
        self.elapsed = 0;
        self.task.set_state(state)?;
        self.task.observe(observation);
        Ok(())
    }

    fn save(&self) -> EnvironmentState {
        EnvironmentState {
            task: self.task.save(),
            elapsed: self.elapsed,
            rng: self.rng.state(),
            observation: Vec::new(),
        }
    }

    fn restore(&mut self, state: &EnvironmentState) -> Result<(), EnvironmentError> {
        self.task.restore(&state.task)?;
        self.elapsed = state.elapsed;
        self.rng = SeededRng::from_state(&state.rng);
        Ok(())
    }
}

/// The first coordinate of an action of a one-dimensional box, as the `float32` Gymnasium holds.
fn single(action: Action<'_>) -> Result<f32, EnvironmentError> {
    match action {
        Action::Continuous([value]) => Ok(*value as f32),
        _ => Err(EnvironmentError::Action),
    }
}
