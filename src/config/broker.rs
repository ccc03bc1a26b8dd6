//! Settings of a broker.

use std::fmt;
use std::time::Duration;

use super::keys::{self, BROKER_KEYS, Limit};
use super::topic::in_whole_millis;
use crate::error::Result;
use crate::types::ReadMode;

/// What a broker may use of the machine, and when it looks after things. Used by [`Broker::open_with`].
///
/// Setters are named after their keys with `_` for `.`; where the argument is a [`Duration`], the key's unit is left out.
/// They accept everything; a value out of range is reported with
/// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) by the call that uses the configuration. Nothing of it is stored:
/// the next open has its own.
///
/// [`Broker::open_with`]: crate::Broker::open_with
///
/// ```
/// use thalweg::{BrokerConfig, StoreFullPolicy};
///
/// let config = BrokerConfig::new().store_max_bytes(Some(10 << 30)).store_full_policy(StoreFullPolicy::DropOldest);
/// let properties = config.to_properties();
/// let again = BrokerConfig::from_properties(properties.iter().map(|(key, value)| (*key, value.as_str())))?;
/// assert_eq!(again, config);
/// # Ok::<(), thalweg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Most bytes that a fetch returns, whatever it asks for.
    pub(super) fetch_max_bytes: usize,
    /// Whether the answer to a fetch goes on in the next segment.
    pub(super) fetch_cross_segments: bool,
    /// How segments are read.
    pub(super) read_mode: ReadMode,
    /// Most maps of segments that nothing is appended to.
    pub(super) max_mapped_segments: usize,
    /// Most handles of files that are written to.
    pub(super) max_open_files: Limit<usize>,
    /// Time between two looks at how much a crash would leave to be read. Whole milliseconds, as all durations here.
    pub(super) checkpoint_interval: Duration,
    /// Time between two looks at what may go.
    pub(super) retention_check_interval: Duration,
    /// How long a partition remembers an idempotent producer that sends nothing.
    pub(super) producer_id_expiration: Duration,
    /// Bytes that all logs together may have.
    pub(super) store_max_bytes: Limit<u64>,
    /// Bytes of the disk that are kept back.
    pub(super) store_reserve_bytes: u64,
    /// What becomes of a record for which there is no room.
    pub(super) store_full_policy: StoreFullPolicy,
}

impl BrokerConfig {
    /// The defaults: Kafka's where Kafka has the key.
    pub fn new() -> Self {
        BrokerConfig {
            fetch_max_bytes: 57_671_680,
            fetch_cross_segments: true,
            read_mode: ReadMode::Mmap,
            max_mapped_segments: 1024,
            max_open_files: Limit(None),
            checkpoint_interval: Duration::from_mins(1),
            retention_check_interval: Duration::from_mins(5),
            producer_id_expiration: Duration::from_hours(24),
            store_max_bytes: Limit(None),
            store_reserve_bytes: 1 << 20,
            store_full_policy: StoreFullPolicy::Refuse,
        }
    }

    /// Reads keys and values, such as `("store.max.bytes", "1073741824")`. Keys that are missing keep their default; of a
    /// key that is there twice the last value counts.
    ///
    /// ```
    /// use thalweg::BrokerConfig;
    ///
    /// let config = BrokerConfig::from_properties([("max.open.files", "100"), ("store.full.policy", "block")])?;
    /// let error = BrokerConfig::from_properties([("store.max.byte", "1")]).unwrap_err();
    /// assert!(error.to_string().contains("the nearest is store.max.bytes"));
    /// # assert_ne!(config, BrokerConfig::new());
    /// # Ok::<(), thalweg::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a key that this version does not honour, and for a value that
    /// is not of the key's type or out of its range.
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut config = BrokerConfig::new();
        keys::read(BROKER_KEYS, &mut config, properties)?;
        config.check()?;
        Ok(config)
    }

    /// Every key with its value, in a fixed order and in the spelling that
    /// [`from_properties`](BrokerConfig::from_properties) reads.
    ///
    /// ```
    /// let properties = thalweg::BrokerConfig::new().to_properties();
    /// assert!(properties.contains(&("store.max.bytes", "-1".to_owned())));
    /// ```
    pub fn to_properties(&self) -> Vec<(&'static str, String)> {
        keys::write(BROKER_KEYS, self)
    }

    /// Refuses values out of range: `InvalidConfig`.
    pub(crate) fn check(&self) -> Result<()> {
        keys::check(BROKER_KEYS, self)
    }
}

