//! Settings of a producer.

use std::time::Duration;

use super::acks::Acks;
use super::keys::{self, invalid, whole_millis};
use super::producer_keys::{self, KeptProperties, PRODUCER_KEYS, UnknownKey};
use super::topic::in_whole_millis;
use crate::client::{Partitioner, ProducerInterceptor};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::types::Compression;

/// Settings of a producer, with Kafka's names and defaults. Checked by [`Broker::producer`].
///
/// Setters are named after their keys with `_` for `.`; where the argument is a [`Duration`], the key's unit is left out.
/// Times have a resolution of one millisecond: parts of one are rounded up. Setters accept everything; a value out of range
/// is reported with [`InvalidConfig`](ErrorKind::InvalidConfig) by the call that uses the configuration.
///
/// [`Broker::producer`]: crate::Broker::producer
///
/// ```
/// use std::time::Duration;
/// use thalweg::ProducerConfig;
///
/// let config = ProducerConfig::new().batch_size(64 * 1024).linger(Duration::from_millis(20));
/// let same = ProducerConfig::from_properties([("batch.size", "65536"), ("linger.ms", "20")])?;
/// assert_eq!(config.to_properties(), same.to_properties());
/// # Ok::<(), thalweg::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub(super) acks: Acks,
    /// `None`: on, unless other settings rule it out.
    pub(super) enable_idempotence: Option<bool>,
    pub(super) retries: u32,
    /// `None`: the default, or more if lingering needs it. Whole milliseconds, as all durations here.
    pub(super) delivery_timeout: Option<Duration>,
    pub(super) request_timeout: Duration,
    pub(super) max_block: Duration,
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) buffer_memory: u64,
    pub(super) max_request_size: usize,
    pub(super) compression_type: Compression,
    pub(super) compression_gzip_level: i32,
    pub(super) compression_lz4_level: i32,
    pub(super) compression_zstd_level: i32,
    pub(super) max_in_flight: usize,
    pub(super) partitioner: Option<Arc<dyn Partitioner>>,
    /// Whether `partitioner` was named by a property.
    pub(super) round_robin_by_name: bool,
    pub(super) partitioner_ignore_keys: bool,
    pub(super) partitioner_adaptive: bool,
    pub(super) partitioner_availability_timeout: Duration,
    pub(super) partitioner_rack_aware: bool,
    interceptors: Vec<Arc<dyn ProducerInterceptor>>,
    pub(super) transactional_id: Option<String>,
    pub(super) transaction_timeout: Option<Duration>,
    pub(super) two_phase_commit: bool,
    pub(super) metadata_max_age: Duration,
    pub(super) metadata_max_idle: Duration,
    pub(super) retry_backoff: Duration,
    pub(super) retry_backoff_max: Duration,
    pub(super) client_id: String,
    pub(super) client_rack: String,
    /// Properties that mean nothing here.
    pub(super) kept: KeptProperties,
    pub(super) unknown_keys: Vec<UnknownKey>,
}

impl ProducerConfig {
    /// Kafka's defaults.
    pub fn new() -> Self {
        ProducerConfig {
            acks: Acks::All,
            enable_idempotence: None,
            retries: i32::MAX.cast_unsigned(),
            delivery_timeout: None,
            request_timeout: Duration::from_secs(30),
            max_block: Duration::from_mins(1),
            batch_size: 16_384,
            linger: Duration::from_millis(5),
            buffer_memory: 33_554_432,
            max_request_size: 1_048_576,
            compression_type: Compression::None,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            max_in_flight: 5,
            partitioner: None,
            round_robin_by_name: false,
            partitioner_ignore_keys: false,
            partitioner_adaptive: true,
            partitioner_availability_timeout: Duration::ZERO,
            partitioner_rack_aware: false,
            interceptors: Vec::new(),
            transactional_id: None,
            transaction_timeout: None,
            two_phase_commit: false,
            metadata_max_age: Duration::from_mins(5),
            metadata_max_idle: Duration::from_mins(5),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            client_id: String::new(),
            client_rack: String::new(),
            kept: KeptProperties::default(),
            unknown_keys: Vec::new(),
        }
    }

