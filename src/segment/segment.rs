//! A segment in memory.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::indexes::{Indexer, Indexes};
use super::names::{SegmentFile, segment_path};
use super::offset_index::{IndexEntry, OffsetIndex};
use super::time_index::TimeIndex;
use crate::record::{Batch, Malformed};
use crate::sync::{Arc, AtomicBool, AtomicU64, CachePadded, OnceLock, Ordering};
use crate::sys::{AppendFile, Disk, DiskFile, OpenMode, WriteFailure};
use crate::types::{FilePos, Offset, Timestamp};

/// A `.log` file with its indexes. One writer appends to the active one; readers use all of them without a lock.
///
/// Held by the view of its log and by every slice of it that a reader keeps.
#[derive(Debug)]
pub(crate) struct Segment {
    place: SegmentPlace,
    file: AppendFile,
    /// End of what has been written. Raised by the writer, after the bytes and their index entries.
    written: CachePadded<AtomicEnd>,
    /// End of what readers may see: `written`, or behind it while a sync is due. Raised by whoever moves the high
    /// watermark. Each end has its own cache line: readers poll this one while the writer moves the other.
    visible: CachePadded<AtomicEnd>,
    /// There from the beginning in a new or recovered segment, loaded on the first look-up in another one.
    indexes: OnceLock<Indexes>,
    /// Whether the directory entry of the `.log` file is known to be durable. Set by [`sync`](Segment::sync); a stale
    /// `false` costs one sync more.
    entry_synced: AtomicBool,
    /// Whether the content is durable and the index files say the same as the indexes. Set by [`seal`](Segment::seal),
    /// cleared by the next append; a stale `false` costs one more sealing.
    sealed: AtomicBool,
}

/// Where a segment lives and how it is indexed.
#[derive(Clone, Debug)]
pub(crate) struct SegmentPlace {
    pub(crate) disk: Arc<dyn Disk>,
    /// The partition's directory.
    pub(crate) dir: Arc<Path>,
    /// The offset that the segment is named after; no record in it has a smaller one.
    pub(crate) base: Offset,
    /// Bytes that the file may grow to.
    pub(crate) capacity: FilePos,
    /// `index.interval.bytes`.
    pub(crate) index_interval: u32,
    /// Below it compaction may have left gaps in the offsets; from it on every batch follows the one before.
    pub(crate) gaps_below: Offset,
}

/// A place between two batches: the offset that comes next, and the position where it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The offset after the last batch before this place.
    pub(crate) offset: Offset,
    /// Bytes before this place.
    pub(crate) file_pos: FilePos,
}

/// What does not hold in a `.log` file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamageAt {
    /// Where the batch begins that is not one.
    pub(crate) file_pos: FilePos,
    /// What is wrong with it.
    pub(crate) malformed: Malformed,
}

impl Segment {
    /// Creates an empty segment. A `.log` file of its name is emptied: one that is in a view never has it, since the base
    /// of a new segment is the log end. After an error there is no such file, or [`io::ErrorKind::Other`] says that it
    /// could not be removed.
    pub(crate) fn create(place: SegmentPlace) -> io::Result<Self> {
        let path = place.path(SegmentFile::Log);
        let file = place.disk.open(&path, OpenMode::Create)?;
        let disk = Arc::clone(&place.disk);
        let end = End { offset: place.base, file_pos: 0 };
        Segment::new(place, file, end, Some(Indexes::default())).map_err(|error| match disk.remove_file(&path) {
            Ok(()) => error,
            Err(_) => io::Error::other(error), // a stray file would hide what goes to its offsets elsewhere
        })
    }

    /// Opens a segment whose `.log` file holds whole batches up to `end` and nothing behind, all of it durable.
    /// `indexes` are those that a scan just made; without them the index files are read when they are needed.
    pub(crate) fn open(place: SegmentPlace, end: End, indexes: Option<Indexes>) -> io::Result<Self> {
        let file = place.disk.open(&place.path(SegmentFile::Log), OpenMode::Write)?;
        let sealed = indexes.is_none();
        let segment = Segment::new(place, file, end, indexes)?;
        segment.entry_synced.store(true, Ordering::Relaxed);
        segment.sealed.store(sealed, Ordering::Relaxed);
        Ok(segment)
    }

