//! The simulated disk: what the engine sees of it, and what a test does to it.

use std::fs;
use std::io;
use std::path::Path;

use super::change::{Change, EntryChange, Operation};
use super::clock::SimulatedClock;
use super::cut::{Cut, Survived};
use super::fault::{Fault, OperationKind};
use super::file::SimulatedFile;
use super::hold::{Gate, Held};
use super::state::State;
use crate::sync::{Arc, Mutex};
use crate::sys::{Disk, DiskEntry, DiskFile, OpenMode, RealDisk, SyncPoint};

/// A disk that knows what a power cut would leave of it. It works in real directories, which stand for the system's cache,
/// and never makes the system sync anything. Clones are the same disk.
///
/// Every operation that changes something, or makes it durable, has a number: what was acknowledged when
/// [`operations`](SimulatedDisk::operations) said `p` must be there after a [`Cut`] at `p`, and after any later one.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    pub(super) state: Arc<Mutex<State>>,
    clock: SimulatedClock,
    pub(super) writes: Arc<Gate>,
    pub(super) syncs: Arc<Gate>,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        SimulatedDisk::new()
    }
}

impl SimulatedDisk {
    /// A disk on which everything that is there is durable.
    pub fn new() -> Self {
        let (writes, syncs) = (Arc::default(), Arc::default());
        SimulatedDisk { state: Arc::new(Mutex::new(State::new())), clock: SimulatedClock::new(), writes, syncs }
    }

    /// The clock of the brokers that are opened on it.
    pub fn clock(&self) -> &SimulatedClock {
        &self.clock
    }

    /// Number of operations so far.
    pub fn operations(&self) -> usize {
        self.state.lock().operations().len()
    }

    /// The operations so far.
    pub fn history(&self) -> Vec<Operation> {
        self.state.lock().operations().to_vec()
    }

    /// What is left after a power cut. The disk itself goes on as if there had been none.
    pub fn cut(&self, cut: &Cut) -> Survived {
        self.state.lock().cut(cut)
    }

