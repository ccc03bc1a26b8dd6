//! The background threads, and nowhere else.
//!
//! - `thalweg-flush` makes appends durable that nobody waits for, and seals segments that were rolled over.
//! - `thalweg-commit` syncs for those who wait, while they are so many that sync follows sync.
//! - `thalweg-timer` closes batches that have lingered long enough, and ends fetches that have waited long enough.
//! - `thalweg-unmap` takes down large maps that nobody uses any more.
//! - `thalweg-clean` removes what the topics' settings let go, and keeps checkpoints from getting old.
//!
//! A panic on one of them harms what it was working on and not the thread: a partition takes no more appends, a batch
//! that lingers stays open until the next look or until somebody waits for it.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::sync::{Arc, Condvar, Mutex};
use crate::sys::{Disk, OpenFiles};
use crate::topic::{Flusher, Timer, Topics};

/// Who does the work of the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    /// Threads, as it becomes due.
    Threads,
    /// Nobody but a caller, at moments of its choice: see [`by_hand`](super::by_hand).
    #[cfg(feature = "simulation")]
    ByHand,
}

/// The running threads, if there are any.
#[derive(Debug)]
pub(super) struct Threads {
    background: Background,
    flusher: Arc<Flusher>,
    timer: Arc<Timer>,
    cleaner: Arc<Cleaner>,
    open_files: Arc<OpenFiles>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn start(
        background: Background,
        (flusher, timer): (Arc<Flusher>, Arc<Timer>),
        clock: Arc<dyn Clock>,
        (disk, open_files): (Arc<dyn Disk>, Arc<OpenFiles>),
    ) -> io::Result<Self> {
        let (cleaner, handles) = (Arc::default(), Vec::new());
        let mut threads = Threads { background, flusher, timer, cleaner, open_files, handles };
        let (flusher, flush_clock) = (Arc::clone(&threads.flusher), Arc::clone(&clock));
        threads.spawn("thalweg-flush", move || flush(&flusher, &*flush_clock))?;
        let flusher = Arc::clone(&threads.flusher);
        if background == Background::Threads {
            flusher.committer.start();
        }
        threads.spawn("thalweg-commit", move || flusher.committer.run(&*disk))?;
        let timer = Arc::clone(&threads.timer);
        threads.spawn("thalweg-timer", move || timer.run(&*clock))?;
        let open_files = Arc::clone(&threads.open_files);
        if background == Background::Threads {
            open_files.garbage.start();
        }
        threads.spawn("thalweg-unmap", move || open_files.garbage.collect())?;
        Ok(threads)
    }

    /// Starts the thread that removes what may go from `topics`.
    pub(super) fn clean(&mut self, topics: Arc<Topics>, clock: Arc<dyn Clock>, schedule: Schedule) -> io::Result<()> {
        let cleaner = Arc::clone(&self.cleaner);
        self.spawn("thalweg-clean", move || cleaner.run(&topics, &*clock, schedule))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        if self.background == Background::Threads {
            self.handles.push(thread::Builder::new().name(name.to_owned()).spawn(run)?);
        }
        Ok(())
    }
}

impl Drop for Threads {
    /// Stops the threads and waits for what they are doing.
    fn drop(&mut self) {
        self.flusher.stop();
        self.timer.stop();
        self.cleaner.stop();
        self.open_files.garbage.stop();
        for handle in self.handles.drain(..) {
            // One of them may be running this: a waker of the application can hold the last handle of the broker.
            if handle.thread().id() != thread::current().id() {
                let _ = handle.join(); // their loops catch panics
            }
        }
    }
}

fn flush(flusher: &Flusher, clock: &dyn Clock) {
    while let Some(due) = flusher.next(|| clock.instant()) {
        flusher.flush(&due);
    }
}

/// Looks at all topics every now and then.
#[derive(Debug, Default)]
struct Cleaner {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Cleaner {
    fn run(&self, topics: &Topics, clock: &dyn Clock, mut schedule: Schedule) {
        let panics = &topics.flusher().committer.panics;
        let mut stopped = self.stopped.lock();
        while !*stopped {
            let due = schedule.take_due(clock.instant());
            if due == (false, false) {
                match schedule.next() {
                    Some(next) => _ = self.changed.wait_until(&mut stopped, next),
                    None => self.changed.wait(&mut stopped),
                }
                continue;
            }
            drop(stopped);
            // An error or a panic leaves everything as it is; the next look tries again.
            if due.0 {
                panics.catch("the look at checkpoints", || topics.tick());
            }
            if due.1 {
                panics.catch("the look at what may go", || topics.enforce_retention());
            }
            stopped = self.stopped.lock();
        }
    }

    fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

/// When the next looks are due: at how much a crash would leave to be read, and at what may go. Each has its own interval.
#[derive(Debug)]
pub(super) struct Schedule {
    checkpoint: Every,
    retention: Every,
}

/// Something that is done every now and then.
#[derive(Debug)]
struct Every {
    interval: Duration,
    /// `None`: after the end of time.
    next: Option<Instant>,
}

impl Schedule {
    /// The first looks are due one interval after `now`.
    pub(super) fn new(config: &BrokerConfig, now: Instant) -> Self {
        let every = |interval| Every { interval, next: now.checked_add(interval) };
        Schedule {
            checkpoint: every(config.get_checkpoint_interval()),
            retention: every(config.get_retention_check_interval()),
        }
    }

    /// Which of the two is due at `now`. It is due again one interval after that, however late it was.
    fn take_due(&mut self, now: Instant) -> (bool, bool) {
        (self.checkpoint.take_due(now), self.retention.take_due(now))
    }

    /// When something is due next.
    fn next(&self) -> Option<Instant> {
        self.checkpoint.next.into_iter().chain(self.retention.next).min()
    }
}

impl Every {
    fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.next = now.checked_add(self.interval);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_has_its_own_interval() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let config = BrokerConfig::new()
            .log_flush_offset_checkpoint_interval(3 * second)
            .log_retention_check_interval(2 * second);
        let mut schedule = Schedule::new(&config, start);
        let mut due = Vec::new();
        for tick in 0..=8 {
            due.push(schedule.take_due(start + tick * second));
            assert!(schedule.next().is_some_and(|next| start + tick * second < next));
        }
        let (checkpoints, retentions): (Vec<_>, Vec<_>) = due.into_iter().unzip();
        assert_eq!(checkpoints.iter().map(|due| u8::from(*due)).collect::<Vec<_>>(), [0, 0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(retentions.iter().map(|due| u8::from(*due)).collect::<Vec<_>>(), [0, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(schedule.take_due(start + 100 * second), (true, true), "once, however late");
        assert_eq!(schedule.take_due(start + 101 * second), (false, false));
    }

    #[test]
    fn what_is_due_after_the_end_of_time_never_is() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let config = BrokerConfig::new()
            .log_flush_offset_checkpoint_interval(Duration::MAX)
            .log_retention_check_interval(Duration::MAX);
        let mut schedule = Schedule::new(&config, start);
        assert_eq!(schedule.take_due(start + Duration::from_hours(24)), (false, false));
    }
}
