//! Ctrl-C: the first ends every command within a second, between two writes, and says what was kept; the second at once.
//! Untrusted. `spec/outputs.md#interrupts`.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::streams::complain;
use crate::policy::write::end_writing;

/// Exit code of an interrupted command.
pub const INTERRUPTED: u8 = 4;

/// How long a command may take to notice and to end in its own way.
const GRACE: Duration = Duration::from_millis(750);
/// How long a write may take to end after that.
const LAST_WRITE: Duration = Duration::from_secs(30);

static STOP: AtomicBool = AtomicBool::new(false);
/// Set by whoever ends the process, so that one message is printed.
static ENDING: AtomicBool = AtomicBool::new(false);
static KEPT: Mutex<String> = Mutex::new(String::new());

/// Watches for Ctrl-C from here on.
pub fn catch_interrupts() {
    // A handler can be set once only; a second call changes nothing.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            end();
        }
        std::thread::spawn(|| {
            std::thread::sleep(GRACE);
            end();
        });
    });
}

/// Whether the user asked to stop.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// What to say is kept, if the command is interrupted from here on.
pub fn kept(words: impl Into<String>) {
    if let Ok(mut kept) = KEPT.lock() {
        *kept = words.into();
    }
}

/// The command's end comes first: waits forever if the handler ends the process already.
pub fn finish_first() {
    if ENDING.swap(true, Ordering::SeqCst) {
        loop {
            std::thread::park();
        }
    }
}

/// Ends the process from the handler's thread, unless the command is ending itself.
fn end() {
    // A command that writes at this moment may finish the write, and its own message, first.
    let _ = end_writing(LAST_WRITE);
    if ENDING.swap(true, Ordering::SeqCst) {
        return;
    }
    if std::io::stderr().is_terminal() {
        // Clears the line of a progress bar.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"\r\x1b[2K");
    }
    let kept = KEPT.lock().map(|kept| kept.clone()).unwrap_or_default();
    let kept = if kept.is_empty() { "nothing was written" } else { &kept };
    complain(&format!("error: interrupted; {kept}"));
    std::process::exit(i32::from(INTERRUPTED));
}
