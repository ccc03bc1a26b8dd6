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
