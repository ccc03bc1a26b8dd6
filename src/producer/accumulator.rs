//! The batches of one partition, from the first record until the log has them.
//!
//! Two locks, so that nobody who sends waits for the disk:
//!
//! - `open` is held for as long as it takes to encode a record. It guards the batch that is being filled and the line of
//!   those that are complete.
//! - `writer` is held by the thread that writes. It takes the batches off the line, one after the other, so their order in
//!   the log is the order in which they were closed. Who completes a batch and finds the lock taken leaves it in the line:
//!   the holder looks there again after it has let go, and finds it.
//!
//! A batch that was refused for a passing reason stays with the writer and is tried again; the line waits behind it.
//!
//! What is settled is told without any lock held: those who wait may be tasks that send.

mod ending;
mod writing;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::writing::{Turn, Writer};
use super::batch::SentBatch;
use super::callbacks::Callbacks;
use super::compression_ratio::CompressionRatio;
use super::memory::{Granted, Share};
use super::sending::Attempt;
use super::shared::Shared;
use super::split::Pieces;
use crate::config::Acks;
use crate::record::BatchBuilder;
use crate::sync::{Arc, AtomicI64, AtomicU64, CachePadded, Mutex, MutexGuard, Ordering, Weak};
use crate::sys::prefetch_room;
use crate::topic::{OpenBatches, Partition};
use crate::types::{Compression, Durability, Offset, TopicPartition};

/// When a batch is closed, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// Bytes at which it is full.
    pub(super) size: usize,
    /// Time after its first record at which it is written all the same.
    pub(super) linger: Duration,
    /// How it is compressed, and how hard.
    pub(super) compression: Compression,
    pub(super) level: Option<i32>,
    pub(super) acks: Acks,
}

/// The batches of one partition that are not in its log yet, and the way there.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    /// Not kept alive: queues are remembered by threads that have sent.
    shared: Weak<Shared>,
    this: Weak<PartitionQueue>,
    /// How far the topic's batches compress.
    ratio: Arc<CompressionRatio>,
    pub(super) name: TopicPartition,
    open: CachePadded<Mutex<Open>>,
    writer: CachePadded<Mutex<Writer>>,
    /// Bytes of complete batches that are not in the log yet. Added under `open`, taken away by who takes a batch off the
    /// queue; a stale value makes a partition look more or less busy than it is.
    queued_bytes: AtomicU64,
    /// End of what was appended from here, -1 while that is nothing. Raised under `writer`.
    written: AtomicI64,
    pub(super) callbacks: Callbacks,
    /// Batches that were settled by somebody who could tell nobody then, and who has got their memory.
    untold: Mutex<Vec<(Arc<SentBatch>, Granted)>>,
}

#[derive(Debug)]
struct Open {
    limits: BatchLimits,
    /// `None` once nothing is taken any more.
    partition: Option<Arc<Partition>>,
    filling: Option<Filling>,
    /// Complete batches, the oldest first.
    line: VecDeque<Filling>,
    /// The batch that the writer has.
    in_flight: Option<Arc<SentBatch>>,
    next_number: u64,
    /// When the timer looks here next, if it does.
    listed: Option<Instant>,
}

/// A batch with its records.
#[derive(Debug)]
struct Filling {
    share: Share,
    batch: Arc<SentBatch>,
    /// What its records are to survive, if that is more than the topic promises.
    wanted: Durability,
    /// When it has lingered long enough.
    due: Instant,
    /// Bytes that it may have.
    len_max: usize,
    /// What became of it so far, if it is written in pieces.
    pieces: Pieces,
}

/// Where in its batch a record went. Filled in, not returned: what `send` returns is put together once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placed {
    /// Its place in the batch.
    pub(super) delta: i32,
    /// Bytes that it added.
    pub(super) size: usize,
    /// Whether its batch is complete.
    pub(super) complete: bool,
}

/// Why a record was not placed.
#[derive(Debug)]
pub(super) enum Unplaced {
    /// A batch for it takes so many bytes, which are not to be had now.
    NeedsMemory(usize),
    /// The queue takes nothing any more.
    Retired,
}

/// Times `batch.size` that the records of a compressed batch may have: readers inflate it as a whole.
const PLAIN_MAX: usize = 16;

