//! The data directory as a whole: whose it is, and whether it was closed in order.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::sync::Arc;
use crate::sys::{DirectoryLock, Disk, LockFailure, SyncPoint, write_atomically};
use crate::topic::{CLEAN_SHUTDOWN, LOCK, META_PROPERTIES, TEMPORARY, id_text, marks_data_directory};

/// Names that a first open can leave when it is cut short, before the directory is marked as a data directory, and one
/// that file systems make themselves.
const LEFTOVERS: [&str; 3] = [LOCK, TEMPORARY, "lost+found"];

/// An open data directory. The lock is held until it is dropped.
#[derive(Debug)]
pub(super) struct DataDirectory {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Whether this open created it.
    pub(super) created: bool,
    /// Whether it was closed in order the last time, or is new.
    pub(super) clean: bool,
    _lock: DirectoryLock,
}

impl DataDirectory {
    /// Takes the directory, creating it if it is missing.
    ///
    /// The mark of a close in order is removed before anything is loaded: if this process ends now, the next one has to
    /// look at everything.
    pub(super) fn open(path: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        disk.create_dir(path).map_err(|error| Error::io("create the data directory", path, error))?;
        refuse_foreign(path, &*disk)?; // before the lock file is left in it
        let lock = DirectoryLock::acquire(&path.join(LOCK)).map_err(|failure| match failure {
            LockFailure::Held(pid) => Error::new(ErrorKind::DirectoryLocked { directory: path.to_owned(), pid }),
            LockFailure::Io(error) => Error::io("lock the data directory", path, error),
        })?;
        let names: Vec<_> = list(path, &*disk)?;
        let created = !names.iter().any(|name| marks_data_directory(name));
        let clean = created || names.iter().any(|name| name == CLEAN_SHUTDOWN);
        let directory = DataDirectory { path: path.to_owned(), disk, created, clean, _lock: lock };
        if !names.iter().any(|name| name == META_PROPERTIES) {
            directory.mark_as_ours()?;
        }
        if !created {
            directory.remove_clean_mark()?;
        }
        Ok(directory)
    }

    fn mark_as_ours(&self) -> Result<()> {
        sync_parents(&*self.disk, &self.path)?;
        let [cluster, directory] = [Uuid::new_v4(), Uuid::new_v4()].map(id_text);
        let text = format!("version=1\nnode.id=0\ncluster.id={cluster}\ndirectory.id={directory}\n");
        let path = self.path.join(META_PROPERTIES);
        let points = [SyncPoint::MetaProperties, SyncPoint::MetaPropertiesName];
        write_atomically(&*self.disk, &path, text.as_bytes(), points).map_err(|error| Error::io("write", &path, error))
    }

    /// Removes the mark, and makes that durable also where it is gone: somebody may have removed it and ended before that.
    fn remove_clean_mark(&self) -> Result<()> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let removed = if self.clean { self.disk.remove_file(&path) } else { Ok(()) };
        removed
            .and_then(|()| self.disk.sync_dir(&self.path, SyncPoint::CleanMarkRemoved))
            .map_err(|error| Error::io("remove", &path, error))
    }

    /// Notes that everything was closed in order: the last thing that is written.
    pub(super) fn mark_clean(&self) -> Result<()> {
        self.mark_clean_at(&self.path)
    }

    /// As [`mark_clean`](DataDirectory::mark_clean), for a copy of the directory.
    pub(super) fn mark_clean_at(&self, directory: &Path) -> Result<()> {
        let path = directory.join(CLEAN_SHUTDOWN);
        let points = [SyncPoint::CleanMark, SyncPoint::CleanMarkName];
        write_atomically(&*self.disk, &path, b"{\"version\":0,\"brokerEpoch\":-1}", points)
            .map_err(|error| Error::io("write", &path, error))
    }
}

/// Makes the name of a directory durable, and those of its parents, which may have been made with it, by this call or by
/// one that was cut short: they must not get lost with what is acknowledged in them. What we may not open we cannot have
/// made.
pub(super) fn sync_parents(disk: &dyn Disk, path: &Path) -> Result<()> {
    for (distance, parent) in path.ancestors().skip(1).enumerate() {
        match disk.sync_dir(parent, SyncPoint::DataDirectory) {
            Ok(()) => {}
            Err(error) if distance == 0 && error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(Error::io("sync", parent, error));
            }
            Err(_) => break,
        }
    }
    Ok(())
}

fn list(path: &Path, disk: &dyn Disk) -> Result<Vec<String>> {
    let entries = disk.list(path).map_err(|error| Error::io("list the data directory", path, error))?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

/// Refuses a directory that is not a data directory, also an empty one.
pub(super) fn check_is_data_directory(path: &Path, disk: &dyn Disk) -> Result<()> {
    let names = list(path, disk)?;
    if names.iter().any(|name| marks_data_directory(name)) {
        return Ok(());
    }
    let found = names.into_iter().next().unwrap_or_else(|| "nothing".to_owned());
    Err(Error::new(ErrorKind::NotADataDirectory { directory: path.to_owned(), found }))
}

/// A directory that holds something must hold a sign that it is a data directory.
fn refuse_foreign(path: &Path, disk: &dyn Disk) -> Result<()> {
    let names = list(path, disk)?;
    if names.iter().any(|name| marks_data_directory(name)) {
        return Ok(());
    }
    match names.into_iter().find(|name| !LEFTOVERS.contains(&name.as_str())) {
        None => Ok(()),
        Some(found) => Err(Error::new(ErrorKind::NotADataDirectory { directory: path.to_owned(), found })),
    }
}
