//! How far batches of a topic compress, as learned from those before. Rule: `CompressionRatioEstimator`.

use crate::sync::{AtomicU32, Ordering};
use crate::types::Compression;

/// How much a batch that compressed better than expected takes the estimate down, at most.
const IMPROVING_STEP: f32 = 0.005;
/// How much one that compressed worse takes it up, at least.
const DETERIORATE_STEP: f32 = 0.05;
/// What is assumed on top of the estimate, so that a batch seldom comes out larger. Rule: `MemoryRecordsBuilder`.
const SAFETY_FACTOR: f32 = 1.05;
/// Before the first batch: nothing is won.
const INITIAL: f32 = 1.0;

/// For each codec, the expected size of a compressed batch as a part of what it was before. One for each topic.
///
/// It follows what it sees slowly downwards and quickly upwards: a batch that comes out too large has to be split, one
/// that comes out too small costs nothing but a few bytes of header.
#[derive(Debug)]
pub(super) struct CompressionRatio {
    /// The bits of an `f32` for each codec. Any thread writes them after a batch, and all may read at any time; one of two
    /// updates at the same time may count only in part, as the next batch makes good.
    ratios: [AtomicU32; Compression::ALL.len()],
}

impl CompressionRatio {
    pub(super) fn new() -> Self {
        CompressionRatio { ratios: Compression::ALL.map(|_| AtomicU32::new(INITIAL.to_bits())) }
    }

    /// The part of its size that a batch is expected to have after compression, 0 to 1 or somewhat more.
    pub(super) fn estimate(&self, codec: Compression) -> f32 {
        match codec {
            Compression::None => 1.0,
            codec => f32::from_bits(self.ratio(codec).load(Ordering::Relaxed)),
        }
    }

    /// Bytes that a batch with `plain_len` bytes of records is expected to take, its header included.
    pub(super) fn estimated_size(&self, codec: Compression, header_len: usize, plain_len: usize) -> usize {
        match codec {
            Compression::None => header_len + plain_len,
            codec => header_len + (plain_len as f32 * self.estimate(codec) * SAFETY_FACTOR) as usize,
        }
    }

    /// Learns that a batch has come out with `observed` of its size.
    pub(super) fn note(&self, codec: Compression, observed: f32) {
        if codec == Compression::None || !observed.is_finite() {
            return;
        }
        let current = self.estimate(codec);
        let next = if observed > current {
            (current + DETERIORATE_STEP).max(observed)
        } else if observed < current {
            (current - IMPROVING_STEP).max(observed)
        } else {
            return;
        };
        self.set(codec, next);
    }

    /// Learns that a batch was too large for its topic and had to be split: the next ones are expected to win
    /// nothing. Rule: `RecordAccumulator.splitAndReenqueue`.
    pub(super) fn reset_after_split(&self, codec: Compression, observed: f32) {
        if codec != Compression::None && observed.is_finite() {
            self.set(codec, observed.max(INITIAL));
        }
    }

    fn set(&self, codec: Compression, ratio: f32) {
        self.ratio(codec).store(ratio.to_bits(), Ordering::Relaxed);
    }

    fn ratio(&self, codec: Compression) -> &AtomicU32 {
        let [none, gzip, snappy, lz4, zstd] = &self.ratios;
        match codec {
            Compression::None => none,
            Compression::Gzip => gzip,
            Compression::Snappy => snappy,
            Compression::Lz4 => lz4,
            Compression::Zstd => zstd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's own test, `CompressionRatioEstimatorTest.testUpdateEstimation`: current, observed, expected.
    #[test]
    fn kafkas_numbers() {
        let cases = [
            (0.8, 0.84, 0.8 + DETERIORATE_STEP),
            (0.6, 0.7, 0.7),
            (0.6, 0.4, 0.6 - IMPROVING_STEP),
            (0.004, 0.001, 0.001),
        ];
        for (current, observed, expected) in cases {
            let ratio = CompressionRatio::new();
            ratio.set(Compression::Gzip, current);
            ratio.note(Compression::Gzip, observed);
            assert!((ratio.estimate(Compression::Gzip) - expected).abs() < 1e-6, "{current} {observed}");
        }
    }

    #[test]
    fn it_begins_at_one_and_every_codec_has_its_own() {
        let ratio = CompressionRatio::new();
        for codec in Compression::ALL {
            assert!((ratio.estimate(codec) - 1.0).abs() < 1e-6);
        }
        ratio.note(Compression::Lz4, 0.3);
        ratio.note(Compression::None, 0.3);
        let estimates = Compression::ALL.map(|codec| ratio.estimate(codec));
        assert_eq!(estimates.map(|ratio| (ratio * 1000.0).round()), [1000.0, 1000.0, 1000.0, 995.0, 1000.0]);
    }

    #[test]
    fn sizes_have_a_reserve() {
        let ratio = CompressionRatio::new();
        assert_eq!(ratio.estimated_size(Compression::None, 61, 1000), 1061);
        assert_eq!(ratio.estimated_size(Compression::Zstd, 61, 1000), 1111);
        ratio.set(Compression::Zstd, 0.5);
        assert_eq!(ratio.estimated_size(Compression::Zstd, 61, 1000), 61 + 525);
    }

    #[test]
    fn after_a_split_nothing_is_taken_for_granted() {
        let ratio = CompressionRatio::new();
        for (observed, expected) in [(0.4, 1.0), (1.2, 1.2)] {
            ratio.set(Compression::Snappy, 0.2);
            ratio.reset_after_split(Compression::Snappy, observed);
            assert!((ratio.estimate(Compression::Snappy) - expected).abs() < 1e-6);
        }
        ratio.note(Compression::Snappy, f32::NAN);
        assert!(ratio.estimate(Compression::Snappy).is_finite());
    }
}
