//! The seam between the engine and a file system.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

#[cfg(target_os = "linux")]
use super::mapping::{is_cached, is_cached_unmapped};
use super::sync_many::{SyncMany, SyncMethod};
use super::sync_point::SyncPoint;
use crate::sync::Arc;
use crate::types::{ReadMode, Timestamp};

/// What the engine asks of a file system. Each method is one system call or few, so that an implementation can record
/// them, fail them, or lose what has not been synced.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Creates `dir` and its missing parents; no error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The entries of `dir`, sorted by name. Those that somebody removes meanwhile may be missing. Names that are not
    /// UTF-8 come with replacement characters.
    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>>;

    /// The names in `dir`, sorted, as in [`list`](Disk::list): without a look at each of them, which costs more than the
    /// names do.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The entry of one file or directory.
    fn entry(&self, path: &Path) -> io::Result<DiskEntry>;

    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file or directory, replacing a file of the new name. Durable after [`sync_dir`](Disk::sync_dir).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`sync_dir`](Disk::sync_dir).
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file a second name on the same file system. Durable after [`sync_dir`](Disk::sync_dir). A disk that
    /// cannot do it says [`io::ErrorKind::Unsupported`].
    fn hard_link(&self, _file: &Path, _name: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the content of many files durable, as [`DiskFile::sync`] does for one, in less time than one after the other.
    /// One result per file, in their order; one that fails keeps no other from being synced.
    fn sync_together(&self, files: &[&dyn DiskFile], point: SyncPoint) -> Vec<io::Result<()>> {
        files.iter().map(|file| file.sync(point)).collect()
    }

    /// How many files are synced together; `None` if that is one after the other. The error is why it is not by io_uring.
    fn sync_method(&self) -> Option<(SyncMethod, Option<&io::Error>)> {
        None
    }

    /// Makes names created, renamed and removed in `dir` durable.
    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;

    /// The time of the last change of the content.
    fn modified(&self) -> io::Result<Timestamp>;

    /// Reads up to `buffer.len()` bytes at `pos`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], pos: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `pos` or fails, in which case any part of them may have been written.
    fn write_at(&self, bytes: &[u8], pos: u64) -> io::Result<()>;

    /// Makes the content durable, with as much of the metadata as reading it back needs (`fdatasync`). After a failure
    /// nothing is known about what is stored and a second try proves nothing.
    fn sync(&self, point: SyncPoint) -> io::Result<()>;

    /// Cuts the file or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives the file its room on the disk up to byte `len`, which becomes its length if it was shorter: what is new
    /// reads as zeros. False, without effect, where the file system cannot do that. After an error the file may be
    /// longer than it was.
    fn reserve(&self, len: u64) -> io::Result<bool>;

    /// Drops what the system's cache holds of the file, so that the next read comes from the device. False if something
    /// stays there, or if that cannot be known: what somebody has mapped does, and on some file systems everything.
    fn drop_cache(&self) -> io::Result<bool>;

    /// The file itself, for mapping it.
    fn as_file(&self) -> &File;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there.
    Write,
    /// For reading and writing; created, or emptied if it is there.
    Create,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskEntry {
    /// The name, without the directory.
    pub(crate) name: String,
    /// Whether it is a directory.
    pub(crate) is_dir: bool,
    /// Bytes in the file.
    pub(crate) len: u64,
    /// What tells the file from another one that has its name later.
    pub(crate) inode: u64,
    /// Names that the file has.
    pub(crate) names: u64,
}

/// The file system of the machine.
#[derive(Debug, Default)]
pub(crate) struct RealDisk {
    many: SyncMany,
    read_mode: ReadMode,
}

impl RealDisk {
    /// With [`ReadMode::Pread`] nothing of a file is mapped, not even to ask what the system's cache holds of it.
    pub(crate) fn reading(read_mode: ReadMode) -> Self {
        RealDisk { many: SyncMany::default(), read_mode }
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            match self.entry(&entry?.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // removed since its name was read
                entry => entries.push(entry?),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = fs::read_dir(dir)?.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn entry(&self, path: &Path) -> io::Result<DiskEntry> {
        let metadata = fs::metadata(path).or_else(|_| fs::symlink_metadata(path))?;
        Ok(DiskEntry {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            is_dir: metadata.is_dir(),
            len: metadata.len(),
            inode: metadata.ino(),
            names: metadata.nlink(),
        })
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::Write => options.read(true).write(true),
            OpenMode::Create => options.read(true).write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile { file: options.open(path)?, read_mode: self.read_mode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    fn sync_together(&self, files: &[&dyn DiskFile], _point: SyncPoint) -> Vec<io::Result<()>> {
        self.many.sync(&files.iter().map(|file| file.as_file()).collect::<Vec<_>>())
    }

    fn sync_method(&self) -> Option<(SyncMethod, Option<&io::Error>)> {
        Some((self.many.method(), self.many.refusal()))
    }

    fn sync_dir(&self, dir: &Path, _point: SyncPoint) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    read_mode: ReadMode,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn modified(&self) -> io::Result<Timestamp> {
        let since_epoch = self.file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Timestamp::try_from(since_epoch.as_millis()).unwrap_or(Timestamp::MAX))
    }

    fn read_at(&self, buffer: &mut [u8], pos: u64) -> io::Result<usize> {
        read_full(buffer, pos, |rest, pos| self.file.read_at(rest, pos))
    }

    fn write_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        write_full(bytes, pos, |rest, pos| self.file.write_at(rest, pos))
    }

    fn sync(&self, _point: SyncPoint) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, len: u64) -> io::Result<bool> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};

        if len == 0 {
            return Ok(false); // an error for the system
        }
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, len)) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(&self, _len: u64) -> io::Result<bool> {
        Ok(false)
    }

    #[cfg(target_os = "linux")]
    fn drop_cache(&self) -> io::Result<bool> {
        const TMPFS: i64 = 0x0102_1994; // there is no device behind it
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        #[allow(clippy::unnecessary_cast, reason = "its type depends on the system")]
        let is_memory = rustix::fs::fstatfs(&self.file)?.f_type as i64 == TMPFS;
        let is_gone = match self.read_mode {
            ReadMode::Mmap => !is_cached(&self.file)?,
            ReadMode::Pread => is_cached_unmapped(&self.file) == Some(false),
        };
        Ok(is_memory || is_gone)
    }

    #[cfg(not(target_os = "linux"))]
    fn drop_cache(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn as_file(&self) -> &File {
        &self.file
    }
}

