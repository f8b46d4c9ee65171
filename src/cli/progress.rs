//! Progress on standard error.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::certify::Progress;
use crate::cli::interrupt::stop_requested;

/// A bar per phase; hidden when standard error is no terminal.
pub struct Bar {
    bar: ProgressBar,
    phase: Mutex<String>,
}

impl Bar {
    /// A bar, or an invisible one.
    pub fn new(visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{msg:10} {bar:40} {pos}/{len} {eta}") {
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
        if let Ok(mut current) = self.phase.lock()
            && *current != phase
        {
            phase.clone_into(&mut current);
            self.bar.reset();
            self.bar.set_message(phase.to_owned());
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn stopped(&self) -> bool {
        stop_requested()
    }
}
