//! Which partition a record goes to, where its producer did not say.
//!
//! - A record with a key goes where its key's hash says ([`partition_for_key`]), as with Kafka's Java client: the same
//!   key to the same partition, for as long as the number of partitions stays. Adding partitions moves keys.
//! - Records without a key stick to one partition until it has got a batch's worth of bytes, then move on to a random
//!   one ([`StickyPartitioner`]): batches fill up, and over time all partitions get the same.
//!
//! The hash is a fact about data on disk and about every other producer of the same topic; it never changes.

use std::hash::{BuildHasher, RandomState};

use crate::sync::{AtomicU64, Ordering};

/// The partition, of `partitions` (1 or more), for a record with this key. A key may be empty.
///
/// Rule: producer.md 4.1, BuiltInPartitioner.partitionForKey. The sign bit is masked off, which is not the same as
/// taking the absolute value.
pub(crate) fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX) % partitions.max(1)
}

/// Kafka's hash of a key: 32-bit MurmurHash2 over little-endian words, with Kafka's seed.
///
/// Rule: producer.md 4.1, Utils.murmur2.
pub(crate) fn murmur2(key: &[u8]) -> i32 {
    // Kafka's lengths are of type i32; the cast wraps as Java's would.
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        word = (word ^ (word >> 24)).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ word;
    }
    if !tail.is_empty() {
        let tail = tail.iter().rev().fold(0, |tail, &byte| (tail << 8) | u32::from(byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    (hash ^ (hash >> 15)).cast_signed()
}

/// Where the hash starts (producer.md 4.1).
const SEED: u32 = 0x9747_b28c;

/// The hash's multiplier (producer.md 4.1).
const FACTOR: u32 = 0x5bd1_e995;

/// The partition that records without a key go to for now; one per producer and topic.
///
/// The rule: move on, to a partition chosen at random with the same chance for each one (the present one included),
/// when the present one has got `batch.size` bytes and the last of its batches is complete; at twice `batch.size`, move
/// on anyway. Waiting for the batch to be complete avoids leaving a fraction of one behind.
///
/// Rule: producer.md 4.2 without its adaptive part, BuiltInPartitioner.updatePartitionInfo.
#[derive(Debug)]
pub(crate) struct StickyPartitioner {
    /// `batch.size` in bytes, 1 ..= `i32::MAX`.
    batch_size: u32,
    /// High half: how many times we moved on, in steps of [`STEP`] from a random start; the partition is drawn from it.
    /// Low half: bytes that the present partition has got.
    ///
    /// Read by [`current`](Self::current), written by [`on_append`](Self::on_append), both relaxed: nothing else is
    /// published through it. A thread that reads a stale value sends one more record to the previous partition, and
    /// its bytes count for the new one, which is then left that much earlier. Both are harmless: any partition is a
    /// right one.
    state: AtomicU64,
}

impl StickyPartitioner {
    /// Starts at a random partition. A `batch_size` of 0 bytes, which means one record per batch, counts as 1.
    pub(crate) fn new(batch_size: usize) -> Self {
        // RandomState is the standard library's only source of randomness; nobody has to guess these numbers.
        StickyPartitioner::with_seed(batch_size, RandomState::new().hash_one(0))
    }

    fn with_seed(batch_size: usize, seed: u64) -> Self {
        // Half of u32, so that twice `batch_size` still fits into the low half of `state`.
        let batch_size = u32::try_from(batch_size).unwrap_or(u32::MAX).clamp(1, i32::MAX.cast_unsigned());
        StickyPartitioner { batch_size, state: AtomicU64::new(seed & !LOW_HALF) }
    }

    /// The partition, of `partitions` (1 or more), for the next record without a key. Can change with `partitions`.
    pub(crate) fn current(&self, partitions: i32) -> i32 {
        let draw = mix((self.state.load(Ordering::Relaxed) >> 32) as u32);
        // The high half of the product is uniform in 0..partitions, and needs no division.
        let product = u64::from(draw) * u64::from(partitions.max(1).cast_unsigned());
        ((product >> 32) as u32).cast_signed()
    }

    /// Counts `bytes` that went to the current partition and moves on if it has got enough. `batch_complete`: whether
    /// the last batch of that partition takes no more records.
    pub(crate) fn on_append(&self, bytes: usize, batch_complete: bool) {
        self.state.update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let got = (state & LOW_HALF).saturating_add(bytes as u64).min(LOW_HALF) as u32;
            if (self.batch_size <= got && batch_complete) || 2 * self.batch_size <= got {
                (state & !LOW_HALF).wrapping_add(u64::from(STEP) << 32)
            } else {
                (state & !LOW_HALF) | u64::from(got)
            }
        });
    }
}

/// The bits of [`StickyPartitioner::state`] that count bytes.
const LOW_HALF: u64 = u32::MAX as u64;

/// An odd number near 2^32 divided by the golden ratio: adding it visits all 2^32 values before one comes back.
const STEP: u32 = 0x9e37_79b9;

