//! Cutting: the log ends where its whole batches end.

use std::io;
use std::path::{Path, PathBuf};

use super::log::sync_failed;
use super::partition_recovery::Cut;
use super::recover::{Recovering, Scanned};
use super::side_file::{keep_end, set_aside};
use crate::error::Result;
use crate::segment::{End, SegmentFile};
use crate::sys::{DiskFile, SyncPoint, replace_with_copy};
use crate::types::{FilePos, Offset};

/// Which of the bytes that are cut off are kept in side files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The end of the segment and the segments behind it.
    Everything,
    /// The segments behind.
    Segments,
    /// None.
    Nothing,
}

impl Recovering<'_> {
    /// Ends the log at the end of the batches of `scanned`. The segments `behind` go first, so that a crash in between
    /// leaves the same to be found again.
    pub(super) fn cut(
        &mut self,
        scanned: &Scanned,
        behind: &[(Offset, FilePos)],
        (reason, keep): (String, Keep),
    ) -> Result<()> {
        let Scanned { place, file, file_len, len, .. } = scanned;
        let (path, end) = (place.path(SegmentFile::Log), scanned.end());
        let mut kept_in = Vec::new();
        let mut bytes_behind = 0;
        for (base, len) in behind.iter().rev() {
            let len = self.len_without_room(*base, *len);
            bytes_behind += u64::from(len);
            kept_in.extend(self.set_aside(*base, len, keep)?);
        }
        if keep == Keep::Everything && end.file_pos < *len {
            let kept = keep_end(&*self.place.disk, &**file, &path, (u64::from(end.file_pos), u64::from(*len)));
            kept_in.push(kept.map_err(|error| self.refused("keep the end of the segment", &path, error))?);
        }
        if end.file_pos < *file_len {
            // Synced before anything is appended: what is cut must not come back behind new batches.
            self.cut_file(&**file, &path, end)?;
        }
        self.recovery.cut = Some(Cut {
            file_pos: u64::from(end.file_pos),
            bytes: u64::from(len - end.file_pos) + bytes_behind,
            log_end: end.offset,
            file: path,
            reason,
            kept_in,
        });
        Ok(())
    }

    /// A copy of the beginning takes the place of the file: the bytes behind may be mapped by somebody who read them before
    /// they were lost, or be in a backup that shares the file. Where there is no room for a copy, the file is cut.
    fn cut_file(&self, file: &dyn DiskFile, path: &Path, end: End) -> Result<()> {
        match replace_with_copy(&*self.place.disk, path, u64::from(end.file_pos), SyncPoint::CutCopy) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.shorten(file, path, end),
            replaced => replaced.map_err(|error| self.refused("cut the segment", path, error)),
        }
    }

    /// Cuts a file behind `end`, where nobody has read anything.
    pub(super) fn shorten(&self, file: &dyn DiskFile, path: &Path, end: End) -> Result<()> {
        file.set_len(u64::from(end.file_pos)).map_err(|error| self.refused("cut the segment", path, error))?;
        file.sync(SyncPoint::CutSegment).map_err(|error| sync_failed(path, error).in_partition(&self.place.partition))
    }

    /// Takes a whole segment out of the log. Its batches stay, under a name that is not a segment's, if they are to be
    /// kept.
    fn set_aside(&self, base: Offset, len: FilePos, keep: Keep) -> Result<Option<PathBuf>> {
        let (disk, place) = (&*self.place.disk, self.place.segment(base));
        let path = place.path(SegmentFile::Log);
        let kept_in = match keep {
            Keep::Nothing => disk.remove_file(&path).map(|()| None),
            _ => set_aside(disk, &path, u64::from(len)),
        };
        let kept_in = kept_in.map_err(|error| self.refused("take the segment out of the log", &path, error))?;
        for index in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
            let _ = disk.remove_file(&place.path(index)); // usually not there, and checked before it is used
        }
        Ok(kept_in)
    }
}
