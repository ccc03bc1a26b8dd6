//! The cache: names and files as the process sees them, and the list of all that was done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::change::{Change, EntryChange, Inode, Link, Operation, Place};
use super::cut::{Cut, Survived};
use super::device::Device;
use super::fault::{Failed, Faults, OperationKind};
use crate::sync::Arc;
use crate::sys::SyncPoint;
use crate::types::Timestamp;

/// The directory that all paths begin with.
pub(super) const ROOT: Inode = 0;

/// Everything about a simulated disk, behind one lock.
#[derive(Debug)]
pub(super) struct State {
    /// What was there when it was first looked at.
    found: Vec<Change>,
    changes: Vec<Change>,
    /// As long as `changes`.
    operations: Vec<Operation>,
    /// After all of `changes`.
    pub(super) device: Device,
    /// After the first of them, for a cut there, and how many.
    replay: Option<(usize, Device)>,
    tree: HashMap<Inode, BTreeMap<String, (Link, Inode)>>,
    nodes: Vec<Node>,
    links: usize,
    pub(super) faults: Faults,
    pub(super) switched_off: BTreeSet<SyncPoint>,
    pub(super) counts: BTreeMap<SyncPoint, usize>,
    pub(super) keeps_cache: bool,
    pub(super) cache_is_pinned: bool,
    /// Whether the process is at its end: all that it still asks for fails.
    pub(super) is_over: bool,
    /// Bytes that files may have together.
    pub(super) capacity: Option<u64>,
    used: u64,
}

/// A file or directory in the cache.
#[derive(Debug, Default)]
pub(super) struct Node {
    is_dir: bool,
    /// Whether everything in it is known.
    is_listed: bool,
    names: usize,
    pub(super) handles: usize,
    /// Bytes that it has on the disk.
    allocated: u64,
    /// Grows when a write-back fails that others have been told of before.
    pub(super) errors: u64,
    /// Whether somebody was told of the last one.
    pub(super) is_told: bool,
    pub(super) is_mapped: bool,
    pub(super) modified: Timestamp,
}

const ENOSPC: i32 = 28;

impl State {
    pub(super) fn new() -> Self {
        let mut state = State {
            found: Vec::new(),
            changes: Vec::new(),
            operations: Vec::new(),
            device: Device::default(),
            replay: None,
            tree: HashMap::new(),
            nodes: Vec::new(),
            links: 0,
            faults: Faults::default(),
            switched_off: BTreeSet::new(),
            counts: BTreeMap::new(),
            keeps_cache: false,
            cache_is_pinned: false,
            is_over: false,
            capacity: None,
            used: 0,
        };
        state.add_found(None, None);
        state
    }

    pub(super) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether the operation is to fail.
    pub(super) fn meet(&mut self, kind: OperationKind) -> Result<(), Failed> {
        if self.is_over {
            return Err(Failed::over());
        }
        if self.faults.is_empty() { Ok(()) } else { self.faults.meet(kind) }
    }

    /// A sync is asked for; returns whether it is to be done.
    pub(super) fn count(&mut self, point: SyncPoint) -> bool {
        *self.counts.entry(point).or_default() += 1;
        !self.switched_off.contains(&point)
    }

    /// Takes note of what was done.
    pub(super) fn note(&mut self, change: Change, operation: Operation) {
        self.device.apply(&change);
        self.changes.push(change);
        self.operations.push(operation);
    }

    pub(super) fn node(&mut self, inode: Inode) -> Option<&mut Node> {
        self.nodes.get_mut(inode)
    }

    /// The file or directory of this name, if there is one.
    pub(super) fn look_up(&mut self, path: &Path) -> Option<(Link, Inode)> {
        let (mut at, mut walked) = ((0, ROOT), PathBuf::from("/"));
        for name in names(path) {
            walked.push(&name);
            let known = self.tree.get(&at.1).and_then(|dir| dir.get(&name)).copied();
            at = match known {
                Some(entry) => entry,
                None => self.find_real(&walked, Place { dir: at.1, name })?,
            };
        }
        Some(at)
    }

    /// What was there before.
    fn find_real(&mut self, path: &Path, place: Place) -> Option<(Link, Inode)> {
        if !self.nodes.get(place.dir)?.is_dir {
            return None;
        }
        let is_dir = fs::metadata(path).ok()?.is_dir();
        let content = if is_dir { None } else { Some(Arc::from(fs::read(path).ok()?)) };
        Some(self.add_found(Some(place), content))
    }

    fn add_found(&mut self, place: Option<Place>, content: Option<Arc<[u8]>>) -> (Link, Inode) {
        let (inode, link) = (self.nodes.len(), self.next_link());
        let allocated = content.as_ref().map_or(0, |content| content.len() as u64);
        self.used += allocated;
        self.nodes.push(Node { is_dir: content.is_none(), names: 1, allocated, ..Node::default() });
        if content.is_none() {
            self.tree.insert(inode, BTreeMap::new());
        }
        if let Some(place) = &place {
            self.tree.entry(place.dir).or_default().insert(place.name.clone(), (link, inode));
        }
        let found = Change::Found { link, inode, place, content };
        self.device.apply(&found);
        self.found.push(found);
        self.replay = None; // it was there then, too
        (link, inode)
    }

