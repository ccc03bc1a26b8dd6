//! A bound on how many things are open at a time.

use std::collections::VecDeque;
use std::fmt;

use super::garbage::Garbage;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use crate::types::ReadMode;

/// Something that can be given up and had again.
pub(crate) trait Evict: fmt::Debug + Send + Sync {
    /// Gives it up, unless it is in use or was used since the last try. Never waits.
    fn try_evict(&self) -> Eviction;
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// It is not open any more, or must not be given up before it is noted again.
    Forget,
    /// It was used a moment ago: ask again later.
    Keep,
}

/// Keeps at most `limit` things open: the one that was opened first and not used since is given up for the next
/// ("clock"). What cannot be given up stays, so the bound holds for everything else.
#[derive(Debug)]
pub(crate) struct Bounded {
    limit: usize,
    open: Mutex<VecDeque<Weak<dyn Evict>>>,
}

/// Most tries for one that is noted, so that nobody pays for a long row of things in use.
const TRIES_MAX: usize = 64;

impl Bounded {
    pub(crate) fn new(limit: usize) -> Self {
        Bounded { limit: limit.max(1), open: Mutex::default() }
    }

    /// Takes note of something that was opened, and gives up others where there are too many. Called at most once for
    /// each time that it is opened.
    pub(crate) fn note(&self, opened: Weak<dyn Evict>) {
        let mut open = self.open.lock();
        open.push_back(opened);
        for _ in 0..TRIES_MAX {
            if open.len() <= self.limit {
                return;
            }
            let Some(candidate) = open.pop_front() else { return };
            drop(open); // closing and unmapping take their time
            let eviction = candidate.upgrade().map_or(Eviction::Forget, |candidate| candidate.try_evict());
            open = self.open.lock();
            if eviction == Eviction::Keep {
                open.push_back(candidate);
            }
        }
    }

    /// Number of things that are noted.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().iter().filter(|open| open.strong_count() > 0).count()
    }
}

/// The files and maps that a broker may have open, and which of the two it reads through.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    /// How segments are read.
    pub(crate) read_mode: ReadMode,
    /// Files that are written to.
    pub(crate) handles: Bounded,
    /// Maps of segments that nothing is appended to; files where nothing is mapped.
    pub(crate) maps: Bounded,
    /// Takes down large maps that nobody uses any more.
    pub(crate) garbage: Garbage,
    /// Whether nothing is opened any more: the names may be those of other files. Set once, before the lock of the
    /// directory goes.
    closed: AtomicBool,
}

impl OpenFiles {
    /// At most so many, for reading through maps.
    #[cfg(test)]
    pub(crate) fn new(handles_max: usize, maps_max: usize) -> Arc<Self> {
        OpenFiles::with_mode(ReadMode::Mmap, handles_max, maps_max)
    }

    /// At most so many. Without maps what is read takes handles, too: no more than what is written.
    pub(crate) fn with_mode(read_mode: ReadMode, handles_max: usize, maps_max: usize) -> Arc<Self> {
        let maps_max = match read_mode {
            ReadMode::Mmap => maps_max,
            ReadMode::Pread => maps_max.min(handles_max),
        };
        let (handles, maps) = (Bounded::new(handles_max), Bounded::new(maps_max));
        Arc::new(OpenFiles { read_mode, handles, maps, garbage: Garbage::default(), closed: AtomicBool::new(false) })
    }

    /// Lets nothing be opened by name any more. What is open stays.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether nothing is to be opened any more. Asked once more after a file was opened: then its name was still its own.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A quarter of the file handles that this process may have (16 to 4096): the rest is the application's.
    pub(crate) fn handles_max_default() -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        (limit / 4).clamp(16, 4096)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Thing {
        open: AtomicBool,
        used: AtomicBool,
        pinned: bool,
    }

    impl Evict for Thing {
        fn try_evict(&self) -> Eviction {
            if self.pinned {
                return Eviction::Forget;
            }
            if self.used.swap(false, Ordering::Relaxed) {
                return Eviction::Keep;
            }
            self.open.store(false, Ordering::Relaxed);
            Eviction::Forget
        }
    }

    fn open(bounded: &Bounded, pinned: bool) -> Arc<Thing> {
        let thing = Arc::new(Thing { open: true.into(), used: false.into(), pinned });
        let weak: Weak<dyn Evict> = Arc::downgrade(&(Arc::clone(&thing) as Arc<dyn Evict>));
        bounded.note(weak);
        thing
    }

    fn open_count(things: &[Arc<Thing>]) -> usize {
        things.iter().filter(|thing| thing.open.load(Ordering::Relaxed)).count()
    }

    #[test]
    fn the_oldest_goes_unless_it_was_used() {
        let bounded = Bounded::new(3);
        let things: Vec<_> = (0..3).map(|_| open(&bounded, false)).collect();
        things[0].used.store(true, Ordering::Relaxed);
        let more = open(&bounded, false);
        let is_open = |thing: &Arc<Thing>| thing.open.load(Ordering::Relaxed);
        assert_eq!(things.iter().map(is_open).collect::<Vec<_>>(), [true, false, true]);
        assert!(is_open(&more));
        assert_eq!(bounded.len(), 3);
    }

    #[test]
    fn what_is_pinned_stays_and_what_is_dropped_does_not_count() {
        let bounded = Bounded::new(2);
        let pinned: Vec<_> = (0..10).map(|_| open(&bounded, true)).collect();
        assert_eq!(open_count(&pinned), 10);
        for _ in 0..100 {
            open(&bounded, false); // dropped at once
        }
        let things: Vec<_> = (0..10).map(|_| open(&bounded, false)).collect();
        assert_eq!(open_count(&things), 2);
    }
}
