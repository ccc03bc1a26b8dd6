//! One error type for the whole crate: what happened, where, and what a caller can act on.
//!
//! Kinds carry Kafka's names, so that a wire server maps them to Kafka's codes one to one. They fall into three
//! families: *yours* (a bad argument, a closed engine), *retry* ([`Error::is_retriable`]) and *storage* (the disk failed
//! or holds what it should not; [`Error::is_storage`]).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{Offset, TopicPartition};

mod record_error;

pub use record_error::RecordError;

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, with the place where it did. One word wide and cheap to clone: a failed batch hands the same error
/// to every record that was in it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    partition: Option<TopicPartition>,
    file: Option<PathBuf>,
    file_pos: Option<u64>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`], with the data a caller acts on. The names are Kafka's where Kafka has the thing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument that can never be right, such as a negative offset.
    IllegalArgument {
        /// What is wrong with it.
        reason: String,
    },
    /// A call that does not fit the object's state, such as `poll` without a subscription.
    IllegalState {
        /// What the call needs.
        reason: String,
    },
    /// The broker, producer or consumer has been closed.
    Closed,
    /// Another broker, in this process or another one, has the data directory open.
    DirectoryLocked {
        /// The data directory.
        directory: PathBuf,
        /// The process that holds it, where it could be read from the lock file.
        pid: Option<u32>,
    },
    /// The directory holds something, but not a thalweg or Kafka data directory.
    NotADataDirectory {
        /// The directory.
        directory: PathBuf,
        /// The first name found in it that does not belong to a data directory.
        found: String,
    },
    /// A topic name that Kafka would refuse.
    InvalidTopic {
        /// The name.
        topic: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The topic is there already.
    TopicAlreadyExists {
        /// The topic's name.
        topic: String,
    },
    /// There is no such topic, or the topic has no such partition.
    UnknownTopicOrPartition {
        /// The topic's name.
        topic: String,
        /// The partition, if one was named.
        partition: Option<i32>,
    },
    /// A number of partitions outside 1 to [`MAX_PARTITIONS`](crate::MAX_PARTITIONS), or not larger than the one that the
    /// topic has.
    InvalidPartitions {
        /// The number asked for.
        requested: i32,
    },
    /// A setting outside its range.
    InvalidConfig {
        /// Kafka's key.
        key: String,
        /// The value given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A record larger than the producer or the topic accepts.
    RecordTooLarge {
        /// Size of the record, in bytes, with everything its batch adds to it.
        size: usize,
        /// The limit that it exceeds, in bytes.
        limit: usize,
    },
    /// The topic's settings rule the call out.
    PolicyViolation {
        /// Which setting, and why.
        reason: &'static str,
    },
    /// A record that its topic refuses, such as one without a key in a compacted topic.
    InvalidRecord {
        /// Why.
        reason: &'static str,
    },
    /// A batch that was handed in is not what its checksum was computed for, or its compressed records are damaged. Nothing
    /// of it is in the log.
    CorruptMessage {
        /// What does not hold.
        reason: String,
    },
    /// A record's timestamp lies outside what its topic accepts.
    InvalidTimestamp {
        /// The timestamp.
        timestamp: i64,
        /// Why it is refused.
        reason: &'static str,
    },
    /// Bytes in a log that are not what was written: a checksum, a length or an order does not hold.
    CorruptRecord {
        /// The first offset that cannot be read; a consumer goes on by seeking past it.
        offset: Offset,
        /// What does not hold.
        reason: String,
    },
    /// A batch is compressed with a codec that this build cannot inflate.
    UnsupportedCompression {
        /// Kafka's number of the codec.
        codec: u8,
    },
    /// The offset is not in the log. The valid range is `log_start..=log_end`; for deleting records, up to the high watermark.
    /// One that lies below it is of records that are gone. One above it has never been, or a power cut took the end of the
    /// log.
    OffsetOutOfRange {
        /// The offset asked for.
        requested: Offset,
        /// The first offset there is.
        log_start: Offset,
        /// End (exclusive) of what can be read.
        high_watermark: Offset,
        /// The offset that the next record will get.
        log_end: Offset,
    },
    /// Something did not happen in the time that it was given. The cause, if there is one, says why.
    Timeout {
        /// What was waited for.
        what: String,
    },
    /// A producer's memory was in use up for `max.block.ms`, or a call that does not wait met it so. The record was not
    /// taken.
    BufferExhausted {
        /// Bytes asked for.
        requested: u64,
        /// `buffer.memory`.
        limit: u64,
    },
    /// A serializer refused a key or a value. Nothing was sent. What the serializer said is the error's source.
    Serialization {
        /// Which of both, and for which topic.
        reason: String,
    },
    /// The sequence number of an idempotent producer's batch is not the one that follows, and the batch is none of the
    /// last five.
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// The batch's first sequence number.
        sequence: i32,
        /// The one that would follow.
        expected: i32,
    },
    /// A later producer with the same id has written to the partition.
    InvalidProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// The epoch of the batch.
        epoch: i16,
        /// The epoch known to the partition.
        current: i16,
    },
    /// A batch outside a transaction, of a producer that has one open in the partition.
    InvalidTxnState {
        /// The producer.
        producer_id: i64,
    },
    /// This version cannot do that.
    UnsupportedVersion {
        /// What was asked for.
        feature: &'static str,
    },
    /// No committed offset, and `auto.offset.reset` is `none`.
    NoOffsetForPartition {
        /// The partitions without one.
        partitions: Vec<TopicPartition>,
    },
    /// The call needs a `group.id`, or the one given is empty.
    InvalidGroupId,
    /// The group does not know the member: it left, or was never in.
    UnknownMemberId {
        /// The group's id.
        group: String,
    },
    /// The group has as many members as it may have.
    GroupMaxSizeReached {
        /// The group's id.
        group: String,
        /// The largest number of members.
        limit: usize,
    },
    /// The commit was refused because the consumer is not a member of its group any more.
    CommitFailed {
        /// The group's id.
        group: String,
    },
    /// The metadata of a committed offset is longer than `offset.metadata.max.bytes`.
    OffsetMetadataTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The disk or a quota of the file system is full. The log is unharmed; the call can be tried again once there is room.
    StorageFull,
    /// The store has as many bytes as `store.max.bytes` allows. The record is in no log; the call can be tried again once
    /// records have been deleted.
    StoreFull {
        /// Bytes of record batches in all logs.
        used: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The disk failed. A partition that saw a failed sync takes no more appends; what readers saw stays readable, and
    /// opening the broker again finds out what is really stored.
    Storage {
        /// What failed and what to do.
        reason: String,
    },
    /// The operating system refused an operation on a file or directory.
    Io {
        /// The operation, such as `open` or `create directory`.
        operation: &'static str,
    },
}

impl Error {
    /// An error without a place.
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Error(Arc::new(Inner { kind, partition: None, file: None, file_pos: None, source: None }))
    }

    /// An operation that the system refused on `path`. A full disk gets its own kind, because it can be retried.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
            _ => ErrorKind::Io { operation },
        };
        Error::new(kind).at_file(path).caused_by(source)
    }

    pub(crate) fn illegal_argument(reason: impl Into<String>) -> Self {
        Error::new(ErrorKind::IllegalArgument { reason: reason.into() })
    }

    pub(crate) fn illegal_state(reason: impl Into<String>) -> Self {
        Error::new(ErrorKind::IllegalState { reason: reason.into() })
    }

    pub(crate) fn storage(reason: impl Into<String>) -> Self {
        Error::new(ErrorKind::Storage { reason: reason.into() })
    }

    pub(crate) fn in_partition(self, partition: &TopicPartition) -> Self {
        self.with(|inner| inner.partition = Some(partition.clone()))
    }

    pub(crate) fn at_file(self, path: &Path) -> Self {
        self.with(|inner| inner.file = Some(path.to_owned()))
    }

    pub(crate) fn at_file_pos(self, file_pos: u64) -> Self {
        self.with(|inner| inner.file_pos = Some(file_pos))
    }

    pub(crate) fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    pub(crate) fn caused_by_boxed(self, source: Box<dyn StdError + Send + Sync>) -> Self {
        self.with(|inner| inner.source = Some(source.into()))
    }

    /// Whether the system said that there is no such file.
    pub(crate) fn is_not_found(&self) -> bool {
        self.io_source().is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
    }

    fn io_source(&self) -> Option<&io::Error> {
        self.0.source.as_deref().and_then(|source| (source as &dyn StdError).downcast_ref::<io::Error>())
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The partition it concerns, if it concerns one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        self.0.partition.as_ref()
    }

    /// The file or directory it concerns, if it concerns one.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Number of bytes from the beginning of [`file`](Error::file) to the place it concerns.
    pub fn file_pos(&self) -> Option<u64> {
        self.0.file_pos
    }

    /// Whether the same call can succeed later without anybody changing its arguments or reopening the broker: a full disk
    /// or store, a topic that is not there yet, and what passes by itself, such as a lack of file handles.
    pub fn is_retriable(&self) -> bool {
        match self.kind() {
            ErrorKind::StorageFull
            | ErrorKind::StoreFull { .. }
            | ErrorKind::UnknownTopicOrPartition { .. }
            | ErrorKind::Timeout { .. }
            | ErrorKind::BufferExhausted { .. } => true,
            ErrorKind::Io { .. } => self.io_source().is_some_and(is_passing),
            _ => false,
        }
    }

    /// Whether the disk failed or holds what it should not.
    pub fn is_storage(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Storage { .. } | ErrorKind::Io { .. } | ErrorKind::StorageFull | ErrorKind::CorruptRecord { .. }
        )
    }

    /// Kafka's error code for this kind (`Errors` in Kafka's sources); -1, unknown server error, where Kafka has none.
    pub fn kafka_code(&self) -> i16 {
        match self.kind() {
            ErrorKind::OffsetOutOfRange { .. } => 1,
            ErrorKind::CorruptRecord { .. } | ErrorKind::CorruptMessage { .. } => 2,
            ErrorKind::UnknownTopicOrPartition { .. } => 3,
            ErrorKind::Timeout { .. } | ErrorKind::BufferExhausted { .. } => 7,
            ErrorKind::RecordTooLarge { .. } => 10,
            ErrorKind::OffsetMetadataTooLarge { .. } => 12,
            ErrorKind::InvalidTopic { .. } => 17,
            ErrorKind::InvalidGroupId => 24,
            ErrorKind::UnknownMemberId { .. } | ErrorKind::CommitFailed { .. } => 25,
            ErrorKind::InvalidTimestamp { .. } => 32,
            ErrorKind::UnsupportedVersion { .. } => 35,
            ErrorKind::TopicAlreadyExists { .. } => 36,
            ErrorKind::InvalidPartitions { .. } => 37,
            ErrorKind::InvalidConfig { .. } => 40,
            ErrorKind::IllegalArgument { .. } => 42,
            ErrorKind::PolicyViolation { .. } => 44,
            ErrorKind::OutOfOrderSequence { .. } => 45,
            ErrorKind::InvalidProducerEpoch { .. } => 47,
            ErrorKind::InvalidTxnState { .. } => 48,
            ErrorKind::StorageFull | ErrorKind::StoreFull { .. } | ErrorKind::Storage { .. } | ErrorKind::Io { .. } => {
                56
            }
            ErrorKind::UnsupportedCompression { .. } => 76,
            ErrorKind::GroupMaxSizeReached { .. } => 81,
            ErrorKind::InvalidRecord { .. } => 87,
            ErrorKind::IllegalState { .. }
            | ErrorKind::Serialization { .. }
            | ErrorKind::Closed
            | ErrorKind::DirectoryLocked { .. }
            | ErrorKind::NotADataDirectory { .. }
            | ErrorKind::NoOffsetForPartition { .. } => -1,
        }
    }
}

/// Whether an operation failed for want of something that comes back: handles, memory, a moment without a signal.
fn is_passing(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let passing = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock, io::ErrorKind::OutOfMemory];
    passing.contains(&error.kind()) || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        if let Some(partition) = &self.0.partition {
            write!(f, ", partition {partition}")?;
        }
        if let Some(file) = &self.0.file {
            write!(f, ", at {}", file.display())?;
        }
        if let Some(file_pos) = self.0.file_pos {
            write!(f, ", byte {file_pos}")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::IllegalArgument { reason } | ErrorKind::IllegalState { reason } => f.write_str(reason),
            ErrorKind::Closed => f.write_str("closed"),
            ErrorKind::DirectoryLocked { directory, pid } => {
                write!(f, "the data directory {} is open already", directory.display())?;
                match pid {
                    Some(pid) => write!(f, ", by process {pid}"),
                    None => f.write_str(", by another process or another broker of this one"),
                }
            }
            ErrorKind::NotADataDirectory { directory, found } => write!(
                f,
                "{} is not a thalweg data directory: it has no meta.properties but holds {found}; name an empty or new \
                 directory",
                directory.display()
            ),
            ErrorKind::InvalidTopic { topic, reason } => write!(f, "invalid topic name \"{topic}\": {reason}"),
            ErrorKind::TopicAlreadyExists { topic } => write!(f, "topic {topic} exists already"),
            ErrorKind::UnknownTopicOrPartition { topic, partition: None } => write!(f, "unknown topic {topic}"),
            ErrorKind::UnknownTopicOrPartition { topic, partition: Some(partition) } => {
                write!(f, "topic {topic} has no partition {partition}")
            }
            ErrorKind::InvalidPartitions { requested } => {
                let max = crate::MAX_PARTITIONS;
                write!(f, "{requested} is not a number of partitions: 1 to {max} are possible, and more than before")
            }
            ErrorKind::InvalidConfig { key, value, expected } => {
                write!(f, "{key} cannot be {value}: expected {expected}")
            }
            ErrorKind::RecordTooLarge { size, limit } => {
                write!(f, "the record takes {size} bytes, the limit is {limit}")
            }
            ErrorKind::InvalidRecord { reason } => write!(f, "the topic refuses the record: {reason}"),
            ErrorKind::CorruptMessage { reason } => write!(f, "the batch is damaged: {reason}"),
            ErrorKind::PolicyViolation { reason } => f.write_str(reason),
            ErrorKind::InvalidTimestamp { timestamp, reason } => {
                write!(f, "timestamp {timestamp} is refused: {reason}")
            }
            ErrorKind::CorruptRecord { offset, reason } => {
                write!(f, "the log is corrupt at offset {offset}: {reason}")
            }
            ErrorKind::UnsupportedCompression { codec } => {
                write!(f, "this build cannot inflate compression codec {codec}")
            }
            ErrorKind::OffsetOutOfRange { requested, log_start, high_watermark, log_end } => {
                let side = if requested < log_start { "below the log start" } else { "above the log end" };
                write!(f, "offset {requested} is {side}: the log has {log_start} to {log_end}")?;
                if high_watermark == log_end { Ok(()) } else { write!(f, ", of which {high_watermark} can be read") }
            }
            ErrorKind::Timeout { what } => write!(f, "timed out: {what}"),
            ErrorKind::BufferExhausted { requested, limit } => {
                write!(f, "{requested} bytes more do not fit into the {limit} of buffer.memory")
            }
            ErrorKind::Serialization { reason } => write!(f, "not serialized: {reason}"),
            ErrorKind::OutOfOrderSequence { producer_id, sequence, expected } => {
                write!(f, "producer {producer_id} sent sequence {sequence} where {expected} follows")
            }
            ErrorKind::InvalidProducerEpoch { producer_id, epoch, current } => {
                write!(f, "producer {producer_id} has epoch {current} by now, not {epoch}")
            }
            ErrorKind::InvalidTxnState { producer_id } => {
                write!(f, "producer {producer_id} has a transaction open, and the batch is in none")
            }
            ErrorKind::UnsupportedVersion { feature } => write!(f, "not in this version: {feature}"),
            ErrorKind::NoOffsetForPartition { partitions } => {
                f.write_str("no committed offset and auto.offset.reset is none, for")?;
                partitions.iter().try_for_each(|partition| write!(f, " {partition}"))
            }
            ErrorKind::InvalidGroupId => f.write_str("this call needs a group.id that is not empty"),
            ErrorKind::UnknownMemberId { group } => write!(f, "not a member of group {group}"),
            ErrorKind::GroupMaxSizeReached { group, limit } => {
                write!(f, "group {group} has its {limit} member(s) already; this version serves one member a group")
            }
            ErrorKind::CommitFailed { group } => {
                write!(f, "the commit was refused: group {group} has another member, or this one has left it")
            }
            ErrorKind::OffsetMetadataTooLarge { len, limit } => {
                write!(f, "the metadata of the offset has {len} bytes, the limit is {limit}")
            }
            ErrorKind::StorageFull => f.write_str("the disk is full; free some space and try again"),
            ErrorKind::StoreFull { used, limit } => {
                write!(
                    f,
                    "the store is full: {used} of the {limit} bytes of store.max.bytes are used; delete records, shorten \
                     a retention or raise the limit, and try again"
                )
            }
            ErrorKind::Storage { reason } => f.write_str(reason),
            ErrorKind::Io { operation } => write!(f, "could not {operation}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_what_where_and_why() {
        let error = Error::io("open", Path::new("/d/00.log"), io::Error::from(io::ErrorKind::PermissionDenied))
            .in_partition(&TopicPartition::new("t", 1))
            .at_file_pos(61);
        assert_eq!(error.to_string(), "could not open, partition t-1, at /d/00.log, byte 61: permission denied");
    }

    #[test]
    fn a_full_disk_is_retriable_and_a_refused_open_is_not() {
        let full = Error::io("write", Path::new("x"), io::Error::from(io::ErrorKind::StorageFull));
        assert!(full.is_retriable() && full.is_storage());
        let denied = Error::io("write", Path::new("x"), io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(!denied.is_retriable() && denied.is_storage());
    }

    #[test]
    fn a_full_store_is_retriable_and_no_fault_of_the_disk() {
        let full = Error::new(ErrorKind::StoreFull { used: 95, limit: 100 });
        assert!(full.is_retriable() && !full.is_storage());
        assert_eq!(full.kafka_code(), 56);
        assert!(full.to_string().contains("95 of the 100 bytes of store.max.bytes"), "{full}");
    }

    #[test]
    fn one_word_wide() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
