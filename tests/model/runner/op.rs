//! Scripts as plain data.

use std::path::Path;
use std::time::Duration;

use thalweg::{Broker, BrokerConfig, Durability, Offset, ReadMode, Timestamp, TopicConfig};

/// Number of partitions of the topic that scripts work with.
pub const PARTITIONS: usize = 2;

/// The settings of a script's topic and producer.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `read.mode` of the broker.
    pub read_mode: ReadMode,
    pub durability: Durability,
    /// `internal.segment.bytes`.
    pub segment_bytes: usize,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `preallocate`.
    pub preallocate: bool,
    /// `index.interval.bytes`.
    pub index_interval: u64,
    /// `retention.bytes`.
    pub retention_bytes: Option<u64>,
    /// Whether `retention.ms` is a day, which is over for [`PAST`] and not for [`FUTURE`]. No script knows the time.
    pub day_of_retention: bool,
    /// `batch.size` of the producer.
    pub batch_size: usize,
}

impl Setup {
    /// Opens a directory as the script has it.
    pub fn open(&self, dir: &Path) -> Broker {
        Broker::open_with(dir, BrokerConfig::new().read_mode(self.read_mode)).unwrap()
    }

    /// The topic's settings.
    pub fn topic_config(&self) -> TopicConfig {
        TopicConfig::new()
            .durability(self.durability)
            .internal_segment_bytes(self.segment_bytes as u64)
            .segment_age(Duration::from_millis(self.segment_ms))
            .preallocate(self.preallocate)
            .index_interval_bytes(self.index_interval)
            .retention_bytes(self.retention_bytes)
            .retention(self.day_of_retention.then_some(Duration::from_secs(86_400)))
            .message_timestamp_after_max(Duration::MAX)
    }
}

/// One call, or a few that belong together.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sends records, one after the other.
    Send { records: Vec<Sent>, wait: Wait },
    /// Flushes the producer.
    Flush,
    /// Fetches once.
    Fetch { partition: usize, offset: At, bytes_max: usize },
    /// Fetches from the log start to the end, each time with the same budget.
    FetchAll { partition: usize, bytes_max: usize },
    /// Deletes the records below an offset.
    Delete { partition: usize, before: At },
    /// Removes what the settings let go.
    Retain,
    /// Polls once, as a member of the group.
    Poll,
    /// Commits the consumer's positions.
    Commit,
    /// Commits an offset.
    CommitOffset { partition: usize, offset: At, metadata_len: usize },
    /// Sets the consumer's position.
    Seek { partition: usize, offset: At },
    /// Closes the consumer or drops it.
    EndConsumer { close: bool },
    /// Closes the broker and opens it again.
    Reopen,
    /// Opens again what is left after the process or the machine ended in the middle.
    Crash { loss: Loss },
}

/// A record to be sent. The lengths count from 1: 0 stands for none, which is not the same as empty. Without key and
/// value it gets an empty key.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub partition: usize,
    pub key: usize,
    pub value: usize,
    pub headers: usize,
    pub time: Time,
}

/// What a send waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The acknowledgement of each record, before the next is sent.
    Each,
    /// A flush behind the last one.
    Flush,
    /// Nothing: the next op that is not a send waits, unless it is a crash.
    Nothing,
}

/// The timestamp of a record.
#[derive(Clone, Copy, Debug)]
pub enum Time {
    /// Milliseconds behind [`PAST`].
    Past(u16),
    /// Milliseconds behind [`FUTURE`].
    Future(u16),
}

/// Long ago: 2023.
pub const PAST: Timestamp = 1_700_000_000_000;

/// In the year 2096.
pub const FUTURE: Timestamp = 4_000_000_000_000;

impl Time {
    pub fn timestamp(self) -> Timestamp {
        match self {
            Time::Past(ms) => PAST + Timestamp::from(ms),
            Time::Future(ms) => FUTURE + Timestamp::from(ms),
        }
    }
}

/// An offset, counted from 2 below the log start and wrapped around 2 behind the log end. The two largest numbers are
/// the two ends of all offsets.
#[derive(Clone, Copy, Debug)]
pub struct At(pub u16);

impl At {
    pub fn offset(self, log_start: Offset, log_end: Offset) -> Offset {
        match self.0 {
            u16::MAX => Offset::MAX,
            0xfffe => Offset::MIN,
            at => log_start - 2 + Offset::from(at) % (log_end - log_start + 5),
        }
    }
}

/// What is lost of what was not promised, or added.
#[derive(Clone, Debug)]
pub enum Loss {
    /// Nothing: the process was killed.
    Nothing,
    /// The process was killed while it wrote to a partition: these bytes have arrived. They are made not to be a batch.
    Torn { partition: usize, bytes: Vec<u8> },
    /// The process was killed before it had removed the files of the last segments that the op before, if it was one that
    /// removes records, took out of a partition's log. How many of them is wrapped around.
    Unremoved { partition: usize, count: usize },
    /// The machine stopped: the last bytes of a partition, counted through all its segments, as far as they were not
    /// promised. How far that is depends on what the background thread got done.
    Cut { partition: usize, missing: usize, behind: Behind },
}

/// What the machine's end left behind the place where bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing.
    Nothing,
    /// The file has its size, with zeros.
    Zeros,
    /// The segment ends there, but the segments behind it are there.
    Segments,
}

/// A mistake that the model is made to make, so that the runner can be seen to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    Nothing,
    /// The last record sent is forgotten.
    ForgetRecord,
    /// The last record sent has another value.
    ChangeRecord,
    /// The log starts one record later after a deletion.
    ShiftStart,
    /// Segments have no size limit.
    NeverRoll,
    /// Nothing expires.
    NeverExpire,
    /// A crash takes nothing.
    LoseNothing,
    /// A reopened group has committed nothing.
    ForgetCommits,
}
