//! A read-only map of a file that only grows.

use std::fs::File;
use std::io;
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;

use memmap2::{Advice, Mmap, MmapOptions};

use super::disk::DiskFile;
use crate::sync::{AtomicU32, Ordering};
use crate::types::FilePos;

/// A read-only map over the first `capacity` bytes of a file, of which the first [`published`](Mapping::published) may
/// be read. The map is made once: a file that grows into it needs no remapping, so slices never move.
///
/// What makes the slices sound, and who upholds it: bytes below the published end are never written again and never
/// cut off while the map lives. [`AppendFile`](super::AppendFile), the only one that writes to a mapped file, writes
/// behind the published end only and has no way to shrink the file below it; the lock of the data directory keeps
/// other brokers out. A process that only reads, through [`FollowedFile`](super::FollowedFile), publishes batches that it
/// found whole, and maps finished segments; the owner shortens neither in place, but puts another file under their
/// name. What would break it: somebody who edits or truncates files of an open data directory by hand, or a
/// medium that loses a page (the process then gets SIGBUS).
#[derive(Debug)]
pub(super) struct Mapping {
    map: Mmap,
    /// Bytes that may be read. Stored by the writer with release after its write returned, loaded by readers with
    /// acquire; a stale value only hides the newest bytes.
    published: AtomicU32,
}

/// Whether the system's cache holds anything of a file.
#[cfg(target_os = "linux")]
pub(super) fn is_cached(file: &File) -> io::Result<bool> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len == 0 {
        return Ok(false);
    }
    // SAFETY: nothing is read through this map, which is gone when the function returns.
    let map = unsafe { MmapOptions::new().len(len).map(file) }?;
    let mut pages = vec![0_u8; len.div_ceil(rustix::param::page_size())];
    // SAFETY: the map begins at a page and has `len` bytes, for whose pages there is one byte each in `pages`; the call
    // writes these and nothing else.
    let outcome = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), len, pages.as_mut_ptr()) };
    if outcome == 0 { Ok(pages.iter().any(|page| page & 1 == 1)) } else { Err(io::Error::last_os_error()) }
}

/// As [`is_cached`], without a map. `None` where the system does not tell (before Linux 6.5, or where it is forbidden).
#[cfg(target_os = "linux")]
pub(super) fn is_cached_unmapped(file: &File) -> Option<bool> {
    const CACHESTAT: libc::c_long = 451;
    let has_that_number = cfg!(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "powerpc64"
    ));
    if !has_that_number {
        return None;
    }
    let whole_file = [0_u64, 0]; // from byte 0 to the end
    let mut pages = [0_u64; 5]; // in the cache; the others say what kind of pages they are
    // SAFETY: the call reads the 16 bytes of the one array and writes the 40 bytes of the other, which are what it takes by
    // its definition; a system that does not know it touches neither.
    let outcome = unsafe {
        libc::syscall(CACHESTAT, libc::c_long::from(file.as_raw_fd()), whole_file.as_ptr(), pages.as_mut_ptr(), 0)
    };
    (outcome == 0).then(|| pages[0] > 0)
}

impl Mapping {
    /// Maps `capacity` bytes of `file`, of which `published` are there and final. A capacity beyond the end of the
    /// file reserves address space for growth; it costs no memory.
    pub(super) fn new(file: &File, capacity: FilePos, published: FilePos) -> io::Result<Self> {
        debug_assert!(published <= capacity);
        let len = capacity.max(1) as usize; // a map of no bytes is an error on every system
        // SAFETY: the map is private to this struct and `slice` is the only way into it; see the contract above for
        // why the bytes it lends do not change. Bytes beyond the end of the file are never touched, because
        // `published` never exceeds what was written.
        let map = unsafe { MmapOptions::new().len(len).map(file) }?;
        Ok(Mapping { map, published: AtomicU32::new(published) })
    }

    /// Maps the first `len` bytes of a file that nobody appends to. A file that is shorter is an error: the bytes that
    /// are missing must not be touched through the map.
    pub(super) fn of_whole(file: &dyn DiskFile, len: FilePos) -> io::Result<Self> {
        if file.len()? < u64::from(len) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Mapping::new(file.as_file(), len, len)
    }

    /// Bytes reserved.
    pub(super) fn capacity(&self) -> FilePos {
        FilePos::try_from(self.map.len()).unwrap_or(FilePos::MAX)
    }

    /// Bytes that may be read.
    pub(super) fn published(&self) -> FilePos {
        self.published.load(Ordering::Acquire)
    }

    /// Makes bytes up to `end` readable. They are there, and whoever writes the file never changes them: the caller has
    /// written them, or found whole batches with the right checksums where another process writes.
    pub(super) fn publish(&self, end: FilePos) {
        debug_assert!(self.published() <= end && end <= self.capacity());
        self.published.store(end, Ordering::Release);
    }

    /// The bytes of `range`, if all of them are published.
    #[inline]
    pub(super) fn slice(&self, range: Range<FilePos>) -> Option<&[u8]> {
        if range.end > self.published() {
            return None;
        }
        self.map.get(range.start as usize..range.end as usize)
    }

    /// Whether all pages of `range` are in memory: reading them waits for no device. Does not look at them.
    #[cfg(target_os = "linux")]
    pub(super) fn is_resident(&self, range: Range<FilePos>) -> bool {
        if range.end > self.published() {
            return false;
        }
        let page_len = rustix::param::page_size();
        let (mut at, end) = (range.start as usize / page_len * page_len, range.end as usize);
        while at < end {
            let mut pages = [0_u8; 512];
            let len = (end - at).min(pages.len() * page_len);
            // SAFETY: `at` is below the published end, so the `len` bytes from there on lie in the map; it begins at a page,
            // as does `at`, and for each of the pages there is one byte in `pages`. The call writes these and nothing else.
            let outcome =
                unsafe { libc::mincore(self.map.as_ptr().add(at).cast_mut().cast(), len, pages.as_mut_ptr()) };
            if outcome != 0 || !pages.iter().take(len.div_ceil(page_len)).all(|page| page & 1 == 1) {
                return false;
            }
            at += len;
        }
        true
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn is_resident(&self, _range: Range<FilePos>) -> bool {
        false
    }

    /// Tells the system that `range` is going to be read. Waits for nothing.
    pub(super) fn will_need(&self, range: Range<FilePos>) {
        let _ = self.map.advise_range(Advice::WillNeed, range.start as usize, range.len()); // advice
    }

    /// Reads all pages of `range` in, and waits until they are there. An error of the device is an error here, not a
    /// signal.
    pub(super) fn populate(&self, range: Range<FilePos>) -> io::Result<()> {
        let bytes = self.slice(range.clone()).ok_or(io::ErrorKind::UnexpectedEof)?;
        #[cfg(target_os = "linux")]
        match self.map.advise_range(Advice::PopulateRead, range.start as usize, range.len()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {} // Linux before 5.14
            outcome => return outcome,
        }
        bytes.iter().step_by(rustix::param::page_size()).for_each(|byte| _ = std::hint::black_box(*byte));
        Ok(())
    }
}
