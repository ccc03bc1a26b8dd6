//! What became of a record that was sent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::batch::SentBatch;
use super::callbacks::is_in_callback;
use crate::client::RecordMetadata;
use crate::config::Acks;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::topic::{OpenBatches, Waiter};
use crate::types::{Durability, Timestamp};

/// The acknowledgement of one record: [`wait`](Ack::wait) for it, `await` it, [look](Ack::try_wait) at it, have a
/// [function called](Ack::on_complete), or [`detach`](Ack::detach) it.
///
/// With [`acks=all`](crate::Acks::All) it resolves when consumers can see the record, which is when the promise of its topic's
/// [`Durability`] holds, and that which the record [asked for](crate::ProducerRecord::durability): in mode `fsync` after a
/// successful `fdatasync` that covers it. With [`acks=1`](crate::Acks::Leader) it resolves when the record is in the log,
/// with [`acks=0`](crate::Acks::None) at once.
#[derive(Debug)]
#[must_use = "a record can be lost without anybody noticing: wait, await or detach"]
pub struct Ack {
    state: State,
    /// Made when a task first has to wait.
    waiter: Option<Arc<Waiter>>,
}

#[derive(Clone, Debug)]
enum State {
    Sent(Sent),
    Refused(Error),
}

/// A record in a batch.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) batch: Arc<SentBatch>,
    /// Its place in the batch.
    pub(super) delta: i32,
    /// Bytes of key and value, -1 where there is none.
    pub(super) key_size: i32,
    pub(super) value_size: i32,
    pub(super) timestamp: Timestamp,
    pub(super) wanted: Durability,
}

impl Ack {
    pub(super) fn sent(sent: Sent) -> Self {
        Ack { state: State::Sent(sent), waiter: None }
    }

    pub(super) fn refused(error: Error) -> Self {
        Ack { state: State::Refused(error), waiter: None }
    }

    /// Another one of the same record.
    pub(super) fn twin(&self) -> Self {
        Ack { state: self.state.clone(), waiter: None }
    }

