//! The changes that a repair makes to a log, each durable when it returns.

use std::io;
use std::path::Path;

use crate::log::{Checkpoint, LeaderEpochs, keep_end, set_aside};
use crate::segment::{End, SegmentFile, segment_path};
use crate::sys::{Disk, OpenMode, SyncPoint, replace_with_copy};
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
    /// The order: what is cut off is kept, the epoch is raised, later segments go from the last to the first, the
    /// segment is replaced, the checkpoint follows. Until the segment is replaced the same repair finds the same place
    /// to cut; from then on the log ends there, and where that is below the recovery point, the raised epoch tells that
    /// a repair cut it. So the same repair goes on, wherever it was cut short. Opening in between finds the log as it
    /// was, or without its end, which it refuses to append to where that was below the recovery point.
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
            replace_with_copy(self.disk, &path, u64::from(end.file_pos), SyncPoint::Repair)?;
            self.disk.sync_dir(self.dir, SyncPoint::RepairName)?;
        }
        self.remove_indexes(base)?;
        checkpoint.store(self.disk, self.dir)
    }

    /// Begins the log anew at `offset`, without a record.
    ///
    /// The epoch and the checkpoint go first, so that a log without a segment can be told from one that lost them:
    /// [`is_restarting`](LogDir::is_restarting). With some of the old segments the same repair finds what it found, and
    /// opening refuses, or finds what the old log has from `offset` on.
    pub(super) fn restart(self, offset: Offset, segments: &[(Offset, u64)]) -> io::Result<()> {
        self.raise_epoch(offset)?;
        restarted(offset).store(self.disk, self.dir)?;
        for segment in segments.iter().rev() {
            self.set_aside(*segment)?;
        }
        let path = segment_path(self.dir, offset, SegmentFile::Log);
        self.disk.open(&path, OpenMode::Create)?.sync(SyncPoint::Repair)?;
        self.disk.sync_dir(self.dir, SyncPoint::RepairName)
    }

    /// Whether a log without a segment is what [`restart`](LogDir::restart) leaves before it makes one.
    pub(super) fn is_restarting(self, checkpoint: Checkpoint) -> io::Result<bool> {
        Ok(checkpoint == restarted(checkpoint.log_start) && self.has_cut_at(checkpoint.log_start)?)
    }

    /// Whether a cut at `offset` was begun, and nothing was cut after it.
    pub(super) fn has_cut_at(self, offset: Offset) -> io::Result<bool> {
        Ok(LeaderEpochs::load(self.disk, self.dir)?.has_cut_at(offset))
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
        self.disk.sync_dir(self.dir, SyncPoint::RepairName)
    }

    fn set_aside(self, (base, len): (Offset, u64)) -> io::Result<()> {
        set_aside(self.disk, &segment_path(self.dir, base, SegmentFile::Log), len)?;
        self.remove_indexes(base)
    }
}

/// The checkpoint of a log that begins at `offset` and has no record.
fn restarted(offset: Offset) -> Checkpoint {
    Checkpoint {
        recovery_point: offset,
        log_start: offset,
        cleaner_offset: offset,
        log_end: offset,
        active_base: offset,
        active_size: 0,
    }
}