/// How often in a row a system that says "not now" is asked again. Files on a local file system never say so; one that
/// always does must not hang the caller.
const AGAIN_MAX: usize = 16;

/// Fills `buffer` from `pos` on by as many reads as it takes, and returns how much there was: less only at the end of the
/// file.
fn read_full(
    buffer: &mut [u8],
    pos: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let (mut filled, mut refused) = (0, 0);
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read(rest, pos + filled as u64) {
            Ok(0) => break,
            Ok(count) => (filled, refused) = (filled + count, 0),
            Err(error) => ask_again(error, &mut refused)?,
        }
    }
    Ok(filled)
}

/// Writes all of `bytes` at `pos` by as many writes as it takes. After an error any part of them may be written.
fn write_full(bytes: &[u8], pos: u64, mut write: impl FnMut(&[u8], u64) -> io::Result<usize>) -> io::Result<()> {
    let (mut written, mut refused) = (0, 0);
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match write(rest, pos + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()), // it would be 0 for ever
            Ok(count) => (written, refused) = (written + count, 0),
            Err(error) => ask_again(error, &mut refused)?,
        }
    }
    Ok(())
}

/// A signal that came in between is no failure, however many there are; "not now" is one when it does not end.
fn ask_again(error: io::Error, refused: &mut usize) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock if *refused < AGAIN_MAX => {
            *refused += 1;
            Ok(())
        }
        _ => Err(error),
    }
}

/// Whether an operation failed because the process or the system has no more file handles: nothing is wrong with the
/// disk then.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// A file that is being written, beside the one that it will replace.
pub(crate) const TEMPORARY: &str = "thalweg.tmp";

/// Replaces the content of `path` so that a power cut at any moment leaves the old file or the new one: written beside
/// it, synced, renamed over it, and the directory synced. Durable when it returns.
pub(crate) fn write_atomically(disk: &dyn Disk, path: &Path, content: &[u8], points: [SyncPoint; 2]) -> io::Result<()> {
    // One fixed name a directory, since a topic file's own name may have no room for a suffix (255 bytes). Each
    // directory has one writer at a time.
    write_by_way_of(disk, TEMPORARY, path, content, points)
}

