//! The application's own choice of partitions.

use std::fmt;

use super::ProducerRecord;

/// Chooses the partitions of records that name none, in place of the built-in rules. Given to
/// [`ProducerConfig::partitioner`](crate::ProducerConfig::partitioner).
///
/// It is asked once for each record, by the thread that sends it, and by many threads at a time. A record that names its
/// partition never gets here. With a partitioner, `partitioner.ignore.keys` and
/// `partitioner.adaptive.partitioning.enable` mean nothing.
///
/// ```
/// use thalweg::{Partitioner, ProducerConfig, ProducerRecord};
///
/// /// Partition 0 is kept for what is urgent.
/// #[derive(Debug)]
/// struct UrgentFirst;
///
/// impl Partitioner for UrgentFirst {
///     fn partition(&self, record: &ProducerRecord<'_>, partitions: i32) -> i32 {
///         let urgent = record.get_headers().any(|(name, _)| name == "urgent");
///         if urgent || partitions == 1 {
///             return 0;
///         }
///         1 + record.get_key().map_or(0, |key| key.len() as i32) % (partitions - 1)
///     }
/// }
///
/// let config = ProducerConfig::new().partitioner(UrgentFirst);
/// ```
pub trait Partitioner: fmt::Debug + Send + Sync {
    /// The partition for this record, counted from 0; `partitions`, 1 or more, is how many its topic has.
    ///
    /// A negative number makes `send` fail with [`IllegalArgument`](crate::ErrorKind::IllegalArgument); one that the topic
    /// does not have, the record with [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition).
    fn partition(&self, record: &ProducerRecord<'_>, partitions: i32) -> i32;
}
