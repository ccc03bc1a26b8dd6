//! `buffer.memory`: what a producer's batches may take together until they are written.
//!
//! A batch takes its share when it is opened and gives it back when it is written or has failed. Who finds too little left
//! waits in a queue: first come, first served, as with Kafka's `BufferPool`, so that a large batch is not passed over for
//! ever by small ones. The memory itself is kept and used again.

use std::collections::VecDeque;
use std::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::record::BatchBuilder;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering};
use crate::topic::Waiter;

/// The memory of a producer's batches.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    state: Mutex<State>,
    /// How many wait. Changed under `state`; a stale value costs a batch that is written early, or some time more.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct State {
    /// Bytes that no batch has.
    available: usize,
    /// Builders that no batch has, whose memory is a part of `available`.
    spare: Vec<BatchBuilder>,
    /// Sum of their capacities.
    spare_bytes: usize,
    queue: VecDeque<Arc<Request>>,
    /// Where batches are compressed: as many as ever were at a time.
    packed: Vec<Vec<u8>>,
}

/// Somebody who waits for memory. Dropping it gives up the place in the queue, and what was granted.
#[derive(Debug)]
pub(super) struct MemoryWait<'a> {
    memory: &'a Memory,
    request: Arc<Request>,
}

#[derive(Debug)]
struct Request {
    bytes: usize,
    /// Set once, under the lock of the state, when the bytes have been taken for it.
    granted: AtomicBool,
    waiter: Arc<Waiter>,
}

/// A batch's share, with a builder to fill.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) builder: BatchBuilder,
    /// Bytes that it counts for.
    pub(super) bytes: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        let (queue, spare, packed) = (VecDeque::new(), Vec::new(), Vec::new());
        let state = State { available: limit, spare, spare_bytes: 0, queue, packed };
        Memory { limit, state: Mutex::new(state), waiting: AtomicUsize::new(0) }
    }

    /// Most bytes that there are.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that no batch has.
    pub(super) fn available(&self) -> usize {
        self.state.lock().available
    }

    /// Bytes of memory that are kept for later.
    #[cfg(test)]
    pub(super) fn spare_bytes(&self) -> usize {
        self.state.lock().spare_bytes
    }

    /// Whether somebody waits: what can be written is to be written.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes `bytes`, if there are as many and nobody waits for them.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Share> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() || !state.take(bytes) {
            return None;
        }
        let builder = state.builder(bytes);
        drop(state);
        Some(Share::new(builder, bytes))
    }

    /// Joins the queue of those who wait for `bytes`, which are at most the [limit](Memory::limit).
    pub(super) fn wait(&self, bytes: usize) -> MemoryWait<'_> {
        let request = Arc::new(Request { bytes, granted: AtomicBool::new(false), waiter: Arc::default() });
        let mut state = self.state.lock();
        state.queue.push_back(Arc::clone(&request));
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let granted = self.grant(&mut state); // it may be there by now
        drop(state);
        wake(granted);
        MemoryWait { memory: self, request }
    }

    /// Gives back what a batch had. Those who get it are woken; the caller holds no lock.
    pub(super) fn give_back(&self, share: Share) {
        self.give_back_quietly(share).wake();
    }

    /// As [`give_back`](Memory::give_back), for a caller that must not wake anybody yet: their tasks may run inside.
    pub(super) fn give_back_quietly(&self, share: Share) -> Granted {
        let Share { mut builder, bytes } = share;
        builder.clear();
        let mut state = self.state.lock();
        state.available += bytes;
        let granted = self.grant(&mut state);
        let room = state.available.saturating_sub(state.spare_bytes);
        if builder.capacity() <= room {
            state.spare_bytes += builder.capacity();
            state.spare.push(builder);
        }
        Granted(granted)
    }

    /// Has everybody who waits look whether they still want to.
    pub(super) fn wake_all(&self) {
        let waiting = self.state.lock().queue.iter().cloned().collect();
        wake(waiting); // in a statement of its own: the lock would be held to the end of this one
    }

    /// Gives back `bytes` of an open share that turned out not to be needed.
    fn give_back_bytes(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.available += bytes;
        let granted = self.grant(&mut state);
        drop(state);
        wake(granted);
    }

    /// Serves those who wait, in their order. The caller wakes those that are returned when it holds no lock.
    fn grant(&self, state: &mut State) -> Vec<Arc<Request>> {
        let mut granted = Vec::new();
        while let Some(next) = state.queue.front() {
            let bytes = next.bytes;
            if !state.take(bytes) {
                break;
            }
            if let Some(request) = state.queue.pop_front() {
                request.granted.store(true, Ordering::Release);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                granted.push(request);
            }
        }
        granted
    }

    /// Memory to compress into.
    pub(super) fn packed(&self) -> Vec<u8> {
        self.state.lock().packed.pop().unwrap_or_default()
    }

    /// Takes that memory back.
    pub(super) fn give_back_packed(&self, packed: Vec<u8>) {
        self.state.lock().packed.push(packed);
    }

    /// The error of who did not get `bytes`.
    #[cold]
    pub(super) fn exhausted(&self, bytes: usize) -> Error {
        Error::new(ErrorKind::BufferExhausted { requested: bytes as u64, limit: self.limit as u64 })
    }
}

