//! Copying a log while it is in use: what readers see at one moment becomes a log in another directory.
//!
//! Segments that nothing is appended to are hard-linked, which takes neither time nor space. What makes that safe:
//!
//! - A log writes to the file of its active segment only. The last segment of a copy, which would be its active one, is
//!   therefore always a real copy, on both sides.
//! - Recovery cuts a segment file in place only at or behind the recovery point, so what is linked lies below it, in a
//!   checkpoint that is on the disk. Damage below it is refused and not cut.
//! - A repair that was asked for cuts a copy and renames it over the segment's name; the linked file stays what it is.
//! - Retention and recovery remove and rename names; the other name keeps the bytes.
//!
//! Index files are rewritten in place when a segment is sealed once more, so they are copied and never linked.
//!
//! Nothing that happens at the same time breaks the copy: it holds the view, so a segment whose name is gone is copied
//! from its map, and the log start is read after the view and kept within what was copied.

use std::io;
use std::path::Path;

use super::checkpoint::Checkpoint;
use super::log::Log;
use super::side_file::copy_file;
use crate::error::{Error, Result};
use crate::segment::{End, Segment, SegmentFile, segment_path};
use crate::sync::{Arc, Ordering};
use crate::sys::{Disk, OpenMode};
use crate::types::{FilePos, Offset};

/// Bytes that are copied with one write.
const PIECE: usize = 1 << 20;

/// What was copied of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Segments that share their bytes with the log.
    pub(crate) linked: usize,
    /// Segments that were copied.
    pub(crate) copied: usize,
    /// Bytes of record batches in the former.
    pub(crate) linked_bytes: u64,
    /// Bytes of record batches in the latter.
    pub(crate) copied_bytes: u64,
}

impl Log {
    /// Makes `target`, an empty directory, a log with what readers see now, closed in order. Durable when it returns, but
    /// for the name of `target`.
    ///
    /// # Errors
    ///
    /// The one that keeps this log from being appended to, since nobody knows what is in its files then; what the disk
    /// answers.
    pub(crate) fn copy_to(&self, target: &Path) -> Result<Copied> {
        self.check_failure()?;
        self.seal_rolled()?;
        let recovery_point = self.recovery_point.load(Ordering::Acquire);
        let view = self.view.load_full();
        let (end_base, end) = view.high_watermark();
        let first_base = view.segments().first().map_or(end_base, |segment| segment.base());
        let log_start = self.log_start().min(end.offset).max(first_base);
        let count = view.segments().partition_point(|segment| segment.base() <= end_base);
        let segments = view.segments().get(..count).unwrap_or_default();

        let mut copied = Copied::default();
        for (at, segment) in segments.iter().enumerate() {
            let may_link = segments.get(at + 1).is_some_and(|next| next.base() <= recovery_point);
            let len = if segment.base() == end_base { end.file_pos } else { segment.visible().file_pos };
            self.copy_segment(segment, len, target, may_link, &mut copied).map_err(|error| {
                Error::io("copy the segment", &segment.path(), error).in_partition(self.partition())
            })?;
        }
        self.write_checkpoint_of_copy(target, (log_start, end_base, end))
            .map_err(|error| Error::io("write the checkpoint", target, error).in_partition(self.partition()))?;
        Ok(copied)
    }

    fn copy_segment(
        &self,
        segment: &Arc<Segment>,
        len: FilePos,
        target: &Path,
        may_link: bool,
        copied: &mut Copied,
    ) -> io::Result<()> {
        let disk = &*self.place.disk;
        let to = segment_path(target, segment.base(), SegmentFile::Log);
        if may_link && link(disk, &segment.path(), &to, len)? {
            copied.linked += 1;
            copied.linked_bytes += u64::from(len);
        } else {
            copy_mapped(disk, segment, len, &to)?;
            copied.copied += 1;
            copied.copied_bytes += u64::from(len);
        }
        if may_link {
            for index in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
                let [from, to] = [&*self.place.dir, target].map(|dir| segment_path(dir, segment.base(), index));
                if copy_file(disk, &from, &to).is_err() {
                    let _ = disk.remove_file(&to); // a cache: built again where it is missing
                }
            }
        }
        Ok(())
    }

    /// The last thing that is written, as for every log.
    fn write_checkpoint_of_copy(&self, dir: &Path, (log_start, base, end): (Offset, Offset, End)) -> io::Result<()> {
        let checkpoint = Checkpoint {
            recovery_point: end.offset,
            log_start,
            cleaner_offset: self.place.gaps_below.min(end.offset),
            log_end: end.offset,
            active_base: base,
            active_size: end.file_pos,
        };
        checkpoint.store(&*self.place.disk, dir)
    }
}

/// Gives the segment file a second name; durable with the directory. False if that cannot be done here, or if the name
/// stands for something else by now.
fn link(disk: &dyn Disk, from: &Path, to: &Path, len: FilePos) -> io::Result<bool> {
    if disk.hard_link(from, to).is_err() {
        return Ok(false); // another file system, or gone: a copy will tell
    }
    let file = disk.open(to, OpenMode::Read)?;
    if file.len()? == u64::from(len) {
        file.sync()?;
        return Ok(true);
    }
    disk.remove_file(to)?;
    Ok(false)
}

/// Copies the first `len` bytes of a segment, whatever has become of its name; durable with the directory.
fn copy_mapped(disk: &dyn Disk, segment: &Arc<Segment>, len: FilePos, to: &Path) -> io::Result<()> {
    let reader = segment.reader()?;
    let bytes = reader.bytes(0..len).ok_or(io::ErrorKind::UnexpectedEof)?;
    let file = disk.open(to, OpenMode::Create)?;
    for (at, piece) in bytes.chunks(PIECE).enumerate() {
        file.write_at(piece, (at * PIECE) as u64)?;
    }
    file.sync()
}