    /// Reads keys and values in the spelling of Kafka's producer, such as `("linger.ms", "20")`. Keys that are missing keep
    /// their default; of a key that is there twice the last value counts.
    ///
    /// All keys of Kafka's producer are taken. Those that only mean something between machines, such as
    /// `bootstrap.servers`, `send.buffer.bytes` and those of TLS and SASL, are kept and have no effect, and the log says so.
    /// So do those that name Java classes: serializers are given to `typed::Producer::new`, interceptors to
    /// [`interceptor`](Self::interceptor), and a partitioner other than `RoundRobinPartitioner`, which is here, too, to
    /// [`partitioner`](Self::partitioner). Other keys are in [`unknown_keys`](Self::unknown_keys), and in the log as a
    /// warning.
    ///
    /// ```
    /// use thalweg::ProducerConfig;
    ///
    /// let config = ProducerConfig::from_properties([("acks", "1"), ("batch.sise", "100"), ("bootstrap.servers", "a:9092")])?;
    /// assert_eq!(config.unknown_keys()[0].nearest, "batch.size");
    /// let error = ProducerConfig::from_properties([("compression.lz4.level", "18")]).unwrap_err();
    /// assert_eq!(error.to_string(), "compression.lz4.level cannot be 18: expected 1 to 17");
    /// # Ok::<(), thalweg::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) for a value that is not of the key's type or out of its range, for values
    /// that contradict each other, and for a partitioner that is not here.
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) for a `transactional.id`.
    pub fn from_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut config = ProducerConfig::new();
        for (name, text) in properties {
            producer_keys::read_one(&mut config, name, text)?;
        }
        config.validate()?;
        Ok(config)
    }

    /// Every key that has a value, in a fixed order and in the spelling that [`from_properties`](Self::from_properties)
    /// reads; among them, in plain text, passwords that were read. Interceptors, and a partitioner that was given to
    /// [`partitioner`](Self::partitioner), have no spelling and are left out.
    ///
    /// ```
    /// let properties = thalweg::ProducerConfig::new().to_properties();
    /// assert!(properties.contains(&("batch.size", "16384".to_owned())));
    /// ```
    pub fn to_properties(&self) -> Vec<(&'static str, String)> {
        producer_keys::write(self)
    }

    /// The keys given to [`from_properties`](Self::from_properties) that no producer has, with the nearest ones that it
    /// has. They have no effect.
    pub fn unknown_keys(&self) -> &[UnknownKey] {
        &self.unknown_keys
    }

    /// As [`validate`](Self::validate), and says in the log where defaults gave way to other settings.
    pub(crate) fn check(&self) -> Result<()> {
        self.validate()?;
        if self.enable_idempotence.is_none() && !self.get_enable_idempotence() {
            let (key, value) = if self.retries == 0 { ("retries", "0") } else { ("acks", self.acks.name()) };
            tracing::info!("enable.idempotence is switched off because {key} is {value}");
        }
        if self.delivery_timeout.is_none() && self.get_delivery_timeout() > DELIVERY_TIMEOUT_DEFAULT {
            let raised = self.get_delivery_timeout().as_millis();
            tracing::info!("delivery.timeout.ms is raised to {raised}, the sum of linger.ms and request.timeout.ms");
        }
        Ok(())
    }

    /// Refuses values out of range and values that contradict each other: `InvalidConfig`; and what is not there:
    /// `UnsupportedVersion`.
    ///
    /// Rule: producer.md 2, ProducerConfig.postProcessAndValidateIdempotenceConfigs, KafkaProducer.configureDeliveryTimeout.
    fn validate(&self) -> Result<()> {
        keys::check(PRODUCER_KEYS, self)?;
        self.check_delivery_timeout()?;
        self.check_idempotence()?;
        self.check_transactions()
    }

    fn check_delivery_timeout(&self) -> Result<()> {
        let Some(time) = self.delivery_timeout.filter(|time| *time < self.linger_and_request()) else { return Ok(()) };
        let expected = "at least linger.ms and request.timeout.ms together";
        Err(invalid("delivery.timeout.ms", &whole_millis(time).to_string(), expected))
    }

    /// As Kafka does, the number of requests is looked at first also where the default is about to be switched off.
    fn check_idempotence(&self) -> Result<()> {
        if self.enable_idempotence == Some(false) {
            return Ok(());
        }
        let is_explicit = self.enable_idempotence == Some(true);
        if is_explicit && self.retries == 0 {
            return Err(invalid("retries", "0", "1 or more, because enable.idempotence is true"));
        }
        if is_explicit && self.acks != Acks::All {
            return Err(invalid("acks", self.acks.name(), "all, because enable.idempotence is true"));
        }
        if self.max_in_flight > IN_FLIGHT_MAX_WITH_IDEMPOTENCE {
            let expected = "1 to 5, or enable.idempotence to be false";
            return Err(invalid("max.in.flight.requests.per.connection", &self.max_in_flight.to_string(), expected));
        }
        Ok(())
    }

    fn check_transactions(&self) -> Result<()> {
        if self.two_phase_commit
            && let Some(time) = self.transaction_timeout
        {
            let expected = "no value, because transaction.two.phase.commit.enable is true";
            return Err(invalid("transaction.timeout.ms", &whole_millis(time).to_string(), expected));
        }
        let Some(id) = &self.transactional_id else { return Ok(()) };
        if !self.get_enable_idempotence() {
            return Err(invalid("transactional.id", id, "no value, or idempotence to be on"));
        }
        Err(Error::new(ErrorKind::UnsupportedVersion { feature: "transactions (transactional.id)" }))
    }

    /// Time that a batch may take without anything having gone wrong.
    fn linger_and_request(&self) -> Duration {
        self.get_linger().saturating_add(self.request_timeout).min(INT_MAX)
    }
}

