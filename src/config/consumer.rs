//! Settings of a consumer.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Settings of a consumer, with Kafka's names and defaults. Checked by [`Broker::consumer`].
///
/// [`Broker::consumer`]: crate::Broker::consumer
///
/// ```
/// use thalweg::{AutoOffsetReset, ConsumerConfig};
///
/// let config = ConsumerConfig::new().group_id("billing").auto_offset_reset(AutoOffsetReset::Earliest);
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    group_id: Option<String>,
    enable_auto_commit: Option<bool>,
    auto_commit_interval: Duration,
    auto_offset_reset: AutoOffsetReset,
    max_poll_records: usize,
    fetch_min_bytes: usize,
    fetch_max_wait: Duration,
    fetch_max_bytes: usize,
    max_partition_fetch_bytes: usize,
    check_crcs: bool,
    isolation_level: IsolationLevel,
}

/// Where a consumer begins in a partition for which its group has no committed offset, or whose records at its position
/// are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AutoOffsetReset {
    /// At the first record there is.
    Earliest,
    /// At the end: it gets what is sent from then on.
    #[default]
    Latest,
    /// Nowhere: `poll` returns [`NoOffsetForPartition`](ErrorKind::NoOffsetForPartition) or
    /// [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange), and the application seeks.
    None,
}

/// Which records of transactions a reader gets. Those that are in no transaction come at both levels.
///
/// Nothing here writes transactions: they are in logs that Apache Kafka wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// `read_uncommitted`: all, also those of transactions that were aborted.
    #[default]
    ReadUncommitted,
    /// `read_committed`: those of committed transactions. A transaction that never ended in the log is passed over like
    /// an aborted one, and what lies behind it is read: nobody can end it any more. Kafka's readers stop before it.
    ///
    /// The first reader that meets a transaction has the batch headers of the whole partition read, once.
    ReadCommitted,
}

impl ConsumerConfig {
    /// Kafka's defaults.
    pub fn new() -> Self {
        ConsumerConfig {
            group_id: None,
            enable_auto_commit: None,
            auto_commit_interval: Duration::from_secs(5),
            auto_offset_reset: AutoOffsetReset::Latest,
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 52_428_800,
            max_partition_fetch_bytes: 1_048_576,
            check_crcs: true,
            isolation_level: IsolationLevel::ReadUncommitted,
        }
    }

    /// `group.id`: the group whose offsets are used. No default; needed to subscribe and to commit.
    pub fn group_id(mut self, id: impl Into<String>) -> Self {
        self.group_id = Some(id.into());
        self
    }

    /// `enable.auto.commit`: whether `poll` commits, every [`auto_commit_interval`](Self::auto_commit_interval), what
    /// earlier polls returned, and `close` commits everything. Default true with a `group.id`, else false.
    ///
    /// Returned counts as processed. Turn it off to commit after processing.
    pub fn enable_auto_commit(mut self, enable: bool) -> Self {
        self.enable_auto_commit = Some(enable);
        self
    }

