//! The queues of a producer, by topic and partition.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use super::accumulator::{BatchLimits, PartitionQueue};
use super::compression_ratio::CompressionRatio;
use super::partitioner::StickyPartitioner;
use super::shared::Shared;
use crate::client::ProducerRecord;
use crate::config::{TopicCompression, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{BatchBuilder, HEADER_LEN};
use crate::sync::{Arc, RwLock};
use crate::topic::{Partition, Topic, is_internal};
use crate::types::{Compression, Timestamp, TimestampType};

/// The queues of a producer, by topic.
#[derive(Debug, Default)]
pub(super) struct TopicQueues(RwLock<HashMap<Arc<str>, Entry>>);

#[derive(Debug)]
struct Entry {
    topic: Arc<Topic>,
    queues: Arc<TopicQueue>,
}

/// The queues of one topic, and what `send` has to know of it. It holds no partition: threads remember the one they used
/// last, also when the producer is gone.
#[derive(Debug)]
pub(super) struct TopicQueue {
    name: Arc<str>,
    pub(super) sticky: StickyPartitioner,
    pub(super) partitions: Vec<Arc<PartitionQueue>>,
    /// How far its batches compress.
    ratio: Arc<CompressionRatio>,
    limits: RecordLimits,
}

/// What a topic takes.
#[derive(Debug)]
struct RecordLimits {
    /// Bytes that a record may have as a batch of its own.
    size_max: usize,
    /// Whether every record needs a key.
    needs_key: bool,
    /// Milliseconds that a timestamp may lie before and behind now, if timestamps are the producer's.
    timestamps: Option<(Timestamp, Timestamp)>,
}

thread_local! {
    /// What this thread used last: the producer's number, the version of the topics, and the queues.
    static LAST: RefCell<Option<(u64, u64, Arc<TopicQueue>)>> = const { RefCell::new(None) };
}

impl TopicQueues {
    /// What `work` makes of the queues of a topic, or `missing` of `UnknownTopicOrPartition`, or `InvalidTopic` for an
    /// internal one.
    #[inline]
    pub(super) fn with<R>(
        &self,
        shared: &Shared,
        name: &str,
        mut work: impl FnMut(&TopicQueue) -> R,
        missing: impl FnOnce(Error) -> R,
    ) -> R {
        let version = shared.engine.topics.version();
        // The thread's own note costs no lock. It is left alone while it is in use, in a callback that sends, or gone.
        let done = LAST.try_with(|last| {
            let last = last.try_borrow().ok()?;
            let (number, known, queues) = last.as_ref()?;
            let is_it = *number == shared.number && *known == version && *queues.name == *name;
            if is_it { Some(work(queues)) } else { None }
        });
        match done {
            Ok(Some(done)) => done,
            _ => match self.find_and_note(shared, name, version) {
                Ok(queues) => work(&queues),
                Err(error) => missing(error),
            },
        }
    }

    #[inline(never)]
    fn find_and_note(&self, shared: &Shared, name: &str, version: u64) -> Result<Arc<TopicQueue>> {
        let queues = self.find(shared, name)?;
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                let former = last.replace((shared.number, version, Arc::clone(&queues)));
                drop(last);
                drop(former);
            }
        });
        Ok(queues)
    }

    fn find(&self, shared: &Shared, name: &str) -> Result<Arc<TopicQueue>> {
        if let Some(entry) = self.0.read().get(name).filter(|entry| entry.topic.is_current()) {
            return Ok(Arc::clone(&entry.queues));
        }
        self.drop_deleted(shared);
        if is_internal(name) {
            let reason = "only the engine writes to it";
            return Err(Error::new(ErrorKind::InvalidTopic { topic: name.to_owned(), reason }));
        }
        // The topic is looked up under the lock, so that an earlier state of it never replaces a later one.
        let mut entries = self.0.write();
        shared.check_open()?; // a producer that was closed meanwhile has no queues any more
        let topic = shared.engine.topics.get(name)?;
        let name = Arc::clone(topic.name());
        let former = entries.get(&name);
        if let Some(entry) = former.filter(|entry| entry.topic.is_current()) {
            return Ok(Arc::clone(&entry.queues)); // another thread was faster
        }
        let queues = Arc::new(TopicQueue::new(shared, &topic, former.map(|former| &*former.queues)));
        let former = entries.insert(name, Entry { topic, queues: Arc::clone(&queues) });
        drop(entries);
        if let Some(former) = former.filter(|former| former.topic.is_deleted()) {
            former.retire(shared);
        }
        Ok(queues)
    }

    /// Forgets topics that were deleted. What waited for being written to them fails now.
    pub(super) fn drop_deleted(&self, shared: &Shared) {
        let is_deleted = |entry: &Entry| !entry.topic.is_current() && entry.topic.is_deleted();
        if !self.0.read().values().any(is_deleted) {
            return;
        }
        let deleted: Vec<_> = self.0.write().extract_if(|_, entry| is_deleted(entry)).collect();
        deleted.iter().for_each(|(_, entry)| entry.retire(shared));
    }

    /// All queues.
    pub(super) fn all(&self) -> Vec<Arc<PartitionQueue>> {
        self.0.read().values().flat_map(|entry| entry.queues.partitions.iter().cloned()).collect()
    }

    /// Forgets all topics, and returns their queues.
    pub(super) fn take_all(&self) -> Vec<Arc<PartitionQueue>> {
        let entries = std::mem::take(&mut *self.0.write());
        entries.values().flat_map(|entry| entry.queues.partitions.iter().cloned()).collect()
    }
}