/// Setters.
impl BrokerConfig {
    /// `fetch.max.bytes`, the broker's: most bytes of batches that a fetch returns, whatever it asks for. Default 57671680
    /// (55 MiB), range 1024 to 2147483647. The first batch is returned in any case. Rule: fetch.md 1.
    ///
    /// Smaller: more fetches for the same records. Larger: a fetch that asks for much holds much.
    ///
    /// ```
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().fetch_max_bytes(8 << 20);
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.fetch_max_bytes = bytes;
        self
    }

    /// `fetch.cross.segments` (not a key of Kafka's): whether the answer to a fetch goes on in the next segment until its
    /// limits are reached. Default true; false is what Kafka does, one segment for each fetch. Rule: fetch.md 2.
    ///
    /// ```
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().fetch_cross_segments(false);
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn fetch_cross_segments(mut self, cross: bool) -> Self {
        self.fetch_cross_segments = cross;
        self
    }

    /// `read.mode` (not a key of Kafka's): how the bytes of segments are read. Default `mmap`.
    ///
    /// `mmap`: through maps of the files. Reading what the system has in memory takes no system call and no copy. A page that
    /// the device does not give, and a file that somebody else cuts, end the process with a signal (`SIGBUS`). For file
    /// systems on a device of this machine.
    ///
    /// `pread`: by system calls that copy, and nothing of a segment is mapped. A device or a network that fails is an
    /// [`Io`](crate::ErrorKind::Io) error of the call that reads, and goes no further. For network file systems, such as NFS,
    /// SMB and those in user space, whose servers can go away or have their files changed by others, and for systems on
    /// which maps do not show at once what is written. What gets worse: each fetch takes a few system calls, and memory and
    /// time for a copy of what it returns; indexes of cold segments are made by reading headers one after the other; and the
    /// segments that are read take file handles, of which there are fewer than maps
    /// ([`max_mapped_segments`](BrokerConfig::max_mapped_segments)). Rule: fetch.md 11.
    ///
    /// ```
    /// # use thalweg::{BrokerConfig, ReadMode};
    /// let config = BrokerConfig::new().read_mode(ReadMode::Pread);
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// `max.mapped.segments` (not a key of Kafka's): most segments that are mapped for reading at a time, beside those that
    /// are appended to. Default 1024, range 1 to 2147483647.
    ///
    /// Smaller: readers of many segments have them mapped again and again. Larger: Linux allows a process 65530 maps unless
    /// it is told otherwise. What a reader holds stays mapped for it, whatever the limit. Rule: fetch.md 11.
    ///
    /// With [`ReadMode::Pread`] it is how many are open for reading, which are never more than `max.open.files`.
    ///
    /// ```
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().max_mapped_segments(100);
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn max_mapped_segments(mut self, count: usize) -> Self {
        self.max_mapped_segments = count;
        self
    }

    /// `max.open.files` (not a key of Kafka's): most handles of files that are written to. `None`, the default, written as
    /// -1: a quarter of what the process may have when the broker is opened, but 16 to 4096. Range 1 to 2147483647.
    ///
    /// Smaller: appends to many partitions in turn open their files again and again. Larger: fewer handles are left for the
    /// application. A few more are open for a moment where files are opened, read or created.
    ///
    /// ```
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().max_open_files(Some(64));
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn max_open_files(mut self, count: Option<usize>) -> Self {
        self.max_open_files = Limit(count);
        self
    }

    /// `log.flush.offset.checkpoint.interval.ms`: time between two looks at how much a crash would leave to be read; where
    /// it is more than a few MiB, it becomes durable and the checkpoint says so. Default 60000 (1 minute), range 1 ms to
    /// no limit. Segments that roll by the clock are looked at as often.
    ///
    /// Shorter: an open after a crash reads less; more syncs, in topics with any durability. Longer: the other way round.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().log_flush_offset_checkpoint_interval(Duration::from_secs(10));
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn log_flush_offset_checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = in_whole_millis(interval);
        self
    }

    /// `log.retention.check.interval.ms`: time between two looks at which records the topics' settings let go. Default
    /// 300000 (5 minutes), range 1 ms to no limit.
    ///
    /// Shorter: space comes back earlier, and every look costs a glance at each partition. Longer: logs grow further beyond
    /// `retention.bytes`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().log_retention_check_interval(Duration::from_secs(30));
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn log_retention_check_interval(mut self, interval: Duration) -> Self {
        self.retention_check_interval = in_whole_millis(interval);
        self
    }

    /// `producer.id.expiration.ms`: how long a partition remembers an idempotent producer that sends nothing to it. Default
    /// 86400000 (1 day), range 1 ms to no limit. It is looked at every 10 minutes, and a producer with an open transaction
    /// is remembered in any case.
    ///
    /// Shorter: less memory where many producers come and go, some 200 bytes each in every partition; a batch that is sent
    /// again after a longer time is appended once more. Longer: the other way round.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().producer_id_expiration(Duration::from_hours(1));
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn producer_id_expiration(mut self, idle: Duration) -> Self {
        self.producer_id_expiration = in_whole_millis(idle);
        self
    }

    /// `store.max.bytes` (not a key of Kafka's): most bytes of record batches in all logs of the data directory together,
    /// active segments and internal topics included. `None`, the default, written as -1, is no limit; range 1 to
    /// 9223372036854775807. What happens at the limit is said by [`store_full_policy`](BrokerConfig::store_full_policy).
    ///
    /// It is compared when a record is sent. What producers have taken and not yet written is not counted, so the store can
    /// exceed the limit by what their open batches hold. What consumer groups commit is counted but never refused, because
    /// nobody could consume then what would free the space; in this version that topic is not compacted, so its part of the
    /// limit only grows. Not counted are index files and checkpoints, partitions that did not open, and records that are
    /// deleted and still held by readers ([`BrokerStats`](crate::BrokerStats) shows these).
    ///
    /// A topic's space comes back in whole segments: let `segment.bytes` be a small part of the limit.
    ///
    /// ```
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().store_max_bytes(Some(1 << 30));
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn store_max_bytes(mut self, bytes: Option<u64>) -> Self {
        self.store_max_bytes = Limit(bytes);
        self
    }

    /// `store.reserve.bytes` (not a key of Kafka's): bytes of the disk that are kept back, in a file of the data directory.
    /// Default 1048576 (1 MiB), range 0, for none, to 9223372036854775807.
    ///
    /// When the disk is full it is given up piece by piece, so that records and topics can be deleted, offsets be committed,
    /// and the broker be closed in order. As long as a part of it is missing records are refused with
    /// [`StorageFull`](crate::ErrorKind::StorageFull). On a disk that has less when the broker is opened the reserve is
    /// smaller, and where room cannot be reserved (`fallocate`) there is none.
    ///
    /// ```
    /// # use thalweg::BrokerConfig;
    /// let config = BrokerConfig::new().store_reserve_bytes(16 << 20);
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn store_reserve_bytes(mut self, bytes: u64) -> Self {
        self.store_reserve_bytes = bytes;
        self
    }

    /// `store.full.policy` (not a key of Kafka's): what becomes of a record for which there is no room below
    /// [`store_max_bytes`](BrokerConfig::store_max_bytes). Default `refuse`.
    ///
    /// ```
    /// # use thalweg::{BrokerConfig, StoreFullPolicy};
    /// let config = BrokerConfig::new().store_full_policy(StoreFullPolicy::Block);
    /// # assert_ne!(config, BrokerConfig::new());
    /// ```
    pub fn store_full_policy(mut self, policy: StoreFullPolicy) -> Self {
        self.store_full_policy = policy;
        self
    }

    /// `fetch.max.bytes`.
    pub(crate) fn get_fetch_max_bytes(&self) -> usize {
        self.fetch_max_bytes
    }

    /// `fetch.cross.segments`.
    pub(crate) fn get_fetch_cross_segments(&self) -> bool {
        self.fetch_cross_segments
    }

    /// `read.mode`.
    pub(crate) fn get_read_mode(&self) -> ReadMode {
        self.read_mode
    }

    /// `max.mapped.segments`.
    pub(crate) fn get_max_mapped_segments(&self) -> usize {
        self.max_mapped_segments
    }

    /// `max.open.files`; `None` for as many as suit the process.
    pub(crate) fn get_max_open_files(&self) -> Option<usize> {
        self.max_open_files.0
    }

    /// `log.flush.offset.checkpoint.interval.ms`.
    pub(crate) fn get_checkpoint_interval(&self) -> Duration {
        self.checkpoint_interval
    }

    /// `log.retention.check.interval.ms`.
    pub(crate) fn get_retention_check_interval(&self) -> Duration {
        self.retention_check_interval
    }

    /// See [`producer_id_expiration`](BrokerConfig::producer_id_expiration).
    pub(crate) fn get_producer_id_expiration(&self) -> Duration {
        self.producer_id_expiration
    }

    /// `store.max.bytes`; `None` for no limit.
    pub(crate) fn get_store_max_bytes(&self) -> Option<u64> {
        self.store_max_bytes.0
    }

    /// `store.reserve.bytes`.
    pub(crate) fn get_store_reserve_bytes(&self) -> u64 {
        self.store_reserve_bytes
    }

    /// `store.full.policy`.
    pub(crate) fn get_store_full_policy(&self) -> StoreFullPolicy {
        self.store_full_policy
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig::new()
    }
}

