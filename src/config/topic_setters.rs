//! The setters of a topic's configuration, and with them the page of every key.

use std::time::Duration;

use super::cleanup_policy::CleanupPolicy;
use super::keys::Limit;
use super::topic::{TopicConfig, in_whole_millis};
use super::topic_compression::TopicCompression;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::types::{Durability, OnCorruption, TimestampType};

/// Setters.
impl TopicConfig {
    /// `segment.bytes`: the size in bytes at which the active segment is closed and a new one begun; a batch must fit
    /// into one segment. Default 134217728 (128 MiB; Kafka's is 1 GiB), range 1048576 (1 MiB) to 2147483647.
    ///
    /// Smaller: more files, more open file handles and more work at each roll. Larger: space comes back in coarser
    /// pieces, and after a crash there is more to scan.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().segment_bytes(16 << 20);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// `internal.segment.bytes`: replaces [`segment_bytes`](TopicConfig::segment_bytes), with a wider range. For tests
    /// that need many segments out of few records; a log in production should not have it. Default not set, range 256
    /// to 2147483647.
    ///
    /// Smaller: a roll every few records, and batches larger than the segment are refused. Larger: as `segment.bytes`.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().internal_segment_bytes(1024);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn internal_segment_bytes(mut self, bytes: u64) -> Self {
        self.internal_segment_bytes = Some(bytes);
        self
    }

    /// `segment.ms`: a batch opens a new segment if its timestamp is more than this after that of the first batch in
    /// the active one. Time is that of the records; an idle partition does not roll. Default 604800000 (7 days), range
    /// 1 ms to no limit.
    ///
    /// Shorter: more and smaller files; when old and new timestamps mix, a roll at almost every append. Longer: the
    /// records of a slow topic stay in the active segment, which is never cleaned up, for that long.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().segment_age(Duration::from_secs(3600));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn segment_age(mut self, age: Duration) -> Self {
        self.segment_age = in_whole_millis(age);
        self
    }

    /// `segment.jitter.ms`: each segment rolls by age up to this much earlier, at random, so that partitions which began
    /// together do not roll together. At most `segment.ms` counts. Default 0, range 0 to no limit.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().segment_jitter(Duration::from_secs(3600));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn segment_jitter(mut self, jitter: Duration) -> Self {
        self.segment_jitter = in_whole_millis(jitter);
        self
    }

    /// `segment.roll.timer` (not a key of Kafka's): whether the active segment also rolls when the clock says that its
    /// first append is `segment.ms` ago. Default `false`: only appends roll, as in Kafka.
    ///
    /// `true`: also the last records of a partition that has gone quiet can be compacted, and the age at which they go does
    /// not wait for the next record. It is looked at as often as the broker's
    /// `log.flush.offset.checkpoint.interval.ms` says.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().segment_roll_timer(true);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn segment_roll_timer(mut self, on: bool) -> Self {
        self.segment_roll_timer = on;
        self
    }

    /// `preallocate`: whether the `.log` file of the active segment gets the room of `segment.bytes` on the disk when it is
    /// first appended to, and gives back what it did not need when it rolls and when the log is closed. Default `false`.
    ///
    /// `true`: an append that waits for its sync is faster, since the file does not grow, and a disk that becomes full is
    /// noticed at a roll or at the first append, which fails with [`ErrorKind::StorageFull`], not in between. Each
    /// partition that is appended to takes `segment.bytes` of disk at once; after a crash that much is looked through.
    /// Where the file system cannot reserve room it has no effect.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().preallocate(true);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn preallocate(mut self, on: bool) -> Self {
        self.preallocate = on;
        self
    }

    /// `index.interval.bytes`: how many bytes of log lie between two entries of the offset and time index. Default
    /// 4096, range 0 (an entry for each append) to 2147483647.
    ///
    /// Smaller: larger indexes, and one more index write per append. Larger: a fetch that starts in the middle of a
    /// segment walks over more batches before it finds its offset.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().index_interval_bytes(16 << 10);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn index_interval_bytes(mut self, bytes: u64) -> Self {
        self.index_interval_bytes = bytes;
        self
    }

    /// `max.message.bytes`: the largest batch, in bytes, as it is stored: compressed and with its header. Default
    /// 1048588 (1 MiB and 12 bytes), range 0 to 2147483647.
    ///
    /// Smaller: producers must send smaller batches, and large records are refused. Larger: consumers must be ready to
    /// hold a batch of that size, and one append keeps the others waiting longer.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().max_message_bytes(8 << 20);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// `compression.type`: how batches are stored. Default `producer`, as their producer compressed them; values
    /// `producer`, `uncompressed`, `gzip`, `snappy`, `lz4` and `zstd`. A codec that is not part of the build is refused
    /// where the topic is created or changed.
    ///
    /// With a codec: producers of this process compress with it whatever they are set to, and a
    /// [finished batch](crate::Partition::append_batch) that comes otherwise is inflated and compressed anew.
    ///
    /// ```
    /// # use thalweg::{Compression, TopicConfig};
    /// let config = TopicConfig::new().compression_type(Compression::Lz4);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn compression_type(mut self, compression: impl Into<TopicCompression>) -> Self {
        self.compression_type = compression.into();
        self
    }

    /// `compression.gzip.level`: how hard gzip tries, where the topic's `compression.type` asks for it. Default -1 (6),
    /// range 1 to 9, or -1.
    ///
    /// Higher: somewhat smaller batches, and several times the time of compressing. Reading takes the same time.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().compression_gzip_level(9);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn compression_gzip_level(mut self, level: i32) -> Self {
        self.compression_gzip_level = level;
        self
    }

    /// `compression.lz4.level`: taken and kept, and without effect: every level gives what lz4's fast compressor does,
    /// which is what Kafka's default of 9 stands for. Default 9, range 1 to 17.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().compression_lz4_level(12);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn compression_lz4_level(mut self, level: i32) -> Self {
        self.compression_lz4_level = level;
        self
    }

    /// `compression.zstd.level`: how hard zstd tries, where the topic's `compression.type` asks for it. Default 3, range
    /// -131072 to 22.
    ///
    /// Higher: smaller batches, and up to a hundred times the time of compressing. Lower: faster, and larger batches.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().compression_zstd_level(1);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn compression_zstd_level(mut self, level: i32) -> Self {
        self.compression_zstd_level = level;
        self
    }

    /// `message.timestamp.type`: whether a record keeps the timestamp that its producer gave it (`CreateTime`, the
    /// default) or gets the time of its append (`LogAppendTime`).
    ///
    /// `CreateTime`: timestamps can be out of order, so that rolling and looking up by time follow what producers say.
    /// `LogAppendTime`: the time of the event is lost unless the record holds it elsewhere.
    ///
    /// ```
    /// # use thalweg::{TimestampType, TopicConfig};
    /// let config = TopicConfig::new().message_timestamp_type(TimestampType::LogAppendTime);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn message_timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        self.message_timestamp_type = timestamp_type;
        self
    }

    /// `message.timestamp.before.max.ms`: how far a record's timestamp may lie behind the clock; older ones are refused
    /// with [`ErrorKind::InvalidTimestamp`]. Not looked at with `LogAppendTime`. Default no limit, range 0 to no limit.
    ///
    /// Shorter: late data and replays of history are refused. Longer: old timestamps can come into new segments, which
    /// makes them roll more often.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().message_timestamp_before_max(Duration::from_secs(86_400));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn message_timestamp_before_max(mut self, limit: Duration) -> Self {
        self.message_timestamp_before_max = in_whole_millis(limit);
        self
    }

    /// `message.timestamp.after.max.ms`: how far a record's timestamp may lie ahead of the clock; later ones are
    /// refused with [`ErrorKind::InvalidTimestamp`]. Not looked at with `LogAppendTime`. Default 3600000 (1 hour),
    /// range 0 to no limit.
    ///
    /// Shorter: producers whose clocks run ahead are refused. Longer: one wrong timestamp in the far future can spoil
    /// the lookup by time and everything that goes by the age of a segment.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().message_timestamp_after_max(Duration::from_secs(60));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn message_timestamp_after_max(mut self, limit: Duration) -> Self {
        self.message_timestamp_after_max = in_whole_millis(limit);
        self
    }

    /// `cleanup.policy`: which records may go. Default `delete`, values `delete`, `compact` and `compact,delete`.
    ///
    /// `delete`: with an old segment goes also the last value of a key that is in no other. `compact`: records without
    /// a key are refused, a topic with ever new keys grows for ever, and old segments are written anew to be cleaned.
    ///
    /// This version does not compact: of a compacted topic it refuses records without a key, and keeps all others.
    ///
    /// ```
    /// # use thalweg::{CleanupPolicy, TopicConfig};
    /// let config = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn cleanup_policy(mut self, policy: CleanupPolicy) -> Self {
        self.cleanup_policy = policy;
        self
    }

    /// `retention.ms`: with `cleanup.policy=delete`, a segment goes when its newest record is older than this; `None` keeps
    /// records for ever. Default 604800000 ms (7 days), range 0 and up, or -1 for `None`.
    ///
    /// The age is that of the records' timestamps, so a record with a time in the future keeps its segment and those
    /// behind it. Segments go as a whole and are looked at every five minutes: records stay somewhat longer than this.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().retention(Some(Duration::from_secs(3600)));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn retention(mut self, age: Option<Duration>) -> Self {
        self.retention = Limit(age.map(in_whole_millis));
        self
    }

    /// `retention.bytes`: with `cleanup.policy=delete`, the oldest segments of a partition go while it stays at least
    /// this large without them; `None` sets no limit. Default `None` (-1), range 0 and up.
    ///
    /// ```
    /// # use thalweg::TopicConfig;
    /// let config = TopicConfig::new().retention_bytes(Some(1 << 30));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn retention_bytes(mut self, bytes: Option<u64>) -> Self {
        self.retention_bytes = Limit(bytes);
        self
    }

    /// `on.corruption` (not a key of Kafka's): what opening the topic's logs does about damage to what had been synced.
    /// Default `fail`, values `fail`, `truncate` and `quarantine`.
    ///
    /// `fail`: the partition is read-only, but for the damaged range, until somebody decides. `truncate` and `quarantine`:
    /// the partition works at once, without what was behind the damage; consumers may meet other records at offsets which
    /// they have seen.
    ///
    /// ```
    /// # use thalweg::{OnCorruption, TopicConfig};
    /// let config = TopicConfig::new().on_corruption(OnCorruption::Quarantine);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn on_corruption(mut self, choice: OnCorruption) -> Self {
        self.on_corruption = choice;
        self
    }

    /// `durability` (not a key of Kafka's): what an acknowledged record survives. Default `fsync`, values `os`,
    /// `interval` and `fsync`.
    ///
    /// Towards `os`: a power cut loses more of what was acknowledged. Towards `fsync`: an acknowledgement takes as long
    /// as the disk takes to sync, and consumers see a record only after that.
    ///
    /// ```
    /// # use thalweg::{Durability, TopicConfig};
    /// let config = TopicConfig::new().durability(Durability::Os);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// `flush.ms`: with `durability=interval`, the longest time that an acknowledged record waits for its sync; the
    /// other modes do not look at it. Default 1000 (Kafka's is no limit), range 0 to no limit. `interval` needs a limit
    /// here or in [`flush_messages`](TopicConfig::flush_messages).
    ///
    /// Shorter: more syncs, which compete with appends for the disk. Longer: a power cut loses more.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::{Durability, TopicConfig};
    /// let config = TopicConfig::new().durability(Durability::Interval).flush_interval(Duration::from_millis(100));
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = in_whole_millis(interval);
        self
    }

    /// `flush.messages`: with `durability=interval`, the largest number of records in a partition that wait for their
    /// sync; the other modes do not look at it. Default 9223372036854775807 (no limit), range 1 to that.
    ///
    /// Smaller: more syncs, which compete with appends for the disk. Larger: a power cut loses more, up to what
    /// [`flush_interval`](TopicConfig::flush_interval) allows.
    ///
    /// ```
    /// # use thalweg::{Durability, TopicConfig};
    /// let config = TopicConfig::new().durability(Durability::Interval).flush_messages(10_000);
    /// # assert_ne!(config, TopicConfig::new());
    /// ```
    pub fn flush_messages(mut self, count: u64) -> Self {
        self.flush_messages = count;
        self
    }
}