/// As [`write_atomically`], with a name for the file beside that no other writer uses.
pub(crate) fn write_by_way_of(
    disk: &dyn Disk,
    beside: &str,
    path: &Path,
    content: &[u8],
    [content_point, name_point]: [SyncPoint; 2],
) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let beside = dir.join(beside);
    let file = disk.open(&beside, OpenMode::Create)?;
    file.write_at(content, 0)?;
    file.sync(content_point)?;
    drop(file);
    disk.rename(&beside, path)?;
    disk.sync_dir(dir, name_point)
}

/// Puts a copy of its first `len` bytes in the place of the file at `path`. Other names of the file, and maps of it, keep
/// all of its bytes. Durable when the names of its directory are synced.
pub(crate) fn replace_with_copy(disk: &dyn Disk, path: &Path, len: u64, point: SyncPoint) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let beside = dir.join(TEMPORARY);
    let (file, copied) = (disk.open(path, OpenMode::Read)?, disk.open(&beside, OpenMode::Create)?);
    let replaced =
        copy(&*file, &*copied, len).and_then(|()| copied.sync(point)).and_then(|()| disk.rename(&beside, path));
    replaced.inspect_err(|_| {
        let _ = disk.remove_file(&beside); // others need the room
    })
}

/// Writes the first `len` bytes of a file again, in their place.
pub(crate) fn rewrite(file: &dyn DiskFile, len: u64) -> io::Result<()> {
    copy(file, file, len)
}

