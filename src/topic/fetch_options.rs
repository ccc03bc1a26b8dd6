//! What a fetch may return, and how long it may take.

use std::time::Duration;

use crate::config::IsolationLevel;

/// What a fetch may return, and how long it waits for it: Kafka's settings of the same names.
///
/// Sizes are numbers of bytes of whole batches; any value is legal, and 0 has the meaning that each setter gives. What the
/// defaults of Kafka are, these are, but for the wait: a fetch looks once unless it is asked to wait.
///
/// ```
/// use std::time::Duration;
/// use thalweg::FetchOptions;
///
/// let options = FetchOptions::new().min_bytes(64 << 10).max_wait(Duration::from_millis(500));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    pub(super) min_bytes: usize,
    pub(super) max_bytes: usize,
    pub(super) max_partition_bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) isolation_level: IsolationLevel,
}

impl FetchOptions {
    /// 1 byte at least, 50 MiB at most, 1 MiB at most of each partition, no wait, `read_uncommitted`.
    pub fn new() -> Self {
        FetchOptions {
            min_bytes: 1,
            max_bytes: 52_428_800,
            max_partition_bytes: 1_048_576,
            max_wait: Duration::ZERO,
            isolation_level: IsolationLevel::ReadUncommitted,
        }
    }

    /// `fetch.min.bytes`: the fetch waits until so many bytes can be read, in all its partitions together. Default 1; 0
    /// never waits. More than [`max_bytes`](FetchOptions::max_bytes) counts as that.
    ///
    /// The count is of what can be read, whole batches and over the ends of segments, but no more than the limit of a
    /// partition counts for it. An answer can have less: where a batch did not fit within a limit, after
    /// [`max_wait`](FetchOptions::max_wait), beside an error, and before damage.
    ///
    /// Larger: fewer and larger answers, records come later.
    pub fn min_bytes(mut self, bytes: usize) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// `fetch.max.bytes`: at most this many bytes of batches are returned, from all partitions together. Default 52428800
    /// (50 MiB). [`BrokerConfig::fetch_max_bytes`](crate::BrokerConfig::fetch_max_bytes) is the limit of the limit.
    ///
    /// The first batch of the first partition that has one is returned in any case, so that no batch is too large to be
    /// read: 0 returns exactly that one.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// `max.partition.fetch.bytes`: at most this many bytes of batches are returned from one partition, with the same
    /// exception. Default 1048576 (1 MiB).
    pub fn max_partition_bytes(mut self, bytes: usize) -> Self {
        self.max_partition_bytes = bytes;
        self
    }

    /// `fetch.max.wait.ms`: how long the fetch waits at most for [`min_bytes`](FetchOptions::min_bytes); then it returns
    /// what there is. Default 0: it looks once. A time beyond the range of the clock is for ever.
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// `isolation.level`: which records of transactions [`decode`](crate::Fetched::decode) shows. It does not change which
    /// batches are returned. Default `read_uncommitted`.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = level;
        self
    }
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions::new()
    }
}
