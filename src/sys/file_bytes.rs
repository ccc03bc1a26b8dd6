//! The bytes of a file that only grows, for those who read it.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use super::disk::DiskFile;
use super::handle::Handle;
use super::mapping::Mapping;
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::types::{FilePos, ReadMode};

/// The bytes of a file that only grows, up to a [`published`](FileBytes::published) end: in a map, or read by system calls
/// that copy them. Below that end they never change.
#[derive(Debug)]
pub(crate) struct FileBytes(Source);

#[derive(Debug)]
enum Source {
    Mapped(Mapping),
    Read(ReadBytes),
}

/// What is read by system calls.
#[derive(Debug)]
struct ReadBytes {
    file: ReadFile,
    capacity: FilePos,
    /// Bytes that may be read. Stored by the writer with release after its write returned, loaded by readers with acquire; a
    /// stale value only hides the newest bytes.
    published: AtomicU32,
}

/// The file of [`ReadBytes`].
#[derive(Debug)]
pub(super) enum ReadFile {
    /// One that stays open.
    Open(Arc<dyn DiskFile>),
    /// One that is written to, whose handle can be taken away.
    Written(Arc<Handle>),
}

impl FileBytes {
    /// The first `capacity` bytes of `file`, of which `published` are there and final. The file can grow to the capacity.
    pub(super) fn new(
        mode: ReadMode,
        file: &dyn DiskFile,
        read: impl FnOnce() -> ReadFile,
        (capacity, published): (FilePos, FilePos),
    ) -> io::Result<Self> {
        Ok(FileBytes(match mode {
            ReadMode::Mmap => Source::Mapped(Mapping::new(file.as_file(), capacity, published)?),
            ReadMode::Pread => {
                Source::Read(ReadBytes { file: read(), capacity: capacity.max(1), published: published.into() })
            }
        }))
    }

