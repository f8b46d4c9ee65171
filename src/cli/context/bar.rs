//! Progress on standard error.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::interrupt::{kept, stop_requested};
use super::streams::complain;
use crate::progress::Progress;

/// A bar that begins anew with every phase; hidden when standard error is no terminal.
pub struct Bar {
    bar: ProgressBar,
    phase: Mutex<String>,
}

impl Bar {
    /// A bar, or an invisible one.
    pub fn new(visible: bool) -> Self {
        Self::styled(visible, "{prefix:10} {bar:40} {pos}/{len} {eta}")
    }

    /// One with another template: `prefix` is the phase, `msg` the last remark.
    pub fn styled(visible: bool, template: &str) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, phase: Mutex::new(String::new()) }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn advance(&self, phase: &str, done: usize, total: usize) {
        let mut current = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != phase {
            phase.clone_into(&mut current);
            self.bar.reset();
            self.bar.set_prefix(phase.to_owned());
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn remark(&self, words: &str) {
        self.bar.set_message(words.to_owned());
    }

    fn note(&self, sentence: &str) {
        self.bar.suspend(|| complain(sentence));
    }

    fn written(&self) {
        kept("all files are written");
    }

    fn stopped(&self) -> bool {
        stop_requested()
    }
}