/// Largest `max.in.flight.requests.per.connection` of an idempotent producer: the log knows its last five batches
/// (producer.md 6).
const IN_FLIGHT_MAX_WITH_IDEMPOTENCE: usize = 5;

/// `delivery.timeout.ms`, unless lingering needs more (producer.md 2).
const DELIVERY_TIMEOUT_DEFAULT: Duration = Duration::from_mins(2);

/// The largest number of milliseconds that Kafka computes with here.
const INT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Setters.
impl ProducerConfig {
    /// `acks`: what an acknowledgement waits for. Default [`All`](Acks::All).
    ///
    /// Less: acknowledgements come earlier, and say less. With anything but `All`, idempotence is off.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// `enable.idempotence`: whether the log recognises a batch that it has already, so that trying again stores nothing
    /// twice. Default true, or false where `retries` is 0 or `acks` is not `all`; set to true with either of these it is an
    /// error.
    ///
    /// Off saves the log some bookkeeping for each batch; a batch whose answer was lost can then be stored twice.
    pub fn enable_idempotence(mut self, enable: bool) -> Self {
        self.enable_idempotence = Some(enable);
        self
    }

    /// `retries`: how often a batch is tried again that was refused for a passing reason. Default 2147483647, range 0 to
    /// 2147483647.
    ///
    /// Fewer: records fail earlier than [`delivery_timeout`](Self::delivery_timeout) has them fail, and with 0 idempotence
    /// is off. More than the time allows makes no difference.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// `delivery.timeout.ms`: time from a batch's first `send` to its success or failure. Default 120000 (2 minutes), or
    /// what [`linger`](Self::linger) and [`request_timeout`](Self::request_timeout) are together, if that is more; range
    /// from there to 2147483647.
    ///
    /// Shorter: records fail that would have made it. Longer: trouble shows later, and what waits takes memory.
    pub fn delivery_timeout(mut self, time: Duration) -> Self {
        self.delivery_timeout = Some(in_whole_millis(time));
        self
    }