    fn next_link(&mut self) -> Link {
        self.links += 1;
        self.links - 1
    }

    /// Looks at everything in a directory that was there before.
    pub(super) fn list_all(&mut self, path: &Path) -> io::Result<()> {
        let Some((_, inode)) = self.look_up(path) else { return Ok(()) };
        match self.nodes.get_mut(inode) {
            Some(node) if node.is_dir && !node.is_listed => node.is_listed = true,
            _ => return Ok(()),
        }
        let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        paths.iter().try_for_each(|path| self.list_all(path))
    }

    /// The directory that a name is in, and the name.
    pub(super) fn place(&mut self, path: &Path) -> io::Result<Place> {
        let name = names(path).pop().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = path.parent().and_then(|dir| self.look_up(dir)).ok_or(io::ErrorKind::NotFound)?.1;
        Ok(Place { dir, name })
    }

    /// A new file or directory has come to `place`.
    pub(super) fn create(&mut self, place: Place, is_dir: bool, operation: Operation) -> Inode {
        let (inode, link) = (self.nodes.len(), self.next_link());
        self.nodes.push(Node { is_dir, is_listed: true, ..Node::default() });
        if is_dir {
            self.tree.insert(inode, BTreeMap::new());
        }
        // No operation of its own: nothing can be seen of it before it has its name.
        let new = Change::New { inode, is_dir };
        self.device.apply(&new);
        self.found.push(new);
        self.replay = self.replay.take().map(|(at, mut device)| {
            device.apply(&Change::New { inode, is_dir });
            (at, device)
        });
        self.move_entry(EntryChange { link, inode, from: None, to: Some(place) }, operation);
        inode
    }

    /// A file has got another name beside the one that it has.
    pub(super) fn link(&mut self, inode: Inode, place: Place, operation: Operation) {
        let link = self.next_link();
        self.move_entry(EntryChange { link, inode, from: None, to: Some(place) }, operation);
    }

    /// A name comes, moves or goes.
    pub(super) fn move_entry(&mut self, change: EntryChange, operation: Operation) {
        let is_name_more = change.from.is_none();
        if let Some(from) = &change.from {
            self.tree.entry(from.dir).or_default().remove(&from.name);
        }
        let mut replaced = None;
        if let Some(to) = &change.to {
            replaced = self.tree.entry(to.dir).or_default().insert(to.name.clone(), (change.link, change.inode));
            if is_name_more && let Some(node) = self.nodes.get_mut(change.inode) {
                node.names += 1;
            }
        }
        let gone = if change.to.is_none() { Some(change.inode) } else { None };
        for inode in gone.into_iter().chain(replaced.map(|(_, inode)| inode)) {
            if let Some(node) = self.nodes.get_mut(inode) {
                node.names = node.names.saturating_sub(1);
            }
            self.free(inode);
        }
        self.note(Change::Entry(change), operation);
    }

    /// Gives back the space of a file that nobody can reach any more.
    pub(super) fn free(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get_mut(inode)
            && node.names == 0
            && node.handles == 0
        {
            self.used -= node.allocated;
            node.allocated = 0;
        }
    }

    /// Gives a file space for `len` bytes, as far as there is any: returns for how many, and the error if that is less.
    pub(super) fn allocate(&mut self, inode: Inode, len: u64) -> (u64, io::Result<()>) {
        let left = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used));
        let Some(node) = self.nodes.get_mut(inode) else { return (len, Ok(())) };
        let more = len.saturating_sub(node.allocated);
        let granted = more.min(left);
        node.allocated += granted;
        self.used += granted;
        let outcome = if granted < more { Err(io::Error::from_raw_os_error(ENOSPC)) } else { Ok(()) };
        (len - (more - granted), outcome)
    }

    /// A file was cut to `len` bytes.
    pub(super) fn truncate(&mut self, inode: Inode, len: u64) {
        if let Some(node) = self.nodes.get_mut(inode) {
            let less = node.allocated.saturating_sub(len);
            node.allocated -= less;
            self.used -= less;
        }
    }

    /// A write-back of the file failed.
    pub(super) fn fail_write_back(&mut self, inode: Inode, path: &Path) {
        self.note(Change::WriteBackFailed { inode }, Operation::new("write-back failed", path));
        if let Some(node) = self.nodes.get_mut(inode) {
            if node.errors == 0 || node.is_told {
                node.errors += 1;
            }
            node.is_told = false;
        }
    }

    /// Nobody has anything open or mapped any more.
    pub(super) fn restart(&mut self) {
        self.is_over = false;
        self.nodes.iter_mut().for_each(|node| node.is_mapped = false);
    }

    pub(super) fn cut(&mut self, cut: &Cut) -> Survived {
        let (mut at, mut device) = self.replay.take().filter(|(at, _)| *at <= cut.at).unwrap_or_else(|| {
            let mut device = Device::default();
            self.found.iter().for_each(|found| device.apply(found));
            (0, device)
        });
        for change in self.changes.iter().take(cut.at).skip(at) {
            device.apply(change);
        }
        at = at.max(cut.at.min(self.changes.len()));
        let survived = device.cut(cut);
        self.replay = Some((at, device));
        survived
    }
}

/// The names that a path goes through.
fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => _ = names.pop(),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    names
}
