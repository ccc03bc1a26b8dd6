//! What a segment holds, for those who read it.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::indexes::{Indexer, Indexes};
use super::names::SegmentFile;
use super::offset_index::{IndexEntry, OffsetIndex};
use super::segment::{End, SegmentPlace};
use super::time_index::TimeIndex;
use crate::record::{Batch, Malformed};
use crate::sync::{Arc, OnceLock};
use crate::sys::{Mapping, OpenMode};
use crate::types::{FilePos, Offset, Timestamp};

/// The mapped bytes of a segment and its indexes. Made when somebody wants to read, given up when others are wanted
/// more, and held by every slice of it that a reader keeps.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    place: SegmentPlace,
    mapping: Arc<Mapping>,
    /// End of the segment when this was made. Nothing was appended since, unless the indexes were there before.
    end: End,
    /// Loaded on the first look-up, unless the segment is written to.
    indexes: OnceLock<Indexes>,
    _counted: Arc<Readers>,
}

/// Shared by all readers of a segment, of which there can be several where one was given up while slices of it were held:
/// it is there as long as one of them is.
#[derive(Debug)]
pub(crate) struct Readers;

/// What does not hold in a `.log` file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamageAt {
    /// Where the batch begins that is not one.
    pub(crate) file_pos: FilePos,
    /// What is wrong with it.
    pub(crate) malformed: Malformed,
}

impl SegmentReader {
    /// A reader of `mapping`, which shows the `.log` file in `place` up to `end` at least.
    pub(super) fn new(
        place: SegmentPlace,
        readers: Arc<Readers>,
        mapping: Arc<Mapping>,
        end: End,
        indexes: Option<Indexes>,
    ) -> Self {
        let indexes = indexes.map(OnceLock::from).unwrap_or_default();
        SegmentReader { place, mapping, end, indexes, _counted: readers }
    }

    fn base(&self) -> Offset {
        self.place.base
    }

