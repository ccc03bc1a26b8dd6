//! Settings of a producer.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::types::Compression;

/// Settings of a producer, with Kafka's names and defaults. Checked by [`Broker::producer`].
///
/// [`Broker::producer`]: crate::Broker::producer
///
/// ```
/// use std::time::Duration;
/// use thalweg::ProducerConfig;
///
/// let config = ProducerConfig::new().batch_size(64 * 1024).linger(Duration::from_millis(20));
/// ```
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    batch_size: usize,
    linger: Duration,
    max_request_size: usize,
    compression_type: Compression,
    max_block: Duration,
    acks: Acks,
    enable_idempotence: Option<bool>,
    retries: u32,
    delivery_timeout: Option<Duration>,
    request_timeout: Duration,
    buffer_memory: u64,
    compression_gzip_level: i32,
    compression_lz4_level: i32,
    compression_zstd_level: i32,
    partitioner_ignore_keys: bool,
    partitioner_adaptive: bool,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
    client_id: String,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acks {
    /// `0`: nothing. It resolves when the record is in its batch, without an offset; what goes wrong later is logged and
    /// counted.
    None,
    /// `1`: the record is in the log and has its offset. In mode `fsync` consumers may not see it yet.
    Leader,
    /// `all` or `-1`: the promise of the topic's [`Durability`](crate::Durability) holds, and consumers can see it.
    #[default]
    All,
}

impl ProducerConfig {
    /// Kafka's defaults.
    pub fn new() -> Self {
        ProducerConfig {
            batch_size: 16_384,
            linger: Duration::from_millis(5),
            max_request_size: 1_048_576,
            compression_type: Compression::None,
            max_block: Duration::from_mins(1),
            acks: Acks::All,
            enable_idempotence: None,
            retries: i32::MAX.cast_unsigned(),
            delivery_timeout: None,
            request_timeout: Duration::from_secs(30),
            buffer_memory: 33_554_432,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            partitioner_ignore_keys: false,
            partitioner_adaptive: true,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            client_id: String::new(),
        }
    }