/// Bytes for the next record that are brought near.
const PREFETCH_MAX: usize = 2048;

/// Batches that one call writes for others, before it leaves the rest to the timer's thread: who sends is not to be kept for
/// as long as others send faster.
const BATCHES_MAX: usize = 32;

impl PartitionQueue {
    pub(super) fn new(
        (shared, ratio): (Weak<Shared>, &Arc<CompressionRatio>),
        partition: Arc<Partition>,
        limits: BatchLimits,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| PartitionQueue {
            shared,
            this: Weak::clone(this),
            ratio: Arc::clone(ratio),
            name: partition.name().clone(),
            open: Mutex::new(Open {
                limits,
                partition: Some(partition),
                filling: None,
                line: VecDeque::new(),
                in_flight: None,
                next_number: 0,
                listed: None,
            })
            .into(),
            writer: Mutex::default().into(),
            queued_bytes: AtomicU64::new(0),
            written: AtomicI64::new(-1),
            callbacks: Callbacks::default(),
            untold: Mutex::default(),
        })
    }

    /// Whether records sent here go to `partition`.
    pub(super) fn leads_to(&self, partition: &Arc<Partition>) -> bool {
        self.open.lock().partition.as_ref().is_some_and(|own| Arc::ptr_eq(own, partition))
    }

    pub(super) fn set_limits(&self, limits: BatchLimits) {
        self.open.lock().limits = limits;
    }

    /// Bytes of complete batches that are not in the log yet.
    pub(super) fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Puts a record into the batch that is being filled, or into a new one, whose memory is `granted` or is there. Writes
    /// what is complete, unless somebody else is at it.
    #[inline]
    pub(super) fn push(
        self: &Arc<Self>,
        shared: &Shared,
        attempt: &mut Attempt<'_, '_>,
    ) -> Result<Arc<SentBatch>, Unplaced> {
        let Attempt { record, timestamp, .. } = *attempt;
        let mut open = self.open.lock();
        loop {
            let is_hasty = open.limits.linger.is_zero();
            let Some(filling) = &mut open.filling else { break };
            let builder = &mut filling.share.builder;
            let batch = Arc::clone(&filling.batch); // before the stores: it would wait for them
            let pushed = builder.push_within(filling.len_max, timestamp, (record.key, record.value), &record.headers);
            if let Some(size) = pushed {
                let complete = builder.len() >= filling.len_max;
                // The lock is given back when all stores have arrived: those of the next record are to find their memory near.
                prefetch_room(builder.room(size.min(PREFETCH_MAX)));
                attempt.placed = Placed { delta: builder.last_offset_delta(), size, complete };
                filling.wanted = filling.wanted.max(record.durability);
                if complete {
                    self.close(&mut open);
                }
                let is_due = complete || is_hasty || shared.memory.is_short();
                drop(open);
                if is_due {
                    self.write_line(shared);
                }
                return Ok(batch);
            }
            self.close(&mut open);
            drop(open);
            // Before a new batch is opened: the next one gets the same memory, which is near.
            self.write_line(shared);
            open = self.open.lock();
        }
        self.push_first(open, shared, attempt)
    }

    /// Opens a batch with a record.
    #[inline(never)]
    fn push_first(
        self: &Arc<Self>,
        mut open: MutexGuard<'_, Open>,
        shared: &Shared,
        attempt: &mut Attempt<'_, '_>,
    ) -> Result<Arc<SentBatch>, Unplaced> {
        let Attempt { record, timestamp, .. } = *attempt;
        let headers = || record.headers.iter().copied();
        let limits = open.limits;
        let Some(partition) = open.partition.clone() else { return Err(Unplaced::Retired) };
        let needed = limits.size.max(BatchBuilder::size_alone(timestamp, record.key, record.value, headers()));
        let wished = self.plain_size(&limits, shared.memory.limit()).max(needed);
        let share = attempt.granted.take_if(|share| needed <= share.bytes);
        let share = share.or_else(|| shared.memory.try_take(wished)).or_else(|| shared.memory.try_take(needed));
        let Some(mut share) = share else { return Err(Unplaced::NeedsMemory(needed)) };
        let len_max = if limits.size == 0 { needed } else { share.bytes };
        let opened = shared.engine.clock.instant();
        let batch = SentBatch::new(Arc::clone(self), partition, (open.next_number, limits.acks, opened));
        open.next_number += 1;
        let pushed = share.builder.push_within(usize::MAX, timestamp, (record.key, record.value), &record.headers);
        let size = pushed.unwrap_or_default(); // without a limit it fits
        shared.expiry.note_opened(shared, opened);
        let due = opened + limits.linger;
        let complete = share.builder.len() >= len_max || limits.size == 0;
        let (batch, pieces) = (Arc::new(batch), Pieces::default());
        let filling = Filling { share, batch: Arc::clone(&batch), wanted: record.durability, due, len_max, pieces };
        open.filling = Some(filling);
        if complete {
            self.close(&mut open);
        }
        if !limits.linger.is_zero() {
            self.list(&mut open, shared, due);
        }
        drop(open);
        attempt.placed = Placed { delta: 0, size, complete };
        if complete || limits.linger.is_zero() || shared.memory.is_short() {
            self.write_line(shared);
        }
        Ok(batch)
    }

    /// Bytes before compression of which a batch is expected to be full after it.
    fn plain_size(&self, limits: &BatchLimits, memory: usize) -> usize {
        if limits.compression == Compression::None {
            return limits.size;
        }
        let compressed = self.ratio.estimated_size(limits.compression, 0, limits.size).max(1);
        let plain = limits.size.saturating_mul(limits.size) / compressed;
        plain.min(limits.size.saturating_mul(PLAIN_MAX)).min(memory / 4).max(limits.size)
    }

    /// The batch that is being filled takes no more records.
    fn close(&self, open: &mut Open) {
        if let Some(filling) = open.filling.take() {
            self.queued_bytes.fetch_add(filling.share.builder.len() as u64, Ordering::Relaxed);
            open.line.push_back(filling);
        }
    }

    /// Has the timer look here at `at`, unless it does so before.
    fn list(self: &Arc<Self>, open: &mut Open, shared: &Shared, at: Instant) {
        if open.listed.is_none_or(|listed| at < listed) {
            open.listed = Some(at);
            shared.dues.add(at, self, &shared.engine.lingering);
        }
    }

    /// Writes what is complete, on the calling thread, unless another one is at it.
    fn write_line(self: &Arc<Self>, shared: &Shared) {
        let mut written = 0;
        loop {
            let later = match self.write_next(shared, self.writer.try_lock(), false) {
                Turn::Taken => return,
                Turn::Nothing => None,
                Turn::Settled(batch, granted) => {
                    granted.wake();
                    self.tell_of(&batch);
                    written += 1;
                    (written == BATCHES_MAX).then(|| shared.engine.clock.instant())
                }
                Turn::Blocked(at) => Some(at),
            };
            let mut open = self.open.lock();
            if later.is_none() && !open.has_next(shared) {
                return;
            }
            if let Some(at) = later {
                self.list(&mut open, shared, at);
                if !shared.is_ending() && open.partition.is_some() {
                    return; // the thread that looks then is there
                }
            }
        }
    }

    /// Has the timer's thread write what is left.
    fn list_if_left(self: &Arc<Self>, shared: &Shared) {
        let now = shared.engine.clock.instant();
        let mut open = self.open.lock();
        if open.has_next(shared) {
            self.list(&mut open, shared, now);
        }
    }

    /// Tells those who wait for a batch. Their tasks may run inside this call: no lock may be held.
    fn tell_of(self: &Arc<Self>, batch: &SentBatch) {
        self.callbacks.run(self);
        batch.wake();
        batch.partition.wake_waiters();
    }

    /// Has `batch` written now, if it is still being filled, unless another thread writes: that one takes it along.
    pub(super) fn hurry(self: &Arc<Self>, batch: &Arc<SentBatch>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut open = self.open.lock();
        if open.filling.as_ref().is_some_and(|filling| Arc::ptr_eq(&filling.batch, batch)) {
            self.close(&mut open);
        }
        drop(open);
        self.write_line(&shared);
    }

    /// As [`hurry`](PartitionQueue::hurry), and waits until the batch is settled, or until `deadline`. Returns whether it is.
    pub(super) fn wait(self: &Arc<Self>, batch: &Arc<SentBatch>, deadline: Option<Instant>) -> bool {
        if !batch.is_settled() {
            self.hurry(batch);
        }
        batch.wait_settled(deadline)
    }

    /// Has everything written that is here now, and returns the last batch, if it is not settled yet.
    pub(super) fn write_all(self: &Arc<Self>, shared: &Shared) -> Option<Arc<SentBatch>> {
        let mut open = self.open.lock();
        self.close(&mut open);
        let last = open.line.back().map(|filling| Arc::clone(&filling.batch)).or_else(|| open.in_flight.clone());
        drop(open);
        self.write_line(shared);
        last.filter(|last| !last.is_settled())
    }

    /// As [`write_all`](PartitionQueue::write_all), however many batches there are.
    pub(super) fn write_out(self: &Arc<Self>, shared: &Shared) -> Option<Arc<SentBatch>> {
        let last = self.write_all(shared)?;
        while !last.is_settled()
            && let Turn::Settled(batch, granted) = self.write_next(shared, self.writer.try_lock(), false)
        {
            granted.wake();
            self.tell_of(&batch);
        }
        self.write_line(shared); // what came meanwhile, and found the lock taken
        Some(last).filter(|last| !last.is_settled())
    }

    /// Waits for who is writing, until `deadline`, and writes what is left, unless it was refused and is to be tried again
    /// later. Returns whether nothing is left.
    pub(super) fn wait_for_writer(self: &Arc<Self>, shared: &Shared, deadline: Option<Instant>) -> bool {
        while let Some(last) = self.write_out(shared) {
            if self.writer.try_lock().is_some_and(|writer| writer.retrying.is_some()) {
                return false;
            }
            if !last.wait_settled(deadline) {
                return false;
            }
        }
        true
    }

    /// Has what is here written by the timer's thread.
    pub(super) fn press(self: &Arc<Self>, shared: &Shared) {
        let mut open = self.open.lock();
        self.close(&mut open);
        if !open.line.is_empty() {
            self.list(&mut open, shared, shared.engine.clock.instant());
        }
    }

    /// End of everything that was appended from here, and where, if there is anything.
    pub(super) fn written(&self) -> Option<(Arc<Partition>, Offset)> {
        let partition = self.open.lock().partition.clone()?;
        Some((partition, self.written.load(Ordering::Acquire))).filter(|(_, end)| 0 <= *end)
    }
}