/// What becomes of a record for which the store has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StoreFullPolicy {
    /// It is refused with [`StoreFull`](crate::ErrorKind::StoreFull).
    #[default]
    Refuse,
    /// `send` waits until records are deleted, the broker is closed, or the producer's `max.block.ms` is over; then the
    /// record is refused all the same. A thread that sends and is also the one that would delete waits for itself.
    Block,
    /// The oldest segments of the store go until it fits, with a twentieth of the limit to spare: the one whose largest
    /// timestamp is the smallest first, and active ones only where nothing else is left. Nothing goes that cannot be seen
    /// yet, nor of topics whose `cleanup.policy` does not delete. If that is not enough, the record is refused.
    ///
    /// The thread that sends does the work, its syncs included.
    DropOldest,
}

impl StoreFullPolicy {
    /// The value's name in properties: `refuse`, `block` or `drop-oldest`.
    pub fn name(self) -> &'static str {
        match self {
            StoreFullPolicy::Refuse => "refuse",
            StoreFullPolicy::Block => "block",
            StoreFullPolicy::DropOldest => "drop-oldest",
        }
    }

    /// The inverse of [`name`](StoreFullPolicy::name).
    ///
    /// ```
    /// use thalweg::StoreFullPolicy;
    /// assert_eq!(StoreFullPolicy::from_name("drop-oldest"), Some(StoreFullPolicy::DropOldest));
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [StoreFullPolicy::Refuse, StoreFullPolicy::Block, StoreFullPolicy::DropOldest];
        all.into_iter().find(|policy| policy.name() == name)
    }
}