    /// `request.timeout.ms`: Kafka's time for one round trip. Default 30000 (30 s), range 0 to 2147483647.
    ///
    /// There are no round trips here: it only is a part of the shortest [`delivery_timeout`](Self::delivery_timeout).
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = in_whole_millis(time);
        self
    }

    /// `max.block.ms`: the longest that `send` waits: for [`buffer_memory`](Self::buffer_memory), and for room in a store
    /// that is full and whose `store.full.policy` is [`block`](crate::StoreFullPolicy::Block). Default 60000 (1 minute),
    /// range 0 to 9223372036854775807.
    ///
    /// Shorter: `send` gives up on a disk that is slow for a moment. Longer: the thread that sends stands still.
    pub fn max_block(mut self, time: Duration) -> Self {
        self.max_block = in_whole_millis(time);
        self
    }

    /// `batch.size`: a partition's batch is written when it has this many bytes. Default 16384, range 0 (a batch for
    /// each record) to 2147483647.
    ///
    /// Larger batches cost fewer writes and checksums a record and compress better; smaller ones are on their way earlier.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// `linger.ms`: a batch that is not full is written this long after its first record. Default 5; zero writes
    /// every record at once. Range 0 to 9223372036854775807, of which Kafka and this engine use at most 2147483647. Whoever
    /// waits for an acknowledgement has the batch written without further lingering.
    ///
    /// Longer: fuller batches, and consumers see records later.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = in_whole_millis(time);
        self
    }

    /// `buffer.memory`: most bytes of batches that are not written yet. Default 33554432 (32 MiB), range 0 to
    /// 9223372036854775807. A record larger than that is refused.
    ///
    /// Smaller: `send` waits earlier when the disk is slow. Larger: more is lost by a crash of the process that nobody had
    /// waited for, and more memory is taken.
    pub fn buffer_memory(mut self, bytes: u64) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// `max.request.size`: the largest record that is taken, in bytes, as a batch of its own and before compression.
    /// Default 1048576, range 0, which takes none, to 2147483647. The topic's `max.message.bytes` limits it, too.
    ///
    /// Smaller: refuses records that the topic would take. Larger: single records take more of the memory.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
        self
    }

    /// `compression.type`: how the records of a batch are compressed, each batch on its own. Default none.
    ///
    /// Batches of similar records become several times smaller, on the disk as well as in the cache; larger batches
    /// compress better. Costs the time of compressing when a batch is written, and of inflating, with a copy, when it
    /// is read.
    pub fn compression_type(mut self, compression: Compression) -> Self {
        self.compression_type = compression;
        self
    }

    /// `compression.gzip.level`: default -1, which is the codec's own, range 1 to 9. Higher: smaller and slower.
    pub fn compression_gzip_level(mut self, level: i32) -> Self {
        self.compression_gzip_level = level;
        self
    }

    /// `compression.lz4.level`: default 9, range 1 to 17. Higher: smaller and slower.
    pub fn compression_lz4_level(mut self, level: i32) -> Self {
        self.compression_lz4_level = level;
        self
    }

    /// `compression.zstd.level`: default 3, range -131072 to 22. Higher: smaller and slower.
    pub fn compression_zstd_level(mut self, level: i32) -> Self {
        self.compression_zstd_level = level;
        self
    }

    /// `max.in.flight.requests.per.connection`: default 5, range 1 to 2147483647, with idempotence to 5.
    ///
    /// It is checked and has no effect: batches of a partition are written one after the other.
    pub fn max_in_flight_requests_per_connection(mut self, count: usize) -> Self {
        self.max_in_flight = count;
        self
    }

    /// `partitioner.class`: chooses the partitions of records that name none. By default the hash of the key does, and
    /// records without a key go to one partition until it has got a batch.
    ///
    /// Producers that are made from clones of this configuration share the partitioner.
    ///
    /// ```
    /// use thalweg::{ProducerConfig, RoundRobinPartitioner};
    ///
    /// let config = ProducerConfig::new().partitioner(RoundRobinPartitioner::new());
    /// ```
    pub fn partitioner(mut self, partitioner: impl Partitioner + 'static) -> Self {
        self.set_partitioner(partitioner);
        self
    }

    pub(super) fn set_partitioner(&mut self, partitioner: impl Partitioner + 'static) {
        self.partitioner = Some(Arc::new(partitioner));
        self.round_robin_by_name = false;
    }

    /// `partitioner.ignore.keys`: whether keys have no part in the choice of partitions. Default false.
    ///
    /// On: batches fill as if no record had a key, and records of one key are in no order.
    pub fn partitioner_ignore_keys(mut self, ignore: bool) -> Self {
        self.partitioner_ignore_keys = ignore;
        self
    }

    /// `partitioner.adaptive.partitioning.enable`: whether partitions that are behind with writing get fewer records
    /// without a key. Default true.
    ///
    /// Off: all partitions get the same, and a slow one holds up the producer.
    pub fn partitioner_adaptive(mut self, enable: bool) -> Self {
        self.partitioner_adaptive = enable;
        self
    }

    /// `partitioner.availability.timeout.ms`: default 0, range 0 to 9223372036854775807. No effect: the partitions of an
    /// open broker are available.
    pub fn partitioner_availability_timeout(mut self, time: Duration) -> Self {
        self.partitioner_availability_timeout = in_whole_millis(time);
        self
    }

    /// `partitioner.rack.aware`: default false. No effect: there are no racks.
    pub fn partitioner_rack_aware(mut self, aware: bool) -> Self {
        self.partitioner_rack_aware = aware;
        self
    }

    /// `interceptor.classes`: adds an interceptor behind those that are there. Default none.
    ///
    /// Producers that are made from clones of this configuration share the interceptors.
    pub fn interceptor(mut self, interceptor: impl ProducerInterceptor + 'static) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        self
    }

    /// `transactional.id`: the name that makes a producer transactional. No default; this version refuses it with
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion).
    pub fn transactional_id(mut self, id: impl Into<String>) -> Self {
        self.transactional_id = Some(id.into());
        self
    }

    /// `transaction.timeout.ms`: the longest that a transaction stays open. Default 60000 (1 minute), range 0 to 2147483647.
    /// No effect without transactions.
    pub fn transaction_timeout(mut self, time: Duration) -> Self {
        self.transaction_timeout = Some(in_whole_millis(time));
        self
    }

    /// `transaction.two.phase.commit.enable`: default false; true excludes a
    /// [`transaction_timeout`](Self::transaction_timeout). No effect without transactions.
    pub fn transaction_two_phase_commit_enable(mut self, enable: bool) -> Self {
        self.two_phase_commit = enable;
        self
    }

    /// `metadata.max.age.ms`: default 300000, range 0 to 9223372036854775807. No effect: changes of topics are seen at once.
    pub fn metadata_max_age(mut self, time: Duration) -> Self {
        self.metadata_max_age = in_whole_millis(time);
        self
    }

    /// `metadata.max.idle.ms`: default 300000, range 5000 to 9223372036854775807. No effect, as
    /// [`metadata_max_age`](Self::metadata_max_age).
    pub fn metadata_max_idle(mut self, time: Duration) -> Self {
        self.metadata_max_idle = in_whole_millis(time);
        self
    }

    /// `retry.backoff.ms`: time before a batch is tried again, which doubles from one time to the next. Default 100, range 0
    /// to 9223372036854775807.
    ///
    /// Shorter: a disk that is in trouble is asked more often. Longer: records come later once it is well again.
    pub fn retry_backoff(mut self, time: Duration) -> Self {
        self.retry_backoff = in_whole_millis(time);
        self
    }

    /// `retry.backoff.max.ms`: longest time before a batch is tried again. Default 1000 (1 s), range 0 to
    /// 9223372036854775807. Where it is less than [`retry_backoff`](Self::retry_backoff) it is what counts from the beginning.
    pub fn retry_backoff_max(mut self, time: Duration) -> Self {
        self.retry_backoff_max = in_whole_millis(time);
        self
    }

    /// `client.id`: the name of the producer in logs. Default `producer-<n>`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// `client.rack`: default empty. No effect: there are no racks.
    pub fn client_rack(mut self, rack: impl Into<String>) -> Self {
        self.client_rack = rack.into();
        self
    }
}

