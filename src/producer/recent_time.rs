//! The time of a record, to the millisecond.
//!
//! Asking the system takes as long as everything else in `send`. A millisecond that was read holds until the next one
//! begins, and the processor's own clock tells whether that has come: it is read together with the time, and what is left of
//! the millisecond is converted with a tenth to spare. What is returned is what the system would have said, unless its
//! clock was set within the last millisecond.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::sync::OnceLock;
use crate::sys::ticks;
use crate::types::Timestamp;

/// A millisecond, and the ticks at which it is known not to be over yet.
#[derive(Clone, Copy)]
struct Millisecond {
    timestamp: Timestamp,
    from: u64,
    until: u64,
}

thread_local! {
    static LAST: Cell<Millisecond> = const { Cell::new(Millisecond { timestamp: 0, from: 0, until: 0 }) };
}

/// The present time of `clock`.
#[inline]
pub(super) fn now(clock: &dyn Clock) -> Timestamp {
    let Some(tick) = ticks().filter(|_| clock.is_system()) else { return clock.now() };
    match LAST.try_with(Cell::get) {
        Ok(last) if last.from <= tick && tick < last.until => last.timestamp,
        _ => read(clock, tick),
    }
}

/// Asks the system. `tick` was read before.
#[inline(never)]
fn read(clock: &dyn Clock, tick: u64) -> Timestamp {
    let since_epoch = clock.since_epoch();
    let timestamp = Timestamp::try_from(since_epoch.as_millis()).unwrap_or(Timestamp::MAX);
    if let Some(rate) = rate(clock, tick) {
        let left = 1_000_000 - u64::from(since_epoch.subsec_nanos()) % 1_000_000;
        let until = tick.saturating_add((left as f64 * rate) as u64);
        let _ = LAST.try_with(|last| last.set(Millisecond { timestamp, from: tick, until }));
    }
    timestamp
}

/// Ticks of a nanosecond, somewhat fewer than there are. `None` until it was measured.
fn rate(clock: &dyn Clock, tick: u64) -> Option<f64> {
    static BEGAN: OnceLock<(Instant, u64)> = OnceLock::new();
    static RATE: OnceLock<f64> = OnceLock::new();
    if let Some(rate) = RATE.get() {
        return Some(*rate);
    }
    let now = clock.instant();
    let (began, first_tick) = *BEGAN.get_or_init(|| (now, tick));
    let elapsed = now.saturating_duration_since(began);
    if elapsed < MEASURED_FOR {
        return None;
    }
    // `tick` was read before `now`, so there are rather more of them.
    let rate = tick.saturating_sub(first_tick) as f64 / elapsed.as_nanos() as f64 * SPARE;
    Some(*RATE.get_or_init(|| rate))
}

/// Time over which the rate is measured: long against an interruption between two readings.
const MEASURED_FOR: Duration = Duration::from_millis(200);

/// What is left of a millisecond counts for so much of itself.
const SPARE: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    /// The system's clock, asked before and after.
    #[test]
    fn it_is_the_systems_time() {
        let clock = SystemClock;
        let end = clock.instant() + Duration::from_millis(300);
        let (mut held, mut asked) = (0_u64, 0_u64);
        while clock.instant() < end {
            let (known, before) = (LAST.get().from, clock.now());
            let found = now(&clock);
            let after = clock.now();
            assert!(before <= found && found <= after, "{before} {found} {after}");
            asked += 1;
            held += u64::from(known > 0 && LAST.get().from == known); // the system was not asked
        }
        assert!(ticks().is_none() || held > asked / 20, "it is not asked each time: {held} of {asked}");
    }
}
