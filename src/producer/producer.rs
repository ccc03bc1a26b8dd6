//! The producer.

use std::time::{Duration, Instant};

use super::accumulator::{PartitionQueue, Placed, Unplaced};
use super::ack::{Ack, Sent};
use super::batch::SentBatch;
use super::callbacks::is_in_callback;
use super::memory::Share;
use super::partitioner::{Choice, choose};
use super::recent_time;
use super::room::make_room;
use super::send_all::SentAll;
use super::send_future::SendFuture;
use super::shared::{ExpiryTask, Shared};
use super::stats::ProducerStats;
use super::topic_queues::TopicQueue;
use crate::broker::Broker;
use crate::client::{OwnedRecord, ProducerRecord};
use crate::config::ProducerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::topic::{Task, Waiter};
use crate::types::{Timestamp, TopicPartition};

/// Sends records. Made by [`Broker::producer`]; share one among threads.
///
/// `send` copies the record into its partition's open batch and returns; a full batch is written by the thread that
/// filled it. Records that one thread sends to one partition are in the log in that order.
///
/// All batches together take at most `buffer.memory`. Where the disk does not keep up, [`send`](Producer::send) waits for
/// memory, [`try_send`](Producer::try_send) gives the record back, [`send_async`](Producer::send_async) is a future.
///
/// Dropping it writes what it holds, without waiting for syncs; [`close`](Producer::close) waits.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    /// Runs as long as this is here.
    _expiry: Arc<ExpiryTask>,
}

impl Broker {
    /// Makes a producer.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), [`Closed`](ErrorKind::Closed).
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        config.check()?;
        self.engine().check_open()?;
        let shared = Shared::new(Arc::clone(self.engine()), config);
        let task: Arc<dyn Task> = Arc::clone(&shared) as Arc<dyn Task>;
        self.engine().lingering.add(Arc::downgrade(&task));
        let expiry = Arc::new(ExpiryTask(Arc::downgrade(&shared)));
        let task: Arc<dyn Task> = Arc::clone(&expiry) as Arc<dyn Task>;
        self.engine().timer.add(Arc::downgrade(&task));
        Ok(Producer { shared, _expiry: expiry })
    }
}

/// A record that [`try_send`](Producer::try_send) did not take.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrySendError<'a> {
    /// The record, as it was.
    pub record: ProducerRecord<'a>,
    /// Why: [`BufferExhausted`](ErrorKind::BufferExhausted), or what [`send`](Producer::send) returns.
    pub error: Error,
}

impl std::fmt::Display for TrySendError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the record was not taken: {}", self.error)
    }
}

impl std::error::Error for TrySendError<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Producer {
    /// Sends a record. What the topic or a full store refuses, and what goes wrong later, comes with the acknowledgement.
    ///
    /// It waits, for up to `max.block.ms` in all, until there is such a topic and partition, and until its batch has memory
    /// of `buffer.memory`; batches that can be written are, by this thread or another one. Where the store is full and its
    /// `store.full.policy` is [`block`](crate::StoreFullPolicy::Block), it waits for room as long; with
    /// [`drop-oldest`](crate::StoreFullPolicy::DropOldest) it removes records. Otherwise it does not wait for more than the
    /// writing of batches.
    ///
    /// # Errors
    ///
    /// [`IllegalArgument`](ErrorKind::IllegalArgument) for a negative partition or timestamp,
    /// [`Closed`](ErrorKind::Closed).
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<Ack> {
        let shared = &*self.shared;
        if !shared.interceptors.is_empty() {
            return self.send_intercepted(&record);
        }
        shared.send(&record)
    }

    #[cold]
    fn send_intercepted(&self, record: &ProducerRecord<'_>) -> Result<Ack> {
        let shared = &*self.shared;
        shared.check_open()?;
        let owned = shared.interceptors.on_send(record);
        let sent = shared.send(&owned.as_record());
        shared.intercept(owned, sent)
    }

