//! What can be configured per topic.

use std::time::Duration;

use super::cleanup_policy::CleanupPolicy;
use super::keys::{self, Limit, TOPIC_KEYS, whole_millis};
use super::topic_compression::TopicCompression;
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
    /// How batches are stored.
    pub(super) compression_type: TopicCompression,
    /// How hard gzip tries: -1 or 1 to 9.
    pub(super) compression_gzip_level: i32,
    /// How hard lz4 tries: 1 to 17.
    pub(super) compression_lz4_level: i32,
    /// How hard zstd tries: -131072 to 22.
    pub(super) compression_zstd_level: i32,
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
            compression_type: TopicCompression::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
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
}