impl State {
    fn take(&mut self, bytes: usize) -> bool {
        let Some(left) = self.available.checked_sub(bytes) else { return false };
        self.available = left;
        true
    }

    /// A builder for `bytes`, with memory if there is one that has not more: what a large record took is not kept by small
    /// batches, which count for less. What is kept beside stays within what no batch has.
    fn builder(&mut self, bytes: usize) -> BatchBuilder {
        let is_fit = |builder: &BatchBuilder| builder.capacity() <= BatchBuilder::reserved(bytes);
        let builder = self.spare.iter().rposition(is_fit).map(|at| self.spare.remove(at));
        self.spare_bytes -= builder.as_ref().map_or(0, BatchBuilder::capacity);
        while self.available < self.spare_bytes {
            self.spare_bytes -= self.spare.pop().map_or(self.spare_bytes, |builder| builder.capacity());
        }
        builder.unwrap_or_else(BatchBuilder::new)
    }
}

impl Share {
    fn new(mut builder: BatchBuilder, bytes: usize) -> Self {
        builder.reserve(bytes);
        Share { builder, bytes }
    }
}

/// Those who have got memory and do not know it yet.
#[derive(Debug)]
#[must_use = "they wait"]
pub(super) struct Granted(Vec<Arc<Request>>);

impl Granted {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells them. No lock may be held.
    pub(super) fn wake(self) {
        wake(self.0);
    }
}

fn wake(granted: Vec<Arc<Request>>) {
    granted.iter().for_each(|request| request.waiter.wake_among_others());
}

impl MemoryWait<'_> {
    /// Who is woken when it is served.
    pub(super) fn waiter(&self) -> &Arc<Waiter> {
        &self.request.waiter
    }

    /// What was waited for, if it has come.
    pub(super) fn take(&self) -> Option<Share> {
        let granted = &self.request.granted;
        // Written only once it is set: a model checker takes the store that sets it for one that a failed swap may hide.
        if !granted.load(Ordering::Acquire) || !granted.swap(false, Ordering::AcqRel) {
            return None;
        }
        let builder = self.memory.state.lock().builder(self.request.bytes);
        Some(Share::new(builder, self.request.bytes))
    }

    /// Blocks until it has come, until `deadline`, or until [woken](Memory::wake_all) when `is_over`.
    pub(super) fn block(&self, deadline: Option<Instant>, is_over: impl Fn() -> bool) -> Option<Share> {
        loop {
            if is_over() {
                return None;
            }
            if let Some(share) = self.take() {
                return Some(share);
            }
            if !self.request.waiter.wait_until(deadline) {
                return self.take();
            }
        }
    }
}

impl Drop for MemoryWait<'_> {
    fn drop(&mut self) {
        let mut state = self.memory.state.lock();
        let before = state.queue.len();
        state.queue.retain(|request| !Arc::ptr_eq(request, &self.request));
        let has_left = state.queue.len() < before;
        if has_left {
            self.memory.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        // A large request at the front may have kept smaller ones waiting.
        let granted = if has_left { self.memory.grant(&mut state) } else { Vec::new() };
        drop(state);
        wake(granted);
        if self.request.granted.swap(false, Ordering::AcqRel) {
            self.memory.give_back_bytes(self.request.bytes);
        }
    }
}