    /// As [`send`](Producer::send), without waiting for memory, a topic or room in a full store: where there is no memory
    /// the record comes back, and the other two are refused by the acknowledgement.
    ///
    /// ```
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let broker = thalweg::Broker::open(dir.path())?;
    /// # broker.create_topic("t", 1, thalweg::TopicConfig::new())?;
    /// # let producer = broker.producer(thalweg::ProducerConfig::new())?;
    /// use thalweg::ProducerRecord;
    ///
    /// match producer.try_send(ProducerRecord::new("t", "value")) {
    ///     Ok(ack) => ack.detach(),
    ///     Err(full) => println!("dropped {:?}: {}", full.record, full.error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The record, with [`BufferExhausted`](ErrorKind::BufferExhausted) or an error of [`send`](Producer::send).
    pub fn try_send<'a>(&self, record: ProducerRecord<'a>) -> std::result::Result<Ack, TrySendError<'a>> {
        let shared = &*self.shared;
        let taken = match shared.check_open() {
            Err(error) => Err(error),
            Ok(()) if shared.interceptors.is_empty() => shared.try_send(&record),
            Ok(()) => {
                let owned = shared.interceptors.on_send(&record);
                let taken = shared.try_send(&owned.as_record());
                shared.intercept(owned, taken)
            }
        };
        taken.map_err(|error| TrySendError { record, error })
    }

    /// As [`send`](Producer::send), as a future: what `send` blocks for, it awaits, but for room in a full store, which
    /// is refused. Nothing is sent before it is polled, and dropped before it is ready it sends nothing. It needs no
    /// runtime; `max.block.ms` counts from the first poll.
    pub fn send_async<'a>(&'a self, record: ProducerRecord<'a>) -> SendFuture<'a> {
        SendFuture::new(&self.shared, record)
    }

    /// Sends records, in order, with one acknowledgement for all. A record that is refused, or fails, harms no other.
    ///
    /// ```
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let broker = thalweg::Broker::open(dir.path())?;
    /// # broker.create_topic("t", 1, thalweg::TopicConfig::new())?;
    /// # let producer = broker.producer(thalweg::ProducerConfig::new())?;
    /// use thalweg::ProducerRecord;
    ///
    /// let lines = ["one", "two", "three"];
    /// let sent = producer.send_all(lines.iter().map(|line| ProducerRecord::new("t", *line)))?.wait()?;
    /// assert_eq!(sent.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Producer::send), at the first record that it does not take; those before are sent, and those behind
    /// are not.
    pub fn send_all<'a>(&self, records: impl IntoIterator<Item = ProducerRecord<'a>>) -> Result<SentAll> {
        let acks = records.into_iter().map(|record| self.send(record));
        Ok(SentAll::new(acks.collect::<Result<Vec<_>>>()?))
    }

    /// The partitions of a topic, by number. Waits for the topic as [`send`](Producer::send) does.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ErrorKind::Timeout) if there is no such topic within `max.block.ms`,
    /// [`InvalidTopic`](ErrorKind::InvalidTopic) for a name that no topic can have, [`Closed`](ErrorKind::Closed).
    pub fn partitions_for(&self, topic: &str) -> Result<Vec<TopicPartition>> {
        let shared = &*self.shared;
        let deadline = shared.deadline();
        loop {
            shared.check_open()?;
            let version = shared.engine.topics.version();
            match shared.engine.topics.get(topic) {
                Ok(topic) => return Ok(topic.partitions().iter().map(|partition| partition.name().clone()).collect()),
                Err(error) => shared.wait_for_topics(version, shared.is_awaited(error)?, deadline)?,
            }
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> ProducerStats {
        let shared = &*self.shared;
        let memory = (shared.memory.available(), shared.memory.limit());
        shared.stats.read(shared.engine.clock.instant(), memory)
    }

    /// Writes everything sent so far, without lingering, and waits until it is as durable as its topics promise. What
    /// became of single records is told by their acknowledgements.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage) for the first partition that could not be synced;
    /// [`IllegalState`](ErrorKind::IllegalState) in a callback, which it would wait for.
    pub fn flush(&self) -> Result<()> {
        if is_in_callback() {
            return Err(Error::illegal_state("a callback cannot flush: it would wait for itself"));
        }
        self.shared.flush(&self.shared.queues.all(), None).map(drop)
    }

    /// Takes no more records and [flushes](Producer::flush). In a callback it does not wait: what is not written yet fails.
    /// A second call does nothing.
    ///
    /// # Errors
    ///
    /// As [`flush`](Producer::flush).
    pub fn close(&self) -> Result<()> {
        self.close_until(None)
    }

    /// As [`close`](Producer::close), for at most about `timeout`: what is not written by then fails with
    /// [`Closed`](ErrorKind::Closed), but for a batch whose write goes on.
    ///
    /// # Errors
    ///
    /// As [`close`](Producer::close), and [`Timeout`](ErrorKind::Timeout) if something was left.
    pub fn close_timeout(&self, timeout: Duration) -> Result<()> {
        self.close_until(Some(timeout))
    }

    fn close_until(&self, timeout: Option<Duration>) -> Result<()> {
        let shared = &*self.shared;
        if !shared.close() {
            return Ok(());
        }
        shared.engine.topics.waiters().wake_all(); // those who wait for a topic
        let timeout = if is_in_callback() { Some(Duration::ZERO) } else { timeout };
        let deadline = timeout.and_then(|timeout| shared.engine.clock.instant().checked_add(timeout));
        // While it waits they are known to the timer, and to a broker that is closed meanwhile.
        let flushed = if is_in_callback() { Ok(true) } else { shared.flush(&shared.queues.all(), deadline) };
        shared.retire_all();
        match flushed {
            Ok(true) => Ok(()),
            Ok(false) => {
                let what = "the producer was closed with records that were not written, which failed".to_owned();
                Err(Error::new(ErrorKind::Timeout { what }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let shared = &*self.shared;
        if !shared.close() {
            return;
        }
        shared.engine.topics.waiters().wake_all();
        let max = if is_in_callback() { Duration::ZERO } else { DROP_MAX };
        let left: Vec<_> = shared.queues.all().iter().filter_map(|queue| queue.write_out(shared)).collect();
        let deadline = shared.engine.clock.instant().checked_add(max);
        let left = left.iter().filter(|batch| !batch.wait_settled(deadline)).count();
        if left > 0 {
            let name = shared.name();
            tracing::warn!("{name} was dropped with records for {left} partitions that could not be written yet");
        }
        shared.retire_all();
    }
}

/// Time for which a producer that is dropped waits for others who write its batches, or for the next attempt.
const DROP_MAX: Duration = Duration::from_millis(500);

/// Why a record is in no batch.
pub(super) enum Unsent {
    Refused(Error),
    /// Something has to come first.
    Waits(Need),
}

/// What a record waits for.
pub(super) enum Need {
    /// So many bytes of the producer's memory.
    Memory(usize),
    /// The topic or the partition that this error names.
    Topic(Error),
    /// Room for so many bytes in the store.
    Room(u64),
}

/// A record on its way into a batch.
pub(super) struct Attempt<'r, 'a> {
    pub(super) record: &'r ProducerRecord<'a>,
    pub(super) timestamp: Timestamp,
    /// What the application's partitioner said, which is asked once.
    pub(super) chosen: Option<i32>,
    /// Memory that it has waited for.
    pub(super) granted: Option<Share>,
    /// Where it went.
    pub(super) placed: Placed,
}

/// The batch of a record that was placed. Two words, like all that `send` passes on.
pub(super) type Placement = std::result::Result<Arc<SentBatch>, Box<Unsent>>;

impl<'r, 'a> Attempt<'r, 'a> {
    #[inline]
    pub(super) fn new(record: &'r ProducerRecord<'a>, timestamp: Timestamp) -> Self {
        Attempt { record, timestamp, chosen: None, granted: None, placed: Placed::default() }
    }

    /// The acknowledgement of the record, which is in `batch`.
    #[inline]
    pub(super) fn ack(&self, batch: Arc<SentBatch>) -> Ack {
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        let Attempt { record, timestamp, placed: Placed { delta, .. }, .. } = *self;
        let (key_size, value_size) = (len(record.key), len(record.value));
        Ack::sent(Sent { batch, delta, key_size, value_size, timestamp, wanted: record.durability })
    }
}

impl Shared {
    /// Sends a record, and waits for what it needs.
    #[inline]
    fn send(&self, record: &ProducerRecord<'_>) -> Result<Ack> {
        let mut attempt = Attempt::new(record, self.begin(record)?);
        match self.place(&mut attempt) {
            Ok(batch) => Ok(attempt.ack(batch)),
            Err(unsent) => self.acknowledge(self.send_later(attempt, *unsent)),
        }
    }

    #[cold]
    fn send_later(&self, mut attempt: Attempt<'_, '_>, mut unsent: Unsent) -> Result<Ack> {
        let deadline = self.deadline();
        let outcome = loop {
            self.take_back(&mut attempt);
            let need = match unsent {
                Unsent::Refused(error) => break Err(error),
                Unsent::Waits(need) => need,
            };
            match self.wait_for(need, deadline) {
                Ok(share) => attempt.granted = share,
                Err(error) => break Err(error),
            }
            match self.place(&mut attempt) {
                Ok(batch) => break Ok(attempt.ack(batch)),
                Err(other) => unsent = *other,
            }
        };
        self.take_back(&mut attempt);
        outcome
    }

    /// Takes back memory that an attempt had no use for.
    pub(super) fn take_back(&self, attempt: &mut Attempt<'_, '_>) {
        if let Some(unused) = attempt.granted.take() {
            self.memory.give_back(unused);
        }
    }

    /// Sends a record if that needs no waiting.
    fn try_send(&self, record: &ProducerRecord<'_>) -> Result<Ack> {
        let timestamp = self.begin(record)?;
        let mut attempt = Attempt::new(record, timestamp);
        let mut placed = self.place(&mut attempt);
        if let Err(unsent) = &placed
            && let Unsent::Waits(Need::Room(size)) = **unsent
        {
            match self.make_room(size, Some(self.engine.clock.instant())) {
                Ok(()) => placed = self.place(&mut attempt),
                Err(error) => return self.acknowledge(Err(error)),
            }
        }
        let unsent = match placed {
            Ok(batch) => return Ok(attempt.ack(batch)),
            Err(unsent) => unsent,
        };
        self.acknowledge(Err(match *unsent {
            Unsent::Refused(error) | Unsent::Waits(Need::Topic(error)) => error,
            Unsent::Waits(Need::Room(_)) => self.engine.topics.usage().full(),
            Unsent::Waits(Need::Memory(bytes)) => {
                self.press();
                return Err(self.memory.exhausted(bytes));
            }
        }))
    }

    /// Has the interceptors told what becomes of a record, before its application is.
    pub(super) fn intercept(&self, record: OwnedRecord, sent: Result<Ack>) -> Result<Ack> {
        let headers = record.headers;
        match &sent {
            Ok(ack) => {
                let interceptors = self.interceptors.clone();
                ack.twin().on_complete(move |outcome| interceptors.on_acknowledgement(&outcome, &headers));
            }
            Err(error) => self.interceptors.on_acknowledgement(&Err(error.clone()), &headers),
        }
        sent
    }

    /// What `send` refuses by itself. Returns the record's time.
    #[inline]
    pub(super) fn begin(&self, record: &ProducerRecord<'_>) -> Result<Timestamp> {
        self.check_open()?;
        if let Some(partition) = record.partition.filter(|partition| *partition < 0) {
            return Err(Error::illegal_argument(format!("a partition cannot be negative, as {partition} is")));
        }
        let now = recent_time::now(&*self.engine.clock);
        match record.timestamp {
            None => Ok(now),
            Some(timestamp) if timestamp < 0 => {
                Err(Error::illegal_argument(format!("a timestamp cannot be negative, as {timestamp} is")))
            }
            Some(timestamp) => Ok(timestamp),
        }
    }

    /// The acknowledgement of what came of a record.
    #[inline]
    pub(super) fn acknowledge(&self, outcome: Result<Ack>) -> Result<Ack> {
        match outcome {
            Ok(ack) => Ok(ack),
            Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::IllegalArgument { .. }) => Err(error),
            Err(error) => {
                self.stats.note_refused();
                Ok(Ack::refused(error))
            }
        }
    }

    /// Chooses the partition, checks the record against its topic, and puts it into a batch.
    #[inline]
    pub(super) fn place(&self, attempt: &mut Attempt<'_, '_>) -> Placement {
        let missing = |error| {
            let awaited = self.is_awaited(error);
            Err(Box::new(awaited.map_or_else(Unsent::Refused, |error| Unsent::Waits(Need::Topic(error)))))
        };
        self.queues.with(self, attempt.record.topic, |queues| self.place_in(queues, attempt), missing)
    }

    #[inline]
    fn place_in(&self, queues: &TopicQueue, attempt: &mut Attempt<'_, '_>) -> Placement {
        let Attempt { record, timestamp, .. } = *attempt;
        let now = if record.timestamp.is_some() { recent_time::now(&*self.engine.clock) } else { timestamp };
        let size = queues.check(record, timestamp, now).map_err(|error| Box::new(Unsent::Refused(error)))?;
        if !self.engine.topics.usage().has_room(size as u64) {
            return Err(Box::new(Unsent::Waits(Need::Room(size as u64))));
        }
        let count = queues.count();
        let choice = match attempt.chosen {
            Some(partition) => Choice { partition, is_sticky: false },
            None => choose(record, &self.config, &queues.sticky, count).map_err(|error| unchosen(attempt, error))?,
        };
        let Some(queue) = queues.partitions.get(usize::try_from(choice.partition).unwrap_or(usize::MAX)) else {
            return Err(Box::new(Unsent::Waits(Need::Topic(no_partition(record.topic, choice.partition)))));
        };
        if self.config.get_partitioner().is_some() {
            attempt.chosen = Some(choice.partition);
        }
        let batch = queue.push(self, attempt).map_err(|unplaced| self.unplaced(queue, unplaced))?;
        let Placed { size, complete, .. } = attempt.placed;
        if choice.is_sticky && count > 1 {
            let is_adaptive = self.config.get_partitioner_adaptive();
            let queued = |number| if is_adaptive { queues.queued_bytes(number) } else { 0 };
            queues.sticky.on_append(size, complete, count, queued);
        }
        Ok(batch)
    }

    #[cold]
    fn unplaced(&self, queue: &PartitionQueue, unplaced: Unplaced) -> Box<Unsent> {
        Box::new(match unplaced {
            Unplaced::NeedsMemory(bytes) => Unsent::Waits(Need::Memory(bytes)),
            // The topic was deleted, or the producer closed.
            Unplaced::Retired => match self.check_open() {
                Err(error) => Unsent::Refused(error),
                Ok(()) => {
                    let topic = queue.name.topic().to_owned();
                    Unsent::Waits(Need::Topic(Error::new(ErrorKind::UnknownTopicOrPartition {
                        topic,
                        partition: None,
                    })))
                }
            },
        })
    }

    /// The error of a topic that is not there, if there may be one of that name later.
    fn is_awaited(&self, error: Error) -> Result<Error> {
        match error.kind() {
            ErrorKind::UnknownTopicOrPartition { topic, .. } => crate::topic::check_topic_name(topic).map(|()| error),
            _ => Err(error),
        }
    }

    /// When `max.block.ms` is over; `None` for never.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.engine.clock.instant().checked_add(self.config.get_max_block())
    }

    /// Waits for what a record needs. Returns the memory, if that is it.
    fn wait_for(&self, need: Need, deadline: Option<Instant>) -> Result<Option<Share>> {
        match need {
            Need::Memory(bytes) => self.wait_for_memory(bytes, deadline).map(Some),
            Need::Room(size) => self.make_room(size, deadline).map(|()| None),
            Need::Topic(error) => {
                let version = self.engine.topics.version();
                let ErrorKind::UnknownTopicOrPartition { topic, partition } = error.kind() else { return Err(error) };
                let found =
                    self.engine.topics.get(topic).and_then(|topic| topic.partition(partition.unwrap_or(0)).map(drop));
                if found.is_ok() {
                    return Ok(None);
                }
                self.wait_for_topics(version, error, deadline).map(|()| None)
            }
        }
    }

    fn wait_for_memory(&self, bytes: usize, deadline: Option<Instant>) -> Result<Share> {
        let began = self.engine.clock.instant();
        let wait = self.memory.wait(bytes);
        self.write_all();
        let share = wait.block(deadline, || self.check_open().is_err());
        self.stats.note_memory_wait(self.engine.clock.instant().saturating_duration_since(began));
        match (self.check_open(), share) {
            (Ok(()), Some(share)) => Ok(share),
            (Ok(()), None) => Err(self.memory.exhausted(bytes)),
            (Err(closed), share) => {
                share.into_iter().for_each(|share| self.memory.give_back(share)); // others wait for it
                Err(closed)
            }
        }
    }

    /// Takes nothing any more, in no partition. What is not written fails.
    fn retire_all(&self) {
        let error = Error::new(ErrorKind::Closed);
        self.queues.take_all().iter().for_each(|queue| queue.retire(self, &error));
        self.memory.wake_all(); // nobody may give it back
    }

    /// Writes what is in memory, as far as nobody else is at it.
    fn write_all(&self) {
        self.queues.all().iter().for_each(|queue| _ = queue.write_all(self));
    }

    /// Has what is in memory written by the timer's thread.
    pub(super) fn press(&self) {
        self.queues.all().iter().for_each(|queue| queue.press(self));
    }

    pub(super) fn make_room(&self, size: u64, deadline: Option<Instant>) -> Result<()> {
        make_room(&self.engine, deadline, size)
    }

    /// Waits until the topics are not those of `version` any more.
    fn wait_for_topics(&self, version: u64, missing: Error, deadline: Option<Instant>) -> Result<()> {
        let topics = &self.engine.topics;
        let waiter = Arc::<Waiter>::default();
        topics.waiters().add_for_all(&waiter);
        let moved = || topics.version() != version || self.check_open().is_err();
        let has_moved = moved() || waiter.wait_until(deadline) || moved();
        topics.waiters().remove(&waiter);
        self.check_open()?;
        if has_moved { Ok(()) } else { Err(self.never_came(missing)) }
    }

    /// The error of a topic that did not come within `max.block.ms`.
    #[cold]
    pub(super) fn never_came(&self, missing: Error) -> Error {
        let what = format!("nobody created it within {:?}", self.config.get_max_block());
        Error::new(ErrorKind::Timeout { what }).caused_by(missing)
    }

    /// Has everything in `queues` written and made as durable as it is to be. Returns whether all was settled by `deadline`.
    fn flush(&self, queues: &[Arc<PartitionQueue>], deadline: Option<Instant>) -> Result<bool> {
        let began = self.engine.clock.instant();
        let left: Vec<_> = queues.iter().filter_map(|queue| queue.write_out(self)).collect();
        let settled = left.iter().map(|batch| batch.wait_settled(deadline)).fold(true, |all, one| all & one);
        let mut targets = Vec::new();
        let mut outcome = Ok(());
        let written = queues.iter().filter_map(|queue| queue.written());
        for (partition, end) in written.filter(|(partition, _)| partition.check_exists().is_ok()) {
            match partition.keeps_promises(end) {
                Ok(true) => {}
                Ok(false) => targets.push((partition, end)),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        let mut synced = self.engine.topics.flusher().committer.sync_to(&targets);
        // What was deleted meanwhile need not be durable.
        synced.iter_mut().zip(&targets).for_each(|(synced, (partition, _))| {
            if partition.check_exists().is_err() {
                *synced = Ok(());
            }
        });
        queues.iter().for_each(|queue| queue.callbacks.run(queue));
        self.stats.note_flush(self.engine.clock.instant().saturating_duration_since(began));
        synced.into_iter().fold(outcome, Result::and).map(|()| settled)
    }
}

/// A partition that is not there may come; what else a partitioner said is an error.
#[cold]
fn unchosen(attempt: &mut Attempt<'_, '_>, error: Error) -> Box<Unsent> {
    Box::new(match error.kind() {
        ErrorKind::UnknownTopicOrPartition { partition, .. } => {
            attempt.chosen = *partition;
            Unsent::Waits(Need::Topic(error))
        }
        _ => Unsent::Refused(error),
    })
}

fn no_partition(topic: &str, partition: i32) -> Error {
    Error::new(ErrorKind::UnknownTopicOrPartition { topic: topic.to_owned(), partition: Some(partition) })
}
