//! What became of a record that was sent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::accumulator::SentBatch;
use crate::error::{Error, Result};
use crate::log::Appended;
use crate::sync::Arc;
use crate::topic::{OpenBatches, Waiter};
use crate::types::{Durability, Offset, Timestamp, TopicPartition};

/// The acknowledgement of one record: [`wait`](Ack::wait) for it, `await` it, or [`detach`](Ack::detach) it.
///
/// It resolves when consumers can see the record, which is when the promise of its topic's
/// [`Durability`] holds, and that which the record [asked for](crate::ProducerRecord::durability): in mode `fsync` after a
/// successful `fdatasync` that covers it.
#[derive(Debug)]
#[must_use = "a record can be lost without anybody noticing: wait, await or detach"]
pub struct Ack {
    state: State,
    /// Made when a task first has to wait.
    waiter: Option<Arc<Waiter>>,
}

#[derive(Debug)]
enum State {
    Sent { batch: Arc<SentBatch>, delta: i32, timestamp: Timestamp, wanted: Durability },
    Refused(Error),
}

/// Where an acknowledged record is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The partition it was sent to.
    pub partition: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// Its timestamp: that of the record, or that of the append where the topic stamps its records.
    pub timestamp: Timestamp,
    /// What it survives by now: what its topic promises, or more.
    pub durability: Durability,
    /// End (exclusive) of what is durable in its partition by now: records below it survive a power cut.
    pub durable_offset: Offset,
}

impl Ack {
    pub(super) fn sent(batch: Arc<SentBatch>, delta: i32, timestamp: Timestamp, wanted: Durability) -> Self {
        Ack { state: State::Sent { batch, delta, timestamp, wanted }, waiter: None }
    }

    pub(super) fn refused(error: Error) -> Self {
        Ack { state: State::Refused(error), waiter: None }
    }

    /// Blocks until the record is as durable as its topic promises. Its batch is written as soon as it can be synced,
    /// however long it was meant to linger, and the calling thread does the syncing if nobody else is at it.
    ///
    /// # Errors
    ///
    /// Why the record is not in the log, or why nothing can be said about it:
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition),
    /// [`RecordTooLarge`](crate::ErrorKind::RecordTooLarge), [`InvalidRecord`](crate::ErrorKind::InvalidRecord),
    /// [`InvalidTimestamp`](crate::ErrorKind::InvalidTimestamp), [`InvalidTopic`](crate::ErrorKind::InvalidTopic),
    /// [`StorageFull`](crate::ErrorKind::StorageFull), [`StoreFull`](crate::ErrorKind::StoreFull),
    /// [`Closed`](crate::ErrorKind::Closed): the record is not in the log.
    /// [`Storage`](crate::ErrorKind::Storage), [`Io`](crate::ErrorKind::Io): it may be, and sending it again can store it
    /// twice.
    pub fn wait(self) -> Result<RecordMetadata> {
        let (batch, wanted) = self.sent_batch()?;
        let partition = &batch.queue.partition;
        if batch.outcome.get().is_none() && partition.promises_syncs(wanted)? {
            let queue: Arc<dyn OpenBatches> = Arc::clone(&batch.queue) as _;
            while batch.outcome.get().is_none() {
                partition.sync_with(&queue)?;
            }
        }
        let appended = batch.appended()?;
        if !partition.keeps_promise(appended.end, wanted)? {
            partition.sync_to(appended.end)?;
        }
        self.metadata(batch, appended)
    }

    /// Lets go of the acknowledgement. The record is written all the same, and an error is lost.
    pub fn detach(self) {}

    /// The batch, and what its record is to survive.
    fn sent_batch(&self) -> Result<(&Arc<SentBatch>, Durability)> {
        match &self.state {
            State::Refused(error) => Err(error.clone()),
            State::Sent { batch, wanted, .. } => Ok((batch, *wanted)),
        }
    }

    fn metadata(&self, batch: &SentBatch, appended: Appended) -> Result<RecordMetadata> {
        let State::Sent { delta, timestamp, wanted, .. } = self.state else {
            return Err(Error::illegal_state("the record was not sent")); // `appended` has returned the reason before
        };
        let partition = &batch.queue.partition;
        Ok(RecordMetadata {
            partition: partition.name().clone(),
            offset: appended.base_offset + Offset::from(delta),
            timestamp: appended.log_append_time.unwrap_or(timestamp),
            durability: partition.durability_reached(appended.end, wanted)?,
            durable_offset: partition.log()?.durable(),
        })
    }

    /// One look at whether the record has been acknowledged or never will be.
    fn look(&self) -> Result<Option<RecordMetadata>> {
        let (batch, wanted) = self.sent_batch()?;
        let (partition, appended) = (&batch.queue.partition, batch.appended()?);
        if partition.keeps_promise(appended.end, wanted)? {
            return self.metadata(batch, appended).map(Some);
        }
        partition.log()?.check_failure().map(|()| None)
    }
}

/// The future never blocks on the disk's sync: the broker's background thread does that.
impl Future for Ack {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(ready) = self.look().transpose() {
            return Poll::Ready(ready);
        }
        let appended = self.sent_batch().and_then(|(batch, _)| Ok((Arc::clone(batch), batch.appended()?.end)));
        let (batch, end) = match appended {
            Ok(appended) => appended,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let waiters = batch.queue.partition.waiters();
        let waiter = Arc::clone(self.waiter.get_or_insert_default());
        waiters.remove(&waiter);
        let mut woken = waiter.poll(context.waker());
        while woken {
            woken = waiter.poll(context.waker()); // a wake-up of an earlier poll
        }
        waiters.add(end, &waiter);
        match self.look().transpose() {
            Some(ready) => Poll::Ready(ready),
            None => Poll::Pending,
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let (State::Sent { batch, .. }, Some(waiter)) = (&self.state, &self.waiter) {
            batch.queue.partition.waiters().remove(waiter);
        }
    }
}
