//! What the application wants to be told, in the order in which the records of a partition were sent.
//!
//! A callback is an acknowledgement that is polled here instead of by a task: the first of the line is asked, run if it is
//! ready, and then the next. One thread at a time does that; who comes meanwhile has it look once more. Without callbacks
//! it costs a load.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Wake, Waker};

use super::accumulator::PartitionQueue;
use super::ack::Ack;
use crate::client::RecordMetadata;
use crate::error::Result;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering};

/// A function of the application.
pub(super) type Callback = Box<dyn FnOnce(Result<RecordMetadata>) + Send>;

/// The callbacks of one partition.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    /// Number of those in `line` or in hand. Changed under the lock of `line`; a stale value is as if the caller had come
    /// earlier.
    count: AtomicUsize,
    line: Mutex<VecDeque<Pending>>,
    /// Held by the thread that runs them.
    running: Mutex<()>,
    /// Whether there is a reason to look once more. Set before the look for the lock, taken by its holder.
    again: AtomicBool,
}

struct Pending {
    /// The batch's number and the record's place in it.
    place: (u64, i32),
    ack: Ack,
    call: Callback,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("place", &self.place).finish_non_exhaustive()
    }
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is inside a callback: what waits there for records waits for itself, it may be.
pub(super) fn is_in_callback() -> bool {
    DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(false)
}

/// Runs a function of the application. A panic ends it and nothing else.
pub(super) fn call(what: &str, work: impl FnOnce()) {
    let change = |by: isize| _ = DEPTH.try_with(|depth| depth.set(depth.get().wrapping_add_signed(by)));
    change(1);
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("{what} panicked");
    }
    change(-1);
}

impl Callbacks {
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Has `call` called with what becomes of `ack`, whose record has this place.
    pub(super) fn add(&self, place: (u64, i32), ack: Ack, call: Callback) {
        let mut line = self.line.lock();
        self.count.fetch_add(1, Ordering::AcqRel);
        insert(&mut line, Pending { place, ack, call });
    }

    /// Runs those that are ready. Called without any lock held.
    pub(super) fn run(&self, queue: &Arc<PartitionQueue>) {
        if self.is_empty() {
            return;
        }
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            let Some(_running) = self.running.try_lock() else { return }; // its holder looks once more
            self.again.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(queue));
            while self.run_first(&mut Context::from_waker(&waker)) {}
        }
    }

    fn run_first(&self, context: &mut Context<'_>) -> bool {
        let Some(mut first) = self.line.lock().pop_front() else { return false };
        match first.ack.poll_patiently(context) {
            Poll::Ready(outcome) => {
                let Pending { ack, call: callback, .. } = first;
                drop(ack);
                call("a callback of a producer", || callback(outcome));
                self.count.fetch_sub(1, Ordering::AcqRel);
                true
            }
            Poll::Pending => {
                // Where it was: in front of others of its record, as an interceptor's is.
                let mut line = self.line.lock();
                let at = line.partition_point(|other| other.place < first.place);
                line.insert(at, first);
                false
            }
        }
    }
}

fn insert(line: &mut VecDeque<Pending>, pending: Pending) {
    let at = line.partition_point(|other| other.place <= pending.place);
    line.insert(at, pending);
}

impl Wake for PartitionQueue {
    fn wake(self: Arc<Self>) {
        self.callbacks.run(&self);
    }
}
