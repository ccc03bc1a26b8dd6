//! What is known of a record that was acknowledged.

use crate::types::{Durability, Offset, Timestamp, TopicPartition};

/// Where an acknowledged record is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The partition it was sent to.
    pub partition: TopicPartition,
    /// Its offset there; -1 with [`acks=0`](crate::Acks::None), which does not wait until it has one.
    pub offset: Offset,
    /// Its timestamp: that of the record, or that of the append where the topic stamps its records.
    pub timestamp: Timestamp,
    /// Bytes of the key, if there is one.
    pub key_size: Option<usize>,
    /// Bytes of the value, if there is one.
    pub value_size: Option<usize>,
    /// What it survives by now: what its topic promises, or more. With `acks` 0 and 1 the promise may be still to come.
    pub durability: Durability,
    /// End (exclusive) of what is durable in its partition by now: records below it survive a power cut.
    pub durable_offset: Offset,
}
