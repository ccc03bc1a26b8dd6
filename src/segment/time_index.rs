//! The time index: from which offset on larger timestamps can be found.

use super::entry_list::EntryList;
use crate::types::Timestamp;

/// Entries searched first (log.md 6, `AbstractIndex`: 8192 bytes).
const WARM_ENTRIES: usize = 8192 / 12;

/// Entries (timestamp, offset minus base): among all batches up to the moment the entry was made, `timestamp` is the
/// largest, and the offset is the last one of the first batch that carried it (log.md 5, `TimeIndex`). Timestamps
/// strictly increase.
#[derive(Debug, Default)]
pub(super) struct TimeIndex {
    timestamps: EntryList,
    offsets: EntryList,
}

impl TimeIndex {
    /// Appends an entry, unless its timestamp is not larger than the last one's.
    pub(super) fn push(&self, timestamp: Timestamp, relative_offset: u32) {
        if self.last().is_none_or(|(last, _)| last < timestamp) {
            self.timestamps.push(timestamp as u64);
            self.offsets.push(u64::from(relative_offset));
        }
    }

    /// The largest entry not above `timestamp`. Batches that end before its offset have smaller timestamps only.
    pub(super) fn lookup(&self, timestamp: Timestamp) -> Option<(Timestamp, u32)> {
        let below = |entry: u64| entry as Timestamp <= timestamp;
        let len = self.offsets.len();
        let warm = len.saturating_sub(1 + WARM_ENTRIES);
        let found = match self.timestamps.get(warm) {
            Some(entry) if below(entry) => self.timestamps.partition_point(warm, len, below),
            _ => self.timestamps.partition_point(0, len.min(warm + 1), below),
        };
        self.entry(found.checked_sub(1)?)
    }

    /// The last entry: the largest timestamp of the segment, and the offset minus base that goes with it.
    pub(super) fn last(&self) -> Option<(Timestamp, u32)> {
        self.entry(self.offsets.len().checked_sub(1)?)
    }

    fn entry(&self, at: usize) -> Option<(Timestamp, u32)> {
        Some((self.timestamps.get(at)? as Timestamp, self.offsets.get(at)? as u32))
    }

    /// The content of the index file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.offsets.len() * 12);
        for (timestamp, offset) in self.timestamps.iter().zip(self.offsets.iter()) {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&(offset as u32).to_be_bytes());
        }
        bytes
    }

    /// Reads the content of an index file; `None` if it cannot be right.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<12>() else { return None };
        let index = TimeIndex::default();
        for entry in entries {
            let timestamp = i64::from_be_bytes(*entry.first_chunk()?);
            let offset = u32::from_be_bytes(*entry.last_chunk()?);
            if offset > i32::MAX as u32 || index.last().is_some_and(|last| timestamp <= last.0 || offset < last.1) {
                return None;
            }
            index.push(timestamp, offset);
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_and_smaller_timestamps_are_left_out() {
        let index = TimeIndex::default();
        for (timestamp, offset) in [(5, 1), (5, 2), (4, 3), (6, 4)] {
            index.push(timestamp, offset);
        }
        assert_eq!(index.to_bytes().len(), 24);
        assert_eq!(index.last(), Some((6, 4)));
    }

    #[test]
    fn lookup_finds_the_largest_entry_not_above() {
        for count in [0, 1, 2, 682, 683, 684, 2000u32] {
            let index = TimeIndex::default();
            let entries: Vec<_> = (0..count).map(|at| (i64::from(at) * 10, at * 3)).collect();
            entries.iter().for_each(|(timestamp, offset)| index.push(*timestamp, *offset));
            for target in (-5..i64::from(count) * 10 + 20).step_by(3) {
                let expected = entries.iter().rev().find(|(timestamp, _)| *timestamp <= target);
                assert_eq!(index.lookup(target), expected.copied(), "{count} entries, {target}");
            }
        }
    }

    #[test]
    fn files_round_trip_in_kafkas_bytes() {
        let index = TimeIndex::default();
        index.push(1_700_000_000_000, 1);
        index.push(1_700_000_000_005, 7);
        let bytes = index.to_bytes();
        assert_eq!(bytes[..12], [0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 0, 1]);
        assert_eq!(TimeIndex::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        assert!(TimeIndex::from_bytes(&bytes[..23]).is_none());
        assert!(TimeIndex::from_bytes(&[&bytes[12..], &bytes[..12]].concat()).is_none());
    }
}
