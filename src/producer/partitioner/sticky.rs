//! The partition of records without a key.

use std::hash::{BuildHasher, RandomState};

use crate::sync::{AtomicU64, Ordering};

/// The partition that records without a key go to for now; one per producer and topic.
///
/// The rule: move on, to a partition chosen at random (the present one can be chosen again), when the present one has got
/// `batch.size` bytes and the last of its batches is complete; at twice `batch.size`, move on anyway. Waiting for the batch
/// to be complete avoids leaving a fraction of one behind. All partitions have the same chance if the same number of bytes
/// waits to be written to each; otherwise the chance is `largest number + 1 - own number`, so that a partition that is
/// behind gets less.
///
/// Rule: producer.md 4.2, BuiltInPartitioner.updatePartitionInfo and nextPartition.
#[derive(Debug)]
pub(crate) struct StickyPartitioner {
    /// `batch.size` in bytes, 1 ..= `i32::MAX`.
    batch_size: u32,
    /// High half: the partition, or [`NOT_CHOSEN`]. Low half: bytes that it has got.
    ///
    /// Written by [`on_append`](Self::on_append), and by [`current`](Self::current) if the partition is none; all relaxed:
    /// nothing else is published through it. A thread that reads a stale value sends one more record to the previous
    /// partition, and its bytes count for the new one, which is then left that much earlier. Both are harmless: any
    /// partition is a right one.
    state: AtomicU64,
    /// Where the random numbers are: a counter in steps of [`STEP`], relaxed, because each of its values is used once.
    draws: AtomicU64,
}

/// In place of a partition: there are fewer.
const NOT_CHOSEN: u32 = u32::MAX;

impl StickyPartitioner {
    /// Starts at a random partition. A `batch_size` of 0 bytes, which means one record per batch, counts as 1.
    pub(crate) fn new(batch_size: usize) -> Self {
        // RandomState is the standard library's only source of randomness; nobody has to guess these numbers.
        StickyPartitioner::with_seed(batch_size, RandomState::new().hash_one(0))
    }

    fn with_seed(batch_size: usize, seed: u64) -> Self {
        // Half of u32, so that twice `batch_size` still fits into the low half of `state`.
        let batch_size = u32::try_from(batch_size).unwrap_or(u32::MAX).clamp(1, i32::MAX.cast_unsigned());
        StickyPartitioner { batch_size, state: AtomicU64::new(pack(NOT_CHOSEN, 0)), draws: AtomicU64::new(seed) }
    }

    /// The partition, of `partitions` (1 or more), for the next record without a key. Stays until
    /// [`on_append`](Self::on_append) moves on, unless there is no such partition any more.
    pub(crate) fn current(&self, partitions: i32) -> i32 {
        let state = self.state.load(Ordering::Relaxed);
        let (partition, _) = unpack(state);
        if partition < count(partitions) { partition.cast_signed() } else { self.choose_anew(state, partitions) }
    }

    /// Replaces a choice that is none of `partitions`. Nothing is known of queues here: all have the same chance.
    #[cold]
    fn choose_anew(&self, seen: u64, partitions: i32) -> i32 {
        let chosen = pack(self.random(u64::from(count(partitions))) as u32, 0);
        let settled = match self.state.compare_exchange(seen, chosen, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => chosen,
            Err(other) => other, // another thread was faster
        };
        unpack(settled).0.min(count(partitions) - 1).cast_signed()
    }

    /// Counts `bytes` that went to the current partition and moves on, to one of `partitions`, if it has got enough.
    /// `batch_complete`: whether the last batch of that partition takes no more records. `queues`: bytes that wait to be
    /// written to a partition; asked only for a move, some times for each partition. `|_| 0` gives all the same chance.
    pub(crate) fn on_append(&self, bytes: usize, batch_complete: bool, partitions: i32, queues: impl Fn(usize) -> u64) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (partition, got) = unpack(state);
            let got = u32::try_from(bytes).map_or(u32::MAX, |bytes| got.saturating_add(bytes));
            let moves_on = (self.batch_size <= got && batch_complete) || 2 * self.batch_size <= got;
            let next = if moves_on { pack(self.draw(partitions, &queues), 0) } else { pack(partition, got) };
            match self.state.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => state = other,
            }
        }
    }

    fn draw(&self, partitions: i32, queues: impl Fn(usize) -> u64) -> u32 {
        pick(count(partitions), queues, |total| self.random(total))
    }

    /// A random number below `total`, each with the same chance.
    fn random(&self, total: u64) -> u64 {
        let random = mix(self.draws.fetch_add(STEP, Ordering::Relaxed));
        // The high half of the product is uniform in 0..total, and needs no division.
        ((u128::from(random) * u128::from(total)) >> 64) as u64
    }
}

