//! What a poll returns.

use std::ops::Deref;

use crate::log::Records;
use crate::record::Record;
use crate::types::TopicPartition;

/// The records of one poll, by partition. It borrows nothing from the consumer: it can be kept, or sent to another
/// thread, while polling goes on.
#[derive(Clone, Debug, Default)]
pub struct ConsumerRecords {
    by_partition: Vec<Records>,
}

impl ConsumerRecords {
    pub(super) fn push(&mut self, records: Records) {
        self.by_partition.push(records);
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.by_partition.iter().map(Records::len).sum()
    }

    /// Whether the poll returned nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partitions that have records, each with its records in offset order.
    pub fn partitions(&self) -> impl Iterator<Item = (&TopicPartition, &Records)> {
        self.by_partition.iter().map(|records| (records.partition(), records))
    }

    /// All records, partition by partition. The order between partitions means nothing.
    pub fn iter(&self) -> impl Iterator<Item = ConsumerRecord<'_>> {
        self.partitions()
            .flat_map(|(partition, records)| records.iter().map(move |record| ConsumerRecord { partition, record }))
    }
}

/// A record, and the partition it comes from. Key, value and the rest are those of [`Record`].
#[derive(Clone, Copy, Debug)]
pub struct ConsumerRecord<'a> {
    partition: &'a TopicPartition,
    record: Record<'a>,
}

impl<'a> ConsumerRecord<'a> {
    /// The topic.
    pub fn topic(&self) -> &'a str {
        self.partition.topic()
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition.partition()
    }

    /// Topic and partition.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        self.partition
    }
}

impl<'a> Deref for ConsumerRecord<'a> {
    type Target = Record<'a>;

    fn deref(&self) -> &Record<'a> {
        &self.record
    }
}