    /// `auto.commit.interval.ms`: least time between two automatic commits. Default 5 s, range 0 to 2^31-1 ms. Shorter
    /// repeats less after a crash and costs a durable write each time.
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.auto_commit_interval = interval;
        self
    }

    /// `auto.offset.reset`: where to begin without a committed offset. Default [`Latest`](AutoOffsetReset::Latest).
    pub fn auto_offset_reset(mut self, policy: AutoOffsetReset) -> Self {
        self.auto_offset_reset = policy;
        self
    }

    /// `max.poll.records`: most records that one `poll` returns. Default 500, range 1 and up. It does not change what is
    /// fetched; more records a poll mean fewer calls, fewer mean a shorter time between polls.
    pub fn max_poll_records(mut self, count: usize) -> Self {
        self.max_poll_records = count;
        self
    }

    /// `fetch.min.bytes`: how many bytes of batches there have to be, in all partitions together, before `poll` returns
    /// records, unless [`fetch_max_wait`](Self::fetch_max_wait) has passed. Default 1, range 0 to 2^31-1. Larger: fewer and
    /// larger polls, records come later.
    pub fn fetch_min_bytes(mut self, bytes: usize) -> Self {
        self.fetch_min_bytes = bytes;
        self
    }

    /// `fetch.max.wait.ms`: how long `poll` holds back records that are fewer than
    /// [`fetch_min_bytes`](Self::fetch_min_bytes), counted from the first time that it finds too few, over several polls if
    /// need be. Default 500 ms, range 0 to 2^31-1 ms.
    pub fn fetch_max_wait(mut self, time: Duration) -> Self {
        self.fetch_max_wait = time;
        self
    }

    /// `fetch.max.bytes`: most bytes that one fetch takes from all partitions together. Default 52428800, range 0 to
    /// 2^31-1. The first
    /// batch comes whole whatever its size.
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.fetch_max_bytes = bytes;
        self
    }

    /// `max.partition.fetch.bytes`: most bytes that one fetch takes from one partition. Default 1048576, range 0 to
    /// 2^31-1. The first batch
    /// comes whole whatever its size.
    pub fn max_partition_fetch_bytes(mut self, bytes: usize) -> Self {
        self.max_partition_fetch_bytes = bytes;
        self
    }

    /// `check.crcs`: whether checksums are compared before records are returned. Default true. Off saves a few percent
    /// and returns damaged records.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.check_crcs = check;
        self
    }

    /// `isolation.level`: which records of transactions are returned. Default
    /// [`ReadUncommitted`](IsolationLevel::ReadUncommitted).
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = level;
        self
    }

    pub(crate) fn get_group_id(&self) -> Option<&str> {
        self.group_id.as_deref()
    }

    /// Whether to commit automatically, and how often.
    pub(crate) fn get_auto_commit(&self) -> Option<Duration> {
        self.enable_auto_commit.unwrap_or(self.group_id.is_some()).then_some(self.auto_commit_interval)
    }

    pub(crate) fn get_auto_offset_reset(&self) -> AutoOffsetReset {
        self.auto_offset_reset
    }

    pub(crate) fn get_max_poll_records(&self) -> usize {
        self.max_poll_records
    }

    pub(crate) fn get_fetch_min_bytes(&self) -> usize {
        self.fetch_min_bytes
    }

    pub(crate) fn get_fetch_max_wait(&self) -> Duration {
        self.fetch_max_wait
    }

    pub(crate) fn get_fetch_max_bytes(&self) -> usize {
        self.fetch_max_bytes
    }

    pub(crate) fn get_max_partition_fetch_bytes(&self) -> usize {
        self.max_partition_fetch_bytes
    }

    pub(crate) fn get_check_crcs(&self) -> bool {
        self.check_crcs
    }

    pub(crate) fn get_isolation_level(&self) -> IsolationLevel {
        self.isolation_level
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |key: &str, value: &str, expected| {
            let (key, value) = (key.to_owned(), value.to_owned());
            Err(Error::new(ErrorKind::InvalidConfig { key, value, expected }))
        };
        if self.group_id.as_deref() == Some("") {
            return Err(Error::new(ErrorKind::InvalidGroupId));
        }
        if let Some(id) = self.group_id.as_deref().filter(|id| id.len() > GROUP_ID_LEN_MAX) {
            let shown: String = id.chars().take(20).chain("...".chars()).collect();
            return invalid("group.id", &shown, "at most 32767 bytes");
        }
        if self.group_id.is_none() && self.enable_auto_commit == Some(true) {
            return invalid("enable.auto.commit", "true", "false, or a group.id");
        }
        const MAX: usize = i32::MAX as usize;
        let range = "0 to 2147483647";
        if self.auto_commit_interval > Duration::from_millis(MAX as u64) {
            return invalid("auto.commit.interval.ms", &self.auto_commit_interval.as_millis().to_string(), range);
        }
        if self.fetch_min_bytes > MAX {
            return invalid("fetch.min.bytes", &self.fetch_min_bytes.to_string(), range);
        }
        if self.fetch_max_wait > Duration::from_millis(MAX as u64) {
            return invalid("fetch.max.wait.ms", &self.fetch_max_wait.as_millis().to_string(), range);
        }
        if self.fetch_max_bytes > MAX {
            return invalid("fetch.max.bytes", &self.fetch_max_bytes.to_string(), range);
        }
        if self.max_partition_fetch_bytes > MAX {
            return invalid("max.partition.fetch.bytes", &self.max_partition_fetch_bytes.to_string(), range);
        }
        if self.max_poll_records == 0 {
            return invalid("max.poll.records", "0", "1 or more");
        }
        Ok(())
    }
}

/// Longest group id, in bytes: its length is 16 bits in the records of the group (wire.md 1).
const GROUP_ID_LEN_MAX: usize = 32_767;

impl Default for ConsumerConfig {
    fn default() -> Self {
        ConsumerConfig::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_checks() {
        ConsumerConfig::new().check().unwrap();
        ConsumerConfig::new().enable_auto_commit(false).check().unwrap();
        let error = ConsumerConfig::new().group_id("").check().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidGroupId);
        let bad = [
            ConsumerConfig::new().enable_auto_commit(true),
            ConsumerConfig::new().max_poll_records(0),
            ConsumerConfig::new().group_id("x".repeat(32_768)),
            ConsumerConfig::new().auto_commit_interval(Duration::MAX),
            ConsumerConfig::new().fetch_max_bytes(usize::MAX),
            ConsumerConfig::new().max_partition_fetch_bytes(1 << 31),
        ];
        for config in bad {
            assert!(matches!(config.check().unwrap_err().kind(), ErrorKind::InvalidConfig { .. }));
        }
    }

    #[test]
    fn auto_commit_follows_the_group_unless_it_is_set() {
        assert_eq!(ConsumerConfig::new().get_auto_commit(), None);
        assert!(ConsumerConfig::new().group_id("g").get_auto_commit().is_some());
        assert_eq!(ConsumerConfig::new().group_id("g").enable_auto_commit(false).get_auto_commit(), None);
    }
}
