//! A file that only grows.

use std::io;
use std::path::PathBuf;

use super::bounded::OpenFiles;
use super::disk::{Disk, DiskFile};
use super::file_bytes::{FileBytes, ReadFile};
use super::handle::Handle;
use super::sync_point::SyncPoint;
use crate::sync::{Arc, AtomicBool, AtomicU32, Mutex, MutexGuard, Ordering};
use crate::types::{FilePos, ReadMode};

/// A file that only grows: appended to by `pwrite`, read through a read-only map, or by `pread`.
///
/// Why not store through the map: a full disk or a failing device is then an error value, not a signal, and a sync
/// writes back what was written instead of whole cache folios.
///
/// Readers need no lock. A slice is final from the moment it is handed out. The file handle can be taken away between
/// two operations, since there are fewer handles than files; the map stays, and with it what the system knows about
/// failed writes of the file. Where there is none, the handle is synced before it goes.
#[derive(Debug)]
pub(crate) struct AppendFile {
    handle: Arc<Handle>,
    bytes: Arc<FileBytes>,
    /// Held for the length of an append, so that two of them can never write to the same place.
    writing: Mutex<Tail>,
    /// What had been appended when the last sync began. Read by appends; a stale value only moves the moment of the next
    /// zeros.
    synced_to: AtomicU32,
    /// Whether zeros are written ahead of what is appended.
    zeroes_ahead: bool,
}

/// What lies behind the appended bytes.
#[derive(Debug)]
struct Tail {
    /// The length of the file. From the appended bytes on it is room: zeros, never anything that was written before.
    file_end: u64,
    /// Up to here the room was written, not only reserved.
    zeroed_end: u64,
    /// Bytes that were appended since the file was opened.
    appended: u64,
}

impl Tail {
    fn has_room(&self, end: u64) -> bool {
        end < self.file_end
    }

    /// The file ends at `end` now.
    fn cut(&mut self, end: u64) {
        (self.file_end, self.zeroed_end) = (end, end);
    }
}

/// Most zeros that are written ahead of what is appended.
const ZEROS_MAX: u64 = 1 << 20;

/// Fewest of them: what the system writes in one piece in any case.
const PAGE: u64 = 4096;

/// With more than this to sync at a time, the new length and the new blocks that a sync has to write as well cost less than
/// writing everything twice.
const UNSYNCED_MAX: FilePos = 256 * 1024;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Why bytes did not get into the file.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// They are not in it; the file is as it was before and takes the next append.
    Undone(io::Error),
    /// They may be in it in part, behind the published end, and could not be removed. No append may follow.
    Torn(io::Error),
}

impl AppendFile {
    /// Takes the file at `path`, of which the first `len` bytes are there and final, and reserves room for `capacity`.
    /// A file that is shorter than `len` is an error: its missing bytes must not be touched.
    ///
    /// `file` is its handle, if it is open; `promises` says that more is promised of all that is
    /// appended than that it survives the process; `retired` is set before the name goes to another file.
    pub(crate) fn new(
        (disk, path): (&Arc<dyn Disk>, PathBuf),
        file: Option<Arc<dyn DiskFile>>,
        (len, capacity): (FilePos, FilePos),
        promises: bool,
        open_files: &Arc<OpenFiles>,
        retired: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let mode = open_files.read_mode;
        let handle = Arc::new(Handle {
            disk: Arc::clone(disk),
            path,
            open_files: Arc::clone(open_files),
            file: Mutex::new(file),
            used: AtomicBool::new(true),
            dirty: AtomicBool::new(false),
            sync_failed: Mutex::new(false),
            syncs_before_close: AtomicBool::new(promises || mode == ReadMode::Pread),
            retired,
        });
        if handle.file.lock().is_some() {
            handle.note();
        }
        let file = handle.get()?;
        let file_len = file.len()?;
        if file_len < u64::from(len) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let read = || ReadFile::Written(Arc::clone(&handle));
        let bytes = Arc::new(FileBytes::new(mode, &*file, read, (capacity.max(len), len))?);
        let writing = Mutex::new(Tail { file_end: file_len, zeroed_end: u64::from(len), appended: 0 });
        Ok(AppendFile { handle, bytes, writing, synced_to: AtomicU32::new(len), zeroes_ahead: promises })
    }

