//! One partition after the other.

use std::collections::HashMap;

use super::{Partitioner, ProducerRecord};
use crate::sync::{AtomicU32, Ordering, RwLock};

/// Kafka's `RoundRobinPartitioner`: the records of a topic go to its partitions in turn, whatever their keys are.
///
/// Every partition gets the same number of records. Batches fill more slowly than with the built-in rule, which stays with
/// a partition until it has got a batch.
///
/// ```
/// use thalweg::{ProducerConfig, RoundRobinPartitioner};
///
/// let config = ProducerConfig::new().partitioner(RoundRobinPartitioner::new());
/// let same = ProducerConfig::from_properties([("partitioner.class", "RoundRobinPartitioner")])?;
/// # Ok::<(), thalweg::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct RoundRobinPartitioner {
    /// Records that each topic has got, modulo 2^32. The lock is written to once for each topic.
    counts: RwLock<HashMap<Box<str>, AtomicU32>>,
}

impl RoundRobinPartitioner {
    /// Begins with partition 0 of each topic.
    pub fn new() -> Self {
        RoundRobinPartitioner::default()
    }

    fn next(&self, topic: &str) -> u32 {
        // Relaxed: the count is all that threads share.
        let step = |count: &AtomicU32| count.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.counts.read().get(topic) {
            return step(count);
        }
        step(self.counts.write().entry(topic.into()).or_default())
    }
}

/// Rule: RoundRobinPartitioner.partition, whose count is masked as hashes are, so that it never is negative.
impl Partitioner for RoundRobinPartitioner {
    fn partition(&self, record: &ProducerRecord<'_>, partitions: i32) -> i32 {
        (self.next(record.get_topic()).cast_signed() & i32::MAX) % partitions.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_take_turns_in_each_topic_of_its_own() {
        let partitioner = RoundRobinPartitioner::new();
        let next = |topic| partitioner.partition(&ProducerRecord::new(topic, "v").key("same"), 3);
        assert_eq!([next("a"), next("a"), next("b"), next("a"), next("a"), next("b")], [0, 1, 0, 2, 0, 1]);
    }

    #[test]
    fn a_count_that_overflows_stays_in_range() {
        let partitioner = RoundRobinPartitioner::new();
        let record = ProducerRecord::new("t", "v");
        for (count, expected) in [(i32::MAX as u32, i32::MAX % 10), (1 << 31, 0), (u32::MAX, i32::MAX % 10), (0, 0)] {
            partitioner.counts.write().insert("t".into(), AtomicU32::new(count));
            assert_eq!(partitioner.partition(&record, 10), expected, "{count}");
        }
        assert_eq!(partitioner.partition(&record, 0), 0);
    }

    #[test]
    fn threads_share_the_turns() {
        let partitioner = RoundRobinPartitioner::new();
        let record = ProducerRecord::new("t", "v");
        let counts = [const { AtomicU32::new(0) }; 4];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counts[partitioner.partition(&record, 4) as usize].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.map(AtomicU32::into_inner), [1000; 4]);
    }
}
