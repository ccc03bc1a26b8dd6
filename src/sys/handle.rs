//! The handle of a file that is opened again when it was taken away.

use std::io;
use std::path::PathBuf;

use super::bounded::{Evict, Eviction, OpenFiles};
use super::disk::{Disk, DiskFile, OpenMode};
use super::sync_point::SyncPoint;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};

/// Where a file is, and its handle while it is open.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) open_files: Arc<OpenFiles>,
    pub(super) file: Mutex<Option<Arc<dyn DiskFile>>>,
    /// Whether it was used since somebody wanted to take it away.
    pub(super) used: AtomicBool,
    /// Whether something was written since the last sync began.
    pub(super) dirty: AtomicBool,
    /// Held for the length of a sync; whether one has failed. The system reports a failed write-back to one caller only:
    /// a second sync, at the same time or later, would succeed without the bytes being there.
    pub(super) sync_failed: Mutex<bool>,
    /// Whether the handle is synced before it is taken away. A process that follows this one syncs the file, too, and a
    /// handle that is opened after that is not told of a write-back that failed before. Nor is one of a file that nobody had
    /// open or mapped meanwhile, which the system may have forgotten.
    pub(super) syncs_before_close: AtomicBool,
    /// Set before the name of the file may go to another one: it is not opened any more.
    pub(super) retired: Arc<AtomicBool>,
}

impl Handle {
    /// The open file, opened if it is not.
    pub(super) fn get(self: &Arc<Self>) -> io::Result<Arc<dyn DiskFile>> {
        self.used.store(true, Ordering::Relaxed);
        let mut file = self.file.lock();
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        let opened = self.disk.open(&self.path, OpenMode::Write)?;
        if self.retired.load(Ordering::Acquire) || self.open_files.is_closed() {
            return Err(io::ErrorKind::NotFound.into()); // what was opened may be another file
        }
        *file = Some(Arc::clone(&opened));
        drop(file);
        self.note();
        Ok(opened)
    }

    /// Takes note of it among the handles that are open.
    pub(super) fn note(self: &Arc<Self>) {
        let weak: Weak<Handle> = Arc::downgrade(self);
        self.open_files.handles.note(weak);
    }
}

impl Handle {
    /// Syncs what is open; `None` if somebody is at it. A failure is what every later sync gets.
    fn try_sync(&self) -> Option<()> {
        let mut failed = self.sync_failed.try_lock()?;
        let file = self.file.try_lock()?.clone();
        self.dirty.store(false, Ordering::Release);
        if let Some(file) = file {
            *failed |= file.sync(SyncPoint::EvictedSegment).is_err();
        }
        Some(())
    }
}

impl Evict for Handle {
    fn try_evict(&self) -> Eviction {
        if self.used.swap(false, Ordering::Relaxed) {
            return Eviction::Keep;
        }
        if self.syncs_before_close.load(Ordering::Acquire)
            && self.dirty.load(Ordering::Acquire)
            && self.try_sync().is_none()
        {
            return Eviction::Keep;
        }
        match self.file.try_lock() {
            Some(mut file) => {
                // What is under way with it may be a write that no sync covers yet; one that has ended since the look above
                // has left its note. Nobody begins another while this lock is held.
                let is_in_use = file.as_mut().is_some_and(|file| Arc::get_mut(file).is_none());
                let is_dirty = self.dirty.load(Ordering::Acquire) && self.syncs_before_close.load(Ordering::Acquire);
                if is_in_use || is_dirty {
                    return Eviction::Keep;
                }
                *file = None;
                Eviction::Forget
            }
            None => Eviction::Keep,
        }
    }
}