    /// `batch.size`: a partition's batch is written when it has this many bytes. Default 16384, range 0 (a batch for
    /// each record) to 2^31-1.
    ///
    /// Larger batches cost fewer writes and checksums a record; smaller ones are on their way earlier. Nothing is
    /// reserved: an open batch takes what is in it.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// `linger.ms`: a batch that is not full is written this long after its first record. Default 5 ms; zero writes
    /// every record at once. Whoever waits for an acknowledgement has the batch written without further lingering.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// `max.request.size`: the largest record that is taken, in bytes, as a batch of its own. Default 1048576, range
    /// 1 to 2^31-1. The topic's `max.message.bytes` limits it, too.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.max_request_size = bytes;
        self
    }

    /// `compression.type`: how the records of a batch are compressed, each batch on its own. Default none.
    ///
    /// Batches of similar records become several times smaller, on the disk as well as in the cache; larger batches
    /// compress better. Costs the time of compressing when a batch is written, and of inflating, with a copy, when it
    /// is read.
    /// [`batch_size`](ProducerConfig::batch_size) counts the bytes before compression.
    pub fn compression_type(mut self, compression: Compression) -> Self {
        self.compression_type = compression;
        self
    }

    /// `acks`: what an acknowledgement waits for. Default [`All`](Acks::All).
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// `enable.idempotence`: whether the log recognises a batch that it has already. Default true.
    pub fn enable_idempotence(mut self, enable: bool) -> Self {
        self.enable_idempotence = Some(enable);
        self
    }

    /// `retries`: how often a batch is tried again that was refused for a passing reason. Default 2147483647.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// `delivery.timeout.ms`: time from a batch's first `send` to its success or failure. Default 2 minutes.
    pub fn delivery_timeout(mut self, time: Duration) -> Self {
        self.delivery_timeout = Some(time);
        self
    }

    /// `request.timeout.ms`: Kafka's time for one round trip. Default 30 s.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }

    /// `buffer.memory`: most bytes of batches that are not written yet. Default 33554432.
    pub fn buffer_memory(mut self, bytes: u64) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// `retry.backoff.ms`: time before a batch is tried again, which doubles up to `retry.backoff.max.ms`. Default 100 ms.
    pub fn retry_backoff(mut self, time: Duration) -> Self {
        self.retry_backoff = time;
        self
    }

    /// `retry.backoff.max.ms`: longest time before a batch is tried again. Default 1 s.
    pub fn retry_backoff_max(mut self, time: Duration) -> Self {
        self.retry_backoff_max = time;
        self
    }

    /// `partitioner.ignore.keys`: whether keys have no part in the choice of partitions. Default false.
    pub fn partitioner_ignore_keys(mut self, ignore: bool) -> Self {
        self.partitioner_ignore_keys = ignore;
        self
    }

    /// `partitioner.adaptive.partitioning.enable`: whether partitions that are behind get fewer records without a key.
    /// Default true.
    pub fn partitioner_adaptive(mut self, enable: bool) -> Self {
        self.partitioner_adaptive = enable;
        self
    }

    /// `client.id`: the name of the producer in logs. Default `producer-<n>`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    pub(crate) fn get_compression_type(&self) -> Compression {
        self.compression_type
    }

    /// `max.block.ms`: the longest that `send` waits for room in a store that is full and whose `store.full.policy` is
    /// [`block`](crate::StoreFullPolicy::Block). Default 60000 (1 minute), range 0 to 2^63-1. Otherwise `send` does not
    /// wait.
    pub fn max_block(mut self, time: Duration) -> Self {
        self.max_block = time;
        self
    }

    pub(crate) fn get_batch_size(&self) -> usize {
        self.batch_size
    }

    pub(crate) fn get_linger(&self) -> Duration {
        self.linger
    }

    pub(crate) fn get_max_request_size(&self) -> usize {
        self.max_request_size
    }

    pub(crate) fn get_max_block(&self) -> Duration {
        self.max_block
    }

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
        self.delivery_timeout.unwrap_or_else(|| Duration::from_mins(2).max(self.linger + self.request_timeout))
    }

    pub(crate) fn get_buffer_memory(&self) -> u64 {
        self.buffer_memory
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

    pub(crate) fn get_partitioner_ignore_keys(&self) -> bool {
        self.partitioner_ignore_keys
    }

    pub(crate) fn get_partitioner_adaptive(&self) -> bool {
        self.partitioner_adaptive
    }

    /// The first and the longest time between two attempts.
    pub(crate) fn get_retry_backoff(&self) -> (Duration, Duration) {
        (self.retry_backoff, self.retry_backoff_max)
    }

    pub(crate) fn get_client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn check(&self) -> Result<()> {
        const MAX: usize = i32::MAX as usize;
        let invalid = |key: &str, value: String, expected| {
            Err(Error::new(ErrorKind::InvalidConfig { key: key.to_owned(), value, expected }))
        };
        if self.batch_size > MAX {
            return invalid("batch.size", self.batch_size.to_string(), "0 to 2147483647");
        }
        if !(1..=MAX).contains(&self.max_request_size) {
            return invalid("max.request.size", self.max_request_size.to_string(), "1 to 2147483647");
        }
        if self.linger > Duration::from_millis(i32::MAX as u64) {
            return invalid("linger.ms", self.linger.as_millis().to_string(), "0 to 2147483647");
        }
        if !self.compression_type.is_supported() {
            let expected = "a codec that this build has: each is a feature of the crate";
            return invalid("compression.type", self.compression_type.to_string(), expected);
        }
        if self.max_block > Duration::from_millis(i64::MAX as u64) {
            return invalid("max.block.ms", self.max_block.as_millis().to_string(), "0 to 9223372036854775807");
        }
        Ok(())
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        ProducerConfig::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_that_is_not_built_in_is_refused() {
        for codec in Compression::ALL {
            assert_eq!(ProducerConfig::new().compression_type(codec).check().is_ok(), codec.is_supported(), "{codec}");
        }
    }

    #[test]
    fn ranges_are_checked() {
        ProducerConfig::new().check().unwrap();
        ProducerConfig::new().batch_size(0).linger(Duration::ZERO).max_block(Duration::ZERO).check().unwrap();
        let bad = [
            ProducerConfig::new().batch_size(1 << 31),
            ProducerConfig::new().max_request_size(0),
            ProducerConfig::new().linger(Duration::MAX),
            ProducerConfig::new().max_block(Duration::MAX),
        ];
        for config in bad {
            assert!(matches!(config.check().unwrap_err().kind(), ErrorKind::InvalidConfig { .. }));
        }
    }
}
