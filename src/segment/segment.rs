//! A segment in memory.

use std::io;
use std::path::{Path, PathBuf};

use super::end::{AtomicEnd, End};
use super::indexes::{Indexer, Indexes};
use super::names::{SegmentFile, segment_path};
use super::reader::{Readers, SegmentReader};
use crate::record::Batch;
use crate::sync::{Arc, ArcSwapOption, AtomicBool, CachePadded, Mutex, Ordering, Weak};
use crate::sys::{
    AppendFile, Disk, Evict, Eviction, FileBytes, OpenFiles, OpenMode, SyncPoint, WriteFailure, replace_with_copy,
};
use crate::types::{FilePos, Offset, Timestamp};

/// A `.log` file with its indexes. One writer appends to the active one; readers use all of them without a lock.
///
/// The files are opened and mapped when they are needed. A segment that is written to stays open until it is
/// [sealed](Segment::seal); any other one is closed again when too many are open, and opened at its next use.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) place: SegmentPlace,
    /// End of what has been written. Raised by the writer, after the bytes and their index entries.
    pub(super) written: CachePadded<AtomicEnd>,
    /// End of what readers may see: `written`, or behind it while a sync is due. Raised by whoever moves the high
    /// watermark. Each end has its own cache line: readers poll this one while the writer moves the other.
    visible: CachePadded<AtomicEnd>,
    /// The mapped bytes and the indexes, while the segment is open. Changed under `files`; a stale value is one of the same
    /// bytes.
    pub(super) reader: ArcSwapOption<SegmentReader>,
    /// Whether it was read since somebody wanted to close it.
    used: AtomicBool,
    pub(super) files: Mutex<Files>,
    /// Whether the directory entry of the `.log` file is known to be durable. Set by [`sync`](Segment::sync); a stale
    /// `false` costs one sync more.
    entry_synced: AtomicBool,
}

/// How the files of a segment stand.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The `.log` file of a segment that is written to. `None`: the content is durable and the index files say the same as
    /// the indexes.
    written: Option<Arc<AppendFile>>,
    /// Whether another process may be appending: the map has room to grow and stays.
    pub(super) followed: bool,
    /// The largest timestamp, once it was asked for, of a segment that is not written to.
    largest_timestamp: Option<Option<(Timestamp, u32)>>,
    /// Whether the names are gone. Another segment may have them by now.
    removed: bool,
    /// The same, for those who open the `.log` file again.
    retired: Arc<AtomicBool>,
    /// Those who can read the segment.
    readers: Weak<Readers>,
}

impl Files {
    /// What a new reader shares with those that are there.
    pub(super) fn readers(&mut self) -> Arc<Readers> {
        self.readers.upgrade().unwrap_or_else(|| {
            let readers = Arc::new(Readers);
            self.readers = Arc::downgrade(&readers);
            readers
        })
    }
}

/// What appends to a segment. There is one at a time.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    reader: Arc<SegmentReader>,
    file: Arc<AppendFile>,
    indexer: Indexer,
    /// Whether the file is to get its room before the next append.
    wants_room: bool,
}

/// Where a segment lives and how it is indexed.
#[derive(Clone, Debug)]
pub(crate) struct SegmentPlace {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) open_files: Arc<OpenFiles>,
    /// The partition's directory.
    pub(crate) dir: Arc<Path>,
    /// The offset that the segment is named after; no record in it has a smaller one.
    pub(crate) base: Offset,
    /// `index.interval.bytes`.
    pub(crate) index_interval: u32,
    /// Below it compaction may have left gaps in the offsets; from it on every batch follows the one before.
    pub(crate) gaps_below: Offset,
}

/// How far a segment may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes that its `.log` file may have.
    pub(crate) capacity: FilePos,
    /// `preallocate`: whether the file has all of them from the beginning.
    pub(crate) preallocate: bool,
    /// Whether the topic promises more than that records survive the process.
    pub(crate) promises: bool,
}