    fn new(place: SegmentPlace, file: Arc<dyn DiskFile>, end: End, indexes: Option<Indexes>) -> io::Result<Self> {
        Ok(Segment {
            file: AppendFile::new(file, end.file_pos, place.capacity)?,
            written: AtomicEnd::new(place.base, end).into(),
            visible: AtomicEnd::new(place.base, end).into(),
            indexes: indexes.map(OnceLock::from).unwrap_or_default(),
            entry_synced: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            place,
        })
    }

    /// The offset that the segment is named after.
    pub(crate) fn base(&self) -> Offset {
        self.place.base
    }

    /// Path of the `.log` file.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path(SegmentFile::Log)
    }

    /// End of what has been written.
    pub(crate) fn written(&self) -> End {
        self.written.load(self.base())
    }

    /// End of what readers may see.
    pub(crate) fn visible(&self) -> End {
        self.visible.load(self.base())
    }

    /// Lets readers see everything up to `end`, which has been written. Never moves back.
    pub(crate) fn show(&self, end: End) {
        self.visible.raise(self.base(), end);
    }

    /// The bytes of `range`; `None` if any of them was never written.
    pub(crate) fn bytes(&self, range: Range<FilePos>) -> Option<&[u8]> {
        self.file.slice(range)
    }

    /// Bytes that the file may grow to.
    pub(crate) fn capacity(&self) -> FilePos {
        self.file.capacity()
    }

    /// The state that a writer goes on with.
    pub(crate) fn indexer(&self) -> Indexer {
        Indexer::resume(self.place.index_interval, self.indexes(), self.written().file_pos)
    }

    /// Appends one finished batch. `indexer` belongs to the one writer of this segment.
    pub(crate) fn append(&self, indexer: &mut Indexer, batch: &Batch<'_>) -> Result<(), WriteFailure> {
        let file_pos = self.file.append(batch.bytes())?;
        self.sealed.store(false, Ordering::Relaxed);
        indexer.note(self.base(), file_pos, batch, self.indexes());
        let end = End { offset: batch.next_offset(), file_pos: file_pos + batch.size() as FilePos };
        self.written.raise(self.base(), end);
        Ok(())
    }

    /// Makes what is written now durable, the directory entry included, and returns its end.
    pub(crate) fn sync(&self) -> io::Result<End> {
        let end = self.written();
        if self.sealed.load(Ordering::Acquire) {
            return Ok(end);
        }
        self.file.sync()?;
        if !self.entry_synced.load(Ordering::Relaxed) {
            self.place.disk.sync_dir(&self.place.dir)?;
            self.entry_synced.store(true, Ordering::Relaxed);
        }
        Ok(end)
    }

    /// Makes the final time index entry. Called by the writer when it leaves the segment.
    pub(crate) fn finish(&self, indexer: &Indexer) {
        indexer.note_end(self.indexes());
    }

    /// Makes a finished segment durable and writes its index files, unless that has been done.
    pub(crate) fn seal(&self) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync()?;
        // A cache: not synced, looked at before it is used, and built again where it is missing. A full disk must not
        // keep the segment from being sealed for want of it.
        let _ = self.write_file(SegmentFile::OffsetIndex, &self.indexes().offsets.to_bytes());
        let _ = self.write_file(SegmentFile::TimeIndex, &self.indexes().times.to_bytes());
        self.sealed.store(true, Ordering::Release);
        Ok(())
    }

    /// The first batch before `end` that holds `offset` or a larger one, and its position.
    ///
    /// A base offset that is not the one to which the batch before leads is damage: checksums do not cover it. Such a
    /// batch hides no other one, since its size leads on.
    pub(crate) fn find(&self, offset: Offset, end: End) -> Result<Option<(FilePos, Batch<'_>)>, DamageAt> {
        let relative = offset.saturating_sub(self.base()).clamp(0, Offset::from(i32::MAX)) as u32;
        let entry = self.checked(self.indexes().offsets.lookup(relative), end);
        let (mut file_pos, mut expected) = entry.map_or((0, self.base()), |(at, batch)| (at, batch.base_offset()));
        while let Some(batch) = self.batch_at(file_pos, end)? {
            let follows = follows(&batch, expected, self.place.gaps_below);
            let next =
                if follows { batch.next_offset() } else { expected + Offset::from(batch.last_offset_delta()) + 1 };
            if offset < next {
                let found = Some((file_pos, batch));
                return if follows { Ok(found) } else { Err(DamageAt { file_pos, malformed: bad_offsets(&batch) }) };
            }
            file_pos += batch.size() as FilePos;
            expected = next;
        }
        Ok(None)
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

    /// The largest timestamp of the segment, if any of its records has one. For a segment that is not appended to.
    pub(crate) fn largest_timestamp(&self) -> Option<Timestamp> {
        let mut indexer = Indexer::resume(self.place.index_interval, self.indexes(), self.written().file_pos);
        // The active segment has no final entry yet: what is behind the last one counts, too.
        let (mut at, end) = (self.indexes().offsets.last().map_or(0, |entry| entry.file_pos), self.written());
        while let Ok(Some(batch)) = self.batch_at(at, end) {
            indexer.note_time(self.base(), &batch);
            at += batch.size() as FilePos;
        }
        indexer.largest_timestamp()
    }

    /// The time of the last change of the `.log` file.
    pub(crate) fn modified(&self) -> io::Result<Timestamp> {
        self.file.modified()
    }

    /// Removes the files. Who holds the segment can go on reading it.
    pub(crate) fn remove_files(&self) -> io::Result<()> {
        for file in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::Log] {
            match self.place.disk.remove_file(&self.place.path(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.place.disk.sync_dir(&self.place.dir)
    }

    /// The last batch that was written, and its position.
    pub(crate) fn last_batch(&self) -> Result<Option<(FilePos, Batch<'_>)>, DamageAt> {
        let end = self.written();
        let entry = self.checked(self.indexes().offsets.last(), end);
        let (mut at, mut last) = (entry.map_or(0, |(file_pos, _)| file_pos), None);
        while let Some(batch) = self.batch_at(at, end)? {
            last = Some((at, batch));
            at += batch.size() as FilePos;
        }
        Ok(last)
    }

    /// Whether the last batch is whole, has the right checksum, and ends exactly at the end of what was written.
    pub(crate) fn ends_with_its_last_batch(&self) -> bool {
        let end = self.written();
        match self.last_batch() {
            Ok(Some((_, batch))) => batch.next_offset() == end.offset && batch.verify_crc().is_ok(),
            Ok(None) => end.file_pos == 0 && end.offset == self.base(),
            Err(_) => false,
        }
    }

    fn indexes(&self) -> &Indexes {
        self.indexes.get_or_init(|| self.load_indexes().unwrap_or_else(|| self.rebuild_indexes()))
    }

    /// The indexes as their files have them, if they can be right, the last entry fits the log, and no entry is missing
    /// behind it.
    fn load_indexes(&self) -> Option<Indexes> {
        let end = self.written();
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
        (indexes.times.last() == last_time).then_some(indexes)
    }

    /// Builds the indexes from the batch headers. Stops where they do not hold: look-ups beyond walk on from there and
    /// meet the damage themselves.
    fn rebuild_indexes(&self) -> Indexes {
        let (indexes, mut indexer) = (Indexes::default(), Indexer::new(self.place.index_interval));
        let (mut file_pos, mut expected, end) = (0, self.base(), self.written());
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

    fn write_file(&self, file: SegmentFile, content: &[u8]) -> io::Result<()> {
        self.place.disk.open(&self.place.path(file), OpenMode::Create)?.write_at(content, 0)
    }
}

impl SegmentPlace {
    /// Path of one of the segment's files.
    pub(crate) fn path(&self, file: SegmentFile) -> PathBuf {
        segment_path(&self.dir, self.base, file)
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

/// An [`End`] in one word, so that offset and position always belong together: the offset, minus the segment's base,
/// above the position. Both only grow, hence so does the word.
#[derive(Debug)]
struct AtomicEnd(AtomicU64);

impl AtomicEnd {
    fn new(base: Offset, end: End) -> Self {
        AtomicEnd(AtomicU64::new(pack(base, end)))
    }

    /// Release: whoever loads the new end sees the bytes and index entries before it.
    fn raise(&self, base: Offset, end: End) {
        self.0.fetch_max(pack(base, end), Ordering::Release);
    }

    fn load(&self, base: Offset) -> End {
        let word = self.0.load(Ordering::Acquire);
        End { offset: base + (word >> 32) as Offset, file_pos: word as FilePos }
    }
}

/// The next segment of a log that others wrote can begin further away than a word holds: what lies in between is a gap.
fn pack(base: Offset, end: End) -> u64 {
    let relative = (end.offset - base).clamp(0, Offset::from(u32::MAX)) as u64;
    (relative << 32) | u64::from(end.file_pos)
}
