//! Parts of a check that do not depend on each other, on several threads: one answer, whatever their number. Trusted.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What [`use_threads`] was told.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// As much as a program's first thread usually has.
const STACK: usize = 1 << 23;

/// How many threads every later check of this process uses; 0, as nothing said, is one for each core. No answer depends on it.
pub fn use_threads(threads: usize) {
    THREADS.store(threads, Ordering::Relaxed);
}

/// How many threads to use.
pub(crate) fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads,
    }
}

/// `part(0)`, `part(1)` and so on to `count` parts, or the error of the first part that has one. `progress(done, count)` is
/// called by this thread: now and then, and at the end.
///
/// # Errors
/// What the first refused part says.
pub fn in_order<T: Send + Sync, E: Send + Sync>(
    count: usize,
    part: &(impl Fn(usize) -> Result<T, E> + Sync),
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<T>, E> {
    let slots: Vec<OnceLock<Result<T, E>>> = (0..count).map(|_| OnceLock::new()).collect();
    let (next, done, end) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(count));
    // They are begun in order, so that all before a refused one are finished as well.
    let take = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let slot = slots.get(index).filter(|_| index < end.load(Ordering::Relaxed))?;
        if slot.get_or_init(|| part(index)).is_err() {
            end.fetch_min(index, Ordering::Relaxed);
        }
        Some(done.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    };
    let threads = threads();
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            let other = thread::Builder::new().stack_size(STACK);
            // Where there is no other thread to be had, those that are there do it all.
            if other.spawn_scoped(scope, || while take().is_some() {}).is_err() {
                break;
            }
        }
        while let Some(done) = take() {
            progress(done, count);
        }
    });
    progress(done.into_inner(), count);
    let found = slots.into_iter().enumerate();
    found.map(|(index, slot)| slot.into_inner().unwrap_or_else(|| part(index))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    /// Parts 0 to 39 whatever the threads, and of parts that are refused the first, although later ones are done sooner.
    #[test]
    fn the_answer_does_not_depend_on_the_threads() {
        for threads in [1, 2, 3, 8, 100] {
            use_threads(threads);
            let found = in_order(40, &|index| Ok::<_, ()>(index * index), &mut |_, _| {});
            assert_eq!(found, Ok((0..40).map(|index| index * index).collect()), "{threads}");
            let refused = |index| {
                if index == 7 {
                    thread::sleep(Duration::from_millis(20));
                }
                if index % 11 == 7 { Err(index) } else { Ok(()) }
            };
            assert_eq!(in_order(40, &refused, &mut |_, _| {}), Err(7), "{threads}");
            assert_eq!(in_order(0, &refused, &mut |_, _| {}), Ok(Vec::new()));
            // Others are so slow that they are not done when this thread finds nothing left.
            let (own, seen) = (thread::current().id(), Mutex::new(Vec::new()));
            let part = |_| {
                let id = thread::current().id();
                seen.lock().unwrap().push(id);
                thread::sleep(Duration::from_micros(if id == own { 100 } else { 50_000 }));
                Ok::<_, ()>(())
            };
            let mut last = 0;
            let mut count = |done, all| {
                assert!(done >= last && all == 400);
                last = done;
            };
            assert!(in_order(400, &part, &mut count).is_ok());
            assert_eq!(last, 400);
            assert_eq!(seen.into_inner().unwrap().iter().any(|id| *id != own), threads > 1);
        }
        use_threads(0);
    }

    /// With one thread nothing is done after a refusal, and with many no more than what had begun.
    #[test]
    fn nothing_is_begun_behind_a_refusal() {
        let begun = AtomicUsize::new(0);
        let part = |index| {
            begun.fetch_add(1, Ordering::Relaxed);
            if index == 0 { Err(()) } else { Ok(()) }
        };
        // The other test may ask for other numbers meanwhile, of at most 100 threads.
        assert_eq!(in_order(100_000, &part, &mut |_, _| {}), Err(()));
        assert!(begun.into_inner() < 50_000);
    }
}