    /// Blocks until the record is as durable as its topic promises. Its batch is written as soon as it can be synced,
    /// however long it was meant to linger, and the calling thread does the syncing if nobody else is at it.
    ///
    /// A batch that is refused for a passing reason, such as a full disk, is tried again until `delivery.timeout.ms` is
    /// over.
    ///
    /// # Errors
    ///
    /// Why the record is not in the log, or why nothing can be said about it:
    /// [`Timeout`](crate::ErrorKind::Timeout) with its cause,
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition),
    /// [`RecordTooLarge`](crate::ErrorKind::RecordTooLarge), [`InvalidRecord`](crate::ErrorKind::InvalidRecord),
    /// [`InvalidTimestamp`](crate::ErrorKind::InvalidTimestamp), [`InvalidTopic`](crate::ErrorKind::InvalidTopic),
    /// [`BufferExhausted`](crate::ErrorKind::BufferExhausted), [`StorageFull`](crate::ErrorKind::StorageFull),
    /// [`StoreFull`](crate::ErrorKind::StoreFull), [`Closed`](crate::ErrorKind::Closed): the record is not in the log, unless
    /// a timeout says otherwise.
    /// [`Storage`](crate::ErrorKind::Storage), [`Io`](crate::ErrorKind::Io): it may be, and sending it again can store it
    /// twice. [`IllegalState`](crate::ErrorKind::IllegalState) in a callback of a producer, where the record is not
    /// acknowledged yet: it would wait for itself.
    pub fn wait(self) -> Result<RecordMetadata> {
        let Some(sent) = self.unresolved_sent()? else { return self.metadata() };
        let Sent { batch, wanted, delta, .. } = sent;
        let partition = &batch.partition;
        if is_in_callback() {
            return self.look().and_then(|found| found.ok_or_else(waits_for_itself));
        }
        let waits_for_sync = batch.acks == Acks::All;
        if waits_for_sync && !batch.is_settled() && partition.promises_syncs(*wanted)? {
            let queue: Arc<dyn OpenBatches> = Arc::clone(&batch.queue) as _;
            partition.sync_with(&queue)?;
        }
        batch.queue.wait(batch, None);
        let (_, appended) = batch.appended(*delta).unwrap_or_else(|| Err(never_settled()))?;
        if waits_for_sync && !partition.keeps_promise(appended.end, *wanted)? {
            partition.sync_to(appended.end)?;
        }
        self.metadata()
    }

    /// As [`wait`](Ack::wait), for at most `timeout`, and without doing the syncing. The record is written whatever comes of
    /// the wait, and it can be waited for again.
    ///
    /// # Errors
    ///
    /// As [`wait`](Ack::wait); [`Timeout`](crate::ErrorKind::Timeout) without a cause if the time was too short.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<RecordMetadata> {
        self.hurry();
        if let Some(found) = self.look()? {
            return Ok(found);
        }
        if is_in_callback() {
            return Err(waits_for_itself());
        }
        let deadline = self.deadline(timeout);
        let waiter = Arc::<Waiter>::default();
        let mut looked = self.listen_and_look(&waiter);
        while looked.is_none() {
            let is_woken = waiter.wait_until(deadline);
            self.forget(&waiter);
            looked = if is_woken { self.listen_and_look(&waiter) } else { self.look().transpose() };
            if !is_woken {
                break;
            }
        }
        self.forget(&waiter);
        looked.unwrap_or_else(|| {
            let what = format!("the record was not acknowledged within {timeout:?}");
            Err(Error::new(ErrorKind::Timeout { what }))
        })
    }

    /// What became of the record, if that is known by now. Does not wait, nor does it have anything written.
    pub fn try_wait(&self) -> Option<Result<RecordMetadata>> {
        self.look().transpose()
    }

    /// Has `callback` called when this resolves, on the thread that brings it about: one that sends or waits, or one of
    /// the broker's. Callbacks of one partition are called one after the other, in the order in which its records were sent.
    /// One that is added when its record is acknowledged already is called now; one that is called for inside another one,
    /// behind that.
    ///
    /// It should be quick: the writing of others may wait for it. It may send; [`flush`](crate::Producer::flush) and waiting
    /// are refused there, and [`close`](crate::Producer::close) does not wait. If it panics, that is logged.
    pub fn on_complete(self, callback: impl FnOnce(Result<RecordMetadata>) + Send + 'static) {
        match &self.state {
            State::Refused(error) => {
                let error = error.clone();
                super::callbacks::call_outside("a callback of a producer", move || callback(Err(error)));
            }
            State::Sent(Sent { batch, delta, .. }) => {
                let (queue, place) = (Arc::clone(&batch.queue), (batch.number, *delta));
                queue.callbacks.add(place, self, Box::new(callback));
                queue.callbacks.run(&queue);
            }
        }
    }

    /// Lets go of the acknowledgement. The record is written all the same, and an error is lost.
    pub fn detach(self) {}

    /// The record, unless it is refused, or nobody waits for what becomes of it.
    fn unresolved_sent(&self) -> Result<Option<&Sent>> {
        match &self.state {
            State::Refused(error) => Err(error.clone()),
            State::Sent(sent) => Ok(Some(sent).filter(|sent| sent.batch.acks != Acks::None)),
        }
    }

    /// The metadata of a record that was acknowledged.
    fn metadata(&self) -> Result<RecordMetadata> {
        match &self.state {
            State::Refused(error) => Err(error.clone()),
            State::Sent(sent) => sent.metadata()?.ok_or_else(never_settled),
        }
    }

    /// One look at whether the record has been acknowledged or never will be.
    fn look(&self) -> Result<Option<RecordMetadata>> {
        let Some(Sent { batch, delta, wanted, .. }) = self.unresolved_sent()? else { return self.metadata().map(Some) };
        let Some(appended) = batch.appended(*delta) else { return Ok(None) };
        let (_, appended) = appended?;
        let partition = &batch.partition;
        if batch.acks == Acks::Leader || partition.keeps_promise(appended.end, *wanted)? {
            return self.metadata().map(Some);
        }
        partition.log()?.check_failure().map(|()| None)
    }

    /// Has the record written, if it only lingers.
    fn hurry(&self) {
        if let State::Sent(Sent { batch, .. }) = &self.state
            && batch.acks != Acks::None
            && !batch.is_settled()
        {
            batch.queue.hurry(batch);
        }
    }

    /// Has `waiter` woken when there may be something to see. Look once more after this call.
    fn listen(&self, waiter: &Arc<Waiter>) {
        let State::Sent(Sent { batch, delta, .. }) = &self.state else { return };
        match batch.appended(*delta) {
            None => batch.add_waiter(waiter),
            Some(Ok((_, appended))) => batch.partition.waiters().add(appended.end, waiter),
            Some(Err(_)) => {}
        }
    }

    fn forget(&self, waiter: &Arc<Waiter>) {
        if let State::Sent(Sent { batch, .. }) = &self.state {
            batch.remove_waiter(waiter);
            batch.partition.waiters().remove(waiter);
        }
    }

    fn deadline(&self, timeout: Duration) -> Option<Instant> {
        match &self.state {
            State::Sent(Sent { batch, .. }) => batch.partition.clock().instant().checked_add(timeout),
            State::Refused(_) => None,
        }
    }

    /// As a future, but for the lingering, which goes on.
    pub(super) fn poll_patiently(&mut self, context: &mut Context<'_>) -> Poll<Result<RecordMetadata>> {
        if let Some(ready) = self.look().transpose() {
            return Poll::Ready(ready);
        }
        let waiter = Arc::clone(self.waiter.get_or_insert_default());
        self.forget(&waiter);
        let mut woken = waiter.poll(context.waker());
        while woken {
            woken = waiter.poll(context.waker()); // a wake-up of an earlier poll
        }
        self.listen_and_look(&waiter).map_or(Poll::Pending, Poll::Ready)
    }

    /// Has `waiter` woken when there is something to see, unless there is something now.
    fn listen_and_look(&self, waiter: &Arc<Waiter>) -> Option<Result<RecordMetadata>> {
        let is_settled = || matches!(&self.state, State::Sent(Sent { batch, .. }) if batch.is_settled());
        let was_settled = is_settled();
        self.listen(waiter);
        if !was_settled && is_settled() {
            self.listen(waiter); // what comes next another list knows
        }
        self.look().transpose()
    }
}

