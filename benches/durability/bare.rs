//! The bare contestants: files that are ready to be written, and a group commit.

use std::fs::File;
use std::ops::DerefMut;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fs::{FallocateFlags, fallocate};

/// What a file holds where it is going to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// Zeros that are on the disk: a sync has no metadata to write.
    Zeros,
    /// Room that was never written: a sync says that it is now.
    Fallocated,
    /// Nothing: a sync gives it blocks and a length.
    Growing,
}

pub(crate) fn prepare(path: &Path, room: Room, len: usize) -> File {
    let file = File::create(path).unwrap();
    let piece = vec![0; 1 << 20];
    match room {
        Room::Zeros => {
            for pos in (0..len).step_by(piece.len()) {
                file.write_all_at(&piece[..piece.len().min(len - pos)], pos as u64).unwrap();
            }
        }
        Room::Fallocated => fallocate(&file, FallocateFlags::empty(), 0, len as u64).unwrap(),
        Room::Growing => {}
    }
    file.sync_all().unwrap();
    file
}

/// The bare loop of a group commit: records queue up in a buffer; one thread takes them all, writes them with one call and
/// syncs, and wakes everybody, while the next group queues up. That thread is the first that finds nobody at it, or the
/// [`Committer`]. Nothing else: no records, checksums, indexes, segments or readers.
pub(crate) struct GroupCommit<M> {
    monitor: M,
    /// Zeros; written again from its beginning when it is full.
    file: File,
    has_committer: bool,
}

#[derive(Default)]
pub(crate) struct Group {
    queued: Vec<u8>,
    /// The buffer of the last group.
    spare: Vec<u8>,
    queued_count: u64,
    durable_count: u64,
    committing: bool,
    pos: usize,
    stopped: bool,
}

impl<M: Monitor> GroupCommit<M> {
    pub(crate) fn new(file: File, has_committer: bool) -> Self {
        GroupCommit { monitor: M::default(), file, has_committer }
    }

    pub(crate) fn append(&self, record: &[u8]) {
        let mut group = self.monitor.lock();
        if self.has_committer && group.queued.is_empty() {
            self.monitor.notify_all(Event::Queued);
        }
        group.queued.extend_from_slice(record);
        group.queued_count += 1;
        let count = group.queued_count;
        while group.durable_count < count {
            if self.has_committer || group.committing {
                group = self.monitor.wait(Event::Durable, group);
            } else {
                return self.commit(group); // its own record, too
            }
        }
    }

    fn commit(&self, mut group: M::Guard<'_>) {
        group.committing = true;
        let spare = std::mem::take(&mut group.spare);
        let (mut bytes, count) = (std::mem::replace(&mut group.queued, spare), group.queued_count);
        let pos = if group.pos + bytes.len() <= GROUP_FILE_LEN { group.pos } else { 0 };
        group.pos = pos + bytes.len();
        drop(group);
        self.file.write_all_at(&bytes, pos as u64).unwrap();
        self.file.sync_data().unwrap();
        bytes.clear();
        let mut group = self.monitor.lock();
        (group.spare, group.durable_count, group.committing) = (bytes, count, false);
        drop(group);
        self.monitor.notify_all(Event::Durable);
    }

    fn commit_until_stopped(&self) {
        loop {
            let mut group = self.monitor.lock();
            while group.queued.is_empty() && !group.stopped {
                group = self.monitor.wait(Event::Queued, group);
            }
            if group.stopped {
                return;
            }
            self.commit(group);
        }
    }
}

/// A thread that does nothing but commit groups.
pub(crate) struct Committer<M: Monitor> {
    pub(crate) group_commit: Arc<GroupCommit<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Monitor> Committer<M> {
    pub(crate) fn new(group_commit: GroupCommit<M>) -> Self {
        let group_commit = Arc::new(group_commit);
        let committed = Arc::clone(&group_commit);
        Committer { group_commit, thread: Some(thread::spawn(move || committed.commit_until_stopped())) }
    }
}

impl<M: Monitor> Drop for Committer<M> {
    fn drop(&mut self) {
        self.group_commit.monitor.lock().stopped = true;
        self.group_commit.monitor.notify_all(Event::Queued);
        self.thread.take().map(JoinHandle::join);
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Queued,
    Durable,
}

/// A mutex with a condition variable for each event: those of std, or of parking_lot.
pub(crate) trait Monitor: Default + Send + Sync + 'static {
    type Guard<'a>: DerefMut<Target = Group>;
    fn lock(&self) -> Self::Guard<'_>;
    fn wait<'a>(&'a self, event: Event, guard: Self::Guard<'a>) -> Self::Guard<'a>;
    fn notify_all(&self, event: Event);
}

#[derive(Default)]
pub(crate) struct Std(std::sync::Mutex<Group>, [std::sync::Condvar; 2]);

impl Monitor for Std {
    type Guard<'a> = std::sync::MutexGuard<'a, Group>;

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().unwrap()
    }

    fn wait<'a>(&'a self, event: Event, guard: Self::Guard<'a>) -> Self::Guard<'a> {
        self.1[event as usize].wait(guard).unwrap()
    }

    fn notify_all(&self, event: Event) {
        self.1[event as usize].notify_all();
    }
}

#[derive(Default)]
pub(crate) struct ParkingLot(parking_lot::Mutex<Group>, [parking_lot::Condvar; 2]);

impl Monitor for ParkingLot {
    type Guard<'a> = parking_lot::MutexGuard<'a, Group>;

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock()
    }

    fn wait<'a>(&'a self, event: Event, mut guard: Self::Guard<'a>) -> Self::Guard<'a> {
        self.1[event as usize].wait(&mut guard);
        guard
    }

    fn notify_all(&self, event: Event) {
        self.1[event as usize].notify_all();
    }
}

pub(crate) const GROUP_FILE_LEN: usize = 32 << 20;