/// What the engine reads. The setters own the plain names, hence `get_`, as in `std::process::Command`.
impl ProducerConfig {
    pub(crate) fn get_acks(&self) -> Acks {
        self.acks
    }

    /// Whether batches carry a producer id and sequence numbers.
    pub(crate) fn get_enable_idempotence(&self) -> bool {
        self.enable_idempotence.unwrap_or(self.acks == Acks::All && self.retries > 0)
    }

    pub(crate) fn get_retries(&self) -> u32 {
        self.retries
    }

    pub(crate) fn get_delivery_timeout(&self) -> Duration {
        self.delivery_timeout.unwrap_or_else(|| DELIVERY_TIMEOUT_DEFAULT.max(self.linger_and_request()))
    }

    pub(crate) fn get_max_block(&self) -> Duration {
        self.max_block
    }

    pub(crate) fn get_batch_size(&self) -> usize {
        self.batch_size
    }

    /// At most `i32::MAX` milliseconds, so that it can be added to any instant (KafkaProducer.lingerMs).
    pub(crate) fn get_linger(&self) -> Duration {
        self.linger.min(INT_MAX)
    }

    pub(crate) fn get_buffer_memory(&self) -> u64 {
        self.buffer_memory
    }

    pub(crate) fn get_max_request_size(&self) -> usize {
        self.max_request_size
    }

    pub(crate) fn get_compression_type(&self) -> Compression {
        self.compression_type
    }

    /// The level of `codec`, for codecs that have one.
    pub(crate) fn get_compression_level(&self, codec: Compression) -> Option<i32> {
        match codec {
            Compression::Gzip => Some(self.compression_gzip_level),
            Compression::Lz4 => Some(self.compression_lz4_level),
            Compression::Zstd => Some(self.compression_zstd_level),
            Compression::None | Compression::Snappy => None,
        }
    }

    /// The application's own choice of partitions, if it has one.
    pub(crate) fn get_partitioner(&self) -> Option<&dyn Partitioner> {
        self.partitioner.as_deref()
    }

    pub(crate) fn get_partitioner_ignore_keys(&self) -> bool {
        self.partitioner_ignore_keys
    }

    pub(crate) fn get_partitioner_adaptive(&self) -> bool {
        self.partitioner_adaptive
    }

    /// In the order in which they are called.
    pub(crate) fn get_interceptors(&self) -> &[Arc<dyn ProducerInterceptor>] {
        &self.interceptors
    }

    /// The first and the longest time between two attempts.
    pub(crate) fn get_retry_backoff(&self) -> (Duration, Duration) {
        (self.retry_backoff.min(self.retry_backoff_max), self.retry_backoff_max)
    }

    pub(crate) fn get_client_id(&self) -> &str {
        &self.client_id
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        ProducerConfig::new()
    }
}