/// Makes neighbours in the sequence of steps look unrelated: the finalizer of MurmurHash3, which is a bijection.
fn mix(mut bits: u32) -> u32 {
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafka_puts_them() {
        let all_bytes: Vec<u8> = (0..=255).collect();
        // key, murmur2, masked, partition of 3, 10, 12, 50 (producer.md 4.1)
        let vectors: &[(&[u8], i32, i32, [i32; 4])] = &[
            (b"", 275646681, 275646681, [0, 1, 9, 31]),
            (b"a", -1563381124, 584102524, [1, 4, 4, 24]),
            (b"ab", 316155434, 316155434, [2, 4, 2, 34]),
            (b"abc", 479470107, 479470107, [0, 7, 3, 7]),
            (b"abcd", -1323649548, 823834100, [2, 0, 8, 0]),
            (b"abc\0", -319296546, 1828187102, [2, 2, 2, 2]),
            (b"21", -973932308, 1173551340, [0, 0, 0, 40]),
            (b"foobar", -790332482, 1357151166, [0, 6, 6, 16]),
            (b"a-little-bit-long-string", -985981536, 1161502112, [2, 2, 8, 12]),
            (b"a-little-bit-longer-string", -1486304829, 661178819, [2, 9, 11, 19]),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 2088585677, [2, 7, 5, 27]),
            (b"kafka", -798503068, 1348980580, [1, 0, 4, 30]),
            (b"user-1", 1404122828, 1404122828, [2, 8, 8, 28]),
            (b"user-2", -324981792, 1822501856, [2, 6, 8, 6]),
            (b"order-42", 501153024, 501153024, [0, 4, 0, 24]),
            ("카프카".as_bytes(), -1792248277, 355235371, [1, 1, 7, 21]),
            (&1_i32.to_be_bytes(), -173113808, 1974369840, [0, 0, 0, 40]),
            (&1_i64.to_be_bytes(), 2100486060, 2100486060, [0, 0, 0, 10]),
            (&[0xff; 4], 644171429, 644171429, [2, 9, 5, 29]),
            (&all_bytes, -1948347274, 199136374, [1, 4, 10, 24]),
        ];
        for &(key, hash, masked, partitions) in vectors {
            assert_eq!(murmur2(key), hash, "{key:?}");
            assert_eq!(murmur2(key) & i32::MAX, masked, "{key:?}");
            assert_eq!([3, 10, 12, 50].map(|count| partition_for_key(key, count)), partitions, "{key:?}");
        }
    }

    #[test]
    fn no_number_of_partitions_panics() {
        for partitions in [i32::MIN, -1, 0, 1] {
            assert_eq!(partition_for_key(b"key", partitions), 0);
            assert_eq!(StickyPartitioner::new(100).current(partitions), 0);
        }
        assert!(StickyPartitioner::with_seed(100, u64::MAX).current(i32::MAX) >= 0);
    }

    /// The number of moves so far.
    fn moves(sticky: &StickyPartitioner, seed: u64) -> u64 {
        let high_half = |state: u64| (state >> 32) as u32;
        let distance = high_half(sticky.state.load(Ordering::Relaxed)).wrapping_sub(high_half(seed));
        (0..1_000_000).find(|&count| STEP.wrapping_mul(count as u32) == distance).unwrap()
    }

    #[test]
    fn it_moves_on_after_batch_size_bytes_and_a_complete_batch() {
        let sticky = StickyPartitioner::with_seed(100, 7 << 32);
        sticky.on_append(99, true);
        assert_eq!(moves(&sticky, 7 << 32), 0, "too few bytes");
        sticky.on_append(1, false);
        assert_eq!(moves(&sticky, 7 << 32), 0, "the batch takes more");
        sticky.on_append(1, true);
        assert_eq!(moves(&sticky, 7 << 32), 1);
        sticky.on_append(99, true);
        assert_eq!(moves(&sticky, 7 << 32), 1, "counting began anew");
    }

    #[test]
    fn it_moves_on_at_twice_batch_size_in_any_case() {
        let sticky = StickyPartitioner::with_seed(100, 0);
        sticky.on_append(199, false);
        assert_eq!(moves(&sticky, 0), 0);
        sticky.on_append(1, false);
        assert_eq!(moves(&sticky, 0), 1);
    }

    #[test]
    fn sizes_at_the_ends_of_their_range_work() {
        let one_record_per_batch = StickyPartitioner::with_seed(0, 0);
        one_record_per_batch.on_append(1, true);
        assert_eq!(moves(&one_record_per_batch, 0), 1);
        let huge = StickyPartitioner::with_seed(usize::MAX, 0);
        huge.on_append(i32::MAX as usize - 1, true);
        assert_eq!(moves(&huge, 0), 0);
        huge.on_append(usize::MAX, false);
        assert_eq!(moves(&huge, 0), 1);
    }

    #[test]
    fn it_stays_until_it_moves_on() {
        let sticky = StickyPartitioner::new(1000);
        let partition = sticky.current(12);
        (0..9).for_each(|_| sticky.on_append(100, true));
        assert_eq!(sticky.current(12), partition);
    }

    #[test]
    fn all_partitions_get_the_same_whatever_the_seed() {
        const ROUNDS: i32 = 12_000;
        for seed in [0, 1 << 32, 0xdead_beef << 32, u64::MAX] {
            for partitions in [1, 2, 3, 10, 12, 50] {
                let sticky = StickyPartitioner::with_seed(1, seed);
                let mut got = vec![0; partitions as usize];
                let mut stayed = 0;
                let mut previous = -1;
                for _ in 0..ROUNDS {
                    let partition = sticky.current(partitions);
                    got[partition as usize] += 1;
                    stayed += i32::from(partition == previous);
                    previous = partition;
                    sticky.on_append(1, true);
                }
                let even = ROUNDS / partitions;
                let spread = even / 3;
                assert!(got.iter().all(|count| (even - spread..=even + spread).contains(count)), "{got:?}");
                // A move may end where it began, as often as chance has it.
                assert!((even - spread - 1..=even + spread).contains(&stayed), "{stayed} of {even}");
            }
        }
    }

    #[test]
    fn threads_lose_no_moves() {
        let sticky = StickyPartitioner::with_seed(10, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| sticky.on_append(10, true)));
            }
        });
        assert_eq!(moves(&sticky, 0), 4000);
    }
}