    /// The first `len` bytes of a file that nobody appends to. A file that is shorter is an error: the bytes that are
    /// missing must not be touched.
    pub(crate) fn of_whole(mode: ReadMode, file: Arc<dyn DiskFile>, len: FilePos) -> io::Result<Self> {
        if mode == ReadMode::Mmap {
            return Mapping::of_whole(&*file, len).map(|map| FileBytes(Source::Mapped(map)));
        }
        if file.len()? < u64::from(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(FileBytes(Source::Read(ReadBytes { file: ReadFile::Open(file), capacity: len, published: len.into() })))
    }

    /// Bytes that the file can grow to.
    pub(crate) fn capacity(&self) -> FilePos {
        match &self.0 {
            Source::Mapped(map) => map.capacity(),
            Source::Read(bytes) => bytes.capacity,
        }
    }

    /// Bytes that may be read.
    pub(crate) fn published(&self) -> FilePos {
        match &self.0 {
            Source::Mapped(map) => map.published(),
            Source::Read(bytes) => bytes.published.load(Ordering::Acquire),
        }
    }

    /// Makes bytes up to `end` readable. They are there, and whoever writes the file never changes them: the caller has
    /// written them, or found whole batches with the right checksums where another process writes.
    pub(super) fn publish(&self, end: FilePos) {
        match &self.0 {
            Source::Mapped(map) => map.publish(end),
            Source::Read(bytes) => bytes.published.store(end, Ordering::Release),
        }
    }

    /// Whether they are mapped: then they can be borrowed.
    #[inline]
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.0, Source::Mapped(_))
    }

    /// The mapped bytes of `range`; `None` if any of them is not published, or if nothing is mapped.
    #[inline]
    pub(crate) fn mapped(&self, range: Range<FilePos>) -> Option<&[u8]> {
        match &self.0 {
            Source::Mapped(map) => map.slice(range),
            Source::Read(_) => None,
        }
    }

    /// Whether `range` is known to be in memory: reading it waits for no device. Where nothing is mapped that is not known.
    pub(crate) fn is_cached(&self, range: Range<FilePos>) -> bool {
        match &self.0 {
            Source::Mapped(map) => map.is_resident(range),
            Source::Read(_) => false,
        }
    }

    /// Has the system read `range` ahead, unless its end is in memory already. Where nothing is mapped the system sees by
    /// itself that a file is read from front to back.
    pub(crate) fn read_ahead(&self, range: Range<FilePos>) {
        if let Source::Mapped(map) = &self.0
            && range.start < range.end
            && !map.is_resident(range.end - 1..range.end)
        {
            map.will_need(range);
        }
    }

    /// Reads `range` into memory, and waits until it is there.
    pub(crate) fn warm_up(&self, range: Range<FilePos>) -> io::Result<()> {
        match &self.0 {
            Source::Mapped(map) => map.populate(range),
            Source::Read(bytes) => {
                let (mut buffer, mut at) = (Vec::new(), range.start);
                while at < range.end {
                    let end = range.end.min(at.saturating_add(WARM_UP_LEN));
                    bytes.read(&mut buffer, at..end)?;
                    at = end;
                }
                Ok(())
            }
        }
    }

    /// The bytes of `range`: borrowed where they are mapped, else a copy.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if any of them is not published, or the file has lost it; what the system answers.
    pub(crate) fn get(&self, range: Range<FilePos>) -> io::Result<Cow<'_, [u8]>> {
        match &self.0 {
            Source::Mapped(map) => map.slice(range).map(Cow::Borrowed).ok_or(io::ErrorKind::UnexpectedEof.into()),
            Source::Read(bytes) => {
                let mut copy = Vec::new();
                bytes.read(&mut copy, range)?;
                Ok(Cow::Owned(copy))
            }
        }
    }

    /// As [`get`](FileBytes::get), into `buffer`, whose content is replaced.
    pub(crate) fn read(&self, buffer: &mut Vec<u8>, range: Range<FilePos>) -> io::Result<()> {
        match &self.0 {
            Source::Mapped(map) => {
                buffer.clear();
                buffer.extend_from_slice(map.slice(range).ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Source::Read(bytes) => bytes.read(buffer, range),
        }
    }
}

/// Bytes that are read at a time where only the system's cache is to have them.
const WARM_UP_LEN: FilePos = 256 * 1024;

impl ReadBytes {
    fn read(&self, buffer: &mut Vec<u8>, range: Range<FilePos>) -> io::Result<()> {
        if range.end > self.published.load(Ordering::Acquire) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (pos, len) = (u64::from(range.start), range.len());
        if buffer.capacity() < len {
            *buffer = vec![0; len]; // asks the system for zeros, instead of writing them
        } else {
            buffer.resize(len, 0);
        }
        let read = match &self.file {
            ReadFile::Open(file) => file.read_at(buffer, pos)?,
            ReadFile::Written(handle) => handle.get()?.read_at(buffer, pos)?,
        };
        if read < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Disk, OpenMode, RealDisk};
    use super::*;

    const MODES: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Pread];

    fn open(content: &[u8]) -> (tempfile::TempDir, Arc<dyn DiskFile>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, content).unwrap();
        (dir, RealDisk::default().open(&path, OpenMode::Write).unwrap())
    }

    #[test]
    fn both_modes_show_what_is_published_and_nothing_else() {
        for mode in MODES {
            let (_dir, file) = open(b"hello world");
            let read = || ReadFile::Open(Arc::clone(&file));
            let bytes = FileBytes::new(mode, &*file, read, (100, 5)).unwrap();
            assert_eq!((bytes.capacity(), bytes.published()), (100, 5));
            assert_eq!(*bytes.get(1..5).unwrap(), *b"ello");
            assert_eq!(bytes.get(1..6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            bytes.publish(11);
            let mut buffer = b"what was there".to_vec();
            bytes.read(&mut buffer, 6..11).unwrap();
            assert_eq!(buffer, b"world");
            assert_eq!(bytes.mapped(6..11).is_some(), mode == ReadMode::Mmap);
        }
    }

    #[test]
    fn what_was_read_in_is_in_memory() {
        let content: Vec<_> = (0..3_000_000_u32).map(|number| number as u8).collect();
        for mode in MODES {
            let (_dir, file) = open(&content);
            let bytes = FileBytes::of_whole(mode, Arc::clone(&file), 3_000_000).unwrap();
            bytes.warm_up(100_000..2_900_000).unwrap();
            assert_eq!(bytes.is_cached(100_000..2_900_000), mode == ReadMode::Mmap);
            bytes.read_ahead(2_900_000..3_000_000);
            assert!(!bytes.is_cached(0..3_000_001), "not published");
            assert!(bytes.warm_up(0..3_000_001).is_err());
            assert_eq!(*bytes.get(0..3_000_000).unwrap(), content);
        }
    }

    /// A part that was never written is in no cache before it is read.
    #[test]
    fn what_was_not_read_in_is_not_in_memory() {
        let (_dir, file) = open(&[7; 4096]);
        file.set_len(8 << 20).unwrap();
        let bytes = FileBytes::of_whole(ReadMode::Mmap, file, 8 << 20).unwrap();
        let hole = (4 << 20)..(5 << 20);
        assert!(bytes.is_cached(0..4096) && !bytes.is_cached(hole.clone()) && !bytes.is_cached(0..8 << 20));
        bytes.warm_up(hole.clone()).unwrap();
        assert!(bytes.is_cached(hole));
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        for mode in MODES {
            let (_dir, file) = open(b"hello");
            assert!(FileBytes::of_whole(mode, Arc::clone(&file), 6).is_err());
            assert_eq!(*FileBytes::of_whole(mode, file, 5).unwrap().get(0..5).unwrap(), *b"hello");
        }
    }

    #[test]
    fn a_file_that_is_cut_is_an_error_and_not_a_signal() {
        let (_dir, file) = open(&[7; 20_000]);
        let bytes = FileBytes::of_whole(ReadMode::Pread, Arc::clone(&file), 20_000).unwrap();
        file.set_len(100).unwrap();
        assert_eq!(bytes.get(8192..8200).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(*bytes.get(0..100).unwrap(), [7; 100]);
    }
}
