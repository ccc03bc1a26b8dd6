//! The coordinator: runs the group machine over the topic `__consumer_offsets`.

use std::collections::HashMap;

use uuid::Uuid;

use super::machine::GroupMachine;
use super::offsets::{CoordinatorRecord, OffsetAndMetadata, partition_for_group};
use crate::clock::Clock;
use crate::config::{CleanupPolicy, IsolationLevel, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Appended;
use crate::record::{BatchBuilder, Compression};
use crate::sync::{Arc, Mutex, RwLock};
use crate::topic::{FetchOptions, OFFSETS_TOPIC, Partition, Topic, Topics};
use crate::types::{Durability, Offset, TopicPartition};

/// Partitions of the topic (groups.md 2, `offsets.topic.num.partitions`). Never changed: it decides where a group is.
const PARTITIONS: i32 = 50;

/// Segments of the topic (groups.md 2, `offsets.topic.segment.bytes`).
const SEGMENT_BYTES: u64 = 104_857_600;

/// Tombstones in one batch: with the longest name of a topic and a long one of a group they are far from its limit.
const TOMBSTONES_PER_BATCH: usize = 500;

/// Keeps the groups of a data directory. A commit is answered when its records are as durable as the topic's setting
/// asks for, and is visible from then on.
#[derive(Debug)]
pub(crate) struct Coordinator {
    topics: Arc<Topics>,
    clock: Arc<dyn Clock>,
    machine: Mutex<GroupMachine>,
    /// Held for reading while a commit is under way, from the look at its partitions until it is applied; for writing
    /// while the commits of a topic are forgotten, so that none comes behind.
    committing: RwLock<()>,
    /// Partitions of the topic that could not be replayed: their groups get the error.
    failed: HashMap<i32, Error>,
}

impl Coordinator {
    /// Replays `__consumer_offsets`, if it is there. Also returns the number of committed offsets that lay behind the
    /// end of their partition and were set back to it: where `may_have_lost` says that the end of the partition may be
    /// gone, such an offset counts records that were lost; elsewhere somebody wanted it there.
    ///
    /// # Errors
    ///
    /// Why such an offset could not be set back. Nothing may be appended then: once the log has grown past the offset,
    /// nobody could tell any more, and the group would pass over records.
    pub(crate) fn open(
        topics: Arc<Topics>,
        clock: Arc<dyn Clock>,
        may_have_lost: impl Fn(&TopicPartition) -> bool,
    ) -> Result<(Self, usize)> {
        let mut coordinator = Coordinator {
            topics,
            clock,
            machine: Mutex::new(GroupMachine::default()),
            committing: RwLock::new(()),
            failed: HashMap::new(),
        };
        let Ok(topic) = coordinator.topics.get(OFFSETS_TOPIC) else { return Ok((coordinator, 0)) };
        for partition in topic.partitions() {
            let replayed = replay(partition, coordinator.machine.get_mut());
            let Err(error) = replayed else { continue };
            if partition.log().is_ok() && !matches!(error.kind(), ErrorKind::CorruptRecord { .. }) {
                // The next open can read it. To go on without would be to pass over what has to be set back now.
                return Err(error);
            }
            coordinator.failed.insert(partition.name().partition(), error);
        }
        let clamped = coordinator.clamp(may_have_lost)?;
        Ok((coordinator, clamped))
    }

    fn clamp(&self, may_have_lost: impl Fn(&TopicPartition) -> bool) -> Result<usize> {
        let log_end = |partition: &TopicPartition| {
            may_have_lost(partition).then(|| self.topics.partition(partition).ok()?.log_end().ok())?
        };
        let records = self.machine.lock().clamp(log_end, self.clock.now());
        let count = records.len();
        for (group, record) in records {
            self.write(&group, |_| Ok(vec![record]))?;
        }
        Ok(count)
    }

    /// Makes a new member of the group. It gets all partitions of the topics it subscribes to.
    pub(crate) fn join(self: &Arc<Self>, group: &str) -> Result<Membership> {
        self.offsets_topic()?; // made now rather than in the middle of the first commit
        let member = format!("{group}-{}", Uuid::new_v4());
        self.machine.lock().join(group, &member)?;
        Ok(Membership { coordinator: Arc::clone(self), group: group.to_owned(), member })
    }

    /// Commits offsets for somebody who is not a member. Durable when it returns. `read` are the partitions that the
    /// offsets were found in, if they were: an offset of one that was deleted means nothing in a new one of its name.
    pub(crate) fn commit(
        &self,
        group: &str,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
        read: &[Arc<Partition>],
    ) -> Result<()> {
        self.commit_as(group, None, offsets, read)
    }

    fn commit_as(
        &self,
        group: &str,
        member: Option<&str>,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
        read: &[Arc<Partition>],
    ) -> Result<()> {
        self.offsets_topic()?; // made before: who deletes a topic waits for commits, and who creates one for that
        let _committing = self.committing.read();
        read.iter().try_for_each(|partition| partition.check_exists())?;
        for (partition, _) in offsets {
            self.topics.partition(partition)?; // UnknownTopicOrPartition
        }
        let now = self.clock.now();
        self.write(group, |machine| machine.commit(group, member, offsets, now))
    }

    /// Forgets all offsets committed for partitions of a topic that is not there any more. Durable when it returns.
    ///
    /// Groups whose records could not be replayed keep theirs: nobody knows which. Where a commit failed that may be in
    /// the log, and nothing can be written behind it, this fails: the next open reads what is there.
    ///
    /// Rule: `GroupCoordinator.onPartitionsDeleted`.
    pub(crate) fn forget_topic(&self, topic: &str) -> Result<()> {
        let _committing = self.committing.write();
        let tombstones = self.machine.lock().tombstones(topic);
        if tombstones.is_empty() {
            return Ok(());
        }
        let partitions = self.topics.get(OFFSETS_TOPIC)?.partition_count();
        for (group, records) in tombstones {
            if self.check_replayed(partition_for_group(&group, partitions)).is_err() {
                continue;
            }
            for records in records.chunks(TOMBSTONES_PER_BATCH) {
                self.write(&group, |_| Ok(records.to_vec()))?;
            }
        }
        Ok(())
    }

    /// The committed offsets of a group, in the order asked for.
    pub(crate) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<OffsetAndMetadata>>> {
        if let Some(topic) = self.existing_offsets_topic()? {
            self.check_replayed(partition_for_group(group, topic.partition_count()))?;
        }
        let machine = self.machine.lock();
        Ok(partitions.iter().map(|partition| machine.committed(group, partition)).collect())
    }

    /// Writes the records that `decide` asks for and applies them once they are durable.
    ///
    /// They are appended under the machine's lock, so that the log has them in the order in which they were found
    /// valid; the lock is not held during the sync.
    fn write(&self, group: &str, decide: impl FnOnce(&GroupMachine) -> Result<Vec<CoordinatorRecord>>) -> Result<()> {
        let topic = self.offsets_topic()?;
        let number = partition_for_group(group, topic.partition_count());
        self.check_replayed(number)?;
        let partition = topic.partition(number)?;
        let (records, appended) = {
            let mut machine = self.machine.lock();
            let records = decide(&machine)?;
            if records.is_empty() {
                return Ok(());
            }
            let mut batch = BatchBuilder::new();
            self.encode(&records, &mut batch)?;
            let bytes = batch.finish(Compression::None, None).map_err(|malformed| {
                Error::illegal_argument(format!("the offsets do not fit into one batch: {malformed}"))
            })?;
            let appended = append(partition, bytes, &records, &mut machine);
            (records, appended)
        };
        partition.wake_waiters(); // also where the log has failed
        let appended = appended?;
        let durable = make_durable(partition, appended.end);
        let mut machine = self.machine.lock();
        for (record, offset) in records.into_iter().zip(appended.base_offset..) {
            if durable.is_ok() {
                machine.apply(record, offset);
            } else {
                machine.note_uncertain(record, offset); // the next open may find it
            }
        }
        durable
    }

    fn encode(&self, records: &[CoordinatorRecord], batch: &mut BatchBuilder) -> Result<()> {
        let now = self.clock.now();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for record in records {
            key.clear();
            value.clear();
            let has_value = record.encode(&mut key, &mut value).map_err(|unwritable| {
                Error::illegal_argument(format!("the offset cannot be committed: {unwritable}"))
            })?;
            batch.push(now, Some(&key), has_value.then_some(value.as_slice()), std::iter::empty());
        }
        Ok(())
    }

    fn check_replayed(&self, partition: i32) -> Result<()> {
        self.failed.get(&partition).map_or(Ok(()), |error| Err(error.clone()))
    }

    fn existing_offsets_topic(&self) -> Result<Option<Arc<Topic>>> {
        match self.topics.get(OFFSETS_TOPIC) {
            Ok(topic) => Ok(Some(topic)),
            Err(error) if matches!(error.kind(), ErrorKind::UnknownTopicOrPartition { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The topic, made when it is first needed.
    fn offsets_topic(&self) -> Result<Arc<Topic>> {
        if let Some(topic) = self.existing_offsets_topic()? {
            return Ok(topic);
        }
        let config = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact).segment_bytes(SEGMENT_BYTES);
        match self.topics.create(OFFSETS_TOPIC, PARTITIONS, config) {
            Err(error) if matches!(error.kind(), ErrorKind::TopicAlreadyExists { .. }) => {
                self.topics.get(OFFSETS_TOPIC) // another thread was faster
            }
            created => created,
        }
    }
}

/// Appends the batch of `records`. One that could not be undone may be in the log when that is read again.
fn append(
    partition: &Arc<Partition>,
    batch: &mut [u8],
    records: &[CoordinatorRecord],
    machine: &mut GroupMachine,
) -> Result<Appended> {
    let log = partition.log()?;
    log.check_failure()?;
    partition.append(batch, Durability::Os, true).inspect_err(|error| {
        if matches!(error.kind(), ErrorKind::Storage { .. }) {
            for (record, offset) in records.iter().zip(log.log_end()..) {
                machine.note_uncertain(record.clone(), offset);
            }
        }
    })
}

/// Waits until the records below `end` are as durable as the topic's setting asks for.
fn make_durable(partition: &Arc<Partition>, end: Offset) -> Result<()> {
    if partition.keeps_promises(end)? { Ok(()) } else { partition.sync_to(end) }
}

/// Applies every record of one partition, in order, but for commits that were part of an aborted transaction.
fn replay(partition: &Partition, machine: &mut GroupMachine) -> Result<()> {
    let mut offset = partition.log_start()?;
    let end = partition.high_watermark()?;
    let committed = FetchOptions::new().isolation_level(IsolationLevel::ReadCommitted);
    while offset < end {
        let records = partition.fetch(offset, &committed)?.decode(true)?;
        for record in &records {
            let key = record.key().unwrap_or_default();
            let decoded = CoordinatorRecord::decode(key, record.value()).map_err(|malformed| {
                let kind = ErrorKind::CorruptRecord { offset: record.offset(), reason: malformed.to_string() };
                Error::new(kind).in_partition(partition.name())
            })?;
            machine.apply(decoded, record.offset());
        }
        if records.next_offset() <= offset {
            break; // nothing visible is left
        }
        offset = records.next_offset();
    }
    Ok(())
}

/// A member of a group, for as long as it lives: dropping it leaves the group at once, also when its thread panics.
#[derive(Debug)]
pub(crate) struct Membership {
    coordinator: Arc<Coordinator>,
    group: String,
    member: String,
}

impl Membership {
    /// Commits offsets as this member. Durable when it returns. `read` is as in [`Coordinator::commit`].
    pub(crate) fn commit(
        &self,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
        read: &[Arc<Partition>],
    ) -> Result<()> {
        self.coordinator.commit_as(&self.group, Some(&self.member), offsets, read)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.coordinator.machine.lock().leave(&self.group, &self.member);
    }
}
