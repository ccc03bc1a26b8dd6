//! Appending batches that somebody else has finished.

use super::partition::Partition;
use super::topic_name::is_internal;
use crate::config::Acks;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Inflating, Log};
use crate::record::{Rejection, Rules, validate};
use crate::sync::Arc;
use crate::types::{Durability, Offset, Timestamp};

/// Where a batch is that was appended as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendedBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The time that all its records carry, if the topic stamps them.
    pub log_append_time: Option<Timestamp>,
    /// Whether the log had it already, from an earlier attempt of the same idempotent producer: the offsets are those
    /// that it got then.
    pub is_duplicate: bool,
}

impl Partition {
    /// Appends one finished batch, such as a mirror reads elsewhere or a server gets from a producer: the bytes of
    /// Kafka's format version 2, with base offset 0, as producers send them. All its records are appended, or none.
    ///
    /// The batch is checked down to its last record, whoever sends it, and gets its offsets. It is stored as it is if its
    /// codec is that of the topic's `compression.type`, and compressed anew if not.
    ///
    /// With [`Acks::All`] it returns when the promise of the topic's [`Durability`] holds and consumers can see the
    /// records; threads that wait at the same time share one sync. With the others it returns when the batch is in the
    /// log; the [high watermark](Partition::high_watermark) says when it can be seen.
    ///
    /// ```
    /// use thalweg::{Acks, Broker, TopicConfig, TopicPartition};
    ///
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let broker = Broker::open(dir.path())?;
    /// broker.create_topic("orders", 1, TopicConfig::new())?;
    /// let partition = broker.partition(&TopicPartition::new("orders", 0))?;
    /// // One record, key "k1", value "v1", as a Kafka client sends it.
    /// let batch = b"\0\0\0\0\0\0\0\0\0\0\0\x3c\xff\xff\xff\xff\x02\x6b\xa4\x8e\x85\0\0\0\0\0\0\
    ///     \0\0\x01\x8b\xcf\xe5\x68\0\0\0\x01\x8b\xcf\xe5\x68\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
    ///     \0\0\0\x01\x14\0\0\0\x04k1\x04v1\0";
    /// let appended = partition.append_batch(batch, Acks::All)?;
    /// assert_eq!((appended.base_offset, appended.last_offset), (0, 0));
    /// assert_eq!(partition.high_watermark()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The batch is not in the log: [`CorruptMessage`](ErrorKind::CorruptMessage) if it was damaged on its way;
    /// [`InvalidRecord`](ErrorKind::InvalidRecord) and [`InvalidTimestamp`](ErrorKind::InvalidTimestamp) if the format or
    /// the topic refuses it, with [the records](Error::record_errors) that it was refused for;
    /// [`RecordTooLarge`](ErrorKind::RecordTooLarge), [`UnsupportedCompression`](ErrorKind::UnsupportedCompression);
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) for a transaction's or one in an older format;
    /// [`InvalidTopic`](ErrorKind::InvalidTopic) for an internal topic; [`StoreFull`](ErrorKind::StoreFull), whatever the
    /// `store.full.policy`; [`StorageFull`](ErrorKind::StorageFull); [`Closed`](ErrorKind::Closed);
    /// [`IllegalState`](ErrorKind::IllegalState) where the directory was opened for reading only.
    ///
    /// It may be in the log: [`Storage`](ErrorKind::Storage), [`Io`](ErrorKind::Io).
    pub fn append_batch(self: &Arc<Self>, batch: &[u8], acks: Acks) -> Result<AppendedBatch> {
        if is_internal(self.name().topic()) {
            let (topic, reason) = (self.name().topic().to_owned(), "only the engine writes to it");
            return Err(Error::new(ErrorKind::InvalidTopic { topic, reason }));
        }
        let log = self.log()?;
        self.check_goes_on()?;
        log.check_failure()?;
        let mut checked = self.checked(log, batch)?;
        if !log.usage().has_room(checked.len() as u64) {
            return Err(log.usage().full().in_partition(self.name()));
        }
        let waits = acks == Acks::All;
        let synced_by_caller = waits && self.promises_syncs(Durability::Os)?;
        let appended = self.append(&mut checked, Durability::Os, synced_by_caller);
        self.wake_waiters();
        let appended = appended?;
        if waits && !self.keeps_promise(appended.end, Durability::Os)? {
            self.sync_to(appended.end)?;
        }
        Ok(AppendedBatch {
            base_offset: appended.base_offset,
            last_offset: appended.end - 1,
            log_append_time: appended.log_append_time,
            is_duplicate: appended.is_duplicate,
        })
    }

    /// The batch as the topic stores it.
    fn checked(&self, log: &Log, batch: &[u8]) -> Result<Vec<u8>> {
        let rules = Rules::of(&log.config(), self.clock().now());
        if rules.max_message_bytes < batch.len() {
            let (size, limit) = (batch.len(), rules.max_message_bytes); // before it is copied
            return Err(self.rejected(Rejection::TooLarge { size, limit }));
        }
        let mut batch = batch.to_vec();
        let rebuilt = validate(&mut batch, &rules, &mut Inflating::begin());
        Ok(rebuilt.map_err(|rejection| self.rejected(rejection))?.unwrap_or(batch))
    }

    #[cold]
    fn rejected(&self, rejection: Rejection) -> Error {
        let error = match rejection {
            Rejection::Corrupt(malformed) => Error::new(ErrorKind::CorruptMessage { reason: malformed.to_string() }),
            Rejection::Malformed(malformed) => {
                let reason = "it is not a batch that the format allows";
                Error::new(ErrorKind::InvalidRecord { reason }).caused_by(malformed)
            }
            Rejection::Refused(reason) => Error::new(ErrorKind::InvalidRecord { reason }),
            Rejection::Unsupported(feature) => Error::new(ErrorKind::UnsupportedVersion { feature }),
            Rejection::UnsupportedCompression(codec) => Error::new(ErrorKind::UnsupportedCompression { codec }),
            Rejection::TooLarge { size, limit } => Error::new(ErrorKind::RecordTooLarge { size, limit }),
            Rejection::Records(bad) => {
                let by_time = bad.iter().find(|record| record.fault.is_about_the_timestamp());
                let kind = match by_time {
                    Some(record) => {
                        ErrorKind::InvalidTimestamp { timestamp: record.timestamp, reason: record.fault.reason() }
                    }
                    None => ErrorKind::InvalidRecord { reason: "not every record is one that it takes" },
                };
                Error::new(kind).of_records(bad.iter().map(|record| (record.index, record.fault.reason())))
            }
        };
        error.in_partition(self.name())
    }
}
