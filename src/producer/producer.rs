//! The producer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::accumulator::{BatchLimits, PartitionQueue, TopicQueue};
use super::ack::Ack;
use super::partitioner::partition_for_key;
use super::record::ProducerRecord;
use super::room::make_room;
use crate::broker::{Broker, Engine};
use crate::config::{ProducerConfig, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{BatchBuilder, HEADER_LEN};
use crate::sync::{Arc, AtomicBool, Ordering, RwLock};
use crate::topic::{Task, is_internal};
use crate::types::{Timestamp, TimestampType};

/// Sends records. Made by [`Broker::producer`]; share one among threads.
///
/// `send` copies the record into its partition's open batch and returns; a full batch is written by the thread that
/// filled it. Records that one thread sends to one partition are in the log in that order.
///
/// Dropping it writes what it holds, without waiting for syncs; [`close`](Producer::close) waits.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    config: ProducerConfig,
    /// Topics that have been sent to. Read by every `send`, written at the first one to a topic.
    queues: RwLock<HashMap<Arc<str>, Arc<TopicQueue>>>,
    /// Set by `close`; a `send` that does not see it yet is as if it had come before.
    closed: AtomicBool,
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
        let shared = Arc::new(Shared {
            engine: Arc::clone(self.engine()),
            config,
            queues: RwLock::new(HashMap::new()),
            closed: AtomicBool::new(false),
        });
        let task: Arc<dyn Task> = Arc::clone(&shared) as Arc<dyn Task>;
        self.engine().timer.add(Arc::downgrade(&task));
        Ok(Producer { shared })
    }
}

impl Producer {
    /// Sends a record. What the topic or a full store refuses, and what goes wrong later, comes with the acknowledgement.
    ///
    /// Where the store is full and its `store.full.policy` is [`block`](crate::StoreFullPolicy::Block), it waits for up to
    /// `max.block.ms`; with [`drop-oldest`](crate::StoreFullPolicy::DropOldest) it removes records. Otherwise it does not
    /// wait for more than the writing of batches.
    ///
    /// # Errors
    ///
    /// [`IllegalArgument`](ErrorKind::IllegalArgument) for a negative partition or timestamp,
    /// [`Closed`](ErrorKind::Closed).
    pub fn send(&self, record: ProducerRecord<'_>) -> Result<Ack> {
        let shared = &*self.shared;
        shared.check_open()?;
        if let Some(partition) = record.partition.filter(|partition| *partition < 0) {
            return Err(Error::illegal_argument(format!("a partition cannot be negative, as {partition} is")));
        }
        if let Some(timestamp) = record.timestamp.filter(|timestamp| *timestamp < 0) {
            return Err(Error::illegal_argument(format!("a timestamp cannot be negative, as {timestamp} is")));
        }
        let now = shared.engine.clock.now();
        let timestamp = record.timestamp.unwrap_or(now);
        Ok(match shared.place(&record, timestamp, now) {
            Ok(ack) => ack,
            Err(error) => Ack::refused(error),
        })
    }

