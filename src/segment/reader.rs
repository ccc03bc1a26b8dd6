//! What a segment holds, for those who read it.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use super::end::End;
use super::headers::{DamageAt, Headers, ReadFailure, before_damage};
use super::indexes::{Indexer, Indexes};
use super::names::SegmentFile;
use super::offset_index::{IndexEntry, OffsetIndex};
use super::segment::SegmentPlace;
use super::time_index::TimeIndex;
use crate::record::{Batch, BatchHeader, HEADER_LEN, Malformed};
use crate::sync::{Arc, Mutex, OnceLock};
use crate::sys::{FileBytes, OpenMode};
use crate::types::{FilePos, Offset, Timestamp};

/// The bytes of a segment and its indexes. Made when somebody wants to read, given up when others are wanted
/// more, and held by every slice of it that a reader keeps.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    place: Arc<SegmentPlace>,
    bytes: Arc<FileBytes>,
    /// End of the segment when this was made. Nothing was appended since, unless the indexes were there before.
    end: End,
    /// Loaded on the first look-up, unless the segment is written to.
    indexes: OnceLock<Indexes>,
    /// Held by the one who makes them.
    making_indexes: Mutex<()>,
    /// The largest timestamp of the first batch, once it was asked for: the batch never changes.
    first_timestamp: OnceLock<Timestamp>,
    _counted: Arc<Readers>,
}

/// Fewest bytes of a map that a thread of its own takes down.
const LARGE: FilePos = 16 << 20;

impl Drop for SegmentReader {
    fn drop(&mut self) {
        if self.bytes.is_mapped() && self.bytes.capacity() >= LARGE {
            // Ours goes in a moment, before the other thread has come to it.
            self.place.open_files.garbage.throw(Arc::clone(&self.bytes));
        }
    }
}

/// Shared by all readers of a segment, of which there can be several where one was given up while slices of it were held:
/// it is there as long as one of them is.
#[derive(Debug)]
pub(crate) struct Readers;

impl SegmentReader {
    /// A reader of `bytes`, which show the `.log` file in `place` up to `end` at least.
    pub(super) fn new(
        place: SegmentPlace,
        readers: Arc<Readers>,
        bytes: Arc<FileBytes>,
        end: End,
        indexes: Option<Indexes>,
    ) -> Self {
        let indexes = indexes.map(OnceLock::from).unwrap_or_default();
        SegmentReader {
            place: Arc::new(place),
            bytes,
            end,
            indexes,
            making_indexes: Mutex::new(()),
            first_timestamp: OnceLock::new(),
            _counted: readers,
        }
    }

    /// The segment's base offset.
    pub(crate) fn base(&self) -> Offset {
        self.place.base
    }

    /// Where the segment is.
    pub(crate) fn place(&self) -> &Arc<SegmentPlace> {
        &self.place
    }

    /// Whether the bytes are mapped: then they can be [borrowed](SegmentReader::mapped) for as long as this is held.
    #[inline]
    pub(crate) fn is_mapped(&self) -> bool {
        self.bytes.is_mapped()
    }

    /// The mapped bytes of `range`; `None` if any of them was never written, or if nothing is mapped.
    #[inline]
    pub(crate) fn mapped(&self, range: Range<FilePos>) -> Option<&[u8]> {
        self.bytes.mapped(range)
    }

