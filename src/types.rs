//! The words that every layer shares: offsets, file positions, timestamps, partitions, durability.

use std::fmt;
use std::sync::Arc;

/// Number of a record within its partition, counted from 0 without gaps at the time of the append.
///
/// Numbers have the width and sign that Kafka gives them; a negative offset is never valid and every call that takes
/// one refuses it.
pub type Offset = i64;

/// Milliseconds since the Unix epoch. `-1` ([`NO_TIMESTAMP`]) stands for "none" in records written by others.
pub type Timestamp = i64;

/// The timestamp of a record that has none (records.md 6).
pub const NO_TIMESTAMP: Timestamp = -1;

/// Number of bytes from the beginning of a segment file. A segment file stays below 2^31 bytes (records.md 14).
pub(crate) type FilePos = u32;

/// A partition of a topic: the unit of order, of storage and of assignment to a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    topic: Arc<str>,
    partition: i32,
}

impl TopicPartition {
    /// Names partition number `partition` (counted from 0) of `topic`. Whether it exists shows when it is used.
    ///
    /// ```
    /// let orders = thalweg::TopicPartition::new("orders", 3);
    /// assert_eq!(orders.to_string(), "orders-3");
    /// ```
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number within its topic.
    pub fn partition(&self) -> i32 {
        self.partition
    }
}

/// Kafka's notation, which is also the name of the partition's directory: `topic-partition`.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What an acknowledged record survives. Ordered: a larger value survives more (log.md 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Acknowledged once it is in the page cache: survives the end of the process, also by `kill -9`.
    Os,
    /// As [`Os`](Durability::Os), and synced in the background within the topic's flush interval: a power cut loses at
    /// most what that interval received.
    Interval,
    /// Acknowledged after a successful `fdatasync` that covers it: survives a crash of the system and a power cut.
    #[default]
    Fsync,
}

impl Durability {
    /// The value's name in topic files and properties: `os`, `interval` or `fsync`.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Os => "os",
            Durability::Interval => "interval",
            Durability::Fsync => "fsync",
        }
    }

    /// The inverse of [`name`](Durability::name).
    pub fn from_name(name: &str) -> Option<Self> {
        [Durability::Os, Durability::Interval, Durability::Fsync].into_iter().find(|mode| mode.name() == name)
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What opening a log does about damage that no crash explains: a file that lost bytes, or holds others, below what had
/// been synced (log.md 11). A torn end of what had not been synced is always cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnCorruption {
    /// Nothing is changed. What is whole can be read, the damaged range answers with an error that names it, and appends to
    /// the partition are refused until the damage is repaired or one of the other values is set.
    #[default]
    Fail,
    /// The log ends where the damage begins; what is behind is removed.
    Truncate,
    /// The log ends where the damage begins; what is behind is kept in side files that end in `.corrupt`.
    Quarantine,
}

impl OnCorruption {
    /// The value's name in topic files and properties: `fail`, `truncate` or `quarantine`.
    pub fn name(self) -> &'static str {
        match self {
            OnCorruption::Fail => "fail",
            OnCorruption::Truncate => "truncate",
            OnCorruption::Quarantine => "quarantine",
        }
    }

    /// The inverse of [`name`](OnCorruption::name).
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [OnCorruption::Fail, OnCorruption::Truncate, OnCorruption::Quarantine];
        all.into_iter().find(|choice| choice.name() == name)
    }
}

/// How the bytes of segments are read: `read.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReadMode {
    /// Through maps of the files: without a system call, and without a copy. A device that fails to give a page that is read
    /// ends the process with a signal, and so does whoever cuts a file of the directory.
    #[default]
    Mmap,
    /// By system calls that copy. Nothing is mapped, and a device that fails is an error.
    Pread,
}

impl ReadMode {
    /// The value's name in properties: `mmap` or `pread`.
    pub fn name(self) -> &'static str {
        match self {
            ReadMode::Mmap => "mmap",
            ReadMode::Pread => "pread",
        }
    }

    /// The inverse of [`name`](ReadMode::name).
    ///
    /// ```
    /// use thalweg::ReadMode;
    /// assert_eq!(ReadMode::from_name("pread"), Some(ReadMode::Pread));
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        [ReadMode::Mmap, ReadMode::Pread].into_iter().find(|mode| mode.name() == name)
    }
}

impl fmt::Display for ReadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the records of a batch are compressed: Kafka's `compression.type`.
///
/// Every value can be named in any build. Reading or writing one needs the cargo feature of the same name; `gzip`,
/// `lz4` and `snappy` are in the default build, `zstd` is not because it needs a C compiler.
///
/// ```
/// use thalweg::Compression;
///
/// assert_eq!(Compression::from_name("lz4"), Some(Compression::Lz4));
/// assert_eq!(Compression::Lz4.to_string(), "lz4");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952: small and slow.
    Gzip,
    /// Snappy in the framing of Kafka's Java clients: fast.
    Snappy,
    /// LZ4 frames: fast.
    Lz4,
    /// RFC 8878: nearly as fast as LZ4 and about as small as gzip.
    Zstd,
}

impl Compression {
    /// All values, by their number.
    pub(crate) const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// Kafka's name of the value in configurations: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The inverse of [`name`](Compression::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.name() == name)
    }

    /// Whether this build can read and write it.
    pub fn is_supported(self) -> bool {
        match self {
            Compression::None => true,
            Compression::Gzip => cfg!(feature = "gzip"),
            Compression::Snappy => cfg!(feature = "snappy"),
            Compression::Lz4 => cfg!(feature = "lz4"),
            Compression::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// Kafka's number of the value, 0 to 4: the lowest three attribute bits.
    pub(crate) fn id(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// The inverse of [`id`](Compression::id).
    pub(crate) fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who sets the timestamp of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer: the time at which the record was made, or whatever else it says.
    #[default]
    CreateTime,
    /// The log: the time at which the record was appended.
    LogAppendTime,
}

impl TimestampType {
    /// Kafka's name: `CreateTime` or `LogAppendTime`.
    pub fn name(self) -> &'static str {
        match self {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        }
    }

    /// The inverse of [`name`](TimestampType::name).
    pub fn from_name(name: &str) -> Option<Self> {
        [TimestampType::CreateTime, TimestampType::LogAppendTime].into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