impl Segment {
    /// Creates an empty segment with `room`, and what appends to it. A `.log` file of its name is
    /// emptied: one that is in a view never has it, since the base of a new segment is the log end. After an error there
    /// is no such file, or [`io::ErrorKind::Other`] says that it could not be removed.
    pub(crate) fn create(place: SegmentPlace, room: Room) -> io::Result<(Self, SegmentWriter)> {
        let path = place.path(SegmentFile::Log);
        let disk = Arc::clone(&place.disk);
        let file = disk.open(&path, OpenMode::Create)?;
        let (end, retired) = (End { offset: place.base, file_pos: 0 }, Arc::default());
        let created = AppendFile::new(
            (&disk, path.clone()),
            Some(file),
            (0, room.capacity),
            room.promises,
            &place.open_files,
            Arc::clone(&retired),
        );
        let created = created.and_then(|file| if room.preallocate { file.reserve().map(|()| file) } else { Ok(file) });
        let file = Arc::new(created.map_err(|error| match disk.remove_file(&path) {
            Ok(()) => error,
            Err(_) => io::Error::other(error), // a stray file would hide what goes to its offsets elsewhere
        })?);
        let indexes = Some(Indexes::default());
        let indexer = Indexer::new(place.index_interval);
        let mut segment = Segment::open(place.clone(), end);
        let files = segment.files.get_mut();
        files.retired = retired;
        let reader = Arc::new(SegmentReader::new(place, files.readers(), Arc::clone(file.bytes()), end, indexes));
        files.written = Some(Arc::clone(&file));
        segment.entry_synced.store(false, Ordering::Relaxed);
        segment.reader.store(Some(Arc::clone(&reader)));
        Ok((segment, SegmentWriter { reader, file, indexer, wants_room: false }))
    }

