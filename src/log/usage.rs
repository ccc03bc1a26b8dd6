//! How much the logs of a data directory hold together, and how much they may hold.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::segment::Readers;
use crate::sync::{AtomicU64, CachePadded, Condvar, Mutex, Ordering, Weak};
use crate::types::Timestamp;

/// The bytes of all logs of a data directory, shared by them.
///
/// A log adds what it holds when it is opened and what is appended, and takes away what leaves it. Without a limit nobody
/// asks and nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Bytes of record batches in the segments of all logs. Changed by each log under its writer's lock, so that it is the
    /// sum of their sizes; nothing is published by it, and a stale value lets in or keeps out a record too many.
    bytes: CachePadded<AtomicU64>,
    /// Most bytes there may be, if there is a limit.
    limit: Option<u64>,
    /// Held between a look at `bytes` and the wait that follows, and by those who wake the ones who wait.
    waiting: Mutex<()>,
    freed: Condvar,
    /// Held by the one who removes records to make room.
    dropping: Mutex<()>,
    pins: Mutex<Vec<Pin>>,
}

/// A segment that is out of its log and still held by readers.
#[derive(Debug)]
struct Pin {
    readers: Weak<Readers>,
    bytes: u64,
    since: Timestamp,
}

/// Segments that are out of their logs and whose space readers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pinned {
    pub(crate) bytes: u64,
    /// Time since the first of them was removed.
    pub(crate) oldest: Option<Duration>,
}

impl Usage {
    /// No bytes yet, and at most `limit`.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Usage { limit, ..Usage::default() }
    }

    /// Bytes of record batches in all logs.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Most bytes that there may be, if there is a limit.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Whether `size` bytes more are within the limit.
    #[inline]
    pub(crate) fn has_room(&self, size: u64) -> bool {
        self.limit.is_none_or(|limit| self.bytes().saturating_add(size) <= limit)
    }

    /// Bytes down to which records are removed for `size` more: a twentieth of the limit is spare, so that the next record
    /// does not begin it all again.
    pub(crate) fn bytes_to_keep(&self, size: u64) -> u64 {
        self.limit.map_or(u64::MAX, |limit| (limit - limit / 20).min(limit.saturating_sub(size)))
    }

    /// Waits until there is room for `size` bytes, `is_over` says so at a [wake-up](Usage::wake_all), or the deadline has
    /// come. Returns whether there was room.
    pub(crate) fn wait_for_room(&self, size: u64, deadline: Option<Instant>, is_over: impl Fn() -> bool) -> bool {
        let mut waiting = self.waiting.lock();
        loop {
            if self.has_room(size) {
                return true;
            }
            if is_over() {
                return false;
            }
            match deadline {
                None => self.freed.wait(&mut waiting),
                Some(deadline) if self.freed.wait_until(&mut waiting, deadline).timed_out() => {
                    return self.has_room(size);
                }
                Some(_) => {}
            }
        }
    }

    /// Has everybody who waits look again.
    pub(crate) fn wake_all(&self) {
        drop(self.waiting.lock()); // who has looked already is waiting by now
        self.freed.notify_all();
    }

    /// Waits for the one who is removing records to make room.
    pub(crate) fn begin_dropping(&self) -> impl Drop + '_ {
        self.dropping.lock()
    }

    /// The error of a record that there is no room for.
    #[cold]
    pub(crate) fn full(&self) -> Error {
        Error::new(ErrorKind::StoreFull { used: self.bytes(), limit: self.limit.unwrap_or(u64::MAX) })
    }

    /// A log has `bytes` more.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A log has `bytes` fewer.
    pub(super) fn remove(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if self.limit.is_some() {
            self.wake_all();
        }
    }

    /// A segment of `bytes` left its log at `now`. Remembered while it has readers.
    pub(super) fn pin(&self, readers: Weak<Readers>, bytes: u64, now: Timestamp) {
        if readers.strong_count() > 0 && bytes > 0 {
            let mut pins = self.pins.lock();
            pins.retain(|pin| pin.readers.strong_count() > 0);
            pins.push(Pin { readers, bytes, since: now });
        }
    }

    /// What readers hold of segments that are out of their logs, at `now`.
    pub(crate) fn pinned(&self, now: Timestamp) -> Pinned {
        let mut pins = self.pins.lock();
        pins.retain(|pin| pin.readers.strong_count() > 0);
        let since = pins.iter().map(|pin| pin.since).min();
        let age = |since| Duration::from_millis(u64::try_from(now.saturating_sub(since)).unwrap_or(0));
        Pinned { bytes: pins.iter().map(|pin| pin.bytes).sum(), oldest: since.map(age) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Arc;

    #[test]
    fn without_a_limit_there_is_always_room() {
        let usage = Usage::new(None);
        usage.add(u64::MAX);
        assert!(usage.has_room(u64::MAX) && usage.wait_for_room(1, None, || false));
    }

    #[test]
    fn room_ends_at_the_limit() {
        let usage = Usage::new(Some(100));
        usage.add(90);
        assert!(usage.has_room(10) && !usage.has_room(11) && !usage.has_room(u64::MAX));
        assert_eq!((usage.bytes_to_keep(1), usage.bytes_to_keep(30), usage.bytes_to_keep(101)), (95, 70, 0));
        usage.remove(1);
        assert!(usage.has_room(11));
        assert_eq!(usage.full().kind(), &ErrorKind::StoreFull { used: 89, limit: 100 });
    }

    #[test]
    fn nobody_waits_longer_than_asked_for() {
        let usage = Usage::new(Some(100));
        usage.add(100);
        assert!(!usage.wait_for_room(1, None, || true));
        #[expect(clippy::disallowed_methods, reason = "a deadline that has come")]
        let now = Instant::now();
        assert!(!usage.wait_for_room(1, Some(now), || false));
    }

    /// Each round ends only when the wake-up arrives.
    #[test]
    fn no_wake_up_is_lost() {
        let usage = Usage::new(Some(1));
        usage.add(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    assert!(usage.wait_for_room(1, None, || false));
                    usage.add(1);
                }
            });
            for _ in 0..10_000 {
                while usage.bytes() == 0 {
                    std::thread::yield_now();
                }
                usage.remove(1);
            }
        });
    }

    #[test]
    fn pins_last_as_long_as_their_readers() {
        let (usage, first, second) = (Usage::default(), Arc::new(Readers), Arc::new(Readers));
        usage.pin(Weak::new(), 1000, 0);
        assert_eq!(usage.pinned(0), Pinned::default());
        usage.pin(Arc::downgrade(&first), 10, 1000);
        usage.pin(Arc::downgrade(&second), 20, 3000);
        assert_eq!(usage.pinned(4000), Pinned { bytes: 30, oldest: Some(Duration::from_secs(3)) });
        drop(first);
        assert_eq!(usage.pinned(2000), Pinned { bytes: 20, oldest: Some(Duration::ZERO) }, "the clock was set back");
        drop(second);
        assert_eq!(usage.pinned(4000), Pinned::default());
    }
}
