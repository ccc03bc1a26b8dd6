//! A disk for tests: the real one, whose operations can be counted, held up and failed.

use std::fs::File;
use std::io;
use std::path::Path;

use super::disk::{Disk, DiskEntry, DiskFile, OpenMode, RealDisk};
use super::sync_point::SyncPoint;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Condvar, Mutex, Ordering};
use crate::types::Timestamp;

/// The real disk with faults.
#[derive(Debug, Default)]
pub(crate) struct FaultyDisk(Arc<Faults>);

/// What goes wrong next. Each fault happens once.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) next_sync: Mutex<Option<io::ErrorKind>>,
    /// The write leaves half of its bytes behind.
    pub(crate) next_write: Mutex<Option<io::ErrorKind>>,
    /// While it is set every write finds the disk full.
    pub(crate) full: AtomicBool,
    pub(crate) next_set_len: Mutex<Option<io::ErrorKind>>,
    /// What comes after half of the room was given.
    pub(crate) next_reserve: Mutex<Option<io::ErrorKind>>,
    /// Whether the file system has no way to reserve room.
    pub(crate) reserves_nothing: AtomicBool,
    pub(crate) next_create: Mutex<Option<io::ErrorKind>>,
    pub(crate) next_rename: Mutex<Option<io::ErrorKind>>,
    pub(crate) next_len: Mutex<Option<io::ErrorKind>>,
    pub(crate) next_remove: Mutex<Option<io::ErrorKind>>,
    /// Syncs of directories that succeed before one fails for want of file handles.
    pub(crate) dir_syncs_left: Mutex<Option<usize>>,
    /// Reads that succeed before one fails as a device fails.
    pub(crate) reads_left: Mutex<Option<usize>>,
    /// Operations of all kinds that change something, or make it durable, which succeed before one fails.
    pub(crate) changes_left: Mutex<Option<usize>>,
    /// Whether all fail after that one, as if the process had ended there.
    pub(crate) breaks: AtomicBool,
    /// Whether syncs are counted and not done, for tests in which no power goes.
    pub(crate) pretends: AtomicBool,
    /// Syncs that have begun.
    pub(crate) syncs: AtomicUsize,
    /// Writes that have begun.
    pub(crate) writes: AtomicUsize,
    held: Mutex<Held>,
    released: Condvar,
}

/// What begins and does not end.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    syncs: bool,
    writes: bool,
}

impl FaultyDisk {
    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.0)
    }
}

impl Faults {
    /// Lets syncs begin but not end, until [`release`](Faults::release).
    pub(crate) fn hold_syncs(&self) {
        self.held.lock().syncs = true;
    }

    /// Lets writes begin but not end, until [`release`](Faults::release).
    pub(crate) fn hold_writes(&self) {
        self.held.lock().writes = true;
    }

    fn wait_while(&self, is_held: impl Fn(&Held) -> bool) {
        let mut held = self.held.lock();
        while is_held(&held) {
            self.released.wait(&mut held);
        }
    }

    /// Whether [`changes_left`](Faults::changes_left) was more than what was done.
    pub(crate) fn are_changes_left(&self) -> bool {
        self.changes_left.lock().is_some_and(|left| left > 0)
    }

    fn change(&self) -> io::Result<()> {
        let mut left = self.changes_left.lock();
        match &mut *left {
            Some(0) => {
                if !self.breaks.load(Ordering::SeqCst) {
                    *left = None;
                }
                Err(io::ErrorKind::Other.into())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn release(&self) {
        *self.held.lock() = Held::default();
        self.released.notify_all();
    }
}

fn fail(fault: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
    fault.lock().take().map_or(Ok(()), |kind| Err(kind.into()))
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.change()?;
        RealDisk::default().create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        RealDisk::default().list(dir)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk::default().names(dir)
    }

    fn entry(&self, path: &Path) -> io::Result<DiskEntry> {
        RealDisk::default().entry(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::Create {
            fail(&self.0.next_create)?;
            self.0.change()?;
        }
        Ok(Arc::new(FaultyFile { file: RealDisk::default().open(path, mode)?, faults: Arc::clone(&self.0) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fail(&self.0.next_rename)?;
        self.0.change()?;
        RealDisk::default().rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fail(&self.0.next_remove)?;
        self.0.change()?;
        RealDisk::default().remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        if let Err(error) = self.0.change() {
            // Some files are gone by then.
            if let Some(entry) = RealDisk::default().list(dir)?.iter().find(|entry| !entry.is_dir) {
                RealDisk::default().remove_file(&dir.join(&entry.name))?;
            }
            return Err(error);
        }
        RealDisk::default().remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()> {
        const EMFILE: i32 = 24;
        let mut left = self.0.dir_syncs_left.lock();
        match &mut *left {
            Some(0) => {
                *left = None;
                return Err(io::Error::from_raw_os_error(EMFILE));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        drop(left);
        self.0.change()?;
        if self.0.pretends.load(Ordering::SeqCst) { Ok(()) } else { RealDisk::default().sync_dir(dir, point) }
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        fail(&self.faults.next_len)?;
        self.file.len()
    }

    fn modified(&self) -> io::Result<Timestamp> {
        self.file.modified()
    }

    fn read_at(&self, buffer: &mut [u8], pos: u64) -> io::Result<usize> {
        const EIO: i32 = 5;
        let mut left = self.faults.reads_left.lock();
        match &mut *left {
            Some(0) => {
                *left = None;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        drop(left);
        self.file.read_at(buffer, pos)
    }

    fn write_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        self.faults.writes.fetch_add(1, Ordering::SeqCst);
        self.faults.wait_while(|held| held.writes);
        if self.faults.next_write.lock().is_some() {
            self.file.write_at(bytes.get(..bytes.len() / 2).unwrap_or_default(), pos)?;
        }
        fail(&self.faults.next_write)?;
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Err(error) = self.faults.change() {
            self.file.write_at(bytes.get(..bytes.len() / 2).unwrap_or_default(), pos)?;
            return Err(error);
        }
        self.file.write_at(bytes, pos)
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.faults.wait_while(|held| held.syncs);
        fail(&self.faults.next_sync)?;
        self.faults.change()?;
        if self.faults.pretends.load(Ordering::SeqCst) { Ok(()) } else { self.file.sync(point) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fail(&self.faults.next_set_len)?;
        self.faults.change()?;
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<bool> {
        if self.faults.reserves_nothing.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let failed = fail(&self.faults.next_reserve).and_then(|()| self.faults.change());
        if let Err(error) = failed {
            self.file.set_len(self.file.len()?.max(len / 2))?;
            return Err(error);
        }
        self.file.reserve(len)
    }

    fn drop_cache(&self) -> io::Result<bool> {
        self.file.drop_cache()
    }

    fn as_file(&self) -> &File {
        self.file.as_file()
    }
}
