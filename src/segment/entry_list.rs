//! A list that one writer appends to while readers search it without a lock.

use crate::sync::{AtomicU64, AtomicUsize, OnceLock, Ordering};

/// Slots of the first chunk; chunk `k` has this many times 2^k. 2^31 entries fit, more than a segment can hold.
const FIRST_CHUNK: usize = 256;
const CHUNKS: usize = 24;

/// An append-only list of `u64`. Memory comes in chunks that double and never move, so a reader needs no lock and an
/// append copies nothing.
#[derive(Debug, Default)]
pub(super) struct EntryList {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
    /// Entries that may be read. Stored by the writer with release after the entry, loaded by readers with acquire; a
    /// stale value only hides the newest entries, and a search then starts further back.
    len: AtomicUsize,
}

impl EntryList {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Entry number `at`, counted from 0.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<u64> {
        if at >= self.len() {
            return None;
        }
        let (chunk, slot) = locate(at);
        let chunk = self.chunks.get(chunk)?.get()?;
        Some(chunk.get(slot)?.load(Ordering::Relaxed))
    }

    /// Appends an entry; there is one writer at a time. A full list drops it: an index may be sparse.
    pub(super) fn push(&self, entry: u64) {
        let at = self.len.load(Ordering::Relaxed);
        let (chunk, slot) = locate(at);
        let Some(chunk) = self.chunks.get(chunk) else { return };
        let chunk = chunk.get_or_init(|| (0..chunk_len(at)).map(|_| AtomicU64::new(0)).collect());
        if let Some(slot) = chunk.get(slot) {
            slot.store(entry, Ordering::Relaxed);
            self.len.store(at + 1, Ordering::Release);
        }
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).map_while(|at| self.get(at))
    }

    /// Number of leading entries for which `before` holds, found by binary search in `low..high`.
    #[inline]
    pub(super) fn partition_point(&self, mut low: usize, mut high: usize, before: impl Fn(u64) -> bool) -> usize {
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(entry) if before(entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

/// Chunk and slot of entry `at`: chunk `k` begins at entry `FIRST_CHUNK * (2^k - 1)`.
#[inline]
fn locate(at: usize) -> (usize, usize) {
    let chunk = (at / FIRST_CHUNK + 1).ilog2() as usize;
    (chunk, at - FIRST_CHUNK * ((1 << chunk) - 1))
}

fn chunk_len(at: usize) -> usize {
    FIRST_CHUNK << locate(at).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_order() {
        let list = EntryList::default();
        for at in 0..10_000 {
            assert_eq!(list.get(at as usize), None);
            list.push(at * 3);
        }
        assert!(list.iter().eq((0..10_000).map(|at| at * 3)));
    }

    #[test]
    fn chunks_follow_each_other_without_a_hole() {
        let mut expected = (0, 0);
        for at in 0..100_000 {
            assert_eq!(locate(at), expected, "{at}");
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn partition_point_is_that_of_a_slice() {
        let list = EntryList::default();
        let twin: Vec<u64> = (0..1000).map(|at| at * 2).collect();
        twin.iter().for_each(|entry| list.push(*entry));
        for target in 0..2100 {
            let found = list.partition_point(0, list.len(), |entry| entry < target);
            assert_eq!(found, twin.partition_point(|entry| *entry < target));
        }
    }

    #[test]
    fn readers_see_only_finished_entries() {
        let list = EntryList::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..200_000).for_each(|at| list.push(at + 1)));
            scope.spawn(|| {
                while list.len() < 200_000 {
                    let len = list.len();
                    if len > 0 {
                        assert_eq!(list.get(len - 1), Some(len as u64));
                    }
                }
            });
        });
    }
}