    /// Has an operation fail.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.add(fault);
    }

    /// Takes back all faults that have not happened yet.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Has every write wait until what this returns is dropped: a disk that stalls.
    ///
    /// ```
    /// use thalweg::simulation::SimulatedDisk;
    /// use thalweg::{BrokerConfig, Durability, ProducerConfig, ProducerRecord, TopicConfig};
    ///
    /// # fn main() -> thalweg::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let disk = SimulatedDisk::new();
    /// let broker = disk.open_broker(dir.path(), BrokerConfig::new())?;
    /// broker.create_topic("t", 1, TopicConfig::new().durability(Durability::Os))?;
    /// let producer = broker.producer(ProducerConfig::new())?;
    /// let ack = producer.send(ProducerRecord::new("t", "v"))?;
    /// let held = disk.hold_writes();
    /// std::thread::scope(|scope| {
    ///     let waits = scope.spawn(|| ack.wait());
    ///     held.wait_for(1);
    ///     drop(held);
    ///     assert_eq!(waits.join().unwrap().unwrap().offset, 0);
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn hold_writes(&self) -> Held {
        self.writes.hold()
    }

    /// As [`hold_writes`](SimulatedDisk::hold_writes), with syncs of files.
    pub fn hold_syncs(&self) -> Held {
        self.syncs.hold()
    }

    /// The system fails to write back what was written to a file, before anybody asks for it: the next sync of all who have
    /// the file open fails, once each.
    ///
    /// # Errors
    ///
    /// If there is no such file.
    pub fn fail_writeback(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut state = self.state.lock();
        let (_, inode) = state.look_up(path.as_ref()).ok_or(io::ErrorKind::NotFound)?;
        state.fail_write_back(inode, path.as_ref());
        Ok(())
    }

    /// Another process opens a file and syncs it: what failed to be written back before, it is told, and nobody who comes
    /// later.
    ///
    /// # Errors
    ///
    /// What it is told.
    pub fn sync_elsewhere(&self, path: impl AsRef<Path>) -> io::Result<()> {
        Disk::open(self, path.as_ref(), OpenMode::Read)?.sync(SyncPoint::FollowedSegment)
    }

    /// Syncs of this point do nothing from now on, and succeed: a test that still passes does not show that the sync is
    /// needed.
    pub fn switch_off(&self, point: SyncPoint) {
        self.state.lock().switched_off.insert(point);
    }

    /// Dropping the cache of a file does nothing from now on, and succeeds.
    pub fn switch_off_drop_cache(&self) {
        self.state.lock().keeps_cache = true;
    }

    /// How often a sync was asked for, also those that failed or were switched off.
    pub fn count(&self, point: SyncPoint) -> usize {
        self.state.lock().counts.get(&point).copied().unwrap_or(0)
    }

    /// Bytes that all files may have together, those included that are there; `None`: any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Whether the cache of a file that is mapped stays when it is dropped, as on Linux, until
    /// [`restart`](SimulatedDisk::restart).
    pub fn set_cache_is_pinned(&self, is_pinned: bool) {
        self.state.lock().cache_is_pinned = is_pinned;
    }

    /// The process is killed: all that it still asks for fails and has no effect, until [`restart`](SimulatedDisk::restart).
    pub fn kill(&self) {
        self.state.lock().is_over = true;
    }

    /// The process has ended, and another one follows: no file is mapped any more.
    pub fn restart(&self) {
        self.state.lock().restart();
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        if missing.is_empty() && dir.is_dir() {
            return state.list_all(dir);
        }
        while let Some(dir) = missing.pop() {
            state.meet(OperationKind::CreateDir).map_err(|failed| failed.error)?;
            let place = state.place(dir)?;
            fs::create_dir(dir)?;
            state.create(place, true, Operation::new("create directory", dir));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        self.state.lock().meet(OperationKind::List).map_err(|failed| failed.error)?;
        RealDisk::default().list(dir)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.state.lock().meet(OperationKind::List).map_err(|failed| failed.error)?;
        RealDisk::default().names(dir)
    }

    fn entry(&self, path: &Path) -> io::Result<DiskEntry> {
        self.state.lock().meet(OperationKind::List).map_err(|failed| failed.error)?;
        RealDisk::default().entry(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let kind = if mode == OpenMode::Create { OperationKind::Create } else { OperationKind::Open };
        state.meet(kind).map_err(|failed| failed.error)?;
        let known = state.look_up(path).map(|(_, inode)| inode);
        let place = state.place(path);
        let file = RealDisk::default().open(path, mode)?;
        let inode = match known {
            Some(inode) => {
                if mode == OpenMode::Create {
                    state.truncate(inode, 0);
                    state.note(Change::SetLen { inode, len: 0 }, Operation::new("empty", path));
                }
                inode
            }
            None => state.create(place?, false, Operation::new("create", path)),
        };
        Ok(Arc::new(SimulatedFile::new(self, &mut state, inode, path, file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.meet(OperationKind::Rename).map_err(|failed| failed.error)?;
        let (link, inode) = state.look_up(from).ok_or(io::ErrorKind::NotFound)?;
        state.look_up(to); // what it replaces
        let (from_place, to_place) = (state.place(from)?, state.place(to)?);
        fs::rename(from, to)?;
        let change = EntryChange { link, inode, from: Some(from_place), to: Some(to_place) };
        state.move_entry(change, Operation::new("rename", from).to(to));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        remove(&mut self.state.lock(), path, |path| fs::remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        remove_all(&mut self.state.lock(), dir)
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.meet(OperationKind::HardLink).map_err(|failed| failed.error)?;
        let (_, inode) = state.look_up(file).ok_or(io::ErrorKind::NotFound)?;
        let place = state.place(name)?;
        fs::hard_link(file, name)?;
        state.link(inode, place, Operation::new("link", file).to(name));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()> {
        let mut state = self.state.lock();
        let is_done = state.count(point);
        state.meet(OperationKind::SyncDir).map_err(|failed| failed.error)?;
        let (_, inode) = state.look_up(dir).ok_or(io::ErrorKind::NotFound)?;
        if is_done {
            state.note(Change::SyncDir { dir: inode }, Operation::new("sync directory", dir).point(point));
        }
        Ok(())
    }
}

fn remove(state: &mut State, path: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    state.meet(OperationKind::Remove).map_err(|failed| failed.error)?;
    let (link, inode) = state.look_up(path).ok_or(io::ErrorKind::NotFound)?;
    let place = state.place(path)?;
    remove(path)?;
    state.move_entry(EntryChange { link, inode, from: Some(place), to: None }, Operation::new("remove", path));
    Ok(())
}

fn remove_all(state: &mut State, dir: &Path) -> io::Result<()> {
    let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            remove_all(state, &path)?;
        } else {
            remove(state, &path, |path| fs::remove_file(path))?;
        }
    }
    remove(state, dir, |dir| fs::remove_dir(dir))
}
