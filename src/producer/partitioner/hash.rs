//! Where Kafka puts the records of a key.
//!
//! The hash is a fact about data on disk and about every other producer of the same topic; it never changes.

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
        }
    }
}
