//! Progress of long work, and the wish to end it. Untrusted.

/// Receives progress, from any thread, and may ask to stop.
pub trait Progress: Sync {
    /// `done` of `total` parts of the named phase are finished.
    fn advance(&self, phase: &str, done: usize, total: usize);
    /// A few words beside the numbers, until the next ones.
    fn remark(&self, _words: &str) {}
    /// A sentence that stays.
    fn note(&self, _sentence: &str) {}
    /// All files are written: what is stopped from here on leaves them.
    fn written(&self) {}
    /// Whether to end early; what keeps checkpoints writes one first.
    fn stopped(&self) -> bool {
        false
    }
}

/// Shows nothing, never stops.
pub struct Silent;

impl Progress for Silent {
    fn advance(&self, _: &str, _: usize, _: usize) {}
}

/// Shows nothing, stops when the other does.
pub struct Quiet<'a>(pub &'a dyn Progress);

impl Progress for Quiet<'_> {
    fn advance(&self, _: &str, _: usize, _: usize) {}

    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}
