//! The two indexes of a segment, and the rule by which batches get entries in them.

use super::offset_index::OffsetIndex;
use super::time_index::TimeIndex;
use crate::record::BatchHeader;
use crate::types::{FilePos, NO_TIMESTAMP, Offset, Timestamp};

/// The offset index and the time index of one segment.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
}

/// What the writer of a segment remembers between two batches, to know when an index entry is due.
#[derive(Debug)]
pub(crate) struct Indexer {
    /// `index.interval.bytes`.
    interval: u32,
    /// Bytes since the beginning of the last batch that got an entry, or of the file.
    bytes_since: u64,
    /// Largest timestamp of the segment so far, and the last offset (minus base) of the first batch that carried it.
    largest: (Timestamp, u32),
}

impl Indexer {
    /// For an empty segment.
    pub(crate) fn new(interval: u32) -> Self {
        Indexer { interval, bytes_since: 0, largest: (NO_TIMESTAMP, 0) }
    }

    /// For a segment with `len` bytes that has `indexes`.
    pub(crate) fn resume(interval: u32, indexes: &Indexes, len: FilePos) -> Self {
        let last_indexed = indexes.offsets.last().map_or(0, |entry| entry.file_pos);
        Indexer {
            interval,
            bytes_since: u64::from(len.saturating_sub(last_indexed)),
            largest: indexes.times.last().unwrap_or((NO_TIMESTAMP, 0)),
        }
    }

    /// Takes note of a batch that was appended at `file_pos` to a segment at `base`, and makes its entries.
    ///
    /// Rule: log.md 4 and 5, `LogSegment.append`: an entry when more than the interval has gone by **before** this
    /// batch, so the first batch never has one.
    pub(crate) fn note(&mut self, base: Offset, file_pos: FilePos, batch: &BatchHeader, indexes: &Indexes) {
        let relative = relative_last_offset(base, batch);
        self.note_time(base, batch);
        if self.bytes_since > u64::from(self.interval) {
            // The time first: who reads both looks at the offsets first, and must not find a time that is older.
            self.note_end(indexes);
            indexes.offsets.push(relative, file_pos);
            self.bytes_since = 0;
        }
        self.bytes_since += batch.size() as u64;
    }

    /// Takes note of a batch's largest timestamp.
    pub(super) fn note_time(&mut self, base: Offset, batch: &BatchHeader) {
        if batch.max_timestamp() > self.largest.0 {
            self.largest = (batch.max_timestamp(), relative_last_offset(base, batch));
        }
    }

    /// The largest timestamp so far, if there is one, and the last offset (minus base) of the first batch that carried it.
    pub(super) fn largest(&self) -> Option<(Timestamp, u32)> {
        Some(self.largest).filter(|(timestamp, _)| NO_TIMESTAMP < *timestamp)
    }

    /// Makes the time index entry that a sealed segment ends with, unless it is there.
    pub(crate) fn note_end(&self, indexes: &Indexes) {
        if self.largest.0 > NO_TIMESTAMP {
            indexes.times.push(self.largest.0, self.largest.1);
        }
    }
}

/// The last offset of `batch` minus the segment's base, which the roll rule keeps within `i32`.
fn relative_last_offset(base: Offset, batch: &BatchHeader) -> u32 {
    (batch.last_offset() - base) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Batch, BatchBuilder, Compression, assign};

    /// Appends batches of equal size with these timestamps and returns the indexes.
    fn index_batches(interval: u32, timestamps: &[Timestamp]) -> (Indexes, FilePos) {
        let (indexes, mut indexer, mut file_pos) = (Indexes::default(), Indexer::new(interval), 0);
        let mut builder = BatchBuilder::new();
        let mut size = 0;
        for (offset, timestamp) in timestamps.iter().enumerate() {
            builder.clear();
            builder.push(*timestamp, None, Some(&[0; 39]), std::iter::empty());
            let bytes = builder.finish(Compression::None, None).unwrap();
            assign(bytes, offset as Offset, 0);
            let batch = Batch::first(bytes).unwrap().unwrap();
            size = batch.size() as FilePos;
            indexer.note(0, file_pos, &batch, &indexes);
            file_pos += size;
        }
        indexer.note_end(&indexes);
        (indexes, size)
    }

    #[test]
    fn first_batch_gets_no_entry_and_interval_0_indexes_all_others() {
        let (indexes, size) = index_batches(0, &[10, 20, 30]);
        assert_eq!(indexes.offsets.to_bytes().len(), 2 * 8);
        let position_of = |offset| indexes.offsets.lookup(offset).0.map(|entry| entry.file_pos);
        assert_eq!((position_of(0), position_of(1)), (None, Some(size)));
    }

    #[test]
    fn the_interval_is_exceeded_strictly() {
        let (_, size) = index_batches(0, &[1]);
        let (exactly, _) = index_batches(size, &[1, 2, 3]);
        assert_eq!(
            exactly.offsets.last().map(|entry| entry.relative_offset),
            Some(2),
            "after two batches the distance exceeds one"
        );
        let (below, _) = index_batches(size - 1, &[1, 2, 3]);
        assert_eq!(below.offsets.to_bytes().len(), 2 * 8);
    }

    #[test]
    fn time_entries_carry_the_running_maximum_and_the_end_is_forced() {
        let (indexes, _) = index_batches(0, &[10, 30, 20, 25]);
        assert_eq!(indexes.times.last(), Some((30, 1)));
        let (one, _) = index_batches(1 << 20, &[10, 30, 20]);
        assert_eq!((one.offsets.last(), one.times.last()), (None, Some((30, 1))));
    }

    #[test]
    fn records_without_timestamp_leave_the_time_index_empty() {
        let (indexes, _) = index_batches(0, &[NO_TIMESTAMP, NO_TIMESTAMP]);
        assert_eq!(indexes.times.last(), None);
    }
}
