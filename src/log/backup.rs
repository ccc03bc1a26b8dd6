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
//! from its map, or from its open file; where it has none, the copy begins again with what readers see by then. The log start is read after the
//! view and kept within what was copied.

use std::io;
use std::path::Path;

use super::checkpoint::Checkpoint;
use super::log::Log;
use super::producer_snapshot::{encode_snapshot, snapshot_name};
use super::producer_state::ProducerStates;
use super::side_file::copy_file;
use super::view::View;
use crate::error::{Error, Result};
use crate::segment::{End, Segment, SegmentFile, segment_path};
use crate::sync::{Arc, Ordering};
use crate::sys::{Disk, OpenMode, SyncPoint};
use crate::types::{FilePos, Offset};

/// Bytes that are copied with one write.
const PIECE: FilePos = 1 << 20;

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
        self.copy_latest(self.view.load_full(), recovery_point, target)
    }

    /// Copies what `view` shows, or, if segments of it are gone, what a later one does. Each time the log begins later, so
    /// it comes to an end.
    fn copy_latest(&self, mut view: Arc<View>, recovery_point: Offset, target: &Path) -> Result<Copied> {
        loop {
            let copied = self.copy_view(&view, recovery_point, target);
            let latest = self.view.load_full();
            let first_base = |view: &View| view.segments().first().map(|segment| segment.base());
            match copied {
                Err(error) if error.is_not_found() && first_base(&view) < first_base(&latest) => {
                    remove_segments(&*self.place.disk, target).map_err(|error| {
                        Error::io("begin the copy again in", target, error).in_partition(self.partition())
                    })?;
                    view = latest;
                }
                copied => return copied,
            }
        }
    }

    fn copy_view(&self, view: &View, recovery_point: Offset, target: &Path) -> Result<Copied> {
        let (end_base, end) = end_of_copy(view);
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
        self.copy_snapshot(target, first_base, end.offset)
            .map_err(|error| Error::io("copy the producers to", target, error).in_partition(self.partition()))?;
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
            copy_content(disk, segment, len, &to)?;
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

    /// What is known of producers comes along as the newest snapshot that the copy's end allows; the rest is in the copy's
    /// batches. Where there is none, one without a producer says that all of the copy has to be read. Its name becomes
    /// durable with the checkpoint, and a checksum tells whether the content has.
    fn copy_snapshot(&self, target: &Path, first_base: Offset, end: Offset) -> io::Result<()> {
        let disk = &*self.place.disk;
        let (newest, is_needed) = self.snapshot_of_copy(first_base, end);
        if let Some(offset) = newest {
            let [from, to] = [&*self.place.dir, target].map(|dir| dir.join(snapshot_name(offset)));
            if copy_file(disk, &from, &to)? {
                return Ok(());
            }
        }
        if !is_needed {
            return Ok(());
        }
        let nothing = encode_snapshot(&ProducerStates::default());
        disk.open(&target.join(snapshot_name(first_base)), OpenMode::Create)?.write_at(&nothing, 0)
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

/// End of what readers see, and the base of the segment in which a copy ends there.
///
/// Behind a gap it has to be the next segment, without a record: only its name says where the log ends.
fn end_of_copy(view: &View) -> (Offset, End) {
    let (base, end) = view.high_watermark();
    let has_next = view.segments().iter().any(|segment| base < segment.base() && segment.base() == end.offset);
    if has_next { (end.offset, End { offset: end.offset, file_pos: 0 }) } else { (base, end) }
}

/// Removes the files of segments in a directory.
fn remove_segments(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let files = [SegmentFile::Log, SegmentFile::OffsetIndex, SegmentFile::TimeIndex];
    for name in disk.names(dir)? {
        if files.iter().any(|file| file.base_of(&name).is_some()) {
            disk.remove_file(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Gives the segment file a second name; durable with the directory. False if that cannot be done here, or if the name
/// stands for something else by now.
fn link(disk: &dyn Disk, from: &Path, to: &Path, len: FilePos) -> io::Result<bool> {
    if disk.hard_link(from, to).is_err() {
        return Ok(false); // another file system, or gone: a copy will tell
    }
    let file = disk.open(to, OpenMode::Read)?;
    if file.len()? == u64::from(len) {
        file.sync(SyncPoint::Backup)?;
        return Ok(true);
    }
    disk.remove_file(to)?;
    Ok(false)
}

/// Copies the first `len` bytes of a segment, whatever has become of its name; durable with the directory.
fn copy_content(disk: &dyn Disk, segment: &Arc<Segment>, len: FilePos, to: &Path) -> io::Result<()> {
    if len == 0 {
        return disk.open(to, OpenMode::Create)?.sync(SyncPoint::Backup); // there is nothing to map
    }
    let reader = segment.reader()?;
    let file = disk.open(to, OpenMode::Create)?;
    let mut at = 0;
    while at < len {
        let end = len.min(at.saturating_add(PIECE));
        file.write_at(&reader.bytes(at..end)?, u64::from(at))?;
        at = end;
    }
    file.sync(SyncPoint::Backup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicConfig;
    use crate::log::{LeftBy, LogPlace};
    use crate::record::{BatchBuilder, Compression};
    use crate::sys::{OpenFiles, RealDisk};
    use crate::types::TopicPartition;

    fn open(dir: &Path) -> Log {
        let place = LogPlace {
            partition: TopicPartition::new("t", 0),
            dir: dir.into(),
            disk: Arc::new(RealDisk::default()),
            usage: Arc::default(),
            reserve: Arc::default(),
            uses_reserve: false,
            open_files: OpenFiles::new(4, 4),
            config: TopicConfig::new().internal_segment_bytes(300),
            gaps_below: Offset::MAX,
        };
        Log::open(place, LeftBy::Close).unwrap().0
    }

    #[test]
    fn a_copy_whose_segments_go_meanwhile_has_those_that_stay() {
        let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = open(dir.path());
        for _ in 0..30 {
            let mut builder = BatchBuilder::new();
            builder.push(1000, None, Some(&[7; 50]), std::iter::empty());
            log.append(builder.finish(Compression::None, None).unwrap(), 1000).unwrap();
        }
        log.close().unwrap();
        let log = open(dir.path()); // nothing is mapped
        let (view, recovery_point) = (log.view.load_full(), log.recovery_point.load(Ordering::Acquire));
        std::fs::write(segment_path(target.path(), 0, SegmentFile::Log), "of the first attempt").unwrap();
        log.delete_records(20, 0).unwrap();
        assert!(log.copy_view(&view, recovery_point, target.path()).unwrap_err().is_not_found());
        let copied = log.copy_latest(view, recovery_point, target.path()).unwrap();
        assert!(copied.linked > 0, "{copied:?}");
        let copy = open(target.path());
        assert_eq!((copy.log_start(), copy.log_end()), (20, 30));
        assert!(!segment_path(target.path(), 0, SegmentFile::Log).exists());
        let error = log.copy_view(&log.view.load_full(), recovery_point, Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        log.copy_to(Path::new("/nowhere/at/all")).unwrap_err(); // and does not try for ever
    }
}
