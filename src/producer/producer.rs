//! The producer.

use std::time::Duration;

use super::ack::Ack;
use super::callbacks::is_in_callback;
use super::send_all::SentAll;
use super::send_future::SendFuture;
use super::shared::{ExpiryTask, Shared};
use super::stats::ProducerStats;
use crate::broker::Broker;
use crate::client::ProducerRecord;
use crate::clock::{Clock, SystemClock};
use crate::config::ProducerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::topic::Task;
use crate::types::TopicPartition;

/// Sends records. Made by [`Broker::producer`]; share one among threads.
///
/// `send` copies the record into its partition's open batch and returns; a full batch is written by the thread that
/// filled it. Records that one thread sends to one partition are in the log in that order.
///
/// All batches together take at most `buffer.memory`. Where the disk does not keep up, [`send`](Producer::send) waits for
/// memory, [`try_send`](Producer::try_send) gives the record back, [`send_async`](Producer::send_async) is a future.
///
/// Dropping it writes what it holds, without waiting for syncs, and for no more than half a second for other threads that are
/// writing; what the disk refuses then has failed. [`close`](Producer::close) waits.
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
    /// [`Closed`](ErrorKind::Closed) if no record was taken. What else [`send`](Producer::send) returns comes with the
    /// acknowledgement, in the place of its record.
    pub fn send_all<'a>(&self, records: impl IntoIterator<Item = ProducerRecord<'a>>) -> Result<SentAll> {
        self.shared.check_open()?;
        let acks = records.into_iter().map(|record| self.send(record).unwrap_or_else(Ack::refused));
        Ok(SentAll::new(acks.collect()))
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
        shared.memory.wake_all();
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
        let queues = shared.queues.all();
        queues.iter().for_each(|queue| _ = queue.write_out(shared));
        let deadline = SystemClock.instant().checked_add(max); // threads write in the system's time, whatever the clock is
        let left = queues.iter().filter(|queue| !queue.wait_for_writer(shared, deadline)).count();
        if left > 0 {
            let name = shared.name();
            tracing::warn!("{name} was dropped with records for {left} partitions that could not be written yet");
        }
        shared.retire_all();
    }
}

/// Time for which a producer that is dropped waits for others who write its batches.
const DROP_MAX: Duration = Duration::from_millis(500);