impl Entry {
    /// The topic was deleted.
    fn retire(&self, shared: &Shared) {
        let topic = self.topic.name().to_string();
        let error = Error::new(ErrorKind::UnknownTopicOrPartition { topic, partition: None });
        self.queues.partitions.iter().for_each(|queue| queue.retire(shared, &error));
    }
}

impl TopicQueue {
    /// The queues of `topic`. Partitions that it shares with `former`, the queues of an earlier state of the topic, keep
    /// their batches.
    fn new(shared: &Shared, topic: &Topic, former: Option<&TopicQueue>) -> Self {
        let limits = batch_limits(shared, topic.config());
        let ratio = former.map_or_else(|| Arc::new(CompressionRatio::new()), |former| Arc::clone(&former.ratio));
        let former = former.map_or(&[][..], |former| &former.partitions);
        let queue_of = |(number, partition): (usize, &Arc<Partition>)| {
            let kept = former.get(number).filter(|queue| queue.leads_to(partition));
            kept.inspect(|queue| queue.set_limits(limits))
                .cloned()
                .unwrap_or_else(|| PartitionQueue::new((shared.this(), &ratio), Arc::clone(partition), limits))
        };
        TopicQueue {
            name: Arc::clone(topic.name()),
            sticky: StickyPartitioner::new(limits.size),
            partitions: topic.partitions().iter().enumerate().map(queue_of).collect(),
            limits: RecordLimits::new(shared, topic.config()),
            ratio,
        }
    }

    /// Bytes that wait to be written to a partition.
    pub(super) fn queued_bytes(&self, number: usize) -> u64 {
        self.partitions.get(number).map_or(0, |queue| queue.queued_bytes())
    }

    /// Number of partitions.
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX) // bounded by MAX_PARTITIONS
    }

    /// What the topic refuses (producer.md 11). Checked record by record, so that one bad record harms no other. Returns
    /// the most bytes that the record takes as a batch of its own.
    pub(super) fn check(&self, record: &ProducerRecord<'_>, timestamp: Timestamp, now: Timestamp) -> Result<usize> {
        let limits = &self.limits;
        if limits.needs_key && record.key.is_none() {
            return Err(Error::new(ErrorKind::InvalidRecord { reason: "a compacted topic needs a key" }));
        }
        if let Some((before, after)) = limits.timestamps
            && timestamp != now
        {
            check_timestamp(timestamp, now, (before, after))?;
        }
        let headers = record.headers.iter().copied();
        let size_max = BatchBuilder::size_alone_max(record.key, record.value, headers.clone());
        if size_max > limits.size_max {
            let size = BatchBuilder::size_alone(timestamp, record.key, record.value, headers);
            if size > limits.size_max {
                return Err(Error::new(ErrorKind::RecordTooLarge { size, limit: limits.size_max }));
            }
        }
        Ok(size_max)
    }
}

impl RecordLimits {
    fn new(shared: &Shared, topic: &TopicConfig) -> Self {
        let store_max = shared.engine.topics.usage().limit().and_then(|limit| usize::try_from(limit).ok());
        let millis = |limit: Duration| Timestamp::try_from(limit.as_millis()).unwrap_or(Timestamp::MAX);
        let timestamps = (topic.get_message_timestamp_type() == TimestampType::CreateTime).then(|| {
            (millis(topic.get_message_timestamp_before_max()), millis(topic.get_message_timestamp_after_max()))
        });
        // Compressed, a record may be small enough for the log, which looks at that.
        let is_packed = batch_limits(shared, topic).compression != Compression::None;
        let batch_max = (!is_packed).then(|| batch_size_max(topic));
        let limits = [shared.config.get_max_request_size(), shared.memory.limit()];
        RecordLimits {
            size_max: limits.into_iter().chain(store_max).chain(batch_max).min().unwrap_or(HEADER_LEN),
            needs_key: topic.get_cleanup_policy().compacts(),
            timestamps,
        }
    }
}

fn batch_limits(shared: &Shared, topic: &TopicConfig) -> BatchLimits {
    let config = &shared.config;
    let compression = topic.get_compression_type().target(config.get_compression_type());
    let level = match topic.get_compression_type() {
        TopicCompression::Producer => config.get_compression_level(compression),
        TopicCompression::Codec(codec) => topic.get_compression_level(codec),
    };
    BatchLimits {
        size: config.get_batch_size().min(batch_size_max(topic)).min(shared.memory.limit()),
        linger: config.get_linger(),
        compression,
        level,
        acks: config.get_acks(),
    }
}

/// Bytes of the largest batch that the topic's logs take.
fn batch_size_max(topic: &TopicConfig) -> usize {
    topic.get_max_message_bytes().min(usize::try_from(topic.get_segment_bytes()).unwrap_or(usize::MAX))
}

fn check_timestamp(timestamp: Timestamp, now: Timestamp, (before, after): (Timestamp, Timestamp)) -> Result<()> {
    let reason = if now.saturating_sub(timestamp) > before {
        "it is older than message.timestamp.before.max.ms allows"
    } else if timestamp.saturating_sub(now) > after {
        "it is further in the future than message.timestamp.after.max.ms allows"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidTimestamp { timestamp, reason }))
}