    /// Gives the file the room on the disk that it can grow to: appends then find it there, and a sync has no new length
    /// to write. The room is zeros, never anything that was written before. Without effect where the file system
    /// cannot do that; after an error the file is as it was, or has zeros behind its end.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        let mut tail = self.writing.lock();
        let (file, end) = (self.handle.get()?, u64::from(self.bytes.published()));
        if tail.has_room(end) {
            // What stands there is not known; new room is known to be zeros.
            file.set_len(end)?;
            tail.cut(end);
        }
        let capacity = u64::from(self.capacity());
        let reserved = file.reserve(capacity);
        if matches!(reserved, Ok(true)) || reserved.is_err() && file.set_len(end).is_err() {
            tail.file_end = capacity;
        }
        reserved.map(drop)
    }

    /// Gives back the room behind the end: the file is as long as what was appended, and that is durable after the next
    /// [`sync`](AppendFile::sync). The bytes that are cut off were never readable.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let mut tail = self.writing.lock();
        let end = u64::from(self.bytes.published());
        if tail.has_room(end) {
            self.handle.get()?.set_len(end)?;
            tail.cut(end);
        }
        Ok(())
    }

    /// The bytes that have been appended.
    pub(crate) fn bytes(&self) -> &Arc<FileBytes> {
        &self.bytes
    }

    /// Bytes that it can grow to.
    pub(crate) fn capacity(&self) -> FilePos {
        self.bytes.capacity()
    }

    /// Appends `bytes` and returns where. They are readable when it returns, and durable after the next
    /// [`sync`](AppendFile::sync).
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<FilePos, WriteFailure> {
        let mut tail = self.writing.lock();
        let start = self.bytes.published();
        let end = FilePos::try_from(bytes.len())
            .ok()
            .and_then(|len| start.checked_add(len))
            .filter(|end| *end <= self.capacity())
            .ok_or_else(|| WriteFailure::Undone(io::Error::from(io::ErrorKind::FileTooLarge)))?;
        let file = self.handle.get().map_err(WriteFailure::Undone)?;
        self.handle.dirty.store(true, Ordering::Release); // before the write: the handle can be taken away behind it
        if let Err(error) = file.write_at(bytes, u64::from(start)) {
            // A part of the bytes may be there. Nobody can see it, and the next append must not find it: the room goes
            // with it, and the file grows like one without from here on.
            return Err(match file.set_len(u64::from(start)) {
                Ok(()) => {
                    tail.cut(u64::from(start));
                    WriteFailure::Undone(error)
                }
                Err(_) => WriteFailure::Torn(error),
            });
        }
        self.handle.dirty.store(true, Ordering::Release); // and behind it: a sync may have begun in between
        self.bytes.publish(end);
        tail.file_end = tail.file_end.max(u64::from(end));
        tail.appended += u64::from(end - start);
        if self.zeroes_ahead && tail.zeroed_end < u64::from(end) {
            self.write_zeros(&*file, &mut tail, end);
        }
        Ok(start)
    }

    /// Writes zeros behind the end, as many as were appended so far, within limits. A sync that only has to write bytes
    /// where others were written before takes half the time of one that has a new length and new blocks to note, too.
    ///
    /// Recycled files would have their bytes for nothing, but may be mapped by another process, which would see its
    /// records turn into others.
    fn write_zeros(&self, file: &dyn DiskFile, tail: &mut Tail, end: FilePos) {
        let from = u64::from(end);
        tail.zeroed_end = from;
        if end - self.synced_to.load(Ordering::Relaxed).min(end) > UNSYNCED_MAX {
            return;
        }
        let to = (from + tail.appended.min(ZEROS_MAX)).next_multiple_of(PAGE).min(u64::from(self.capacity()));
        let file_end = tail.file_end;
        tail.file_end = file_end.max(to);
        while tail.zeroed_end < to {
            let len = usize::try_from(to - tail.zeroed_end).unwrap_or(usize::MAX).min(ZEROS.len());
            let written = ZEROS.get(..len).map(|zeros| file.write_at(zeros, tail.zeroed_end));
            if !matches!(written, Some(Ok(()))) {
                // There is no room for it, and others need what there is.
                if file_end < to && file.set_len(file_end).is_ok() {
                    tail.file_end = file_end;
                }
                tail.zeroed_end = from;
                tail.appended = 0; // fewer the next time
                return;
            }
            tail.zeroed_end += len as u64;
        }
    }

    /// From here on a sync is promised of what is appended, whatever was said when the file was opened.
    pub(crate) fn promise(&self) {
        self.handle.syncs_before_close.store(true, Ordering::Release);
    }

    /// Makes everything appended before the call durable. After a failure every later call fails, too, and the file
    /// must not be appended to.
    pub(crate) fn sync(&self, point: SyncPoint) -> io::Result<()> {
        let mut failed = self.handle.sync_failed.lock();
        if *failed {
            return Err(sync_failed_before());
        }
        let file = self.handle.get()?; // no handle is no failed sync
        self.note_sync();
        file.sync(point).inspect_err(|_| *failed = true)
    }

    /// As [`sync`](AppendFile::sync), for many files at once. `None` for a file that somebody else is syncing.
    pub(crate) fn sync_together(
        disk: &dyn Disk,
        files: &[Arc<AppendFile>],
        point: SyncPoint,
    ) -> Vec<Option<io::Result<()>>> {
        let begin = |file: &AppendFile| file.handle.get().inspect(|_| file.note_sync());
        let begun: Vec<_> = files
            .iter()
            .map(|file| {
                let failed = file.handle.sync_failed.try_lock()?;
                let handle = if *failed { Err(sync_failed_before()) } else { begin(file) };
                Some((failed, handle))
            })
            .collect();
        let handles = begun.iter().flatten().filter_map(|(_, handle)| handle.as_ref().ok());
        let mut synced = disk.sync_together(&handles.map(|handle| &**handle).collect::<Vec<_>>(), point).into_iter();
        let mut end = |(mut failed, handle): (MutexGuard<'_, bool>, io::Result<_>)| {
            handle?;
            let outcome = synced.next().unwrap_or_else(|| Err(io::Error::other("a sync without a result")));
            outcome.inspect_err(|_| *failed = true)
        };
        begun.into_iter().map(|begun| begun.map(&mut end)).collect()
    }

    fn note_sync(&self) {
        self.handle.dirty.store(false, Ordering::Release);
        self.synced_to.store(self.bytes.published(), Ordering::Relaxed);
    }
}

