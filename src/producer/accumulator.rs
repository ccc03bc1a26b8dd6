//! Open batches, one per partition and producer.

use std::time::{Duration, Instant};

use super::partitioner::StickyPartitioner;
use super::record::ProducerRecord;
use crate::error::{Error, Result};
use crate::log::Appended;
use crate::record::BatchBuilder;
use crate::sync::{Arc, Mutex, OnceLock};
use crate::topic::{OpenBatches, Partition, Topic};
use crate::types::{Compression, Durability, Offset, Timestamp};

/// The open batches of one topic.
#[derive(Debug)]
pub(super) struct TopicQueue {
    pub(super) topic: Arc<Topic>,
    pub(super) sticky: StickyPartitioner,
    pub(super) partitions: Vec<Arc<PartitionQueue>>,
}

impl TopicQueue {
    /// The queue of `topic`. Partitions that it shares with `former`, the queue of an earlier state of the topic, keep
    /// their open batches.
    pub(super) fn new(topic: Arc<Topic>, limits: BatchLimits, former: Option<&TopicQueue>) -> Self {
        let former = former.map_or(&[][..], |former| &former.partitions);
        let queue_of = |(number, partition): (usize, &Arc<Partition>)| {
            let kept = former.get(number).filter(|queue| Arc::ptr_eq(&queue.partition, partition));
            kept.map(|queue| {
                queue.open.lock().limits = limits;
                Arc::clone(queue)
            })
            .unwrap_or_else(|| Arc::new(PartitionQueue::new(Arc::clone(partition), limits)))
        };
        let partitions = topic.partitions().iter().enumerate().map(queue_of).collect();
        TopicQueue { sticky: StickyPartitioner::new(limits.size), partitions, topic }
    }
}

/// When a batch is closed, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// Bytes at which it is full.
    pub(super) size: usize,
    /// Time after its first record at which it is written all the same.
    pub(super) linger: Duration,
    /// How it is compressed.
    pub(super) compression: Compression,
}

/// The open batch of one partition, and the way into its log. Holding its lock is holding the place in the order:
/// batches are written under it, one after the other.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    pub(super) partition: Arc<Partition>,
    open: Mutex<OpenBatch>,
}

#[derive(Debug)]
struct OpenBatch {
    limits: BatchLimits,
    builder: BatchBuilder,
    /// What the records in `builder` are to survive, if that is more than the topic promises.
    wanted: Durability,
    /// The batch in `builder`, and when it is due; `None` while that is empty.
    batch: Option<(Arc<SentBatch>, Instant)>,
    /// End of the last batch that was written, if one was.
    written: Option<Offset>,
}

/// A batch and what became of it; shared by the acknowledgements of its records.
#[derive(Debug)]
pub(super) struct SentBatch {
    pub(super) queue: Arc<PartitionQueue>,
    /// Set once, under the queue's lock, when the batch was written or could not be.
    pub(super) outcome: OnceLock<Result<Appended>>,
}

/// Where a record went.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) batch: Arc<SentBatch>,
    /// Its place in the batch.
    pub(super) delta: i32,
    /// When the batch is due, if it is new and waits.
    pub(super) due: Option<Instant>,
    /// Bytes that it added.
    pub(super) size: usize,
    /// Whether its batch is complete.
    pub(super) complete: bool,
}

impl PartitionQueue {
    fn new(partition: Arc<Partition>, limits: BatchLimits) -> Self {
        let open =
            OpenBatch { limits, builder: BatchBuilder::new(), wanted: Durability::Os, batch: None, written: None };
        PartitionQueue { partition, open: Mutex::new(open) }
    }

    /// Puts a record into the open batch, and writes batches that are full, on the calling thread.
    pub(super) fn push(self: &Arc<Self>, record: &ProducerRecord<'_>, timestamp: Timestamp, now: Instant) -> Placed {
        let headers = || record.headers.iter().copied();
        let mut open = self.open.lock();
        let limits = open.limits;
        let size = open.builder.record_size(timestamp, record.key, record.value, headers());
        let no_room = !open.builder.is_empty() && open.builder.len() + size > limits.size;
        if no_room {
            self.write(&mut open, false);
        }
        let is_new = open.batch.is_none();
        let new_batch =
            || (Arc::new(SentBatch { queue: Arc::clone(self), outcome: OnceLock::new() }), now + limits.linger);
        let (batch, due) = open.batch.get_or_insert_with(new_batch).clone();
        let delta = open.builder.push(timestamp, record.key, record.value, headers());
        open.wanted = open.wanted.max(record.durability);
        let complete = open.builder.len() >= limits.size || limits.linger.is_zero();
        if complete {
            self.write(&mut open, false);
        }
        drop(open);
        if no_room || complete {
            self.partition.wake_waiters();
        }
        Placed { batch, delta, due: (is_new && !complete).then_some(due), size, complete }
    }

    /// Writes the open batch if it is due at `now`. Returns when the one that stays open is due.
    pub(super) fn write_due(&self, now: Instant) -> Option<Instant> {
        let mut open = self.open.lock();
        match &open.batch {
            Some((_, due)) if now < *due => Some(*due),
            Some(_) => {
                self.write(&mut open, false);
                drop(open);
                self.partition.wake_waiters();
                None
            }
            None => None,
        }
    }

    /// Writes the open batch whether it is due or not. Returns the end of everything that was written here so far, if
    /// anything was.
    pub(super) fn write_now(&self) -> Option<Offset> {
        let mut open = self.open.lock();
        self.write(&mut open, false);
        let written = open.written;
        drop(open);
        self.partition.wake_waiters();
        written
    }

    /// Writes the batch in the builder, if there is one, and settles its fate.
    fn write(&self, open: &mut OpenBatch, synced_by_caller: bool) {
        let Some((batch, _)) = open.batch.take() else { return };
        let outcome = match open.builder.finish(open.limits.compression, None) {
            Ok(bytes) => self.partition.append(bytes, open.wanted, synced_by_caller),
            Err(malformed) => Err(Error::illegal_argument(format!("the batch cannot be written: {malformed}"))),
        };
        open.builder.clear();
        open.wanted = Durability::Os;
        if let Ok(appended) = &outcome {
            open.written = Some(appended.end);
        }
        let _ = batch.outcome.set(outcome); // it was taken out of `open`, so nobody else sets it
    }
}

impl OpenBatches for PartitionQueue {
    fn write(&self) {
        self.write(&mut self.open.lock(), true);
    }
}

impl SentBatch {
    /// Where the batch is in the log. Has it written first if it is still open.
    pub(super) fn appended(&self) -> Result<Appended> {
        if self.outcome.get().is_none() {
            let mut open = self.queue.open.lock();
            if open.batch.as_ref().is_some_and(|(batch, _)| std::ptr::eq(&**batch, self)) {
                self.queue.write(&mut open, false);
            }
            drop(open);
            self.queue.partition.wake_waiters();
        }
        // Written by now, by this call or by another one under the same lock.
        self.outcome.get().cloned().unwrap_or_else(|| Err(Error::illegal_state("the batch was never written")))
    }
}
