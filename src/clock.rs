//! The only place that asks the system for the time.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::Timestamp;

/// Where the engine takes the time from. Layers below the broker get the time as an argument.
pub(crate) trait Clock: fmt::Debug + Send + Sync {
    /// The wall clock, which may jump: for record timestamps.
    fn now(&self) -> Timestamp;

    /// The wall clock, as time since 1970.
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now()).unwrap_or(0))
    }

    /// Whether it is the system's: then what was read a moment ago tells something about now.
    fn is_system(&self) -> bool {
        false
    }

    /// A clock that never goes back: for deadlines and durations.
    fn instant(&self) -> Instant;
}

/// The system's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the place that the ban leads to")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.since_epoch().as_millis()).unwrap_or(Timestamp::MAX)
    }

    fn since_epoch(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }

    fn is_system(&self) -> bool {
        true
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}
