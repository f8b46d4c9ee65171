//! Runs a plan's jobs on a few workers, each job on one thread, in any order that their dependencies allow. Untrusted.
//! What is done is never done again; what fails stops only what needs it. `spec/sweep.md#jobs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::job::{JobContext, JobError, run_job};
use super::meter::{JobMeter, Meter};
use super::plan::Plan;
use super::store::{Found, Store, StoreError};
use crate::progress::Progress;

/// How many jobs, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Jobs at a time.
    pub workers: usize,
    /// Jobs to run in all; those that were done before do not count.
    pub jobs: Option<usize>,
}

/// How a sweep ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Jobs whose results are there.
    pub done: usize,
    /// Of these, run this time.
    pub ran: usize,
    /// Label and reason of every job that failed.
    pub failed: Vec<(String, String)>,
    /// Jobs not run because a job they need failed.
    pub blocked: usize,
    /// Whether it was stopped before its end, by the user or by the limit.
    pub stopped: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Status {
    Waiting,
    Running,
    Done(String),
    Failed,
    Blocked,
}

struct State {
    status: Vec<Status>,
    started: usize,
    outcome: Outcome,
}

struct Engine<'a> {
    plan: &'a Plan,
    store: &'a Store,
    limits: Limits,
    progress: &'a dyn Progress,
    meter: Meter<'a>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What a worker does next.
enum Next {
    Run(usize, Vec<String>),
    Stop,
}

enum Ended {
    Ran(String),
    Kept(String),
    Stopped,
    /// The limit of jobs was reached before it could begin.
    Refused,
    Failed(String),
}

/// Runs every job that is not done.
pub fn run_plan(plan: &Plan, store: &Store, limits: Limits, progress: &dyn Progress) -> Outcome {
    let state =
        State { status: vec![Status::Waiting; plan.jobs.len()], started: 0, outcome: Outcome::default() };
    let left = plan.cost(|index| !matches!(store.look(&plan.jobs[index], None), Found::Whole(_)));
    let meter = Meter::new(progress, left);
    let engine =
        Engine { plan, store, limits, progress, meter, state: Mutex::new(state), changed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..limits.workers.max(1) {
            scope.spawn(|| engine.work());
        }
    });
    let state = engine.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let count = |wanted: fn(&Status) -> bool| state.status.iter().filter(|status| wanted(status)).count();
    let mut outcome = state.outcome;
    outcome.done = count(|status| matches!(status, Status::Done(_)));
    outcome.blocked = count(|status| *status == Status::Blocked);
    outcome.stopped |= count(|status| *status == Status::Waiting) > 0;
    // Workers end in any order; a report does not.
    outcome.failed.sort();
    outcome
}

impl Engine<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Next::Run(index, inputs) = self.next() {
            let ended = catch_unwind(AssertUnwindSafe(|| self.run(index, &inputs)));
            let ended = ended.unwrap_or_else(|_| Ended::Failed("it panicked; please report this".to_owned()));
            self.record(index, ended);
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    /// Waits for a job whose dependencies are done, the first in the plan's order.
    fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if state.outcome.stopped || self.progress.stopped() {
                state.outcome.stopped = true;
                return Next::Stop;
            }
            self.block(&mut state);
            let ready = (0..self.plan.jobs.len())
                .filter(|index| state.status[*index] == Status::Waiting)
                .find_map(|index| Some((index, self.inputs(&state, index)?)));
            if let Some((index, inputs)) = ready {
                state.status[index] = Status::Running;
                return Next::Run(index, inputs);
            }
            if !state.status.contains(&Status::Running) {
                return Next::Stop;
            }
            // Woken by other workers; the time lets an interrupt be noticed.
            let wait = std::time::Duration::from_millis(200);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Digests of the results that a job needs, once all are there.
    fn inputs(&self, state: &State, index: usize) -> Option<Vec<String>> {
        let digest = |need: &usize| match &state.status[*need] {
            Status::Done(digest) => Some(digest.clone()),
            _ => None,
        };
        self.plan.jobs[index].needs.iter().map(digest).collect()
    }

    /// Marks what waits for a job that failed. Needs come before what needs them, so that one pass is enough.
    fn block(&self, state: &mut State) {
        for (index, job) in self.plan.jobs.iter().enumerate() {
            let lost = |need: &usize| matches!(state.status[*need], Status::Failed | Status::Blocked);
            if state.status[index] == Status::Waiting && job.needs.iter().any(lost) {
                state.status[index] = Status::Blocked;
            }
        }
    }

    fn record(&self, index: usize, ended: Ended) {
        let label = self.plan.jobs[index].label.clone();
        let mut state = self.lock();
        state.status[index] = match ended {
            Ended::Ran(digest) => {
                state.outcome.ran += 1;
                Status::Done(digest)
            }
            Ended::Kept(digest) => Status::Done(digest),
            Ended::Stopped | Ended::Refused => {
                state.outcome.stopped = true;
                Status::Waiting
            }
            Ended::Failed(reason) => {
                state.outcome.failed.push((label, reason));
                Status::Failed
            }
        };
    }

    /// Takes one job from the limit.
    fn may_start(&self) -> bool {
        let mut state = self.lock();
        if self.limits.jobs.is_some_and(|limit| state.started >= limit) {
            return false;
        }
        state.started += 1;
        true
    }

    fn run(&self, index: usize, inputs: &[String]) -> Ended {
        let job = &self.plan.jobs[index];
        match self.store.look(job, Some(inputs)) {
            Found::Whole(digest) => return Ended::Kept(digest),
            Found::Nothing => {}
            Found::Wrong(reason) => match self.store.set_aside(job) {
                Ok(aside) => self.progress.note(&format!(
                    "{}: the result is not used ({reason}); it is now {}, and the job runs again",
                    job.label,
                    aside.display()
                )),
                Err(error) => return Ended::Failed(error.to_string()),
            },
        }
        if !self.may_start() {
            return Ended::Refused;
        }
        self.progress.remark(&job.label);
        let ended = self.attempt(index, inputs).unwrap_or_else(|error| Ended::Failed(error.to_string()));
        if let Ended::Failed(reason) = &ended {
            self.progress.note(&format!("{} failed: {reason}", job.label));
        }
        ended
    }

    fn attempt(&self, index: usize, inputs: &[String]) -> Result<Ended, StoreError> {
        let job = &self.plan.jobs[index];
        for attempt in 0..2 {
            let meter = JobMeter::new(&self.meter, job.cost);
            let context = JobContext {
                out: &self.store.begin(job)?,
                work: &self.store.work(job),
                inputs: &job
                    .needs
                    .iter()
                    .map(|need| self.store.folder(&self.plan.jobs[*need]))
                    .collect::<Vec<_>>(),
                progress: &meter,
            };
            let ended = run_job(&job.spec, &context);
            meter.end();
            match ended {
                Ok(()) => return Ok(Ended::Ran(self.store.finish(job, inputs)?)),
                Err(JobError::Interrupted) => return Ok(Ended::Stopped),
                Err(JobError::Checkpoint(reason)) if attempt == 0 => {
                    self.progress.note(&format!("{}: {reason}; it starts anew", job.label));
                    self.store.discard_work(job)?;
                }
                Err(error) => return Ok(Ended::Failed(error.to_string())),
            }
        }
        Ok(Ended::Failed("its checkpoint cannot be used".to_owned()))
    }
}