/// The partition, of `partitions` (1 or more), for the number that `random` gives below the sum of all weights: the first
/// one at which the sum of the weights so far is larger.
///
/// Rule: BuiltInPartitioner.updatePartitionLoadStats, without its table: partitions are few and moves are rare.
fn pick(partitions: u32, queues: impl Fn(usize) -> u64, random: impl FnOnce(u64) -> u64) -> u32 {
    // Below 2^31 partitions of at most 2^32 each: the sum fits.
    let queue = |partition: u32| queues(partition as usize).min(u64::from(u32::MAX) - 1);
    let (least, most) =
        (0..partitions).map(queue).fold((u64::MAX, 0), |(least, most), own| (least.min(own), most.max(own)));
    if least == most {
        return random(u64::from(partitions)) as u32;
    }
    // A queue that grew since we looked counts as the longest.
    let weight = |partition: u32| (most + 1).saturating_sub(queue(partition)).max(1);
    let mut left = random((0..partitions).map(weight).sum());
    for partition in 0..partitions {
        match left.checked_sub(weight(partition)) {
            Some(rest) => left = rest,
            None => return partition,
        }
    }
    partitions - 1 // queues grew since their weights were added up
}

/// A number of partitions, 1 or more.
fn count(partitions: i32) -> u32 {
    partitions.max(1).cast_unsigned()
}

fn pack(partition: u32, bytes: u32) -> u64 {
    u64::from(partition) << 32 | u64::from(bytes)
}