impl Open {
    /// Whether there is something that is to be written now.
    fn has_next(&self, shared: &Shared) -> bool {
        !self.line.is_empty()
            || self.filling.is_some()
                && (self.limits.linger.is_zero() || shared.memory.is_short() || shared.is_ending())
    }
}

impl OpenBatches for PartitionQueue {
    fn write(&self) -> bool {
        let (Some(shared), Some(this)) = (self.shared.upgrade(), self.this.upgrade()) else { return false };
        let end = {
            let mut open = self.open.lock();
            self.close(&mut open);
            open.next_number
        };
        let mut is_awaited = false;
        loop {
            match self.write_next(&shared, Some(self.writer.lock()), true) {
                Turn::Settled(batch, granted) => {
                    let is_last = end <= batch.number + 1;
                    if batch.is_waited_for() || !self.callbacks.is_empty() || !granted.is_empty() {
                        self.untold.lock().push((batch, granted));
                        is_awaited = true;
                    }
                    if is_last && !self.is_ending(&shared) {
                        break;
                    }
                }
                Turn::Blocked(_) if self.is_ending(&shared) => {} // it is tried at once, for the last time
                Turn::Blocked(at) => {
                    this.list(&mut self.open.lock(), &shared, at);
                    return is_awaited;
                }
                Turn::Nothing | Turn::Taken => break,
            }
        }
        this.list_if_left(&shared); // who found the lock taken relies on it
        is_awaited
    }

    fn tell(&self) {
        let Some(this) = self.this.upgrade() else { return };
        let untold = std::mem::take(&mut *self.untold.lock());
        for (batch, granted) in untold {
            granted.wake();
            this.tell_of(&batch);
        }
    }
}