impl Sent {
    fn metadata(&self) -> Result<Option<RecordMetadata>> {
        let Sent { batch, delta, key_size, value_size, timestamp, wanted } = self;
        let partition = &batch.partition;
        let (offset, timestamp, durability) = match batch.acks {
            Acks::None => (-1, *timestamp, Durability::Os),
            Acks::Leader | Acks::All => {
                let Some(appended) = batch.appended(*delta) else { return Ok(None) };
                let (offset, appended) = appended?;
                let timestamp = appended.log_append_time.unwrap_or(*timestamp);
                (offset, timestamp, partition.durability_reached(appended.end, *wanted)?)
            }
        };
        Ok(Some(RecordMetadata {
            partition: partition.name().clone(),
            offset,
            timestamp,
            key_size: usize::try_from(*key_size).ok(),
            value_size: usize::try_from(*value_size).ok(),
            durability,
            // Without acknowledgements it does not matter what became of the partition.
            durable_offset: partition.log().map_or_else(
                |error| if batch.acks == Acks::None { Ok(0) } else { Err(error) },
                |log| Ok(log.durable()),
            )?,
        }))
    }
}

#[cold]
fn never_settled() -> Error {
    Error::illegal_state("the batch was never written")
}

#[cold]
fn waits_for_itself() -> Error {
    Error::illegal_state("a callback cannot wait for a record that is not acknowledged: it may wait for itself")
}

/// The future never blocks on the disk's sync: the broker's background thread does that.
impl Future for Ack {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.hurry();
        self.poll_patiently(context)
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            self.forget(waiter);
        }
    }
}