fn unpack(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

/// An odd number near 2^64 divided by the golden ratio: adding it visits all 2^64 values before one comes back.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes neighbours in the sequence of steps look unrelated: the finalizer of SplitMix64, which is a bijection.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(_: usize) -> u64 {
        0
    }

    /// Number of draws so far.
    fn draws(sticky: &StickyPartitioner, seed: u64) -> u64 {
        let distance = sticky.draws.load(Ordering::Relaxed).wrapping_sub(seed);
        (0..1_000_000).find(|count| STEP.wrapping_mul(*count) == distance).unwrap()
    }

    #[test]
    fn queues_are_weighed_as_in_the_example_of_the_specification() {
        let queues = [0, 3, 1];
        let picked = |number| {
            pick(
                3,
                |partition| queues[partition],
                |total| {
                    assert_eq!(total, 8, "cumulative 4 5 8");
                    number
                },
            )
        };
        assert_eq!((0..8).map(picked).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 2, 2, 2]);
    }

    #[test]
    fn equal_queues_have_equal_chances() {
        for length in [0, 1, 1_000_000, u64::MAX] {
            let picked = |number| {
                pick(
                    4,
                    |_| length,
                    |total| {
                        assert_eq!(total, 4);
                        number
                    },
                )
            };
            assert_eq!((0..4).map(picked).collect::<Vec<_>>(), [0, 1, 2, 3]);
        }
    }

    #[test]
    fn queues_of_any_length_that_change_meanwhile_give_a_partition() {
        use std::cell::Cell;
        let sticky = StickyPartitioner::with_seed(1, 0);
        for partitions in [1, 2, 5] {
            let calls = Cell::new(0_u64);
            for _ in 0..1000 {
                // Another length at each look.
                let unsteady = |_| {
                    calls.set(calls.get() + 1);
                    mix(calls.get()) >> (calls.get() % 64)
                };
                assert!(sticky.draw(partitions, unsteady) < partitions.cast_unsigned());
            }
            assert_eq!(pick(2, |partition| [0, u64::MAX][partition], |total| total - 1), 1);
            assert_eq!(pick(2, |partition| [0, u64::MAX][partition], |total| total - 2), 0);
        }
    }

    #[test]
    fn partitions_that_are_behind_get_less() {
        let sticky = StickyPartitioner::with_seed(1, 42);
        let queues = [0, 3, 1];
        let mut got = [0; 3];
        for _ in 0..8000 {
            sticky.on_append(1, true, 3, |partition| queues[partition]);
            got[sticky.current(3) as usize] += 1;
        }
        for (got, weight) in got.into_iter().zip([4, 1, 3]) {
            let expected = 1000 * weight;
            assert!((expected - 150..=expected + 150).contains(&got), "{got} of {expected}");
        }
    }

    #[test]
    fn it_moves_on_after_batch_size_bytes_and_a_complete_batch() {
        let sticky = StickyPartitioner::with_seed(100, 7);
        sticky.current(12);
        let moves = || draws(&sticky, 7) - 1;
        sticky.on_append(99, true, 12, even);
        assert_eq!(moves(), 0, "too few bytes");
        sticky.on_append(1, false, 12, even);
        assert_eq!(moves(), 0, "the batch takes more");
        sticky.on_append(1, true, 12, even);
        assert_eq!(moves(), 1);
        sticky.on_append(99, true, 12, even);
        assert_eq!(moves(), 1, "counting began anew");
    }

    #[test]
    fn it_moves_on_at_twice_batch_size_in_any_case() {
        let sticky = StickyPartitioner::with_seed(100, 0);
        sticky.on_append(199, false, 12, even);
        assert_eq!(draws(&sticky, 0), 0);
        sticky.on_append(1, false, 12, even);
        assert_eq!(draws(&sticky, 0), 1);
    }

    #[test]
    fn sizes_at_the_ends_of_their_range_work() {
        let one_record_per_batch = StickyPartitioner::with_seed(0, 0);
        one_record_per_batch.on_append(1, true, 2, even);
        assert_eq!(draws(&one_record_per_batch, 0), 1);
        let huge = StickyPartitioner::with_seed(usize::MAX, 0);
        huge.on_append(i32::MAX as usize - 1, true, 2, even);
        assert_eq!(draws(&huge, 0), 0);
        huge.on_append(usize::MAX, false, 2, even);
        assert_eq!(draws(&huge, 0), 1);
    }

    #[test]
    fn it_stays_until_it_moves_on_and_asks_for_queues_only_then() {
        let sticky = StickyPartitioner::new(1000);
        let partition = sticky.current(12);
        let unasked = |_| panic!("no move, no question");
        (0..9).for_each(|_| sticky.on_append(100, true, 12, unasked));
        assert_eq!(sticky.current(12), partition);
        assert_eq!(sticky.current(partition + 1), partition, "it is still there");
        assert_eq!(sticky.current(1000), partition, "more partitions change nothing before the next move");
    }

    #[test]
    fn a_partition_that_is_not_there_is_replaced() {
        let sticky = StickyPartitioner::with_seed(100, 3);
        sticky.on_append(1000, true, 100, |partition| u64::from(partition != 77) * 1_000_000_000);
        assert_eq!(sticky.current(100), 77);
        let fewer = sticky.current(77);
        assert!((0..77).contains(&fewer));
        assert_eq!(sticky.current(77), fewer, "the new choice is kept");
        for partitions in [i32::MIN, -1, 0, 1] {
            assert_eq!(sticky.current(partitions), 0);
            sticky.on_append(1000, true, partitions, even);
        }
        assert!((0..i32::MAX).contains(&StickyPartitioner::with_seed(1, u64::MAX).current(i32::MAX)));
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
                    sticky.on_append(1, true, partitions, even);
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
    fn producers_begin_at_different_partitions() {
        let first: Vec<_> = (0..64).map(|_| StickyPartitioner::new(1).current(1000)).collect();
        assert!(first.iter().any(|partition| *partition != first[0]), "{first:?}");
    }

    #[test]
    fn threads_lose_no_bytes() {
        let sticky = StickyPartitioner::with_seed(i32::MAX as usize, 0);
        sticky.current(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| sticky.on_append(10, true, 3, even)));
            }
        });
        assert_eq!(unpack(sticky.state.load(Ordering::Relaxed)).1, 40_000);
        assert_eq!(draws(&sticky, 0), 1);
    }
}
