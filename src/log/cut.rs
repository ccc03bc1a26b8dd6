//! Cutting: the log ends where its whole batches end.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::log::sync_failed;
use super::partition_recovery::Cut;
use super::recover::{Recovering, Scanned};
use crate::error::Result;
use crate::segment::SegmentFile;
use crate::sys::{DiskFile, OpenMode};
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
        let Scanned { place, file, len, .. } = scanned;
        let (path, end) = (place.path(SegmentFile::Log), scanned.end());
        let mut kept_in = Vec::new();
        for (base, len) in behind.iter().rev() {
            kept_in.extend(self.set_aside(*base, *len, keep)?);
        }
        if keep == Keep::Everything && end.file_pos < *len {
            kept_in.push(self.keep_end(&**file, &path, (end.file_pos, *len))?);
        }
        if end.file_pos < *len {
            // Synced before anything is appended: what is cut must not come back behind new batches.
            file.set_len(u64::from(end.file_pos)).map_err(|error| self.refused("cut the segment", &path, error))?;
            file.sync().map_err(|error| sync_failed(&path, error).in_partition(&self.place.partition))?;
        }
        self.recovery.cut = Some(Cut {
            file_pos: u64::from(end.file_pos),
            bytes: u64::from(len - end.file_pos) + behind.iter().map(|(_, len)| u64::from(*len)).sum::<u64>(),
            log_end: end.offset,
            file: path,
            reason,
            kept_in,
        });
        Ok(())
    }

    /// Copies the bytes of a range into a side file; durable before they are cut off.
    fn keep_end(&self, file: &dyn DiskFile, path: &Path, (from, end): (FilePos, FilePos)) -> Result<PathBuf> {
        let kept_in = self.free_name(path, &format!(".{from}.corrupt"));
        let copy = || -> io::Result<()> {
            let copy = self.place.disk.open(&kept_in, OpenMode::Create)?;
            let mut piece = vec![0; 256 * 1024];
            let mut at = u64::from(from);
            while at < u64::from(end) {
                let read = file.read_at(&mut piece, at)?;
                let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
                copy.write_at(bytes, at - u64::from(from))?;
                at += read as u64;
            }
            copy.sync()
        };
        copy().map_err(|error| self.refused("keep the end of the segment in", &kept_in, error))?;
        self.sync_dir()?;
        Ok(kept_in)
    }

    /// Takes a whole segment out of the log. Its batches stay, under a name that is not a segment's.
    fn set_aside(&self, base: Offset, len: FilePos, keep: Keep) -> Result<Option<PathBuf>> {
        let (disk, place) = (&self.place.disk, self.place.segment(base));
        let path = place.path(SegmentFile::Log);
        let kept_in = (len > 0 && keep != Keep::Nothing).then(|| self.free_name(&path, ".corrupt"));
        match &kept_in {
            Some(kept_in) => disk.rename(&path, kept_in),
            None => disk.remove_file(&path),
        }
        .map_err(|error| self.refused("take the segment out of the log", &path, error))?;
        for index in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
            let _ = disk.remove_file(&place.path(index)); // usually not there, and checked before it is used
        }
        self.sync_dir()?;
        Ok(kept_in)
    }

    /// A name for a side file that no earlier recovery has used.
    fn free_name(&self, path: &Path, suffix: &str) -> PathBuf {
        let named = |number: u32| {
            let mut name = OsString::from(path);
            name.push(if number == 0 { suffix.to_owned() } else { format!("{suffix}.{number}") });
            PathBuf::from(name)
        };
        let is_free = |path: &PathBuf| {
            let opened = self.place.disk.open(path, OpenMode::Read);
            opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        (0..1000).map(named).find(is_free).unwrap_or_else(|| named(1000))
    }
}
