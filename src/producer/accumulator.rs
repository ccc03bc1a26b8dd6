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

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::{Outcome, SentBatch};
use super::callbacks::Callbacks;
use super::compression_ratio::CompressionRatio;
use super::memory::Share;
use super::producer::Attempt;
use super::shared::Shared;
use super::split::split;
use crate::config::Acks;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Appended;
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
    /// Bytes in complete batches that wait for the writer. Changed under `open`; a stale value makes a partition look more
    /// or less busy than it is.
    queued_bytes: AtomicU64,
    /// End of what was appended from here, -1 while that is nothing. Raised under `writer`.
    written: AtomicI64,
    pub(super) callbacks: Callbacks,
    /// Batches that were settled by somebody who could tell nobody then.
    untold: Mutex<Vec<Arc<SentBatch>>>,
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
}

#[derive(Debug, Default)]
struct Writer {
    /// Producer id, epoch, and the sequence number of the next record, once a batch was written.
    identity: Option<Identity>,
    retrying: Option<Retrying>,
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    producer_id: i64,
    epoch: i16,
    sequence: i32,
}

/// A batch that was refused and is tried again.
#[derive(Debug)]
struct Retrying {
    filling: Filling,
    at: Instant,
    attempts: u32,
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

/// What a turn at the writer came to.
enum Turn {
    /// Somebody else writes, and will look again.
    Taken,
    /// There was nothing to write.
    Nothing,
    /// A batch is settled.
    Settled(Arc<SentBatch>),
    /// The batch at the front is tried again then.
    Blocked(Instant),
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

