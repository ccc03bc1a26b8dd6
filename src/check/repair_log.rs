//! The changes that a repair makes to a log, each durable when it returns.

use std::io;
use std::path::Path;

use crate::log::{Checkpoint, LeaderEpochs, keep_end, set_aside};
use crate::segment::{End, SegmentFile, segment_path};
use crate::sys::{Disk, OpenMode, replace_with_copy};
use crate::types::Offset;

/// The directory of a log.
#[derive(Clone, Copy)]
pub(super) struct LogDir<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
}

impl LogDir<'_> {
    /// Ends the log in the segment at `base`, of `len` bytes, with `behind` the segments that follow it.
    ///
    /// The order: what is cut off is kept, the epoch is raised, later segments go from the last to the first, the segment is
    /// replaced, the checkpoint follows. Until the segment is replaced the damage is still there, and from then on the
    /// log ends below its recovery point: in either case opening refuses and the same repair goes on.
    pub(super) fn cut(
        self,
        (base, len): (Offset, u64),
        end: End,
        behind: &[(Offset, u64)],
        checkpoint: Checkpoint,
    ) -> io::Result<()> {
        let path = segment_path(self.dir, base, SegmentFile::Log);
        if u64::from(end.file_pos) < len {
            let file = self.disk.open(&path, OpenMode::Read)?;
            keep_end(self.disk, &*file, &path, (u64::from(end.file_pos), len))?;
        }
        self.raise_epoch(end.offset)?;
        for segment in behind.iter().rev() {
            self.set_aside(*segment)?;
        }
        if u64::from(end.file_pos) < len {
            replace_with_copy(self.disk, &path, u64::from(end.file_pos))?;
        }
        self.remove_indexes(base)?;
        checkpoint.store(self.disk, self.dir)
    }

    /// Begins the log anew at `offset`, without a record.
    ///
    /// The checkpoint goes first: with the old segments, or without any, it makes opening refuse, and the repair go on.
    pub(super) fn restart(self, offset: Offset, segments: &[(Offset, u64)]) -> io::Result<()> {
        self.raise_epoch(offset)?;
        let checkpoint = Checkpoint {
            recovery_point: offset,
            log_start: offset,
            cleaner_offset: offset,
            log_end: offset,
            active_base: offset,
            active_size: 0,
        };
        checkpoint.store(self.disk, self.dir)?;
        for segment in segments.iter().rev() {
            self.set_aside(*segment)?;
        }
        let path = segment_path(self.dir, offset, SegmentFile::Log);
        self.disk.open(&path, OpenMode::Create)?.sync()?;
        self.disk.sync_dir(self.dir)
    }

    /// Begins a leader epoch at `log_end`. A file that cannot be read is written anew.
    pub(super) fn raise_epoch(self, log_end: Offset) -> io::Result<()> {
        LeaderEpochs::load(self.disk, self.dir)?.raised_at(log_end).store(self.disk, self.dir)
    }

    /// Removes the index files of a segment. They are a cache and are built again.
    pub(super) fn remove_indexes(self, base: Offset) -> io::Result<()> {
        for index in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
            match self.disk.remove_file(&segment_path(self.dir, base, index)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.disk.sync_dir(self.dir)
    }

    fn set_aside(self, (base, len): (Offset, u64)) -> io::Result<()> {
        set_aside(self.disk, &segment_path(self.dir, base, SegmentFile::Log), len)?;
        self.remove_indexes(base)
    }
}
