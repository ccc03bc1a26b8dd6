//! The background threads, and nowhere else.
//!
//! - `thalweg-flush` makes appends durable that nobody waits for, and seals segments that were rolled over.
//! - `thalweg-timer` closes batches that have lingered long enough.
//! - `thalweg-clean` removes what the topics' settings let go, and keeps checkpoints from getting old.
//!
//! A panic on one of them harms what it was working on and not the thread: a partition takes no more appends, a batch
//! that lingers stays open until the next look or until somebody waits for it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use crate::topic::{Flusher, Topics};

/// The running threads.
#[derive(Debug)]
pub(super) struct Threads {
    flusher: Arc<Flusher>,
    timer: Arc<Timer>,
    cleaner: Arc<Cleaner>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn start(flusher: Arc<Flusher>, timer: Arc<Timer>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let mut threads = Threads { flusher, timer, cleaner: Arc::default(), handles: Vec::new() };
        let (flusher, flush_clock) = (Arc::clone(&threads.flusher), Arc::clone(&clock));
        threads.spawn("thalweg-flush", move || flush(&flusher, &*flush_clock))?;
        let timer = Arc::clone(&threads.timer);
        threads.spawn("thalweg-timer", move || timer.run(&*clock))?;
        Ok(threads)
    }

    /// Starts the thread that removes what may go from `topics`.
    pub(super) fn clean(&mut self, topics: Arc<Topics>) -> io::Result<()> {
        let cleaner = Arc::clone(&self.cleaner);
        self.spawn("thalweg-clean", move || cleaner.run(&topics))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.handles.push(thread::Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Threads {
    /// Stops the threads and waits for what they are doing.
    fn drop(&mut self) {
        self.flusher.stop();
        self.timer.stop();
        self.cleaner.stop();
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
        for due in due {
            if catch_unwind(AssertUnwindSafe(|| due.run())).is_err() {
                due.fail("the background sync panicked: nothing more is accepted; open the broker again");
            }
        }
    }
}

/// Looks at all topics every now and then.
#[derive(Debug, Default)]
struct Cleaner {
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// Time between two looks at how much a crash would leave to be read (log.md 18,
/// `log.flush.offset.checkpoint.interval.ms`).
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Such looks between two at what may go (log.md 18, `log.retention.check.interval.ms`: five minutes).
const TICKS_PER_RETENTION_CHECK: u32 = 5;

impl Cleaner {
    fn run(&self, topics: &Topics) {
        let (mut stopped, mut ticks) = (self.stopped.lock(), 0u32);
        while !*stopped {
            if !self.changed.wait_for(&mut stopped, CHECKPOINT_INTERVAL).timed_out() {
                continue;
            }
            drop(stopped);
            ticks = ticks.wrapping_add(1);
            // An error or a panic leaves everything as it is; the next look tries again.
            let _ = catch_unwind(AssertUnwindSafe(|| topics.tick()));
            if ticks % TICKS_PER_RETENTION_CHECK == 0 {
                let _ = catch_unwind(AssertUnwindSafe(|| topics.enforce_retention()));
            }
            stopped = self.stopped.lock();
        }
    }

    fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

/// Something that has to be done at a certain time.
pub(crate) trait Task: Send + Sync {
    /// Does what is due at `now` and returns when there is something to do next.
    fn run(&self, now: Instant) -> Option<Instant>;
}

/// Runs tasks when they are due.
#[derive(Default)]
pub(crate) struct Timer {
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    tasks: Vec<Weak<dyn Task>>,
    /// When the next look at the tasks is due.
    next: Option<Instant>,
    stopped: bool,
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").field("next", &self.state.lock().next).finish_non_exhaustive()
    }
}

impl Timer {
    /// Adds a task. It is forgotten when it is dropped.
    pub(crate) fn add(&self, task: Weak<dyn Task>) {
        let mut state = self.state.lock();
        state.tasks.retain(|task| task.strong_count() > 0);
        state.tasks.push(task);
    }

    /// Has the tasks run at `at` at the latest. Wakes the thread only if it would sleep longer, so under a steady load
    /// nobody pays for a wake-up.
    pub(crate) fn wake_at(&self, at: Instant) {
        let mut state = self.state.lock();
        if state.next.is_none_or(|next| at < next) {
            state.next = Some(at);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Runs every task now, on the calling thread.
    pub(super) fn run_now(&self, clock: &dyn Clock) {
        let tasks = self.state.lock().tasks.clone();
        run_all(&tasks, clock.instant());
    }

    fn run(&self, clock: &dyn Clock) {
        let mut state = self.state.lock();
        while !state.stopped {
            match state.next {
                None => self.changed.wait(&mut state),
                Some(next) if clock.instant() < next => {
                    self.changed.wait_until(&mut state, next);
                }
                Some(_) => {
                    state.next = None;
                    let tasks = state.tasks.clone();
                    drop(state);
                    let next = run_all(&tasks, clock.instant());
                    state = self.state.lock();
                    state.next = state.next.into_iter().chain(next).min();
                }
            }
        }
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Runs every task that is still there; returns when the first of them has something to do next.
fn run_all(tasks: &[Weak<dyn Task>], now: Instant) -> Option<Instant> {
    tasks
        .iter()
        .filter_map(Weak::upgrade)
        .filter_map(|task| catch_unwind(AssertUnwindSafe(|| task.run(now))).ok().flatten())
        .min()
}
