//! A segment that another process appends to.

use std::io;

use super::end::End;
use super::headers::before_damage;
use super::indexes::{Indexer, Indexes};
use super::names::SegmentFile;
use super::reader::SegmentReader;
use super::scan::{ScanOffsets, announces_batch, scan_whole};
use super::segment::{Segment, SegmentPlace};
use crate::sync::Arc;
use crate::sys::{FollowedFile, SyncPoint};
use crate::types::FilePos;

/// A segment that another process appends to, and what shows its appends. There is one at a time.
#[derive(Debug)]
pub(crate) struct SegmentFollower {
    segment: Arc<Segment>,
    reader: Arc<SegmentReader>,
    file: FollowedFile,
    indexer: Indexer,
    /// Bytes whose batches are in the indexes: they can be ahead of what is shown, if something failed in between.
    indexed: FilePos,
    /// Whether the name of the file is known to be durable.
    entry_synced: bool,
}

impl SegmentFollower {
    /// Begins with an empty segment that has room for `capacity` bytes.
    pub(crate) fn new(place: SegmentPlace, capacity: FilePos) -> io::Result<Self> {
        let file =
            FollowedFile::open(&*place.disk, &place.path(SegmentFile::Log), capacity, place.open_files.read_mode)?;
        let end = End { offset: place.base, file_pos: 0 };
        let indexer = Indexer::new(place.index_interval);
        let mut segment = Segment::open(place.clone(), end);
        let files = segment.files.get_mut();
        let indexes = Some(Indexes::default());
        let reader = Arc::new(SegmentReader::new(place, files.readers(), Arc::clone(file.bytes()), end, indexes));
        files.followed = true;
        segment.reader.store(Some(Arc::clone(&reader)));
        Ok(SegmentFollower { segment: Arc::new(segment), reader, file, indexer, indexed: 0, entry_synced: false })
    }

    /// The segment.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Whether a file of `len` bytes is more than there is room for.
    pub(crate) fn is_too_small_for(&self, len: FilePos) -> bool {
        self.file.bytes().capacity() < len
    }

    /// Shows what another process has appended by now: the batches that are whole. With `durable` they are made durable
    /// before they are shown.
    pub(crate) fn catch_up(&mut self, durable: bool) -> io::Result<()> {
        let (from, place) = (self.segment.written(), &self.segment.place);
        let file = self.file.file();
        let len = FilePos::try_from(file.len()?).unwrap_or(FilePos::MAX).min(self.file.bytes().capacity());
        if len <= from.file_pos || !announces_batch(file, from.file_pos)? {
            return Ok(());
        }
        let offsets = ScanOffsets { base: place.base, from: from.offset, gaps_below: place.gaps_below };
        let found = scan_whole(file, (from.file_pos, len), offsets, |_, _| {})?;
        if found.valid_end == from.file_pos {
            return Ok(());
        }
        if durable {
            self.file.sync()?;
            if !self.entry_synced {
                place.disk.sync_dir(&place.dir, SyncPoint::FollowedSegmentName)?;
                self.entry_synced = true;
            }
        }
        self.file.publish(found.valid_end)?;
        let end = End { offset: found.next_offset, file_pos: found.valid_end };
        // Last, so that an error above leaves nothing half done; one in here is made up for the next time.
        let (indexes, mut headers) = (self.reader.indexes()?, self.reader.headers(end));
        while let Some(batch) = before_damage(headers.at(self.indexed))? {
            self.indexer.note(place.base, self.indexed, batch, indexes);
            self.indexed += batch.size() as FilePos;
        }
        self.segment.written.raise(place.base, end);
        self.segment.show(end);
        Ok(())
    }
}
