//! What the application wants to be told, in the order in which the records of a partition were sent.
//!
//! A callback is an acknowledgement that is polled here instead of by a task: the first of the line is asked, run if it is
//! ready, and then the next. One thread at a time does that; who comes meanwhile has it look once more. Without callbacks
//! it costs a load.
//!
//! What becomes due inside a callback is run behind it, and not inside: callbacks that send, each with a callback of its
//! own, would otherwise use up the stack.

use std::cell::{Cell, RefCell};
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

/// What became due inside a callback.
enum Later {
    Run(Arc<PartitionQueue>),
    /// Of a record that was refused.
    Call(Box<dyn FnOnce()>),
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LATER: RefCell<VecDeque<Later>> = const { RefCell::new(VecDeque::new()) };
    /// Whether this thread is at what is in `LATER`.
    static IS_AT_LATER: Cell<bool> = const { Cell::new(false) };
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
    if !is_in_callback() {
        run_later();
    }
}

/// As [`call`], behind the callback that this thread is in, if it is in one.
pub(super) fn call_outside(what: &'static str, work: impl FnOnce() + 'static) {
    if !is_in_callback() {
        return call(what, work);
    }
    later(Later::Call(Box::new(move || call(what, work))));
}

fn later(what: Later) {
    let _ = LATER.try_with(|later| later.borrow_mut().push_back(what));
}

/// Runs what became due inside the callbacks of this thread, unless it is at it.
fn run_later() {
    if IS_AT_LATER.try_with(|is| is.replace(true)).unwrap_or(true) {
        return;
    }
    while let Ok(Some(next)) = LATER.try_with(|later| later.borrow_mut().pop_front()) {
        match next {
            Later::Run(queue) => queue.callbacks.run(&queue),
            Later::Call(call) => call(),
        }
    }
    let _ = IS_AT_LATER.try_with(|is| is.set(false));
}

impl Callbacks {
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Has `call` called with what becomes of `ack`, whose record has this place.
    pub(super) fn add(&self, place: (u64, i32), ack: Ack, call: Callback) {
        let mut line = self.line.lock();
        self.count.fetch_add(1, Ordering::AcqRel);
        let at = line.partition_point(|other| other.place <= place);
        line.insert(at, Pending { place, ack, call });
    }

    /// Runs those that are ready. Called without any lock held.
    pub(super) fn run(&self, queue: &Arc<PartitionQueue>) {
        if self.is_empty() {
            return;
        }
        if is_in_callback() {
            return later(Later::Run(Arc::clone(queue)));
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

impl Wake for PartitionQueue {
    fn wake(self: Arc<Self>) {
        self.callbacks.run(&self);
    }
}
