//! A file of the simulated disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::change::{Change, Inode, Operation};
use super::clock::SimulatedClock;
use super::disk::SimulatedDisk;
use super::fault::OperationKind;
use super::hold::Gate;
use super::state::State;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::sys::{DiskFile, SyncPoint};
use crate::types::Timestamp;

/// A handle. What is read comes from the real file; what is written goes there and into the list.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    state: Arc<Mutex<State>>,
    clock: SimulatedClock,
    inode: Inode,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// The failures to write back that it was told of.
    errors_seen: AtomicU64,
    writes: Arc<Gate>,
    syncs: Arc<Gate>,
}

const EIO: i32 = 5;

impl SimulatedFile {
    pub(super) fn new(
        disk: &SimulatedDisk,
        state: &mut State,
        inode: Inode,
        path: &Path,
        file: Arc<dyn DiskFile>,
    ) -> Self {
        let mut errors_seen = 0;
        if let Some(node) = state.node(inode) {
            node.handles += 1;
            errors_seen = if node.is_told { node.errors } else { node.errors.saturating_sub(1) };
        }
        SimulatedFile {
            state: Arc::clone(&disk.state),
            clock: disk.clock().clone(),
            inode,
            path: path.to_owned(),
            file,
            errors_seen: AtomicU64::new(errors_seen),
            writes: Arc::clone(&disk.writes),
            syncs: Arc::clone(&disk.syncs),
        }
    }

    fn meet(&self, kind: OperationKind) -> io::Result<()> {
        self.state.lock().meet(kind).map_err(|failed| failed.error)
    }

    fn write(&self, state: &mut State, bytes: &[u8], pos: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = pos + bytes.len() as u64;
        let (granted, outcome) = state.allocate(self.inode, end);
        let fits = granted.saturating_sub(pos).min(bytes.len() as u64) as usize;
        let written = bytes.get(..fits).unwrap_or_default();
        if !written.is_empty() {
            self.file.write_at(written, pos)?;
            self.touch(state);
            let operation = Operation::new("write", &self.path).at(pos, written.len() as u64);
            state.note(Change::Write { inode: self.inode, pos, bytes: written.into() }, operation);
        }
        outcome
    }

    fn touch(&self, state: &mut State) {
        if let Some(node) = state.node(self.inode) {
            node.modified = self.clock.timestamp();
        }
    }

    fn change_len(&self, state: &mut State, kind: &'static str, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.touch(state);
        let operation = Operation::new(kind, &self.path).at(len, 0);
        state.note(Change::SetLen { inode: self.inode, len }, operation);
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        self.meet(OperationKind::Read)?;
        self.file.len()
    }

    fn modified(&self) -> io::Result<Timestamp> {
        Ok(self.state.lock().node(self.inode).map_or(0, |node| node.modified))
    }

    fn read_at(&self, buffer: &mut [u8], pos: u64) -> io::Result<usize> {
        self.meet(OperationKind::Read)?;
        self.file.read_at(buffer, pos)
    }

    fn write_at(&self, bytes: &[u8], pos: u64) -> io::Result<()> {
        self.writes.pass();
        let mut state = self.state.lock();
        match state.meet(OperationKind::Write) {
            Ok(()) => self.write(&mut state, bytes, pos),
            Err(failed) => {
                let part = bytes.get(..failed.written(bytes.len())).unwrap_or_default();
                self.write(&mut state, part, pos)?;
                Err(failed.error)
            }
        }
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.syncs.pass();
        let mut state = self.state.lock();
        let is_done = state.count(point);
        let inode = self.inode;
        if let Err(failed) = state.meet(OperationKind::Sync) {
            if failed.is_over {
                return Err(failed.error);
            }
            state.fail_write_back(inode, &self.path);
            if let Some(node) = state.node(inode) {
                node.is_told = true;
                self.errors_seen.store(node.errors, Ordering::SeqCst);
            }
            return Err(failed.error);
        }
        if !is_done {
            return Ok(());
        }
        state.note(Change::Sync { inode }, Operation::new("sync", &self.path).point(point));
        match state.node(inode) {
            Some(node) if node.errors != self.errors_seen.swap(node.errors, Ordering::SeqCst) => {
                node.is_told = true;
                Err(io::Error::from_raw_os_error(EIO))
            }
            _ => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.meet(OperationKind::SetLen).map_err(|failed| failed.error)?;
        self.change_len(&mut state, "set length", len)?;
        state.truncate(self.inode, len);
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<bool> {
        if len == 0 {
            return Ok(false);
        }
        let mut state = self.state.lock();
        let failed = state.meet(OperationKind::Reserve).err();
        if let Some(failed) = failed.as_ref().filter(|failed| failed.is_over) {
            return Err(io::Error::from(failed.error.kind()));
        }
        let wanted = if failed.is_some() { len / 2 } else { len };
        let (granted, outcome) = state.allocate(self.inode, wanted);
        if self.file.len()? < granted {
            self.change_len(&mut state, "reserve", granted)?;
        }
        match failed {
            Some(failed) => Err(failed.error),
            None => outcome.map(|()| true),
        }
    }

    fn drop_cache(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.meet(OperationKind::DropCache).map_err(|failed| failed.error)?;
        let is_pinned = state.cache_is_pinned && state.node(self.inode).is_some_and(|node| node.is_mapped);
        if state.keeps_cache || is_pinned {
            return Ok(state.keeps_cache); // a control claims to have done it
        }
        let on_device = state.device.file(self.inode).map(|content| content.drop_cache()).unwrap_or_default();
        if on_device.is_empty() {
            return Ok(true);
        }
        for (pos, bytes) in on_device {
            self.file.write_at(&bytes, pos)?;
        }
        let operation = Operation::new("drop cache", &self.path);
        state.note(Change::DropCache { inode: self.inode }, operation);
        Ok(true)
    }

    fn as_file(&self) -> &File {
        if let Some(node) = self.state.lock().node(self.inode) {
            node.is_mapped = true;
        }
        self.file.as_file()
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if let Some(node) = state.node(self.inode) {
            node.handles -= 1;
        }
        state.free(self.inode);
    }
}