fn sync_failed_before() -> io::Error {
    io::Error::other("an earlier sync of the file failed")
}

#[cfg(test)]
#[path = "append_file_tests.rs"]
mod append_file_tests;

#[cfg(test)]
mod tests {
    use super::super::{OpenMode, RealDisk};
    use super::*;

    fn new_file(capacity: FilePos) -> (tempfile::TempDir, AppendFile) {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
        let path = dir.path().join("x.log");
        disk.open(&path, OpenMode::Create).unwrap();
        let file =
            AppendFile::new((&disk, path), None, (0, capacity), true, &OpenFiles::new(1, 1), Arc::default()).unwrap();
        (dir, file)
    }

    #[test]
    fn appended_bytes_are_readable_and_nothing_else_is() {
        let (_dir, file) = new_file(1 << 20);
        assert_eq!(file.bytes().mapped(0..1), None);
        file.append(b"hello").unwrap();
        file.append(b" world").unwrap();
        assert_eq!(file.bytes().mapped(0..11).unwrap(), b"hello world");
        assert_eq!(file.bytes().mapped(6..12), None);
        let (backward_start, backward_end) = (5, 4);
        assert_eq!(file.bytes().mapped(backward_start..backward_end), None);
    }

    #[test]
    fn a_slice_stays_what_it_was_while_the_file_grows() {
        let (_dir, file) = new_file(1 << 20);
        file.append(b"first").unwrap();
        let first = file.bytes().mapped(0..5).unwrap();
        for _ in 0..1000 {
            file.append(&[7; 1000]).unwrap();
        }
        assert_eq!(first, b"first");
        assert_eq!(file.bytes().mapped(1_000_000..1_000_005).unwrap(), [7; 5]);
    }

