//! A clock that moves when it is told to.

use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::types::Timestamp;

/// A clock that moves when it is told to: by [`advance`](SimulatedClock::advance). Clones are the same clock.
///
/// Each look at it takes a tenth of a millisecond of its time, so that a call with a time limit comes to its end when
/// nothing happens, and without waiting for it: `consumer.poll(Duration::from_secs(1))` of an empty topic takes one second
/// on this clock.
#[derive(Clone, Debug)]
pub struct SimulatedClock(Arc<Time>);

#[derive(Debug)]
struct Time {
    /// Lies in the past of the system's clock: the system takes a deadline on this clock for one that is over, and blocks
    /// nobody.
    start: Instant,
    elapsed_us: AtomicU64,
}

/// The wall clock at the start: 2023-11-14, 22:13:20 UTC.
const START_MS: Timestamp = 1_700_000_000_000;

/// What a look at the clock takes.
const LOOK_US: u64 = 100;

/// How far the start lies in the past.
const PAST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl SimulatedClock {
    #[expect(clippy::disallowed_methods, reason = "a clock, too, and it needs an instant to count from")]
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let start = now.checked_sub(PAST).unwrap_or(now);
        SimulatedClock(Arc::new(Time { start, elapsed_us: AtomicU64::new(0) }))
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        let by_us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.0.elapsed_us.fetch_add(by_us, Ordering::SeqCst);
    }

    /// Milliseconds since 1970, as records are stamped.
    pub fn timestamp(&self) -> Timestamp {
        let elapsed_ms = self.0.elapsed_us.load(Ordering::SeqCst) / 1000;
        START_MS.saturating_add(Timestamp::try_from(elapsed_ms).unwrap_or(Timestamp::MAX))
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.timestamp()
    }

    fn instant(&self) -> Instant {
        let elapsed_us = self.0.elapsed_us.fetch_add(LOOK_US, Ordering::SeqCst);
        let elapsed = Duration::from_micros(elapsed_us);
        self.0.start.checked_add(elapsed).unwrap_or(self.0.start)
    }
}
