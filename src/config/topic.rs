//! What can be configured per topic.

use std::fmt;
use std::time::Duration;

use super::keys::{self, Limit, TOPIC_KEYS, whole_millis};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Durability, OnCorruption, TimestampType};

/// How a topic stores its records, what it accepts, and what an acknowledgement means.
///
/// Every setter has the name of Kafka's key with `_` for `.`; where the argument is a [`Duration`], the key's unit is
/// left out of the name. Times have a resolution of one millisecond: parts of one are rounded up, and what exceeds
/// `i64::MAX` milliseconds counts as that, Kafka's word for "no limit".
///
/// Setters accept everything; a value out of range is reported with [`ErrorKind::InvalidConfig`] by the call that uses
/// the configuration.
///
/// ```
/// use std::time::Duration;
/// use thalweg::{Durability, TopicConfig};
///
/// let config = TopicConfig::new()
///     .segment_bytes(64 << 20)
///     .durability(Durability::Interval)
///     .flush_interval(Duration::from_millis(200));
/// let properties = config.to_properties();
/// let again = TopicConfig::from_properties(properties.iter().map(|(key, value)| (*key, value.as_str())))?;
/// assert_eq!(again, config);
/// # Ok::<(), thalweg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Size at which a segment rolls, in bytes.
    pub(super) segment_bytes: u64,
    /// Replaces `segment_bytes` where tests want segments smaller than its range allows.
    pub(super) internal_segment_bytes: Option<u64>,
    /// Time between a segment's first record and the one that makes it roll. Whole milliseconds, as all durations here.
    pub(super) segment_age: Duration,
    /// Up to this much of `segment_age` is left out, at random for each segment.
    pub(super) segment_jitter: Duration,
    /// Whether a segment also rolls by the clock.
    pub(super) segment_roll_timer: bool,
    /// Whether the active segment has its room from the beginning.
    pub(super) preallocate: bool,
    /// Bytes of log between two entries of the indexes.
    pub(super) index_interval_bytes: u64,
    /// Largest batch, in bytes.
    pub(super) max_message_bytes: usize,
    /// Who sets the timestamp of a record.
    pub(super) message_timestamp_type: TimestampType,
    /// How far a record's timestamp may lie behind the clock.
    pub(super) message_timestamp_before_max: Duration,
    /// How far a record's timestamp may lie ahead of the clock.
    pub(super) message_timestamp_after_max: Duration,
    /// Which records may go.
    pub(super) cleanup_policy: CleanupPolicy,
    /// How old records may become.
    pub(super) retention: Limit<Duration>,
    /// How large a partition's log may become, in bytes.
    pub(super) retention_bytes: Limit<u64>,
    /// What an acknowledged record survives.
    pub(super) durability: Durability,
    /// Longest time that a record stays unsynced with `Durability::Interval`.
    pub(super) flush_interval: Duration,
    /// Largest number of records that stay unsynced with `Durability::Interval`.
    pub(super) flush_messages: u64,
    /// What opening the log does about damage.
    pub(super) on_corruption: OnCorruption,
}

impl TopicConfig {
    /// Kafka's defaults, with three exceptions that suit an engine without replicas: `durability` is `fsync`,
    /// `flush.ms` is one second (it matters for `durability=interval` only), and `segment.bytes` is 128 MiB.
    pub fn new() -> Self {
        TopicConfig {
            segment_bytes: 128 << 20,
            internal_segment_bytes: None,
            segment_age: Duration::from_hours(7 * 24),
            segment_jitter: Duration::ZERO,
            segment_roll_timer: false,
            preallocate: false,
            index_interval_bytes: 4096,
            max_message_bytes: MAX_MESSAGE_BYTES_DEFAULT,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max: NO_LIMIT,
            message_timestamp_after_max: Duration::from_hours(1),
            cleanup_policy: CleanupPolicy::Delete,
            retention: Limit(Some(Duration::from_hours(7 * 24))),
            retention_bytes: Limit(None),
            durability: Durability::Fsync,
            flush_interval: Duration::from_secs(1),
            flush_messages: i64::MAX as u64,
            on_corruption: OnCorruption::Fail,
        }
    }