    #[test]
    fn no_append_beyond_the_capacity() {
        let (_dir, file) = new_file(4096);
        file.append(&[1; 4096]).unwrap();
        assert!(matches!(file.append(b"x"), Err(WriteFailure::Undone(_))));
        assert_eq!(file.bytes().mapped(4095..4096).unwrap(), [1]);
    }

    #[test]
    fn room_comes_and_goes_and_what_was_appended_stays() {
        let (dir, file) = new_file(10_000);
        let len = || std::fs::metadata(dir.path().join("x.log")).unwrap().len();
        file.append(b"hello").unwrap();
        file.trim().unwrap();
        assert_eq!(len(), 5);
        file.reserve().unwrap();
        if len() == 5 {
            return; // a file system that cannot
        }
        assert_eq!((len(), file.bytes().published()), (10_000, 5));
        assert_eq!(file.append(b" world").unwrap(), 5);
        let slice = file.bytes().mapped(0..11).unwrap();
        file.trim().unwrap();
        assert_eq!((len(), slice), (11, &b"hello world"[..]));
        assert_eq!(file.append(b"!").unwrap(), 11);
    }

    /// Defends D15.
    #[test]
    fn room_is_never_what_stood_behind_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
        let path = dir.path().join("x.log");
        std::fs::write(&path, b"good and stale").unwrap();
        let file = AppendFile::new((&disk, path.clone()), None, (4, 100), true, &OpenFiles::new(1, 1), Arc::default())
            .unwrap();
        file.reserve().unwrap();
        let content = std::fs::read(&path).unwrap();
        assert!(content.starts_with(b"good") && content[4..].iter().all(|byte| *byte == 0), "{content:?}");
    }

    #[test]
    fn zeros_are_written_ahead_of_small_durable_appends_only() {
        let (dir, file) = new_file(4 << 20);
        let len = || std::fs::metadata(dir.path().join("x.log")).unwrap().len();
        let (mut lens, mut end) = (vec![], 0);
        for _ in 0..2000 {
            file.append(&[7; 1000]).unwrap();
            file.sync(SyncPoint::Commit).unwrap();
            end += 1000;
            assert!(end <= len() && len() <= 2 * end + PAGE && len() <= end + ZEROS_MAX + PAGE);
            lens.push(len());
        }
        lens.dedup();
        assert!(lens.len() < 16, "the length stays what it is most of the time: {lens:?}");
        let content = std::fs::read(dir.path().join("x.log")).unwrap();
        assert!(
            content[..end as usize].iter().all(|byte| *byte == 7) && content[end as usize..].iter().all(|b| *b == 0)
        );
        file.trim().unwrap();
        file.append(&[7; UNSYNCED_MAX as usize + 1]).unwrap();
        assert_eq!(len(), end + u64::from(UNSYNCED_MAX) + 1, "as much at once costs more when it is written twice");
    }

    #[test]
    fn few_handles_are_enough_for_many_files() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::default());
        let open_files = OpenFiles::new(3, 1);
        let files: Vec<_> = (0..20)
            .map(|number| {
                let path = dir.path().join(number.to_string());
                let file = disk.open(&path, OpenMode::Create).unwrap();
                AppendFile::new((&disk, path), Some(file), (0, 1000), true, &open_files, Arc::default()).unwrap()
            })
            .collect();
        for round in 0..10u8 {
            for file in &files {
                file.append(&[round; 10]).unwrap();
                file.sync(SyncPoint::Commit).unwrap();
            }
            let open = files.iter().filter(|file| file.handle.file.lock().is_some()).count();
            assert!((1..=3).contains(&open), "{open}");
        }
        for file in &files {
            assert_eq!(file.bytes().mapped(95..100).unwrap(), [9; 5]);
        }
    }
}