    /// Path of the `.log` file.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path(SegmentFile::Log)
    }

    /// The bytes of `range`; `None` if any of them was never written.
    pub(crate) fn bytes(&self, range: Range<FilePos>) -> Option<&[u8]> {
        self.mapping.slice(range)
    }

    /// Bytes that are mapped, with the room to grow.
    pub(super) fn capacity(&self) -> FilePos {
        self.mapping.capacity()
    }

    /// The first batch before `end` that holds `offset` or a larger one, and its position.
    ///
    /// A base offset that is not the one to which the batch before leads is damage: checksums do not cover it. Such a
    /// batch hides no other one, since its size leads on.
    pub(crate) fn find(&self, offset: Offset, end: End) -> Result<Option<(FilePos, Batch<'_>)>, DamageAt> {
        self.find_by(&self.indexes().offsets, offset, end)
    }

    fn find_by(&self, index: &OffsetIndex, offset: Offset, end: End) -> Result<Option<(FilePos, Batch<'_>)>, DamageAt> {
        let relative = offset.saturating_sub(self.base()).clamp(0, Offset::from(i32::MAX)) as u32;
        // A batch that is not visible yet can have an entry already: then the one before it leads there.
        let entry = index.lookup(relative).filter(|entry| entry.file_pos < end.file_pos);
        let entry = entry.or_else(|| index.entry_before(end.file_pos.checked_sub(1)?));
        let entry = entry.filter(|entry| entry.relative_offset <= relative);
        let entry = self.checked(entry, end);
        let (mut file_pos, mut expected) = entry.map_or((0, self.base()), |(at, batch)| (at, batch.base_offset()));
        let mut astray = None;
        while let Some(batch) = self.batch_at(file_pos, end)? {
            let follows = follows(&batch, expected, self.place.gaps_below);
            let next =
                if follows { batch.next_offset() } else { expected + Offset::from(batch.last_offset_delta()) + 1 };
            if offset < next {
                let found = Some((file_pos, batch));
                return if follows { Ok(found) } else { Err(DamageAt { file_pos, malformed: bad_offsets(&batch) }) };
            }
            if !follows {
                astray.get_or_insert(DamageAt { file_pos, malformed: bad_offsets(&batch) });
            }
            file_pos += batch.size() as FilePos;
            expected = next;
        }
        // Behind a batch that does not follow the count may be too low: then the offset is there, and was passed over.
        astray.map_or(Ok(None), Err)
    }

    /// The last place between two batches that is at most `limit` bytes behind the beginning of `first`, but not before
    /// its end, not behind `end`, and not behind a batch that can be seen to be damaged.
    pub(crate) fn boundary(&self, (file_pos, first): (FilePos, Batch<'_>), limit: usize, end: End) -> End {
        let target = u64::from(file_pos).saturating_add(limit as u64);
        if u64::from(end.file_pos) <= target {
            return end;
        }
        let target = target as FilePos; // below end.file_pos, so it fits
        let first_end = End { offset: first.next_offset(), file_pos: file_pos + first.size() as FilePos };
        let entry = self.checked(self.indexes().offsets.entry_before(target), end);
        let entry = entry.map(|(file_pos, batch)| End { offset: batch.base_offset(), file_pos });
        let mut at = entry.filter(|entry| first_end.file_pos < entry.file_pos).unwrap_or(first_end);
        while let Ok(Some(batch)) = self.batch_at(at.file_pos, end) {
            let next = at.file_pos + batch.size() as FilePos;
            if next > target {
                break;
            }
            at = End { offset: batch.next_offset(), file_pos: next };
        }
        at
    }

    /// The batch that an index entry names, if it is there with the entry's offset: an entry is a hint, not evidence.
    fn checked(&self, entry: Option<IndexEntry>, end: End) -> Option<(FilePos, Batch<'_>)> {
        let entry = entry?;
        let batch = self.batch_at(entry.file_pos, end).ok()??;
        let is_named = batch.last_offset() == self.base() + Offset::from(entry.relative_offset);
        is_named.then_some((entry.file_pos, batch))
    }

    /// The batch that begins at `file_pos`; `None` at `end`. Its checksum is not looked at.
    pub(crate) fn batch_at(&self, file_pos: FilePos, end: End) -> Result<Option<Batch<'_>>, DamageAt> {
        if file_pos >= end.file_pos {
            return Ok(None);
        }
        let bytes = self.bytes(file_pos..end.file_pos).unwrap_or_default();
        match Batch::first(bytes) {
            Ok(Some(batch)) => Ok(Some(batch)),
            // `end` is a place between batches, so one that reaches beyond announces a wrong size.
            Ok(None) => Err(DamageAt { file_pos, malformed: Malformed::SizeBeyondEnd }),
            Err(malformed) => Err(DamageAt { file_pos, malformed }),
        }
    }

    /// The largest timestamp before `end`, if any record has one, and the last offset (minus base) of the first batch that
    /// carries it.
    pub(super) fn largest_timestamp(&self, end: End) -> Option<(Timestamp, u32)> {
        let indexes = self.indexes();
        // While the segment is appended to there is no final entry: what is behind the last one counts, too. The offset
        // first: a time that is made after it is newer, and misses nothing.
        let mut at = indexes.offsets.last().map_or(0, |entry| entry.file_pos);
        let mut indexer = Indexer::resume(self.place.index_interval, indexes, end.file_pos);
        while let Ok(Some(batch)) = self.batch_at(at, end) {
            indexer.note_time(self.base(), &batch);
            at += batch.size() as FilePos;
        }
        indexer.largest()
    }

    /// A position from which on the first batch can be found that has `timestamp` or a larger one, and records at or behind
    /// `offset`.
    pub(crate) fn before_timestamp(&self, timestamp: Timestamp, offset: Offset, end: End) -> Result<FilePos, DamageAt> {
        let indexes = self.indexes();
        let entry =
            indexes.times.lookup(timestamp).filter(|entry| self.is_time_of_batch(&indexes.offsets, *entry, end));
        let from = self.base() + entry.map_or(0, |(_, relative)| Offset::from(relative));
        Ok(self.find(from.max(offset), end)?.map_or(end.file_pos, |(file_pos, _)| file_pos))
    }

    /// Whether an entry is the last one that the time index should have: no batch behind its own is newer.
    fn is_last_time(&self, index: &OffsetIndex, entry: (Timestamp, u32), end: End) -> bool {
        let offset = self.base() + Offset::from(entry.1);
        let found = self.find_by(index, offset, end).ok().flatten();
        let Some((mut at, _)) = found.filter(|_| self.is_time_of_batch(index, entry, end)) else { return false };
        while let Ok(Some(batch)) = self.batch_at(at, end) {
            if batch.max_timestamp() > entry.0 {
                return false;
            }
            at += batch.size() as FilePos;
        }
        true
    }

    /// Whether the log has what an entry of the time index says: a batch with this timestamp at this offset. An entry is a
    /// hint, not evidence.
    fn is_time_of_batch(&self, index: &OffsetIndex, (timestamp, relative): (Timestamp, u32), end: End) -> bool {
        let offset = self.base() + Offset::from(relative);
        let batch = self.find_by(index, offset, end).ok().flatten().map(|(_, batch)| batch);
        batch.is_some_and(|batch| batch.base_offset() <= offset && batch.max_timestamp() == timestamp)
    }

    /// The last batch before `end`, and its position.
    pub(crate) fn last_batch(&self, end: End) -> Result<Option<(FilePos, Batch<'_>)>, DamageAt> {
        let entry = self.checked(self.indexes().offsets.last(), end);
        let (mut at, mut last) = (entry.map_or(0, |(file_pos, _)| file_pos), None);
        while let Some(batch) = self.batch_at(at, end)? {
            last = Some((at, batch));
            at += batch.size() as FilePos;
        }
        Ok(last)
    }

    /// Whether the last batch is whole, has the right checksum, and ends exactly at `end`.
    pub(crate) fn ends_with_its_last_batch(&self, end: End) -> bool {
        match self.last_batch(end) {
            Ok(Some((_, batch))) => batch.next_offset() == end.offset && batch.verify_crc().is_ok(),
            Ok(None) => end.file_pos == 0 && end.offset == self.base(),
            Err(_) => false,
        }
    }

    pub(super) fn indexes(&self) -> &Indexes {
        self.indexes.get_or_init(|| self.load_indexes().unwrap_or_else(|| self.rebuild_indexes()))
    }

    /// The indexes as their files have them, if they can be right, the last entries fit the log, and none is missing behind
    /// them.
    fn load_indexes(&self) -> Option<Indexes> {
        let end = self.end;
        let offsets = OffsetIndex::from_bytes(&self.read_file(SegmentFile::OffsetIndex).ok()?, end.file_pos)?;
        let times = TimeIndex::from_bytes(&self.read_file(SegmentFile::TimeIndex).ok()?)?;
        let mut file_pos = match offsets.last() {
            Some(entry) => self.checked(Some(entry), end)?.0,
            None => 0,
        };
        let indexes = Indexes { offsets, times };
        let (last_entry, last_time) = (indexes.offsets.last(), indexes.times.last());
        let mut indexer = Indexer::resume(self.place.index_interval, &indexes, file_pos);
        while let Some(batch) = self.batch_at(file_pos, end).ok()? {
            indexer.note(self.base(), file_pos, &batch, &indexes);
            file_pos += batch.size() as FilePos;
            if indexes.offsets.last() != last_entry {
                return None; // the walk is never longer than the distance between two entries
            }
        }
        indexer.note_end(&indexes);
        // The last time decides when the segment goes.
        let is_right = last_time.is_none_or(|entry| self.is_last_time(&indexes.offsets, entry, end));
        (is_right && indexes.times.last() == last_time).then_some(indexes)
    }

    /// Builds the indexes from the batch headers. Stops where they do not hold: look-ups beyond walk on from there and
    /// meet the damage themselves.
    fn rebuild_indexes(&self) -> Indexes {
        let (indexes, mut indexer) = (Indexes::default(), Indexer::new(self.place.index_interval));
        let (mut file_pos, mut expected, end) = (0, self.base(), self.end);
        while let Ok(Some(batch)) = self.batch_at(file_pos, end) {
            if !follows(&batch, expected, self.place.gaps_below) {
                break; // an entry for it would vouch for an offset that is not its own
            }
            indexer.note(self.base(), file_pos, &batch, &indexes);
            file_pos += batch.size() as FilePos;
            expected = batch.next_offset();
        }
        indexer.note_end(&indexes);
        indexes
    }

    fn read_file(&self, file: SegmentFile) -> io::Result<Vec<u8>> {
        let file = self.place.disk.open(&self.place.path(file), OpenMode::Read)?;
        let mut content = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let read = file.read_at(&mut content, 0)?;
        content.truncate(read);
        Ok(content)
    }
}

/// Whether `batch` goes on at `expected`, or behind a gap where there may be one.
pub(crate) fn follows(batch: &Batch<'_>, expected: Offset, gaps_below: Offset) -> bool {
    batch.base_offset() == expected || (expected < gaps_below && expected < batch.base_offset())
}

/// What is wrong with a batch that does not follow.
pub(crate) fn bad_offsets(batch: &Batch<'_>) -> Malformed {
    Malformed::BadOffsets { base_offset: batch.base_offset(), last_offset_delta: batch.last_offset_delta() }
}
