//! The cost of a sweep's jobs as it is spent: one bar over all of them. Untrusted.

use std::sync::{Mutex, PoisonError};

use crate::progress::Progress;

/// Adds up what the jobs of a sweep report, in seconds of one core.
pub struct Meter<'a> {
    progress: &'a dyn Progress,
    total: f64,
    spent: Mutex<f64>,
}

impl<'a> Meter<'a> {
    /// Tells `progress` of `total`.
    pub fn new(progress: &'a dyn Progress, total: f64) -> Self {
        Self { progress, total, spent: Mutex::new(0.0) }
    }

    fn spend(&self, cost: f64) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent += cost;
        // In thousandths, so that short jobs move it.
        let parts = |seconds: f64| (1000.0 * seconds.max(0.0)) as usize;
        self.progress.advance("sweep", parts(*spent), parts(self.total));
    }
}

/// One job's share of it.
pub struct JobMeter<'a> {
    meter: &'a Meter<'a>,
    cost: f64,
    told: Mutex<f64>,
}

impl<'a> JobMeter<'a> {
    /// For a job of this cost.
    pub fn new(meter: &'a Meter<'a>, cost: f64) -> Self {
        Self { meter, cost, told: Mutex::new(0.0) }
    }

    /// The job ended, however much of it was told.
    pub fn end(&self) {
        self.reach(1.0);
    }

    fn reach(&self, share: f64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = self.cost * share.clamp(0.0, 1.0);
        self.meter.spend(reached - *told);
        *told = reached;
    }
}

impl Progress for JobMeter<'_> {
    fn advance(&self, _: &str, done: usize, total: usize) {
        self.reach(done as f64 / total.max(1) as f64);
    }

    fn stopped(&self) -> bool {
        self.meter.progress.stopped()
    }
}
