//! A data directory that nobody has open, for as long as a tool works on it.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::sys::{DirectoryLock, Disk, DiskEntry, LockFailure, OpenMode};
use crate::topic::{CLEAN_SHUTDOWN, LOCK, marks_data_directory};

/// A data directory with its lock.
#[derive(Debug)]
pub(super) struct ClosedDirectory {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// What is in it, by name.
    pub(super) entries: Vec<DiskEntry>,
    _lock: DirectoryLock,
}

impl ClosedDirectory {
    /// Takes the lock, which leaves the lock file behind in a directory that has none, and changes nothing else.
    ///
    /// # Errors
    ///
    /// `DirectoryLocked`, `NotADataDirectory`, and what the system refuses.
    pub(super) fn lock(path: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::illegal_argument("the path of the data directory is empty"));
        }
        let list = || disk.list(path).map_err(|error| Error::io("list the data directory", path, error));
        let before = list()?;
        if !before.iter().any(|entry| marks_data_directory(&entry.name)) {
            let found = before.into_iter().next().map_or("nothing".to_owned(), |entry| entry.name);
            return Err(Error::new(ErrorKind::NotADataDirectory { directory: path.to_owned(), found }));
        }
        let lock = DirectoryLock::acquire(&path.join(LOCK)).map_err(|failure| match failure {
            LockFailure::Held(pid) => Error::new(ErrorKind::DirectoryLocked { directory: path.to_owned(), pid }),
            LockFailure::Io(error) => Error::io("lock the data directory", path, error),
        })?;
        let entries = list()?;
        Ok(ClosedDirectory { path: path.to_owned(), disk, entries, _lock: lock })
    }

    /// Whether it was closed in order.
    pub(super) fn is_clean(&self) -> bool {
        self.has(CLEAN_SHUTDOWN)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }
}

/// The content of a file of up to 2 GiB.
pub(super) fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?.min(i32::MAX as u64)).unwrap_or(usize::MAX);
    let mut content = vec![0; len];
    let read = file.read_at(&mut content, 0)?;
    content.truncate(read);
    Ok(content)
}
