//! Panics where no application is there to see them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::{AtomicU64, Ordering};

/// Panics of background work: each ends what was being done, not the thread that did it. They are counted, for
/// `Broker::stats`, and logged.
#[derive(Debug, Default)]
pub(crate) struct Panics(AtomicU64);

impl Panics {
    /// Runs `work`; `None` if it panicked.
    pub(crate) fn catch<T>(&self, name: &str, work: impl FnOnce() -> T) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        if outcome.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
            tracing::error!("{name} panicked in the background, which is a defect: please report it");
        }
        outcome.ok()
    }

    /// Number of panics so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
