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
        self.panics.catch("the choice of a way to sync", || {
            if let Some((method, Some(refusal))) = disk.sync_method() {
                tracing::warn!("files are synced together by {method}, not by io_uring: {refusal}");
            }
        });
        let mut state = self.state.lock();
        while state.is_running || !state.due.is_empty() {
            if state.due.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            let due = std::mem::take(&mut state.due);
            drop(state);
            // Others may have been promised that this thread takes them over: it must not run what can wait for them.
            due.chunks(TOGETHER_MAX).for_each(|due| self.sync(due, Log::take_over, Partition::wake_in_background));
            state = self.state.lock();
        }
    }

    /// Lets [`request`](Committer::request) refuse from now on.
    pub(crate) fn stop(&self) {
        self.state.lock().is_running = false;
        self.changed.notify_all();
    }

    /// Makes durable what is written in each partition now, below the offset beside it at least. One result each, in their
    /// order. The caller holds no lock.
    pub(crate) fn sync_to(&self, targets: &[(Arc<Partition>, Offset)]) -> Vec<Result<()>> {
        for targets in targets.chunks(TOGETHER_MAX).filter(|targets| targets.len() > 1) {
            let is_behind = |partition: &Partition, target| partition.log().is_ok_and(|log| log.durable() < target);
            let behind = targets.iter().filter(|(partition, target)| is_behind(partition, *target));
            let behind: Vec<_> = behind.map(|(partition, _)| Arc::clone(partition)).collect();
            self.sync(&behind, Log::try_turn, |partition, synced| _ = partition.after_sync(synced)); // they look at the log
        }
        // Those whose turn somebody else had, and the errors of the others.
        targets.iter().map(|(partition, target)| partition.sync_to(*target)).collect()
    }

    /// Syncs for those whose turn can be had, and calls `end` for each when none of the turns is held any more: who is woken
    /// then may wait for any of them. A panic fails the logs that it was about.
    fn sync(
        &self,
        partitions: &[Arc<Partition>],
        turn: impl for<'a> Fn(&'a Log) -> Option<Turn<'a>>,
        end: impl Fn(&Arc<Partition>, Result<()>),
    ) {
        let (mut begun, mut panicked) = (Vec::with_capacity(partitions.len()), Vec::new());
        for partition in partitions {
            let Some(turn) = partition.opened().and_then(&turn) else { continue };
            match self.panics.catch("the writing of batches", || partition.write_queued()) {
                Some(()) => begun.push((partition, turn)),
                None => panicked.push(partition), // and its turn is dropped, which fails the log
            }
        }
        let (partitions, turns): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
        let mut ended = Vec::with_capacity(partitions.len());
        match self.panics.catch("a sync", || Log::sync_together(&turns)) {
            Some(synced) => {
                for ((partition, turn), synced) in partitions.into_iter().zip(turns).zip(synced) {
                    turn.end(&synced, || self.request(partition));
                    ended.push((partition, synced));
                }
            }
            None => {
                drop(turns);
                panicked.extend(partitions);
            }
        }
        ended.into_iter().for_each(|(partition, synced)| end(partition, synced));
        let failure = |partition: &Partition| partition.opened().map_or(Ok(()), Log::check_failure);
        panicked.into_iter().for_each(|partition| end(partition, failure(partition)));
    }
}
