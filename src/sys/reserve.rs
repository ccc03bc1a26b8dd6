//! Space that is kept back for the time when a disk is full.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile, OpenMode};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// Name of the file in the data directory. Its content means nothing.
pub(crate) const RESERVE_FILE: &str = "thalweg.reserve";

/// Given up at a time: several blocks, and enough for some commits and a checkpoint.
const PIECE: u64 = 64 * 1024;

/// Space on the disk that only some may use: removing records, committing offsets and closing in order have to work on a
/// full disk, too. It is given up piece by piece when one of them finds no room, and taken back before anybody else
/// gets some.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    file: Mutex<Option<ReserveFile>>,
    /// Whether a part of it was given up. Written under the lock of `file`; a stale value costs one failed write more.
    is_missing: AtomicBool,
}

#[derive(Debug)]
struct ReserveFile {
    file: Arc<dyn DiskFile>,
    /// Bytes that it had when it was opened.
    whole: u64,
    /// Bytes that it has.
    left: u64,
}

impl Reserve {
    /// Takes `bytes` of the file system of `dir`, or as much as there is. What fails leaves a smaller reserve, or none: it
    /// is no reason to keep a broker from opening.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, bytes: u64) -> Self {
        let path = dir.join(RESERVE_FILE);
        if bytes == 0 {
            let _ = disk.remove_file(&path); // usually not there
            return Reserve::default();
        }
        let opened = disk.open(&path, OpenMode::Write).or_else(|_| disk.open(&path, OpenMode::Create));
        let whole = |file: &dyn DiskFile| -> io::Result<u64> {
            let had = file.len()?.min(bytes) / PIECE * PIECE;
            let mut wanted = bytes;
            while had < wanted {
                match file.reserve(wanted) {
                    Ok(true) => return Ok(wanted),
                    Ok(false) => return Ok(0), // a file system that cannot
                    Err(_) => wanted = (wanted / 2).max(had),
                }
            }
            file.set_len(had).map(|()| had)
        };
        let file = opened.and_then(|file| {
            let whole = whole(&*file)?;
            Ok(ReserveFile { file, whole, left: whole })
        });
        Reserve { file: Mutex::new(file.ok().filter(|file| file.whole > 0)), is_missing: AtomicBool::new(false) }
    }

    /// Does something that must not fail for want of space, if there is any left.
    pub(crate) fn with<T, E>(
        &self,
        mut work: impl FnMut() -> Result<T, E>,
        wants_space: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        loop {
            match work() {
                Err(error) if wants_space(&error) && self.release() => {}
                outcome => return outcome,
            }
        }
    }

    /// As [`with`](Reserve::with), for operations of a disk.
    pub(crate) fn with_io<T>(&self, work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.with(work, is_full)
    }

    /// Gives up a piece. False if there is none left.
    fn release(&self) -> bool {
        let mut guard = self.file.lock();
        let Some(file) = guard.as_mut().filter(|file| file.left > 0) else { return false };
        let left = file.left.saturating_sub(PIECE);
        if file.file.set_len(left).is_err() {
            return false;
        }
        file.left = left;
        self.is_missing.store(true, Ordering::Relaxed);
        true
    }

    /// Whether the reserve is whole, if necessary by taking back what was given up. While it is not, there is no room for
    /// anything else.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_missing.load(Ordering::Relaxed) || self.refill()
    }

    #[cold]
    fn refill(&self) -> bool {
        let mut guard = self.file.lock();
        let Some(file) = guard.as_mut() else { return true };
        if file.file.reserve(file.whole).is_err() {
            let _ = file.file.set_len(file.left); // a part may have been taken; the next try begins with it
            return false;
        }
        file.left = file.whole;
        self.is_missing.store(false, Ordering::Relaxed);
        true
    }
}

/// Whether an operation failed for want of space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::super::FaultyDisk;
    use super::*;

    const WHOLE: u64 = 4 * PIECE;

    fn open() -> (tempfile::TempDir, Reserve, impl Fn() -> u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESERVE_FILE);
        let reserve = Reserve::open(&FaultyDisk::default(), dir.path(), WHOLE);
        (dir, reserve, move || std::fs::metadata(&path).unwrap().len())
    }

    #[test]
    fn it_is_given_up_piece_by_piece_and_taken_back() {
        let (_dir, reserve, len) = open();
        if len() == 0 {
            return; // a file system that cannot
        }
        let mut failures = 2;
        let work = || match failures {
            0 => Ok(7),
            _ => {
                failures -= 1;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
        };
        assert_eq!(reserve.with_io(work).unwrap(), 7);
        assert_eq!(len(), WHOLE - 2 * PIECE);
        assert!(reserve.is_whole());
        assert_eq!(len(), WHOLE);
    }

    #[test]
    fn it_ends_and_is_for_want_of_space_only() {
        let (_dir, reserve, len) = open();
        if len() == 0 {
            return;
        }
        let mut tries = 0;
        let error = reserve.with_io(|| -> io::Result<()> {
            tries += 1;
            Err(io::ErrorKind::QuotaExceeded.into())
        });
        assert_eq!((error.unwrap_err().kind(), tries, len()), (io::ErrorKind::QuotaExceeded, 5, 0));
        assert!(reserve.is_whole());
        reserve.with_io(|| -> io::Result<()> { Err(io::ErrorKind::Other.into()) }).unwrap_err();
        assert_eq!(len(), WHOLE);
    }

    #[test]
    fn what_cannot_be_taken_back_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let faults = disk.faults();
        let reserve = Reserve::open(&disk, dir.path(), WHOLE);
        if !reserve.release() {
            return;
        }
        for _ in 0..3 {
            *faults.next_reserve.lock() = Some(io::ErrorKind::StorageFull);
            assert!(!reserve.is_whole());
            assert_eq!(std::fs::metadata(dir.path().join(RESERVE_FILE)).unwrap().len(), WHOLE - PIECE);
        }
        assert!(reserve.is_whole());
        // On a disk that has less from the beginning, less is whole.
        *faults.next_reserve.lock() = Some(io::ErrorKind::StorageFull);
        let reserve = Reserve::open(&disk, dir.path(), 2 * WHOLE);
        assert!(reserve.is_whole() && reserve.release());
    }

    #[test]
    fn there_may_be_none() {
        let (dir, _, _) = open();
        let reserve = Reserve::open(&FaultyDisk::default(), dir.path(), 0);
        assert!(reserve.is_whole() && !reserve.release());
        assert!(!dir.path().join(RESERVE_FILE).exists());
    }
}
