//! What the parts of a producer share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::accumulator::PartitionQueue;
use super::interceptors::Interceptors;
use super::memory::Memory;
use super::stats::Counters;
use super::topic_queues::TopicQueues;
use crate::broker::Engine;
use crate::config::ProducerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, OnceLock, Ordering, Weak};
use crate::topic::{Task, Timer};

/// What the parts of a producer share.
#[derive(Debug)]
pub(super) struct Shared {
    this: Weak<Shared>,
    /// Tells producers of this process apart.
    pub(super) number: u64,
    pub(super) engine: Arc<Engine>,
    pub(super) config: ProducerConfig,
    pub(super) memory: Memory,
    pub(super) stats: Counters,
    pub(super) dues: Dues,
    pub(super) expiry: Expiry,
    pub(super) queues: TopicQueues,
    pub(super) interceptors: Interceptors,
    producer_id: OnceLock<i64>,
    /// Set by `close`; a `send` that does not see it yet is as if it had come before.
    closed: AtomicBool,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Shared {
    pub(super) fn new(engine: Arc<Engine>, config: ProducerConfig) -> Arc<Self> {
        let limit = usize::try_from(config.get_buffer_memory()).unwrap_or(usize::MAX);
        Arc::new_cyclic(|this| Shared {
            this: Weak::clone(this),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            memory: Memory::new(limit),
            stats: Counters::new(engine.clock.instant()),
            dues: Dues::default(),
            expiry: Expiry::default(),
            queues: TopicQueues::default(),
            interceptors: Interceptors::new(&config),
            producer_id: OnceLock::new(),
            closed: AtomicBool::new(false),
            engine,
            config,
        })
    }

    pub(super) fn this(&self) -> Weak<Shared> {
        Weak::clone(&self.this)
    }

    /// What it is called in the log of the process.
    pub(super) fn name(&self) -> String {
        match self.config.get_client_id() {
            "" => format!("producer-{}", self.number),
            id => id.to_owned(),
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        self.engine.check_open()?;
        if self.closed.load(Ordering::Acquire) { Err(Error::new(ErrorKind::Closed)) } else { Ok(()) }
    }

    /// Takes no more records. Returns whether it was open.
    pub(super) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Time between two looks at batches that wait too long.
    pub(super) fn look_interval(&self) -> Duration {
        (self.config.get_delivery_timeout() / 8).clamp(Duration::from_millis(10), LOOK_INTERVAL)
    }

    /// Whether what is left is to be written or given up at once: nobody will be there later.
    pub(super) fn is_ending(&self) -> bool {
        self.engine.check_open().is_err()
    }

    /// The id that the log knows this producer by.
    pub(super) fn producer_id(&self) -> Result<i64> {
        if let Some(id) = self.producer_id.get() {
            return Ok(*id);
        }
        let id = self.new_producer_id()?;
        Ok(*self.producer_id.get_or_init(|| id)) // another thread may have been faster: its id counts
    }

    /// An id that no producer has had.
    pub(super) fn new_producer_id(&self) -> Result<i64> {
        self.engine.producer_ids.next()
    }

    /// The error of a batch that was refused with `cause` until its time was up.
    #[cold]
    pub(super) fn never_written(&self, cause: &Error) -> Error {
        let what = format!("the batch could not be written within {:?}", self.config.get_delivery_timeout());
        Error::new(ErrorKind::Timeout { what }).caused_by(cause.clone())
    }

    /// When a batch that was opened at `opened` and refused `attempts` times before is tried again after `error`: `None`
    /// if it fails with that error, an error if it has no time left.
    pub(super) fn try_again_at(
        &self,
        error: &Error,
        attempts: u32,
        (opened, now): (Instant, Instant),
    ) -> Option<Result<Instant>> {
        let is_passing = error.is_retriable() && matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::Io { .. });
        if !is_passing || self.config.get_retries() <= attempts || self.is_ending() {
            return None;
        }
        let over = opened + self.config.get_delivery_timeout();
        if over <= now {
            return Some(Err(self.never_written(error)));
        }
        let (first, longest) = self.config.get_retry_backoff();
        let backoff = first.saturating_mul(1 << attempts.min(20)).min(longest.max(first));
        Some(Ok((now + backoff.mul_f64(jitter())).min(over)))
    }
}

/// Rule: producer.md 2, `ExponentialBackoff`: 0.8 to 1.2.
fn jitter() -> f64 {
    let drawn = RandomState::new().hash_one(0) % 1000;
    0.8 + drawn as f64 * 0.0004
}

impl Task for Shared {
    /// Writes batches that have lingered long enough; all of them when the broker is being closed. Those of topics that
    /// were deleted fail.
    fn run(&self, now: Instant) -> Option<Instant> {
        self.queues.drop_deleted(self);
        if self.is_ending() {
            self.memory.wake_all(); // nobody gets into a batch any more
            self.queues.all().iter().for_each(|queue| queue.run_due(self, now));
            self.memory.wake_all(); // nobody may give it back
            return None;
        }
        while let Some(queue) = self.dues.take(now) {
            queue.run_due(self, now);
        }
        self.dues.next()
    }
}

/// Gives up batches that have waited for `delivery.timeout.ms`, also while every thread that writes is kept by the disk.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Whether it will look again. Set by who opens a batch, taken back when there is none.
    is_awaited: AtomicBool,
    /// When: the timer asks its tasks whenever something is due for one of them, and a look goes over all queues.
    due: Mutex<Option<Instant>>,
}

