//! How a record gets into a batch: what it is checked for, what it may wait for, and what `flush` waits for.

use std::time::Instant;

use super::accumulator::{PartitionQueue, Placed, Unplaced};
use super::ack::{Ack, Sent};
use super::batch::SentBatch;
use super::memory::Share;
use super::partitioner::{Choice, choose};
use super::recent_time;
use super::room::make_room;
use super::shared::Shared;
use super::topic_queues::TopicQueue;
use crate::client::{OwnedRecord, ProducerRecord};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::topic::Waiter;
use crate::types::Timestamp;

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
    pub(super) fn send(&self, record: &ProducerRecord<'_>) -> Result<Ack> {
        let mut attempt = Attempt::new(record, self.begin(record)?);
        match self.place(&mut attempt) {
            Ok(batch) => Ok(attempt.ack(batch)),
            Err(unsent) => self.acknowledge(self.send_later(attempt, *unsent)),
        }
    }

    #[cold]
    pub(super) fn send_later(&self, mut attempt: Attempt<'_, '_>, mut unsent: Unsent) -> Result<Ack> {
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
    pub(super) fn try_send(&self, record: &ProducerRecord<'_>) -> Result<Ack> {
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
    pub(super) fn place_in(&self, queues: &TopicQueue, attempt: &mut Attempt<'_, '_>) -> Placement {
        let Attempt { record, timestamp, .. } = *attempt;
        let now = if record.timestamp.is_some() { recent_time::now(&*self.engine.clock) } else { timestamp };
        let size = queues.check(record, timestamp, now).map_err(|error| Box::new(Unsent::Refused(error)))?;
        let count = queues.count();
        let choice = match attempt.chosen {
            Some(partition) => Choice { partition, is_sticky: false },
            None => choose(record, &self.config, &queues.sticky, count).map_err(|error| unchosen(attempt, error))?,
        };
        let Some(queue) = queues.partitions.get(usize::try_from(choice.partition).unwrap_or(usize::MAX)) else {
            return Err(Box::new(Unsent::Waits(Need::Topic(no_partition(record.topic, choice.partition)))));
        };
        let usage = self.engine.topics.usage();
        if usage.limit().is_some() && !usage.has_room(size as u64 + queue.queued_bytes()) {
            return Err(Box::new(Unsent::Waits(Need::Room(size as u64 + queue.queued_bytes()))));
        }
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
    pub(super) fn unplaced(&self, queue: &PartitionQueue, unplaced: Unplaced) -> Box<Unsent> {
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
    pub(super) fn is_awaited(&self, error: Error) -> Result<Error> {
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
    pub(super) fn wait_for(&self, need: Need, deadline: Option<Instant>) -> Result<Option<Share>> {
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

    pub(super) fn wait_for_memory(&self, bytes: usize, deadline: Option<Instant>) -> Result<Share> {
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
    pub(super) fn retire_all(&self) {
        let error = Error::new(ErrorKind::Closed);
        self.queues.take_all().iter().for_each(|queue| queue.retire(self, &error));
        self.memory.wake_all(); // nobody may give it back
    }

    /// Writes what is in memory, as far as nobody else is at it.
    pub(super) fn write_all(&self) {
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
    pub(super) fn wait_for_topics(&self, version: u64, missing: Error, deadline: Option<Instant>) -> Result<()> {
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
    pub(super) fn flush(&self, queues: &[Arc<PartitionQueue>], deadline: Option<Instant>) -> Result<bool> {
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
