//! Recovery and the room behind the batches of a segment: zeros which are neither data nor damage.

use std::io;

use super::recover::Recovering;
use crate::segment::{End, Scan, Segment, SegmentFile, SegmentPlace, data_end};
use crate::sync::Arc;
use crate::sys::OpenMode;
use crate::types::{FilePos, Offset};

impl Recovering<'_> {
    /// Bytes of a file that was walked, without the room behind its batches.
    pub(super) fn without_room(&self, found: &Scan, len: FilePos) -> FilePos {
        without_room((found.valid_end, found.data_end), len)
    }

    /// Whether the next segment may begin at `next`.
    pub(super) fn leads_to(&self, end: End, next: Offset) -> bool {
        end.offset == next || (end.offset < next && end.offset < self.place.gaps_below)
    }

    /// Whether zeros behind `end` are the room of a segment, from which nothing is missing as far as anybody can tell.
    pub(super) fn are_room(&self, end: End, next_base: Option<Offset>) -> bool {
        match next_base {
            Some(next) => self.leads_to(end, next),
            None => self.vouched_for() <= end.offset,
        }
    }

    /// Bytes of a segment without the room that was reserved for it: 0 if it has nothing else. One that cannot be read has
    /// no room.
    pub(super) fn len_without_room(&self, base: Offset, len: FilePos) -> FilePos {
        let file = self.place.disk.open(&self.place.segment(base).path(SegmentFile::Log), OpenMode::Read);
        let data_end = file.and_then(|file| data_end(&*file, 0, len));
        data_end.map_or(len, |data_end| without_room((0, data_end), len))
    }
}

/// Bytes of a file without the zeros at its end, but for those that what stands before them can end in: they are kept with
/// it, where it is kept.
fn without_room((valid_end, data_end): (FilePos, FilePos), len: FilePos) -> FilePos {
    const PAGE: FilePos = 4096;
    if data_end == valid_end { data_end } else { data_end.next_multiple_of(PAGE).min(len) }
}

/// Whether a whole batch ends at `end`, which the checkpoint says and nothing that follows can show.
pub(super) fn ends_with_a_batch(place: &SegmentPlace, end: End) -> io::Result<bool> {
    Arc::new(Segment::open(place.clone(), end)).reader()?.ends_with_its_last_batch(end)
}