    /// A segment whose `.log` file holds whole batches up to `end`, all of it durable. Opens nothing.
    pub(crate) fn open(place: SegmentPlace, end: End) -> Self {
        Segment {
            written: AtomicEnd::new(place.base, end).into(),
            visible: AtomicEnd::new(place.base, end).into(),
            reader: ArcSwapOption::empty(),
            used: AtomicBool::new(false),
            files: Mutex::default(),
            entry_synced: AtomicBool::new(true),
            place,
        }
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

    /// The bytes and indexes, opened if they are not.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the segment was removed, and what the system refuses.
    #[inline]
    pub(crate) fn reader(self: &Arc<Self>) -> io::Result<Arc<SegmentReader>> {
        match self.reader.load_full() {
            Some(reader) => {
                if !self.used.load(Ordering::Relaxed) {
                    self.used.store(true, Ordering::Relaxed);
                }
                Ok(reader)
            }
            None => self.open_reader(),
        }
    }

    /// The bytes and indexes, if the segment is open.
    pub(crate) fn reader_if_open(&self) -> Option<Arc<SegmentReader>> {
        self.reader.load_full()
    }

    #[cold]
    fn open_reader(self: &Arc<Self>) -> io::Result<Arc<SegmentReader>> {
        let mut files = self.files.lock();
        if let Some(reader) = self.reader.load_full() {
            return Ok(reader);
        }
        if files.removed {
            return Err(io::ErrorKind::NotFound.into());
        }
        let end = self.written();
        let file = self.place.disk.open(&self.path(), OpenMode::Read)?;
        if self.place.open_files.is_closed() {
            return Err(io::ErrorKind::NotFound.into()); // what was opened may be another broker's
        }
        let bytes = Arc::new(FileBytes::of_whole(self.place.open_files.read_mode, file, end.file_pos)?);
        let reader = Arc::new(SegmentReader::new(self.place.clone(), files.readers(), bytes, end, None));
        self.reader.store(Some(Arc::clone(&reader)));
        drop(files);
        self.note_open();
        Ok(reader)
    }

    fn note_open(self: &Arc<Self>) {
        let weak: Weak<Segment> = Arc::downgrade(self);
        self.place.open_files.maps.note(weak);
    }

    /// What appends behind the present end, with `room` in all. There is none yet. The file gets its room with
    /// [`make_room`](SegmentWriter::make_room), when it is known that something goes there.
    pub(crate) fn writer(&self, room: Room) -> io::Result<SegmentWriter> {
        let mut files = self.files.lock();
        let end = self.written();
        let SegmentPlace { disk, open_files, .. } = &self.place;
        if disk.entry(&self.path())?.names > 1 {
            // A backup has it, too, which must not see what is appended here.
            replace_with_copy(&**disk, &self.path(), u64::from(end.file_pos), SyncPoint::UnsharedSegment)?;
            disk.sync_dir(&self.place.dir, SyncPoint::UnsharedSegmentName)?;
        }
        let (capacity, retired) = ((end.file_pos, room.capacity), Arc::clone(&files.retired));
        let opened = AppendFile::new((disk, self.path()), None, capacity, room.promises, open_files, retired)?;
        let file = Arc::new(opened);
        let bytes = Arc::clone(file.bytes());
        let reader = Arc::new(SegmentReader::new(self.place.clone(), files.readers(), bytes, end, None));
        let indexer = Indexer::resume(self.place.index_interval, reader.indexes()?, end.file_pos);
        self.reader.store(Some(Arc::clone(&reader)));
        files.written = Some(Arc::clone(&file));
        files.largest_timestamp = None;
        Ok(SegmentWriter { reader, file, indexer, wants_room: room.preallocate })
    }

    /// Appends one finished batch.
    pub(crate) fn append(&self, writer: &mut SegmentWriter, batch: &Batch<'_>) -> Result<(), WriteFailure> {
        let file_pos = writer.file.append(batch.bytes())?;
        if let Some(indexes) = writer.reader.indexes_made() {
            writer.indexer.note(self.base(), file_pos, batch, indexes);
        }
        let end = End { offset: batch.next_offset(), file_pos: file_pos + batch.size() as FilePos };
        self.written.raise(self.base(), end);
        Ok(())
    }

    /// Makes what is written now durable, the directory entry included, and returns its end.
    pub(crate) fn sync(&self, point: SyncPoint) -> io::Result<End> {
        let end = self.written();
        let file = self.files.lock().written.clone();
        let synced = file.as_ref().map_or(Ok(()), |file| file.sync(point));
        self.after_sync(synced, file.is_some())?;
        Ok(end)
    }

    /// As [`sync`](Segment::sync), for segments of many logs at once. `None` for one that somebody else is syncing.
    pub(crate) fn sync_together(
        disk: &dyn Disk,
        segments: &[Arc<Segment>],
        point: SyncPoint,
    ) -> Vec<Option<io::Result<End>>> {
        let begun: Vec<_> =
            segments.iter().map(|segment| (segment.written(), segment.files.lock().written.clone())).collect();
        let files: Vec<_> = begun.iter().filter_map(|(_, file)| file.clone()).collect();
        let mut synced = AppendFile::sync_together(disk, &files, point).into_iter();
        let ends = segments.iter().zip(begun);
        ends.map(|(segment, (end, file))| {
            let synced = if file.is_some() { synced.next()?? } else { Ok(()) };
            Some(segment.after_sync(synced, file.is_some()).map(|()| end))
        })
        .collect()
    }

    /// What follows the sync of the file: the name becomes durable, too.
    fn after_sync(&self, synced: io::Result<()>, has_file: bool) -> io::Result<()> {
        match synced {
            Err(_) if self.is_removed() => return Ok(()), // nobody needs it any more
            synced => synced?,
        }
        if has_file && !self.entry_synced.load(Ordering::Relaxed) {
            self.place.disk.sync_dir(&self.place.dir, SyncPoint::SegmentName)?;
            self.entry_synced.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A sync is promised of what is written, and of what will be: see [`AppendFile::promise`].
    pub(crate) fn promise(&self) {
        if let Some(file) = &self.files.lock().written {
            file.promise();
        }
    }

    /// Gives back the room behind the end of a finished segment. Comes before [`seal`](Segment::seal), whose sync makes it
    /// durable together with the batches: a crash in between leaves zeros behind them, or leaves them as they are.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let file = self.files.lock().written.clone();
        file.map_or(Ok(()), |file| file.trim())
    }

    /// Makes a finished segment durable and writes its index files, unless that has been done. Nothing is appended
    /// meanwhile, and afterwards only by a new [`writer`](Segment::writer).
    pub(crate) fn seal(self: &Arc<Self>) -> io::Result<()> {
        if self.files.lock().written.is_none() {
            return Ok(());
        }
        self.sync(SyncPoint::SealedSegment)?;
        let reader = self.reader.load_full().filter(|_| !self.is_removed());
        if let Some(indexes) = reader.as_ref().and_then(|reader| reader.indexes_made()) {
            self.place.write_indexes(indexes);
        }
        self.files.lock().written = None;
        self.note_open();
        Ok(())
    }

    /// The largest timestamp of the segment, if any of its records has one, and the last offset of the first batch that
    /// carries it.
    pub(crate) fn largest_timestamp(self: &Arc<Self>) -> io::Result<Option<(Timestamp, Offset)>> {
        let known = self.files.lock().largest_timestamp;
        let largest = match known {
            Some(largest) => largest,
            None => {
                let end = self.written();
                let largest = self.reader()?.largest_timestamp(end)?;
                let mut files = self.files.lock();
                if files.written.is_none() && !files.followed && end == self.written() {
                    files.largest_timestamp = Some(largest);
                }
                largest
            }
        };
        Ok(largest.map(|(timestamp, relative)| (timestamp, self.base() + Offset::from(relative))))
    }

    /// The time of the last change of the `.log` file.
    pub(crate) fn modified(&self) -> io::Result<Timestamp> {
        self.place.disk.open(&self.path(), OpenMode::Read)?.modified()
    }

    fn is_removed(&self) -> bool {
        self.files.lock().removed
    }

    /// Whether the content is durable and the index files say the same as the indexes.
    pub(crate) fn is_sealed(&self) -> bool {
        self.files.lock().written.is_none()
    }

    /// Has the next sync make the name durable, too.
    pub(crate) fn forget_entry(&self) {
        self.entry_synced.store(false, Ordering::Relaxed);
    }

    /// Whether the bytes are mapped, or open, for the next reader.
    pub(crate) fn is_mapped(&self) -> bool {
        self.reader.load().is_some()
    }

    /// Gives the names of the files up, so that somebody else can have them: they are never opened again. Returns those
    /// who still hold its bytes.
    pub(crate) fn retire(&self) -> Weak<Readers> {
        let mut files = self.files.lock();
        files.removed = true;
        files.retired.store(true, Ordering::Release);
        files.written = None;
        let readers = files.readers.clone();
        drop(files);
        self.reader.store(None);
        readers
    }

    /// Removes the files. Who holds a reader can go on reading.
    pub(crate) fn remove_files(&self) -> io::Result<()> {
        for file in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::Log] {
            match self.place.disk.remove_file(&self.place.path(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.place.disk.sync_dir(&self.place.dir, SyncPoint::RemovedSegment)
    }
}

impl Evict for Segment {
    fn try_evict(&self) -> Eviction {
        if self.used.swap(false, Ordering::Relaxed) {
            return Eviction::Keep;
        }
        match self.files.try_lock() {
            Some(files) if files.written.is_none() && !files.followed => {
                self.reader.store(None); // unmapped when the last slice of it is dropped
                Eviction::Forget
            }
            Some(_) => Eviction::Forget, // noted again when it is sealed
            None => Eviction::Keep,
        }
    }
}

impl SegmentWriter {
    /// What has been written, for reading.
    pub(crate) fn reader(&self) -> &Arc<SegmentReader> {
        &self.reader
    }

    /// Bytes that the file may grow to.
    pub(crate) fn capacity(&self) -> FilePos {
        self.reader.capacity()
    }

    /// Gives the file its room, if it is to have that and nothing was appended since it was opened again.
    pub(crate) fn make_room(&mut self) -> io::Result<()> {
        if self.wants_room {
            self.file.reserve()?;
            self.wants_room = false;
        }
        Ok(())
    }

    /// Makes the final time index entry, when the segment is left.
    pub(crate) fn finish(&self) {
        if let Some(indexes) = self.reader.indexes_made() {
            self.indexer.note_end(indexes);
        }
    }
}

impl SegmentPlace {
    /// Path of one of the segment's files.
    pub(crate) fn path(&self, file: SegmentFile) -> PathBuf {
        segment_path(&self.dir, self.base, file)
    }

    /// Writes the index files. They are a cache: not synced, looked at before they are used, and built again where they are
    /// missing, so a full disk does no harm.
    pub(crate) fn write_indexes(&self, indexes: &Indexes) {
        let files = [
            (SegmentFile::OffsetIndex, indexes.offsets.to_bytes()),
            (SegmentFile::TimeIndex, indexes.times.to_bytes()),
        ];
        for (file, content) in files {
            let created = self.disk.open(&self.path(file), OpenMode::Create);
            let _ = created.and_then(|file| file.write_at(&content, 0));
        }
    }
}