    /// Reads keys and values in Kafka's spelling, such as `("segment.bytes", "1048576")`. Keys that are missing keep
    /// their default; of a key that is there twice the last value counts.
    ///
    /// ```
    /// use thalweg::TopicConfig;
    ///
    /// let config = TopicConfig::from_properties([("cleanup.policy", "compact"), ("segment.ms", "3600000")])?;
    /// let error = TopicConfig::from_properties([("segment.byte", "1048576")]).unwrap_err();
    /// assert!(error.to_string().contains("the nearest is segment.bytes"));
    /// # assert_ne!(config, TopicConfig::new());
    /// # Ok::<(), thalweg::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] for a key that this version does not honour, for a value that is not of the key's
    /// type or out of its range, and for values that contradict each other.
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut config = TopicConfig::new();
        keys::read(TOPIC_KEYS, &mut config, properties)?;
        config.check()?;
        Ok(config)
    }

    /// Every key with its value, in a fixed order and in the spelling that
    /// [`from_properties`](TopicConfig::from_properties) reads. `internal.segment.bytes` is there only if it was set.
    ///
    /// ```
    /// let properties = thalweg::TopicConfig::new().to_properties();
    /// assert!(properties.contains(&("durability", "fsync".to_owned())));
    /// ```
    pub fn to_properties(&self) -> Vec<(&'static str, String)> {
        keys::write(TOPIC_KEYS, self)
    }

    /// Refuses values out of range and values that contradict each other: [`ErrorKind::InvalidConfig`].
    pub(crate) fn check(&self) -> Result<()> {
        keys::check(TOPIC_KEYS, self)?;
        self.check_interval_has_a_bound()
    }

    /// `durability=interval` without a bound would promise what it never does.
    fn check_interval_has_a_bound(&self) -> Result<()> {
        let unbounded = self.flush_interval == NO_LIMIT && self.flush_messages == i64::MAX as u64;
        if self.durability == Durability::Interval && unbounded {
            return Err(Error::new(ErrorKind::InvalidConfig {
                key: "flush.ms".to_owned(),
                value: whole_millis(self.flush_interval).to_string(),
                expected: "a bound in flush.ms or flush.messages, because durability is interval",
            }));
        }
        Ok(())
    }
}

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

/// What the engine reads. The setters own the plain names, hence `get_`, as in `std::process::Command`.
impl TopicConfig {
    /// The size at which a segment rolls, in bytes: `internal.segment.bytes` if it was set, else `segment.bytes`.
    pub(crate) fn get_segment_bytes(&self) -> u64 {
        self.internal_segment_bytes.unwrap_or(self.segment_bytes)
    }

    /// `segment.ms`.
    pub(crate) fn get_segment_age(&self) -> Duration {
        self.segment_age
    }

    /// `segment.jitter.ms`.
    pub(crate) fn get_segment_jitter(&self) -> Duration {
        self.segment_jitter
    }

    /// `segment.roll.timer`.
    pub(crate) fn get_segment_roll_timer(&self) -> bool {
        self.segment_roll_timer
    }

    /// `preallocate`.
    pub(crate) fn get_preallocate(&self) -> bool {
        self.preallocate
    }

    /// `on.corruption`.
    pub(crate) fn get_on_corruption(&self) -> OnCorruption {
        self.on_corruption
    }

    /// `index.interval.bytes`.
    pub(crate) fn get_index_interval_bytes(&self) -> u64 {
        self.index_interval_bytes
    }

    /// `max.message.bytes`.
    pub(crate) fn get_max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }

    /// Bytes that a compressed batch may grow to (records.md 8): 64 times `max.message.bytes`, and not less than its
    /// default allows, since batches that the topic took under larger settings stay readable.
    pub(crate) fn inflated_max(&self) -> usize {
        64 * self.max_message_bytes.max(MAX_MESSAGE_BYTES_DEFAULT)
    }

    /// `message.timestamp.type`.
    pub(crate) fn get_message_timestamp_type(&self) -> TimestampType {
        self.message_timestamp_type
    }

    /// `message.timestamp.before.max.ms`.
    pub(crate) fn get_message_timestamp_before_max(&self) -> Duration {
        self.message_timestamp_before_max
    }

    /// `message.timestamp.after.max.ms`.
    pub(crate) fn get_message_timestamp_after_max(&self) -> Duration {
        self.message_timestamp_after_max
    }

    /// `cleanup.policy`.
    pub(crate) fn get_cleanup_policy(&self) -> CleanupPolicy {
        self.cleanup_policy
    }

    /// `retention.ms`; `None` for no limit.
    pub(crate) fn get_retention(&self) -> Option<Duration> {
        self.retention.0
    }

    /// `retention.bytes`; `None` for no limit.
    pub(crate) fn get_retention_bytes(&self) -> Option<u64> {
        self.retention_bytes.0
    }

    /// `durability`.
    pub(crate) fn get_durability(&self) -> Durability {
        self.durability
    }

    /// `flush.ms`; counts with `Durability::Interval` only.
    pub(crate) fn get_flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// `flush.messages`; counts with `Durability::Interval` only.
    pub(crate) fn get_flush_messages(&self) -> u64 {
        self.flush_messages
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig::new()
    }
}

