//! A file that only grows, read through a map.

use std::io;
use std::ops::Range;

use super::disk::DiskFile;
use super::mapping::Mapping;
use crate::sync::{Arc, Mutex};
use crate::types::{FilePos, Timestamp};

/// A file that only grows: appended to by `pwrite`, read through a read-only map.
///
/// Why not store through the map: a full disk or a failing device is then an error value, not a signal, and a sync
/// writes back what was written instead of whole cache folios.
///
/// Readers need no lock. A slice is final from the moment it is handed out.
#[derive(Debug)]
pub(crate) struct AppendFile {
    file: Arc<dyn DiskFile>,
    mapping: Mapping,
    /// Held for the length of an append, so that two of them can never write to the same place.
    writing: Mutex<()>,
    /// Held for the length of a sync; whether one has failed. The system reports a failed write-back to one caller only:
    /// a second sync, at the same time or later, would succeed without the bytes being there.
    sync_failed: Mutex<bool>,
}

/// Why bytes did not get into the file.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// They are not in it; the file is as it was before and takes the next append.
    Undone(io::Error),
    /// They may be in it in part, behind the published end, and could not be removed. No append may follow.
    Torn(io::Error),
}

impl AppendFile {
    /// Takes `file`, of which the first `len` bytes are there and final, and reserves room for `capacity`.
    /// A file that is shorter than `len` is an error: its missing bytes must not be touched through the map.
    pub(crate) fn new(file: Arc<dyn DiskFile>, len: FilePos, capacity: FilePos) -> io::Result<Self> {
        if file.len()? < u64::from(len) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mapping = Mapping::new(file.as_file(), capacity.max(len), len)?;
        Ok(AppendFile { file, mapping, writing: Mutex::new(()), sync_failed: Mutex::new(false) })
    }

    /// Bytes that it can grow to.
    pub(crate) fn capacity(&self) -> FilePos {
        self.mapping.capacity()
    }

    /// The bytes of `range`; `None` if any of them has not been appended.
    pub(crate) fn slice(&self, range: Range<FilePos>) -> Option<&[u8]> {
        self.mapping.slice(range)
    }

    /// Appends `bytes` and returns where. They are readable when it returns, and durable after the next
    /// [`sync`](AppendFile::sync).
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<FilePos, WriteFailure> {
        let _writing = self.writing.lock();
        let start = self.mapping.published();
        let end = FilePos::try_from(bytes.len())
            .ok()
            .and_then(|len| start.checked_add(len))
            .filter(|end| *end <= self.capacity())
            .ok_or_else(|| WriteFailure::Undone(io::Error::from(io::ErrorKind::FileTooLarge)))?;
        if let Err(error) = self.file.write_at(bytes, u64::from(start)) {
            // A part of the bytes may be there. Nobody can see it, and the next append must not find it.
            return Err(match self.file.set_len(u64::from(start)) {
                Ok(()) => WriteFailure::Undone(error),
                Err(_) => WriteFailure::Torn(error),
            });
        }
        self.mapping.publish(end);
        Ok(start)
    }

    /// The time of the last change of the file.
    pub(crate) fn modified(&self) -> io::Result<Timestamp> {
        self.file.modified()
    }

    /// Makes everything appended before the call durable. After a failure every later call fails, too, and the file
    /// must not be appended to.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut failed = self.sync_failed.lock();
        if *failed {
            return Err(io::Error::other("an earlier sync of the file failed"));
        }
        self.file.sync().inspect_err(|_| *failed = true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Disk, OpenMode, RealDisk};
    use super::*;

    fn new_file(capacity: FilePos) -> (tempfile::TempDir, AppendFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("x.log"), OpenMode::Create).unwrap();
        (dir, AppendFile::new(file, 0, capacity).unwrap())
    }

    #[test]
    fn appended_bytes_are_readable_and_nothing_else_is() {
        let (_dir, file) = new_file(1 << 20);
        assert_eq!(file.slice(0..1), None);
        file.append(b"hello").unwrap();
        file.append(b" world").unwrap();
        assert_eq!(file.slice(0..11).unwrap(), b"hello world");
        assert_eq!(file.slice(6..12), None);
        let (backward_start, backward_end) = (5, 4);
        assert_eq!(file.slice(backward_start..backward_end), None);
    }

    #[test]
    fn a_slice_stays_what_it_was_while_the_file_grows() {
        let (_dir, file) = new_file(1 << 20);
        file.append(b"first").unwrap();
        let first = file.slice(0..5).unwrap();
        for _ in 0..1000 {
            file.append(&[7; 1000]).unwrap();
        }
        assert_eq!(first, b"first");
        assert_eq!(file.slice(1_000_000..1_000_005).unwrap(), [7; 5]);
    }

    #[test]
    fn no_append_beyond_the_capacity() {
        let (_dir, file) = new_file(4096);
        file.append(&[1; 4096]).unwrap();
        assert!(matches!(file.append(b"x"), Err(WriteFailure::Undone(_))));
        assert_eq!(file.slice(4095..4096).unwrap(), [1]);
    }
}
