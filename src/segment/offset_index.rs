//! The offset index: where in the `.log` file an offset is to be looked for.

use super::entry_list::EntryList;
use crate::types::FilePos;

/// Bytes of an entry in the file (log.md 4, `OffsetIndex`).
pub(super) const ENTRY_LEN: usize = 8;

/// Entries searched first: readers near the end touch the same few pages whatever the index has grown to (log.md 6,
/// `AbstractIndex`: 8192 bytes).
const WARM_ENTRIES: usize = 8192 / ENTRY_LEN;

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// Last offset of a batch, minus the segment's base.
    pub(super) relative_offset: u32,
    /// Position of its first byte.
    pub(super) file_pos: FilePos,
}

/// Sparse entries (last offset of a batch minus base, position of its first byte), both strictly increasing.
///
/// In memory an entry is one word, offset above position, so that it is read and written whole.
#[derive(Debug, Default)]
pub(super) struct OffsetIndex {
    entries: EntryList,
}

impl OffsetIndex {
    /// Appends an entry. One that does not increase is left out: an index may be sparse but not wrong.
    pub(super) fn push(&self, relative_offset: u32, file_pos: FilePos) {
        let last = self.entries.len().checked_sub(1).and_then(|at| self.entries.get(at));
        if last.is_none_or(|last| offset_of(last) < relative_offset && file_pos_of(last) < file_pos) {
            self.entries.push(u64::from(relative_offset) << 32 | u64::from(file_pos));
        }
    }

    /// The entry to walk on from when looking for `relative_offset`, which is the largest one not above it, and the next
    /// one.
    pub(super) fn lookup(&self, relative_offset: u32) -> (Option<IndexEntry>, Option<IndexEntry>) {
        let at_or_below = |entry| offset_of(entry) <= relative_offset;
        let len = self.entries.len();
        let warm = len.saturating_sub(1 + WARM_ENTRIES);
        let found = match self.entries.get(warm) {
            Some(entry) if offset_of(entry) < relative_offset => self.entries.partition_point(warm, len, at_or_below),
            _ => self.entries.partition_point(0, len.min(warm + 1), at_or_below),
        };
        (self.before(found), self.before(found + 1))
    }

    /// The last entry whose batch begins at or before `file_pos`.
    pub(super) fn entry_before(&self, file_pos: FilePos) -> Option<IndexEntry> {
        self.before(self.entries.partition_point(0, self.entries.len(), |entry| file_pos_of(entry) <= file_pos))
    }

    /// The first entry whose batch begins at or behind `file_pos`.
    pub(super) fn entry_from(&self, file_pos: FilePos) -> Option<IndexEntry> {
        let before = self.entries.partition_point(0, self.entries.len(), |entry| file_pos_of(entry) < file_pos);
        let entry = self.entries.get(before)?;
        Some(IndexEntry { relative_offset: offset_of(entry), file_pos: file_pos_of(entry) })
    }

    /// The last entry.
    pub(super) fn last(&self) -> Option<IndexEntry> {
        self.before(self.entries.len())
    }

    fn before(&self, at: usize) -> Option<IndexEntry> {
        let entry = self.entries.get(at.checked_sub(1)?)?;
        Some(IndexEntry { relative_offset: offset_of(entry), file_pos: file_pos_of(entry) })
    }

    /// The content of the index file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.entries.iter().flat_map(u64::to_be_bytes).collect()
    }

    /// Reads the content of an index file of a `.log` file of `log_len` bytes. `None` if it cannot be right; whether
    /// the last entry fits the log is for the caller to see, who has the log.
    pub(super) fn from_bytes(bytes: &[u8], log_len: FilePos) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<ENTRY_LEN>() else { return None };
        let index = OffsetIndex::default();
        for entry in entries {
            let entry = u64::from_be_bytes(*entry);
            if offset_of(entry) > i32::MAX as u32 || file_pos_of(entry) >= log_len {
                return None;
            }
            let len = index.entries.len();
            index.push(offset_of(entry), file_pos_of(entry));
            if index.entries.len() == len {
                return None; // does not increase
            }
        }
        Some(index)
    }
}

fn offset_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

fn file_pos_of(entry: u64) -> FilePos {
    entry as FilePos
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(entries: &[(u32, FilePos)]) -> OffsetIndex {
        let index = OffsetIndex::default();
        entries.iter().for_each(|(offset, file_pos)| index.push(*offset, *file_pos));
        index
    }

    /// The naive twin of `lookup`.
    fn lookup_by_walking(entries: &[(u32, FilePos)], target: u32) -> Option<FilePos> {
        entries.iter().rev().find(|(offset, _)| *offset <= target).map(|(_, file_pos)| *file_pos)
    }

    #[test]
    fn lookup_finds_the_largest_entry_not_above() {
        for count in [0, 1, 2, 1023, 1024, 1025, 1026, 5000] {
            let entries: Vec<_> = (0..count).map(|at| (at * 10 + 9, at * 4096 + 100)).collect();
            let index = index_of(&entries);
            for target in (0..count * 10 + 30).step_by(if count > 1000 { 7 } else { 1 }) {
                let (below, above) = index.lookup(target);
                let (found, next) = (below.map(|entry| entry.file_pos), above.map(|entry| entry.file_pos));
                assert_eq!(found, lookup_by_walking(&entries, target), "{count} entries, {target}");
                let above = entries.iter().find(|(offset, _)| target < *offset).map(|(_, file_pos)| *file_pos);
                assert_eq!(next, above, "{count} entries, above {target}");
            }
        }
    }

    #[test]
    fn entry_before_finds_the_last_batch_begin() {
        let index = index_of(&[(9, 100), (19, 5000), (29, 9000)]);
        let found = |pos| index.entry_before(pos).map_or(0, |entry| entry.file_pos);
        assert_eq!([0, 99, 100, 4999, 5000, 8999, 9000, 20_000].map(found), [0, 0, 100, 100, 5000, 5000, 9000, 9000]);
    }

    #[test]
    fn files_round_trip_in_kafkas_bytes() {
        let index = index_of(&[(9, 100), (19, 5000)]);
        let bytes = index.to_bytes();
        assert_eq!(bytes, [0, 0, 0, 9, 0, 0, 0, 100, 0, 0, 0, 19, 0, 0, 0x13, 0x88]);
        assert_eq!(
            OffsetIndex::from_bytes(&bytes, 6000).unwrap().last(),
            Some(IndexEntry { relative_offset: 19, file_pos: 5000 })
        );
    }

    #[test]
    fn files_that_cannot_be_right_are_refused() {
        let good = index_of(&[(9, 100), (19, 5000)]).to_bytes();
        assert!(OffsetIndex::from_bytes(&good[..15], 6000).is_none(), "not a whole number of entries");
        assert!(OffsetIndex::from_bytes(&good, 5000).is_none(), "position behind the log");
        assert!(OffsetIndex::from_bytes(&[good.clone(), vec![0; 8]].concat(), 6000).is_none(), "zero tail");
        let swapped = [&good[8..], &good[..8]].concat();
        assert!(OffsetIndex::from_bytes(&swapped, 6000).is_none(), "out of order");
        assert!(OffsetIndex::from_bytes(&[0xff; 8], 6000).is_none(), "negative");
    }
}