/// Which records of a topic may go: old ones, superseded ones, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// Whole segments go, by age and by size.
    #[default]
    Delete,
    /// Of the records with the same key the last stays.
    Compact,
    /// Superseded records go, and segments that are too old as well.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Kafka's spelling: `delete`, `compact` or `compact,delete`.
    pub fn name(self) -> &'static str {
        match self {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactAndDelete => "compact,delete",
        }
    }

    /// The inverse of [`name`](CleanupPolicy::name). The two words come in any order, with blanks around the comma.
    ///
    /// ```
    /// use thalweg::CleanupPolicy;
    /// assert_eq!(CleanupPolicy::from_name("delete, compact"), Some(CleanupPolicy::CompactAndDelete));
    /// assert_eq!(CleanupPolicy::from_name("keep"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        let mut words = name.split(',').map(str::trim);
        match (words.next()?, words.next(), words.next()) {
            ("delete", None, None) => Some(CleanupPolicy::Delete),
            ("compact", None, None) => Some(CleanupPolicy::Compact),
            ("compact", Some("delete"), None) | ("delete", Some("compact"), None) => {
                Some(CleanupPolicy::CompactAndDelete)
            }
            _ => None,
        }
    }

    /// Whether old segments go.
    pub fn deletes(self) -> bool {
        matches!(self, CleanupPolicy::Delete | CleanupPolicy::CompactAndDelete)
    }

    /// Whether superseded records go.
    pub fn compacts(self) -> bool {
        matches!(self, CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete)
    }
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The resolution of Kafka's keys. Rounded up, so that a short time does not become zero, which often means "always".
pub(super) fn in_whole_millis(time: Duration) -> Duration {
    let whole = Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let rounded = if whole < time { whole.saturating_add(Duration::from_millis(1)) } else { whole };
    rounded.min(NO_LIMIT)
}

/// Kafka's "no limit" for times: `i64::MAX` milliseconds.
const NO_LIMIT: Duration = Duration::from_millis(i64::MAX as u64);

/// 1 MiB of records and the 12 bytes before the part of a batch that its length field counts (log.md 18).
const MAX_MESSAGE_BYTES_DEFAULT: usize = (1 << 20) + 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_to_milliseconds_and_capped_at_kafkas_largest() {
        let config = TopicConfig::new().flush_interval(Duration::from_micros(1500)).segment_age(Duration::MAX);
        assert_eq!(config.get_flush_interval(), Duration::from_millis(2));
        assert_eq!(config.get_segment_age(), NO_LIMIT);
        assert_eq!(TopicConfig::new().segment_age(Duration::from_nanos(1)).get_segment_age().as_millis(), 1);
        assert_eq!(TopicConfig::new().flush_interval(Duration::ZERO).get_flush_interval(), Duration::ZERO);
        let almost = NO_LIMIT + Duration::from_nanos(1);
        assert_eq!(TopicConfig::new().segment_age(almost).get_segment_age(), NO_LIMIT);
    }

    #[test]
    fn the_internal_segment_size_wins() {
        let config = TopicConfig::new().internal_segment_bytes(300);
        assert_eq!(config.get_segment_bytes(), 300);
        assert_eq!(TopicConfig::new().get_segment_bytes(), 134_217_728);
        config.check().unwrap();
    }

    #[test]
    fn interval_needs_a_bound() {
        let unbounded = TopicConfig::new().durability(Durability::Interval).flush_interval(Duration::MAX);
        let error = unbounded.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "flush.ms cannot be 9223372036854775807: expected a bound in flush.ms or flush.messages, because \
             durability is interval"
        );
        unbounded.clone().flush_messages(1).check().unwrap();
        unbounded.clone().flush_interval(Duration::from_hours(1)).check().unwrap();
        unbounded.durability(Durability::Os).check().unwrap();
    }

    #[test]
    fn cleanup_policies_have_kafkas_names() {
        for policy in [CleanupPolicy::Delete, CleanupPolicy::Compact, CleanupPolicy::CompactAndDelete] {
            assert_eq!(CleanupPolicy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(CleanupPolicy::from_name("delete , compact"), Some(CleanupPolicy::CompactAndDelete));
        for wrong in ["", ",", "Delete", "delete,delete", "compact,", "compact,delete,compact"] {
            assert_eq!(CleanupPolicy::from_name(wrong), None, "{wrong:?}");
        }
        assert!(CleanupPolicy::CompactAndDelete.deletes() && CleanupPolicy::CompactAndDelete.compacts());
        assert!(!CleanupPolicy::Delete.compacts() && !CleanupPolicy::Compact.deletes());
    }
}
