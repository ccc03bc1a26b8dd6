//! Syncs of several partitions at once, and the thread that goes on where sync follows sync.

use super::panics::Panics;
use super::partition::Partition;
use crate::error::Result;
use crate::log::{Log, Turn};
use crate::sync::{Arc, Condvar, Mutex};
use crate::sys::Disk;
use crate::types::Offset;

/// Most partitions that are synced at once. Each needs its file open.
const TOGETHER_MAX: usize = 64;

/// The queue of the thread that syncs for those who wait. While groups of them follow each other without a pause, it has
/// the turn: between two syncs nobody has to be woken first.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    state: Mutex<State>,
    changed: Condvar,
    /// Panics of this thread and the others.
    pub(crate) panics: Panics,
}

#[derive(Debug, Default)]
struct State {
    due: Vec<Arc<Partition>>,
    /// Whether there is a thread.
    is_running: bool,
}

impl Committer {
    /// Has the thread take over the group that has formed in `partition`. False if there is no thread.
    pub(super) fn request(&self, partition: &Arc<Partition>) -> bool {
        let mut state = self.state.lock();
        if state.is_running {
            state.due.push(Arc::clone(partition));
            self.changed.notify_one();
        }
        state.is_running
    }

    /// From here on there is a thread that calls [`run`](Committer::run).
    pub(crate) fn start(&self) {
        self.state.lock().is_running = true;
    }

    /// Finds out how files can be synced together, then does what is asked for until [`stop`](Committer::stop), and what was
    /// asked for before that.
    pub(crate) fn run(&self, disk: &dyn Disk) {
        if let Some((method, Some(refusal))) = disk.sync_method() {
            tracing::warn!("files are synced together by {method}, not by io_uring: {refusal}");
        }
        let mut state = self.state.lock();
        while state.is_running || !state.due.is_empty() {
            if state.due.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            let due = std::mem::take(&mut state.due);
            drop(state);
            self.commit(&due);
            state = self.state.lock();
        }
    }

    /// Lets [`request`](Committer::request) refuse from now on.
    pub(crate) fn stop(&self) {
        self.state.lock().is_running = false;
        self.changed.notify_all();
    }

    /// Syncs for the groups that were handed over.
    fn commit(&self, due: &[Arc<Partition>]) {
        for due in due.chunks(TOGETHER_MAX) {
            if self.panics.catch("a sync", || self.sync(due, Log::take_over)).is_none() {
                // Nobody else would. A turn that is dropped fails its log, and those who wait are told.
                due.iter().filter_map(|partition| partition.opened()).for_each(|log| drop(log.take_over()));
            }
        }
    }

    /// Makes durable what is written in each partition now, below the offset beside it at least. One result each, in their
    /// order. The caller holds no lock.
    pub(crate) fn sync_to(&self, targets: &[(Arc<Partition>, Offset)]) -> Vec<Result<()>> {
        for targets in targets.chunks(TOGETHER_MAX).filter(|targets| targets.len() > 1) {
            let is_behind = |partition: &Partition, target| partition.log().is_ok_and(|log| log.durable() < target);
            let behind = targets.iter().filter(|(partition, target)| is_behind(partition, *target));
            self.sync(&behind.map(|(partition, _)| Arc::clone(partition)).collect::<Vec<_>>(), Log::try_turn);
        }
        // Those whose turn somebody else had, and the errors of the others.
        targets.iter().map(|(partition, target)| partition.sync_to(*target)).collect()
    }

    fn sync(&self, partitions: &[Arc<Partition>], turn: impl for<'a> Fn(&'a Log) -> Option<Turn<'a>>) {
        let mut turns = Vec::with_capacity(partitions.len());
        let mut partitions: Vec<_> = partitions.iter().collect();
        partitions.retain(|partition| {
            let turn = partition.opened().and_then(&turn);
            turn.map(|turn| turns.push(turn)).is_some()
        });
        partitions.iter().for_each(|partition| partition.write_queued());
        let synced = Log::sync_together(&turns);
        for ((partition, turn), synced) in partitions.into_iter().zip(turns).zip(synced) {
            turn.end(|| self.request(partition));
            let _ = partition.after_sync(synced); // those who wait look at the log
        }
    }
}