/// Copies the first `len` bytes of one file to another, or to itself.
fn copy(from: &dyn DiskFile, to: &dyn DiskFile, len: u64) -> io::Result<()> {
    const PIECE: u64 = 256 * 1024;
    let (mut piece, mut at) = (vec![0; PIECE as usize], 0);
    while at < len {
        let Some(room) = piece.get_mut(..(len - at).min(PIECE) as usize) else { break };
        let read = from.read_at(room, at)?;
        let Some(bytes) = room.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        to.write_at(bytes, at)?;
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_atomically_replaces_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for content in [&b"one"[..], b"two and more", b""] {
            write_atomically(&RealDisk::default(), &path, content, [SyncPoint::Checkpoint, SyncPoint::CheckpointName])
                .unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert_eq!(RealDisk::default().list(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn room_is_zeros_behind_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
        assert!(!file.reserve(0).unwrap());
        file.write_at(b"abc", 0).unwrap();
        if file.reserve(10_000).unwrap() {
            assert_eq!(file.len().unwrap(), 10_000);
            assert!(file.reserve(2).unwrap());
            assert_eq!(file.len().unwrap(), 10_000, "never shorter");
            let mut content = vec![1; 10_000];
            assert_eq!(file.read_at(&mut content, 0).unwrap(), 10_000);
            assert!(content.starts_with(b"abc") && content[3..].iter().all(|byte| *byte == 0));
        }
    }

    const EINTR: i32 = 4;
    const EIO: i32 = 5;
    const EAGAIN: i32 = 11;

    /// What a system answers, in order: how many bytes at most, or an error.
    fn scripted(script: &[Result<usize, i32>]) -> impl FnMut(usize) -> io::Result<usize> {
        let mut answers = script.iter().copied();
        move |len| match answers.next().expect("asked no more than there are answers") {
            Ok(count) => Ok(count.min(len)),
            Err(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// What is written of ten bytes at 100, by a system that answers so.
    fn write_ten(script: &[Result<usize, i32>]) -> (io::Result<()>, Vec<u8>) {
        let (mut answer, mut file) = (scripted(script), Vec::new());
        let outcome = write_full(b"0123456789", 100, |rest, pos| {
            assert_eq!(pos, 100 + file.len() as u64, "each write goes on where the last one ended");
            let count = answer(rest.len())?;
            file.extend_from_slice(&rest[..count]);
            Ok(count)
        });
        (outcome, file)
    }

    /// What is read into ten bytes at 100, by a system that answers so.
    fn read_ten(script: &[Result<usize, i32>]) -> (io::Result<usize>, Vec<u8>) {
        let (mut answer, mut buffer, mut next) = (scripted(script), vec![b'-'; 10], 0);
        let outcome = read_full(&mut buffer, 100, |rest, pos| {
            assert_eq!(pos, 100 + next as u64, "each read goes on where the last one ended");
            let count = answer(rest.len())?;
            rest[..count].copy_from_slice(&b"0123456789"[next..next + count]);
            next += count;
            Ok(count)
        });
        (outcome, buffer)
    }

    #[test]
    fn short_writes_go_on_where_they_ended() {
        for script in [
            &[Ok(10)][..],
            &[Ok(1), Ok(8), Ok(1)],
            &[Err(EINTR), Ok(3), Err(EINTR), Err(EINTR), Ok(7)],
            &[Err(EAGAIN), Ok(9), Err(EAGAIN), Ok(1)],
        ] {
            let (outcome, file) = write_ten(script);
            outcome.unwrap();
            assert_eq!(file, b"0123456789", "{script:?}");
        }
        write_full(b"", 0, |_, _| panic!("nothing to write")).unwrap();
    }

    #[test]
    fn a_write_that_fails_or_writes_nothing_ends_it() {
        let (outcome, file) = write_ten(&[Ok(4), Err(EIO)]);
        assert_eq!((outcome.unwrap_err().raw_os_error(), &file[..]), (Some(EIO), &b"0123"[..]));
        let (outcome, file) = write_ten(&[Ok(4), Ok(0)]);
        assert_eq!((outcome.unwrap_err().kind(), file.len()), (io::ErrorKind::WriteZero, 4));
    }

    #[test]
    fn signals_are_no_failure_and_not_now_is_one_in_the_end() {
        let mut script = vec![Err(EINTR); 1000];
        script.push(Ok(10));
        write_ten(&script).0.unwrap();
        assert_eq!(read_ten(&script).0.unwrap(), 10);

        let enough = [&[Err(EAGAIN); AGAIN_MAX][..], &[Ok(5)], &[Err(EAGAIN); AGAIN_MAX], &[Ok(5)]].concat();
        write_ten(&enough).0.unwrap();
        assert_eq!(read_ten(&enough).0.unwrap(), 10);

        let too_often = [Err(EAGAIN); AGAIN_MAX + 1];
        assert_eq!(write_ten(&too_often).0.unwrap_err().raw_os_error(), Some(EAGAIN));
        assert_eq!(read_ten(&too_often).0.unwrap_err().raw_os_error(), Some(EAGAIN));
    }

    #[test]
    fn short_reads_go_on_until_the_end_of_the_file() {
        for (script, expected) in [
            (&[Ok(10)][..], 10),
            (&[Ok(3), Err(EINTR), Ok(3), Err(EAGAIN), Ok(4)], 10),
            (&[Ok(3), Ok(4), Ok(0)], 7),
            (&[Ok(0)], 0),
        ] {
            let (outcome, buffer) = read_ten(script);
            assert_eq!(outcome.unwrap(), expected, "{script:?}");
            assert_eq!(buffer[..expected], b"0123456789"[..expected]);
            assert!(buffer[expected..].iter().all(|byte| *byte == b'-'));
        }
        let (outcome, _) = read_ten(&[Ok(3), Err(EIO)]);
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(EIO));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_mapped_stays_in_the_cache_and_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
        file.write_at(&[7; 100_000], 0).unwrap();
        file.sync(SyncPoint::Commit).unwrap();
        if !is_cached(file.as_file()).unwrap() {
            return println!("skipped: this file system has no cache that could be asked");
        }
        let mapping = super::super::mapping::Mapping::of_whole(&*file, 100_000).unwrap();
        assert_eq!(mapping.slice(0..100_000).unwrap().iter().map(|byte| u64::from(*byte)).sum::<u64>(), 700_000);
        assert_ne!(is_cached_unmapped(file.as_file()), Some(false), "asked without a map");
        let dropped = file.drop_cache().unwrap();
        drop(mapping);
        if dropped {
            return println!("skipped: this file system has no device");
        }
        assert!(file.drop_cache().unwrap());
        assert_ne!(is_cached_unmapped(file.as_file()), Some(true), "asked without a map");
        assert_eq!(file.read_at(&mut [0; 100], 0).unwrap(), 100);
    }

    #[test]
    fn read_at_stops_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::default().open(&dir.path().join("x"), OpenMode::Create).unwrap();
        file.write_at(b"abcdef", 0).unwrap();
        let mut buffer = [0; 4];
        assert_eq!(file.read_at(&mut buffer, 4).unwrap(), 2);
        assert_eq!(&buffer[..2], b"ef");
        assert_eq!(file.read_at(&mut buffer, 60).unwrap(), 0);
    }
}
