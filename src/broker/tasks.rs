//! The background threads, and nowhere else.
//!
//! - `thalweg-flush` makes appends durable that nobody waits for, and seals segments that were rolled over.
//! - `thalweg-commit` syncs for those who wait, while they are so many that sync follows sync.
//! - `thalweg-timer` ends fetches that have waited long enough, and gives up batches that a disk keeps waiting.
//! - `thalweg-linger` writes batches that have lingered long enough.
//! - `thalweg-unmap` takes down large maps that nobody uses any more.
//! - `thalweg-clean` removes what the topics' settings let go, keeps checkpoints from getting old, and has partitions forget
//!   producers that are idle.
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
    timers: [Arc<Timer>; 2],
    cleaner: Arc<Cleaner>,
    open_files: Arc<OpenFiles>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn start(
        background: Background,
        (flusher, timers): (Arc<Flusher>, [Arc<Timer>; 2]),
        clock: Arc<dyn Clock>,
        (disk, open_files): (Arc<dyn Disk>, Arc<OpenFiles>),
    ) -> io::Result<Self> {
        let (cleaner, handles) = (Arc::default(), Vec::new());
        let mut threads = Threads { background, flusher, timers, cleaner, open_files, handles };
        let (flusher, flush_clock) = (Arc::clone(&threads.flusher), Arc::clone(&clock));
        threads.spawn("thalweg-flush", move || flush(&flusher, &*flush_clock))?;
        let flusher = Arc::clone(&threads.flusher);
        if background == Background::Threads {
            flusher.committer.start();
        }
        threads.spawn("thalweg-commit", move || flusher.committer.run(&*disk))?;
        for (name, timer) in ["thalweg-timer", "thalweg-linger"].into_iter().zip(threads.timers.clone()) {
            let clock = Arc::clone(&clock);
            threads.spawn(name, move || timer.run(&*clock))?;
        }
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
        self.timers.iter().for_each(|timer| timer.stop());
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
            if due == Due::default() {
                match schedule.next() {
                    Some(next) => _ = self.changed.wait_until(&mut stopped, next),
                    None => self.changed.wait(&mut stopped),
                }
                continue;
            }
            drop(stopped);
            // An error or a panic leaves everything as it is; the next look tries again.
            if due.checkpoint {
                panics.catch("the look at checkpoints", || topics.tick());
            }
            if due.retention {
                panics.catch("the look at what may go", || topics.enforce_retention());
            }
            if due.expiry {
                panics.catch("the look at idle producers", || topics.expire_producers(schedule.idle_max));
            }
            stopped = self.stopped.lock();
        }
    }

    fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

/// Time between two looks at idle producers, as in Kafka (log.md 13).
const EXPIRY_INTERVAL: Duration = Duration::from_mins(10);

/// When the next looks are due: at how much a crash would leave to be read, at what may go, and at producers that are idle.
/// Each has its own interval.
#[derive(Debug)]
pub(super) struct Schedule {
    checkpoint: Every,
    retention: Every,
    expiry: Every,
    /// How long an idle producer is remembered.
    idle_max: Duration,
}

/// Which looks are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    checkpoint: bool,
    retention: bool,
    expiry: bool,
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
            expiry: every(EXPIRY_INTERVAL),
            idle_max: config.get_producer_id_expiration(),
        }
    }

    /// Which of them are due at `now`. One is due again one interval after that, however late it was.
    fn take_due(&mut self, now: Instant) -> Due {
        let Schedule { checkpoint, retention, expiry, .. } = self;
        Due { checkpoint: checkpoint.take_due(now), retention: retention.take_due(now), expiry: expiry.take_due(now) }
    }

    /// When something is due next.
    fn next(&self) -> Option<Instant> {
        [&self.checkpoint, &self.retention, &self.expiry].into_iter().filter_map(|every| every.next).min()
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
        let times = |is_due: fn(&Due) -> bool| due.iter().map(|due| u8::from(is_due(due))).collect::<Vec<_>>();
        assert_eq!(times(|due| due.checkpoint), [0, 0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(times(|due| due.retention), [0, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(times(|due| due.expiry), [0; 9]);
        let late = schedule.take_due(start + 1000 * second);
        assert_eq!(late, Due { checkpoint: true, retention: true, expiry: true }, "once, however late");
        assert_eq!(schedule.take_due(start + 1001 * second), Due::default());
    }

    #[test]
    fn what_is_due_after_the_end_of_time_never_is() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let config = BrokerConfig::new()
            .log_flush_offset_checkpoint_interval(Duration::MAX)
            .log_retention_check_interval(Duration::MAX);
        let mut schedule = Schedule::new(&config, start);
        let due = schedule.take_due(start + Duration::from_hours(24));
        assert_eq!(due, Due { expiry: true, ..Due::default() });
    }
}