    /// Bytes that wait for the writer.
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
    ) -> std::result::Result<Arc<SentBatch>, Unplaced> {
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
    ) -> std::result::Result<Arc<SentBatch>, Unplaced> {
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
        let batch = Arc::new(batch);
        open.next_number += 1;
        let pushed = share.builder.push_within(usize::MAX, timestamp, (record.key, record.value), &record.headers);
        let size = pushed.unwrap_or_default(); // without a limit it fits
        shared.expiry.note_opened(shared, opened);
        let due = opened + limits.linger;
        let complete = share.builder.len() >= len_max || limits.size == 0;
        let filling = Filling { share, batch: Arc::clone(&batch), wanted: record.durability, due, len_max };
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
                Turn::Settled(batch) => {
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

    /// Writes the batch at the front of the line, if there is one and the lock could be had.
    fn write_next(&self, shared: &Shared, writer: Option<MutexGuard<'_, Writer>>, synced_by_caller: bool) -> Turn {
        let Some(mut writer) = writer else { return Turn::Taken };
        let (filling, attempts) = match writer.retrying.take() {
            Some(retrying) if shared.engine.clock.instant() < retrying.at && !self.is_ending(shared) => {
                let at = retrying.at;
                writer.retrying = Some(retrying);
                return Turn::Blocked(at);
            }
            Some(Retrying { filling, attempts, .. }) => (filling, attempts),
            None => match self.take_next(shared) {
                Some(filling) => (filling, 0),
                None => return Turn::Nothing,
            },
        };
        let mut filling = filling;
        if filling.batch.is_settled() {
            return self.finish(shared, writer, filling, None); // its time was up
        }
        let attempted = self.append(shared, &mut writer, &mut filling, synced_by_caller);
        let outcome = match attempted {
            Ok(outcome) => outcome,
            Err(error) if self.is_ending(shared) => Outcome::Whole(Err(error)),
            Err(error) => {
                let now = shared.engine.clock.instant();
                match shared.try_again_at(&error, attempts, (filling.batch.opened, now)) {
                    Some(Ok(at)) => {
                        shared.stats.note_retry();
                        writer.retrying = Some(Retrying { filling, at, attempts: attempts + 1 });
                        return Turn::Blocked(at);
                    }
                    Some(Err(timeout)) => Outcome::Whole(Err(timeout)),
                    None => Outcome::Whole(Err(error)),
                }
            }
        };
        self.finish(shared, writer, filling, Some(outcome))
    }

    /// Whether what is tried again now is tried for the last time.
    fn is_ending(&self, shared: &Shared) -> bool {
        shared.is_ending() || self.open.lock().partition.is_none()
    }

    /// A batch leaves the queue.
    fn finish(
        &self,
        shared: &Shared,
        writer: MutexGuard<'_, Writer>,
        filling: Filling,
        outcome: Option<Outcome>,
    ) -> Turn {
        let Filling { share, batch, .. } = filling;
        settle(shared, &batch, outcome, share.builder.count());
        if let Some(end) = batch.end() {
            self.written.fetch_max(end, Ordering::AcqRel);
        }
        self.open.lock().in_flight = None; // while this is the writer: the next one puts in its own
        drop(writer);
        shared.memory.give_back(share);
        Turn::Settled(batch)
    }

    fn take_next(&self, shared: &Shared) -> Option<Filling> {
        let mut open = self.open.lock();
        if open.line.is_empty() && open.has_next(shared) {
            self.close(&mut open);
        }
        let filling = open.line.pop_front()?;
        self.queued_bytes.fetch_sub(filling.share.builder.len() as u64, Ordering::Relaxed);
        open.in_flight = Some(Arc::clone(&filling.batch));
        Some(filling)
    }

    /// Writes a batch. An error says that nothing of it is in the log, or that this is unknown and no append may follow.
    fn append(
        &self,
        shared: &Shared,
        writer: &mut Writer,
        filling: &mut Filling,
        synced_by_caller: bool,
    ) -> Result<Outcome> {
        let limits = self.open.lock().limits;
        let Filling { share: Share { builder, .. }, batch, wanted, .. } = filling;
        let began = shared.engine.clock.instant();
        let mut append = |builder: &mut BatchBuilder| {
            let appended = self.append_builder(shared, writer, builder, &limits, |bytes| {
                batch.partition.append(bytes, *wanted, synced_by_caller)
            })?;
            Ok(appended)
        };
        let outcome = match append(builder) {
            Err(error) if is_too_large(&error) && builder.count() > 1 => {
                shared.stats.note_split();
                self.ratio.reset_after_split(limits.compression, 1.0);
                Outcome::Split(split(builder, &mut append))
            }
            appended => Outcome::Whole(Ok(appended?)),
        };
        let ended = shared.engine.clock.instant();
        shared.stats.note_written(builder, (batch.opened, began, ended));
        Ok(outcome)
    }

    /// Finishes a batch under the producer's identity and has it appended.
    fn append_builder(
        &self,
        shared: &Shared,
        writer: &mut Writer,
        builder: &mut BatchBuilder,
        limits: &BatchLimits,
        append: impl FnOnce(&mut [u8]) -> Result<Appended>,
    ) -> Result<Appended> {
        let identity = match writer.identity {
            None if shared.config.get_enable_idempotence() => {
                let identity = Identity { producer_id: shared.producer_id()?, epoch: 0, sequence: 0 };
                Some(*writer.identity.insert(identity))
            }
            identity => identity,
        };
        if let Some(Identity { producer_id, epoch, sequence }) = identity {
            builder.set_producer(producer_id, epoch, sequence);
        }
        let count = builder.count();
        let is_packed = limits.compression != Compression::None;
        let mut packed = if is_packed { shared.memory.packed() } else { Vec::new() };
        builder.swap_packed(&mut packed);
        let plain_len = builder.len();
        let appended = match builder.finish(limits.compression, limits.level) {
            Ok(bytes) => {
                shared.stats.note_size(plain_len, bytes.len());
                self.ratio.note(limits.compression, bytes.len() as f32 / plain_len as f32);
                append(bytes)
            }
            Err(malformed) => Err(Error::illegal_argument(format!("the batch cannot be written: {malformed}"))),
        };
        builder.swap_packed(&mut packed);
        if is_packed {
            shared.memory.give_back_packed(packed);
        }
        if let Some(identity) = &mut writer.identity {
            match &appended {
                Ok(_) => identity.sequence = next_sequence(identity.sequence, count),
                // The log knows of batches that this producer does not: a new epoch begins at 0 (producer.md 6).
                Err(error) if matches!(error.kind(), ErrorKind::OutOfOrderSequence { .. }) => {
                    writer.identity = match identity.epoch.checked_add(1) {
                        Some(epoch) => Some(Identity { epoch, sequence: 0, ..*identity }),
                        None => Some(Identity { producer_id: shared.new_producer_id()?, epoch: 0, sequence: 0 }),
                    };
                }
                Err(_) => {}
            }
        }
        appended
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
            && let Turn::Settled(batch) = self.write_next(shared, self.writer.try_lock(), false)
        {
            self.tell_of(&batch);
        }
        self.write_line(shared); // what came meanwhile, and found the lock taken
        Some(last).filter(|last| !last.is_settled())
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

    /// Does what is due at `now`: writes what has lingered long enough or is to be tried again.
    pub(super) fn run_due(self: &Arc<Self>, shared: &Shared, now: Instant) {
        {
            let mut open = self.open.lock();
            open.listed = open.listed.filter(|listed| now < *listed);
            let is_due = |filling: &Filling| filling.due <= now || shared.is_ending() || shared.memory.is_short();
            if open.filling.as_ref().is_some_and(is_due) {
                self.close(&mut open);
            }
        }
        if shared.is_ending() {
            // Nobody will be there later, so it waits for who writes now.
            while let Turn::Settled(batch) = self.write_next(shared, Some(self.writer.lock()), false) {
                self.tell_of(&batch);
            }
        }
        self.write_line(shared);
        let mut open = self.open.lock();
        if let Some(at) = open.filling.as_ref().map(|filling| filling.due) {
            self.list(&mut open, shared, at);
        }
    }

    /// Gives up what has waited for `delivery.timeout.ms` at `now`. Returns whether there is anything left.
    pub(super) fn expire(self: &Arc<Self>, shared: &Shared, now: Instant) -> bool {
        // A little later than who tries again gives up, who knows more.
        let timeout = shared.config.get_delivery_timeout() + shared.look_interval();
        let (mut over, mut is_left) = (Vec::new(), false);
        {
            let open = self.open.lock();
            let complete = open.in_flight.iter().chain(open.line.iter().map(|filling| &filling.batch));
            for batch in complete.filter(|batch| !batch.is_settled()) {
                is_left = true;
                if batch.opened + timeout <= now {
                    over.push(Arc::clone(batch));
                }
            }
            is_left |= open.filling.is_some();
        }
        for batch in over {
            let error = Error::new(ErrorKind::Timeout { what: DELIVERY.to_owned() }).in_partition(&self.name);
            if batch.settle(Outcome::Whole(Err(error))) {
                self.tell_of(&batch);
            }
        }
        is_left
    }

    /// Takes nothing any more. What is not written fails with `error`, but for what a writer has in hand: that is written, or
    /// fails, for good.
    pub(super) fn retire(self: &Arc<Self>, shared: &Shared, error: &Error) {
        let mut failed = Vec::new();
        let mut settled = Vec::new();
        {
            let mut writer = self.writer.try_lock();
            let retrying = writer.as_mut().and_then(|writer| writer.retrying.take()).map(|retrying| retrying.filling);
            let mut open = self.open.lock();
            self.close(&mut open);
            open.partition = None;
            if retrying.is_some() {
                open.in_flight = None;
            }
            failed.extend(retrying);
            failed.extend(std::mem::take(&mut open.line));
            self.queued_bytes.store(0, Ordering::Relaxed);
        }
        for Filling { share, batch, .. } in failed {
            let outcome = Outcome::Whole(Err(error.clone().in_partition(&self.name)));
            settle(shared, &batch, Some(outcome), share.builder.count());
            shared.memory.give_back(share);
            settled.push(batch);
        }
        // Nobody comes for those later: the timer knows the producer no more.
        settled.append(&mut self.untold.lock());
        settled.iter().for_each(|batch| self.tell_of(batch));
        self.callbacks.run(self);
    }
}

/// What a batch waited for whose time is up.
const DELIVERY: &str =
    "the batch was not written within delivery.timeout.ms; if its write has begun it may be in the log";

impl Open {
    /// Whether there is something that is to be written now.
    fn has_next(&self, shared: &Shared) -> bool {
        !self.line.is_empty()
            || self.filling.is_some()
                && (self.limits.linger.is_zero() || shared.memory.is_short() || shared.is_ending())
    }
}

/// The sequence number behind `count` records from `sequence` on. Rule: records.md 2.
fn next_sequence(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// Sets the outcome of a batch of `count` records, unless it has one, and counts what failed of it.
fn settle(shared: &Shared, batch: &SentBatch, outcome: Option<Outcome>, count: i32) {
    if let Some(outcome) = outcome {
        batch.settle(outcome);
    }
    shared.stats.note_settled(|| shared.name(), batch, batch.error_count(count));
}

fn is_too_large(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::RecordTooLarge { .. })
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
                Turn::Settled(batch) => {
                    let is_last = end <= batch.number + 1;
                    if batch.is_waited_for() || !self.callbacks.is_empty() {
                        self.untold.lock().push(batch);
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
        untold.iter().for_each(|batch| this.tell_of(batch));
    }
}