impl fmt::Display for StoreFullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For every key a value that is not the default.
    const OTHER_VALUES: &[(&str, &str)] = &[
        ("fetch.max.bytes", "4096"),
        ("fetch.cross.segments", "false"),
        ("read.mode", "pread"),
        ("max.mapped.segments", "7"),
        ("max.open.files", "20"),
        ("log.flush.offset.checkpoint.interval.ms", "1000"),
        ("log.retention.check.interval.ms", "2000"),
        ("producer.id.expiration.ms", "3000"),
        ("store.max.bytes", "1000000"),
        ("store.reserve.bytes", "7"),
        ("store.full.policy", "drop-oldest"),
    ];

    #[test]
    fn the_table_holds_the_defaults() {
        keys::assert_defaults(BROKER_KEYS, &BrokerConfig::new());
        assert_eq!(BrokerConfig::from_properties([]).unwrap(), BrokerConfig::new());
        BrokerConfig::default().check().unwrap();
    }

    #[test]
    fn every_key_makes_the_round_trip() {
        let config = BrokerConfig::from_properties(OTHER_VALUES.iter().copied()).unwrap();
        let written = config.to_properties();
        assert!(written.iter().map(|(key, value)| (*key, value.as_str())).eq(OTHER_VALUES.iter().copied()));
        for (key, value) in OTHER_VALUES {
            let config = BrokerConfig::from_properties([(*key, *value)]).unwrap();
            let changed = config.to_properties().into_iter().zip(BrokerConfig::new().to_properties());
            let changed: Vec<_> = changed.filter(|(new, old)| new != old).map(|(new, _)| new).collect();
            assert_eq!(changed, [(*key, (*value).to_owned())]);
        }
    }

    #[test]
    fn properties_and_setters_mean_the_same_fields() {
        let set = BrokerConfig::new()
            .fetch_max_bytes(4096)
            .fetch_cross_segments(false)
            .read_mode(ReadMode::Pread)
            .max_mapped_segments(7)
            .max_open_files(Some(20))
            .log_flush_offset_checkpoint_interval(Duration::from_secs(1))
            .log_retention_check_interval(Duration::from_secs(2))
            .producer_id_expiration(Duration::from_secs(3))
            .store_max_bytes(Some(1_000_000))
            .store_reserve_bytes(7)
            .store_full_policy(StoreFullPolicy::DropOldest);
        assert_eq!(BrokerConfig::from_properties(OTHER_VALUES.iter().copied()).unwrap(), set);
        assert_eq!((set.get_max_mapped_segments(), set.get_max_open_files()), (7, Some(20)));
        assert_eq!(set.get_read_mode(), ReadMode::Pread);
        assert_eq!(set.get_checkpoint_interval(), Duration::from_secs(1));
        assert_eq!(set.get_retention_check_interval(), Duration::from_secs(2));
        assert_eq!(set.get_producer_id_expiration(), Duration::from_secs(3));
        assert_eq!(set.get_store_max_bytes(), Some(1_000_000));
        assert_eq!(set.get_store_full_policy(), StoreFullPolicy::DropOldest);
    }

    #[test]
    fn the_bounds_of_every_range_hold() {
        // (key, lowest and the one below, highest and the one above)
        let bounds = [
            ("fetch.max.bytes", ("1024", "1023"), ("2147483647", "2147483648")),
            ("max.mapped.segments", ("1", "0"), ("2147483647", "2147483648")),
            ("max.open.files", ("1", "0"), ("2147483647", "2147483648")),
            ("log.flush.offset.checkpoint.interval.ms", ("1", "0"), ("9223372036854775807", "9223372036854775808")),
            ("log.retention.check.interval.ms", ("1", "0"), ("9223372036854775807", "9223372036854775808")),
            ("producer.id.expiration.ms", ("1", "0"), ("9223372036854775807", "9223372036854775808")),
            ("store.max.bytes", ("1", "0"), ("9223372036854775807", "9223372036854775808")),
        ];
        for (key, (lowest, below), (highest, above)) in bounds {
            for accepted in [lowest, highest] {
                let config = BrokerConfig::from_properties([(key, accepted)]).unwrap();
                assert!(config.to_properties().contains(&(key, accepted.to_owned())), "{key}={accepted}");
            }
            for refused in [below, above, "", "x", "-2"] {
                let error = BrokerConfig::from_properties([(key, refused)]).unwrap_err().to_string();
                assert!(error.starts_with(&format!("{key} cannot be {refused}: expected {lowest} to {highest}")));
            }
        }
        for (key, unlimited) in [("max.open.files", "-1"), ("store.max.bytes", "-1")] {
            assert_eq!(BrokerConfig::from_properties([(key, unlimited)]).unwrap(), BrokerConfig::new());
        }
        for mode in ["", "Mmap", "read"] {
            BrokerConfig::from_properties([("read.mode", mode)]).unwrap_err();
        }
        for policy in ["", "Block", "drop_oldest", "drop"] {
            BrokerConfig::from_properties([("store.full.policy", policy)]).unwrap_err();
        }
    }

    #[test]
    fn typed_values_out_of_range_fail_in_check() {
        for config in [
            BrokerConfig::new().max_mapped_segments(0),
            BrokerConfig::new().max_open_files(Some(0)),
            BrokerConfig::new().log_retention_check_interval(Duration::ZERO),
            BrokerConfig::new().log_flush_offset_checkpoint_interval(Duration::ZERO),
            BrokerConfig::new().store_max_bytes(Some(0)),
            BrokerConfig::new().store_max_bytes(Some(u64::MAX)),
        ] {
            config.check().unwrap_err();
        }
    }
}
