//! Which partitions have something to be made durable in the background, and by when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::committer::Committer;
use super::partition::Partition;
use crate::sync::{Arc, Condvar, Mutex};

/// The queue of the thread that syncs. Partitions put themselves in; the thread takes out what is due.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) committer: Committer,
}

#[derive(Debug, Default)]
struct State {
    due: BinaryHeap<Reverse<Due>>,
    stopped: bool,
}

/// Something that is due.
#[derive(Debug)]
pub(crate) struct Due {
    at: Instant,
    pub(super) partition: Arc<Partition>,
    pub(super) flush: Flush,
}

/// Which of a partition's requests it is: there is one of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// At once.
    Now,
    /// At the end of the flush interval.
    Later,
}

impl Flusher {
    /// Has the thread see to `partition` at `at`. The partition keeps itself from asking twice.
    pub(super) fn request(&self, partition: &Arc<Partition>, flush: Flush, at: Instant) {
        let mut state = self.state.lock();
        if state.stopped {
            return; // nobody would take it out again
        }
        let is_next = state.due.peek().is_none_or(|Reverse(next)| at < next.at);
        state.due.push(Reverse(Due { at, partition: Arc::clone(partition), flush }));
        drop(state);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Takes back what `partition` has asked for.
    pub(super) fn forget(&self, partition: &Arc<Partition>) {
        self.state.lock().due.retain(|Reverse(due)| !Arc::ptr_eq(&due.partition, partition));
    }

    /// Waits until partitions are due and takes them; `None` after [`stop`](Flusher::stop).
    pub(crate) fn next(&self, now: impl Fn() -> Instant) -> Option<Vec<Due>> {
        let mut state = self.state.lock();
        while !state.stopped {
            let now = now();
            let mut due = Vec::new();
            while state.due.peek().is_some_and(|Reverse(next)| next.at <= now) {
                due.extend(state.due.pop().map(|Reverse(next)| next));
            }
            if !due.is_empty() {
                return Some(due);
            }
            match state.due.peek().map(|Reverse(next)| next.at) {
                Some(at) => {
                    self.changed.wait_until(&mut state, at);
                }
                None => self.changed.wait(&mut state),
            }
        }
        None
    }

    /// Takes all partitions, whenever they are due.
    #[cfg(feature = "simulation")]
    pub(crate) fn take_all(&self) -> Vec<Due> {
        let mut due: Vec<_> = self.state.lock().due.drain().map(|Reverse(due)| due).collect();
        due.sort_by(|a, b| a.partition.name().cmp(b.partition.name()));
        due
    }

    /// Sees to what is due: one sync for all, then what each has to do besides.
    pub(crate) fn flush(&self, due: &[Due]) {
        let begin = |due: &Due| Some((Arc::clone(&due.partition), due.partition.begin_flush(due.flush)?));
        let targets: Vec<_> = due.iter().filter_map(begin).collect();
        let synced = self.committer.panics.catch("a sync", || self.committer.sync_to(&targets));
        // What panicked is poisoned, and each of the others finds out how it stands.
        let synced = synced.unwrap_or_else(|| targets.iter().map(|(partition, _)| partition.log().map(drop)).collect());
        for ((partition, _), synced) in targets.iter().zip(synced) {
            if self.committer.panics.catch("the end of a sync", || partition.end_flush(synced)).is_none() {
                partition.fail("the background sync panicked: nothing more is accepted; open the broker again");
            }
        }
    }

    /// Lets [`next`](Flusher::next) return `None` from now on, and forgets what was due.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        state.due.clear();
        drop(state);
        self.changed.notify_all();
        self.committer.stop();
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
