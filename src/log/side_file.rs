//! Side files: where bytes go that are taken out of a log but may be of use to somebody.
//!
//! A piece from the middle or the end of a segment file is copied to `<base>.log.<position>.corrupt`, a segment as a whole
//! is renamed to `<base>.log.corrupt`. A name that is taken gets a number behind it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Disk, DiskFile, OpenMode, SyncPoint};

/// Ending of a side file's name, but for the number that a later one of the same name has.
pub(crate) const CORRUPT: &str = ".corrupt";

/// Most side files of the same place, but for the first: where there are as many, somebody has to look.
const NUMBER_MAX: u32 = 1000;

/// Copied in pieces of this size: large enough to stream, small enough to stay in the processor's cache.
const PIECE: usize = 256 * 1024;

/// Copies bytes `from..end` of `file`, which lies at `path`, into a side file; durable when it returns.
pub(crate) fn keep_end(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    path: &Path,
    (from, end): (u64, u64),
) -> io::Result<PathBuf> {
    let kept_in = free_name(disk, path, &format!(".{from}{CORRUPT}"))?;
    let copy = disk.open(&kept_in, OpenMode::Create)?;
    copy_range(file, &*copy, (from, end))?;
    copy.sync(SyncPoint::SideFile)?;
    sync_parent(disk, path)?;
    Ok(kept_in)
}

/// Renames the segment file at `path` to a side file; durable when it returns. One without a byte is removed.
pub(crate) fn set_aside(disk: &dyn Disk, path: &Path, len: u64) -> io::Result<Option<PathBuf>> {
    let kept_in = if len > 0 { Some(free_name(disk, path, CORRUPT)?) } else { None };
    match &kept_in {
        Some(kept_in) => disk.rename(path, kept_in)?,
        None => disk.remove_file(path)?,
    }
    sync_parent(disk, path)?;
    Ok(kept_in)
}

/// Copies bytes `from..end` of `file` to the beginning of `copy`; fewer where the file ends before.
fn copy_range(file: &dyn DiskFile, copy: &dyn DiskFile, (from, end): (u64, u64)) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = from;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let Some(room) = piece.get_mut(..len) else { break };
        let read = file.read_at(room, at)?;
        let Some(bytes) = room.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        copy.write_at(bytes, at - from)?;
        at += read as u64;
    }
    Ok(())
}

/// Copies a file; not durable. False if there is no such file.
pub(crate) fn copy_file(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<bool> {
    let file = match disk.open(from, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let copy = disk.open(to, OpenMode::Create)?;
    copy_range(&*file, &*copy, (0, file.len()?))?;
    Ok(true)
}

/// A name for a side file that no earlier one has.
fn free_name(disk: &dyn Disk, path: &Path, suffix: &str) -> io::Result<PathBuf> {
    let named = |number: u32| {
        let mut name = OsString::from(path);
        name.push(if number == 0 { suffix.to_owned() } else { format!("{suffix}.{number}") });
        PathBuf::from(name)
    };
    for path in (0..=NUMBER_MAX).map(named) {
        match disk.entry(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")), SyncPoint::SideFileName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::RealDisk;

    #[test]
    fn nothing_is_kept_over_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut names = Vec::new();
        for content in ["one", "two"] {
            std::fs::write(&path, content).unwrap();
            let file = RealDisk::default().open(&path, OpenMode::Read).unwrap();
            let piece = keep_end(&RealDisk::default(), &*file, &path, (1, 3)).unwrap();
            assert_eq!(std::fs::read(&piece).unwrap(), content.as_bytes()[1..]);
            let whole = set_aside(&RealDisk::default(), &path, 3).unwrap().unwrap();
            assert_eq!(std::fs::read(&whole).unwrap(), content.as_bytes());
            names.extend([piece, whole].map(|path| path.file_name().unwrap().to_string_lossy().into_owned()));
        }
        assert_eq!(names, ["x.log.1.corrupt", "x.log.corrupt", "x.log.1.corrupt.1", "x.log.corrupt.1"]);
    }

    #[test]
    fn the_last_name_is_not_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for number in 0..=1000 {
            let suffix = if number == 0 { String::new() } else { format!(".{number}") };
            std::fs::write(dir.path().join(format!("x.log.corrupt{suffix}")), "kept").unwrap();
        }
        std::fs::write(&path, "one").unwrap();
        let error = set_aside(&RealDisk::default(), &path, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists());
        std::fs::remove_file(dir.path().join("x.log.corrupt.1000")).unwrap();
        assert!(set_aside(&RealDisk::default(), &path, 3).unwrap().unwrap().ends_with("x.log.corrupt.1000"));
    }
}