    /// Writes everything sent so far, without lingering, and waits until it is as durable as its topics promise. What
    /// became of single records is told by their acknowledgements.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage) for the first partition that could not be synced.
    pub fn flush(&self) -> Result<()> {
        let queues = self.shared.all_queues();
        let written: Vec<_> = queues.iter().filter_map(|queue| Some((queue, queue.write_now()?))).collect();
        let mut targets = Vec::new();
        let mut outcome = Ok(());
        for (queue, end) in written {
            match queue.partition.keeps_promises(end) {
                Ok(true) => {}
                Ok(false) => targets.push((Arc::clone(&queue.partition), end)),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        let synced = self.shared.engine.topics.flusher().committer.sync_to(&targets);
        synced.into_iter().fold(outcome, Result::and)
    }

    /// Takes no more records and [flushes](Producer::flush).
    ///
    /// # Errors
    ///
    /// As [`flush`](Producer::flush).
    pub fn close(self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        self.flush()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        for queue in self.shared.all_queues() {
            queue.write_now();
        }
    }
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        self.engine.check_open()?;
        if self.closed.load(Ordering::Acquire) { Err(Error::new(ErrorKind::Closed)) } else { Ok(()) }
    }

    /// Chooses the partition, checks the record against its topic, and puts it into the open batch.
    fn place(&self, record: &ProducerRecord<'_>, timestamp: Timestamp, now: Timestamp) -> Result<Ack> {
        let mut queue = self.topic_queue(record.topic)?;
        let size = self.check(record, timestamp, now, queue.topic.config())?;
        if !self.engine.topics.usage().has_room(size) {
            make_room(&self.engine, self.config.get_max_block(), size)?;
            queue = self.topic_queue(record.topic)?; // it may have changed meanwhile
            self.check(record, timestamp, now, queue.topic.config())?;
        }
        let count = queue.topic.partition_count();
        let is_sticky = record.partition.is_none() && record.key.is_none();
        let number = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => queue.sticky.current(count),
        };
        let partition = queue.partitions.get(usize::try_from(number).unwrap_or(usize::MAX)).ok_or_else(|| {
            let topic = record.topic.to_owned();
            Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition: Some(number) })
        })?;
        let placed = partition.push(record, timestamp, self.engine.clock.instant());
        if is_sticky {
            queue.sticky.on_append(placed.size, placed.complete);
        }
        if let Some(due) = placed.due {
            self.engine.timer.wake_at(due);
        }
        Ok(Ack::sent(placed.batch, placed.delta, timestamp, record.durability))
    }

    /// What the topic refuses (producer.md 11). Checked record by record, so that one bad record harms no other.
    /// Returns the bytes that the record takes as a batch of its own.
    fn check(
        &self,
        record: &ProducerRecord<'_>,
        timestamp: Timestamp,
        now: Timestamp,
        topic: &TopicConfig,
    ) -> Result<u64> {
        if record.key.is_none() && topic.get_cleanup_policy().compacts() {
            return Err(Error::new(ErrorKind::InvalidRecord { reason: "a compacted topic needs a key" }));
        }
        if topic.get_message_timestamp_type() == TimestampType::CreateTime {
            check_timestamp(timestamp, now, topic)?;
        }
        let headers = record.headers.iter().copied();
        let size = HEADER_LEN + BatchBuilder::new().record_size(timestamp, record.key, record.value, headers);
        let store_max = self.engine.topics.usage().limit().and_then(|limit| usize::try_from(limit).ok());
        let limit = self.config.get_max_request_size().min(batch_size_max(topic)).min(store_max.unwrap_or(usize::MAX));
        if size > limit {
            return Err(Error::new(ErrorKind::RecordTooLarge { size, limit }));
        }
        Ok(size as u64)
    }

    fn topic_queue(&self, name: &str) -> Result<Arc<TopicQueue>> {
        if let Some(queue) = self.queues.read().get(name).filter(|queue| queue.topic.is_current()) {
            return Ok(Arc::clone(queue));
        }
        self.drop_deleted();
        if is_internal(name) {
            let reason = "only the engine writes to it";
            return Err(Error::new(ErrorKind::InvalidTopic { topic: name.to_owned(), reason }));
        }
        // The topic is looked up under the lock, so that an earlier state of it never replaces a later one.
        let mut queues = self.queues.write();
        let topic = self.engine.topics.get(name)?;
        let limits = BatchLimits {
            compression: self.config.get_compression_type(),
            size: self.config.get_batch_size().min(batch_size_max(topic.config())),
            linger: self.config.get_linger(),
        };
        let name = Arc::clone(topic.name());
        let former = queues.get(&name);
        if let Some(queue) = former.filter(|queue| queue.topic.is_current()) {
            return Ok(Arc::clone(queue)); // another thread was faster
        }
        let queue = Arc::new(TopicQueue::new(topic, limits, former.map(Arc::as_ref)));
        let former = queues.insert(name, Arc::clone(&queue));
        drop(queues);
        if let Some(former) = former.filter(|former| former.topic.is_deleted()) {
            former.partitions.iter().for_each(|queue| _ = queue.write_now());
        }
        Ok(queue)
    }

    /// Forgets topics that were deleted. What waited for being written to them fails now.
    fn drop_deleted(&self) {
        let is_deleted = |queue: &TopicQueue| !queue.topic.is_current() && queue.topic.is_deleted();
        if !self.queues.read().values().any(|queue| is_deleted(queue)) {
            return;
        }
        let deleted: Vec<_> = self.queues.write().extract_if(|_, queue| is_deleted(queue)).collect();
        let queues = deleted.iter().flat_map(|(_, topic)| &topic.partitions);
        queues.for_each(|queue| _ = queue.write_now());
    }

    fn all_queues(&self) -> Vec<Arc<PartitionQueue>> {
        self.queues.read().values().flat_map(|topic| topic.partitions.iter().cloned()).collect()
    }
}

/// Bytes of the largest batch that the topic's logs take.
fn batch_size_max(topic: &TopicConfig) -> usize {
    topic.get_max_message_bytes().min(usize::try_from(topic.get_segment_bytes()).unwrap_or(usize::MAX))
}

fn check_timestamp(timestamp: Timestamp, now: Timestamp, topic: &TopicConfig) -> Result<()> {
    let millis = |limit: Duration| Timestamp::try_from(limit.as_millis()).unwrap_or(Timestamp::MAX);
    let reason = if now.saturating_sub(timestamp) > millis(topic.get_message_timestamp_before_max()) {
        "it is older than message.timestamp.before.max.ms allows"
    } else if timestamp.saturating_sub(now) > millis(topic.get_message_timestamp_after_max()) {
        "it is further in the future than message.timestamp.after.max.ms allows"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidTimestamp { timestamp, reason }))
}

impl Task for Shared {
    /// Writes batches that have lingered long enough; all of them when the broker is being closed. Those of topics that
    /// were deleted fail.
    fn run(&self, now: Instant) -> Option<Instant> {
        self.drop_deleted();
        let closing = self.engine.check_open().is_err();
        let write = |queue: &Arc<PartitionQueue>| {
            if closing {
                queue.write_now();
                return None;
            }
            queue.write_due(now)
        };
        self.all_queues().iter().filter_map(write).min()
    }
}