    /// The bytes of `range`: borrowed where they are mapped, else a copy.
    pub(crate) fn bytes(&self, range: Range<FilePos>) -> io::Result<Cow<'_, [u8]>> {
        self.bytes.get(range)
    }

    /// Bytes that the file has room for.
    pub(super) fn capacity(&self) -> FilePos {
        self.bytes.capacity()
    }

    /// The headers of the batches before `end`.
    #[inline]
    pub(crate) fn headers(&self, end: End) -> Headers<'_> {
        Headers::new(&self.bytes, end)
    }

    /// All bytes of a batch whose header is known, as they are found now: with [`Batch::first`] it is one.
    pub(crate) fn batch_bytes(&self, file_pos: FilePos, header: &BatchHeader) -> io::Result<Cow<'_, [u8]>> {
        self.bytes(file_pos..file_pos.saturating_add(header.size() as FilePos))
    }

    /// As [`find`](SegmentReader::find), and whether an entry of the index has the offset at which the batch ends.
    #[inline]
    pub(crate) fn find_vouched(
        &self,
        offset: Offset,
        end: End,
    ) -> Result<Option<(FilePos, BatchHeader, bool)>, ReadFailure> {
        let index = &self.indexes()?.offsets;
        let relative = offset.saturating_sub(self.base()).clamp(0, Offset::from(i32::MAX)) as u32;
        if let Some((file_pos, batch)) = self.found_by(index.lookup(relative), offset, &mut self.headers(end))? {
            return Ok(Some((file_pos, batch, true)));
        }
        Ok(self.find_by(index, offset, end)?.map(|(file_pos, batch)| (file_pos, batch, false)))
    }

    /// The first batch before `end` that holds `offset` or a larger one: its position and its header.
    ///
    /// A base offset that is not the one to which the batch before leads is damage: checksums do not cover it. Such a
    /// batch hides no other one, since its size leads on.
    pub(crate) fn find(&self, offset: Offset, end: End) -> Result<Option<(FilePos, BatchHeader)>, ReadFailure> {
        self.find_by(&self.indexes()?.offsets, offset, end)
    }

    fn find_by(
        &self,
        index: &OffsetIndex,
        offset: Offset,
        end: End,
    ) -> Result<Option<(FilePos, BatchHeader)>, ReadFailure> {
        let relative = offset.saturating_sub(self.base()).clamp(0, Offset::from(i32::MAX)) as u32;
        let (below, _) = index.lookup(relative);
        let mut headers = self.headers(end);
        // A batch that is not visible yet can have an entry already: then the one before it leads there.
        let entry = below.filter(|entry| entry.file_pos < end.file_pos);
        let entry = entry.or_else(|| index.entry_before(end.file_pos.checked_sub(1)?));
        let entry = entry.filter(|entry| entry.relative_offset <= relative);
        let begin = self.checked(entry, &mut headers)?.unwrap_or(self.beginning());
        let (mut file_pos, mut expected) = (begin.file_pos, begin.offset);
        let mut astray = None;
        while let Some(batch) = headers.at(file_pos)? {
            let follows = follows(batch, expected, self.place.gaps_below);
            let behind = expected.saturating_add(Offset::from(batch.last_offset_delta())).saturating_add(1);
            let next = if follows { batch.next_offset() } else { behind };
            if offset < next {
                let found = Some((file_pos, *batch));
                return if follows {
                    Ok(found)
                } else {
                    Err(DamageAt { file_pos, malformed: bad_offsets(batch) }.into())
                };
            }
            if !follows {
                astray.get_or_insert(DamageAt { file_pos, malformed: bad_offsets(batch) });
            }
            file_pos += batch.size() as FilePos;
            expected = next;
        }
        // Behind a batch that does not follow the count may be too low: then the offset is there, and was passed over.
        astray.map_or(Ok(None), |damage| Err(damage.into()))
    }

    /// The batch of the entry `above` an offset, if it holds the offset: so it is where batches are larger than the distance
    /// of the entries. Then the batch `below` need not be looked at, which costs as much again where both are far from what
    /// was read last. Where many batches lie between two entries it is hardly ever this one.
    #[inline]
    fn found_by(
        &self,
        (below, above): (Option<IndexEntry>, Option<IndexEntry>),
        offset: Offset,
        headers: &mut Headers<'_>,
    ) -> io::Result<Option<(FilePos, BatchHeader)>> {
        let Some(above) = above else { return Ok(None) };
        let between = above.file_pos - below.map_or(0, |below| below.file_pos);
        if between / 2 < self.place.index_interval {
            return Ok(None);
        }
        let named = self.base().saturating_add(Offset::from(above.relative_offset));
        let batch = before_damage(headers.at(above.file_pos))?;
        let batch = batch.filter(|batch| batch.last_offset() == named && batch.base_offset() <= offset);
        Ok(batch.filter(|_| offset <= named).map(|batch| (above.file_pos, *batch)))
    }

    /// The last place between two batches that is at most `limit` bytes behind the beginning of `first`, but not before
    /// its end, not behind `end`, and not behind a batch that can be seen to be damaged.
    pub(crate) fn boundary(
        &self,
        (file_pos, first): (FilePos, &BatchHeader),
        limit: usize,
        end: End,
    ) -> io::Result<End> {
        let target = u64::from(file_pos).saturating_add(limit as u64);
        if u64::from(end.file_pos) <= target {
            return Ok(end);
        }
        let target = target as FilePos; // below end.file_pos, so it fits
        let first_end = End { offset: first.next_offset(), file_pos: file_pos + first.size() as FilePos };
        if target < first_end.file_pos.saturating_add(HEADER_LEN as FilePos) {
            return Ok(first_end); // nothing else fits: no need to touch what comes behind
        }
        let mut headers = self.headers(end);
        let entry = self.indexes()?.offsets.entry_before(target).filter(|entry| first_end.file_pos < entry.file_pos);
        let mut at = self.checked(entry, &mut headers)?.unwrap_or(first_end);
        while let Some(batch) = before_damage(headers.at(at.file_pos))? {
            let next = at.file_pos + batch.size() as FilePos;
            if next > target {
                break;
            }
            at = End { offset: batch.next_offset(), file_pos: next };
        }
        Ok(at)
    }

    /// Whether the next `len` bytes from `offset` on are known to be in memory, with what is looked at on the way there: then
    /// how many of them lie behind `end`. Looks at nothing that may have to be read.
    pub(crate) fn is_cached(&self, offset: Offset, len: usize, end: End) -> Option<usize> {
        let (range, left) = self.span(self.indexes_made()?, offset, len, end);
        self.bytes.is_cached(range).then_some(left)
    }

    /// Reads the next `len` bytes from `offset` on into memory, with what is looked at on the way there. Returns how many of
    /// them lie behind `end`.
    pub(crate) fn warm_up(&self, offset: Offset, len: usize, end: End) -> io::Result<usize> {
        let (range, left) = self.span(self.indexes()?, offset, len, end);
        self.bytes.warm_up(range)?;
        Ok(left)
    }

    /// Where the next `len` bytes from `offset` on are at most, as far as the index tells, with the batch that holds the
    /// offset as a whole; and how many of them lie behind `end`.
    ///
    /// The batch begins between the entries below and above the offset, and ends before the next entry behind that.
    fn span(&self, indexes: &Indexes, offset: Offset, len: usize, end: End) -> (Range<FilePos>, usize) {
        let relative = offset.saturating_sub(self.base()).clamp(0, Offset::from(i32::MAX)) as u32;
        let (below, above) = indexes.offsets.lookup(relative);
        let seen = |entry: Option<IndexEntry>| entry.filter(|entry| entry.file_pos < end.file_pos);
        let from = seen(below).map_or(0, |entry| entry.file_pos);
        let latest = seen(above).map_or(end.file_pos, |entry| entry.file_pos);
        let wanted = latest.saturating_add(FilePos::try_from(len).unwrap_or(FilePos::MAX).max(1));
        let to = seen(indexes.offsets.entry_from(wanted)).map_or(end.file_pos, |entry| entry.file_pos);
        // The header behind it is looked at as well.
        let to = to.saturating_add(HEADER_LEN as FilePos).min(end.file_pos);
        (from..to, if wanted <= end.file_pos { 0 } else { len.saturating_sub((end.file_pos - latest) as usize) })
    }

    /// Has the system read ahead, from `from` to `to` or the end of what was written. Returns where that ends.
    pub(crate) fn read_ahead(&self, from: FilePos, to: FilePos) -> FilePos {
        let to = to.min(self.bytes.published());
        self.bytes.read_ahead(from..to);
        to
    }

    /// The place in front of the first batch.
    fn beginning(&self) -> End {
        End { offset: self.base(), file_pos: 0 }
    }

    /// The place in front of the batch that an index entry names, if it is there with the entry's offset: an entry is a
    /// hint, not evidence.
    #[inline]
    fn checked(&self, entry: Option<IndexEntry>, headers: &mut Headers<'_>) -> io::Result<Option<End>> {
        let Some(entry) = entry else { return Ok(None) };
        let batch = before_damage(headers.at(entry.file_pos))?;
        let named = self.base().saturating_add(Offset::from(entry.relative_offset));
        let batch = batch.filter(|batch| batch.last_offset() == named);
        Ok(batch.map(|batch| End { offset: batch.base_offset(), file_pos: entry.file_pos }))
    }

    /// The largest timestamp of the first batch; `None` if it has none, or cannot be seen. It is looked at once: whoever
    /// appends asks each time.
    pub(crate) fn first_timestamp(&self, end: End) -> Option<Timestamp> {
        let first = match self.first_timestamp.get() {
            Some(first) => *first,
            None => {
                let mut headers = self.headers(end);
                let first = headers.at(0).ok()??.max_timestamp();
                *self.first_timestamp.get_or_init(|| first)
            }
        };
        Some(first).filter(|timestamp| 0 <= *timestamp)
    }

    /// The largest timestamp before `end`, if any record has one, and the last offset (minus base) of the first batch that
    /// carries it.
    pub(super) fn largest_timestamp(&self, end: End) -> io::Result<Option<(Timestamp, u32)>> {
        let indexes = self.indexes()?;
        // While the segment is appended to there is no final entry: what is behind the last one counts, too. The offset
        // first: a time that is made after it is newer, and misses nothing.
        let mut at = indexes.offsets.last().map_or(0, |entry| entry.file_pos);
        let mut indexer = Indexer::resume(self.place.index_interval, indexes, end.file_pos);
        let mut headers = self.headers(end);
        while let Some(batch) = before_damage(headers.at(at))? {
            indexer.note_time(self.base(), batch);
            at += batch.size() as FilePos;
        }
        Ok(indexer.largest())
    }

    /// A position from which on the first batch can be found that has `timestamp` or a larger one, and records at or behind
    /// `offset`.
    pub(crate) fn before_timestamp(
        &self,
        timestamp: Timestamp,
        offset: Offset,
        end: End,
    ) -> Result<FilePos, ReadFailure> {
        let indexes = self.indexes()?;
        let mut entry = indexes.times.lookup(timestamp);
        if let Some(found) = entry
            && !self.is_time_of_batch(&indexes.offsets, found, end)?
        {
            entry = None;
        }
        let from = self.base() + entry.map_or(0, |(_, relative)| Offset::from(relative));
        Ok(self.find(from.max(offset), end)?.map_or(end.file_pos, |(file_pos, _)| file_pos))
    }

    /// Whether an entry is the last one that the time index should have: no batch behind its own is newer.
    fn is_last_time(&self, index: &OffsetIndex, entry: (Timestamp, u32), end: End) -> io::Result<bool> {
        let offset = self.base() + Offset::from(entry.1);
        if !self.is_time_of_batch(index, entry, end)? {
            return Ok(false);
        }
        let Some((mut at, _)) = before_damage(self.find_by(index, offset, end))? else { return Ok(false) };
        let mut headers = self.headers(end);
        while let Some(batch) = before_damage(headers.at(at))? {
            if batch.max_timestamp() > entry.0 {
                return Ok(false);
            }
            at += batch.size() as FilePos;
        }
        Ok(true)
    }

    /// Whether the log has what an entry of the time index says: a batch with this timestamp at this offset. An entry is a
    /// hint, not evidence.
    fn is_time_of_batch(
        &self,
        index: &OffsetIndex,
        (timestamp, relative): (Timestamp, u32),
        end: End,
    ) -> io::Result<bool> {
        let offset = self.base() + Offset::from(relative);
        let found = before_damage(self.find_by(index, offset, end))?;
        Ok(found.is_some_and(|(_, batch)| batch.base_offset() <= offset && batch.max_timestamp() == timestamp))
    }

    /// The last batch before `end`: its position and its header.
    pub(crate) fn last_batch(&self, end: End) -> Result<Option<(FilePos, BatchHeader)>, ReadFailure> {
        let mut headers = self.headers(end);
        let entry = self.checked(self.indexes()?.offsets.last(), &mut headers)?;
        let (mut at, mut last) = (entry.map_or(0, |entry| entry.file_pos), None);
        while let Some(batch) = headers.at(at)? {
            last = Some((at, *batch));
            at += batch.size() as FilePos;
        }
        Ok(last)
    }

    /// Whether the last batch is whole, has the right checksum, and ends exactly at `end`.
    pub(crate) fn ends_with_its_last_batch(&self, end: End) -> io::Result<bool> {
        let last = match self.last_batch(end) {
            Ok(Some(last)) => last,
            Ok(None) => return Ok(end.file_pos == 0 && end.offset == self.base()),
            Err(ReadFailure::Damage(_)) => return Ok(false),
            Err(ReadFailure::Io(error)) => return Err(error),
        };
        let bytes = self.batch_bytes(last.0, &last.1)?;
        let batch = Batch::first(&bytes).ok().flatten();
        Ok(batch.is_some_and(|batch| batch.next_offset() == end.offset && batch.verify_crc().is_ok()))
    }

    /// The indexes, which are loaded or made by whoever needs them first. What cannot be read leaves none behind.
    #[inline]
    pub(super) fn indexes(&self) -> io::Result<&Indexes> {
        match self.indexes.get() {
            Some(indexes) => Ok(indexes),
            None => self.make_indexes(),
        }
    }

    /// The indexes, if they are there: a segment that is written to has them.
    pub(super) fn indexes_made(&self) -> Option<&Indexes> {
        self.indexes.get()
    }

    #[cold]
    fn make_indexes(&self) -> io::Result<&Indexes> {
        let _making = self.making_indexes.lock();
        if let Some(indexes) = self.indexes.get() {
            return Ok(indexes);
        }
        let indexes = match self.load_indexes()? {
            Some(indexes) => indexes,
            None => self.rebuild_indexes()?,
        };
        Ok(self.indexes.get_or_init(|| indexes))
    }

    /// The indexes as their files have them, if they can be right, the last entries fit the log, and none is missing behind
    /// them.
    fn load_indexes(&self) -> io::Result<Option<Indexes>> {
        let end = self.end;
        let Some(indexes) = self.read_indexes() else { return Ok(None) };
        let mut headers = self.headers(end);
        let mut file_pos = match indexes.offsets.last() {
            Some(entry) => match self.checked(Some(entry), &mut headers)? {
                Some(entry) => entry.file_pos,
                None => return Ok(None),
            },
            None => 0,
        };
        let (last_entry, last_time) = (indexes.offsets.last(), indexes.times.last());
        let mut indexer = Indexer::resume(self.place.index_interval, &indexes, file_pos);
        while let Some(batch) = match headers.at(file_pos) {
            Err(ReadFailure::Damage(_)) => return Ok(None),
            Err(ReadFailure::Io(error)) => return Err(error),
            Ok(batch) => batch,
        } {
            indexer.note(self.base(), file_pos, batch, &indexes);
            file_pos += batch.size() as FilePos;
            if indexes.offsets.last() != last_entry {
                return Ok(None); // the walk is never longer than the distance between two entries
            }
        }
        indexer.note_end(&indexes);
        // The last time decides when the segment goes.
        let is_right = match last_time {
            Some(entry) => self.is_last_time(&indexes.offsets, entry, end)?,
            None => true,
        };
        Ok((is_right && indexes.times.last() == last_time).then_some(indexes))
    }

    /// What the index files hold, if it can be right. They are a cache: one that cannot be read is made anew.
    fn read_indexes(&self) -> Option<Indexes> {
        let offsets = OffsetIndex::from_bytes(&self.read_file(SegmentFile::OffsetIndex).ok()?, self.end.file_pos)?;
        let times = TimeIndex::from_bytes(&self.read_file(SegmentFile::TimeIndex).ok()?)?;
        Some(Indexes { offsets, times })
    }

    /// Builds the indexes from the batch headers. Stops where they do not hold: look-ups beyond walk on from there and
    /// meet the damage themselves.
    fn rebuild_indexes(&self) -> io::Result<Indexes> {
        let (indexes, mut indexer) = (Indexes::default(), Indexer::new(self.place.index_interval));
        let (mut file_pos, mut expected, mut headers) = (0, self.base(), self.headers(self.end));
        while let Some(batch) = before_damage(headers.at(file_pos))? {
            if !follows(batch, expected, self.place.gaps_below) {
                break; // an entry for it would vouch for an offset that is not its own
            }
            indexer.note(self.base(), file_pos, batch, &indexes);
            file_pos += batch.size() as FilePos;
            expected = batch.next_offset();
        }
        indexer.note_end(&indexes);
        Ok(indexes)
    }

    fn read_file(&self, file: SegmentFile) -> io::Result<Vec<u8>> {
        let file = self.place.disk.open(&self.place.path(file), OpenMode::Read)?;
        let mut content = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let read = file.read_at(&mut content, 0)?;
        content.truncate(read);
        if self.place.open_files.is_closed() {
            return Err(io::ErrorKind::NotFound.into()); // it may be another broker's: the batches tell as much
        }
        Ok(content)
    }
}

/// Whether `batch` goes on at `expected`, or behind a gap where there may be one.
pub(crate) fn follows(batch: &BatchHeader, expected: Offset, gaps_below: Offset) -> bool {
    batch.base_offset() == expected || (expected < gaps_below && expected < batch.base_offset())
}

/// What is wrong with a batch that does not follow.
pub(crate) fn bad_offsets(batch: &BatchHeader) -> Malformed {
    Malformed::BadOffsets { base_offset: batch.base_offset(), last_offset_delta: batch.last_offset_delta() }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod reader_tests;
