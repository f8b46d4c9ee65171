//! Progress on standard error.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::interrupt::{kept, stop_requested};
use super::streams::complain;
use crate::progress::Progress;

/// A bar that begins anew with every phase; hidden when standard error is no terminal, and while nothing is known of how
/// much there is to do.
pub struct Bar {
    visible: bool,
    style: ProgressStyle,
    now: Mutex<Phase>,
}

/// What is shown of one phase: a bar of its own, so that none is ever drawn with the numbers of another.
struct Phase {
    name: String,
    bar: ProgressBar,
}

impl Bar {
    /// A bar, or an invisible one.
    pub fn new(visible: bool) -> Self {
        Self::styled(visible, "{prefix:10} {bar:40} {pos}/{len} {eta}")
    }

    /// One with another template: `prefix` is the phase, `msg` the last remark.
    pub fn styled(visible: bool, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let none = Phase { name: String::new(), bar: ProgressBar::hidden() };
        Self { visible, style, now: Mutex::new(none) }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.now().bar.finish_and_clear();
    }

    fn now(&self) -> MutexGuard<'_, Phase> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A bar that is drawn with its first position.
    fn begin(&self, name: &str, total: u64, message: String) -> Phase {
        let target = if self.visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let bar = bar.with_style(self.style.clone()).with_prefix(name.to_owned()).with_message(message);
        Phase { name: name.to_owned(), bar }
    }
}

impl Progress for Bar {
    fn advance(&self, phase: &str, done: usize, total: usize) {
        if total == 0 {
            return;
        }
        let mut now = self.now();
        if now.name != phase {
            now.bar.finish_and_clear();
            let message = now.bar.message();
            *now = self.begin(phase, total as u64, message);
        }
        if now.bar.length() != Some(total as u64) {
            now.bar.set_length(total as u64);
        }
        now.bar.set_position(done as u64);
    }

    fn remark(&self, words: &str) {
        self.now().bar.set_message(words.to_owned());
    }

    fn note(&self, sentence: &str) {
        self.now().bar.suspend(|| complain(sentence));
    }

    fn written(&self) {
        kept("all files are written");
    }

    fn stopped(&self) -> bool {
        stop_requested()
    }
}