/// Longest time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Expiry {
    /// A batch was opened at `now`.
    pub(super) fn note_opened(&self, shared: &Shared, now: Instant) {
        if !self.is_awaited.swap(true, Ordering::AcqRel) {
            let due = now + shared.look_interval();
            *self.due.lock() = Some(due);
            shared.engine.timer.wake_at(due);
        }
    }
}

/// The task of [`Expiry`].
#[derive(Debug)]
pub(super) struct ExpiryTask(pub(super) Weak<Shared>);

impl Task for ExpiryTask {
    fn run(&self, now: Instant) -> Option<Instant> {
        let shared = self.0.upgrade()?;
        let due = *shared.expiry.due.lock();
        if due.is_some_and(|due| now < due) {
            return due;
        }
        if !shared.expiry.is_awaited.swap(false, Ordering::AcqRel) {
            return None;
        }
        let is_left =
            shared.queues.all().iter().map(|queue| queue.expire(&shared, now)).fold(false, |all, one| all | one);
        if !is_left {
            return None; // who opens a batch from here on says so
        }
        let due = now + shared.look_interval();
        *shared.expiry.due.lock() = Some(due);
        shared.expiry.is_awaited.store(true, Ordering::Release);
        Some(due)
    }
}

/// Queues in which there will be something to do.
#[derive(Debug, Default)]
pub(super) struct Dues(Mutex<BinaryHeap<Reverse<Due>>>);

#[derive(Debug)]
struct Due {
    at: Instant,
    queue: Arc<PartitionQueue>,
}

impl Dues {
    /// Has the timer look at `queue` at `at`.
    pub(super) fn add(&self, at: Instant, queue: &Arc<PartitionQueue>, timer: &Timer) {
        let mut heap = self.0.lock();
        let is_next = heap.peek().is_none_or(|Reverse(next)| at < next.at);
        heap.push(Reverse(Due { at, queue: Arc::clone(queue) }));
        drop(heap);
        if is_next {
            timer.wake_at(at);
        }
    }

    fn take(&self, now: Instant) -> Option<Arc<PartitionQueue>> {
        let mut heap = self.0.lock();
        let is_due = heap.peek().is_some_and(|Reverse(next)| next.at <= now);
        if is_due { heap.pop().map(|Reverse(due)| due.queue) } else { None }
    }

    fn next(&self) -> Option<Instant> {
        self.0.lock().peek().map(|Reverse(next)| next.at)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
