//! What became of a record that was sent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::accumulator::SentBatch;
use crate::error::{Error, Result};
use crate::log::Appended;
use crate::sync::Arc;
use crate::topic::Waiter;
use crate::types::{Durability, Offset, Timestamp, TopicPartition};

/// The acknowledgement of one record: [`wait`](Ack::wait) for it, `await` it, or [`detach`](Ack::detach) it.
///
/// It resolves when consumers can see the record, which is when the promise of its topic's
/// [`Durability`] holds: in mode `fsync` after a successful `fdatasync` that covers it.
#[derive(Debug)]
#[must_use = "a record can be lost without anybody noticing: wait, await or detach"]
pub struct Ack {
    state: State,
    /// Made when a task first has to wait.
    waiter: Option<Arc<Waiter>>,
}

#[derive(Debug)]
enum State {
    Sent { batch: Arc<SentBatch>, delta: i32, timestamp: Timestamp },
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
}

impl Ack {
    pub(super) fn sent(batch: Arc<SentBatch>, delta: i32, timestamp: Timestamp) -> Self {
        Ack { state: State::Sent { batch, delta, timestamp }, waiter: None }
    }

    pub(super) fn refused(error: Error) -> Self {
        Ack { state: State::Refused(error), waiter: None }
    }

    /// Blocks until the record is as durable as its topic promises. Its batch is written at once, however long it was
    /// meant to linger, and the calling thread does the syncing if nobody else is at it.
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
        let (batch, appended) = self.appended(true)?;
        let partition = &batch.queue.partition;
        if !partition.keeps_promise(appended.end)? {
            partition.sync_to(appended.end)?;
        }
        self.metadata(batch, appended)
    }

    /// Lets go of the acknowledgement. The record is written all the same, and an error is lost.
    pub fn detach(self) {}

    fn appended(&self, synced_by_caller: bool) -> Result<(&Arc<SentBatch>, Appended)> {
        match &self.state {
            State::Refused(error) => Err(error.clone()),
            State::Sent { batch, .. } => Ok((batch, batch.appended(synced_by_caller)?)),
        }
    }

    fn metadata(&self, batch: &SentBatch, appended: Appended) -> Result<RecordMetadata> {
        let State::Sent { delta, timestamp, .. } = self.state else {
            return Err(Error::illegal_state("the record was not sent")); // `appended` has returned the reason before
        };
        let partition = &batch.queue.partition;
        Ok(RecordMetadata {
            partition: partition.name().clone(),
            offset: appended.base_offset + Offset::from(delta),
            timestamp: appended.log_append_time.unwrap_or(timestamp),
            durability: partition.durability_reached(appended.end)?,
        })
    }

    /// One look at whether the record has been acknowledged or never will be.
    fn look(&self) -> Result<Option<RecordMetadata>> {
        let (batch, appended) = self.appended(false)?;
        let partition = &batch.queue.partition;
        if partition.keeps_promise(appended.end)? {
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
        let (batch, end) = match self.appended(false) {
            Ok((batch, appended)) => (Arc::clone(batch), appended.end),
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
