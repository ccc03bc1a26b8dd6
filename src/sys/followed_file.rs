//! A file that another process appends to.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile, OpenMode};
use super::file_bytes::{FileBytes, ReadFile};
use super::sync_point::SyncPoint;
use crate::sync::Arc;
use crate::types::{FilePos, ReadMode};

/// A file that another process appends to, for reading with room to grow.
///
/// What may be read is what this process has found whole: the owner never changes it in place, and replaces the file by
/// another one where it has to be shortened.
#[derive(Debug)]
pub(crate) struct FollowedFile {
    file: Arc<dyn DiskFile>,
    bytes: Arc<FileBytes>,
    /// Whether a sync has failed: nothing more is known to be durable.
    sync_failed: bool,
}

impl FollowedFile {
    /// Opens the file at `path` with room for `capacity` bytes. Nothing of it can be read yet.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, capacity: FilePos, mode: ReadMode) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        let read = || ReadFile::Open(Arc::clone(&file));
        let bytes = Arc::new(FileBytes::new(mode, &*file, read, (capacity, 0))?);
        Ok(FollowedFile { file, bytes, sync_failed: false })
    }

    /// The file, for reading what is not published yet.
    pub(crate) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// What has been published.
    pub(crate) fn bytes(&self) -> &Arc<FileBytes> {
        &self.bytes
    }

    /// Makes the content durable. After a failure every later call fails, too.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.sync_failed {
            return Err(io::Error::other("an earlier sync of the file failed"));
        }
        self.file.sync(SyncPoint::FollowedSegment).inspect_err(|_| self.sync_failed = true)
    }

    /// Makes bytes up to `end` readable, if the file has them.
    pub(crate) fn publish(&self, end: FilePos) -> io::Result<()> {
        if self.file.len()? < u64::from(end) || self.bytes.capacity() < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bytes.publish(end);
        Ok(())
    }
}
